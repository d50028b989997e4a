"""What an intruder would try: each input is refused, asked whole, or recorded whole, on the demo cluster."""
import json
import re
import time
from urllib.parse import unquote

import pytest
from test_api import Bare

from cases import CASES, OF, ran, ran_of
from support import Asked, Bench, Cluster, answering, each
from tools import all_rows
from tools.base.schema import fields
from tools.mcp.wire import BadLine, decode, glance
from tools.policy import endpoints
from tools.policy.audit import Report
from tools.policy.reach import Reach
from tools.pve import text
from tools.pve.scrub import is_secret

CALL = "proxmox_api_call"
ROWS = {name: tool for _, name, tool in all_rows()}


def api(verb, path, parameters=None, **chosen):
    """(the Answer, what was changed, the questions) of one proxmox_api_call."""
    consent = Asked()
    bench = Bench(consent=consent, **chosen)
    answer = bench.run(CALL, verb=verb, path=path, parameters=parameters or {})
    return answer, bench.sent(reads=False), consent.questions


# ------------------------------------------------------------------------------------ a secret blanks nothing

def test_a_secret_that_stands_in_another_argument_is_refused():
    path = "/nodes/pve1/qemu/100/config"
    answer, changed, questions = api("PUT", path, {"delete": "scsi0", "cipassword": path})
    assert answer.failed and "cipassword: its text also appears in path" in answer.text and not changed + questions
    answer, changed, questions = api("PUT", path, {"delete": "scsi0", "cipassword": "scsi0"})
    assert answer.failed and "cipassword: its text also appears in delete" in answer.text and not changed + questions


@pytest.mark.parametrize("kind, path, data", [
    ("lxc", "/nodes/pve1/lxc/204/config", {"env": "A=CANARY", "arch": "amd64"}),
    ("lxc", "/nodes/pve1/lxc/204/pending", [{"key": "env", "value": "A=CANARY"}]),
    ("qemu", "/nodes/pve1/vzdump/extractconfig", "name: web01\ncipassword: CANARY\nenv: A=CANARY\n"),
    ("qemu", "/nodes/pve1/qemu/100/cloudinit/dump", "#cloud-config\nuser: me\npassword: CANARY\n")])
def test_secrets_of_a_guest_are_not_in_an_answer(kind, path, data):
    bench = Bench()
    answering(bench, path, data)
    parameters = {"type": "user"} if "dump" in path else {}
    if "extract" in path:
        parameters = {"volume": "nas:backup/vzdump-qemu-100-2025_10_31-00_16_40.vma.zst"}
    bench.host.apidoc = lambda cancelled=None: (_ for _ in ()).throw(ValueError("none"))
    answer = bench.run(CALL, verb="GET", path=path, parameters=parameters)
    assert not answer.failed and "CANARY" not in answer.text + json.dumps(answer.data)


def test_a_secret_equal_to_what_the_cluster_holds_does_not_blank_the_question():
    consent = Asked()
    bench = Bench(consent=consent)
    bench.run("proxmox_remove_disk_vm", vmid=107, disk="scsi0")
    volid = next(key for key in bench.run("proxmox_get_vm_config", vmid=107).data["disks"] if key["use"] == "unused")
    answer = bench.run("proxmox_update_vm_config", vmid=107, delete=["unused0"], options={"cipassword": volid["volid"]})
    assert not answer.failed and volid["volid"] in consent.questions[-1]


@pytest.mark.parametrize("word", ["event", "intent", "method", "seq1", "outcome"])
def test_a_secret_that_is_a_word_of_the_audit_log_leaves_it_whole(word, tmp_path):
    log = str(tmp_path / "audit.log")
    bench = Bench(audit_log=log)
    bench.run("proxmox_create_vm", node="pve1", vmid=999, cipassword=word)
    bench.run("proxmox_start_vm", vmid=102)
    report = Report(log)
    assert report.ok and report.lines >= 4 and not report.open
    with open(log, encoding="ascii") as stream:
        assert all('"***"' not in line.split('"cipassword"')[0] for line in stream)


# --------------------------------------------------------------------------- what is asked and recorded is whole

def test_a_command_is_asked_for_with_all_its_characters():
    consent = Asked(answer=False)
    bench = Bench(consent=consent, confirm="always", allowed_commands=("unsafe",))
    command = "uptime #" + " " * 900 + "\nrm -rf /srv"
    bench.run("proxmox_execute_vm_command", vmid=100, command=command)
    [question] = consent.questions
    assert "rm -rf /srv" in question and "%d characters" % len(command) in question


def test_a_raw_command_list_is_asked_for_whole():
    command = ["sh", "-c", "echo %s; rm -rf /srv" % ("x" * 95)]
    _, _, [question] = api("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": command},
                           allowed_commands=("unsafe",))
    assert "rm -rf /srv" in question


