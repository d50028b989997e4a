"""Disks and mount points: sizes in every spelling, nothing replaced or shrunk, detached and destroyed told apart."""
import pytest
from test_change import digest
from test_create import ALPINE

from support import Asked, Bench, answering
from tools.base.failures import Failure
from tools.base.storage import new_size
from tools.pve.formats import gib

RESOURCES = "GET /cluster/resources type=vm"
V100, V102, V103, V107 = "/nodes/pve1/qemu/100", "/nodes/pve2/qemu/102", "/nodes/pve3/qemu/103", "/nodes/pve3/qemu/107"
C201, C203, C205 = "/nodes/pve2/lxc/201", "/nodes/pve3/lxc/203", "/nodes/pve2/lxc/205"
GIB = 1 << 30


def _case(tool, path, arguments, verb, sent, end="config", prepare=None, between=()):
    _, _, node, kind, vmid = path.split("/")
    looked = ["GET /nodes/%s/storage/%s/status" % (node, arguments.get("storage"))] * ("storage" in arguments)
    first, between = (looked, between) if tool == "add_disk_vm" else ([], looked + list(between))
    return ("proxmox_" + tool, dict({"node": node, "vmid": int(vmid)}, **arguments),
            first + ["GET %s/config" % path] + list(between) + ["%s %s/%s %s" % (verb, path, end, sent),
                                                        "GET %s/pending" % path],
            prepare or digest(int(vmid)))


def _with_mount(bench):
    """Container 203, stopped, with an mp0; the digests of before and of after detaching it."""
    words = {}
    for one, wanted in ((bench, "digest"), (Bench(), "digest2")):
        one.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="20")
        if wanted == "digest2":
            one.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0")
        words[wanted] = one.cluster.world.guests[203].digest
    bench._seen = len(bench.cluster.requests)
    return words


def _with_unused(bench):
    bench.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="20")
    bench.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0")
    return digest(203)(bench)


