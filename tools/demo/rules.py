"""How Proxmox checks parameters: types, formats, ranges, property strings, and the words it refuses them with.

A parameter's rule is a dict in the shape of Proxmox's own API schema (type, format, minimum, enum, optional ...), so
the same dict checks a request and describes it in the API viewer's file. The order of the checks and the texts are
those of PVE::JSONSchema (check_prop, check_type, parse_property_string).
"""
import ipaddress
import re

from tools.pve.formats import LAST_INDEX


class Invalid(ValueError):
    """A value that its format does not allow; the text is Proxmox's."""


UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"


# ------------------------------------------------------------------------------------------------------ writing rules

def _rule(kind, words, more):
    rule = {"type": kind, "description": words, "optional": 1}
    rule.update((key.rstrip("_"), value) for key, value in more.items() if value is not None)
    return rule


def string(words="", **more):
    """Rule of a text; more: format, pattern, maxLength, minLength, default, requires."""
    return _rule("string", words, more)


def integer(words="", minimum=None, maximum=None, **more):
    """Rule of a whole number."""
    return _rule("integer", words, dict(more, minimum=minimum, maximum=maximum))


def number(words="", minimum=None, maximum=None, **more):
    """Rule of a number."""
    return _rule("number", words, dict(more, minimum=minimum, maximum=maximum))


def boolean(words="", **more):
    """Rule of a switch: exactly 1 or 0 on the wire."""
    return _rule("boolean", words, more)


def enum(words, values, **more):
    """Rule of one of `values` (blank-separated str, or list)."""
    return _rule("string", words, dict(more, enum=values.split() if isinstance(values, str) else list(values)))


def array(words, items, **more):
    """Rule of a list (repeated keys in a form)."""
    return _rule("array", words, dict(more, items=items))


def properties(table):
    """dict of rules from `table` (name -> rule): "name*" is required, ":name" is the default key."""
    result = {}
    for name, rule in table.items():
        rule = dict(rule)
        if name.endswith("*"):
            rule.pop("optional", None)
        if name.startswith(":"):
            rule["default_key"] = 1
        result[name.strip(":*")] = rule
    return result


# ------------------------------------------------------------------------------------------------------------ formats

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?"
_USER = r"[^\s:/]+"
_REALM = r"[A-Za-z][A-Za-z0-9.\-_]+"


def _regex(pattern, text, flags=0):
    compiled = re.compile(r"(?:%s)\Z" % pattern, flags | re.ASCII)

    def check(value):
        if not compiled.match(value):
            raise Invalid(text.replace("{}", value))
    return check


def _must(test, text):
    def check(value):
        if not test(value):
            raise Invalid(text.replace("{}", value))
    return check


def _is_ip(value, version=None):
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value and version in (None, address.version)


def _is_cidr(value, version=None):
    address, slash, bits = value.partition("/")
    if not slash or not bits.isdigit() or int(bits) < 8 or not _is_ip(address, version):
        return False
    return int(bits) <= (128 if ":" in address else 32)


def _storage_id(value):
    if len(value) < 2:
        raise Invalid("storage ID '%s' cannot be shorter than 2 characters" % value)
    if not re.match(r"[a-z][a-z0-9\-_.]*[a-z0-9]\Z", value, re.I | re.A):
        raise Invalid("storage ID '%s' contains illegal characters" % value)


def _volume_or(*words):
    def check(value):
        if value not in words and not value.startswith("/"):
            FORMATS["pve-volume-id"](value)
    return check


def _startup(value):
    parts = [part for part in value.split(",") if part.strip()]
    if not parts or value == "0" or not all(re.match(r"(?:(?:order=)?|up=|down=)\d+\Z", part) for part in parts):
        raise Invalid("unable to parse startup options")


def _user_id(value):
    if len(value) < 3:
        raise Invalid("user name '%s' is too short" % value)
    if len(value) > 64:
        raise Invalid("user name '%s' is too long (%d > 64)" % (value, len(value)))
    if not re.match(r"%s@%s\Z" % (_USER, _REALM), value):
        raise Invalid("value '%s' does not look like a valid user name" % value)


def _pool_id(value):
    if value.count("/") > 2:
        raise Invalid("pool name '%s' nested too deeply (max levels = 3)" % value)
    if not re.match(r"[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}\Z", value):
        raise Invalid("pool name '%s' contains invalid characters" % value)


