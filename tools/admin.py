"""Toolset: an admin's daily round - backup jobs and gaps, services, updates, the log, HA, pools, permissions, tasks."""
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Table, data_only, result
from tools.base.failures import Failure
from tools.base.lists import pattern, without_backup
from tools.base.row import BASIC, DESTRUCTIVE, AnyNode, NodeArgs, Paged, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import parse_upid
from tools.pve.text import Column

# ------------------------------------------------------------------------------------------------------------ arguments


@dataclass
class NotBackedUp(Paged):
    """Guests that no backup job takes."""
    node: AnyNode = None


@dataclass
class BackupJobs(Paged):
    """Backup jobs of the cluster: schedule, storage, which guests."""


@dataclass
class Services(NodeArgs):
    """System services of a node and their state."""


@dataclass
class Updates(NodeArgs, Paged):
    """Package updates that wait on a node (as last fetched)."""
    name: Annotated[Optional[str], Arg("part of it")] = None


@dataclass
class ClusterLog(Paged):
    """The cluster's log, newest first: logins, tasks, membership."""
    node: AnyNode = None
    user: Optional[str] = None


@dataclass
class HaStatus(Paged):
    """High availability: quorum, master, and the state of each resource."""
    node: AnyNode = None


@dataclass
class Pools(Paged):
    """Pools, and how many guests are in each."""
    name: Annotated[Optional[str], Arg("part of it")] = None


@dataclass
class Permissions(Paged):
    """What this token may do: privileges by path."""
    path: Annotated[Optional[str], Arg("such as /vms/100", max_length=300)] = None


@dataclass
class CancelTask:
    """Stop a running task, such as a backup or a clone."""
    upid: Annotated[str, Arg(format="upid")] = REQUIRED


# -------------------------------------------------------------------------------------------------------------- backups

GUESTS = Table("guest", Column("vmid", kind="int"), Column("name"), Column("type"), Column("node"), Column("status"))
JOBS = Table("backup job", Column("id", "ID"), Column("enabled", kind="bool"), Column("schedule"), Column("storage"),
             Column("mode"), Column("guests", kind="long"), Column("retention", kind="long"), Column("node"),
             Column("next-run", "next", "time"), Column("comment"))


def list_not_backed_up(call):
    """Proxmox's own list where the token may call it (on some versions only root@pam may), else made from the jobs."""
    guests, note = {str(row.get("vmid")): row for row in call.guests()}, None
    try:
        rows = [dict(guests.get(str(row.get("vmid")), {}), **row) for row in call.get(call.tool.path) or []]
    except PveError as error:
        if error.status != 403:
            raise
        rows = without_backup(list(guests.values()), call.get("/cluster/backup") or [])
        note = ("Worked out from the backup jobs that are switched on, templates left out: Proxmox's own list is for "
                "root@pam only.")
    if call.args.node:
        rows = [row for row in rows if row.get("node") == call.args.node]
    rows.sort(key=lambda row: int(row["vmid"]))
    where = " on node " + call.args.node if call.args.node else ""
    headline = "%s%s in no backup job" % (text.plural(len(rows), "guest"), where) if rows else (
        "Every guest%s is in a backup job" % where)
    if not guests:
        headline, note = "No guest is listed", "The token may not see any (VM.Audit on /vms)."
    return result(call, rows, headline, note, "node")


def list_backup_jobs(call):
    rows = [_job(job) for job in call.get("/cluster/backup") or []]
    off = sum(row["enabled"] == 0 for row in rows)
    headline = text.plural(len(rows), "backup job") + (", %d switched off" % off if off else "")
    return result(call, rows, headline)


def _job(job):
    """A raw job with its guests and its retention in words; before 7.2 the schedule is dow and starttime."""
    excluded = " but " + str(job["exclude"]) if job.get("exclude") else ""
    guests = ("all" + excluded if str(job.get("all", 0)) == "1" else "pool %s" % job["pool"] if job.get("pool")
              else str(job.get("vmid") or "-"))
    keep = job.get("prune-backups")
    if isinstance(keep, dict):
        keep = ",".join("%s=%s" % pair for pair in sorted(keep.items()))
    schedule = job.get("schedule") or ("%s %s" % (job.get("dow") or "", job.get("starttime") or "")).strip()
    return dict(job, guests=guests, retention=keep, schedule=schedule, enabled=int(str(job.get("enabled", 1)) != "0"))


