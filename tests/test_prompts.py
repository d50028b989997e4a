"""Prompts: what they ask for, and that they speak of tools and arguments that exist."""
import json
import re

import pytest

from engine import Talk
from support import settings
from tools import surface
from tools.mcp import prompts
from tools.mcp.app import App
from tools.mcp.message import RpcError
from tools.mcp.prompts import PROMPTS

GIVEN = {"vmid": "100", "node": "pve1", "storage": "local", "snapname": "before", "symptom": "it hangs",
         "change": "a new disk",
         "reason": "more memory", "days": "3", "wanted": "3 VMs"}


def said(name, **arguments):
    message = prompts.get(name, arguments)["messages"]
    assert [part["role"] for part in message] == ["user"] and message[0]["content"]["type"] == "text"
    return message[0]["content"]["text"]


def required(name):
    return {argument.name: GIVEN[argument.name] for argument in PROMPTS[name].arguments if argument.required}


def test_the_list():
    listed = prompts.listed()
    assert [prompt["name"] for prompt in listed] == list(PROMPTS)
    for prompt in listed:
        assert re.fullmatch(r"[a-z_]{1,40}", prompt["name"]) and prompt["title"] and prompt["description"]
        assert all(set(argument) == {"name", "description", "required"} for argument in prompt["arguments"])
    assert len(json.dumps(listed)) < 5000


@pytest.mark.parametrize("name", PROMPTS)
def test_each_prompt(name):
    arguments = {argument.name: GIVEN[argument.name] for argument in PROMPTS[name].arguments}
    for text in (said(name, **arguments), said(name, **required(name))):
        assert not re.search(r"\{\w+\}|\[\w+:|  |\n ", text) and "change nothing unless I agree" in text
    full = said(name, **arguments)
    assert all(value in full for value in arguments.values())


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_name_tools_and_arguments_that_exist(name):
    tools = {entry["name"]: entry["tool"]["inputSchema"].get("properties", {}) for entry in surface()}
    text = PROMPTS[name].text
    named = re.findall(r"proxmox_\w+", text)
    assert named and set(named) <= set(tools)
    for tool, argument in re.findall(r"(proxmox_\w+) with (\w+)=", text):
        assert argument in tools[tool]


def test_what_was_left_out_is_not_spoken_of():
    assert "What I see" not in said("diagnose_guest", vmid="100")
    assert "What I see: slow" in said("diagnose_guest", vmid="100", symptom="slow")
    assert "7 days" in said("missing_backups") == said("missing_backups", days="7")
    assert "30 days" in said("missing_backups", days=" 30 ")
    assert said("capacity", wanted="  ") == said("capacity")


def test_what_is_filled_in_is_not_looked_into():
    assert "{vmid} [symptom:x] \\1" in said("diagnose_guest", vmid="100", symptom="{vmid} [symptom:x] \\1")


WRONG = [
    ("nope", {}, "Unknown prompt: nope"), ("", {}, "Unknown prompt"), ("diagnose_guest", {}, "vmid: missing"),
    ("diagnose_guest", {"vmid": " "}, "vmid: missing"), ("diagnose_guest", {"vmid": "web01"}, "vmid: 'web01'"),
    ("diagnose_guest", {"vmid": "100\n"}, None), ("diagnose_guest", {"vmid": "99"}, "vmid: '99'"),
    ("diagnose_guest", {"vmid": "100", "node": "pve1"}, "arguments of the prompt diagnose_guest: node: unknown"),
    ("capacity", {"nodes": " "}, r"nodes: unknown \(known: wanted\)"),
    ("diagnose_guest", {"vmid": "100", "symptom": "x" * 501}, "longer than 500"),
    ("plan_node_maintenance", {"node": "../x"}, "node: '../x'"), ("missing_backups", {"days": "0"}, "days: '0'"),
    ("missing_backups", {"days": "a week"}, "days: 'a week'"),
    ("missing_backups", {"storage": "a/b"}, "storage: 'a/b'"),
    ("before_risky_change", {"vmid": "100"}, "change: missing"),
    ("before_risky_change", {"vmid": "x", "snapname": "1"}, r"vmid: 'x'.*snapname: '1'.*change: missing")]


@pytest.mark.parametrize("name, arguments, words", WRONG)
def test_arguments_that_do_not_fit(name, arguments, words):
    if words is None:
        assert "guest 100" in said(name, **arguments)
        return
    with pytest.raises(RpcError, match=words):
        prompts.get(name, arguments)


def test_over_mcp():
    talk = Talk(App(settings(), None))
    assert len(talk.call("prompts/list")["result"]["prompts"]) == len(PROMPTS)
    result = talk.call_modern("prompts/get", {"name": "diagnose_guest", "arguments": {"vmid": "104"}})["result"]
    assert set(result) == {"resultType", "description", "messages"}
    assert "guest 104" in result["messages"][0]["content"]["text"]
    for params in ({"name": "nope"}, {"name": "diagnose_guest"},
                   {"name": "diagnose_guest", "arguments": {"vmid": 104}}):
        assert talk.call("prompts/get", params)["error"]["code"] == -32602


def test_prompts_need_no_proxmox():
    talk = Talk(App(settings(), None))
    talk.call("prompts/get", {"name": "capacity"})
    assert talk.server.app().host.made is None