def _hotplug(value):
    for word in () if value in ("0", "1") else split_list(value):
        if word not in ("network", "disk", "cpu", "memory", "usb", "cloudinit"):
            raise Invalid("invalid hotplug feature '%s'" % word)


def _boot_device(value):
    match = re.match(r"(ide|sata|scsi|virtio|net|usb|hostpci)(\d+)\Z", value)
    if not match or int(match.group(2)) > LAST_INDEX[match.group(1)]:
        raise Invalid("invalid boot device '%s'" % value)


_SERVICES = ("ssh http https domain smtp submission imap imaps pop3 pop3s ntp ldap ldaps mysql postgresql ftp telnet "
             "snmp syslog rsync nfs sunrpc microsoft-ds kerberos").split()
_PROTOCOLS = ("1 2 4 6 17 41 47 50 51 58 89 112 132 tcp udp icmp ipv6-icmp igmp esp ah gre sctp ospf vrrp ip ipv6 dccp "
              "udplite").split()
_ICMP = ("any echo-reply echo-request destination-unreachable network-unreachable host-unreachable port-unreachable "
         "time-exceeded parameter-problem redirect source-quench router-advertisement router-solicitation "
         "timestamp-request timestamp-reply packet-too-big neighbor-solicitation neighbor-advertisement").split()


def _ports(value):
    parts = value.split(",") if value else []
    if "" in parts:
        raise Invalid("extraneous commas in list")
    for part in parts:
        ends = part.split(":")
        if len(ends) > 2 or not (all(end.isdigit() for end in ends) or part in _SERVICES):
            raise Invalid("invalid port '%s'" % part)
        for end in ends:
            if end.isdigit() and int(end) > 65535:
                raise Invalid("invalid port '%s'" % end)
        if len(ends) == 2 and int(ends[0]) > int(ends[1]):
            raise Invalid("backwards range '%s' not allowed, did you mean '%s:%s'?" % (part, ends[1], ends[0]))


def _firewall_address(value):
    if re.match(r"\+\S+\Z", value) or re.match(r"(?:dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+\Z", value):
        return
    parts = value.split(",") if value else []
    if "" in parts:
        raise Invalid("extraneous commas in list")
    for part in parts:
        try:
            if "-" in part:
                for end in part.split("-", 1):
                    ipaddress.ip_address(end.strip())
            else:
                ipaddress.ip_network(part)
        except ValueError as error:
            raise Invalid("invalid IP address: %s" % error) from None


def _ip_or_cidr(value):
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Invalid("value does not look like a valid IP address or CIDR network") from None


def _lxc_path(value):
    if re.search(r"/\.\.?/|/\.\.?\Z|\A\.\./", value):
        raise Invalid("%s contains illegal character sequences" % value)


def _storage_pair(value):
    if value != "1":
        for part in value.split(":") if re.match(r"[^:]+:[^:]+\Z", value) else [value]:
            try:
                _storage_id(part)
            except Invalid as error:
                raise Invalid("entry '%s' contains invalid ID - %s\n\n" % (value, error)) from None


def _calendar(value):
    if not re.match(r"[A-Za-z0-9 ,./:*~-]+\Z", value):
        raise Invalid("invalid calendar event '%s' - unable to parse calendar event\n" % value)


_CONTENT = ("images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none")
_NOT_IP = "value does not look like a valid %s address"

