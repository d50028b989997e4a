"""New guests: created, restored from a backup, cloned; and their end."""
import re
from contextlib import contextmanager

from tools.demo import disks, drives, options
from tools.demo.change import check_features, check_hookscript, check_root_only, stored
from tools.demo.guests import ha_of
from tools.demo.model import GIB, MIB, Guest, Refusal, bad, die, disk_rule, is_cdrom, is_cloudinit, nets, size_bytes
from tools.demo.power import begin, switch_off
from tools.demo.rules import boolean, integer, number, string
from tools.demo.wire import ALL, VM, Route, forbid, perm

_CREATE_ONLY = ("node", "vmid", "pool", "start", "storage", "archive", "force", "unique", "bwlimit", "live-restore",
                "ha-managed", "ostemplate", "restore", "password", "ssh-public-keys", "ignore-unpack-errors")


def _options(call, kind):
    """The options of the new guest's configuration; the caller may set each, on the guest or on its pool."""
    values = {key: int(value) if isinstance(value, bool) else value for key, value in call.p.items()
              if key not in _CREATE_ONLY}
    for key, value in values.items():
        privilege = options.privilege_of(kind, key)
        if key.startswith("unused"):                    # a new guest owns no volume yet
            die("volume '%s' does not exist" % value)
        check_root_only(kind, key, str(value))
        if key != "unprivileged" and not (call.p.get("pool") and call.may("/pool/" + call.p["pool"], privilege)):
            call.need("/vms/%d" % call.p["vmid"], privilege)
    for text in nets(values).values():
        drives.check_bridge(call, kind, text)
    if kind == "qemu":
        check_hookscript(call, values)
    if "features" in values:
        check_features(None, str(values["features"]))
    return values


def _into_pool(call, vmid):
    """Put a new guest into the pool and under HA, as asked for."""
    if call.p.get("ha-managed"):
        sid = call.world.guests[vmid].sid
        call.world.ha["resources"][sid] = {"sid": sid, "type": sid[:2], "max_restart": 1, "max_relocate": 1,
                                           "state": "started" if call.p.get("start") else "stopped"}
    if call.p.get("pool"):
        old = call.world.pool_of(vmid)
        if old:
            call.world.pools[old]["vms"].remove(vmid)
        call.world.pools[call.p["pool"]]["vms"].append(vmid)


def forget(world, guest, purge=True):
    """Take a guest out of the cluster, its volumes and, with `purge`, its jobs with it."""
    confs = [guest.conf, {key: value for key, value in guest.pending.items() if value is not None}]
    confs += [snapshot["conf"] for snapshot in guest.snapshots.values()]
    for conf in confs:
        for _, _, volid in guest.disks(conf):
            if drives.owns(world, guest, volid):
                world.free(volid, guest.node)
    for snapshot in guest.snapshots.values():
        if snapshot.get("vmstate"):
            world.free(snapshot["vmstate"], guest.node)
    world.guests.pop(guest.vmid, None)
    pool = world.pool_of(guest.vmid)
    if pool:
        world.pools[pool]["vms"].remove(guest.vmid)
    world.firewall.pop(guest.vmid, None)
    world.access["acl"] = [row for row in world.access["acl"] if row["path"] != "/vms/%d" % guest.vmid]
    if purge:
        for job in [name for name, job in world.replication.items() if job["guest"] == guest.vmid]:
            del world.replication[job]
        for job in world.backup_jobs.values():
            ids = [word for word in str(job.get("vmid", "")).split(",") if word and word != str(guest.vmid)]
            if job.get("vmid"):
                job["vmid"] = ",".join(ids)
        world.ha["resources"].pop(guest.sid, None)


