"""The log on stderr."""
import sys


class Log:
    """stub"""

    def __init__(self, level, format, stream_fd=2):
        self.level = level

    def __call__(self, level, event, **fields):
        if level in ("warning", "error"):
            sys.stderr.write("%s %s %s\n" % (level, event, fields))

    def close(self):
        """Write what is left."""
