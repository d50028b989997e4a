"""What an error of Proxmox is told with: what it means, and what to do."""
import json

import pytest

from faulty import _http
from support import each
from test_client import connect, failure, pki, server  # noqa: F401: fixtures
from tools.pve import advice
from tools.pve import client as client_module

# (status line, body's message or None, words of the hint)
HINTS = [
    ("401 No ticket", None, "Proxmox saw no API token"),
    ("401 invalid token value!", None, "pveum user token list"),
    ("401 no such token 'mcp' for user 'root@pam'", None, "PROXMOX_TOKEN_NAME"),
    ("403 Permission check failed (/, Sys.Modify)", None,
     "pveum role add MCPSysModify --privs Sys.Modify && pveum acl modify / --tokens 'root@pam!mcp' --roles "
     "MCPSysModify"),
    ("403 Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)", None,
     "pveum acl modify /storage/local --tokens 'root@pam!mcp' --roles PVEAuditor"),
    ("403 Permission check failed (/vms/100, VM.Config.Disk)", None, "--roles PVEVMAdmin"),
    ("403 Permission check failed (/vms/100, VM.Config.Disk)", None, "replaces those inherited"),
    ("403 Permission check failed (user != root@pam)", None, "no API token may do it"),
    ("403 Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.", None,
     "web interface"),
    ("403 Permission check failed", None, "privileges are not sufficient"),
    ("403 Permission check failed (pool 'nix' does not exist)", None, "proxmox_list_pools"),
    ("400 x", "Parameter verification failed. No such storage.\n", "proxmox_get_storage shows"),
    ("500 could not get storage information for 'san': can't use storage 'san' for backups - wrong content type", None,
     "what they may hold"),
    ("500 400 Parameter verification failed.", None, "Correct the ones it names"),
    ("400 Parameter verification failed.", {"errors": {"content": "value 'import' does not have a value in the "
                                                                  "enumeration 'iso, vztmpl'"}}, "a newer version may"),
    ("400 Parameter verification failed.", {"errors": {"allow-move": "property is not defined in schema and the schema "
                                                       "does not allow additional properties"}}, "a newer version may"),
    ("500 not a valid block device", None, "proxmox_get_node_disks"),
    ("500 cannot delete service 'vm:100', not HA managed!", None, "proxmox_get_ha_status"),
    ("500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", None, "no VM 999 on that node"),
    ("500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist", None, "no container 999 on that node"),
    ("500 CT is locked (snapshot)", None, "A task (snapshot) has locked the guest"),
    ("500 can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", None, "wait a little"),
    ("500 checksum mismatch (file change by other user?)", None, "read it again"),
    ("500 detected modified configuration - file changed by other user? Try again.", None, "read it again"),
    ("500 cluster not ready - no quorum?", None, "proxmox_get_cluster_status"),
    ("500 storage 'x' is not available on node 'pve1'", None, "proxmox_get_storage"),
    ("500 can't remove VM 100 - protection mode enabled", None, "protection=0"),
    ("500 VM 100 already exists on node 'pve1'", None, "proxmox_get_next_vmid"),
    ("500 unable to create VM 200: config file already exists", None, "proxmox_get_next_vmid"),
    ("500 VM 100 not running", None, "proxmox_start_vm starts it"),
    ("500 QEMU guest agent is not running", None, "install qemu-guest-agent and start it"),
    ("500 hostname lookup 'pve7' failed - failed to get address info", None, "proxmox_get_nodes"),
    ("501 for data too large", None, "512 KiB"),
    ("500 x", "VM is locked (clone)\n", "A task (clone) has locked the guest"),
    ("595 Connection refused", None, "it is down or"),
    ("596 tls_process_server_certificate: certificate verify failed", None, "pvecm updatecerts"),
]


@each("line, message, hint", HINTS)
def test_hint_for_what_proxmox_said(line, message, hint, pki, server):
    server.answer = _http(line, json.dumps(message if isinstance(message, dict) else {
        "data": None, "message": message}).encode() if message else b"")
    error = failure(connect(pki, server), "POST")
    assert hint in str(error) and error.status == int(line[:3])
    assert (message if isinstance(message, str) else line[4:]).strip() in str(error)


def test_no_vmid_is_suggested_for_what_is_no_guest(pki, server):
    server.answer = _http("500 pool 'lab' already exists", b"")
    assert "vmid" not in str(failure(connect(pki, server), "POST", "/pools"))


def test_every_privilege_of_a_role_is_named_once():
    privileges = [one for text in advice.ROLES.values() for one in text.split()]
    assert len(privileges) == len(set(privileges))
    assert advice.grant("/vms/100", ["VM.Migrate", "VM.Audit"], "a@pve!t") == (
        "pveum acl modify /vms/100 --tokens 'a@pve!t' --roles PVEAuditor")


def test_what_errors_are_told_with_are_sentences():
    for kind, (repeats, what, hint) in client_module.FAULTS.items():
        assert 0 <= repeats <= len(client_module.RETRY_PAUSES)
        assert kind == "certificate" or (what.endswith(".") and hint.endswith("."))
    for statuses, pattern, hint, outcome in advice.HINTS:
        assert callable(hint) or hint.endswith(".")
        assert outcome in ("refused", "unknown", "accepted")


@pytest.mark.parametrize("verb, path, call", [
    ("POST", "/nodes/pve1/qemu", "proxmox_get_vms"),
    ("POST", "/nodes/pve1/lxc/101/snapshot", "proxmox_list_snapshots_lxc"),
    ("PUT", "/nodes/pve1/lxc/101/config", "proxmox_get_lxc_config (node pve1, vmid 101)"),
    ("POST", "/nodes/pve1/vzdump", "proxmox_list_backups"),
    ("DELETE", "/nodes/pve1/storage/local/content/local:backup/x", "proxmox_list_backups"),
    ("DELETE", "/nodes/pve1/qemu/100", "proxmox_get_vms"),
    ("PUT", "/cluster/options", "proxmox_list_tasks"),
])
def test_unknown_outcome_names_the_call_that_finds_out(verb, path, call, pki, server):
    server.fault = "early close"
    assert call in str(failure(connect(pki, server), verb, path))
