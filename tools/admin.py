"""Toolset: an admin's daily round - backup jobs, updates, HA, pools, permissions, and a task to be stopped."""
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Table, counting, data_only, result
from tools.base.failures import Failure
from tools.base.row import BASIC, DESTRUCTIVE, NodeArgs, Paged, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.formats import on, parse_upid
from tools.pve.text import Column


@dataclass
class Updates(NodeArgs, Paged):
    """Pending package updates of a node (as last fetched)."""
    name: Annotated[Optional[str], Arg("part of it")] = None


@dataclass
class Pools(Paged):
    """Pools, with how many guests."""
    name: Annotated[Optional[str], Arg("part of it")] = None


@dataclass
class Permissions(Paged):
    """What this token may do: privileges by path."""
    path: Annotated[Optional[str], Arg("such as /vms/100", max_length=300)] = None


@dataclass
class CancelTask:
    """Stop a running task, such as a backup."""
    upid: Annotated[str, Arg(format="upid")] = REQUIRED


# -------------------------------------------------------------------------------------------------------------- backups

def _job(job):
    """A raw job with its guests and its retention in words; before 7.2 the schedule is dow and starttime."""
    excluded = " but " + str(job["exclude"]) if job.get("exclude") else ""
    guests = ("all" + excluded if on(job.get("all")) else "pool %s" % job["pool"] if job.get("pool")
              else str(job.get("vmid") or "-"))
    keep = job.get("prune-backups")
    if isinstance(keep, dict):
        keep = ",".join("%s=%s" % pair for pair in sorted(keep.items()))
    schedule = job.get("schedule") or ("%s %s" % (job.get("dow") or "", job.get("starttime") or "")).strip()
    return dict(job, guests=guests, retention=keep, schedule=schedule, enabled=on(job.get("enabled", 1)))


JOBS = Table("backup job", Column("id", "ID"), Column("enabled", kind="bool"), Column("schedule"), Column("storage"),
             Column("mode"), Column("guests", kind="long"), Column("retention", kind="long"), Column("node"),
             Column("next-run", "next", "time"), Column("comment"), each=_job,
             summary=counting("switched off", lambda job: not on(job.get("enabled", 1))))


# ---------------------------------------------------------------------------------------------------------------- nodes

UPDATES = Table("update", Column("package"), Column("old", "installed"), Column("new", "available"), Column("origin"),
                Column("title"), sort=("Package",), search=lambda row: [row.get("Package")],
                each=lambda row: {"package": row.get("Package"), "old": row.get("OldVersion"),
                                  "new": row.get("Version"), "origin": row.get("Origin"), "title": row.get("Title")},
                empty="The node is up to date, or its package list was not refreshed lately (POST "
                      "/nodes/{node}/apt/update does that).")


# -------------------------------------------------------------------------------------------------------------- cluster

def _ha_status(row):
    """"active" of "pve1 (active, Thu Jan  1 00:16:40 2026)": the node is beside it, and the time is that of asking."""
    short = re.fullmatch(r"\S+ \(([\w ]+), [\w :]+ \d{4}\)", row.get("status", ""))
    return short.group(1) if short else row.get("status", "-")


def _ha_states(rows):
    states = Counter(str(row.get("state")) for row in rows if row.get("type") == "service")
    lost = any(row.get("type") == "quorum" and not on(row.get("quorate", 1)) for row in rows)
    return text.plural(sum(states.values()), "resource") + "".join(
        ", %d %s" % (count, text.line(state)) for state, count in sorted(states.items())) + ", NO QUORUM" * lost


#: The entry of the quorum is of no node, though Proxmox names the one that answers.
HA = Table("entry", Column("type"), Column("sid", "resource"), Column("state"), Column("request_state", "wanted"),
           Column("node"), Column("status", kind="long", text=_ha_status), Column("quorate", kind="bool", shown=False),
           each=lambda row: dict(row, node=None) if row.get("type") == "quorum" else row, summary=_ha_states)
