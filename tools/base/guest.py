"""One guest as Proxmox tells it: its name and state, its disks and network devices, what waits for its restart, and
what of it may be shown; each read here and nowhere else, so that no two tools tell the same guest in two ways.
"""
import re
from collections import Counter
from urllib.parse import unquote

from tools.base.failures import Failure
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import DISK_KEYS, fits, natural, on, owner_of, parse_property_string, size_of
from tools.pve.scrub import is_secret

# ------------------------------------------------------------------------------------------------------- name and state


def name(told):
    """The name in a guest's status, config or row (None when it has none): a container's config says hostname."""
    return told.get("name") or told.get("hostname")


def named(call, told):
    """"VM 100 (web01)"; `told` as for `name`."""
    return text.called(call.subject, name(told))


def current(call):
    """The status/current; {} when the token may not look."""
    try:
        return call.get("./status/current")
    except PveError as error:
        if error.status == 403:
            return {}
        raise


def afterwards(call, outcome, started):
    """(status/current, the sentence about it) after a task that created the guest; ({}, None) when it is not known.
    started: whether it was to be started with it, by a task of its own that nothing waits for (PVE::API2::Qemu,
    vm_start in a worker): it is looked at for some seconds until it runs."""
    state = {}
    if outcome.upid and outcome.ok:
        state = call.wait_for(lambda: call.try_get("./status/current") or {}, lambda state: not is_off(state),
                              15 if started else 0, lambda state: "%s is being started" % call.subject, (1, 2, 3, 4, 5))
    if not state:
        return state, None
    note = "It is %s now." % condition(state)
    if started and not is_on(state):
        note += " It should have started and is not running yet: proxmox_list_tasks vmid=%s shows why." % call.args.vmid
    return state, note


def condition(state):
    """"running", "paused", "hibernated", "io-error" ... of a status/current; None when it is not known."""
    if state.get("status") == "stopped" and state.get("lock") == "suspended":
        return "hibernated"
    status = state.get("status")
    if status == "running":
        status = state.get("qmpstatus", status)
    return status and text.line(status)


def told(state):
    """"running", "running (paused)", "stopped (template)" of a status/current or a row; "-" when nothing is known."""
    status, really = text.line(state.get("status") or "-"), condition(state)
    more = [really] * (really not in (status, None)) + ["template"] * on(state.get("template"))
    return "%s (%s)" % (status, ", ".join(more)) if more else status


#: qmpstatus of a VM that is on and stands still (QEMU, qapi/run-state.json) -> (whether it can be resumed, what helps).
STANDING = {
    "paused": (True, "paused; proxmox_resume_vm lets it go on"),
    "suspended": (True, "asleep; proxmox_resume_vm wakes it"),
    "io-error": (True, "stands still after an I/O error; look at its storage, then proxmox_resume_vm"),
    "internal-error": (False, "QEMU met an internal error; only a stop and a start help"),
    "guest-panicked": (False, "its operating system crashed; only a reset or a stop helps")}


def in_backup(state):
    """Whether a VM is on for its backup alone: Proxmox starts it when asked to (PVE::QemuServer, vm_start)."""
    return condition(state) == "prelaunch" and state.get("lock") == "backup"


def must_be_off(call, state, instead):
    """Failure when the guest is on; `instead`: the sentences about that, the guest's name left out."""
    if in_backup(state):
        raise Failure("%s is being backed up, and switched on for that alone. Wait until its backup has ended "
                      "(proxmox_list_tasks)." % named(call, state))
    if is_on(state):
        raise Failure("%s is %s%s" % (named(call, state), condition(state), instead))


