"""Facts of the demo's nodes that nothing changes: disks, SMART values, LVM, ZFS, networks, packages, services."""
from tools.demo.model import GIB, TIB

GB = 10 ** 9


def _row(row, more):
    return {key: value for key, value in dict(row, **more).items() if value is not None}


def _disk(devpath, kind, size, model, serial, **more):
    return _row({
        "devpath": devpath, "type": kind, "size": size, "vendor": "ATA     " if kind in ("ssd", "hdd") else "unknown",
        "model": model, "serial": serial, "wwn": "0x5002538e%s" % serial[-8:].lower().rjust(8, "0"), "gpt": 0,
        "rpm": 0, "health": "PASSED", "wearout": 100, "osdid": -1,
        "by_id_link": "/dev/disk/by-id/%s-%s_%s" % ("nvme" if kind == "nvme" else "ata", model.replace(" ", "_"),
                                                    serial)}, more)


def _part(devpath, parent, size, used=None, **more):
    return _row({"devpath": devpath, "parent": parent, "size": size, "type": "partition", "gpt": 1, "osdid": -1,
                 "used": used, "health": "UNKNOWN", "wearout": "N/A", "rpm": 0, "vendor": "unknown", "model": "unknown",
                 "serial": "unknown"}, more)


_BOOT_PARTS = [("1", 1031168, "BIOS boot"), ("2", GIB, "EFI")]


def _boot(disk):
    sep = "p" if "nvme" in disk["devpath"] else ""
    rows = [_part(disk["devpath"] + sep + number, disk["devpath"], size, used) for number, size, used in _BOOT_PARTS]
    return rows + [_part(disk["devpath"] + sep + "3", disk["devpath"], disk["size"] - GIB - 1031168, "LVM")]


_NVME = _disk("/dev/nvme0n1", "nvme", 960 * GB, "SAMSUNG MZVL2960HBJD", "S6B0NX0T112233", gpt=1, used="partitions",
              wearout=97)
_SSD = _disk("/dev/sda", "ssd", 480 * GB, "INTEL SSDSC2KB480G8", "PHYF9481004B480B", gpt=1, used="partitions",
             wearout=91)
_HDD = [_disk("/dev/sd%s" % letter, "hdd", 4000787030016, "WDC WD40EFRX-68N32N0", "WD-WCC7K%s" % serial, rpm=5400,
              wearout="N/A", used=None if letter == "e" else "ZFS", health="FAILED!" if letter == "d" else "PASSED")
        for letter, serial in (("b", "4LJ7K1AA"), ("c", "4LJ7K2BB"), ("d", "6YHC93CC"), ("e", "1XT5Q0DD"))]
_WORN = _disk("/dev/sda", "ssd", 240057409536, "KINGSTON SA400S37240G", "50026B7782A4C1D9", gpt=1, used="partitions",
              wearout=6)

#: node -> rows of disks/list (partitions follow their disk).
DISKS = {
    "pve1": [_NVME] + _boot(_NVME) + [
        _disk("/dev/nvme1n1", "nvme", 1920 * GB, "Micron_7450_MTFDKCC1T9TFR", "2237A0112F7C", used="ZFS", wearout=99)],
    "pve2": [_SSD] + _boot(_SSD) + _HDD,
    "pve3": [_WORN] + _boot(_WORN) + [
        _disk("/dev/sdb", "ssd", 1000204886016, "CT1000MX500SSD1", "2109E4FE12AB", wearout=84),
        _disk("/dev/sdc", "usb", 62109253632, "Ultra Fit", "4C530001260812117", vendor="SanDisk ", health="UNKNOWN",
              wearout="N/A", gpt=1, used="partitions"),
        _part("/dev/sdc1", "/dev/sdc", 62108204032, "mounted", mounted=1)],
}


def _attribute(number, name, value, worst, threshold, raw, flags="-O--CK", fail="-"):
    return {"id": "%3d" % number, "name": name, "value": "%03d" % value, "normalized": value, "worst": "%03d" % worst,
            "threshold": "%03d" % threshold, "raw": str(raw), "flags": flags, "fail": fail}


