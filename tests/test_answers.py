"""What a client gets of an answer (PROXMOX_ANSWERS), and that the data says all that the text says."""
import json
import re

import pytest

import tools
from cases import CASES, ran
from engine import Talk
from support import Bench, each, settings
from tools.base.answers import Result
from tools.mcp.app import App
from tools.mcp.consent import Consent
from tools.pve import text

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


# ------------------------------------------------------------------------------------- what the text says, and the data

#: Ways to show a number of the data.
WAYS = (str, text.size, lambda v: text.size(v * 1048576), text.percent, text.duration, "{:,}".format, "%g".__mod__,
        "%.2f".__mod__, lambda v: "%d" % (v * 100))
#: Numbers of one object of which the text shows the share: a part, the whole.
SHARES = [("mem", "maxmem"), ("disk", "maxdisk"), ("swap", "maxswap"), ("used", "total"), ("alloc", "size"),
          ("used", "lv_size"), ("metadata_used", "metadata_size"), ("memory_used", "memory_total"),
          ("swap_used", "swap_total"), ("root_used", "root_total")]
#: Words in cells that stand between those of the data, or for one of them.
FORMATTING = set("of by in and more other others core cores socket sockets x container vm free".split()) | set(
    "out read written switched on the config".split())


def words(value):
    """The words and numbers of a value of the data, in all ways to show them."""
    if isinstance(value, dict):
        shares = [text.percent(value[part] / value[whole]) for part, whole in SHARES
                  if value.get(whole) and isinstance(value.get(part), (int, float))]
        return set().union(*(words(key) | words(part) for key, part in value.items()), *map(split, shares))
    if isinstance(value, (list, tuple)):
        return set().union({str(len(value))}, *map(words, value))
    shown = [str(value)]
    if isinstance(value, bool):
        shown = ["yes" if value else "no", str(int(value))]
    elif isinstance(value, (int, float)):
        shown = [way(value) for way in WAYS] + [text.when(value)] * (1e9 < value < 5e9)
    elif re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", value):
        shown += [way(float(value)) for way in WAYS]
    elif re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        shown.append(text.when(value))
    return set().union(*map(split, shown))


def split(line):
    return set(re.findall(r"[^\W_]+(?:[.,][0-9]+)*", line.lower()))


def unsaid(answer):
    """Lines of an Answer's text that are not in its data, with the words that are missing there."""
    data = dict(answer.data)
    first, *lines = answer.text[2:].split("\n")
    assert data.pop("summary") == first
    notes, known, missing = data.pop("notes", []), words(data), []
    for line in lines:
        if line in notes or line == line.upper():       # of a table the line of its headings
            continue
        if line.startswith("| "):                       # what a guest or a log says
            line = line[2:]
        else:                                           # the heading of a value, or of a chart
            line = re.sub(r"^[^:]*:(?: |$)|^.*?[\u2581-\u2588]+|and [0-9,]+ more", "", line)
        left = split(line) - known - FORMATTING
        if left:
            missing.append((line, sorted(left)))
    return missing


def epochs(value, key=""):
    """Keys of the data under which a number is that can only be a time: epoch seconds, from 2017 to 2033."""
    if isinstance(value, dict):
        return [found for name, part in value.items() for found in epochs(part, name)]
    if isinstance(value, list):
        return [found for part in value for found in epochs(part, key)]
    late = isinstance(value, (int, float)) and 1.5e9 < value < 2e9
    return [key] if late and not re.search("mem|disk|size|used|avail|total|free|swap", key) else []


@each("case", CASES)
def test_the_data_says_all_that_the_text_says(case):
    """The first line is the summary; every other one is among the notes, word for word, or made from the data. The
    notes say nothing that the data says: no table, no log. No `status` is at the top but a guest's."""
    tool, answer = CASES[case].tool, ran(case).answer
    assert unsaid(answer) == []
    assert not [note for note in answer.data.get("notes", ()) if note.startswith("| ") or "  " in note.strip()]
    assert "status" not in answer.data or tool == "proxmox_get_vm_status"
    assert epochs(answer.data) == [] or tool == "proxmox_api_call"     # which hands on what Proxmox says


def test_parts_of_an_answer():
    said = Result(["head\nmore", text.Shown("A  B"), None, "one\ntwo"], {"a": 1})
    assert said.text == "head\nmore\nA  B\none\ntwo"
    assert said.whole() == {"summary": "head", "notes": ["more", "one", "two"], "a": 1}
    assert Result("head", {"a": 1}).whole() == {"summary": "head", "a": 1}


def test_the_data_of_a_change():
    """What it was, what it is, what waits; its task apart, and whether all is done."""
    bench = Bench()
    data = bench.run("proxmox_resize_vm", vmid=100, memory=8192).data
    assert data["changes"] == {"memory": {"old": "4096", "new": "8192"}} and data["waiting"] == ["memory"]
    assert data["done"] is True and data["notes"][0].startswith("Not in effect yet: memory waits for a restart")
    data = bench.run("proxmox_shutdown_vm", vmid=101, wait=0).data
    assert data["done"] is False and data["task"]["status"] == "running" and data["task"]["upid"] in data["notes"][0]
    assert "warnings" not in data["task"]               # it is not known yet whether there are any
    assert Bench(dry_run=True).run("proxmox_stop_vm", vmid=100).data == {
        "summary": "Dry run (PROXMOX_DRY_RUN): nothing was sent. proxmox_stop_vm would send:", "done": False,
        "requests": [{"method": "POST", "path": "/api2/json/nodes/pve1/qemu/100/status/stop", "parameters": {}}]}


def test_times_are_iso_8601_with_a_zone():
    rows = Bench().run("proxmox_list_backups", node="pve1", storage="nas").data["items"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["ctime"]) for row in rows) and rows
    assert text.normal("time", "1767225600") == "2026-01-01T00:00:00Z"
    for odd in ("soon", None, 1e300, float("nan"), [], 10 ** 30):
        assert text.normal("time", odd) is None


def test_the_schema_tells_units():
    properties = tools.outputs()["proxmox_get_vms"]["properties"]["items"]["items"]["properties"]
    assert properties["mem"] == {"type": "integer", "description": "bytes"}
    assert properties["uptime"]["description"] == "seconds" and properties["cpu"]["description"] == "of 1"
