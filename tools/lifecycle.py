"""Toolset: the life cycle of guests - start, stop, shut down, reboot, pause, resume, delete.

What a guest is in afterwards is read from status/current and told: the task of an HA-managed guest (hastart, hastop)
only files the request and is OK at once (pve-ha-manager), and a rebooted VM is started again by qmeventd after its task
has ended (qemu-server).
"""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Result
from tools.base.failures import Failure, Refused
from tools.base.row import DESTRUCTIVE, ELEVATED, Tool, Waiting
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import DISK_KEYS, natural, owner_of, parse_property_string
from tools.pve.waiting import wait_for

Timeout = Optional[int]                           # seconds
Flag = Optional[bool]


@dataclass
class StartVm(Waiting):
    """Start a VM."""
    timeout: Annotated[Optional[int], Arg(rare=True)] = None


@dataclass
class StartLxc(Waiting):
    """Start a container."""
    debug: Annotated[Flag, Arg(rare=True)] = None


@dataclass
class StopLxc(Waiting):
    """Cut the power of a {guest}; prefer shutdown."""
    overrule_shutdown: Annotated[Flag, Arg(also=("overrule-shutdown",), rare=True)] = None      # ends a shutdown task


@dataclass
class StopVm(StopLxc):
    """Cut the power of a {guest}; prefer shutdown."""
    timeout: Timeout = None


@dataclass
class Shutdown(Waiting):
    """Shut down a {guest} cleanly."""
    timeout: Timeout = None
    force_stop: Annotated[Flag, Arg("then stop hard", also=("forceStop",))] = None


@dataclass
class RebootVm(Waiting):
    """Reboot a VM cleanly (applies pending changes)."""
    timeout: Timeout = None


@dataclass
class RebootLxc(Waiting):
    """Reboot a container; killed after the timeout."""
    timeout: Timeout = None


@dataclass
class Pause(Waiting):
    """Pause a VM, memory kept."""
    todisk: Annotated[Flag, Arg("hibernate")] = None
    statestorage: Annotated[Optional[str], Arg(format="storage", rare=True)] = None


@dataclass
class Resume(Waiting):
    """Resume a paused or hibernated VM."""


@dataclass
class DeleteVm(Waiting):
    """Delete a {guest} and its disks; backups stay."""
    purge: Annotated[Flag, Arg("also from jobs and HA")] = None
    destroy_unreferenced_disks: Annotated[Flag, Arg(also=("destroy-unreferenced-disks",), rare=True)] = None


@dataclass
class DeleteLxc(DeleteVm):
    """Delete a {guest} and its disks; backups stay."""
    force: Annotated[Flag, Arg("kill it if it runs")] = None


# ------------------------------------------------------------------------------------------------ what a guest is doing

def look(call):
    """The guest's status/current (dict); {} when the token may change the guest and not look at it (no VM.Audit)."""
    try:
        return call.get("./status/current")
    except PveError as error:
        if error.status == 403:
            return {}
        raise


def glance(call):
    """As `look`, after a change: whatever stands in the way, it is {}, for the change itself has been made."""
    try:
        return call.get("./status/current")
    except PveError:
        return {}


def begun(call):
    """status/current of a guest whose start is a task of its own, begun by the task that has ended (PVE::API2::Qemu,
    vm_start in a worker; nothing waits for it): once it runs, or as it is some seconds later."""
    return wait_for(lambda: glance(call), lambda state: not is_off(state), 15, call.sleep, call.host.clock,
                    pauses=(1, 2, 3, 4, 5))


def not_begun(call):
    """The sentence about a guest that was to be started and is not on after `begun`."""
    return "It was to be started and is not running (yet): proxmox_list_tasks vmid=%s shows why." % call.args.vmid


def condition(state):
    """What a status/current says the guest is: running, stopped, paused, hibernated, io-error ...; None if unknown."""
    if state.get("status") == "stopped" and state.get("lock") == "suspended":
        return "hibernated"
    status = state.get("status")
    if status == "running":
        status = state.get("qmpstatus", status)
    return status and text.line(status)


