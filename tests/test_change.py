"""Cloning and resizing guests: exact requests, what is refused with nothing sent, what is told of pending changes."""
import re

import pytest

import tools
from support import Asked, Bench, answering, ok
from tools.base.schema import fields
from tools.pve.client import PveError

RESOURCES = "GET /cluster/resources type=vm"
V100, V107, V9000 = "/nodes/pve1/qemu/100", "/nodes/pve3/qemu/107", "/nodes/pve1/qemu/9000"
C200, C203 = "/nodes/pve1/lxc/200", "/nodes/pve3/lxc/203"


def digest(vmid):
    """A preparation that gives {digest} of a guest's config."""
    return lambda bench: {"digest": bench.cluster.world.guests[vmid].digest}


def _clone(path, arguments, sent, *after, room=None):
    """A case: what is sent, what is read after it, and the storage (None: it is a linked clone) that gets the copy."""
    _, _, node, kind, vmid = path.split("/")
    room = ["GET /nodes/%s/storage/%s/status" % (node, room)] if room else []
    from_ = " snapshot=%s" % arguments["snapname"] if "snapname" in arguments else ""
    return ("proxmox_clone_%s" % ("vm" if kind == "qemu" else "lxc"), dict({"node": node, "vmid": int(vmid)},
                                                                           **arguments),
            ["GET %s/status/current" % path, "GET %s/config%s" % (path, from_), *room,
             "POST %s/clone %s" % (path, sent), *after])


def _resize(path, arguments, sent):
    _, _, node, kind, vmid = path.split("/")
    return ("proxmox_resize_%s" % ("vm" if kind == "qemu" else "lxc"), dict({"node": node, "vmid": int(vmid)},
                                                                            **arguments),
            ["GET %s/config" % path, "PUT %s/config %s" % (path, sent), "GET %s/pending" % path], digest(int(vmid)))


