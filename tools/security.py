"""Toolset: how the cluster is secured - one report of what stands open."""
import re
import time
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest
from tools.base.findings import FINDINGS, LOOK, PROBLEM, Finding, Read, Seen, look, nodes_of, report
from tools.base.lists import guests_of
from tools.base.row import BASIC, Filtered, Tool
from tools.base.schema import Arg
from tools.pve import text
from tools.pve.formats import on


MOST_GUESTS = 300               # whose configuration and firewall are read, two requests each
#: Release -> the day of its last security update (Proxmox VE's support lifecycle).
_SUPPORTED = {"6": "2022-07-31", "7": "2024-07-31", "8": "2026-08-31"}
_ALL_POWERFUL = {"Administrator", "PVEAdmin"}

READS = {"cluster firewall": Read("/cluster/firewall/options", {}, ("firewall",), None, "the cluster's firewall"),
         "users": Read("/access/users", {"full": 1}, ("access",)),
         "second factors": Read("/access/tfa", {}, ("access",)),
         "permissions": Read("/access/acl", {}, ("access",)),
         "firewall": Read("/nodes/{node}/firewall/options", {}, ("firewall",)),
         "version": Read("/nodes/{node}/version", {}, ("versions",)),
         "network": Read("/nodes/{node}/network", {}, ("guests",))}


def _firewall(seen):
    options = seen.all["cluster firewall"]
    if not options:
        return
    if not on(options.get("enable")):
        yield Finding(PROBLEM, "cluster", "the firewall is off, so no rule of a node or a guest has any effect",
                      "proxmox_update_firewall_options enable=true, after a rule that lets you in")
        return
    if options.get("policy_in", "DROP") == "ACCEPT":
        yield Finding(LOOK, "cluster", "what no rule names is let in (policy_in=ACCEPT)")
    for node, found in sorted(seen.each["firewall"].items()):
        if found and not on(found.get("enable", 1)):
            yield Finding(LOOK, "node " + node, "its firewall is off")
    told = {vmid: found for vmid, found in seen.inside.items() if "firewall/options" in found}      # of others nothing
    off = [vmid for vmid, found in told.items() if not on((found["firewall/options"] or {}).get("enable"))]
    bare = {vmid: guest.unfiltered(found.get("config") or {}) for vmid, found in told.items() if vmid not in off}
    bare = ["%s (%s)" % (vmid, ", ".join(keys)) for vmid, keys in bare.items() if keys]
    if off:
        yield Finding(LOOK, guests_of(off), "the firewall of %s is off" % ("it" if len(off) == 1 else "each"),
                      "proxmox_list_firewall_rules")
    if bare:
        yield Finding(PROBLEM, "guests", "their firewall is on, but network devices without firewall=1 go "
                      "round it: %s" % text.listed(bare, 200))


def _access(seen):
    enabled = [user for user in seen.all["users"] or () if on(user.get("enable", 1)) and not (
        0 < (text.normal("number", user.get("expire")) or 0) < seen.now)]
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
            yield Finding(level, ", ".join(names), says)
    secured = seen.all["second factors"]
    if secured is not None:
        safe = {str(row.get("userid")) for row in secured if any(
            on(entry.get("enable", 1)) and entry.get("type") != "recovery" for entry in row.get("entries") or ())}
        bare = [str(user["userid"]) for user in enabled if str(user.get("userid")) not in safe]
        if bare:
            yield Finding(LOOK, ", ".join(bare), "users without a second factor")
    for row in seen.all["permissions"] or ():
        if row.get("path") == "/" and row.get("roleid") in _ALL_POWERFUL and row.get("ugid") != "root@pam":
            yield Finding(LOOK, "%s %s" % (row.get("type"), row.get("ugid")), "role %s on /: everything in "
                          "the cluster" % row["roleid"], "proxmox_list_acl")


def _guests(seen):
    rows = {row["vmid"]: row for row in seen.guests}
    configs = {vmid: found["config"] for vmid, found in seen.inside.items() if found.get("config")}
    outward = {node: {row.get("iface") for row in found if row.get("gateway")}
               for node, found in seen.each["network"].items()}
    privileged = [vmid for vmid, config in configs.items()
                  if rows[vmid]["type"] == "lxc" and not on(config.get("unprivileged"))]
    exposed = [vmid for vmid, config in configs.items() if any(
        nic.get("bridge") in outward.get(rows[vmid].get("node"), ()) and not nic.get("tag")
        for nic in map(guest.nic, guest.nics(config).values()))]
    if privileged:
        yield Finding(LOOK, guests_of(privileged), "privileged containers: root inside is root of the node")
    if exposed:
        yield Finding(LOOK, guests_of(exposed), "in the same network, without VLAN, as the nodes' own addresses")


def _tls(seen):
    if seen.call.host.settings.ssl_mode == "insecure":
        yield Finding(PROBLEM, "this server", "does not check the certificate of Proxmox (PROXMOX_SSL_MODE=insecure)")


def _versions(seen):
    old = {}
    for node, found in seen.each["version"].items():
        version = str(dict(found or {}).get("version", ""))
        ended = _SUPPORTED.get(re.split(r"\D", version)[0])
        if ended and time.strftime("%Y-%m-%d", time.gmtime(seen.now)) > ended:
            old.setdefault((version, ended), []).append(node)
    for (version, ended), nodes in sorted(old.items()):
        yield Finding(PROBLEM, nodes_of(nodes), "Proxmox VE %s: no security updates since %s" % (version, ended))


CHECKS = {"firewall": _firewall, "access": _access, "guests": _guests, "tls": _tls, "versions": _versions}


@dataclass
class SecurityReport(Filtered):
    """What stands open: firewall, tokens, users, roles, privileged containers, TLS, old versions."""
    area: Annotated[Optional[str], Arg(enum=tuple(CHECKS))] = None


def get_security_report(call):
    seen = Seen(call)
    seen.guests = [row for row in seen.guests if not on(row.get("template"))]
    seen.read(READS)
    guests = [row for row in seen.guests if row.get("node") in seen.online] if seen.wants("firewall", "guests") else []
    if len(guests) > MOST_GUESTS:
        seen.miss("guests", "%d guests are too many to look into each; narrow it with node, pool, tag or name"
                  % len(guests))
    else:
        seen.ask("config", guests)
        seen.ask("firewall/options", guests)
    return report(seen, look(seen, CHECKS), [
        "Looked at %s on %s. Passwords, the guests' own systems and physical access are beyond it." % (
            text.plural(len(seen.guests), "guest"), text.plural(len(seen.online), "node"))])


TOOLS = {
    "proxmox_get_security_report": Tool("GET /access/users", BASIC, SecurityReport, get_security_report, FINDINGS),
}
