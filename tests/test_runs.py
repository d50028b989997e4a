"""Runs: planned as a whole, asked about once, done in order, followed, stopped, and taken up again."""
import json
import threading

import pytest

from support import Asked, Bench, answering, journaling, ok
from tools.mcp.run import Nobody
from tools.policy.journal import Journal
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
    for words in ("Step 2 (proxmox_nothing): There is no such tool.", "Step 3 (proxmox_start_vm): There is no guest 999",
                  "Step 4 (proxmox_run): It cannot be a step.", "Step 5 (proxmox_migrate_vm): target: missing",
                  "Step 6 (proxmox_get_vms): limit"):
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


def test_on_failure_continue_goes_on():
    made = bench()
    answer = made.run("proxmox_run", on_failure="continue", steps=[
        step("create_pool", poolid="production"), step("start_vm", vmid=107)])
    assert states(answer) == ["failed", "done"] and answer.data["ended"] == "failed"


@pytest.mark.parametrize("settings, steps", [
    ({"protected_guests": ["100"]}, RISKY), ({"allowed_guests": ["107"]}, RISKY), ({"allowed_nodes": ["pve2"]}, RISKY),
    ({"allow_elevated": False}, RISKY), ({"disabled_tools": ["proxmox_stop_vm"]}, RISKY),
    ({"allowed_commands": ["uptime"]}, [step("execute_vm_command", vmid=100, command="reboot")]),
    ({"protected_guests": ["100"]}, [step("api_call", verb="DELETE", path=WEB)]),
    ({"read_only": True, "toolsets": ("all",)}, RISKY)])
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
             step("clone_vm", vmid=9000, newid=500, cipassword="hunter2hunter2", start=True)]
    plan, done = made.run("proxmox_run", steps=steps, plan=True), made.run("proxmox_run", steps=steps)
    told = [plan.text, done.text, json.dumps([plan.data, done.data]), *made.host.consent.questions,
            made.run("proxmox_get_run", id=done.data["run"]).text]
    told += [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    assert not any("hunter2" in text for text in told) and states(done) == ["done", "done"]


# --------------------------------------------------------------------------------------- long runs, and the server's end

class Held:
    """A bench whose cluster holds a request back until `go`; the run goes on beside the call, as it does in a server."""

    def __init__(self, path="/status/start", **options):
        self.bench, self.reached, self.go = bench(**options), threading.Event(), threading.Event()
        self.bench.host.runs.begin = lambda target: threading.Thread(target=target, daemon=True).start()
        handle = self.bench.cluster.handle

        def holding(verb, target, headers, body=b""):
            if verb == "POST" and target.endswith(path):
                self.reached.set()
                assert self.go.wait(10)
            return handle(verb, target, headers, body)
        self.bench.cluster.handle = holding

    def begin(self, steps):
        """Call proxmox_run; the answer, while its step is held."""
        answer = self.bench.run("proxmox_run", steps=steps, wait=0)
        assert self.reached.wait(10)
        return answer

    def end(self, answer):
        """Let the step go; the run, ended."""
        self.go.set()
        run = self.bench.host.runs.find(answer.data["run"])
        assert run.over.wait(10)
        return run


LONG = [step("start_vm", vmid=107), step("create_pool", poolid="fresh")]


def test_a_long_run_is_answered_and_goes_on():
    held = Held()
    answer = held.begin(LONG)
    assert answer.outcome == "running" and "proxmox_get_run id=%s" % answer.data["run"] in answer.text
    assert "still running" in held.bench.run("proxmox_get_run", id=answer.data["run"]).text
    assert "running" in held.bench.run("proxmox_get_run").text
    held.end(answer)
    assert states(held.bench.run("proxmox_get_run", id=answer.data["run"])) == ["done", "done"]


def test_a_run_is_stopped_after_its_present_step():
    held = Held()
    answer = held.begin(LONG)
    held.bench.run("proxmox_get_run", id=answer.data["run"], stop=True)
    assert held.end(answer).ended == "stopped"
    told = held.bench.run("proxmox_get_run", id=answer.data["run"])
    assert states(told) == ["done", "not begun"] and "it was stopped" in told.text


def test_a_run_that_goes_on_is_not_begun_twice():
    held = Held()
    answer = held.begin(LONG)
    second = held.bench.run("proxmox_run", steps=LONG, plan=True)
    assert not second.failed and "skipped" not in second.text
    held.end(answer)


def test_the_next_server_tells_and_resumes_what_the_last_one_left(tmp_path):
    held = Held()
    host = held.bench.host
    host.journal = Journal(str(tmp_path))
    answer = held.begin(LONG)
    closing = threading.Thread(target=host.runs.close)
    closing.start()
    run = held.end(answer)
    closing.join(10)
    assert run.ended == "interrupted"
    fresh = Bench(held.bench.cluster, consent=Asked())
    journaling(fresh, Journal(str(tmp_path)))
    told = fresh.run("proxmox_get_run", id=run.id)
    assert states(told)[1] == "not begun" and "was interrupted" in told.text
    assert "its task still runs" in fresh.run("proxmox_run", steps=LONG).text and writes(fresh) == []
    fresh.clock.sleep(threading.Event(), 60)
    again = ok(fresh.run("proxmox_run", steps=LONG))
    assert states(again)[1] == "done" and "/status/start" not in " ".join(writes(fresh))


@pytest.mark.parametrize("upid, exitstatus, found, expected", [
    (True, "OK", "stopped", "skipped"), (True, "unable to start", "stopped", "done"), (False, None, "stopped", "failed"),
    (False, None, "running", "done")])
def test_what_a_killed_server_was_sending_is_looked_at(tmp_path, upid, exitstatus, found, expected):
    """It noted what it was about to send, and perhaps the task; what came of it the next server finds out. VM 107 runs,
    and `found` is what it was before."""
    made, kept = bench(), Journal(str(tmp_path))
    ok(made.run("proxmox_start_vm", vmid=107))
    status = made.cluster.requests
    task = "UPID:pve3:00000001:00000001:00000001:qmstart:107:root@pam!demo:"
    if upid:
        answering(made, "/nodes/pve3/tasks/%s/status" % task, {"status": "stopped", "exitstatus": exitstatus})
    from tools.mcp.runs import Step
    run = kept.add("r", at=1, pid=0, ended=None, steps=[{"tool": "proxmox_start_vm", "arguments": {"vmid": 107},
                                                         "digest": Step("proxmox_start_vm", {"vmid": 107}).digest}])
    kept.amend(run, step0=["running", None, None])
    kept.add("u", at=1, tool="proxmox_start_vm", subject="VM 107", run=run, step=0, open=dict(
        {"verb": "POST", "path": "/nodes/pve3/qemu/107/status/start", "params": {}, "found": {"state": found}},
        **({"upid": task} if upid else {})))
    journaling(made, Journal(str(tmp_path)))
    assert "interrupted" in made.run("proxmox_get_run").text and status
    answer = made.run("proxmox_run", steps=[step("start_vm", vmid=107)])
    if expected == "failed":
        assert "may have done it before its server ended: state: stopped -> running" in answer.text
    else:
        assert states(answer) == [expected]


def test_a_run_waits_for_the_rate_limit_and_does_not_fail_of_it():
    made = bench(rate_limit="6000/60")
    steps = [step("update_vm_config", vmid=107, options={"description": "n%d" % number}) for number in range(35)]
    assert states(ok(made.run("proxmox_run", steps=steps))) == ["done"] * 35
    assert made.clock() > 1004


def test_no_more_than_five_runs_go_on_at_a_time():
    held = Held()
    answers = [held.begin(LONG)]
    held.bench.host.runs.begin = lambda target: None
    for number in range(4):
        ok(held.bench.run("proxmox_run", steps=[step("create_pool", poolid="p%d" % number)], wait=0))
    assert "runs go on already" in held.bench.run("proxmox_run", steps=[step("create_pool", poolid="x")]).text
    held.end(answers[0])


def test_there_is_no_such_run():
    assert "There is no run r-none" in bench().run("proxmox_get_run", id="r-none").text


def test_a_step_done_once_stands_for_one_step_only():
    made = bench()
    twice = step("execute_vm_command", vmid=100, command="uptime")
    made.run("proxmox_run", steps=[twice, step("create_pool", poolid="production"), twice])
    again = made.run("proxmox_run", steps=[twice, twice])
    assert states(again) == ["skipped", "done"]


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

    class Leaving(Nobody):
        ends = False
    leaving = Leaving()
    leaving.cancelled.set()
    with pytest.raises(Cancelled):
        held.bench.run("proxmox_get_run", leaving, id=answer.data["run"], wait=5)
    assert held.end(answer).ended == "done"