CASES = [
    _clone(V107, {"newid": 300, "hostname": "lab2", "wait": 600}, "name=lab2 newid=300", room="local-lvm"),
    _clone(V107, {"newid": 300, "wait": 600}, "newid=300",
           room="local-lvm"),
    _clone(V9000, {"newid": 300, "name": "web9", "pool": "production"},
           "name=web9 newid=300 pool=production"),
    _clone(V9000, {"newid": 300, "name": "web9", "full": True, "storage": "nas", "wait": 600},
           "full=1 name=web9 newid=300 storage=nas", room="nas"),
    ("proxmox_clone_vm", {"node": "pve1", "vmid": 104, "newid": 300, "hostname": "mail2", "target": "pve2",
                          "wait": 3600},
     ["GET /nodes/pve1/qemu/104/status/current", "GET /nodes/pve1/qemu/104/config",
      "GET /cluster/resources type=storage", "GET /nodes/pve1/storage/san/status",
      "POST /nodes/pve1/qemu/104/clone name=mail2 newid=300 target=pve2"]),
    ("proxmox_clone_vm", {"node": "pve1", "vmid": 9000, "newid": 300, "hostname": "app", "target": "pve2",
                          "memory": 4096,
                          "cores": 2, "ciuser": "deploy", "cipassword": "correct horse", "sshkeys": "ssh-ed25519 A me",
                          "ipconfig0": "ip=10.0.0.5/24,gw=10.0.0.1", "nameserver": "1.1.1.1", "tags": "a;b",
                          "onboot": True, "start": True, "wait": 3600},
     ["GET %s/status/current" % V9000, "GET %s/config" % V9000, "GET /cluster/resources type=storage", "GET /nodes",
      "GET /nodes/pve1/storage/local-lvm/status", "GET /nodes/pve2/storage/local-lvm/status",
      "POST %s/clone full=1 name=app newid=300" % V9000,
      "POST /nodes/pve1/qemu/300/migrate target=pve2 with-local-disks=1",
      "PUT /nodes/pve2/qemu/300/config cipassword=correct horse ciuser=deploy cores=2 "
      "ipconfig0=ip=10.0.0.5/24,gw=10.0.0.1 "
      "memory=4096 nameserver=1.1.1.1 onboot=1 sshkeys=ssh-ed25519%20A%20me tags=a;b",
      "POST /nodes/pve2/qemu/300/status/start"]),
    ("proxmox_clone_lxc", {"node": "pve1", "vmid": 9100, "newid": 300, "hostname": "c1", "target": "pve3",
                           "storage": "local-lvm", "full": True, "ip": "10.0.0.7/24", "gw": "10.0.0.1", "memory": 1024,
                           "start": True, "wait": 3600},
     ["GET /nodes/pve1/lxc/9100/status/current", "GET /nodes/pve1/lxc/9100/config",
      "GET /cluster/resources type=storage", "GET /nodes", "GET /nodes/pve1/storage/local-lvm/status",
      "GET /nodes/pve3/storage/local-lvm/status", "POST /nodes/pve1/lxc/9100/clone full=1 hostname=c1 newid=300",
      "POST /nodes/pve1/lxc/300/migrate target=pve3 target-storage=local-lvm", "GET /nodes/pve3/lxc/300/config",
      "PUT /nodes/pve3/lxc/300/config memory=1024 net0={net0}", "POST /nodes/pve3/lxc/300/status/start"],
     lambda bench: {"net0": "name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:0A:10:00,ip=10.0.0.7/24,type=veth,"
                            "gw=10.0.0.1"}),
    _clone(V100, {"newid": 300, "hostname": "web2", "snapname": "fresh-install", "wait": 3600},
           "name=web2 newid=300 snapname=fresh-install", room="local-lvm"),
    ("proxmox_clone_vm", {"vmid": 9000, "newid": "300", "hostname": "web9"},
     [RESOURCES, "GET %s/status/current" % V9000, "GET %s/config" % V9000,
      "POST %s/clone name=web9 newid=300" % V9000]),
    _clone(C203, {"newid": 300, "hostname": "dev2", "wait": 600},
           "hostname=dev2 newid=300", room="local-lvm"),
    _clone(C203, {"newid": 300, "wait": 600}, "newid=300",
           room="local-lvm"),
    _clone(C203, {"newid": 300, "hostname": "dev2", "snapname": "clean", "storage": "san", "wait": 3600},
           "hostname=dev2 newid=300 snapname=clean storage=san", room="san"),
    _clone("/nodes/pve1/lxc/9100", {"newid": 300, "hostname": "ct", "full": False, "pool": "production",
                                    "target": "pve1"},
           "full=0 hostname=ct newid=300 pool=production target=pve1"),
    _resize(V100, {"memory": 8192, "cores": 2}, "cores=2 digest={digest} memory=8192"),
    _resize(V107, {"sockets": 2, "balloon": 0, "cpulimit": 1.5}, "balloon=0 cpulimit=1.5 digest={digest} sockets=2"),
    _resize(C200, {"cores": "2", "swap": 0, "cpulimit": 0}, "cores=2 cpulimit=0 digest={digest} swap=0"),
]


# --------------------------------------------------------------------------------------------------------------- clones

@pytest.mark.parametrize("tool, arguments, words", [
    ("proxmox_clone_vm", {"vmid": 9000, "newid": 300, "storage": "nas"}, "Set full=true"),
    ("proxmox_clone_lxc", {"vmid": 201, "newid": 300}, "only from a snapshot"),
    ("proxmox_clone_lxc", {"vmid": 201, "newid": 300, "hostname": "a_b"}, "DNS name"),
    ("proxmox_clone_vm", {"vmid": 100}, "newid: missing"),
])
def test_what_is_refused_before_it_is_sent(tool, arguments, words):
    bench = Bench()
    answer = bench.run(tool, **arguments)
    assert answer.failed and words in answer.text
    assert ("Nothing was sent." in answer.text) == ("was not called" not in answer.text)
    assert bench.sent(reads=False) == []


