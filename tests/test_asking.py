"""Asking the user of the client during a call, in both eras; with the fixtures of the conformance suite."""
import threading
import time

import fixtures_app
import pytest

from engine import PATIENCE, Clock, TableApp, Talk, error, said, tool
from tools.mcp import engine
from tools.mcp.message import MODERN


def asks_name(request, arguments):
    return said(str(request.ask({"a": fixtures_app.NAME})))


def fixtures(version, capabilities):
    return Talk(fixtures_app.app(), version, capabilities, fixtures_app.FIXTURES_INFO, fixtures_app.FixturesServer)


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_legacy_client_is_asked_while_the_call_waits(version):
    talk = fixtures(version, {"elicitation": {}})
    call = talk.request("tools/call", {"name": "test_elicitation", "arguments": {"message": "Who?"}})
    asked = talk.read()
    assert asked["method"] == "elicitation/create" and asked["params"]["message"] == "Who?"
    assert isinstance(asked["id"], str)
    talk.call("ping")
    assert "result" in talk.call("tools/call", {"name": "test_simple_text"})
    talk.send({"jsonrpc": "2.0", "id": "srv-99", "result": {"action": "accept"}})        # an answer to nothing
    talk.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}})
    answer = talk.read()
    assert answer["id"] == call and "action=decline" in answer["result"]["content"][0]["text"]
    talk.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}})     # twice
    assert talk.quiet()


@pytest.mark.parametrize("answer", [{"result": "yes"}, {"result": [1]}, {"result": None}, {"error": {"code": 1}}])
def test_an_answer_that_is_no_object_is_none(answer):
    talk = Talk(TableApp({"ask": (tool("ask"), asks_name)}), capabilities={"elicitation": {}})
    talk.request("tools/call", {"name": "ask"})
    talk.send(dict({"jsonrpc": "2.0", "id": talk.read()["id"]}, **answer))
    assert talk.read()["result"]["content"][0]["text"] == "{'a': None}"


def test_questions_are_told_apart():
    talk = fixtures("2025-11-25", {"elicitation": {}})
    calls = [talk.request("tools/call", {"name": "test_elicitation",
                                         "arguments": {"message": str(i)}}) for i in range(5)]
    asked = {message["params"]["message"]: message["id"] for message in (talk.read() for _ in calls)}
    assert len(set(asked.values())) == 5
    for i in (3, 0, 4, 1, 2):
        talk.send({"jsonrpc": "2.0", "id": asked[str(i)],
                   "result": {"action": "accept", "content": {"username": "u%d" % i}}})
        answer = talk.read()
        assert answer["id"] == calls[i] and "u%d" % i in answer["result"]["content"][0]["text"]


def test_cancelling_a_call_withdraws_its_question():
    talk = fixtures("2025-11-25", {"elicitation": {}})
    call = talk.request("tools/call", {"name": "test_elicitation", "arguments": {"message": "Who?"}})
    asked = talk.read()
    start = time.monotonic()
    talk.cancel(call)
    withdrawn = talk.read()
    assert (withdrawn["method"], withdrawn["params"]["requestId"]) == ("notifications/cancelled", asked["id"])
    assert talk.quiet() and time.monotonic() - start < 5


@pytest.mark.parametrize("limit, meta", [("ANSWER_WITHIN", {"_meta": {"progressToken": 1}}), ("PATIENCE", {})])
def test_a_question_that_nobody_answers_ends(limit, meta, monkeypatch):
    monkeypatch.setattr(engine, limit, 0)
    seen = []
    talk = Talk(TableApp({"ask": (tool("ask"), lambda request, arguments: seen.append(request.ask(
        {"a": fixtures_app.NAME})) or said("done"))}), capabilities={"elicitation": {}})
    talk.request("tools/call", dict(meta, name="ask"), id="x")
    assert [talk.read().get("method") for _ in range(2)] == ["elicitation/create", "notifications/cancelled"]
    assert talk.read()["id"] == "x" and seen == [{"a": {"action": "none"}}]


def uninitialized():
    """A client that was answered its initialize, did not say so yet, and calls a tool that asks its user."""
    talk = Talk(TableApp({"ask": (tool("ask"), asks_name)}), version=None)
    talk.call("initialize", {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}})
    talk.request("tools/call", {"name": "ask"}, id="x")
    return talk


def test_nothing_is_asked_before_the_client_is_initialized():
    talk = uninitialized()
    time.sleep(0.05)
    talk.call("ping")                                           # and no question came before it
    talk.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    asked = talk.read()
    assert asked["method"] == "elicitation/create"
    talk.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}})
    assert talk.read()["id"] == "x"


def test_a_client_that_never_says_initialized_is_asked_all_the_same(monkeypatch):
    monkeypatch.setattr(engine, "INITIALIZED_WITHIN", 0.05)
    assert uninitialized().read()["method"] == "elicitation/create"


