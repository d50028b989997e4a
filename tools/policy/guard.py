"""Guardrails: which tools, guests and nodes this server may touch, checked before the first byte; and the rate limit.

They narrow what the API token may do anyway; the real boundary is the token's privileges in Proxmox. Guests, nodes,
volumes and tasks are looked for wherever Proxmox takes one: in the path, as newid, target, vmid lists, volume ids,
UPIDs, HA and replication ids. Where no setting is used nothing is looked at.
"""
import re
import threading
from fnmatch import fnmatchcase
from math import ceil

from tools import RENAMED
from tools.policy.settings import guest_list, rates
from tools.pve.formats import on, owner_of, parse_upid

#: The tools of the original task, in its order: what PROXMOX_TOOLSETS=mission means.
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
#: PROXMOX_TOOLSETS=minimal.
MINIMAL = tuple("proxmox_" + name for name in "get_overview get_vms get_task api_search api_describe api_call".split())

#: Toolsets and tools for every day, for clients that take 40 tools at most: PROXMOX_TOOLSETS=daily.
DAILY = tuple("cluster guests lifecycle snapshots tasks api".split()) + tuple(
    "proxmox_" + name for name in "get_overview get_guest_ips create_backup_vm create_backup_lxc list_backups "
                                  "list_guests_without_backup".split())

#: What any shell would act upon; refused in a command unless PROXMOX_ALLOW_UNSAFE_COMMANDS=true.
FORBIDDEN = ";&|`$(){}[]<>\n\r"

_MISSION, _MINIMAL, _DAILY = frozenset(MISSION), frozenset(MINIMAL), frozenset(DAILY)

#: word of PROXMOX_TOOLSETS -> whether it takes in an entry of the surface; other words are names of toolsets.
_PRESETS = {"all": lambda entry: True,
            "mission": lambda entry: entry["name"] in _MISSION,
            "daily": lambda entry: entry["toolset"] in _DAILY or entry["name"] in _DAILY,
            "readonly": lambda entry: not entry["changes"],
            "minimal": lambda entry: entry["name"] in _MINIMAL}

#: GETs that do more than read: they open a console, use up a result, start a helper VM, make the node call an address,
#: or hand out what is inside a guest (any of its files, its users' password hashes).
_ACTING_GETS = re.compile(
    r"/nodes/[^/]+/(?:(?:(?:qemu|lxc)/\d+/)?(?:vncwebsocket|mtunnelwebsocket)"
    r"|qemu/\d+/(?:agent/(?:exec-status|file-read)|cloudinit/dump)"
    r"|query-url-metadata|query-oci-repo-tags|scan/\w+|storage/[^/]+/file-restore/\w+)"
    r"|/cluster/acme/(?:tos|meta|directories)")

#: Requests other than DELETE after which something is gone, cut off or run by another's rules: power and state of
#: guests and nodes, disks overwritten, any command. And parameters that make one of them out of any request.
_DESTROYING = re.compile(
    r"(?:POST|PUT) /nodes/[^/]+/(?:(?:qemu|lxc)/\d+/(?:status/(?:stop|reset)|template|snapshot/[^/]+/rollback|monitor"
    r"|agent/(?:exec|file-write|shutdown|suspend-\w+|set-user-password))|status|execute|stopall|suspendall|migrateall"
    r"|ceph/(?:osd|stop)|disks/(?:wipedisk|initgpt|lvm|lvmthin|zfs|directory))|PUT /nodes/[^/]+/network"
    r"|POST /cluster/(?:bulk-action/guest/(?:shutdown|suspend|migrate)|ha/status/disarm-ha)")
_DESTROYING_PARAMETERS = ("delete", "force", "purge", "forceStop", "overwrite", "cleanup-disks")


