"""The three API tools: search, describe and call on the demo cluster, and what is never sent."""
import json
import os

import pytest

import tools
from support import HINTS, Asked, Bench, Cluster, answering, big, ok, settings, weight
from tools.policy import selection
from tools.policy.selection import Selection
from tools.pve.apidoc import PAGE, ApiDoc

SEARCH, DESCRIBE, CALL = "proxmox_api_search", "proxmox_api_describe", "proxmox_api_call"
RULES = "/nodes/pve1/qemu/100/firewall/rules"

CASES = [
    (CALL, {"verb": "DELETE", "path": RULES + "/1", "wait": 10},
     ["GET /cluster/resources type=vm", "GET " + RULES + "/1", "DELETE " + RULES + "/1"]),
    (CALL, {"verb": "GET", "path": "/cluster/resources", "parameters": {"type": "vm"}, "fields": ["vmid", "name"],
            "limit": 3, "offset": 2}, ["GET /cluster/resources type=vm"]),
    (CALL, {"verb": "create", "path": "/pools", "parameters": '{"poolid": "web", "comment": "a & b"}'},
     ["POST /pools comment=a & b poolid=web", "GET /pools/web"]),
    (CALL, {"method": "set", "endpoint": "/api2/json/nodes/{node}/dns",
            "params": {"node": "pve1", "search": "x.org", "dns1": "9.9.9.9"}},
     ["GET /nodes/pve1/dns", "PUT /nodes/pve1/dns dns1=9.9.9.9 search=x.org",
      "GET /nodes/pve1/dns"]),
    (CALL, {"verb": "POST", "path": "POST /nodes/pve3/qemu/107/status/start"},
     ["POST /nodes/pve3/qemu/107/status/start"]),
    (CALL, {"verb": "POST", "path": "/nodes/pve3/vzdump",
            "parameters": {"vmid": 103, "storage": "pbs", "remove": False, "prune-backups": {"keep-last": 2}}},
     ["POST /nodes/pve3/vzdump prune-backups=keep-last=2 remove=0 storage=pbs vmid=103"]),
    (CALL, {"verb": "GET", "path": "/nodes/pve1/storage/nas/content",
            "parameters": {"content": "backup", "vmid": 100.0}},
     ["GET /nodes/pve1/storage/nas/content content=backup vmid=100"]),
    (SEARCH, {"words": "add a firewall rule to a VM", "verb": "POST", "prefix": "/nodes", "limit": 3},
     []),
    (DESCRIBE, {"endpoint": "/cluster/backup", "verb": "create", "parameters": ["schedule", "vmid"]}, []),
]


@pytest.fixture
def bench():
    return Bench()


# ---------------------------------------------------------------------------------------------- the four areas, in full

def test_a_firewall_rule(bench):
    found = ok(bench.run(SEARCH, words="add a firewall rule to a VM"))
    assert found.data["items"][0]["endpoint"] == "POST /nodes/{node}/qemu/{vmid}/firewall/rules"
    assert found.data["items"][0]["required"] == ["action", "type"]
    told = ok(bench.run(DESCRIBE, endpoint=found.data["items"][0]["endpoint"]))
    for part in ("action: required, ", "type: required, in|out|forward|group", "dport: "):
        assert part in told.text
    assert told.data["privilege"] == "VM.Config.Network on /vms/{vmid}" and bench.sent() == []
    rule = {"type": "in", "action": "ACCEPT", "proto": "tcp", "dport": "443", "enable": 1, "comment": "https"}
    done = ok(bench.run(CALL, verb="POST", path=RULES, parameters=rule))
    sent = "POST %s action=ACCEPT comment=https dport=443 enable=1 proto=tcp type=in" % RULES
    assert bench.sent(reads=False) == [sent]
    assert done.text == ("\u2705 POST %s: done.\nIt is now: action=ACCEPT, comment=https, dport=443, enable=1, pos=0, "
                         "proto=tcp, type=in." % RULES) and done.data["now"]["pos"] == 0
    read = ok(bench.run(CALL, verb="GET", path=RULES))
    assert [row["dport"] for row in read.data["items"] if row.get("comment") == "https"] == ["443"]
    assert "POS  TYPE  ENABLE  ACTION" in read.text and "3 rows" in read.text


def test_a_pool(bench):
    assert "POST /pools" in [row["endpoint"] for row in ok(bench.run(SEARCH, words="create a pool")).data["items"][:3]]
    told = ok(bench.run(DESCRIBE, endpoint="/pools"))
    assert [one["endpoint"] for one in told.data["endpoints"]] == ["GET /pools", "POST /pools", "PUT /pools",
                                                                   "DELETE /pools"]
    ok(bench.run(CALL, verb="POST", path="/pools", parameters={"poolid": "web"}))
    ok(bench.run(CALL, verb="PUT", path="/pools", parameters={"poolid": "web", "vms": [103, "106"]}))
    assert bench.cluster.world.pool_of(103) == bench.cluster.world.pool_of(106) == "web"


