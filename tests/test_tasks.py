"""Tools about tasks: one with its log, and lists."""
import pytest
from test_cluster import AUDITOR, canned

import support
from tools import tasks
from tools.base.failures import Failure
from tools.mcp.run import Nobody


def past(bench, lines=3, **facts):
    """Put a task that has ended on pve2 into the history; {"upid": its UPID}."""
    facts = dict({"kind": "vzdump", "ident": "101", "user": "root@pam", "ago": 100, "seconds": 90}, **facts)
    task = bench.cluster.world.tasks.past("pve2", log=["line %d" % n for n in range(1, lines)], **facts)
    return {"upid": task.upid}


def long_log(bench):
    return past(bench, 100)


def working(seconds, bench):
    """A task on pve2 that runs for so many seconds; {"upid": its UPID}."""
    def worker(task):
        task.say("begun")
        yield seconds
        task.say("done")
    return {"upid": bench.cluster.world.tasks.fork("pve2", "imgcopy", "101", "root@pam!demo", worker)}


STATUS, LOG = "GET /nodes/pve2/tasks/{upid}/status", "GET /nodes/pve2/tasks/{upid}/log limit=%d start=%d"
CASES = [
    ("proxmox_get_task", {"upid": "{upid}"}, [STATUS, LOG % (20, 0)], past),
    ("proxmox_get_task", {"upid": "{upid}", "lines": 30}, [STATUS, LOG % (30, 0), LOG % (30, 70)], long_log),
    ("proxmox_get_task", {"upid": "{upid}", "lines": 0, "wait": 60}, [STATUS], past),
    ("proxmox_list_tasks", {}, ["GET /cluster/tasks"]),
    ("proxmox_list_tasks", {"type": "vzdump", "errors": True, "limit": 5, "offset": 1}, ["GET /cluster/tasks"]),
    ("proxmox_list_tasks", {"vmid": 104},
     ["GET /cluster/resources type=vm", "GET /nodes/pve1/tasks limit=50 source=all vmid=104"]),
    ("proxmox_list_tasks", {"vmid": 4711}, ["GET /cluster/resources type=vm", "GET /cluster/tasks"]),
    ("proxmox_list_tasks",
     {"node": "pve2", "type": "vzdump", "errors": True, "since": "2025-12-01", "limit": 5, "offset": 1},
     ["GET /nodes/pve2/tasks errors=1 limit=5 since=1764547200 source=all start=1 typefilter=vzdump"]),
]


def run(tool, **arguments):
    return support.Bench().run(tool, **arguments)


# ------------------------------------------------------------------------------------------------------------- one task

def ended(**facts):
    bench = support.Bench()
    return bench.run("proxmox_get_task", **past(bench, **facts))


def test_a_task_that_ended():
    answer = ended()
    assert answer.text.startswith("\u2705 Task vzdump of 101 on pve2 ended OK\nstarted: 2026-01-01 00:15:00 UTC")
    assert answer.text.endswith("by: root@pam\nLog:\n| line 1\n| line 2\n| TASK OK")
    assert answer.data["task"]["ok"] is True and answer.data["log"][-1] == "TASK OK" and answer.data["log_lines"] == 3


@pytest.mark.parametrize("status, ok, words", [
    ("job errors", False, "\u26a0 Task vzdump of 101 on pve2 FAILED: job errors\n"),
    ("unexpected status", False, "FAILED: unexpected status\n"),
    ("WARNINGS: 2", True, "\u26a0 Task vzdump of 101 on pve2 ended with WARNINGS: 2\n")])
def test_a_task_that_did_not_end_well(status, ok, words):
    answer = ended(status=status)
    assert not answer.failed and words in answer.text and answer.data["task"]["ok"] is ok


def test_only_the_end_of_a_long_log():
    bench = support.Bench()
    answer = bench.run("proxmox_get_task", lines=2, **past(bench, 100))
    assert answer.data["log"] == ["line 99", "TASK OK"] and "Log, the last 2 of 100 lines:\n| line 99\n" in answer.text


def test_a_running_task_and_waiting_for_it():
    bench = support.Bench()
    upid = working(20, bench)["upid"]
    answer = bench.run("proxmox_get_task", upid=upid)
    assert answer.text.startswith("\u23f3 Task imgcopy of 101 on pve2 is still running\n") and "ok" not in answer.data
    answer = bench.run("proxmox_get_task", upid=upid, wait=5)
    assert "still running after 5 s of waiting" in answer.text
    heard = []
    request = Nobody()
    request.wants_progress, request.progress = True, lambda percent, message: heard.append(message)
    answer = bench.run("proxmox_get_task", request, upid=upid, wait=60)
    assert answer.text.startswith("\u2705 ") and answer.data["log"][-2:] == ["done", "TASK OK"] and heard


def test_a_dry_run_waits_for_what_others_have_begun():
    bench = support.Bench(dry_run=True)
    upid, before = working(20, bench)["upid"], bench.clock()
    assert "still running after 5 s of waiting" in bench.run("proxmox_get_task", upid=upid, wait=5).text
    assert bench.clock() - before >= 5
    assert bench.run("proxmox_get_task", upid=upid, wait=60).text.startswith("\u2705 ")


