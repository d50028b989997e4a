"""Lists of guests and storages, the state of one guest, and configurations."""
import pytest
from test_cluster import AUDITOR, canned

import support
from tools import guests
from tools.base.guest import changes, pending
from tools.pve.client import PveError

ALL, FULL = "GET /cluster/resources type=vm", "GET /nodes/%s/qemu full=1"
CASES = [
    ("proxmox_get_vms", {}, [ALL] + [FULL % node for node in ("pve1", "pve2", "pve3")]),
    ("proxmox_get_vms", {"node": "pve2", "type": "lxc", "status": "running", "limit": 2, "offset": 1}, [ALL]),
    ("proxmox_get_vms", {"pool": "production", "tag": "web", "name": "web*", "template": False},
     [ALL, FULL % "pve1"]),
    ("proxmox_get_vm_status", {"vmid": 100}, [ALL, "GET /nodes/pve1/qemu/100/status/current"]),
    ("proxmox_get_vm_status", {"vmid": 100, "node": "pve1"}, ["GET /nodes/pve1/qemu/100/status/current"]),
    ("proxmox_get_vm_status", {"vmid": 200, "node": "pve1"},
     ["GET /nodes/pve1/qemu/200/status/current", ALL, "GET /nodes/pve1/lxc/200/status/current"]),
    ("proxmox_get_vm_status", {"vmid": 200, "type": "lxc", "node": "pve1"}, ["GET /nodes/pve1/lxc/200/status/current"]),
    ("proxmox_get_vm_status", {"vmid": 200, "type": "lxc"}, [ALL, "GET /nodes/pve1/lxc/200/status/current"]),
    ("proxmox_get_storage", {}, ["GET /cluster/resources type=storage"]),
    ("proxmox_get_storage", {"node": "pve1", "content": "backup"}, ["GET /nodes/pve1/storage"]),
    ("proxmox_get_vm_config", {"node": "pve1", "vmid": 100},
     ["GET /nodes/pve1/qemu/100/config current=1", "GET /nodes/pve1/qemu/100/pending"]),
    ("proxmox_get_vm_config", {"vmid": 105},
     [ALL, "GET /nodes/pve3/qemu/105/config current=1", "GET /nodes/pve3/qemu/105/pending"]),
    ("proxmox_get_vm_config", {"node": "pve1", "vmid": 100, "snapshot": "fresh-install"},
     ["GET /nodes/pve1/qemu/100/config snapshot=fresh-install"]),
    ("proxmox_get_lxc_config", {"node": "pve2", "vmid": 201},
     ["GET /nodes/pve2/lxc/201/config current=1", "GET /nodes/pve2/lxc/201/pending"]),
    ("proxmox_get_lxc_config", {"node": "pve2", "vmid": 202, "snapshot": "weekly-1"},
     ["GET /nodes/pve2/lxc/202/config snapshot=weekly-1"]),
]


def run(tool, **arguments):
    return support.Bench().run(tool, **arguments)


def vmids(answer):
    return [row["vmid"] for row in answer.data["items"]]


# -------------------------------------------------------------------------------------------------------------- get_vms

def test_the_list_and_its_text():
    answer = run("proxmox_get_vms")
    assert answer.text.startswith("\u2705 17 guests: 9 running, 1 paused, 5 stopped, 2 templates; locked: 106 "
                                  "(backup)\nVMID  NAME ")
    assert vmids(answer) == sorted(vmids(answer)) and answer.data["total"] == 17
    assert answer.data["by_node"] == {"pve1": 7, "pve2": 6, "pve3": 4}
    web = answer.data["items"][0]
    assert web["tags"] == ["prod", "web"] and 0 < web["cpu"] < 1 and web["maxmem"] == 4 << 30 and "disk" not in web
    stopped = next(row for row in answer.data["items"] if row["vmid"] == 102)
    assert not {"cpu", "mem", "uptime"} & set(stopped)


