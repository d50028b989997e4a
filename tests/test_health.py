"""The health report: what it finds, what it does not call a fault, what it costs."""
import json
import re

import pytest

import tools
from support import Bench, big, ok
from tools import health
from tools.pve import text

READS = ["/cluster/resources", "/cluster/tasks", "/cluster/backup", "/cluster/ha/status/current",
         "/access/users full=1"]
CASES = [
    ("proxmox_get_overview", {"area": "certificates"},
     ["GET /cluster/resources"] + ["GET /nodes/pve%d/certificates/info" % n for n in (1, 2, 3)]),
    ("proxmox_get_overview", {"area": "ha", "node": "pve1"},
     ["GET /cluster/resources", "GET /cluster/ha/status/current"]),
]

NOW, DAY, GIB = 1_796_000_000, 86400, 1 << 30
NODES = ("a", "b", "c")


def _disk(**more):
    return dict({"devpath": "/dev/sda", "type": "ssd", "health": "PASSED", "wearout": 98, "model": "X", "used": "LVM"},
                **more)


def _service(name, state="running", unit="enabled"):
    return {"service": name, "name": name, "state": state, "unit-state": unit,
            "active-state": "active" if state == "running" else "inactive"}


def _storage(name, node, kind, used, **more):
    return dict({"type": "storage", "storage": name, "node": node, "plugintype": kind, "status": "available",
                 "content": "images,rootdir", "maxdisk": 1000 * GIB, "disk": used * GIB, "shared": 0}, **more)


def _task(kind="qmstart", vmid="100", status="OK", ago=3600, node="a", **more):
    return dict({"upid": "UPID:%s:00000001:00000001:00000001:%s:%s:root@pam:" % (node, kind, vmid), "node": node,
                 "type": kind, "id": vmid, "starttime": NOW - ago - 5, "endtime": NOW - ago, "status": status}, **more)


def healthy():
    """{path: data} of a cluster of three nodes in which nothing is wrong, with what is normal in many."""
    world = {
        "/cluster/resources": [
            *({"type": "node", "node": node, "status": "online", "maxcpu": 8, "maxmem": 64 * GIB} for node in NODES),
            *(_storage("local", node, "dir", 200, content="iso,vztmpl") for node in NODES),
            *(_storage("local-lvm", node, "lvmthin", 500) for node in NODES),
            *(_storage("nas", node, "nfs", 700, content="backup,iso", shared=1) for node in NODES),
            *(_storage("tank", node, "zfspool", 100) for node in ("a", "b")),
            {"type": "qemu", "vmid": 100, "node": "a", "name": "web", "status": "running"},
            {"type": "lxc", "vmid": 101, "node": "b", "name": "dns", "status": "running"},
            {"type": "qemu", "vmid": 102, "node": "c", "name": "spare", "status": "stopped"},
            {"type": "qemu", "vmid": 900, "node": "a", "name": "tpl", "status": "stopped", "template": 1}],
        "/cluster/tasks": [_task()],
        "/cluster/backup": [{"id": "nightly", "enabled": 1, "all": 1, "schedule": "21:00", "storage": "nas"},
                            {"id": "old", "enabled": 0, "all": 1, "schedule": "sun 04:00", "storage": "gone"}],
        "/cluster/ha/status/current": [
            {"id": "quorum", "type": "quorum", "quorate": 1, "node": "a"},
            {"type": "master", "node": "a", "status": "a (active, now)"},
            *({"type": "lrm", "node": node, "status": "%s (idle, now)" % node, "timestamp": NOW - 4} for node in NODES),
            {"type": "service", "sid": "vm:100", "node": "a", "state": "started"}],
        "/nodes/b/replication": [],
        "/access/users": [{"userid": "root@pam", "enable": 1, "expire": 0, "tokens": [{"tokenid": "t", "expire": 0}]},
                          {"userid": "left@pve", "enable": 0, "expire": NOW - DAY}],
        "/nodes/a/replication": [{"id": "100-0", "guest": 100, "target": "b", "fail_count": 0, "last_sync": NOW - 600,
                                  "next_sync": NOW + 300}],
        "/nodes/a/qemu": [{"vmid": 100, "name": "web", "qmpstatus": "running"},
                          {"vmid": 900, "name": "tpl", "qmpstatus": "stopped"}],
        "/nodes/a/storage/nas/content": [
            {"volid": "nas:backup/vzdump-%s.tar" % vmid, "vmid": vmid, "ctime": NOW - 9 * 3600, "content": "backup"}
            for vmid in (100, 101, 102)],
        "/cluster/backup/nightly/included_volumes": {"children": []},
        "/nodes/a/storage/nas/rrddata": [{"time": NOW - 86400 * day, "used": 700 * GIB} for day in range(30, 0, -1)],
        **{"/nodes/%s/disks/zfs" % node: [{"name": "tank", "health": "ONLINE", "size": 100, "alloc": 10}]
           for node in ("a", "b")},
        "/nodes/a/qemu/100/pending": [{"key": "agent", "value": "1"}, {"key": "onboot", "value": 1}],
        "/nodes/b/lxc/101/pending": [{"key": "hostname", "value": "dns"}],
        "/nodes/c/qemu/102/pending": [{"key": "name", "value": "spare"}]}
    for node in NODES:
        world.update({
            "/nodes/%s/version" % node: {"version": "9.1.1"}, "/nodes/%s/disks/list" % node: [_disk()],
            "/nodes/%s/disks/lvmthin" % node: [{"vg": "pve", "lv": "data", "metadata_size": 100, "metadata_used": 5}],
            "/nodes/%s/certificates/info" % node: [{"filename": "pve-ssl.pem", "notafter": NOW + 300 * DAY}],
            "/nodes/%s/apt/update" % node: [{"Package": "pve-manager", "Origin": "Proxmox", "Version": "9.1.4"}],
            "/nodes/%s/services" % node: [_service("pveproxy"), _service("pve-cluster"), _service("corosync"),
                                          _service("pve-lxc-syscalld", "dead")]})
    return world


