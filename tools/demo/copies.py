"""Guests elsewhere: clones, templates, migrations."""
import re

from tools.demo import change, disks, drives
from tools.demo.create import known_pool, unique
from tools.demo.guests import ha_of
from tools.demo.model import GIB, MIB, Guest, Refusal, bad, die, disk_rule, is_cdrom, is_cloudinit, nets, size_text
from tools.demo.power import switch_off, switch_on
from tools.demo.rules import boolean, enum, integer, number, split_list, string
from tools.demo.wire import VM, both, perm
from tools.demo.world import stamp


def clone(call):
    kind, world, p = call.kind, call.world, call.p
    guest, newid, target = call.guest(), p["newid"], p.get("target") or call.node
    known_pool(world, p.get("pool"))
    full = p.get("full", not guest.template)
    for name in ("storage", "format"):
        if not full and p.get(name):
            die("parameter '%s' not allowed for linked clones" % name)
    if target not in world.nodes:
        die("no such cluster node '%s'" % target)
    if p.get("storage"):
        call.need("/storage/" + p["storage"], "Datastore.AllocateSpace")
        storage = world.online_storage(p["storage"], call.node)
        drives.check_images(storage) if kind == "qemu" else drives.check_rootdir(world, storage.name)
    guest.check_lock()
    conf = guest.conf
    if p.get("snapname"):
        conf = guest.snapshot(p["snapname"])["conf"]
    _check_source(call, guest, conf, full, target)
    other = world.guests.get(newid)
    if other is not None and kind == "lxc":
        die("%s %d already exists on node '%s'" % (other.what, newid, other.node))
    if other is not None and other.node == call.node and other.kind == kind:
        die("unable to create VM %d: config file already exists" % newid)
    if kind == "lxc":
        guest.conf["lock"] = "disk"
    new = Guest(newid, kind, call.node, {"lock": "clone"}, **dict(guest.guest, ips=None))

    def worker(task):
        made, done = [], False
        try:
            clash = world.guests.get(newid)
            if clash is not None and clash.kind != kind:
                die("close (rename) atomic file '/etc/pve/nodes/%s/qemu-server/%d.conf' failed: File exists"
                    % (call.node, newid))
            if clash is not None:
                die("unable to create VM %d - %s %d already exists on node '%s'" % (
                    newid, clash.what, newid, clash.node))
            world.guests[newid] = new
            copy = yield from _copied(call, task, guest, new, conf, full, made)
            new.conf.clear()
            new.conf.update(copy)
            if p.get("pool"):
                world.pools[p["pool"]]["vms"].append(newid)
            if target != call.node:
                _carry(world, new, target)
            new.filled = guest.filled
            done = True
        except Refusal as error:
            for volid in made:
                world.free(volid, new.node)
            if world.guests.get(newid) is not new:
                raise
            del world.guests[newid]
            die("clone failed: %s" % error.text)
        finally:
            if kind == "lxc" and guest.conf.get("lock") == "disk" and (done or newid not in world.guests):
                guest.conf.pop("lock")
    return call.work(guest, "clone", worker)


def _copied(call, task, guest, new, conf, full, made):
    """Worker part: the clone's configuration, its disks copied."""
    kind, world, p = guest.kind, call.world, call.p
    copy = {key: value for key, value in conf.items() if not disk_rule(kind, key) and key not in (
        "lock", "template", "parent", "snaptime", "vmstate", "meta", "protection" if kind == "lxc" else "")}
    for key, parts, volid in guest.drives(conf):
        copy[key] = conf[key] if is_cdrom(parts) and not is_cloudinit(parts) else (
            yield from _copy_disk(world, task, guest, new, key, parts, volid, full, p, made))
    yield 0.4
    if p.get("name") or p.get("hostname"):
        copy["name" if kind == "qemu" else "hostname"] = p.get("name") or p.get("hostname")
    elif kind == "qemu":
        copy["name"] = "Copy-of-VM-%s" % (guest.conf.get("name") or guest.vmid)
    if "description" in p:
        copy["description"] = change.stored(world, kind, "description", p["description"])
    unique(world, copy)
    if kind == "qemu":
        copy["meta"] = "creation-qemu=10.1.2,ctime=%d" % world.t
    return copy


