"""Toolset: the firewall of the cluster, a node or a guest - rules and options."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base import guest
from tools.base.answers import Table, data_only, result
from tools.base.failures import Failure
from tools.base.row import BASIC, DESTRUCTIVE, AnyNode, Paged, Tool
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.text import Column

Policy = Annotated[Optional[str], Arg(enum=("ACCEPT", "DROP", "REJECT"))]


@dataclass
class Where:
    """(a guest's firewall, a node's, or with neither the cluster's)"""
    vmid: Annotated[Optional[int], Arg("else node's or cluster's", format="vmid")] = None
    node: AnyNode = None


@dataclass
class ListRules(Paged, Where):
    """Firewall rules of a guest, a node or the cluster, and whether they work."""


@dataclass
class AddRule(Where):
    """Add a firewall rule, first unless pos is given."""
    action: Annotated[str, Arg("ACCEPT, DROP, REJECT or a group", max_length=20)] = REQUIRED
    type: Annotated[str, Arg(enum=("in", "out", "forward", "group"))] = "in"
    macro: Annotated[Optional[str], Arg("such as SSH, HTTPS", max_length=128)] = None
    source: Annotated[Optional[str], Arg("10.0.0.0/24, +ipset", max_length=512)] = None
    dest: Annotated[Optional[str], Arg(max_length=512, published=False)] = None
    proto: Annotated[Optional[str], Arg(max_length=40)] = None
    dport: Annotated[Optional[str], Arg("22 or 80,443", max_length=200)] = None
    comment: Annotated[Optional[str], Arg(max_length=1000)] = None
    enable: bool = True
    pos: Annotated[Optional[int], Arg(minimum=0, maximum=10000)] = None


@dataclass
class DeleteRule(Where):
    """Delete the firewall rule at a position."""
    pos: Annotated[int, Arg(minimum=0, maximum=10000)] = REQUIRED


@dataclass
class UpdateOptions(Where):
    """Switch a firewall on or off, and what happens to what no rule names."""
    enable: Optional[bool] = None
    policy_in: Policy = None
    policy_out: Policy = None


# ---------------------------------------------------------------------------------------------------------------- where

def _base(call):
    """The path of the firewall that the arguments mean."""
    if call.args.vmid is None:
        return "/nodes/{node}/firewall" if call.node else "/cluster/firewall"
    call.locate()
    return "./firewall"


def _whose(call):
    return call.subject if call.args.vmid or call.node else "the cluster"


def _without_effect(call, options):
    """Sentences about what keeps the rules from having an effect; `options` are those of this firewall."""
    if not on(options.get("enable", 1 if call.node and not call.args.vmid else 0)):
        yield "This firewall is off: its rules have no effect (proxmox_update_firewall_options enable=true)."
    if not (call.args.vmid or call.node):
        return
    try:
        if not on(call.get("/cluster/firewall/options").get("enable")):
            yield "The firewall of the whole cluster is off, so no rule of a node or a guest has any effect."
    except PveError:
        yield "Whether the cluster's firewall is on could not be read (Sys.Audit on /)."
    if call.args.vmid:
        bare = guest.unfiltered(call.get("./config"))
        if bare:
            yield "%s has no firewall=1, so its traffic is not filtered (proxmox_update_network_%s firewall=true)." % (
                ", ".join(bare), "lxc" if call.kind == "lxc" else "vm")


# ---------------------------------------------------------------------------------------------------------------- rules

def _words(rule):
    """"in ACCEPT SSH from 10.0.0.0/24 to port 22" of a rule, whole."""
    parts = [text.line(rule.get("type", "in"), text.WHOLE), text.line(rule.get("action"), text.WHOLE)]
    for key, word in (("macro", "%s"), ("proto", "%s"), ("source", "from %s"), ("dest", "to %s"),
                      ("sport", "from port %s"), ("dport", "to port %s"), ("iface", "on %s"),
                      ("icmp-type", "ICMP type %s"), ("log", "log %s"), ("comment", "comment %s")):
        if rule.get(key) not in (None, ""):
            parts.append(word % text.word(text.line(rule[key], text.WHOLE)))
    return " ".join(parts) + ("" if on(rule.get("enable", 0)) else " (not enabled)")


RULES = Table("rule", Column("pos", kind="int"), Column("enable", "on", "bool"), Column("type"), Column("action"),
              Column("macro"), Column("proto"), Column("source"), Column("dest"), Column("dport"), Column("sport"),
              Column("iface"), Column("log"), Column("comment"), *data_only("text", "ipversion", "icmp-type"),
              empty="There are none.")


def list_rules(call):
    base = _base(call)
    options = call.get(base + "/options") or {}
    rules = call.get(base + "/rules") or []
    notes = list(_without_effect(call, options))
    return result(call, rules, "%s of %s; firewall %s, the rest coming in: %s" % (
        text.plural(len(rules), "rule"), _whose(call), "off" if notes and notes[0].startswith("This") else "on",
        text.line(options.get("policy_in", "DROP"))), notes,
        options={key: value for key, value in options.items() if key != "digest"})


_MOST = 30                      # rules that a change shows
_LOCKED_OUT = " If it keeps you or this server from port 8006 of the nodes, only a console on the node puts that right."


def add_rule(call):
    base, args = _base(call), call.args
    rule = {key: value for key, value in call.parameters().items() if key not in ("vmid", "pos")}
    rule["enable"] = int(args.enable)
    place = "before the others" if args.pos is None else "at position %d" % args.pos
    call.allow(rule, "POST %s/rules" % base)
    call.confirm(lambda: ("Add this firewall rule to %s, %s: %s?%s" % (
        _whose(call), place, _words(rule), "" if args.vmid else _LOCKED_OUT), {}), whole=True)
    call.send(rule, "POST %s/rules" % base)
    if args.pos:                                        # Proxmox puts a new one first, whatever its `pos` says
        try:
            call.send({"moveto": args.pos + 1}, "PUT %s/rules/0" % base)
        except PveError as error:
            raise Failure("The rule was added before the others, at position 0, and %s moved to %d: %s" % (
                "is not known to be" if error.outcome == "unknown" else "not", args.pos, error)) from None
    return _done(call, base, "firewall rule added to %s: %s" % (_whose(call), text.line(_words(rule), 400)))


def delete_rule(call):
    base, found = _base(call), {}
    call.allow({}, "DELETE %s/rules/{pos}" % base, {"pos": call.args.pos})

    def describe():
        rule = call.get("%s/rules/{pos}" % base, {"pos": call.args.pos})
        found.update(rule)
        return "Delete firewall rule %d of %s: %s?%s" % (call.args.pos, _whose(call), _words(rule), (
            "" if call.args.vmid else _LOCKED_OUT)), {"rule": _words(rule)}
    call.confirm(describe)
    call.send({"digest": found.get("digest")}, "DELETE %s/rules/{pos}" % base, {"pos": call.args.pos})
    return _done(call, base, "firewall rule %d of %s deleted: %s" % (
        call.args.pos, _whose(call), text.line(_words(found), 400)))


def update_options(call):
    base = _base(call)
    wanted = {key: value for key, value in call.parameters().items() if key != "vmid"}
    if not wanted:
        raise Failure("Say what to change: enable, policy_in, policy_out.")
    if call.node and not call.args.vmid and set(wanted) - {"enable"}:
        raise Failure("The firewall of a node has no policy of its own: that of the cluster counts (leave node out).")
    before = {}
    call.allow(wanted, "PUT %s/options" % base)

    def describe():
        before.update(call.get(base + "/options") or {})
        changes = text.changed(before, wanted)
        return "Change the firewall of %s: %s?%s" % (_whose(call), changes, (
            " What no rule lets in is cut off." if call.args.vmid else _LOCKED_OUT)), {"changes": changes}
    found = call.confirm(describe)
    call.send(dict(wanted, digest=before.get("digest")), "PUT %s/options" % base)
    return _done(call, base, "firewall of %s: %s" % (_whose(call), found.get("changes") or ", ".join(wanted)), **found)


def _done(call, base, headline, **found):
    """The Result of a change, with the rules as they are now and what keeps them from having an effect."""
    if call.planned:
        return None
    options, rules = call.together([(base + "/options", None, {}), (base + "/rules", None, {})])
    notes = []
    if isinstance(rules, list):
        found["rules"] = ["%s %s" % (rule.get("pos"), text.line(_words(rule), 200)) for rule in rules[:_MOST]]
        more = ["and %d more" % (len(rules) - _MOST)] * (len(rules) > _MOST)
        notes.append(text.Shown("\n".join(["Rules now:", *found["rules"], *more])) if rules else "It has no rules now.")
    if isinstance(options, dict):
        notes += _without_effect(call, options)
    return result(call, call.follow(None), headline, notes, **found)


TOOLS = {
    "proxmox_list_firewall_rules": Tool("GET /cluster/firewall/rules", BASIC, ListRules, list_rules, RULES),
    "proxmox_add_firewall_rule": Tool("POST /cluster/firewall/rules", DESTRUCTIVE, AddRule, add_rule),
    "proxmox_delete_firewall_rule": Tool("DELETE /cluster/firewall/rules/{pos}", DESTRUCTIVE, DeleteRule, delete_rule),
    "proxmox_update_firewall_options": Tool("PUT /cluster/firewall/options", DESTRUCTIVE, UpdateOptions,
                                            update_options),
}
