"""Test support: a Host on the demo cluster with a clock that only moves when somebody waits."""
import copy
import functools
import inspect
import json
import os
import pickle
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tools.base.answers import weight as answers_weight  # noqa: E402
from tools.base.failures import Declined  # noqa: E402
from tools.demo import DemoCluster  # noqa: E402
from tools.demo.wire import read_parameters  # noqa: E402
from tools.mcp.run import Host, Nobody  # noqa: E402
from tools.policy.journal import Journal  # noqa: E402
from tools.policy.settings import VARIABLES, Settings  # noqa: E402
from tools.pve.apidoc import ApiDoc  # noqa: E402
from tools.pve.client import Cancelled  # noqa: E402

#: What a client takes for granted where a tool has no such hint (2025-06-18 and later, schema: ToolAnnotations).
HINTS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}


class Clock:
    """Monotonic seconds that move only by `sleep`; `now()` is the same in epoch seconds.

    pace: how much longer than asked for `sleep` takes, for tests that need not see every look at a task.
    """
    pace, _lock = 1, threading.Lock()

    def __init__(self, start=1000.0):
        self.seconds = start

    def __call__(self):
        return self.seconds

    def now(self):
        return 1767225600.0 + self.seconds

    def sleep(self, cancelled, seconds):
        if cancelled.is_set():
            raise Cancelled("cancelled by the client")
        with self._lock:
            self.seconds += seconds * self.pace


def settings(**changes):
    """Settings that fit the demo cluster, elevated tools allowed."""
    values = dict(host=[("demo", 8006)], user="root@pam", token_name="demo",
                  token_value="11111111-2222-3333-4444-555555555555", allow_elevated=True, demo=True, rate_limit="0")
    values.update(changes)
    return Settings(**values)


@functools.lru_cache(maxsize=None)
def _begun(guests, version):
    """A world at its beginning with its Clock, pickled: to make each anew would take an eighth of the time of all
    tests.
    """
    clock = Clock()
    return pickle.dumps(DemoCluster.begin(clock, clock.now, guests, version))


