"""How Proxmox checks parameters: rules written down, and the words it refuses them with (tools.pve.jsonschema checks).

A parameter's rule is a dict in the shape of Proxmox's own API schema (type, format, minimum, enum, optional ...), so
the same dict checks a request and describes it in the API viewer's file. The texts are those of PVE::JSONSchema.
"""
import functools
import ipaddress
import re

from tools.demo import calendar
from tools.pve.formats import LAST_INDEX
from tools.pve.jsonschema import (FORMATS, V4, V6, Checker, Problem, is_cidr, is_ip, read_property_string, spec_of,
                                  split_list, text_of)

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"


def _rule(kind, words="", minimum=None, maximum=None, **more):
    rule = dict(more, type=kind, description=words, optional=1, minimum=minimum, maximum=maximum)
    return {key: value for key, value in rule.items() if value is not None}


#: Rules of a text, a whole number, a number, a switch (1 or 0 on the wire) and a list (repeated keys in a form).
#: All take what it is for, minimum and maximum, and by name: format, pattern, maxLength, items, default, requires ...
string, integer, number, boolean, array = (functools.partial(_rule, kind) for kind in (
    "string", "integer", "number", "boolean", "array"))


def enum(words, values, **more):
    """Rule of one of `values` (blank-separated str, or list)."""
    return string(words, enum=values.split() if isinstance(values, str) else list(values), **more)


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


def _like(pattern, flags=0):
    compiled = re.compile(r"(?:%s)\Z" % pattern, flags | re.ASCII)
    return lambda value: compiled.match(value)


def _one_of(words):
    return words.split().__contains__


def _is_startup(value):
    parts = [part for part in value.split(",") if part.strip()]
    return parts and value != "0" and all(re.match(r"(?:(?:order=)?|up=|down=)\d+\Z", part) for part in parts)


def _is_boot_device(value):
    match = re.match(r"(ide|sata|scsi|virtio|net|usb|hostpci)(\d+)\Z", value)
    return match and int(match.group(2)) <= LAST_INDEX[match.group(1)]


_is_service = _one_of("ssh http https domain smtp submission imap imaps pop3 pop3s ntp ldap ldaps mysql postgresql ftp "
                      "telnet snmp syslog rsync nfs sunrpc microsoft-ds kerberos")
_is_protocol = _one_of("0 1 2 4 6 17 41 47 50 51 58 89 112 132 tcp udp icmp ipv6-icmp igmp esp ah gre sctp ospf vrrp "
                       "ip ipv6 dccp udplite")
_is_icmp_type = _one_of(
    "any echo-reply echo-request destination-unreachable network-unreachable host-unreachable port-unreachable "
    "time-exceeded parameter-problem redirect source-quench router-advertisement router-solicitation timestamp-request "
    "timestamp-reply packet-too-big neighbor-solicitation neighbor-advertisement")
_is_hotplug = _one_of("network disk cpu memory usb cloudinit")


def _ports_problem(value):
    """What is wrong with the ports of a firewall rule; None: nothing."""
    parts = value.split(",") if value else []
    if "" in parts:
        return "extraneous commas in list"
    for part in parts:
        ends = part.split(":")
        if len(ends) > 2 or not (all(end.isdigit() for end in ends) or _is_service(part)):
            return "invalid port '%s'" % part
        for end in ends:
            if end.isdigit() and int(end) > 65535:
                return "invalid port '%s'" % end
        if len(ends) == 2 and int(ends[0]) > int(ends[1]):
            return "backwards range '%s' not allowed, did you mean '%s:%s'?" % (part, ends[1], ends[0])
    return None


def _address_problem(value):
    """What is wrong with source or dest of a firewall rule; None: nothing."""
    if re.match(r"\+\S+\Z", value) or re.match(r"(?:dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+\Z", value):
        return None
    parts = value.split(",") if value else []
    if "" in parts:
        return "extraneous commas in list"
    for part in parts:
        try:
            if "-" in part:
                for end in part.split("-", 1):
                    ipaddress.ip_address(end.strip())
            else:
                ipaddress.ip_network(part)
        except ValueError as error:
            return "invalid IP address: %s" % error
    return None


def _storage_id_words(value):
    return "storage ID '%s' %s" % (value, "cannot be shorter than 2 characters" if len(value) < 2
                                   else "contains illegal characters")


def _user_id_words(value):
    if len(value) < 3:
        return "user name '%s' is too short" % value
    if len(value) > 64:
        return "user name '%s' is too long (%d > 64)" % (value, len(value))
    return "value '%s' does not look like a valid user name" % value


def _storage_pair_words(value):
    parts = value.split(":") if re.match(r"[^:]+:[^:]+\Z", value) else [value]
    wrong = next(part for part in parts if not FORMATS["pve-storage-id"][0](part))
    return "entry '%s' contains invalid ID - %s\n\n" % (value, _storage_id_words(wrong))


