"""The API schema of the user's own host: its page read, searched, described, and calls checked against it.

Every Proxmox VE node serves, without login, the schema that its API viewer shows (pve-docs: api-viewer/apidoc.js). It
is that of the host's own version, so nothing is bundled and nothing grows old. It may be some weeks off the packages
installed on the host: where a rule is not certain, the server decides.
"""
import json
import re
import textwrap
import threading
import time
from difflib import get_close_matches
from urllib.parse import quote, unquote

from tools.pve import apisearch
from tools.pve.client import PveError
from tools.pve.formats import Misfit, on
from tools.pve.jsonschema import (FORMATS, Checker, base_of, flatten, keys_of, last_index, python_pattern, required,
                                  specs_of, text_of)
from tools.pve.scrub import is_secret

#: Where pveproxy serves the page (PVE/Service/pveproxy.pm: static pages need no ticket).
PAGE = "/pve-docs/api-viewer/apidoc.js"
VERBS = ("GET", "POST", "PUT", "DELETE")
#: What pvesh calls the verbs, and what people do.
_VERB_NAMES = {"LS": "GET", "LIST": "GET", "READ": "GET", "CREATE": "POST", "ADD": "POST", "SET": "PUT",
               "UPDATE": "PUT", "PATCH": "PUT"}
#: The last parameter of these takes the rest of the path, slashes included (fragmentDelimiter in PVE/RESTHandler.pm).
_TAKES_REST = ("/content/{volume}", "/ipset/{name}/{cidr}")
_MOST = 20                      # problems that are put in words: finding what was meant takes time


class Endpoint:
    """One method of the API: `verb`, `path` (template), `text` (one sentence), `required` (names not in the path),
    `in_path` (names of the path's parameters, in order).
    """
    __slots__ = ("verb", "path", "text", "required", "in_path", "_line")

    def __init__(self, method):
        self.verb, self.path, self.text = method["verb"], method["path"], method["text"]
        self._line = json.dumps(method)                 # a tenth of the memory
        self.in_path = re.findall(r"\{([^}]+)\}", self.path)
        properties, _ = flatten(method["parameters"])
        self.required = tuple(name for name, spec in properties.items() if required(spec) and name not in self.in_path)

    def __str__(self):
        return self.verb + " " + self.path

    @property
    def info(self):
        """dict as Proxmox publishes it (name, description, parameters, permissions); of `returns` the columns only."""
        return json.loads(self._line)

    def fill(self, ids):
        """The path with `ids` (name -> str) put in, encoded for a URL. Misfit: one is missing or unfit."""
        def one(match):
            name = match.group(1)
            if ids.get(name) in (None, ""):
                raise Misfit("the path %s needs a value for %s" % (self.path, name))
            return quote(_segment(self.path, name, str(ids[name])), safe=":/@!+,=~")
        return re.sub(r"\{([^}]+)\}", one, self.path)


def _segment(template, name, value):
    """`value` if safe in a path, else Misfit. pveproxy decodes before it splits: encoding protects nothing."""
    parts = value.split("/") if template.endswith(_TAKES_REST) and template.endswith("{%s}" % name) else [value]
    if any(part in ("", ".", "..") or re.search(r"[\s\x00-\x1f\x7f/?#%\\]", part) for part in parts):
        raise Misfit("%s %r cannot stand in a path of the API%s" % (
            name, value[:80], ": rename the file on its node, then call again" if name == "volume" else ""))
    return value


