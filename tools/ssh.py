"""Toolset: commands in containers. Proxmox's API has none, so they go through OpenSSH and `pct exec` on the node.

Off unless PROXMOX_SSH is set. The only subprocess of the program: an argument list, no shell here, no password
ever asked (BatchMode), unknown host keys refused. Where this runs on the container's node itself, `pct` is called
directly.
"""
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import namedtuple

from tools.base.answers import Result
from tools.base.command import EXECUTED, STDERR, Command, confirm, decoded, ended, output, running, split
from tools.base.failures import EarlyResult, Failure, Refused
from tools.base.guest import is_on
from tools.base.row import ELEVATED, Tool
from tools.policy.settings import UNSAFE
from tools.pve import text
from tools.pve.client import Cancelled
from tools.pve.waiting import wait_for

CONNECT_SECONDS = 8
#: Bytes that are read of each stream; the rest is thrown away while the command goes on.
MOST_OUTPUT = 1 << 20
LOOK, DRAIN = 0.1, 1.0                                  # seconds: between looks at a process; for its last output


def execute(call):
    """Check, then run; the command's own exit code is told, ssh's own failure is an error. With `pid` only wait for one
    that was started before."""
    settings, args = call.host.settings, call.args
    if not settings.ssh:
        raise Refused("Set PROXMOX_SSH (to root@, say) in the server's environment to allow it.",
                      "commands in containers are switched off: Proxmox's API has none, they go through ssh")
    if args.pid is not None:
        return _told(call, _taken(call))
    words = ["/bin/sh", "-c", args.command] if UNSAFE in settings.allowed_commands else split(args.command)
    status = call.get("/nodes/{node}/lxc/{vmid}/status/current")
    if not is_on(status):
        raise Failure("Container %s is %s; a command needs it running (proxmox_start_lxc starts it)." % (
            args.vmid, status.get("status")))
    local = here(call.node) and not call.host.settings.cluster      # of several, another may have such a node too
    inner = ["pct", "exec", str(args.vmid), "--"] + words
    if not (_is_root() if local else settings.ssh.user == "root"):
        inner = ["sudo", "-n"] + inner                  # pct is for root only
    confirm(call)
    if call.dry:
        raise EarlyResult(Result([
            "Dry run: nothing was sent. On node %s would run:" % call.node,
            text.quoted(" ".join(map(shlex.quote, inner)))], {"done": False, "command": inner}))
    call.host.client.limiter.take(True)
    outer = [word.encode("utf-8") for word in (inner if local else through_ssh(call, inner))]   # whatever the locale is
    call.refuse_frozen()
    asked = "SSH", call.path("/nodes/{node}/lxc/{vmid}/exec"), {"command": args.command}
    entry = call.host.audit.begin(call, *asked)
    if call.changes is not None:
        call.changes.before(*asked)
        call.changes.sent("unknown", None)
    try:
        started = Process(outer, args.timeout)
    except OSError as error:
        call.outcomes.append("unsent")
        call.host.audit.end(entry, "unsent")
        raise Failure("The program %s cannot be started: %s." % (
            os.fsdecode(outer[0]), error.strerror or error)) from None
    started.about, started.remote = (call.host.settings.cluster, args.vmid, args.command), not local
    return _told(call, started, entry)


#: pid -> Process of the commands that still ran when their call was answered; kept so many seconds after their time.
_waiting, KEPT = {}, 600


def _taken(call):
    """The Process that the call wants to wait on for; Failure when it is not there."""
    args = call.args
    started = _waiting.get(args.pid)
    if started is None or started.about != (
            call.host.settings.cluster, args.vmid, args.command) or _waiting.pop(args.pid, None) is None:
        raise Failure("No command with pid %d and these arguments is waited for here: its result was told already, or "
                      "another process of this server started it. Nothing was run." % args.pid)
    return started


def _told(call, started, entry=None):
    """The Result of a command, once it has ended or the client's patience has; Failure when it is not known to have
    ended. entry: what the audit log wants to hear of."""
    outcome, began, settled = "unknown", time.monotonic(), False
    try:
        over = started.wait(call.within(started.ends - began), call.request,
                            lambda code: call.progress(None, "the command runs in %s" % call.subject))
        if not over and time.monotonic() < started.ends and not call.request.hurried:
            for old in [one for one in list(_waiting.values()) if one.ends + KEPT < began]:
                _waiting.pop(old.pid).end()
            outcome, settled, _waiting[started.pid] = "accepted", True, started
            done = started.kept()
            return running(call, started.pid, time.monotonic() - began, True, done.stdout, done.stderr)
        done = started.end()
        if started.remote and done.code == 255:
            outcome = "unsent" if _NOT_RUN.search(done.stderr) else "unknown"
            raise Failure("The connection to node %s by ssh failed, %s:\n%s" % (
                call.node, "the command was not run" if outcome == "unsent" else
                "or the command itself ended with 255. Whether it was run is not known",
                text.quoted(done.stderr or "(it said nothing)", STDERR, end=True)) + (
                    "\n" + _PENALTY if _SHUT_OUT.search(done.stderr) else ""))
        if done.code is None:
            raise Failure("\n".join([
                "The command was started and %s. The connection was cut; it may go on in the container." % (
                    "the server ends" if call.request.hurried else "did not end within %d seconds" % call.args.timeout),
                *output(done.stdout, done.stderr, " so far")]))
        outcome = "accepted"
        return ended(call, done.code, done.stdout, done.stderr,
                     "Of each stream only the first %s is kept." % text.size(MOST_OUTPUT) if done.cut else "", done.odd)
    finally:
        if not settled:
            started.end()
        call.outcomes.append(outcome)
        call.host.audit.end(entry, outcome)


