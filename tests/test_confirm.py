"""Asking the user before something is lost: all modes of PROXMOX_CONFIRM, both eras, and whoever skips the question."""
import json
import threading
import time

import pytest

from engine import PATIENCE, Talk
from support import Bench, NoConsent
from tools.mcp import approval
from tools.mcp.app import App
from tools.mcp.consent import LIFETIME, QUIET, Consent, Kept, digest
from tools.mcp.message import LATEST_LEGACY
from tools.mcp.run import UNASKED

ELICITATION = {"elicitation": {}}
DELETE = {"name": "proxmox_delete_vm", "arguments": {"vmid": 107}}
DONE = "DELETE /nodes/pve3/qemu/107"
BAD_STATE = {"code": -32602, "message": "Invalid or expired requestState"}


class Desk:
    """A server on a demo cluster, a client in front of it: `talk`, `bench`, and what was changed in Proxmox."""

    def __init__(self, mode="auto", version=LATEST_LEGACY, capabilities=ELICITATION, clock=time.monotonic, **more):
        self.consent = Consent(mode, clock)
        self.bench = Bench(confirm=mode, consent=self.consent, answers="both", **more)
        self.modern, self.clock = version is None, self.bench.clock
        self.app = App(self.bench.host.settings, lambda *_, **__: None, self.bench.host)
        self.talk = Talk(self.app, version, capabilities)

    def call(self, **params):
        """The answer to a call of DELETE (or of `params`)."""
        return (self.talk.call_modern if self.modern else self.talk.call)("tools/call", dict(DELETE, **params))

    def changes(self):
        """Every request so far that was no GET."""
        return ["%s %s" % (verb, path) for verb, path, _ in self.bench.cluster.requests if verb != "GET"]

    def requests(self):
        """How many requests reached Proxmox."""
        return len(self.bench.cluster.requests)

    # one question and its answer, in either era

    def ask(self):
        """Begin the call; the question (params of the elicitation)."""
        if self.modern:
            result = self.call()["result"]
            assert set(result) == {"resultType", "inputRequests", "requestState"}
            assert result["resultType"] == "input_required"
            self.state = result["requestState"]
            asked = result["inputRequests"]["confirm"]
        else:
            self.waiting = self.talk.request("tools/call", DELETE)
            asked = self.talk.read()
            self.asked = asked["id"]
        assert asked["method"] == "elicitation/create"
        return asked["params"]

    def answer(self, answer):
        """Answer the question; the result of the call."""
        if self.modern:
            return self.call(inputResponses={"confirm": answer}, requestState=self.state)["result"]
        self.talk.send(dict({"jsonrpc": "2.0", "id": self.asked},
                            **answer if "error" in answer else {"result": answer}))
        message = self.talk.read()
        assert message["id"] == self.waiting
        return message["result"]


def said(result):
    return result["content"][0]["text"]


def yes(**more):
    return dict({"action": "accept", "content": {"confirm": True}}, **more)


@pytest.fixture(params=["legacy", "2025-06-18", "modern"])
def desk(request):
    return Desk(version={"legacy": LATEST_LEGACY, "modern": None}.get(request.param, request.param))


# --------------------------------------------------------------------------------------------------------- who is asked

#: mode -> what happens: (client that can be asked, legacy client that cannot, modern client that cannot)
MODES = {"auto": ("asks", "does", "does"), "always": ("asks", "refuses", "refuses"),
         "token": ("token", "token", "token"),
         "off": ("does", "does", "does")}
CLIENTS = [(LATEST_LEGACY, ELICITATION, 0), (None, ELICITATION, 0), (LATEST_LEGACY, {}, 1),
           ("2025-03-26", ELICITATION, 1),
           ("2024-11-05", {}, 1), (LATEST_LEGACY, {"elicitation": {"url": {}}}, 1), (None, {}, 2),
           (None, {"elicitation": {"url": {}}}, 2)]


