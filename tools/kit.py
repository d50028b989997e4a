"""What toolsets are made of: tiers, Tool (a row), Call (what a handler gets), Result, arguments many tools share."""
import re
from dataclasses import dataclass
from typing import Annotated, List, Optional

from tools import text
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import fill, parse_upid
from tools.pve.scrub import scrub
from tools.pve.task import Outcome, follow
from tools.schema import REQUIRED, Arg, fields, input_schema

__all__ = ["Annotated", "AnyNode", "Arg", "BASIC", "Call", "Column", "DESTRUCTIVE", "ELEVATED", "Facts", "Failure",
           "Guest", "Instead", "Later", "List", "NAMES", "Node", "NodeArgs", "OnNode", "Optional", "Paged", "PveError",
           "REQUIRED", "Refused", "Result", "Snapname", "Storage", "TASK", "Table", "Tool", "Vmid", "Wait", "Waiting",
           "data_only", "dataclass", "send", "text"]

Column = text.Column

#: BASIC is always allowed; ELEVATED needs PROXMOX_ALLOW_ELEVATED; DESTRUCTIVE needs it too and may ask the user first.
BASIC, ELEVATED, DESTRUCTIVE = "basic", "elevated", "destructive"


class Failure(Exception):
    """A tool that did not do what was asked: `headline` says what failed, str(error) why and what to do."""

    def __init__(self, reason, headline=None):
        super().__init__(reason)
        self.headline = headline


class Refused(Failure):
    """Not allowed here, by a tier or a setting. Shown with the forbidden sign in place of the word Error."""


class Declined(Failure):
    """The user was asked and did not say yes."""


class Instead(Exception):
    """Ends a handler early with another Result (a question to the model, say): .result."""

    def __init__(self, result):
        super().__init__(result.text)
        self.result = result


class Result:
    """What a handler returns: text (str) for people and models, data (dict) for programs, mark (first character)."""

    __slots__ = ("text", "data", "mark")

    def __init__(self, text, data, mark="\u2705"):
        self.text, self.data, self.mark = text, data, mark


# ----------------------------------------------------------------------------------------------- what a tool returns

class Facts:
    """An object, shown as "heading: value" lines. Keys beyond the columns stay in the data when `more` is true."""

    def __init__(self, *columns, more=False):
        self.columns, self.more = columns, more

    def schema(self):
        return {"type": "object", "properties": _column_schema(self.columns)}

    def data(self, source):
        """The normalised dict of a reply's object."""
        data = {}
        for column in self.columns:
            column.normalise(source, data)
        if self.more:
            known = {column.key for column in self.columns}     # one that is missing now was not of its kind
            data.update((key, value) for key, value in source.items() if key not in known and value is not None)
        return data


class Table:
    """A list of objects, shown as a table of `columns`; noun: what one row is ("guest")."""

    def __init__(self, noun, *columns):
        self.noun, self.columns = noun, columns

    def schema(self):
        items = {"type": "object", "properties": _column_schema(self.columns)}
        return {"type": "object",
                "properties": {"items": {"type": "array", "items": items}, "total": {"type": "integer"}},
                "required": ["items", "total"]}

    def data(self, source):
        """The normalised rows of a reply's list."""
        rows = []
        for entry in source:
            row = {}
            for column in self.columns:
                column.normalise(entry, row)
            rows.append(row)
        return rows


class Later:
    """Raw rows that are made ready only when they are shown: what Call.listing needs of a list, for long ones.

    data: function of some raw rows (list) -> the normalised ones (list), such as a Table's data.
    """

    def __init__(self, rows, data):
        self.rows, self._data = rows, data

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, part):
        return self._data(self.rows[part])


def data_only(kind, *keys):
    """Columns of one kind that are in the data and not in the text."""
    return [Column(key, kind=kind, shown=False) for key in keys]


def _column_schema(columns):
    """What is said of the columns' values. One of any type is not mentioned: strict clients dislike an empty schema."""
    result = {}
    for column in columns:
        json_type = text.KINDS[column.kind][0]
        if json_type:
            result[column.key] = {"type": json_type}
        if json_type == "array":
            result[column.key]["items"] = {"type": "string"}
    return result


#: The outcome of a task, or of a change that needs none; what the tool itself found stands beside it.
TASK = Facts(Column("upid"), Column("node"), Column("type"), Column("status"), Column("exitstatus"),
             Column("duration", kind="seconds"), Column("warnings", kind="list"), Column("vmid", kind="int"), more=True)


# ----------------------------------------------------------------------------------------------------------- one row

