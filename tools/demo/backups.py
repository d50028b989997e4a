"""Backups: vzdump with its log and pruning, backup jobs, guests without a backup."""
import re
import time

from tools.demo import calendar, drives
from tools.demo import world as start
from tools.demo.disks import human
from tools.demo.guests import agent_enabled, ha_of
from tools.demo.model import GIB, MIB, Refusal, bad, die, is_cdrom, size_text
from tools.demo.power import switch_off, switch_on
from tools.demo.rules import array, boolean, enum, integer, parse_properties, properties, split_list, string
from tools.demo.tasks import error_text
from tools.demo.wire import ALL, Route, perm

_KEEPS = ("keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly")
KEEP_RULES = properties(dict({"keep-all": boolean("Keep all.", requires=None)},
                        **{key: integer("Keep so many.", 0) for key in _KEEPS}))


def parse_retention(text):
    """{rule: number} of a prune-backups property string; {} keeps all."""
    if isinstance(text, dict):
        text = ",".join("%s=%s" % pair for pair in text.items())
    values = parse_properties(KEEP_RULES, text or "keep-all=1")
    if values.pop("keep-all", "0") == "1":
        return {}
    return {key: int(value) for key, value in values.items() if int(value) > 0}


_PERIODS = (("keep-hourly", "%Y-%m-%d %H"), ("keep-daily", "%Y-%m-%d"), ("keep-weekly", "%G-%V"),
            ("keep-monthly", "%Y-%m"), ("keep-yearly", "%Y"))


def marks(storage, node, keep, vmid=None, kind=None):
    """[(Volume, "keep" | "remove" | "protected")] of the backups on a storage, by guest, oldest first."""
    groups = {}
    for volume in storage.at(node).values():
        if volume.content == "backup" and vmid in (None, volume.vmid) and kind in (None, volume.facts["subtype"]):
            groups.setdefault((volume.facts["subtype"], volume.vmid), []).append(volume)
    found = []
    for volumes in groups.values():
        volumes.sort(key=lambda volume: -volume.ctime)
        mark = {volume.volid: "protected" for volume in volumes if volume.protected}
        free = [volume for volume in volumes if not volume.protected]
        if not keep:
            mark.update((volume.volid, "keep") for volume in free)
        for volume in free[:keep.get("keep-last", 0)]:
            mark[volume.volid] = "keep"
        for rule, form in _PERIODS:
            seen = {time.strftime(form, time.gmtime(volume.ctime)) for volume in free
                    if mark.get(volume.volid) == "keep"}
            count = keep.get(rule, 0)
            for volume in free:
                if count <= 0:
                    break
                period = time.strftime(form, time.gmtime(volume.ctime))
                if volume.volid in mark or period in seen:
                    continue
                seen.add(period)
                mark[volume.volid] = "keep"
                count -= 1
        found += [(volume, mark.get(volume.volid, "remove")) for volume in reversed(volumes)]
    return found


_SPEED = 800 * MIB
_EXTENSIONS = {"zstd": "zst", "gzip": "gz", "1": "lzo", "lzo": "lzo", "0": ""}


def _check_choice(p):
    """PVE::VZDump::verify_vzdump_parameters."""
    for name, other in (("all", "vmid"), ("exclude", "vmid"), ("pool", "all"), ("pool", "vmid")):
        if p.get(name) and p.get(other):
            bad(**{name: "option conflicts with option '%s'" % other})
    if not (p.get("all") or p.get("vmid") or p.get("pool") or p.get("stop")):
        bad(vmid="property is missing")
    for name in ("tmpdir", "dumpdir", "script", "job-id"):
        if name in p:
            bad(**{name: "Only root may set this option."})


