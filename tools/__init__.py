"""The tools there are, and the guide to the code: how it is laid out, how a tool is declared, how to add one.

How it is laid out. Imports go downwards in this list, never up; no toolset imports another.

    proxmox_mcp.py   starts it, nothing more
    tools/mcp/       MCP and the command line: reading and writing lines, the protocol, running a call, asking the user
    tools/*.py       the toolsets, one file each and nothing else; their names are words of PROXMOX_TOOLS
    tools/base/      what toolsets are made of: the row, its arguments, the call, answers, failures, guests as they are
    tools/policy/    what may be done: the table of endpoints, the guard, the audit log, the settings
    tools/pve/       Proxmox itself: client, TLS, tasks, formats, the schema of its API; nothing of MCP or policy
    tools/demo/      the demo cluster, beside pve; a .pyz has it only when it was packed with --demo
    tests/           a test file for each of these, and the cases of each tool

How a tool is declared. A toolset's file ends in TOOLS, where a row is the whole truth about a tool:

    "proxmox_get_node_dns":   Tool("GET /nodes/{node}/dns", BASIC, NodeArgs, returns=DNS, about="DNS of a node."),
    "proxmox_wake_node":      Tool("POST /nodes/{node}/wakeonlan", ELEVATED, Wake, says="node {node} woken"),
    "proxmox_add_network_vm": Tool("POST /nodes/{node}/qemu/{vmid}/config", ELEVATED, AddNetworkVm, add_network),

* The endpoint: arguments that it names in {braces} go into its path, the others are sent as parameters.
* The tier: BASIC reads; ELEVATED changes, or reads what not everybody should; DESTRUCTIVE may lose something.
* The arguments are a dataclass. Its docstring is the description that the model reads ({guest}: VM or container); what
  many tools take (Guest, NodeArgs, Waiting, Paged) is in base/row, and `about` the description of a row with no more.
* Without a handler a GET is shaped as `returns` says: Table and Facts in base/answers also sort, filter, sum up and say
  what an empty list means. A change is sent, its task followed, and told as `says`; one whose arguments have no `wait`
  starts no task: whatever Proxmox answers is shown. `first` may refuse or ask before.
* A handler is for the rest: it reads with call.get, changes with call.send, waits with call.follow, and ends in one
  result(...) of rows, facts or how the task ended. What Proxmox's errors mean is in the row too (`explains`).
* An answer is text, or data that says all of it (PROXMOX_ANSWERS): every note, one sentence or more, is in the data
  word for word; what a handler writes from what the data holds anyway, a table say, is a text.Shown and is not.
* both(...) in base/row makes the rows of a tool for VMs and of its twin for containers.
* Which privileges a token needs, whether something may be lost and whom it reaches follow from the endpoint's line in
  policy/endpoints (privileges from `needs`, where the row has it). A test refuses a row whose endpoint is not there.

To add a tool:

1. Its row, and a dataclass above it if its arguments are new.
2. Its case in CASES of tests/test_TOOLSET.py: the arguments, and the requests that they become.
3. A route in tools/demo if the demo cluster does not know the endpoint.
4. What follows from the rows, each held against them by a test:

       python3 proxmox_mcp.py tools --write                what a client is told (tools.json, outputs.json)
       python3 proxmox_mcp.py tools > tests/tools.txt      the list of tools
       python3 tests/readme.py                             the tables of the README

Listing the tools imports no toolset: it comes out of tools.json, one line a tool, and where PROXMOX_ANSWERS has data in
the answers the schemas of that out of outputs.json. A toolset is imported when one of its tools is called.
"""
import functools
import json
import os
from importlib import import_module

#: Every toolset, in the order in which its tools are listed.
TOOLSETS = ("cluster", "health", "security", "usage", "guests", "lifecycle", "change", "snapshots", "backups", "disks",
            "networks", "agent", "create", "nodes", "tasks", "migration", "drain", "insight", "options", "content",
            "admin", "firewall", "jobs", "runs", "undo", "ssh", "api")

