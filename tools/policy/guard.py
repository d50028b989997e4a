"""Guardrails: which guests, nodes and commands this server may touch, judged before the first byte is sent.

They narrow what the API token may do anyway; the real boundary is the token's privileges in Proxmox. The guard gets
data (what a request reaches, and the guests' rows where a list names tags or pools) and gives a Refusal or None.
"""
import re
from fnmatch import fnmatchcase

from tools.policy import endpoints, freeze
from tools.policy.reach import (CHANGED, GUEST_LISTS, READ, guests_of_key, guests_of_row, guests_of_words, node_of_row,
                                vmid_of)
from tools.policy.selection import ELEVATED, READ_ONLY, Refusal
from tools.policy.settings import UNSAFE, Guests
from tools.pve.formats import on

#: What any shell would act upon; refused in a command unless PROXMOX_ALLOWED_COMMANDS has the word UNSAFE.
FORBIDDEN = ";&|`$(){}[]<>\n\r"
_GUEST = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)(?:/[0-9]+(/config|/unlink|/snapshot/[^/]+/rollback)?)?")
#: Requests to a storage or node that destroy volumes of guests, perhaps.
_VOLUMES = re.compile(
    r"DELETE /nodes/[^/]+/(?:storage/[^/]+/content/(?!(?:[^/:]+:)?(?:backup|iso|vztmpl|snippets|import)/)|disks/"
    r"|ceph/(?:pool|fs)/)|P\w+ /nodes/[^/]+/disks/(?:wipedisk|initgpt)")


