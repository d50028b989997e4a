"""Toolset: what is wrong in the cluster - one report with a verdict.

A read is a row of READS, a check a function in CHECKS that looks at what was read and gives Findings. What is as it
should be, or is known to be normal, is no finding; what could not be read is said.
"""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import backup_state, guest
from tools.base.findings import FINDINGS, LOOK, PROBLEM, Finding, Read, Seen, look, nodes_of, report
from tools.base.lists import enabled, guests_of, task_subject, who
from tools.base.row import BASIC, AnyNode, Tool
from tools.base.schema import Arg
from tools.base.storage import NEARLY_FULL, missing_from, of_cluster, until_full, zfs_faults
from tools.pve import text
from tools.pve.formats import on, parse_property_string
from tools.pve.task import succeeded

DAY = 86400
FULL = 0.9                                              # of a storage or pool: a problem; from NEARLY_FULL worth a look
FILLING, FILLED, SOONER = 0.6, 30 * DAY, 7 * DAY        # its history is read from; full in: worth a look, a problem
SOON = 30 * DAY                                         # certificates, tokens and users that expire
WORN = 20                                               # percent of a disk's life that is left
OLD_SNAPSHOT = 60 * DAY
YESTERDAY = 36 * 3600                                   # tasks that failed since: last night's, all of the next day
CLOCKS = 60                                             # seconds between the clocks of two nodes
LATE = 2 * 3600                                         # a run of a backup job of which nothing is there by then
MOST_GUESTS = 500                                       # guests looked into with area=guests
MOST_ON, MOST_OFF = 40, 20                              # without it, of those that run and of the others
MOST_LOGS = 3                                           # of failed backups, for the reason

# ---------------------------------------------------------------------------------------------------------------- reads


def _has(*kinds):
    """A condition: a storage of one of these types, on the node where it is asked of one."""
    return lambda seen, node: any(row.get("plugintype") in kinds and node in (None, row.get("node"))
                                  for row in seen.resources)


def _runs_vms(seen, node):
    return any(row["type"] == "qemu" and row.get("node") == node and row.get("status") != "stopped"
               for row in seen.guests)


def _has_zfs(seen, node):
    return _has("zfspool")(seen, node) or any(disk.get("used") == "ZFS" for disk in seen.each["disks"].get(node, ()))


def _has_ceph(seen, _):
    return _has("rbd", "cephfs")(seen, None) or any(str(disk.get("osdid")).isdigit() for _, disk in seen.rows("disks"))


#: Those of LATER look at what the others found.
READS = {
    "tasks": Read("/cluster/tasks", {}, ("tasks", "backups", "guests")),
    "jobs": Read("/cluster/backup", {}, ("backups", "storage"), None, "backup jobs"),
    "ha": Read("/cluster/ha/status/current", {}, ("ha", "cluster"), None, "HA"),
    "users": Read("/access/users", {"full": 1}, ("access",)),
    "version": Read("/nodes/{node}/version", {}, ("cluster",)),
    "disks": Read("/nodes/{node}/disks/list", {}, ("disks",)),
    "services": Read("/nodes/{node}/services", {}, ("services",)),
    "certificates": Read("/nodes/{node}/certificates/info", {}, ("certificates",)),
    "updates": Read("/nodes/{node}/apt/update", {}, ("updates",)),
    "vms": Read("/nodes/{node}/qemu", {"full": 1}, ("guests",), _runs_vms, "states of VMs"),
    "thin": Read("/nodes/{node}/disks/lvmthin", {}, ("storage",), _has("lvmthin"), "thin pools"),
    "replication": Read("/nodes/{node}/replication", {}, ("replication",), _has("zfspool")),
}
LATER = {
    "zfs": Read("/nodes/{node}/disks/zfs", {}, ("disks",), _has_zfs, "ZFS pools", "zfsutils-linux not installed"),
    "ceph": Read("/cluster/ceph/status", {}, ("storage",), _has_ceph, "Ceph",
                 "not installed|not initialized|not fully configured"),      # it is elsewhere
}


# --------------------------------------------------------------------------------------------------------------- checks

