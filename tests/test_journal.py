"""The journal: what is noted of each change, and that what has a way back comes back as it was."""
import json
import os
import re
import stat

import pytest

from cases import CASES
from support import Asked, Bench, answering, each, journaling, ok, settings
from tools.policy import journal as journals
from tools.policy.journal import Journal

FIND, WEB = "GET /cluster/resources type=vm", "/nodes/pve1/qemu/100"


def picture(world):
    """All of a demo cluster that a request can change and another put back; keys of property strings in any order."""
    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(part) for key, part in value.items() if part not in ({}, []) and key != "ctime"}
        return sorted(map(str, value)) if isinstance(value, (list, tuple)) and not any(
            isinstance(part, dict) for part in value) else sorted(str(value).split(",")) if "=" in str(value) else value
    guests = {vmid: dict(conf=dict(guest.conf, **{key: value for key, value in guest.pending.items()
                                                  if value is not None}), node=guest.node, on=guest.running,
                         gone=[key for key, value in guest.pending.items() if value is None],
                         paused=guest.paused, snapshots=sorted(guest.snapshots))
                         for vmid, guest in world.guests.items()}
    for guest in guests.values():
        for key in guest.pop("gone"):
            guest["conf"].pop(key, None)
    volumes = {name: {node: sorted(kept) for node, kept in storage.volumes.items() if kept}
               for name, storage in world.storages.items()}
    places = {name: place for name, place in world.firewall.items() if place != {"options": {}, "rules": []}}
    return json.loads(json.dumps(plain({
        "guests": guests, "volumes": volumes, "pools": world.pools, "ha": world.ha, "jobs": world.backup_jobs,
        "storages": {name: storage.conf for name, storage in world.storages.items()}}), default=str)), places


@pytest.mark.parametrize("ident", [ident for ident, case in CASES.items() if case.tool not in (
    "proxmox_undo", "proxmox_run", "proxmox_get_run", "proxmox_drain_node")])
def test_the_journal_adds_reads_only_and_what_has_a_way_back_comes_back(ident):
    case, bench = CASES[ident], Bench(consent=Asked())
    arguments, lines = case.on(bench)
    journaling(bench)
    before = picture(bench.cluster.world)
    answer = bench.run(case.tool, **arguments)
    assert [line for line in bench.sent() if line[:4] != "GET "] == [line for line in lines if line[:4] != "GET "]
    noted = [record for record in bench.host.journal.all("u") if record.get("changes")]
    undo = answer.data and answer.data.get("undo")
    if undo is None:
        assert all(any("why" in one for one in record["changes"]) for record in noted)
        assert not noted or "undo" not in answer.text
        return
    assert answer.text.endswith("undo: %s" % undo) and [record["id"] for record in noted] == [undo]
    back = ok(bench.run("proxmox_undo", id=undo))
    after = picture(bench.cluster.world)
    assert after == before or "waits for a restart" in back.text


def change(bench, **options):
    return ok(bench.run("proxmox_update_vm_config", vmid=100, options=options)).data["undo"]


def test_a_secret_is_not_in_the_journal_and_has_no_way_back(tmp_path):
    bench = Bench(consent=Asked())
    journaling(bench, Journal(str(tmp_path)))
    ok(bench.run("proxmox_update_vm_config", vmid=105, options={"cipassword": "hunter2hunter2", "ciuser": "me"}))
    answer = ok(bench.run("proxmox_update_vm_config", vmid=105, options={"cipassword": "other2other2"}))
    content = (tmp_path / journals.FILE).read_text()
    assert "hunter2" not in content and "other2" not in content and '"***"' in content
    assert "undo" not in answer.data


def test_the_file_is_of_the_user_alone_and_two_servers_share_it(tmp_path):
    first, second = Bench(consent=Asked()), None
    journaling(first, Journal(str(tmp_path)))
    undo = change(first, memory=8192)
    path = tmp_path / journals.FILE
    assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600
    second = Bench(first.cluster, consent=Asked())
    journaling(second, Journal(str(tmp_path)))
    ok(second.run("proxmox_undo", id=undo))
    again = first.run("proxmox_undo", id=undo)
    assert again.failed and "It was taken back at" in again.text


