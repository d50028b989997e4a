"""Toolset: guests and storages as they are - lists, state, configuration. Reads only."""
import fnmatch
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Optional
from urllib.parse import unquote

from tools.base.answers import Facts, Later, Table, data_only
from tools.base.row import BASIC, AnyNode, Guest, Paged, Tool
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import DISK_KEYS, natural, on, parse_property_string, size_of
from tools.pve.scrub import is_secret
from tools.pve.text import Column

# ------------------------------------------------------------------------------------------------------------ arguments


@dataclass
class Vms(Paged):
    """List VMs and containers of the whole cluster, with filters."""
    node: AnyNode = None
    type: Annotated[str, Arg(choices=("qemu", "lxc", "all"))] = "all"
    status: Annotated[Optional[str], Arg(choices=("running", "stopped", "unknown"))] = None
    pool: Optional[str] = None
    tag: Optional[str] = None
    name: Annotated[Optional[str], Arg("part of it, or pattern with *")] = None
    template: Optional[bool] = None


@dataclass
class VmStatus(Guest):
    """Current state of a VM or container: CPU, memory, traffic, uptime, HA, lock."""
    type: Annotated[Optional[str], Arg(choices=("qemu", "lxc"))] = None


@dataclass
class Storages:
    """List storages with state and space, of one node or the whole cluster."""
    node: AnyNode = None
    content: Annotated[Optional[str], Arg("images, iso, backup ...")] = None


@dataclass
class _Config(Guest):
    """(the configuration of one guest)"""
    snapshot: Annotated[Optional[str], Arg(format="snapname")] = None
    current: Annotated[Optional[bool], Arg("without pending")] = None


@dataclass
class VmConfig(_Config):
    """Configuration of a VM, and the changes that wait for its restart."""


@dataclass
class LxcConfig(_Config):
    """Configuration of a container, and the changes that wait for its restart."""


# ------------------------------------------------------------------------------------------- rules that others need too

def state(guest):
    """What a raw guest of /cluster/resources counts as: "template", else its status (a paused VM is running there)."""
    return "template" if on(guest.get("template")) else str(guest.get("status") or "unknown")


def by_state(guests):
    """{state: how many} of raw guests, the usual states first."""
    counts = Counter(map(state, guests))
    order = [key for key in ("running", "stopped", "unknown", "template") if key in counts]
    return {key: counts[key] for key in order + sorted(set(counts) - set(order))}


def said(counts, most=30):
    """Counts as text, "9 running, 3 stopped"; of more than `most` the largest."""
    pairs = list(counts.items()) if len(counts) <= most else Counter(counts).most_common(most)
    words = ["{:,} {}{}".format(n, text.line(key, 40), "s" if key == "template" and n != 1 else "") for key, n in pairs]
    return ", ".join(words + (["%d more" % (len(counts) - most)] if len(counts) > most else []))


# ------------------------------------------------------------------------------------------------------- list of guests

def _cpu(row, noun=None):
    number = row.get("maxcpu", row.get("cpus"))
    cpus = "%g%s" % (number, " %s%s" % (noun, "s" if number != 1 else "") if noun else "") if number else ""
    if "cpu" not in row:
        return cpus or "-"
    return "%s of %s" % (text.percent(row["cpu"]), cpus) if cpus else text.percent(row["cpu"])


def space(used, total):
    """A Column's text: "2 GiB of 4 GiB (50 %)" of two keys, the total alone when nothing is known to be used."""
    def show(row):
        if row.get(total) and used in row:
            return text.used_of(row[used], row[total])
        return text.size(row[total]) if row.get(total) else "-"
    return show


GUESTS = Table("guest", Column("vmid", kind="int"), Column("name"), Column("type"),
               Column("status", text=lambda r: r.get("status", "-") + (" (template)" if r.get("template") else "")),
               Column("node"), Column("cpu", "CPU", "fraction", _cpu),
               Column("mem", "memory", "bytes", space("mem", "maxmem")),
               Column("disk", "disk", "bytes", space("disk", "maxdisk")), Column("uptime", kind="seconds"),
               Column("tags", kind="list"), Column("pool"), Column("lock"), Column("hastate", "HA"),
               *data_only("number", "maxcpu"), *data_only("bytes", "maxmem", "maxdisk"), *data_only("bool", "template"))


