"""Toolset: emptying a node - where each of its guests can go, what has to stay and why; done as a run."""
from dataclasses import dataclass
from typing import Annotated, List, Optional

from tools.base import guest, moves
from tools.base.answers import Table, result
from tools.base.failures import Failure, Refused
from tools.base.forecast import Forecast
from tools.base.lists import NAMES
from tools.base.row import DESTRUCTIVE, OnNode, Tool
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.jsonschema import split_list
from tools.pve.text import Column


@dataclass
class Drain(OnNode):
    """Empty a node: VMs move live, containers restart; says what stays and why. plan=true only shows it."""
    plan: bool = False
    targets: Annotated[Optional[List[str]], Arg(format="node", min_length=1)] = None
    running: Annotated[bool, Arg("only what runs")] = False
    shutdown: Annotated[bool, Arg("the rest")] = False
    max_memory: Annotated[int, Arg("% of a target", minimum=1, maximum=100)] = 90


class _Guest:
    """A guest on the node: its row, its config, Proxmox's own check of a migration ({} where there is none).

    live: whether it is a VM that runs; volumes: {volid: bytes}; binds: mount points of a container that are no volumes
    and not the same on all nodes; in_snapshots: whether its volumes, local ones of a VM, are.
    """

    def __init__(self, row, config, check):
        self.row, self.config, self.check, self.kind, self.vmid = row, config, check, row["type"], int(row["vmid"])
        self.suffix, self.sid = ("vm", "vm:%d") if self.kind == "qemu" else ("lxc", "ct:%d")
        self.sid, self.running = self.sid % self.vmid, guest.is_on(row)
        self.live, self.memory = self.running and self.kind == "qemu", text.normal("bytes", row.get("maxmem")) or 0
        drives, local = guest.disks(self.kind, config), check.get("local_disks") or ()
        self.volumes = {drive.volid: drive.size or 0 for drive in drives if drive.storage}
        self.volumes.update((str(disk["volid"]), text.normal("bytes", disk.get("size")) or 0) for disk in local)
        self.binds = [drive.key for drive in drives if self.kind == "lxc" and drive.use in ("bind mount", "device")
                      and not on(drive.options.get("shared"))]
        self.in_snapshots = any(disk.get("referenced_in_snapshot") for disk in local) if self.kind == "qemu" else (
            "parent" in config)

    def __str__(self):
        return text.called("%s %d" % (NAMES[self.kind], self.vmid), self.row.get("name"))