@pytest.mark.parametrize("filters, expected", [
    ({"node": "pve3"}, [103, 105, 107, 203]),
    ({"type": "lxc", "node": "pve2"}, [201, 202, 205]),
    ({"type": "all", "node": "pve3"}, [103, 105, 107, 203]),
    ({"status": "stopped", "type": "qemu"}, [102, 106, 107, 9000]),
    ({"template": True}, [9000, 9100]),
    ({"template": "no", "status": "stopped"}, [102, 106, 107, 203, 205]),
    ({"pool": "lab"}, [107, 203]),
    ({"tag": "WEB"}, [100, 201]),
    ({"name": "OX"}, [201]),
    ({"name": "d*"}, [101, 200, 203, 9000, 9100]),
    ({"name": "d?"}, []),
    ({"name": "db.1"}, []),
    ({"name": "[a-z]*"}, []),
    ({"tag": "all"}, []),
    ({"name": "*a" * 40}, []),
    ({"limit": 2, "offset": 3}, [103, 104]),
])
def test_filters(filters, expected):
    answer = run("proxmox_get_vms", **filters)
    assert not answer.failed and vmids(answer) == expected


def test_nothing_found_says_what_there_is():
    answer = run("proxmox_get_vms", tag="prodd", node="pve9")
    assert not answer.failed and answer.data["total"] == 0
    assert "tag=prodd fits no guest. In use: ci, db, " in answer.text
    assert "node=pve9 fits no guest. In use: pve1, pve2, pve3." in answer.text


def test_an_empty_list_may_be_a_missing_privilege():
    answer = support.Bench(tokens=AUDITOR).run("proxmox_get_vms")
    assert answer.text.startswith("\u2705 0 guests\n") and "VM.Audit" in answer.text


def test_guests_that_are_out_of_bounds_are_counted():
    answer = support.Bench(allowed_guests=("tag:web",)).run("proxmox_get_vms")
    assert vmids(answer) == [100, 201] and "15 guests not shown: out of bounds" in answer.text
    answer = support.Bench(allowed_guests=("4711",)).run("proxmox_get_vms")
    assert vmids(answer) == [] and "17 guests not shown" in answer.text and "VM.Audit" not in answer.text


def test_an_offset_beyond_the_end():
    assert "offset=40 is beyond the last one" in run("proxmox_get_vms", offset=40).text


def test_a_node_that_is_down():
    bench = support.Bench(offline=["pve3"])
    answer = bench.run("proxmox_get_vms", node="pve3")
    assert not answer.failed and answer.data["by_status"] == {"unknown": 4}
    assert "the node is offline or does not report (pve3)" in answer.text and bench.sent() == [ALL]


def test_strange_rows_are_normalised():
    bench = canned(support.Bench(), resources=[
        {"vmid": "300", "type": "qemu", "node": "a", "status": "running", "cpu": "0.02137462378", "maxcpu": "0.5",
         "mem": "10", "maxmem": "20", "template": "0", "tags": "B; a", "name": "x\u202ey", "disk": "0",
         "maxdisk": "1024"},
        {"vmid": 200, "type": "lxc", "node": "a", "template": "1", "status": "stopped", "mem": 0}])
    answer = bench.run("proxmox_get_vms")
    assert answer.data["items"] == [
        {"vmid": 200, "type": "lxc", "status": "stopped", "node": "a", "template": True},
        {"vmid": 300, "name": "x\\u202ey", "type": "qemu", "status": "running", "node": "a", "cpu": 0.02137, "mem": 10,
         "tags": ["B", "a"], "maxcpu": 0.5, "maxmem": 20, "maxdisk": 1024}]
    assert "2.1 % of 0.5" in answer.text and "stopped (template)" in answer.text and "\u202e" not in answer.text


