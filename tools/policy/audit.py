"""The audit log: one JSON line before and after every attempt to change something, each with the hash of the line
before.

A line is written with one write, after which the file is synced; its `prev` is the SHA-256 of the line before it, so an
edit, a gap or a line put in shows (`Report`). The chain is not keyed: whoever may write the file can make a new one
from any line on, so keep the last hash, or the file, elsewhere too. The file is opened for each line (log rotation may
move it away) and locked meanwhile, so that several servers can share it.
"""
import hashlib
import json
import os
import re
import stat
import threading
import time
from collections import namedtuple
from contextlib import contextmanager
from urllib.parse import unquote

from tools.policy import endpoints
from tools.pve import state
from tools.pve.client import PveError
from tools.pve.formats import parse_upid
from tools.pve.scrub import is_secret, scrub, scrub_ours
from tools.pve.text import stamp

NOTHING = "0" * 64                      # `prev` of the first line of a file
LONGEST_LINE = 60000                    # bytes; longer arguments are cut
_TAIL = 128 * 1024

#: Parameters that are long and tell nothing, most of them secrets too.
_LONG = re.compile(r"ssh[-_]?(?:public[-_])?keys?|input[-_]data|stdin|certificates|.*[-_]cert", re.I)
_PUBLIC = re.compile(r"ssh[-_]?(?:public[-_])?keys?", re.I)         # who gets in: a user who is asked has to see it
_CUT = 300                              # characters of any other text


class Unwritable(Exception):
    """The audit log cannot be written: str(error) says why."""


#: An intent that was noted: what `end` and `task` refer to.
Entry = namedtuple("Entry", "seq who")


