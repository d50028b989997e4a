"""The README's tables, made from the settings and the rows. `python3 tests/readme.py` renews those of README.md."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import tools  # noqa: E402
from tools.base.row import description
from tools.base.schema import fields  # noqa: E402
from tools.policy.settings import VARIABLES  # noqa: E402

LOCKS = {"basic": "", "elevated": "\U0001f512", "destructive": "\U0001f512 destroys"}


def settings_table():
    """One row a variable: name, meaning, default."""
    lines = ["| variable | meaning | default |", "|---|---|---|"]
    for name, meta in VARIABLES.items():
        default = meta["default"]
        if isinstance(default, tuple):
            default = ",".join(default)
        shown = {None: "", True: "true", False: "false", "": ""}.get(default, default)
        lines.append("| `%s` | %s | %s |" % (meta["variable"], meta["text"].replace("|", "\\|"),
                                             "`%s`" % shown if shown != "" else ""))
    return "\n".join(lines)


def pairs(toolset):
    """The toolset's tools as the lines of the table: a list of (name, Tool), two where VMs and containers share one."""
    left, lines = {name: tool for owner, name, tool in tools.all_rows() if owner == toolset}, []
    while left:
        name, other = next(iter(left)), next(iter(left)).replace("_vm", "_lxc")
        both = other in left and left[other].tier == left[name].tier
        lines.append([(one, left.pop(one)) for one in ((name, other) if both and other != name else (name,))])
    return lines


def marked(field):
    """An argument's name: bold when it is required, in italics when models are not told of it."""
    return ("**%s**" if field.required else "%s" if field.arg.published else "*%s*") % field.name


def line(pair):
    """A line of the table: `name`, arguments (see `marked`), tier, what it does."""
    (name, tool), (other, twin) = pair[0], pair[-1]
    names = "`%s`" % name if tool is twin else "`%s`, `%s`" % (name, "_lxc" if name.endswith("_vm") else other)
    mine, theirs = ({f.name: marked(f) for f in fields(row.args)} for row in (tool, twin))
    parts = [("", [text for key, text in mine.items() if key in theirs]),
             ("VM: ", [text for key, text in mine.items() if key not in theirs]),
             ("container: ", [text for key, text in theirs.items() if key not in mine])]
    arguments = "; ".join(whose + ", ".join(texts) for whose, texts in parts if texts)
    says, too = description(name, tool), description(other, twin)
    if says.replace("VM", "container") == too != says:
        says = says.replace("VM", "VM or container", 1)
    elif says != too:
        says += " " + too
    return "| %s | %s | %s | %s |" % (names, arguments, LOCKS[tool.tier], says.replace("|", "\\|"))


def tools_table():
    """One table; the toolset stands before the first of its tools."""
    lines = ["| toolset | tool | arguments | | what it does |", "|---|---|---|---|---|"]
    for toolset in tools.TOOLSETS:
        rows = [line(pair) for pair in pairs(toolset)]
        lines += ["| %s %s" % ("" if number else "**%s**" % toolset, row) for number, row in enumerate(rows)]
    return "\n".join(lines)


TABLES = {"settings": settings_table, "tools": tools_table}


def filled(readme):
    """The README's text with its tables renewed (between <!-- NAME --> and <!-- end of NAME -->)."""
    for name, make in TABLES.items():
        pattern = r"(<!-- %s[^>]*-->\n).*?(<!-- end of %s -->)" % (name, name)
        readme, found = re.subn(pattern, lambda m, make=make: m.group(1) + make() + "\n" + m.group(2), readme,
                                flags=re.DOTALL)
        if found != 1:
            raise ValueError("README.md has no place for the table of %s" % name)
    return readme


def path():
    """The path of README.md."""
    return os.path.join(ROOT, "README.md")


if __name__ == "__main__":
    with open(path(), encoding="utf-8") as stream:
        before = stream.read()
    with open(path(), "w", encoding="utf-8", newline="\n") as stream:
        stream.write(filled(before))
