"""Toolset: commands in containers. Proxmox's API has none for that, so they go through OpenSSH and `pct exec` on the node.

Off unless PROXMOX_SSH_ENABLED=true. The only subprocess of the program: an argument list, no shell here, no password ever
asked (BatchMode), unknown host keys refused. Where this runs on the container's node itself, `pct` is called directly.
"""
import base64
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile

from tools.agent import LONGEST_SCRIPT, STDERR, STDOUT, split
from tools.kit import (ELEVATED, REQUIRED, Annotated, Arg, Column, Facts, Failure, Guest, Instead, PveError, Refused, Result,
                       Tool, dataclass, text)

CONNECT_SECONDS = 8
#: Bytes that are read of each stream; the rest is thrown away while the command goes on.
MOST_OUTPUT = 1 << 20


@dataclass
class ExecuteLxc(Guest):
    """Run a command in a container (ssh to its node, pct exec) and return its output."""
    command: Annotated[str, Arg(least=1, most=LONGEST_SCRIPT)] = REQUIRED
    timeout: Annotated[int, Arg(least=1, most=3600)] = 30


EXECUTED = Facts(Column("vmid", kind="int"), Column("status"), Column("exitcode", kind="int"), Column("stdout"), Column("stderr"))


def execute(call):
    """Check, then run; the command's own exit code is told, ssh's own failure is an error."""
    settings, args = call.host.settings, call.args
    if not settings.ssh_enabled:
        raise Refused("Set PROXMOX_SSH_ENABLED=true (and PROXMOX_SSH_USER, PROXMOX_SSH_KEY_PATH) in the server's environment to allow it. "
                      "Nothing was sent.", "commands in containers are switched off: Proxmox's API has none, they go through ssh")
    words = ["/bin/sh", "-c", args.command] if settings.allow_unsafe_commands else split(args.command)
    status = call.get("/nodes/{node}/lxc/{vmid}/status/current")
    if status.get("status") != "running":
        raise Failure("Container %s is %s; a command needs it running. Nothing was sent." % (args.vmid, status.get("status")))
    inner = ["pct", "exec", str(args.vmid), "--"] + words
    if settings.dry_run:
        raise Instead(Result("Dry run (PROXMOX_DRY_RUN): nothing was sent. On node %s would run:\n%s" % (
            call.node, text.quoted(" ".join(map(shlex.quote, inner)))), {"status": "dry-run", "command": inner}))
    with tempfile.TemporaryDirectory(prefix="proxmox-mcp-") as folder:
        outer = inner if here(call.node) else through_ssh(settings, address(call), inner, folder)
        entry = call.host.audit.begin(call, "SSH", call.path("/nodes/{node}/lxc/{vmid}/exec"), {"command": args.command})
        try:
            code, stdout, stderr = run(outer, args.timeout, call.request.cancelled)
        except (OSError, Failure) as error:
            call.host.audit.end(entry, "unknown", error=str(error))
            raise Failure(str(error)) from None
        call.host.audit.end(entry, "accepted")
    if outer is not inner and code == 255:
        raise Failure("ssh to the node failed, the command was not run:\n%s" % text.quoted(stderr or "(it said nothing)", STDERR, end=True))
    return told(call, code, stdout, stderr)


def here(node):
    """Whether this program runs on the node itself and `pct` is there."""
    return platform.node().split(".")[0] == node and shutil.which("pct") is not None


def address(call):
    """The node's address for ssh: its IP as /cluster/status knows it, else the only host of PROXMOX_HOST."""
    try:
        for row in call.get("/cluster/status"):
            if row.get("type") == "node" and row.get("name") == call.node and row.get("ip"):
                return str(row["ip"])
    except PveError:
        pass
    return call.host.settings.host[0][0]


