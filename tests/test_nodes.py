"""Disks and network of a node."""
import pytest
from test_cluster import AUDITOR, canned

import support
from tools.pve.client import PveError, Reply

CASES = [
    ("proxmox_get_node_disks", {"node": "pve1"}, ["GET /nodes/pve1/disks/list"]),
    ("proxmox_get_node_disks", {"node": "pve2", "type": "unused"},
     ["GET /nodes/pve2/disks/list type=unused"]),
    ("proxmox_get_node_disks", {"node": "pve2", "type": "journal_disks"},
     ["GET /nodes/pve2/disks/list type=journal_disks"]),
    ("proxmox_get_node_disk_smart", {"node": "pve2", "disk": "/dev/sda"},
     ["GET /nodes/pve2/disks/smart disk=/dev/sda"]),
    ("proxmox_get_node_lvm", {"node": "pve1"}, ["GET /nodes/pve1/disks/lvm", "GET /nodes/pve1/disks/lvmthin"]),
    ("proxmox_get_node_zfs", {"node": "pve1"}, ["GET /nodes/pve1/disks/zfs"]),
    ("proxmox_get_node_zfs", {"node": "pve2"}, ["GET /nodes/pve2/disks/zfs", "GET /nodes/pve2/disks/zfs/tank"]),
    ("proxmox_get_node_network", {"node": "pve1"}, ["GET /nodes/pve1/network"]),
    ("proxmox_get_node_network", {"node": "pve1", "type": "any_bridge"}, ["GET /nodes/pve1/network type=any_bridge"]),
    ("proxmox_get_node_dns", {"node": "pve1"}, ["GET /nodes/pve1/dns"]),
    ("proxmox_get_network_iface", {"node": "pve1", "iface": "vmbr0"}, ["GET /nodes/pve1/network/vmbr0"]),
]


def run(tool, **arguments):
    return support.Bench().run(tool, **arguments)


def with_answers(tool, answers, **arguments):
    """The Answer of a tool when Proxmox says what `answers` (last part of a path -> data) say."""
    return canned(support.Bench(), **answers).run(tool, node="pve1", **arguments)


# ---------------------------------------------------------------------------------------------------------------- disks

def test_disks():
    answer = run("proxmox_get_node_disks", node="pve2")
    assert answer.text.startswith("\u2705 5 disks on node pve2\nDISK ")
    assert "/dev/sdd is failing, says SMART (FAILED!): back up" in answer.text
    free = [row["devpath"] for row in answer.data["items"] if "used" not in row]
    assert free == ["/dev/sde"] and "free" in answer.text
    answer = run("proxmox_get_node_disks", node="pve3")
    assert "/dev/sda is worn: 6 % of its life is left." in answer.text
    assert "UNKNOWN (1 disk): SMART could not be read" in answer.text


def test_what_is_not_known_is_left_out():
    answer = with_answers("proxmox_get_node_disks", {"list": [
        {"devpath": "/dev/sdb", "type": "unknown", "size": "1024", "wearout": "N/A", "rpm": -1, "osdid": -1,
         "vendor": "ATA   ", "health": "UNKNOWN", "gpt": 1, "model": "unknown"},
        {"devpath": "/dev/sda", "type": "ssd", "wearout": "98", "health": "OK", "osdid": "3", "rpm": 0,
         "mounted": "1"}]})
    assert answer.data["items"] == [
        {"devpath": "/dev/sda", "type": "ssd", "health": "OK", "wearout": 98, "osdid": 3, "rpm": 0, "mounted": True},
        {"devpath": "/dev/sdb", "type": "unknown", "size": 1024, "health": "UNKNOWN", "vendor": "ATA", "gpt": True}]


def test_smart_of_ata():
    answer = run("proxmox_get_node_disk_smart", node="pve2", disk="/dev/sda")
    assert answer.data["health"] == "PASSED" and answer.data["wearout"] == 91
    assert "Reallocated_Sector_Ct" in answer.text and "THRESHOLD" in answer.text


def test_smart_of_ata_in_the_words_of_smartctl():
    answer = with_answers("proxmox_get_node_disk_smart", {"smart": {
        "health": "FAILED!", "type": "ata", "wearout": "N/A", "attributes": [
            {"id": "  5", "name": "Reallocated_Sector_Ct", "value": 1, "normalized": "98", "worst": 98,
             "threshold": 10, "fail": "-", "raw": "12"},
            {"id": "  9", "name": "Power_On_Hours", "value": "71", "fail": "NOW", "raw": "21344h+12m"}]}},
        disk="/dev/sda")
    assert answer.data["attributes"] == [
        {"id": 5, "name": "Reallocated_Sector_Ct", "value": 98, "worst": 98, "threshold": 10, "raw": "12"},
        {"id": 9, "name": "Power_On_Hours", "value": 71, "fail": "NOW", "raw": "21344h+12m"}]
    assert "The disk says that it is failing" in answer.text
    assert "Worth watching: 12 reallocated sectors." in answer.text
    assert "Power_On_Hours failing: NOW." in answer.text and "wearout" not in answer.data