class Cluster(DemoCluster):
    """A demo cluster with a Clock, by which a Bench on it goes too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.time = self.world.clock

    @staticmethod
    def begin(clock, now, guests, version):
        return pickle.loads(_begun(guests, version))


class NoConsent:
    """Asks nobody: the target is read, named, and what was asked is done."""

    def ask(self, call, describe):
        return describe()[1]

    def close(self):
        """The process ends."""


class Bench:
    """A demo cluster and a Host on it. `run(tool, **arguments)` is a call; `sent()` what it made the host send.

    Keyword arguments of the constructor that are settings go to Settings, `cluster` is a ready Cluster, the rest goes
    to a new one.
    """

    def __init__(self, cluster=None, consent=None, log=None, **options):
        known = {*VARIABLES, "demo"}
        chosen = settings(**{k: v for k, v in options.items() if k in known})
        self.cluster = cluster or Cluster(**{k: v for k, v in options.items() if k not in known})
        self.clock = self.cluster.time
        self.host = Host(chosen, log=log, adapter=self.cluster, consent=consent or NoConsent(), clock=self.clock,
                         sleep=self.clock.sleep, now=self.clock.now, journal=getattr(self.cluster, "journal", None))
        self.host.runs.begin = lambda target: target()      # a run is done before its call is answered
        self.host.client.in_flight = 1              # what is read together comes in a known order
        self._seen = 0

    def run(self, tool, request=None, **arguments):
        """The Answer of a call; requests made before it are forgotten."""
        self._seen = len(self.cluster.requests)
        return self.host.run(tool, arguments, request)

    def sent(self, reads=True):
        """What the last call sent: ["GET /nodes", "POST /nodes/pve1/qemu/100/status/start timeout=30", ...].

        reads=False leaves out GETs.
        """
        return [wire(*request) for request in list(self.cluster.requests)[self._seen:] if reads or request[0] != "GET"]


#: Reading the schema of the API again for each bench would take a tenth of the time of all tests. It never changes.
ApiDoc.parse = functools.lru_cache(maxsize=8)(ApiDoc.parse)


def journaling(bench, journal=None):
    """Let a bench, and those that are made on its cluster later, keep a journal."""
    bench.host.journal = bench.cluster.journal = journal or Journal()


class _Read(Cluster):
    """A cluster that is only read: the same request has the same answer, which is worked out once."""

    def __init__(self, **options):
        super().__init__(**options)
        self.answers = {}

    def _handle(self, verb, target, headers, body):
        if (verb, target) in self.answers:
            self.requests.append(self.answers[verb, target][1])
        else:
            self.answers[verb, target] = super()._handle(verb, target, headers, body), self.requests[-1]
        return self.answers[verb, target][0]


@functools.lru_cache(maxsize=None)
def _big(guests):
    return _Read(guests=guests)


def big(guests=10000):
    """A cluster of so many guests for a test that only reads: made once for all of them."""
    cluster = copy.copy(_big(guests))
    cluster.requests = []
    return cluster


class Asked:
    """Consent that notes the questions and gives one answer (True: yes)."""

    def __init__(self, answer=True):
        self.answer, self.questions = answer, []

    def ask(self, call, describe):
        question, found = describe()
        self.questions.append(question)
        json.dumps(found)                               # it is hashed, for the client to hold
        if not self.answer:
            raise Declined("The user said no.")
        return found


class Staying(Nobody):
    """Who asks, where the process does not end with the call: a run that takes longer goes on behind it."""
    ends = False


def each(names, values):
    """As pytest.mark.parametrize, in one test: for many values that take a moment each, less than pytest does."""
    names = names.split(", ")

    def decorate(test):
        @functools.wraps(test)
        def looped(**fixtures):
            for value in values:
                given = dict(zip(names, value if len(names) > 1 else [value]))
                try:
                    test(**given, **fixtures)
                except Exception as error:
                    raise AssertionError("with %r" % given) from error
        own = inspect.signature(test)
        looped.__signature__ = own.replace(parameters=[one for one in own.parameters.values() if one.name not in names])
        return looped
    return decorate


def weight(answer, answers="text"):
    """Bytes of an Answer as a client shows it where PROXMOX_ANSWERS=answers."""
    return answers_weight(answers, answer.text, answer.data)


def found(answer):
    """The data of an Answer without what the text says."""
    return {key: value for key, value in answer.data.items() if key not in ("summary", "notes")}


def ok(answer):
    """An Answer that has to be a success."""
    assert not answer.failed, answer.text
    return answer


def wire(verb, path, params):
    """One request as a line: verb, path, parameters sorted by name."""
    return " ".join([verb, path] + ["%s=%s" % (key, value) for key, value in sorted(params.items())])


def answering(bench, path, data, verb="GET"):
    """Let requests (GETs, or those of another verb) of one path of the bench's Proxmox be answered with `data`, or with
    an error when it is (status, reason); they are among the bench's `sent()`, and nothing else comes of them."""
    handle = bench.cluster.handle

    def other(asked, target, headers, body=b""):
        place, _, query = target.partition("?")
        if asked != verb or place != "/api2/json" + path:
            return handle(asked, target, headers, body)
        bench.cluster.requests.append((verb, path, read_parameters(verb, query, headers, body)))
        if isinstance(data, tuple):
            return data[0], data[1], {"Content-Type": "application/json"}, b'{"data":null}'
        return 200, "OK", {"Content-Type": "application/json"}, json.dumps({"data": data}).encode()
    bench.cluster.handle = other


UPID = "UPID:pve1:00000001:00000001:00000001:%s:%s:root@pam!demo:"


def ending(bench, verb, path, exitstatus, log=(), type="task", id=""):
    """Let requests of one path start a task that has ended so; the lines of its log."""
    upid = UPID % (type, id)
    task = "/nodes/pve1/tasks/" + upid
    answering(bench, path, upid, verb)
    answering(bench, task + "/status", {"status": "stopped", "exitstatus": exitstatus, "type": type})
    answering(bench, task + "/log", [{"n": n, "t": line} for n, line in enumerate(log, 1)])