LVM = ["GET /nodes/pve1/storage/local-lvm/status"]
CASES = [
    _case("add_disk_vm", V100, {"disk": "scsi1", "storage": "local-lvm", "size": "50", "wait": 60}, "POST",
          "digest={digest} scsi1=local-lvm:50"),
    _case("add_disk_vm", V100, {"disk": "virtio0", "storage": "local-lvm", "size": 50}, "POST",
          "digest={digest} virtio0=local-lvm:50"),
    _case("add_disk_vm", V100, {"disk": "scsi1", "storage": "local-lvm", "size": "0.5T", "ssd": True, "discard": True,
                                "iothread": True, "backup": False}, "POST",
          "digest={digest} scsi1=local-lvm:512,ssd=1,discard=on,iothread=1,backup=0"),
    _case("add_disk_vm", V100, {"disk": "sata5", "storage": "nas", "size": "512M", "format": "qcow2", "discard": False},
          "POST", "digest={digest} sata5=nas:0.5,format=qcow2,discard=ignore"),
    _case("add_mountpoint_lxc", C201, {"mp": "mp1", "storage": "local-lvm", "size": "20"}, "PUT",
          "digest={digest} mp1=local-lvm:20,mp=/mnt/mp1"),
    _case("add_mountpoint_lxc", C201, {"mp": "mp255", "storage": "local-lvm", "size": "1.5G", "path": "/srv/data",
                                       "backup": True,
                                       "ro": True}, "PUT",
          "digest={digest} mp255=local-lvm:1.5,mp=/srv/data,backup=1,ro=1"),
    _case("resize_disk_vm", V100, {"disk": "scsi0", "size": "+10G", "wait": 60}, "PUT",
          "digest={digest} disk=scsi0 size=+10G", "resize", between=LVM),
    _case("resize_disk_vm", V100, {"disk": "scsi0", "size": "50"}, "PUT", "digest={digest} disk=scsi0 size=50G",
          "resize", between=LVM),
    _case("resize_disk_vm", V100, {"disk": "scsi0", "size": "0.5T"}, "PUT", "digest={digest} disk=scsi0 size=512G",
          "resize", between=LVM),
    _case("resize_disk_lxc", C201, {"disk": "rootfs", "size": "+512M", "wait": 60}, "PUT",
          "digest={digest} disk=rootfs size=+0.5G", "resize", between=["GET /nodes/pve2/storage/local-lvm/status"]),
    _case("resize_disk_lxc", C201, {"volume": "mp0", "size": "20.5"}, "PUT", "digest={digest} disk=mp0 size=20.5G",
          "resize", between=["GET /nodes/pve2/storage/local-lvm/status"]),
    ("proxmox_resize_disk_vm", {"node": "pve1", "vmid": 100, "disk": "scsi0", "size": "32G"}, ["GET %s/config" % V100]),
    _case("remove_disk_vm", V102, {"disk": "scsi0", "wait": 60}, "POST", "delete=scsi0 digest={digest}"),
    _case("remove_disk_vm", V107, {"disk": "scsi0", "destroy": True}, "POST", "delete=scsi0 digest={digest} force=1"),
    _case("remove_disk_vm", V102, {"disk": "unused0"}, "POST", "delete=unused0 digest={digest}",
          between=["GET /nodes/pve2/storage/local-lvm/content vmid=102"]),
    _case("remove_mountpoint_lxc", C201, {"mp": "mp0"}, "PUT", "delete=mp0 digest={digest}"),
    _case("remove_mountpoint_lxc", C203, {"mp": "unused0"}, "PUT", "delete=unused0 digest={digest}",
          prepare=_with_unused, between=["GET /nodes/pve3/storage/local-lvm/content vmid=203"]),
    ("proxmox_remove_mountpoint_lxc", {"node": "pve3", "vmid": 203, "mp": "mp0", "destroy": True}, [
        "GET %s/config" % C203, "GET %s/status/current" % C203, "PUT %s/config delete=mp0 digest={digest}" % C203,
        "GET %s/pending" % C203, "GET %s/config" % C203, "PUT %s/config delete=unused0 digest={digest2}" % C203,
        "GET %s/pending" % C203], _with_mount),
    _case("move_disk_vm", V103, {"disk": "scsi0", "storage": "san", "wait": 3600}, "POST",
          "delete=1 digest={digest} disk=scsi0 storage=san", "move_disk"),
    _case("move_disk_vm", V103, {"disk": "scsi0", "storage": "nas", "delete": False, "wait": 3600},
          "POST", "delete=0 digest={digest} disk=scsi0 format=qcow2 storage=nas", "move_disk"),
    _case("move_disk_lxc", C205, {"disk": "rootfs", "storage": "tank", "delete": False, "wait": 3600}, "POST",
          "delete=0 digest={digest} storage=tank volume=rootfs", "move_volume"),
]


