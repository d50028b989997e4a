"""Commands in guests, whichever way they are run: what may be run, what the user is asked, and how its end is told."""
import shlex
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Facts, Result
from tools.base.failures import Failure
from tools.base.row import Guest
from tools.base.schema import REQUIRED, Arg
from tools.policy.guard import FORBIDDEN
from tools.pve import text
from tools.pve.text import Column

#: And what one kind of shell acts upon: a backslash is part of a path on Windows, where %NAME% is replaced, ^ quotes.
FORBIDDEN_UNIX, FORBIDDEN_WINDOWS = FORBIDDEN + "\\", FORBIDDEN + "%^"
LONGEST, LONGEST_SCRIPT = 1000, 32000                   # characters; pveproxy before 8.4 takes 64 KiB in a request
STDOUT, STDERR = 10000, 4000                            # characters shown

EXECUTED = Facts(Column("vmid", kind="int"), Column("pid", kind="int"), Column("done", kind="bool"),
                 Column("exitcode", kind="int"), Column("signal", kind="int"), Column("stdout"), Column("stderr"),
                 Column("truncated", kind="bool"))


def split(command, forbidden=FORBIDDEN_UNIX):
    """The words of a plain command (list of str); Failure names the first character that makes it more than that."""
    plain(command, forbidden)
    lexer = shlex.shlex(command, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise not_run("The command cannot be split into words: %s." % error) from None
    if not words:
        raise not_run("The command is empty.")
    return words


def plain(command, forbidden):
    """Failure for a command with one of the `forbidden` characters in it, or one that is too long."""
    bad = next((c for c in command if c in forbidden or ord(c) < 32 and c != "\t"), None)
    if bad is not None:
        raise not_run("The command has %s in it, which a shell would act upon; that is refused by default. Without "
                      "it, one program with arguments can be run; with the word unsafe in "
                      "PROXMOX_ALLOWED_COMMANDS, in the server's environment, whole shell lines." % (
                          "a line break" if bad in "\r\n" else "a control character (U+%04X)" % ord(bad) if bad < " "
                          else 'the character "%s"' % bad))
    if len(command) > LONGEST:
        raise not_run("The command has %d characters, more than %d." % (len(command), LONGEST))


def not_run(reason):
    return Failure(reason, "Command not run")


@dataclass
class Command(Guest):
    """(a command in one guest; with the pid of one that still runs, as `running` tells it, nothing is run and it is
    waited for)"""
    command: Annotated[str, Arg(min_length=1, max_length=LONGEST_SCRIPT)] = REQUIRED
    timeout: Annotated[int, Arg(minimum=1, maximum=3600)] = 30
    pid: Annotated[Optional[int], Arg(minimum=1)] = None


def confirm(call):
    """Ask the user before a command where PROXMOX_CONFIRM wants each to be asked for."""
    command = call.args.command
    whole = text.line(command, len(command) * 10)       # a character that is written out takes up to 10
    call.confirm(lambda: ("Run in %s on node %s this command of %s: %s" % (
        call.subject, call.node, text.plural(len(command), "character"), whole), {}), strict=True)


def decoded(output):
    """(text, whether some of it is no UTF-8, which is written as \\xNN) of what a command printed (bytes): a Windows
    console has an encoding of its own, and may say so by the mark of UTF-16."""
    if output[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return output.decode("utf-16", "backslashreplace"), False
    try:
        return output.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return output.decode("utf-8-sig", "backslashreplace"), True


def ended(call, code, stdout, stderr, cut="", odd=False, **found):
    """The Result of a command that has ended; an exit code other than 0 is its own word, and no failure of the call.
    cut: the sentence about output that was lost; odd: as `decoded` says; found: added to the data."""
    well, signal = code == 0, found.get("signal")
    if code is not None:
        how = "exit code %d%s" % (code, "" if well else ", so the command reports a failure")
    else:
        how = "was killed by signal %s" % signal if signal is not None else "ended, without an exit code"
    data = {"vmid": call.args.vmid, "done": True, "exitcode": code, "stdout": text.cut(stdout, STDOUT),
            "stderr": text.cut(stderr, STDERR), "truncated": bool(cut) or len(stdout) > STDOUT or len(stderr) > STDERR,
            **found}
    return Result(["%s: %s: %s" % (text.capital(call.subject), how, text.line(call.args.command, 200)),
                   *output(stdout, stderr), None if stdout or stderr else "No output.", cut,
                   "It is not all UTF-8: \\xNN stands for a byte of another encoding." if odd else None],
                  {key: value for key, value in data.items() if value is not None}, "\u2705" if well else "\u26a0")


def running(call, pid, seconds, known=True, stdout="", stderr=""):
    """The Result of a command that was not seen to end in so many seconds; known: whether it is known to run still."""
    says = "The command still runs in %s" if known else "Not known whether the command has ended in %s"
    data = {"vmid": call.args.vmid, "pid": pid, "done": False, "stdout": text.cut(stdout, STDOUT),
            "stderr": text.cut(stderr, STDERR)}
    return Result(["%s after %s (pid %s): %s" % (
        says % call.subject, text.duration(seconds), pid, text.line(call.args.command, 200)),
        *output(stdout, stderr, " so far"), None if known else "It was started, then its state could not be read.",
        "It was not stopped. Do not run it again: %s with this vmid and command and pid=%s runs nothing and waits for "
        "its result." % (call.name, pid)], {key: value for key, value in data.items() if value != ""}, "\u23f3")


def output(stdout, stderr, when=""):
    """What a command said, as parts of a Result."""
    for name, said, most in (("stdout", stdout, STDOUT), ("stderr", stderr, STDERR)):
        if said:
            yield text.Shown("%s%s (the guest's words):\n%s" % (name, when, text.quoted(said, most)))


def agent_said(found):
    """The result in what a command of a VM's guest agent was answered with; of a list the entries that are objects."""
    found = found.get("result") if isinstance(found, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else found
