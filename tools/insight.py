"""Toolset: what is going on - the whole cluster at a glance, addresses and file systems of guests, history, pending changes."""
import time

from tools.guests import by_state, data_only, said
from tools.kit import (BASIC, Annotated, AnyNode, Arg, Column, Facts, Failure, Guest, Optional, Paged, PveError, Result, Table, Tool,
                       dataclass, text)


@dataclass
class Overview:
    """The cluster at a glance: quorum, nodes, guests, full storages, failed tasks, guests without backup job."""


@dataclass
class Ips(Guest):
    """IP addresses of a guest (of a VM by its agent)."""


@dataclass
class GuestInfo(Guest):
    """What a VM's agent tells: OS, host name, file systems and how full they are."""


@dataclass
class History:
    """History of a guest, node or storage (CPU, memory, network, disk) as averages, maxima and a small chart."""
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    node: AnyNode = None
    storage: Annotated[Optional[str], Arg(format="storage")] = None
    timeframe: Annotated[str, Arg(choices=("hour", "day", "week", "month", "year"))] = "day"


@dataclass
class Pending(Guest, Paged):
    """Changes of a guest's configuration that wait for its restart."""


# ------------------------------------------------------------------------------------------------------------- overview

FULL, DAY = 0.8, 86400
OVERVIEW = Facts(Column("cluster"), Column("quorate", kind="bool"), *data_only("any", "nodes", "guests", "storages", "failed_tasks",
                                                                              "guests_without_backup"))
_MOST = 15


def uncovered(guests, jobs):
    """The guests (of /cluster/resources) that no enabled backup job (of /cluster/backup) takes; templates are left out."""
    covered, pools = set(), set()
    for job in jobs:
        if str(job.get("enabled", 1)) == "0":
            continue
        if str(job.get("all", 0)) == "1":
            left_out = set(_list(job.get("exclude")))
            nodes = {job["node"]} if job.get("node") else None
            for guest in guests:
                if str(guest.get("vmid")) not in left_out and (nodes is None or guest.get("node") in nodes):
                    covered.add(str(guest.get("vmid")))
        elif job.get("pool"):
            pools.add(job["pool"])
        else:
            covered.update(_list(job.get("vmid")))
    return [g for g in guests if str(g.get("vmid")) not in covered and g.get("pool") not in pools and not int(g.get("template") or 0)]


def _list(words):
    return [part for part in str(words or "").replace(";", ",").split(",") if part]


def get_overview(call):
    notes = []

    def read(path, what, **params):
        try:
            return call.get(path, **params) or []
        except PveError as error:
            notes.append("%s could not be read: %s" % (what, str(error).split("\n")[0]))
            return None
    resources = call.get("/cluster/resources")
    status = read("/cluster/status", "The cluster's state")
    tasks = read("/cluster/tasks", "Tasks")
    jobs = read("/cluster/backup", "Backup jobs")
    guests = [r for r in resources if r.get("type") in ("qemu", "lxc")]
    cluster = next((r for r in status or [] if r.get("type") == "cluster"), {})
    lines, data = [], {}
    if cluster:
        data.update(cluster=cluster.get("name"), quorate=bool(int(cluster.get("quorate") or 0)))
        lines.append("Cluster %s: %s" % (text.line(cluster.get("name")), "quorate" if data["quorate"] else
                                         "NO QUORUM: nothing can be changed"))
    nodes = sorted((r for r in resources if r.get("type") == "node"), key=lambda r: str(r.get("node")))
    data["nodes"] = [{key: r[key] for key in ("node", "status", "cpu", "maxcpu", "mem", "maxmem", "uptime") if key in r} for r in nodes[:50]]
    for r in nodes[:_MOST]:
        lines.append("Node %s: %s%s" % (text.line(r.get("node")), r.get("status"), ", CPU %s of %s, memory %s" % (
            text.percent(float(r["cpu"])), text.plural(int(r["maxcpu"]), "core"), text.used_of(r.get("mem"), r.get("maxmem")))
            if r.get("maxmem") and "cpu" in r and r.get("maxcpu") else ""))
    down = [str(r.get("node")) for r in nodes if r.get("status") != "online"]
    if len(nodes) > _MOST:
        lines.append("... %d nodes in all; not online: %s" % (len(nodes), ", ".join(down) or "none"))
    data["guests"] = by_state(guests)
    lines.append("Guests: %s%s" % (len(guests), ": " + said(data["guests"]) if guests else ""))
    full = _full(resources)
    data["storages"] = full[:50]
    lines.append("Storages over %d %%: %s" % (FULL * 100, "; ".join("%s %s" % (s["storage"] + (" on " + s["node"] if s.get("node") else ""),
                 text.percent(s["used_fraction"])) for s in full[:_MOST]) + _more(full) or "none"))
    if tasks is not None:
        since = time.time() - DAY
        failed = [t for t in tasks if t.get("endtime") and float(t["endtime"]) >= since
                  and str(t.get("status")) != "OK" and not str(t.get("status")).startswith("WARNINGS")]
        data["failed_tasks"] = [{key: t[key] for key in ("upid", "node", "type", "id", "status") if t.get(key)} for t in failed[:_MOST]]
        lines.append("Failed tasks of a day: %d" % len(failed))
        lines.extend("  %s %s on %s: %s" % (t.get("type"), text.line(t.get("id") or ""), t.get("node"), text.line(t.get("status"), 120))
                     for t in failed[:5])
    if jobs is not None:
        bare = sorted(uncovered(guests, jobs), key=lambda g: int(g["vmid"]))
        data["guests_without_backup"] = [int(g["vmid"]) for g in bare[:100]]
        lines.append("Guests in no backup job: %d%s" % (len(bare), ": " + ", ".join(
            "%s (%s)" % (g["vmid"], text.line(g.get("name") or "-", 30)) for g in bare[:_MOST]) + _more(bare) if bare else ""))
    return Result("\n".join(["The cluster at a glance"] + lines + notes), data)