def is_on(state):
    return state.get("status") == "running"


def is_off(state):
    return state.get("status") == "stopped"


def is_awake(state):
    return condition(state) == "running"


def is_paused(state):
    return condition(state) == "paused"


def is_hibernated(state):
    return condition(state) == "hibernated"


#: What HA was asked for (ha.state) when there is nothing left to ask: of a guest that is on, of one that is off.
_HA_ASKED = {is_on: ("started", "enabled"), is_off: ("stopped", "disabled")}


def settled(state, wished):
    """Whether nothing is left to do: the guest is as `wished`, and HA, if it manages the guest, was asked for that."""
    ha = state.get("ha") or {}
    asked = _HA_ASKED.get(wished) if ha.get("managed") else None
    return wished(state) and (asked is None or ha.get("state") in asked)


def named(call, state):
    """"VM 100 (web01)"."""
    return text.called(call.subject, state.get("name") or state.get("hostname"))


def unchanged(call, state):
    """The Result of a call that found the guest as it was to be."""
    return Result("%s is %s already; nothing was done." % (text.capital(named(call, state)), condition(state)),
                  _data(call, state, changed=False))


def refusal(sentence):
    """The Failure to raise for what is not done, beginning with a capital."""
    return Failure(text.capital(sentence))


def _data(call, state, **more):
    data = {"vmid": call.args.vmid, "node": call.node, "name": state.get("name"), "state": condition(state)}
    data.update(more)
    return {key: value for key, value in data.items() if value is not None}


# ------------------------------------------------------------------------------------------------------ carrying it out

def meanings(*rows):
    """A table for `explained`: (pattern of Proxmox's words, what they mean and what to do). {stop}: a tool."""
    return [(re.compile(pattern), words) for pattern, words in rows]


EXPLAINED = meanings(
    (r"powerdown failed|container did not stop",
     "It did not shut down in time and runs on. A VM needs the guest agent (running inside, agent: 1 in its options) "
     "or a system that reacts to the ACPI power button; a larger timeout may help. {stop} ends it hard."),
    (r"not running", "{start} starts it."),
    (r"is paused - cannot shutdown", "Resume it first (proxmox_resume_vm), or cut its power ({stop})."),
    (r"a template", "A template is only there to be cloned: {clone}."),
    (r"[Rr]eplication job", "Its replication jobs must go first; purge=true removes them."),
    (r"linked clone|in use by", "Other guests use its disks: they must go first."),
)
#: The same for what tools.pve.advice explains when it comes as an error and not as the end of a task.
_TASKS_ONLY = meanings(
    (r"can't lock file .*got timeout",
     "Something else holds this guest: another task, or Proxmox cleaning up after a stop, which takes up to 30 s. "
     "Nothing was done; wait a little and call again."),
    (r"is locked \(",
     "Another task holds the guest, or one that was killed left its lock behind: proxmox_list_tasks shows the tasks; "
     "root removes a stale lock on the node with qm unlock or pct unlock."),
    (r"protection mode enabled", "The guest is protected: switch its protection off first, if that is meant."),
)


def explained(call, error, table=EXPLAINED):
    """`error` (PveError or Failure) with what its words mean, from `table`; itself when they say enough."""
    if isinstance(error, Refused):
        return error
    said, suffix = str(error), "_lxc" if call.kind == "lxc" else "_vm"
    for pattern, words in table + (_TASKS_ONLY if isinstance(error, Failure) else []):
        if pattern.search(said):
            names = {verb: "proxmox_%s%s" % (verb, suffix) for verb in ("start", "stop", "clone")}
            return Failure("%s\n%s" % (said, words.format(**names)))
    return error


def act(call, table=EXPLAINED, **params):
    """The Outcome of the row's request, its task followed; a failure is explained."""
    try:
        return call.done(call.send(**params))
    except (PveError, Failure) as error:
        raise explained(call, error, table) from None


