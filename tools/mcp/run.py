"""What all calls share (settings, client, guardrails, audit), and how one call runs from its name to its answer."""
import json
import threading
import time

from tools import RENAMED, find, surface
from tools.base.call import Call, send
from tools.base.failures import Declined, Failure, Instead, Refused
from tools.base.row import title
from tools.base.schema import ArgumentProblems, parse
from tools.policy.audit import Audit, secrets
from tools.policy.guard import Guard, Limiter
from tools.pve import text
from tools.pve.client import Cancelled, Client, PveError, import_requests
from tools.pve.formats import Misfit
from tools.pve.scrub import hide_here, scrub

#: What is said when a handler breaks: mostly over an answer of another shape, such as null for a list.
UNREADABLE = "Proxmox answered with something that this tool cannot read, or there is a mistake in this program"


def demo_adapter(settings):
    """What takes the network's place: the demo cluster when the settings ask for it, else None."""
    if not settings.demo:
        return None
    try:
        import_requests()
    except PveError:
        return object()         # never looked at: the client says at its first request that requests is missing
    from tools.demo import DemoCluster
    return DemoCluster()


class UnknownTool(LookupError):
    """There is no tool of that name (in the toolsets that are switched on)."""


class Answer:
    """What a call came to: text (str), data (dict, or None when it failed), failed (bool)."""

    __slots__ = ("text", "data", "failed")

    def __init__(self, text, data=None, failed=False):
        self.text, self.data, self.failed = text, data, failed


class Request:
    """Who asks, as a call sees it; an MCP request has the same attributes. This is nobody: no progress, no question."""

    #: Exceptions that are the asker's own affair (a question to the user, say): a call lets them pass.
    aside = ()
    #: Whether progress() reaches anybody; where not, no log is read for it.
    wants_progress = False

    def __init__(self):
        self.cancelled = threading.Event()

    def progress(self, percent, message):
        """Tell how far a task is: percent (0..100 or None), message (str)."""


class NoConsent:
    """Asks nobody: the target is read, named, and what was asked is done (PROXMOX_CONFIRM=off)."""

    def ask(self, call, describe):
        return describe()[1]


def wait(cancelled, seconds):
    """Sleep so many seconds; raises Cancelled at once when the Event is set."""
    if cancelled.wait(seconds):
        raise Cancelled("cancelled by the client")


class Host:
    """One Proxmox and how to treat it. `adapter`, `clock` and `sleep` are given by tests and by --demo."""

    def __init__(self, settings, log=None, adapter=None, consent=None, clock=time.monotonic, sleep=wait):
        self.settings, self.log = settings, log or (lambda level, event, **fields: None)
        self.clock, self.sleep = clock, sleep
        self.guard, self.limiter = Guard(settings), Limiter(settings, clock)
        self.client = Client(settings, adapter=adapter, log=self.log, limiter=self.limiter, clock=clock,
                             sleep=None if sleep is wait else lambda seconds: sleep(threading.Event(), seconds))
        self.audit = Audit(settings.audit_log, scrub, self.log)
        self.consent = consent or NoConsent()
        self._apidoc = None
        self._surface = {entry["name"]: entry for entry in surface()}
        self.entries = {name: entry for name, entry in self._surface.items() if self.guard.listed(entry)}
        for sentence in self.guard.warnings(self._surface):
            self.log("warning", sentence)

    def apidoc(self, cancelled=None):
        """The API schema of this Proxmox (tools.pve.apidoc.ApiDoc), read at first use; PveError or ValueError."""
        if self._apidoc is None:
            from tools.pve.apidoc import Source
            name = ",".join("%s:%s" % one for one in self.settings.host)
            self._apidoc = Source(self.client, name, self.settings.state_dir, self.clock)
        return self._apidoc.get(cancelled)

    def run(self, name, arguments, request=None):
        """The Answer of the tool `name`; UnknownTool when there is none. Cancelled when the client cancelled it."""
        request = request or Request()
        entry = self._surface.get(RENAMED.get(name, name))
        if entry is None:
            raise UnknownTool(name)
        call = None
        try:
            self.guard.admit(entry)
            tool = find(entry)
            call = Call(self, entry["name"], tool, parse(tool.args, arguments), request)
            hide_here(secrets(call.args).values())
            self.guard.arguments(call)
            result = (tool.handler or send)(call)
            if call.planned:
                return self._plan(call)
            return self._answer(result.mark + " " + result.text, result.data)
        except Cancelled:
            raise
        except request.aside:
            raise
        except Instead as other:
            return self._answer(other.result.mark + " " + other.result.text, other.result.data)
        except Refused as error:
            self.audit.refused(entry, arguments, error, self.settings, request, call and call.args)
            return self._answer("\U0001f6ab Permission Denied: %s\n\n%s%s" % (
                error.headline, error, _fate(entry, call, error)))
        except ArgumentProblems as error:
            return self._failure("%s was not called: %s" % (name, "an argument is wrong" if len(error.problems) == 1
                                                            else "%d arguments are wrong" % len(error.problems)), error)
        except (PveError, Failure, Misfit) as error:
            if call is not None and call.planned:
                return self._plan(call)
            if isinstance(error, Declined):
                self.audit.refused(entry, arguments, error, self.settings, request, call.args)
            return self._failure(getattr(error, "headline", None) or _failed(entry, call),
                                 "%s%s" % (error, _fate(entry, call, error)))
        except Exception as error:
            import traceback
            self.log("error", "unreadable answer or mistake", tool=name, error=repr(error),
                     traceback=traceback.format_exc())
            changed = "Nothing was changed." if call is None or not call.writes else (
                "A change was sent before that: look at the target before you repeat the call.")
            return self._failure(_failed(entry, call), "%s (%s; the server's log on stderr has the details). %s" % (
                UNREADABLE, type(error).__name__, changed))
        finally:
            hide_here(())

    def _failure(self, headline, reason):
        return self._answer("\u274c Error: %s\n\n%s" % (headline, reason))

    def _plan(self, call):
        requests = [{"method": verb, "path": "/api2/json" + path, "parameters": self.audit.scrubbed(params, call)}
                    for verb, path, params in call.planned]
        lines = ["Dry run (PROXMOX_DRY_RUN): nothing was sent. %s would send:" % call.name]
        for entry in requests:
            lines.append("%(method)s %(path)s" % entry)
            lines.extend("    %s=%s" % pair for pair in entry["parameters"].items())
        return self._answer("\u2705 " + "\n".join(lines), {"status": "dry-run", "requests": requests})

    def _answer(self, body, data=None):
        """Everything that leaves passes here: secrets out, invisible characters shown, size capped."""
        body = text.visible(scrub(body))
        if data is None:
            return Answer(text.fit(body, text.CAP // 4), failed=True)
        data, weight = _harmless(data)
        room = text.CAP - weight
        if room < 2000:
            data, room = {"truncated": True, **text.smaller(data, text.CAP // 2)}, text.CAP // 2
            body += "\nThe data was too large and was cut; ask for less."
        return Answer(text.fit(body, room), data)


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


def _fate(entry, call, error):
    """The last line of a failure, of a tool that changes something: whether it did."""
    sent = call is not None and call.writes or "othing was" in str(error)
    return "\nNothing was sent." if entry["changes"] and not sent else ""


def _failed(entry, call):
    """"Start VM failed for VM 100", as far as it is known."""
    whose = ""
    if call is not None and getattr(call.args, "vmid", None):
        whose = " for " + call.subject
    elif call is not None and getattr(call.args, "node", None):
        whose = " on node %s" % call.args.node
    return "%s failed%s" % (title(entry["name"]), whose)
