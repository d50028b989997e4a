"""Toolset: what is going on - what is inside guests, history, pending changes."""
from dataclasses import dataclass
from typing import Annotated, List, Optional

from tools.base import guest
from tools.base.answers import Facts, Table, data_only, result
from tools.base.command import agent_said, ask_agent
from tools.base.failures import Failure
from tools.base.lists import who
from tools.base.row import BASIC, AnyNode, Guest, Paged, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.text import Column

# ------------------------------------------------------------------------------------------------------------ arguments


@dataclass
class Ips(Guest, Paged):
    """IP addresses of a VM (from its guest agent) or a container."""


@dataclass
class GuestInfo(Guest, Paged):
    """What a VM's guest agent reports: OS, host name, file systems."""


@dataclass
class Inside:
    """OS, host name, addresses and file systems of guests."""
    vmids: Annotated[List[str], Arg("or names", min_length=1, max_length=50)] = REQUIRED


@dataclass
class History:
    """History of a guest, node or storage: averages, maxima, small charts."""
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    node: AnyNode = None
    storage: Annotated[Optional[str], Arg("with node", format="storage")] = None
    timeframe: Annotated[str, Arg(enum=("hour", "day", "week", "month", "year"))] = "day"


@dataclass
class Pending(Guest, Paged):
    """Changes of a guest's configuration that wait for its restart."""


# ------------------------------------------------------------------------------------------------------- inside a guest

IPS = Table("interface", Column("name"), Column("mac", "MAC"), Column("addresses", kind="list"))
INFO = Facts(Column("os", "OS"), Column("hostname", "host name"), Column("kernel"), Column("timezone"),
             *data_only("any", "filesystems"), *data_only("int", "total"))
_LOCAL = ("127.", "::1/", "fe80:", "169.254.")
#: File systems that are images or made by the system: full, or empty, and no news.
_NO_DISKS = ("squashfs", "iso9660", "udf", "tmpfs", "devtmpfs", "overlay", "fuse.lxcfs", "efivarfs", "CDFS")


def get_guest_ips(call):
    name = call.guest().get("name")
    if call.kind == "qemu":
        found, why = ask_agent(call, "network-get-interfaces") or [], "The agent reports no interfaces."
    else:
        found, why = call.get("./interfaces") or [], "A container has none while it does not run."
    rows = sorted(map(_interface, found), key=lambda row: not _reachable(row))
    reachable = [address.split("/")[0] for row in rows for address in _reachable(row)]
    return result(call, rows, "%s: %s" % (text.capital(text.called(call.subject, name)), text.line(
        ", ".join(reachable), 400) or "no address beyond its own host"), None if rows else why)


def _reachable(row):
    """The addresses of an interface that lead beyond its own host."""
    return [address for address in row["addresses"] if not address.startswith(_LOCAL)]


def _interface(entry):
    """A raw interface of the agent, or of a container (before 9 with inet and inet6 only)."""
    addresses = ["/".join(str(one[key]) for key in ("ip-address", "prefix") if one.get(key) is not None)
                 for one in entry.get("ip-addresses") or [] if isinstance(one, dict) and one.get("ip-address")]
    return {"name": entry.get("name"), "mac": entry.get("hardware-address") or entry.get("hwaddr"),
            "addresses": addresses or [str(entry[key]) for key in ("inet", "inet6") if entry.get(key)]}


#: What is asked of an agent, what it is in the answer, how that is found in what the agent tells.
_ASKED = (("get-osinfo", "os", lambda told: told.get("pretty-name") or told.get("name")),
          ("get-host-name", "hostname", lambda told: told.get("host-name")),
          ("get-timezone", "timezone", lambda told: told.get("zone")),
          ("get-fsinfo", "file systems", lambda told: sorted(map(_filesystem, told), key=_urgency)))