@pytest.mark.parametrize("mode, version", [
    ("always", LATEST_LEGACY), ("always", None), ("token", LATEST_LEGACY), ("terminal", LATEST_LEGACY)])
@pytest.mark.parametrize("tool, arguments", [
    ("execute_vm_command", {"vmid": "web01", "command": "uptime"}),
    ("execute_in_guests", {"vmids": ["db01", "web01"], "command": "uptime"}),
    ("create_backup_job", {"schedule": "01:00", "storage": "nas", "vmid": "101,web01"}),
    ("create_backup_job", {"schedule": "01:00", "storage": "nas", "all": True, "exclude": "web01"}),
    ("update_backup_job", {"id": "backup-pool", "vmid": "web01"})])
def test_a_yes_is_for_the_guest_that_had_the_name(mode, version, tool, arguments, tmp_path):
    """Between the question and the yes the name went to another guest; nothing else that the question knows tells."""
    desk = Desk(mode, version, state_dir=str(tmp_path / "state"))
    call = {"name": "proxmox_" + tool, "arguments": dict(arguments)}
    if mode == "always" and version:
        desk.waiting, asked = desk.talk.request("tools/call", call), desk.talk.read()
        desk.asked = asked["id"]
    else:
        first = desk.call(**call)["result"]
    guests = desk.bench.cluster.world.guests
    guests[100].conf["name"], guests[104].conf["name"] = "web00", "web01"
    if mode == "terminal":
        [shown] = approval.waiting(str(tmp_path / "state"))
        assert "100" in shown.text() and shown.answer(True) == "Approved."
    elif mode == "always" and version:
        desk.answer(yes())
        assert desk.changes() == []
        return
    elif mode == "always":
        call.update(inputResponses={"confirm": yes()}, requestState=first["requestState"])
    else:
        call["arguments"]["confirm_token"] = said(first).split()[-1]
    desk.call(**call)
    assert desk.changes() == []


