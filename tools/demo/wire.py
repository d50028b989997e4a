"""From an HTTP request to a handler and back: pveproxy's rules (methods, bodies, login, routes, rights, parameters).

A route is one row: Route("GET /nodes/{node}/qemu", handler, check, "words", params={...}). `check` is Proxmox's own
notation: {"user": "all"}, ["perm", "/vms/{vmid}", ["VM.Audit"]], ["or", ...]; None means root@pam alone.
"""
import gzip
import json
import re
from email.utils import formatdate
from urllib.parse import unquote_plus

from tools.demo.model import Refusal, bad, die
from tools.demo.rules import integer, properties, string

LARGEST_FORM = 512 * 1024


ALL, ROOT = {"user": "all"}, None


def perm(path, *privileges):
    """Check: all of `privileges` on `path` ("/vms/{vmid}")."""
    return ["perm", path, list(privileges)]


def perm_any(path, *privileges):
    """Check: one of `privileges` on `path`."""
    return ["perm", path, list(privileges), "any", 1]


VM, NODE = "/vms/{vmid}", "/nodes/{node}"

#: Parameters of paths, one rule for each name.
PATH_RULES = {
    "node": string("The node.", format="pve-node"), "vmid": integer("The guest.", 100, 999999999, format="pve-vmid"),
    "storage": string("The storage.", format="pve-storage-id"),
    "snapname": string("The snapshot.", format="pve-configid", maxLength=40), "volume": string("The volume."),
    "upid": string("The task."), "iface": string("The interface.", format="pve-iface", minLength=2, maxLength=20),
    "sid": string("The HA resource.", format="pve-ha-resource-or-vm-id"),
    "id": string("The id.", format="pve-configid"), "poolid": string("The pool.", format="pve-poolid"),
    "userid": string("The user.", format="pve-userid", maxLength=64),
    "tokenid": string("The token.", pattern=r"[A-Za-z][A-Za-z0-9\.\-_]+"),
    "roleid": string("The role.", format="pve-roleid"), "groupid": string("The group.", format="pve-groupid"),
    "pos": integer("Place of the rule.", 0), "service": string("The service."), "name": string("The name."),
}


class Route:
    """One row of the API: `endpoint` is "VERB /template"."""

    def __init__(self, endpoint, handler, check, words, params=None, proxy=True, returns=None):
        self.verb, self.template = endpoint.split(" ")
        self.handler, self.check, self.words, self.returns = handler, check, words, returns
        names = re.findall(r"\{(\w+)\}", self.template)
        own = properties(params or {})
        self.rules = {name: own.pop(name, None) or dict(PATH_RULES[name]) for name in names}
        for rule in self.rules.values():
            rule.pop("optional", None)
        self.rules.update(own)
        self.proxy = proxy and self.template.startswith("/nodes/{node}/")


def both(endpoint, handler, check, words, params=None, vm=None, ct=None, proxy=True):
    """The rows for VMs and for containers: {kind} and {guest} stand for either, `vm` and `ct` are more parameters."""
    return [Route(endpoint.replace("{kind}", kind), handler, check, words.replace("{guest}", name),
                  dict(params or {}, **(more or {})), proxy)
            for kind, name, more in (("qemu", "VM", vm), ("lxc", "container", ct))]


class Routes:
    """All routes, found by path: a word comes before a {name}, and {volume} takes all that is left."""

    def __init__(self, routes):
        self.routes, self._patterns = {}, {}
        for route in routes:
            if self.routes.setdefault((route.verb, route.template), route) is not route:
                raise ValueError("route twice: %s %s" % (route.verb, route.template))
        for (verb, template), route in sorted(self.routes.items(), key=lambda item: item[0][1].replace("{", "~")):
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template.replace("{volume}", "(?P<volume>.+)"))
            self._patterns.setdefault(verb, []).append((re.compile(pattern + r"\Z", re.S), route))

    def find(self, verb, path):
        """(Route, path parameters) or (None, None)."""
        for pattern, route in self._patterns[verb]:
            match = pattern.match(path)
            if match:
                return route, match.groupdict()
        return None, None


