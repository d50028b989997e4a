"""Commands in guests, whichever way they are run: what may be run, what the user is asked, and how its end is told."""
import shlex

from tools.base.answers import Facts, Result
from tools.base.failures import Failure
from tools.policy.guard import FORBIDDEN
from tools.pve import text
from tools.pve.text import Column

#: And what one kind of shell acts upon: a backslash is part of a path on Windows, where %NAME% is replaced, ^ quotes.
FORBIDDEN_UNIX, FORBIDDEN_WINDOWS = FORBIDDEN + "\\", FORBIDDEN + "%^"
LONGEST, LONGEST_SCRIPT = 1000, 32000                   # characters; pveproxy before 8.4 takes 64 KiB in a request
STDOUT, STDERR = 10000, 4000                            # characters shown

EXECUTED = Facts(Column("vmid", kind="int"), Column("pid", kind="int"), Column("status"),
                 Column("exitcode", kind="int"), Column("signal", kind="int"), Column("stdout"), Column("stderr"),
                 Column("truncated", kind="bool"))


# ---------------------------------------------------------------------------------------------------- what may be run

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
                      "it, one program with arguments can be run; with PROXMOX_ALLOW_UNSAFE_COMMANDS=true in the "
                      "server's environment, whole shell lines." % _spoken(bad))
    if len(command) > LONGEST:
        raise not_run("The command has %d characters, more than %d." % (len(command), LONGEST))


def not_run(reason):
    """The Failure to raise for a command that is not run."""
    return Failure(reason, "Command not run")


def _spoken(character):
    return {"\n": "a line break", "\r": "a line break"}.get(character) or (
        "a control character (U+%04X)" % ord(character) if ord(character) < 32 else 'the character "%s"' % character)


def confirm(call):
    """Ask the user before a command where PROXMOX_CONFIRM wants each to be asked for."""
    command = call.args.command
    whole = text.line(command, len(command) * 10)       # a character that is written out takes up to 10
    call.confirm(lambda: ("Run in %s on node %s this command of %s: %s" % (
        call.subject, call.node, text.plural(len(command), "character"), whole), {}), strict=True)


# ------------------------------------------------------------------------------------------------------ how it is told

def ended(call, code, stdout, stderr, cut="", **found):
    """The Result of a command that has ended. An exit code other than 0 is the command's own word: the call went well,
    a warning sign tells it. cut: the sentence about output that was lost; found: added to the data."""
    well, signal = code == 0, found.get("signal")
    if code is not None:
        how = "exit code %d%s" % (code, "" if well else ", so the command reports a failure")
    else:
        how = "was killed by signal %s" % signal if signal is not None else "ended, without an exit code"
    lines = ["%s: %s: %s" % (text.capital(call.subject), how, text.line(call.args.command, 200))]
    for name, said, most in (("stdout", stdout, STDOUT), ("stderr", stderr, STDERR)):
        if said:
            lines.append("%s (the guest's words):\n%s" % (name, text.quoted(said, most)))
    lines.extend(([] if stdout or stderr else ["No output."]) + ([cut] if cut else []))
    data = {"vmid": call.args.vmid, "status": "exited", "exitcode": code, "stdout": stdout[:STDOUT],
            "stderr": stderr[:STDERR], "truncated": bool(cut) or len(stdout) > STDOUT or len(stderr) > STDERR, **found}
    return Result("\n".join(lines), {key: value for key, value in data.items() if value is not None},
                  "\u2705" if well else "\u26a0")


# ----------------------------------------------------------------------------------------------------- the guest agent

AGENT = (
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


def ask_agent(call, command):
    """What a command of a VM's guest agent results in, "get-osinfo" say."""
    found = call.get("/nodes/{node}/qemu/{vmid}/agent/" + command)
    return found.get("result") if isinstance(found, dict) else None
