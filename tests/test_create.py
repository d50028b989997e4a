"""New guests: the exact creation requests, sizes, defaults, and that no password is ever shown or invented."""
import json

import pytest

from support import Bench
from tools.kit import definition
from tools.create import TOOLS

ALPINE = "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
ISO = "nas:iso/virtio-win-0.1.285.iso"
LXC, VM = "POST /nodes/pve1/lxc", "POST /nodes/pve1/qemu"
CT_NET = "net0=name=eth0,bridge=vmbr0,ip=dhcp,firewall=1"
VM_BASE = "cores=1 cpu=x86-64-v2-AES memory=512"
VM_NET, VM_REST = "net0=virtio,bridge=vmbr0,firewall=1 ostype=l26", "scsihw=virtio-scsi-single sockets=1"
CLOUD = "local:import/debian-13-genericcloud-amd64.qcow2"


def _image(bench):
    from tools.pve.demo.model import Volume
    bench.cluster.world.storages["local"].at("pve1")[CLOUD] = Volume(CLOUD, "import", 3 << 30, format="qcow2")


CASES = [
    ("proxmox_list_templates", {"node": "pve1"}, [
        "GET /nodes/pve1/storage content=vztmpl enabled=1", "GET /nodes/pve1/storage/local/content content=vztmpl",
        "GET /nodes/pve1/storage/nas/content content=vztmpl"]),
    ("proxmox_list_templates", {"node": "pve1", "storage": "local"}, ["GET /nodes/pve1/storage/local/content "
                                                                      "content=vztmpl"]),
    ("proxmox_create_lxc", {"node": "pve1", "vmid": 300, "ostemplate": ALPINE, "hostname": "web", "password":
                            "correct horse",
                            "memory": 1024, "storage": "local-lvm", "rootfs_size": "16"},
     [LXC + " features=nesting=1 hostname=web memory=1024 " + CT_NET + " ostemplate=" + ALPINE + " password=correct "
                                                                                                 "horse "
                                                                                                 "rootfs=local-lvm:16 "
                                                                                                 "storage=local-lvm "
                                                                                                 "unprivileged=1 "
                                                                                                 "vmid=300"]),
    ("proxmox_create_lxc", {"node": "pve1", "vmid": 300, "ostemplate": ALPINE, "wait": 60},
     ["GET /nodes/pve1/storage content=rootdir enabled=1", LXC + " features=nesting=1 memory=512 " + CT_NET + " "
                                                                                                              "ostemplate=" + ALPINE +
      " rootfs=local-lvm:8 storage=local-lvm unprivileged=1 vmid=300"]),
    ("proxmox_create_lxc", {"node": "pve1", "vmid": 300, "ostemplate": ALPINE, "storage": "san", "rootfs": "512M",
                            "cores": 2, "swap": 0,
                            "bridge": "vmbr1", "ip": "192.168.1.5/24", "gw": "192.168.1.1", "tag": 5,
                            "nameserver": "1.1.1.1 9.9.9.9",
                            "ssh_public_keys": "ssh-ed25519 AAAA me@here\nssh-ed25519 BBBB", "features": "nesting=0",
                            "onboot": True,
                            "tags": "web;prod", "pool": "production"},
     [LXC + " cores=2 features=nesting=0 memory=512 nameserver=1.1.1.1 9.9.9.9 "
            "net0=name=eth0,bridge=vmbr1,ip=192.168.1.5/24,gw=192.168.1.1,tag=5,firewall=1 "
            "onboot=1 ostemplate=" + ALPINE + " pool=production rootfs=san:0.5 ssh-public-keys=ssh-ed25519 AAAA "
                                              "me@here\nssh-ed25519 BBBB storage=san swap=0 tags=web;prod "
                                              "unprivileged=1 vmid=300"]),
    ("proxmox_create_lxc", {"node": "pve1", "vmid": 300, "ostemplate": ALPINE, "storage": "local-lvm",
                            "unprivileged": False, "start": True,
                            "net0": "name=lan,bridge=vmbr1,ip=manual"},
     [LXC + " memory=512 net0=name=lan,bridge=vmbr1,ip=manual ostemplate=" + ALPINE + " rootfs=local-lvm:8 start=1 "
                                                                                      "storage=local-lvm "
                                                                                      "unprivileged=0 vmid=300",
                                                                                      "GET "
                                                                                      "/nodes/pve1/lxc/300/status/current"]),
    ("proxmox_create_vm", {"node": "pve1", "vmid": 300, "name": "web", "memory": 2048, "cores": 2, "disk_size": "50G",
                           "storage": "local-lvm",
                           "iso": ISO, "bridge": "vmbr0"},
     ["GET /nodes/pve1/version", VM + " cores=2 cpu=x86-64-v2-AES ide2=" + ISO + ",media=cdrom "
                                                                                 "memory=2048 name=web " + VM_NET +
      " scsi0=local-lvm:50,iothread=1,discard=on " + VM_REST + " vmid=300"]),
    ("proxmox_create_vm", {"node": "pve1", "vmid": 300, "wait": 60},
     ["GET /nodes/pve1/storage content=images enabled=1", "GET /nodes/pve1/version", " ".join([
         VM, VM_BASE, VM_NET, "scsi0=local-lvm:8,iothread=1,discard=on", VM_REST, "vmid=300"])]),
    ("proxmox_create_vm", {"node": "pve1", "vmid": 300, "storage": "san", "disk_size": "0.5T", "sockets": 2,
                           "cpu": "host", "machine": "q35",
                           "bios": "ovmf", "agent": True, "tag": 7, "onboot": False, "tags": "a;b",
                           "pool": "production"},
     [VM + " agent=1 bios=ovmf cores=1 cpu=host efidisk0=san:1,efitype=4m,pre-enrolled-keys=1 machine=q35 memory=512 "
           "net0=virtio,bridge=vmbr0,tag=7,firewall=1 onboot=0 ostype=l26 pool=production "
           "scsi0=san:512,iothread=1,discard=on scsihw=virtio-scsi-single sockets=2 tags=a;b vmid=300"]),
    ("proxmox_create_vm", {"node": "pve1", "vmid": 300, "storage": "local-lvm", "ostype": "win11", "cpu": "host",
                           "net0": "e1000,bridge=vmbr1",
                           "start": True},
     [VM + " bios=ovmf cores=1 cpu=host efidisk0=local-lvm:1,efitype=4m,pre-enrolled-keys=1 machine=q35 memory=512 "
           "net0=e1000,bridge=vmbr1 ostype=win11 scsi0=local-lvm:8,iothread=1,discard=on scsihw=virtio-scsi-single "
           "sockets=1 start=1 tpmstate0=local-lvm:1,version=v2.0 vmid=300", "GET /nodes/pve1/qemu/300/status/current"]),
    ("proxmox_create_vm", {"node": "pve1", "vmid": 300, "storage": "local-lvm", "cpu": "host", "import_from": CLOUD,
                           "ciuser": "me",
                           "cipassword": "correct horse", "sshkeys": "ssh-ed25519 AAAA me@here\n",
                           "ipconfig0": "ip=10.0.0.9/24,gw=10.0.0.1"},
     [VM + " cipassword=correct horse ciuser=me cores=1 cpu=host ide0=local-lvm:cloudinit "
           "ipconfig0=ip=10.0.0.9/24,gw=10.0.0.1 memory=512 " +
      VM_NET + " scsi0=local-lvm:0,import-from=" + CLOUD + ",iothread=1,discard=on " + VM_REST + " "
                                                                                                 "sshkeys=ssh-ed25519%20AAAA%20me%40here "
                                                                                                 "vmid=300"], _image),
]


