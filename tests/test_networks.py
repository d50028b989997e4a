"""Network devices: exact requests; keys, MAC and digest kept; what is refused with nothing sent; what waits is said."""
import pytest
from test_change import digest

from support import Bench, answering

V100, C200, C201 = "/nodes/pve1/qemu/100", "/nodes/pve1/lxc/200", "/nodes/pve2/lxc/201"
NET1 = "virtio=BC:24:11:00:01:01,bridge=vmbr0,firewall=1,tag=20"
CT0 = "name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:00:02:10,gw=10.0.0.1,ip=10.0.0.81/24,type=veth"
CT1 = "name=eth1,bridge=vmbr1,firewall=1,hwaddr=BC:24:11:00:02:11,ip=192.168.50.81/24,tag=30,type=veth"


def _case(tool, path, arguments, sent):
    _, _, node, kind, vmid = path.split("/")
    name = "proxmox_%s_network_%s" % (tool, "vm" if kind == "qemu" else "lxc")
    sent = " ".join(sorted([sent, "digest={digest}"]))
    looked = ["GET /nodes/%s/network type=any_bridge" % node] if "bridge" in arguments else []
    return (name, dict({"node": node, "vmid": int(vmid)}, **arguments), [
        "GET %s/config" % path, *looked, "%s %s/config %s" % ("POST" if kind == "qemu" else "PUT", path, sent),
        "GET %s/pending" % path], digest(int(vmid)))


VM1, CT1_MAC, MAC = "BC:24:11:00:01:01", "BC:24:11:00:02:11", "BC:24:11:AA:BB:CC"
CASES = [
    _case("add", V100, {"net": "net2", "bridge": "vmbr0"}, "net2=virtio,bridge=vmbr0"),
    _case("add", V100, {"net": "net2", "bridge": "vmbr0", "model": "virtio", "tag": 100, "firewall": True, "wait": 60},
          "net2=virtio,bridge=vmbr0,tag=100,firewall=1"),
    _case("add", V100, {"net": "net31", "bridge": "vmbr1", "model": "e1000", "macaddr": MAC, "rate": 12.5,
                        "vlan": 7, "firewall": "false"},
          "net31=e1000=%s,bridge=vmbr1,tag=7,firewall=0,rate=12.5" % MAC),
    _case("add", C201, {"net": "net2", "bridge": "vmbr0", "ip": "192.168.1.100/24", "gw": "192.168.1.1", "tag": 5,
                        "firewall": True},
          "net2=name=eth2,bridge=vmbr0,tag=5,firewall=1,ip=192.168.1.100/24,gw=192.168.1.1"),
    _case("add", C201, {"net": "net7", "bridge": "vmbr1", "hwaddr": MAC, "ip": "manual",
                        "ip6": "fd00::2/64", "gw6": "fd00::1", "rate": 10},
          "net7=name=eth2,bridge=vmbr1,rate=10,ip=manual,ip6=fd00::2/64,gw6=fd00::1,hwaddr=%s" % MAC),
    _case("update", V100, {"net": "net1", "bridge": "vmbr1", "wait": 60},
          "net1=virtio=%s,bridge=vmbr1,firewall=1,tag=20" % VM1),
    _case("update", V100, {"net": "net1", "model": "e1000"}, "net1=e1000=%s,bridge=vmbr0,firewall=1,tag=20" % VM1),
    _case("update", V100, {"net": "net1", "tag": 0}, "net1=virtio=%s,bridge=vmbr0,firewall=1" % VM1),
    _case("update", V100, {"net": "net1", "tag": None}, "net1=virtio=%s,bridge=vmbr0,firewall=1" % VM1),
    _case("update", V100, {"net": "net1", "macaddr": MAC, "firewall": False, "rate": 5, "link_down": True},
          "net1=virtio=%s,bridge=vmbr0,firewall=0,tag=20,rate=5,link_down=1" % MAC),
    _case("update", C201, {"net": "net0", "ip": "dhcp"},
          "net0=name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:00:02:10,ip=dhcp,type=veth"),
    _case("update", C201, {"net": "net1", "tag": 0, "bridge": "vmbr0", "firewall": False},
          "net1=name=eth1,bridge=vmbr0,firewall=0,hwaddr=%s,ip=192.168.50.81/24,type=veth" % CT1_MAC),
    _case("update", C201, {"net": "net0", "gw": "10.0.0.254", "ip6": "auto", "hwaddr": MAC, "rate": 3,
                           "link_down": False},
          "net0=name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.254,hwaddr=%s,ip=10.0.0.81/24,type=veth,rate=3,"
          "ip6=auto,link_down=0" % MAC),
    _case("update", C201, {"net": "net1", "ip6": "fd00::2/64", "gw6": "fd00::1"},
          "net1=%s,ip6=fd00::2/64,gw6=fd00::1" % CT1),
    _case("remove", V100, {"net": "net1", "wait": 60}, "delete=net1"),
    _case("remove", C201, {"net": "net1"}, "delete=net1"),
]


