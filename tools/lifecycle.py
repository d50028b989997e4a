"""Toolset: the life cycle of guests - start, stop, shut down, reboot, pause, resume, delete.

What a guest is in afterwards is read from status/current and told: the task of an HA-managed guest (hastart, hastop)
only files the request and is OK at once (pve-ha-manager), and a rebooted VM is started again by qmeventd after its task
has ended (qemu-server).
"""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import safety
from tools.base.answers import Result, of_task, result
from tools.base.failures import Failure
from tools.base.guest import (STANDING, at_stake, condition, current, in_backup, is_awake, is_off, is_on, loss,
                              must_be_off, name, named)
from tools.base.row import DESTRUCTIVE, ELEVATED, Safety, Tool, Waiting, both
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.formats import on

Flag = Optional[bool]


@dataclass
class Reboot(Waiting):
    """Reboot a {guest} cleanly (applies pending changes)."""
    timeout: Annotated[Optional[int], Arg(minimum=1)] = None        # seconds


@dataclass
class Shutdown(Reboot):
    """Shut down a {guest} cleanly."""
    force_stop: Annotated[Flag, Arg("then stop hard", parameter="forceStop", does="stop_{kind}")] = None


@dataclass
class Pause(Waiting):
    """Pause a VM, memory kept."""
    todisk: Annotated[Flag, Arg("hibernate")] = None


@dataclass
class DeleteVm(Waiting):
    """Delete a {guest} and its disks; backups stay."""
    purge: Annotated[Flag, Arg("also from jobs and HA", does="update_backup_job")] = None
    safety: Safety = None


@dataclass
class DeleteLxc(DeleteVm):
    """Delete a {guest} and its disks; backups stay."""
    force: Annotated[Flag, Arg("kill it if it runs", does="stop_{kind}")] = None


#: What HA was asked for (ha.state) when there is nothing left to ask: of a guest that is on, of one that is off.
_HA_ASKED = {is_on: ("started", "enabled"), is_off: ("stopped", "disabled")}


def settled(state, wished):
    """Whether nothing is left to do: the guest is as `wished`, and HA, if it manages the guest, was asked for that."""
    ha = state.get("ha") or {}
    asked = _HA_ASKED.get(wished) if on(ha.get("managed")) else None
    return wished(state) and (asked is None or ha.get("state") in asked)


def unchanged(call, state):
    """The Result of a call that found the guest as it was to be."""
    return Result("%s is %s already; nothing was done." % (text.capital(named(call, state)), condition(state)),
                  _data(call, state, changed=False, done=True))


def _data(call, state, **more):
    data = dict({"vmid": call.args.vmid, "node": call.node, "name": name(state), "state": condition(state)}, **more)
    return {key: value for key, value in data.items() if value is not None}


EXPLAINED = (
    (r"powerdown failed|container did not stop",
     "It did not shut down in time and keeps running. A VM needs the guest agent (running inside, agent: 1 in its "
     "options) or a system that reacts to the ACPI power button; a larger timeout may help. proxmox_stop_{kind} "
     "ends it hard."),
    (r"is paused - cannot shutdown", "Resume it first (proxmox_resume_vm), or cut its power (proxmox_stop_{kind})."),
    (r"a template", "A template is only there to be cloned: proxmox_clone_{kind}."),
    (r"[Rr]eplication job", "Its replication jobs must go first; purge=true removes them."),
    (r"linked clone|in use by", "Other guests use its disks: they must go first."),
)


def carry_out(call, wished, state, again=False, says=None):
    """Send the row's request, follow its task, read what the guest is in and tell it. wished: predicate of the state it
    is to reach; state: what it was in before; again: it is to go through another state first (reboot), so that being as
    wished before means nothing; says: the headline, where it is not the row's."""
    started = call.host.clock()
    outcome = call.follow(call.send(call.parameters()))
    if outcome.upid is None or not outcome.ok:              # a dry run, or its end was not seen
        return result(call, outcome, says, name=state.get("name"))
    by_ha = outcome.type.startswith("ha")
    left = call.wait_limit - (call.host.clock() - started) if by_ha or again else 0
    now = call.wait_for(lambda: call.try_get("./status/current") or {}, wished, left, lambda state: "%s is %s" % (
        call.subject, condition(state) or "in a state that cannot be read"), (0, 1, 1.5, 2.25, 3))
    if wished(now):
        return result(call, outcome, says, "HA keeps it so." if by_ha else "It is %s now." % condition(now),
                      changed=True, ha=by_ha or None, **_data(call, now))
    if by_ha or again:
        said = "Not confirmed yet: %s is %s. %s. Look at proxmox_get_vm_status later; do not repeat the call."
        return Result(said % (
            named(call, state), condition(now) or "in a state that could not be read",
            "HA manages it, has the request and carries it out in its own time" if by_ha else
            "It was shut down, and Proxmox starts it again"), dict(
                of_task(outcome), **_data(call, now, ha=by_ha or None, done=False)), mark="\u23f3")
    if not now:
        return result(call, outcome, says, "Its state could not be read since.", changed=True, name=state.get("name"))
    raise Failure("The task %s ended with %s, but %s is %s now: it changed again by itself, or somebody changed it. "
                  "proxmox_list_tasks vmid=%s shows what happened.\nUPID: %s" % (
                      outcome.type, outcome.exitstatus, named(call, state), condition(now), call.args.vmid,
                      outcome.upid))


def start(call):
    state = current(call)
    if is_on(state) and not is_awake(state) and not in_backup(state):
        raise Failure("%s is switched on, but %s." % (named(call, state), _standing(state)))
    if settled(state, is_on) and not in_backup(state):
        return unchanged(call, state)
    return carry_out(call, is_awake if in_backup(state) else is_on, state)


