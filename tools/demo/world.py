"""What the demo cluster starts with: nodes, storages, guests, backups, jobs and a little history; or many guests."""
import time

from tools.demo import hardware
from tools.demo.model import GIB, MIB, TIB, Guest, Node, Storage, Volume, size_bytes
from tools.demo.tasks import Tasks

DAY = 86400


def build(world, guests=None):
    """Fill `world`; with `guests` (int) that many generated ones on twenty nodes instead of the usual few."""
    world.tasks = Tasks(world)
    if guests:
        _build_big(world, guests)
    else:
        _nodes(world)
        _storages(world)
        _vms(world)
        _more_vms(world)
        _containers(world)
        _contents(world)
        _cluster(world)
        _history(world)
    for guest in world.guests.values():
        if guest.running:
            guest.pid = 2000 + world.count("guest pid") * 317 % 900000


def _nodes(world):
    t = world.t
    for node in (
        Node("pve1", 1, "10.0.0.11", cpus=32, memory=128 * GIB, booted=t - 41.3 * DAY),
        Node("pve2", 2, "10.0.0.12", cpus=16, memory=64 * GIB, booted=t - 41.1 * DAY,
             model="Intel(R) Xeon(R) Silver 4208 CPU @ 2.10GHz", root=68 * GIB),
        Node("pve3", 3, "10.0.0.13", cpus=8, memory=32 * GIB, booted=t - 6.2 * DAY,
             model="Intel(R) Core(TM) i7-9700 CPU @ 3.00GHz", root=56 * GIB),
    ):
        world.nodes[node.name] = node
        rows, changes = hardware.network(node.number)
        node.facts.update(network=rows, changes=changes, dns=hardware.DNS[node.name], disks=hardware.DISKS[node.name],
                          lvm=hardware.LVM[node.name], lvmthin=hardware.LVMTHIN[node.name],
                          zfs=hardware.ZFS.get(node.name))


def _storages(world):
    for storage in (
        Storage("local", "dir", "iso,vztmpl,backup,import,snippets",
                {"pve1": 94 * GIB, "pve2": 68 * GIB, "pve3": 56 * GIB},
                base={"pve1": 9 * GIB, "pve2": 7 * GIB, "pve3": 11 * GIB}, path="/var/lib/vz"),
        Storage("local-lvm", "lvmthin", "images,rootdir", {"pve1": 800 * GIB, "pve2": 340 * GIB, "pve3": 140 * GIB},
                thinpool="data", vgname="pve"),
        Storage("nas", "nfs", "iso,vztmpl,backup,images", 8 * TIB, shared=True, base=1430 * GIB, server="10.0.40.5",
                export="/export/pve", path="/mnt/pve/nas", **{"prune-backups": "keep-last=3,keep-weekly=4"}),
        Storage("pbs", "pbs", "backup", 12 * TIB, shared=True, base=2100 * GIB, server="10.0.40.6", datastore="main",
                username="pve@pbs!demo", fingerprint="5E:A1:0C:" + ":".join(["7B"] * 29),
                **{"prune-backups": "keep-all=1"}),
        Storage("san", "lvm", "images,rootdir", 2 * TIB, shared=True, vgname="sanvg", base=500 * GIB),
        Storage("tank", "zfspool", "images,rootdir", 7 * TIB, nodes=["pve2"], pool="tank", sparse=1, base=1800 * GIB),
        Storage("scratch", "dir", "images,rootdir,backup", {"pve3": 8 * GIB}, nodes=["pve3"], base=7800 * MIB,
                path="/mnt/scratch", **{"prune-backups": "keep-last=1"}),
        Storage("old-nas", "nfs", "backup", 4 * TIB, shared=True, active=False, server="10.0.40.9",
                export="/export/old", path="/mnt/pve/old-nas"),
        Storage("archive", "dir", "backup", 0, shared=True, enabled=False, path="/mnt/archive"),
    ):
        world.storages[storage.name] = storage