class Tool:
    """A row of a toolset's table.

    endpoint   str "VERB /path": the Proxmox endpoint the tool stands for; `{node}`, `{vmid}` ... are arguments
    tier       BASIC, ELEVATED or DESTRUCTIVE
    args       the dataclass of its arguments; its docstring is the description, {guest} becomes VM or container
    handler    function(call) -> Result; without one the arguments are sent as parameters
    returns    Facts, Table or TASK: what the data looks like; without one TASK for what changes something
    says       what a change is told as, after the guest's name ("started")
    repeats    bool: calling it twice with the same arguments does no more than calling it once (idempotentHint)
    destroys   bool: destructiveHint, where it is not what the tier says (a command may do anything)
    """

    __slots__ = ("endpoint", "verb", "path", "tier", "args", "handler", "returns", "says", "repeats", "changes",
                 "destroys")

    def __init__(self, endpoint, tier, args, handler=None, returns=TASK, says="done", repeats=None,
                 destroys=None):
        self.endpoint, (self.verb, self.path) = endpoint, endpoint.split(" ", 1)
        self.tier, self.args, self.handler = tier, args, handler or send
        self.returns, self.says = returns, says
        self.changes = self.verb != "GET" or tier == DESTRUCTIVE
        self.destroys = tier == DESTRUCTIVE if destroys is None else destroys
        self.repeats = (self.verb in ("GET", "PUT", "DELETE")) if repeats is None else repeats


_WORDS = {"vm": "VM", "vms": "VMs", "lxc": "container", "vmid": "VMID", "dns": "DNS", "lvm": "LVM", "zfs": "ZFS",
          "ip": "IP", "ips": "IPs", "smart": "SMART", "ha": "HA", "api": "API", "iso": "ISO", "ssl": "TLS",
          "rrd": "RRD", "mountpoint": "mount point"}


def title(name):
    """"Get VM config" of "proxmox_get_vm_config"."""
    words = [_WORDS.get(word, word) for word in name.split("_")[1:]]
    return (text.capital(words[0]) + " " + " ".join(words[1:])).strip()


def description(name, tool):
    """A row's description for the model: the docstring of its arguments, with {guest} filled in."""
    return " ".join(tool.args.__doc__.split()).replace("{guest}", "container" if "_lxc" in name else "VM")


def definition(name, tool):
    """The MCP Tool (dict) of a row, with everything the newest revision knows."""
    return {
        "name": name, "title": title(name), "description": description(name, tool),
        "inputSchema": input_schema(tool.args), "outputSchema": tool.returns.schema(),
        "annotations": {"readOnlyHint": not tool.changes, "destructiveHint": tool.destroys,
                        "idempotentHint": bool(tool.repeats), "openWorldHint": False}}


# ----------------------------------------------------------------------------------------------------- shared arguments

Node = Annotated[str, Arg(format="node")]
AnyNode = Annotated[Optional[str], Arg(format="node")]
Vmid = Annotated[int, Arg(format="vmid")]
Storage = Annotated[str, Arg(format="storage")]
Snapname = Annotated[str, Arg(format="snapname", also=("name", "snapshot"))]
Wait = Annotated[Optional[int], Arg(least=0, most=3600, switch=(None, 0))]


@dataclass
class NodeArgs:
    """(one node)"""
    node: Node = REQUIRED


@dataclass
class Guest:
    """(one guest; `node` is looked up when left out)"""
    vmid: Vmid = REQUIRED
    node: AnyNode = None


@dataclass
class Waiting(Guest):
    """(one guest, and a task that is followed)"""
    wait: Wait = None


@dataclass
class OnNode(NodeArgs):
    """(one node, and a task that is followed)"""
    wait: Wait = None


DEFAULT_LIMIT = 50


@dataclass
class Paged:
    """(a list that is shown in pages)"""
    limit: Annotated[int, Arg(least=1, most=1000)] = DEFAULT_LIMIT
    offset: Annotated[int, Arg(least=0)] = 0


# ------------------------------------------------------------------------------------------------------------- one call

#: Arguments that are never parameters: they say where, or how long to wait.
NOT_PARAMETERS = {"node", "vmid", "wait", "limit", "offset"}
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
                return PveError("%s is on node %s, not on %s. Nothing was done; call again with node=%s or leave node "
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


def running_text(says, outcome):
    """What to say of a task whose end was not seen."""
    ask = "Ask on with proxmox_get_task upid=%s (wait=60 follows it)." % outcome.upid
    if outcome.status == "unknown":
        why = " (%s)" % text.line(outcome.log[0], 500) if outcome.log else ""
        return ("Not known yet whether this is done: %s.\nThe task was started, then its state could not be read%s; it "
                "goes on in Proxmox. Do not repeat the call. %s" % (says, why, ask))
    return "Still running in Proxmox, not yet done: %s.\n%s" % (says, ask)


def task_failure(outcome):
    """Why a task failed: its exit status and the telling lines of its log."""
    lines = ["The task %s failed: %s" % (outcome.type, text.line(outcome.exitstatus or "unknown", 1000))]
    if outcome.log:
        lines.append(text.quoted("\n".join(outcome.log), end=True))
    lines.append("UPID: %s" % outcome.upid)
    return "\n".join(lines)
