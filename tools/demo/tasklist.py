"""The tasks of a node: list, status, log, stop."""
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import ALL, Extra, Route


def _visible(call, task):
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
        if task.node != call.node or not _visible(call, task):
            continue
        if (source == "archive" and task.running) or (source == "active" and not task.running):
            continue
        if p.get("vmid") is not None and task.id != str(p["vmid"]):
            continue
        if p.get("userfilter") and p["userfilter"].lower() not in task.user.lower():
            continue
        if p.get("typefilter") and task.type != p["typefilter"]:
            continue
        if not p.get("since", 0) <= task.start <= p.get("until", task.start):
            continue
        state = _state(task)
        if (p.get("errors") and state in (None, "ok")) or (wanted and state not in wanted):
            continue
        rows.append(task.row(whole_user=False))
    rows.sort(key=lambda row: ("endtime" in row, -row["starttime"]))
    start, limit = p.get("start", 0), p.get("limit", 50)
    return Extra(rows[start:start + limit], total=len(rows))


def _task(call):
    task = call.world.tasks.find(call.p["upid"], call.node)
    if not _visible(call, task):
        call.need("/nodes/" + call.node, "Sys.Audit")
    return task


def status(call):
    task = _task(call)
    row = task.facts()
    row["status"] = "running" if task.running else "stopped"
    if not task.running:
        row["exitstatus"] = task.status
    return row


def log(call):
    task = _task(call)
    lines = list(task.log) or ["no content"]
    start, limit = call.p.get("start", 0), call.p.get("limit", 50)
    rows = [{"n": number, "t": line} for number, line in enumerate(lines, 1)][start:]
    return Extra(rows[:limit] if limit else rows, total=len(lines))


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
        "limit": integer("At most so many lines; 0 is all.", 0, default=50)}),
    Route("DELETE /nodes/{node}/tasks/{upid}", stop, ALL, "Stop a task."),
]
