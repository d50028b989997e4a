"""The command line, the packed file and the client configurations."""
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

import proxmox_mcp
from tools.mcp import cli, pack
from tools.policy import settings
from tools.policy.settings import NO_DEMO

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "proxmox_mcp.py")


def run(*arguments):
    """The exit status of a command."""
    return cli.run(list(arguments), "1.0.0", PROGRAM)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROXMOX_")]:
        monkeypatch.delenv(name)


def test_call_prints_the_text(capsys):
    assert run("--demo", "call", "get_nodes") == 0
    out = capsys.readouterr().out
    assert out.startswith("\u2705 3 nodes") and "pve1" in out


def test_call_prints_the_data(capsys):
    assert run("call", "proxmox_get_nodes", "--json", "--demo") == 0
    assert json.loads(capsys.readouterr().out)["total"] == 3


def test_options_of_call_may_stand_anywhere(capsys):
    assert run("--demo", "call", "get_vms", "--json", "status=stopped", "--yes", "type=lxc") == 0
    assert {row["status"] for row in json.loads(capsys.readouterr().out)["items"]} == {"stopped"}
    assert run("--demo", "call", "get_vms", "--json", "status=stopped", "--no") == 2


def test_a_failed_call_exits_with_1(capsys):
    assert run("--demo", "call", "proxmox_get_vm_status", "vmid=999") == 1
    assert capsys.readouterr().out.startswith("\u274c Error: ")


class Stream(io.TextIOWrapper):
    """A standard stream of some encoding; full: a write fails with that error number."""

    def __init__(self, encoding, given=b"", full=None):
        self.raw_bytes = io.BytesIO(given)
        super().__init__(self.raw_bytes, encoding=encoding)
        self.full = full

    def write(self, text):
        if self.full:
            raise OSError(self.full, os.strerror(self.full))
        return super().write(text)

    def said(self):
        self.flush()
        return self.raw_bytes.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding, arguments, status, words", [
    ("cp1252", ["--demo", "call", "delete_vm", "vmid=107", "--yes", "wait=0"], 5, "\\u23f3 Still running in"),
    ("ascii", ["--demo", "call", "delete_vm", "vmid=107", "--yes", "wait=0"], 5, "\\u23f3 Still running in"),
    ("latin-1", ["--demo", "call", "start_vm", "vmid=999"], 1, "\\u274c Error"),
    ("cp437", ["--demo", "call", "get_history", "vmid=100"], 0, "\\u2705"), ("ascii", ["tools"], 0, "proxmox_"),
    ("ascii", ["--demo", "call", "get_\u4e16"], 2, "There is no tool proxmox_get_\\u4e16"),
    ("cp437", ["audit", "/nonexistent/\u4e16\udcff"], 2, "/nonexistent/\\u4e16\\udcff cannot be read"),
    ("latin-1", ["--demo", "check"], 0, "[ok]"), ("ascii", ["call", "get_vms"], 2, "PROXMOX_HOST is not set")])
def test_what_the_encoding_of_a_terminal_lacks_is_spelled_out(encoding, arguments, status, words, monkeypatch):
    out, err = Stream(encoding), Stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert run(*arguments) == status and words in out.said() + err.said()


@pytest.mark.parametrize("answer, status", [(b"y\n", 5), (b"\xff\xfe\n", 4), (b"", 4)])
def test_the_question_is_asked_and_answered_in_any_encoding(answer, status, monkeypatch):
    for name, stream in (("stdin", Stream("ascii", answer)), ("stdout", Stream("ascii")), ("stderr", Stream("ascii"))):
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, name, stream)
    assert run("--demo", "call", "delete_vm", "vmid=107", "wait=0") == status
    assert "[y/N]" in sys.stderr.said() and ("\\u23f3" if status == 5 else "\\u274c") in sys.stdout.said()


def test_arguments_are_utf_8_where_the_locale_knows_ascii_only(capsys):
    word = "gr\u00fc\u00df".encode().decode("ascii", "surrogateescape")          # as Python hands it on then
    assert run("--demo", "call", "get_vm_status", "vmid=" + word) == 2
    assert "'gr\u00fc\u00df' is not a whole number" in capsys.readouterr().out and cli.typed("\udcff") == "\udcff"


@pytest.mark.parametrize("stream, status, words", [
    (None, 0, ""), (Stream("utf-8", full=errno.EPIPE), 0, ""),
    (Stream("utf-8", full=errno.ENOSPC), 1, "The answer cannot be written: No space left on device.\n")])
def test_an_answer_that_nobody_takes_is_no_traceback(stream, status, words, monkeypatch, capsys):
    moved = []
    monkeypatch.setattr(os, "dup2", lambda *fds: moved.append(fds[1]))
    monkeypatch.setattr(sys, "stdout", stream)
    assert run("--demo", "call", "get_nodes") == status
    assert capsys.readouterr().err == words and moved == ([1] if stream else [])


@pytest.mark.parametrize("arguments, said", [
    (("--demo", "call", "get_nods"), "did you mean proxmox_get_nodes?"),
    (("--demo", "call", "get_vm_status", "100"), "not key=value: 100"),
    (("call", "get_nodes"), "PROXMOX_HOST is not set")])
