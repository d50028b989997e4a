"""Toolset: what is used - what fills a storage, who uses the most, what is committed and what still fits."""
import time
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest
from tools.base.answers import Table, data_only, result
from tools.base.failures import Failure
from tools.base.lists import chosen, cpu_of, none_chosen, who, without_figures
from tools.base.row import BASIC, AnyNode, Filtered, Paged, Tool
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import growth, of_cluster, space, until_full, volume_size
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on, owner_of
from tools.pve.text import Column

DAY = 86400


@dataclass
class StorageUsage(Paged):
    """What fills a storage: guests, backups, images, orphans; when it will be full."""
    storage: Annotated[str, Arg(format="storage")] = REQUIRED
    node: AnyNode = None


@dataclass
class Top(Filtered):
    """The guests, or nodes, that use the most right now."""
    by: Annotated[str, Arg(enum=("cpu", "memory", "disk", "network", "pressure"))] = "cpu"
    nodes: Annotated[Optional[bool], Arg("nodes instead")] = None
    most: Annotated[int, Arg("how many", minimum=1, maximum=100)] = 10


_COUNTS = {"vmid", "cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime", "netin", "netout", "diskread",
           "diskwrite"}


def _resources(call):
    """The rows of /cluster/resources, what counts in them as numbers even where Proxmox wrote text; without nulls."""
    return [{key: text.normal("number", value) if key in _COUNTS else value for key, value in row.items()
             if value is not None} for row in call.get("/cluster/resources") or ()]


# ------------------------------------------------------------------------------------------------- what fills a storage

#: content -> what its volumes are called
_CONTENTS = {"backup": "backups", "iso": "ISO images", "vztmpl": "container templates", "snippets": "snippets",
             "import": "images to import"}
_NOBODY = "volumes of nobody"
_LOOKED_INTO = 60               # guests whose configurations are read for discard and unreferenced volumes
USAGE = Table("row", Column("what"), Column("vmid", "VMID", "int"), Column("volumes", kind="int"),
              Column("size", kind="bytes"), Column("used", kind="bytes"), Column("note", kind="long"))


def get_storage_usage(call):
    name, resources = call.args.storage, _resources(call)
    row = _place(call, name, resources)
    ids, base = {"node": row["node"], "storage": name}, "/nodes/{node}/storage/{storage}/"
    content, status, history = call.together([(base + "content", ids, {}), (base + "status", ids, {}), (
        base + "rrddata", ids, {"timeframe": "month", "cf": "AVERAGE"})])
    for answer in (content, status):
        if isinstance(answer, Exception):
            raise answer
    guests, groups = {int(one["vmid"]): one for one in resources if one.get("type") in ("qemu", "lxc")}, {}
    for entry in content or ():
        volume = dict(entry, size=volume_size(entry) or 0,
                      vmid=int(entry.get("vmid") or owner_of(str(entry["volid"])) or 0))
        groups.setdefault(_belongs(volume, guests), []).append(volume)
    found, notes = _looked_into(call, name, [guests[vmid] for _, vmid in groups if vmid])
    rows = sorted((_group(what, vmid, volumes, found.get(vmid, ())) for (what, vmid), volumes in groups.items()),
                  key=lambda one: -one["size"])
    used, total = (text.normal("bytes", status.get(key)) or 0 for key in ("used", "total"))
    given = sum(one["size"] for one in rows if one["vmid"] or one["what"] == _NOBODY)
    if total and given > total:
        notes.append("Over-committed: its disks may grow to %s, %s of its size." % (text.size(given), text.percent(
            given / total)))
    unknown = used - sum(one["size"] if one["used"] is None else one["used"] for one in rows)
    if row.get("plugintype") in ("dir", "nfs", "cifs", "btrfs") and unknown > total / 20:
        notes.append("%s of it is in files that are no volumes of Proxmox, or that this token may not see." % text.size(
            unknown))
    notes.extend(_growth([] if isinstance(history, Exception) else history or [], used, total, call.host.now()))
    return result(call, rows, "Storage %s%s: %s used" % (
        name, "" if on(row.get("shared")) else " on " + row["node"], text.used_of(used, total)), notes, storage=name,
        node=row["node"], total_bytes=total, used_bytes=used, provisioned_bytes=given)


