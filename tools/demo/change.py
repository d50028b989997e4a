"""Changing a guest's configuration: what applies at once, what waits for a restart, what happens to replaced disks."""
import re

from tools.demo import drives, options
from tools.demo.model import Refusal, bad, die, disk_rule, is_cdrom, nets, verify, volume_of
from tools.demo.rules import boolean, integer, parse_properties, split_list, string
from tools.demo.wire import VM, Route, forbid, perm_any
from tools.pve.jsonschema import spec_of

#: Options of a running VM that need no restart (qemu-server's fast_plug_option and those it can set live).
LIVE_QEMU = set(
    "description hookscript lock migrate_downtime name onboot protection shares startup vmstatestorage tags balloon "
    "cpuunits cpulimit affinity hotplug allow-ksm".split())
#: Options of a running container that need no restart.
LIVE_LXC = set(
    "description onboot startup protection hostname hookscript cores tags lock memory swap cpulimit cpuunits "
    "nameserver searchdomain".split())
#: Properties of a drive that cannot change while it is plugged in.
_FIXED = ("aio", "cache", "discard", "iothread", "queues", "product", "vendor", "ssd", "ro", "detect_zeroes")
_CONTROL = ("node", "vmid", "delete", "revert", "digest", "force", "background_delay", "skiplock")


def _wishes(call, kind):
    """(values to set, options to delete, options to revert), with the checks of the two API methods' first lines."""
    p = call.p
    known = options.OPTIONS[kind]
    values = {key: int(value) if isinstance(value, bool) else value for key, value in p.items() if key not in _CONTROL}
    if "cdrom" in values:
        if "ide2" in values:
            bad(cdrom="conflicts with option 'ide2'")
        values["ide2"] = values.pop("cdrom")
    deletes = ["ide2" if key == "cdrom" else key for key in split_list(p.get("delete", ""))]
    reverts = ["ide2" if key == "cdrom" else key for key in split_list(p.get("revert", ""))]
    for name, keys in (("delete", deletes), ("revert", reverts)):
        for key in keys:
            if key in values:
                bad(**{name: "you can't use '-%s' and '-%s %s' at the same time" % (key, name, key)})
            if spec_of(known, key) is None:
                bad(**{name: "unknown option '%s'" % key})
    for key in deletes:
        if key in reverts:
            bad(delete="you can't use '-delete %s' and '-revert %s' at the same time" % (key, key))
    if not values and not deletes and not reverts and not p.get("skiplock"):
        die("no options specified")
    return values, deletes, reverts


def _check_rights(call, kind, guest, values, deletes, reverts):
    """The privilege of each option; root-only values; SDN.Use on old and new bridges."""
    path = "/vms/%d" % call.p["vmid"]
    conf = guest.wanted() if guest else {}
    for key in list(values) + deletes + reverts:
        text = str(values.get(key, ""))
        check_root_only(kind, key, text)
        if kind == "lxc" and key == "features":
            check_features(guest, text)
        if kind == "lxc" and key == "unprivileged" and key in values:
            die("unable to modify read-only option: 'unprivileged'")
        rule = disk_rule("qemu", key) if kind == "qemu" else None
        now = str(conf.get(key, ""))
        if rule and all(not value or is_cdrom(parse_properties(rule, value)) for value in (text, now)):
            call.need_any(path, "VM.Config.CDROM", "VM.Config.Disk")
            continue
        call.need(path, options.privilege_of(kind, key))
    for text in [conf[key] for key in list(values) + deletes if key in nets(conf)] + list(nets(values).values()):
        drives.check_bridge(call, kind, text)


def check_root_only(kind, key, text):
    """Refuse an option, or a value of it (""; it goes), that only root@pam may set."""
    base = key.rstrip("0123456789")
    if key in options.ROOT_ONLY[kind]:
        die("only root can set '%s' config" % key)
    if kind == "qemu" and base in ("hostpci", "usb", "serial") and key != base and text and not (
            text == "socket" or text.startswith(("spice", "host=spice")) or "mapping=" in text):
        die("only root can set '%s' config for %s"
            % (key, "real devices" if base != "hostpci" else "non-mapped devices"))
    if kind == "lxc" and base == "dev" and key != base:
        forbid("configuring device passthrough is only allowed for root@pam")