def _add(world, guest):
    """Register a guest and make the volumes its configuration and snapshots name."""
    world.guests[guest.vmid] = guest
    confs = [guest.conf] + [snapshot["conf"] for snapshot in guest.snapshots.values()]
    for conf in confs:
        for _, parts, volid in guest.disks(conf):
            storage = world.storage_of(volid)
            volumes = storage.at(guest.node)
            if volid in volumes:
                continue
            size = size_bytes(parts.get("size", "")) or 4 * MIB
            fmt = volid.rpartition(".")[2] if storage.files else "subvol" if ":subvol-" in volid else "raw"
            used = int(size * (0.15 + 0.07 * (len(volumes) % 8))) if storage.thin else size
            parent = volid.split("/")[0].partition(":")[2] if "/" in volid and "base-" in volid else None
            volumes[volid] = Volume(
                volid, "rootdir" if guest.kind == "lxc" else "images", size, format=fmt, vmid=guest.vmid, used=used,
                ctime=int(world.t - 200 * DAY + guest.vmid), parent=parent)
    return guest


def _vm(world, vmid, node, conf, **facts):
    ctime = int(world.t - 220 * DAY + vmid * 60)
    whole = {"boot": "order=scsi0;net0", "cores": 2, "cpu": "x86-64-v2-AES", "memory": "2048", "numa": 0, "sockets": 1,
             "meta": "creation-qemu=10.0.2,ctime=%d" % ctime, "ostype": "l26", "scsihw": "virtio-scsi-single",
             "smbios1": "uuid=%s" % world.uuid(), "vmgenid": world.uuid()}
    whole.update(conf)
    return _add(world, Guest(vmid, "qemu", node, whole, **facts))


def _nic(number, bridge="vmbr0", rest=",firewall=1"):
    return "virtio=BC:24:11:00:%02X:%02X,bridge=%s%s" % (number >> 8 & 255, number & 255, bridge, rest)


_DEBIAN = {"id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 13 (trixie)",
           "version": "13 (trixie)", "version-id": "13", "kernel-release": "6.12.48+deb13-amd64", "machine": "x86_64",
           "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)"}
_UBUNTU = {"id": "ubuntu", "name": "Ubuntu", "pretty-name": "Ubuntu 24.04.3 LTS",
           "version": "24.04.3 LTS (Noble Numbat)",
           "version-id": "24.04", "kernel-release": "6.8.0-85-generic", "machine": "x86_64",
           "kernel-version": "#85-Ubuntu SMP PREEMPT_DYNAMIC Thu Sep 18 15:26:59 UTC 2025"}
_WINDOWS = {"id": "mswindows", "name": "Microsoft Windows", "pretty-name": "Windows 11 Pro",
            "version": "Microsoft Windows 11",
            "version-id": "11", "kernel-release": "26100", "kernel-version": "10.0", "machine": "x86_64",
            "variant": "client", "variant-id": "client"}


def _snapshot(guest, name, ago, t, description="", parent=None, vmstate=None, **changes):
    conf = {key: value for key, value in guest.conf.items() if key not in ("lock",) and not key.startswith("unused")}
    conf.update(changes)
    guest.snapshots[name] = {"conf": conf, "time": int(t - ago), "description": description, "parent": parent,
                             "vmstate": vmstate}
    guest.parent = name


