"""Disks of a guest: grow, move, detach; and what its storages can do."""
from tools.demo import drives
from tools.demo.model import (GIB, MIB, Refusal, Storage, die, disk_rule, is_cdrom, is_cloudinit, size_bytes, size_text,
                              verify, volume_of)
from tools.demo.rules import MISSING, boolean, enum, integer, number, parse_properties, string
from tools.demo.tasks import Task
from tools.demo.wire import VM, Route, both, perm, perm_any
from tools.pve.formats import LAST_INDEX

QEMU_DISKS = ["%s%d" % (bus, n) for bus in ("ide", "scsi", "virtio", "sata") for n in range(LAST_INDEX[bus] + 1)]
QEMU_DISKS += ["efidisk0", "tpmstate0"]
UNUSED = ["unused%d" % n for n in range(256)]
LXC_DISKS = ["rootfs"] + ["mp%d" % n for n in range(256)]

#: Bytes a task copies in a second.
SPEED = 2 * GIB


def _parts(guest, key):
    """Properties of a disk in the configuration, or None."""
    return parse_properties(disk_rule(guest.kind, key), str(guest.conf[key])) if key in guest.conf else None


def _set(guest, key, parts):
    if key.startswith("unused"):
        guest.conf[key] = volume_of(parts)
        return
    guest.conf[key] = drives.print_properties(parts, disk_rule(guest.kind, key))


def _growth(call, guest, key):
    """(storage, volume, new size in bytes) of a disk that is to grow, or die."""
    kind, world, wanted = guest.kind, call.world, call.p["size"]
    guest.check_lock()
    parts = _parts(guest, key)
    if parts is None:
        raise Refusal(500, "disk '%s' does not exist" % key if kind == "qemu" else "format error\n",
                      None if kind == "qemu" else {"mp": MISSING, "volume": MISSING})
    volid = volume_of(parts)
    if kind == "qemu" and is_cdrom(parts):
        die("you can't resize a cdrom")
    if kind == "lxc" and drives.mount_type(volid) != "volume":
        die("can't resize mount point owned by another container (volume type: %s)" % drives.mount_type(volid))
    volume = world.volume(volid, guest.node)
    if volume is None:
        die("no such volume '%s'" % volid)
    storage = world.storage_of(volid)
    call.need("/storage/" + storage.name, "Datastore.AllocateSpace")
    size = size_bytes(wanted.lstrip("+"))
    new = volume.size + size if wanted.startswith("+") else size
    if volume.size > new:
        die("shrinking disks is not supported" if kind == "qemu" else "unable to shrink disk size")
    if guest.snapshots and volume.format == "qcow2" and guest.running and kind == "lxc":
        die("can't resize volume: %s" % volid)
    return storage, volume, new


def resize(call):
    kind = call.kind
    guest, world = call.guest(), call.world
    key = call.p["disk"]
    if kind == "lxc":
        _, volume, new = _growth(call, guest, key)
        if new == volume.size:
            die("disk is already at specified size")

    def worker(task):
        yield 0.5
        storage, volume, new = _growth(call, guest, key)
        world.check_writable(guest)
        if new == volume.size:
            return
        if not storage.thin and new - volume.size > storage.space(guest.node)[2]:
            die("command '/sbin/lvextend -L %dk /dev/%s/%s' failed: exit code 5" % (new >> 10, storage.conf["vgname"],
                volume.name))
        task.say("  Size of logical volume pve/%s changed from %.2f GiB to %.2f GiB." % (
            volume.name, volume.size / GIB, new / GIB)
                 if storage.type == "lvmthin" else "Image resized.")
        if not storage.thin and volume.used is not None:
            volume.used = new
        volume.size = new
        parts = _parts(guest, key)
        parts["size"] = size_text(new)
        _set(guest, key, parts)
        if kind == "lxc" and storage.type != "zfspool":
            task.say("e2fsck 1.47.2 (1-Jan-2025)\nresize2fs 1.47.2 (1-Jan-2025)")
            if key.startswith("mp") and not guest.running and guest.conf.get("ostype") == "unmanaged":
                task.say("Failed to update the container's filesystem: command 'e2fsck -f -y /dev/%s/%s' failed: exit "
                         "code 8\n" % (storage.conf.get("vgname"), volume.name))
            yield 0.5
    if kind == "qemu" and world.major < 8:              # synchronous then
        _growth(call, guest, key)
        if guest.snapshots:
            die("can't resize: VM has snapshots")
        for _ in worker(Task(guest.node, "resize", guest.vmid, call.user, world.t, 0, 0)):
            pass                                        # no task that anybody sees
        return None
    return call.fork("resize", guest.vmid, worker)