def test_smart_of_nvme_is_the_text_of_it():
    answer = run("proxmox_get_node_disk_smart", node="pve1", disk="/dev/nvme0n1")
    assert "\n| Critical Warning: " in answer.text and "Percentage Used" in answer.data["text"]


@pytest.mark.parametrize("reply", [{"health": "UNKNOWN"}, {}, None])
def test_smart_that_cannot_be_read_is_not_health(reply):
    answer = with_answers("proxmox_get_node_disk_smart", {"smart": reply or {"text": None}}, disk="/dev/sda")
    assert answer.data["health"] == "UNKNOWN" and "It does not mean healthy." in answer.text


def test_a_disk_by_its_id_is_refused_before_anything_is_sent():
    bench = support.Bench()
    answer = bench.run("proxmox_get_node_disk_smart", node="pve1", disk="/dev/disk/by-id/ata-x_y")
    assert answer.failed and "is not a device path" in answer.text
    assert bench.sent() == []


# ------------------------------------------------------------------------------------------------------------- LVM, ZFS

def test_lvm():
    answer = run("proxmox_get_node_lvm", node="pve1")
    assert [row["name"] for row in answer.data["items"]] == ["pve", "sanvg"]
    assert answer.data["thinpools"][0]["lv"] == "data" and "/dev/nvme0n1p3 (" in answer.text


def test_lvm_without_size_or_rights_to_thin_pools():
    answer = with_answers("proxmox_get_node_lvm", {
        "lvm": {"leaf": 0, "children": [{"name": "gone", "size": "0", "free": 0, "lvcount": 1, "children": []},
                                        {"name": "ok", "size": "1000", "free": "250"}]},
        "lvmthin": PveError("no", status=403)})
    assert not answer.failed and answer.data["items"] == [
        {"name": "gone", "size": 0, "free": 0, "lvcount": 1, "pvs": []},
        {"name": "ok", "size": 1000, "free": 250, "used_fraction": 0.75, "pvs": []}]
    assert "Volume group gone has no size" in answer.text and "Thin pools could not be read: no" in answer.text


def test_lvm_thin_pools_that_are_full_or_empty():
    groups = {"children": [{"name": "a", "size": 1}]}
    pools = [{"lv": "x", "vg": "a", "lv_size": 100, "used": 10, "metadata_size": 10, "metadata_used": 9},
             {"lv": "y", "vg": "a", "lv_size": 0, "used": 0, "metadata_size": 0, "metadata_used": 0}]
    answer = with_answers("proxmox_get_node_lvm", {"lvm": groups, "lvmthin": pools})
    assert "Thin pool x is nearly full" in answer.text and "pool y is" not in answer.text
    assert "No thin pools." in with_answers("proxmox_get_node_lvm", {"lvm": groups, "lvmthin": []}).text
    assert "no volume group" in with_answers("proxmox_get_node_lvm", {"lvm": {"leaf": 0}}).text


def test_zfs():
    answer = run("proxmox_get_node_zfs", node="pve1")
    assert answer.data["items"][0]["health"] == "ONLINE" and "details" not in answer.data["items"][0]


def test_zfs_that_is_not_well():
    answer = run("proxmox_get_node_zfs", node="pve2")
    assert answer.text.startswith("\u2705 1 ZFS pool on node pve2, 1 not ONLINE\n")
    assert "FAULTED, 18 read errors, 244 write errors, 31 cksum errors (too many errors)" in answer.text
    assert "\n  action: " in answer.text and answer.data["items"][0]["details"]["state"] == "DEGRADED"


def test_zfs_details_that_cannot_be_read_do_not_fail_it():
    answer = with_answers("proxmox_get_node_zfs", {
        "zfs": [{"name": "a", "health": "FAULTED", "size": 0, "frag": "5", "dedup": "1.00"},
                {"name": "b c", "health": "SUSPENDED", "size": 100, "alloc": 95}], "a": PveError("no", status=500)})
    assert not answer.failed and "Details of pool a could not be read: no" in answer.text
    assert "Details of pool b c could not be read" in answer.text and "Pool b c is nearly full" in answer.text
    assert answer.data["items"][0] == {"name": "a", "health": "FAULTED", "size": 0, "frag": 5, "dedup": 1}