def _check_source(call, guest, conf, full, target):
    """What can be refused before the task starts."""
    world = call.world
    if guest.kind == "lxc" and guest.running and full and not call.p.get("snapname"):
        die("Full clone of a running container is only possible from a snapshot")
    if guest.kind == "qemu" and guest.running and "tpmstate0" in conf and not call.p.get("snapname"):
        die("cannot clone TPM state while VM is running")
    for text in nets(conf).values():
        drives.check_bridge(call, guest.kind, text)
    for key, parts, volid in guest.drives(conf):
        if guest.kind == "lxc" and drives.mount_type(volid) != "volume":
            die("unable to clone mountpoint '%s' (type %s)" % (key, drives.mount_type(volid)))
        if is_cdrom(parts) and not is_cloudinit(parts):
            continue
        name = volid.partition(":")[0]
        wanted = call.p.get("storage", name) if full else name
        call.need("/storage/" + wanted, "Datastore.AllocateSpace")
        if target != call.node and not world.storages[wanted].shared:
            die("can't clone %s to node '%s' (%s uses local storage)" % (guest.what, target, guest.what))
        if not full and (world.storages[name].type == "lvm" or "base" not in volid) and not is_cloudinit(parts):
            if guest.kind == "lxc":
                die("Linked clone feature for '%s' is not available" % volid)
            die("Linked clone feature is not supported for '%s' (%s)" % (volid, key))
        if full and call.p.get("snapname") and world.storages[name].type == "zfspool":
            die("Full clone feature is not supported for '%s' (%s)" % (volid, key))


def _copy_disk(world, task, guest, new, key, parts, volid, full, p, made):
    """Worker part: the new guest's value of a disk."""
    volume = drives.needed_volume(world, volid, guest.node)
    storage = world.storage_of(volid)
    whole = full or is_cloudinit(parts)
    task.say("create %s clone of %s %s (%s)" % ("full" if whole else "linked",
             "drive" if guest.kind == "qemu" else "mountpoint", key, volid))
    if whole:
        target = world.online_storage(p["storage"], guest.node) if full and p.get("storage") else storage
        copy = disks.copy_volume(world, new, volume, target,
                                 p.get("format") if full and "cloudinit" not in volid else None)
        made.append(copy.volid)
        if volume.size > 16 * MIB:
            yield from disks.copying(world, task.say, volume.size, disks.mirror_line("drive-" + key) if guest.running
                                     else disks.gib_line())
    else:
        copy = world.allocate(storage, new.node, new.vmid, volume.size, "qcow2" if storage.files else volume.format,
                              new.kind, used=1 << 20)
        if storage.files or storage.type == "zfspool":
            old = copy.volid
            copy.volid = "%s:%s/%s" % (storage.name, volume.name, copy.name)
            storage.at(new.node)[copy.volid] = storage.at(new.node).pop(old)
        copy.facts["parent"] = volume.name
        made.append(copy.volid)
        yield 0.3
    parts["file" if guest.kind == "qemu" else "volume"] = copy.volid
    parts.pop("format", None)
    if "size" in parts or guest.kind == "lxc":
        parts["size"] = size_text(copy.size)
    return drives.print_properties(parts, disk_rule(guest.kind, key))


