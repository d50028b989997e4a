"""The audit log: what is noted of every attempt to change something, that an edit shows, and that nothing is done
without it."""
import hashlib
import json
import multiprocessing
import os
import stat
import sys
import threading

import pytest

from support import Asked, Bench
from tools.policy.audit import LONGEST_LINE, NOTHING, Audit, Report, Unwritable

unix = pytest.mark.skipif(sys.platform == "win32", reason="Unix files")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "audit.log")


def lines(path):
    """The lines of an audit log as dicts."""
    with open(path, "rb") as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


def write(path, count=3, **options):
    """`count` lines into a log."""
    audit = Audit(path, now=lambda: 1767225600.25, sleep=lambda seconds: None, **options)
    for number in range(count):
        audit._append({"event": "intent" if number % 2 == 0 else "outcome", "tool": "t%d" % number,
                       "intent": number or None})
    return audit


# -------------------------------------------------------------------------------------------------------- what is noted

def test_a_change_is_noted_before_and_after_and_when_its_task_has_ended(path):
    bench = Bench(audit_log=path)
    answer = bench.run("proxmox_start_vm", vmid=107)
    upid, (intent, outcome, task) = answer.data["task"]["upid"], lines(path)
    assert [line["seq"] for line in (intent, outcome, task)] == [1, 2, 3]
    assert {key: intent[key] for key in ("event", "tool", "node", "vmid", "method", "path", "arguments", "parameters",
                                         "token")} == {
        "event": "intent", "tool": "proxmox_start_vm", "node": "pve3", "vmid": 107, "method": "POST", "parameters": {},
        "path": "/api2/json/nodes/pve3/qemu/107/status/start", "arguments": {"vmid": 107}, "token": "root@pam!demo"}
    assert intent["pid"] == os.getpid() and intent["time"].endswith("Z") and "T" in intent["time"]
    assert (outcome["event"], outcome["outcome"]) == ("outcome", "accepted")
    assert (outcome["upid"], outcome["intent"]) == (upid, 1)
    assert (task["event"], task["outcome"], task["upid"], task["intent"]) == ("task", "OK", upid, 1)
    assert Report(path).ok


def test_the_intent_is_on_disk_before_the_request_leaves(path, monkeypatch):
    bench = Bench(audit_log=path)
    seen, handle, fsync = [], bench.cluster.handle, os.fsync

    def watch(verb, target, headers, body=b""):
        if verb == "POST":
            seen.append([line["event"] for line in lines(path)])
        return handle(verb, target, headers, body)
    bench.cluster.handle = watch
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append("synced") or fsync(handle))
    bench.run("proxmox_start_vm", vmid=107)
    assert seen[:2] == ["synced", ["intent"]]


def test_a_refusal_of_proxmox_is_an_outcome(path):
    bench = Bench(audit_log=path, tokens={"root@pam!demo": {"value": None, "acl": {"/": ["VM.Audit"]}}})
    assert "Proxmox refused POST" in bench.run("proxmox_start_vm", vmid=107).text
    outcome = lines(path)[-1]
    assert outcome["outcome"] == "refused" and "VM.PowerMgmt" in outcome["error"]


@pytest.mark.parametrize("error, outcome", [(KeyboardInterrupt, "unknown"), (ValueError("x"), "unknown"),
                                            (None, "unsent")])
def test_what_breaks_off_is_noted_as_what_it_is(path, error, outcome):
    bench = Bench(audit_log=path)
    request = bench.host.client.request

    def broken(verb, target, params=None, cancelled=None, **more):
        if verb == "POST" and error is not None:
            raise error
        if verb == "POST":
            cancelled.set()
        return request(verb, target, params, cancelled, **more)
    bench.host.client.request = broken
    try:
        bench.run("proxmox_start_vm", vmid=107)
    except BaseException:
        pass
    assert [(line["event"], line.get("outcome")) for line in lines(path)] == [("intent", None), ("outcome", outcome)]


@pytest.mark.parametrize("chosen, tool, arguments", [
    ({"allow_elevated": False}, "proxmox_start_vm", {"vmid": 107}),
    ({"read_only": True}, "proxmox_start_vm", {"vmid": 107}),
    ({"tools": ("-start_*",)}, "proxmox_start_vm", {"vmid": 107}),
    ({"protected_guests": ("107",)}, "proxmox_start_vm", {"vmid": 107}),
    ({"allowed_nodes": ("pve1",)}, "proxmox_start_vm",
                                                                          {"vmid": 107, "node": "pve3"})])
