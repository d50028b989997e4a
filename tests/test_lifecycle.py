"""Start, stop, shutdown, reboot, pause, resume, delete: exact requests, what is refused, and what is truly said."""
import pytest

from support import Asked, Bench, answering
from tools.base.failures import Declined, TaskFailure, explained
from tools.lifecycle import EXPLAINED
from tools.mcp.run import Nobody
from tools.pve.client import Cancelled, PveError
from tools.pve.task import Outcome

RESOURCES = "GET /cluster/resources type=vm"
V107, C203, V100, C200 = "/nodes/pve3/qemu/107", "/nodes/pve3/lxc/203", "/nodes/pve1/qemu/100", "/nodes/pve1/lxc/200"


def _power(tool, path, verb, arguments=None, *lines):
    """A case: the state is read, one POST, the state is read again."""
    _, _, node, _, vmid = path.split("/")
    look = "GET %s/status/current" % path
    return (tool, dict({"node": node, "vmid": int(vmid)}, **(arguments or {})),
            [look, " ".join(("POST %s/status/%s" % (path, verb),) + lines), look])


def _runs(vmid):
    def prepare(bench):
        guest = bench.cluster.world.guests[vmid]
        guest.running, guest.since, guest.pid = True, bench.cluster.world.t - 100, 4711
    return prepare


def _paused(bench):
    bench.cluster.world.guests[100].paused = True


def _delete(path, params=""):
    return ["GET %s/config" % path, "GET %s/status/current" % path, "GET %s/snapshot" % path,
            "DELETE %s%s" % (path, params)]


CASES = [
    _power("proxmox_start_vm", V107, "start"),
    _power("proxmox_start_vm", V107, "start", {"wait": 60}),
    ("proxmox_start_vm", {"vmid": "107"}, [RESOURCES] + _power("", V107, "start")[2]),
    _power("proxmox_start_lxc", C203, "start"),
    _power("proxmox_stop_vm", V100, "stop"),
    _power("proxmox_stop_lxc", C200, "stop"),
    _power("proxmox_shutdown_vm", V100, "shutdown"),
    _power("proxmox_shutdown_vm", V100, "shutdown", {"timeout": 20, "force_stop": True}, "forceStop=1", "timeout=20"),
    _power("proxmox_shutdown_lxc", C200, "shutdown"),
    _power("proxmox_shutdown_lxc", C200, "shutdown", {"timeout": 20, "forceStop": True}, "forceStop=1", "timeout=20"),
    _power("proxmox_reboot_vm", V100, "reboot"),
    _power("proxmox_reboot_vm", V100, "reboot", {"timeout": 20}, "timeout=20"),
    _power("proxmox_reboot_lxc", C200, "reboot"),
    _power("proxmox_reboot_lxc", C200, "reboot", {"timeout": 20}, "timeout=20"),
    _power("proxmox_pause_vm", V100, "suspend"),
    _power("proxmox_pause_vm", V100, "suspend", {"todisk": True}, "todisk=1"),
    _power("proxmox_resume_vm", V100, "resume") + (_paused,),
    ("proxmox_delete_vm", {"node": "pve3", "vmid": 107}, _delete(V107)),
    ("proxmox_delete_vm", {"node": "pve3", "vmid": 107, "purge": True}, _delete(V107, " purge=1")),
    ("proxmox_delete_lxc", {"node": "pve3", "vmid": 203}, _delete(C203)),
    ("proxmox_delete_lxc", {"node": "pve3", "vmid": 203, "force": True, "purge": True},
     _delete(C203, " force=1 purge=1"), _runs(203)),
]


def writes(bench):
    return bench.sent(reads=False)


def meddle(bench, verb, end, action):
    """Have `action()` done just before the request `verb` ".../end" reaches the cluster: somebody was faster."""
    handle = bench.cluster.handle

    def handled(method, target, headers, body=b""):
        if method == verb and target.split("?")[0].endswith(end):
            action()
        return handle(method, target, headers, body)
    bench.cluster.handle = handled


def guest_of(bench, vmid):
    return bench.cluster.world.guests[vmid]


# --------------------------------------------------------------------------------------- nothing to do, or refused here

