"""Toolset: guests and storages as they are - lists, state, configuration. Reads only."""
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest, storage
from tools.base.answers import Facts, Table, data_only, result
from tools.base.lists import chosen, cpu_of, none_chosen
from tools.base.row import BASIC, AnyNode, Chosen, Guest, Tool
from tools.base.schema import Arg
from tools.base.storage import STORAGES, space
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import natural, on, parse_property_string
from tools.pve.text import Column


@dataclass
class Vms(Chosen):
    """VMs and containers of the whole cluster, with filters."""
    type: Annotated[str, Arg(enum=("qemu", "lxc", "all"))] = "all"
    status: Annotated[Optional[str], Arg(enum=("running", "stopped", "unknown"))] = None
    template: Optional[bool] = None


@dataclass
class VmStatus(Guest):
    """Current state of a VM or container: CPU, memory, traffic, uptime, HA, lock."""
    type: Annotated[Optional[str], Arg(enum=("qemu", "lxc"))] = None


@dataclass
class Storages:
    """Storages with state and space, of one node or the whole cluster."""
    node: AnyNode = None
    content: Annotated[Optional[str], Arg("images, iso, backup ...")] = None


@dataclass
class Config(Guest):
    """Configuration of a {guest}, and the changes that wait for its restart."""
    snapshot: Annotated[Optional[str], Arg(format="snapname")] = None


# ------------------------------------------------------------------------------------------------------- list of guests

GUESTS = Table("guest", Column("vmid", kind="int"), Column("name"), Column("type"),
               Column("status", text=guest.told),
               Column("node"), Column("cpu", "CPU", "fraction", lambda row: cpu_of(row, "")),
               Column("mem", "memory", "bytes", space("mem", "maxmem")),
               Column("disk", "disk", "bytes", space("disk", "maxdisk")), Column("uptime", kind="seconds"),
               Column("tags", kind="list"), Column("pool"), Column("lock"), Column("hastate", "HA"),
               *data_only("number", "maxcpu"), *data_only("bytes", "maxmem", "maxdisk"), *data_only("bool", "template"),
               *data_only("text", "qmpstatus"), each=lambda row: _guest(row))


#: What is known of a guest while it runs alone.
_RUNNING = ("cpu", "mem", "uptime", "netin", "netout", "diskread", "diskwrite", "swap", "balloon", "memhost")


def _meaning(row):
    """A raw guest without the figures that mean nothing: those of a guest that does not run, and a VM's disk use, into
    which Proxmox cannot see: it says 0."""
    left_out = set(() if row.get("status") == "running" else _RUNNING)
    left_out.update(["disk"] if row.get("type") == "qemu" or not row.get("disk") else ())
    return {key: value for key, value in row.items() if key not in left_out}


def _guest(row):
    """A row of the list."""
    row, cpu = _meaning(row), text.normal("fraction", row.get("cpu"))
    state = row.get("qmpstatus")
    return dict(row, template=on(row.get("template")) or None, qmpstatus=state if state != row.get("status") else None,
                cpu=None if cpu is None or "cpu" not in row else "%.4g" % cpu)


def get_vms(call):
    args, everything, hidden = call.args, call.guests(), call.hidden
    rows, notes = guest.with_states(call, sorted(chosen(everything, args), key=lambda row: int(row["vmid"])))
    states, nodes = guest.by_state(rows), dict(sorted(Counter(str(row.get("node")) for row in rows).items()))
    headline = text.plural(len(rows), "guest")
    if rows:
        headline += ": " + guest.counted(states)
    if guest.locked(rows):
        headline += "; locked: " + guest.locked(rows)
    if len(rows) > args.limit:
        shown = ["%s %d" % (text.line(node, 40), count) for node, count in nodes.items()]
        notes.append(text.Shown("By node: " + text.listed(shown, 600)))
    if hidden:
        notes.append("%s not shown: out of bounds for this server (PROXMOX_ALLOWED_GUESTS, PROXMOX_ALLOWED_NODES)."
                     % text.plural(hidden, "guest"))
    if not rows and (everything or not hidden):
        notes.extend(none_chosen(everything, args))
    elif rows and args.offset >= len(rows):
        notes.append("offset=%d is beyond the last one." % args.offset)
    if "unknown" in states:
        lost = sorted({str(row.get("node")) for row in rows if guest.counts_as(row) == "unknown"})
        notes.append("unknown: no current data, the node is offline or does not report (%s)."
                     % text.listed(lost, 200))
    return result(call, rows, headline, notes, by_status=states, by_node=nodes)


# -------------------------------------------------------------------------------------------------------- one guest now

def _both(first, second, words):
    return lambda r: words % (text.size(r[first]), text.size(r[second])) if first in r and second in r else "-"


def _load(row):
    # pvedaemon measures from one call to the next of the same worker process, and says 0 the first time
    return cpu_of(row) + (" (or not measured yet)" if row.get("cpu") == 0 else "")


