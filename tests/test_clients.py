"""What real clients do to a server: arguments of their own, little patience, an end in the middle of a call."""
import json
import threading
import time

import pytest

import tools
from engine import PATIENCE, Talk
from support import Bench
from tools.base.schema import fields
from tools.mcp import app
from tools.mcp.consent import Consent
from tools.mcp.engine import Server
from tools.pve.waiting import wait

#: A call as it arrives from a client (with the report of it) -> the arguments that are the model's.
ADDED = [
    ({"task_progress": "- [ ] look at the nodes"}, "cline/cline#9919"),
    ({"toolCallId": "call_1", "sessionId": "a", "action": "sendMessage", "chatInput": "hi"}, "n8n-io/n8n#21500"),
    ({"wait_for_previous": True}, "Gemini CLI"),
    ({"waitForPreviousTools": False, "toolAction": "Listing", "toolSummary": "nodes"}, "Antigravity"),
    ({"security_risk": "LOW"}, "OpenHands"), ({"random_string": "x"}, "Cursor"),
    ({"_meta": {"a": 1}, "requestId": 7}, "langchain-ai/langchain-mcp-adapters#412")]


class Desk:
    """A server on a demo cluster and a client in front of it: bench, talk, log [(level, event, fields)], and heard
    [(seconds on the cluster's clock, message)] of all that the client was sent.
    """

    def __init__(self, confirm="auto", version="2025-11-25", capabilities=None, clock=None, **more):
        self.bench, self.log, self.heard = Bench(confirm=confirm, consent=Consent(confirm), **more), [], []
        host = self.bench.host
        host.log = lambda level, event, **fields: self.log.append((level, event, fields))
        self.talk = Talk(app.App(host.settings, host.log, host), version, capabilities, clock=clock or self.bench.clock,
                         server=self._server)

    def _server(self, write, *arguments, **more):
        def listen(line):
            self.heard.append((self.bench.clock(), json.loads(line)))
            write(line)
        return Server(listen, *arguments, **more)

    def call(self, tool, **arguments):
        """The result of a call."""
        return self.talk.call("tools/call", {"name": tool, "arguments": arguments})["result"]


def said(result):
    return result["content"][0]["text"]


# ----------------------------------------------------------------------------------------------- arguments of their own

@pytest.mark.parametrize("added", [added for added, _ in ADDED], ids=[who for _, who in ADDED])
def test_what_a_client_adds_to_calls_is_dropped_and_logged(added):
    desk = Desk()
    assert said(desk.call("proxmox_get_vms", status="running", **added)).startswith("\u2705 10 guests")
    assert desk.log[0] == ("info", "arguments that the client added were dropped",
                           {"tool": "proxmox_get_vms", "names": list(added)})


@pytest.mark.parametrize("arguments", [{"action": "delete"}, {"task": "x"}, {"toolcallid": "x"}, {"progressToken": 1}])
def test_any_other_argument_is_refused_by_name(arguments):
    desk = Desk()
    result = desk.call("proxmox_get_vms", task_progress="x", **arguments)
    assert result["isError"] and "%s: unknown argument" % list(arguments)[0] in said(result)
    assert desk.bench.cluster.requests == []


def test_what_a_client_adds_is_no_argument_of_a_tool():
    known = [field for _, _, tool in tools.all_rows() for field in fields(tool.args)]
    assert {name for field in known for name in (field.name, *field.aliases)} & set(app.ADDED) == {"action"}
    assert app.ADDED["action"] == "sendMessage"         # of n8n's alone


def test_a_confirmed_call_may_come_with_another_addition():
    """Cline's list and n8n's id are others in the second call, which must be the same for a token to fit."""
    desk = Desk("token")
    first = said(desk.call("proxmox_delete_vm", vmid=107, task_progress="- [ ] delete 107", toolCallId="call_1"))
    token = first.split()[-1]
    assert not desk.bench.sent(reads=False)
    second = desk.call("proxmox_delete_vm", vmid=107, confirm_token=token, task_progress="- [x]", toolCallId="call_2")
    assert not second["isError"] and desk.bench.sent(reads=False) == ["DELETE /nodes/pve3/qemu/107"]


# ------------------------------------------------------------------------------------------------------------- patience

def lasts(seconds, kind, bench):
    """Let what the next call starts go on for so many seconds: kind is a path's end -> what it says meanwhile."""
    handle, start = bench.cluster.handle, bench.clock()

    def slow(verb, target, headers, body=b""):
        path = target.split("?")[0]
        for ending, data in kind.items():
            if verb == "GET" and path.endswith(ending) and bench.clock() - start < seconds and bench.sent(reads=False):
                return 200, "OK", {"Content-Type": "application/json"}, json.dumps({"data": data}).encode()
        return handle(verb, target, headers, body)
    bench.cluster.handle = slow


TASK, EXEC = {"/status": {"status": "running"}}, {"/exec-status": {"exited": 0}}
GUEST = {"/status/current": {"status": "running", "vmid": 104, "name": "db", "ha": {"managed": 1, "state": "started"}}}
#: What a call waits for, its tool, its arguments, and what is said when it goes on.
WAITS = {
    "a backup": (TASK, "create_backup_vm", {"vmid": 104, "storage": "nas", "wait": 170}, "proxmox_get_task upid=UPID:"),
    "a shutdown": (TASK, "shutdown_vm", {"vmid": 100, "timeout": 600, "wait": 170}, "proxmox_get_task upid=UPID:"),
    "a command": (EXEC, "execute_vm_command", {"vmid": 100, "command": "sleep 120", "timeout": 170}, "pid=1001"),
    "HA": (GUEST, "stop_vm", {"vmid": 104, "wait": 170}, "Not confirmed yet"),
    "a raw request": (TASK, "api_call", {"verb": "POST", "path": "/nodes/pve1/vzdump", "wait": 170, "parameters": {
        "vmid": 100, "storage": "nas"}}, "proxmox_get_task upid=UPID:")}