@pytest.mark.parametrize("given, size", [
    ("50", 50 * GIB), ("50G", 50 * GIB), ("0.5T", 512 * GIB), ("512M", GIB // 2), ("1T", 1024 * GIB), ("1024M", GIB),
    (" 50 GiB ", 50 * GIB)])
def test_sizes_are_exact(given, size):
    assert new_size(given) == size


@pytest.mark.parametrize("mib", [1, 3, 100, 513, 1025, 123457])
def test_whole_mib_are_exact_in_the_gib_that_proxmox_takes(mib):
    assert float(gib(mib << 20)) * 1024 == mib


@pytest.mark.parametrize("given", ["+10G", "1K", "0", "-5", "50,format=raw", "fifty", "", "1e3", "5P", "0x10"])
def test_what_is_no_size_of_a_new_volume(given):
    with pytest.raises((Failure, ValueError)):
        new_size(given)


@pytest.mark.parametrize("tool, arguments, words", [
    ("add_disk_vm", {"vmid": 100, "disk": "scsi0", "storage": "local-lvm", "size": "5"},
     "VM 100 has scsi0 already: local-lvm:vm-100-disk-0"),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi0", "storage": "local-lvm", "size": "5"}, "The next free one is scsi1"),
    ("add_disk_vm", {"vmid": 100, "disk": "ide2", "storage": "local-lvm", "size": "5"}, "VM 100 has ide2 already"),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi1", "storage": "local-lvm", "size": "+5G"}, "leave the + out"),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi31", "storage": "local-lvm", "size": "5"}, "scsi0-30"),
    ("add_disk_vm", {"vmid": 100, "disk": "unused0", "storage": "local-lvm", "size": "5"}, "disk: "),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi1", "storage": "local-lvm,x", "size": "5"}, "storage: "),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi1", "storage": "local-lvm", "size": "5", "format": "raw,backup=0"},
     "may not hold a comma"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp0", "storage": "local-lvm", "size": "5"},
     "Container 201 has mp0 already"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp1", "storage": "local-lvm", "size": "5", "path": "/var/cache/"},
     "mp0 is on /var/cache/ already"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp1", "storage": "local-lvm", "size": "5", "path": "data"},
     "not a directory in the container"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp1", "storage": "local-lvm", "size": "5", "path": "/a/../etc"},
     "not a directory"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp1", "storage": "local-lvm", "size": "5", "path": "/a,ro=1"},
     "may not hold a comma"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "rootfs", "storage": "local-lvm", "size": "5"}, "mp0 to mp255"),
    ("resize_disk_vm", {"vmid": 100, "disk": "scsi0", "size": "20G"}, "has 32 GiB, which is more than 20 GiB. Disks "
                                                                      "cannot be made smaller"),
    ("resize_disk_lxc", {"vmid": 201, "disk": "rootfs", "size": "1"}, "cannot be made smaller"),
    ("resize_disk_vm", {"vmid": 100, "disk": "scsi0", "size": "-5G"}, "is not a size"),
    ("resize_disk_vm", {"vmid": 100, "disk": "scsi7", "size": "+5G"}, "VM 100 has no scsi7. It has: "
                                                                      "ide2, scsi0"),
    ("resize_disk_vm", {"vmid": 100, "disk": "ide2", "size": "+5G"}, "A CD drive cannot be "),
    ("resize_disk_vm", {"vmid": 102, "disk": "efidisk0", "size": "+1G"}, "efidisk0 of VM 102 cannot be grown"),
    ("resize_disk_vm", {"vmid": 102, "disk": "tpmstate0", "size": "+1G"}, "tpmstate0 of VM 102 cannot be grown"),
    ("resize_disk_vm", {"vmid": 102, "disk": "unused0", "size": "+1G"}, "unused0 of VM 102 cannot be grown"),
    ("resize_disk_lxc", {"vmid": 205, "disk": "mp0", "size": "+5G"},
     "What is no volume on a storage cannot be grown: mp0 of container 205 is /tank/media."),
    ("remove_disk_vm", {"vmid": 100, "disk": "scsi7"}, "VM 100 has no scsi7"),
    ("remove_disk_vm", {"vmid": 100, "disk": "scsi7", "destroy": True}, "VM 100 has no scsi7"),
    ("remove_disk_vm", {"vmid": 100, "disk": "unused3"}, "VM 100 has no unused3"),
    ("remove_disk_vm", {"vmid": 102, "disk": "ide2", "destroy": True}, "There is no volume to destroy"),
    ("remove_mountpoint_lxc", {"vmid": 201, "mp": "mp7"}, "has no mp7. It has: mp0, rootfs"),
    ("remove_mountpoint_lxc", {"vmid": 201, "mp": "mp0", "destroy": True}, "Stop it first"),
    ("remove_mountpoint_lxc", {"vmid": 205, "mp": "mp0", "destroy": True}, "Leave destroy out"),
    ("remove_mountpoint_lxc", {"vmid": 201, "mp": "rootfs"}, "mp: "),
    ("move_disk_vm", {"vmid": 100, "disk": "scsi0", "storage": "local-lvm"}, "is on local-lvm already"),
    ("move_disk_lxc", {"vmid": 203, "disk": "rootfs", "storage": "local-lvm"}, "is on local-lvm already"),
    ("move_disk_vm", {"vmid": 100, "disk": "scsi9", "storage": "san"}, "has no scsi9"),
    ("move_disk_lxc", {"vmid": 203, "disk": "mp9", "storage": "san"}, "has no mp9"),
])
def test_what_is_refused_with_nothing_sent(tool, arguments, words):
    bench = Bench()
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.failed and words in answer.text
    assert ("Nothing was sent." in answer.text) == ("was not called" not in answer.text)
    assert bench.sent(reads=False) == []


