"""Toolset: the cluster as a whole - its nodes, its state, the next free vmid."""
from tools.base.answers import Facts, Table, data_only, result
from tools.base.guest import by_state, counted, locked, with_states
from tools.base.lists import cpu_of, without_figures
from tools.base.row import BASIC, ELEVATED, NoArgs, NodeArgs, Tool
from tools.base.storage import NEARLY_FULL, missing_from, of_cluster, space
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.text import Column


# ---------------------------------------------------------------------------------------------------------------- nodes

_LOAD = [Column("cpu", "CPU", "fraction", cpu_of), Column("mem", "memory", "bytes", space("mem", "maxmem")),
         *data_only("int", "maxcpu"), *data_only("bytes", "maxmem", "maxdisk")]
_DISK = Column("disk", "root disk", "bytes", space("disk", "maxdisk"))


def _node(row):
    """A raw node without what is empty, and without the figures of one that is down."""
    stale = () if row.get("status") == "online" else ("cpu", "mem", "disk", "uptime")
    return {key: value for key, value in row.items() if value != "" and key not in stale}


def _online(states):
    """", 1 online (offline: pve3; unknown: pve2)", as it follows the number of nodes; states: {name: its status}. A
    node is unknown when it is in the cluster and has not reported for minutes (pvestatd)."""
    others = {}
    for name, state in states.items():
        if state != "online":
            others.setdefault(text.line(state or "unknown"), []).append(name)
    if not others:
        return ("", ", online", ", all online")[min(2, len(states))]
    return ", %d online (%s)" % (sum(state == "online" for state in states.values()), "; ".join(
        "%s: %s" % (state, text.listed(names, 400)) for state, names in sorted(others.items())))


NODES = Table("node", Column("node"), Column("status"), *_LOAD, _DISK, Column("uptime", kind="seconds"),
              *data_only("text", "level", "ssl_fingerprint"), each=_node, sort=("node",), notes=without_figures,
              summary=lambda rows: _online({row["node"]: row.get("status") for row in rows}))


def _processor(row):
    if "cpu_model" not in row:
        return "-"
    return row["cpu_model"] + (" (%s)" % text.plural(row["sockets"], "socket") if "sockets" in row else "")


#: what our data calls it -> where it is in the reply of /nodes/{node}/status
_WHERE = {
    "mem": ("memory", "used"), "maxmem": ("memory", "total"), "mem_available": ("memory", "available"),
    "swap": ("swap", "used"), "maxswap": ("swap", "total"), "disk": ("rootfs", "used"), "maxdisk": ("rootfs", "total"),
    "maxcpu": ("cpuinfo", "cpus"), "cpu_model": ("cpuinfo", "model"), "sockets": ("cpuinfo", "sockets"),
    "cores": ("cpuinfo", "cores"), "ksm_shared": ("ksm", "shared"), "boot_mode": ("boot-info", "mode"),
    "secureboot": ("boot-info", "secureboot")}


def _status(reply):
    parts = {key: value for key, value in reply.items() if isinstance(value, dict)}
    found = {ours: parts.get(part, {}).get(key) for ours, (part, key) in _WHERE.items()}
    loads = [text.normal("number", load) for load in reply.get("loadavg") or []]
    found.update(ksm_shared=found["ksm_shared"] or None)
    return dict(reply, **found, kernel=parts.get("current-kernel", {}).get("release") or reply.get("kversion"),
                loadavg=loads if loads and None not in loads else None)


NODE_STATUS = Facts(*data_only("text", "node"), *_LOAD, Column("mem_available", "memory available", "bytes"),
                    Column("swap", "swap", "bytes", space("swap", "maxswap")), _DISK, Column("uptime", kind="seconds"),
                    Column("loadavg", "load (1, 5, 15 min)", "any",
                           lambda row: ", ".join("%.2f" % load for load in row.get("loadavg", [])) or "-"),
                    Column("wait", "waiting for I/O", "fraction"),
                    Column("ksm_shared", "shared by KSM", "bytes"), Column("cpu_model", "processor", text=_processor),
                    Column("pveversion", "version"), Column("kernel"), Column("boot_mode", "boot", text=lambda row: str(
                        row.get("boot_mode", "-")) + (", secure boot" if row.get("secureboot") else "")),
                    *data_only("bytes", "maxswap"), *data_only("int", "sockets", "cores"),
                    *data_only("bool", "secureboot"), each=_status)


# -------------------------------------------------------------------------------------------------------------- cluster

STATUS = Facts(*data_only("text", "cluster"), *data_only("bool", "quorate"),
               *data_only("any", "nodes", "guests", "storages_nearly_full", "storages_lost"))
_MEMBERS = Table("node", Column("node"), Column("status"), *data_only("bool", "online"), Column("ip", "address"),
                 *_LOAD, Column("uptime", kind="seconds"), *data_only("int", "nodeid"), *data_only("bool", "local"))


