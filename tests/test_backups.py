"""Backups: exact requests, the archive that was made, restoring each kind in its own way, and deleting backups only."""
import pytest
from test_lifecycle import Impatient, guest_of, meddle, writes

from support import Asked, Bench, answering, big, ok
from tools.base.backup_state import allowed_age
from tools.pve.client import Cancelled

RESOURCES = "GET /cluster/resources type=vm"
V100, V107, C203 = "/nodes/pve1/qemu/100", "/nodes/pve3/qemu/107", "/nodes/pve3/lxc/203"


def _content(node, storage, vmid=None):
    return "GET /nodes/%s/storage/%s/content content=backup%s" % (node, storage, " vmid=%s" % vmid if vmid else "")


def _vzdump(path, storage, params, *before):
    """The requests of a backup: the state, what is looked up, the backup, the list in which it must appear."""
    _, _, node, _, vmid = path.split("/")
    return (["GET %s/status/current" % path] + list(before) +
            ["POST /nodes/%s/vzdump %s" % (node, params), _content(node, storage, vmid)])


def volid(bench, node, vmid, storage="nas", newest=True):
    """A backup of a guest in the demo cluster: the newest or the oldest."""
    volumes = bench.cluster.world.storages[storage].at(node).values()
    found = [v for v in volumes if v.content == "backup" and v.vmid == vmid]
    return sorted(found, key=lambda v: v.ctime)[-1 if newest else 0].volid


_FRESH = Bench()
WEB, PROXY = volid(_FRESH, "pve1", 100), volid(_FRESH, "pve2", 201)
KEPT = volid(_FRESH, "pve1", 100, newest=False)
DEV, LAB = volid(_FRESH, "pve3", 203, "local"), volid(_FRESH, "pve3", 107, "local")
DNS_PBS, MAIL_PBS = volid(_FRESH, "pve1", 200, "pbs"), volid(_FRESH, "pve1", 104, "pbs")

STATE = ["GET /cluster/resources", "GET /cluster/backup"] + [_content(node, storage) for node, storage in (
    ("pve1", "local"), ("pve2", "local"), ("pve3", "local"), ("pve1", "nas"), ("pve1", "pbs"), ("pve3", "scratch"))] + [
        "GET /cluster/backup/%s/included_volumes" % job for job in ("backup-nightly", "backup-pool")]

