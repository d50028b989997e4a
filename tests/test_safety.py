"""The safety net: what is made before something is destroyed, who may ask for less, and that nothing goes without."""
import pytest
from test_lifecycle import meddle

from support import Asked, Bench, Cluster, answering, ending, ok, settings
from tools.mcp.run import Nobody
from tools.policy import freeze
from tools.policy.guard import Guard
from tools.policy.journal import Journal

V100, V102, V107, C203 = "/nodes/pve1/qemu/100", "/nodes/pve2/qemu/102", "/nodes/pve3/qemu/107", "/nodes/pve3/lxc/203"
DELETE = {"tool": "proxmox_delete_vm", "vmid": 107}
ROLLBACK = {"tool": "proxmox_rollback_snapshot_vm", "vmid": 100, "snapname": "fresh-install"}


def _vzdump(path, tool, storage="nas"):
    _, _, node, _, vmid = path.split("/")
    return ("POST /nodes/%s/vzdump compress=zstd mode=snapshot notes-template=Before proxmox_%s remove=0 storage=%s "
            "vmid=%s" % (node, tool, storage, vmid))


def _mounted(bench):
    ok(bench.run("proxmox_add_mountpoint_lxc", vmid=203, mp="mp0", storage="local-lvm", size="2", backup=True))


def _lab(bench):
    ok(bench.run("proxmox_create_backup_vm", vmid=107, storage="local", wait=600))
    listed = bench.run("proxmox_list_backups", node="pve3", storage="local", vmid=107)
    return {"archive": listed.data["items"][0]["volid"]}


#: tool, arguments, what is made first and then done (digests left out), preparation.
NETS = [
    ("delete_vm", {"vmid": 107}, [_vzdump(V107, "delete_vm"), "DELETE %s" % V107]),
    ("delete_lxc", {"vmid": 203, "purge": True}, [_vzdump(C203, "delete_lxc"), "DELETE %s purge=1" % C203]),
    ("rollback_snapshot_vm", {"vmid": 100, "snapname": "fresh-install", "start": True},
     [_vzdump(V100, "rollback_snapshot_vm"), "POST %s/snapshot/fresh-install/rollback start=1" % V100]),
    ("rollback_snapshot_lxc", {"vmid": 203, "snapname": "clean"},
     [_vzdump(C203, "rollback_snapshot_lxc"), "POST %s/snapshot/clean/rollback" % C203]),
    ("restore_backup_vm", {"node": "pve3", "vmid": 107, "force": True},
     [_vzdump(V107, "restore_backup_vm"), "POST /nodes/pve3/qemu archive={archive} force=1 vmid=107"], _lab),
    ("remove_disk_vm", {"vmid": 107, "disk": "scsi0", "destroy": True},
     [_vzdump(V107, "remove_disk_vm"), "POST %s/config delete=scsi0 force=1" % V107]),
    ("remove_mountpoint_lxc", {"vmid": 203, "mp": "mp0", "destroy": True},
     [_vzdump(C203, "remove_mountpoint_lxc"), "PUT %s/config delete=mp0" % C203, "PUT %s/config delete=unused0" % C203],
     _mounted),
]


def _writes(bench):
    return [" ".join(word for word in line.split(" ") if not word.startswith("digest="))
            for line in bench.sent(reads=False)]


@pytest.mark.parametrize("by", ["setting", "argument"])
@pytest.mark.parametrize("tool, arguments, lines, prepare", [(*net, None)[:4] for net in NETS])
def test_a_backup_is_made_first_asked_about_and_named(by, tool, arguments, lines, prepare):
    cluster = Cluster()
    found = prepare and prepare(Bench(cluster)) or {}
    if "archive" in found:
        arguments = dict(arguments, archive=found["archive"])
    consent = Asked()
    bench = Bench(cluster, consent, **({"safety": "backup:nas"} if by == "setting" else {}))
    answer = ok(bench.run("proxmox_" + tool, **arguments, **({"safety": "backup:nas"} if by == "argument" else {})))
    assert _writes(bench) == [line.format(**found) for line in lines]
    assert len(consent.questions) == 1
    assert "Before that, a backup to nas is made; without it nothing is destroyed." in consent.questions[0]
    volid = answer.data["safety"]["backup"]
    assert volid.startswith("nas:backup/vzdump-") and "-%d-" % arguments["vmid"] in volid
    assert "Made before, as its safety net: backup %s." % volid in answer.text
    left = Bench(cluster).run("proxmox_list_backups", node="pve3", storage="nas", vmid=arguments["vmid"])
    assert volid in [row["volid"] for row in left.data["items"]]


