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


def migrate_vm(call):
    args = call.args
    _elsewhere(call)
    check = call.get("./migrate", target=args.target)
    _allowed(call, check, check.get("allowed_nodes"))
    running = on(check.get("running"))
    stuck, local = moves.stuck(check, running), moves.local_disks(check)
    if stuck:
        raise Failure("%s %s." % (call.subject, stuck))
    if running and local and not args.with_local_disks:
        listed = ", ".join("%s (%s)" % (text.line(disk["volid"]), text.size(disk.get("size") or 0)) for disk in local)
        raise Failure("Disks on local storage would have to be copied while the VM runs: %s. Call again with "
                      "with_local_disks=true (and targetstorage when the node has no storage of that name)." % listed)
    params = dict(call.parameters(), online=running or None)
    params["with-local-disks"] = True if running and local else None
    return _moved(call, params, " live" if running else "", check)


def migrate_lxc(call):
    _elsewhere(call)
    try:
        check = call.get("./migrate", target=call.args.target)
        running = on(check.get("running"))
        _allowed(call, check, check.get("allowed-nodes"))
    except PveError as error:
        if error.status != 501:                                     # before 9 there is no such check for containers
            raise
        check, running = {}, is_on(call.get("./status/current"))
    if running and not call.args.restart:
        raise Failure("Container %s is running, and containers cannot be moved live. Call again with restart=true: it "
                      "is shut down, moved and started." % call.args.vmid)
    return _moved(call, dict(call.parameters(), restart=running or None), " with a restart" if running else "", check)


def _elsewhere(call):
    """Failure when the target is where the guest is, or no node that could take it: Proxmox's check tells neither."""
    problem = "%s is on node %s already." % (call.subject, call.node) if call.node == call.args.target else (
        call.node_problem(call.args.target))
    if problem:
        raise Failure(problem)


def _allowed(call, check, allowed):
    """Failure when Proxmox's own check says that the guest cannot go to the target."""
    why = moves.refused(check, call.args.target, bool(call.args.targetstorage))
    if why:
        raise Failure("%s cannot be moved to %s (%s).%s" % (
            call.subject, call.args.target, why,
            " Possible: %s." % ", ".join(map(text.line, allowed)) if allowed else ""))


def _moved(call, params, how, check):
    """Send it; the Result, with the node that the guest is on afterwards (HA files a request and moves it later)."""
    outcome, target, source = call.follow(call.send(**params)), call.args.target, call.node
    if outcome.ok and outcome.type == "hamigrate" and not moves.arrives(call, call.args.vmid, target):
        return result(call, outcome, "%s: the move from %s to %s was handed to HA" % (call.subject, source, target),
                      "HA moves it; it is still on %s. proxmox_get_vms shows where it is." % source, target=target)
    told, found = _there(call) if outcome.ok and not call.planned else ([], {})
    how += ", at most %s/s" % text.size(call.args.bwlimit * 1024) if call.args.bwlimit else ""
    others = ", ".join(moves.along(check))
    return result(call, outcome, "%s moved from %s to %s%s" % (call.subject, source, target, how), [
        "HA rules move %s along." % others if others else None, *told], target=target, **found)


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


TOOLS = both("migrate", "POST {guest}/migrate", ELEVATED, (MigrateVm, MigrateLxc), (migrate_vm, migrate_lxc),
             repeats=True)
