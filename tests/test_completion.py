"""Completion: values from the cluster, few requests, nobody waits long, failures complete nothing."""
import threading

import pytest

from engine import PATIENCE, Talk
from support import Bench, answering, big
from tools.mcp import resources
from tools.mcp.app import App
from tools.mcp.completion import KEPT, MOST_KEPT, Completer
from tools.mcp.message import RpcError


def prompt(name):
    return {"type": "ref/prompt", "name": name}


def template(uri):
    return {"type": "ref/resource", "uri": uri}


GUEST, NODE = prompt("diagnose_guest"), prompt("plan_node_maintenance")
SNAPSHOT = template("pve://guest/{vmid}/snapshot/{snapname}")
STORAGE, BRIDGE, TASK = (template("pve://storage/{node}/{storage}"), template("pve://node/{node}/network/{bridge}"),
                         template("pve://task/{upid}/log"))

#: (reference, argument, typed, context) -> values, and the paths that were asked
COMPLETIONS = [
    (NODE, "node", "", {}, ["pve1", "pve2", "pve3"], ["/cluster/resources"]),
    (NODE, "node", "PVE2", {}, ["pve2"], ["/cluster/resources"]),
    (NODE, "node", "x", {}, [], ["/cluster/resources"]),
    (GUEST, "vmid", "10", {}, ["100", "101", "102", "103", "104", "105", "106", "107", "108", "9100"],
     ["/cluster/resources"]),
    (GUEST, "vmid", "web", {}, ["100"], ["/cluster/resources"]),                        # by name
    (SNAPSHOT, "vmid", "20", {"node": "pve3"}, ["203"], ["/cluster/resources"]),
    (STORAGE, "storage", "local", {"node": "pve1"}, ["local", "local-lvm"], ["/cluster/resources"]),
    (STORAGE, "storage", "tan", {}, ["tank"], ["/cluster/resources"]),
    (STORAGE, "storage", "tan", {"node": "pve1"}, [], ["/cluster/resources"]),
    (STORAGE, "node", "", {"storage": "local"}, ["pve1", "pve2", "pve3"], ["/cluster/resources"]),
    (BRIDGE, "bridge", "vmbr", {"node": "pve1"}, ["vmbr0", "vmbr1"], ["/cluster/resources", "/nodes/pve1/network"]),
    (BRIDGE, "bridge", "vmbr0", {"vmid": "101"}, ["vmbr0"], ["/cluster/resources", "/nodes/pve2/network"]),
    (BRIDGE, "bridge", "vmbr0", {}, ["vmbr0"], ["/cluster/resources", "/nodes/pve1/network"]),
    (BRIDGE, "bridge", "vmbr0", {"node": "../x"}, ["vmbr0"], ["/cluster/resources", "/nodes/pve1/network"]),
    (SNAPSHOT, "snapname", "", {"vmid": "203"}, ["clean"], ["/cluster/resources", "/nodes/pve3/lxc/203/snapshot"]),
    (SNAPSHOT, "snapname", "", {"vmid": "999"}, [], ["/cluster/resources"]),
    (SNAPSHOT, "snapname", "", {"vmid": "../1"}, [], ["/cluster/resources"]),
    (SNAPSHOT, "snapname", "", {}, [], ["/cluster/resources"]),
    (prompt("capacity"), "wanted", "3", {}, [], []),                                    # free text
]


@pytest.mark.parametrize("ref, name, typed, context, values, paths", COMPLETIONS)
def test_values(ref, name, typed, context, values, paths):
    bench = Bench()
    assert Completer(bench.host).complete(ref, name, typed, context) == values
    assert [path for _, path, _ in bench.cluster.requests] == paths


def test_tasks_are_found_by_upid_type_and_guest():
    completer = Completer(Bench().host)
    everything = completer.complete(TASK, "upid", "", {})
    backups = completer.complete(TASK, "upid", "vzdump", {})
    assert everything and all(upid.startswith("UPID:") for upid in everything)
    assert 0 < len(backups) < len(everything) and all(":vzdump:" in upid for upid in backups)
    assert completer.complete(TASK, "upid", everything[0][:30], {})[0] == everything[0]


