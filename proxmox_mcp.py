#!/usr/bin/env python3
"""proxmox-mcp: an MCP server for Proxmox VE over stdio. This file only starts it.

A script is compiled anew at every start, so it is short: tools/mcp speaks MCP, tools/pve knows Proxmox, the toolsets in
tools/ join the two. Without arguments it serves stdio; `--help` shows the commands.
"""
import os
import sys

__version__ = "2.0.0"

# tools/ is beside this file, or, where a wheel put this file, in _proxmox_mcp/.
_HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, _HERE)
sys.path.insert(0, os.path.join(_HERE, "_proxmox_mcp"))

# Before Python 3.10 a module in an archive is half made for any other thread that imports it meanwhile.
if sys.version_info < (3, 10) and "zipimport" in sys.modules:
    from importlib.machinery import SourceFileLoader
    _ZIP = sys.modules["zipimport"].zipimporter
    _ZIP.create_module, _ZIP.exec_module = SourceFileLoader.create_module, SourceFileLoader.exec_module


def main(argv=None):
    """Serve stdio, or run a command; returns the exit status."""
    if sys.version_info < (3, 9):
        sys.stderr.write("proxmox-mcp needs Python 3.9 or newer; %s is Python %d.%d.%d.\n" % (
            (sys.executable,) + tuple(sys.version_info[:3])))
        return 2
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments == ["--demo"]:
        from tools.mcp.serve import serve
        return serve(__version__, demo=bool(arguments))
    from tools.mcp.cli import run
    return run(arguments, __version__, __file__)


if __name__ == "__main__":
    sys.exit(main())
