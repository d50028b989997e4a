"""What the parameters of an API method may be: their specs read, near names, and values checked as Proxmox would.

The rules are those of PVE/JSONSchema.pm (check_prop, parse_property_string, the formats registered there and in the
other packages) and PVE/RESTHandler.pm. A rule that is not certain is left out: the server decides.
"""
import re
import socket

from tools.pve import formats
from tools.pve.scrub import is_secret

#: The highest n of parameters documented as name[n]: also links of a cluster and ACME domains of a node.
_LAST_INDEX = dict(formats.LAST_INDEX, link=7, acmedomain=5)


# ---------------------------------------------------------------------------------------------------------------- specs

def flatten(parameters):
    """(properties, whether other names are refused) of a method's parameters, allOf and oneOf laid flat.

    What only some of the alternatives ask for is not required, and what two of them define differently is not checked.
    """
    properties = parameters.get("properties") or {}
    closed = parameters.get("additionalProperties", 1) in (0, "0", False)
    for word in ("allOf", "oneOf", "anyOf"):
        properties = dict(properties) if word in parameters else properties
        for part in parameters.get(word) or ():
            more, part_closed = flatten(part)
            closed = closed or part_closed
            for name, spec in more.items():
                if name in properties and properties[name] != spec:
                    properties[name] = {"description": spec.get("description", ""), "optional": 1}
                else:
                    properties[name] = spec if word == "allOf" else dict(spec, optional=1)
    return properties, closed


def required(spec):
    """Whether a parameter, or a key of a property string, must be given; spec: its schema (dict)."""
    return not (formats.on(spec.get("optional")) or spec.get("alias") or "oneOf" in spec or "instance-types" in spec
                or spec.get("type") == "null")


def likeness(a, b):
    """0 to 0.9: how much two names share, by their pairs of letters."""
    if len(a) < 2 or len(b) < 2:
        return 0.9 if a == b else 0
    first, second = ([word[i:i + 2] for i in range(len(word) - 1)] for word in (a, b))
    shared = sum(min(first.count(pair), second.count(pair)) for pair in set(first))
    share = 2.0 * shared / (len(first) + len(second))
    return 0.9 * share if share > 0.5 else 0


def near(name, names, limit=3):
    """The names (list of str) most like `name`, best first; empty when none is."""
    def score(other):
        a, b = name.lower().replace("_", "-"), other.lower().replace("_", "-")
        return 1 if a == b else max(likeness(a, b), 0.6 if len(a) > 2 and (b.startswith(a) or a.startswith(b)) else 0,
                                    0.7 if len(a) == len(b) and sorted(a) == sorted(b) else 0)
    ranked = sorted(((score(other), other) for other in names), key=lambda pair: (-pair[0], pair[1]))
    return [other for value, other in ranked[:limit] if value >= 0.5]


def sentence(text):
    """The first sentence of `text`, at most 160 characters."""
    match = re.match(r"(.{20,}?[.!?])(?= [A-Z]|$)", text)
    return shorten(match.group(1) if match else text, 160)