#: name -> check(value): the formats that a rule can name. "-list" of each is a list of them, "-opt" may be empty.
FORMATS = {
    "CIDR": _must(_is_cidr, "value does not look like a valid CIDR network"),
    "IPorCIDR": _ip_or_cidr,
    "IPorCIDRorAlias": lambda v: None if re.match(r"(dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+\Z", v) else _ip_or_cidr(v),
    "address": _must(lambda v: v != "0" and (_is_ip(v) or re.match(r"(?:%s\.)*%s\Z" % (_LABEL, _LABEL), v)),
                     "value does not look like a valid address: {}"),
    "disk-size": _regex(r"\d+(\.\d+)?([KMGT](iB)?)?", "value does not look like a valid disk size: {}"),
    "dns-name": _regex(r"(?:%s\.)*%s" % (_LABEL, _LABEL), "value does not look like a valid DNS name"),
    "ip": _must(_is_ip, _NOT_IP % "IP"),
    "ipv4": _must(lambda v: _is_ip(v, 4), _NOT_IP % "IPv4"),
    "ipv6": _must(lambda v: _is_ip(v, 6), _NOT_IP % "IPv6"),
    "lxc-ip-with-ll-iface": _must(_is_ip, _NOT_IP % "IP"),
    "mac-addr": _regex(r"[a-f0-9][02468ace](:[a-f0-9]{2}){5}", "value does not look like a valid unicast MAC address",
                       re.I),
    "email-or-username": _regex(r"[\w+\-~]+(\.[\w+\-~]+)*(@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*)?",
                                "value does not look like a valid email address or user name"),
    "email": _regex(r"[\w+\-~]+(\.[\w+\-~]+)*@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*",
                    "value does not look like a valid email address"),
    "pve-bridge-id": _regex(r"[-_.\w]+", "invalid bridge ID '{}'"),
    "pve-calendar-event": _calendar,
    "pve-configid": _regex(r"[a-z][a-z0-9_-]+", "invalid configuration ID '{}'", re.I),
    "pve-cpuset": _regex(r"\s*\d+(-\d+)?\s*(,\s*\d+(-\d+)?\s*)*", "unable to parse cpuset option"),
    "pve-ct-timezone": _regex(
        r"host|UTC|(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific)(?:/[\w+-]+)+",
        "invalid time zone '{}'"),
    "pve-day-of-week": _regex("mon|tue|wed|thu|fri|sat|sun", "invalid day '{}'"),
    "pve-fw-addr-spec": _firewall_address,
    "pve-fw-dport-spec": _ports, "pve-fw-sport-spec": _ports,
    "pve-fw-icmp-type-spec": _must(lambda v: not v or v in _ICMP, "invalid icmp-type value '{}'"),
    "pve-fw-protocol-spec": _must(lambda v: v in ("", "0") or v in _PROTOCOLS,
                                  "unknown protocol '{}'"),
    "pve-groupid": _regex(r"[A-Za-z0-9.\-_]+", "group name '{}' contains invalid characters"),
    "pve-ha-resource-id": _regex(r"[a-z]+:\S+", "value does not look like a valid ha resource id"),
    "pve-ha-resource-or-vm-id": _regex(r"[a-z]+:\S+|\d+", "value does not look like a valid ha resource id"),
    "pve-ha-node": _regex(_LABEL + r"(:\d+)?", "value does not look like a valid ha node"),
    "pve-hotplug-features": _hotplug,
    "pve-iface": _regex(r"[a-z][a-z0-9_]{1,20}([:.]\d+)?", "invalid network interface name '{}'", re.I),
    "pve-ipv4-config": _must(lambda v: v in ("dhcp", "manual") or _is_cidr(v, 4),
                             "value does not look like a valid ipv4 network configuration"),
    "pve-ipv6-config": _must(lambda v: v in ("auto", "dhcp", "manual") or _is_cidr(v, 6),
                             "value does not look like a valid ipv6 network configuration"),
    "pve-lxc-dev-string": _must(lambda v: v.startswith("/dev/"), "{} is not a valid device path"),
    "pve-lxc-mp-string": _lxc_path,
    "pve-node": _regex(_LABEL, "value does not look like a valid node name"),
    "pve-phys-bits": _must(lambda v: v == "host" or (v.isdigit() and 8 <= int(v) <= 64),
                           "value must be an integer between 8 and 64 or 'host'"),
    "pve-poolid": _pool_id,
    "pve-priv": _regex(r"[A-Z][A-Za-z.]+", "invalid privilege '{}'"),
    "pve-qm-bootdev": _boot_device,
    "pve-qm-bootdisk": _regex(r"(ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0", "invalid boot disk '{}'"),
    "pve-realm": _regex(_REALM, "value does not look like a valid realm"),
    "pve-replication-job-id": _regex(r"[1-9]\d{2,8}-\d+", "invalid replication job id '{}'"),
    "pve-roleid": _regex(r"[A-Za-z0-9.\-_]+", "role name '{}' contains invalid characters"),
    "pve-sdn-vnet-id": _regex("[a-z][a-z0-9]*", "vnet ID '{}' contains illegal characters", re.I),
    "pve-sdn-zone-id": _regex("[a-z][a-z0-9]*", "zone ID '{}' contains illegal characters", re.I),
    "pve-startup-order": _startup,
    "pve-storage-content": _must(_CONTENT.__contains__, "invalid content type '{}'"),
    "pve-storage-id": _storage_id,
    "pve-tag": _regex(r"[a-z0-9_][a-z0-9_\-+.]*", "invalid characters in tag", re.I),
    "pve-task-status-type": _regex(r"ok|error|warning|unknown", "invalid status '{}'", re.I),
    "pve-tokenid": _regex(r"%s@%s![A-Za-z][A-Za-z0-9.\-_]+" % (_USER, _REALM),
                          "value '{}' does not look like a valid token ID"),
    "pve-userid": _user_id,
    "pve-vmid": _regex(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    "pve-volume-id": _regex(r"[a-z][a-z0-9\-_.]*[a-z0-9]:.+", "unable to parse volume ID '{}'", re.I),
    "pve-volume-id-or-absolute-path": _volume_or(),
    "pve-volume-id-or-qm-path": _volume_or("none", "cdrom"),
    "storage-pair": _storage_pair,
    "urlencoded": _regex(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
}


def split_list(text):
    """list of the words of a Proxmox list: separated by commas, semicolons, blanks or NULs."""
    if "\0" in text:
        return text.rstrip("\0").split("\0")
    return re.sub(r"[,;]", " ", text).split()


# -------------------------------------------------------------------------------------------------------- the checking

_NUMBER = re.compile(r"[+-]?(\d+\.\d+|\d+\.|\.\d+|\d+)([eE][+-]?\d+)?\n?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\n?\Z", re.ASCII)


def text_of(value):
    """How Perl prints a JSON scalar."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def lookup(rules, key):
    """The rule of a parameter called `key`, numbered ones ("net0" by "net[n]") included, or None."""
    if key in rules:
        return rules[key]
    match = re.match(r"(.*?)(0|[1-9]\d*)\Z", key)
    if match and int(match.group(2)) <= LAST_INDEX.get(match.group(1), 9999):
        return rules.get(match.group(1) + "[n]")
    return None


def check_parameters(rules, values):
    """(checked values, errors) of request parameters; errors maps parameter -> text and is empty when all is well.

    In the checked values numbers are int or float, booleans bool, texts str, arrays list; what was not given is absent.
    """
    values = dict(values)
    for key, value in values.items():
        rule = lookup(rules, key) or {}
        if isinstance(value, list) and rule.get("type") == "string" and str(rule.get("format", "")).endswith("-list"):
            values[key] = ",".join(map(text_of, value))
        elif rule.get("type") == "array" and value and value != "0" and not isinstance(value, (list, dict)):
            values[key] = [value]
    errors = {}
    _check_object("", rules, values, errors)
    typed = {}
    for key, value in values.items():
        if value is not None and key not in errors:
            typed[key] = _typed(value, lookup(rules, key) or {})
    return typed, errors


def _typed(value, rule):
    kind = rule.get("type")
    if kind == "integer":
        return int(text_of(value))
    if kind == "number":
        number_ = float(text_of(value))
        return int(number_) if number_.is_integer() else number_
    if kind == "boolean":
        return text_of(value) == "1"
    if isinstance(value, (list, dict)):
        return value
    return text_of(value)


def _add(errors, path, text):
    errors[path] = errors[path] + "\\n" + text if path in errors else text


def _check_object(path, rules, values, errors):
    """PVE::JSONSchema::check_object: required, known, requires; the value of each."""
    for key, rule in rules.items():
        if rule.get("alias") and values.get(key) is not None:
            values[rule["alias"]] = values.pop(key)
    names = [key for key in rules if not key.endswith("[n]")]
    names += [key for key in values if key not in rules and lookup(rules, key)]
    for key in names:
        _check_value(values.get(key), lookup(rules, key), path + "." + key if path else key, errors)
    for key in values:
        where = path + "." + key if path else key
        rule = lookup(rules, key)
        if rule is None:
            _add(errors, where, UNKNOWN)
        elif isinstance(rule.get("requires"), str) and values.get(rule["requires"]) is None:
            _add(errors, path + "." + rule["requires"] if path else rule["requires"],
                 "missing property required by '%s'" % where)


def _check_value(value, rule, path, errors):
    if rule.get("alias"):
        return
    if value is None:
        if not rule.get("optional"):
            _add(errors, path, MISSING)
        return
    problem = _type_problem(value, rule.get("type"))
    if problem:
        return _add(errors, path, problem)
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, rule.get("items") or {}, "%s[%d]" % (path, index), errors)
        return
    if isinstance(value, dict):
        return
    text = text_of(value)
    try:
        check_format(rule.get("format"), text, path)
    except Invalid as error:
        return _add(errors, path, "invalid format - %s%s" % (error, "" if str(error).endswith("\n\n") else "\n"))
    problem = _value_problem(text, rule)
    if problem:
        _add(errors, path, problem)


def _type_problem(value, kind):
    if kind in (None, "any"):
        return None
    if kind in ("array", "object"):
        return None if isinstance(value, list if kind == "array" else dict) else "type check ('%s') failed" % kind
    if isinstance(value, bool) and kind == "boolean":
        return None
    reference = {list: "ARRAY", dict: "HASH", bool: "JSON::PP::Boolean"}.get(type(value))
    if reference:
        return "type check ('%s') failed - got %s" % (kind, reference)
    text = text_of(value)
    good = {"boolean": text in ("0", "1"), "integer": _INTEGER.match(text), "number": _NUMBER.match(text)}
    return None if good.get(kind, True) else "type check ('%s') failed - got '%s'" % (kind, text)


def _value_problem(text, rule):
    pattern = rule.get("pattern")
    if pattern and not re.match(r"(?:%s)$" % pattern, text, re.ASCII):
        return "value does not match the regex pattern"
    if len(text) > rule.get("maxLength", len(text)):
        return "value may only be %d characters long" % rule["maxLength"]
    if len(text) < rule.get("minLength", 0):
        return "value must be at least %d characters long" % rule["minLength"]
    if _NUMBER.match(text):
        if "maximum" in rule and float(text) > rule["maximum"]:
            return "value must have a maximum value of %s" % text_of(rule["maximum"])
        if "minimum" in rule and float(text) < rule["minimum"]:
            return "value must have a minimum value of %s" % text_of(rule["minimum"])
    if rule.get("enum") and text not in rule["enum"]:
        return "value '%s' does not have a value in the enumeration '%s'" % (text, ", ".join(rule["enum"]))
    return None


def check_format(name, text, path=""):
    """Raise Invalid unless `text` has the format `name`: a name of FORMATS, with -list or -opt, or a dict of rules."""
    if not name:
        return
    if isinstance(name, dict):
        values = parse_properties(name, text, path)
        if "cputype" in name:
            model = values.get("cputype")
            if not model:
                raise Invalid("CPU is missing cputype")
            if not re.match(r"[A-Za-z][A-Za-z0-9._-]*\Z", model):
                raise Invalid("Built-in cputype '%s' is not defined (missing 'custom-' prefix?)" % model)
        if values.get("keep-all") == "1" and any(int(values[key]) for key in values if key != "keep-all"):
            raise Invalid("keep-all cannot be set together with other options.")
    elif name in FORMATS:
        FORMATS[name](text)
    elif name.endswith("-list"):
        for item in split_list(text):
            FORMATS[name[:-5]](item)
    elif name.endswith("-opt"):
        if text not in ("", "0"):
            FORMATS[name[:-4]](text)


def parse_properties(rules, text, path=""):
    """dict of a property string checked by `rules` (key -> rule), numbers and booleans as text; raises Invalid.

    The aliases of PVE::JSONSchema::parse_property_string are honoured: a key with `alias` stands for another one, and
    `keyAlias` names the key that keeps the word used (virtio=MAC is model=virtio, macaddr=MAC).
    """
    values = {}
    default = next((key for key, rule in rules.items() if rule.get("default_key")), None)
    bare = False
    for part in text.split(","):
        if not part.strip():
            continue
        match = re.match(r"([^=]+)=(.+)\n?\Z", part)
        if match:
            key, value = match.groups()
            if key in values:
                raise Invalid("duplicate key in comma-separated list property: %s" % key)
            rule = rules.get(key, {})
            if rule.get("alias"):
                if rule.get("keyAlias"):
                    if rule["keyAlias"] in values:
                        raise Invalid("key alias '%s' is already defined" % rule["keyAlias"])
                    values[rule["keyAlias"]] = key
                key = rule["alias"]
                if key in values:
                    raise Invalid("key '%s' is already defined (via alias)" % key)
        elif "=" in part:
            raise Invalid("missing key in comma-separated list property")
        else:
            if not default:
                raise Invalid("value without key, but schema does not define a default key")
            if bare or default in values:
                raise Invalid("duplicate key in comma-separated list property: %s" % default)
            bare, key, value = True, default, part
        if rules.get(key, {}).get("type") == "boolean":
            word = value.lower()
            value = "1" if word in ("1", "on", "yes", "true") else "0" if word in ("0", "off", "no", "false") else value
        values[key] = value
    errors = {}
    _check_object(path, rules, values, errors)
    if errors:
        raise Invalid("format error\n" + "\n".join("%s: %s" % item for item in sorted(errors.items())))
    return values
