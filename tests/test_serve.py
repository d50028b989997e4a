"""The server as a process: its streams, its start, its ends. Everything here runs proxmox_mcp.py as a client would."""
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from engine import PATIENCE
from front import Front
from tools.demo import DemoCluster
from tools.mcp import pack, serve
from tools.mcp.message import CAPABILITIES_KEY, VERSION_KEY

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "proxmox_mcp.py")
#: What clients leave of the environment.
ENVIRON = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "LD_LIBRARY_PATH")
           if name in os.environ}
POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX")


def message(method, id=None, **params):
    return json.dumps(dict({"jsonrpc": "2.0", "method": method, "params": params},
                           **({} if id is None else {"id": id}))).encode() + b"\n"


def call(id, name, **arguments):
    return message("tools/call", id, name=name, arguments=arguments)


def modern(method, id, **params):
    return message(method, id, _meta={VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}, **params)


INITIALIZE = message("initialize", 0, protocolVersion="2025-11-25", capabilities={},
                     clientInfo={"name": "t", "version": "1"})
INITIALIZED = message("notifications/initialized")
PING = message("ping", "ping")


class Process:
    """A running server. `environ` replaces the environment, `start` the command; redirections as for Popen."""

    def __init__(self, *arguments, environ=ENVIRON, start=(sys.executable, PROGRAM), **more):
        streams = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        streams.update(more)
        self.process = subprocess.Popen([*start, *arguments], env=environ, **streams)
        self._came = b""                        # what of its stdout was not read as a message yet

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream and not stream.closed:
                try:
                    stream.close()
                except OSError:
                    pass
        self.process.wait(PATIENCE)

    def send(self, *lines):
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def read(self):
        """The next message."""
        while b"\n" not in self._came:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0]
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            assert chunk, "it has ended"
            self._came += chunk
        line, _, self._came = self._came.partition(b"\n")
        return json.loads(line)

    def end(self, data=b""):
        """Send the last lines and the end of the input; (messages, text on stderr, exit status)."""
        out, err = self.process.communicate(data, timeout=PATIENCE)
        return [json.loads(line) for line in (self._came + out).splitlines()], err.decode(), self.process.returncode

    def ended(self):
        """What it left on (stdout, stderr), once it has ended; its exit status."""
        status = self.process.wait(PATIENCE)
        return self._came + self.process.stdout.read(), self.process.stderr.read(), status


def run(data, *arguments, answers=0, **more):
    """All of a short run: (messages, stderr, exit status). answers: how many are waited for before the input ends."""
    with Process(*arguments, **more) as process:
        process.send(data)
        came = [process.read() for _ in range(answers)]
        messages, err, status = process.end()
        return came + messages, err, status


def run_all(starts):
    """Several short runs at once, each of (data, arguments, more): what `run` says of each, in order."""
    with contextlib.ExitStack() as stack:
        started = [(stack.enter_context(Process(*arguments, **more)), data) for data, arguments, more in starts]
        return [process.end(data) for process, data in started]


def by_id(messages):
    return {message.get("id"): message for message in messages}


# ------------------------------------------------------------------------------------------------------------ a session

def test_two_lines_in_two_lines_out():
    messages, err, status = run(INITIALIZE + call(1, "proxmox_get_vms"), "--demo", answers=2)
    assert [message["id"] for message in messages] == [0, 1] and err == "" and status == 0
    assert "web01" in messages[1]["result"]["content"][0]["text"]


FIRST = [INITIALIZE, modern("server/discover", 0), modern("tools/list", 0),
         modern("tools/call", 0, name="proxmox_get_nodes"),
         modern("resources/list", 0), modern("prompts/list", 0), message("ping", 0), b"nonsense\n",
         message("tools/list", 0)]


def test_any_first_line_is_served():
    for first, (messages, err, status) in zip(FIRST, run_all([(first + PING, ["--demo"], {}) for first in FIRST])):
        assert len(messages) == 2 and {"id": "ping", "jsonrpc": "2.0", "result": {}} in messages, first
        assert (err, status) == ("", 0), first