def _place(call, name, resources):
    """The row of a storage on the node asked for, or on the only one that has it; of a shared one on any that is up."""
    wanted = [row for row in resources if row.get("type") == "storage" and row.get("storage") == name
              and call.args.node in (None, row.get("node")) and row.get("status") == "available"]
    if not wanted:
        raise Failure("There is no storage %s that is available%s. proxmox_get_storage lists them." % (
            name, " on " + call.args.node if call.args.node else ""))
    if len(wanted) > 1 and not on(wanted[0].get("shared")):
        raise Failure("Each node has a storage %s of its own: say which node (%s)." % (
            name, ", ".join(sorted(str(row["node"]) for row in wanted))))
    return wanted[0]


def _belongs(volume, guests):
    """(what, vmid) under which a volume is counted."""
    content, vmid = volume.get("content"), volume["vmid"]
    if content in _CONTENTS:
        gone = content == "backup" and vmid and vmid not in guests
        return _CONTENTS[content] + (" of guests that are gone" if gone else ""), None
    return (who(guests[vmid]), vmid) if vmid in guests else (_NOBODY, None)


def _group(what, vmid, volumes, notes):
    used = [text.normal("bytes", volume["used"]) or 0 for volume in volumes if volume.get("used") is not None]
    states = sum(volume["size"] for volume in volumes if "-state-" in str(volume["volid"]))
    said = ["%s is memory of snapshots" % text.size(states)] if states else []
    if what == _NOBODY:
        said.append(text.listed([volume["volid"] for volume in volumes], 250))
    return {"what": what, "vmid": vmid, "volumes": len(volumes), "size": sum(volume["size"] for volume in volumes),
            "used": sum(used) if len(used) == len(volumes) else None, "note": "; ".join([*said, *notes]) or None}


def _looked_into(call, storage, owners):
    """({vmid: [what its configuration shows]}, notes): disks without discard, volumes that are attached to nothing."""
    if len(owners) > _LOOKED_INTO:
        return {}, ["The configurations of %d guests were not read: missing discard and lost volumes are not told."
                    % len(owners)]
    found = {}
    for row, config in call.answered("/nodes/{node}/{type}/{vmid}/config", sorted(
            owners, key=lambda row: row["vmid"])):
        here = [disk for disk in guest.disks(row["type"], config) if disk.storage == storage]
        for says, keys in (
                ("no discard on %s, so what is deleted inside stays taken", [
                    disk.key for disk in here if row["type"] == "qemu" and disk.use == "disk"
                    and disk.options.get("discard") != "on"]),
                ("%s is attached to nothing", [disk.key for disk in here if disk.use == "unused"])):
            if keys:
                found.setdefault(int(row["vmid"]), []).append(says % ", ".join(keys))
    return found, []


def _growth(history, used, total, now):
    """The sentence about the rate of the last month, and the day on which the storage is full at it."""
    (rate, days), left = growth(history), until_full(history, used, total)
    if left is None:
        return ["It has not grown in the last %d days." % days] if days else []
    return ["It grew by %s a day in the last %d days; at this rate it is full in %s%s." % (
        text.size(rate), days, text.plural(int(left / DAY), "day"), " (%s)" % time.strftime("%Y-%m-%d", time.gmtime(
            now + left)) if left < 3650 * DAY else "")]


# ---------------------------------------------------------------------------------------------------- who uses the most

WINDOW, APART = 180, 12         # seconds that rates are averaged over; between two looks where Proxmox keeps no metrics
_MOST_EXPORTED = 500            # guests up to which the metrics of the window are fetched
#: by -> keys of /cluster/resources that count up, and their names among the metrics of Proxmox
_RATES = {"disk": (("diskread", "disk_read"), ("diskwrite", "disk_write")),
          "network": (("netin", "net_in"), ("netout", "net_out"))}
_PRESSURES = ("cpu", "io", "memory")                    # parts of the time in which something waits for it
_MOST_ASKED = 3                 # lists or histories that are read for these, as they are told by one node each
#: by -> what a row is sorted by
_MEASURES = {"cpu": lambda row: (text.normal("number", row.get("cpu")) or 0) * (row.get("maxcpu") or 1),
             "memory": lambda row: row.get("mem") or 0,
             **dict.fromkeys(_RATES, lambda row: (row.get("first") or 0) + (row.get("second") or 0)),
             "pressure": lambda row: max(row.get("pressure_" + what, 0) for what in _PRESSURES)}


def _rate(key):
    return lambda row: text.size(row[key]) + "/s" if row.get(key) is not None else "-"


