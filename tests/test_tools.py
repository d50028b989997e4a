"""Every tool on the demo cluster: arguments in, exact requests out. The cases are the CASES of all test modules.

A case is (tool, arguments, lines): what `Bench.sent()` says of the call, line by line and in order; polls of a task
(GET /nodes/NODE/tasks/...) are left out, but for the toolset "tasks". A fourth element is a function(bench) that
prepares the cluster first; the dict it may return is put into the {names} of the case's arguments and lines.
"""
import glob
import importlib
import os
import re

import pytest

import support
import tools
from tools.base.row import NOT_PARAMETERS
from tools.base.schema import fields
from tools.pve import text

_HERE = os.path.dirname(os.path.abspath(__file__))
_POLL = re.compile(r"GET /nodes/[^/]+/tasks/")


def _cases():
    for path in sorted(glob.glob(os.path.join(_HERE, "test_*.py"))):
        with open(path, encoding="utf-8") as stream:
            if "\nCASES = [" in stream.read():
                module = os.path.basename(path)[:-3]
                for number, case in enumerate(importlib.import_module(module).CASES):
                    yield pytest.param(*(case if len(case) == 4 else tuple(case) + (None,)),
                                       id="%s-%d-%s" % (module[5:], number, case[0].replace("proxmox_", "")))


CASES_OF_ALL = list(_cases())
ROWS = {name: (toolset, tool) for toolset, name, tool in tools.all_rows()}


def _fill(value, words):
    """`value` (text, list or dict) with {name} replaced by words[name]."""
    if isinstance(value, str):
        for key, word in (words or {}).items():
            value = value.replace("{%s}" % key, str(word))
        return value
    if isinstance(value, dict):
        return {key: _fill(part, words) for key, part in value.items()}
    return [_fill(part, words) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name, arguments, lines, prepare", CASES_OF_ALL)
def test_requests(name, arguments, lines, prepare):
    bench = support.Bench()
    words = prepare(bench) if prepare else None
    answer = bench.run(name, **_fill(arguments, words))
    toolset, tool = ROWS[name]
    sent = bench.sent()
    if toolset != "tasks":
        sent = [line for line in sent if not _POLL.match(line)]
    assert sent == _fill(lines, words), answer.text
    assert not answer.failed, answer.text
    assert _misfit(answer.data, tool.returns.schema()) is None
    assert text.weight(answer.text) + text.weight(answer.data) <= text.CAP
    if not tool.changes:
        assert all(line.startswith("GET ") for line in sent)


def test_every_tool_has_a_case():
    assert sorted(set(ROWS) - {case.values[0] for case in CASES_OF_ALL}) == []


def test_every_argument_is_in_a_case():
    """In one of the tool or of its twin; what all tools share (node, wait, limit ...) is tested where it is made."""
    used = {(_both(case.values[0]), argument) for case in CASES_OF_ALL for argument in case.values[1]}
    known = {(_both(name), field.name) for name, (_, tool) in ROWS.items() for field in fields(tool.args)
             if field.name not in NOT_PARAMETERS}
    assert sorted(known - used) == []


def _both(name):
    return re.sub("_(vm|lxc)$", "", name)


_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}


def _misfit(value, schema, where="data"):
    """Where `value` is not what `schema` (type, properties, required, items) promises, or None."""
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or isinstance(value, bool) != (kind == "boolean")):
        return "%s is not of type %s: %r" % (where, kind, value)
    if kind == "object":
        for key in schema.get("required", ()):
            if key not in value:
                return "%s has no %s" % (where, key)
        parts = [(value[key], part, "%s.%s" % (where, key)) for key, part in schema.get("properties", {}).items()
                 if key in value]
    else:
        parts = [(entry, schema.get("items", {}), "%s[]" % where) for entry in value] if kind == "array" else []
    return next(filter(None, (_misfit(*part) for part in parts)), None)
