"""Toolset: clone guests, set up at once, and change how much memory, CPU and swap they have."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest, setup
from tools.base.answers import result
from tools.base.edit import change
from tools.base.failures import Failure, refuse
from tools.base.guest import fixed_addresses, is_on, name, named
from tools.base.row import ELEVATED, NOT_PARAMETERS, Memory, Newid, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.base.setup import SetupLxc, SetupVm
from tools.base.storage import needed, room_for
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on


@dataclass
class Clone(Waiting):
    """(what both kinds of clone have)"""
    newid: Newid = REQUIRED
    hostname: Annotated[Optional[str], Arg(format="dnsname", aliases=("name",))] = None
    full: Annotated[Optional[bool], Arg("false = linked")] = None
    snapname: Annotated[Optional[str], Arg(format="snapname", published=False)] = None
    storage: Annotated[Optional[str], Arg(format="storage")] = None
    target: Annotated[Optional[str], Arg(format="node")] = None
    pool: Annotated[Optional[str], Arg(format="pool", published=False, does="update_pool")] = None


@dataclass
class CloneLxc(SetupLxc, Clone):
    """Clone a {guest} and set the clone up."""


@dataclass
class CloneVm(SetupVm, Clone):
    """Clone a {guest} and set the clone up."""
    hostname: Annotated[Optional[str], Arg(format="dnsname", parameter="name")] = None


@dataclass
class _Resize(Waiting):
    """(what both kinds of guest have)"""
    memory: Memory = None
    cores: Annotated[Optional[int], Arg(minimum=1)] = None
    cpulimit: Annotated[Optional[float], Arg(published=False)] = None


@dataclass
class ResizeLxc(_Resize):
    """Change memory, swap and CPU of a {guest}."""
    swap: Annotated[Optional[int], Arg(unit="MiB", minimum=0)] = None


@dataclass
class ResizeVm(_Resize):
    """Change memory and CPU of a {guest}."""
    sockets: Annotated[Optional[int], Arg(minimum=1)] = None
    balloon: Annotated[Optional[int], Arg(unit="MiB", minimum=0)] = None


_CLONE_HINTS = (
    (r"(?i)linked clone feature",
     "A linked clone needs a template (or a snapshot on a storage that supports it); leave full out."),
    (r"(?i)full clone feature",
     "This storage cannot copy the volume as it is now: shut the guest down and clone it without snapname, or clone a "
     "snapshot."),
    (r"TPM state while VM is running", "Shut the VM down first."),
    (r"unable to clone mountpoint", "Bind and device mount points cannot be cloned; take the mount point out first."),
)
_RESIZE_HINTS = ((r"balloon value too large", "balloon may not be more than memory; give both."),)


def clone(call):
    """A clone, told by the name it has got. Linked is Proxmox's default for templates (API2/Qemu.pm, clone_vm)."""
    args, source = call.args, call.get("./status/current")
    config = call.get("./config", snapshot=args.snapname)
    linked = not args.full if args.full is not None else on(source.get("template"))
    if linked and args.storage:
        raise Failure("A linked clone stays on the storage of its template. Set full=true, or leave storage out.")
    if call.kind == "lxc" and is_on(source) and not linked and not args.snapname:
        raise Failure("The container is running, and Proxmox clones a running container only from a snapshot. Give "
                      "snapname (proxmox_create_snapshot_lxc makes one), or shut it down first.")
    setup.check(args)
    refuse(call.host.guard.runs("PUT", "/nodes/-/%s/100/config" % call.kind, setup.wanted(args)))
    params = {key: value for key, value in call.parameters().items() if key not in setup.NAMES}
    local = _local_disks(call, config) if args.target not in (None, call.node) else []
    if local:
        call.refuse_option("target", "migrate_{kind}")
    problem = local and call.node_problem(args.target)
    if problem or local and args.full is False:
        raise Failure(problem or "A linked clone stays beside the disks of its template, which are on storage of node "
                      "%s only (%s). Leave target out for a linked clone there, or give full=true: it is copied there "
                      "and then moved to %s." % (call.node, ", ".join(local), args.target))
    why = "in full (a linked clone cannot leave that storage)" if local and linked else "in full"
    if local:                       # Proxmox clones to another node from shared storage only: clone here, then move
        linked, params = False, dict(params, target=None, storage=None, full=True)
    notes, question = _room(call, config, local) if not linked else ([], "")
    if setup.wanted(args) or question:
        call.confirm(lambda: (("Clone %s to %s%s, and set it up? %s" % (
            named(call, source), args.newid, ", in full, move it to node %s" % args.target if local else "", question)
            ).strip(), {"name": name(source)}), strict=not question)
    outcome = call.follow(call.send(params))
    node = args.target or call.node
    if local:
        outcome, node, said = _moved(call, outcome)
        notes.append("Its disks were on storage of node %s only (%s), so it was cloned there, %s, and then %s." % (
            call.node, ", ".join(local), why, said))
    if getattr(args, "ciuser", None) and not (args.cipassword or args.sshkeys):
        notes.append("Nobody can log in as %s: it has neither a key (sshkeys) nor a password (cipassword)." % text.line(
            args.ciuser))
    done, left = setup.set_up(call, outcome, args.newid, node)
    if call.planned:
        return None
    says = "%s cloned to %s%s%s, a %s clone%s" % (
        named(call, source), text.called(str(args.newid), args.hostname),
        " on node %s" % node if args.target else "",
        " from snapshot %s" % args.snapname if args.snapname else "", "linked" if linked else "full",
        "; " + ", ".join(done) if done else "")
    return result(call, outcome, says, notes + left + _kept(args, config), newid=args.newid, name=args.hostname,
                  full=not linked, incomplete=bool(left) or None)