class Audit:
    """Writes to `path` (str), or nowhere when it is None.

    log(level, event, **fields): told when an outcome could not be noted. now() gives epoch seconds, sleep(seconds)
    waits. cluster: what its lines say of where it was, where there are several.
    """

    def __init__(self, path, log=None, now=time.time, sleep=time.sleep, cluster=None):
        self.path, self._cluster = path, cluster
        self._log, self._now, self._sleep = log or (lambda level, event, **fields: None), now, sleep
        self._lock = threading.Lock()
        self._open_entries = []             # without an outcome yet

    # -- what a call notes

    def begin(self, call, verb, path, params):
        """Note the intent; PveError when the log cannot be written. Returns what `end` and `task` want."""
        if self.path is None:
            return None
        entry = self._note(call, _target(path, params, vars(call.args)), {
            "event": "intent", "method": verb, "path": "/api2/json" + path,
            "parameters": self.masked(params, call.secrets, plain=endpoints.shown(verb, unquote(path)))})
        self._open_entries.append(entry)
        return entry

    def asked(self, call, question, name):
        """Note that a question (its text, and its name among those that wait) is put to the user outside of the client;
        PveError when the log cannot be written. Returns what `answered` wants."""
        return self.path and self._note(call, _target("", {}, vars(call.args)), {
            "event": "asked", "question": _cut(question), "id": name})

    def answered(self, entry, answer, by, at):
        """Note what became of a question. answer: yes, no, late, void or withdrawn; by, at: who answered and when, as
        the answer tells, or None. Never raises."""
        if entry is not None:
            self._follow(entry, event="answered", answer=answer, by=by, at=at)

    def _note(self, call, target, what):
        """The Entry of a line about what a call is about to do; PveError when it cannot be written."""
        line = dict(what, **self._who(call.name, call.host.settings, call.request), **target, name=call.called,
                    arguments=self.masked(vars(call.args), call.secrets))
        try:
            return Entry(self._append(line), dict(target, tool=call.name))
        except Unwritable as error:
            raise PveError("%s, so nothing may be changed. Make it writable, or unset "
                           "PROXMOX_AUDIT_LOG." % error, outcome="unsent") from None

    def end(self, entry, outcome, answer=None, error=None):
        """Note what Proxmox answered: outcome accepted, refused, unsent or unknown; once. Never raises. answer: the
        data of its answer, of which a task's UPID is noted."""
        try:
            self._open_entries.remove(entry)
        except ValueError:                  # None, or `close` was first
            return
        self._follow(entry, event="outcome", outcome=outcome, upid=answer if parse_upid(answer) else None,
                     error=_cut(scrub(error)))

    def close(self):
        """The process ends: what has no outcome yet has an unknown one. Never raises."""
        for entry in list(self._open_entries):
            self.end(entry, "unknown", error="the server ended before Proxmox answered")

    def task(self, entry, outcome):
        """Note how the task ended, or that its end was not seen. Never raises."""
        if entry is not None:
            self._follow(entry, event="task", outcome=outcome.exitstatus or outcome.status, upid=outcome.upid)

    def refused(self, entry, known, arguments, error, settings, request=None, args=None):
        """Note that a tool that changes something was refused before anything was sent. Never raises. entry: of the
        surface; known: the Fields of its arguments; arguments: as the client gave them; error: Refused; args: the
        dataclass of the arguments."""
        if self.path is None or not entry["changes"]:
            return
        known = {field.name: field for field in known}
        shown = {name: _given(value, known.get(name), getattr(args, name, None))
                 for name, value in list(arguments.items())[:50]}
        self._try(dict(_target("", {}, vars(args) if args else shown), event="refused", outcome="refused",
                       **self._who(entry["name"], settings, request), arguments=self.masked(shown),
                       error=_cut(getattr(error, "headline", None) or str(error))))

    @staticmethod
    def masked(params, hidden=(), whole=False, plain=()):
        """`params` (dict) without None, secrets as *** (by their names: a value that a caller calls a secret must not
        blank what stands elsewhere). hidden: names of arguments that are secret. whole: nothing is cut, as for what a
        user is asked; else each cut says how much went, with the SHA-256 of all of it. plain: names that are no
        secrets here, whatever they are called."""
        return scrub_ours({name: _value("", value, whole) if name in plain else
                           "***" if name in hidden else _value(name, value, whole)
                           for name, value in params.items() if value is not None})

    def problem(self):
        """Why the log cannot be written, in a sentence; None when it can, or there is none. Makes the file."""
        try:
            if self.path is not None:
                with self._held() as handle:
                    self._tail(handle)
        except Unwritable as error:
            return "%s." % error
        return None

    # -- lines

    @staticmethod
    def _who(tool, settings, request):
        return {"tool": tool, "token": settings.token_id, "client": client_name(request), "pid": os.getpid()}

    def _follow(self, entry, **what):
        self._try(dict(entry.who, intent=entry.seq, pid=os.getpid(), **what))

    def _try(self, line):
        try:
            self._append(line)
        except Unwritable as error:             # what is done is done; the next change is refused
            line = json.dumps(scrub(line), default=str)
            self._log("error", "audit", message="%s; not recorded: %s" % (error, line))

    def _append(self, line):
        """Write one line; its seq. Unwritable when that is not possible."""
        line = {key: value for key, value in dict(line, cluster=self._cluster).items() if value is not None}
        with self._held() as handle:
            seq, prev, torn = self._tail(handle)
            state.append(handle, b"\n" * torn + self._encode(line, seq + 1, prev) + b"\n")
            os.fsync(handle)
            return seq + 1

    def _encode(self, line, seq, prev):
        line = dict({"seq": seq, "time": stamp(self._now())}, **scrub_ours(line))
        for key in ("", "parameters", "arguments", "error"):
            if key in line:
                line[key] = "(too long)"
            text = json.dumps(dict(line, prev=prev), separators=(",", ":"), default=str).encode("ascii")
            if len(text) <= LONGEST_LINE:
                break
        return text

    def _unwritable(self, why):
        return Unwritable("The audit log %s cannot be written (%s)" % (self.path, why))

    @contextmanager
    def _held(self):
        try:
            with self._lock, state.held(self.path, self._sleep) as handle:
                facts = os.fstat(handle)
                if not stat.S_ISREG(facts.st_mode):
                    raise self._unwritable("it is not a regular file")
                if os.name == "posix" and facts.st_mode & 0o022:
                    raise self._unwritable("other users may write to it; run: chmod 600 %s" % self.path)
                yield handle
        except (OSError, ValueError) as error:
            raise self._unwritable("another process has it locked" if isinstance(error, BlockingIOError) else
                                   "it is a symbolic link" if os.path.islink(self.path) else
                                   getattr(error, "strerror", None) or error) from None

    def _tail(self, handle):
        """(seq of its last line, hash of its last line, whether that one was cut short)."""
        size = os.fstat(handle).st_size
        if not size:
            return 0, NOTHING, False
        os.lseek(handle, max(0, size - _TAIL), os.SEEK_SET)
        lines = os.read(handle, _TAIL).split(b"\n")
        torn = lines.pop()
        last = _parse(lines[-1]) if lines else None
        if last is None and (lines or size > _TAIL or not b'{"seq":'.startswith(torn[:7])):
            raise self._unwritable("its last line is not one of this log; move the file away")
        if torn:
            return (last or {"seq": 0})["seq"] + 1, _hash(torn), True
        return last["seq"], _hash(lines[-1]), False


def _given(value, field, checked):
    """An argument as the client gave it, for the log; field: its Field or None; checked: once parsed."""
    if field is None or field.arg.secret:
        return "***"
    if dict in (field.type, field.items) and not isinstance(value, field.type):     # as JSON text, secrets and all
        return checked if isinstance(checked, field.type) else "***"
    return value


def _target(path, params, args):
    """{node, vmid} of a request; of the call's arguments (dict, perhaps never checked) where its path names none."""
    found = re.match(r"/nodes/([^/]+)", path)
    node = found.group(1) if found else args.get("node")
    found = re.search(r"/(?:qemu|lxc)/([0-9]+)", path)
    vmid = str(found.group(1) if found else params.get("vmid") or args.get("vmid"))
    return {"node": node[:80] if isinstance(node, str) else None,
            "vmid": int(vmid) if re.fullmatch("[0-9]{1,9}", vmid, re.ASCII) else None}


