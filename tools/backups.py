"""Toolset: backups (vzdump) - make, list, restore, delete."""
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import safety, setup
from tools.base.answers import Table, data_only, result
from tools.base.backup_state import (UNSEEN, VERDICTS, backup_storage, backups_on, made_since, places, state,
                                     switched_off, the_backup, unreachable)
from tools.base.failures import Failure
from tools.base.guest import (afterwards, at_stake, condition, current, disks, fixed_addresses, holds, loss,
                              must_be_off, name, nics)
from tools.base.lists import NAMES, chosen, none_chosen, who
from tools.base.row import (BASIC, CONFIGURES, DESTRUCTIVE, ELEVATED, STARTS, AnyNode, Chosen, Newid, OnNode, Paged,
                            Safety, Tool, Waiting, both)
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import needed, room_for, usable, volume_size
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import misfit, on, owner_of, parse_upid
from tools.pve.text import Column

Flag = Optional[bool]
AnyStorage = Annotated[Optional[str], Arg(format="storage")]


@dataclass
class CreateBackup(Waiting):
    """Back up a {guest}."""
    storage: AnyStorage = None
    mode: Annotated[str, Arg(enum=("snapshot", "suspend", "stop"))] = "snapshot"
    compress: Annotated[str, Arg(enum=("zstd", "none", "lzo", "gzip"))] = "zstd"
    notes: Annotated[Optional[str], Arg(aliases=("notes-template",))] = None
    protected: Flag = None


@dataclass
class ListBackups(Paged):
    """Backups, newest first, of the cluster or a part of it."""
    node: AnyNode = None
    storage: AnyStorage = None
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    newest: Flag = None


@dataclass
class BackupState(Chosen):
    """Each guest's newest backup, the jobs that take it, whether that is enough; worst first."""
    older_than: Annotated[Optional[int], Arg("days", minimum=0)] = None
    missing: Annotated[Flag, Arg("only those without backup or job")] = None
    unverified: Annotated[Flag, Arg("only those not verified")] = None


@dataclass
class Restore(OnNode):
    """Restore a backup as {guest} vmid."""
    vmid: Newid = REQUIRED
    archive: Annotated[str, Arg("volid or newest or newest of 100", aliases=("volid", "volume", "backup"),
                                max_length=300)] = REQUIRED
    storage: AnyStorage = None
    force: Annotated[Flag, Arg("overwrite", does="delete_{kind}")] = None
    unique: Annotated[Flag, Arg("new MACs")] = None
    start: Annotated[Flag, Arg(does=STARTS)] = None
    hostname: Annotated[Optional[str], Arg(format="dnsname", aliases=("name",), does=CONFIGURES)] = None
    onboot: Annotated[Flag, Arg(does=CONFIGURES)] = None
    safety: Safety = None


@dataclass
class DeleteBackup(OnNode):
    """Delete a backup."""
    storage: Annotated[str, Arg(format="storage")] = REQUIRED
    volume: Annotated[str, Arg("volid", format="volume", aliases=("volid", "archive", "backup"))] = REQUIRED


EXPLAINED = (
    (r"max backup limit",
     "Nothing is removed for a new one: delete old backups (proxmox_delete_backup)."),
    (r"(?:lzop|zstd|pigz|gzip).*exit code 127",
     "The node lacks the program for this; use compress=zstd, which is always there."),
    (r"remove protected volume",
     "Take its protection off first, if that is intended (proxmox_update_backup protected=false)."),
    (r"vm is running|overwrite running container|CT \d+ is running", "Stop it first (proxmox_stop_{kind})."),
    (r"does not support container directories",
     "Give a storage that takes container disks (content rootdir); proxmox_get_storage shows them."),
    (r"HA managed|managed by HA", "Use mode=snapshot; HA would start the guest again."),
)


# ---------------------------------------------------------------------------------------------------------- reading

def guest_kind(entry):
    """"qemu" or "lxc": what a backup is of, by its fields, else by its name; None if unknown."""
    if entry.get("subtype") in NAMES:
        return entry["subtype"]
    found = re.search(r"(?:vzdump-|:backup/)(?:(qemu|vm)|(?:lxc|openvz|ct))[-/]", str(entry.get("volid")))
    return ("qemu" if found.group(1) else "lxc") if found else None


