"""Toolset: what Proxmox is doing and did - one task with its log, and lists of tasks. Reads only."""
import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Optional

from tools.base.answers import Facts, Page, Table, data_only, result
from tools.base.changes import task_ended
from tools.base.failures import Failure
from tools.base.lists import task_subject
from tools.base.row import BASIC, AnyNode, Paged, Tool, Wait
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.formats import parse_upid
from tools.pve.task import succeeded
from tools.pve.text import Column


@dataclass
class OneTask:
    """State of a task and the end of its log; `wait` follows it first."""
    upid: Annotated[str, Arg(format="upid")] = REQUIRED
    wait: Wait = None
    lines: Annotated[int, Arg("of the log's end", minimum=0, maximum=500)] = 20


@dataclass
class Tasks(Paged):
    """Running and recent tasks, newest first; with node or vmid from that node's whole history."""
    node: AnyNode = None
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    type: Annotated[Optional[str], Arg("such as vzdump, qmstart")] = None
    errors: Annotated[Optional[bool], Arg("failed or with warnings")] = None
    since: Annotated[Optional[str], Arg("2h, 7d, 2026-01-31 (UTC) or epoch")] = None


# ------------------------------------------------------------------------------------------------------------- one task

TASK = Facts(*data_only("text", "upid", "node", "type", "id", "status", "exitstatus"), *data_only("bool", "ok"),
             Column("starttime", "started", "time"), Column("user", "by"), under="task",
             beside=[*data_only("list", "log"), *data_only("int", "log_lines")])


def _user(row):
    """The user of a raw task, with the token when it was one."""
    user = str(row.get("user") or "-")
    return "%s!%s" % (user, row["tokenid"]) if row.get("tokenid") and "!" not in user else user


def get_task(call):
    args, ids = call.args, {"node": parse_upid(call.args.upid).node}
    task = call.get("/nodes/{node}/tasks/{upid}/status", ids)
    began = call.host.clock()
    if task.get("status") == "running" and args.wait:
        call.follow(args.upid, check=False)
        task = call.get("/nodes/{node}/tasks/{upid}/status", ids)
    log, total = _log_end(call, ids) if args.lines else ([], None)
    running = task.get("status") == "running"
    ended = None if running else str(task.get("exitstatus") or "unknown")
    found = dict(task, user=_user(task), ok=None if running else succeeded(ended))
    if running:
        headline, mark = "is still running", "\u23f3"
        if args.wait:
            headline += " after %s of waiting" % text.duration(call.host.clock() - began)
    elif ended == "OK":
        headline, mark = "ended OK", "\u2705"
    else:
        headline, mark = ("ended with " if succeeded(ended) else "FAILED: ") + text.line(ended, 1000), "\u26a0"
    note = None
    if log:
        note = text.Shown("Log%s:\n%s" % (
            ", the last %d of %d lines" % (len(log), total) if total and total > len(log) else "",
            text.quoted("\n".join(log), 8000, end=True)))
    undo = None if running else task_ended(call, args.upid)
    more = dict({"log": log, "log_lines": total} if log else {}, **({"undo": undo} if undo else {}))
    return result(call, found, "Task %s %s" % (task_subject(task), headline), [
        note, text.Shown("undo: %s" % undo) if undo else None], mark=mark, **more)


def _log_end(call, ids):
    """(the last lines of a task's log, how many it has): the length is known after the first request only."""
    path, lines = "/nodes/{node}/tasks/{upid}/log", call.args.lines
    reply = call.reply(path, ids, start=0, limit=lines)
    total = text.normal("int", reply.extra.get("total"))
    if total and total > lines:
        reply = call.reply(path, ids, start=total - lines, limit=lines)
    log = [str(entry.get("t", "")) for entry in reply.data or []]
    return ([], 0) if log == ["no content"] else (log, total or len(log))


# -------------------------------------------------------------------------------------------------------- list of tasks

def _task(row):
    """A raw entry of a task list as TASKS has it; one without an end is running."""
    if not row.get("endtime"):
        return dict(row, user=_user(row), status="running")
    ended = str(row.get("status") or "unknown")
    return dict(row, user=_user(row), status="stopped", exitstatus=ended, ok=succeeded(ended), duration=int(
        row["endtime"]) - int(row["starttime"]) if row.get("starttime") else None)