def _guest(row):
    """A raw guest without the figures that mean nothing: those of a guest that does not run, and a VM's disk use."""
    row = dict(row)
    if row.get("status") != "running":
        for key in ("cpu", "mem", "uptime"):
            row.pop(key, None)
    if row.get("type") == "qemu" or not row.get("disk"):
        row.pop("disk", None)                       # Proxmox cannot see into a VM's disk and says 0
    if not on(row.get("template")):
        row.pop("template", None)
    cpu = text.normal("fraction", row.get("cpu"))
    row["cpu"] = None if cpu is None else "%.4g" % cpu
    return row


def _tags(row):
    return [tag for tag in re.split(r"[;,\s]+", str(row.get("tags") or "").lower()) if tag]


def pattern(part):
    """A test for names: `part` is somewhere in it or, with * or ?, matches all of it; upper and lower case are one."""
    rule = part if "*" in part or "?" in part else "*%s*" % part
    match = re.compile(fnmatch.translate(rule.lower().replace("[", "[[]"))).match
    return lambda name: match(str(name or "").lower()) is not None


#: filter -> (what the raw guest has there, whether a guest that has it matches the argument's value)
_FILTERS = {
    "node": (lambda row: row.get("node"), lambda has, wanted: has == wanted),
    "type": (lambda row: row.get("type"), lambda has, wanted: has == wanted),
    "status": (lambda row: row.get("status") or "unknown", lambda has, wanted: has == wanted),
    "pool": (lambda row: row.get("pool"), lambda has, wanted: has == wanted),
    "tag": (_tags, lambda has, wanted: wanted.lower() in has),
    "template": (lambda row: on(row.get("template")), lambda has, wanted: has == wanted),
}


_NODES = 25                     # how many are counted in the text


def get_vms(call):
    args, rows = call.args, call.resources()
    everything = rows
    for name, (value, fits) in _FILTERS.items():
        wanted = getattr(args, name)
        if wanted is not None and (name, wanted) != ("type", "all"):
            rows = [row for row in rows if fits(value(row), wanted)]
    if args.name is not None:
        fits = pattern(args.name)
        rows = [row for row in rows if fits(row.get("name"))]
    rows = sorted(rows, key=lambda row: int(row["vmid"]))
    states, nodes = by_state(rows), dict(sorted(Counter(str(row.get("node")) for row in rows).items()))
    headline = text.plural(len(rows), "guest")
    if rows:
        headline += ": " + said(states)
    if len(rows) > args.limit:
        shown = ["%s %d" % (text.line(node, 40), count) for node, count in list(nodes.items())[:_NODES]]
        headline += "\nBy node: " + ", ".join(shown)
        headline += ", and %d nodes more" % (len(nodes) - _NODES) if len(nodes) > _NODES else ""
    notes = []
    if call.hidden:
        notes.append("%s not shown: out of bounds for this server (PROXMOX_ALLOWED_GUESTS, PROXMOX_ALLOWED_NODES)."
                     % text.plural(call.hidden, "guest"))
    elif not everything:
        notes.append("There may be guests that this token may not see: a guest is listed only with VM.Audit on "
                     "/vms/VMID (role PVEAuditor on /vms shows all).")
    if everything and not rows:
        notes.extend(_nothing(args, everything))
    elif rows and args.offset >= len(rows):
        notes.append("offset=%d is beyond the last one." % args.offset)
    if "unknown" in states:
        lost = sorted({str(row.get("node")) for row in rows if state(row) == "unknown"})
        notes.append("unknown: no current data, the node is offline or does not report (%s)."
                     % text.line(", ".join(lost), 200))
    return call.listing(Later(rows, lambda part: GUESTS.data(map(_guest, part))), headline, "\n".join(notes),
                        "node, type, status, pool, tag, name", by_status=states, by_node=nodes)


