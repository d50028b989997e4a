"""Toolset: the rest of the Proxmox API - found by plain words, described, and called after a check against its schema.

The schema is that of the user's own host (tools.pve.apidoc). Where it cannot be had, a call goes unchecked and says so.
What a call needs depends on its request: a GET is basic (but for those that act, see tools.policy.guard), everything
else is elevated, and what destroys asks first. The row of proxmox_api_call says what it can do, and PROXMOX_READ_ONLY
hides it.
"""
import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, List, Optional
from urllib.parse import quote, unquote

from tools.base.answers import Facts, Table, data_only, result, weight
from tools.base.failures import Failure, Refused, refuse
from tools.base.row import BASIC, DESTRUCTIVE, Paged, Tool, Wait
from tools.base.schema import REQUIRED, Arg, from_json
from tools.policy import endpoints
from tools.policy.reach import Reach
from tools.pve import text
from tools.pve.apidoc import VERBS, verb_of
from tools.pve.apisearch import nothing_for
from tools.pve.client import PveError
from tools.pve.formats import Misfit, on, parse_upid, property_string
from tools.pve.jsonschema import flatten, keys_of, spec_of
from tools.pve.scrub import masked
from tools.pve.text import Column

# ------------------------------------------------------------------------------------------------------------ arguments


@dataclass
class Search:
    """Find Proxmox API endpoints by plain words, for what no other tool does."""
    words: Annotated[str, Arg(min_length=1, max_length=300, aliases=("query", "q"))] = REQUIRED
    verb: Annotated[Optional[str], Arg(aliases=("method",))] = None
    prefix: Annotated[Optional[str], Arg("of the path")] = None
    limit: Annotated[int, Arg(minimum=1, maximum=50)] = 8


@dataclass
class Describe:
    """Parameters, privilege and result of an API endpoint on this host."""
    endpoint: Annotated[str, Arg("POST /pools", min_length=1, max_length=1000, aliases=("path",))] = REQUIRED
    verb: Annotated[Optional[str], Arg(aliases=("method",))] = None
    parameters: Annotated[Optional[List[str]], Arg("some, in full", aliases=("parameter",))] = None


@dataclass
class ApiCall(Paged):
    """Call any API endpoint, checked against the host's schema; a GET needs no elevation."""
    verb: Annotated[str, Arg("GET, POST, PUT or DELETE", min_length=1, aliases=("method",))] = REQUIRED
    path: Annotated[str, Arg("ids filled in: /nodes/pve1/dns", min_length=1, max_length=2000,
                             aliases=("endpoint",))] = REQUIRED
    parameters: Annotated[Optional[dict], Arg(aliases=("params",))] = None
    fields: Annotated[Optional[List[str]], Arg("of the answer")] = None
    wait: Wait = None


# --------------------------------------------------------------------------------------------------- the host's schema

_NOT_HAD = (
    "The API schema of this host cannot be read, so endpoints can be neither searched nor described: %s\nIt is the "
    "page /pve-docs/api-viewer/apidoc.js of the Proxmox host, served without login; a reverse proxy in front of it has "
    "to let it through. proxmox_api_call works all the same, unchecked; Proxmox's API viewer "
    "(https://pve.proxmox.com/pve-docs/api-viewer/) shows paths and parameters.")


def _schema(call):
    """The ApiDoc; Failure says what to do when there is none."""
    try:
        return call.host.apidoc(call.request.cancelled)
    except (PveError, ValueError) as error:
        raise Failure(_NOT_HAD % error) from None


def _named(endpoint, verb):
    """(verb or None, path) of "POST /pools", or of a path and a verb."""
    match = re.match(r"\s*([A-Za-z]+)\s+(/\S.*)", endpoint, re.DOTALL)
    if match and verb and verb_of(verb) != verb_of(match.group(1)):
        raise Failure("The endpoint %r and the verb %r contradict each other." % (endpoint[:80], verb[:20]))
    if match:
        verb, endpoint = match.groups()
    if verb and verb_of(verb) not in VERBS:
        raise Failure("The verb %r is none of %s." % (verb[:20], ", ".join(VERBS)))
    return verb_of(verb) if verb else None, endpoint.strip()


# ------------------------------------------------------------------------------------------------------------- search

FOUND = Table("endpoint", Column("endpoint", kind="long"), Column("text", "what it does", "long"),
              Column("required", "needs", "list"))


