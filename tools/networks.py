"""Toolset: network devices of guests. A device is one property string: it is read, changed and written back whole."""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import result
from tools.base.edit import change, must_be_free, must_be_there
from tools.base.failures import Failure
from tools.base.guest import MODELS, check_bridge, check_cidr, check_gateway, named, nic, nics
from tools.base.row import ELEVATED, Guest, Waiting, both
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.formats import property_string

Net = Annotated[str, Arg("net1", format="net")]
Bridge = Annotated[str, Arg(format="bridge")]
Ip = Annotated[Optional[str], Arg("CIDR or dhcp", null="")]
Ip6 = Annotated[Optional[str], Arg(null="")]
Gw = Annotated[Optional[str], Arg(null="")]
Mac = Annotated[Optional[str], Arg(format="mac", aliases=("mac", "hwaddr"))]
Hwaddr = Annotated[Optional[str], Arg(format="mac", aliases=("mac", "macaddr"))]
Tag = Annotated[Optional[int], Arg(null=0, aliases=("vlan",))]
NewTag = Annotated[Optional[int], Arg("0 = none", null=0, aliases=("vlan",))]
Rate = Annotated[Optional[float], Arg(unit="MB/s", minimum=0, null=0)]
Mtu = Annotated[Optional[int], Arg(null=0, published=False)]


@dataclass
class AddNetworkVm(Waiting):
    """Add a network device to a {guest}."""
    net: Net = REQUIRED
    bridge: Bridge = REQUIRED
    model: str = "virtio"
    tag: Tag = None
    firewall: Optional[bool] = None
    macaddr: Mac = None
    rate: Rate = None
    mtu: Mtu = None


@dataclass
class AddNetworkLxc(Guest):
    """Add a network device to a {guest}."""
    net: Net = REQUIRED
    bridge: Bridge = REQUIRED
    ip: Ip = None
    gw: Gw = None
    ip6: Ip6 = None
    gw6: Gw = None
    tag: Tag = None
    firewall: Optional[bool] = None
    name: Annotated[Optional[str], Arg(published=False)] = None
    hwaddr: Hwaddr = None
    rate: Rate = None
    mtu: Mtu = None


@dataclass
class UpdateNetworkVm(Waiting):
    """Change a network device of a {guest}."""
    net: Net = REQUIRED
    bridge: Annotated[Optional[str], Arg(format="bridge")] = None
    model: Optional[str] = None
    tag: NewTag = None
    firewall: Optional[bool] = None
    macaddr: Mac = None
    rate: Rate = None
    mtu: Mtu = None
    link_down: Optional[bool] = None


@dataclass
class UpdateNetworkLxc(Guest):
    """Change a network device of a {guest}."""
    net: Net = REQUIRED
    bridge: Annotated[Optional[str], Arg(format="bridge")] = None
    ip: Ip = None
    gw: Gw = None
    ip6: Ip6 = None
    gw6: Gw = None
    tag: NewTag = None
    firewall: Optional[bool] = None
    name: Annotated[Optional[str], Arg(published=False)] = None
    hwaddr: Hwaddr = None
    rate: Rate = None
    mtu: Mtu = None
    link_down: Optional[bool] = None


@dataclass
class RemoveNetworkVm(Waiting):
    """Remove a network device from a {guest}."""
    net: Net = REQUIRED


@dataclass
class RemoveNetworkLxc(Guest):
    """Remove a network device from a {guest}."""
    net: Net = REQUIRED


#: Arguments that are keys of the property string, in the order in which they are written.
_KEYS = {"qemu": ("bridge", "tag", "firewall", "rate", "mtu", "link_down"),
         "lxc": ("name", "bridge", "hwaddr", "ip", "gw", "ip6", "gw6", "tag", "firewall", "rate", "mtu", "link_down")}