@pytest.mark.parametrize("arguments, prepare", [
    ({"tool": "proxmox_update_vm_config", "vmid": 102, "delete": ["unused0"]}, None),
    ({"tool": "proxmox_remove_disk_vm", "vmid": 102, "disk": "unused0"}, None),
    ({"tool": "proxmox_delete_vm", "vmid": 102}, None),
    ({"tool": "proxmox_delete_vm", "vmid": 107}, {"scsi1": "tank:vm-107-disk-1,backup=0,size=1G"}),
    ({"tool": "proxmox_delete_lxc", "vmid": 203}, {"mp3": "local-lvm:vm-203-disk-9,mp=/srv,size=1G"}),
    ({"tool": "proxmox_delete_lxc", "vmid": 203}, {"unused4": "local-lvm:vm-203-disk-9"})])
@pytest.mark.parametrize("level", ["snapshot:nas", "backup:nas"])
def test_what_no_backup_would_hold_is_not_destroyed(arguments, prepare, level):
    consent = Asked()
    bench = Bench(consent=consent, safety=level)
    bench.cluster.world.guests[arguments["vmid"]].conf.update(prepare or {})
    answer = bench.run(**arguments)
    assert answer.failed and "no backup of" in answer.text and "would hold" in answer.text
    assert next(iter(prepare or {"unused0": 0})) in answer.text and "Nothing was sent." in answer.text
    assert bench.sent(reads=False) == consent.questions == []


def test_what_is_not_destroyed_need_not_be_in_the_backup():
    bench = Bench(safety="backup:nas")
    bench.cluster.world.guests[203].conf.update(mp3="/tank/media,mp=/media")
    assert ok(bench.run("proxmox_delete_lxc", vmid=203)).data["safety"]
    bench.cluster.world.guests[107].conf.update(ide2="nas:iso/x.iso,media=cdrom", ide0="local-lvm:vm-107-cloudinit,"
                                                "media=cdrom", unused0="local-lvm:vm-107-disk-5")
    assert ok(bench.run("proxmox_remove_disk_vm", vmid=107, disk="scsi0", destroy=True)).data["safety"]


@pytest.mark.parametrize("tool, arguments", [
    ("remove_disk_vm", {"vmid": 107, "disk": "scsi0"}), ("remove_mountpoint_lxc", {"vmid": 201, "mp": "mp0"}),
    ("update_vm_config", {"vmid": 100, "delete": ["description"]}), ("delete_snapshot_vm", {
        "vmid": 100, "snapname": "fresh-install"})])
def test_what_destroys_no_disk_needs_no_net(tool, arguments):
    bench = Bench(safety="backup")
    ok(bench.run("proxmox_" + tool, **arguments))
    assert len(bench.sent(reads=False)) == 1


# ------------------------------------------------------------------------------------------------------- a snapshot

@pytest.mark.parametrize("taken", [(), ("before-rollback-1",)])
def test_a_rollback_is_preceded_by_a_snapshot_with_a_free_name(taken):
    consent = Asked()
    bench = Bench(consent=consent, safety="snapshot")
    for name in taken:
        ok(bench.run("proxmox_create_snapshot_vm", vmid=100, snapname=name))
    answer = ok(bench.run(**ROLLBACK))
    name = "before-rollback-%d" % (1 + len(taken))
    assert bench.sent(reads=False) == [
        "POST %s/snapshot description=Before proxmox_rollback_snapshot_vm snapname=%s" % (V100, name),
        "POST %s/snapshot/fresh-install/rollback" % V100]
    assert "Before that, a snapshot %s is made" % name in consent.questions[0]
    assert answer.data["safety"] == {"snapshot": name} and "safety net: snapshot %s." % name in answer.text
    assert name in bench.cluster.world.guests[100].snapshots


def _storage(bench, **changes):
    answering(bench, "/storage", [{"storage": "local-lvm", "type": "lvmthin", **changes}])


