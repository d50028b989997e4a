"""Snapshots of guests: list, make, go back, remove."""
from tools.demo import disks, drives
from tools.demo.guests import snapshot_conf
from tools.demo.model import GIB, MIB, Volume, die, size_bytes
from tools.demo.power import _state_storage, begin, starting, switch_off
from tools.demo.rules import boolean, string
from tools.demo.wire import VM, Route, perm, perm_any

RESERVED = {"qemu": ("current", "pending"), "lxc": ("current", "pending", "vzdump")}
_PREFIX = {"qemu": "qm", "lxc": "vz"}


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


def describe(call):
    guest = call.guest()
    guest.check_lock()
    snapshot = guest.snapshot(call.p["snapname"])
    if "description" in call.p:
        snapshot["description"] = call.p["description"]


def create(call):
    kind, world = call.kind, call.world
    guest, name = call.guest(), call.p["snapname"]
    if name in RESERVED[kind]:
        die("unable to use snapshot name '%s' (reserved name)" % name)
    with_memory = kind == "qemu" and call.p.get("vmstate") and guest.running

    def worker(task):
        guest.check_lock()
        if guest.template:
            die("you can't take a snapshot if it's a template")
        if name in guest.snapshots:
            die("snapshot name '%s' already used" % name)
        if not disks.has_feature(world, guest, "snapshot", guest.conf):
            die("snapshot feature is not available")
        conf = {key: value for key, value in guest.conf.items() if key != "lock" and not key.startswith("unused")}
        state = None
        if with_memory:
            storage = world.storage(str(guest.conf.get("vmstatestorage") or _state_storage(world, guest)), guest.node)
            state = "%s:%svm-%d-state-%s" % (storage.name, "%d/" % guest.vmid if storage.files else "", guest.vmid,
                                             name)
            size = 2 * guest.memory + 500 * MIB
            if size > storage.space(guest.node)[2]:
                die("not enough free space on storage '%s' for the VM state" % storage.name)
        snapshot = {"conf": conf, "time": int(world.t), "description": call.p.get("description", ""),
                    "parent": guest.parent, "vmstate": state, "state": "prepare"}
        guest.snapshots[name] = snapshot
        guest.conf["lock"] = "snapshot"
        # A task killed from here on leaves the lock and the half snapshot behind, as with Proxmox.
        if with_memory:
            task.say("saving VM state and RAM using storage '%s'" % storage.name)
            saved = guest.memory * guest.mem
            for second in (1, 2, 3):
                yield 1.0
                task.say("%.2f %s in %ds" % (saved * second / 3 / GIB, "GiB", second))
            storage.at(guest.node)[state] = Volume(state, "images", size, vmid=guest.vmid, ctime=int(world.t),
                                                   used=int(saved))
            task.say("completed saving the VM state in 3s, saved %.2f GiB" % (saved / GIB))
        for key, _, volid in guest.disks(unused=False):
            task.say("snapshotting 'drive-%s' (%s)" % (key, volid) if kind == "qemu" else
                     "  Logical volume \"snap_%s_%s\" created." % (volid.partition(":")[2], name))
        yield 0.8
        snapshot.pop("state")
        guest.conf.pop("lock", None)
        guest.parent = name
    return call.fork(_PREFIX[kind] + "snapshot", guest.vmid, worker)


def rollback(call):
    kind, world = call.kind, call.world
    guest, name = call.guest(), call.p["snapname"]
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
            if world.storages[volid.partition(":")[0]].type == "zfspool":
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
    return call.fork(_PREFIX[kind] + "rollback", guest.vmid, worker)


def delete(call):
    kind, world = call.kind, call.world
    guest, name = call.guest(), call.p["snapname"]

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
    return call.fork(_PREFIX[kind] + "delsnapshot", guest.vmid, worker)


_SNAPSHOT = perm(VM, "VM.Snapshot")
_NAME = string("Name of the snapshot.", format="pve-configid", maxLength=40)


def _rows(kind, word):
    path = "/nodes/{node}/%s/{vmid}/snapshot" % kind
    new = {"snapname*": _NAME, "description": string("A description.")}
    if kind == "qemu":
        new["vmstate"] = boolean("Save the memory too.")
    return [
        Route("GET " + path, snapshots, perm(VM, "VM.Audit"), "Snapshots of a %s." % word),
        Route("POST " + path, create, _SNAPSHOT, "Take a snapshot of a %s." % word, new),
        Route("DELETE %s/{snapname}" % path, delete, _SNAPSHOT, "Remove a snapshot of a %s." % word, {
            "force": boolean("Forget it even if the disks fail.")}),
        Route("POST %s/{snapname}/rollback" % path, rollback, perm_any(VM, "VM.Snapshot", "VM.Snapshot.Rollback"),
              "Bring a %s back to a snapshot." % word, {"start": boolean("Start it afterwards.", default=0)}),
        Route("GET %s/{snapname}/config" % path,
              lambda call: snapshot_conf(call.guest().snapshot(call.p["snapname"])),
              perm_any(VM, "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), "Configuration of a snapshot."),
        Route("PUT %s/{snapname}/config" % path, describe, _SNAPSHOT, "Change a snapshot's description.", {
            "description": string("The description.")}),
    ]


ROUTES = _rows("qemu", "VM") + _rows("lxc", "container")