def test_no_line_at_all():
    assert run_all([(data, ["--demo"], {}) for data in (b"", b"\n \r\n")]) == [([], "", 0)] * 2


BAD = [b"not JSON\n", b'{"a": "' + b"x" * 5000000 + b'"}\n', b"[" * 100000 + b"\n", b'"\xff\xfe"\n',
       b"[" + PING.strip() + b"]\n",
       b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n', message("nonsense", 7), call(7, "nonsense"),
       call(7, "proxmox_get_vm_status", vmid="abc"), call(7, "proxmox_get_node_dns", node="../../access/users"),
       call(7, "proxmox_get_nodes", extra=1)]


def test_bad_input_gets_one_sentence_and_the_next_request_is_served():
    with Process("--demo") as process:
        process.send(INITIALIZE)
        process.read()
        for line in BAD:
            process.send(line)
            answer = process.read()
            words = answer["error"]["message"] if "error" in answer else answer["result"]["content"][0]["text"]
            assert "error" in answer or answer["result"]["isError"]
            assert words and len(words) < 400 and "Traceback" not in words
            process.send(PING)
            assert process.read()["result"] == {}
        assert process.end() == ([], "", 0)


# -------------------------------------------------------------------------------------------------------------- streams

STRAY = """
import os, subprocess, sys
sys.path.insert(0, %r)
import proxmox_mcp
from tools.mcp.run import Host
real = Host.run
def run(*arguments, **more):
    print("stray print")
    sys.stdout.write("stray write\\n")
    sys.__stdout__.flush()
    os.write(1, b"stray bytes\\n")
    subprocess.run([sys.executable, "-c", "import sys; print('stray child', repr(sys.stdin.read()))"],
                   timeout=60)
    return real(*arguments, **more)
Host.run = run
sys.exit(proxmox_mcp.main(["--demo"]))
""" % ROOT


def test_nothing_but_messages_on_stdout():
    messages, err, status = run(INITIALIZE + call(1, "proxmox_get_nodes") + PING, answers=3,
                                start=(sys.executable, "-c", STRAY))
    assert set(by_id(messages)) == {0, 1, "ping"} and status == 0
    for words in ("stray print", "stray write", "stray bytes", "stray child ''"):
        assert words in err


def shell(redirections):
    """Start by a shell, which can close descriptors."""
    return ("/bin/sh", "-c", 'exec "$0" "$@" ' + redirections, sys.executable, PROGRAM)


@POSIX
def test_with_stderr_closed():
    environ = dict(ENVIRON, PROXMOX_LOG="debug", PROXMOX_NONSENSE="1")
    messages, _, status = run(INITIALIZE + call(1, "proxmox_get_nodes") + call(2, "nope"), "--demo",
                              start=shell("2>&-"), environ=environ, answers=3)
    assert by_id(messages)[1]["result"]["isError"] is False and by_id(messages)[2]["error"]["code"] == -32602
    assert status == 0
    assert run(INITIALIZE, start=shell("2>&-"))[2] == 2                     # a problem nobody can read


@POSIX
def test_with_stdin_or_stdout_closed_from_the_start():
    closed = ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-", ">/dev/full"]
    runs = run_all([(INITIALIZE + PING, ["--demo"], {"start": shell(one)}) for one in closed])
    assert dict(zip(closed, runs)) == dict.fromkeys(closed, ([], "", 0))


@POSIX
def test_when_stdout_is_closed_meanwhile():
    with Process("--demo") as process:
        process.send(INITIALIZE)
        process.read()
        process.process.stdout.close()
        process.send(PING)
        assert process.process.wait(PATIENCE) == 0 and process.process.stderr.read() == b""


@POSIX
def test_a_pipe_that_does_not_block():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with Process("--demo", stdout=writer) as process:
        os.close(writer)
        # far more than a pipe holds
        process.send(INITIALIZE, *[message("tools/list", number) for number in range(1, 21)])
        process.process.stdin.close()
        with open(reader, "rb") as stream:
            assert [json.loads(line)["id"] for line in stream] == list(range(21))
        assert process.process.wait(PATIENCE) == 0