def template(call):
    """POST .../template: a task, which is not named for a container."""
    kind, world = call.kind, call.world
    guest = call.guest()
    only = call.p.get("disk")
    guest.check_lock()
    snapshots = "unable to create template, because %s contains snapshots" % guest.what
    if guest.snapshots and kind == "lxc":
        die(snapshots)
    if guest.template and not only:
        die("you can't convert a template to a template")
    if guest.running:
        die("you can't convert a VM to template if VM is running" if kind == "qemu" else
            "you can't convert a CT to template if the CT is running")
    if guest.snapshots:
        die(snapshots)

    def worker(task):
        found = [disk + (world.storage_of(disk[2]),) for disk in guest.disks(unused=False)]
        thick = [volid for _, _, volid, storage in found if storage.type == "lvm"]      # a VM keeps such a disk
        if thick and kind == "lxc":
            die("Template feature is not available for '%s'" % thick[0])
        task.say("  Logical volume pve/base-%d-disk-0 changed." % guest.vmid)
        yield 1.0
        for key, parts, volid, storage in found:
            if only not in (None, key) or is_cloudinit(parts) or volid in thick:
                continue
            volumes = storage.at(guest.node)
            name = re.sub(r"\b(vm|subvol)-(?=\d+-disk)",
                          lambda match: "base-" if match.group(1) == "vm" else "basevol-", volid)
            volumes[name] = volumes.pop(volid)
            volumes[name].volid = name
            guest.conf[key] = str(guest.conf[key]).replace(volid, name, 1)
        guest.conf["template"] = 1
    upid = call.work(guest, "template", worker)
    return upid if kind == "qemu" else None


def _local_disks(world, guest):
    """The rows of local_disks: volumes that only this node has, CDs among them."""
    rows = []
    for key, parts, volid in guest.drives(unused=True):
        storage, unused = world.storage_of(volid), key.startswith("unused")
        if storage and not storage.shared:
            rows.append({"volid": volid, "drivename": key, "size": drives.size_of_disk(world, guest, volid, parts),
                         "cdrom": int(is_cdrom(parts) and not is_cloudinit(parts)), "is_unused": int(unused),
                         "is_vmstate": 0, "is_attached": int(not unused), "replicate": 1, "shared": 0})
            names = drives.snapshots_of(guest, volid)
            if names:
                rows[-1]["referenced_in_snapshot"] = dict.fromkeys(names, 1)
    return rows


def _devices(guest):
    """(the devices of the node that a VM uses, those of them that are mapped)."""
    found = {key: str(value) for key, value in guest.conf.items() if re.match(r"(hostpci|usb)\d+$", key)}
    return list(found), [key for key, value in found.items() if "mapping=" in value]


def _affine(world, guest, affinity):
    """The other guests that HA keeps with a guest (affinity: positive), or apart from it (negative)."""
    return [other for rule in world.ha["rules"].values() if rule.get("affinity") == affinity and not rule.get("disable")
            for sids in [split_list(rule["resources"])] if guest.sid in sids and ha_of(world, guest)
            for other in world.guests.values() if other.sid in sids and other is not guest and ha_of(world, other)]


def _blocking(world, guest, target):
    """What HA has on a node that must not be beside a guest, or what moves along with it."""
    together = [guest] + _affine(world, guest, "positive")
    return [other.sid for one in together for other in _affine(world, one, "negative") if other.node == target]


