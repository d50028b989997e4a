"""Resources: the cluster, its nodes, storages and guests, and a task's log, as pve://... JSON. Reads only.

A resource is what a tool answers, as data: the same requests, guardrails, scrubbing and size cap. It exists when the
cluster says so (one request to /cluster/resources), so that what is not found and what failed are told apart.
"""
import json
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from tools.base.call import Call
from tools.base.failures import Refused
from tools.base.row import BASIC, Tool
from tools.mcp.engine import NotFound
from tools.mcp.message import INTERNAL, RpcError
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import fits
from tools.pve.scrub import scrub

#: Nodes, storages and guests listed at most, each; the others are read by their template all the same.
MOST = 100
#: Seconds from the beginning for which one of several clusters is waited for when another has answered.
PATIENCE = 2.0
JSON, _SCHEME = "application/json", "pve://"


class Failed(RpcError):
    """Proxmox, or a setting, refused the read; str(error) says why."""

    def __init__(self, reason):
        super().__init__(INTERNAL, text.visible(scrub(reason)))


class Resource:
    """A kind of resource: URI template, tool(s) that answer it, title, description, and ids -> that tool's arguments.

    tools: of several the first one that is allowed here; a function makes the name out of "qemu" or "lxc".
    pick(data, ids): the part of the tool's data that it is, None when missing.
    """

    def __init__(self, template, tools, title, description, arguments=lambda ids: {}, pick=lambda data, ids: data):
        self.template, self.tools, self.title, self.description = template, tools, title, description
        self.arguments, self.pick = arguments, pick
        self.ids = re.findall(r"\{(\w+)\}", template)
        self.name = re.sub(r"[^a-z]+", "-", re.sub(r"\{\w+\}", "", template.split("://")[1])).strip("-")
        self._pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))

    def match(self, uri):
        """{id: value} of a URI of this kind, each in its format; None for another URI."""
        found = self._pattern.fullmatch(uri)
        if not found:
            return None
        ids = {name: unquote(value) for name, value in found.groupdict().items()}
        return ids if all(fits(name, value) for name, value in ids.items()) else None

    def uri(self, ids):
        """The URI of these ids, percent-encoded as RFC 6570 wants it."""
        return re.sub(r"\{(\w+)\}", lambda match: quote(str(ids[match.group(1)]), safe=""), self.template)


def _node_row(data, ids):
    """The node of proxmox_get_nodes' list; proxmox_get_node_status answers with the node itself."""
    return _row(data, "node", ids) if "items" in data else data


def _row(data, key, ids):
    return next((row for row in data["items"] if row.get(key) == ids[key]), None)


def _config(kind):
    return {"qemu": "proxmox_get_vm_config", "lxc": "proxmox_get_lxc_config"}[kind]


CLUSTER = Resource("pve://cluster/status", ("proxmox_get_cluster_status",), "Cluster status",
                   "Quorum, nodes, guests by state, storages that are nearly full")
NODE = Resource("pve://node/{node}/status", ("proxmox_get_node_status", "proxmox_get_nodes"), "Node status",
                "CPU, memory, root disk, uptime", lambda ids: {"node": ids["node"]}, _node_row)
BRIDGE = Resource("pve://node/{node}/network/{bridge}", ("proxmox_get_network_iface",), "Network interface",
                  "Configuration of a bridge or another interface of a node",
                  lambda ids: {"node": ids["node"], "iface": ids["bridge"]})
STORAGE = Resource("pve://storage/{node}/{storage}", ("proxmox_get_storage",), "Storage",
                   "State and usage of a storage, as its node sees it", lambda ids: {"node": ids["node"]},
                   lambda data, ids: _row(data, "storage", ids))
STATUS = Resource("pve://guest/{vmid}/status", ("proxmox_get_vm_status",), "Guest status",
                  "Current state of a VM or container: CPU, memory, uptime, HA, lock",
                  lambda ids: {"vmid": ids["vmid"], "node": ids["node"], "type": ids["type"]})
