"""What all calls share (settings, client, guardrails, audit), and how one call runs from its name to its answer."""
import json
import threading
import time
from collections import namedtuple
from importlib import import_module
from types import SimpleNamespace

from tools import entries, find
from tools.base.answers import Result, result
from tools.base.call import Call
from tools.base.failures import Declined, EarlyResult, Failure, Refused, TaskFailure, refuse
from tools.base.forecast import NotYet
from tools.base.row import title
from tools.base.schema import ArgumentProblems, fields, parse
from tools.mcp.message import GONE, gone
from tools.mcp.runs import Runs
from tools.policy import endpoints
from tools.policy.audit import Audit
from tools.policy.guard import Guard
from tools.policy.selection import Selection
from tools.pve import text
from tools.pve.client import Client, PveError
from tools.pve.formats import Misfit, parse_upid
from tools.pve.scrub import hide_here, scrub
from tools.pve.waiting import Cancelled, wait

#: What is said when a handler breaks: mostly over an answer of another shape, such as null for a list.
UNREADABLE = "Proxmox sent an answer that this tool cannot read, or this program has a bug"

#: What is added to the answer where PROXMOX_CONFIRM=auto would have asked.
UNASKED = "Nobody was asked before this: the client cannot ask (PROXMOX_CONFIRM=auto)."
UNASKED_AGAIN = 3600            # seconds until it is said again


def unreadable(log, error, **fields):
    """What is said of an exception that is nobody's failure, which is logged: called where it was caught."""
    import traceback
    log("error", "unreadable answer or mistake", error=repr(error), traceback=traceback.format_exc(), **fields)
    return GONE if gone(error) else "%s (%s; the server's log on stderr has details)." % (
        UNREADABLE, type(error).__name__)


def demo_adapter(settings):
    """What makes the demo cluster, which takes the network's place, when the settings ask for it; else None."""
    return (lambda: import_module("tools.demo").DemoCluster()) if settings.demo else None


def without_handler(call):
    """What a row without a handler does: its arguments are the parameters of its endpoint, its `says` the headline. A
    change is followed where Proxmox answers with a task; without an argument `wait` any other answer is shown. Before
    it `first` is done; without one, what may lose something asks."""
    tool = call.tool
    if not tool.changes:
        return result(call, call.get(tool.path, None, call.parameters()))
    call.allow(call.parameters())
    if tool.first is not None:
        found = tool.first(call)
    elif tool.destroys:
        found = call.confirm(lambda: ("%s of %s?" % (title(call.name), call.subject), {}))
    else:
        found = {}
    answer, note = call.send(call.parameters()), None
    if not hasattr(call.args, "wait") and answer not in (None, "") and parse_upid(answer) is None:
        note, answer = "Proxmox answered: %s" % text.line(answer, 1000), None
    return result(call, call.follow(answer), note=note, **found)


#: What a call came to: text (str), data (dict, or None when it failed), failed (bool), outcome: done, failed, usage
#: (wrong arguments), refused (by a setting of ours), declined, running (or waiting for a yes), unknown (whether it took
#: effect), command (one in a guest ended badly), interrupted, or later (not known before a step of the same run).
#: Of a plan: planned and questions, as of its call; undo: the id by which it can be taken back, or None.
Answer = namedtuple("Answer", "text data failed outcome planned questions undo",
                    defaults=(None, False, "done", (), (), None))


class Nobody:
    """Who asks, where nobody does. A request of MCP has the same attributes.

    wants_progress: whether progress() reaches anybody; where not, no log is read for it. patience: seconds that it
    waits for an answer without progress, None: for ever. hurried: whether the server ends meanwhile. ends: whether the
    process ends with the call, so that nothing can go on behind it. wait: seconds for which tasks are followed, None:
    as the call says. asks: exceptions by which it asks its user, which a call lets pass.
    """

    wants_progress, patience, hurried, ends, wait, asks = False, None, False, True, None, ()

    def __init__(self):
        self.cancelled = self.woken = threading.Event()

    def progress(self, percent, message):
        """Tell how far a task is: percent (0..100 or None), message (str)."""


#: In place of a Call where there is none yet.
_NO_CALL = SimpleNamespace(args=None, outcomes=(), planned=(), questions=(), changes=None, net=None, task=None,
                           unasked=False)


