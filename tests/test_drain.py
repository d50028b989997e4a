"""Draining a node: where each guest goes, what stays and why, and the way back."""
import copy

import pytest

from support import Asked, Bench, answering, journaling, ok
from tools.demo import world as demo

FIND = "GET /cluster/resources type=vm"
READ = [FIND, "GET /nodes", "GET /version", "GET /cluster/resources type=storage", "GET /cluster/ha/resources",
        "GET /cluster/ha/status/current", "GET /nodes/pve3/replication", "GET /nodes"]
NIC = "virtio=BC:24:11:00:09:%02X,bridge=vmbr0"


def only(*vmids):
    """Prepare: these alone are on pve3."""
    def prepare(bench):
        journaling(bench)
        for vmid, one in bench.cluster.world.guests.items():
            if one.node == "pve3" and vmid not in vmids:
                one.node = "pve2"
    return prepare


LAB = ["GET /nodes/pve3/qemu/107/config", "GET /nodes/pve3/qemu/107/migrate"]
BRIDGES = ["GET /nodes/%s/network type=any_bridge" % node for node in ("pve1", "pve2")]
CASES = [
    ("proxmox_drain_node", {"node": "pve3", "wait": 60},
     READ + BRIDGES + LAB + ["GET /cluster/ha/rules"] + [
         FIND, "GET /nodes", "GET /nodes/pve3/qemu/107/migrate target=pve1"] + [
         FIND, "GET /nodes", "GET /nodes/pve3/qemu/107/migrate target=pve1", "GET /nodes/pve3/qemu/107/config",
         "POST /nodes/pve3/qemu/107/migrate target=pve1", "GET /nodes/pve1/qemu/107/status/current",
         "GET /nodes/pve1/qemu/107/pending", "GET /nodes/pve1/qemu/107/config"], only(107)),
    ("proxmox_drain_node", {"node": "pve3", "running": True}, READ + BRIDGES + LAB + ["GET /cluster/ha/rules"],
     only(107)),
    ("proxmox_drain_node", {"node": "pve3", "plan": True, "targets": ["pve2"], "shutdown": True, "max_memory": 95},
     READ + ["GET /nodes"] + BRIDGES[1:] + LAB + ["GET /cluster/ha/rules"] + [
         FIND, "GET /nodes", "GET /nodes/pve3/qemu/107/migrate target=pve2"], only(107)),
]


def vm(bench, vmid, disk="san:vm-%d-disk-0,size=4G", running=True, **conf):
    return demo._vm(bench.cluster.world, vmid, "pve1", dict({
        "name": "g%d" % vmid, "memory": "1024", "net0": NIC % (vmid % 256), "scsi0": disk % vmid}, **conf),
        running=running, since=bench.cluster.world.t - 5000)


def ct(bench, vmid, running=True, **conf):
    return demo._ct(bench.cluster.world, vmid, "pve1", dict({
        "hostname": "g%d" % vmid, "rootfs": "local-lvm:vm-%d-disk-0,size=4G" % vmid}, **conf),
        running=running, since=bench.cluster.world.t - 5000)


def managed(bench, *guests, **rule):
    """Give guests to HA, with a rule about them."""
    ha = bench.cluster.world.ha
    for one in guests:
        ha["resources"][one.sid] = {"sid": one.sid, "type": one.sid[:2],
                                    "state": "started" if one.running else "stopped",
                                    "max_restart": 1, "max_relocate": 1, "failback": 1}
    if rule:
        name = "r%d" % len(ha["rules"])
        ha["rules"][name] = dict({"rule": name, "type": "resource-affinity",
                                  "resources": ",".join(one.sid for one in guests)}, **rule)


def bench(**options):
    made = Bench(consent=Asked(), **options)
    journaling(made)
    return made


LOCAL = "local-lvm:vm-%d-disk-0,size=4G"


def crowded(**options):
    """A bench with 20 guests on pve1, of every kind."""
    made = bench(**options)
    vm(made, 300)
    vm(made, 301, LOCAL)
    vm(made, 302, LOCAL, running=False)
    vm(made, 304, hostpci0="0000:01:00.0")
    vm(made, 305, hostpci0="mapping=gpu")
    vm(made, 306, hostpci0="mapping=gpu", running=False)
    managed(made, vm(made, 307, memory="2048"), ct(made, 308), affinity="positive")
    managed(made, vm(made, 309), made.cluster.world.guests[101], affinity="negative")
    vm(made, 310, lock="backup")
    ct(made, 311, mp0="/srv/data,mp=/data")
    ct(made, 312, running=False)
    vm(made, 313, ide2="local:iso/debian-13.1.0-amd64-netinst.iso,media=cdrom")
    return made


