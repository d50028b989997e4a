"""What real clients do to a server: arguments of their own, little patience, an end in the middle of a call."""
import pytest

import tools
from engine import Talk
from support import Bench
from tools.base.schema import fields
from tools.mcp import app
from tools.mcp.consent import Consent

#: A call as it arrives from a client (with the report of it) -> the arguments that are the model's.
ADDED = [
    ({"task_progress": "- [ ] look at the nodes"}, "cline/cline#9919"),
    ({"toolCallId": "call_1", "sessionId": "a", "action": "sendMessage", "chatInput": "hi"}, "n8n-io/n8n#21500"),
    ({"wait_for_previous": True}, "Gemini CLI"),
    ({"waitForPreviousTools": False, "toolAction": "Listing", "toolSummary": "nodes"}, "Antigravity"),
    ({"security_risk": "LOW"}, "OpenHands"), ({"random_string": "x"}, "Cursor"),
    ({"_meta": {"a": 1}, "requestId": 7}, "langchain-ai/langchain-mcp-adapters#412")]


class Desk:
    """A server on a demo cluster and a client in front of it: bench, talk, log [(level, event, fields)]."""

    def __init__(self, confirm="auto", version="2025-11-25", capabilities=None, **more):
        self.bench, self.log = Bench(confirm=confirm, consent=Consent(confirm), **more), []
        host = self.bench.host
        host.log = lambda level, event, **fields: self.log.append((level, event, fields))
        self.talk = Talk(app.App(host.settings, host.log, host), version, capabilities, clock=self.bench.clock)

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
