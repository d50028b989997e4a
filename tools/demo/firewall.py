"""Firewalls: rules and options of the cluster, nodes and guests; groups, aliases, sets and macros of the cluster."""
import hashlib
import json

from tools.demo.model import bad, die
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import ALL, NODE, VM, Route, perm

_MACROS = {"DNS": "Domain Name System traffic (upd and tcp)", "HTTP": "Hypertext Transfer Protocol (WWW)",
           "HTTPS": "Hypertext Transfer Protocol (WWW) over SSL", "MySQL": "MySQL server",
           "NTP": "Network Time Protocol (ntpd)",
           "Ping": "ICMP echo request", "PostgreSQL": "PostgreSQL server",
           "RDP": "Microsoft Remote Desktop Protocol traffic",
           "SMTP": "Simple Mail Transfer Protocol", "SSH": "Secure shell traffic",
           "Web": "WWW traffic (HTTP and HTTPS)"}
_LEVELS = "emerg alert crit err warning notice info debug nolog"


def _place(call):
    """The firewall dict a route is about: of a security group, a guest, a node or the cluster."""
    world = call.world
    if "group" in call.p and "/groups/" in call.route.template:
        group = world.firewall["cluster"]["groups"].get(call.p["group"])
        if group is None:
            die("no such security group '%s'" % call.p["group"])
        return group
    if "vmid" in call.p:
        call.guest("qemu" if "/qemu/" in call.route.template else "lxc")
        return world.firewall.setdefault(call.p["vmid"], {"options": {}, "rules": []})
    if call.node:
        return world.firewall.setdefault(call.node, {"options": {}, "rules": []})
    return world.firewall["cluster"]


def _digest(place):
    return hashlib.sha1(json.dumps(place, sort_keys=True).encode()).hexdigest()


def _check_digest(call, place):
    if call.p.get("digest") and call.p["digest"] != _digest(place):
        die("detected modified configuration - file changed by other user? Try again.")


def rules(call):
    """GET .../rules: in order."""
    place = _place(call)
    digest = _digest(place)
    return [dict(rule, pos=number, digest=digest) for number, rule in enumerate(place["rules"])]


def _position(call, place):
    if call.p["pos"] >= len(place["rules"]):
        die("no rule at position %d" % call.p["pos"])
    return call.p["pos"]


def rule(call):
    """GET .../rules/{pos}."""
    place = _place(call)
    pos = _position(call, place)
    return dict(place["rules"][pos], pos=pos, digest=_digest(place))


def _values(call):
    return {key: value for key, value in call.p.items() if key in _RULE_KEYS}


def _check_rule(call, found):
    if found.get("type") == "group":
        if found["action"] not in call.world.firewall["cluster"]["groups"]:
            bad(action="no such security group '%s'" % found["action"])
        return
    if found["action"].upper() not in ("ACCEPT", "DROP", "REJECT"):
        bad(action="invalid action '%s'" % found["action"])
    if found.get("macro") and found["macro"].lower() not in [name.lower() for name in _MACROS]:
        bad(macro="unknown macro '%s'" % found["macro"])
    for key in ("dport", "sport"):
        if found.get(key) and not found.get("proto") and not found.get("macro"):
            bad(proto="missing property - '%s' requires this property" % key)
    for key in ("source", "dest"):
        name = str(found.get(key, ""))
        if name.startswith("+") and name[1:].replace("dc/", "") not in call.world.firewall["cluster"]["ipset"]:
            bad(**{key: "no such ipset '%s'" % name[1:]})


def add_rule(call):
    """POST .../rules: at the top, or at pos."""
    place = _place(call)
    _check_digest(call, place)
    found = _values(call)
    found.setdefault("enable", 0)
    _check_rule(call, found)
    place["rules"].insert(min(call.p.get("pos", 0), len(place["rules"])), found)


def change_rule(call):
    """PUT .../rules/{pos}: values, or its place (moveto)."""
    place = _place(call)
    _check_digest(call, place)
    pos = _position(call, place)
    if "moveto" in call.p:
        moved = place["rules"].pop(pos)
        target = call.p["moveto"] - (1 if call.p["moveto"] > pos else 0)
        place["rules"].insert(min(target, len(place["rules"])), moved)
        return
    found = dict(place["rules"][pos], **_values(call))
    for key in split_list(call.p.get("delete", "")):
        found.pop(key, None)
    _check_rule(call, found)
    place["rules"][pos] = found


