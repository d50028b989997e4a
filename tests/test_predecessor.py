"""The mistakes of another server for Proxmox VE, one by one: none is here.

HERE has what a tool sends and says; ELSEWHERE names the tests of other files that show the same of a mistake.
"""
import importlib
import re

import pytest

import proxmox_mcp
import tools
from support import Bench, Cluster
from tools.pve import client

ALPINE = "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
VM = {"node": "pve1", "vmid": 100}
CT = {"node": "pve3", "vmid": 203}
ISO = "nas:iso/virtio-win-0.1.285.iso"


def _backup(bench, kind):
    return next(volid for volid in bench.cluster.world.storages["nas"].at("pve1") if "vzdump-" + kind in volid)


#: (the mistake, tool, arguments, patterns of the requests that change something, in order, words of the answer)
HERE = [
    ("parameters of the documentation were dropped", "add_network_vm", dict(VM, net="net3", bridge="vmbr0", tag=100),
     [r"POST .*net3=virtio,bridge=vmbr0,tag=100(?:,|\Z)"], []),
    ("so was rootfs_size", "create_lxc", {"node": "pve1", "vmid": 300, "ostemplate": ALPINE, "rootfs_size": "16",
                                          "storage": "local-lvm"}, [r"POST .*rootfs=local-lvm:16(?: |\Z)"], []),
    ("so was bridge", "create_vm", {"node": "pve1", "vmid": 300, "bridge": "vmbr1"},
     [r"POST .*net0=virtio,bridge=vmbr1,"], []),
    ("so was hostname", "clone_vm", dict(VM, newid=300, hostname="copy"), [r"POST .*/clone .*name=copy"], ["copy"]),
    ("compress none was sent as none", "create_backup_vm", dict(VM, storage="nas", compress="none"),
     [r"POST /nodes/pve1/vzdump .*compress=0 "], []),
    ("older backups were pruned unasked", "create_backup_lxc", dict(CT, storage="nas"), [r"POST .*/vzdump .*remove=0"],
     ["nas:backup/vzdump-lxc-203-"]),
    ("both restores sent parameters that do not exist", "restore_backup_vm",
     {"node": "pve1", "vmid": 300, "archive": "{qemu}", "storage": "local-lvm"},
     [r"POST /nodes/pve1/qemu archive=\S+ storage=local-lvm vmid=300\Z"], ["300"]),
    ("of containers too", "restore_backup_lxc",
     {"node": "pve1", "vmid": 300, "archive": "{lxc}", "storage": "local-lvm"},
     [r"POST /nodes/pve1/lxc ostemplate=\S+ restore=1 storage=local-lvm vmid=300\Z"], ["300"]),
    ("an occupied disk was replaced", "add_disk_vm", dict(VM, disk="scsi0", storage="local-lvm", size="1"), [],
     ["scsi0", "Nothing was sent"]),
    ("an occupied card was replaced", "add_network_vm", dict(VM, net="net0", bridge="vmbr0"), [],
     ["net0", "Nothing was sent"]),
    ("of containers too", "add_network_lxc", dict(CT, net="net0", bridge="vmbr0"), [], ["net0", "Nothing was sent"]),
    ("an absent disk was \"removed\"", "remove_disk_vm", dict(VM, disk="scsi9"), [], ["scsi9", "Nothing was sent"]),
    ("an absent card too", "remove_network_vm", dict(VM, net="net7"), [], ["net7", "Nothing was sent"]),
    ("an absent card of a container too", "remove_network_lxc", dict(CT, net="net7"), [], ["net7", "Nothing was sent"]),
    ("an absent mount point too", "remove_mountpoint_lxc", dict(CT, mp="mp9"), [], ["mp9", "Nothing was sent"]),
    ("a mount point had no path", "add_mountpoint_lxc", dict(CT, mp="mp0", storage="local-lvm", size="20"),
     [r"PUT .*mp0=local-lvm:20,mp=/mnt/mp0(?: |\Z)"], ["/mnt/mp0"]),
    ("a new model stood beside the old one", "update_network_vm", dict(VM, net="net0", model="e1000"),
     [r"POST .*net0=e1000=BC:24:11:[0-9A-F:]{8},bridge=vmbr0"], []),
    ("a new MAC too", "update_network_vm", dict(VM, net="net0", macaddr="BC:24:11:AA:BB:CC"),
     [r"POST .*net0=virtio=BC:24:11:AA:BB:CC,bridge=vmbr0"], []),
    ("sizes lost their unit: 1T", "create_vm", {"node": "pve1", "vmid": 300, "disk_size": "1T", "storage": "nas"},
     [r"POST .*scsi0=nas:1024,"], ["1 TiB"]),
    ("sizes lost their unit: 512M", "create_vm", {"node": "pve1", "vmid": 300, "disk_size": "512M"},
     [r"POST .*scsi0=local-lvm:0.5,"], ["512 MiB"]),
    ("the installer booted for ever, on a controller for nothing newer", "create_vm",
     {"node": "pve1", "vmid": 300, "iso": ISO}, [r"POST (?!.*boot=).*scsihw=virtio-scsi-single"], []),
    ("a container was privileged and without a network", "create_lxc", {
        "node": "pve1", "vmid": 300, "ostemplate": ALPINE}, [r"POST .*net0=name=eth0,\S+ .*unprivileged=1"], []),
    ("a password was invented and printed", "create_lxc", {
        "node": "pve1", "vmid": 300, "ostemplate": ALPINE}, [r"POST (?!.*password)"], ["neither a password nor"]),
    ("a name was invented", "clone_vm", dict(VM, newid=300), [r"POST (?!.* name=).*/clone "], ["Copy-of-VM-web01"]),
    ("a task that failed was told as success", "resize_disk_lxc", dict(CT, disk="rootfs", size="1G"), [],
     ["never shrinks|never smaller|cannot shrink|smaller"]),
    ("the command endpoint of containers does not exist", "execute_vm_command", {
        "node": "pve1", "vmid": 200, "type": "lxc", "command": "id"}, [], ["Proxmox has no call", "pct exec 200"]),
    ("the output of a command was never read", "execute_vm_command", dict(VM, command="echo out"),
     [r"POST .*/agent/exec "], [r"exit code 0", r"\| out"]),
]