def check_hookscript(call, values):
    """400 unless the hook script is one that is there (PVE::GuestHelpers::check_hookscript)."""
    volid = values.get("hookscript")
    if volid and not volid.partition(":")[2].startswith("snippets/"):
        bad(hookscript="'%s' is not in the snippets folder" % volid)
    if volid and call.world.volume(volid, call.node) is None:
        bad(hookscript="script '%s' does not exist" % volid)


def check_features(guest, text):
    new = parse_properties(options.FEATURES, text) if text else {}
    old = parse_properties(options.FEATURES, str(guest.conf.get("features", ""))) if guest else {}
    changed = {key for key in set(new) | set(old) if new.get(key, "0") != old.get(key, "0")}
    if changed and guest is not None and not int(guest.conf.get("unprivileged", 0)):
        forbid("changing feature flags for privileged container is only allowed for root@pam")
    if changed - {"nesting"}:
        forbid("changing feature flags (except nesting) is only allowed for root@pam")


def change_vm(call):
    """PUT and POST .../qemu/{vmid}/config: at once, or as a task."""
    world = call.world
    values, deletes, reverts = _wishes(call, "qemu")
    guest = call.guest()
    _check_rights(call, "qemu", guest, values, deletes, reverts)
    for key in values:
        if disk_rule("qemu", key):
            drives.check_drive_access(call, key, values[key], guest.vmid)
    check_hookscript(call, values)
    guest.check_lock()
    for key in reverts:
        _revert(world, guest, key)
    wanted = guest.wanted()
    memory = int(str(values.get("memory", wanted.get("memory", 512))).rpartition("=")[2])
    balloon = int(values.get("balloon", wanted.get("balloon", 0)) or 0)
    if ("memory" in values or "balloon" in values) and balloon > memory:
        die("balloon value too large (must be smaller than assigned memory)")

    if call.route.verb == "PUT":
        return _carry_out(call, guest, values, deletes, lambda line: None)

    def worker(task):
        task.say("update VM %d: %s" % (guest.vmid, " ".join(
            ["-%s %s" % (key, values[key]) for key in sorted(values)] + ["-delete %s" % key for key in deletes])))
        made = any(drives.NEW_DISK.match(str(value).split(",")[0]) for key, value in values.items()
                   if disk_rule("qemu", key))
        yield 1.5 if made else 0.2
        _carry_out(call, guest, values, deletes, task.say)
    upid = call.fork("qmconfig", guest.vmid, worker)
    return None if call.p.get("background_delay") and not world.tasks.all[upid].running else upid


def _carry_out(call, guest, values, deletes, say):
    """Plan the wishes and do what can be done now; 400 with what could not."""
    call.world.check_writable(guest)
    _plan(call.world, guest, values, deletes, bool(call.p.get("force")), say)
    apply = apply_pending if not guest.running else apply_vm if guest.kind == "qemu" else _apply_container
    verify(apply(call.world, guest))


def _revert(world, guest, key):
    value = guest.pending.pop(key, None)
    guest.forced.discard(key)
    if value is not None and disk_rule(guest.kind, key):
        drives.detach(world, guest, key, value)