CASES = [
    ("proxmox_create_backup_vm", {"node": "pve3", "vmid": 107, "storage": "local", "wait": 600},
     _vzdump(V107, "local", "compress=zstd mode=snapshot remove=0 storage=local vmid=107")),
    ("proxmox_create_backup_vm", {"node": "pve3", "vmid": 107, "wait": 600},
     _vzdump(V107, "local", "compress=zstd mode=snapshot remove=0 storage=local vmid=107",
             "GET /nodes/pve3/storage content=backup enabled=1")),
    ("proxmox_create_backup_vm", {"node": "pve3", "vmid": 107, "storage": "nas", "mode": "stop", "compress": "none",
                                  "protected": True,
                                  "notes": "C:\\new\nline {{guestname}}", "wait": 600},
     _vzdump(V107, "nas", "compress=0 mode=stop notes-template=C:\\\\new\\nline {{guestname}} protected=1 remove=0 "
                          "storage=nas vmid=107")),
    ("proxmox_create_backup_lxc", {"vmid": 203, "storage": "local", "mode": "suspend", "compress": "gzip",
                                   "wait": 600},
     [RESOURCES] + _vzdump(C203, "local", "compress=gzip mode=suspend remove=0 storage=local vmid=203")),
    ("proxmox_list_backup_state", {"name": "web*", "older_than": 1, "missing": False, "limit": 5, "offset": 0}, STATE),
    ("proxmox_list_backup_state", {"node": "pve1", "pool": "production", "tag": "prod", "unverified": True}, STATE),
    ("proxmox_list_backups", {"node": "pve1", "storage": "nas"}, [_content("pve1", "nas")]),
    ("proxmox_list_backups", {}, STATE[:1] + STATE[2:8]),
    ("proxmox_list_backups",
     {"storage": "pbs", "vmid": 104, "newest": True}, STATE[:1] + [_content("pve1", "pbs", 104)]),
    ("proxmox_list_backups", {"node": "pve1", "storage": "nas", "vmid": 100, "limit": 2, "offset": 1},
     [_content("pve1", "nas", 100)]),
    ("proxmox_list_backups", {"node": "pve1"}, [
        "GET /nodes/pve1/storage content=backup enabled=1", _content("pve1", "local"), _content("pve1", "nas"),
        _content("pve1", "pbs")]),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 300, "archive": WEB, "wait": 600},
     [_content("pve1", "nas", 100), RESOURCES, "GET /nodes/pve1/vzdump/extractconfig volume=%s" % WEB,
      "GET /nodes/pve1/storage/local-lvm/status",
      "POST /nodes/pve1/qemu archive=%s vmid=300" % WEB,
      "GET /nodes/pve1/qemu/300/status/current", "GET /nodes/pve1/qemu/300/config"]),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 300, "archive": WEB, "hostname": "web9", "onboot": False,
                                   "start": True, "wait": 600},
     [_content("pve1", "nas", 100), RESOURCES, "GET /nodes/pve1/vzdump/extractconfig volume=%s" % WEB,
      "GET /nodes/pve1/storage/local-lvm/status",
      "POST /nodes/pve1/qemu archive=%s vmid=300" % WEB,
      "PUT /nodes/pve1/qemu/300/config name=web9 onboot=0", "POST /nodes/pve1/qemu/300/status/start",
      "GET /nodes/pve1/qemu/300/status/current", "GET /nodes/pve1/qemu/300/config"]),
    ("proxmox_restore_backup_vm", {"node": "pve2", "vmid": 300, "archive": WEB, "storage": "tank", "unique": True,
                                   "start": True,
                                   "wait": 600},
     [_content("pve2", "nas", 100), RESOURCES, "GET /nodes/pve2/vzdump/extractconfig volume=%s" % WEB,
      "GET /nodes/pve2/storage/tank/status",
      "POST /nodes/pve2/qemu archive=%s start=1 storage=tank unique=1 vmid=300" % WEB,
      "GET /nodes/pve2/qemu/300/status/current", "GET /nodes/pve2/qemu/300/status/current",
      "GET /nodes/pve2/qemu/300/config"]),
    ("proxmox_restore_backup_vm", {"node": "pve3", "vmid": 107, "archive": LAB, "force": True, "wait": 600},
     [_content("pve3", "local", 107), RESOURCES, "GET %s/config" % V107, "GET %s/status/current" % V107,
      "GET %s/snapshot" % V107,
      "POST /nodes/pve3/qemu archive=%s force=1 vmid=107" % LAB, "GET %s/status/current" % V107,
      "GET %s/config" % V107]),
    ("proxmox_restore_backup_lxc", {"node": "pve3", "vmid": 301, "archive": "newest of dev", "storage": "local-lvm",
                                    "wait": 600},
     [RESOURCES, "GET /nodes/pve3/storage content=backup enabled=1",
      *(_content("pve3", storage, 203) for storage in ("local", "nas", "pbs", "scratch")),
      "GET /nodes/pve3/vzdump/extractconfig volume=%s" % DEV, "GET /nodes/pve3/storage/local-lvm/status",
      "POST /nodes/pve3/lxc ostemplate=%s restore=1 storage=local-lvm vmid=301" % DEV,
      "GET /nodes/pve3/lxc/301/status/current", "GET /nodes/pve3/lxc/301/config"]),
    ("proxmox_restore_backup_lxc", {"node": "pve3", "vmid": 301, "archive": DEV, "storage": "local-lvm", "wait": 600},
     [_content("pve3", "local", 203), RESOURCES, "GET /nodes/pve3/vzdump/extractconfig volume=%s" % DEV,
      "GET /nodes/pve3/storage/local-lvm/status",
      "POST /nodes/pve3/lxc ostemplate=%s restore=1 storage=local-lvm vmid=301" % DEV,
      "GET /nodes/pve3/lxc/301/status/current", "GET /nodes/pve3/lxc/301/config"]),
    ("proxmox_restore_backup_lxc", {"node": "pve3", "vmid": 301, "archive": DEV, "unique": True, "start": True,
                                    "wait": 600},
     [_content("pve3", "local", 203), RESOURCES, "GET /nodes/pve3/vzdump/extractconfig volume=%s" % DEV,
      "GET /nodes/pve3/storage content=rootdir enabled=1", "GET /nodes/pve3/storage/local-lvm/status",
      "POST /nodes/pve3/lxc ostemplate=%s restore=1 start=1 storage=local-lvm unique=1 vmid=301" % DEV,
      "GET /nodes/pve3/lxc/301/status/current", "GET /nodes/pve3/lxc/301/config"]),
    ("proxmox_restore_backup_lxc", {"node": "pve3", "vmid": 203, "archive": DEV, "storage": "local-lvm", "force": True,
                                    "wait": 600},
     [_content("pve3", "local", 203), RESOURCES, "GET %s/config" % C203, "GET %s/status/current" % C203,
      "GET %s/snapshot" % C203,
      "POST /nodes/pve3/lxc force=1 ostemplate=%s restore=1 storage=local-lvm vmid=203" % DEV,
      "GET %s/status/current" % C203, "GET %s/config" % C203]),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "nas", "volume": WEB, "wait": 60},
     [_content("pve1", "nas", 100), "DELETE /nodes/pve1/storage/nas/content/%s" % WEB]),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "pbs", "archive": DNS_PBS},
     [_content("pve1", "pbs", 200), "DELETE /nodes/pve1/storage/pbs/content/%s" % DNS_PBS]),
]


