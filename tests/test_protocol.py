"""The protocol engine, without a process: lines in, messages out. Contract: MCP 2024-11-05 to 2026-07-28, stdio."""
import json
import threading
import time

import pytest

from engine import INFO, PATIENCE, Clock, TableApp, Talk, error, said, tool
from support import each
from tools.mcp import engine
from tools.mcp.message import (CAPABILITIES_KEY, LEGACY, LOG_LEVEL_KEY, MODERN, SERVER_KEY, SUBSCRIPTION_KEY,
                               VERSION_KEY, RpcError)
from tools.mcp.wire import LONGEST_LINE, TooLong
from tools.pve.waiting import Cancelled

FULL = {"title": "Tool", "annotations": {"readOnlyHint": True}, "outputSchema": {"type": "object"}, "icons": [],
        "_meta": {"x": 1}}


class Gate:
    """A tool that waits until it is opened or cancelled, and says that it has begun."""

    def __init__(self):
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, request, arguments):
        self.begun.set()
        while not self.open.wait(0.005):
            if request.cancelled.is_set():
                raise Cancelled()
        return said("through")


def fail(error):
    def run(request, arguments):
        raise error
    return run


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def app(gate):
    return TableApp(
        tool_rows={name: (tool(name, **more), run) for name, run, more in (
            ("echo", lambda request, arguments: said("echo", structuredContent=arguments, isError=False), FULL),
            ("gate", gate, {}),
            ("boom", fail(KeyError("secret-internals")), {}),
            ("rpc", fail(RpcError(-32021, "lacks", {"requiredCapabilities": {}})), {}),
            ("unsayable", lambda request, arguments: said({1, 2}), {}),
            ("surrogate", lambda request, arguments: said("a\ud800\n" + repr(float("nan"))), {}),
        )},
        resource_rows={"test://one": ({"uri": "test://one", "name": "one", "title": "One"},
                                      [{"uri": "test://one", "text": "1"}])},
        templates=[{"uriTemplate": "test://{x}", "name": "t", "title": "T"}],
        prompt_rows={"p": ({"name": "p", "title": "P"}, lambda request, arguments: {"messages": []})},
        completions={("p", "a"): ["v%03d" % i for i in range(150)], ("test://{x}", "x"): ["1"]})


# -------------------------------------------------------------------------------------------- lines that are no message

ID_LESS = [
    (b"hello", -32700), (b"{", -32700), (b"Content-Length: 20", -32700), (b'"\xff"', -32700), (b"[" * 100000, -32700),
    (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32700),
    (b'{"jsonrpc":"2.0","id":' + b"9" * 30 + b',"method":"ping"}', -32700), (TooLong, -32700),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping","params":{"a":NaN}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100000, -32700),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}]', -32700),
    (b"1", -32600), (b"null", -32600), (b'"ping"', -32600), (b"{}", -32600), (b"[]", -32600), (b"[[]]", -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","method":7}', -32600),
]


@pytest.mark.parametrize("version", [None, "2025-11-25"])
@each("line, code", ID_LESS)
def test_what_cannot_be_answered_by_id_gets_an_error_without_one(line, code, version):
    talk = Talk(version=version)
    talk.line(line)
    answer = talk.read()
    assert set(answer) == {"jsonrpc", "error"} and error(answer) == code and answer["error"]["message"].count("\n") == 0
    assert talk.call("ping", id="next") == {"jsonrpc": "2.0", "id": "next", "result": {}}


@pytest.mark.parametrize("inside", [b"1" * 21, b"NaN", b"-Infinity", b"1e999", b"[" * 70 + b"]" * 70,
                                    b'{"x":' * 70 + b"1" * 1000000 + b"}" * 70])
@pytest.mark.parametrize("id", [0, "a"])
def test_a_request_with_what_is_not_json_here_inside_gets_its_id_back(inside, id):
    """Its client would wait for an answer else, some for ever."""
    talk = Talk()
    talk.line(b'{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"echo","arguments":{"a":%s}}}' % (
        json.dumps(id).encode(), inside))
    answer = talk.read()
    assert (answer["id"], error(answer)) == (id, -32700) and type(answer["id"]) is type(id)
    talk.call("ping")


@pytest.mark.parametrize("message, id", [
    ({"id": 5, "method": "ping"}, 5), ({"jsonrpc": "1.0", "id": "a", "method": "ping"}, "a"),
    ({"jsonrpc": "2.0", "id": 6}, 6),
    ({"jsonrpc": "2.0", "id": 7, "method": None}, 7),
    ({"jsonrpc": "2.0", "id": 8, "method": ["ping"], "params": {}}, 8)])
def test_an_invalid_request_with_an_id_gets_it_back(message, id):
    talk = Talk()
    talk.send(message)
    answer = talk.read()
    assert (answer["id"], error(answer)) == (id, -32600)


@pytest.mark.parametrize("version", [None, "2025-11-25"])
@each("message", [
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/unknown", "params": 7},
    {"jsonrpc": "2.0", "method": "nonsense"}, {"jsonrpc": "2.0", "method": "tools/list"},
    {"method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": None, "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": []},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
    {"jsonrpc": "2.0", "id": "srv-1", "result": {}}, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}},
    {"jsonrpc": "2.0", "id": None, "result": {}}, {"jsonrpc": "2.0", "id": [1], "result": {}}])
