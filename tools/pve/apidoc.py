"""The API schema of the user's own host: its page read, searched, described, and calls checked against it.

Every Proxmox VE node serves, without login, the schema that its API viewer shows (pve-docs: api-viewer/apidoc.js). It
is that of the host's own version, so nothing is bundled and nothing grows old. It may be some weeks off the packages
installed on the host: where a rule is not certain, the server decides.
"""
import hashlib
import json
import os
import re
import threading
import time
import zlib
from urllib.parse import quote, unquote

from tools.pve import apisearch, apiwords, state
from tools.pve.apiwords import limits, line_of, runs, sentence, shorten
from tools.pve.client import PveError
from tools.pve.formats import Misfit, on
from tools.pve.jsonschema import base_of, flatten, keys_of, last_index, required, specs_of

#: Where pveproxy serves the page (PVE/Service/pveproxy.pm: static pages need no ticket).
PAGE = "/pve-docs/api-viewer/apidoc.js"
VERBS = ("GET", "POST", "PUT", "DELETE")
#: What pvesh calls the verbs, and what people do.
_VERB_NAMES = {"LS": "GET", "LIST": "GET", "READ": "GET", "CREATE": "POST", "ADD": "POST", "SET": "PUT",
               "UPDATE": "PUT", "PATCH": "PUT"}
#: The last parameter of these takes the rest of the path, slashes included (fragmentDelimiter in PVE/RESTHandler.pm).
_TAKES_REST = ("/content/{volume}", "/ipset/{name}/{cidr}")
#: Methods that change something, return a string, and yet start no task; every other such string is a UPID.
_NO_TASK = frozenset((
    "POST /access/openid/auth-url", "POST /cluster/sdn/lock", "POST /nodes/{node}/wakeonlan",
    "POST /nodes/{node}/qemu/{vmid}/monitor", "POST /nodes/{node}/replication/{id}/schedule_now",
    "POST /nodes/{node}/storage/{storage}/content"))


class UnknownEndpoint(Misfit):
    """No such endpoint on this host. str() names what comes near; `near` is that list of Endpoint."""

    def __init__(self, text, near=()):
        Misfit.__init__(self, text)
        self.near = list(near)


class Endpoint:
    """One method of the API: `verb`, `path` (template), `text` (one sentence), `required` (names not in the path),
    `in_path` (names of the path's parameters, in order).
    """
    __slots__ = ("verb", "path", "text", "required", "in_path", "_line")

    def __init__(self, line, method):
        self.verb, self.path, self.text, self._line = method["verb"], method["path"], method["text"], line
        self.in_path = re.findall(r"\{([^}]+)\}", self.path)
        properties, _ = flatten(method["parameters"])
        self.required = tuple(name for name, spec in properties.items() if required(spec) and name not in self.in_path)

    def __str__(self):
        return self.verb + " " + self.path

    __repr__ = __str__

    @property
    def info(self):
        """dict as Proxmox publishes it (name, description, parameters, permissions); of `returns` the columns only."""
        return json.loads(self._line)

    @property
    def starts_task(self):
        """Whether it returns the UPID of a task it starts."""
        return (self.verb != "GET" and str(self) not in _NO_TASK
                and (self.info.get("returns") or {}).get("type") == "string")

    def fill(self, ids):
        """The path with `ids` (name -> str) put in, encoded for a URL. ValueError: one is missing or unfit."""
        def one(match):
            name = match.group(1)
            if ids.get(name) in (None, ""):
                raise Misfit("the path %s needs a value for %s" % (self.path, name))
            rest = self.path.endswith(_TAKES_REST) and self.path.endswith(match.group())
            return quote(_segment(name, str(ids[name]), rest), safe=":/@!+,=~")
        return re.sub(r"\{([^}]+)\}", one, self.path)