CONFIG = Resource("pve://guest/{vmid}/config", (_config,), "Guest configuration",
                  "Disks, networks and options of a VM or container, pending changes",
                  lambda ids: {"vmid": ids["vmid"], "node": ids["node"]})
SNAPSHOT = Resource("pve://guest/{vmid}/snapshot/{snapname}", (_config,), "Guest configuration in a snapshot",
                    "Configuration of a VM or container as it was when the snapshot was taken",
                    lambda ids: {"vmid": ids["vmid"], "node": ids["node"], "snapshot": ids["snapname"]})
TASK = Resource("pve://task/{upid}/log", ("proxmox_get_task",), "Task log",
                "State of a task and the last 500 lines of its log", lambda ids: {"upid": ids["upid"], "lines": 500})

RESOURCES = (CLUSTER, NODE, BRIDGE, STORAGE, STATUS, CONFIG, SNAPSHOT, TASK)
TEMPLATES = tuple(resource for resource in RESOURCES if resource.ids)

#: What is said of a task, a snapshot or an interface that does not exist.
_NOT_THERE = re.compile(r"no such task|snapshot '[^']*' does not exist|There is no interface", re.IGNORECASE)


# ---------------------------------------------------------------------------------------------------- what there is now

@dataclass
class _Nothing:
    """(no argument)"""


_EVERYTHING = Tool("GET /cluster/resources", BASIC, _Nothing)


def opened(host, request):
    """A Call to look around with: its guardrails are those of every call."""
    return Call(host, "resources", _EVERYTHING, _Nothing(), request)


def inventory(call):
    """Raw rows of /cluster/resources by type: {"node": [...], "storage": [...], "guest": [...]}; one request."""
    found = {"node": [], "storage": [], "guest": []}
    for row in call.get("/cluster/resources") or []:
        kind = "guest" if row.get("type") in ("qemu", "lxc") else row.get("type")
        if kind in found:
            found[kind].append(row)
    found["node"].sort(key=lambda row: str(row.get("node")))
    found["storage"].sort(key=lambda row: (str(row.get("storage")), str(row.get("node"))))
    found["guest"].sort(key=lambda row: int(row["vmid"]))
    return found


def _look(host, request):
    try:
        return inventory(opened(host, request))
    except (PveError, Refused) as error:
        raise Failed(str(error)) from None


def _tool(host, resource, kind):
    """The name of the tool that answers for a resource: switched on, and its tier allowed; None when there is none."""
    for name in resource.tools:
        name = name(kind) if callable(name) else name
        if host.selection.off(host.entries[name]) is None:
            return name
    return None


# ------------------------------------------------------------------------------------------------------ what MCP serves

def listed(host, request):
    """The resources (list of MCP Resource) that there are now: of nodes, storages and guests the first MOST each."""
    found = _look(host, request)
    found["storage"] = _shared_once(found["storage"])
    rows = [_entry(host, CLUSTER, {}, CLUSTER.title, _left_out(found))]
    for row in found["node"][:MOST]:
        rows.append(_entry(host, NODE, row, "Node %s: status" % row.get("node")))
    for row in found["storage"][:MOST]:
        rows.append(_entry(host, STORAGE, row, "Storage %s on node %s" % (row.get("storage"), row.get("node"))))
    for row in found["guest"][:MOST]:
        kind = "VM" if row["type"] == "qemu" else "Container"
        words = "%s %s %s" % (kind, row["vmid"], text.line(row.get("name", "")))
        rows.append(_entry(host, STATUS, row, words + ": status"))
        rows.append(_entry(host, CONFIG, row, words + ": configuration"))
    return text.clean(scrub([row for row in rows if row]))


def _shared_once(rows):
    """Rows of storages, a shared one only once: as the first node sees it that has it available."""
    kept = {}
    for row in rows:
        key = (row.get("storage"), None if str(row.get("shared")) == "1" else row.get("node"))
        if key not in kept or (row.get("status") == "available" != kept[key].get("status")):
            kept[key] = row
    return list(kept.values())


