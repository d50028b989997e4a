"""PROXMOX_CONFIRM=terminal and `proxmox-mcp approve`, each with its own eyes on the other; freeze and thaw."""
import json
import os
import shutil
import sys
import threading
import time
from unicodedata import east_asian_width

import pytest
from terminal import Terminal
from test_cli import Stream, run
from test_confirm import COMMAND, DELETE, DONE, ELICITATION, Desk, said

from engine import PATIENCE
from support import Bench
from tools.mcp import approval
from tools.mcp.consent import LIFETIME, QUIET, Consent
from tools.mcp.message import LATEST_LEGACY
from tools.policy import freeze
from tools.policy.audit import Report
from tools.pve import state, text
from tools.pve.client import Cancelled


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROXMOX_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def home(tmp_path):
    return str(tmp_path / "state")


class Room(Desk):
    """A server that asks in the terminal; `during` is done after so many seconds of waiting for the answer."""

    def __init__(self, home, version=LATEST_LEGACY, capabilities=None, **more):
        super().__init__("terminal", version, capabilities or {}, state_dir=home, **more)
        self.home, self.during, self.waited = home, None, 0
        self.bench.host.sleep = self._sleep

    def _sleep(self, cancelled, seconds):
        self.bench.clock.sleep(cancelled, seconds)
        self.waited += seconds
        if self.during is not None and self.waited > 5:
            during, self.during = self.during, None
            during()

    def result(self, **params):
        """The result of a call."""
        return self.call(**params)["result"]

    def pending(self, **params):
        """Call, nobody answers."""
        result = self.result(**params)
        assert not result["isError"] and said(result).startswith("\u23f3 Not done yet"), result
        assert result.get("structuredContent", {"done": False})["done"] is False
        return result

    def question(self):
        """The one question that waits (Shown)."""
        [shown] = approval.waiting(self.home)
        return shown

    def files(self):
        return sorted(os.listdir(os.path.join(self.home, "approvals")))


@pytest.fixture(params=["legacy", "legacy that asks", "2024-11-05", "modern", "modern that asks"])
def room(request, home):
    version, _, asks = request.param.partition(" ")
    return Room(home, {"legacy": LATEST_LEGACY, "modern": None}.get(version, version), ELICITATION if asks else {})


# ------------------------------------------------------------------------------------------------------ the call's side

def test_yes_while_it_waits(room):
    room.during = lambda: room.question().answer(True)
    result = room.result()
    assert not result["isError"] and "deleted" in said(result) and room.changes() == [DONE] and 5 < room.waited < 10
    assert room.files() == []


def test_yes_for_the_call_that_comes_again(room):
    result = room.pending()
    assert room.waited == approval.PATIENCE and room.changes() == []
    assert "`proxmox-mcp approve`" in said(result) and "same arguments" in said(result) and room.home in said(result)
    room.pending()
    assert room.question().answer(True) == "Approved."              # the same question, not a second one
    room.waited = 0
    assert not room.result()["isError"] and room.changes() == [DONE] and room.waited < 4 and room.files() == []


def test_no(room):
    room.during = lambda: room.question().answer(False)
    result = room.result()
    assert result["isError"] and "The user declined." in said(result) and "Nothing was sent." in said(result)
    for _ in range(2):
        assert "less than 2 minutes ago" in said(room.result()) and room.files() == []
        room.clock.seconds += QUIET
        room.pending()                                              # asked anew
        room.question().answer(False)
        assert "The user declined." in said(room.result())
    assert room.changes() == []


def test_late(home):
    room = Room(home)
    room.pending()
    shown = room.question()
    room.bench.clock.sleep(threading.Event(), LIFETIME - 60)
    room.waited, room.during = 0, lambda: room.bench.clock.sleep(threading.Event(), 60)
    assert "Nobody answered within 5 minutes" in said(room.result()) and room.files() == []
    assert shown.answer(True).startswith("Too late")
    room.pending()
    shown = room.question()
    shown.answer(True)
    room.bench.clock.sleep(threading.Event(), LIFETIME)             # the yes is too old for the next call
    room.pending()
    assert room.question().asked["id"] != shown.asked["id"] and room.changes() == []


