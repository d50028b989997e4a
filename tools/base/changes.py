"""What the changes of a call did to the cluster, read before and after each: for the journal, and the way back.

Where that fails there is no way back, and the journal says why. What is about to be sent is noted first, so that the
next server knows of it when this one is killed.
"""
from urllib.parse import unquote

from tools.base.failures import Failure
from tools.policy import endpoints, inverse
from tools.pve import text
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import GUEST_PATH, Misfit, parse_upid
from tools.pve.scrub import masked, scrub

_NOT_THERE = ("does not exist", "no such", "not found", "There is no guest")


def read(call, way, path):
    """The state (dict, without secrets) that a GET of `path` tells; {} when nothing is there (any longer). PveError."""
    if path is None:
        return {}
    try:
        data = call.recent(path)
    except PveError as error:
        if error.status == 404 or any(words in str(error) for words in _NOT_THERE):
            return {}
        raise
    try:
        return scrub(masked(way.facts(data, unquote(path))))
    except inverse.ODD:
        raise PveError("Proxmox answered GET %s with something that cannot be read." % path) from None


def way_of(change):
    """The Way of a Change that has one."""
    return inverse.find(change.verb, unquote(change.path))


def found(call, way, path, params):
    """The state before a request is sent. PveError."""
    return read(call, way, (way.before or way.state)(path, params))


def here(call, path):
    """`path`, of a guest, on the node where it is now."""
    named = GUEST_PATH.match(path)
    row = named and call.entry(named.group(3))
    return path.replace("/nodes/%s/" % named.group(1), "/nodes/%s/" % row["node"], 1) if row else path


def place(call, change):
    """The path that tells the present state of what a Change changed."""
    return here(call, way_of(change).state(change.path, change.params))


def now(call, change):
    """The present state of what a Change changed. PveError."""
    return read(call, way_of(change), place(call, change))


NOT_ENDED = "Its task had not ended when the call did; proxmox_get_task of its UPID sees to it."


def _settle(call, noted, ended=True):
    """Put what a change came to in the place of what was there before: `old` and `new`, or `why`."""
    found = noted.pop("found", None)
    if "why" in noted:
        return
    try:
        if not ended:
            raise inverse.NoWay(NOT_ENDED)
        way = inverse.find(noted["verb"], unquote(noted["path"]))
        after = read(call, way, way.state(noted["path"], noted["params"]))
        noted["old"], noted["new"] = inverse.difference(found, after)
        if noted["old"] or noted["new"]:
            way.back(change(noted), noted["new"])
    except (PveError, Failure, Misfit, Cancelled, *inverse.ODD) as error:
        noted["why"] = str(error) if isinstance(error, inverse.NoWay) else "What came of it could not be read."


def task_ended(call, upid):
    """Settle the change whose task has ended after the call that sent it; its id, when it can be taken back."""
    for record in call.host.journal.all("u") if call.host.journal is not None else ():
        left, made = record.get("open") or {}, record.get("changes") or ()
        if left.get("upid") == upid and made and made[-1].get("why") == NOT_ENDED:
            _settle(call, left)
            made = list(made[:-1]) + [left]
            call.host.journal.amend(record["id"], changes=made, open=None)
            return record["id"] if not any("why" in one for one in made) else None
    return None


class Changes:
    """The changes of one call. made: {verb, path, params, old, new} each, or `why` in the place of the last two when
    there is no way back; without those that changed nothing. id: of their record in the journal, or None."""

    def __init__(self, call):
        self._call, self._open, self._unknown, self.made, self.id = call, None, False, [], None

    @property
    def undo(self):
        """The id by which all of them can be taken back, or None."""
        return self.id if self.made and not any("why" in one for one in self.made) else None

    def before(self, verb, path, params):
        """Read what is there, before a request is sent, and note both."""
        self.settle()
        way, call = inverse.find(verb, unquote(path)), self._call
        self._open = {"verb": verb, "path": path, "params": call.host.audit.masked(
            params, call.secrets, True, endpoints.shown(verb, unquote(path)))}
        if way is None:
            self._open["why"] = inverse.why_not(verb, unquote(path), params)
        else:
            try:
                self._open["found"] = found(call, way, path, params)
            except (PveError, Failure, Misfit):
                self._open["why"] = "What was there before could not be read."
        self._note(open=self._open)

    def sent(self, outcome, answer):
        """Note what became of it: outcome as of an audit, answer: what Proxmox sent, of which a task is noted."""
        self._open = dict(self._open, upid=answer if parse_upid(answer) else None) if (
            outcome in ("accepted", "unknown")) else None
        self._unknown = outcome == "unknown"
        self._note(open=self._open)

    def take_up(self, noted):
        """Go on with a change that another call sent and noted."""
        self.settle()
        if noted.get("why") == NOT_ENDED:
            noted = {key: value for key, value in noted.items() if key != "why"}
        if "why" in noted or "old" in noted:
            self.made.append(noted)
        else:
            self._open = noted
        self._note(open=self._open, changes=self.made)

    def settle(self):
        """Read what came of the last change; once, and not of one that was not made."""
        noted, self._open = self._open, None
        if noted is None or "upid" not in noted:
            return
        ended = not noted["upid"] or noted["upid"] != self._call.task
        left = None if ended and not self._unknown else dict(noted)     # what the next server has to look at
        _settle(self._call, noted, ended)
        if "why" in noted or noted["old"] or noted["new"]:
            self.made.append(noted)
        self._note(open=left, changes=self.made)

    def _note(self, **fields):
        call = self._call
        if self.id is None:
            self.id = call.host.journal.add(
                "u", at=int(call.host.now()), tool=call.name, subject=text.line(scrub(call.subject)),
                run=getattr(call.request, "run", None), step=getattr(call.request, "step", None), **fields)
        else:
            call.host.journal.amend(self.id, **fields)


def change(noted):
    return inverse.Change(*(noted.get(key) for key in inverse.Change._fields))
