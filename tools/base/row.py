"""One row of a toolset's table: Tool, its tier, what a client is told of it, and the arguments that many share."""
import re
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import DEFAULT_LIMIT, TASK
from tools.base.schema import REQUIRED, Arg, input_schema
from tools.pve import text

#: BASIC is always allowed; ELEVATED needs PROXMOX_ALLOW_ELEVATED; DESTRUCTIVE needs it too and may ask the user first.
BASIC, ELEVATED, DESTRUCTIVE = "basic", "elevated", "destructive"


class Tool:
    """A row of a toolset's table.

    endpoint   str "VERB /path": the Proxmox endpoint the tool stands for; `{node}`, `{vmid}` ... are arguments
    tier       BASIC, ELEVATED or DESTRUCTIVE
    args       the dataclass of its arguments; its docstring is the description, {guest} becomes VM or container
    about      the description, where the arguments are those of many tools
    handler    function(call) -> Result; without one the arguments are sent as parameters
    returns    Facts, Table or TASK: what the data looks like
    says       how the answer begins: "{subject} started". In braces: {subject}, a guest with its name where that is
               known, {node}, {token}, {count} of a list ("3 disks"), and any argument or what the tool found
    first      function(call) -> dict: what a change without a handler does before it is sent, to refuse or to ask; what
               it found is added to the data
    fixed      dict of parameters that are always sent
    explains   (pattern, sentence) rows, what Proxmox's words mean here (`failures.explained`)
    repeats    bool, idempotentHint; destroys: destructiveHint; where they are not what verb and tier say
    needs      tuple of str "ACL PATH PRIVILEGE|OTHER": what a token needs, where it is not what the endpoint needs
    """

    def __init__(self, endpoint, tier, args, handler=None, returns=TASK, says=None, repeats=None, destroys=None,
                 needs=None, first=None, fixed=None, explains=(), about=None):
        self.endpoint, (self.verb, self.path) = endpoint, endpoint.split(" ", 1)
        kind = re.search(r"/(qemu|lxc)(?:/|\Z)", self.path)
        self.kind = kind.group(1) if kind else None
        self.tier, self.args, self.handler, self.needs = tier, args, handler, needs
        self.returns, self.says, self.first, self.fixed, self.explains = returns, says, first, fixed or {}, explains
        self.about = about or args.__doc__
        self.changes = self.verb != "GET" or tier == DESTRUCTIVE
        self.destroys = tier == DESTRUCTIVE if destroys is None else destroys
        self.repeats = (self.verb in ("GET", "PUT", "DELETE")) if repeats is None else repeats


def both(name, endpoint, tier, args, *rest, **more):
    """The rows of a tool and its twin, {"proxmox_NAME_vm": Tool, "proxmox_NAME_lxc": Tool}: {guest} in the endpoint is
    the guest's path, a tuple among endpoint, args and handler has one for each."""
    rows = {}
    for number, (suffix, kind) in enumerate((("vm", "qemu"), ("lxc", "lxc"))):
        own, *others = [one[number] if isinstance(one, tuple) else one for one in (endpoint, args) + rest]
        own = own.replace("{guest}", "/nodes/{node}/%s/{vmid}" % kind)
        rows["proxmox_%s_%s" % (name, suffix)] = Tool(own, tier, *others, **more)
    return rows


_WORDS = {"vm": "VM", "vms": "VMs", "lxc": "container", "ips": "IPs", "iso": "ISO", "ssl": "TLS",
          "mountpoint": "mount point", **{word: word.upper() for word in (
              "vmid", "dns", "lvm", "zfs", "ip", "smart", "ha", "api", "rrd")}}


def title(name):
    """"Get VM config" of "proxmox_get_vm_config"."""
    return text.capital(" ".join(_WORDS.get(word, word) for word in name.split("_")[1:]))


def description(name, tool):
    """A row's description for the model: the docstring of its arguments, with {guest} filled in."""
    return " ".join(tool.about.split()).replace("{guest}", "container" if "_lxc" in name else "VM")


def definition(name, tool):
    """The MCP Tool (dict) of a row, without its outputSchema; it has no title, which would be its name once more. Its
    hints (schema: ToolAnnotations) are those that a client does not take for granted: it would that a tool changes
    something, may lose something, does more when it is called again, and reaches a world without end."""
    hints = {} if tool.destroys else {"destructiveHint": False}
    hints.update({"idempotentHint": True} if tool.repeats else {})
    return {"name": name, "description": description(name, tool), "inputSchema": input_schema(tool.args),
            "annotations": dict(hints if tool.changes else {"readOnlyHint": True}, openWorldHint=False)}


# ----------------------------------------------------------------------------------------------------- shared arguments

Node = Annotated[str, Arg(format="node")]
AnyNode = Annotated[Optional[str], Arg(format="node")]
#: An existing guest, by its number or its name; and the number of one that is to be made.
Vmid = Annotated[int, Arg(format="vmid")]
Newid = Annotated[int, Arg(format="newid")]
Storage = Annotated[str, Arg(format="storage")]
#: Amounts: a number alone is so many of the unit, which is Proxmox's own; "4G" is 4 GiB everywhere.
Memory = Annotated[Optional[int], Arg(unit="MiB", minimum=16)]
Size = Annotated[str, Arg(unit="GiB")]
#: What is made before something of a guest is destroyed (tools.base.safety).
Safety = Annotated[Optional[str], Arg(format="safety", published=False)]
Snapname = Annotated[str, Arg(format="snapname", aliases=("name", "snapshot"))]
_WAIT = Arg(minimum=0, maximum=3600, booleans=(None, 0))
Wait = Annotated[Optional[int], _WAIT]
#: What so many tools take that the server's instructions tell it once, and no tool again.
_AnyNode = Annotated[Optional[str], Arg(format="node", published=False)]
_Wait = Annotated[Optional[int], _WAIT._replace(published=False)]


#: Tools whose work some arguments of others do.
STARTS, CONFIGURES = "start_{kind}", "update_{kind}_config"


@dataclass
class NoArgs:
    """(none)"""


@dataclass
class NodeArgs:
    """(one node)"""
    node: Node = REQUIRED


@dataclass
class Guest:
    """(one guest; `node` is looked up when left out)"""
    vmid: Vmid = REQUIRED
    node: _AnyNode = None


@dataclass
class Waiting(Guest):
    """(one guest, and a task that is followed)"""
    wait: _Wait = None


@dataclass
class OnNode(NodeArgs):
    """(one node, and a task that is followed)"""
    wait: _Wait = None


@dataclass
class Paged:
    """(a list that is shown in pages)"""
    limit: Annotated[int, Arg(minimum=1, maximum=1000, published=False)] = DEFAULT_LIMIT
    offset: Annotated[int, Arg(minimum=0)] = 0


@dataclass
class Filtered:
    """(guests by filter)"""
    node: AnyNode = None
    pool: Optional[str] = None
    tag: Optional[str] = None
    name: Annotated[Optional[str], Arg("part, or with *")] = None


@dataclass
class Chosen(Filtered, Paged):
    """(a page of guests by filter)"""


#: Arguments that are never parameters: they say where, how long to wait, what to make before.
NOT_PARAMETERS = {"node", "wait", "limit", "offset", "safety"}