def with_states(call, rows):
    """(rows of /cluster/resources, those of VMs that are on with their qmpstatus; sentences about what is not known).
    In those rows a paused VM is running: only its node tells, in a list for which it asks each QEMU. One request for
    each node that has such VMs; of more than 1,000 VMs none is asked."""
    vms = [row for row in rows if row.get("type") == "qemu" and is_on(row)]
    if len(vms) > 1000:
        return rows, ["{:,} VMs are on; which of them are paused or stand still was not asked. Of one node they are "
                      "(proxmox_get_vms node=NODE).".format(len(vms))]
    nodes = sorted({str(row.get("node")) for row in vms})
    found = dict(zip(nodes, call.together([("/nodes/{node}/qemu", {"node": node}, {"full": 1}) for node in nodes])))
    silent = [node for node in nodes if isinstance(found[node], Exception)]
    notes = ["Not read of %s: which of its VMs are paused or stand still, and what is listed of it "
             "may be its last known state; %s" % (
        ", ".join(map(text.line, silent)), text.first_line(found[silent[0]]))] if silent else []
    return stated(rows, [found[node] for node in nodes if node not in silent]), notes


def stated(rows, lists):
    """The rows of /cluster/resources, those of VMs with the qmpstatus that the full lists of their nodes tell."""
    known = {str(vm.get("vmid")): vm["qmpstatus"] for found in lists for vm in found or () if vm.get("qmpstatus")}
    return [dict(row, qmpstatus=known[str(row.get("vmid"))]) if row.get("type") == "qemu" and str(
        row.get("vmid")) in known else row for row in rows]


def locked(rows):
    """"106 (backup), 107 (migrate)" of the rows that are locked; "" when none is."""
    return text.line(", ".join("%s (%s)" % (row.get("vmid"), row["lock"]) for row in rows if row.get("lock")), 400)


def is_on(state):
    return state.get("status") == "running"


def is_off(state):
    return state.get("status") == "stopped"


def is_awake(state):
    return condition(state) == "running"


def counts_as(row):
    """What a row of /cluster/resources is counted as: "template", else its condition; see `with_states`."""
    return "template" if on(row.get("template")) else condition(row) or "unknown"


def by_state(rows):
    """{state: how many} of the rows of guests, the usual states first."""
    counts = Counter(map(counts_as, rows))
    usual = ("running", "stopped", "unknown", "template")
    order = sorted(counts, key=lambda key: (usual.index(key) if key in usual else 0.5, key))
    return {key: counts[key] for key in order}


def counted(counts):
    """Counts by state as text, "9 running, 3 stopped"."""
    return text.line(", ".join("{:,} {}{}".format(n, text.line(key, 40), "s" if key == "template" and n != 1 else "")
                               for key, n in counts.items()), 600)


# ------------------------------------------------------------------------------------------------- disks, mount points

class Disk:
    """A disk, mount point or drive as its option of a config tells it: key ("scsi0"), volid (its volume, or a path, or
    "none"), size (bytes or None), options (its other keys, as text), storage (None for a path, "none" or "cdrom"),
    cdrom, cloudinit (the drive that Proxmox makes), owner (the vmid (int) that the volume's name holds, or None: the
    last of "tank:base-9000-disk-0/vm-100-disk-0")."""

    def __init__(self, key, value):
        parts = parse_property_string(str(value), "file")
        self.key, self.volid = key, parts.pop("file", None) or parts.pop("volume", None) or ""
        self.size, self.options = size_of(parts.get("size")), parts
        self.storage = self.volid.partition(":")[0] if ":" in self.volid and not self.volid.startswith("/") else None
        self.cdrom = parts.get("media") == "cdrom"
        self.cloudinit = "cloudinit" in self.volid and self.storage is not None
        self.owner = owner_of("x:" + re.split("[:/]", self.volid)[-1])

    def goes_with(self, vmid):
        """Whether deleting the guest deletes it (PVE::QemuServer::destroy_vm, PVE::LXC::destroy)."""
        return self.storage is not None and (self.cloudinit or not self.cdrom) and self.owner in (None, vmid)

    @property
    def use(self):
        """What it is there for, in a word or two."""
        series = {"unused": "unused", "efidisk": "EFI", "tpmstate": "TPM"}.get(self.key.rstrip("0123456789"))
        if series:
            return series
        if self.cdrom:
            return "cloud-init" if self.cloudinit else "CD (empty)" if self.volid == "none" else "CD"
        container = self.key == "rootfs" or self.key.startswith("mp")
        if self.volid.startswith("/"):
            return "bind mount" if container and not self.volid.startswith("/dev/") else "device"
        return "disk" if not container else "root" if self.key == "rootfs" else "mount point"

    def __str__(self):
        return "%s, %s" % (self.volid, text.size(self.size)) if self.size else self.volid


