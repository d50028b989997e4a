"""Guardrails: which tools exist, which guests and nodes may be touched, how often; seen on the wire of the demo
cluster."""
import threading

import pytest

import tools
from support import Asked, Bench, Clock, each, journaling, ok, settings
from tools.base.call import MAX_QUESTION, Call
from tools.base.failures import Refused
from tools.base.row import BASIC, ELEVATED, Guest, NodeArgs, Tool
from tools.mcp import run
from tools.mcp.run import Nobody
from tools.policy.guard import Guard, Guests
from tools.policy.reach import Reach, guests_of_row
from tools.policy.selection import DAILY, MINIMAL, MISSION, Selection
from tools.policy.settings import Ssh
from tools.pve.client import Limiter, PveError

ENTRIES = tools.surface()
NAMES = [entry["name"] for entry in ENTRIES]


def listed(**chosen):
    """Names of the tools that exist with these settings."""
    selection = Selection(settings(**chosen))
    return [entry["name"] for entry in ENTRIES if selection.hidden_by(entry) is None]


def judged(chosen, verb, path, params={}, rows={}):
    """The Refusal of a request with these settings, or None."""
    return Guard(settings(**chosen)).judge(Reach(verb, path, params), rows, {})


def a_call(**chosen):
    """A Call of nothing in particular."""
    host = Bench(**chosen).host
    return Call(host, "proxmox_x", Tool("GET /x", BASIC, NodeArgs), NodeArgs(), Nobody())


def refused(answer, *words):
    """Whether an Answer is a refusal that says all the words."""
    assert answer.failed and answer.text.startswith("\U0001f6ab Permission Denied: "), answer.text
    for word in words:
        assert word in answer.text, answer.text
    return True


# ---------------------------------------------------------------------------------------------------------------- tools

def test_presets_name_tools_that_exist():
    assert len(MISSION) == len(set(MISSION)) == 64 and set(MISSION) <= set(NAMES) and set(MINIMAL) <= set(NAMES)
    assert set(DAILY) <= set(NAMES) | set(tools.TOOLSETS)
    assert sum(e["name"] in DAILY or e["toolset"] in DAILY for e in ENTRIES) == 40      # as the README says


@pytest.mark.parametrize("chosen, expected", [
    ({}, NAMES), ({"tools": ("all",)}, NAMES), ({"tools": ("mission",)}, [n for n in NAMES if n in MISSION]),
    ({"tools": ("minimal",)}, [n for n in NAMES if n in MINIMAL]),
    ({"tools": ("daily",)}, [e["name"] for e in ENTRIES if e["name"] in DAILY or e["toolset"] in DAILY]),
    ({"tools": ("readonly",)}, [e["name"] for e in ENTRIES if not e["changes"]]),
    ({"read_only": True}, [e["name"] for e in ENTRIES if not e["changes"]]),
    ({"tools": ("snapshots", "nodes")}, [e["name"] for e in ENTRIES if e["toolset"] in ("snapshots", "nodes")]),
    ({"tools": ("minimal", "nodes")}, [e["name"] for e in ENTRIES if e["name"] in MINIMAL or e["toolset"] == "nodes"]),
    ({"tools": ("proxmox_get_vms", "start_*")}, ["proxmox_get_vms", "proxmox_start_vm", "proxmox_start_lxc"]),
    ({"tools": ("-get_vms", "snapshots", "-*_lxc", "get_nodes")}, [
        e["name"] for e in ENTRIES if e["toolset"] == "snapshots" and not e["name"].endswith("_lxc")
        or e["name"] == "proxmox_get_nodes"]),
    ({"tools": ("-*delete*", "-proxmox_get_nodes")}, [n for n in NAMES if "delete" not in n
                                                      and n != "proxmox_get_nodes"]),
    ({"tools": ("mission", "-snapshots", "-readonly")}, [
        e["name"] for e in ENTRIES if e["name"] in MISSION and e["changes"] and e["toolset"] != "snapshots"]),
    ({"tools": ("get_vms", "-get_vms")}, []), ({"tools": ("-all",)}, [])])
def test_which_tools_there_are(chosen, expected):
    assert sorted(listed(**chosen)) == sorted(expected)


@pytest.mark.parametrize("chosen, tool, words", [
    ({"read_only": True}, "proxmox_start_vm", ["PROXMOX_READ_ONLY=true", "read-only"]),
    ({"tools": ("-start_*",)}, "proxmox_start_vm", ["PROXMOX_TOOLS"]),
    ({"tools": ("get_*",)}, "proxmox_start_vm", ["PROXMOX_TOOLS"]),
    ({"tools": ("nodes",)}, "proxmox_start_vm", ["PROXMOX_TOOLS"]),
    ({"allow_elevated": False}, "proxmox_start_vm", ["elevated", "PROXMOX_ALLOW_ELEVATED=true"]),
    ({"allow_elevated": False}, "proxmox_delete_vm", ["PROXMOX_ALLOW_ELEVATED=true"]),
    ({"allow_elevated": False}, "proxmox_get_node_status", ["PROXMOX_ALLOW_ELEVATED=true"])])
