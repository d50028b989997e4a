"""Toolset: disks of VMs and mount points of containers - add, grow, detach or destroy, move.

A key that is taken would be replaced by Proxmox without a word, and deleting one that is absent "succeeds": so the
config is read first, and its digest is sent along.
"""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import safety
from tools.base.answers import result
from tools.base.edit import change, free, must_be_free, must_be_there, sent
from tools.base.failures import Failure
from tools.base.guest import Disk, disks, is_off, named, unused
from tools.base.row import DESTRUCTIVE, ELEVATED, Safety, Size, Storage, Tool, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import (SMALLEST, disk_format, needed, new_size, promise, room_for, status, volume_size,
                                why_qcow2)
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import DISK_KEYS, gib, parse_size, property_string

AnyDisk = Annotated[str, Arg("scsi0, rootfs, mp0", format="disk", aliases=("volume",))]
Flag = Optional[bool]


@dataclass
class AddDisk(Waiting):
    """Add a new, empty disk to a VM."""
    disk: Annotated[str, Arg("scsi1", format="drive")] = REQUIRED
    storage: Storage = REQUIRED
    size: Size = REQUIRED
    format: Annotated[Optional[str], Arg(published=False)] = None
    ssd: Flag = None
    discard: Flag = None
    iothread: Flag = None
    backup: Flag = None


@dataclass
class AddMountpoint(Waiting):
    """Add a new, empty volume to a container."""
    mp: Annotated[str, Arg("mp0", format="mp")] = REQUIRED
    storage: Storage = REQUIRED
    size: Size = REQUIRED
    path: Optional[str] = None
    backup: Flag = None
    ro: Flag = None


@dataclass
class Grow(Waiting):
    """Grow a disk of a {guest}."""
    disk: AnyDisk = REQUIRED
    size: Annotated[str, Arg("+10G or 50G", unit="GiB")] = REQUIRED


@dataclass
class RemoveDisk(Waiting):
    """Detach a disk from a VM (kept as unusedN), or destroy it."""
    disk: Annotated[str, Arg("scsi1 or unused0", format="disk")] = REQUIRED
    destroy: Annotated[bool, Arg(aliases=("force",))] = False
    safety: Safety = None


@dataclass
class RemoveMp(Waiting):
    """Detach a mount point from a container (kept as unusedN), or destroy it."""
    mp: Annotated[str, Arg("mp0 or unused0", format="ctvolume")] = REQUIRED
    destroy: Annotated[bool, Arg(aliases=("force",))] = False
    safety: Safety = None


@dataclass
class Move(Waiting):
    """Move a disk of a {guest} to another storage."""
    disk: AnyDisk = REQUIRED
    storage: Storage = REQUIRED
    delete: Annotated[bool, Arg("the source")] = True


# --------------------------------------------------------------------------------------------------------------- adding

def add_disk(call):
    args, size, entry = call.args, new_size(call.args.size), status(call, call.args.storage)
    form, config = args.format or disk_format(entry), call.get("./config")
    options = {"format": form, "ssd": args.ssd, "discard": {True: "on", False: "ignore"}.get(args.discard),
               "iothread": args.iothread, "backup": args.backup}
    notes, controller = [why_qcow2(args.storage)] * (form != args.format), config.get("scsihw", "lsi")
    if args.iothread and args.disk.startswith("scsi") and controller != "virtio-scsi-single":
        notes.append("iothread has no effect: it needs scsihw virtio-scsi-single, the VM has %s." % controller)
    return _add(call, config, args.disk, "file", size, options, "disk", notes, {args.storage: entry})


def add_mountpoint(call):
    """mp= (the path) is mandatory in the API; two mount points on one path would hide each other."""
    args, path, size = call.args, call.args.path or "/mnt/%s" % call.args.mp, new_size(call.args.size)
    if not path.startswith("/") or re.search(r"/\.{1,2}(?:/|$)", path) or path.strip("/") == "":
        raise Failure("The path %r is not a directory in the container, such as /mnt/data." % path[:80])
    config = call.get("./config")
    for disk in disks("lxc", config):
        if disk.key != args.mp and str(disk.options.get("mp")).rstrip("/") == path.rstrip("/"):
            raise Failure("The mount point %s is on %s already. Choose another path." % (disk.key, path))
    return _add(call, config, args.mp, "volume", size, {"mp": path, "backup": args.backup, "ro": args.ro},
                "mount point", ["It is on %s in the container." % path], path=path)