def _nothing(args, rows):
    """Why no guest matched: how many there are, and for each filter that fits none of them the values in use."""
    yield "The cluster has %s that this token may see; none matches." % text.plural(len(rows), "guest")
    for name in ("node", "pool", "tag"):
        value, fits = _FILTERS[name]
        wanted = getattr(args, name)
        if wanted is not None and not any(fits(value(row), wanted) for row in rows):
            known = set()
            for row in rows:
                has = value(row)
                known.update(has if isinstance(has, list) else [has] if has else [])
            known = text.line(", ".join(sorted(known)) or "none", 400)
            yield "%s=%s fits no guest. In use: %s." % (name, text.line(wanted), known)


# -------------------------------------------------------------------------------------------------------- one guest now

def _both(first, second, words):
    return lambda r: words % (text.size(r[first]), text.size(r[second])) if first in r and second in r else "-"


def _load(row):
    # pvedaemon measures from one call to the next of the same worker process, and says 0 the first time
    return _cpu(row, "core") + (" (or not measured yet)" if row.get("cpu") == 0 else "")


def _ha(row):
    ha = row.get("ha", {})
    return str(ha.get("state", "managed")) if ha.get("managed") else "-"


def _status(row):
    """"running", "running (paused)", "stopped (suspended to disk)"."""
    more = row.get("qmpstatus")
    if row.get("status") == "stopped":
        more = "suspended to disk" if row.get("lock") == "suspended" else None
    elif more == row.get("status"):
        more = None
    return text.line("%s (%s)" % (row.get("status"), more) if more else row.get("status", "-"))


STATUS = Facts(*data_only("int", "vmid"), *data_only("text", "name", "node", "type", "status", "qmpstatus"),
               Column("lock"), Column("template", kind="bool"), Column("uptime", kind="seconds"),
               Column("cpu", "CPU", "fraction", _load), Column("mem", "memory", "bytes", space("mem", "maxmem")),
               Column("memhost", "memory taken on the node", "bytes"), Column("balloon", kind="bytes"),
               Column("swap", "swap", "bytes", space("swap", "maxswap")),
               Column("disk", "disk", "bytes", space("disk", "maxdisk")),
               Column("netin", "network since start", "bytes", _both("netin", "netout", "%s in, %s out")),
               Column("diskread", "disks since start", "bytes", _both("diskread", "diskwrite", "%s read, %s written")),
               Column("ha", "HA", "any", _ha), Column("agent", "guest agent", "bool",
                                                      lambda r: "switched on in the config" if r.get("agent") else "-"),
               Column("tags", kind="list"), Column("pid", kind="int"), Column("running-machine", "machine"),
               Column("running-qemu", "QEMU"), *data_only("number", "cpus"),
               *data_only("bytes", "maxmem", "maxswap", "maxdisk", "netout", "diskwrite"), *data_only("any", "nics"))


def get_vm_status(call):
    args = call.args
    now = dict(_current(call), vmid=args.vmid, type=args.type, node=call.node)
    if now.get("status") != "running":
        for key in ("cpu", "mem", "uptime", "netin", "netout", "diskread", "diskwrite", "swap", "balloon", "memhost"):
            now.pop(key, None)
    if args.type == "qemu" or not now.get("disk"):
        now.pop("disk", None)                       # Proxmox cannot see into a VM's disk and says 0
    ha = now.get("ha")
    now["ha"] = dict(ha, managed=on(ha.get("managed"))) if isinstance(ha, dict) else None
    return call.answer(now, "%s: %s" % (_who(call, now.get("name")), _status(now)))


def _current(call):
    """The guest's status/current. Without a type it is taken for a VM; only when it is none it is looked up."""
    args = call.args
    if args.type is None and args.node is not None:
        args.type = "qemu"
        try:
            return call.get("./status/current")
        except PveError:
            args.type = None
            if call.guest()["type"] == "qemu":
                raise
    if args.type is None:
        args.type = str(call.guest()["type"])       # the same request tells the node
    return call.get("./status/current")