class Guard:
    """Says no before anything is sent. Built from Settings."""

    def __init__(self, settings):
        self.settings = settings
        self._allowed, self._protected = Guests(settings.allowed_guests), Guests(settings.protected_guests)
        self._nodes = frozenset(settings.allowed_nodes)
        self._commands = [command for command in settings.allowed_commands if command != UNSAFE]
        self.hides = bool(self._allowed or self._nodes)         # whether something of a reply may have to go
        self.bounded = self.hides or bool(self._protected)      # whether what a request reaches has to be looked at

    # -- requests

    def change(self, verb, path):
        """The Refusal of a request because it changes something and this server may not, or None."""
        settings = self.settings
        if not endpoints.changes(verb, path):
            return None
        what = "%s %s changes something" % (verb, path[:200])
        if settings.read_only:
            return Refusal(what + ", but this server is read-only", READ_ONLY)
        if not settings.allow_elevated:
            return Refusal(what + ", but elevated tools are switched off", ELEVATED)
        if verb == "GET" and path.endswith("/agent/exec-status"):       # of a command that was begun before
            return None
        return freeze.refusal(settings.state_dir, what)

    def command(self, command):
        """The Refusal of a command (str) that is to run in a guest, or None."""
        listed = self._commands
        plain = not any(character in FORBIDDEN for character in command)
        if not listed or command in listed or (plain and any(fnmatchcase(command, one) or one == command + " *"
                                                             for one in listed)):
            return None
        return Refusal("The command %r is not allowed" % command[:200],
                       "PROXMOX_ALLOWED_COMMANDS allows only: %s." % ", ".join(listed))

    def runs(self, verb, path, params):
        """The Refusal of a request that runs commands, or leads to that, past PROXMOX_ALLOWED_COMMANDS; or None."""
        if self._commands and endpoints.commands(verb, path, params):
            return Refusal("%s %s runs a command, or lets one be run" % (verb, path[:200]),
                           "PROXMOX_ALLOWED_COMMANDS is set: only proxmox_execute_vm_command may run commands, and "
                           "only those listed there.")
        return None

    def unsafe(self, verb, path, params):
        """The Refusal of a request that destroys what a guest holds, for which no safety net is made; or None."""
        match, gone = _GUEST.fullmatch(path), params.get("delete") or params.get("idlist")
        if match is None or verb == "GET":
            destroys = _VOLUMES.match("%s %s" % (verb, path))
        elif match.group(1) in ("/config", "/unlink"):
            destroys = gone and (on(params.get("force")) or "unused" in str(gone))
        else:
            destroys = verb == "DELETE" or match.group(1) or on(params.get("force"))
        if self.settings.safety == "none" or not destroys:
            return None
        return Refusal("%s %s destroys what a guest holds" % (verb, path[:200]),
                       "PROXMOX_SAFETY=%s is set: only the tools that make the safety net first may (proxmox_delete_*, "
                       "proxmox_rollback_snapshot_*, proxmox_restore_backup_*, proxmox_remove_disk_vm, "
                       "proxmox_remove_mountpoint_lxc)." % self.settings.safety)

    def wants_rows(self, reach):
        """Whether `judge` needs the rows of /cluster/resources for this Reach."""
        if not reach.guests or (self._nodes and not reach.nodes <= self._nodes):     # a node is out: no matter where
            return False
        if self._nodes and reach.wherever:
            return True
        return any(guests.by_rows and not all(map(guests.by_number, reach.guests))
                   for guests in (self._allowed, self._protected))

    def judge(self, reach, rows, made):
        """The Refusal of a request that reaches what is out of bounds, or None. reach: its Reach; rows: {vmid: row} of
        all guests (or {} where `wants_rows` is false); made: the rows of those that the call makes."""
        for node in sorted(reach.nodes):
            if self._nodes and node not in self._nodes:
                return self._out_of_nodes("Node %s" % node[:80])
        for vmid, how in sorted(reach.guests.items()):
            row = rows.get(vmid) or made.get(vmid) or {}
            if self._allowed and not self._allowed.holds(vmid, {vmid: row}):
                return Refusal("Guest %d is out of bounds" % vmid,
                               "PROXMOX_ALLOWED_GUESTS allows only %s." % self._allowed)
            if self._nodes and reach.wherever and row.get("node") not in self._nodes and (
                    row or reach.changes and how != READ):
                return self._out_of_nodes("Guest %d (on %s)" % (vmid, "node %s" % row["node"] if row.get("node") else
                                                                "an unknown node"))
            if reach.changes and how != READ and self._protected:
                if self._protected.holds(vmid, rows):
                    return Refusal("Guest %d is protected" % vmid,
                                   "PROXMOX_PROTECTED_GUESTS forbids changing %s." % self._protected)
                if self._protected.by_rows and not row and how == CHANGED:
                    return Refusal("Guest %d may be protected: its tags and pool cannot be read" % vmid,
                                   "PROXMOX_PROTECTED_GUESTS forbids changing %s. The token needs VM.Audit on "
                                   "/vms/%d." % (self._protected, vmid))
        if reach.everyone and (self._allowed or self._protected):
            return Refusal("The request would reach guests that it does not name",
                           "%s limits what may be changed; name the guests." % (
                               "PROXMOX_ALLOWED_GUESTS" if self._allowed else "PROXMOX_PROTECTED_GUESTS"))
        if reach.elsewhere and self._nodes:
            return self._out_of_nodes("The whole cluster, which the request would reach,")
        return None

    def _out_of_nodes(self, what):
        return Refusal("%s is out of bounds" % what,
                       "PROXMOX_ALLOWED_NODES allows only %s." % ", ".join(sorted(self._nodes)))

    # -- what is shown

    def shown(self, data, rows):
        """(`data` of a reply without the guests, nodes, tasks and volumes that are out of bounds, how many went).
        rows() gives {vmid: row} of all guests; it is asked where a row does not say all itself."""
        if isinstance(data, list):
            kept = [self.shown(row, rows) for row in data if self._shows(row, rows)]
            return [part for part, _ in kept], len(data) - len(kept) + sum(gone for _, gone in kept)
        if isinstance(data, dict):
            kept = {key: self.shown(value, rows) if isinstance(value, (list, dict)) else
                    (self._listed(value, rows) if key in GUEST_LISTS else value, 0)
                    for key, value in data.items() if self._any(guests_of_key(key), {}, rows)}
            return ({key: part for key, (part, _) in kept.items()},
                    len(data) - len(kept) + sum(gone for _, gone in kept.values()))
        return data, 0

    def told(self, words, named, rows):
        """`words` of Proxmox's without the numbers of guests that are out of bounds and not in the text `named`."""
        hidden = [str(vmid) for vmid in guests_of_words(words) if self.hides and not self._within(vmid, {}, rows)]
        hidden = [vmid for vmid in hidden if vmid not in named]
        return re.sub(r"(?<!\d)(?:%s)(?!\d)" % "|".join(hidden), "(out of bounds)", words) if hidden else words

    def _shows(self, row, rows):
        if isinstance(row, str):                            # a line of a journal
            row = {"t": row}
        if not isinstance(row, dict):
            return True
        node = node_of_row(row) if self._nodes else None
        if node and node not in self._nodes:
            return False
        return self._any(guests_of_row(row), row, rows) and all(
            self._within(vmid, row, rows) for vmid in guests_of_words(row.get("msg") or row.get("t")))

    def _any(self, vmids, row, rows):
        return not vmids or any(self._within(vmid, row, rows) for vmid in vmids)

    def _listed(self, value, rows):
        """A list of guests as text, "100,101" or "vm:100,ct:101", without those that are out of bounds."""
        parts = re.split(r"([,;\s]+)", value) if isinstance(value, str) else ()
        kept = [part for part in parts[::2] if vmid_of(part) is None or self._within(vmid_of(part), {}, rows)]
        return value if len(kept) == len(parts[::2]) else ",".join(kept)

    def _within(self, vmid, row, rows):
        whole = row.get("id") in ("qemu/%d" % vmid, "lxc/%d" % vmid)        # of /cluster/resources, it says all itself
        if self._allowed and not self._allowed.by_number(vmid) and not (
                self._allowed.by_rows and self._allowed.by_row(row if whole else rows().get(vmid) or {})):
            return False
        return not self._nodes or whole or (rows().get(vmid) or {}).get("node", row.get("node")) in (None, *self._nodes)