def through_ssh(settings, host, inner, folder):
    """The argument list of ssh. The remote side has a shell, so every word is quoted for it (OpenSSH joins them by blanks)."""
    ssh = shutil.which("ssh")
    if not ssh:
        raise Failure("There is no ssh here (package openssh-client). Nothing was sent.")
    command = [ssh, "-T", "-p", str(settings.ssh_port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
               "-o", "ConnectTimeout=%d" % CONNECT_SECONDS, "-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"]
    if settings.ssh_key_path:
        command += ["-i", settings.ssh_key_path, "-o", "IdentitiesOnly=yes"]
    if settings.ssh_host_key_fingerprint:
        known = os.path.join(folder, "known_hosts")
        with open(known, "w", encoding="ascii") as stream:
            stream.write(pinned_key(host, settings.ssh_port, settings.ssh_host_key_fingerprint))
        command += ["-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=" + os.devnull]
    return command + ["%s@%s" % (settings.ssh_user, host), "--", " ".join(map(shlex.quote, inner))]


def pinned_key(host, port, fingerprint):
    """The known_hosts line of the one key that has the fingerprint; Failure when the host shows none."""
    scan = shutil.which("ssh-keyscan")
    if not scan:
        raise Failure("PROXMOX_SSH_HOST_KEY_FINGERPRINT needs ssh-keyscan (package openssh-client). Nothing was sent.")
    found = subprocess.run([scan, "-T", str(CONNECT_SECONDS), "-p", str(port), host], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=4 * CONNECT_SECONDS).stdout.decode("ascii", "replace")
    shown = []
    for line in found.splitlines():
        parts = line.split()
        if len(parts) == 3 and not line.startswith("#"):
            digest = base64.b64encode(hashlib.sha256(base64.b64decode(parts[2])).digest()).decode().rstrip("=")
            shown.append("SHA256:" + digest)
            if shown[-1] == fingerprint.rstrip("="):
                return line + "\n"
    raise Failure("The node's host key is not the one of PROXMOX_SSH_HOST_KEY_FINGERPRINT (%s); it shows %s. Nothing was sent." % (
        fingerprint, ", ".join(shown) or "none"))


def run(command, timeout, cancelled):
    """(exit code, stdout, stderr) of the command; Failure when it does not end in `timeout` seconds or the client cancels."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C"})
    import threading
    kept = {}

    def read(name, stream):
        parts, size = [], 0
        for chunk in iter(lambda: stream.read1(65536), b""):
            if size < MOST_OUTPUT:
                parts.append(chunk)
                size += len(chunk)
        kept[name] = b"".join(parts)[:MOST_OUTPUT].decode("utf-8", "replace")
    readers = [threading.Thread(target=read, args=pair, daemon=True) for pair in (("out", process.stdout), ("err", process.stderr))]
    for reader in readers:
        reader.start()
    left = float(timeout)
    while True:
        try:
            process.wait(min(0.2, max(left, 0.01)))
            break
        except subprocess.TimeoutExpired:
            left -= 0.2
            if left <= 0 or cancelled.is_set():
                process.kill()
                process.wait()
                raise Failure("The command was started and did not end within %d seconds. The connection was cut; it may go on in the "
                              "container. Do not repeat it unseen." % timeout) from None
    for reader in readers:
        reader.join(2)
    return process.returncode, kept.get("out", ""), kept.get("err", "")


def told(call, code, stdout, stderr):
    """The Result: the exit code and what the container said."""
    lines = ["Container %s: exit code %d%s: %s" % (call.args.vmid, code, "" if code == 0 else ", so the command reports a failure",
                                                   text.line(call.args.command, 200))]
    for name, said, most in (("stdout", stdout, STDOUT), ("stderr", stderr, STDERR)):
        if said:
            lines.append("%s (the guest's words):\n%s" % (name, text.quoted(said, most)))
    if not stdout and not stderr:
        lines.append("No output.")
    return Result("\n".join(lines), {"vmid": call.args.vmid, "status": "exited", "exitcode": code, "stdout": stdout[:STDOUT],
                                     "stderr": stderr[:STDERR]}, "\u2705" if code == 0 else "\u26a0")


TOOLS = {
    "proxmox_execute_lxc_command": Tool("POST /nodes/{node}/lxc/{vmid}/exec", ELEVATED, ExecuteLxc, execute, EXECUTED, destroys=True),
}