def _cluster(seen):
    for row in seen.all["ha"] or ():
        if row.get("type") == "quorum" and not on(row.get("quorate")):
            yield Finding(PROBLEM, "cluster", "no quorum: no guest can be started and no configuration "
                          "changed until more than half of the nodes see each other", "proxmox_get_cluster_status")
    for name, row in sorted(seen.nodes.items()):
        if seen.call.args.node not in (None, name) or row.get("status") == "online":
            continue
        lost, count = row.get("status") == "offline", sum(row.get("node") == name for row in seen.guests)
        yield Finding(PROBLEM if lost else LOOK, "node " + name, "%s, with %s; what is listed of it is its "
                      "last known state" % ("offline" if lost else "has not reported lately, so its state is unknown",
                                            text.plural(count, "guest")), "proxmox_get_cluster_status")
    versions = {}
    for node, version in seen.each["version"].items():
        versions.setdefault(str(version.get("version")), []).append(node)
    if len(versions) > 1:
        yield Finding(LOOK, "nodes", "versions differ: %s" % "; ".join(
            "%s on %s" % (version, text.listed(nodes, 120)) for version, nodes in sorted(versions.items())))
    reported = {row.get("node"): text.normal("number", row.get("timestamp")) for row in seen.all["ha"] or ()
                if row.get("type") == "lrm" and row.get("node") in seen.online and row.get("timestamp")}
    if reported and max(reported.values()) - min(reported.values()) > CLOCKS:
        slow = min(reported, key=reported.get)
        yield Finding(LOOK, "node " + slow, "its clock, or its HA service, is %s behind the others" %
                      text.duration(max(reported.values()) - reported[slow]))


def _filled(row, used, total):
    """(the part of `total` that is used, 0 where that is not known; "85 % full, 850 GiB of 1000 GiB used")."""
    used, total = (text.normal("bytes", row.get(key)) or 0 for key in (used, total))
    part = used / total if total else 0
    return part, "%s full, %s of %s used" % (text.percent(part), text.size(used), text.size(total))


def _fill(seen, places):
    """Put into the fullest of these rows, one for each node looked at, in how many seconds they are full (`left`)."""
    found = sorted((dict(row, node=row.get("node") or row["nodes"][0], place=row) for row in places
                    if FILLING <= row.get("used_fraction", 0) < 1 and row["active"]),
                   key=lambda row: -row["used_fraction"])[:len(seen.online) if seen.area is None else None]
    for row, history in seen.call.answered("/nodes/{node}/storage/{storage}/rrddata", found,
                                           {"timeframe": "month", "cf": "AVERAGE"}):
        row["place"]["left"] = until_full(history, row["used"], row["total"])


def _storage(seen):
    places = [row for row in of_cluster(seen.resources)
              if seen.call.args.node in (None, row.get("node")) or row.get("shared")]
    _fill(seen, places)
    for row in places:
        where = "storage %s" % row["storage"] + (" on " + row["node"] if row.get("node") else "")
        lost = missing_from(row, set(seen.online))
        if lost:
            yield Finding(PROBLEM, where, "not reachable from %s" % ", ".join(lost), "proxmox_get_storage")
            continue
        (part, full), left = _filled(row, "used", "total"), row.get("left") or FILLED + 1
        if part >= NEARLY_FULL or left <= FILLED:
            yield Finding(PROBLEM if part >= FULL or left <= SOONER else LOOK, where, full + (
                "; at this rate it is full in %s" % text.duration(left) if left <= FILLED else ""),
                "proxmox_get_storage_usage")
    sizes = {(row.get("node"), row.get("total")) for row in places if row.get("used_fraction", 0) >= NEARLY_FULL}
    for name in seen.online:
        part, full = _filled(seen.nodes[name], "disk", "maxdisk")
        if part >= NEARLY_FULL and (name, seen.nodes[name]["maxdisk"]) not in sizes:    # a storage on it says the same
            yield Finding(PROBLEM if part >= FULL else LOOK, "root file system of %s" % name, full,
                          "proxmox_get_node_status")
    known = {row["storage"] for row in places}
    for job in enabled(seen.all["jobs"]):
        if job.get("storage") and job["storage"] not in known and seen.online:
            yield Finding(PROBLEM, "job %s" % job["id"], "saves to storage %s, which is disabled or gone"
                          % job["storage"], "proxmox_list_backup_jobs")
    for node, pool in seen.rows("thin"):
        part, _ = _filled(pool, "metadata_used", "metadata_size")
        if part >= NEARLY_FULL:
            yield Finding(PROBLEM, "thin pool %s/%s on %s" % (pool.get("vg"), pool.get("lv"), node),
                          "its metadata is %s full; when it is, all of its disks fail" % text.percent(part))
    yield from _ceph((seen.all["ceph"] or {}).get("health") or {})