def _segment(name, value, rest=False):
    """`value` if safe in a path, else ValueError. pveproxy decodes before it splits: encoding protects nothing."""
    parts = value.split("/") if rest else [value]
    if any(part in ("", ".", "..") or re.search(r"[\s\x00-\x1f\x7f/?#%\\]", part) for part in parts):
        raise Misfit("%s %r cannot stand in a path of the API%s" % (
            name, value[:80], ": rename the file on its node, then call again" if name == "volume" else ""))
    return value


class ApiDoc:
    """The schema of one host. Takes about 2 MB; make it once and keep it. Safe to use from several threads."""

    def __init__(self, lines, methods=None):
        """`lines`: one JSON text per method, as parse() makes them; `methods`: the same as dicts, if at hand.

        The attribute `lines` makes this ApiDoc again.
        """
        self.lines = list(lines)
        methods = methods or json.loads("[%s]" % ",".join(self.lines))
        self.endpoints = [Endpoint(line, method) for line, method in zip(self.lines, methods)]
        self._index = None                              # made when first searched
        self._routes = _route()
        for endpoint in self.endpoints:
            node = self._routes
            for part in endpoint.path.strip("/").split("/"):
                if not part.startswith("{"):
                    node = node["fixed"].setdefault(part, _route())
                    continue
                if node["param"] is None:
                    node["param"] = (part[1:-1], _route())
                node = node["param"][1]
            node["path"] = endpoint.path
            node["methods"][endpoint.verb] = endpoint

    # ------------------------------------------------------------------------------------------------------- reading

    @classmethod
    def parse(cls, text):
        """ApiDoc of the page's text (str): the array at the first "[" is JSON, the rest is the viewer's code.

        ValueError when there is no such array.
        """
        try:
            tree, _ = json.JSONDecoder().raw_decode(text, text.index("["))
            methods = []
            for node in tree:
                _walk(node, methods)
            encode = json.JSONEncoder(separators=(",", ":")).encode
            doc = cls([encode(method) for method in methods], methods)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("this is not the page of Proxmox's API viewer (%s)" % type(error).__name__) from None
        if not methods:
            raise ValueError("this is not the page of Proxmox's API viewer (no method is in it)")
        return doc

    # ------------------------------------------------------------------------------------------------------- finding

    def find(self, verb, path):
        """(Endpoint, ids) of a verb and a path below /api2/json: /nodes/pve1/qemu/100/config, or with {node} left in
        it.

        `ids` holds the concrete values only (name -> str, decoded). UnknownEndpoint names near misses; ValueError: a
        path that must not be sent. Matching is that of PVE/RESTHandler.pm: a fixed name goes before a parameter.
        """
        verb = verb_of(verb)
        path = path.strip()
        for prefix in ("/api2/json/", "/api2/extjs/"):
            if path.startswith(prefix):
                path = path[len(prefix) - 1:]
        for mark in "?#":
            if mark in path:
                raise Misfit("the path may not hold %s: what stands behind it belongs into the parameters" % mark)
        parts = [part for part in unquote(path).split("/") if part]
        if "." in parts or ".." in parts:
            raise Misfit("the path may not hold . or .. as a segment")
        node, ids = self._routes, {}
        for number, part in enumerate(parts):
            if part in node["fixed"]:
                node = node["fixed"][part]
                continue
            if node["param"] is None:
                node = None
                break
            name, node = node["param"]
            rest = (node["path"] or "").endswith(_TAKES_REST)
            value = "/".join(parts[number:]) if rest else part
            if not re.match(r"\{[^{}]*\}$|<[^<>]*>$", value):
                ids[name] = _segment(name, value, rest)
            if rest:
                break
        if node and verb in node["methods"]:
            return node["methods"][verb], ids
        if node and node["methods"]:
            there = [node["methods"][v] for v in VERBS if v in node["methods"]]
            raise UnknownEndpoint("%s has no %s here, only %s"
                                  % (node["path"], verb, ", ".join(e.verb for e in there)), there)
        close = self._near(verb, parts)
        text = "this host's API has no %s /%s" % (verb, "/".join(parts)[:200])
        raise UnknownEndpoint(text + ("; near it: " + ", ".join(map(str, close)) if close else ""), close)

    def _near(self, verb, parts):
        """[Endpoint], four at most: the paths most like `parts` (list of str), preferably with that verb."""
        known, parts = {}, parts[:12]
        scores = {path: _resemblance(parts, path.strip("/").split("/"), known)
                  for path in {endpoint.path for endpoint in self.endpoints}}
        close = {}
        for endpoint in sorted(self.endpoints, key=lambda e: (-scores[e.path], e.verb != verb, e.path)):
            if scores[endpoint.path] < 0.4 * max(1, len(parts)) or len(close) == 4:
                break
            close.setdefault(endpoint.path, endpoint)
        return list(close.values())

    def below(self, prefix):
        """[Endpoint] at or below a path prefix, concrete or a template, in the order of the API's tree."""
        wanted = [part for part in unquote(prefix).split("/") if part]

        def fits(path):
            parts, node = path.strip("/").split("/"), self._routes
            if len(parts) < len(wanted):
                return False
            for want, part in zip(wanted, parts):
                if want != part and not (part.startswith("{") and want not in node["fixed"]):
                    return False
                node = node["param"][1] if part.startswith("{") else node["fixed"][part]
            return True
        return [endpoint for endpoint in self.endpoints if fits(endpoint.path)]

    def search(self, words, verb=None, prefix=None, limit=10):
        """[Endpoint] for an admin's `words` (str), best first; `verb` and path `prefix` narrow. No words: all."""
        if self._index is None:
            self._index = apisearch.Index(json.loads("[%s]" % ",".join(self.lines)))
        order = self._index.rank(words) if words and words.strip() else range(len(self.endpoints))
        allowed = {str(endpoint) for endpoint in self.below(prefix)} if prefix and prefix.strip("/ ") else None
        verb = verb_of(verb) if verb else None
        found = [self.endpoints[number] for number in order]
        return [endpoint for endpoint in found if (verb is None or endpoint.verb == verb)
                and (allowed is None or str(endpoint) in allowed)][:limit]

    # ---------------------------------------------------------------------------------------------------- describing

    def describe(self, endpoint, only=(), limit=12000):
        """dict for a reader: endpoint, description, privilege, path, returns, parameters.

        With `only` (parameter names; net0 means net[n]) these in full, the keys of property strings with descriptions,
        and "unknown" for names that are none. Otherwise all, in about `limit` characters of JSON: the descriptions of
        options are cut first, then the keys of property strings, then all but the names; "shortened" then says so.
        """
        info = endpoint.info
        properties, _ = flatten(info["parameters"])
        result = {"endpoint": str(endpoint), "description": shorten(info.get("description") or "", 600),
                  "privilege": _privilege(info)}
        if endpoint.in_path:
            result["path"] = {name: line_of(properties.get(name) or {}, None) for name in endpoint.in_path}
        result["returns"] = _returns(info.get("returns") or {}, endpoint.starts_task)
        names = sorted((n for n in properties if n not in endpoint.in_path),
                       key=lambda n: (not required(properties[n]), n))
        if only:
            bases = {name: base_of(properties, name) for name in only}
            result["parameters"] = {n: _described(n, properties[n], 1000, 300) for n in names if n in bases.values()}
            unknown = [apiwords.unknown_name(name, properties, endpoint)
                       for name in [name for name, base in bases.items() if not base][:apiwords.MOST]]
            if unknown:
                result["unknown"] = unknown
            return result
        for text, keys in ((140, 0), (60, 0), (60, None), (0, None)):
            result["parameters"] = {n: _described(n, properties[n], 140 if required(properties[n]) else text, keys)
                                    for n in names}
            if len(json.dumps(result)) <= limit:
                return result
            result["shortened"] = "ask for single parameters by name to read all about them"
        result["parameters"] = {n: result["parameters"][n] for n in names if required(properties[n])}
        result["optional"] = " ".join(n for n in names if not required(properties[n]))
        return result

    # ------------------------------------------------------------------------------------------------------ checking

    def check(self, endpoint, ids, parameters):
        """What Proxmox would refuse of a call: list of sentences, all at once; empty when nothing is known against it.

        `ids`: the path's values (name -> str); `parameters`: name -> value as it will be sent in a form (bool as 1/0,
        None and "" not at all, a list as repeated keys). No secret is quoted.
        """
        return apiwords.check(endpoint, endpoint.info["parameters"], ids, parameters)