def test_a_server_with_bounds_is_told_nothing_of_what_servers_with_others_did(tmp_path):
    def server(cluster=None, **bounds):
        made = Bench(cluster, consent=Asked(), **bounds)
        made.host.journal = Journal.of(settings(state_dir=str(tmp_path), **bounds), made.host.log)
        return made
    wide = server()
    step = {"tool": "proxmox_update_vm_config", "arguments": {"vmid": 107, "options": {"description": "hush"}}}
    run = ok(wide.run("proxmox_run", steps=[step])).data["run"]
    gone = ok(wide.run("proxmox_create_snapshot_vm", vmid=107, snapname="hush")).data["undo"]
    narrow = server(wide.cluster, allowed_guests=("100",))
    own = change(narrow, memory=8192)
    for tool, arguments in (("undo", {}), ("get_run", {}), ("undo", {"id": gone}), ("get_run", {"id": run}),
                            ("undo", {"id": run})):
        told = narrow.run("proxmox_" + tool, **arguments)
        assert not re.search("VM 107|hush", told.text + str(told.data)), told.text
    for other in (wide, server(wide.cluster, allowed_guests=("100",))):
        assert own in ok(other.run("proxmox_undo")).text
    other = server(wide.cluster, allowed_guests=("100",), allowed_nodes=("pve1",))
    assert own not in ok(other.run("proxmox_undo")).text


def test_lines_that_cannot_be_read_are_passed_over_and_the_oldest_records_go(tmp_path, monkeypatch):
    kept = Journal(str(tmp_path))
    first = kept.add("u", at=1, changes=[])
    with open(str(tmp_path / journals.FILE), "ab") as stream:
        stream.write(b'{"half": \n[1]\n"x"\n{"id": "u-aaaa", "at": 2}\n\xff\n12345678 {"id": "u-aa')
    assert [record["id"] for record in Journal(str(tmp_path)).all("u")] == [first]
    monkeypatch.setattr(journals, "LONGEST_FILE", 3000)
    monkeypatch.setattr(journals, "MOST", 10)
    for number in range(40):
        last = kept.add("u", at=number, tool="x" * 80)
    known = Journal(str(tmp_path)).all("u")
    assert known[0]["id"] == last and len(known) < 40
    assert os.path.getsize(str(tmp_path / journals.FILE)) < 6000


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_file_of_others_is_not_used_and_said(tmp_path):
    said, path = [], tmp_path / journals.FILE
    path.write_text("")
    path.chmod(0o644)
    kept = Journal(str(tmp_path), lambda level, event, **fields: said.append((level, fields["error"])))
    ident = kept.add("u", at=1)
    assert kept.find(ident)["at"] == 1 and path.read_text() == ""
    assert said[0][0] == "warning" and "chmod 600" in said[0][1]


def test_what_is_about_to_be_sent_is_noted_before_it_is(tmp_path):
    bench, seen = Bench(consent=Asked()), []
    journaling(bench, Journal(str(tmp_path)))
    handle = bench.cluster.handle

    def looking(verb, target, headers, body=b""):
        if verb != "GET":
            seen.extend(Journal(str(tmp_path)).all("u"))
        return handle(verb, target, headers, body)
    bench.cluster.handle = looking
    change(bench, memory=8192)
    assert seen[0]["open"]["path"] == WEB + "/config" and seen[0]["open"]["found"]["memory"] == "4096"


def test_a_dry_run_notes_nothing():
    bench = Bench(dry_run=True)
    journaling(bench)
    bench.run("proxmox_update_vm_config", vmid=100, options={"memory": 8192})
    assert bench.host.journal.all("u") == []


def test_what_was_there_could_not_be_read_and_the_change_is_made_all_the_same():
    bench = Bench()
    journaling(bench)
    answering(bench, "/nodes/pve1/qemu/100/snapshot", (403, "Permission check failed (/vms/100, VM.Audit)"))
    answer = ok(bench.run("proxmox_api_call", verb="POST", path=WEB + "/snapshot", parameters={"snapname": "s1"}))
    assert "undo" not in answer.data
    assert "could not be read" in bench.run("proxmox_undo").text