@pytest.mark.parametrize("tool, arguments, words", [
    ("add_network_vm", {"vmid": 100, "net": "net1", "bridge": "vmbr0"}, "VM 100 has net1 already"),
    ("add_network_vm", {"vmid": 100, "net": "net1", "bridge": "vmbr0"}, "The next free one is net2"),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0,firewall=0"}, "bridge: "),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0\nnet3=virtio"}, "bridge: "),
    ("add_network_vm", {"vmid": 100, "net": "net32", "bridge": "vmbr0"}, "net0 to net31"),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0", "model": "virtio,tag=1"}, "is not one of e1000"),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0", "macaddr": "01:00:00:00:00:00"}, "unicast MAC"),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0", "vlan": 1, "tag": 2}, "given twice"),
    ("add_network_vm", {"vmid": 100, "net": "net2", "bridge": "vmbr0", "ip": "dhcp"}, "ip: unknown argument"),
    ("add_network_lxc", {"vmid": 201, "net": "net0", "bridge": "vmbr0"}, "Container 201 has net0 already"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "192.168.1.5"},
     "no prefix: write it as 192.168.1.5/24"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "192.168.1.5/24,gw=1.1.1.1"},
     "neither an IPv4 address"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "auto"}, "neither an IPv4 address"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "10.0.0.1/4"}, "neither an IPv4 address"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip6": "10.0.0.1/24"},
     "neither an IPv6 address"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "dhcp", "gw": "10.0.0.1"}, "ip is dhcp"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "gw": "10.0.0.1"}, "ip is not set"),
    ("add_network_lxc", {"vmid": 201, "net": "net2", "bridge": "vmbr0", "ip": "10.0.0.2/24", "gw": "10.0.0.300"},
     "not an IPv4 address"),
    ("update_network_vm", {"vmid": 100, "net": "net9", "tag": 5}, "VM 100 has no net9. It has: net0, "
                                                                  "net1"),
    ("update_network_vm", {"vmid": 100, "net": "net1"}, "Nothing to change was given"),
    ("update_network_lxc", {"vmid": 201, "net": "net5", "tag": 5}, "has no net5"),
    ("update_network_lxc", {"vmid": 203, "net": "net0", "gw": "10.0.0.1"}, "ip is dhcp"),
    ("remove_network_vm", {"vmid": 100, "net": "net7"}, "has no net7"),
    ("remove_network_lxc", {"vmid": 201, "net": "net7"}, "has no net7"),
])
def test_what_is_refused_with_nothing_sent(tool, arguments, words):
    bench = Bench()
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.failed and words in answer.text
    assert ("Nothing was sent." in answer.text) == ("was not called" not in answer.text)
    assert bench.sent(reads=False) == []


def test_what_cannot_be_said_in_a_property_string_is_refused_before_anything_is_sent():
    bench = Bench()
    bench.run("proxmox_add_network_vm", vmid=100, net="net2", bridge="vmbr0", model="virtio=BC:24:11:00:00:01")
    assert bench.sent() == ["GET /cluster/resources type=vm"]


@pytest.mark.parametrize("stored, change, expected", [
    (NET1 + ",queues=4,trunks=5;6", {"tag": 7},
     "virtio=BC:24:11:00:01:01,bridge=vmbr0,firewall=1,tag=7,queues=4,trunks=5;6"),
    ("model=virtio,macaddr=BC:24:11:00:01:01,bridge=vmbr0", {"model": "vmxnet3"},
     "vmxnet3=BC:24:11:00:01:01,bridge=vmbr0"),
    ("bridge=vmbr0,e1000=BC:24:11:00:01:01", {"firewall": True}, "e1000=BC:24:11:00:01:01,bridge=vmbr0,firewall=1"),
    ("virtio=BC:24:11:00:01:01,bridge=vmbr0,rate=3", {"rate": 0},
     "virtio=BC:24:11:00:01:01,bridge=vmbr0"),
    ("ne3k=BC:24:11:00:01:01,bridge=vmbr0", {"tag": 3}, "ne3k=BC:24:11:00:01:01,bridge=vmbr0,tag=3"),
    ("virtio=BC:24:11:00:01:01,bridge=vmbr0,future=x", {"bridge": "vnet10"},
     "virtio=BC:24:11:00:01:01,bridge=vnet10,future=x"),
])
def test_read_change_write_keeps_what_it_does_not_know(stored, change, expected):
    bench = Bench()
    bench.cluster.world.guests[100].conf["net1"] = stored
    bench.run("proxmox_update_network_vm", vmid=100, node="pve1", net="net1", **change)
    assert "net1=" + expected in bench.sent(reads=False)[0]