class ApiDoc:
    """The schema of one host. Takes about 2 MB; make it once and keep it. Safe to use from several threads."""

    def __init__(self, methods):
        """`methods`: list of dict, as parse() makes them."""
        self.endpoints = [Endpoint(method) for method in methods]
        self._index = None                              # made when first searched
        self._paths = {}                                # template -> {verb: Endpoint}
        for endpoint in self.endpoints:
            self._paths.setdefault(endpoint.path, {})[endpoint.verb] = endpoint

    @classmethod
    def parse(cls, text):
        """ApiDoc of the page's text (str): the array at the first "[" is JSON, the rest is the viewer's code.
        ValueError when there is no such array."""
        try:
            tree, _ = json.JSONDecoder().raw_decode(text, text.index("["))
            doc = cls([method for node in tree for method in _walk(node)])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("this is not the page of Proxmox's API viewer (%s)" % type(error).__name__) from None
        if not doc.endpoints:
            raise ValueError("this is not the page of Proxmox's API viewer (no method is in it)")
        return doc

    def find(self, verb, path):
        """(Endpoint, ids) of a verb and a path below /api2/json: /nodes/pve1/qemu/100/config, or with {node} left in
        it. `ids` holds the concrete values only (name -> str, decoded). Misfit names near misses, or says why the path
        must not be sent. As in PVE/RESTHandler.pm a fixed name goes before a parameter."""
        verb, path = verb_of(verb), re.sub(r"\A/api2/(?:json|extjs)(?=/)", "", path.strip())
        for mark in "?#":
            if mark in path:
                raise Misfit("the path may not hold %s: what stands behind it belongs into the parameters" % mark)
        parts = [part for part in unquote(path).split("/") if part]
        if "." in parts or ".." in parts:
            raise Misfit("the path may not hold . or .. as a segment")
        fitting = [one for one in (_fit(template, parts) for template in self._paths) if one]
        if not fitting:
            path = ("/" + "/".join(parts))[:200]
            close = [self._paths[near].get(verb) or next(iter(self._paths[near].values()))
                     for near in get_close_matches(path.lower(), self._paths, 4, 0.5)]
            raise Misfit("this host's API has no %s %s%s" % (
                verb, path, "; near it: " + ", ".join(map(str, close)) if close else ""))
        _, template, ids = max(fitting)
        there = self._paths[template]
        if verb not in there:
            raise Misfit("%s has no %s here, only %s" % (
                template, verb, ", ".join(one for one in VERBS if one in there)))
        for name, value in ids.items():
            _segment(template, name, value)
        return there[verb], ids

    def search(self, words, verb=None, prefix=None, limit=10):
        """[Endpoint] for an admin's `words`, best first; `verb` and path `prefix`, concrete or a template, narrow."""
        if self._index is None:
            self._index = apisearch.Index([endpoint.info for endpoint in self.endpoints])
        verb = verb_of(verb) if verb else None
        wanted = [part for part in unquote(prefix or "").split("/") if part]
        found = [self.endpoints[number] for number in self._index.rank(words)]
        return [endpoint for endpoint in found if verb in (None, endpoint.verb) and _fit("/".join(
            endpoint.path.strip("/").split("/")[:len(wanted)]), wanted)][:limit]

    def describe(self, endpoint, only=(), limit=12000):
        """dict for a reader: endpoint, description, privilege, path, returns, parameters (name -> a line), keys (name
        of a property string -> {key: a line}). With `only` (parameter names; net0 means net[n]) these in full, and
        "unknown" for names that are none. Otherwise all, in about `limit` characters of JSON: descriptions of options
        are cut first, then what the keys are, then all but the names; "shortened" then says so."""
        info = endpoint.info
        properties, _ = flatten(info["parameters"])
        result = {"endpoint": str(endpoint), "description": _cut(info.get("description") or "", 600),
                  "privilege": _privilege(info)}
        if endpoint.in_path:
            result["path"] = {name: _line_of(properties.get(name) or {}) for name in endpoint.in_path}
        result["returns"] = info["returns"]
        names = sorted((n for n in properties if n not in endpoint.in_path),
                       key=lambda n: (not required(properties[n]), n))
        if only:
            bases = {name: base_of(properties, name) for name in only}
            _tell(result, {n: properties[n] for n in names if n in bases.values()}, 1000, 300)
            unknown = [_unknown(name, properties, endpoint)
                       for name in [name for name, base in bases.items() if not base][:_MOST]]
            if unknown:
                result["unknown"] = unknown
            return result
        for text, keys in ((140, 0), (60, None), (0, None)):
            _tell(result, {n: properties[n] for n in names}, text, keys)
            if len(json.dumps(result)) <= limit:
                return result
            result["shortened"] = "ask for single parameters by name to read all about them"
        _tell(result, {n: properties[n] for n in names if required(properties[n])}, 140, None)
        result["optional"] = " ".join(n for n in names if not required(properties[n]))
        return result

    def check(self, endpoint, ids, parameters):
        """What Proxmox would refuse of a call: list of sentences, all at once; empty when nothing is known against it.
        `ids`: the path's values (name -> str); `parameters`: name -> value as it will be sent in a form (bool as 1/0,
        None and "" not at all, a list as repeated keys). No secret is quoted."""
        problems, given = [], {name: _sent(value) for name, value in parameters.items() if value not in (None, "", [])}
        for name in endpoint.in_path:
            if ids.get(name) in (None, ""):
                problems.append("%s is part of the path and has no value." % name)
                continue
            value = str(ids[name])
            if text_of(given.get(name, value)) != value:
                problems.append("%s is %s in the path and something else in the parameters." % (
                    name, _show(name, value)))
            given[name] = value
        properties, closed = flatten(endpoint.info["parameters"])
        found = Checker().check_object(properties, given, closed)
        for problem in found[:_MOST]:
            if problem.rule == "unknown":
                problems.append(_unknown(problem.name, properties, endpoint))
            elif problem.rule != "missing" or problem.name not in endpoint.in_path:
                problems += _sentences(problem)
        return problems + ["There are %d more problems." % (len(found) - _MOST)] * (len(found) > _MOST)


