"""New guests: the exact creation requests, sizes, defaults, and that no password is ever shown or invented."""
import json

import pytest

from support import Bench, ok

ALPINE = "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
ISO = "nas:iso/virtio-win-0.1.285.iso"
CLOUD = "local:import/debian-13-genericcloud-amd64.qcow2"


BRIDGES = "GET /nodes/pve1/network type=any_bridge"


def _image(bench):
    from tools.demo.model import Volume
    bench.cluster.world.storages["local"].at("pve1")[CLOUD] = Volume(CLOUD, "import", 3 << 30, format="qcow2")


def _lxc(arguments, sent, before=(), after=()):
    """A case: these arguments make a container with these parameters, beside the usual ones."""
    usual = {"vmid": 300, "ostemplate": ALPINE, "memory": 512, "storage": "local-lvm", "rootfs": "local-lvm:8",
             "net0": "name=eth0,bridge=vmbr0,ip=dhcp,firewall=1", "unprivileged": 1, "features": "nesting=1"}
    return ("proxmox_create_lxc", dict({"node": "pve1", "vmid": 300, "ostemplate": ALPINE}, **arguments),
            ["GET /nodes/pve1/storage/%s/status" % arguments.get("storage")] * ("storage" in arguments) + list(before)
            + [BRIDGES, _line("POST /nodes/pve1/lxc", usual, sent)] + list(after))


def _vm(arguments, sent, before=(), after=(), prepare=None):
    """A case: these arguments make a VM with these parameters, beside the usual ones."""
    looked = ["GET /nodes/pve1/storage/%s/status" % arguments.get("storage")]
    looked *= "storage" in arguments
    usual = {"vmid": 300, "memory": 512, "cores": 1, "sockets": 1, "cpu": "x86-64-v2-AES", "ostype": "l26",
             "scsihw": "virtio-scsi-single", "scsi0": "local-lvm:8,iothread=1,discard=on",
             "net0": "virtio,bridge=vmbr0,firewall=1"}
    return ("proxmox_create_vm", dict({"node": "pve1", "vmid": 300}, **arguments),
            looked + list(before) + [BRIDGES, _line("POST /nodes/pve1/qemu", usual, sent)] + list(after), prepare)


def _line(endpoint, usual, sent):
    params = {key: value for key, value in dict(usual, **sent).items() if value is not None}
    return " ".join([endpoint] + ["%s=%s" % pair for pair in sorted(params.items())])


