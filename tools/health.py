"""Toolset: what is wrong in the cluster - one report with a verdict.

A read is a row of CLUSTER or NODE, a check a function in CHECKS that looks at what was read and gives Findings. What is
as it should be, or is known to be normal, is no finding; what could not be read is said.
"""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import backup_state, findings, guest
from tools.base.findings import FINDINGS, LOOK, PROBLEM, Finding, report
from tools.base.lists import NEEDED, enabled, service_problem, task_subject
from tools.base.row import BASIC, AnyNode, Tool
from tools.base.schema import Arg
from tools.base.storage import NEARLY_FULL, missing_from, of_cluster
from tools.pve import text
from tools.pve.formats import on
from tools.pve.task import succeeded

AREAS = ("cluster", "storage", "disks", "services", "certificates", "replication", "backups", "ha", "guests", "tasks",
         "updates", "access")


@dataclass
class Overview:
    """Health report: what is wrong, worst first."""
    area: Annotated[Optional[str], Arg(enum=AREAS)] = None
    node: AnyNode = None


DAY = 86400
FULL = 0.9                                              # of a storage or pool: a problem; from NEARLY_FULL worth a look
SOON = 30 * DAY                                         # certificates, tokens and users that expire
WORN = 20                                               # percent of a disk's life that is left
OLD_SNAPSHOT = 60 * DAY
CLOCKS = 60                                             # seconds between the clocks of two nodes
MOST_GUESTS, MOST_STOPPED = 500, 20                     # looked into: with area=guests; of the stopped ones without

# ---------------------------------------------------------------------------------------------------------------- reads

#: name -> (path, parameters, areas that need it)
CLUSTER = {
    "tasks": ("/cluster/tasks", {}, ("tasks", "backups", "guests")),
    "jobs": ("/cluster/backup", {}, ("backups", "storage")),
    "ha": ("/cluster/ha/status/current", {}, ("ha", "cluster")),
    "replication jobs": ("/cluster/replication", {}, ("replication",)),
    "users": ("/access/users", {"full": 1}, ("access",)),
}
#: the same of each node that is online; those with a condition after the others, and only where it holds
NODE = {
    "version": ("/nodes/{node}/version", {}, ("cluster", "updates"), None),
    "disks": ("/nodes/{node}/disks/list", {}, ("disks",), None),
    "services": ("/nodes/{node}/services", {}, ("services",), None),
    "certificates": ("/nodes/{node}/certificates/info", {}, ("certificates",), None),
    "updates": ("/nodes/{node}/apt/update", {}, ("updates",), None),
    "vms": ("/nodes/{node}/qemu", {"full": 1}, ("guests",),
            lambda seen, node: any(row["type"] == "qemu" and row.get("status") != "stopped" for row in seen.on(node))),
    "replication": ("/nodes/{node}/replication", {}, ("replication",), lambda seen, node: {
        str(job.get("guest")) for job in seen.all["replication jobs"] or ()} & {
            str(row["vmid"]) for row in seen.on(node)}),
    "zfs": ("/nodes/{node}/disks/zfs", {}, ("disks", "storage"), lambda seen, node: any(
        disk.get("used") == "ZFS" for disk in seen.each.get("disks", {}).get(node, ())) or seen.has(node, "zfspool")),
    "thin": ("/nodes/{node}/disks/lvmthin", {}, ("storage",), lambda seen, node: seen.has(node, "lvmthin")),
}
_WORDS = {"jobs": "backup jobs", "ha": "HA", "zfs": "ZFS pools", "thin": "thin pools", "vms": "states of VMs"}


