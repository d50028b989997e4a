"""Proxmox's formats: what an id, a size, a property string and a UPID look like, and how a path is made of checked ids.

The rules are those of pve-common (JSONSchema.pm, UPID.pm), pve-storage and qemu-server. pveproxy percent-decodes the
whole path before it splits it at "/", so encoding protects nothing: an id is *checked* here before it becomes part of
a path.
"""
import re
from collections import namedtuple
from functools import lru_cache

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"        # of a DNS name; the name of a node is one
_STORAGE = r"[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]"
_UPID = (r"UPID:(" + _LABEL + r"):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:([0-9A-Fa-f]{8}):"
         r"([^:\s/]+):([^:\s/]*):([^:\s/]+):")         # node, pid, pstart, starttime, type, id, user
# no segment of a volume's name is empty, "." or "..": pveproxy folds none, but urllib3 does before it sends
_VOLUME = _STORAGE + r":(?!(?:.*/)?\.{0,2}(?:/|\Z))"
_DRIVE = r"ide[0-3]|sata[0-5]|scsi(?:[0-9]|[12][0-9]|30)|virtio(?:[0-9]|1[0-5])"
_TO_255 = r"(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"

#: The highest number of each kind of numbered option (qemu-server Drive.pm, pve-container LXC/Config.pm).
LAST_INDEX = {"ide": 3, "sata": 5, "scsi": 30, "virtio": 15, "net": 31, "mp": 255, "unused": 255, "hostpci": 15,
              "numa": 7, "virtiofs": 9, "dev": 255, "usb": 13, "serial": 3, "parallel": 2, "ipconfig": 31}

#: kind of guest -> pattern of the options that name its disks and mount points, CD drives and bind mounts too.
DISK_KEYS = {"qemu": r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|unused)[0-9]+", "lxc": r"rootfs|(?:mp|unused)[0-9]+"}

#: Where the path of a request about a guest begins: node, kind of guest, vmid.
GUEST_PATH = re.compile(r"/nodes/([^/]+)/(qemu|lxc)/(\d+)(?=/|\Z)")


class Misfit(ValueError):
    """A value that has not the format it must have; str(error) says so in a sentence."""


Format = namedtuple("Format", "source words example")
#: name -> (pattern that the whole value must match, the rule in words, an example)
FORMATS = {
    "node": Format(_LABEL, "a node name: letters, digits and inner hyphens, no dots", "pve1"),
    "vmid": Format(r"[1-9][0-9]{2,8}", "a guest's number from 100 to 999999999", "100"),
    "newid": Format(r"[1-9][0-9]{2,8}", "a guest's number from 100 to 999999999", "100"),
    "storage": Format(_STORAGE, "a storage id: a letter, then letters, digits, . _ -", "local-lvm"),
    "snapname": Format(r"[a-zA-Z][a-zA-Z0-9_-]{1,39}",
                       "a snapshot name: a letter, then letters, digits, _ and -, 2 to 40 characters",
                       "before-upgrade"),
    "iface": Format(r"[a-zA-Z][a-zA-Z0-9_]{1,20}(?:[:.][0-9]+)?",
                    "a network interface name: a letter, then letters, digits and _ (no hyphen)", "vmbr0"),
    "bridge": Format(r"[-_.\w]+", "a bridge or SDN vnet name: letters, digits and - _ .", "vmbr0"),
    "upid": Format(_UPID, "a task id as Proxmox gives it, from UPID: to the last colon",
                   "UPID:pve1:00001234:0000ABCD:65000000:qmstart:100:root@pam:"),
    "volid": Format(_VOLUME + r"[^\x00-\x1f\x7f\\]+", "a volume id, storage:name",
                    "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst"),
    "volume": Format(_VOLUME + r"[^\s\x00-\x1f\x7f?#\\]+", "a volume id without blanks, ? and # (the API "
                     "cannot reach a file that has them in its name: rename it on its node)",
                     "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst"),
    "device": Format(r"/dev/[a-zA-Z0-9/]+", "a device path like /dev/sda", "/dev/sda"),
    "dnsname": Format(_LABEL + r"(?:\." + _LABEL + r")*", "a DNS name: letters, digits, hyphens and dots (no _)",
                      "web01"),
    "zpool": Format(r"[a-zA-Z][a-zA-Z0-9_.:-]*", "a ZFS pool name", "rpool"),
    "id": Format(r"[a-zA-Z0-9][a-zA-Z0-9_.:-]{0,127}", "the id of a job: letters, digits and _ . : -",
                 "backup-nightly"),
    "pos": Format(r"[0-9]{1,5}", "the position of a rule", "0"),
    "pool": Format(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+){0,2}", "a pool id", "production"),
    "mac": Format(r"[0-9a-fA-F][02468aceACE](?::[0-9a-fA-F]{2}){5}", "a unicast MAC address", "BC:24:11:00:00:01"),
    "drive": Format(r"(?:" + _DRIVE + r")",
                    "a disk of a VM: ide0-3, sata0-5, scsi0-30 or virtio0-15", "scsi1"),
    "disk": Format(r"(?:" + _DRIVE + r"|efidisk0|tpmstate0|rootfs|(?:mp|unused)" + _TO_255 + r")",
                   "a disk of a VM (ide0-3, sata0-5, scsi0-30, virtio0-15, efidisk0, tpmstate0), a volume of a "
                   "container (rootfs, mp0-255) or unused0-255", "scsi1"),
    "mp": Format(r"mp" + _TO_255, "a mount point mp0 to mp255", "mp0"),
    "ctvolume": Format(r"(?:mp|unused)" + _TO_255,
                       "a mount point mp0 to mp255 or an unused volume unused0 to unused255", "mp0"),
    "net": Format(r"net(?:[0-9]|[12][0-9]|3[01])", "a network device net0 to net31", "net0"),
    "option": Format(r"[a-zA-Z][a-zA-Z0-9_-]*", "an option's name", "memory"),
    "safety": Format(r"none|(?:snapshot|backup)(?::" + _STORAGE + r")?",
                     "none, snapshot or backup, the last two perhaps with the storage of the backup", "backup:local"),
    "kind": Format(r"qemu|lxc", "qemu or lxc", "qemu"),
}
#: Path parameters that follow another name's format.
_SAME = {"target": "node", "guest": "vmid", "name": "zpool", "poolid": "pool", "type": "kind"}
_PARAMETER = r"\{(\w+)\}"


