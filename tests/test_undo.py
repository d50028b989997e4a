"""The way back: what is noted of each change, what undo sends, and when it refuses."""
import pytest

from support import Asked, Bench, Staying, answering, journaling, ok
from tools.policy import inverse

WEB, FIND = "/nodes/pve1/qemu/100", "GET /cluster/resources type=vm"


def changed(bench):
    """A bench that keeps a journal, with one change in it; the words {id} and {digest}."""
    journaling(bench)
    made = ok(bench.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192, "tags": "new"}))
    config = bench.host.client.request("GET", WEB + "/config").data
    return {"id": made.data["undo"], "digest": config["digest"]}


CASES = [
    ("proxmox_undo", {"id": "{id}", "wait": 60},
     [FIND, "GET %s/config" % WEB] * 2 + ["PUT %s/config digest={digest} memory=4096 tags=prod;web" % WEB, FIND,
      "GET %s/config" % WEB, "GET %s/pending" % WEB], changed),
    ("proxmox_undo", {}, [], journaling)]


def bench(**options):
    made = Bench(consent=Asked(), **options)
    journaling(made)
    return made


def undone(made, answer):
    """The Answer of taking back what `answer` did; and that a list of the bench has it."""
    return made.run("proxmox_undo", id=ok(answer).data["undo"])


def test_the_user_is_asked_with_old_and_new_values():
    made = bench()
    answer = made.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192, "onboot": False})
    made.host.consent.questions.clear()
    back = ok(undone(made, answer))
    [question] = made.host.consent.questions
    assert "proxmox_update_vm_config of VM 100" in question
    assert "VM 100: memory: 8192 -> 4096, onboot: 0 -> 1" in question
    assert [row["subject"] for row in back.data["items"]] == ["VM 100: memory: 8192 -> 4096, onboot: 0 -> 1"]
    assert "memory=4096" in made.sent(reads=False)[0] and len(made.sent(reads=False)) == 1


def test_a_no_takes_nothing_back():
    made = bench()
    answer = made.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192})
    made.host.consent.answer = False
    assert undone(made, answer).outcome == "declined" and made.sent(reads=False) == []


@pytest.mark.parametrize("tool, arguments, foreign, said", [
    ("update_vm_config", {"vmid": 100, "options": {"memory": 8192}},
     ("PUT", WEB + "/config", {"memory": 6144}), "memory was left as 8192 and is 6144"),
    ("add_network_vm", {"vmid": 107, "net": "net1", "bridge": "vmbr0"},
     ("PUT", "/nodes/pve3/qemu/107/config", {"delete": "net1"}), "and is nothing"),
    ("stop_vm", {"vmid": 100}, ("POST", WEB + "/status/start", {}), "state was left as stopped and is running"),
    ("create_snapshot_vm", {"vmid": 100, "snapname": "s1"}, ("DELETE", WEB + "/snapshot/s1", {}), "and is nothing"),
    ("clone_vm", {"vmid": 9000, "newid": 500, "name": "z"},
     ("PUT", "/nodes/pve1/qemu/500/config", {"description": "now in use"}), "description was left as"),
    ("add_firewall_rule", {"vmid": 100, "action": "ACCEPT"},
     ("POST", WEB + "/firewall/rules", {"type": "in", "action": "DROP", "enable": 1}), "rules was left as"),
    ("create_pool", {"poolid": "fresh"}, ("PUT", "/pools/fresh", {"comment": "ours"}), "fresh was left as"),
    ("migrate_vm", {"vmid": 103, "target": "pve1", "with_local_disks": True, "wait": 900},
     ("POST", "/nodes/pve1/qemu/103/migrate", {"target": "pve2", "online": 1, "with-local-disks": 1}),
     "node was left as pve1 and is pve2")])
def test_it_is_refused_with_the_difference_where_the_cluster_has_moved_on(tool, arguments, foreign, said):
    made = bench()
    answer = ok(made.run("proxmox_" + tool, **arguments))
    ok(made.run("proxmox_api_call", verb=foreign[0], path=foreign[1], parameters=foreign[2], wait=900))
    back = undone(made, answer)
    assert back.failed and said in back.text and "Nothing was sent." in back.text and made.sent(reads=False) == []


def test_a_change_of_something_else_is_no_reason_to_refuse():
    made = bench()
    answer = made.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192})
    ok(made.run("proxmox_update_vm_config", vmid=100, options={"description": "by somebody else"}))
    ok(undone(made, answer))
    assert made.cluster.world.guests[100].conf["description"].strip() == "by somebody else"


def test_it_is_taken_back_once_and_the_way_back_has_one_too():
    made = bench()
    answer = made.run("proxmox_update_vm_config", vmid=107, options={"memory": 8192})
    back = undone(made, answer)
    assert undone(made, answer).failed
    ok(undone(made, back))
    assert str(made.cluster.world.guests[107].conf["memory"]) == "8192"


def test_a_volume_that_was_attached_goes_with_its_data_and_that_is_said():
    made = bench()
    answer = made.run("proxmox_add_disk_vm", vmid=100, disk="scsi3", storage="local-lvm", size=4)
    made.host.consent.questions.clear()
    ok(undone(made, answer))
    assert "deleted with all data: local-lvm:vm-100-disk-1" in made.host.consent.questions[0]
    assert [line.rpartition("digest=")[0] for line in made.sent(reads=False)] == [
        "PUT %s/config delete=scsi3 " % WEB, "PUT %s/config delete=unused0 " % WEB]