def _ceph(health):
    """A finding for each check of Ceph's own that is not well and was not muted."""
    for name, check in sorted((health.get("checks") or {}).items()):
        if not on(check.get("muted")):
            grave = check.get("severity") == "HEALTH_ERR" or re.search("_DOWN|FULL|DEGRADED|DAMAGED|AVAILABIL", name)
            yield Finding(PROBLEM if grave else LOOK, "Ceph", "%s: %s" % (name, text.line(
                (check.get("summary") or {}).get("message") or check.get("severity"), 200)), "`ceph health detail`")


def _disks(seen):
    unknown = []
    for node, disk in seen.rows("disks"):
        name, left = "%s on %s" % (disk.get("devpath"), node), text.normal("number", disk.get("wearout"))
        unknown += [name] * (disk.get("health") == "UNKNOWN")
        if disk.get("health") not in ("PASSED", "OK", "UNKNOWN", "", None):
            yield Finding(PROBLEM, "disk " + name, "SMART says %s: replace it%s" % (disk["health"], (
                " (%s)" % disk["model"] if disk.get("model") else "")), "proxmox_get_node_disk_smart")
        elif left is not None and left <= WORN and disk.get("type") in ("ssd", "nvme"):
            yield Finding(PROBLEM if left <= WORN / 4 else LOOK, "disk " + name, "%d %% of its life is left" % left,
                          "proxmox_get_node_disk_smart")
    if unknown:
        seen.notes.append("SMART is unknown of %s." % text.listed(unknown, 120))
    sick = [{"node": node, "name": str(pool.get("name")), "pool": pool} for node, pool in seen.rows("zfs")
            if pool.get("health") != "ONLINE"]
    for row, details in seen.call.answered("/nodes/{node}/disks/zfs/{name}", sick):
        row["pool"]["wrong"] = zfs_faults(details)[:4] + [str(details["errors"])] * bool(details.get("errors"))
    for node, pool in seen.rows("zfs"):
        name = "ZFS pool %s on %s" % (pool.get("name"), node)
        if pool.get("health") != "ONLINE":
            yield Finding(PROBLEM, name, ": ".join([str(pool.get("health")), *filter(None, [
                text.line("; ".join(pool.get("wrong", ())), 200)])]), "proxmox_get_node_zfs")
        part, _ = _filled(pool, "alloc", "size")
        if part >= NEARLY_FULL:
            yield Finding(PROBLEM if part >= FULL else LOOK, name, "%s full; ZFS slows down from 80 %%"
                          % text.percent(part), "proxmox_get_node_zfs")


#: Services without which a node does not do its work. Others may be dead by design (pve-lxc-syscalld, timesyncd beside
#: chrony) and count only when systemd calls them failed.
_NEEDED = {"pve-cluster", "pvedaemon", "pveproxy", "pvestatd", "pvescheduler", "corosync", "pve-ha-crm", "pve-ha-lrm",
           "qmeventd", "pve-firewall", "cron"}


def _services(seen):
    for node, row in seen.rows("services"):
        name, states = str(row.get("service")), (row.get("state"), row.get("active-state"))
        idle = name not in _NEEDED or "running" in states or "active" in states
        if row.get("unit-state") in ("masked", "not-found", "disabled") or idle and "failed" not in states or (
                name == "corosync" and len(seen.nodes) == 1):       # in no cluster it does not run
            continue
        yield Finding(PROBLEM if name in _NEEDED else LOOK, "service %s on %s" % (name, node),
                      "failed" if "failed" in states else "not running")


def _certificates(seen):
    for node, row in seen.rows("certificates"):
        left = (text.normal("number", row.get("notafter")) or seen.now + 2 * SOON) - seen.now
        if left < SOON:
            yield Finding(PROBLEM if left < 7 * DAY else LOOK, "certificate %s on %s" % (row.get("filename"), node),
                          "expired" if left < 0 else "expires in %s" % text.duration(left))


