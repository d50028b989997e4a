"""The shape of what Proxmox answers: an object, or a list of objects, with values of the kind the tools read.

Another version, a storage plugin, a guest's agent or something hostile in between may send null for an empty list, text
for a number or a list for an object. `shaped` is the one place that puts it right: what cannot be is left out, as if it
had not been sent, and an answer that is no list (or no object) at all is an error. Other paths are not looked at.
Source of the rules: the `returns` of the API schema (7.4, 8.4, 9.1) and what hosts were seen to send.
"""
import re

_GUEST = r"/nodes/[^/]+/(?:qemu|lxc)/\d+"
_NODE = r"/nodes/[^/]+"

#: (pattern of the path, the keys without which a row means nothing, or None for a single object, nested values).
#: A nested value is an "object", a list of "objects", a list of "texts", "named" objects, "any" of the first two, "text",
#: or "words": an object or text.
_SHAPES = [(re.compile(pattern), needed, nested) for pattern, needed, nested in (
    (r"/cluster/resources", (), {}),
    (r"/cluster/status", ("type", "name"), {}),
    (r"/cluster/tasks|" + _NODE + "/tasks", ("upid", "starttime"), {}),
    (r"/cluster/log|" + _NODE + "/tasks/[^/]+/log", (), {}),
    (r"/cluster/backup", ("id",), {"prune-backups": "words", "exclude-path": "texts", "fleecing": "words",
                                  "vmid": "text", "starttime": "text"}),
    (r"/cluster/backup-info/not-backed-up", ("vmid",), {}),
    (r"/cluster/ha/status/current", ("id",), {}),
    (r"/pools", ("poolid",), {"members": "objects"}),
    (r"/nodes", ("node",), {}),
    (_NODE + "/storage", ("storage",), {"formats": "object"}),
    (_NODE + "/storage/[^/]+/content", ("volid",), {"verification": "object"}),
    (_NODE + "/aplinfo", ("template",), {"template": "text"}),
    (_NODE + "/(?:apt/update|disks/lvmthin)", (), {}),
    (_NODE + "/services", ("service",), {}),
    (_NODE + "/disks/list", ("devpath",), {"osdid-list": "texts"}),
    (_NODE + "/disks/zfs", ("name",), {}),
    (_NODE + "/network", ("iface",), dict.fromkeys(("families", "altnames", "options", "options6"), "texts")),
    (_GUEST + "/snapshot", ("name",), {}),
    (_GUEST + "/pending", ("key",), {}),
    (_GUEST + "/interfaces", ("name",), {"ip-addresses": "objects"}),
    (_GUEST + "/rrddata|" + _NODE + "/(?:storage/[^/]+/)?rrddata", ("time",), {}),
    (r"/version|" + _NODE + "/(?:version|dns|tasks/[^/]+/status)", None, {}),
    (r"/access/permissions", None, "named"),
    (_NODE + "/status", None, dict(dict.fromkeys((
        "cpuinfo", "memory", "swap", "rootfs", "ksm", "boot-info", "current-kernel"), "object"), loadavg="texts")),
    (_NODE + "/network/[^/]+", None, dict.fromkeys(("families", "altnames", "options", "options6"), "texts")),
    (_NODE + "/disks/smart", None, {"attributes": "objects"}),
    (_NODE + "/disks/(?:lvm|zfs/[^/]+)", None, {"children": "objects"}),
    (_GUEST + "/(?:config|agent/exec-status)", None, {}),
    (_GUEST + "/feature", None, {"nodes": "texts"}),
    (_GUEST + "/status/current", None, {"ha": "object", "nics": "named", "blockstat": "named", "ballooninfo": "object",
                                        "proxmox-support": "object"}),
    (_GUEST + "/migrate", None, {
        "local_disks": "objects", "mapped-resource-info": "named", "not_allowed_nodes": "named",
        "not-allowed-nodes": "named", "unavailable_storages": "texts", "unavailable-resources": "texts",
        **dict.fromkeys(("allowed_nodes", "allowed-nodes", "local_resources", "mapped-resources"), "texts"),
        **dict.fromkeys(("dependent-ha-resources", "blocking-ha-resources"), "any")}),
    (_GUEST + "/agent/(?:get-osinfo|get-host-name|get-timezone|info)", None, {"result": "object"}),
    (_GUEST + "/agent/(?:network-get-interfaces|get-fsinfo|get-users)", None, {
        "result": "objects", "ip-addresses": "objects", "disk": "objects", "statistics": "object"}),
)]

#: What rows of /cluster/resources need besides, by their type.
_RESOURCES = {"qemu": ("vmid", "node"), "lxc": ("vmid", "node"), "node": ("node",), "storage": ("storage", "node"),
              "pool": ("pool",), "sdn": ("sdn",), "network": (), None: ("storage",)}

#: Keys whose value is a number wherever they appear.
_NUMBERS = frozenset("""
    active avail backup-time cores cpu cpus ctime dead disk diskread diskwrite enabled encrypted-size endtime exitcode
    exited failcount frag free freeswap gpt hasFeature idle leaf local lv_size maxcpu maxdisk maxmem maxswap mem memhost
    metadata_size metadata_used mounted n netin netout next-run nodeid online osdid out-truncated pid priority protected
    pstart quiet quorate shared signal size snaptime sockets starttime template time total total-bytes uid
    uptime used-bytes used_fraction vmid vmstate wait""".split())
