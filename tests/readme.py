"""The README's tables, made from the settings and the rows. `python3 tests/readme.py` puts them into README.md anew."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import tools  # noqa: E402
from tools.base.row import description
from tools.base.schema import fields  # noqa: E402
from tools.policy.settings import VARIABLES, Settings  # noqa: E402

LOCKS = {"basic": "", "elevated": "\U0001f512", "destructive": "\U0001f512 destroys"}


def settings_table():
    """One row a variable: name, meaning, default."""
    lines = ["| variable | meaning | default |", "|---|---|---|"]
    for name, meta in VARIABLES:
        default = Settings.__dataclass_fields__[name].default
        if isinstance(default, tuple):
            default = ",".join(default)
        shown = {None: "", True: "true", False: "false", "": ""}.get(default, default)
        lines.append("| `%s` | %s | %s |" % (meta["variable"], meta["text"].replace("|", "\\|"),
                                             "`%s`" % shown if shown != "" else ""))
    return "\n".join(lines)


def tools_table():
    """One table a toolset: tool, arguments (required ones bold), tier, what it does."""
    parts = []
    for toolset in tools.TOOLSETS:
        doc = sys.modules.get("tools." + toolset) or __import__("tools." + toolset, fromlist=["TOOLS"])
        parts.append("**%s**: %s\n" % (toolset, doc.__doc__.strip().split("\n")[0].replace("Toolset: ", "")))
        parts.append("| tool | arguments | | |\n|---|---|---|---|")
        for name, tool in tools.rows(toolset).items():
            names = ", ".join("**%s**" % f.name if f.required else f.name for f in fields(tool.args))
            parts.append("| `%s` | %s | %s | %s |" % (name, names, LOCKS[tool.tier],
                                                      description(name, tool).replace("|", "\\|")))
        parts.append("")
    return "\n".join(parts).rstrip("\n")


TABLES = {"settings": settings_table, "tools": tools_table}


def filled(readme):
    """The README's text with its tables made anew (between <!-- NAME --> and <!-- end of NAME -->)."""
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