#: (the mistake, tool, arguments, the requests exactly, words that are in the answer, words that are not)
READS = [
    ("a filter was sent as the body of a GET", "get_node_disks", {"node": "pve1", "type": "unused"},
     ["GET /nodes/pve1/disks/list type=unused"], [], []),
    ("a parameter had another name", "get_node_disk_smart", {"node": "pve2", "disk": "/dev/sdb", "health_only": True},
     ["GET /nodes/pve2/disks/smart disk=/dev/sdb healthonly=1"], [], []),
    ("so many requests, one after the other", "get_vms", {"type": "lxc"}, ["GET /cluster/resources type=vm"],
     ["dns", "media"], []),
    ("memory was shown as CPU", "get_vm_status", dict(VM, type="qemu"), ["GET /nodes/pve1/qemu/100/status/current"],
     [r"CPU: [\d.]+ % of \d"], []),
    ("local storages of other nodes were dropped", "get_storage", {}, ["GET /cluster/resources type=storage"],
     [r"local  .*pve1", r"local  .*pve2", r"local  .*pve3"], []),
    ("the state of the cluster was thrown away", "get_cluster_status", {},
     ["GET /cluster/status", "GET /cluster/resources"] + ["GET /nodes/pve%d/qemu full=1" % n for n in (1, 2, 3)],
     ["(?i)quorate|quorum"], []),
    ("a load that is never sent", "get_nodes", {}, ["GET /nodes"], ["pve1"], ["N/A", "undefined", "(?i)load"]),
    ("the interface had no name", "get_network_iface", {"node": "pve1", "iface": "vmbr0"},
     ["GET /nodes/pve1/network/vmbr0"], ["vmbr0"], ["undefined", "None"]),
    ("a search domain that is not set", "get_node_dns", {"node": "pve1"}, ["GET /nodes/pve1/dns"], ["DNS"],
     ["undefined", "None"]),
]

#: (what was let through or kept out, tool, arguments, whether it is right)
FORMATS = [
    ("a node with _", "get_node_dns", {"node": "pve_1"}, False),
    ("a snapshot that begins with a digit", "create_snapshot_vm", dict(VM, snapname="1st"), False),
    ("a snapshot of 41 characters", "create_snapshot_vm", dict(VM, snapname="s" * 41), False),
    ("a bridge of the SDN", "add_network_vm", dict(VM, net="net3", bridge="vnet10"), True),
    ("an interface with -", "get_network_iface", {"node": "pve1", "iface": "my-if"}, False),
    ("a storage that is a path", "list_backups", {"node": "pve1", "storage": "../../access/users"}, False),
    ("an unknown argument", "get_vms", {"nodes": "pve1"}, False),
]