class _Plan:
    """Where each guest goes: steps ([(tool, arguments)]), moved and down (_Guests), stays ({_Guest: why}), notes."""

    def __init__(self, call):
        self._call, self._node = call, call.args.node
        self.steps, self.moved, self.down, self.stays, self.notes, self._placed = [], [], [], {}, [], {}
        self._read()
        order = sorted(self.guests, key=lambda one: (not one.running, -one.memory, one.vmid))
        if call.args.running:
            self.stays.update({one: "it does not run" for one in order if not one.running})
            order = [one for one in order if one.running]
        while order:
            group = [order[0]] + [one for one in order[1:] if one.sid in moves.along(order[0].check)]
            order = [one for one in order if one not in group]
            self._place(group)
        if call.args.shutdown:
            for one in [one for one in self.stays if one.running]:
                self._shut_down(one)

    # -- what there is

    def _read(self):
        call = self._call
        here = [row for row in call.guests() if row.get("node") == self._node]
        hidden = sum(row.get("node") == self._node for row in call.guests(hidden=True)) - len(here)
        if hidden:
            self.notes.append("%s that may not be seen here stay on node %s." % (text.plural(hidden, "guest"),
                                                                                 self._node))
        nodes, version, storages, resources, status, jobs = call.together([
            ("/nodes",), ("/version",), ("/cluster/resources", None, {"type": "storage"}), ("/cluster/ha/resources",),
            ("/cluster/ha/status/current",), ("/nodes/{node}/replication",)])
        for needed in (nodes, version, storages):
            if isinstance(needed, Exception):
                raise needed
        wanted, self._nodes = call.args.targets or [], {str(row["node"]): row for row in nodes}
        problems = [call.node_problem(name) for name in [self._node] + wanted]
        if any(problems) or self._node in wanted:
            raise Failure(next(filter(None, problems), "Node %s is to be drained, so it is no target." % self._node))
        self._online = [name for name, row in self._nodes.items() if row.get("status") == "online"]
        self.targets = sorted(set(wanted or self._online) - {self._node})
        self._free = {name: (text.normal("bytes", row.get("maxmem")) or 0) * call.args.max_memory // 100 - (
            text.normal("bytes", row.get("mem")) or 0) for name, row in self._nodes.items()}
        recent = text.line(version.get("version"), 10)[:2] not in ("6.", "7.", "8.")
        self.guests = self._look(here, recent)
        self._storages = {(row.get("node"), row.get("storage")): row for row in storages
                          if row.get("status") == "available"}
        self._room = {key: (text.normal("bytes", row.get("maxdisk")) or 0) - (
            text.normal("bytes", row.get("disk")) or 0) for key, row in self._storages.items()}
        self._copied = {(job.get("guest"), job.get("target")) for job in jobs} if isinstance(jobs, list) else set()
        self._prefers, self._apart, self._by_ha = {}, [], set()
        try:
            self._ha(resources, status, recent)
        except PveError as error:
            self.notes.append("What HA wants could not be read: %s" % text.first_line(error))

    def _look(self, here, recent):
        """The _Guests of rows (before 9 without a check of containers), and _bridges {target: names}."""
        bridges = self._call.together([("/nodes/{node}/network", {"node": node}, {"type": "any_bridge"})
                                       for node in self.targets])
        self._bridges = {node: {str(row.get("iface")) for row in rows} for node, rows in zip(self.targets, bridges)
                         if rows and not isinstance(rows, Exception)}
        path, guests = "/nodes/{node}/%(type)s/%(vmid)s/", []
        configs = self._call.together([((path + "config") % row,) for row in here])
        checked = [row["vmid"] for row in here if row["type"] == "qemu" or recent]
        checks = dict(zip(checked, self._call.together([
            ((path + "migrate") % row,) for row in here if row["vmid"] in checked])))
        for row, *found in zip(here, configs, (checks.get(row["vmid"], {}) for row in here)):
            wrong = next((one for one in found if isinstance(one, Exception)), None)
            guests.append(_Guest(row, *({}, {}) if wrong else found))
            if wrong:
                self.stays[guests[-1]] = "cannot be read: %s" % text.first_line(wrong)
        return guests

    def _ha(self, resources, status, recent):
        """What HA wants: _prefers {sid: [(name, {node: priority}, strict, failback)]}, _apart [set of sids], _by_ha:
        sids that it moves by itself. PveError."""
        for found in (resources, status):
            if isinstance(found, PveError):
                raise found
        managed = {str(row["sid"]): row for row in resources if row.get("state") != "ignored"}
        if any(row.get("type") == "lrm" and row.get("node") == self._node and "maintenance" in str(row.get("status"))
               for row in status):
            self._by_ha = set(managed)
        for rule in self._call.get("/cluster/ha/rules" if recent else "/cluster/ha/groups") if managed else ():
            sids = set(split_list(rule.get("resources") or "")) if recent else {
                sid for sid, row in managed.items() if row.get("group") == rule.get("group")}
            if rule.get("affinity") == "negative" and not on(rule.get("disable")):
                self._apart.append(sids)
            elif rule.get("nodes") and not on(rule.get("disable")):
                words = [word.partition(":") for word in split_list(rule["nodes"])]
                nodes = {node: int(number or 0) for node, _, number in words}
                for sid in sids & set(managed):
                    self._prefers.setdefault(sid, []).append((
                        rule.get("rule") or rule.get("group"), nodes, on(rule.get("strict") or rule.get("restricted")),
                        on(managed[sid].get("failback", 1)) if recent else not on(rule.get("nofailback"))))

    # -- where it goes

    def _place(self, group):
        """Find a node for guests that HA keeps together, mostly one."""
        for one in group:
            why = self.stays.get(one) or self._stuck(one)
            if why:
                self.stays.update({other: why if other is one else "HA keeps it together with %s, which stays" % one
                                   for other in group})
                return
        fits, reasons = {}, {}
        for target in self.targets:
            why, takes = None, {}
            for one in group:
                why = why or self._refused(one, target, group) or self._room_for(one, target, takes)
            if why is None:
                fits[target] = takes
            else:
                reasons.setdefault(why, []).append(target)
        if not fits:
            self.stays.update(dict.fromkeys(group, "; ".join(
                "%s: %s" % (", ".join(nodes), why) for why, nodes in reasons.items()) or "no other node is online"))
            return
        target = min(fits, key=lambda name: (-self._free[name], name))
        for one in group:                               # those that run come first: what is stopped takes no place
            self._free[target] -= one.memory
            self._placed[one.sid] = target
        for name, size in fits[target].items():
            self._room[target, name] -= size
        first, self.moved = group[0], self.moved + group
        given = {"target": target, "with_local_disks": first.live and bool(moves.local_disks(first.check)),
                 "restart": first.running and not first.live}
        self.steps.append(("proxmox_migrate_" + first.suffix, {
            "vmid": first.vmid, **{key: value for key, value in given.items() if value}}))
        self.notes += ["%s goes along with %s to %s, as HA keeps them together." % (
            text.capital(str(one)), first, target) for one in group[1:]]

    def _stuck(self, one):
        if one.config.get("lock"):
            return "is locked (%s)" % text.line(one.config["lock"])
        if one.sid in self._by_ha:
            return "is moved by HA itself, as the node is in maintenance mode"
        if one.binds:
            return "has directories or devices of its node mounted (%s)" % ", ".join(one.binds)
        copied = [volid for volid in one.volumes if not self._shared(volid)]
        clones = [str(other.vmid) for other in self.guests if other is not one and any(
            "base-%d-" % one.vmid in volid for volid in other.volumes)] if copied else []
        if on(one.config.get("template")) and clones:
            return "is on local storage, where its linked clones need it: %s" % ", ".join(clones)
        return moves.stuck(one.check, one.running) if one.kind == "qemu" else None

    def _shared(self, volid):
        return on(self._storages.get((self._node, volid.partition(":")[0]), {}).get("shared"))

    def _refused(self, one, target, group):
        """Why a guest cannot go to a node, or None; its volumes aside."""
        why = moves.refused(one.check, target, mapped=True)
        if why:
            return why
        try:
            self._call.permit("POST", self._call.path("/nodes/{node}/%s/%d/migrate" % (one.kind, one.vmid)), {
                "target": target})
        except Refused as error:
            return text.first_line(error)
        if any(one.sid in rule and any(self._placed.get(sid) == target for sid in rule) for rule in self._apart):
            return "HA keeps it apart from a guest that goes there"
        for name, nodes, strict, failback in self._prefers.get(one.sid, ()):
            wants = {node: nodes.get(node, -1) for node in self._online if not strict or node in nodes}
            if target not in wants:
                return "HA does not allow it there (%s)" % text.line(name)
            if failback and one.running and wants[target] < max(wants.values()):
                return "HA would bring it back to %s (%s)" % (max(sorted(wants), key=wants.get), text.line(name))
        cpus, need = self._nodes[target].get("maxcpu"), sum(other.memory for other in group if other.running)
        if one.live and cpus and one.row.get("maxcpu", 0) > cpus:
            return "it has more CPUs than the node (%s)" % cpus
        if need > self._free[target]:
            return "no memory for it (%s, and %s of it are left below %d %%)" % (
                text.size(need), text.size(max(0, self._free[target])), self._call.args.max_memory)
        wanted = {guest.nic(value).get("bridge") for value in guest.nics(one.config).values()} - {None}
        missing = sorted(wanted - self._bridges.get(target, wanted))
        return "no bridge %s" % ", ".join(map(text.line, missing)) if missing else None

    def _room_for(self, one, target, takes):
        """Why a node has no room for a guest, or None; takes: {storage: bytes}, added to by what is copied."""
        copied = False
        for volid, size in one.volumes.items():
            name = volid.partition(":")[0]
            if (target, name) not in self._storages:
                return "no storage %s" % text.line(name)
            if not self._shared(volid):
                copied, takes[name] = True, takes.get(name, 0) + size
        if copied and one.in_snapshots and (one.vmid, target) not in self._copied:
            if one.live:
                return "its disks on local storage are in snapshots, so it cannot be moved while it runs"
            if any(self._storages[target, name].get("plugintype") != "zfspool" for name in takes):
                return "its disks on local storage are in snapshots, which cannot be taken along"
        return next(("no room on storage %s (%s, and %s are free)" % (
            text.line(name), text.size(size), text.size(max(0, self._room[target, name])))
            for name, size in sorted(takes.items()) if size > self._room[target, name]), None)

    def _shut_down(self, one):
        step = "proxmox_shutdown_" + one.suffix, {"vmid": one.vmid}
        answer = self._call.host.run(*step, self._call.request, None, Forecast())
        if one.config.get("lock"):
            return
        if answer.failed:
            self.stays[one] += "; nor can it be shut down: %s" % text.line(answer.text.partition("\n\n")[2], 200)
        else:
            self.down.append(one)
            self.steps.append(step)

    # -- how it is told

    def question(self):
        """What the user is asked: without the targets, which change with the load of the nodes."""
        parts = (("moved to other nodes", self.moved), ("shut down for it and started there", [
            one for one in self.moved if one.running and not one.live]), ("shut down", self.down), (
                "left as they are", [one for one in self.stays if one not in self.down]))
        return "Drain node %s? %s." % (self._node, text.capital("; ".join("%s: %s" % (what, ", ".join(map(
            str, sorted(one.vmid for one in them)))) for what, them in parts if them)))

    def told(self):
        """(the sentences about what stays, and the others; the rows of what stays)."""
        stays = sorted(self.stays.items(), key=lambda pair: pair[0].vmid)
        lines = ["%s %s: %s." % (text.capital(str(one)), "is shut down" if one in self.down else "stays", why)
                 for one, why in stays]
        if any("HA would bring" in why for _, why in stays):
            lines.append("HA moves what it would bring back when the node is in maintenance mode: `ha-manager "
                         "crm-command node-maintenance enable %s` on a node." % self._node)
        return lines + self.notes, [{"vmid": one.vmid, "name": one.row.get("name"), "why": why,
                                     "shut_down": one in self.down} for one, why in stays]


