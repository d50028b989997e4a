"""Rows and curves: how guests, nodes and storages look in lists, and their values now and in the past."""
import re

from tools.demo.model import GIB, MIB, size_bytes, wave
from tools.demo.rules import enum

_SIZE = re.compile(r"(?:^|,)size=(\d+(?:\.\d+)?[KMGT]?)(?=,|$)")


def guest_load(guest, world):
    """(cpu share, memory bytes) of a running guest now."""
    t = world.t
    if guest.paused:
        return 0, int(guest.memory * guest.mem)
    share = min(1.0, max(0.0005, wave(t, guest.vmid, guest.cpu, 0.6)))
    return round(share, 6), int(min(0.99, wave(t, guest.vmid + 7, guest.mem, 0.05)) * guest.memory)


def guest_values(world, guest):
    """Numbers every list of guests has: cpu, mem, maxmem, disk, net, uptime."""
    node = world.nodes[guest.node]
    cpus = guest.cpus or node.cpus
    root = _root_size(guest)
    row = {"cpu": 0, "mem": 0, "maxmem": guest.memory, "disk": 0, "maxdisk": root, "netin": 0, "netout": 0,
           "diskread": 0, "diskwrite": 0, "uptime": 0}
    if guest.running:
        uptime = max(0, int(world.t - guest.since))
        row["cpu"], row["mem"] = guest_load(guest, world)
        row.update(uptime=uptime, netin=int(guest.rate * uptime), netout=int(guest.rate * uptime * 0.37),
                   diskread=int(guest.rate * uptime * 0.21), diskwrite=int(guest.rate * uptime * 0.55))
        if guest.kind == "lxc":
            row["disk"] = min(root, guest.filled)
    return row, cpus


def _root_size(guest):
    """Bytes of the boot disk (VM) or root file system."""
    if guest.kind == "lxc":
        text = guest.conf.get("rootfs", "")
    else:
        text = guest.conf.get("scsi0", "")
        boot = str(guest.conf.get("boot", "")).rpartition("order=")[2]
        if not text or not boot.startswith("scsi0"):
            names = [name for name in boot.split(";") if not name.startswith("net")] + [
                "scsi0", "virtio0", "sata0", "ide0"]
            found = [guest.conf[name] for name in names if name in guest.conf]
            text = next((value for value in found if "media=cdrom" not in value), "")
    match = _SIZE.search(text)
    return size_bytes(match.group(1)) if match else 0


def resource_of_guest(world, guest):
    """The row of /cluster/resources."""
    row = {"id": "%s/%d" % (guest.kind, guest.vmid), "type": guest.kind, "vmid": guest.vmid, "node": guest.node,
           "name": guest.name, "template": int(guest.template)}
    if guest.node in world.offline:
        row.update(status="unknown", maxcpu=guest.cpus, maxmem=guest.memory, maxdisk=_root_size(guest))
    else:
        values, cpus = guest_values(world, guest)
        row.update(values, status="running" if guest.running else "stopped", maxcpu=cpus)
        row["memhost"] = int(values["mem"] * 1.05)
    resource = world.ha.get("resources", {}).get(guest.sid)
    for key, value in (("pool", world.pool_of(guest.vmid)), ("tags", guest.conf.get("tags")), ("lock", guest.lock),
                       ("hastate", resource and ha_state(world, resource, guest))):
        if value:
            row[key] = value
    return row


def ha_state(world, resource, guest):
    """What the CRM says of a resource."""
    if guest.node in world.offline:
        return "fence"
    if resource["state"] in ("started", "enabled"):
        return "started" if guest.running else "starting"
    if resource["state"] == "stopped":
        return "stopped" if not guest.running else "request_stop"
    return resource["state"]


def _loads(world):
    """{node: (CPUs busy, bytes of memory used)} of the running guests; worked out once for each moment."""
    if world.loads[0] != world.t:
        loads = {}
        for guest in world.guests.values():
            if guest.running:
                busy, memory = loads.get(guest.node, (0.0, 2.1 * GIB))
                loads[guest.node] = (busy + guest.cpu * (guest.cpus or 1), memory + guest.memory * guest.mem * 1.05)
        world.loads = (world.t, loads)
    return world.loads[1]


def node_values(world, node):
    """cpu share, memory and root disk of a node now."""
    busy, memory = _loads(world).get(node.name, (0.0, 2.1 * GIB))
    cpu = min(0.97, 0.012 + wave(world.t, node.number, busy / node.cpus, 0.25))
    storage = world.storages.get("local")
    disk = min(node.root, 7 * GIB + (storage.space(node.name)[1] if storage and storage.on(node.name) else 0))
    return {"cpu": round(cpu, 6), "maxcpu": node.cpus, "mem": int(min(memory, node.memory * 0.94)),
            "maxmem": node.memory, "disk": disk, "maxdisk": node.root, "uptime": int(world.t - node.booted)}