def test_a_task_of_a_token_and_an_empty_log():
    bench = canned(support.Bench(), log=[{"n": 1, "t": "no content"}], status={
        "status": "stopped", "type": "imgdel", "node": "pve1", "user": "root@pam", "tokenid": "mcp",
        "starttime": "1767225600"})
    answer = bench.run("proxmox_get_task", upid="UPID:pve1:00001234:0000ABCD:65000000:imgdel::root@pam!mcp:")
    assert answer.data["task"]["user"] == "root@pam!mcp" and "log" not in answer.data and "Log" not in answer.text
    assert "FAILED: unknown" in answer.text and answer.data["task"]["starttime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("upid, words", [
    ("UPID:pve1:00001234:0000ABCD:65000000:qmstart:100:root@pam:", "no such task"), ("100", "is not a task id"),
    ("UPID:../x:00001234:0000ABCD:65000000:qmstart:100:root@pam:", "is not a task id")])
def test_a_task_that_is_not_there(upid, words):
    answer = run("proxmox_get_task", upid=upid)
    assert answer.failed and words in answer.text


# ---------------------------------------------------------------------------------------------------------------- lists

def test_tasks_of_all_nodes():
    bench = support.Bench(offline=["pve3"])
    working(20, bench)
    answer = bench.run("proxmox_list_tasks")
    assert not answer.failed and " of all nodes: 1 running, " in answer.text.split("\n")[0]
    first, second = answer.data["items"][:2]
    assert first["status"] == "running" and first["type"] == "imgcopy" and "duration" not in first and "ok" not in first
    assert second["status"] == "stopped" and first["upid"] in answer.text
    started = [row["starttime"] for row in answer.data["items"][1:]]
    assert started == sorted(started, reverse=True)


@pytest.mark.parametrize("filters, check", [
    ({"type": "vzdump"}, lambda row: row["type"] == "vzdump"),
    ({"errors": True}, lambda row: row["exitstatus"] != "OK"),
    ({"since": "2025-12-30"}, lambda row: row["starttime"] >= "2025-12-30"),
    ({"node": "pve2", "errors": True}, lambda row: row["node"] == "pve2" and row["exitstatus"] != "OK"),
    ({"vmid": 104}, lambda row: row["id"] == "104" and row["node"] == "pve1")])
def test_filters(filters, check):
    answer = run("proxmox_list_tasks", **filters)
    assert answer.data["items"] and all(map(check, answer.data["items"]))


def test_pages_of_a_node():
    bench = support.Bench()
    whole = bench.run("proxmox_list_tasks", node="pve1").data
    page = bench.run("proxmox_list_tasks", node="pve1", limit=2, offset=2)
    assert page.data["items"] == whole["items"][2:4] and page.data["total"] == whole["total"] > 4
    assert "Showing 3 to 4 of %d tasks. Next page: offset=4." % whole["total"] in page.text


def test_pages_of_a_node_with_tasks_that_are_out_of_bounds():
    bench = support.Bench(allowed_guests=("100",))
    answer = bench.run("proxmox_list_tasks", node="pve1", limit=2)
    assert [row["type"] for row in answer.data["items"]] == ["imgdel"] and answer.data["total"] == 1
    assert "There may be more from offset=2 on." in answer.text


def test_nothing_listed_may_be_a_missing_right():
    assert "Sys.Audit" in support.Bench(tokens=AUDITOR).run("proxmox_list_tasks", type="qmstart").text
    assert "Sys.Audit" in support.Bench(tokens=AUDITOR).run("proxmox_list_tasks", node="pve2").text


def test_rows_as_proxmox_sends_them():
    bench = canned(support.Bench(), tasks=[
        {"upid": "U", "node": "a", "type": "x", "id": "", "user": "root@pam", "tokenid": "t", "starttime": "10",
         "endtime": "15", "status": "boom"},
        {"upid": "V", "node": "a", "type": "y", "user": "root@pam!t", "tokenid": "t", "starttime": 20,
         "status": "RUNNING"}])
    assert bench.run("proxmox_list_tasks").data["items"] == [
        {"starttime": "1970-01-01T00:00:20Z", "node": "a", "type": "y", "user": "root@pam!t", "upid": "V",
         "status": "running"},
        {"starttime": "1970-01-01T00:00:10Z", "duration": 5, "node": "a", "type": "x", "id": "", "exitstatus": "boom",
         "user": "root@pam!t", "upid": "U", "status": "stopped", "ok": False}]


@pytest.mark.parametrize("words, expected", [
    ("1767225600", 1767225600), ("2026-01-01", 1767225600), ("2026-01-01 01:00", 1767229200),
    ("2026-01-01T00:00:01Z", 1767225601), ("2026-01-01 02:00+01:00", 1767229200), ("2h", 1767225600 - 7200),
    ("30min", 1767225600 - 1800),
    ("7d ago", 1767225600 - 604800), ("1w", 1767225600 - 604800)])
def test_since(monkeypatch, words, expected):
    monkeypatch.setattr(tasks.time, "time", lambda: 1767225600.5)
    assert tasks.epoch(words) == expected


def test_since_nothing_is_since_ever():
    assert run("proxmox_list_tasks", since="").data == run("proxmox_list_tasks").data


@pytest.mark.parametrize("words", ["yesterday", "2026-13-01", "5", "2h30", "1767225600.5"])
def test_since_that_is_no_time(words):
    with pytest.raises(Failure):
        tasks.epoch(words)
    bench = support.Bench()
    answer = bench.run("proxmox_list_tasks", since=words)
    assert answer.failed and "The time since=%r is none of 2h" % words in answer.text and bench.sent() == []
