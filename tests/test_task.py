"""Following a task: when it is looked at, what is reported, and what an outcome says."""
import pytest

from tools.pve.client import Cancelled, PveError, Reply
from tools.pve.formats import parse_upid
from tools.pve.task import Outcome, follow, percent_of

UPID = "UPID:pve2:0000ABCD:00112233:66AABBCC:vzdump:100:root@pam!mcp:"


class Cluster:
    """A task by a clock. states: one per look, a dict, or an exception to raise; the last one stays. log: [str]."""

    def __init__(self, states, log=(), grows=None):
        self.states, self.log, self.grows = list(states), list(log), grows
        self.now, self.looks, self.calls = 100.0, [], []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def request(self, verb, path, params):
        self.calls.append((verb, path, params))
        if path.endswith("/status"):
            self.looks.append(round(self.now - 100.0, 3))
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if isinstance(state, Exception):
                raise state
            return Reply(state)
        assert path.endswith("/log")
        if self.grows:
            self.log.extend(self.grows.pop(0) if self.grows else [])
        lines = self.log or ["no content"]
        shown = lines[params["start"]:params["start"] + params["limit"]]
        rows = [{"n": params["start"] + at + 1, "t": line} for at, line in enumerate(shown)]
        return Reply(rows, {"total": len(lines)})

    def follow(self, limit=30, report=None):
        return follow(self.request, parse_upid(UPID), limit, self.sleep, self.clock, report)


RUNNING = {"status": "running"}


def ended(exitstatus="OK"):
    return {"status": "stopped", "exitstatus": exitstatus}


def broken(status=None):
    return PveError("no answer", status=status, outcome="unsent")


def test_a_task_that_ends_well():
    cluster = Cluster([RUNNING, RUNNING, ended()])
    outcome = cluster.follow()
    assert outcome.ok and not outcome.failed
    assert (outcome.status, outcome.exitstatus, outcome.node, outcome.type, outcome.id) == (
        "stopped", "OK", "pve2", "vzdump", "100")
    assert outcome.upid == UPID and outcome.duration == pytest.approx(2.375)
    assert outcome.warnings == [] and outcome.log == []
    assert cluster.calls == [("GET", "/nodes/pve2/tasks/%s/status" % UPID, None)] * 3


def test_when_it_is_looked_at():
    cluster = Cluster([RUNNING])
    outcome = cluster.follow(limit=150)
    assert outcome.status == "running" and not outcome.ok and not outcome.failed and outcome.exitstatus is None
    assert cluster.looks[:6] == [0.5, 1.25, 2.375, 4.062, 6.594, 9.594]
    steps = [round(b - a, 3) for a, b in zip(cluster.looks[5:], cluster.looks[6:])]
    assert set(steps[:-1]) == {3.0}
    assert cluster.looks[-1] == 150.0       # a last look at the limit


@pytest.mark.parametrize("limit, looks", [(0, [0.0]), (-1, [0.0]), (0.2, [0.2]), (0.5, [0.5]), (1, [0.5, 1.0])])
def test_short_limits(limit, looks):
    cluster = Cluster([RUNNING])
    assert cluster.follow(limit=limit).status == "running"
    assert cluster.looks == looks


def test_one_look_at_one_that_has_ended():
    outcome = Cluster([ended()]).follow(limit=0)
    assert outcome.ok and outcome.duration is None


def test_failure_tells_the_lines_that_matter():
    outcome = Cluster([ended("job errors")], log=[
        "INFO: starting new backup job: vzdump 100 101", "INFO: Starting Backup of VM 100 (qemu)",
        "ERROR: Backup of VM 100 failed - no space left", "INFO: Failed at 2026-01-01 00:00:00",
        "INFO: Starting Backup of VM 101 (qemu)", "ERROR: Backup of VM 101 failed - VM is locked", "",
        "INFO: Backup job finished with errors", "TASK ERROR: job errors"]).follow()
    assert outcome.failed and not outcome.ok and outcome.exitstatus == "job errors"
    assert outcome.log == ["ERROR: Backup of VM 100 failed - no space left",
                           "ERROR: Backup of VM 101 failed - VM is locked"]