def verb_of(text):
    """The verb of a name for it: "GET" of "get", "PUT" of "set" or "update"; what is none comes back in capitals."""
    text = text.strip().upper()
    return _VERB_NAMES.get(text, text)


def _cut(text, most):
    return textwrap.shorten(text, most, placeholder=" ...")


def _fit(template, parts):
    """(which segments are fixed, template, ids) of a path that has these parts (list of str); None when it does not."""
    wanted = [part for part in template.split("/") if part]
    if template.endswith(_TAKES_REST) and len(parts) > len(wanted):
        parts = parts[:len(wanted) - 1] + ["/".join(parts[len(wanted) - 1:])]
    if len(parts) != len(wanted):
        return None
    fixed, ids = [], {}
    for want, part in zip(wanted, parts):
        fixed.append(not want.startswith("{"))
        if want == part or fixed[-1]:
            if want != part:
                return None
        elif not re.match(r"\{[^{}]*\}$|<[^<>]*>$", part):
            ids[want[1:-1]] = part
    return fixed, template, ids


def _walk(node):
    """The methods of a tree node and of its children, each as a dict with what is needed of it."""
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
        sentence = re.match(r"(.{20,}?[.!?])(?= [A-Z]|$)|", text).group() or text
        yield {"verb": verb, "path": node["path"], "text": _cut(sentence, 160), "name": name,
               "description": info.get("description") or "", "index": is_index, "parameters": parameters,
               "returns": _returns(info.get("returns") or {}, is_index), "permissions": info.get("permissions"),
               "token": info.get("allowtoken", 1)}
    for child in children:
        yield from _walk(child)


def _returns(returns, is_index):
    """What is kept of a method's `returns`: type, description, columns (names) or type of the items."""
    inner = (returns.get("items") or {}) if returns.get("type") == "array" else returns
    result = {"type": returns.get("type") or "any"}
    columns = sorted(name for name in inner.get("properties") or {} if name)
    if columns and not is_index:
        result["columns"] = " ".join(columns[:60]) + (" ..." if len(columns) > 60 else "")
    elif inner is not returns and inner.get("type"):
        result["of"] = inner["type"]
    if returns.get("description"):
        result["description"] = _cut(returns["description"], 120)
    return result


# ----------------------------------------------------------------------------------------------------------- describe

