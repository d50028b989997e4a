"""Resources: what is listed and read, with how many requests, and what is missing, hidden, switched off or broken."""
import json

import pytest

from engine import Talk
from support import Bench, big
from tools.base.failures import Failure
from tools.mcp import resources
from tools.mcp.app import App
from tools.mcp.resources import MOST, RESOURCES, TASK, TEMPLATES, NotFound
from tools.mcp.run import Nobody
from tools.pve.client import PveError


def listed(bench):
    return resources.listed(bench.host, Nobody())


def read(bench, uri):
    contents = resources.read(bench.host, Nobody(), uri)
    assert len(contents) == 1 and contents[0]["uri"] == uri and contents[0]["mimeType"] == "application/json"
    return json.loads(contents[0]["text"])


def uris(bench):
    return [entry["uri"] for entry in listed(bench)]


def test_the_list_takes_one_request():
    bench = Bench()
    entries = listed(bench)
    assert [(verb, path) for verb, path, _ in bench.cluster.requests] == [("GET", "/cluster/resources")]
    for entry in entries:
        assert set(entry) == {"uri", "name", "title", "description", "mimeType"} and all(entry.values())
    assert len({entry["uri"] for entry in entries}) == len({entry["name"] for entry in entries}) == len(entries)
    found = [entry["uri"] for entry in entries]
    for uri in ("pve://cluster/status", "pve://node/pve3/status", "pve://storage/pve1/nas", "pve://storage/pve2/local",
                "pve://guest/100/status", "pve://guest/203/config"):
        assert uri in found
    assert "pve://storage/pve2/nas" not in found                            # shared: listed once
    assert "web01" in entries[found.index("pve://guest/100/status")]["title"]


def test_everything_listed_can_be_read():
    bench = Bench()
    for uri in uris(bench):
        before = len(bench.cluster.requests)
        assert isinstance(read(bench, uri), dict)
        assert len(bench.cluster.requests) - before <= 2 + len(bench.cluster.world.nodes)


READ = [
    ("pve://cluster/status", "cluster", "demo"), ("pve://node/pve1/status", "node", "pve1"),
    ("pve://guest/100/status", "name", "web01"),
    ("pve://guest/100/config", "name", "web01"), ("pve://guest/203/config", "hostname", "dev"),
    ("pve://storage/pve1/local", "type", "dir"),
    ("pve://storage/pve3/nas", "storage", "nas"), ("pve://guest/203/snapshot/clean", "snapshot", "clean"),
    ("pve://node/pve1/network/vmbr0", "iface", "vmbr0"), ("pve://guest/%31%30%30/status", "vmid", 100)]


@pytest.mark.parametrize("uri, key, value", READ)
def test_read(uri, key, value):
    assert read(Bench(), uri)[key] == value


@pytest.mark.parametrize("encoded", [True, False])
def test_a_tasks_log(encoded):
    bench = Bench()
    upid = bench.host.run("proxmox_list_tasks", {"limit": 1}).data["items"][0]["upid"]
    uri = TASK.uri({"upid": upid}) if encoded else "pve://task/%s/log" % upid
    assert ("%3A" in uri) == encoded
    task = read(bench, uri)
    assert task["task"]["upid"] == upid and task["log"]


MISSING = ["", "pve://", "pve://nope", "pve://cluster", "pve://cluster/status/", "http://cluster/status",
           "PVE://cluster/status",
           "pve://guest/999/status", "pve://guest/99/status", "pve://guest/0100/status", "pve://guest/abc/status",
           "pve://guest//status",
           "pve://guest/../status", "pve://guest/%2e%2e/status", "pve://guest/100%2fstatus/config",
           "pve://guest/100/nope",
           "pve://guest/100/status\n", "pve://guest/\u0661\u0660\u0660/status", "pve://guest/100?x/status",
           "pve://guest/{vmid}/status",
           "pve://node/nope/status", "pve://node/pve1%00/status", "pve://node/pve1/network/vmbr99",
           "pve://storage/pve1/nope",
           "pve://storage/nope/nas", "pve://storage/pve1/tank", "pve://guest/203/snapshot/nope",
           "pve://guest/203/snapshot/current%20",
           "pve://task/UPID:nope/log", "pve://task/UPID:pve1:00001234:0000ABCD:65000000:qmstart:100:root@pam:/log"]


@pytest.mark.parametrize("uri", MISSING)
def test_what_does_not_exist_is_missing(uri):
    bench = Bench()
    with pytest.raises(NotFound):
        resources.read(bench.host, Nobody(), uri)
    assert not any(".." in path or "%" in path for _, path, _ in bench.cluster.requests)


def test_what_does_not_answer_has_failed():
    bench = Bench(offline=("pve3",))
    assert "pve://node/pve3/status" in uris(bench)                          # it is there, only down
    with pytest.raises(Failure, match="pve3"):
        resources.read(bench.host, Nobody(), "pve://guest/107/config")
    assert read(bench, "pve://guest/100/config")["name"] == "web01"


def test_without_elevated_tools_a_node_is_what_the_list_of_nodes_says():
    bench = Bench(allow_elevated=False)
    assert "pve://node/pve1/status" in uris(bench)
    node = read(bench, "pve://node/pve1/status")
    assert node["node"] == "pve1" and "kernel" not in node
    assert node["maxmem"] == read(Bench(), "pve://node/pve1/status")["maxmem"]
    for uri in uris(bench):
        read(bench, uri)


