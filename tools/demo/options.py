"""The options of a guest's configuration and their rules, the property strings (drives, network cards) among them.

Names, types and limits are those of qemu-server (QemuServer.pm, Drive.pm) and pve-container (LXC/Config.pm).
"""
from tools.demo.rules import boolean, enum, integer, number, properties, string

#: "net[n]" stands for net0, net1, ...; the highest n of each is in tools.pve.formats.LAST_INDEX.
_FILE = string("The volume.", format="pve-volume-id-or-qm-path")
_SIZE = string("Size of the disk; only for information.", format="disk-size")
_IMPORT = string("Make the disk from this volume or image.", format="pve-volume-id-or-absolute-path")
_FORMAT = enum("The image's format.", "raw qcow qed qcow2 vmdk cloop")


def _drive(*extra):
    table = {
        ":file*": _FILE, "volume": {"alias": "file"}, "size": _SIZE, "format": _FORMAT, "import-from": _IMPORT,
        "media": enum("disk or cdrom.", "cdrom disk", default="disk"),
        "cache": enum("Cache mode.", "none writethrough writeback unsafe directsync"),
        "aio": enum("Asynchronous I/O.", "native threads io_uring"), "discard": enum("Pass discards on.", "ignore on"),
        "backup": boolean("Part of backups.", default=1), "replicate": boolean("Part of replication.", default=1),
        "ssd": boolean("Show it as an SSD."), "iothread": boolean("An I/O thread of its own."),
        "ro": boolean("Read-only."), "shared": boolean("Present on all nodes.", default=0),
        "snapshot": boolean("Drop all writes at the end."), "detect_zeroes": boolean("Detect zero writes."),
        "queues": integer("Number of queues.", 2), "scsiblock": boolean("Pass a whole block device on.", default=0),
        "model": string("Model name.", maxLength=120, format="urlencoded"),
        "serial": string("Serial number.", maxLength=60, format="urlencoded"),
        "product": string("Product name.", pattern=r"[A-Za-z0-9\-_\s]{,16}"),
        "vendor": string("Vendor name.", pattern=r"[A-Za-z0-9\-_\s]{,8}"),
        "wwn": string("World wide name.", pattern="(0x)[0-9a-fA-F]{16}"),
        "rerror": enum("On a read error.", "ignore report stop"),
        "werror": enum("On a write error.", "enospc ignore report stop"),
    }
    for way in ("", "_rd", "_wr"):
        for unit, kind in (("mbps", number), ("iops", integer), ("bps", integer)):
            table[unit + way] = kind("Limit of throughput.")
            if unit != "bps":
                table[unit + way + "_max"] = kind("Limit of throughput in a burst.")
            if unit != "mbps":
                table[unit + way + "_max_length"] = integer("Seconds of a burst.", 1)
                if way:
                    table[unit + way + "_length"] = {"alias": unit + way + "_max_length"}
    special = ("iothread", "ro", "queues", "scsiblock", "model", "product", "vendor", "ssd", "wwn")
    return properties({key: rule for key, rule in table.items() if key not in special or key in extra})


IDE = _drive("model", "ssd", "wwn")
SATA = _drive("ssd", "wwn")
SCSI = _drive("iothread", "ro", "queues", "scsiblock", "product", "vendor", "ssd", "wwn")
VIRTIO = _drive("iothread", "ro")

EFIDISK = properties({
    ":file*": _FILE, "volume": {"alias": "file"}, "size": _SIZE, "format": _FORMAT, "import-from": _IMPORT,
    "efitype": enum("Size of the variables store.", "2m 4m", default="2m"),
    "pre-enrolled-keys": boolean("With Secure Boot keys.", default=0),
    "ms-cert": enum("Microsoft's certificate in it.", "2011 2023 2023w 2023k", default="2011")})
TPMSTATE = properties({
    ":file*": _FILE, "volume": {"alias": "file"}, "size": _SIZE, "import-from": _IMPORT,
    "format": enum("The image's format.", "raw qcow2 vmdk"),
    "version": enum("TPM version; fixed once made.", "v1.2 v2.0", default="v1.2")})
UNUSED = properties({":file*": string("The volume.", format="pve-volume-id"), "volume": {"alias": "file"}})

MODELS = ("e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er ne2k_isa ne2k_pci pcnet "
          "rtl8139 virtio vmxnet3")