def _ata(power_on, reallocated=0, pending=0, temperature=34, wear=None, fail="-"):
    rows = [
        _attribute(1, "Raw_Read_Error_Rate", 200, 200, 51, 0, "POSR-K"),
        _attribute(5, "Reallocated_Sector_Ct", 1 if fail != "-" else 100, 1 if fail != "-" else 100,
                   10 if wear is None else 0, reallocated, "PO--CK", fail),
        _attribute(9, "Power_On_Hours", 71, 71, 0, power_on),
        _attribute(12, "Power_Cycle_Count", 100, 100, 0, 48),
        _attribute(194, "Temperature_Celsius", 150 - temperature, 100, 0, temperature, "-O---K"),
        _attribute(197, "Current_Pending_Sector", 200 if not pending else 195, 195, 0, pending),
        _attribute(198, "Offline_Uncorrectable", 200, 200, 0, pending),
        _attribute(199, "UDMA_CRC_Error_Count", 200, 200, 0, 0),
    ]
    if wear is not None:
        rows.append(_attribute(233, "Media_Wearout_Indicator", wear, wear, 0, 0))
    return rows


_NVME_TEXT = """
SMART/Health Information (NVMe Log 0x02)
Critical Warning:                   0x00
Temperature:                        %d Celsius
Available Spare:                    100%%
Available Spare Threshold:          10%%
Percentage Used:                    %d%%
Data Units Written:                 63,905,318 [32.7 TB]
Power Cycles:                       39
Power On Hours:                     14,208
Unsafe Shutdowns:                   7
Media and Data Integrity Errors:    0
Error Information Log Entries:      0
"""


def smart(node, devpath, health_only):
    """The data of disks/smart, or None for a disk that is not there."""
    disk = next((row for row in DISKS.get(node, []) if row["devpath"] == devpath and row["type"] != "partition"), None)
    if disk is None:
        return None
    if health_only:
        return {"health": disk["health"]}
    if disk["type"] == "nvme":
        return {"health": disk["health"], "type": "text", "wearout": disk["wearout"],
                "text": _NVME_TEXT % (38 if devpath.startswith("/dev/nvme0") else 41, 100 - disk["wearout"])}
    if disk["type"] == "usb":
        return {"health": "UNKNOWN", "type": "text", "text": "\n/dev/sdc: Unknown USB bridge [0x0781:0x5583 (0x100)]\n"
                "Please specify device type with the -d option.\n"}
    if disk["health"] == "FAILED!":
        return {"health": "FAILED!", "type": "ata", "attributes": _ata(41873, 2036, 112, 43, fail="FAILING_NOW")}
    if disk["type"] == "hdd":
        return {"health": "PASSED", "type": "ata", "attributes": _ata(40112, 0, 0, 36)}
    return {"health": "PASSED", "type": "ata", "wearout": disk["wearout"],
            "attributes": _ata(21344, 4 if disk["wearout"] < 10 else 0, 0, 31, disk["wearout"])}


def _group(name, size, free, volumes, *physical):
    return {"leaf": 0, "name": name, "size": size, "free": free, "lvcount": volumes,
            "children": [{"leaf": 1, "name": device, "size": size_, "free": free_} for device, size_,
                         free_ in physical]}


_SAN = _group("sanvg", 2 * TIB, 1400 * GIB, 4, ("/dev/mapper/mpatha", 2 * TIB, 1400 * GIB))
#: node -> volume groups of disks/lvm.
LVM = {
    "pve1": [_group("pve", 958919802880, 17179869184, 11, ("/dev/nvme0n1p3", 958919802880, 17179869184)), _SAN],
    "pve2": [_group("pve", 478925553664, 17179869184, 14, ("/dev/sda3", 478925553664, 17179869184)), _SAN],
    "pve3": [_group("pve", 238982635520, 0, 9, ("/dev/sda3", 238982635520, 0))],
}
#: node -> thin pools of disks/lvmthin.
LVMTHIN = {node: [{"lv": "data", "vg": "pve", "lv_size": size * GIB, "used": 0, "metadata_size": 8 * GIB,
                   "metadata_used": 137438953}] for node, size in (("pve1", 800), ("pve2", 340), ("pve3", 140))}
#: node -> pools of disks/zfs; a node without ZFS is not in it.
ZFS = {
    "pve2": [
        {"name": "tank", "size": 11991548690432, "alloc": 4802666790912, "free": 7188881899520, "frag": 17,
         "dedup": 1.0, "health": "DEGRADED"}],
    "pve1": [
        {"name": "fast", "size": 1910452486144, "alloc": 212884901888, "free": 1697567584256, "frag": 3, "dedup": 1.0,
         "health": "ONLINE"}],
}