def _replication(seen):
    for node, job in seen.rows("replication"):
        name = "replication %s from %s to %s" % (job.get("id"), node, job.get("target"))
        last, following = (text.normal("number", job.get(key)) for key in ("last_sync", "next_sync"))
        if job.get("fail_count"):
            yield Finding(PROBLEM, name, "failed %s times: %s" % (
                job["fail_count"], text.line(job.get("error") or "no reason is told", 120)), since=last or None)
        elif following and seen.now - following > 3600 and not job.get("pid"):
            yield Finding(LOOK, name, "late by %s" % text.duration(seen.now - following), since=last or None)


def _backups(seen):
    """A finding for each verdict, and one for all that no job takes, whatever they have."""
    yield from _failed(seen, backups=True)
    states, unread = backup_state.state(seen.call, seen.guests, seen.resources, seen.all["jobs"], seen.now, brief=True)
    seen.miss("backups", *unread)
    yield from _missed(seen, states)
    verdicts = {}
    for row in states:
        verdicts.setdefault(row["verdict"], []).append(row)
    for verdict, says in backup_state.VERDICTS.items():
        rows = verdicts.get(verdict, ())
        if rows and verdict not in ("unknown", "in no job", "ok"):
            ages = ["%s: %s" % (row["vmid"], text.duration(row["age"])) for row in rows if verdict == "old"]
            yield Finding(PROBLEM if verdict in backup_state.GRAVE else LOOK,
                          guests_of([row["vmid"] for row in rows]), "%s%s" % (
                              says, " (%s)" % text.listed(ages, 120) if ages else ""),
                              "proxmox_list_backup_state")
    left = [row["vmid"] for row in states if row["jobs"] == []]
    if left:
        off = backup_state.switched_off(states)
        yield Finding(LOOK, guests_of(left), "no enabled backup job takes %s%s" % (
            "it" if len(left) == 1 else "these %d" % len(left), " (%s would, but %s switched off)" % (text.line(
                ", ".join(off), 80), "is" if len(off) == 1 else "are") if off else ""), "proxmox_list_backup_jobs")


def _missed(seen, states):
    """Jobs of which the last run left neither backup nor task, though the one before it did and their nodes were up; as
    far as the tasks go back, which are few, and of other users only those that this token may see."""
    tasks = [dict(row, began=text.normal("number", row.get("starttime")) or 0) for row in seen.all["tasks"] or ()]
    for job in enabled(seen.all["jobs"]):
        every, due = backup_state.interval(job.get("schedule")), text.normal("number", job.get("next-run"))
        rows = [row for row in states if str(job["id"]) in (row["jobs"] or ()) and not row["unsure"]]
        if not (every and due and rows):
            continue
        due -= every
        made = max(row["newest"]["ctime"] if row["newest"] else 0 for row in rows)
        up = min(text.normal("number", seen.nodes.get(row["node"], {}).get("uptime")) or 0 for row in rows)
        ran = any(not row.get("endtime") or abs(due - row["began"]) <= 3600
                  for row in tasks if row.get("type") == "vzdump")
        told = {row.get("node") for row in tasks if row["began"] < due and row.get("user") == "root@pam"}
        if LATE < seen.now - due < up and every * 0.75 <= due - made <= every + 3600 and not ran and told.issuperset(
                row["node"] for row in rows):
            yield Finding(LOOK, "job %s" % job["id"], "did not run when it was due, though its nodes were up",
                          "proxmox_list_backup_jobs", due)


def _ha(seen):
    for row in seen.all["ha"] or ():
        state = str(row.get("state"))
        if row.get("type") == "service" and state in ("error", "fence", "recovery"):
            yield Finding(PROBLEM, str(row.get("sid")), "HA state %s on node %s" % (state, row.get("node")),
                          "proxmox_get_ha_status")
        elif row.get("type") in ("lrm", "master") and re.search("old timestamp - dead|fenc", str(row.get("status"))):
            yield Finding(PROBLEM, "%s of %s" % (row["type"], row.get("node")), text.line(row["status"], 120),
                          "proxmox_get_ha_status")
        elif row.get("type") == "lrm" and "maintenance" in str(row.get("status")):
            yield Finding(LOOK, "node %s" % row.get("node"), "in maintenance mode", "proxmox_get_ha_status")