def get_vm_guest_info(call):
    """What the agent tells; what it refuses is said, and the rest is asked for all the same."""
    facts, refused = {}, {}
    for command, key, find in _ASKED:
        try:
            told = ask_agent(call, command) or {}
        except PveError as error:
            if "Agent error" not in str(error):         # nobody is there who could tell anything
                raise
            refused[key] = error
            continue
        facts[key] = find(told)
        if key == "os":
            facts["kernel"] = told.get("kernel-release")
    if len(refused) == len(_ASKED):
        raise refused["os"]
    lines = ["%s: %s" % (text.capital("OS" if key == "os" else key), call.explained(error))
             for key, error in refused.items() if key in ("os", "file systems")]    # older agents know not all
    systems = facts.pop("file systems", None)
    if systems is not None:
        offset, rest = call.args.offset, call.args.offset + call.args.limit
        shown = list(map(_described, systems[offset:rest]))
        lines.append(text.Shown("\n".join(["File systems:"] + shown)) if systems else
                     "The agent reports no file systems.")
        if len(systems) > rest:
            lines.append("... and %d more: offset=%d" % (len(systems) - rest, rest))
        facts.update(filesystems=systems[offset:rest], total=len(systems))
    return result(call, facts, note=lines)


def _urgency(row):
    """What file systems are sorted by: real ones first, of those the fullest."""
    return row["type"] in _NO_DISKS, -row.get("used", 0) / row.get("total", 1), row["mountpoint"]


def _filesystem(entry):
    disks = [disk.get("dev") for disk in entry.get("disk") or [] if isinstance(disk, dict) and disk.get("dev")]
    row = {"mountpoint": str(entry.get("mountpoint")), "type": str(entry.get("type"))}
    if disks or entry.get("name"):
        row["device"] = str((disks or [entry["name"]])[0])
    total = text.normal("bytes", entry.get("total-bytes"))
    if total:
        row.update(total=total, used=text.normal("bytes", entry.get("used-bytes")) or 0)
    return row


def _described(row):
    """"/ (ext4, /dev/sda1): 13 GiB of 31 GiB (42 %)"; of a mount point only Proxmox's size is known."""
    known = "used" in row or "total" not in row
    what = ", ".join(text.line(row[key], 100) for key in ("type", "device") if key in row)
    return "%s (%s): %s" % (
        text.line(row["mountpoint"]), what,
        text.used_of(row.get("used"), row.get("total")) if known else text.size(row["total"]))


INSIDE = Facts(*data_only("any", "guests"), *data_only("int", "total"))
#: type -> what is asked first, and what is asked when that was answered: nobody waits three times for a silent agent.
_ROUNDS = {"qemu": (("agent/get-osinfo",),
                    ("agent/get-host-name", "agent/network-get-interfaces", "agent/get-fsinfo")),
           "lxc": (("config", "interfaces"), ())}
_LINES, _FEW = 120, 20                  # file systems of all guests together; addresses of one


