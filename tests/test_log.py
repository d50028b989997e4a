"""The log on stderr: one line a record, no secrets, nothing invisible; it never blocks, whatever stderr is."""
import contextlib
import json
import os
import re
import threading

import pytest

from support import Bench
from tools.mcp.log import MOST_WAITING, Log
from tools.pve.scrub import hide


class Pipe:
    """A pipe as stderr: `.log(...)` is a Log on it, `.text()` closes it and gives what was written."""

    def __init__(self, level="debug", format="text"):
        self.reader, self.writer = os.pipe()
        self.log = Log(level, format, self.writer, now=lambda: 1767225600.5)

    def text(self):
        self.log.close(60)
        os.close(self.writer)
        data = b""
        while True:
            part = os.read(self.reader, 1 << 16)
            if not part:
                break
            data += part
        os.close(self.reader)
        return data.decode("utf-8")


def written(*args, format="text", level="debug", **fields):
    """What one record comes to."""
    pipe = Pipe(level, format)
    pipe.log(*args, **fields)
    return pipe.text()


def test_a_record_as_text():
    assert written("warning", "retry", path="/nodes", attempt=2, reason="timed out", ok=True, nothing=None) == (
        '2026-01-01T00:00:00.500Z WARNING retry path=/nodes attempt=2 reason="timed out" ok=True\n')


def test_a_record_as_json():
    line = written("error", "internal error", format="json", error="KeyError('x')", list=["a", 1], deep={"a": {"b": 2}})
    assert line.count("\n") == 1 and json.loads(line) == {
        "time": "2026-01-01T00:00:00.500Z", "level": "error", "event": "internal error", "error": "KeyError('x')",
        "list": ["a", 1],
        "deep": {"a": {"b": 2}}}