@pytest.mark.parametrize("tool, vmid, says", [
    ("proxmox_start_vm", 100, "VM 100 (web01) is running already"),
    ("proxmox_start_lxc", 200, "Container 200 (dns) is running already"),
    ("proxmox_start_vm", 104, "VM 104 (mail) is running already"),
    ("proxmox_stop_vm", 107, "VM 107 (lab) is stopped already"),
    ("proxmox_stop_lxc", 203, "Container 203 (dev) is stopped already"),
    ("proxmox_shutdown_vm", 107, "VM 107 (lab) is stopped already"),
    ("proxmox_shutdown_lxc", 203, "Container 203 (dev) is stopped already"),
    ("proxmox_pause_vm", 103, "VM 103 (mon01) is paused already"),
    ("proxmox_resume_vm", 100, "VM 100 (web01) is running already"),
])
def test_what_is_so_already_is_said_and_nothing_is_sent(tool, vmid, says):
    bench = Bench()
    answer = bench.run(tool, vmid=vmid)
    assert not answer.failed and says in answer.text and "nothing was done" in answer.text
    assert answer.data["changed"] is False and answer.data["state"] in answer.text
    assert writes(bench) == []


@pytest.mark.parametrize("tool, arguments, says", [
    ("proxmox_reboot_vm", {"vmid": 107},
     "VM 107 (lab) is stopped, so it cannot be rebooted. proxmox_start_vm"),
    ("proxmox_reboot_lxc", {"vmid": 203}, "proxmox_start_lxc starts it"),
    ("proxmox_pause_vm", {"vmid": 107}, "VM 107 (lab) is stopped, so it cannot be paused"),
    ("proxmox_resume_vm", {"vmid": 107}, "is stopped, neither paused nor hibernated"),
    ("proxmox_shutdown_vm", {"vmid": 103},
     "VM 103 (mon01) cannot react. It is paused; proxmox_resume_vm"),
    ("proxmox_reboot_vm", {"vmid": 103}, "VM 103 (mon01) cannot react. It is paused"),
    ("proxmox_delete_vm", {"vmid": 100},
     "VM 100 (web01) is running. Shut it down first (proxmox_shutdown_vm)."),
    ("proxmox_delete_lxc", {"vmid": 200}, "Shut it down first (proxmox_shutdown_lxc), or force=true kills it"),
    ("proxmox_delete_vm", {"vmid": 101}, "VM 101 (db01) is protected"),
    ("proxmox_delete_lxc", {"vmid": 204, "force": True}, "Container 204 (git) is protected"),
    ("proxmox_start_vm", {"vmid": 100, "node": "pve2"}, "VM 100 is on node pve1, not on pve2"),
    ("proxmox_delete_vm", {"vmid": 107, "node": "pve1"}, "Call again with node=pve3"),
    ("proxmox_start_vm", {"vmid": 200}, "Guest 200 is a container, not a VM"),
    ("proxmox_stop_vm", {"vmid": 4040}, "There is no guest 4040"),
    ("proxmox_start_vm", {"vmid": 100, "force": True}, "force: unknown argument"),
])
def test_refusals_send_nothing(tool, arguments, says):
    bench = Bench()
    answer = bench.run(tool, **arguments)
    assert answer.failed and says in answer.text
    assert ("Nothing was sent." in answer.text) == ("was not called" not in answer.text)
    assert writes(bench) == []


def test_a_node_that_is_there_and_cannot_be_looked_up_is_not_called_missing():
    bench = Bench()
    answering(bench, "/nodes/pve3/qemu/107/status/current", (500, "hostname lookup 'pve3' failed"))
    answer = bench.run("proxmox_start_vm", vmid=107, node="pve3")
    assert answer.failed and "hostname lookup 'pve3' failed" in answer.text
    assert "There is no node pve3" not in answer.text


def test_starting_a_paused_vm_says_how_it_goes_on():
    bench = Bench()
    answer = bench.run("proxmox_start_vm", vmid=103)
    assert answer.failed and "is switched on, but paused" in answer.text and "proxmox_resume_vm" in answer.text
    assert writes(bench) == []


