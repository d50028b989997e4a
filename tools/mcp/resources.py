"""Resources: the cluster, its nodes, storages and guests, and a task's log, as pve://... JSON. Reads only.

A resource is what a tool answers, as data: the same requests, guardrails, scrubbing and size cap. It exists when the
cluster says so (one request to /cluster/resources), so that what is not found and what failed are told apart.
"""
import json
import re
from urllib.parse import quote, unquote

from tools.base.call import Call
from tools.base.failures import Failure
from tools.base.row import BASIC, NoArgs, Tool
from tools.mcp.engine import NotFound
from tools.mcp.message import INTERNAL, RpcError
from tools.mcp.run import unreadable
from tools.mcp.several import each
from tools.pve import text
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import fits
from tools.pve.scrub import scrub

#: Nodes, storages and guests listed at most, each; the others are read by their template all the same.
MOST = 100
#: Seconds from the beginning for which one of several clusters is waited for when another has answered.
PATIENCE = 2.0
JSON, _SCHEME = "application/json", "pve://"


class Resource:
    """A kind of resource: URI template, {tool: its arguments}, title, description, and of a list the key of its row.
    The first tool that is allowed here answers; %s in its name is vm or lxc. Its arguments: {name: id, or a value for
    all}."""

    def __init__(self, template, tools, title, description, row=None):
        self.template, self.tools, self.title, self.description, self.row = template, tools, title, description, row
        self.ids = re.findall(r"\{(\w+)\}", template)
        self.name = re.sub(r"[^a-z]+", "-", re.sub(r"\{\w+\}", "", template.split("://")[1])).strip("-")
        self._pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template)))

    def match(self, uri):
        """{id: value} of a URI of this kind, each in its format; None for another URI."""
        found = self._pattern.fullmatch(uri)
        ids = {name: unquote(value) for name, value in found.groupdict().items()} if found else {}
        return ids if found and all(fits(name, value) for name, value in ids.items()) else None

    def uri(self, ids):
        """The URI of these ids, percent-encoded as RFC 6570 wants it."""
        return re.sub(r"\{(\w+)\}", lambda match: quote(str(ids[match.group(1)]), safe=""), self.template)

    def named(self, kind):
        """`tools` for a guest of this kind (qemu, lxc)."""
        return {name.replace("%s", "lxc" if kind == "lxc" else "vm"): how for name, how in self.tools.items()}


_GUEST = {"vmid": "vmid", "node": "node"}
RESOURCES = (
    Resource("pve://cluster/status", {"proxmox_get_cluster_status": {}}, "Cluster status",
             "Quorum, nodes, guests by state, storages that are nearly full"),
    Resource("pve://node/{node}/status", {"proxmox_get_node_status": {"node": "node"}, "proxmox_get_nodes": {}},
             "Node status", "CPU, memory, root disk, uptime", "node"),
    Resource("pve://node/{node}/network/{bridge}", {"proxmox_get_network_iface": {"node": "node", "iface": "bridge"}},
             "Network interface", "Configuration of a bridge or another interface of a node"),
    Resource("pve://storage/{node}/{storage}", {"proxmox_get_storage": {"node": "node"}}, "Storage",
             "State and usage of a storage, as its node sees it", "storage"),
    Resource("pve://guest/{vmid}/status", {"proxmox_get_vm_status": dict(_GUEST, type="type")}, "Guest status",
             "Current state of a VM or container: CPU, memory, uptime, HA, lock"),
    Resource("pve://guest/{vmid}/config", {"proxmox_get_%s_config": _GUEST}, "Guest configuration",
             "Disks, networks and options of a VM or container, pending changes"),
    Resource("pve://guest/{vmid}/snapshot/{snapname}", {"proxmox_get_%s_config": dict(_GUEST, snapshot="snapname")},
             "Guest configuration in a snapshot",
             "Configuration of a VM or container as it was when the snapshot was taken"),
    Resource("pve://task/{upid}/log", {"proxmox_get_task": {"upid": "upid", "lines": 500}}, "Task log",
             "State of a task and the last 500 lines of its log"),
)
CLUSTER, NODE, _, STORAGE, STATUS, CONFIG, _, TASK = RESOURCES
TEMPLATES = tuple(resource for resource in RESOURCES if resource.ids)

#: What is said of a task, a snapshot or an interface that does not exist.
_NOT_THERE = re.compile(r"no such task|snapshot '[^']*' does not exist|There is no interface", re.IGNORECASE)


# ---------------------------------------------------------------------------------------------------- what there is now

def opened(host, request):
    """A Call to look around with: its guardrails are those of every call."""
    return Call(host, "resources", Tool("GET /cluster/resources", BASIC, NoArgs), NoArgs(), request)


def _look(host, request):
    """Raw rows of /cluster/resources by type: {"node": [...], "storage": [...], "guest": [...]}; one request."""
    found = {"node": [], "storage": [], "guest": []}
    for row in opened(host, request).get("/cluster/resources") or []:
        kind = "guest" if row.get("type") in ("qemu", "lxc") else row.get("type")
        if kind in found:
            found[kind].append(row)
    found["node"].sort(key=lambda row: str(row.get("node")))
    found["storage"].sort(key=lambda row: (str(row.get("storage")), str(row.get("node"))))
    found["guest"].sort(key=lambda row: int(row["vmid"]))
    return found


