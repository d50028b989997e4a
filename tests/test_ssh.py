"""Commands in containers: how ssh and pct are called (doubles on PATH, no network), and what is told."""
import json
import os
import threading
import time

import pytest

from engine import PATIENCE
from support import Bench, answering, found, ok
from tools import ssh
from tools.mcp.app import App
from tools.mcp.run import Nobody
from tools.policy.settings import Ssh
from tools.pve.client import Cancelled

FIND, STATUS = "GET /cluster/resources type=vm", "GET /nodes/pve1/lxc/200/status/current"


def dry(bench):
    """No program is started."""
    bench.host.settings.ssh, bench.host.settings.dry_run = Ssh(), True


def started(bench):
    bench.host.settings.ssh = Ssh()
    process = ssh.Process(["true"], 60)
    process.about, process.remote = (None, 200, "true"), False
    ssh._waiting[process.pid] = process
    return {"pid": process.pid}


CASES = [
    ("proxmox_execute_lxc_command", {"vmid": 200, "command": "uname -a", "timeout": 5}, [FIND, STATUS], dry),
    ("proxmox_execute_lxc_command", {"vmid": 200, "node": "pve1", "command": "id"}, [STATUS], dry),
    ("proxmox_execute_lxc_command", {"vmid": 200, "node": "pve1", "command": "true", "pid": "{pid}"}, [], started),
]

#: Notes its arguments, then does what the rest of the script says.
NOTE = ("#!/bin/sh\n{ printf '%%s' \"%s\"; for word in \"$@\"; do printf '\\001%%s' \"$word\"; done; printf '\\002'; } "
        ">> %s\n")
DOUBLES = {
    "ssh": 'for last in "$@"; do :; done\nexec /bin/sh -c "$last"',          # the remote shell
    "pct": 'shift 3\nexec "$@"',                                            # the container
    "sudo": 'shift\nexec "$@"'}