class Seen:
    """What was read: resources (rows of /cluster/resources), guests, nodes (name -> row), online (names looked at),
    all ({name of CLUSTER: data or None}), each ({name of NODE: {node: data}}), now; backups (rows of backup_state) and
    inside ({vmid: {"pending": entries, "snapshot": entries}}); unread: sentences about what was not.
    """

    def __init__(self, call):
        self.call, self.area, self.now = call, call.args.area, call.host.now()
        self.resources = call.get("/cluster/resources") or []
        self.guests = [row for row in self.resources if row.get("type") in ("qemu", "lxc")
                       and call.args.node in (None, row.get("node"))]
        self._by_node, self._kinds = {}, {(row.get("node"), row.get("plugintype")) for row in self.resources}
        for row in self.guests:
            self._by_node.setdefault(row.get("node"), []).append(row)
        self.nodes = {str(row.get("node")): row for row in self.resources if row.get("type") == "node"}
        self.online = [name for name in sorted(self.nodes) if self.nodes[name].get("status") == "online"
                       and call.args.node in (None, name)]
        self.unread, self.all, self.each, self.backups, self.inside = [], dict.fromkeys(CLUSTER), {}, [], {}
        self._read()
        self.guests = guest.stated(self.guests, self.each.get("vms", {}).values())

    def wants(self, *areas):
        return self.area is None or self.area in areas

    def on(self, node):
        """The rows of the guests on a node."""
        return self._by_node.get(node, [])

    def has(self, node, kind):
        """Whether a node has a storage of that type."""
        return (node, kind) in self._kinds

    def _read(self):
        names = [name for name, (_, _, areas) in CLUSTER.items() if self.wants(*areas)]
        for name, answer in zip(names, self.call.together([(CLUSTER[name][0], None, CLUSTER[name][1])
                                                           for name in names])):
            self.all[name] = None if isinstance(answer, Exception) else answer or []
            if isinstance(answer, Exception):
                self.unread.append("%s: %s" % (text.capital(_WORDS.get(name, name)), text.first_line(answer)))
        failed = {}
        for later in (False, True):
            wanted = [(name, node) for name, (_, _, areas, where) in NODE.items() if self.wants(*areas)
                      and later == (where is not None) for node in self.online if not later or where(self, node)]
            for (name, node), answer in zip(wanted, self.call.together([
                    (NODE[name][0], {"node": node}, NODE[name][1]) for name, node in wanted])):
                if isinstance(answer, Exception):
                    why = re.sub(r"/nodes/%s\b" % re.escape(node), "/nodes/NODE", text.first_line(answer))
                    failed.setdefault(why, {}).setdefault(_WORDS.get(name, name), []).append(node)
                else:
                    self.each.setdefault(name, {})[node] = answer or []
        self.unread.extend("%s: %s" % (text.capital("; ".join("%s of %s" % (what, text.line(", ".join(nodes), 120))
                                                              for what, nodes in missed.items())), why)
                           for why, missed in failed.items())
        if self.wants("backups"):
            self.backups, unread = backup_state.state(
                self.call, self.guests, self.resources, self.all["jobs"], self.now)
            self.unread.extend(unread)
        if self.wants("guests"):
            self._look_inside()

    def _look_inside(self):
        """What waits for a restart, and snapshots, of each guest with area=guests; else of the stopped ones what they
        are to do at boot. Guests of nodes that are down are left out."""
        guests = [row for row in self.guests if row.get("node") in self.online and not on(row.get("template"))]
        if self.area is None:
            guests = [row for row in guests if row.get("status") == "stopped"]
            if len(guests) > MOST_STOPPED:
                self.unread.append("Which of %d stopped guests are to start at boot: only the first %d were looked at, "
                                   "area=guests does the rest" % (len(guests), MOST_STOPPED))
            guests = guests[:MOST_STOPPED]
        elif len(guests) > MOST_GUESTS:
            self.unread.append("%d guests are too many to look into each; narrow it with node" % len(guests))
            return
        for what in ("pending", "snapshot")[:1 if self.area is None else 2]:
            answers = self.call.together([("/nodes/{node}/{type}/{vmid}/" + what, row, {}) for row in guests])
            for row, answer in zip(guests, answers):
                if isinstance(answer, Exception):
                    self.unread.append("%s of guest %s: %s" % (what, row["vmid"], text.first_line(answer)))
                else:
                    self.inside.setdefault(row["vmid"], {})[what] = answer or []


# --------------------------------------------------------------------------------------------------------------- checks

def _cluster(seen):
    for row in seen.all["ha"] or ():
        if row.get("type") == "quorum" and not on(row.get("quorate")):
            yield Finding(PROBLEM, "cluster", "cluster", "no quorum: no guest can be started and no configuration "
                          "changed until more than half of the nodes see each other", "proxmox_get_cluster_status")
    for name, row in sorted(seen.nodes.items()):
        if seen.call.args.node not in (None, name) or row.get("status") == "online":
            continue
        lost = row.get("status") == "offline"
        guests = len(seen.on(name))
        yield Finding(PROBLEM if lost else LOOK, "cluster", "node " + name, "%s, with %s; what is listed of it is its "
                      "last known state" % ("offline" if lost else "has not reported lately, so its state is unknown",
                                            text.plural(guests, "guest")), "proxmox_get_cluster_status")
    versions = {}
    for node, version in seen.each.get("version", {}).items():
        versions.setdefault(str(version.get("version")), []).append(node)
    if len(versions) > 1:
        yield Finding(LOOK, "cluster", "nodes", "versions differ: %s" % "; ".join(
            "%s on %s" % (version, ", ".join(nodes)) for version, nodes in sorted(versions.items())))
    reported = {row.get("node"): text.normal("number", row.get("timestamp")) for row in seen.all["ha"] or ()
                if row.get("type") == "lrm" and row.get("node") in seen.online and row.get("timestamp")}
    if reported and max(reported.values()) - min(reported.values()) > CLOCKS:
        slow = min(reported, key=reported.get)
        yield Finding(LOOK, "cluster", "node " + slow, "its clock, or its HA service, is %s behind the others" %
                      text.duration(max(reported.values()) - reported[slow]))