def placement(made):
    """All of the cluster that a move may change."""
    world = made.cluster.world
    return copy.deepcopy(({vmid: (one.node, one.conf, one.pending, one.running, one.paused)
                           for vmid, one in world.guests.items()},
                          {name: {node: sorted(volumes) for node, volumes in storage.volumes.items() if volumes}
                           for name, storage in world.storages.items()}))


STAYS = {100: "in snapshots, so it cannot be moved while it runs", 104: "HA would bring it back to pve1 (keep-mail)",
         304: "uses devices of its node (hostpci0) and cannot be moved",
         305: "uses devices of its node (hostpci0) and cannot be moved while it runs", 310: "is locked (backup)",
         311: "has directories or devices of its node mounted (mp0)", 313: "has a CD image on local storage"}


def test_what_is_stopped_and_has_snapshots_on_storage_that_cannot_send_them_stays():
    made = Bench()
    ok(made.run("proxmox_create_snapshot_vm", vmid=107, snapname="s1"))
    told = ok(made.run("proxmox_drain_node", node="pve3", plan=True)).text
    assert "VM 107 (lab) stays: pve1, pve2: its disks on local storage are in snapshots, which cannot be taken" in told


def test_a_node_is_drained_and_all_come_back_in_three_calls():
    made = crowded()
    before, guests = placement(made), made.cluster.world.guests
    here = [vmid for vmid, one in guests.items() if one.node == "pve1"]
    assert len(here) == 20
    planned = ok(made.run("proxmox_drain_node", node="pve1", plan=True))
    assert made.sent(reads=False) == [] and placement(made) == before and made.host.consent.questions == []
    answer = ok(made.run("proxmox_drain_node", node="pve1"))
    requests = [(one["method"], one["path"], one["parameters"]["target"]) for step in planned.data["items"]
                for one in step["requests"]]
    assert requests == [(line.split()[0], line.split()[1], line.partition("target=")[2].split()[0])
                        for line in made.sent(reads=False)]
    for told in (planned, answer):
        assert {row["vmid"] for row in told.data["stays"]} == set(STAYS)
        assert all(words in row["why"] for row in told.data["stays"] for words in [STAYS[row["vmid"]]])
        assert "VM 304 (g304) stays: uses devices of its node (hostpci0)" in told.text
        assert "Container 308 (g308) goes along with VM 307 (g307) to " in told.text
        assert "node-maintenance enable pve1" in told.text
    made.cluster.time.seconds += 60
    assert sorted(vmid for vmid in here if guests[vmid].node == "pve1") == sorted(STAYS)
    assert guests[307].node == guests[308].node and guests[309].node == "pve3" and guests[306].node != "pve1"
    assert {guests[vmid].node for vmid in here} == {"pve1", "pve2", "pve3"}
    assert all(guests[vmid].running == state[3] for vmid, state in before[0].items())
    assert made.host.consent.questions == [
        "Drain node pve1? Moved to other nodes: 108, 200, 204, 300, 301, 302, 306, 307, 308, 309, 312, 9000, 9100; "
        "shut "
        "down for it and started there: 200, 204, 308; left as they are: 100, 104, 304, 305, 310, 311, 313."]
    ok(made.run("proxmox_undo", id=answer.data["undo"]))
    made.cluster.time.seconds += 60
    made.run("proxmox_get_nodes")
    assert placement(made) == before and len(made.host.consent.questions) == 2


def test_what_cannot_move_is_shut_down_where_that_is_wanted_and_started_again():
    made = crowded()
    before, guests = placement(made), made.cluster.world.guests
    answer = ok(made.run("proxmox_drain_node", node="pve1", shutdown=True))
    down = {row["vmid"] for row in answer.data["stays"] if row["shut_down"]}
    assert down == {100, 104, 304, 305, 311, 313} and not any(guests[vmid].running for vmid in down)
    assert "VM 310 (g310) stays: is locked (backup)" in answer.text
    assert "VM 304 (g304) is shut down: uses" in answer.text
    made.cluster.time.seconds += 60
    ok(made.run("proxmox_undo", id=answer.data["undo"]))
    made.cluster.time.seconds += 60
    made.run("proxmox_get_nodes")
    assert placement(made) == before


