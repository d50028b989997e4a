"""Clusters as they are: what real hosts and public reports about tools for Proxmox show, served as canned answers."""
import time

import pytest

from support import Bench, answering, ending, ok

V100 = "/nodes/pve1/qemu/100"
AGENT = V100 + "/agent/"
FIND = "GET /cluster/resources type=vm"


# ------------------------------------------------------------------------------------------------------ the guest agent

DISABLED = {"result": {"error": {"class": "CommandDisabled", "desc":
            "The command guest-network-get-interfaces has been disabled for this instance"}}}


def test_an_error_that_the_agent_sends_with_status_200_is_told_in_its_own_words():
    bench = Bench()
    answering(bench, AGENT + "network-get-interfaces", DISABLED)
    answer = ok(bench.run("proxmox_get_inside", vmids=[100]))
    assert "Agent error: %s (HTTP 200)" % DISABLED["result"]["error"]["desc"] in answer.text
    assert "/etc/sysconfig/qemu-ga" in answer.text and "bug" not in answer.text


@pytest.mark.parametrize("verb, command, said, words", [
    ("GET", "get-host-name", {"result": {"error": {
        "class": "CommandNotFound", "desc": "The command guest-get-host-name has not been found"}}}, "too old"),
    ("POST", "ping", {"result": {"error": {"class": "GenericError"}}}, "Agent error: GenericError"),
    ("POST", "ping", {"result": {"error": {"desc": "hello\n\u2705 done"}}}, "Agent error: hello\n| \u2705 done")])
def test_so_it_is_with_every_command_of_the_agent(verb, command, said, words):
    bench = Bench()
    answering(bench, AGENT + command, said, verb)
    answer = bench.run("proxmox_api_call", verb=verb, path=AGENT + command)
    assert answer.failed and words in answer.text, answer.text
    assert "%s %s" % (verb, AGENT + command) in bench.sent()


def test_what_the_agent_does_tell_is_shown_beside_what_it_refuses():
    bench = Bench()
    answering(bench, AGENT + "get-osinfo", DISABLED)
    answer = ok(bench.run("proxmox_get_inside", vmids=[100]))
    found = answer.data["guests"][0]
    assert found["hostname"] == "web01" and found["filesystems"] and "os" not in found
    assert "Proxmox refused GET" in found["notes"][0] and "/ (ext4, /dev/sda1): " in answer.text


def test_one_bad_entry_spoils_no_list():
    bench = Bench()
    answering(bench, AGENT + "network-get-interfaces", {"result": [
        None, "x", {"name": "eth0", "ip-addresses": [None, {"ip-address": "10.0.0.9", "prefix": 24}, "y"]}, {}]})
    answering(bench, AGENT + "get-fsinfo", {"result": [{"error": "x"}, None, {
        "mountpoint": "/", "type": "ext4", "total-bytes": 100, "used-bytes": 90}]})
    found = ok(bench.run("proxmox_get_inside", vmids=[100])).data["guests"][0]
    assert found["addresses"] == ["10.0.0.9/24"]
    assert found["filesystems"][0] == {"mountpoint": "/", "type": "ext4", "total": 100, "used": 90}


def test_only_addresses_beyond_the_guest_are_told_and_file_systems_that_can_fill_up_the_fullest_first():
    bench = Bench()
    rows = [{"name": "veth%d" % n, "ip-addresses": [{"ip-address": "fe80::%x" % n, "prefix": 64}]} for n in range(300)]
    rows.append({"name": "eth0", "ip-addresses": [{"ip-address": "10.0.0.9", "prefix": 24}]})
    answering(bench, AGENT + "network-get-interfaces", {"result": rows})
    disk = {"type": "ext4", "total-bytes": 100}
    answering(bench, AGENT + "get-fsinfo", {"result": [
        {"mountpoint": "/snap/%d" % n, "type": "squashfs", "total-bytes": 5, "used-bytes": 5} for n in range(81)] + [
        dict(disk, mountpoint="/", **{"used-bytes": 40}), dict(disk, mountpoint="/var", **{"used-bytes": 97})]})
    found = ok(bench.run("proxmox_get_inside", vmids=[100])).data["guests"][0]
    assert found["addresses"] == ["10.0.0.9/24"]
    assert [row["mountpoint"] for row in found["filesystems"]] == ["/var", "/"]


# ------------------------------------------------------------------------------------------------------ names of things

BAD_NODE = (596, "tls_process_server_certificate: certificate verify failed")