def _left_out(found):
    counts = ["%d of %s" % (MOST, text.plural(len(rows), kind)) for kind, rows in found.items() if len(rows) > MOST]
    return " Listed here are %s; read the others through the template." % ", ".join(counts) if counts else ""


def _entry(host, resource, row, title, note=""):
    """The MCP Resource for a row; None when its tool is not allowed, or an id is of a form that cannot be read back."""
    if _tool(host, resource, row.get("type")) is None:
        return None
    if not all(fits(name, str(row.get(name))) for name in resource.ids):
        return None
    return {"uri": resource.uri(row), "name": "-".join([resource.name] + [str(row[name]) for name in resource.ids]),
            "title": title, "description": resource.description + "." + note, "mimeType": JSON}


def listed_of(clusters, request):
    """As `listed`, of all of several clusters that answer: pve://CLUSTER/... are theirs."""
    found = clusters.each(list(clusters.hosts), listed, request, PATIENCE)
    if all(isinstance(rows, str) for rows in found.values()):
        raise Failed("No cluster answered. %s" % " ".join("%s: %s" % one for one in found.items()))
    return [dict(row, uri=_of_many(row["uri"], name), name="%s-%s" % (name, row["name"]),
                 title="%s: %s" % (name, row["title"]))
            for name, rows in found.items() if not isinstance(rows, str) for row in rows]


def read_of(clusters, request, uri):
    """As `read`, of one of several clusters."""
    name, _, _ = uri[len(_SCHEME):].partition("/")
    if not uri.startswith(_SCHEME) or name not in clusters.hosts:
        raise NotFound()
    return [dict(one, uri=uri) for one in read(clusters.hosts[name](), request, of_one(uri))]


def _of_many(uri, name):
    return _SCHEME + name + "/" + uri[len(_SCHEME):]


def of_one(uri):
    """What is left of the URI, or template, of one of several clusters without that cluster."""
    return _SCHEME + uri[len(_SCHEME):].partition("/")[2]


def templates(several=False):
    """The resource templates (list of MCP ResourceTemplate)."""
    return [{"uriTemplate": _of_many(resource.template, "{cluster}") if several else resource.template,
             "name": resource.name, "title": resource.title,
             "description": resource.description + ".", "mimeType": JSON} for resource in TEMPLATES]


def read(host, request, uri):
    """The contents (list of one) of a resource; NotFound when there is none, Failed when it cannot be read."""
    for resource in RESOURCES:
        ids = resource.match(uri)
        if ids is not None:
            break
    else:
        raise NotFound()
    if resource not in (CLUSTER, TASK):
        ids = _placed(_look(host, request), ids)
    name = _tool(host, resource, ids.get("type"))
    if name is None:
        raise Failed("The tools that read this (%s) are switched off here, or elevated and not allowed "
                     "(PROXMOX_ALLOW_ELEVATED)." % ", ".join(name(ids["type"]) if callable(name) else name
                                                             for name in resource.tools))
    answer = host.run(name, {} if name == "proxmox_get_nodes" else resource.arguments(ids), request)
    if answer.failed:
        if _NOT_THERE.search(answer.text):
            raise NotFound()
        raise Failed(" ".join(answer.text.split()))
    data = resource.pick(answer.data, ids)
    if data is None:
        raise NotFound()
    return [{"uri": uri, "mimeType": JSON, "text": json.dumps(data, ensure_ascii=False)}]


def _placed(found, ids):
    """`ids` with node and type of the guest; NotFound unless the cluster has the node, storage or guest of them."""
    if "vmid" in ids:
        row = next((row for row in found["guest"] if str(row["vmid"]) == ids["vmid"]), None)
        ids = dict(ids, node=row["node"], type=row["type"]) if row else None
    elif "storage" in ids:
        ids = ids if any(row.get("storage") == ids["storage"] and row.get("node") == ids["node"]
                         for row in found["storage"]) else None
    elif not any(row.get("node") == ids["node"] for row in found["node"]):
        ids = None
    if ids is None:
        raise NotFound()
    return ids
