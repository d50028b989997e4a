"""A Proxmox VE cluster in memory, for trying the tools without a Proxmox host and for testing them.

DemoCluster is mounted below `requests` in place of the network: URLs, headers, bodies, errors and JSON are the real
ones. It refuses what Proxmox refuses, in Proxmox's words; it is never laxer. Nothing it says comes from a real host.
"""
import io
import re
import threading
import time
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from tools.demo import (access, agent, backups, change, cluster, copies, create, disks, firewall, guests, nodes, power,
                        snapshots, storage, tasks, viewer, wire, world)
from tools.demo.model import Refusal, World, verify
from tools.demo.rules import check_parameters
from tools.pve.tls import NotSent

_TOKEN = re.compile(r"PVEAPIToken[=\s](.*)\Z")
#: What works without quorum, or fails only where it writes into /etc/pve.
_UNQUORATE = re.compile(r"/(status/(stop|shutdown|reset|suspend)|agent/[\w-]+|config|resize|snapshot|vzdump)\Z|/tasks/|"
                        r"\A/nodes/\{node\}/status\Z")
TABLE = wire.Routes(row for module in (
    access, agent, backups, change, cluster, copies, create, disks, firewall, guests, nodes, power, snapshots,
    storage, tasks) for row in module.ROUTES)