#: Several changes at once where they concern different things.
ENVIRONS = [{"LC_ALL": "C", "HOME": None, "TMPDIR": "/nonexistent", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
             "PYTHONUNBUFFERED": "1"},
            {"PYTHONIOENCODING": "latin-1", "HOME": "/nonexistent", "LANG": "de_DE.ISO-8859-1",
             "PYTHONWARNINGS": "error"},
            {"PYTHONIOENCODING": "utf-16", "HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}]


@POSIX
def test_neither_environment_nor_working_directory_change_anything(tmp_path):
    """The directory is one with files named like modules, then one that is gone."""
    hostile, gone = tmp_path / "hostile", tmp_path / "gone"
    hostile.mkdir()
    for name in ("json", "requests", "tools", "threading", "dataclasses"):
        (hostile / (name + ".py")).write_text("raise SystemExit('hijacked')")
    gone.mkdir()
    leave = ("/bin/sh", "-c", 'cd "%s" && rmdir "%s" && exec "$0" "$@"' % (gone, gone), sys.executable, PROGRAM)
    line = message("tools/call", 1, name="proxmox_get_vms", arguments={"name": "\u00fc\u4e16\U0001f600"})
    data = INITIALIZE + json.dumps(json.loads(line), ensure_ascii=False).encode() + b"\n" + call(2, "proxmox_get_nodes")
    runs = run_all([(data, ["--demo"], dict(place, environ={
        name: value for name, value in dict(ENVIRON, **changes).items() if value is not None}))
        for changes, place in zip(ENVIRONS, [{"cwd": str(hostile)}, {"start": leave}, {}])])
    for changes, (messages, err, status) in zip(ENVIRONS, runs):
        assert err == "" and status == 0, changes
        assert by_id(messages)[1]["result"]["isError"] is False, changes
        assert by_id(messages)[2]["result"]["content"][0]["text"].startswith("\u2705"), changes


# ---------------------------------------------------------------------------------------------------------------- start

FIRST_ANSWER = """
import sys
sys.path.insert(0, %r)
import tools.mcp.serve as serve
real = serve.write_all
def write_all(writer, line):
    sys.stderr.write(" ".join(sys.modules) + "\\n")
    sys.stderr.flush()
    real(writer, line)
serve.write_all = write_all
serve.serve("1", demo=True)
""" % ROOT


def test_the_first_answer_is_given_before_anything_but_the_settings_is_imported():
    start = {"start": (sys.executable, "-S", "-E", "-c", FIRST_ANSWER)}
    for messages, err, status in run_all([(INITIALIZE, [], start), (modern("server/discover", 0), [], start)]):
        loaded = set(err.split())
        assert "json" in loaded and len(messages) == 1 and status == 0
        assert not {"requests", "urllib3", "ssl", "socket", "http", "dataclasses", "inspect", "typing", "logging",
                    "asyncio", "argparse",
                    "urllib.parse", "tools.mcp.log", "tools.base.call", "tools.mcp.run", "tools.policy.guard",
                    "tools.mcp.app"} & loaded


#: What a client sends before bad settings end it -> how many answers there are.
WITH_BAD_SETTINGS = {b"": 0, INITIALIZE: 1, INITIALIZED: 0, INITIALIZE + INITIALIZED + message("tools/list", 1): 2,
                     modern("server/discover", 0) + INITIALIZE: 2, modern("tools/list", 0): 1, call(1, "x"): 1,
                     message("tools/list", 1): 1}


def test_bad_settings_are_the_answer_to_every_request_and_the_exit_status():
    """Clients show their user the error that answers `initialize`; few show what stands on stderr."""
    bad = dict(ENVIRON, PROXMOX_HOST="http://pve1", PROXMOX_TOKEN_NAME="", PROXMOX_TOKEN_VALUE="bad value")
    # none at all and bad ones, in turn
    runs = run_all([(data, [], {"environ": (ENVIRON, bad)[at % 2]}) for at, data in enumerate(WITH_BAD_SETTINGS)])
    for (data, answers), (messages, err, status) in zip(WITH_BAD_SETTINGS.items(), runs):
        assert status == 2 and len(messages) == answers, data
        assert err.count("cannot start") == 1 and err.count("PROXMOX_TOKEN_NAME is not set") == 1, data
        assert "Traceback" not in err and "bad value" not in err and "--demo" in err, data
        assert {(one["error"]["code"], one["error"]["message"] + "\n") for one in messages} == (
            {(-32603, err)} if answers else set()), data


def test_with_bad_settings_it_lives_until_the_client_has_read_why():
    with Process() as process:
        assert b"cannot start" in process.process.stderr.readline()
        for line, answer in ((PING, "result"), (INITIALIZE, "error"), (PING, "result")):
            process.send(line)
            assert answer in process.read()
        assert process.end()[::2] == ([], 2)


@POSIX
def test_on_a_terminal_it_says_what_it_waits_for():
    ours, theirs = os.openpty()
    with Process("--demo", stdin=theirs) as process, Process(stdin=theirs) as bad:
        text = process.process.stderr.readline() + process.process.stderr.readline()
        assert b"is waiting for an MCP client" in text and b"proxmox-mcp --demo call proxmox_get_vms" in text
        os.write(ours, PING)
        assert process.read()["result"] == {}
        # settings first, where a person waits
        assert bad.process.wait(PATIENCE) == 2 and b"PROXMOX_HOST is not set" in bad.process.stderr.read()
    os.close(ours)
    os.close(theirs)


TOKEN = {"PROXMOX_TOKEN_NAME": "mcp", "PROXMOX_TOKEN_VALUE": "11111111-2222-3333-4444-555555555555"}


@pytest.mark.parametrize("arguments, host, words", [
    (["--demo"], "pve1", "for a made-up Proxmox VE cluster"), ([], "pve1,pve2:8007", "cluster at pve1, pve2:"),
    ([], "https://pve1/", "cluster at pve1:")])
def test_the_model_is_told_which_cluster_it_is(arguments, host, words):
    with Process(*arguments, environ=dict(ENVIRON, PROXMOX_HOST=host, **TOKEN)) as process:
        process.send(INITIALIZE)
        assert words in process.read()["result"]["instructions"].split("\n")[0]


# ------------------------------------------------------------------------------------------------------------------ end

#: signal -> exit status.
SIGNALS = [("SIGTERM", 0), ("SIGHUP", 0), ("SIGINT", 130)]


@POSIX
def test_signals_end_it_silently():
    """After the first answer; the last one when a tool was called too."""
    with contextlib.ExitStack() as stack:
        started = [(stack.enter_context(Process("--demo")), name, status) for name, status in SIGNALS + SIGNALS[:1]]
        for process, _, _ in started:
            process.send(INITIALIZE)
        process.send(call(1, "proxmox_get_nodes"))
        for process, _, _ in started:
            process.read()
        assert process.read()["id"] == 1
        for process, name, status in started:
            process.process.send_signal(getattr(signal, name))
            assert process.ended() == (b"", b"", status), name


#: Serves, and sends a signal to one of its threads, as the kernel may, when a byte comes on the descriptor.
OTHER_THREAD = """
import os, signal, sys, threading
sys.path.insert(0, %r)
from tools.mcp.serve import serve
def send():
    os.read(%d, 1)
    signal.pthread_kill(threading.get_ident(), signal.%s)
threading.Thread(target=send, daemon=True).start()
serve("1", True)
"""


@POSIX
@pytest.mark.parametrize("name, status", SIGNALS)
def test_a_signal_ends_it_whichever_thread_it_reaches(name, status):
    """Python runs a handler in the main thread, which waits for input and is not woken by a signal another one took."""
    theirs, ours = os.pipe()
    with Process(start=(sys.executable, "-c", OTHER_THREAD % (ROOT, theirs, name)), pass_fds=(theirs,)) as process:
        process.send(INITIALIZE)
        process.read()
        os.write(ours, b"!")
        assert process.process.wait(PATIENCE) == status
    os.close(ours)
    os.close(theirs)


class Gated(DemoCluster):
    """A demo cluster whose answers to some requests wait until they are let go."""

    def __init__(self, verb):
        super().__init__()
        self.verb, self.begun, self.go = verb, threading.Event(), threading.Event()

    def handle(self, verb, *arguments, **more):
        if verb == self.verb:
            self.begun.set()
            self.go.wait(PATIENCE)
        return super().handle(verb, *arguments, **more)


@contextlib.contextmanager
def gate(verb, folder):
    """(cluster that waits, environment of a server in front of it, tool call that waits)"""
    cluster = Gated(verb)
    with Front(cluster) as front:
        environ = dict(ENVIRON, PROXMOX_HOST="127.0.0.1:%d" % front.port, PROXMOX_CERTIFICATE=front.cert,
                       PROXMOX_TOKEN_NAME="demo",
                       PROXMOX_TOKEN_VALUE="11111111-2222-3333-4444-555555555555", PROXMOX_ALLOW_ELEVATED="true",
                       PROXMOX_AUDIT_LOG=str(folder / "audit.log"))
        waiting = {"GET": call("slow", "proxmox_get_nodes"),
                   "PUT": call("slow", "proxmox_resize_lxc", vmid=203, node="pve3", cores=3)}[verb]
        yield cluster, environ, waiting
        cluster.go.set()


@pytest.fixture(params=["GET", "PUT"])
def gated(request, tmp_path):
    with gate(request.param, tmp_path) as found:
        yield found


def test_while_a_node_hangs_ping_and_cancel_work(gated):
    cluster, environ, waiting = gated
    with Process(environ=environ) as process:
        process.send(INITIALIZE, INITIALIZED, waiting)
        process.read()
        assert cluster.begun.wait(PATIENCE)
        process.send(PING)
        assert process.read()["id"] == "ping"
        process.send(modern("tools/list", "list"))
        assert process.read()["id"] == "list"
        process.send(message("notifications/cancelled", requestId="slow"), PING)
        assert process.read()["id"] == "ping"
        cluster.go.set()
        assert process.end() == ([], "", 0)                                 # and nothing more was said


@POSIX
def test_while_a_node_hangs_sigterm_ends_it_at_once(tmp_path):
    with gate("GET", tmp_path) as (cluster, environ, waiting), Process(environ=environ) as process:
        process.send(INITIALIZE, waiting)
        process.read()
        assert cluster.begun.wait(PATIENCE)
        process.process.terminate()
        assert process.ended() == (b"", b"", 0)


def outcomes(environ):
    """The events and outcomes in the audit log, in order."""
    with open(environ["PROXMOX_AUDIT_LOG"]) as stream:
        return [(line["event"], line.get("outcome"), line.get("error")) for line in map(json.loads, stream)]


def test_before_the_settings_are_read_errors_are_written_and_nothing_else(capfd):
    log = serve._Log()
    log("error", "internal error", method="ping")
    log("warning", "something")
    log.close()
    assert capfd.readouterr().err.endswith("Z ERROR internal error method=ping\n")


def test_at_the_end_the_log_writes_what_is_left(monkeypatch):
    said = []

    class Log:
        def __init__(self, *chosen):
            said.append(chosen)

        def __call__(self, level, event, **fields):
            said.append((level, event, fields))

        def close(self):
            said.append("closed")
    monkeypatch.setattr("tools.mcp.log.Log", Log)
    log = serve._Log()
    log.how = ("info", "json")
    log("info", "settings", port=1)
    log.close()
    assert said == [("info", "json"), ("info", "settings", {"port": 1}), "closed"]


def test_on_windows_a_handler_of_python_ends_it(monkeypatch):
    handlers, ended = {}, []
    monkeypatch.setattr(serve, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    serve._at_a_signal(ended.append)
    for name in serve.SIGNALS:
        handlers[getattr(signal, name)](getattr(signal, name), None)
    assert ended == list(serve.SIGNALS.values())


@pytest.mark.parametrize("signalled, waits", [(True, (0, 1.5)), (False, (serve.GRACE, serve.GRACE_FOR_CHANGES))])
def test_at_a_signal_the_end_comes_before_the_client_loses_patience(monkeypatch, signalled, waits):
    """Clients kill 2 seconds after SIGTERM: a read is not waited for, a change for less than that."""
    ends, finished = [], []

    class Stub:
        def __init__(self, *arguments, unfit=None):
            pass

        def start(self):
            pass

        def receive(self, line):
            if signalled:
                ends[0](0)

        def finish(self, grace, changes):
            finished.append((grace, changes))

    def leave(status):
        raise SystemExit(status)
    for name, value in {"Server": Stub, "private_streams": lambda: (None, None), "_at_a_signal": ends.append,
                        "lines": lambda reader: [b"{}"], "_settings": lambda demo, log: (None, None),
                        "threading": SimpleNamespace(Thread=lambda **_: Stub(), Lock=threading.Lock,
                                                     Event=threading.Event)}.items():
        monkeypatch.setattr(serve, name, value)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit):
        serve.serve("1.0.0")
    assert finished == [waits]


#: Serves with another patience at the end; how much it has is in the test above.
OTHER_PATIENCE = """
import sys
sys.path.insert(0, %r)
from tools.mcp import pack, serve
serve.GRACE, serve.CHANGES_AT_A_SIGNAL = 0.1, %s
serve.serve("1")
"""


@POSIX
def test_at_the_end_a_change_on_its_way_is_heard_of_or_its_outcome_is_unknown(tmp_path):
    """A read, a change that is answered in time, one that a signal ends and one that it does not wait for any more."""
    with contextlib.ExitStack() as stack:
        started = []
        for verb, seconds in (("GET", PATIENCE), ("PUT", PATIENCE), ("PUT", 0.2), ("PUT", PATIENCE)):
            folder = tmp_path / str(len(started))
            folder.mkdir()
            cluster, environ, waiting = stack.enter_context(gate(verb, folder))
            start = (sys.executable, "-c", OTHER_PATIENCE % (ROOT, seconds))
            process = stack.enter_context(Process(environ=environ, start=start))
            process.send(INITIALIZE, waiting)
            started.append((process, cluster, environ))
        for process, cluster, _ in started:
            process.read()
            assert cluster.begun.wait(PATIENCE)
        (reader, _, _), (changer, changes, answered), (unlucky, _, unanswered), (told, others, heard) = started
        reader.process.stdin.close()
        changer.process.stdin.close()
        unlucky.process.terminate()
        told.process.terminate()
        assert reader.process.wait(PATIENCE) == 0                       # a read is not waited for (long)
        assert unlucky.process.wait(PATIENCE) == 0
        assert changer.process.poll() is told.process.poll() is None    # more than a read was waited for
        changes.go.set()
        others.go.set()
        assert changer.read()["id"] == "slow" and changer.process.wait(PATIENCE) == 0
        assert told.ended()[1:] == (b"", 0)
    assert outcomes(answered)[-1] == ("outcome", "accepted", None)
    assert outcomes(heard) == [("intent", None, None), ("outcome", "accepted", None)]
    assert outcomes(unanswered) == [("intent", None, None),
                                    ("outcome", "unknown", "the server ended before Proxmox answered")]


# ------------------------------------------------------------------------------------------- an upgrade while it serves

@POSIX
def test_files_of_the_program_that_went_away_are_told(tmp_path):
    """Those of an archive and those of a directory, by a tool that needs one of them and by the list of prompts."""
    here, call_one = tmp_path / "here", call(1, "proxmox_get_node_dns", node="pve1")
    shutil.copytree(os.path.join(ROOT, "tools"), here / "tools")
    program, archive = shutil.copy(PROGRAM, here), str(here / "proxmox_mcp.pyz")
    pack.save(pack.packed(PROGRAM, demo=True), archive)
    with contextlib.ExitStack() as stack:
        started = [(stack.enter_context(Process("--demo", start=(sys.executable, "-B", path))), asked)
                   for path, asked in ((program, call_one), (program, message("prompts/list", 1)), (archive, call_one))]
        for process, _ in started:
            process.send(INITIALIZE, INITIALIZED, call(0, "proxmox_get_vms"))
        for process, _ in started:
            process.read(), process.read()
        shutil.rmtree(here)
        for process, asked in started:
            process.send(asked)
            answer = process.read()
            said = answer["error"]["message"] if "error" in answer else answer["result"]["content"][0]["text"]
            assert "files have changed or are gone" in said and "Restart" in said and "sent an answer" not in said
