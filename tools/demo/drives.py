"""Disks and network cards as property strings: printing them, making new volumes, what becomes of the old ones."""
import re

from tools.demo import options
from tools.demo.model import (GIB, KIB, MIB, Refusal, bad, die, disk_rule, is_cdrom, is_cloudinit, size_bytes,
                              size_text, verify, volume_of)
from tools.demo.rules import parse_properties
from tools.demo.wire import forbid

NEW_DISK = re.compile(r"(?:([^/:\s]+):)?(\d+(?:\.\d+)?)\Z")
CLOUDINIT = re.compile(r"([^/:\s]+):cloudinit\Z")


def print_properties(values, rules):
    """A property string in Proxmox's order: the default key bare, the required ones, the rest by name."""
    default = next((key for key, rule in rules.items() if rule.get("default_key")), None)
    keys = sorted((key for key in values if key != default),
                  key=lambda key: (bool(rules.get(key, {}).get("optional")), key))
    parts = [str(values[default])] if default in values else []
    return ",".join(parts + ["%s=%s" % (key, values[key]) for key in keys])


def parse_net(text):
    """Properties of a VM's network card (model, macaddr, bridge ...)."""
    return parse_properties(options.NET, str(text))


def print_net(values):
    """The other way: virtio=MAC,bridge=..."""
    rest = {key: value for key, value in values.items() if key not in ("model", "macaddr")}
    return ",".join(["%s=%s" % (values["model"], values["macaddr"].upper())]
                    + ["%s=%s" % pair for pair in sorted(rest.items())])


def net_for(world, kind, text):
    """A network card's value with what Proxmox adds: a MAC address, type=veth."""
    if kind == "qemu":
        values = parse_net(text)
        if not values.get("macaddr"):
            values["macaddr"] = world.mac()
        return print_net(values)
    values = parse_properties(options.LXC_NET, str(text))
    if not values.get("hwaddr"):
        values["hwaddr"] = world.mac()
    values["hwaddr"] = values["hwaddr"].upper()
    values.setdefault("type", "veth")
    return print_properties(values, options.LXC_NET)


def check_bridge(call, kind, text):
    """403 unless SDN.Use is held on the bridge or vnet (and VLAN) of a network card."""
    values = parse_net(text) if kind == "qemu" else parse_properties(options.LXC_NET, str(text))
    bridge = values.get("bridge")
    if not bridge:
        return
    vnet = call.world.sdn.get("vnets", {}).get(bridge)
    path = "/sdn/zones/%s/%s" % (vnet["zone"] if vnet else "localnetwork", bridge)
    if values.get("tag"):
        path += "/" + values["tag"]
    for trunk in filter(None, values.get("trunks", "").split(";")):
        call.need("%s/%s" % (path, trunk), "SDN.Use")
    call.need(path, "SDN.Use")


def bridge_exists(world, node, bridge):
    """Whether a bridge is there: in force on the node, or a vnet of a zone on it."""
    if any(row["iface"] == bridge and row["type"] in ("bridge", "OVSBridge") and row.get("exists")
           for row in world.nodes[node].facts["network"]):
        return True
    vnet = world.sdn.get("vnets", {}).get(bridge)
    return bool(vnet) and node in world.sdn["zones"][vnet["zone"]].get("nodes", node).split(",")


def parse_volname(world, volid):
    """(content, owner vmid or None) of a volume's name; dies when its storage could have no such name."""
    name, _, leaf = volid.partition(":")
    storage = world.known_storage(name)
    prefix = leaf.partition("/")[0]
    if storage.files or storage.type == "pbs":
        if prefix in ("iso", "vztmpl", "backup", "snippets", "import"):
            return prefix, None
        match = re.match(r"(?:\d+/[^/]+/)?(\d+)/((?:vm|base|subvol|basevol)-(\d+)-[^/]+)\Z", leaf)
        if not match:
            die("unable to parse directory volume name '%s'" % leaf)
        return "images", int(match.group(1))
    match = re.match(r"(?:(?:base|basevol)-\d+-[^/]+/)?(?:vm|base|subvol|basevol)-(\d+)-\S+\Z", leaf)
    if not match:
        die("unable to parse %s volume name '%s'" % ({"zfspool": "zfs", "rbd": "rbd"}.get(storage.type, "lvm"), leaf))
    return "images", int(match.group(1))


def needed_volume(world, volid, node):
    """The Volume, or die as Proxmox does."""
    volume = world.volume(volid, node)
    if volume is None:
        storage = world.online_storage(volid.partition(":")[0], node)
        die("no such logical volume %s/%s" % (storage.conf.get("vgname", "pve"), volid.partition(":")[2])
            if storage.type in ("lvm", "lvmthin") else "volume '%s' does not exist" % volid)
    return volume