def precheck(call):
    kind, world = call.kind, call.world
    if kind == "lxc" and world.major < 9:
        raise Refusal(501, "Method 'GET /nodes/%s/lxc/%s/migrate' not implemented" % (call.node, call.p["vmid"]))
    guest = call.guest()
    target = call.p.get("target")
    if target is not None and target not in world.nodes:
        bad(target="no such cluster node '%s'" % target)
    allowed, refused = [], {}
    for name in world.nodes:
        if name == guest.node or target not in (None, name):
            continue
        away = sorted({world.storage_of(volid).name for _, _, volid in guest.disks()
                       if not world.storage_of(volid).on(name)}) if kind == "qemu" else ()      # of containers HA alone
        blocking = _blocking(world, guest, name)
        if away or blocking:
            refused[name] = {**({"unavailable_storages": away} if away else {}), **({"blocking-ha-resources": [
                {"sid": sid, "cause": "resource-affinity"} for sid in blocking]} if blocking else {})}
        elif name not in world.offline:
            allowed.append(name)
    along = [other.sid for other in _affine(world, guest, "positive")]
    told = {"running": int(guest.running), **({"dependent-ha-resources": along} if along else {})}
    if kind == "lxc":
        return dict(told, **{"allowed-nodes": allowed, "not-allowed-nodes": refused})
    devices, mapped = _devices(guest)
    if (world.major, world.minor) >= (8, 4):            # before, these are among them
        devices = [key for key in devices if key not in mapped]
    told.update(local_disks=_local_disks(world, guest), local_resources=devices)
    if world.major > 7 or not guest.running:
        told.update(allowed_nodes=allowed, not_allowed_nodes=refused)
    if world.major > 7:
        told.update({"mapped-resources": mapped, "mapped-resource-info": {key: {} for key in mapped}})
    return dict(told, **{"has-dbus-vmstate": 1}) if world.major > 8 else told


def migrate(call):
    kind, world, p = call.kind, call.world, call.p
    guest, target = call.guest(), p["target"]
    if p.get("force"):
        bad(force="Only root may use this option.")
    if target == call.node:
        bad(target="target is local node.")
    if target not in world.nodes:
        die("no such cluster node '%s'" % target)
    if target in world.offline:
        die("node '%s' is not online" % target)
    if kind == "qemu" and guest.running and not p.get("online"):
        die("can't migrate running VM without --online")
    if kind == "lxc" and guest.running and not (p.get("restart") or p.get("online")):
        die("can't migrate running container without --online or --restart")
    mapping = p.get("targetstorage") or p.get("target-storage")
    for _, _, volid in guest.disks():
        name = _mapped(mapping, volid.partition(":")[0])
        if not mapping and not world.storages[name].on(target):
            die("storage '%s' is not available on node '%s'" % (name, target))
        if mapping:
            call.need("/storage/" + name, "Datastore.AllocateSpace")
            world.online_storage(name, target)
    if ha_of(world, guest):
        return _ha_migrate(call, guest, target)
    return call.work(guest, "migrate", lambda task: moving(
        world, guest, target, task, p.get("with-local-disks") or p.get("restart"), mapping))


def _mapped(mapping, name):
    """The storage that takes the volumes of `name`: targetstorage is "1", one storage, or pairs."""
    for word in split_list(mapping or ""):
        old, colon, new = word.partition(":")
        if colon and old == name:
            return new
        if not colon and word != "1":
            return word
    return name


def _ha_migrate(call, guest, target):
    world = call.world

    def worker(task):
        task.say("Requesting HA migration for %s %d to node %s" % (guest.what, guest.vmid, target))
        yield 0.3
        if _blocking(world, guest, target):
            die("command 'ha-manager migrate %s %s' failed: exit code 255" % (guest.sid, target))
        for one in [guest] + [other for other in _affine(world, guest, "positive") if other.node != target]:
            _ha_moves(world, one, target, 8.0)
    return call.fork("hamigrate", guest.vmid, worker)


def _ha_moves(world, guest, target, seconds):
    """HA moves a guest in a while; back again, when a rule prefers another node and its `failback` is not off."""
    def worker(task):
        yield from moving(world, guest, target, task, True, None)
        resource, home = ha_of(world, guest), target
        for rule in world.ha["rules"].values():
            if rule["type"] == "node-affinity" and guest.running and resource.get("failback", 1) and (
                    guest.sid in split_list(rule["resources"])):
                wants = {node: int(number or 0) for node, _, number in (
                    word.partition(":") for word in split_list(rule["nodes"])) if node not in world.offline}
                home = max(wants, key=wants.get) if wants.get(target, -1) < max(wants.values(), default=-1) else home
        if home != target:
            _ha_moves(world, guest, home, 10.0)
    world.tasks.later(seconds, lambda: world.tasks.fork(
        guest.node, guest.task("migrate"), guest.vmid, "root@pam", worker))