def test_a_gateway_goes_when_the_address_does_and_is_not_missed():
    bench = Bench()
    bench.cluster.world.guests[201].conf["net0"] = CT0 + ",ip6=fd00::2/64,gw6=fd00::1"
    bench.run("proxmox_update_network_lxc", vmid=201, node="pve2", net="net0", ip="manual", ip6=None)
    assert bench.sent(reads=False)[0].endswith(
        "net0=name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:00:02:10,ip=manual,type=veth")


def test_the_first_free_name_is_taken_not_the_number():
    bench = Bench()
    bench.cluster.world.guests[201].conf["net1"] = CT1.replace("eth1", "eth5")
    bench.run("proxmox_add_network_lxc", vmid=201, node="pve2", net="net5", bridge="vmbr0")
    assert "net5=name=eth1,bridge=vmbr0" in bench.sent(reads=False)[0]


def test_the_new_device_is_told_with_the_mac_it_got():
    bench = Bench()
    answer = bench.run("proxmox_add_network_vm", vmid=100, net="net2", bridge="vmbr0", tag=100)
    stored = bench.cluster.world.guests[100].conf["net2"]
    assert stored in answer.text and answer.data["changes"] == {"net2":
                                                                {"new": stored}} and stored.startswith(
                                                                    "virtio=BC:24:11:")


def test_what_waits_for_a_restart_is_said():
    bench = Bench()
    bench.run("proxmox_add_network_lxc", vmid=201, net="net12", bridge="vmbr0")
    answer = bench.run("proxmox_remove_network_lxc", vmid=201, net="net12")
    assert "net12 marked for removal" in answer.text and "waits for a restart" in answer.text
    assert answer.data["waiting"] == ["net12"]
    assert "net12" in bench.cluster.world.guests[201].conf
    bench.cluster.world.guests[100].conf["hotplug"] = "disk"
    answer = bench.run("proxmox_add_network_vm", vmid=100, net="net2", bridge="vmbr0")
    assert "Not in effect yet: net2 waits" in answer.text and "net2" not in bench.cluster.world.guests[100].conf


def test_removed_means_gone():
    bench = Bench()
    for tool, vmid in (("vm", 100), ("lxc", 201)):
        answer = bench.run("proxmox_remove_network_%s" % tool, vmid=vmid, net="net1")
        assert "net1 removed" in answer.text and "net1" not in bench.cluster.world.guests[vmid].conf


def _without_bridges():
    """A Bench whose token may not see the bridges of pve1."""
    bench = Bench()
    answering(bench, "/nodes/pve1/network", [])
    return bench


def test_a_bridge_that_is_not_there_fails_and_what_stays_is_said():
    bench = _without_bridges()
    answer = bench.run("proxmox_add_network_vm", vmid=100, net="net2", bridge="vmbr9")
    assert answer.failed and "bridge 'vmbr9' does not exist" in answer.text
    assert "in the config" in answer.text and "net2" in answer.text
    assert bench.cluster.world.guests[100].pending["net2"]


def test_an_older_pending_change_that_fails_is_not_blamed_on_this_one():
    bench = _without_bridges()
    bench.run("proxmox_add_network_vm", vmid=100, net="net2", bridge="vmbr9")
    answer = bench.run("proxmox_update_network_vm", vmid=100, net="net1", tag=0)
    assert not answer.failed and answer.data["done"] and "older change that still waits: net2" in answer.text
    assert "tag" not in bench.cluster.world.guests[100].conf["net1"]
    answer = bench.run("proxmox_remove_network_vm", vmid=100, net="net2")
    assert not answer.failed and "net2 removed" in answer.text and "net2" not in bench.cluster.world.guests[100].pending
