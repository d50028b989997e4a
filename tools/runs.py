"""Toolset: many steps under one question."""
from dataclasses import dataclass
from typing import Annotated, List, Optional

from tools.base.answers import Table, result
from tools.base.row import BASIC, DESTRUCTIVE, Tool, Wait
from tools.base.schema import REQUIRED, Arg, ArgumentProblems
from tools.pve import text
from tools.pve.text import Column


@dataclass
class Run:
    """Do several tool calls as one: checked and asked about as a whole, then done in order to the first failure.
    plan=true only shows it."""
    steps: Annotated[List[dict], Arg('{"tool": NAME, "arguments": {}}', min_length=1, max_length=100)] = REQUIRED
    plan: bool = False
    on_failure: Annotated[Optional[str], Arg(published=False, enum=("stop", "continue"))] = None
    wait: Wait = None


@dataclass
class GetRun:
    """Follow a run; without id, list them. stop=true ends it after its present step."""
    id: Annotated[Optional[str], Arg(max_length=20)] = None
    wait: Wait = 0
    stop: bool = False


def run(call):
    """Check the shape of the steps; the rest is done where runs are kept (tools.mcp.runs)."""
    steps, problems, here = [], [], call.host.settings.cluster
    for number, step in enumerate(call.args.steps, 1):
        tool, arguments = step.get("tool", step.get("name")), step.get("arguments", step.get("args", {}))
        unknown = sorted(set(step) - {"tool", "name", "arguments", "args"})
        if not isinstance(tool, str) or not isinstance(arguments, dict) or unknown:
            problems.append("Step %d must be {\"tool\": NAME, \"arguments\": {...}}%s." % (
                number, "; it has %s" % text.line(", ".join(unknown), 100) if unknown else ""))
        elif here and arguments.get("cluster", here) != here:
            problems.append("Step %d names another cluster, and all steps of a run are on one: %s." % (number, here))
        else:
            if here:
                arguments = {name: value for name, value in arguments.items() if name != "cluster"}
            steps.append((tool if tool.startswith("proxmox_") else "proxmox_" + tool, arguments))
    if problems:
        raise ArgumentProblems(problems)
    return call.host.runs.do(call, steps, call.args.on_failure == "continue", call.args.plan)


RUNS = Table("run", Column("id"), Column("at", "begun", "time"), Column("state"), Column("done", "steps done"),
             Column("tools", "tools", "long"), empty="There was none since a journal is kept.")


def get_run(call):
    runs, args = call.host.runs, call.args
    if args.id is None:
        return result(call, runs.listed(), None)
    found = runs.find(args.id)
    if args.stop:
        found.stop()
    return runs.follow(call, found)


TOOLS = {
    "proxmox_run": Tool("ANY /{path}", DESTRUCTIVE, Run, run, RUNS, needs=()),
    "proxmox_get_run": Tool("GET /cluster/tasks", BASIC, GetRun, get_run, RUNS, says="{count}", needs=()),
}
