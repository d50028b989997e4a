"""Files that the program keeps for itself, in PROXMOX_STATE_DIR: of this user only, and always written as a whole."""
import os
import stat

try:
    import fcntl
except ImportError:             # not a Unix: one process a file then
    fcntl = None

MOST = 1 << 17                  # bytes that are read of a file


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


def remove(path):
    """Remove a file, if it is there."""
    try:
        os.unlink(path)
    except OSError:
        pass


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
