"""A guest is named by its number or, where that is unique, by its name."""
import json

import pytest

import tools
from cases import CASES, ran
from support import Asked, Bench, answering, each, ok
from tools.base.schema import fields

ROWS = {name: tool for _, name, tool in tools.all_rows()}
LOOKUP = "GET /cluster/resources type=vm"


def renamed(name, *vmids, **options):
    bench = Bench(**options)
    for vmid in vmids:
        guest = bench.cluster.world.guests[vmid]
        guest.conf["name" if guest.kind == "qemu" else "hostname"] = name
    return bench


def test_a_name_is_as_good_as_a_number():
    bench = Bench()
    answer = ok(bench.run("proxmox_start_vm", vmid="lab"))
    assert bench.sent()[0] == LOOKUP and bench.sent().count(LOOKUP) == 1
    assert bench.sent(reads=False) == ["POST /nodes/pve3/qemu/107/status/start"]
    assert answer.data["vmid"] == 107 and answer.text.count("(lab)") == 1 and "VM 107 (lab)" in answer.text
    assert "VM 100 (web01) on pve1: running" in bench.run("proxmox_get_vm_status", vmid="web01").text
    assert bench.run("proxmox_list_tasks", vmid="web01").data == bench.run("proxmox_list_tasks", vmid=100).data


def test_a_question_and_the_audit_log_show_number_and_name(tmp_path):
    asked = Asked()
    bench = Bench(consent=asked, audit_log=str(tmp_path / "log"))
    ok(bench.run("proxmox_delete_vm", vmid="lab", wait=60))
    assert "VM 107 (lab)" in asked.questions[0]
    intent = json.loads((tmp_path / "log").read_text().splitlines()[0])
    assert (intent["vmid"], intent["name"], intent["arguments"]["vmid"]) == (107, "lab", 107)


@pytest.mark.parametrize("word, says", [
    ("web1", "vmid: no guest that can be seen here is called web1. Near: VM 100 (web01) on pve1."),
    ("WEB01", "is called WEB01. Near: VM 100 (web01) on pve1, VM 101 (db01) on pve2."),
    ("zzzzzzzz", "is called zzzzzzzz. proxmox_get_vms lists the guests.")])
def test_an_unknown_name_fails_with_the_near_ones(word, says):
    bench = Bench()
    answer = bench.run("proxmox_stop_vm", vmid=word)
    assert answer.failed and says in answer.text and "was not called" in answer.text and bench.sent() == [LOOKUP]


def test_a_name_of_two_guests_is_no_name():
    bench = renamed("twin", 100, 201)
    answer = bench.run("proxmox_stop_vm", vmid="twin")
    assert answer.failed and bench.sent() == [LOOKUP]
    assert "2 guests are called twin: VM 100 (twin) on pve1, container 201 (twin) on pve2" in answer.text


def test_the_guardrails_judge_the_number():
    bench = Bench(protected_guests=("100",))
    answer = bench.run("proxmox_stop_vm", vmid="web01")
    assert "Guest 100 is protected" in answer.text and bench.sent() == [LOOKUP]
    bench = renamed("twin", 100, 107, allowed_guests=("107",))
    assert ok(bench.run("proxmox_get_vm_status", vmid="twin")).data["vmid"] == 107
    assert "web01" not in bench.run("proxmox_get_vm_status", vmid="web1").text.replace("web1", "")


def test_between_question_and_yes_the_name_may_not_go_to_another_guest():
    seen = []

    class Consent:
        def ask(self, call, describe):
            seen.append(describe()[1])
            return seen[0]
    Bench(consent=Consent()).run("proxmox_delete_vm", vmid="lab")
    assert seen[0]["named"] == {"lab": 107}


def test_a_backup_job_takes_names_too():
    bench = Bench()
    ok(bench.run("proxmox_create_backup_job", schedule="01:00", storage="nas", vmid="web01, 101"))
    assert "vmid=100,101" in bench.sent(reads=False)[0]
    answer = bench.run("proxmox_create_backup_job", schedule="01:00", storage="nas", all=True, exclude="nope")
    assert answer.failed and "is called nope." in answer.text and bench.sent() == [LOOKUP]


def test_so_does_a_pool_and_either_may_be_a_list():
    bench = Bench()
    bench.run("proxmox_update_pool", poolid="lab", vms=["ci01", 106])
    assert bench.sent(reads=False) == ["PUT /pools/lab vms=105,106"]
    bench.run("proxmox_create_backup_job", schedule="01:00", storage="nas", vmid=["ci01", 106])
    assert " vmid=105,106" in bench.sent(reads=False)[0]


def test_what_is_to_be_new_has_a_number():
    new = {"proxmox_clone_vm": "newid", "proxmox_clone_lxc": "newid", "proxmox_create_vm": "vmid",
           "proxmox_create_lxc": "vmid", "proxmox_restore_backup_vm": "vmid", "proxmox_restore_backup_lxc": "vmid"}
    assert new == {name: field.name for _, name, tool in tools.all_rows() for field in fields(tool.args)
                   if field.arg.format == "newid"}
    bench = Bench()
    answer = bench.run("proxmox_clone_vm", vmid="lab", newid="web01")
    assert answer.failed and "newid: 'web01' is not a whole number" in answer.text and bench.sent() == []


def test_the_schema_lets_a_client_send_a_name_and_for_a_new_guest_a_number_alone():
    kinds = {entry["name"]: entry["tool"]["inputSchema"]["properties"].get("vmid", {}).get("type")
             for entry in tools.surface() if "backup_job" not in entry["name"]}
    numbers = {"proxmox_%s" % name for name in ("create_vm", "create_lxc", "restore_backup_vm", "restore_backup_lxc")}
    assert {name for name, kind in kinds.items() if kind == "integer"} == numbers
    assert set(kinds.values()) == {"string", "integer", None}


BY_NUMBER = [ident for ident, case in CASES.items() if isinstance(case.arguments.get("vmid"), int) and any(
    field.name == "vmid" and field.arg.format == "vmid" for field in fields(ROWS[case.tool].args))]


@each("ident", BY_NUMBER)
def test_every_tool_about_a_guest_takes_its_name(ident):
    """The same is sent, asked and answered, but that the guest is looked for first and its name may be said."""
    case, consent = CASES[ident], Asked()
    bench = Bench(consent=consent, confirm="always")
    arguments, _ = case.on(bench)
    guest = bench.cluster.world.guests.get(arguments["vmid"])
    if guest is None:
        return                                          # the case is about no guest that is there
    answer = bench.run(case.tool, **dict(arguments, vmid=guest.name))
    number = ran(ident, "always")
    assert answer.failed == number.answer.failed and (answer.data or {}).keys() == (number.answer.data or {}).keys(), (
        answer.text, number.answer.text)
    assert bench.sent(reads=False) == [line for line in number.sent if not line.startswith("GET ")]
    assert "(%s) (%s)" % (guest.name, guest.name) not in answer.text + " ".join(consent.questions)


def test_a_guest_without_a_name_is_near_no_word():
    bench = Bench()
    answering(bench, "/cluster/resources", [{"type": "qemu", "vmid": 100, "node": "pve1", "status": "running"}])
    answer = bench.run("proxmox_start_vm", vmid="None")
    assert answer.failed and "no guest that can be seen here is called None" in answer.text