TASKS = Table("task", Column("starttime", "started", "time"), Column("duration", "took", "seconds"), Column("node"),
              Column("type"), Column("id"),
              Column("exitstatus", "result", text=lambda r: r.get("exitstatus", r["status"])), Column("user", "by"),
              Column("upid", "UPID", "long"), *data_only("text", "status"), *data_only("bool", "ok"),
              each=_task)
_UNITS = {"min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def epoch(words):
    """Epoch seconds of "2h" (so long ago), "2026-01-31", "2026-01-31 14:30" (UTC) or a number; Failure for others."""
    ago = re.fullmatch(r"([0-9]{1,6})\s*(min|m|h|d|w)(?:\s+ago)?", words.strip(), re.ASCII)
    if ago:
        return int(time.time()) - int(ago.group(1)) * _UNITS[ago.group(2)]
    if re.fullmatch(r"[0-9]{9,11}", words.strip(), re.ASCII):
        return int(words)
    try:
        found = datetime.fromisoformat(re.sub(r"Z$|\s*UTC$", "", words.strip()))
        return int((found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp())
    except (ValueError, OverflowError):
        raise Failure("The time since=%r is none of 2h, 7d, 2026-01-31, 2026-01-31 14:30 (UTC) or epoch seconds."
                      % words[:40]) from None


def list_tasks(call):
    args, node = call.args, call.args.node
    since = epoch(args.since) if args.since else None
    if node is None and args.vmid:                  # its history is on its node; a deleted guest's may be anywhere
        node = (call.entry(args.vmid) or {}).get("node")
    listed, note = _of_node(call, node, since) if node else _of_cluster(call, since)
    rows, total = (listed.rows, listed.total) if node else (listed, len(listed))
    headline = "%s of %s" % (text.plural(total, "task"), "node " + node if node else "all nodes")
    if rows and len(rows) == total:
        headline += ": %d running, %d failed" % (sum(not row.get("endtime") for row in rows), sum(
            bool(row.get("endtime")) and not succeeded(row.get("status")) for row in rows))
    empty = None if rows else "Without Sys.Audit on /nodes/NODE only the token's own tasks are listed."
    return result(call, listed, headline, [note, empty])


def _of_node(call, node, since):
    """(Page of a node's tasks, what to say of it): Proxmox filters them, and cuts the page."""
    args, note = call.args, None
    found = call.reply("/nodes/{node}/tasks", {"node": node}, source="all", start=args.offset or None, limit=args.limit,
                       vmid=args.vmid, typefilter=args.type, errors=args.errors or None, since=since)
    rows, total = found.data or [], text.normal("int", found.extra.get("total"))
    if args.vmid and not args.node:
        note = "Only those on node %s, where guest %d is now; node= lists those that ran elsewhere." % (node, args.vmid)
    if total is None or call.hidden:                # the guardrails took some out: their number is not that of Proxmox
        if total and total > args.offset + args.limit:
            note = "There may be more from offset=%d on." % (args.offset + args.limit)
        total = args.offset + len(rows)
    return Page(rows, total), note


def _of_cluster(call, since):
    """(rows of /cluster/tasks that fit the arguments, as a node would filter them; what to say of them)."""
    args = call.args
    rows = [row for row in call.get("/cluster/tasks") or []
            if (args.vmid is None or str(row.get("id")) == str(args.vmid)) and args.type in (None, row.get("type"))
            and (not args.errors or row.get("endtime") and row.get("status") != "OK")
            and (since is None or int(row.get("starttime") or 0) >= since)]
    rows.sort(key=lambda row: (bool(row.get("endtime")), -int(row.get("starttime") or 0)))
    note = ("Searched: the latest tasks of each node, which is all that Proxmox lists for the cluster. With node= the "
            "whole history of that node is searched.")
    return rows, note if args.vmid or args.type or args.errors or since else None


TOOLS = {
    "proxmox_get_task": Tool("GET /nodes/{node}/tasks/{upid}/status", BASIC, OneTask, get_task, TASK),
    "proxmox_list_tasks": Tool("GET /cluster/tasks", BASIC, Tasks, list_tasks, TASKS),
}
