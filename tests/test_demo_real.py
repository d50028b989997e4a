"""Where a real Proxmox VE 9.2 surprises, the demo cluster does too: what it answers, a line for each request."""
import gzip
import json

import pytest

from test_demo import ISO, Demo, L, P, S, T, W, X
from tools.demo import calendar

NIX = "nas:backup/vzdump-qemu-100-2024_01_01-00_00_00.vma.zst"
NEITHER = "both 'storage' and 'target-vmid' missing, either needs to be set"


@pytest.fixture
def demo():
    return Demo()


@pytest.mark.parametrize("line, params, status, said", [
    ("GET /nodes/pve1/storage/nix/status", {}, 400, {"storage": "No such storage."}),
    ("POST /nodes/pve1/qemu", {"vmid": 300, "pool": "nix"}, 403, "Permission check failed (pool 'nix' does not exist)"),
    ("POST " + W + "/clone", {"newid": 300, "pool": "nix"}, 403, "Permission check failed (pool 'nix' does not exist)"),
    ("POST " + P + "/template", {}, 500, "you can't convert a CT to template if the CT is running"),
    ("POST " + W + "/template", {}, 500, "you can't convert a VM to template if VM is running"),
    ("POST " + X + "/template", {}, 500, "unable to create template, because VM contains snapshots"),
    ("PUT " + L + "/config", {"hookscript": "local:snippets/no.pl"}, 400,
     {"hookscript": "script 'local:snippets/no.pl' does not exist"}),
    ("PUT " + L + "/config", {"hookscript": ISO}, 400, {"hookscript": "'%s' is not in the snippets folder" % ISO}),
    ("PUT " + P + "/config", {"delete": "rootfs"}, 500, "unable to delete required option 'rootfs'"),
    ("PUT " + P + "/resize", {"disk": "mp7", "size": "+1G"}, 500, "format error"),
    ("POST " + W + "/move_disk", {"disk": "scsi0"}, 400, {"storage": NEITHER, "target-vmid": NEITHER}),
    ("POST " + S + "/move_volume", {"volume": "rootfs"}, 400, {"storage": NEITHER, "target-vmid": NEITHER}),
    ("POST " + T + "/clone", {"newid": 300, "storage": "san"}, 500,
     "parameter 'storage' not allowed for linked clones"),
    ("POST " + W + "/clone", {"newid": 300, "target": "nix"}, 500, "no such cluster node 'nix'"),
    ("POST /nodes/pve1/vzdump", {"storage": "nas"}, 400, {"vmid": "property is missing"}),
    ("POST /nodes/pve1/qemu", {"vmid": 300, "archive": NIX}, 500, "can't find file '%s'" % NIX),
    ("DELETE /nodes/pve1/storage/nix/content/nix:backup/x", {}, 500, "storage 'nix' does not exist"),
    ("DELETE /pools", {"poolid": "production"}, 500,
     "delete pool failed: pool 'production' is not empty (contains VM 100)"),
    ("PUT /pools", {"poolid": "lab", "vms": "107"}, 500, "update pools failed: VM 107 is already a pool member"),
    ("POST /access/users", {"userid": "bob@pve"}, 500, "create user failed: user 'bob@pve' already exists"),
    ("POST /access/users", {"userid": "bob@nix"}, 500, "domain 'nix' does not exist"),
    ("DELETE /access/users/nix@pve", {}, 500, "delete user failed: user 'nix@pve' does not exist"),
    ("PUT /access/acl", {"path": "/", "roles": "Nix", "users": "bob@pve"}, 500,
     "ACL update failed: role 'Nix' does not exist"),
    ("PUT /access/acl", {"path": "/nix/1", "roles": "PVEAuditor", "users": "bob@pve"}, 400,
     {"path": "invalid ACL path '/nix/1'"}),
    ("PUT /access/acl", {"path": "/", "roles": "PVEAuditor"}, 400,
     dict.fromkeys(("users", "groups", "tokens"), "either 'users', 'groups' or 'tokens' required")),
    ("POST /cluster/backup", {"schedule": "nonsense", "all": 1}, 400,
     {"schedule": "invalid format - invalid calendar event 'nonsense' - unable to parse calendar event\n\n"}),
    ("POST /cluster/backup", {"schedule": "daily"}, 500, "400 Parameter verification failed."),
    ("DELETE /cluster/backup/nix", {}, 500, "400 Parameter verification failed."),
    ("POST /cluster/ha/resources", {"sid": "vm:999"}, 500, "resource 'vm:999' does not exist in cluster"),
    ("POST /cluster/ha/resources", {"sid": "ct:100"}, 500, "resource 'ct:100' is not a container"),
    ("DELETE /cluster/ha/resources/vm:100", {}, 500, "cannot delete service 'vm:100', not HA managed!"),
    ("GET /cluster/ha/groups", {}, 500, "cannot index groups: ha groups have been migrated to rules"),
    ("GET /nodes/pve1/disks/smart", {"disk": "/dev/sdz"}, 500, "not a valid block device"),
    ("GET " + W + "/agent/exec-status", {"pid": 7}, 500, "Agent error: PID ld does not exist"),
])
def test_refusals(demo, line, params, status, said):
    assert demo(line, **params) == (status, said)


