"""The demo cluster keeps to Proxmox: its wire, its words, its tasks, its rights. A table for each kind of behaviour."""
import gzip
import json
import re
import threading
from urllib.parse import urlencode

import pytest
import requests

from front import Front
from tools.demo import TABLE, DemoCluster, drives
from tools.demo.access import ROLES
from tools.demo.model import size_text
from tools.pve.tls import NotSent

TOKEN = {"Authorization": "PVEAPIToken=root@pam!demo=secret"}
FORM = dict(TOKEN, **{"Content-Type": "application/x-www-form-urlencoded"})
NOW = 1767225600.0


class Demo:
    """A cluster whose clock the test moves; calls give data, or (status, reason) or (400, errors)."""

    def __init__(self, token="root@pam!demo=secret", **options):
        self.seconds = 0.0
        self.cluster = DemoCluster(clock=lambda: self.seconds, now=lambda: NOW, **options)
        self.headers = dict(FORM, Authorization="PVEAPIToken=" + token)

    def raw(self, verb, target, body=b"", **headers):
        """(status, reason, headers, body) of a request, as it is."""
        return self.cluster.handle(verb, target, dict(self.headers, **headers), body)

    def __call__(self, line, **params):
        verb, path = line.split(" ")
        query = urlencode({key.replace("__", "-"): value for key, value in params.items()}, doseq=True)
        if verb in ("GET", "DELETE"):
            status, reason, _, body = self.raw(verb, "/api2/json" + path + ("?" + query if query else ""))
        else:
            status, reason, _, body = self.raw(verb, "/api2/json" + path, query.encode())
        if status == 200:
            return json.loads(body)["data"]
        return (400, json.loads(body)["errors"]) if status == 400 else (status, reason)

    def status(self, upid):
        return self("GET /nodes/%s/tasks/%s/status" % (upid.split(":")[1], upid))

    def log(self, upid):
        return [row["t"] for row in self("GET /nodes/%s/tasks/%s/log" % (upid.split(":")[1], upid), limit=0)]

    def wait(self, upid):
        """The exit status of a task, its time lived."""
        for _ in range(300):
            found = self.status(upid)
            if found["status"] == "stopped":
                return found["exitstatus"]
            self.seconds += 1
        raise AssertionError("still running: %s" % upid)

    def run(self, line, **params):
        """The exit status of the task that a call starts, or its answer when it starts none."""
        answer = self(line, **params)
        return self.wait(answer) if isinstance(answer, str) and answer.startswith("UPID:") else answer


@pytest.fixture
def demo():
    return Demo()


W = "/nodes/pve1/qemu/100"          # web01: running, snapshots
D = "/nodes/pve2/qemu/101"          # db01: running, protected, disks on two storages
X = "/nodes/pve2/qemu/102"          # win11: stopped, EFI and TPM disks, unused0
H = "/nodes/pve1/qemu/104"          # mail: running under HA, on the SAN
L = "/nodes/pve3/qemu/107"          # lab: stopped, no agent
T = "/nodes/pve1/qemu/9000"         # a template
P = "/nodes/pve2/lxc/201"           # proxy: running container with mp0
F = "/nodes/pve2/lxc/202"           # files: running container on ZFS
S = "/nodes/pve3/lxc/203"           # dev: stopped container
ISO = "nas:iso/virtio-win-0.1.285.iso"
TEMPLATE = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"

# ---------------------------------------------------------------------------------------------------------------- wire

@pytest.mark.parametrize("verb, target, headers, body, status, reason, content", [
    ("GET", "/api2/json/version", {"Authorization": ""}, b"", 401, "No ticket", b""),
    ("GET", "/api2/json/version", {"Authorization": "Bearer x"}, b"", 401, "No ticket", b""),
    ("GET", "/api2/json/version", {"Authorization": "PVEAPIToken=x@pam!y=z"}, b"", 401, "Authentication failed!", b""),
    ("GET", "/api2/json/version", {"Authorization": "PVEAPIToken=root@pam!demo="}, b"", 401, "Authentication failed!",
     b""),
    ("GET", "/api2/json/version", {"Authorization": "PVEAPIToken root@pam!demo=%78"}, b"", 200, "OK", None),
    ("HEAD", "/api2/json/version", {}, b"", 501, "method 'HEAD' not available", b""),
    ("PATCH", "/api2/json" + W + "/config", {}, b"", 501, "method 'PATCH' not available", b""),
    ("GET", "/api2/json/nope", {}, b"", 501, "Method 'GET /nope' not implemented", None),
    ("GET", "/api2/json/cluster/firewall/groups", {}, b"", 501, "Method 'GET /cluster/firewall/groups' not implemented",
     None),
    ("POST", "/api2/json/version", {}, b"", 501, "Method 'POST /version' not implemented", None),
    ("POST", "/api2/json/nodes/pve1/lxc/200/agent/exec", {}, b"command=ls", 501,
     "Method 'POST /nodes/pve1/lxc/200/agent/exec' not implemented", None),
    ("GET", "/api2/xml/version", {}, b"", 501, "no formatter for uri /version, xml", b""),
    ("GET", "/api2/json/version", {}, b"x=1", 501, "Unexpected content for method 'GET'", b""),
    ("DELETE", "/api2/json" + L, {}, b"purge=1", 501, "Unexpected content for method 'DELETE'", b""),
    ("POST", "/api2/json" + L + "/status/start", {"Transfer-Encoding": "chunked"}, b"", 501,
     "chunked transfer encoding not supported", b""),
    ("POST", "/api2/json" + L + "/status/start", {"Content-Type": "text/plain"}, b"x", 506,
     "upload 'Content-Type 'text/plain' not implemented", b""),
    ("POST", "/api2/json" + L + "/status/start", {}, b"", 200, "OK", None),
    ("PUT", "/api2/json" + L + "/config", {}, b"description=" + b"x" * 600000, 501, "for data too large", b""),
    ("GET", "/api2/json/nodes/pve1%2Fqemu/100/status/current", {}, b"", 200, "OK", None),
    ("DELETE", "/api2/json/nodes/pve1/storage/nas/content/nas%3Aiso%2Fvirtio-win-0.1.285.iso", {}, b"", 200, "OK",
     None),
    ("DELETE", "/api2/json/nodes/pve1/storage/nas/content/nas:iso/virtio-win-0.1.285.iso", {}, b"", 200, "OK", None),
    ("GET", "/api2/json/nodes/localhost/qemu/100/status/current", {}, b"", 200, "OK", None),
    ("GET", "/api2/json/nodes/pve9/status", {}, b"", 500,
     "hostname lookup 'pve9' failed - failed to get address info for: "
     "pve9: Name or service not known", None),
    ("GET", "/nothing", {}, b"", 501, "no such file '/nothing'", b""),
])
def test_wire(demo, verb, target, headers, body, status, reason, content):
    got = demo.raw(verb, target, body, **headers)
    assert got[0] == status
    assert got[1] == reason
    if content is not None:
        assert got[3] == content
    elif status >= 400:
        answer = json.loads(got[3])
        assert answer["data"] is None and answer["message"] == got[1] + ("" if status == 501 else "\n")
    assert int(got[2]["Content-Length"]) == len(got[3])
    assert got[2]["Connection"] == ("close" if status >= 400 else "Keep-Alive")


def test_an_empty_value_is_not_given_and_repeated_keys_are_a_list(demo):
    assert demo("PUT " + L + "/config", memory="", cores=2) is None
    assert demo("GET " + L + "/config")["memory"] == "1024"
    assert demo("POST " + W + "/agent/exec", command=["echo", "a b", "c;d"])["pid"]


