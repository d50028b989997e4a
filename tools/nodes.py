"""Toolset: the disks and the network of one node. Reads only."""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Facts, Table, counting, data_only, result
from tools.base.row import BASIC, NodeArgs, Tool
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import space, zfs_faults
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.text import Column


@dataclass
class Disks(NodeArgs):
    """Physical disks of a node: size, model, use, health, wear."""
    type: Annotated[Optional[str], Arg(enum=("unused", "journal_disks"))] = None


@dataclass
class Smart(NodeArgs):
    """SMART health of one disk of a node."""
    disk: Annotated[str, Arg("such as /dev/sda", format="device")] = REQUIRED


@dataclass
class Network(NodeArgs):
    """Network interfaces of a node, and changes not applied yet."""
    type: Annotated[Optional[str], Arg(enum=(
        "bridge", "bond", "eth", "alias", "vlan", "OVSBridge", "OVSBond", "OVSPort", "OVSIntPort", "any_bridge",
        "any_local_bridge"))] = None


@dataclass
class Iface(NodeArgs):
    """One network interface of a node."""
    iface: Annotated[str, Arg("such as vmbr0", format="iface")] = REQUIRED


# ---------------------------------------------------------------------------------------------------------------- disks

_HEALTHY = ("PASSED", "OK", "UNKNOWN")
_WORN = 10                      # percent of its life that is left


def _disk(row):
    """A raw disk without what stands for "not known": wearout N/A, rpm and osdid -1."""
    row = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
    return {key: value for key, value in row.items() if key == "type" or str(value) not in ("N/A", "-1", "unknown", "")}


def _of_disks(rows, call):
    disks = DISKS.data(rows)
    for row in disks:
        device = text.line(row.get("devpath"))
        if row.get("health", "UNKNOWN") not in _HEALTHY:
            yield "%s is failing, says SMART (%s): back up what is on it and replace it." % (
                device, text.line(row["health"]))
        if row.get("wearout", 100) <= _WORN:
            yield "%s is worn: %g %% of its life is left." % (device, row["wearout"])
    unknown = sum(row.get("health") == "UNKNOWN" for row in disks)
    if unknown:
        yield ("UNKNOWN (%s): SMART could not be read, as with RAID controllers, USB and virtual disks; it does not "
               "mean healthy." % text.plural(unknown, "disk"))


DISKS = Table("disk", Column("devpath", "disk"), Column("type"), Column("size", kind="bytes"), Column("health"),
              Column("wearout", "life left", "percent"),
              Column("used", "use", text=lambda r: r.get("used") or "free"), Column("model"), Column("serial"),
              Column("parent"), Column("osdid", "OSD", "int"),
              *data_only("text", "vendor", "wwn", "by_id_link"), *data_only("int", "rpm"),
              *data_only("bool", "mounted", "gpt"), each=_disk, sort=("devpath",), notes=_of_disks)

ATTRIBUTES = Table("attribute", Column("id", kind="int"), Column("name"), Column("value", kind="int"),
                   Column("worst", kind="int"), Column("threshold", kind="int"), Column("fail", "failing"),
                   Column("raw"))
#: Attributes whose raw value above 0 tells of a dying disk (ids of SMART).
_TELLING = {5: "reallocated sectors", 187: "uncorrectable errors", 188: "command timeouts", 197: "pending sectors",
            198: "uncorrectable sectors"}


def _attribute(row):
    row = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
    row["value"] = row.get("normalized", row.get("value"))      # the old name of it, gone some day
    if row.get("fail") == "-":
        del row["fail"]
    return row


def _smart(reply):
    """`text` is what smartctl printed, of NVMe and SAS; the others have attributes."""
    return dict(reply, health=str(reply.get("health") or "UNKNOWN"), text=str(reply.get("text") or "").strip() or None,
                attributes=ATTRIBUTES.data(map(_attribute, reply.get("attributes") or [])) or None)


def _of_smart(found, call):
    if found["health"] == "UNKNOWN":
        yield ("SMART could not be read: smartctl failed, or the disk has none, as behind RAID controllers, on USB and "
               "in virtual machines. It does not mean healthy.")
    elif found["health"] not in _HEALTHY:
        yield "The disk says that it is failing: back up what is on it and replace it."
    for row in found.get("attributes", ()):
        count = re.match(r"[0-9]+", row.get("raw", ""))
        if row.get("fail"):
            yield "%s failing: %s." % (text.line(row.get("name")), text.line(row["fail"]))
        elif row.get("id") in _TELLING and count and int(count.group()):
            yield "Worth watching: %s %s." % (count.group(), _TELLING[row["id"]])
    if "attributes" in found:
        yield text.table(ATTRIBUTES.columns, found["attributes"])
    if "text" in found:
        yield text.quoted(found["text"], 4000)


SMART = Facts(Column("health"), Column("wearout", "life left", "percent"),
              *data_only("text", "node", "disk", "type", "text"), *data_only("any", "attributes"),
              each=_smart, notes=_of_smart)