# --------------------------------------------------------------------------------------------------------------- adding

def test_the_new_volume_is_told_and_what_waits():
    bench = Bench()
    answer = bench.run("proxmox_add_disk_vm", vmid=100, disk="scsi1", storage="local-lvm", size="0.5T")
    assert "disk scsi1 local-lvm:vm-100-disk-1 added, 512 GiB" in answer.text and "Not in effect" not in answer.text
    assert answer.data["volid"] == "local-lvm:vm-100-disk-1" and answer.data["size"] == 512 * GIB
    answer = bench.run("proxmox_add_disk_vm", vmid=100, disk="sata0", storage="local-lvm", size="1")
    assert "sata0 waits for a restart" in answer.text and answer.data["waiting"] == ["sata0"]


def test_an_iothread_without_its_controller_is_said():
    answer = Bench().run("proxmox_add_disk_vm", vmid=107, disk="scsi1", storage="local-lvm", size="1", iothread=True)
    assert "iothread has no effect" in answer.text and "virtio-scsi-pci" in answer.text


@pytest.mark.parametrize("tool, arguments, words", [
    ("add_disk_vm", {"vmid": 100, "disk": "scsi1", "storage": "pbs", "size": "5"}, "does not support vm images"),
    ("add_disk_vm", {"vmid": 100, "disk": "ide0", "storage": "local-lvm", "size": "5", "iothread": True}, "iothread"),
    ("add_mountpoint_lxc", {"vmid": 201, "mp": "mp1", "storage": "nas", "size": "5"}, "rootdir"),
    ("add_disk_vm", {"vmid": 106, "disk": "scsi1", "storage": "local-lvm", "size": "5"}, "locked (backup)"),
])
def test_what_proxmox_refuses_is_told(tool, arguments, words):
    answer = Bench().run("proxmox_" + tool, **arguments)
    assert answer.failed and words in answer.text


# -------------------------------------------------------------------------------------------------------------- growing

def test_growing_tells_the_sizes():
    bench = Bench()
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="+10G")
    assert "scsi0 grown from 32 GiB to 42 GiB" in answer.text and "by the guest itself" in answer.text
    assert answer.data["size"] == 42 * GIB and "size=42G" in bench.cluster.world.guests[100].conf["scsi0"]
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="42")
    assert not answer.failed and "has 42 GiB already; nothing was sent" in answer.text and bench.sent(reads=False) == []
    answer = bench.run("proxmox_resize_disk_lxc", vmid=201, disk="mp0", size="21G")
    assert "mp0 grown from 20 GiB to 21 GiB" in answer.text and "by the guest" not in answer.text


def test_growing_beyond_the_free_space_is_refused_or_said_or_asked_about():
    asked = Asked(False)
    bench = Bench(consent=asked)
    answering(bench, "/nodes/pve1/storage/local-lvm/status", {"type": "lvmthin", "avail": 10 * GIB})
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="+15G")
    assert not answer.failed and not asked.questions
    assert "Over-committed: 15 GiB more on storage local-lvm, which has 10 GiB free." in answer.text
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="+100T")
    assert answer.failed and not bench.sent(reads=False)
    assert asked.questions[0].startswith("VM 100: Promise 100 TiB more on storage local-lvm, which has 10 GiB free?")
    answer = Bench(confirm="off").run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size=5000000)
    assert answer.failed and "There is no room for " in answer.text and "a number alone is GiB" in answer.text
    answering(bench, "/nodes/pve1/storage/local-lvm/status", {"type": "lvm", "avail": 10 * GIB})
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="+15G")
    assert answer.failed and "There is no room for 15 GiB more on storage local-lvm" in answer.text
    assert not bench.sent(reads=False)