def test_errors_before_8_3_are_in_the_reason_alone():
    old = Demo(version="7.4")
    status, reason, _, body = old.raw("POST", "/api2/json" + L + "/status/reboot")
    assert (status, reason, body) == (500, "VM 107 not running", b'{"data":null}')
    assert old("PUT " + L + "/resize", disk="scsi0", size="+1G") is None


def test_requests_are_recorded(demo):
    demo("GET /cluster/resources", type="vm")
    demo.raw("GET", "/api2/json/version", Authorization="nobody")
    demo("PUT " + L + "/config", onboot=1)
    assert demo.cluster.requests == [("GET", "/cluster/resources", {"type": "vm"}), ("GET", "/version", {}),
                                     ("PUT", L + "/config", {"onboot": "1"})]


# ---------------------------------------------------------------------------------------------------- parameter checks

BAD_MAC = ("invalid format - format error\nnet1.macaddr: invalid format - value does not look like a valid unicast MAC "
           "address\n\n")


@pytest.mark.parametrize("line, params, errors", [
    ("GET /version", {"x": 1}, {"x": UNKNOWN}),
    ("GET /cluster/resources", {"type": "qemu"},
     {"type": "value 'qemu' does not have a value in the enumeration 'vm, storage, node, sdn'"}),
    ("GET /cluster/nextid", {"vmid": 100}, {"vmid": "VM 100 already exists"}),
    ("GET /cluster/nextid", {"vmid": 99}, {"vmid": "invalid format - value does not look like a valid VM ID\n"}),
    ("GET " + W + "/config", {"current": "true"}, {"current": "type check ('boolean') failed - got 'true'"}),
    ("GET " + W + "/config", {"vmid": "101"},
     {"vmid": "duplicate parameter (already defined in URI) with conflicting values!"}),
    ("GET " + W + "/rrddata", {}, {"timeframe": "property is missing and it is not optional"}),
    ("PUT " + L + "/config", {"cores": "x"}, {"cores": "type check ('integer') failed - got 'x'"}),
    ("PUT " + L + "/config", {"cores": 0}, {"cores": "value must have a minimum value of 1"}),
    ("PUT " + L + "/config", {"name": "a_b"}, {"name": "invalid format - value does not look like a valid DNS name\n"}),
    ("PUT " + L + "/config", {"net1": "virtio=BC:24:11:00:00:01,model=virtio"},
     {"net1": "invalid format - duplicate key in comma-separated list property: model\n"}),
    ("PUT " + L + "/config", {"net1": "virtio,bridge=vmbr0,tag=0"},
     {"net1": "invalid format - format error\nnet1.tag: value must have a minimum value of 1\n"}),
    ("PUT " + L + "/config", {"net1": "virtio=01:24:11:00:00:01"}, {"net1": BAD_MAC}),
    ("PUT " + L + "/config", {"net32": "virtio"}, {"net32": UNKNOWN}),
    ("PUT " + L + "/config", {"scsi1": "local-lvm:1,foo=1"},
     {"scsi1": "invalid format - format error\nscsi1.foo: " + UNKNOWN + "\n"}),
    ("PUT " + L + "/config", {"delete": "scsi99"}, {"delete": "unknown option 'scsi99'"}),
    ("PUT " + L + "/config", {"delete": "name", "name": "x"},
     {"delete": "you can't use '-name' and '-delete name' at the same time"}),
    ("PUT " + L + "/config", {"force": 1}, {"delete": "missing property required by 'force'"}),
    ("PUT " + L + "/config", {"skiplock": 1}, {"skiplock": "Only root may use this option."}),
    ("PUT " + P + "/config", {"mp1": "local-lvm:1"},
     {"mp1": "invalid format - format error\nmp1.mp: property is missing and it is not optional\n"}),
    ("PUT " + P + "/config", {"net2": "name=eth2,bridge=vmbr0,ip=10.0.0.1"},
     {"net2": "invalid format - format error\nnet2.ip: "
     "invalid format - value does not look like a valid ipv4 network configuration\n\n"}),
    ("PUT " + L + "/resize", {"disk": "scsi0", "size": " 1G"}, {"size": "value does not match the regex pattern"}),
    ("POST " + W + "/snapshot", {"snapname": "1st"}, {"snapname": "invalid format - invalid configuration ID '1st'\n"}),
    ("POST " + W + "/snapshot", {"snapname": "a" * 41}, {"snapname": "value may only be 40 characters long"}),
    ("POST " + W + "/agent/exec", {"command": "uname", "args": "-a"}, {"args": UNKNOWN}),
    ("POST /nodes/pve1/vzdump", {"vmid": 100, "compress": "none"},
     {"compress": "value 'none' does not have a value in the enumeration '0, 1, gzip, lzo, zstd'"}),
    ("POST /nodes/pve1/vzdump", {"storage": "nas"}, {"vmid": "property is missing"}),
    ("POST /nodes/pve1/qemu", {"vmid": 300, "restore": 1}, {"restore": UNKNOWN}),
    ("POST /nodes/pve1/qemu", {"vmid": 300, "scsi0": "local:8"},
     {"storage": "storage 'local' does not support vm images"}),
    ("POST /nodes/pve1/lxc", {"vmid": 300, "archive": TEMPLATE},
     {"archive": UNKNOWN, "ostemplate": "property is missing and it is not optional"}),
    ("POST /nodes/pve1/lxc", {"vmid": 300, "ostemplate": TEMPLATE},
     {"storage": "storage 'local' does not support container directories"}),
    ("GET /nodes/pve1/disks/smart", {"disk": "/dev/disk/by-id/x"}, {"disk": "value does not match the regex pattern"}),
    ("GET /nodes/pve1/disks/list", {"skip_smart": 1}, {"skip_smart": UNKNOWN}),
    ("GET /nodes/pve1/network/my-if", {}, {"iface": "invalid format - invalid network interface name 'my-if'\n"}),
    ("GET /nodes/pve1/network/vmbr7", {}, {"iface": "interface does not exist"}),
    ("GET /nodes/pve1/tasks/nonsense/status", {}, {"upid": "unable to parse worker upid"}),
    ("GET /nodes/pve1/tasks/UPID:pve1:00000001:00000001:00000001:a:b:c@d:/status", {}, {"upid": "no such task"}),
    ("DELETE /nodes/pve1/storage/nas/content/local:backup/x.vma", {}, {"volume": "storage ID mismatch (local != nas)"}),
    ("POST /cluster/firewall/rules", {"type": "in", "action": "ACCEPT", "dport": "22"},
     {"proto": "missing property - 'dport' requires this property"}),
])
def test_bad_parameters(demo, line, params, errors):
    assert demo(line, **{key.replace("-", "__"): value for key, value in params.items()}) == (400, errors)


# ------------------------------------------------------------------------------------------------ refusals and failures