def test_what_waits_too_long_is_not_shown(home):
    room = Room(home)
    room.pending()
    shown = room.question()
    shown.since -= LIFETIME + 1
    assert shown.answer(True).startswith("Too late")
    path = shown.path + approval.QUESTION
    state.write(path, json.dumps(dict(shown.asked, asked=shown.since)))
    assert approval.waiting(home) == [] and not os.path.exists(path)


def test_a_yes_is_for_one_use(home):
    room = Room(home)
    room.pending()
    shown = room.question()
    shown.answer(True)
    answer = state.read(shown.path + approval.ANSWER)
    assert not room.result()["isError"]
    room.pending(name="proxmox_delete_lxc", arguments={"vmid": 203})
    state.write(shown.path + approval.ANSWER, answer.decode())      # put back
    state.write(shown.path + approval.QUESTION, shown.content.decode())
    room.bench.cluster.requests.clear()
    room.pending(name="proxmox_delete_lxc", arguments={"vmid": 203})
    assert room.changes() == []


def test_two_answers_to_one_question(home):
    room = Room(home)
    room.pending()
    shown, other = room.question(), room.question()
    assert shown.answer(False) == "Declined."
    assert other.answer(True) == "It was already answered; this answer does not count."
    assert "The user declined." in said(room.result()) and room.changes() == []
    assert other.answer(True).startswith("Too late")


def test_of_two_calls_that_wait_for_one_answer_one_goes_on(home, monkeypatch):
    gate, room = threading.Barrier(2), Room(home)

    def answer(question):
        gate.wait(PATIENCE)
        return approval.YES
    monkeypatch.setattr(approval._Question, "answer", answer)
    for _ in range(2):
        room.talk.request("tools/call", DELETE)
    answers = [room.talk.read()["result"] for _ in range(2)]
    assert sorted(one["isError"] for one in answers) == [False, True] and room.changes() == [DONE]
    assert any("another call used the answer" in said(one) for one in answers)


@pytest.mark.parametrize("params", [
    {"arguments": {"vmid": 106}}, {"arguments": {"vmid": 107, "purge": True}}, {"arguments": {"vmid": "107"}},
    {"name": "proxmox_delete_lxc", "arguments": {"vmid": 203}}])
def test_a_yes_for_another_call(home, params):
    room = Room(home)
    room.pending()
    room.question().answer(True)
    room.call(**params)
    assert room.changes() == [] and len(approval.waiting(home)) <= 1


def test_a_yes_for_another_process(home):
    one, other = Room(home), Room(home)
    one.pending()
    one.question().answer(True)
    other.pending()
    assert other.changes() == []
    [shown] = approval.waiting(home)
    theirs = next(name for name in one.files() if name.endswith(approval.ANSWER))
    state.write(shown.path + approval.ANSWER, state.read(os.path.join(home, "approvals", theirs)).decode())
    assert "question is void" in said(other.result()) and other.changes() == []
    assert not one.result()["isError"]


def test_a_target_that_changed(home):
    room = Room(home)
    room.pending()
    room.question().answer(True)
    room.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 2})
    before = room.changes()
    assert "changed since the user was asked" in said(room.result()) and room.changes() == before
    room.during = lambda: (room.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 3}),
                           room.question().answer(True))
    room.waited = 0
    assert "changed since the user was asked" in said(room.result()) and DONE not in room.changes()


def edited(path, **changes):
    content = json.loads(state.read(path))
    state.write(path, json.dumps(dict(content, **changes)))