def _who(call, name):
    """"VM 100 web01 on pve1", as a sentence begins."""
    return "%s%s on %s" % (text.capital(call.subject), " " + text.line(name) if name else "", call.node)


# ------------------------------------------------------------------------------------------------------------- storages

def _place(row):
    return row.get("node") or "shared by " + ", ".join(row.get("nodes", []))


def _condition(row):
    return row["state"] + (", but not on " + ", ".join(row["not_on"]) if row.get("not_on") else "")


STORAGES = Table("storage", Column("storage"), Column("node", text=_place), Column("type"),
                 Column("state", text=_condition), Column("used", "used", "bytes", space("used", "total")),
                 Column("avail", "free", "bytes"), Column("content", kind="list"), *data_only("bytes", "total"),
                 *data_only("fraction", "used_fraction"),
                 *data_only("bool", "shared", "enabled", "active"), *data_only("list", "nodes", "not_on"))


def storages(rows):
    """Normalised rows (STORAGES) of /cluster/resources?type=storage: a shared storage once, a local one per node."""
    single, shared = [], {}
    for row in rows:
        total, used = (text.normal("bytes", row.get(key)) or 0 for key in ("maxdisk", "disk"))
        here = {"storage": row.get("storage"), "node": row.get("node"), "type": row.get("plugintype"),
                "content": row.get("content"), "shared": on(row.get("shared")),
                "active": row.get("status") == "available"}
        here["state"] = "available" if here["active"] else str(row.get("status") or "unknown")
        if total:
            here.update(total=total, used=used, avail=max(0, total - used), used_fraction=round(used / total, 4))
        if not here["shared"]:
            single.append(here)
            continue
        one = shared.setdefault(here["storage"], dict(here, nodes=[], not_on=[], node=None))
        one["nodes" if here["active"] else "not_on"].append(str(here["node"]))
        if here["active"] and (not one["active"] or total > one.get("total", 0)):
            one.update(here, node=None)             # figures of a node that reaches it
    for one in shared.values():
        if not one["nodes"]:
            one["nodes"], one["not_on"] = one["not_on"], None
        one["nodes"].sort()
    return _sorted(STORAGES.data(single + list(shared.values())))


def _of_node(row, node):
    """One raw entry of /nodes/{node}/storage as STORAGES has it."""
    row = dict(row, node=node)
    row.update(shared=on(row.get("shared")), enabled=on(row.get("enabled", 1)), active=on(row.get("active")))
    row["state"] = "disabled" if not row["enabled"] else "available" if row["active"] else "unreachable"
    total = text.normal("bytes", row.get("total"))
    if not total:
        for key in ("total", "used", "avail", "used_fraction"):
            row.pop(key, None)
    elif row.get("used_fraction") is None:
        row["used_fraction"] = (text.normal("bytes", row.get("used")) or 0) / total
    return row


def _sorted(rows):
    return sorted(rows, key=lambda row: (row.get("storage", ""), row.get("node", "")))


def volume_size(row):
    """Bytes of a raw volume of a storage's content, or None; since 9.2 some have an approximate size only."""
    return text.normal("bytes", row.get("size", row.get("approximate-size")))


def get_storage(call):
    node, content = call.args.node, call.args.content
    if node:
        rows = _sorted(STORAGES.data([_of_node(row, node) for row in call.get("/nodes/{node}/storage") or []]))
    else:
        rows = storages(call.get("/cluster/resources", type="storage") or [])
    seen = len(rows)
    if content:
        rows = [row for row in rows if content in row.get("content", [])]
    notes = []
    if not seen:
        notes.append("A storage is listed only with Datastore.Audit or Datastore.AllocateSpace on /storage/ID.")
    elif not rows:
        notes.append("None of %s takes %s." % (text.plural(seen, "storage"), text.line(content)))
    for row in rows:
        if row["state"] == "unreachable":
            notes.append("%s is switched on but cannot be reached from %s (enabled 1, active 0)."
                         % (row["storage"], node))
    if any(row["state"] == "unknown" or row.get("not_on") for row in rows):
        notes.append("Where the state is unknown, the node is offline or does not reach the storage.")
    headline = text.plural(len(rows), "storage") + (" for " + text.line(content) if content else "")
    headline += " on node " + node if node else " (a local one is another on each node)"
    return call.listing(rows, headline, "\n".join(notes), "node, content")