def test_a_backup_job(bench):
    found = ok(bench.run(SEARCH, words="schedule a backup job")).data["items"]
    assert "POST /cluster/backup" in [row["endpoint"] for row in found]
    told = ok(bench.run(DESCRIBE, endpoint="POST /cluster/backup", parameters="schedule,prune-backups"))
    assert set(told.data["parameters"]) == {"schedule", "prune-backups"} and "keep-last: integer" in told.text
    done = ok(bench.run(CALL, verb="POST", path="/cluster/backup", parameters={
        "id": "weekly", "schedule": "sun 03:00", "storage": "nas", "vmid": "103", "mode": "snapshot", "enabled": True,
        "prune-backups": {"keep-last": 3, "keep-monthly": 6}}))
    assert "done" in done.text
    assert bench.sent()[-2] == ("POST /cluster/backup enabled=1 id=weekly mode=snapshot "
                                "prune-backups=keep-last=3,keep-monthly=6 schedule=sun 03:00 storage=nas vmid=103")
    job = ok(bench.run(CALL, verb="GET", path="/cluster/backup/weekly")).data["data"]
    assert job["prune-backups"] == {"keep-last": "3", "keep-monthly": "6"}


def test_a_replication_status(bench):
    found = ok(bench.run(SEARCH, words="replication status")).data["items"]
    assert "GET /nodes/{node}/replication/{id}/status" in [row["endpoint"] for row in found[:3]]
    assert "In the path: node" in ok(bench.run(DESCRIBE, endpoint="GET /nodes/{node}/replication/{id}/status")).text
    jobs = ok(bench.run(CALL, verb="GET", path="/cluster/replication"))
    assert {row["id"] for row in jobs.data["items"]} >= {"101-0", "202-0"}
    status = ok(bench.run(CALL, verb="GET", path="/nodes/pve2/replication/101-0/status"))
    assert status.data["data"]["guest"] == 101 and "error: " in status.text
    assert bench.sent() == ["GET /nodes/pve2/replication/101-0/status"]         # the schema was read once


# -------------------------------------------------------------------------------------------- checked before it is sent

@pytest.mark.parametrize("verb, path, parameters, words", [
    ("POST", RULES, {"typ": "in", "action": "ACCEPT"},
     ["typ is not a parameter", "did you mean type?", "type is missing"]),
    ("POST", RULES, {"type": "sideways", "action": "A", "dport": "443"}, ["type ", "action "]),
    ("GET", "/cluster/resources", {"type": "vms"}, ["type "]),
    ("POST", "/nodes/pve1/qemu/100/config", {"net0": "virtio,brige=vmbr0", "cores": 0, "nett1": "x"},
     ["brige", "cores ", "nett1"]),
    ("GET", "/pools", {"a": {"b": {"c": 1}}}, ["a is not a parameter"]),
    ("GET", "/pool", None, ["no GET /pool", "near it: GET /pools"]),
    ("DELETE", "/nodes/pve1/dns", None, ["/nodes/{node}/dns has no DELETE here, only GET, PUT"]),
    ("GET", "/nodes/{node}/dns", None, ["node is part of the path and has no value"]),
    ("GET", "/nodes/pve_1/dns", None, ["node"]),
    ("GET", "/nodes/pve1/qemu/12/config", None, ["vmid"]),
    ("PATCHES", "/pools", None, ["none of GET, POST, PUT, DELETE"]),
    ("PUT", "POST /pools", None, ["contradict"]),
    ("PUT", "/nodes/pve1/dns", {"search": {"a": "b,c"}}, ["The parameter search does not fit: ", "comma"]),
])
def test_what_does_not_fit_is_refused_with_all_problems_and_nothing_is_sent(bench, verb, path, parameters, words):
    answer = bench.run(CALL, verb=verb, path=path, **({"parameters": parameters} if parameters else {}))
    assert answer.failed and "Nothing was sent." in answer.text
    assert all(word in answer.text for word in words), answer.text
    assert bench.sent() == []


@pytest.mark.parametrize("path", ["/nodes/../access/users", "/nodes/./pve1", "/nodes/%2e%2e/x", "/nodes/pve1%2f..%2f",
                                  "/pools?a=b", "/pools#x", "/nodes/pve1\n/dns", "/nodes/pve 1/dns", "//evil",
                                  "nodes\\x", "/nodes/pve1/..", "/nodes/\u0661/dns",
                                  "https://evil.example/api2/json/pools"])