def resource_of_node(call, node):
    """The row of /cluster/resources."""
    row = {"id": "node/" + node.name, "type": "node", "node": node.name, "level": "", "cgroup-mode": 2,
           "status": "offline" if node.name in call.world.offline else "online"}
    if row["status"] == "online" and call.may("/nodes/" + node.name, "Sys.Audit"):
        row.update(node_values(call.world, node))
    return row


def resources_of_storage(world, storage):
    """The rows of /cluster/resources: one for each node."""
    rows = []
    for node in filter(storage.on, world.nodes):
        row = {"id": "storage/%s/%s" % (node, storage.name), "type": "storage", "storage": storage.name, "node": node,
               "plugintype": storage.type, "content": ",".join(storage.content), "shared": int(storage.shared),
               "status": "unknown" if node in world.offline or not storage.active else "available"}
        if row["status"] == "available":
            row["maxdisk"], row["disk"] = storage.space(node)[:2]
        rows.append(row)
    return rows


#: timeframe -> seconds between rows
FRAMES = {"hour": 60, "day": 1800, "week": 10800, "month": 43200, "year": 604800, "decade": 2592000}
#: Parameters of rrddata; nodes know the decade, too.
FRAME = {"timeframe*": enum("Over which time.", list(FRAMES)[:5]),
         "cf": enum("How values are joined.", "AVERAGE MAX")}


def series(world, frame, row_at, since=0):
    """rrddata: 70 rows of `row_at(epoch)`; before `since` (epoch) only the time is known."""
    step = FRAMES[frame]
    last = int(world.t // step * step)
    return [dict({"time": t}, **(row_at(t) if t >= since else {})) for t in range(last - 69 * step, last + 1, step)]


_PRESSURE = (("cpusome", 0.4), ("cpufull", 0.0), ("iosome", 0.1), ("iofull", 0.1), ("memorysome", 0.0),
             ("memoryfull", 0.0))


def guest_series(world, guest, frame):
    """rrddata of a guest."""
    cpus = guest.cpus or world.nodes[guest.node].cpus

    def row_at(t):
        row = {"maxcpu": cpus, "maxmem": guest.memory, "maxdisk": _root_size(guest), "disk": guest.filled}
        if guest.running and t >= guest.since:
            rate = wave(t, guest.vmid + 3, guest.rate, 0.7)
            memory = wave(t, guest.vmid + 7, guest.mem, 0.05) * guest.memory
            row.update(cpu=round(wave(t, guest.vmid, guest.cpu, 0.6), 6), mem=round(memory, 2),
                       memhost=round(memory * 1.05, 2), netin=round(rate, 3), netout=round(rate * 0.37, 3),
                       diskread=round(rate * 0.21, 3), diskwrite=round(rate * 0.55, 3),
                       **{"pressure" + name: round(wave(t, guest.vmid, value, 0.9), 3) for name, value in _PRESSURE})
        else:
            row.update(cpu=0, mem=0, netin=0, netout=0, diskread=0, diskwrite=0)
        return row
    return series(world, frame, row_at, min(guest.since or world.t - 86400 * 40, world.t - 86400 * 40))


def node_series(world, node, frame):
    """rrddata of a node."""
    now = node_values(world, node)

    def row_at(t):
        memory = wave(t, node.number + 5, now["mem"], 0.06)
        return {"cpu": round(wave(t, node.number, now["cpu"], 0.4), 6), "maxcpu": node.cpus, "memtotal": node.memory,
                "memused": round(memory), "memavailable": round(node.memory - memory),
                "iowait": round(wave(t, node.number + 2, 0.006, 0.8), 6),
                "loadavg": round(wave(t, node.number + 1, now["cpu"] * node.cpus * 1.1, 0.5), 3),
                "netin": round(wave(t, node.number, 3.1e6, 0.6)),
                "netout": round(wave(t, node.number + 9, 2.2e6, 0.6)), "roottotal": node.root, "rootused": now["disk"],
                "swaptotal": 8 * GIB, "swapused": 140 * MIB,
                **{"pressure" + name: round(wave(t, node.number, value, 0.9), 3) for name, value in _PRESSURE
                   if name != "cpufull"}}
    return series(world, frame, row_at, node.booted)


def storage_series(world, storage, node, frame):
    """rrddata of a storage."""
    total, used, _ = storage.space(node)

    def row_at(t):
        return {"total": total, "used": int(used * (1 - min(0.5, (world.t - t) / 86400 / 400)))}
    return series(world, frame, row_at)