@pytest.mark.parametrize("prepare", [
    lambda bench: _storage(bench, type="zfspool"), lambda bench: _storage(bench, type="newer-than-this"),
    lambda bench: _storage(bench, **{"snapshot-as-volume-chain": 1}), lambda bench: answering(bench, "/storage", []),
    lambda bench: answering(bench, V100 + "/feature", {"hasFeature": 0})])
def test_a_snapshot_that_would_not_serve_a_rollback_is_a_backup_instead(prepare):
    bench = Bench(safety="snapshot:nas")
    prepare(bench)
    ok(bench.run(**ROLLBACK))
    assert bench.sent(reads=False) == [_vzdump(V100, "rollback_snapshot_vm"),
                                       "POST %s/snapshot/fresh-install/rollback" % V100]


def test_a_snapshot_for_what_takes_it_along_is_a_backup_instead():
    bench = Bench(safety="snapshot")
    ok(bench.run(**DELETE))
    assert bench.sent(reads=False)[0] == _vzdump(V107, "delete_vm", "local")


# ----------------------------------------------------------------------------------------------- who asks for it, where

@pytest.mark.parametrize("setting, argument", [
    ("backup", "none"), ("backup", "snapshot"), ("snapshot", "none"), ("backup:nas", "backup:local"),
    ("snapshot:nas", "backup:local"), ("backup:nas", "snapshot:nas")])
def test_the_argument_may_not_weaken_the_setting(setting, argument):
    consent = Asked()
    bench = Bench(consent=consent, safety=setting)
    answer = bench.run(safety=argument, **DELETE)
    assert answer.outcome == "refused" and "PROXMOX_SAFETY=%s is set" % setting in answer.text
    assert bench.sent(reads=False) == consent.questions == []


@pytest.mark.parametrize("setting, argument, storage", [
    ("snapshot:nas", "backup", "nas"), ("backup:nas", "backup", "nas"), ("backup", "backup:nas", "nas"),
    ("none", "backup", "local"), ("backup", None, "local"), ("none", "none", None), ("none", None, None)])
def test_the_argument_may_ask_for_more(setting, argument, storage):
    bench = Bench(safety=setting)
    answer = ok(bench.run(safety=argument, **DELETE))
    assert bench.sent(reads=False) == [_vzdump(V107, "delete_vm", storage)] * bool(storage) + ["DELETE %s" % V107]
    assert ("safety" in answer.data) == bool(storage)


@pytest.mark.parametrize("storages, safety, says", [
    (["nas", "pbs"], "backup", "Set PROXMOX_SAFETY=backup:STORAGE, or say safety=backup:STORAGE: node pve3 has nas (1"),
    ([], "backup", "node pve3 has none for backups"),
    (["nas"], "backup:san", "Storage san takes no backups there. Set PROXMOX_SAFETY=backup:STORAGE")])
def test_where_no_storage_can_be_told_nothing_is_asked_or_sent(storages, safety, says):
    consent = Asked()
    bench = Bench(consent=consent, safety=safety)
    answering(bench, "/nodes/pve3/storage", [{"storage": name, "avail": 1 << 30} for name in storages])
    answer = bench.run(**DELETE)
    assert answer.failed and says in answer.text and bench.sent(reads=False) == consent.questions == []


@pytest.mark.parametrize("verb, path, parameters", [
    ("DELETE", V107, {}), ("POST", V100 + "/snapshot/fresh-install/rollback", {}),
    ("PUT", V102 + "/config", {"delete": "unused0"}), ("POST", V107 + "/config", {"delete": "scsi0", "force": 1}),
    ("POST", "/nodes/pve3/qemu", {"vmid": 107, "archive": "nas:backup/vzdump-qemu-107-x.vma.zst", "force": 1}),
    ("DELETE", "/nodes/pve3/storage/local-lvm/content/local-lvm:vm-107-disk-0", {}),
    ("DELETE", "/nodes/pve3/storage/local-lvm/content/vm-107-disk-0", {})])
def test_no_raw_request_destroys_without_a_net(verb, path, parameters):
    consent = Asked()
    bench = Bench(consent=consent, safety="snapshot")
    answer = bench.run("proxmox_api_call", verb=verb, path=path, parameters=parameters)
    assert answer.outcome == "refused" and "PROXMOX_SAFETY=snapshot is set" in answer.text
    assert bench.sent(reads=False) == consent.questions == []


@pytest.mark.parametrize("verb, path, parameters", [
    ("PUT", V107 + "/config", {"delete": "description"}), ("POST", V107 + "/config", {"description": "unused0"}),
    ("DELETE", V100 + "/snapshot/fresh-install", {})])