def _vms(world):
    t = world.t
    web = _vm(world, 100, "pve1", {
        "name": "web01", "agent": "1", "cores": 4, "memory": "4096", "onboot": 1, "tags": "prod;web",
        "net0": _nic(0x100), "net1": _nic(0x101, rest=",firewall=1,tag=20"),
        "scsi0": "local-lvm:vm-100-disk-0,discard=on,"
        "iothread=1,size=32G,ssd=1", "ide2": "none,media=cdrom",
        "description": "nginx and the shop front end\n\nOwner: web team\n"},
        running=True, since=t - 12.4 * DAY, cpu=0.17, mem=0.63, rate=480000.0, os=_DEBIAN,
        ips=[("eth0", ["10.0.0.100/24", "fe80::be24:11ff:fe00:100/64"]), ("eth1", ["10.0.20.100/24"])])
    _snapshot(web, "fresh-install", 90 * DAY, t, "after the installation\n", memory="2048")
    _snapshot(web, "before-upgrade", 9 * DAY, t, "Debian 12 to 13\n", "fresh-install",
              vmstate="local-lvm:vm-100-state-before-upgrade")
    world.storages["local-lvm"].at("pve1")["local-lvm:vm-100-state-before-upgrade"] = Volume(
        "local-lvm:vm-100-state-before-upgrade", "images", 8692 * MIB, vmid=100, ctime=int(t - 9 * DAY), used=3 * GIB)

    _vm(world, 101, "pve2", {
        "name": "db01", "agent": "enabled=1,fstrim_cloned_disks=1", "bios": "ovmf", "machine": "q35", "cores": 8,
        "memory": "16384", "balloon": 8192, "onboot": 1, "protection": 1, "tags": "db;prod", "startup": "order=1,up=30",
        "efidisk0": "local-lvm:vm-101-disk-0,efitype=4m,pre-enrolled-keys=1,size=4M",
        "scsi0": "local-lvm:vm-101-disk-1,discard=on,iothread=1,size=40G,ssd=1",
        "scsi1": "tank:vm-101-disk-0,backup=0,cache=writeback,iothread=1,size=500G", "net0": _nic(0x110),
        "net1": "virtio=BC:24:11:00:01:11,bridge=vmbr1,mtu=9000,queues=4", "description": "PostgreSQL 17, primary\n"},
        running=True, since=t - 40.8 * DAY, cpu=0.34, mem=0.86, rate=2100000.0, os=_DEBIAN,
        ips=[("ens18", ["10.0.0.101/24"]), ("ens19", ["192.168.50.101/24"])])

    win = _vm(world, 102, "pve2", {
        "name": "win11", "agent": "1", "bios": "ovmf", "machine": "pc-q35-10.0", "cores": 4, "memory": "8192",
        "boot": "order=scsi0;ide2", "ostype": "win11", "cpu": "host", "tags": "desktop",
        "efidisk0": "local-lvm:vm-102-disk-0,efitype=4m,pre-enrolled-keys=1,size=4M",
        "tpmstate0": "local-lvm:vm-102-disk-1,size=4M,version=v2.0",
        "scsi0": "local-lvm:vm-102-disk-2,discard=on,size=64G",
        "unused0": "local-lvm:vm-102-disk-3", "ide2": "nas:iso/virtio-win-0.1.285.iso,media=cdrom,size=771138K",
        "net0": "e1000e=BC:24:11:00:01:20,bridge=vmbr0,firewall=1", "vga": "virtio,memory=64"}, os=_WINDOWS)
    world.storages["local-lvm"].at("pve2")["local-lvm:vm-102-disk-3"].size = 20 * GIB
    _snapshot(win, "clean", 30 * DAY, t, "activated, updated\n")

    _vm(world, 103, "pve3", {
        "name": "mon01", "cores": 2, "memory": "3072", "scsi0": "local-lvm:vm-103-disk-0,size=20G", "agent": "1",
        "net0": _nic(0x130), "tags": "infra"}, running=True, paused=True, since=t - 3.3 * DAY, cpu=0.0, mem=0.7,
        rate=0.0, os=_UBUNTU, ips=[("ens18", ["10.0.0.103/24"])])


def _more_vms(world):
    t = world.t
    _vm(world, 104, "pve1", {
        "name": "mail", "cores": 2, "memory": "6144", "onboot": 1, "tags": "mail;prod", "agent": "1",
        "scsi0": "san:vm-104-disk-0,iothread=1,size=60G", "net0": _nic(0x140)}, running=True, since=t - 20.2 * DAY,
        cpu=0.06, mem=0.55, rate=90000.0, os=_UBUNTU, ips=[("ens18", ["10.0.0.104/24"])])

    ci = _vm(world, 105, "pve3", {
        "name": "ci01", "agent": "1", "cores": 2, "memory": "4096", "tags": "ci", "ciuser": "ci",
        "cipassword": "**********",
        "ide0": "local-lvm:vm-105-cloudinit,media=cdrom,size=4M", "ipconfig0": "ip=10.0.0.105/24,gw=10.0.0.1",
        "nameserver": "10.0.0.53", "searchdomain": "example.internal", "serial0": "socket", "vga": "serial0",
        "sshkeys": "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIDemoDemoDemoDemoDemoDemoDemoDemoDemoDemo%20admin%40example",
        "scsi0": "local-lvm:vm-105-disk-0,discard=on,size=24G", "net0": _nic(0x150)}, running=True, since=t - 6.1 * DAY,
        cpu=0.22, mem=0.41, rate=350000.0, os=_UBUNTU, ips=[("eth0", ["10.0.0.105/24"])])
    ci.pending = {"cores": 4, "memory": "8192", "net0": None}

    _vm(world, 106, "pve2", {
        "name": "build01", "lock": "backup", "cores": 4, "memory": "8192", "scsi0": "local-lvm:vm-106-disk-0,size=50G",
        "net0": _nic(0x160), "agent": "1"}, os=_DEBIAN)

    _vm(world, 107, "pve3", {
        "name": "lab", "memory": "1024", "cores": 1, "scsihw": "virtio-scsi-pci",
        "scsi0": "local-lvm:vm-107-disk-0,size=8G", "net0": _nic(0x170, "vmbr1", "")}, os=_DEBIAN)

    _vm(world, 108, "pve1", {
        "name": "legacy", "memory": "2048", "cores": 2, "sockets": 2, "cpu": "kvm64", "boot": "order=ide0;net0",
        "scsihw": "lsi",
        "ide0": "nas:108/vm-108-disk-0.qcow2,size=16G", "net0": "rtl8139=BC:24:11:00:01:80,bridge=vmbr0",
        "ostype": "w2k8"}, running=True, since=t - 41.0 * DAY, cpu=0.02, mem=0.72, rate=4000.0, deaf=True)

    _vm(world, 9000, "pve1", {
        "name": "debian-13-template", "template": 1, "agent": "1", "memory": "2048", "ciuser": "admin",
        "tags": "template",
        "scsi0": "local-lvm:base-9000-disk-0,discard=on,size=8G", "ide2": "local-lvm:vm-9000-cloudinit,media=cdrom",
        "ipconfig0": "ip=dhcp", "net0": _nic(0x190), "serial0": "socket", "vga": "serial0"}, os=_DEBIAN)