def _tell(result, specs, text, keys):
    """Put the parameters `specs` (name -> spec) into `result`, with so many characters of their descriptions, and of
    those of the keys of property strings; keys None: their names only."""
    result["parameters"], result["keys"] = {}, {}
    for name, spec in specs.items():
        inner = spec.get("items") if isinstance(spec.get("items"), dict) else {}
        known = keys_of(spec) or keys_of(inner) or {}
        plain = {key: one for key, one in known.items() if not one.get("alias")}
        if known and keys is not None:
            result["keys"][name] = {key: _line_of(one, keys, True) for key, one in plain.items()}
        result["parameters"][name] = _line_of(spec, text, True, [
            "n from 0 to %s" % (last_index(name, spec) or "..") if name.endswith("[n]") else None,
            "each " + _line_of(inner) if inner else None,
            "key=value,... of " + " ".join(plain) if known else None])
    if not result["keys"]:
        del result["keys"]


def _line_of(spec, text=0, needed=False, more=()):
    """What a value may be, in one line, with so many characters of its description; needed: and whether it must be."""
    kind, shape = spec.get("type"), spec.get("format")
    parts = ["required" if needed and required(spec) else None,
             kind if isinstance(kind, str) and kind != "string" else None,
             "|".join(map(str, spec["enum"])) if isinstance(spec.get("enum"), list) else None]
    for name, low, high in (("range", spec.get("minimum"), spec.get("maximum")),
                            ("length", spec.get("minLength"), spec.get("maxLength"))):
        if low is not None or high is not None:
            parts.append(name + ("" if low is None else " from %s" % low) + ("" if high is None else " to %s" % high))
    if isinstance(shape, str):
        parts.append(spec.get("typetext") or shape)     # of a property string whose keys have no schema
    parts += ["%s %s" % (word, spec[name]) for name, word in (("default", "default"), ("requires", "only with"))
              if spec.get(name) is not None]
    if isinstance(spec.get("pattern"), str) and spec["pattern"]:
        parts.append("pattern " + python_pattern(spec["pattern"]))
    if on(spec.get("default_key")):
        parts.append("may stand without its name")
    line = ", ".join(filter(None, [*parts, *more])) or "text"
    description = _cut(spec.get("description") or "", text) if text else ""
    return line + (": " + description if description else "")


def _privilege(info):
    """What one must be allowed to do, in words (PVE/RPCEnvironment.pm, exec_api2_perm_check)."""
    permissions = info.get("permissions")
    if permissions is None:
        text = "root@pam itself; no API token"
    else:
        users = {"world": "none, not even a login", "all": "any user"}
        parts = [_rule(permissions["check"]) if permissions.get("check") else users.get(permissions.get("user")),
                 _cut(permissions.get("description") or "", 300)]
        text = "; ".join(filter(None, parts)) or "any user"
    return text if on(info.get("token", 1)) else text + "; not with an API token"


def _rule(check):
    kind = check[0]
    if kind in ("and", "or"):
        return (" %s " % kind).join("(%s)" % _rule(c) if c[0] in ("and", "or") else _rule(c) for c in check[1:])
    if kind == "perm":
        options = dict(zip(check[3::2], check[4::2]))
        text = "%s on %s" % ((" or " if on(options.get("any")) else " and ").join(check[2]), check[1])
        return text + (" if %s is given" % options["require_param"] if options.get("require_param") else "")
    return json.dumps(check)


# -------------------------------------------------------------------------------------------------------------- check

