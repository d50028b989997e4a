"""Files that the program keeps for itself, in PROXMOX_STATE_DIR: of this user only, and always written as a whole."""
import os
import stat
import time
from contextlib import contextmanager, suppress

try:
    import fcntl
except ImportError:             # not a Unix: one process a file then
    fcntl = None

MOST = 1 << 17                  # bytes that are read of a file
LOCK_TRIES, LOCK_PAUSE = 50, 0.1        # another process holds a file for a few milliseconds at most


class NotOurs(Exception):
    """A file or directory that others could have written or may read: str(error) says which, and what is to be done."""


def folder(path, private=True):
    """Make the directory `path` (mode 0700) where there is none; NotOurs unless it is this user's and nobody else may
    write into it, nor, where it is `private`, look into it. OSError."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    _check(path, os.lstat(path), stat.S_ISDIR, "a directory", 0o700 if private else 0o755)


def write(path, content, new=False):
    """Write a file, mode 0600, that is there as a whole or not at all; its directory is made where there is none.
    content: str or bytes. new: FileExistsError where there is such a file already, whoever was faster. OSError."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    half = "%s.%d" % (path, os.getpid())
    remove(half)                                        # left behind by a process that was killed
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
        (os.link if new else os.replace)(half, path)
    finally:
        remove(half)


def read(path, most=MOST, private=True):
    """The bytes of a file, as many as `most`. FileNotFoundError and other OSError; NotOurs unless it is a file of this
    user's that nobody else may write or, where it is `private`, read."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as stream:
        _check(path, os.fstat(handle), stat.S_ISREG, "a file", 0o600 if private else 0o644)
        return stream.read(most)


@contextmanager
def held(path, sleep=time.sleep):
    """The descriptor of a file (made where there is none, mode 0600) to read and to append to, while no other process
    holds it. OSError; BlockingIOError when one does not let go of it."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):
        flags |= getattr(os, name, 0)
    while True:
        handle = os.open(path, flags, 0o600)
        try:
            _lock(handle, sleep)
            if os.path.exists(path) and os.path.samefile(path, handle):
                yield handle
                return                                  # else another one was just put in its place
        finally:
            os.close(handle)                            # and the lock with it


def _lock(handle, sleep):
    for left in reversed(range(LOCK_TRIES if fcntl else 0)):
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            sleep(LOCK_PAUSE)


def append(handle, data):
    """Write all of `data` (bytes) with one write, or nothing. OSError."""
    size = os.fstat(handle).st_size
    if os.write(handle, data) != len(data):
        with suppress(OSError):                         # of a file that can only grow, what was written stays
            os.ftruncate(handle, size)
        raise OSError(28, "no space left on device")


def remove(path):
    """Remove a file, if it is there."""
    with suppress(OSError):
        os.unlink(path)


def lives(pid):
    """Whether there is a process of this number, as far as can be told."""
    try:
        if os.name == "posix":
            os.kill(int(pid) if int(pid) > 0 else None, 0)
    except (ValueError, TypeError, OverflowError, ProcessLookupError):
        return False
    except OSError:                                     # somebody else's
        pass
    return True


def _check(path, facts, kind, what, mode):
    """NotOurs unless it is of that kind, this user's, and open to others no further than `mode` says."""
    mine = os.name != "posix" or facts.st_uid == os.geteuid() and not facts.st_mode & 0o077 & ~mode
    if not kind(facts.st_mode) or not mine:
        raise NotOurs("%s must be %s that belongs to you%s (chmod %o)" % (
            path, what, " and that nobody else may write to" if mode & 0o077 else ", and to you alone", mode))