def _made(entry):
    """When a backup was made."""
    return text.normal("number", entry.get("ctime")) or 0


def tidy(entry):
    """A backup's entry with guest, vmid, verified and flags as our rows have them; false flags are left out."""
    verification = entry.get("verification")
    return dict(entry, guest=guest_kind(entry), vmid=entry.get("vmid") or owner_of(str(entry.get("volid"))),
                encrypted=True if on(entry.get("encrypted")) else None,
                protected=True if on(entry.get("protected")) else None,
                verified=verification.get("state") if isinstance(verification, dict) else None)


BACKUPS = Table("backup", Column("volid", kind="long"), Column("vmid", kind="int"),
                Column("guest", text=lambda row: NAMES.get(row.get("guest"), "-")), Column("ctime", "made", "time"),
                Column("size", kind="bytes"), Column("format", shown=False), Column("protected", kind="bool"),
                Column("encrypted", kind="bool"), Column("verified"), Column("notes", "first line of its notes"),
                each=tidy,
                sort=lambda entry: (-_made(entry), str(entry.get("volid"))))


def facts(entry):
    """What is told of one backup: volid, size (bytes), ctime."""
    return {"volid": entry["volid"], "size": entry["size"], "ctime": text.normal("time", entry.get("ctime"))}


def about(entry):
    """"of VM 100, made 2026-01-01 10:00:00 UTC, 1.2 GiB, "its notes""."""
    row = tidy(entry)
    return ", ".join(filter(None, (
        row["vmid"] and "of " + who({"type": row["guest"], "vmid": row["vmid"]}),
        row.get("ctime") and "made %s" % text.when(row["ctime"]), row.get("size") and text.size(row["size"]),
        row.get("notes") and "\"%s\"" % text.line(row["notes"]))))


def list_backups(call):
    vmid = call.args.vmid
    if call.node:
        names, entries, notes = backups_on(call, call.args.storage, vmid)
    else:
        names, entries, notes = _everywhere(call)
    if call.args.newest:
        entries = list({tidy(entry)["vmid"]: entry for entry in sorted(entries, key=_made)}.values())
    head = "%s%s on %s (%s)" % (
        text.plural(len(entries), "backup") if entries else "No backups", " of guest %s" % vmid if vmid else "",
        call.node or "the cluster", ", ".join(names) or "no storage for backups that can be read")
    if entries:
        head += ", %s" % text.size(sum(entry["size"] or 0 for entry in entries))
    return result(call, entries, head, notes if entries else notes + [UNSEEN])


def _everywhere(call):
    """What `backups_on` says, of all storages of the cluster: a shared one is read once."""
    resources = call.get("/cluster/resources") or []
    found = [place for place in places(resources) if call.args.storage in (None, place["storage"])]
    query, names, entries = {"content": "backup", "vmid": call.args.vmid}, [], []
    notes = ["Not read: %s (no node reaches it)." % name for name in unreachable(resources) if call.args.storage in (
        None, name)]
    answers = call.together([("/nodes/{node}/storage/{storage}/content", place, query) for place in found])
    for place, answer in zip(found, answers):
        if isinstance(answer, Exception):
            notes.append("Not read: %s on node %s (%s)." % (place["storage"], place["node"], text.first_line(answer)))
            continue
        names.append(place["storage"])
        entries += [dict(row, storage=place["storage"], size=volume_size(row)) for row in answer or ()]
    return sorted(set(names)), entries, notes


# ------------------------------------------------------------------------------------------------ whether it is enough

