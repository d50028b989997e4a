"""Odd clusters: what Proxmox answered in public reports about other tools for it, and what is said of it here. Each
case carries its report's address; "as above": more of the kind."""
import pytest

from support import Bench, answering, ending

V, C, NODE, ALL = "/nodes/pve1/qemu/100", "/nodes/pve1/lxc/200", "/nodes/pve1", "/cluster/resources"
AGENT, NOW = V + "/agent/", 1767226600
ONE = {"id": "node/pve1", "type": "node", "node": "pve1", "status": "online"}
FIGURES = dict(ONE, maxcpu="8", cpu="0.1", mem="50000000000", maxmem="100000000000", uptime="99")
TEXT = {"pid": "114348", "lock": "", "cpu": "0.0048", "name": "ct", "uptime": "2152", "type": "lxc", "id": "lxc/200",
        "status": "running", "disk": "2843205632", "vmid": "200", "maxdisk": "8388009984", "mem": "257888256",
        "maxmem": "536870912", "template": "", "node": "pve1", "maxcpu": "4"}
CONFIG = {
    "boot": "c", "cicustom": " ", "description": "", "agent": "1,fstrim_cloned_disks=1", "memory": "65536",
    "ide0": "none,media=cdrom", "ide2": "tank:vm-100-cloudinit,media=cdrom", "tags": "Web;\u00dcber",
    "net0": "model=virtio,macaddr=BC:24:11:91:27:69,bridge=lan01", "sata0": "/dev/disk/by-id/ata-WDC,backup=0"}
VM = {V + "/config": CONFIG, V + "/pending": []}
CONTAINER = {C + "/pending": [], C + "/config": {
    "cpulimit": "0.5", "cores": "2", "memory": "512", "rootfs": "zfs:subvol-200-disk-0,size=8G",
    "mp0": "/mnt/b,mp=/data", "lxc": [["lxc.apparmor.profile", "unconfined"]], "unprivileged": "1"}}
WINDOWS = {"result": [
    {"name": "\\\\?\\Volume{e1}\\", "type": "FAT32", "mountpoint": "System Reserved"},
    {"name": "x", "type": "NTFS", "mountpoint": "C:\\", "total-bytes": 100, "used-bytes": 90}]}
CALICO = {"result": [
    {"name": "cali1", "hardware-address": "ee:ee:ee:ee:ee:ee"},
    {"name": "cali2", "hardware-address": "ee:ee:ee:ee:ee:ee", "ip-addresses": [
        {"ip-address": "fe80::c37f%2", "prefix": 64}, {"ip-address": "2001:db8::1", "prefix": 128}]}]}
TUNNEL = {"result": [{"name": "tun0", "ip-addresses": [{"ip-address": "10.8.0.2"}]}]}
INET = [{"name": "eth0", "hwaddr": "bc:24:11:8e:29:f6", "inet": "172.20.1.53/24", "ip-addresses": []}]
NETWORK = [
    {"iface": "vmbr0", "type": "OVSBridge", "ovs_ports": "bond0", "active": 1}, {"iface": "lan01", "type": "vnet"},
    {"iface": "VMNet.10", "type": "vlan", "vlan-id": "10", "vlan-raw-device": "bond1"}]
REPLICATION = {"id": "100-0", "guest": 100, "type": "local", "target": "pve2", "schedule": "*/15"}
DISK = {"devpath": "/dev/sdb", "type": "ssd", "size": "1600321314816", "wearout": 99, "used": "ZFS"}
TASK = {"upid": "UPID:pve1:00000002:00000001:69548D28:vzdump:100:root@pam:", "node": "pve1", "type": "vzdump",
        "id": 100, "endtime": str(NOW - 55), "status": "unexpected status"}
BACKUP = {"volid": "pbs:backup/vm/100/2025-12-31T00:00:00Z", "content": "backup", "size": None, "vmid": "100",
          "ctime": str(NOW - 99), "notes": "caf\u00e9", "verification": None}
DOWN = {"/nodes/pve%d/storage/%s/content" % (n, storage): (500, "storage '%s' is not online" % storage)
        for n in (1, 2, 3) for storage in ("nas", "pbs")}
UNSEEN, FIGURELESS = "There may be guests that this token may not see", "the token lacks Sys.Audit on /nodes/NODE"

