"""Toolset: commands in containers. Proxmox's API has none, so they go through OpenSSH and `pct exec` on the node.

Off unless PROXMOX_SSH_ENABLED=true. The only subprocess of the program: an argument list, no shell here, no password
ever asked (BatchMode), unknown host keys refused. Where this runs on the container's node itself, `pct` is called
directly.
"""
import base64
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Annotated

from tools.base.answers import Result
from tools.base.command import EXECUTED, LONGEST_SCRIPT, STDERR, STDOUT, confirm, decoded, ended, split
from tools.base.failures import EarlyResult, Failure, Refused
from tools.base.guest import is_on
from tools.base.row import ELEVATED, Guest, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import Cancelled, PveError
from tools.pve.waiting import wait_for

CONNECT_SECONDS = 8
#: Bytes that are read of each stream; the rest is thrown away while the command goes on.
MOST_OUTPUT = 1 << 20
LOOK, DRAIN = 0.1, 1.0                                  # seconds: between looks at a process; for its last output


@dataclass
class ExecuteLxc(Guest):
    """Run a command in a container (ssh to its node, pct exec) and return its output."""
    command: Annotated[str, Arg(min_length=1, max_length=LONGEST_SCRIPT)] = REQUIRED
    timeout: Annotated[int, Arg(minimum=1, maximum=3600)] = 30


def execute(call):
    """Check, then run; the command's own exit code is told, ssh's own failure is an error."""
    settings, args = call.host.settings, call.args
    if not settings.ssh_enabled:
        raise Refused("Set PROXMOX_SSH_ENABLED=true (and PROXMOX_SSH_USER, PROXMOX_SSH_KEY_PATH) in the server's "
                      "environment to allow it.",
                      "commands in containers are switched off: Proxmox's API has none, they go through ssh")
    words = ["/bin/sh", "-c", args.command] if settings.allow_unsafe_commands else split(args.command)
    status = call.get("/nodes/{node}/lxc/{vmid}/status/current")
    if not is_on(status):
        raise Failure("Container %s is %s; a command needs it running." % (
            args.vmid, status.get("status")))
    local = here(call.node)
    inner = ["pct", "exec", str(args.vmid), "--"] + words
    if not (_is_root() if local else settings.ssh_user == "root"):
        inner = ["sudo", "-n"] + inner                  # pct is for root only
    if settings.dry_run:
        raise EarlyResult(Result([
            "Dry run (PROXMOX_DRY_RUN): nothing was sent. On node %s would run:" % call.node,
            text.quoted(" ".join(map(shlex.quote, inner)))], {"done": False, "command": inner}))
    confirm(call)
    call.host.client.limiter.take(True)
    with tempfile.TemporaryDirectory(prefix="proxmox-mcp-") as folder:
        outer = [word.encode("utf-8") for word in inner] if local else through_ssh(
            settings, address(call), inner, folder)         # in UTF-8 whatever the locale is
        done = _noted(call, outer, not local)
    cut = "Of each stream only the first %s is kept." % text.size(MOST_OUTPUT) if done.cut else ""
    return ended(call, done.code, done.stdout, done.stderr, cut, done.odd)