def test_a_change_whose_end_was_not_seen_has_no_way_back():
    bench = Bench()
    journaling(bench)
    answer = ok(bench.run("proxmox_clone_vm", vmid=9000, newid=500, full=True, wait=0))
    assert "had not ended" in bench.run("proxmox_undo").text
    upid = answer.data["task"]["upid"]
    ended = ok(bench.run("proxmox_get_task", upid=upid, wait=600))      # it has one once its end was seen
    assert ended.text.endswith("undo: " + ended.data["undo"])
    ok(bench.run("proxmox_undo", id=ended.data["undo"]))
    assert 500 not in bench.cluster.world.guests
    assert "undo" not in ok(bench.run("proxmox_get_task", upid=upid)).data


@pytest.mark.parametrize("odd", [[None], "x", 5, [["x"]]])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_of_another_shape_keeps_no_change_from_being_made_and_told(when, odd):
    bench = Bench()
    journaling(bench)
    handle, path, wrote = bench.cluster.handle, WEB + "/config", []

    def other(verb, target, headers, body=b""):
        wrote.extend([1] * (verb != "GET"))
        if verb == "GET" and target.endswith(path) and bool(wrote) == (when == "after"):
            return 200, "OK", {"Content-Type": "application/json"}, json.dumps({"data": odd}).encode()
        return handle(verb, target, headers, body)
    bench.cluster.handle = other
    answer = ok(bench.run("proxmox_api_call", verb="PUT", path=path, parameters={"memory": 8192}))
    assert "undo" not in answer.data and "could not be read" in bench.run("proxmox_undo").text


@each("line", ({"id": 5}, {"id": ""}, {"id": "u-aaaa", "changes": [5]}, {"id": "r-aaaa", "steps": [{}]}, {
    "id": "r-aaaa", "steps": [{"tool": "x", "digest": "x"}], "step0": 5, "pid": "x", "ended": []}))
def test_a_line_that_was_written_by_hand_is_in_nobodys_way(tmp_path, line):
    bench = Bench(consent=Asked())
    journaling(bench, Journal(str(tmp_path)))
    undo = change(bench, memory=8192)
    with open(str(tmp_path / journals.FILE), "a") as stream:
        stream.write(json.dumps(line) + "\n")
    ok(bench.run("proxmox_get_run"))
    ok(bench.run("proxmox_run", steps=[{"tool": "get_next_vmid"}]))
    assert undo in ok(bench.run("proxmox_undo")).text
    ok(bench.run("proxmox_undo", id=undo))


def test_a_snapshot_that_somebody_deleted_while_one_was_made_cannot_come_back():
    bench = Bench(consent=Asked())
    journaling(bench)
    ok(bench.run("proxmox_create_snapshot_vm", vmid=107, snapname="old"))
    handle = bench.cluster.handle

    def also(verb, target, headers, body=b""):
        answer = handle(verb, target, headers, body)
        if verb == "POST" and target.endswith("/qemu/107/snapshot"):
            bench.cluster.world.guests[107].snapshots.pop("old")
        return answer
    bench.cluster.handle = also
    assert "undo" not in ok(bench.run("proxmox_create_snapshot_vm", vmid=107, snapname="new")).data
    assert "What was deleted cannot be made again." in ok(bench.run("proxmox_undo")).text


def test_what_the_file_could_not_take_is_known_all_the_same(tmp_path):
    kept = Journal(str(tmp_path))
    ident = kept.add("r", at=1, ended=None)
    (tmp_path / journals.FILE).chmod(0o400)
    kept._append = lambda line: (_ for _ in ()).throw(OSError("disk full"))
    kept.amend(ident, ended="done")
    assert kept.find(ident)["ended"] == "done"


def test_long_records_do_not_crowd_out_the_latest(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "LONGEST_FILE", 3000)
    kept = Journal(str(tmp_path))
    for number in range(20):
        last = kept.add("u", at=number, tool="x" * 2000)
    assert Journal(str(tmp_path)).all("u")[0]["id"] == last
    assert os.path.getsize(str(tmp_path / journals.FILE)) < 6000


def test_a_record_that_a_full_disk_cuts_short_spoils_no_later_one(tmp_path, monkeypatch):
    kept, real = Journal(str(tmp_path)), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:20]))
    kept.add("u", at=1)
    monkeypatch.setattr(os, "write", real)
    later = kept.add("u", at=2)
    assert [record["id"] for record in Journal(str(tmp_path)).all("u")] == [later]