class Served:
    """Answers GETs out of {path: data}, data being (status, reason) for an error; counts the requests."""

    def __init__(self, world):
        self.bench, self.requests = Bench(), []
        self.bench.host.now = lambda: NOW

        def handle(verb, target, headers, body=b""):
            path = target.split("?")[0][len("/api2/json"):]
            self.requests.append(path)
            data = world.get(path, (501, "Method 'GET %s' not implemented" % path))
            status, reason = data if isinstance(data, tuple) else (200, "OK")
            return status, reason, {"Content-Type": "application/json"}, json.dumps(
                {"data": None if isinstance(data, tuple) else data}).encode()
        self.bench.cluster.handle = handle

    def report(self, **arguments):
        return ok(self.bench.run("proxmox_get_overview", **arguments))


def _row(world, **wanted):
    return next(row for row in world["/cluster/resources"] if wanted.items() <= row.items())


def _change(path, number=0, **more):
    return lambda world: world[path][number].update(more)


def _put(path, data):
    return lambda world: world.update({path: data})


def _add(path, row):
    return lambda world: world[path].append(row)


def _res(wanted, **more):
    return lambda world: _row(world, **wanted).update(more)


def _WAITING(world):
    world["/nodes/a/qemu/100/pending"] = [{"key": "memory", "value": "2048", "pending": "4096"},
                                          {"key": "net0", "value": "virtio=x", "delete": 1}]


def _OLD(world):
    world["/nodes/b/lxc/101/pending"] = [{"key": "parent", "value": "new"}]
    world["/nodes/b/lxc/101/snapshot"] = [{"name": "old", "snaptime": NOW - 61 * DAY},
                                          {"name": "new", "snaptime": NOW - DAY, "parent": "old"}, {"name": "current"}]


def _growing(by):
    """The nas grew by so many GiB a day."""
    return lambda world: world.update({"/nodes/a/storage/nas/rrddata": [
        {"time": NOW - day * DAY, "used": (700 - by * day) * GIB} for day in range(30, 0, -1)]})


