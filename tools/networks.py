"""Toolset: network devices of guests. A device is one property string: it is read, changed and written back whole."""
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Optional

from tools.base.answers import result
from tools.base.edit import change, must_be_free, must_be_there
from tools.base.failures import Failure
from tools.base.guest import MODELS, check_bridge, check_cidr, check_gateway, named, nic, nics
from tools.base.row import ELEVATED, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.formats import property_string

Net = Annotated[str, Arg("net1", format="net")]
Bridge = Annotated[Optional[str], Arg(format="bridge")]
Flag = Optional[bool]
_Key = Annotated[Optional[str], Arg(null="")]


@dataclass
class RemoveNetwork(Waiting):
    """Remove a network device from a {guest}."""
    net: Net = REQUIRED


@dataclass
class _Add(RemoveNetwork):
    """(what a device of both kinds of guest has)"""
    bridge: Annotated[str, Arg(format="bridge")] = REQUIRED
    tag: Annotated[Optional[int], Arg(null=0, aliases=("vlan",))] = None
    firewall: Flag = None
    rate: Annotated[Optional[float], Arg(unit="MB/s", minimum=0, null=0)] = None


@dataclass
class AddNetworkVm(_Add):
    """Add a network device to a {guest}."""
    model: str = "virtio"
    macaddr: Annotated[Optional[str], Arg(format="mac", aliases=("mac", "hwaddr"))] = None


@dataclass
class AddNetworkLxc(_Add):
    """Add a network device to a {guest}."""
    ip: Annotated[Optional[str], Arg("CIDR or dhcp", null="")] = None
    gw: _Key = None
    ip6: _Key = None
    gw6: _Key = None
    hwaddr: Annotated[Optional[str], Arg(format="mac", aliases=("mac", "macaddr"))] = None


@dataclass
class UpdateNetworkVm(AddNetworkVm):
    """Change a network device of a {guest}."""
    bridge: Bridge = None
    model: Optional[str] = None
    link_down: Flag = None


@dataclass
class UpdateNetworkLxc(AddNetworkLxc):
    """Change a network device of a {guest}."""
    bridge: Bridge = None
    link_down: Flag = None


def _new(call, config):
    """The keys of a device that is not there yet, to begin with."""
    must_be_free(call, config, call.args.net)
    taken = {nic(value).get("name") for value in nics(config).values()}     # N of netN may be taken by another
    return {} if call.kind == "qemu" else {"name": next("eth%d" % n for n in range(64) if "eth%d" % n not in taken)}


def _there(call, config):
    return nic(must_be_there(call, config, call.args.net, r"net\d+"))


def put(look, call):
    """Write the device whose keys look(call, config) gives, with the arguments put in."""
    net, given = call.args.net, _given(call)

    def work_out(config):
        device = look(call, config)
        if call.args.bridge:
            check_bridge(call, call.args.bridge)
        return {net: _with_arguments(call, device, given)}
    done = change(call, work_out)
    before, value = done.before.get(net), text.line(done.config.get(net) or "", 200)
    said = ("changed from %s" % text.line(before, 200), " to ") if before else ("added", ": ")
    rate = nic(done.config.get(net) or "").get("rate")
    return result(call, done, "%s: %s %s%s%s" % (call.subject, net, said[0], value and said[1] + value, (
        " (at most %s MB/s)" % text.line(rate) if rate else "")), done.note(call, [net]), net=net)


def remove(call):
    net = call.args.net

    def work_out(config):
        must_be_there(call, config, net, r"net\d+")
        return {"delete": net}
    done = change(call, work_out, lambda config: "Remove %s of %s on node %s, %s? What runs over it is cut off." % (
        net, named(call, config), call.node, text.line(config[net], 200)), strict=False)
    before = str(done.before[net])
    return result(call, done, "%s: %s %s (it was %s)" % (
        call.subject, net, "marked for removal" if net in done.waiting else "removed", text.line(before, 200)),
        done.note(call, [net]), net=net)


def _given(call):
    """The arguments that are keys of a device; Failure when there is none, or one is not what Proxmox takes."""
    args = call.args
    given = {key: value for key, value in vars(args).items()
             if key not in ("vmid", "node", "wait", "net") and value is not None}
    if not given:
        raise Failure("Nothing to change was given.")
    if call.kind == "qemu":
        if args.model is not None and args.model not in MODELS:
            raise Failure("The model %r is not one of %s." % (args.model[:40], ", ".join(MODELS)))
        return given
    for ip, gw, version in (("ip", "gw", 4), ("ip6", "gw6", 6)):
        check_cidr(ip, getattr(args, ip))
        if getattr(args, gw):
            check_gateway(gw, getattr(args, gw), version)
    return given


def _with_arguments(call, device, given):
    """The property string of `device`, with the arguments given put in; 0, "" and null take a key out."""
    for ip, gw in (("ip", "gw"), ("ip6", "gw6")):       # of a container
        address = given.get(ip, device.get(ip))
        if given.get(gw) and "/" not in (address or ""):
            raise Failure("A gateway (%s) goes with an address of its own: %s is %s. Give %s with its prefix."
                          % (gw, ip, address or "not set", ip))
        if "/" not in given.get(ip, "/"):
            device.pop(gw, None)
    device.update((key, value if isinstance(value, bool) or value not in (0, "") else None)
                  for key, value in given.items())
    if call.kind == "lxc":
        return property_string(device)
    # `model=MAC` in one piece; model= beside virtio=MAC is a duplicate key (400)
    model, address = device.pop("model", "virtio"), device.pop("macaddr", None)
    return property_string(dict({model: address} if address else {"model": model}, **device), "model")


_CONFIG = ("POST {guest}/config", "PUT {guest}/config")
_NEEDS = {"needs": ("/vms VM.Config.Network", "/sdn SDN.Use")}
TOOLS = {
    **both("add_network", _CONFIG, ELEVATED, (AddNetworkVm, AddNetworkLxc), partial(put, _new), **_NEEDS),
    **both("update_network", _CONFIG, ELEVATED, (UpdateNetworkVm, UpdateNetworkLxc), partial(put, _there),
           **_NEEDS),
    **both("remove_network", _CONFIG, ELEVATED, RemoveNetwork, remove, destroys=True, **_NEEDS),
}
