"""Toolset: network devices of guests. A device is one property string: it is read, changed and written back whole."""
from dataclasses import dataclass
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


def add(call):
    def device(config):
        must_be_free(call, config, call.args.net)
        return {} if call.kind == "qemu" else {"name": _free_name(config)}
    return _put(call, device)


def update(call):
    if not _given(call):
        raise Failure("Nothing to change was given.")
    return _put(call, lambda config: nic(must_be_there(call, config, call.args.net, r"net\d+")))


def _put(call, device):
    """Write the device that device(config) gives (dict), with the arguments put in."""
    net = call.args.net
    _check(call)

    def work_out(config):
        keys = device(config)
        if call.args.bridge:
            check_bridge(call, call.args.bridge)
        return {net: _with_arguments(call, keys)}
    done = change(call, work_out)
    before, value = done.before.get(net), text.line(done.config.get(net) or "", 200)
    said = ("changed from %s" % text.line(before, 200), " to ") if before else ("added", ": ")
    return result(call, done, "%s: %s %s%s%s" % (
        call.subject, net, said[0], value and said[1] + value, _limit(done.config.get(net))),
        done.note(call, [net]), net=net)


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
    """The arguments that are keys of a device."""
    return {key: value for key, value in vars(call.args).items()
            if key not in ("vmid", "node", "wait", "net") and value is not None}


def _with_arguments(call, device):
    """The property string of `device`, with the arguments given put in; 0, "" and null take a key out."""
    args = call.args
    if call.kind == "lxc":
        for ip, gw in (("ip", "gw"), ("ip6", "gw6")):
            given, gateway = getattr(args, ip), getattr(args, gw)
            address = device.get(ip) if given is None else given
            if gateway and "/" not in (address or ""):
                raise Failure("A gateway (%s) goes with an address of its own: %s is %s. Give %s with its prefix."
                              % (gw, ip, address or "not set", ip))
            if given is not None and "/" not in given:
                device.pop(gw, None)
    device.update((key, value if isinstance(value, bool) or value not in (0, "") else None)
                  for key, value in _given(call).items())
    if call.kind == "lxc":
        return property_string(device)
    # `model=MAC` in one piece; model= beside virtio=MAC is a duplicate key (400)
    model, address = device.pop("model", "virtio"), device.pop("macaddr", None)
    return property_string(dict({model: address} if address else {"model": model}, **device), "model")


def _check(call):
    """Failure when a model, address or gateway is not what Proxmox takes, before anything is read."""
    args = call.args
    if call.kind == "qemu":
        if args.model is not None and args.model not in MODELS:
            raise Failure("The model %r is not one of %s." % (args.model[:40], ", ".join(MODELS)))
        return
    for key in ("ip", "ip6"):
        check_cidr(key, getattr(args, key))
    for key, version in (("gw", 4), ("gw6", 6)):
        if getattr(args, key):
            check_gateway(key, getattr(args, key), version)


def _limit(value):
    """What is said of the rate in a device's property string (str or None)."""
    rate = nic(value or "").get("rate")
    return " (at most %s MB/s)" % text.line(rate) if rate else ""


def _free_name(config):
    """The first ethN that no device of the container has; N of netN may be taken by another."""
    taken = {nic(value).get("name") for value in nics(config).values()}
    return next("eth%d" % n for n in range(64) if "eth%d" % n not in taken)


_CONFIG = ("POST {guest}/config", "PUT {guest}/config")
_NEEDS = {"needs": ("/vms VM.Config.Network", "/sdn SDN.Use")}
TOOLS = {
    **both("add_network", _CONFIG, ELEVATED, (AddNetworkVm, AddNetworkLxc), add, **_NEEDS),
    **both("update_network", _CONFIG, ELEVATED, (UpdateNetworkVm, UpdateNetworkLxc), update, **_NEEDS),
    **both("remove_network", _CONFIG, ELEVATED, RemoveNetwork, remove, destroys=True, **_NEEDS),
}