def _ceph(**checks):
    """A disk is an OSD, and Ceph is not well."""
    return lambda world: (world["/nodes/c/disks/list"].append(_disk(devpath="/dev/sdb", osdid=3, used="LVM")),
                          world.update({"/cluster/ceph/status": {"health": {"status": "HEALTH_WARN", "checks": {
                              name: {"severity": "HEALTH_WARN", "summary": {"message": says}, "muted": says == "muted"}
                              for name, says in checks.items()}}}}))


BACKUPS, LRM = "/nodes/a/storage/nas/content", "/cluster/ha/status/current"
#: (what is planted, what the report says of it): level, about, what.
FAULTS = [
    (_res({"type": "node", "node": "c"}, status="offline"), "problem  node c  offline, with 1 guest"),
    (_res({"type": "node", "node": "c"}, status="unknown"), "look node c has not reported lately"),
    (_change(LRM, 0, quorate=0), "problem cluster no quorum"),
    (_put("/nodes/b/version", {"version": "9.0.3"}), "look nodes versions differ: 9.0.3 on b; 9.1.1 on a, c"),
    (_change(LRM, 3, timestamp=NOW - 100), "look node b its clock, or its HA service, is 1 min 36 s behind"),
    (_res({"type": "node", "node": "a"}, disk=93 * GIB, maxdisk=96 * GIB),
     "problem root file system of a 97 % full, 93 GiB of 96 GiB used"),
    (_res({"storage": "local-lvm", "node": "b"}, disk=930 * GIB), "problem storage local-lvm on b 93 % full, 930 GiB "
                                                                  "of 1000 GiB used"),
    (_res({"storage": "nas"}, disk=850 * GIB), "look storage nas 85 % full"),
    (_growing(12), "look storage nas 70 % full, 700 GiB of 1000 GiB used; at this rate it is full in 25 d"),
    (_growing(60), "problem storage nas 70 % full, 700 GiB of 1000 GiB used; at this rate it is full in 5 d"),
    (_WAITING, "look VM 100 (web) changes wait for its restart: memory, net0; it takes away net0"),
    (_OLD, "look container 101 (dns) 1 snapshot older than 60 days: old"),
    (_res({"storage": "nas", "node": "b"}, status="unknown"), "problem storage nas not reachable from b"),
    (_change("/cluster/backup", 0, storage="gone"), "problem job nightly saves to storage gone, which is disabled or "
                                                    "gone"),
    (_put("/nodes/b/disks/lvmthin", [{"vg": "pve", "lv": "data", "metadata_size": 100, "metadata_used": 95}]),
     "problem thin pool pve/data on b its metadata is 95 % full"),
    (_put("/nodes/a/disks/list", [_disk(health="FAILED")]), "problem disk /dev/sda on a SMART says FAILED"),
    (_put("/nodes/b/disks/list", [_disk(wearout=12)]), "look disk /dev/sda on b 12 % of its life is left"),
    (lambda world: world.update({"/nodes/c/disks/list": [_disk(used="ZFS")], "/nodes/c/disks/zfs": [
        {"name": "rpool", "health": "DEGRADED", "size": 100, "alloc": 20}], "/nodes/c/disks/zfs/rpool": {
            "errors": "No known data errors", "children": [{"name": "rpool", "state": "DEGRADED", "children": [
                {"name": "sda", "state": "ONLINE"}, {"name": "sdb", "state": "FAULTED"}]}]}}),
     "problem ZFS pool rpool on c DEGRADED: sdb FAULTED; No known data errors"),
    (lambda world: world.update({"/nodes/a/disks/list": [_disk(used="ZFS")], "/nodes/a/disks/zfs": [
        {"name": "rpool", "health": "ONLINE", "size": 100, "alloc": 84}]}), "look ZFS pool rpool on a 84 % full"),
    (_ceph(OSD_DOWN="1 osds down"), "problem Ceph OSD_DOWN: 1 osds down; `ceph health detail`"),
    (_ceph(OSD_NEARFULL="2 nearfull osd(s)"), "problem Ceph OSD_NEARFULL: 2 nearfull"),
    (_ceph(OSDMAP_FLAGS="noout flag(s) set"), "look Ceph OSDMAP_FLAGS: noout flag(s) set"),
    (_add("/nodes/a/services", _service("pvescheduler", "dead")), "problem service pvescheduler on a not running"),
    (_add("/nodes/b/services", _service("smartmontools", "failed")), "look service smartmontools on b failed"),
    (_change("/nodes/c/certificates/info", notafter=NOW + 20 * DAY), "look certificate pve-ssl.pem on c expires in 20 "
                                                                     "d"),
    (_change("/nodes/a/certificates/info", notafter=NOW - 60), "problem certificate pve-ssl.pem on a expired"),
    (_change("/nodes/a/replication", fail_count=3, error="no route to host"),
     "problem replication 100-0 from a to b failed 3 times: no route to host"),
    (_change("/nodes/a/replication", next_sync=NOW - 7200), "look replication 100-0 from a to b late by 2 h"),
    (lambda world: world[BACKUPS].pop(2), "problem guest 102 never backed up"),
    (_change(BACKUPS, 1, ctime=NOW - 5 * DAY), "problem guest 101 the newest backup is too old (101: 5 d)"),
    (_change(BACKUPS, 0, verification={"state": "failed"}), "problem guest 100 the newest backup failed its "
                                                            "verification"),
    (_change("/cluster/backup", 0, exclude="100"), "look guest 100 no enabled backup job takes it (old would, but is "
                                                   "switched off)"),
    (_put("/cluster/backup/nightly/included_volumes", {"children": [{"id": 101, "children": [
        {"name": "mp0", "included": 0, "reason": "disabled"}]}]}), "look guest 101 a disk is not in its backups"),
    (_add("/cluster/tasks", _task("vzdump", "", "job errors")), "problem vzdump on a failed: job errors"),
    (lambda world: (world["/cluster/tasks"].append(_task("vzdump", "101", "unexpected", 30 * 3600)), world.update({
        "/nodes/a/tasks/%s/log" % _task("vzdump", "101")["upid"]: [
            {"n": 1, "t": "INFO: starting"}, {"n": 2, "t": "ERROR: Backup of VM 101 failed - no space left"}]})),
     "problem vzdump of 101 on a failed: Backup of VM 101 failed - no space left (since"),
    (lambda world: world["/cluster/tasks"].extend(_task("qmstart", "102", "no such VM", n) for n in (60, 90)),
     "look qmstart of 102 on a and 1 more failed: no such VM"),
    (_change(LRM, 5, state="error"), "problem vm:100 HA state error on node a"),
    (_change(LRM, 4, status="c (old timestamp - dead?, long ago)"), "problem lrm of c c (old timestamp - dead?"),
    (_change(LRM, 4, status="c (maintenance mode, now)"), "look node c in maintenance mode"),
    (_res({"vmid": 101}, lock="backup"), "look container 101 (dns) locked (backup) though no task is known"),
    (_change("/nodes/a/qemu", 0, qmpstatus="io-error"), "problem VM 100 (web) stands still after an I/O error"),
    (_change("/nodes/a/qemu", 0, qmpstatus="paused"), "look VM 100 (web) paused"),
    (_add("/nodes/c/qemu/102/pending", {"key": "onboot", "value": 1}), "look VM 102 (spare) stopped although"),
    (_add("/nodes/b/apt/update", {"Package": "openssl", "Origin": "Debian", "Version": "3.5.4-1~deb13u1"}),
     "look node b security and stable updates wait: openssl"),
    (lambda world: world["/access/users"][0]["tokens"][0].update(expire=NOW + 3 * DAY),
     "look token root@pam!t expires in 3 d"),
    (_add("/access/users", {"userid": "x@pve", "enable": 1, "expire": NOW - 9}), "look user x@pve expired"),
]