def _sent(value):
    """A value as a form carries it: True as 1, a list of one as its item."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return text_of(value) if isinstance(value, bool) else value


def _meant(name, names):
    close = [one.replace("[n]", "0") for one in get_close_matches(name[:80].lower().replace("_", "-"), names, 3, 0.7)]
    return "; did you mean %s?" % " or ".join(close) if close else ""


def _unknown(name, properties, endpoint):
    """The sentence on a name that is no parameter of `endpoint` (str() of it is shown); properties: those there are."""
    base = re.sub(r"\d+\Z", "", name)
    spec = properties.get(base + "[n]")
    if spec and base != name:
        last = last_index(base + "[n]", spec)
        return "%s is not a parameter: there are %s0 to %s%s." % (name, base, base, last if last is not None else "n")
    if name + "[n]" in properties:
        return "%s needs its number, such as %s0." % (name, name)
    names = sorted(n for n in properties if n not in endpoint.in_path)
    takes = "; it takes %s." % (", ".join(names) or "none") if len(names) <= 12 else "."
    return "%s is not a parameter of %s%s" % (name, endpoint, _meant(base, names) or takes)


def _show(name, value):
    """`value` for a sentence, shortened; nothing of it when `name` may be a secret."""
    value = str(value)
    return "(hidden)" if is_secret(name) else repr(value if len(value) <= 60 else value[:57] + "...")


#: rule of a Problem -> what is said of it. {limit}: that of its spec; {value}: as it may be shown; {raw}: as it is.
_SAYS = {
    "alias": "{name} is another name of {raw}: give one of them.", "twice": "{name} is given twice.",
    "requires": "{name} works only together with {raw}.", "empty": "{name}= needs a key before it and a value behind.",
    "missing": "{name} is missing ({line}).", "said": "{name}= says the {raw}, which is there already.",
    "pattern": "{name} must match {limit}, not {value}.", "enum": "{name} must be one of {limit}, not {value}{meant}",
    "maxLength": "{name} may have at most {limit} characters, not {length}.",
    "minLength": "{name} must have at least {limit} characters, not {length}.",
    "type": "{name} must be {limit}, not {value}.",
    "maximum": "{name} may be at most {limit}, not {value}.",
    "minimum": "{name} must be at least {limit}, not {value}.",
    "nameless": "every part needs a key, as in key=value.", "unknown": "unknown key {name}{meant}",
}
_TYPES = {"boolean": "1 or 0", "integer": "a whole number", "number": "a number"}


def _sentences(problem, keys=()):
    """[str]: a Problem in our words, in as many sentences as it holds; keys: those of its property string."""
    name, value, spec = problem.name, problem.value, problem.spec
    if problem.rule == "properties":
        return ["%s: %s" % (name, text) for inner in problem.inner[:_MOST]
                for text in _sentences(inner, spec["format"])]
    if problem.rule == "format":
        words = FORMATS[spec["format"]][1]
        return ["%s must be %s, not %s." % (name, words, _show(name, item)) for item in value[:5]]
    if problem.rule == "type" and not isinstance(value, str):
        return ["%s takes %s, not %s." % (name, "key=value,..." if keys_of(spec) else "one value",
                                          "a list" if isinstance(value, list) else "an object")]
    limit, meant = spec.get(problem.rule), ""
    if problem.rule == "enum":
        meant = _meant(value, list(map(str, limit))) or "."
        limit = ", ".join(map(str, limit[:40]))
    elif problem.rule == "unknown":
        meant = _meant(name, keys) or "; the keys are %s." % ", ".join(k for k, s in keys.items() if not s.get("alias"))
    elif problem.rule == "pattern":
        limit = python_pattern(limit)[:120]             # it may have no blank, where _cut cuts
    return [_SAYS[problem.rule].format(
        name=name, value=_show(name, value), raw=value, length=len(value or ""), meant=meant, line=_line_of(spec, 160),
        limit=_TYPES.get(limit, limit))]


# ----------------------------------------------------------------------------------------------------------- fetching

class Source:
    """The schema of the host behind a Client: read when first asked for, and anew later on, for the host may have been
    upgraded. clock() gives seconds. Safe to use from several threads."""
    LOOK_AGAIN, TRY_AGAIN = 3600, 300                   # seconds, of a page that was read and one that could not be

    def __init__(self, client, clock=time.monotonic):
        self._client, self._clock, self._lock = client, clock, threading.Lock()
        self._doc = self._problem = None
        self._until = clock() - 1

    def get(self, cancelled=None):
        """The ApiDoc. PveError or ValueError when it cannot be had; cancelled: threading.Event."""
        with self._lock:
            if self._clock() >= self._until:
                self._look(cancelled)
            if self._doc is None:
                raise ValueError(self._problem)
            return self._doc

    def _look(self, cancelled):
        try:
            self._doc = ApiDoc.parse(self._client.fetch(PAGE, cancelled).decode("utf-8", "replace"))
            self._until = self._clock() + self.LOOK_AGAIN
        except (PveError, ValueError) as error:
            if self._doc is None:
                if getattr(error, "passing", False):
                    raise
                self._problem = str(error)
            self._until = self._clock() + self.TRY_AGAIN
