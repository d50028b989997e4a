"""Moving guests: what is checked before, what is sent, and where the guest is afterwards."""
import pytest

from support import Bench

FIND = "GET /cluster/resources type=vm"


def unlocked(bench):
    bench.cluster.world.guests[106].conf.pop("lock")


def there(guest):
    """What is read of a guest on its new node."""
    return ["GET /nodes/%s/status/current" % guest, "GET /nodes/%s/pending" % guest]


CASES = [
    ("proxmox_migrate_vm", {"vmid": 103, "target": "pve1", "with_local_disks": True, "targetstorage": "local-lvm",
                            "bwlimit": 50000, "wait": 600},
     [FIND, "GET /nodes", "GET /nodes/pve3/qemu/103/migrate target=pve1",
      "POST /nodes/pve3/qemu/103/migrate bwlimit=50000 online=1 target=pve1 targetstorage=local-lvm "
      "with-local-disks=1", *there("pve1/qemu/103")]),
    ("proxmox_migrate_vm", {"vmid": 106, "node": "pve2", "target_node": "pve1", "wait": 600},
     ["GET /nodes", "GET /nodes/pve2/qemu/106/migrate target=pve1", "POST /nodes/pve2/qemu/106/migrate target=pve1",
      *there("pve1/qemu/106")],
     unlocked),
    ("proxmox_migrate_vm", {"vmid": 108, "target": "pve2", "wait": 600},
     [FIND, "GET /nodes", "GET /nodes/pve1/qemu/108/migrate target=pve2",
      "POST /nodes/pve1/qemu/108/migrate online=1 target=pve2", *there("pve2/qemu/108")]),
    ("proxmox_migrate_lxc", {"vmid": 200, "target": "pve2", "restart": True, "wait": 600, "bwlimit": 0,
                             "target_storage": "local-lvm:local-lvm"},
     [FIND, "GET /nodes", "GET /nodes/pve1/lxc/200/migrate target=pve2",
      "POST /nodes/pve1/lxc/200/migrate bwlimit=0 restart=1 target=pve2 target-storage=local-lvm:local-lvm",
      *there("pve2/lxc/200")]),
    ("proxmox_migrate_lxc", {"vmid": 205, "node": "pve2", "target": "pve1", "wait": 600},
     ["GET /nodes", "GET /nodes/pve2/lxc/205/migrate target=pve1", "POST /nodes/pve2/lxc/205/migrate target=pve1",
      *there("pve1/lxc/205")]),
]


def guest(bench, vmid):
    return bench.cluster.world.guests[vmid]


@pytest.mark.parametrize("tool, arguments, words", [
    ("proxmox_migrate_vm", {"vmid": 103, "target": "pve1", "with_local_disks": True},
     "VM 103 moved from pve3 to pve1 live"),
    ("proxmox_migrate_vm", {"vmid": 106, "target": "pve3"}, "VM 106 moved from pve2 to pve3 ("),
    ("proxmox_migrate_lxc", {"vmid": 200, "target": "pve2", "restart": True},
     "Container 200 moved from pve1 to pve2 with a restart"),
    ("proxmox_migrate_lxc", {"vmid": 205, "target": "pve1", "restart": True},
     "Container 205 moved from pve2 to pve1 (")])
def test_the_guest_is_there_afterwards(tool, arguments, words):
    bench = Bench()
    unlocked(bench)
    running = guest(bench, arguments["vmid"]).running
    answer = bench.run(tool, **arguments)
    assert not answer.failed and words in answer.text, answer.text
    assert guest(bench, arguments["vmid"]).node == arguments["target"] == answer.data["target"]
    assert guest(bench, arguments["vmid"]).running == running


def test_the_state_that_it_is_in_there_is_told():
    bench = Bench()
    assert guest(bench, 103).paused
    answer = bench.run("proxmox_migrate_vm", vmid=103, target="pve1", with_local_disks=True)
    assert "\nIt is paused, its disks are on local-lvm." in answer.text and answer.data["state"] == "paused"
    answer = bench.run("proxmox_migrate_vm", vmid=105, target="pve1", with_local_disks=True)
    assert "\nIt is running, its disks are on local-lvm.\nNot in effect yet: cores, memory" in answer.text
    assert answer.data["waiting"] == ["cores", "memory", "net0"] and answer.data["storages"] == ["local-lvm"]


@pytest.mark.parametrize("tool, arguments, words", [
    ("proxmox_migrate_vm", {"vmid": 100, "target": "pve1"}, ["VM 100 is on node pve1 already"]),
    ("proxmox_migrate_vm", {"vmid": 103, "target": "pve1"},
     ["would have to be copied while the VM runs: local-lvm:vm-103-disk-0 (", "with_local_disks=true"]),
    ("proxmox_migrate_vm", {"vmid": 101, "target": "pve3", "with_local_disks": True},
     ["cannot be moved to pve3 (unavailable storages: tank)"]),
    ("proxmox_migrate_vm", {"vmid": 100, "target": "nope"}, ["nope"]),
    ("proxmox_migrate_lxc", {"vmid": 200, "target": "pve2"}, ["Container 200 is running", "restart=true"]),
    ("proxmox_migrate_lxc", {"vmid": 100, "target": "pve2"}, ["Guest 100 is a VM"])])
def test_what_cannot_be_moved_is_refused_before_anything_is_sent(tool, arguments, words):
    bench = Bench()
    answer = bench.run(tool, **arguments)
    assert answer.failed and all(word in answer.text for word in words), answer.text
    assert bench.sent(reads=False) == []