def backups(bench, node, storage):
    return {v.volid for v in bench.cluster.world.storages[storage].at(node).values() if v.content == "backup"}


# ----------------------------------------------------------------------------------------------------------- backing up

def test_a_backup_names_its_archive_and_removes_nothing():
    bench = Bench()
    before = backups(bench, "pve1", "nas")
    answer = bench.run("proxmox_create_backup_vm", vmid=100, storage="nas", wait=3600, notes="a\\b\nc", protected=True)
    assert not answer.failed and "VM 100 (web01) backed up to nas" in answer.text, answer.text
    new = backups(bench, "pve1", "nas") - before
    assert new == {answer.data["volid"]} and answer.data["volid"] in answer.text
    assert before <= backups(bench, "pve1", "nas")
    made = bench.cluster.world.storages["nas"].at("pve1")[answer.data["volid"]]
    assert made.protected and made.notes.strip() == "a\\b\nc" and answer.data["size"] == made.size
    assert len(writes(bench)) == 1


def test_a_backup_that_fails_shows_the_lines_that_tell_why():
    bench = Bench()
    answer = bench.run("proxmox_create_backup_vm", vmid=104, storage="old-nas", wait=600)
    assert answer.failed and "old-nas" in answer.text, answer.text
    bench = Bench()
    answer = bench.run("proxmox_create_backup_vm", vmid=106, storage="nas", wait=600)
    assert answer.failed and "job errors" in answer.text and "| ERROR: " in answer.text
    assert "UPID" in answer.text, answer.text
    assert len(writes(bench)) == 1


def test_the_backup_limit_is_explained():
    bench = Bench()
    assert not bench.run("proxmox_create_backup_lxc", vmid=203, storage="scratch", wait=3600).failed
    answer = bench.run("proxmox_create_backup_lxc", vmid=203, storage="scratch", wait=3600)
    assert answer.failed and "max backup limit of 1" in answer.text
    assert "proxmox_delete_backup" in answer.text, answer.text


@pytest.mark.parametrize("tool, vmid, compress, says", [
    ("proxmox_create_backup_lxc", 203, "lzo", "compress=zstd"),
                                                        ("proxmox_create_backup_vm", 107, "lzo", "exit code 127")])
def test_a_program_that_the_node_lacks(tool, vmid, compress, says):
    bench = Bench()
    answer = bench.run(tool, vmid=vmid, storage="local", compress=compress, wait=600)
    assert answer.failed and says in answer.text and "compress=lzo" in writes(bench)[0]


def test_stop_mode_of_an_ha_guest():
    answer = Bench().run("proxmox_create_backup_vm", vmid=104, storage="nas", mode="stop", wait=600)
    assert answer.failed and "HA managed" in answer.text and "Use mode=snapshot" in answer.text


def test_a_full_storage():
    answer = Bench().run("proxmox_create_backup_vm", vmid=107, storage="scratch", wait=600)
    assert answer.failed and "write error" in answer.text


