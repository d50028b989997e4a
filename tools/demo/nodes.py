"""A node: status, disks, network, updates, services, logs, certificates, and turning it off."""
import calendar
import json
import time

from tools.demo import cluster, hardware, lists
from tools.demo.model import GIB, MIB, bad, die, wave
from tools.demo.power import switch_off, switch_on
from tools.demo.rules import boolean, enum, integer, string
from tools.demo.tasks import numbered
from tools.demo.wire import ALL, NODE, Extra, File, Route, perm


def nodes(call):
    """GET /nodes: numbers only with Sys.Audit on the node, and only of those that are up."""
    rows = [dict(lists.resource_of_node(call, node), ssl_fingerprint=node.fingerprint)
            for node in call.world.nodes.values()]
    for row in rows:
        del row["cgroup-mode"]
    return rows


def status(call):
    node, world = call.here, call.world
    now = lists.node_values(world, node)
    load = now["cpu"] * node.cpus * 1.1
    kernel = hardware.KERNEL.get(str(world.major), hardware.KERNEL["9"])
    swap = int(wave(world.t, node.number, 210 * MIB, 0.2))
    return {
        "uptime": now["uptime"], "idle": 0, "cpu": now["cpu"],
        "wait": round(wave(world.t, node.number + 2, 0.006, 0.8), 6),
        "loadavg": ["%.2f" % wave(world.t, node.number + n, load, 0.3) for n in range(3)],
        "memory": {"total": node.memory, "used": now["mem"], "free": int((node.memory - now["mem"]) * 0.6),
                   "available": node.memory - now["mem"]},
        "swap": {"total": 8 * GIB, "used": swap, "free": 8 * GIB - swap},
        "rootfs": {"total": node.root, "used": now["disk"], "free": node.root - now["disk"],
                   "avail": max(0, node.root - now["disk"] - node.root // 20)},
        "cpuinfo": {"model": node.model, "cores": node.cpus // 2, "cpus": node.cpus, "sockets": 1 + (node.cpus > 16),
                    "mhz": "%.3f" % wave(world.t, node.number, 2794.7, 0.1), "hvm": "1", "user_hz": 100,
                    "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat sse sse2 ht syscall nx "
                    "lm constant_tsc vmx svm aes avx avx2"},
        "kversion": "Linux %s #1 SMP PREEMPT_DYNAMIC PMX %s (2025-10-07T08:13Z)" % (kernel, kernel),
        "current-kernel": {"sysname": "Linux", "release": kernel, "machine": "x86_64",
                           "version": "#1 SMP PREEMPT_DYNAMIC PMX %s (2025-10-07T08:13Z)" % kernel},
        "boot-info": {"mode": "efi", "secureboot": int(node.number == 1)},
        "pveversion": "pve-manager/%s.1/2a5fa54a8503f96d" % world.version, "ksm": {"shared": 0}}


def command(call):
    """POST /nodes/{node}/status: reboot or shut the node down; it is gone for a while, or for good."""
    world, name = call.world, call.node

    def down():
        world.offline.add(name)
        for guest in [guest for guest in world.guests.values() if guest.node == name]:
            switch_off(world, guest)
        if call.p["command"] == "reboot":
            world.tasks.later(90, up)

    def up():
        world.offline.discard(name)
        world.nodes[name].booted = world.t
        for guest in [guest for guest in world.guests.values() if guest.node == name and guest.conf.get("onboot")]:
            switch_on(world, guest)

    world.tasks.later(3, down)


def disks(call):
    kind, rows = call.p.get("type"), []
    for row in map(dict, call.here.facts["disks"]):
        if row["type"] == "partition" and not call.p.get("include-partitions"):
            continue
        if row["type"] != "partition" and call.p.get("skipsmart"):
            row["health"], row["wearout"] = "UNKNOWN", "N/A"
        if kind is None or row.get("used") in ((None,) if kind == "unused" else (None, "LVM")):
            rows.append(row)
    return rows


def smart(call):
    found = hardware.smart(call.node, call.p["disk"], call.p.get("healthonly"))
    if found is None:
        die("not a valid block device")
    return found


def lvmthin(call):
    storage = call.world.storages["local-lvm"]
    return [dict(row, used=storage.space(call.node)[1]) for row in call.here.facts["lvmthin"]]


def zfs(call):
    pools = call.here.facts["zfs"]
    if pools is None:
        die("zfsutils-linux not installed")
    return [dict(row) for row in pools]


def zfs_pool(call):
    if call.p["name"] not in [row["name"] for row in zfs(call)]:
        die("command '/sbin/zpool status -P %s' failed: exit code 1" % call.p["name"])
    return hardware.ZFS_DETAIL[call.p["name"]]


def network(call):
    """GET /nodes/{node}/network: bridges and vnets only with rights on them; `changes` when some is not applied."""
    kind, rows = call.p.get("type"), []
    facts = call.here.facts
    for row in facts["network"]:
        wanted = kind in (None, "include_sdn", row["type"]) or (
            kind in ("any_bridge", "any_local_bridge") and row["type"] in ("bridge", "OVSBridge"))
        if wanted and (row["type"] != "bridge" or call.may("/sdn/zones/localnetwork/" + row["iface"], "SDN.Audit",
                                                           "SDN.Use")):
            rows.append(dict(row))
    if kind in ("vnet", "any_bridge", "include_sdn"):
        for vnet in call.world.sdn.get("vnets", {}).values():
            if call.may("/sdn/zones/%s/%s" % (vnet["zone"], vnet["vnet"]), "SDN.Audit", "SDN.Use"):
                rows.append({"iface": vnet["vnet"], "type": "vnet", "active": 1, "alias": vnet.get("alias", "")})
    if facts.get("changes"):
        return Extra(rows, changes=facts["changes"])
    return rows


def interface(call):
    """GET /nodes/{node}/network/{iface}: the same hash without the name."""
    for row in call.here.facts["network"]:
        if row["iface"] == call.p["iface"]:
            return {key: value for key, value in row.items() if key != "iface"}
    return bad(iface="interface does not exist")


def change_dns(call):
    call.here.facts["dns"] = {
        key: call.p[key] for key in ("search", "dns1", "dns2", "dns3") if key in call.p}


def updates(call):
    return [dict({"Package": package, "Section": section, "Title": title, "Version": new, "Priority": "optional",
                  "Arch": "amd64", "Origin": "Debian" if package.startswith(("lib", "open")) else "Proxmox",
                  "Description": title}, **({"OldVersion": old} if old else {}))
            for package, section, title, old, new in hardware.UPDATES]


def services(call):
    dead = ("systemd-timesyncd", "pve-lxc-syscalld") + (("ksmtuned",) if call.node == "pve3" else ())
    return [{"service": name, "name": name, "desc": words, "state": "dead" if name in dead else "running",
             "unit-state": "enabled", "active-state": "inactive" if name in dead else "active"}
            for name, words in hardware.SERVICES]


_SYSLOG = [
    ("pvestatd", "status update time (5.318 seconds)"), ("pvedaemon", "<root@pam!demo> starting task"),
    ("systemd", "Started session of User root."), ("corosync", "[KNET  ] link: host: 3 link: 0 is up"),
    ("pveproxy", "worker exit"),
    ("smartd", "Device: /dev/sda [SAT], SMART Usage Attribute: 194 Temperature_Celsius changed from 69 to 68"),
    ("chronyd", "Selected source 193.171.23.163"),
    ("pmxcfs", "[dcdb] notice: data verification successful"),
    ("kernel", "vmbr0: port 3(fwpr100p0) entered forwarding state"),
    ("pvescheduler", "jobs: cfs-lock 'file-jobs_cfg' ok"),
]


def _log_lines(call, count=400, step=47):
    """[(epoch, line)] of a node's log, oldest first: the same every time for the same seconds."""
    t = int(call.world.t) // step * step
    lines = []
    for number in range(count, 0, -1):
        when = t - number * step
        tag, text = _SYSLOG[(when // step * 7 + call.here.number) % len(_SYSLOG)]
        stamp = time.strftime("%b %d %H:%M:%S", time.gmtime(when))
        lines.append((when, tag, "%s %s %s[%d]: %s" % (stamp, call.node, tag, 1000 + len(tag) * 31, text)))
    return lines


def syslog(call):
    def epoch(text):                                    # 2025-01-02, with or without 03:04 or 03:04:05
        try:
            return calendar.timegm(time.strptime((text + " 00:00")[:16] + (text[16:] or ":00"), "%Y-%m-%d %H:%M:%S"))
        except ValueError:
            die("unable to parse date '%s'" % text)
    since, until = (epoch(call.p.get(key, day)) for key, day in (("since", "1970-01-01"), ("until", "2999-01-01")))
    lines = [line for when, tag, line in _log_lines(call)
             if since <= when <= until and call.p.get("service") in (None, tag)]
    return numbered(call, lines)


def journal(call):
    """GET .../journal: a list of lines, always packed."""
    lines = [line for _, _, line in _log_lines(call)][-call.p.get("lastentries", 400):]
    return File("application/json;charset=UTF-8", json.dumps({"data": lines}), zipped=True)


def certificates(call):
    node, t = call.here, int(call.world.t)
    authority = "/CN=Proxmox Virtual Environment/OU=0f6c9a32/O=PVE Cluster Manager CA"
    return [{"filename": name, "subject": subject, "issuer": authority, "notbefore": t - 400 * 86400,
             "notafter": t + days * 86400, "fingerprint": fingerprint, "public-key-type": "rsaEncryption",
             "public-key-bits": bits, "san": names} for name, subject, days, fingerprint, bits, names in (
        ("pve-root-ca.pem", authority, 3250, ":".join(["9C"] * 32), 4096, []),
        ("pve-ssl.pem", "/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN=%s.example.internal" % node.name,
         330 if node.number != 3 else 12, node.fingerprint, 2048,
         ["127.0.0.1", "0000:0000:0000:0000:0000:0000:0000:0001", "localhost", node.ip, node.name,
          node.name + ".example.internal"]))]


def report(call):
    return "\n".join(
        ["==== general system info ====", "# hostname", call.node, "# pveversion --verbose"]
        + ["%s: %s" % pair for pair in hardware.VERSIONS]
        + ["==== info about storage ====", "# cat /etc/pve/storage.cfg"]
        + ["%s: %s\n\tcontent %s" % (storage.type, storage.name, ",".join(storage.content))
           for storage in call.world.storages.values()]) + "\n"


_AUDIT = perm(NODE, "Sys.Audit")
_ROOT_AUDIT = perm("/", "Sys.Audit")
_MODIFY = perm(NODE, "Sys.Modify")
_IFACES = ("bridge bond eth alias vlan fabric OVSBridge OVSBond OVSPort OVSIntPort vnet any_bridge any_local_bridge "
           "include_sdn")
_DATE = r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?"
_IP = {"dns%d" % n: string("A DNS server.", format="ip") for n in (1, 2, 3)}

ROUTES = [
    Route("GET /nodes", nodes, ALL, "List the nodes."),
    Route("GET /nodes/{node}/status", status, _AUDIT, "How the node is."),
    Route("POST /nodes/{node}/status", command, perm(NODE, "Sys.PowerMgmt"), "Reboot or shut down the node.", {
        "command*": enum("What to do.", "reboot shutdown")}),
    Route("GET /nodes/{node}/version", cluster.version, ALL, "Version of its Proxmox VE."),
    Route("GET /nodes/{node}/rrddata",
          lambda call: lists.node_series(call.world, call.here, call.p["timeframe"]),
          _AUDIT, "Its load over time.", dict(lists.FRAME, **{
              "timeframe*": enum("Over which time.", list(lists.FRAMES))}), False),
    Route("GET /nodes/{node}/disks/list", disks, ["or", _ROOT_AUDIT, _AUDIT], "Its disks.", {
        "include-partitions": boolean("Partitions too.", default=0), "skipsmart": boolean("Without health.", default=0),
        "type": enum("Only these.", "unused journal_disks")}),
    Route("GET /nodes/{node}/disks/smart", smart, _ROOT_AUDIT, "SMART values of a disk.", {
        "disk*": string("The disk.", pattern="/dev/[a-zA-Z0-9\\/]+"), "healthonly": boolean("Only the health.")}),
    Route("GET /nodes/{node}/disks/lvm", lambda call: {"leaf": 0, "children": call.here.facts["lvm"]},
          _ROOT_AUDIT, "LVM volume groups and physical volumes."),
    Route("GET /nodes/{node}/disks/lvmthin", lvmthin, _ROOT_AUDIT, "LVM thin pools."),
    Route("GET /nodes/{node}/disks/zfs", zfs, _ROOT_AUDIT, "ZFS pools."),
    Route("GET /nodes/{node}/disks/zfs/{name}", zfs_pool, _ROOT_AUDIT, "A ZFS pool in detail.", {
        "name": string("The pool.", format="pve-storage-id")}),
    Route("GET /nodes/{node}/network", network, ALL, "Network interfaces.", {"type": enum("Only these.", _IFACES)}),
    Route("GET /nodes/{node}/network/{iface}", interface, _AUDIT, "A network interface."),
    Route("GET /nodes/{node}/dns", lambda call: dict(call.here.facts["dns"]), _AUDIT, "DNS settings."),
    Route("PUT /nodes/{node}/dns", change_dns, _MODIFY, "Change the DNS settings.", dict(
        _IP, **{"search*": string("Search domain.")})),
    Route("GET /nodes/{node}/apt/update", updates, _MODIFY, "Packages that can be updated."),
    Route("GET /nodes/{node}/services", services, _AUDIT, "Services."),
    Route("GET /nodes/{node}/syslog", syslog, perm(NODE, "Sys.Syslog"), "The system log.", {
        "start": integer("From this line.", 0), "limit": integer("At most so many lines.", 0),
        "since": string("From this date.", pattern=_DATE), "until": string("To this date.", pattern=_DATE),
        "service": string("Only this service.", maxLength=128)}),
    Route("GET /nodes/{node}/journal", journal, perm(NODE, "Sys.Syslog"), "The journal.", {
        "lastentries": integer("Only so many of the last lines.", 1), "since": integer("From this epoch.", 0),
        "until": integer("To this epoch.", 0)}),
    Route("GET /nodes/{node}/certificates/info", certificates, ALL, "Its certificates."),
    Route("GET /nodes/{node}/report", report, _AUDIT, "A report for support."),
]
