"""High availability: resources, rules, status."""
import time

from tools.demo import lists
from tools.demo.model import bad, die
from tools.demo.power import fulfil
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import Route, perm


def _sid(call, sid):
    """vm:100 of "100" or "vm:100"."""
    if sid.isdigit():
        guest = call.world.guests.get(int(sid))
        if guest is None:
            die("no such resource '%s'" % sid)
        return guest.sid
    return sid


def _resource(call):
    sid = _sid(call, call.p["sid"])
    found = call.world.ha["resources"].get(sid)
    if found is None:
        die("no such resource '%s'" % sid)
    return found


def resources(call):
    return [dict(row, digest="5b" * 20) for row in call.world.ha["resources"].values()
            if call.p.get("type") in (None, row["type"])]


def add(call):
    sid = _sid(call, call.p["sid"])
    kind, _, vmid = sid.partition(":")
    guest = call.world.guests.get(int(vmid)) if vmid.isdigit() else None
    if call.p.get("group"):
        bad(group="invalid parameter - groups are migrated to rules")
    if kind not in ("vm", "ct") or guest is None or (guest.kind == "qemu") != (kind == "vm"):
        die("cannot add '%s': no such guest" % sid)
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


def change(call):
    row = _resource(call)
    for key in ("comment", "max_restart", "max_relocate", "state", "failback"):
        if key in call.p:
            row[key] = int(call.p[key]) if isinstance(call.p[key], bool) else call.p[key]
    for key in split_list(call.p.get("delete", "")):
        row.pop(key, None)
    row.setdefault("state", "started")
    guest = call.world.guests.get(int(row["sid"].partition(":")[2]))
    if guest:
        call.world.tasks.later(8.0, lambda: fulfil(call.world, guest, row))


def remove(call):
    del call.world.ha["resources"][_resource(call)["sid"]]


def status(call):
    world = call.world
    rows = [{"id": "quorum", "type": "quorum", "node": world.local, "status": "OK" if world.quorate else "No quorum!",
             "quorate": int(world.quorate)}]
    active = bool(world.ha["resources"])
    rows.append({"id": "master", "type": "master", "node": world.local, "status": "%s (%s, %s)" % (
        world.local, "active" if active else "idle", _stamp(world))})
    for node in world.nodes:
        busy = any(world.guests.get(int(sid.partition(":")[2]))
                   and world.guests[int(sid.partition(":")[2])].node == node
                   for sid in world.ha["resources"])
        state = "old timestamp - dead?" if node in world.offline else "active" if busy else "idle"
        rows.append({"id": "lrm:" + node, "type": "lrm", "node": node,
                     "status": "%s (%s, %s)" % (node, state, _stamp(world))})
    for row in world.ha["resources"].values():
        guest = world.guests.get(int(row["sid"].partition(":")[2]))
        if guest:
            state = lists.ha_state(world, row, guest)
            rows.append({"id": "service:" + row["sid"], "type": "service", "sid": row["sid"], "node": guest.node,
                         "state": state,
                         "crm_state": state, "request_state": row["state"], "max_restart": row["max_restart"],
                         "max_relocate": row["max_relocate"], "failback": row.get("failback", 1),
                         "status": "%s (%s, %s)" % (row["sid"], guest.node, state)})
    return rows


def _stamp(world):
    return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(world.t))


def rules(call):
    return [dict(row) for row in call.world.ha["rules"].values() if call.p.get("type") in (None, row["type"])
            and (call.p.get("resource") is None or call.p["resource"] in split_list(row["resources"]))]


_AUDIT, _CONSOLE = perm("/", "Sys.Audit"), perm("/", "Sys.Console")
_VALUES = {"comment": string("A comment.", maxLength=4096), "max_restart": integer("Restarts on a node.", 0, default=1),
           "max_relocate": integer("Moves to another node.", 0, default=1),
           "failback": boolean("Go back to the preferred node.", default=1),
           "state": enum("Wanted state.", "started stopped enabled disabled ignored", default="started"),
           "group": string("Before 9: its group.", format="pve-configid")}

ROUTES = [
    Route("GET /cluster/ha/resources", resources, _AUDIT, "HA resources.", {"type": enum("Only these.", "ct vm")}),
    Route("POST /cluster/ha/resources", add, _CONSOLE, "Make a guest an HA resource.", dict(_VALUES, **{
        "sid*": string("The guest.", format="pve-ha-resource-or-vm-id"), "type": enum("Kind.", "ct vm")})),
    Route("GET /cluster/ha/resources/{sid}", lambda call: dict(_resource(call), digest="5b" * 20),
          _AUDIT, "An HA resource."),
    Route("PUT /cluster/ha/resources/{sid}", change, _CONSOLE, "Change an HA resource.", dict(_VALUES, **{
        "delete": string("Options to remove.", format="pve-configid-list", maxLength=4096),
        "digest": string("Expected digest.", maxLength=64)})),
    Route("DELETE /cluster/ha/resources/{sid}", remove, _CONSOLE, "Leave a guest to itself.", {
        "purge": boolean("Out of rules too.", default=1)}),
    Route("GET /cluster/ha/status/current", status, _AUDIT, "State of HA."),
    Route("GET /cluster/ha/rules", rules, _AUDIT, "HA rules.", {
        "type": enum("Only these.", "node-affinity resource-affinity"),
        "resource": string("Only with this resource.")}),
]