def test_a_taken_newid_is_proxmoxs_to_refuse_and_told():
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=100, wait=600)
    assert answer.failed and "100" in answer.text and "exist" in answer.text
    assert len(bench.sent(reads=False)) == 1


def test_a_clone_without_a_name_gets_one_from_proxmox():
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=300, wait=600)
    assert bench.cluster.world.guests[300].name == "Copy-of-VM-lab"
    assert "VM 107 (lab) cloned to 300, a full clone" in answer.text
    assert answer.data["newid"] == 300 and answer.data["full"] is True


def test_a_clone_of_a_template_is_told_as_linked():
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid=9000, newid=300, hostname="web9")
    assert "a linked clone" in answer.text and answer.data["full"] is False
    assert bench.cluster.world.guests[300].name == "web9"


def test_a_linked_clone_of_what_is_no_template_fails_in_plain_words():
    answer = Bench().run("proxmox_clone_vm", vmid=107, newid=300, full=False, wait=600)
    assert answer.failed and "needs a template" in answer.text


def test_a_clone_that_outlasts_the_wait_is_not_told_as_done():
    answer = Bench().run("proxmox_clone_lxc", vmid=203, newid=300, hostname="dev2", wait=0)
    assert answer.text.startswith("\u23f3") and "Once it has ended: " in answer.text and answer.data["done"] is False
    assert answer.data["task"]["status"] == "running"


def test_a_linked_clone_on_another_node_says_why_not_and_what_to_do():
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid=9000, newid=300, target="pve2", full=False)
    assert answer.failed and bench.sent(reads=False) == []
    assert "are on storage of node pve1 only (local-lvm). Leave target out for a linked clone" in answer.text
    answer = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=300, target="pve2", wait=3600))
    assert "cloned there, in full (a linked clone cannot leave that storage), and then moved to pve2" in answer.text


def test_a_linked_clone_on_shared_storage_goes_to_the_other_node_directly():
    bench = Bench()
    ok(bench.run("proxmox_move_disk_vm", vmid=107, disk="scsi0", storage="nas", wait=3600))
    ok(bench.run("proxmox_api_call", verb="POST", path="/nodes/pve3/qemu/107/template"))
    answer = ok(bench.run("proxmox_clone_vm", vmid=107, newid=301, target="pve2", hostname="m2", wait=3600))
    assert bench.sent(reads=False) == ["POST /nodes/pve3/qemu/107/clone name=m2 newid=301 target=pve2"]
    assert "on node pve2, a linked clone" in answer.text and bench.cluster.world.guests[301].node == "pve2"


def test_what_a_clone_keeps_is_said():
    bench = Bench()
    answer = ok(bench.run("proxmox_clone_vm", vmid=104, newid=300, hostname="m2", wait=3600))
    assert "It keeps the tags mail;prod; onboot, so it starts with its node" in answer.text
    bench.cluster.world.guests[9000].conf["ipconfig0"] = "ip=10.0.0.5/24,gw=10.0.0.1"
    answer = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=301, tags="x", wait=3600))
    assert "It keeps the fixed address 10.0.0.5, which only one of the two can use." in answer.text
    answer = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=302, tags="x", ipconfig0="ip=dhcp", wait=3600))
    assert "It keeps" not in answer.text


def test_there_must_be_room_for_a_full_clone_here_and_where_it_goes():
    asked = Asked(False)
    bench = Bench(consent=asked)
    answering(bench, "/nodes/pve2/storage/local-lvm/status", {"type": "lvm", "avail": 1 << 30})
    answer = bench.run("proxmox_clone_vm", vmid=9000, newid=300, target="pve2")
    assert answer.failed and "There is no room for " in answer.text and "storage local-lvm of node pve2" in answer.text
    answering(bench, "/nodes/pve1/storage/local-lvm/status", {"type": "lvmthin", "avail": 1 << 20})
    answer = bench.run("proxmox_clone_vm", vmid=9000, newid=300, full=True)
    assert answer.failed and bench.sent(reads=False) == []
    assert "Clone VM 9000" in asked.questions[0] and "Promise " in asked.questions[0]
    assert not ok(bench.run("proxmox_clone_vm", vmid=9000, newid=300)).data["full"]