def test_other_raw_requests_need_no_net(verb, path, parameters):
    ok(Bench(safety="backup").run("proxmox_api_call", verb=verb, path=path, parameters=parameters))


@pytest.mark.parametrize("parameters, refused", [
    ({"idlist": "scsi0", "force": True}, True), ({"idlist": "scsi0,unused0"}, True), ({"idlist": "scsi0"}, False)])
def test_unlinking_that_destroys_is_refused(parameters, refused):
    assert bool(Guard(settings(safety="backup")).unsafe("PUT", V107 + "/unlink", parameters)) == refused


@pytest.mark.parametrize("verb, path, refused", [
    ("DELETE", "disks/lvmthin/data", True), ("DELETE", "ceph/pool/rbd", True), ("PUT", "disks/wipedisk", True),
    ("POST", "disks/lvmthin", False), ("DELETE", "storage/nas/content/nas:107/vm-107-disk-0.qcow2", True),
    ("DELETE", "storage/nas/content/nas:backup/vzdump-qemu-107-x.vma.zst", False),
    ("DELETE", "storage/nas/content/iso/a.iso", False)])
def test_what_is_done_to_a_storage_or_node_destroys_volumes_of_guests_too(verb, path, refused):
    assert bool(Guard(settings(safety="backup")).unsafe(verb, "/nodes/pve1/" + path, {})) == refused


@pytest.mark.parametrize("limits", [{"protected_guests": ("107",)}, {"allowed_guests": ("100",)}, {
    "allowed_nodes": ("pve1",)}, {"allowed_nodes": ("pve3",)}])
def test_guardrails_are_judged_before_the_net_is_made(limits):
    bench = Bench(safety="backup", **limits)
    answer = bench.run(purge=True, **DELETE)          # which reaches the jobs of the whole cluster
    if limits == {"allowed_nodes": ("pve3",)}:
        ok(answer)
    else:
        assert answer.outcome == "refused" and bench.sent(reads=False) == []


def test_a_no_makes_nothing():
    bench = Bench(consent=Asked(False), safety="backup")
    assert bench.run(**DELETE).outcome == "declined" and bench.sent(reads=False) == []


# ------------------------------------------------------------------------------------------- when it cannot be made

def test_nothing_is_destroyed_when_the_backup_fails():
    bench = Bench(safety="backup:nas")
    ending(bench, "POST", "/nodes/pve3/vzdump", "job errors", ["ERROR: Backup of VM 107 failed - no space left"],
           "vzdump", "107")
    answer = bench.run(**DELETE)
    assert answer.failed and "no space left" in answer.text
    assert "The backup to nas that is to be made first is not known to be there, so nothing was" in answer.text
    assert bench.sent(reads=False) == [_vzdump(V107, "delete_vm")] and 107 in bench.cluster.world.guests


def test_nothing_is_destroyed_when_the_snapshot_fails():
    bench = Bench(safety="snapshot")
    ending(bench, "POST", V100 + "/snapshot", "snapshot failed", type="qmsnapshot", id="100")
    answer = bench.run(**ROLLBACK)
    assert answer.failed
    assert "The snapshot before-rollback-1 that is to be made first is not known to be there" in answer.text
    assert len(bench.sent(reads=False)) == 1


def test_nothing_is_destroyed_when_proxmox_refuses_the_backup():
    bench = Bench(safety="backup:nas")
    answering(bench, "/nodes/pve3/vzdump", (403, "Permission check failed (/vms/107, VM.Backup)"), "POST")
    answer = bench.run(**DELETE)
    assert answer.failed and "so nothing was destroyed" in answer.text and "VM.Backup" in answer.text
    assert 107 in bench.cluster.world.guests


def test_nothing_is_destroyed_when_the_archive_is_not_to_be_seen():
    bench = Bench(safety="backup:nas")
    answering(bench, "/nodes/pve3/storage/nas/content", [])
    answer = bench.run(**DELETE)
    assert answer.failed and "Its archive is not in the list of nas" in answer.text
    assert len(bench.sent(reads=False)) == 1


def test_it_is_followed_to_its_end_whatever_the_call_waits():
    bench = Bench(safety="backup:nas")
    ok(bench.run(wait=0, **DELETE))
    assert len(bench.sent(reads=False)) == 2