# ---------------------------------------------------------------------------------------------- configuration of guests

_CLOUD_INIT = re.compile(r"ci(?:user|password|type|upgrade|custom)|sshkeys|ipconfig[0-9]+|nameserver|searchdomain")
_NET = re.compile(r"net[0-9]+")
_FLAGS = {"firewall", "link_down", "ro", "backup", "replicate", "shared", "quota", "acl", "iothread", "ssd", "snapshot"}
_NUMBERS = {"tag", "mtu", "queues"}


def _options(parts):
    """Values of a property string with booleans and numbers as such."""
    result = {}
    for key, value in parts.items():
        kind = "bool" if key in _FLAGS else "int" if key in _NUMBERS else "number" if key == "rate" else None
        known = text.normal(kind, value) if kind else None
        result[key] = value if known is None else known
    return result


def disk(kind, key, value):
    """One disk, mount point or drive as a dict: disk, use, volid, storage, size (bytes), path (container), options.

    `key` and `value` are an option of a configuration, `kind` is qemu or lxc.
    """
    parts = parse_property_string(str(value), "file" if kind == "qemu" else "volume")
    volid = parts.pop("file" if kind == "qemu" else "volume", None) or ""
    known = {"disk": key, "use": "disk", "volid": volid}
    if key.startswith("unused"):
        known["use"] = "unused"
    elif key.startswith("efidisk"):
        known["use"] = "EFI"
    elif key.startswith("tpmstate"):
        known["use"] = "TPM"
    elif parts.get("media") == "cdrom":
        parts.pop("media")
        known["use"] = "cloud-init" if "cloudinit" in volid else "CD"
        if volid == "none":
            known["volid"], known["use"] = "", "CD (empty)"
    elif kind == "lxc":
        known["use"] = "root" if key == "rootfs" else "mount point"
        if volid.startswith("/"):
            known["use"] = "bind mount" if not volid.startswith("/dev/") else "device"
    elif volid.startswith("/"):
        known["use"] = "device"
    if ":" in volid and not volid.startswith("/"):
        known["storage"] = volid.split(":", 1)[0]
    size = size_of(parts.get("size"))
    if size is not None:
        known["size"] = size
    if kind == "lxc" and "mp" in parts:
        known["path"] = parts.pop("mp")
    if size is not None:
        parts.pop("size")
    known["options"] = _options(parts)
    return known


def network(key, value):
    """One network device of a configuration as a dict: net, model (VM), mac, bridge, tag, firewall and the rest."""
    parts = parse_property_string(str(value), "model")
    known = {"net": key}
    for name in list(parts):
        if name not in _NET_KEYS and re.fullmatch(r"[0-9A-Fa-f:]{17}", parts[name] or ""):
            known["model"], known["mac"] = name, parts.pop(name)        # virtio=BC:24:11:00:00:01
    for name, ours in (("model", "model"), ("macaddr", "mac"), ("hwaddr", "mac")):
        if name in parts:
            known[ours] = parts.pop(name)
    known.update(_options(parts))
    return known


_NET_KEYS = {"model", "macaddr", "hwaddr", "bridge", "name"}


def ssh_keys(value):
    """The keys of a config's sshkeys (percent-encoded), each without its middle: "ssh-rsa AAAAB3Nz...k4Xw me@host"."""
    keys = []
    for entry in unquote(str(value)).splitlines():
        words = entry.split()
        keys.append(" ".join(word if len(word) < 40 else "%s...%s" % (word[:8], word[-8:]) for word in words))
    return [key for key in keys if key]