@pytest.mark.parametrize("verb, path, parameters, shown", [
    ("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["/bin/sh"], "input-data": "rm -rf /srv"}, "rm -rf /srv"),
    ("PUT", "/nodes/pve1/qemu/100/sendkey", {"key": "ctrl-alt-delete"}, "key=ctrl-alt-delete"),
    ("POST", "/nodes/pve1/hosts", {"data": "192.0.2.1 deb.debian.org"}, "192.0.2.1 deb.debian.org"),
    ("PUT", "/nodes/pve1/lxc/204/config", {"env": "BASH_ENV=$(reboot)"}, "BASH_ENV=$(reboot)"),
    ("POST", "/nodes/pve1/qemu/100/remote_migrate", {
        "target-endpoint": "host=192.0.2.1,apitoken=PVEAPIToken=root@pam!x=SECRET,fingerprint=AA"},
     "target-endpoint=host=192.0.2.1,***,fingerprint=AA to"),
    ("POST", "/nodes/pve1/qemu/100/remote_migrate", {"target-endpoint": "SECRET"}, "target-endpoint=*** to"),
    ("PUT", "/nodes/pve1/qemu/100/config", {"sshkeys": "ssh-ed25519%20AAAA%20me", "delete": "tags"}, "AAAA%20me")])
def test_what_is_run_or_lets_in_is_no_secret_to_the_user(verb, path, parameters, shown):
    _, _, [question] = api(verb, path, parameters, allowed_commands=("unsafe",), cluster=Bare())
    assert shown in question


def test_what_is_run_is_recorded_and_an_environment_is_not(tmp_path):
    log = tmp_path / "audit.log"
    api("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["sh"], "input-data": "rm -rf /srv"},
        allowed_commands=("unsafe",), audit_log=str(log))
    api("PUT", "/nodes/pve1/lxc/204/config", {"env": "A=CANARY"}, audit_log=str(log))
    assert "rm -rf /srv" in log.read_text() and "CANARY" not in log.read_text() and Report(str(log)).ok


def test_a_text_does_not_pass_for_more_of_the_question():
    said = "x to Proxmox? Only the notes change"
    _, _, [question] = api("PUT", "/nodes/pve1/qemu/100/config", {"delete": "scsi0", "description": said + '"'})
    assert 'with delete=scsi0, description="%s\\"" to Proxmox?' % said in question


@pytest.mark.parametrize("said, shown", [
    ("rm -rf /srv/\u0430rchive", "/srv/\\u0430rchive"), ("rm x\uff21", "x\\uff21"), ("echo \u05d0 1", "echo \\u05d0 1"),
    ("echo Gr\u00fc\u00dfe \u043c\u0438\u0440 \u4e2d\u6587a", "Gr\u00fc\u00dfe \u043c\u0438\u0440 \u4e2d\u6587a")])
def test_letters_that_pass_for_others_or_turn_a_line_around_are_written_out(said, shown):
    consent = Asked(answer=False)
    Bench(consent=consent, confirm="always").run("proxmox_execute_vm_command", vmid=100, command=said)
    assert shown in consent.questions[0]


def test_what_cannot_be_shown_whole_is_refused():
    answer, changed, questions = api("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["echo", "x" * 9000]},
                                     allowed_commands=("unsafe",))
    assert answer.failed and "not shown whole is not asked" in answer.text and not changed and not questions


def test_all_guests_are_named():
    vmids = ",".join(str(number) for number in list(range(100, 130)) + [200])
    _, _, [question] = api("POST", "/nodes/pve1/vzdump", {"vmid": vmids, "storage": "nas"})
    assert "31 guests: 100-129, 200." in question
    assert text.ranges([]) == "" and text.ranges([5, 3, 4, 9]) == "3-5, 9"


def test_the_log_keeps_length_and_hash_of_what_it_cuts(tmp_path):
    log = str(tmp_path / "audit.log")
    bench = Bench(audit_log=log, allowed_commands=("unsafe",))
    bench.run("proxmox_execute_vm_command", vmid=100, command="echo " + "y" * 500)
    with open(log, encoding="ascii") as stream:
        intent = json.loads(stream.readline())
    assert "(205 more, SHA-256 of all " in intent["arguments"]["command"] and Report(log).ok


# ------------------------------------------------------------------------------------- what may lose something asks

@pytest.mark.parametrize("verb, path, parameters", [
    ("POST", "/nodes/pve1/services/corosync/stop", {}), ("POST", "/nodes/pve1/services/pveproxy/stop", {}),
    ("PUT", "/cluster/firewall/options", {"policy_in": "DROP"}), ("PUT", "/storage/nas", {"disable": 1}),
    ("PUT", "/access/acl", {"path": "/", "users": "x@pam", "roles": "Administrator"}),
    ("PUT", "/nodes/pve1/qemu/107/config", {"template": 1}), ("PUT", "/nodes/pve1/qemu/100/config", {"protection": 0}),
    ("PUT", "/nodes/pve1/qemu/100/config", {"scsi3": "local-lvm:vm-200-disk-0"}),
    ("PUT", "/nodes/pve1/lxc/204/config", {"mp0": "/srv,mp=/srv"}),
    ("POST", "/nodes/pve1/qemu", {"vmid": 140, "virtio0": "san:vm-204-disk-0"}),
    ("POST", "/access/users", {"userid": "x@pve", "password": "letmein88", "groups": "admins"}),
    ("PUT", "/nodes/pve1/lxc/204/config", {"env": "BASH_ENV=$(reboot)"})])
def test_what_destroys_without_looking_so_asks(verb, path, parameters):
    answer, _, questions = api(verb, path, parameters, cluster=Bare())
    assert questions, answer.text


@pytest.mark.parametrize("arguments, says", [
    ({"options": {"scsi3": "local-lvm:vm-200-disk-0"}}, "scsi3=local-lvm:vm-200-disk-0"),
    ({"options": {"protection": 0}}, "protection=0"),
    ({"delete": ["cipassword"]}, 'delete cipassword="(set, not shown)"?')])
def test_an_option_that_may_lose_something_asks(arguments, says):
    consent = Asked(answer=False)
    bench = Bench(consent=consent)
    bench.cluster.world.guests[100].conf["cipassword"] = "$5$x"
    bench.run("proxmox_update_vm_config", vmid=100, **arguments)
    assert says in consent.questions[0] and bench.sent(reads=False) == []


def test_a_pending_change_that_is_reverted_is_told():
    bench = Bench()
    bench.run("proxmox_update_vm_config", vmid=100, options={"cores": 8})
    assert "cores reverted (8 waited)" in bench.run("proxmox_update_vm_config", vmid=100, revert=["cores"]).text


# ------------------------------------------------------------------------------------------------------- guardrails

OUT_OF_BOUNDS = [
    ({"protected_guests": ("9000",)}, "DELETE",
     "/nodes/pve1/storage/local-zfs/content/local-zfs:basevol-9000-disk-0", {}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/cluster/bulk-action/guest/shutdown", {}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/cluster/bulk-action/guest/shutdown", {"vms": ["201"]}),
    ({"allowed_nodes": ("pve1",)}, "PUT", "/cluster/ha/resources/vm:101", {"state": "stopped"}),
    ({"allowed_nodes": ("pve1",)}, "DELETE", "/cluster/ha/resources/ct:201", {}),
    ({"allowed_nodes": ("pve1",)}, "PUT", "/pools", {"poolid": "lab", "vms": "201", "delete": 1}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/cluster/backup", {"all": 1, "schedule": "daily", "storage": "nas"}),
    ({"allowed_nodes": ("pve1",)}, "PUT", "/cluster/sdn", {}),
    ({"protected_guests": ("200",)}, "POST", "/nodes/pve1/vzdump", {"vmid": 200, "prune-backups": "keep-last=1"}),
    ({"protected_guests": ("200",)}, "PUT", "/cluster/backup/backup-nightly", {"enabled": 0, "vmid": "100"}),
    ({"allowed_guests": ("100", "101")}, "PUT", "/cluster/backup/backup-nightly", {"vmid": "100", "delete": "all"}),
    ({"protected_guests": ("200",)}, "DELETE", "/cluster/ha/rules/keep-200", {}),
    ({"protected_guests": ("200",)}, "DELETE", "/nodes/pve1/disks/zfs/tank", {"cleanup-disks": 1}),
    ({"protected_guests": ("200",)}, "DELETE", "/storage/local-lvm", {}),
    ({"protected_guests": ("200",)}, "PUT", "/access/acl", {"path": "/", "users": "x@pam", "roles": "Administrator"}),
    ({"protected_guests": ("200",)}, "PUT", "/nodes/pve1/qemu/100/config", {"scsi1": "/dev/pve/vm-200-disk-0"}),
    ({"protected_guests": ("200",)}, "PUT", "/nodes/pve1/qemu/100/config", {"scsi1": "local-lvm:somebodys-disk"}),
    ({"allowed_guests": ("100",)}, "PUT", "/a/path/nobody/knows", {}),
    ({"allowed_commands": ("uptime", "unsafe")}, "POST", "/nodes/pve1/qemu/100/agent/file-write",
     {"file": "/etc/cron.d/x", "content": "x"}),
    ({"allowed_commands": ("uptime", "unsafe")}, "PUT", "/nodes/pve1/qemu/100/sendkey",
     {"key": "a"}),
    ({"allowed_commands": ("uptime",)}, "PUT", "/nodes/pve1/qemu/100/config", {"args": "-S"}),
    ({"allowed_commands": ("uptime",)}, "PUT", "/nodes/pve1/lxc/204/config", {"env": "BASH_ENV=$(reboot)"}),
    # a disk of a protected guest, by names that only look like reading
    ({"protected_guests": ("200",)}, "PUT", "/nodes/pve1/qemu/100/config", {"cdrom": "san:vm-200-disk-0,media=disk"}),
    ({"protected_guests": ("200",)}, "POST", "/storage", {"storage": "xx", "type": "lvm", "vgname": "xx",
                                                          "base": "local-lvm:vm-200-disk-0"}),
    ({"protected_guests": ("200",)}, "PUT", "/nodes/pve1/qemu/100/config", {"scsi1": "nas:200/vm-100-disk-0.qcow2"}),
    ({"protected_guests": ("tag:infra",)}, "POST", "/nodes/pve1/lxc", {
        "vmid": 200, "ostemplate": "nas:backup/vzdump-lxc-100-x.tar.zst", "restore": 1, "force": 1, "tags": "x"}),
    # what runs on the node, or stops the backups of all
    ({"protected_guests": ("200",)}, "PUT", "/nodes/pve1/qemu/100/config", {"hookscript": "local:snippets/x.sh"}),
    ({"protected_guests": ("200",), "allowed_commands": ("unsafe",)}, "POST", "/nodes/pve1/qemu/100/monitor",
     {"command": "migrate exec:x"}),
    ({"protected_guests": ("200",)}, "POST", "/nodes/pve1/vzdump", {"vmid": 100, "remove": 0, "stop": 1}),
    ({"protected_guests": ("200",)}, "POST", "/access/users", {"userid": "x@pve", "groups": "admins"}),
    # numbers that are read as another one, or as none
    ({"allowed_guests": ("100", "123456789")}, "POST", "/nodes/pve1/qemu/100/clone", {"newid": "1234567890"}),
    ({"allowed_guests": ("100", "300")}, "POST", "/nodes/pve1/qemu/100/clone", {"newid": "3e2"}),
    ({"allowed_guests": ("100",)}, "POST", "/nodes/pve1/qemu/100/clone", {"newid": "\uff12\uff10\uff10"}),
    ({"allowed_guests": ("100",)}, "POST", "/nodes/pve1/qemu/100/clone", {"newid": "1" * 9000}),
    ({"allowed_guests": ("100",)}, "PUT", "/nodes/pve1/qemu/100/config", {"scsi1": "nas:%s/x" % ("1" * 9000)}),
    ({"allowed_guests": ("100",)}, "POST", "/cluster/ha/rules", {"rule": "xx", "resources": "vm:100,VM:200"}),
    # a guest of another node, or all of the cluster, through a node that is allowed
    ({"allowed_nodes": ("pve1",)}, "PUT", "/nodes/pve1/qemu/101/firewall/options", {"enable": 0}),
    ({"allowed_nodes": ("pve1",)}, "PUT", "/nodes/pve1/qemu/100/config", {"scsi1": "san:vm-101-disk-0"}),
    ({"allowed_nodes": ("pve1",)}, "DELETE",
     "/nodes/pve1/storage/nas/content/nas:backup/vzdump-lxc-201-2025_12_28-20_21_00.tar.zst", {}),
    ({"allowed_nodes": ("pve1",)}, "DELETE", "/nodes/pve1/storage/nas/prunebackups", {"vmid": 201}),
    ({"allowed_nodes": ("pve1",)}, "DELETE", "/nodes/pve1/storage/nas/prunebackups", {"prune-backups": "keep-last=1"}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/nodes/pve1/stopall", {"vms": "101"}),
    ({"allowed_nodes": ("pve1",)}, "DELETE", "/nodes/pve1/ceph/pool/rbd", {}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/storage", {"storage": "xx", "type": "dir", "path": "/x"}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/cluster/mapping/dir", {"id": "xx", "map": ["path=/x,node=pve2"]}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/nodes/pve1/qemu/100/status/start", {"migratedfrom": "pve2"})]


@pytest.mark.parametrize("chosen, verb, path, parameters", OUT_OF_BOUNDS)
def test_what_crosses_a_list_is_refused(chosen, verb, path, parameters):
    for cluster in (None, Bare()):                      # which knows all of the API, as it looks nothing up
        answer, changed, questions = api(verb, path, parameters, cluster=cluster, **chosen)
        assert answer.failed and not changed and not questions, answer.text
    assert "Permission Denied" in answer.text, answer.text


@pytest.mark.parametrize("chosen, verb, path, parameters", [
    ({"protected_guests": ("101",)}, "GET", "/nodes/pve2/qemu/101/config", {}),
    ({"allowed_guests": ("205",)}, "POST", "/nodes/pve2/lxc/205/move_volume", {"volume": "rootfs", "storage": "san"}),
    ({"allowed_nodes": ("pve1",)}, "POST", "/storage", {"storage": "xx", "type": "dir", "path": "/", "nodes": "pve1"})])
def test_what_stays_within_a_list_is_not_refused(chosen, verb, path, parameters):
    answer, _, _ = api(verb, path, parameters, cluster=Bare(), **chosen)
    assert "Permission Denied" not in answer.text, answer.text


def test_a_backup_of_a_guest_of_another_node_stays():
    bench = Bench(allowed_nodes=("pve1",))
    answer = bench.run("proxmox_delete_backup", node="pve1", storage="nas",
                       volume="nas:backup/vzdump-lxc-201-2025_12_28-20_21_00.tar.zst")
    assert answer.failed and "PROXMOX_ALLOWED_NODES" in answer.text and bench.sent(reads=False) == []


def test_an_iso_of_a_shared_storage_is_within_reach_of_each_node():
    path, chosen = "/nodes/pve1/storage/nas/content/", {"allowed_nodes": ("pve1",), "cluster": Bare()}
    answer, changed, _ = api("DELETE", path + "nas:iso/x.iso", **chosen)
    assert changed, answer.text
    for volume in ("nas:201/vm-201-disk-0.raw", "nas:somebodys/disk"):
        answer, changed, _ = api("DELETE", path + volume, **chosen)
        assert "PROXMOX_ALLOWED_NODES" in answer.text and not changed


@pytest.mark.parametrize("kind, options", [
    ("vm", {"args": "-S"}), ("vm", {"hookscript": "local:snippets/x.sh"}), ("lxc", {"entrypoint": "/bin/x"}),
    ("vm", {"cicustom": "user=local:snippets/x.yml"}), ("lxc", {"hookscript": "local:snippets/x.sh"}),
    # cloud-init asks whom the serial number names, and lets in whom the config names
    ("vm", {"smbios1": "base64=1,serial=ZHM9bm9jbG91ZDtzPWh0dHA6Ly8xOTIuMC4yLjEv"}),
    ("vm", {"sshkeys": "ssh-ed25519 AAAA me"}), ("vm", {"cipassword": "letmein88"}), ("vm", {"ciuser": "root"})])
def test_options_cannot_lead_past_a_list_of_commands(kind, options):
    bench, vmid = Bench(allowed_commands=("uptime",)), 100 if kind == "vm" else 204
    path = "/nodes/pve1/%s/%d/config" % ("qemu" if kind == "vm" else "lxc", vmid)
    for answer in (bench.run("proxmox_update_%s_config" % kind, vmid=vmid, options=options),
                   bench.run(CALL, verb="PUT", path=path, parameters=options)):
        assert answer.failed and "PROXMOX_ALLOWED_COMMANDS" in answer.text and bench.sent(reads=False) == []


@pytest.mark.parametrize("login", [{"sshkeys": "ssh-ed25519 AAAA me"}, {"cipassword": "letmein88"}, {"ciuser": "root"}])
def test_a_clone_that_somebody_is_let_into_is_not_begun(login):
    bench = Bench(allowed_commands=("uptime",))
    answer = bench.run("proxmox_clone_vm", vmid=107, newid=300, **login)
    assert answer.failed and "PROXMOX_ALLOWED_COMMANDS" in answer.text and bench.sent(reads=False) == []


def test_who_gets_into_a_new_guest_is_no_command():
    bench = Bench(allowed_commands=("uptime",))
    assert not bench.run("proxmox_create_vm", node="pve1", vmid=150, ciuser="me", sshkeys="ssh-ed25519 AAAA me").failed


def test_a_protected_guest_whose_tags_cannot_be_read_is_not_changed():
    class Blind(Cluster):
        def handle(self, verb, target, headers, body=b""):
            if target.startswith("/api2/json/cluster/resources"):
                return 200, "OK", {"Content-Type": "application/json"}, b'{"data":null}'
            return super().handle(verb, target, headers, body)
    bench = Bench(cluster=Blind(), protected_guests=("tag:infra",))
    answer = bench.run("proxmox_stop_vm", vmid=103, node="pve3")
    assert answer.failed and "tags and pool cannot be read" in answer.text and bench.sent(reads=False) == []


def test_a_volume_named_by_its_bare_name_has_its_owner():
    reach = Reach("POST", "/nodes/pve1/storage/local-lvm/content/vm-100-disk-0", {"target": "vm-200-disk-9"})
    assert sorted(reach.guests) == [100, 200]


@pytest.mark.parametrize("path, parameters, others", [
    ("/access/acl", {}, "/vms/101"), ("/cluster/ha/status/current", {}, "vm:104"), ("/cluster/ha/rules", {}, "vm:104")])
def test_reads_do_not_tell_of_guests_that_are_out_of_bounds(path, parameters, others):
    answer = Bench(allowed_guests=("100",)).run(CALL, verb="GET", path=path, parameters=parameters)
    assert others not in answer.text and others not in json.dumps(answer.data)


# ------------------------------------------------------------------------------------------------- sent at most once

def test_a_get_that_acts_is_sent_once():
    class Broken(Bare):
        def handle(self, verb, target, headers, body=b""):
            if "query-url-metadata" in target or "file-read" in target:
                super().handle(verb, target, headers, body)
                return 595, "Connection refused", {"Content-Type": "application/json"}, b'{"data":null}'
            return super().handle(verb, target, headers, body)
    for path, parameters in (("/nodes/pve1/query-url-metadata", {"url": "https://example.org/a.iso"}),
                             ("/nodes/pve1/qemu/100/agent/file-read", {"file": "/etc/hostname"})):
        bench = Bench(cluster=Broken())
        answer = bench.run(CALL, verb="GET", path=path, parameters=parameters)
        assert answer.failed and sum(path in line for line in bench.sent()) == 1


@pytest.mark.parametrize("options", [{"verb": "DELETE"}, {"ids": "x"}, {"endpoint": "DELETE /x"}, {"params": "x"}])
def test_options_are_parameters_and_nothing_else(options):
    bench = Bench()
    bench.run("proxmox_update_vm_config", vmid=107, options=options)
    assert all(line.startswith("POST /nodes/pve3/qemu/107/config") for line in bench.sent(reads=False))


# ---------------------------------------------------------------------------------------------- text and processor time

@pytest.mark.parametrize("character", "\u180b\u180d\u180f\U0001d173\U0001bca0\ufff0\u2800")
def test_characters_that_cannot_be_seen_are_written_out(character):
    assert character not in text.visible("a%sb" % character)


def test_lines_that_a_node_says_do_not_begin_a_line_of_ours():
    class Journal(Bare):
        def handle(self, verb, target, headers, body=b""):
            if target.startswith("/api2/json/nodes/pve1/journal"):
                return 200, "OK", {"Content-Type": "application/json"}, b'{"data":["\\u2705 done","x"]}'
            return super().handle(verb, target, headers, body)
    answer = Bench(cluster=Journal()).run(CALL, verb="GET", path="/nodes/pve1/journal")
    assert "\n| \u2705 done" in answer.text


@pytest.mark.parametrize("tool, arguments", [
    (CALL, {"verb": "GET", "path": "/cluster/resources", "parameters": {"type": "\u4e2d\u6587" * 10000}}),
    (CALL, {"verb": "GET", "path": "/cluster/resources", "parameters": {"x" * 10000: 1}}),
    (CALL, {"verb": "GET", "path": "/nodes", "fields": ["f%d" % n for n in range(700000)]}),
    ("proxmox_get_vms", {"name": "x" * 3000000}), ("proxmox_get_vms", {"name": "*x" * 4000}),
    (CALL, {"verb": "PUT", "path": "/nodes/pve1/qemu/100/config", "parameters": {"net0": "a=b," * 900000}}),
    (CALL, {"verb": "PUT", "path": "/nodes/pve1/qemu/100/config", "parameters": {"net0": {"k%d" % n: 1
                                                                                         for n in range(100000)}}}),
    (CALL, {"verb": "POST", "path": "/nodes/pve1/qemu/100/agent/exec", "parameters": {"command": ["x"] * 900000}}),
    (CALL, {"verb": "PUT", "path": "/x", "parameters": '{"x":' + "[" * 9000}),
    (CALL, {"verb": "PUT", "path": "/nodes/pve1/qemu/100/config", "parameters": {"scsiidememory%d" % n + "x" * 200: 1
                                                                                 for n in range(499)}}),
    (CALL, {"verb": "PUT", "path": "/nodes/pve1/qemu/100/config",
            "parameters": {"x%dpassword" % n: "a" * 200 for n in range(499)}}),
    ("proxmox_create_vm", {"arg%d" % n: 1 for n in range(70000)}),
    ("proxmox_get_vms", {"y" * 9000: 1}), ("proxmox_api_search", {"words": "w " * 150})])
def test_no_input_burns_processor_time(tool, arguments):
    bench = Bench()
    bench.run("proxmox_api_describe", endpoint="GET /nodes")            # what is read once in a process
    began = time.process_time()
    bench.run(tool, **arguments)
    assert time.process_time() - began < 2                             # 0.2 on a quiet machine


@pytest.mark.parametrize("tool, argument", [
    ("proxmox_update_vm_config", "delete"), ("proxmox_update_lxc_config", "revert"), (CALL, "fields"),
    ("proxmox_api_describe", "parameters")])
def test_a_list_of_long_texts_is_refused_before_anything_looks_at_them(tool, argument):
    given = {"vmid": 100, "verb": "GET", "path": "/nodes", "endpoint": "GET /nodes", argument: ["a, b;" * 1550] * 500}
    given = {name: value for name, value in given.items() if name in {field.name for field in fields(ROWS[tool].args)}}
    bench = Bench()
    answer = bench.run(tool, **given)
    assert "%s: holds more than 131072 characters" % argument in answer.text and bench.sent() == []


@pytest.mark.parametrize("part", [b"[]", b"{}", b"1.5e3", b"1", b'""'])
def test_a_line_of_many_values_is_refused_before_it_is_read(part, monkeypatch):
    monkeypatch.setattr("tools.mcp.wire._decoder", None)
    many = b"[" + (part + b",") * 700000 + b"1]"
    for line, number in ((b'{"jsonrpc":"2.0","id":7,"method":"x","params":%s}', 7),
                         (b'{"method":"x","params":%s,"id":8}', 8), (b'{"params":%s}', None)):
        began = time.process_time()
        with pytest.raises(BadLine, match="more than"):
            decode(line % many)
        assert glance(line % many) == number and time.process_time() - began < 1


def test_a_key_that_stands_twice_does_not_hide_the_id():
    assert glance(b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"vmid":100,"vmid":101}}') == 7
    assert glance(b'{"jsonrpc":"2.0","id":7,"id":8,"method":"x"}') is None


# -------------------------------------------------------------------------------------------------------- switched off

def test_a_tool_that_is_switched_off_is_not_to_be_had_by_the_raw_call():
    answer, changed, questions = api("DELETE", "/nodes/pve3/qemu/107", tools=("-proxmox_delete_*",))
    assert answer.failed and "PROXMOX_TOOLS" in answer.text and not changed and not questions


@pytest.mark.parametrize("path, parameters, off", [
    ("/nodes/pve1/qemu/100/status/shutdown", {"forceStop": 1}, "stop_vm"),
    ("/nodes/pve3/qemu", {"vmid": 107, "archive": "nas:backup/vzdump-qemu-107-x.vma.zst", "force": 1}, "delete_vm"),
    ("/nodes/pve3/qemu/107/clone", {"newid": 300, "pool": "lab"}, "update_pool")])
def test_nor_is_what_it_does_by_a_parameter_of_the_raw_call(path, parameters, off):
    answer, changed, _ = api("POST", path, parameters, tools=("-" + off,))
    assert answer.outcome == "refused" and "takes away proxmox_" + off in answer.text and not changed


@pytest.mark.parametrize("tool, arguments, off", [
    ("update_vm_config", {"vmid": 100, "delete": ["scsi1"]}, "remove_disk_vm"),
    ("update_vm_config", {"vmid": 100, "delete": ["unused0"]}, "remove_disk_vm"),
    ("update_lxc_config", {"vmid": 200, "delete": ["mp0"]}, "remove_mountpoint_lxc"),
    ("update_lxc_config", {"vmid": 200, "delete": ["net0"]}, "remove_network_lxc"),
    ("update_vm_config", {"vmid": 100, "options": {"net1": "virtio,bridge=vmbr0"}}, "add_network_vm"),
    ("update_vm_config", {"vmid": 100, "options": {"onboot": 1, "memory": 4096}}, "resize_vm"),
    ("update_lxc_config", {"vmid": 200, "options": {"mp1": "local-lvm:8,mp=/x"}}, "add_mountpoint_lxc")])
def test_nor_is_what_it_does_by_any_option_of_a_guest(tool, arguments, off):
    bench = Bench(tools=("-" + off,))
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.outcome == "refused" and "takes away proxmox_" + off in answer.text and bench.sent(reads=False) == []
    kept = bench.run("proxmox_" + tool, vmid=arguments["vmid"], options={"description": "net1"}, delete=["tags"])
    assert kept.outcome != "refused"


def test_the_other_verb_of_a_tool_that_is_switched_off_is_not_to_be_had_either():
    answer, changed, _ = api("PUT", "/nodes/pve1/qemu/100/config", {"delete": "scsi0"}, tools=("-update_vm_*",))
    assert answer.failed and "PROXMOX_TOOLS" in answer.text and not changed


@pytest.mark.parametrize("path", ["/access/users/root@pam/token/x", "/nodes/pve1/qemu/100/vncproxy"])
def test_refused_attempts_have_a_line(path, tmp_path):
    log = str(tmp_path / "audit.log")
    answer, changed, _ = api("POST", path, audit_log=log)
    with open(log, encoding="ascii") as stream:
        [line] = [json.loads(line) for line in stream]
    assert answer.failed and not changed and line["event"] == "refused" and Report(log).ok


#: What sends a request that may lose something, and asks only where PROXMOX_CONFIRM is always, terminal or token; and
#: why that will do where it is auto.
UNASKED = {
    "proxmox_restore_backup_vm": "into a vmid that is free", "proxmox_restore_backup_lxc": "the same",
    "proxmox_remove_disk_vm": "the volume is kept as unusedN", "proxmox_remove_mountpoint_lxc": "the same",
    "proxmox_move_disk_vm": "the source goes when its copy is whole",
    "proxmox_execute_vm_command": "the elevated setting allows commands", "proxmox_execute_in_guests": "the same",
    "proxmox_update_vm_config": "an option that is deleted is told with its value, a disk is kept as unusedN",
    "proxmox_update_lxc_config": "the same",
    "proxmox_clone_vm": "the options are those of the guest that it has just made"}


@pytest.mark.parametrize("confirm", ["auto", "always"])
@each("name", sorted(OF))
def test_what_may_lose_something_asks_or_has_a_reason_not_to(name, confirm):
    unasked = [request for ran in ran_of(name, confirm) for request in ran.requests
               if not ran.questions and endpoints.effect(*request) == endpoints.LOSES]
    assert bool(unasked) == (name in UNASKED and confirm == "auto"), unasked


@pytest.mark.parametrize("tool, arguments, words", [
    ("remove_network_vm", {"vmid": 100, "net": "net1"},
     "Remove net1 of VM 100 (web01) on node pve1, virtio=BC:24:11:00:01:01,bridge=vmbr0,firewall=1,tag=20?"),
    ("update_vm_config", {"vmid": 100, "delete": ["net1", "tags"]},
     "Change VM 100 (web01) on node pve1: delete net1=virtio=BC:24:11:00:01:01,bridge=vmbr0,firewall=1,tag=20; delete "
     "tags=prod;web?"),
    ("remove_disk_vm", {"vmid": 107, "disk": "scsi0"},
     "Detach scsi0 of VM 107 (lab) on node pve3, local-lvm:vm-107-disk-0, 8 GiB? Its data is kept."),
    ("remove_mountpoint_lxc", {"vmid": 201, "mp": "mp0"}, "Detach mp0 of container 201 ("),
    ("move_disk_vm", {"vmid": 107, "disk": "scsi0", "storage": "san"},
     "Move scsi0 of VM 107 (lab) on node pve3, local-lvm:vm-107-disk-0, 8 GiB, to san, and delete it where it is now?"),
    ("update_vm_config", {"vmid": 100, "delete": ["description"]}, 'delete description="nginx and the shop front end'),
    ("restore_backup_vm", {"node": "pve1", "vmid": 150, "archive": "ARCHIVE"}, "Restore ARCHIVE as a new VM 150 on")])
def test_what_can_be_put_back_is_asked_for_where_all_is_to_be(tool, arguments, words):
    consent = Asked(answer=False)
    bench = Bench(consent=consent, confirm="always")
    archive = next(row["volid"] for row in bench.run("proxmox_list_backups", node="pve1").data["items"]
                   if "qemu" in row["volid"] or "/vm/" in row["volid"])
    arguments = {key: archive if value == "ARCHIVE" else value for key, value in arguments.items()}
    answer = bench.run("proxmox_" + tool, **arguments)
    [question] = consent.questions
    assert answer.failed and bench.sent(reads=False) == [] and words.replace("ARCHIVE", archive) in question, question


def test_what_no_tool_thought_of_is_asked_for_where_all_is_to_be():
    def handler(call):
        call.send({"delete": "scsi0"}, "PUT /nodes/{node}/qemu/{vmid}/config")
    for confirm, count in (("always", 1), ("terminal", 1), ("auto", 0)):
        consent = Asked(answer=False)
        bench = Bench(consent=consent, confirm=confirm)
        ROWS["proxmox_start_vm"].handler, really = handler, ROWS["proxmox_start_vm"].handler
        try:
            bench.run("proxmox_start_vm", vmid=107)
        finally:
            ROWS["proxmox_start_vm"].handler = really
        assert len(consent.questions) == count and bool(bench.sent(reads=False)) == (not count)
        assert not count or "PUT /nodes/pve3/qemu/107/config with delete=scsi0" in consent.questions[0]


@pytest.mark.parametrize("mp0",
                         ["local-lvm:vm-200-disk-0,mp=/x", "/etc,mp=/x", "volume=nas:200/vm-200-disk-0.raw,mp=/x",
                                 "pve3", "local-lvm:8,volume=san:vm-200-disk-0,mp=/x"])
def test_a_new_container_gets_no_disk_of_another_guest(mp0):
    consent = Asked()
    bench = Bench(consent=consent)
    answer = bench.run("proxmox_create_lxc", node="pve1", vmid=150, mp0=mp0,
                       ostemplate="local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst")
    assert answer.failed and "mp0" in answer.text and bench.sent(reads=False) == [], answer.text


@pytest.mark.parametrize("arguments, asks", [
    ({"delete": ["net1"]}, True), ({"delete": ["tags"]}, False), ({"delete": ["scsi0"]}, False),
    ({"delete": ["description"]}, False), ({"delete": ["sshkeys"]}, True), ({"delete": ["cipassword"]}, True)])
def test_what_cannot_be_put_back_from_the_answer_asks_always(arguments, asks):
    consent = Asked(answer=False)
    bench = Bench(consent=consent)
    bench.cluster.world.guests[100].conf.update(cipassword="$5$x", sshkeys="ssh-ed25519%20" + "A" * 60)
    bench.run("proxmox_update_vm_config", vmid=100, **arguments)
    assert bool(consent.questions) == asks


@pytest.mark.parametrize("options", [{"template": 1}, {"hookscript": "local:snippets/x"}, {"cipassword": "Secret-99"}])
def test_options_that_may_lose_something_ask(options):
    consent = Asked(answer=False)
    bench = Bench(consent=consent)
    answer = bench.run("proxmox_update_vm_config", vmid=107, options=options)
    [question] = consent.questions
    assert answer.failed and bench.sent(reads=False) == [] and "Secret" not in question and list(options)[0] in question


@pytest.mark.parametrize("purge", [True, False])
def test_the_question_says_whether_jobs_forget_the_guest(purge):
    consent = Asked(answer=False)
    Bench(consent=consent).run("proxmox_delete_vm", vmid=107, purge=purge)
    [question] = consent.questions
    assert ("It is also taken out of backup, replication and HA jobs." in question) == purge


@pytest.mark.parametrize("tool, arguments, off", [
    ("clone_vm", {"vmid": 107, "newid": 300, "start": True}, "start_vm"),
    ("clone_vm", {"vmid": 107, "newid": 300, "cores": 2}, "resize_vm"),
    ("clone_lxc", {"vmid": 9100, "newid": 300, "onboot": False}, "update_lxc_config"),
    ("clone_lxc", {"vmid": 9100, "newid": 300, "ip": "dhcp"}, "update_network_lxc"),
    ("clone_vm", {"vmid": 107, "newid": 300, "target": "pve1"}, "migrate_vm"),
    ("create_vm", {"vmid": 300, "node": "pve1", "start": True}, "start_vm"),
    ("create_vm", {"vmid": 300, "node": "pve1", "pool": "lab"}, "update_pool"),
    ("restore_backup_vm", {"vmid": 300, "node": "pve1", "archive": "nas:backup/vzdump-qemu-100-2025_12_30-20_16_40.vma"
                           ".zst", "hostname": "x"}, "update_vm_config"),
    ("rollback_snapshot_vm", {"vmid": 100, "snapname": "before-upgrade", "start": True}, "start_vm"),
    ("shutdown_vm", {"vmid": 100, "force_stop": True}, "stop_vm"),
    ("execute_in_guests", {"vmids": ["100", "200"], "command": "id"}, "execute_lxc_command")])
def test_an_option_that_does_what_a_tool_does_that_is_switched_off_is_refused(tool, arguments, off):
    consent = Asked()
    bench = Bench(tools=("-" + off,), consent=consent, confirm="always")
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.outcome == "refused" and "takes away proxmox_%s, which does that" % off in answer.text
    assert bench.sent(reads=False) == [] and consent.questions == []


def test_options_do_what_tools_do_that_there_are():
    """And one that is given as false does it only where it sets something all the same."""
    words = {word for name, tool in ROWS.items() for field in fields(tool.args)
             for word in re.sub(r"\S+=", "", field.arg.does).format(**(
                 {"kind": "lxc", "volume": "mountpoint_lxc"} if "_lxc" in name else
                 {"kind": "vm", "volume": "disk_vm"})).split()}
    assert words and {"proxmox_" + word for word in words} <= set(ROWS)
    assert not Bench(tools=("-start_*",)).run("proxmox_clone_vm", vmid=107, newid=300, start=False).failed


#: Parameters that no question tells: what it was bound to, and a command, which is told as it was given; and the words
#: by which switches are told that have another name, or none.
UNTOLD = ("digest", "command", "input-data")
SWITCHES = {"restore": ("Restore ", "by the backup "), "force": ("Destroy ",), "enable": ("Add this firewall rule ",),
            "full": ("in full",), "with-local-disks": ("move it to node",),
            "target": ("Moved to other nodes: ",)}          # a drain chooses among them by what is free when it is done


@each("ident", CASES)
def test_all_that_a_request_sends_stands_in_its_question(ident):
    """By its value or, what is a switch, by its name; of a secret its name. An unusedN is what a mount point became,
    and of a new net0 the address is told that is asked for."""
    case = ran(ident, "always")
    question = unquote("".join(case.questions))
    for verb, path, params in case.requests if case.questions else ():
        for name, value in params.items() if verb != "GET" else ():
            told = name if is_secret(name) or value in ("0", "1") else unquote(str(value))
            told = (told, *SWITCHES.get(name, ()), *(("ip=",) if name == "net0" else ()))
            assert any(word in question for word in told) or value == "unused0" or name in UNTOLD, (name, question)