def fits(name, value):
    """Whether the str `value` has the format called `name` (a key of FORMATS), all of it."""
    return re.fullmatch(FORMATS[name].source, value, re.ASCII) is not None


@lru_cache(maxsize=500)
def misfit(name, value):
    """What is wrong with the str `value` as a `name`, in words, or None when it fits."""
    return None if fits(name, value) else "is not %s, such as %s" % FORMATS[name][1:]


def fill(template, ids):
    """The path of `template` ("/nodes/{node}/qemu/{vmid}/config") with `ids` (name -> value) put in. Every id is
    checked against the format of its name; Misfit says which one is wrong. The volume id of a storage content path may
    hold slashes; a UPID its colons; nothing else needs encoding once it has been checked."""
    parts = re.split(_PARAMETER, template)          # text, name, text, name ...
    for place in range(1, len(parts), 2):
        name, value = parts[place], str(ids[parts[place]])
        problem = misfit(_SAME.get(name, name), value)
        if problem:
            raise Misfit("%s %r %s" % (name, value[:80], problem))
        if not (value.isascii() and value.isalnum()):           # most are
            from urllib.parse import quote
            value = quote(value, safe=":/@!+,=~")
        parts[place] = value
    return "".join(parts)


def on(value):
    """The truth of a boolean of Proxmox, in an answer or sent to it, as Perl and JSONSchema.pm (parse_boolean) have it:
    what is absent, empty, 0, "0", false, "false", "no" or "off" is false."""
    return bool(value) and str(value).lower() not in ("0", "false", "no", "off")