STATUS = Facts(*data_only("int", "vmid"), *data_only("text", "name", "node", "type", "status", "qmpstatus"),
               Column("lock"), Column("template", kind="bool"), Column("uptime", kind="seconds"),
               Column("cpu", "CPU", "fraction", _load), Column("mem", "memory", "bytes", space("mem", "maxmem")),
               Column("memhost", "memory taken on the node", "bytes"), Column("balloon", kind="bytes"),
               Column("swap", "swap", "bytes", space("swap", "maxswap")),
               Column("disk", "disk", "bytes", space("disk", "maxdisk")),
               Column("netin", "network since start", "bytes", _both("netin", "netout", "%s in, %s out")),
               Column("diskread", "disks since start", "bytes", _both("diskread", "diskwrite", "%s read, %s written")),
               Column("ha", "HA", "any", lambda row: str(row["ha"].get("state", "managed")) if row.get(
                   "ha", {}).get("managed") else "-"),
               Column("agent", "guest agent", "bool",
                      lambda row: "switched on in the config" if row.get("agent") else "-"),
               Column("tags", kind="list"), Column("pid", kind="int"), Column("running-machine", "machine"),
               Column("running-qemu", "QEMU"), *data_only("number", "cpus"),
               *data_only("bytes", "maxmem", "maxswap", "maxdisk", "netout", "diskwrite"), *data_only("any", "nics"))


def get_vm_status(call):
    args = call.args
    now = _meaning(dict(_current(call), vmid=args.vmid, type=call.kind, node=call.node))
    ha = now.get("ha")
    now["ha"] = dict(ha, managed=on(ha.get("managed"))) if isinstance(ha, dict) else None
    return result(call, now, "%s: %s" % (_who(call, now.get("name")), guest.told(dict(now, template=None))))


def _current(call):
    """The guest's status/current. Without a type it is taken for a VM; only when it is none it is looked up."""
    if call.kind is None:
        call.kind = "qemu"
        try:
            return call.get("./status/current")
        except PveError:
            call.kind = None
            call.locate()
            if call.kind == "qemu":
                raise
    return call.get("./status/current")


def _who(call, name):
    """"VM 100 web01 on pve1", as a sentence begins."""
    return "%s%s on %s" % (text.capital(call.subject), " " + text.line(name) if name and not call.called else "",
                           call.node)


# ------------------------------------------------------------------------------------------------------------- storages

def get_storage(call):
    node, content = call.args.node, call.args.content
    if node:
        rows = storage.of_node(call.get("/nodes/{node}/storage") or [], node)
    else:
        rows = storage.of_cluster(call.get("/cluster/resources", type="storage") or [])
    seen = len(rows)
    if content:
        rows = [row for row in rows if content in row.get("content", [])]
    notes = [] if node or not rows else ["How much is free is shown for one node only (node=NODE): a file system "
                                         "keeps a part of what is not used for root."]
    if not seen:
        notes.append("A storage is listed only with Datastore.Audit or Datastore.AllocateSpace on /storage/ID.")
    elif not rows:
        notes.append("None of %s takes %s." % (text.plural(seen, "storage"), text.line(content)))
    notes += ["%s is switched on but cannot be reached from %s (enabled 1, active 0)." % (row["storage"], node)
              for row in rows if row["state"] == "unreachable"]
    if any(row["state"] == "unknown" or row.get("not_on") for row in rows):
        notes.append("Where the state is unknown, the node is offline or does not reach the storage.")
    headline = text.plural(len(rows), "storage") + (" for " + text.line(content) if content else "")
    headline += " on node " + node if node else " (a local storage is a different one on each node)"
    return result(call, rows, headline, notes)


# ---------------------------------------------------------------------------------------------- configuration of guests

_CLOUD_INIT = re.compile(r"ci(?:user|password|type|upgrade|custom)|sshkeys|ipconfig[0-9]+|nameserver|searchdomain")
_FLAGS = ("firewall", "link_down", "ro", "backup", "replicate", "shared", "quota", "acl", "iothread", "ssd", "snapshot")
_KINDS = {"tag": "int", "mtu": "int", "queues": "int", "rate": "number", **dict.fromkeys(_FLAGS, "bool")}


def _options(parts):
    """Values of a property string with booleans and numbers as such."""
    known = {key: text.normal(_KINDS[key], value) for key, value in parts.items() if key in _KINDS}
    return {key: value if known.get(key) is None else known[key] for key, value in parts.items()}


def disk_row(disk):
    """A Disk as a dict: disk, use, volid, storage, size (bytes), path (container), options."""
    told = ["mp"] + ["media"] * disk.cdrom + ["size"] * (disk.size is not None)
    known = {"disk": disk.key, "use": disk.use, "volid": "" if disk.cdrom and disk.volid == "none" else disk.volid,
             "storage": disk.storage, "size": disk.size, "path": disk.options.get("mp"), "options": _options(
                 {key: value for key, value in disk.options.items() if key not in told})}
    return {key: value for key, value in known.items() if value is not None}


def network_row(key, value):
    """A network device as a dict: net, model (VM), mac, bridge, tag, firewall and the rest."""
    parts = guest.nic(value)
    known = {"net": key, "model": parts.pop("model", None), "mac": parts.pop("macaddr", parts.pop("hwaddr", None))}
    return dict({key: value for key, value in known.items() if value is not None}, **_options(parts))