TRICKS = {
    "the question says something else": lambda shown: (
        edited(shown.path + ".question", question="Look at VM 107?"), approval.Shown(shown.path).answer(True)),
    "the question is another's": lambda shown: (
        edited(shown.path + ".question", server="0" * 32), approval.Shown(shown.path).answer(True)),
    "the question is gone": lambda shown: os.unlink(shown.path + ".question"),
    "a no made a YES": lambda shown: (shown.answer(False), edited(shown.path + ".answer", answer="YES")),
    "another question's": lambda shown: (shown.answer(True), edited(shown.path + ".answer", id="0" * 16)),
    "of another text": lambda shown: (shown.answer(True), edited(shown.path + ".answer", question="0" * 64)),
    "with more in it": lambda shown: (shown.answer(True), edited(shown.path + ".answer", more=1)),
    "true": lambda shown: state.write(shown.path + ".answer", "true"),
    "yes": lambda shown: state.write(shown.path + ".answer", "yes"),
    "nothing": lambda shown: state.write(shown.path + ".answer", ""),
    "no text": lambda shown: state.write(shown.path + ".answer", "[" * 100000),
    "others may read it": lambda shown: (shown.answer(True), os.chmod(shown.path + ".answer", 0o644)),
    "others may write it": lambda shown: (shown.answer(True), os.chmod(shown.path + ".answer", 0o622)),
    "a link": lambda shown: (shown.answer(True), os.rename(shown.path + ".answer", shown.path + ".x"),
                             os.symlink(shown.path + ".x", shown.path + ".answer")),
    "a pipe": lambda shown: os.mkfifo(shown.path + ".answer", 0o600),
    "a directory": lambda shown: os.mkdir(shown.path + ".answer", 0o700),
}


@pytest.mark.parametrize("how", TRICKS)
def test_what_was_tampered_with_is_no_yes(home, how):
    room = Room(home)
    room.pending()
    TRICKS[how](room.question())
    result = room.result()
    assert result["isError"] and "question is void" in said(result) and room.changes() == []


def test_files_of_another_owner_do_not_count(home, monkeypatch):
    room = Room(home)
    room.pending()
    room.question().answer(True)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(state.NotOurs):
        approval.waiting(home)
    assert room.result()["isError"] and room.changes() == []


def test_modes_of_files_and_directories(home):
    room = Room(home)
    room.pending()
    shown = room.question()
    shown.answer(True)
    for path, mode in ((home, 0o700), (home + "/approvals", 0o700), (shown.path + ".question", 0o600),
                       (shown.path + ".answer", 0o600)):
        assert os.stat(path).st_mode & 0o777 == mode, path
    assert len(room.files()) == 2                       # nothing half written


@pytest.mark.parametrize("spoil", [
    lambda home: (os.makedirs(home), os.chmod(home, 0o777)),
    lambda home: (os.makedirs(home + "/approvals"), os.chmod(home + "/approvals", 0o755)),
    lambda home: (os.makedirs(home), os.symlink("/", home + "/approvals")),
    lambda home: open(home, "w").close()])
def test_where_the_question_cannot_wait_nothing_is_done(home, spoil):
    spoil(home)
    room = Room(home)
    result = room.result()
    assert result["isError"] and "cannot be asked" in said(result) and home in said(result) and room.changes() == []


def test_a_directory_that_is_not_there_is_made(home):
    home = os.path.join(home, "a", "b")
    Room(home).pending()
    assert len(approval.waiting(home)) == 1


def test_cancelling_while_it_waits(home):
    room = Room(home)
    there = threading.Event()

    def sleep(cancelled, seconds):
        there.set()
        assert cancelled.wait(PATIENCE)
        raise Cancelled("cancelled by the client")
    room.bench.host.sleep = sleep
    waiting = room.talk.request("tools/call", DELETE)
    assert there.wait(PATIENCE)
    shown = room.question()
    room.talk.cancel(waiting)
    assert room.talk.quiet() and room.changes() == [] and room.files() == []
    assert shown.answer(True).startswith("Too late")


def test_progress_while_it_waits(home):
    room = Room(home)
    room.talk.server.clock = room.bench.clock
    room.talk.request("tools/call", dict(DELETE, _meta={"progressToken": 1}))
    first = room.talk.read()
    assert first["method"] == "notifications/progress" and "proxmox-mcp approve" in first["params"]["message"]