def carry_out(call, says, wished, state, again=False, **params):
    """Send the row's request, follow its task, read what the guest is in and tell it.

    says: "started"; wished: predicate of the state it is to reach; state: what it was in before; again: it is to go
    through another state first (reboot), so that being as wished before means nothing.
    """
    started = call.host.clock()
    try:
        outcome = call.done(call.send(**params))
    except (PveError, Failure) as error:
        if not again and re.search(r"already running|not running", str(error)):
            state = glance(call)
            if wished(state):
                return unchanged(call, state)
        raise explained(call, error) from None
    says = "%s %s" % (named(call, state), says)
    if outcome.upid is None or not outcome.ok:              # a dry run, or its end was not seen
        return call.tell(outcome, says, name=state.get("name"))
    by_ha = outcome.type.startswith("ha")
    left = call.wait_limit - (call.host.clock() - started) if by_ha or again else 0
    now = wait_for(lambda: glance(call), wished, left, call.sleep, call.host.clock, lambda state: call.progress(
        None, "%s is %s" % (call.subject, condition(state) or "in a state that cannot be read")), (0, 1, 1.5, 2.25, 3))
    if wished(now):
        return call.tell(outcome, says, "HA keeps it so." if by_ha else "It is %s now." % condition(now),
                         changed=True, ha=by_ha or None, **_data(call, now))
    if by_ha or again:
        return _not_yet(call, outcome, now, by_ha, named(call, state))
    if not now:
        return call.tell(outcome, says, "What it is in now could not be read.", changed=True, name=state.get("name"))
    raise refusal("The task %s ended with %s, but %s is %s now: it changed again by itself, or somebody changed it. "
                  "proxmox_list_tasks vmid=%s shows what happened.\nUPID: %s" % (
                      outcome.type, outcome.exitstatus, named(call, state), condition(now), call.args.vmid,
                      outcome.upid))


def _not_yet(call, outcome, state, by_ha, who):
    why = ("It is managed by HA, which was given the request and carries it out in its own time" if by_ha else
           "It was shut down, and Proxmox starts it again")
    data = _data(call, state, ha=by_ha or None)
    data.update(upid=outcome.upid, type=outcome.type, status=outcome.status, exitstatus=outcome.exitstatus)
    return Result("Not yet seen to be done: %s is %s. %s. Ask proxmox_get_vm_status later; do not repeat the call."
                  % (who, condition(state) or "in a state that could not be read", why), data, mark="\u23f3")


# ------------------------------------------------------------------------------------------------------------- handlers

def start(call):
    state = look(call)
    if is_on(state) and condition(state) != "running":
        raise refusal("%s is switched on and %s. Nothing was sent; proxmox_resume_vm lets it go on." % (
            named(call, state), condition(state)))
    if settled(state, is_on):
        return unchanged(call, state)
    return carry_out(call, "started", is_on, state, **_given(call, "timeout", "debug"))


def stop(call):
    state = look(call)
    if settled(state, is_off):
        return unchanged(call, state)
    if call.args.overrule_shutdown:
        _refuse_before(call, (8, 2), "overrule_shutdown")
    _confirm_power_cut(call, state, "Cut the power of %s on node %s?")
    return carry_out(call, "stopped hard", is_off, state,
                     **_given(call, "timeout", overrule_shutdown="overrule-shutdown"))


def shutdown(call):
    state = look(call)
    if settled(state, is_off):
        return unchanged(call, state)
    if call.args.force_stop:
        _confirm_power_cut(call, state, "Shut down %s on node %s, and cut its power if it does not react in time?")
    else:
        _refuse_paused(call, state)
    return carry_out(call, "shut down", is_off, state, **_given(call, "timeout", force_stop="forceStop"))