class DemoCluster(BaseAdapter):
    """The cluster "demo": three nodes, some fifteen guests, or `guests` of them on twenty nodes.

    clock   seconds, only ever growing; tasks and curves follow it
    now     epoch seconds at the moment of making the cluster; later times follow `clock`
    offline names of nodes that are down (a set, to be changed at will): they answer 595
    tokens  "user@realm!id" -> {"value": str, or None for any, "acl": {path: [privileges]}}; without it root@pam!demo
            may do all that a token may
    version "9.1" and the like, as GET /version says; before 8.3 errors are in the reason phrase alone, before 9 the
            guest agent takes VM.Monitor and containers are privileged unless told otherwise, in 7 a resize of a VM is
            no task
    """

    LONGEST_RECORD = 20000

    def __init__(self, clock=time.monotonic, now=time.time, guests=None, offline=(), tokens=None, version="9.1"):
        super().__init__()
        self.world = self.begin(clock, now, guests, version)
        self.world.offline = set(offline)
        self.tokens = tokens or {"root@pam!demo": {"value": None, "acl": {"/": access.ALL_PRIVILEGES + ["VM.Monitor"]}}}
        self.requests = []
        self._lock = threading.RLock()

    @staticmethod
    def begin(clock, now, guests, version):
        """The World of a new cluster."""
        made = World(clock, now, version)
        world.build(made, guests)
        return made

    #: Names of the nodes that are down.
    offline = property(lambda self: self.world.offline, lambda self, names: setattr(self.world, "offline", set(names)))

    # ---- the adapter

    def send(self, request, stream=False, timeout=None, verify=True, cert=None, proxies=None):
        """requests' way in: the Response to a PreparedRequest."""
        url = urlsplit(request.url)
        if url.hostname in self.world.nodes and url.hostname in self.offline:
            raise NotSent("connect", "node %s is down" % url.hostname)
        target = url.path + ("?" + url.query if url.query else "")
        body = request.body or b""
        body = body.encode("utf-8") if isinstance(body, str) else body
        headers = {key: value.decode("latin-1") if isinstance(value, bytes) else value
                   for key, value in request.headers.items()}
        status, reason, answer, content = self.handle(request.method, target, headers, body)
        response = requests.Response()
        response.status_code, response.reason, response.url, response.request = status, reason, request.url, request
        response.headers.update(answer)
        response.encoding = "utf-8"
        coding = {"Content-Encoding": answer["Content-Encoding"]} if "Content-Encoding" in answer else None
        response.raw = HTTPResponse(body=io.BytesIO(content), headers=coding, preload_content=False,
                                    decode_content=False)
        if not stream:
            response.content
        return response

    # ---- the server

    def handle(self, verb, target, headers, body=b""):
        """(status, reason, headers, body) of a request: `target` is path?query; the reason is latin-1 text."""
        headers = {key.lower(): value for key, value in headers.items()}
        with self._lock:
            try:
                return self._handle(verb, target, headers, body)
            except wire.Plain as error:
                return wire.plain(error)
            except Refusal as error:
                return wire.refusal(error, (self.world.major, self.world.minor) >= (8, 3))

    def _handle(self, verb, target, headers, body):
        path, _, query = target.partition("?")
        if verb not in ("GET", "POST", "PUT", "DELETE"):
            raise wire.Plain(501, "method '%s' not available" % verb)
        if path == viewer.PATH and verb == "GET":
            return viewer.page(TABLE, headers, self.world.real_time())
        parts = [part for part in unquote(path).split("/") if part]     # %2F separates, too
        relative = "/" + "/".join(parts[2:])
        if parts[:1] != ["api2"]:
            raise wire.Plain(501, "no such file '%s'" % path)
        try:
            params, unreadable = wire.read_parameters(verb, query, headers, body), None
        except (wire.Plain, Refusal) as error:
            params, unreadable = {}, error
        self.requests.append((verb, relative, params))
        del self.requests[:-self.LONGEST_RECORD]
        user = self._login(headers)
        if parts[1:2] != ["json"]:
            raise wire.Plain(501, "no formatter for uri %s, %s" % (relative, "".join(parts[1:2])))
        if unreadable:
            raise unreadable
        route, values = TABLE.find(verb, relative)
        if route is None:
            raise Refusal(501, "Method '%s %s' not implemented" % (verb, relative))
        verify({key: "duplicate parameter (already defined in URI) with conflicting values!"
                for key, value in params.items() if key in values and str(value) != values[key]})
        self.world.tasks.advance()
        call = wire.ApiCall(self.world, self._rights(user), user, dict(params, **values), route)
        call.check(route.check)
        if route.proxy:
            self._reach(call.node)
        elif call.node is not None and call.node not in self.world.nodes:
            raise Refusal(500, "no such cluster node '%s'" % call.node)
        call.p, errors = check_parameters(route.rules, dict(params, **values))
        verify(errors)
        if "node" in call.p:
            call.p["node"] = call.node
        if verb != "GET" and not self.world.quorate and not _UNQUORATE.search(route.template):
            raise Refusal(500, "cluster not ready - no quorum?")
        data = route.handler(call)
        if isinstance(data, wire.File):
            return data.reply()
        if isinstance(data, wire.Extra):
            return wire.reply(data.data, data.more)
        return wire.reply(data)

    def _login(self, headers):
        """The token's whole name, or 401 (no body, as pveproxy)."""
        match = _TOKEN.match(headers.get("authorization", ""))
        if not match:
            raise wire.Plain(401, "No ticket")
        name, _, value = unquote(match.group(1).split(";")[0]).partition("=")
        known = self.tokens.get(name)
        if not known or not value or known.get("value") not in (None, value):
            raise wire.Plain(401, "Authentication failed!")
        return name

    def _rights(self, user):
        """path -> set of privileges: the nearest entry of the ACL up the path; a guest's pool adds its own."""
        acl = {path: frozenset(held) for path, held in self.tokens.get(user, {}).get("acl", {}).items()}

        def nearest(path):
            while path not in acl and path not in ("/", ""):
                path = path.rpartition("/")[0] or "/"
            return acl.get(path, frozenset())

        def rights(path):
            held = nearest(path)
            kind, _, name = path.strip("/").partition("/")
            if kind == "vms" and name.isdigit():
                pool = self.world.pool_of(int(name))
                if pool:
                    held |= nearest("/pool/" + pool)
            elif kind == "storage":
                for pool, facts in self.world.pools.items():
                    if name in facts["storages"]:
                        held |= nearest("/pool/" + pool)
            return held
        return rights

    def _reach(self, node):
        """What pveproxy says when it has to ask another node: unknown, or down (595)."""
        if node not in self.world.nodes:
            raise Refusal(500,
                          "hostname lookup '%s' failed - failed to get address info for: %s: Name or service not known"
                          % (node, node))
        if node in self.offline:
            raise wire.Plain(595, "No route to host")