def _storage(seen):
    places = [row for row in of_cluster([row for row in seen.resources if row.get("type") == "storage"])
              if seen.call.args.node in (None, row.get("node")) or row.get("shared")]
    for row in places:
        where = "storage %s" % row["storage"] + (" on " + row["node"] if row.get("node") else "")
        lost = missing_from(row, set(seen.online))
        if lost:
            yield Finding(PROBLEM, "storage", where, "not reachable from %s" % ", ".join(lost), "proxmox_get_storage")
        elif row.get("used_fraction", 0) >= NEARLY_FULL:
            full = "%s full, %s of %s used" % (
                text.percent(row["used_fraction"]), text.size(row["used"]), text.size(row["total"]))
            yield Finding(PROBLEM if row["used_fraction"] >= FULL else LOOK, "storage", where, full,
                          "proxmox_get_storage_usage")
    known = {row["storage"] for row in places}
    for job in enabled(seen.all["jobs"]):
        if job.get("storage") and job["storage"] not in known and seen.online:
            yield Finding(PROBLEM, "storage", "job %s" % job["id"], "saves to storage %s, which is disabled or gone"
                          % job["storage"], "proxmox_list_backup_jobs")
    for node, pools in seen.each.get("thin", {}).items():
        for pool in pools:
            total, used = (text.normal("bytes", pool.get(key)) or 0 for key in ("metadata_size", "metadata_used"))
            if total and used / total >= NEARLY_FULL:
                yield Finding(PROBLEM, "storage", "thin pool %s/%s on %s" % (pool.get("vg"), pool.get("lv"), node),
                              "its metadata is %s full; when it is, all of its disks fail" % text.percent(used / total))


def _disks(seen):
    for node, disks in seen.each.get("disks", {}).items():
        for disk in disks:
            name = "disk %s on %s" % (disk.get("devpath"), node)
            left = text.normal("number", disk.get("wearout"))
            if disk.get("health") not in ("PASSED", "OK", "UNKNOWN", "", None):
                yield Finding(PROBLEM, "disks", name, "SMART says %s: replace it%s" % (disk["health"], (
                    " (%s)" % disk["model"] if disk.get("model") else "")), "proxmox_get_node_disk_smart")
            elif left is not None and left <= WORN and disk.get("type") in ("ssd", "nvme"):
                yield Finding(PROBLEM if left <= WORN / 4 else LOOK, "disks", name, "%d %% of its life is left" % left,
                              "proxmox_get_node_disk_smart")
    for node, pools in seen.each.get("zfs", {}).items():
        for pool in pools:
            name = "ZFS pool %s on %s" % (pool.get("name"), node)
            if pool.get("health") != "ONLINE":
                yield Finding(PROBLEM, "disks", name, str(pool.get("health")), "proxmox_get_node_zfs")
            size, used = (text.normal("bytes", pool.get(key)) or 0 for key in ("size", "alloc"))
            if size and used / size >= NEARLY_FULL:
                yield Finding(PROBLEM if used / size >= FULL else LOOK, "disks", name, "%s full; ZFS slows down from "
                              "80 %%" % text.percent(used / size), "proxmox_get_node_zfs")


def _services(seen):
    alone = len(seen.nodes) == 1
    for node, services in seen.each.get("services", {}).items():
        for row in services:
            problem = service_problem(row, alone)
            if problem:
                yield Finding(PROBLEM if row.get("service") in NEEDED else LOOK, "services", "service %s on %s" % (
                    row.get("service"), node), problem, "proxmox_list_services")


def _certificates(seen):
    for node, certificates in seen.each.get("certificates", {}).items():
        for row in certificates:
            left = (text.normal("number", row.get("notafter")) or seen.now + 2 * SOON) - seen.now
            if left < SOON:
                yield Finding(PROBLEM if left < 7 * DAY else LOOK, "certificates", "certificate %s on %s" % (
                    row.get("filename"), node), "expired" if left < 0 else "expires in %s" % text.duration(left))


