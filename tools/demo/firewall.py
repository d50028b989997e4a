"""Firewalls: rules and options of the cluster, nodes and guests. Groups and sets are there to be named in rules."""
import hashlib
import json

from tools.demo.model import bad, die
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import NODE, VM, Route, perm

_MACROS = "dns http https mysql ntp ping postgresql rdp smtp ssh web".split()
_LEVELS = "emerg alert crit err warning notice info debug nolog"


def _place(call):
    """The firewall dict a route is about: of a guest, a node or the cluster."""
    if "vmid" in call.p:
        call.guest()
    place = call.world.firewall.setdefault(call.p.get("vmid", call.node or "cluster"), {"options": {}, "rules": []})
    if call.p.get("digest") and call.p["digest"] != _digest(place):
        die("detected modified configuration - file changed by other user? Try again.")
    return place


def _digest(place):
    return hashlib.sha1(json.dumps(place, sort_keys=True).encode()).hexdigest()


def rules(call):
    """GET .../rules: in order."""
    place = _place(call)
    return [dict(row, pos=number, digest=_digest(place)) for number, row in enumerate(place["rules"])]


def _position(call, place, text="no rule at position %(pos)d"):
    if call.p["pos"] >= len(place["rules"]):
        die(text % call.p)
    return call.p["pos"]


def rule(call):
    return rules(call)[_position(call, _place(call))]


def _values(call):
    return {key: value for key, value in call.p.items() if key in _RULE_KEYS}


def _check_rule(call, found):
    if found.get("type") == "group":
        if found["action"] not in call.world.firewall["cluster"]["groups"]:
            bad(action="no such security group '%s'" % found["action"])
        return
    if found["action"].upper() not in ("ACCEPT", "DROP", "REJECT"):
        bad(action="invalid action '%s'" % found["action"])
    if found.get("macro") and found["macro"].lower() not in _MACROS:
        bad(macro="unknown macro '%s'" % found["macro"])
    for key in ("dport", "sport"):
        if found.get(key) and not found.get("proto") and not found.get("macro"):
            bad(proto="missing property - '%s' requires this property" % key)
    for key in ("source", "dest"):
        name = str(found.get(key, ""))
        if name.startswith("+") and name[1:].replace("dc/", "") not in call.world.firewall["cluster"]["ipset"]:
            bad(**{key: "no such ipset '%s'" % name[1:]})


def add_rule(call):
    """POST .../rules: at the top; Proxmox takes `pos` and ignores it (PVE::API2::Firewall::Rules, create_rule)."""
    place = _place(call)
    found = _values(call)
    found.setdefault("enable", 0)
    _check_rule(call, found)
    place["rules"].insert(0, found)


def change_rule(call):
    """PUT .../rules/{pos}: values, or its place (moveto)."""
    place = _place(call)
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
    place = _place(call)
    del place["rules"][_position(call, place, "Can't use an undefined value as a HASH reference at "
                                 "/usr/share/perl5/PVE/API2/Firewall/Rules.pm line 432.")]


def options(call):
    place = _place(call)
    return dict(place["options"], digest=_digest(place))


def change_options(call):
    place = _place(call)
    for key in split_list(call.p.get("delete", "")):
        place["options"].pop(key, None)
    for key, value in call.p.items():
        if key not in ("node", "vmid", "delete", "digest"):
            place["options"][key] = int(value) if isinstance(value, bool) else value


_RULE = {
    "type": enum("Direction, or group.", "in out forward group"),
    "action": string("ACCEPT, DROP, REJECT or a group.", maxLength=20,
                     pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", minLength=2),
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
_NEW.update(_DIGEST, pos=integer("Not looked at.", 0))
_CHANGED = dict(_RULE, **dict(_DIGEST, **dict(_DELETE, moveto=integer("To this place.", 0))))
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


def _rows(path, read, write, whose, option_rules):
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
    ]


_READ, _WRITE = perm(VM, "VM.Audit"), perm(VM, "VM.Config.Network")
ROUTES = (
    _rows("/cluster/firewall", perm("/", "Sys.Audit"), perm("/", "Sys.Modify"), "the cluster", _CLUSTER_OPTIONS)
    + _rows("/nodes/{node}/firewall", perm(NODE, "Sys.Audit"), perm(NODE, "Sys.Modify"), "a node", _NODE_OPTIONS)
    + _rows("/nodes/{node}/qemu/{vmid}/firewall", _READ, _WRITE, "a VM", _GUEST)
    + _rows("/nodes/{node}/lxc/{vmid}/firewall", _READ, _WRITE, "a container", _GUEST))