def create_vm(call):
    """POST /nodes/{node}/qemu: a new VM, or one from a backup (archive)."""
    world, vmid = call.world, call.p["vmid"]
    _may_create(call, call.p.get("archive"))
    if call.p.get("archive"):
        return _restore_vm(call)
    values = _options(call, "qemu")
    for key in values:
        if disk_rule("qemu", key):
            drives.check_drive_access(call, key, values[key], vmid, call.p.get("storage"))
    other = world.guests.get(vmid)
    if other is not None:
        die("unable to create VM %d - %s %d already exists on node '%s'" % (vmid, other.what, vmid, other.node))
    guest = Guest(vmid, "qemu", call.node, {"lock": "create"})

    def worker(task):
        world.guests[vmid] = guest
        _into_pool(call, vmid)
        made = []
        with _undone(call, task, guest, made, True):
            conf = {}
            for key in sorted(values):
                if disk_rule("qemu", key):
                    yield 0.4
                    conf[key] = drives.make_drive(world, guest, key, values[key], task.say, made, call.p.get("storage"))
            for key, value in values.items():
                if key not in conf:
                    conf[key] = stored(world, "qemu", key, value)
            conf = dict({"boot": _boot_order(guest, conf), "memory": "512", "cores": 1, "sockets": 1, "ostype": "other",
                         "numa": 0, "smbios1": "uuid=%s" % world.uuid(), "vmgenid": world.uuid(),
                         "meta": "creation-qemu=10.1.2,ctime=%d" % world.t}, **conf)
            yield 0.3
        _finish(call, task, guest, conf)
    return call.fork("qmcreate", vmid, worker)


@contextmanager
def _undone(call, task, guest, made, purge=False):
    """Whatever ends the making of a guest early: its volumes and itself are gone again."""
    try:
        yield
    except BaseException as error:
        for volid in made:
            call.world.free(volid, call.node)
            task.say("temporary volume '%s' sucessfuly removed" % volid)
        forget(call.world, guest, purge)
        if isinstance(error, Refusal):
            die("unable to %s %s %d - %s" % ("restore" if call.p.get("archive") or call.p.get("restore") else "create",
                                             guest.what, guest.vmid, error.text))
        raise


def _finish(call, task, guest, conf):
    """A new guest is there: its configuration, and its start if asked for."""
    guest.conf.clear()
    guest.conf.update(conf)
    if call.p.get("start"):
        task.say("Execute autostart")
        begin(call, guest)


def known_pool(world, pool):
    """403 when there is no such pool; None is all right."""
    if pool is not None and pool not in world.pools:
        forbid("pool '%s' does not exist" % pool)


def _may_create(call, restore):
    vmid, pool = call.p["vmid"], call.p.get("pool")
    known_pool(call.world, pool)
    if call.may("/vms/%d" % vmid, "VM.Allocate") or (pool and call.may("/pool/" + pool, "VM.Allocate")):
        return
    if restore and call.p.get("force") and call.may("/vms/%d" % vmid, "VM.Backup"):
        return
    forbid("/vms/%d, VM.Allocate" % vmid)


def _boot_order(guest, conf):
    """The default order: the first disk, the first CD drive, the first card."""
    found = {key: is_cdrom(parts) for key, parts, _ in guest.drives(conf) if not is_cloudinit(parts)}
    order = [key for key in ("%s%d" % (bus, n) for bus in ("scsi", "virtio", "sata", "ide") for n in range(31))
             if key in found]
    return "order=" + ";".join([key for key in order if not found[key]][:1] + [key for key in order if found[key]][:1]
                               + sorted(nets(conf))[:1])


def _archive(call, content="backup"):
    """The Volume of a backup to restore, readable for the caller."""
    world = call.world
    volid = call.p.get("archive") or call.p.get("ostemplate")
    if volid == "-" or volid.startswith("/"):
        forbid("user != root@pam")
    name = volid.partition(":")[0]
    if ":" not in volid:
        die("unable to parse volume ID '%s'" % volid)
    storage = world.online_storage(name, call.node)
    volume = storage.at(call.node).get(volid)
    drives.check_volume(call, storage, volume)
    if (volume.content if volume is not None else drives.parse_volname(world, volid)[0]) != content:
        die("unable to use volume %s - content type needs to be '%s'" % (volid, content))
    if volume is None and content == "backup":
        die("can't find file '%s'" % volid)
    return storage, volume, volid


