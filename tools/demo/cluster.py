"""The cluster as a whole: version, resources, status, next id, log, replication."""
from tools.demo import lists
from tools.demo.model import bad, die
from tools.demo.rules import enum, integer, string
from tools.demo.wire import ALL, Route, perm


def version(call):
    release = call.world.version
    return {"release": ".".join(release.split(".")[:2]), "version": release + (".1" if release.count(".") == 1 else ""),
            "repoid": "2a5fa54a8503f96d"}


def resources(call):
    """GET /cluster/resources: what pvestatd knows of everything one may see."""
    kind = call.p.get("type")
    rows = []
    if kind in (None, "vm"):
        for guest in call.world.guests.values():
            if call.may("/vms/%d" % guest.vmid, "VM.Audit"):
                rows.append(lists.resource_of_guest(call.world, guest))
    if kind in (None, "node"):
        rows += [lists.resource_of_node(call, node) for node in call.world.nodes.values()]
    if kind in (None, "storage"):
        for storage in call.world.storages.values():
            if storage.enabled and call.may("/storage/" + storage.name, "Datastore.Audit", "Datastore.AllocateSpace"):
                rows += lists.resources_of_storage(call.world, storage)
    if kind is None:
        for name in call.world.pools:
            if call.may("/pool/" + name, "Pool.Audit"):
                rows.append({"id": "/pool/" + name, "type": "pool", "pool": name})
    if kind in (None, "sdn"):
        for node in call.world.nodes:
            for zone in call.world.sdn.get("zones", {}):
                if call.may("/sdn/zones/" + zone, "SDN.Audit"):
                    rows.append({"id": "sdn/%s/%s" % (node, zone), "type": "sdn", "sdn": zone, "node": node,
                                 "status": "unknown" if node in call.world.offline else "ok"})
    return rows


def status(call):
    world = call.world
    rows = [{"id": "cluster", "type": "cluster", "name": world.name, "version": 7, "nodes": len(world.nodes),
             "quorate": int(world.quorate)}]
    for node in world.nodes.values():
        rows.append({"id": "node/" + node.name, "type": "node", "name": node.name, "nodeid": node.number, "ip": node.ip,
                     "level": "", "local": int(node.name == world.local),
                     "online": int(node.name not in world.offline)})
    return rows


def next_id(call):
    vmid = call.p.get("vmid")
    if vmid is None:
        return str(call.world.next_vmid())
    if vmid in call.world.guests:
        bad(vmid="VM %d already exists" % vmid)
    return str(vmid)


def log(call):
    """GET /cluster/log: newest first; without Sys.Syslog on / only one's own entries."""
    rows = call.world.cluster_log
    if not call.may("/", "Sys.Syslog"):
        rows = [row for row in rows if row["user"] in (call.user, call.user.partition("!")[0])]
    return [dict(row, id="%d:%s" % (row["uid"], row["node"])) for row in reversed(rows)][:call.p.get("max", 500)]


def tasks(call):
    """GET /cluster/tasks: the recent ones of all nodes that are up."""
    rows = []
    for task in reversed(list(call.world.tasks.all.values())):
        if task.node in call.world.offline:
            continue
        if task.user == call.user or task.user.startswith(call.user.partition("!")[0] + "!") and "!" not in call.user \
                or call.may("/nodes/" + task.node, "Sys.Audit"):
            row = task.row()
            row.pop("tokenid", None)
            row["saved"] = "1" if not task.running else "0"
            rows.append(row)
    rows.sort(key=lambda row: ("endtime" in row, -row["starttime"]))
    return rows[:25 * len(call.world.nodes)]


def replication(call):
    return [{key: job[key] for key in ("id", "guest", "jobnum", "type", "source", "target", "schedule", "disable")}
            for job in call.world.replication.values() if call.may("/vms/%d" % job["guest"], "VM.Audit")]


def node_replication(call):
    """GET /nodes/{node}/replication: the jobs whose guest is here, with their state."""
    rows = []
    for job in call.world.replication.values():
        guest = call.world.guests.get(job["guest"])
        if not guest or guest.node != call.node or not call.may("/vms/%d" % job["guest"], "VM.Audit"):
            continue
        if call.p.get("guest") in (None, job["guest"]):
            row = dict(job, vmtype=guest.kind)
            for key in ("last_sync", "last_try"):
                row[key] = int(row[key])
            minutes = int(job["schedule"].rpartition("/")[2])
            row["next_sync"] = int(call.world.t - call.world.t % (60 * minutes) + 60 * minutes)
            rows.append(row)
    return rows


def _replication_job(call):
    row = next((row for row in node_replication(call) if row["id"] == call.p["id"]), None)
    if row is None:
        die("no such replication job '%s'" % call.p["id"])
    return row


def schedule_now(call):
    job = _replication_job(call)
    call.need("/vms/%d" % job["guest"], "VM.Replicate")
    stored = call.world.replication[job["id"]]
    stored["last_try"] = call.world.t
    if not stored.get("error"):
        stored["last_sync"] = call.world.t


_JOB = {"id": string("The job, such as 100-0.", format="pve-replication-job-id", pattern=r"[1-9][0-9]{2,8}-\d{1,9}")}
_AUDIT = perm("/", "Sys.Audit")

ROUTES = [
    Route("GET /version", version, ALL, "Version of the node's Proxmox VE."),
    Route("GET /cluster/resources", resources, ALL, "Everything in the cluster, in one list.", {
        "type": enum("Only these.", "vm storage node sdn")}),
    Route("GET /cluster/status", status, _AUDIT, "The cluster and its nodes."),
    Route("GET /cluster/nextid", next_id, ALL, "The next free id of a guest.", {
        "vmid": integer("Check this one.", 100, 999999999, format="pve-vmid")}),
    Route("GET /cluster/log", log, ALL, "The cluster's log.", {"max": integer("At most so many.", 1)}),
    Route("GET /cluster/tasks", tasks, ALL, "Recent tasks of all nodes."),
    Route("GET /cluster/replication", replication, ALL, "Replication jobs."),
    Route("GET /nodes/{node}/replication", node_replication, ALL, "State of the replication jobs on this node.", {
        "guest": integer("Only this guest.", 100, 999999999, format="pve-vmid")}),
    Route("GET /nodes/{node}/replication/{id}/status", _replication_job, ALL, "State of a replication job.", _JOB),
    Route("POST /nodes/{node}/replication/{id}/schedule_now", schedule_now, ALL, "Replicate now.", _JOB),
]