@pytest.mark.parametrize("line, params, status", [
    ("POST /nodes/pve1/qemu/999/status/start", {},
     "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"),
    ("POST /nodes/pve1/qemu", {"vmid": 7777, "ide2": "nas:iso/nix.iso,media=cdrom"},
     "unable to create VM 7777 - volume 'nas:iso/nix.iso' does not exist"),
    ("POST /nodes/pve1/lxc", {"vmid": 7777, "ostemplate": "local:vztmpl/nix.tar.zst", "rootfs": "san:1"},
     "unable to create CT 7777 - volume 'local:vztmpl/nix.tar.zst' does not exist"),
    ("POST " + W + "/clone", {"newid": 200},
     "close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/200.conf' failed: File exists"),
    ("POST /nodes/pve1/vzdump", {"vmid": 100, "storage": "nix"},
     "could not get storage information for 'nix': storage 'nix' does not exist"),
    ("POST /nodes/pve1/vzdump", {"vmid": 100, "storage": "san"},
     "could not get storage information for 'san': can't use storage 'san' for backups - wrong content type"),
    ("DELETE /nodes/pve1/storage/nas/content/" + NIX, {}, "OK"),
    ("PUT /nodes/pve1/storage/nas/content/" + NIX, {"protected": 1}, None),
    ("POST /cluster/backup", {"schedule": "daily", "all": 1, "storage": "nix"}, None),
    ("POST /access/users", {"userid": "eve@pve", "enable": 1, "groups": "admins"}, None),
    ("DELETE /access/users/root@pam", {}, None),
])
def test_what_ends_later_or_well(demo, line, params, status):
    assert demo.run(line, **params) == status


def test_an_unknown_task_has_an_empty_log_and_a_firewall_rule_beyond_the_last_is_an_error_of_perl(demo):
    assert demo("GET /nodes/pve1/tasks/UPID:pve1:00000001:00000001:00000001:a:b:c@d:/log") == [
        {"n": 1, "t": "no content"}]
    assert demo("DELETE " + W + "/firewall/rules/77")[1].startswith("Can't use an undefined value as a HASH reference")


def test_a_card_on_a_bridge_that_is_not_there(demo):
    net0 = demo("GET " + W + "/config")["net0"].replace("vmbr0", "nix9")
    assert demo("PUT " + W + "/config", net0=net0) == (400, {
        "net0": "hotplug problem - bridge 'nix9' does not exist\n"})
    assert {row["key"]: row.get("pending") for row in demo("GET " + W + "/pending")}["net0"] == net0
    assert sorted(demo("GET " + W + "/status/current")["nics"]) == ["tap100i1"]         # the old one is gone
    assert demo("PUT " + L + "/config", net0="virtio,bridge=nix9") is None              # stopped: taken, and then:
    assert demo.run("POST " + L + "/status/start") == "start failed: QEMU exited with code 1"


def test_the_journal_is_packed_and_a_log_can_be_a_file(demo):
    status, _, headers, body = demo.raw("GET", "/api2/json/nodes/pve1/journal?lastentries=3")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert len(json.loads(gzip.decompress(body))["data"]) == 3
    upid = demo("GET /nodes/pve1/tasks")[0]["upid"]
    status, _, headers, body = demo.raw("GET", "/api2/json/nodes/pve1/tasks/%s/log?download=1" % upid)
    assert (status, headers["Content-Type"]) == (200, "text/plain") and body.decode().split("\n")[:-1] == demo.log(upid)


def test_a_stopped_vm_is_prelaunch_while_it_is_backed_up_and_starts_when_asked(demo):
    def state():
        row = demo("GET " + L + "/status/current")
        return row["status"], row["qmpstatus"], row.get("lock")
    upid = demo("POST /nodes/pve3/vzdump", vmid=107, storage="nas", remove=0)
    demo.seconds += 1
    assert state() == ("running", "prelaunch", "backup")
    assert demo("DELETE " + L) == (500, "VM 107 is running - destroy failed")
    assert demo.run("POST " + L + "/status/start") == "OK" and state() == ("running", "running", "backup")
    assert demo.wait(upid) == "OK" and state() == ("running", "running", None)
    assert demo.run("POST " + L + "/status/stop") == "OK"
    assert demo.run("POST /nodes/pve3/vzdump", vmid=107, storage="nas", remove=0) == "OK"
    assert state() == ("stopped", "stopped", None)