def _restore_vm(call):
    world, vmid = call.world, call.p["vmid"]
    values = _options(call, "qemu")
    for key, parts, _ in Guest(vmid, "qemu", call.node, values).drives():
        if not is_cdrom(parts):
            bad(**{key: "option conflicts with option 'archive'"})
    source, volume, volid = _archive(call)
    if call.p.get("live-restore") and source.type != "pbs":
        die("live-restore is only compatible with backup images from a Proxmox Backup Server")
    old = world.guests.get(vmid)
    if call.p.get("storage"):
        call.need("/storage/" + call.p["storage"], "Datastore.AllocateSpace")
        drives.check_images(world.online_storage(call.p["storage"], call.node))
    if old is not None:
        if not call.p.get("force") or old.node != call.node or old.kind != "qemu":
            die("unable to restore VM %d - %s %d already exists on node '%s'" % (vmid, old.what, vmid, old.node))
        old.check_protection("unable to restore VM %d" % vmid)

    def worker(task):
        yield 0.3
        if old is not None and old.running:
            die("unable to restore VM %d - vm is running" % vmid)
        if volume is None or volume.volid not in source.at(call.node):
            die("unable to restore VM %d - volume '%s' does not exist" % (vmid, volid))
        task.say(("restore vma archive: zstd -q -d -c %s | vma extract -v -r /var/tmp/vzdump.fifo - /var/tmp/vzdump"
                  if source.type != "pbs" else "restore proxmox backup image: %s") % volid)
        guest = Guest(vmid, "qemu", call.node, {"lock": "create"}, **dict(old.guest if old else {}))
        conf = {key: value for key, value in volume.facts["config"].items() if not key.startswith("unused")}
        if old is not None:
            forget(world, old, purge=False)
        world.guests[vmid] = guest
        made = []
        with _undone(call, task, guest, made):
            for key, parts, _ in guest.drives(conf):
                if not is_cdrom(parts) or is_cloudinit(parts):
                    conf[key] = yield from _restored_drive(call, task, key, parts, made)
            yield 0.2
        if call.p.get("unique"):
            unique(world, conf)
        for key, value in values.items():
            conf[key] = stored(world, "qemu", key, value)
        conf.pop("template", None)
        _into_pool(call, vmid)
        task.say("rescan volumes...")
        _finish(call, task, guest, conf)
    return call.fork("qmrestore", vmid, worker)


