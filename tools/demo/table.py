"""The route table: all rows of all modules, and the directories between them."""
from tools.demo import (access, agent, backups, change, cluster, copies, create, disks, firewall, guests, ha, nodes,
                        power, snapshots, storage, tasklist)
from tools.demo.rules import string
from tools.demo.wire import ALL, NODE, ROOT, Route, Routes, perm, perm_any

MODULES = (access, agent, backups, change, cluster, copies, create, disks, firewall, guests, ha, nodes, power,
           snapshots, storage,
           tasklist)

#: Directories: GET lists what is below. (template, check, key of the rows)
_INDEXES = [
    ("/", ALL, "subdir"), ("/access", ALL, "subdir"), ("/cluster", ALL, "name"),
    ("/cluster/backup-info", ROOT, "subdir"),
    ("/cluster/bulk-action", ALL, "name"), ("/cluster/bulk-action/guest", ALL, "name"),
    ("/cluster/config", perm("/", "Sys.Audit"), "name"), ("/cluster/firewall", ALL, "name"),
    ("/cluster/ha", perm("/", "Sys.Audit"), "id"), ("/cluster/ha/status", ALL, "name"),
    ("/cluster/sdn", perm("/sdn", "SDN.Audit"), "id"), ("/nodes/{node}", ALL, "name"), ("/nodes/{node}/apt", ALL, "id"),
    ("/nodes/{node}/certificates", ALL, "name"), ("/nodes/{node}/disks", ALL, "name"),
    ("/nodes/{node}/firewall", ALL, "name"),
    ("/nodes/{node}/hardware", ALL, "type"), ("/nodes/{node}/replication/{id}", ALL, "name"),
    ("/nodes/{node}/sdn", ALL, "name"),
    ("/nodes/{node}/services/{service}", perm(NODE, "Sys.Audit"), "subdir"),
    ("/nodes/{node}/storage/{storage}",
     perm_any("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace"), "subdir"),
    ("/nodes/{node}/tasks/{upid}", ALL, "name"),
] + [(template % kind, ALL, key) for kind in ("qemu", "lxc") for template, key in (
    ("/nodes/{node}/%s/{vmid}", "subdir"), ("/nodes/{node}/%s/{vmid}/firewall", "name"),
    ("/nodes/{node}/%s/{vmid}/snapshot/{snapname}", "cmd"), ("/nodes/{node}/%s/{vmid}/status", "subdir"))] + [
    ("/nodes/{node}/qemu/{vmid}/agent", ALL, "name")]
_PARAMETERS = {"/nodes/{node}/replication/{id}": {"id": string("The job.", format="pve-replication-job-id",
                                                               pattern=r"[1-9][0-9]{2,8}-\d{1,9}")},
               "/nodes/{node}/services/{service}": nodes.SERVICE}
#: Directories that pveproxy asks the node itself for.
_REMOTE = ("/nodes/{node}/disks", "/nodes/{node}/sdn", "/nodes/{node}/qemu/{vmid}", "/nodes/{node}/qemu/{vmid}/status",
           "/nodes/{node}/qemu/{vmid}/agent", "/nodes/{node}/lxc/{vmid}", "/nodes/{node}/lxc/{vmid}/status")


def _index(template, key, routes):
    start = template.rstrip("/") + "/"
    names = sorted({route.template[len(start):].split("/")[0] for route in routes if route.template.startswith(start)})
    rows = [{key: name} for name in names if name and not name.startswith("{")]

    def index(call):
        if "vmid" in call.p and call.route.proxy:
            call.guest("qemu" if "/qemu/" in template else "lxc")
        return rows
    return index


def _all():
    routes = [row for module in MODULES for row in module.ROUTES]
    return routes + [Route("GET " + template, _index(template, key, routes), check, "What is below.",
                           _PARAMETERS.get(template),
                           template in _REMOTE) for template, check, key in _INDEXES]


TABLE = Routes(_all())
