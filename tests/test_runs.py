"""Runs: planned as a whole, asked about once, done in order, followed, stopped, and taken up again."""
import copy
import json
import threading

import pytest
import requests

from support import Asked, Bench, Staying, answering, journaling, ok
from tools.policy.journal import Journal
from tools.pve.apidoc import ApiDoc
from tools.pve.client import Cancelled

WEB, FIND = "/nodes/pve1/qemu/100", "GET /cluster/resources type=vm"


def step(tool, **arguments):
    return {"tool": "proxmox_" + tool, "arguments": arguments}


CASES = [
    ("proxmox_run", {"steps": [step("stop_vm", vmid=100), step("get_next_vmid")], "wait": 60},
     [FIND, "GET %s/status/current" % WEB] * 2 + [
         "POST %s/status/stop" % WEB, "GET %s/status/current" % WEB, "GET /cluster/nextid"], journaling),
    ("proxmox_run", {"steps": '[{"tool": "get_next_vmid"}]', "plan": True, "on_failure": "continue"}, [], journaling),
    ("proxmox_get_run", {}, []),
    ("proxmox_get_run", {"id": "{id}", "stop": True}, [], lambda bench: {"id": begun(bench)}),
]


def begun(bench):
    """The id of a run that a bench has done."""
    journaling(bench)
    return ok(bench.run("proxmox_run", steps=[step("start_vm", vmid=107)])).data["run"]


def bench(answer=True, **options):
    made = Bench(consent=Asked(answer), **options)
    journaling(made, options.get("journal"))
    return made


def writes(made):
    return made.sent(reads=False)


SAFE = [step("clone_vm", vmid=9000, newid=500, name="z1"), step("update_vm_config", vmid=500, options={"memory": 4096}),
        step("start_vm", vmid="z1"), step("list_snapshots_vm", vmid=100)]
RISKY = [step("stop_vm", vmid=100), step("rollback_snapshot_vm", vmid=100, snapname="fresh-install"),
         step("start_vm", vmid=100)]


def states(answer):
    return [row["state"] for row in answer.data["items"]]


def test_steps_are_done_in_order_and_their_answers_told():
    made = bench()
    answer = ok(made.run("proxmox_run", steps=SAFE))
    assert [line.split(" ")[1] for line in writes(made)] == [
        "/nodes/pve1/qemu/9000/clone", "/nodes/pve1/qemu/500/config", "/nodes/pve1/qemu/500/status/start"]
    assert states(answer) == ["done"] * 4 and made.host.consent.questions == []
    assert "Step 4, proxmox_list_snapshots_vm vmid=100:" in answer.text and "before-upgrade" in answer.text
    assert answer.data["answers"][0]["step"] == 4 and len(answer.data["answers"][0]["items"]) == 2
    assert answer.text.endswith("undo: " + answer.data["run"])


def test_all_problems_are_told_at_once_and_nothing_is_sent():
    made = bench()
    answer = made.run("proxmox_run", steps=[
        step("start_vm", vmid=107), {"tool": "proxmox_nothing"}, step("start_vm", vmid=999), step("run", steps=[]),
        step("migrate_vm", vmid=100), step("get_vms", limit="many")])
    assert answer.failed and "5 of 6 steps cannot be done" in answer.text and writes(made) == []
    for words in ("Step 2 (proxmox_nothing): There is no such tool. Use the name of a tool that is listed.",
                  "Step 3 (proxmox_start_vm): There is no guest 999",
                  "Step 4 (proxmox_run): It cannot be a step. Call it by itself, outside of a run.",
                  "Step 5 (proxmox_migrate_vm): Target: missing",
                  "Step 6 (proxmox_get_vms): Limit"):
        assert words in answer.text
    assert "Step 1" not in answer.text