#: Names of tools that are gone: what does the same now.
REMOVED = {
    "proxmox_get_disk_smart": "proxmox_get_node_disk_smart",
    "proxmox_list_guests_without_backup": "proxmox_list_backup_state missing=true",
    "proxmox_get_guest_ips": "proxmox_get_inside", "proxmox_get_vm_guest_info": "proxmox_get_inside",
    "proxmox_get_pending": "proxmox_get_vm_config or proxmox_get_lxc_config",
    "proxmox_list_services": "proxmox_get_overview area=services",
    "proxmox_delete_pool": "proxmox_api_call DELETE /pools/POOL",
    "proxmox_delete_backup_job": "proxmox_update_backup_job enabled=false, or proxmox_api_call DELETE "
                                 "/cluster/backup/ID",
    "proxmox_get_cluster_log": "proxmox_list_tasks, or proxmox_api_call of GET /cluster/log",
    "proxmox_list_appliances": "proxmox_download_appliance, which names what there is",
    "proxmox_regenerate_cloudinit_vm": "proxmox_reboot_vm, which makes the drive again, as each start does",
    "proxmox_reset_vm": "proxmox_stop_vm, then proxmox_start_vm",
    "proxmox_template_vm": "proxmox_api_call POST /nodes/NODE/qemu/VMID/template",
    "proxmox_template_lxc": "proxmox_api_call POST /nodes/NODE/lxc/VMID/template"}

SURFACE, OUTPUTS = "tools.json", "outputs.json"


def all_rows():
    """Every row of every toolset: (toolset, name, Tool)."""
    return [(toolset, name, tool) for toolset in TOOLSETS
            for name, tool in import_module("tools." + toolset).TOOLS.items()]


def generate():
    """{file: its text} of what is generated from the rows, a JSON object a line. tools.json: name, toolset, tier,
    endpoint, changes, needs, and `tool`, the MCP definition. outputs.json: names of tools, and the outputSchema that
    they share."""
    from tools.base.answers import output_schema
    from tools.base.row import definition
    lines, outputs = [], {}
    for toolset, name, tool in all_rows():
        entry = {"name": name, "toolset": toolset, "tier": tool.tier, "endpoint": tool.endpoint,
                 "changes": tool.changes}
        if tool.needs is not None:
            entry["needs"] = tool.needs
        lines.append(_line(dict(entry, tool=definition(name, tool))))
        outputs.setdefault(_line(output_schema(tool.returns)), []).append(name)
    return {SURFACE: "".join(lines), OUTPUTS: "".join(
        _line({"names": names, "outputSchema": json.loads(schema)}) for schema, names in outputs.items())}


def _line(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True) + "\n"


def _lines(name):
    """The objects in a generated file. From a directory or a zip, as this is."""
    data = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), name))
    return [json.loads(line) for line in data.decode("ascii").splitlines()]


@functools.lru_cache(maxsize=None)
def surface():
    """The entries of tools.json (list of dicts), in the order of TOOLSETS. Read once and the same for everybody: nobody
    changes them."""
    return _lines(SURFACE)


@functools.lru_cache(maxsize=None)
def entries():
    """{name of a tool: its entry of the surface}."""
    return {entry["name"]: entry for entry in surface()}


def outputs():
    """{name of a tool: its outputSchema} out of outputs.json."""
    return {name: entry["outputSchema"] for entry in _lines(OUTPUTS) for name in entry["names"]}


def write_surface():
    """Write the generated files beside this one."""
    for name, content in generate().items():
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
        with open(path, "w", encoding="ascii", newline="\n") as stream:
            stream.write(content)


def instead(name):
    """The sentence about a name that no tool has any more, after a blank; "" about one that none had."""
    found = REMOVED.get(name) or REMOVED.get("proxmox_" + name)
    return " Use %s." % found if found else ""


def find(entry):
    """The Tool of an entry of the surface; imports its toolset."""
    return import_module("tools." + entry["toolset"]).TOOLS[entry["name"]]
