"""Proxmox's JSON schema: the specs of parameters read, and values checked by them as PVE/JSONSchema.pm does.

The rules are its own (check_object, check_prop, parse_property_string, the formats registered there and in the other
packages) and those of PVE/RESTHandler.pm. A rule that is not certain is left out: the server decides. What is found is
a Problem; whoever asks says it in words of their own.
"""
import re
import socket
from collections import namedtuple
from contextlib import suppress

from tools.pve import formats
from tools.pve.formats import text_of

#: The highest n of parameters documented as name[n]: also links of a cluster and ACME domains of a node.
_LAST_INDEX = dict(formats.LAST_INDEX, link=7, acmedomain=5)


# ---------------------------------------------------------------------------------------------------------------- specs

def flatten(parameters):
    """(properties, whether other names are refused) of a method's parameters, allOf and oneOf laid flat. What only some
    of the alternatives ask for is not required, and what two of them define differently is not checked. The parameter
    that tells which of them holds (`type-property`) stands nowhere else."""
    properties = specs_of(parameters)
    closed = parameters.get("additionalProperties", 1) in (0, "0", False)
    if isinstance(parameters.get("type-property"), str):
        kinds = parameters.get("type-property-schema")
        properties.setdefault(parameters["type-property"], kinds if isinstance(kinds, dict) else {"type": "string"})
    for word in ("allOf", "oneOf", "anyOf"):
        parts = parameters.get(word) if isinstance(parameters.get(word), list) else []
        for more, part_closed in [flatten(part) for part in parts if isinstance(part, dict)]:
            closed = closed or part_closed
            for name, spec in more.items():
                spec = spec if word == "allOf" else dict(spec, optional=1)
                properties[name] = spec if properties.get(name, spec) == spec else {
                    "description": spec.get("description", ""), "optional": 1}
    return properties, closed


def specs_of(parameters):
    """{name: spec} of `properties`; what is none is left out, as is what a later version may have in its place."""
    found = parameters.get("properties")
    return {name: spec for name, spec in found.items() if isinstance(spec, dict)} if isinstance(found, dict) else {}


def required(spec):
    """Whether a parameter, or a key of a property string, must be given; spec: its schema (dict)."""
    return not (formats.on(spec.get("optional")) or spec.get("alias") or "oneOf" in spec or spec.get("type") == "null")


def keys_of(spec):
    """The keys of a property string: name -> spec; None when `spec` is none, or its keys have no schema."""
    return spec["format"] if isinstance(spec.get("format"), dict) else None


# -------------------------------------------------------------------------------------------------------------- formats

def _like(name):
    """A format that formats.py knows."""
    return (lambda value: formats.fits(name, value)), formats.FORMATS[name].words


def _pattern(pattern, words):
    return (lambda value: re.match(r"(?:%s)\Z" % pattern, value, re.ASCII)), words


def is_ip(value, families=(socket.AF_INET, socket.AF_INET6)):
    """Whether `value` (str) is an IP address of one of `families`."""
    for family in families:
        with suppress(OSError, ValueError):
            return bool(socket.inet_pton(family, value))
    return False


def is_cidr(value, families=(socket.AF_INET, socket.AF_INET6), shortest=8):
    """Whether `value` (str) is address/bits with at least `shortest` bits."""
    address, _, bits = value.partition("/")
    return any(is_ip(address, (family,)) and re.match(r"[0-9]{1,3}\Z", bits)
               and shortest <= int(bits) <= (32 if family == socket.AF_INET else 128) for family in families)


def _is_pair(value, name):
    """"1" (map all to themselves), one target for all, or from:to (PVE::JSONSchema, storage-pair and bridge-pair)."""
    return value == "1" or all(formats.fits(name, part) for part in value.split(":", 1))