@pytest.mark.parametrize("steps, said", [
    ([{"name": "proxmox_get_vms", "extra": 1}], 'Step 1 must be {"tool": NAME, "arguments": {...}}; it has extra.'),
    ([{"arguments": {}}], "Step 1 must be"), (["x"], "neither an object"), ([], "at least 1 entry"),
    ([{"tool": "get_vms"}] * 101, "at most 101"[:0] + "at most 100 entries"), ("what", "neither a list")])
def test_steps_of_another_shape(steps, said):
    answer = bench().run("proxmox_run", steps=steps)
    assert answer.outcome == "usage" and said in answer.text


def test_one_question_names_all_that_may_be_lost():
    made = bench()
    ok(made.run("proxmox_run", steps=RISKY))
    [question] = made.host.consent.questions
    assert question.startswith("Do 3 steps, one after the other? 1) Cut the power of VM 100 (web01)")
    assert "; 2) Roll VM 100 (web01) on node pve1 back to snapshot fresh-install" in question
    assert question.endswith("; 3) proxmox_start_vm vmid=100")
    assert len(writes(made)) == 3


def test_after_a_no_nothing_is_sent():
    made = bench(answer=False)
    assert made.run("proxmox_run", steps=RISKY).outcome == "declined" and writes(made) == []


def test_a_plan_asks_nobody_and_its_requests_are_those_that_are_sent():
    made = bench()
    plan = ok(made.run("proxmox_run", steps=RISKY, plan=True))
    planned = ["%(method)s %(path)s" % request for row in plan.data["items"] for request in row["requests"]]
    assert writes(made) == [] and made.host.consent.questions == []
    assert "asks: Cut the power of VM 100" in plan.text
    ok(made.run("proxmox_run", steps=RISKY))
    assert [" ".join(line.split(" ")[:2]) for line in writes(made)] == planned


def test_a_plan_shows_old_values_beside_the_new_ones():
    plan = ok(bench().run("proxmox_run", steps=[step("update_lxc_config", vmid=200, options={"cores": 2})], plan=True))
    assert "PUT /nodes/pve1/lxc/200/config cores=2 (1 now)" in plan.text


def test_a_plan_shows_a_request_that_has_no_way_back():
    made = bench(allow_elevated=True)
    schema = [{"path": "/cluster/config", "text": "config", "leaf": 0,
               "info": {"POST": {"method": "POST", "parameters": {
        "properties": {"clustername": {"type": "string"}}}}}}]
    made.host.apidoc = lambda cancelled=None: ApiDoc.parse("const apiSchema = %s;" % json.dumps(schema))
    create = step("api_call", verb="POST", path="/cluster/config", parameters={"clustername": "lab"})
    plan = ok(made.run("proxmox_run", steps=[create], plan=True))
    assert "\n    POST /cluster/config clustername=lab\n" in plan.text


def test_a_dry_run_is_the_plan():
    made = bench(dry_run=True)
    assert "nothing was sent" in ok(made.run("proxmox_run", steps=RISKY)).text and writes(made) == []


def test_the_first_failure_stops_and_what_is_left_can_be_run_again_as_it_stands():
    made = bench()
    steps = [step("start_vm", vmid=107), step("create_pool", poolid="production"), step("stop_vm", vmid=101)]
    answer = made.run("proxmox_run", steps=steps)
    assert states(answer) == ["done", "failed", "not begun"] and answer.outcome == "failed"
    assert "already exists" in answer.text and "can be run again" in answer.text
    del made.cluster.world.pools["production"]
    again = ok(made.run("proxmox_run", steps=steps))
    assert states(again) == ["skipped", "done", "done"]
    assert [line.split(" ")[1] for line in writes(made)] == ["/pools", "/nodes/pve2/qemu/101/status/stop"]
    assert "done in run %s" % answer.data["run"] in again.text


def test_a_step_whose_effect_is_gone_is_done_again():
    made = bench()
    steps = [step("start_vm", vmid=107), step("create_pool", poolid="production")]
    made.run("proxmox_run", steps=steps)
    ok(made.run("proxmox_stop_vm", vmid=107))
    del made.cluster.world.pools["production"]
    assert states(made.run("proxmox_run", steps=steps)) == ["done", "done"]