def test_the_ok_of_a_node_that_does_not_have_the_guest_is_an_error_too():
    bench = Bench()
    meddle(bench, "POST", "/vzdump", lambda: setattr(guest_of(bench, 107), "node", "pve2"))
    answer = bench.run("proxmox_create_backup_vm", vmid=107, node="pve3", storage="nas")
    assert answer.failed and "started no task: nothing was done" in answer.text and len(writes(bench)) == 1


def test_the_wrong_node_is_an_error_that_names_the_right_one():
    bench = Bench()
    answer = bench.run("proxmox_create_backup_vm", vmid=100, node="pve2", storage="nas")
    assert answer.failed and "VM 100 is on node pve1, not on pve2" in answer.text and writes(bench) == []


@pytest.mark.parametrize("tool, arguments, says", [
    ("proxmox_create_backup_lxc", {"vmid": 100, "storage": "nas"}, "Guest 100 is a VM, not a container"),
    ("proxmox_create_backup_vm", {"vmid": 100, "compress": "bzip2"}, "'bzip2' is not one of zstd, none, lzo, gzip"),
    ("proxmox_create_backup_vm", {"vmid": 100, "storage": "../x"}, "is not a storage id"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 100, "archive": WEB},
     "The vmid is taken by VM 100 (web01) on node pve1"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 100, "archive": WEB, "force": True},
     "VM 100 (web01) is running and cannot be overwritten"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 200, "archive": WEB, "force": True},
     "taken by container 200 (dns)"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 107, "archive": WEB, "force": True},
     "only a VM on node pve1"),
    ("proxmox_restore_backup_vm", {"node": "pve2", "vmid": 101, "archive": WEB, "force": True},
     "VM 101 (db01) is protected"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 300, "archive": PROXY},
     "is a backup of a container. Use "
     "proxmox_restore_backup_lxc"),
    ("proxmox_restore_backup_lxc", {"node": "pve1", "vmid": 300, "archive": MAIL_PBS}, "is a backup of a VM"),
    ("proxmox_restore_backup_vm", {"node": "pve1", "vmid": 300,
                                   "archive": "nas:backup/vzdump-qemu-100-2001_01_01-00_00_00.vma.zst"},
     "There is no backup"),
    ("proxmox_restore_backup_lxc", {"node": "pve1", "vmid": 300,
                                    "archive": "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"},
     "is not a backup"),
    ("proxmox_restore_backup_vm", {"vmid": 300, "archive": WEB}, "node: missing"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "local-lvm", "volume": "local-lvm:vm-100-disk-0"},
     "is not a backup"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "local",
                               "volume": "local:iso/debian-13.1.0-amd64-netinst.iso"},
     "is not a backup"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "local", "volume": WEB}, "lies on storage nas, not on local"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "nas", "volume": KEPT},
     "is protected (of VM 100, made 2025-10-31"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "nas", "volume": "nas:backup/../images/x"},
     "is not a volume id"),
    ("proxmox_delete_backup", {"node": "pve1", "storage": "nas", "volume": "nas:backup/none.vma"}, "may not see it"),
    ("proxmox_list_backups", {"node": "pve1", "storage": "../../access"}, "is not a storage id"),
    ("proxmox_list_backups", {"node": "pve9"}, "There is no node pve9"),
])
def test_refusals_send_nothing(tool, arguments, says):
    bench = Bench()
    answer = bench.run(tool, **arguments)
    assert answer.failed and says in answer.text, answer.text
    assert writes(bench) == []


def test_the_storage_is_chosen_only_when_there_is_no_choice():
    bench = Bench()
    storages = bench.cluster.world.storages
    storages["local"].content.remove("backup")
    answer = bench.run("proxmox_create_backup_vm", vmid=107)
    assert answer.failed and "Say on which storage" in answer.text and "nas (" in answer.text and "free)" in answer.text
    assert "old-nas" not in answer.text and writes(bench) == []
    for name in ("pbs", "scratch"):
        storages[name].content.remove("backup")
    answer = bench.run("proxmox_create_backup_vm", vmid=107, wait=600)
    assert not answer.failed and answer.data["storage"] == "nas"