def test_deleting_an_ha_guest_needs_purge():
    bench = Bench()
    guest_of(bench, 104).running = False
    for arguments in ({}, {"purge": False}):
        answer = bench.run("proxmox_delete_vm", vmid=104, **arguments)
        assert answer.failed and "managed by HA" in answer.text and "purge=true" in answer.text and writes(bench) == []


def test_a_guest_is_looked_at_anew_after_the_question():
    class Slow:
        def ask(self, call, describe):
            before = describe()[1]
            guest_of(bench, 100).running = False
            seen.append((before, describe()[1]))
            raise Declined("The user said no.")
    seen, bench = [], Bench(consent=Slow())
    bench.run("proxmox_stop_vm", vmid=100)
    assert [[found["status"] for found in pair] for pair in seen] == [["running", "stopped"]]


@pytest.mark.parametrize("tool, arguments, question", [
    ("proxmox_stop_vm", {"vmid": 100}, "Cut the power of VM 100 (web01) on node pve1? What it has not saved is lost."),
    ("proxmox_shutdown_lxc", {"vmid": 200, "force_stop": True},
     "Shut down container 200 (dns) on node pve1, and cut its power"),
    ("proxmox_delete_vm", {"vmid": 102},
     "Delete VM 102 (win11) on node pve2 for good, with its disks efidisk0 local-lvm:vm-102-disk-0 (4M), scsi0 "
     "local-lvm:vm-102-disk-2 (64G), tpmstate0 local-lvm:vm-102-disk-1 (4M), unused0 local-lvm:vm-102-disk-3 and "
     "its snapshot clean?"),
    ("proxmox_delete_lxc", {"vmid": 205}, "Delete container 205 (media) on node pve2 for good, with its disks rootfs "
     "local-lvm:vm-205-disk-0 (12G)?"),
    ("proxmox_delete_lxc", {"vmid": 200, "force": True}, "It is running and is killed first."),
    ("proxmox_delete_vm", {"vmid": 9000}, "ide2 local-lvm:vm-9000-cloudinit"),
])
def test_the_question_names_the_target_and_a_no_sends_nothing(tool, arguments, question):
    consent = Asked(False)
    bench = Bench(consent=consent)
    answer = bench.run(tool, **arguments)
    assert question in consent.questions[0]
    assert answer.failed and writes(bench) == []


# --------------------------------------------------------------------------------------------------- what is truly said

@pytest.mark.parametrize("tool, vmid, says, state", [
    ("proxmox_start_vm", 107, "VM 107 (lab) started", "running"),
    ("proxmox_start_lxc", 203, "Container 203 (dev) started", "running"),
    ("proxmox_stop_vm", 100, "VM 100 (web01) stopped hard", "stopped"),
    ("proxmox_shutdown_vm", 100, "VM 100 (web01) shut down", "stopped"),
    ("proxmox_reboot_vm", 100, "VM 100 (web01) rebooted", "running"),
    ("proxmox_reboot_lxc", 200, "Container 200 (dns) rebooted", "running"),
    ("proxmox_pause_vm", 100, "VM 100 (web01) paused", "paused"),
    ("proxmox_resume_vm", 103, "VM 103 (mon01) resumed", "running"),
])
def test_the_state_reached_is_read_and_told(tool, vmid, says, state):
    bench = Bench()
    answer = bench.run(tool, vmid=vmid)
    assert not answer.failed and says in answer.text, answer.text
    assert len(writes(bench)) == 1
    assert (answer.data["state"], answer.data["changed"], answer.data["done"]) == (state, True, True)
    assert answer.data["task"]["upid"].startswith("UPID:")


def test_hibernating_and_resuming():
    bench = Bench()
    answer = bench.run("proxmox_pause_vm", vmid=107, todisk=True)
    assert answer.failed and writes(bench) == []
    answer = bench.run("proxmox_pause_vm", vmid=100, todisk=True, wait=600)
    assert not answer.failed and answer.data["state"] == "hibernated", answer.text
    answer = bench.run("proxmox_reboot_vm", vmid=100)
    assert answer.failed and "is hibernated, so it cannot be rebooted" in answer.text
    answer = bench.run("proxmox_resume_vm", vmid=100)
    assert not answer.failed and answer.data["state"] == "running", answer.text


