"""What the demo cluster is made of: nodes, guests, storages and volumes, and the rules they keep among themselves.

Everything here is plain state in memory. Time is the World's: epoch seconds derived from one clock, so that a test that
owns the clock owns all dates, waits and curves.
"""
import hashlib
import json
import math
import re
from functools import lru_cache

from tools.demo import options
from tools.demo.rules import parse_properties

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40


class Refusal(Exception):
    """What Proxmox answers instead of doing it: .status (HTTP), .text (its message, whole), .errors (dict or None)."""

    def __init__(self, status, text, errors=None):
        super().__init__(text)
        self.status, self.text, self.errors = status, text, errors


def die(text):
    """Perl's die in an API method: status 500, or the error a task ends with."""
    raise Refusal(500, text)


def verify(errors):
    """raise_param_exc: status 400 with `errors` (parameter -> text), if there are any."""
    if errors:
        raise Refusal(400, "Parameter verification failed.\n", errors)


def bad(**errors):
    """The same with a name for each; "_" in it stands for "-"."""
    verify({key.replace("_", "-"): text for key, text in errors.items()})


def wave(t, seed, base, swing=0.3):
    """`base` moved up and down by at most `swing` of itself: a smooth curve over epoch `t`, another for each `seed`."""
    phase = seed * 2.399963
    return base * (1 + swing * (0.6 * math.sin(t / 97.0 + phase) + 0.4 * math.sin(t / 1733.0 + 1.7 * phase)))


def size_text(size):
    """`size` (bytes) as Proxmox writes it into a configuration: 32G, 528K, 512M, 4T never loses anything."""
    for unit, name in ((GIB, "G"), (MIB, "M"), (KIB, "K")):
        if size >= unit and size % unit == 0:
            return "%d%s" % (size // unit, name)
    return str(size)


def size_bytes(text):
    """Bytes of "32G", "528K", "4096" (bytes), None when it is no size (parse_size of pve-common)."""
    match = _SIZE.match(str(text))
    return math.ceil(float(match[1]) * _UNITS[match[2]]) if match else None


_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT])?\Z")
_UNITS = {None: 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}


class Volume:
    """One file or logical volume on a storage."""

    def __init__(self, volid, content, size, format="raw", used=None, vmid=None, ctime=0, notes=None, protected=False,
                 **facts):
        self.volid, self.content, self.size, self.format = volid, content, int(size), format
        self.used, self.vmid, self.ctime, self.notes, self.protected = used, vmid, ctime, notes, protected
        self.facts = facts          # subtype, parent, verification, encrypted, config (of a backup), snapshots

    @property
    def name(self):
        """The part after "storage:"."""
        return self.volid.partition(":")[2]

    @property
    def taken(self):
        """Bytes it takes on its storage."""
        return self.size if self.used is None else self.used


class Storage:
    """A storage.cfg entry and what lies on it. `total` is bytes, or a dict node -> bytes for a local one."""

    #: type -> formats of its volumes
    FORMATS = {"dir": "raw qcow2 vmdk subvol", "nfs": "raw qcow2 vmdk subvol", "cifs": "raw qcow2 vmdk",
               "lvmthin": "raw", "lvm": "raw", "zfspool": "raw subvol", "rbd": "raw", "pbs": ""}

    def __init__(self, name, kind, content, total, shared=False, nodes=None, enabled=True, active=True, base=0, **conf):
        self.name, self.type, self.content, self.total = name, kind, content.split(","), total
        self.shared, self.nodes, self.enabled, self.active = shared, nodes, enabled, active
        self.base = base                         # bytes taken by what is not listed
        self.conf = conf
        self.volumes = {}                        # node, or "" when shared -> {volid: Volume}

    def on(self, node):
        """Whether it is configured for `node`."""
        return self.nodes is None or node in self.nodes

    def at(self, node):
        """{volid: Volume} as seen from `node`."""
        return self.volumes.setdefault("" if self.shared else node, {})

    def put(self, node, volid, size, ctime):
        """An ISO image, template or other file is on it from `ctime` on."""
        content, _, leaf = volid.partition(":")[2].partition("/")
        fmt = {"iso": "iso", "snippets": "snippet", "vztmpl": "t"}.get(content, "")
        fmt += leaf.rpartition(".")[2] if fmt in ("", "t") else ""
        self.at(node)[volid] = Volume(volid, content, size, format=fmt, ctime=int(ctime))

    def space(self, node):
        """(total, used, avail) bytes on `node`."""
        total = self.total.get(node, 0) if isinstance(self.total, dict) else self.total
        base = self.base.get(node, 0) if isinstance(self.base, dict) else self.base
        used = min(total, base + sum(volume.taken for volume in self.at(node).values()))
        return total, used, total - used

    @property
    def files(self):
        """Whether volumes are files (in a directory of each guest)."""
        return self.type in ("dir", "nfs", "cifs")

    @property
    def thin(self):
        """Whether a new volume takes no room yet."""
        return self.type != "lvm"


