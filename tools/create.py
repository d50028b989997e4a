"""Toolset: new guests, and the templates that containers are made from.

Defaults are those of Proxmox's web interface where the API's own would give a guest of little use: an unprivileged
container with a network, a VM with virtio-scsi-single, a CPU type of today and a disk that can discard. The boot order
is left to Proxmox, which puts the disk before the CD, unless there are two CDs.
"""
import re
from dataclasses import dataclass
from typing import Annotated, Optional
from urllib.parse import quote

from tools.base import setup
from tools.base.answers import Table, result
from tools.base.edit import before_8
from tools.base.failures import Failure
from tools.base.guest import afterwards, amount, check_bridge, is_on, nic
from tools.base.lists import the_only
from tools.base.row import BASIC, ELEVATED, STARTS, Memory, Newid, NodeArgs, OnNode, Tool
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import contents, disk_format, new_size, promise, status, usable, why_qcow2
from tools.pve import text
from tools.pve.formats import gib, misfit, property_string
from tools.pve.text import Column


@dataclass
class Templates(NodeArgs):
    """Templates on a node that containers can be made from."""
    storage: Annotated[Optional[str], Arg(format="storage")] = None


@dataclass
class _New(OnNode):
    """(what both kinds of new guest have)"""
    vmid: Newid = REQUIRED
    memory: Memory = None
    cores: Optional[int] = None
    storage: Annotated[Optional[str], Arg(format="storage")] = None
    bridge: Annotated[Optional[str], Arg(format="bridge")] = None
    tag: Annotated[Optional[int], Arg(null=0, aliases=("vlan",))] = None
    tags: Annotated[Optional[str], Arg(listed=True)] = None
    pool: Annotated[Optional[str], Arg(format="pool", does="update_pool")] = None
    onboot: Optional[bool] = None
    start: Annotated[Optional[bool], Arg(does=STARTS)] = None


@dataclass
class CreateLxc(_New):
    """Create a container."""
    ostemplate: Annotated[str, Arg("volid or debian-13", max_length=300)] = REQUIRED
    hostname: Annotated[Optional[str], Arg(format="dnsname", aliases=("name",))] = None
    password: Annotated[Optional[str], Arg(min_length=5, secret=True)] = None
    ssh_public_keys: Annotated[Optional[str], Arg(parameter="ssh-public-keys", aliases=("sshkeys",))] = None
    rootfs_size: Annotated[str, Arg(unit="GiB", aliases=("rootfs",))] = "8"
    swap: Annotated[Optional[int], Arg(unit="MiB", minimum=0)] = None
    ip: Annotated[Optional[str], Arg("CIDR or dhcp")] = None
    gw: Optional[str] = None
    nameserver: Optional[str] = None
    unprivileged: bool = True
    features: Annotated[Optional[str], Arg("nesting=1")] = None
    mp0: Annotated[Optional[str], Arg("STORAGE:GiB,mp=/path", max_length=500)] = None


@dataclass
class CreateVm(_New):
    """Create a VM."""
    name: Annotated[Optional[str], Arg(format="dnsname", aliases=("hostname",))] = None
    os: Annotated[str, Arg(enum=("linux", "windows11", "windows2025", "windows10", "other"))] = "linux"
    disk_size: Annotated[Optional[str], Arg(unit="GiB")] = None
    iso: Annotated[Optional[str], Arg("volid", format="volid")] = None
    drivers_iso: Annotated[Optional[str], Arg("second CD", format="volid")] = None
    bios: Annotated[Optional[str], Arg(enum=("seabios", "ovmf"), published=False)] = None
    cpu: Optional[str] = None
    agent: Optional[bool] = None
    format: Annotated[Optional[str], Arg(enum=("qcow2", "raw", "vmdk"), published=False)] = None
    import_from: Annotated[Optional[str], Arg("image volid", format="volid", aliases=("import-from",))] = None
    ciuser: Optional[str] = None
    cipassword: Annotated[Optional[str], Arg(secret=True)] = None
    sshkeys: Annotated[Optional[str], Arg(aliases=("ssh_public_keys",))] = None
    ipconfig0: Annotated[Optional[str], Arg("ip=dhcp")] = None


TEMPLATES = Table("template", Column("volid", kind="long"), Column("size", kind="bytes"), Column("format"),
                  Column("ctime", "created", "time"), Column("storage", shown=False), sort=("volid",))


def list_templates(call):
    names, rows, notes = contents(call, "vztmpl", call.args.storage)
    if not rows:
        notes.append("None on %s. proxmox_download_appliance gets one." % (
            ", ".join(names) or "any storage for templates (content vztmpl) that the token may see (Datastore.Audit)"))
    return result(call, rows, note=notes)