@pytest.mark.parametrize("page", [True, False])
def test_no_path_leads_elsewhere(path, page):
    bench = Bench(cluster=None if page else Bare())
    answer = bench.run(CALL, verb="GET", path=path)
    assert answer.failed and bench.sent() == [], (bench.sent(), answer.text)


# --------------------------------------------------------------------------------------- without the page of the schema

class Bare(Cluster):
    """A Proxmox behind a proxy that passes on /api2 only."""

    pages = 0

    def handle(self, verb, target, headers, body=b""):
        if target.startswith(PAGE):
            self.pages += 1
            return 404, "Not Found", {"Content-Type": "text/html"}, b"<html>"
        return super().handle(verb, target, headers, body)


def test_without_the_page_search_says_what_to_do():
    bench = Bench(cluster=Bare())
    for tool, arguments in ((SEARCH, {"words": "pool"}), (DESCRIBE, {"endpoint": "POST /pools"})):
        answer = bench.run(tool, **arguments)
        assert answer.failed and PAGE in answer.text and "proxmox_api_call works all the same" in answer.text


def test_without_the_page_calls_go_unchecked_and_say_so():
    bench = Bench(cluster=Bare())
    answer = ok(bench.run(CALL, verb="GET", path="/pools"))
    assert bench.sent() == ["GET /pools"] and answer.data["total"] == 2
    assert "Sent without a check against the host's API schema, which cannot be read" in answer.text
    answer = ok(bench.run(CALL, verb="POST", path="/pools", parameters={"poolid": "web"}))
    assert bench.sent() == ["POST /pools poolid=web"] and "Sent without a check" in answer.text
    answer = bench.run(CALL, verb="POST", path="/pools", parameters={"pool": "web"})
    assert answer.failed and "not defined in schema" in answer.text         # Proxmox itself
    ok(bench.run(CALL, verb="DELETE", path="/nodes/pve1/storage/nas/content/" + _backup(bench)))
    assert bench.cluster.pages == 1                     # asked again after a while only
    bench.clock.seconds += 301
    ok(bench.run(CALL, verb="GET", path="/version"))
    assert bench.cluster.pages == 2


def _backup(bench):
    return next(row["volid"] for row in bench.host.client.request("GET", "/nodes/pve1/storage/nas/content").data
                if row["content"] == "backup" and not row.get("protected"))


@pytest.mark.parametrize("path, parameters", [("/pools", {"ids": 1}), ("/pools", {"verb": 1}), ("/pools", {"a=b": 1}),
                                              ("/pools", {"": 1}), ("/nodes/a;b", {}), ("/nodes/{node}", {}),
                                              ("/nodes/pve1/qemu/+100/config", {}), ("/nodes/pve1/lxc/0200", {}),
                                              ("pools", {})])
def test_without_the_page_only_plain_names_are_sent(path, parameters):
    bench = Bench(cluster=Bare())
    answer = bench.run(CALL, verb="GET", path=path, parameters=parameters)
    assert answer.failed and "Nothing was sent." in answer.text and bench.sent() == []


# --------------------------------------------------------------------------------------------------- keeping the schema

def test_an_upgraded_host_is_noticed_within_the_hour():
    cluster = Cluster()
    seen, handle = [], cluster.handle

    def watch(verb, target, headers, body=b""):
        answer = handle(verb, target, headers, body)
        if target.startswith(PAGE):
            seen.append(answer[0])
        return answer
    cluster.handle = watch
    bench = Bench(cluster=cluster)
    first = bench.host.apidoc()
    assert bench.host.apidoc() is first and seen == [200]
    bench.clock.seconds += 3601
    assert bench.host.apidoc() is first and seen == [200, 200]
    cluster.world.version = "9.2"
    ApiDoc.parse.cache_clear()
    cluster.handle = lambda verb, target, headers, body=b"": handle(verb, target, {}, body)
    bench.clock.seconds += 3601
    latest = bench.host.apidoc()
    assert latest is not first
    cluster.handle = lambda *request: (500, "no", {}, b"")
    bench.clock.seconds += 3601
    assert bench.host.apidoc() is latest                # it cannot be asked now: what is known serves


# ----------------------------------------------------------------------------------------------------------- guardrails

WRITES = [("POST", "/pools", {"poolid": "web"}), ("PUT", "/nodes/pve1/dns", {"search": "a"}),
          ("DELETE", "/pools/lab", {}),
          ("GET", "/nodes/pve1/qemu/100/agent/exec-status", {"pid": 1}),
          ("GET", "/nodes/pve1/query-url-metadata", {"url": "http://x"}),
          ("GET", "/nodes/pve1/qemu/100/agent/file-read", {"file": "/etc/shadow"}),
          ("GET", "/nodes/pve1/qemu/100/cloudinit/dump", {"type": "user"})]


