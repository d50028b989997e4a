"""What people set at once when a guest is made from another one or a backup: Proxmox makes it as that was, then the new
one's config is changed, and it is started.
"""
from dataclasses import dataclass
from typing import Annotated, Optional
from urllib.parse import quote

from tools.base.failures import Failure
from tools.base.guest import amount, check_cidr, check_gateway, nic
from tools.base.row import CONFIGURES, STARTS
from tools.base.schema import Arg, fields
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import property_string

RESIZES = CONFIGURES + " resize_{kind}"


@dataclass
class Setup:
    """(what both kinds of guest are given at once)"""
    memory: Annotated[Optional[int], Arg(unit="MiB", minimum=16, does=RESIZES)] = None
    cores: Annotated[Optional[int], Arg(does=RESIZES)] = None
    tags: Annotated[Optional[str], Arg(listed=True, does=CONFIGURES)] = None
    onboot: Annotated[Optional[bool], Arg(does=CONFIGURES)] = None
    start: Annotated[Optional[bool], Arg(does=STARTS)] = None


@dataclass
class SetupLxc(Setup):
    """(what a container is given at once)"""
    ip: Annotated[Optional[str], Arg("CIDR or dhcp, of net0", does=CONFIGURES + " update_network_lxc")] = None
    gw: Optional[str] = None


@dataclass
class SetupVm(Setup):
    """(what a VM is given at once)"""
    ciuser: Annotated[Optional[str], Arg(does=CONFIGURES)] = None
    cipassword: Annotated[Optional[str], Arg(secret=True, published=False, does=CONFIGURES)] = None
    sshkeys: Annotated[Optional[str], Arg(aliases=("ssh_public_keys",), does=CONFIGURES)] = None
    ipconfig0: Annotated[Optional[str], Arg("ip=10.0.0.5/24,gw=10.0.0.1", does=CONFIGURES)] = None
    nameserver: Annotated[Optional[str], Arg(published=False, does=CONFIGURES)] = None


NAMES = {field.name for kind in (SetupVm, SetupLxc) for field in fields(kind)}


def wanted(args):
    """The options (dict) that the arguments give the new guest; `start`, `ip` and `gw` are none of themselves."""
    found = {name: getattr(args, name, None) for name in sorted(NAMES - {"start", "ip", "gw"})}
    found = {name: value for name, value in found.items() if value is not None}
    if "sshkeys" in found:
        found["sshkeys"] = quote(found["sshkeys"].strip(), safe="")            # format urlencoded
    return found


def check(args):
    """Failure when ip or gw of a container are none."""
    ip, gw = getattr(args, "ip", None), getattr(args, "gw", None)
    check_cidr("ip", ip)
    if gw:
        check_gateway("gw", gw, 4)
        if "/" not in (ip or ""):
            raise Failure("A gateway (gw) goes with an address of its own: give ip with its prefix.")


def set_up(call, outcome, vmid, node, more=None):
    """Give the guest `vmid` on `node` its options and start it, when the task that made it (`outcome`) has ended well.
    more: options beside those of the arguments. Returns (what was done, as words; sentences about what was not)."""
    args, kind = call.args, call.kind
    options, ids = dict(wanted(args), **(more or {})), {"vmid": vmid, "node": node, "kind": kind}
    address = getattr(args, "ip", None)
    todo = [*sorted(options), *(["ip"] if address else []), *(["start"] if args.start else [])]
    if not todo:
        return [], []
    if outcome.upid and not outcome.ok:
        return [], ["Not done, for that has not ended yet: %s. Do it when it has (proxmox_update_%s_config)." % (
            ", ".join(todo), "vm" if kind == "qemu" else "lxc")]
    # what is to be done, in the order in which it is done: `done` says how far it came
    steps, done = ["set %s" % ", ".join(one for one in todo if one != "start")] * bool(options or address), []
    steps += ["started"] * bool(args.start)
    try:
        if address:
            # in a dry run there is no new guest that could be looked at: the one it is made from is
            net0 = nic(call.get("/nodes/{node}/{kind}/{vmid}/config", {} if call.planned else ids).get("net0", ""))
            if not net0:
                raise Failure("It has no net0 that could be given the address (proxmox_add_network_lxc adds one).")
            options["net0"] = property_string(dict(net0, **{"ip": address, "gw": args.gw}))
        if options:
            call.follow(call.send(options, "PUT /nodes/{node}/{kind}/{vmid}/config", ids))
            done.append("set: %s" % ", ".join("memory %s" % amount(key, value) if key == "memory" else key
                                              for key, value in sorted(options.items())))
        if args.start:
            started = call.follow(call.send({}, "POST /nodes/{node}/{kind}/{vmid}/status/start", ids))
            done.append("started" if started.ok or not started.upid else "told to start")
    except (PveError, Failure) as error:
        return done, ["%s %s exists, but %s %s: %s" % (
            "VM" if kind == "qemu" else "Container", vmid, "is not known to be" if "unknown" in call.outcomes else
            "was not", " and ".join(steps[len(done):]), text.line(error, 600))]
    return done, []