def _chosen(world, p):
    """{node: [vmid]}; guests that do not exist are under ""."""
    if p.get("pool"):
        if p["pool"] not in world.pools:
            die("pool '%s' does not exist" % p["pool"])
        ids = list(world.pools[p["pool"]]["vms"])
    elif p.get("all"):
        excluded = {int(word) for word in split_list(p.get("exclude", ""))}
        ids = [vmid for vmid in world.guests if vmid not in excluded]
    else:
        ids = [int(word) for word in split_list(p.get("vmid", ""))]
    found = {}
    for vmid in sorted(set(ids)):
        guest = world.guests.get(vmid)
        found.setdefault(guest.node if guest else "", []).append(vmid)
    return found


def vzdump(call):
    """POST /nodes/{node}/vzdump: a UPID, or "OK" when none of the guests is on this node."""
    world, p = call.world, call.p
    _check_choice(p)
    if "bwlimit" in p or "ionice" in p or "performance" in p:
        call.need("/", "Sys.Modify")
    name = p.get("storage", "local")
    call.need("/storage/" + name, "Datastore.AllocateSpace")
    if p.get("storage") and p.get("prune-backups") is not None:
        call.need("/storage/" + name, "Datastore.Allocate")
    chosen = _chosen(world, p)
    ids = sorted(chosen.get(call.node, []) + chosen.get("", []))
    if p.get("all"):
        ids = [vmid for vmid in ids if call.may("/vms/%d" % vmid, "VM.Backup")]
    for vmid in ids:
        call.need("/vms/%d" % vmid, "VM.Backup")
    if p.get("stop") or not ids:
        return "OK"
    words = " ".join(["vzdump"] + [str(vmid) for vmid in ids] + ["--%s %s" % (
        key, int(value) if isinstance(value, bool) else "'%s'" % value if key == "notes-template" else value)
        for key, value in sorted(p.items()) if key not in ("vmid",)])

    def worker(task):
        try:
            storage = world.online_storage(name, call.node)
            if "backup" not in storage.content:
                die("can't use storage '%s' for backups - wrong content type" % name)
        except Refusal as error:
            die("could not get storage information for '%s': %s" % (name, error.text))
        keep = parse_retention(p.get("prune-backups") or storage.conf.get("prune-backups", "keep-all=1"))
        task.say("INFO: starting new backup job: %s" % words)
        waited = False
        while any(other.running and other.type == "vzdump" and other.node == call.node and other.holds_lock
                  for other in list(world.tasks.all.values())):
            if not waited:
                task.say("INFO: trying to get global lock - waiting...")
                waited = True
            yield 1.0
        task.holds_lock = True
        if waited:
            task.say("INFO: got global lock")
        failed = 0
        for vmid in ids:
            begun = world.t
            try:
                yield from _backup(call, task, vmid, storage, keep)
            except Refusal as error:
                failed += 1
                task.say("ERROR: Backup of VM %d failed - %s" % (vmid, error.text.strip()))
                task.say("INFO: Failed at %s" % _date(world))
            else:
                task.say("INFO: Finished Backup of VM %d (%s)" % (
                    vmid, time.strftime("%H:%M:%S", time.gmtime(world.t - begun))))
                task.say("INFO: Backup finished at %s" % _date(world))
        task.holds_lock = False
        if failed:
            task.say("INFO: Backup job finished with errors")
            die("job errors")
        task.say("INFO: Backup job finished successfully")
    return call.fork("vzdump", ids[0] if len(ids) == 1 else "", worker)


def _date(world):
    return start.stamp(world.t, "%Y-%m-%d %H:%M:%S")