def shorten(text, limit):
    """`text` as one line of at most `limit` characters, cut between two words, and " ..." where it was cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."


def runs(values):
    """`values` (list of str) with runs of numbered names joined: ide0 ide1 ide2 -> ide0-ide2."""
    result, run = [], []

    def flush():
        result.extend(run if len(run) < 3 else ["%s to %s" % (run[0], run[-1])])
        del run[:]
    for value in values:
        match = re.match(r"(.*?)(\d+)$", value)
        last = re.match(r"(.*?)(\d+)$", run[-1]) if run else None
        if not (match and last and match.group(1) == last.group(1) and int(match.group(2)) == int(last.group(2)) + 1):
            flush()
        run.append(value)
    flush()
    return result


def limits(spec):
    """dict of what a value of `spec` may be: type, enum, range, length, pattern, format."""
    result = {}
    kind = spec.get("type")
    if kind and kind != "string":
        result["type"] = kind
    if isinstance(spec.get("enum"), list) and spec["enum"]:
        result["enum"] = runs([str(v) for v in spec["enum"]])
    low, high = spec.get("minimum"), spec.get("maximum")
    if low is not None or high is not None:
        result["range"] = "%s to %s" % (low, high) if None not in (low, high) else \
            "from %s" % low if high is None else "to %s" % high
    low, high = spec.get("minLength"), spec.get("maxLength")
    if low is not None or high is not None:
        result["length"] = "%s to %s" % (low, high) if None not in (low, high) else \
            "from %s" % low if high is None else "to %s" % high
    if isinstance(spec.get("format"), str):
        result["format"] = spec["format"]
    if spec.get("pattern"):
        result["pattern"] = re.sub(r"\(\?\^[a-z]*:", "(?:", spec["pattern"])
    if spec.get("default") is not None:
        result["default"] = spec["default"]
    if isinstance(spec.get("requires"), str):
        result["needs"] = spec["requires"]
    return result


def line_of(spec, text=0):
    """limits() in one line, for the keys of property strings and for path parameters."""
    parts = ["required"] if required(spec) and text is not None else []
    if spec.get("alias"):
        return "same as %s=%s" % (spec["keyAlias"], "NAME") if spec.get("keyAlias") else "same as " + spec["alias"]
    for name, value in limits(spec).items():
        parts.append("|".join(value) if name == "enum" else
                     value if name in ("type", "format") and isinstance(value, str) else "%s %s" % (name, value))
    if formats.on(spec.get("default_key")):
        parts.append("may stand without its name")
    words = spec.get("format_description")
    if words and not spec.get("enum") and not isinstance(spec.get("format"), str):
        parts.append("<%s>" % words)
    line = ", ".join(parts) or "text"
    description = shorten(spec.get("description") or "", text) if text else ""
    return line + (": " + description if description else "")


def keys_of(spec):
    """The keys of a property string: name -> spec; None when `spec` is none, or when its keys are not known."""
    shape = spec.get("format")
    if isinstance(shape, dict):
        return shape
    return _keys_of_typetext(spec.get("typetext") or "") if isinstance(shape, str) and shape not in _WORDS else None


#: One part of what PVE::JSONSchema generates for a property string: "[[file=]<volume>", "[,size=<DiskSize>]".
_TYPETEXT = re.compile(r"(\[?),?(\[?)([A-Za-z0-9_-]+)=(\]?)<([^>]*)>(\]?)\s*")


def _keys_of_typetext(text):
    """The keys of a property string of which only the generated typetext is known; None if it is not of that shape."""
    keys, position = {}, 0
    while position < len(text):
        match = _TYPETEXT.match(text, position)
        if not match:
            return None
        outer, inner, key, default, value, _ = match.groups()
        spec = {"type": "string", "format_description": value}
        if value == "1|0":
            spec = {"type": "boolean"}
        elif value in ("integer", "number"):
            spec = {"type": value}
        elif re.match(r"[a-z][\w./-]*(\|[a-z][\w./-]*)+$|/[\w./-]+(\|/[\w./-]+)+$", value):
            spec = {"type": "string", "enum": value.split("|")}
        if default:
            spec["default_key"] = 1
        if len(outer + inner) > (1 if default else 0):
            spec["optional"] = 1
        keys[key] = spec
        position = match.end()
    return keys or None


# --------------------------------------------------------------------------------------------------------------- values

def _plain(pattern, words):
    return lambda value: None if re.match(r"(?:%s)\Z" % pattern, value) else words


def _known(name):
    """A format that formats.py knows."""
    return lambda value: None if formats.fits(name, value) else formats.FORMATS[name].words


def _is_ip(value, families=(socket.AF_INET, socket.AF_INET6)):
    for family in families:
        try:
            socket.inet_pton(family, value)
            return True
        except (OSError, ValueError):
            pass
    return False


def _test(function, words):
    return lambda value: None if function(value) else words


def _is_cidr(value, families, least=8):
    address, _, bits = value.partition("/")
    return any(_is_ip(address, (family,)) and re.match(r"[0-9]{1,3}\Z", bits)
               and least <= int(bits) <= (32 if family == socket.AF_INET else 128) for family in families)


def _is_pair(value, name):
    """"1" (map all to themselves), one target for all, or from:to (PVE::JSONSchema, storage-pair and bridge-pair)."""
    return value == "1" or all(formats.fits(name, part) for part in value.split(":", 1))


_V4, _V6 = (socket.AF_INET,), (socket.AF_INET6,)
_BOTH = _V4 + _V6
_REALM = r"[A-Za-z][A-Za-z0-9.\-_]+"
_NAME = r"[A-Za-z0-9.\-_]+"
_VOLUME = r"[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]:.+"
_ALIAS = r"(dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+\Z"
_ADDRESS = _test(lambda v: _is_ip(v) or formats.fits("dnsname", v), "a host name or an IP address")
_PATH = _plain(r"/[\s\S]*", "an absolute path")
_PEM = _plain(r"[\s\S]*-----BEGIN [\s\S]*", "in PEM format (-----BEGIN ...)")
_SDN_ID = _plain(r"[A-Za-z][A-Za-z0-9_-]*", "an id: a letter, then letters and digits")
#: Formats the schema only names -> function(value) -> None, or what it should be. Those missing here the server checks.
_WORDS = {
    "pve-vmid": _known("vmid"), "pve-node": _known("node"), "pve-storage-id": _known("storage"),
    "mac-addr": _known("mac"), "dns-name": _known("dnsname"), "pve-iface": _known("iface"),
    "pve-poolid": _known("pool"), "pve-bridge-id": _known("bridge"),
    "pve-configid": _plain("[A-Za-z][A-Za-z0-9_-]+",
                           "an id: a letter, then letters, digits, _ and -, at least 2 characters"),
    "pve-userid": _plain(r"[^\s:/]+@" + _REALM, "a user as name@realm, such as root@pam"),
    "pve-tokenid": _plain(r"[^\s:/]+@%s![A-Za-z][A-Za-z0-9.\-_]+" % _REALM, "a token as user@realm!name"),
    "pve-groupid": _plain(_NAME, "a group's name: letters, digits and . - _"),
    "pve-roleid": _plain(_NAME, "a role's name: letters, digits and . - _"),
    "pve-realm": _plain(_REALM, "a realm, such as pam"),
    "pve-volume-id": _plain(_VOLUME, "a volume id, storage:name"),
    "pve-volume-id-or-qm-path": _plain("none|cdrom|/.*|" + _VOLUME,
                                       "a volume id (storage:name), storage:SIZE_IN_GIB, a path, none or cdrom"),
    "pve-volume-id-or-absolute-path": _plain("/.*|" + _VOLUME, "a volume id (storage:name) or an absolute path"),
    "pve-ha-resource-id": _plain(r"[a-z]+:\S+", "an HA resource, such as vm:100"),
    "pve-ha-resource-or-vm-id": _plain(r"[a-z]+:\S+|\d+", "an HA resource, such as vm:100, or a vmid"),
    "pve-replication-job-id": _plain("[1-9][0-9]{2,8}-[0-9]+", "a replication job, VMID-NUMBER, such as 100-0"),
    "pve-tag": _plain(r"[a-zA-Z0-9_][a-zA-Z0-9_\-+.]*", "a tag: letters, digits and _ - + ."),
    "disk-size": _plain(r"\d+(\.\d+)?([KMGT](iB)?)?", "a size, such as 32G"),
    "email": _plain(r"[\w+\-~]+(\.[\w+\-~]+)*@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*", "a mail address"),
    "ip": _test(_is_ip, "an IP address"), "ipv4": _test(lambda v: _is_ip(v, _V4), "an IPv4 address"),
    "ipv6": _test(lambda v: _is_ip(v, _V6), "an IPv6 address"),
    "CIDR": _test(lambda v: _is_cidr(v, _BOTH), "a network as address/bits"),
    "CIDRv4": _test(lambda v: _is_cidr(v, _V4), "an IPv4 network as address/bits"),
    "CIDRv6": _test(lambda v: _is_cidr(v, _V6), "an IPv6 network as address/bits"),
    "IPorCIDR": _test(lambda v: _is_ip(v) or _is_cidr(v, _BOTH, 0), "an IP address or a network as address/bits"),
    "IPorCIDRorAlias": _test(lambda v: _is_ip(v) or _is_cidr(v, _BOTH, 0) or re.match(_ALIAS, v),
                             "an IP address, a network as address/bits, or an alias"),
    "address": _ADDRESS, "pve-storage-server": _ADDRESS,
    "pve-storage-path": _PATH, "pve-storage-path-in-property-string": _PATH,
    "pem-string": _PEM, "pem-certificate": _PEM, "pem-certificate-chain": _PEM,
    "storage-pair": _test(lambda v: _is_pair(v, "storage"), "a storage id, or FROM:TO, or 1"),
    "bridge-pair": _test(lambda v: _is_pair(v, "bridge"), "a bridge, or FROM:TO, or 1"),
    "pve-sdn-zone-id": _SDN_ID, "pve-sdn-vnet-id": _SDN_ID, "pve-sdn-controller-id": _SDN_ID,
    "pve-sdn-ipam-id": _SDN_ID, "pve-sdn-dns-id": _SDN_ID,
    "pve-startup-order": lambda value: None,            # order=1,up=2: looks like a property string, is read otherwise
}
_INTEGER = re.compile(r"[+-]?\d+\n?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d+)?\n?\Z", re.ASCII)
_TRUE_FALSE = ("1", "on", "yes", "true", "0", "off", "no", "false")     # inside property strings (parse_boolean)


def _sent(value):
    """What a form carries of `value`: str, list of str, None when nothing arrives; anything else cannot be sent."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value == value and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        items = [item for item in map(_sent, value) if item is not None]
        return None if not items else items[0] if len(items) == 1 else items
    return value