def _guests(seen):
    busy = {str(row.get("id")) for row in seen.all["tasks"] or () if not row.get("endtime")}
    for row in seen.guests:
        lock = row.get("lock")
        if lock and lock not in ("suspended", "suspending") and str(row["vmid"]) not in busy and (
                row.get("node") in seen.online):
            yield Finding(LOOK, who(row), "locked (%s) though no task is known that works on it; "
                          "`%s unlock %s` on its node takes a left-over lock away" % (
                              lock, "qm" if row["type"] == "qemu" else "pct", row["vmid"]), "proxmox_list_tasks")
    rows = {row["vmid"]: row for row in seen.guests}
    for _, vm in seen.rows("vms"):
        state = vm.get("qmpstatus")
        if state in guest.STANDING and not vm.get("lock"):
            yield Finding(LOOK if state in ("paused", "suspended") else PROBLEM,
                          who(rows.get(vm.get("vmid"), dict(vm, type="qemu"))), guest.STANDING[state][1])
    _look_inside(seen)
    for vmid, found in seen.inside.items():
        yield from _inside(seen, rows[vmid], found.get("pending"), found.get("snapshot") or ())
        if "agent is not running" in str(found.get("agent/get-host-name")):
            yield Finding(LOOK, who(rows[vmid]), "its agent is switched on and does not answer: install "
                          "qemu-guest-agent inside, or start it", "proxmox_get_inside")


def _look_inside(seen):
    """Ask what waits for a restart, and of old snapshots: all guests with area=guests, then for agents too; else the
    first that run and the first that do not, those that had a task before the others. Only a guest that descends from a
    snapshot is asked for its snapshots."""
    guests = [row for row in seen.guests if row.get("node") in seen.online and not on(row.get("template"))]
    if seen.area and len(guests) > MOST_GUESTS:
        seen.miss("guests", "%d guests are too many to look into each; narrow it with node" % len(guests))
        return
    if seen.area is None:
        tasks, count = {str(task.get("id")) for task in seen.all["tasks"] or ()}, len(guests)
        guests.sort(key=lambda row: str(row["vmid"]) not in tasks)
        guests = [row for row in guests if guest.is_on(row)][:MOST_ON] + [
            row for row in guests if not guest.is_on(row)][:MOST_OFF]
        seen.notes.append("With area=guests also: silent agents." if len(guests) == count else (
            "Changes that wait and old snapshots were looked for in %d of %s, in those that run or had a task first; "
            "area=guests looks into all, and for silent agents." % (len(guests), text.plural(count, "guest"))))
    seen.ask("pending", guests)
    configs = {row["vmid"]: guest.pending(seen.inside.get(row["vmid"], {}).get("pending"))[0] for row in guests}
    seen.ask("snapshot", [row for row in guests if configs[row["vmid"]].get("parent")])
    if seen.area:
        seen.ask("agent/get-host-name", [row for row in guests if row.get("qmpstatus") == "running" and on(
            parse_property_string(str(configs[row["vmid"]].get("agent", 0)), "enabled").get("enabled"))],
            "agent is not running|Agent error")