def _backup(call, task, vmid, storage, keep):
    """Worker part: one guest."""
    world, p = call.world, call.p
    guest, say = world.guests.get(vmid) or die("unable to find VM '%d'" % vmid), task.say
    say("INFO: Starting Backup of VM %d (%s)\nINFO: Backup started at %s" % (vmid, guest.kind,
        _date(world)))
    compress = p.get("compress", "0")
    mode = p.get("mode", "snapshot") if guest.running else "stop"
    say("INFO: status = running" if guest.running else "INFO: status = stopped\nINFO: backup mode: stop")
    if not p.get("remove", True) and keep and storage.type != "pbs":
        _check_limit(guest, storage, sum(keep.values()))
    resource = ha_of(world, guest)
    if mode == "stop" and guest.running and resource and resource["state"] in ("started", "enabled"):
        die("Cannot execute a backup with stop mode on a HA managed and enabled Service. Use snapshot mode or disable "
            "the Service.")
    guest.check_lock()
    say("INFO: %s Name: %s" % (guest.what, guest.name))
    included, total = _included(world, guest)
    _name(say, guest, included)
    if guest.kind == "lxc" and mode == "snapshot" and not all(
            drives.can_snapshot(world, volid, guest.node) for _, _, volid in guest.disks(unused=False)):
        say("INFO: mode failure - some volumes do not support snapshots\nINFO: trying 'suspend' mode instead")
        mode = "suspend"
    if guest.running:
        say("INFO: backup mode: %s" % mode)
    say("INFO: ionice priority: 7")
    if guest.snapshots and guest.kind == "qemu":
        say("INFO: snapshots found (not included into backup)")
    world.check_writable(guest)
    # A task killed from here on leaves the lock behind, as with Proxmox.
    guest.conf["lock"] = "backup"
    begun, stopped = world.t, mode == "stop" and guest.running
    if guest.kind == "qemu" and not guest.running:
        guest.running, guest.paused, guest.since = True, "prelaunch", world.t
    try:
        if stopped:
            say("INFO: stopping vm" if guest.kind == "lxc" else "INFO: stopping virtual guest")
            yield 2.0
            switch_off(world, guest)
        yield from _copy(world, task, guest, storage, compress, mode, total)
        size = total if storage.type == "pbs" else int(total * (0.28 if compress == "0" else 0.12))
        if size * (0.05 if storage.type == "pbs" else 1) > storage.space(guest.node)[2]:
            die("vma_queue_write: write error - Broken pipe\nNo space left on device" if guest.kind == "qemu" else
                "command 'tar cpf - ... | zstd' failed: exit code 1: No space left on device")
        volume = start.backup_volume(world, storage, guest, begun, size, _EXTENSIONS[compress])
        _archive(call, say, storage, volume, guest)
        if p.get("remove", True):
            _prune(world, task, guest, storage, keep)
    except Refusal:
        guest.conf.pop("lock", None)
        raise
    finally:
        if stopped and not guest.running:
            say("INFO: restarting vm")
            switch_on(world, guest)
        if guest.paused == "prelaunch":
            guest.running, guest.paused, guest.pid = False, False, None
    guest.conf.pop("lock", None)


def _name(say, guest, included):
    """What is in the backup, and what is not."""
    for key, volid, size, reason in included:
        if guest.kind == "lxc":
            say("INFO: %s mount point %s ('%s') in backup%s" % (
                "excluding" if reason else "including", key, volid, " (%s)" % reason if reason else ""))
        else:
            say("INFO: %s disk '%s' '%s' %s" % ("exclude" if reason else "include", key, volid,
                                                "(%s)" % reason if reason else size_text(size)))