def test_that_nobody_was_asked_is_said_once_and_again_after_an_hour():
    desk, told = Desk(capabilities={}), []
    for vmid, seconds in ((107, 0), (102, 60), (203, 3600)):
        desk.bench.clock.seconds += seconds
        kind = "lxc" if vmid == 203 else "vm"
        answer = desk.call(name="proxmox_delete_" + kind, arguments={"vmid": vmid})["result"]
        assert not answer["isError"], said(answer)
        told.append((UNASKED in said(answer), UNASKED in answer["structuredContent"].get("notes", [])))
    assert told == [(True, True), (False, False), (True, True)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version, capabilities, kind", CLIENTS)
def test_modes(mode, version, capabilities, kind):
    desk = Desk(mode, version, capabilities)
    expected = MODES[mode][kind]
    if expected == "asks":
        desk.ask()
    else:
        answer = desk.call()
        text = said(answer["result"]) if "result" in answer else answer["error"]["message"]
        if expected == "does":
            assert not answer["result"]["isError"] and "deleted" in text
            assert text.endswith(UNASKED) == (mode == "auto")
        elif expected == "token":
            assert text.startswith("\u2753 Not done yet.") and not answer["result"]["isError"]
        elif version is None:
            assert answer["error"]["code"] == -32021
            assert answer["error"]["data"] == {"requiredCapabilities": {"elicitation": {}}}
        else:
            assert answer["result"]["isError"] and text.startswith("\U0001f6ab Permission Denied: ")
        assert ("PROXMOX_CONFIRM=always" in text and "PROXMOX_CONFIRM=terminal" in text) == (expected == "refuses")
    assert desk.changes() == ([DONE] if expected == "does" else [])


COMMAND = {"name": "proxmox_execute_vm_command", "arguments": {"vmid": 100, "node": "pve1", "command": "uname -a"}}


@pytest.mark.parametrize("mode, expected", [("auto", "does"), ("off", "does"), ("always", "refuses"),
                                            ("token", "token")])
def test_a_command_asks_where_it_is_always_asked(mode, expected):
    """Commands are mostly harmless, and clients ask of their own; who wants to be asked always is asked here too."""
    desk = Desk(mode, LATEST_LEGACY, {})
    result = desk.call(**COMMAND)["result"]
    text, run = said(result), ["POST /nodes/pve1/qemu/100/agent/exec"]
    assert desk.changes() == (run if expected == "does" else []), text
    assert result["isError"] == (expected == "refuses")
    if expected == "token":
        assert "Run in VM 100 on node pve1 this command of 8 characters: uname -a" in text
        again = dict(COMMAND["arguments"], confirm_token=result["structuredContent"]["confirm_token"])
        assert not desk.call(name=COMMAND["name"], arguments=again)["result"]["isError"] and desk.changes() == run


@pytest.mark.parametrize("version", [LATEST_LEGACY, None])
def test_who_cannot_be_asked_is_in_the_audit_log(version, tmp_path):
    path = tmp_path / "audit.log"
    Desk("always", version, {}, audit_log=str(path)).call()
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (line["event"], line["tool"], line["vmid"]) == ("refused", "proxmox_delete_vm", 107)
    assert line["error"] == "Delete VM needs the user's confirmation"


def test_a_dry_run_asks_nobody():
    desk = Desk(dry_run=True)
    assert "nothing was sent" in said(desk.call()["result"]) and desk.changes() == []


def test_what_is_not_allowed_is_refused_before_anybody_is_asked():
    for more in ({"allow_elevated": False}, {"protected_guests": ("107",)}):
        for mode in MODES:
            desk = Desk(mode, **more)
            assert said(desk.call()["result"]).startswith("\U0001f6ab") and desk.changes() == []


def test_tools_that_only_read_ask_nobody():
    desk = Desk("always", None, {})
    assert not desk.call(name="proxmox_get_vm_status")["result"]["isError"]


# --------------------------------------------------------------------------------------------------------- the question

def test_the_question_names_what_is_lost(desk):
    params = desk.ask()
    for word in ("107", "lab", "pve3", "vm-107-disk-0", "8G"):
        assert word in params["message"]
    schema = params["requestedSchema"]
    assert schema["required"] == ["confirm"] and schema["properties"]["confirm"]["type"] == "boolean"
    assert schema["properties"]["confirm"]["default"] is False
    assert schema["properties"]["confirm"]["title"] == "Delete VM 107?"
    assert params.get("mode") == ("form" if desk.modern else None)
    assert "http" not in params["message"] and desk.changes() == []


def test_yes(desk):
    desk.ask()
    assert desk.changes() == []
    result = desk.answer(yes())
    assert not result["isError"] and "VM 107 (lab) on pve3 deleted" in said(result)
    assert result["structuredContent"]["done"] is True and desk.changes() == [DONE]


NO = [
    ({"action": "decline"}, "The user declined."),
    ({"action": "cancel"}, "The question was closed without an answer."),
    ({"action": "accept", "content": {"confirm": False}}, "without ticking the box"),
    ({"action": "accept", "content": {}}, "without ticking the box"),
    ({"action": "accept"}, "without ticking the box"),
    ({"action": "accept", "content": {"confirm": "true"}}, "without ticking the box"),
    ({"action": "accept", "content": {"confirm": 1}}, "without ticking the box"),
    ({"action": "accept", "content": ["confirm"]}, "without ticking the box"),
    ({"action": "decline", "content": {"confirm": True}}, "The user declined."),
    ({"action": "ACCEPT", "content": {"confirm": True}}, "There was no answer"),
    ({"action": ["accept"], "content": {"confirm": True}}, "There was no answer"),
    ({"content": {"confirm": True}}, "There was no answer"),
    ({}, "There was no answer"),
    ({"error": {"code": -32601, "message": "no such method"}}, "There was no answer"),
]


@pytest.mark.parametrize("answer, words", NO, ids=range(len(NO)))
def test_anything_but_a_ticked_yes_is_a_no(desk, answer, words):
    desk.ask()
    result = desk.answer(answer)
    text = said(result)
    assert result["isError"] and "structuredContent" not in result
    assert text.startswith("\u274c Error: Delete VM was not confirmed\n\n")
    assert words in text and "Nothing was sent." in text
    assert "PROXMOX_CONFIRM=token" in text and desk.changes() == []


@pytest.mark.parametrize("answer, again", [({"action": "decline"}, False), ({"action": "accept"}, False),
                                           ({"action": "cancel"}, True), ({}, True)], ids=str)
def test_what_the_user_said_no_to_is_not_asked_again_for_two_minutes(desk, answer, again):
    """The same question, whatever else changed, and in a run: another one is asked."""
    desk.ask()
    desk.answer(answer)
    if not again:
        for more in ({}, {"arguments": {"vmid": 107, "wait": 9}}, {"arguments": {"vmid": "107"}}):
            assert "less than 2 minutes ago" in said(desk.call(**more)["result"])
        steps = [{"tool": DELETE["name"], "arguments": {"vmid": 107}}]
        for run in (steps, [{"tool": "proxmox_start_vm", "arguments": {"vmid": 106}}] + steps):
            told = desk.call(name="proxmox_run", arguments={"steps": run})["result"]
            assert "less than 2 minutes ago" in said(told) and desk.changes() == []
        desk.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 2})
        desk.clock.seconds += QUIET - 1
        assert "less than 2 minutes ago" in said(desk.call()["result"])
        desk.clock.seconds += 1
    before = desk.changes()
    desk.ask()
    assert "was not confirmed" in said(desk.answer({"action": "decline"})) and desk.changes() == before
    desk.clock.seconds += QUIET
    desk.ask()
    assert not desk.answer(yes())["isError"]