def client_name(request):
    """What the client calls itself: request.client, a text or the clientInfo of MCP; None when it is not known."""
    client = getattr(request, "client", None)
    if isinstance(client, dict):
        client = " ".join(str(client[key]) for key in ("name", "version") if client.get(key))
    return str(client)[:120] if client else None


def _value(name, value, whole):
    cut = (lambda value: value) if whole else _cut
    if _LONG.fullmatch(name) and not (whole and _PUBLIC.fullmatch(name)):
        return "*** (%d characters)" % len(str(value))
    if name == "target-endpoint" and isinstance(value, str):            # where a guest goes is no secret
        return cut(",".join(part if re.match("(?:host|port|fingerprint)=", part) else "***"
                            for part in value.split(",")))
    if is_secret(name):
        return "***"
    if isinstance(value, dict):
        return cut({str(key): _value(str(key), one, whole) for key, one in value.items()})
    if isinstance(value, (list, tuple)):
        return cut([_value("", one, whole) for one in value])
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):     # of a step: an object as JSON text
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return cut(value)
        shown = _value("", parsed, True)
        return cut(value) if shown == parsed else _value("", parsed, whole)
    return cut(value)


def _cut(value):
    """`value`, or its beginning, how much was left out, and the SHA-256 of all of it: what was done can be proved."""
    most = _CUT if isinstance(value, str) else 100
    if not isinstance(value, (str, list, dict)) or len(value) <= most:
        return value
    whole = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    mark = "(%d more, SHA-256 of all %s)" % (len(value) - most, _hash(whole.encode("utf-8", "surrogatepass")))
    if isinstance(value, str):
        return "%s... %s" % (value[:most], mark)
    return value[:most] + [mark] if isinstance(value, list) else dict(list(value.items())[:most], **{"...": mark})


# ------------------------------------------------------------------------------------------------------------- checking

def _hash(line):
    return hashlib.sha256(line).hexdigest()


def _parse(line):
    try:
        found = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    good = isinstance(found, dict) and type(found.get("seq")) is int and isinstance(found.get("prev"), str)
    return found if good and isinstance(found.get("event"), str) else None


class Report:
    """What the check of an audit log found: is each line whole, does each carry the hash of the one before? OSError.
    lines, last_seq (int), last_hash (str), problems [(line number, text)], open: intents (dicts) whose
    outcome was never noted; ok: no problem."""

    def __init__(self, path):
        self.lines, self.last_seq, self.last_hash, self.problems, waiting = 0, 0, NOTHING, [], {}
        with open(path, "rb") as stream:
            for raw in iter(lambda: stream.readline(1 << 20), b""):
                self.lines += 1
                line, ended = raw.rstrip(b"\n"), raw.endswith(b"\n")
                found = _parse(line) if ended else None
                if found is None:
                    self._bad("is not a line of this log, or was cut short" if ended else "is cut short")
                else:
                    self._follow(found)
                    if found["event"] == "intent":
                        waiting[found["seq"]] = found
                    elif found["event"] == "outcome":
                        waiting.pop(found.get("intent"), None)
                self.last_seq, self.last_hash = found["seq"] if found else self.last_seq + 1, _hash(line)
        self.ok, self.open = not self.problems, list(waiting.values())

    def _bad(self, text):
        if len(self.problems) < 20:
            self.problems.append((self.lines, text))

    def _follow(self, found):
        """Note what is wrong with a line (dict) as the next one."""
        seq = self.last_seq
        if found["prev"] != self.last_hash:
            self._bad("is the first line now but was not when it was written: lines before it are missing"
                      if self.lines == 1 else "does not carry the hash of the line before it: that line was changed, "
                      "or lines were removed or inserted")
        if found["seq"] > seq + 1 and self.lines > 1:
            self._bad("has seq %d after seq %d: %d lines are missing" % (found["seq"], seq, found["seq"] - seq - 1))
        elif found["seq"] <= seq:
            self._bad("has seq %d after seq %d: lines were inserted or moved" % (found["seq"], seq))

    def text(self, path):
        lines = ["%s: ok, %d lines, the chain of hashes is unbroken." % (path, self.lines) if self.ok else
                 "%s: NOT ok, %d lines; first bad line: %d." % (path, self.lines, self.problems[0][0])]
        lines += ["  line %d: %s" % problem for problem in self.problems]
        lines += ["  No outcome was recorded for seq %d (%s, %s %s): the server was stopped before it, or lines at the "
                  "end are missing." % (entry["seq"], entry.get("tool"), entry.get("method"), entry.get("path"))
                  for entry in self.open[:20]]
        return lines + ["Last line: seq %d, SHA-256 %s. Keep this hash elsewhere: it shows later whether lines at the "
                        "end were removed." % (self.last_seq, self.last_hash)]