def _inside(seen, row, entries, snapshots):
    (config, waiting), suffix = guest.pending(entries), "vm" if row["type"] == "qemu" else "lxc"
    if row.get("status") == "stopped" and on(config.get("onboot")) and not row.get("lock"):
        yield Finding(LOOK, who(row), "stopped although it is to start at boot", "proxmox_start_" + suffix)
    if waiting and row.get("status") == "running":
        gone = [key for key in sorted(waiting) if "then" not in waiting[key]]
        yield Finding(LOOK, who(row), "changes wait for its restart: %s%s" % (
            text.listed(sorted(waiting), 80), "; it takes away %s" % text.listed(gone, 80) if gone else ""),
            "proxmox_get_%s_config" % suffix)
    old = [one for one in snapshots if one.get("name") != "current" and seen.now - (
        text.normal("number", one.get("snaptime")) or seen.now) > OLD_SNAPSHOT]
    if old:
        yield Finding(LOOK, who(row), "%s older than %d days: %s" % (
            text.plural(len(old), "snapshot"), OLD_SNAPSHOT // DAY, text.listed([one["name"] for one in old], 80)),
            "proxmox_list_snapshots", min(one["snaptime"] for one in old))


def _failed(seen, backups=False):
    """Tasks that failed since yesterday, once for each kind and reason; not those that went well later."""
    tasks = [dict(row, endtime=text.normal("number", row.get("endtime"))) for row in seen.all["tasks"] or ()
             if seen.call.args.node in (None, row.get("node")) and (row.get("type") == "vzdump") == backups]
    well, groups = set(), {}
    for row in sorted((row for row in tasks if row["endtime"]), key=lambda row: -row["endtime"]):
        key = row.get("type"), row.get("id"), row.get("node")
        if succeeded(row.get("status")):
            well.add(key)
        elif key not in well and seen.now - row["endtime"] <= YESTERDAY:
            groups.setdefault((row.get("type"), str(row.get("status") or "unknown")), []).append(row)
    latest = [dict(rows[0], says=status, more=len(rows) - 1) for (_, status), rows in groups.items()]
    for row, log in seen.call.answered("/nodes/{node}/tasks/{upid}/log", latest[:MOST_LOGS * backups], {"limit": 1000}):
        lines = [str(line["t"]) for line in log if line.get("t") not in (None, "", "no content")]
        wrong = [line[7:] for line in lines if line.startswith("ERROR: ")] + [
            "%s; its log ends with: %s" % (row["says"], line) for line in lines[-1:]]
        row.update({"says": wrong[0], "told": True} if wrong else {})
    for row in latest:
        yield Finding(PROBLEM if backups else LOOK, task_subject(row) + (
            " and %d more" % row["more"] if row["more"] else ""), "failed: %s" % text.line(row["says"], 160),
            "" if "told" in row else "proxmox_get_task upid=%s" % row.get("upid"), row["endtime"])


def _updates(seen):
    """Only those that Debian released for its stable release: fixes of security holes and of grave mistakes."""
    groups = {}
    for node, updates in seen.each["updates"].items():
        fixes = sorted({str(row.get("Package")) for row in updates if row.get("Origin") == "Debian" and
                        re.search(r"[+~]deb\d+u\d+", str(row.get("Version")))})
        if fixes:
            groups.setdefault(tuple(fixes), []).append(node)
    for fixes, nodes in groups.items():
        yield Finding(LOOK, nodes_of(nodes),
                      "security and stable updates wait: %s" % text.listed(fixes, 120), "proxmox_list_updates")


def _access(seen):
    for user in seen.all["users"] or ():
        for name, entry in [("user %s" % user.get("userid"), user)] + [
                ("token %s!%s" % (user.get("userid"), token.get("tokenid")), token)
                for token in user.get("tokens") or ()]:
            expire = text.normal("number", entry.get("expire")) or 0
            if expire and on(user.get("enable", 1)) and expire - seen.now < SOON:
                ours = name == "token %s" % seen.call.host.settings.token_id
                yield Finding(PROBLEM if ours else LOOK, name + (", used here" if ours else ""), "expired"
                              if expire < seen.now else "expires in %s" % text.duration(expire - seen.now))


CHECKS = {"cluster": _cluster, "storage": _storage, "disks": _disks, "services": _services,
          "certificates": _certificates, "replication": _replication, "backups": _backups, "ha": _ha, "guests": _guests,
          "tasks": _failed, "updates": _updates, "access": _access}


# --------------------------------------------------------------------------------------------------------------- report

@dataclass
class Overview:
    """Health report: what is wrong, worst first."""
    area: Annotated[Optional[str], Arg(enum=tuple(CHECKS))] = None
    node: AnyNode = None


def get_overview(call):
    seen = Seen(call)
    seen.read(READS)
    seen.read(LATER)
    seen.guests = guest.stated(seen.guests, seen.each["vms"].values())
    found, notes = look(seen, CHECKS), []
    fine = [area for area in CHECKS if seen.wants(area) and area not in seen.blind | {one.area for one in found}]
    if fine and found:
        notes.append("Nothing found in: %s." % ", ".join(fine))
    if not seen.guests:
        notes.append("No guest is listed: there is none, or the token may see none (VM.Audit on /vms).")
    notes.append("Looked at %s, %s (%s)%s. Thresholds: %d %% full (%d %% is a problem), full in %d days, %d %% of a "
                 "disk's life left, %d days before it expires." % (
                     text.plural(len(seen.online), "node"), text.plural(len(seen.guests), "guest"),
                     guest.counted(guest.by_state(seen.guests)) or "none", ", " + seen.area + " only" if seen.area
                     else "", NEARLY_FULL * 100, FULL * 100, FILLED // DAY, WORN, SOON // DAY))
    return report(seen, found, notes)


TOOLS = {
    "proxmox_get_overview": Tool("GET /cluster/resources", BASIC, Overview, get_overview, FINDINGS),
}
