"""One call of a tool, as its handler sees it: it reads with `get`, changes with `send`, waits for a task with `follow`,
asks with `confirm`, and ends in `tools.base.answers.result`.
"""
import difflib
import re
import threading
from functools import lru_cache, partial
from urllib.parse import unquote

from tools.base import moves
from tools.base.changes import Changes
from tools.base.failures import Failure, Refused, TaskFailure, explained, refuse
from tools.base.lists import NAMES, who
from tools.base.row import CONFIGURES, NOT_PARAMETERS, title
from tools.base.schema import ArgumentProblems, fields, is_name, secrets
from tools.policy import endpoints, freeze
from tools.policy.reach import Reach
from tools.pve import text
from tools.pve.client import TOTAL_SECONDS, PveError, Reply
from tools.pve.formats import Misfit, fill, misfit, parse_upid, property_string
from tools.pve.scrub import scrub, scrub_ours
from tools.pve.task import Outcome, follow
from tools.pve.waiting import PAUSES, Cancelled, wait_for

MAX_QUESTION = 6000             # characters of a question to the user, which is shown whole or not asked
POLL_SECONDS = 10               # one look at a task may take so long; then it is asked again
SPARE_SECONDS = 10              # a call has to end when it may not wait any more
LEAST_SECONDS = 2               # what a read may take however long the call has taken
RECENT_SECONDS = 5              # so old may be what `recent` gives
_MISSING_GUEST = re.compile(r"Configuration file 'nodes/[^']+' does not exist")
_MISSING_NODE = re.compile(r"hostname lookup '|no such cluster node|node '[^']*' does not exist"
                           r"|\A(?!.*/agent/).*\(HTTP 596\)")
UNSHOWN = ("What this would lose could not be shown before the steps ahead of it were done, so nobody has agreed to "
           "it. Call it by itself, or run what is left.")
#: Proxmox does not say what is missing, or not that a pool would do as well.
_LACKS = re.compile(r"Permission check failed \((?:(HTTP 403)|/vms/\d+, VM\.Allocate)\)")
_MAKES = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)(?:/\d+/clone)?")
WAIT = 30                                         # seconds to follow a task
STRICT = ("always", "terminal", "token")          # of PROXMOX_CONFIRM: all that may lose something is asked for
_SUFFIXES = {"vm": "qemu", "lxc": "lxc"}