def test_notifications_and_responses_are_never_answered(message, version):
    talk = Talk(version=version)
    talk.send(message)
    assert talk.quiet() and not talk.logged


@pytest.mark.parametrize("id", [0, -1, 1, "1", "", "x" * 1000, 2 ** 63, "srv-1"])
def test_ids_come_back_as_they_were(id):
    talk = Talk()
    talk.call("ping", id=id)
    talk.call_modern("server/discover", id=id)


# ----------------------------------------------------------------------------------------------------------- legacy era

@pytest.mark.parametrize("asked, given", [(v, v) for v in LEGACY] + [
    ("2026-07-28", "2025-11-25"), ("2099-01-01", "2025-11-25"), ("1.0", "2025-11-25"), ("", "2025-11-25")])
def test_initialize_agrees_on_a_version(asked, given):
    talk = Talk(version=None)
    result = talk.call("initialize", {"protocolVersion": asked, "capabilities": {},
                                      "clientInfo": {"name": "c", "version": "1"}})["result"]
    assert result["protocolVersion"] == given
    assert set(result) == {"protocolVersion", "capabilities", "serverInfo", "instructions"}
    assert ("title" in result["serverInfo"]) == (given >= "2025-06-18")
    assert ("completions" in result["capabilities"]) == (given >= "2025-03-26")


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": 7}, {"protocolVersion": None},
                                    {"protocolVersion": ["2025-11-25"]}])
def test_initialize_without_a_version(params):
    assert error(Talk(version=None).call("initialize", params)) == -32602


def test_initialize_with_a_foreign_version_in_meta_is_a_legacy_handshake():
    talk = Talk(version=None)
    for claim in ("2025-11-25", "2099-01-01", 7):
        answer = talk.call("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                          "_meta": {VERSION_KEY: claim}})
        assert answer["result"]["protocolVersion"] == "2025-06-18"


def test_a_second_initialize_negotiates_anew(app):
    talk = Talk(app, "2024-11-05")
    assert "title" not in talk.call("tools/list")["result"]["tools"][0]
    talk.call("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
    assert "title" in talk.call("tools/list")["result"]["tools"][0]


BEFORE = [("ping", None), ("tools/list", -32602), ("tools/call", -32602), ("server/discover", -32602),
          ("subscriptions/listen", -32602),
          ("completion/complete", -32602), ("nonsense", -32601), ("logging/setLevel", -32601),
          ("resources/subscribe", -32601)]


@pytest.mark.parametrize("method, code", BEFORE)
def test_before_the_handshake(method, code):
    answer = Talk(version=None).call(method)
    assert answer.get("error", {}).get("code") == code
    if code == -32602:
        assert VERSION_KEY in answer["error"]["message"] and "initialize" in answer["error"]["message"]


def test_requests_are_served_before_initialized(app):
    talk = Talk(app, version=None)
    talk.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}, id=0)
    talk.request("tools/list", id=1)
    assert [talk.read()["id"], talk.read()["id"]] == [0, 1]