POOLS = Table("pool", Column("poolid", "pool"), Column("guests", kind="int"), Column("comment"), sort=("poolid",),
              search=lambda row: [row.get("poolid")], empty="There are none, or the token lacks Pool.Audit on /pool.")


def list_pools(call):
    counts = Counter(str(row["pool"]) for row in call.guests() if row.get("pool"))
    return result(call, [dict(row, guests=counts[str(row.get("poolid"))]) for row in call.get("/pools") or []])


def _rights(found):
    """The rows of /access/permissions: paths with the same privileges are one row, for there are few kinds of them."""
    groups = {}
    for path, held in sorted((found or {}).items()):
        if held:
            groups.setdefault(tuple(sorted(held)), []).append(path)
    return [{"paths": paths[:100], "total": len(paths), "privileges": list(held)} for held, paths in groups.items()]


def _paths(row, most):
    more = row["total"] - most
    return text.line(", ".join(row["paths"][:most]), 400) + (" and %d more" % more if more > 0 else "")


def _of_rights(rows, call):
    for row in rows[:5]:
        yield text.Shown("On %s: %s" % (_paths(row, 5), text.line(", ".join(row["privileges"]), 1500)))
    if not rows:
        yield ("No rights%s: a token with privilege separation needs ACL entries of its own, for example: pveum acl "
               "modify / --tokens '%s' --roles PVEAuditor" % (
                   " on " + text.line(call.args.path) if call.args.path else "", call.host.settings.token_id))


PERMISSIONS = Table("set", Column("paths", kind="list", text=lambda row: _paths(row, 3)),
                    Column("privileges", kind="list", text=lambda row: str(len(row["privileges"]))),
                    *data_only("int", "total"), rows=_rights, notes=_of_rights,
                    summary=lambda rows: text.plural(sum(row["total"] for row in rows), "path"))


# ---------------------------------------------------------------------------------------------------------------- tasks

def cancel_task(call):
    upid = parse_upid(call.args.upid)
    ids, path = {"node": upid.node}, "/nodes/{node}/tasks/{upid}/status"
    subject = "%s%s on node %s" % (upid.type, " of " + text.line(upid.id) if upid.id else "", upid.node)

    def target():
        task = call.get(path, ids)
        if task.get("status") != "running":
            raise Failure("The task %s is over (%s)." % (subject, text.line(task.get("exitstatus") or "unknown")))
        return ("Stop the running task %s, started by %s? What it was doing is left half done. (%s)" % (
            subject, text.line(upid.user), call.args.upid), {"status": "running"})
    call.confirm(target)
    call.send(None, "DELETE /nodes/{node}/tasks/{upid}", ids)
    if call.planned:
        return None
    task = call.try_get(path, ids) or {}
    how = {"running": "was told to stop and still runs",
           None: "was told to stop; whether it has ended could not be read"}.get(task.get("status"), "was stopped")
    note = "A stopped clone, backup or migration may leave the guest locked; the next change to it will say so."
    return result(call, call.follow(None), "The task %s %s" % (subject, how), note, task=dict(
        {key: task[key] for key in ("status", "exitstatus") if task.get(key)}, upid=call.args.upid))


TOOLS = {
    "proxmox_list_backup_jobs": Tool("GET /cluster/backup", BASIC, Paged, returns=JOBS,
                                     about="Backup jobs of the cluster: schedule, storage, which guests."),
    "proxmox_list_updates": Tool("GET /nodes/{node}/apt/update", BASIC, Updates, returns=UPDATES,
                                 says="{count} on node {node}"),
    "proxmox_get_ha_status": Tool("GET /cluster/ha/status/current", BASIC, Paged, returns=HA, says="HA: ",
                                  about="High availability: quorum, master, and the state of each resource."),
    "proxmox_list_pools": Tool("GET /pools", BASIC, Pools, list_pools, POOLS),
    "proxmox_get_permissions": Tool("GET /access/permissions", BASIC, Permissions, returns=PERMISSIONS,
                                    says="{token} may act on "),
    "proxmox_cancel_task": Tool("DELETE /nodes/{node}/tasks/{upid}", DESTRUCTIVE, CancelTask, cancel_task),
}