@pytest.mark.parametrize("tool, arguments, verb, path, said", [
    ("proxmox_get_node_dns", {"node": "PVE1"}, "GET", "/nodes/PVE1/dns", BAD_NODE),
    ("proxmox_get_vm_status", {"node": "PVE1", "vmid": 100, "type": "qemu"}, "GET",
     "/nodes/PVE1/qemu/100/status/current", BAD_NODE),
    ("proxmox_api_call", {"verb": "GET", "path": "/nodes/PVE1/dns"}, "GET", "/nodes/PVE1/dns", BAD_NODE),
    ("proxmox_clone_vm", {"vmid": 106, "newid": 900, "target": "PVE1"}, "POST", "/nodes/pve2/qemu/106/clone",
     (500, "no such cluster node 'PVE1'"))])
def test_a_node_in_the_wrong_case_is_told_the_right_one(tool, arguments, verb, path, said):
    bench = Bench()
    answering(bench, path, said, verb)
    answer = bench.run(tool, **arguments)
    assert answer.failed and "There is no node PVE1 in this cluster. Did you mean pve1?" in answer.text, answer.text
    assert "updatecerts" not in answer.text and bench.sent()[-1] == "GET /nodes"


def test_a_node_that_does_exist_is_told_of_its_certificate():
    bench = Bench()
    answering(bench, "/nodes/pve2/dns", BAD_NODE)
    assert "updatecerts" in bench.run("proxmox_get_node_dns", node="pve2").text


@pytest.mark.parametrize("target, words", [("nix", "There is no node nix"), ("PVE3", "Did you mean pve3?"),
                                           ("pve3", "Node pve3 is offline")])
@pytest.mark.parametrize("tool, vmid", [("proxmox_migrate_vm", 100), ("proxmox_migrate_lxc", 200)])
def test_a_guest_that_is_to_move_to_no_node_is_told_so_first(tool, vmid, target, words):
    bench = Bench(offline=("pve3",))
    answer = bench.run(tool, vmid=vmid, target=target)
    assert answer.failed and words in answer.text and "local" not in answer.text, answer.text
    assert bench.sent() == [FIND, "GET /nodes"]


ISO = "local:iso/Windows Server 2022 (eval) #1.iso"
VERSION = "GET /nodes/pve1/version"


@pytest.mark.parametrize("options", [{}, {"allowed_guests": ("900", "100")}])
def test_a_file_with_blanks_in_its_name_is_a_volume_where_it_is_a_parameter(options):
    bench = Bench(**options)
    answering(bench, "/nodes/pve1/qemu", None, "POST")
    ok(bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="local-lvm", iso=ISO))
    assert "ide2=%s,media=cdrom" % ISO in bench.sent()[-1]
    answering(bench, V100 + "/config", None, "POST")
    ok(bench.run("proxmox_update_vm_config", vmid=100, options={"ide2": ISO + ",media=cdrom"}))
    assert [line for line in bench.sent() if line.startswith("POST ")][0].endswith("ide2=%s,media=cdrom" % ISO)
    bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="local-lvm", import_from="local:import/a b.qcow2")
    assert "import-from=local:import/a b.qcow2" in bench.sent()[-1]


@pytest.mark.parametrize("volume", ["local:iso/a,b.iso", "local:iso/a\nb.iso", "local:iso/a\\b", "local:iso/../x",
                                    "local:iso//x", "local:"])
def test_what_would_be_another_volume_is_refused(volume):
    bench = Bench()
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="local-lvm", iso=volume)
    assert answer.failed and bench.sent(reads=False) == []


def test_a_file_with_blanks_in_its_name_is_out_of_reach_where_it_is_in_a_path():
    bench = Bench()
    for tool, arguments in (("proxmox_update_backup", {"volume": "local:backup/my vzdump.vma", "protected": True}),
                            ("proxmox_api_call", {"verb": "DELETE", "path": "/nodes/pve1/storage/local/content/" + ISO[
                                :-7] + ".iso"})):
        answer = bench.run(tool, **dict({"node": "pve1"} if "update" in tool else {}, **arguments))
        assert answer.failed and "rename" in answer.text and "on its node" in answer.text, answer.text
        assert bench.sent(reads=False) == []


# ------------------------------------------------------------------------------------------ devices that bind to a node