V4, V6 = (socket.AF_INET,), (socket.AF_INET6,)
_REALM = r"[A-Za-z][A-Za-z0-9.\-_]+"
_NAME = r"[A-Za-z0-9.\-_]+"
_VOLUME = r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]:.+"
#: Formats the schema only names -> (function(value) -> whether it is one, what it should be). Those missing here the
#: server checks. "-list" of each is a list of them, "-opt" may be empty.
FORMATS = {
    "pve-vmid": _like("vmid"), "pve-node": _like("node"), "pve-storage-id": _like("storage"),
    "mac-addr": _like("mac"), "dns-name": _like("dnsname"), "pve-iface": _like("iface"),
    "pve-poolid": _like("pool"), "pve-bridge-id": _like("bridge"),
    "pve-configid": _pattern("[A-Za-z][A-Za-z0-9_-]+",
                             "an id: a letter, then letters, digits, _ and -, at least 2 characters"),
    "pve-userid": _pattern(r"(?=[\s\S]{3,64}\Z)[^\s:/]+@" + _REALM, "a user as name@realm, such as root@pam"),
    "pve-tokenid": _pattern(r"[^\s:/]+@%s![A-Za-z][A-Za-z0-9.\-_]+" % _REALM, "a token as user@realm!name"),
    "pve-groupid": _pattern(_NAME, "a group's name: letters, digits and . - _"),
    "pve-roleid": _pattern(_NAME, "a role's name: letters, digits and . - _"),
    "pve-realm": _pattern(_REALM, "a realm, such as pam"),
    "pve-volume-id": _pattern(_VOLUME, "a volume id, storage:name"),
    "pve-volume-id-or-qm-path": _pattern("none|cdrom|/.*|" + _VOLUME,
                                         "a volume id (storage:name), storage:SIZE_IN_GIB, a path, none or cdrom"),
    "pve-volume-id-or-absolute-path": _pattern("/.*|" + _VOLUME, "a volume id (storage:name) or an absolute path"),
    "pve-ha-resource-or-vm-id": _pattern(r"[a-z]+:\S+|\d+", "an HA resource, such as vm:100, or a vmid"),
    "pve-replication-job-id": _pattern("[1-9][0-9]{2,8}-[0-9]+", "a replication job, VMID-NUMBER, such as 100-0"),
    "pve-tag": _pattern(r"[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*", "a tag: letters, digits and _ - + ."),
    "disk-size": _pattern(r"\d+(\.\d+)?([KMGT](iB)?)?", "a size, such as 32G"),
    "email": _pattern(r"[\w+\-~]+(\.[\w+\-~]+)*@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*", "a mail address"),
    "ip": (is_ip, "an IP address"), "ipv4": (lambda v: is_ip(v, V4), "an IPv4 address"),
    "ipv6": (lambda v: is_ip(v, V6), "an IPv6 address"),
    "CIDR": (is_cidr, "a network as address/bits"),
    "CIDRv4": (lambda v: is_cidr(v, V4), "an IPv4 network as address/bits"),
    "CIDRv6": (lambda v: is_cidr(v, V6), "an IPv6 network as address/bits"),
    "IPorCIDR": (lambda v: is_ip(v) or is_cidr(v, shortest=0), "an IP address or a network as address/bits"),
    "address": ((lambda v: v != "0" and (is_ip(v) or formats.fits("dnsname", v))), "a host name or an IP address"),
    "storage-pair": (lambda v: _is_pair(v, "storage"), "a storage id, or FROM:TO, or 1"),
    "bridge-pair": (lambda v: _is_pair(v, "bridge"), "a bridge, or FROM:TO, or 1"),
}
_INTEGER = re.compile(r"[+-]?\d+\n?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d+)?\n?\Z", re.ASCII)
#: type -> whether a text is one of it
_TYPES = {"boolean": lambda text: text in ("0", "1"), "integer": _INTEGER.match, "number": _NUMBER.match}
#: What a boolean of a property string may be (parse_boolean).
_BOOLEANS = dict(dict.fromkeys(("on", "yes", "true"), "1"), **dict.fromkeys(("off", "no", "false"), "0"))


def split_list(text):
    """list of the words of a Proxmox list: separated by commas, semicolons, blanks or NULs (PVE::Tools::split_list)."""
    return text.rstrip("\0").split("\0") if "\0" in text else re.sub("[,;]", " ", text).split()


# ------------------------------------------------------------------------------------------------------------- checking