def verb_of(text):
    """The verb of a name for it: "GET" of "get", "PUT" of "set" or "update"; what is none comes back in capitals."""
    text = text.strip().upper()
    return _VERB_NAMES.get(text, text)


def _route():
    return {"fixed": {}, "param": None, "path": None, "methods": {}}


def _walk(node, methods):
    """Append the methods of a tree node and of its children to a list, each as a dict with what is needed of it."""
    children = node.get("children") or ()
    for verb in VERBS:
        info = (node.get("info") or {}).get(verb)
        if info is None:
            continue
        name, text = info.get("name") or "", " ".join((info.get("description") or "").split())
        # A directory of fixed names tells nothing but what is below it.
        fixed = children and all("{" not in child["path"].rsplit("/", 1)[1] for child in children)
        is_index = verb == "GET" and bool(fixed) and (not text or "index" in (name + text).lower())
        parameters = info.get("parameters") or {}
        for spec in specs_of(parameters).values():
            if "=" not in spec.get("typetext", "=") or isinstance(spec.get("format"), dict):
                spec.pop("typetext", None)              # made from the rest
        methods.append({"verb": verb, "path": node["path"], "text": sentence(text), "name": name,
                        "description": info.get("description") or "", "index": is_index, "parameters": parameters,
                        "returns": _columns(info.get("returns") or {}, is_index),
                        "permissions": info.get("permissions"), "token": info.get("allowtoken", 1)})
    for child in children:
        _walk(child, methods)


