"""What the changes of a call did to the cluster, read before and after each: for the journal, and the way back.

Reading it never keeps a change from being made: where it fails there is no way back, and the journal says why.
"""
from urllib.parse import unquote

from tools.base.failures import Failure
from tools.policy import endpoints, inverse
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import Misfit, parse_upid
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
    return scrub(masked(way.facts(data, unquote(path))))


class Changes:
    """The changes of one call. made: one dict each, {verb, path, params, old, new}, or `why` in the place of the last
    two when there is no way back; without those that changed nothing."""

    def __init__(self, call):
        self._call, self._open, self.made = call, None, []

    def before(self, verb, path, params):
        """Read what is there, before a request is sent."""
        self.settle()
        way, call = inverse.find(verb, unquote(path)), self._call
        noted = {"verb": verb, "path": path, "params": call.host.audit.masked(
            params, call.secrets, True, endpoints.shown(verb, unquote(path)))}
        found = {}
        if way is None:
            noted["why"] = inverse.why_not(verb, unquote(path), params)
        else:
            try:
                found = read(call, way, way.state(path, params)[0])
            except (PveError, Failure, Misfit):
                noted["why"] = "What was there before could not be read."
        self._open = [way, noted, found, False]

    def sent(self, outcome):
        """Note what became of it: "accepted", "unknown", or that it was not done."""
        if self._open:
            self._open[3] = outcome in ("accepted", "unknown")

    def settle(self):
        """Read what came of the last change; once, and not of one that was not made."""
        (way, noted, found, made), self._open = self._open or (None, None, None, False), None
        if not made:
            return
        if "why" not in noted:
            try:
                if parse_upid(self._call.task) is not None:
                    raise inverse.NoWay("Its task had not ended when the call did.")
                noted["old"], noted["new"] = inverse.difference(
                    found, read(self._call, way, way.state(noted["path"], noted["params"])[1]))
                if not noted["old"] and not noted["new"]:
                    return
                way.back(change(noted), noted["new"])
            except (inverse.NoWay, PveError, Failure, Misfit, Cancelled) as error:
                noted["why"] = str(error) if isinstance(error, inverse.NoWay) else (
                    "What came of it could not be read.")
        self.made.append(noted)


def change(noted):
    """The Change that a dict of `made` tells of."""
    return inverse.Change(*(noted.get(key) for key in inverse.Change._fields))