def delete_rule(call):
    """DELETE .../rules/{pos}."""
    place = _place(call)
    _check_digest(call, place)
    del place["rules"][_position(call, place)]


def options(call):
    """GET .../options."""
    place = _place(call)
    return dict(place["options"], digest=_digest(place))


def change_options(call):
    """PUT .../options."""
    place = _place(call)
    _check_digest(call, place)
    for key in split_list(call.p.get("delete", "")):
        place["options"].pop(key, None)
    for key, value in call.p.items():
        if key not in ("node", "vmid", "delete", "digest"):
            place["options"][key] = int(value) if isinstance(value, bool) else value


def log(call):
    """GET .../log."""
    _place(call)
    return [{"n": 1,
             "t": "%s 6 PVEFW-HOST-IN 20/Nov/2025:10:21:07 +0100 policy DROP: IN=vmbr0 SRC=203.0.113.7 DST=10.0.0.11 "
             "PROTO=TCP SPT=51234 DPT=22" % call.p.get("vmid", 0)}]


def macros(call):
    """GET /cluster/firewall/macros."""
    return [{"macro": name, "descr": words} for name, words in sorted(_MACROS.items())]


def groups(call):
    """GET /cluster/firewall/groups."""
    return [{"group": name, "comment": row.get("comment", ""), "digest": _digest(row)}
            for name, row in call.world.firewall["cluster"]["groups"].items()]


def add_group(call):
    """POST /cluster/firewall/groups."""
    known = call.world.firewall["cluster"]["groups"]
    if call.p.get("rename"):
        if call.p["rename"] not in known:
            die("no such security group '%s'" % call.p["rename"])
        known[call.p["group"]] = known.pop(call.p["rename"])
    elif call.p["group"] in known:
        bad(group="Security group '%s' already exists" % call.p["group"])
    else:
        known[call.p["group"]] = {"rules": []}
    known[call.p["group"]]["comment"] = call.p.get("comment", "")


def delete_group(call):
    """DELETE /cluster/firewall/groups/{group}."""
    if _place(call)["rules"]:
        die("Security group '%s' is not empty" % call.p["group"])
    del call.world.firewall["cluster"]["groups"][call.p["group"]]


def aliases(call):
    """GET /cluster/firewall/aliases."""
    known = call.world.firewall["cluster"]["aliases"]
    return [dict(row, name=name, ipversion=6 if ":" in row["cidr"] else 4, digest=_digest(known))
            for name, row in known.items()]


def add_alias(call):
    """POST /cluster/firewall/aliases."""
    known = call.world.firewall["cluster"]["aliases"]
    if call.p["name"].lower() in known:
        bad(name="alias '%s' already exists" % call.p["name"])
    known[call.p["name"].lower()] = {"cidr": call.p["cidr"], "comment": call.p.get("comment", "")}


def delete_alias(call):
    """DELETE /cluster/firewall/aliases/{name}."""
    call.world.firewall["cluster"]["aliases"].pop(call.p["name"].lower(), None)


def sets(call):
    """GET /cluster/firewall/ipset."""
    return [{"name": name, "comment": row.get("comment", ""), "digest": _digest(row)}
            for name, row in call.world.firewall["cluster"]["ipset"].items()]


def _set(call):
    found = call.world.firewall["cluster"]["ipset"].get(call.p["name"])
    if found is None:
        die("no such IPSet '%s'" % call.p["name"])
    return found


def set_entries(call):
    """GET /cluster/firewall/ipset/{name}."""
    found = _set(call)
    return [dict(row, digest=_digest(found)) for row in found["entries"]]


def add_set(call):
    """POST /cluster/firewall/ipset."""
    known = call.world.firewall["cluster"]["ipset"]
    if call.p["name"] in known:
        bad(name="IPSet '%s' already exists" % call.p["name"])
    known[call.p["name"]] = {"comment": call.p.get("comment", ""), "entries": []}


def add_entry(call):
    """POST /cluster/firewall/ipset/{name}."""
    found = _set(call)
    if any(row["cidr"] == call.p["cidr"] for row in found["entries"]):
        bad(cidr="address '%s' already exists" % call.p["cidr"])
    row = {"cidr": call.p["cidr"]}
    if call.p.get("comment"):
        row["comment"] = call.p["comment"]
    if call.p.get("nomatch"):
        row["nomatch"] = 1
    found["entries"].insert(0, row)