@pytest.mark.parametrize("running, check, bound", [
    (False, {"local_resources": ["hostpci0"], "mapped-resources": ["hostpci0"]}, []),           # 8.0 to 8.3
    (True, {"local_resources": ["hostpci0"], "mapped-resources": ["hostpci0"]}, ["hostpci0"]),
    (False, {"local_resources": ["usb0", "hostpci0"], "mapped-resources": ["hostpci0"]}, ["usb0"]),
    (False, {"local_resources": [], "mapped-resource-info": {"hostpci0": {"name": "gpu"}}}, []),
    (True, {"local_resources": [], "mapped-resource-info": {"hostpci0": {"live-migration": 1}}}, []),
    (True, {"mapped-resource-info": {"hostpci0": {"live-migration": 0}}}, ["hostpci0"])])
def test_a_mapped_device_binds_a_vm_to_its_node_only_while_it_runs(running, check, bound):
    bench, vmid, node, target = Bench(), *((108, "pve1", "pve2") if running else (106, "pve2", "pve1"))
    path = "/nodes/%s/qemu/%d/migrate" % (node, vmid)
    answering(bench, path, dict(check, running=int(running), local_disks=[]))
    answering(bench, path, None, "POST")
    answer = bench.run("proxmox_migrate_vm", vmid=vmid, target=target)
    assert bench.sent() == [FIND, "GET /nodes", "GET %s target=%s" % (path, target)] + (
        [] if bound else ["POST %s %starget=%s" % (path, "online=1 " if running else "", target)] + [
            "GET /nodes/%s/qemu/%d/%s" % (target, vmid, end) for end in ("status/current", "pending")])
    assert answer.failed == bool(bound)
    if bound:
        assert "uses devices of its node (%s) and cannot be moved" % bound[0] in answer.text
        assert ("while it runs" in answer.text) == running


# ------------------------------------------------------------------------------------------------ what errors stand for

@pytest.mark.parametrize("said, words, never", [
    ("can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout",
     "Another operation holds storage local-lvm", "guest 100 "),
    ("can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", "guest 100 (for up to 30 s", "storage"),
    ("can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout", "holds guest 101", "storage"),
    ("can't acquire lock '/var/run/vzdump.lock' - got timeout", "holds what this needs too", "storage"),
    ("command 'ha-manager crm-command stop vm:100 0' failed: exit code 255", "Out of the state error", "lock"),
    ("unable to open file '/etc/pve/nodes/pve1/qemu-server/100.conf.tmp.7' - Permission denied", "its quorum", "ACL"),
    ("close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/200.conf' failed: File exists",
     "proxmox_get_next_vmid", "quorum"),
    ("only root can set 'args' config", "not even one of root@pam", "mapping"),
    ("only root can set 'usb0' config for real devices", "mapping=NAME", "lock"),
    ("only root can set 'hostpci0' config for non-mapped devices", "mapping=NAME", "lock")])
def test_the_end_of_a_task_is_told_with_what_it_means(said, words, never):
    bench = Bench()
    ending(bench, "POST", V100 + "/snapshot", said, ["TASK ERROR: " + said])
    answer = bench.run("proxmox_create_snapshot_vm", vmid=100, snapname="s1")
    assert answer.failed and said in answer.text and words in answer.text and never not in answer.text, answer.text
    assert "othing was" not in answer.text


def test_the_reason_of_a_failed_backup_stands_in_its_log_and_is_told_with_what_it_means():
    bench = Bench()
    ending(bench, "POST", "/nodes/pve1/vzdump", "job errors", [
        "INFO: starting", "ERROR: Backup of VM 100 failed - unable to open file '/etc/pve/nodes/pve1/qemu-server/"
        "100.conf.tmp.7' - Permission denied"])
    answer = bench.run("proxmox_create_backup_vm", vmid=100, storage="local")
    assert answer.failed and "lost its quorum" in answer.text


@pytest.mark.parametrize("tool, arguments, verb, path, said", [
    ("proxmox_update_lxc_config", {"vmid": 200, "options": {"features": "mount=nfs"}}, "PUT",
     "/nodes/pve1/lxc/200/config", "changing feature flags (except nesting) is only allowed for root@pam"),
    ("proxmox_update_lxc_config", {"vmid": 200, "options": {"mp5": "/srv,mp=/srv"}}, "PUT",
     "/nodes/pve1/lxc/200/config", "mount point type bind is only allowed for root@pam"),
    ("proxmox_create_lxc", {"node": "pve1", "vmid": 900, "ostemplate": "local:vztmpl/x.tar.zst", "storage": "local-lvm",
                            "features": "fuse=1"}, "POST", "/nodes/pve1/lxc",
     "changing feature flags for privileged container is only allowed for root@pam")])