def _show(name, value):
    """`value` for a sentence, shortened; nothing of it when `name` may be a secret."""
    return "(hidden)" if is_secret(name) else repr(value if len(value) <= 60 else value[:57] + "...")


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
    if base and base != name:
        last = last_index(base, properties[base])
        if last is not None and int(name[len(base) - 3:]) > last:
            return None
    return properties.get(base) if base else None


def unknown_name(name, properties, endpoint):
    """The sentence on a name that is no parameter of `endpoint` (str() of it is shown); properties: those there are."""
    base = re.sub(r"\d+\Z", "", name)
    spec = properties.get(base + "[n]")
    if spec and base != name:
        last = last_index(base + "[n]", spec)
        return "%s is not a parameter: there are %s0 to %s%s." % (name, base, base, last if last is not None else "n")
    if name + "[n]" in properties:
        return "%s needs its number, such as %s0." % (name, name)
    names = [n for n in properties if n not in endpoint.in_path]
    close = [n.replace("[n]", "0") for n in near(base, names)]
    if close:
        hint = "; did you mean %s?" % " or ".join(close)
    elif len(names) <= 12:
        hint = "; it takes %s." % (", ".join(sorted(names)) if names else "none")
    else:
        hint = "."
    return "%s is not a parameter of %s%s" % (name, endpoint, hint)


