"""Toolset: clone guests, set up at once, and change how much memory, CPU and swap they have."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest, setup
from tools.base.answers import result
from tools.base.edit import change
from tools.base.failures import Failure
from tools.base.guest import is_on, name, named
from tools.base.row import ELEVATED, Guest, Newid, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.base.setup import SetupLxc, SetupVm
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
    description: Annotated[Optional[str], Arg(published=False)] = None


@dataclass
class CloneLxc(SetupLxc, Clone):
    """Clone a {guest} and set the clone up."""


@dataclass
class CloneVm(SetupVm, Clone):
    """Clone a {guest} and set the clone up."""
    format: Annotated[Optional[str], Arg(published=False)] = None


@dataclass
class ResizeLxc(Guest):
    """Change memory, swap and CPU of a {guest}."""
    memory: Annotated[Optional[int], Arg("MiB", minimum=1)] = None
    cores: Annotated[Optional[int], Arg(minimum=1)] = None
    swap: Optional[int] = None
    cpulimit: Optional[float] = None


@dataclass
class ResizeVm(Guest):
    """Change memory and CPU of a {guest}."""
    memory: Annotated[Optional[int], Arg("MiB", minimum=1)] = None
    cores: Annotated[Optional[int], Arg(minimum=1)] = None
    sockets: Annotated[Optional[int], Arg(minimum=1)] = None
    balloon: Annotated[Optional[int], Arg(published=False)] = None
    cpulimit: Optional[float] = None


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
    linked = not args.full if args.full is not None else on(source.get("template"))
    if linked and (args.storage or getattr(args, "format", None)):
        raise Failure("A linked clone stays on the storage of its template, so storage and format cannot be chosen. "
                      "Set full=true, or leave them out.")
    if call.kind == "lxc" and is_on(source) and not linked and not args.snapname:
        raise Failure("The container is running, and Proxmox clones a running container only from a snapshot. Give "
                      "snapname (proxmox_create_snapshot_lxc makes one), or shut it down first.")
    setup.check(args)
    call.refuse_commands(setup.wanted(args))
    params = {key: value for key, value in dict(call.parameters(), newid=args.newid).items() if key not in setup.NAMES}
    if call.kind == "qemu" and "hostname" in params:
        params["name"] = params.pop("hostname")
    local = _local_disks(call) if args.target not in (None, call.node) else []
    if local:
        call.refuse_option("target", "migrate_{kind}")
    problem = local and call.node_problem(args.target, online=True)
    if problem:
        raise Failure(problem)
    if local:                       # Proxmox clones to another node from shared storage only: clone here, then move
        linked, params = False, dict(params, target=None, storage=None, full=True)
    if setup.wanted(args):
        call.confirm(lambda: ("Clone %s to %s%s, and set it up?" % (
            named(call, source), args.newid, ", in full, move it to node %s" % args.target if local else ""),
            {"name": name(source)}), strict=True)
    outcome, notes = call.follow(call.send(params)), []
    if local:
        moved, said = _moved(call, outcome)
        notes.append("Its disks were on storage of node %s only (%s), so it was cloned there, in full, and then %s." % (
            call.node, ", ".join(local), said))
        outcome, arrived = moved or outcome, moved is not None and (moved.ok or not moved.upid)
    node = args.target if args.target and (arrived if local else True) else call.node
    if getattr(args, "ciuser", None) and not (args.cipassword or args.sshkeys):
        notes.append("Nobody can log in as %s: it has neither a key (sshkeys) nor a password (cipassword)." % text.line(
            args.ciuser))
    done, left = setup.set_up(call, outcome, args.newid, node)
    if call.planned:
        return None
    got = args.hostname or (_name(call, node) if outcome.ok else None)
    says = "%s cloned to %s%s%s, a %s clone%s" % (
        named(call, source), text.called(str(args.newid), got),
        " on node %s" % node if args.target else "",
        " from snapshot %s" % args.snapname if args.snapname else "", "linked" if linked else "full",
        "; " + ", ".join(done) if done else "")
    return result(call, outcome, says, notes + left, newid=args.newid, name=got, full=not linked)


def _local_disks(call):
    """The storages of the guest's disks that not every node reaches: from these Proxmox clones to no other node."""
    shared = {row.get("storage") for row in call.get("/cluster/resources", type="storage") or ()
              if on(row.get("shared"))}
    disks = guest.disks(call.kind, call.get("./config", snapshot=call.args.snapname))
    return sorted({disk.storage for disk in disks if disk.storage and not disk.cdrom and disk.use != "unused"
                   and disk.storage not in shared})


def _moved(call, outcome):
    """(Outcome of the clone's move to the target, words about it); of the clone itself when that has not ended; None
    when the move failed."""
    args = call.args
    if outcome.upid and not outcome.ok:
        return outcome, "was to be moved, which was not begun as the clone has not ended"
    params = {"target": args.target, "targetstorage" if call.kind == "qemu" else "target-storage": args.storage}
    if call.kind == "qemu":
        params["with-local-disks"] = True
    try:
        return call.follow(call.send(params, "POST /nodes/{node}/{kind}/{vmid}/migrate", {"vmid": args.newid})), (
            "moved to %s" % args.target)
    except (PveError, Failure) as error:                # the clone is there all the same
        return None, "not moved: %s" % text.line(error, 600)


def _name(call, node):
    """The name the clone has got, or None when it cannot be read."""
    try:
        return name(call.get("/nodes/{node}/{kind}/{newid}/config", {"node": node}))
    except PveError:
        return None


#: What holds when the config has no such key (qemu-server and pve-container).
_DEFAULTS = {"qemu": {"memory": 512, "cores": 1, "sockets": 1}, "lxc": {"memory": 512, "swap": 512}}
_ABSENT = {"cores": "all", "balloon": "as memory", "cpulimit": "no limit"}


def resize(call):
    """A new size, and what of it waits for a restart."""
    wanted, before = call.parameters(), {}
    if not wanted:
        raise Failure("Nothing to change was given: say at least one of %s."
                      % ", ".join(key for key in vars(call.args) if key not in ("vmid", "node")))

    def work_out(config):
        before.update(config)
        return wanted
    done = change(call, work_out)
    parts = []
    for key, value in wanted.items():
        old, new = _amount(call, key, before.get(key)), _amount(call, key, done.config.get(key, value))
        parts.append("%s %s -> %s" % (key, old, new) if old != new else "%s %s as before" % (key, new))
    return result(call, done, "%s: %s" % (call.subject, ", ".join(parts)), done.note(call, wanted))


def _amount(call, key, value):
    """An amount as text; "current=2048" is 2048 (the memory of a VM is a property string since 8.0)."""
    if value is None:
        value = _DEFAULTS[call.kind].get(key)
    if value is None:
        return _ABSENT[key]
    number = str(value).rpartition("=")[2]
    if key == "cpulimit":
        return "%g" % float(number) if float(number) else "no limit"
    if key == "balloon" and number == "0":
        return "off"
    return text.size(int(number) * 1048576) if key in ("memory", "swap", "balloon") else number


TOOLS = {
    **both("clone", "POST {guest}/clone", ELEVATED, (CloneVm, CloneLxc), clone, explains=_CLONE_HINTS),
    **both("resize", "PUT {guest}/config", ELEVATED, (ResizeVm, ResizeLxc), resize, explains=_RESIZE_HINTS,
           needs=("/vms VM.Config.CPU", "/vms VM.Config.Memory")),
}