def text_of(value):
    """How Perl prints a JSON scalar, and a form carries it."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return str(value)


def natural(key):
    """What options are sorted by, so that scsi2 is before scsi10: (its series, its number or -1)."""
    series = key.rstrip("0123456789")
    return series, int(key[len(series):] or -1)


def label(host, port):
    """host:port, an IPv6 address in brackets."""
    return "[%s]:%d" % (host, port) if ":" in host else "%s:%d" % (host, port)


# ---------------------------------------------------------------------------------------------------- property strings

def parse_property_string(text, default_key=None):
    """dict of a property string ("virtio=BC:24:11:00:00:01,bridge=vmbr0"), in its order. A part without "=" belongs to
    `default_key` (str) or, without one, stands as a key whose value is None."""
    result = {}
    for part in text.split(","):
        if not part:
            continue
        key, equals, value = part.partition("=")
        if equals:
            result[key] = value
        elif default_key is not None and default_key not in result:
            result[default_key] = part
        else:
            result[part] = None
    return result


def property_string(values, default_key=None):
    """The property string of `values` (mapping, in its order). None is left out, bools become 1/0. The value of
    `default_key` is written bare. A value that holds a comma, or a line break, would become another key: Misfit (rule:
    PVE::JSONSchema::parse_property_string splits at every comma)."""
    parts = []
    for key, value in values.items():
        if value is None:
            continue
        text = text_of(value)
        if "," in text or any(ord(c) < 32 for c in text):
            raise Misfit("%s %r may not hold a comma or a line break" % (key, text[:80]))
        parts.append(text if key == default_key else "%s=%s" % (key, text))
    return ",".join(parts)


# --------------------------------------------------------------------------------------------------------------- sizes

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"(\+?)\s*([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([KMGT]?)(?:i?B)?(?:/s)?"


def parse_size(text, unit="GiB", more="+10G"):
    """(grows, bytes) of a size, memory or rate: "50", "50G", "0.5T", "512 MiB", "+10G". A number alone is so many of
    `unit` (GiB, MiB, MB/s, KiB/s); "+" means so much more. Misfit when it is none, or nothing at all."""
    match = re.fullmatch(_SIZE, str(text).strip(), re.ASCII | re.IGNORECASE)
    size = int(round(float(match.group(2)) * _UNITS[match.group(3).upper() or unit[0]])) if match else 0
    if size <= 0:
        raise Misfit("%r is not a size, such as 50 (%s), 50G, 0.5T, 512M or %s" % (str(text)[:40], unit, more))
    return match.group(1) == "+", size


def in_unit(value, unit):
    """How many `unit` (see `parse_size`) "4G" or "0.5T" is, as an int where it is whole; Misfit when it is no amount.
    A number alone, or the text of one, stays what it is, and so does what is no text."""
    if not isinstance(value, str) or re.fullmatch(r"\s*-?[0-9.]*\s*", value, re.ASCII):
        return value
    grows, size = parse_size(value, unit, "0.5G")
    if grows:
        raise Misfit("%r is not taken with a +: say the new value" % value[:40])
    number = size / _UNITS[unit[0]]
    return int(number) if number.is_integer() else number


def gib(size):
    """`size` (bytes) as the plain decimal number of GiB that Proxmox takes in "storage:SIZE"; exact for whole MiB."""
    return ("%.10f" % (size / float(1 << 30))).rstrip("0").rstrip(".")


def size_of(text):
    """Bytes of the "size=" in a disk's property string ("32G", "512M", "4096"), or None. Without a unit it is bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)", text or "")
    if not match:
        return None
    return int(float(match.group(1)) * _UNITS.get(match.group(2), 1))


# ---------------------------------------------------------------------------------------------------------- UPID, volid

Upid = namedtuple("Upid", "text node starttime type id user")


def parse_upid(text):
    """Upid of a task id (PVE/UPID.pm), `text`, starttime in epoch seconds; None when it is not one."""
    match = re.fullmatch(_UPID, text, re.ASCII) if isinstance(text, str) else None
    return Upid(text, match.group(1), int(match.group(2), 16), *match.groups()[2:]) if match else None


_OWNER = r"(?:^|/)(?:vm|base|basevol|subvol)-([0-9]+)-|vzdump-(?:qemu|lxc|openvz)-([0-9]+)-"
_OWNER_DIRECTORY = r"(?:^|/)([0-9]+)(?=/)"              # of a file, whatever it is called (PVE/Storage/Plugin.pm)


def owner_of(volid):
    """vmid (int) that a volume id names: a disk image, a vzdump archive or a backup on a PBS; None when it names none.
    A linked clone's volume names its template first and its own guest last (base-9000-disk-0/vm-100-disk-0)."""
    name = volid.partition(":")[2]
    found = re.findall(_OWNER_DIRECTORY, name) or [group for match in re.finditer(_OWNER, name, re.ASCII)
                                                   for group in match.groups() if group]
    return int(found[-1]) if found and len(found[-1]) < 13 else None
