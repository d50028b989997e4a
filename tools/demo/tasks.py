"""Tasks that take time and have logs.

A worker is a generator: what it yields is how many seconds pass before it goes on. It is caught up with the clock at
every request, in order of time over all tasks, so a task that waits for a lock or for another task really waits. A
Refusal that leaves the worker is the task's error, as a die in a Proxmox worker is.
"""
import heapq

from tools.demo.model import Refusal, bad
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import ALL, Extra, File, Route
from tools.pve.formats import parse_upid


class Task:
    """A task: .upid .node .type .id .user (and token), .start .end (epoch), .status (how it ended, or None), .log."""

    def __init__(self, node, kind, ident, user, start, pid, pstart):
        self.node, self.type, self.id, self.user, self.start = node, kind, ident, user, int(start)
        self.pid, self.pstart = pid, pstart
        self.upid = "UPID:%s:%08X:%08X:%08X:%s:%s:%s:" % (node, pid, pstart, self.start, kind, ident, user)
        self.end = self.status = None
        self.log, self.warnings, self.worker = [], 0, None
        self.holds_lock = False     # vzdump's lock of the node

    def say(self, line):
        """Add a line (or several) to the log."""
        self.log.extend(str(line).split("\n"))

    def warn(self, line):
        """Add a warning to the log; the task will end with WARNINGS."""
        self.warnings += 1
        self.log.append("WARN: %s" % line)

    @property
    def running(self):
        return self.end is None

    def row(self):
        """The row of a task list, with the end and its status once it has ended."""
        user, _, token = self.user.partition("!")
        row = {"upid": self.upid, "node": self.node, "pid": self.pid, "pstart": self.pstart, "starttime": self.start,
               "type": self.type, "id": self.id, "user": user}
        row.update({"tokenid": token} if token else {})
        row.update({} if self.running else {"endtime": self.end, "status": self.status})
        return row


class Tasks:
    """All tasks of the cluster."""

    KEEP = 3000

    def __init__(self, world):
        self.world = world
        self.all = {}               # upid -> Task, in order of their start
        self._queue, self._serial = [], 0

    def new(self, node, kind, ident, user, start=None):
        """A Task without a worker: of the past, or to be filled."""
        start = self.world.t if start is None else start
        number = self.world.count("pid", 0x1A2B)
        uptime = max(0.0, start - self.world.nodes[node].booted) if node in self.world.nodes else 0
        task = Task(node, kind, str(ident), user, start, 0x3000 + number * 7 % 0x3C0000, int(uptime * 100) + number)
        self.all[task.upid] = task
        if len(self.all) > self.KEEP:
            for upid in [task.upid for task in self.all.values() if not task.running][:100]:
                del self.all[upid]
        return task

    def past(self, node, kind, ident, user, ago, seconds, status="OK", log=()):
        """A task that ended before the demo began: `ago` seconds back, taking `seconds`."""
        task = self.new(node, kind, ident, user, self.world.t - ago)
        task.end, task.status = int(self.world.t - ago + seconds), status
        task.log = list(log) + ([] if status == "unexpected status" else [_last_line(status)])
        return task

    def fork(self, node, kind, ident, user, worker):
        """Start `worker(task)`, a generator function; returns the UPID."""
        task = self.new(node, kind, ident, user)
        task.worker = worker(task)
        self._step(task)
        return task.upid

    def later(self, seconds, action):
        """Call `action()` after `seconds`, outside of any task."""
        self._push(self.world.t + seconds, action)

    def _push(self, when, what):
        self._serial += 1
        heapq.heappush(self._queue, (when, self._serial, what))

    def advance(self):
        """Live up to the present."""
        present = self.world.real_time()
        while self._queue and self._queue[0][0] <= present:
            when, _, what = heapq.heappop(self._queue)
            self.world.t = max(self.world.t, when)
            if isinstance(what, Task):
                if what.running:
                    self._step(what)
            else:
                what()
        self.world.t = max(self.world.t, present)

    def _step(self, task):
        try:
            seconds = next(task.worker)
        except StopIteration:
            return self._finish(task, "WARNINGS: %d" % task.warnings if task.warnings else "OK")
        except Refusal as error:
            return self._finish(task, error_text(error))
        self._push(self.world.t + max(0.0, seconds), task)

    def _finish(self, task, status):
        task.end = int(self.world.t)
        task.log.append(_last_line(status))
        task.status = " ".join(status.split("\n"))
        task.worker = None

    def kill(self, task):
        """TERM: the worker dies where it stands and writes no last line."""
        if task.running:
            task.worker.close()
            task.worker, task.end, task.status = None, int(self.world.t), "unexpected status"

    def find(self, upid, node):
        """The Task, or 400 as Proxmox says it."""
        if parse_upid(upid) is None:
            bad(upid="unable to parse worker upid")
        task = self.all.get(upid)
        if task is None or task.node != node:
            bad(upid="no such task")
        return task