def test_only_what_runs_is_moved_where_that_is_wanted():
    plans = [crowded().run("proxmox_drain_node", node="pve1", plan=True, **more).text
             for more in ({}, {"running": True})]
    assert [("vmid=302" in plan, "vmid=300" in plan) for plan in plans] == [(True, True), (False, True)], plans
    assert "VM 302 (g302) stays: it does not run." in plans[1]
    assert Bench().run("proxmox_drain_node", node="pve3", running=True, targets=["pve1"]).failed is False


def test_no_sends_nothing_nor_does_a_dry_run():
    made = crowded()
    made.host.consent.answer = False
    assert made.run("proxmox_drain_node", node="pve1").failed and made.sent(reads=False) == []
    made = crowded(dry_run=True)
    answer = ok(made.run("proxmox_drain_node", node="pve1", shutdown=True))
    assert made.sent(reads=False) == [] and answer.data["done"] is False and len(answer.data["stays"]) == len(STAYS)


def test_guardrails_hold_and_are_reasons():
    made = crowded(protected_guests=("300",), allowed_nodes=("pve1", "pve2"))
    answer = ok(made.run("proxmox_drain_node", node="pve1", shutdown=True))
    why = {row["vmid"]: row["why"] for row in answer.data["stays"]}
    assert "protected" in why[300].lower() and "VM 309" in answer.text
    assert made.cluster.world.guests[300].node == "pve1" and made.cluster.world.guests[300].running
    assert not [line for line in made.sent(reads=False) if "/300/" in line or "pve3" in line]
    made = crowded(allowed_nodes=("pve2", "pve3"))
    assert made.run("proxmox_drain_node", node="pve1").failed and made.sent() == []
    made = crowded(allowed_guests=("300", "301"))
    answer = ok(made.run("proxmox_drain_node", node="pve1"))
    assert {line.split("/")[4] for line in made.sent(reads=False)} == {"300", "301"}
    assert "18 guests that may not be seen here stay on node pve1." in answer.text


def lone(made, vmid):
    for one in made.cluster.world.guests.values():
        if one.node == "pve1" and one.vmid != vmid:
            one.node = "pve2"


def why(made, vmid, **arguments):
    lone(made, vmid)
    answer = made.run("proxmox_drain_node", node="pve1", plan=True, **arguments)
    assert answer.failed and "Nothing can be moved off node pve1" in answer.text
    return answer.text


@pytest.mark.parametrize("conf, arguments, words", [
    ({"memory": "40960"}, {"targets": ["pve3"]}, "pve3: no memory for it (40 GiB, and "),
    ({"cores": 12}, {"targets": ["pve3"]}, "pve3: it has more CPUs than the node (8)"),
    ({"net0": "virtio=BC:24:11:00:09:01,bridge=vmbr77"}, {}, "pve2, pve3: no bridge vmbr77"),
    ({"disk": "local-lvm:vm-%d-disk-0,size=300G"}, {"targets": ["pve3"]},
     "pve3: no room on storage local-lvm (300 GiB, and "),
    ({"disk": "scratch:%d/vm-300-disk-0.qcow2,size=4G"}, {}, "no storage scratch")])
def test_what_a_target_has_not(conf, arguments, words):
    made = bench()
    vm(made, 300, **conf)
    assert words in why(made, 300, **arguments)


def test_a_template_stays_where_its_linked_clones_are():
    made = bench()
    vm(made, 300, "tank:base-%d-disk-0,size=4G", template=1, running=False)
    vm(made, 301, "tank:base-300-disk-0/vm-%d-disk-0,size=4G", running=False)
    for one in made.cluster.world.guests.values():
        one.node = "pve1" if one.vmid in (300, 301) else "pve2"
    made.cluster.world.storages["tank"].nodes = None
    answer = ok(made.run("proxmox_drain_node", node="pve1", plan=True))
    assert [(row["vmid"], row["why"]) for row in answer.data["stays"]] == [
        (300, "is on local storage, where its linked clones need it: 301")]


def test_replicated_disks_with_snapshots_go_where_they_are_copied_to():
    made = bench()
    lone(made, 100)
    made.cluster.world.replication["100-0"] = dict(made.cluster.world.replication["202-0"], id="100-0", guest=100,
                                                   source="pve1", target="pve3")
    answer = ok(made.run("proxmox_drain_node", node="pve1", plan=True))
    assert [step["requests"][0]["parameters"]["target"] for step in answer.data["items"]] == ["pve3"]