def check(endpoint, schema, ids, parameters):
    """Sentences about what Proxmox would refuse: see ApiDoc.check. `schema`: the parameters of the endpoint's info."""
    properties, closed = flatten(schema)
    problems, given = [], {}
    for name, value in parameters.items():
        value = _sent(value)
        if value is not None:
            given[name] = value
    for name in endpoint.in_path:
        if ids.get(name) in (None, ""):
            problems.append("%s is part of the path and has no value." % name)
            continue
        value = str(ids[name])
        if given.get(name, value) != value:
            problems.append("%s is %s in the path and something else in the parameters." % (name, _show(name, value)))
        given[name] = value
    _check_names(properties, given, closed, problems, endpoint)
    for name, value in given.items():
        spec = spec_of(properties, name)
        if spec:
            problems.extend(_check_value(name, spec, value, given))
    return problems


def _check_names(properties, given, closed, problems, endpoint):
    """Unknown and missing parameters, aliases, and those that need another."""
    for name in given:
        spec = spec_of(properties, name)
        if spec is None:
            if closed:
                problems.append(unknown_name(name, properties, endpoint))
            continue
        alias = spec.get("alias")
        if alias and alias in given:
            problems.append("%s is another name of %s: give one of them." % (name, alias))
        needs = spec.get("requires")
        if isinstance(needs, str) and needs not in given:
            problems.append("%s works only together with %s." % (name, needs))
    aliased = {(spec_of(properties, name) or {}).get("alias") for name in given}
    for name, spec in properties.items():
        if not required(spec) or name.endswith("[n]") or name in given or name in aliased or name in endpoint.in_path:
            continue
        words = line_of(spec, None)
        description = sentence(" ".join((spec.get("description") or "").split()))
        problems.append("%s is missing%s%s." % (name, " (%s)" % words if words != "text" else "",
                                                ": " + description.rstrip(".") if description else ""))