def test_nothing_is_destroyed_while_it_goes_on():
    bench, impatient = Bench(safety="backup:nas"), Nobody()
    impatient.patience = 1
    answer = bench.run(request=impatient, **DELETE)
    assert answer.failed and "proxmox_run with the call as its step waits to the end." in answer.text
    assert len(bench.sent(reads=False)) == 1


def test_a_guest_that_was_changed_meanwhile_stays_and_the_net_is_named():
    bench = Bench(safety="backup:nas")
    meddle(bench, "GET", "/storage/nas/content", lambda: bench.cluster.world.guests[107].conf.update(cores=7))
    answer = bench.run(**DELETE)
    assert answer.failed and "The target has changed since the safety net was asked for." in answer.text
    assert "Made before, as its safety net: backup nas:backup/vzdump-qemu-107-" in answer.text
    assert len(bench.sent(reads=False)) == 1


def test_a_delete_that_fails_names_the_net_that_was_made():
    bench = Bench(safety="backup:nas")
    answering(bench, V107, (500, "in use by 108"), "DELETE")
    answer = bench.run(**DELETE)
    assert answer.failed and "Made before, as its safety net: backup nas:backup/vzdump-qemu-107-" in answer.text


@pytest.mark.parametrize("tool, arguments, lines, prepare", [(*net, None)[:4] for net in NETS if len(net) == 3])
def test_a_dry_run_shows_the_net_too(tool, arguments, lines, prepare):
    bench = Bench(safety="backup:nas", dry_run=True)
    answer = ok(bench.run("proxmox_" + tool, **arguments))
    shown = ["%s %s" % (one["method"], one["path"][len("/api2/json"):]) for one in answer.data["requests"]]
    assert shown == [" ".join(line.split(" ")[:2]) for line in lines] and bench.sent(reads=False) == []


def test_a_step_of_a_run_has_its_net():
    bench = Bench(safety="backup:nas")
    steps = [{"tool": "proxmox_delete_vm", "arguments": {"vmid": 107}}]
    plan = ok(bench.run("proxmox_run", steps=steps, plan=True))
    assert "vzdump" in plan.text and bench.sent(reads=False) == []
    bench.run("proxmox_run", steps=steps)
    assert all(run.over.wait(60) for run in bench.host.runs._live.values())
    assert bench.sent(reads=False) == [_vzdump(V107, "delete_vm"), "DELETE %s" % V107]


def test_a_server_killed_while_the_net_is_made_has_not_noted_it_as_what_the_call_was_for():
    bench = Bench(safety="snapshot")
    bench.host.journal, seen = Journal(), []
    meddle(bench, "POST", "/snapshot", lambda: seen.append(bench.host.journal.all("u")))
    meddle(bench, "POST", "/rollback", lambda: seen.append(bench.host.journal.all("u")[0]["open"]["path"]))
    ok(bench.run(**ROLLBACK))
    assert seen == [[], V100 + "/snapshot/fresh-install/rollback"]


@pytest.mark.parametrize("waits, disk", [
    ({"scsi1": "tank:vm-101-disk-0,backup=1,size=500G"}, "scsi1"),
    ({"scsi3": "tank:vm-101-disk-7,size=1G"}, "scsi3")])
def test_what_only_waits_to_be_in_a_backup_is_not_held(waits, disk):
    bench = Bench(safety="backup")
    guest = bench.cluster.world.guests[101]
    guest.conf["protection"] = 0
    guest.pending.update(waits)
    answer = bench.run("proxmox_remove_disk_vm", vmid=101, disk=disk, destroy=True)
    assert answer.failed and "no backup of VM 101 would hold" in answer.text and bench.sent(reads=False) == []


def test_a_net_that_is_refused_is_told_and_audited_as_refused(tmp_path):
    class Freezing(Asked):
        def ask(self, call, describe):
            freeze.freeze(str(tmp_path), "why")
            return super().ask(call, describe)
    bench = Bench(consent=Freezing(), safety="backup", state_dir=str(tmp_path), audit_log=str(tmp_path / "audit"))
    answer = bench.run("proxmox_delete_vm", vmid=107)
    assert answer.outcome == "refused" and "changes are frozen" in answer.text and bench.sent(reads=False) == []
    assert '"event":"refused"' in (tmp_path / "audit").read_text()