def destroys(verb, path, params):
    """Whether a request to Proxmox (path below /api2/json, decoded; params dict) may do what cannot be taken back."""
    if verb == "DELETE":
        return True
    if not changes(verb, path):
        return False
    # old backups go, as the storage's retention says
    if path.endswith("/vzdump") and on(params.get("remove", 1)):
        return True
    return _DESTROYING.fullmatch(verb + " " + path) is not None or any(
        on(params.get(name)) for name in _DESTROYING_PARAMETERS)


def changes(verb, path):
    """Whether a request to Proxmox (verb, path below /api2/json, decoded) can change something."""
    return verb != "GET" or _ACTING_GETS.fullmatch(path) is not None


# ------------------------------------------------------------------------------------------------- what a request names

_NODE_IN_PATH = re.compile(r"/nodes/([^/]+)")
_GUEST_IN_PATH = re.compile(
    r"/(?:qemu|lxc|vms)/([0-9]+)(?=/|\Z)|/ha/resources/(?:(?:vm|ct):)?([0-9]+)|/replication/([0-9]+)-")
_TASK_IN_PATH = re.compile(r"/tasks/(UPID:[^/]+)")
_VOLUME_IN_PATH = re.compile(r"/storage/[^/]+/content/(.+)")
_CREATES = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)")
_NAMED_IN_ACL = re.compile(r"/(?:vms/([0-9]+)|nodes/([^/]+))\Z")
_TASK_ID = re.compile(r"([1-9][0-9]{2,8})(?:[@:-]|\Z)", re.ASCII)       # "100", "100@local" (imgdel)
_SID = re.compile(r"(?:\b(?:vm|ct):|\A)([0-9]+)\b")

_GUESTS = {"vmid", "vmids", "newid", "target-vmid", "vms", "guest", "guests"}
_NODES = {"node", "nodes", "node-list", "target", "target-node", "check-node", "node-id"}
_SIDS = {"sid", "resource", "resources"}
_READ_VOLUMES = {"archive", "ostemplate", "iso", "cdrom"}
_VOLUMES = re.compile(r"archive|ostemplate|iso|cdrom|volid|volume|volumes|image|import-from"
                      r"|(?:ide|sata|scsi|virtio|efidisk|tpmstate|mp|rootfs|unused)\d*")
#: Where `target` is not a node: a name in the matchers, a volume of a copy.
_OTHER_TARGETS = re.compile(r"/cluster/(?:notifications|sdn|metrics)|/storage|/nodes/[^/]+/storage/[^/]+/content/")

#: Requests that reach every guest where none is named; and those that may be sent although they name none.
_EVERYONE = re.compile(r"/nodes/[^/]+/(?:startall|stopall|suspendall|migrateall|vzdump|status|execute"
                       r"|storage/[^/]+/prunebackups)|/cluster/(?:bulk-action/guest/\w+|backup(?:/[^/]+)?)")
_NOBODY = re.compile(r"/nodes/[^/]+/(?:aplinfo|storage/[^/]+/(?:content|upload|download-url|oci-registry-pull))")

#: How a guest is named: it is new (made by this request), or only read by a request that changes another.
_NEW, _READ, _CHANGED = "new", "read", "changed"