def _noted(call, command, remote):
    """The Ended of a command, noted in the audit log before and after; Failure when it is not known to have ended."""
    audit = call.host.audit
    call.refuse_frozen()
    entry = audit.begin(call, "SSH", call.path("/nodes/{node}/lxc/{vmid}/exec"), {"command": call.args.command})
    outcome = "unknown"
    try:
        done = run(command, call.args.timeout, call.request.cancelled,
                   lambda code: call.progress(None, "the command runs in %s" % call.subject))
        if remote and done.code == 255:
            outcome = "unsent" if _NOT_RUN.search(done.stderr) else "unknown"
            raise Failure("The connection to node %s by ssh failed, %s:\n%s" % (
                call.node, "the command was not run" if outcome == "unsent" else
                "or the command itself ended with 255. Whether it was run is not known",
                text.quoted(done.stderr or "(it said nothing)", STDERR, end=True)) + (
                    "\n" + _PENALTY if _SHUT_OUT.search(done.stderr) else ""))
        if done.code is None:
            said = "".join("\n%s so far:\n%s" % (name, text.quoted(part, most, end=True)) for name, part, most in (
                ("stdout", done.stdout, STDOUT), ("stderr", done.stderr, STDERR)) if part)
            raise Failure("The command was started and did not end within %d seconds. The connection was cut; it may "
                          "go on in the container.%s" % (call.args.timeout, said))
        outcome = "accepted"
        return done
    except OSError as error:
        outcome = "unsent"
        raise Failure("The program %s cannot be started: %s." % (command[0], error.strerror or error)) from None
    finally:
        call.outcomes.append(outcome)
        audit.end(entry, outcome)


#: What ssh says when it never came to run the command (OpenSSH: ssh.c, sshconnect.c, sshconnect2.c, packet.c).
_NOT_RUN = re.compile(r"^ssh: |Permission denied \(|Host key verification failed|REMOTE HOST IDENTIFICATION"
                      r"|^kex_exchange|^Connection (?:closed|reset) by |^Unable to negotiate|^Bad configuration"
                      r"|command-line: line", re.MULTILINE)


#: And what it says when the host did not let it begin.
_SHUT_OUT = re.compile(r"Not allowed at this time|^kex_exchange_identification|^Connection (?:closed|reset) by ",
                       re.MULTILINE)


# ------------------------------------------------------------------------------------------------------------- the way

def here(node):
    """Whether this program runs on the node itself and `pct` is there."""
    return platform.node().split(".")[0] == node and shutil.which("pct") is not None


def _is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def address(call):
    """The node's address for ssh: its IP as /cluster/status knows it; else PROXMOX_HOST if there is but one node, else
    the node's name."""
    try:
        for row in call.get("/cluster/status") or []:
            if row.get("type") == "node" and row.get("name") == call.node and row.get("ip"):
                found = str(row["ip"])
                if re.fullmatch(r"[0-9A-Fa-f.:]+", found):
                    return found
    except PveError:
        pass                                            # it needs Sys.Audit on /
    nodes = call.get("/nodes") or []
    return call.host.settings.host[0][0] if len(nodes) == 1 else call.node


def through_ssh(settings, host, inner, folder):
    """The argument list of ssh. The remote side has a shell, so every word is quoted for it (OpenSSH joins them by
    blanks)."""
    ssh = shutil.which("ssh")
    if not ssh:
        raise Failure("There is no ssh here (package openssh-client).")
    command = [ssh, "-T", "-p", str(settings.ssh_port)]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ConnectTimeout=%d" % CONNECT_SECONDS,
                   "ClearAllForwardings=yes", "PermitLocalCommand=no", "LogLevel=ERROR"):
        command += ["-o", option]
    if settings.ssh_key_path:
        command += ["-i", settings.ssh_key_path, "-o", "IdentitiesOnly=yes"]
    if settings.ssh_host_key_fingerprint:
        known = os.path.join(folder, "known_hosts")
        with open(known, "w", encoding="ascii") as stream:
            stream.write(pinned_key(host, settings.ssh_port, settings.ssh_host_key_fingerprint))
        command += ["-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=" + os.devnull]
    return command + ["%s@%s" % (settings.ssh_user, host), "--", " ".join(map(shlex.quote, inner)).encode("utf-8")]


#: (host, port, fingerprint) -> the known_hosts line of the key that was found, so that each host is scanned once.
_pinned = {}
#: OpenSSH of Proxmox VE 9 shuts out an address that often connects without logging in, as each scan does.
_PENALTY = ("Connections are shut out for a while after many that did not log in (PerSourcePenalties of sshd, OpenSSH "
            "9.8 and newer): wait some minutes.")