def _plan(world, guest, values, deletes, force, say):
    """Write the wishes into the pending section; new volumes are made here."""
    kind = guest.kind
    boot = [name for name in str(guest.wanted().get("boot", "")).rpartition("order=")[2].split(";") if name]
    for key in deletes:
        value = guest.conf.get(key, guest.pending.get(key))
        if value is None:
            say("cannot delete '%s' - not set in current configuration!" % key)
            continue
        if disk_rule(kind, key):
            guest.check_protection("can't remove CT %d drive '%s'" % (guest.vmid, key) if kind == "lxc" else
                                   "can't remove unused disk '%s'" % value if key.startswith("unused") else
                                   "can't remove drive '%s'" % key)
        was_pending = guest.pending.pop(key, None)
        if was_pending is None and key in boot:
            boot.remove(key)
            guest.pending["boot"] = "order=" + ";".join(boot)
        if key.startswith("unused"):
            drives.destroy(world, guest, str(value))
            guest.conf.pop(key, None)
            continue
        if was_pending is not None and disk_rule(kind, key):
            drives.detach(world, guest, key, was_pending)
        if key in guest.conf:
            guest.pending[key] = None
            if force and disk_rule(kind, key):
                guest.forced.add(key)
    for key, value in values.items():
        if key.startswith("unused"):
            value = value if drives.owns(world, guest, value) else die("volume '%s' does not exist" % value)
        elif disk_rule(kind, key):
            if guest.pending.get(key) is not None:
                drives.detach(world, guest, key, guest.pending[key])
            value = drives.make_drive(world, guest, key, value, say, []) if kind == "qemu" else drives.make_mount(
                world, guest, key, value, [])
        elif key == "boot":
            for name in str(value).rpartition("order=")[2].split(";") if "order=" in str(value) else ():
                if name not in guest.wanted() and name not in values:
                    die("invalid bootorder: device '%s' does not exist'" % name)
        else:
            value = stored(world, kind, key, value)
        guest.pending[key] = value
        guest.forced.discard(key)
    for key, value in list(guest.pending.items()):
        if value is not None and str(guest.conf.get(key)) == str(value):
            del guest.pending[key]


def stored(world, kind, key, value):
    """An option's value as Proxmox writes it down."""
    if re.match(r"net\d+$", key):
        return drives.net_for(world, kind, value)
    if key == "description":
        return value if value.endswith("\n") else value + "\n"
    if key == "tags":
        return ";".join(sorted(set(split_list(value)), key=str.lower))
    if key == "cipassword":
        return "**********"
    return world.uuid() if key == "vmgenid" and str(value) == "1" else value


def apply_pending(world, guest):
    """A stopped guest takes on all that is pending; returns {option: problem} of what it could not."""
    errors = {}
    for key, value in list(guest.pending.items()):
        try:
            _settle(world, guest, key, value)
        except Refusal as error:
            errors[key] = "unable to apply pending change %s : %s\n" % (key, error.text)
    return errors


def _settle(world, guest, key, value):
    old = guest.conf.get(key)
    if disk_rule(guest.kind, key) and old is not None and not key.startswith("unused"):
        if value is None or _volume_of(guest.kind, key, value) != _volume_of(guest.kind, key, old):
            guest.conf.pop(key)
            try:
                drives.detach(world, guest, key, old, key in guest.forced)
            except Refusal:
                guest.conf[key] = old
                raise
    guest.pending.pop(key, None)
    guest.forced.discard(key)
    if value is None:
        guest.conf.pop(key, None)
    else:
        guest.conf[key] = value
        if disk_rule(guest.kind, key):
            for name in [name for name, text in guest.conf.items() if name.startswith("unused")
                         and str(text) == _volume_of(guest.kind, key, value)]:
                del guest.conf[name]


def _volume_of(kind, key, text):
    return volume_of(parse_properties(disk_rule(kind, key), str(text)))


def apply_vm(world, guest):
    """A running VM takes on what can be changed live; returns {option: problem}. The rest stays pending."""
    errors = {}
    features = _hotplug(guest)
    for key, value in list(guest.pending.items()):
        base = key.rstrip("0123456789")
        if key in LIVE_QEMU or base == "unused":
            live = not (key == "balloon"
                        and (value is None or not int(value) or not int(guest.conf.get("balloon", 1) or 0)))
        elif base == "net" and key != "net":
            live = _net_live(world, guest, key, value, features, errors)
        elif base in ("scsi", "virtio", "ide", "sata") and key != base:
            live = _drive_live(guest, key, value, features)
        elif base == "usb":
            live = "usb" in features
        elif key == "vcpus":
            live = "cpu" in features
        elif key == "memory":
            live = "memory" in features and bool(int(guest.conf.get("numa", 0)))
        elif options.privilege_of("qemu", key) == "VM.Config.Cloudinit" or base == "ipconfig":
            live = "cloudinit" in features
        else:
            live = False
        if live:
            try:
                _settle(world, guest, key, value)
            except Refusal as error:
                errors[key] = "hotplug problem - %s\n" % error.text
    return errors


def _hotplug(guest):
    text = str(guest.conf.get("hotplug", "network,disk,usb"))
    return {"0": [], "1": ["network", "disk", "usb"]}.get(text, split_list(text))