@pytest.mark.parametrize("line, params, text", [
    ("GET /nodes/pve1/qemu/999/config", {}, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"),
    ("GET /nodes/pve1/lxc/100/config", {}, "Configuration file 'nodes/pve1/lxc/100.conf' does not exist"),
    ("GET /nodes/pve2/qemu/100/config", {}, "Configuration file 'nodes/pve2/qemu-server/100.conf' does not exist"),
    ("PUT " + L + "/config", {}, "no options specified"),
    ("PUT " + L + "/config", {"onboot": 1, "digest": "0"}, "checksum mismatch (file change by other user?)"),
    ("PUT " + P + "/config", {"onboot": 1, "digest": "0"},
     "detected modified configuration - file changed by other user? Try again."),
    ("PUT " + L + "/config", {"args": "-vnc :1"}, "only root can set 'args' config"),
    ("PUT " + L + "/config", {"balloon": 4096}, "balloon value too large (must be smaller than assigned memory)"),
    ("PUT " + L + "/config", {"scsi1": "local-lvm:50G"}, "unable to parse lvm volume name '50G'"),
    ("PUT " + L + "/config", {"scsi1": "nowhere:1"}, "storage 'nowhere' does not exist"),
    ("PUT /nodes/pve2/qemu/106/config", {"onboot": 1}, "VM is locked (backup)"),
    ("PUT " + P + "/config", {"mp1": "local:1,mp=/x"},
     "storage 'local' does not allow content type 'rootdir' (Container)"),
    ("PUT " + P + "/config", {"unprivileged": 0}, "unable to modify read-only option: 'unprivileged'"),
    ("PUT " + P + "/resize", {"disk": "mp0", "size": "1G"}, "unable to shrink disk size"),
    ("PUT " + P + "/resize", {"disk": "mp0", "size": "20G"}, "disk is already at specified size"),
    ("POST " + P + "/move_volume", {"volume": "mp0", "storage": "tank"}, "cannot move volumes of a running container"),
    ("POST " + S + "/move_volume", {"volume": "rootfs", "storage": "scratch", "delete": 1},
     "you can't move a volume with snapshots and delete the source"),
    ("POST " + W + "/move_disk", {"disk": "scsi0", "storage": "local-lvm"},
     "you can't move to the same storage with same format"),
    ("POST " + W + "/move_disk", {"disk": "scsi0", "storage": "san", "delete": 1},
     "you can't move a disk with snapshots and delete the source"),
    ("POST " + W + "/move_disk", {"disk": "ide2", "storage": "san"}, "you can't move a cdrom"),
    ("POST " + W + "/move_disk", {"disk": "scsi0", "storage": "nowhere"}, "storage 'nowhere' does not exist"),
    ("POST " + L + "/status/reboot", {}, "VM 107 not running"),
    ("POST " + L + "/status/suspend", {}, "VM 107 not running"),
    ("POST " + L + "/status/reset", {}, "VM 107 not running"),
    ("POST /nodes/pve3/qemu/103/status/shutdown", {}, "VM is paused - cannot shutdown"),
    ("POST " + P + "/status/start", {}, "CT 201 already running"),
    ("POST " + S + "/status/stop", {}, "CT 203 not running"),
    ("POST " + S + "/status/reboot", {}, "VM 203 not running"),
    ("DELETE " + W, {}, "VM 100 is running - destroy failed"),
    ("DELETE " + D, {}, "can't remove VM 101 - protection mode enabled"),
    ("DELETE " + H, {}, "unable to remove VM 104 - used in HA resources and purge parameter not set."),
    ("DELETE " + P, {}, "unable to destroy CT 201 - container is running"),
    ("POST " + W + "/snapshot", {"snapname": "current"}, "unable to use snapshot name 'current' (reserved name)"),
    ("POST " + P + "/snapshot", {"snapname": "vzdump"}, "unable to use snapshot name 'vzdump' (reserved name)"),
    ("POST " + W + "/clone", {"newid": 104}, "unable to create VM 104: config file already exists"),
    ("POST " + P + "/clone", {"newid": 300}, "Full clone of a running container is only possible from a snapshot"),
    ("POST /nodes/pve2/lxc/205/clone", {"newid": 300}, "unable to clone mountpoint 'mp0' (type bind)"),
    ("POST " + W + "/clone", {"newid": 300, "target": "pve2"}, "can't clone VM to node 'pve2' (VM uses local storage)"),
    ("POST " + W + "/migrate", {"target": "pve2"}, "can't migrate running VM without --online"),
    ("POST " + P + "/migrate", {"target": "pve1"}, "can't migrate running container without --online or --restart"),
    ("POST /nodes/pve1/qemu", {"vmid": 100}, "unable to create VM 100 - VM 100 already exists on node 'pve1'"),
    ("POST /nodes/pve1/qemu", {"vmid": 101}, "unable to create VM 101 - VM 101 already exists on node 'pve2'"),
    ("POST /nodes/pve1/lxc", {"vmid": 200, "ostemplate": TEMPLATE}, "CT 200 already exists on node 'pve1'"),
    ("POST /nodes/pve1/lxc", {"vmid": 300, "ostemplate": ISO, "storage": "san"},
     "unable to use volume %s - content type needs to be 'vztmpl'" % ISO),
    ("POST /nodes/pve1/lxc", {"vmid": 300, "ostemplate": TEMPLATE, "mp0": "san:1,mp=/x"},
     "mount points configured, but 'rootfs' not set - aborting"),
    ("GET /nodes/pve1/storage/old-nas/content", {}, "storage 'old-nas' is not online"),
    ("GET /nodes/pve1/storage/archive/content", {}, "storage 'archive' is disabled"),
    ("GET /nodes/pve1/storage/tank/content", {}, "storage 'tank' is not available on node 'pve1'"),
    ("GET /nodes/pve3/disks/zfs", {}, "zfsutils-linux not installed"),
    ("POST " + L + "/agent/exec", {"command": "ls"}, "No QEMU guest agent configured"),
    ("POST " + X + "/agent/exec", {"command": "ls"}, "VM 102 is not running"),
    ("POST /nodes/pve3/qemu/103/agent/exec", {"command": "ls"}, "QEMU guest agent is not running"),
    ("GET " + W + "/agent/exec-status", {"pid": 1}, "Agent error: PID ld does not exist"),
    ("POST /cluster/ha/resources", {"sid": "vm:104"}, "resource ID 'vm:104' already defined"),
    ("GET " + W + "/firewall/rules/7", {}, "no rule at position 7"),
])
def test_refused_at_once(demo, line, params, text):
    before = json.dumps(demo("GET /cluster/resources"), sort_keys=True)
    assert demo(line, **params) == (500, text)
    assert json.dumps(demo("GET /cluster/resources"), sort_keys=True) == before


@pytest.mark.parametrize("line, params, kind, status", [
    ("POST " + W + "/status/start", {}, "qmstart", "VM 100 already running"),
    ("POST " + T + "/status/start", {}, "qmstart", "you can't start a vm if it's a template"),
    ("POST /nodes/pve2/qemu/106/status/start", {}, "qmstart", "VM is locked (backup)"),
    ("POST /nodes/pve1/qemu/108/status/shutdown", {"timeout": 9}, "qmshutdown",
     "VM quit/powerdown failed - got timeout"),
    ("PUT " + W + "/resize", {"disk": "scsi0", "size": "1G"}, "resize", "shrinking disks is not supported"),
    ("PUT " + W + "/resize", {"disk": "scsi9", "size": "1G"}, "resize", "disk 'scsi9' does not exist"),
    ("PUT " + W + "/resize", {"disk": "ide2", "size": "1G"}, "resize", "you can't resize a cdrom"),
    ("POST " + H + "/snapshot", {"snapname": "s1"}, "qmsnapshot", "snapshot feature is not available"),
    ("POST " + W + "/snapshot", {"snapname": "fresh-install"}, "qmsnapshot",
     "snapshot name 'fresh-install' already used"),
    ("DELETE " + W + "/snapshot/nope", {}, "qmdelsnapshot", "snapshot 'nope' does not exist"),
    ("POST " + F + "/snapshot/weekly-1/rollback", {}, "vzrollback",
     "can't rollback, 'weekly-1' is not most recent snapshot on 'tank:subvol-202-disk-0'"),
    ("POST " + W + "/clone", {"newid": 101}, "qmclone",
     "unable to create VM 101 - VM 101 already exists on node 'pve2'"),
    ("POST " + S + "/move_volume", {"volume": "rootfs", "storage": "nowhere"}, "move_volume",
     "storage 'nowhere' does not exist"),
    ("POST " + W + "/config", {"net2": "virtio,bridge=vmbr9"}, "qmconfig",
     "400 Parameter verification failed. net2: hotplug problem - bridge 'vmbr9' does not exist"),
    ("POST " + L + "/config", {"ide2": "nas:iso/no.iso,media=cdrom"}, "qmconfig",
     "volume 'nas:iso/no.iso' does not exist"),
    ("POST /nodes/pve1/vzdump", {"vmid": 999, "storage": "nas"}, "vzdump", "job errors"),
    ("POST /nodes/pve2/vzdump", {"vmid": 106, "storage": "nas"}, "vzdump", "job errors"),
    ("POST /nodes/pve1/vzdump", {"vmid": 100, "storage": "nas", "compress": "lzo"}, "vzdump", "job errors"),
    ("POST /nodes/pve1/vzdump", {"vmid": 104, "storage": "nas", "mode": "stop"}, "vzdump", "job errors"),
    ("POST /nodes/pve3/vzdump", {"vmid": 105, "storage": "scratch"}, "vzdump", "job errors"),
    ("POST /nodes/pve1/qemu", {"vmid": 300, "scsi0": "san:9000"}, "qmcreate",
     "unable to create VM 300 - not enough free space ('1565515579392' free, '9663676416000' needed)"),
    ("POST /nodes/pve1/lxc", {"vmid": 300, "ostemplate": "local:vztmpl/no.tar.zst", "rootfs": "san:1"}, "vzcreate",
     "unable to create CT 300 - volume 'local:vztmpl/no.tar.zst' does not exist"),
    ("POST " + W + "/migrate", {"target": "pve2", "online": 1}, "qmigrate", "migration aborted"),
    ("POST " + P + "/migrate", {"target": "pve1", "online": 1}, "vzmigrate", "migration aborted"),
    ("POST " + S + "/migrate", {"target": "pve1"}, "vzmigrate", "migration aborted"),
    ("POST /nodes/pve1/storage/local/download-url", {"url": "https://x.org/missing.iso", "content": "iso",
     "filename": "a.iso"}, "download", "download failed: command '/usr/bin/wget' failed: exit code 8"),
])
def test_tasks_that_fail(demo, line, params, kind, status):
    upid = demo(line, **params)
    assert upid.startswith("UPID:") and upid.split(":")[5] == kind and upid.endswith(":root@pam!demo:")
    assert demo.wait(upid).strip() == status
    last = demo.log(upid)[-1]
    assert last.startswith("TASK ERROR: ")
    if status == "job errors":
        assert any(line.startswith("ERROR: Backup of VM ") for line in demo.log(upid))
    if status == "migration aborted":
        assert re.match(r"20\S+ \S+ ERROR: migration aborted \(duration 00:00:00\): ", demo.log(upid)[-2])
    assert sane(demo.cluster.world)


def sane(world):
    """Every volume that a configuration names is there, and nothing but what was locked before is locked."""
    for guest in world.guests.values():
        for conf in [guest.conf] + [snapshot["conf"] for snapshot in guest.snapshots.values()]:
            for key, _, volid in guest.disks(conf):
                assert world.volume(volid, guest.node) is not None, (guest.vmid, key, volid)
        assert guest.lock is None or (guest.vmid, guest.lock) == (106, "backup"), (guest.vmid, guest.lock)
    for storage in world.storages.values():
        for node in world.nodes:
            for volume in storage.at(node).values():
                assert volume.content in storage.content, volume.volid
                if volume.content in ("images", "rootdir"):
                    assert volume.vmid in world.guests, volume.volid
    return True


def test_it_starts_sane(demo):
    assert sane(demo.cluster.world)


def test_an_image_in_a_drive_has_the_size_that_proxmox_would_write(demo):
    size = next(image["size"] for image in demo("GET /nodes/pve2/storage/nas/content", content="iso")
                if image["volid"] == "nas:iso/virtio-win-0.1.285.iso")
    assert demo("GET /nodes/pve2/qemu/102/config")["ide2"].endswith("size=" + size_text(size))


# ------------------------------------------------------------------------------------------------------- what works

def test_power_and_its_states(demo):
    def state():
        row = demo("GET " + W + "/status/current")
        return row["status"], row["qmpstatus"]
    for verb, wanted in (("suspend", ("running", "paused")), ("resume", ("running", "running")),
                         ("shutdown", ("stopped", "stopped")), ("shutdown", ("stopped", "stopped")),
                         ("stop", ("stopped", "stopped")), ("start", ("running", "running")),
                         ("reboot", ("running", "running")), ("reset", ("running", "running"))):
        assert demo.run("POST %s/status/%s" % (W, verb)) == "OK", verb
        assert state() == wanted, verb
    assert demo.run("POST " + W + "/status/suspend", todisk=1) == "OK"
    assert demo("GET " + W + "/status/current")["lock"] == "suspended" and state()[0] == "stopped"
    assert demo.run("POST " + W + "/status/resume") == "OK" and state()[0] == "running"
    assert sane(demo.cluster.world)


def test_a_task_takes_time_and_says_how_far_it_is(demo):
    upid = demo("POST " + W + "/clone", newid=300)
    assert demo.status(upid)["status"] == "running" and "exitstatus" not in demo.status(upid)
    assert demo("GET /nodes/pve1/tasks", source="active")[0]["upid"] == upid
    assert demo("GET " + W.replace("100", "300") + "/config")["lock"] == "clone"
    demo.seconds += 5
    assert re.search(r"transferred \d+\.\d GiB of 32\.0 GiB \(\d+\.\d\d%\)", demo.log(upid)[-1])
    assert demo.wait(upid) == "OK" and demo.log(upid)[-1] == "TASK OK"
    row = demo("GET /nodes/pve1/tasks", limit=1)[0]
    assert (row["upid"], row["status"], row["user"], row["tokenid"]) == (upid, "OK", "root@pam", "demo")


def test_a_killed_task(demo):
    upid = demo("POST /nodes/pve1/vzdump", vmid=100, storage="nas", remove=0)
    demo.seconds += 2
    assert demo("DELETE /nodes/pve1/tasks/" + upid) is None
    assert demo.status(upid)["exitstatus"] == "unexpected status"
    assert demo.run("POST " + W + "/status/shutdown") == "VM is locked (backup)"


def test_ha(demo):
    assert demo.run("POST " + H + "/status/stop") == "OK"
    assert demo("GET " + H + "/status/current")["status"] == "running"
    demo.seconds += 30
    row = demo("GET " + H + "/status/current")
    assert (row["status"], row["ha"]["state"]) == ("stopped", "stopped")
    assert [task["type"] for task in demo("GET /nodes/pve1/tasks", vmid=104)[:2]] == ["qmshutdown", "hastop"]
    assert demo.run("POST " + H + "/migrate", target="pve3") == "OK"
    demo.seconds += 60
    assert demo("GET /nodes/pve3/qemu/104/status/current")["status"] == "stopped"


def test_disks_come_and_go(demo):
    def conf(line=W):
        return demo("GET " + line + "/config")
    assert demo.run("POST " + W + "/config", scsi1="local-lvm:0.5,ssd=1", digest=conf()["digest"]) == "OK"
    assert conf()["scsi1"] == "local-lvm:vm-100-disk-1,size=512M,ssd=1"
    assert demo.run("POST " + W + "/config", scsi1="san:1") == "OK"            # replaced without a word
    assert conf()["scsi1"] == "san:vm-100-disk-0,size=1G" and conf()["unused0"] == "local-lvm:vm-100-disk-1"
    assert demo.run("POST " + W + "/config", delete="scsi1") == "OK" and conf()["unused1"] == "san:vm-100-disk-0"
    assert demo.run("POST " + W + "/config", delete="unused0,unused1") == "OK" and "unused0" not in conf()
    assert demo.run("POST " + W + "/config", sata0="local-lvm:1") == "OK"       # no hot-plug: pending
    assert {"key": "sata0", "pending": "local-lvm:vm-100-disk-1,size=1G"} in demo("GET " + W + "/pending")
    assert "sata0" in conf() and "sata0" not in demo("GET " + W + "/config", current=1)
    assert demo.run("POST " + W + "/config", delete="scsi9") == "OK"            # not set: OK all the same
    assert demo.run("POST " + W + "/config", delete="scsi0",
                    force=1) == "400 Parameter verification failed. scsi0: hotplug " \
        "problem - unable to delete 'local-lvm:vm-100-disk-0' - volume is still in use (snapshot?)"
    assert demo.run("POST " + W + "/config", revert="scsi0") == "OK"
    assert demo.run("PUT " + W + "/resize", disk="scsi0", size="+1G") == "OK"
    assert "size=33G" in conf()["scsi0"]
    assert demo.run("POST " + X + "/move_disk", disk="unused0", storage="san", delete=1) == "OK"
    assert conf(X)["unused0"].startswith("san:")
    assert demo("PUT " + P + "/config", mp1="tank:2,mp=/data") is None
    assert conf(P)["mp1"] == "tank:subvol-201-disk-0,mp=/data,size=2G"
    assert demo("PUT " + P + "/config", delete="mp1") is None
    assert {"key": "mp1", "value": "tank:subvol-201-disk-0,mp=/data,size=2G",
            "delete": 1} in demo("GET " + P + "/pending")
    assert demo.run("POST " + P + "/status/stop") == "OK" and conf(P)["unused0"] == "tank:subvol-201-disk-0"
    assert sane(demo.cluster.world)


def test_what_a_running_guest_takes_on_at_once(demo):
    for line, values, waiting in (
            (W, {"memory": "8192"}, ["memory"]), (W, {"cores": 8}, ["cores", "memory"]),
            (W, {"name": "www"}, ["cores", "memory"]),
            (W, {"net0": "virtio=BC:24:11:00:01:00,bridge=vmbr1"}, ["cores", "memory"]),
            (P, {"memory": 2048, "cores": 1}, []), (P, {"features": "nesting=0"}, ["features"]),
            (P, {"net0": "name=eth0,bridge=vmbr0,ip=dhcp"}, ["features"])):
        demo.run(("POST " if line == W else "PUT ") + line + "/config", **values)
        pending = sorted(row["key"] for row in demo("GET " + line + "/pending") if "pending" in row)
        assert pending == waiting, values
    assert demo("GET " + P + "/config")["net0"] == "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:0A:10:00,ip=dhcp,type=veth"
    demo.run("POST " + W + "/config", revert="memory")
    assert demo("GET " + W + "/config")["memory"] == "4096"


def test_snapshots(demo):
    assert demo.run("POST " + W + "/snapshot", snapname="now", description="x", vmstate=1) == "OK"
    rows = {row["name"]: row for row in demo("GET " + W + "/snapshot")}
    assert rows["now"]["parent"] == "before-upgrade" and rows["current"]["parent"] == "now" and rows["now"][
        "vmstate"] == 1
    assert demo.run("POST " + W + "/config", scsi1="local-lvm:1") == "OK"
    assert demo.run("POST " + W + "/snapshot/fresh-install/rollback") == "OK"
    conf = demo("GET " + W + "/config")
    assert conf["memory"] == "2048" and "scsi1" not in conf and conf["unused0"] == "local-lvm:vm-100-disk-1"
    assert demo("GET " + W + "/status/current")["status"] == "stopped"
    assert demo.run("DELETE " + W + "/snapshot/before-upgrade") == "OK"
    assert {row["name"]: row.get("parent") for row in demo("GET " + W + "/snapshot")} == {
        "fresh-install": None, "now": "fresh-install", "current": "fresh-install"}
    assert sane(demo.cluster.world)


def test_backup_and_restore(demo):
    assert demo("POST /nodes/pve1/vzdump", vmid=101, storage="nas") == "OK"     # it is on pve2: nothing was done
    upid = demo("POST /nodes/pve1/vzdump", vmid=200, storage="nas", compress="zstd", remove=0, protected=1,
                notes__template="{{guestname}} {{vmid}}")
    assert demo("GET /nodes/pve1/lxc/200/config")["lock"] == "backup"
    assert demo.wait(upid) == "OK" and "INFO: Backup job finished successfully" in demo.log(upid)
    row = demo("GET /nodes/pve1/storage/nas/content", content="backup", vmid=200)[-1]
    assert (row["notes"], row["protected"], row["format"], row["subtype"]) == ("dns 200", 1, "tar.zst", "lxc")
    path = "/nodes/pve1/storage/nas/content/" + row["volid"]
    assert demo.run("DELETE " + path) == "cannot remove protected volume '%s' on 'nas'" % row["volid"][4:]
    assert demo("POST /nodes/pve1/lxc", vmid=200, ostemplate=row["volid"], restore=1, storage="san") == (
        500, "unable to restore CT 200 - CT 200 already exists on node 'pve1'")
    assert demo("POST /nodes/pve1/lxc", vmid=200, ostemplate=row["volid"], restore=1, force=1, storage="san") == (
        500, "can't overwrite running container")
    assert demo.run("POST /nodes/pve1/lxc", vmid=300, ostemplate=row["volid"], restore=1, storage="san",
                    unique=1) == "OK"
    conf = demo("GET /nodes/pve1/lxc/300/config")
    assert conf["rootfs"] == "san:vm-300-disk-0,size=4G" and "BC:24:11:0A" in conf["net0"]
    assert demo("PUT " + path, protected=0) is None and demo.run("DELETE " + path) == "OK"
    vm = demo("GET /nodes/pve1/storage/pbs/content", vmid=101)[-1]
    assert vm["volid"].startswith("pbs:backup/vm/101/2025-12-30T") and vm["format"] == "pbs-vm"
    demo("PUT " + D + "/config", protection=0)
    assert demo.run("POST /nodes/pve2/qemu", vmid=101, archive=vm["volid"],
                    force=1) == "unable to restore VM 101 - vm is running"
    assert demo.run("POST " + D + "/status/stop") == "OK"
    assert demo.run("POST /nodes/pve2/qemu", vmid=101, archive=vm["volid"], force=1) == "OK"
    assert sane(demo.cluster.world)


def test_a_backup_prunes_unless_told_otherwise(demo):
    def count():
        return len(demo("GET /nodes/pve1/storage/nas/content", content="backup", vmid=100))
    assert count() == 4 and demo.run("POST /nodes/pve1/vzdump", vmid=100, storage="nas",
                                     remove=0) == "OK" and count() == 5
    assert demo.run("POST /nodes/pve1/vzdump", vmid=100, storage="nas",
                    prune__backups="keep-last=1") == "OK" and count() == 2
    assert demo.run("POST /nodes/pve3/vzdump", vmid=203, storage="scratch", compress="zstd", remove=0) == "OK"
    upid = demo("POST /nodes/pve3/vzdump", vmid=203, storage="scratch", remove=0)
    assert demo.wait(upid) == "job errors" and "There is a max backup limit of 1 enforced by" in "".join(demo.log(upid))


def test_one_backup_at_a_time_on_a_node(demo):
    first = demo("POST /nodes/pve1/vzdump", vmid=100, storage="nas", remove=0)
    second = demo("POST /nodes/pve1/vzdump", vmid=200, storage="nas", remove=0)
    assert demo.log(second)[-1] == "INFO: trying to get global lock - waiting..."
    assert demo.wait(first) == demo.wait(second) == "OK" and "INFO: got global lock" in demo.log(second)


def test_new_guests(demo):
    assert demo.run("POST /nodes/pve1/qemu", vmid=300, name="new", memory=2048, scsihw="virtio-scsi-single",
                    ostype="l26",
                    scsi0="local-lvm:32,iothread=1", net0="virtio,bridge=vmbr0,firewall=1", ide2=ISO + ",media=cdrom",
                    start=1, pool="lab") == "OK"
    conf = demo("GET /nodes/pve1/qemu/300/config")
    assert conf["boot"] == "order=scsi0;ide2;net0" and conf["scsi0"] == "local-lvm:vm-300-disk-0,iothread=1,size=32G"
    assert conf["net0"] == "virtio=BC:24:11:0A:10:00,bridge=vmbr0,firewall=1"
    assert demo("GET /nodes/pve1/qemu/300/status/current")["status"] == "stopped"      # the start is its own task
    assert demo.wait(demo("GET /cluster/tasks")[0]["upid"]) == "OK"
    assert demo("GET /nodes/pve1/qemu/300/status/current")["status"] == "running"
    assert 300 in [member["vmid"] for member in demo("GET /pools/lab")["members"] if member["type"] == "qemu"]
    assert demo.run("POST /nodes/pve1/lxc", vmid=301, ostemplate=TEMPLATE, rootfs="local-lvm:8", features="nesting=1",
                    hostname="ct", net0="name=eth0,bridge=vmbr0,ip=dhcp") == "OK"
    assert demo.run("POST /nodes/pve1/lxc", vmid=302, ostemplate=TEMPLATE, rootfs="local-lvm:8") == "WARNINGS: 1"
    assert demo("GET /nodes/pve1/lxc/301/config")["unprivileged"] == 1
    assert demo.run("POST " + T + "/clone", newid=303, name="linked") == "OK"
    assert demo("DELETE " + T) == (500, "base volume 'base-9000-disk-0' is still in use by linked cloned")
    assert demo.run("POST " + T + "/clone", newid=304, full=1, storage="san", target="pve3") == "OK"
    assert demo("GET /nodes/pve3/qemu/304/config")["name"] == "Copy-of-VM-debian-13-template"
    for path in ("/nodes/pve1/lxc/301", "/nodes/pve1/lxc/302", "/nodes/pve1/qemu/303", "/nodes/pve3/qemu/304"):
        assert demo.run("DELETE " + path, purge=1) == "OK"
    assert demo.run("POST " + L + "/template") == "OK" and "base-107-disk-0" in demo("GET " + L + "/config")["scsi0"]
    assert demo("POST " + S + "/template") == (500, "unable to create template, because CT contains snapshots")
    assert sane(demo.cluster.world)


def test_migration_takes_the_disks_along(demo):
    assert demo("GET " + W + "/migrate", target="pve2")["local_disks"][0]["volid"] == "local-lvm:vm-100-disk-0"
    assert demo("GET " + D + "/migrate")["not_allowed_nodes"]["pve1"] == {"unavailable_storages": ["tank"]}
    upid = demo("POST " + W + "/migrate", target="pve2", online=1, with__local__disks=1)
    assert demo.wait(upid) == "migration aborted" and "snapshot exists" in "".join(demo.log(upid))
    assert demo.run("POST /nodes/pve3/qemu/105/migrate", target="pve2", online=1, with__local__disks=1) == "OK"
    assert demo("GET /nodes/pve2/qemu/105/status/current")["status"] == "running"
    assert demo.run("POST /nodes/pve1/lxc/200/migrate", target="pve3", restart=1) == "OK"
    assert sane(demo.cluster.world)


# --------------------------------------------------------------------------------------------------------------- agent

NOT_SCRIPTED = "sh: 1: the shell of the demo knows words, quotes, ; && || and | only\n"


@pytest.mark.parametrize("command, stdin, expected", [
    (["uname", "-r"], "", {"exitcode": 0, "out-data": "6.12.48+deb13-amd64\n"}),
    (["/bin/sh", "-c", "hostname; echo a b | wc -c"], "", {"exitcode": 0, "out-data": "web01\n4\n"}),
    (["/bin/sh", "-c", "nope"], "", {"exitcode": 127, "err-data": "sh: 1: nope: not found\n"}),
    (["/bin/sh", "-c", "false || exit 3; echo no"], "", {"exitcode": 3}),
    (["/bin/sh", "-c", 'exec "$@"', "sh", "echo", "a  b", "$(c)"], "", {"exitcode": 0, "out-data": "a  b $(c)\n"}),
    (["/bin/sh", "-c", 'exec "$@"', "sh", "nope"], "", {"exitcode": 127, "err-data": "sh: 1: exec: nope: not found\n"}),
    (["/bin/sh", "-c", "cat /etc/motd"], "", {"exitcode": 0, "out-data": "GrÃ¼Ã\x9fe von web01\n"}),
    (["/bin/sh", "-c", 'eval "$(cat)"'], "echo 'x;y' '$HOME'", {"exitcode": 0, "out-data": "x;y $HOME\n"}),
    (["/bin/sh", "-c", "echo $HOME"], "", {"exitcode": 2, "err-data": NOT_SCRIPTED}),
])
def test_agent_exec(demo, command, stdin, expected):
    params = {"input__data": stdin} if stdin else {}
    pid = demo("POST " + W + "/agent/exec", command=command, **params)["pid"]
    assert demo("GET " + W + "/agent/exec-status", pid=pid) == {"exited": 0}
    demo.seconds += 1
    assert demo("GET " + W + "/agent/exec-status", pid=pid) == dict(expected, exited=1)
    assert demo("GET " + W + "/agent/exec-status", pid=pid) == (500, "Agent error: PID ld does not exist")


def test_agent_exec_of_a_program_that_is_not_there(demo):
    for command in ("nope", "ls -l"):
        status, reason, _, body = demo.raw("POST", "/api2/json" + W + "/agent/exec",
                                           urlencode({"command": command}).encode())
        assert (status, reason, body) == (596, "Broken pipe", b"")
    assert demo("POST " + W + "/agent/exec", command=["echo", "ä"])[0] == 500
    assert demo.run("POST " + W + "/status/reset") == "OK"
    pid = demo("POST " + W + "/agent/exec", command=["sleep", "60"])["pid"]
    demo.seconds += 59
    assert demo("GET " + W + "/agent/exec-status", pid=pid) == {"exited": 0}


# -------------------------------------------------------------------------------------------------------------- rights

def _tokens(acl):
    return {"a@pve!t": {"value": "v", "acl": acl}}


AUDITOR = {"/": ROLES["PVEAuditor"]}


@pytest.mark.parametrize("acl, line, params, expected", [
    (AUDITOR, "POST " + W + "/status/start", {}, (403, "Permission check failed (/vms/100, VM.PowerMgmt)")),
    (AUDITOR, "POST /nodes/pve1/qemu", {"vmid": 300}, (403, "Permission check failed (/vms/300, VM.Allocate)")),
    (AUDITOR, "GET /nodes/pve1/apt/update", {}, (403, "Permission check failed (/nodes/pve1, Sys.Modify)")),
    (AUDITOR, "POST " + W + "/clone", {"newid": 300}, (403, "Permission check failed (/vms/100, VM.Clone)")),
    (AUDITOR, "GET /nodes/pve1/storage/nas/content", {"content": "backup"}, []),
    (AUDITOR, "POST /nodes/pve1/vzdump", {"vmid": 100, "storage": "nas"},
     (403, "Permission check failed (/storage/nas, Datastore.AllocateSpace)")),
    ({}, "GET /cluster/resources", {"type": "vm"}, []),
    ({}, "GET /cluster/status", {}, (403, "Permission check failed (/, Sys.Audit)")),
    ({}, "GET " + W + "/config", {}, (403, "Permission check failed (/vms/100, VM.Audit)")),
    ({}, "GET /nodes/pve1/storage/nas/content", {},
     (403, "Permission check failed (/storage/nas, Datastore.Audit|Datastore.AllocateSpace)")),
    ({}, "POST " + W + "/agent/ping", {},
     (403, "Permission check failed (/vms/100, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)")),
    ({"/vms": ["VM.PowerMgmt"], "/vms/100": ["VM.Audit"]}, "POST " + W + "/status/start", {},
     (403, "Permission check failed (/vms/100, VM.PowerMgmt)")),
    ({"/vms/107": ["VM.Config.Network"]}, "PUT " + L + "/config", {"net1": "virtio,bridge=vmbr0,tag=5"},
     (403, "Permission check failed (/sdn/zones/localnetwork/vmbr0/5, SDN.Use)")),
    ({"/vms/107": ["VM.Config.Options"]}, "PUT " + L + "/config", {"memory": 2048},
     (403, "Permission check failed (/vms/107, VM.Config.Memory)")),
    ({"/vms/107": ["VM.Config.Disk"]}, "PUT " + L + "/config", {"scsi1": "local-lvm:1"},
     (403, "Permission check failed (/storage/local-lvm, Datastore.AllocateSpace)")),
    ({"/vms/107": ["VM.Config.Options"]}, "PUT " + L + "/config", {"onboot": 1}, None),
    ({"/pool/lab": ["VM.Config.Options"]}, "PUT " + L + "/config", {"onboot": 1}, None),
    ({"/": ROLES["Administrator"]}, "PUT " + P + "/config", {"mp1": "/etc,mp=/x"},
     (403, "Permission check failed (mount point type bind is only allowed for root@pam)")),
    ({"/": ROLES["Administrator"]}, "PUT " + P + "/config", {"features": "fuse=1,nesting=1"},
     (403, "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)")),
])
def test_rights(acl, line, params, expected):
    demo = Demo(token="a@pve!t=v", tokens=_tokens(acl))
    assert demo(line, **params) == expected


def test_rights_are_checked_before_parameters_and_tasks_belong_to_their_user():
    demo = Demo(token="a@pve!t=v", tokens=dict(_tokens({"/vms/107": ["VM.PowerMgmt"]}), **{
        "b@pve!u": {"value": None, "acl": {}}}))
    assert demo("POST " + W + "/status/start", nonsense=1)[0] == 403
    upid = demo("POST " + L + "/status/start")
    assert demo.status(upid)["tokenid"] == "t" and [row["upid"] for row in demo("GET /cluster/tasks")] == [upid]
    demo.headers["Authorization"] = "PVEAPIToken=b@pve!u=any"
    assert demo.status(upid) == (403, "Permission check failed (/nodes/pve3, Sys.Audit)")
    assert demo("DELETE /nodes/pve3/tasks/" + upid) == (403, "Permission check failed (/nodes/pve3, Sys.Modify)")
    assert demo("GET /access/permissions") == {}


def test_wrong_secret():
    demo = Demo(token="a@pve!t=other", tokens=_tokens(AUDITOR))
    assert demo.raw("GET", "/api2/json/version")[:2] == (401, "Authentication failed!")


def test_before_9_the_agent_takes_vm_monitor():
    demo = Demo(token="a@pve!t=v", tokens=_tokens({"/vms": ["VM.Audit"]}), version="8.4")
    assert demo("POST " + W + "/agent/ping") == (403, "Permission check failed (/vms/100, VM.Monitor)")


# --------------------------------------------------------------------------------------------------------------- reads

VALUES = {"vmid": "100", "storage": "nas", "iface": "vmbr0", "name": "tank", "service": "sshd", "poolid": "lab",
          "pos": "0",
          "userid": "root@pam", "roleid": "PVEAuditor", "id": "202-0", "sid": "vm:104",
          "volume": ISO}
QUERIES = {"rrddata": {"timeframe": "hour"}, "smart": {"disk": "/dev/sda"},
           "extractconfig": None, "feature": {"feature": "snapshot"}, "file-read": {"file": "/etc/hostname"},
           "exec-status": None}


def _reads(demo):
    for (verb, template), _ in sorted(TABLE.routes.items()):
        query = QUERIES.get(template.rpartition("/")[2], {})
        if verb != "GET" or query is None or template == "/cluster/ha/groups":      # those are no more
            continue
        node, values = "pve1" if "/qemu/" in template else "pve2", dict(VALUES)
        if "/lxc/" in template:
            values.update(vmid="202", snapname="weekly-1")
        else:
            values["snapname"] = "fresh-install"
        if template.startswith("/cluster/backup/"):
            values["id"] = "backup-nightly"
        values["upid"] = next(task.upid for task in demo.cluster.world.tasks.all.values() if task.node == node)
        path = re.sub(r"\{(\w+)\}", lambda match: dict(values, node=node)[match.group(1)], template)
        if path.endswith("/firewall/rules/0") and "/lxc/" in path:
            continue
        yield path, query


def test_every_read_answers_and_is_the_same_in_two_clusters(demo, monkeypatch):
    monkeypatch.setattr("gzip.time.time", lambda: 1767225600.0)         # it is in what gzip packs
    demo.cluster.world.firewall["pve2"] = {"options": {}, "rules": [{"type": "in", "action": "ACCEPT", "enable": 1}]}
    other = Demo()
    other.cluster.world.firewall["pve2"] = demo.cluster.world.firewall["pve2"]
    count = 0
    for path, query in _reads(demo):
        target = "/api2/json" + path + ("?" + urlencode(query) if query else "")
        status, reason, _, body = demo.raw("GET", target)
        assert status == 200, (path, reason)
        assert other.raw("GET", target)[3] == body, path
        count += 1
    assert count > 75


def test_values_move_with_the_clock(demo):
    def web():
        return next(row for row in demo("GET /cluster/resources", type="vm") if row["vmid"] == 100)
    before = web()
    demo.seconds += 60
    after = web()
    assert after["uptime"] == before["uptime"] + 60 and after["netin"] > before["netin"] and after["cpu"] != before[
        "cpu"]
    assert 0 < after["cpu"] < 1 and 0 < after["mem"] < after["maxmem"]
    rows = demo("GET " + W + "/rrddata", timeframe="day")
    assert len(rows) == 70 and len({row["cpu"] for row in rows}) > 60


def test_what_is_there_to_see(demo):
    rows = demo("GET /cluster/resources")
    assert {row["type"] for row in rows} == {"qemu", "lxc", "node", "storage", "pool", "sdn"}
    assert len([row for row in rows if row["type"] in ("qemu", "lxc")]) == 17
    assert {row["lock"] for row in rows if "lock" in row} == {"backup"}
    assert demo("GET /nodes/pve2/disks/zfs")[0]["health"] == "DEGRADED"
    assert "FAILED!" in [row["health"] for row in demo("GET /nodes/pve2/disks/list")]
    assert not [row for row in demo("GET /nodes/pve1/disks/list") if row["type"] == "partition"]
    assert demo("GET /nodes/pve2/disks/smart", disk="/dev/sdd")["attributes"][1]["fail"] == "FAILING_NOW"
    assert "Percentage Used" in demo("GET /nodes/pve1/disks/smart", disk="/dev/nvme0n1")["text"]
    assert "search" not in demo("GET /nodes/pve3/dns")
    assert "iface" not in demo("GET /nodes/pve1/network/vmbr0")
    assert json.loads(demo.raw("GET", "/api2/json/nodes/pve2/network")[3])["changes"].startswith("--- ")
    states = {row["storage"]: (row["enabled"], row["active"]) for row in demo("GET /nodes/pve1/storage")}
    assert states["old-nas"] == (1, 0) and states["archive"] == (0, 0) and "tank" not in states
    assert [row["key"] for row in demo("GET /nodes/pve3/qemu/105/pending") if "pending" in row or "delete" in row] == [
        "cores", "memory", "net0"]
    assert json.loads(demo.raw("GET", "/api2/json/nodes/pve1/tasks?limit=1")[3])["total"] > 5
    assert len(demo("GET /nodes/pve2/tasks", errors=1)) == 2


def test_offline_nodes_and_quorum(demo):
    demo.cluster.offline = {"pve3"}
    assert demo.raw("GET", "/api2/json/nodes/pve3/status")[:2] == (595, "No route to host")
    assert demo.raw("GET", "/api2/json/nodes/pve3/status")[3] == b""
    assert demo("GET /nodes/pve3/qemu/105/rrddata", timeframe="hour")
    rows = {row["node"]: row for row in demo("GET /nodes")}
    assert rows["pve3"]["status"] == "offline" and "mem" not in rows["pve3"]
    assert {row["status"] for row in demo("GET /cluster/resources", type="vm") if row["node"] == "pve3"} == {"unknown"}
    assert demo("PUT /nodes/pve1/qemu/100/config", onboot=0) is None
    demo.cluster.offline.add("pve1")
    assert demo("GET /cluster/status")[0]["quorate"] == 0
    demo.cluster.offline.clear()
    assert demo("POST /nodes/pve3/status", command="reboot") is None
    demo.seconds += 10
    assert demo.raw("GET", "/api2/json/nodes/pve3/status")[0] == 595
    demo.seconds += 120
    assert demo("GET /nodes/pve3/status")["uptime"] < 60


# ----------------------------------------------------------------------------------------------------- the schema file

def test_the_schema_file_describes_exactly_the_table(demo):
    status, _, headers, body = demo.cluster.handle("GET", "/pve-docs/api-viewer/apidoc.js", {})
    assert status == 200 and headers["Content-Type"] == "application/javascript" and "Content-Encoding" not in headers
    text = body.decode()
    tree, end = json.JSONDecoder().raw_decode(text, text.index("["))
    assert text.startswith("const apiSchema = [") and text[end:].startswith("\n;\n\nlet method2cmd = ")
    found = set()

    def walk(nodes):
        for node in nodes:
            assert node["path"].endswith(node["text"]) and bool(node.get("children")) == (not node["leaf"])
            for verb, info in node.get("info", {}).items():
                found.add((verb, node["path"]))
                assert info["method"] == verb and info["description"] and info["parameters"][
                    "additionalProperties"] == 0
                for name, rule in info["parameters"]["properties"].items():
                    assert rule.get("type") and "description" in rule, (node["path"], name)
            walk(node.get("children", []))
    walk(tree)
    assert found == set(TABLE.routes)
    packed = demo.cluster.handle("GET", "/pve-docs/api-viewer/apidoc.js", {"Accept-Encoding": "gzip, deflate"})
    assert packed[2]["Content-Encoding"] == "gzip" and gzip.decompress(packed[3]) == body and len(packed[3]) < len(
        body) / 5
    again = demo.cluster.handle("GET", "/pve-docs/api-viewer/apidoc.js",
                                {"If-Modified-Since": headers["Last-Modified"]})
    assert again[0] == 304 and again[3] == b""


# ------------------------------------------------------------------------------------------------------ scale, threads

def test_ten_thousand_guests():
    demo = Demo(guests=10000)
    rows = demo("GET /cluster/resources", type="vm")
    assert len(rows) == 10000 and len({row["node"] for row in rows}) == 20
    assert demo("GET /cluster/nextid") == "10100"
    assert demo.run("POST /nodes/node01/qemu/100/status/shutdown") == "OK"
    assert sane(demo.cluster.world)


def test_threads(demo):
    failures = []

    def work(vmid):
        for number in range(20):
            answer = demo("PUT /nodes/pve1/qemu/%d/config" % vmid, description="note %d" % number)
            if answer is not None or demo("GET /cluster/resources")[0]["vmid"] != 100:
                failures.append(answer)
    threads = [threading.Thread(target=work, args=(vmid,)) for vmid in (100, 104, 108, 9000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures and len(demo.cluster.requests) == 160


# ------------------------------------------------------------------------------------------------- adapter and front

def test_below_requests():
    session = requests.Session()
    cluster = DemoCluster()
    session.mount("https://", cluster)
    session.headers.update(TOKEN)
    reply = session.post("https://demo:8006/api2/json" + W + "/agent/exec", data={"command": ["echo", "a=b;c"]})
    assert reply.status_code == 200 and cluster.requests[-1][2] == {"command": ["echo", "a=b;c"]}
    reply = session.put("https://demo:8006/api2/json" + W + "/config", data={"description": "100% & more = ä"})
    assert reply.json() == {"data": None} and reply.reason == "OK"
    assert session.get("https://demo:8006/api2/json" + W
                       + "/config").json()["data"]["description"] == "100% & more = ä\n"
    reply = session.delete("https://demo:8006/api2/json" + W)
    assert (reply.status_code, reply.reason) == (500, "VM 100 is running - destroy failed")
    page = session.get("https://demo:8006/pve-docs/api-viewer/apidoc.js", stream=True)
    assert next(page.iter_content(5000)).startswith(b"const apiSchema = [")
    cluster.offline = {"pve2"}
    with pytest.raises(NotSent):
        session.get("https://pve2:8006/api2/json/version")


def test_front():
    with Front(DemoCluster()) as front:
        url = "https://127.0.0.1:%d/api2/json" % front.port
        with requests.Session() as session:
            assert session.get(url + "/nodes", headers=TOKEN, verify=front.cert).json()["data"][0]["node"] == "pve1"
            reply = session.get(url + "/nodes", verify=front.cert)
            assert (reply.status_code, reply.reason, reply.content) == (401, "No ticket", b"")
            reply = session.get(url + "/nodes/pve9/status", headers=TOKEN, verify=front.cert)
            assert reply.status_code == 500 and reply.json()["message"].startswith("hostname lookup 'pve9' failed")
        assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", front.fingerprint)


def test_property_strings_are_printed_as_proxmox_prints_them():
    for text, printed in (("bridge=vmbr0,virtio=bc:24:11:00:00:01,firewall=1",
                           "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1"),
                          ("model=e1000,macaddr=BC:24:11:00:00:01,tag=5", "e1000=BC:24:11:00:00:01,tag=5")):
        assert drives.print_net(drives.parse_net(text)) == printed


@pytest.mark.parametrize("parameters", [{"machine": "pcfoo"}, {"usb0": "host=zzspice"}])
def test_alternatives_of_a_pattern_are_matched_whole(parameters):
    cluster = DemoCluster()
    headers = {"Authorization": "PVEAPIToken=root@pam!demo=11111111-2222-3333-4444-555555555555"}
    body = "&".join("%s=%s" % pair for pair in parameters.items()).encode()
    status, _, _, content = cluster.handle("POST", "/api2/json/nodes/pve3/qemu/107/config", dict(
        headers, **{"Content-Type": "application/x-www-form-urlencoded"}), body)
    assert status == 400 and next(iter(parameters)).encode() in content
