"""Clusters as they are: what real hosts and public reports about tools for Proxmox show, served as canned answers."""
import pytest

from support import Bench, answering, ok

V100 = "/nodes/pve1/qemu/100"
AGENT = V100 + "/agent/"
FIND = "GET /cluster/resources type=vm"


# ------------------------------------------------------------------------------------------------------ the guest agent

DISABLED = {"result": {"error": {"class": "CommandDisabled", "desc":
            "The command guest-network-get-interfaces has been disabled for this instance"}}}


def test_an_error_that_the_agent_sends_with_status_200_is_a_failure_in_its_own_words():
    bench = Bench()
    answering(bench, AGENT + "network-get-interfaces", DISABLED)
    answer = bench.run("proxmox_get_guest_ips", vmid=100)
    assert answer.failed and "Agent error: %s (HTTP 200)" % DISABLED["result"]["error"]["desc"] in answer.text
    assert "/etc/sysconfig/qemu-ga" in answer.text and "bug" not in answer.text
    assert bench.sent() == [FIND, "GET %snetwork-get-interfaces" % AGENT]


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
    for command in ("get-osinfo", "get-timezone"):
        answering(bench, AGENT + command, DISABLED)
    answer = ok(bench.run("proxmox_get_vm_guest_info", vmid=100, node="pve1"))
    assert answer.data["hostname"] == "web01" and answer.data["total"] > 0 and "os" not in answer.data
    assert "OS: Proxmox refused GET" in answer.text and "/ (ext4): " in answer.text
    assert bench.sent() == ["GET " + AGENT + command for command in (
        "get-osinfo", "get-host-name", "get-timezone", "get-fsinfo")]
    for command in ("get-host-name", "get-fsinfo"):
        answering(bench, AGENT + command, DISABLED)
    assert bench.run("proxmox_get_vm_guest_info", vmid=100, node="pve1").failed


def test_one_bad_entry_spoils_no_list():
    bench = Bench()
    answering(bench, AGENT + "network-get-interfaces", {"result": [
        None, "x", {"name": "eth0", "ip-addresses": [None, {"ip-address": "10.0.0.9", "prefix": 24}, "y"]}, {}]})
    assert ok(bench.run("proxmox_get_guest_ips", vmid=100)).data["items"][0]["addresses"] == ["10.0.0.9/24"]
    answering(bench, AGENT + "get-fsinfo", {"result": [{"error": "x"}, None, {
        "mountpoint": "/", "type": "ext4", "total-bytes": 100, "used-bytes": 90}]})
    answer = ok(bench.run("proxmox_get_vm_guest_info", vmid=100, node="pve1"))
    assert answer.data["filesystems"][0] == {"mountpoint": "/", "type": "ext4", "total": 100, "used": 90}


def test_addresses_beyond_the_guest_come_first_and_the_rest_is_in_pages():
    bench = Bench()
    rows = [{"name": "veth%d" % n, "ip-addresses": [{"ip-address": "fe80::%x" % n, "prefix": 64}]} for n in range(300)]
    rows.append({"name": "eth0", "ip-addresses": [{"ip-address": "10.0.0.9", "prefix": 24}]})
    answering(bench, AGENT + "network-get-interfaces", {"result": rows})
    answer = ok(bench.run("proxmox_get_guest_ips", vmid=100))
    assert answer.data["items"][0]["name"] == "eth0" and "10.0.0.9" in answer.text and "offset=50" in answer.text
    answer = ok(bench.run("proxmox_get_guest_ips", vmid=100, offset=300))
    assert [row["name"] for row in answer.data["items"]] == ["veth299"]


def test_the_fullest_file_systems_come_first_and_images_last():
    bench = Bench()
    disk = {"type": "ext4", "total-bytes": 100}
    answering(bench, AGENT + "get-fsinfo", {"result": [
        {"mountpoint": "/snap/%d" % n, "type": "squashfs", "total-bytes": 5, "used-bytes": 5} for n in range(81)] + [
        dict(disk, mountpoint="/", **{"used-bytes": 40}), dict(disk, mountpoint="/var", **{"used-bytes": 97})]})
    answer = ok(bench.run("proxmox_get_vm_guest_info", vmid=100))
    assert [row["mountpoint"] for row in answer.data["filesystems"][:3]] == ["/var", "/", "/snap/0"]
    assert "... and 33 more: offset=50" in answer.text and answer.data["total"] == 83
    answer = ok(bench.run("proxmox_get_vm_guest_info", vmid=100, offset=80, limit=2))
    assert [row["mountpoint"] for row in answer.data["filesystems"]] == ["/snap/8", "/snap/80"]


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
        [] if bound else ["POST %s %starget=%s" % (path, "online=1 " if running else "", target)])
    assert answer.failed == bool(bound)
    if bound:
        assert "uses devices of its node (%s) and cannot be moved" % bound[0] in answer.text
        assert ("while it runs" in answer.text) == running
