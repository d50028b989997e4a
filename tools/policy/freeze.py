"""The freeze: while there is a file `frozen` in PROXMOX_STATE_DIR, no server of that directory changes anything.

Its first line is the time, its second the reason. What is there in its place and cannot be read freezes as well.
"""
import os
import time
from contextlib import suppress

from tools.policy.selection import Refusal
from tools.pve import state, text

FILE = "frozen"


def since(state_dir):
    """"since TIME: REASON" while changes are frozen, else None."""
    path = os.path.join(state_dir, FILE)
    try:
        when, _, reason = state.read(path).decode("utf-8", "replace").partition("\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, state.NotOurs):
        when = reason = ""
    return "since %s%s" % (text.line(when, 40) if when.strip() else "an unknown time (see %s)" % path,
                           ": " + text.line(reason, 500) if reason.strip() else "")


def refusal(state_dir, what):
    """The Refusal of `what`, a change, while changes are frozen, else None. state_dir may be None."""
    frozen = since(state_dir) if state_dir else None
    return None if frozen is None else Refusal(
        "%s, and changes are frozen" % what,
        "They are frozen %s\nThe user can lift this with `proxmox-mcp thaw`." % frozen)


def freeze(state_dir, reason):
    """Freeze all changes; False when they were frozen already. OSError."""
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    try:
        handle = os.open(os.path.join(state_dir, FILE), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with suppress(OSError), os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
        stream.write("%s\n%s\n" % (time.strftime("%Y-%m-%d %H:%M:%S %z"), reason))     # on a full disk it freezes, too
    return True


def thaw(state_dir):
    """Allow changes again. FileNotFoundError when they were not frozen; OSError."""
    os.unlink(os.path.join(state_dir, FILE))