def moving(world, guest, target, task, with_disks, mapping):
    """Worker: bring a guest to another node, its local disks with it (PVE::AbstractMigrate)."""
    start = world.t

    def log(text):
        for line in text.split("\n"):
            task.say("%s %s" % (stamp(world.t, "%Y-%m-%d %H:%M:%S"), line))

    def duration():
        seconds = int(world.t - start)
        return "%02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)

    try:
        yield from _move(world, guest, target, log, with_disks, mapping)
    except Refusal as error:
        log("ERROR: migration aborted (duration %s): %s" % (duration(), error.text.strip()))
        die("migration aborted")
    log("migration finished successfully (duration %s)" % duration())


def _obstacle(world, guest, row, with_disks):
    """Why a local volume cannot be taken along (": reason"), or None."""
    if row["cdrom"]:
        return ""
    live = guest.running and guest.kind == "qemu"
    if live and not with_disks and row["is_attached"]:
        return ": can't live migrate attached local disks without with-local-disks option"
    if drives.in_snapshot(guest, row["volid"]):
        if live:
            return ": online storage migration not possible if non-replicated snapshot exists"
        if world.storages[row["volid"].partition(":")[0]].type != "zfspool":
            return ": non-migratable snapshot exists"
    return None


def _move(world, guest, target, log, with_disks, mapping):
    guest.check_lock()
    if target in world.offline:
        die("Can't connect to destination address using public key")
    was_running = guest.running
    if guest.kind == "lxc" and was_running and with_disks is None:
        die("lxc live migration is currently not implemented")
    devices, mapped = _devices(guest)
    if set(devices) - set(mapped):
        die("can't migrate VM which uses local devices: %s" % ", ".join(key for key in devices if key not in mapped))
    if mapped and was_running:
        die("can't migrate running VM which uses following mapped devices: %s" % ", ".join(mapped))
    local = _local_disks(world, guest)
    log("starting migration of %s %d to node '%s' (%s)" % (guest.what, guest.vmid, target, world.nodes[target].ip))
    failed = False
    for row in local:
        log("found local disk '%s' (%s)" % (row["volid"], "attached" if row["is_attached"] else "unused"))
        problem = _obstacle(world, guest, row, with_disks)
        if problem is not None:
            failed = True
            log("ERROR: can't migrate local %s '%s'%s" % ("cdrom" if row["cdrom"] else "disk", row["volid"], problem))
    if failed:
        die("Problem found while scanning volumes - can't migrate VM - check log" if guest.kind == "qemu" else
            "can't migrate CT - check log")
    guest.conf["lock"] = "migrate"
    try:
        if guest.kind == "lxc" and was_running:
            log("shutdown CT %d" % guest.vmid)
            yield 2.0
            switch_off(world, guest)
        live = was_running and guest.kind == "qemu"
        for row in local:
            name = _mapped(mapping, row["volid"].partition(":")[0])
            if row["size"] * 0.3 > world.storages[name].space(target)[2]:
                die("storage migration for '%s' to storage '%s' failed - not enough free space" % (row["volid"], name))
            yield from disks.copying(world, log, row["size"], disks.mirror_line("drive-" + row["drivename"]) if live
                                     else disks.gib_line())
        if live:
            log("starting online/live migration on unix:/run/qemu-server/%d.migrate\nset migration capabilities\n"
                "migration speed limit: 125.0 MiB/s" % guest.vmid)
            for part in (0.3, 0.6, 0.9):
                yield 1.5
                log("migration active, transferred %.1f GiB of %.1f GiB VM-state, 112.4 MiB/s"
                    % (guest.memory * part / GIB, guest.memory / GIB))
            log("average migration speed: 118.1 MiB/s - downtime 64 ms\nmigration status: completed")
        yield 0.6
        _carry(world, guest, target, mapping)
    finally:
        guest.conf.pop("lock", None)
    if guest.kind == "lxc" and was_running:
        log("start container on target node")
        yield 1.0
        switch_on(world, guest)