def test_a_tool_that_is_not_allowed_is_refused_and_nothing_is_sent(chosen, tool, words):
    bench = Bench(**chosen)
    assert refused(bench.run(tool, vmid=106), tool, *words) and bench.sent() == []


@pytest.mark.parametrize("chosen", [{"read_only": True}, {"tools": ("readonly",)}])
def test_where_nothing_but_reading_is_there_all_of_it_is_open(chosen):
    """Elevation is for what changes something; with it out of reach, the two elevated tools that only read need
    none."""
    for tool, arguments in (("proxmox_get_node_status", {"node": "pve1"}), ("proxmox_list_backups", {"node": "pve1"})):
        answer = Bench(allow_elevated=False, **chosen).run(tool, **arguments)
        assert not answer.failed, answer.text
        assert refused(Bench(allow_elevated=False).run(tool, **arguments), "PROXMOX_ALLOW_ELEVATED=true",
                       "PROXMOX_READ_ONLY=true")
    assert refused(Bench(allow_elevated=False, **chosen).run("proxmox_start_vm", vmid=106), "PROXMOX_")


def test_read_only_beats_everything():
    bench = Bench(read_only=True, allow_elevated=True, tools=("proxmox_start_vm",))
    assert listed(read_only=True, tools=("proxmox_start_vm",)) == []
    assert refused(bench.run("proxmox_start_vm", vmid=106), "PROXMOX_READ_ONLY") and bench.sent() == []


# ------------------------------------------------------------------------------------------------- what a request names

TASK = "UPID:pve2:00001234:0000ABCD:65000000:%s:%s:root@pam!mcp:"


