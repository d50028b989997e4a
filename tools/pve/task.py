"""Follows a Proxmox task (UPID) to its end: polls its state, reports progress, collects the lines that tell why.

A POST that returns a UPID has only started something (PVE::RPCEnvironment, fork_worker); whether it worked is in the
task's exitstatus. Being unable to ask (a node that is down, a 596, a broken connection) is never a failure of the task.
"""
import re
from collections import namedtuple

from tools.pve.client import PveError
from tools.pve.formats import fill
from tools.pve.waiting import wait_for

_PAGE, _PAGES = 5000, 4         # lines of a log read at once, and how often
_TELLING, _TAIL, _WIDTH = 20, 8, 500

# Percent in a line of a task's log (VZDump/QemuServer.pm, QemuServer/BlockJob.pm, PBS restore, qemu-img, wget). A line
# such as "backup is sparse: 12 GiB (38%) total zero data" must not match.
_NUMBER = r"(\d{1,3}(?:\.\d+)?)"
_PERCENT = re.compile("|".join(pattern.replace("NUMBER", _NUMBER) for pattern in (
    r"^(?:INFO: )?\s*NUMBER% \(", r"\bstatus: NUMBER% \(", r"\bprogress NUMBER% ", r"\btransferred:? .*\(NUMBER%\)",
    r"\bprogression: NUMBER ?%", r"\(NUMBER/100%\)", r"^\s*\d+[KMG]?[ .]+ NUMBER% ")))


def succeeded(exitstatus):
    """Whether a task that ended so did what it was for, perhaps with warnings (PVE::Tools, upid_status_is_error)."""
    return exitstatus == "OK" or str(exitstatus).startswith("WARNINGS:")


class Outcome(namedtuple("Outcome", "upid node type id status exitstatus duration warnings log",
                         defaults=(None, None, None, "unknown", None, None, (), ()))):
    """What is known of a task.

    status: stopped (it ended: exitstatus says how), running (not yet, when the limit was reached), unknown (it was
    started, then its state could not be read). exitstatus: OK, "WARNINGS: 2", or the reason it failed; else None.
    duration: seconds for which it was seen running, or None. warnings: [str]. log: [str], what tells why it failed.
    ok: it ended well, perhaps with warnings. failed: it ended, and not well.
    """

    __slots__ = ()
    ok = property(lambda self: self.status == "stopped" and succeeded(self.exitstatus))
    failed = property(lambda self: self.status == "stopped" and not self.ok)


def follow(request, task, limit, sleep, clock, report=None):
    """The Outcome of a task (Upid), looked at until it ends or `limit` seconds are over (0: one look, no waiting).
    request(verb, path, params) -> Reply; raises PveError. sleep(seconds) raises Cancelled when the client cancels.
    clock() -> seconds. report(percent float|None, message str) is called while it runs."""
    path = fill("/nodes/{node}/tasks/{upid}", {"node": task.node, "upid": task.text})
    log, began, seen = _Log(request, path), clock(), False

    def look():
        try:
            return request("GET", path + "/status", None).data or {}
        except PveError as error:
            return error

    def done(found):
        nonlocal seen
        if isinstance(found, PveError):
            return not found.passing
        ended = found.get("status") == "stopped"
        seen = seen or not ended
        return ended

    def tell(found):
        if isinstance(found, PveError):
            report(None, "node %s does not answer; asking again" % task.node)
        else:
            report(*log.progress("%s%s is running" % (task.type, " of %s" % task.id if task.id else "")))

    found = wait_for(look, done, limit, sleep, clock, report and tell)
    which = (task.text, task.node, task.type, task.id)
    if isinstance(found, PveError):
        return Outcome(*which, log=[] if found.passing else [str(found)])
    if found.get("status") != "stopped":
        return Outcome(*which, "running")
    exitstatus = str(found.get("exitstatus") or "no exit status")
    return Outcome(*which, "stopped", exitstatus, clock() - began if seen else None, *_told(exitstatus, log))


def _told(exitstatus, log):
    """(warnings, lines that tell why it failed) of a task that ended so."""
    if exitstatus == "OK":
        return [], []
    lines = log.all()
    if succeeded(exitstatus):
        return [line for line in lines if re.match(r"(?i)warn(?:ing)?\b", line)][:_TELLING], []
    lines = [line for line in lines if line.strip() and line != "TASK ERROR: %s" % exitstatus]
    telling = [line for line in lines if re.match(r"(?:ERROR|TASK ERROR)\b", line)]
    return [], telling[-_TELLING:] if telling else lines[-_TAIL:]


class _Log:
    """The log of a task, read on from where it was left. When it cannot be read there are no lines, and no error."""

    def __init__(self, request, task):
        self._request, self._path = request, task + "/log"
        self._next = 0          # first line not yet read
        self._last = ""
        self._percent = None

    def progress(self, otherwise):
        """(percent or None, message): from the newest lines; the message is the last line, or `otherwise`."""
        lines, total = self._read(self._next, 500)
        self._next += len(lines)
        if total > self._next:                  # far behind: on with the end of it
            lines, total = self._read(max(self._next, total - 100), 100)
            self._next = max(self._next, total)
        told = [line.strip() for line in lines if line.strip()]
        figures = [(percent_of(line), line) for line in told if percent_of(line) is not None]
        if figures:
            self._percent, self._last = figures[-1]
        elif told:
            self._last = told[-1]
        return self._percent, re.sub(r"^INFO:\s+", "", self._last)[:_WIDTH] or otherwise

    def all(self):
        """All its lines, at most 20,000."""
        found = []
        for _ in range(_PAGES):
            lines, total = self._read(len(found), _PAGE)
            found.extend(lines)
            if not lines or len(found) >= total:
                break
        return found

    def _read(self, start, limit):
        try:
            reply = self._request("GET", self._path, {"start": start, "limit": limit})
        except PveError:
            return [], 0
        lines = [str(row.get("t", ""))[:_WIDTH] for row in reply.data or [] if isinstance(row, dict)]
        if lines == ["no content"]:             # what Proxmox shows for an empty log
            lines = []
        total = reply.extra.get("total")
        return lines, total if isinstance(total, int) else start + len(lines)


def percent_of(line):
    """The percentage (0 to 100) a line of a task's log tells, or None."""
    match = _PERCENT.search(line)
    percent = float(next(filter(None, match.groups()))) if match else 101
    return percent if percent <= 100 else None