def backup_states(call):
    args, everything = call.args, call.get("/cluster/resources") or []
    guests = [row for row in everything if row.get("type") in NAMES]
    try:
        jobs, notes = call.get("/cluster/backup") or [], []
    except PveError as error:
        jobs, notes = None, ["Backup jobs could not be read: %s" % text.first_line(error)]
    rows, unread = state(call, chosen(guests, args), everything, jobs, call.host.now())
    if not rows:
        notes.extend(none_chosen(guests, args))
    rank = {verdict: number for number, verdict in enumerate(VERDICTS)}
    rows = sorted(filter(_wanted(args), rows), key=lambda row: (rank[row["verdict"]], int(row["vmid"])))
    counts = Counter(row["verdict"] for row in rows)
    notes.extend("%s: %s." % (verdict.capitalize(), VERDICTS[verdict]) for verdict in (
        "unverified", "not found", "unknown") if counts[verdict])
    notes.extend("Job %s is switched off, and would take %s." % (text.line(job), text.listed(
        text.ranges(vmids).split(", "), 200))
                 for job, vmids in switched_off(rows).items())
    if any(row["left_out"] for row in rows):
        notes.append("Left out: disks with backup=0 and bind mounts.")
    notes.extend("Not read: %s." % line for line in unread)
    return result(call, rows, "%s%s" % (text.plural(len(rows), "guest"), ": " + ", ".join(
        "%d %s" % (counts[verdict], verdict) for verdict in VERDICTS if counts[verdict]) if rows else ""), notes)


def _wanted(args):
    """A test for rows of `state`: whether one is what older_than, missing and unverified ask for."""
    def fits(row):
        verified = row["newest"] and isinstance(row["newest"].get("verification"), dict)
        return ((args.older_than is None or row["age"] is None or row["age"] > args.older_than * 86400)
                and (not args.missing or row["newest"] is None or row["jobs"] == [])
                and (not args.unverified or row["newest"] is not None and not verified))
    return fits


def _backup_row(row):
    newest = tidy(row["newest"]) if row["newest"] else {}
    return dict(row, newest=newest.get("ctime"), **{key: newest.get(key) for key in (
        "storage", "size", "verified", "protected", "encrypted", "volid")})


def _marks(row):
    """"verified ok, protected" of the newest backup."""
    marks = ["verified " + text.line(row["verified"])] if "verified" in row else []
    return ", ".join(marks + [name for name in ("protected", "encrypted") if row.get(name)]) or "-"


STATE = Table("guest", Column("vmid", "VMID", "int"), Column("name"), Column("node"), Column("verdict"),
              Column("age", "newest is", "seconds"),
              Column("storage"), Column("size", kind="bytes"), Column("marks", text=_marks),
              Column("jobs", kind="list"), Column("left_out", "left out", "list"), *data_only("time", "newest"),
              *data_only("list", "off"), *data_only("text", "type", "pool", "volid", "verified"),
              *data_only("bool", "unsure", "protected", "encrypted"), each=_backup_row)


# ------------------------------------------------------------------------------------------------------- backing up

def create(call):
    state = current(call)
    storage = call.args.storage or backup_storage(call, None, "Say on which storage")
    params = dict(call.parameters(), storage=storage, notes=None, protected=call.args.protected or None)
    params["compress"] = "0" if call.args.compress == "none" else call.args.compress
    if call.args.notes:
        # One line: PVE::VZDump turns \n and \\ back, and fills in {{guestname}} {{node}} {{vmid}} {{cluster}}.
        params["notes-template"] = re.sub(r"\r\n?|\n", r"\\n", call.args.notes.replace("\\", "\\\\"))
    outcome = call.follow(call.send(params))
    found, note = {"storage": storage, "name": state.get("name")}, None
    if outcome.upid and outcome.ok:
        try:
            new = made_since(call, storage, parse_upid(outcome.upid).starttime)
        except PveError:
            new = None
        if new is None:
            note = "Its archive is not in the list of %s that this token sees. %s" % (storage, UNSEEN)
        else:
            found.update(facts(new))
            note = "Archive: %s%s." % (text.line(new["volid"], 300), " (%s)" % text.size(new["size"]) if new.get(
                "size") else "")
    return result(call, outcome, None, note, **found)


# -------------------------------------------------------------------------------------------------------- restoring