@each("verb, path, params, nodes, guests", [
    ("GET", "/nodes", {}, "", []),
    ("GET", "/nodes/pve1/qemu/100/config", {}, "pve1", [100]),
    ("POST", "/nodes/pve1/qemu/100/clone", {"newid": 120, "target": "pve2"}, "pve1 pve2", [100, 120]),
    ("POST", "/nodes/pve1/qemu/100/clone", {"newid": "120"}, "pve1", [100, 120]),
    ("POST", "/nodes/pve1/lxc/200/migrate", {"target": "pve3"}, "pve1 pve3", [200]),
    ("POST", "/nodes/pve1/qemu/100/move_disk", {"disk": "scsi0", "target-vmid": 101}, "pve1", [100, 101]),
    ("POST", "/nodes/pve1/qemu/100/config", {"scsi1": "local-lvm:vm-101-disk-0,size=4G"}, "pve1", [100, 101]),
    ("POST", "/nodes/pve1/qemu/100/config", {"scsi1": "local-lvm:0,import-from=local-lvm:vm-101-disk-0"}, "pve1",
     [100, 101]),
    ("POST", "/nodes/pve1/qemu/100/config", {"scsi1": "local-lvm:32,discard=on", "ide2": "local:iso/a.iso,media=cdrom"},
     "pve1",
     [100]),
    ("POST", "/nodes/pve1/qemu/100/config", {"scsi0": "nfs:9000/base-9000-disk-0.raw/100/vm-100-disk-0.qcow2"}, "pve1",
     [100]),
    ("PUT", "/nodes/pve1/lxc/200/config", {"mp0": "local-lvm:vm-201-disk-1,mp=/data/vm-300-x"}, "pve1", [200, 201]),
    ("PUT", "/nodes/pve1/lxc/200/config", {"description": "was local:vm-101-disk-0", "unused0": None}, "pve1", [200]),
    ("POST", "/nodes/pve1/qemu", {"vmid": 130, "archive": "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst"},
     "pve1",
     [100, 130]),
    ("POST", "/nodes/pve1/lxc", {"vmid": 130, "ostemplate": "pbs:backup/ct/200/2026-01-01T00:00:00Z"}, "pve1",
     [130, 200]),
    ("POST", "/nodes/pve1/lxc", {"vmid": 130, "ostemplate": "local:vztmpl/debian-13.tar.zst"}, "pve1", [130]),
    ("DELETE", "/nodes/pve1/storage/local/content/local:backup/vzdump-lxc-200-2026_01_01-00_00_00.tar.zst", {}, "pve1",
     [200]),
    ("DELETE", "/nodes/pve1/storage/local-lvm/content/vm-101-disk-0", {}, "pve1", [101]),
    ("GET", "/nodes/pve1/storage/local/content", {"content": "backup", "vmid": 101}, "pve1", [101]),
    ("GET", "/nodes/pve1/vzdump/extractconfig", {"volume": "local:backup/vzdump-qemu-101-x.vma"}, "pve1", [101]),
    ("POST", "/nodes/pve1/vzdump", {"vmid": "100,101"}, "pve1", [100, 101]),
    ("POST", "/nodes/pve1/vzdump", {"vmid": ["100", "101 102"]}, "pve1", [100, 101, 102]),
    ("POST", "/cluster/bulk-action/guest/start", {"vms": [100, 101]}, "", [100, 101]),
    ("PUT", "/pools", {"poolid": "x", "vms": "100;101"}, "", [100, 101]),
    ("PUT", "/pools", {"vms": "[100,\"101\"]"}, "", [100, 101]),
    ("GET", "/nodes/pve2/tasks/" + TASK % ("qmstart", "101") + "/status", {}, "pve2", [101]),
    ("DELETE", "/nodes/pve1/tasks/" + TASK % ("imgdel", "101@local"), {}, "pve1 pve2", [101]),
    ("GET", "/nodes/pve2/tasks/" + TASK % ("aptupdate", "") + "/log", {}, "pve2", []),
    ("GET", "/x", {"upid": TASK % ("vzstop", "200")}, "pve2", [200]),
    ("PUT", "/cluster/ha/resources/vm:100", {}, "", [100]), ("DELETE", "/cluster/ha/resources/101", {}, "", [101]),
    ("POST", "/cluster/ha/resources", {"sid": "ct:200"}, "", [200]),
    ("POST", "/cluster/ha/rules", {"resources": "vm:100,ct:200", "nodes": "pve1:2,pve3"}, "pve1 pve3", [100, 200]),
    ("POST", "/cluster/replication", {"id": "100-0", "target": "pve2", "source": "pve1"}, "pve1 pve2", [100]),
    ("DELETE", "/cluster/replication/100-0", {}, "", [100]),
    ("GET", "/nodes/pve1/replication", {"guest": 100}, "pve1", [100]),
    ("PUT", "/access/acl", {"path": "/vms/100", "roles": "X"}, "", [100]),
    ("PUT", "/access/acl", {"path": "/nodes/pve1"}, "pve1", []),
    ("POST", "/storage", {"storage": "x", "nodes": "pve1,pve2", "target": "iqn.2003-01.org:x"}, "pve1 pve2", []),
    ("GET", "/nodes/pve1/qemu/100/firewall/rules", {}, "pve1", [100]),
    ("POST", "/nodes/pve1/storage/local/content/vm-100-disk-0",
     {"target": "local:vm-101-disk-0", "target_node": "pve3"},
     "pve1 pve3", [100, 101])])
def test_nodes_and_guests_that_a_request_names(verb, path, params, nodes, guests):
    named = Reach(verb, path, params)
    assert (" ".join(sorted(named.nodes)), sorted(named.guests)) == (nodes, guests)


@pytest.mark.parametrize("params, undisturbed", [
    ({}, True), ({"mode": "snapshot"}, True), ({"mode": "stop"}, False), ({"mode": "suspend"}, False),
    ({"mode": "snapshot", "remove": 1}, False)])
def test_a_backup_leaves_a_guest_undisturbed_only_as_a_snapshot(params, undisturbed):
    params = dict({"remove": 0}, vmid="101", **params) if "remove" not in params else dict(params, vmid="101")
    refusal = judged({"protected_guests": ("101",)}, "POST", "/nodes/pve2/vzdump", params)
    assert (refusal is None) == undisturbed
    assert refusal is None or refusal.headline == "Guest 101 is protected"


@pytest.mark.parametrize("path, params, everyone", [
    ("/nodes/pve1/vzdump", {"vmid": "100"}, False), ("/nodes/pve1/vzdump", {"vmid": "100", "all": 0}, False),
    ("/nodes/pve1/vzdump", {"vmid": "100", "all": 1}, True), ("/nodes/pve1/vzdump", {"vmid": "100", "pool": "x"}, True),
    ("/nodes/pve1/vzdump", {"vmid": "100", "exclude": "101"}, True), ("/cluster/backup", {"vmid": "100"}, False),
    ("/cluster/backup", {"vmid": "100", "pool": "x"}, True),
    ("/cluster/backup", {"vmid": "100", "exclude": "0"}, True)])
def test_a_pool_or_all_reaches_more_than_the_guests_that_are_named(path, params, everyone):
    assert Reach("POST", path, params).everyone is everyone