SINCE = {"2024-11-05": set(), "2025-03-26": {"annotations"},
         "2025-06-18": {"annotations", "title", "outputSchema", "_meta"},
         "2025-11-25": set(FULL), "2026-07-28": set(FULL)}


@pytest.mark.parametrize("version", SINCE)
def test_each_revision_gets_its_own_fields_only(app, version):
    talk = Talk(app, None if version in MODERN else version)
    call = talk.call_modern if version in MODERN else talk.call
    modern = {"resultType", "ttlMs", "cacheScope"} if version in MODERN else set()
    listed = call("tools/list")["result"]
    assert set(listed) == {"tools"} | modern
    assert set(listed["tools"][0]) == {"name", "description", "inputSchema"} | SINCE[version]
    result = call("tools/call", {"name": "echo", "arguments": {"a": 1}})["result"]
    assert ("structuredContent" in result) == (version >= "2025-06-18")
    assert set(result) - {"structuredContent"} == {"content", "isError"} | (modern & {"resultType"})
    for method, key in (("resources/list", "resources"), ("resources/templates/list", "resourceTemplates"),
                        ("prompts/list", "prompts")):
        result = call(method)["result"]
        assert set(result) == {key} | modern
        assert ("title" in result[key][0]) == (version >= "2025-06-18")
    assert set(call("resources/read", {"uri": "test://one"})["result"]) == {"contents"} | modern
    answer = call("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"},
                                          "argument": {"name": "a", "value": "v"}})
    if version == "2024-11-05":
        assert error(answer) == -32601
    else:
        assert len(answer["result"]["completion"]["values"]) == 100
        assert (answer["result"]["completion"]["total"], answer["result"]["completion"]["hasMore"]) == (150, True)


# ----------------------------------------------------------------------------------------------------------- modern era

def test_discover():
    answer = Talk(version=None).call_modern("server/discover", id="d")
    assert answer["result"] == {"resultType": "complete", "supportedVersions": ["2026-07-28"],
                                "capabilities": INFO["capabilities"],
                                "instructions": "None.", "ttlMs": 3600000, "cacheScope": "public"}


def test_modern_results_say_who_made_them():
    talk = Talk(version=None)
    talk.modern("server/discover")
    assert talk.read()["result"]["_meta"] == {SERVER_KEY: {"name": "test", "title": "Test", "version": "0"}}


CACHE = {"server/discover": (3600000, "public"), "tools/list": (3600000, "private"),
         "prompts/list": (3600000, "public"),
         "resources/list": (10000, "private"), "resources/templates/list": (3600000, "public"),
         "resources/read": (0, "private"),
         "tools/call": None, "prompts/get": None, "completion/complete": None}
PARAMS = {"resources/read": {"uri": "test://one"}, "tools/call": {"name": "echo"}, "prompts/get": {"name": "p"},
          "completion/complete": {"ref": {"type": "ref/resource", "uri": "test://{x}"},
                                  "argument": {"name": "x", "value": ""}},
          "subscriptions/listen": {"notifications": {}}}


@pytest.mark.parametrize("method", CACHE)
def test_what_a_cache_may_do(app, method):
    result = Talk(app, None).call_modern(method, PARAMS.get(method))["result"]
    assert result["resultType"] == "complete"
    said = {key: result[key] for key in ("ttlMs", "cacheScope") if key in result}
    assert said == dict(zip(("ttlMs", "cacheScope"), CACHE[method] or ())) and type(said.get("ttlMs", 0)) is int


CAPS = {CAPABILITIES_KEY: {}}
ENVELOPES = [
    ({VERSION_KEY: 7, **CAPS}, -32602), ({VERSION_KEY: None, **CAPS}, -32602), ({VERSION_KEY: "2026-07-28"}, -32602),
    ({VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: []}, -32602),
    ({VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: None}, -32602),
    ({VERSION_KEY: "2026-07-28", LOG_LEVEL_KEY: "loud", **CAPS}, -32602),
    ({VERSION_KEY: "2026-07-28", LOG_LEVEL_KEY: 3, **CAPS}, -32602),
    ({VERSION_KEY: "2099-01-01", **CAPS}, -32022), ({VERSION_KEY: "2025-11-25", **CAPS}, -32022),
    ({VERSION_KEY: "", **CAPS}, -32022),
    ({VERSION_KEY: "2099-01-01"}, -32602),                                  # the shape before the version
    ({VERSION_KEY: "2026-07-28", LOG_LEVEL_KEY: "debug", **CAPS}, None), ({VERSION_KEY: "2026-07-28", **CAPS}, None),
    ({VERSION_KEY: "2026-07-28", "io.modelcontextprotocol/clientInfo": 7, **CAPS}, None)]