@pytest.mark.parametrize("status, said", [
    ({"type": "iscsi", "avail": 0, "total": 0}, False), ({"type": "lvmthin"}, False),
    ((403, "Permission check"), False),
    ({"type": "a-plugin", "avail": 10 * GIB, "total": 20 * GIB}, True)])
def test_a_storage_of_which_too_little_is_known_refuses_nothing(status, said):
    bench = Bench()
    answering(bench, "/nodes/pve3/storage/local-lvm/status", status)
    answer = bench.run("proxmox_add_disk_vm", vmid=107, disk="scsi5", storage="local-lvm", size="15G")
    assert not answer.failed and ("Over-committed" in answer.text) is said
    assert bench.sent().count("GET /nodes/pve3/storage/local-lvm/status") == 1


@pytest.mark.parametrize("tool, node, size, arguments", [
    ("add_disk_vm", "pve3", 15, {"vmid": 107, "disk": "scsi5", "size": "15G", "format": "raw"}),
    ("add_mountpoint_lxc", "pve3", 15, {"vmid": 203, "mp": "mp3", "size": "15G"}),
    ("create_vm", "pve3", 15, {"vmid": 300, "disk_size": "15G"}),
    ("create_lxc", "pve1", 15, {"vmid": 300, "ostemplate": ALPINE, "rootfs_size": "5", "mp0": "san:10G,mp=/srv"}),
    ("move_disk_vm", "pve3", 20, {"vmid": 103, "disk": "scsi0", "delete": False}),
    ("restore_backup_vm", "pve3", 8, {"vmid": 300, "archive": "{archive}"}),
    ("clone_vm", "pve3", 8, {"vmid": 107, "newid": 300, "full": True})])
def test_no_new_volume_is_larger_than_the_room_there_is(tool, node, size, arguments):
    """Refused where it cannot work, asked about beyond twice the free space, else said."""
    asked = Asked(False)
    bench = Bench(consent=asked)
    archive = next(name for name in bench.cluster.world.storages["local"].at("pve3") if "qemu-107" in name)
    arguments = {key: archive if value == "{archive}" else value for key, value in arguments.items()}

    def run(kind, free):
        answering(bench, "/nodes/%s/storage/san/status" % node, {"type": kind, "avail": int(free * GIB)})
        bench.clock.seconds += 3600
        asked.questions.clear()
        return bench.run("proxmox_" + tool, node=node, storage="san", **arguments)
    answer = run("lvm", size - 1)
    assert answer.failed and "There is no room for %d GiB more on storage san" % size in answer.text
    assert not bench.sent(reads=False)
    answer = run("lvmthin", size / 2 - 1)
    assert answer.failed and "Promise %d GiB more on storage san" % size in asked.questions[0]
    assert not bench.sent(reads=False)
    asked.answer = True
    answer = run("lvmthin", size - 1)
    assert not answer.failed and "Over-committed: %d GiB more on storage san" % size in answer.text
    assert not asked.questions


def test_a_mount_point_that_is_detached_and_cannot_be_looked_at_then():
    bench = Bench()
    bench.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="20")
    request, sent = bench.host.client.request, []

    def lost(verb, path, *rest, **more):
        sent.append(verb)
        if "PUT" in sent and path.endswith("/config") and verb == "GET":
            path = path.replace("/config", "/nothing")
        return request(verb, path, *rest, **more)
    bench.host.client.request = lost
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0", destroy=True)
    assert not answer.failed and "detached, not destroyed" in answer.text and "unused" in answer.data["unused"]