# ----------------------------------------------------------------------------------------------------------------
# bounds

OUT = "Guest 101 is out of bounds"
#: (settings, tool, arguments, words of the refusal, reads that may come before it)
BOUNDS = [
    ({"allowed_guests": ("100", "200-209")}, "proxmox_start_vm", {"vmid": 101}, OUT, 0),
    ({"allowed_guests": ("100",)}, "proxmox_get_vm_config", {"vmid": 101, "node": "pve2"}, OUT, 0),
    ({"allowed_guests": ("100",)}, "proxmox_clone_vm", {"vmid": 100, "newid": 101}, OUT, 0),
    ({"allowed_guests": ("100",)}, "proxmox_clone_vm", {"vmid": 101, "newid": 100}, OUT, 0),
    ({"allowed_guests": ("120",)}, "proxmox_restore_backup_vm",
     {"vmid": 120, "node": "pve1", "archive": "local:backup/vzdump-qemu-101-2026_01_01-00_00_00.vma.zst"}, OUT, 0),
    ({"allowed_guests": ("100",)}, "proxmox_create_lxc", {"vmid": 101, "node": "pve1",
                                                          "ostemplate": "local:vztmpl/a.tar.zst"}, OUT, 0),
    ({"allowed_guests": ("100",)}, "proxmox_delete_backup",
     {"node": "pve1", "storage": "local", "volume": "local:backup/vzdump-qemu-101-2026_01_01-00_00_00.vma.zst"}, OUT,
     0),
    ({"allowed_guests": ("100",)}, "proxmox_get_task", {"upid": TASK % ("qmstart", "101")}, OUT, 0),
    ({"allowed_guests": ("tag:web",)}, "proxmox_start_vm", {"vmid": 101}, OUT, 1),
    ({"allowed_guests": ("pool:lab",)}, "proxmox_get_vm_status", {"vmid": 101}, OUT, 1),
    ({"allowed_guests": ("tag:web", "pool:lab")}, "proxmox_clone_vm", {"vmid": 100, "newid": 101}, OUT, 1),
    ({"allowed_guests": ("pool:lab",)}, "proxmox_clone_vm", {"vmid": 107, "newid": 140}, "Guest 140 is out of bounds",
     1),
    ({"protected_guests": ("101",)}, "proxmox_start_vm", {"vmid": 101}, "Guest 101 is protected", 0),
    ({"protected_guests": ("tag:db",)}, "proxmox_stop_vm", {"vmid": 101}, "Guest 101 is protected", 1),
    ({"protected_guests": ("pool:production",)}, "proxmox_delete_vm", {"vmid": 101}, "Guest 101 is protected", 1),
    ({"protected_guests": ("101",)}, "proxmox_delete_backup",
     {"node": "pve1", "storage": "local", "volume": "local:backup/vzdump-qemu-101-2026_01_01-00_00_00.vma.zst"},
     "is protected", 0),
    ({"protected_guests": ("101",)}, "proxmox_execute_vm_command", {"vmid": 101, "command": "id"}, "is protected", 0),
    ({"allowed_commands": ("df *", "uptime")}, "proxmox_execute_vm_command", {"vmid": 100, "command": "rm -rf /x"},
     "The command 'rm -rf /x' is not allowed", 0),
    ({"allowed_commands": ("df *", "uptime", "unsafe")}, "proxmox_execute_vm_command",
     {"vmid": 100, "command": "df -h; rm -rf /x"}, "is not allowed", 0),
    ({"allowed_commands": ("df *",)}, "proxmox_execute_vm_command", {"vmid": 100, "command": "dfx"}, "is not allowed",
     0),
    ({"allowed_commands": ("df *",), "ssh": Ssh()}, "proxmox_execute_lxc_command",
     {"vmid": 200, "node": "pve1", "command": "ls"}, "is not allowed", 0),
    ({"allowed_nodes": ("pve1",)}, "proxmox_get_node_dns", {"node": "pve2"}, "Node pve2 is out of bounds", 0),
    ({"allowed_nodes": ("pve1",)}, "proxmox_get_node_dns", {"node": "localhost"}, "Node localhost is out of bounds", 0),
    ({"allowed_nodes": ("pve1",)}, "proxmox_start_vm", {"vmid": 102, "node": "pve2"}, "Node pve2 is out of bounds", 0),
    ({"allowed_nodes": ("pve1",)}, "proxmox_get_task", {"upid": TASK % ("qmstart", "101")},
     "Node pve2 is out of bounds", 0),
    ({"allowed_nodes": ("pve1",)}, "proxmox_clone_vm", {"vmid": 9000, "node": "pve1", "newid": 140, "target": "pve2"},
     "pve2 is out", 0)]