def _add(call, config, key, main, size, options, what, notes, known=None, **found):
    """Put a new volume under `key`. known: as for `room_for`."""
    storage = call.args.storage
    value = property_string(dict({main: "%s:%s" % (storage, gib(size))}, **options), main)

    def work_out(config):
        must_be_free(call, config, key)
        return {key: value}
    work_out(config)
    room = promise(call, {storage: size}, known)
    done = change(call, work_out, config=config)
    disk = Disk(key, done.config.get(key, ""))
    says = "%s: %s %s%s added, %s" % (call.subject, what, key, " " + text.line(disk.volid, 200) if disk.volid else "",
                                      text.size(disk.size or size))
    return result(call, done, says, [done.note(call, [key]), *room, *notes], volid=disk.volid or None,
                  size=disk.size or size, disk=key, **found)


# -------------------------------------------------------------------------------------------------------------- growing

_RESIZE_HINTS = (
    (r"shrinking disks is not supported|unable to shrink",
     "Its real size is more than its config says, and disks only grow."),
    (r"snapshot", "Before Proxmox VE 8 a disk with snapshots cannot be grown; delete them first."),
)


def grow(call):
    key, (grows, size) = call.args.disk, parse_size(call.args.size)
    size = -(-size // SMALLEST) * SMALLEST
    config = call.get("./config")
    disk = _volume(call, config, key, "grown")
    if disk.use in ("EFI", "TPM", "unused"):            # with a larger EFI disk a VM does not start
        raise Failure("The disk %s of %s cannot be grown: only one in use can, and not that of EFI or TPM." % (
            key, call.subject))
    old, wanted = disk.size, (disk.size or 0) + size if grows else size
    if old is not None and wanted < old:
        raise Failure("The disk %s of %s has %s, which is more than %s. Disks cannot be made smaller." % (
            key, call.subject, text.size(old), text.size(size)))
    if wanted == old:
        return result(call, call.follow(None), "%s: %s has %s already; nothing was sent" % (
            call.subject, key, text.size(size)), disk=key, size=size, volid=disk.volid, changed=False)
    notes = promise(call, {disk.storage: wanted - (old or 0)})
    sent = {"disk": key, "size": "%s%sG" % ("+" if grows else "", gib(size))}
    done = change(call, lambda config: sent, config=config)
    new = Disk(key, done.config.get(key, "")).size
    if new and old and new <= old:
        raise Failure("Proxmox ended without an error, but its config still says %s for %s of %s. Look at the volume "
                      "on its storage; a rescan on the node (qm rescan, pct rescan) corrects the config." % (
                          text.size(new), key, call.subject))
    says = "%s: %s grown%s to %s" % (
        call.subject, key, " from %s" % text.size(old) if old else "",
        text.size(new or wanted) if new or old or not grows else "%s more" % text.size(size))
    left = _left_small(call, done.outcome) if call.kind == "lxc" else None
    if left:
        notes = ["The volume was grown, the file system on it was not: \n%s" % text.quoted(left)]
    elif call.kind == "qemu":
        notes.append("Partitions and file systems inside have to be grown by the guest itself.")
    return result(call, done, says, notes, mark="\u26a0" if left else None, disk=key,
                  size=new or wanted or None, volid=disk.volid)


def _left_small(call, outcome):
    """Why the file system on a container's volume was not grown with it, or None: only the log of the task, which ends
    OK all the same, tells (PVE::API2::LXC, resize_vm)."""
    if not outcome.upid or not outcome.ok:
        return None
    log = call.try_get("/nodes/{node}/tasks/{upid}/log", {"node": outcome.node, "upid": outcome.upid}, limit=500)
    lines = [str(row.get("t")) for row in log or []]
    return next((line for line in lines if line.startswith("Failed to update the container's filesystem")), None)


def _disk(call, config, key):
    """The Disk called `key`, of whatever kind; Failure when the guest has none of that name."""
    return Disk(key, must_be_there(call, config, key, DISK_KEYS[call.kind]))


def _which(call, config, disk, size=None):
    """"scsi0 of VM 107 (lab) on node pve3, local-lvm:vm-107-disk-0, 8 GiB", for a question."""
    size = disk.size if size is None else size
    return "%s of %s on node %s, %s%s" % (disk.key, named(call, config), call.node, text.line(disk.volid, 200),
                                          ", %s" % text.size(size) if size else "")


def _volume(call, config, key, what):
    """The Disk called `key`; Failure when it is absent or no volume of the guest ("a CD drive cannot be grown")."""
    disk = _disk(call, config, key)
    if disk.cdrom or disk.storage is None:
        raise Failure("%s cannot be %s: %s of %s is %s." % (
            "A CD drive" if disk.cdrom else "What is no volume on a storage", what, key, call.subject,
            text.line(disk.volid, 200)))
    return disk


# ------------------------------------------------------------------------------------------------------------- removing

_REMOVE_HINTS = (
    (r"still in use|used in snapshot|is in use", "A snapshot, or a clone, still uses the volume; delete that first."),
)


def remove(call):
    """Detaching keeps the volume as unusedN; destroying asks first. Containers have no force for it: there the unusedN
    that the volume of a mount point became is destroyed, in a second step."""
    key = getattr(call.args, "mp", None) or call.args.disk
    spare = key.startswith("unused")
    if not (spare or call.args.destroy):
        return _detach(call, key)
    params = dict({"force": True} if call.kind == "qemu" and not spare else {}, delete=key)
    found = safety.confirm(call, lambda: _doomed(call, key), params, lambda found: {found["volid"]})
    done = sent(call, dict(params, digest=found["digest"]))
    return _destroyed(call, done, key, found) if call.kind == "qemu" or spare else _second(call, done, key, found)


def _second(call, first, key, found):
    """Destroy the volume of a mount point that was detached."""
    if call.planned:                                    # a dry run: the lowest free number is the one Proxmox takes
        call.send(delete=free(call.get("./config"), "unused0"))
        return None
    config = first.known and key not in first.waiting and call.try_get("./config") or {}
    left = unused(config, found["volid"])
    if left is None:
        return _detached(call, first, key, Disk(key, found["volid"]), "It was not destroyed.")
    try:
        done = sent(call, {"delete": left, "digest": config.get("digest")})
    except (PveError, Failure) as error:
        raise Failure("The mount point %s was detached and its volume %s is %s now, but %s be destroyed: %s" % (
            key, found["volid"], left, "is not known to" if "unknown" in call.outcomes else "could not",
            call.explained(error))) from None
    return _destroyed(call, done, key, found)


def _detach(call, key):
    """Take a disk out of the config."""
    def work_out(config):
        _disk(call, config, key)
        return {"delete": key}
    done = change(call, work_out, lambda config: "Detach %s? Its data is kept." % _which(
        call, config, _disk(call, config, key)))
    return _detached(call, done, key, Disk(key, done.before[key]))


def _doomed(call, key):
    """(question, found) for a volume that is about to be destroyed, read now."""
    config = call.get("./config")
    disk = _disk(call, config, key)
    if disk.storage is None or disk.cdrom and not disk.cloudinit:
        raise Failure("There is no volume to destroy: %s of %s is %s. Leave destroy out to take it out of the config."
                      % (key, call.subject, text.line(disk.volid, 200)))
    if disk.owner not in (None, call.args.vmid):
        raise Failure("The volume at %s of %s is %s and belongs to guest %s. Leave destroy out to detach it." % (
            key, call.subject, disk.volid, disk.owner))
    if call.kind == "lxc" and disk.use != "unused" and not is_off(call.get("./status/current")):
        raise Failure("The container is running: its mount point would only be detached, and at its next start. Stop "
                      "it first, or leave destroy out.")
    size = disk.size if disk.size is not None else _stored_size(call, disk.volid)
    return "Destroy %s? All data on it is lost." % _which(call, config, disk, size), {
        "who": named(call, config), "disk": key, "volid": disk.volid, "size": size, "digest": config.get("digest")}


def _stored_size(call, volid):
    """Bytes of a volume as its storage tells (the config does not say it for unusedN), or None."""
    rows = call.try_get("/nodes/{node}/storage/{storage}/content", {"storage": volid.partition(":")[0]},
                        vmid=call.args.vmid)
    return next((volume_size(row) for row in rows or () if row.get("volid") == volid), None)


def _detached(call, done, key, disk, more=None):
    """The Result of a disk that was taken out of the config: where its volume is now."""
    where, waits, told = unused(done.config, disk.volid), key in done.waiting, None
    if waits:
        told = "Its volume will then be kept as an unused one."
    elif where:
        told = "Its data is kept as %s; removing %s destroys it." % (where, where)
    elif disk.cloudinit:
        told = "The cloud-init drive was deleted with it; Proxmox makes a new one when it is added again."
    elif done.known and not disk.cdrom:
        told = ("No unused volume names it: it belongs to another guest, or a snapshot keeps it." if disk.storage else
                "What it pointed to on the node is untouched.")
    return result(call, done, "%s: %s (%s) %s" % (
        call.subject, key, disk, "is marked to be detached" if waits else
        "detached, not destroyed" if where else "detached"), [done.note(call, [key]), told, more],
        disk=key, volid=disk.volid, unused=where)


def _destroyed(call, done, key, found):
    """The Result of a volume that was to be destroyed: whether the config still names it."""
    what = "%s on %s: %s (%s%s)" % (found["who"], call.node, key, found["volid"],
                                    ", %s" % text.size(found["size"]) if found["size"] else "")
    left, waits = unused(done.config, found["volid"]), key in done.waiting
    if left and not waits:
        raise Failure("%s was detached, but Proxmox did not delete the volume: it is %s now. proxmox_remove_%s=%s "
                      "destroys it, unless a snapshot uses it or the token lacks VM.Config.Disk." % (
                          what, left, "disk_vm disk" if call.kind == "qemu" else "mountpoint_lxc mp", left))
    return result(call, done, "%s %s" % (what, "is marked to be destroyed" if waits else "destroyed"),
                  done.note(call, [key]), disk=key, volid=found["volid"], size=found["size"],
                  destroyed=not waits if done.known else None)


# --------------------------------------------------------------------------------------------------------------- moving

_MOVE_HINTS = (
    (r"with snapshots and delete the source",
     "Its snapshots live on the source. Nothing was moved: delete them first, or give delete=false, which keeps the "
     "source as an unused volume."),
    (r"same storage", "Give another storage."),
    (r"running container", "Nothing was moved. Stop the container first (proxmox_shutdown_lxc)."),
)


def move_disk(call):
    args = call.args
    config, entry = call.get("./config"), status(call, args.storage)
    disk = _volume(call, config, args.disk, "moved")
    if disk.storage == args.storage:
        raise Failure("The disk %s of %s is on %s already (%s)." % (args.disk, call.subject, args.storage, disk.volid))
    room, promised = room_for(call, needed([disk], args.storage), {args.storage: entry})

    def work_out(config):
        disk = _volume(call, config, args.disk, "moved")
        form = None
        if call.kind == "qemu" and not (disk.use == "TPM" or re.search(r"\.(?:raw|qcow2|vmdk)\Z", disk.volid)):
            form = disk_format(entry)                   # a file stays what it is
        return {"disk" if call.kind == "qemu" else "volume": args.disk, "storage": args.storage, "delete": args.delete,
                "format": form}
    done = change(call, work_out, (args.delete or promised) and (lambda config: ("Move %s, to %s%s? %s" % (
        _which(call, config, Disk(args.disk, config[args.disk])), args.storage,
        ", and delete it where it is now" if args.delete else "", promised)).strip()), not promised, config)
    disk = Disk(args.disk, done.before[args.disk])
    volid, left = Disk(args.disk, done.config.get(args.disk, "")).volid or None, unused(done.config, disk.volid)
    says = "%s: %s (%s) moved to %s%s" % (call.subject, args.disk, disk, args.storage,
                                          ", now %s" % text.line(volid, 200) if volid else "")
    note = None
    if left:
        note = ("The source could not be deleted: it is still there as %s." if args.delete else
                "The source is kept as %s.") % left
    elif done.known:
        note = "The source was deleted." if args.delete else "The source is kept on its storage."
    return result(call, done, says, [note, *room], disk=args.disk, volid=volid, source=disk.volid, unused=left)


_NEW = {"needs": ("/vms VM.Config.Disk", "/storage Datastore.AllocateSpace")}
TOOLS = {
    "proxmox_add_disk_vm": Tool("POST /nodes/{node}/qemu/{vmid}/config", ELEVATED, AddDisk, add_disk, **_NEW),
    "proxmox_add_mountpoint_lxc": Tool("PUT /nodes/{node}/lxc/{vmid}/config", ELEVATED, AddMountpoint, add_mountpoint,
                                       **_NEW),
    **both("resize_disk", "PUT {guest}/resize", ELEVATED, Grow, grow, repeats=False, explains=_RESIZE_HINTS),
    "proxmox_remove_disk_vm": Tool("POST /nodes/{node}/qemu/{vmid}/config", DESTRUCTIVE, RemoveDisk, remove,
                                   explains=_REMOVE_HINTS, needs=("/vms VM.Config.Disk", "/vms VM.Config.CDROM")),
    "proxmox_remove_mountpoint_lxc": Tool("PUT /nodes/{node}/lxc/{vmid}/config", DESTRUCTIVE, RemoveMp, remove,
                                          explains=_REMOVE_HINTS, needs=("/vms VM.Config.Disk",)),
    **both("move_disk", ("POST {guest}/move_disk", "POST {guest}/move_volume"), ELEVATED, Move, move_disk,
           explains=_MOVE_HINTS),
}
