"""What a client gets of an answer (PROXMOX_ANSWERS), and that the data says all that the text says."""
import json

import pytest

import tools
from engine import Talk
from support import Bench, settings
from tools.mcp.app import App
from tools.mcp.consent import Consent

ANSWERS = ("text", "data", "both")


def client(answers, version="2025-11-25"):
    """A client of a server on the demo cluster."""
    bench = Bench(answers=answers, consent=Consent("auto"))
    return Talk(App(bench.host.settings, bench.host.log, bench.host), version)


# ------------------------------------------------------------------------------------------------------------ the modes

def result_of(answers, name, arguments, version="2025-11-25"):
    return client(answers, version).call("tools/call", {"name": name, "arguments": arguments})["result"]


def test_the_text_alone_is_the_default():
    assert settings().answers == "text"
    result = result_of("text", "proxmox_get_nodes", {})
    assert set(result) == {"content", "isError"} and result["content"][0]["text"].startswith("\u2705 3 nodes")


def test_data_is_there_in_both_ways_to_show_it():
    """A client that shows the text has all of it, and so has one that shows the structured content."""
    result = result_of("data", "proxmox_get_nodes", {})
    data = result["structuredContent"]
    assert [json.loads(part["text"]) for part in result["content"]] == [data]
    assert data["total"] == 3 and data["summary"].startswith("3 nodes")
    older = result_of("data", "proxmox_get_nodes", {}, "2024-11-05")
    assert "structuredContent" not in older and json.loads(older["content"][0]["text"])["total"] == 3


def test_both_are_the_text_and_the_data():
    result = result_of("both", "proxmox_get_nodes", {})
    assert result["content"][0]["text"].startswith("\u2705 3 nodes") and result["structuredContent"]["total"] == 3


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_failure_is_a_text(answers):
    result = result_of(answers, "proxmox_get_vm_status", {"vmid": 999})
    assert result["isError"] and "structuredContent" not in result
    assert result["content"][0]["text"].startswith("\u274c Error: ")


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_schema_of_the_data_is_listed_where_there_is_data(answers):
    listed = client(answers).call("tools/list")["result"]["tools"]
    assert len(listed) == len(tools.surface())
    if answers == "text":
        assert not any("outputSchema" in tool for tool in listed)
    else:
        rows = {name: row for _, name, row in tools.all_rows()}
        for tool in listed:
            schema = tool["outputSchema"]
            assert {"summary", "notes"} <= set(schema["properties"])
            assert set(rows[tool["name"]].returns.schema()["properties"]) <= set(schema["properties"])