# ---------------------------------------------------------------------------------------------------------------- nodes

SERVICES = Table("service", Column("service"), Column("state"), Column("unit-state", "unit"),
                 Column("desc", "description"), *data_only("text", "active-state"))
UPDATES = Table("update", Column("package"), Column("old", "installed"), Column("new", "available"), Column("origin"),
                Column("title"))


def list_services(call):
    rows = sorted(call.get("/nodes/{node}/services") or [], key=lambda row: str(row.get("service")))
    failed = [str(row["service"]) for row in rows if "failed" in (row.get("state"), row.get("active-state"))]
    return result(call, rows, "%s on node %s, %s" % (
        text.plural(len(rows), "service"), call.args.node,
        "FAILED: " + text.line(", ".join(failed), 400) if failed else "none failed"))


def list_updates(call):
    rows = [{"package": row.get("Package"), "old": row.get("OldVersion"), "new": row.get("Version"),
             "origin": row.get("Origin"), "title": row.get("Title")}
            for row in call.get("/nodes/{node}/apt/update") or []]
    seen = len(rows)
    if call.args.name:
        fits = pattern(call.args.name)
        rows = [row for row in rows if fits(row["package"])]
    rows.sort(key=lambda row: str(row["package"]))
    note = None
    if not rows:
        note = "None of %s fits." % text.plural(seen, "update") if seen else (
            "It is up to date, or the list of packages was not fetched lately (POST /nodes/%s/apt/update does that)."
            % call.args.node)
    headline = "%s on node %s" % (text.plural(len(rows), "update"), call.args.node)
    return result(call, rows, headline, note, "name")


# -------------------------------------------------------------------------------------------------------------- cluster

LOG = Table("entry", Column("time", kind="time"), Column("node"), Column("user"), Column("tag"),
            Column("msg", "message", "long"))
HA = Table("entry", Column("type"), Column("sid", "resource"), Column("state"), Column("request_state", "wanted"),
           Column("node"), Column("status", kind="long"), Column("quorate", kind="bool", shown=False))
POOLS = Table("pool", Column("poolid", "pool"), Column("guests", kind="int"), Column("comment"))
PERMISSIONS = Table("set", Column("paths", kind="list", text=lambda row: _paths(row, 3)),
                    Column("privileges", kind="list", text=lambda row: str(len(row["privileges"]))),
                    *data_only("int", "total"))
_LOG_LINES = 1000                                       # more than the log of a cluster holds (pmxcfs, logger.c)


def get_cluster_log(call):
    args = call.args
    rows = call.get("/cluster/log", max=_LOG_LINES) or []
    seen = len(rows)
    rows = [row for row in rows if args.node in (None, row.get("node")) and args.user in (None, row.get("user"))]
    rows.sort(key=lambda row: -(text.normal("number", row.get("time")) or 0))
    note = None
    if not rows:
        note = "None of %s fits." % text.plural(seen, "entry") if seen else (
            "Without Sys.Syslog on / only the token's own entries are listed.")
    headline = "%s of the cluster's log" % text.plural(len(rows), "entry")
    return result(call, rows, headline, note, "node, user")


def get_ha_status(call):
    rows = call.get("/cluster/ha/status/current") or []
    if call.args.node:
        rows = [row for row in rows if row.get("node") == call.args.node or row.get("type") == "quorum"]
    states = Counter(str(row.get("state")) for row in rows if row.get("type") == "service")
    lost = any(row.get("type") == "quorum" and str(row.get("quorate", 1)) == "0" for row in rows)
    headline = "HA: " + text.plural(sum(states.values()), "resource") + "".join(
        ", %d %s" % (count, text.line(state)) for state, count in sorted(states.items()))
    return result(call, rows, headline + (", NO QUORUM" if lost else ""),
                        None if states else "No guest is managed by HA.", "node")


