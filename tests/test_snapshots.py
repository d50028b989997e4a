"""Snapshots: exact requests, the tree, what is refused before anything is sent, and what a rollback leaves behind."""
import pytest
from test_lifecycle import Impatient, guest_of, writes

from support import Asked, Bench, big, ok
from tools.pve.client import Cancelled
from tools.snapshots import tree

RESOURCES = "GET /cluster/resources type=vm"
V100, V107, C202, C203 = "/nodes/pve1/qemu/100", "/nodes/pve3/qemu/107", "/nodes/pve2/lxc/202", "/nodes/pve3/lxc/203"


def _create(path, params, *looks):
    return ["GET %s/feature feature=snapshot" % path, *looks, "POST %s/snapshot %s" % (path, params)]


def _rollback(path, name, params=""):
    return ["GET %s/snapshot" % path, "GET %s/status/current" % path,
            "POST %s/snapshot/%s/rollback%s" % (path, name, params),
            "GET %s/status/current" % path]


CASES = [
    ("proxmox_list_snapshots", {"name": "web*", "older_than": 28}, [RESOURCES, "GET %s/snapshot" % V100]),
    ("proxmox_list_snapshots",
     {"node": "pve1", "pool": "production", "tag": "prod", "name": "web*", "limit": 9, "offset": 0},
     [RESOURCES, "GET %s/snapshot" % V100, "GET %s/snapshot/before-upgrade/config" % V100,
      "GET /nodes/pve1/storage/local-lvm/content/local-lvm:vm-100-state-before-upgrade"]),
    ("proxmox_list_snapshots_vm", {"node": "pve1", "vmid": 100}, ["GET %s/snapshot" % V100]),
    ("proxmox_list_snapshots_vm", {"vmid": 100, "limit": 1, "offset": 1}, [RESOURCES, "GET %s/snapshot" % V100]),
    ("proxmox_list_snapshots_lxc", {"node": "pve2", "vmid": 202}, ["GET %s/snapshot" % C202]),
    ("proxmox_create_snapshot_vm", {"node": "pve1", "vmid": 100, "snapname": "now", "description": "a & b = c"},
     _create(V100, "description=a & b = c snapname=now")),
    ("proxmox_create_snapshot_vm", {"node": "pve1", "vmid": 100, "name": "now", "vmstate": True, "wait": 600},
     _create(V100, "snapname=now vmstate=1", "GET %s/status/current" % V100)),
    ("proxmox_create_snapshot_lxc", {"node": "pve3", "vmid": 203, "snapname": "now", "description": "x"},
     _create(C203, "description=x snapname=now")),
    ("proxmox_rollback_snapshot_vm", {"node": "pve1", "vmid": 100, "snapname": "fresh-install", "wait": 600},
     _rollback(V100, "fresh-install")),
    ("proxmox_rollback_snapshot_vm", {"node": "pve1", "vmid": 100, "snapname": "fresh-install", "start": True,
                                      "wait": 600},
     _rollback(V100, "fresh-install", " start=1") + ["GET %s/status/current" % V100]),
    ("proxmox_rollback_snapshot_lxc", {"node": "pve3", "vmid": 203, "snapname": "clean"}, _rollback(C203, "clean")),
    ("proxmox_rollback_snapshot_lxc", {"node": "pve3", "vmid": 203, "snapname": "clean", "start": True},
     _rollback(C203, "clean", " start=1")),
    ("proxmox_delete_snapshot_vm", {"vmid": 100, "snapname": "fresh-install"},
     [RESOURCES, "GET %s/snapshot" % V100, "DELETE %s/snapshot/fresh-install" % V100]),
    ("proxmox_delete_snapshot_lxc", {"node": "pve3", "vmid": 203, "snapname": "clean", "force": True},
     ["GET %s/snapshot" % C203, RESOURCES, "DELETE %s/snapshot/clean force=1" % C203]),
]


# ------------------------------------------------------------------------------------------------------------- the list

def test_the_list_is_a_tree_and_says_where_the_guest_stands():
    answer = Bench().run("proxmox_list_snapshots_vm", vmid=100)
    assert "2 snapshots of VM 100; its present state descends from before-upgrade" in answer.text
    assert [row["name"] for row in answer.data["items"]] == ["fresh-install", "before-upgrade"]
    assert answer.data["items"][1]["parent"] == "fresh-install" and answer.data["items"][1]["vmstate"] is True
    assert "\u2514\u2500 before-upgrade" in answer.text and "You are here" not in answer.text
    assert [row["name"] for row in answer.data["items"] if row.get("current")] == ["before-upgrade"]
    assert answer.data["total"] == 2


def test_no_snapshots():
    answer = Bench().run("proxmox_list_snapshots_vm", vmid=107)
    assert not answer.failed and "0 snapshots of VM 107" in answer.text and answer.data["items"] == []


def test_the_tree_keeps_branches_together_and_loses_none():
    entries = [{"name": n, "parent": p, "snaptime": t} for n, p, t in (
        ("c", "a", 30), ("a", None, 10), ("b", "a", 20), ("b1", "b",
                                                          40), ("lost", "gone", 5), ("x", "y", 1), ("y", "x", 2))]
    assert [(e["name"], e["depth"]) for e in tree(entries)] == [
        ("lost", 0), ("a", 0), ("b", 1), ("b1", 2), ("c", 1), ("x", 0), ("y", 0)]