def test_a_backup_that_outlasts_the_wait():
    bench = Bench()
    answer = bench.run("proxmox_create_backup_vm", vmid=100, storage="nas", wait=2)
    assert answer.text.startswith("\u23f3") and "Once it has ended: VM 100 (web01) backed up to nas" in answer.text
    assert answer.data["done"] is False and "volid" not in answer.data and len(writes(bench)) == 1


def test_cancelled_while_waiting():
    bench = Bench()
    with pytest.raises(Cancelled):
        bench.run("proxmox_create_backup_vm", request=Impatient(), vmid=100, storage="nas")
    assert len(writes(bench)) == 1 and bench.sent()[-1].startswith("GET /nodes/pve1/tasks/")


# ------------------------------------------------------------------------------------------------------------- the list

def test_all_storages_are_listed_newest_first_and_pbs_by_its_fields():
    bench = Bench()
    answer = bench.run("proxmox_list_backups", node="pve1")
    items = answer.data["items"]
    assert [i["ctime"] for i in items] == sorted((i["ctime"] for i in items), reverse=True)
    mail = next(i for i in items if i["volid"] == MAIL_PBS)
    assert (mail["vmid"], mail["guest"], mail["verified"]) == (104, "qemu", "failed")
    assert "Not read: old-nas (not reachable)." in answer.text
    assert answer.data["notes"] == ["Not read: old-nas (not reachable)."]
    assert next(i for i in items if i["volid"] == KEPT)["protected"] is True


def test_a_storage_that_fails_does_not_fail_the_list():
    bench = Bench()
    meddle(bench, "GET", "/storage/nas/content", lambda: setattr(bench.cluster.world.storages["nas"], "active", False))
    answer = bench.run("proxmox_list_backups", node="pve1")
    assert not answer.failed and "nas (Proxmox refused" in answer.text and "is not online" in answer.text
    assert all(i["volid"].startswith("pbs:") for i in answer.data["items"]) and answer.data["items"]
    assert "storage 'nas' is not online" in bench.run("proxmox_list_backups", node="pve1", storage="nas").text


def test_an_empty_list_says_which_privileges_it_takes():
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/": ["Datastore.Audit", "VM.Audit", "Sys.Audit"]}}})
    answer = bench.run("proxmox_list_backups", node="pve1")
    assert not answer.failed and answer.data["total"] == 0
    assert "Datastore.AllocateSpace on its storage and VM.Backup on its guest" in answer.text


# ------------------------------------------------------------------------------------------------------------ restoring

def test_restore_a_vm():
    bench = Bench()
    answer = bench.run("proxmox_restore_backup_vm", node="pve1", vmid=300, archive=WEB, wait=3600)
    assert not answer.failed and "VM 300 (web01) restored on pve1 from %s" % WEB in answer.text, answer.text
    assert "It is stopped now." in answer.text
    assert "\nIt has scsi0 local-lvm:vm-300-disk-0, 32 GiB" in answer.text and "; net0 BC:24:11:" in answer.text
    assert ("Beside guest 100, which is running, it has the same MAC addresses (unique=true restores with new ones); "
            "onboot, "
            "so it starts with the node (onboot=false restores without). Do not run both in one "
            "network.") in answer.text
    assert guest_of(bench, 300).name == "web01" and answer.data["name"] == "web01"


def test_restore_a_container_where_its_root_disk_was():
    bench = Bench()
    answer = bench.run("proxmox_restore_backup_lxc", node="pve3", vmid=301, archive=DEV, unique=True, start=True,
                       wait=3600)
    assert not answer.failed and "Container 301 (dev) restored on pve3" in answer.text, answer.text
    assert "It is running now." in answer.text and "MAC" not in answer.text and answer.data["storage"] == "local-lvm"
    assert guest_of(bench, 301).conf["rootfs"].startswith("local-lvm:")


def test_the_newest_backup_is_that_of_the_guest_that_is_named_and_what_was_not_looked_at_is_told():
    bench = Bench()
    answer = bench.run("proxmox_restore_backup_lxc", node="pve3", vmid=301, archive="newest of 203", wait=3600)
    assert not answer.failed and "Container 301 (dev) restored on pve3 from %s" % DEV in answer.text, answer.text
    assert "It has rootfs local-lvm:vm-301-disk-0, 8 GiB; net0 BC:24:" in answer.text
    answer = bench.run("proxmox_restore_backup_lxc", node="pve3", vmid=302, archive="newest")
    assert answer.failed and "no backup of container 302 on local, nas, pbs, scratch of node pve3." in answer.text
    assert "archive=newest of NUMBER" in answer.text
    answer = bench.run("proxmox_restore_backup_vm", node="pve3", vmid=302, archive="newest of 203")
    assert answer.failed and "There is no backup of VM 203 on" in answer.text
    assert bench.sent(reads=False) == []