def test_what_only_root_may_is_said_to_be_so(tool, arguments, verb, path, said):
    bench = Bench()
    answering(bench, path, (403, "Permission check failed (%s)" % said), verb)
    answer = bench.run(tool, **arguments)
    assert answer.failed and "no API token may do it" in answer.text and "pveum" not in answer.text, answer.text


def test_an_image_that_was_stored_as_an_iso_is_to_be_downloaded_as_import():
    bench = Bench()
    answering(bench, "/nodes/pve1/qemu", (400, "scsi0.import-from: 'local:iso/noble.img' has wrong type 'iso' - needs "
                                               "to be 'images' or 'import'"), "POST")
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="nas", import_from="local:iso/noble.img")
    assert answer.failed and "proxmox_download_url content=import and a filename that ends in .qcow2" in answer.text
    answer = ok(bench.run("proxmox_download_url", node="pve1", storage="local", url="https://x.org/noble-amd64.img"))
    assert "a disk image" in answer.text and "content=import" in answer.text
    assert "content=import" not in ok(bench.run("proxmox_download_url", node="pve1", storage="local",
                                                url="https://x.org/debian.iso")).text


@pytest.mark.parametrize("token, users", [("audit@pve!ro", True), ("root@pam!demo", False)])
def test_a_token_without_privilege_separation_has_what_its_user_has(token, users):
    user, _, name = token.partition("!")
    bench = Bench(tokens={token: {"value": None, "acl": {"/": ["VM.Audit"]}}}, user=user, token_name=name)
    answer = bench.run("proxmox_start_vm", vmid=106, node="pve2")
    assert "pveum acl modify /vms/106 --tokens '%s' --roles PVEVMUser" % token in answer.text
    assert ("pveum acl modify /vms/106 --users '%s' --roles PVEVMUser" % user in answer.text) == users, answer.text


def test_a_change_that_cannot_be_plugged_in_is_in_the_configuration_all_the_same():
    bench = Bench()
    answering(bench, V100 + "/config", (400, "Parameter verification failed. net0: hotplug problem - bridge 'nix9' "
                                             "does not exist"), "PUT")
    answer = bench.run("proxmox_api_call", verb="PUT", path=V100 + "/config", parameters={
        "net0": "virtio=BC:24:11:00:00:01,bridge=nix9"})
    assert answer.failed and "it is in the configuration all the same" in answer.text and "may be gone" in answer.text
    assert "othing was" not in answer.text and "config shows what waits" in answer.text


def test_what_cannot_be_plugged_in_waits_whichever_way_it_was_sent():
    bench = Bench()
    said = "hotplug problem - can't change memory online"
    answering(bench, V100 + "/config", (400, "Parameter verification failed. memory: " + said), "PUT")
    answering(bench, V100 + "/pending", [{"key": "memory", "value": "4096", "pending": "2048"}])
    answer = bench.run("proxmox_resize_vm", vmid=100, node="pve1", memory=2048)
    assert answer.failed and answer.text.count("could not take it") == 1 and "It waits there: memory." in answer.text
    assert "is not known" not in answer.text and "othing was" not in answer.text


def test_a_failed_task_without_a_status_is_told_as_unknown():
    bench = Bench()
    now = int(time.time())
    answering(bench, "/cluster/tasks", [{"upid": "UPID:pve1:00000001:00000001:00000001:vzdump:100:root@pam:",
                                         "node": "pve1", "type": "vzdump", "id": "100", "starttime": now - 60,
                                         "endtime": now - 50, "status": ""}])
    assert "failed: unknown" in ok(bench.run("proxmox_get_overview", area="backups")).text


# --------------------------------------------------------------------------------------------------------------- states

def _guests(*rows):
    return [dict({"id": "qemu/%d" % row["vmid"], "type": "qemu", "node": "pve1", "status": "running", "maxmem": 1,
                  "name": "g%d" % row["vmid"]}, **row) for row in rows]


ROWS = _guests({"vmid": 100}, {"vmid": 101}, {"vmid": 102}, {"vmid": 103, "lock": "migrate"},
               {"vmid": 104, "status": "stopped", "lock": "suspended"}, {"vmid": 105, "node": "pve2"},
               {"vmid": 200, "type": "lxc", "node": "pve3"})
STATES = {100: "paused", 101: "io-error", 102: "guest-panicked", 103: "running"}


def _states(bench):
    answering(bench, "/cluster/resources", ROWS)
    answering(bench, "/nodes/pve1/qemu", [{"vmid": vmid, "status": "running", "qmpstatus": state}
                                          for vmid, state in STATES.items()])
    answering(bench, "/nodes/pve2/qemu", (595, "Connection refused"))