def test_tools_that_are_switched_off_take_their_resources_along():
    bench = Bench(tools=("-proxmox_get_vm_config", "-proxmox_get_cluster_status", "-proxmox_get_node*",))
    found = uris(bench)
    assert "pve://guest/100/config" not in found
    assert "pve://guest/203/config" in found and "pve://guest/100/status" in found
    assert not any(uri.startswith(("pve://cluster", "pve://node")) for uri in found)
    with pytest.raises(Failure, match="switched off"):
        resources.read(bench.host, Nobody(), "pve://guest/100/config")


@pytest.mark.parametrize("limits, hidden, shown", [
    ({"allowed_guests": ("100-199",)}, ["pve://guest/200/status", "pve://guest/203/config"], "pve://guest/100/status"),
    ({"allowed_nodes": ("pve1",)}, ["pve://node/pve2/status", "pve://guest/101/status", "pve://storage/pve2/local"],
     "pve://storage/pve1/local")])
def test_guardrails_hold(limits, hidden, shown):
    bench = Bench(**limits)
    found = uris(bench)
    assert shown in found and read(bench, shown)
    for uri in hidden:
        assert uri not in found
        with pytest.raises(NotFound):
            resources.read(bench.host, Nobody(), uri)


def test_a_shared_storage_is_listed_where_it_is_available():
    bench = Bench(offline=["pve1"])
    found = uris(bench)
    assert "pve://storage/pve2/nas" in found and "pve://storage/pve1/nas" not in found
    assert len([uri for uri in found if uri.endswith("/nas")]) == 1


def test_a_big_cluster_is_listed_in_part_and_read_in_full():
    bench = Bench(big())
    entries = listed(bench)
    found = [entry["uri"] for entry in entries]
    assert len(bench.cluster.requests) == 1
    assert sum(uri.endswith("/config") for uri in found) == MOST and len(json.dumps(entries)) < 100000
    assert "100 of 10," in entries[0]["description"] and "template" in entries[0]["description"]
    last = bench.host.run("proxmox_get_vms", {"limit": 1, "offset": 9999}).data["items"][0]["vmid"]
    assert "pve://guest/%d/status" % last not in found and read(bench, "pve://guest/%d/status" % last)["vmid"] == last


def test_names_from_guests_are_shown_not_obeyed(monkeypatch):
    row = {"type": "qemu", "vmid": 100, "node": "pve1", "status": "running", "name": "a\u202eb\n\x1b[31m" + "x" * 500}
    found = {"node": [], "storage": [], "guest": [row, dict(row, vmid="x/y")]}
    monkeypatch.setattr(resources, "_look", lambda host, request: found)
    entries = listed(Bench())
    assert [entry["uri"] for entry in entries[1:]] == ["pve://guest/100/status", "pve://guest/100/config"]
    assert "\\u202e" in entries[1]["title"] and entries[1]["title"].isprintable() and len(entries[1]["title"]) < 100


def test_templates():
    templates = resources.templates()
    assert [template["uriTemplate"] for template in templates] == [resource.template for resource in TEMPLATES]
    assert len({template["name"] for template in templates}) == len(templates) == len(RESOURCES) - 1


def test_over_mcp():
    talk = Talk(App(Bench(offline=("pve3",)).host.settings, None, Bench(offline=("pve3",)).host))
    assert len(talk.call("resources/list")["result"]["resources"]) > 30
    assert "uriTemplate" in talk.call("resources/templates/list")["result"]["resourceTemplates"][0]
    assert "web01" in talk.call("resources/read", {"uri": "pve://guest/100/status"})["result"]["contents"][0]["text"]
    for call, code in ((talk.call, -32002), (talk.call_modern, -32602)):
        assert call("resources/read", {"uri": "pve://guest/999/status"})["error"]["code"] == code
        answer = call("resources/read", {"uri": "pve://guest/107/status"})["error"]
        assert answer["code"] == -32603 and "pve3" in answer["message"]


def test_a_proxmox_that_is_not_there_is_told():
    bench = Bench()
    bench.cluster.offline.update(("pve1", "pve2", "pve3"))
    bench.host.client.request = refuse
    talk = Talk(App(bench.host.settings, None, bench.host))
    for method, params in (("resources/list", None), ("resources/read", {"uri": "pve://guest/100/status"})):
        assert talk.call(method, params)["error"] == {"code": -32603, "message": "pve1:8006 refused the connection."}


def test_why_it_failed_holds_nothing_invisible(monkeypatch):
    def fail(*arguments, **more):
        raise PveError("a\u202eb\x07 PVEAPIToken=root@pam!demo=secret")
    bench = Bench()
    monkeypatch.setattr(bench.host.client, "request", fail)
    answer = Talk(App(bench.host.settings, None, bench.host)).call("resources/list")
    assert answer["error"]["message"] == "a\\u202eb\\u0007 PVEAPIToken=root@pam!demo=***"


def refuse(*arguments, **more):
    raise PveError("pve1:8006 refused the connection.", outcome="unsent")