#: What ssh says when it never came to run the command (OpenSSH: ssh.c, sshconnect.c, sshconnect2.c, packet.c).
_NOT_RUN = re.compile(r"^ssh: |Permission denied \(|Host key verification failed|REMOTE HOST IDENTIFICATION"
                      r"|^kex_exchange|^Connection (?:closed|reset) by |^Unable to negotiate|^Bad configuration"
                      r"|command-line: line", re.MULTILINE)


#: What it says when the host did not let it begin, and why that may be.
_SHUT_OUT = re.compile(r"Not allowed at this time|^kex_exchange_identification|^Connection (?:closed|reset) by ",
                       re.MULTILINE)
_PENALTY = ("Connections are shut out for a while after many that did not log in (PerSourcePenalties of sshd, OpenSSH "
            "9.8 and newer): wait some minutes.")


def here(node):
    """Whether this program runs on the node itself and `pct` is there."""
    return platform.node().split(".")[0] == node and shutil.which("pct") is not None


def _is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def address(call):
    """The node's address for ssh: its IP as /cluster/status knows it, else the node's name."""
    for row in call.try_get("/cluster/status") or ():      # it needs Sys.Audit on /
        if (row.get("type"), row.get("name")) == ("node", call.node) and re.fullmatch(
                "[0-9A-Fa-f.:]+", str(row.get("ip"))):
            return row["ip"]
    if call.host.settings.cluster:
        raise Failure("The address of node %s is not known (GET /cluster/status, which needs Sys.Audit on /), and with "
                      "several clusters its name may be another cluster's." % call.node)
    return call.node


def through_ssh(call, inner):
    """The argument list of ssh. The remote side has a shell, so every word is quoted for it (OpenSSH joins them by
    blanks)."""
    user, port, key = call.host.settings.ssh
    ssh = shutil.which("ssh")
    if not ssh:
        raise Failure("There is no ssh here (package openssh-client).")
    command = [ssh, "-T", "-p", str(port)]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=%d" % CONNECT_SECONDS,
                   "ClearAllForwardings=yes", "PermitLocalCommand=no", "LogLevel=ERROR"):
        command += ["-o", option]
    if key:
        command += ["-i", key, "-o", "IdentitiesOnly=yes"]
    return command + ["%s@%s" % (user, address(call)), "--", " ".join(map(shlex.quote, inner))]


#: How a process ended: code (int; None when it was killed at the end of its time), stdout and stderr (str), whether
#: they were cut, or `odd` (command.decoded).
Ended = namedtuple("Ended", "code stdout stderr cut odd")


class Process:
    """A program (list of str or bytes) that runs for at most `timeout` seconds, until `ends` (time.monotonic), even if
    nobody waits for it. It gets no input, and of the environment only what ssh needs. Of what it says the first
    MOST_OUTPUT bytes of each stream are kept.
    """

    def __init__(self, command, timeout):
        environment = {key: os.environ[key] for key in ("PATH", "HOME", "SSH_AUTH_SOCK") if key in os.environ}
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(environment, LC_ALL="C"), start_new_session=True)
        self.pid, self.ends, self._killed = self._process.pid, time.monotonic() + timeout, False
        self._said, self._cut = (bytearray(), bytearray()), False
        self._readers = [threading.Thread(target=self._read, args=streams, daemon=True) for streams in zip(
            (self._process.stdout, self._process.stderr), self._said)]
        self._limit = threading.Timer(timeout, self.kill)
        self._limit.daemon = True
        for thread in (*self._readers, self._limit):
            thread.start()
        _running.add(self)

    def _read(self, stream, kept):
        for chunk in iter(lambda: stream.read1(65536), b""):
            room = MOST_OUTPUT - len(kept)
            kept += chunk[:room]
            self._cut = self._cut or len(chunk) > room

    def wait(self, seconds, request, report):
        """Whether it has ended within so many seconds, or when the server ends; Cancelled when the client cancelled the
        request. report(None) is called while it runs."""
        def sleep(pause):
            if request.cancelled.is_set():
                raise Cancelled("cancelled by the client; the command may go on in the container")
            try:
                self._process.wait(pause)
            except subprocess.TimeoutExpired:
                pass
            return request.hurried
        return wait_for(self._process.poll, lambda code: code is not None, seconds, sleep, time.monotonic, report,
                        (LOOK,)) is not None

    def kept(self, code=None, seconds=0.0):
        """The Ended of what it has said until now; the end of that is waited for so many seconds."""
        for reader in self._readers:
            reader.join(seconds)
        (stdout, odd), (stderr, also) = map(decoded, map(bytes, self._said))
        return Ended(code, stdout, stderr, self._cut, odd or also)

    def end(self):
        """The Ended of it; it is killed if it runs."""
        self.kill()
        self._limit.cancel()
        _running.discard(self)
        return self.kept(None if self._killed else self._process.returncode, DRAIN)

    def kill(self):
        """End it and what it started, if it runs."""
        if self._process.poll() is not None:
            return
        self._killed = True
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (AttributeError, OSError):
            self._process.kill()
        self._process.wait()


_running = set()                # Processes


def stop():
    """End whatever runs: the server ends. Each command may go on in its container."""
    for process in list(_running):
        process.kill()


TOOLS = {
    "proxmox_execute_lxc_command": Tool("POST /nodes/{node}/lxc/{vmid}/exec", ELEVATED, Command, execute, EXECUTED,
                                        about="Run a command in a container (ssh to its node, pct exec).",
                                        destroys=True, needs=("/vms VM.Audit",)),
}