TOP = Table("row", Column("vmid", "VMID", "int"), Column("name"), Column("node"),
            Column("cpu", "CPU", "fraction", cpu_of), Column("mem", "memory", "bytes", space("mem", "maxmem")),
            Column("pressure", text=lambda row: ", ".join("%s %s" % (what, text.percent(row["pressure_" + what]))
                                                          for what in _PRESSURES if "pressure_" + what in row) or "-"),
            Column("first", "in / read", "bytes", _rate("first")),
            Column("second", "out / written", "bytes", _rate("second")),
            *data_only("number", "maxcpu"), *data_only("bytes", "maxmem"),
            *data_only("fraction", *("pressure_" + what for what in _PRESSURES)))


def get_top(call):
    args, resources, notes, rates = call.args, _resources(call), [], {}
    nodes = [row for row in resources if row.get("type") == "node" and row.get("status") == "online"]
    guests = [row for row in resources if row.get("type") in ("qemu", "lxc") and row.get("status") == "running"]
    rows, asked = chosen(nodes if args.nodes else guests, args), ""
    loads = ["%s CPU %s, memory %s" % (row["node"], text.percent(row.get("cpu") or 0), text.percent(
        (row.get("mem") or 0) / row["maxmem"])) for row in sorted(nodes, key=lambda row: str(row["node"]))[:20]
        if row.get("maxmem")]
    if loads and not args.nodes:
        notes.append("Nodes: %s." % "; ".join(loads))
    if args.by in _RATES:
        rates, over = _rates(call, resources, _RATES[args.by])
        notes.append("Rates are averages of %s." % over)
    elif args.by == "pressure":
        count, (rows, asked) = len(rows), _pressures(call, rows, sorted(nodes, key=lambda row: -(row.get("cpu") or 0)))
        notes.append("Pressure is the part of the time in which something waits for it.")
        if len(rows) < count:
            notes.append("Of %d more nothing is known: only the busiest nodes are asked; node=NODE asks another." % (
                count - len(rows)))
        asked = " on " + asked
    rows = sorted((dict(row, **dict(zip(("first", "second"), rates.get(row.get("id"), ())))) for row in rows),
                  key=_MEASURES[args.by], reverse=True)
    if args.nodes:
        notes.extend(without_figures(nodes or resources, call))
    elif not any(row.get("type") in ("qemu", "lxc") for row in resources):
        notes.extend(none_chosen((), args))
    shown = [dict(row, name=row.get("name") or row.get("node")) for row in rows[:args.most]]
    return result(call, shown, "The most by %s of %s%s" % (
        args.by, text.plural(len(rows), "node" if args.nodes else "running guest"), asked), notes)


def _pressures(call, rows, nodes):
    """(those of the rows of which it is told, with their pressure_*; the nodes asked, in words), of the first nodes
    that have any: each tells of its own."""
    kinds = ("rrddata",) if call.args.nodes else ("qemu", "lxc")
    places = {(row.get("node"), "rrddata" if call.args.nodes else row.get("type")) for row in rows}
    asked, told = [(node["node"], kind) for node in nodes for kind in kinds if (node["node"], kind) in places], {}
    asked = asked[:_MOST_ASKED]
    for (node, kind), answer in zip(asked, call.together([
            ("/nodes/{node}/" + kind, {"node": node}, {"timeframe": "hour", "cf": "AVERAGE"}
             if kind == "rrddata" else {}) for node, kind in asked])):
        for one in () if isinstance(answer, Exception) else answer or ():
            found = {"pressure_" + what: text.normal("number", one.get("pressure%ssome" % what)) for what in _PRESSURES}
            if None not in found.values():
                told["%s/%s" % (kind, one.get("vmid")) if "vmid" in one else "node/" + node] = {
                    what: value / 100 for what, value in found.items()}
    if rows and not told:
        raise Failure("Pressure is told by Proxmox VE 9 and later, with VM.Audit or Sys.Audit; here it is not. by=cpu "
                      "and by=disk show what uses the most.")
    return ([dict(row, **told[row["id"]]) for row in rows if row.get("id") in told],
            ", ".join(sorted({node for node, _ in asked})) or "no node")