def test_a_reboot_that_found_it_stopped_is_a_failure():
    bench = Bench()
    meddle(bench, "POST", "/reboot", lambda: setattr(guest_of(bench, 100), "running", False))
    answer = bench.run("proxmox_reboot_vm", vmid=100)
    assert answer.failed and "not running" in answer.text and "proxmox_start_vm starts it" in answer.text


def test_a_reboot_that_was_refused_is_no_success_because_it_runs_again():
    bench = Bench()
    request = bench.host.client.request

    def refuse(verb, path, *arguments, **more):
        if verb == "POST":
            raise PveError("Proxmox refused it: VM 100 not running", status=500)
        return request(verb, path, *arguments, **more)
    bench.host.client.request = refuse
    answer = bench.run("proxmox_reboot_vm", vmid=100)
    assert guest_of(bench, 100).running and answer.failed and "not running" in answer.text


def test_a_template_cannot_start():
    answer = Bench().run("proxmox_start_vm", vmid=9000)
    assert answer.failed and "only there to be cloned: proxmox_clone_vm" in answer.text


def test_a_guest_that_does_not_react_goes_on_and_that_is_said():
    bench = Bench()
    guest_of(bench, 100).guest["deaf"] = True
    answer = bench.run("proxmox_shutdown_vm", vmid=100, wait=300)
    assert answer.failed and "got timeout" in answer.text, answer.text
    assert "keeps running" in answer.text and "guest agent" in answer.text and "ACPI" in answer.text
    assert "proxmox_stop_vm" in answer.text
    assert guest_of(bench, 100).running


def test_the_lock_after_a_stop_is_explained():
    failure = TaskFailure(Outcome("UPID:x", type="qmstart", status="stopped", exitstatus="can't lock file "
                                  "'/var/lock/qemu-server/lock-100.conf' - got timeout"))
    text = explained(failure, EXPLAINED, "qemu", "root@pam!demo")
    assert text.startswith(
        str(failure)) and "guest 100 (for up to 30 s after a stop)" in text and "then try again" in text


# ------------------------------------------------------------------------------------------------------------------ HA

def test_ha_is_waited_for_until_the_guest_is_really_stopped():
    bench = Bench()
    answer = bench.run("proxmox_shutdown_vm", vmid=104, wait=120)
    assert not answer.failed and "HA keeps it so" in answer.text, answer.text
    assert answer.data["task"]["type"] == "hastop" and answer.data["ha"] is True and answer.data["state"] == "stopped"
    assert len(writes(bench)) == 1 and not guest_of(bench, 104).running
    answer = bench.run("proxmox_start_vm", vmid=104, wait=120)
    assert answer.data["task"]["type"] == "hastart" and answer.data["state"] == "running"
    assert guest_of(bench, 104).running


@pytest.mark.parametrize("tool, running, asked", [("proxmox_start_vm", True, "stopped"),
                                                  ("proxmox_shutdown_vm", False, "started")])
def test_a_guest_that_ha_was_asked_to_take_elsewhere_is_not_settled(tool, running, asked):
    """It is as wished now, and would not be for long."""
    bench = Bench()
    guest_of(bench, 104).running = running
    bench.cluster.world.ha["resources"]["vm:104"]["state"] = asked
    bench.run(tool, vmid=104, wait=0)
    assert [line.rpartition("/")[2] for line in writes(bench)] == [tool.split("_")[1]]


@pytest.mark.parametrize("tool, status, asked", [
    ("proxmox_start_vm", "running", "started"), ("proxmox_start_vm", "running", "enabled"),
    ("proxmox_stop_vm", "stopped", "stopped"), ("proxmox_stop_vm", "stopped", "disabled")])
def test_both_names_of_what_ha_was_asked_for_are_known(tool, status, asked):
    bench = Bench()
    answering(bench, "/nodes/pve1/qemu/104/status/current",
              {"vmid": 104, "status": status, "ha": {"managed": 1, "state": asked}})
    assert "already; nothing was done" in bench.run(tool, vmid=104, node="pve1").text and writes(bench) == []


