"""The log on stderr: structured, one line a record, without secrets; it never blocks or ends the protocol.

A record is made in the caller's thread and written by a daemon thread out of a bounded queue. When nobody reads stderr
the queue fills up and further records are dropped and counted; when stderr is closed all are.
"""
import json
import os
import queue
import threading
import time

from tools.pve.scrub import scrub
from tools.pve.text import cut, stamp, visible

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MOST_WAITING = 1000             # records
LONGEST_VALUE = 4000            # characters of one field; a traceback fits


class Log:
    """Callable as log(level, event, **fields). level: the least that is written; format: text or json. The descriptor
    is duplicated at once, so that a later file of that number is never written to."""

    def __init__(self, level, format="text", stream_fd=2, now=time.time):
        self._least, self._json, self._now = LEVELS[level], format == "json", now
        self._waiting, self._dropped, self._lock = queue.Queue(MOST_WAITING), 0, threading.Lock()
        self._thread = None
        try:
            self._handle = os.dup(stream_fd)
        except OSError:
            self._handle = None         # stderr was closed before we began

    def __call__(self, level, event, **fields):
        """Note one event; returns at once and never raises."""
        if LEVELS.get(level, 40) < self._least or self._handle is None:
            return
        try:
            line = self._line(level, event, fields)
        except Exception as error:      # a field whose str() fails must not end the call it was about
            line = self._line("error", "log", {"message": "a record could not be written: %s" % type(error).__name__})
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._thread.start()
            try:
                if self._dropped:
                    self._waiting.put_nowait(self._line("warning", "log", {"dropped": self._dropped}))
                    self._dropped = 0
                self._waiting.put_nowait(line)
            except queue.Full:
                self._dropped += 1

    def close(self, seconds=0.5):
        """Write what waits, for at most so many seconds; nothing is written any more."""
        written = self._waiting.all_tasks_done
        with written:
            if written.wait_for(lambda: not self._waiting.unfinished_tasks, seconds) and self._handle is not None:
                os.close(self._handle)
            self._handle = None

    def _line(self, level, event, fields):
        now = stamp(self._now())
        fields = {key: _plain(value) for key, value in fields.items() if value is not None}
        event = cut(scrub(str(event)), LONGEST_VALUE)
        if self._json:
            return json.dumps({"time": now, "level": level, "event": event, **fields}, separators=(",", ":")) + "\n"
        words = ["%s=%s" % (key, _shown(value)) for key, value in fields.items()]
        return " ".join([now, level.upper(), _one_line(event)] + words) + "\n"

    def _write_all(self):
        while True:
            data = self._waiting.get().encode("utf-8", "backslashreplace")
            try:
                while data and self._handle is not None:
                    data = data[os.write(self._handle, data):]
            except BlockingIOError:     # a stderr that somebody made non-blocking, and full
                self._dropped += 1
            except OSError:             # closed, or nobody reads it any more
                self._handle = None
            self._waiting.task_done()


def _plain(value):
    """`value` as JSON has it, without secrets, long texts cut."""
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return cut(scrub(str(value)), LONGEST_VALUE)


def _one_line(text):
    return visible(text.replace("\n", "\\n").replace("\t", "\\t"))


def _shown(value):
    plain = isinstance(value, (int, float)) or isinstance(value, str) and value.isascii() and value.isprintable() and (
        value and not any(c in value for c in " \"'=\\"))
    return _one_line(str(value) if plain else json.dumps(value, ensure_ascii=False))