def shown(key, value):
    """The value of a config's option as it may be shown: no secret (a container's env often holds some), keys of ssh
    shortened."""
    if is_secret(key):
        return "(set, not shown)"
    if key == "sshkeys":
        return ssh_keys(value)
    if key == "env":
        return [entry.split("=", 1)[0] + "=***" for entry in re.split("[\0\n]", str(value)) if entry]
    return value.rstrip("\n") if isinstance(value, str) else value


def waiting(entries):
    """What waits for a restart, of the raw entries of ./pending: [{key, now, then}], or removed instead of then."""
    found = []
    for entry in entries:
        if "pending" in entry or entry.get("delete"):
            change = {"key": entry["key"]}
            if entry.get("value") is not None:
                change["now"] = shown(entry["key"], entry["value"])
            if "pending" in entry:
                change["then"] = shown(entry["key"], entry["pending"])
            else:
                change["removed"] = True
            found.append(change)
    return sorted(found, key=lambda change: natural(change["key"]))


def normalised(kind, config):
    """A raw config as our data: disks, networks, cloud-init as lists and objects, other options under their names."""
    result = {"disks": [], "networks": []}
    for key in sorted(config, key=natural):
        value = config[key]
        if re.fullmatch(DISK_KEYS[kind], key):
            result["disks"].append(disk(kind, key, value))
        elif _NET.fullmatch(key):
            result["networks"].append(network(key, value))
        elif kind == "qemu" and _CLOUD_INIT.fullmatch(key):
            result.setdefault("cloud_init", {})[key] = shown(key, value)
        elif key == "memory":
            result[key] = parse_property_string(str(value), "current").get("current")
        elif key == "agent":
            agent = parse_property_string(str(value), "enabled")
            result[key] = dict(agent, enabled=on(agent.get("enabled")))
        elif key == "boot":
            order = re.sub("^(order|legacy)=", "", str(value))
            result[key] = order.split(";") if str(value).startswith("order=") else [order] if order else []
        else:
            result[key] = shown(key, value)
    return result


def _cores(row):
    cores, sockets = row.get("cores", 1), row.get("sockets", 1)
    words = text.plural(cores * sockets, "core")
    if sockets > 1:
        words += " (%d sockets of %d)" % (sockets, cores)
    if row.get("vcpus"):
        words += ", %d plugged in" % row["vcpus"]
    return words + (", " + row["cpu"] if row.get("cpu") else "")


def _memory(row):
    words, balloon = text.size(row.get("memory", 512) * 1048576), row.get("balloon")
    if balloon:
        return "%s, at least %s (balloon)" % (words, text.size(balloon * 1048576))
    return words + (", no balloon" if balloon == 0 else "")


def _container_cores(row):
    return text.plural(row["cores"], "core") if row.get("cores") else "all cores of the node"


def _agent(row):
    return text.yes(row.get("agent", {}).get("enabled"))


_SAME = [*data_only("int", "vmid"), *data_only("text", "node", "digest", "snapshot", "description"),
         *data_only("any", "disks", "networks", "pending"), Column("template", kind="bool"), Column("lock"),
         Column("tags", kind="list")]
_BOOT = [Column("ostype", "OS type"), Column("onboot", "start at boot", "bool"), Column("protection", kind="bool")]
VM_CONFIG = Facts(*data_only("text", "name"), *_SAME, Column("cores", "CPU", "int", _cores),
                  Column("memory", "memory", "mib", _memory), Column("boot", "boot order", "list"), *_BOOT,
                  Column("agent", "guest agent", "any", _agent), *data_only("int", "sockets", "vcpus"),
                  *data_only("text", "cpu"), *data_only("mib", "balloon"), *data_only("any", "cloud_init"), more=True)
LXC_CONFIG = Facts(*data_only("text", "hostname"), *_SAME, Column("cores", "CPU", "int", _container_cores),
                   Column("cpulimit", "CPU limit", "number"), Column("memory", kind="mib"), Column("swap", kind="mib"),
                   Column("unprivileged", kind="bool", text=lambda r: text.yes(r.get("unprivileged"))),
                   Column("features"), *_BOOT, more=True)