def test_only_so_many_questions_wait(home, monkeypatch):
    monkeypatch.setattr(approval, "MOST", 2)
    room = Room(home)
    room.pending()
    room.pending(name="proxmox_delete_lxc", arguments={"vmid": 203})
    assert "2 questions are already waiting" in said(room.result(arguments={"vmid": 107, "purge": True}))
    room.bench.clock.sleep(threading.Event(), LIFETIME)             # what is too old makes room
    room.pending(arguments={"vmid": 107, "purge": True})
    assert len(approval.waiting(home)) == 1


def test_a_command_is_asked_for(home):
    room = Room(home)
    room.pending(**COMMAND)
    assert "this command of 8 characters: uname -a" in room.question().text()
    room.question().answer(True)
    assert not room.result(**COMMAND)["isError"] and room.changes() == ["POST /nodes/pve1/qemu/100/agent/exec"]


def lines(path):
    with open(path, encoding="ascii") as stream:
        return [json.loads(line) for line in stream]


def test_the_log_says_what_was_asked_who_answered_and_when(home, tmp_path, monkeypatch):
    log = str(tmp_path / "audit.log")
    room = Room(home, audit_log=log)
    monkeypatch.setattr(approval, "_who", lambda: "me on /dev/pts/3")
    room.pending()
    [asked] = lines(log)
    assert asked["event"] == "asked" and asked["tool"] == "proxmox_delete_vm" and asked["vmid"] == 107
    assert asked["question"].startswith("Delete VM 107 (lab)") and asked["arguments"]["vmid"] == 107
    room.pending()                                                  # the same question: no second line
    shown = room.question()
    assert shown.asked["id"] == asked["id"]
    shown.answer(True)
    assert not room.result()["isError"]
    answered = lines(log)[1]
    assert (answered["event"], answered["answer"], answered["intent"]) == ("answered", "yes", asked["seq"])
    assert answered["by"] == "me on /dev/pts/3" and answered["at"].startswith("20") and answered["vmid"] == 107
    assert [line["event"] for line in lines(log)[2:]] == ["intent", "outcome", "task"] and Report(log).ok


@pytest.mark.parametrize("what, answer, by", [
    (lambda room: room.question().answer(False), "no", True), (lambda room: None, "late", False),
    (lambda room: room.question().answer(True), "late", True),
    (lambda room: os.unlink(room.question().path + ".question"), "void", False),
    (lambda room: room.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 2}), "void", False)])
def test_the_log_says_what_became_of_each_question(home, tmp_path, what, answer, by):
    log = str(tmp_path / "audit.log")
    room = Room(home, audit_log=log)
    room.pending()
    what(room)
    if answer == "late":
        room.bench.clock.sleep(threading.Event(), LIFETIME + 1)
    room.result()
    [line] = [line for line in lines(log) if line["event"] == "answered"]
    assert line["answer"] == answer and ("by" in line) == by and Report(log).ok


def test_what_cannot_be_noted_is_not_asked(home, tmp_path):
    room = Room(home, audit_log=str(tmp_path))                      # a directory
    result = room.result()
    assert result["isError"] and "cannot be written" in said(result) and room.files() == [] and room.changes() == []


def test_questions_end_with_the_server(home, tmp_path):
    log = str(tmp_path / "audit.log")
    room = Room(home, audit_log=log)
    room.pending()
    shown = room.question()
    room.app.close()
    assert room.files() == [] and shown.answer(True).startswith("Too late")
    assert lines(log)[-1]["answer"] == "withdrawn"


def test_a_sleeping_machine_does_not_make_a_yes_last_longer(home, monkeypatch):
    room = Room(home)                                               # its monotonic clock stands still meanwhile
    room.pending()
    shown, now = room.question(), time.time()
    shown.answer(True)
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME + 1)
    room.pending()
    assert room.question().asked["id"] != shown.asked["id"] and room.changes() == []


# ------------------------------------------------------------------------------------------------------ the user's side