@pytest.mark.parametrize("status, reason, says", [
    (500, "volume is busy", "but could not be destroyed: "), (596, "Connection timed out",
                                                              "but is not known to be destroyed: ")])
def test_a_mount_point_that_is_only_detached_is_told_as_such(status, reason, says):
    bench = Bench()
    bench.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="20")
    handle = bench.cluster.handle
    bench.cluster.handle = lambda verb, target, headers, body=b"": (
        (status, reason, {}, b"") if verb == "PUT" and b"unused" in body else handle(verb, target, headers, body))
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0", destroy=True)
    assert answer.failed and " is unused0 now, " + says in answer.text, answer.text


def test_a_disk_that_was_only_pending_is_not_destroyed_with_it():
    bench = Bench()
    bench.run("proxmox_add_disk_vm", vmid=100, disk="sata1", storage="local-lvm", size="4")
    answer = bench.run("proxmox_remove_disk_vm", vmid=100, disk="sata1", destroy=True)
    assert answer.failed and "it is unused0 now. proxmox_remove_disk_vm disk=unused0 destroys it" in answer.text


def test_proxmox_7_grows_a_disk_without_a_task():
    bench = Bench(version="7.4")
    answer = bench.run("proxmox_resize_disk_vm", vmid=107, disk="scsi0", size="+1G")
    assert "scsi0 grown from 8 GiB to 9 GiB" in answer.text and "upid" not in answer.data
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="+1G")
    assert answer.failed and "Before Proxmox VE 8 a disk with snapshots cannot be grown" in answer.text


def test_a_disk_that_has_its_old_size_is_not_told_as_grown():
    bench = Bench(version="7.4")
    answering(bench, "/nodes/pve3/qemu/107/resize", None, "PUT")
    answer = bench.run("proxmox_resize_disk_vm", vmid=107, disk="scsi0", size="+1G")
    assert answer.failed and "its config still says 8 GiB for scsi0 of VM 107" in answer.text


def test_a_file_system_that_could_not_be_grown_with_its_volume_is_told():
    bench = Bench()
    guest = bench.cluster.world.guests[201]
    guest.running, guest.conf["ostype"] = False, "unmanaged"
    answer = bench.run("proxmox_resize_disk_lxc", vmid=201, disk="mp0", size="21G")
    assert not answer.failed and answer.text.startswith("\u26a0") and "mp0 grown from 20 GiB to 21 GiB" in answer.text
    assert "the file system on it was not: \n| Failed to update the container's filesystem: " in answer.text


def test_a_shrink_that_only_proxmox_sees_fails_in_its_task():
    bench = Bench()
    bench.cluster.world.guests[100].conf["scsi0"] = "local-lvm:vm-100-disk-0,size=16G"
    answer = bench.run("proxmox_resize_disk_vm", vmid=100, disk="scsi0", size="20G")
    assert answer.failed and "shrink" in answer.text


# ------------------------------------------------------------------------------------------------ detached or destroyed

def test_detached_is_not_destroyed():
    bench = Bench()
    answer = bench.run("proxmox_remove_disk_vm", vmid=107, disk="scsi0")
    assert "scsi0 (local-lvm:vm-107-disk-0, 8 GiB) detached, not destroyed" in answer.text
    assert "kept as unused0" in answer.text
    assert answer.data["unused"] == "unused0"
    assert bench.cluster.world.guests[107].conf["unused0"] == "local-lvm:vm-107-disk-0"
    answer = bench.run("proxmox_remove_disk_vm", vmid=107, disk="unused0")
    assert "VM 107 (lab) on pve3: unused0 (local-lvm:vm-107-disk-0, 8 GiB) destroyed" in answer.text
    assert answer.data["destroyed"] is True
    assert bench.cluster.world.volume("local-lvm:vm-107-disk-0", "pve3") is None