class ApiCall:
    """What a handler gets: .world .p (checked parameters) .user (whole token id) .node; and the checks it asks for."""

    def __init__(self, world, rights, user, params, route=None):
        self.world, self.rights, self.user, self.p, self.route = world, rights, user, params, route
        self.node = params.get("node")
        if self.node == "localhost":
            self.node = params["node"] = world.local

    @property
    def kind(self):
        """"qemu" or "lxc": whom the route is about."""
        return "lxc" if self.route.template.startswith("/nodes/{node}/lxc") else "qemu"

    @property
    def here(self):
        """The Node of {node}."""
        return self.world.nodes[self.node]

    def guest(self):
        """The Guest of {node} and {vmid}; refuses `skiplock` and a digest that is not the guest's."""
        guest = self.world.guest(self.p["vmid"], self.kind, self.node)
        if self.p.get("skiplock"):
            bad(skiplock="Only root may use this option.")
        if self.p.get("digest", guest.digest) != guest.digest and "/firewall/" not in self.route.template:
            die("checksum mismatch (file change by other user?)" if self.kind == "qemu" else
                "detected modified configuration - file changed by other user? Try again.")
        return guest

    def may(self, path, *privileges):
        """Whether one of `privileges` is held on `path`."""
        held = self.rights(path)
        return any(privilege in held for privilege in privileges)

    def _named(self, privileges):
        """The privileges as this version calls them: VM.Monitor became VM.GuestAgent.* in 9."""
        if self.world.major >= 9:
            return privileges
        return sorted({"VM.Monitor" if name.startswith("VM.GuestAgent.") else name for name in privileges})

    def need(self, path, *privileges):
        """Refuse with 403 unless all of `privileges` are held on `path`."""
        for privilege in self._named(privileges):
            if not self.may(path, privilege):
                forbid("%s, %s" % (path, privilege))

    def need_any(self, path, *privileges):
        """Refuse with 403 unless one of `privileges` is held on `path`."""
        privileges = self._named(privileges)
        if not self.may(path, *privileges):
            forbid("%s, %s" % (path, "|".join(privileges)))

    def fork(self, kind, ident, worker):
        """Start a task of this user on this node; returns the UPID."""
        return self.world.tasks.fork(self.node, kind, ident, self.user, worker)

    def work(self, guest, verb, worker):
        """Start a task that does `verb` (start, clone ...) to a guest; returns the UPID."""
        return self.fork(guest.task(verb), guest.vmid, worker)

    def check(self, rule):
        """Refuse with 403 unless `rule` (see Route) is met."""
        if rule == ALL:
            return None
        if rule is None:
            forbid("user != root@pam")
        if rule[0] == "and":
            for part in rule[1:]:
                self.check(part)
            return None
        if rule[0] == "or":
            return None if any(self.passes(self.check, part) for part in rule[1:]) else forbid("")
        if rule[0] == "userid-group":
            return self.need_any("/access/groups", *rule[1])
        path = re.sub(r"\{([\w-]+)\}", lambda match: str(self.p.get(match.group(1), "")), rule[1])
        if rule[0] == "perm-modify":
            return self.need(path, "Permissions.Modify")
        if "require_param" in rule and self.p.get(rule[rule.index("require_param") + 1]) is None:
            forbid("")
        return self.need_any(path, *rule[2]) if "any" in rule else self.need(path, *rule[2])

    def passes(self, check, *args):
        """Whether `check(*args)` refuses nothing."""
        try:
            check(*args)
        except Refusal:
            return False
        return True


def forbid(what):
    """raise_perm_exc: 403."""
    raise Refusal(403, "Permission check failed" + (" (%s)" % what if what else "") + "\n")


class Plain(Exception):
    """An answer that never reached the API: status and reason only, `body` text or nothing."""

    def __init__(self, status, reason, body=b""):
        super().__init__(reason)
        self.status, self.reason, self.body = status, reason, body


class Extra:
    """A handler's answer with further top-level keys: Extra(data, total=5)."""

    def __init__(self, data, **more):
        self.data, self.more = data, more


class File:
    """A handler's answer that is no JSON: File(content type, text); `zipped`: gzip, whatever the request accepts."""

    def __init__(self, kind, text, zipped=False):
        self.kind, self.body, self.zipped = kind, text.encode(), zipped

    def reply(self):
        """(status, reason, headers, body)."""
        body = gzip.compress(self.body) if self.zipped else self.body
        headers = headers_of(self.kind, len(body), False)
        return 200, "OK", dict(headers, **({"Content-Encoding": "gzip"} if self.zipped else {})), body


def decode_form(text):
    """dict of a form or query: split at "&", ";" and every "="; an empty value is None, repeated keys are a list."""
    result = {}
    for pair in re.split("[&;]", text):
        parts = pair.split("=")
        if not parts[0]:
            continue
        key = unquote_plus(parts[0])
        value = unquote_plus(parts[1]) if len(parts) > 1 and parts[1] != "" else None
        if value is not None and result.get(key) is not None:
            value = (result[key] if isinstance(result[key], list) else [result[key]]) + [value]
        result[key] = value
    return result


def read_parameters(verb, query, headers, body):
    """The parameters of a request; headers have lower-case names."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        raise Plain(501, "chunked transfer encoding not supported")
    if body and verb in ("GET", "DELETE"):
        raise Plain(501, "Unexpected content for method '%s'" % verb)
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    params = {}
    if verb in ("POST", "PUT"):
        if len(body) > LARGEST_FORM:
            raise Plain(501, "for data too large")
        if body and kind not in ("", "application/x-www-form-urlencoded"):
            raise Plain(506, "upload 'Content-Type '%s' not implemented" % kind)
        params = decode_form(body.decode("utf-8", "replace"))
    params.update(decode_form(query))
    params.pop("_dc", None)
    return params


def headers_of(kind, length, close):
    """The headers pveproxy sends."""
    date = formatdate(usegmt=True)
    headers = {"Cache-Control": "max-age=0", "Connection": "close" if close else "Keep-Alive", "Date": date,
               "Pragma": "no-cache", "Server": "pve-api-daemon/3.0", "Content-Length": str(length), "Expires": date}
    if kind:
        headers["Content-Type"] = kind
    return headers


def _json(status, reason, content, close):
    body = json.dumps(content, separators=(",", ":")).encode()
    return status, reason, headers_of("application/json;charset=UTF-8", len(body), close), body


def reply(data, more=None):
    """(status, reason, headers, body) of a good answer."""
    return _json(200, "OK", dict({"data": data}, **(more or {})), False)


def refusal(error, whole=True):
    """(status, reason, headers, body) of a Refusal: the reason phrase is the message's first line.

    The message itself is in the body since pve-http-server 5.2.0 (PVE 8.3): `whole`.
    """
    message = error.text if error.text.endswith("\n") or error.status == 501 else error.text + "\n"
    content = {"data": None, "message": message} if whole else {"data": None}
    if error.errors:
        content["errors"] = error.errors
    return _json(error.status, message.split("\n")[0].encode("utf-8").decode("latin-1"), content, True)


def plain(error):
    """(status, reason, headers, body) of a Plain."""
    return error.status, error.reason, headers_of(None, len(error.body), True), error.body