def _ct(world, vmid, node, conf, **facts):
    whole = {"arch": "amd64", "memory": 512, "ostype": "debian", "swap": 512, "unprivileged": 1,
             "features": "nesting=1"}
    whole.update(conf)
    facts.setdefault("filled", size_bytes(whole["rootfs"].rpartition("size=")[2]) * 3 // 10)
    return _add(world, Guest(vmid, "lxc", node, whole, **facts))


def _veth(number, name="eth0", bridge="vmbr0", rest="ip=dhcp", gw=""):
    return "name=%s,bridge=%s,firewall=1,%shwaddr=BC:24:11:00:02:%02X,%s,type=veth" % (name, bridge, gw, number, rest)


def _containers(world):
    t = world.t
    _ct(world, 200, "pve1", {
        "hostname": "dns", "cores": 1, "memory": 512, "onboot": 1, "tags": "infra;prod", "startup": "order=0",
        "net0": _veth(0x00, gw="gw=10.0.0.1,", rest="ip=10.0.0.53/24"), "rootfs": "local-lvm:vm-200-disk-0,size=4G"},
        running=True, since=t - 41.2 * DAY, cpu=0.01, mem=0.24, rate=12000.0, ips=[("eth0", ["10.0.0.53/24"])])
    _ct(world, 201, "pve2", {
        "hostname": "proxy", "cores": 2, "memory": 1024, "onboot": 1, "tags": "prod;web", "nameserver": "10.0.0.53",
        "net0": _veth(0x10, gw="gw=10.0.0.1,", rest="ip=10.0.0.81/24"),
        "net1": _veth(0x11, "eth1", "vmbr1", "ip=192.168.50.81/24,tag=30"),
        "rootfs": "local-lvm:vm-201-disk-0,size=8G", "mp0": "local-lvm:vm-201-disk-1,mp=/var/cache,backup=1,size=20G",
        "description": "haproxy\n"}, running=True, since=t - 18.9 * DAY, cpu=0.05, mem=0.38, rate=900000.0,
        ips=[("eth0", ["10.0.0.81/24"]), ("eth1", ["192.168.50.81/24"])])
    files = _ct(world, 202, "pve2", {
        "hostname": "files", "cores": 2, "memory": 2048, "onboot": 1, "ostype": "ubuntu",
        "net0": _veth(0x20, gw="gw=10.0.0.1,", rest="ip=10.0.0.82/24"), "rootfs": "tank:subvol-202-disk-0,size=16G",
        "mp0": "tank:subvol-202-disk-1,mp=/srv,size=1T"}, running=True, since=t - 40.9 * DAY, cpu=0.03, mem=0.52,
        rate=250000.0, ips=[("eth0", ["10.0.0.82/24"])])
    _snapshot(files, "weekly-1", 14 * DAY, t, "first\n")
    _snapshot(files, "weekly-2", 7 * DAY, t, "second\n", "weekly-1")
    dev = _ct(world, 203, "pve3", {
        "hostname": "dev", "memory": 2048, "cores": 2, "ostype": "alpine", "net0": _veth(0x30),
        "rootfs": "local-lvm:vm-203-disk-0,size=8G", "tags": "dev"})
    _snapshot(dev, "clean", 21 * DAY, t, "nothing installed\n")
    _ct(world, 204, "pve1", {
        "hostname": "git", "cores": 2, "memory": 4096, "onboot": 1, "tags": "prod", "protection": 1,
        "net0": _veth(0x40, gw="gw=10.0.0.1,", rest="ip=10.0.0.84/24"), "rootfs": "san:vm-204-disk-0,size=30G"},
        running=True, since=t - 5.5 * DAY, cpu=0.04, mem=0.61, rate=64000.0, ips=[("eth0", ["10.0.0.84/24"])])
    _ct(world, 205, "pve2", {
        "hostname": "media", "cores": 4, "memory": 4096, "unprivileged": 0, "net0": _veth(0x50),
        "rootfs": "local-lvm:vm-205-disk-0,size=12G", "mp0": "/tank/media,mp=/media", "features": "nesting=1"})
    _ct(world, 9100, "pve1", {
        "hostname": "debian-13-ct", "template": 1, "net0": _veth(0x90), "rootfs": "local-lvm:base-9100-disk-0,size=4G",
        "tags": "template"})


def stamp(epoch, form="%Y_%m_%d-%H_%M_%S"):
    """`epoch` as the UTC date Proxmox puts into an archive's name."""
    return time.strftime(form, time.gmtime(epoch))


def backup_volume(world, storage, guest, epoch, size, compress="zst", **facts):
    """Put a backup of `guest` made at `epoch` on `storage` (on the guest's node if local); returns the Volume."""
    epoch = int(epoch)
    if storage.type == "pbs":
        volid = "%s:backup/%s/%d/%s" % (storage.name, "vm" if guest.kind == "qemu" else "ct", guest.vmid,
                                        stamp(epoch, "%Y-%m-%dT%H:%M:%SZ"))
        fmt = "pbs-vm" if guest.kind == "qemu" else "pbs-ct"
    else:
        fmt = "vma" if guest.kind == "qemu" else "tar"
        fmt += "." + compress if compress else ""
        volid = "%s:backup/vzdump-%s-%d-%s.%s" % (storage.name, guest.kind, guest.vmid, stamp(epoch), fmt)
    facts.setdefault("config", dict(guest.conf))
    facts["config"].pop("lock", None)
    volume = Volume(volid, "backup", size, format=fmt, vmid=guest.vmid, ctime=epoch, subtype=guest.kind, **facts)
    storage.at(guest.node)[volid] = volume
    return volume


def _contents(world):
    t = world.t
    for volid, node, size, ago in (
            ("local:iso/debian-13.1.0-amd64-netinst.iso", "pve1", 821035008, 60),
            ("local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst", "pve1", 129710398, 55),
            ("local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "pve1", 3234408, 80),
            ("local:snippets/vendor.yaml", "pve1", 412, 100),
            ("local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst", "pve2", 141589318, 120),
            ("local:iso/alpine-virt-3.22.2-x86_64.iso", "pve3", 68157440, 30),
            ("nas:iso/ubuntu-24.04.3-live-server-amd64.iso", "pve1", 3303444480, 70),
            ("nas:iso/virtio-win-0.1.285.iso", "pve1", 789645312, 65),
            ("nas:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst", "pve1", 126515062, 58)):
        world.storage_of(volid).put(node, volid, size, t - ago * DAY)
    nas, pbs, local = (world.storages[name] for name in ("nas", "pbs", "local"))
    for days in (3, 2, 1):
        epoch = t - days * DAY - 3600 * 4
        backup_volume(world, nas, world.guests[100], epoch, 4120000000 + days * 91000000, notes="web01")
        backup_volume(world, nas, world.guests[201], epoch + 260, 1220000000 + days * 1200000, notes="proxy")
        for vmid, size in ((101, 43 * GIB), (104, 60 * GIB), (200, 1900 * MIB)):
            backup_volume(world, pbs, world.guests[vmid], epoch + vmid, size, notes=world.guests[vmid].name,
                          verification={"state": "failed" if (days, vmid) == (1, 104) else "ok",
                                        "upid": "UPID:pbs:0000ABCD:00FF%04X:%08X:verificationjob:main:root@pam:"
                                        % (days, int(epoch) + 9000)},
                          encrypted="aa:4f:10:d3:6b:71:0c:25" if vmid == 101 else None)
    backup_volume(world, nas, world.guests[100], t - 62 * DAY, 3980000000,
                  notes="before the move to nginx\nkeep until 2027", protected=True)
    backup_volume(world, local, world.guests[203], t - 20 * DAY, 212000000, notes="dev, clean")
    backup_volume(world, local, world.guests[107], t - 33 * DAY, 640000000, compress="gz")


def _cluster(world):
    t = world.t
    world.pools.update(production={"comment": "what customers see", "vms": [100, 101, 104, 201], "storages": []},
                       lab={"comment": "", "vms": [107, 203], "storages": ["scratch"]})
    world.ha["resources"] = {
        "vm:104": {"sid": "vm:104", "type": "vm", "state": "started", "max_restart": 1, "max_relocate": 1,
                   "failback": 1, "comment": "mail must run"}}
    world.ha["rules"] = {"keep-mail": {"rule": "keep-mail", "type": "node-affinity", "nodes": "pve1:2,pve2:1",
                                       "strict": 0, "resources": "vm:104", "order": 1}}
    world.backup_jobs["backup-nightly"] = {
        "id": "backup-nightly", "type": "vzdump", "enabled": 1, "schedule": "21:00", "storage": "nas",
        "mode": "snapshot",
        "compress": "zstd", "vmid": "100,201", "prune-backups": {"keep-last": "3", "keep-weekly": "4"},
        "notes-template": "{{guestname}}", "notification-mode": "notification-system", "comment": "web and proxy"}
    world.backup_jobs["backup-pool"] = {
        "id": "backup-pool", "type": "vzdump", "enabled": 1, "schedule": "mon..fri 02:30", "storage": "pbs",
        "mode": "snapshot", "vmid": "101,104,200", "notes-template": "{{guestname}}", "mailnotification": "failure",
        "mailto": "root@example.com"}
    world.backup_jobs["backup-old"] = {
        "id": "backup-old", "type": "vzdump", "enabled": 0, "schedule": "sun 04:00", "storage": "old-nas",
        "mode": "stop", "all": 1, "exclude": "9000,9100"}
    for ident, target, more in (
            ("202-0", "pve1", {"schedule": "*/15", "last_sync": t - 640, "last_try": t - 640, "duration": 4.81,
                               "fail_count": 0}),
            ("101-0", "pve3", {"schedule": "*/30", "last_sync": t - 3 * DAY, "last_try": t - 1500, "duration": 2.2,
                               "fail_count": 6, "error": "command 'zfs recv' failed: exit code 1"})):
        world.replication[ident] = dict({"id": ident, "guest": int(ident[:3]), "jobnum": 0, "type": "local",
                                         "source": "pve2", "target": target, "disable": 0}, **more)
    world.firewall.update(
        cluster={"options": {"enable": 1, "policy_in": "DROP", "policy_out": "ACCEPT"}, "rules": [
            {"type": "in", "action": "ACCEPT", "enable": 1, "source": "10.0.0.0/24", "proto": "tcp", "dport": "8006",
             "comment": "GUI from the office"},
            {"type": "in", "action": "ACCEPT", "enable": 1, "macro": "SSH", "source": "10.0.0.0/24"},
            {"type": "in", "action": "DROP", "enable": 0, "log": "info", "comment": "the rest, switched off"}],
            "groups": ["webserver"], "ipset": ["blocked"]},
        pve1={"options": {"enable": 1, "log_level_in": "nolog"}, "rules": [
            {"type": "in", "action": "ACCEPT", "enable": 1, "macro": "Ping"}]})
    world.firewall[100] = {"options": {"enable": 1, "policy_in": "DROP", "dhcp": 1}, "rules": [
        {"type": "group", "action": "webserver", "enable": 1, "iface": "net0"},
        {"type": "in", "action": "ACCEPT", "enable": 1, "macro": "SSH", "source": "+blocked",
         "comment": "see the ticket"}]}
    world.sdn.update(
        zones={"localnetwork": {"zone": "localnetwork", "type": "localnetwork"},
               "office": {"zone": "office", "type": "vlan", "bridge": "vmbr0", "ipam": "pve", "nodes": "pve1,pve2"}},
        vnets={"vnet10": {"vnet": "vnet10", "type": "vnet", "zone": "office", "tag": 10, "alias": "printers"}})
    world.access.update(
        users={"root@pam": {"enable": 1, "expire": 0, "email": "root@example.com", "tokens": {
                   "demo": {"privsep": 0, "expire": 0, "comment": "the demo's token"}}},
               "alice@pve": {"enable": 1, "expire": 0, "firstname": "Alice", "lastname": "Admin", "groups": ["admins"],
                             "tokens": {"ro": {"privsep": 1, "expire": 0, "comment": "read only"}}},
               "bob@pve": {"enable": 0, "expire": 0, "comment": "left in May"}},
        groups={"admins": {"comment": "System administrators"}}, roles={"Helpdesk": ["VM.Audit", "VM.PowerMgmt"]},
        acl=[{"path": "/", "type": "group", "ugid": "admins", "roleid": "PVEAdmin", "propagate": 1},
             {"path": "/", "type": "token", "ugid": "alice@pve!ro", "roleid": "PVEAuditor", "propagate": 1}])


_BACKUP_LOG = """INFO: starting new backup job: vzdump 100 201 --storage nas --mode snapshot --compress zstd
INFO: Starting Backup of VM 100 (qemu)
INFO: Backup started at {date} 21:00:02
INFO: creating vzdump archive '/mnt/pve/nas/dump/vzdump-qemu-100-x.vma.zst'
INFO: 100% (32.0 GiB of 32.0 GiB) in 3m 51s, read: 141.8 MiB/s, write: 17.1 MiB/s
INFO: transferred 32.00 GiB in 231 seconds (141.9 MiB/s)
INFO: archive file size: 3.92GB
INFO: Finished Backup of VM 100 (00:03:58)
INFO: Backup finished at {date} 21:04:00"""


def _history(world):
    past, t = world.tasks.past, world.t
    date = stamp(t - DAY, "%Y-%m-%d")
    past("pve3", "aptupdate", "", "root@pam", 6 * DAY, 9,
         log=["starting apt-get update", "Hit:1 http://deb.debian.org trixie"])
    past("pve3", "startall", "", "root@pam", 6.2 * DAY - 40, 61, log=["Starting VM 103", "Starting VM 105"])
    past("pve2", "qmigrate", "104", "alice@pve", 20.3 * DAY, 112,
         log=["migration finished successfully (duration 00:01:52)"])
    past("pve1", "qmsnapshot", "100", "root@pam", 9 * DAY, 14, log=[
        "saving VM state and RAM using storage 'local-lvm'", "snapshotting 'drive-scsi0' (local-lvm:vm-100-disk-0)"])
    past("pve1", "vzcreate", "204", "root@pam", 5.6 * DAY, 8, "WARNINGS: 1",
         log=["extracting archive '/var/lib/vz/template/cache/debian-13-standard_13.1-2_amd64.tar.zst'",
              "WARN: Systemd 257 detected. You may need to enable nesting."])
    past("pve3", "qmstart", "107", "bob@pve", 4.1 * DAY, 3,
         "start failed: QEMU exited with code 1", log=[
             "bridge 'vmbr9' does not exist",
             "kvm: network script /usr/libexec/qemu-server/pve-bridge failed with status 512"])
    for days in (3, 2, 1):
        past("pve1", "vzdump", "", "root@pam", days * DAY + 3 * 3600, 238,
             log=_BACKUP_LOG.format(date=date).split("\n"))
    past("pve2", "vzdump", "106", "root@pam", 1.2 * DAY, 61, "unexpected status", log=[
        "INFO: starting new backup job: vzdump 106 --storage nas --mode snapshot",
        "INFO: Starting Backup of VM 106 (qemu)",
        "INFO:   7% (3.5 GiB of 50.0 GiB) in 12s, read: 298.7 MiB/s, write: 91.2 MiB/s"])
    past("pve2", "vzdump", "205", "root@pam", 0.9 * DAY, 12, "job errors", log=[
        "INFO: starting new backup job: vzdump 205 --storage old-nas --mode stop", "ERROR: Backup of VM 205 failed - "
        "storage 'old-nas' is not online"])
    past("pve1", "qmreboot", "104", "alice@pve!ops", 0.4 * DAY, 34)
    past("pve1", "imgdel", "nas", "root@pam!demo", 3600 * 2, 1,
         log=["Removed volume 'nas:backup/vzdump-qemu-107-old.vma.zst'"])
    for ago, node, tag, text, pri in (
        (6.2 * DAY, "pve3", "pmxcfs", "[status] notice: node has quorum", 6),
        (4.1 * DAY, "pve3", "pvedaemon",
         "<bob@pve> end task UPID:pve3:0000BEEF:00001000:00000000:qmstart:107:bob@pve: start "
         "failed: QEMU exited with code 1", 3),
        (1.0 * DAY, "pve2", "pvescheduler",
         "101-0: got unexpected replication job error - command 'zfs recv' failed: exit code 1", 3),
        (0.5 * DAY, "pve2", "zed",
         "eid=411 class=statechange pool='tank' vdev=ata-WDC_WD40EFRX-68N32N0_WD-WCC7K6YHC93CC "
         "vdev_state=FAULTED", 4),
        (0.1 * DAY, "pve1", "pvedaemon", "<root@pam!demo> successful auth for user 'root@pam'", 6),
    ):
        world.cluster_log.append({"uid": world.count("log"), "time": int(t - ago), "node": node, "tag": tag,
                                  "pid": 1200, "pri": pri, "user": "root@pam", "msg": text})


NODES = 20
_ROLES = ("web", "db", "app", "cache", "mail", "dns", "ci", "git", "mon", "proxy")
_TAGS = ("prod", "test", "dev", "prod;web", "db;prod", "")


def _build_big(world, count):
    """Fill `world` with NODES nodes and `count` guests: three VMs to one container, nine of ten running."""
    t = world.t
    for number in range(1, NODES + 1):
        node = Node("node%02d" % number, number, "10.1.0.%d" % number, cpus=128, memory=2 * TIB,
                    booted=t - 86400 * (9 + number))
        rows, changes = hardware.network(1)
        node.facts.update(network=rows, changes=changes, dns=hardware.DNS["pve1"], disks=hardware.DISKS["pve1"],
                          lvm=hardware.LVM["pve1"], lvmthin=hardware.LVMTHIN["pve1"], zfs=None)
        world.nodes[node.name] = node
    names = list(world.nodes)
    local = Storage("local", "dir", "iso,vztmpl,backup,import,snippets", 94 * GIB, base=9 * GIB, path="/var/lib/vz")
    thin = Storage("local-lvm", "lvmthin", "images,rootdir", 60 * TIB, thinpool="data", vgname="pve")
    nas = Storage("nas", "nfs", "backup,iso,vztmpl", 900 * TIB, shared=True, base=40 * TIB, server="10.1.0.250",
                  path="/mnt/pve/nas", export="/export", **{"prune-backups": "keep-last=3"})
    for storage in (local, thin, nas):
        world.storages[storage.name] = storage
    for number in range(count):
        vmid, node, ct = 100 + number, names[number % NODES], number % 4 == 3
        size, used = 8 << number % 4, (2 + number % 5) * GIB
        volid, name = "local-lvm:vm-%d-disk-0" % vmid, "%s%04d" % (_ROLES[number % 10], number)
        mac = "BC:24:11:%02X:%02X:%02X" % (number >> 16 & 255, number >> 8 & 255, number & 255)
        conf = {"tags": _TAGS[number % 6], "onboot": 1, "cores": 2}
        conf.update({"hostname": name, "memory": 1024, "swap": 512, "ostype": "debian", "arch": "amd64",
                     "unprivileged": 1, "rootfs": "%s,size=%dG" % (volid, size),
                     "net0": "name=eth0,bridge=vmbr0,hwaddr=%s,ip=dhcp,type=veth" % mac} if ct else {
                    "name": name, "memory": "2048", "sockets": 1, "boot": "order=scsi0;net0", "ostype": "l26",
                    "scsihw": "virtio-scsi-single", "agent": "1", "scsi0": "%s,size=%dG" % (volid, size),
                    "net0": "virtio=%s,bridge=vmbr0" % mac})
        world.guests[vmid] = Guest(
            vmid, "lxc" if ct else "qemu", node, conf, running=number % 10 != 9, since=t - 600 - number * 37 % 4000000,
            cpu=0.01 + number % 17 / 60.0, mem=0.2 + number % 13 / 20.0, rate=1000.0 * (number % 29), filled=used)
        thin.at(node)[volid] = Volume(volid, "rootdir" if ct else "images", size * GIB, vmid=vmid,
                                      ctime=int(t) - 864000, used=used)
    world.sdn.update(zones={"localnetwork": {"zone": "localnetwork", "type": "localnetwork"}}, vnets={})
    world.access.update(users={"root@pam": {"enable": 1, "expire": 0, "tokens": {"demo": {"privsep": 0, "expire": 0}}}},
                        groups={}, roles={}, acl=[])
    world.ha.update(resources={}, rules={})
    world.firewall.update(cluster={"options": {}, "rules": [], "groups": [], "ipset": []})