class Guest:
    """A VM ("qemu") or container ("lxc"): configuration, what waits for a restart, snapshots and running state."""

    def __init__(self, vmid, kind, node, conf, running=False, paused=False, since=0.0, pid=None, cpu=0.03, mem=0.5,
                 rate=20000.0, filled=0, **inside):
        self.vmid, self.kind, self.node, self.conf = vmid, kind, node, conf
        self.pending = {}                        # option -> value, or None: to be deleted
        self.forced = set()                      # options whose pending deletion destroys the volume
        self.snapshots = {}                      # name -> Snapshot dict: conf, time, description, parent, vmstate
        self.parent = None                       # the snapshot this state descends from
        self.running, self.paused, self.pid = running, paused, pid
        self.since = since                       # epoch of its start
        self.cpu, self.mem = cpu, mem            # usual share of its CPUs, and of its memory
        self.rate = rate                         # bytes/s on its network
        self.filled = filled                     # bytes of a container's root file system
        self.guest = inside                      # agent, os, ips ... : what is inside

    @property
    def name(self):
        """Its name (VM) or host name (container)."""
        return str(self.conf.get("name" if self.kind == "qemu" else "hostname")
                   or ("VM %d" if self.kind == "qemu" else "CT%d") % self.vmid)

    @property
    def what(self):
        """"VM" or "CT", as in Proxmox's messages."""
        return "VM" if self.kind == "qemu" else "CT"

    @property
    def sid(self):
        """Its name as an HA resource."""
        return "%s:%d" % ("vm" if self.kind == "qemu" else "ct", self.vmid)

    def task(self, verb):
        """The type of a task that does `verb` to it: qmstart, vzstart; but qmigrate."""
        return ("vz" if self.kind == "lxc" else "q" if verb == "migrate" else "qm") + verb

    @property
    def template(self):
        return bool(self.conf.get("template"))

    @property
    def lock(self):
        return self.conf.get("lock")

    def snapshot(self, name):
        """The Snapshot dict, or die."""
        if name not in self.snapshots:
            die("snapshot '%s' does not exist" % name)
        return self.snapshots[name]

    def check_lock(self):
        """die when it is locked."""
        if self.lock:
            die("%s is locked (%s)" % (self.what, self.lock))

    def check_protection(self, text):
        """die when it is protected; `text` is what cannot be done."""
        if int(self.conf.get("protection", 0)):
            die("%s - protection mode enabled" % text)

    @property
    def digest(self):
        """SHA-1 of its configuration."""
        state = [self.conf, self.pending, sorted(self.forced), self.snapshots, self.parent]
        return hashlib.sha1(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()

    def wanted(self):
        """dict: the configuration with what is pending applied."""
        conf = dict(self.conf)
        for key, value in self.pending.items():
            if value is None:
                conf.pop(key, None)
            else:
                conf[key] = value
        return conf

    @property
    def cpus(self):
        """Number of its CPUs (a container without `cores` has all of the node: 0 here)."""
        if self.kind == "lxc":
            return int(self.conf.get("cores", 0))
        return int(self.conf.get("vcpus") or int(self.conf.get("sockets", 1)) * int(self.conf.get("cores", 1)))

    @property
    def memory(self):
        """Bytes of memory."""
        return int(str(self.conf.get("memory", 512)).rpartition("=")[2]) * MIB

    def drives(self, conf=None, unused=False):
        """[(key, properties, volume or path)] of the disks, CDs and bind mounts in a configuration."""
        found = []
        for key, value in (self.conf if conf is None else conf).items():
            if value is not None and disk_rule(self.kind, key) and (unused or not key.startswith("unused")):
                parts = dict(_disk(self.kind, key, str(value)))
                found.append((key, parts, volume_of(parts)))
        return found

    def disks(self, conf=None, unused=True):
        """Those of them that are volumes made for a guest: no CDs, no bind mounts."""
        return [(key, parts, volid) for key, parts, volid in self.drives(conf, unused)
                if ":" in volid and volid[0] != "/" and (not is_cdrom(parts) or is_cloudinit(parts))]


def volume_of(parts):
    """The volume, or path, in the properties of a disk."""
    return parts.get("file", parts.get("volume"))


def is_cdrom(parts):
    """Whether the properties of a drive are those of a CD drive."""
    return parts.get("media") == "cdrom" or parts.get("file") in ("none", "cdrom")


def is_cloudinit(parts):
    """Whether a drive is the cloud-init drive."""
    return bool(re.search(r"(^|[:/])(vm-\d+-)?cloudinit(\.\w+)?$", parts.get("file", "")))


def nets(conf):
    """{key: value} of the network cards in a configuration."""
    return {key: value for key, value in conf.items() if re.match(r"net\d+$", key)}


DISK_KEY = re.compile(r"(ide|sata|scsi|virtio|efidisk|tpmstate|unused|rootfs|mp)(\d*)\Z")
_LXC_DISKS = {"rootfs": options.ROOTFS, "mp": options.MOUNTPOINT, "unused": options.LXC_UNUSED}
_QEMU_DISKS = {"ide": options.IDE, "sata": options.SATA, "scsi": options.SCSI, "virtio": options.VIRTIO,
               "efidisk": options.EFIDISK, "tpmstate": options.TPMSTATE, "unused": options.UNUSED}


@lru_cache(maxsize=1024)
def disk_rule(kind, key):
    """The property string rules of `key` if it names a disk of a `kind` of guest, else None."""
    match = DISK_KEY.match(key)
    if not match or (match.group(1) == "rootfs") == bool(match.group(2)):
        return None
    return (_LXC_DISKS if kind == "lxc" else _QEMU_DISKS).get(match.group(1))


@lru_cache(maxsize=2048)
def _disk(kind, key, text):
    """The properties of one disk, read once: every list of guests asks for those of all. Not to be changed."""
    return parse_properties(disk_rule(kind, key), text)


class Node:
    """A host of the cluster: fixed facts; its load is a curve."""

    def __init__(self, name, number, ip, cpus=16, memory=64 * GIB, root=94 * GIB, booted=0.0,
                 model="AMD EPYC 7302P 16-Core Processor"):
        self.name, self.number, self.ip = name, number, ip
        self.cpus, self.memory, self.root, self.model, self.booted = cpus, memory, root, model, booted
        self.facts = {}             # disks, zfs, lvm, network, dns ... : see world.py
        digest = hashlib.sha256(("demo certificate of %s" % name).encode()).hexdigest().upper()
        self.fingerprint = ":".join(digest[i:i + 2] for i in range(0, 64, 2))


class World:
    """The whole state. `t` is the epoch time that is being lived (tasks are caught up in order)."""

    def __init__(self, clock, now, version="9.1"):
        self.clock, self.version = clock, version
        self.major, self.minor = (int(part) for part in (version + ".0").split(".")[:2])
        self._clock0, self._now0 = clock(), now()
        self.t = float(self._now0)
        self.name = "demo"
        self.nodes, self.guests, self.storages = {}, {}, {}
        self.pools, self.ha, self.backup_jobs, self.replication = {}, {}, {}, {}
        self.firewall, self.sdn, self.access, self.roles = {}, {}, {}, {}
        self.cluster_log = []
        self.offline = set()
        self.tasks = None           # tasks.Tasks
        self._counts = {}
        self.loads = (None, {})     # see lists.py

    def real_time(self):
        """Epoch seconds by the clock."""
        return self._now0 + (self.clock() - self._clock0)

    def count(self, name, start=1):
        """The next number of the series `name`."""
        value = self._counts.get(name, start)
        self._counts[name] = value + 1
        return value

    def mac(self):
        """A new MAC address with Proxmox's prefix."""
        number = self.count("mac", 0x0A1000)
        return "BC:24:11:%02X:%02X:%02X" % (number >> 16 & 255, number >> 8 & 255, number & 255)

    def uuid(self):
        """A new UUID."""
        digest = hashlib.md5(b"demo uuid %d" % self.count("uuid")).hexdigest()
        return "-".join((digest[:8], digest[8:12], "4" + digest[13:16], "a" + digest[17:20], digest[20:]))

    @property
    def quorate(self):
        """Whether more than half of the nodes are up."""
        return 2 * (len(self.nodes) - len(self.offline & set(self.nodes))) > len(self.nodes)

    @property
    def local(self):
        """Name of the node that answers: the first that is up."""
        return next((name for name in self.nodes if name not in self.offline), next(iter(self.nodes)))

    # ---- guests

    def check_writable(self, guest):
        """die as a write of a guest's configuration does when /etc/pve is read-only, which it is without quorum."""
        if not self.quorate:
            die("unable to open file '/etc/pve/nodes/%s/%s/%d.conf.tmp.%d' - Permission denied" % (
                guest.node, "qemu-server" if guest.kind == "qemu" else "lxc", guest.vmid, self.count("tmp", 12001)))

    def guest(self, vmid, kind, node):
        """The Guest, or die as Proxmox does when there is no such file on that node."""
        guest = self.guests.get(vmid)
        if guest is None or guest.kind != kind or guest.node != node:
            die("Configuration file 'nodes/%s/%s/%d.conf' does not exist"
                % (node, "qemu-server" if kind == "qemu" else "lxc", vmid))
        return guest

    def pool_of(self, vmid):
        """The pool a guest is in, or None."""
        return next((name for name, pool in self.pools.items() if vmid in pool["vms"]), None)

    def next_vmid(self):
        """The lowest free vmid."""
        vmid = 100
        while vmid in self.guests:
            vmid += 1
        return vmid

    # ---- storages and volumes

    def known_storage(self, name):
        """The Storage, enabled or not, or die."""
        if name not in self.storages:
            die("storage '%s' does not exist" % name)
        return self.storages[name]

    def storage(self, name, node=None):
        """The Storage, or die: unknown, disabled, or not on `node`."""
        storage = self.known_storage(name)
        if not storage.enabled:
            die("storage '%s' is disabled" % name)
        if node is not None and not storage.on(node):
            die("storage '%s' is not available on node '%s'" % (name, node))
        return storage

    def storage_of(self, volid):
        """The Storage that a volume's id names, or None."""
        return self.storages.get(volid.partition(":")[0])

    def online_storage(self, name, node):
        """As storage(), but it has to be reachable too."""
        storage = self.storage(name, node)
        if not storage.active:
            die("storage '%s' is not online" % name)
        return storage

    def volume(self, volid, node):
        """The Volume called `volid` as seen from `node`, or None."""
        storage = self.storage_of(volid)
        return storage.at(node).get(volid) if storage and storage.on(node) else None

    def allocate(self, storage, node, vmid, size, fmt=None, kind="qemu", name=None, used=None):
        """Make a volume of `size` bytes for a guest and return it; dies when there is no room."""
        fmt = fmt or ("subvol" if kind == "lxc" and storage.type == "zfspool" else "raw")
        if fmt not in storage.FORMATS[storage.type].split():
            die("unsupported format '%s'%s" % (fmt, " for storage '%s'" % storage.name if storage.files else ""))
        free = storage.space(node)[2]
        if not storage.thin and size > free:
            die("not enough free space ('%s' free, '%s' needed)" % (free, size))
        if storage.files and size > free and fmt == "raw" and kind == "lxc":
            die("unable to create image: No space left on device")
        volumes = storage.at(node)
        if name is None:
            taken = {re.search(r"(?:\d+-disk-(\d+))?(?:\.\w+)?$", volume.name).group(1) for volume in volumes.values()
                     if volume.vmid == vmid}
            number = next(number for number in range(len(taken) + 1) if str(number) not in taken)
            name = "%s-%d-disk-%d" % ("subvol" if fmt == "subvol" else "vm", vmid, number)
        if storage.files:
            name = "%d/%s" % (vmid, name if fmt == "subvol" else "%s.%s" % (name, fmt))
        if used is None:
            used = min(size, 4 * MIB) if storage.thin else size
        volume = Volume("%s:%s" % (storage.name, name), "rootdir" if kind == "lxc" else "images", size, format=fmt,
                        vmid=vmid, ctime=int(self.t), used=used)
        volumes[volume.volid] = volume
        return volume

    def free(self, volid, node):
        """Remove a volume if it is there."""
        storage = self.storage_of(volid)
        if storage is not None:
            storage.at(node).pop(volid, None)