def test_a_guest_that_stands_still_is_never_just_running_in_a_list():
    bench = Bench()
    _states(bench)
    answer = ok(bench.run("proxmox_get_vms"))
    assert sorted(bench.sent()) == [FIND, "GET /nodes/pve1/qemu full=1", "GET /nodes/pve2/qemu full=1",
                                    "GET /nodes/pve2/qemu full=1"]          # a read that a node did not answer: twice
    assert answer.data["by_status"] == {"running": 3, "guest-panicked": 1, "hibernated": 1, "io-error": 1, "paused": 1}
    for words in ("running (paused)", "running (io-error)", "running (guest-panicked)", "stopped (hibernated)",
                  "locked: 103 (migrate)", "Not read of pve2: which of its VMs are paused"):
        assert words in answer.text, answer.text
    assert [row.get("qmpstatus") for row in answer.data["items"][:4]] == ["paused", "io-error", "guest-panicked", None]


def test_a_guest_that_stands_still_is_never_just_running_in_the_state_of_the_cluster():
    bench = Bench()
    _states(bench)
    answer = ok(bench.run("proxmox_get_cluster_status"))
    assert sorted(bench.sent())[:3] == ["GET /cluster/resources", "GET /cluster/status", "GET /nodes/pve1/qemu full=1"]
    assert ("7 guests (6 VMs, 1 container): 3 running, 1 guest-panicked, 1 hibernated, 1 io-error, 1 paused\n"
            "Locked: 103 (migrate), 104 (suspended)" in answer.text)


def test_the_states_of_very_many_vms_are_not_asked_for_and_that_is_said():
    bench = Bench()
    answering(bench, "/cluster/resources", _guests(*({"vmid": 1000 + n} for n in range(1001))))
    assert "1,001 VMs are on; which of them are paused" in ok(bench.run("proxmox_get_vms")).text
    assert bench.sent() == [FIND]


NOW = V100 + "/status/current"
BACKUP = {"status": "running", "qmpstatus": "prelaunch", "lock": "backup", "name": "web01"}


def test_a_stopped_vm_whose_backup_runs_is_started_when_it_is_asked_for():
    bench = Bench()
    answering(bench, NOW, BACKUP)
    ending(bench, "POST", V100 + "/status/start", "OK", type="qmstart", id="100")
    bench.run("proxmox_start_vm", vmid=100, node="pve1")
    assert bench.sent(reads=False) == ["POST %s/status/start" % V100]


def test_a_stopped_vm_whose_backup_runs_is_said_to_be_in_its_backup():
    bench = Bench()
    answering(bench, NOW, BACKUP)
    answer = bench.run("proxmox_delete_vm", vmid=100, node="pve1")
    assert answer.failed and "is being backed up" in answer.text and bench.sent(reads=False) == [], answer.text


@pytest.mark.parametrize("state, tool, words", [
    ("guest-panicked", "start", "its operating system crashed; only a reset or a stop helps"),
    ("guest-panicked", "resume", "cannot be resumed: its operating system crashed"),
    ("internal-error", "resume", "only a stop and a start help"), ("internal-error", "shutdown", "cannot react"),
    ("io-error", "start", "look at its storage, then proxmox_resume_vm")])
def test_a_vm_that_stands_still_is_told_what_helps(state, tool, words):
    bench = Bench()
    answering(bench, NOW, {"status": "running", "qmpstatus": state, "name": "web01"})
    answer = bench.run("proxmox_%s_vm" % tool, vmid=100, node="pve1")
    assert answer.failed and words in answer.text and bench.sent() == ["GET " + NOW], answer.text
    assert ("proxmox_resume_vm" in answer.text) == (state == "io-error")


# ------------------------------------------------------------------------------------------------- storages and bridges

@pytest.mark.parametrize("kind, given, sent", [
    ("dir", None, ",format=qcow2"), ("nfs", None, ",format=qcow2"), ("dir", "raw", ",format=raw"),
    ("lvmthin", None, ""),
    ("zfspool", None, ""), ("btrfs", None, "")])