@pytest.mark.parametrize("answer", [None, 7, "yes", [], True])
def test_a_modern_answer_that_is_no_object_is_a_no(answer):
    desk = Desk(version=None)
    desk.ask()
    assert "was not confirmed" in said(desk.answer(answer)) and desk.changes() == []


def test_a_target_that_changed_meanwhile_is_left_alone(desk):
    desk.ask()
    desk.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 2})
    before = desk.changes()
    result = desk.answer(yes())
    assert result["isError"] and "changed since the user was asked" in said(result) and desk.changes() == before


def test_a_guest_that_is_protected_meanwhile_is_left_alone():
    """What was read before the question is read again after it, the guests' pools too."""
    desk = Desk(protected_guests=("pool:production",))
    desk.ask()
    desk.bench.cluster.world.pools["production"]["vms"].append(107)
    result = desk.answer(yes())
    assert result["isError"] and "Guest 107 is protected" in said(result) and desk.changes() == []


def test_a_target_that_is_gone_meanwhile_is_not_asked_for_twice(desk):
    desk.ask()
    desk.bench.host.run("proxmox_delete_vm", {"vmid": 107}, consent=NoConsent())
    result = desk.answer(yes())
    assert result["isError"] and desk.changes() == [DONE]


# ------------------------------------------------------------------------------------------------ while the user thinks

def test_while_the_user_thinks_everything_else_goes_on():
    desk = Desk()
    desk.ask()
    desk.talk.call("ping")
    assert not desk.call(name="proxmox_get_vm_status")["result"]["isError"]
    other = desk.talk.request("tools/call", {"name": "proxmox_delete_lxc", "arguments": {"vmid": 203}})
    asked = desk.talk.read()
    desk.talk.send({"jsonrpc": "2.0", "id": asked["id"], "result": yes()})
    assert desk.talk.read()["id"] == other and desk.changes() == ["DELETE /nodes/pve3/lxc/203"]
    assert not desk.answer(yes())["isError"] and desk.changes()[1:] == [DONE]


