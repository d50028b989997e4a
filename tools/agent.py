"""Toolset: commands in VMs, run by the QEMU guest agent. Proxmox has no such call for containers.

How a command is sent, and why: qemu-ga answers a program that does not exist with typographic quotes that end the call
as 596 "Broken pipe" (seen on 9.2), so a shell is always what it starts; the command itself is handed over as that
shell's arguments (`exec "$@"`), which it does not interpret: a missing program is exit code 127, as in dash, bash and
busybox.
"""
import re
import shlex
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, List

from tools.base.answers import Facts, Result, data_only
from tools.base.command import (EXECUTED, FORBIDDEN, FORBIDDEN_UNIX, FORBIDDEN_WINDOWS, LONGEST_SCRIPT, Command,
                                agent_said, confirm, decoded, ended, not_run, plain, running, split)
from tools.base.edit import before_8
from tools.base.failures import Failure
from tools.base.lists import who
from tools.base.row import ELEVATED, Tool
from tools.base.schema import REQUIRED, Arg
from tools.policy.settings import UNSAFE
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on

PAUSES = (0.3, 0.45, 0.675, 1.0125, 1.519, 2.0)         # seconds between looks


@dataclass
class Execute(Command):
    """Run a command in a VM (guest agent); no ; | > $ by default."""
    type: Annotated[str, Arg(enum=("qemu", "lxc"))] = "qemu"


@dataclass
class ExecuteEach:
    """Run one command in several VMs (guest agent) and containers (ssh)."""
    vmids: Annotated[List[str], Arg("or names", min_length=1, max_length=50)] = REQUIRED
    command: Annotated[str, Arg(min_length=1, max_length=LONGEST_SCRIPT)] = REQUIRED
    timeout: Annotated[int, Arg(minimum=1, maximum=3600)] = 30


_GONE = re.compile(r"(?i)parameter 'pid'|PID \w+ does not exist")


def execute(call):
    """Start the command and wait for its end, or only wait for one that was started before. The result can be read once
    only: qemu-ga then forgets the pid."""
    args = call.args
    if args.type == "lxc":
        raise Failure("Proxmox has no call that runs a command in a container (type=lxc). What can be "
                      "done: proxmox_execute_lxc_command (by ssh to the node; it needs PROXMOX_SSH), "
                      "ssh into the container, or on its node, as root: pct exec %s -- COMMAND." % args.vmid,
                      "Command not run in container %s" % args.vmid)
    if args.pid is not None:
        return _told(call, args.pid)
    unsafe = UNSAFE in call.host.settings.allowed_commands
    words = None if unsafe else split(args.command, FORBIDDEN)
    windows = on_windows(call)
    if words:
        plain(args.command, FORBIDDEN_WINDOWS if windows else FORBIDDEN_UNIX)
    params = parameters(args.command, words, windows)
    confirm(call)
    if before_8(call):                                  # there one string that is split at NULs (format string-alist)
        params["command"] = "\0".join(params["command"])
    started = call.send(params)
    if call.planned:
        return None
    pid = started.get("pid") if isinstance(started, dict) else None
    if pid is None:
        call.outcomes.append("unknown")
        raise Failure("Proxmox answered without a process id.")
    return _told(call, pid)


def parameters(command, words, windows):
    """The parameters of agent/exec (dict). words: of a plain command; None: `command` is for a shell."""
    if windows:
        if not command.isascii():
            raise not_run("Proxmox does not hand characters beyond ASCII to a Windows program unharmed.")
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
        result = agent_said(call.get("./agent/get-osinfo"))
    except PveError as error:
        if error.status != 500 or not re.search(r"(?i)agent error|qga command", str(error)):
            raise
        return str(call.get("./config").get("ostype", "")).startswith("w")
    return isinstance(result, dict) and result.get("id") == "mswindows"


def _end(call, pid):
    """The exec-status (dict) of a command that ended; at the end of the timeout that of one that still runs, or the
    PveError when that could not be read. Failure when the agent no longer tells."""
    def look():
        if call.request.hurried:                        # who asks on with another server is to get the result
            return PveError("The server ends.")
        try:
            return call.get("./agent/exec-status", pid=pid)
        except PveError as error:
            if error.passing:                           # it could not be asked; the command goes on
                return error
            if _GONE.search(str(error)):
                raise Failure("The command was started (pid %s) and has ended, but its result is lost: the agent gives "
                              "it out once, and that answer did not arrive. Look before you repeat it." % pid) from None
            raise Failure("The command was started (pid %s), then the agent stopped answering: whether and how it "
                          "ended is not known.\n%s" % (pid, error)) from None
    return call.wait_for(look, _ended, call.args.timeout, lambda found: "the command runs in %s" % call.subject, PAUSES)


