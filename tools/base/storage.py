"""Storages as several tools tell them: how full they are, which may take what, and how large a new volume is to be."""
from tools.base.answers import Table, data_only
from tools.base.failures import Failure
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on, parse_size
from tools.pve.text import Column

NEARLY_FULL = 0.8                                       # of a storage: worth telling
MOST_PROMISED = 10                                      # times a thin storage; more is a slip of the pen too
SMALLEST = 1 << 20                                      # bytes of a new volume; less is a slip of the pen


def space(used, total):
    """A Column's text: "2 GiB of 4 GiB (50 %)" of two keys, the total alone when nothing is known to be used."""
    def show(row):
        if row.get(total) and used in row:
            return text.used_of(row[used], row[total])
        return text.size(row[total]) if row.get(total) else "-"
    return show


STORAGES = Table("storage", Column("storage"), Column("node", text=lambda row: row.get("node") or "shared by " + (
                     ", ".join(row.get("nodes", [])))), Column("type"),
                 Column("state", text=lambda row: ", but not on ".join(filter(None, (
                     row["state"], ", ".join(row.get("not_on", ())))))),
                 Column("used", "used", "bytes", space("used", "total")),
                 Column("avail", "free", "bytes"), Column("content", kind="list"), *data_only("bytes", "total"),
                 *data_only("fraction", "used_fraction"),
                 *data_only("bool", "shared", "enabled", "active"), *data_only("list", "nodes", "not_on"))


def of_cluster(rows):
    """Normalised rows (STORAGES) of those of /cluster/resources: a shared storage once, a local one per node. What is
    free is not among them: of what is not used, a file system keeps a part for root, and only the node tells."""
    groups, found = {}, []
    for row in rows:
        if row.get("storage"):
            groups.setdefault((row["storage"], None if on(row.get("shared")) else row.get("node")), []).append(row)
    for (name, node), group in groups.items():
        there = [row for row in group if row.get("status") == "available"]
        row = max(there or group[:1], key=lambda row: text.normal("bytes", row.get("maxdisk")) or 0)
        total, used = (text.normal("bytes", row.get(key)) or 0 for key in ("maxdisk", "disk"))
        one = {"storage": name, "node": node, "type": row.get("plugintype"), "content": row.get("content"),
               "shared": on(row.get("shared")), "active": bool(there), "state": str(row.get("status") or "unknown")}
        if total:
            one.update(total=total, used=used, used_fraction=round(used / total, 4))
        if one["shared"]:
            one.update(nodes=sorted(str(row["node"]) for row in there or group), not_on=[
                str(row["node"]) for row in group if row not in there] if there else None)
        found.append(one)
    return _sorted(found)


def missing_from(row, online):
    """The nodes of the set `online` from which a storage (a row of `of_cluster`) is not available."""
    nodes = row.get("not_on", []) if row["active"] else [row["node"]] if "node" in row else row.get("nodes", [])
    return sorted(set(nodes) & online)


def of_node(rows, node):
    found = []
    for row in rows:
        enabled, active = on(row.get("enabled", 1)), on(row.get("active"))
        total, part = text.normal("bytes", row.get("total")), row.get("used_fraction")
        if total and part is None:
            part = (text.normal("bytes", row.get("used")) or 0) / total
        found.append(dict(row, node=node, shared=on(row.get("shared")), enabled=enabled, active=active,
                          state="disabled" if not enabled else "available" if active else "unreachable",
                          **dict(() if total else dict.fromkeys(("total", "used", "avail")),
                                 used_fraction=part if total else None)))
    return _sorted(found)


def _sorted(rows):
    return sorted(STORAGES.data(rows), key=lambda row: (row.get("storage", ""), row.get("node", "")))


def usable(call, content):
    """({name: entry} of the node's storages that take `content` and can be reached, names of those that cannot)."""
    entries = call.get("/nodes/{node}/storage", content=content, enabled=True) or ()
    every = {entry["storage"]: entry for entry in entries}
    found = {name: entry for name, entry in every.items() if on(entry.get("active", 1))}
    return found, sorted(every.keys() - found.keys())


def zfs_faults(vdev):
    """["sdc FAULTED, 3 read errors (too many errors)"] of what is not well in a ZFS pool (dict), or a part of one."""
    found = []
    for part in vdev.get("children") or ():
        counts = {word: text.normal("int", part.get(word)) for word in ("read", "write", "cksum")}
        wrong = ["%d %s errors" % (count, word) for word, count in counts.items() if count]
        inner = zfs_faults(part)
        if wrong or not inner and part.get("state") not in (None, "ONLINE", "AVAIL"):
            found.append(", ".join(["%s %s" % (text.line(part.get("name")), part.get("state", "-")), *wrong]) + (
                " (%s)" % text.line(part["msg"]) if part.get("msg") else ""))
        found += inner
    return found


DAY = 86400