def test_a_wrong_command_exits_with_2(arguments, said, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == ""


def test_nothing_is_destroyed_without_a_yes(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    assert run("--demo", "call", "delete_vm", "vmid=107") == 4
    assert "--yes answers it" in capsys.readouterr().out


@pytest.mark.parametrize("demo", [False, True])
def test_the_archive_is_the_same_every_time_and_holds_only_sources(demo, tmp_path):
    first, second = pack.packed(PROGRAM, demo=demo), pack.packed(PROGRAM, demo=demo)
    assert first == second
    path = tmp_path / "x.pyz"
    assert pack.save(first, str(path)) == hashlib.sha256(first).hexdigest()
    with zipfile.ZipFile(str(path)) as archive:
        names = archive.namelist()
        assert names == sorted(names) and names[0] == "__main__.py"
        assert {os.path.splitext(name)[1] for name in names} == {".py", ".json"}
        assert all(info.date_time == (1980, 1, 1, 0, 0, 0) and info.compress_type == zipfile.ZIP_STORED
                   for info in archive.infolist())
        assert demo is ("tools/demo/__init__.py" in names) is any("demo" in name for name in names)
    assert path.read_bytes().startswith(b"#!/usr/bin/python3 -I\n")


def started_all(starts, given=b"", **more):
    """What came of several processes at once, in order: (stdout, stderr, exit status) of each."""
    made = [subprocess.Popen([sys.executable, *start], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, **more) for start in starts]
    return [(*one.communicate(given, timeout=60), one.returncode) for one in made]


#: A packed program is alone in it.
BARE = {"PATH": os.environ.get("PATH", "")}


def test_the_archive_runs_and_packs_itself_again(tmp_path):
    """With the demo and without it; one with it makes one without it too."""
    plain, whole, *again = (str(tmp_path / name) for name in ("x.pyz", "y.pyz", "1.pyz", "2.pyz", "3.pyz"))
    digests = {path: pack.save(pack.packed(PROGRAM, path == whole), path) for path in (plain, whole)}
    packs = list(zip((plain, whole, whole), ([], ["--demo"], []), (plain, whole, plain), again))
    (version, *_), (nodes, *_), *said = started_all(
        [["-I", plain, "--version"], ["-I", whole, "--demo", "call", "get_nodes"],
         *(["-I", path, "pack", made, *demo] for path, demo, _, made in packs)], env=BARE)
    assert version.decode().split() == ["proxmox-mcp", "2.0.0", "sha256", digests[plain]]
    assert nodes.decode().startswith("\u2705 3 nodes")
    for (_, _, same, made), (out, *_) in zip(packs, said):
        assert out.decode().split() == [digests[same], made]
        with open(same, "rb") as one, open(made, "rb") as two:
            assert one.read() == two.read()


INITIALIZE = (b'{"jsonrpc":"2.0","id":1,"method":"initialize",'
              b'"params":{"protocolVersion":"2025-06-18","capabilities":{}}}\n')


def test_an_archive_without_the_demo_does_not_offer_it_and_says_how_to_get_one(tmp_path):
    path = str(tmp_path / "x.pyz")
    pack.save(pack.packed(PROGRAM), path)
    starts = [["-I", path, *arguments] for arguments in (
        ["--demo"], ["call", "get_nodes", "--demo"], [], ["call", "get_nodes"])]
    silent, call, *without = started_all(starts, env=BARE)
    answered, = started_all(starts[:1], INITIALIZE, env=BARE)
    for (out, err, status), lines in ((silent, 0), (answered, 1), (call, 0)):
        assert status == 2 and err.decode() == NO_DEMO + "\n" and out.count(b"\n") == lines
    assert not any(b"--demo" in err for _, err, _ in without)


@pytest.mark.parametrize("arguments", [("tools",), ("call", "get_nodes"), ("check",), ("audit", "x"),
                                       ("config", "cursor"), ("pack", os.devnull)])
def test_every_command_without_the_demo_says_how_to_get_one(arguments, monkeypatch, capsys):
    monkeypatch.setattr(settings, "has_demo", lambda: False)
    assert run(*arguments, "--demo") == 2 and capsys.readouterr() == ("", NO_DEMO + "\n")


def test_with_the_demo_it_is_offered(monkeypatch, capsys):
    assert run("call", "get_nodes") == 2 and "--demo" in capsys.readouterr().err


def test_ways_to_start(tmp_path):
    """A package called tools in the working directory is never taken for ours."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").write_text("raise SystemExit('the wrong tools')")
    link = tmp_path / "linked.py"
    os.symlink(PROGRAM, str(link))
    starts = [[PROGRAM], ["-I", PROGRAM], [str(link)], ["-m", "proxmox_mcp"]]
    for start, (out, err, _) in zip(starts, started_all(
            [start + ["tools"] for start in starts], cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=ROOT))):
        assert b"proxmox_get_vms" in out, (start, err)


def test_a_demo_without_requests_says_what_is_missing(tmp_path):
    (tmp_path / "requests.py").write_text("raise ImportError('none here')")
    for out, err, status in started_all([[PROGRAM, "--demo", "call", "get_nodes"], [PROGRAM, "--demo", "check"]],
                                        env=dict(os.environ, PYTHONPATH=str(tmp_path))):
        said = out + err
        assert status == 1 and b"apt install python3-requests" in said and b"Traceback" not in said


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--demo", "call", "get_nodes"]])
def test_a_python_that_is_too_old_is_told(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 6, 8, "final", 0))
    assert proxmox_mcp.main(arguments) == 2
    assert capsys.readouterr().err == "proxmox-mcp needs Python 3.9 or newer; %s is Python 3.6.8.\n" % sys.executable