@pytest.mark.parametrize("answers", ["text", "data", "both"])
def test_ten_thousand_guests_fit(answers):
    bench = support.Bench(support.big(), answers=answers)
    for filters in ({"limit": 1000}, {"status": "running", "limit": 200, "offset": 5000}, {}):
        answer = bench.run("proxmox_get_vms", **filters)
        assert bench.sent() == [ALL] and support.weight(answer, answers) <= 25000 and answer.data["items"]
    assert len(answer.data["items"]) == 50 and answer.data["total"] == 10000
    assert answer.text.startswith("\u2705 10,000 guests: 9,000 running, 1,000 stopped\nVMID ")
    assert "\nBy node: node01 500, " in answer.text and answer.data["by_node"]["node01"] == 500
    assert "Next page: offset=50. To narrow the list: node, pool, tag, name, type, status, template." in answer.text


def test_only_what_is_shown_is_normalised(monkeypatch):
    shape, seen = guests.GUESTS, []
    each = shape.each
    monkeypatch.setattr(shape, "each", lambda row: seen.append(row["vmid"]) or each(row))
    support.Bench(support.big()).run("proxmox_get_vms", limit=3, offset=10)
    assert len(seen) == 3


# -------------------------------------------------------------------------------------------------------- get_vm_status

@pytest.mark.parametrize("vmid, begins", [
    (100, "\u2705 VM 100 web01 on pve1: running\n"), (103, "\u2705 VM 103 mon01 on pve3: running (paused)\n"),
    (200, "\u2705 Container 200 dns on pve1: running\n"), (102, "\u2705 VM 102 win11 on pve2: stopped\n")])
def test_status(vmid, begins):
    answer = run("proxmox_get_vm_status", vmid=vmid)
    assert answer.text.startswith(begins)
    assert ("cpu" in answer.data) == ("running" in begins) and answer.data["node"].startswith("pve")


def test_status_of_a_suspended_and_a_sparing_guest():
    bench = canned(support.Bench(), current={
        "status": "stopped", "lock": "suspended", "name": "x", "mem": 0, "maxmem": "1024"})
    answer = bench.run("proxmox_get_vm_status", vmid=100)
    assert answer.text == "\u2705 VM 100 x on pve1: stopped (hibernated)\nlock: suspended\nmemory: 1 KiB"
    bench = canned(support.Bench(), current={"status": "running", "qmpstatus": "io-error", "cpu": 0, "cpus": 2,
                                             "ha": {"managed": "1", "state": "started"}})
    answer = bench.run("proxmox_get_vm_status", vmid=100)
    assert "running (io-error)" in answer.text and "HA: started" in answer.text
    assert "CPU: 0 % of 2 cores (or not measured yet)" in answer.text and answer.data["ha"]["managed"] is True


@pytest.mark.parametrize("arguments, words", [
    ({"vmid": 200, "type": "qemu", "node": "pve1"}, "Guest 200 is a container, not a VM"),
    ({"vmid": 200, "type": "qemu"}, "Guest 200 is a container, not a VM"),
    ({"vmid": 100, "type": "lxc", "node": "pve1"}, "Guest 100 is a VM, not a container"),
    ({"vmid": 100, "node": "pve3"}, "VM 100 is on node pve1, not on pve3"),
    ({"vmid": 100, "type": "qemu", "node": "pve3"}, "VM 100 is on node pve1, not on pve3"),
    ({"vmid": 4711}, "no guest 4711"),
])
def test_the_wrong_type_or_node_is_named(arguments, words):
    answer = run("proxmox_get_vm_status", **arguments)
    assert answer.failed and words in answer.text


def test_a_config_of_the_other_type_is_named():
    assert "Guest 200 is a container" in run("proxmox_get_vm_config", vmid=200, node="pve1").text
    assert "Guest 100 is a VM" in run("proxmox_get_lxc_config", vmid=100).text
    assert "is on node pve2" in run("proxmox_get_lxc_config", vmid=201, node="pve1").text


# ---------------------------------------------------------------------------------------------------------- get_storage

