"""The API viewer's file apidoc.js, made from the demo's own table: the schema of exactly what the demo does."""
import gzip
import json
import re
from email.utils import formatdate, parsedate_to_datetime
from itertools import groupby

from tools.demo.wire import headers_of

PATH = "/pve-docs/api-viewer/apidoc.js"
#: The date the file claims to have.
MODIFIED = 1761998400
_TAIL = """
;

let method2cmd = {
    GET: 'get',
    POST: 'create',
    PUT: 'set',
    DELETE: 'delete'
};
"""
_made = {}


def tree(routes, depth=1):
    """The list of nodes of Proxmox's API tree, for wire.Route objects whose paths are alike up to `depth` - 1 words."""
    nodes = []
    routes = sorted(routes, key=lambda route: route.template.split("/"))
    for path, group in groupby(routes, lambda route: "/".join(route.template.split("/")[:depth + 1])):
        group = list(group)
        node = {"path": path, "text": path.rpartition("/")[2],
                "info": {route.verb: _info(route) for route in group if route.template == path},
                "children": tree([route for route in group if route.template != path], depth + 1)}
        node["leaf"] = int(not node["children"])
        nodes.append({key: value for key, value in node.items() if value or key == "leaf"})
    return nodes


def _info(route):
    name = route.handler.__name__
    if not name.isidentifier():                         # a lambda: the last word of the path
        name = re.findall(r"/(\w+)(?=$|[/{])", route.template.replace("-", "_"))[-1]
    info = {"name": name, "method": route.verb, "description": route.words, "allowtoken": 1,
            "parameters": {"additionalProperties": 0, "properties": dict(sorted(route.rules.items()))},
            "returns": route.returns or {"type": "any"}}
    if route.proxy:
        info["proxyto"] = "node"
    if route.check is not None:
        info["permissions"] = {"check": route.check} if isinstance(route.check, list) else dict(route.check)
    if route.verb != "GET":
        info["protected"] = 1
    return info


def page(table, headers, now):
    """(status, reason, headers, body) of a request for the file."""
    since = headers.get("if-modified-since")
    if since:
        try:
            if parsedate_to_datetime(since).timestamp() >= MODIFIED:
                return 304, "NOT MODIFIED", headers_of(None, 0, False), b""
        except (TypeError, ValueError):
            pass
    if id(table) not in _made:
        text = "const apiSchema = " + json.dumps(tree(table.routes.values())) + _TAIL
        _made.clear()
        _made[id(table)] = (text.encode(), gzip.compress(text.encode(), 6))
    raw, packed = _made[id(table)]
    wants = "gzip" in headers.get("accept-encoding", "")
    body = packed if wants else raw
    answer = headers_of("application/javascript", len(body), False)
    answer["Last-Modified"] = formatdate(MODIFIED, usegmt=True)
    if wants:
        answer["Content-Encoding"] = "gzip"
    return 200, "OK", answer, body