def check_volume(call, storage, volume):
    """403 unless a Volume, or one that is not there (None), may be read (PVE::Storage check_volume_access)."""
    path = "/storage/" + storage.name
    if call.may(path, "Datastore.Allocate"):
        return
    content = volume.content if volume is not None else ""
    if content == "backup":
        call.need(path, "Datastore.AllocateSpace")
        call.need("/vms/%d" % (volume.vmid or 0), "VM.Backup")
    elif content in ("images", "rootdir"):
        call.need(path, "Datastore.Audit")
        call.need("/vms/%d" % (volume.vmid or 0), "VM.Config.Disk")
    else:
        call.need_any(path, "Datastore.AllocateSpace", "Datastore.Audit")


def check_images(storage):
    """400 unless VMs' disks may be on it."""
    if "images" not in storage.content:
        bad(storage="storage '%s' does not support vm images" % storage.name)


def check_drive_access(call, key, text, vmid, default_storage=None):
    """The rights and content types of a VM drive that is to be set (qemu-server's check_storage_access)."""
    values = parse_properties(disk_rule("qemu", key), str(text))
    volid = values["file"]
    cdrom = is_cdrom(values)
    if volid == "none":
        return
    if volid == "cdrom":
        call.need("/", "Sys.Console")
        return
    if volid.startswith("/"):
        forbid("user != root@pam")
    match = CLOUDINIT.match(volid) or (not cdrom and NEW_DISK.match(volid))
    if match:
        name = match.group(1) or default_storage
        if not name:
            die("no storage ID specified (and no default storage)")
        call.need("/storage/" + name, "Datastore.AllocateSpace")
        check_images(call.world.known_storage(name))
        return
    content, owner = parse_volname(call.world, volid)
    path = "/storage/" + volid.partition(":")[0]
    if content == "iso":
        call.need_any(path, "Datastore.AllocateSpace", "Datastore.Audit")
    elif owner != vmid and not call.may(path, "Datastore.Allocate"):
        call.need("/vms/%s" % owner, "VM.Config.Disk")
        call.need(path, "Datastore.Audit")
    if content not in ("images", "iso"):
        verify({key: "content type needs to be 'images' or 'iso'"})


def make_drive(world, guest, key, text, say, made, default_storage=None):
    """The value to store for a VM drive: "storage:GiB" makes a volume, listed in `made`; another one must be there."""
    rules = disk_rule("qemu", key)
    values = parse_properties(rules, str(text))
    volid = values["file"]
    values.pop("volume", None)
    if volid in ("none", "cdrom"):
        values.pop("size", None)
        return print_properties(values, rules)
    cloudinit, new = CLOUDINIT.match(volid), NEW_DISK.match(volid)
    if not cloudinit and (not new or is_cdrom(values)):
        values["size"] = size_text(needed_volume(world, volid, guest.node).size)
        return print_properties(values, rules)
    storage = world.online_storage((cloudinit or new).group(1) or default_storage or "", guest.node)
    fmt, source = values.pop("format", None), values.pop("import-from", None)
    if cloudinit:
        volume = world.allocate(storage, guest.node, guest.vmid, 4 * MIB, fmt or ("qcow2" if storage.files else None),
                                name="vm-%d-cloudinit" % guest.vmid, used=4 * MIB)
        values.update(file=volume.volid, media="cdrom")
    else:
        size = int(float(new.group(2)) * GIB) // KIB * KIB
        if source is not None:
            size = needed_volume(world, source, guest.node).size
        if key == "efidisk0":
            size = 4 * MIB if values.get("efitype") == "4m" else 128 * KIB if storage.files else 4 * MIB
        elif key == "tpmstate0":
            size, fmt = 4 * MIB, "raw"
        if size <= 0:
            die("unable to create image: size must be greater than zero")
        volume = world.allocate(storage, guest.node, guest.vmid, size, fmt)
        values.update(file=volume.volid, size=size_text(volume.size))
    made.append(volume.volid)
    say("%s: successfully created disk '%s'" % (key, print_properties(values, rules)))
    return print_properties(values, rules)


def owns(world, guest, volid):
    """Whether a volume is one of this guest's own."""
    volume = world.volume(volid, guest.node)
    return volume is not None and volume.vmid == guest.vmid


