"""What is generated is up to date (tools.json, the golden list of tools, the README's tables) and the surface small."""
import json
import os
import re

import pytest

import readme
import tools
from support import HINTS, Bench, settings
from tools.base.schema import fields
from tools.mcp import cli
from tools.mcp.app import App
from tools.mcp.message import RpcError
from tools.policy.settings import _tools

HERE = os.path.dirname(os.path.abspath(__file__))


def test_tools_json_is_what_the_rows_say():
    for name, content in tools.generate().items():
        with open(os.path.join(os.path.dirname(tools.__file__), name), encoding="ascii") as stream:
            assert stream.read() == content, "run: python3 proxmox_mcp.py tools --write"


@pytest.mark.parametrize("name", tools.REMOVED)
def test_a_tool_that_is_gone_is_answered_with_what_does_it_now(name):
    known = {entry["name"] for entry in tools.surface()}
    assert name not in known and set(re.findall("proxmox_[a-z_]+", tools.REMOVED[name])) & known
    bench, says = Bench(), "Use %s." % tools.REMOVED[name]
    with pytest.raises(RpcError, match="Unknown tool: %s. %s" % (name, re.escape(says))):
        App(bench.host.settings, None, bench.host).call_tool(None, name, {})
    assert says in bench.run("proxmox_run", steps=[{"tool": name}]).text
    with pytest.raises(cli.Stop, match=re.escape(says)):
        cli._entry(name)
    with pytest.raises(ValueError, match=re.escape("; u" + says[1:-1])):
        _tools(name[8:])


def test_golden_list_of_tools(capsys, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROXMOX_")]:
        monkeypatch.delenv(name)
    cli.run(["tools"], "1.0.0", "proxmox_mcp.py")
    with open(os.path.join(HERE, "tools.txt"), encoding="utf-8") as stream:
        assert capsys.readouterr().out == stream.read(), "run: python3 proxmox_mcp.py tools > tests/tools.txt"


def test_readme_tables_are_current():
    with open(readme.path(), encoding="utf-8") as stream:
        text = stream.read()
    assert readme.filled(text) == text, "run: python3 tests/readme.py"


def test_readme_shows_every_tool_with_its_arguments_and_whether_it_needs_elevation():
    shown = {}
    for line in readme.tools_table().splitlines():
        names, given, lock, says = line.strip("| ").split(" | ")[-4:] if "`proxmox_" in line else [""] * 4
        for part in re.findall(r"`(\w+)`", names):
            name = part if part.startswith("proxmox_") else re.findall(r"`(\w+)_vm`", names)[0] + part
            kind = "container" if "_lxc" in name else "VM"
            words = [group.split(": ")[-1] for group in given.split("; ") if group.split(": ")[0] in (kind, group)]
            assert name not in shown and says and (kind in says or not name.endswith(("_vm", "_lxc"))), name
            shown[name] = (sorted(", ".join(words).strip().split(", ")), lock.strip())
    rows = {name: (sorted(map(readme.marked, fields(tool.args))) or [""],
                   readme.LOCKS[tool.tier]) for _, name, tool in tools.all_rows()}
    assert shown == rows


def _bytes(value):
    return len(json.dumps(value, separators=(",", ":")))


#: Word of PROXMOX_TOOLS -> most bytes of all its names, descriptions and input schemas; None: 320 a tool.
MOST = {"all": 38050, "readonly": None, "daily": 13000, "minimal": 2400}


@pytest.mark.parametrize("words", MOST)
def test_the_surface_is_small_enough_to_carry(words):
    """A model pays for every byte of it, whatever it is asked."""
    listed = App(settings(tools=(words,)), None).tools()
    needed = sum(_bytes({key: tool[key] for key in ("name", "description", "inputSchema")}) for tool in listed)
    assert needed <= (MOST[words] or 320 * len(listed))
    assert _bytes({"tools": listed}) <= 1.3 * needed


def test_a_tool_for_containers_does_not_speak_of_vms():
    for entry in tools.surface():
        if "_lxc" in entry["name"]:
            assert not re.search(r"\bVM\b", entry["tool"]["description"]), entry["name"]


def test_names_and_schemas_pass_the_strictest_clients():
    for entry in tools.surface():
        tool = entry["tool"]
        assert re.fullmatch(r"[a-z0-9_]{1,40}", tool["name"]), tool["name"]
        assert tool["description"] and "(one" not in tool["description"], tool["name"]
        for schema in (tool["inputSchema"], tools.outputs()[tool["name"]]):
            assert schema["type"] == "object" and "properties" in schema
            _plain(schema, tool["name"])


#: JSON Schema type -> what else may be said of it: what google-genai, llama.cpp, OpenAI and the others all convert.
KEYWORDS = {"object": {"properties", "required"}, "array": {"items"}, "string": {"enum"}, "integer": set(),
            "number": set(), "boolean": set()}


def _plain(schema, name):
    """Every part has one type and nothing that some client cannot convert; lists say what is in them."""
    assert set(schema) <= {"type", "description"} | KEYWORDS[schema["type"]], (name, schema)
    assert schema.get("description") != "" and schema.get("enum") != [], name
    assert set(schema.get("required", ())) <= set(schema.get("properties", {})), name
    for part in schema.get("properties", {}).values():
        _plain(part, name)
    if schema["type"] == "array":
        _plain(schema["items"], name)


def test_annotations_follow_what_a_tool_sends():
    for _, name, tool in tools.all_rows():
        said = next(e for e in tools.surface() if e["name"] == name)["tool"]["annotations"]
        hints = dict(HINTS, **said)
        assert not said.items() & HINTS.items(), "%s: says what is taken for granted" % name
        assert hints["readOnlyHint"] == (not tool.changes) and hints["openWorldHint"] is False, name
        assert hints["readOnlyHint"] or hints["destructiveHint"] == tool.destroys, name
        assert hints["readOnlyHint"] or hints["idempotentHint"] == bool(tool.repeats), name
        assert tool.verb == "GET" or not hints["readOnlyHint"], name