@pytest.mark.parametrize("level, shown", [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level, shown):
    pipe = Pipe(level)
    for each in ("debug", "info", "warning", "error"):
        pipe.log(each, "event")
    assert pipe.text().count("\n") == shown


HOSTILE = "a\nb\rc\td\x1b[31m\u202e\u200b\x00\U000e0041\u2028\x85\ud800 \"q\" \\"


@pytest.mark.parametrize("format", ["text", "json"])
def test_one_line_a_record_and_nothing_invisible_whatever_it_holds(format):
    line = written("info", "x" + HOSTILE, format=format, value=HOSTILE, deep=[{"k" + HOSTILE: HOSTILE}])
    assert line.endswith("\n") and line.count("\n") == 1
    assert not any(ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u200b\u2028\U000e0041" for c in line[:-1])


@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_taken_out(format):
    hide("CANARY-of-the-log")
    line = written("error", "with CANARY-of-the-log", format=format, text="x CANARY-of-the-log",
                   deep={"a": ["CANARY-of-the-log"]},
                   error=ValueError("CANARY-of-the-log"), header="PVEAPIToken=root@pam!mcp=other-secret-value")
    assert "CANARY" not in line and "other-secret-value" not in line and "***" in line


def test_long_values_are_cut():
    assert len(written("info", "x", value="y" * 100000)) < 5000


def test_a_field_that_cannot_be_shown_does_not_end_the_call():
    class Bad:
        def __str__(self):
            raise RuntimeError("no")
    assert "could not be written: RuntimeError" in written("info", "x", value=Bad())


def test_a_full_pipe_blocks_nobody_and_what_was_dropped_is_counted():
    pipe = Pipe()
    os.set_blocking(pipe.writer, False)
    for part in (b"." * 4096 + b"\n", b"\n"):           # full to the last byte before the first record
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(pipe.writer, part)
    os.set_blocking(pipe.writer, True)
    pipe.log("info", "first")
    while pipe.log._waiting.qsize():                    # the writer has taken it, and stands still
        pass
    for number in range(MOST_WAITING * 3):
        pipe.log("info", "e", number=number)
    assert pipe.log._dropped == 2 * MOST_WAITING
    dropped = pipe.log._dropped
    done = []
    reader = threading.Thread(target=lambda: done.append(_drain(pipe, re.compile("dropped=([0-9]+)\n").search)))
    reader.start()
    while reader.is_alive():                            # once it flows again, the next record tells
        pipe.log("info", "after")
        dropped += 1
        reader.join(0.01)
    assert 2 * MOST_WAITING <= int(done[0].group(1)) <= dropped
    os.close(pipe.writer)
    os.close(pipe.reader)


def _drain(pipe, find):
    text, found = "", None
    while not found:
        text = text[-2000:] + os.read(pipe.reader, 1 << 16).decode("utf-8", "replace")
        found = find(text)
    return found


def test_closing_does_not_wait_for_a_reader_that_does_not_read():
    pipe = Pipe()
    for number in range(1000):
        pipe.log("info", "e" * 500)
    pipe.log.close(seconds=0.05)
    pipe.log("info", "after the end")                   # taken by nobody, harmless
    os.close(pipe.reader)
    os.close(pipe.writer)


def test_everything_is_written_before_the_end():
    pipe = Pipe()
    for number in range(300):
        pipe.log("info", "event", number=number)
    assert [line.split("number=")[1] for line in pipe.text().splitlines()] == [str(n) for n in range(300)]


def test_a_reader_that_is_gone_is_harmless():
    pipe = Pipe()
    os.close(pipe.reader)
    for number in range(50):
        pipe.log("error", "event")
    pipe.log.close()
    os.close(pipe.writer)


def test_a_record_that_is_made_while_the_reader_goes_is_not_waited_for():
    pipe = Pipe()
    for number in range(20):                            # more than a pipe holds: the writer stands still
        pipe.log("info", "event", value="y" * 4000)

    def gone():
        os.close(pipe.reader)
        with pipe.log._waiting.all_tasks_done:
            assert pipe.log._waiting.all_tasks_done.wait_for(lambda: not pipe.log._waiting.unfinished_tasks, 60)
        return 0.0
    pipe.log._now = gone
    pipe.log("info", "event")
    pipe.log.close(60)
    assert not pipe.log._waiting.unfinished_tasks
    os.close(pipe.writer)


def test_a_closed_stderr_is_harmless_and_never_another_file(tmp_path):
    reader, writer = os.pipe()
    os.close(writer)
    log = Log("debug", "text", writer)                  # closed before we began
    handle = os.open(str(tmp_path / "file"), os.O_CREAT | os.O_RDWR)       # most likely gets that number
    log("error", "event")
    log.close()
    assert os.path.getsize(str(tmp_path / "file")) == 0
    os.close(handle)
    os.close(reader)


def test_no_thread_before_the_first_record():
    before = threading.active_count()
    log = Log("error", "text", 2)
    log("debug", "nothing")
    assert threading.active_count() == before
    log.close()


def test_threads_do_not_mix_their_lines():
    pipe = Pipe()
    threads = [threading.Thread(target=lambda n=n: [pipe.log("info", "event", thread=n) for _ in range(50)])
               for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = pipe.text().splitlines()
    assert len(found) == 400 and all(line.count("INFO event thread=") == 1 for line in found)


# -------------------------------------------------------------------------------------------------- what is logged

def logged(tool, level="debug", **more):
    """The lines that a call of a tool is logged with."""
    pipe = Pipe(level)
    Bench(log=pipe.log).run(tool, **more)
    return [line.split(" ", 1)[1] for line in pipe.text().splitlines()]


def test_a_call_and_its_requests():
    assert logged("proxmox_stop_lxc", vmid=203) == [
        "DEBUG request verb=GET path=/cluster/resources status=200 ms=0",
        "DEBUG request verb=GET path=/nodes/pve3/lxc/203/status/current status=200 ms=0",
        "INFO call tool=proxmox_stop_lxc outcome=done ms=0"]


@pytest.mark.parametrize("outcome, tool, arguments", [
    ("done", "proxmox_get_nodes", {}), ("failed", "proxmox_get_vm_status", {"vmid": 999}),
    ("usage", "proxmox_get_vm_status", {"vmid": "CANARY-1"}), ("running", "proxmox_start_vm", {"vmid": 107, "wait": 0}),
    ("command", "proxmox_execute_vm_command", {"vmid": 100, "command": "false"})])
def test_at_info_a_line_a_call(outcome, tool, arguments):
    line, = logged(tool, "info", **arguments)
    assert "INFO call tool=%s outcome=%s ms=" % (tool, outcome) in line and "CANARY" not in line


def test_no_value_of_an_argument_is_logged():
    assert "CANARY" not in "".join(logged("proxmox_create_lxc", node="pve1", vmid=150, password="CANARY-secret-1",
                                          hostname="CANARY-2", ostemplate="local:vztmpl/debian-13.tar.zst"))