def test_a_question_that_was_never_sent_is_not_withdrawn():
    talk = uninitialized()
    talk.cancel("x")
    assert talk.quiet()
    late = (tool("ask"), lambda request, arguments: request.cancelled.wait(PATIENCE) and asks_name(request, arguments))
    talk = Talk(TableApp({"ask": late}), capabilities={"elicitation": {}})
    talk.cancel(talk.request("tools/call", {"name": "ask"}))
    assert talk.quiet()
    talk = uninitialized()
    talk.server.finish(PATIENCE)
    assert "None" in talk.read()["result"]["content"][0]["text"] and talk.quiet()


def test_a_call_that_waits_to_ask_ends_at_once_when_it_is_cancelled():
    ended = threading.Event()

    def asks(request, arguments):
        try:
            return asks_name(request, arguments)
        finally:
            ended.set()
    talk = Talk(TableApp({"ask": (tool("ask"), asks)}), version=None, clock=Clock())
    talk.call("initialize", {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}})
    talk.cancel(talk.request("tools/call", {"name": "ask"}))
    assert ended.wait(PATIENCE)


def test_the_client_hears_that_its_user_is_still_being_asked(monkeypatch):
    monkeypatch.setattr(engine, "STILL_ASKING", 0.01)
    monkeypatch.setattr("tools.pve.waiting.TELL_EVERY", 0)
    clock = Clock()
    talk = Talk(TableApp({"ask": (tool("ask"), asks_name)}),
                capabilities={"elicitation": {}}, clock=clock)
    talk.request("tools/call", {"name": "ask", "_meta": {"progressToken": "t"}}, id="x")
    asked = talk.read()
    first = talk.read()
    clock.now += 1
    second = talk.read()
    assert first["params"]["progress"] < second["params"]["progress"] and "waiting" in second["params"]["message"]
    talk.send({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "no"}})
    assert talk.read()["id"] == "x"


@pytest.mark.parametrize("capabilities, version, able", [
    ({"elicitation": {}}, "2025-06-18", True), ({"elicitation": {"form": {}}}, "2025-11-25", True),
    ({"elicitation": {}}, "2025-03-26", False),
    ({"elicitation": {"url": {}}}, "2025-11-25", False), ({"elicitation": {"url": {}, "form": {}}}, "2025-11-25", True),
    ({}, "2025-11-25", False), ({"elicitation": None}, "2025-11-25", False),
    ({"elicitation": True}, "2025-11-25", False),
    ({"elicitation": {"url": {}}}, MODERN[0], False), ({"elicitation": {}}, MODERN[0], True),
    ({"sampling": {}}, MODERN[0], False)])
def test_who_can_be_asked(capabilities, version, able):
    seen = []

    def look(request, arguments):
        seen.append(request.supports("elicitation"))
        return said("")
    talk = Talk(TableApp({"t": (tool("t"), look)}),
                None if version in MODERN else version, capabilities)
    (talk.call_modern if version in MODERN else talk.call)("tools/call", {"name": "t"})
    assert seen == [able]


def test_a_modern_client_gets_the_question_as_a_result():
    talk = fixtures(None, {"elicitation": {}})
    name = "test_input_required_result_request_state"
    first = talk.call_modern("tools/call", {"name": name})["result"]
    assert first["resultType"] == "input_required" and set(first) == {"resultType", "inputRequests", "requestState"}
    assert set(first["inputRequests"]["confirm"]) == {"method", "params"}
    answers = {"confirm": {"action": "accept", "content": {"ok": True}}, "unknown": 7}
    again = talk.call_modern("tools/call", {"name": name, "inputResponses": {"other": {}},
                                            "requestState": first["requestState"]})["result"]
    assert again["resultType"] == "input_required"
    done = talk.call_modern("tools/call", {"name": name, "inputResponses": answers,
                                           "requestState": first["requestState"]})["result"]
    assert done["resultType"] == "complete" and done["content"][0]["text"] == "state-ok"
    params = {"name": name, "inputResponses": answers, "requestState": first["requestState"] + "x"}
    assert error(talk.call_modern("tools/call", params)) == -32602


def test_a_modern_client_lacking_a_capability():
    answer = fixtures(None, {}).call_modern("tools/call", {"name": "test_missing_capability"})
    assert answer["error"]["code"] == -32021 and answer["error"]["data"] == {"requiredCapabilities": {"sampling": {}}}


def test_methods_may_be_added_for_the_fixtures_alone():
    talk = fixtures("2025-11-25", {})
    assert talk.call("logging/setLevel", {"level": "info"})["result"] == {}
    assert error(talk.call_modern("logging/setLevel", {"level": "info"})) == -32601


def test_the_end_answers_open_questions():
    seen = []
    talk = Talk(TableApp({"ask": (tool("ask"), lambda request, arguments: seen.append(request.ask(
        {"a": fixtures_app.NAME, "b": fixtures_app.NAME})) or said("done"))}), capabilities={"elicitation": {}})
    talk.request("tools/call", {"name": "ask"}, id="x")
    assert talk.read()["method"] == "elicitation/create"
    talk.server.finish()
    assert talk.read()["id"] == "x" and seen == [{"a": None, "b": None}]        # the second was not even asked
