"""Toolset: how the cluster is secured - one report of what stands open."""
import re
import time
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import findings, guest
from tools.base.findings import FINDINGS, LOOK, PROBLEM, Finding, report
from tools.base.lists import chosen
from tools.base.row import BASIC, Filtered, Tool
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.formats import on

AREAS = ("firewall", "access", "guests", "tls", "versions")


@dataclass
class SecurityReport(Filtered):
    """What stands open: firewall, tokens, users, roles, privileged containers, TLS, old versions."""
    area: Annotated[Optional[str], Arg(enum=AREAS)] = None


MOST_GUESTS = 300               # whose configuration and firewall are read, two requests each
#: Release -> the day of its last security update (Proxmox VE's support lifecycle).
_SUPPORTED = {"6": "2022-07-31", "7": "2024-07-31", "8": "2026-08-31"}
_ALL_POWERFUL = {"Administrator", "PVEAdmin"}

#: name -> (path, parameters, area)
_CLUSTER = {"firewall": ("/cluster/firewall/options", {}, "firewall"),
            "users": ("/access/users", {"full": 1}, "access"),
            "second factors": ("/access/tfa", {}, "access"), "permissions": ("/access/acl", {}, "access")}
_NODE = {"firewall": ("/nodes/{node}/firewall/options", {}, "firewall"),
         "version": ("/nodes/{node}/version", {}, "versions"), "network": ("/nodes/{node}/network", {}, "guests")}


class Seen:
    """What was read: guests (rows), all ({name of _CLUSTER: data or None}), nodes ({node: {name of _NODE: data}}),
    inside ({vmid: (config, firewall options)}), unread (sentences)."""

    def __init__(self, call):
        self.call, self.area, self.unread, self.all, self.nodes, self.inside = call, call.args.area, [], {}, {}, {}
        resources = call.get("/cluster/resources") or []
        self.guests = chosen([row for row in resources if row.get("type") in ("qemu", "lxc")
                              and not on(row.get("template"))], call.args)
        online = sorted(str(row["node"]) for row in resources if row.get("type") == "node"
                        and row.get("status") == "online" and call.args.node in (None, row.get("node")))
        names = [name for name, row in _CLUSTER.items() if self.area in (None, row[2])]
        places = [(node, name) for name, row in _NODE.items() if self.area in (None, row[2]) for node in online]
        answers = call.together([(_CLUSTER[name][0], None, _CLUSTER[name][1]) for name in names] + [
            (_NODE[name][0], {"node": node}, _NODE[name][1]) for node, name in places])
        for name, answer in zip(names, answers):
            self.all[name] = self._read(answer, "The cluster's %s" % name)
        for (node, name), answer in zip(places, answers[len(names):]):
            self.nodes.setdefault(node, {})[name] = self._read(answer, "%s of %s" % (name, node))
        if self.area in (None, "firewall", "guests"):
            self._look_inside([row for row in self.guests if row.get("node") in online])

    def _read(self, answer, what):
        if not isinstance(answer, Exception):
            return answer or []
        self.unread.append("%s: %s" % (text.capital(what), text.first_line(answer)))
        return None

    def _look_inside(self, guests):
        if len(guests) > MOST_GUESTS:
            self.unread.append("%d guests are too many to look into each; narrow it with node, pool, tag or name"
                               % len(guests))
            return
        base = "/nodes/{node}/{type}/{vmid}/"
        answers = iter(self.call.together([(base + what, row, {}) for row in guests
                                           for what in ("config", "firewall/options")]))
        for row, config, options in zip(guests, answers, answers):
            self.inside[row["vmid"]] = (self._read(config, "configuration of %s" % row["vmid"]) or {},
                                        self._read(options, "firewall of %s" % row["vmid"]) or {})


def _firewall(seen):
    options = seen.all.get("firewall")
    if options is None or options == []:
        return
    if not on(options.get("enable")):
        yield Finding(PROBLEM, "firewall", "cluster",
                      "the firewall is off, so no rule of a node or a guest has any effect",
                      "proxmox_update_firewall_options enable=true, after a rule that lets you in")
        return
    if options.get("policy_in", "DROP") == "ACCEPT":
        yield Finding(LOOK, "firewall", "cluster", "what no rule names is let in (policy_in=ACCEPT)")
    for node, found in sorted(seen.nodes.items()):
        if isinstance(found.get("firewall"), dict) and not on(found["firewall"].get("enable", 1)):
            yield Finding(LOOK, "firewall", "node " + node, "its firewall is off")
    off, bare = [], []
    for vmid, (config, options) in seen.inside.items():
        if config and not on(options.get("enable")):
            off.append(vmid)
        elif config:
            open_ones = [key for key, value in guest.nics(config).items() if not on(guest.nic(value).get("firewall"))]
            if open_ones:
                bare.append("%s (%s)" % (vmid, ", ".join(open_ones)))
    if off:
        yield Finding(LOOK, "firewall", findings.guests(off),
                      "the firewall of %s is off" % ("it" if len(off) == 1 else "each"), "proxmox_list_firewall_rules")
    if bare:
        yield Finding(PROBLEM, "firewall", "guests", "their firewall is on, but network devices without firewall=1 go "
                      "round it: %s" % text.line(", ".join(bare), 200))