def _net_live(world, guest, key, value, features, errors):
    if value is None:
        return "network" in features
    new, old = drives.parse_net(value), drives.parse_net(guest.conf[key]) if key in guest.conf else None
    replug = old is None or any(new.get(name) != old.get(name) for name in ("model", "macaddr", "mtu", "queues"))
    if replug and "network" not in features:
        return False
    bridge = new.get("bridge")
    if bridge and not drives.bridge_exists(world, guest.node, bridge):
        errors[key] = "hotplug problem - bridge '%s' does not exist\n" % bridge
        if old:                                         # it was taken out to be put in again
            guest.guest.setdefault("unplugged", set()).add(key)
        return False
    return True


def _drive_live(guest, key, value, features):
    rule = disk_rule("qemu", key)
    old = parse_properties(rule, str(guest.conf[key])) if key in guest.conf else None
    new = parse_properties(rule, str(value)) if value is not None else None
    if old and new and is_cdrom(old) and is_cdrom(new):
        return True                                     # a CD is changed like a CD
    if old and new and old["file"] == new["file"]:
        return all(old.get(name) == new.get(name) for name in _FIXED)
    return "disk" in features and key.startswith(("scsi", "virtio"))


def change_container(call):
    """PUT .../lxc/{vmid}/config: always at once."""
    world = call.world
    values, deletes, reverts = _wishes(call, "lxc")
    guest = call.guest()
    _check_rights(call, "lxc", guest, values, deletes, reverts)
    if "rootfs" in deletes:
        die("unable to delete required option 'rootfs'")
    for key in values:
        if disk_rule("lxc", key) and not key.startswith("unused"):
            drives.check_mount_access(call, key, values[key], guest.vmid)
    guest.check_lock()
    for key in reverts:
        _revert(world, guest, key)
    _carry_out(call, guest, values, deletes, lambda line: None)


def _apply_container(world, guest):
    errors = {}
    for key, value in list(guest.pending.items()):
        base = key.rstrip("0123456789")
        live = key in LIVE_LXC
        if base == "net" and key != "net":
            live = value is not None or re.match(r"net\d$", key)
            bridge = parse_properties(options.LXC_NET, str(value)).get("bridge") if value is not None else None
            if bridge and not drives.bridge_exists(world, guest.node, bridge):
                errors[key] = "unable to hotplug %s: bridge '%s' does not exist\n" % (key, bridge)
                live = False
        elif base == "mp" and key != "mp":
            live = value is not None and key not in guest.conf
        elif key in ("memory", "swap") and value is not None:
            used = int(guest.memory * guest.mem) >> 20
            if key == "memory" and int(value) < used // 2:
                errors[key] = "unable to hotplug memory: unable to write memory limit: Device or resource busy\n"
                live = False
        if live:
            _settle(world, guest, key, value)
    return errors


_COMMON = {"delete": string("Options to remove.", format="pve-configid-list"),
           "revert": string("Pending changes to drop.", format="pve-configid-list"),
           "digest": string("Refuse if the configuration has another one.", maxLength=40)}
_QEMU = dict(options.QEMU, **dict(_COMMON, **{
    "force": boolean("Destroy the disks that are removed.", requires="delete"), "skiplock": boolean("Only for root.")}))
_QEMU_RIGHTS = perm_any(VM, "VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory",
                        "VM.Config.Network", "VM.Config.HWType", "VM.Config.Options", "VM.Config.Cloudinit")
_LXC_RIGHTS = perm_any(VM, "VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network",
                       "VM.Config.Options")

ROUTES = [
    Route("PUT /nodes/{node}/qemu/{vmid}/config", change_vm, _QEMU_RIGHTS, "Change options of a VM, at once.", _QEMU),
    Route("POST /nodes/{node}/qemu/{vmid}/config", change_vm, _QEMU_RIGHTS, "Change options of a VM, as a task.", dict(
        _QEMU, background_delay=integer("Wait so many seconds for the end.", 1, 30))),
    Route("PUT /nodes/{node}/lxc/{vmid}/config", change_container, _LXC_RIGHTS, "Change options of a container.", dict(
        options.LXC, **_COMMON)),
]