def disks(kind, config):
    """The Disks of a config, CD drives and bind mounts too; mp2 before mp10. kind: qemu or lxc."""
    keys = filter(re.compile(DISK_KEYS[kind]).fullmatch, config)
    return [Disk(key, config[key]) for key in sorted(keys, key=natural)]


def unused(config, volid):
    """The unusedN that holds `volid`, or None."""
    return next((disk.key for disk in disks("qemu", config) if disk.use == "unused" and disk.volid == volid), None)


def at_stake(call):
    """(status/current, volumes, names of snapshots, digest) that go with a guest; Failure when it is protected."""
    config, state = call.get("./config"), call.get("./status/current")
    snapshots = [entry["name"] for entry in call.get("./snapshot") if entry.get("name") != "current"]
    if on(config.get("protection")):
        raise Failure("%s is protected (protection: 1 in its config). Switch the protection off first, "
                      "if that is intended (protection=0 in its config)." % named(call, state))
    volumes = ["%s %s%s" % (disk.key, disk.volid, " (%s)" % disk.options["size"] if disk.options.get("size") else "")
               for disk in disks(call.kind, config) if disk.goes_with(call.args.vmid)]
    return state, volumes, snapshots, config.get("digest")


def loss(volumes, snapshots):
    """"its disks scsi0 ... and its snapshots a, b", of what `at_stake` found."""
    parts = ["its disks %s" % ", ".join(volumes) if volumes else "no disk"]
    if snapshots:
        parts.append("its snapshot%s %s" % ("s" if len(snapshots) > 1 else "", text.line(", ".join(snapshots), 400)))
    return " and ".join(parts)


# ------------------------------------------------------------------------------------------------------ network devices

#: qemu-server, QemuServer.pm $net_fmt. `model=MAC` stands first in the property string: a model is a key there.
MODELS = ("e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er",
          "ne2k_isa", "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3")
MEMORY = ("memory", "swap", "balloon")                  # options that are so many MiB
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")


def nic(value):
    """The keys (dict, in order) of a network device's property string; a VM's virtio=MAC as "model" and "macaddr"."""
    found = {}
    for key, part in parse_property_string(str(value), "model").items():
        if key in MODELS or key not in ("macaddr", "hwaddr") and _MAC.fullmatch(part or ""):
            found["model"], found["macaddr"] = key, part
        else:
            found[key] = part
    return found


def amount(key, value):
    """An option's value as text; "4 GiB" of memory ("current=4096" for a VM since 8.0), which Proxmox keeps in MiB."""
    number = str(value).rpartition("=")[2]
    return text.size(int(number) << 20) if key in MEMORY and number.isdecimal() and number.isascii() else str(value)


def fixed_addresses(config):
    """The addresses (sorted) that a config's network devices and cloud-init give the guest, without their prefixes."""
    told = [*nics(config).values(), *(str(value) for key, value in config.items() if key.startswith("ipconfig"))]
    return sorted({match for value in told for match in re.findall(r"ip6?=([0-9a-fA-F][0-9a-fA-F.:]+)/", value)})


def mac(value):
    """The MAC address in a network device's property string, or None."""
    found = nic(value)
    return found.get("macaddr") or found.get("hwaddr")


def holds(kind, config):
    """"rootfs local-lvm:vm-601-disk-0, 8 GiB; net0 BC:24:11:0A:10:04": the disks and MAC addresses of a config."""
    found = [(disk.key, str(disk)) for disk in disks(kind, config) if not disk.cdrom]
    found += [(key, mac(value)) for key, value in nics(config).items()]
    return text.line("; ".join("%s %s" % (key, text.line(said, 200)) for key, said in found) or "no disk", 1000)


