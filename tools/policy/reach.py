"""Whom a request to Proxmox reaches: the guests and nodes that its path and parameters name, and what it does not name.

Guests, nodes, volumes and tasks are looked for wherever Proxmox takes one: in the path, as newid, target, vmid lists,
volume ids, UPIDs, HA and replication ids. What is reached without being named is said by the table of endpoints.
"""
import re

from tools.policy import endpoints
from tools.pve.formats import on, owner_of, parse_upid

_NODE_IN_PATH = re.compile(r"/nodes/([^/]+)")
_GUEST_IN_PATH = re.compile(
    r"/(?:qemu|lxc|vms)/([0-9]+)(?=/|\Z)|/ha/resources/(?:(?:vm|ct):)?([0-9]+)|/replication/([0-9]+)-")
_TASK_IN_PATH = re.compile(r"/tasks/(UPID:[^/]+)")
_VOLUME_IN_PATH = re.compile(r"/storage/[^/]+/content/(.+)")
_CREATES = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)")
_NAMED_IN_ACL = re.compile(r"/(?:vms/([0-9]+)|nodes/([^/]+))\Z")
_TASK_ID = re.compile(r"([1-9][0-9]{2,8})(?:[@:-]|\Z)", re.ASCII)       # "100", "100@local" (imgdel)
#: How the words of a log name a guest: "VM 100", "vzdump 100 101", "100-0: " of its replication, its volumes, its
#: units, its network devices, the tasks in it.
_IN_WORDS = re.compile(
    r"(?:\b(?:vm|ct|guest|container|vmid|vzdump|qm\w+|vz\w+)[ :=#']+|\b(?:vm|subvol|base|basevol|qemu|lxc)-"
    r"|\b(?:vm|ct)/|UPID:(?:[^:\s]*:){5}|pve-container@|(?:tap|veth|fwbr|fwpr|fwln))"
    r"((?:[1-9]\d{2,8}[ ,]+)*[1-9]\d{2,8})(?!\d)"
    r"|\b([1-9]\d{2,8})(?:-\d+: |\.scope\b|\.conf\b)|\A([1-9]\d{2,8}) \d ", re.IGNORECASE | re.ASCII)
#: Keys of replies whose texts are lists of guests.
GUEST_LISTS = {"vmid", "vms", "exclude", "resources"}
_SID = re.compile(r"(?:\b(?:vm|ct):|\A)([0-9]+)\b")
_VMID = re.compile(r'[\["]*0*[0-9]{1,9}[\]"]*')                          # one of a list, which may be JSON text

_GUESTS = {"vmid", "vmids", "newid", "target-vmid", "vms", "guest", "guests"}
_NODES = {"node", "nodes", "node-list", "target", "target-node", "check-node", "node-id", "exitnodes",
          "exitnodes-primary", "migratedfrom"}
_NODE_IN_MAP = re.compile(r"(?:\A|,)\s*node=([^,]+)")       # of a mapped device or directory
_SIDS = {"sid", "resource", "resources"}
_READ_VOLUMES = {"archive", "ostemplate"}
_VOLUMES = re.compile(r"archive|ostemplate|iso|cdrom|base|volid|volume|volumes|image|import-from"
                      r"|(?:ide|sata|scsi|virtio|efidisk|tpmstate|mp|rootfs|unused)\d*")
#: Where `target` is not a node: a name in the matchers, a volume of a copy.
_OTHER_TARGETS = re.compile(r"/cluster/(?:notifications|sdn|metrics)|/storage|/nodes/[^/]+/storage/[^/]+/content/")
#: What makes a request that names guests reach others too (vzdump, backup jobs): switches, and what is given.
_MORE_GUESTS, _OTHER_GUESTS = ("all", "stop"), ("pool", "exclude")
#: What stands in a volume's place and is no volume of a guest's: images of installers, templates, a new one
#: ("local-lvm:32"), the cloud-init drive, nothing, the host's own CD drive; or the key of a volume of the guest's.
_OF_NOBODY = re.compile(r"[^:/]+:(?:(?:iso|vztmpl|snippets|import)/.*|[0-9.]+|cloudinit)|none|cdrom|"
                        r"(?:rootfs|mp[0-9]+|unused[0-9]+)|", re.DOTALL)

#: How a guest is named: it is new (made by this request), only read by a request that changes another, or changed.
NEW, READ, CHANGED = "new", "read", "changed"
_WORSE = (READ, NEW, CHANGED)