def test_cancelling_while_the_user_thinks():
    desk = Desk()
    desk.ask()
    desk.talk.cancel(desk.waiting)
    withdrawn = desk.talk.read()
    assert withdrawn["method"] == "notifications/cancelled" and withdrawn["params"]["requestId"] == desk.asked
    desk.talk.send({"jsonrpc": "2.0", "id": desk.asked, "result": yes()})               # too late
    assert desk.talk.quiet() and desk.changes() == []


def test_the_end_of_the_input_is_a_no():
    desk = Desk()
    desk.ask()
    desk.talk.server.finish(PATIENCE)
    assert "was not confirmed" in said(desk.talk.read()["result"]) and desk.changes() == []


# --------------------------------------------------------------------------------------------------------- requestState

TAMPERED = {
    "one character more": lambda state: state + "x",
    "one character less": lambda state: state[:-1],
    "empty": lambda state: "",
    "not ASCII": lambda state: state[:-1] + "\u00e9",
    "a lone surrogate": lambda state: state + "\ud800",
    "long": lambda state: "a" * 1000000,
    "of another process": lambda state: Kept(26).seal({"tool": "proxmox_delete_vm", "args": "", "found": ""}),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_state(how):
    desk = Desk(version=None)
    desk.ask()
    before = desk.requests()
    answer = desk.call(inputResponses={"confirm": yes()}, requestState=TAMPERED[how](desk.state))
    assert answer["error"] == BAD_STATE and desk.requests() == before


RETARGETED = [{"arguments": {"vmid": 106}}, {"arguments": {"vmid": "107"}}, {"arguments": {"vmid": 107, "purge": True}},
              {"arguments": {}},
              {"name": "proxmox_delete_lxc"}, {"name": "proxmox_stop_vm"}, {"name": "proxmox_get_vm_status"},
              {"arguments": None}]


@pytest.mark.parametrize("params", RETARGETED)
def test_a_state_for_another_call(params):
    desk = Desk(version=None)
    desk.ask()
    before = desk.requests()
    answer = desk.call(inputResponses={"confirm": yes()}, requestState=desk.state, **params)
    assert answer["error"] == BAD_STATE and desk.requests() == before


@pytest.mark.parametrize("first", [yes(), {"action": "decline"}])
def test_a_state_is_good_for_one_answer(first):
    desk = Desk(version=None)
    desk.ask()
    desk.answer(first)
    before = desk.requests()
    answer = desk.call(inputResponses={"confirm": yes()}, requestState=desk.state)
    assert answer["error"] == BAD_STATE and desk.requests() == before


def test_a_state_expires():
    now = [0.0]
    desk = Desk(version=None, clock=lambda: now[0])
    desk.ask()
    before, now[0] = desk.requests(), LIFETIME + 1
    answer = desk.call(inputResponses={"confirm": yes()}, requestState=desk.state)
    assert answer["error"] == BAD_STATE and desk.requests() == before
    desk.ask()
    now[0] += LIFETIME
    assert not desk.answer(yes())["isError"] and desk.changes() == [DONE]


def test_of_two_answers_at_once_one_counts():
    gate = threading.Barrier(2)

    desk = Desk(version=None)
    use = desk.consent.states.use
    desk.consent.states.use = lambda payload: gate.wait(PATIENCE) is not None and use(payload)
    desk.ask()
    for _ in range(2):
        desk.talk.modern("tools/call", dict(DELETE, inputResponses={"confirm": yes()}, requestState=desk.state))
    answers = sorted((desk.talk.read() for _ in range(2)), key=lambda answer: "error" in answer)
    assert not answers[0]["result"]["isError"] and answers[1]["error"] == BAD_STATE
    assert desk.changes() == [DONE]


@pytest.mark.parametrize("params", [{}, {"inputResponses": {}}, {"inputResponses": {"other": yes()}}])
def test_a_retry_without_the_answer_asks_again(params):
    desk = Desk(version=None)
    desk.ask()
    again = desk.call(requestState=desk.state, **params)["result"]
    assert again["resultType"] == "input_required" and "107" in again["inputRequests"]["confirm"]["params"]["message"]
    desk.state = again["requestState"]
    assert not desk.answer(yes())["isError"]


def test_an_answer_without_a_question_asks():
    desk = Desk(version=None)
    result = desk.call(inputResponses={"confirm": yes()})["result"]
    assert result["resultType"] == "input_required" and desk.changes() == []


@pytest.mark.parametrize("mode", ["auto", "off", "token"])
def test_a_bad_state_is_refused_whatever_the_mode(mode):
    desk = Desk(mode, None)
    assert desk.call(requestState="v1.x.y")["error"] == BAD_STATE and desk.requests() == 0


def test_a_legacy_call_has_no_state():
    desk = Desk()
    desk.talk.request("tools/call", dict(DELETE, requestState="v1.x.y", inputResponses={"confirm": yes()}))
    assert desk.talk.read()["method"] == "elicitation/create" and desk.changes() == []


# -------------------------------------------------------------------------------------------------------- confirm_token

@pytest.fixture(params=[(LATEST_LEGACY, {}), ("2024-11-05", {}), (None, {}), (None, ELICITATION)], ids=str)
def two_steps(request):
    return Desk("token", *request.param)


def token_of(desk):
    result = desk.call()["result"]
    token = said(result).rpartition("\n")[2]
    assert "structuredContent" not in result or result["structuredContent"]["confirm_token"] == token
    assert token in said(result) and desk.changes() == []
    return token


def with_token(token, **more):
    return {"arguments": dict({"vmid": 107}, confirm_token=token, **more)}


def test_two_steps(two_steps):
    plan = said(two_steps.call()["result"])
    for word in ("107", "lab", "pve3", "vm-107-disk-0", "8G", "proxmox_delete_vm", "confirm_token", "5 minutes"):
        assert word in plan
    assert len(plan.rpartition("\n")[2]) == 8
    result = two_steps.call(**with_token(token_of(two_steps)))["result"]
    assert not result["isError"] and "deleted" in said(result) and two_steps.changes() == [DONE]


WRONG = [lambda token: token + "x", lambda token: token[:-1], lambda token: token.upper(), lambda token: "",
         lambda token: " " + token, lambda token: token[:-1] + "\u00e9", lambda token: token[:-1] + "\ud800",
         lambda token: "a" * 1000000, lambda token: Kept(8).seal({})]


@pytest.mark.parametrize("how", WRONG, ids=range(len(WRONG)))
def test_a_wrong_token(how):
    desk = Desk("token", None)
    token = how(token_of(desk))
    before = desk.requests()
    result = desk.call(**with_token(token))["result"]
    assert result["isError"] and "not valid" in said(result) and desk.requests() == before


def test_whoever_guesses_has_five_tries_a_minute():
    now = [0.0]
    desk = Desk("token", clock=lambda: now[0])
    token = token_of(desk)
    before = desk.requests()
    for _ in range(5):
        assert "not valid" in said(desk.call(**with_token("aaaaaaaa"))["result"])
        now[0] += 10
    for _ in range(3):                                                  # the right one neither
        assert "next 10 seconds" in said(desk.call(**with_token(token))["result"])
    assert desk.requests() == before
    now[0] += 10
    assert not desk.call(**with_token(token))["result"]["isError"] and desk.changes() == [DONE]


def test_no_more_than_a_hundred_tokens_are_kept():
    tokens = Kept(8)
    made = [tokens.seal({"number": number}) for number in range(150)]
    assert [tokens.open(token)["number"] for token in made if tokens.open(token)] == list(range(50, 150))


@pytest.mark.parametrize("params", [with_token("?", purge=True), dict(with_token("?"), name="proxmox_delete_lxc"),
                                    {"arguments": {"vmid": 106, "confirm_token": "?"}},
                                    dict(arguments={"vmid": 203, "confirm_token": "?"}, name="proxmox_delete_lxc")])
def test_a_token_for_another_call(params):
    desk = Desk("token", None)
    params["arguments"] = dict(params["arguments"], confirm_token=token_of(desk))
    result = desk.call(**params)["result"]
    assert result["isError"] and desk.changes() == []


@pytest.mark.parametrize("token", [7, True, [], {}])
def test_a_token_that_is_no_text(token):
    desk = Desk("token")
    assert desk.call(**with_token(token))["result"]["isError"] and desk.requests() == 0


def test_a_token_is_good_once_and_for_five_minutes():
    now = [0.0]
    desk = Desk("token", clock=lambda: now[0])
    token = token_of(desk)
    now[0] = LIFETIME + 1
    assert "older than 5 minutes" in said(desk.call(**with_token(token))["result"])
    token = token_of(desk)
    assert not desk.call(**with_token(token))["result"]["isError"]
    before = desk.requests()
    assert "was already used" in said(desk.call(**with_token(token))["result"]) and desk.requests() == before
    assert desk.changes() == [DONE]


def test_a_token_for_a_target_that_changed():
    desk = Desk("token")
    token = token_of(desk)
    desk.bench.host.run("proxmox_resize_vm", {"vmid": 107, "cores": 2})
    before = desk.changes()
    assert "changed since the confirm_token" in said(desk.call(**with_token(token))["result"])
    assert desk.changes() == before


def test_of_two_tokens_at_once_one_counts():
    gate = threading.Barrier(2)

    desk = Desk("token", None)
    use = desk.consent.tokens.use
    desk.consent.tokens.use = lambda payload: gate.wait(PATIENCE) is not None and use(payload)
    token = token_of(desk)
    for _ in range(2):
        desk.talk.modern("tools/call", dict(DELETE, **with_token(token)))
    assert sorted(desk.talk.read()["result"]["isError"] for _ in range(2)) == [False, True]
    assert desk.changes() == [DONE]


def test_the_argument_exists_where_it_has_a_use():
    for mode in MODES:
        desk = Desk(mode)
        tools = {tool["name"]: tool["inputSchema"].get("properties", {})
                 for tool in desk.talk.call("tools/list")["result"]["tools"]}
        assert ("confirm_token" in tools["proxmox_delete_vm"]) == (mode == "token")
        assert "confirm_token" not in tools["proxmox_get_vms"]
        result = desk.call(name="proxmox_get_vm_status", arguments={"vmid": 107, "confirm_token": "x"})["result"]
        assert result["isError"] and "confirm_token: unknown argument" in said(result)
        if mode != "token":
            assert "confirm_token: unknown argument" in said(desk.call(**with_token("x"))["result"])


# ---------------------------------------------------------------------------------------------------------------- seals

def test_seals():
    now = [5.0]
    kept = Kept(26, lambda: now[0])
    sealed = kept.seal({"a": 1})
    payload = kept.open(sealed)
    assert payload["a"] == 1 and kept.open(sealed) == payload and sealed != kept.seal({"a": 1}) and len(sealed) == 26
    assert kept.use(payload) and not kept.use(payload) and kept.open(sealed) is None
    late = kept.open(kept.seal({}))
    now[0] += LIFETIME + 1
    assert not kept.use(late)                                           # it was good when it was opened
    other = kept.open(kept.seal({}))
    assert len(kept._kept) == 1 and kept.use(other)                     # what has expired is not kept


def test_what_a_seal_compares_does_not_depend_on_the_order_of_keys():
    assert digest({"b": 1, "a": [1, 2]}) == digest({"a": [1, 2], "b": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})


def test_the_token_never_reaches_proxmox_or_the_log():
    desk = Desk("token")
    token = token_of(desk)
    desk.call(**with_token(token))
    assert not any(token in json.dumps(params) for _, _, params in desk.bench.cluster.requests)