def test_storages_of_the_cluster():
    rows = run("proxmox_get_storage").data["items"]
    assert [row["node"] for row in rows if row["storage"] == "local"] == ["pve1", "pve2", "pve3"]
    nas = [row for row in rows if row["storage"] == "nas"]
    assert len(nas) == 1 and nas[0]["nodes"] == ["pve1", "pve2", "pve3"] and nas[0]["shared"] and "node" not in nas[0]
    assert [row["state"] for row in rows if row["storage"] == "old-nas"] == ["unknown"]
    assert all(abs(row["used_fraction"] - row["used"] / row["total"]) < 0.001 for row in rows if "total" in row)


def test_a_shared_storage_that_one_node_does_not_reach():
    rows = [{"storage": "nfs", "node": node, "plugintype": "nfs", "shared": 1, "status": status, "maxdisk": size,
             "disk": 1, "content": "iso"}
            for node, status, size in (("c", "unknown", 0), ("b", "available", 10), ("a", "available", 8))]
    answer = canned(support.Bench(), resources=rows).run("proxmox_get_storage")
    assert answer.data["items"] == [{
        "storage": "nfs", "type": "nfs", "state": "available", "used": 1, "total": 10, "used_fraction": 0.1,
        "content": ["iso"], "shared": True, "active": True, "nodes": ["a", "b"], "not_on": ["c"]}]
    assert "shared by a, b" in answer.text and "How much is free is shown for one node" in answer.text
    assert "available, but not on c" in answer.text


def test_storages_of_a_node():
    answer = run("proxmox_get_storage", node="pve1")
    states = {row["storage"]: row["state"] for row in answer.data["items"]}
    assert states["local"] == "available" and states["old-nas"] == "unreachable" and states["archive"] == "disabled"
    assert "old-nas is switched on but cannot be reached from pve1 (enabled 1, active 0)." in answer.text


def test_storages_with_numbers_as_text():
    bench = canned(support.Bench(), storage=[{
        "storage": "a", "type": "dir", "enabled": "1", "active": "1", "shared": "0", "total": "100", "used": "50",
        "avail": "50", "content": "iso,backup"}])
    assert bench.run("proxmox_get_storage", node="pve1").data["items"] == [{
        "storage": "a", "node": "pve1", "type": "dir", "state": "available", "used": 50, "avail": 50, "total": 100,
        "used_fraction": 0.5, "content": ["iso", "backup"], "shared": False, "enabled": True, "active": True}]


def test_storages_by_content_and_none():
    rows = run("proxmox_get_storage", content="images", node="pve3").data["items"]
    assert {row["storage"] for row in rows} >= {"local-lvm"}
    assert "takes nonsense" in run("proxmox_get_storage", content="nonsense").text
    assert "Datastore.Audit" in support.Bench(tokens=AUDITOR).run("proxmox_get_storage").text


def test_storages_with_a_node_down():
    answer = support.Bench(offline=["pve3"]).run("proxmox_get_storage")
    assert not answer.failed
    assert {row["state"] for row in answer.data["items"] if row.get("node") == "pve3"} == {"unknown"}
    assert "No route to host (HTTP 595)" in support.Bench(offline=["pve3"]).run("proxmox_get_storage", node="pve3").text


# --------------------------------------------------------------------------------------------------------------- config