@pytest.mark.parametrize("ref, name", [(prompt("nope"), "vmid"), (GUEST, "nope"), (GUEST, "node"),
                                       (template("pve://nope"), "x"),
                                       (template("pve://guest/100/status"), "vmid"), (TASK, "vmid")])
def test_what_cannot_be_completed(ref, name):
    with pytest.raises(RpcError):
        Completer(Bench().host).complete(ref, name, "", {})


def test_an_answer_is_kept_for_some_seconds():
    bench = Bench()
    completer = Completer(bench.host)
    for typed in ("", "1", "10", "100", "web"):
        completer.complete(GUEST, "vmid", typed, {})
    completer.complete(NODE, "node", "", {})
    assert len(bench.cluster.requests) == 1
    bench.clock.seconds += KEPT + 1
    completer.complete(NODE, "node", "", {})
    assert len(bench.cluster.requests) == 2


def test_what_is_kept_is_bounded():
    completer = Completer(Bench().host)
    for number in range(2 * MOST_KEPT):
        completer.rows("/nodes/{node}/network", {"node": "pve1"}, x=number)
    assert len(completer._answers) <= MOST_KEPT


def test_failures_complete_nothing_and_are_not_repeated_at_each_keystroke():
    bench = Bench(offline=("pve1",))
    completer = Completer(bench.host)
    for _ in range(3):
        assert completer.complete(BRIDGE, "bridge", "", {"node": "pve1"}) == []
    paths = [path for _, path, _ in bench.cluster.requests]
    # the client's own repeats
    assert paths.count("/cluster/resources") == 1 and 1 <= paths.count("/nodes/pve1/network") <= 3


@pytest.mark.parametrize("row", [{"type": "node", "node": "pve1\u202e\n"}, {"type": "node", "node": ["x"]},
                                 {"type": "node"}, {"type": "qemu", "vmid": "x"}, {"type": "qemu"},
                                 {"type": "storage", "storage": 7}])
def test_what_could_not_be_an_argument_is_not_offered(row):
    bench = Bench()
    answering(bench, "/cluster/resources", [row])
    completer = Completer(bench.host)
    for ref, name in ((NODE, "node"), (GUEST, "vmid"), (STORAGE, "storage"), (BRIDGE, "bridge")):
        assert completer.complete(ref, name, "", {}) == []


def test_nobody_waits_long(monkeypatch):
    gate, asked = threading.Event(), []

    def slow(call, *arguments, **params):
        asked.append(arguments)
        gate.wait(PATIENCE)
        return [{"type": "node", "node": "pve1", "status": "online"}]
    monkeypatch.setattr(resources.Call, "get", slow)
    completer = Completer(Bench().host, patience=0.01)
    assert completer.complete(NODE, "node", "", {}) == completer.complete(NODE, "node", "", {}) == []
    gate.set()
    assert completer._answers[next(iter(completer._answers))].ready.wait(PATIENCE)
    assert completer.complete(NODE, "node", "", {}) == ["pve1"] and len(asked) == 1


def test_guardrails_hold():
    completer = Completer(Bench(allowed_guests=("100-103",), allowed_nodes=("pve1", "pve2")).host)
    assert completer.complete(GUEST, "vmid", "", {}) == ["100", "101", "102"]
    assert completer.complete(NODE, "node", "", {}) == ["pve1", "pve2"]
    assert completer.complete(SNAPSHOT, "snapname", "", {"vmid": "203"}) == []
    assert completer.complete(BRIDGE, "bridge", "", {"node": "pve3"}) != []           # of a node that is allowed


def test_over_mcp():
    bench = Bench(big())
    talk = Talk(App(bench.host.settings, None, bench.host))
    found = talk.call("completion/complete", {"ref": GUEST,
                                              "argument": {"name": "vmid", "value": ""}})["result"]["completion"]
    assert len(found["values"]) == 100 and found["total"] == 10000 and found["hasMore"] is True
    found = talk.call_modern("completion/complete", {"ref": SNAPSHOT, "argument": {"name": "snapname", "value": ""},
                                                     "context": {"arguments": {"vmid": "999"}}})["result"]["completion"]
    assert found == {"values": [], "total": 0, "hasMore": False}
    answer = talk.call("completion/complete", {"ref": prompt("nope"), "argument": {"name": "vmid", "value": ""}})
    assert answer["error"]["code"] == -32602