def _flat(answer):
    return re.sub(r" +", " ", answer.text)


@pytest.mark.parametrize("plant, says", FAULTS, ids=[re.sub(r" +", " ", says)[:50] for _, says in FAULTS])
def test_a_fault_is_found_and_nothing_else(plant, says):
    world = healthy()
    plant(world)
    answer = Served(world).report()
    assert re.sub(r" +", " ", says) in _flat(answer), answer.text
    assert answer.data["total"] == 1 or "offline" in says or "gone" in says, answer.text


def test_a_healthy_cluster_has_no_findings():
    served = Served(healthy())
    answer = served.report()
    assert answer.text.startswith("\u2705 Nothing found\nLooked at 3 nodes, 4 guests (2 running, 1 stopped, 1 "
                                  "template)")
    assert answer.data["items"] == []
    assert sorted(served.requests[:5]) == sorted(path.split()[0] for path in READS)
    # VMs, replication and ZFS; the backups and the job, the history of the storage; each guest
    assert len(served.requests) == 6 + 6 * 3 + 2 + 3 + 3 + 3 - 1, served.requests


#: Faults that are there together: those that say the opposite of another are left out.
_APART = ("offline, with", "not reported lately", "not reachable", "gone", "SMART", "in 25 d", "in 5 d", "in 20 d",
          "FULL:", "OSDMAP", "3 times", "no enabled", "a disk is not", "left no", "old timestamp", "paused", "locked")
