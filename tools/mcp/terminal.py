"""The person at the terminal: who is asked and sees how far it is, and what a terminal is shown: lines that fit it, in
colour. A pipe gets everything as it is."""
import os
import re
import shutil
import sys
import textwrap
import time

from tools.base.failures import Declined
from tools.mcp.run import Nobody

GREEN, RED, YELLOW = 32, 31, 33
MARKS = {"\u2705": GREEN, "\u274c": RED, "\U0001f6ab": RED, "\u23f3": YELLOW, "\u26a0": YELLOW,
         "[ok]": GREEN, "[FAIL]": RED}
_MARK = re.compile("(?m)^(%s)" % "|".join(map(re.escape, MARKS)))


def columns(stream=None):
    """How many columns a line of stdout (or of another stream) may have; None when it is no terminal."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def shown(text):
    """`text` as stdout gets it: on a terminal long lines are folded, but for what a guest or a log said, and marks are
    in colour, unless NO_COLOR is set (no-color.org)."""
    width = columns()
    if width is None:
        return text
    lines = []
    for line in text.split("\n"):
        indent = " " * max(len(line) - len(line.lstrip()) + 2, line.rfind("  ", 0, 24) + 2)
        lines += [line] if len(line) < width or line.startswith("| ") else textwrap.wrap(
            line, width - 1, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or os.name != "posix":
        return "\n".join(lines)
    return _MARK.sub(lambda mark: "\x1b[%dm%s\x1b[0m" % (MARKS[mark.group()], mark.group()), "\n".join(lines))


class Person(Nobody):
    """Who makes a call from the command line: a request that shows progress, and a consent that asks; yes: --yes."""

    def __init__(self, yes=False, clock=time.monotonic):
        super().__init__()
        self.yes, self._clock, self._began, self._shown = yes, clock, clock(), 0
        self.wants_progress = sys.stderr.isatty()

    def progress(self, percent, message):
        """One line on stderr, written over the one before; nothing where stderr is no terminal."""
        if not self.wants_progress:
            return
        seconds = "%d s  " % (self._clock() - self._began)
        share = "" if percent is None or "%" in message else "%d %%  " % percent
        line = (seconds + share + message)[:columns(sys.stderr) - 3]        # room for the ^C of Ctrl-C
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)

    def clear(self):
        """Take the line of the progress away."""
        if self._shown:
            sys.stderr.write("\r" + " " * (columns(sys.stderr) - 1) + "\r")
            sys.stderr.flush()
            self._shown = 0

    close = clear

    def ask(self, call, describe):
        """What `describe` found, when the person agrees; Declined when not, and when there is nobody to ask."""
        question, found = describe()
        if self.yes:
            return found
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Declined("%s\nThere is no terminal to ask this at; --yes answers it in advance." % question)
        self.clear()
        sys.stderr.write("%s [y/N] " % question)
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Declined("The answer was not yes.")
        return found