@pytest.mark.parametrize("tool, arguments, words", [
    ("lxc", {"ip": "192.168.1.5"}, "no prefix: write it as 192.168.1.5/24"),
    ("lxc", {"gw": "192.168.1.1"}, "ip is dhcp"),
    ("lxc", {"ip": "10.0.0.5/24", "gw": "10.0.0"}, "not an IPv4 address"),
    ("lxc", {"net0": "name=eth0", "bridge": "vmbr0"}, "bridge cannot be given beside it"),
    ("lxc", {"bridge": "vmbr0,ip=dhcp"}, "bridge: "),
    ("lxc", {"password": "four"}, "at least 5 characters"),
    ("lxc", {"rootfs_size": "+8"}, "leave the + out"),
    ("lxc", {"hostname": "my_host"}, "DNS name"),
    ("lxc", {"ostemplate": "debian"}, "volume id"),
    ("vm", {"disk_size": "big"}, "is not a size"),
    ("vm", {"net0": "virtio", "tag": 5}, "tag cannot be given beside it"),
    ("vm", {"import_from": CLOUD, "disk_size": "8"}, "grow it afterwards"),
    ("vm", {"iso": "local:iso/a.iso,media=disk"}, "may not hold a comma"),
    ("vm", {"name": "my_vm"}, "DNS name"),
    ("vm", {"boot": "order=ide2"}, "boot: unknown argument"),
])
def test_what_is_refused_with_nothing_sent(tool, arguments, words):
    bench = Bench()
    values = dict({"node": "pve1", "vmid": 300}, **({"ostemplate": ALPINE} if tool == "lxc" else {}))
    answer = bench.run("proxmox_create_" + tool, **dict(values, **arguments))
    assert answer.failed and words in answer.text
    assert bench.sent(reads=False) == []


@pytest.mark.parametrize("given, sent", [("1T", "1024"), ("512M", "0.5"), ("0.5T", "512"), ("8", "8"), ("1.5G", "1.5")])
def test_sizes_are_exact(given, sent):
    bench = Bench()
    bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", disk_size=given)
    assert "scsi0=local-lvm:%s,iothread" % sent in bench.sent(reads=False)[0]


def test_the_boot_order_is_proxmoxs_disk_first():
    bench = Bench()
    bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", iso=ISO)
    assert bench.cluster.world.guests[300].conf["boot"].startswith("order=scsi0")


