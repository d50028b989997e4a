"""The cluster at a glance, what is inside guests, history and pending changes."""

import pytest

from support import Bench, answering, ok, weight

FIND = "GET /cluster/resources type=vm"
AGENT = "GET /nodes/pve1/qemu/100/agent/"
RRD = "/rrddata cf=AVERAGE timeframe="


CASES = [
    ("proxmox_get_inside", {"vmids": "web01, 200 102"},
     [FIND, AGENT + "get-osinfo", "GET /nodes/pve1/lxc/200/config", "GET /nodes/pve1/lxc/200/interfaces",
      AGENT + "get-host-name", AGENT + "network-get-interfaces", AGENT + "get-fsinfo"]),
    ("proxmox_get_history", {"vmid": 100}, [FIND, "GET /nodes/pve1/qemu/100" + RRD + "day"]),
    ("proxmox_get_history", {"vmid": 200, "timeframe": "hour"}, [FIND, "GET /nodes/pve1/lxc/200" + RRD + "hour"]),
    ("proxmox_get_history", {"node": "pve1", "timeframe": "year"}, ["GET /nodes/pve1" + RRD + "year"]),
    ("proxmox_get_history", {"node": "pve1", "storage": "local"}, ["GET /nodes/pve1/storage/local" + RRD + "day"]),
]


# ------------------------------------------------------------------------------------------------------- inside a guest

def inside(bench, vmid):
    return ok(bench.run("proxmox_get_inside", vmids=[vmid])).data["guests"][0]


def test_addresses_as_version_8_tells_them():
    bench = Bench()
    answering(bench, "/nodes/pve1/lxc/200/interfaces",
              [{"name": "eth0", "hwaddr": "aa:bb", "inet": "10.0.0.5/24", "inet6": "fe80::1/64"}])
    assert inside(bench, 200)["addresses"] == ["10.0.0.5/24"]


@pytest.mark.parametrize("vmid, words", [(102, "It is stopped."), (999, "There is no such guest"), (101, "agent"),
                                         (108, "agent")])
def test_a_guest_that_does_not_tell(vmid, words):
    bench = Bench()
    bench.cluster.world.guests[101].conf.pop("agent", None)
    bench.cluster.world.guests[108].conf["agent"] = "1"
    answering(bench, "/nodes/pve1/qemu/108/agent/get-osinfo", (500, "QEMU guest agent is not running"))
    answer = bench.run("proxmox_get_inside", vmids=[vmid])
    assert answer.failed and words in answer.text, answer.text


def test_an_old_agent_knows_less_and_what_it_refuses_is_said():
    bench = Bench()
    for name in ("get-host-name", "get-fsinfo"):
        answering(bench, AGENT[4:] + name, (500, "Agent error: The command %s has not been found" % name))
    answer = ok(bench.run("proxmox_get_inside", vmids=[100]))
    assert "VM 100 (web01): Debian GNU/Linux 13 (trixie); 10.0.0.100" in answer.text
    assert "    Proxmox refused GET " in answer.text and "command get-fsinfo has not been found" in answer.text
    assert "hostname" not in answer.data["guests"][0] and len(answer.data["guests"][0]["notes"]) == 2
    answering(bench, AGENT[4:] + "get-host-name", {"result": {"host-name": "web01"}})
    answering(bench, AGENT[4:] + "get-fsinfo", {"result": [{"mountpoint": "/m%03d" % n, "type": "ext4"}
                                                           for n in range(150)]})
    answer = ok(bench.run("proxmox_get_inside", vmids=[100]))
    assert "/m119 (ext4): -\n    30 more file systems are not shown." in answer.text


def test_inside_several_guests_at_once():
    bench = Bench()
    answer = ok(bench.run("proxmox_get_inside", vmids=[100, "dns", "102", 999, 100]))
    assert bench.sent().count(FIND) == 1
    lines = answer.text.split("\n")
    assert lines[0][2:] == "Inside 4 guests, 2 of which do not tell"
    assert lines[1:4] == ["VM 100 (web01): Debian GNU/Linux 13 (trixie); web01; 10.0.0.100, 10.0.20.100",
                          "    / (ext4, /dev/sda1): 13 GiB of 31 GiB (42 %)",
                          "    /boot/efi (vfat, sda15): 9 MiB of 124 MiB (7.3 %)"]
    assert lines[4].startswith("Container 200 (dns): debian; dns; 10.0.0.53") and "    / (rootfs, " in lines[5]
    assert lines[6:] == ["VM 102 (win11): It is stopped.",
                         "Guest 999: There is no such guest, or the token may not see it."]
    assert answer.data["guests"][0]["filesystems"][0] == {
        "mountpoint": "/", "type": "ext4", "device": "/dev/sda1", "total": 33285996544, "used": 13958643712}


def test_a_guest_that_does_not_tell_costs_a_line_and_one_question():
    bench = Bench()
    answering(bench, AGENT[4:] + "get-osinfo", (500, "QEMU guest agent is not running"))
    answer = ok(bench.run("proxmox_get_inside", vmids="100,205"))
    assert [line for line in bench.sent() if "agent" in line] == [AGENT + "get-osinfo"]
    assert "VM 100 (web01): Proxmox refused" in answer.text and "not running" in answer.text
    assert "Container 205 (media): " in answer.text                # it is off: its configuration tells
    answer = bench.run("proxmox_get_inside", vmids="100,102")
    assert answer.failed and "VM 102 (win11): It is stopped." in answer.text and "VM 100" in answer.text
    answering(bench, AGENT[4:] + "get-osinfo", (500, "Agent error: The command get-osinfo has not been found"))
    assert "VM 100 (web01): web01; 10.0.0.100" in ok(bench.run("proxmox_get_inside", vmids="100")).text


