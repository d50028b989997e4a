"""Starting and stopping guests, one and many, with and without HA."""
import re

from tools.demo import change, drives
from tools.demo.guests import agent_enabled, ha_of
from tools.demo.model import GIB, MIB, Volume, die, nets
from tools.demo.options import MACHINE
from tools.demo.rules import boolean, integer, split_list, string
from tools.demo.wire import ALL, VM, Route, both, perm


def switch_on(world, guest):
    """A guest runs from now on: what was pending is applied."""
    change.apply_pending(world, guest)
    guest.running, guest.paused, guest.since = True, False, world.t
    guest.guest.pop("unplugged", None)
    guest.pid = 2000 + world.count("guest pid") * 317 % 900000


def switch_off(world, guest):
    """A guest runs no more. A container's pending changes take effect now, a VM's when it starts."""
    guest.running, guest.paused, guest.pid = False, False, None
    if guest.kind == "lxc":
        change.apply_pending(world, guest)


def starting(world, guest, task):
    """Worker part: start a guest or die."""
    if guest.template:
        die("you can't start a vm if it's a template" if guest.kind == "qemu"
            else "you can't start a CT if it's a template")
    resume = guest.kind == "qemu" and guest.lock == "suspended"
    if guest.paused == "prelaunch":                     # its backup has started QEMU: the VM itself starts now
        guest.paused, guest.since = False, world.t
        return
    if not resume:
        guest.check_lock()
    if guest.running:
        die("%s %d already running" % (guest.what, guest.vmid))
    conf = guest.wanted()
    for _, _, volid in guest.drives(conf):
        if ":" in volid and volid[0] != "/":
            drives.needed_volume(world, volid, guest.node)
    need = int(str(conf.get("memory", 512)).rpartition("=")[2]) * MIB
    if guest.kind == "qemu" and need > world.nodes[guest.node].memory:
        task.say("kvm: cannot set up guest memory 'pc.ram': Cannot allocate memory")
        die("start failed: QEMU exited with code 1")
    for key, text in nets(conf).items():
        match = re.search(r"bridge=([^,]+)", str(text))
        if match and not drives.bridge_exists(world, guest.node, match.group(1)):
            task.say("bridge '%s' does not exist" % match.group(1))
            if guest.kind == "lxc":
                task.say("lxc-start: %d: ../src/lxc/conf.c: run_buffer: 322 Script exited with status 2" % guest.vmid)
                die("startup for container '%d' failed" % guest.vmid)
            task.say("kvm: -netdev type=tap,id=%s,ifname=tap%di%s,script=/usr/libexec/qemu-server/pve-bridge: network "
                     "script /usr/libexec/qemu-server/pve-bridge failed with status 512" % (key, guest.vmid, key[3:]))
            die("start failed: QEMU exited with code 1")
    if resume:
        task.say("Resuming suspended VM")
    elif any("cloudinit" in str(text) for text in conf.values()):
        task.say("generating cloud-init ISO")
    yield 2.0 if guest.kind == "qemu" else 1.2
    if resume:
        task.say("Resumed VM, removing state")
        state = guest.conf.pop("vmstate", None)
        if state:
            world.free(state, guest.node)
        guest.conf.pop("lock", None)
    switch_on(world, guest)


def stopping(world, guest):
    """Worker part: cut the power."""
    if guest.running:
        yield 1.0
        switch_off(world, guest)


def going_down(world, guest, task, timeout, force):
    """Worker part: ask it to shut down; a guest that does not listen goes on, or is stopped with `force`."""
    if not guest.running:
        return
    needs = 30.0 if guest.guest.get("slow") else 5.0 if guest.kind == "qemu" else 2.5
    deaf = guest.guest.get("deaf") or (guest.kind == "qemu" and guest.paused)
    if deaf or needs > timeout:
        yield timeout
        if not guest.running:
            return
        if not force:
            die("VM quit/powerdown failed - got timeout" if guest.kind == "qemu" else "container did not stop")
        task.say("VM quit/powerdown failed - terminating now with SIGTERM" if guest.kind == "qemu"
                 else "container did not stop in time, killing it")
        yield 1.0
    else:
        yield needs
    switch_off(world, guest)


def _patience(guest, given):
    """Seconds a shutdown may take: given, or startup's down=, or 60."""
    if given is not None:
        return given
    match = re.search(r"down=(\d+)", str(guest.conf.get("startup", "")))
    return int(match.group(1)) if match else 60


def _ha(call, guest, wish):
    """For an HA guest: a task that only files the wish; the cluster fulfils it later. None for others."""
    resource = ha_of(call.world, guest)
    if resource is None:
        return None
    world = call.world

    def worker(task):
        task.say("Requesting HA %s for %s %d" % (wish, guest.what, guest.vmid))
        resource["state"] = "started" if wish == "start" else "stopped"
        world.tasks.later(8.0, lambda: fulfil(world, guest, resource))
        yield 0.3
    return call.fork("hastart" if wish == "start" else "hastop", guest.vmid, worker)