def test_ha_that_takes_longer_than_the_wait_is_told_as_not_yet():
    bench = Bench()
    answer = bench.run("proxmox_stop_vm", vmid=104, wait=1)
    assert not answer.failed and answer.text.startswith("\u23f3"), answer.text
    assert "is running" in answer.text and "HA" in answer.text and "proxmox_get_vm_status" in answer.text
    assert "changed" not in answer.data and len(writes(bench)) == 1


# ------------------------------------------------------------------------------------------------- waiting and its end

def test_a_task_that_outlasts_the_wait():
    bench = Bench()
    answer = bench.run("proxmox_shutdown_vm", vmid=100, wait=0)
    assert not answer.failed and answer.text.startswith("\u23f3") and "Still running in Proxmox" in answer.text
    task = answer.data["task"]
    assert task["upid"] in answer.text and task["status"] == "running" and "changed" not in answer.data
    assert len(writes(bench)) == 1


def test_no_look_at_a_task_takes_long():
    bench, looks = Bench(), []
    request = bench.host.client.request

    def watch(verb, path, *arguments, **more):
        if "/tasks/" in path:
            looks.append(more.get("timeout"))
        return request(verb, path, *arguments, **more)
    bench.host.client.request = watch
    bench.run("proxmox_shutdown_vm", vmid=100, wait=60)
    assert len(looks) > 2 and set(looks) == {10}


class Impatient(Nobody):
    """A client that cancels when it hears of progress for the first time."""
    wants_progress = True

    def progress(self, percent, message):
        self.cancelled.set()


@pytest.mark.parametrize("tool, vmid", [("proxmox_shutdown_vm", 100), ("proxmox_stop_vm", 104)])
def test_cancelled_while_waiting(tool, vmid):
    bench = Bench()
    with pytest.raises(Cancelled):
        bench.run(tool, request=Impatient(), vmid=vmid)
    assert len(writes(bench)) == 1


def test_a_dry_run_plans_one_request_and_waits_for_nothing():
    bench = Bench(dry_run=True)
    before = bench.clock()
    answer = bench.run("proxmox_stop_vm", vmid=100)
    assert answer.data["requests"] == [{"method": "POST", "path": "/api2/json%s/status/stop" % V100, "parameters": {}}]
    assert writes(bench) == [] and bench.clock() == before


def test_a_lost_answer_is_not_repeated_and_told_as_unknown():
    import requests
    bench = Bench()
    send = bench.cluster.send

    def lost(request, **kw):
        response = send(request, **kw)
        if request.method == "POST":
            raise requests.exceptions.ReadTimeout("no answer", request=request)
        return response
    bench.cluster.send = lost
    answer = bench.run("proxmox_start_vm", vmid=107)
    assert answer.failed and "proxmox_list_tasks" in answer.text and len(writes(bench)) == 1, answer.text
    assert answer.text.count("is not known") == 1                       # said once


def test_a_node_that_goes_away_while_we_wait_is_unknown_and_no_failure():
    bench = Bench()
    meddle(bench, "GET", "/status", lambda: bench.cluster.offline.add("pve3"))
    answer = bench.run("proxmox_start_vm", vmid=107, wait=5)
    assert not answer.failed and answer.text.startswith("\u23f3") and "not known yet" in answer.text
    assert "Do not repeat the call" in answer.text and len(writes(bench)) == 1


def test_why_a_task_could_not_be_read_is_told():
    bench = Bench()
    request = bench.host.client.request

    def lost(verb, path, *rest, **more):
        return request(verb, path.replace(":qmstart:", ":qmstop:"), *rest, **more)
    bench.host.client.request = lost
    answer = bench.run("proxmox_start_vm", vmid=107)
    assert "not known yet" in answer.text and "could not be read (Proxmox refused GET " in answer.text
    assert "Parameter verification failed" in answer.text, answer.text


def test_warnings_of_a_task_are_shown():
    bench = Bench()
    meddle(bench, "GET", "/status", lambda: [task.warn("the disk is nearly full") for task in
                                             bench.cluster.world.tasks.all.values() if task.running])
    answer = bench.run("proxmox_start_vm", vmid=107)
    assert not answer.failed and "VM 107 (lab) started" in answer.text
    assert "| WARN: the disk is nearly full" in answer.text
    assert answer.data["task"]["warnings"] and answer.data["task"]["exitstatus"].startswith("WARNINGS")