# ------------------------------------------------------------------------------------------------------------- resizing

def test_of_a_running_vm_cores_and_memory_wait_and_it_is_said():
    bench = Bench()
    answer = bench.run("proxmox_resize_vm", vmid=100, memory=8192, cores=2)
    assert "memory 4 GiB -> 8 GiB, cores 4 -> 2" in answer.text
    assert "Not in effect yet: cores, memory wait for a restart" in answer.text
    assert answer.data["waiting"] == ["cores", "memory"]
    assert answer.data["changes"] == {"cores": {"old": 4, "new": 2}, "memory": {"old": "4096", "new": "8192"}}
    guest = bench.cluster.world.guests[100]
    assert guest.conf["cores"] == 4 and guest.wanted()["cores"] == 2


def test_what_is_live_is_not_told_as_waiting():
    answer = Bench().run("proxmox_resize_vm", vmid=100, cpulimit=2)
    assert "cpulimit no limit -> 2" in answer.text and "Not in effect" not in answer.text
    assert "pending" not in answer.data


def test_a_container_is_resized_at_once():
    bench = Bench()
    answer = bench.run("proxmox_resize_lxc", vmid=200, memory=1024, swap=0, cores=2)
    assert "memory 512 MiB -> 1 GiB" in answer.text and "swap 512 MiB -> 0 B" in answer.text
    assert "Not in effect" not in answer.text
    assert bench.cluster.world.guests[200].conf["memory"] == 1024


def test_a_stopped_vm_is_resized_at_once():
    bench = Bench()
    answer = bench.run("proxmox_resize_vm", vmid=107, memory=2048)
    assert "memory 1 GiB -> 2 GiB" in answer.text and "Not in effect" not in answer.text
    assert str(bench.cluster.world.guests[107].conf["memory"]) == "2048"


@pytest.mark.parametrize("stored", [2048, "2048", "current=2048"])
def test_memory_is_read_in_every_form(stored):
    bench = Bench()
    bench.cluster.world.guests[107].conf["memory"] = stored
    assert "memory 2 GiB as before" in bench.run("proxmox_resize_vm", vmid=107, memory=2048).text


def test_nothing_to_change_is_an_error_that_names_the_arguments():
    bench = Bench()
    answer = bench.run("proxmox_resize_vm", vmid=100)
    assert answer.failed and "at least one of memory, cores, cpulimit, sockets, balloon" in answer.text
    assert bench.sent(reads=False) == []


def test_a_balloon_beyond_the_memory_is_explained():
    answer = Bench().run("proxmox_resize_vm", vmid=101, memory=4096)
    assert answer.failed and "balloon may not be more than memory" in answer.text


@pytest.mark.parametrize("tool, arguments, sent", [
    ("resize_vm", {"vmid": 107, "memory": "4G", "balloon": "0.5 GiB"}, " balloon=512 "),
    ("resize_vm", {"vmid": 107, "memory": "4G"}, " memory=4096"),
    ("resize_lxc", {"vmid": 203, "memory": "1536M", "swap": "1g"}, " memory=1536"),
    ("clone_vm", {"vmid": 107, "newid": 300, "memory": "2G", "wait": 600}, " memory=2048"),
    ("update_vm_config", {"vmid": 107, "options": {"memory": "2G"}}, " memory=2048"),
    ("update_lxc_config", {"vmid": 203, "options": {"swap": "1G", "memory": 1024}}, " swap=1024"),
    ("add_network_vm", {"vmid": 107, "net": "net5", "bridge": "vmbr0", "rate": "0.5G"}, ",rate=512"),
    ("update_network_lxc", {"vmid": 203, "net": "net0", "rate": "10M"}, ",rate=10"),
    ("migrate_vm", {"vmid": 107, "target": "pve1", "bwlimit": "100M"}, " bwlimit=102400 "),
    ("migrate_lxc", {"vmid": 205, "target": "pve1", "bwlimit": "51200"}, " bwlimit=51200 ")])