def test_a_list_of_commands_leaves_no_way_round_it():
    bench = Bench(allowed_commands=("df *", "unsafe"))
    answer = bench.run(CALL, verb="POST", path="/nodes/pve1/qemu/100/agent/exec", parameters={"command": "df -h"})
    assert answer.failed and "PROXMOX_ALLOWED_COMMANDS is set" in answer.text and bench.sent(reads=False) == []


@pytest.mark.parametrize("verb, path, parameters", WRITES)
def test_what_changes_something_needs_elevation(verb, path, parameters):
    bench = Bench(allow_elevated=False)
    answer = bench.run(CALL, verb=verb, path=path, parameters=parameters)
    assert answer.failed and "PROXMOX_ALLOW_ELEVATED=true" in answer.text and "Permission Denied" in answer.text
    assert bench.sent() == []
    assert not Bench(allow_elevated=False).run(CALL, verb="GET", path="/pools").failed


def test_the_tool_is_listed_as_what_it_can_do_and_read_only_hides_it():
    entry = next(entry for entry in tools.surface() if entry["name"] == CALL)
    assert entry["tier"] == "destructive" and entry["changes"]
    hints = dict(HINTS, **entry["tool"]["annotations"])
    assert hints["destructiveHint"] and not hints["readOnlyHint"]
    assert Selection(settings(allow_elevated=False)).off(entry) is None
    assert Selection(settings(read_only=True)).hidden_by(entry) == "PROXMOX_READ_ONLY"
    answer = Bench(read_only=True).run(CALL, verb="GET", path="/pools")
    assert answer.failed and "PROXMOX_READ_ONLY" in answer.text


@pytest.mark.parametrize("verb, path, parameters, words", [
    ("DELETE", RULES + "/1", {},
     ["DELETE " + RULES + "/1", "Guest 100 is web01 on node pve1, running", "macro=SSH", "see the ticket"]),
    ("DELETE", "/pools", {"poolid": "lab"}, ["DELETE /pools with poolid=lab", "It is now: ", "poolid=lab"]),
    ("DELETE", "/cluster/backup/backup-nightly", {}, ["schedule=21:00", "storage=nas"]),
    ("POST", "/nodes/pve1/qemu/100/status/stop", {}, ["POST /nodes/pve1/qemu/100/status/stop", "web01"]),
    ("POST", "/nodes/pve1/status", {"command": "reboot"}, ["POST /nodes/pve1/status with command=reboot"]),
    ("POST", "/nodes/pve1/stopall", {}, ["/stopall"]),
    ("PUT", "/nodes/pve1/qemu/100/config", {"delete": "net1", "cipassword": "very secret"},
     ["delete=net1", "cipassword=***", "name=web01"]),
    ("POST", "/nodes/pve1/vzdump", {"vmid": 100, "storage": "nas"}, ["/vzdump with", "web01"]),
])
def test_what_destroys_asks_first(verb, path, parameters, words):
    consent = Asked()
    bench = Bench(consent=consent)
    bench.run(CALL, verb=verb, path=path, parameters=parameters)
    [question] = consent.questions
    assert question.startswith("Send %s %s" % (verb, path)) and all(word in question for word in words), question
    assert "very secret" not in question


def test_what_is_refused_by_the_user_is_not_sent():
    from tools.base.failures import Failure

    class No:
        def ask(self, call, describe):
            raise Failure("Nothing was done.")
    bench = Bench(consent=No())
    assert bench.run(CALL, verb="DELETE", path="/pools/lab").failed and bench.sent(reads=False) == []
    assert not bench.run(CALL, verb="POST", path="/pools", parameters={"poolid": "web"}).failed


@pytest.mark.parametrize("chosen, verb, path, parameters", [
    ({"allowed_guests": ("200-299",)}, "GET", "/nodes/pve1/qemu/100/config", {}),
    ({"allowed_guests": ("200-299",)}, "POST", "/nodes/pve1/qemu/{vmid}/status/start", {"vmid": 100}),
    ({"allowed_guests": ("200-299",)}, "POST", "/nodes/pve1/vzdump", {"vmid": "200,100", "remove": 0}),
    ({"allowed_guests": ("200-299",)}, "DELETE", "/nodes/pve1/qemu/100", {}),
    ({"protected_guests": ("100",)}, "PUT", "/pools", {"poolid": "lab", "vms": "100"}),
    ({"protected_guests": ("100",)}, "POST", "/cluster/ha/resources", {"sid": "vm:100"}),
    ({"protected_guests": ("100",)}, "PUT", "/nodes/pve2/qemu/101/config", {"scsi3": "local-lvm:vm-100-disk-0"}),
    ({"protected_guests": ("100",)}, "POST", "/nodes/pve1/stopall", {}),
    ({"allowed_nodes": ("pve2",)}, "GET", "/nodes/pve1/dns", {}),
    ({"allowed_nodes": ("pve2",)}, "POST", "/nodes/pve2/qemu/101/migrate", {"target": "pve1"}),
    ({"allowed_nodes": ("pve2",)}, "GET", "/nodes/localhost/dns", {}),
])
def test_ids_in_path_and_parameters_are_held_against_the_bounds(chosen, verb, path, parameters):
    consent = Asked()
    bench = Bench(consent=consent, **chosen)
    answer = bench.run(CALL, verb=verb, path=path, parameters=parameters)
    assert answer.failed and "Permission Denied" in answer.text, answer.text
    assert set(bench.sent()) <= {"GET /version", "GET /cluster/resources type=vm"} and consent.questions == []