@pytest.mark.parametrize("line, params, answer", [
    ("POST " + W + "/status/stop", {}, "OK"),
    ("POST " + W + "/agent/ping", {}, {"result": {}}),
    ("POST /nodes/pve1/qemu/9000/status/start", {}, (500, "cluster not ready - no quorum?")),
    ("POST /nodes/pve1/qemu", {"vmid": 300}, (500, "cluster not ready - no quorum?")),
    ("PUT " + W + "/config", {"onboot": 0}, (500, "DENIED 12001' - Permission denied")),
    ("POST " + W + "/config", {"onboot": 0}, "DENIED 12001' - Permission denied"),
    ("PUT " + W + "/resize", {"disk": "scsi0", "size": "+1G"}, "DENIED 12001' - Permission denied"),
    ("POST " + W + "/snapshot", {"snapname": "s1"}, "DENIED 12001' - Permission denied"),
    ("POST /nodes/pve1/vzdump", {"vmid": 100, "storage": "nas"}, "job errors"),
])
def test_without_quorum_guests_stop_and_nothing_is_written(demo, line, params, answer):
    demo.cluster.offline = {"pve2", "pve3"}
    got = demo.run(line, **params)
    assert (got if isinstance(got, dict) else json.loads(json.dumps(got).replace(
        "unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp.", "DENIED "))) == (
            list(answer) if isinstance(answer, tuple) else answer)


def test_the_rights_on_a_guest_go_with_it(demo):
    assert demo("PUT /access/acl", path="/vms/107", roles="PVEVMUser", users="bob@pve") is None
    assert demo.run("DELETE " + L) == "OK"
    assert "/vms/107" not in [row["path"] for row in demo("GET /access/acl")]


def test_a_command_that_the_agent_does_not_run_is_an_answer_with_an_error_in_it(demo):
    demo.cluster.world.guests[100].guest["disabled"] = ("get-fsinfo",)
    assert demo("GET " + W + "/agent/get-fsinfo")["result"]["error"] == {
        "class": "CommandNotFound",
        "desc": "Command guest-get-fsinfo has been disabled: the command is not allowed"}
    assert "result" in demo("GET " + W + "/agent/get-osinfo")


def test_shapes(demo):
    demo.run("POST " + L + "/status/start")
    row = demo("GET /cluster/tasks")[0]
    assert (row["user"], row["tokenid"]) == ("root@pam", "demo") and not {"pid", "pstart"} & set(row)
    assert demo("GET /cluster/ha/status/current")[0]["armed-state"] == "armed"
    assert {"maintainer", "md5sum"} <= set(demo("GET /nodes/pve1/aplinfo")[0])
    assert "pressureiofull" in demo("GET /nodes/pve1/rrddata", timeframe="hour")[-1]
    assert "pressurecpufull" in demo("GET " + W + "/rrddata", timeframe="hour")[-1]


DAY, THURSDAY = 86400, 1767225600           # 2026-01-01 00:00 UTC


@pytest.mark.parametrize("event, since, after", [
    ("mon..fri 02:30", THURSDAY, 2.5 * 3600), ("mon..fri 02:30", THURSDAY + 1.5 * DAY, 4 * DAY + 2.5 * 3600),
    ("21:00", THURSDAY, 21 * 3600), ("21:00", THURSDAY + 21 * 3600, DAY + 21 * 3600), ("*/15", THURSDAY + 1, 900),
    ("sun 04:00", THURSDAY, 3 * DAY + 4 * 3600), ("fri..mon 1:00", THURSDAY, DAY + 3600), ("daily", THURSDAY, DAY),
    ("*-*-1 0:0", THURSDAY, 31 * DAY), ("sat,sun 3..5:0/20", THURSDAY, 2 * DAY + 3 * 3600), ("hourly", THURSDAY, 3600),
    ("2-29 1:00", THURSDAY, 789 * DAY + 3600), ("2027-*-1 0:0", THURSDAY, 365 * DAY),
])
def test_the_next_run_of_a_schedule(event, since, after):
    assert calendar.next_event(event, since) == THURSDAY + after


@pytest.mark.parametrize("event", ["", "x", "25:00", "*:70", "0 1 * * *", "mon..", "monkey", "5..2:00", "*/0",
                                   "1:00:99", "x-1-1", "1:2 3:4"])
def test_what_is_no_schedule(event):
    assert calendar.parse(event) is None