def test_a_vm_that_is_started_again_only_after_its_reboot_task():
    bench, looks = Bench(), []

    def state():
        looks.append(1)
        guest_of(bench, 100).running = len(looks) not in (2, 3)
    meddle(bench, "GET", "/status/current", state)
    answer = bench.run("proxmox_reboot_vm", vmid=100)
    assert not answer.failed and answer.data["state"] == "running" and len(looks) == 4 and len(writes(bench)) == 1


def test_a_vm_that_does_not_come_back_from_its_reboot_in_time():
    bench, looks = Bench(), []

    def state():
        looks.append(1)
        guest_of(bench, 100).running = len(looks) == 1
    meddle(bench, "GET", "/status/current", state)
    answer = bench.run("proxmox_reboot_vm", vmid=100)
    assert answer.text.startswith("\u23f3")
    assert "is stopped. It was shut down, and Proxmox starts it again" in answer.text


def test_a_guest_that_goes_down_again_is_no_success():
    bench, looks = Bench(), []

    def state():
        looks.append(1)
        guest_of(bench, 107).running = False
    meddle(bench, "GET", "/status/current", state)
    answer = bench.run("proxmox_start_vm", vmid=107)
    assert answer.failed and "ended with OK, but VM 107 (lab) is stopped now" in answer.text


def test_a_token_that_may_not_look_may_still_act():
    rights = {"/vms": ["VM.PowerMgmt"]}
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": rights}})
    answer = bench.run("proxmox_start_vm", vmid=107, node="pve3")
    assert not answer.failed and "VM 107 started" in answer.text and "could not be read" in answer.text


# ------------------------------------------------------------------------------------------------------------- deleting

def test_delete_removes_the_guest_and_names_what_went():
    bench = Bench()
    answer = bench.run("proxmox_delete_vm", vmid=102, purge=True)
    assert not answer.failed and "VM 102 (win11) on pve2 deleted" in answer.text, answer.text
    assert "scsi0 local-lvm:vm-102-disk-2 (64G)" in answer.text and "snapshot clean" in answer.text
    assert "Its backups stay." in answer.text
    assert 102 not in bench.cluster.world.guests and len(writes(bench)) == 1
    assert answer.data["disks"][0] == "efidisk0 local-lvm:vm-102-disk-0 (4M)"


def test_a_kept_backup_job_is_said():
    answer = Bench().run("proxmox_delete_vm", vmid=107)
    assert "backup jobs go on naming it" in answer.text


def test_a_replicated_guest_says_what_to_do():
    bench = Bench()
    guest_of(bench, 202).running = False
    answer = bench.run("proxmox_delete_lxc", vmid=202)
    assert answer.failed and "purge=true" in answer.text and 202 in bench.cluster.world.guests


# ------------------------------------------------------------------------------------------------------------- failures

VM, CT = {"node": "pve1", "vmid": 100}, {"node": "pve3", "vmid": 203}


@pytest.mark.parametrize("tool, arguments", [
    ("start_vm", {"vmid": 9000}), ("create_snapshot_vm", dict(VM, snapname="before-upgrade")),
    ("delete_snapshot_vm", dict(VM, snapname="nope")), ("rollback_snapshot_vm", dict(VM, snapname="nope")),
    ("resize_disk_vm", dict(VM, disk="scsi0", size="1G")), ("create_backup_vm", dict(VM, compress="lzo")),
    ("create_backup_vm", {"node": "pve2", "vmid": 100}), ("delete_vm", VM), ("pause_vm", {"vmid": 102}),
    ("move_disk_lxc", dict(CT, disk="rootfs", storage="nope")), ("reboot_lxc", {"vmid": 9999}),
    ("create_vm", {"node": "pve1", "vmid": 100}), ("clone_lxc", {"vmid": 203, "newid": 100})])
def test_what_proxmox_accepts_and_then_fails_at_is_told_as_a_failure(tool, arguments):
    answer = Bench().run("proxmox_" + tool, **arguments)
    assert answer.failed and answer.text.startswith("\u274c Error: "), answer.text