def test_a_refused_attempt_is_noted(path, chosen, tool, arguments):
    bench = Bench(audit_log=path, **chosen)
    bench.run(tool, **arguments)
    [line] = lines(path)
    assert (line["event"], line["outcome"], line["tool"], line["vmid"]) == ("refused", "refused", tool, 107)
    assert line["arguments"] == arguments and line["error"]


def test_what_the_user_did_not_confirm_is_noted_as_that(path):
    Bench(consent=Asked(False), audit_log=path).run("proxmox_delete_vm", vmid=107)
    [line] = lines(path)
    assert (line["event"], line["error"]) == ("refused", "Delete VM was not confirmed")


def test_reading_and_dry_runs_are_no_attempts(path):
    bench = Bench(audit_log=path, dry_run=True)
    bench.run("proxmox_start_vm", vmid=107)
    bench.run("proxmox_get_vms")
    Bench(audit_log=path, allow_elevated=False).run("proxmox_get_node_status", node="pve1")
    assert not os.path.exists(path)


def test_the_client_is_named_where_it_is_known(path):
    from tools.mcp.run import Nobody
    bench, request = Bench(audit_log=path), Nobody()
    request.client = {"name": "claude", "version": "2\n1"}
    bench.run("proxmox_start_vm", request, vmid=107)
    assert lines(path)[0]["client"] == "claude 2\n1"


# ---------------------------------------------------------------------------------------------------------------
# secrets

def test_secrets_are_stars_in_every_line(path):
    bench, canary = Bench(audit_log=path), "CANARY-pa55word"
    bench.run("proxmox_create_lxc", vmid=150, node="pve1", ostemplate="local:vztmpl/x.tar.zst", password=canary)
    Bench(audit_log=path, allow_elevated=False).run("proxmox_create_lxc", vmid=150, password=canary, passwort=canary,
                                                    node="pve1")
    with open(path, encoding="ascii") as stream:
        content = stream.read()
    assert canary not in content and '"password":"***"' in content and '"passwort":"***"' in content


@pytest.mark.parametrize("name", ["password", "cipassword", "new-password", "confirm_token", "token", "otp",
                                  "encryption-key", "secret",
                                  "sshkeys", "ssh-public-keys", "ssh_public_keys", "input-data", "certificates",
                                  "header"])
def test_well_known_parameters_are_hidden_whoever_sends_them(path, name):
    shown = Audit.masked({name: "CANARY-value", "memory": 512, "x": None})
    assert "CANARY" not in json.dumps(shown) and shown["memory"] == 512 and "x" not in shown


def test_secrets_are_hidden_by_name_and_never_blank_what_stands_elsewhere():
    assert Audit.masked({"cipassword": "scsi0", "delete": "scsi0", "mine": "x"}, ["mine"]) == {
        "cipassword": "***", "delete": "scsi0", "mine": "***"}


def test_long_values_are_cut_and_a_line_has_its_limit(path):
    audit = Audit(path)
    audit._append({"event": "intent", "arguments": {"%d" % n: "x" * 300 for n in range(1000)}, "tool": "t"})
    shown = Audit.masked({"description": "y" * 5000})
    mark = "(4700 more, SHA-256 of all %s)" % hashlib.sha256(b"y" * 5000).hexdigest()
    assert len(shown["description"]) < 400 and shown["description"].endswith(mark)
    for many in ({"k%d" % number: number for number in range(150)}, list(range(150))):
        shown = Audit.masked({"options": many})["options"]
        assert len(shown) == 101 and "(50 more, SHA-256 of all %s)" % hashlib.sha256(
            json.dumps(many, sort_keys=True).encode()).hexdigest() in (shown if isinstance(many, list) else
                                                                       shown.values())
    assert os.path.getsize(path) < LONGEST_LINE and lines(path)[0]["arguments"] == "(too long)" and Report(path).ok


def test_nothing_an_argument_holds_makes_another_line(path):
    bench = Bench(audit_log=path)
    bench.run("proxmox_create_snapshot_vm", vmid=107, snapname="a1", description='x\n{"seq":9}\r\u2028\x1b[2J"')
    bench.run("proxmox_start_vm", vmid=107, node="pve3\n{}")
    assert len(lines(path)) == 3 and Report(path).ok and lines(path)[0]["parameters"]["description"].startswith("x\n")
    with open(path, "rb") as stream:
        content = stream.read()
    assert content.isascii() and b"\r" not in content and b"\x1b" not in content


