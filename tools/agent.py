"""Toolset: commands in VMs, run by the QEMU guest agent. Proxmox has no such call for containers.

How a command is sent, and why: qemu-ga answers a program that does not exist with typographic quotes that end the call
as 596 "Broken pipe" (seen on 9.2), so a shell is always what it starts; the command itself is handed over as that
shell's arguments (`exec "$@"`), which it does not interpret: a missing program is exit code 127, as in dash, bash and
busybox.
"""
import re
import shlex
from dataclasses import dataclass
from typing import Annotated

from tools.base.answers import Facts, Result
from tools.base.edit import explained, major
from tools.base.failures import Failure
from tools.base.row import ELEVATED, Guest, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.text import Column
from tools.pve.waiting import wait_for

#: What any shell would act upon; refused unless PROXMOX_ALLOW_UNSAFE_COMMANDS=true.
FORBIDDEN = ";&|`$(){}[]<>\n\r"
#: And what only one kind does: a backslash is part of a path on Windows, where %NAME% is replaced and ^ quotes.
FORBIDDEN_UNIX, FORBIDDEN_WINDOWS = FORBIDDEN + "\\", FORBIDDEN + "%^"
LONGEST, LONGEST_SCRIPT = 1000, 32000                   # characters; pveproxy before 8.4 takes 64 KiB in a request
PAUSES = (0.3, 0.45, 0.675, 1.0125, 1.519, 2.0)         # seconds between looks
STDOUT, STDERR = 10000, 4000                            # characters shown


@dataclass
class Execute(Guest):
    """Run a command in a VM (guest agent) and return its output."""
    command: Annotated[str, Arg(least=1, most=LONGEST_SCRIPT)] = REQUIRED
    type: Annotated[str, Arg(choices=("qemu", "lxc"))] = "qemu"
    timeout: Annotated[int, Arg(least=1, most=3600)] = 30


EXECUTED = Facts(Column("vmid", kind="int"), Column("pid", kind="int"), Column("status"),
                 Column("exitcode", kind="int"), Column("signal", kind="int"), Column("stdout"), Column("stderr"),
                 Column("truncated", kind="bool"))

HINTS = (
    (r"No QEMU guest agent configured",
     "Switch it on in the VM's options (agent=1), then shut the VM down and start it: a reboot from inside is not "
     "enough. Inside it, qemu-guest-agent must be installed."),
    (r"QEMU guest agent is not running",
     "Inside the VM: install qemu-guest-agent and start it (systemctl enable --now qemu-guest-agent; on Windows the "
     "guest tools of virtio-win). Right after a boot it may just not be up yet."),
    (r"VM \d+ is not running", "Start it first (proxmox_start_vm)."),
    (r"(?i)guest-exec['\"]?,? has been disabled|command is not allowed|blacklist|guest-exec has not been found",
     "The guest's agent forbids guest-exec. RHEL, Alma and Rocky do so by default: allow it inside the VM in "
     "/etc/sysconfig/qemu-ga (allow-rpcs, or take guest-exec out of the block list), then restart qemu-guest-agent."),
    (r"Broken pipe", "The guest has no /bin/sh (or cmd.exe on Windows) to run it with."),
    (r"got timeout", "The agent did not answer in time; whether the command was started is not known."),
)
_GONE = re.compile(r"(?i)parameter 'pid'|PID \d+ does not exist")


def execute(call):
    """Start the command and wait for its end. The result can be read once only: qemu-ga then forgets the pid."""
    args = call.args
    if args.type == "lxc":
        raise Failure("Proxmox has no call that runs a command in a container (type=lxc). Nothing was sent. What can "
                      "be done: proxmox_execute_lxc_command (by ssh to the node; it needs PROXMOX_SSH_ENABLED=true), "
                      "ssh into the container, or on its node, as root: pct exec %s -- COMMAND." % args.vmid,
                      "Command not run in container %s" % args.vmid)
    unsafe = call.host.settings.allow_unsafe_commands
    words = None if unsafe else split(args.command, FORBIDDEN)
    windows = on_windows(call)
    if words:
        plain(args.command, FORBIDDEN_WINDOWS if windows else FORBIDDEN_UNIX)
    params = parameters(args.command, words, windows)
    call.confirm(lambda: (running(call), {}), strict=True)
    if major(call) < 8:                                 # there one string that is split at NULs (format string-alist)
        params["command"] = "\0".join(params["command"])
    try:
        started = call.send(**params)
    except PveError as error:
        raise explained(error, HINTS) from None
    if call.planned:
        return None
    began, pid = call.host.clock(), started.get("pid") if isinstance(started, dict) else None
    if pid is None:
        raise Failure("Proxmox answered without the number of a process: whether the command runs is not known.")
    return _told(call, pid, _end(call, pid), call.host.clock() - began)


def running(call):
    """The question to the user before a command."""
    return "Run in %s on node %s: %s?" % (call.subject, call.node, text.line(call.args.command, 1000))


# ------------------------------------------------------------------------------------------------------ what is sent

