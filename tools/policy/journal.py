"""The journal: of each change what was there before and what takes it back; of each run its steps and how far it came.

A record is a dict with an `id` ("u-7k2m" of what can be undone, "r-3fqa" of a run) and grows by fields. In memory; with
PROXMOX_STATE_DIR in a file too, a JSON line for each growth, so that it outlives the server and several servers share
it. No secret is in it: what is noted was masked before. Each line begins with its checksum: one that was cut short, or
written by hand, is not there.
"""
import json
import os
import secrets
import threading
import zlib

from tools.pve import state

FILE = "journal"
MOST = 1000                             # records that are kept
LONGEST_FILE = 4 << 20                  # bytes; then only the latest records stay
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"             # none that is taken for another


class Journal:
    """state_dir: where its file is (str), or None; log(level, event, **fields): told when it cannot be written.

    cluster, hosts: of which of several clusters it is; what was noted at other hosts, when another cluster had that
    name, is not there. bounds: the words that bound what its server may see: what servers with others noted is not.
    """

    def __init__(self, state_dir=None, log=None, cluster=None, hosts=(), bounds=()):
        self._bounds = list(bounds)
        self._path = os.path.join(state_dir, "-".join(filter(None, (FILE, cluster)))) if state_dir else None
        self._hosts = cluster and ["%s:%s" % host for host in hosts]
        self._log, self._lock, self._kept = log or (lambda level, event, **fields: None), threading.Lock(), {}

    @classmethod
    def of(cls, settings, log):
        return cls(settings.state_dir, log, settings.cluster, settings.host, sorted(
            "%s %s" % (key, word) for key in ("allowed_guests", "allowed_nodes") for word in getattr(settings, key)))

    def add(self, letter, **fields):
        """Keep a new record; its id."""
        known = self._all()
        while True:
            ident = "%s-%s" % (letter, "".join(secrets.choice(LETTERS) for _ in range(4)))
            if ident not in known:
                break
        self.amend(ident, **fields, **({"hosts": self._hosts} if self._hosts else {}),
                   **({"bounds": self._bounds} if self._bounds else {}))
        return ident

    def amend(self, ident, **fields):
        with self._lock:
            self._kept.setdefault(ident, {}).update(fields)
            while len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
            if self._path is not None:
                try:
                    self._append(_line(fields, ident))
                except (OSError, state.NotOurs) as error:
                    self._log("warning", "the journal cannot be written; it is in memory only", error=str(error))

    def find(self, ident):
        return next((record for record in self.all(ident[:1]) if record["id"] == ident), None)

    def all(self, letter):
        """The records of a kind, the latest first."""
        return [dict(record, id=ident) for ident, record in reversed(list(self._all().items())) if ident[0] == letter
                and self._bounds in ([], record.get("bounds"))]

    def _all(self):
        known = self._read() if self._path is not None else {}
        with self._lock:                                # what is in memory alone, as the file could not be written, too
            for ident, record in self._kept.items():
                known.setdefault(ident, {}).update(record)
        return known

    def _read(self):
        """{id: record} of the file; what cannot be read of it is not there."""
        try:
            lines = state.read(self._path, 2 * LONGEST_FILE).decode("utf-8", "replace").split("\n")
        except (OSError, state.NotOurs):
            return {}
        known = {}
        for line in lines:
            if line[:9] == _checksum(line[9:]):
                fields = json.loads(line[9:])
                known.setdefault(fields.pop("id"), {}).update(fields)
        return {ident: record for ident, record in known.items()
                if not self._hosts or set(self._hosts) & set(record.get("hosts", ()))}

    def _append(self, line):
        """Write a line, with the file locked; when it is too long, the latest records alone stay."""
        state.folder(os.path.dirname(self._path), private=False)
        with state.held(self._path) as handle:
            state.read(self._path, 0)                   # NotOurs
            state.append(handle, line.encode("utf-8"))
            if os.fstat(handle).st_size > LONGEST_FILE:
                latest = [_line(record, ident) for ident, record in self._read().items()]
                while len(latest) > 1 and sum(map(len, latest)) > LONGEST_FILE // 2:
                    latest = latest[(len(latest) + 1) // 2:]
                state.write(self._path, "".join(latest))


def _line(record, ident):
    said = json.dumps(dict(record, id=ident))
    return _checksum(said) + said + "\n"


def _checksum(said):
    return "%08x " % zlib.crc32(said.encode("utf-8"))
