"""Toolset: an admin's daily round - backup jobs and gaps, services, updates, the cluster's log, HA, pools, permissions, ending a task."""
from collections import Counter

from tools.guests import Later
from tools.insight import uncovered
from tools.kit import (BASIC, DESTRUCTIVE, REQUIRED, Annotated, Arg, Column, Failure, NodeArgs, Optional, Paged, PveError, Table, Tool, dataclass, text)
from tools.pve.formats import parse_upid


@dataclass
class NotBackedUp(Paged):
    """Guests that no backup job takes."""


@dataclass
class BackupJobs(Paged):
    """Backup jobs of the cluster: schedule, storage, which guests."""


@dataclass
class Services(NodeArgs):
    """System services of a node and their state."""


@dataclass
class Updates(NodeArgs, Paged):
    """Package updates that wait on a node (as last fetched)."""


@dataclass
class ClusterLog(Paged):
    """The cluster's log, newest first: logins, tasks, membership."""


@dataclass
class HaStatus(Paged):
    """High availability: quorum, master, and the state of each resource."""


@dataclass
class Pools(Paged):
    """Pools, and how many guests are in each."""


@dataclass
class Permissions(Paged):
    """What this token may do: privileges by path."""
    path: Annotated[Optional[str], Arg("such as /vms/100")] = None


@dataclass
class CancelTask:
    """Stop a running task, such as a backup or a clone."""
    upid: Annotated[str, Arg(format="upid")] = REQUIRED


GUESTS = Table("guest", Column("vmid", kind="int"), Column("name"), Column("type"), Column("node"), Column("status"))
JOBS = Table("backup job", Column("id", "ID"), Column("enabled", kind="bool"), Column("schedule"), Column("storage"), Column("mode"),
             Column("guests", kind="long"), Column("retention", kind="long"), Column("node"), Column("next-run", "next", "time"), Column("comment"))
SERVICES = Table("service", Column("service"), Column("state"), Column("unit-state", "unit"), Column("desc", "description"))
UPDATES = Table("update", Column("package"), Column("old", "installed"), Column("new", "available"), Column("origin"), Column("title"))
LOG = Table("entry", Column("time", kind="time"), Column("node"), Column("user"), Column("tag"), Column("msg", "message", "long"))
HA = Table("entry", Column("type"), Column("sid", "resource"), Column("state"), Column("request_state", "wanted"), Column("node"),
           Column("status", kind="long"), Column("quorate", kind="bool", shown=False))
POOLS = Table("pool", Column("poolid", "pool"), Column("guests", kind="int"), Column("comment"))
PERMISSIONS = Table("path", Column("path", kind="long"), Column("privileges", kind="list", text=lambda r: ", ".join(r["privileges"])))


def list_not_backed_up(call):
    """The endpoint where the token may call it (on some versions only root@pam may), else the same worked out from the jobs."""
    guests = {str(r.get("vmid")): r for r in call.resources()}
    try:
        rows = [dict(guests.get(str(r.get("vmid")), {}), **r) for r in call.get("/cluster/backup-info/not-backed-up")]
    except PveError as error:
        if error.status != 403:
            raise
        rows = uncovered(list(guests.values()), call.get("/cluster/backup"))
    rows.sort(key=lambda r: int(r["vmid"]))
    return call.listing(Later(rows, GUESTS), "%s in no backup job" % text.plural(len(rows), "guest") if rows else
                        "Every guest is in a backup job")


def list_backup_jobs(call):
    rows = []
    for job in call.get("/cluster/backup") or []:
        guests = ("all" + (" but %s" % job["exclude"] if job.get("exclude") else "") if str(job.get("all", 0)) == "1" else
                  "pool %s" % job["pool"] if job.get("pool") else str(job.get("vmid") or "-"))
        keep = job.get("prune-backups")
        rows.append(dict(job, guests=guests, enabled=job.get("enabled", 1), schedule=job.get("schedule") or "%s %s" % (
            job.get("dow", ""), job.get("starttime", "")),
            retention=",".join("%s=%s" % pair for pair in sorted(keep.items())) if isinstance(keep, dict) else keep))
    return call.listing(Later(rows, JOBS))


def list_services(call):
    rows = sorted(call.get("/nodes/{node}/services") or [], key=lambda r: str(r.get("service")))
    failed = [str(r["service"]) for r in rows if r.get("state") == "failed" or r.get("active-state") == "failed"]
    return call.answer(rows, "%s on %s%s" % (text.plural(len(rows), "service"), call.args.node,
                                             ", FAILED: " + ", ".join(failed) if failed else ", none failed"))