def _columns(returns, is_index):
    """What is kept of a method's `returns`: type, description, columns (names) or type of the items."""
    inner = (returns.get("items") or {}) if returns.get("type") == "array" else returns
    result = {"type": returns.get("type")}
    columns = sorted(name for name in inner.get("properties") or {} if name)
    if columns and not is_index:
        result["columns"] = columns
    elif inner is not returns and inner.get("type"):
        result["of"] = inner["type"]
    if returns.get("description"):
        result["description"] = returns["description"]
    return result


def _resemblance(parts, template, known):
    """How well concrete `parts` fit a template's segments in order, a number: 1 for each that does, less for a similar
    name.

    A segment too many or too few costs a little, wherever it is (/qemu/100/start for /nodes/{node}/.../status/start).
    """
    row = [-0.3 * n for n in range(len(template) + 1)]
    for given in parts:
        above, row = row, [row[0] - 0.3]
        for number, wanted in enumerate(template):
            if given == wanted:
                fit = 1
            elif wanted.startswith("{"):
                fit = 0.5
            else:
                if (given, wanted) not in known:
                    known[given, wanted] = apiwords.likeness(given.lower(), wanted)
                fit = known[given, wanted]
            row.append(max(above[number] + fit, above[number + 1] - 0.3, row[number] - 0.3))
    return row[-1]


# ----------------------------------------------------------------------------------------------------------- describe

