"""Toolset: moving guests to another node, checked before it begins."""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import result
from tools.base.failures import Failure
from tools.base.edit import waits
from tools.base.guest import condition, disks, is_on, pending
from tools.base.row import ELEVATED, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on

# ------------------------------------------------------------------------------------------------------------ arguments


@dataclass
class _Migrate(Waiting):
    """(moving one guest)"""
    target: Annotated[str, Arg("node", format="node", aliases=("target_node",))] = REQUIRED
    targetstorage: Annotated[Optional[str], Arg("or old:new pairs", aliases=("target_storage",))] = None
    bwlimit: Annotated[Optional[int], Arg(unit="KiB/s", minimum=0)] = None


@dataclass
class MigrateVm(_Migrate):
    """Move a VM to another node, live when it runs."""
    with_local_disks: Annotated[Optional[bool], Arg("copy disks on local storage", parameter="with-local-disks")] = None


@dataclass
class MigrateLxc(_Migrate):
    """Move a container to another node; a running one only with restart."""
    targetstorage: Annotated[Optional[str], Arg("or old:new pairs", aliases=("target_storage",),
                                                parameter="target-storage")] = None
    restart: Annotated[Optional[bool], Arg("shut down, move, start")] = None


# ------------------------------------------------------------------------------------------------------------- the move

_CLOUD_INIT = re.compile(r"vm-\d+-cloudinit")


def migrate_vm(call):
    args = call.args
    _elsewhere(call)
    check = call.get("./migrate", target=args.target)
    _allowed(call, check.get("not_allowed_nodes"), check.get("allowed_nodes"))
    running = on(check.get("running"))
    bound = _bound(check, running)
    if bound:
        raise Failure("VM %s uses devices of its node (%s) and cannot be moved%s." % (
            args.vmid, ", ".join(map(text.line, bound)), " while it runs" if bound != _bound(check, False) else ""))
    local = [disk for disk in check.get("local_disks") or [] if not _CLOUD_INIT.search(str(disk.get("volid")))]
    images = [text.line(disk["volid"]) for disk in local if on(disk.get("cdrom"))]
    if images:
        raise Failure("A CD image on local storage is in the VM: %s. Take it out first (proxmox_update_vm_config, the "
                      "drive's option to none,media=cdrom)." % ", ".join(images))
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
        _allowed(call, check.get("not-allowed-nodes"), check.get("allowed-nodes"))
    except PveError as error:
        if error.status != 501:                                     # before 9 there is no such check for containers
            raise
        check, running = {}, is_on(call.get("./status/current"))
    if running and not call.args.restart:
        raise Failure("Container %s is running, and containers cannot be moved live. Call again with restart=true: it "
                      "is shut down, moved and started." % call.args.vmid)
    return _moved(call, dict(call.parameters(), restart=running or None), " with a restart" if running else "", check)


def _bound(check, running):
    """The devices that keep a VM on its node: those of the node itself, and of those that are mapped what cannot be
    moved live (QemuMigrate.pm, prepare). Up to 8.3 the mapped ones are among local_resources too, and none moves live.
    """
    mapped = check.get("mapped-resource-info") or dict.fromkeys(check.get("mapped-resources") or (), {})
    fixed = [key for key in check.get("local_resources") or () if key not in mapped]
    return fixed + [key for key, info in mapped.items() if running and not on(info.get("live-migration"))]


def _elsewhere(call):
    """Failure when the target is where the guest is, or no node that could take it: Proxmox's check tells neither."""
    if call.node == call.args.target:
        raise Failure("%s is on node %s already." % (call.subject, call.node))
    problem = call.node_problem(call.args.target, online=True)
    if problem:
        raise Failure(problem)


def _allowed(call, refused, allowed):
    """Failure when Proxmox's own check says that the guest cannot go to the target."""
    why = dict((refused or {}).get(call.args.target) or {})
    if call.args.targetstorage:                         # the disks go to other storages: these may be missing
        why = {key: value for key, value in why.items() if key.replace("_", "-") != "unavailable-storages"}
    reasons = ["%s: %s" % (re.sub("[_-]", " ", key), ", ".join(text.line(_reason(one)) for one in value))
               for key, value in sorted(why.items()) if value]
    if reasons:
        raise Failure("%s cannot be moved to %s (%s).%s" % (
            call.subject, call.args.target, "; ".join(reasons),
            " Possible: %s." % ", ".join(map(text.line, allowed)) if allowed else ""))


def _reason(one):
    return "%s (%s)" % (one.get("sid"), one.get("cause")) if isinstance(one, dict) else one


def _moved(call, params, how, check):
    """Send it; the Result, with the node that the guest is on afterwards (HA files a request and moves it later)."""
    outcome, target, source = call.follow(call.send(**params)), call.args.target, call.node
    how += ", at most %s/s" % text.size(call.args.bwlimit * 1024) if call.args.bwlimit else ""
    others = [text.line(sid) for sid in check.get("dependent-ha-resources") or []]
    note = "HA rules move %s along." % ", ".join(others) if others else None
    if outcome.ok and outcome.type == "hamigrate" and not _arrives(call):
        return result(call, outcome, "%s: the move from %s to %s was handed to HA" % (call.subject, source, target),
                      "HA moves it; it is still on %s. proxmox_get_vms shows where it is." % source, target=target)
    told, found = _there(call) if outcome.ok and not call.planned else ([], {})
    return result(call, outcome, "%s moved from %s to %s%s" % (call.subject, source, target, how), [note, *told],
                  target=target, **found)


def _there(call):
    """(sentences about the state that the guest is in on the target, and what of it the data has)."""
    call.node = call.args.target
    state, config = call.together([("./status/current", None, {}), ("./pending", None, {})])
    found, said = {}, []
    if isinstance(state, dict):
        found["state"] = condition(state)
        said.append("it is %s" % found["state"])
    if isinstance(config, list):
        config, waiting = pending(config)
        places = sorted({disk.storage for disk in disks(call.kind, config) if disk.storage and not disk.cdrom})
        said += ["its disks are on %s" % text.line(", ".join(places), 200)] * bool(places)
        found.update(storages=places, waiting=sorted(waiting) or None)
    return ["%s." % text.capital(", ".join(said)) if said else None, waits(call, found.get("waiting"))], found


def _arrives(call):
    """Whether the guest is on the target within `wait_limit` seconds."""
    def node():
        call.forget()
        try:
            return (call.entry(call.args.vmid) or {}).get("node")
        except PveError:                                # asked again; the move goes on
            return None
    return call.args.target == call.wait_for(
        node, lambda found: found == call.args.target, call.wait_limit,
        lambda found: "%s is on %s" % (call.subject, found or "a node that cannot be read"), (0, 2))


TOOLS = both("migrate", "POST {guest}/migrate", ELEVATED, (MigrateVm, MigrateLxc), (migrate_vm, migrate_lxc),
             repeats=True)