TOGETHER = [row for row in FAULTS if not any(word in row[1] for word in _APART)]


def test_many_faults_are_found_in_one_short_report():
    world = healthy()
    for plant, _ in TOGETHER:
        plant(world)
    served = Served(world)
    answer = served.report()
    missing = [says for _, says in TOGETHER if re.sub(r" +", " ", says) not in _flat(answer)]
    assert len(TOGETHER) >= 25 and not missing, answer.text
    assert len(answer.text.encode()) <= 6000
    # Beside nodes and cluster: the backup storage, the job, Ceph; a look into each guest, and more of what fails.
    assert len(served.requests) <= 8 * 3 + 6 + 3 + 4 + 4


def test_tools_that_are_named_exist():
    with open(health.__file__, encoding="ascii") as stream:
        named = set(re.findall(r"proxmox_[a-z_]+[a-z]\b", stream.read()))
    assert named <= {entry["name"] for entry in tools.surface()}


def _locked(world):
    _row(world, vmid=101)["lock"] = "backup"
    world["/cluster/tasks"].append({"upid": "x", "node": "b", "type": "vzdump", "id": "101", "starttime": NOW - 60})


#: What is normal in many clusters.
NORMAL = {
    "a guest is locked by its own backup": _locked,
    "a hibernated VM": _res({"vmid": 102}, lock="suspended"),
    "a task that failed and then went well": lambda world: world["/cluster/tasks"].extend(
        [_task("vzdump", "101", "job errors", 7200), _task("vzdump", "101", "OK", 3600)]),
    "a task that ended with warnings": _add("/cluster/tasks", _task("vzdump", "101", "WARNINGS: 2")),
    "a task that failed two days ago": _add("/cluster/tasks", _task("qmstart", "101", "no", 2 * DAY)),
    "a disk behind a RAID controller": _put("/nodes/a/disks/list", [_disk(health="UNKNOWN", wearout="N/A")]),
    "a hard disk has no wearout": _put("/nodes/a/disks/list", [_disk(type="hdd", wearout="N/A")]),
    "an SD card without SMART": _put("/nodes/a/disks/list",
                                     [{"devpath": "/dev/mmcblk0", "type": "unknown", "size": 1}]),
    "corosync on a node by itself": lambda world: (
        world["/cluster/resources"].__setitem__(slice(None), [
            row for row in world["/cluster/resources"] if row.get("node") == "a"]),
        world["/cluster/backup"][0].update(vmid="100", all=0),
        world["/nodes/a/services"].__setitem__(2, _service("corosync", "dead"))),
    "timesyncd beside chrony": _add("/nodes/a/services", _service("systemd-timesyncd", "dead")),
    "a masked service": _add("/nodes/a/services", _service("pve-firewall", "dead", "masked")),
    "updates of Proxmox itself": _add("/nodes/b/apt/update", {"Package": "qemu-server", "Origin": "Proxmox",
                                                               "Version": "9.1.3"}),
    "a weekly job": lambda world: (world["/cluster/backup"][0].update(schedule="sat 03:00"), [
        row.update(ctime=NOW - 6 * DAY) for row in world[BACKUPS]]),
    "a job of working days on Monday": lambda world: (world["/cluster/backup"][0].update(schedule="mon..fri 02:30"), [
        row.update(ctime=NOW - 3 * DAY) for row in world[BACKUPS]]),
    "a monthly job": lambda world: (world["/cluster/backup"][0].update(schedule="*-*-01 03:00"), [
        row.update(ctime=NOW - 30 * DAY) for row in world[BACKUPS]]),
    "backups that nobody verifies": _put("/nodes/a/storage/nas/content", [
        {"volid": "nas:b/%d" % vmid, "vmid": vmid, "ctime": NOW - 3600} for vmid in (100, 101, 102)]),
    "a template without backup": lambda world: None,
    "an old backup beside a new one that is fine": _add(BACKUPS, {
        "volid": "nas:x", "vmid": 100, "ctime": NOW - 90 * DAY, "verification": {"state": "failed"}}),
    "a job that is switched off and saves to a storage that is gone": lambda world: None,
    "replication that is just running": _change("/nodes/a/replication", next_sync=NOW - 7200, pid=77),
    "a stopped VM that is not to start at boot": _add("/nodes/c/qemu/102/pending", {"key": "onboot", "value": 0}),
    "a disabled user that expired": _add("/access/users", {"userid": "y@pve", "enable": 0, "expire": NOW - 9}),
    "a token that expires in a year": lambda world: world["/access/users"][0]["tokens"][0].update(expire=NOW
        + 365 * DAY),
    "a root file system with room": _res({"type": "node", "node": "a"}, disk=60 * GIB, maxdisk=96 * GIB),
    "a storage that grows slowly": _growing(2),
    "a storage that is new, and its first files": lambda world: world.update({"/nodes/a/storage/nas/rrddata": [
        {"time": NOW - hour * 3600, "used": (700 - hour) * GIB} for hour in range(60, 0, -1)]}),
    "a warning of Ceph that was muted": _ceph(POOL_NO_REDUNDANCY="muted"),
    "a Ceph cluster that is elsewhere": lambda world: (
        _row(world, storage="tank").update(plugintype="rbd"),
        world.update({"/cluster/ceph/status": (500, "binary not installed: /usr/bin/ceph-mon")})),
    "a backup that is late, and running": lambda world: ([row.update(ctime=NOW - 28 * 3600) for row in world[BACKUPS]],
        world["/cluster/tasks"].append({"upid": "x", "node": "b", "type": "vzdump", "id": "", "starttime": NOW - 60})),
    "clocks a few seconds apart": _change(LRM, 3, timestamp=NOW - 20),
    "an HA resource that is stopped on purpose": _change(LRM, 5, state="stopped"),
}


