"""Toolset: snapshots of guests - list, create, roll back, delete."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import safety
from tools.base.answers import Table, data_only, result
from tools.base.failures import Failure
from tools.base.guest import afterwards, condition, disks, is_on, named
from tools.base.lists import chosen, none_chosen, of_each_guest
from tools.base.row import (BASIC, DESTRUCTIVE, ELEVATED, STARTS, Chosen, Guest, Paged, Safety, Snapname, Tool, Waiting,
                            both)
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.formats import on
from tools.pve.text import Column


@dataclass
class ListSnapshots(Paged, Guest):
    """Snapshots of a {guest}."""


@dataclass
class AllSnapshots(Chosen):
    """Snapshots of all guests, oldest first."""
    older_than: Annotated[Optional[int], Arg("days", minimum=0)] = None


@dataclass
class CreateSnapshot(Waiting):
    """Take a snapshot of a {guest}."""
    snapname: Snapname = REQUIRED
    description: Optional[str] = None


@dataclass
class CreateSnapshotVm(CreateSnapshot):
    """Take a snapshot of a {guest}."""
    vmstate: Annotated[Optional[bool], Arg("with memory")] = None


@dataclass
class Rollback(Waiting):
    """Roll a {guest} back to a snapshot: stops it, later changes are lost."""
    snapname: Snapname = REQUIRED
    start: Annotated[Optional[bool], Arg("then start it", does=STARTS)] = None
    safety: Safety = None


@dataclass
class DeleteSnapshot(Waiting):
    """Delete a snapshot of a {guest}."""
    snapname: Snapname = REQUIRED
    force: Optional[bool] = None


EXPLAINED = (
    (r"is not most recent snapshot",
     "ZFS can only go back to the newest snapshot: delete the newer ones first, or clone the guest from this one."),
    (r"snapshot feature is not available",
     "A disk lies where Proxmox cannot take snapshots (LVM without thin pool, raw files, bind mounts)."),
    (r"snapshot name '.*' already used", "Choose another name, or delete that snapshot first."),
    (r"migration lock", "A replication of this guest is running; try again when it has ended."),
    (r"incomplete snapshot", "The snapshot was never completed; delete it (force=true)."),
    (r"a template", "A template cannot be snapshotted; clone it (proxmox_clone_{kind})."),
)


def _when(entry):
    return float(entry.get("snaptime") or 0)


def tree(entries):
    """Snapshots (dicts with name, parent, snaptime), each after its parent, with its `depth`; older branches first. The
    entry "current" is none; it tells which one the guest stands on."""
    known, found = {entry["name"]: entry for entry in entries if entry["name"] != "current"}, []
    here = next((entry.get("parent") for entry in entries if entry["name"] == "current"), None)
    for name, entry in known.items():
        line, at = {}, entry                            # from it back to the first
        while at and at["name"] not in line:
            line[at["name"]], at = (_when(at), at["name"]), known.get(at.get("parent"))
        depth = 0 if at else len(line) - 1              # parents in a ring: the last
        found.append(((bool(at), [] if at else list(line.values())[::-1]), dict(
            entry, depth=depth, **({"current": True} if name == here else {}))))
    return [entry for _, entry in sorted(found, key=lambda one: one[0])]


def _branch(row):
    """The name behind a branch as long as it is deep."""
    depth = row.get("depth", 0)
    return ("\u2514%s " % ("\u2500" * min(depth, 8)) if depth else "") + row["name"]


def _descent(rows):
    here = next((text.line(row["name"]) for row in rows if row.get("current")), "none of them")
    return "; its present state descends from %s" % here if rows else ""


SNAPSHOTS = Table("snapshot", Column("name", text=_branch), Column("snaptime", "taken", "time"),
                  Column("vmstate", "with memory", "bool"), Column("parent", shown=False),
                  Column("depth", kind="int", shown=False), Column("snapstate", "incomplete"),
                  Column("description", kind="long"), *data_only("bool", "current"), rows=tree, summary=_descent)


MOST = 500                      # guests whose snapshots are read in one call, a request each
MOST_STATES = 20                # kept memories whose size is read, two requests each; of disks Proxmox tells none
ALL = Table("snapshot", Column("vmid", "VMID", "int"), Column("guest"), Column("node"), Column("pool"),
            Column("name", "snapshot"), Column("snaptime", "taken", "time"), Column("age", kind="seconds"),
            Column("vmstate", "with memory", "bool", lambda row: text.size(row["size"]) if "size" in row else
                   text.yes(row["vmstate"]) if "vmstate" in row else "-"),
            Column("depth", "after", "int", lambda row: text.plural(row["depth"], "other")
                   if row.get("depth") else "-"),
            Column("description", kind="long"), *data_only("text", "type", "parent"), *data_only("bytes", "size"))


def list_all(call):
    args, everything = call.args, call.guests()
    guests = sorted(chosen(everything, args), key=lambda row: int(row["vmid"]))
    if len(guests) > MOST:
        raise Failure("%d guests are more than the %d whose snapshots are read in one call: narrow it with node, pool, "
                      "tag or name." % (len(guests), MOST))
    now, rows, (told, unread) = call.host.now(), [], of_each_guest(call, "snapshot", guests)
    for row in guests:
        for entry in tree(told.get(row["vmid"]) or ()):
            age = now - _when(entry) if entry.get("snaptime") else None
            if args.older_than is None or age is not None and age > args.older_than * 86400:
                rows.append(dict(entry, vmid=row["vmid"], guest=row.get("name"), node=row["node"], type=row["type"],
                                 pool=row.get("pool"), age=age))
    rows.sort(key=_when)
    _weigh(call, [row for row in rows if on(row.get("vmstate"))][:MOST_STATES])
    owners = len({row["vmid"] for row in rows})
    notes = ["Not read: %s." % line for line in unread] + list(() if guests else none_chosen(everything, args))
    older = " older than %s" % text.plural(args.older_than, "day") if args.older_than is not None else ""
    return result(call, rows, "%s%s of %s, of %s looked at" % (
        text.plural(len(rows), "snapshot"), older, text.plural(owners, "guest"), len(guests)), notes)


def _weigh(call, rows):
    """Put the size of the volume that keeps the memory into these rows."""
    kept = [(row, str(config.get("vmstate"))) for row, config in call.answered(
        "/nodes/{node}/{type}/{vmid}/snapshot/{name}/config", rows)]
    for one, volume in call.answered("/nodes/{node}/storage/{storage}/content/{volume}", [
            {"node": row["node"], "storage": volid.split(":")[0], "volume": volid, "row": row}
            for row, volid in kept if ":" in volid]):
        one["row"]["size"] = volume.get("size")


def _can_be_taken(call):
    """Failure when the guest cannot be snapshotted: Proxmox does not say which disk it is, so all are named; whether
    its memory will be in it."""
    if not on(call.get("./feature", feature="snapshot").get("hasFeature")):
        config = call.get("./config")
        listed = ["%s (%s)" % (disk.key, text.line(disk.volid)) for disk in disks(call.kind, config)]
        raise Failure("%s cannot be snapshotted: %s." % (
            call.subject, "it is a template" if on(config.get("template")) else
            "a disk lies where Proxmox cannot take snapshots (LVM without thin pool, raw files, bind mounts). "
            "Its disks: %s" % (", ".join(listed) or "none")))
    found = {"snapname": call.args.snapname, "memory": None}
    if getattr(call.args, "vmstate", None):             # of a stopped VM Proxmox keeps none
        found["vmstate"] = is_on(call.get("./status/current"))
        found["memory"] = ", with its memory" if found["vmstate"] else ", without its memory: the VM is not running"
    return found


def _wanted(call):
    """(entry, all entries) of the snapshot asked for; Failure when there is none."""
    entries = tree(call.get("./snapshot"))
    entry = next((one for one in entries if one["name"] == call.args.snapname), None)
    if entry is None:
        raise Failure("%s has no snapshot %s. %s" % (
            call.subject, call.args.snapname,
            "It has: %s." % text.listed([one["name"] for one in entries], 400) if entries else "It has none."))
    return entry, entries


def _taken(entry):
    about = ["taken %s" % text.when(_when(entry))] if _when(entry) else []
    if str(entry.get("description") or "").strip():
        about.append("\"%s\"" % text.line(entry["description"]))
    return " (%s)" % ", ".join(about) if about else ""


def rollback(call):
    def describe():
        entry, entries = _wanted(call)
        if entry.get("snapstate"):
            raise Failure("Snapshot %s is incomplete (%s): nothing can be rolled back to it. Delete it "
                          "with force=true." % (entry["name"], entry["snapstate"]))
        state = call.get("./status/current")
        lines = ["Roll %s on node %s back to snapshot %s%s? What changed in its disks and config since then is lost."
                 % (named(call, state), call.node, entry["name"], _taken(entry))]
        if is_on(state):
            lines.append("It is %s and is stopped hard; %s." % (
                condition(state), "then it continues from the memory in the snapshot" if on(entry.get("vmstate")) else
                "then it is started again" if call.args.start else "it stays stopped (start=true starts it again)"))
        newer = [other["name"] for other in entries if _when(other) > _when(entry)]
        if newer:
            lines.append("Newer snapshots exist (%s): ZFS can only roll back to the newest."
                         % text.listed(newer, 400))
        return " ".join(lines), {"name": state.get("name"), "status": state.get("status"),
                                 "snaptime": text.normal("time", entry.get("snaptime"))}
    params = {"start": call.args.start or None}
    found = safety.confirm(call, describe, params, lambda _: {disk.volid for disk in disks(call.kind, call.get(
        "./config", snapshot=call.args.snapname))}, snapshot=True)
    outcome = call.follow(call.send(params))
    state, note = afterwards(call, outcome, call.args.start)
    if state and not is_on(state) and not call.args.start:
        note += " %s starts it." % call.name.replace("rollback_snapshot", "start")
    return result(call, outcome, None, note, snapname=call.args.snapname, name=found["name"], state=condition(state))


def _deleting(call):
    """Ask before a snapshot is deleted; what it was."""
    def describe():
        (entry, entries), guest = _wanted(call), call.guest()
        return ("Delete snapshot %s of %s on node %s%s? The guest stays as it is, but cannot go back to it any more."
                % (entry["name"], named(call, guest), call.node, _taken(entry)),
                {"name": guest.get("name"), "snaptime": text.normal("time", entry.get("snaptime")),
                 "last": len(entries) == 1})
    found, name = call.confirm(describe), call.args.snapname
    says = "snapshot %s of %s deleted, the only one it had" % (name, named(call, found))
    return dict(found, snapname=name, headline=says if found.pop("last") else None)


TOOLS = {
    "proxmox_list_snapshots": Tool("GET /cluster/resources", BASIC, AllSnapshots, list_all, ALL,
                                   needs=("/vms VM.Audit",)),
    **both("list_snapshots", "GET {guest}/snapshot", BASIC, ListSnapshots, returns=SNAPSHOTS,
           says="{count} of {subject}"),
    **both("create_snapshot", "POST {guest}/snapshot", ELEVATED, (CreateSnapshotVm, CreateSnapshot),
           first=_can_be_taken, says="snapshot {snapname} of {subject} taken{memory}", explains=EXPLAINED),
    **both("rollback_snapshot", "POST {guest}/snapshot/{snapname}/rollback", DESTRUCTIVE, Rollback, rollback,
           says="{subject} rolled back to snapshot {snapname}", explains=EXPLAINED),
    **both("delete_snapshot", "DELETE {guest}/snapshot/{snapname}", DESTRUCTIVE, DeleteSnapshot, first=_deleting,
           says="snapshot {snapname} of {subject} deleted", explains=EXPLAINED),
}
