"""The daily round: backup jobs, updates, HA, pools, permissions, and stopping a task."""

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
    ("proxmox_list_backup_jobs", {"limit": 1, "offset": 1}, ["GET /cluster/backup"]),
    ("proxmox_list_updates", {"node": "pve1", "name": "pve", "limit": 5, "offset": 0}, [NODE + "apt/update"]),
    ("proxmox_get_ha_status", {"limit": 10, "offset": 0}, ["GET /cluster/ha/status/current"]),
    ("proxmox_list_pools", {"name": "prod", "limit": 10, "offset": 0}, [FIND, "GET /pools"]),
    ("proxmox_get_permissions", {"path": "/vms/100", "limit": 10, "offset": 0},
     ["GET /access/permissions path=/vms/100"]),
    ("proxmox_get_permissions", {}, ["GET /access/permissions"]),
    ("proxmox_cancel_task", {"upid": "{upid}"}, ["DELETE /nodes/pve1/tasks/{upid}"], running),
]
ROUND = [("proxmox_list_backup_jobs", {}), ("proxmox_list_updates", {"node": "pve1"}),
         ("proxmox_get_ha_status", {}), ("proxmox_list_pools", {}), ("proxmox_get_permissions", {})]


def items(answer, key):
    return [row.get(key) for row in ok(answer).data["items"]]


# ---------------------------------------------------------------------------------------------------------------- nodes

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

def test_ha():
    answer = ok(Bench().run("proxmox_get_ha_status"))
    assert "HA: 1 resource, 1 started" in answer.text and "vm:104" in answer.text
    assert answer.text.count("  active\n") == 2 and "20" not in answer.text       # no date that is but that of asking
    bench = Bench()
    answering(bench, "/cluster/ha/status/current", [
        {"id": "quorum", "type": "quorum", "quorate": 0, "status": "No quorum on node 'pve1'!"},
        {"id": "service:vm:1", "type": "service", "sid": "vm:100", "state": "error", "node": "pve1"},
        {"id": "service:ct:2", "type": "service", "sid": "ct:200", "state": "error", "node": "pve2"}])
    assert "HA: 2 resources, 2 error, NO QUORUM" in ok(bench.run("proxmox_get_ha_status")).text
    answering(bench, "/cluster/ha/status/current", [{"id": "quorum", "type": "quorum", "quorate": 1}])
    assert "HA: 0 resources" in ok(bench.run("proxmox_get_ha_status")).text


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
    "proxmox_get_ha_status": ("/cluster/ha/status/current", [
        {"id": "service:vm:%d" % n, "type": "service", "sid": "vm:%d" % n, "state": "started", "node": "node01",
         "status": "s" * 60} for n in range(2000)]),
    "proxmox_list_pools": ("/pools", [{"poolid": "pool%d" % n, "comment": "c" * 200} for n in range(2000)]),
    "proxmox_list_updates": ("/nodes/node01/apt/update", [
        {"Package": "p%d" % n, "Title": "t" * 300} for n in range(600)]),
    "proxmox_get_permissions": ("/access/permissions", {
        "/vms/%d" % n: {"VM.%d" % m: 1 for m in range(n % 40 + 1)} for n in range(3000)})}


@pytest.mark.parametrize("tool, arguments", ROUND)
def test_answers_of_a_large_cluster(tool, arguments):
    bench = Bench(big(10000 if tool == "proxmox_list_pools" else 20))
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