def _restored_drive(call, task, key, parts, made):
    """Worker part: a drive's value in the restored VM, on a new volume."""
    world, vmid, cloudinit = call.world, call.p["vmid"], is_cloudinit(parts)
    target = world.online_storage(call.p.get("storage") or parts["file"].partition(":")[0], call.node)
    size = 4 * MIB if cloudinit else size_bytes(parts.get("size", "1G"))
    if "images" not in target.content:
        die("storage '%s' does not support vm images" % target.name)
    used = int(size * 0.3) if target.thin and not cloudinit else size
    if used > target.space(call.node)[2]:
        die("not enough free space on storage '%s'" % target.name)
    parts["file"] = world.allocate(target, call.node, vmid, size, None, used=used,
                                   name="vm-%d-cloudinit" % vmid if cloudinit else None).volid
    made.append(parts["file"])
    task.say("new volume ID is '%s'\nmap 'drive-%s' to '%s' (write zeros = 0)" % (parts["file"], key, parts["file"]))
    for percent in (10, 40, 70, 100):
        yield min(3.0, size / disks.SPEED / 4)
        task.say("progress %d%% (read %d bytes, duration %d sec)" % (percent, size * percent // 100, percent // 12))
    return drives.print_properties(parts, disk_rule("qemu", key))


def unique(world, conf):
    """New MAC addresses, a new UUID."""
    for key, text in nets(conf).items():
        conf[key] = re.sub(r"(?i)([0-9a-f]{2}(:[0-9a-f]{2}){5})", lambda match: world.mac(), str(text), count=1)
    if "smbios1" in conf:
        conf["smbios1"] = "uuid=%s" % world.uuid()
    if "vmgenid" in conf:
        conf["vmgenid"] = world.uuid()


def create_container(call):
    """POST /nodes/{node}/lxc: a new container, or one from a backup (ostemplate and restore=1)."""
    world, vmid = call.world, call.p["vmid"]
    restore = bool(call.p.get("restore"))
    _may_create(call, restore)
    values = _container_options(call, restore)
    source, volume, volid = _archive(call, "backup" if restore else "vztmpl")
    old = world.guests.get(vmid)
    if old is not None and not (restore and call.p.get("force") and old.kind == "lxc" and old.node == call.node):
        die("%s%s %d already exists on node '%s'" % ("unable to restore CT %d - " % vmid if restore else "", old.what,
                                                     vmid, old.node))
    if old is not None:
        if old.running:
            die("can't overwrite running container")
        old.check_protection("unable to restore CT %d" % vmid)
        old.check_lock()
    mounts = _container_mounts(call, values)
    guest = Guest(vmid, "lxc", call.node, {"lock": "create"}, **dict(old.guest if old else {}))

    def worker(task):
        yield 0.3
        if volume is None or volume.volid not in source.at(call.node):
            die("unable to %s CT %d - volume '%s' does not exist" % ("restore" if restore else "create", vmid, volid))
        if old is not None:
            forget(world, old, purge=False)
        world.guests[vmid] = guest
        _into_pool(call, vmid)
        saved = dict(volume.facts["config"]) if restore else {}
        made = []
        with _undone(call, task, guest, made):
            conf = _container_volumes(world, guest, saved, values, mounts, call, made)
            for name in made:
                task.say("  Logical volume \"%s\" created." % name.partition(":")[2])
            task.say(("restoring '%s' now.." % volid if restore else
                      "Creating filesystem with 4k blocks and 262144 inodes") + "\nextracting archive '%s'" % volid)
            yield 3.0
            size = volume.size * 3
            task.say("Total bytes read: %d (%dMiB, 204MiB/s)" % (size, size // MIB))
        conf.update((key, value) for key, value in saved.items() if not disk_rule("lxc", key)
                    and key not in ("lock", "template"))
        conf.update((key, stored(world, "lxc", key, value)) for key, value in values.items()
                    if not disk_rule("lxc", key))
        if not restore:
            conf = dict({"ostype": _ostype(volid), "arch": "amd64", "hostname": "CT%d" % vmid, "memory": 512,
                         "swap": 512}, **conf)
            task.say("Detected container architecture: amd64\n"
                     "Creating SSH host key 'ssh_host_ed25519_key' - this may take some time ...\n"
                     "done: SHA256:%s root@%s" % (world.uuid().replace("-", ""), conf["hostname"]))
        if call.p.get("unique"):
            unique(world, conf)
        guest.filled = min(600 * MIB, size_bytes(str(conf["rootfs"]).rpartition("size=")[2] or "1G") // 3)
        if not restore and conf["unprivileged"] and "nesting=1" not in str(conf.get("features", "")) and conf[
                "ostype"] in ("debian", "ubuntu"):
            task.warn("Systemd 257 detected. You may need to enable nesting.")
        _finish(call, task, guest, conf)
    return call.fork("vzrestore" if restore else "vzcreate", vmid, worker)


def _container_options(call, restore):
    """The options of the new container, checked."""
    values = _options(call, "lxc")
    if not restore:
        values["unprivileged"] = int(values.get("unprivileged", call.world.major >= 9))
        if not values["unprivileged"] and call.world.major >= 9:
            call.need("/", "Sys.Modify")
    if call.p.get("ssh-public-keys") and not re.match(r"(ssh-|ecdsa-|sk-)", call.p["ssh-public-keys"].strip()):
        die("SSH public key validation error: invalid key")
    return values


def _container_mounts(call, values):
    """Its rootfs and mount points, checked; a bare size is on the default storage."""
    default, mounts = call.p.get("storage", "local"), [key for key in values if disk_rule("lxc", key)]
    if mounts and "rootfs" not in mounts:
        die("mount points configured, but 'rootfs' not set - aborting")
    if not mounts:
        if "rootdir" not in call.world.known_storage(default).content:
            bad(storage="storage '%s' does not support container directories" % default)
        call.need("/storage/" + default, "Datastore.AllocateSpace")
    for key in mounts:
        volume = str(values[key]).split(",")[0]
        if ":" not in volume and drives.NEW_DISK.match(volume):
            values[key] = "%s:%s" % (default, values[key])
        drives.check_mount_access(call, key, values[key], call.p["vmid"])
    return mounts


def _ostype(volid):
    name = re.match("[a-z]*", volid.rpartition("/")[2]).group()
    return name if name in options.LXC["ostype"]["enum"] else "centos" if name in ("rockylinux", "almalinux") else (
        "unmanaged")


def _container_volumes(world, guest, saved, values, mounts, call, made):
    """{key: value} of rootfs and mount points, made: as asked for, or as the backup had them, or 4 GiB."""
    conf = {}
    if mounts:
        for key in sorted(mounts, key=lambda name: (name != "rootfs", name)):
            conf[key] = drives.make_mount(world, guest, key, values[key], made)
        return conf
    wanted = guest.drives(saved)
    if not wanted:
        return {"rootfs": drives.make_mount(world, guest, "rootfs", call.p.get("storage", "local") + ":4", made)}
    for key, parts, volid in wanted:
        if drives.mount_type(volid) != "volume":
            conf[key] = saved[key]
            continue
        size = size_bytes(parts.pop("size", "4G"))
        name = call.p.get("storage") or volid.partition(":")[0]
        parts["volume"] = "%s:%s" % (name, ("%.3f" % (size / GIB)).rstrip("0").rstrip("."))
        conf[key] = drives.make_mount(world, guest, key, drives.print_properties(parts, disk_rule("lxc", key)), made)
    return conf


def delete(call):
    kind = call.kind
    guest, world = call.guest(), call.world
    purge = call.p.get("purge")
    resource = ha_of(world, guest)
    guest.check_protection("can't remove %s %d" % (guest.what, guest.vmid))
    if resource and not purge:
        die("unable to remove %s %d - used in HA resources and purge parameter not set." % (guest.what, guest.vmid))
    if guest.running and not call.p.get("force"):
        die(("VM %d is running - destroy failed" if kind == "qemu" else
             "unable to destroy CT %d - container is running") % guest.vmid)
    jobs = [name for name, job in world.replication.items() if job["guest"] == guest.vmid]
    if jobs and not purge:
        die("There is a replication job '%s' for guest '%d' - Please remove that first." % (jobs[0], guest.vmid))
    for _, _, volid in guest.disks():
        drives.check_unused_base(world, volid, guest.node)

    def worker(task):
        guest.check_lock()
        if guest.running and kind == "lxc":
            task.say("stopping CT %d" % guest.vmid)
            yield 1.0
            switch_off(world, guest)
        if guest.running:
            die("VM %d is running - destroy failed" % guest.vmid)
        for _, _, volid in guest.disks():
            if drives.owns(world, guest, volid):
                task.say("  Logical volume \"%s\" successfully removed." % volid.partition(":")[2])
        yield 0.8
        if call.p.get("destroy-unreferenced-disks"):
            for storage in world.storages.values():
                for volid in [volid for volid, volume in storage.at(guest.node).items()
                              if volume.vmid == guest.vmid and volume.content in ("images", "rootdir")]:
                    storage.at(guest.node).pop(volid)
        forget(world, guest, purge)
        if purge:
            task.say("purging %s %d from related configurations.." % (guest.what, guest.vmid))
    return call.work(guest, "destroy", worker)


_NEW = {"vmid*": integer("The new guest's id.", 100, 999999999, format="pve-vmid"),
        "pool": string("Into this pool.", format="pve-poolid"), "start": boolean("Start it afterwards.", default=0),
        "storage": string("Default storage.", format="pve-storage-id"),
        "ha-managed": boolean("Make it an HA resource.", default=0)}
_QEMU = dict(options.QEMU, **dict(_NEW, **{
    "archive": string("Restore this backup.", maxLength=255), "force": boolean("Overwrite the VM.", requires="archive"),
    "unique": boolean("New MAC addresses.", requires="archive"), "bwlimit": integer("KiB/s.", 0),
    "live-restore": boolean("Start at once (PBS).")}))
_LXC = dict(options.LXC, **dict(_NEW, **{
    "ostemplate*": string("Template, or backup.", maxLength=255), "restore": boolean("ostemplate is a backup."),
    "force": boolean("Overwrite the container."), "unique": boolean("New MAC addresses.", requires="restore"),
    "bwlimit": number("KiB/s.", 0), "password": string("root's password.", minLength=5),
    "ssh-public-keys": string("Keys for root, one a line."), "ignore-unpack-errors": boolean("Go on after errors.")}))

ROUTES = [
    Route("POST /nodes/{node}/qemu", create_vm, ALL, "Make a VM, or restore one.", _QEMU),
    Route("POST /nodes/{node}/lxc", create_container, ALL, "Make a container, or restore one.", _LXC),
    Route("DELETE /nodes/{node}/qemu/{vmid}", delete, perm(VM, "VM.Allocate"), "Destroy a VM and its disks.", {
        "purge": boolean("Remove it from jobs and HA too."), "skiplock": boolean("Only for root."),
        "destroy-unreferenced-disks": boolean("Its disks that no configuration names too.", default=0)}),
    Route("DELETE /nodes/{node}/lxc/{vmid}", delete, perm(VM, "VM.Allocate"), "Destroy a container and its volumes.", {
        "purge": boolean("Remove it from jobs and HA too.", default=0), "force": boolean("Stop it first.", default=0),
        "destroy-unreferenced-disks": boolean("Its volumes that no configuration names too.")}),
]