def get_inside(call):
    """What is inside several guests, all asked at once; one that does not tell costs a line."""
    found = {vmid: {} for vmid in call.args.vmids}
    rows = {vmid: call.entry(vmid) or {} for vmid in found}
    for number in 0, 1:
        todo = [(vmid, name) for vmid, row in rows.items() for name in _ROUNDS.get(row.get("type"), ((), ()))[number]
                if (guest.is_on(row) or name == "config") and not _silent(found[vmid])]
        answers = call.together([("/nodes/{node}/{kind}/{vmid}/" + name, {
            "node": rows[vmid]["node"], "kind": rows[vmid]["type"], "vmid": vmid}, None) for vmid, name in todo])
        for (vmid, name), answer in zip(todo, answers):
            found[vmid][name] = answer
    told = [_inside(call, vmid, rows[vmid], found[vmid]) for vmid in found]
    lines, failed = [], [one for one in told if "problem" in one]
    for one in told:
        one["filesystems"] = one.get("filesystems", [])[:max(3, _LINES // len(told))]
        facts = [one.get("os"), one.get("hostname"), ", ".join(address.split("/")[0] for address in one["addresses"])]
        known = "; ".join(text.line(fact, 200) for fact in facts if fact)
        name = who(dict(one, type=rows[one["vmid"]].get("type")))
        lines.append(": ".join([text.capital(name), known or text.line(one["problem"], 300)]))
        lines += ["    " + _described(row) for row in one["filesystems"]]
    if len(failed) == len(told):
        raise Failure("\n".join(lines))
    return result(call, {"guests": told, "total": len(told)}, "Inside %s%s" % (text.plural(len(told), "guest"), (
        ", %d of which do not tell" % len(failed) if failed else "")), text.Shown("\n".join(lines)))


def _silent(found):
    """Whether a VM's agent did not answer the first question (to refuse one is an answer)."""
    first = found.get("agent/get-osinfo")
    return isinstance(first, Exception) and "Agent error" not in str(first)


def _inside(call, vmid, row, found):
    """What is known of one guest (dict): vmid, name, node, os, hostname, addresses, filesystems; `problem`, a sentence,
    when nothing is. row: of /cluster/resources; found: {what was asked: what came of it}."""
    one = {"vmid": vmid, "name": row.get("name"), "node": row.get("node"), "addresses": []}
    one = {key: value for key, value in one.items() if value is not None}
    wrong = [answer for answer in found.values() if isinstance(answer, Exception)]
    if not row:
        return dict(one, problem="There is no such guest, or the token may not see it.")
    if len(wrong) == len(found):
        return dict(one, problem=call.explained(wrong[0]).split("\n")[0] if wrong else "It is %s." % guest.told(row))
    said = {name.rpartition("/")[2]: answer for name, answer in found.items() if not isinstance(answer, Exception)}
    if row["type"] == "lxc":
        config = said.get("config") or {}
        one.update(os=config.get("ostype"), hostname=config.get("hostname"), filesystems=_mounted(row, config))
        interfaces = said.get("interfaces") or []
    else:
        said = {name: agent_said(answer) or {} for name, answer in said.items()}
        facts = {key: find(said[command]) for command, key, find in _ASKED if command in said}
        one.update(os=facts.get("os"), hostname=facts.get("hostname"), filesystems=[
            system for system in facts.get("file systems", []) if system["type"] not in _NO_DISKS])
        interfaces = said.get("network-get-interfaces") or []
    one["addresses"] = [address for entry in interfaces for address in _reachable(_interface(entry))][:_FEW]
    return {key: value for key, value in one.items() if value is not None}


def _mounted(row, config):
    """The root disk and the mount points of a container; how full it is, Proxmox knows of the first, while it runs."""
    systems = []
    for disk in guest.disks("lxc", config):
        if not disk.key.startswith("unused"):
            root = disk.key == "rootfs"
            system = {"mountpoint": "/" if root else disk.options.get("mp", "-"), "type": disk.key,
                      "device": disk.volid, "total": disk.size,
                      "used": row.get("disk") if root and guest.is_on(row) else None}
            systems.append({key: value for key, value in system.items() if value is not None})
    return sorted(systems, key=lambda system: -system.get("used", 0))


# -------------------------------------------------------------------------------------------------------------- history

HISTORY = Facts(*data_only("text", "timeframe"), Column("from", "from", "time"), Column("to", "to", "time"),
                *data_only("any", "metrics"))
POINTS = 24
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def _rate(value):
    return text.size(value) + "/s"


def _two(value):
    return "%.2f" % value


#: (key in rrddata, heading, how to show it, key of the whole that it is a part of)
METRICS = (("cpu", "CPU", text.percent, None), ("iowait", "IO wait", text.percent, None),
           ("loadavg", "load", _two, None),
           ("mem", "memory", text.size, "maxmem"), ("memused", "memory", text.size, "memtotal"),
           ("disk", "disk", text.size, "maxdisk"), ("used", "used", text.size, "total"),
           ("rootused", "root disk", text.size, "roottotal"), ("netin", "network in", _rate, None),
           ("netout", "network out", _rate, None), ("diskread", "disk read", _rate, None),
           ("diskwrite", "disk write", _rate, None))


def get_history(call):
    args, ids = call.args, {}
    if args.vmid and args.storage or not (args.vmid or args.node):
        raise Failure("Say whose history: vmid, or node, or node and storage.")
    if args.vmid:
        row = call.guest()
        ids = {"node": row["node"]}
        path = "/nodes/{node}/{kind}/{vmid}/rrddata"
        whose = "guest %s (%s)" % (args.vmid, text.line(row.get("name") or "-"))
    elif args.storage:
        path, whose = "/nodes/{node}/storage/{storage}/rrddata", "storage %s on %s" % (args.storage, args.node)
    else:
        path, whose = "/nodes/{node}/rrddata", "node %s" % args.node
    rows = [row for row in call.get(path, ids, timeframe=args.timeframe, cf="AVERAGE") or [] if len(row) > 1]
    if not rows:
        return result(call, {"timeframe": args.timeframe, "metrics": []},
                           "There is no history of %s in the last %s." % (whose, args.timeframe))
    metrics, lines = [], []
    for key, heading, show, whole in METRICS:
        metric = _metric(rows, key, whole)
        if metric:
            metrics.append(metric)
            lines.append("%-12s %s  average %s, maximum %s, last %s%s" % (
                heading, chart(metric["points"], metric.get("total")), show(metric["average"]), show(metric["maximum"]),
                show(metric["last"]), " of %s" % show(metric["total"]) if "total" in metric else ""))
    facts = {"timeframe": args.timeframe, "from": rows[0].get("time"), "to": rows[-1].get("time"), "metrics": metrics}
    return result(call, facts, "History of %s, the last %s" % (whose, args.timeframe), text.Shown("\n".join(lines)))


def _metric(rows, key, whole):
    """{metric, average, maximum, last, points, total} of one key of rrddata; None when there is nothing to say."""
    values = _numbers(rows, key)
    if not values or (max(values) == 0 and key in ("disk", "iowait")):  # Proxmox cannot see into a VM's disk and says 0
        return None
    metric = {"metric": key, "average": _short(sum(values) / len(values)), "maximum": _short(max(values)),
              "last": _short(values[-1]), "points": [_short(value) for value in averages(values)]}
    total = _numbers(rows, whole)[-1:] if whole else []
    if total and total[0]:
        metric["total"] = _short(total[0])
    return metric


def _numbers(rows, key):
    found = (text.normal("number", row.get(key)) for row in rows if row.get(key) is not None)
    return [float(value) for value in found if value is not None and value == value]


def _short(value):
    """A number with four digits that count; whole where it is large."""
    return int(round(value)) if abs(value) >= 10000 else float("%.4g" % value)


def averages(values):
    """At most POINTS averages of neighbouring values."""
    width = max(1, -(-len(values) // POINTS))
    return [sum(values[i:i + width]) / len(values[i:i + width]) for i in range(0, len(values), width)]


def chart(points, top=None):
    """A line of bars, from 0 to `top` (default: the largest)."""
    top = top or max(points) or 1.0
    return "".join(_BARS[int(min(7, max(0, point / top * 7.999)))] for point in points)


# -------------------------------------------------------------------------------------------------------------- pending

def _waiting(entries):
    return [{key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in change.items()}
            for change in guest.changes(guest.pending(entries)[1])]


PENDING = Table("change", Column("key", "option"), Column("now", kind="long"),
                Column("then", "after a restart", "long"), Column("removed", kind="bool"), rows=_waiting)


TOOLS = {
    "proxmox_get_guest_ips": Tool("GET /nodes/{node}/{kind}/{vmid}/interfaces", BASIC, Ips, get_guest_ips, IPS),
    "proxmox_get_vm_guest_info": Tool("GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo", BASIC, GuestInfo,
                                      get_vm_guest_info, INFO, "{subject}"),
    "proxmox_get_inside": Tool("GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo", BASIC, Inside, get_inside, INSIDE),
    "proxmox_get_history": Tool("GET /nodes/{node}/{kind}/{vmid}/rrddata", BASIC, History, get_history, HISTORY),
    "proxmox_get_pending": Tool("GET /nodes/{node}/{kind}/{vmid}/pending", BASIC, Pending, returns=PENDING,
                                says="{count} waiting for a restart of {subject}"),
}