def test_a_container_whose_old_storage_is_not_there():
    bench = Bench()
    bench.cluster.world.storages["local-lvm"].content.remove("rootdir")
    answer = bench.run("proxmox_restore_backup_lxc", node="pve3", vmid=301, archive=DEV)
    assert answer.failed and "the root disk was on local-lvm, which takes no container disks" in answer.text
    assert "san" in answer.text and writes(bench) == []


def test_overwriting_is_asked_naming_what_goes():
    consent = Asked(False)
    bench = Bench(consent=consent)
    answer = bench.run("proxmox_restore_backup_lxc", node="pve3", vmid=203, archive=DEV, storage="local-lvm",
                       force=True)
    question = consent.questions[0]
    assert "Overwrite container 203 (dev) on node pve3, with its disks rootfs local-lvm:vm-203-disk-0 (8G)" in question
    assert "and its snapshot clean, by the backup" in question
    assert DEV in question and "made 2025-12-1" in question
    assert answer.failed and writes(bench) == []


def test_overwriting_a_stopped_guest():
    bench = Bench()
    guest_of(bench, 107).conf["memory"] = "4096"
    answer = bench.run("proxmox_restore_backup_vm", node="pve3", vmid=107, archive=LAB, force=True, wait=3600)
    assert not answer.failed and answer.data["overwritten"] is True, answer.text
    assert str(guest_of(bench, 107).conf["memory"]) == "1024"


def test_force_is_never_sent_for_a_guest_that_was_not_seen():
    bench = Bench()
    answer = bench.run("proxmox_restore_backup_vm", node="pve1", vmid=300, archive=WEB, force=True, wait=600)
    assert not answer.failed and writes(bench) == ["POST /nodes/pve1/qemu archive=%s vmid=300" % WEB]


# ------------------------------------------------------------------------------------------------------------- deleting

def test_delete_a_backup():
    consent = Asked()
    bench = Bench(consent=consent)
    answer = bench.run("proxmox_delete_backup", node="pve1", storage="nas", volume=WEB)
    about = "(of VM 100, made 2025-12-30 20:16:40 UTC, 3.9 GiB, \"web01\")"
    assert consent.questions == ["Delete the backup %s %s for good?" % (WEB, about)]
    assert not answer.failed and "deleted" in answer.text and "(of VM 100, made" in answer.text, answer.text
    assert WEB not in backups(bench, "pve1", "nas") and len(writes(bench)) == 1 and answer.data["volid"] == WEB


def test_protection_set_in_between_is_explained():
    bench = Bench()
    meddle(bench, "DELETE", WEB, lambda: setattr(bench.cluster.world.storages["nas"].at("pve1")[WEB], "protected",
                                                 True))
    answer = bench.run("proxmox_delete_backup", node="pve1", storage="nas", volume=WEB)
    assert answer.failed and "cannot remove protected volume" in answer.text
    assert "Take its protection off first" in answer.text


# ------------------------------------------------------------------------------------------------ whether it is enough

def test_each_guest_has_a_verdict():
    bench = Bench()
    answer = ok(bench.run("proxmox_list_backup_state"))
    assert answer.text.startswith("\u2705 15 guests: 1 verification failed, 1 disk left out, 10 not found, 3 ok\n")
    rows = {row["vmid"]: row for row in answer.data["items"]}
    assert {vmid for vmid, row in rows.items() if row["verdict"] == "not found"} == {
        102, 103, 105, 106, 107, 108, 202, 203, 204, 205}
    assert rows[104]["verdict"] == "verification failed" and rows[104]["storage"] == "pbs"
    assert rows[101]["left_out"] == ["scsi1"] and rows[101]["encrypted"] is True
    assert rows[100]["jobs"] == ["backup-nightly"] and rows[100]["verdict"] == "ok"
    assert 9000 not in rows and rows[102]["off"] == ["backup-old"]
    assert "Job backup-old is switched off, and would take 102-103, 105-108, 202-205." in answer.text
    assert [row["vmid"] for row in ok(bench.run("proxmox_list_backup_state", missing=True)).data["items"]] == [
        102, 103, 105, 106, 107, 108, 202, 203, 204, 205]
    assert {row["vmid"] for row in ok(bench.run("proxmox_list_backup_state", unverified=True)).data["items"]} == {
        100, 107, 201, 203}
    older = ok(bench.run("proxmox_list_backup_state", older_than=30)).data["items"]
    assert {row["vmid"] for row in older} == {102, 103, 105, 106, 107, 108, 202, 204, 205}