def nics(config):
    """{"net0": property string} of a config."""
    return {key: str(config[key]) for key in sorted((key for key in config if fits("net", key)), key=natural)}


def unfiltered(config):
    """The network devices of a config whose traffic goes round the firewall."""
    return [key for key, value in nics(config).items() if not on(nic(value).get("firewall"))]


def check_bridge(call, bridge):
    """Failure when the node has no such bridge or vnet that this token may use: a guest takes it all the same, and then
    does not start. Where no list is to be had nothing is refused."""
    names = sorted(str(row.get("iface")) for row in call.try_get("/nodes/{node}/network", type="any_bridge") or ())
    if bridge and names and bridge not in names:
        raise Failure("There is no bridge %s on node %s that this token may use, and a guest with it would not start. "
                      "There are: %s." % (text.line(bridge), call.node, text.line(", ".join(names), 400)))


def _version(address):
    import ipaddress                                    # few calls need it
    try:
        return None if "%" in address else ipaddress.ip_address(address).version
    except ValueError:
        return None


def check_cidr(key, value):
    """Failure when `value` is neither an address with prefix (of 8 bits or more) nor a word for it; key: ip or ip6."""
    version, most, example, words = (4, 32, "192.168.1.100/24", ("dhcp", "manual")) if key == "ip" else (
        6, 128, "fd00::10/64", ("auto", "dhcp", "manual"))
    if not value or value in words:
        return
    address, slash, bits = value.partition("/")
    known = _version(address) == version
    if known and not slash:
        raise Failure("The address %s=%s has no prefix: write it as %s/%s." % (
            key, value, value, example.partition("/")[2]))
    if not known or not re.fullmatch("[0-9]{1,3}", bits) or not 8 <= int(bits) <= most:
        raise Failure("The address %s=%r is neither an IPv%d address with prefix (%s) nor %s." % (
            key, value[:60], version, example, " or ".join(words)))


def check_gateway(key, value, version):
    """Failure when `value` is not an IP address of that version; `key` is gw or gw6."""
    if _version(value) != version:
        raise Failure("The gateway %s=%r is not an IPv%d address." % (key, value[:60], version))


# ------------------------------------------------------------------------------ what waits for a restart, what is shown

def pending(entries):
    """(config with the changes that wait, {key: {"now", "then"}} of those) of the entries of ./pending; `now` is
    missing when it is new, `then` when it is removed."""
    config, waiting = {}, {}
    for entry in entries or ():
        key, now = entry.get("key"), entry.get("value")
        if "pending" in entry or entry.get("delete"):
            change = waiting[key] = {} if now is None else {"now": now}
            if "pending" in entry:
                change["then"] = now = entry["pending"]
        if not entry.get("delete"):
            config[key] = now
    return config, waiting


def changes(waiting):
    """The changes of `pending` as rows that may be shown: [{key, now, then}], with removed=True in place of then."""
    rows = []
    for key in sorted(waiting, key=natural):
        row = {"key": key, **{when: shown(key, value) for when, value in waiting[key].items()}}
        rows.append(row if "then" in row else dict(row, removed=True))
    return rows


def shown(key, value):
    """The value of a config's option as it may be shown: no secret (a container's env often holds some); the keys of
    ssh (percent-encoded) each without its middle, "ssh-rsa AAAAB3Nz...k4Xw me@host"."""
    if key == "sshkeys":
        keys = (" ".join(word if len(word) < 40 else "%s...%s" % (word[:8], word[-8:]) for word in line.split())
                for line in unquote(str(value)).splitlines())
        return [one for one in keys if one]
    if key == "env":
        return [entry.split("=", 1)[0] + "=***" for entry in re.split("[\0\n]", str(value)) if entry]
    if is_secret(key):
        return "(set, not shown)"
    return value.rstrip("\n") if isinstance(value, str) else value
