"""The cluster as a whole: version, resources, status, next id, log, replication, high availability."""
import time

from tools.demo import calendar, lists
from tools.demo.model import bad, die
from tools.demo.power import fulfil
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.tasks import visible
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
    rows = [dict(task.row(), saved=str(int(not task.running))) for task in reversed(list(call.world.tasks.all.values()))
            if task.node not in call.world.offline and visible(call, task)]
    for row in rows:
        del row["pid"], row["pstart"]
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
            rows.append(dict(job, vmtype=guest.kind, last_sync=int(job["last_sync"]), last_try=int(job["last_try"]),
                             next_sync=calendar.next_event(job["schedule"], call.world.t)))
    return rows


def _replication_job(call):
    return next((row for row in node_replication(call) if row["id"] == call.p["id"]), None) or die(
        "no such replication job '%s'" % call.p["id"])


def schedule_now(call):
    job = _replication_job(call)
    call.need("/vms/%d" % job["guest"], "VM.Replicate")
    stored = call.world.replication[job["id"]]
    stored["last_try"] = call.world.t
    if not stored.get("error"):
        stored["last_sync"] = call.world.t


_JOB = {"id": string("The job, such as 100-0.", format="pve-replication-job-id", pattern=r"[1-9][0-9]{2,8}-\d{1,9}")}
_AUDIT = perm("/", "Sys.Audit")


def _sid(call, sid):
    """vm:100 of "100" or "vm:100"."""
    if not sid.isdigit():
        return sid
    return call.world.guests[int(sid)].sid if int(sid) in call.world.guests else die("no such resource '%s'" % sid)


def _resource(call):
    sid = _sid(call, call.p["sid"])
    return call.world.ha["resources"].get(sid) or die("no such resource '%s'" % sid)


def ha_resources(call):
    return [dict(row, digest="5b" * 20) for row in call.world.ha["resources"].values()
            if call.p.get("type") in (None, row["type"])]


def add_ha(call):
    sid = _sid(call, call.p["sid"])
    kind, _, vmid = sid.partition(":")
    guest = call.world.guests.get(int(vmid)) if vmid.isdigit() else None
    if call.p.get("group"):
        bad(group="invalid parameter - groups are migrated to rules")
    if kind not in ("vm", "ct") or guest is None:
        die("resource '%s' does not exist in cluster" % sid)
    if (guest.kind == "qemu") != (kind == "vm"):
        die("resource '%s' is not a %s" % (sid, "VM" if kind == "vm" else "container"))
    if sid in call.world.ha["resources"]:
        die("resource ID '%s' already defined" % sid)
    if guest.template:
        die("unable to add template '%s' as HA resource" % sid)
    row = {"sid": sid, "type": kind, "state": call.p.get("state", "started"),
           "max_restart": call.p.get("max_restart", 1),
           "max_relocate": call.p.get("max_relocate", 1), "failback": int(call.p.get("failback", True))}
    if call.p.get("comment"):
        row["comment"] = call.p["comment"]
    call.world.ha["resources"][sid] = row
    call.world.tasks.later(8.0, lambda: fulfil(call.world, guest, row))


def remove_ha(call):
    sid = _sid(call, call.p["sid"])
    call.world.ha["resources"].pop(sid, None) or die("cannot delete service '%s', not HA managed!" % sid)


def ha_status(call):
    world = call.world
    rows = [{"id": "quorum", "type": "quorum", "node": world.local, "status": "OK" if world.quorate else "No quorum!",
             "quorate": int(world.quorate), "armed-state": "armed", "timestamp": int(world.t)}]
    active = bool(world.ha["resources"])
    rows.append({"id": "master", "type": "master", "node": world.local, "status": "%s (%s, %s)" % (
        world.local, "active" if active else "idle", _stamp(world))})
    guests = {sid: world.guests.get(int(sid.partition(":")[2])) for sid in world.ha["resources"]}
    for node in world.nodes:
        busy = any(guest and guest.node == node for guest in guests.values())
        state = "old timestamp - dead?" if node in world.offline else "active" if busy else "idle"
        rows.append({"id": "lrm:" + node, "type": "lrm", "node": node,
                     "status": "%s (%s, %s)" % (node, state, _stamp(world)),
                     "timestamp": int(world.t) - (300 if node in world.offline else 3)})
    for sid, guest in guests.items():
        if guest:
            row = world.ha["resources"][sid]
            state = lists.ha_state(world, row, guest)
            rows.append({"id": "service:" + sid, "type": "service", "sid": sid, "node": guest.node, "state": state,
                         "crm_state": state, "request_state": row["state"], "max_restart": row["max_restart"],
                         "max_relocate": row["max_relocate"], "failback": row.get("failback", 1),
                         "status": "%s (%s, %s)" % (sid, guest.node, state)})
    return rows


def _stamp(world):
    return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(world.t))


def ha_rules(call):
    return [dict(row) for row in call.world.ha["rules"].values() if call.p.get("type") in (None, row["type"])
            and (call.p.get("resource") is None or call.p["resource"] in split_list(row["resources"]))]


def ha_groups(call):
    return list(call.world.ha.get("groups", {}).values()) if call.world.major < 9 else die(
        "cannot index groups: ha groups have been migrated to rules")


_CONSOLE = perm("/", "Sys.Console")
_VALUES = {"comment": string("A comment.", maxLength=4096), "max_restart": integer("Restarts on a node.", 0, default=1),
           "max_relocate": integer("Moves to another node.", 0, default=1),
           "failback": boolean("Go back to the preferred node.", default=1),
           "state": enum("Wanted state.", "started stopped enabled disabled ignored", default="started"),
           "group": string("Before 9: its group.", format="pve-configid")}

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
    Route("GET /cluster/ha/resources", ha_resources, _AUDIT, "HA resources.", {"type": enum("Only these.", "ct vm")}),
    Route("POST /cluster/ha/resources", add_ha, _CONSOLE, "Make a guest an HA resource.", dict(_VALUES, **{
        "sid*": string("The guest.", format="pve-ha-resource-or-vm-id"), "type": enum("Kind.", "ct vm")})),
    Route("GET /cluster/ha/resources/{sid}", lambda call: dict(_resource(call), digest="5b" * 20),
          _AUDIT, "An HA resource."),
    Route("DELETE /cluster/ha/resources/{sid}", remove_ha, _CONSOLE, "Leave a guest to itself.", {
        "purge": boolean("Out of rules too.", default=1)}),
    Route("GET /cluster/ha/status/current", ha_status, _AUDIT, "State of HA."),
    Route("GET /cluster/ha/groups", ha_groups, _AUDIT, "HA groups, before 9."),
    Route("GET /cluster/ha/rules", ha_rules, _AUDIT, "HA rules.", {
        "type": enum("Only these.", "node-affinity resource-affinity"),
        "resource": string("Only with this resource.")}),
]
