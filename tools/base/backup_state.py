"""Whether guests are backed up: their newest backup anywhere, the jobs that take them, what is left out; one verdict.

Requests: one for each backup storage (and node, of a local one), one for each enabled job; however many guests.
"""
import re
from types import SimpleNamespace

from tools.base.failures import Failure
from tools.base.lists import enabled, taken_by
from tools.base.storage import contents, of_cluster, usable
from tools.pve import text
from tools.pve.formats import on, owner_of

DAY = 86400
UNSEEN = ("A token sees a backup only with Datastore.AllocateSpace on its storage and VM.Backup on its guest (or with "
          "Datastore.Allocate on the storage).")
#: What is said of a guest's backups, worst first -> what it means. The GRAVE ones leave it without a backup to rely on.
VERDICTS = {"verification failed": "the newest backup failed its verification", "none": "never backed up",
            "old": "the newest backup is too old", "in no job": "no enabled job takes it, though it has a backup",
            "disk left out": "a disk is not in its backups", "unverified": "the newest backup was not verified, while "
            "others beside it were, or the one before it failed", "not found": "no backup that is new enough where it "
            "could be looked, and not every storage could be read", "unknown": "this token sees no backups",
            "ok": "backed up"}
GRAVE = ("verification failed", "none", "old")


def _read(call, places, found, requests=()):
    """Note the backups at these places in `found`: newest, checked: {vmid: the newest backup, the newest that was
    verified}, unread: sentences. The answers to the other requests, which are sent with them."""
    answers = call.together([("/nodes/{node}/storage/{storage}/content", place, {"content": "backup"})
                             for place in places] + list(requests))
    for place, entries in zip(places, answers):
        storage = place["storage"]
        if isinstance(entries, Exception):
            found.unread.append("Backups on %s (node %s): %s" % (storage, place["node"], text.first_line(entries)))
            continue
        for entry in entries or ():
            vmid = str(entry.get("vmid") or owner_of(str(entry.get("volid"))))
            entry = dict(entry, storage=storage, ctime=text.normal("number", entry.get("ctime")) or 0)
            for best in [found.newest] + [found.checked] * isinstance(entry.get("verification"), dict):
                if vmid not in best or entry["ctime"] > best[vmid]["ctime"]:
                    best[vmid] = entry
    return answers[len(places):]


def state(call, guests, resources, jobs, now, brief=False):
    """(rows, sentences about what could not be read): the row of each guest but templates, with newest (raw entry of
    the newest backup, with its `storage`) or None; its age in seconds; jobs (ids of the enabled jobs that take it, None
    when not known), off (of those that are switched off); left_out (disks that a job leaves out); unsure (something
    that may tell more could not be read); verdict, one of VERDICTS. jobs: of /cluster/backup, or None when not to be
    had; brief: local storages that no job names are read only when the others hold no new backup of each."""
    running, read, found = enabled(jobs), places(resources), SimpleNamespace(newest={}, checked={}, unread=[])
    guests = [guest for guest in guests if not on(guest.get("template"))]
    named = {job.get("storage") for job in running}
    later = [place for place in read if brief and not place["shared"] and place["storage"] not in named]
    trees = _read(call, [place for place in read if place not in later], found, [
        ("/cluster/backup/{id}/included_volumes", {"id": job["id"]}, {}) for job in running])
    if not all(now - found.newest.get(str(guest.get("vmid")), {}).get("ctime", 0) < 2 * DAY for guest in guests):
        _read(call, later, found)
    dark = bool(found.unread)                           # backups that are there may not be seen
    blind = bool(read) and not found.newest and not dark and not _sees_backups(call)
    if blind:
        found.unread.append("Backups: none is visible. %s" % UNSEEN.rstrip("."))
    left_out = {}
    for job, tree in zip(running, trees):
        if isinstance(tree, Exception):
            found.unread.append("What job %s leaves out: %s" % (job["id"], text.first_line(tree)))
            continue
        for guest in (tree or {}).get("children") or ():
            out = [str(volume.get("name")) for volume in guest.get("children") or () if _excluded(volume)]
            left_out.setdefault(str(guest.get("id")), set()).update(out)
    lost, off, rows = unreachable(resources), [job for job in jobs or () if job not in running], []
    found.unread.extend("Backups on %s: no node reaches it" % name for name in lost)
    verifying, unsure = {entry["storage"] for entry in found.checked.values()}, bool(found.unread)
    for guest in guests:
        vmid = str(guest.get("vmid"))
        takers, newest = [job for job in running if taken_by(job, guest)], found.newest.get(vmid)
        theirs = [job for job in off if taken_by(job, guest)]
        lost_too = any(job.get("storage") in lost for job in takers + theirs)
        row = dict(guest, newest=newest, age=max(0, now - newest["ctime"]) if newest else None,
                   jobs=None if jobs is None else [str(job["id"]) for job in takers],
                   off=[str(job["id"]) for job in theirs], left_out=sorted(left_out.get(vmid, ())), unsure=unsure)
        row["verdict"] = "unknown" if blind else _verdict(row, takers, found.checked.get(vmid), verifying)
        if row["verdict"] in ("none", "old") and (dark or lost_too):
            row["verdict"] = "not found"
        rows.append(row)
    return rows, found.unread