def switch_off(call):
    """Stop it, or shut it down."""
    state = current(call)
    if settled(state, is_off):
        return unchanged(call, state)
    if not hasattr(call.args, "force_stop"):
        _confirm_power_cut(call, state, "Cut the power of %s on node %s?")
    elif call.args.force_stop:
        _confirm_power_cut(call, state, "Shut down %s on node %s, and cut its power if it does not react in time?")
    else:
        _refuse_paused(call, state)
    return carry_out(call, is_off, state)


def reboot(call):
    state = current(call)
    if is_off(state):
        raise Failure("%s is %s, so it cannot be rebooted. %s starts it." % (
            named(call, state), condition(state), call.name.replace("reboot", "start")))
    _refuse_paused(call, state)
    if call.kind == "lxc":                              # PVE::LXC, vm_reboot: lxc-stop --kill when the time is over
        _confirm_power_cut(call, state, "Reboot %s on node %s, and kill it if it does not shut down in time?")
    return carry_out(call, is_on, state, again=True)


def pause(call):
    state = current(call)
    says = "hibernated" if call.args.todisk else "paused"
    if condition(state) == says:
        return unchanged(call, state)
    if is_off(state):
        raise Failure("%s is %s, so it cannot be paused." % (named(call, state), condition(state)))
    return carry_out(call, lambda now: condition(now) == says, state, says="%s %s" % (named(call, state), says))


def resume(call):
    state = current(call)
    if is_awake(state):
        return unchanged(call, state)
    if not STANDING.get(condition(state), (True,))[0]:
        raise Failure("%s cannot be resumed: %s." % (named(call, state), STANDING[condition(state)][1]))
    if condition(state) == "stopped":
        raise Failure("%s is stopped, neither paused nor hibernated. proxmox_start_vm starts it." % named(call, state))
    return carry_out(call, is_awake, state)


def _standing(state):
    """What a VM is in that is switched on and not running, and what helps: "paused; proxmox_resume_vm lets it ..."."""
    said = STANDING.get(condition(state), (True, "proxmox_resume_vm may let it go on"))[1]
    return said if said.startswith(condition(state)) else "%s: %s" % (condition(state), said)


def _refuse_paused(call, state):
    if condition(state) in STANDING:
        raise Failure("%s cannot react. It is %s; proxmox_stop_vm cuts its power." % (named(call, state),
                                                                                   _standing(state)))


def _confirm_power_cut(call, state, question):
    seen = [state]                          # the state just read serves for the question; a later look reads it again

    def describe():
        now = seen.pop() if seen else current(call)
        return (question % (named(call, now), call.node) + " What it has not saved is lost.",
                {"name": now.get("name"), "status": now.get("status")})
    call.confirm(describe)


def delete(call):
    force = getattr(call.args, "force", None)

    def describe():
        state, disks, snapshots, digest = at_stake(call)
        who = named(call, state)
        if not force:
            must_be_off(call, state, ". Shut it down first (%s)%s." % (
                call.name.replace("delete", "shutdown"), ", or force=true kills it" if call.kind == "lxc" else ""))
        if on((state.get("ha") or {}).get("managed")) and not call.args.purge:
            raise Failure("%s is managed by HA. With purge=true it is taken out of HA, and out of backup and "
                          "replication jobs too." % who)
        question = "Delete %s on node %s for good, with %s?" % (who, call.node, loss(disks, snapshots))
        question += " It is running and is killed first." if is_on(state) else ""
        question += " It is also taken out of backup, replication and HA jobs." if call.args.purge else ""
        return (question, {"name": name(state), "digest": digest, "disks": disks, "snapshots": snapshots})
    found = safety.confirm(call, describe, call.parameters())
    outcome = call.follow(call.send(call.parameters()))
    note = "Gone: %s, and the permissions that were granted on it. Its backups stay%s." % (
        loss(found["disks"], found["snapshots"]),
        "" if call.args.purge else ", and backup jobs go on naming it (purge=true takes it out of them)")
    return result(call, outcome, None, note, name=found["name"], disks=found["disks"],
                  snapshots=found["snapshots"] or None, changed=True if outcome.ok else None)


_KNOWN = {"repeats": True, "explains": EXPLAINED}
TOOLS = {
    **both("start", "POST {guest}/status/start", ELEVATED, Waiting, start, says="{subject} started", **_KNOWN,
           about="Start a {guest}."),
    **both("stop", "POST {guest}/status/stop", DESTRUCTIVE, Waiting, switch_off, says="{subject} stopped hard",
           about="Cut the power of a {guest}; prefer shutdown.", **_KNOWN),
    **both("shutdown", "POST {guest}/status/shutdown", ELEVATED, Shutdown, switch_off, says="{subject} shut down",
           **_KNOWN),
    **both("reboot", "POST {guest}/status/reboot", ELEVATED, Reboot, reboot, says="{subject} rebooted",
           explains=EXPLAINED),
    "proxmox_pause_vm": Tool("POST /nodes/{node}/qemu/{vmid}/status/suspend", ELEVATED, Pause, pause,
                             says="{subject} paused", **_KNOWN),
    "proxmox_resume_vm": Tool("POST /nodes/{node}/qemu/{vmid}/status/resume", ELEVATED, Waiting, resume, **_KNOWN,
                              about="Resume a paused or hibernated VM.", says="{subject} resumed"),
    **both("delete", "DELETE {guest}", DESTRUCTIVE, (DeleteVm, DeleteLxc), delete, says="{subject} on {node} deleted",
           explains=EXPLAINED),
}