def copying(world, say, size, line):
    """Worker part: pretend to copy `size` bytes; say(line(done, size, percent)) now and then."""
    for step in range(1, 6):
        yield max(1.0, min(20.0, size / SPEED)) / 5
        say(line(size * step // 5, size, 20.0 * step))


def gib_line(prefix="transferred"):
    """Proxmox's progress line of a copied disk."""
    return lambda done, size, percent: "%s %s of %s (%.2f%%)" % (prefix, human(done), human(size), percent)


def mirror_line(drive):
    """Proxmox's progress line of a mirrored disk."""
    return lambda done, size, percent: "%s: transferred %s of %s (%.2f%%) in %ds%s" % (
        drive, human(done), human(size), percent, int(done / SPEED) + 1, ", ready" if percent >= 100 else "")


def _rsync_line(done, size, percent):
    return "%15d  %3d%%  210.11MB/s    0:00:%02d" % (done, int(percent), int(done / SPEED))


def human(size):
    """A size as progress lines have it."""
    return "%.1f GiB" % (size / GIB) if size >= GIB else "%.1f MiB" % (size / MIB)


def copy_volume(world, guest, volume, storage, fmt=None):
    """A new volume on `storage` like `volume`; the format is kept where the storage can."""
    formats = Storage.FORMATS[storage.type].split()
    fmt = fmt or (volume.format if volume.format in formats else None)
    if guest.kind == "lxc":
        fmt = "subvol" if storage.type == "zfspool" else "raw"
    name = "vm-%d-cloudinit" % guest.vmid if "cloudinit" in volume.volid else None
    used = volume.taken if storage.thin else volume.size
    if used > storage.space(guest.node)[2]:
        die("not enough free space on storage '%s'" % storage.name if storage.files else
            "lvcreate error: Volume group \"%s\" has insufficient free space" % storage.conf.get(
                "vgname", storage.name))
    return world.allocate(storage, guest.node, guest.vmid, volume.size, fmt, guest.kind, name=name, used=used)


def move_disk(call):
    world, guest = call.world, call.guest()
    key = call.p["disk"]
    guest.check_lock()
    if call.p.get("storage") is None:
        verify(dict.fromkeys(("storage", "target-vmid"), _WHERE))
    if key not in guest.conf:
        die("disk '%s' does not exist" % key)
    parts = _parts(guest, key)
    volid = volume_of(parts)
    if is_cdrom(parts) and not is_cloudinit(parts):
        die("you can't move a cdrom")
    name = call.p["storage"]
    call.need("/storage/" + name, "Datastore.AllocateSpace")
    storage = world.online_storage(name, guest.node)
    drives.check_images(storage)
    volume = drives.needed_volume(world, volid, guest.node)
    if volid.partition(":")[0] == name and call.p.get("format") in (None, volume.format):
        die("you can't move to the same storage with same format")
    if call.p.get("delete") and drives.in_snapshot(guest, volid):
        die("you can't move a disk with snapshots and delete the source")

    def worker(task):
        task.say("create full clone of drive %s (%s)" % (key, volid))
        new = copy_volume(world, guest, volume, storage, call.p.get("format"))
        try:
            if guest.running:
                task.say("drive mirror is starting for drive-%s" % key)
                yield from copying(world, task.say, volume.size, mirror_line("drive-" + key))
                task.say("all 'mirror' jobs are ready\ndrive-%s: Completed successfully." % key)
            else:
                yield from copying(world, task.say, volume.size, gib_line())
        except GeneratorExit:
            storage.at(guest.node).pop(new.volid, None)
            raise
        if key not in guest.conf:                       # removed meanwhile
            storage.at(guest.node).pop(new.volid, None)
            die("storage migration failed: disk '%s' does not exist" % key)
        moved = dict(_parts(guest, key))
        moved["file"] = new.volid
        moved.pop("format", None)
        moved["size"] = size_text(new.size)
        _set(guest, key, moved)
        if call.p.get("delete"):
            world.free(volid, guest.node)
            task.say("  Logical volume \"%s\" successfully removed." % volume.name)
        else:
            drives.add_unused(world, guest, volid)
    return call.fork("qmmove", guest.vmid, worker)


def move_volume(call):
    world, guest = call.world, call.guest()
    key = call.p["volume"]
    if call.p.get("storage") is None:
        verify(dict.fromkeys(("storage", "target-vmid"), _WHERE))
    name = call.p["storage"]
    call.need("/storage/" + name, "Datastore.AllocateSpace")
    guest.check_lock()
    if guest.running:
        die("cannot move volumes of a running container")
    parts = _parts(guest, key) or die("volume '%s' does not exist" % key)
    volid = volume_of(parts)
    if drives.mount_type(volid) != "volume":
        die("cannot move volume '%s', type is '%s'" % (key, drives.mount_type(volid)))
    if call.p.get("delete") and drives.in_snapshot(guest, volid):
        die("you can't move a volume with snapshots and delete the source")
    guest.conf["lock"] = "disk"

    def worker(task):
        try:
            yield 0.2
            storage = world.online_storage(name, guest.node)
            drives.check_rootdir(world, name)
            volume = drives.needed_volume(world, volid, guest.node)
            new = copy_volume(world, guest, volume, storage)
            task.say("Creating filesystem with 4k blocks and %d inodes\nFilesystem UUID: %s" % (
                volume.size >> 14, world.uuid()))
            yield from copying(world, task.say, volume.taken, _rsync_line)
            task.say("Number of files: 29,514\nTotal bytes sent: %d" % volume.taken)
            parts["volume"] = new.volid
            _set(guest, key, parts)
            if call.p.get("delete"):
                world.free(volid, guest.node)
            else:
                drives.add_unused(world, guest, volid)
        finally:
            guest.conf.pop("lock", None)
    return call.fork("move_volume", guest.vmid, worker)


def feature(call):
    guest, world = call.guest(), call.world
    wanted, conf = call.p["feature"], guest.conf
    if call.p.get("snapname"):
        conf = guest.snapshot(call.p["snapname"])["conf"]
    has = has_feature(world, guest, wanted, conf)
    if guest.kind == "lxc":
        return {"hasFeature": int(has)}
    shared = all(world.storage_of(volid).shared for _, _, volid in guest.disks(conf))
    return {"hasFeature": int(has), "nodes": [name for name in world.nodes if has and (shared or name == guest.node)]}


def has_feature(world, guest, wanted, conf):
    """Whether all disks of a configuration can be snapshotted, cloned (linked) or copied."""
    for _, parts, volid in guest.drives(conf):
        storage = world.storage_of(volid)               # None of a bind mount
        if (not is_cdrom(parts) or is_cloudinit(parts)) and (
                storage is None or (wanted == "snapshot" and not drives.can_snapshot(world, volid, guest.node))
                or (wanted == "clone" and (not guest.template or storage.type == "lvm"))):
            return False
    return True


_WHERE = "both 'storage' and 'target-vmid' missing, either needs to be set"
_DISK = perm(VM, "VM.Config.Disk")
_SIZE = string("New size, or +size to add.", pattern=r"\+?\d+(\.\d+)?[KMGT]?")
_DIGEST = string("Refuse if the configuration has another one.", maxLength=40)
_SKIP = boolean("Only for root.")
_STORAGE = string("To this storage.", format="pve-storage-id")

ROUTES = [
    Route("PUT /nodes/{node}/qemu/{vmid}/resize", resize, _DISK, "Grow a disk.", {
        "disk*": enum("The disk.", QEMU_DISKS), "size*": _SIZE, "digest": _DIGEST, "skiplock": _SKIP}),
    Route("PUT /nodes/{node}/lxc/{vmid}/resize", resize, perm_any(VM, "VM.Config.Disk"), "Grow a volume.", {
        "disk*": enum("The volume.", LXC_DISKS), "size*": _SIZE, "digest": _DIGEST}),
    Route("POST /nodes/{node}/qemu/{vmid}/move_disk", move_disk, _DISK, "Move a disk to another storage or VM.", {
        "disk*": enum("The disk.", QEMU_DISKS + UNUSED), "storage": _STORAGE,
        "delete": boolean("Remove the old one.", default=0),
        "format": enum("New format.", "raw qcow2 vmdk"), "bwlimit": integer("KiB/s.", 0), "digest": _DIGEST}),
    Route("POST /nodes/{node}/lxc/{vmid}/move_volume", move_volume, _DISK, "Move a volume to another storage.", {
        "volume*": enum("The volume.", LXC_DISKS + UNUSED), "storage": _STORAGE,
        "delete": boolean("Remove the old one.", default=0), "bwlimit": number("KiB/s.", 0), "digest": _DIGEST}),
    *both("GET /nodes/{node}/{kind}/{vmid}/feature", feature, perm(VM, "VM.Audit"),
          "Whether a {guest}'s storages can do something.", {
              "feature*": enum("Which ability.", "snapshot clone copy"),
              "snapname": string("Of this snapshot.", format="pve-configid", maxLength=40)}),
]