def _described(name, spec, text, keys):
    """A parameter as a dict. `text`: characters of description; `keys`: the same of each key, None for names only."""
    result = {"required": True} if required(spec) else {}
    if name.endswith("[n]"):
        last = last_index(name, spec)
        result["n"] = "0 to %d" % last if last is not None else "from 0"
    result.update(limits(spec))
    inner = spec.get("items") if isinstance(spec.get("items"), dict) else {}
    if inner:
        result["items"] = line_of(inner, None)
    known = keys_of(spec) or keys_of(inner)
    if known:
        result["format"] = "property string key=value,..."
        plain = {k: s for k, s in known.items() if not s.get("alias")}
        if keys is None:
            result["keys"] = " ".join(k + ("*" if required(s) else "") for k, s in plain.items())
        else:
            result["keys"] = {k: line_of(s, keys) for k, s in plain.items()}
        for other in {(s["keyAlias"], s["alias"]) for s in known.values() if s.get("alias") and s.get("keyAlias")}:
            result["short form"] = "{0}={1} for {2}={0},{3}={1}".format(*[word.upper() for word in other], *other)
    if text and spec.get("description"):
        result["description"] = shorten(spec["description"], text)
    return result or {"type": "string"}


def _returns(returns, task):
    result = {"type": returns.get("type") or "any"}
    if task:
        result["task"] = "a UPID: the task goes on after the answer"
    for name in ("of", "description"):
        if returns.get(name):
            result[name] = shorten(returns[name], 120)
    columns = returns.get("columns")
    if columns:
        result["columns"] = " ".join(runs(columns[:60])) + (" ..." if len(columns) > 60 else "")
    return result


def _privilege(info):
    """What one must be allowed to do, in words (PVE/RPCEnvironment.pm, exec_api2_perm_check)."""
    permissions = info.get("permissions")
    if permissions is None:
        text = "root@pam itself; no API token"
    else:
        parts = []
        if permissions.get("check"):
            parts.append(_rule(permissions["check"]))
        elif permissions.get("user") == "world":
            parts.append("none, not even a login")
        elif permissions.get("user") == "all":
            parts.append("any user")
        if permissions.get("description"):
            parts.append(shorten(permissions["description"], 300))
        text = "; ".join(parts) or "any user"
    return text if on(info.get("token", 1)) else text + "; not with an API token"


def _rule(check):
    kind = check[0]
    if kind in ("and", "or"):
        return (" %s " % kind).join("(%s)" % _rule(c) if c[0] in ("and", "or") else _rule(c) for c in check[1:])
    if kind == "perm":
        options = dict(zip(check[3::2], check[4::2]))
        text = "%s on %s" % ((" or " if on(options.get("any")) else " and ").join(check[2]), check[1])
        return text + (" if %s is given" % options["require_param"] if options.get("require_param") else "")
    if kind == "perm-modify":
        return "permission to change permissions on %s" % check[1]
    if kind == "userid-group":
        return "%s on a group of the user" % " or ".join(check[1])
    if kind == "userid-param":
        return "being that user" if check[1] == "self" else "%s on the user's realm" % check[1]
    return json.dumps(check)


# ------------------------------------------------------------------------------------------------- fetching and keeping

_FORMAT = 1                                             # of the file below; another number: read the page again
_MOST = 64 << 20                                        # bytes of a cached schema; the real ones have about 1