def test_a_vm_with_everything():
    config = {
        "name": "x", "digest": "d", "memory": "current=2048", "cores": "2", "sockets": 2, "cpu": "host", "onboot": "1",
        "agent": "enabled=1,fstrim_cloned_disks=1", "boot": "order=scsi0;net0", "tags": "a;b", "description": "hi\n",
        "scsi0": "local-lvm:vm-1-disk-0,iothread=1,size=32G",
        "scsi10": "file=nas:1/vm-1-disk-1.qcow2,size=512M,backup=0",
        "scsi2": "/dev/disk/by-id/ata-x,size=100", "ide2": "none,media=cdrom",
        "ide0": "nas:vm-1-cloudinit,media=cdrom,size=4M", "sata0": "nas:iso/debian.iso,media=cdrom",
        "efidisk0": "a:b,efitype=4m,size=528K", "tpmstate0": "a:c,version=v2.0", "unused0": "a:vm-1-disk-9",
        "net10": "virtio=BC:24:11:00:00:02,bridge=vmbr1,tag=5,firewall=1,rate=1.5,queues=4,trunks=1;2",
        "net2": "model=e1000,macaddr=BC:24:11:00:00:01,bridge=vmbr0,link_down=1", "cipassword": "x", "ciuser": "me",
        "ipconfig0": "ip=dhcp", "hookscript": "local:snippets/x.pl"}
    data = guests.normalised("qemu", config)
    disks = {disk.pop("disk"): disk for disk in data["disks"]}
    assert list(disks) == ["efidisk0", "ide0", "ide2", "sata0", "scsi0", "scsi2", "scsi10", "tpmstate0", "unused0"]
    assert disks["scsi0"] == {"use": "disk", "volid": "local-lvm:vm-1-disk-0", "storage": "local-lvm",
                              "size": 32 << 30, "options": {"iothread": True}}
    assert disks["scsi10"]["volid"] == "nas:1/vm-1-disk-1.qcow2" and disks["scsi10"]["options"] == {"backup": False}
    assert disks["scsi2"]["use"] == "device" and "storage" not in disks["scsi2"]
    assert [disks[key]["use"] for key in ("ide2", "ide0", "sata0", "efidisk0", "tpmstate0", "unused0")] == [
        "CD (empty)", "cloud-init", "CD", "EFI", "TPM", "unused"]
    assert data["networks"] == [
        {"net": "net2", "model": "e1000", "mac": "BC:24:11:00:00:01", "bridge": "vmbr0", "link_down": True},
        {"net": "net10", "model": "virtio", "mac": "BC:24:11:00:00:02", "bridge": "vmbr1", "tag": 5, "firewall": True,
         "rate": 1.5, "queues": 4, "trunks": "1;2"}]
    assert data["cloud_init"] == {"cipassword": "(set, not shown)", "ciuser": "me", "ipconfig0": "ip=dhcp"}
    assert data["agent"] == {"enabled": True, "fstrim_cloned_disks": "1"} and data["boot"] == ["scsi0", "net0"]
    assert data["description"] == "hi" and data["hookscript"] == "local:snippets/x.pl" and data["digest"] == "d"
    shown = guests.VM_CONFIG.data(data)
    assert (shown["memory"], shown["cores"], shown["onboot"], shown["tags"]) == (2048, 2, True, ["a", "b"])


def test_a_container_with_everything():
    data = guests.normalised("lxc", {
        "rootfs": "local-lvm:vm-1-disk-0,size=8G", "mp0": "volume=tank:sub-1,mp=/srv,size=1T,ro=1",
        "mp1": "/mnt/x,mp=/x",
        "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,ip6=auto,type=veth,tag=7", "memory": 512,
        "nameserver": "1.1.1.1", "lxc": [["lxc.apparmor.profile", "unconfined"]], "env": "A=hidden\0B=too",
        "dev0": "/dev/ttyUSB0", "hostname": "x"})
    assert data["disks"] == [
        {"disk": "mp0", "use": "mount point", "volid": "tank:sub-1", "storage": "tank", "size": 1 << 40, "path": "/srv",
         "options": {"ro": True}},
        {"disk": "mp1", "use": "bind mount", "volid": "/mnt/x", "path": "/x", "options": {}},
        {"disk": "rootfs", "use": "root", "volid": "local-lvm:vm-1-disk-0", "storage": "local-lvm", "size": 8 << 30,
         "options": {}}]
    assert data["networks"] == [{"net": "net0", "mac": "BC:24:11:00:00:01", "name": "eth0", "bridge": "vmbr0",
                                 "ip": "dhcp", "ip6": "auto", "type": "veth", "tag": 7}]
    assert data["nameserver"] == "1.1.1.1" and data["env"] == ["A=***", "B=***"] and data["dev0"] == "/dev/ttyUSB0"