def error_text(error):
    """A Refusal as a task's error: PVE::Exception puts its code in front and its `errors` behind."""
    text = error.text.strip()
    if error.status != 500:
        text = "%d %s" % (error.status, text)
    for key, words in sorted((error.errors or {}).items()):
        text += "\n%s: %s" % (key, words)
    return text.strip()


def _last_line(status):
    if status == "OK":
        return "TASK OK"
    if status.startswith("WARNINGS: "):
        return "TASK " + status
    return "TASK ERROR: " + status


def visible(call, task):
    """Whether one may see a task: one's own, or with Sys.Audit on its node."""
    user = call.user.partition("!")[0]
    return task.user == call.user or ("!" not in call.user and task.user.partition("!")[0] == user) or \
        call.may("/nodes/" + task.node, "Sys.Audit")


def _state(task):
    if task.running:
        return None
    if task.status == "OK":
        return "ok"
    if task.status.startswith("WARNINGS"):
        return "warning"
    return "unknown" if task.status == "unexpected status" else "error"


def tasks(call):
    """GET /nodes/{node}/tasks: newest first; `total` counts all that fit."""
    p, rows = call.p, []
    source = p.get("source", "archive")
    wanted = [word.lower() for word in split_list(p.get("statusfilter", ""))]
    for task in reversed(list(call.world.tasks.all.values())):
        state = _state(task)
        if all((task.node == call.node, visible(call, task), source in ("all", "active" if task.running else "archive"),
                p.get("vmid") is None or task.id == str(p["vmid"]), p.get("typefilter") in (None, task.type),
                p.get("userfilter", "").lower() in task.user.lower(),
                p.get("since", 0) <= task.start <= p.get("until", task.start),
                not (p.get("errors") and state in (None, "ok")), not wanted or state in wanted)):
            rows.append(task.row())
    rows.sort(key=lambda row: ("endtime" in row, -row["starttime"]))
    start, limit = p.get("start", 0), p.get("limit", 50)
    return Extra(rows[start:start + limit], total=len(rows))


def _task(call):
    task = call.world.tasks.find(call.p["upid"], call.node)
    if not visible(call, task):
        call.need("/nodes/" + call.node, "Sys.Audit")
    return task


def status(call):
    task = _task(call)
    row = dict(task.row(), status="running" if task.running else "stopped")
    row.update({"exitstatus": task.status} if row.pop("endtime", None) else {})
    return row


def log(call):
    """GET .../log: as rows, or as a file with download=1; of a task that is not known it is empty."""
    found = parse_upid(call.p["upid"]) and call.world.tasks.all.get(call.p["upid"])
    lines = _task(call).log if found or not parse_upid(call.p["upid"]) else []
    return File("text/plain", "".join(line + "\n" for line in lines)) if call.p.get("download") else numbered(
        call, lines)


def numbered(call, lines):
    """The answer of a log: its lines with their numbers, from `start` on and at most `limit`; `total` counts all."""
    start, limit = call.p.get("start", 0), call.p.get("limit", 50)
    rows = [{"n": number, "t": line} for number, line in enumerate(lines or ["no content"], 1)][start:]
    return Extra(rows[:limit] if limit else rows, total=len(lines) or 1)


def stop(call):
    task = call.world.tasks.find(call.p["upid"], call.node)
    if task.user != call.user and not ("!" not in call.user and task.user.startswith(call.user + "!")):
        call.need("/nodes/" + call.node, "Sys.Modify")
    call.world.tasks.kill(task)


ROUTES = [
    Route("GET /nodes/{node}/tasks", tasks, ALL, "Tasks of the node.", {
        "start": integer("Skip so many.", 0, default=0), "limit": integer("At most so many.", 0, default=50),
        "source": enum("Ended ones, running ones or both.", "archive active all", default="archive"),
        "vmid": integer("Only of this guest.", 100, 999999999, format="pve-vmid"),
        "errors": boolean("Only failed ones.", default=0),
        "userfilter": string("Only of such users."), "typefilter": string("Only of this type."),
        "since": integer("Started after this epoch."), "until": integer("Started before this epoch."),
        "statusfilter": string("Only with these results.", format="pve-task-status-type-list")}),
    Route("GET /nodes/{node}/tasks/{upid}/status", status, ALL, "State of a task."),
    Route("GET /nodes/{node}/tasks/{upid}/log", log, ALL, "Log of a task.", {
        "start": integer("From this line.", 0, default=0),
        "limit": integer("At most so many lines; 0 is all.", 0, default=50),
        "download": boolean("As a file.", default=0)}),
    Route("DELETE /nodes/{node}/tasks/{upid}", stop, ALL, "Stop a task."),
]