@pytest.mark.parametrize("chosen, tool, arguments, says, reads", BOUNDS)
def test_out_of_bounds_is_refused_before_the_tool_sends_anything(chosen, tool, arguments, says, reads):
    bench = Bench(**chosen)
    setting = "PROXMOX_" + next(iter(chosen)).upper()
    assert refused(bench.run(tool, **arguments), says, setting, "Nothing was sent.")
    assert bench.sent() == ["GET /cluster/resources type=vm"] * reads


@pytest.mark.parametrize("chosen, tool, arguments", [
    ({"allowed_guests": ("106",)}, "proxmox_get_vm_config", {"vmid": 106}),
    ({"allowed_commands": ("df *", "uptime")}, "proxmox_execute_vm_command", {"vmid": 100, "command": "df -h"}),
    ({"allowed_commands": ("df *",)}, "proxmox_execute_vm_command", {"vmid": 100, "command": "df"}),
    ({"allowed_commands": ("df -h | head", "unsafe")}, "proxmox_execute_vm_command",
     {"vmid": 100, "command": "df -h | head"}),
    ({"allowed_guests": ("100-110",)}, "proxmox_start_vm", {"vmid": 107}),
    ({"allowed_guests": ("tag:DESKTOP",)}, "proxmox_start_vm", {"vmid": 102}),
    ({"allowed_guests": ("pool:lab",)}, "proxmox_start_vm", {"vmid": 107}),
    ({"allowed_guests": ("pool:lab", "140")}, "proxmox_clone_vm", {"vmid": 107, "newid": 140}),
    # a clone has its source's tags
    ({"allowed_guests": ("tag:desktop",)}, "proxmox_clone_vm", {"vmid": 102, "newid": 140}),
    ({"protected_guests": ("101", "pool:production")}, "proxmox_start_vm", {"vmid": 107}),
    ({"protected_guests": ("101",)}, "proxmox_get_vm_config", {"vmid": 101}),
    # cloning only reads it
    ({"protected_guests": ("tag:template",)}, "proxmox_clone_vm", {"vmid": 9000, "newid": 140}),
    ({"protected_guests": ("100",)}, "proxmox_create_backup_vm", {"vmid": 100}),
    ({"allowed_nodes": ("pve1", "pve3")}, "proxmox_get_node_dns", {"node": "pve3"}),
    ({"allowed_nodes": ("pve3",)}, "proxmox_start_vm", {"vmid": 107})])
def test_within_bounds_is_done(chosen, tool, arguments):
    answer = Bench(**chosen).run(tool, **arguments)
    assert not answer.failed, answer.text


def test_tags_are_the_same_in_capitals():
    for protected, tags in (("tag:infra", "prod;Infra"), ("tag:Infra", "infra")):
        refusal = judged({"protected_guests": (protected,)}, "POST", "/nodes/pve1/qemu/101/config", {"cores": 1},
                         {101: {"vmid": 101, "tags": tags}})
        assert refusal.headline == "Guest 101 is protected"


def test_a_guest_that_is_nowhere_is_on_no_node_that_is_allowed():
    chosen, pool = {"allowed_nodes": ("pve1",)}, {"vms": "999"}
    assert judged(chosen, "PUT", "/pools", pool).headline == (
        "Guest 999 (on an unknown node) is out of bounds")


def test_a_guest_whose_disk_is_only_read_is_not_changed_unless_it_is_elsewhere_in_the_request():
    chosen, path = {"protected_guests": ("101",)}, "/nodes/pve1/qemu/100/config"
    read = {"scsi1": "local-lvm:0,import-from=local-lvm:vm-101-disk-0"}
    assert judged(chosen, "POST", path, read) is None
    for params in (dict(read, scsi2="local-lvm:vm-101-disk-1"), dict({"scsi2": "local-lvm:vm-101-disk-1"}, **read)):
        assert judged(chosen, "POST", path, params).headline == "Guest 101 is protected"


def test_the_lookup_of_tags_costs_one_request_a_call():
    bench = Bench(allowed_guests=("tag:desktop",))
    bench.run("proxmox_get_vm_config", vmid=102)
    assert bench.sent().count("GET /cluster/resources type=vm") == 1


def test_without_bounds_nothing_more_is_sent():
    plain, bound = Bench(), Bench(allowed_guests=("100-999999999",), protected_guests=("109",),
                                  allowed_nodes=("pve1", "pve2", "pve3"))
    for bench in (plain, bound):
        bench.run("proxmox_start_vm", vmid=102)
    assert plain.sent() == bound.sent()