def _replication(seen):
    for node, jobs in seen.each.get("replication", {}).items():
        for job in jobs:
            name = "replication %s, %s to %s" % (job.get("id"), node, job.get("target"))
            last, following = (text.normal("number", job.get(key)) for key in ("last_sync", "next_sync"))
            if job.get("fail_count"):
                yield Finding(PROBLEM, "replication", name, "failed %s times: %s" % (
                    job["fail_count"], text.line(job.get("error") or "no reason is told", 120)), since=last or None)
            elif following and seen.now - following > 3600 and not job.get("pid"):
                yield Finding(LOOK, "replication", name, "late by %s" % text.duration(seen.now - following),
                              since=last or None)


def _backups(seen):
    """A finding for each verdict, and one for all that no job takes, whatever they have."""
    verdicts = {}
    for row in seen.backups:
        verdicts.setdefault(row["verdict"], []).append(row)
    for verdict, says in backup_state.VERDICTS.items():
        rows = verdicts.get(verdict, ())
        if rows and verdict not in ("unknown", "in no job", "ok"):
            ages = ["%s: %s" % (row["vmid"], text.duration(row["age"])) for row in rows if verdict == "old"]
            yield Finding(PROBLEM if verdict in backup_state.GRAVE else LOOK, "backups",
                          findings.guests([row["vmid"] for row in rows]), "%s%s" % (
                              says, " (%s)" % text.line(", ".join(ages), 120) if ages else ""),
                              "proxmox_list_backup_state")
    left = [row["vmid"] for row in seen.backups if row["jobs"] == []]
    if left:
        yield Finding(LOOK, "backups", findings.guests(left), "no enabled backup job takes %s" % (
            "it" if len(left) == 1 else "these %d" % len(left)), "proxmox_list_backup_jobs")


def _ha(seen):
    for row in seen.all["ha"] or ():
        state = str(row.get("state"))
        if row.get("type") == "service" and state in ("error", "fence", "recovery"):
            yield Finding(PROBLEM, "ha", str(row.get("sid")), "HA state %s on node %s" % (state, row.get("node")),
                          "proxmox_get_ha_status")
        elif row.get("type") in ("lrm", "master") and re.search("old timestamp - dead|fenc", str(row.get("status"))):
            yield Finding(PROBLEM, "ha", "%s of %s" % (row["type"], row.get("node")), text.line(row["status"], 120),
                          "proxmox_get_ha_status")
        elif row.get("type") == "lrm" and "maintenance" in str(row.get("status")):
            yield Finding(LOOK, "ha", "node %s" % row.get("node"), "in maintenance mode", "proxmox_get_ha_status")


def _guests(seen):
    busy = {str(row.get("id")) for row in seen.all["tasks"] or () if not row.get("endtime")}
    for row in seen.guests:
        lock = row.get("lock")
        if lock and lock not in ("suspended", "suspending") and str(row["vmid"]) not in busy and (
                row.get("node") in seen.online):
            yield Finding(LOOK, "guests", _one(row), "locked (%s) though no task is known that works on it; "
                          "`%s unlock %s` on its node takes a left-over lock away" % (
                              lock, "qm" if row["type"] == "qemu" else "pct", row["vmid"]), "proxmox_list_tasks")
    rows = {row["vmid"]: row for row in seen.guests}
    for vms in seen.each.get("vms", {}).values():
        for vm in vms:
            state = vm.get("qmpstatus")
            if state in guest.STANDING and not vm.get("lock"):
                yield Finding(LOOK if state in ("paused", "suspended") else PROBLEM, "guests",
                              _one(rows.get(vm.get("vmid"), dict(vm, type="qemu"))), guest.STANDING[state][1])
    for vmid, found in seen.inside.items():
        yield from _inside(seen, rows[vmid], found.get("pending", ()), found.get("snapshot", ()))


def _inside(seen, row, entries, snapshots):
    config, waiting = guest.pending(entries)
    if row.get("status") == "stopped" and on(config.get("onboot")) and not row.get("lock"):
        yield Finding(LOOK, "guests", _one(row), "stopped although it is to start at boot", "proxmox_start_%s" % (
            "vm" if row["type"] == "qemu" else "lxc"))
    if waiting and row.get("status") == "running":
        gone = [key for key in sorted(waiting) if "then" not in waiting[key]]
        yield Finding(LOOK, "guests", _one(row), "changes wait for its restart: %s%s" % (
            text.line(", ".join(sorted(waiting)), 80),
            "; it takes away %s" % text.line(", ".join(gone), 80) if gone else ""), "proxmox_get_pending")
    old = [one for one in snapshots if one.get("name") != "current" and seen.now - (
        text.normal("number", one.get("snaptime")) or seen.now) > OLD_SNAPSHOT]
    if old:
        yield Finding(LOOK, "guests", _one(row), "%s older than %d days: %s" % (
            text.plural(len(old), "snapshot"), OLD_SNAPSHOT // DAY, text.line(", ".join(
                str(one["name"]) for one in old), 80)), "proxmox_list_snapshots", min(one["snaptime"] for one in old))