def growth(history):
    """(bytes a day, days) by which a storage grew, from its rrddata: a line through all points. (0, 0): not known."""
    points = [(text.normal("number", row.get("time")), text.normal("number", row.get("used"))) for row in history]
    points = [(when, value) for when, value in points if when and value is not None]
    if len(points) < 8 or points[-1][0] - points[0][0] < 3 * DAY:
        return 0, 0
    days = [(when - points[0][0]) / DAY for when, _ in points]
    mean, middle = sum(days) / len(days), sum(value for _, value in points) / len(points)
    return sum((day - mean) * (value - middle) for day, (_, value) in zip(days, points)) / sum(
        (day - mean) ** 2 for day in days), days[-1]


def until_full(history, used, total):
    """Seconds until a storage is full if it grows on as its rrddata says; None when it does not, or nobody knows."""
    rate, days = growth(history)
    return max(0, total - used) / rate * DAY if days and rate >= max(1, total * 0.0001) else None


def status(call, storage, node=None):
    """What a node says of one of its storages: type, avail ...; {} when it cannot be read."""
    ids = {"storage": storage, "node": node or call.node}
    return call.try_get("/nodes/{node}/storage/{storage}/status", ids) or {}


def room_for(call, needs, known=None, node=None):
    """(sentences about more than there is room for, the question about it or "") for new volumes, or larger ones.
    needs: {storage: bytes more}; known: {storage: entry} of what was read already, else it costs a request each.
    Failure where it cannot work, or is out of all proportion. It is asked about beyond twice the free space."""
    notes, asked = [], []
    for storage, growth in sorted(needs.items()):
        entry = known[storage] if storage in (known or ()) else status(call, storage, node)
        free, total = (text.normal("bytes", entry.get(key)) for key in ("avail", "total"))
        if free is None or growth <= free or total == 0:        # of iSCSI, say, nothing is known
            continue
        said = "%s more on storage %s%s, which has %s free" % (
            text.size(growth), storage, " of node %s" % node if node else "", text.size(free))
        if entry.get("type") == "lvm" or total and growth > MOST_PROMISED * total:
            raise Failure("There is no room for %s. proxmox_get_storage_usage shows what fills it; choose a smaller "
                          "size (a number alone is GiB) or another storage, or make room first." % said)
        asked += [said] * (growth > 2 * free)
        notes.append("Over-committed: %s. When it is full, everything on it fails." % said)
    return notes, "Promise %s? When it is full, everything on it fails, and a disk cannot be made smaller again." % (
        " and ".join(asked)) if asked else ""


def promise(call, needs, known=None):
    """The sentences of `room_for`, when the user agrees, for what asks nothing else."""
    notes, question = room_for(call, needs, known)
    if question:
        call.confirm(lambda: ("%s: %s" % (call.subject, question), {}))
    return notes


def needed(disks, storage=None):
    """{storage: bytes} of copies of these Disks, all on `storage` if it is given."""
    needs = {}
    for disk in disks:
        if disk.storage and disk.size and not disk.cdrom and disk.use != "unused":
            needs[storage or disk.storage] = needs.get(storage or disk.storage, 0) + disk.size
    return needs


def contents(call, content, only=None, **params):
    """(names of the storages, raw volumes, what could not be read) of a storage of the node, or of all that take it."""
    found, lost = ((only,), ()) if only else usable(call, content)
    names, volumes, missed = [], [], ["%s (not reachable)" % name for name in lost]
    for name in sorted(found):
        try:
            rows = call.get("/nodes/{node}/storage/{storage}/content", {"storage": name}, content=content, **params)
        except PveError as error:                       # one storage that fails is told, and hides no other
            if only:
                raise
            missed.append("%s (%s)" % (name, text.first_line(error)))
            continue
        names.append(name)
        volumes.extend(dict(row, storage=name, size=volume_size(row)) for row in rows or ())
    return names, volumes, ["Not read: %s." % "; ".join(missed)] if missed else []


def disk_format(entry):
    """The format to make a VM's new disk in: qcow2 on a storage of files, as the web interface does it, for the API's
    own default there (raw) has no snapshots; None, the storage's default, on others. `entry`: as of `status`."""
    return "qcow2" if entry.get("type") in ("dir", "nfs", "cifs", "glusterfs") else None


def why_qcow2(storage):
    """The sentence about a disk that `disk_format` makes a qcow2 one."""
    return ("It is a qcow2 file, which snapshots on %s need; format=raw makes one without them, which is a little "
            "faster." % storage)


def volume_size(row):
    """Bytes of a raw volume of a storage's content, or None; since 9.2 some have an approximate size only."""
    return text.normal("bytes", row.get("size", row.get("approximate-size")))


def new_size(given):
    """Bytes, in whole MiB, of a new volume from "50" (GiB), "50G", "0.5T"; Failure or Misfit when it is none."""
    grows, size = parse_size(given)
    if grows:
        raise Failure("A new volume is not grown: leave the + out of size=%s." % given)
    if size < SMALLEST:
        raise Failure("A size of %s is less than 1 MiB; write 512M or 50G (a number alone is GiB)." % given)
    return -(-size // SMALLEST) * SMALLEST              # what "storage:GiB" can say exactly