def base_of(properties, name):
    """The name under which `properties` define `name` (net0 -> net[n]), or None."""
    if name in properties:
        return name
    base = re.sub(r"(0|[1-9]\d*)\Z", "", name)
    return base + "[n]" if base != name and base + "[n]" in properties else None


def last_index(name, spec):
    """The highest n of name[n]: that of Proxmox's tables, or of the description if it says more; None if unknown."""
    last = _LAST_INDEX.get(name[:-3])
    said = re.search(r"n is 0 to (\d+)", spec.get("description") or "")
    return max(last, int(said.group(1)) if said else 0) if last is not None else None


def spec_of(properties, name):
    """The spec of a parameter, numbered ones included; None when there is none, or its number is too high."""
    base = base_of(properties, name)
    last = last_index(base, properties[base]) if base not in (None, name) else None
    return None if last is not None and int(name[len(base) - 3:]) > last else properties.get(base)


#: Something that Proxmox refuses, in nobody's words yet.
#: rule   what it breaks: "unknown", "missing", "requires", "alias"; "type", "format", "properties" (a property string)
#:        or a limit by JSON Schema's name (pattern, maxLength, enum ...). A property string that cannot be read breaks
#:        "empty" (no key or no value beside a "="), "nameless" (no key, no default one), "said" (by an alias) or
#:        "twice"
#: name   of the parameter or, inside a property string, of the key; index: of the item in an array, or None
#: value  str, list or dict; what is needed, for "requires"; what is there already, for "said" and "alias"; for "format"
#:        the words (list) that are none, of all in `inner`; for "twice" the key as it was written
#: inner  of "properties": the problems inside
Problem = namedtuple("Problem", "rule name value spec inner index", defaults=(None, {}, (), None))


def read_property_string(keys, text):
    """(values, problems) of "key=value,...", read by `keys` (name -> spec). As PVE::JSONSchema::parse_property_string:
    a key with `alias` stands for another one, and `keyAlias` names the key that keeps the word used (virtio=MAC is
    model=virtio, macaddr=MAC). Proxmox stops at the first problem."""
    values, problems = {}, []
    default = next((key for key, spec in keys.items() if formats.on(spec.get("default_key"))), None)
    for part in filter(str.strip, text.split(",")):
        written, equals, value = part.partition("=")
        if not equals:
            written, value = default, part
        if not (written and value):
            problems.append(Problem("empty", written) if equals else Problem("nameless", ""))
            continue
        spec = keys.get(written) or {}
        key, keeps = spec.get("alias") or written, spec.get("alias") and spec.get("keyAlias")
        if keeps in values:
            problems.append(Problem("said", written, keeps))
            continue
        if keeps:
            values[keeps] = written
        if key in values:
            problems.append(Problem("twice", key, written))
        else:
            boolean = (keys.get(key) or {}).get("type") == "boolean"
            values[key] = _BOOLEANS.get(value.lower().rstrip("\n"), value) if boolean else value
    return values, problems