def reboot(call):
    state = look(call)
    if is_off(state):
        raise refusal("%s is %s, so it cannot be rebooted. Nothing was sent; %s starts it." % (
            named(call, state), condition(state), call.name.replace("reboot", "start")))
    _refuse_paused(call, state)
    return carry_out(call, "rebooted", is_on, state, again=True, **_given(call, "timeout"))


def pause(call):
    state = look(call)
    if call.args.statestorage and not call.args.todisk:
        raise refusal("statestorage is only for todisk=true. Nothing was sent.")
    wished, says = (is_hibernated, "hibernated") if call.args.todisk else (is_paused, "paused")
    if settled(state, wished):
        return unchanged(call, state)
    if is_off(state):
        raise refusal("%s is %s, so it cannot be paused. Nothing was sent." % (named(call, state), condition(state)))
    return carry_out(call, says, wished, state, **_given(call, "todisk", "statestorage"))


def resume(call):
    state = look(call)
    if is_awake(state):
        return unchanged(call, state)
    if condition(state) == "stopped":
        raise refusal("%s is stopped, neither paused nor hibernated. Nothing was sent; proxmox_start_vm starts it."
                      % named(call, state))
    return carry_out(call, "resumed", is_awake, state)


def _refuse_paused(call, state):
    if condition(state) == "paused":
        raise refusal("%s is paused and cannot react. Nothing was sent; resume it first (proxmox_resume_vm), or cut "
                      "its power (proxmox_stop_vm)." % named(call, state))


def _refuse_before(call, release, argument):
    """Failure when the Proxmox VE of the guest's node is older than `release` (major, minor), which brought `argument`.
    """
    version = str(call.get("/nodes/{node}/version").get("version", ""))
    match = re.match(r"(\d+)\.(\d+)", version)
    if match and tuple(map(int, match.groups())) < release:
        raise refusal("%s needs Proxmox VE %d.%d, this is %s. Nothing was sent; call again without it." % (
            (argument,) + release + (version,)))


def _given(call, *same, **other):
    """The arguments of those names that were given, as parameters; name="other" renames one. False is not sent."""
    names = dict({name: name for name in same}, **other)
    return {parameter: getattr(call.args, name) for name, parameter in names.items()
            if getattr(call.args, name, None) not in (None, False)}


def _confirm_power_cut(call, state, question):
    seen = [state]                          # the state just read serves for the question; a later look reads anew

    def describe():
        now = seen.pop() if seen else look(call)
        return (question % (named(call, now), call.node) + " What it has not saved is lost.",
                {"name": now.get("name"), "status": now.get("status")})
    call.confirm(describe)


# ------------------------------------------------------------------------------------------------------------- deleting

def disk_keys(kind, config):
    """The keys of a guest's config that name disks and mount points, CD drives and bind mounts too; mp2 before mp10."""
    return sorted((key for key in config if re.fullmatch(DISK_KEYS[kind], key)), key=natural)


def own_disks(call, config):
    """The volumes in a guest's config that go with it, as text: "scsi0 local-lvm:vm-100-disk-0 (32G)".

    CD images, bind mounts, devices and volumes of another guest stay (PVE::QemuServer::destroy_vm, PVE::LXC::destroy).
    """
    disks = []
    for key in disk_keys(call.kind, config):
        parts = parse_property_string(str(config[key]), "volume")
        volid = parts.get("volume") or parts.get("file") or ""
        name = volid.rpartition(":")[2].rpartition("/")[2]
        if ":" not in volid or volid.startswith("/") or (parts.get("media") == "cdrom" and "cloudinit" not in name):
            continue
        if owner_of("x:" + name) in (None, call.args.vmid):
            disks.append("%s %s%s" % (key, volid, " (%s)" % parts["size"] if parts.get("size") else ""))
    return disks