def test_a_disk_on_a_storage_of_files_is_qcow2_which_snapshots_need(kind, given, sent):
    bench, chosen = Bench(), {"format": given} if given else {}
    answering(bench, "/nodes/pve1/storage/files/status", {"type": kind, "active": 1})
    answering(bench, "/nodes/pve1/qemu", None, "POST")
    looked = ["GET /nodes/pve1/storage/files/status"]
    answer = ok(bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="files", cpu="host", bios="ovmf",
                          **chosen))
    assert bench.sent()[:-1] == looked + ["GET /nodes/pve1/network type=any_bridge"]
    assert " scsi0=files:8%s,iothread=1,discard=on " % sent in bench.sent()[-1]
    assert " efidisk0=files:1,efitype=4m,pre-enrolled-keys=1%s " % sent in bench.sent()[-1]
    assert ("which snapshots on files need; format=raw" in answer.text) == (sent == ",format=qcow2")
    answering(bench, V100 + "/config", None, "POST")
    answer = bench.run("proxmox_add_disk_vm", node="pve1", vmid=100, disk="scsi7", storage="files", size="5", **chosen)
    assert bench.sent()[:-2] == looked + ["GET %s/config" % V100]
    assert bench.sent()[-2].endswith(" scsi7=files:5" + sent)
    assert ("which snapshots on files need; format=raw" in answer.text) == (sent == ",format=qcow2")
    if not given:
        answering(bench, V100 + "/move_disk", None, "POST")
        bench.run("proxmox_move_disk_vm", node="pve1", vmid=100, disk="scsi0", storage="files")
        assert sent[1:] in bench.sent(reads=False)[0] and ("format=" in bench.sent(reads=False)[0]) == bool(sent)


def test_a_storage_whose_type_cannot_be_read_gets_its_own_default():
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/files/status", (403, "Permission check failed (/storage/files, x)"))
    answering(bench, "/nodes/pve1/qemu", None, "POST")
    ok(bench.run("proxmox_create_vm", node="pve1", vmid=900, storage="files", cpu="host"))
    assert " scsi0=files:8,iothread=1,discard=on " in bench.sent()[-1]


def test_what_is_free_on_a_storage_is_told_by_its_node_alone():
    bench = Bench()
    row = {"storage": "local", "node": "pve1", "plugintype": "dir", "status": "available", "maxdisk": 300 << 30,
           "disk": 80 << 30, "content": "iso"}
    answering(bench, "/cluster/resources", [row])
    answer = ok(bench.run("proxmox_get_storage"))
    assert "avail" not in answer.data["items"][0] and "FREE" not in answer.text and "80 GiB of 300 GiB" in answer.text
    assert "How much is free is shown for one node only (node=NODE)" in answer.text
    answering(bench, "/nodes/pve1/storage", [{"storage": "local", "type": "dir", "enabled": 1, "active": 1,
                                              "total": 300 << 30, "used": 80 << 30, "avail": 69 << 30}])
    assert ok(bench.run("proxmox_get_storage", node="pve1")).data["items"][0]["avail"] == 69 << 30


@pytest.mark.parametrize("tool, arguments", [
    ("proxmox_add_network_vm", {"vmid": 100, "net": "net5", "bridge": "nix9"}),
    ("proxmox_update_network_vm", {"vmid": 100, "net": "net1", "bridge": "nix9"}),
    ("proxmox_update_vm_config", {"vmid": 100, "options": {"net5": "virtio,bridge=nix9"}}),
    ("proxmox_create_vm", {"vmid": 900, "storage": "local-lvm", "bridge": "nix9"}),
    ("proxmox_create_lxc", {"vmid": 900, "storage": "local-lvm", "ostemplate": "local:vztmpl/x.tar.zst",
                            "bridge": "nix9"})])
def test_a_bridge_that_is_not_there_is_refused_before_a_guest_gets_it(tool, arguments):
    bench = Bench()
    answer = bench.run(tool, node="pve1", **arguments)
    assert answer.failed and "There is no bridge nix9 on node pve1" in answer.text and "vmbr0, vmbr1" in answer.text
    assert bench.sent()[-1] == "GET /nodes/pve1/network type=any_bridge" and bench.sent(reads=False) == []


# ---------------------------------------------------------------------------------------------------------------- nodes

def test_a_node_that_has_not_reported_is_unknown_and_not_offline():
    bench = Bench()
    nodes = [{"node": "pve1", "status": "online"}, {"node": "pve2", "status": "unknown"}, {"node": "pve3",
                                                                                           "status": "offline"}]
    answering(bench, "/nodes", nodes)
    assert "\u2705 3 nodes, 1 online (offline: pve3; unknown: pve2)\n" in ok(bench.run("proxmox_get_nodes")).text
    answering(bench, "/cluster/status", (403, "Permission check failed (/, Sys.Audit)"))
    answer = ok(bench.run("proxmox_get_cluster_status"))
    assert answer.text.startswith("\u2705 3 nodes, 1 online (offline: pve3; unknown: pve2)\n")
    assert [row["status"] for row in answer.data["nodes"]] == ["online", "unknown", "offline"]


