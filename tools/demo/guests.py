"""Guests as they are: lists, status, configuration, pending changes, curves, addresses of containers."""
from tools.demo import lists
from tools.demo.model import bad, nets
from tools.demo.options import AGENT
from tools.demo.rules import boolean, parse_properties, string
from tools.demo.wire import ALL, VM, Route, both, perm


def _list_row(world, guest):
    values, cpus = lists.guest_values(world, guest)
    row = dict(values, vmid=guest.vmid, name=guest.name, status="running" if guest.running else "stopped", cpus=cpus)
    if guest.kind == "qemu":
        row["disk"] = 0
        row["memhost"] = int(row["mem"] * 1.05)
    else:
        row["type"] = "lxc"
        row["maxswap"] = int(guest.conf.get("swap", 512)) << 20
        row["swap"] = int(row["maxswap"] * 0.03) if guest.running else 0
    if guest.running:
        row["pid"] = guest.pid
        row.update(pressurecpusome="0.4", pressurecpufull="0.0", pressureiosome="0.1", pressureiofull="0.1",
                   pressurememorysome="0.0", pressurememoryfull="0.0")
    if guest.template:
        row["template"] = 1
    return dict(row, **{key: guest.conf[key] for key in ("tags", "lock") if guest.conf.get(key)})


def _qmpstatus(guest):
    return {False: "running", True: "paused"}.get(guest.paused, guest.paused) if guest.running else "stopped"


def listed(call):
    """GET /nodes/{node}/qemu, /lxc: what QEMU itself says of a VM's state is only there with full=1."""
    rows = []
    for guest in sorted(call.world.guests.values(), key=lambda guest: guest.vmid):
        if guest.node == call.node and guest.kind == call.kind and call.may("/vms/%d" % guest.vmid, "VM.Audit"):
            row = _list_row(call.world, guest)
            if guest.kind == "qemu":
                row["qmpstatus"] = _qmpstatus(guest) if call.p.get("full") else row["status"]
            rows.append(row)
    return rows


def ha_of(world, guest):
    """The HA entry of a guest, or None."""
    return world.ha.get("resources", {}).get(guest.sid)


def current(call):
    guest = call.guest()
    row = _list_row(call.world, guest)
    resource = ha_of(call.world, guest)
    row["ha"] = {"managed": int(bool(resource))}
    if resource:
        row["ha"].update(sid=resource["sid"], state=lists.ha_state(call.world, resource, guest))
    if guest.kind == "lxc":
        return row
    row["qmpstatus"] = _qmpstatus(guest)
    if agent_enabled(guest):
        row["agent"] = 1
    if guest.running:
        row.update({"running-machine": "pc-i440fx-10.0+pve0", "running-qemu": "10.0.2"})
        row["balloon"] = guest.memory
        row["ballooninfo"] = {"actual": guest.memory, "max_mem": guest.memory, "last_update": int(call.world.t)}
        row["nics"] = {"tap%di%s" % (guest.vmid, key[3:]): {"netin": row["netin"], "netout": row["netout"]}
                       for key in nets(guest.conf) if key not in guest.guest.get("unplugged", ())}
        row["blockstat"] = {key: {"rd_bytes": row["diskread"], "wr_bytes": row["diskwrite"], "failed_rd_operations": 0,
                                  "failed_wr_operations": 0} for key, _, _ in guest.disks(unused=False)
                            if key[:3] in ("scs", "vir", "sat", "ide")}
        row["proxmox-support"] = {"pbs-dirty-bitmap": True, "backup-max-workers": True, "query-bitmap-info": True}
        if str(guest.conf.get("vga", "")).startswith("qxl"):
            row["spice"] = 1
    return row


def agent_enabled(guest):
    """Whether the guest agent is switched on in the configuration."""
    text = guest.conf.get("agent")
    return bool(text) and parse_properties(AGENT, str(text)).get("enabled") == "1"


def config(call):
    """GET .../config: what is pending applied, unless current=1; or of a snapshot."""
    guest = call.guest()
    if call.p.get("snapshot"):
        if call.p.get("current"):
            bad(snapshot="cannot use 'snapshot' parameter with 'current'",
                current="cannot use 'snapshot' parameter with 'current'")
        return dict(snapshot_conf(guest.snapshot(call.p["snapshot"])), digest=guest.digest)
    row = dict(guest.conf if call.p.get("current") else guest.wanted(), digest=guest.digest)
    if guest.parent:
        row["parent"] = guest.parent
    return row