def test_what_is_shown(home):
    Room(home).pending()
    shown = approval.waiting(home)[0].text()
    for word in ("proxmox_delete_vm", "demo:8006", "107", "lab", "vm-107-disk-0", "8G", "asked 0 s ago",
                 "process %d (test 0)" % os.getpid()):
        assert word in shown


def test_what_is_shown_has_no_character_that_a_terminal_acts_upon(home):
    room = Room(home)
    room.pending()
    edited(room.question().path + ".question", question="a\x1b[2Jb\r\nc", tool="x\x07", pid=10 ** 30)
    shown = room.question().text()
    assert "a\\u001b[2Jb\\u000d \u23ce c" in shown and "no longer running" in shown
    assert not [character for character in shown if ord(character) < 32 and character != "\n"]


def test_files_that_are_no_questions_are_passed_over(home):
    room = Room(home)
    room.pending()
    folder = os.path.join(home, "approvals")
    for name, content in (("0" * 16, "{}"), ("1" * 16, "[]"), ("2" * 16, "x"), ("zz", "{}"),
                          ("3" * 16, room.question().content.decode())):
        state.write(os.path.join(folder, name + ".question"), content)
    os.mkfifo(os.path.join(folder, "4" * 16 + ".question"), 0o600)
    assert len(approval.waiting(home)) == 1


class Typing(Stream):
    """The standard output of this process, and its terminal: `keys` (texts, or what gives one) are typed, in turn, when
    a question is asked."""

    def __init__(self, monkeypatch, *keys):
        super().__init__("utf-8")
        self.keys, (self.fd, inside) = list(keys), os.openpty()
        monkeypatch.setattr(sys, "stdin", open(inside))
        monkeypatch.setattr(sys, "stdout", self)
        monkeypatch.setattr(sys, "stderr", self)

    def isatty(self):
        return True

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def write(self, words):
        super().write(words)
        if words.endswith("[y/N] "):
            keys = self.keys.pop(0)
            self.type(keys() if callable(keys) else keys)


def test_it_needs_a_terminal_and_a_directory(home, monkeypatch, capsys):
    room = Room(home)
    room.pending()
    assert run("approve") == 2 and "needs PROXMOX_STATE_DIR" in capsys.readouterr().err
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    monkeypatch.setattr(sys, "stdin", Stream("utf-8", b"y\ny\n"))
    assert run("approve") == 2
    said = capsys.readouterr()
    assert "needs a terminal" in said.err and said.out == "" and len(room.files()) == 1


@pytest.mark.parametrize("keys, says, counts", [
    ("y", "Approved.", True), ("YES", "Approved.", True), ("n", "Declined.", False), ("", "Declined.", False),
    ("yy", "Declined.", False), ("j", "Declined.", False)])
def test_in_a_terminal(home, keys, says, counts, monkeypatch):
    room = Room(home)
    room.pending()
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    terminal = Typing(monkeypatch, keys + "\n")
    assert run("approve") == 0
    before, _, after = terminal.said().partition("Approve? [y/N] ")
    assert "vm-107-disk-0" in before and says in after
    assert room.result()["isError"] != counts and room.changes() == [DONE] * counts


def test_a_terminal_that_is_closed_answers_nothing(home, monkeypatch):
    room = Room(home)
    room.pending()
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    terminal = Typing(monkeypatch, "\x04")
    assert run("approve") == 1 and "Not answered." in terminal.said() and len(approval.waiting(home)) == 1
    terminal = Terminal("approve", PROXMOX_STATE_DIR=home)
    terminal.until("[y/N] ")
    terminal.type("\x03")
    assert terminal.end() == 130 and len(approval.waiting(home)) == 1


def asking(room, question, **more):
    """The one question of the room, with another text."""
    path = room.question().path + ".question"
    edited(path, question=question, **more)
    return room.question()


@pytest.mark.parametrize("question", [
    "x" * 100000, "Delete VM 107?" + " " * 700 + "Approve? [y/N] y Approved.", "\u4e2d\u6587 " * 300, "ab " * 500,
    "Run this: echo " + "\uac00" * 77 + " done", "e" + "\u0301" * 500])