NET = properties(dict({
    ":model*": enum("Model of the card.", MODELS), "macaddr": string("MAC address.", format="mac-addr"),
    "bridge": string("Bridge or vnet.", format="pve-bridge-id"), "firewall": boolean("Firewall on this card."),
    "link_down": boolean("Cable pulled."), "mtu": integer("MTU; 1 is the bridge's.", 1, 65520),
    "queues": integer("Packet queues.", 0, 64), "rate": number("Limit in MB/s.", 0),
    "tag": integer("VLAN tag.", 1, 4094),
    "trunks": string("VLANs let through.", pattern=r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"),
}, **{model: {"alias": "macaddr", "keyAlias": "model"} for model in MODELS.split()}))

AGENT = properties({
    ":enabled*": boolean("Talk to a guest agent.", default=0),
    "fstrim_cloned_disks": boolean("Trim after a move.", default=0),
    "freeze-fs": boolean("Freeze file systems for a backup.", default=1), "freeze-fs-on-backup": {"alias": "freeze-fs"},
    "guest-fsfreeze": {"alias": "freeze-fs"}, "type": enum("Kind of channel.", "virtio isa", default="virtio")})
CPU = properties({
    ":cputype": string("CPU type."), "flags": string(
        "Flags on or off.", pattern=r"[+-]?[a-zA-Z0-9\-_.]+(;[+-]?[a-zA-Z0-9\-_.]+)*"),
    "hidden": boolean("Hide KVM.", default=0), "hv-vendor-id": string("Hyper-V vendor.", pattern="[a-zA-Z0-9]{1,12}"),
    "phys-bits": string("Address bits.", format="pve-phys-bits"),
    "guest-phys-bits": integer("Address bits seen.", 32, 64), "reported-model": string("Model to report.")})
BOOT = properties({":legacy": string("Old form.", pattern="[acdn]{1,4}"),
                   "order": string("Devices in order.", format="pve-qm-bootdev-list")})
MACHINE = properties({
    ":type": string(
        "Machine type.", maxLength=40,
        pattern=r"(pc|q35|virt|pc(-i440fx|-q35)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|virt-\d+(\.\d+)+(\+pve\d+)?)"),
    "viommu": enum("A virtual IOMMU.", "intel virtio"), "aw-bits": number("Address width of it.", 32, 64),
    "enable-s3": boolean("Suspend to RAM."), "enable-s4": boolean("Suspend to disk.")})
IPCONFIG = properties({
    "ip": string("IPv4 address with prefix, or dhcp.", format="pve-ipv4-config"),
    "gw": string("IPv4 gateway.", format="ipv4", requires="ip"),
    "ip6": string("IPv6 address with prefix, auto or dhcp.", format="pve-ipv6-config"),
    "gw6": string("IPv6 gateway.", format="ipv6", requires="ip6")})
_B64 = "[A-Za-z0-9+/]+={0,2}"
SMBIOS = properties(dict(
    {"uuid": string("", pattern="[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"), "base64": boolean("")},
    **{key: string("", pattern=_B64) for key in ("family", "manufacturer", "product", "serial", "sku", "version")}))
_PCI = r"(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\.[a-f0-9])?"
HOSTPCI = properties({
    ":host": string("PCI address.", pattern="%s(;%s)*" % (_PCI, _PCI)),
    "mapping": string("Mapping.", format="pve-configid"),
    "pcie": boolean("", default=0), "rombar": boolean("", default=1), "x-vga": boolean("", default=0),
    "mdev": string("", pattern=r"[^/\.:]+"), "romfile": string("", pattern="[^,;]+"),
    "legacy-igd": boolean("", default=0)})
USB = properties({":host": string("Device, port or spice.",
                                  pattern=r"((0x)?[0-9A-Fa-f]{4}:(0x)?[0-9A-Fa-f]{4}|\d+\-\d+(\.\d+)*|"
                                  "[Ss][Pp][Ii][Cc][Ee])"), "mapping": string("", format="pve-configid"),
                  "usb3": boolean("", default=0)})
VGA = properties({":type": enum("Kind of display.",
                                "cirrus qxl qxl2 qxl3 qxl4 none serial0 serial1 serial2 serial3 std "
                                "virtio virtio-gl vmware", default="std"),
                  "memory": integer("MiB of video memory.", 4, 512), "clipboard": enum("", "vnc")})
RNG = properties({":source*": enum("Source.", "/dev/urandom /dev/random /dev/hwrng"),
                  "max_bytes": integer("", default=1024), "period": integer("", default=1000)})
NUMA = properties({"cpus*": string("", pattern=r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"),
                   "hostnodes": string("", pattern=r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"), "memory": number(""),
                   "policy": enum("", "preferred bind interleave")})
VIRTIOFS = properties({":dirid*": string("Directory mapping.", format="pve-configid"),
                       "direct-io": boolean("", default=0),
                       "cache": enum("", "auto always metadata never", default="auto"),
                       "expose-acl": boolean("", default=0), "expose-xattr": boolean("", default=0)})
MEMORY = properties({":current*": integer("MiB.", 16, default=512)})
CICUSTOM = properties({key: string("", format="pve-volume-id") for key in ("meta", "network", "user", "vendor")})

#: Options both kinds of guest have.
_BOTH = {
    "description": string("Notes, shown in the summary.", maxLength=8192),
    "onboot": boolean("Start with the node.", default=0),
    "protection": boolean("Refuse to remove the guest or its disks.", default=0),
    "startup": string("Order and delays of starting with the node.", format="pve-startup-order"),
    "tags": string("Tags, separated by semicolons.", format="pve-tag-list"),
    "template": boolean("It is a template.", default=0),
    "hookscript": string("Script run at steps of its life.", format="pve-volume-id"),
}

QEMU = properties(dict(_BOTH, **{
    "acpi": boolean("ACPI.", default=1), "affinity": string("Host cores to run on.", format="pve-cpuset"),
    "agent": string("Guest agent.", format=AGENT), "allow-ksm": boolean("May share memory pages.", default=1),
    "args": string("Arguments to kvm; root only."), "autostart": boolean("Restart after a crash.", default=0),
    "balloon": integer("MiB the balloon may shrink it to; 0 is off.", 0),
    "bios": enum("Firmware.", "seabios ovmf", default="seabios"), "boot": string("Boot order.", format=BOOT),
    "bootdisk": string("Old form of the boot order.", format="pve-qm-bootdisk", pattern=r"(ide|sata|scsi|virtio)\d+"),
    "cdrom": string("Alias for ide2.", format=IDE), "cicustom": string("Own cloud-init files.", format=CICUSTOM),
    "cipassword": string("cloud-init: password."),
    "citype": enum("cloud-init: format.", "configdrive2 nocloud opennebula"),
    "ciupgrade": boolean("cloud-init: upgrade packages first.", default=1), "ciuser": string("cloud-init: user."),
    "cores": integer("Cores per socket.", 1, default=1), "cpu": string("CPU type and flags.", format=CPU),
    "cpulimit": number("Limit of CPU use, in CPUs.", 0, 128, default=0), "cpuunits": integer("CPU weight.", 1, 262144),
    "efidisk0": string("Disk of the EFI variables.", format=EFIDISK), "freeze": boolean("Do not start the CPUs."),
    "hostpci[n]": string("A PCI device of the host.", format=HOSTPCI),
    "hotplug": string("What changes while it runs.", format="pve-hotplug-features", default="network,disk,usb"),
    "hugepages": enum("Huge pages.", "any 2 1024"), "ide[n]": string("An IDE disk or CD drive.", format=IDE),
    "ipconfig[n]": string("cloud-init: addresses of netN.", format=IPCONFIG),
    "keyboard": enum("Keyboard of the console.",
                     "de de-ch da en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it ja lt mk nl no "
                     "pl pt pt-br sv sl tr"),
    "kvm": boolean("Hardware virtualisation.", default=1), "localtime": boolean("Clock in local time."),
    "lock": enum("Lock of the guest; root only.",
                 "backup clone create migrate rollback snapshot snapshot-delete suspending suspended"),
    "machine": string("Machine type.", format=MACHINE), "memory": string("Memory in MiB.", format=MEMORY),
    "migrate_downtime": number("Longest pause of a migration, s.", 0, default=0.1),
    "name": string("Name of the VM.", format="dns-name"),
    "nameserver": string("cloud-init: DNS servers.", format="address-list"),
    "net[n]": string("A network card.", format=NET), "numa": boolean("NUMA.", default=0),
    "numa[n]": string("A NUMA node.", format=NUMA),
    "ostype": enum("Kind of guest OS.", "other wxp w2k w2k3 w2k8 wvista win7 win8 win10 win11 l24 l26 solaris",
                   default="other"),
    "reboot": boolean("Restart on reboot, else exit.", default=1), "rng0": string("Random numbers.", format=RNG),
    "sata[n]": string("A SATA disk or CD drive.", format=SATA), "scsi[n]": string("A SCSI disk.", format=SCSI),
    "scsihw": enum("SCSI controller.", "lsi lsi53c810 virtio-scsi-pci virtio-scsi-single megasas pvscsi",
                   default="lsi"),
    "searchdomain": string("cloud-init: DNS search domains."),
    "serial[n]": string("A serial port.", pattern="(/dev/.+|socket)"),
    "shares": integer("Memory shares for ballooning.", 0, 50000, default=1000),
    "smbios1": string("SMBIOS fields.", maxLength=512, format=SMBIOS), "sockets": integer("CPU sockets.", 1, default=1),
    "sshkeys": string("cloud-init: SSH keys, percent-encoded.", format="urlencoded"),
    "startdate": string("Clock at the start.", pattern=r"(now|\d{4}-\d{1,2}-\d{1,2}(T\d{1,2}:\d{1,2}:\d{1,2})?)"),
    "tablet": boolean("USB tablet.", default=1), "tdf": boolean("Time drift fix.", default=0),
    "tpmstate0": string("Disk of the TPM's state.", format=TPMSTATE),
    "unused[n]": string("A volume not used.", format=UNUSED),
    "usb[n]": string("A USB device.", format=USB), "vcpus": integer("CPUs plugged in.", 1, default=0),
    "vga": string("Display.", format=VGA), "virtio[n]": string("A VirtIO disk.", format=VIRTIO),
    "virtiofs[n]": string("A shared directory.", format=VIRTIOFS),
    "vmgenid": string("Generation id; 1 makes one.",
                      pattern="(?:[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}|[01])"),
    "vmstatestorage": string("Storage of saved memory.", format="pve-storage-id"),
}))

_LXC_PATH = string("", format="pve-lxc-mp-string")
_MOUNTOPTION = "(discard|lazytime|noatime|nodev|noexec|nosuid)"
ROOTFS = properties({
    ":volume*": _LXC_PATH, "size": _SIZE, "acl": boolean("ACLs."), "quota": boolean("Quotas."),
    "ro": boolean("Read-only."),
    "replicate": boolean("Part of replication.", default=1), "shared": boolean("Present on all nodes.", default=0),
    "mountoptions": string("Mount options.", pattern="%s(;%s)*" % (_MOUNTOPTION, _MOUNTOPTION))})
MOUNTPOINT = properties(dict({
    ":volume*": _LXC_PATH, "mp*": dict(_LXC_PATH, description="Path in the container."),
    "backup": boolean("Part of backups."), "keepattrs": boolean("Keep owner and mode.", default=0),
}, **{key: rule for key, rule in ROOTFS.items() if key != "volume"}))
LXC_NET = properties({
    "name*": string("Name in the container.", pattern=r"[-_.\w\d]+"),
    "bridge": string("Bridge.", pattern=r"[-_.\w\d]+"),
    "hwaddr": string("MAC address.", format="mac-addr"), "ip": string("IPv4.", format="pve-ipv4-config"),
    "gw": string("IPv4 gateway.", format="ipv4"), "ip6": string("IPv6.", format="pve-ipv6-config"),
    "gw6": string("IPv6 gateway.", format="ipv6"), "firewall": boolean("Firewall on this card."),
    "tag": integer("VLAN tag.", 1, 4094), "rate": number("Limit in MB/s."), "mtu": integer("MTU.", 64, 65535),
    "link_down": boolean("Cable pulled."), "trunks": string("VLANs let through.", pattern=r"\d+(?:;\d+)*"),
    "type": enum("Kind.", "veth"), "host-managed": boolean("The host sets the addresses.")})
FEATURES = properties({
    "nesting": boolean("", default=0), "keyctl": boolean("", default=0), "fuse": boolean("", default=0),
    "mknod": boolean("", default=0), "force_rw_sys": boolean("", default=0),
    "mount": string("", pattern="[a-zA-Z0-9_; ]+")})
DEV = properties({":path": string("", format="pve-lxc-dev-string"), "mode": string("", pattern="0[0-7]{3}"),
                  "uid": integer("", 0), "gid": integer("", 0), "deny-write": boolean("", default=0)})
LXC_UNUSED = properties({":volume*": string("The volume.", format="pve-volume-id")})

LXC = properties(dict(_BOTH, **{
    "arch": enum("Architecture.", "amd64 i386 arm64 armhf riscv32 riscv64", default="amd64"),
    "cmode": enum("Console mode.", "shell console tty", default="tty"), "console": boolean("A console.", default=1),
    "cores": integer("Cores; all without it.", 1, 8192),
    "cpulimit": number("Limit of CPU use, in CPUs.", 0, 8192, default=0),
    "cpuunits": integer("CPU weight.", 0, 500000), "debug": boolean("Verbose log at start.", default=0),
    "dev[n]": string("A device of the host.", format=DEV),
    "entrypoint": string("Program to run as init.", default="/sbin/init", pattern=r"[^\x00-\x08\x10-\x1F\x7F]+"),
    "env": string("Environment.", pattern=r"\w+=[^\x00-\x08\x10-\x1F\x7F]*(?:\0\w+=[^\x00-\x08\x10-\x1F\x7F]*)*"),
    "features": string("Features such as nesting.", format=FEATURES),
    "hostname": string("Host name.", format="dns-name", maxLength=255),
    "lock": enum("Lock of the guest; root only.",
                 "backup create destroyed disk fstrim migrate mounted rollback snapshot snapshot-delete"),
    "memory": integer("Memory in MiB.", 16, default=512), "mp[n]": string("A mount point.", format=MOUNTPOINT),
    "nameserver": string("DNS servers.", format="lxc-ip-with-ll-iface-list"),
    "net[n]": string("A network card.", format=LXC_NET),
    "ostype": enum("Kind of OS.",
                   "debian devuan ubuntu centos fedora opensuse archlinux alpine gentoo nixos unmanaged"),
    "rootfs": string("The root disk.", format=ROOTFS),
    "searchdomain": string("DNS search domains.", format="dns-name-list"),
    "swap": integer("Swap in MiB.", 0, default=512), "timezone": string("Time zone.", format="pve-ct-timezone"),
    "tty": integer("Number of consoles.", 0, 6, default=2),
    "unprivileged": boolean("Runs as an unprivileged user.", default=0),
    "unused[n]": string("A volume not used.", format=LXC_UNUSED),
}))

OPTIONS = {"qemu": QEMU, "lxc": LXC}

#: The options that only the user root@pam may set (qemu-server API2/Qemu.pm, pve-container LXC.pm).
ROOT_ONLY = {"qemu": ("args", "lock"), "lxc": ("lock", "hookscript")}

#: The privilege that changing an option takes (check_vm_modify_config_perm, check_ct_modify_config_perm).
_PRIVILEGES = {
    "qemu": {
        "VM.Config.Disk": "ide sata scsi virtio efidisk tpmstate unused vmstatestorage bootdisk",
        "VM.Config.CPU": "cpu cpulimit cpuunits cores sockets vcpus numa affinity",
        "VM.Config.Memory": "memory balloon shares hugepages allow-ksm", "VM.Config.Network": "net ipconfig",
        "VM.Config.HWType": "acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio rng bios hostpci usb "
                            "serial virtiofs",
        "VM.Config.Cloudinit": "cicustom cipassword citype ciupgrade ciuser nameserver searchdomain sshkeys",
    },
    "lxc": {
        "VM.Config.Disk": "rootfs mp unused", "VM.Config.CPU": "cores cpulimit cpuunits",
        "VM.Config.Memory": "memory swap", "VM.Config.Network": "net nameserver searchdomain hostname",
    },
}
_OF = {kind: {name: privilege for privilege, names in table.items() for name in names.split()}
       for kind, table in _PRIVILEGES.items()}


def privilege_of(kind, key):
    """The privilege (str) on /vms/{vmid} that changing option `key` of a "qemu" or "lxc" guest takes."""
    table = _OF[kind]
    return table.get(key) or table.get(key.rstrip("0123456789")) or "VM.Config.Options"