@pytest.mark.parametrize("kind", NORMAL)
def test_what_is_normal_is_no_finding(kind):
    world = healthy()
    NORMAL[kind](world)
    answer = Served(world).report()
    assert answer.data["items"] == [], answer.text


def test_a_directory_on_a_full_root_file_system_is_told_once():
    world = healthy()
    _res({"type": "node", "node": "a"}, disk=930 * GIB, maxdisk=1000 * GIB)(world)
    _res({"storage": "local", "node": "a"}, disk=930 * GIB)(world)
    assert [row["about"] for row in Served(world).report().data["items"]] == ["storage local on a"]


def _more(world, count, status="running"):
    """So many more containers, from 200 on, in which nothing waits."""
    world["/cluster/resources"] += [{"type": "lxc", "vmid": vmid, "node": "a", "name": "x", "status": status}
                                    for vmid in range(200, 200 + count)]
    world.update({"/nodes/a/lxc/%d/pending" % vmid: [] for vmid in range(200, 200 + count)})


def test_a_change_that_waits_is_told_however_many_stopped_guests_there_are():
    world = healthy()
    _WAITING(world)
    _more(world, 30, "stopped")
    answer = Served(world).report()
    assert "look VM 100 (web) changes wait for its restart: memory, net0; it takes away net0" in _flat(answer)