def snapshot_conf(snapshot):
    """A snapshot's configuration as Proxmox shows it."""
    more = {key: snapshot[key] for key in ("parent", "vmstate", "description") if snapshot.get(key)}
    return dict(snapshot["conf"], snaptime=snapshot["time"], **more)


def pending(call):
    guest = call.guest()
    rows = []
    for key in list(guest.conf) + [key for key in guest.pending if key not in guest.conf]:
        row = {"key": key}
        if key in guest.conf:
            row["value"] = guest.conf[key]
        if key in guest.pending:
            if guest.pending[key] is None:
                row["delete"] = 2 if key in guest.forced else 1
            else:
                row["pending"] = guest.pending[key]
        rows.append(row)
    more = {"digest": guest.digest, "parent": guest.parent}
    return rows + [{"key": key, "value": value} for key, value in more.items() if value]


def interfaces(call):
    guest = call.guest()
    if not guest.running:
        return None
    rows = interface_rows(guest, "inet", "inet6")
    for row in rows:
        row["hwaddr"] = row["hardware-address"]
        for address in reversed(row["ip-addresses"]):
            row[address["ip-address-type"]] = "%(ip-address)s/%(prefix)d" % address
    return rows


def interface_rows(guest, v4, v6):
    """Network interfaces and addresses inside a guest, the loopback too; `v4` and `v6` are words for the two kinds."""
    nics = [(name, mac_of(guest, number).lower(), addresses)
            for number, (name, addresses) in enumerate(addresses_of(guest))]
    return [{"name": name, "hardware-address": mac, "ip-addresses": [
        {"ip-address": ip, "ip-address-type": v6 if ":" in ip else v4, "prefix": int(prefix)}
        for ip, _, prefix in (address.partition("/") for address in addresses)]}
        for name, mac, addresses in [("lo", "00:00:00:00:00:00", ["127.0.0.1/8", "::1/128"])] + nics]


def addresses_of(guest):
    """[(interface, [address/prefix])] inside a guest; a guest made in the demo gets one by its id."""
    if guest.guest.get("ips"):
        return guest.guest["ips"]
    found = []
    for key, text in sorted(nets(guest.conf).items()):
        parts = dict(part.partition("=")[::2] for part in str(text).split(","))
        static = parts.get("ip", "dhcp") if guest.kind == "lxc" else "dhcp"
        address = static if "/" in static else "10.0.%d.%d/24" % (100 + int(key[3:]), guest.vmid % 250 + 2)
        found.append((parts.get("name", "eth" + key[3:]) if guest.kind == "lxc" else "ens%d" % (18 + int(key[3:])),
                      [address]))
    return found


def mac_of(guest, number):
    """MAC of the network card netN."""
    text = str(guest.conf.get("net%d" % number, ""))
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    return next((value for value in parts.values() if value.count(":") == 5), "BC:24:11:00:00:00")


_AUDIT = perm(VM, "VM.Audit")

ROUTES = [
    Route("GET /nodes/{node}/qemu", listed, ALL, "The VMs of a node.", {
        "full": boolean("Ask each running VM for its state.")}),
    Route("GET /nodes/{node}/lxc", listed, ALL, "The containers of a node."),
    Route("GET /nodes/{node}/lxc/{vmid}/interfaces", interfaces, _AUDIT,
          "Network interfaces and addresses of a container."),
    *both("GET /nodes/{node}/{kind}/{vmid}/status/current", current, _AUDIT, "State of a {guest}."),
    *both("GET /nodes/{node}/{kind}/{vmid}/config", config, _AUDIT, "Configuration of a {guest}.", {
        "current": boolean("Without what is pending.", default=0),
        "snapshot": string("Of this snapshot.", format="pve-configid", maxLength=40)}),
    *both("GET /nodes/{node}/{kind}/{vmid}/pending", pending, _AUDIT,
          "Configuration of a {guest} and what waits for a restart."),
    *both("GET /nodes/{node}/{kind}/{vmid}/rrddata",
          lambda call: lists.guest_series(call.world, call.guest(), call.p["timeframe"]),
          _AUDIT, "Load of a {guest} over time.", lists.FRAME, proxy=False),
]