class Call:
    """One call of a tool. A handler needs nothing else.

    host        what all calls share: settings, client, guard, audit, clock(), now() and sleep(event, seconds)
    request     who asks: cancelled and woken (Events), hurried, patience, wait, wants_progress, progress()
    node, kind  where it is, and "qemu" or "lxc": of the arguments or the row, or of its guest (`locate`); else None
    dry         whether nothing is to be sent: a dry run, or the plan of a step, whose `forecast` is what the steps
                before it will have made; then planned: (verb, path, params) of the changes that were not sent,
                questions: (what the user would be asked, what was found)
    begun       what a server that was interrupted has sent of it already, as the journal notes it: not sent again
    outcomes    what became of each change that was sent: accepted, refused, unsent (certainly not), unknown
    hidden      how many rows the guardrails took out of what was read
    task        what Proxmox answered to the last change, a UPID mostly, until the end of that task was seen; else None
    unasked     whether the user would have been asked, but for a client that cannot ask
    called      the name by which the arguments gave the guest, whose number is in its place now; else None
    changes     what the changes did that were sent (tools.base.changes); None where no journal is kept
    net         the safety net (tools.base.safety): None where none is asked for, {} before it is made
    secrets     {name: value} of the arguments that are secret and were given
    """

    def __init__(self, host, name, tool, args, request, consent=None, forecast=None, begun=()):
        self.begun = list(begun)
        self.dry, self.forecast, self.questions = host.settings.dry_run or forecast is not None, forecast, []
        self.host, self.name, self.tool, self.args, self.request = host, name, tool, args, request
        self.consent, self.secrets = consent, secrets(args)
        self.node, self.kind = getattr(args, "node", None), tool.kind or _SUFFIXES.get(name.rpartition("_")[2])
        if self.kind is None and getattr(args, "type", None) in NAMES:
            self.kind = args.type                       # elsewhere `type` is something else: a task's, a storage's
        self.planned, self.outcomes, self.hidden, self.unasked, self.task = [], [], 0, False, None
        self._all_guests = self._guests = None          # rows of /cluster/resources, with and without what is hidden
        self._along = {}                                # (verb, path) -> paths of the guests that HA moves along
        self._recent = {}                               # path -> (when, data) of what was read since the last change
        self._made = {}                                 # vmid -> row of the guests that this call makes
        self.called = self.net = None
        self._named = set()                             # the names of guests that numbers stand for
        self.changes = Changes(self) if host.journal is not None and not self.dry else None
        self._asked = False                             # whether the user was asked, or would have been
        self._noted = None                              # the audit log's entry of the last change
        self._began = getattr(request, "began", host.clock())

    # -- who and where

    @property
    def subject(self):
        """""VM 100 (web01)" (as it was named), "node pve1" of a call that is about no guest, or "the cluster"."""
        vmid = getattr(self.args, "vmid", None)
        if vmid is None:
            return "node %s" % self.node if self.node else "the cluster"
        return who({"type": self.kind, "vmid": vmid, "name": self.called})

    def guests(self, hidden=False):
        """The rows of /cluster/resources?type=vm; with those that the guardrails hide only to decide and to warn."""
        if self._all_guests is None:
            read = partial(self.host.client.request, "GET", "/cluster/resources", {"type": "vm"},
                           cancelled=self.request.cancelled, timeout=self._seconds())
            self._all_guests = (read().data or []) if self.forecast is None else self.forecast.guests(read)
        if self._guests is None and not hidden:
            self._guests = self._shown(self._all_guests)
        return self._all_guests if hidden else self._guests

    def forget(self):
        """Forget what was read of the cluster, so that it is read again."""
        self._guests, self._all_guests, self._along = None, None, {}

    def number_of(self, word):
        """The vmid (int) of the guest whose number or name `word` is; ArgumentProblems when not exactly one has it."""
        if not is_name(word):
            problem = misfit("vmid", word)
            if problem:
                raise ArgumentProblems(["vmid: %r %s" % (word[:80], problem)])
            return int(word)
        self._named.add(word)
        names = getattr(self.forecast or self.request, "names", {})     # of a step: what it meant when it was planned
        if self.forecast is None and word in names:
            return names[word]
        rows = [dict(row, name=str(row["name"])) for row in self.guests() if row.get("name")]
        found = [row for row in rows if row["name"] == word]
        if len(found) == 1:
            names[word] = int(found[0]["vmid"])
            return names[word]
        near = difflib.get_close_matches(word.lower(), {row["name"].lower() for row in rows}, 5, 0.6)
        listed = text.cut(", ".join("%s on %s" % (who(row), text.line(row.get("node"))) for row in found or [
            row for row in rows if row["name"].lower() in near]), 600)
        if found:
            raise ArgumentProblems(["vmid: %d guests are called %s: %s. Say its number." % (len(found), word, listed)])
        raise ArgumentProblems(["vmid: no guest that can be seen here is called %s.%s" % (
            word, " Near: %s." % listed if listed else " proxmox_get_vms lists the guests.")])

    def find_named(self):
        """Put its number in the place of each guest's name in the arguments, before anything is judged; called: that of
        a single one. Raises as `number_of`."""
        args = self.args
        for field in fields(type(args)):
            value = getattr(args, field.name)
            if field.name == "vmids":
                args.vmids = list(dict.fromkeys(map(self.number_of, value)))
            elif field.name == "vmid" and field.type is int and isinstance(value, str):
                args.vmid, self.called = self.number_of(value), value
            elif field.arg.listed and field.name in ("vmid", "exclude", "vms") and isinstance(value, str):
                words = re.split(r"[,;\s]+", value)
                if any(map(is_name, words)):
                    setattr(args, field.name, ",".join(
                        str(self.number_of(word) if is_name(word) else word) for word in words))

    def entry(self, vmid):
        """The row of a guest in `guests`; None when there is none that may be seen."""
        return next((row for row in self.guests() if str(row.get("vmid")) == str(vmid)), None)

    def guest(self):
        """The row of this call's guest; PveError when there is none or it is of the other type."""
        vmid = self.args.vmid
        row = self.entry(vmid)
        if row is None:
            raise PveError("There is no guest %s in this cluster, or the token may not see it (privilege VM.Audit on "
                           "/vms/%s). proxmox_get_vms lists the guests." % (vmid, vmid))
        kind = row.get("type")
        if self.kind and kind != self.kind:
            raise PveError("Guest %s is a %s, not a %s; use the tool for a %s%s." % (
                vmid, NAMES.get(kind), NAMES[self.kind], NAMES.get(kind),
                " (or type=%s)" % kind if hasattr(self.args, "type") else ""))
        return row

    def locate(self):
        """Find out where this call's guest is, and of which type: sets node and kind. PveError as `guest` does."""
        row = self.guest()
        self.node, self.kind = row["node"], self.kind or str(row["type"])

    def path(self, template, ids=None):
        """`template` with the ids of this call filled in, each checked; a "." at the start is the guest's path."""
        if template.startswith("."):
            template = "/nodes/{node}/{kind}/{vmid}" + template[1:]
        return fill(template, {**vars(self.args), "node": self.node, "kind": self.kind, **(ids or {})})

    # -- Proxmox

    def get(self, template, ids=None, query=None, /, **params):
        """The data of a GET. `template` and `ids` as in `path`; query (dict) and params are its parameters."""
        return self.reply(template, ids, query, **params).data

    def try_get(self, template, ids=None, query=None, /, **params):
        """As `get`; None when it cannot be read."""
        try:
            return self.get(template, ids, query, **params)
        except PveError:
            return None

    def reply(self, template, ids=None, query=None, /, **params):
        """The Reply of a GET, with .extra (total, changes)."""
        path, params = self.path(template, ids), dict(query or {}, **params)
        if self.host.guard.bounded or self.host.settings.read_only:
            self.permit("GET", path, params)
        if self.forecast is not None:
            data = self.forecast.made(path)
            if data is not None:
                return Reply(data, {})
        try:
            reply = self.host.client.request("GET", path, params, self.request.cancelled, timeout=self._seconds())
        except PveError as error:
            raise self._explain(error, "GET", path, params) from None
        reply = reply._replace(data=self._shown(reply.data))
        if self.forecast is not None:
            reply = reply._replace(data=self.forecast.changed(path, reply.data))
        if not params:
            self._recent[path] = self.host.clock(), reply.data
        return reply

    def recent(self, path):
        """The data of a GET of `path`, as `get`; what was read a moment ago, and since the last change, will do."""
        at, data = self._recent.get(path, (None, None))
        return data if at is not None and self.host.clock() - at <= RECENT_SECONDS else self.get(path)

    def together(self, requests):
        """What many GETs, (template, ids, query) as in `get`, gave; as `each`."""
        return self.each(requests, lambda request: self.get(*request))

    def answered(self, template, rows, query=None):
        """[(row, data)] of those of the rows (which have the ids) whose GET of `template` gave some."""
        answers = self.together([(template, row, query) for row in rows])
        return [(row, data) for row, data in zip(rows, answers) if data and not isinstance(data, Exception)]

    def each(self, requests, do):
        """What `do` gave for each of `requests`, in their order, or the PveError, Failure or Misfit it raised; as many
        at a time as the client lets through. Anything else is raised when those under way have ended."""
        answers, raised, todo, lock = [None] * len(requests), [], iter(enumerate(requests)), threading.Lock()
        most = self.host.client.in_flight

        def work():
            while not raised:
                with lock:
                    number, request = next(todo, (None, None))
                    if number is not None and self.request.wants_progress and len(requests) > most:
                        self.progress(100.0 * number / len(requests), "%d of %d" % (number, len(requests)))
                if number is None:
                    return
                try:
                    if self.within(0) < -SPARE_SECONDS:
                        raise Failure("There was no time left for it; call again, for fewer nodes or guests at a time.")
                    answers[number] = do(request)
                except (PveError, Failure, Misfit) as error:
                    answers[number] = error
                except BaseException as error:
                    raised.append(error)
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(requests)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if raised:
            raise raised[0]
        return answers

    def send(self, params=None, endpoint=None, ids=None, /, **more):
        """The data of a request that changes something, sent at most once. endpoint: "VERB /path", if not the row's."""
        verb, path, params = self.allow(dict(params or {}, **more), endpoint, ids)
        shown = self.host.audit.masked(params, self.secrets, True, endpoints.shown(verb, unquote(path)))
        reach = Reach(verb, unquote(path), params)
        if not (self._asked or self.outcomes or self.planned) and self.host.settings.confirm in STRICT and (
                endpoints.LOSES == reach.effect):
            self.confirm(lambda: ("Send %s %s with %s to Proxmox? It may lose something." % (verb, path, ", ".join(
                "%s=%s" % (key, text.word(value)) for key, value in shown.items()) or "nothing more"), {}))
        noted = next((one for one in self.begun if (one["verb"], one["path"], one["params"]) == (verb, path, shown)),
                     None)
        if noted is not None:
            self.begun.remove(noted)
        if self.dry:
            self.planned += [(verb, path, params)] * (noted is None)
            return None
        if noted is not None:                           # a server before this has sent it
            self._recent.clear()
            self.outcomes.append("accepted")
            self.task = noted.get("upid")
            if self.changes is not None:
                self.changes.take_up(noted)
            return self.task
        own = getattr(self.request, "own", None)
        if own is not None and (reach.everyone or not own.issuperset(reach.guests)
                                or endpoints.commands(verb, unquote(path), params)):
            raise Failure(UNSHOWN)
        if self.changes is not None:
            self.changes.before(verb, path, params)
        self._recent.clear()
        audit, outcome, data, said = self.host.audit, "unknown", None, None
        self.request.writing = True
        try:
            self._noted = audit.begin(self, verb, path, params)
            try:
                data = self.host.client.request(
                    verb, path, params, self.request.cancelled, acts=True,
                    last=lambda: refuse(self.host.guard.change(verb, unquote(path)))).data
                outcome, self.task = "accepted", data
            except PveError as error:
                outcome, said = error.outcome, str(error)
                raise
            except BaseException as error:              # these come before it is sent; of others nobody knows
                outcome = "unsent" if isinstance(error, (Cancelled, Refused)) else "unknown"
                said = type(error).__name__
                raise
            finally:
                self.outcomes.append(outcome)
                if self.changes is not None:
                    self.changes.sent(outcome, data)
                audit.end(self._noted, outcome, data, said)
        except PveError as error:
            raise self._explain(error, verb, path, params) from None
        finally:
            self.request.writing = False
        return data

    def allow(self, params, endpoint=None, ids=None):
        """(verb, path, params) of what `send` would send; Refused when it may not be, so before anybody is asked."""
        verb, _, template = (endpoint or self.tool.endpoint).partition(" ")
        path, params = self.path(template, ids), {key: value for key, value in params.items() if value is not None}
        self.permit(verb, path, params)
        if self.tool.verb == "ANY":
            self.refuse_taken(verb, unquote(path), params)
        return verb, path, params

    def judge_arguments(self):
        """Refused when the arguments name what is out of bounds, or do what a tool does that is switched off."""
        for field in fields(type(self.args)):
            value = getattr(self.args, field.name)
            if field.arg.does and value is not None and (value is not False or CONFIGURES in field.arg.does):
                self.refuse_option(field.name, field.arg.does, value)
        guard, args = self.host.guard, {**vars(self.args), **self.tool.fixed}
        if args.get("command") is not None:
            refuse(guard.command(args["command"]))
        if guard.bounded and self.tool.verb != "ANY":   # a raw request is judged as it is
            path = re.sub(r"\{(\w+)\}", lambda match: str(args.get(match.group(1)) or "-"),
                          self.tool.path.replace("{kind}", "qemu").replace("{type}", "qemu"))
            reach = Reach(self.tool.verb, path, {name: value for name, value in args.items()
                                                 if "{%s}" % name not in self.tool.path})
            reach.nodes.discard("-")
            reach.everyone = reach.elsewhere = False    # what the requests themselves say is looked at then
            refuse(self._judged(reach))

    def permit(self, verb, path, params):
        """Refused when the guardrails do not let a request pass. Nothing is sent but, at most, a look at the guests."""
        guard = self.host.guard
        if "%" in path:                                 # as pveproxy does it: the whole path, before it is split
            path = unquote(path)
        refuse(guard.change(verb, path))
        if not hasattr(self.args, "command"):           # that was judged with the arguments
            refuse(guard.runs(verb, path, params))
        if self.net is None:
            refuse(guard.unsafe(verb, path, params))
        if guard.bounded:
            refuse(self._judged(Reach(verb, path, params)))
            if (verb, path) not in self._along:
                self._along[verb, path] = moves.others(self, verb, path)
            for other in self._along[verb, path]:
                refusal = self._judged(Reach(verb, other, params))
                refuse(refusal and refusal._replace(reason="HA moves it along. " + refusal.reason))

    def refuse_taken(self, verb, plain, params, when=all):
        """Refused for a request that stands for a tool which is taken away, by a parameter or as a whole: `when` all,
        or any, of those that send it are."""
        found, host = endpoints.find(verb, plain), self.host
        if found.effect == endpoints.READS or not host.selection.without:
            return
        same = []
        for name, entry in host.entries.items():
            other = endpoints.find(*entry["endpoint"].split(" ", 1))
            if other.template == found.template and (other.verb == verb or {other.verb, verb} == {"POST", "PUT"}):
                same.append((name, host.selection.taken(entry)))
        taken = [name for name, gone in same if gone]
        if taken and when(gone for _, gone in same):
            raise Refused("PROXMOX_TOOLS takes away %s, which sends this." % taken[0], "%s %s" % (verb, plain))
        for name, _ in same if params else ():
            for field in fields(host.row(name).args):
                if field.arg.does and params.get(field.parameter) not in (None, False, 0, "0", ""):
                    self.refuse_option(field.parameter, field.arg.does, params[field.parameter], name)

    def refuse_option(self, name, does, value=None, tool=None):
        """Refused when an argument (of `tool`) does what one of the tools in `does` (see Arg) does, and that is taken
        away. value: the argument's, of which the keys count where `does` has patterns."""
        keys, lxc = re.split(r"[,;\s]+", value) if isinstance(value, str) else value, "_lxc" in (tool or self.name)
        for word in does.format(kind="lxc" if lxc else "vm", volume="mountpoint_lxc" if lxc else "disk_vm").split():
            pattern, _, word = word.rpartition("=")
            entry = self.host.entries["proxmox_" + word]
            if self.host.selection.taken(entry) and (not pattern or any(re.fullmatch(pattern, key) for key in keys)):
                raise Refused("PROXMOX_TOOLS takes away %s, which does that. Call again without it." % entry["name"],
                              "The argument %s is not allowed" % name)

    def refuse_frozen(self):
        """Refused while changes are frozen; for what is not sent by `send`, too."""
        refuse(freeze.refusal(self.host.settings.state_dir, "%s changes something" % self.name))

    def _judged(self, reach):
        """The guard's Refusal of a Reach, or None; it is given the guests' rows where it needs them."""
        rows = self._rows_by_id() if self.host.guard.wants_rows(reach) else {}
        self._made.update(reach.new_rows(rows))
        return self.host.guard.judge(reach, rows, self._made)

    def _rows_by_id(self):
        return {int(row["vmid"]): row for row in self.guests(hidden=True) if str(row.get("vmid") or "").isdigit()}

    def _shown(self, data):
        guard = self.host.guard
        if not guard.hides or data is None:
            return data
        data, hidden = guard.shown(data, lru_cache(None)(lambda: {**self._rows_by_id(), **self._made}))
        self.hidden += hidden
        return data

    def _explain(self, error, verb, path, params):
        """`error` itself, or one that names the guest's right node, or what the token needs where Proxmox does not."""
        said, wanted, vmid = str(error), re.match(r"/nodes/([^/]+)", path), getattr(self.args, "vmid", None)
        wanted, lacks = wanted and unquote(wanted.group(1)), error.status == 403 and _LACKS.search(said)
        if vmid and wanted and _MISSING_GUEST.search(said):
            node = self.guest()["node"]
            if node != wanted:
                said = "%s is on node %s, not on %s. Call again with node=%s or leave node out." % (
                    text.capital(self.subject), node, wanted, node)
        elif _MISSING_NODE.search(said):
            try:
                said = next(filter(None, (self.node_problem(name) for name in (
                    wanted, params.get("node"), params.get("target")) if name)), said)
            except PveError:
                pass
        elif lacks:
            needs = (endpoints.find(verb, path).privileges or ()) if lacks.group(1) else ()
            listed = [" on ".join(reversed(need.replace("|", " or ").split(" ", 1))) for need in needs]
            said += "\nIt needs: %s." % ", ".join(listed) if needs else ""
            if _MAKES.fullmatch(path) and (needs or not params.get("pool")):
                said += "\nA guest may also be made with VM.Allocate on /pool/NAME, with pool=NAME."
        return error if said == str(error) else PveError(said, error.status, error.outcome)

    def node_problem(self, name):
        """Why `name` (str) is no node that can be used, as a sentence; None when it is one."""
        nodes = {str(row.get("node")): row.get("status") for row in self.get("/nodes") or []}
        if name not in nodes:
            close = [node for node in nodes if node.lower() == name.lower()]
            return "There is no node %s in this cluster.%s Its nodes are: %s." % (
                text.line(name), " Did you mean %s?" % close[0] if close else "", ", ".join(sorted(nodes)))
        return None if nodes[name] == "online" else "Node %s is %s." % (name, text.line(nodes[name]))

    def parameters(self):
        """The arguments given and what is fixed, as Proxmox's parameters: not those of the path, the page, a filter."""
        left_out = {*NOT_PARAMETERS, *re.findall(r"\{(\w+)\}", self.tool.path)}
        left_out.update(getattr(self.tool.returns, "filters", ()))
        given = {field.parameter: getattr(self.args, field.name) for field in fields(type(self.args))
                 if field.name not in left_out}
        return {**{name: value for name, value in given.items() if value is not None}, **self.tool.fixed}

    def explained(self, error):
        """What an error of Proxmox's says and means, without guests out of bounds that the arguments do not name."""
        said, given = explained(error, self.tool.explains, self.kind, self.host.settings.token_id), str(vars(self.args))
        try:
            return self.host.guard.told(said, given, lru_cache(None)(self._rows_by_id))
        except PveError:
            return self.host.guard.told(said, given, dict)

    # -- waiting and asking

    @property
    def wait_limit(self):
        """Seconds to follow a task: to its end in a run; else the argument `wait`, else WAIT."""
        wait = getattr(self.args, "wait", None) if self.request.wait is None else self.request.wait
        return WAIT if wait is None else wait

    def follow(self, answer, check=True, limit=None):
        """The Outcome of what `send` gave: of a task (a UPID) followed for `limit` (default: `wait_limit`) seconds.
        Failure when the task failed (unless check is false), or when the answer is neither empty nor a task."""
        if answer is None or answer == "":
            return Outcome(upid=None, status="stopped", exitstatus="OK")
        task = parse_upid(answer)
        if task is None:
            if answer == "OK":                          # vzdump, of guests of another node
                raise Failure("Proxmox answered 'OK' but started no task: nothing was done.")
            self.outcomes.append("unknown")
            raise Failure("Proxmox answered %r but started no task." % str(answer)[:80])
        request = partial(self.host.client.request, cancelled=self.request.cancelled,
                          timeout=min(POLL_SECONDS, self._seconds() or POLL_SECONDS))
        report = self.progress if self.request.wants_progress else None
        try:
            outcome = follow(request, task, self.within(self.wait_limit if limit is None else limit), self.sleep,
                             self.host.clock, report)
        except Cancelled:
            self.host.log("info", "no longer followed, the task goes on in Proxmox", tool=self.name, upid=answer)
            raise
        self.host.audit.task(self._noted, outcome)
        if outcome.status == "stopped":
            self.task = None
        if check and outcome.failed:
            raise TaskFailure(outcome)
        return outcome

    def wait_for(self, look, done, limit, says, pauses=PAUSES):
        """As `waiting.wait_for`, within the client's patience; says(what look gave) -> str is told to it meanwhile."""
        return wait_for(look, done, self.within(limit), self.sleep, self.host.clock,
                        lambda found: self.progress(None, says(found)), pauses)

    def within(self, seconds):
        """So many seconds, or what is left of those that the client waits without progress."""
        patience = self.request.patience
        return seconds if patience is None else min(seconds, patience - (self.host.clock() - self._began))

    def _seconds(self):
        """What a read may take in seconds, or None for the usual."""
        if self.request.hurried:
            return LEAST_SECONDS / 2
        left = self.within(TOTAL_SECONDS) + SPARE_SECONDS
        return None if left >= TOTAL_SECONDS else max(LEAST_SECONDS, left)

    def sleep(self, seconds):
        """Wait; Cancelled at once when the client cancels. True when there is no time to wait, as the server ends."""
        try:
            self.host.sleep(self.request.woken, seconds)
        except Cancelled:
            if not self.request.hurried:
                raise
        return self.request.hurried

    def progress(self, percent, message):
        """Tell the client how far it is: percent (0..100 or None), message (str, a line of a task's log say)."""
        self.request.progress(percent, text.line(scrub(message), 500))

    def confirm(self, describe, strict=False, whole=False):
        """Ask the user before something is lost; returns `found`. describe() -> (question, found): it reads the target
        and says in one or two sentences what would go; `found` (dict) is what must still be true when the answer comes.
        strict: for what is mostly harmless, or can be put back; asked only where PROXMOX_CONFIRM is always, terminal or
        token. whole: the question tells all arguments; else those that it does not are added. Nobody is asked for what
        is frozen."""
        self.refuse_frozen()
        if strict and self.host.settings.confirm not in STRICT:
            return {}
        self._asked = True

        def shown():
            question, found = describe()
            question += "" if whole else self._besides(question)
            if self.host.settings.cluster and self.forecast is None and getattr(self.request, "run", None) is None:
                question = "On cluster %s: %s" % (self.host.settings.cluster, question)     # of a run once
            question = text.unmistakable(text.line(scrub_ours(question), MAX_QUESTION + 1))
            if len(question) > MAX_QUESTION:
                raise Refused("The question would be longer than the %d characters that can be shown, and what is not "
                              "shown whole is not asked. Do it in several calls, each with a part of it."
                              % MAX_QUESTION, "%s cannot be asked for" % title(self.name))
            return question, dict(found, named={word: self.number_of(word) for word in sorted(self._named)})
        if self.dry:
            self.questions.append(shown())
        found = self.questions[-1][1] if self.dry else self.consent.ask(self, shown)
        return {key: value for key, value in found.items() if key != "named"}

    def _besides(self, question):
        """" With start=1." of the arguments given that a question does not tell; that of a raw request tells all."""
        given, whole = {}, set()                    # name to Proxmox -> value; names of what a question is about
        for field in fields(type(self.args)):
            value = getattr(self.args, field.name)
            if value != field.default and field.name not in (*NOT_PARAMETERS, "vmid") and self.tool.verb != "ANY":
                given.update(value if isinstance(value, dict) else {field.parameter: value})
                whole |= {field.parameter} if field.required or field.type is list else set()
        plain, left = (*endpoints.shown(self.tool.verb, self.tool.path), *endpoints.RUN), []
        for name, value in self.host.audit.masked(given, self.secrets, True, plain).items():
            parts = value if isinstance(value, list) else [value]
            if name not in whole or any(text.line(part, text.WHOLE) not in question for part in parts):
                value = int(value) if isinstance(value, bool) else property_string(value) if isinstance(
                    value, dict) else ",".join(map(str, parts))
                left.append((name, text.word(text.line(value, text.WHOLE))))
        left = ["%s=%s" % pair for pair in left if not re.search(
            r"\b%s(?:=|:? )(?:[^,]* -> )?%s(?!\w)" % tuple(map(re.escape, pair)), question)]
        return " With %s." % ", ".join(left) if left else ""