_HINTS = (
    (r"volume '[^']*' does not exist",
     "proxmox_list_templates shows the container templates, proxmox_list_storage_content what else a storage holds."),
    (r"content type needs to be 'vztmpl'",
     "ostemplate has to be a template (proxmox_list_templates); a backup is restored with proxmox_restore_backup_lxc."),
    (r"cputype|CPU model", "Give a cpu that this version of Proxmox knows, such as kvm64 or host."),
)


def storage_for(call, content):
    """(the storage for a new guest, what its node says of it): the argument; else local-lvm, local-zfs or the one with
    most room for `content`."""
    if call.args.storage:
        return call.args.storage, status(call, call.args.storage)
    found, _ = usable(call, content)
    usual = [name for name in ("local-lvm", "local-zfs") if name in found]
    name = usual[0] if usual else max(found, key=lambda name: found[name].get("avail") or 0, default="local-lvm")
    return name, found.get(name, {})


def _created(call, params, says, notes, **found):
    """Send the creation, follow its task, see whether the guest starts if it was to, and tell it."""
    check_bridge(call, nic(params["net0"]).get("bridge"))
    outcome = call.follow(call.send(**params))
    if call.args.start and outcome.ok:
        state, note = afterwards(call, outcome, True)
        found["running"] = running = not outcome.upid or is_on(state)
        says = says.replace(" created on", " created and started on", 1) if running else says
        if not running:
            notes.insert(0, note)
    return result(call, outcome, says, notes, **found)


def _ostemplate(call):
    """The volid of the argument, which may be a part of the name of the only template that has it."""
    wanted = call.args.ostemplate
    if ":" in wanted:
        if misfit("volid", wanted):
            raise Failure("The argument ostemplate: %r %s" % (wanted[:80], misfit("volid", wanted)))
        return wanted
    _, rows, notes = contents(call, "vztmpl")
    return the_only([str(row["volid"]) for row in rows], wanted, "template on node %s%s" % (
        call.node, " (%s)" % " ".join(notes) if notes else ""))


def create_lxc(call):
    args, size = call.args, new_size(call.args.rootfs_size)
    setup.check(args)
    net0 = property_string({"name": "eth0", "bridge": args.bridge or "vmbr0", "ip": args.ip or "dhcp", "gw": args.gw,
                            "tag": args.tag or None, "firewall": True})
    # Features of a privileged container are for root@pam alone.
    features = args.features if args.features is not None else "nesting=1" if args.unprivileged else None
    mp0 = re.fullmatch(r"(?!.*,volume=)([^:,=/]+):([0-9][^,=:/]*)(,.*)", args.mp0 or "")
    if args.mp0 and not mp0:
        raise Failure("The argument mp0 must be a new volume, STORAGE:GiB,mp=/path. For another one create the "
                      "container, then use proxmox_update_lxc_config.")
    args.ostemplate = _ostemplate(call)
    storage, entry = storage_for(call, "rootdir")
    needs = {storage: size}
    if mp0:
        where, more = mp0.group(1), new_size(mp0.group(2))
        needs[where] = needs.get(where, 0) + more
    params = dict(call.parameters(), memory=args.memory or 512, storage=storage, net0=net0,
                  rootfs="%s:%s" % (storage, gib(size)), features=features or None,
                  mp0="%s:%s%s" % (where, gib(more), mp0.group(3)) if mp0 else None,
                  **dict.fromkeys(("rootfs_size", "bridge", "tag", "ip", "gw")))
    notes = promise(call, needs, {storage: entry})
    if not args.password and not args.ssh_public_keys:
        notes.append("It has neither a password nor an SSH key: log in on its node, as root, with pct enter %s."
                     % args.vmid)
    return _created(call, params, "%s created on node %s: %s, %s memory, %s on %s%s, net0 %s%s" % (
        text.called(call.subject, args.hostname), args.node,
        text.plural(args.cores, "core") if args.cores else "all cores of the node",
        amount("memory", params["memory"]), text.size(size), storage,
        ", mp0 %s on %s" % (text.size(more), where) if mp0 else "", text.line(net0, 200), _also(args)), notes,
        name=args.hostname, storage=storage, net0=net0, ostemplate=args.ostemplate)


def _also(args):
    """", tags a,b, onboot, pool lab" of the arguments of a new guest."""
    said = ["tags %s" % text.line(args.tags, 200)] if args.tags else []
    said += ["onboot"] * bool(args.onboot) + ["pool %s" % args.pool] * bool(args.pool)
    return "".join(", " + word for word in said)