def _check_value(name, spec, value, given):
    """Sentences about one parameter's value: str, list of str, or something that cannot be sent."""
    if spec.get("alias"):
        return []
    if "oneOf" in spec:
        return _check_one_of(name, spec, value, given)
    kind = spec.get("type")
    if isinstance(value, dict) or isinstance(value, list) and any(not isinstance(item, str) for item in value):
        if keys_of(spec) or keys_of(spec.get("items") or {}):
            return ["%s must be a string of key=value pairs joined by commas, not an object." % name]
        return ["%s must be a plain value%s." % (name, " or a list of them" if kind == "array" else "")]
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        inner = spec.get("items") if isinstance(spec.get("items"), dict) else {}
        return [text for item in items for text in _check_text(name, inner, item)]
    if isinstance(value, list):
        shape = spec.get("format")
        if isinstance(shape, str) and shape.endswith("list"):
            return _check_text(name, spec, ",".join(value))
        if kind in (None, "any", "object") or isinstance(kind, list):
            return []
        return ["%s takes one value, not a list." % name]
    return _check_text(name, spec, value)


def _check_one_of(name, spec, value, given):
    """A parameter that is one thing or another: wrong only if it fits none that may be meant."""
    alternatives = [a for a in spec["oneOf"] if isinstance(a, dict)]
    kind = given.get(spec["type-property"]) if spec.get("type-property") else None
    if kind is not None:
        alternatives = [a for a in alternatives if kind in a.get("instance-types", ())]
    elif spec.get("type-property"):
        return []
    results = [_check_value(name, a, value, given) for a in alternatives]
    return [] if not results or not all(results) else results[0]


def _check_text(name, spec, text):
    """Sentences about one text as Proxmox's check_prop would find them: type, format, pattern, length, range, enum."""
    kind = spec.get("type")
    bad = "not " + _show(name, text)
    if kind == "boolean" and text not in ("0", "1"):
        return ["%s must be 1 or 0, %s." % (name, bad)]
    if kind == "integer" and not _INTEGER.match(text):
        return ["%s must be a whole number, %s." % (name, bad)]
    if kind == "number" and not _NUMBER.match(text):
        return ["%s must be a number, %s." % (name, bad)]
    keys = keys_of(spec)
    if keys:
        problems = _check_property_string(name, keys, text)
    else:
        problems = _check_format(name, spec.get("format"), text)
    if problems:
        return problems
    pattern = _regex(spec.get("pattern"))
    if pattern and len(text) <= 2000 and not pattern.search(text):
        shown = re.sub(r"\(\?\^[a-z]*:", "(?:", spec["pattern"])
        return ["%s must match %s, %s." % (name, shown if len(shown) <= 120 else shown[:117] + "...", bad)]
    low, high = _number(spec.get("minLength")), _number(spec.get("maxLength"))
    if high is not None and len(text) > high:
        return ["%s may have at most %d characters, not %d." % (name, high, len(text))]
    if low is not None and len(text) < low:
        return ["%s must have at least %d characters, not %d." % (name, low, len(text))]
    if kind in ("integer", "number") or _NUMBER.match(text):
        low, high = _number(spec.get("minimum")), _number(spec.get("maximum"))
        if high is not None and _NUMBER.match(text) and float(text) > high:
            return ["%s may be at most %s, %s." % (name, spec["maximum"], bad)]
        if low is not None and _NUMBER.match(text) and float(text) < low:
            return ["%s must be at least %s, %s." % (name, spec["minimum"], bad)]
    values = spec.get("enum")
    if isinstance(values, list) and values and text not in [str(v) for v in values]:
        close = near(text, [str(v) for v in values], 2)
        shown = runs([str(v) for v in values])
        return ["%s must be %s%s, %s%s." % (name, "" if len(shown) == 1 else "one of ", ", ".join(shown[:40]), bad,
                                            " (did you mean %s?)" % " or ".join(close) if close else "")]
    return []


def _number(value):
    """A limit of the schema, which may be a number in quotes; None when there is none to go by."""
    try:
        return float(value) if value is not None else None
    except (TypeError, ValueError):
        return None


def _check_format(name, shape, text):
    """Sentences about a format that the schema only names; lists item by item (PVE::Tools::split_list)."""
    if not isinstance(shape, str):
        return []
    test = _WORDS.get(shape)
    items = [text]
    if test is None and shape.endswith("-list"):
        test, items = _WORDS.get(shape[:-5]), re.sub(r"[,;\0]", " ", text).split()
    elif test is None and shape.endswith("-opt"):
        test, items = _WORDS.get(shape[:-4]), [text] if text != "0" else []
    if test is None:
        return []
    wrong = [(item, test(item)) for item in items]
    return ["%s must be %s%s, not %s." % (name, "a list, each " if items != [text] else "", words, _show(name, item))
            for item, words in wrong if words][:5]


