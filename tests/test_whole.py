"""A question is whole: all that its requests carry stands in it. What was asked about is what is done."""
import re

import pytest

from cases import CASES, ran
from support import Asked, Bench, journaling, ok
from tools.pve.scrub import is_secret

#: Parameters whose meaning the tool's own sentence says, or that say nothing a user has to decide.
HOW = set("digest vmid newid timeout remove full pos moveto delete notification-mode notes-template compress restore force purge".split())


def words(value):
    return re.findall(r"[\w.:/@-]+", str(value))


@pytest.mark.parametrize("ident", list(CASES))
def test_what_is_asked_names_every_parameter_that_is_sent(ident):
    """In so many words, as a number of another unit, or hidden by its name."""
    run = ran(ident, "always")
    if not run.questions:
        return
    asked = " ".join(run.questions).replace(",", " ")
    for verb, path, params in run.requests:
        if verb == "GET":
            continue
        for name, value in params.items():
            if name in HOW or is_secret(name) or value in (None, "", 0, "0"):
                continue
            said = name in asked or any(word in asked for word in words(value))
            assert said, "%s=%s of %s %s is not in: %s" % (name, value, verb, path, asked)


@pytest.mark.parametrize("tool, arguments", [
    ("execute_in_guests", {"vmids": ["lab", "win11"], "command": "uptime"}),
    ("create_backup_job", {"schedule": "02:00", "storage": "nas", "vmid": "lab,win11", "keep": "keep-last=1"})])
def test_a_name_that_is_another_guests_when_the_answer_comes_is_not_that_guests_yes(tool, arguments):
    """Two calls, as in the newest revision: the second reads anew, and what was found is not the same."""
    found = []
    for swapped in (False, True):
        bench = Bench(confirm="always")
        guests = bench.cluster.world.guests
        if swapped:
            guests[107].conf["name"], guests[102].conf["name"] = "win11", "other"
            guests[105].conf["name"] = "lab"

        class Noting:
            def ask(self, call, describe):
                found.append(describe()[1])
                return found[-1]
        bench.host.run("proxmox_" + tool, dict(arguments), None, Noting())
    assert len(found) == 2 and found[0] != found[1]


DISABLED = [
    ("delete_vm", "api_call", {"verb": "DELETE", "path": "/nodes/pve3/qemu/107"}),
    ("start_vm", "clone_vm", {"vmid": 9000, "newid": 500, "start": True}),
    ("update_vm_config", "clone_vm", {"vmid": 9000, "newid": 500, "memory": 4096}),
    ("migrate_vm", "clone_vm", {"vmid": 9000, "newid": 500, "target": "pve2"}),
    ("start_lxc", "create_lxc", {"node": "pve1", "vmid": 500, "ostemplate": "local:vztmpl/x.tar.zst", "start": True}),
    ("stop_vm", "shutdown_vm", {"vmid": 100, "force_stop": True}),
    ("start_vm", "rollback_snapshot_vm", {"vmid": 100, "snapname": "before-upgrade", "start": True}),
    ("delete_backup", "create_backup_vm", {"vmid": 100, "prune": True}),
    ("delete_vm", "run", {"steps": [{"tool": "proxmox_delete_vm", "arguments": {"vmid": 107}}]})]


@pytest.mark.parametrize("disabled, tool, arguments", DISABLED)
def test_what_a_disabled_tool_does_no_other_tool_does_by_the_way(disabled, tool, arguments):
    bench = Bench(consent=Asked(), disabled_tools=["proxmox_" + disabled])
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.failed and "PROXMOX_DISABLED_TOOLS" in answer.text and bench.sent(reads=False) == []
    assert "PROXMOX_DISABLED_TOOLS" not in Bench(consent=Asked()).run("proxmox_" + tool, **arguments).text


def test_undo_deletes_no_guest_where_that_is_switched_off():
    bench = Bench(consent=Asked())
    journaling(bench)
    undo = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=500)).data["undo"]
    other = Bench(bench.cluster, consent=Asked(), disabled_tools=["proxmox_delete_vm"])
    answer = other.run("proxmox_undo", id=undo)
    assert answer.failed and "switches off proxmox_delete_vm" in answer.text and other.sent(reads=False) == []