def list_updates(call):
    rows = [{"package": r.get("Package"), "old": r.get("OldVersion"), "new": r.get("Version"), "origin": r.get("Origin"), "title": r.get("Title")}
            for r in call.get("/nodes/{node}/apt/update") or []]
    return call.listing(Later(rows, UPDATES), "%s on %s" % (text.plural(len(rows), "update"), call.args.node),
                        None if rows else "Up to date, or the list of packages was not fetched lately.")


def get_cluster_log(call):
    args = call.args
    rows = call.get("/cluster/log", max=args.offset + args.limit) or []
    rows.sort(key=lambda r: -float(r.get("time") or 0))
    return call.listing(Later(rows, LOG), "%s of the cluster's log" % text.plural(len(rows), "entry", "entries"),
                        "Without Sys.Syslog on / only the token's own entries are listed." if not rows else None)


def get_ha_status(call):
    rows = call.get("/cluster/ha/status/current") or []
    states = Counter(str(r.get("state")) for r in rows if r.get("type") == "service")
    return call.listing(Later(rows, HA), "HA: %s%s" % (text.plural(sum(states.values()), "resource"), "".join(
        ", %d %s" % (count, text.line(state)) for state, count in sorted(states.items()))))


def list_pools(call):
    counts = Counter(str(r["pool"]) for r in call.resources() if r.get("pool"))
    rows = [dict(p, guests=counts[str(p.get("poolid"))]) for p in call.get("/pools") or []]
    return call.listing(Later(sorted(rows, key=lambda r: str(r["poolid"])), POOLS), None,
                        None if rows else "None, or the token lacks Pool.Audit.")


def get_permissions(call):
    found = call.get("/access/permissions", path=call.args.path) or {}
    rows = [{"path": path, "privileges": sorted(privileges)} for path, privileges in sorted(found.items()) if privileges]
    return call.listing(rows, "%s may act on %s" % (call.host.settings.token_id, text.plural(len(rows), "path")),
                        None if rows else "No rights at all: a token with privilege separation needs ACL entries of its own, for example "
                        "pveum acl modify / --tokens '%s' --roles PVEAuditor" % call.host.settings.token_id)


def cancel_task(call):
    upid = parse_upid(call.args.upid)
    ids = {"node": upid.node}

    def target():
        task = call.get("/nodes/{node}/tasks/{upid}/status", ids)
        if task.get("status") != "running":
            raise Failure("The task %s is over (%s). Nothing was sent." % (upid.type, text.line(task.get("exitstatus") or "unknown")))
        return ("Stop the running task %s%s on node %s, begun by %s? What it was doing is left half done." % (
            upid.type, " of guest %s" % text.line(upid.id) if upid.id else "", upid.node, text.line(upid.user)), {"status": "running"})
    call.confirm(target)
    call.send("/nodes/{node}/tasks/{upid}", ids, "DELETE")
    if call.planned:
        return call.finish(None)
    task = call.get("/nodes/{node}/tasks/{upid}/status", ids)
    return call.finish(None, "Task %s on %s %s" % (upid.type, upid.node, "was told to stop and still runs" if task.get("status") == "running"
                                                   else "was stopped"),
                       "A stopped clone or backup may leave a lock behind; the guest's next call then says so.",
                       task=call.args.upid, exitstatus=task.get("exitstatus"))


TOOLS = {
    "proxmox_list_guests_without_backup": Tool("GET /cluster/backup-info/not-backed-up", BASIC, NotBackedUp, list_not_backed_up, GUESTS),
    "proxmox_list_backup_jobs": Tool("GET /cluster/backup", BASIC, BackupJobs, list_backup_jobs, JOBS),
    "proxmox_list_services": Tool("GET /nodes/{node}/services", BASIC, Services, list_services, SERVICES),
    "proxmox_list_updates": Tool("GET /nodes/{node}/apt/update", BASIC, Updates, list_updates, UPDATES),
    "proxmox_get_cluster_log": Tool("GET /cluster/log", BASIC, ClusterLog, get_cluster_log, LOG),
    "proxmox_get_ha_status": Tool("GET /cluster/ha/status/current", BASIC, HaStatus, get_ha_status, HA),
    "proxmox_list_pools": Tool("GET /pools", BASIC, Pools, list_pools, POOLS),
    "proxmox_get_permissions": Tool("GET /access/permissions", BASIC, Permissions, get_permissions, PERMISSIONS),
    "proxmox_cancel_task": Tool("DELETE /nodes/{node}/tasks/{upid}", DESTRUCTIVE, CancelTask, cancel_task),
}