def _more(items):
    return " and %d more" % (len(items) - _MOST) if len(items) > _MOST else ""


def _full(resources):
    """Storages that are more than FULL full; a shared one once."""
    found, seen = [], set()
    for r in resources:
        if r.get("type") != "storage" or not r.get("maxdisk"):
            continue
        shared = bool(int(r.get("shared") or 0))
        key = r.get("storage") if shared else (r.get("node"), r.get("storage"))
        used = float(r.get("disk") or 0) / float(r["maxdisk"])
        if used >= FULL and key not in seen:
            seen.add(key)
            found.append({"storage": str(r.get("storage")), "used_fraction": round(used, 4), **({} if shared else {"node": str(r.get("node"))})})
    return sorted(found, key=lambda s: -s["used_fraction"])


# -------------------------------------------------------------------------------------------------------- inside a guest

IPS = Table("interface", Column("name"), Column("mac", "MAC"), Column("addresses", kind="list", text=lambda r: ", ".join(r.get("addresses", []))))
INFO = Facts(Column("os", "OS"), Column("hostname", "host name"), Column("kernel"), Column("timezone"), *data_only("any", "filesystems"))


def get_guest_ips(call):
    kind = call.guest()["type"]
    if kind == "qemu":
        found = (call.get("/nodes/{node}/{kind}/{vmid}/agent/network-get-interfaces", {"kind": kind}) or {}).get("result") or []
    else:
        found = call.get("/nodes/{node}/{kind}/{vmid}/interfaces", {"kind": kind}) or []
    rows = []
    for entry in found:
        addresses = ["%s/%s" % (a.get("ip-address"), a.get("prefix")) for a in entry.get("ip-addresses") or [] if a.get("ip-address")]
        addresses = addresses or [entry[key] for key in ("inet", "inet6") if entry.get(key)]
        rows.append({"name": str(entry.get("name")), "mac": str(entry.get("hardware-address") or entry.get("hwaddr") or ""),
                     "addresses": addresses})
    return call.listing(rows, "%s %s has %s" % ("VM" if kind == "qemu" else "Container", call.args.vmid, text.plural(len(rows), "interface")),
                        None if rows else "A container that does not run has none.")


def get_vm_guest_info(call):
    def agent(name):
        return (call.get("./agent/" + name) or {}).get("result") or {}
    system = agent("get-osinfo")
    facts = {"os": system.get("pretty-name") or system.get("name"), "kernel": system.get("kernel-release")}
    for name, key, field in (("get-host-name", "hostname", "host-name"), ("get-timezone", "timezone", "zone")):
        try:
            facts[key] = agent(name).get(field)
        except PveError:
            continue                                                # older agents do not know it
    try:
        mounted = agent("get-fsinfo") or []
    except PveError as error:
        return call.answer(facts, call.subject, "File systems: %s" % error)
    systems = []
    for entry in sorted(mounted, key=lambda f: str(f.get("mountpoint"))):
        row = {"mountpoint": str(entry.get("mountpoint")), "type": str(entry.get("type"))}
        if entry.get("total-bytes"):
            row.update(total=int(entry["total-bytes"]), used=int(entry.get("used-bytes") or 0))
        systems.append(row)
    lines = ["%s (%s): %s" % (text.line(f["mountpoint"]), text.line(f["type"]), text.used_of(f.get("used"), f.get("total"))) for f in systems[:50]]
    return call.answer(dict(facts, filesystems=systems[:50]), call.subject, "\n".join(["File systems:"] + lines) if lines else None)


# -------------------------------------------------------------------------------------------------------------- history

HISTORY = Facts(Column("timeframe"), Column("from", "from", "time"), Column("to", "to", "time"), *data_only("any", "metrics"))
POINTS = 48
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def _rate(value):
    return text.size(value) + "/s"