def _local_disks(call, config):
    """The storages of the guest's disks that not every node reaches: from these Proxmox clones to no other node."""
    shared = {row.get("storage") for row in call.get("/cluster/resources", type="storage") or ()
              if on(row.get("shared"))}
    return sorted({disk.storage for disk in guest.disks(call.kind, config) if disk.storage and not disk.cdrom
                   and disk.use != "unused" and disk.storage not in shared})


def _room(call, config, local):
    """What `room_for` says of a full clone: where it is made, and where it is moved to if its disks are `local`."""
    disks, storage, target = guest.disks(call.kind, config), call.args.storage, call.args.target
    notes, question = room_for(call, needed(disks, None if local else storage))
    if local:
        more, asked = room_for(call, needed(disks, storage), node=target)
        notes, question = notes + more, " ".join(filter(None, (question, asked)))
    return notes, question


def _kept(args, config):
    """The sentence about what the clone has of its source and is easily overlooked, as a list."""
    kept = ["the tags %s" % text.line(config.get("tags"), 200)] if config.get("tags") and args.tags is None else []
    kept += ["onboot, so it starts with its node"] if on(config.get("onboot")) and args.onboot is None else []
    if not (getattr(args, "ip", None) or getattr(args, "ipconfig0", None)) and fixed_addresses(config):
        kept.append("the fixed address %s, which only one of the two can use" % ", ".join(fixed_addresses(config)))
    return ["It keeps %s." % "; ".join(kept)] if kept else []


def _moved(call, outcome):
    """(Outcome of the clone's move to the target, or of the clone itself when that was not begun or failed; the node
    where it is; words about it)."""
    args = call.args
    if outcome.upid and not outcome.ok:
        return outcome, call.node, "was to be moved, which was not begun as the clone has not ended"
    params = {"target": args.target, "targetstorage" if call.kind == "qemu" else "target-storage": args.storage,
              "with-local-disks": True if call.kind == "qemu" else None}
    try:
        moved = call.follow(call.send(params, "POST /nodes/{node}/{kind}/{vmid}/migrate", {"vmid": args.newid}))
    except (PveError, Failure) as error:                # the clone is there all the same
        return outcome, call.node, "not seen to move: %s" % text.line(error, 600)
    return moved, args.target if moved.ok or not moved.upid else call.node, "moved to %s" % args.target


def resize(call):
    """A new size, and what of it waits for a restart."""
    wanted = call.parameters()
    if not wanted:
        raise Failure("Nothing to change was given: say at least one of %s." % ", ".join(
            key for key in vars(call.args) if key not in NOT_PARAMETERS and key != "vmid"))
    done = change(call, lambda config: wanted)
    return result(call, done, "%s: %s" % (call.subject, done.told(wanted)), done.note(call, wanted))


TOOLS = {
    **both("clone", "POST {guest}/clone", ELEVATED, (CloneVm, CloneLxc), clone, explains=_CLONE_HINTS),
    **both("resize", "PUT {guest}/config", ELEVATED, (ResizeVm, ResizeLxc), resize, explains=_RESIZE_HINTS,
           needs=("/vms VM.Config.CPU", "/vms VM.Config.Memory")),
}