_UNLIKE = "value does not look like a valid "
#: name -> what Proxmox says of a value that has not the format (a text in which {} is the value, or a function of it)
_SAID = {
    "CIDR": _UNLIKE + "CIDR network", "address": _UNLIKE + "address: {}",
    "disk-size": _UNLIKE + "disk size: {}", "dns-name": _UNLIKE + "DNS name", "email": _UNLIKE + "email address",
    "ip": _UNLIKE + "IP address", "ipv4": _UNLIKE + "IPv4 address", "ipv6": _UNLIKE + "IPv6 address",
    "mac-addr": _UNLIKE + "unicast MAC address", "pve-bridge-id": "invalid bridge ID '{}'",
    "pve-configid": "invalid configuration ID '{}'", "pve-groupid": "group name '{}' contains invalid characters",
    "pve-ha-resource-or-vm-id": _UNLIKE + "ha resource id",
    "pve-iface": "invalid network interface name '{}'", "pve-node": _UNLIKE + "node name",
    "pve-poolid": lambda value: ("pool name '%s' nested too deeply (max levels = 3)" if value.count("/") > 2
                                 else "pool name '%s' contains invalid characters") % value,
    "pve-replication-job-id": "invalid replication job id '{}'",
    "pve-roleid": "role name '{}' contains invalid characters",
    "pve-storage-id": _storage_id_words,
    "pve-tag": "invalid characters in tag", "pve-tokenid": "value '{}' does not look like a valid token ID",
    "pve-userid": _user_id_words, "pve-vmid": _UNLIKE + "VM ID", "pve-volume-id": "unable to parse volume ID '{}'",
    "pve-volume-id-or-absolute-path": "unable to parse volume ID '{}'",
    "pve-volume-id-or-qm-path": "unable to parse volume ID '{}'", "storage-pair": _storage_pair_words,
}
#: name -> (function(value) -> whether it has the format, what Proxmox says if not): those that the port leaves to it
_MORE = {
    "lxc-ip-with-ll-iface": (is_ip, _UNLIKE + "IP address"),
    "email-or-username": (_like(r"[\w+\-~]+(\.[\w+\-~]+)*(@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*)?"),
                          _UNLIKE + "email address or user name"),
    "pve-calendar-event": (calendar.parse, "invalid calendar event '{}' - unable to parse calendar event\n"),
    "pve-cpuset": (_like(r"\s*\d+(-\d+)?\s*(,\s*\d+(-\d+)?\s*)*"), "unable to parse cpuset option"),
    "pve-ct-timezone": (_like("host|UTC|(?:Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|"
                              r"Pacific)(?:/[\w+-]+)+"), "invalid time zone '{}'"),
    "pve-day-of-week": (_one_of("mon tue wed thu fri sat sun"), "invalid day '{}'"),
    "pve-fw-addr-spec": (lambda value: _address_problem(value) is None, _address_problem),
    "pve-fw-dport-spec": (lambda value: _ports_problem(value) is None, _ports_problem),
    "pve-fw-sport-spec": (lambda value: _ports_problem(value) is None, _ports_problem),
    "pve-fw-icmp-type-spec": (lambda value: not value or _is_icmp_type(value), "invalid icmp-type value '{}'"),
    "pve-fw-protocol-spec": (lambda value: not value or _is_protocol(value), "unknown protocol '{}'"),
    "pve-hotplug-features": (
        lambda value: value in ("0", "1") or all(map(_is_hotplug, split_list(value))),
        lambda value: "invalid hotplug feature '%s'" % next(w for w in split_list(value) if not _is_hotplug(w))),
    "pve-ipv4-config": (lambda value: value in ("dhcp", "manual") or is_cidr(value, V4),
                        _UNLIKE + "ipv4 network configuration"),
    "pve-ipv6-config": (lambda value: value in ("auto", "dhcp", "manual") or is_cidr(value, V6),
                        _UNLIKE + "ipv6 network configuration"),
    "pve-lxc-dev-string": (lambda value: value.startswith("/dev/"), "{} is not a valid device path"),
    "pve-lxc-mp-string": (lambda value: not re.search(r"/\.\.?/|/\.\.?\Z|\A\.\./", value),
                          "{} contains illegal character sequences"),
    "pve-phys-bits": (lambda value: value == "host" or value.isdigit() and 8 <= int(value) <= 64,
                      "value must be an integer between 8 and 64 or 'host'"),
    "pve-qm-bootdev": (_is_boot_device, "invalid boot device '{}'"),
    "pve-qm-bootdisk": (_like(r"(ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0"), "invalid boot disk '{}'"),
    "pve-startup-order": (_is_startup, "unable to parse startup options"),
    "pve-storage-content": (_one_of("images rootdir vztmpl iso backup snippets import none"),
                            "invalid content type '{}'"),
    "pve-task-status-type": (_like("ok|error|warning|unknown", re.I), "invalid status '{}'"),
    "urlencoded": (_like(r"[-%a-zA-Z0-9_.!~*'()]*"), "invalid urlencoded string: {}"),
}