def pinned_key(host, port, fingerprint):
    """The known_hosts line of the one key that has the fingerprint; Failure when the host shows none.

    One type of key is asked for after the other, the usual first: each is a connection without a login.
    """
    place = host, port, fingerprint
    scan = shutil.which("ssh-keyscan")
    if not scan:
        raise Failure("PROXMOX_SSH_HOST_KEY_FINGERPRINT needs ssh-keyscan (package openssh-client).")
    shown = []
    for kind in ("ed25519", "ecdsa", "rsa") if place not in _pinned else ():
        found = run([scan, "-T", str(CONNECT_SECONDS), "-t", kind, "-p", str(port), host], 2 * CONNECT_SECONDS, None)
        for line in found.stdout.splitlines():
            parts = line.split()
            if len(parts) != 3 or line.startswith("#"):
                continue
            try:
                key = base64.b64decode(parts[2], validate=True)
            except ValueError:
                continue
            shown.append("SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode("ascii").rstrip("="))
            if shown[-1] == fingerprint.rstrip("="):
                _pinned[place] = line + "\n"
        if place in _pinned or "SSH-" not in found.stdout + found.stderr:
            break                                       # whose greeting did not come shows no other key either
    if place not in _pinned:
        raise Failure("The host key of %s is not the one of PROXMOX_SSH_HOST_KEY_FINGERPRINT (%s); it shows %s.%s" % (
            host, fingerprint, ", ".join(dict.fromkeys(shown)) or "none", "" if shown else " " + _PENALTY))
    return _pinned[place]


# --------------------------------------------------------------------------------------------------------- the process

class Ended:
    """How a process ended: code (int; None when it was killed at the end of its time), stdout and stderr (bytes, kept
    as str), and whether they were cut, or `odd` (command.decoded)."""

    def __init__(self, code, stdout, stderr, cut):
        (self.stdout, odd), (self.stderr, also) = decoded(stdout), decoded(stderr)
        self.code, self.cut, self.odd = code, cut, odd or also


class _Reader(threading.Thread):
    """Reads a stream to its end and keeps the first MOST_OUTPUT bytes."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.kept, self.cut = stream, bytearray(), False
        self.start()

    def run(self):
        try:
            for chunk in iter(lambda: self.stream.read1(65536), b""):
                room = MOST_OUTPUT - len(self.kept)
                self.kept += chunk[:room]
                self.cut = self.cut or len(chunk) > room
        except (OSError, ValueError):                   # closed under its hands
            pass

    def read(self):
        """What was read so far (bytes)."""
        self.join(DRAIN)
        return bytes(self.kept)


def run(command, timeout, cancelled, report=None):
    """The Ended of the command (list of str) after at most `timeout` seconds; Cancelled when the Event is set (None:
    never). It gets no input, and of the environment only what ssh needs. report(None) is called while it runs."""
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "SSH_AUTH_SOCK") if key in os.environ}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=dict(environment, LC_ALL="C"), start_new_session=True)
    _running.add(process)
    out, err = _Reader(process.stdout), _Reader(process.stderr)
    code = None

    def sleep(seconds):
        if cancelled is not None and cancelled.is_set():
            raise Cancelled("cancelled by the client; the command may go on in the container")
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    try:
        code = wait_for(process.poll, lambda code: code is not None, timeout, sleep, time.monotonic, report, (LOOK,))
    finally:
        if code is None:
            _kill(process)
        _running.discard(process)
    return Ended(code, out.read(), err.read(), out.cut or err.cut)


_running = set()                # processes of `run`


def stop():
    """End whatever `run` has started: the server ends. Each command may go on in its container."""
    for process in list(_running):
        _kill(process)


def _kill(process):
    """End a process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, OSError):
        process.kill()
    process.wait()


TOOLS = {
    "proxmox_execute_lxc_command": Tool("POST /nodes/{node}/lxc/{vmid}/exec", ELEVATED, ExecuteLxc, execute, EXECUTED,
                                        destroys=True, needs=("/vms VM.Audit",)),
}