def add_unused(world, guest, volid):
    """Keep a volume that is no longer attached as unusedN."""
    if not owns(world, guest, volid) or volid in [name for _, _, name in guest.disks(unused=True)]:
        return None
    for number in range(256):
        key = "unused%d" % number
        if key not in guest.conf:
            guest.conf[key] = volid
            return key
    die("Too many unused volumes")


def detach(world, guest, key, text, force=False):
    """A drive leaves a VM's configuration: destroyed with `force`, else kept as unusedN; CDs are forgotten."""
    values = parse_properties(disk_rule(guest.kind, key), str(text))
    volid = volume_of(values)
    if is_cloudinit(values):
        world.free(volid, guest.node)
    elif is_cdrom(values) or ":" not in volid:
        return
    elif force:
        destroy(world, guest, volid)
    else:
        add_unused(world, guest, volid)


def check_unused_base(world, volid, node):
    """die while a linked clone needs a volume."""
    name = volid.partition(":")[2]
    if any(other.facts.get("parent") == name for other in world.storage_of(volid).at(node).values()):
        die("base volume '%s' is still in use by linked cloned" % name)


def snapshots_of(guest, volid):
    """The names of the guest's snapshots that have this volume."""
    return [name for name, snapshot in guest.snapshots.items()
            if any(other == volid for _, _, other in guest.disks(snapshot["conf"]))]


def in_snapshot(guest, volid):
    """Whether a snapshot of the guest has this volume."""
    return bool(snapshots_of(guest, volid))


def destroy(world, guest, volid):
    """Remove a volume of a guest; dies while a snapshot needs it."""
    if in_snapshot(guest, volid):
        die("unable to delete '%s' - volume is still in use (snapshot?)" % volid)
    if owns(world, guest, volid):
        world.free(volid, guest.node)


def mount_type(volume):
    """"volume", "device" or "bind": what a mount point's source is."""
    return "device" if volume.startswith("/dev/") else "bind" if volume.startswith("/") else "volume"


def check_mount_access(call, key, text, vmid):
    """The rights for a container's rootfs or mount point that is to be set."""
    values = parse_properties(disk_rule("lxc", key), str(text))
    volid = values["volume"]
    kind = mount_type(volid)
    if kind != "volume":
        forbid("mount point type %s is only allowed for root@pam" % kind)
    match = NEW_DISK.match(volid)
    name = match.group(1) if match else volid.partition(":")[0]
    if match:
        if not name:
            die("no storage ID specified (and no default storage)")
        call.need("/storage/" + name, "Datastore.AllocateSpace")
        check_rootdir(call.world, name)
    else:
        _, owner = parse_volname(call.world, volid)
        if owner != vmid and not call.may("/storage/" + name, "Datastore.Allocate"):
            call.need("/vms/%s" % owner, "VM.Config.Disk")


def check_rootdir(world, name):
    """dies unless the storage takes containers' volumes."""
    if "rootdir" not in world.known_storage(name).content:
        die("storage '%s' does not allow content type 'rootdir' (Container)" % name)


def make_mount(world, guest, key, text, made):
    """The value to store for a container's rootfs or mount point: "storage:GiB" makes a volume."""
    rules = disk_rule("lxc", key)
    values = parse_properties(rules, str(text))
    match = NEW_DISK.match(values["volume"])
    if match:
        storage = world.online_storage(match.group(1), guest.node)
        check_rootdir(world, storage.name)
        size = int(float(match.group(2)) * GIB) // KIB * KIB
        if size <= 0 and not storage.files:
            die("unable to create image: size must be greater than zero")
        fmt = "subvol" if storage.type == "zfspool" or (storage.files and not size) else "raw"
        volume = world.allocate(storage, guest.node, guest.vmid, size, fmt, kind="lxc")
        made.append(volume.volid)
        values.update(volume=volume.volid, size=size_text(volume.size) if volume.size else "0T")
    elif mount_type(values["volume"]) == "volume":
        try:
            values["size"] = size_text(needed_volume(world, values["volume"], guest.node).size)
        except Refusal as error:
            die("cannot determine size of volume '%s' - %s" % (values["volume"], error.text))
    return print_properties(values, rules)


def size_of_disk(world, guest, volid, parts):
    """Bytes of a disk: of the volume, or as the configuration says."""
    volume = world.volume(volid, guest.node)
    return volume.size if volume is not None else size_bytes(parts.get("size", "0"))


def can_snapshot(world, volid, node):
    """Whether the storage of a volume makes snapshots of it."""
    volume = world.volume(volid, node)
    if volume is None:
        return False
    storage = world.storage_of(volid)
    return volume.format == "qcow2" if storage.files else storage.type in ("lvmthin", "zfspool", "rbd")