# ------------------------------------------------------------------------------------------------ without it, no change

@pytest.fixture(params=["directory", "missing", "link", "fifo", "others", "group", "foreign", "readonly"])
def unwritable(request, tmp_path):
    """A path that cannot be the log, and a word of the reason."""
    path = tmp_path / "audit.log"
    if request.param == "directory":
        path.mkdir()
        return str(path), "directory"
    if request.param == "missing":
        return str(tmp_path / "no" / "audit.log"), "No such file"
    if sys.platform == "win32":
        pytest.skip("Unix files")
    if request.param == "link":
        (tmp_path / "real").write_bytes(b"")
        path.symlink_to(tmp_path / "real")
        return str(path), "symbolic link"
    if request.param == "fifo":
        os.mkfifo(str(path))
        return str(path), "regular file"
    if request.param in ("others", "group"):
        path.write_bytes(b"")
        path.chmod(0o602 if request.param == "others" else 0o620)
        return str(path), "chmod 600"
    if request.param == "foreign":
        path.write_bytes(b"root:x:0:0\n")
        path.chmod(0o600)
        return str(path), "move the file away"
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    path.write_bytes(b"")
    path.chmod(0o400)
    return str(path), "denied"


def test_what_cannot_be_noted_is_not_done(unwritable):
    path, reason = unwritable
    bench = Bench(audit_log=path)
    answer = bench.run("proxmox_start_vm", vmid=107)
    assert answer.failed and reason in answer.text and "Nothing was sent." in answer.text and path in answer.text
    assert bench.sent(reads=False) == []
    assert not bench.run("proxmox_get_vm_config", vmid=107).failed          # reading goes on
    assert reason in Audit(path).problem()


def test_a_full_disk_refuses_the_next_change_and_leaves_no_half_line(path, monkeypatch):
    write(path, 1)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:20]))
    with pytest.raises(Unwritable, match="no space"):
        write(path, 1)
    monkeypatch.undo()
    write(path, 1)
    assert [line["seq"] for line in lines(path)] == [1, 2] and Report(path).ok


def test_an_outcome_that_cannot_be_noted_is_logged_and_the_answer_stands(path):
    logged = []
    bench = Bench(audit_log=path, log=lambda level, event, **fields: logged.append((level, event, fields)))
    append, count = bench.host.audit._append, []

    def failing(line):
        count.append(1)
        if len(count) > 1:
            raise Unwritable("The audit log cannot be written (gone)")
        return append(line)
    bench.host.audit._append = failing
    assert not bench.run("proxmox_start_vm", vmid=107).failed
    assert [entry[:2] for entry in logged if entry[0] == "error"] == [("error", "audit")] * 2
    assert '"outcome": "accepted"' in next(entry for entry in logged if entry[0] == "error")[2]["message"]


def test_no_log_costs_nothing_and_has_no_problem():
    assert Audit(None).problem() is None and Audit(None).begin(None, "POST", "/x", {}) is None


# ------------------------------------------------------------------------------------------------------ file and chain