def normalised(kind, config):
    """A raw config as our data: disks, networks, cloud-init as lists and objects, other options under their names."""
    disks, nets = guest.disks(kind, config), guest.nics(config)
    result = {"disks": list(map(disk_row, disks)), "networks": [network_row(*pair) for pair in nets.items()]}
    for key in sorted(set(config) - {disk.key for disk in disks} - set(nets), key=natural):
        value = config[key]
        if kind == "qemu" and _CLOUD_INIT.fullmatch(key):
            result.setdefault("cloud_init", {})[key] = guest.shown(key, value)
        elif key == "memory":
            result[key] = parse_property_string(str(value), "current").get("current")
        elif key == "agent":
            agent = parse_property_string(str(value), "enabled")
            result[key] = dict(agent, enabled=on(agent.get("enabled")))
        elif key == "boot":
            result[key] = [part for part in re.sub("^(order|legacy)=", "", str(value)).split(";") if part]
        else:
            result[key] = guest.shown(key, value)
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


_SAME = [*data_only("int", "vmid"), *data_only("text", "node", "digest", "snapshot", "description"),
         *data_only("time", "snaptime"),
         *data_only("any", "disks", "networks", "pending"), Column("template", kind="bool"), Column("lock"),
         Column("tags", kind="list")]
_BOOT = [Column("ostype", "OS type"), Column("onboot", "start at boot", "bool"), Column("protection", kind="bool")]
VM_CONFIG = Facts(*data_only("text", "name"), *_SAME, Column("cores", "CPU", "int", _cores),
                  Column("memory", "memory", "mib", _memory), Column("boot", "boot order", "list"), *_BOOT,
                  Column("agent", "guest agent", "any",
                         lambda r: text.yes(r.get("agent", {}).get("enabled"))), *data_only("int", "sockets", "vcpus"),
                  *data_only("text", "cpu"), *data_only("mib", "balloon"), *data_only("any", "cloud_init"), more=True)
LXC_CONFIG = Facts(*data_only("text", "hostname"), *_SAME, Column("cores", "CPU", "int",
                          lambda r: text.plural(r["cores"], "core") if r.get("cores") else "all cores of the node"),
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


#: Options whose removal takes something out of the guest.
_DEVICE = re.compile(r"(?:net|ide|sata|scsi|virtio|efidisk|tpmstate|mp|hostpci|usb|serial|dev)[0-9]+")


def get_config(call):
    args, shape = call.args, call.tool.returns
    config = call.get("./config", snapshot=args.snapshot, current=None if args.snapshot else True) or {}
    pending = [] if args.snapshot else guest.changes(guest.pending(call.get("./pending"))[1])
    data = normalised(call.kind, config)
    data.update(vmid=args.vmid, node=call.node, pending=pending or None, snapshot=args.snapshot)
    known = {column.key for column in shape.columns} | _SILENT
    others = {key: value for key, value in data.items() if key not in known and value is not None}
    parts = [text.Shown("%s:\n%s" % (title, text.table(columns, rows)) if rows else "%s: none" % title)
             for title, columns, rows in (
                 ("Disks", _DISKS, data["disks"]), ("Network devices", _NETS, data["networks"]))]
    parts += [text.Shown("%s: %s" % (title, text.line(_pairs(options, "; "), 1500))) for title, options in (
        ("Cloud-init", data.get("cloud_init")), ("Other options", others)) if options]
    if pending:
        parts.append("Waits for a restart of the guest (the values above are those in effect):")
        parts.append(text.Shown("\n".join(map(_change, pending))))
    if data.get("description"):
        parts.append(text.Shown("Description:\n" + text.quoted(data["description"], 2000)))
    headline = _who(call, guest.name(data))
    if args.snapshot:
        headline += ", as saved in snapshot " + args.snapshot
    taken = [row["key"] for row in pending if _DEVICE.fullmatch(row["key"]) and row.get("removed")]
    if taken:
        headline += "\nWARNING: its next restart takes away %s (proxmox_update_%s_config revert=[...] keeps what is " \
                    "to stay)." % (", ".join(taken), "lxc" if call.kind == "lxc" else "vm")
    return result(call, data, headline, parts, mark="\u26a0" if taken else None)


TOOLS = {
    "proxmox_get_vms": Tool("GET /cluster/resources", BASIC, Vms, get_vms, GUESTS),
    "proxmox_get_vm_status": Tool("GET /nodes/{node}/{type}/{vmid}/status/current", BASIC, VmStatus, get_vm_status,
                                  STATUS),
    "proxmox_get_storage": Tool("GET /nodes/{node}/storage", BASIC, Storages, get_storage, STORAGES),
    "proxmox_get_vm_config": Tool("GET /nodes/{node}/qemu/{vmid}/config", BASIC, Config, get_config, VM_CONFIG),
    "proxmox_get_lxc_config": Tool("GET /nodes/{node}/lxc/{vmid}/config", BASIC, Config, get_config, LXC_CONFIG),
}
