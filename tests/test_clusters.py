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
    assert answer.failed and "guest-network-get-interfaces has been disabled for this instance (HTTP 200)" in answer.text
    assert "/etc/sysconfig/qemu-ga" in answer.text and "bug" not in answer.text
    assert bench.sent() == [FIND, "GET %snetwork-get-interfaces" % AGENT]


@pytest.mark.parametrize("verb, command, said, words", [
    ("GET", "get-host-name", {"result": {"error": {"class": "CommandNotFound", "desc": "The command guest-get-host-name has not "
                                                                                   "been found"}}}, "too old"),
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
