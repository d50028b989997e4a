"""The daily round: backup jobs and gaps, services, updates, the log, HA, pools, permissions, and stopping a task."""

import pytest

from support import Bench, answering, big, ok, weight
from tools.base.failures import Declined

FIND = "GET /cluster/resources type=vm"
NODE = "GET /nodes/pve1/"


def running(bench):
    """{upid}: a backup that is under way."""
    job = {"vmid": 104, "storage": "pbs", "remove": False}
    return {"upid": bench.host.client.request("POST", "/nodes/pve1/vzdump", job).data}


CASES = [
    ("proxmox_list_guests_without_backup", {"node": "pve3", "limit": 2, "offset": 1},
     [FIND, "GET /cluster/backup"]),
    ("proxmox_list_backup_jobs", {"limit": 1, "offset": 1}, ["GET /cluster/backup"]),
    ("proxmox_list_services", {"node": "pve1", "all": True}, [NODE + "services"]),
    ("proxmox_list_updates", {"node": "pve1", "name": "pve", "limit": 5, "offset": 0}, [NODE + "apt/update"]),
    ("proxmox_get_cluster_log", {"limit": 1, "offset": 1, "node": "pve2", "user": "root@pam"},
     ["GET /cluster/log max=1000"]),
    ("proxmox_get_ha_status", {"limit": 10, "offset": 0, "node": "pve1"}, ["GET /cluster/ha/status/current"]),
    ("proxmox_list_pools", {"name": "prod", "limit": 10, "offset": 0}, [FIND, "GET /pools"]),
    ("proxmox_get_permissions", {"path": "/vms/100", "limit": 10, "offset": 0},
     ["GET /access/permissions path=/vms/100"]),
    ("proxmox_get_permissions", {}, ["GET /access/permissions"]),
    ("proxmox_cancel_task", {"upid": "{upid}"}, ["DELETE /nodes/pve1/tasks/{upid}"], running),
]
ROUND = [("proxmox_list_guests_without_backup", {}), ("proxmox_list_backup_jobs", {}),
         ("proxmox_list_services", {"node": "pve1"}),
         ("proxmox_list_updates", {"node": "pve1"}), ("proxmox_get_cluster_log", {}), ("proxmox_get_ha_status", {}),
         ("proxmox_list_pools", {}), ("proxmox_get_permissions", {})]


def items(answer, key):
    return [row.get(key) for row in ok(answer).data["items"]]


# -------------------------------------------------------------------------------------------------------------- backups

def test_guests_without_backup_are_those_of_no_enabled_job():
    """Proxmox's own list counts jobs that are switched off, which the health report does not."""
    bench = Bench()
    assert items(bench.run("proxmox_list_guests_without_backup", node="pve3"), "vmid") == [103, 105, 107, 203]
    answer = ok(bench.run("proxmox_list_guests_without_backup"))
    assert answer.text.startswith("\u2705 10 guests in no enabled backup job") and bench.sent() == [
        FIND, "GET /cluster/backup"]
    assert items(answer, "vmid") == [102, 103, 105, 106, 107, 108, 202, 203, 204, 205]
    for enabled, words in ((1, "Every guest is in an enabled backup job"), (0, "15 guests in no enabled backup job")):
        answering(bench, "/cluster/backup", [{"id": "j", "all": 1, "enabled": enabled}])
        assert words in ok(bench.run("proxmox_list_guests_without_backup")).text
    answering(bench, "/cluster/backup", (500, "boom"))
    answer = bench.run("proxmox_list_guests_without_backup")
    assert answer.failed and "boom (HTTP 500)" in answer.text
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/": ["Sys.Audit"]}}})
    assert "No guest is listed" in ok(bench.run("proxmox_list_guests_without_backup")).text


# ---------------------------------------------------------------------------------------------------------------- nodes

def test_services_are_told_when_they_are_not_as_they_should_be():
    bench = Bench()
    answer = ok(bench.run("proxmox_list_services", node="pve1"))
    assert answer.text == "\u2705 23 services on node pve1, none failed and none missing that a node needs\n" \
                          "all=true lists the others too."
    assert (answer.data["items"], answer.data["total"], answer.data["services"]) == ([], 0, 23)
    assert bench.run("proxmox_list_services", node="pve1", all=True).data["total"] == 23
    answering(bench, "/nodes/pve1/services", [
        {"service": "b", "state": "failed"}, {"service": "a", "state": "running"}, {"service": "d", "state": "dead"},
        {"service": "c", "state": "dead", "active-state": "failed"}, {"service": "cron", "state": "dead"},
        {"service": "corosync", "state": "dead"}, {"service": "pve-firewall", "state": "dead", "unit-state": "masked"}])
    answer = ok(bench.run("proxmox_list_services", node="pve1"))
    assert answer.text.startswith("\u2705 4 of 7 services on node pve1 are not as they should be")
    assert items(answer, "service") == ["b", "c", "corosync", "cron"] and bench.sent() == [NODE + "services",
                                                                                         "GET /nodes"]
    answering(bench, "/nodes", [{"node": "pve1", "status": "online"}])
    assert items(bench.run("proxmox_list_services", node="pve1"), "service") == ["b", "c", "cron"]
    answer = bench.run("proxmox_list_services", node="pve9")
    assert answer.failed and "There is no node pve9" in answer.text