#: mistake -> the tests that show that it is not here: file, name.
ELSEWHERE = {
    "the reason phrase was ignored": [
        ("test_client", "test_message_of_the_body_beats_the_reason"),
        ("test_client", "test_read_ends_with_one_sentence_and_the_next_call_works")],
    "`verify` was `strict` without a CA": [("test_tls", "test_verify_trusts_on_first_use_and_says_so")],
    "total and changes were dropped": [("test_client", "test_reply_has_the_other_keys"),
                                       ("test_nodes", "test_changes_that_are_not_applied_are_said")],
    "no task was followed": [("test_task", "test_failure_tells_the_lines_that_matter"),
                             ("test_lifecycle", "test_a_task_that_outlasts_the_wait")],
    "HA was not known": [("test_lifecycle", "test_ha_is_waited_for_until_the_guest_is_really_stopped")],
    "no digest, nothing pending": [("test_change", "test_a_config_changed_in_between_is_read_again_once"),
                                   ("test_change", "test_of_a_running_vm_cores_and_memory_wait_and_it_is_said")],
    "\"after restart\" was said of what is at once": [("test_change", "test_a_container_is_resized_at_once"),
                                                       ("test_change", "test_what_is_live_is_not_told_as_waiting")],
    "a tool had another name": [("test_surface", "test_all_tools_of_the_mission_are_there"),
                                ("test_nodes", "test_the_predecessors_name_of_the_tool")],
    "backups of a backup server were UNKNOWN": [
        ("test_backups", "test_all_storages_are_listed_newest_first_and_pbs_by_its_fields")],
    "\"OK\" of the wrong node was not seen": [
        ("test_backups", "test_the_ok_of_a_node_that_does_not_have_the_guest_is_an_error_too")],
    "detached was told as destroyed": [("test_disks", "test_detached_is_not_destroyed")],
    "ethN clashed": [("test_networks", "test_the_first_free_name_is_taken_not_the_number")],
    "unknown keys of a card were lost": [("test_networks", "test_read_change_write_keeps_what_it_does_not_know")],
    "a password was in the reply": [("test_create", "test_a_password_is_never_shown"),
                                    ("test_create", "test_no_password_is_invented_and_it_is_said")],
    "one dead node failed all": [("test_guests", "test_a_node_that_is_down"),
                                 ("test_cluster", "test_cluster_status_never_fails_for_a_node_that_is_down")],
    "the rate limiter was used nowhere": [("test_guard", "test_a_limited_tool_says_so_and_the_next_works")],
    "the number of tools was wrong": [("test_surface", "test_readme_tables_are_current")],
}


def run(tool, arguments, **options):
    bench = Bench(**options)
    words = {kind: _backup(bench, kind) for kind in ("qemu", "lxc")}
    return bench, bench.run("proxmox_" + tool, **{
        key: value.format(**words) if isinstance(value, str) else value for key, value in arguments.items()})


@pytest.mark.parametrize("mistake, tool, arguments, writes, words", HERE, ids=["%s: %s" % row[:2] for row in HERE])
def test_what_changes_something(mistake, tool, arguments, writes, words):
    bench, answer = run(tool, arguments)
    sent = bench.sent(reads=False)
    assert len(sent) == len(writes) and all(map(re.match, writes, sent)), (sent, answer.text)
    assert answer.failed == (not writes), answer.text
    for one in words:
        assert re.search(one, answer.text), answer.text


@pytest.mark.parametrize("mistake, tool, arguments, sent, words, others", READS, ids=[row[0] for row in READS])
def test_what_reads(mistake, tool, arguments, sent, words, others):
    bench, answer = run(tool, arguments)
    assert bench.sent() == sent and not answer.failed, answer.text
    for one in words:
        assert re.search(one, answer.text), answer.text
    for one in others:
        assert not re.search(one, answer.text), answer.text


@pytest.mark.parametrize("what, tool, arguments, right", FORMATS, ids=[row[0] for row in FORMATS])
def test_formats_are_proxmoxs(what, tool, arguments, right):
    bench, answer = run(tool, arguments)
    assert answer.failed != right and bool(bench.sent()) == right, answer.text