def test_no_line_of_a_question_passes_for_one_of_ours(home, question):
    room = Room(home)
    room.pending()
    lines = asking(room, question).text(60).split("\n")
    body = [line for line in lines if line.startswith("  | ")]
    assert "".join(line[4:] for line in body) == text.unmistakable(question.strip())
    assert all(sum(2 if east_asian_width(one) in "WFA" else 1 for one in line) <= 60 for line in body)
    assert not any("Approved." in line or "xxx" in line for line in lines if line not in body)


@pytest.mark.parametrize("said, shown", [
    ("a\x9b31mb", "a\\u009b31mb"), ("\x1b]0;x\x07", "\\u001b]0;x\\u0007"), ("a\tb", "a b"),
    ("\u05d0\u05d1 1", "\\u05d0"),
    ("rm\u0338 -rf", "rm\\u0338 -rf"), ("a\u20e0b", "a\\u20e0b"), ("a\u00a0b", "a\\u00a0b"), ("caf\u00e9", "caf\u00e9"),
    ("e\u0301\u0323x", "e\u0301\u0323x"), ("\u202ea", "\\u202ea"), ("a\u2028b", "a\\u2028b")])
def test_what_a_terminal_or_a_reader_would_take_for_something_else_is_written_out(home, said, shown):
    room = Room(home)
    room.pending()
    for place in ("question", "client", "tool", "host"):
        assert shown in asking(room, **dict({"question": "?"}, **{place: said})).text()


def test_what_is_longer_than_the_terminal_says_so(home, monkeypatch):
    room = Room(home)
    room.pending()
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    terminal = Typing(monkeypatch, "\x04")
    assert approval.approve(home) == 1 and "scroll up" not in terminal.said()
    asking(room, "x" * 2000)
    terminal = Typing(monkeypatch, "\x04")
    assert approval.approve(home) == 1
    assert ("31 lines, more than fit on the screen: scroll up and read it from the start.\nApprove? [y/N] " in
            terminal.said())


@pytest.mark.parametrize("asked", [float("inf"), float("-inf"), float("nan"), 10 ** 400, "x", None, [], True])
def test_a_time_that_is_none_breaks_nothing(home, asked):
    room = Room(home)
    room.pending()
    edited(room.question().path + ".question", asked=asked)
    assert len(approval.waiting(home)) <= 1 and "[y/N]" not in str(approval.waiting(home))


def test_what_was_withdrawn_meanwhile_is_not_shown(home, monkeypatch):
    room = Room(home)
    room.pending()
    room.pending(name="proxmox_delete_lxc", arguments={"vmid": 203})
    terminal = Typing(monkeypatch, lambda: room.app.close() or "y\n")
    assert approval.approve(home) == 0
    assert "VM 107" in terminal.said() and "Too late" in terminal.said() and "container 203" not in terminal.said()


def test_it_says_where_it_looked(home, monkeypatch):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    terminal = Typing(monkeypatch)
    assert run("approve") == 0 and "No question is waiting in %s." % home in terminal.said()


def test_watching(home, monkeypatch):
    room, terminal = Room(home), Typing(monkeypatch, "y\n", "n\n")

    def sleep(_):
        step = next(steps)
        if step == 0:
            terminal.type("y\n")                        # before there is a question: for none
            room.pending()
        elif step == 1:
            assert "Approved." in terminal.said() and terminal.said().count("\a") == 1
            assert not room.result()["isError"] and room.changes() == [DONE]
            room.pending(name="proxmox_delete_lxc", arguments={"vmid": 203})
        else:
            assert "Declined." in terminal.said() and terminal.said().count("\a") == 2
            raise KeyboardInterrupt
    steps = iter(range(3))
    assert approval.approve(home, True, sleep) == 130 and "(Ctrl-C ends it)" in terminal.said()


