"""Proxmox's formats: ids, paths, property strings, sizes, UPIDs."""
from contextlib import suppress

import pytest

from tools.pve import formats

HOSTILE = ["..", ".", "", "%2e%2e", "%2f", "a/b", "pve1?x=1", "pve1#x", "pve1;x", "pve1\\x", "pve1\x00", "pve1\n",
           " pve1", "\u0661\u0660\u0660", "../../access/users", "p\u00e9"]


@pytest.mark.parametrize("name", ["node", "vmid", "storage", "snapname", "iface", "upid", "drive", "mp", "net", "zpool",
                                  "kind"])
def test_hostile_ids_never_become_part_of_a_path(name):
    taken = []
    for value in HOSTILE:
        with suppress(ValueError):
            taken.append((value, formats.fill("/x/{%s}/y" % name, {name: value})))
    assert taken == []


@pytest.mark.parametrize("value", ["local:../../etc/passwd", "local:a/../b", "local:", "local:a?b", "local:a#b",
                                   "local:a b", "local:a//b", "local:a\n", "nocolon"])
def test_hostile_volume_ids(value):
    with pytest.raises(ValueError):
        formats.fill("/nodes/pve1/storage/local/content/{volume}", {"volume": value})


def test_paths_of_good_ids():
    upid = "UPID:pve1:00001234:0000ABCD:65000000:qmstart:100:root@pam!mcp:"
    path = formats.fill("/nodes/{node}/tasks/{upid}/log", {"node": "pve1", "upid": upid})
    assert path == "/nodes/pve1/tasks/%s/log" % upid
    volume = "pbs:backup/vm/100/2026-01-01T10:00:00Z"
    assert formats.fill("/c/{volume}", {"volume": volume}) == "/c/" + volume


@pytest.mark.parametrize("name, good, bad", [
    ("vmid", ["100", "999999999"], ["99", "0100", "1000000000", "1_00", "1e2"]),
    ("node", ["a", "pve-1"], ["-a", "a-", "a.b", "a_b"]),
    ("storage", ["local-lvm", "a1"], ["1a", "a", "a-"]),
    ("snapname", ["a1", "before_x-y"], ["1a", "a", "a" * 41]),
    ("drive", ["scsi30", "ide3", "virtio15", "sata5"], ["scsi31", "ide4", "virtio16", "sata6", "unused0"]),
    ("disk", ["unused255", "efidisk0", "tpmstate0", "rootfs", "mp255"], ["unused256", "efidisk1", "memory"]),
    ("mp", ["mp0", "mp255"], ["mp256", "mp01"]),
    ("net", ["net0", "net31"], ["net32", "eth0"]),
    ("iface", ["vmbr0", "eno1.100", "bond0:1"], ["my-if", "v"]),
    ("bridge", ["vmbr0", "my-vnet", "a.b"], ["vmbr0,tag=1", "a=b", "a b"]),
    ("mac", ["BC:24:11:00:00:01"], ["01:00:00:00:00:00", "BC:24:11:00:00"])])
def test_formats_of_ids(name, good, bad):
    assert [v for v in good if not formats.fits(name, v)] == []
    assert [v for v in bad if formats.fits(name, v)] == []


@pytest.mark.parametrize("value, truth", [
    (None, False), ("", False), (0, False), ("0", False), (0.0, False), (False, False), ([], False), ("off", False),
    ("No", False), ("FALSE", False), (1, True), ("1", True), (True, True), (2, True), ("on", True), ("yes", True),
    ("true", True), ("00", True), (["0"], True)])
def test_truth_as_proxmox_has_it(value, truth):
    assert formats.on(value) is truth


@pytest.mark.parametrize("text, grows, size", [
    ("50", False, 50 << 30), ("50G", False, 50 << 30), ("0.5T", False, 1 << 39), ("512M", False, 512 << 20),
    ("+10G", True, 10 << 30), ("1T", False, 1 << 40), ("2048K", False, 2 << 20), (" 8 GiB ", False, 8 << 30),
    ("32gb", False, 32 << 30)])
def test_sizes(text, grows, size):
    assert formats.parse_size(text) == (grows, size)


@pytest.mark.parametrize("text", ["", "0", "-5", "G", "5X", "1e3", "5,5", "\u0665", "++5"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        formats.parse_size(text)


@pytest.mark.parametrize("value, unit, number", [
    ("4G", "MiB", 4096), ("4 GiB", "MiB", 4096), ("4096", "MiB", "4096"), (4096, "MiB", 4096), ("0.5T", "MiB", 524288),
    ("512m", "MiB", 512), ("4.5g", "MiB", 4608), ("1G", "KiB/s", 1048576), ("100 MB/s", "KiB/s", 102400),
    ("512K", "MB/s", 0.5), ("1.5G", "MB/s", 1536), ("12.5", "MB/s", "12.5"), ("0", "MiB", "0")])
def test_amounts_become_so_many_of_proxmoxs_unit(value, unit, number):
    found = formats.in_unit(value, unit)
    assert found == number and type(found) is type(number)


@pytest.mark.parametrize("value", ["4X", "G", "+4G", "4G5", "-4G", "1e3M", "0G", "9" * 40 + "G", "4 Gbit"])
def test_what_is_no_amount(value):
    with pytest.raises(ValueError, match="is not a size, such as 50 .MiB.|is not taken with a"):
        formats.in_unit(value, "MiB")


def test_gib_is_what_proxmox_takes_for_a_new_volume():
    found = [formats.gib(formats.parse_size(text)[1]) for text in ("50", "1T", "512M", "0.5T", "1.5G")]
    assert found == ["50", "1024", "0.5", "512", "1.5"]


def test_property_strings_keep_order_and_unknown_keys():
    text = "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,later=x"
    assert formats.property_string(formats.parse_property_string(text)) == text
    disk = "local-lvm:vm-100-disk-0,size=32G"
    parsed = formats.parse_property_string(disk, "file")
    assert parsed == {"file": "local-lvm:vm-100-disk-0", "size": "32G"}
    assert formats.property_string(parsed, "file") == disk


@pytest.mark.parametrize("value", ["vmbr0,firewall=0", "a\nb", "a\x00"])
def test_a_value_cannot_smuggle_another_key(value):
    with pytest.raises(ValueError):
        formats.property_string({"bridge": value})


def test_upids():
    upid = formats.parse_upid("UPID:pve-1:0000C0DE:0123ABCDE:65F00000:qmstart:100:root@pam!mcp:")
    assert (upid.node, upid.type, upid.id) == ("pve-1", "qmstart", "100")
    assert (upid.user, upid.starttime) == ("root@pam!mcp", 0x65F00000)
    assert formats.parse_upid("OK") is None and formats.parse_upid(None) is None


@pytest.mark.parametrize("volid, owner", [
    ("local-lvm:vm-100-disk-0", 100), ("nas:101/vm-101-disk-0.qcow2", 101), ("zfs:subvol-102-disk-0", 102),
    ("zfs:base-900-disk-0/vm-103-disk-0", 103), ("pbs:backup/vm/104/2026-01-01T10:00:00Z", 104),
    ("pbs:backup/ct/105/x", 105), ("local:backup/vzdump-lxc-106-2026_01_01-00_00_00.tar.zst", 106),
    ("local:iso/debian.iso", None)])
def test_the_guest_that_a_volume_names(volid, owner):
    assert formats.owner_of(volid) == owner