def test_a_broken_snapshot_is_shown_as_such():
    bench = Bench()
    meddle_state(bench, 203, "clean", "delete")
    answer = bench.run("proxmox_list_snapshots_lxc", vmid=203)
    assert answer.data["items"][0]["snapstate"] == "delete" and "INCOMPLETE" in answer.text


def meddle_state(bench, vmid, name, state):
    """Have the snapshot listed with a snapstate."""
    bench.cluster.world.guests[vmid].snapshots[name]["state"] = state


# ------------------------------------------------------------------------------------------------------------- refusals

@pytest.mark.parametrize("tool, arguments, says", [
    ("proxmox_create_snapshot_vm", {"vmid": 100, "snapname": "1st"}, "is not a snapshot name"),
    ("proxmox_create_snapshot_vm", {"vmid": 100, "snapname": "a" * 41}, "is not a snapshot name"),
    ("proxmox_create_snapshot_vm", {"vmid": 104, "snapname": "now"}, "scsi0 (san:vm-104-disk-0)"),
    ("proxmox_create_snapshot_lxc", {"vmid": 205, "snapname": "now"}, "mp0 (/tank/media)"),
    ("proxmox_create_snapshot_lxc", {"vmid": 203, "snapname": "now", "vmstate": True}, "vmstate: unknown argument"),
    ("proxmox_rollback_snapshot_vm", {"vmid": 100, "snapname": "nope"}, "It has: fresh-install, before-upgrade."),
    ("proxmox_rollback_snapshot_vm", {"vmid": 100, "snapname": "current"}, "VM 100 has no snapshot current"),
    ("proxmox_rollback_snapshot_vm", {"vmid": 107, "snapname": "nope"}, "It has none."),
    ("proxmox_delete_snapshot_lxc", {"vmid": 203, "snapname": "nope"},
     "Container 203 has no snapshot nope. It has: clean."),
    ("proxmox_delete_snapshot_vm", {"vmid": 100, "snapname": "../clone"}, "is not a snapshot name"),
])
def test_refusals_send_nothing(tool, arguments, says):
    bench = Bench()
    answer = bench.run(tool, **arguments)
    assert answer.failed and says in answer.text, answer.text
    assert ("Nothing was sent." in answer.text) == ("was not called" not in answer.text)
    assert writes(bench) == []


def test_an_incomplete_snapshot_is_not_rolled_back_to():
    bench = Bench()
    meddle_state(bench, 203, "clean", "prepare")
    answer = bench.run("proxmox_rollback_snapshot_lxc", vmid=203, snapname="clean")
    assert answer.failed and "incomplete (prepare)" in answer.text and "force=true" in answer.text
    assert writes(bench) == []


@pytest.mark.parametrize("tool, arguments, parts", [
    ("proxmox_rollback_snapshot_vm", {"vmid": 100, "snapname": "fresh-install"},
     ["Roll VM 100 (web01) on node pve1 back to snapshot fresh-install (taken 2025-10-03", "\"after the installation\"",
      "is lost",
      "It is running and is stopped hard; it stays stopped (start=true starts it again)",
      "Newer snapshots exist (before-upgrade)"]),
    ("proxmox_rollback_snapshot_vm", {"vmid": 100, "snapname": "fresh-install", "start": True},
     ["then it is started again"]),
    ("proxmox_rollback_snapshot_vm", {"vmid": 100, "snapname": "before-upgrade"},
     ["continues from the memory in the snapshot"]),
    ("proxmox_delete_snapshot_lxc", {"vmid": 202, "snapname": "weekly-1"},
     ["Delete snapshot weekly-1 of container 202 (files) on node pve2"]),
])
def test_the_question_and_a_no(tool, arguments, parts):
    consent = Asked(False)
    bench = Bench(consent=consent)
    answer = bench.run(tool, **arguments)
    for part in parts:
        assert part in consent.questions[0]
    assert answer.failed and writes(bench) == []


# --------------------------------------------------------------------------------------------------- what is truly said

def test_create_takes_it():
    bench = Bench()
    answer = bench.run("proxmox_create_snapshot_vm", vmid=107, snapname="now", description="x = y & z")
    assert not answer.failed and "Snapshot now of VM 107 taken" in answer.text, answer.text
    assert guest_of(bench, 107).snapshots["now"]["description"].strip() == "x = y & z" and len(writes(bench)) == 1
    assert answer.data["snapname"] == "now" and answer.data["task"]["type"] == "qmsnapshot"


@pytest.mark.parametrize("vmid, says, vmstate", [(100, ", with its memory", True),
                                                 (107, ", without its memory: the VM is not running", False)])
def test_memory_is_said_to_be_in_it_only_if_it_is(vmid, says, vmstate):
    answer = Bench().run("proxmox_create_snapshot_vm", vmid=vmid, snapname="now", vmstate=True, wait=600)
    assert says in answer.text and answer.data["vmstate"] is vmstate


