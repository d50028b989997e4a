"""`check`: every step that can fail and what is said of it, which tools a token can use, and what to grant."""
import re

import pytest

import tools
from cases import OF
from front import Front
from support import Bench, each, settings
from tools.demo import DemoCluster
from tools.mcp.check import check, exists, grants, holds, needs, privileges_for, told
from tools.policy.selection import MISSION
from tools.pve.advice import ROLES
from tools.pve.tls import NotSent

AUDITOR = frozenset(ROLES["PVEAuditor"].split())
ENTRIES = tools.surface()
BY_NAME = {entry["name"]: entry for entry in ENTRIES}
FINGERPRINT = ":".join(["AB"] * 32)


def run(as_json=False, acl=None, adapter=True, look=None, version="9.1", **chosen):
    """(exit status, text or report) of a check on a demo cluster whose token has the rights `acl` {path:
    [privileges]}."""
    tokens = None if acl is None else {"root@pam!demo": {"value": None, "acl": acl}}
    cluster = DemoCluster(tokens=tokens, version=version) if adapter is True else adapter
    report = check(settings(**chosen), cluster, look)
    return 0 if report["ok"] else 1, report if as_json else "\n".join(told(report))


def facts(refused=None, kind=None):
    """A `look` that found so much of every host."""
    def look(host, port, settings):
        if kind:
            raise NotSent(kind, "it broke")
        return "192.0.2.1", "TLSv1.3", FINGERPRINT, refused
    return look


# ------------------------------------------------------------------------------------------------------------ the steps

def test_all_is_well():
    status, text = run(look=facts())
    assert status == 0 and "[FAIL]" not in text
    for words in ("connection  demo:8006: connected to 192.0.2.1, TLSv1.3", "SHA-256 " + FINGERPRINT,
                  "PROXMOX_SSL_MODE=strict accepts it.", "root@pam!demo is accepted", "Proxmox VE 9.1",
                  "%d of %d tools work." % (len(ENTRIES), len(ENTRIES))):
        assert words in text, words


@pytest.mark.parametrize("kind, word", [("dns", "spelling of PROXMOX_HOST"), ("refused", "pveproxy is running there"),
                                        ("connect", "no firewall drops port 8006"), ("plain", "does not speak TLS")])
def test_a_step_that_fails_is_the_last_one(kind, word):
    cluster = DemoCluster()
    status, report = run(as_json=True, adapter=None, look=facts(kind=kind))
    assert status == 1 and report["ok"] is False
    failed = [step for step in report["steps"] if step["ok"] is False]
    assert failed[0]["step"] == "connection" and word in failed[0]["detail"] and "it broke" in failed[0]["detail"]
    assert report["steps"][-1][
        "detail"] == "not tested: no host can be reached, so the token was not sent." and "tools" not in report
    assert cluster.requests == []


def test_a_certificate_that_is_refused_is_told_with_the_clock():
    status, text = run(adapter=None, look=facts(refused="It is refused: it has expired."))
    assert status == 1 and "[FAIL] trust       It is refused: it has expired." in text
    assert "the token was not sent" in text and "By the clock of this machine it is 20" in text


def test_every_host_is_looked_at():
    status, report = run(as_json=True, look=facts(), host=[("pve1", 8006), ("pve2", 8007)])
    assert [step["detail"].split(":")[0] for step in report["steps"]
            if step["step"] == "connection"] == ["pve1", "pve2"] and status == 0


def test_a_wrong_token_is_said_and_not_shown():
    status, text = run(token_value="CANARY-wrong-token", adapter=DemoCluster(tokens={"root@pam!demo": {"value": "right",
                                                                                                       "acl": {}}}))
    assert status == 1 and "[FAIL] token" in text and "PROXMOX_TOKEN_VALUE" in text and "CANARY" not in text


def test_a_token_without_any_privilege():
    status, text = run(acl={})
    assert status == 1 and "no privilege at all" in text and "privilege separation" in text and "tools work" in text
    assert "pveum acl modify / --tokens 'root@pam!demo' --roles ProxmoxMCP" in text


def test_an_audit_log_that_cannot_be_written_is_found(tmp_path):
    status, text = run(audit_log=str(tmp_path / "no" / "audit.log"))
    assert status == 1 and "[FAIL] audit" in text
    assert run(audit_log=str(tmp_path / "audit.log"))[0] == 0