def test_a_call_of_the_command_line_asks_in_its_own_terminal(home, monkeypatch):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    terminal = Typing(monkeypatch, "y\n")
    assert run("--demo", "call", "delete_vm", "vmid=107", "wait=0") == 5
    assert "Still running" in terminal.said() and not os.path.exists(os.path.join(home, "approvals"))


@pytest.mark.parametrize("spoil, words", [
    (None, "Questions can wait in"), (lambda home: os.makedirs(home), "Questions can wait in"),
    (lambda home: (os.makedirs(home), os.chmod(home, 0o777)), "must be a directory that belongs to you"),
    (lambda home: (os.makedirs(home + "/approvals"), os.chmod(home + "/approvals", 0o755)), "and to you alone"),
    (lambda home: os.symlink("/", home), "must be a directory"), (lambda home: open(home, "w").close(), "File exists"),
    (lambda home: (os.makedirs(home + "/approvals"), os.chmod(home + "/approvals", 0o500)), "Permission denied")])
def test_check_tells_whether_the_user_can_be_asked(home, monkeypatch, capsys, spoil, words):
    if spoil is not None:
        spoil(home)
    good = words.startswith("Questions")
    if "denied" in words:
        monkeypatch.setattr(os, "open", denied(os.open, "approvals"))
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    monkeypatch.setenv("PROXMOX_CONFIRM", "terminal")
    status = run("--demo", "check")
    said = capsys.readouterr().out
    assert status == (0 if good else 1) and words in said and home in said
    assert good or "The user cannot be asked" in said
    assert not good or os.listdir(home + "/approvals") == []
    monkeypatch.setenv("PROXMOX_CONFIRM", "auto")
    run("--demo", "check")
    assert "approvals" not in capsys.readouterr().out


def denied(really, where):
    """os.open that may not write below a directory (root may everything)."""
    def opened(path, flags, *more, **named):
        if where in str(path) and flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return really(path, flags, *more, **named)
    return opened


# --------------------------------------------------------------------------------------------------------------- freeze

def test_frozen_from_the_next_request_on_in_every_server(home, monkeypatch, capsys):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    benches = [Bench(state_dir=home), Bench(state_dir=home, consent=Consent("terminal"), confirm="terminal")]
    assert not benches[0].run("proxmox_start_vm", vmid=105).failed
    assert run("freeze", "backups", "run") == 0 and ": backups run" in capsys.readouterr().out
    for bench in benches:
        for name, arguments in (("proxmox_stop_vm", {"vmid": 105}), ("proxmox_delete_vm", {"vmid": 107}),
                                ("proxmox_api_call", {"verb": "POST", "path": "/nodes/pve1/qemu/100/status/stop"})):
            answer = bench.run(name, **arguments)
            assert answer.failed and answer.text.startswith("\U0001f6ab") and bench.sent(reads=False) == []
            for word in ("frozen since 20", "backups run", "`proxmox-mcp thaw`"):
                assert word in answer.text
        assert not bench.run("proxmox_get_vms").failed
    assert not os.path.exists(os.path.join(home, "approvals"))             # and nobody is asked
    assert run("freeze", "again") == 0 and "frozen already, since" in capsys.readouterr().out
    terminal = Typing(monkeypatch)
    assert run("thaw") == 0 and "backups run" in terminal.said()
    assert not benches[0].run("proxmox_stop_vm", vmid=105).failed


def test_a_freeze_while_the_user_is_asked_counts(home):
    room = Room(home)
    room.during = lambda: (freeze.freeze(home, "stop"), room.question().answer(True))
    assert "frozen since" in said(room.result()) and room.changes() == []


@pytest.mark.parametrize("tool, arguments", [
    ("proxmox_start_vm", {"vmid": 107}), ("proxmox_api_call", {"verb": "PUT", "path": "/nodes/pve1/qemu/100/config",
                                                               "parameters": {"description": "x"}})])