def target(call):
    """What a guest that is about to be lost is: (status/current, disks [str], names of its snapshots, digest).

    Failure when it is protected; whether it may run is for the caller to say.
    """
    config, state = call.config(), call.get("./status/current")
    snapshots = [entry["name"] for entry in call.get("./snapshot") if entry.get("name") != "current"]
    if str(config.get("protection", 0)) == "1":
        raise refusal("%s is protected (protection: 1 in its config). Nothing was sent; switch the protection off "
                      "first, if that is meant (protection=0 in its config)." % named(call, state))
    return state, own_disks(call, config), snapshots, config.get("digest")


def loss(disks, snapshots):
    """"its disks scsi0 ... and its snapshots a, b"."""
    parts = ["its disks %s" % ", ".join(disks) if disks else "no disk"]
    if snapshots:
        parts.append("its snapshot%s %s" % ("s" if len(snapshots) > 1 else "", text.line(", ".join(snapshots), 400)))
    return " and ".join(parts)


def delete(call):
    force = getattr(call.args, "force", None)

    def describe():
        state, disks, snapshots, digest = target(call)
        who = named(call, state)
        if is_on(state) and not force:
            raise refusal("%s is running. Nothing was sent; shut it down first (%s)%s." % (
                who, call.name.replace("delete", "shutdown"),
                ", or force=true kills it" if call.kind == "lxc" else ""))
        if (state.get("ha") or {}).get("managed") and not call.args.purge:
            raise refusal("%s is managed by HA. Nothing was sent; purge=true takes it out of HA, and out of backup and "
                          "replication jobs too." % who)
        question = "Delete %s on node %s for good, with %s?" % (who, call.node, loss(disks, snapshots))
        return (question + (" It is running and is killed first." if is_on(state) else ""),
                {"name": state.get("name"), "digest": digest, "who": who, "disks": disks, "snapshots": snapshots})
    found = call.confirm(describe)
    outcome = act(call, **_given(call, "purge", "force", destroy_unreferenced_disks="destroy-unreferenced-disks"))
    note = "Gone: %s. Its backups stay%s." % (
        loss(found["disks"], found["snapshots"]),
        "" if call.args.purge else ", and backup jobs go on naming it (purge=true takes it out of them)")
    return call.tell(outcome, "%s on %s deleted" % (found["who"], call.node), note, name=found["name"],
                     disks=found["disks"], snapshots=found["snapshots"] or None, changed=True if outcome.ok else None)


_VM, _LXC = "/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"
TOOLS = {
    "proxmox_start_vm": Tool("POST %s/status/start" % _VM, ELEVATED, StartVm, start, repeats=True),
    "proxmox_start_lxc": Tool("POST %s/status/start" % _LXC, ELEVATED, StartLxc, start, repeats=True),
    "proxmox_stop_vm": Tool("POST %s/status/stop" % _VM, DESTRUCTIVE, StopVm, stop, repeats=True),
    "proxmox_stop_lxc": Tool("POST %s/status/stop" % _LXC, DESTRUCTIVE, StopLxc, stop, repeats=True),
    "proxmox_shutdown_vm": Tool("POST %s/status/shutdown" % _VM, ELEVATED, Shutdown, shutdown, repeats=True),
    "proxmox_shutdown_lxc": Tool("POST %s/status/shutdown" % _LXC, ELEVATED, Shutdown, shutdown, repeats=True),
    "proxmox_reboot_vm": Tool("POST %s/status/reboot" % _VM, ELEVATED, RebootVm, reboot),
    "proxmox_reboot_lxc": Tool("POST %s/status/reboot" % _LXC, ELEVATED, RebootLxc, reboot),
    "proxmox_pause_vm": Tool("POST %s/status/suspend" % _VM, ELEVATED, Pause, pause, repeats=True),
    "proxmox_resume_vm": Tool("POST %s/status/resume" % _VM, ELEVATED, Resume, resume, repeats=True),
    "proxmox_delete_vm": Tool("DELETE " + _VM, DESTRUCTIVE, DeleteVm, delete),
    "proxmox_delete_lxc": Tool("DELETE " + _LXC, DESTRUCTIVE, DeleteLxc, delete),
}