def _check_property_string(name, keys, text):
    """Sentences about "key=value,..." as PVE::JSONSchema::parse_property_string reads it, all problems of it."""
    values, problems, bare = {}, [], None
    default = next((key for key, spec in keys.items() if formats.on(spec.get("default_key"))), None)
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        if equals and (not key or not value):
            problems.append("%s: %s." % (name, "%s= has no value" % key[:40] if key else "a = has no key before it"))
            continue
        if not equals:
            if not default:
                problems.append("%s: every part needs a key, as in key=value; the keys are %s."
                                % (name, _list_keys(keys)))
                continue
            bare, key, value = default, default, part
        spec = keys.get(key)
        if spec is None:
            close = near(key, keys)
            hint = "did you mean %s?" % " or ".join(close) if close else "the keys are %s." % _list_keys(keys)
            problems.append("%s: unknown key %s; %s" % (name, key[:40], hint))
            continue
        if spec.get("alias"):
            if spec.get("keyAlias"):
                if spec["keyAlias"] in values:
                    problems.append("%s: %s= says the %s, which is there already." % (name, key, spec["keyAlias"]))
                    continue
                values[spec["keyAlias"]] = key
            key = spec["alias"]
        if key in values:
            problems.append("%s: %s is given twice." % (name, key))
            continue
        values[key] = value
    for key, value in values.items():
        spec = keys.get(key)
        if not spec:
            continue
        if spec.get("type") == "boolean":
            if value.lower().rstrip("\n") not in _TRUE_FALSE:
                problems.append("%s: %s must be 1 or 0, not %s." % (name, key, _show(key, value)))
        elif key == bare:
            problems.extend(_check_value(name, spec, value, values))
        else:
            problems.extend("%s: %s" % (name, words) for words in _check_value(key, spec, value, values))
        needs = spec.get("requires")
        if isinstance(needs, str) and needs not in values:
            problems.append("%s: %s works only together with %s." % (name, key, needs))
    if not problems:                                    # with a misspelt key the missing one is no news
        problems = ["%s: %s= is missing (%s)." % (name, key, line_of(spec, None)) for key, spec in keys.items()
                    if required(spec) and key not in values]
    return problems


def _list_keys(keys):
    return ", ".join(k for k, spec in keys.items() if not spec.get("alias"))


_REGEXES = {}


def _regex(pattern):
    """A schema's pattern (Perl) anchored as Proxmox does; None if Python reads it otherwise, or may never end on it."""
    if not isinstance(pattern, str) or not pattern:
        return None
    if pattern not in _REGEXES:
        python = re.sub(r"\(\?\^([a-z]*):", lambda m: "(?" + re.sub("[^imsx]", "", m.group(1)) + ":", pattern)
        compiled = None
        # Sets within sets, [:classes:] and set operations: Python warns of them, and reads them otherwise than Perl.
        if not re.search(r"\[\^?\[|--|&&|\|\||~~", python) and not _may_not_end(python):
            try:
                compiled = re.compile("^" + python.replace(r"\z", r"\Z") + "$")
            except (re.error, RecursionError, OverflowError):
                pass
        _REGEXES[pattern] = compiled
    return _REGEXES[pattern]


def _may_not_end(pattern):
    """Whether a repeated group has a repetition in it and does not begin with a fixed separator: (a+)*, not (,a+)*."""
    starts, escaped, in_set = [], False, False
    for position, char in enumerate(pattern):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif in_set:
            in_set = char != "]"
        elif char == "[":
            in_set = True
        elif char == "(":
            starts.append(position)
        elif char == ")" and starts:
            body = pattern[starts.pop() + 1:position]
            body = re.sub(r"^\?(?:[imsx]*:)", "", body)
            if pattern[position + 1:position + 2] in ("*", "+") or re.match(r"\{\d+,\}", pattern[position + 1:]):
                if re.search(r"[*+]|\{\d+,\}", re.sub(r"\\.|\[[^]]*\]", "x", body)) \
                        and not re.match(r"(?:\\[.0,;:/]|[,;:/])(?![*+?{])", body):
                    return True
    return False