def test_a_run_that_came_to_its_end_is_another_one_when_it_is_called_again():
    made = bench()
    steps = [step("update_vm_config", vmid=107, options={"memory": 1536})]
    ok(made.run("proxmox_run", steps=steps))
    assert states(made.run("proxmox_run", steps=steps)) == ["done"] and len(writes(made)) == 1


def test_a_guest_that_a_step_takes_out_of_its_pool_can_go_into_a_new_one():
    answer = bench().run("proxmox_run", steps=[step("update_pool", poolid="lab", vms="107", delete=True),
                                               step("create_pool", poolid="staging", vms="107")])
    assert states(ok(answer)) == ["done", "done"]


def test_on_failure_continue_goes_on():
    made = bench()
    answer = made.run("proxmox_run", on_failure="continue", steps=[
        step("create_pool", poolid="production"), step("start_vm", vmid=107)])
    assert states(answer) == ["failed", "done"] and answer.data["ended"] == "failed"


@pytest.mark.parametrize("settings, steps", [
    ({"protected_guests": ["100"]}, RISKY), ({"allowed_guests": ["107"]}, RISKY), ({"allowed_nodes": ["pve2"]}, RISKY),
    ({"allow_elevated": False}, RISKY), ({"tools": ("-proxmox_stop_vm",)}, RISKY),
    ({"allowed_commands": ["uptime"]}, [step("execute_vm_command", vmid=100, command="reboot")]),
    ({"protected_guests": ["100"]}, [step("api_call", verb="DELETE", path=WEB)]),
    ({"read_only": True, "tools": ("all",)}, RISKY)])
def test_a_run_may_no_more_than_a_single_call(settings, steps):
    made = bench(**settings)
    answer = made.run("proxmox_run", steps=[step("get_next_vmid")] + steps)
    assert answer.failed and writes(made) == []


def test_what_could_not_be_shown_before_is_not_done_unasked():
    """A disk that an earlier step detaches: which volume goes is not known before."""
    made = bench()
    steps = [step("remove_disk_vm", vmid=107, disk="scsi0"),
             step("update_vm_config", vmid=107, delete=["unused0"])]
    answer = made.run("proxmox_run", steps=steps)
    assert states(answer) == ["done", "failed"] and "nobody has agreed to it" in answer.text
    assert len(writes(made)) == 1


def test_what_this_run_made_it_may_delete():
    made = bench()
    answer = ok(made.run("proxmox_run", steps=[step("clone_vm", vmid=9000, newid=500), step("delete_vm", vmid=500)]))
    assert states(answer) == ["done", "done"] and 500 not in made.cluster.world.guests


def test_what_changed_between_question_and_step_stops_the_run():
    made = bench()
    handle, said = made.cluster.handle, []

    def meddling(verb, target, headers, body=b""):
        if verb == "POST" and target.endswith("/200/status/start") and not said:
            said.append(1)
            made.cluster.world.guests[107].conf["scsi7"] = "local-lvm:vm-107-disk-9,size=1G"
        return handle(verb, target, headers, body)
    made.cluster.handle = meddling
    made.cluster.world.guests[200].running = False
    answer = made.run("proxmox_run", steps=[step("start_lxc", vmid=200), step("delete_vm", vmid=107)])
    assert states(answer) == ["done", "failed"] and "has changed since the user was asked" in answer.text
    assert 107 in made.cluster.world.guests