def split(command, forbidden=FORBIDDEN_UNIX):
    """The words of a plain command (list of str); Failure names the first character that makes it more than that."""
    plain(command, forbidden)
    lexer = shlex.shlex(command, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise _not_run("The command cannot be split into words: %s." % error) from None
    if not words:
        raise _not_run("The command is empty.")
    return words


def plain(command, forbidden):
    """Failure for a command with one of the `forbidden` characters in it, or one that is too long."""
    bad = next((c for c in command if c in forbidden or ord(c) < 32 and c != "\t"), None)
    if bad is not None:
        raise _not_run("The command has %s in it, which a shell would act upon; that is refused by default. Without "
                       "it, one program with arguments can be run; with PROXMOX_ALLOW_UNSAFE_COMMANDS=true in the "
                       "server's environment, whole shell lines." % _spoken(bad))
    if len(command) > LONGEST:
        raise _not_run("The command has %d characters, more than %d." % (len(command), LONGEST))


def _not_run(reason):
    return Failure(reason + " Nothing was sent.", "Command not run")


def _spoken(character):
    return {"\n": "a line break", "\r": "a line break"}.get(character) or (
        "a control character (U+%04X)" % ord(character) if ord(character) < 32 else 'the character "%s"' % character)


def parameters(command, words, windows):
    """The parameters of agent/exec (dict). words: of a plain command; None: `command` is for a shell."""
    if windows:
        if not command.isascii():
            raise _not_run("Proxmox does not hand characters beyond ASCII to a Windows program unharmed.")
        return {"command": ["cmd.exe", "/c"] + (words or [command])}
    if command.isascii() and "" not in (words or ()):
        if words is None:
            return {"command": ["/bin/sh", "-c", command]}
        return {"command": ["/bin/sh", "-c", 'exec "$@"', "sh"] + words}
    # Only stdin arrives unharmed (QMPClient.pm encodes arguments as JSON without UTF-8; pveproxy drops an empty one).
    # It is base64-encoded from characters, so it has to be bytes that look like Latin-1 (API2/Qemu/Agent.pm).
    script = command if words is None else "exec " + " ".join(shlex.quote(word) for word in words)
    return {"command": ["/bin/sh", "-c", 'eval "$(cat)"'], "input-data": script.encode("utf-8").decode("latin-1")}


def on_windows(call):
    """Whether the VM runs Windows: the agent knows; where it may not say, the ostype in the config."""
    try:
        info = call.get("./agent/get-osinfo")
    except PveError as error:
        if error.status != 500 or not re.search(r"(?i)agent error|qga command", str(error)):
            raise explained(error, HINTS) from None
        return str(call.config().get("ostype", "")).startswith("w")
    result = info.get("result") if isinstance(info, dict) else None
    return isinstance(result, dict) and result.get("id") == "mswindows"


# --------------------------------------------------------------------------------------------------- what comes of it

def _end(call, pid):
    """The exec-status (dict) of a command that ended; at the end of the timeout that of one that still runs, or the
    PveError when that could not be read. Failure when the agent no longer tells."""
    def look():
        try:
            return call.get("./agent/exec-status", pid=pid)
        except PveError as error:
            if error.passing:                           # it could not be asked; the command goes on
                return error
            if _GONE.search(str(error)):
                raise Failure("The command was started (pid %s) and has ended, but its result is lost: the agent gives "
                              "it out once, and that answer did not arrive. Do not repeat it unseen." % pid) from None
            raise Failure("The command was started (pid %s), then the agent could no longer be asked: whether and how "
                          "it ended is not known.\n%s" % (pid, error)) from None
    return wait_for(look, _ended, call.args.timeout, call.sleep, call.host.clock,
                    lambda found: call.progress(None, "the command runs in %s" % call.subject), PAUSES)


def _ended(state):
    """Whether what `_end` found is the exec-status of a command that has ended."""
    return not isinstance(state, PveError) and on(state.get("exited"))


def _told(call, pid, state, seconds):
    """The Result. An exit code other than 0 is the command's own word: the call went well, a warning sign tells it."""
    data = {"vmid": call.args.vmid, "pid": pid}
    shown = text.line(call.args.command, 200)
    if not _ended(state):
        known = not isinstance(state, PveError)
        says = "The command still runs in %s" if known else "Not known whether the command has ended in %s"
        return Result("%s after %s (pid %s): %s\n%sIt was not stopped, and it shows its output only at its end. Do not "
                      "repeat it. Once it has ended, GET %s/agent/exec-status?pid=%s gives its result, once." % (
                          says % call.subject, text.duration(seconds), pid, shown,
                          "" if known else "It was started, then its state could not be read. ", call.base, pid),
                      dict(data, status="running" if known else "unknown"), "\u23f3")
    code, signal = state.get("exitcode"), state.get("signal")
    stdout, stderr = repaired(state.get("out-data")), repaired(state.get("err-data"))
    well = code is not None and int(code) == 0
    if code is not None:
        ended = "exit code %s%s" % (code, "" if well else ", so the command reports a failure")
    else:
        ended = "was killed by signal %s" % signal if signal is not None else "ended, without an exit code"
    lines = ["%s: %s: %s" % (call.subject, ended, shown)]
    lines.extend(output_lines(stdout, stderr))
    cut = bool(state.get("out-truncated") or state.get("err-truncated"))
    if cut:
        lines.append("The agent cut the output: it keeps at most 16 MiB.")
    data.update(status="exited", stdout=stdout[:STDOUT], stderr=stderr[:STDERR],
                truncated=cut or len(stdout) > STDOUT or len(stderr) > STDERR)
    data.update({key: int(value) for key, value in (("exitcode", code), ("signal", signal)) if value is not None})
    return Result("\n".join(lines), data, "\u2705" if well else "\u26a0")


def output_lines(stdout, stderr):
    """What a command in a guest wrote (str, str), as lines that are marked as the guest's."""
    lines = ["%s (the guest's words):\n%s" % (name, text.quoted(said, most))
             for name, said, most in (("stdout", stdout, STDOUT), ("stderr", stderr, STDERR)) if said]
    return lines or ["No output."]


def repaired(output):
    """Output of a guest as it was: Proxmox sends UTF-8 as if each byte were a character (API2/Qemu/Agent.pm)."""
    output = output or ""
    try:
        return output.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return output


TOOLS = {
    "proxmox_execute_vm_command":
        Tool("POST /nodes/{node}/qemu/{vmid}/agent/exec", ELEVATED, Execute, execute, EXECUTED, destroys=True),
}
