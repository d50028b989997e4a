"""Which tools this server has: PROXMOX_TOOLS, PROXMOX_READ_ONLY and PROXMOX_ALLOW_ELEVATED.

Looked at before anything of a tool is imported, so an `entry` here is a line of tools.json (a dict).
"""
from fnmatch import fnmatchcase
from typing import NamedTuple

from tools import TOOLSETS

#: The tools of the original task, in its order: what PROXMOX_TOOLS=mission means.
MISSION = tuple("proxmox_" + name for name in """
    get_nodes get_node_status get_cluster_status get_next_vmid get_vms get_vm_status get_storage get_vm_config
    get_lxc_config start_lxc start_vm stop_lxc stop_vm shutdown_lxc shutdown_vm reboot_lxc reboot_vm pause_vm resume_vm
    delete_lxc delete_vm clone_lxc clone_vm resize_lxc resize_vm create_snapshot_lxc create_snapshot_vm
    list_snapshots_lxc list_snapshots_vm rollback_snapshot_lxc rollback_snapshot_vm delete_snapshot_lxc
    delete_snapshot_vm create_backup_lxc create_backup_vm list_backups restore_backup_lxc restore_backup_vm
    delete_backup add_disk_vm add_mountpoint_lxc resize_disk_vm resize_disk_lxc remove_disk_vm remove_mountpoint_lxc
    move_disk_vm move_disk_lxc add_network_vm add_network_lxc update_network_vm update_network_lxc remove_network_vm
    remove_network_lxc execute_vm_command list_templates create_lxc create_vm get_node_disks get_node_disk_smart
    get_node_lvm get_node_zfs get_node_network get_node_dns get_network_iface
    """.split())

#: A few reads, a task's end, and the three tools that reach everything, for clients that pay for tools:
#: PROXMOX_TOOLS=minimal.
MINIMAL = tuple("proxmox_" + name for name in "get_overview get_vms get_task api_search api_describe api_call".split())

#: Toolsets and tools for every day, for clients that take 40 tools at most: PROXMOX_TOOLS=daily.
DAILY = tuple("cluster guests lifecycle snapshots tasks api".split()) + tuple(
    "proxmox_" + name for name in "get_overview get_inside create_backup_vm create_backup_lxc list_backups".split())

#: word of PROXMOX_TOOLS -> whether it takes in an entry of the surface; other words are names of toolsets.
PRESETS = {"all": lambda entry: True,
           "mission": lambda entry: entry["name"] in MISSION,
           "daily": lambda entry: not {entry["toolset"], entry["name"]}.isdisjoint(DAILY),
           "readonly": lambda entry: not entry["changes"],
           "minimal": lambda entry: entry["name"] in MINIMAL}

READ_ONLY = "PROXMOX_READ_ONLY=true is set; it overrides every other setting."
ELEVATED = "Set PROXMOX_ALLOW_ELEVATED=true in the server's environment to allow it."


class Refusal(NamedTuple):
    """Why something is not allowed here: headline (str, what is refused), reason (str, by which setting)."""

    headline: str
    reason: str


def takes(word, entry):
    """Whether a word of PROXMOX_TOOLS (without the -) names this tool."""
    if word in PRESETS or word in TOOLSETS:
        return PRESETS[word](entry) if word in PRESETS else word == entry["toolset"]
    name = entry["name"]
    return any(fnmatchcase(one, word) for one in (name, name[len("proxmox_"):]))


class Selection:
    """The tools of one Settings. without: words of PROXMOX_TOOLS that take some away."""

    def __init__(self, settings):
        self._settings = settings
        self.without = [word[1:] for word in settings.tools if word.startswith("-")]
        self._given = [word for word in settings.tools if not word.startswith("-")] or ["all"]

    def taken(self, entry):
        """Whether PROXMOX_TOOLS takes a tool away, so that nothing else may do what it does either."""
        return any(takes(word, entry) for word in self.without)

    def hidden_by(self, entry):
        if self._settings.read_only and entry["changes"]:
            return "PROXMOX_READ_ONLY"
        if self.taken(entry) or not any(takes(word, entry) for word in self._given):
            return "PROXMOX_TOOLS"
        return None

    def off(self, entry):
        """The setting (variable, or variable=value) that keeps a tool from being used, or None."""
        variable, settings = self.hidden_by(entry), self._settings
        if variable is not None or entry["tier"] == "basic" or settings.allow_elevated or (
                entry["endpoint"].startswith("ANY ")):      # what a call of any endpoint needs depends on the call
            return variable
        reads = not entry["changes"] and (settings.read_only or "readonly" in self._given)
        return None if reads else "PROXMOX_ALLOW_ELEVATED=false"

    def refusal(self, entry):
        variable = self.off(entry)
        if variable is None:
            return None
        if variable == "PROXMOX_READ_ONLY":
            return Refusal("%s changes something, but this server is read-only" % entry["name"], READ_ONLY)
        if variable == "PROXMOX_ALLOW_ELEVATED=false":
            return Refusal("%s is an elevated tool, and those are switched off" % entry["name"], ELEVATED + (
                "" if entry["changes"] else
                " It only reads, so PROXMOX_READ_ONLY=true (nothing but reading) allows it too."))
        return Refusal("%s is switched off on this server" % entry["name"],
                       "%s in the server's environment leaves it out." % variable)