def test_of_many_guests_some_are_looked_into_and_it_is_said_how_many():
    world = healthy()
    _more(world, 60)
    world["/cluster/tasks"].append(_task("vzdump", "259"))
    served = Served(world)
    assert "Changes that wait and old snapshots were looked for in 41 of 63 guests, in those that run or had a task "\
        "first; area=guests looks into all, and for silent agents." in served.report().text
    looked = [path for path in served.requests if path.endswith("/pending")]
    assert len(looked) == 41 and {"/nodes/c/qemu/102/pending", "/nodes/a/lxc/259/pending"} <= set(looked)


def test_a_list_of_guests_is_cut_between_two_of_them():
    world = healthy()
    world["/cluster/resources"] += [{"type": "lxc", "vmid": vmid, "node": "a", "name": "x", "status": "running"}
                                    for vmid in [*range(2000, 2100, 2), 3000, 3001, 3002]]
    answer = Served(world).report(area="backups")
    assert "  guests 2000, 2002, 2004, 2006, 2008, 2010 and 47 more  never backed up" in answer.text
    assert answer.data["items"][0]["about"].endswith("2096, 2098, 3000-3002")


def test_a_name_that_is_too_long_is_cut_and_loses_no_part():
    world = healthy()
    world["/nodes/a/replication"][0].update(fail_count=3, target="b" * 60)
    assert "replication 100-0 from a to bbbb" in Served(world).report(area="replication").text


def test_that_no_run_is_there_is_not_told_of_tasks_that_could_not_be_read():
    world = healthy()
    _due(4 * 3600, 28 * 3600)(world)
    world["/cluster/tasks"] = (500, "timeout")
    assert Served(world).report().data["items"] == []


def _due(at, made, up=30 * DAY):
    """A job of each day that was due so long ago, with the newest backup made and the nodes up for so long."""
    def plant(world):
        world["/cluster/backup"][0]["next-run"] = NOW - at + DAY
        for row in world[BACKUPS]:
            row["ctime"] = NOW - made
        for row in world["/cluster/resources"]:
            if row["type"] == "node":
                row["uptime"] = up
        world["/cluster/tasks"] += [_task("vzdump", "", ago=at + DAY, node=node, user="root@pam") for node in NODES]
    return plant


def test_a_run_of_a_backup_job_that_was_missed_is_found():
    world = healthy()
    _due(4 * 3600, 28 * 3600)(world)
    world["/cluster/tasks"].append(_task("vzdump", "", ago=3600))       # another job's
    assert "look job nightly did not run when it was due, though its nodes were up (since 2026-11-29 20:53:20 UTC)" in (
        _flat(Served(world).report()))


@pytest.mark.parametrize("plant", [
    _due(4 * 3600, 4 * 3600 - 60), _due(3600, 25 * 3600), _due(4 * 3600, 28 * 3600, 3 * 3600),
    lambda world: (_due(4 * 3600, 28 * 3600)(world), world["/cluster/tasks"].append(
        {"upid": "x", "node": "b", "type": "vzdump", "id": "", "starttime": NOW - 60})),
    lambda world: (_due(4 * 3600, 28 * 3600)(world), world["/cluster/tasks"].append(_task("vzdump", "", ago=4 * 3600))),
    lambda world: (_due(4 * 3600, 28 * 3600)(world), world["/cluster/backup"][0].update(schedule="mon..fri 21:00")),
    _due(4 * 3600, 10 * 3600),
    lambda world: (_due(4 * 3600, 28 * 3600)(world), world["/cluster/tasks"].pop()),
    lambda world: (_due(4 * 3600, 28 * 3600)(world), [row.update(user="me@pve") for row in world["/cluster/tasks"]])],
    ids=["it ran", "due an hour ago", "the nodes were down", "it is running", "its task is there",
         "days that are not alike", "a job that is newer than its time", "the tasks of a node do not go back to it",
         "the token sees its own tasks only"])