def _carry(world, guest, target, mapping=None):
    """A guest's configuration and local volumes are on another node from now on."""
    source, renamed = guest.node, {}
    confs = [guest.conf, guest.pending] + [snapshot["conf"] for snapshot in guest.snapshots.values()]
    for _, parts, volid in [disk for conf in confs for disk in guest.disks(conf)]:
        storage = world.storage_of(volid)
        wanted = world.storages[_mapped(mapping, storage.name)]
        if volid in renamed or (storage.shared and wanted is storage):
            continue
        volume = storage.at(source).pop(volid, None)
        if volume is not None and wanted is storage:
            storage.at(target)[volid] = volume
        elif volume is not None:
            renamed[volid] = world.allocate(wanted, target, guest.vmid, volume.size, None, guest.kind,
                                            used=volume.taken).volid
    for state in filter(None, [snapshot.get("vmstate") for snapshot in guest.snapshots.values()]):
        storage = world.storage_of(state)
        if state in storage.at(source):
            storage.at(target)[state] = storage.at(source).pop(state)
    for conf in confs:
        for key, value in list(conf.items()):
            for old, new in renamed.items():
                if value is not None and old in str(value):
                    conf[key] = str(value).replace(old, new)
    guest.node = target


_CLONE = {"newid*": integer("Id of the clone.", 100, 999999999, format="pve-vmid"), "description": string("Its notes."),
          "pool": string("Into this pool.", format="pve-poolid"), "full": boolean("Copy all disks."),
          "snapname": string("From this snapshot.", format="pve-configid", maxLength=40),
          "storage": string("Copies go here.", format="pve-storage-id"),
          "target": string("On this node.", format="pve-node")}
_MAY_CLONE = ["and", perm(VM, "VM.Clone"), ["or", perm("/vms/{newid}", "VM.Allocate"),
                                            perm("/pool/{pool}", "VM.Allocate") + ["require_param", "pool"]]]
_MIGRATE = perm(VM, "VM.Migrate")
_TARGET = string("To this node.", format="pve-node")
_PATH = "/nodes/{node}/{kind}/{vmid}/"

ROUTES = (
    both("POST " + _PATH + "clone", clone, _MAY_CLONE, "Copy a {guest}.", _CLONE, {
        "name": string("Its name.", format="dns-name"), "format": enum("Format of the copies.", "raw qcow2 vmdk"),
        "bwlimit": integer("KiB/s.", 0)},
        {"hostname": string("Its host name.", format="dns-name"), "bwlimit": number("KiB/s.", 0)})
    + both("POST " + _PATH + "template", template, perm(VM, "VM.Allocate"), "Make a {guest} a template.", None, {
        "disk": enum("Only this disk.", disks.QEMU_DISKS)})
    + both("GET " + _PATH + "migrate", precheck, _MIGRATE, "Where a {guest} could go.", {"target": _TARGET})
    + both("POST " + _PATH + "migrate", migrate, _MIGRATE, "Bring a {guest} to another node.", {"target*": _TARGET}, {
        "online": boolean("While it runs."), "force": boolean("Only for root."),
        "with-local-disks": boolean("Its local disks too."),
        "targetstorage": string("Storages there.", format="storage-pair-list"),
        "bwlimit": integer("KiB/s.", 0), "migration_type": enum("With or without SSH.", "secure insecure"),
        "migration_network": string("Over this network.", format="CIDR")}, {
        "online": boolean("Live; not possible yet."), "restart": boolean("Stop it, move, start it."),
        "timeout": integer("Seconds for the shutdown.", default=180), "bwlimit": number("KiB/s.", 0),
        "target-storage": string("Storages there.", format="storage-pair-list")})
)