def test_over_real_tls():
    with Front(DemoCluster()) as front:
        pinned = settings(host=[("127.0.0.1", front.port)], certificate=front.fingerprint)
        report = check(pinned)
        text = "\n".join(told(report))
        assert report["ok"]
        assert "SHA-256 " + front.fingerprint in text and "PROXMOX_CERTIFICATE accepts it" in text
        seen, report = len(front.cluster.requests), check(settings(host=[("127.0.0.1", front.port)]))
        text = "\n".join(told(report))
        assert not report["ok"] and "PROXMOX_CERTIFICATE to a copy of /etc/pve/pve-root-ca" in text
        assert "SHA-256 " + front.fingerprint in text
        assert "fingerprint that `pvenode cert info` prints" in text    # who shows it is not yet known to be Proxmox
        assert len(front.cluster.requests) == seen      # the token went nowhere


# ---------------------------------------------------------------------------------------------------- tools, privileges

def tool(report, name):
    return next(one for one in report["tools"] if one["name"] == name)


def test_an_auditor_can_read():
    _, report = run(as_json=True, acl={"/": sorted(AUDITOR)})
    reads = [tool(report, entry["name"]) for entry in ENTRIES if not entry["changes"]]
    assert sorted(one["name"] for one in reads if one["status"] != "works") == ["proxmox_list_backups",
                                                                                "proxmox_list_updates"]
    assert tool(report, "proxmox_start_vm")["missing"] == ["VM.PowerMgmt on /vms"]
    assert tool(report, "proxmox_execute_vm_command")["missing"] == ["VM.GuestAgent.Unrestricted on /vms"]


def test_privileges_on_some_guests_only():
    acl = {"/": ["VM.Audit"], "/vms/102": ["VM.Audit", "VM.PowerMgmt"]}
    _, report = run(as_json=True, acl=acl)
    start = tool(report, "proxmox_start_vm")
    assert (start["status"], start["where"], start["missing"]) == ("partly", ["/vms/102"], [])
    _, text = run(acl=acl)
    assert re.search(r"^- lifecycle .*; only on /vms/102 \(\d+\)", text, re.M)
    assert re.search(r"^- change .*lacks VM.Clone on /vms \(2\)", text, re.M)


def test_tools_are_summed_up_by_toolset():
    """Some lines in place of all names; what is whole is one line, and when all of them work there is none."""
    _, text = run(acl={"/": sorted(AUDITOR)})
    named = text.split("tools work")[1]
    assert "proxmox_" not in named and named.count("\n- ") <= len(tools.TOOLSETS) + 2
    assert re.search(r"^- all of      cluster, ", text, re.M) and re.search(r"^- lifecycle   0 of 12; lacks", text,
        re.M)
    assert "- lifecycle" not in run()[1] and "pveum role" not in run()[1]


def test_one_role_for_what_is_switched_on():
    """It holds what the tools need that the settings leave, not those of the others."""
    def role(**chosen):
        text = run(acl={"/": ["VM.Audit"]}, **chosen)[1]
        return set(re.search(r'pveum role add ProxmoxMCP --privs "(.*)"', text).group(1).split())
    assert {"VM.Migrate", "VM.PowerMgmt", "VM.Clone", "Sys.Audit"} <= role()
    assert "Sys.Audit" in role(allow_elevated=False) and "VM.PowerMgmt" not in role(allow_elevated=False)
    assert "VM.PowerMgmt" in role(tools=("lifecycle",)) and "VM.Clone" not in role(tools=("lifecycle",))


def test_what_settings_switch_off_is_said():
    _, report = run(as_json=True, allow_elevated=False, tools=("-get_nodes",), allowed_guests=("100-199",))
    assert tool(report, "proxmox_start_vm")["off"] == "PROXMOX_ALLOW_ELEVATED=false"
    assert tool(report, "proxmox_get_nodes")["off"] == "PROXMOX_TOOLS" and "off" not in tool(report, "proxmox_get_vms")
    _, text = run(allow_elevated=False, allowed_guests=("100-199",), tools=("get_vms",))
    assert "1 of %d tools work" % len(ENTRIES) in text


def test_the_needs_of_every_tool_are_known():
    for entry in ENTRIES:
        needs(entry, 9)


@pytest.mark.parametrize("name, expected", [
    ("proxmox_get_nodes", []), ("proxmox_get_vms", [("/vms", ["VM.Audit"])]),
    ("proxmox_get_node_lvm", [("/", ["Sys.Audit"])]),
    ("proxmox_start_lxc", [("/vms", ["VM.Audit"]), ("/vms", ["VM.PowerMgmt"])]),
    ("proxmox_list_backups", [("/storage", ["Datastore.AllocateSpace"]), ("/vms", ["VM.Backup"])]),
    ("proxmox_remove_network_lxc", [("/vms", ["VM.Audit"]), ("/vms", ["VM.Config.Network"]), ("/sdn", ["SDN.Use"])])])
def test_needs(name, expected):
    assert needs(BY_NAME[name], 9) == expected