class Reach:
    """What a request (verb, path below /api2/json, decoded; params) names and reaches: effect (of endpoints), changes
    (whether it can change something); nodes (set), guests {vmid: NEW, READ or CHANGED}; everyone, elsewhere: whether it
    may reach guests, nodes that it does not name; wherever: whether its guests may be on other nodes than its path."""

    def __init__(self, verb, path, params):
        self.verb, self.path, self.params = verb, path, params
        self.nodes, self.guests = set(), {}
        on_a_node = path.startswith("/nodes/") and not path.startswith("/nodes/-/")
        self._unowned = False                               # it names a guest, or a volume's, that cannot be told
        self._own, self._lent = set(), set()                # vmids in its path or new; owners of the disks they get
        self._in_path()
        for name, value in params.items():
            if value is not None:
                self._parameter(name.replace("_", "-"), value)
        endpoint, self.effect = endpoints.find(verb, path), endpoints.effect(verb, path, params)
        if verb != "GET" and self._lent - self._own:        # the disk of a guest would be written to by another one
            self.effect = endpoints.LOSES
        self.changes = self.effect != endpoints.READS
        self.wherever = self.changes or not on_a_node               # a guest's firewall, a shared volume: the cluster's
        if path.endswith("/vzdump") and params.get("mode", "snapshot") == "snapshot" and self.effect != endpoints.LOSES:
            self.guests = {vmid: READ for vmid in self.guests}          # the guest goes on undisturbed
        listed = endpoint.reach == endpoints.LISTED and (
            not self.guests or any(on(params.get(name)) for name in _MORE_GUESTS)
            or any(params.get(name) for name in _OTHER_GUESTS))
        self.everyone = self.changes and (
            endpoint.reach in (endpoints.EVERYBODY, endpoints.NODE) or listed or self._unowned
            or endpoint.reach in (endpoints.GUEST, endpoints.VOLUME) and not self.guests
            or verb != "GET" and endpoints.runs(params))
        # what is done on a storage is done to all guests that have something there, wherever they are
        self.elsewhere = self.changes and (
            endpoint.reach == endpoints.EVERYBODY or self._unowned or listed and "/storage/" in path
            or (self.everyone or endpoint.reach == endpoints.NODES and not self.nodes) and not on_a_node)

    def new_rows(self, rows):
        """{vmid: row} of the guests that it makes, as far as the request tells pool and tags; rows: those there are."""
        made = {}
        for vmid, how in self.guests.items():
            if how == NEW and vmid not in rows:
                # a clone has its source's tags too
                sources = [other for other, way in self.guests.items() if way == READ] if "newid" in self.params else []
                tags = [self.params.get("tags")] + [rows.get(source, {}).get("tags") for source in sources]
                node = _NODE_IN_PATH.match(self.path)
                made[vmid] = {"vmid": vmid, "pool": self.params.get("pool"),
                              "node": self.params.get("target") or (node and node.group(1)),
                              "tags": ";".join(str(tag) for tag in tags if tag)}
        return made

    # -- what it names

    def _add(self, vmid, how=CHANGED):
        if len(str(vmid)) > 12:                             # no vmid, and int() is slow on it
            self._unowned = True
            return
        vmid = int(vmid)
        if how == NEW:
            self._own.add(vmid)
        if _WORSE.index(how) >= _WORSE.index(self.guests.get(vmid, READ)):
            self.guests[vmid] = how

    def _in_path(self):
        self.nodes.update(_NODE_IN_PATH.findall(self.path))
        how = READ if self.path.endswith("/clone") else CHANGED
        for groups in _GUEST_IN_PATH.findall(self.path):
            self._add(next(group for group in groups if group), how)
            self._own.update(self.guests)
        for upid in _TASK_IN_PATH.findall(self.path):
            self._task(upid)
        for volume in _VOLUME_IN_PATH.findall(self.path):
            self._volume(volume, CHANGED if self.verb != "GET" else READ)

    def _parameter(self, name, value):
        values = [str(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        parts = [part for one in values for part in re.split(r"[,;\s\0]+", one) if part]
        if name in _GUESTS:
            new = name == "newid" or (name == "vmid" and _CREATES.fullmatch(self.path)
                                      and not on(self.params.get("force")))         # it may overwrite one
            for number in re.findall(r"[0-9]+", " ".join(parts)):
                self._add(number, NEW if new else CHANGED)
            self._unowned |= not all(map(_VMID.fullmatch, parts))
        elif name in _NODES and not (name == "target" and _OTHER_TARGETS.match(self.path)):
            self.nodes.update(re.sub(r":\d+\Z", "", part) for part in parts)        # HA groups: "pve1:2"
        elif name == "map":
            self.nodes.update(node for one in values for node in _NODE_IN_MAP.findall(one))
        elif name == "source" and self.path.startswith("/cluster/replication"):
            self.nodes.update(parts)
        elif name in _SIDS or (name == "id" and "/replication" in self.path):
            for part in parts:
                for vmid in _SID.findall(part):
                    self._add(vmid)
                self._unowned |= not _SID.match(part)
        elif name == "upid":
            for part in parts:
                self._task(part)
        elif name == "path":
            for vmid, node in (_NAMED_IN_ACL.match(one).groups() for one in values if _NAMED_IN_ACL.match(one)):
                if vmid:
                    self._add(vmid)
                else:
                    self.nodes.add(node)
        elif _VOLUMES.fullmatch(name) or (name == "target" and "/content/" in self.path):
            if name != "volumes":                           # a property string, or one volume: blanks may be in a name
                whole = [part.strip() for one in values for part in re.split(r"[,\0]", one)]
                parts = [word for part in whole
                         for word in ([part] if _OF_NOBODY.fullmatch(part) else re.split(r"[;\s]+", part)) if word]
            for part in parts:
                how = READ if name in _READ_VOLUMES or part.startswith("import-from=") else CHANGED
                self._volume(part, how, lent=how == CHANGED and "media=cdrom" not in parts)     # a CD is only read

    def _task(self, upid):
        task = parse_upid(upid)
        if task is not None:
            self.nodes.add(task.node)
            if _TASK_ID.match(task.id):
                self._add(_TASK_ID.match(task.id).group(1))

    def _volume(self, volume, how, lent=False):
        key, equals, value = volume.partition("=")
        if equals and key not in ("import-from", "file", "volume"):
            return                                      # another key of a property string
        volume = value if equals else volume
        vmid = owner_of(volume if ":" in volume else ":" + volume)          # a path, or a name in a storage's content
        if vmid is not None and vmid >= 100:
            self._add(vmid, how)
        elif _OF_NOBODY.fullmatch(volume):
            return
        else:
            self._unowned = True
        if lent:
            self._lent.add(vmid)


def guests_of_row(row):
    """vmids (list of int) that a row of any list of Proxmox's is about; empty when it names none."""
    for key in ("vmid", "guest"):
        found = [int(part) for part in re.split(r"[,;\s]+", str(row.get(key) or "")) if part.isascii()
                 and part.isdigit()]
        if any(found):
            return found
    for key in ("sid", "resources"):                    # of HA: "vm:100", "vm:100,ct:101"
        if row.get(key):
            return [int(vmid) for vmid in _SID.findall(str(row[key]))]
    entry = _NAMED_IN_ACL.match(str(row.get("path") or ""))
    if entry and entry.group(1):
        return [int(entry.group(1))]
    if row.get("type") in ("qemu", "lxc") and str(row.get("id") or "").isdigit():       # volumes of a backup job
        return [int(row["id"])]
    task = parse_upid(row.get("upid"))
    if task is not None:
        match = _TASK_ID.match(task.id)
        return [int(match.group(1))] if match else []
    owner = owner_of(str(row.get("volid") or ""))
    return [owner] if owner is not None and owner >= 100 else []


def guests_of_words(words):
    """vmids (set of int) that a line of a log names."""
    found = _IN_WORDS.findall(str(words)) if words else ()
    return {int(number) for groups in found for group in groups for number in re.findall("[0-9]+", group)}


def guests_of_key(key):
    """[vmid] of a key of an answer that is the id of an HA resource, "vm:100", or the path of a guest, "/vms/100"."""
    match = re.fullmatch(r"(?:(?:vm|ct):|/vms/)([0-9]+)", str(key))
    return [int(match.group(1))] if match else []


def vmid_of(part):
    """The vmid (int) of a part of a list of guests, "100" or "vm:100", or None."""
    match = re.fullmatch(r"(?:(?:vm|ct):)?([0-9]{1,9})", part)
    return int(match.group(1)) if match else None


def node_of_row(row):
    """The node that a row of any list of Proxmox's is about, or None."""
    task = parse_upid(row.get("upid"))
    return row.get("node") or (row.get("name") if row.get("type") == "node" else None) or (task and task.node)