#: (report, what Proxmox answers, tool, its arguments, what is said, what is not)
CASES = [
    ("bpg/terraform-provider-proxmox#2298", {NODE + "/storage": [{
        "storage": "big", "type": "cephfs", "active": 1, "total": 3.47726673451418e+15, "used": 1.2e15}]},
     "get_storage", {"node": "pve1"}, "1091.4 TiB of 3162.6 TiB (35 %)", "e+"),
    ("bpg/terraform-provider-proxmox#621", {C + "/status/current": TEXT}, "get_vm_status", {"vmid": 200},
     "200 ct on pve1: running\ntemplate: no\nuptime: 35 min 52 s\nCPU: 0.5 %", "locked"),
    ("as above", {ALL: [TEXT, FIGURES]}, "get_top", {}, "0.5 % of 4 cores", "bug"),
    ("as above", {ALL: [TEXT, FIGURES]}, "get_top", {"nodes": True}, "46.6 GiB of 93.1", "bug"),
    ("as above", {ALL: [TEXT, FIGURES]}, "get_capacity", {}, "pve1  8      4 ", "bug"),
    ("as above", {"/cluster/tasks": [TASK]}, "list_tasks", {}, "unexpected status", "bug"),
    ("as above", {"/cluster/tasks": [TASK]}, "get_overview", {"area": "backups"}, "vzdump of 100 on pve1", "bug"),
    ("bpg/terraform-provider-proxmox#552", CONTAINER, "get_lxc_config", {"vmid": 200},
     "CPU limit: 0.5\nmemory: 512 MiB\n", "bug"),
    ("Telmate/terraform-provider-proxmox#975", CONTAINER, "get_lxc_config", {"vmid": 200},
     "mp0     bind mount  /data       /mnt/b", "bug"),
    ("bpg/terraform-provider-proxmox#473", VM, "get_vm_config", {"vmid": 100},
     "sata0  device      /dev/disk/by-id/ata-WDC ", "bug"),
    ("apprell/proxmox-autosnap#19", VM, "get_vm_config", {"vmid": 100}, "ide0   CD (empty)", "bug"),
    ("Corsinvest/cv4pve-report#24", VM, "get_vm_config", {"vmid": 100}, "boot order: c\n", "WARNING"),
    ("ansible-collections/community.general#2266", VM, "get_vm_config", {"vmid": 100}, "guest agent: yes", "bug"),
    ("ansible-collections/community.general#9895", VM, "get_vm_config", {"vmid": 100}, "tags: Web, \u00dcber", "bug"),
    ("TAPPaaS/TAPPaaS#210", {V + "/config": CONFIG, ("POST", V + "/config"): None}, "update_network_vm",
     {"vmid": 100, "net": "net0", "tag": 5}, "from model=virtio,macaddr=BC:24:11:91:27:69,bridge=", "duplicate"),
    ("Telmate/proxmox-api-go#520", {V + "/pending": [{"key": "net9", "pending": "virtio"}, {"key": "digest"}]},
     "get_vm_config", {"vmid": 100}, "net9: (not set) -> virtio", "bug"),
    ("home-assistant/core#176351", {ALL: [ONE]}, "get_capacity", {}, FIGURELESS, "STILL FITS"),
    ("as above", {ALL: [ONE]}, "get_top", {"nodes": True}, FIGURELESS, "0 B"),
    ("Javisen/proxmox_sensors#45", {"/nodes": []}, "get_nodes", {}, "Not even a node is listed: this token", "online"),
    ("as above", {ALL: []}, "get_capacity", {}, UNSEEN, "MiB"),
    ("linuxserver/Heimdall-Apps#814", {ALL: [FIGURES]}, "get_top", {}, UNSEEN, "bug"),
    ("as above", {ALL: []}, "list_snapshots", {}, UNSEEN, "bug"),
    ("ansible/ansible#46633", {ALL: [
        {"status": "unknown", "vmid": 1002, "type": "qemu", "id": "qemu/1002", "node": "pve2"}]}, "get_vms", {},
     "unknown: no current data, the node is offline or does not report (pve2)", "stopped"),
    ("RekklesNA/ProxmoxMCP-Plus#125", {"/cluster/status": [{"type": "node", "name": "pve", "local": 1, "online": 1}]},
     "get_cluster_status", {}, "A single node, no cluster: 1 node, online", "uorum"),
    ("PegaProx/project-pegaprox#252", {"/cluster/status": [
        {"type": "cluster", "name": "c", "quorate": 1, "nodes": 2}, {"type": "node", "name": "a", "online": 1},
        {"type": "node", "name": "1", "online": 0}]}, "get_cluster_status", {},
     "Cluster c: quorate; 2 nodes, 1 online (offline: 1)", "NO QUORUM"),
    ("home-assistant/core#42637", {"/nodes/PVE1/dns": (596, "Connection timed out")}, "get_node_dns",
     {"node": "PVE1"}, "There is no node PVE1 in this cluster. Did you mean pve1?", "30 s"),
    ("xezpeleta/Ansible-Proxmox-inventory#33", {"/nodes/pve2/dns": (596, "Broken pipe")}, "get_node_dns",
     {"node": "pve2"}, "or the node is not there (proxmox_get_nodes)", "bug"),
    ("swayf/proxmoxer#58", {"/nodes/pve2/dns": (599, "Too many redirections")}, "get_node_dns", {"node": "pve2"},
     "The connection between the nodes was lost", "bug"),
    ("ansible-collections/community.proxmox#453", {"/nodes/pve3/status": (595, "No route to host")},
     "get_node_status", {"node": "pve3"}, "it is down or cut off", "bug"),
    ("mtclab/proxmox-mcp#168", {"/cluster/ha/groups": (
        500, "cannot index groups: ha groups have been migrated to rules")}, "api_call",
     {"verb": "GET", "path": "/cluster/ha/groups"}, "rules do what groups did: GET /cluster/ha/rules", "bug"),
    ("mtclab/proxmox-mcp#159", {NODE + "/qemu/999/config": (
        500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist")}, "api_call",
     {"verb": "GET", "path": NODE + "/qemu/999/config"}, "There is no VM 999 on that node", "bug"),
    ("PegaProx/project-pegaprox#237", {AGENT + "get-osinfo": (
        500, "VM 100 qga command failed - unable to open monitor socket")}, "get_inside", {"vmids": "100"},
     "then shut the VM down and start it", "bug"),
    ("rcourtman/Pulse#414", {AGENT + "get-fsinfo": WINDOWS}, "get_inside", {"vmids": "100"},
     "C:\\ (NTFS, x): 90 B of 100 B (90 %)\n    System Reserved (FAT32, \\\\?\\Volume{e1}\\): -", " 0 B of"),
    ("emersonfelipesp/netbox-proxbox#614", {AGENT + "network-get-interfaces": CALICO}, "get_inside", {"vmids": "100"},
     "2001:db8::1\n", "bug"),
    ("as above", {AGENT + "network-get-interfaces": TUNNEL}, "get_inside", {"vmids": "100"}, "10.8.0.2\n", "None"),
    ("NX211/traefik-proxmox-provider#53", {C + "/interfaces": INET}, "get_inside", {"vmids": "200"},
     "172.20.1.53\n", "bug"),
    ("ionos-cloud/cluster-api-provider-proxmox#586", {("POST", AGENT + "exec"): {"pid": "7"}, AGENT + "exec-status": {
        "exited": 1, "exitcode": 0, "out-data": "sdb", "out-truncated": 1}}, "execute_vm_command",
     {"vmid": 100, "command": "x"}, "exit code 0: x\nstdout (the guest's words):\n| sdb\nThe agent cut the", "bug"),
    ("rcourtman/Pulse#1319", {V + "/status/current": {
        "status": "running", "vmid": 100, "maxmem": 6442450944, "mem": 6538948608, "memhost": 6538948608}},
     "get_vm_status", {"vmid": 100}, "memory: 6.1 GiB of 6 GiB (101 %)", "bug"),
    ("dougiteixeira/proxmoxve#292", {NODE + "/disks/list": [dict(DISK, health="OK")]}, "get_overview",
     {"area": "disks", "node": "pve1"}, "Nothing found", "SMART says"),
    ("as above", {NODE + "/disks/list": [dict(DISK, health="IMPENDING FAILURE")]}, "get_overview",
     {"area": "disks", "node": "pve1"}, "SMART says IMPENDING FAILURE: replace it;", "None"),
    ("Starttoaster/proxmox-exporter#76", {NODE + "/disks/smart": {"health": "OK", "text": "\nGrown defects = 0\n"}},
     "get_node_disk_smart", {"node": "pve1", "disk": "/dev/sdb"}, "health: OK\n| Grown defects = 0", "failing"),
    ("Corsinvest/cv4pve-admin#346", {V + "/snapshot": [
        {"name": "b", "parent": "rotated", "snaptime": NOW - 99}, {"name": "current", "parent": "b"}]},
     "list_snapshots_vm", {"vmid": 100}, "1 snapshot of VM 100; its present state descends from b\n", "bug"),
    ("as above", {V + "/snapshot": [{"name": "b"}]}, "list_snapshots", {"older_than": 30, "name": "web01"},
     "0 snapshots older than 30 days", " b "),
    ("rcourtman/Pulse#992", {"/cluster/replication": [REPLICATION], NODE + "/replication": [
        dict(REPLICATION, last_sync=NOW - 600)]}, "list_replication", {}, "2026-01-01 00:06:40 UTC", "bug"),
    ("as above", {"/cluster/replication": [REPLICATION], NODE + "/replication": [
        dict(REPLICATION, last_sync=0)]}, "list_replication", {}, "1 replication job", "1970"),
    ("nbuchwitz/check_pve#83", {
        NODE + "/disks/zfs": [{"name": "tank", "health": "ONLINE", "size": "9981503995904", "frag": "-"}],
        NODE + "/disks/zfs/tank": {"name": "tank", "state": "ONLINE", "status": "Some features are not enabled."}},
     "get_node_zfs", {"node": "pve1"}, "tank  ONLINE  9.1 TiB", "not ONLINE"),
    ("bpg/terraform-provider-proxmox#1938", {NODE + "/network": NETWORK}, "get_node_network", {"node": "pve1"},
     "OVSBridge  yes", "bug"),
    ("bpg/terraform-provider-proxmox#1531", {NODE + "/network": NETWORK}, "get_node_network", {"node": "pve1"},
     "VLAN 10 on bond1", "bug"),
    ("community-scripts/ProxmoxVE#12288", {NODE + "/network": NETWORK, ("POST", NODE + "/qemu"): None}, "create_vm",
     {"node": "pve1", "vmid": 900, "storage": "local-lvm", "bridge": "lan01", "cpu": "host"}, "=lan01", "no bridge"),
    ("bpg/terraform-provider-proxmox#3029", {NODE + "/network": []}, "add_network_vm",
     {"vmid": 100, "net": "net5", "bridge": "vmbr0"}, "net5", "no bridge"),
    ("gilby125/mcp-proxmox#11", {"/nodes/pve1/storage/pbs/content": [BACKUP]}, "list_backups", {"storage": "pbs"},
     "pbs:backup/vm/100/2025-12-31T00:00:00Z  100 ", "No backups"),
    ("PegaProx/project-pegaprox#292", DOWN, "list_backup_state", {}, "15 not found", "ever backed up"),
    ("as above", DOWN, "get_overview", {"area": "backups"},
     "look     guests 100-108, 200-205           no backup that is new enough where it could be looked", "ever backed"),
    ("Corsinvest/cv4pve-autosnap#68", {ALL: [
        {"id": "storage/x/lvm", "type": "storage", "storage": "lvm", "node": "x", "status": "available", "disk": 5,
         "maxdisk": 10}]}, "get_storage", {}, "lvm      x     available  5 B of 10 B (50 %)", "bug"),
    ("adminsyspro/proxcenter-ui#751", {"/cluster/backup": [{"id": "a", "schedule": "daily", "pool": "lab"}]},
     "list_backup_jobs", {}, "pool lab", "bug"),
    ("ansible-collections/community.proxmox#311", {"/cluster/firewall/rules": [
        {"pos": 0, "type": "in", "action": "ACCEPT", "source": "dc/pve2", "enable": 1}]}, "list_firewall_rules", {},
     "dc/pve2", "bug"),
]


@pytest.mark.parametrize("report, answers, tool, arguments, said, never", CASES)
def test_an_odd_cluster_is_told_as_it_is(report, answers, tool, arguments, said, never):
    bench = Bench()
    for path, data in answers.items():
        answering(bench, *((path[1], data, path[0]) if isinstance(path, tuple) else (path, data)))
    answer = bench.run("proxmox_" + tool, **arguments)
    assert " ".join(said.split()) in " ".join(answer.text.split()) and never not in answer.text, answer.text
    assert answer.failed == (len(answers) == 1 and isinstance(*answers.values(), tuple)), answer.text


@pytest.mark.parametrize("report, exitstatus, log, said, failed", [
    ("bpg/terraform-provider-proxmox#2700", "WARNINGS: 1", [
        "WARN: Systemd 255 detected. You may need to enable nesting."], "Systemd 255", False),
    ("lae/ansible-role-proxmox#290", "command 'apt-get update' failed: exit code 100", [
        "E: Failed to fetch https://enterprise.proxmox.com/debian/pve/dists/trixie/InRelease  401  Unauthorized"],
     "The enterprise repository takes a subscription", True)])
def test_how_a_task_ended_is_told_with_what_it_means(report, exitstatus, log, said, failed):
    bench = Bench()
    ending(bench, "POST", NODE + "/lxc", exitstatus, log, "vzcreate", "300")
    answer = bench.run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate="local:vztmpl/x.tar.zst", storage="nas")
    assert answer.failed == failed and said in answer.text, answer.text