def test_updates():
    answer = ok(Bench().run("proxmox_list_updates", node="pve1"))
    assert {"package": "pve-manager", "old": "9.1.1", "new": "9.1.4", "origin": "Proxmox",
            "title": "Proxmox Virtual Environment Management Tools"} in answer.data["items"]
    assert items(Bench().run("proxmox_list_updates", node="pve1", name="qemu*"), "package") == ["qemu-server"]
    assert "None of 5 updates matches zzz." in ok(Bench().run("proxmox_list_updates", node="pve1", name="zzz")).text
    bench = Bench()
    answering(bench, "/nodes/pve1/apt/update", [])
    assert "was not refreshed lately" in ok(bench.run("proxmox_list_updates", node="pve1")).text


# -------------------------------------------------------------------------------------------------------------- cluster

def test_the_log_of_the_cluster():
    answer = ok(Bench().run("proxmox_get_cluster_log", limit=2))
    times = items(answer, "time")
    assert times == sorted(times, reverse=True) and "5 entries of the cluster's log" in answer.text
    assert "Showing 1 to 3 of 5 entries." in ok(Bench().run("proxmox_get_cluster_log", limit=3)).text
    assert "Next page: offset=2." in answer.text
    assert set(items(Bench().run("proxmox_get_cluster_log", node="pve2"), "node")) == {"pve2"}
    assert "None of 5 entries matches." in ok(Bench().run("proxmox_get_cluster_log", user="nobody@pam")).text
    bench = Bench()
    answering(bench, "/cluster/log", [])
    assert "Sys.Syslog" in ok(bench.run("proxmox_get_cluster_log")).text


def test_ha():
    answer = ok(Bench().run("proxmox_get_ha_status"))
    assert "HA: 1 resource, 1 started" in answer.text and "vm:104" in answer.text
    assert answer.text.count("  active\n") == 2 and "20" not in answer.text       # no date that is but that of asking
    assert set(items(Bench().run("proxmox_get_ha_status", node="pve3"), "type")) == {"quorum", "lrm"}
    bench = Bench()
    answering(bench, "/cluster/ha/status/current", [
        {"id": "quorum", "type": "quorum", "quorate": 0, "status": "No quorum on node 'pve1'!"},
        {"id": "service:vm:1", "type": "service", "sid": "vm:100", "state": "error", "node": "pve1"},
        {"id": "service:ct:2", "type": "service", "sid": "ct:200", "state": "error", "node": "pve2"}])
    assert "HA: 2 resources, 2 error, NO QUORUM" in ok(bench.run("proxmox_get_ha_status")).text
    answering(bench, "/cluster/ha/status/current", [{"id": "quorum", "type": "quorum", "quorate": 1}])
    assert "No guest is managed by HA." in ok(bench.run("proxmox_get_ha_status")).text


def test_pools():
    answer = ok(Bench().run("proxmox_list_pools"))
    assert answer.data["items"] == [{"poolid": "lab", "guests": 2},
                                    {"poolid": "production", "guests": 4, "comment": "what customers see"}]
    assert "None of 2 pools matches zzz." in ok(Bench().run("proxmox_list_pools", name="zzz")).text
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {}}})
    assert "lacks Pool.Audit" in ok(bench.run("proxmox_list_pools")).text


def test_permissions():
    acl = {"/vms": ["VM.Audit", "VM.PowerMgmt"], "/storage/nas": ["Datastore.Audit"],
           "/vms/100": ["VM.PowerMgmt", "VM.Audit"]}
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": acl}})
    answer = ok(bench.run("proxmox_get_permissions"))
    held = {tuple(row["privileges"]): row["paths"] for row in answer.data["items"]}
    assert set(held[("VM.Audit", "VM.PowerMgmt")]) >= {"/vms", "/vms/100"}
    assert held[("Datastore.Audit",)] == ["/storage/nas"]
    assert "root@pam!demo may act on " in answer.text and "On /storage/nas: Datastore.Audit" in answer.text
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {}}})
    answer = ok(bench.run("proxmox_get_permissions", path="/vms/100"))
    assert "No rights on /vms/100" in answer.text
    assert "pveum acl modify / --tokens 'root@pam!demo' --roles PVEAuditor" in answer.text
    answer = ok(Bench().run("proxmox_get_permissions"))
    assert "VM.Snapshot.Rollback" in answer.text and " more" in answer.text


