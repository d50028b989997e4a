"""Snapshots of guests: list, make, go back, remove."""
from tools.demo import disks, drives
from tools.demo.guests import snapshot_conf
from tools.demo.model import die, size_bytes
from tools.demo.power import begin, saving, starting, state_size, state_storage, switch_off
from tools.demo.rules import boolean, string
from tools.demo.wire import VM, both, perm, perm_any

RESERVED = {"qemu": ("current", "pending"), "lxc": ("current", "pending", "vzdump")}


def snapshots(call):
    """GET .../snapshot: all, and "current"."""
    guest = call.guest()
    rows = []
    for name, snapshot in guest.snapshots.items():
        more = {"parent": snapshot.get("parent"), "snapstate": snapshot.get("state"),
                "vmstate": int(bool(snapshot.get("vmstate"))) if guest.kind == "qemu" else None}
        rows.append(dict({"name": name, "description": snapshot.get("description", ""), "snaptime": snapshot["time"]},
                         **{key: value for key, value in more.items() if value is not None}))
    here = {"name": "current", "description": "You are here!", "digest": guest.digest, "running": int(guest.running)}
    if guest.parent:
        here["parent"] = guest.parent
    return rows + [here]


def create(call):
    kind, world = call.kind, call.world
    guest, name = call.guest(), call.p["snapname"]
    if name in RESERVED[kind]:
        die("unable to use snapshot name '%s' (reserved name)" % name)
    with_memory = kind == "qemu" and call.p.get("vmstate") and guest.running

    def worker(task):
        guest.check_lock()
        world.check_writable(guest)
        if guest.template:
            die("you can't take a snapshot if it's a template")
        if name in guest.snapshots:
            die("snapshot name '%s' already used" % name)
        if not disks.has_feature(world, guest, "snapshot", guest.conf):
            die("snapshot feature is not available")
        conf = {key: value for key, value in guest.conf.items() if key != "lock" and not key.startswith("unused")}
        if with_memory:
            storage = world.storage(state_storage(world, guest), guest.node)
            size = state_size(storage, guest)
        snapshot = {"conf": conf, "time": int(world.t), "description": call.p.get("description", ""),
                    "parent": guest.parent, "vmstate": None, "state": "prepare"}
        guest.snapshots[name] = snapshot
        guest.conf["lock"] = "snapshot"
        # A task killed from here on leaves the lock and the half snapshot behind, as with Proxmox.
        if with_memory:
            snapshot["vmstate"] = yield from saving(world, guest, task, storage, name, size)
        for key, _, volid in guest.disks(unused=False):
            task.say("snapshotting 'drive-%s' (%s)" % (key, volid) if kind == "qemu" else
                     "  Logical volume \"snap_%s_%s\" created." % (volid.partition(":")[2], name))
        yield 0.8
        snapshot.pop("state")
        guest.conf.pop("lock", None)
        guest.parent = name
    return call.work(guest, "snapshot", worker)


def rollback(call):
    world, guest, name = call.world, call.guest(), call.p["snapname"]
    if call.p.get("start"):
        call.need("/vms/%d" % guest.vmid, "VM.PowerMgmt")

    def worker(task):
        if guest.template:
            die("you can't rollback if %s is a template" % guest.what)
        snapshot = guest.snapshot(name)
        if snapshot.get("state"):
            die("unable to rollback to incomplete snapshot (snapstate = %s)" % snapshot["state"])
        guest.check_lock()
        for _, _, volid in guest.disks(snapshot["conf"]):
            if world.volume(volid, guest.node) is None:
                die("volume '%s' does not exist" % volid)
            if world.storage_of(volid).type == "zfspool":
                newer = [other for other, facts in guest.snapshots.items() if facts["time"] > snapshot["time"]]
                if newer:
                    die("can't rollback, '%s' is not most recent snapshot on '%s'" % (name, volid))
        guest.conf["lock"] = "rollback"
        if guest.running:
            yield 1.0
            switch_off(world, guest)
        for _, _, volid in guest.disks(snapshot["conf"]):
            task.say("  Logical volume \"%s\" successfully removed.\n  Logical volume \"%s\" created."
                     % ((volid.partition(":")[2],) * 2))
        yield 1.0
        for _, parts, volid in guest.disks(snapshot["conf"]):
            volume = world.volume(volid, guest.node)
            if volume is None:                          # moved or removed meanwhile
                die("no such logical volume %s" % volid.replace(":", "/"))
            volume.size = size_bytes(parts.get("size", "")) or volume.size
        loose = [volid for _, _, volid in guest.disks()]
        guest.conf.clear()
        guest.conf.update(snapshot["conf"])
        guest.pending.clear()
        for volid in loose:
            drives.add_unused(world, guest, volid)
        guest.parent = name
        if snapshot.get("vmstate"):
            yield from starting(world, guest, task)
        elif call.p.get("start"):
            begin(call, guest)
    return call.work(guest, "rollback", worker)


def delete(call):
    world, guest, name = call.world, call.guest(), call.p["snapname"]

    def worker(task):
        if guest.template:
            die("you can't delete a snapshot if %s is a template" % guest.what)
        snapshot = guest.snapshot(name)
        if guest.lock not in (None, "snapshot-delete") and not (guest.lock == "snapshot" and snapshot.get("state")):
            guest.check_lock()
        guest.conf["lock"] = "snapshot-delete"
        snapshot["state"] = "delete"
        if snapshot.get("vmstate"):
            world.free(snapshot["vmstate"], guest.node)
            task.say("  Logical volume \"%s\" successfully removed." % snapshot["vmstate"].partition(":")[2])
        for _, _, volid in guest.disks(snapshot["conf"]):
            task.say("  Logical volume \"snap_%s_%s\" successfully removed." % (volid.partition(":")[2], name))
        yield 1.0
        for other in guest.snapshots.values():
            if other.get("parent") == name:
                other["parent"] = snapshot.get("parent")
        if guest.parent == name:
            guest.parent = snapshot.get("parent")
        guest.snapshots.pop(name, None)                 # a second removal may have been quicker
        guest.conf.pop("lock", None)
    return call.work(guest, "delsnapshot", worker)


_SNAPSHOT = perm(VM, "VM.Snapshot")
_NAME = string("Name of the snapshot.", format="pve-configid", maxLength=40)


_PATH = "/nodes/{node}/{kind}/{vmid}/snapshot"

ROUTES = (
    both("GET " + _PATH, snapshots, perm(VM, "VM.Audit"), "Snapshots of a {guest}.")
    + both("POST " + _PATH, create, _SNAPSHOT, "Take a snapshot of a {guest}.", {
        "snapname*": _NAME, "description": string("A description.")}, {"vmstate": boolean("Save the memory too.")})
    + both("DELETE %s/{snapname}" % _PATH, delete, _SNAPSHOT, "Remove a snapshot of a {guest}.", {
        "force": boolean("Forget it even if the disks fail.")})
    + both("POST %s/{snapname}/rollback" % _PATH, rollback, perm_any(VM, "VM.Snapshot", "VM.Snapshot.Rollback"),
           "Bring a {guest} back to a snapshot.", {"start": boolean("Start it afterwards.", default=0)})
    + both("GET %s/{snapname}/config" % _PATH, lambda call: snapshot_conf(call.guest().snapshot(call.p["snapname"])),
           perm_any(VM, "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), "Configuration of a snapshot."))
