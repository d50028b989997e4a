"""What fills a storage, who uses the most, what is committed: exact requests and figures."""
import pytest

from support import Bench, answering, big, ok
from tools.pve import text

ALL = "GET /cluster/resources"
LVM, NAS = "GET /nodes/pve1/storage/local-lvm/", "GET /nodes/pve1/storage/nas/"
MONTH = "rrddata cf=%s timeframe=month"
CASES = [
    ("proxmox_get_storage_usage", {"storage": "local-lvm", "node": "pve1", "limit": 50, "offset": 0},
     [ALL, LVM + "content", LVM + "status", LVM + MONTH % "AVERAGE"] + ["GET /nodes/pve1/%s/config" % path for path in (
         "qemu/100", "lxc/200", "qemu/9000", "lxc/9100")]),
    ("proxmox_get_storage_usage", {"storage": "nas"},
     [ALL, NAS + "content", NAS + "status", NAS + MONTH % "AVERAGE", "GET /nodes/pve1/qemu/108/config"]),
    ("proxmox_get_top", {}, [ALL]),
    ("proxmox_get_top", {"by": "memory", "nodes": True, "most": 2}, [ALL]),
    ("proxmox_get_top", {"by": "disk", "node": "pve1", "pool": "production", "tag": "prod", "name": "*"},
     [ALL, "GET /cluster/metrics/export history=1 start-time={start}", ALL],
     lambda bench: {"start": int(bench.clock.now()) - 180}),
    ("proxmox_get_top", {"by": "pressure", "node": "pve1"}, [ALL, "GET /nodes/pve1/qemu", "GET /nodes/pve1/lxc"]),
    ("proxmox_get_top", {"by": "pressure", "nodes": True},
     [ALL] + ["GET /nodes/%s/rrddata cf=AVERAGE timeframe=hour" % node for node in ("pve2", "pve3", "pve1")]),
    ("proxmox_get_capacity", {"node": "pve3", "pool": "lab"}, [ALL, "GET /nodes/pve3/" + MONTH % "MAX"]),
    ("proxmox_get_capacity", {"node": "pve3", "name": "mon*", "tag": "infra"},
     [ALL, "GET /nodes/pve3/" + MONTH % "MAX", "GET /nodes/pve3/qemu/103/" + MONTH % "MAX"]),
]
GIB = 1 << 30


# ------------------------------------------------------------------------------------------------- what fills a storage

def test_what_fills_a_storage():
    answer = ok(Bench().run("proxmox_get_storage_usage", storage="local-lvm", node="pve1"))
    rows = {row["what"]: row for row in answer.data["items"]}
    assert rows["VM 100 (web01)"]["volumes"] == 2 and "8.5 GiB is memory of snapshots" in rows["VM 100 (web01)"]["note"]
    assert answer.data["items"] == sorted(answer.data["items"], key=lambda row: -row["size"])
    answer = ok(Bench().run("proxmox_get_storage_usage", storage="nas"))
    assert "no discard on ide0, so what is deleted inside stays taken" in answer.text
    assert {"backups", "ISO images", "container templates"} <= {row["what"] for row in answer.data["items"]}


def test_volumes_of_guests_that_are_gone_and_over_commitment():
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/local-lvm/content", [
        {"volid": "local-lvm:vm-777-disk-0", "content": "images", "size": 900 * GIB, "vmid": 777},
        {"volid": "local-lvm:vm-100-disk-0", "content": "images", "size": 100 * GIB, "vmid": 100},
        {"volid": "local-lvm:x", "content": "backup", "size": GIB, "vmid": 778}])
    answer = ok(bench.run("proxmox_get_storage_usage", storage="local-lvm", node="pve1"))
    rows = {row["what"]: row for row in answer.data["items"]}
    assert rows["volumes of nobody"]["note"] == "local-lvm:vm-777-disk-0" and "backups of guests that are gone" in rows
    assert "Over-committed: its disks may grow to 1000 GiB, 125 % of its size." in answer.text
    assert answer.data["provisioned_bytes"] == 1000 * GIB


def test_when_a_storage_is_full_at_this_rate():
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/nas/status", {"used": 90 * GIB, "total": 100 * GIB})
    answering(bench, "/nodes/pve1/storage/nas/rrddata",
              [{"time": day * 86400, "used": (80 + day) * GIB} for day in range(11)])
    answer = ok(bench.run("proxmox_get_storage_usage", storage="nas"))
    assert "It grew by 1 GiB a day in the last 9 days; at this rate it is full in 10 days (" in answer.text


@pytest.mark.parametrize("arguments, says", [
    ({"storage": "nix"}, "There is no storage nix that is available."),
    ({"storage": "old-nas"}, "There is no storage old-nas that is available."),
    ({"storage": "local"}, "Each node has a storage local of its own: say which node (pve1, pve2, pve3)."),
    ({"storage": "tank", "node": "pve1"}, "There is no storage tank that is available on pve1.")])
def test_which_storage_is_meant(arguments, says):
    answer = Bench().run("proxmox_get_storage_usage", **arguments)
    assert answer.failed and says in answer.text


# ---------------------------------------------------------------------------------------------------- who uses the most