def test_a_run_that_was_not_missed_is_no_finding(plant):
    world = healthy()
    plant(world)
    assert Served(world).report().data["items"] == []


def test_local_backups_are_read_only_when_the_shared_ones_are_not_enough():
    world = healthy()
    world["/cluster/resources"] += [_storage("dump", node, "dir", 10, content="backup") for node in NODES]
    world.update({"/nodes/%s/storage/dump/content" % node: [] for node in NODES})
    served = Served(world)
    assert served.report().data["items"] == [] and "/nodes/b/storage/dump/content" not in served.requests
    gone = world[BACKUPS].pop(2)
    world["/nodes/b/storage/dump/content"] = [dict(gone, volid="dump:backup/x")]
    assert served.report().data["items"] == [] and "/nodes/b/storage/dump/content" in served.requests


def test_area_guests_looks_into_each_guest():
    world = healthy()
    _WAITING(world)
    _OLD(world)
    world["/nodes/a/qemu/100/pending"].append({"key": "agent", "value": "enabled=1"})
    world["/nodes/a/qemu/100/agent/get-host-name"] = (500, "QEMU guest agent is not running")
    served = Served(world)
    answer = served.report(area="guests")
    assert "look VM 100 (web) changes wait for its restart: memory, net0; it takes away net0" in _flat(answer)
    assert "1 snapshot older than 60 days: old" in answer.text and answer.data["total"] == 3
    assert "look VM 100 (web) its agent is switched on and does not answer" in _flat(answer)
    assert not [path for path in served.requests if path.endswith(("100/snapshot", "101/agent/get-host-name"))]
    assert {row["area"] for row in answer.data["items"]} == {"guests"}


def test_what_cannot_be_read_is_said_once_and_hides_nothing():
    world = healthy()
    for node in NODES:
        world["/nodes/%s/apt/update" % node] = (403, "Permission check failed (/nodes/%s, Sys.Modify)" % node)
    world["/cluster/backup"] = (403, "Permission check failed (/, Sys.Audit)")
    world[LRM][5]["state"] = "error"
    answer = Served(world).report()
    assert answer.text.startswith("\u2705 1 problem, 0 worth a look; 2 things could not be read\n")
    assert answer.text.count("Not read: ") == 2 and "Not read: Updates of a, b, c: " in answer.text
    assert "HA state error" in answer.text


def test_a_node_that_is_down_costs_one_line():
    world = healthy()
    _row(world, type="node", node="c")["status"] = "offline"
    for path in [path for path in world if path.startswith("/nodes/c/")]:
        world[path] = (595, "No route to host")
    served = Served(world)
    answer = served.report()
    assert answer.data["total"] == 1 and "Not read" not in answer.text
    assert not [path for path in served.requests if path.startswith("/nodes/c/")]


def test_one_node_only():
    served = Served(healthy())
    assert "Looked at 1 node, 1 guest (1 running)" in served.report(node="b").text
    assert not [path for path in served.requests if path.startswith(("/nodes/a/disks", "/nodes/c/"))]


def test_ten_thousand_guests():
    bench = Bench(big())
    answer = ok(bench.run("proxmox_get_overview"))
    assert text.weight(answer.text) <= 8000 and "10,000 guests" in answer.text


def test_a_token_that_may_nothing_gets_a_hint():
    answer = ok(Bench(tokens={"root@pam!demo": {"value": None, "acl": {}}}).run("proxmox_get_overview"))
    assert "No guest is listed: there is none, or the token may see none (VM.Audit on /vms)." in answer.text