def test_a_guest_of_another_node_is_not_there_for_a_server_of_one_node():
    bench = Bench(allowed_nodes=("pve1",))
    answer = bench.run("proxmox_start_vm", vmid=102)
    assert answer.failed and bench.sent(reads=False) == []


@pytest.mark.parametrize("verb, path, params", [
    ("POST", "/nodes/pve1/stopall", {}), ("POST", "/nodes/pve1/vzdump", {"all": 1}),
    ("POST", "/nodes/pve1/vzdump", {"pool": "x"}),
    ("POST", "/nodes/pve1/vzdump", {"vmid": 100, "all": True}), ("POST", "/cluster/bulk-action/guest/shutdown", {}),
    ("POST", "/nodes/pve1/status", {"command": "reboot"}), ("DELETE", "/nodes/pve1/storage/local/prunebackups", {}),
    ("DELETE", "/cluster/backup/backup-1234", {})])
@pytest.mark.parametrize("chosen", [{"allowed_guests": ("100",)}, {"protected_guests": ("109",)}])
def test_what_reaches_guests_without_naming_them_is_refused(chosen, verb, path, params):
    refusal = judged(chosen, verb, path, params)
    assert "limits what may be changed" in refusal.reason and "does not name" in refusal.headline


def test_changes_that_name_no_guest_under_allowed_guests():
    chosen = {"allowed_guests": ("100",)}
    for verb, path in (("PUT", "/nodes/pve1/network"), ("DELETE", "/storage/local"), ("DELETE", "/unknown/to/us"),
                       ("PUT", "/nodes/pve1/disks/wipedisk"), ("PUT", "/access/acl")):
        assert "PROXMOX_ALLOWED_GUESTS" in judged(chosen, verb, path).reason
    for verb, path in (("POST", "/nodes/pve1/aplinfo"), ("POST", "/nodes/pve1/storage/local/download-url"),
                       ("GET", "/storage")):
        assert judged(chosen, verb, path) is None


def test_a_percent_encoded_path_is_read_as_pveproxy_reads_it():
    call = a_call(allowed_guests=("100",), allowed_nodes=("pve1",))
    for path in ("/nodes/pve1/qemu/%31%30%31/config", "/nodes/pve%32/qemu/100/config", "/%6eodes/pve2/status",
                 "/nodes/pve1/%71emu/101/config"):
        with pytest.raises(Refused, match="PROXMOX_ALLOWED") as refusal:
            call.permit("GET", path, {})
        assert refusal.value.headline in ("Guest 101 is out of bounds", "Node pve2 is out of bounds")
    call.permit("GET", "/nodes/pve1/qemu/%31%30%30/config", {})
    with pytest.raises(Refused, match="PROXMOX_READ_ONLY"):
        a_call(read_only=True).permit("GET", "/nodes/pve1/qemu/100/%76ncwebsocket", {})


def test_what_a_dry_run_would_not_be_let_do_is_refused(monkeypatch):
    def handler(call):
        call.send()
        call.send(None, "POST /nodes/pve3/qemu/107/status/stop")
    monkeypatch.setattr(run, "find", lambda entry: Tool("POST /nodes/pve1/qemu/{vmid}/status/start", ELEVATED, Guest,
                                                        handler))
    bench = Bench(dry_run=True, protected_guests=("107",))
    assert refused(bench.run("proxmox_start_vm", vmid=100, node="pve1"), "Guest 107 is protected")


def test_read_only_stops_the_request_too():
    with pytest.raises(Refused, match="PROXMOX_READ_ONLY=true"):
        a_call(read_only=True).permit("POST", "/nodes/pve1/qemu/100/status/start", {})


# -------------------------------------------------------------------------------------------------------- what is shown

def vmids(answer):
    return sorted(row["vmid"] for row in answer.data["items"])


@pytest.mark.parametrize("chosen, expected", [
    ({"allowed_guests": ("100-102", "200")}, [100, 101, 102, 200]),
    ({"allowed_guests": ("tag:infra", "pool:lab")}, [103, 107, 200, 203]),
    ({"allowed_nodes": ("pve3",)}, [103, 105, 107, 203]), ({"allowed_nodes": ("pve3",),
                                                            "allowed_guests": ("tag:infra",)}, [103])])
def test_lists_hold_only_what_is_in_bounds(chosen, expected):
    bench = Bench(**chosen)
    assert vmids(bench.run("proxmox_get_vms")) == expected
    assert bench.sent()[0] == "GET /cluster/resources type=vm"
    assert all(line.endswith("/qemu full=1") and not set(chosen.get("allowed_nodes", ())) - {line.split("/")[2]}
               for line in bench.sent()[1:])


def test_protected_guests_are_shown():
    assert 101 in vmids(Bench(protected_guests=("101",)).run("proxmox_get_vms"))