def _archive(call):
    """(entry of the backup that the argument means: its volid, or "newest", of this vmid or "of" another guest; what
    could not be looked at for that)."""
    archive = call.args.archive.strip()
    newest = re.fullmatch(r"(?:the )?newest(?: of (\S+))?", archive, re.ASCII)
    if not newest:
        if misfit("volid", archive):
            raise Failure("The argument archive: %r %s; or newest, or newest of a guest." % (
                archive[:80], misfit("volid", archive)))
        return the_backup(call, archive.split(":")[0], archive), []
    vmid = call.number_of(newest.group(1)) if newest.group(1) else call.args.vmid
    names, entries, notes = backups_on(call, None, vmid)
    entries = [entry for entry in entries if guest_kind(entry) in (call.kind, None)]
    if not entries:
        raise Failure(" ".join(["There is no backup of %s %s on %s of node %s.%s" % (
            NAMES[call.kind], vmid, ", ".join(names) or "any storage", call.node, "" if newest.group(1) else
            " To restore one of another guest: archive=newest of NUMBER."), *notes, UNSEEN]))
    return max(entries, key=_made), notes


def restore(call):
    (entry, unread), vmid = _archive(call), call.args.vmid
    archive = call.args.archive = entry["volid"]
    kind, source = guest_kind(entry), tidy(entry)["vmid"]
    if kind not in (call.kind, None):
        raise Failure("The archive %s is a backup of a %s. Use proxmox_restore_backup_%s." % (
            archive, NAMES[kind], "lxc" if kind == "lxc" else "vm"))
    guests = {int(row["vmid"]): row for row in call.guests() if row.get("vmid")}
    inside = _config_inside(call) if vmid not in guests or call.kind == "lxc" and not call.args.storage else {}
    storage = call.args.storage or (_root_storage(call, inside) if call.kind == "lxc" else None)
    room, promised = [], ""
    params = {"archive": archive} if call.kind == "qemu" else {"ostemplate": archive, "restore": True}
    if vmid in guests:
        params["force"] = True              # only ever over a guest that was seen, named and confirmed
        safety.confirm(call, lambda: _overwrite(call, guests[vmid], entry, storage), dict(params, vmid=vmid,
                                                                                         storage=storage))
    else:
        if not isinstance(inside, PveError):
            room, promised = room_for(call, needed(disks(call.kind, inside), storage))
        call.confirm(lambda: (("Restore %s as a new %s on node %s%s? %s" % (
            archive, call.subject, call.node, ", storage %s" % storage if storage else "", promised)).strip(), {
                "archive": archive}), strict=not promised)
    changed = {"name" if call.kind == "qemu" else "hostname": call.args.hostname, "onboot": call.args.onboot}
    changed = {key: value for key, value in changed.items() if value is not None}
    outcome = call.follow(call.send(vmid=vmid, storage=storage, unique=call.args.unique or None,
                                    start=None if changed else call.args.start or None, **params))
    done, notes = setup.set_up(call, outcome, vmid, call.node, changed) if changed else ([], [])
    left = bool(notes) or None
    state, note = afterwards(call, outcome, call.args.start)
    notes = unread + room + [note] * bool(note) + ["Then: %s." % "; ".join(done)] * bool(done) + notes
    if outcome.upid and outcome.ok:
        notes.extend(_restored(call, guests.get(source) if source != vmid else None))
    return result(call, outcome, None, notes, archive=archive, storage=storage, name=name(state),
                  state=condition(state), overwritten=True if vmid in guests else None, incomplete=left)


def _restored(call, original):
    """Sentences about what the restored guest has, and what of it is that of the one that the backup is of, which is
    still there: its row, or None."""
    config = call.try_get("./config")
    if config is None:
        return
    yield "It has %s." % holds(call.kind, config)
    if original is None:
        return
    clash = []
    if not call.args.unique and nics(config):
        clash.append("the same MAC addresses (unique=true restores with new ones)")
    fixed = fixed_addresses(config)
    if fixed:
        clash.append("the same fixed address %s" % ", ".join(fixed))
    if on(config.get("onboot")):
        clash.append("onboot, so it starts with the node (onboot=false restores without)")
    if clash:
        yield "Beside guest %s, which is %s, it has %s. Do not run both in one network." % (
            original["vmid"], original.get("status"), "; ".join(clash))


