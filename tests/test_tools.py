"""Every tool on the demo cluster: arguments in, exact requests out, for the cases of all toolsets."""
import re

import pytest

import tools
from cases import CASES, OF, ran
from support import Bench, each
from tools.base.answers import output_schema
from tools.base.row import NOT_PARAMETERS
from tools.base.schema import fields, parse
from tools.pve import text

_POLL = re.compile(r"GET /nodes/[^/]+/tasks/")
ROWS = {name: (toolset, tool) for toolset, name, tool in tools.all_rows()}


@pytest.mark.parametrize("case", CASES)
def test_requests(case):
    lines, sent, _, answer, _ = ran(case)
    toolset, tool = ROWS[CASES[case].tool]
    if toolset != "tasks":
        sent = [line for line in sent if not _POLL.match(line)]
    assert sent == lines, answer.text
    assert not answer.failed, answer.text
    assert _misfit(answer.data, output_schema(tool.returns)) is None
    assert text.weight(answer.text) + text.weight(answer.data) <= text.CAP
    if not tool.changes:
        assert all(line.startswith("GET ") for line in sent)


EMPTY = {str: "", int: 0, float: 0, bool: False, list: [], dict: {}}


@pytest.mark.parametrize("empty", [EMPTY, dict.fromkeys(EMPTY, ""), dict.fromkeys(EMPTY)],
                         ids=["by type", "texts", "nulls"])
@each("case", CASES.values())
def test_what_a_proxy_fills_in_is_not_given(case, empty):
    """All that a case leaves out, filled in; but where only one 0 or false is left, which is taken at its word."""
    arguments, args = case.on(Bench())[0] if case.prepare else case.arguments, ROWS[case.tool][1].args
    more = {field.name: empty[field.type] for field in fields(args) if not field.required and field.arg.published
            and not {field.name, *field.aliases} & set(arguments)}
    if list(more.values()) not in ([0], [False]) and not any(value in (None, 0, False, "")
                                                             for value in arguments.values()):
        assert parse(args, {**arguments, **more}) == parse(args, arguments)


def test_every_tool_has_a_case():
    assert sorted(set(ROWS) - set(OF)) == []


def test_every_argument_is_in_a_case():
    """In one of the tool or of its twin; what all tools share (node, wait, limit ...) is tested where it is made."""
    used = {(_both(case.tool), argument) for case in CASES.values() for argument in case.arguments}
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