def test_nodes_out_of_bounds_are_not_shown():
    answer = Bench(allowed_nodes=("pve2",)).run("proxmox_get_nodes")
    assert [row["node"] for row in answer.data["items"]] == ["pve2"] and "pve1" not in answer.text


ROWS = [({"vmid": 100}, True), ({"vmid": "101"}, False), ({"vmid": 0}, True), ({"node": "pve1"}, True),
        ({"node": "pve2"}, False),
        ({"type": "node", "name": "pve2"}, False), ({"type": "cluster", "name": "pve2"}, True),
        ({"upid": TASK % ("qmstart", 100)}, False),
        ({"upid": (TASK % ("qmstart", 100)).replace("pve2", "pve1")}, True),
        ({"upid": (TASK % ("x", 101)).replace("pve2", "pve1")}, False),
        ({"volid": "local:backup/vzdump-qemu-101-x.vma"}, False), ({"volid": "local:iso/x.iso"}, True),
        ({"sid": "vm:101"}, False),
        ({"sid": "vm:100"}, True), ({"vmid": "100,101"}, True), ({"guest": 101}, False), ({"name": "x"}, True)]


@each("row, shown", ROWS)
def test_rows_of_any_reply(row, shown):
    guard = Guard(settings(allowed_guests=("100",), allowed_nodes=("pve1",)))
    kept = [row] if shown else []
    kept = [dict(row, vmid="100") if row.get("vmid") == "100,101" else row for row in kept]
    assert guard.shown([row], dict) == (kept, 1 - len(kept))
    assert guard.shown({"members": [row], "name": "x"}, dict) == ({"members": kept, "name": "x"}, 1 - len(kept))


def test_rows_without_pool_and_tags_are_looked_up_and_those_of_no_guest_hidden():
    guard = Guard(settings(allowed_guests=("tag:a",)))
    rows = {100 + n: {"vmid": 100 + n, "id": "qemu/%d" % (100 + n), "tags": "a;b" if n % 2 else ""} for n in range(50)}
    shown, hidden = guard.shown([{"vmid": 100 + n} for n in range(60)], lambda: rows)
    assert [row["vmid"] for row in shown] == list(range(101, 150, 2)) and hidden == 35


@pytest.mark.parametrize("tool, arguments", [
    ("proxmox_list_backups", {"storage": "nas"}), ("proxmox_list_tasks", {}),
    ("proxmox_list_storage_content", {"storage": "local-lvm"})])
def test_tags_that_rows_do_not_tell_are_looked_up_once(tool, arguments):
    bench = Bench(allowed_guests=("tag:web",))
    web = {number for number, guest in bench.cluster.world.guests.items() if "web" in str(guest.conf.get("tags"))}
    answer = bench.run(tool, node="pve1", **arguments)
    assert len(bench.sent()) == 2 and bench.sent()[1] == "GET /cluster/resources type=vm"
    found = {int(row["vmid"] if "vmid" in row else row["id"]) for row in answer.data["items"]
             if str(row.get("vmid", row.get("id"))).isdigit()}
    assert found and found <= web


def test_nested_pools_belong_to_their_parent():
    guests = Guests(("pool:prod",))
    assert guests.by_row({"pool": "prod"}) and guests.by_row({"pool": "prod/web"}) and not guests.by_row(
        {"pool": "production"})


# ----------------------------------------------------------------------------------------------------------- rate limit

def limiter(text):
    clock = Clock()
    return Limiter(text, clock), clock


def taken(limit, changing, most=1000):
    """How often `take` works before it is refused, and the refusal."""
    for count in range(most):
        try:
            limit.take(changing)
        except PveError as error:
            return count, error
    return most, None


def test_requests_come_in_bursts_and_then_at_their_rate():
    limit, clock = limiter("60/10")
    count, error = taken(limit, False)
    assert count == 30 and error.outcome == "unsent"
    assert str(error) == ("Too many requests to Proxmox: at most 60 a minute (PROXMOX_RATE_LIMIT=60/10). "
                          "Try again in 1 s.")
    clock.seconds += 1
    assert taken(limit, False)[0] == 1
    clock.seconds += 3600
    assert taken(limit, False)[0] == 30


def test_changes_have_a_tighter_limit_and_say_when():
    limit, clock = limiter("600/6")
    count, error = taken(limit, True)
    assert count == 6 and "changes: at most 6 a minute" in str(error) and "Try again in 10 s" in str(error)
    assert taken(limit, False)[0] == 294                # a refused change took nothing from the requests
    clock.seconds += 9.9
    assert taken(limit, True) [0] == 0
    clock.seconds += 0.11
    assert taken(limit, True)[0] == 1


