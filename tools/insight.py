"""Toolset: what is going on - what is inside guests, and the history of guests, nodes and storages."""
from dataclasses import dataclass
from typing import Annotated, List, Optional

from tools.base import guest
from tools.base.answers import Facts, data_only, result
from tools.base.command import agent_said
from tools.base.failures import Failure
from tools.base.lists import who
from tools.base.row import BASIC, AnyNode, Tool
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import space
from tools.pve import text
from tools.pve.text import Column


@dataclass
class Inside:
    """OS, host name, addresses and file systems of guests."""
    vmids: Annotated[List[str], Arg("or names", min_length=1, max_length=50)] = REQUIRED


@dataclass
class History:
    """History of a guest, node or storage."""
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    node: AnyNode = None
    storage: Annotated[Optional[str], Arg("with node", format="storage")] = None
    timeframe: Annotated[str, Arg(enum=("hour", "day", "week", "month", "year"))] = "day"


# ------------------------------------------------------------------------------------------------------- inside a guest

_LOCAL = ("127.", "::1/", "fe80:", "169.254.")
#: File systems that are images or made by the system: full, or empty, and no news.
_NO_DISKS = ("squashfs", "iso9660", "udf", "tmpfs", "devtmpfs", "overlay", "fuse.lxcfs", "efivarfs", "CDFS")
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
    lines = []
    for one in told:
        facts = [one.get("os"), one.get("hostname"), ", ".join(address.split("/")[0] for address in one["addresses"])]
        known = "; ".join(text.line(fact, 1000) for fact in facts if fact)
        name, notes = who(dict(one, type=rows[one["vmid"]].get("type"))), list(one["notes"])
        lines.append(": ".join([text.capital(name), known or (notes.pop(0) if notes else "it tells nothing")]))
        lines += ["    " + line for line in [*map(_described, one["filesystems"]), *notes]]
    silent = sum(rows[vmid] == {} or _silent(found[vmid]) or not found[vmid] for vmid in found)
    if silent == len(told):
        raise Failure("\n".join(lines))
    return result(call, {"guests": told, "total": len(told)}, "Inside %s%s" % (text.plural(len(told), "guest"), (
        ", %d of which do not tell" % silent if silent else "")), text.Shown("\n".join(lines)))


def _silent(found):
    """Whether nobody answered the first question (to refuse one is an answer)."""
    first = found.get("agent/get-osinfo", found.get("config"))
    return isinstance(first, Exception) and "Agent error" not in str(first)


def _inside(call, vmid, row, found):
    """What is known of one guest (dict): vmid, name, node, os, hostname, addresses, filesystems, notes (why something
    is not known). row: of /cluster/resources; found: {what was asked: what came of it}."""
    said = {name.rpartition("/")[2]: answer for name, answer in found.items() if not isinstance(answer, Exception)}
    notes = {" ".join(call.explained(answer).split("\n")): None for answer in found.values()
             if isinstance(answer, Exception)}
    if not found:
        notes = ["It is %s." % guest.told(row) if row else "There is no such guest, or the token may not see it."]
    one = {"vmid": vmid, "name": row.get("name"), "node": row.get("node")}
    if row.get("type") == "lxc":
        config, interfaces = said.get("config") or {}, said.get("interfaces")
        one.update(os=config.get("ostype"), hostname=config.get("hostname"))
        systems = _mounted(row, config)
    else:
        said = {name: agent_said(answer) or {} for name, answer in said.items()}
        system, interfaces = said.get("get-osinfo", {}), said.get("network-get-interfaces")
        one.update(os=system.get("pretty-name") or system.get("name"),
                   hostname=said.get("get-host-name", {}).get("host-name"))
        systems = [system for system in map(_filesystem, said.get("get-fsinfo", ())) if system["type"] not in _NO_DISKS]
        systems.sort(key=lambda row: (-(row["used"] or 0) / (row["total"] or 1), row["mountpoint"]))
    addresses, most = list(_reachable(interfaces or ())), max(3, _LINES // len(call.args.vmids))
    one.update(addresses=addresses[:_FEW], filesystems=list(map(_known, systems[:most])), notes=list(notes) + [
        "%d more %s are not shown." % (len(rows) - shown, what) for rows, shown, what in (
            (addresses, _FEW, "addresses"), (systems, most, "file systems")) if len(rows) > shown])
    return _known(one)


def _known(row):
    return {key: value for key, value in row.items() if value is not None}


def _reachable(interfaces):
    """The addresses that lead beyond the guest, of raw interfaces of the agent, or of a container (before 9 with inet
    and inet6 only)."""
    for entry in interfaces:
        for address in ["/".join(str(one[key]) for key in ("ip-address", "prefix") if one.get(key) is not None)
                        for one in entry.get("ip-addresses") or [] if isinstance(one, dict) and one.get("ip-address")
                        ] or [str(entry[key]) for key in ("inet", "inet6") if entry.get(key)]:
            if not address.startswith(_LOCAL):
                yield address


def _mounted(row, config):
    """The root disk and the mount points of a container; how full it is, Proxmox knows of the first, while it runs."""
    used = text.normal("bytes", row.get("disk")) if guest.is_on(row) else None
    systems = [{"mountpoint": "/" if disk.key == "rootfs" else disk.options.get("mp", "-"), "type": disk.key,
                "device": disk.volid, "total": disk.size, "used": used if disk.key == "rootfs" else None}
               for disk in guest.disks("lxc", config) if not disk.key.startswith("unused")]
    return sorted(systems, key=lambda system: -(system["used"] or 0))


def _filesystem(entry):
    devices = [disk["dev"] for disk in entry.get("disk") or [] if isinstance(disk, dict) and disk.get("dev")]
    total, used = (text.normal("bytes", entry.get(key)) for key in ("total-bytes", "used-bytes"))
    return {"mountpoint": str(entry.get("mountpoint")), "type": str(entry.get("type")), "device": (
        devices or [entry.get("name") or None])[0], "total": total or None, "used": (used or 0) if total else None}


def _described(row):
    """"/ (ext4, /dev/sda1): 13 GiB of 31 GiB (42 %)"; of a mount point only Proxmox's size is known."""
    return "%s (%s): %s" % (text.line(row["mountpoint"]), ", ".join(
        text.line(row[key], 100) for key in ("type", "device") if key in row), space("used", "total")(row))


# -------------------------------------------------------------------------------------------------------------- history

HISTORY = Facts(*data_only("text", "timeframe"), Column("from", kind="time"), Column("to", kind="time"),
                *data_only("any", "metrics"))
_DAYS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31, "year": 366}


