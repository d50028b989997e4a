"""The security report: what stands open, and what is not said to."""
import json

import pytest

from support import Bench, answering, ok

CLUSTER = ["GET /cluster/resources", "GET /cluster/firewall/options", "GET /access/users full=1", "GET /access/tfa",
           "GET /access/acl"]
CASES = [
    ("proxmox_get_security_report", {"area": "versions"},
     ["GET /cluster/resources"] + ["GET /nodes/pve%d/version" % n for n in (1, 2, 3)]),
    ("proxmox_get_security_report", {"name": "web*", "node": "pve1", "pool": "production", "tag": "prod"},
     CLUSTER + ["GET /nodes/pve1/" + what for what in ("firewall/options", "version", "network")]
     + ["GET /nodes/pve1/qemu/100/" + what for what in ("config", "firewall/options")]),
]

NOW = 1_790_000_000
GUEST = "/nodes/a/%s/%d"


def _closed():
    """{path: data} of a cluster of one node in which nothing stands open."""
    return {
        "/cluster/resources": [{"type": "node", "node": "a", "status": "online"},
                               {"type": "qemu", "vmid": 100, "node": "a", "status": "running"},
                               {"type": "lxc", "vmid": 101, "node": "a", "status": "running"}],
        "/cluster/firewall/options": {"enable": 1, "policy_in": "DROP"},
        "/access/users": [{"userid": "root@pam", "enable": 1, "tokens": [
            {"tokenid": "t", "privsep": 1, "expire": NOW + 9}]}, {"userid": "gone@pve", "enable": 0}],
        "/access/tfa": [{"userid": "root@pam", "entries": [{"type": "totp"}]}],
        "/access/acl": [{"path": "/", "type": "user", "ugid": "root@pam", "roleid": "Administrator"},
                        {"path": "/vms/100", "type": "user", "ugid": "x@pve", "roleid": "PVEAdmin"}],
        "/nodes/a/firewall/options": {}, "/nodes/a/version": {"version": "9.1.1"},
        "/nodes/a/network": [{"iface": "vmbr0", "gateway": "10.0.0.1"}, {"iface": "vmbr1"}],
        "/nodes/a/qemu/100/config": {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=20,firewall=1"},
        "/nodes/a/qemu/100/firewall/options": {"enable": 1},
        "/nodes/a/lxc/101/config": {"net0": "name=eth0,bridge=vmbr1,firewall=1", "unprivileged": 1},
        "/nodes/a/lxc/101/firewall/options": {"enable": 1}}


def _report(world, **options):
    bench = Bench(**options)
    bench.host.now = lambda: NOW

    def handle(verb, target, headers, body=b""):
        path = target.split("?")[0][len("/api2/json"):]
        data = world.get(path, (501, "not there"))
        status, reason = data if isinstance(data, tuple) else (200, "OK")
        return status, reason, {"Content-Type": "application/json"}, json.dumps(
            {"data": None if isinstance(data, tuple) else data}).encode()
    bench.cluster.handle = handle
    return ok(bench.run("proxmox_get_security_report"))


def test_nothing_is_said_where_nothing_stands_open():
    answer = _report(_closed())
    assert answer.text.startswith("\u2705 Nothing found\nLooked at 2 guests on 1 node.") and answer.data["items"] == []


@pytest.mark.parametrize("path, data, level, about, says", [
    ("/cluster/firewall/options", {"enable": 0}, "problem", "cluster", "the firewall is off, so no rule"),
    ("/cluster/firewall/options", {"enable": 1, "policy_in": "ACCEPT"}, "look", "cluster", "policy_in=ACCEPT"),
    ("/nodes/a/firewall/options", {"enable": 0}, "look", "node a", "its firewall is off"),
    ("/nodes/a/qemu/100/firewall/options", {}, "look", "guest 100", "the firewall of it is off"),
    ("/nodes/a/lxc/101/config", {"net0": "name=eth0,bridge=vmbr1", "unprivileged": 1}, "problem", "guests",
     "without firewall=1 go round it: 101 (net0)"),
    ("/nodes/a/lxc/101/config", {"net0": "name=eth0,bridge=vmbr1,firewall=1"}, "look", "guest 101",
     "privileged containers"),
    ("/nodes/a/qemu/100/config", {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1"}, "look", "guest 100",
     "in the same network, without VLAN, as the nodes' own"),
    ("/access/users", [{"userid": "root@pam", "tokens": [{"tokenid": "t", "privsep": 0, "expire": NOW + 9}]}],
     "problem", "root@pam!t", "tokens of root@pam without privilege separation may do everything"),
    ("/access/users", [{"userid": "root@pam", "tokens": [{"tokenid": "t", "privsep": 1, "expire": 0}]}], "look",
     "root@pam!t", "tokens never expire"),
    ("/access/users", [{"userid": "root@pam"}, {"userid": "x@pve", "enable": 1}], "look", "x@pve",
     "users without a second factor"),
    ("/access/acl", [{"path": "/", "type": "group", "ugid": "g", "roleid": "PVEAdmin"}], "look", "group g",
     "role PVEAdmin on /"),
    ("/nodes/a/version", {"version": "7.4-3"}, "problem", "node a", "Proxmox VE 7.4-3: no security updates since "
                                                                    "2024-07-31"),
])
def test_what_stands_open_is_found_and_nothing_else(path, data, level, about, says):
    answer = _report(dict(_closed(), **{path: data}))
    assert answer.data["total"] == 1, answer.text
    found = answer.data["items"][0]
    assert (found["level"], found["about"]) == (level, about) and says in found["says"]


def test_a_connection_that_is_not_verified_is_a_problem():
    answer = _report(_closed(), ssl_mode="insecure")
    assert [row["area"] for row in answer.data["items"]] == ["tls"]


def test_what_cannot_be_read_is_said():
    answer = _report(dict(_closed(), **{"/access/tfa": (403, "Permission check failed"), "/nodes/a/lxc/101/config": (
        595, "No route to host"), "/nodes/a/qemu/100/firewall/options": (403, "Permission check failed")}))
    assert answer.text.startswith("\u2705 Nothing found; 3 things could not be read\n")


def test_no_secret_stands_in_it():
    bench = Bench()
    answering(bench, "/access/users", [{"userid": "root@pam", "tokens": [{"tokenid": "t", "value": "CANARY-1"}],
                                        "keys": "CANARY-2"}])
    answer = ok(bench.run("proxmox_get_security_report"))
    assert "CANARY" not in answer.text + json.dumps(answer.data)