@pytest.mark.parametrize("what", WAITS)
def test_a_client_that_gives_up_after_a_minute_gets_an_answer_before(what):
    meanwhile, tool, arguments, words = WAITS[what]
    desk = Desk("off", allowed_commands=("unsafe",))
    lasts(180, meanwhile, desk.bench)
    start = desk.bench.clock()
    result = desk.call("proxmox_" + tool, **arguments)
    assert 44 <= desk.bench.clock() - start < 56 and not result["isError"]
    assert said(result).startswith("\u23f3") and words in said(result)


@pytest.mark.parametrize("what", WAITS)
def test_a_client_that_shows_progress_hears_of_every_wait(what):
    meanwhile, tool, arguments, words = WAITS[what]
    desk = Desk("off", allowed_commands=("unsafe",))
    lasts(160, meanwhile, desk.bench)
    start = desk.bench.clock()
    number = desk.talk.request("tools/call", {"name": "proxmox_" + tool, "arguments": arguments,
                                              "_meta": {"progressToken": "p"}})
    while desk.talk.read().get("id") != number:
        pass
    when = [seconds - start for seconds, message in desk.heard if seconds > start or "method" in message]
    told = [message["params"] for _, message in desk.heard if message.get("method") == "notifications/progress"]
    assert when[-1] >= 160 and max(later - sooner for sooner, later in zip([0] + when, when)) <= 15
    assert len(told) > 9 and all(one["progressToken"] == "p" and one["message"] for one in told)
    assert not desk.heard[-1][1]["result"]["isError"] and not said(desk.heard[-1][1]["result"]).startswith("\u23f3")


def test_what_was_waited_for_is_told_by_the_clock_and_not_by_what_was_asked():
    desk = Desk()
    lasts(1000, TASK, desk.bench)
    upid = said(desk.call("proxmox_create_backup_vm", vmid=104, storage="nas", wait=0)).split("upid=")[1].split(" ")[0]
    answer = said(desk.call("proxmox_get_task", upid=upid, wait=600))
    assert "is still running after 45 s of waiting" in answer


def test_the_command_line_waits_as_long_as_it_is_told():
    bench = Bench()
    lasts(100, TASK, bench)
    answer = bench.run("proxmox_create_backup_vm", vmid=104, storage="nas", wait=170)
    assert answer.text.startswith("\u2705") and bench.clock() > 1100


def test_what_is_read_late_is_given_less_time_and_at_last_none():
    desk, limits = Desk(), []
    request = desk.bench.host.client.request

    def watch(verb, path, *arguments, **more):
        limits.append(more.get("timeout"))
        desk.bench.clock.seconds += 9
        return request(verb, path, *arguments, **more)
    desk.bench.host.client.request = watch
    answer = said(desk.call("proxmox_get_overview"))
    assert limits == [None, None, 37, 28, 19, 10, 2][:len(limits)] and len(limits) == 7
    assert "There was no time left for it; call again, for fewer nodes or guests at a time." in answer


# -------------------------------------------------------------------------------------------------------------- the end

#: What a call waits for when the input ends -> how the answer begins.
ENDS = {"a backup": "Still running in Proxmox, not done yet. ", "HA": "Not confirmed yet: ",
        "a command": "Not known whether the command has ended in VM 100 after "}


def ended(desk, tool, arguments, goes_on=60):
    """The result of a call at the end of the input, which came while it waited a second time; goes_on: seconds on the
    cluster before that.
    """
    waits, times = threading.Event(), []

    def sleep(woken, seconds):
        times.append(seconds)
        if len(times) == 1:
            desk.bench.clock.seconds += goes_on
            return
        waits.set()
        wait(woken, PATIENCE)
    desk.bench.host.sleep = sleep
    desk.talk.request("tools/call", {"name": "proxmox_" + tool, "arguments": arguments,
                                     "_meta": {"progressToken": 1}}, id="x")
    assert waits.wait(PATIENCE)
    desk.talk.server.finish(grace=0.1)
    answer = desk.talk.read()
    while "method" in answer:
        answer = desk.talk.read()
    return answer["result"]


@pytest.mark.parametrize("what", ENDS)
def test_at_the_end_of_the_input_each_waiting_call_says_what_goes_on(what):
    meanwhile, tool, arguments, words = WAITS[what]
    desk = Desk("off", clock=time.monotonic)
    lasts(1000, meanwhile, desk.bench)
    result = ended(desk, tool, arguments)
    assert not result["isError"] and said(result).startswith("\u23f3 " + ENDS[what]) and words in said(result)


def test_at_the_end_of_the_input_a_question_in_a_terminal_is_withdrawn(tmp_path):
    desk = Desk("terminal", clock=time.monotonic, state_dir=str(tmp_path))
    result = ended(desk, "delete_vm", {"vmid": 107}, 0)
    assert result["isError"] and "The question is void" in said(result)
    assert list((tmp_path / "approvals").iterdir()) == [] and desk.bench.sent(reads=False) == []