def test_a_change_that_waits_for_its_turn_is_frozen_too(home, tmp_path, tool, arguments):
    log = str(tmp_path / "audit.log")
    bench = Bench(state_dir=home, audit_log=log)
    bench.run("proxmox_api_describe", endpoint="GET /nodes")
    enter = bench.host.client._enter

    def meanwhile(cancelled):
        enter(cancelled)
        if os.path.exists(log):                         # the change was judged, and noted: it waits for a slot
            freeze.freeze(home, "now")
    bench.host.client._enter = meanwhile
    answer = bench.run(tool, **arguments)
    assert answer.failed and "frozen since" in answer.text and "Nothing was sent." in answer.text
    assert bench.sent(reads=False) == [] and Report(log).ok and not Report(log).open
    assert [line.get("outcome") for line in lines(log)] == [None, "unsent", "refused"]
    assert freeze.since(home) and not bench.run("proxmox_get_vms").failed


def test_a_disk_that_is_full_does_not_keep_from_freezing(home, monkeypatch, capsys):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        assert run("freeze", "stop") == 0
    assert "Changes are frozen" in capsys.readouterr().out
    assert Bench(state_dir=home).run("proxmox_start_vm", vmid=107).failed
    assert "since an unknown time" in freeze.since(home)
    assert run("freeze", "stop") == 0 and "already" in capsys.readouterr().out


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_freeze_says_where_and_whether_others_can_undo_it(home, monkeypatch, capsys):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    assert run("freeze") == 0
    said = capsys.readouterr().out
    assert "in every server whose PROXMOX_STATE_DIR is %s" % home in said and "No server has used" in said
    os.unlink(os.path.join(home, "frozen"))
    os.chmod(home, 0o777)
    assert run("freeze") == 0
    said = capsys.readouterr().out
    assert "No server has used" not in said and "to lift it: %s must be a directory" % home in said


def test_a_command_that_was_begun_before_is_followed(home):
    bench = Bench(state_dir=home, allowed_nodes=("pve1", "pve2", "pve3"))
    handle = bench.cluster.handle

    def frozen_after(verb, target, headers, body=b""):
        answer = handle(verb, target, headers, body)
        if verb == "POST":
            freeze.freeze(home, "now")
        return answer
    bench.cluster.handle = frozen_after
    assert "exit code 0" in bench.run("proxmox_execute_vm_command", vmid=100, command="uname -a").text
    assert "frozen since" in bench.run("proxmox_execute_vm_command", vmid=100, command="uname -a").text


def test_a_freeze_that_cannot_be_read_is_one(home):
    bench, arguments = Bench(state_dir=home), {"vmid": 107}
    os.makedirs(home)
    os.symlink("nowhere", os.path.join(home, "frozen"))
    assert "frozen" in bench.run("proxmox_delete_vm", **arguments).text and bench.sent(reads=False) == []
    os.unlink(os.path.join(home, "frozen"))
    os.mkdir(os.path.join(home, "frozen"))
    assert bench.run("proxmox_delete_vm", **arguments).failed
    os.rmdir(os.path.join(home, "frozen"))
    assert not bench.run("proxmox_delete_vm", **arguments).failed


def test_the_reason_says_no_more_than_a_line(home):
    freeze.freeze(home, "x")
    state.write(os.path.join(home, "frozen"), "then\n\x1b[2Ja\nb\n" + "c" * 10000)
    assert freeze.since(home).startswith("since then: \\u001b[2Ja") and len(freeze.since(home)) < 600


def test_thaw_needs_a_terminal(home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    assert run("freeze") == run("thaw") == 2 and capsys.readouterr().err.count("needs PROXMOX_STATE_DIR") == 2
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    assert run("freeze") == 0 and run("thaw") == 2 and freeze.since(home)
    assert "needs a terminal" in capsys.readouterr().err


def test_check_tells_it(home, monkeypatch, capsys):
    monkeypatch.setenv("PROXMOX_STATE_DIR", home)
    run("freeze", "for", "now")
    run("--demo", "check")
    assert "Changes are frozen since" in capsys.readouterr().out


def test_without_a_directory_nothing_is_looked_at(monkeypatch):
    monkeypatch.setattr(freeze, "since", None)
    assert not Bench().run("proxmox_start_vm", vmid=105).failed