def test_who_uses_the_most():
    answer = ok(Bench().run("proxmox_get_top", most=3))
    assert answer.text.startswith("\u2705 The most by cpu of 10 running guests\n") and len(answer.data["items"]) == 3
    used = [row["cpu"] * row["maxcpu"] for row in answer.data["items"]]
    assert used == sorted(used, reverse=True) and "Nodes: pve1 CPU " in answer.text
    answer = ok(Bench().run("proxmox_get_top", by="memory", nodes=True))
    assert [row["node"] for row in answer.data["items"]] == ["pve2", "pve1", "pve3"]


def test_rates_from_the_metrics_that_proxmox_keeps():
    bench = Bench()
    points = [{"id": name, "metric": metric, "timestamp": 1000 + 10 * n, "type": "derive", "value": n * rate * 10}
              for n in range(4) for name, metric, rate in (
                  ("qemu/100", "net_in", 500), ("qemu/100", "net_out", 700), ("lxc/200", "net_in", 9000))]
    answering(bench, "/cluster/metrics/export", {"data": points})
    answer = ok(bench.run("proxmox_get_top", by="network"))
    first, second = answer.data["items"][:2]
    assert (first["vmid"], first["first"]) == (200, 9000) and "second" not in first
    assert (second["vmid"], second["first"], second["second"]) == (100, 500, 700)
    assert "Rates are averages of about 3 min." in answer.text


def test_rates_from_two_looks_where_proxmox_keeps_no_metrics():
    answer = ok(Bench().run("proxmox_get_top", by="disk"))
    assert "Rates are averages of 12 seconds." in answer.text
    assert answer.data["items"][0]["first"] > 0 and answer.data["items"][0]["second"] > 0


def test_who_waits_the_most():
    bench = Bench()
    answering(bench, "/nodes/pve2/lxc", [{"vmid": vmid, "pressurecpusome": "1.5", "pressureiosome": io,
                                          "pressurememorysome": 0} for vmid, io in ((201, "2"), (202, "47.2"))])
    answer = ok(bench.run("proxmox_get_top", by="pressure"))
    assert [row["vmid"] for row in answer.data["items"]][:2] == [202, 201] and len(bench.sent()) == 4
    assert "cpu 1.5 %, io 47 %, memory 0 %" in answer.text
    assert "The most by pressure of 5 running guests on pve2, pve3\n" in answer.text
    assert "Of 5 more nothing is known: only the busiest nodes are asked; node=NODE asks another." in answer.text
    assert ok(bench.run("proxmox_get_top", by="pressure", nodes=True)).data["total"] == 3


@pytest.mark.parametrize("nodes", [None, True])
def test_pressure_that_an_old_node_does_not_tell(nodes):
    bench = Bench()
    for path in ("qemu", "lxc", "rrddata"):
        for node in ("pve1", "pve2", "pve3"):
            answering(bench, "/nodes/%s/%s" % (node, path), [{"vmid": 100}])
    answer = bench.run("proxmox_get_top", by="pressure", nodes=nodes)
    assert answer.failed and "Pressure is told by Proxmox VE 9 and later" in answer.text


# -------------------------------------------------------------------------------------------------------- capacity

def test_capacity_by_node():
    answer = ok(Bench().run("proxmox_get_capacity"))
    rows = {row["node"]: row for row in answer.data["items"]}
    assert rows["pve1"]["cores"] == 32 and rows["pve1"]["committed"] <= rows["pve1"]["committed_all"]
    assert 0 < rows["pve2"]["fits"] <= rows["pve2"]["memory"] - rows["pve2"]["committed"]


def test_a_filter_of_guests_does_not_change_what_a_node_has_committed():
    every, one = (ok(Bench().run("proxmox_get_capacity", **given)).data["items"] for given in ({}, {"name": "web01"}))
    assert [row["committed"] for row in every] == [row["committed"] for row in one]


def test_the_peaks_of_the_guests_asked_for_and_the_room_there_is():
    answer = ok(Bench().run("proxmox_get_capacity", name="ci01"))
    assert "VM 105 (ci01) on pve3, peaks: CPU 28 % of 2 cores, memory 43 % of 4 GiB." in answer.text
    answer = ok(Bench().run("proxmox_get_capacity", pool="production"))
    assert "Pools, running: production 16 vCPUs, 27 GiB committed, 20.6 GiB used." in answer.text
    assert "Room for disks, the fullest first: scratch on pve3 " in answer.text


def test_guests_that_are_too_large_or_too_small():
    bench = Bench()
    answering(bench, "/nodes/pve2/qemu/101/rrddata", [{"cpu": 0.99, "mem": 15 * GIB, "maxmem": 16 * GIB}])
    answering(bench, "/nodes/pve1/qemu/100/rrddata", [{"cpu": 0.02, "mem": GIB / 2, "maxmem": 4 * GIB}, {}])
    answer = ok(bench.run("proxmox_get_capacity"))
    assert answer.data["starved"] == [101] and 100 in answer.data["oversized"]
    assert "Too small: 101 (db01): CPU up to 99 %." in answer.text
    assert "100 (web01): never more than 12 % of its 4 GiB, never more than 2.0 % of its 4 cores" in answer.text


@pytest.mark.parametrize("tool, arguments", [("get_top", {"by": "network"}), ("get_capacity", {})])
def test_ten_thousand_guests(tool, arguments):
    bench = Bench(big())
    answer = ok(bench.run("proxmox_" + tool, **arguments))
    assert text.weight(answer.text) <= 8000 and len(bench.sent()) <= 25