def test_failure_without_error_lines_shows_the_end_of_the_log():
    lines = ["line %d" % number for number in range(100)]
    outcome = Cluster([ended("start failed")], log=lines + ["TASK ERROR: start failed"]).follow()
    assert outcome.log == lines[-8:]


def test_failure_with_an_empty_log():
    assert Cluster([ended("unexpected status")]).follow().log == []


def test_failure_of_a_task_with_a_long_log():
    lines = ["INFO: line %d" % number for number in range(12000)]
    lines[7000] = "ERROR: here"
    cluster = Cluster([ended("job errors")], log=lines)
    assert cluster.follow().log == ["ERROR: here"]
    assert len(cluster.calls) == 4


def test_log_that_cannot_be_read_changes_nothing():
    cluster = Cluster([ended("start failed")])
    real = cluster.request

    def request(verb, path, params):
        if path.endswith("/log"):
            raise broken(596)
        return real(verb, path, params)
    outcome = follow(request, parse_upid(UPID), 5, cluster.sleep, cluster.clock)
    assert outcome.failed and outcome.exitstatus == "start failed" and outcome.log == []


def test_warnings_are_shown():
    outcome = Cluster([ended("WARNINGS: 2")], log=[
        "INFO: x", "WARN: one thing", "warning: another", "no warning", "TASK WARNINGS: 2"]).follow()
    assert outcome.ok and outcome.exitstatus == "WARNINGS: 2"
    assert outcome.warnings == ["WARN: one thing", "warning: another"] and outcome.log == []


def test_long_lines_are_cut():
    outcome = Cluster([ended("x")], log=["ERROR: " + "x" * 5000]).follow()
    assert len(outcome.log[0]) == 500


@pytest.mark.parametrize("status", [None, 502, 503, 504, 595, 596, 597, 599, 200])
def test_not_being_able_to_ask_is_no_failure(status):
    cluster = Cluster([RUNNING, broken(status), broken(status), ended()])
    assert cluster.follow().ok
    assert len(cluster.looks) == 4
    cluster = Cluster([RUNNING, broken(status)])
    outcome = cluster.follow(limit=10)
    assert outcome.status == "unknown" and not outcome.ok and not outcome.failed
    assert len(cluster.looks) > 4
    outcome = Cluster([broken(status)]).follow(limit=0)
    assert outcome.status == "unknown"


@pytest.mark.parametrize("status", [400, 401, 403, 500, 501])
def test_a_refusal_while_it_runs_is_unknown_and_ends_the_waiting(status):
    cluster = Cluster([RUNNING, PveError("Proxmox refused it", status=status)])
    outcome = cluster.follow()
    assert outcome.status == "unknown" and outcome.log == ["Proxmox refused it"] and len(cluster.looks) == 2


def test_a_refusal_of_a_single_look_is_unknown_too():
    outcome = Cluster([PveError("no such task", status=400)]).follow(limit=0)
    assert (outcome.status, outcome.log) == ("unknown", ["no such task"])


def test_cancelling_ends_it():
    cluster = Cluster([RUNNING])

    def sleep(seconds):
        cluster.now += seconds
        if cluster.now > 103:
            raise Cancelled("cancelled")
    with pytest.raises(Cancelled):
        follow(cluster.request, parse_upid(UPID), 30, sleep, cluster.clock)
    assert cluster.looks == [0.5, 1.25, 2.375]


@pytest.mark.parametrize("upid", ["", "UPID:", "UPID:../x:0000ABCD:00112233:66AABBCC:a:b:c:", UPID + "x", None, 5])
def test_what_is_not_a_upid(upid):
    assert parse_upid(upid) is None


