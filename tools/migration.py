"""Toolset: moving guests to another node, checked before it begins."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import moves
from tools.base.answers import result
from tools.base.failures import Failure
from tools.base.edit import waits
from tools.base.guest import condition, disks, is_on, pending
from tools.base.row import ELEVATED, STARTS, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on

_STORAGE = Arg("or old:new pairs", aliases=("target_storage",))


@dataclass
class _Migrate(Waiting):
    """(moving one guest)"""
    target: Annotated[str, Arg("node", format="node", aliases=("target_node",))] = REQUIRED
    targetstorage: Annotated[Optional[str], _STORAGE] = None
    bwlimit: Annotated[Optional[int], Arg(unit="KiB/s", minimum=0)] = None


@dataclass
class MigrateVm(_Migrate):
    """Move a VM to another node, live when it runs."""
    with_local_disks: Annotated[Optional[bool], Arg("copy disks on local storage", parameter="with-local-disks")] = None


@dataclass
class MigrateLxc(_Migrate):
    """Move a container to another node; a running one only with restart."""
    targetstorage: Annotated[Optional[str], _STORAGE._replace(parameter="target-storage")] = None
    restart: Annotated[Optional[bool], Arg("shut down, move, start", does="shutdown_{kind} " + STARTS)] = None


def migrate(call):
    """Checked first, by Proxmox, and for what its check does not tell."""
    args, source, target = call.args, call.node, call.args.target
    problem = "%s is on node %s already." % (call.subject, source) if source == target else call.node_problem(target)
    if problem:
        raise Failure(problem)
    try:
        check = call.get("./migrate", target=target)
    except PveError as error:
        if error.status != 501:                                     # before 9 there is no such check for containers
            raise
        check = {"running": is_on(call.get("./status/current"))}
    why, running = moves.refused(check, target, bool(args.targetstorage)), on(check.get("running"))
    if why:
        allowed = check.get("allowed_nodes") or check.get("allowed-nodes") or ()
        raise Failure("%s cannot be moved to %s (%s).%s" % (call.subject, target, why, (
            " Possible: %s." % ", ".join(map(text.line, allowed)) if allowed else "")))
    params, how = (_vm if call.kind == "qemu" else _lxc)(call, check, running)
    outcome = call.follow(call.send(call.parameters(), **params))
    if outcome.ok and outcome.type == "hamigrate" and not moves.arrives(call, args.vmid, target):
        return result(call, outcome, "%s: the move from %s to %s was handed to HA" % (call.subject, source, target),
                      "HA moves it; it is still on %s. proxmox_get_vms shows where it is." % source, target=target)
    told, found = _there(call) if outcome.ok and not call.planned else ([], {})
    how += ", at most %s/s" % text.size(args.bwlimit * 1024) if args.bwlimit else ""
    others = ", ".join(moves.along(check))
    return result(call, outcome, "%s moved from %s to %s%s" % (call.subject, source, target, how), [
        "HA rules move %s along." % others if others else None, *told], target=target, **found)


def _vm(call, check, running):
    """(parameters, " live") of a VM's move; Failure when it cannot go, or not like this."""
    stuck, local = moves.stuck(check, running), moves.local_disks(check)
    if stuck:
        raise Failure("%s %s." % (call.subject, stuck))
    if running and local and not call.args.with_local_disks:
        listed = ", ".join("%s (%s)" % (text.line(disk["volid"]), text.size(disk.get("size") or 0)) for disk in local)
        raise Failure("Disks on local storage would have to be copied while the VM runs: %s. Call again with "
                      "with_local_disks=true (and targetstorage when the node has no storage of that name)." % listed)
    return {"online": running or None, "with-local-disks": bool(running and local) or None}, " live" * running


def _lxc(call, check, running):
    if running and not call.args.restart:
        raise Failure("Container %s is running, and containers cannot be moved live. Call again with restart=true: it "
                      "is shut down, moved and started." % call.args.vmid)
    return {"restart": running or None}, " with a restart" * running


def _there(call):
    """(sentences about the state that the guest is in on the target, and what of it the data has)."""
    call.node = call.args.target
    state, config = call.together([("./status/current", None, {}), ("./pending", None, {})])
    found, said = {}, []
    if isinstance(state, dict):
        found["state"] = condition(state)
        said.append("it is %s" % found["state"])
    if isinstance(config, list):
        config, waiting = pending([row for row in config if isinstance(row, dict) and row.get("key")])
        places = sorted({disk.storage for disk in disks(call.kind, config) if disk.storage and not disk.cdrom})
        said += ["its disks are on %s" % text.line(", ".join(places), 200)] * bool(places)
        found.update(storages=places, waiting=sorted(waiting) or None)
    return ["%s." % text.capital(", ".join(said)) if said else None, waits(call, found.get("waiting"))], found


TOOLS = both("migrate", "POST {guest}/migrate", ELEVATED, (MigrateVm, MigrateLxc), migrate, repeats=True)