def _access(seen):
    users, now = seen.all.get("users") or (), seen.call.host.now()
    enabled = [user for user in users if on(user.get("enable", 1)) and not (
        0 < (text.normal("number", user.get("expire")) or 0) < now)]
    tokens = [("%s!%s" % (user.get("userid"), token.get("tokenid")), token) for user in enabled
              for token in user.get("tokens") or ()]
    groups = (
        ([name for name, token in tokens if not text.normal("number", token.get("expire"))], LOOK,
         "tokens never expire"),
        ([name for name, token in tokens if not on(token.get("privsep", 1)) and not name.startswith("root@pam!")], LOOK,
         "tokens have all rights of their users (no privilege separation)"),
        ([name for name, token in tokens if name.startswith("root@pam!") and not on(token.get("privsep", 1))], PROBLEM,
         "tokens of root@pam without privilege separation may do everything"))
    for names, level, says in groups:
        if names:
            yield Finding(level, "access", text.line(", ".join(names), 200), says)
    secured = seen.all.get("second factors")
    if secured is not None:
        safe = {str(row.get("userid")) for row in secured if any(
            on(entry.get("enable", 1)) and entry.get("type") != "recovery" for entry in row.get("entries") or ())}
        bare = [str(user["userid"]) for user in enabled if str(user.get("userid")) not in safe]
        if bare:
            yield Finding(LOOK, "access", text.line(", ".join(bare), 200), "users without a second factor")
    for row in seen.all.get("permissions") or ():
        if row.get("path") == "/" and row.get("roleid") in _ALL_POWERFUL and row.get("ugid") != "root@pam":
            yield Finding(LOOK, "access", "%s %s" % (row.get("type"), row.get("ugid")), "role %s on /: everything in "
                          "the cluster" % row["roleid"], "proxmox_list_acl")


def _guests(seen):
    privileged, exposed = [], []
    rows = {row["vmid"]: row for row in seen.guests}
    for vmid, (config, _) in seen.inside.items():
        if config and rows[vmid]["type"] == "lxc" and not on(config.get("unprivileged")):
            privileged.append(vmid)
        network = seen.nodes.get(str(rows[vmid].get("node")), {}).get("network") or ()
        management = {row.get("iface") for row in network if row.get("gateway")}
        if any(nic.get("bridge") in management and not nic.get("tag")
               for nic in map(guest.nic, guest.nics(config).values())):
            exposed.append(vmid)
    if privileged:
        yield Finding(LOOK, "guests", findings.guests(privileged),
                      "privileged containers: root inside is root of the node")
    if exposed:
        yield Finding(LOOK, "guests", findings.guests(exposed),
                      "in the same network, without VLAN, as the nodes' own addresses")


def _tls(seen):
    if seen.call.host.settings.ssl_mode == "insecure":
        yield Finding(PROBLEM, "tls", "this server",
                      "does not check the certificate of Proxmox (PROXMOX_SSL_MODE=insecure)")


def _versions(seen):
    old = {}
    for node, found in seen.nodes.items():
        version = str(dict(found.get("version") or {}).get("version", ""))
        ended = _SUPPORTED.get(re.split(r"\D", version)[0])
        if ended and time.strftime("%Y-%m-%d", time.gmtime(seen.call.host.now())) > ended:
            old.setdefault((version, ended), []).append(node)
    for (version, ended), nodes in sorted(old.items()):
        yield Finding(PROBLEM, "versions", "node%s %s" % ("" if len(nodes) == 1 else "s", ", ".join(nodes)),
                      "Proxmox VE %s: no security updates since %s" % (version, ended))


_CHECKS = (_firewall, _access, _guests, _tls, _versions)


def get_security_report(call):
    seen = Seen(call)
    found = [finding for check in _CHECKS for finding in check(seen) if seen.area in (None, finding.area)]
    return report(call, found, seen.unread, [
        "Looked at %s on %s. Passwords, the guests' own systems and physical access are beyond it." % (
            text.plural(len(seen.guests), "guest"), text.plural(len(seen.nodes), "node"))])


TOOLS = {
    "proxmox_get_security_report": Tool("GET /access/users", BASIC, SecurityReport, get_security_report, FINDINGS),
}