def test_guests_out_of_bounds_are_taken_out_of_lists():
    bench = Bench(allowed_guests=("200-299",))
    answer = ok(bench.run(CALL, verb="GET", path="/cluster/resources", parameters={"type": "vm"}))
    assert {row["vmid"] for row in answer.data["items"]} == {200, 201, 202, 203, 204, 205}


def test_a_dry_run_sends_nothing_and_shows_no_secret():
    bench = Bench(dry_run=True)
    answer = ok(bench.run(CALL, verb="PUT", path="/nodes/pve1/qemu/100/config",
                          parameters='{"cipassword": "very secret", "cores": 2}'))
    assert bench.sent(reads=False) == [] and "cipassword=***" in answer.text and "cores=2" in answer.text
    assert answer.data["requests"] == [{"method": "PUT", "path": "/api2/json/nodes/pve1/qemu/100/config",
                                        "parameters": {"cipassword": "***", "cores": 2}}]
    assert "very secret" not in answer.text + json.dumps(answer.data)
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/qemu/100/agent/exec-status", parameters={"pid": 1}))
    assert answer.data["done"] is False and bench.sent() == []        # a read that uses something up


WHOLE, BROKEN = '{"cipassword": "very secret"}', '{"cipassword": "very secret"'


@pytest.mark.parametrize("chosen, given, events", [
    (chosen, given, events) for chosen, whole, broken in [
        ({}, ["intent", "outcome"], []), ({"allow_elevated": False}, ["refused"], []),
        ({"read_only": True}, ["refused"], ["refused"]), ({"protected_guests": ("100",)}, ["refused"], [])]
    for given, events in [(json.loads(WHOLE), whole), (WHOLE, whole), (BROKEN, broken)]])
def test_the_audit_log_has_every_attempt_and_no_secret(tmp_path, chosen, given, events):
    path = str(tmp_path / "audit.log")
    bench = Bench(audit_log=path, **chosen)
    answer = bench.run(CALL, verb="PUT", path="/nodes/pve1/qemu/100/config", parameters=given)
    assert "very secret" not in answer.text
    lines = [json.loads(line) for line in open(path, encoding="ascii")] if os.path.exists(path) else []
    assert "very secret" not in json.dumps(lines)
    assert [line["event"] for line in lines] == events
    if "intent" in events:
        assert (lines[0]["method"], lines[0]["path"]) == ("PUT", "/api2/json/nodes/pve1/qemu/100/config")
        assert lines[0]["parameters"] == {"cipassword": "***"} and lines[0]["vmid"] == 100