def _rates(call, resources, keys):
    """({id: (rate, rate)}, of what time): from the metrics that Proxmox 8.3 and later keep, else from two looks."""
    try:
        if sum(row.get("type") in ("qemu", "lxc") for row in resources) <= _MOST_EXPORTED:
            points = (call.get("/cluster/metrics/export", history=1, **{"start-time": int(call.host.now()) - WINDOW})
                      or {}).get("data") or ()
            found = _of_points(points, [metric for _, metric in keys])
            if found:
                return found, "about %s" % text.duration(WINDOW)
    except PveError as error:
        if error.status not in (400, 403, 404, 501):
            raise
    call.progress(None, "looking twice, %d seconds apart" % APART)
    call.sleep(APART)
    then = {row.get("id"): row for row in resources}
    rates = {}
    for row in _resources(call):
        before = then.get(row.get("id"), {})
        passed = (row.get("uptime") or 0) - (before.get("uptime") or 0)
        if before and passed > 0:
            rates[row["id"]] = tuple(max(0, (row.get(key) or 0) - (before.get(key) or 0)) / passed
                                          for key, _ in keys)
    return rates, "%d seconds" % APART


def _of_points(points, metrics):
    """{id: (rate of the first metric, of the second)} of cumulative points: the last less the first of each series."""
    series = {}
    for point in points:
        if point.get("metric") in metrics:
            when, value = (text.normal("number", point.get(key)) for key in ("timestamp", "value"))
            if when is not None and value is not None:
                series.setdefault((str(point.get("id")), point["metric"]), []).append((when, value))
    found = {}
    for (name, metric), values in series.items():
        (since, first), (until, last) = min(values), max(values)
        if until > since:
            found.setdefault(name, [None, None])[metrics.index(metric)] = max(0, last - first) / (until - since)
    return found


# -------------------------------------------------------------------------------------------- committed against used

_MOST_GUESTS = 200              # whose history is read, a request each
_FEW = 10                       # guests that were asked for, whose peaks are told each
CAPACITY = Table("node", Column("node"), Column("cores", kind="int"), Column("vcpus", "vCPUs running", "int"),
                 Column("peak_cpu", "CPU peak", "fraction"), Column("memory", kind="bytes"),
                 Column("committed", "committed, running", "bytes"), Column("used", kind="bytes"),
                 Column("peak_memory", "memory peak", "fraction"), Column("fits", "still fits", "bytes"),
                 *data_only("bytes", "committed_all"))


def get_capacity(call):
    args, resources = call.args, _resources(call)
    everyone = [row for row in resources if row.get("type") in ("qemu", "lxc") and not on(row.get("template"))]
    guests = chosen(everyone, args)                     # looked into; a node's figures are those of all that are on it
    nodes = [row for row in resources if row.get("type") == "node" and row.get("status") == "online"
             and args.node in (None, row.get("node"))]
    histories = _histories(call, "/nodes/{node}/rrddata", nodes)
    rows = [_capacity(row, [one for one in everyone if one.get("node") == row["node"]], histories.get(row["id"]))
            for row in nodes]
    running = [row for row in guests if row.get("status") == "running"]
    notes, sizes = [], {}
    if len(running) > _MOST_GUESTS:
        notes.append("%d running guests are too many to look at the history of each: narrow it with node, pool, tag or "
                     "name to see which are too large or too small." % len(running))
    else:
        histories = _histories(call, "/nodes/{node}/{type}/{vmid}/rrddata", running)
        peaks = [(row, _peak(histories.get(row["id"]), "cpu"), _peak(histories.get(row["id"]), "mem", "maxmem"))
                 for row in running]
        sizes, said = _sizes(peaks)
        notes.extend(said)
        if len(guests) < len(everyone) and len(running) <= _FEW:
            notes += ["%s on %s, peaks: CPU %s of %s, memory %s of %s." % (
                text.capital(who(row)), row["node"], _told(cpu), text.plural(row.get("maxcpu") or 0, "core"),
                _told(memory), text.size(row.get("maxmem") or 0)) for row, cpu, memory in peaks]
    if args.name is None:
        notes.extend(_room(resources, args))
    notes.extend(without_figures(nodes or resources, call))
    notes.extend(() if everyone else none_chosen(everyone, args))
    notes.append("Committed is what running guests may take; still fits is memory neither committed nor used by the "
                 "node itself. Peaks are of the last month.")
    return result(call, rows, "%s, %s" % (text.plural(len(rows), "node"), text.plural(len(guests), "guest")), notes,
                  **sizes)


def _histories(call, path, rows):
    return {row["id"]: history for row, history in call.answered(path, rows, {"timeframe": "month", "cf": "MAX"})}


def _told(peak):
    return "unknown" if peak is None else text.percent(peak)