def list_pools(call):
    counts = Counter(str(row["pool"]) for row in call.guests() if row.get("pool"))
    rows = [dict(row, guests=counts[str(row.get("poolid"))]) for row in call.get("/pools") or []]
    seen = len(rows)
    if call.args.name:
        fits = pattern(call.args.name)
        rows = [row for row in rows if fits(row.get("poolid"))]
    rows.sort(key=lambda row: str(row.get("poolid")))
    note = None
    if not rows:
        note = "None of %s fits." % text.plural(seen, "pool") if seen else (
            "There is none, or the token lacks Pool.Audit on /pool.")
    return result(call, rows, None, note, "name")


def get_permissions(call):
    """Paths with the same privileges are one row: most tokens have very few kinds of them."""
    token, groups = call.host.settings.token_id, {}
    found = call.get("/access/permissions", path=call.args.path) or {}
    for path, held in sorted(found.items()):
        if held:
            groups.setdefault(tuple(sorted(held)), []).append(path)
    rows = [{"paths": paths[:100], "total": len(paths), "privileges": list(held)} for held, paths in groups.items()]
    notes = ["On %s: %s" % (_paths(row, 5), text.line(", ".join(row["privileges"]), 1500)) for row in rows[:5]]
    if not rows:
        notes.append("No rights%s: a token with privilege separation needs ACL entries of its own, for example: pveum "
                     "acl modify / --tokens '%s' --roles PVEAuditor" % (
                         " on " + text.line(call.args.path) if call.args.path else "", token))
    count = text.plural(sum(row["total"] for row in rows), "path")
    return result(call, rows, "%s may act on %s" % (token, count), "\n".join(notes), "path")


def _paths(row, most):
    more = row["total"] - most
    return text.line(", ".join(row["paths"][:most]), 400) + (" and %d more" % more if more > 0 else "")


# ---------------------------------------------------------------------------------------------------------------- tasks

def cancel_task(call):
    upid = parse_upid(call.args.upid)
    ids, path = {"node": upid.node}, "/nodes/{node}/tasks/{upid}/status"
    subject = "%s%s on node %s" % (upid.type, " of " + text.line(upid.id) if upid.id else "", upid.node)

    def target():
        task = call.get(path, ids)
        if task.get("status") != "running":
            raise Failure("The task %s is over (%s)." % (
                subject, text.line(task.get("exitstatus") or "unknown")))
        return ("Stop the running task %s, begun by %s? What it was doing is left half done. (%s)" % (
            subject, text.line(upid.user), call.args.upid), {"status": "running"})
    call.confirm(target)
    call.send("/nodes/{node}/tasks/{upid}", ids, "DELETE")
    if call.planned:
        return None
    try:
        task = call.get(path, ids)
        how = "was told to stop and still runs" if task.get("status") == "running" else "was stopped"
    except PveError:
        task, how = {}, "was told to stop; whether it has ended could not be read"
    says = "The task %s %s" % (subject, how)
    note = "A stopped clone, backup or migration may leave a lock on the guest; its next change then says so."
    return result(call, call.follow(None), says, note, upid=call.args.upid, task_status=task.get("status"),
                       task_exitstatus=task.get("exitstatus"))


TOOLS = {
    "proxmox_list_guests_without_backup": Tool("GET /cluster/backup-info/not-backed-up", BASIC, NotBackedUp,
                                               list_not_backed_up, GUESTS),
    "proxmox_list_backup_jobs": Tool("GET /cluster/backup", BASIC, BackupJobs, list_backup_jobs, JOBS),
    "proxmox_list_services": Tool("GET /nodes/{node}/services", BASIC, Services, list_services, SERVICES),
    "proxmox_list_updates": Tool("GET /nodes/{node}/apt/update", BASIC, Updates, list_updates, UPDATES),
    "proxmox_get_cluster_log": Tool("GET /cluster/log", BASIC, ClusterLog, get_cluster_log, LOG),
    "proxmox_get_ha_status": Tool("GET /cluster/ha/status/current", BASIC, HaStatus, get_ha_status, HA),
    "proxmox_list_pools": Tool("GET /pools", BASIC, Pools, list_pools, POOLS),
    "proxmox_get_permissions": Tool("GET /access/permissions", BASIC, Permissions, get_permissions, PERMISSIONS),
    "proxmox_cancel_task": Tool("DELETE /nodes/{node}/tasks/{upid}", DESTRUCTIVE, CancelTask, cancel_task),
}
