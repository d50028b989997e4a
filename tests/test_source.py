"""The source: what it does not do; a file in tools/ is a toolset, what it stands on has a floor with a name, and
imports go one way:

    mcp -> the registry (tools/__init__.py) -> toolsets -> base -> policy -> pve        demo -> pve

An import inside a function counts like any other, and so does a text that is a module's name (sys.modules[...]).
"""
import ast
import functools
import os
import sys

import tools
from support import each

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tools.__file__)))


@functools.lru_cache(maxsize=None)
def modules():
    """Every module of the program: name -> tree."""
    paths = [os.path.join(ROOT, "proxmox_mcp.py")]
    for folder, _, names in os.walk(os.path.join(ROOT, "tools")):
        paths += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    found = {}
    for path in sorted(paths):
        name = os.path.relpath(path, ROOT)[:-3].replace(os.sep, ".")
        with open(path, encoding="utf-8") as stream:
            found[name[:-len(".__init__")] if name.endswith(".__init__") else name] = ast.parse(stream.read())
    return found


# -------------------------------------------------------------------------------------------------- what it does not do

#: What may be imported beside the standard library; and what of the standard library may not.
OUTSIDE, FORBIDDEN = {"requests", "urllib3", "tools", "proxmox_mcp"}, {
    "pickle", "marshal", "shelve", "socketserver", "pty", "popen2", "ctypes", "telnetlib", "xmlrpc", "multiprocessing",
    "imp"}
#: Calls that run what they are given, or open a way in.
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execvp", "os.fork",
         "os.spawnv", "os.posix_spawn",
         "socket.create_server"}
METHODS = {"listen", "bind"}


def _called(function):
    """The name by which something is called, "os.system" say; what is no name stands in it as ()."""
    if isinstance(function, ast.Attribute):
        return _called(function.value) + "." + function.attr
    return function.id if isinstance(function, ast.Name) else "()"


@each("name", modules())
def test_nothing_runs_code_starts_programs_or_listens(name):
    """No eval, pickle or listening socket; no program but ssh and what prints a token (both off by default), each in a
    file of its own and never through a shell; beside the standard library only requests (and its urllib3)."""
    for node, _ in nodes_of(name):
        named = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            named = [node.module]
        for one in named:
            top = one.split(".")[0]
            assert top not in FORBIDDEN, (node.lineno, one)
            assert top != "subprocess" or name in ("tools.ssh", "tools.policy.settings"), node.lineno
            if hasattr(sys, "stdlib_module_names"):
                assert top in OUTSIDE or top in sys.stdlib_module_names, (node.lineno, one)
        if isinstance(node, ast.Call):
            called = _called(node.func)
            assert not any(keyword.arg == "shell" for keyword in node.keywords), node.lineno
            assert called not in CALLS and called.split(".")[-1] not in METHODS, (node.lineno, called)
        assert not isinstance(node, ast.Name) or node.id != "print", "line %d writes into the protocol" % node.lineno


# -------------------------------------------------------------------------------------------------------------- floors

#: From below to above.
FLOORS = ("pve", "policy", "base", "toolsets", "registry", "mcp", "start")
#: (module, what it imports from above), until it does so no longer.
KNOWN = {
    ("tools.policy.selection", "tools"),
    ("tools.policy.settings", "tools"),
    ("tools.policy.settings", "tools.demo"),
}


@functools.lru_cache(maxsize=None)
def nodes_of(name):
    """All that a module's tree is made of: [(node, whether in a function)]."""
    found, nodes = [], [(modules()[name], False)]
    while nodes:
        node, late = nodes.pop()
        found.append((node, late))
        late = late or isinstance(node, (ast.FunctionDef, ast.Lambda))
        for part in vars(node).values():
            for child in part if isinstance(part, list) else (part,):
                if isinstance(child, ast.AST) and not isinstance(child, ast.expr_context):
                    nodes.append((child, late))
    return found


@functools.lru_cache(maxsize=None)
def imported(name):
    """What a module imports of the program: [(module, whether in a function)]."""
    found = []
    for node, late in nodes_of(name):
        named = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            within = [node.module + "." + alias.name for alias in node.names]
            named = [one if one in modules() else node.module for one in within]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("tools."):
            named = [node.value]
        found += [(one, late) for one in named if one in modules()]
    return found


def floor(name):
    parts = name.split(".")
    if parts[0] != "tools":
        return "start"
    return "registry" if len(parts) == 1 else "toolsets" if parts[1] in tools.TOOLSETS else parts[1]


def wrong(name, other, late):
    """Whether an import goes against the direction."""
    here, there = floor(name), floor(other)
    if "demo" in (here, there):
        lazily = late and name in ("tools.mcp.run", "tools.mcp.app")
        return not (there == "pve" or here == there or lazily)
    if here == there:
        return here == "toolsets"
    return FLOORS.index(here) < FLOORS.index(there)


def test_imports_go_one_way():
    assert {(name, other) for name in modules() for other, late in imported(name) if wrong(name, other, late)} == KNOWN


def test_no_module_imports_itself_by_way_of_others():
    ways = {name: {other for other, _ in imported(name)} - {name} for name in modules()}
    while ways:
        ends = {name for name, others in ways.items() if not others & set(ways)}
        assert ends, sorted(ways)
        ways = {name: others for name, others in ways.items() if name not in ends}


def test_a_file_in_tools_is_a_toolset():
    found = set(os.listdir(os.path.join(ROOT, "tools"))) - {"__pycache__"}
    assert found == {toolset + ".py" for toolset in tools.TOOLSETS} | {
        "__init__.py", tools.SURFACE, tools.OUTPUTS, "base", "policy", "mcp", "pve", "demo"}


def test_a_reader_is_not_worn_out():
    """At most 120 columns, 600 lines a file of the program, 60 a function."""
    for folder in (ROOT, *(found for found, _, _ in os.walk(os.path.join(ROOT, "tools"))), os.path.dirname(__file__)):
        for name in os.listdir(folder):
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as stream:
                    lines = stream.read().split("\n")
                assert not [line for line in lines if len(line) > 120], name
                assert len(lines) <= 601 or folder == os.path.dirname(__file__), name
    assert not [(name, node.name) for name, tree in modules().items() for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60]


def test_a_test_that_starts_a_program_ends():
    here = os.path.dirname(os.path.abspath(__file__))
    for name in os.listdir(here):
        if name.endswith(".py"):
            with open(os.path.join(here, name), encoding="utf-8") as stream:
                text = stream.read()
            for node in ast.walk(ast.parse(text if "subprocess" in text else "")):
                called = _called(node.func) if isinstance(node, ast.Call) else ""
                if called in ("subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"):
                    assert "timeout" in {keyword.arg for keyword in node.keywords}, (name, node.lineno)
