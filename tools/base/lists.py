"""What several lists have in common: names with *, guests by filter; tasks in words; which guests a job takes."""
import fnmatch
import re

from tools.base.failures import Failure
from tools.pve import text
from tools.pve.formats import on

UNSEEN = ("There may be guests that this token may not see: a guest is listed only with VM.Audit on /vms/VMID (role "
          "PVEAuditor on /vms shows all).")


def pattern(part):
    """A test for names: `part` is somewhere in it or, with * or ?, matches all of it; upper and lower case are one."""
    rule = part if "*" in part or "?" in part else "*%s*" % part
    match = re.compile(fnmatch.translate(rule.lower().replace("[", "[[]"))).match
    return lambda name: match(str(name or "").lower()) is not None


#: The types of guests -> what they are called.
NAMES = {"qemu": "VM", "lxc": "container"}


def who(row):
    """"VM 100 (web01)", "guest 100" of a guest's row."""
    return text.called("%s %s" % (NAMES.get(row.get("type"), "guest"), row.get("vmid")), row.get("name"))


def tags(row):
    """The tags (list of str) of a guest's row, in small letters as Proxmox compares them."""
    return [tag for tag in re.split(r"[;,\s]+", str(row.get("tags") or "").lower()) if tag]


def _fits(name, wanted):
    """A test for raw guests: whether one has what the argument `name` asks for."""
    fits = pattern(wanted) if name == "name" else None
    return {"name": lambda row: fits(row.get("name")), "tag": lambda row: wanted.lower() in tags(row),
            "template": lambda row: on(row.get("template")) == wanted,
            "status": lambda row: (row.get("status") or "unknown") == wanted,
            }.get(name, lambda row: row.get(name) == wanted)


def chosen(rows, args):
    """The raw guests that fit the arguments node, type, status, pool, tag, template and name, where there are any."""
    for name in ("node", "type", "status", "pool", "tag", "template", "name"):
        wanted = getattr(args, name, None)
        if wanted is not None and (name, wanted) != ("type", "all"):
            rows = list(filter(_fits(name, wanted), rows))
    return rows


def guests_of(vmids):
    """"guest 100", "guests 100-129, 200"."""
    return "guest%s %s" % ("" if len(vmids) == 1 else "s", text.ranges(map(int, vmids)))


def of_each_guest(call, what, rows, normal="^$"):
    """({vmid: what a guest of these rows answers}, a sentence for all that fail alike); normal: errors that are an
    answer."""
    told, failed = {}, {}
    for row, answer in zip(rows, call.together([("/nodes/{node}/{type}/{vmid}/" + what, row, {}) for row in rows])):
        if isinstance(answer, Exception) and not re.search(normal, str(answer)):
            why = re.sub(r"/(nodes|vms)/\S*\b%s\b" % row["vmid"], "/\\1/...", text.first_line(answer))
            failed.setdefault(why, []).append(row)
        else:
            told[row["vmid"]] = answer
    return told, ["%s of %s on %s: %s" % (text.capital(what), guests_of([row["vmid"] for row in missed]), text.listed(
        sorted({row["node"] for row in missed})), why) for why, missed in failed.items()]


def the_only(names, wanted, what):
    """The one of `names` that is `wanted`, or the only one that has it in it; Failure names those that have, or all.
    what: "template on node pve1"."""
    found = [wanted] if wanted in names else sorted(name for name in names if wanted.lower() in name.lower())
    if len(found) == 1:
        return found[0]
    raise Failure("%s %s has %s in its name. There is: %s." % (
        "More than one" if found else "No", what, text.word(text.line(wanted)),
        text.listed(found or sorted(names), 1500) or "none"))


def none_chosen(rows, args):
    """Why none of these guests fits: how many there are, and for each filter that fits none the values in use."""
    if not rows:
        yield UNSEEN
        return
    yield "The cluster has %s that this token may see; none matches." % text.plural(len(rows), "guest")
    for name in ("node", "pool", "tag"):
        wanted = getattr(args, name, None)
        if wanted is not None and not any(map(_fits(name, wanted), rows)):
            known = {tag for row in rows for tag in (tags(row) if name == "tag" else [row.get(name)]) if tag}
            yield "%s=%s fits no guest. In use: %s." % (
                name, text.line(wanted), text.listed(sorted(known), 400) or "none")


def cpu_of(row, noun=" core"):
    """A Column's text: "12 % of 8 cores", or what of it is known of a guest or node; "12 % of 8" without noun."""
    count = row.get("maxcpu", row.get("cpus"))          # a container may be given half a core
    cores = "%g%s%s" % (count, noun, "s" if noun and count != 1 else "") if count else ""
    return " of ".join(part for part in (text.percent(row["cpu"]) if "cpu" in row else "", cores) if part) or "-"


def without_figures(rows, call):
    """What it means that a node (of /nodes or /cluster/resources) that is online has no figures."""
    if not rows and not call.hidden:
        yield "Not even a node is listed: this token has no privileges (proxmox_get_permissions)."
    elif any(row.get("status") == "online" and row.get("maxmem") is None for row in rows):
        yield "Nodes without figures: the token lacks Sys.Audit on /nodes/NODE."


def task_subject(row):
    """"vzdump of 100 on pve1" of a raw task."""
    return "%s%s on %s" % (row.get("type"), " of " + text.line(row["id"]) if row.get("id") else "", row.get("node"))


def taken_by(job, guest):
    """Whether a job (of /cluster/backup) takes a guest, were it enabled (PVE/VZDump.pm, get_included_guests)."""
    if job.get("node") and guest.get("node") != job["node"]:
        return False
    if job.get("pool"):
        return guest.get("pool") == job["pool"]
    vmid = str(guest.get("vmid"))
    return vmid in _vmids(job.get("vmid")) or on(job.get("all")) and vmid not in _vmids(job.get("exclude"))


def enabled(jobs):
    """The jobs (of /cluster/backup; None: not known) that are switched on."""
    return [job for job in jobs or () if on(job.get("enabled", 1))]


def _vmids(listed):
    return set(re.split(r"[,; ]", str(listed or ""))) - {""}