@pytest.mark.parametrize("change, words", [
    ({"hostpci0": "0000:01:00.0"}, "uses devices of its node (hostpci0)"),
    ({"ide2": "local:iso/debian-13.iso,media=cdrom"},
     "VM 106 has a CD image on local storage: local:iso/debian-13.iso")])
def test_what_binds_a_vm_to_its_node(change, words):
    bench = Bench()
    guest(bench, 106).conf.update(change)
    answer = bench.run("proxmox_migrate_vm", vmid=106, target="pve1")
    assert answer.failed and words in answer.text and bench.sent(reads=False) == []


class Checked:
    """A bench whose GET .../migrate answers with `check`."""

    def __new__(cls, check, **options):
        bench = Bench(**options)
        unlocked(bench)
        request = bench.host.client.request

        def answer(verb, path, *rest, **more):
            reply = request(verb, path, *rest, **more)
            if verb == "GET" and path.endswith("/migrate"):
                reply = reply._replace(data=check)
            return reply
        bench.host.client.request = answer
        return bench


@pytest.mark.parametrize("why, refused, words", [
    ({"unavailable_storages": ["tank"]}, True, "cannot be moved to pve1 (unavailable storages: tank). Possible: pve3."),
    ({"blocking-ha-resources": [{"sid": "vm:104", "cause": "resource-affinity"}]},
     True, "(blocking ha resources: vm:104 (resource-affinity))"),
    ({"unavailable_storages": []}, False, "moved")])
def test_proxmox_own_check_is_heeded(why, refused, words):
    bench = Checked({"running": 0, "allowed_nodes": ["pve3"], "not_allowed_nodes": {"pve1": why}})
    answer = bench.run("proxmox_migrate_vm", vmid=106, target="pve1")
    assert answer.failed == refused and words in answer.text, answer.text
    assert len(bench.sent(reads=False)) == (not refused)


def test_with_targetstorage_a_storage_may_be_missing_and_a_cloud_init_drive_goes_along():
    bench = Checked({"running": 0, "allowed_nodes": [], "not_allowed_nodes": {"pve1": {"unavailable_storages": ["x"]}},
                     "local_disks": [{"volid": "local-lvm:vm-106-cloudinit", "cdrom": 1}],
                     "dependent-ha-resources": ["vm:101"]})
    answer = bench.run("proxmox_migrate_vm", vmid=106, target="pve1", targetstorage="local-lvm")
    assert not answer.failed and "HA rules move vm:101 along." in answer.text, answer.text


def test_before_version_9_there_is_no_check_for_containers():
    bench = Bench()
    request = bench.host.client.request

    def old(verb, path, *rest, **more):
        if verb == "GET" and path.endswith("/migrate"):
            path = "/nodes/pve1/lxc/200/no-such-thing"
        return request(verb, path, *rest, **more)
    bench.host.client.request = old
    answer = bench.run("proxmox_migrate_lxc", vmid=200, target="pve2")
    assert answer.failed and "restart=true" in answer.text and bench.sent(reads=False) == []
    answer = bench.run("proxmox_migrate_lxc", vmid=200, target="pve2", restart=True)
    assert not answer.failed and "GET /nodes/pve1/lxc/200/status/current" in bench.sent()


@pytest.mark.parametrize("wait, words, node",
                         [(0, "Still running in Proxmox, not done yet. Once it has ended: VM 104", "pve1"),
                                               (120, "VM 104 moved from pve1 to pve2", "pve2")])
def test_a_guest_under_ha_is_moved_by_ha(wait, words, node):
    bench = Bench()
    answer = bench.run("proxmox_migrate_vm", vmid=104, target="pve2", with_local_disks=True, wait=wait)
    assert not answer.failed and guest(bench, 104).node == node, answer.text
    assert words in answer.text


def test_where_a_guest_under_ha_is_cannot_be_read_for_a_while():
    bench = Bench()
    request, sent = bench.host.client.request, []

    def lost(verb, path, *rest, **more):
        sent.append(verb + path)
        if path == "/cluster/resources" and any("POST" in line for line in sent) and len(sent) < 8:
            path = "/cluster/nothing"
        return request(verb, path, *rest, **more)
    bench.host.client.request = lost
    answer = bench.run("proxmox_migrate_vm", vmid=104, target="pve2", wait=120)
    assert not answer.failed and "VM 104 moved from pve1 to pve2" in answer.text, answer.text


def test_a_move_that_fails_or_takes_long():
    bench = Bench()
    answer = bench.run("proxmox_migrate_vm", vmid=106, target="pve1")
    assert answer.failed and "locked" in answer.text and guest(bench, 106).node == "pve2"
    bench = Bench()
    answer = bench.run("proxmox_migrate_vm", vmid=103, target="pve1", with_local_disks=True, wait=1)
    assert not answer.failed and "Still running" in answer.text and guest(bench, 103).node == "pve3"


def test_a_dry_run_checks_and_sends_nothing():
    bench = Bench(dry_run=True)
    answer = bench.run("proxmox_migrate_lxc", vmid=200, target="pve2", restart=True)
    assert answer.data["requests"][0]["parameters"] == {"target": "pve2", "restart": True}
    assert bench.sent(reads=False) == []


def test_the_target_is_held_against_the_bounds():
    bench = Bench(allowed_nodes=("pve1",))
    answer = bench.run("proxmox_migrate_vm", vmid=100, target="pve2")
    assert answer.failed and "Node pve2 is out of bounds" in answer.text and bench.sent() == []