# ------------------------------------------------------------------------------------------------------------------ LVM

def _part(row, used, total):
    """The fraction of `total` that is used; 0 where the total is unknown, or 0 as that of a group without its disks."""
    return row.get(used, 0) / row[total] if row.get(total) else 0


LVM = Table("LVM volume group", Column("name"), Column("size", kind="bytes"), Column("free", kind="bytes"),
            Column("used_fraction", "used", "fraction"), Column("lvcount", "logical volumes", "int"),
            Column("pvs", "physical volumes", "any", lambda row: ", ".join("%s (%s)" % (
                pv.get("name"), text.size(pv.get("size", 0))) for pv in row.get("pvs", [])) or "-"),
            empty="There is no volume group on this node.")
_PV = Table("physical volume", Column("name"), *data_only("bytes", "size", "free"))
THIN = Table("thin pool", Column("lv", "thin pool"), Column("vg", "volume group"), Column("lv_size", "size", "bytes"),
             Column("used", "used", "bytes", space("used", "lv_size")),
             Column("metadata_used", "metadata", "bytes", space("metadata_used", "metadata_size")),
             *data_only("bytes", "metadata_size"))
_FULL = 0.9                     # of a thin pool or a ZFS pool


def get_node_lvm(call):
    tree = call.get("/nodes/{node}/disks/lvm") or {}
    groups = LVM.data([dict(row, pvs=_PV.data(row.get("children") or [])) for row in tree.get("children") or []])
    notes, more = [], {}
    for row in groups:
        if row.get("size"):
            row["used_fraction"] = round(1 - _part(row, "free", "size"), 4)
        else:
            notes.append("Volume group %s has no size: its disks are missing or cannot be read." % row.get("name"))
    if groups:
        try:
            pools = more["thinpools"] = THIN.data(call.get("/nodes/{node}/disks/lvmthin") or [])
            notes.extend(_thin(pools))
        except PveError as error:                   # the volume groups are worth telling all the same
            notes.append("Thin pools could not be read: %s" % error)
    return result(call, groups, note=notes, **more)


def _thin(pools):
    if not pools:
        yield "No thin pools."
        return
    yield text.Shown("%s (logical volumes that hold those of the guests):\n%s" % (
        text.plural(len(pools), "thin pool"), text.table(THIN.columns, pools)))
    for row in pools:
        if max(_part(row, "used", "lv_size"), _part(row, "metadata_used", "metadata_size")) >= _FULL:
            yield "Thin pool %s is nearly full: its guests stop or lose data when it is." % row.get("lv")


# ------------------------------------------------------------------------------------------------------------------ ZFS

ZFS = Table("ZFS pool", Column("name"), Column("health", "state"), Column("size", kind="bytes"),
            Column("alloc", "allocated", "bytes", space("alloc", "size")), Column("free", kind="bytes"),
            Column("frag", "fragmentation", "percent"), Column("dedup", "deduplication", "number"),
            *data_only("any", "details"), summary=counting(
                "not ONLINE", lambda row: row.get("health") != "ONLINE"), empty="There is no ZFS pool on this node.")
_SAID = ("status", "action", "scan", "errors")


def get_node_zfs(call):
    try:
        rows = call.get("/nodes/{node}/disks/zfs") or []
    except PveError as error:
        if "zfsutils-linux not installed" not in str(error):
            raise
        return result(call, [], note="zfsutils-linux is not installed.")
    pools, notes = ZFS.data(sorted(rows, key=lambda row: str(row.get("name")))), []
    sick = [row for row in pools if row.get("health") != "ONLINE"]
    answers = call.together([("/nodes/{node}/disks/zfs/{name}", {"node": call.node, "name": row.get("name")}, {})
                             for row in sick])
    for row, reply in zip(sick, answers):
        name = text.line(row.get("name"))
        if isinstance(reply, Exception):                # the list of pools is worth telling all the same
            notes.append("Details of pool %s could not be read: %s" % (name, reply))
            continue
        row["details"] = {key: " ".join(str(reply[key]).split()) for key in ("state", *_SAID) if reply.get(key)}
        row["details"]["devices"] = zfs_faults(reply)
        notes.append(text.Shown("\n  ".join(
            ["Pool %s is %s:" % (name, row["details"].get("state", row.get("health")))] + [
                "%s: %s" % (key, text.line(row["details"][key], 600)) for key in _SAID if key in row["details"]]
            + row["details"]["devices"])))
    for row in pools:
        if _part(row, "alloc", "size") >= _FULL:
            notes.append("Pool %s is nearly full: ZFS slows down then, and fails when it is." % row.get("name"))
    return result(call, pools, note=notes)


# -------------------------------------------------------------------------------------------------------------- network

def _address(row):
    found = [row.get("cidr") or row.get("address"), row.get("cidr6") or row.get("address6")]
    asked = {row.get("method"), row.get("method6")} & {"dhcp", "auto"}
    return ", ".join([address for address in found if address] or sorted(asked)) or "-"