def fulfil(world, guest, resource):
    """What the HA manager does: bring a guest into the state that is asked for."""
    if world.guests.get(guest.vmid) is not guest:
        return
    if resource["state"] in ("started", "enabled") and not guest.running:
        world.tasks.fork(guest.node, guest.task("start"), guest.vmid, "root@pam",
                         lambda task: starting(world, guest, task))
    elif resource["state"] in ("stopped", "disabled") and guest.running:
        world.tasks.fork(guest.node, guest.task("shutdown"), guest.vmid, "root@pam",
                         lambda task: going_down(world, guest, task, 60, True))


def start(call):
    if not call.passes(call.world.guest, call.p["vmid"], call.kind, call.node):
        def worker(task):                               # that there is no such guest is found in the task
            yield 0.1
            call.guest()
        return call.fork("qmstart" if call.kind == "qemu" else "vzstart", call.p["vmid"], worker)
    guest = call.guest()
    if guest.kind == "lxc" and guest.running:
        die("CT %d already running" % guest.vmid)
    return begin(call, guest)


def begin(call, guest):
    """A task that starts a guest; its UPID. What calls this within another task does not wait for it."""
    return _ha(call, guest, "start") or call.work(guest, "start", lambda task: starting(call.world, guest, task))


def stop(call):
    guest = call.guest()
    if guest.kind == "lxc" and not guest.running:
        die("CT %d not running" % guest.vmid)

    def worker(task):
        guest.check_lock()
        if call.p.get("overrule-shutdown"):
            for other in list(call.world.tasks.all.values()):
                if other.running and other.type == guest.task("shutdown") and other.id == str(guest.vmid):
                    task.say("overruled shutdown task %s" % other.upid)
                    call.world.tasks.kill(other)
        yield from stopping(call.world, guest)
    return _ha(call, guest, "stop") or call.work(guest, "stop", worker)


def shutdown(call):
    guest = call.guest()
    if guest.kind == "lxc" and not guest.running:
        die("CT %d not running" % guest.vmid)
    if guest.running and guest.paused and not call.p.get("forceStop"):
        die("VM is paused - cannot shutdown")
    patience = _patience(guest, call.p.get("timeout"))

    def worker(task):
        guest.check_lock()
        if guest.paused:
            task.say("VM is paused - stop instead of shutdown")
            yield from stopping(call.world, guest)
        else:
            yield from going_down(call.world, guest, task, patience, call.p.get("forceStop"))
    return _ha(call, guest, "stop") or call.work(guest, "shutdown", worker)


def reboot(call):
    """POST .../status/reboot: shut down and start; a container is killed after the timeout, a VM is not."""
    guest = _running(call)
    if guest.paused:
        die("VM is paused - cannot shutdown")
    patience = _patience(guest, call.p.get("timeout"))

    def worker(task):
        guest.check_lock()
        if guest.kind == "qemu":
            task.say("Requesting reboot of VM %d%s" % (guest.vmid, " via guest agent" if agent_enabled(guest) else ""))
        yield from going_down(call.world, guest, task, patience, guest.kind == "lxc")
        yield 2.0
        switch_on(call.world, guest)
    return call.work(guest, "reboot", worker)


def _running(call):
    guest = call.guest()
    if not guest.running:
        die("VM %d not running" % guest.vmid)
    return guest


def _brief(call, guest, verb, paused):
    """A task that is over at once and leaves a VM paused, or not."""
    def worker(task):
        guest.check_lock()
        yield 0.3
        guest.paused = paused
    return call.work(guest, verb, worker)


def reset(call):
    guest = _running(call)
    return _brief(call, guest, "reset", guest.paused)


def suspend(call):
    """POST .../status/suspend: pause, or save to disk and stop."""
    guest, world = _running(call), call.world
    if not call.p.get("todisk"):
        return _brief(call, guest, "pause", True)
    name = call.p.get("statestorage") or state_storage(world, guest)
    call.need("/vms/%d" % guest.vmid, "VM.Config.Disk")
    call.need("/storage/" + name, "Datastore.AllocateSpace")
    storage = world.storage(name, guest.node)

    def save(task):
        guest.check_lock()
        size = state_size(storage, guest)
        guest.conf["lock"] = "suspending"
        state = yield from saving(world, guest, task, storage, "suspend-2025-01-01", size)
        switch_off(world, guest)
        guest.conf["vmstate"], guest.conf["lock"] = state, "suspended"
    return call.work(guest, "suspend", save)