def delete_set(call):
    """DELETE /cluster/firewall/ipset/{name}."""
    if _set(call)["entries"] and not call.p.get("force"):
        die("IPSet '%s' is not empty" % call.p["name"])
    del call.world.firewall["cluster"]["ipset"][call.p["name"]]


_NAME = dict(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", minLength=2)
_RULE = {
    "type": enum("Direction, or group.", "in out forward group"),
    "action": string("ACCEPT, DROP, REJECT or a group.", maxLength=20, **_NAME),
    "macro": string("A named service.", maxLength=128),
    "iface": string("Only on this card.", format="pve-iface", minLength=2, maxLength=20),
    "source": string("From.", format="pve-fw-addr-spec", maxLength=512),
    "dest": string("To.", format="pve-fw-addr-spec", maxLength=512),
    "proto": string("Protocol.", format="pve-fw-protocol-spec"), "enable": integer("In force.", 0),
    "sport": string("Source ports.", format="pve-fw-sport-spec"),
    "dport": string("Destination ports.", format="pve-fw-dport-spec"),
    "icmp-type": string("ICMP type.", format="pve-fw-icmp-type-spec"), "comment": string("A comment."),
    "log": enum("Log level.", _LEVELS)}
_RULE_KEYS = tuple(_RULE)
_DIGEST = {"digest": string("Refuse if it is another one.", maxLength=64)}
_DELETE = {"delete": string("Options to remove.", format="pve-configid-list")}
_NEW = {("%s*" % key if key in ("type", "action") else key): value for key, value in _RULE.items()}
_NEW.update(_DIGEST, pos=integer("At this place.", 0))
_CHANGED = dict(_RULE, **dict(_DIGEST, **dict(_DELETE, moveto=integer("To this place.", 0))))
_LOGS = {"start": integer("From this line.", 0), "limit": integer("At most so many lines.", 0),
         "since": integer("From this epoch.", 0),
         "until": integer("To this epoch.", 0)}
_POLICY = "ACCEPT REJECT DROP"
_GUEST = {"enable": boolean("In force.", default=0), "dhcp": boolean("Let DHCP through.", default=0),
          "macfilter": boolean("Only its MAC.", default=1),
          "ipfilter": boolean("Only its addresses."), "ndp": boolean("Let NDP through.", default=1),
          "radv": boolean("May advertise routes."),
          "policy_in": enum("The rest coming in.", _POLICY), "policy_out": enum("The rest going out.", _POLICY),
          "log_level_in": enum("Log level.", _LEVELS), "log_level_out": enum("Log level.", _LEVELS)}
_NODE_OPTIONS = {"enable": boolean("In force.", default=1), "nosmurfs": boolean("No smurfs."),
                 "tcpflags": boolean("Check TCP flags.", default=0),
                 "ndp": boolean("Let NDP through.", default=1), "log_level_in": enum("Log level.", _LEVELS),
                 "log_level_out": enum("Log level.", _LEVELS), "nftables": boolean("Use nftables.", default=0),
                 "nf_conntrack_max": integer("Connections tracked.", 32768, default=262144)}
_CLUSTER_OPTIONS = {"enable": integer("In force.", 0, default=0), "ebtables": boolean("On bridges too.", default=1),
                    "policy_in": enum("The rest coming in.", _POLICY),
                    "policy_out": enum("The rest going out.", _POLICY),
                    "policy_forward": enum("The rest passing.", "ACCEPT DROP")}
_GROUP = string("The security group.", maxLength=18, **_NAME)


def _rows(path, read, write, whose, option_rules, log_right=None):
    away = "{vmid}" not in path         # pveproxy answers for guests' rules itself, wherever the guest is
    return [
        Route("GET %s/rules" % path, rules, read, "Firewall rules of %s." % whose, None, away),
        Route("POST %s/rules" % path, add_rule, write, "Add a firewall rule of %s." % whose, _NEW, away),
        Route("GET %s/rules/{pos}" % path, rule, read, "A firewall rule of %s." % whose, None, away),
        Route("PUT %s/rules/{pos}" % path, change_rule, write, "Change a firewall rule of %s." % whose, _CHANGED, away),
        Route("DELETE %s/rules/{pos}" % path, delete_rule, write, "Remove a firewall rule of %s." % whose, _DIGEST,
              away),
        Route("GET %s/options" % path, options, read, "Firewall options of %s." % whose),
        Route("PUT %s/options" % path, change_options, write, "Change firewall options of %s." % whose, dict(
            option_rules, **dict(_DIGEST, **_DELETE))),
    ] + ([Route("GET %s/log" % path, log, log_right, "Firewall log of %s." % whose, _LOGS)] if log_right else [])


_READ, _WRITE = perm("/", "Sys.Audit"), perm("/", "Sys.Modify")
_CLUSTER = "/cluster/firewall"
_IPSET = {"name": string("The set.", maxLength=64, **_NAME)}

ROUTES = (
    _rows(_CLUSTER, _READ, _WRITE, "the cluster", _CLUSTER_OPTIONS)
    + _rows("/nodes/{node}/firewall", perm(NODE, "Sys.Audit"), perm(NODE, "Sys.Modify"), "a node", _NODE_OPTIONS,
            perm(NODE, "Sys.Syslog"))
    + _rows("/nodes/{node}/qemu/{vmid}/firewall", perm(VM, "VM.Audit"), perm(VM, "VM.Config.Network"), "a VM", _GUEST,
            perm(VM, "VM.Console"))
    + _rows("/nodes/{node}/lxc/{vmid}/firewall", perm(VM, "VM.Audit"), perm(VM, "VM.Config.Network"), "a container",
            _GUEST,
            perm(VM, "VM.Console"))
    + [
        Route("GET %s/macros" % _CLUSTER, macros, ALL, "Named services."),
        Route("GET %s/groups" % _CLUSTER, groups, ALL, "Security groups."),
        Route("POST %s/groups" % _CLUSTER, add_group, _WRITE, "Make a security group.", dict(_DIGEST, **{
            "group*": _GROUP, "comment": string("A comment."),
            "rename": string("From this name.", maxLength=18, **_NAME)})),
        Route("GET %s/groups/{group}" % _CLUSTER, rules, _READ, "Rules of a security group.", {"group": _GROUP}),
        Route("POST %s/groups/{group}" % _CLUSTER, add_rule, _WRITE, "Add a rule to a security group.",
              dict(_NEW, group=_GROUP)),
        Route("DELETE %s/groups/{group}" % _CLUSTER, delete_group, _WRITE, "Remove an empty security group.",
              {"group": _GROUP}),
        Route("PUT %s/groups/{group}/{pos}" % _CLUSTER, change_rule, _WRITE, "Change a rule of a security group.",
              dict(_CHANGED, group=_GROUP)),
        Route("DELETE %s/groups/{group}/{pos}" % _CLUSTER, delete_rule, _WRITE, "Remove a rule of a security group.",
              dict(_DIGEST, group=_GROUP)),
        Route("GET %s/aliases" % _CLUSTER, aliases, _READ, "Named addresses."),
        Route("POST %s/aliases" % _CLUSTER, add_alias, _WRITE, "Name an address.", {
            "name*": string("Its name.", maxLength=64, **_NAME), "cidr*": string("The address.", format="IPorCIDR"),
            "comment": string("A comment.")}),
        Route("DELETE %s/aliases/{name}" % _CLUSTER, delete_alias, _WRITE, "Forget a name.", dict(_DIGEST, **_IPSET)),
        Route("GET %s/ipset" % _CLUSTER, sets, _READ, "Sets of addresses."),
        Route("POST %s/ipset" % _CLUSTER, add_set, _WRITE, "Make a set.", dict(_DIGEST, **{
            "name*": _IPSET["name"], "comment": string("A comment.")})),
        Route("GET %s/ipset/{name}" % _CLUSTER, set_entries, _READ, "Addresses in a set.", _IPSET),
        Route("POST %s/ipset/{name}" % _CLUSTER, add_entry, _WRITE, "Add to a set.", dict(_IPSET, **{
            "cidr*": string("The address.", format="IPorCIDRorAlias"), "comment": string("A comment."),
            "nomatch": boolean("Not this.")})),
        Route("DELETE %s/ipset/{name}" % _CLUSTER, delete_set, _WRITE, "Remove a set.",
              dict(_IPSET, force=boolean("Even if not empty."))),
    ]
)