@pytest.mark.parametrize("method", ["tools/list", "server/discover", "nonsense"])
@each("meta, code", ENVELOPES)
def test_envelopes(app, meta, code, method):
    answer = Talk(app, None).call(method, {"_meta": meta})
    expected = -32601 if code is None and method == "nonsense" else code
    assert answer.get("error", {}).get("code") == expected
    if code == -32022:
        assert answer["error"]["data"] == {"supported": ["2026-07-28"], "requested": meta[VERSION_KEY]}


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe",
                                    "resources/unsubscribe",
                                    "tasks/list", "tasks/get", "notifications/x", "nonsense", ""])
def test_methods_that_the_modern_era_does_not_have(method):
    assert error(Talk().call_modern(method, {"protocolVersion": "2025-11-25"})) == -32601


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "logging/setLevel",
                                    "resources/subscribe", "nonsense"])
def test_methods_that_the_legacy_era_does_not_have(method):
    assert error(Talk().call(method)) == -32601


def test_eras_are_told_apart_request_by_request(app):
    talk = Talk(app, None)
    assert "resultType" in talk.call_modern("tools/list")["result"]
    assert error(talk.call("tools/list")) == -32602                         # nothing was learned from it
    talk.call("initialize", {"protocolVersion": "2025-03-26", "capabilities": {"elicitation": {}}})
    assert "title" not in talk.call("tools/list")["result"]["tools"][0]
    assert "title" in talk.call_modern("tools/list")["result"]["tools"][0]
    assert "resultType" not in talk.call("tools/list")["result"]


def test_a_method_whose_capability_is_not_declared_does_not_exist(app):
    info = dict(INFO, capabilities={"tools": {}})
    talk = Talk(app, info=info)
    for call in (talk.call, talk.call_modern):
        assert error(call("prompts/list")) == error(call("resources/read", {"uri": "test://one"})) == -32601
        assert "tools" in call("tools/list")["result"]


# --------------------------------------------------------------------------------------------------------------- params

WRONG = [
    ("tools/list", {"cursor": "abc"}), ("resources/list", {"cursor": "x"}),
    ("resources/templates/list", {"cursor": ""}),
    ("prompts/list", {"cursor": 7}), ("tools/call", {}), ("tools/call", {"name": 7}),
    ("tools/call", {"name": "echo", "arguments": []}),
    ("tools/call", {"name": "echo", "arguments": "x"}), ("tools/call", {"name": "nope"}), ("tools/call", {"name": ""}),
    ("resources/read", {}), ("resources/read", {"uri": 7}), ("prompts/get", {}), ("prompts/get", {"name": "nope"}),
    ("prompts/get", {"name": "p", "arguments": {"a": 1}}), ("prompts/get", {"name": "p", "arguments": []}),
    ("completion/complete", {}), ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
    ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": {"name": "a", "value": ""}}),
    ("completion/complete", {"ref": {"type": "ref/tool", "name": "p"}, "argument": {"name": "a", "value": ""}}),
    ("completion/complete", {"ref": {"type": ["x"], "name": "p"}, "argument": {"name": "a", "value": ""}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": 1}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""},
                             "context": 7}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""},
                             "context": {"arguments": ["x"]}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""},
                             "context": {"arguments": {"node": ["x"]}}})]


@pytest.mark.parametrize("era", ["call", "call_modern"])
@each("method, params", WRONG)
def test_params_that_do_not_fit(app, method, params, era):
    talk = Talk(app)
    answer = getattr(talk, era)(method, params)
    assert error(answer) == -32602 and answer["error"]["message"]
    talk.call("ping")


@pytest.mark.parametrize("params", [[], "x", 7, [1]])
def test_params_that_are_no_object(params):
    assert error(Talk().call("tools/list", params)) == -32602
    assert error(Talk().call("tools/list", {"_meta": params})) == -32602