POWER = ["start_vm", "start_lxc", "stop_vm", "stop_lxc", "shutdown_vm", "shutdown_lxc", "reboot_vm", "reboot_lxc",
         "pause_vm", "resume_vm"]


@pytest.mark.parametrize("tool", POWER)
def test_a_post_without_parameters_is_no_json(tool):
    """It went out as application/json with no body, which Proxmox refuses with 500 (malformed JSON)."""
    seen = []

    class Noting(Cluster):
        def handle(self, verb, target, headers, body=b""):
            if verb == "POST":
                seen.append((headers.get("Content-Type"), headers.get("Content-Length"), body))
            return super().handle(verb, target, headers, body)
    bench, kind = Bench(cluster=Noting()), tool.rsplit("_", 1)[1]
    if tool == "resume_vm":
        bench.run("proxmox_pause_vm", vmid=100)
    running, stopped = {"vm": (100, 102), "lxc": (200, 203)}[kind]
    bench.run("proxmox_" + tool, vmid=stopped if tool.startswith("start") else running, wait=0)
    assert seen and all(kind == "application/x-www-form-urlencoded" and int(length) == len(body)
                        for kind, length, body in seen)


def test_proxmoxs_own_words_are_told():
    """Only `500 - {"data":null}` was, and nothing of a 401."""
    failed = run("resize_disk_vm", {"vmid": 106, "node": "pve2", "disk": "scsi0", "size": "+1G"})[1]
    assert "VM is locked (backup)" in failed.text
    refused = run("get_nodes", {}, tokens={"root@pam!demo": {"value": "another"}})[1]
    assert "Authentication failed!" in refused.text and "PROXMOX_TOKEN_VALUE" in refused.text


def test_an_answer_is_waited_for_longer_than_proxmox_itself_waits():
    """Its 30 seconds were those after which pveproxy says 596, which was so never seen."""
    assert client.READ_SECONDS > 35 and client.TOTAL_SECONDS > client.READ_SECONDS


def test_a_tag_can_be_removed():
    bench = Bench()
    bench.run("proxmox_update_network_vm", vmid=100, net="net0", tag=7)
    assert "tag=7" in bench.cluster.world.guests[100].conf["net0"]
    for nothing in (0, None):
        bench.run("proxmox_update_network_vm", vmid=100, net="net0", tag=7)
        answer = bench.run("proxmox_update_network_vm", vmid=100, net="net0", tag=nothing)
        assert not answer.failed and "tag=" not in bench.cluster.world.guests[100].conf["net0"], answer.text


#: What Proxmox accepts and then fails at: each was told as a success.
FAILING = [("start_vm", {"vmid": 9000}), ("create_snapshot_vm", dict(VM, snapname="before-upgrade")),
           ("delete_snapshot_vm", dict(VM, snapname="nope")), ("rollback_snapshot_vm", dict(VM, snapname="nope")),
           ("resize_disk_vm", dict(VM, disk="scsi0", size="1G")), ("create_backup_vm", dict(VM, compress="lzo")),
           ("create_backup_vm", {"node": "pve2", "vmid": 100}), ("delete_vm", dict(VM)),
           ("move_disk_lxc", dict(CT, disk="rootfs", storage="nope")), ("pause_vm", {"vmid": 102}),
           ("reboot_lxc", {"vmid": 9999}), ("create_vm", {"node": "pve1", "vmid": 100}),
           ("restore_backup_vm", {"node": "pve1", "vmid": 100, "archive": "{qemu}"}),
           ("clone_lxc", {"vmid": 203, "newid": 100})]


@pytest.mark.parametrize("tool, arguments", FAILING, ids=["%s-%d" % (row[0], n) for n, row in enumerate(FAILING)])
def test_no_failure_is_told_as_success(tool, arguments):
    answer = run(tool, arguments)[1]
    assert answer.failed and answer.text.startswith("\u274c Error: "), answer.text


def test_version_and_count_are_true():
    """It said 0.1.0 and 55 tools."""
    assert re.fullmatch(r"[1-9]\d*\.\d+\.\d+", proxmox_mcp.__version__)
    assert len(tools.surface()) == len(tools.all_rows()) >= 64


@pytest.mark.parametrize("mistake", sorted(ELSEWHERE))
def test_the_tests_of_other_files_are_there(mistake):
    for module, name in ELSEWHERE[mistake]:
        assert callable(getattr(importlib.import_module(module), name))