def test_nobody_is_said_to_have_no_backup_while_the_storage_of_a_job_of_theirs_is_out_of_reach():
    bench = Bench()
    for tool, arguments in (("list_backup_state", {}), ("get_overview", {"area": "backups"})):
        answer = ok(bench.run("proxmox_" + tool, **arguments))
        assert "never backed up" not in answer.text
        assert "Not read: Backups on old-nas: no node reaches it." in answer.text
    assert "Not read: old-nas (no node reaches it)." in ok(bench.run("proxmox_list_backups")).text
    assert "Not read" not in ok(bench.run("proxmox_list_backups", storage="nas")).text
    del bench.cluster.world.backup_jobs["backup-old"]   # it is switched off, but may have saved there
    answer = ok(bench.run("proxmox_list_backup_state"))
    assert ": 1 verification failed, 8 none, 2 old, 1 disk left out, 3 ok\n" in answer.text


def test_the_verdict_says_what_could_not_be_read():
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/pbs/content", (500, "cannot reach the backup server"))
    answering(bench, "/cluster/backup", (403, "Permission check failed (/, Sys.Audit)"))
    answer = ok(bench.run("proxmox_list_backup_state", name="dns"))
    assert "Not read: Backups on pbs (node pve1): " in answer.text and "Backup jobs could not be read: " in answer.text
    assert answer.data["items"][0]["verdict"] == "not found" and answer.data["items"][0]["unsure"] is True


@pytest.mark.parametrize("days, verdict", [(1, "unverified"), (30, "ok")])
def test_a_failed_verification_is_not_hidden_by_a_newer_backup_that_nobody_verified(days, verdict):
    bench = _two_hundred()
    answering(bench, "/nodes/a/storage/nas/content", [
        {"volid": "nas:b/2", "vmid": 100, "ctime": NOW - 60},
        {"volid": "nas:b/1", "vmid": 100, "ctime": NOW - days * DAY,
                                                             "verification": {"state": "failed"}}])
    [row] = ok(bench.run("proxmox_list_backup_state", name="g100")).data["items"]
    assert row["verdict"] == verdict


def test_a_token_that_sees_no_backups_is_not_told_that_there_are_none():
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/": ["VM.Audit", "Datastore.Audit", "Sys.Audit"]}}})
    answer = ok(bench.run("proxmox_list_backup_state"))
    assert answer.text.startswith(
        "\u2705 15 guests: 15 unknown\n") and "Not read: Backups: none is visible." in answer.text
    assert "Datastore.AllocateSpace" in answer.text
    answer = ok(bench.run("proxmox_get_overview", area="backups"))
    assert "never backed up" not in answer.text and "2 things could not be read" in answer.text


def test_permissions_that_cannot_be_read_keep_nothing_else_from_being_told():
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/": ["VM.Audit", "Datastore.Audit", "Sys.Audit"]}}})
    answering(bench, "/access/permissions", (595, "Connection refused"))
    assert ok(bench.run("proxmox_list_backup_state")).data["total"] == 15
    assert "disk /dev/sdd" in ok(bench.run("proxmox_get_overview")).text


def test_what_a_backup_is_worth_does_not_cost_more_requests_with_more_guests():
    bench = Bench(big())
    answer = ok(bench.run("proxmox_list_backup_state"))
    assert answer.data["total"] == 10000 and len(bench.sent()) < 50


@pytest.mark.parametrize("schedule, days", [
    ("21:00", 2), ("*/6:00", 2), ("daily", 2), ("mon..fri 02:30", 4), ("sat 03:00", 8), ("weekly", 8),
    ("mon,thu 1:00", 8), ("*-*-01 03:00", 33), ("monthly", 33), ("sun *-*-1..7 04:00", 33), ("yearly", 367), (None, 2)])