def _made_of(row):
    if "vlan-id" in row:
        return "VLAN %d%s" % (row["vlan-id"], " on " + row["vlan-raw-device"] if "vlan-raw-device" in row else "")
    parts = next((row[key] for key in ("bridge_ports", "slaves", "ovs_ports", "ovs_bonds") if row.get(key)), [])
    words = [", ".join(parts), "(%s)" % row["bond_mode"] if row.get("bond_mode") else "",
             "VLAN-aware" if row.get("bridge_vlan_aware") else ""]
    return " ".join(word for word in words if word) or "-"


_INTERFACE = [Column("iface"), Column("type"), Column("active", kind="bool"), Column("autostart", "at boot", "bool"),
              Column("cidr", "address", text=_address), Column("gateway"), Column("gateway6"),
              Column("bridge_ports", "made of", "list", _made_of), Column("mtu", "MTU", "int"), Column("comments"),
              *data_only("text", "method", "method6", "address", "netmask", "address6", "netmask6", "cidr6",
                         "bond_mode", "bridge_stp", "vlan-raw-device"),
              *data_only("bool", "exists", "bridge_vlan_aware"), *data_only("int", "vlan-id"),
              *data_only("list", "slaves", "ovs_ports", "ovs_bonds", "altnames")]


def _iface(row):
    """A raw interface with its booleans, which Proxmox leaves out when false, and its comment without the line end."""
    row = dict(row, active=on(row.get("active")), autostart=on(row.get("autostart")))
    if row.get("comments"):
        row["comments"] = str(row["comments"]).strip()
    return row


def _of_iface(found, call):
    known = {column.key for column in _INTERFACE}
    rest = ["%s=%s" % (key, ", ".join(map(str, value)) if isinstance(value, list) else value)
            for key, value in sorted(found.items()) if key not in known]
    if rest:
        yield text.Shown("Other options: " + text.line("; ".join(rest), 1000))


NETWORK = Table("interface", *_INTERFACE, each=_iface, sort=("iface",))
IFACE = Facts(*_INTERFACE, more=True, each=_iface, notes=_of_iface)


def get_node_network(call):
    args = call.args
    reply = call.reply("/nodes/{node}/network", type=args.type)
    bridges = any(row.get("type") in ("bridge", "OVSBridge") for row in reply.data or ())
    notes, more = [], {}
    if reply.extra.get("changes"):
        more["changes"] = str(reply.extra["changes"])
        notes.append("NOT YET APPLIED: the list shows the new configuration, and not all of it is in effect. What "
                     "differs (Apply Configuration in the web interface, or a reboot, puts it into effect):")
        notes.append(text.quoted(more["changes"], 4000))
    if args.type in (None, "bridge", "any_bridge", "any_local_bridge") and not bridges:
        notes.append("Bridges are listed only with SDN.Audit or SDN.Use on /sdn/zones/localnetwork.")
    return result(call, reply.data, note=notes, **more)


_NO_IFACE = ((r"interface does not exist", "There is no interface of that name: proxmox_get_node_network lists them."),)


def _of_dns(found, call):
    if not any(key.startswith("dns") for key in found):
        yield "No DNS server is set."


DNS = Facts(Column("search", "search domain"), *[Column("dns%d" % n, "DNS server %d" % n) for n in (1, 2, 3)],
            each=lambda reply: {key: value for key, value in reply.items() if value}, notes=_of_dns)


TOOLS = {
    "proxmox_get_node_disks": Tool("GET /nodes/{node}/disks/list", BASIC, Disks, returns=DISKS,
                                   says="{count} on node {node}"),
    "proxmox_get_node_disk_smart": Tool("GET /nodes/{node}/disks/smart", BASIC, Smart, returns=SMART,
                                        says="SMART of {disk} on node {node}"),
    "proxmox_get_node_lvm": Tool("GET /nodes/{node}/disks/lvm", BASIC, NodeArgs, get_node_lvm, LVM,
                                 "{count} on node {node}",
                                 about="LVM of a node: volume groups, physical volumes, thin pools."),
    "proxmox_get_node_zfs": Tool("GET /nodes/{node}/disks/zfs", BASIC, NodeArgs, get_node_zfs, ZFS,
                                 "{count} on node {node}",
                                 about="ZFS pools of a node: state, size, fragmentation; details of bad ones."),
    "proxmox_get_node_network": Tool("GET /nodes/{node}/network", BASIC, Network, get_node_network, NETWORK,
                                     "{count} on node {node}"),
    "proxmox_get_node_dns": Tool("GET /nodes/{node}/dns", BASIC, NodeArgs, returns=DNS, says="DNS of node {node}",
                                 about="DNS servers and search domain of a node."),
    "proxmox_get_network_iface": Tool("GET /nodes/{node}/network/{iface}", BASIC, Iface, returns=IFACE,
                                      says="Interface {iface} of node {node}", explains=_NO_IFACE),
}