def test_amounts_are_spelled_as_people_do_and_sent_in_proxmoxs_unit(tool, arguments, sent):
    bench = Bench()
    ok(bench.run("proxmox_" + tool, **arguments))
    assert any(sent.strip() in line.split() if " " in sent.strip() else sent.strip() in line
               for line in bench.sent(reads=False)), bench.sent(reads=False)


def test_every_amount_among_the_arguments_is_one():
    """So that none is left whose spelling differs."""
    named = re.compile(r"memory|swap|balloon|.*size|rate|bwlimit")
    found = [(name, field) for _, name, tool in tools.all_rows() for field in fields(tool.args)]
    assert [(name, field.name) for name, field in found
            if bool(field.arg.unit) != bool(named.fullmatch(field.name))] == []


def test_the_unit_is_in_the_answer():
    bench = Bench()
    assert "memory 1 GiB -> 2 GiB" in bench.run("proxmox_update_vm_config", vmid=107, options={"memory": 2048}).text
    assert "set: cores, memory 3 GiB" in bench.run("proxmox_clone_vm", vmid=107, newid=300, memory=3072, cores=2,
                                                   wait=3600).text
    assert "(at most 10 MB/s)" in bench.run("proxmox_update_network_vm", vmid=107, net="net0", rate=10).text
    assert "at most 100 MiB/s" in bench.run("proxmox_migrate_vm", vmid=107, target="pve1", bwlimit=102400).text


# ------------------------------------------------------------------------------------------------------- the digest

class _Meddler:
    """Changes the config of a guest right after it was read, the given number of times."""

    def __init__(self, bench, vmid, times):
        self.bench, self.vmid, self.left, self.client = bench, vmid, times, bench.host.client
        self.request, self.client.request = self.client.request, self

    def __call__(self, verb, path, params=None, *rest, **more):
        reply = self.request(verb, path, params, *rest, **more)
        if verb == "GET" and path.endswith("/config") and self.left:
            self.left -= 1
            self.bench.cluster.world.guests[self.vmid].conf["description"] = "changed %d\n" % self.left
        return reply


@pytest.mark.parametrize("tool, vmid", [("proxmox_resize_vm", 107), ("proxmox_resize_lxc", 203)])
@pytest.mark.parametrize("times, done", [(1, True), (2, False)])
def test_a_config_changed_in_between_is_read_again_once(tool, vmid, times, done):
    bench = Bench()
    _Meddler(bench, vmid, times)
    answer = bench.run(tool, vmid=vmid, memory=4096)
    assert answer.failed is not done
    assert len(bench.sent(reads=False)) == 2
    assert (str(bench.cluster.world.guests[vmid].conf["memory"]) == "4096") is done


def test_only_a_refusal_is_repeated():
    bench = Bench()
    request = bench.host.client.request

    def broken(verb, path, params=None, *rest, **more):
        if verb == "GET":
            return request(verb, path, params, *rest, **more)
        sent.append(path)
        raise PveError("the connection broke: checksum mismatch", outcome="unknown")
    sent, bench.host.client.request = [], broken
    assert "the connection broke: checksum mismatch" in bench.run("proxmox_resize_vm", vmid=107, memory=4096).text
    assert len(sent) == 1


