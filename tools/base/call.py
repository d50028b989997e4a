"""One call of a tool, as its handler sees it."""
import re

from tools.base.answers import Result, Table, running_text, task_failure
from tools.base.failures import Failure
from tools.base.row import DEFAULT_LIMIT, NOT_PARAMETERS
from tools.base.schema import fields
from tools.pve import text
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import fill, parse_upid
from tools.pve.scrub import scrub
from tools.pve.task import Outcome, follow

POLL_SECONDS = 15               # one look at a task may take so long; then it is asked again
_MISSING_GUEST = re.compile(r"Configuration file 'nodes/[^']+' does not exist")
_MISSING_NODE = re.compile(r"hostname lookup '|no such cluster node|node '[^']*' does not exist")
NAMES = {"qemu": "VM", "lxc": "container"}


def send(call):
    """The handler of a row without one: its arguments are the parameters of its endpoint."""
    if call.tool.verb == "GET":
        return call.answer(call.get(call.tool.path, **call.parameters()))
    return call.finish(call.send(**call.parameters()))


class Call:
    """One call of a tool: its arguments, Proxmox, the user, and how to answer. A handler needs nothing else.

    host      what is shared by all calls: settings, client, guard, audit, consent, clock() and sleep(event, seconds)
    request   the MCP request: cancelled (threading.Event), progress(percent or None, message)
    """

    def __init__(self, host, name, tool, args, request):
        self.host, self.name, self.tool, self.args, self.request = host, name, tool, args, request
        self.planned = []               # (verb, path, params) of a dry run
        self.writes = 0                 # changes sent
        self.hidden = 0                 # rows that the guardrails took out of what was read
        self.made = {}                  # vmid -> pool and tags of guests that this call makes, for the guardrails
        self._everything = None
        self._resources = None
        self._node = getattr(args, "node", None)
        self._audit = None

    # -- where

    @property
    def kind(self):
        """"qemu" or "lxc": of the endpoint, else of the argument `type`; None when neither says it."""
        for kind in ("qemu", "lxc"):
            if "/%s/" % kind in self.tool.path or self.tool.path.endswith("/" + kind):
                return kind
        if self.name.endswith(("_vm", "_lxc")):
            return "lxc" if self.name.endswith("_lxc") else "qemu"
        kind = getattr(self.args, "type", None)
        return kind if kind in NAMES else None          # elsewhere `type` is something else: a task's, a storage's

    @property
    def node(self):
        """The node of this call: the argument, or where the guest is (one request to /cluster/resources)."""
        if self._node is None and getattr(self.args, "vmid", None):
            self._node = self.guest()["node"]
        return self._node

    @property
    def base(self):
        """The path of the guest: "/nodes/pve1/qemu/100"."""
        return fill("/nodes/{node}/{kind}/{vmid}", {"node": self.node, "kind": self.kind, "vmid": self.args.vmid})

    @property
    def subject(self):
        """"VM 100" or "container 101"."""
        return "%s %s" % (NAMES.get(self.kind, "guest"), self.args.vmid)

    def resources(self):
        """All guests the token may see, as /cluster/resources?type=vm tells; one request a call."""
        if self._resources is None:
            self._resources = self.host.guard.visible(self, self.everything())
        return self._resources

    def everything(self):
        """As `resources`, with the guests that the guardrails hide: for the guardrails themselves."""
        if self._everything is None:
            self._everything = self.host.client.request("GET", "/cluster/resources", {"type": "vm"},
                                                        cancelled=self.request.cancelled).data or []
        return self._everything

    def forget(self):
        """Forget what was read of the cluster, so that it is read again."""
        self._resources = self._everything = None

    def entry(self, vmid):
        """The /cluster/resources entry of a guest; None when there is none that may be seen."""
        return next((row for row in self.resources() if str(row.get("vmid")) == str(vmid)), None)

    def guest(self):
        """The `entry` of this call's guest; PveError when there is none or it is of the other type."""
        vmid = self.args.vmid
        row = self.entry(vmid)
        if row is None:
            raise PveError("There is no guest %s in this cluster, or the token may not see it (privilege VM.Audit on "
                           "/vms/%s). proxmox_get_vms lists the guests." % (vmid, vmid))
        if self.kind and row.get("type") != self.kind:
            raise PveError("Guest %s is a %s, not a %s; use the tool for a %s%s." % (
                vmid, NAMES.get(row.get("type")), NAMES[self.kind], NAMES.get(row.get("type")),
                " (or type=%s)" % row.get("type") if hasattr(self.args, "type") else ""))
        return row

    # -- Proxmox

    def path(self, template, ids=None):
        """`template` with the ids of this call filled in, each checked; a "." at the start is the guest's path."""
        if template.startswith("."):
            return self.base + fill(template[1:], self._ids(template, ids))
        return fill(template, self._ids(template, ids))

    def _ids(self, template, ids):
        known = dict(vars(self.args))
        if "{node}" in template:
            known["node"] = self.node
        if "{kind}" in template:
            known["kind"] = self.kind
        known.update(ids or {})
        return known

    def get(self, template, /, ids=None, **params):
        """The data of a GET. `template` as in `path`; params are its query."""
        return self.reply(template, ids, **params).data

    def reply(self, template, /, ids=None, **params):
        """The Reply of a GET, with .extra (total, changes)."""
        path = self.path(template, ids)
        self.host.guard.request(self, "GET", path, params)
        try:
            reply = self.host.client.request("GET", path, params, cancelled=self.request.cancelled)
        except PveError as error:
            raise self._explain(error) from None
        reply.data = self.host.guard.visible(self, reply.data)
        return reply

    def send(self, template=None, /, ids=None, verb=None, **params):
        """The data of a request that changes something: the row's endpoint, or another one. Sent at most once."""
        if template is None:
            template, verb = self.tool.path, verb or self.tool.verb
        path, verb = self.path(template, ids), verb or "POST"
        params = {key: value for key, value in params.items() if value is not None}
        self.host.guard.request(self, verb, path, params)
        if self.host.settings.dry_run:
            self.planned.append((verb, path, params))
            return None
        self.request.writing = True
        try:
            return self._send(verb, path, params)
        except PveError as error:
            raise self._explain(error) from None
        finally:
            self.request.writing = False

    def _send(self, verb, path, params):
        """`send`, with its intent and its outcome in the audit log."""
        audit = self.host.audit
        self._audit = audit.begin(self, verb, path, params)
        self.writes += 1
        try:
            data = self.host.client.request(verb, path, params, cancelled=self.request.cancelled).data
        except PveError as error:
            audit.end(self._audit, error.outcome, error=str(error))
            raise
        except BaseException as error:                  # Cancelled comes before it is sent; of others nobody knows
            audit.end(self._audit, "unsent" if isinstance(error, Cancelled) else "unknown", error=type(error).__name__)
            raise
        audit.end(self._audit, "accepted", upid=data if parse_upid(data) else None)
        return data

    def _explain(self, error):
        """`error` itself, or the one that names the right node or type of the guest that was asked for."""
        wanted = getattr(self.args, "node", None)
        vmid = getattr(self.args, "vmid", None)
        if vmid and wanted and _MISSING_GUEST.search(str(error)):
            row = self.guest()
            if row["node"] != wanted:
                return PveError("%s is on node %s, not on %s. Call again with node=%s, or leave node "
                                "out." % (self.subject, row["node"], wanted, row["node"]))
        elif wanted and _MISSING_NODE.search(str(error)):
            names = sorted(str(n.get("node")) for n in self.get("/nodes"))
            if wanted not in names:
                return PveError("There is no node %s in this cluster. Its nodes: %s." % (wanted, ", ".join(names)))
        return error

    def config(self, **params):
        """The guest's config (dict) with pending changes applied, its digest included."""
        return self.get("./config", **params)

    def pending(self):
        """Keys of the guest's config that wait for a restart: {key: new value, or None when it will be deleted}."""
        return {entry["key"]: entry.get("pending") for entry in self.get("./pending")
                if "pending" in entry or entry.get("delete")}

    def parameters(self):
        """The arguments given, as Proxmox's parameters: those of the path, `wait` and the page left out."""
        in_path = set(re.findall(r"\{(\w+)\}", self.tool.path)) | NOT_PARAMETERS
        return {field.name: getattr(self.args, field.name) for field in fields(type(self.args))
                if field.name not in in_path and getattr(self.args, field.name) is not None}

    # -- waiting and asking

    @property
    def wait_limit(self):
        """Seconds to follow a task: the argument `wait`, else PROXMOX_TASK_WAIT."""
        wait = getattr(self.args, "wait", None)
        return self.host.settings.task_wait if wait is None else wait

    def sleep(self, seconds):
        """Wait so many seconds; raises Cancelled at once when the client cancels the call."""
        self.host.sleep(self.request.cancelled, seconds)

    def wait(self, upid):
        """Follow a task to its end, for `wait_limit` seconds at most; its Outcome."""
        if self.host.settings.dry_run:
            return Outcome(upid=None, status="stopped", exitstatus="OK")

        def request(verb, path, params=None):
            return self.host.client.request(verb, path, params, self.request.cancelled, timeout=POLL_SECONDS)
        report = self.progress if self.request.wants_progress else None
        try:
            outcome = follow(request, upid, self.wait_limit, self.sleep, self.host.clock, report)
        except Cancelled:
            self.host.log("info", "no longer followed, the task goes on in Proxmox", tool=self.name, upid=upid)
            raise
        self.host.audit.task(self._audit, outcome)
        return outcome

    def progress(self, percent, message):
        """Tell the client how far it is: percent (0..100 or None), message (str, a line of a task's log say)."""
        self.request.progress(percent, text.line(scrub(message), 500))

    def done(self, answer):
        """The Outcome of what `send` gave back, a task followed to its end; Failure when it failed or none began."""
        if answer is None or answer == "" or self.host.settings.dry_run:
            return Outcome(upid=None, status="stopped", exitstatus="OK")
        if parse_upid(answer) is None:
            raise Failure("Proxmox answered %r and started no task: %s" % (
                str(answer)[:80], "nothing was done." if answer == "OK" else       # vzdump, of guests of another node
                "whether anything was done is not known. Look at the target before you repeat the call."))
        outcome = self.wait(answer)
        if outcome.failed:
            raise Failure(task_failure(outcome))
        return outcome

    def confirm(self, describe, strict=False):
        """Ask the user before something is lost; returns `found`.

        describe() -> (question, found): it reads the target and says in one or two sentences what would go; `found`
        (dict) is what must still be true when the answer comes. strict: for what is mostly harmless; asked only where
        PROXMOX_CONFIRM is always or token.
        """
        if strict and self.host.settings.confirm not in ("always", "token"):
            return {}
        if self.host.settings.dry_run:
            return describe()[1]

        def shown():
            question, found = describe()
            return text.line(scrub(question), 4000), found
        return self.host.consent.ask(self, shown)

    # -- answering

    def answer(self, data, headline=None, note=None, **more):
        """The Result of a reading tool: `data` as its row's `returns` says; `more` is added to the data."""
        shape = self.tool.returns
        if isinstance(shape, Table):
            return self.listing(shape.data(data or []), headline, note, **more)
        facts = shape.data(data or {})
        facts.update(more)
        parts = [headline, text.block(shape.columns, facts), note]
        return Result("\n".join(part for part in parts if part), facts)

    def listing(self, rows, headline=None, note=None, narrow=None, shape=None, **more):
        """The Result of normalised rows: one page of them, as many as fit, and what was left out is said.

        headline: default "12 guests"; narrow: arguments that would make the list shorter (text); shape: a Table other
        than the row's `returns`; more: added to the data.
        """
        shape = shape or self.tool.returns
        limit, offset = getattr(self.args, "limit", DEFAULT_LIMIT * 4), getattr(self.args, "offset", 0)
        page = rows[offset:offset + limit]
        while len(page) > 1:
            body, data = text.table(shape.columns, page), dict(more, items=page, total=len(rows))
            size = text.weight(body) + text.weight(data)
            if size <= text.BUDGET:
                break
            page = page[:max(1, int(len(page) * 0.95 * text.BUDGET / size))]
        body, data = text.table(shape.columns, page), dict(more, items=page, total=len(rows))
        parts = [headline or text.plural(len(rows), shape.noun)]
        if page:
            parts.append(body)
        if len(page) < len(rows):
            data["offset"] = offset
            rest = offset + len(page)
            parts.append("Shown: %d to %d of %s.%s%s" % (
                offset + 1, rest, text.plural(len(rows), shape.noun),
                " The next page: offset=%d." % rest if rest < len(rows) and hasattr(self.args, "offset") else "",
                " To narrow: %s." % narrow if narrow else ""))
        if note:
            parts.append(note)
        return Result("\n".join(parts), data)

    def finish(self, answer, says=None, note=None, **found):
        """The Result of a change: `answer` is what `send` gave back, a task is followed to its end.

        says: the sentence without its full stop (default: the subject and the row's `says`); note: what else the reader
        should know; found: what the tool itself knows, added to the data.
        """
        return self.tell(self.done(answer), says, note, **found)

    def tell(self, outcome, says=None, note=None, **found):
        """The Result of an Outcome that did not fail."""
        says = says or ("%s %s" % (self.subject, self.tool.says) if hasattr(self.args, "vmid") else self.tool.says)
        data = {"status": outcome.status}
        for key in ("upid", "node", "type", "exitstatus", "duration", "warnings"):
            if getattr(outcome, key) not in (None, []):
                data[key] = getattr(outcome, key)
        if hasattr(self.args, "vmid"):
            data["vmid"] = self.args.vmid
        data.update({key: value for key, value in found.items() if value is not None})
        if outcome.upid and not outcome.ok:
            return Result(running_text(says, outcome), data, mark="\u23f3")
        took = " (%s)" % text.duration(outcome.duration) if outcome.duration else ""
        lines = ["%s%s." % (text.capital(says), took)]
        if outcome.warnings:
            lines.append("The task ended with %s:" % text.plural(len(outcome.warnings), "warning"))
            lines.append(text.quoted("\n".join(outcome.warnings)))
        if note:
            lines.append(note)
        return Result("\n".join(lines), data)