def get_cluster_status(call):
    try:
        status, note = call.get("/cluster/status") or [], None
    except PveError as error:
        if error.status != 403:
            raise
        status = [dict(row, type="node", name=row["node"], online=row.get("status") == "online")
                  for row in call.get("/nodes") or []]
        note = "Quorum and addresses are not known: the token lacks Sys.Audit on /."
    resources = call.get("/cluster/resources") or []
    cluster = next((row for row in status if row.get("type") == "cluster"), None)
    members = _members(status, resources)
    online = {row["node"] for row in members if row["online"]}
    guests, unread = with_states(call, [row for row in resources if row.get("type") in ("qemu", "lxc")])
    count = {"total": len(guests), "vms": sum(row["type"] == "qemu" for row in guests),
             "containers": sum(row["type"] == "lxc" for row in guests), "by_status": by_state(guests),
             "locked": [{"vmid": row.get("vmid"), "lock": row["lock"]} for row in guests if row.get("lock")]}
    places = of_cluster(resources)
    full = sorted((row for row in places if row.get("used_fraction", 0) >= NEARLY_FULL),
                  key=lambda row: -row["used_fraction"])
    lost = [dict(row, not_on=missing_from(row, online)) for row in places if missing_from(row, online)]
    facts = {"nodes": members, "guests": count, "storages_nearly_full": full, "storages_lost": lost}
    if cluster:
        facts.update(cluster=cluster.get("name"), quorate=on(cluster.get("quorate")))
    notes = [text.table(_MEMBERS.columns, members), *_guests(count), *_storages(places, full, lost), *unread, note]
    return result(call, facts, _headline(cluster, members, note), notes)


def _members(status, resources):
    """Normalised rows of the nodes: who is in the cluster, and how each one that is online is doing."""
    figures = {row.get("node"): row for row in resources if row.get("type") == "node"}
    members = []
    for row in sorted((row for row in status if row.get("type") == "node"), key=lambda row: str(row.get("name"))):
        there, known = on(row.get("online")), figures.get(row.get("name"), {})
        members.append(dict(row, node=row.get("name"), online=there, local=on(row.get("local")), status=row.get(
            "status") or ("online" if there else "offline"), **{key: known.get(key) if there else None for key in (
                "cpu", "maxcpu", "mem", "maxmem", "uptime")}))
    return _MEMBERS.data(members)


def _headline(cluster, members, note):
    nodes = text.plural(len(members), "node") + _online({row["node"]: row["status"] for row in members})
    if cluster is None:
        return nodes if note else "A single node, no cluster: " + nodes
    quorum = "quorate" if on(cluster.get("quorate")) else \
        "NO QUORUM: no configuration can be changed and no guest started until more than half of the votes are back. " \
        "Stopping works, but what is stopped cannot be started again"
    return "Cluster %s: %s; %s" % (text.line(cluster.get("name", "")), quorum, nodes)


def _guests(count):
    if not count["total"]:
        yield "No guests: there are none, or the token lacks VM.Audit on /vms."
        return
    yield "%s (%s, %s): %s" % (text.plural(count["total"], "guest"), text.plural(count["vms"], "VM"),
                               text.plural(count["containers"], "container"), counted(count["by_status"]))
    if count["locked"]:
        yield "Locked: " + locked(count["locked"])


def _storages(places, full, lost):
    if not places:
        yield "No storages: there are none, or the token lacks Datastore.Audit on /storage."
    else:
        said = ", ".join("%s%s %s" % (row["storage"], " on " + row["node"] if "node" in row else "", text.used_of(
            row["used"], row["total"])) for row in full)
        yield "%s, %s nearly full (from %s)%s" % (text.plural(len(places), "storage"), len(full) or "none",
                                                  text.percent(NEARLY_FULL), ": " * bool(full) + text.line(said, 1000))
    if lost:
        yield "Storages not available on a node that is online: " + text.listed(
            ("%s (%s)" % (row["storage"], ", ".join(row["not_on"])) for row in lost), 400)


NEXT = Facts(Column("vmid", kind="int"), each=lambda free: {"vmid": free})


TOOLS = {
    "proxmox_get_nodes": Tool("GET /nodes", BASIC, NoArgs, returns=NODES,
                              about="Nodes of the cluster: state, CPU, memory, root disk, uptime."),
    "proxmox_get_node_status": Tool("GET /nodes/{node}/status", ELEVATED, NodeArgs, returns=NODE_STATUS,
                                    says="Node {node}",
                                    about="One node in detail: CPU, load, memory, swap, root disk, kernel, version."),
    "proxmox_get_cluster_status": Tool("GET /cluster/status", BASIC, NoArgs, get_cluster_status, STATUS,
                                       about="Health of the cluster: quorum, nodes online, guests by state, storages "
                                       "nearly full."),
    "proxmox_get_next_vmid": Tool("GET /cluster/nextid", BASIC, NoArgs, returns=NEXT, says="Free now, not reserved:",
                                  about="Next free vmid. It is not reserved."),
}