def test_when_it_cannot_be_read_back_the_change_is_still_told():
    bench = Bench()
    request = bench.host.client.request

    def broken(verb, path, params=None, *rest, **more):
        if path.endswith("/pending"):
            raise PveError("gone", outcome="unsent")
        return request(verb, path, params, *rest, **more)
    bench.host.client.request = broken
    answer = bench.run("proxmox_resize_vm", vmid=107, memory=4096)
    assert not answer.failed and "could not be read" in answer.text


# ------------------------------------------------------------------------------------------------------- set up at once

def test_a_clone_that_has_not_ended_is_not_set_up_and_that_is_said():
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=300, hostname="x", memory=4096, start=True, wait=0)
    assert not answer.failed and "Not done, for that has not ended yet: memory, start." in answer.text
    assert [line.split()[1] for line in bench.sent(reads=False)] == ["/nodes/pve3/qemu/107/clone"]


def test_what_of_the_set_up_fails_is_said_and_the_clone_stays():
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/": [
        "VM.Audit", "VM.Clone", "VM.Allocate", "Datastore.AllocateSpace", "Datastore.Audit", "SDN.Use"]}}})
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=300, hostname="x", memory=4096, start=True, wait=3600)
    assert not answer.failed and "VM 300 exists, but was not set memory and started: " in answer.text
    assert "Permission check failed" in answer.text and 300 in bench.cluster.world.guests


def test_a_user_who_cannot_log_in_is_said():
    answer = Bench().run("proxmox_clone_vm", vmid=9000, newid=300, ciuser="deploy", wait=3600)
    assert "Nobody can log in as deploy: it has neither a key (sshkeys) nor a password (cipassword)." in answer.text


def test_a_clone_that_is_only_not_started_is_said_to_be_so():
    bench = Bench()
    answering(bench, "/nodes/pve3/qemu/300/status/start", (500, "no such machine"), "POST")
    answer = ok(bench.run("proxmox_clone_vm", vmid=107, newid=300, hostname="x", start=True, wait=3600))
    assert "VM 300 exists, but was not started: " in answer.text
    bench = Bench()
    answering(bench, "/nodes/pve3/qemu/300/status/start", (596, "Connection timed out"), "POST")
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=300, start=True, wait=3600)
    assert "VM 300 exists, but is not known to be started: " in answer.text


def test_a_dry_run_of_a_clone_shows_all_its_steps():
    bench = Bench(dry_run=True)
    answer = bench.run("proxmox_clone_lxc", vmid=9100, newid=300, target="pve3", ip="10.0.0.7/24", start=True)
    assert [request["path"].rpartition("/")[2] for request in answer.data["requests"]] == [
        "clone", "migrate", "config", "start"]
    assert not bench.sent(reads=False)


@pytest.mark.parametrize("arguments, says", [({"ip": "10.0.0.7"}, "no prefix"), ({"gw": "10.0.0.1"}, "give ip with"),
                                             ({"ip": "dhcp", "gw": "10.0.0.1"}, "give ip with its prefix")])
def test_addresses_of_a_clone_are_checked_before_anything_is_sent(arguments, says):
    bench = Bench()
    answer = bench.run("proxmox_clone_lxc", vmid=9100, newid=300, **arguments)
    assert answer.failed and says in answer.text and not bench.sent(reads=False)


def test_the_question_of_a_clone_shows_what_it_gets_and_no_password():
    asked = Asked(False)
    bench = Bench(consent=asked, confirm="always")
    bench.run("proxmox_clone_vm", vmid=9000, newid=300, ciuser="root", cipassword="correct horse", start=True,
              sshkeys="ssh-ed25519 AAAA me@here", nameserver="6.6.6.6", pool="production")
    [question] = asked.questions
    assert "9000 (debian-13-template) to 300, and set it up? With pool=" in question and "correct horse" not in question
    for words in ("pool=production", "start=1", "ciuser=root", "cipassword=***", "nameserver=6.6.6.6",
                  '"ssh-ed25519 AAAA me@here"'):
        assert words in question
    assert not bench.sent(reads=False)