def test_a_cd_drive_is_only_taken_out():
    answer = Bench().run("proxmox_remove_disk_vm", vmid=102, disk="ide2")
    assert not answer.failed and "detached" in answer.text and "kept" not in answer.text
    assert "destroy" not in answer.text


def test_the_cloud_init_drive_goes_and_it_is_said():
    bench = Bench()
    bench.cluster.world.guests[105].running = False
    answer = bench.run("proxmox_remove_disk_vm", vmid=105, disk="ide0")
    assert "cloud-init drive was deleted with it" in answer.text


def test_what_a_running_vm_keeps_until_its_restart():
    bench = Bench()
    bench.run("proxmox_add_disk_vm", vmid=100, disk="scsi1", storage="local-lvm", size="1")
    answer = bench.run("proxmox_remove_disk_vm", vmid=100, disk="scsi1", destroy=True)
    assert "scsi1 (local-lvm:vm-100-disk-1, 1 GiB) destroyed" in answer.text
    answer = bench.run("proxmox_remove_disk_vm", vmid=108, disk="ide0", destroy=True)
    assert "marked to be destroyed" in answer.text and "ide0 waits for a restart" in answer.text
    assert answer.data["destroyed"] is False
    assert bench.cluster.world.volume("nas:108/vm-108-disk-0.qcow2", "pve1")


def test_a_disk_in_a_snapshot_is_not_told_as_destroyed():
    answer = Bench().run("proxmox_remove_disk_vm", vmid=102, disk="scsi0", destroy=True)
    assert answer.failed and "still in use (snapshot?)" in answer.text and "delete that first" in answer.text


def test_a_running_containers_mount_point_waits():
    bench = Bench()
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=201, mp="mp0")
    assert "marked to be detached" in answer.text and "mp0 waits for a restart" in answer.text
    assert answer.data["waiting"] == ["mp0"]
    assert "mp0" in bench.cluster.world.guests[201].conf


def test_a_bind_mount_is_only_taken_out():
    bench = Bench()
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=205, mp="mp0")
    assert "mp0 (/tank/media) detached" in answer.text and "untouched" in answer.text


def test_destroying_a_mount_point_names_the_volume_and_frees_it():
    bench = Bench()
    _with_mount(bench)
    volid = bench.cluster.world.guests[203].conf["mp0"].split(",")[0]
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0", destroy=True)
    assert "container 203 (dev) on pve3: mp0 (%s, 20 GiB) destroyed" % volid in answer.text[2:].replace("Container",
                                                                                                        "container")
    assert bench.cluster.world.volume(volid, "pve3") is None
    assert not [key for key in bench.cluster.world.guests[203].conf if key.startswith("unused")]


class _Asked:
    """Consent that notes what is asked and says no."""

    def __init__(self):
        self.questions, self.found = [], []

    def ask(self, call, describe):
        question, found = describe()
        self.questions.append(question)
        self.found.append(found)
        raise ValueError("no")


@pytest.mark.parametrize("tool, arguments, words", [
    ("remove_disk_vm", {"vmid": 107, "disk": "scsi0", "destroy": True},
     "Destroy scsi0 of VM 107 (lab) on node pve3, local-lvm:vm-107-disk-0, 8 GiB? All data on it is lost."),
    ("remove_disk_vm", {"vmid": 102, "disk": "unused0"}, "Destroy unused0 of VM 102 (win11) on node pve2, "
                                                         "local-lvm:vm-102-disk-3, "),
    ("remove_mountpoint_lxc", {"vmid": 203, "mp": "mp0", "destroy": True},
     "Destroy mp0 of container 203 (dev) on node pve3, local-lvm:vm-203-disk-1, 20 GiB?"),
])
def test_before_data_is_lost_the_user_is_asked_with_its_name_and_size(tool, arguments, words):
    consent = _Asked()
    bench = Bench(consent=consent)
    if arguments["vmid"] == 203:
        bench.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="20")
    assert bench.run("proxmox_" + tool, **arguments).failed
    assert words in consent.questions[0] and consent.found[0]["digest"] and bench.sent(reads=False) == []


