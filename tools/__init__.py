"""The toolsets and their rows. A toolset is a file here that ends in its TOOLS, imported when a tool of it is called.

What a client is told of the tools (names, schemas) comes out of tools.json, one line a tool, so that listing them
imports no toolset. `python3 proxmox_mcp.py tools --write` makes it anew; a test holds it against the rows.
"""
import functools
import json
import os
from importlib import import_module

#: Every toolset, in the order in which its tools are listed.
TOOLSETS = ("cluster", "guests", "lifecycle", "change", "snapshots", "backups", "disks", "networks", "agent", "create",
            "nodes", "tasks", "migration", "insight", "options", "content", "admin", "ssh", "api")

#: Names that tools had before: old -> new. Accepted, not listed.
RENAMED = {"proxmox_get_disk_smart": "proxmox_get_node_disk_smart"}

SURFACE = "tools.json"


def rows(toolset):
    """The TOOLS (name -> Tool) of one toolset."""
    return import_module("tools." + toolset).TOOLS


def all_rows():
    """Every row of every toolset: (toolset, name, Tool)."""
    return [(toolset, name, tool) for toolset in TOOLSETS for name, tool in rows(toolset).items()]


def generate():
    """The text of tools.json: a JSON object a line, with name, toolset, tier, endpoint, changes and the MCP definition.
    """
    from tools.base.row import definition
    lines = []
    for toolset, name, tool in all_rows():
        lines.append(json.dumps({"name": name, "toolset": toolset, "tier": tool.tier, "endpoint": tool.endpoint,
                                 "changes": tool.changes, "tool": definition(name, tool)},
                                separators=(",", ":"), ensure_ascii=True))
    return "".join(line + "\n" for line in lines)


@functools.lru_cache(maxsize=None)
def surface():
    """The entries of tools.json (list of dicts), in the order of TOOLSETS. From a directory or a zip, as this is.

    Read once and the same for everybody: nobody changes them.
    """
    data = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), SURFACE))
    return [json.loads(line) for line in data.decode("ascii").splitlines()]


def write_surface():
    """Write tools.json beside this file."""
    path, content = os.path.join(os.path.dirname(os.path.abspath(__file__)), SURFACE), generate()
    with open(path, "w", encoding="ascii", newline="\n") as stream:
        stream.write(content)


def find(entry):
    """The Tool of an entry of the surface; imports its toolset."""
    return rows(entry["toolset"])[entry["name"]]