@unix
def test_the_file_is_for_its_owner_alone(path):
    write(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_each_line_carries_the_hash_of_the_one_before(path):
    write(path, 3)
    with open(path, "rb") as stream:
        raw = stream.read().splitlines()
    assert [json.loads(line)["prev"] for line in raw] == [NOTHING] + [hashlib.sha256(line).hexdigest()
                                                                      for line in raw[:2]]


def test_a_restart_goes_on_with_the_chain_and_rotation_begins_a_new_one(path):
    write(path, 2)
    write(path, 2)
    assert [line["seq"] for line in lines(path)] == [1, 2, 3, 4] and Report(path).ok
    audit = write(path, 1)
    os.rename(path, path + ".1")
    audit._append({"event": "intent"})
    assert [line["seq"] for line in lines(path)] == [1] and Report(path).ok and Report(path + ".1").ok


def test_threads_write_whole_lines_in_one_chain(path):
    audit = Audit(path)
    threads = [threading.Thread(target=lambda: [audit._append({"event": "task", "n": n}) for n in range(15)])
               for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Report(path).ok and Report(path).lines == 90


def _many(path):
    audit = Audit(path)
    for number in range(15):
        audit._append({"event": "task", "n": number})


def test_a_gap_shows_though_each_line_carries_the_hash_of_the_one_before(path):
    first, second = Audit(path), Audit(path)
    first._append({"event": "task"})
    encode = second._encode
    second._encode = lambda line, seq, prev: encode(line, seq + 1, prev)
    second._append({"event": "task"})
    report = Report(path)
    assert [line["seq"] for line in lines(path)] == [1, 3] and report.problems[0][0] == 2
    assert "has seq 3 after seq 1" in report.problems[0][1]


def test_an_answer_that_is_no_task_is_not_noted(path):
    """It may be anything, a secret too."""
    bench = Bench(audit_log=path)
    bench.run("proxmox_execute_vm_command", vmid=100, command="id")
    intent, outcome = lines(path)
    assert outcome["outcome"] == "accepted" and "upid" not in outcome


@unix
def test_processes_share_one_file(path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_many, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    report = Report(path)
    assert report.ok and report.lines == 45 and report.last_seq == 45


@unix
def test_a_file_that_somebody_holds_is_not_waited_for_for_ever(path):
    import fcntl
    write(path, 1)
    slept = []
    audit = Audit(path, sleep=slept.append)
    with open(path) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Unwritable, match="another process has it locked"):
            audit._append({"event": "intent"})
    assert 1 < sum(slept) < 10
    audit._append({"event": "intent"})


def damaged(path, change, count=8):
    """The Report on a log whose raw lines (list of bytes) `change` has changed."""
    write(path, count)
    with open(path, "rb") as stream:
        raw = stream.read().splitlines(True)
    change(raw)
    with open(path, "wb") as stream:
        stream.write(b"".join(raw))
    return Report(path)


def edit(raw):
    raw[3] = raw[3].replace(b"t3", b"t9")


@pytest.mark.parametrize("change, line, says", [
    (edit, 5, "was changed"), (lambda raw: raw.pop(3), 4, "lines were removed"),
    (lambda raw: raw.pop(0), 1, "are missing"),
    (lambda raw: raw.insert(3, raw[1]), 4, "inserted"), (lambda raw: raw.insert(2, b"\n"), 3, "not a line of this log"),
    (lambda raw: raw.__setitem__(2, raw[2][:40] + b"\n"), 3, "cut short"),
    (lambda raw: raw.__setitem__(7, raw[7][:30]), 8, "cut short"),
    (lambda raw: raw.__setitem__(7, raw[7].rstrip(b"\n")), 8, "cut short"),
    (lambda raw: raw.reverse(), 1, "are missing"),
    (lambda raw: raw.__setitem__(slice(2, 4), [raw[3], raw[2]]), 3, "inserted")])
def test_what_was_done_to_a_log_shows(path, change, line, says):
    report = damaged(path, change)
    assert not report.ok and report.problems[0][0] == line and says in " ".join(
        text for number, text in report.problems if number == line)
    text = "\n".join(report.text(path))
    assert "NOT ok" in text and "first bad line: %d" % line in text and not report.ok


def test_a_gap_says_how_many(path):
    report = damaged(path, lambda raw: raw.__delitem__(slice(2, 5)))
    assert (3, "has seq 6 after seq 2: 3 lines are missing") in report.problems


def test_a_removed_end_shows_by_what_it_leaves_open(path):
    report = damaged(path, lambda raw: raw.pop(), count=2)
    assert report.ok and [line["seq"] for line in report.open] == [1]
    text = "\n".join(report.text(path))
    assert "No outcome was recorded for seq 1" in text and report.last_hash in text


def test_after_a_torn_line_the_log_goes_on_and_the_tear_is_reported(path):
    write(path, 3)
    with open(path, "r+b") as stream:
        stream.truncate(os.path.getsize(path) - 25)
    write(path, 2)
    report = Report(path)
    assert [number for number, _ in report.problems] == [3] and report.lines == 5 and report.last_seq == 5


def test_a_log_torn_in_its_first_line_goes_on(path):
    write(path, 1)
    with open(path, "r+b") as stream:
        stream.truncate(30)
    write(path, 1)
    assert [number for number, _ in Report(path).problems] == [1] and Report(path).last_seq == 2


def test_an_empty_log_is_whole(path):
    open(path, "w").close()
    assert Report(path).ok and Report(path).lines == 0


def test_any_bytes_can_be_checked(path):
    for content in (b"\0" * 5000, b"\xff\n\n\n", b"[" * 100000, b'{"seq":1}\n',
                    b'{"seq":true,"prev":"x","event":"intent"}\n', b"{}"):
        with open(path, "wb") as stream:
            stream.write(content)
        report = Report(path)
        assert not report.ok and report.text(path)