def test_without_quorum_it_is_said_what_works_and_what_does_not():
    answer = ok(Bench(offline=("pve2", "pve3")).run("proxmox_get_cluster_status"))
    assert "NO QUORUM: no configuration can be changed and no guest started until" in answer.text
    assert "Stopping works, but what is stopped cannot be started again" in answer.text


# -------------------------------------------------------------------------------------------------------------- backups

def test_the_health_report_and_the_list_agree_about_a_job_that_is_switched_off():
    bench = Bench()
    answering(bench, "/cluster/backup", [{"id": "j", "all": 1, "enabled": 0, "schedule": "21:00", "storage": "nas"}])
    states = ok(bench.run("proxmox_list_backup_state")).data["items"]
    assert len(states) == 15 and not any(row.get("jobs") for row in states)
    assert "no enabled backup job takes these 15" in ok(bench.run("proxmox_get_overview", area="backups")).text


# ---------------------------------------------------------------------------------------------------- what is in effect

def test_values_in_effect_lead_and_what_a_restart_takes_away_is_a_warning():
    bench = Bench()
    answering(bench, V100 + "/config", {"name": "web01", "memory": "2048", "net0": "virtio=BC:24:11:00:00:01,bridge=a",
                                        "scsi0": "local-lvm:vm-100-disk-0,size=8G", "scsi1": "x:vm-100-disk-1,size=1G"})
    answering(bench, V100 + "/pending", [
        {"key": "memory", "value": "2048", "pending": "4096"}, {"key": "onboot", "value": 1, "delete": 1},
        {"key": "net0", "value": "virtio=BC:24:11:00:00:01,bridge=a", "delete": 1},
        {"key": "scsi1", "value": "x:vm-100-disk-1,size=1G", "delete": 1}])
    answer = ok(bench.run("proxmox_get_vm_config", vmid=100, node="pve1"))
    assert bench.sent() == ["GET %s/config current=1" % V100, "GET %s/pending" % V100]
    assert answer.text.startswith("\u26a0 VM 100 web01 on pve1\nWARNING: its next restart takes away net0, scsi1 (")
    assert "memory: 2 GiB" in answer.text and "  memory: 2048 -> 4096" in answer.text
    assert answer.data["memory"] == 2048 and len(answer.data["networks"]) == 1 and len(answer.data["disks"]) == 2


# ------------------------------------------------------------------------------------------- what the API cannot do

@pytest.mark.parametrize("words, instead", [
    ("put a node into maintenance mode", "ha-manager crm-command node-maintenance enable NODE"),
    ("Maintenance Mode", "ha-manager crm-command node-maintenance"),
    ("upgrade the packages of a node", "apt full-upgrade"), ("apply updates", "apt full-upgrade"),
    ("dist-upgrade", "apt full-upgrade"), ("install security patches", "apt full-upgrade"),
    ("edit a cloud-init snippet", "directory snippets"), ("upload snippets", "directory snippets"),
    ("open a console of a VM", "qm terminal VMID"), ("shell on the node", "websocket"),
    ("run a command in a container", "proxmox_execute_lxc_command"), ("unlock a VM", "qm unlock VMID"),
    ("shrink a disk", "disks only grow"), ("rename a node", "keep their names")])
def test_a_search_says_what_the_api_cannot_do_and_what_does_it_instead(words, instead):
    answer = ok(Bench().run("proxmox_api_search", words=words))
    assert answer.text.startswith("\u2705 Proxmox's API has no endpoint for this: ") and instead in answer.text
    assert "What comes near: " in answer.text


@pytest.mark.parametrize("words", [
    "list pending updates", "refresh the package lists", "which packages are available", "show snippets", "update a VM",
    "install a certificate", "rename a VM", "lock a user", "ceph maintenance flags", "apply the network configuration",
    "run a command in a VM", "grow a disk", "download a container template", "start a container"])
def test_a_search_for_what_there_is_says_nothing_of_the_kind(words):
    assert "has no endpoint" not in ok(Bench().run("proxmox_api_search", words=words)).text


