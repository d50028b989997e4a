"""Toolset: the cluster as a whole - its nodes, its state, the next free vmid."""
from tools.kit import (BASIC, ELEVATED, Annotated, Arg, Column, Facts, NodeArgs, Optional, PveError, Result, Table, Tool,
                       dataclass, text)


@dataclass
class NoArguments:
    """(nothing)"""


@dataclass
class Nodes(NoArguments):
    """List the nodes of the cluster: state, CPU, memory, root disk, uptime."""


@dataclass
class ClusterStatus(NoArguments):
    """Health of the cluster: quorum, nodes online, guests by state, storages."""


@dataclass
class NextVmid:
    """Next free vmid, or whether a given one is free. Nothing is reserved."""
    vmid: Annotated[Optional[int], Arg("check this one", format="vmid")] = None


@dataclass
class NodeStatus(NodeArgs):
    """One node in detail: CPU, load, memory, swap, root disk, kernel, version."""


NODES = Table("node", Column("node"), Column("status"),
              Column("cpu", "CPU", "fraction", lambda r: "%s of %s" % (text.percent(r["cpu"]), text.plural(r["maxcpu"], "core"))
                     if "cpu" in r and "maxcpu" in r else "-"),
              Column("maxcpu", kind="int", shown=False),
              Column("mem", "memory", "bytes", lambda r: text.used_of(r.get("mem"), r.get("maxmem"))),
              Column("maxmem", kind="bytes", shown=False),
              Column("disk", "root disk", "bytes", lambda r: text.used_of(r.get("disk"), r.get("maxdisk"))),
              Column("maxdisk", kind="bytes", shown=False),
              Column("uptime", kind="seconds"), Column("ssl_fingerprint", kind="text", shown=False))


def get_nodes(call):
    nodes = sorted(call.get("/nodes"), key=lambda n: n["node"])
    online = sum(n.get("status") == "online" for n in nodes)
    note = None
    if any(n.get("status") == "online" and "maxmem" not in n for n in nodes):
        note = "No figures for some nodes: the token lacks Sys.Audit on /nodes/NODE."
    return call.answer(nodes, "%s, %d online" % (text.plural(len(nodes), "node"), online), note)


TOOLS = {
    "proxmox_get_nodes": Tool("GET /nodes", BASIC, Nodes, get_nodes, NODES),
}