class _Checker(Checker):
    """The port's checks, and those that a registered format makes of a property string as a whole."""

    formats = {name: test for name, (test, _) in {**FORMATS, **_MORE}.items() if name in _SAID or name in _MORE}
    LIMITS = dict(Checker.LIMITS, pattern=lambda limit, text: re.search("^%s$" % limit, text))     # ours can be trusted

    def _check_properties(self, name, keys, text):
        found = super()._check_properties(name, keys, text)
        if found:
            return found
        values, words = read_property_string(keys, text)[0], None
        if "cputype" in keys:
            model = values.get("cputype")
            if not model:
                words = "CPU is missing cputype"
            elif not re.match(r"[A-Za-z][A-Za-z0-9._-]*\Z", model):
                words = "Built-in cputype '%s' is not defined (missing 'custom-' prefix?)" % model
        elif values.get("keep-all") == "1" and any(int(values[key]) for key in values if key != "keep-all"):
            words = "keep-all cannot be set together with other options."
        return [Problem("verify", name, words)] if words else []


CHECKER = _Checker()


def check_parameters(rules, values):
    """(checked values, errors) of request parameters; errors maps parameter -> text and is empty when all is well.

    In the checked values numbers are int or float, booleans bool, texts str, arrays list; what was not given is absent.
    """
    errors = _errors(CHECKER.check_object(rules, values))
    return {key: _typed(value, spec_of(rules, key)) for key, value in values.items()
            if value is not None and key not in errors}, errors


def _typed(value, rule):
    kind = rule.get("type")
    if kind == "array":
        return value if isinstance(value, list) else [value]
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    text = text_of(value)
    if kind == "number":
        return int(float(text)) if float(text).is_integer() else float(text)
    return int(text) if kind == "integer" else text == "1" if kind == "boolean" else text


def parse_properties(rules, text):
    """dict of a property string read by `rules` (key -> rule), numbers and booleans as text."""
    return read_property_string(rules, text)[0]


def _errors(problems, path=""):
    """{path of a parameter or key: what Proxmox says}; of an unknown name or a missing other one last."""
    errors = {}
    for problem in sorted(problems, key=lambda problem: problem.rule in ("unknown", "requires")):
        where = path + str(problem.name) + ("" if problem.index is None else "[%d]" % problem.index)
        words = _WORDS[problem.rule](problem, where)
        where = path + problem.value if problem.rule == "requires" else where
        errors[where] = errors[where] + "\\n" + words if where in errors else words
    return errors


def _of_type(problem, _):
    reference = {list: "ARRAY", dict: "HASH", bool: "JSON::PP::Boolean"}.get(type(problem.value))
    return "type check ('%s') failed - got %s" % (problem.spec.get("type"), reference or "'%s'" % problem.value)


def _of_format(problem, _):
    name = problem.spec["format"]
    said = _MORE[name][1] if name in _MORE else _SAID[name]
    words = said.replace("{}", problem.value[0]) if isinstance(said, str) else said(problem.value[0])
    return "invalid format - %s%s" % (words, "" if words.endswith("\n\n") else "\n")


def _of_properties(problem, where):
    """Perl's die at the first thing that cannot be read, or the errors of all keys."""
    unread = [inner for inner in problem.inner if inner.rule in ("empty", "nameless", "said", "twice")]
    words = _WORDS[unread[0].rule](unread[0], where) if unread else "format error\n" + "\n".join(
        "%s: %s" % error for error in sorted(_errors(problem.inner, where + ".").items()))
    return "invalid format - %s\n" % words


#: rule of a Problem -> function(Problem, its path) -> Proxmox's words
_WORDS = {
    "unknown": lambda p, _: UNKNOWN,
    "missing": lambda p, _: MISSING,
    "requires": lambda p, where: "missing property required by '%s'" % where,
    "type": _of_type, "format": _of_format, "properties": _of_properties,
    "verify": lambda p, _: "invalid format - %s\n" % p.value,
    "pattern": lambda p, _: "value does not match the regex pattern",
    "maxLength": lambda p, _: "value may only be %d characters long" % p.spec["maxLength"],
    "minLength": lambda p, _: "value must be at least %d characters long" % p.spec["minLength"],
    "maximum": lambda p, _: "value must have a maximum value of %s" % text_of(p.spec["maximum"]),
    "minimum": lambda p, _: "value must have a minimum value of %s" % text_of(p.spec["minimum"]),
    "enum": lambda p, _: "value '%s' does not have a value in the enumeration '%s'" % (
        p.value, ", ".join(p.spec["enum"])),
    "empty": lambda p, _: "missing key in comma-separated list property",
    "nameless": lambda p, _: "value without key, but schema does not define a default key",
    "said": lambda p, _: "key alias '%s' is already defined" % p.value,
    "twice": lambda p, _: ("duplicate key in comma-separated list property: %s" if p.value == p.name else
                           "key '%s' is already defined (via alias)") % p.name,
}