def test_a_password_is_never_shown():
    bench = Bench()
    answer = bench.run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, password="hunter2hunter2",
                       storage="local-lvm")
    assert not answer.failed and "hunter2" not in answer.text + json.dumps(answer.data)
    answer = bench.run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, password="hunter2hunter2",
                       storage="local-lvm")
    assert answer.failed and "already exists" in answer.text and "hunter2" not in answer.text
    dry = Bench(dry_run=True)
    answer = dry.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", cipassword="hunter2hunter2",
                     ciuser="me")
    assert "hunter2" not in answer.text + json.dumps(answer.data) and "ciuser" in answer.text


def test_secrets_are_marked_in_the_schema():
    assert definition("proxmox_create_lxc",
                      TOOLS["proxmox_create_lxc"])["inputSchema"]["properties"]["password"]["writeOnly"] is True
    assert definition("proxmox_create_vm",
                      TOOLS["proxmox_create_vm"])["inputSchema"]["properties"]["cipassword"]["writeOnly"] is True


def test_no_password_is_invented_and_it_is_said():
    bench = Bench()
    answer = bench.run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, storage="local-lvm")
    assert "neither a password nor an SSH key" in answer.text and "password" not in bench.sent(reads=False)[0]


def test_a_container_is_unprivileged_and_has_a_network():
    bench = Bench()
    bench.run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, storage="local-lvm")
    conf = bench.cluster.world.guests[300].conf
    assert conf["unprivileged"] == 1 and conf["features"] == "nesting=1" and "ip=dhcp" in conf["net0"]
    assert "firewall=1" in conf["net0"]


def test_a_guest_that_was_to_start_is_looked_at():
    bench = Bench()
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", start=True, wait=60)
    assert "created and started on node pve1" in answer.text and answer.data["running"] is True
    bench.cluster.world.storages["nas"].at("pve1").clear()
    request = bench.host.client.request

    def still(verb, path, params=None, **more):
        reply = request(verb, path, params, **more)
        if path.endswith("/status/current"):
            reply.data["status"] = "stopped"
        return reply
    bench.host.client.request = still
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=301, storage="local-lvm", start=True, wait=60)
    assert "started on" not in answer.text and "is not running (yet)" in answer.text and answer.data["running"] is False


def test_a_creation_that_outlasts_the_wait_is_not_told_as_done():
    answer = Bench().run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, storage="local-lvm", wait=0)
    assert answer.text.startswith("\u23f3") and answer.data["status"] == "running"


@pytest.mark.parametrize("tool, arguments, words", [
    ("lxc", {"vmid": 200, "ostemplate": ALPINE}, "already exists"),
    ("lxc", {"vmid": 300, "ostemplate": ALPINE, "storage": "nas"}, "rootdir"),
    ("lxc", {"vmid": 300, "ostemplate": "local:vztmpl/nothing.tar.zst"}, "does not exist"),
    ("vm", {"vmid": 100}, "already exists"),
    ("vm", {"vmid": 300, "storage": "pbs"}, "does not support vm images"),
    ("vm", {"vmid": 300, "node": "pve9"}, "There is no node pve9 in this cluster. Its nodes: pve1"),
])
def test_what_proxmox_refuses_is_told(tool, arguments, words):
    answer = Bench().run("proxmox_create_" + tool, **dict({"node": "pve1", "storage": "local-lvm"}, **arguments))
    assert answer.failed and words in answer.text


def test_the_storage_is_found_when_it_is_left_out():
    bench = Bench()
    bench.cluster.world.storages.pop("local-lvm")
    bench.run("proxmox_create_vm", node="pve1", vmid=300)
    assert "scsi0=san:8" in bench.sent(reads=False)[0] or "scsi0=nas:8" in bench.sent(reads=False)[0]


def test_proxmox_7_gets_no_cpu_type_it_does_not_know():
    bench = Bench(version="7.4")
    bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm")
    assert "cpu=" not in bench.sent(reads=False)[0]


# ----------------------------------------------------------------------------------------------------------- templates

def test_templates_of_all_storages():
    answer = Bench().run("proxmox_list_templates", node="pve1")
    assert ALPINE in answer.text and "nas:vztmpl/" in answer.text and answer.data["total"] == len(answer.data["items"])


def test_no_template_says_how_to_get_one():
    answer = Bench().run("proxmox_list_templates", node="pve1", storage="san")
    assert not answer.failed and "None on san" in answer.text and "pveam download" in answer.text


def test_a_storage_that_cannot_be_read_does_not_hide_the_others():
    from tools.pve.client import PveError
    bench = Bench()
    request = bench.host.client.request

    def broken(verb, path, params=None, **more):
        if "/storage/nas/" in path:
            raise PveError("it hangs", status=595)
        return request(verb, path, params, **more)
    bench.host.client.request = broken
    answer = bench.run("proxmox_list_templates", node="pve1")
    assert ALPINE in answer.text and "nas could not be read: it hangs" in answer.text