VERSION = "GET /nodes/pve1/version"
CASES = [
    ("proxmox_list_templates", {"node": "pve1"}, [
        "GET /nodes/pve1/storage content=vztmpl enabled=1", "GET /nodes/pve1/storage/local/content content=vztmpl",
        "GET /nodes/pve1/storage/nas/content content=vztmpl"]),
    ("proxmox_list_templates", {"node": "pve1", "storage": "local"},
     ["GET /nodes/pve1/storage/local/content content=vztmpl"]),
    _lxc({"wait": 60}, {}, ["GET /nodes/pve1/storage content=rootdir enabled=1"]),
    _lxc({"ostemplate": "alpine"}, {}, [
        "GET /nodes/pve1/storage content=vztmpl enabled=1", "GET /nodes/pve1/storage/local/content content=vztmpl",
        "GET /nodes/pve1/storage/nas/content content=vztmpl", "GET /nodes/pve1/storage content=rootdir enabled=1"]),
    _lxc({"hostname": "web", "password": "correct horse", "memory": 1024, "storage": "local-lvm", "rootfs_size": "16"},
         {"hostname": "web", "password": "correct horse", "memory": 1024, "rootfs": "local-lvm:16"}),
    _lxc({"storage": "san", "rootfs": "512M", "cores": 2, "swap": 0, "bridge": "vmbr1", "ip": "192.168.1.5/24",
          "gw": "192.168.1.1", "tag": 5, "nameserver": "1.1.1.1 9.9.9.9", "features": "nesting=0", "onboot": True,
          "ssh_public_keys": "ssh-ed25519 AAAA me@here\nssh-ed25519 BBBB", "tags": "web;prod", "pool": "production",
          "mp0": "san:5,mp=/data"},
         {"storage": "san", "mp0": "san:5,mp=/data", "rootfs": "san:0.5", "cores": 2, "swap": 0,
          "nameserver": "1.1.1.1 9.9.9.9", "onboot": 1,
          "net0": "name=eth0,bridge=vmbr1,ip=192.168.1.5/24,gw=192.168.1.1,tag=5,firewall=1", "features": "nesting=0",
          "ssh-public-keys": "ssh-ed25519 AAAA me@here\nssh-ed25519 BBBB", "tags": "web;prod", "pool": "production"}),
    _lxc({"storage": "local-lvm", "unprivileged": False, "start": True, "ip": "manual"},
         {"unprivileged": 0, "features": None, "start": 1, "net0": "name=eth0,bridge=vmbr0,ip=manual,firewall=1"},
         after=["GET /nodes/pve1/lxc/300/status/current"]),
    _vm({"wait": 60}, {}, ["GET /nodes/pve1/storage content=images enabled=1", VERSION]),
    _vm({"name": "web", "memory": 2048, "cores": 2, "disk_size": "50G", "storage": "local-lvm", "iso": ISO,
         "bridge": "vmbr0"},
        {"name": "web", "memory": 2048, "cores": 2, "scsi0": "local-lvm:50,iothread=1,discard=on",
         "ide2": ISO + ",media=cdrom"}, [VERSION]),
    _vm({"storage": "san", "disk_size": "0.5T", "cpu": "host", "bios": "ovmf",
         "agent": True, "tag": 7, "onboot": False, "tags": "a;b", "pool": "production"},
        {"scsi0": "san:512,iothread=1,discard=on", "cpu": "host", "bios": "ovmf",
         "efidisk0": "san:1,efitype=4m,pre-enrolled-keys=1", "agent": 1, "onboot": 0, "tags": "a;b",
         "net0": "virtio,bridge=vmbr0,tag=7,firewall=1", "pool": "production"}),
    _vm({"storage": "local-lvm", "os": "windows2025", "cpu": "host", "start": True},
        {"ostype": "win11", "cpu": "host", "start": 1, "machine": "q35", "bios": "ovmf", "memory": 4096, "cores": 2,
         "agent": 1, "scsi0": "local-lvm:64,iothread=1,discard=on",
         "efidisk0": "local-lvm:1,efitype=4m,pre-enrolled-keys=1", "tpmstate0": "local-lvm:1,version=v2.0"},
        after=["GET /nodes/pve1/qemu/300/status/current"] * 2),
    _vm({"storage": "local-lvm", "cpu": "host", "os": "windows11", "iso": ISO, "drivers_iso": ISO, "memory": 8192,
         "cores": 4},
        {"ostype": "win11", "cpu": "host", "machine": "q35", "bios": "ovmf", "memory": 8192, "cores": 4, "agent": 1,
         "boot": "order=scsi0;ide2;net0", "scsi0": "local-lvm:64,iothread=1,discard=on", "ide2": ISO + ",media=cdrom",
         "sata0": ISO + ",media=cdrom",
         "efidisk0": "local-lvm:1,efitype=4m,pre-enrolled-keys=1", "tpmstate0": "local-lvm:1,version=v2.0"}),
    _vm({"storage": "local-lvm", "cpu": "host", "os": "windows10", "disk_size": "32"},
        {"ostype": "win10", "cpu": "host", "machine": "q35", "memory": 4096, "cores": 2, "agent": 1,
         "scsi0": "local-lvm:32,iothread=1,discard=on"}),
    _vm({"storage": "local-lvm", "cpu": "host", "os": "other", "agent": False},
        {"ostype": "other", "cpu": "host", "agent": 0}),
    _vm({"storage": "nas", "cpu": "host", "format": "raw", "bios": "ovmf"},
        {"cpu": "host", "bios": "ovmf", "scsi0": "nas:8,format=raw,iothread=1,discard=on",
         "efidisk0": "nas:1,efitype=4m,pre-enrolled-keys=1,format=raw"}),
    _vm({"storage": "local-lvm", "cpu": "host", "import_from": CLOUD, "ciuser": "me", "cipassword": "correct horse",
         "sshkeys": "ssh-ed25519 AAAA me@here\n", "ipconfig0": "ip=10.0.0.9/24,gw=10.0.0.1"},
        {"cpu": "host", "scsi0": "local-lvm:0,import-from=%s,iothread=1,discard=on" % CLOUD, "ciuser": "me",
         "cipassword": "correct horse", "sshkeys": "ssh-ed25519%20AAAA%20me%40here",
         "ipconfig0": "ip=10.0.0.9/24,gw=10.0.0.1", "ide0": "local-lvm:cloudinit"}, prepare=_image),
]