_DISKS = [Column("disk"), Column("use"), Column("path", "mounted at"), Column("volid", "volume", "long"),
          Column("size", kind="bytes"), Column("options", kind="long", text=lambda r: _pairs(r["options"]))]
_NETS = [Column("net", "device"), Column("name"), Column("model"), Column("mac", "MAC"), Column("bridge"),
         Column("tag", kind="int"), Column("ip", "IP"), Column("gw", "gateway"), Column("ip6", "IPv6"),
         Column("gw6", "gateway 6"), Column("firewall", kind="bool")]
_NETS.append(Column("more", kind="long", text=lambda r: _pairs({
    key: value for key, value in r.items() if key != "type" and key not in [column.key for column in _NETS]})))
#: Options that say nothing to a reader: in the data only.
_SILENT = {"digest", "smbios1", "vmgenid", "meta", "parent", "snaptime", "snapstate"}


def _say(value):
    if isinstance(value, list):                     # [[key, value], ...] of a container's lxc options
        return "; ".join("=".join(map(str, part)) if isinstance(part, list) else str(part) for part in value)
    return str(int(value) if isinstance(value, bool) else value)


def _pairs(options, between=", "):
    return between.join(key if value is None else "%s=%s" % (key, _say(value)) for key, value in options.items()) or "-"


def _change(change):
    now = text.line(_say(change["now"]), 120) if "now" in change else "(not set)"
    then = text.line(_say(change["then"]), 120) if "then" in change else "(removed)"
    return "  %s: %s -> %s" % (change["key"], now, then)


def get_config(call):
    args, shape = call.args, call.tool.returns
    config = call.get("./config", snapshot=args.snapshot, current=args.current or None) or {}
    pending = [] if args.snapshot else waiting(call.get("./pending") or [])
    data = normalised(call.kind, config)
    data.update(vmid=args.vmid, node=call.node, pending=pending or None, snapshot=args.snapshot)
    parts = []
    for title, columns, rows in (("Disks", _DISKS, data["disks"]), ("Network devices", _NETS, data["networks"])):
        parts.append("%s:\n%s" % (title, text.table(columns, rows)) if rows else "%s: none" % title)
    if data.get("cloud_init"):
        parts.append("Cloud-init: " + text.line(_pairs(data["cloud_init"], "; "), 1000))
    known = {column.key for column in shape.columns} | _SILENT
    others = {key: value for key, value in data.items() if key not in known and value is not None}
    if others:
        parts.append("Other options: " + text.line(_pairs(others, "; "), 1500))
    if pending:
        parts.append("Waits for a restart of the guest (%s):" % (
            "not in the values above" if args.current else "the values above have it already"))
        parts.extend(map(_change, pending))
    if data.get("description"):
        parts.append("Description:\n" + text.quoted(data["description"], 2000))
    headline = _who(call, data.get("name") or data.get("hostname"))
    if args.snapshot:
        headline += ", as saved in snapshot " + args.snapshot
    return call.answer(data, headline, "\n".join(parts))


TOOLS = {
    "proxmox_get_vms": Tool("GET /cluster/resources", BASIC, Vms, get_vms, GUESTS),
    "proxmox_get_vm_status": Tool("GET /nodes/{node}/{type}/{vmid}/status/current", BASIC, VmStatus, get_vm_status,
                                  STATUS),
    "proxmox_get_storage": Tool("GET /nodes/{node}/storage", BASIC, Storages, get_storage, STORAGES),
    "proxmox_get_vm_config": Tool("GET /nodes/{node}/qemu/{vmid}/config", BASIC, VmConfig, get_config, VM_CONFIG),
    "proxmox_get_lxc_config": Tool("GET /nodes/{node}/lxc/{vmid}/config", BASIC, LxcConfig, get_config, LXC_CONFIG),
}