@pytest.mark.parametrize("text, reads, writes", [
    ("600/60", 300, 30), ("300", 150, 30), ("0", 1000, 1000), ("0/0", 1000, 1000), ("0/5", 1000, 5), ("9/0", 9, 9)])
def test_what_the_setting_means(text, reads, writes):
    assert taken(limiter(text)[0], False)[0] == reads and taken(limiter(text)[0], True)[0] == writes


def test_one_limit_without_the_other():
    assert taken(limiter("0/20")[0], False)[1] is None and taken(limiter("0/20")[0], True)[0] == 10
    assert taken(limiter("20/0")[0], True)[0] == 10


def test_threads_share_one_bucket():
    limit, _ = limiter("200/0")
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(taken(limit, False)[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 100


def test_a_clock_that_jumps_back_harms_nothing():
    limit, clock = limiter("60/0")
    taken(limit, False)
    clock.seconds -= 500
    assert taken(limit, False)[0] == 0
    clock.seconds += 1
    assert taken(limit, False)[0] == 1


def test_a_limited_tool_says_so_and_the_next_works():
    bench = Bench(rate_limit="600/1")
    assert not bench.run("proxmox_start_vm", vmid=107).failed
    answer = bench.run("proxmox_start_vm", vmid=102)
    assert answer.failed and "PROXMOX_RATE_LIMIT=600/1" in answer.text and bench.sent(reads=False) == []
    bench.clock.seconds += 60
    assert not bench.run("proxmox_start_vm", vmid=102).failed


def test_what_is_only_read_is_told_from_what_is_changed():
    reach = Reach("POST", "/nodes/pve1/qemu", {"vmid": 130, "archive": "local:backup/vzdump-qemu-100-2026_01_01.vma"})
    assert reach.guests == {100: "read", 130: "new"}
    reach = Reach("POST", "/nodes/pve1/qemu/100/config", {"scsi1": "local-lvm:0,import-from=local-lvm:vm-101-disk-0"})
    assert reach.guests == {100: "changed", 101: "read"}


@pytest.mark.parametrize("row, vmids", [
    ({"type": "qemu", "id": 101}, [101]), ({"type": "lxc", "id": "200"}, [200]), ({"type": "storage", "id": "101"}, []),
    ({"resources": "vm:100,ct:200"}, [100, 200]), ({"path": "/vms/103"}, [103]), ({"path": "/nodes/pve1"}, [])])
def test_guests_that_a_row_is_about(row, vmids):
    assert guests_of_row(row) == vmids


def test_a_call_about_no_guest_names_its_node():
    call = a_call()
    call.node = None
    assert call.subject == "the cluster"
    call.node = "pve1"
    assert call.subject == "node pve1"


def test_a_question_may_have_the_length_that_can_be_shown():
    call = a_call(confirm="always")
    call.consent = Asked()
    call.confirm(lambda: ("x" * MAX_QUESTION, {}))
    assert call.consent.questions == ["x" * MAX_QUESTION]
    with pytest.raises(Refused, match="not shown whole is not asked"):
        call.confirm(lambda: ("x" * (MAX_QUESTION + 1), {}))


@pytest.mark.parametrize("tool", ["api_call", "run", "undo"])
def test_what_a_disabled_tool_does_no_raw_request_step_or_undo_does(tool):
    bench = Bench(consent=Asked())
    journaling(bench)
    undo = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=500)).data["undo"]
    arguments = {"api_call": {"verb": "DELETE", "path": "/nodes/pve1/qemu/500"}, "undo": {"id": undo},
                 "run": {"steps": [{"tool": "proxmox_delete_vm", "arguments": {"vmid": 500}}]}}[tool]
    bench = Bench(bench.cluster, consent=Asked(), tools=("-proxmox_delete_vm",))
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.outcome == "refused" and "PROXMOX_TOOLS" in answer.text and bench.sent(reads=False) == []


@pytest.mark.parametrize("name, arguments, refused", [
    ("add_disk_vm", {"disk": "scsi5", "storage": "local-lvm", "size": "1"}, True),
    ("update_vm_config", {"options": {"memory": 3072}}, False)])
def test_what_undo_puts_back_is_judged_by_its_parameters(name, arguments, refused):
    bench = Bench(consent=Asked())
    journaling(bench)
    undo = ok(bench.run("proxmox_" + name, vmid=102, **arguments)).data["undo"]
    bench = Bench(bench.cluster, consent=Asked(), tools=("all", "-remove_disk_vm"))
    answer = bench.run("proxmox_undo", id=undo)
    assert (answer.outcome == "refused") is refused and bool(bench.sent(reads=False)) is not refused, answer.text