def test_the_volume_of_a_linked_clone_is_the_clones_own():
    bench = Bench()
    bench.cluster.world.guests[107].conf["unused0"] = "local-lvm:base-9000-disk-0/vm-107-disk-7"
    bench.run("proxmox_remove_disk_vm", vmid=107, disk="unused0")
    assert len(bench.sent(reads=False)) == 1
    bench.cluster.world.guests[107].conf["unused1"] = "local-lvm:vm-100-disk-0"
    answer = bench.run("proxmox_remove_disk_vm", vmid=107, disk="unused1")
    assert answer.failed and "belongs to guest 100" in answer.text and bench.sent(reads=False) == []


def test_a_dry_run_shows_both_steps():
    bench = Bench(dry_run=True)
    bench.cluster.world.guests[203].conf["mp0"] = "local-lvm:vm-203-disk-1,mp=/mnt/mp0,size=1G"
    answer = bench.run("proxmox_remove_mountpoint_lxc", vmid=203, mp="mp0", destroy=True)
    assert [r["parameters"]["delete"] for r in answer.data["requests"]] == ["mp0",
                                                                            "unused0"] and bench.sent(reads=False) == []


# --------------------------------------------------------------------------------------------------------------- moving

def test_a_moved_disk_is_told_with_its_new_volume():
    bench = Bench()
    answer = bench.run("proxmox_move_disk_vm", vmid=103, disk="scsi0", storage="san", wait=3600)
    volid = bench.cluster.world.guests[103].conf["scsi0"].split(",")[0]
    assert volid.startswith("san:") and volid in answer.text and answer.data["volid"] == volid
    assert "The source was deleted" in answer.text and bench.cluster.world.volume("local-lvm:vm-103-disk-0",
                                                                                  "pve3") is None


def test_a_source_that_is_kept_is_named():
    bench = Bench()
    answer = bench.run("proxmox_move_disk_lxc", vmid=205, disk="rootfs", storage="tank", delete=False, wait=3600)
    assert "The source is kept as unused0" in answer.text and answer.data["unused"] == "unused0"
    assert bench.cluster.world.guests[205].conf["unused0"] == "local-lvm:vm-205-disk-0"


@pytest.mark.parametrize("tool, arguments, words", [
    ("move_disk_lxc", {"vmid": 201, "disk": "rootfs", "storage": "tank"}, "Stop the container first"),
    ("move_disk_lxc", {"vmid": 203, "disk": "rootfs", "storage": "scratch"}, "delete=false"),
    ("move_disk_vm", {"vmid": 100, "disk": "scsi0", "storage": "san"}, "delete=false"),
    ("move_disk_vm", {"vmid": 103, "disk": "scsi0", "storage": "pbs"}, "images"),
    ("move_disk_vm", {"vmid": 103, "disk": "scsi0", "storage": "nowhere"}, "storage 'nowhere' does not exist"),
    ("move_disk_lxc", {"vmid": 205, "disk": "rootfs", "storage": "nowhere"}, "storage 'nowhere' does not exist"),
    ("move_disk_vm", {"vmid": 100, "disk": "ide2", "storage": "san"}, "A CD drive cannot be "),
])
def test_a_move_that_fails_is_explained(tool, arguments, words):
    bench = Bench()
    before = dict(bench.cluster.world.guests[arguments["vmid"]].conf)
    answer = bench.run("proxmox_" + tool, wait=3600, **arguments)
    assert answer.failed and words in answer.text
    assert bench.cluster.world.guests[arguments["vmid"]].conf == before


def test_some_options_of_a_disk_are_meant_where_others_are_left_out():
    bench = Bench()
    bench.run("proxmox_add_disk_vm", vmid=100, disk="scsi5", storage="local-lvm", size="1", iothread=True,
              discard=False, backup=False)
    assert "backup=0" in bench.sent(reads=False)[0]