@pytest.mark.parametrize("tool, arguments, after", [
    ("add_disk_vm", {"vmid": 101, "disk": "scsi3", "storage": "nas", "size": 1}, False),
    ("move_disk_vm", {"vmid": 101, "disk": "scsi0", "storage": "tank", "delete": False, "wait": 900}, False),
    ("add_disk_vm", {"vmid": 100, "disk": "scsi3", "storage": "nas", "size": 1}, True)])
def test_no_volume_of_a_protected_guest_is_taken_away(tool, arguments, after):
    made = bench()
    answer = made.run("proxmox_" + tool, **arguments)

    def begin(target):
        made.cluster.world.guests[arguments["vmid"]].conf["protection"] = 1
        target()
    if after:
        made.host.runs.begin = begin        # it is protected after the user said yes
    back = undone(made, answer)
    assert back.failed and "The guest is protected" in back.text and made.sent(reads=False) == []


def test_a_new_guest_that_was_started_with_a_tool_is_switched_off_and_deleted():
    made = bench()
    answer = made.run("proxmox_clone_vm", vmid=9000, newid=500, name="z", memory=4096, start=True)
    ok(undone(made, answer))
    assert [line.split(" ")[1].rpartition("500/")[2] for line in made.sent(reads=False)] == [
        "status/shutdown", "config", "/nodes/pve1/qemu/500"] and 500 not in made.cluster.world.guests


@pytest.mark.parametrize("tool, arguments, why", [
    ("delete_vm", {"vmid": 107}, "comes back only from a backup"),
    ("resize_disk_vm", {"vmid": 100, "disk": "scsi0", "size": "+1G"}, "cannot make a disk smaller"),
    ("rollback_snapshot_vm", {"vmid": 107, "snapname": "{first}"}, "before the rollback is gone"),
    ("execute_vm_command", {"vmid": 100, "command": "uptime"}, "inside the guest is not known"),
    ("reboot_vm", {"vmid": 100}, "cannot be taken back")])
def test_what_has_no_way_back_says_why(tool, arguments, why):
    made = bench()
    first = next(iter(made.cluster.world.guests[107].snapshots), None)
    if first is None:
        ok(made.run("proxmox_create_snapshot_vm", vmid=107, snapname="first"))
    arguments = {key: value.replace("{first}", first or "first") if isinstance(value, str) else value
                 for key, value in arguments.items()}
    answer = ok(made.run("proxmox_" + tool, **arguments))
    record = made.host.journal.all("u")[0]
    assert "undo" not in answer.data and why in made.run("proxmox_undo").text
    back = made.run("proxmox_undo", id=record["id"])
    assert back.failed and "There is no way back" in back.text and made.sent(reads=False) == []


def test_a_failure_after_a_change_says_how_to_take_it_back():
    made = bench()
    answering(made, "/nodes/pve1/qemu/500/config", (500, "no space"), "PUT")
    answer = made.run("proxmox_clone_vm", vmid=9000, newid=500, memory=4096)
    assert "undo: u-" in answer.text


def test_guardrails_hold_for_the_way_back():
    made = bench()
    answer = ok(made.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192}))
    other = Bench(made.cluster, consent=Asked(), protected_guests=["100"])
    back = other.run("proxmox_undo", id=answer.data["undo"])
    assert back.outcome == "refused" and other.sent(reads=False) == [] and other.host.consent.questions == []


@pytest.mark.parametrize("wrong", ["u-none", "r-none", "x"])
def test_an_id_that_is_none(wrong):
    assert "Nothing is noted under" in bench().run("proxmox_undo", id=wrong).text


def test_a_call_by_itself_keeps_no_journal():
    answer = Bench().run("proxmox_undo")
    assert answer.failed and "PROXMOX_STATE_DIR" in answer.text


def test_another_vm_of_the_same_number_is_left_alone():
    made = bench()
    answer = made.run("proxmox_update_vm_config", vmid=107, options={"memory": 1536})
    made.cluster.world.guests[107].conf["vmgenid"] = "00000000-0000-0000-0000-000000000001"
    back = undone(made, answer)
    assert back.failed and "vmgenid was left as" in back.text and made.sent(reads=False) == []


def test_the_word_none_is_a_value():
    assert inverse.difference({}, {"tags": "None"}) == ({}, {"tags": "None"})


def test_what_takes_longer_than_the_client_waits_goes_on_behind_the_call():
    made = bench()
    answer = ok(made.run("proxmox_run", steps=[
        {"tool": "update_vm_config", "arguments": {"vmid": 107, "options": {"memory": 1536}}},
        {"tool": "update_vm_config", "arguments": {"vmid": 107, "options": {"tags": "x"}}}]))
    todo = []
    made.host.runs.begin = todo.append
    back = made.run("proxmox_undo", Staying(), id=answer.data["run"], wait=0)
    assert back.outcome == "running" and made.sent(reads=False) == []
    todo[0]()
    told = ok(made.run("proxmox_get_run", id=back.data["run"]))
    assert [row["state"] for row in told.data["items"]] == ["done", "done"]
    assert str(made.cluster.world.guests[107].conf["memory"]) != "1536"