#: What a large cluster answers. tool -> (path, data)
MANY = {
    "proxmox_list_backup_jobs": ("/cluster/backup", [
        {"id": "job-%d" % n, "vmid": ",".join(map(str, range(100, 400))), "comment": "c" * 80} for n in range(300)]),
    "proxmox_get_cluster_log": ("/cluster/log", [
        {"time": n, "msg": "m" * 300, "node": "node01", "user": "root@pam", "id": "%d" % n} for n in range(1000)]),
    "proxmox_get_ha_status": ("/cluster/ha/status/current", [
        {"id": "service:vm:%d" % n, "type": "service", "sid": "vm:%d" % n, "state": "started", "node": "node01",
         "status": "s" * 60} for n in range(2000)]),
    "proxmox_list_pools": ("/pools", [{"poolid": "pool%d" % n, "comment": "c" * 200} for n in range(2000)]),
    "proxmox_list_updates": ("/nodes/node01/apt/update", [
        {"Package": "p%d" % n, "Title": "t" * 300} for n in range(600)]),
    "proxmox_get_permissions": ("/access/permissions", {
        "/vms/%d" % n: {"VM.%d" % m: 1 for m in range(n % 40 + 1)} for n in range(3000)})}
#: The tools that read the list of guests too.
OF_GUESTS = {"proxmox_list_guests_without_backup", "proxmox_list_pools"}


@pytest.mark.parametrize("tool, arguments", ROUND)
def test_answers_of_a_large_cluster(tool, arguments):
    bench = Bench(big(10000 if tool in OF_GUESTS else 20))
    if "node" in arguments:
        arguments = {"node": "node01"}
    if tool in MANY:
        answering(bench, *MANY[tool])
    answer = ok(bench.run(tool, **arguments))
    assert weight(answer) <= 25000
    shown, total = len(answer.data["items"]), answer.data["total"]
    assert ("Showing 1 to %d of %s " % (shown, format(total, ",")) in answer.text) == (shown < total)


# ---------------------------------------------------------------------------------------------------------------- tasks

def test_a_running_task_is_stopped_after_a_yes():
    class Asked:
        yes = False

        def ask(self, call, describe):
            self.question, found = describe()
            if not self.yes:
                raise Declined("Nothing was changed.")
            return found
    consent = Asked()
    bench = Bench(consent=consent)
    upid = running(bench)["upid"]
    assert bench.run("proxmox_cancel_task", upid=upid).failed and bench.sent(reads=False) == []
    assert "Stop the running task vzdump of 104 on node pve1, started by root@pam" in consent.question
    assert upid in consent.question
    consent.yes = True
    answer = ok(bench.run("proxmox_cancel_task", upid=upid))
    assert "The task vzdump of 104 on node pve1 was stopped." in answer.text
    assert "may leave the guest locked" in answer.text
    assert answer.data["task"] == {"upid": upid, "status": "stopped", "exitstatus": "unexpected status"}
    answer = bench.run("proxmox_cancel_task", upid=upid)
    assert answer.failed and "The task vzdump of 104 on node pve1 is over" in answer.text
    assert bench.sent(reads=False) == []


def test_a_task_that_does_not_stop_is_said_to_run():
    bench = Bench()
    upid = running(bench)["upid"]
    answering(bench, "/nodes/pve1/tasks/%s/status" % upid, {"status": "running", "upid": upid})
    assert "was told to stop and still runs" in ok(bench.run("proxmox_cancel_task", upid=upid)).text


def test_a_task_that_cannot_be_looked_at_after_it_was_told_to_stop():
    bench = Bench()
    upid = running(bench)["upid"]
    request = bench.host.client.request

    def lost(verb, *rest, **more):
        if verb == "DELETE":
            answering(bench, "/nodes/pve1/tasks/%s/status" % upid, (595, "Connection refused"))
        return request(verb, *rest, **more)
    bench.host.client.request = lost
    answer = ok(bench.run("proxmox_cancel_task", upid=upid))
    assert "was told to stop; whether it has ended could not be read" in answer.text


@pytest.mark.parametrize("upid, words", [("UPID:pve1:0000AAAA:0000AAAA:65000000:vzdump:100:root@pam:", "no such task"),
                                         ("UPID:../x", "upid"), ("100", "upid")])
def test_what_is_no_task(upid, words):
    bench = Bench()
    answer = bench.run("proxmox_cancel_task", upid=upid)
    assert answer.failed and words in answer.text and bench.sent(reads=False) == []


def test_tasks_within_the_bounds():
    bench = Bench()
    upid = running(bench)["upid"]
    for chosen, words in (({"protected_guests": ("104",)}, "Guest 104 is protected"),
                          ({"allowed_nodes": ("pve2",)}, "Node pve1"),
                          ({"dry_run": True}, "nothing was sent"), ({"read_only": True}, "PROXMOX_READ_ONLY")):
        other = Bench(cluster=bench.cluster, **chosen)
        assert words in other.run("proxmox_cancel_task", upid=upid).text and other.sent(reads=False) == []