#: Those of a guest's config, where other keys of these names hold text (cpu, memory).
_CONFIG_NUMBERS = frozenset("""
    balloon cores cpulimit cpuunits numa onboot protection shares snaptime sockets swap template unprivileged vcpus
    """.split())
#: Keys whose value is text wherever they appear; so is what ends in a digit (net0, scsi1).
_TEXTS = frozenset("""
    address arch archive bios boot bridge bridge_ports cidr comment comments content cpumodel delete-reason description
    devpath digest dns1 dns2 dns3 err-data exitstatus features format gateway guest hastate hostname id iface ip key
    kversion level lock lv machine message method method6 model msg name nameserver net node notes os ostype out-data
    parent plugintype poolid pool pveversion qmpstatus release repoid running-machine running-qemu search searchdomain
    section service sid slaves snapshot state status storage storages subtype t tags template-name title tokenid type
    upid user vendor vg volid""".split())
_ENDS_IN_DIGIT = re.compile(r"[a-z]+[0-9]+")
#: Those of them that have several lines; the others are one, whatever comes.
_LINES = frozenset("comment comments description err-data message msg notes out-data t".split())
#: Answers that are one text: pattern of the path -> what it has to match.
_SINGLE = [(re.compile(pattern), re.compile(text, re.DOTALL)) for pattern, text in (
    (r"/cluster/nextid", r"[1-9][0-9]{2,8}"), (_NODE + "/vzdump/extractconfig", ".*"))]
_LARGEST = float(1 << 63)


class Misshapen(ValueError):
    """An answer that is of another kind altogether; str(error) says what was expected and what came."""


def shaped(path, data):
    """`data`, the answer to GET `path`, in the shape that the tools expect; Misshapen when it is nothing like it."""
    for pattern, needed, nested in _SHAPES:
        if pattern.fullmatch(path):
            return _object(path, data, nested) if needed is None else _rows(path, data, needed, nested)
    for pattern, text in _SINGLE:
        if pattern.fullmatch(path) and not (isinstance(data, (str, int)) and text.fullmatch(str(data))):
            raise Misshapen("%s that cannot be meant" % _called(data))
    return data


def _object(path, data, nested):
    if not isinstance(data, dict):
        raise Misshapen("%s instead of an object" % _called(data))
    if nested == "named":
        return _nested("named", data, {})
    if not path.endswith("/config"):
        return _values(data, nested)
    return {key: str(value) if _ENDS_IN_DIGIT.fullmatch(key) or key == "rootfs" else value
            for key, value in _values(data, nested, _CONFIG_NUMBERS).items()}


def _rows(path, data, needed, nested):
    if data is None:
        return []
    if not isinstance(data, list):
        raise Misshapen("%s instead of a list" % _called(data))
    rows = [_values(row, nested) for row in data if isinstance(row, dict)]
    if path == "/cluster/resources":
        return [row for row in rows if all(key in row for key in _RESOURCES.get(row.get("type"), ("vmid", "node")))]
    if path.endswith("/rrddata"):
        rows = [{key: number for key, number in ((key, _number(value)) for key, value in row.items())
                 if number is not None} for row in rows]
    if path.endswith("/pending"):
        for row in rows:
            if _ENDS_IN_DIGIT.fullmatch(row.get("key", "")) or row.get("key") == "rootfs":
                row.update((key, str(row[key])) for key in ("value", "pending") if key in row)
    return [row for row in rows if all(key in row for key in needed)]


def _called(data):
    return {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "a truth value"}.get(
        type(data), "a number")


def _values(row, nested, numbers=_NUMBERS):
    """The entries of an object whose values are of their kind; others are left out."""
    found = {}
    for key, value in row.items():
        if type(value) is str:
            if key in nested and nested[key] not in ("text", "words"):
                continue
            if key in numbers and key not in nested:
                value = _number(value)
            elif "\n" in value and key in _TEXTS and key not in _LINES:
                value = " ".join(value.split())
        elif isinstance(value, (dict, list)) or key in nested:
            value = _nested(nested.get(key), value, nested)
        elif key in _TEXTS:
            value = None if value is None else str(value)
        elif isinstance(value, (int, float)):
            value = _number(value)
        if value is not None:
            found[key] = value
    return found


def _nested(kind, value, nested):
    if kind in ("object", "any", "words") and isinstance(value, dict):
        return _values(value, nested)
    if kind in ("objects", "any") and isinstance(value, list):
        return [_values(one, nested) for one in value if isinstance(one, dict)] if kind == "objects" or any(
            isinstance(one, dict) for one in value) else _texts(value)
    if kind == "texts" and isinstance(value, list):
        return _texts(value)
    if kind in ("text", "words") and isinstance(value, (str, int, float)):
        return str(value)
    if kind == "named" and isinstance(value, dict):
        return {key: _values(one, nested) for key, one in value.items() if isinstance(one, dict)}
    return None


def _texts(value):
    return [str(one) for one in value if isinstance(one, (str, int, float))]


def _number(value):
    """A number as it is or was meant; None for what is not one, not finite or beyond 64 bits."""
    if isinstance(value, str):
        try:
            value = float(value) if "." in value or "e" in value.lower() else int(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)):
        return None
    return value if -_LARGEST < value < _LARGEST else None