def switched_off(rows):
    """{id of a job that is switched off: [vmid]}: which of the rows that no enabled job takes it would take."""
    jobs = {}
    for row in rows:
        for job in row["off"] if row["jobs"] == [] else ():
            jobs.setdefault(job, []).append(int(row["vmid"]))
    return jobs


def _sees_backups(call):
    """Whether the token may see backups on any storage: Proxmox leaves out of the list what it may not."""
    granted = call.try_get("/access/permissions")
    return granted is None or any(
        {"Datastore.Allocate", "Datastore.AllocateSpace"} & set(privileges) for privileges in granted.values())


def places(resources):
    """The storages for backups that can be read, a local one on each of its nodes: rows of `of_cluster`, each with a
    node that reaches it."""
    return [dict(row, node=row.get("node") or row["nodes"][0]) for row in of_cluster(resources)
            if row["active"] and "backup" in row.get("content", ())]


def unreachable(resources):
    """Names of the storages for backups that no node reaches."""
    rows = [row for row in of_cluster(resources) if "backup" in row.get("content", ())]
    return sorted({row["storage"] for row in rows} - {row["storage"] for row in rows if row["active"]})


def _excluded(volume):
    """Whether a volume of included_volumes is data that a backup leaves out: CD drives and such are none."""
    data = re.match(r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|mp)\d+|rootfs", str(volume.get("name")))
    return data is not None and not on(volume.get("included")) and "cdrom" not in str(volume.get("reason"))


_DAYS = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*"
#: systemd calendar event -> days that the newest backup may be old.
_AGES = [(re.compile(pattern), days) for pattern, days in (
    (r"yearly|annually", 367), (r"quarterly|semiannually", 185), (r"monthly|.*-\d{1,2}(?:\.\.\d+)?(?:\s|\Z)", 33),
    (r"{0}(?:,{0})*\.\.".format(_DAYS), 4), (r"weekly\Z|" + _DAYS, 8))]


def allowed_age(schedule):
    """Seconds that the newest backup of a job may be old: two of its intervals or, of a long one, one and some days."""
    schedule = str(schedule or "").strip().lower()
    return next((days * DAY for pattern, days in _AGES if pattern.match(schedule)), 2 * DAY + 3600)


def interval(schedule):
    """Seconds from one run to the next, of a job that runs once a day or a week; None of others."""
    found = re.fullmatch(r"(%s )?\d{1,2}:\d{2}" % _DAYS, str(schedule or "").strip().lower())
    return found and (7 if found.group(1) else 1) * DAY


def _verdict(row, takers, checked, verifying):
    newest = row["newest"]
    if newest is None:
        return "none"
    verified = (newest.get("verification") or {}).get("state")
    if verified == "failed":
        return "verification failed"
    if row["age"] > min([allowed_age(job.get("schedule")) for job in takers] or [8 * DAY]):
        return "old"
    if not takers and row["jobs"] is not None:
        return "in no job"
    if row["left_out"]:
        return "disk left out"
    last = checked or newest                            # the one before it failed, or others beside it were verified
    failed = (last.get("verification") or {}).get("state") == "failed" and newest["ctime"] - last["ctime"] < 8 * DAY
    late = newest["storage"] in verifying and row["age"] > 8 * DAY
    return "unverified" if verified is None and (failed or late) else "ok"


def backups_on(call, storage, vmid=None):
    """What `contents` says of the backups on one storage of the node, or of all; those of one guest with `vmid`."""
    names, entries, notes = contents(call, "backup", storage, vmid=vmid)
    return names, [entry for entry in entries if entry.get("content", "backup") == "backup"
                   and (not vmid or entry.get("vmid") is None or str(entry["vmid"]) == str(vmid))], notes


def the_backup(call, storage, volid):
    """The entry (dict) of one backup; Failure when `volid` names no backup on `storage`, or none that can be seen."""
    where, name = volid.split(":", 1)
    if where != storage:
        raise Failure("The volume %s lies on storage %s, not on %s." % (volid, where, storage))
    if not name.startswith("backup/"):
        raise Failure("The volume %s is not a backup (STORAGE:backup/...). proxmox_list_backups lists them." % volid)
    entry = next((one for one in backups_on(call, storage, owner_of(volid))[1] if one.get("volid") == volid), None)
    if entry is None:
        raise Failure("There is no backup %s on node %s, or this token may not see it. "
                      "proxmox_list_backups lists them. %s" % (volid, call.node, UNSEEN))
    return entry


def made_since(call, storage, started):
    """The guest's newest backup on `storage` that was made since `started` (epoch seconds), or None."""
    new = [entry for entry in backups_on(call, storage, call.args.vmid)[1] if float(entry.get("ctime") or 0) >= started]
    return max(new, key=lambda entry: float(entry["ctime"]), default=None)


def backup_storage(call, named, do):
    """The storage for a backup: `named`, else local (Proxmox's default), else the only one; do: what else."""
    found, _ = usable(call, "backup")
    if named in found or named is None and ("local" in found or len(found) == 1):
        return named or ("local" if "local" in found else next(iter(found)))
    raise Failure("%s%s: node %s has %s." % (
        "Storage %s takes no backups there. " % named if named else "", do, call.node, " and ".join(
            "%s (%s free)" % (name, text.size(found[name].get("avail") or 0)) for name in sorted(found))
        or "none for backups that this token may use (privilege Datastore.AllocateSpace)"))