class Source:
    """The schema of the host behind a Client: read when first asked for and kept; read again after its upgrade.

    name: str that tells hosts apart. clock() gives seconds. Safe to use from several threads.
    """
    LOOK_AGAIN = 3600                                   # seconds after which /version is asked again
    TRY_AGAIN = 300                                     # the same of a page that could not be had
    MOST = 32 << 20                                     # bytes of the page; the real ones have 4 million

    def __init__(self, client, name, state_dir=None, clock=time.monotonic):
        self._client, self._name, self._state_dir, self._clock = client, name, state_dir, clock
        self._lock = threading.Lock()
        self._doc = self._version = self._problem = None
        self._looked = 0

    def get(self, cancelled=None):
        """The ApiDoc. PveError or ValueError when it cannot be had; cancelled: threading.Event."""
        with self._lock:
            age = self._clock() - self._looked
            if self._doc is not None and age < self.LOOK_AGAIN:
                return self._doc
            if self._problem is not None and age < self.TRY_AGAIN:
                raise ValueError(self._problem)
            try:
                known = self._client.request("GET", "/version", cancelled=cancelled).data
            except PveError:
                if self._doc is None:
                    raise
                return self._doc
            known = known if isinstance(known, dict) else {}
            version = " ".join(str(part) for part in (self._name, known.get("version"), known.get("repoid")))
            if version != self._version or self._doc is None:
                self._read(version, cancelled)
            self._looked = self._clock()
            return self._doc

    def _read(self, version, cancelled):
        try:
            self._doc = load(lambda path, since: self._client.fetch(path, self.MOST, cancelled, since),
                             self._state_dir, version)
            self._version, self._problem = version, None
        except (PveError, ValueError) as error:
            self._problem, self._looked, self._doc = str(error), self._clock(), None
            raise


def load(fetch, state_dir=None, version=None):
    """ApiDoc of the host behind `fetch`, from its page or, where that has not changed, from the copy in `state_dir`.

    fetch(path, if_modified_since) -> (status, headers, bytes): path str, if_modified_since str (a Last-Modified) or
    None, status 200 or 304; its errors pass through unless a copy serves. state_dir: directory (str) or None;
    `version`: a str that tells hosts and their versions apart (host, version and repoid of GET /version). A copy made
    for another one is not used: pveproxy compares times only, so it would call another host's page unchanged.
    ValueError: no such page.
    """
    file = None
    if state_dir and version:
        digest = hashlib.sha256(version.encode("utf-8", "replace")).hexdigest()
        file = os.path.join(state_dir, "apidoc-%s.z" % digest[:16])
    modified, lines = _read_copy(file, version) if file else (None, None)
    try:
        status, headers, body = fetch(PAGE, modified)
        if status == 304:
            doc = _from_copy(lines)
            if doc is not None:
                return doc
            status, headers, body = fetch(PAGE, None)   # the copy turned out to be of no use
        if status != 200:
            raise ValueError("the host answers %s for %s, where its API viewer should be; a proxy in front of it may "
                             "pass on /api2 only" % (status, PAGE))
        doc = ApiDoc.parse(body.decode("utf-8", "replace"))
    except Exception:
        doc = _from_copy(lines)
        if doc is None:
            raise
        return doc
    if file:
        modified = next((value for name, value in headers.items() if name.lower() == "last-modified"), None)
        _write_copy(file, version, modified, doc.lines)
    return doc


def _from_copy(lines):
    try:
        return ApiDoc(lines) if lines else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _read_copy(file, version):
    """(Last-Modified, lines) of a copy, or (None, None) when there is none that can be trusted and read."""
    try:
        text = zlib.decompressobj().decompress(state.read(file, _MOST), _MOST).decode("utf-8")
        head, *lines = text.split("\n")
        head = json.loads(head)
        if head["format"] == _FORMAT and head["version"] == version and head["methods"] == len(lines):
            return head["modified"], lines
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zlib.error, state.NotOurs):
        pass
    return None, None


def _write_copy(file, version, modified, lines):
    """Keep a copy, readable by this user only; a reader sees the old or the new one. Failing to is no error."""
    head = json.dumps({"format": _FORMAT, "version": version, "modified": modified, "methods": len(lines)})
    directory = os.path.dirname(file)
    try:
        state.write(file, zlib.compress("\n".join([head] + lines).encode("utf-8"), 5))
        copies = [os.path.join(directory, name) for name in os.listdir(directory)
                  if re.match(r"apidoc-[0-9a-f]{16}\.z$", name)]
        for old in sorted(copies, key=os.path.getmtime)[:-8]:
            os.unlink(old)                              # of versions long gone
    except OSError:
        pass