def _failed(headline, reason, fate="", outcome="failed", call=_NO_CALL):
    """The Answer of a call that did not do what was asked; `fate`: what became of what it sent."""
    undo = _undo(call)
    if call.net:
        fate = "%s\n%s" % (fate, _made_before(call.net))
    if undo:
        fate = "%s\nWhat it did before that can be taken back.\nundo: %s" % (fate, undo)
    kind = "\U0001f6ab Permission Denied" if outcome == "refused" else "\u274c Error"
    body = text.visible(scrub("%s: %s\n\n%s%s" % (kind, headline, reason, "\n" + fate if fate else "")))
    return Answer(text.fit(body, text.CAP // 4), failed=True, outcome=outcome, undo=undo)


def misused(name, error):
    """The Answer for ArgumentProblems."""
    count = len(error.problems)
    return _failed("%s was not called: %s" % (
        name, "an argument is wrong" if count == 1 else "%d arguments are wrong" % count), error, outcome="usage")


def _undo(call):
    """The id by which what a call changed can be taken back, or None."""
    if call.changes is None:
        return None
    call.changes.settle()
    return call.changes.undo


class Host:
    """One Proxmox and how to treat it. `adapter`, `clock`, `sleep` and `now` (epoch seconds) are given by tests."""

    def __init__(self, settings, log=None, adapter=None, consent=None, clock=time.monotonic, sleep=wait,
                 now=time.time, journal=None):
        self.settings, self.log = settings, log or (lambda level, event, **fields: None)
        self.clock, self.sleep, self.now = clock, sleep, now
        self.selection, self.guard = Selection(settings), Guard(settings)
        self.client = Client(settings, adapter, self.log, clock, sleep, settings.rate_limit)
        self.audit = Audit(settings.audit_log, self.log, cluster=settings.cluster)
        self.consent = consent
        self.journal, self._apidoc, self._unasked_until = journal, None, 0
        self.entries, self.runs = entries(), Runs(self)

    def row(self, name):
        """The Tool of a name."""
        return find(self.entries[name])

    def close(self):
        """The process ends: a run is not gone on with, and what is on its way has no outcome that is known."""
        self.runs.close()
        self.consent.close()
        self.audit.close()

    def apidoc(self, cancelled=None):
        """The API schema of this Proxmox (tools.pve.apidoc.ApiDoc), read at first use; PveError or ValueError."""
        if self._apidoc is None:
            from tools.pve.apidoc import Source
            self._apidoc = Source(self.client, self.clock)
        return self._apidoc.get(cancelled)

    def run(self, name, arguments, request=None, consent=None, forecast=None, begun=(), asked=False):
        """The Answer of the tool `name`; LookupError when there is none, Cancelled when the client cancelled it.
        request: who asks (default: nobody); consent: has ask(call, describe) (default: the Host's); forecast: only what
        it would send, after what the Forecast holds, and of one that reads whether it may; begun: as of a Call; asked:
        whether it is the client's own call, whose token or state is looked at first."""
        entry = self.entries[name]
        began, outcome = self.clock(), "no answer"                  # cancelled, or the user is asked first
        try:
            answer = self._run(entry, name, arguments, request or Nobody(), consent or self.consent, forecast, begun,
                               asked)
            outcome = answer.outcome
            return answer
        finally:
            self.log("info", "call", tool=entry["name"], outcome=outcome, ms=int((self.clock() - began) * 1000))

    def _run(self, entry, name, arguments, request, consent, forecast, begun, asked):
        call = _NO_CALL
        try:
            if asked:
                consent = self.consent.of(request, entry["changes"])
                if self.settings.confirm == "token" and entry["changes"]:
                    arguments = {key: value for key, value in arguments.items() if key != "confirm_token"}
            refuse(self.selection.refusal(entry))
            tool = find(entry)
            args = parse(tool.args, arguments)
            call = Call(self, entry["name"], tool, args, request, consent, forecast, begun)
            hide_here(call.secrets.values())
            call.find_named()
            call.judge_arguments()
            unknown = call.node is None and "{node}" in tool.path or call.kind is None and "{kind}" in tool.path
            if unknown and getattr(args, "vmid", None) is not None:
                call.locate()
            if forecast is not None and not tool.changes:
                return Answer("")
            result = (tool.handler or without_handler)(call)
            return self._plan(call) if call.planned else self._answered(result, call)
        except EarlyResult as early:
            return self._answered(early.result, call)
        except NotYet as error:
            return Answer(str(error), outcome="later", planned=call.planned, questions=call.questions)
        except (Failure, PveError, Misfit) as error:
            if call.planned and not isinstance(error, Refused):
                return self._plan(call)
            if isinstance(error, Declined):
                error.headline = "%s was not confirmed" % title(entry["name"])
            if isinstance(error, (Refused, Declined)):
                self.audit.refused(entry, fields(find(entry).args), arguments, error, self.settings, request, call.args)
            if isinstance(error, Refused):
                return _failed(error.headline, error, _fate(entry, call, True), "refused", call)
            own = getattr(error, "outcome", None) == "unknown"                                    # it says so itself
            said = call.explained(error) if isinstance(error, (PveError, TaskFailure)) else error
            unknown = own or "unknown" in call.outcomes
            return _failed(getattr(error, "headline", None) or _what_failed(entry, call), said,
                           "" if own else _fate(entry, call),
                           "declined" if isinstance(error, Declined) else "unknown" if unknown else "failed", call)
        except ArgumentProblems as error:
            return misused(name, error)
        except KeyboardInterrupt:
            return _failed("%s was interrupted" % title(entry["name"]), _left(entry, call), "", "interrupted", call)
        except (Cancelled, *request.asks):
            raise
        except Exception as error:
            return _failed(_what_failed(entry, call), unreadable(self.log, error, tool=name),
                           _fate(entry, call, broken=True), call=call)
        finally:
            _undo(call)                            # what was cancelled, too
            hide_here(())

    def _plan(self, call):
        requests = [{"method": verb, "path": "/api2/json" + path,
                     "parameters": self.audit.masked(params, call.secrets, True, endpoints.shown(verb, path))}
                    for verb, path, params in call.planned]
        lines = []
        for entry in requests:
            lines.append("%(method)s %(path)s" % entry)
            lines.extend("    %s=%s" % pair for pair in entry["parameters"].items())
        says = "Dry run (PROXMOX_DRY_RUN)" if self.settings.dry_run else "Plan"
        return self._answered(Result(["%s: nothing was sent. %s would send:" % (says, call.name), text.Shown(
            "\n".join(lines))], {"done": False, "requests": requests}), call)

    def _answered(self, result, call):
        """Everything that leaves passes here: secrets out, invisible characters shown, size capped."""
        if call.unasked and self.clock() >= self._unasked_until:
            self._unasked_until = self.clock() + UNASKED_AGAIN
            result.parts.append(UNASKED)
        undo = _undo(call)
        if call.net:
            result.parts.append(text.Shown(_made_before(call.net)))
            result.data["safety"] = call.net
        if undo:
            result.parts.append(text.Shown("undo: %s" % undo))
            result.data["undo"] = undo
        data, weight = _harmless(result.whole())
        if weight > text.CAP - 2000:
            if self.settings.answers != "text":
                result.parts.append("The data was too large and was cut; ask for less.")
            data, weight = {"truncated": True, **text.smaller(data, text.CAP // 2)}, text.CAP // 2
        body = text.visible(scrub("%s %s" % (result.mark, result.text)))
        return Answer(text.fit(body, text.CAP - (weight if self.settings.answers == "both" else 0)), data,
                      outcome=_came_to(result), planned=call.planned, questions=call.questions, undo=undo)


def _made_before(net):
    """The sentence about the safety net that a call has made."""
    return "Made before, as its safety net: %s." % ", ".join("%s %s" % one for one in net.items())


def _came_to(result):
    """The outcome of a call that gave a Result: a task of which is told may go on or have failed, so may a command."""
    data = result.data
    if result.mark == "\u23f3":
        return "running"
    if data.get("ended") not in (None, "done") or data.get("incomplete"):       # of a run; of a guest's set-up
        return "failed"
    if data.get("exitcode") or data.get("signal") or data.get("ok") is False:        # the last of several guests
        return "command"
    return "failed" if (data.get("task") or {}).get("ok") is False else "done"


def _harmless(data):
    """(data without secrets and invisible characters, its weight). Most has none, which its JSON as a whole tells."""
    try:
        whole = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        whole = "\\"
    plain = "\\" not in whole and "\x7f" not in whole               # nothing that JSON writes otherwise, or should
    long = len(whole) > text.LONGEST and max(map(len, whole.split('"'))) > text.LONGEST
    if long or not plain or scrub(whole) != whole:
        data = text.clean(scrub(data))
        return data, text.weight(data)
    return data, len(whole)


def _what_failed(entry, call):
    """"Start VM failed for VM 100", as far as it is known."""
    vmid, node = (getattr(call.args, name, None) for name in ("vmid", "node"))
    return "%s failed%s" % (title(entry["name"]), " for " + call.subject if vmid else
                            " on node %s" % node if node else "")


def _fate(entry, call, refused=False, broken=False):
    """What became of the changes of a call that failed, as a sentence: the one place that says it."""
    outcomes = set(call.outcomes) - {"unsent"}
    if "unknown" in outcomes:
        return "Whether it took effect is not known: look at the target before you repeat the call."
    if broken and outcomes:
        return "A change had already been sent: look at the target before you repeat the call."
    return "Nothing was sent." if not outcomes and (refused or entry["changes"]) else ""


def _left(entry, call):
    """What became of a call that Ctrl-C ended: the task that goes on, or what became of its changes."""
    if parse_upid(call.task) is not None:
        return ("The task goes on in Proxmox: %s\nproxmox_get_task upid=UPID wait=40 follows it, proxmox_cancel_task "
                "upid=UPID stops it." % call.task)
    return _fate(entry, call, broken=True) or "Nothing was changed."