def api_search(call):
    args, doc = call.args, _schema(call)
    verb = _named("/", args.verb)[0]
    found = doc.search(args.words, verb, args.prefix, args.limit)
    rows = [{"endpoint": str(one), "text": one.text, "required": list(one.required)} for one in found]
    note = "proxmox_api_describe tells the parameters of one, proxmox_api_call calls it."
    if not rows:
        note = "Try other words%s." % (", or leave verb and prefix out" if verb or args.prefix else
                                       ", English ones as in Proxmox's documentation")
    says, nothing = "%s for: %s" % (text.plural(len(rows), "endpoint"), text.line(args.words)), nothing_for(args.words)
    return result(call, rows, "%s\nWhat comes near: %s" % (nothing, says) if nothing else says, note)


# ----------------------------------------------------------------------------------------------------------- describe

DESCRIBED = Facts(*data_only("text", "endpoint", "description", "privilege", "shortened", "optional"),
                  *data_only("any", "path", "returns", "parameters", "keys", "unknown", "endpoints"))
_ROOM = 9000                    # characters of JSON; the text takes about as much


def api_describe(call):
    args, doc = call.args, _schema(call)
    verb, path = _named(args.endpoint, args.verb)
    found = []
    for one in [verb] if verb else VERBS:
        with suppress(Misfit):
            found.append(doc.find(one, path)[0])
    if not found:
        _find(doc, verb or "GET", path)                 # says what is near
    found = [doc.describe(endpoint, args.parameters or (), _ROOM // len(found)) for endpoint in found]
    return result(call, found[0] if len(found) == 1 else {"endpoints": found}, None,
                  [part for one in found for part in _told(one)])


def _find(doc, verb, path):
    """ApiDoc.find, whose errors are Failures."""
    try:
        return doc.find(verb, path)
    except Misfit as error:
        raise Failure("%s. proxmox_api_search finds endpoints by words." % str(error).rstrip(".")) from None


def _told(described):
    """What ApiDoc.describe says, in pieces."""
    head = "%s: %s" % (described["endpoint"], text.line(described["description"] or "(no description)", 700))
    lines = ["Privilege: " + text.line(described["privilege"], 700)]
    if described.get("path"):
        lines.append("In the path: " + "; ".join(
            "%s (%s)" % (name, text.line(words, 200)) for name, words in described["path"].items()))
    lines.append("Returns: " + text.line("; ".join(map(str, described["returns"].values())), 1000))
    lines.append("Parameters:" if described["parameters"] else
                 "No parameter is required." if described.get("optional") else "It takes no parameters.")
    for name, words in described["parameters"].items():
        lines.append("  " + text.line("%s: %s" % (name, words), 800))
        lines.extend("    %s: %s" % (key, text.line(words, 400))
                     for key, words in described.get("keys", {}).get(name, {}).items())
    if described.get("optional"):
        lines.append("Optional: " + text.line(described["optional"], 4000))
    lines.extend(text.line(sentence, 300) for sentence in described.get("unknown", ()))
    return [head, text.Shown("\n".join(lines)), "Shortened: parameters=NAME,NAME shows single ones in full." if (
        described.get("shortened")) else None]


# --------------------------------------------------------------------------------------------------------------- call

CALLED = Facts(*data_only("text", "request", "shortened"), *data_only("bool", "done"),
               *data_only("any", "task", "items", "data", "now"), *data_only("int", "total", "offset"))

#: What a path may be made of where no schema tells more.
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:@!+,=~-]+", re.ASCII)
_NO_VMID = r"/(?:qemu|lxc)/(?![1-9][0-9]{2,8}(?:/|\Z))"
_PARAMETER_NAME = re.compile(r"(?!(?:ids|verb)\Z)[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)


def api_call(call):
    args = call.args
    verb, path = _named(args.path, args.verb)
    _refuse(call, verb, unquote(path))
    parameters = {name: value for name, value in (args.parameters or {}).items() if value is not None}
    endpoint, note = None, None
    try:
        doc = call.host.apidoc(call.request.cancelled)
    except (PveError, ValueError) as error:
        doc, note = None, "Sent without a check against the host's API schema, which cannot be read: %s" % (
            str(error).split("\n")[0])
        path = _unchecked(path, parameters)
    if doc is not None:
        endpoint, path = _checked(doc, verb, path, parameters)
    plain = unquote(path)
    _refuse(call, verb, plain)
    if endpoints.changes(verb, plain):
        return _change(call, doc, verb, path, parameters, note)
    return _read(call, doc, endpoint, path, parameters, note)


def _value(name, value, spec):
    """A parameter as it is sent: an object as a property string (key=value,...), and what `spec` wants to be a list, an
    object or a whole number out of its JSON text."""
    if spec.get("type") == "array":
        value = from_json(value, list)
    elif spec.get("type") == "integer":
        value = re.sub(r"\A(-?[0-9]+)\.0+\Z", r"\1", value) if isinstance(value, str) else value
    elif keys_of(spec) or "=" in (spec.get("typetext") or ""):
        value = from_json(value, dict)
    if isinstance(value, dict) and not any(isinstance(part, (dict, list)) for part in value.values()):
        try:
            return property_string(value)
        except Misfit as error:
            raise Failure("The parameter %s does not fit: %s." % (name, error)) from None
    return value


def _checked(doc, verb, path, parameters):
    """(Endpoint, filled path) of a call that the schema allows; Failure with everything that is wrong with it. Ids that
    are missing in the path are taken out of the parameters."""
    endpoint, ids = _find(doc, verb, path)
    known = flatten(endpoint.info["parameters"])[0]
    parameters.update({name: _value(name, value, spec_of(known, name) or {}) for name, value in parameters.items()})
    for name in endpoint.in_path:
        if name not in ids and parameters.get(name) is not None:
            ids[name] = str(parameters.pop(name))
    problems = doc.check(endpoint, ids, parameters)
    if problems:
        listed = "\n".join("- " + text.line(problem, 500) for problem in problems)
        raise Failure("The call does not fit %s:\n%s\nproxmox_api_describe endpoint=\"%s\" tells "
                      "what it takes." % (endpoint, listed, endpoint))
    for name in endpoint.in_path:
        parameters.pop(name, None)                      # the same value as in the path
    try:
        return endpoint, endpoint.fill(ids)
    except ValueError as error:
        raise Failure("The call cannot be made: %s." % error) from None


def _unchecked(path, parameters):
    """The path, each segment checked; Failure for anything unusual in it or in the names of parameters."""
    path = re.sub(r"\A/api2/(?:json|extjs)(?=/)", "", path)
    wrong = [part for part in path.split("/")[1:] if not _SEGMENT.fullmatch(part)] or re.search(_NO_VMID, path)
    if wrong or not path.startswith("/"):
        raise Failure("The path %r cannot be sent: one starts with / and each part of it is made of letters, digits "
                      "and . _ : @ ! + , = ~ -." % path[:200])
    names = [name for name in parameters if not _PARAMETER_NAME.fullmatch(name)]
    if names:
        raise Failure("A parameter cannot be called %s." % ", ".join(map(repr, names))[:200])
    parameters.update({name: _value(name, value, {}) for name, value in parameters.items()})
    return quote(path, safe="/:@!+,=~")


def _refuse(call, verb, plain):
    """Refused for a request that changes something where this server may not, that is never sent, or that runs any
    command where that is not allowed; what tools that are taken away stand for is left to `call.allow`."""
    request, found = "%s %s" % (verb, plain), endpoints.find(verb, plain)
    refuse(call.host.guard.change(verb, plain))
    if found.never:
        raise Refused("It is never sent: %s." % found.never, request)
    if found.command and not call.host.settings.allowed_commands:
        raise Refused("The word unsafe in PROXMOX_ALLOWED_COMMANDS, in the server's environment, allows it. "
                      "proxmox_execute_vm_command runs a plain command in a VM without.",
                      "%s runs any command" % request)


# ------------------------------------------------------------------------------------------------------------- reading

def _read(call, doc, endpoint, path, parameters, note):
    reply = call.reply(path, None, parameters)
    data, notes = reply.data, [note] if note else []
    request = "GET " + unquote(path)
    data = masked(data) if isinstance(data, str) else data
    if isinstance(data, str) and "\n" in data.strip():
        data = data.strip("\n").split("\n")
    if isinstance(data, list):
        return _list(call, doc, endpoint, request, data, reply.extra, notes)
    if isinstance(data, dict):
        return _object(call, endpoint, request, masked(data), notes)
    shown = "null" if data is None else text.quoted(_plain(data), 4000)
    return result(call, {"request": request, "data": data}, request, [text.Shown(shown), *notes])


#: Keys that tell what a row is about: shown first.
_FIRST = ("pos", "id", "vmid", "name", "node", "storage", "type", "status", "state", "enable", "action")
_COLUMNS, _LOOK_AT = 10, 300                            # of the table; rows whose keys are counted


def _list(call, doc, endpoint, request, data, extra, notes):
    """A page of a list: a table of the keys that are asked for, or that most rows have."""
    plain = not all(isinstance(row, dict) for row in data)
    data = [{"value": masked(row)} for row in data] if plain else data
    wanted = None if plain else call.args.fields
    counts = Counter(key for row in masked(data[:_LOOK_AT]) for key, value in row.items()
                     if value not in (None, "", [], {}) and key != "digest")
    keys = sorted(counts, key=lambda key: (_FIRST.index(key) if key in _FIRST else len(_FIRST), -counts[key], key))
    if wanted:
        hint = _more(endpoint, call.args)
        there = set().union(*data)
        absent = _no_such("No row has", wanted, there, keys, hint) if data else []
        notes += absent or [hint] * ("qmpstatus" in wanted)     # which is the mere status without it
        keys = [key for key in wanted if key in there]
    elif len(keys) > _COLUMNS:
        notes.append("Also in the rows: %s (fields=KEY,KEY shows them)." % text.line(", ".join(keys[_COLUMNS:]), 600))
    if not data and endpoint is not None:
        notes.append(_lacking(call, doc.describe(endpoint, ("-",))["privilege"]))
    total = text.normal("int", extra.get("total"))
    if total is not None and total > len(data):
        notes.append("Proxmox has %d in all; its own parameters (start, limit or the like) reach the rest." % total)

    def column(key):                                    # what a node or a guest says, never at the start of a line
        return Column(key, text.line(key, 40), "long" if len(keys) < 4 else "text",
                      lambda row: ("| " if plain else "") + _plain(_readable(key, row.get(key))))
    shape = Table("row", *map(column, keys[:_COLUMNS]))
    shape.data = lambda rows: [{key: value for key, value in row.items() if wanted is None or key in wanted}
                               for row in masked(rows)]         # all that is in them
    headline = "%s: %s" % (request, text.plural(len(data), "line" if plain else "row"))
    return result(call, data, headline, notes, shape, request=request)


#: Keys of Proxmox's numbers by what they are (text.KINDS), and the least that is taken for it: a smaller one is another
#: thing of that name, or as well read as it is.
_UNITS = (
    ("time", 1000000000, re.compile(r"(?:[cm]|start|end|snap|up)?time|time(?:stamp)?|expires?|not(?:before|after)"
                                    r"|(?:last|next)[_-](?:sync|try|run|update)|last_run_starttime")),
    ("bytes", 1048576, re.compile(r"(?:max)?(?:mem|disk|swap)|memhost|freemem|total|used|avail(?:able)?|free|size|alloc"
                                  r"|net(?:in|out)|disk(?:read|write)|(?:[vlp]v|metadata)_(?:size|free|used)")),
    ("seconds", 0, re.compile(r"uptime|duration")), ("fraction", 0, re.compile(r"cpu|(?:io)?wait|used_fraction")),
)


def _readable(key, value):
    """A value of Proxmox's with times and sizes in it as people read them."""
    if isinstance(value, dict):
        return {name: _readable(name, part) for name, part in value.items()}
    if isinstance(value, list):
        return [_readable(key, part) for part in value]
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", str(value), re.ASCII):
        return value
    kind = next((kind for kind, least, keys in _UNITS if float(value) >= least and keys.fullmatch(key)), None)
    number = kind and text.normal(kind, value)
    return value if number is None else text.KINDS[kind][2](number)


def _more(endpoint, args):
    """The sentence about parameters by which fields would be there, or be right; "" when none is known."""
    known = flatten(endpoint.info["parameters"])[0] if endpoint is not None else {}
    names = ["%s=1" % name for name, spec in known.items() if spec.get("type") == "boolean" and re.search(
        r"full|verbose|detail|extended|include|with", name) and name not in (args.parameters or {})]
    return "It may be there, and exact, with the parameter %s." % " or ".join(names) if names else ""


#: What an empty list may hide: Proxmox leaves out of it what these do not cover.
_AUDITS = {"VM.Audit", "Sys.Audit", "Datastore.Audit"}


def _lacking(call, privilege):
    """The sentence about an empty list that is empty for want of privileges, None when the token has them everywhere.
    privilege: what the endpoint needs, in words."""
    try:
        held = call.get("/access/permissions")
    except (PveError, Failure):
        held = None
    needed = set(re.findall(r"\b[A-Z][A-Za-z]+(?:\.[A-Z][A-Za-z]+)+", privilege)) or _AUDITS
    if isinstance(held, dict) and "/" in held and all(
            isinstance(one, dict) and all(on(one.get(name)) for name in needed) for one in held.values()):
        return None
    return "An empty list may mean that the token may not see what is there. It needs: %s." % text.line(privilege, 400)


def _object(call, endpoint, request, data, notes):
    if call.args.fields:
        notes.extend(_no_such("It has no", call.args.fields, data, sorted(data), _more(endpoint, call.args)))
        data = {key: data[key] for key in call.args.fields if key in data}
    lines = ["%s: %s" % (text.line(key), text.line(_plain(_readable(key, data[key])), 1000)) for key in sorted(data)]
    found = {"request": request, "data": data}
    body = "\n".join(lines)
    if weight(call.host.settings.answers, body, found) > text.BUDGET:
        found["data"] = text.smaller(data, text.BUDGET // 2)
        body = text.cut(body, text.BUDGET // 3)
        found["shortened"] = "too long for one answer"
        notes.append("It was shortened; fields=KEY,KEY shows only some keys. All keys: %s." % text.line(
            ", ".join(sorted(data)), 1000))
    return result(call, found, request, [text.Shown(body) or "(an empty object)", *notes])


def _no_such(begins, wanted, there, keys, more):
    """Sentences on the `fields` that are not there; Failure when none of them is. more: by what they would be."""
    unknown = [key for key in wanted if key not in there]
    if not unknown:
        return []
    says = ["%s %s. Keys: %s." % (begins, text.line(", ".join(unknown), 300), text.line(", ".join(keys), 1000)), more]
    if len(unknown) == len(wanted):
        raise Failure("fields: " + "\n".join(filter(None, says)))
    return says


def _plain(value):
    """A value of Proxmox's as text."""
    if value is None:
        return "-"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return str(int(value) if isinstance(value, bool) else value)


def _worded(value):
    """The same inside a sentence: what a text says is not taken for more of it."""
    return text.word(value) if isinstance(value, str) else _plain(value)


# ----------------------------------------------------------------------------------------------------------- changing

def _change(call, doc, verb, path, parameters, note):
    request, plain = "%s %s" % (verb, path), unquote(path)
    call.refuse_taken(verb, plain, parameters, any)
    call.allow(parameters, request)                     # before anything about it is read and asked
    if Reach(verb, plain, parameters).effect == endpoints.LOSES:
        call.confirm(lambda: _doomed(call, doc, verb, path, parameters))
    answer = call.send(parameters, request)
    if call.planned:
        return None
    forked = re.fullmatch(r"POST (/nodes/[^/]+)/lxc/([0-9]+)/template", request)
    if forked and not answer:                           # its task is not named (PVE::API2::LXC, template)
        rows = call.try_get(forked.group(1) + "/tasks", vmid=forked.group(2), typefilter="vztemplate", source="all",
                            limit=1)
        if not rows:
            raise Failure("It was accepted, and a task does it, which was not found: proxmox_list_tasks vmid=%s "
                          "shows how it ends." % forked.group(2))
        answer = call.task = rows[0].get("upid")
    task, says = parse_upid(answer) is not None, unquote(request) + ": done"
    outcome = call.follow(answer if task else None)
    if not task and answer not in (None, ""):
        says += ", Proxmox answered " + text.line(_plain(masked(answer)), 2000)
    now = _made(call, doc, verb, path, parameters, answer) if outcome.ok else None
    if now:
        if text.weight(now) > _ROOM:
            now = text.smaller(now, _ROOM)
        keys = [key for key, value in now.items() if key in parameters or key != "digest" and len(now) < 13
                and not isinstance(value, (list, dict))] or now
        note = [note, text.Shown("It is now: %s." % text.line(", ".join(
            "%s=%s" % (key, _worded(_readable(key, now[key]))) for key in sorted(keys)), 1500))]
    return result(call, outcome, says, note, request=unquote(request), data=None if task else masked(answer), now=now)


def _made(call, doc, verb, path, parameters, answer):
    """What a change made or changed, read back (dict): the object at the path of a PUT or POST, the element that a POST
    has added to the list at its path. None where no GET shows it."""
    if doc is None or verb == "DELETE" or "moveto" in parameters:       # a rule that was moved is elsewhere now
        return None
    try:
        endpoint, ids = doc.find(verb, path)
        inner = [one for one in doc.endpoints if one.verb == "GET" and verb == "POST" and re.fullmatch(
            re.escape(endpoint.path) + r"/\{\w+\}", one.path)]
        key = inner[0].in_path[-1] if inner else None
        given = answer.get(key) if isinstance(answer, dict) else parameters.get(key)
        if given is not None and key != "pos":          # a new rule is the first, wherever it was wanted
            return _now(call, doc, inner[0].fill({**ids, key: str(given)}), {})
    except Misfit:
        return None

    def added(rows):
        """The row that has what was sent, as far as it tells."""
        rows = [row for row in rows if isinstance(row, dict)]
        told = [[name for name in parameters if isinstance(row.get(name), (str, int, float))] for row in rows]
        rows = [row for row, names in zip(rows, told) if names and all(
            _plain(row[name]) == _plain(parameters[name]) for name in names)]
        return rows[0] if len(rows) == 1 or key == "pos" and rows else None
    return _now(call, doc, path, parameters, added)


def _doomed(call, doc, verb, path, parameters):
    """(question, what must still be true): the request, the guests it names, and what stands at its path now."""
    plain = unquote(path)
    shown = call.host.audit.masked(parameters, (), True, (*endpoints.shown(verb, plain), *endpoints.RUN))
    shown = ", ".join("%s=%s" % (name, _worded(value)) for name, value in shown.items())
    parts, found = ["Send %s %s%s to Proxmox?" % (verb, plain, " with " + shown if shown else "")], {}
    named = Reach(verb, plain, parameters)
    guests = {str(row.get("vmid")): row for row in call.guests(hidden=True)} if named.guests else {}
    for vmid in map(str, sorted(named.guests)):
        row = guests.get(vmid)
        found[vmid] = row and row.get("name")
        if len(named.guests) <= 10:
            parts.append("Guest %s is %s on node %s, %s." % (
                vmid, text.line(row.get("name") or "-"), row.get("node"), row.get("status")) if row else
                "There is no guest %s." % vmid)
    if len(named.guests) > 10:
        parts.append("It names %s: %s." % (text.plural(len(named.guests), "guest"), text.ranges(named.guests)))
    parts.extend(_beware(call, verb, plain))
    now = verb != "POST" and _now(call, doc, path, parameters)
    if now:
        found["now"] = {key: value for key, value in now.items() if isinstance(value, str)}
        shown = ", ".join("%s=%s" % (key, _worded(now[key])) for key in sorted(now))
        parts.append("It is now: %s." % text.line(shown, 400))
    return " ".join(parts), found


def _beware(call, verb, plain):
    """What else comes of a request than what it says."""
    settings = call.host.settings
    ours = "/access/users/" + settings.user
    if verb in ("DELETE", "PUT") and plain in (ours, "%s/token/%s" % (ours, settings.token_name)):
        yield "This server uses the token %s, and may be locked out at once." % settings.token_id
    if verb == "DELETE" and re.fullmatch(r"/access/users/[^/]+", plain):
        yield "The secrets of its tokens stay in /etc/pve/priv/token.cfg: its tokens are better deleted first."
    node = re.fullmatch(r"/nodes/([^/]+)/status", plain)
    if node and verb == "POST":
        status = call.try_get("/cluster/status") or ()
        if any(row.get("name") == node.group(1) and on(row.get("local")) for row in status):
            yield "It is the node that this server talks to: nothing can be asked until it is back."


def _now(call, doc, path, parameters, pick=lambda rows: rows[0] if len(rows) == 1 else None):
    """What a GET of the same path says (dict), of a list what `pick` takes; None where there is no such endpoint, or it
    is a mere directory. Raises nothing, for it is told beside others."""
    if doc is None or endpoints.changes("GET", unquote(path)):
        return None
    try:
        endpoint, ids = doc.find("GET", path)
        known = flatten(endpoint.info["parameters"])[0]
        params = {name: value for name, value in parameters.items() if name in known}
        if endpoint.info.get("index") or doc.check(endpoint, ids, params):
            return None
        data = call.get(path, None, params)
    except (ValueError, PveError, Failure):
        return None
    data = pick(data) if isinstance(data, list) else data
    return masked(data) if isinstance(data, dict) else None


TOOLS = {
    "proxmox_api_search": Tool("GET /pve-docs/api-viewer/apidoc.js", BASIC, Search, api_search, FOUND, needs=()),
    "proxmox_api_describe": Tool("GET /pve-docs/api-viewer/apidoc.js", BASIC, Describe, api_describe, DESCRIBED,
                                 needs=()),
    "proxmox_api_call": Tool("ANY /{path}", DESTRUCTIVE, ApiCall, api_call, CALLED, needs=()),
}