def test_inside_names_are_numbers_before_anything_is_judged():
    bench = Bench(allowed_guests=("100",))
    answer = bench.run("proxmox_get_inside", vmids="100,200")
    assert answer.failed and "Guest 200 is out of bounds" in answer.text and bench.sent() == []
    for words, says in (("web01,nope", "is called nope."), ("100,1e", "is called 1e."), ("12", "'12' is not a")):
        answer = bench.run("proxmox_get_inside", vmids=words)
        assert answer.failed and says in answer.text and set(bench.sent()) <= {FIND}


def test_fifty_guests_with_many_file_systems_fit_one_answer():
    bench = Bench()
    guests = bench.host.client.request("GET", "/cluster/resources", {"type": "vm"}).data
    rows = [dict(guests[0], vmid=1000 + n, node="pve1") for n in range(50)]
    answering(bench, "/cluster/resources", rows)
    for row in rows:
        for name, data in (("get-osinfo", {"pretty-name": "x" * 300}), ("get-host-name", {"host-name": "y" * 250}),
                           ("network-get-interfaces", [{"name": "e", "ip-addresses": [
                               {"ip-address": "fd00::%d" % n, "prefix": 64} for n in range(99)]}]),
                           ("get-fsinfo", [{"mountpoint": "/" + "m" * 90 + str(n), "type": "ext4", "name": "sda",
                                            "total-bytes": 1 << 40, "used-bytes": n << 30} for n in range(99)])):
            answering(bench, "/nodes/pve1/qemu/%d/agent/%s" % (row["vmid"], name), {"result": data})
    for answers in ("text", "data"):
        bench.host.settings.answers = answers
        assert weight(ok(bench.run("proxmox_get_inside", vmids=[str(row["vmid"]) for row in rows])), answers) <= 100000


# -------------------------------------------------------------------------------------------------------------- history

def test_history_of_a_guest():
    answer = ok(Bench().run("proxmox_get_history", vmid=100))
    assert "History of guest 100 (web01), the last day" in answer.text and "average" in answer.text
    metrics = {metric["metric"]: metric for metric in answer.data["metrics"]}
    assert set(metrics) == {"cpu", "mem", "netin", "netout", "diskread",
                            "diskwrite"}           # a VM's disk use is not known
    assert metrics["mem"]["total"] == 4 << 30 and 0 < metrics["cpu"]["maximum"] <= 1
    assert metrics["cpu"]["maximum_at"] in answer.data["metrics"][0].values() and " UTC), last " in answer.text
    answer = ok(Bench().run("proxmox_get_history", vmid=200))
    assert "disk" in {metric["metric"] for metric in answer.data["metrics"]}


@pytest.mark.parametrize("arguments", [{}, {"storage": "local"}, {"vmid": 100, "storage": "local"}])
def test_history_of_nothing_is_refused(arguments):
    bench = Bench()
    answer = bench.run("proxmox_get_history", **arguments)
    assert answer.failed and "Say whose history" in answer.text
    assert set(bench.sent()) <= {"GET /cluster/resources type=vm"}


def test_history_with_gaps_and_without_any():
    bench = Bench()
    answering(bench, "/nodes/pve1/rrddata", [{"time": 60 * n} for n in range(70)])
    assert "There is no history of node pve1 in the last day." in ok(bench.run("proxmox_get_history", node="pve1")).text
    rows = [{"time": 60}, {"time": 120, "cpu": 0.5, "memused": "1073741824", "memtotal": 2147483648},
            {"time": 180, "cpu": None},
            {"time": 240, "cpu": "0.25", "iowait": 0}]
    answering(bench, "/nodes/pve1/rrddata", rows)
    answer = ok(bench.run("proxmox_get_history", node="pve1"))
    assert [(metric["metric"], metric["maximum"], metric["last"]) for metric in answer.data["metrics"]] == [
        ("cpu", 0.5, 0.25), ("memused", 1073741824, 1073741824)]
    assert "average 38 %, maximum 50 % (1970-01-01 00:02:00 UTC), last 25 %" in answer.text
    assert "last 1 GiB of 2 GiB" in answer.text


def test_history_is_of_the_time_asked_for_though_proxmox_sends_more():
    bench = Bench()
    answering(bench, "/nodes/pve1/rrddata", [{"time": 1800 * n, "cpu": n / 100} for n in range(1, 71)])
    answer = ok(bench.run("proxmox_get_history", node="pve1"))
    assert answer.data["metrics"][0]["average"] == pytest.approx(sum(range(23, 71)) / 4800)
    assert answer.data["from"] == "1970-01-01T11:30:00Z" and answer.data["to"] == "1970-01-02T11:00:00Z"


def test_what_a_container_uses_may_be_told_as_text():
    bench = Bench()
    answering(bench, "/cluster/resources", [{"type": "lxc", "vmid": 201, "node": "pve2", "status": "running",
                                             "disk": "1073741824"}])
    assert "1 GiB of" in ok(bench.run("proxmox_get_inside", vmids=[201])).text