def test_how_old_the_newest_backup_of_a_job_may_be(schedule, days):
    assert allowed_age(schedule) // 86400 == days


def test_backups_of_the_whole_cluster_each_once():
    rows = ok(Bench().run("proxmox_list_backups", limit=200)).data["items"]
    assert len({row["volid"] for row in rows}) == len(rows)
    newest = ok(Bench().run("proxmox_list_backups", newest=True)).data["items"]
    assert [row["vmid"] for row in newest] == list(dict.fromkeys(row["vmid"] for row in rows))
    assert [row["ctime"] for row in newest] == [next(one["ctime"] for one in rows if one["vmid"] == row["vmid"])
                                                for row in newest]
    assert {row["vmid"] for row in rows if row.get("verified") == "failed"} == {104}
    assert {row["vmid"] for row in rows if row.get("encrypted")} == {101}


# ------------------------------------------------------------------------------------- two hundred guests, twelve gaps

NOW, DAY = 1_796_000_000, 86400
#: vmid -> (its verdict, what is changed in the world)
GAPS = {
    101: ("none", lambda world: world["backups"].pop(101)), 102: ("none", lambda world: world["backups"].pop(102)),
    110: ("old", lambda world: world["backups"][110].update(ctime=NOW - 3 * DAY)),
    111: ("old", lambda world: world["backups"][111].update(ctime=NOW - 90 * DAY)),
    120: ("verification failed", lambda world: world["backups"][120].update(verification={"state": "failed"})),
    121: ("verification failed", lambda world: world["backups"][121].update(verification={"state": "failed"})),
    130: ("in no job", lambda world: world["excluded"].append(130)),
    131: ("in no job", lambda world: world["excluded"].append(131)),
    140: ("disk left out", lambda world: world["left_out"].append(140)),
    141: ("disk left out", lambda world: world["left_out"].append(141)),
    150: ("old", lambda world: (world["excluded"].append(150), world["backups"][150].update(ctime=NOW - 9 * DAY))),
    299: ("none", lambda world: (world["excluded"].append(299), world["backups"].pop(299)))}


def _two_hundred(count=200):
    """A bench whose Proxmox has guests 100 on, each backed up last night by the one job, but for the GAPS."""
    world = {"excluded": [], "left_out": [], "backups": {vmid: {
        "volid": "nas:backup/%d" % vmid, "vmid": vmid, "ctime": NOW - 9 * 3600, "size": 1 << 30}
        for vmid in range(100, 100 + count)}}
    for _, plant in GAPS.values():
        plant(world)
    bench = Bench()
    bench.host.now = lambda: NOW
    answering(bench, "/cluster/resources",
              [{"type": "storage", "storage": "nas", "node": "a", "shared": 1, "status": "available",
                                             "content": "backup", "plugintype": "nfs"}] + [
        {"type": "qemu", "vmid": vmid, "node": "a", "name": "g%d" % vmid, "status": "running"}
        for vmid in range(100, 100 + count)])
    answering(bench, "/cluster/backup", [
        {"id": "nightly", "all": 1, "schedule": "21:00", "storage": "nas",
         "exclude": ",".join(map(str, world["excluded"]))},
        {"id": "off", "all": 1, "enabled": 0, "schedule": "sun 1:00", "storage": "nas"}])
    answering(bench, "/nodes/a/storage/nas/content", list(world["backups"].values()))
    answering(bench, "/cluster/backup/nightly/included_volumes", {"children": [
        {"id": vmid, "children": [{"id": "%d:scsi1" % vmid, "name": "scsi1", "included": 0, "reason": "backup=no"}]}
        for vmid in world["left_out"]]})
    return bench


def test_each_of_two_hundred_guests_has_its_exact_verdict():
    bench = _two_hundred()
    answer = ok(bench.run("proxmox_list_backup_state", limit=1000))
    verdicts = {row["vmid"]: row["verdict"] for row in answer.data["items"]}
    assert verdicts == {vmid: GAPS.get(vmid, ("ok",))[0] for vmid in range(100, 300)}
    assert [row["vmid"] for row in answer.data["items"]][:2] == [120, 121]
