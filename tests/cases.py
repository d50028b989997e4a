"""The cases of the toolsets (CASES of test_TOOLSET.py), for the tests that go over every tool.

A case is (tool, arguments, lines): what `Bench.sent()` says of the call, line by line and in order; polls of a task
(GET /nodes/NODE/tasks/...) are left out, but for the toolset "tasks". A fourth element is a function(bench) that
prepares the cluster first; the dict it may return is put into the {names} of the case's arguments and lines.
"""
import functools
import importlib
from typing import Callable, NamedTuple, Optional

import tools
from support import Asked, Bench


class Case(NamedTuple):
    tool: str
    arguments: dict
    lines: list
    prepare: Optional[Callable] = None

    def on(self, bench):
        """(arguments, lines) on a bench, which is prepared for them."""
        words = self.prepare(bench) if self.prepare else None
        return _fill(self.arguments, words), _fill(self.lines, words)


def _fill(value, words):
    """`value` (text, list or dict) with {name} replaced by words[name]."""
    if isinstance(value, str):
        for key, word in (words or {}).items():
            value = value.replace("{%s}" % key, str(word))
        return value
    if isinstance(value, dict):
        return {key: _fill(part, words) for key, part in value.items()}
    return [_fill(part, words) for part in value] if isinstance(value, list) else value


class Ran(NamedTuple):
    """What a case came to: its lines; the requests of the call, as they were sent; its Answer; what the user was asked.
    """
    lines: list
    sent: list
    requests: list
    answer: object
    questions: list


@functools.lru_cache(maxsize=None)
def ran(ident, confirm="auto"):
    """The Ran of a case (its id) on a cluster of its own, with a user who says yes: once for all tests that look."""
    consent, case = Asked(), CASES[ident]
    bench = Bench(consent=consent, confirm=confirm)
    arguments, lines = case.on(bench)
    answer = bench.run(case.tool, **arguments)
    return Ran(lines, bench.sent(), bench.cluster.requests[bench._seen:], answer, consent.questions)


def ran_of(tool, confirm="auto"):
    """The Ran of each case of a tool."""
    return [ran(ident, confirm) for ident, case in CASES.items() if case.tool == tool]


#: All there are, by an id for pytest: {"guests-0-list_vms": Case}.
CASES = {"%s-%d-%s" % (toolset, number, case[0].replace("proxmox_", "")): Case(*case)
         for toolset in tools.TOOLSETS
         for number, case in enumerate(importlib.import_module("test_" + toolset).CASES)}
#: tool -> its cases.
OF = {}
for _case in CASES.values():
    OF.setdefault(_case.tool, []).append(_case)