PERMISSIONS = {"/": {"Sys.Audit": 0}, "/vms": {"VM.Audit": 1, "VM.Console": 0}, "/vms/100": {"VM.PowerMgmt": 1},
               "/pool/lab": {"VM.Allocate": 1}, "/nodes/pve1": {"Sys.Modify": 1}}


@pytest.mark.parametrize("path, privileges, where", [
    ("/", ["Sys.Audit"], ["/"]), ("/", ["Sys.Modify"], []), ("/vms", ["VM.Audit"], ["/vms"]),
    ("/vms", ["VM.Console"], []),
    ("/vms", ["VM.PowerMgmt"], ["/vms/100"]), ("/vms", ["X", "VM.Audit"], ["/vms"]),
    ("/vms", ["VM.Allocate"], ["/pool/lab"]),
    ("/nodes", ["Sys.Modify"], ["/nodes/pve1"]), ("/sdn", ["SDN.Use"], [])])
def test_where_a_privilege_is_held(path, privileges, where):
    assert holds(PERMISSIONS, path, privileges) == where


# ----------------------------------------------------------------------------------------------------------------
# grants

@pytest.mark.parametrize("release, there, missing", [
    (7, {"VM.Monitor", "VM.PowerMgmt", "Sys.Audit"}, {"VM.GuestAgent.Unrestricted", "SDN.Use"}),
    (8, {"VM.Monitor", "SDN.Use"}, {"VM.GuestAgent.Unrestricted"}),
    (9, {"VM.GuestAgent.Unrestricted", "SDN.Use"}, {"VM.Monitor"})])
def test_the_role_has_privileges_that_the_release_knows(release, there, missing):
    privileges = set(privileges_for([BY_NAME[name] for name in MISSION], release))
    assert there <= privileges and not missing & privileges and all(exists(one, release) for one in privileges)


def test_grants_for_a_token_of_root_and_of_another_user():
    some = [entry for entry in ENTRIES if entry["toolset"] == "snapshots"]
    own, other = (grants(some, 9, *whose) for whose in (("root@pam", "root@pam!mcp"), ("mcp@pve", "mcp@pve!ai")))
    assert own == ['pveum role add ProxmoxMCP --privs "VM.Audit VM.Snapshot"',
                   "pveum acl modify / --tokens 'root@pam!mcp' --roles ProxmoxMCP"]
    assert other[1:] == ["pveum acl modify / --users 'mcp@pve' --roles ProxmoxMCP",
                         "pveum acl modify / --tokens 'mcp@pve!ai' --roles ProxmoxMCP"]


def test_the_role_is_granted_on_deeper_paths_with_entries_of_their_own():
    """Such an entry hides what the same user, or token, has on the path above it."""
    some = [entry for entry in ENTRIES if entry["toolset"] == "snapshots"]
    acl = [{"type": "user", "ugid": "mcp@pve", "path": "/vms", "roleid": "PVEAuditor"},
           {"type": "token", "ugid": "mcp@pve!ai", "path": "/vms/100", "roleid": "PVEVMUser"},
           {"type": "token", "ugid": "mcp@pve!ai", "path": "/vms/100", "roleid": "PVEAuditor"},
           {"type": "token", "ugid": "x@pve!ai", "path": "/pool/lab", "roleid": "PVEAuditor"},
           {"type": "group", "ugid": "mcp@pve", "path": "/storage", "roleid": "PVEAuditor"}]
    assert grants(some, 9, "mcp@pve", "mcp@pve!ai", acl)[1:] == [
        "pveum acl modify / --users 'mcp@pve' --roles ProxmoxMCP",
        "pveum acl modify /vms --users 'mcp@pve' --roles ProxmoxMCP",
        "pveum acl modify / --tokens 'mcp@pve!ai' --roles ProxmoxMCP",
        "pveum acl modify /vms/100 --tokens 'mcp@pve!ai' --roles ProxmoxMCP"]
    status, text = run(acl={"/": ["VM.Audit"]})
    assert "hides what is granted above it" in text


ROLE = privileges_for([BY_NAME[name] for name in MISSION], 9)


def test_the_role_is_enough_for_the_table():
    _, report = run(as_json=True, acl={"/": ROLE})
    assert [one["name"] for one in report["tools"] if one["name"] in MISSION and one["status"] != "works"] == []


@each("name", MISSION)
def test_the_role_is_enough_for_every_tool_of_the_mission(name):
    for case in OF[name]:
        if case.arguments.get("unprivileged") is not False:                 # that takes Sys.Modify on /
            bench = Bench()
            arguments, _ = case.on(bench)
            bench.cluster.tokens["root@pam!demo"] = {"value": None, "acl": {"/": ROLE}}
            answer = bench.run(name, **arguments)
            assert not answer.failed, answer.text