def test_a_backup_that_is_not_there_is_not_said_to_be_protected():
    """Proxmox answers 200 to that, and leaves a stray file."""
    bench = Bench()
    volume = "nas:backup/vzdump-qemu-100-2020_01_01-00_00_00.vma.zst"
    answer = bench.run("proxmox_update_backup", node="pve1", volume=volume, protected=True)
    assert answer.failed and "There is no backup %s on node pve1" % volume in answer.text
    assert bench.sent() == ["GET /nodes/pve1/storage/nas/content content=backup vmid=100"]


# ------------------------------------------------------------------------------------------------------------ surprises

@pytest.mark.parametrize("tool", ["proxmox_get_vm_config", "proxmox_start_vm", "proxmox_get_history",
                                  "proxmox_get_vm_status", "proxmox_create_snapshot_vm"])
def test_a_guest_out_of_bounds_is_not_said_to_be_in_no_cluster(tool):
    more = {"snapname": "s1"} if "snapshot" in tool else {}
    answer = Bench(allowed_nodes=("pve1",)).run(tool, vmid=101, **more)
    assert answer.failed and "Guest 101 (on node pve2) is out of bounds" in answer.text, answer.text


@pytest.mark.parametrize("tool, arguments, verb, path, needed, pool", [
    ("proxmox_create_vm", {"node": "pve1", "vmid": 900, "storage": "local-lvm"}, "POST", "/nodes/pve1/qemu",
     "VM.Allocate on /vms", True),
    ("proxmox_clone_vm", {"node": "pve1", "vmid": 9000, "newid": 900}, "POST", "/nodes/pve1/qemu/9000/clone",
     "VM.Clone on /vms", True),
    ("proxmox_api_call", {"verb": "GET", "path": "/nodes/pve1/dns"}, "GET", "/nodes/pve1/dns", "Sys.Audit on /nodes",
     False)])
def test_a_refusal_without_a_path_is_told_with_the_privileges_that_it_needs(tool, arguments, verb, path, needed, pool):
    bench = Bench()
    answering(bench, path, (403, "Permission check failed"), verb)
    answer = bench.run(tool, **arguments)
    assert answer.failed and "It needs: " in answer.text and needed in answer.text, answer.text
    assert ("with pool=NAME" in answer.text) == pool


@pytest.mark.parametrize("verb, path, words", [
    ("DELETE", "/access/users/root@pam", "This server uses the token root@pam!demo, and may be locked out at once"),
    ("DELETE", "/access/users/root@pam/token/demo", "may be locked out at once"),
    ("DELETE", "/access/users/x@pve", "The secrets of its tokens stay in /etc/pve/priv/token.cfg"),
    ("POST", "/nodes/pve1/status", "It is the node that this server talks to")])
def test_what_else_comes_of_a_request_is_in_the_question(verb, path, words):
    from support import Asked
    consent = Asked(False)
    bench = Bench(consent=consent, confirm="always")

    def unread(cancelled=None):
        raise ValueError("no schema")
    bench.host.apidoc = unread                          # a host's own, which knows all of these endpoints
    bench.run("proxmox_api_call", verb=verb, path=path, parameters={"command": "reboot"} if verb == "POST" else {})
    assert len(consent.questions) == 1 and words in consent.questions[0], consent.questions
    assert bench.sent(reads=False) == []


def test_other_nodes_and_users_are_no_surprise():
    from support import Asked
    consent = Asked(False)
    bench = Bench(consent=consent, confirm="always")
    bench.run("proxmox_api_call", verb="POST", path="/nodes/pve2/status", parameters={"command": "reboot"})
    assert "talks to" not in consent.questions[0]


def test_the_permissions_of_a_guest_go_when_it_is_deleted_and_notes_in_lists_are_their_first_line():
    assert "and the permissions that were granted on it" in ok(Bench().run("proxmox_delete_vm", vmid=107)).text
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/nas/content", [{
        "volid": "nas:backup/vzdump-qemu-100-2020_01_01-00_00_00.vma.zst", "content": "backup", "notes": "x"}])
    assert "FIRST LINE OF ITS NOTES" in ok(bench.run("proxmox_list_storage_content", node="pve1", storage="nas")).text


def test_a_long_chain_of_snapshots_shows_every_name():
    bench = Bench()
    answering(bench, V100 + "/snapshot", [dict({"name": "s%d" % n, "snaptime": n + 1}, **(
        {"parent": "s%d" % (n - 1)} if n else {})) for n in range(200)])
    answer = ok(bench.run("proxmox_list_snapshots_vm", vmid=100, node="pve1", limit=200))
    shown = [line for line in answer.text.split("\n") if "s%d" % (len(answer.data["items"]) - 1) in line]
    assert shown and all(len(line) < 200 for line in answer.text.split("\n"))