def _vdev(name, state="ONLINE", read=0, write=0, cksum=0, msg="", children=None):
    return _row({"name": name, "state": state, "read": read, "write": write, "cksum": cksum, "msg": msg,
                 "leaf": int(children is None)}, {"children": children})


#: pool -> data of disks/zfs/{name}.
ZFS_DETAIL = {
    "tank": {
        "name": "tank", "state": "DEGRADED",
        "status": "One or more devices has experienced an unrecoverable error. An attempt was made to correct the "
                  "error. Applications are unaffected.",
        "action": "Determine if the device needs to be replaced, and clear the errors using 'zpool clear' or replace "
                  "the device with 'zpool replace'.",
        "scan": "scrub repaired 1.25M in 06:41:12 with 0 errors on Sun Oct 12 07:05:13 2025",
        "errors": "No known data errors",
        "children": [_vdev("tank", "DEGRADED", children=[
            _vdev("raidz1-0", "DEGRADED", children=[
                _vdev("ata-WDC_WD40EFRX-68N32N0_WD-WCC7K4LJ7K1AA"), _vdev("ata-WDC_WD40EFRX-68N32N0_WD-WCC7K4LJ7K2BB"),
                _vdev("ata-WDC_WD40EFRX-68N32N0_WD-WCC7K6YHC93CC", "FAULTED", 18, 244, 31, "too many errors")])])],
    },
    "fast": {
        "name": "fast", "state": "ONLINE",
        "scan": "scrub repaired 0B in 00:02:41 with 0 errors on Sun Oct 12 00:26:42 2025",
        "errors": "No known data errors",
        "children": [_vdev("fast", children=[_vdev("nvme-Micron_7450_MTFDKCC1T9TFR_2237A0112F7C")])],
    },
}


def _iface(name, kind, **more):
    return _row({"iface": name, "type": kind, "method": "manual", "method6": "manual", "families": ["inet"],
                 "active": 1, "exists": 1, "priority": 3}, more)


def network(number):
    """(rows, changes or None) of node `number`'s interfaces: bonded ports, bridges, a VLAN; the second has a change."""
    host = 10 + number
    rows = [
        _iface("eno1", "eth", altnames=["enp1s0f0"], priority=3),
        _iface("eno2", "eth", altnames=["enp1s0f1"], priority=4),
        _iface("bond0", "bond", autostart=1, slaves="eno1 eno2", bond_mode="802.3ad", bond_miimon="100",
               bond_xmit_hash_policy="layer2+3", priority=5, comments="uplink to sw1/sw2\n"),
        _iface("vmbr0", "bridge", autostart=1, method="static", address="10.0.0.%d" % host, netmask="24",
               cidr="10.0.0.%d/24" % host, gateway="10.0.0.1", bridge_ports="bond0", bridge_stp="off", bridge_fd="0",
               bridge_vlan_aware=1, bridge_vids="2-4094", priority=6),
        _iface("vmbr1", "bridge", autostart=1, bridge_ports="", bridge_stp="off", bridge_fd="0", priority=7,
               comments="guests only, no uplink\n"),
        _iface("vlan40", "vlan", autostart=1, method="static", address="10.0.40.%d" % host, netmask="24",
               cidr="10.0.40.%d/24" % host, priority=8, comments="storage\n",
               **{"vlan-id": "40", "vlan-raw-device": "bond0"}),
    ]
    if number != 2:
        return rows, None
    rows.append(_iface("vmbr2", "bridge", autostart=1, active=None, exists=None, bridge_ports="eno3", bridge_stp="off",
                       bridge_fd="0", priority=9, comments="DMZ\n"))
    rows.insert(2, _iface("eno3", "eth", priority=5))
    return rows, (
        "--- /etc/network/interfaces\t2025-09-02 11:20:17.000000000 +0200\n"
        "+++ /etc/network/interfaces.new\t2025-11-03 09:41:55.000000000 +0100\n"
        "@@ -38,3 +38,11 @@\n \tvlan-raw-device bond0\n #storage\n \n+auto vmbr2\n+iface vmbr2 inet manual\n"
        "+\tbridge-ports eno3\n+\tbridge-stp off\n+\tbridge-fd 0\n+#DMZ\n+\n")