def _one(row):
    return "%s %s%s" % ("VM" if row["type"] == "qemu" else "container", row["vmid"],
                        " (%s)" % text.line(row["name"], 40) if row.get("name") else "")


def _tasks(seen):
    """Tasks that failed since yesterday, once for each kind and reason; not those that went well later."""
    tasks = [dict(row, endtime=text.normal("number", row.get("endtime"))) for row in seen.all["tasks"] or ()
             if seen.call.args.node in (None, row.get("node"))]
    well, groups = {}, {}
    for row in tasks:
        if row.get("endtime") and succeeded(row.get("status")):
            key = row.get("type"), row.get("id"), row.get("node")
            well[key] = max(well.get(key, 0), row["endtime"])
    for row in tasks:
        ended = row.get("endtime") or 0
        if not ended or seen.now - ended > DAY or succeeded(row.get("status")) or ended < well.get(
                (row.get("type"), row.get("id"), row.get("node")), 0):
            continue
        groups.setdefault((row.get("type"), str(row.get("status") or "unknown")), []).append(row)
    for (kind, status), rows in groups.items():
        latest = max(rows, key=lambda row: row["endtime"])
        backup = kind == "vzdump"
        yield Finding(PROBLEM if backup else LOOK, "backups" if backup else "tasks", task_subject(latest) + (
            " and %d more" % (len(rows) - 1) if len(rows) > 1 else ""), "failed: %s" % text.line(status, 120),
            "proxmox_get_task upid=%s" % latest.get("upid"), latest["endtime"])


def _updates(seen):
    """Only those that Debian released for its stable release: fixes of security holes and of grave mistakes."""
    groups = {}
    for node, updates in seen.each.get("updates", {}).items():
        fixes = sorted({str(row.get("Package")) for row in updates if row.get("Origin") == "Debian" and
                        re.search(r"[+~]deb\d+u\d+", str(row.get("Version")))})
        if fixes:
            groups.setdefault(tuple(fixes), []).append(node)
    for fixes, nodes in groups.items():
        yield Finding(LOOK, "updates", "node%s %s" % ("" if len(nodes) == 1 else "s", ", ".join(nodes)),
                      "security and stable updates wait: %s" % text.line(", ".join(fixes), 120), "proxmox_list_updates")


def _access(seen):
    for user in seen.all["users"] or ():
        for name, entry in [("user %s" % user.get("userid"), user)] + [
                ("token %s!%s" % (user.get("userid"), token.get("tokenid")), token)
                for token in user.get("tokens") or ()]:
            expire = text.normal("number", entry.get("expire")) or 0
            if expire and on(user.get("enable", 1)) and expire - seen.now < SOON:
                ours = name == "token %s" % seen.call.host.settings.token_id
                yield Finding(PROBLEM if ours else LOOK, "access", name + (", used here" if ours else ""), "expired"
                              if expire < seen.now else "expires in %s" % text.duration(expire - seen.now))


CHECKS = {"cluster": _cluster, "storage": _storage, "disks": _disks, "services": _services,
          "certificates": _certificates, "replication": _replication, "backups": _backups, "ha": _ha, "guests": _guests,
          "tasks": _tasks, "updates": _updates, "access": _access}


# --------------------------------------------------------------------------------------------------------------- report

def get_overview(call):
    seen, notes = Seen(call), []
    found = [finding for check in CHECKS.values() for finding in check(seen) if seen.area in (None, finding.area)]
    if not seen.guests:
        notes.append("No guest is listed: there is none, or the token may see none (VM.Audit on /vms).")
    notes.append("Looked at %s, %s (%s)%s. Thresholds: storages and pools %d %% (%d %% is a problem), disks %d %% of "
                 "life left, %d days before something expires." % (
                     text.plural(len(seen.online), "node"), text.plural(len(seen.guests), "guest"),
                     guest.counted(guest.by_state(seen.guests)) or "none",
                     ", " + seen.area + " only" if seen.area else "", NEARLY_FULL * 100, FULL * 100, WORN, SOON // DAY))
    if seen.area is None:
        notes.append("What waits for a restart and old snapshots are looked for with area=guests.")
    return report(call, found, seen.unread, notes)


TOOLS = {
    "proxmox_get_overview": Tool("GET /cluster/resources", BASIC, Overview, get_overview, FINDINGS),
}