# ------------------------------------------------------------------------------------------------------ what MCP serves

def served(app, one, many, *arguments):
    """What `one` gives of a Host, or `many` of an app that has several; RpcError says why it cannot be read."""
    try:
        return many(app, *arguments) if app.several else one(app.host(), *arguments)
    except (Cancelled, NotFound):
        raise
    except (Failure, PveError) as error:
        raise RpcError(INTERNAL, text.visible(scrub(str(error)))) from None
    except Exception as error:                          # as in a call of a tool
        raise RpcError(INTERNAL, unreadable(app.log, error)) from None


def listed(host, request):
    """The resources (list of MCP Resource) that there are now: of nodes, storages and guests the first MOST each."""
    found = _look(host, request)
    found["storage"] = _shared_once(found["storage"])
    rows = [_entry(host, CLUSTER, {}, CLUSTER.title, _left_out(found))]
    rows += [_entry(host, NODE, row, "Node %s: status" % row.get("node")) for row in found["node"][:MOST]]
    rows += [_entry(host, STORAGE, row, "Storage %s on node %s" % (row.get("storage"), row.get("node")))
             for row in found["storage"][:MOST]]
    for row in found["guest"][:MOST]:
        words = "%s %s %s" % ("VM" if row["type"] == "qemu" else "Container", row["vmid"],
                              text.line(row.get("name", "")))
        rows += [_entry(host, STATUS, row, words + ": status"), _entry(host, CONFIG, row, words + ": configuration")]
    return text.clean(scrub([row for row in rows if row]))


def _shared_once(rows):
    """Rows of storages, a shared one only once: as the first node sees it that has it available."""
    kept = {}
    for row in rows:
        key = (row.get("storage"), None if str(row.get("shared")) == "1" else row.get("node"))
        if key not in kept or (row.get("status") == "available" != kept[key].get("status")):
            kept[key] = row
    return list(kept.values())


def _allowed(host, name):
    return host.selection.off(host.entries[name]) is None


def _left_out(found):
    counts = ["%d of %s" % (MOST, text.plural(len(rows), kind)) for kind, rows in found.items() if len(rows) > MOST]
    return " Listed here are %s; read the others through the template." % ", ".join(counts) if counts else ""


def _entry(host, resource, row, title, note=""):
    """The MCP Resource for a row; None when its tool is not allowed, or an id is of a form that cannot be read back."""
    if not any(_allowed(host, name) for name in resource.named(row.get("type"))) or not all(
            fits(name, str(row.get(name))) for name in resource.ids):
        return None
    return {"uri": resource.uri(row), "name": "-".join([resource.name] + [str(row[name]) for name in resource.ids]),
            "title": title, "description": resource.description + "." + note, "mimeType": JSON}


def listed_of(app, request):
    """As `listed`, of all of several clusters that answer: pve://CLUSTER/... are theirs."""
    found = each(app, list(app.hosts), listed, request, PATIENCE)
    if all(isinstance(rows, str) for rows in found.values()):
        raise Failure("No cluster answered. %s" % " ".join("%s: %s" % one for one in found.items()))
    return [dict(row, uri=_of_many(row["uri"], name), name="%s-%s" % (name, row["name"]),
                 title="%s: %s" % (name, row["title"]))
            for name, rows in found.items() if not isinstance(rows, str) for row in rows]


def read_of(app, request, uri):
    """As `read`, of one of several clusters."""
    name, _, _ = uri[len(_SCHEME):].partition("/")
    if not uri.startswith(_SCHEME) or name not in app.hosts:
        raise NotFound()
    return [dict(one, uri=uri) for one in read(app.hosts[name](), request, of_one(uri))]


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
    """The contents (list of one) of a resource; NotFound when there is none, Failure and PveError as of a call."""
    for resource in RESOURCES:
        ids = resource.match(uri)
        if ids is not None:
            break
    else:
        raise NotFound()
    if resource not in (CLUSTER, TASK):
        ids = _placed(_look(host, request), ids)
    found = {name: arguments for name, arguments in resource.named(ids.get("type")).items() if _allowed(host, name)}
    if not found:
        raise Failure("The tools that read this (%s) are switched off here, or elevated and not allowed "
                      "(PROXMOX_ALLOW_ELEVATED)." % ", ".join(resource.named(ids.get("type"))))
    name, arguments = next(iter(found.items()))
    answer = host.run(name, {key: ids.get(value, value) for key, value in arguments.items()}, request)
    if answer.failed:
        if _NOT_THERE.search(answer.text):
            raise NotFound()
        raise Failure(" ".join(answer.text.split()))
    data = answer.data
    if resource.row and "items" in data:
        data = next((row for row in data["items"] if row.get(resource.row) == ids[resource.row]), None)
    if data is None:
        raise NotFound()
    return [{"uri": uri, "mimeType": JSON, "text": json.dumps(data, ensure_ascii=False)}]


def _placed(found, ids):
    """`ids` with node and type of the guest; NotFound unless the cluster has the node, storage or guest of them."""
    kind = "guest" if "vmid" in ids else "storage" if "storage" in ids else "node"
    for row in found[kind]:
        if all(str(row.get(name)) == ids[name] for name in ("vmid", "storage", "node") if name in ids):
            return dict(ids, node=row["node"], type=row.get("type"))
    raise NotFound()