def test_a_run_is_taken_back_as_a_whole():
    made = bench()
    answer = ok(made.run("proxmox_run", steps=[
        step("update_vm_config", vmid=107, options={"memory": 1536}), step("start_vm", vmid=107),
        step("update_vm_config", vmid=107, options={"description": "x"}), step("create_pool", poolid="fresh")]))
    back = ok(made.run("proxmox_undo", id=answer.data["run"]))
    assert [" ".join(line.split(" ")[:2]) for line in writes(made)] == [
        "DELETE /pools/fresh", "PUT /nodes/pve3/qemu/107/config", "POST /nodes/pve3/qemu/107/status/shutdown",
        "PUT /nodes/pve3/qemu/107/config"]
    assert back.data["total"] == 4 and not made.cluster.world.guests[107].running


def test_secrets_of_steps_are_nowhere(tmp_path):
    made = bench(audit_log=str(tmp_path / "audit"), state_dir=str(tmp_path))
    made.host.journal = Journal(str(tmp_path))
    steps = [step("update_vm_config", vmid=105, options={"cipassword": "hunter2hunter2"}),
             step("update_vm_config", vmid=105, options='{"cipassword": "hunter2-other", "ciuser": "me"}'),
             step("clone_vm", vmid=9000, newid=500, cipassword="hunter2hunter2", start=True)]
    made.host.consent.answer = False
    for given in (steps + RISKY, json.dumps(steps + RISKY)):
        assert made.run("proxmox_run", steps=given).outcome == "declined"
    made.host.consent.answer = True
    plan, done = made.run("proxmox_run", steps=steps, plan=True), made.run("proxmox_run", steps=steps)
    told = [plan.text, done.text, json.dumps([plan.data, done.data]), *made.host.consent.questions,
            made.run("proxmox_get_run", id=done.data["run"]).text]
    told += [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert not any("hunter2" in text for text in told) and states(done) == ["done"] * 3


def once(made, verb, end, do):
    """Do something when the first request of that verb and end of a path arrives."""
    handle, said = made.cluster.handle, []

    def meddling(asked, target, headers, body=b""):
        if asked == verb and target.endswith(end) and not said:
            said.append(1)
            return do(lambda: handle(asked, target, headers, body))
        return handle(asked, target, headers, body)
    made.cluster.handle = meddling


def test_a_step_that_is_twice_in_a_run_is_skipped_as_often_as_it_was_done():
    made = bench()
    steps = [step("reboot_vm", vmid=100), step("create_pool", poolid="production"), step("reboot_vm", vmid=100)]
    made.run("proxmox_run", steps=steps)
    del made.cluster.world.pools["production"]
    assert states(ok(made.run("proxmox_run", steps=steps))) == ["skipped", "done", "done"]


def test_after_a_run_that_came_to_its_end_nothing_of_those_before_is_skipped():
    made = bench()
    steps = [step("reboot_vm", vmid=100), step("create_pool", poolid="production")]
    made.run("proxmox_run", steps=steps)
    del made.cluster.world.pools["production"]
    ok(made.run("proxmox_run", steps=steps))
    assert states(made.run("proxmox_run", steps=steps)) == ["done", "failed"]


def test_another_run_that_has_a_step_in_common_does_it():
    made = bench()
    made.run("proxmox_run", steps=[step("reboot_vm", vmid=100), step("create_pool", poolid="production")])
    assert states(ok(made.run("proxmox_run", steps=[step("reboot_vm", vmid=100)]))) == ["done"]


def test_what_may_have_taken_effect_is_not_sent_again():
    def lost(go):
        go()
        raise requests.exceptions.ConnectionError("reset")
    made, steps = bench(), [step("execute_vm_command", vmid=100, command="uptime")]
    once(made, "POST", "/agent/exec", lost)
    assert "not known" in made.run("proxmox_run", steps=steps).text
    again = made.run("proxmox_run", steps=steps)
    assert again.failed and "may have done it" in again.text and writes(made) == []


def test_a_name_means_the_guest_that_the_plan_showed_whatever_an_earlier_step_renames():
    made = bench()
    ok(made.run("proxmox_run", steps=[
        step("update_vm_config", vmid=100, options={"name": "old"}),
        step("update_vm_config", vmid=107, options={"name": "web01"}),
        step("update_vm_config", vmid="web01", options={"memory": 1536})]))
    assert [line.split(" ")[1] for line in writes(made)] == [
        WEB + "/config", "/nodes/pve3/qemu/107/config", WEB + "/config"]


@pytest.mark.parametrize("confirm", ["auto", "always"])
@pytest.mark.parametrize("second", [
    step("update_vm_config", vmid=500, options={"scsi5": "local-lvm:vm-100-disk-0"}),
    step("execute_vm_command", vmid=500, command="uptime")], ids=["disk", "command"])
def test_what_this_run_made_is_no_way_to_other_guests(confirm, second):
    made = bench(confirm=confirm)
    answering(made, "/nodes/pve1/qemu/500/agent/get-osinfo", {"result": {"id": "debian"}})
    steps = [step("clone_vm", vmid=9000, newid=500), second]
    answer = made.run("proxmox_run", steps=steps)
    if second["tool"] == "proxmox_execute_vm_command" and confirm == "auto":        # asked about in no single call
        assert "nobody has agreed" not in answer.text
    else:
        assert states(answer) == ["done", "failed"] and "nobody has agreed to it" in answer.text
        assert len(writes(made)) == 1


def test_a_guest_that_somebody_else_made_under_that_number_is_not_this_runs():
    made = bench()

    def taken(go):
        made.cluster.world.guests[500] = copy.copy(made.cluster.world.guests[107])
        made.cluster.world.guests[500].vmid = 500
        return go()
    once(made, "POST", "/9000/clone", taken)
    answer = made.run("proxmox_run", on_failure="continue", steps=[
        step("clone_vm", vmid=9000, newid=500), step("delete_vm", vmid=500)])
    assert "nobody has agreed to it" in answer.text and [line[:4] for line in writes(made)] == ["POST"]


def test_a_request_that_makes_a_guest_which_is_there_gives_no_right_to_it():
    made = bench()
    made.run("proxmox_run", on_failure="continue", steps=[
        step("api_call", verb="POST", path="/nodes/pve3/qemu", parameters={"vmid": 107}), step("delete_vm", vmid=107)])
    assert [line[:4] for line in writes(made)] == ["POST"] and 107 in made.cluster.world.guests


# -------------------------------------------------------------------------------------- long runs, and the server's end

class Held:
    """A bench whose cluster holds a request back until `go`; the run goes on beside the call, as it does in a
    server."""

    def __init__(self, path="/status/start", **options):
        self.bench, self.reached, self.go = bench(**options), threading.Event(), threading.Event()
        self.bench.host.runs.begin = lambda target: threading.Thread(target=target, daemon=True).start()
        handle = self.bench.cluster.handle

        def holding(verb, target, headers, body=b""):
            if verb == "POST" and target.endswith(path):
                self.reached.set()
                assert self.go.wait(60)
            return handle(verb, target, headers, body)
        self.bench.cluster.handle = holding

    def run(self, tool, **arguments):
        return self.bench.run(tool, Staying(), **arguments)

    def begin(self, steps):
        """Call proxmox_run; the answer, while its step is held."""
        answer = self.run("proxmox_run", steps=steps, wait=0)
        assert self.reached.wait(60)
        return answer

    def end(self, answer):
        """Let the step go; the run, ended."""
        self.go.set()
        run = self.bench.host.runs.find(answer.data["run"])
        assert run.over.wait(60)
        return run


LONG = [step("start_vm", vmid=107), step("create_pool", poolid="fresh")]


def test_a_long_run_is_answered_and_goes_on():
    held = Held()
    answer = held.begin(LONG)
    assert answer.outcome == "running" and "proxmox_get_run id=%s" % answer.data["run"] in answer.text
    assert "still running" in held.run("proxmox_get_run", id=answer.data["run"]).text
    assert "running" in held.run("proxmox_get_run").text
    held.end(answer)
    assert states(held.run("proxmox_get_run", id=answer.data["run"])) == ["done", "done"]


def test_a_run_is_stopped_after_its_present_step():
    held = Held()
    answer = held.begin(LONG)
    held.run("proxmox_get_run", id=answer.data["run"], stop=True)
    assert held.end(answer).ended == "stopped"
    told = held.run("proxmox_get_run", id=answer.data["run"])
    assert states(told) == ["done", "not begun"] and "it was stopped" in told.text


def test_a_run_that_goes_on_is_not_begun_twice():
    held = Held()
    answer = held.begin(LONG)
    second = held.run("proxmox_run", steps=LONG)
    assert "Run %s of the same steps still goes on" % answer.data["run"] in second.text
    assert held.bench.sent(reads=False) == []
    held.end(answer)


def test_the_next_server_tells_and_resumes_what_the_last_one_left(tmp_path):
    held = Held()
    host = held.bench.host
    host.journal = Journal(str(tmp_path))
    answer = held.begin(LONG)
    closing = threading.Thread(target=host.runs.close)
    closing.start()
    run = held.end(answer)
    closing.join(60)
    assert run.ended == "interrupted"
    fresh = Bench(held.bench.cluster, consent=Asked())
    journaling(fresh, Journal(str(tmp_path)))
    told = fresh.run("proxmox_get_run", id=run.id)
    assert states(told)[1] == "not begun" and "was interrupted" in told.text
    early = fresh.run("proxmox_run", steps=LONG)
    assert "its task still runs" in early.text and fresh.sent(reads=False) == []
    fresh.clock.sleep(threading.Event(), 60)
    again = ok(fresh.run("proxmox_run", steps=LONG))
    assert states(again)[1] == "done" and "/status/start" not in " ".join(writes(fresh))


@pytest.mark.parametrize("upid, exitstatus, found, sends, expected", [
    (True, "OK", "stopped", 1, "skipped"), (True, "unable to start", "stopped", 1, "done"),
    (True, "OK", "stopped", 2, "done"), (True, "OK", "stopped", None, "done"),       # what is left of it
    (False, None, "stopped", 1, "or a part of it. It was: state: stopped -> running. Look"),
    (False, None, "running", 1, "done")])
def test_what_a_killed_server_was_sending_is_looked_at(tmp_path, upid, exitstatus, found, sends, expected):
    """It noted what it was about to send, and perhaps the task; what came of it the next server finds out. VM 107 runs,
    and `found` is what it was before."""
    made, kept = bench(), Journal(str(tmp_path))
    ok(made.run("proxmox_start_vm", vmid=107))
    status = made.cluster.requests
    task = "UPID:pve3:00000001:00000001:00000001:qmstart:107:root@pam!demo:"
    if upid:
        answering(made, "/nodes/pve3/tasks/%s/status" % task, {"status": "stopped", "exitstatus": exitstatus})
    from tools.mcp.runs import Step
    run = kept.add("r", at=1, pid=0, ended=None, steps=[{"tool": "proxmox_start_vm", "sends": sends,
                                                         "digest": Step("proxmox_start_vm", {"vmid": 107}).digest}])
    kept.amend(run, step0=["running", None, None])
    kept.add("u", at=1, tool="proxmox_start_vm", subject="VM 107", run=run, step=0, open=dict(
        {"verb": "POST", "path": "/nodes/pve3/qemu/107/status/start", "params": {}, "found": {"state": found}},
        **({"upid": task} if upid else {})))
    journaling(made, Journal(str(tmp_path)))
    assert "interrupted" in made.run("proxmox_get_run").text and status
    answer = made.run("proxmox_run", steps=[step("start_vm", vmid=107)])
    if answer.failed:
        assert expected in answer.text and writes(made) == []
    else:
        assert states(answer) == [expected]


def test_a_run_waits_for_the_rate_limit_and_does_not_fail_of_it():
    made = bench(rate_limit="6000/60")
    steps = [step("update_vm_config", vmid=107, options={"description": "n%d" % number}) for number in range(35)]
    assert states(ok(made.run("proxmox_run", steps=steps))) == ["done"] * 35
    assert made.clock() > 1004


def test_no_more_than_five_runs_go_on_at_a_time():
    made = bench()
    made.host.runs.begin = lambda target: None          # none comes to its end
    for number in range(5):
        ok(made.run("proxmox_run", Staying(), steps=[step("create_pool", poolid="p%d" % number)], wait=0))
    assert "runs go on already" in made.run("proxmox_run", steps=[step("create_pool", poolid="x")]).text


def test_there_is_no_such_run():
    assert "There is no run r-none" in bench().run("proxmox_get_run", id="r-none").text


def test_a_step_with_a_secret_is_not_found_again_for_not_even_its_digest_is_kept():
    made = bench()
    secret = step("update_vm_config", vmid=105, options={"cipassword": "hunter2hunter2"})
    made.run("proxmox_run", steps=[secret, step("create_pool", poolid="production")])
    assert made.host.journal.all("r")[0]["steps"][0]["digest"] is None
    assert states(made.run("proxmox_run", steps=[secret])) == ["done"]


def test_what_somebody_else_made_under_the_number_of_a_step_that_failed_is_not_this_runs():
    made = bench()
    handle = made.cluster.handle

    def faster(verb, target, headers, body=b""):
        if verb == "POST" and target.endswith("/9000/clone"):
            made.cluster.world.guests[500] = made.cluster.world.guests.pop(107)
            made.cluster.world.guests[500].vmid = 500
        return handle(verb, target, headers, body)
    made.cluster.handle = faster
    answer = made.run("proxmox_run", on_failure="continue", steps=[
        step("clone_vm", vmid=9000, newid=500), step("delete_vm", vmid=500)])
    assert answer.failed and 500 in made.cluster.world.guests and "nobody has agreed" in answer.text


def test_who_follows_a_run_and_goes_does_not_stop_it():
    held = Held()
    answer = held.begin(LONG)

    leaving = Staying()
    leaving.cancelled.set()
    with pytest.raises(Cancelled):
        held.bench.run("proxmox_get_run", leaving, id=answer.data["run"], wait=5)
    assert held.end(answer).ended == "done"


def test_a_run_that_waits_for_the_rate_limit_is_stopped_there_and_then():
    made = bench(rate_limit="6000/60")
    rested = []

    def resting(event, seconds):
        rested.append(len(writes(made)))
        for run in made.host.runs._live.values():
            run.stop()
        made.clock.sleep(event, seconds)
    made.host.sleep = resting
    steps = [step("update_vm_config", vmid=107, options={"description": "n%d" % number}) for number in range(35)]
    answer = made.run("proxmox_run", steps=steps)
    assert answer.data["ended"] == "stopped" and states(answer).count("done") == len(writes(made)) == rested[-1]


def test_runs_that_ended_are_let_go():
    made = bench()
    for number in range(15):
        ok(made.run("proxmox_run", steps=[step("get_next_vmid")]))
    assert len(made.host.runs._live) == 11 and ok(made.run("proxmox_get_run")).data["total"] == 15


NEW = step("clone_vm", vmid=9000, newid=500, hostname="z1", ciuser="ops", start=True)
SENT = ["POST /nodes/pve1/qemu/9000/clone", "PUT /nodes/pve1/qemu/500/config", "POST /nodes/pve1/qemu/500/status/start"]


def interrupted(made, ended):
    """The records of a server that was killed amid the one step of a run: after `ended` requests, of which the last was
    noted to be under way."""
    done = ok(made.run("proxmox_run", steps=[NEW]))
    run, change = made.host.journal.find(done.data["run"]), made.host.journal.all("u")[0]
    ok(made.run("proxmox_stop_vm", vmid=500))
    fresh = Bench(made.cluster, consent=Asked())
    journaling(fresh)
    ident = fresh.host.journal.add("r", at=1, pid=0, ended=None, steps=run["steps"], step0=["running", None, None])
    sent = [dict(one) for one in change["changes"][:ended]]
    last = {**{key: value for key, value in sent.pop().items() if key not in ("old", "new")}, "found": {}}
    fresh.host.journal.add("u", at=1, tool="proxmox_clone_vm", subject="VM 9000", run=ident, step=0, changes=sent,
                           open=last)
    return fresh


@pytest.mark.parametrize("ended", [1, 2])
def test_what_is_left_of_a_step_that_was_interrupted_is_done_and_the_rest_not_again(ended):
    made = bench()
    fresh = interrupted(made, ended)
    assert "Its server ended" in fresh.run("proxmox_get_run", id=fresh.host.journal.all("r")[0]["id"]).text
    planned = fresh.run("proxmox_run", steps=[NEW], plan=True).data["items"][0]["requests"]
    assert ["%(method)s %(path)s" % one for one in planned] == SENT[ended:]
    assert states(ok(fresh.run("proxmox_run", steps=[NEW]))) == ["done"]
    assert [line.partition(" ciuser")[0] for line in writes(fresh)] == SENT[ended:]
    noted = fresh.host.journal.all("u")[0]["changes"]           # so that undoing it takes back all of the step
    assert [(one["verb"], one["path"]) for one in noted][0] == tuple(SENT[0].split(" ")) and noted[0]["new"]


def test_a_step_is_still_so_where_only_the_run_itself_went_on_from_it():
    """A guest that was set up and started after it was cloned, an option that a later step set anew."""
    made = bench()
    steps = [NEW, step("update_vm_config", vmid=107, options={"description": "a"}),
             step("update_vm_config", vmid=107, options={"description": "b"}), step("stop_vm", vmid=500),
             step("create_pool", poolid="production")]
    assert states(made.run("proxmox_run", steps=steps)) == ["done"] * 4 + ["failed"]
    assert states(made.run("proxmox_run", steps=steps)) == ["skipped"] * 4 + ["failed"]
    assert writes(made) == ["POST /pools poolid=production"]


def test_what_is_asked_of_several_steps_alike_is_said_once():
    """Else forty snapshots would be too many for one question."""
    made = bench()
    ok(made.run("proxmox_run", steps=[step("delete_snapshot_vm", vmid=100, snapname="before-upgrade"), RISKY[0],
                                      step("delete_snapshot_vm", vmid=102, snapname="clean")]))
    question = made.host.consent.questions[0]
    assert question.count("The guest stays as it is") == 1 and question.endswith(
        "; 3) Delete snapshot clean of VM 102 (win11) on node pve2 (taken 2025-12-02 00:16:40 UTC, "
        "\"activated, updated\")"
        ". Of 1, 3: The guest stays as it is, but cannot go back to it any more")
    assert "2) Cut the power of VM 100 (web01) on node pve1? What it has not saved is lost.;" in question


def test_a_guest_that_was_made_and_not_set_up_is_a_step_that_failed():
    made = bench()
    answering(made, "/nodes/pve1/qemu/500/config", (500, "no space"), "PUT")
    answer = made.run("proxmox_run", steps=[step("clone_vm", vmid=9000, newid=500, memory=4096),
                                            step("create_pool", poolid="fresh")])
    assert states(answer) == ["failed", "not begun"] and "undo: " in answer.text


def test_a_step_says_what_of_it_waits_for_a_restart():
    answer = ok(Bench().run("proxmox_run", steps=[
        {"tool": "proxmox_resize_vm", "arguments": {"vmid": 104, "memory": "8G"}}]))
    assert "memory 6 GiB -> 8 GiB. Not in effect yet: memory waits for a restart of the guest" in answer.text