def _archive(call, say, storage, volume, guest):
    """What is said of the archive, and noted with it."""
    if storage.type != "pbs":
        say("INFO: archive file size: %s" % ("%.2fGB" % (volume.size / GIB) if volume.size >= GIB
                                             else "%dMB" % (volume.size // MIB)))
    if call.p.get("notes-template"):
        say("INFO: adding notes to backup")
        volume.notes = _notes(call.world, guest, call.p["notes-template"])
    if call.p.get("protected"):
        say("INFO: marking backup as protected")
        volume.protected = True


def _check_limit(guest, storage, limit):
    if limit <= len([volume for volume in storage.at(guest.node).values() if volume.content == "backup"
                     and volume.vmid == guest.vmid and not volume.protected]):
        die("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either "
            "increase the limit or delete old backup(s)." % limit)


def _included(world, guest):
    """([(key, volid or path, size, why not)], bytes in the backup)."""
    rows, total = [], 0
    for key, parts, volid in sorted(guest.drives()):
        if is_cdrom(parts):
            continue
        reason = None
        if guest.kind == "lxc" and key != "rootfs" and drives.mount_type(volid) != "volume":
            reason = "bind mount" if drives.mount_type(volid) == "bind" else "device"
        elif guest.kind == "lxc" and key != "rootfs" and parts.get("backup") != "1":
            reason = "disabled"
        elif guest.kind == "qemu" and parts.get("backup") == "0":
            reason = "backup=no"
        size = drives.size_of_disk(world, guest, volid, parts) or 0
        if not reason:
            total += guest.filled if guest.kind == "lxc" and key == "rootfs" else size
        rows.append((key, "/" if key == "rootfs" else parts.get("mp", volid), size, reason))
    return rows, total


def _copy(world, task, guest, storage, compress, mode, total):
    """Worker part: the data goes over, with Proxmox's lines."""
    say = task.say
    stamp = start.stamp(world.t, "%Y-%m-%dT%H:%M:%SZ")
    if storage.type == "pbs":
        say("INFO: creating Proxmox Backup Server archive '%s/%d/%s'" % ("vm" if guest.kind == "qemu" else "ct",
            guest.vmid, stamp))
    else:
        say("INFO: creating vzdump archive '%s/dump/vzdump-%s-%d-%s.%s%s'" % (
            storage.conf.get("path"), guest.kind, guest.vmid, start.stamp(world.t),
            "vma" if guest.kind == "qemu" else "tar", "." + _EXTENSIONS[compress] if _EXTENSIONS[compress] else ""))
    if compress in ("lzo", "1"):
        yield 0.5
        die("command '/usr/bin/vma create -v -c /var/tmp/vzdumptmp/qemu-server.conf exec:lzop>%s' failed: exit code 127"
            % storage.name if guest.kind == "qemu" else
            "command 'set -o pipefail && tar cpf - ./ | lzop' failed: exit code 127")
    if guest.kind == "lxc":
        if mode == "snapshot":
            say("INFO: create storage snapshot 'vzdump'")
        yield 3 * max(0.5, min(6.0, total / _SPEED))
        say("INFO: Total bytes written: %d (%s, 98MiB/s)" % (total, human(total).replace(" ", "")))
        if mode == "snapshot":
            say("INFO: cleanup temporary 'vzdump' snapshot")
        return
    if guest.running and mode == "snapshot":
        if agent_enabled(guest):
            say("INFO: issuing guest-agent 'fs-freeze' command\nINFO: issuing guest-agent 'fs-thaw' command")
        say("INFO: started backup task '%s'\nINFO: resuming VM again" % world.uuid())
    else:
        say("INFO: starting kvm to execute backup task\nINFO: started backup task '%s'" % world.uuid())
    seconds = max(3, min(20, int(total / (4 * GIB))))
    for step in range(1, 6):
        yield seconds / 5.0
        done = total * step // 5
        say("INFO: %3d%% (%s of %s) in %ds, read: %.1f MiB/s, write: %.1f MiB/s" % (
            step * 20, human(done), human(total), int(seconds * step / 5.0), total / MIB / seconds,
            total / MIB / seconds * 0.28))
    say("INFO: backup is sparse: %.2f GiB (71%%) total zero data" % (total * 0.71 / GIB) if storage.type != "pbs" else
        "INFO: backup was done incrementally, reused %.2f GiB (93%%)" % (total * 0.93 / GIB))
    say("INFO: transferred %.2f GiB in %d seconds (%.1f MiB/s)" % (total / GIB, seconds, total / MIB / seconds))


def _prune(world, task, guest, storage, keep):
    if not keep:
        return
    task.say("INFO: prune older backups with retention: %s" % ", ".join("%s=%d" % item for item in keep.items()))
    old = [volume for volume, mark in marks(storage, guest.node, keep, guest.vmid, guest.kind) if mark == "remove"]
    for volume in old:
        task.say("INFO: removing backup '%s'" % volume.volid)
        world.free(volume.volid, guest.node)
    task.say("INFO: pruned %d backup(s)%s" % (len(old), " not covered by keep-retention policy" if old else ""))


def _notes(world, guest, template):
    values = {"guestname": guest.name, "node": guest.node, "vmid": str(guest.vmid), "cluster": world.name}
    text = template.replace("\\n", "\n").replace("\\\\", "\\")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values.get(match.group(1), match.group(0)), text)


def extract(call):
    volid = call.p["volume"]
    storage = call.world.online_storage(volid.partition(":")[0], call.node)
    volume = storage.at(call.node).get(volid)
    if volume is None or volume.content != "backup":
        die("volume '%s' does not exist" % volid)
    drives.check_volume(call, storage, volume)
    return "".join("%s: %s\n" % (key, str(value).rstrip("\n").replace("\n", "%0A")) for key, value in sorted(
        volume.facts["config"].items()))


def _job_row(call, job):
    row = dict(job)
    if row.get("enabled"):
        row["next-run"] = calendar.next_event(row["schedule"], call.world.t)
    return row


def _job(call):
    found = call.world.backup_jobs.get(call.p["id"])
    if found is None:
        bad(id="No such job '%s'" % call.p["id"])
    return found


def _job_values(call):
    values = {key: int(value) if isinstance(value, bool) else value for key, value in call.p.items()
              if key not in ("id", "delete", "starttime", "dow")}
    if "starttime" in call.p:
        values["schedule"] = ("%s %s" % (call.p.get("dow", ""), call.p["starttime"])).strip()
    if "prune-backups" in values:
        values["prune-backups"] = dict(part.split("=") for part in values["prune-backups"].split(","))
    storage = call.world.storages.get(values.get("storage"))
    if storage and "backup" not in storage.content:     # one that is not there is not asked for its content
        bad(storage="storage '%s' does not support backups" % storage.name)
    return values


def _locked(check, *args):
    """What `check(*args)` gives; its Refusal, as it comes out of the lock of jobs.cfg: 500 with all of it as text."""
    try:
        return check(*args)
    except Refusal as error:
        die(error_text(error))


def create_job(call):
    if not call.p.get("schedule") and not call.p.get("starttime"):
        bad(starttime="neither 'starttime' nor 'schedule' were set")
    _locked(_check_choice, call.p)
    name = call.p.get("id") or "backup-%s" % call.world.uuid()[:13]
    if name in call.world.backup_jobs:
        die("Job '%s' already exists" % name)
    call.world.backup_jobs[name] = dict({"id": name, "type": "vzdump", "enabled": 1}, **_job_values(call))


def change_job(call):
    found = _locked(_job, call)
    values = _job_values(call)
    merged = dict(found, **values)
    for key in split_list(call.p.get("delete", "")):
        merged.pop(key, None)
        if key in values:
            bad(delete="you can't use '-%s' and '-delete %s' at the same time" % (key, key))
    if values.get("vmid"):
        for other in ("all", "pool"):
            if other not in values:
                merged.pop(other, None)
    _locked(_check_choice, {key: value for key, value in merged.items() if value})
    found.clear()
    found.update(merged)


def delete_job(call):
    _locked(_job, call)
    del call.world.backup_jobs[call.p["id"]]


def job_volumes(call):
    """GET /cluster/backup/{id}/included_volumes: a tree of guests and their disks."""
    found = _job(call)
    children = []
    for ids in _chosen(call.world, found).values():
        for vmid in ids:
            guest = call.world.guests.get(vmid)
            if guest is None:
                children.append({"id": vmid, "type": "unknown", "name": "", "leaf": 1, "children": []})
                continue
            volumes = [{"id": "%d:%s" % (vmid, key), "name": key, "included": int(not reason),
                        "reason": reason or "enabled", "leaf": 1}
                       for key, _, _, reason in _included(call.world, guest)[0]]
            children.append({"id": vmid, "name": guest.name, "type": guest.kind, "children": volumes, "leaf": 0})
    return {"children": children, "not_all_permissions": 0}


def not_backed_up(call):
    covered = set()
    for found in call.world.backup_jobs.values():
        if found.get("enabled", 1):
            for ids in _chosen(call.world, found).values():
                covered.update(ids)
    return [{"vmid": guest.vmid, "name": guest.name, "type": guest.kind} for guest in call.world.guests.values()
            if guest.vmid not in covered and call.may("/vms/%d" % guest.vmid, "VM.Audit")]


_STORAGE = string("Backups go here.", format="pve-storage-id")
_COMMON = {
    "vmid": string("These guests.", format="pve-vmid-list"), "all": boolean("All guests.", default=0),
    "storage": _STORAGE,
    "pool": string("The guests of this pool."), "exclude": string("With all: not these.", format="pve-vmid-list"),
    "mode": enum("How.", "snapshot suspend stop", default="snapshot"),
    "compress": enum("Compression.", "0 1 gzip lzo zstd", default="0"),
    "remove": boolean("Prune older backups.", default=1),
    "prune-backups": string("What to keep.", format=KEEP_RULES),
    "notes-template": string("Notes, with {{guestname}} and the like.", maxLength=1024, requires="storage"),
    "protected": boolean("Make it protected.", requires="storage"), "bwlimit": integer("KiB/s.", 0),
    "ionice": integer("Priority.", 0, 8),
    "lockwait": integer("Minutes to wait for the lock.", 0), "stopwait": integer("Minutes to wait for a stop.", 0),
    "mailto": string("Mail to.", format="email-or-username-list"),
    "mailnotification": enum("When to mail.", "always failure"),
    "notification-mode": enum("How to notify.", "auto legacy-sendmail notification-system"),
    "quiet": boolean("Less output.", default=0),
    "stdexcludes": boolean("Without temporary files.", default=1), "zstd": integer("zstd threads."),
    "pigz": integer("pigz threads."), "exclude-path": array("Without these paths.", items=string()),
    "stop": boolean("Stop running backups here.", default=0),
    "dumpdir": string("Only for root."), "tmpdir": string("Only for root."), "script": string("Only for root."),
}
_JOB = dict(_COMMON, **{
    "id": string("Id of the job.", format="pve-configid"),
    "schedule": string("When.", format="pve-calendar-event", maxLength=128),
    "enabled": boolean("Runs.", default=1), "comment": string("A comment.", maxLength=512),
    "node": string("Only on this node.", format="pve-node"),
    "repeat-missed": boolean("Catch up.", default=0), "starttime": string("Time of day.", pattern=r"\d{1,2}:\d{1,2}"),
    "dow": string("Days of the week.", requires="starttime", format="pve-day-of-week-list")})
_ID = {"id": string("Id of the job.", maxLength=50, pattern=r"\S+")}
_AUDIT, _MODIFY = perm("/", "Sys.Audit"), perm("/", "Sys.Modify")

ROUTES = [
    Route("POST /nodes/{node}/vzdump", vzdump, ALL, "Back guests up.", dict(_COMMON, **{
        "job-id": string("Only for root.", maxLength=50, pattern=r"\S+")})),
    Route("GET /nodes/{node}/vzdump/extractconfig", extract, ALL, "The configuration in a backup.",
          {"volume*": string("The backup.")}),
    Route("GET /cluster/backup", lambda call: [_job_row(call, job) for job in call.world.backup_jobs.values()],
          _AUDIT, "Backup jobs."),
    Route("POST /cluster/backup", create_job, _MODIFY, "Make a backup job.", _JOB),
    Route("GET /cluster/backup/{id}", lambda call: _job_row(call, _job(call)), _AUDIT, "A backup job.", _ID),
    Route("PUT /cluster/backup/{id}", change_job, _MODIFY, "Change a backup job.", dict(_JOB, **dict(_ID, delete=string(
        "Options to remove.", format="pve-configid-list")))),
    Route("DELETE /cluster/backup/{id}", delete_job, _MODIFY, "Remove a backup job.", _ID),
    Route("GET /cluster/backup/{id}/included_volumes", job_volumes, _AUDIT, "Disks a backup job includes.", _ID),
    Route("GET /cluster/backup-info/not-backed-up", not_backed_up, _AUDIT, "Guests in no backup job."),
]