#: key in rrddata -> (heading, how to show it, key of the whole that it is a part of)
METRICS = {"cpu": ("CPU", text.percent, None), "iowait": ("IO wait", text.percent, None), "loadavg": ("load", lambda v: "%.2f" % v, None),
           "mem": ("memory", text.size, "maxmem"), "memused": ("memory", text.size, "memtotal"), "disk": ("disk", text.size, "maxdisk"),
           "used": ("used", text.size, "total"), "rootused": ("root disk", text.size, "roottotal"), "netin": ("network in", _rate, None),
           "netout": ("network out", _rate, None), "diskread": ("disk read", _rate, None), "diskwrite": ("disk write", _rate, None)}


def get_history(call):
    args = call.args
    if args.vmid:
        path, ids, whose = "/nodes/{node}/{kind}/{vmid}/rrddata", {"kind": call.guest()["type"]}, "guest %s" % args.vmid
        ids["node"] = call.guest()["node"]
    elif args.node and args.storage:
        path, ids, whose = "/nodes/{node}/storage/{storage}/rrddata", {}, "storage %s on %s" % (args.storage, args.node)
    elif args.node:
        path, ids, whose = "/nodes/{node}/rrddata", {}, "node %s" % args.node
    else:
        raise Failure("Say whose history: vmid, or node, or node and storage. Nothing was sent.")
    rows = [r for r in call.get(path, ids, timeframe=args.timeframe, cf="AVERAGE") or [] if len(r) > 1]
    if not rows:
        return call.answer({"timeframe": args.timeframe, "metrics": []}, "No history of %s in this %s." % (whose, args.timeframe))
    metrics, lines = [], []
    for key, (heading, show, whole) in METRICS.items():
        values = [float(r[key]) for r in rows if isinstance(r.get(key), (int, float, str)) and _is_number(r[key])]
        if not values or (max(values) == 0 and key in ("disk", "iowait")):
            continue
        total = next((float(r[whole]) for r in reversed(rows) if whole and _is_number(r.get(whole))), None)
        metric = {"metric": key, "average": sum(values) / len(values), "maximum": max(values), "last": values[-1]}
        if total:
            metric["total"] = total
        metrics.append(metric)
        lines.append("%-12s %s  average %s, maximum %s, last %s%s" % (heading, chart(values, total if whole else None), show(metric["average"]),
                     show(metric["maximum"]), show(metric["last"]), " of %s" % show(total) if total else ""))
    facts = {"timeframe": args.timeframe, "from": rows[0]["time"], "to": rows[-1]["time"], "metrics": metrics}
    return call.answer(facts, "History of %s" % whose, "\n".join(lines))


def _is_number(value):
    try:
        return value is not None and float(value) == float(value)
    except (TypeError, ValueError):
        return False


def chart(values, top=None):
    """A line of at most POINTS bars of the values' averages, from 0 to `top` (default: the largest)."""
    width = max(1, -(-len(values) // POINTS))
    points = [sum(values[i:i + width]) / len(values[i:i + width]) for i in range(0, len(values), width)]
    top = top or max(points) or 1.0
    return "".join(_BARS[min(7, max(0, int(p / top * 7.999)))] for p in points)


# -------------------------------------------------------------------------------------------------------------- pending

PENDING = Table("change", Column("key", "option"), Column("value", "now", "long"), Column("pending", "after a restart", "long"),
                Column("delete", "removed", "bool"))


def get_pending(call):
    kind = call.guest()["type"]
    rows = [{"key": e["key"], **{k: str(e[k]) for k in ("value", "pending") if e.get(k) is not None}, **({"delete": True} if e.get("delete") else {})}
            for e in call.get("/nodes/{node}/{kind}/{vmid}/pending", {"kind": kind}) if "pending" in e or e.get("delete")]
    for row in rows:
        if row["key"] == "cipassword":
            row.update({key: "***" for key in ("value", "pending") if key in row})
    waiting = "%s %s" % (text.plural(len(rows), "change"), "waits" if len(rows) == 1 else "wait") if rows else "No change waits"
    return call.listing(rows, "%s for a restart of guest %s" % (waiting, call.args.vmid))


TOOLS = {
    "proxmox_get_overview": Tool("GET /cluster/resources", BASIC, Overview, get_overview, OVERVIEW),
    "proxmox_get_guest_ips": Tool("GET /nodes/{node}/{kind}/{vmid}/interfaces", BASIC, Ips, get_guest_ips, IPS),
    "proxmox_get_vm_guest_info": Tool("GET /nodes/{node}/qemu/{vmid}/agent/get-osinfo", BASIC, GuestInfo, get_vm_guest_info, INFO),
    "proxmox_get_history": Tool("GET /nodes/{node}/{kind}/{vmid}/rrddata", BASIC, History, get_history, HISTORY),
    "proxmox_get_pending": Tool("GET /nodes/{node}/{kind}/{vmid}/pending", BASIC, Pending, get_pending, PENDING),
}