def state_storage(world, guest):
    """Name of the storage for saved memory: as configured, else a shared one of its disks, else any of them."""
    names = [volid.partition(":")[0] for _, _, volid in guest.disks(unused=False)]
    shared = [name for name in names if world.storages[name].shared]
    return str(guest.conf.get("vmstatestorage") or (shared or names or ["local"])[0])


def state_size(storage, guest):
    """Bytes of the volume that a VM's memory is saved to; dies when the storage has no room for it."""
    size = 2 * guest.memory + 500 * MIB
    if size > storage.space(guest.node)[2]:
        die("not enough free space on storage '%s' for the VM state" % storage.name)
    return size


def saving(world, guest, task, storage, label, size):
    """Worker part: a VM's memory goes to a new volume; returns its volume id."""
    volid = "%s:%svm-%d-state-%s" % (storage.name, "%d/" % guest.vmid if storage.files else "", guest.vmid, label)
    task.say("saving VM state and RAM using storage '%s'" % storage.name)
    saved = int(guest.memory * guest.mem)
    for second in (1, 2, 3):
        yield 1.0
        task.say("%.2f GiB in %ds" % (saved * second / 3 / GIB, second))
    storage.at(guest.node)[volid] = Volume(volid, "images", size, vmid=guest.vmid, ctime=int(world.t), used=saved)
    task.say("completed saving the VM state in 3s, saved %.2f GiB" % (saved / GIB))
    return volid


def resume(call):
    guest = call.guest()
    if guest.lock == "suspended":
        return call.work(guest, "resume", lambda task: starting(call.world, guest, task))
    return _brief(call, _running(call), "resume", False)


def stop_all(call):
    ids, world = [int(word) for word in split_list(call.p.get("vms", ""))], call.world
    guests = sorted((guest for guest in world.guests.values() if guest.node == call.node
                     and (not ids or guest.vmid in ids)), key=lambda guest: guest.vmid)
    for path in ["/vms/%d" % guest.vmid for guest in guests] if ids else ["/"]:
        call.need(path, "VM.PowerMgmt")
    force, patience = call.p.get("force-stop", True), call.p.get("timeout", 180)

    def worker(task):
        for guest in [guest for guest in guests if guest.running]:
            task.say("Stopping %s %d" % (guest.what, guest.vmid))
            child = world.tasks.all[world.tasks.fork(
                guest.node, guest.task("shutdown"), guest.vmid, call.user,
                lambda inner, guest=guest: going_down(world, guest, inner, patience, force))]
            while child.running:
                yield 0.5
            if child.status != "OK":
                task.warn("%s %d: %s" % (guest.what, guest.vmid, child.status))
        yield 0.2
    return call.fork("stopall", "", worker)


_POWER = perm(VM, "VM.PowerMgmt")
_SKIP = {"skiplock": boolean("Only for root.")}
_TIMEOUT = {"timeout": integer("Seconds to wait.", 0)}


def _power(verb, handler, words, *params):
    return both("POST /nodes/{node}/{kind}/{vmid}/status/" + verb, handler, _POWER, words, *params)


_OVERRULE = {"overrule-shutdown": boolean("End a shutdown first.", default=0)}
_KEEP = {"keepActive": boolean("Keep the volumes active.", default=0)}
_VM_STATUS = "POST /nodes/{node}/qemu/{vmid}/status/"

ROUTES = (
    _power("start", start, "Start a {guest}.", _SKIP, dict(_TIMEOUT, machine=string("Machine type.", format=MACHINE)), {
        "debug": boolean("Verbose log.", default=0)})
    + _power("stop", stop, "Cut the power of a {guest}.", dict(_SKIP, **_OVERRULE), dict(_TIMEOUT, **_KEEP))
    + _power("shutdown", shutdown, "Ask a {guest} to shut down.", dict(
        _TIMEOUT, forceStop=boolean("Stop it after the timeout.", default=0)), dict(_SKIP, **_KEEP))
    + _power("reboot", reboot, "Shut a {guest} down and start it.", _TIMEOUT)
    + [
        Route(_VM_STATUS + "reset", reset, _POWER, "Press the reset button of a VM.", _SKIP),
        Route(_VM_STATUS + "suspend", suspend, _POWER, "Pause a VM, or save it to disk.", dict(_SKIP, **{
            "todisk": boolean("Save to disk and stop.", default=0),
            "statestorage": string("Where to save.", format="pve-storage-id", requires="todisk")})),
        Route(_VM_STATUS + "resume", resume, _POWER, "Go on with a paused or saved VM.", dict(
            _SKIP, nocheck=boolean(""))),
        Route("POST /nodes/{node}/stopall", stop_all, ALL, "Shut down guests of the node.", {
            "vms": string("These guests.", format="pve-vmid-list"), "max-workers": integer("So many at once.", 1, 64),
            "force-stop": boolean("Stop them after the timeout.", default=1),
            "timeout": integer("Seconds to wait.", 0, 7200)}),
    ]
)