class Programs:
    """Doubles of the programs, in a directory that is alone before the usual ones on PATH."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.log = folder, str(folder / "log")
        for name, script in DOUBLES.items():
            self.make(name, script)
        monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % folder)

    def make(self, name, script):
        path = self.folder / name
        path.write_text(NOTE % (name, self.log) + script + "\n")
        path.chmod(0o755)

    def calls(self, name=None):
        """[[name, argument ...]] in order, of one program or of all."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as stream:
            found = [call.split("\x01") for call in stream.read().split("\x02") if call]
        return [call for call in found if name in (None, call[0])]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Without the commands that cases of other tests left waiting."""
    monkeypatch.setattr(ssh, "_waiting", {})
    monkeypatch.setattr(ssh, "_running", set())


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    return Programs(folder, monkeypatch)


def bench_of(**options):
    return Bench(**{"ssh": Ssh(), **options})


def run(bench, command="uname -a", vmid=200, **arguments):
    return bench.run("proxmox_execute_lxc_command", vmid=vmid, command=command, **arguments)


# ---------------------------------------------------------------------------------------------------------- how it goes

def test_a_command_goes_by_ssh_to_the_node(programs):
    bench = bench_of(ssh=Ssh("root", 2222, "/home/me/key"))
    answer = ok(run(bench, "printf '%s,' 'a b' c \"d'e\""))
    [call] = programs.calls("ssh")
    assert call[1:4] == ["-T", "-p", "2222"] and call[-3] == "root@10.0.0.11" and call[-2] == "--"
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=8", "ClearAllForwardings=yes",
                   "IdentitiesOnly=yes"):
        assert call[call.index(option) - 1] == "-o"
    assert call[call.index("-i") + 1] == "/home/me/key"
    assert programs.calls("pct") == [["pct", "exec", "200", "--", "printf", "%s,", "a b", "c", "d'e"]]
    assert found(answer) == {"vmid": 200, "done": True, "exitcode": 0, "stdout": "a b,c,d'e,", "stderr": "",
                             "truncated": False}
    assert "Container 200: exit code 0: printf" in answer.text and "| a b,c,d'e," in answer.text
    assert bench.sent() == [FIND, STATUS, "GET /cluster/status"] and programs.calls("sudo") == []


def test_on_the_node_itself_pct_is_called(programs, monkeypatch):
    monkeypatch.setattr(ssh.platform, "node", lambda: "pve1.example.org")
    for root in (True, False):
        monkeypatch.setattr(ssh, "_is_root", lambda: root)
        ok(run(bench_of(), "echo hi"))
    assert programs.calls() == [["pct", "exec", "200", "--", "echo", "hi"],
                                ["sudo", "-n", "pct", "exec", "200", "--", "echo", "hi"],
                                ["pct", "exec", "200", "--", "echo", "hi"]]


def test_of_several_clusters_none_is_known_by_the_name_of_a_node(programs, monkeypatch):
    """Another cluster may have a node of that name: this machine, or what its name server knows."""
    monkeypatch.setattr(ssh.platform, "node", lambda: "pve1.example.org")
    bench = bench_of()
    bench.host.settings.cluster = "work"
    ok(run(bench, "true"))
    assert programs.calls("ssh")[0][-3] == "root@10.0.0.11"
    answering(bench, "/cluster/status", (403, "Permission check failed (/, Sys.Audit)"))
    answer = run(bench, "true")
    assert answer.failed and "may be another cluster's" in answer.text and len(programs.calls("ssh")) == 1


def test_another_user_than_root_goes_through_sudo(programs):
    ok(run(bench_of(ssh=Ssh("admin")), "echo hi"))
    assert programs.calls("ssh")[0][-3] == "admin@10.0.0.11"
    assert programs.calls("sudo") == [["sudo", "-n", "pct", "exec", "200", "--", "echo", "hi"]]


def test_whole_shell_lines_where_they_are_allowed(programs):
    answer = ok(run(bench_of(allowed_commands=("unsafe",)), "echo $((1+1)) | cat; echo 'it''s'"))
    assert answer.data["stdout"] == "2\nits\n"
    assert programs.calls("pct")[0][4:] == ["/bin/sh", "-c", "echo $((1+1)) | cat; echo 'it''s'"]


@pytest.mark.parametrize("command", ["id; reboot", "a && b", "a | b", "`id`", "$(id)", "a > b", "a\nb", "a\\b", "(a)",
                                     "{a,b}", "[a]",
                                     "echo 'open", "   ", "x\x01y", "a " * 600])
def test_what_a_shell_would_act_upon_is_refused(programs, command):
    bench = bench_of()
    answer = run(bench, command)
    assert answer.failed and "Nothing was sent." in answer.text
    assert bench.sent(reads=False) == [] and programs.calls() == []


def test_words_stay_words_on_the_way(programs):
    words = ["-rf", "--", "a b", "*", "~", "!x", "%PATH%", "gr\u00fc\u00df", "#", "", "a=b", "'"]
    command = " ".join(ssh.shlex.quote(word) for word in words if word != "'") + " \"'\""
    bench = bench_of()
    ok(run(bench, "printf %s " + command))
    assert programs.calls("pct")[0][6:] == words


def test_a_command_goes_out_in_utf_8_whatever_the_locale_is(programs, monkeypatch):
    started = []
    real = ssh.Process
    monkeypatch.setattr(ssh, "Process", lambda command, *more: started.append(command) or real(["true"], 5))
    ok(run(bench_of(), "echo gr\u00fc\u00df"))
    monkeypatch.setattr(ssh, "here", lambda node: True)
    ok(run(bench_of(), "echo gr\u00fc\u00df"))
    assert [command[-1].decode("utf-8") for command in started] == ["pct exec 200 -- echo 'gr\u00fc\u00df'",
                                                                    "gr\u00fc\u00df"]


# ------------------------------------------------------------------------------------------------------ where it may go

def test_it_is_off_by_default(programs):
    bench = Bench()
    answer = run(bench)
    assert answer.failed and "PROXMOX_SSH" in answer.text and "switched off" in answer.text
    assert bench.sent(reads=False) == [] and programs.calls() == []


@pytest.mark.parametrize("chosen, words", [
    ({"allow_elevated": False}, "PROXMOX_ALLOW_ELEVATED=true"), ({"read_only": True}, "PROXMOX_READ_ONLY"),
    ({"protected_guests": ("200",)}, "Guest 200 is protected"),
    ({"allowed_guests": ("100",)}, "Guest 200 is out of bounds"),
    ({"allowed_nodes": ("pve2",)}, "Node pve1"), ({"tools": ("-execute_*",)}, "PROXMOX_TOOLS")])
def test_guardrails(programs, chosen, words):
    answer = run(bench_of(**chosen), node="pve1")
    assert answer.failed and words in answer.text and programs.calls() == []


@pytest.mark.parametrize("vmid, words",
                         [(203, "Container 203 is stopped"), (100, "is a VM"), (999, "There is no guest 999")])
def test_only_in_containers_that_run(programs, vmid, words):
    answer = run(bench_of(), vmid=vmid)
    assert answer.failed and words in answer.text and programs.calls() == []


def test_the_rate_limit_counts_commands(programs):
    bench = bench_of(rate_limit="0/1")
    bench.host.client.limiter._tokens["changes"] = 1.0
    ok(run(bench, "true"))
    answer = run(bench, "true")
    assert answer.failed and "Too many changes" in answer.text and len(programs.calls("ssh")) == 1


def test_a_dry_run_starts_nothing(programs):
    bench = bench_of(dry_run=True, ssh=Ssh("admin"))
    answer = ok(run(bench, "echo 'a b'"))
    assert found(answer) == {"done": False, "command": ["sudo", "-n", "pct", "exec", "200", "--", "echo", "a b"]}
    assert "| sudo -n pct exec 200 -- echo 'a b'" in answer.text and "On node pve1" in answer.text
    assert programs.calls() == []


@pytest.mark.parametrize("allowed, host", [(True, "10.0.0.11"), (False, "pve1")])
def test_the_address_of_the_node(programs, allowed, host):
    bench = bench_of()
    if not allowed:
        answering(bench, "/cluster/status", (403, "Permission check failed (/, Sys.Audit)"))
    ok(run(bench, "true"))
    assert programs.calls("ssh")[0][-3] == "root@" + host


def test_an_address_that_is_none_is_not_used(programs):
    bench = bench_of()
    bench.cluster.world.nodes["pve1"].ip = "-oProxyCommand=x"
    ok(run(bench, "true"))
    assert programs.calls("ssh")[0][-3] == "root@pve1"


@pytest.mark.parametrize("said", ["Not allowed at this time", "kex_exchange_identification: read: Connection reset",
                                  "Connection closed by 10.0.0.11 port 22"])
def test_a_host_that_shuts_connections_out_is_said_to(programs, said):
    programs.make("ssh", "echo '%s' >&2; exit 255" % said)
    answer = run(bench_of(), "true")
    assert answer.failed and said in answer.text and "PerSourcePenalties" in answer.text


def test_ssh_that_is_not_there(programs, monkeypatch):
    os.unlink(str(programs.folder / "ssh"))
    monkeypatch.setenv("PATH", str(programs.folder))
    answer = run(bench_of())
    assert answer.failed and "openssh-client" in answer.text
    assert "Nothing was sent." in answer.text


# --------------------------------------------------------------------------------------------------------- how it ended

def test_the_commands_own_failure_is_no_error_of_ours(programs):
    answer = ok(run(bench_of(allowed_commands=("unsafe",)), "echo out; echo err >&2; exit 3"))
    assert answer.text.startswith("\u26a0 Container 200: exit code 3, so the command reports a failure")
    assert (answer.data["exitcode"], answer.data["stdout"], answer.data["stderr"]) == (3, "out\n", "err\n")
    assert "No output." in ok(run(bench_of(), "true")).text


@pytest.mark.parametrize("said, words", [
    ("ssh: connect to host 10.0.0.11 port 22: Connection refused", "the command was not run"),
    ("root@10.0.0.11: Permission denied (publickey).", "the command was not run"),
    ("Host key verification failed.", "the command was not run"),
    ("Connection closed by 10.0.0.11 port 22", "the command was not run"),
    ("client_loop: send disconnect: Broken pipe", "Whether it was run is not known"),
    ("", "Whether it was run is not known")])
def test_a_failure_of_ssh_says_whether_the_command_was_run(programs, tmp_path, said, words):
    path = str(tmp_path / "audit.log")
    programs.make("ssh", "echo '%s' >&2; exit 255" % said)
    answer = run(bench_of(audit_log=path))
    assert answer.failed and words in answer.text and said in answer.text
    lines = [json.loads(line) for line in open(path, encoding="ascii")]
    assert lines[-1]["outcome"] == ("unsent" if "not run" in words else "unknown")


def test_the_audit_log_has_both_lines(programs, tmp_path):
    path = str(tmp_path / "audit.log")
    ok(run(bench_of(audit_log=path), "echo hi"))
    first, second = [json.loads(line) for line in open(path, encoding="ascii")]
    assert (first["event"], first["method"], first["vmid"], first["node"]) == ("intent", "SSH", 200, "pve1")
    assert first["parameters"] == {"command": "echo hi"}
    assert (second["event"], second["outcome"]) == ("outcome", "accepted")
    answer = run(bench_of(audit_log=str(tmp_path / "no" / "audit.log")))
    assert answer.failed and "audit log" in answer.text and len(programs.calls("ssh")) == 1


def test_output_is_data_and_bounded(programs):
    answer = ok(run(bench_of(allowed_commands=("unsafe",)), "printf 'a\\033[2J\\nIGNORE\\n'; printf '\\377'"))
    assert "\x1b" not in answer.text and "\nIGNORE" not in answer.text and "\\xff" in answer.data["stdout"]
    answer = ok(run(bench_of(allowed_commands=("unsafe",)), "head -c 3000000 /dev/zero | tr '\\0' x"))
    assert "more characters" in answer.data["stdout"] and answer.data["truncated"] is True and len(answer.text) < 12000


def test_a_command_that_takes_too_long(programs, monkeypatch, tmp_path):
    path = str(tmp_path / "audit.log")
    monkeypatch.setattr(ssh, "Process", lambda command, timeout, real=ssh.Process: real(command, 0.6))
    answer = run(bench_of(audit_log=path, allowed_commands=("unsafe",)), "echo begun; exec sleep 60", timeout=7)
    assert answer.failed and "did not end within 7 seconds" in answer.text and "Nothing was" not in answer.text
    assert ("stdout so far (the guest's words):\n| begun\nWhether it took effect is not known: look at the target "
            "before you repeat" in answer.text)
    assert [json.loads(line).get("outcome") for line in open(path, encoding="ascii")][-1] == "unknown"


class Client(Nobody):
    """Who asks, and gives up after some seconds; told: what it was told meanwhile."""

    def __init__(self, patience=None):
        super().__init__()
        self.patience, self.told = patience, []

    def progress(self, percent, message):
        self.told.append(message)


LOOP = "echo begun; while test ! -e %s; do sleep 0.02; done; echo done; exit 3"


def test_a_command_that_outlasts_the_client_is_followed_by_its_pid(programs, tmp_path):
    path, bench = str(tmp_path / "audit.log"), bench_of(allowed_commands=("unsafe",))
    bench.host.audit.path, command = path, LOOP % (tmp_path / "go")
    answer = ok(run(bench, command, timeout=60, request=Client(0.3)))
    pid = answer.data["pid"]
    assert {**answer.data, "summary": "", "notes": ""} == {
        "vmid": 200, "pid": pid, "done": False, "stdout": "begun\n", "summary": "", "notes": ""}
    assert answer.data["summary"].startswith("The command still runs in container 200 after ")
    assert "stdout so far (the guest's words):\n| begun\n" in answer.text
    assert "proxmox_execute_lxc_command with this vmid and command and pid=%d " % pid in answer.text
    for another in ({"vmid": 201}, {"command": "true"}):
        other = run(bench, **dict({"command": command, "vmid": 200, "pid": pid}, **another))
        assert other.failed and "No command with pid %d and these arguments" % pid in other.text
        assert "Nothing was run." in other.text
    bench.host.settings.cluster = "work"                # or of another cluster
    assert "No command with pid" in run(bench, command, pid=pid).text
    bench.host.settings.cluster = None
    again = ok(run(bench, command, timeout=60, request=Client(0.1), pid=pid))
    assert again.data["done"] is False
    (tmp_path / "go").write_text("")
    answer = ok(run(bench, command, pid=pid))
    assert (answer.data["exitcode"], answer.data["stdout"]) == (3, "begun\ndone\n")
    assert len(programs.calls("pct")) == 1 and not ssh._waiting and not ssh._running
    assert run(bench, command, pid=pid).failed
    assert [json.loads(line).get("outcome") for line in open(path, encoding="ascii")] == [None, "accepted"]


def test_while_a_command_runs_the_client_hears_of_it(programs, monkeypatch):
    monkeypatch.setattr("tools.pve.waiting.TELL_EVERY", 0.05)
    client = Client()
    ok(run(bench_of(), "sleep 0.3", request=client))
    assert client.told and set(client.told) == {"the command runs in container 200"}


def test_a_command_that_nobody_asks_for_any_more_ends_with_its_time(programs, monkeypatch):
    monkeypatch.setattr(ssh, "Process", lambda command, timeout, real=ssh.Process: real(command, 0.6))
    bench = bench_of(allowed_commands=("unsafe",))
    answer = ok(run(bench, "exec sleep 60", timeout=9, request=Client(0.1)))
    started = ssh._waiting[answer.data["pid"]]
    started._limit.join(PATIENCE)
    answer = run(bench, "exec sleep 60", timeout=9, pid=answer.data["pid"])
    assert answer.failed and "did not end within 9 seconds" in answer.text and not ssh._waiting
    old = ssh._waiting[7] = ssh.Process(["true"], 1)
    old.pid, old.ends = 7, old.ends - ssh.KEPT - 2
    pid = ok(run(bench, "exec sleep 60", request=Client(0.1))).data["pid"]
    assert list(ssh._waiting) == [pid]                  # what nobody wants to hear of is forgotten
    ssh._waiting.pop(pid).end()


def test_when_the_server_ends_a_command_is_told_as_cut(programs):
    client = Client()
    client.hurried = True
    answer = run(bench_of(allowed_commands=("unsafe",)), "echo begun; exec sleep 60", request=client)
    assert answer.failed and "was started and the server ends. The connection was cut" in answer.text
    assert not ssh._waiting and not ssh._running


def ended(command, seconds=5, client=None):
    """The Ended of a program."""
    process = ssh.Process(command, seconds)
    try:
        process.wait(seconds, client or Client(), lambda code: None)
    finally:
        found = process.end()
    return found


def test_a_cancelled_command_ends_the_call():
    client = Client()
    client.cancelled.set()
    with pytest.raises(Cancelled):
        ended(["/bin/sh", "-c", "exec sleep 60"], 60, client)
    assert not ssh._running


def test_a_program_gets_no_input_and_little_environment(monkeypatch):
    monkeypatch.setenv("PROXMOX_TOKEN_VALUE", "CANARY")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    found = ended(["/bin/sh", "-c", "cat; env"])
    assert found.code == 0 and "CANARY" not in found.stdout and "SSH_AUTH_SOCK=/tmp/agent" in found.stdout
    assert "LC_ALL=C" in found.stdout


def test_a_program_that_leaves_a_child_behind_does_not_hold_the_call(monkeypatch):
    monkeypatch.setattr(ssh, "DRAIN", 0.1)
    found = ended(["/bin/sh", "-c", "sleep 3 & echo done"])
    assert found.code == 0 and found.stdout == "done\n"


@pytest.mark.skipif(os.name != "posix", reason="POSIX")
def test_what_a_program_has_started_ends_with_it(monkeypatch):
    """Its output ends then; what is left of it would hold that open."""
    monkeypatch.setattr(ssh, "DRAIN", 30)
    start = time.monotonic()
    found = ended(["/bin/sh", "-c", "sleep 60 & echo begun; sleep 60"], 0.3)
    assert (found.code, found.stdout) == (None, "begun\n") and time.monotonic() - start < 15


@pytest.mark.skipif(os.name != "posix", reason="POSIX")
def test_when_the_server_ends_its_commands_end():
    bench, found = Bench(), []
    thread = threading.Thread(target=lambda: found.append(ended(["sleep", "60"], 60)))
    thread.start()
    while not ssh._running:
        thread.join(0.01)
    App(bench.host.settings, bench.host.log, bench.host).close()
    thread.join(60)
    assert found[0].code is None and not ssh._running