DNS = {"pve1": {"search": "example.internal", "dns1": "10.0.0.53", "dns2": "9.9.9.9"},
       "pve2": {"search": "example.internal", "dns1": "10.0.0.53"}, "pve3": {"dns1": "10.0.0.53"}}


KERNEL = {"9": "6.14.11-4-pve", "8": "6.8.12-15-pve", "7": "5.15.158-2-pve"}

#: (package, section, title, old, new) waiting as updates.
UPDATES = [
    ("pve-manager", "admin", "Proxmox Virtual Environment Management Tools", "9.1.1", "9.1.4"),
    ("qemu-server", "admin", "Qemu Server Tools", "9.1.0", "9.1.3"),
    ("proxmox-kernel-6.17.4-1-pve-signed", "kernel", "Proxmox Kernel Image (signed)", "", "6.17.4-1"),
    ("libssl3t64", "libs", "Secure Sockets Layer toolkit - shared libraries", "3.5.1-1", "3.5.4-1~deb13u1"),
    ("openssh-server", "net", "secure shell (SSH) server, for secure access from remote machines", "1:10.0p1-7",
     "1:10.0p1-7+deb13u1"),
]
VERSIONS = [("proxmox-ve", "9.1.0"), ("pve-manager", "9.1.1"), ("corosync", "3.1.9-pve2"), ("pve-container", "6.0.17"),
            ("pve-qemu-kvm", "10.1.2-1"), ("qemu-server", "9.1.0"), ("zfsutils-linux", "2.3.4-pve1")]
#: (service, description)
SERVICES = [
    ("lxcfs", "FUSE filesystem for LXC"), ("qmeventd", "PVE Qemu Event Daemon"),
    ("pve-lxc-syscalld", "Proxmox VE LXC Syscall Daemon"), ("systemd-timesyncd", "Network Time Synchronization"),
    ("chrony", "chrony, an NTP client/server"), ("corosync", "Corosync Cluster Engine"),
    ("cron", "Regular background program processing daemon"),
    ("ksmtuned", "Kernel Samepage Merging (KSM) Tuning Daemon"), ("postfix", "Postfix Mail Transport Agent"),
    ("proxmox-firewall", "Proxmox nftables firewall"), ("pve-cluster", "The Proxmox VE cluster filesystem"),
    ("pve-firewall", "Proxmox VE firewall"), ("pve-ha-crm", "PVE Cluster HA Resource Manager Daemon"),
    ("pve-ha-lrm", "PVE Local HA Resource Manager Daemon"), ("pvedaemon", "PVE API Daemon"),
    ("pvefw-logger", "Proxmox VE firewall logger"), ("pveproxy", "PVE API Proxy Server"),
    ("pvescheduler", "Proxmox VE scheduler"), ("pvestatd", "PVE Status Daemon"),
    ("spiceproxy", "PVE SPICE Proxy Server"), ("sshd", "OpenBSD Secure Shell server"),
    ("syslog", "System Logging Service"), ("systemd-journald", "Journal Service"),
]
#: (template, os, version, headline, sha512 start) of the appliance index.
APPLIANCES = [
    ("debian-13-standard_13.1-2_amd64.tar.zst", "debian-13", "13.1-2", "Debian 13 Trixie (standard)",
     "5aec4ab2ac5c16c7"),
    ("debian-12-standard_12.12-1_amd64.tar.zst", "debian-12", "12.12-1", "Debian 12 Bookworm (standard)",
     "b4b2c11a1b2a4f0f"),
    ("ubuntu-24.04-standard_24.04-2_amd64.tar.zst", "ubuntu-24.04", "24.04-2", "Ubuntu 24.04 Noble (standard)",
     "0d4a1f51b9d1a5a7"),
    ("alpine-3.22-default_20250617_amd64.tar.xz", "alpine-3.22", "20250617",
     "LXC default image for alpine 3.22 (20250617)", "48cbd1a62ec98df8"),
    ("rockylinux-10-default_20251001_amd64.tar.xz", "rockylinux-10", "20251001", "LXC default image for rockylinux 10 "
     "(20251001)", "94f3a2c1ffe4d9b0"),
]