#: os -> what the web interface gives such a guest. Windows 11 and Server 2025 want UEFI with keys and a TPM.
_UEFI = {"bios": "ovmf", "machine": "q35"}
_WINDOWS = {"memory": 4096, "cores": 2, "disk": "64", "agent": True}
_SYSTEMS = {
    "linux": {"ostype": "l26"}, "other": {"ostype": "other"},
    "windows10": dict(_WINDOWS, ostype="win10", machine="q35"),
    "windows11": dict(_WINDOWS, ostype="win11", tpm=True, **_UEFI),
    "windows2025": dict(_WINDOWS, ostype="win11", tpm=True, **_UEFI)}


def create_vm(call):
    args, usual = call.args, _SYSTEMS[call.args.os]
    if args.import_from and args.disk_size:
        raise Failure("An imported disk has the size of its image. Leave disk_size out, and grow it "
                      "afterwards (proxmox_resize_disk_vm).")
    size = None if args.import_from else new_size(args.disk_size or usual.get("disk", "8"))
    storage, entry = storage_for(call, "images")
    form, bios = args.format or disk_format(entry), args.bios or usual.get("bios")
    disk = property_string({"file": "%s:%s" % (storage, gib(size) if size else 0), "import-from": args.import_from,
                            "format": form, "iothread": True, "discard": "on"}, "file")
    net0 = property_string({"model": "virtio", "bridge": args.bridge or "vmbr0", "tag": args.tag or None,
                            "firewall": True}, "model")
    params = dict(
        call.parameters(), ostype=usual["ostype"], memory=args.memory or usual.get("memory", 512),
        cores=args.cores or usual.get("cores", 1), sockets=1, scsi0=disk, scsihw="virtio-scsi-single", net0=net0,
        agent=usual.get("agent") if args.agent is None else args.agent, bios=bios,
        cpu=args.cpu or (None if before_8(call) else "x86-64-v2-AES"),      # as the web interface; 7 does not know it
        machine=usual.get("machine"), ide2=_cd(args.iso), sata0=_cd(args.drivers_iso),
        efidisk0=property_string({"file": "%s:1" % storage, "efitype": "4m", "pre-enrolled-keys": True, "format": form},
                                 "file") if bios == "ovmf" else None,
        tpmstate0="%s:1,version=v2.0" % storage if usual.get("tpm") else None,
        sshkeys=quote(args.sshkeys.strip(), safe="") if args.sshkeys else None,         # format urlencoded
        **dict.fromkeys(("storage", "bridge", "tag", "disk_size", "iso", "import_from", "os", "drivers_iso", "format")))
    if args.ciuser or args.cipassword or args.ipconfig0 or args.sshkeys:
        params["ide0"] = "%s:cloudinit" % storage
    if args.iso and (args.drivers_iso or "ide0" in params):     # by itself Proxmox takes one CD, and not this one
        params["boot"] = "order=scsi0;ide2;net0"
    notes = promise(call, {storage: size or 0}, {storage: entry}) + [why_qcow2(storage)] * (form != args.format)
    notes += ["CD drive %s: %s." % pair for pair in (("ide2", args.iso), ("sata0", args.drivers_iso)) if pair[1]]
    if args.os.startswith("windows") and not args.drivers_iso and "virtio" not in str(args.iso).lower():
        notes.append("Windows needs the VirtIO drivers to see this disk and network card: give it the virtio-win ISO "
                     "as a second CD (drivers_iso).")
    if args.os.startswith("windows") and not args.import_from and "virtio" in str(args.iso or "virtio").lower():
        notes.append("No ISO to install Windows from is in a drive (iso).")
    return _created(call, params, "%s created on node %s: %s, %s memory, %s%s%s, disk scsi0 %s on %s, net0 %s%s" % (
        text.called(call.subject, args.name), args.node, text.plural(params["cores"], "core"),
        amount("memory", params["memory"]), usual["ostype"],
        ", UEFI with secure boot keys" if params["efidisk0"] else "",
        ", TPM 2.0" if params["tpmstate0"] else "", text.size(size) if size else "imported from %s" % args.import_from,
        storage, text.line(net0, 200), _also(args)), notes, name=args.name, storage=storage, net0=net0)


def _cd(iso):
    return iso and property_string({"file": iso, "media": "cdrom"}, "file")


TOOLS = {
    "proxmox_list_templates":
        Tool("GET /nodes/{node}/storage/{storage}/content", BASIC, Templates, list_templates, TEMPLATES),
    "proxmox_create_lxc": Tool("POST /nodes/{node}/lxc", ELEVATED, CreateLxc, create_lxc, explains=_HINTS),
    "proxmox_create_vm": Tool("POST /nodes/{node}/qemu", ELEVATED, CreateVm, create_vm, explains=_HINTS),
}
