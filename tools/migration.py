"""Toolset: moving guests to another node, checked before it begins."""
from tools.kit import (ELEVATED, REQUIRED, Annotated, Arg, Failure, Optional, PveError, Tool, Waiting, dataclass, text)


@dataclass
class _Migrate(Waiting):
    """(moving one guest)"""
    target: Annotated[str, Arg("node", format="node")] = REQUIRED
    targetstorage: Annotated[Optional[str], Arg("or old:new pairs", also=("target_storage",))] = None
    bwlimit: Annotated[Optional[int], Arg("KiB/s", least=0)] = None


@dataclass
class MigrateVm(_Migrate):
    """Move a VM to another node, live when it runs."""
    with_local_disks: Annotated[Optional[bool], Arg("copy disks on local storage")] = None


@dataclass
class MigrateLxc(_Migrate):
    """Move a container to another node; a running one only with restart."""
    restart: Annotated[Optional[bool], Arg("shut down, move, start")] = None


def migrate_vm(call):
    args = call.args
    _elsewhere(call)
    check = call.get("./migrate", target=args.target)
    _allowed(call, (check.get("not_allowed_nodes") or {}).get(args.target), check.get("allowed_nodes"))
    running = bool(int(check.get("running") or 0))
    if check.get("local_resources"):
        raise Failure("VM %s uses devices of its node (%s) and cannot be moved. Nothing was sent." % (
            args.vmid, ", ".join(map(str, check["local_resources"]))))
    disks = [d for d in check.get("local_disks") or [] if not int(d.get("cdrom") or 0)]
    discs = [d["volid"] for d in check.get("local_disks") or [] if int(d.get("cdrom") or 0)]
    if discs:
        raise Failure("A CD image on local storage is in the VM: %s. Take it out first. Nothing was sent." % ", ".join(discs))
    if running and disks and not args.with_local_disks:
        raise Failure("Disks on local storage would have to be copied while the VM runs: %s. Call again with with_local_disks=true "
                      "(and targetstorage when the node has no storage of that name). Nothing was sent." % ", ".join(
                          "%s (%s)" % (d["volid"], text.size(d.get("size") or 0)) for d in disks))
    return _moved(call, call.send(target=args.target, online=running or None, targetstorage=args.targetstorage,
                                  bwlimit=args.bwlimit, **{"with-local-disks": True if running and disks else None}),
                  "live" if running else None)


def migrate_lxc(call):
    args = call.args
    _elsewhere(call)
    try:
        check = call.get("./migrate", target=args.target)
        running = bool(int(check.get("running") or 0))
        _allowed(call, (check.get("not-allowed-nodes") or {}).get(args.target), check.get("allowed-nodes"))
    except PveError as error:
        if error.status != 501:                                     # before 9 there is no such check for containers
            raise
        running = call.get("./status/current").get("status") == "running"
    if running and not args.restart:
        raise Failure("Container %s runs, and containers cannot be moved live. Call again with restart=true: it is shut down, moved and "
                      "started. Nothing was sent." % args.vmid)
    return _moved(call, call.send(target=args.target, restart=running or None, bwlimit=args.bwlimit,
                                  **{"target-storage": args.targetstorage}), "with a restart" if running else None)


def _elsewhere(call):
    if call.node == call.args.target:
        raise Failure("%s is on node %s already. Nothing was sent." % (call.subject, call.node))


def _allowed(call, why_not, allowed):
    """Failure when Proxmox's own check says that the guest cannot go there."""
    if why_not:
        reasons = ["%s: %s" % (key.replace("_", " "), ", ".join(text.line(v.get("sid", v) if isinstance(v, dict) else v) for v in value))
                   for key, value in why_not.items() if value]
        raise Failure("%s cannot be moved to %s (%s).%s Nothing was sent." % (
            call.subject, call.args.target, "; ".join(reasons) or "no reason given",
            " Possible: %s." % ", ".join(allowed) if allowed else ""))


def _moved(call, answer, how):
    """The Result, with the node that the guest is on afterwards (HA files a request first and moves it later)."""
    outcome = call.done(answer)
    target, source = call.args.target, call.node
    if outcome.ok and outcome.type == "hamigrate":
        limit = call.host.clock() + (call.args.wait if call.args.wait is not None else call.host.settings.task_wait)
        while _now_on(call) != target and call.host.clock() < limit:
            call.sleep(2)
        if _now_on(call) != target:
            return call.tell(outcome, "%s: the move from %s to %s was handed to HA" % (call.subject, source, target),
                             "HA moves it; it is still on %s. proxmox_get_vms tells where it is." % source, target=target)
    return call.tell(outcome, "%s moved from %s to %s%s" % (call.subject, source, target, " " + how if how else ""), target=target)


def _now_on(call):
    call.forget()
    return next((str(r.get("node")) for r in call.resources() if str(r.get("vmid")) == str(call.args.vmid)), None)


TOOLS = {
    "proxmox_migrate_vm": Tool("POST /nodes/{node}/qemu/{vmid}/migrate", ELEVATED, MigrateVm, migrate_vm, repeats=True),
    "proxmox_migrate_lxc": Tool("POST /nodes/{node}/lxc/{vmid}/migrate", ELEVATED, MigrateLxc, migrate_lxc, repeats=True),
}