class Named:
    """What a request names: nodes (set), guests {vmid: _CHANGED, _READ or _NEW}, everyone (some that it does not
    name)."""

    def __init__(self, verb, path, params):
        self.nodes, self.guests, self.everyone = set(), {}, False
        self._path(verb, path)
        for name, value in params.items():
            if value is not None:
                self._parameter(name.replace("_", "-"), value, path)
        # the guest goes on undisturbed
        if path.endswith("/vzdump") and params.get("mode", "snapshot") == "snapshot":
            self.guests = {vmid: _READ for vmid in self.guests}
        if path.endswith(("/vzdump", "/backup")) or "/cluster/backup/" in path:
            self.everyone = any(params.get(name) for name in ("all", "pool", "exclude"))

    def _add(self, vmid, how=_CHANGED):
        vmid = int(vmid)
        if how == _CHANGED or vmid not in self.guests:
            self.guests[vmid] = how

    def _path(self, verb, path):
        self.nodes.update(_NODE_IN_PATH.findall(path))
        how = _READ if path.endswith("/clone") else _CHANGED
        for groups in _GUEST_IN_PATH.findall(path):
            self._add(next(g for g in groups if g), how)
        for upid in _TASK_IN_PATH.findall(path):
            self._task(upid)
        for volume in _VOLUME_IN_PATH.findall(path):
            self._volume(volume if ":" in volume else ":" + volume, _CHANGED if verb != "GET" else _READ)

    def _parameter(self, name, value, path):
        values = [str(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        parts = [part for one in values for part in re.split(r"[,;\s\0]+", one) if part]
        if name in _GUESTS:
            new = name == "newid" or (name == "vmid" and _CREATES.fullmatch(path))
            for number in re.findall(r"[0-9]{3,9}", " ".join(parts)):
                self._add(number, _NEW if new else _CHANGED)
        elif name in _NODES and not (name == "target" and _OTHER_TARGETS.match(path)):
            self.nodes.update(re.sub(r":\d+\Z", "", part) for part in parts)        # HA groups: "pve1:2"
        elif name == "source" and path.startswith("/cluster/replication"):
            self.nodes.update(parts)
        elif name in _SIDS or (name == "id" and "/replication" in path):
            for part in parts:
                for vmid in _SID.findall(part):
                    self._add(vmid)
        elif name == "upid":
            for part in parts:
                self._task(part)
        elif name == "path":
            for vmid, node in (_NAMED_IN_ACL.match(one).groups() for one in values if _NAMED_IN_ACL.match(one)):
                if vmid:
                    self._add(vmid)
                else:
                    self.nodes.add(node)
        elif _VOLUMES.fullmatch(name) or (name == "target" and "/content/" in path):
            for part in parts:
                how = _READ if name in _READ_VOLUMES or part.startswith("import-from=") else _CHANGED
                self._volume(part, how)

    def _task(self, upid):
        task = parse_upid(upid)
        if task is not None:
            self.nodes.add(task.node)
            if _TASK_ID.match(task.id):
                self._add(_TASK_ID.match(task.id).group(1))

    def _volume(self, volid, how):
        vmid = owner_of(volid)
        if vmid is not None and vmid >= 100:
            self._add(vmid, how)


class Guests:
    """A list of guests as PROXMOX_ALLOWED_GUESTS and PROXMOX_PROTECTED_GUESTS write it; false when it is empty."""

    def __init__(self, words):
        self.words = words
        self._ranges, self._pools, self._tags = guest_list(words)
        self.by_rows = bool(self._pools or self._tags)          # whether pool and tags of a guest must be known

    def __bool__(self):
        return bool(self.words)

    def __str__(self):
        return ", ".join(self.words)

    def by_number(self, vmid):
        """Whether the vmid itself is in the list."""
        return any(first <= vmid <= last for first, last in self._ranges)

    def by_row(self, row):
        """Whether a guest's pool or one of its tags is; row: its /cluster/resources entry, or {}."""
        pool = str(row.get("pool") or "")
        if any(pool == name or pool.startswith(name + "/") for name in self._pools):        # pools may be nested
            return True
        return bool(self._tags) and not self._tags.isdisjoint(re.split(r"[;,\s]+", str(row.get("tags") or "").lower()))


# ------------------------------------------------------------------------------------------------------------ the guard

class Guard:
    """Says no before anything is sent. Built from Settings."""

    def __init__(self, settings):
        self.settings = settings
        self._former = {new: old for old, new in RENAMED.items()}
        self._allowed, self._protected = Guests(settings.allowed_guests), Guests(settings.protected_guests)
        self._nodes = frozenset(settings.allowed_nodes)
        self._hides = bool(self._allowed or self._nodes)
        self._bounded = self._hides or bool(self._protected)

    # -- tools

    def listed(self, entry):
        """Whether a tool (an entry of the surface) exists for this server at all."""
        return self._hidden_by(entry) is None

    def _hidden_by(self, entry):
        """The variable that hides a tool, or None."""
        settings = self.settings
        if settings.read_only and entry["changes"]:
            return "PROXMOX_READ_ONLY"
        if settings.toolsets != ("all",) and not any(
                _PRESETS[word](entry) if word in _PRESETS else word == entry["toolset"] for word in settings.toolsets):
            return "PROXMOX_TOOLSETS"
        if settings.tools and not self._matches(settings.tools, entry["name"]):
            return "PROXMOX_TOOLS"
        if settings.disabled_tools and self._matches(settings.disabled_tools, entry["name"]):
            return "PROXMOX_DISABLED_TOOLS"
        return None

    def off(self, entry):
        """The setting (variable=value) that keeps a tool from being used, or None."""
        variable = self._hidden_by(entry)
        if variable is None and _elevated(entry) and not self.settings.allow_elevated:
            return "PROXMOX_ALLOW_ELEVATED=false"
        return variable

    def _matches(self, words, name):
        names = (name, name[len("proxmox_"):], self._former.get(name, name))
        return any(fnmatchcase(one, word) for word in words for one in names)

    def warnings(self, names):
        """Sentences on words of PROXMOX_TOOLS and PROXMOX_DISABLED_TOOLS that match none of the names of all tools."""
        found = []
        for variable, words in (("PROXMOX_TOOLS", self.settings.tools),
                                ("PROXMOX_DISABLED_TOOLS", self.settings.disabled_tools)):
            for word in words:
                if not any(self._matches((word,), name) for name in names):
                    import difflib
                    near = difflib.get_close_matches(word, names, 1, 0.7)
                    found.append("%s: no tool is called %s%s." % (
                        variable, word, " (did you mean %s?)" % near[0] if near else ""))
        return found

    def admit(self, entry):
        """Raise Refused when a setting hides a tool (an entry of the surface), or does not allow its tier."""
        variable = self._hidden_by(entry)
        if variable == "PROXMOX_READ_ONLY":
            _refuse("%s changes something and this server only reads" % entry["name"],
                    "PROXMOX_READ_ONLY=true is set; it beats every other setting.")
        if variable:
            _refuse("%s is switched off on this server" % entry["name"],
                    "%s in the server's environment leaves it out." % variable)
        if _elevated(entry) and not self.settings.allow_elevated:
            _refuse("%s is an elevated tool and they are switched off" % entry["name"],
                    "Set PROXMOX_ALLOW_ELEVATED=true in the server's environment to allow it.")

    def permit(self, verb, path):
        """Raise Refused when a request changes something and elevated tools are off: for tools that may send any
        (endpoint "ANY ..."), which `admit` lets in. path: below /api2/json, decoded."""
        if changes(verb, path) and not self.settings.allow_elevated:
            _refuse("%s %s changes something, and elevated tools are switched off" % (verb, path[:200]),
                    "Set PROXMOX_ALLOW_ELEVATED=true in the server's environment to allow it.")

    # -- guests and nodes

    def arguments(self, call):
        """Raise Refused when a node, guest, volume, task or command in the call's arguments is out of bounds."""
        if self.settings.allowed_commands and hasattr(call.args, "command"):
            self._command(call.args.command)
        if self._bounded:
            verb, path = call.tool.verb, re.sub(r"\{\w+\}", "-", call.tool.path)
            named = Named(verb, path, vars(call.args))
            named.nodes.discard("-")
            if path.endswith("/clone") and getattr(call.args, "vmid", None):
                named.guests[call.args.vmid] = _READ
            named.everyone = False                      # what the request itself says is looked at then
            self._judge(call, call.tool.changes, named, vars(call.args))

    def _command(self, command):
        listed = self.settings.allowed_commands
        plain = not any(c in FORBIDDEN for c in command)
        if command not in listed and not (plain and any(fnmatchcase(command, one) for one in listed)):
            _refuse("the command %r is out of bounds" % command[:200],
                    "PROXMOX_ALLOWED_COMMANDS allows only: %s." % ", ".join(listed))

    def request(self, call, verb, path, params):
        """Raise Refused when a request names a node, guest, volume or task that is out of bounds."""
        if not (self._bounded or self.settings.read_only):
            return
        if "%" in path:                                 # as pveproxy does it: the whole path, before it is split
            from urllib.parse import unquote
            path = unquote(path)
        changing = changes(verb, path)
        if changing and self.settings.read_only:
            _refuse("%s %s changes something and this server only reads" % (verb, path),
                    "PROXMOX_READ_ONLY=true is set; it beats every other setting.")
        if self._bounded:
            named = Named(verb, path, params)
            if changing and not named.guests:
                named.everyone = named.everyone or _EVERYONE.fullmatch(path) is not None or (
                    bool(self._allowed) and not (verb == "POST" and _NOBODY.fullmatch(path)))
            self._judge(call, changing, named, params)

    def _judge(self, call, changing, named, params):
        for node in sorted(named.nodes):
            if self._nodes and node not in self._nodes:
                _refuse("node %s is out of bounds" % node[:80], "PROXMOX_ALLOWED_NODES allows only %s." % ", ".join(
                    sorted(self._nodes)))
        for vmid, how in sorted(named.guests.items()):
            if self._allowed and not self._holds(self._allowed, call, vmid, how, named, params):
                _refuse("guest %d is out of bounds" % vmid,
                        "PROXMOX_ALLOWED_GUESTS allows only %s." % self._allowed)
            if changing and how != _READ and self._protected and self._holds(self._protected, call, vmid):
                _refuse("guest %d is protected" % vmid,
                        "PROXMOX_PROTECTED_GUESTS forbids to change %s." % self._protected)
        if named.everyone and changing and (self._allowed or self._protected):
            _refuse("the request would reach guests that it does not name",
                    "%s limits what may be changed; name the guests." % (
                        "PROXMOX_ALLOWED_GUESTS" if self._allowed else "PROXMOX_PROTECTED_GUESTS"))

    @staticmethod
    def _holds(guests, call, vmid, how=_CHANGED, named=None, params=None):
        """Whether a list of guests holds one; one that is only being made has the pool and tags that the request gives
        it."""
        if guests.by_number(vmid):
            return True
        if not guests.by_rows:
            return False
        rows = _rows(call)
        row = rows.get(vmid) or call.made.get(vmid, {})
        if not row and how == _NEW:
            sources = [other for other, way in named.guests.items() if way == _READ] if params.get("newid") else []
            # a clone has those too
            tags = [params.get("tags")] + [rows.get(source, {}).get("tags") for source in sources]
            row = {"pool": params.get("pool"), "tags": ";".join(str(tag) for tag in tags if tag)}
            call.made[vmid] = row                       # the same call may look at what it made
        return guests.by_row(row)

    def visible(self, call, data):
        """`data` of a reply without the guests, nodes, tasks and volumes that are out of bounds; call.hidden counts
        them."""
        if not self._hides:
            return data
        if isinstance(data, list):
            kept = [row for row in data if not isinstance(row, dict) or self._shows(call, row)]
            call.hidden = getattr(call, "hidden", 0) + len(data) - len(kept)
            return kept
        if isinstance(data, dict):
            return {key: self.visible(call, value) if isinstance(value, (list, dict)) else value
                    for key, value in data.items()}
        return data

    def _shows(self, call, row):
        task = parse_upid(row.get("upid"))
        if self._nodes:
            node = row.get("node") or (row.get("name") if row.get("type") == "node" else None) or (task and task.node)
            if node and node not in self._nodes:
                return False
        if not self._allowed:
            return True
        vmids = _guests_of(row, task)
        return not vmids or any(self._within(call, vmid, row) for vmid in vmids)

    def _within(self, call, vmid, row):
        if self._allowed.by_number(vmid):
            return True
        if not self._allowed.by_rows:
            return False
        whole = row.get("id") in ("qemu/%d" % vmid, "lxc/%d" % vmid)        # of /cluster/resources, it says all itself
        return self._allowed.by_row(row if whole else _rows(call).get(vmid, {}))


def _guests_of(row, task):
    """vmids that a row of a list is about."""
    for key in ("vmid", "guest"):
        found = [int(part) for part in re.split(r"[,;\s]+", str(row.get(key) or "")) if part.isascii()
                 and part.isdigit()]
        if any(found):
            return found
    if row.get("sid"):
        return [int(vmid) for vmid in _SID.findall(str(row["sid"]))]
    if task is not None:
        match = _TASK_ID.match(task.id)
        return [int(match.group(1))] if match else []
    owner = owner_of(str(row.get("volid") or ""))
    return [owner] if owner is not None and owner >= 100 else []


def _rows(call):
    """{vmid: entry} of /cluster/resources, nothing hidden; one request a call."""
    rows = call.everything()
    if getattr(call, "indexed", (None, None))[0] is not rows:
        call.indexed = rows, {int(row["vmid"]): row for row in rows if str(row.get("vmid") or "").isdigit()}
    return call.indexed[1]


def _elevated(entry):
    """Whether a tool (an entry of the surface) needs PROXMOX_ALLOW_ELEVATED whatever its arguments are."""
    return entry["tier"] != "basic" and not entry["endpoint"].startswith("ANY ")


def _refuse(headline, text):
    from tools.base.failures import Refused  # late: listing tools needs no toolset
    raise Refused(text + " Nothing was changed.", headline)


# ------------------------------------------------------------------------------------------------------- the rate limit

class _Bucket:
    """So many a minute, in bursts of half a minute's worth or ten."""

    def __init__(self, per_minute, now):
        self.per_minute, self.size = per_minute, max(per_minute // 2, min(per_minute, 10))
        self.tokens, self.filled = float(self.size), now

    def wait(self, now):
        """Seconds until a token is there; 0 when one is."""
        self.tokens = min(float(self.size), self.tokens + max(0.0, now - self.filled) * self.per_minute / 60.0)
        self.filled = now
        return 0 if self.tokens >= 1 else (1 - self.tokens) * 60.0 / self.per_minute


class Limiter:
    """Token buckets for requests and for changes, as PROXMOX_RATE_LIMIT says; clock() gives monotonic seconds."""

    def __init__(self, settings, clock):
        self._clock, self._lock = clock, threading.Lock()
        self._limit = settings.rate_limit
        requests, changing = rates(settings.rate_limit)
        self._requests = _Bucket(requests, clock()) if requests else None
        self._changes = _Bucket(changing, clock()) if changing else None

    def take(self, changing):
        """Take one token; PveError with the seconds to wait when there is none."""
        buckets = [(bucket, what) for bucket, what in ((self._requests, "requests to Proxmox"),
                                                       (self._changes if changing else None, "changes")) if bucket]
        if not buckets:
            return
        with self._lock:
            now = self._clock()
            for bucket, what in buckets:
                seconds = bucket.wait(now)
                if seconds > 1e-9:
                    break
            else:
                for bucket, what in buckets:
                    bucket.tokens -= 1
                return
        from tools.pve.client import PveError
        raise PveError("Too many %s: at most %d a minute (PROXMOX_RATE_LIMIT=%s). This request was not sent; try again "
                       "in %d s."
                       % (what, bucket.per_minute, self._limit, ceil(seconds)), outcome="unsent")
