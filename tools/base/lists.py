"""What several lists have in common: names with *, tasks in words, the guests that no backup job takes."""
import fnmatch
import re

from tools.pve import text
from tools.pve.formats import on


def pattern(part):
    """A test for names: `part` is somewhere in it or, with * or ?, matches all of it; upper and lower case are one."""
    rule = part if "*" in part or "?" in part else "*%s*" % part
    match = re.compile(fnmatch.translate(rule.lower().replace("[", "[[]"))).match
    return lambda name: match(str(name or "").lower()) is not None


def task_subject(row):
    """"vzdump of 100 on pve1" of a raw task."""
    return "%s%s on %s" % (row.get("type"), " of " + text.line(row["id"]) if row.get("id") else "", row.get("node"))


def without_backup(guests, jobs):
    """The guests (of /cluster/resources) that no enabled job (of /cluster/backup) takes; templates are left out.

    Which guests a job takes: PVE/VZDump.pm, get_included_guests; a job with a node takes those of that node only.
    """
    left = {str(guest.get("vmid")): guest for guest in guests if not on(guest.get("template"))}
    for job in jobs:
        if not on(job.get("enabled", 1)):
            continue
        pool, listed, everything = job.get("pool"), _vmids(job.get("vmid")), on(job.get("all"))
        excluded = _vmids(job.get("exclude"))
        for vmid, guest in list(left.items()):
            if job.get("node") and guest.get("node") != job["node"]:
                continue
            if pool:
                taken = guest.get("pool") == pool
            else:
                taken = vmid in listed or everything and vmid not in excluded
            if taken:
                del left[vmid]
    return sorted(left.values(), key=lambda guest: int(guest["vmid"]))


def _vmids(listed):
    return set(re.split(r"[,; ]", str(listed or ""))) - {""}