def test_a_name_taken_is_a_failure():
    bench = Bench()
    answer = bench.run("proxmox_create_snapshot_lxc", vmid=203, snapname="clean")
    assert answer.failed and "already used" in answer.text and "Choose another name" in answer.text
    assert len(writes(bench)) == 1


@pytest.mark.parametrize("arguments, state, says", [
    ({"snapname": "fresh-install"}, "stopped", "It is stopped now. proxmox_start_vm starts it."),
    ({"snapname": "fresh-install", "start": True}, "running", "It is running now."),
    ({"snapname": "before-upgrade"}, "running", "It is running now.")])
def test_rollback_says_what_the_guest_is_in_afterwards(arguments, state, says):
    bench = Bench()
    answer = bench.run("proxmox_rollback_snapshot_vm", vmid=100, wait=600, **arguments)
    assert not answer.failed and says in answer.text, answer.text
    assert answer.data["state"] == state and guest_of(bench, 100).parent == arguments["snapname"]
    assert len(writes(bench)) == 1


def test_a_guest_that_does_not_start_after_a_rollback():
    bench = Bench()
    guest_of(bench, 203).snapshots["clean"]["conf"]["net0"] = "name=eth0,bridge=vmbr9"
    answer = bench.run("proxmox_rollback_snapshot_lxc", vmid=203, snapname="clean", start=True, wait=600)
    assert not answer.failed and answer.data["state"] == "stopped"
    assert "It should have started and is not running yet: proxmox_list_tasks vmid=203 shows why." in answer.text


def test_zfs_only_goes_back_to_the_newest():
    bench = Bench()
    answer = bench.run("proxmox_rollback_snapshot_lxc", vmid=202, snapname="weekly-1", wait=600)
    assert answer.failed and "is not most recent snapshot" in answer.text
    assert "delete the newer ones first" in answer.text


def test_delete_removes_it_and_nothing_else():
    bench = Bench()
    answer = bench.run("proxmox_delete_snapshot_vm", vmid=100, snapname="fresh-install")
    assert not answer.failed and "Snapshot fresh-install of VM 100 (web01) deleted" in answer.text
    assert list(guest_of(bench, 100).snapshots) == ["before-upgrade"] and guest_of(bench, 100).running
    last = bench.run("proxmox_delete_snapshot_vm", vmid=100, snapname="before-upgrade")
    assert "the only one it had" not in answer.text and "web01) deleted, the only one it had" in last.text
    assert last.data.keys() == answer.data.keys()


def test_a_locked_guest_is_explained():
    answer = Bench().run("proxmox_create_snapshot_vm", vmid=106, snapname="now")
    assert answer.failed and "is locked (backup)" in answer.text and "qm unlock" in answer.text


def test_cancelled_while_waiting():
    bench = Bench()
    with pytest.raises(Cancelled):
        bench.run("proxmox_create_snapshot_vm", request=Impatient(), vmid=100, snapname="now", vmstate=True)
    assert len(writes(bench)) == 1


def test_a_rollback_that_outlasts_the_wait():
    bench = Bench()
    answer = bench.run("proxmox_rollback_snapshot_vm", vmid=100, snapname="fresh-install", wait=0)
    assert answer.text.startswith("\u23f3") and "Once it has ended: " in answer.text and "state" not in answer.data


# ------------------------------------------------------------------------------------------------------- of all guests

def test_the_snapshots_of_all_guests_oldest_first():
    bench = Bench()
    answer = ok(bench.run("proxmox_list_snapshots"))
    rows = answer.data["items"]
    assert answer.text.startswith("\u2705 %d snapshots of %d guests, of 17 looked at\n" % (
        len(rows), len({row["vmid"] for row in rows})))
    assert [row["snaptime"] for row in rows] == sorted(row["snaptime"] for row in rows)
    assert {(row["vmid"], row["name"], row.get("depth")) for row in rows} >= {
        (100, "fresh-install", 0), (100, "before-upgrade", 1)}
    assert "8.5 GiB" in answer.text and [row["size"] for row in rows if row.get("vmstate")] == [8692 << 20]
    answer = ok(bench.run("proxmox_list_snapshots", older_than=60))
    assert "1 snapshot older than 60 days of 1 guest, of 17 looked at" in answer.text
    assert ["100", "web01", "pve1", "production", "fresh-install"] in [
        line.split()[:5] for line in answer.text.split("\n")]


def test_snapshots_that_cannot_be_read_are_said_by_node():
    bench = Bench(offline=("pve3",))
    answer = ok(bench.run("proxmox_list_snapshots"))
    assert answer.text.count("Not read: ") == 1
    assert "Not read: Snapshot of guests 103, 105, 107, 203 on pve3: " in answer.text
    assert "tag=nix fits no guest. In use: " in ok(bench.run("proxmox_list_snapshots", tag="nix")).text


def test_snapshots_of_too_many_guests_are_narrowed():
    bench = Bench(big())
    answer = bench.run("proxmox_list_snapshots")
    assert answer.failed and "10000 guests are more than the 500" in answer.text and len(bench.sent()) == 1