def test_no_zfs_is_no_failure():
    answer = run("proxmox_get_node_zfs", node="pve3")
    assert not answer.failed and support.found(answer) == {"items": [], "total": 0}
    assert "There is no ZFS pool on this node.\nzfsutils-linux is not installed." in answer.text
    assert "no ZFS pool" in with_answers("proxmox_get_node_zfs", {"zfs": []}).text
    answer = support.Bench(tokens=AUDITOR).run("proxmox_get_node_zfs", node="pve1")
    assert answer.failed and "Permission check failed (/, Sys.Audit" in answer.text


# -------------------------------------------------------------------------------------------------------------- network

def test_network():
    answer = run("proxmox_get_node_network", node="pve1")
    rows = {row["iface"]: row for row in answer.data["items"]}
    assert rows["vmbr0"]["bridge_ports"] == ["bond0"] and rows["vmbr0"]["bridge_vlan_aware"] is True
    assert rows["eno1"]["autostart"] is False and rows["bond0"]["comments"] == "uplink to sw1/sw2"
    assert "VLAN 40 on bond0" in answer.text and "eno1, eno2 (802.3ad)" in answer.text and "changes" not in answer.data


def test_changes_that_are_not_applied_are_said():
    answer = run("proxmox_get_node_network", node="pve2")
    assert "NOT YET APPLIED" in answer.text and "\n| +iface vmbr2 inet manual" in answer.text
    assert answer.data["changes"].startswith("--- /etc/network/interfaces")


def test_network_values_as_text():
    answer = with_answers("proxmox_get_node_network", {"network": Reply([
        {"iface": "b", "type": "vlan", "vlan-id": "7", "mtu": "9000", "active": "0", "method": "dhcp",
         "netmask": "24"},
        {"iface": "a", "type": "bond", "slaves": "x y", "active": "1", "method6": "auto", "address": "10.0.0.1",
         "address6": "fd00::1", "comments": "hm\n"}], {"changes": None})})
    assert answer.data["items"] == [
        {"iface": "a", "type": "bond", "active": True, "autostart": False, "comments": "hm", "method6": "auto",
         "address": "10.0.0.1", "address6": "fd00::1", "slaves": ["x", "y"]},
        {"iface": "b", "type": "vlan", "active": False, "autostart": False, "mtu": 9000, "method": "dhcp",
         "netmask": "24", "vlan-id": 7}]
    assert "10.0.0.1, fd00::1" in answer.text and "dhcp" in answer.text and "SDN.Audit" in answer.text


def test_missing_bridges_may_be_missing_rights():
    bench = support.Bench(tokens=AUDITOR)
    assert "SDN.Audit or SDN.Use" in bench.run("proxmox_get_node_network", node="pve1", type="bridge").text
    assert "SDN" not in run("proxmox_get_node_network", node="pve1", type="eth").text
    assert "'tunnel' is not one of bridge," in run("proxmox_get_node_network", node="pve1", type="tunnel").text


def test_iface():
    answer = run("proxmox_get_network_iface", node="pve1", iface="vmbr0")
    assert answer.data["iface"] == "vmbr0" and answer.data["bridge_vids"] == "2-4094"
    assert answer.text.startswith("\u2705 Interface vmbr0 of node pve1\niface: vmbr0\ntype: bridge\nactive: yes\n")
    assert "Other options: bridge_fd=0; bridge_vids=2-4094; " in answer.text


def test_an_iface_that_is_not_there():
    answer = run("proxmox_get_network_iface", node="pve1", iface="vmbr9")
    assert answer.failed and "There is no interface of that name: proxmox_get_node_network lists them" in answer.text
    bench = support.Bench()
    assert bench.run("proxmox_get_network_iface", node="pve1", iface="../x").failed and bench.sent() == []
    answer = support.Bench(tokens=AUDITOR).run("proxmox_get_network_iface", node="pve1", iface="vmbr0")
    assert answer.failed and "Permission check failed" in answer.text


@pytest.mark.parametrize("reply, data, words", [
    ({"search": "a.b", "dns1": "1.1.1.1"}, {"search": "a.b", "dns1": "1.1.1.1"}, "DNS server 1: 1.1.1.1"),
    ({"search": "a.b", "dns1": ""}, {"search": "a.b"}, "No DNS server is set."),
    ({"dns2": None}, {}, "No DNS server is set."),
])
def test_dns(reply, data, words):
    answer = with_answers("proxmox_get_node_dns", {"dns": reply})
    assert support.found(answer) == data and words in answer.text
    assert "None" not in answer.text and "undefined" not in answer.text