def _rate(value):
    return text.size(value) + "/s"


#: (key in rrddata, heading, how to show it, key of the whole that it is a part of)
METRICS = (("cpu", "CPU", text.percent, None), ("iowait", "IO wait", text.percent, None),
           ("loadavg", "load", "{:.2f}".format, None),
           ("mem", "memory", text.size, "maxmem"), ("memused", "memory", text.size, "memtotal"),
           ("disk", "disk", text.size, "maxdisk"), ("used", "used", text.size, "total"),
           ("rootused", "root disk", text.size, "roottotal"), ("netin", "network in", _rate, None),
           ("netout", "network out", _rate, None), ("diskread", "disk read", _rate, None),
           ("diskwrite", "disk write", _rate, None))


def get_history(call):
    args = call.args
    if args.vmid and args.storage or not (args.vmid or args.node):
        raise Failure("Say whose history: vmid, or node, or node and storage.")
    if args.vmid:
        row = call.guest()
        path, whose = "./rrddata", "guest %s (%s)" % (args.vmid, text.line(row.get("name") or "-"))
    elif args.storage:
        path, whose = "/nodes/{node}/storage/{storage}/rrddata", "storage %s on %s" % (args.storage, args.node)
    else:
        path, whose = "/nodes/{node}/rrddata", "node %s" % args.node
    rows = [{key: number for key, number in ((key, text.normal("number", value)) for key, value in row.items())
             if number is not None} for row in call.get(path, timeframe=args.timeframe, cf="AVERAGE") or []]
    rows = [row for row in rows if len(row) > 1 and "time" in row]
    rows = [row for row in rows if row["time"] > rows[-1]["time"] - _DAYS[args.timeframe] * 86400]      # more is sent
    if not rows:
        return result(call, {"timeframe": args.timeframe, "metrics": []},
                      "There is no history of %s in the last %s." % (whose, args.timeframe))
    metrics, lines = [], []
    for key, heading, show, whole in METRICS:
        values = {text.moment(row["time"]): row[key] for row in rows if key in row}
        if not values or max(values.values()) == 0 and key in ("disk", "iowait"):   # the disk of a VM is told as 0
            continue
        when, last = max(values, key=values.get), list(values.values())[-1]
        metrics.append({"metric": key, "average": sum(values.values()) / len(values), "maximum": values[when],
                        "maximum_at": when, "last": last})
        lines.append("%s: average %s, maximum %s (%s), last %s" % (
            heading, show(metrics[-1]["average"]), show(values[when]), text.when(when), show(last)))
        for total in [row[whole] for row in rows if whole in row][-1:]:
            metrics[-1]["total"] = total
            lines[-1] += " of %s" % show(total)
    facts = {"timeframe": args.timeframe, "from": rows[0]["time"], "to": rows[-1]["time"], "metrics": metrics}
    return result(call, facts, "History of %s, the last %s" % (whose, args.timeframe), text.Shown("\n".join(lines)))


TOOLS = {
    "proxmox_get_inside": Tool("GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo", BASIC, Inside, get_inside, INSIDE),
    "proxmox_get_history": Tool("GET /nodes/{node}/{kind}/{vmid}/rrddata", BASIC, History, get_history, HISTORY),
}