def test_null_counts_as_absent(app):
    talk = Talk(app)
    talk.send({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": None})
    assert "tools" in talk.read()["result"]
    assert "tools" in talk.call("tools/list", {"_meta": None, "cursor": None})["result"]
    assert talk.call("tools/call", {"name": "echo", "arguments": None})["result"]["structuredContent"] == {}
    assert "result" in talk.call_modern("tools/call", {"name": "echo", "inputResponses": None, "requestState": None})


@pytest.mark.parametrize("params", [{"inputResponses": []}, {"inputResponses": "x"}, {"requestState": 7},
                                    {"requestState": {}}])
def test_a_malformed_retry(app, params):
    assert error(Talk(app).call_modern("tools/call", dict(params, name="echo"))) == -32602
    # no such thing before 2026-07-28
    assert "result" in Talk(app).call("tools/call", dict(params, name="echo"))


def test_a_resource_that_does_not_exist(app):
    talk = Talk(app)
    data = {"uri": "test://nope"}
    assert talk.call("resources/read", data)["error"] == {"code": -32002, "message": "Resource not found", "data": data}
    assert talk.call_modern("resources/read", data)["error"] == {"code": -32602, "message": "Resource not found",
                                                                 "data": data}


# ------------------------------------------------------------------------------------------------- errors on the inside

@pytest.mark.parametrize("name", ["boom", "unsayable"])
def test_an_internal_error_says_nothing_and_is_logged(app, name):
    talk = Talk(app)
    answer = talk.call("tools/call", {"name": name})
    assert answer["error"] == {"code": -32603, "message": "Internal error"}
    assert [(level, event) for level, event, _ in talk.logged] == [("error", "internal error")]
    assert "Traceback" in talk.logged[0][2]["traceback"]
    talk.call("ping")


def test_an_rpc_error_passes_with_its_data(app):
    assert Talk(app).call("tools/call", {"name": "rpc"})["error"] == {"code": -32021, "message": "lacks",
                                                                     "data": {"requiredCapabilities": {}}}


def test_lone_surrogates_leave_as_replacement_characters(app):
    assert Talk(app).call("tools/call", {"name": "surrogate"})["result"]["content"][0]["text"] == "a\ufffd\nnan"


def test_an_app_that_cannot_be_made_fails_each_request():
    def load():
        raise OSError("no such file")
    talk = Talk()
    talk.server.app = engine.Once(load)
    assert error(talk.call("tools/list")) == error(talk.call("tools/call", {"name": "x"})) == -32603
    talk.call("ping")


# ------------------------------------------------------------------------------------------------------------ at a time

def test_a_ping_and_another_call_while_a_call_waits(app, gate):
    talk = Talk(app)
    waiting = talk.request("tools/call", {"name": "gate"}, id="slow")
    assert gate.begun.wait(PATIENCE)
    talk.call("ping")
    assert "tools" in talk.call_modern("tools/list")["result"]
    assert talk.call("tools/call", {"name": "echo"})["result"]
    gate.open.set()
    assert talk.read()["id"] == waiting


def test_an_id_that_is_in_use(app, gate):
    talk = Talk(app)
    talk.request("tools/call", {"name": "gate"}, id=1)
    for id, code in ((1, -32600), ("1", None)):
        assert talk.call("ping", id=id).get("error", {}).get("code") == code
    gate.open.set()
    assert talk.read()["result"]["content"][0]["text"] == "through"
    assert "result" in talk.call("ping", id=1)


def test_an_id_that_is_used_again_after_a_cancellation_belongs_to_the_new_call(app):
    first, second = Gate(), Gate()
    gates = iter([first, second])

    def deaf(request, arguments):
        gate = next(gates)
        gate.begun.set()
        return gate.open.wait(PATIENCE) and said("through")
    app.tool_rows["deaf"] = (tool("deaf"), deaf)
    talk = Talk(app)
    talk.request("tools/call", {"name": "deaf"}, id=1)
    assert first.begun.wait(PATIENCE)
    talk.cancel(1)
    talk.request("tools/call", {"name": "deaf"}, id=1)
    assert second.begun.wait(PATIENCE)
    first.open.set()
    with talk.server._lock:
        assert talk.server._done.wait_for(lambda: len(talk.server._busy) == 1, PATIENCE)
    assert error(talk.call("ping", id=1)) == -32600
    second.open.set()
    assert talk.read()["result"]["content"][0]["text"] == "through"


def test_too_many_at_once(app, gate, monkeypatch):
    monkeypatch.setattr(engine, "MOST_IN_FLIGHT", 2)
    talk = Talk(app)
    for id in ("a", "b"):
        talk.request("tools/call", {"name": "gate"}, id=id)
    assert error(talk.call("tools/call", {"name": "echo"})) == -32603
    assert talk.call("ping")["result"] == {}
    gate.open.set()
    assert {talk.read()["id"], talk.read()["id"]} == {"a", "b"}
    assert talk.quiet() and "result" in talk.call("tools/call", {"name": "echo"})


def test_no_more_threads(app, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")
    talk = Talk(app)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert error(talk.call("tools/call", {"name": "echo"}, id=5)) == -32603
    assert "result" in talk.call("tools/call", {"name": "echo"}, id=5)


# ----------------------------------------------------------------------------------------------------------- cancelling

@pytest.mark.parametrize("era", ["request", "modern"])
def test_a_cancelled_call_ends_at_once_and_nothing_more_is_sent(app, gate, era):
    talk = Talk(app)
    waiting = getattr(talk, era)("tools/call", {"name": "gate", "_meta": {}}, id="slow")
    assert gate.begun.wait(PATIENCE)
    start = time.monotonic()
    talk.cancel(waiting)
    assert talk.quiet() and time.monotonic() - start < 5
    assert not talk.logged
    assert "result" in talk.call("ping", id=waiting)            # the id is free again


def test_what_a_cancelled_call_still_says_is_not_sent(gate):
    def rude(request, arguments):
        gate.begun.set()
        request.cancelled.wait(PATIENCE)
        request.progress(50)
        request.notify("notifications/message", {})
        if arguments.get("raise"):
            raise ValueError("after the end")
        return said("late")
    talk = Talk(TableApp({"rude": (tool("rude"), rude)}))
    for arguments in ({}, {"raise": True}):
        waiting = talk.request("tools/call", {"name": "rude", "arguments": arguments, "_meta": {"progressToken": 1}})
        assert gate.begun.wait(PATIENCE)
        gate.begun.clear()
        talk.cancel(waiting)
        assert talk.quiet() and not talk.logged


@pytest.mark.parametrize("progress", [True, False])
def test_what_is_not_written_yet_when_a_call_is_cancelled_is_not_sent(gate, progress):
    def run(request, arguments):
        gate.begun.set()
        if progress:
            request.progress(10)
        return said("done")
    talk = Talk(TableApp({"t": (tool("t"), run)}))
    with talk.server._output:                                   # the client does not read, say
        waiting = talk.request("tools/call", {"name": "t", "_meta": {"progressToken": 1}})
        assert gate.begun.wait(PATIENCE)
        time.sleep(0.05)
        talk.cancel(waiting)
    assert talk.quiet()


def test_cancelling_with_the_wrong_type_of_id_changes_nothing(app, gate):
    talk = Talk(app)
    waiting = talk.request("tools/call", {"name": "gate"}, id=1)
    for id in ("1", 2, None, 1.0, True, {"id": 1}):
        talk.cancel(id)
    gate.open.set()
    assert talk.read()["id"] == waiting


# ------------------------------------------------------------------------------------------------------------- progress

def progressing(steps):
    """Messages of a call that reports these (seconds later, percent, message)."""
    clock = Clock()

    def run(request, arguments):
        for later, percent, message in steps:
            clock.now += later
            request.progress(percent, message)
        return said("done")

    def messages(version="2025-11-25", token="t"):
        talk = Talk(TableApp({"p": (tool("p"), run)}), version, clock=clock)
        talk.request("tools/call", {"name": "p", "_meta": {} if token is None else {"progressToken": token}})
        found = []
        while not found or "method" in found[-1]:
            found.append(talk.read())
        assert talk.quiet()
        return [message["params"] for message in found[:-1]]
    return messages


PROGRESS = [
    ([(0, 0, None), (1, 10, None), (1, 10, None), (1, 5, None), (1, 99.5, None)], [0, 10, 10.01, 10.02,
                                                                                              99.5]),   # strictly more
    # two a second
    ([(0, 10, None), (0.125, 20, None), (0.25, 30, None), (0.125, 40, None)], [10, 40]),
    # the end is the answer
    ([(0, 50, None), (1, 100, None), (1, 99.99, None), (1, 100, None)], [50, 50.01, 99.99, 99.99001]),
    ([(0, 100, None)], [0]),
    ([(0, None, None), (1, None, None), (1, 0.004, None), (1, 40, None), (1, None, None)], [0, 0.01, 0.02, 40, 40.01]),
    ([(0, -5, None), (1, 10.001, None), (1, 10.002, None)], [0, 10, 10.01]),
]


@pytest.mark.parametrize("steps, values", PROGRESS)
def test_progress_grows_and_is_not_a_flood(steps, values):
    assert [params["progress"] for params in progressing(steps)()] == values


def test_progress_has_the_fields_of_the_revision():
    steps = [(0, 10, "copying"), (1, None, "still copying")]
    assert progressing(steps)("2025-03-26", 0) == [
        {"progressToken": 0, "progress": 10, "total": 100, "message": "copying"},
        {"progressToken": 0, "progress": 10.01, "message": "still copying"}]
    assert progressing(steps)("2024-11-05", "x") == [{"progressToken": "x", "progress": 10, "total": 100},
                                                     {"progressToken": "x", "progress": 10.01}]


@pytest.mark.parametrize("token", [None, True, 1.5, [], {}])
def test_no_progress_without_a_token(token):
    assert progressing([(0, 10, None)])(token=token) == []


# -------------------------------------------------------------------------------------------------------- subscriptions

@pytest.mark.parametrize("id", ["listen-1", 7])
def test_listen_is_acknowledged_empty_and_completed(id):
    talk = Talk(version=None)
    talk.modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=id)
    assert talk.read() == {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                           "params": {"_meta": {SUBSCRIPTION_KEY: id}, "notifications": {}}}
    answer = talk.read()
    assert answer["id"] == id and answer["result"]["resultType"] == "complete"
    assert answer["result"]["_meta"][SUBSCRIPTION_KEY] == id and SERVER_KEY in answer["result"]["_meta"]


@pytest.mark.parametrize("params", [{}, {"notifications": None}, {"notifications": []}])
def test_listen_to_nothing(params):
    assert error(Talk(version=None).call_modern("subscriptions/listen", params)) == -32602


# -------------------------------------------------------------------------------------------------------------- batches

def rpc(method, id=None, **params):
    return dict({"jsonrpc": "2.0", "method": method, "params": params}, **({} if id is None else {"id": id}))


def test_a_batch_is_answered_by_one_array(app):
    talk = Talk(app, "2025-03-26")
    talk.send([rpc("ping", 1), rpc("notifications/x"), rpc("tools/call", "2", name="echo"), rpc("nonsense", 3), 7,
               {"jsonrpc": "2.0"},
               rpc("initialize", 4, protocolVersion="2025-11-25"), rpc("ping", 1),
               {"jsonrpc": "2.0", "id": "srv-9", "result": {}},
               rpc("tools/call", 5, name="unsayable")])
    found = {answer.get("id"): answer.get("error", {}).get("code") for answer in talk.read() if "id" in answer}
    assert found == {1: None, "2": None, 3: -32601, 4: -32600, 5: -32603}
    assert talk.quiet() and talk.server.version == "2025-03-26"


def test_a_batch_counts_what_has_no_id(app):
    talk = Talk(app, "2025-03-26")
    talk.send([1, rpc("ping", 1), [], {"jsonrpc": "2.0", "id": None, "method": "ping"}])
    assert sorted(answer.get("error", {}).get("code", 0) for answer in talk.read()) == [-32600, -32600, -32600, 0]


def test_a_batch_of_nothing_to_answer(app, gate):
    talk = Talk(app, "2025-03-26")
    talk.send([rpc("notifications/x"), rpc("notifications/initialized")])
    assert talk.quiet()
    talk.send([rpc("tools/call", 1, name="gate")])
    assert gate.begun.wait(PATIENCE)
    talk.send([rpc("notifications/cancelled", requestId=1)])
    assert talk.quiet()


def test_a_cancelled_call_leaves_the_rest_of_its_batch(app, gate):
    talk = Talk(app, "2025-03-26")
    talk.send([rpc("tools/call", 1, name="gate"), rpc("ping", 2)])
    assert gate.begun.wait(PATIENCE)
    talk.cancel(1)
    assert [answer["id"] for answer in talk.read()] == [2]


@pytest.mark.parametrize("version, batch", [("2024-11-05", [rpc("ping", 1)]), ("2025-06-18", [rpc("ping", 1)]),
                                            (None, [rpc("ping", 1)]),
                                            ("2025-11-25", [rpc("ping", 1)]), ("2025-03-26", []),
                                            ("2025-03-26", [rpc("ping", 1)] * 101)])
def test_batches_that_are_none(version, batch):
    talk = Talk(version=version)
    talk.send(batch)
    answer = talk.read()
    assert error(answer) == -32600 and "id" not in answer and talk.quiet()


def test_the_largest_batch():
    talk = Talk(version="2025-03-26")
    talk.send([rpc("ping", number) for number in range(100)])
    assert len(talk.read()) == 100


# -------------------------------------------------------------------------------------------------------------- the end

def test_at_the_end_answers_are_waited_for(app, gate):
    talk = Talk(app)
    talk.request("tools/call", {"name": "gate"}, id="x")
    assert gate.begun.wait(PATIENCE)
    threading.Timer(0.02, gate.open.set).start()
    talk.server.finish()
    assert talk.read()["id"] == "x"


def test_the_end_does_not_wait_for_ever(app, gate):
    talk = Talk(app)
    talk.request("tools/call", {"name": "gate"}, id="x")
    start = time.monotonic()
    talk.server.finish(grace=0.02)
    assert 0.02 <= time.monotonic() - start < 1.4


def test_a_change_on_its_way_gets_more_time(gate):
    def change(request, arguments):
        request.writing = True
        gate(request, arguments)
        request.writing = False
        return said("changed")
    talk = Talk(TableApp({"change": (tool("change"), change)}))
    for cancel in (False, True):                                # cancelled or not: what Proxmox does is to be heard of
        call = talk.request("tools/call", {"name": "change"})
        assert gate.begun.wait(PATIENCE)
        start = time.monotonic()
        if not cancel:
            threading.Timer(0.1, gate.open.set).start()
        talk.server.finish(grace=0, changes=PATIENCE if not cancel else 0.1)
        assert time.monotonic() - start >= 0.1
        assert cancel or talk.read()["id"] == call
        gate.open.clear(), gate.begun.clear()
    gate.open.set()


def test_after_a_change_there_is_time_for_its_answer(gate):
    def change(request, arguments):
        request.writing = True
        gate(request, arguments)
        request.writing = False
        threading.Event().wait(0.1)                             # what is left to do before the answer
        return said("changed")
    talk = Talk(TableApp({"change": (tool("change"), change)}))
    call = talk.request("tools/call", {"name": "change"})
    assert gate.begun.wait(PATIENCE)
    threading.Timer(0.4, gate.open.set).start()                 # longer than the grace alone
    talk.server.finish(grace=0.3, changes=PATIENCE)
    assert not talk.server._busy and talk.read()["id"] == call


def test_the_longest_line_that_is_served():
    talk = Talk()
    talk.line(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b"a" * (LONGEST_LINE - 100) + b'"}}')
    assert talk.read()["result"] == {}


# ---------------------------------------------------------------------------------------------------- who is asking

@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_call_knows_what_the_client_calls_itself(era):
    """For the audit log: clientInfo of the handshake, or of the request."""
    info, seen = {"name": "ExampleClient", "version": "1.0"}, []
    echo = (tool("echo"), lambda request, arguments: seen.append(request.client) or said("ok"))
    talk = Talk(TableApp({"echo": echo}), version=None)
    params = {"name": "echo"}
    if era == "legacy":
        talk.call("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info})
    else:
        params["_meta"] = {VERSION_KEY: "2026-07-28", "io.modelcontextprotocol/clientInfo": info, **CAPS}
    assert "result" in talk.call("tools/call", params)
    assert seen == [info]