@pytest.mark.parametrize("verb, path, parameters", [
    ("POST", "/access/ticket", {"username": "a@pam", "password": "bbbbb"}), ("POST", "/access/users/a@pam/token/x", {}),
    ("POST", "/nodes/pve1/qemu/100/vncproxy", {}), ("POST", "/nodes/pve1/termproxy", {}),
    ("GET", "/nodes/pve1/qemu/100/vncwebsocket", {"port": 5900, "vncticket": "x"}),
    ("POST", "/nodes/pve1/storage/local/upload", {"content": "iso", "filename": "x.iso"}),
    ("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["id"]}),
    ("POST", "/nodes/pve1/qemu/100/monitor", {"command": "quit"}),
    ("POST", "/nodes/pve1/execute", {"commands": "[]"})])
def test_what_is_never_sent(verb, path, parameters):
    """Whether or not there is a schema: consoles and tickets, uploads; commands only where they are allowed in full."""
    bench = Bench(cluster=Bare())
    answer = bench.run(CALL, verb=verb, path=path, parameters=parameters)
    assert answer.failed and "Nothing was sent." in answer.text and bench.sent() == [], answer.text
    bench = Bench(cluster=Bare(), allowed_commands=("unsafe",))
    bench.run(CALL, verb=verb, path=path, parameters=parameters)
    runs_commands = path.endswith(("/agent/exec", "/monitor", "/execute"))
    assert ("word unsafe in" in answer.text) == (len(bench.sent(reads=False)) == 1) == runs_commands


# -------------------------------------------------------------------------------------------------------------- answers

def test_a_task_is_followed_and_a_failed_one_is_a_failure(bench):
    answer = ok(bench.run(CALL, verb="POST", path="/nodes/pve1/qemu/100/status/shutdown", parameters={"timeout": 60}))
    assert answer.data["task"]["type"] == "qmshutdown" and answer.data["done"] and "done (" in answer.text
    assert not bench.cluster.world.guests[100].running
    answer = bench.run(CALL, verb="POST", path="/nodes/pve2/qemu/101/status/start")
    assert answer.failed and "VM 101 already running" in answer.text
    answer = ok(bench.run(CALL, verb="POST", path="/nodes/pve1/vzdump", wait=0,
                          parameters={"vmid": 104, "storage": "nas", "remove": 0}))
    assert "Still running" in answer.text and answer.data["task"]["upid"] in answer.text


def test_the_task_that_makes_a_container_a_template_is_followed_though_it_is_not_named(bench):
    made = dict(verb="POST", path="/nodes/pve2/lxc/205/template", wait=60)
    bench.cluster.world.guests[205].running = False
    assert ok(bench.run(CALL, **made)).data["task"]["exitstatus"] == "OK"
    other = Bench()
    other.cluster.world.guests[205].running = False
    answering(other, "/nodes/pve2/tasks", (403, "Permission check failed"))
    answer = other.run(CALL, **made)
    assert answer.failed and "a task does it, which was not found" in answer.text


def test_an_answer_that_is_no_task_is_shown(bench):
    answer = ok(bench.run(CALL, verb="POST", path="/nodes/pve2/replication/101-0/schedule_now"))
    assert "POST /nodes/pve2/replication/101-0/schedule_now: done" in answer.text
    assert ok(bench.run(CALL, verb="GET", path="/cluster/nextid")).data["data"] == "109"


def test_lists_are_pages(bench):
    answer = ok(bench.run(CALL, verb="GET", path="/cluster/resources", fields="id,xyz,status", limit=2))
    assert answer.data["items"] == [{"id": "qemu/100", "status": "running"}, {"id": "qemu/101", "status": "running"}]
    assert "Next page: offset=2." in answer.text and "No row has xyz. Keys: id, vmid" in answer.text
    answer = ok(bench.run(CALL, verb="GET", path="/cluster/resources"))
    assert "Also in the rows: " in answer.text
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/syslog", parameters={"limit": 3}))
    assert answer.data["total"] == 3 and "its own parameters (start, limit" in answer.text
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/report", limit=4))
    assert len(answer.data["items"]) == 4 and "offset=4" in answer.text


def test_an_empty_list_is_doubted_only_where_the_token_lacks_something(bench):
    path = "/nodes/pve1/replication"
    assert "An empty list" not in ok(bench.run(CALL, verb="GET", path=path)).text and bench.sent()[-1] == (
        "GET /access/permissions")
    for held in ({"/": {"VM.Audit": 1}}, {"/vms": {"Sys.Audit": 1, "VM.Audit": 1, "Datastore.Audit": 1}},
                 {"/": {"VM.Audit": 1, "Sys.Audit": 1, "Datastore.Audit": 1}, "/vms": {}}, (403, "no"), None):
        answering(bench, "/access/permissions", held)
        assert "An empty list may mean" in ok(bench.run(CALL, verb="GET", path=path)).text, held


def test_times_and_sizes_are_shown_as_people_read_them(bench):
    answering(bench, "/pools", [{"poolid": "a", "mem": 4294967296, "uptime": 93784, "starttime": "1767225600",
                                 "size": 5, "total": True, "memory": {"free": 1073741824}, "expire": 0,
                                 "digest": "f00"},
                                {"poolid": "b", "digest": "f00", "comment": "1767225600", "time": 1e300}])
    answer = ok(bench.run(CALL, verb="GET", path="/pools"))
    for part in ("4 GiB", "1 d 2 h", "2026-01-01 00:00:00 UTC", '{"free":"1 GiB"}', " 1767225600", " 1e+300"):
        assert part in answer.text, answer.text
    assert "f00" not in answer.text and answer.data["items"][0] == {
        **answer.data["items"][0], "digest": "f00", "mem": 4294967296}
    assert "DIGEST" in ok(bench.run(CALL, verb="GET", path="/pools", fields="poolid,digest")).text
    answering(bench, "/pools/x", {"cpu": 0.125, "avail": 1 << 40, "ctime": 1767225600, "expire": "never"})
    answer = ok(bench.run(CALL, verb="GET", path="/pools/x"))
    assert "avail: 1 TiB\ncpu: 12 %\nctime: 2026-01-01 00:00:00 UTC\nexpire: never" in answer.text


def test_a_parameter_that_brings_the_field_is_named(bench):
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/qemu", fields="vmid,qmpstatus"))
    assert "It may be there, and exact, with the parameter full=1." in answer.text
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/qemu", fields="vmid,x", parameters={"full": 1}))
    assert "No row has x." in answer.text and "with the parameter" not in answer.text


@pytest.mark.parametrize("verb, path, parameters, last, words", [
    ("PUT", "/pools", {"poolid": "lab", "comment": "x"}, "GET /pools poolid=lab", "It is now: comment=x, poolid=lab."),
    ("PUT", "/cluster/backup/backup-nightly", {"comment": "x"}, "GET /cluster/backup/backup-nightly", "comment=x"),
    ("PUT", "/nodes/pve1/qemu/100/config", {"cores": 2}, "GET /nodes/pve1/qemu/100/config", "It is now: cores=2."),
    ("POST", "/nodes/pve1/qemu/100/config", {"cores": 2}, "GET /nodes/pve1/qemu/100/config", "It is now: cores=2."),
    ("POST", "/cluster/backup", {"schedule": "sun 04:00", "storage": "nas", "vmid": "103"}, "GET /cluster/backup",
     "schedule=\"sun 04:00\""),
    ("PUT", RULES + "/1", {"enable": 0}, "GET " + RULES + "/1", "enable=0"),
    ("PUT", RULES + "/1", {"moveto": 0}, "PUT " + RULES + "/1 moveto=0", "done"),
    ("DELETE", RULES + "/1", {}, "DELETE " + RULES + "/1", "done")])
def test_what_was_made_or_changed_is_read_back(bench, verb, path, parameters, last, words):
    answer = ok(bench.run(CALL, verb=verb, path=path, parameters=parameters))
    sent = [line for line in bench.sent() if "/tasks/" not in line]
    assert sent[-1] == last and words in answer.text, (sent, answer.text)
    assert ("It is now: " in answer.text) == ("now" in answer.data) == last.startswith("GET")


@pytest.mark.parametrize("data", [(500, "no"), (403, "no"), None, [], "x", [1]])
def test_what_cannot_be_read_back_is_done_all_the_same(bench, data):
    answering(bench, "/pools/web", data)
    answer = ok(bench.run(CALL, verb="POST", path="/pools", parameters={"poolid": "web"}))
    assert answer.text == "\u2705 POST /pools: done." and "now" not in answer.data


def test_what_is_read_back_has_no_secret(bench):
    answering(bench, "/pools/web", {"poolid": "web", "password": "CANARY", "x": ["y" * 100] * 9000})
    answer = ok(bench.run(CALL, verb="POST", path="/pools", parameters={"poolid": "web"}))
    assert "CANARY" not in answer.text + json.dumps(answer.data) and weight(answer) < 26000


def test_objects_can_be_narrowed(bench):
    answer = ok(bench.run(CALL, verb="GET", path="/nodes/pve1/status", fields="uptime,loadavg,nope"))
    assert set(answer.data["data"]) == {"uptime", "loadavg"} and "It has no nope. Keys: " in answer.text


@pytest.mark.parametrize("path, fields, says", [
    ("/cluster/resources", '["vmidd", "nam"]',
     "No row has vmidd, nam. Keys: id"),
    ("/cluster/resources", "nothing", "No row has nothing. Keys: id"),
    ("/nodes/pve1/status", ["up_time"], "It has no up_time. Keys: ")])
def test_fields_that_match_nothing_fail_with_the_names_there_are(bench, path, fields, says):
    answer = bench.run(CALL, verb="GET", path=path, fields=fields)
    assert answer.failed and says in answer.text


V100 = "/nodes/pve1/qemu/100"
NET5 = V100 + "/config net5=bridge=vmbr0,model=virtio"


@pytest.mark.parametrize("path, parameters, sent", [
    (V100 + "/agent/exec", {"command": '["uname","-a"]'}, V100 + "/agent/exec command=['uname', '-a']"),
    (V100 + "/config", {"cores": "2.0", "description": '["a"]'}, V100 + '/config cores=2 description=["a"]'),
    (V100 + "/config", '{"net5": {"bridge": "vmbr0", "model": "virtio"}}', NET5),
    (V100 + "/config", {"net5": '{"bridge": "vmbr0", "model": "virtio"}'}, NET5),
    (V100 + "/config", {"memory": 2048.0, "name": "a1"}, V100 + "/config memory=2048 name=a1")])
def test_json_text_in_a_parameter_is_what_the_schema_wants(bench, path, parameters, sent):
    bench.host.settings.allowed_commands = ("unsafe",)
    bench.run(CALL, verb="POST", path=path, parameters=parameters, wait=0)
    assert bench.sent(reads=False) == ["POST " + sent]


class Huge(Cluster):
    """GET /version and /pools answer with what `value` is."""

    value = None

    def handle(self, verb, target, headers, body=b""):
        if target == "/api2/json/pools":
            return 200, "OK", {"Content-Type": "application/json"}, json.dumps({"data": self.value}).encode()
        return super().handle(verb, target, headers, body)


@pytest.mark.parametrize("value", [
    {"key%d" % n: "x" * 500 for n in range(1000)}, {"a": ["y" * 100] * 5000, "b": 1}, ["z" * 3000] * 100, "w" * 100000,
    [{"poolid": "p%d" % n, "a": {"b": ["c" * 50] * 20}} for n in range(500)], [[1, 2], {"a": 1}, None, "x"], 5, 1.5,
    True, None, [], {}])
def test_whatever_comes_back_fits_one_answer(value):
    cluster = Huge()
    cluster.value = value
    answer = ok(Bench(cluster=cluster).run(CALL, verb="GET", path="/pools"))
    assert weight(answer) < 26000
    json.dumps(answer.data)


def test_ten_thousand_guests_fit_one_answer():
    answer = ok(Bench(big()).run(CALL, verb="GET", path="/cluster/resources"))
    assert weight(answer) <= 25000 and answer.data["total"] > 10000


def test_secrets_in_an_answer_are_not_shown():
    cluster = Huge()
    cluster.value = [{"poolid": "a", "client-key": "CANARY", "password": "CANARY",
                      "x": {"ticket": "CANARY", "api_key": "CANARY"}}]
    answer = ok(Bench(cluster=cluster).run(CALL, verb="GET", path="/pools"))
    assert "CANARY" not in answer.text + json.dumps(answer.data) and answer.data["items"][0]["poolid"] == "a"


def test_text_of_others_is_no_text_of_ours():
    cluster = Huge()
    cluster.value = [{"poolid": "a\nIGNORE\u202e", "comment": "b\x1b[2J"}]
    answer = ok(Bench(cluster=cluster).run(CALL, verb="GET", path="/pools"))
    assert "\u202e" not in answer.text and "\x1b" not in answer.text and "\nIGNORE" not in answer.text


# ----------------------------------------------------------------------------------------------------- search, describe

def test_search_without_a_hit(bench):
    answer = ok(bench.run(SEARCH, words="qqqqxyz", prefix="/nodes"))
    assert answer.data["total"] == 0 and "Try other words" in answer.text
    answer = bench.run(SEARCH, words="x", verb="fly")
    assert answer.failed and "'fly' is none of GET, POST, PUT, DELETE" in answer.text


def test_describe_in_parts(bench):
    whole = ok(bench.run(DESCRIBE, endpoint="PUT /nodes/pve1/qemu/100/config"))
    assert "Shortened: parameters=NAME" in whole.text and "net[n]" in whole.text
    assert weight(whole) <= 25000
    part = ok(bench.run(DESCRIBE, endpoint="PUT /nodes/{node}/qemu/{vmid}/config", parameters=["net0", "coress"]))
    assert list(part.data["parameters"]) == ["net[n]"] and "bridge: " in part.text
    assert "coress is not a parameter" in part.text
    assert "It takes no parameters." in ok(bench.run(DESCRIBE, endpoint="GET /version")).text


def test_describe_of_a_result_of_several_types(bench):
    page = json.dumps([{"path": "/odd", "info": {"GET": {"returns": {"type": ["string", "null"]}}}}])
    bench.host.apidoc = lambda cancelled=None: ApiDoc.parse(page)
    assert "Returns: ['string', 'null']" in ok(bench.run(DESCRIBE, endpoint="/odd")).text


@pytest.mark.parametrize("endpoint, verb, words",
                         [("/pool", None, "near it: GET /pools"), ("GET /nowhere", None, "no GET /nowhere"),
                                                   ("/pools/x?y", None, "may not hold ?"),
                          ("GET /pools", "POST", "contradict")])
def test_describe_of_what_is_not_there(bench, endpoint, verb, words):
    answer = bench.run(DESCRIBE, endpoint=endpoint, **({"verb": verb} if verb else {}))
    assert answer.failed and words in answer.text


def test_the_minimal_preset_is_small():
    entries = [entry for entry in tools.surface() if entry["name"] in selection.MINIMAL]
    size = sum(len(json.dumps({key: entry["tool"][key] for key in ("name", "description", "inputSchema")},
                              separators=(",", ":")))
               for entry in entries)
    assert len(entries) == len(selection.MINIMAL) <= 12 and size <= 2500
    assert {SEARCH, DESCRIBE, CALL} <= set(selection.MINIMAL)