def _room(resources, args):
    """Sentences: what the running guests of each pool may take and do use; where disks can lie, and what is free."""
    pools = {}
    for row in resources:
        if row.get("type") in ("qemu", "lxc") and row.get("pool") and row.get("status") == "running" and args.node in (
                None, row.get("node")) and args.pool in (None, row["pool"]):
            pools.setdefault(row["pool"], []).append(row)
    yield from _some("Pools, running", ["%s %d vCPUs, %s committed, %s used" % (text.line(name), sum(
        int(one.get("maxcpu") or 0) for one in rows), *(text.size(sum(one.get(key) or 0 for one in rows))
                                                       for key in ("maxmem", "mem"))) for name, rows in pools.items()])
    places = [row for row in of_cluster(resources)
              if row.get("total") and {"images", "rootdir"} & set(row.get("content", ()))
              and (args.node in (None, row.get("node")) or args.node in row.get("nodes", ()))]
    places.sort(key=lambda row: -row["used_fraction"])
    yield from _some("Room for disks, the fullest first", ["%s%s %s of %s" % (
        row["storage"], " on " + row["node"] if "node" in row else "", text.size(row["total"] - row["used"]),
        text.size(row["total"])) for row in places])


def _some(what, parts, most=12):
    """The sentence "what: part; part" of the first parts; none when there are none."""
    return ["%s: %s%s." % (what, "; ".join(parts[:most]), " and %d more" % (len(parts) - most) if len(parts) > most
                           else "")] if parts else []


def _peak(history, key, whole=None):
    """The highest value of a key of rrddata, as a part of `whole` where that is given; None when nothing is known."""
    parts = [(text.normal("number", row.get(key)), text.normal("number", row.get(whole)) if whole else 1)
             for row in history or ()]
    return max((value / top for value, top in parts if value is not None and top), default=None)


def _capacity(row, guests, history):
    running = [one for one in guests if one.get("status") == "running"]
    committed = sum(one.get("maxmem") or 0 for one in running)
    memory, used = row.get("maxmem"), row.get("mem")
    own = max(0, (used or 0) - sum(one.get("mem") or 0 for one in running))
    return {"node": row["node"], "cores": row.get("maxcpu"),
            "vcpus": sum(int(one.get("maxcpu") or 0) for one in running),
            "peak_cpu": _peak(history, "cpu"), "memory": memory, "used": used, "committed": committed,
            "committed_all": sum(one.get("maxmem") or 0 for one in guests),
            "peak_memory": _peak(history, "memused", "memtotal"), "fits": memory and max(0, memory - own - committed)}


def _sizes(peaks):
    """({"oversized": [vmid], "starved": [vmid]}, sentences): by the peaks of the last month."""
    lists, why = {"starved": [], "oversized": []}, {"starved": [], "oversized": []}
    for row, cpu, memory in peaks:
        cpu, memory = (-1 if peak is None else peak for peak in (cpu, memory))
        cores, size = row.get("maxcpu") or 0, row.get("maxmem") or 0
        for kind, reasons in (("starved", (
                ("CPU up to %s" % text.percent(cpu), cpu >= 0.95),
                ("memory up to %s" % text.percent(memory), memory >= 0.95))), ("oversized", (
                    ("never more than %s of its %s" % (text.percent(memory), text.size(size)),
                     0 <= memory < 0.25 and size >= 2 << 30),
                    ("never more than %s of its %s" % (text.percent(cpu), text.plural(cores, "core")),
                     0 <= cpu < 0.1 and cores >= 4)))):
            said = [words for words, is_so in reasons if is_so]
            if said:
                lists[kind].append(row["vmid"])
                why[kind].append("%s (%s): %s" % (row["vmid"], text.line(row.get("name") or "-", 30), ", ".join(said)))
    return lists, _some("Too small", why["starved"], 15) + _some("Larger than needed", why["oversized"], 15)


TOOLS = {
    "proxmox_get_storage_usage": Tool("GET /nodes/{node}/storage/{storage}/content", BASIC, StorageUsage,
                                      get_storage_usage, USAGE),
    "proxmox_get_top": Tool("GET /cluster/resources", BASIC, Top, get_top, TOP, needs=("/vms VM.Audit",)),
    "proxmox_get_capacity": Tool("GET /cluster/resources", BASIC, Filtered, get_capacity, CAPACITY,
                                 needs=("/vms VM.Audit",), about="CPU and memory committed and used by node, the "
                                 "month's peaks, guests too large or small."),
}
