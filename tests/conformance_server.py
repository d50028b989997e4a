#!/usr/bin/env python3
"""Serves the fixtures of MCP's official conformance suite over stdio, on the engine of proxmox-mcp. Never shipped.

The suite speaks HTTP only, so it needs a bridge from HTTP to a stdio server in front of this.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fixtures_app import FIXTURES_INFO, FixturesServer, app  # noqa: E402

from tools.mcp.wire import lines, private_streams, write_all  # noqa: E402


def main():
    reader, writer = private_streams()
    server = FixturesServer(lambda line: write_all(writer, line), app, FIXTURES_INFO,
                            log=lambda level, event, **fields: sys.stderr.write("%s %s %s\n" % (level, event, fields)))
    for line in lines(reader):
        server.receive(line)
    server.finish()
    os._exit(0)


if __name__ == "__main__":
    main()