def add(call):
    net = call.args.net
    _check(call)

    def work_out(config):
        must_be_free(call, config, net)
        if call.kind == "qemu":
            device = {"model": call.args.model, "macaddr": call.args.macaddr}
        else:
            device = {"name": call.args.name or _free_name(config)}
            if device["name"] in _names(config).values():
                raise Failure("The container has a %s already (%s). Leave name out." % (
                    device["name"], next(key for key, name in _names(config).items() if name == device["name"])))
        check_bridge(call, call.args.bridge)
        return {net: _written(call, _put(call, device))}
    done = change(call, work_out)
    value = done.config.get(net)
    says = "%s: %s added%s%s" % (call.subject, net, ": %s" % text.line(value, 200) if value else "", _limit(value))
    return result(call, done, says, done.note(call, [net]), net=net)


def update(call):
    net = call.args.net
    _check(call)
    if all(value is None for key, value in vars(call.args).items() if key not in ("vmid", "node", "wait", "net")):
        raise Failure("Nothing to change was given.")

    def work_out(config):
        device = nic(must_be_there(call, config, net, r"net\d+"))
        if call.kind == "qemu" and call.args.model:
            device["model"] = call.args.model
        if call.kind == "qemu" and call.args.macaddr:
            device["macaddr"] = call.args.macaddr
        if call.kind == "lxc" and call.args.name in {name for key, name in _names(config).items() if key != net}:
            raise Failure("Another network device of the container is called %s." % call.args.name)
        if call.args.bridge:
            check_bridge(call, call.args.bridge)
        return {net: _written(call, _put(call, device))}
    done = change(call, work_out)
    before, value = str(done.before[net]), done.config.get(net)
    return result(call, done, "%s: %s changed from %s%s%s" % (
        call.subject, net, text.line(before, 200), " to %s" % text.line(value, 200) if value else "", _limit(value)),
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


# ------------------------------------------------------------------------------------------------ the property string

def _written(call, device):
    """The property string of a device: `model=MAC` in one piece; model= beside virtio=MAC is a duplicate key (400)."""
    if call.kind == "lxc":
        return property_string(device)
    model, mac = device.pop("model", "virtio"), device.pop("macaddr", None)
    return property_string(dict({model: mac} if mac else {"model": model}, **device), "model")


def _put(call, device):
    """`device` with the arguments given put in; 0, "" and null take a key out."""
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
    for key in _KEYS[call.kind]:
        value = getattr(args, key, None)
        if value is None:
            continue
        if isinstance(value, bool) or value not in (0, ""):
            device[key] = value
        else:
            device.pop(key, None)
    return device


def _check(call):
    """Failure when a model, address, gateway or name is not what Proxmox takes, before anything is read."""
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
    if args.name is not None and not re.fullmatch(r"[-_.\w]+", args.name, re.ASCII):
        raise Failure("The name %r is not an interface name, such as eth0." % args.name[:40])


def _limit(value):
    """What is said of the rate in a device's property string (str or None)."""
    rate = nic(value or "").get("rate")
    return " (at most %s MB/s)" % text.line(rate) if rate else ""


def _names(config):
    """{"net0": "eth0"} of a container's config."""
    return {key: nic(value).get("name") for key, value in nics(config).items()}


def _free_name(config):
    """The first ethN that no device of the container has; N of netN may be taken by another."""
    taken = set(_names(config).values())
    return next("eth%d" % n for n in range(64) if "eth%d" % n not in taken)


_CONFIG = ("POST {guest}/config", "PUT {guest}/config")
_NEEDS = {"needs": ("/vms VM.Config.Network", "/sdn SDN.Use")}
TOOLS = {
    **both("add_network", _CONFIG, ELEVATED, (AddNetworkVm, AddNetworkLxc), add, **_NEEDS),
    **both("update_network", _CONFIG, ELEVATED, (UpdateNetworkVm, UpdateNetworkLxc), update, **_NEEDS),
    **both("remove_network", _CONFIG, ELEVATED, (RemoveNetworkVm, RemoveNetworkLxc), remove, destroys=True,
           **_NEEDS),
}
