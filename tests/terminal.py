"""`proxmox-mcp` in a terminal of its own: `until` reads to some words, `type` types, `end` waits for its end."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "proxmox_mcp.py")
PATIENCE = 30                   # seconds

#: Opening it makes it the terminal that Ctrl-C comes from, which counts even where a shell in the background ran us.
START = ("import os, signal, sys; os.open(os.ttyname(0), os.O_RDWR); signal.signal(signal.SIGINT, signal.SIG_DFL); "
         "os.execv(sys.executable, sys.argv[1:])")


class Terminal:
    """columns: of 24 lines; environ: beside PATH and HOME."""

    def __init__(self, *arguments, columns=80, **environ):
        self.fd, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        known = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PROXMOX_", "COLUMNS", "NO_COLOR"))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, sys.executable, PROGRAM, *arguments], stdin=inside, stdout=inside,
            stderr=inside, start_new_session=True, env={**known, "TERM": "xterm", **environ})
        os.close(inside)
        self.seen = self.all = ""

    def until(self, words):
        """What was shown up to these words, which are awaited."""
        end = time.monotonic() + PATIENCE
        while words not in self.seen:
            assert time.monotonic() < end and self._read(0.2), self.all
        before, _, self.seen = self.seen.partition(words)
        return before + words

    def _read(self, seconds):
        """Read what is there; False when the program has ended."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                more = os.read(self.fd, 65536).decode("utf-8", "replace")
            except OSError:
                return False
            self.seen, self.all = self.seen + more, self.all + more
            return bool(more)
        return True

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        """Its exit status."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._read(PATIENCE):
            pass
        os.close(self.fd)
        return self.process.wait(PATIENCE)