def test_odd_values_break_nothing():
    data = guests.normalised("qemu", {"scsi0": "", "net0": "virtio", "net1": "", "boot": "cdn", "agent": "0",
                                      "memory": "", "description": None, "unused0": 7, "sshkeys": ""})
    assert data["boot"] == ["cdn"] and data["agent"]["enabled"] is False
    assert data["networks"] == [{"net": "net0", "model": "virtio"}, {"net": "net1"}]
    assert not run("proxmox_get_vm_config", vmid=108).failed


def test_pending_changes_are_said_and_secrets_are_not():
    answer = run("proxmox_get_vm_config", vmid=105)
    assert answer.data["pending"] == [
        {"key": "cores", "now": 2, "then": 4}, {"key": "memory", "now": "4096", "then": "8192"},
        {"key": "net0", "now": "virtio=BC:24:11:00:01:50,bridge=vmbr0,firewall=1", "removed": True}]
    assert "Waits for a restart of the guest (the values above are those in effect):\n  cores: 2 -> 4\n" in answer.text
    assert "-> (removed)" in answer.text and "memory: 4 GiB" in answer.text
    assert answer.text.startswith("\u26a0 VM 105 ci01 on pve3\nWARNING: its next restart takes away net0 (")
    assert "***" not in answer.text and "cipassword=(set, not shown)" in answer.text
    assert answer.data["cloud_init"]["sshkeys"] == ["ssh-ed25519 AAAAC3Nz...DemoDemo admin@example"]


def test_pending_secrets_are_masked():
    entries = [{"key": "cipassword", "value": "old", "pending": "new"}, {"key": "scsi10", "value": "x", "delete": 1},
               {"key": "scsi2", "pending": "y"}, {"key": "name", "value": "x"},
               {"key": "sshkeys", "pending": "ssh-rsa%20" + "A" * 300 + "%20me%0A"}]
    assert changes(pending(entries)[1]) == [
        {"key": "cipassword", "now": "(set, not shown)", "then": "(set, not shown)"},
        {"key": "scsi2", "then": "y"}, {"key": "scsi10", "now": "x", "removed": True},
        {"key": "sshkeys", "then": ["ssh-rsa AAAAAAAA...AAAAAAAA me"]}]


def test_the_text_of_a_config():
    answer = run("proxmox_get_vm_config", vmid=101)
    for part in ("VM 101 db01 on pve2\n", "CPU: 8 cores, ", "memory: 16 GiB, at least 8 GiB (balloon)",
                 "protection: yes", "efidisk0", "tank:vm-101-disk-0", "500 GiB", "cache=writeback", "mtu=9000",
                 "startup=order=1,up=30", "Description:\n| PostgreSQL 17, primary"):
        assert part in answer.text
    answer = run("proxmox_get_lxc_config", vmid=9100)
    assert "CPU: all cores of the node" in answer.text and "template: yes" in answer.text
    answer = run("proxmox_get_vm_config", vmid=100, snapshot="fresh-install")
    assert "as saved in snapshot fresh-install" in answer.text and answer.data["memory"] == 2048
    assert "snapshot 'missing' does not exist" in run("proxmox_get_vm_config", vmid=100, snapshot="missing").text


def test_all_guests_can_be_read():
    bench = support.Bench()
    for row in bench.run("proxmox_get_vms").data["items"]:
        tool = "proxmox_get_lxc_config" if row["type"] == "lxc" else "proxmox_get_vm_config"
        assert not bench.run(tool, vmid=row["vmid"], node=row["node"]).failed
        assert not bench.run("proxmox_get_vm_status", vmid=row["vmid"]).failed


def test_a_config_that_cannot_be_read_is_a_failure():
    bench = canned(support.Bench(), pending=PveError("refused", status=403))
    answer = bench.run("proxmox_get_vm_config", vmid=100)
    assert answer.failed and "refused" in answer.text
