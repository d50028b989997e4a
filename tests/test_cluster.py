"""Tools about the cluster as a whole."""
import pytest

import support
from tools.pve.client import PveError, Reply

CASES = [
    ("proxmox_get_nodes", {}, ["GET /nodes"]),
    ("proxmox_get_node_status", {"node": "pve2"}, ["GET /nodes/pve2/status"]),
    ("proxmox_get_cluster_status", {}, ["GET /cluster/status", "GET /cluster/resources"] + [
        "GET /nodes/%s/qemu full=1" % node for node in ("pve1", "pve2", "pve3")]),
    ("proxmox_get_next_vmid", {}, ["GET /cluster/nextid"]),
]

AUDITOR = {"root@pam!demo": {"value": None, "acl": {}}}


def canned(bench, **answers):
    """Make `bench` answer what lies below a path's last part as given: data, a Reply, or a PveError to raise."""
    real = bench.host.client.request

    def request(verb, path, params=None, *rest, **options):
        answer = answers.get(path.rpartition("/")[2])
        if isinstance(answer, PveError):
            raise answer
        if answer is None:
            return real(verb, path, params, *rest, **options)
        return answer if isinstance(answer, Reply) else Reply(answer)
    bench.host.client.request = request
    return bench


def run(tool, *offline, **arguments):
    """The Answer of a tool on a fresh demo cluster with some nodes down."""
    return support.Bench(offline=offline).run(tool, **arguments)


# ---------------------------------------------------------------------------------------------------------------- nodes

def test_nodes_with_one_down():
    answer = run("proxmox_get_nodes", "pve3")
    assert answer.text.startswith("\u2705 3 nodes, 2 online (offline: pve3)\n")
    assert answer.data["items"][2] == {"node": "pve3", "status": "offline", "ssl_fingerprint": support.DemoCluster(
        ).world.nodes["pve3"].fingerprint}


def test_nodes_are_normalised():
    bench = canned(support.Bench(), nodes=[
        {"node": "b", "status": "online", "cpu": "0.5", "maxcpu": "4", "mem": "1024", "maxmem": "4096", "level": ""},
        {"node": "a", "status": "unknown", "cpu": 0, "mem": 0}])
    answer = bench.run("proxmox_get_nodes")
    assert answer.data["items"] == [{"node": "a", "status": "unknown"}, {
        "node": "b", "status": "online", "cpu": 0.5, "maxcpu": 4, "mem": 1024, "maxmem": 4096}]
    assert "50 % of 4 cores" in answer.text and "1 KiB of 4 KiB (25 %)" in answer.text


def test_nodes_without_the_right_to_see_figures():
    assert "Sys.Audit" in support.Bench(tokens=AUDITOR).run("proxmox_get_nodes").text


def test_node_status():
    answer = run("proxmox_get_node_status", node="pve1")
    assert answer.data["maxcpu"] == 32 and 0 < answer.data["cpu"] < 1
    assert all(isinstance(load, (int, float)) for load in answer.data["loadavg"]) and len(answer.data["loadavg"]) == 3
    assert answer.data["kernel"].endswith("-pve") and "boot: efi, secure boot" in answer.text


def test_node_status_of_an_old_or_sparing_node():
    bench = canned(support.Bench(), status={"cpu": 0, "kversion": "Linux 5.15", "memory": {"used": 0, "total": 0}})
    answer = bench.run("proxmox_get_node_status", node="pve1")
    assert answer.data["kernel"] == "Linux 5.15" and "loadavg" not in answer.data
    assert "memory" not in answer.text


def test_node_status_is_elevated():
    answer = support.Bench(allow_elevated=False).run("proxmox_get_node_status", node="pve1")
    assert answer.failed and answer.text.startswith("\U0001f6ab Permission Denied: ")


def test_an_unknown_node_is_named_with_those_there_are():
    answer = run("proxmox_get_node_status", node="pve9")
    assert answer.failed and "no node pve9" in answer.text and "pve1, pve2, pve3" in answer.text


def test_a_node_that_is_down_is_a_clear_failure():
    answer = run("proxmox_get_node_status", "pve3", node="pve3")
    assert answer.failed and "pve3" in answer.text


# -------------------------------------------------------------------------------------------------------------- cluster

def test_cluster_status():
    answer = run("proxmox_get_cluster_status")
    assert answer.text.startswith("\u2705 Cluster demo: quorate; 3 nodes, all online\n")
    assert answer.data["quorate"] is True and answer.data["guests"]["total"] == 17
    assert sum(answer.data["guests"]["by_status"].values()) == 17
    assert [row["storage"] for row in answer.data["storages_nearly_full"]] == ["scratch"]
    assert [(row["storage"], row["not_on"]) for row in answer.data["storages_lost"]] == [
        ("old-nas", ["pve1", "pve2", "pve3"])]
    assert "Locked: 106 (backup)" in answer.text


def test_cluster_status_never_fails_for_a_node_that_is_down():
    answer = run("proxmox_get_cluster_status", "pve3")
    assert not answer.failed and "3 nodes, 2 online (offline: pve3)" in answer.text and "unknown" in answer.text
    assert answer.data["nodes"][2] == {"node": "pve3", "status": "offline", "online": False, "ip": "10.0.0.13",
                                       "nodeid": 3, "local": False}
    assert all("pve3" not in row["not_on"] for row in answer.data["storages_lost"])


def test_cluster_status_without_quorum():
    answer = run("proxmox_get_cluster_status", "pve2", "pve3")
    assert "NO QUORUM" in answer.text and answer.data["quorate"] is False


def test_cluster_status_without_the_right_says_what_it_can():
    bench = support.Bench(tokens=AUDITOR)
    answer = bench.run("proxmox_get_cluster_status")
    assert not answer.failed and "quorate" not in answer.data
    assert answer.text.startswith("\u2705 3 nodes, all online\n") and "Sys.Audit on /." in answer.text
    assert "VM.Audit" in answer.text and "Datastore.Audit" in answer.text
    assert bench.sent() == ["GET /cluster/status", "GET /nodes", "GET /cluster/resources"]


def test_a_failure_that_is_no_403_is_told():
    bench = canned(support.Bench(), status=PveError("broken", status=500))
    answer = bench.run("proxmox_get_cluster_status")
    assert answer.failed and "broken" in answer.text


def test_a_single_node_is_no_cluster():
    bench = canned(support.Bench(), status=[{"type": "node", "name": "pve", "online": "1", "local": 1}], resources=[])
    answer = bench.run("proxmox_get_cluster_status")
    assert answer.text.startswith("\u2705 A single node, no cluster: 1 node, online\n")
    assert answer.data["nodes"] == [{"node": "pve", "status": "online", "online": True, "local": True}]


@pytest.mark.parametrize("answers", ["text", "data", "both"])
def test_a_large_cluster_fits(answers):
    bench = support.Bench(support.big(2000), answers=answers)
    for tool in ("proxmox_get_cluster_status", "proxmox_get_nodes", "proxmox_get_storage"):
        answer = bench.run(tool)
        assert len(bench.sent()) <= 2
        assert support.weight(answer, answers) <= 25000


# ------------------------------------------------------------------------------------------------------------ next vmid

def test_next_vmid():
    answer = run("proxmox_get_next_vmid")
    assert answer.text == "\u2705 Free now, not reserved:\nvmid: 109" and answer.data["vmid"] == 109