class Checker:
    """Values held against their specs, all problems at once."""

    #: name -> function(value) -> whether it has that format; one that is not there is not checked
    formats = {name: test for name, (test, _) in FORMATS.items()}

    def check_object(self, properties, values, closed=True):
        """[Problem] of the parameters, or the keys of a property string, `values` (None: named, but without a value).
        closed: whether other names are refused."""
        problems, specs = [], {name: spec_of(properties, name) for name in values}
        for name, spec in specs.items():
            if spec is None:
                problems += [Problem("unknown", name, values[name])] if closed else []
                continue
            if spec.get("alias") in values:
                problems.append(Problem("alias", name, spec["alias"], spec))
            if isinstance(spec.get("requires"), str) and values.get(spec["requires"]) is None:
                problems.append(Problem("requires", name, spec["requires"], spec))
        given = {name: spec for name, spec in specs.items() if spec and values[name] is not None}
        there = {spec.get("alias") for spec in given.values()}.union(given)
        problems += [Problem("missing", name, None, spec) for name, spec in properties.items()
                     if required(spec) and not name.endswith("[n]") and name not in there]
        for name, spec in given.items():
            problems += self.check_value(name, spec, values[name])
        return problems

    def check_value(self, name, spec, value):
        """[Problem] of one parameter: str, number, bool, list or dict. What is one thing or another is not checked."""
        if spec.get("alias") or "oneOf" in spec:
            return []
        kind = spec.get("type")
        if kind == "array":
            inner, found = spec.get("items") if isinstance(spec.get("items"), dict) else {}, []
            for index, item in enumerate(value if isinstance(value, list) else [value]):
                found += [problem._replace(index=index) for problem in self.check_value(name, inner, item)]
            return found
        if isinstance(value, list):
            if kind in (None, "any", "object") or isinstance(kind, list):
                return []
            if not (isinstance(spec.get("format"), str) and spec["format"].endswith("list")):
                return [Problem("type", name, value, spec)]
            value = ",".join(map(text_of, value))
        if isinstance(value, dict) or isinstance(value, bool) and kind not in (None, "any", "boolean"):
            return [Problem("type", name, value, spec)]
        return self._check_text(name, spec, text_of(value))

    def _check_text(self, name, spec, text):
        """What check_prop finds first: in the type, the format, or a limit."""
        kind = spec.get("type")
        if isinstance(kind, str) and kind in _TYPES and not _TYPES[kind](text):
            return [Problem("type", name, text, spec)]
        keys = keys_of(spec)
        found = self._check_properties(name, keys, text) if keys else self._check_format(name, spec, text)
        return found or [Problem(rule, name, text, spec) for rule, keeps in self.LIMITS.items()
                         if spec.get(rule) is not None and not keeps(spec[rule], text)][:1]

    def _check_properties(self, name, keys, text):
        values, problems = read_property_string(keys, text)
        problems += self.check_object(keys, values)
        return [Problem("properties", name, text, {"format": keys}, problems)] if problems else []

    def _check_format(self, name, spec, text):
        shape, items = spec.get("format"), [text]
        if not isinstance(shape, str):
            return []
        if shape not in self.formats and shape.endswith("-list"):
            shape, items = shape[:-5], split_list(text)
        elif shape not in self.formats and shape.endswith("-opt"):
            shape, items = shape[:-4], [text] if text not in ("", "0") else []
        wrong = [item for item in items if shape in self.formats and not self.formats[shape](item)]
        return [Problem("format", name, wrong, {"format": shape})] if wrong else []

    #: JSON Schema's limits, in check_prop's order -> whether a text keeps to one
    LIMITS = {
        "pattern": lambda limit, text: not isinstance(limit, str) or _matches(limit, text),
        "maxLength": lambda limit, text: len(text) <= _number(limit, len(text)),
        "minLength": lambda limit, text: len(text) >= _number(limit, len(text)),
        "maximum": lambda limit, text: not _NUMBER.match(text) or float(text) <= _number(limit, float(text)),
        "minimum": lambda limit, text: not _NUMBER.match(text) or float(text) >= _number(limit, float(text)),
        "enum": lambda limit, text: not isinstance(limit, list) or not limit or text in map(str, limit),
    }


def _number(value, otherwise):
    """A limit of the schema, which may be a number in quotes; `otherwise` when there is none to go by."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return otherwise


def python_pattern(pattern):
    """A pattern of Perl's for Python: flags of groups as it writes them."""
    return re.sub(r"\(\?\^([a-z]*):", lambda m: "(?" + re.sub("[^imsx]", "", m.group(1)) + ":", pattern)


#: What is not tried: groups that are repeated (they may take for ever), and sets within sets, [:classes:] and set
#: operations, which Python reads otherwise than Perl.
_DOUBTFUL = re.compile(r"\)(?:[*+]|\{\d+,\})|\[\^?\[|--|&&|\|\||~~")


def _matches(pattern, text):
    """Whether `text` has a schema's pattern (Perl), anchored as Proxmox does; True where that is not certain."""
    python = python_pattern(pattern)
    if _DOUBTFUL.search(python) or len(text) > 2000:
        return True
    try:
        return re.search("^" + python.replace(r"\z", r"\Z") + "$", text) is not None
    except (re.error, RecursionError, OverflowError):
        return True