def test_rules_of_ha():
    made = bench()
    one, other = vm(made, 300), vm(made, 301)
    managed(made, one, other, affinity="negative")
    lone(made, 300)
    other.node = "pve1"
    answer = ok(made.run("proxmox_drain_node", node="pve1", plan=True))
    assert sorted(step["requests"][0]["parameters"]["target"] for step in answer.data["items"]) == ["pve2", "pve3"]
    managed(made, one, type="node-affinity", nodes="pve1,pve3", strict=1)
    answer = ok(made.run("proxmox_drain_node", node="pve1", plan=True, targets=["pve2"]))
    assert "VM 300 (g300) stays: pve2: HA does not allow it there (r2)." in answer.text
    answering(made, "/cluster/ha/status/current", [{"type": "lrm", "node": "pve1",
                                                    "status": "pve1 (maintenance mode, x)"}])
    answer = made.run("proxmox_drain_node", node="pve1", plan=True)
    assert answer.failed and answer.text.count("stays: is moved by HA itself, as the node is in maintenance mode.") == 2


@pytest.mark.parametrize("version", ["7.4", "8.4"])
def test_before_9_there_are_groups_of_ha_and_no_check_of_containers(version):
    made = crowded(version=version)
    ha = made.cluster.world.ha
    ha["rules"].clear()
    ha["groups"] = {"mail": {"group": "mail", "nodes": "pve1:2,pve3", "restricted": 1, "nofailback": 1}}
    ha["resources"]["vm:104"]["group"] = "mail"
    answer = ok(made.run("proxmox_drain_node", node="pve1"))
    assert "could not be read" not in answer.text and "GET /cluster/ha/rules" not in made.sent()
    assert made.cluster.world.guests[104].node == "pve3" and not [
        line for line in made.sent() if line.startswith("GET") and "/lxc/" in line and "/migrate" in line
        and "?" in line]
    assert {row["vmid"] for row in answer.data["stays"]} == set(STAYS) - {104} | ({306} if version == "7.4" else set())


def test_one_that_fails_does_not_keep_the_others():
    made = crowded()
    answering(made, "/nodes/pve1/qemu/300/migrate", (500, "no"), "POST")
    answer = made.run("proxmox_drain_node", node="pve1")
    assert [row["state"] for row in answer.data["items"]].count("failed") == 1 and "11 of 12 steps done" in answer.text
    assert made.cluster.world.guests[301].node != "pve1"


@pytest.mark.parametrize("arguments, words", [
    ({"node": "nope"}, "There is no node nope"), ({"node": "pve1", "targets": ["pve1"]}, "it is no target"),
    ({"node": "pve1", "targets": ["pve3", "nope"]}, "There is no node nope"),
    ({"node": "pve2"}, "Node pve2 is offline")])
def test_nodes_that_cannot_be_used(arguments, words):
    made = bench(offline=("pve2",))
    answer = made.run("proxmox_drain_node", **arguments)
    assert answer.failed and words in answer.text and made.sent(reads=False) == []


def test_a_guest_that_cannot_be_read_stays_and_so_do_all_where_no_other_node_is_up():
    made = bench()
    answering(made, "/nodes/pve1/qemu/300/config", (500, "broken"))
    vm(made, 300)
    assert "cannot be read" in why(made, 300)
    made = bench(offline=("pve2", "pve3"))
    vm(made, 300)
    assert "VM 300 (g300) stays: no other node is online." in why(made, 300)


@pytest.mark.parametrize("bounds", [{"protected_guests": ("301",)}, {"allowed_guests": ("300",)}])
def test_what_ha_would_move_along_is_judged_too(bounds):
    made = bench(**bounds)
    managed(made, vm(made, 300), vm(made, 301), affinity="positive")
    for tool, arguments in (("migrate_vm", {"vmid": 300, "target": "pve2"}), ("drain_node", {"node": "pve1"}), (
            "api_call", {"verb": "POST", "path": "/nodes/pve1/qemu/300/migrate", "parameters": {"target": "pve2"}})):
        answer = made.run("proxmox_" + tool, **arguments)
        assert "HA moves it along" in answer.text and not [line for line in made.sent(reads=False) if "/300/" in line]