@pytest.mark.parametrize("tool, arguments, words", [
    ("lxc", {"ip": "192.168.1.5"}, "no prefix: write it as 192.168.1.5/24"),
    ("lxc", {"gw": "192.168.1.1"}, "give ip with its prefix"),
    ("lxc", {"ip": "10.0.0.5/24", "gw": "10.0.0"}, "not an IPv4 address"),
    ("lxc", {"bridge": "vmbr0,ip=dhcp"}, "bridge: "),
    ("lxc", {"password": "four"}, "at least 5 characters"),
    ("lxc", {"rootfs_size": "+8"}, "leave the + out"),
    ("lxc", {"hostname": "my_host"}, "DNS name"),
    ("lxc", {"ostemplate": "local:../x"}, "volume id"),
    ("lxc", {"ostemplate": "debian"}, "More than one template on node pve1 has debian in its name. There is: "
     "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst, nas:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst."),
    ("lxc", {"ostemplate": "nope"}, "No template on node pve1 has nope in its name. There is: " + ALPINE),
    ("vm", {"disk_size": "big"}, "is not a size"),
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


@pytest.mark.parametrize("given, sent", [("1T", "1024"), ("512M", "0.5"), ("0.5T", "512"), ("8", "8"), ("1.5G", "1.5"),
                                         ("0.1T", "102.400390625")])
def test_sizes_are_exact(given, sent):
    bench = Bench()
    bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", disk_size=given)
    assert "scsi0=local-lvm:%s,iothread" % sent in bench.sent(reads=False)[0]


def test_the_boot_order_is_proxmoxs_disk_first():
    bench = Bench()
    bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", iso=ISO)
    assert bench.cluster.world.guests[300].conf["boot"].startswith("order=scsi0")


@pytest.mark.parametrize("arguments, first_cd", [
    ({"iso": ISO, "drivers_iso": ISO, "os": "windows11"}, "ide2"), ({"iso": ISO, "ipconfig0": "ip=dhcp"}, "ide2"),
    ({"iso": ISO}, "ide2"), ({"drivers_iso": ISO}, "sata0")])
def test_of_two_cds_that_of_the_installer_is_booted(arguments, first_cd):
    bench = Bench()
    assert not bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", **arguments).failed
    assert bench.cluster.world.guests[300].conf["boot"] == "order=scsi0;%s;net0" % first_cd


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

    def still(verb, path, params=None, *rest, **more):
        reply = request(verb, path, params, *rest, **more)
        if path.endswith("/status/current"):
            reply.data["status"] = "stopped"
        return reply
    bench.host.client.request = still
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=301, storage="local-lvm", start=True, wait=60)
    assert "started on" not in answer.text and "is not running yet" in answer.text and answer.data["running"] is False


def test_a_creation_that_outlasts_the_wait_is_not_told_as_done():
    answer = Bench().run("proxmox_create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, storage="local-lvm", wait=0)
    assert answer.text.startswith("\u23f3") and answer.data["task"]["status"] == "running"


@pytest.mark.parametrize("tool, arguments, words", [
    ("lxc", {"vmid": 200, "ostemplate": ALPINE}, "already exists"),
    ("lxc", {"vmid": 300, "ostemplate": ALPINE, "storage": "nas"}, "rootdir"),
    ("lxc", {"vmid": 300, "ostemplate": "local:vztmpl/nothing.tar.zst"}, "does not exist"),
    ("vm", {"vmid": 100}, "already exists"),
    ("vm", {"vmid": 300, "storage": "pbs"}, "does not support vm images"),
    ("vm", {"vmid": 300, "node": "pve9"}, "There is no node pve9 in this cluster. Its nodes are: pve1"),
])
def test_what_proxmox_refuses_is_told(tool, arguments, words):
    answer = Bench().run("proxmox_create_" + tool, **dict({"node": "pve1", "storage": "local-lvm"}, **arguments))
    assert answer.failed and words in answer.text


def test_a_token_of_a_pool_is_told_of_the_argument_pool():
    may = ["VM.Allocate", *("VM.Config." + what for what in ("Disk", "Memory", "CPU", "HWType", "Options", "Network"))]
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {
        "/pool/lab": may, "/storage": ["Datastore.AllocateSpace", "Datastore.Audit"], "/sdn": ["SDN.Use"]}}})
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm")
    assert answer.failed and "VM.Allocate on /pool/NAME, with pool=NAME" in answer.text
    assert not bench.run("proxmox_create_vm", node="pve1", vmid=300, storage="local-lvm", pool="lab").failed
    answer = bench.run("proxmox_create_vm", node="pve1", vmid=301, storage="local-lvm", pool="production")
    assert answer.failed and "with pool=NAME" not in answer.text


def test_what_was_not_asked_for_is_told_too():
    bench = Bench()
    made = ok(bench.run("proxmox_create_vm", node="pve1", vmid=300, os="windows11", cores=4, tags=["ci", "dev"])).text
    assert ("created on node pve1: 4 cores, 4 GiB memory, win11, UEFI with secure boot keys, TPM 2.0, disk scsi0 64 "
            "GiB on local-lvm") in made and "firewall=1, tags ci,dev (" in made
    assert "No ISO to install Windows from is in a drive (iso)." in made
    made = ok(bench.run("proxmox_create_lxc", node="pve1", vmid=301, ostemplate=ALPINE, onboot=True, pool="lab")).text
    assert "created on node pve1: all cores of the node, 512 MiB memory, 8 GiB on" in made
    assert "firewall=1, onboot, pool lab (" in made


def test_the_storage_is_found_when_it_is_left_out():
    bench = Bench()
    bench.cluster.world.storages.pop("local-lvm")
    bench.run("proxmox_create_vm", node="pve1", vmid=300)
    assert " scsi0=nas:8," in bench.sent(reads=False)[0]


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
    assert not answer.failed and "None on san" in answer.text and "proxmox_download_appliance" in answer.text


def test_a_storage_that_cannot_be_read_does_not_hide_the_others():
    from tools.pve.client import PveError
    bench = Bench()
    request = bench.host.client.request

    def broken(verb, path, params=None, *rest, **more):
        if "/storage/nas/" in path:
            raise PveError("it hangs", status=595)
        return request(verb, path, params, *rest, **more)
    bench.host.client.request = broken
    answer = bench.run("proxmox_list_templates", node="pve1")
    assert ALPINE in answer.text and "Not read: nas (it hangs)." in answer.text