def _overwrite(call, taken, entry, storage):
    """What `confirm` wants to know of a restore over a guest; Failure when that is not asked for, or cannot be."""
    guest = "%s on node %s" % (who(taken), taken.get("node"))
    if not call.args.force:
        raise Failure("The vmid is taken by %s. Choose a free one (proxmox_get_next_vmid), or "
                      "overwrite that guest with force=true." % guest)
    if taken.get("type") != call.kind or taken.get("node") != call.node:
        raise Failure("The vmid is taken by %s: only a %s on node %s could be overwritten. Choose a free "
                      "one (proxmox_get_next_vmid)." % (guest, NAMES[call.kind], call.node))
    state, disks, snapshots, digest = at_stake(call)
    must_be_off(call, state, " and cannot be overwritten. Stop it first (%s)." % call.name.replace(
        "restore_backup", "shutdown"))
    gone = loss(disks, snapshots)
    return ("Overwrite %s, with %s, by the backup %s (%s)%s?" % (
        guest, gone, entry["volid"], about(entry), ", on storage %s" % storage if storage else ""),
            {"name": state.get("name"), "digest": digest, "ctime": entry.get("ctime")})


def _config_inside(call):
    """The config (dict) in the backup, without its snapshots, or the PveError that came instead."""
    try:
        config = call.get("/nodes/{node}/vzdump/extractconfig", volume=call.args.archive)
    except PveError as error:
        return error
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", re.split(r"(?m)^\[", str(config))[0], re.M))


def _root_storage(call, config):
    """The storage of the root disk in a container's backup (see `_config_inside`), if it takes container disks on the
    node. Proxmox's own default is `local`, which usually takes none (PVE::API2::LXC, create_vm)."""
    if isinstance(config, PveError):
        raise Failure("Say on which storage: the config in the backup, which would tell it, could not be read.\n%s"
                      % config)
    root = next((disk.storage for disk in disks("lxc", config) if disk.key == "rootfs"), None)
    found, _ = usable(call, "rootdir")
    if root in found:
        return root
    raise Failure("Say on which storage: %s. Node %s has %s." % (
        "the root disk was on %s, which takes no container disks on this node now" % root if root else
        "the config in the backup names none", call.node,
        ", ".join(sorted(found)) or "none for container disks that this token may use"))


# --------------------------------------------------------------------------------------------------------- deleting

def _deleting(call):
    """Ask before a backup is deleted; what it was."""
    def describe():
        entry = the_backup(call, call.args.storage, call.args.volume)
        if on(entry.get("protected")):
            raise Failure("The backup %s is protected (%s). Take its protection off first, if that is intended "
                          "(proxmox_update_backup protected=false)." % (call.args.volume, about(entry)))
        return "Delete the backup %s (%s) for good?" % (call.args.volume, about(entry)), dict(
            facts(entry), was=about(entry))
    return call.confirm(describe)


_CONTENT = "/nodes/{node}/storage/{storage}/content"
_NEEDS = ("/storage Datastore.AllocateSpace", "/vms VM.Backup")
TOOLS = {
    **both("create_backup", "POST /nodes/{node}/vzdump", ELEVATED, CreateBackup, create,
           says="{subject} backed up to {storage}", explains=EXPLAINED, fixed={"remove": False}),
    "proxmox_list_backup_state": Tool("GET /cluster/backup", BASIC, BackupState, backup_states, STATE,
                                      needs=("/ Sys.Audit", "/vms VM.Audit")),
    "proxmox_list_backups": Tool("GET /cluster/resources", ELEVATED, ListBackups, list_backups, BACKUPS, needs=_NEEDS),
    **both("restore_backup", ("POST /nodes/{node}/qemu", "POST /nodes/{node}/lxc"), DESTRUCTIVE, Restore, restore,
           says="{subject} restored on {node} from {archive}", explains=EXPLAINED,
           needs=("/vms VM.Allocate",) + _NEEDS),
    "proxmox_delete_backup": Tool("DELETE %s/{volume}" % _CONTENT, DESTRUCTIVE, DeleteBackup, first=_deleting,
                                  says="backup {volume} deleted ({was})", explains=EXPLAINED, needs=_NEEDS),
}