def _ended(state):
    """Whether what `_end` found is the exec-status of a command that has ended."""
    return not isinstance(state, PveError) and on(state.get("exited"))


def _told(call, pid):
    """The Result of a command that was started, once it has ended or was waited for."""
    began, state = call.host.clock(), _end(call, pid)
    if _ended(state):
        cut = on(state.get("out-truncated")) or on(state.get("err-truncated"))
        code, signal = (text.normal("int", state.get(key)) for key in ("exitcode", "signal"))
        (stdout, odd), (stderr, also) = (decoded(raw(state.get(key))) for key in ("out-data", "err-data"))
        return ended(call, code, stdout, stderr, "The agent cut the output: it keeps at most 16 MiB." if cut else "",
                     odd or also, pid=pid, signal=signal)
    return running(call, pid, call.host.clock() - began, not isinstance(state, PveError))


def raw(output):
    """Output of a guest (bytes) as it was: Proxmox sends each byte as if it were a character (API2/Qemu/Agent.pm)."""
    output = output or ""
    try:
        return output.encode("latin-1")
    except UnicodeEncodeError:
        return output.encode("utf-8", "replace")


EACH = Facts(*data_only("any", "guests"), *data_only("int", "total"), *data_only("bool", "ok"))
_ONE = {"qemu": "proxmox_execute_vm_command", "lxc": "proxmox_execute_lxc_command"}


#: Consent to each command of a call that was asked for as a whole.
_AGREED = SimpleNamespace(ask=lambda call, describe: describe()[1])


def execute_in_guests(call):
    """Ask once, then call the tool for one guest for each of them: whatever that one refuses or says is its result."""
    args = call.args
    rows = [(vmid, call.entry(vmid) or {}) for vmid in args.vmids]
    for kind in sorted({row["type"] for _, row in rows if row}):
        call.refuse_option("vmids", _ONE[kind].partition("_")[2])
    whole = text.line(args.command, len(args.command) * 10)

    def describe():
        rows[:] = [(vmid, call.entry(vmid) or {}) for vmid in args.vmids]
        names = ", ".join(who(dict(row, vmid=vmid)) for vmid, row in rows)
        return "Run in %s: %s. This command of %s: %s" % (text.plural(len(rows), "guest"), names, text.plural(
            len(args.command), "character"), whole), {"guests": names}
    call.confirm(describe, strict=True)

    def run(one):
        vmid, row = one
        if not row:
            raise Failure("There is no guest %d, or the token may not see it." % vmid)
        call.outcomes.append("accepted")                # it may be, for all that is known when this call ends early
        return call.host.run(_ONE[row["type"]], {"vmid": vmid, "node": row["node"], "command": args.command,
                                                 "timeout": args.timeout}, call.request, _AGREED, call.forecast)
    told, room, answers = [], max(500, text.BUDGET // len(rows)), call.each(rows, run)
    if call.forecast is not None:
        call.planned.extend(request for answer in answers for request in getattr(answer, "planned", ()))
    if all(isinstance(answer, Exception) or answer.failed for answer in answers):
        raise Failure("\n".join(text.cut(getattr(answer, "text", None) or str(answer), room) for answer in answers))
    for (vmid, row), answer in zip(rows, answers):
        went = not isinstance(answer, Exception)
        said = text.cut(answer.text if went else "\u274c " + str(answer), room)
        data = text.smaller(answer.data, room) if went and answer.data else {"problem": said}
        how = answer.outcome if went else "failed"
        told.append((said, how == "done", {"vmid": vmid, "outcome": how, **data}))
    well = sum(good for _, good, _ in told)
    how = "nothing was sent, this is a dry run" if call.dry else "it went well in %d of %s" % (
        well, text.plural(len(told), "guest"))
    return Result(["%s: %s." % (text.line(args.command, 200), how),
                   *(text.Shown(said) for said, _, _ in told)],
                  {"guests": [data for _, _, data in told], "total": len(told), "ok": well == len(told)},
                  "\u2705" if well == len(told) else "\u26a0")


TOOLS = {
    "proxmox_execute_in_guests":
        Tool("POST /nodes/{node}/qemu/{vmid}/agent/exec", ELEVATED, ExecuteEach, execute_in_guests, EACH,
             destroys=True),
    "proxmox_execute_vm_command":
        Tool("POST /nodes/{node}/qemu/{vmid}/agent/exec", ELEVATED, Execute, execute, EXECUTED, destroys=True,
             explains=((r"Broken pipe", "The guest has no /bin/sh (or cmd.exe on Windows) to run it with."),)),
}