def drain(call):
    plan, where, fresh = _Plan(call), "node %s" % call.args.node, True
    if not plan.steps:
        if any(one.running or not call.args.running for one in plan.stays):
            raise Failure("\n".join(plan.told()[0]), "Nothing can be moved off " + where)
        return result(call, [], "There is no %sguest on %s" % ("running " if call.args.running else "", where))

    def describe():                                     # what was just looked at will do for the first question
        nonlocal plan, fresh
        if not fresh:
            call.forget()
            plan = _Plan(call)
        fresh = False
        return plan.question(), {key: sorted(one.vmid for one in getattr(plan, key)) for key in ("moved", "down")}
    if not (call.args.plan or call.dry):
        call.confirm(describe)
    made = call.host.runs.do(call, plan.steps, True, call.args.plan, "the drain of " + where)
    made.parts[1:1], made.data["stays"] = plan.told()
    return made


STEPS = Table("step", Column("step", kind="int"), Column("state"), Column("tool"), Column("said", "what", "long"))

TOOLS = {
    "proxmox_drain_node": Tool("POST /nodes/{node}/migrateall", DESTRUCTIVE, Drain, drain, STEPS,
                               needs=("/vms VM.Migrate", "/vms VM.Audit", "/vms VM.PowerMgmt", "/ Sys.Audit")),
}