def test_progress_comes_from_the_log():
    told = []
    cluster = Cluster([RUNNING, RUNNING, RUNNING, RUNNING, RUNNING, ended()], grows=[
        ["INFO: starting new backup job: vzdump 100"],
        ["INFO:  12% (3.9 GiB of 32.0 GiB) in 3s, read: 1.3 GiB/s, write: 0 B/s", "INFO: something else"],
        [],
        ["INFO:  40% (12.9 GiB of 32.0 GiB) in 9s"]])
    cluster.follow(report=lambda percent, message: told.append((percent, message)))
    assert told == [
        (None, "starting new backup job: vzdump 100"),
        (12.0, "12% (3.9 GiB of 32.0 GiB) in 3s, read: 1.3 GiB/s, write: 0 B/s"),
        (12.0, "12% (3.9 GiB of 32.0 GiB) in 3s, read: 1.3 GiB/s, write: 0 B/s"),
        (40.0, "40% (12.9 GiB of 32.0 GiB) in 9s")]
    starts = [params["start"] for _, path, params in cluster.calls if path.endswith("/log")]
    assert starts == [0, 1, 3, 3]


def test_progress_of_a_task_that_says_nothing():
    told = []
    cluster = Cluster([RUNNING, RUNNING, RUNNING, ended()])
    cluster.follow(report=lambda *one: told.append(one))
    assert told == [(None, "vzdump of 100 is running")] * 2


def test_progress_far_behind_goes_on_with_the_end():
    told = []
    lines = ["drive-scsi0: transferred %d.0 MiB of 1000.0 MiB (%d.5%%) in 1s" % (at, at // 100) for at in range(5000)]
    cluster = Cluster([RUNNING, RUNNING, RUNNING, ended()], log=lines)
    cluster.follow(report=lambda *one: told.append(one))
    assert [percent for percent, _ in told] == [49.5, 49.5]
    assert [params for _, path, params in cluster.calls if path.endswith("/log")] == [
        {"start": 0, "limit": 500}, {"start": 4900, "limit": 100}, {"start": 5000, "limit": 500}]


def test_progress_while_the_node_is_silent():
    told = []
    Cluster([RUNNING, broken(595), ended()]).follow(report=lambda *one: told.append(one))
    assert told == [(None, "node pve2 does not answer; asking again")]


@pytest.mark.parametrize("line, percent", [
    ("INFO:  12% (3.9 GiB of 32.0 GiB) in 3s, read: 1.3 GiB/s", 12),
    ("INFO: 100% (32.0 GiB of 32.0 GiB) in 1m", 100),
    ("INFO: status: 3% (1073741824/34359738368), sparse 0% (94208), duration 3", 3),
    ("transferred 7.5 GiB of 32.0 GiB (23.45%) in 12s", 23.45),
    ("transferred 7.5 GiB of 32.0 GiB (23.45%)", 23.45),
    ("drive-scsi0: transferred 1.0 GiB of 32.0 GiB (3.12%) in 10s", 3.12),
    ("drive-virtio0: transferred: 12 bytes remaining: 12 bytes total: 24 bytes progression: 50.00 % busy: 1", 50),
    ("progress 45% (read 483196928 bytes, duration 3 sec)", 45),
    ("    (12.34/100%)", 12.34),
    ("  6144K ........ ........ ........ ........ 42% 11.5M 3s", 42),
    ("INFO: backup is sparse: 12.25 GiB (38%) total zero data", None),
    ("INFO: backup was done incrementally, reused 30.00 GiB (93%)", None),
    ("INFO: transferred 32.00 GiB in 53 seconds (618.3 MiB/s)", None),
    ("cpu at 95%", None), ("", None), ("INFO: 999% (x", None),
])
def test_percent_of_a_line(line, percent):
    assert percent_of(line) == percent


def test_outcome_without_a_task():
    outcome = Outcome(None, status="stopped", exitstatus="OK")
    assert outcome.ok and outcome.duration is None and outcome.warnings == ()
