"""ONE table: what a request to Proxmox VE does, whom it reaches, which privilege it needs, whether it is never sent.

A request is harmless only where this table says so. What the table does not know may lose something and reaches
everybody; so nothing here stands for unknown paths: every path of the API schemas 7.4, 8.4 and 9.1 is written out.
Privileges are those of the schemas and, where these say them in words, of Proxmox's code (proxmox-ve: API2/Qemu.pm,
API2/LXC.pm, VZDump.pm, Storage/Content.pm, AccessControl.pm).
"""
import re
from functools import lru_cache
from typing import NamedTuple, Optional, Tuple

#: What a request does, from the least to the worst. Where two might be right, the table has the worse one.
READS = "reads"             # changes nothing anywhere; always a GET
ADDS = "adds"               # makes something new; nothing that exists is changed, overwritten or interrupted
CHANGES = "changes"         # changes or interrupts what can be put back; a GET that acts or shows the inside of a guest
LOSES = "loses"             # may lose data, state, access or service

#: Whom it reaches, where it is none that reads (of those the table says NOBODY).
GUEST = "guest"             # the guest in its path, and what its parameters name
LISTED = "listed"           # the guests that its path or parameters name; everybody where they name none
VOLUME = "volume"           # the guest that owns the volume it names
NODE = "node"               # everything on the node in its path
NOBODY = "nobody"           # no guest that exists: only something new, or what belongs to the token
EVERYBODY = "everybody"
NODES = "nodes"             # no guest that exists; the nodes that its parameter `nodes` names, all where it names none


class Endpoint(NamedTuple):
    """One method of the API; `find` has one for every request."""
    verb: str
    template: str                           # its path with {names}; for an unknown one the path that was asked for
    effect: str
    reach: str
    privileges: Optional[Tuple[str, ...]]   # of a tool's: "ACLPATH PRIVILEGE|OTHER", ...: all of them, of | any
    never: Optional[str] = None             # why it is never sent
    command: bool = False                   # runs any command, or is a way round a list of allowed commands


# --------------------------------------------------------------------------------------------------- parts of the table
_SECRET = ("it hands out a secret (a ticket, a password or a token's value), which must not pass through a model; use "
           "the web interface or pveum on a node")
_CONSOLE = "it opens a console, whose ticket is a secret; use the web interface"
_UPLOAD = "it uploads a file, which cannot be done here; proxmox_download_url lets the node fetch one"
_COMMAND = "COMMAND"                                    # in the place of these: it runs any command

#: What a path may begin with in the table.
_SHORT = {"node": ("/nodes/{node}",), "vm": ("/nodes/{node}/qemu/{vmid}",), "ct": ("/nodes/{node}/lxc/{vmid}",),
          "guest": ("/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"),
          "store": ("/nodes/{node}/storage/{storage}",), "ceph": ("/nodes/{node}/ceph",), "ha": ("/cluster/ha",),
          "sdn": ("/cluster/sdn",), "alerts": ("/cluster/notifications",)}

#: Rows of effect, reach, methods, and perhaps why it is never sent, or _COMMAND. Methods: verbs and the paths they are
#: for, more verbs and theirs. A path begins with / or with a word of _SHORT; (a|b) in it stands for a and for b, (|/b)
#: for nothing and for /b. What may surprise: a container that is rebooted is killed when it takes too long, one that is
#: suspended stops; a backup job prunes what is there, of POST vzdump the parameters decide (`effect`); HA may stop or
#: move at once what is put under it; the groups of a new user may have rights, while PUT of a group has but a comment;
#: a PUT of a plugin or metrics server writes over the secrets it holds; a monitor command acts on the node.
_TABLE = (
    (READS, NOBODY, """GET /access
        /access/(acl|domains(|/{realm})|groups(|/{groupid})|openid|permissions|roles(|/{roleid}))
        /access/(tfa(|/{userid}(|/{id}))|ticket|users(|/{userid}(|/tfa|/token(|/{tokenid})))) /cluster /cluster/firewall
        /cluster/firewall/(aliases(|/{name})|groups(|/{group}(|/{pos}))|ipset(|/{name}(|/{cidr}))|macros)
        /cluster/firewall/(options|refs|rules(|/{pos}))
        /cluster/acme(|/account(|/{name})|/challenge-schema|/plugins(|/{id}))
        /cluster/(backup(|/{id}(|/included_volumes))|backup-info(|/not-backed-up)|bulk-action(|/guest))
        /cluster/(ceph(|/flags(|/{flag})|/metadata|/status)|config(|/apiversion|/join|/nodes|/qdevice|/totem))
        /cluster/(jobs(|/realm-sync(|/{id})|/schedule-analyze)|log|mapping(|/(dir|pci|usb)(|/{id})))
        /cluster/(metrics(|/export|/server(|/{id}))|nextid|options|replication(|/{id})|resources|status|tasks) /nodes
        /pools(|/{poolid}) /storage(|/{storage}) /version alerts
        alerts/(endpoints(|/(gotify|sendmail|smtp|webhook)(|/{name}))|matcher-field-values|matcher-fields)
        alerts/(matchers(|/{name})|targets) ceph
        ceph/(cfg(|/db|/raw|/value)|cmd-safety|config|configdb|crush|fs|log|mds|mgr|mon)
        ceph/(osd(|/{id}(|/lv-info|/metadata))|pool(|/{name}(|/status))|pools(|/{name})|rules|status) ct/interfaces
        guest guest/(config|feature)
        guest/firewall(|/aliases(|/{name})|/ipset(|/{name}(|/{cidr}))|/log|/options|/refs|/rules(|/{pos}))
        guest/(migrate|pending|rrd|rrddata|snapshot(|/{snapname}(|/config))|status(|/current))
        ha(|/(groups|rules)(|/{id})|/resources(|/{sid})|/status(|/current|/manager_status)) node node/sdn
        node/sdn/(fabrics/{fabric}(|/interfaces|/neighbors|/routes)|vnets/{vnet}(|/mac-vrf))
        node/sdn/zones(|/{zone}(|/bridges|/content|/ip-vrf))
        node/(aplinfo|apt(|/changelog|/repositories|/update|/versions))
        node/(capabilities(|/qemu(|/cpu|/cpu-flags|/machines|/migration))|certificates(|/acme|/info)|config)
        node/(disks(|/directory|/list|/lvm|/lvmthin|/smart|/zfs(|/{name}))|dns)
        node/(firewall(|/log|/options|/rules(|/{pos}))|hardware(|/pci(|/{id}(|/mdev))|/usb)|hosts|journal|lxc)
        node/(netstat|network(|/{iface})|qemu|replication(|/{id}(|/log|/status))|report|rrd|rrddata|scan)
        node/(services(|/{service}(|/state))|status|storage|subscription|syslog|tasks(|/{upid}(|/log|/status)))
        node/(time|version|vzdump/(defaults|extractconfig)) sdn
        sdn/((controllers|dns|zones)(|/{id})|dry-run|fabrics(|/all|/fabric(|/{id})|/node(|/{fabric}(|/{id}))))
        sdn/ipams(|/{id}|/{ipam}/status) sdn/vnets(|/{vnet}(|/firewall(|/options|/rules(|/{pos}))|/subnets(|/{subnet})))
        store(|/content(|/{volume})|/import-metadata|/prunebackups|/rrd|/rrddata|/status) vm/agent
        vm/agent/(get-fsinfo|get-host-name|get-memory-block-info|get-memory-blocks|get-osinfo|get-time)
        vm/agent/(get-timezone|get-users|get-vcpus|info|network-get-interfaces) vm/cloudinit"""),
    (ADDS, NOBODY, """POST /access/(domains|groups|roles)
        /cluster/(acme/(account|plugins)|mapping/(dir|pci|usb)|metrics/server/{id}) /pools
        alerts/(endpoints/(gotify|sendmail|smtp|webhook)|matchers) ceph/(mds|mgr)/{id} ha/groups node/aplinfo
        store/(content|download-url|oci-registry-pull)"""),
    (ADDS, GUEST, "POST guest/(clone|snapshot) node/(lxc|qemu)"),
    (ADDS, LISTED, "POST /cluster/replication node/vzdump"),
    (ADDS, NODES, "POST /storage"),
    (ADDS, EVERYBODY, """POST /access/users
        sdn/(controllers|dns|ipams|zones|fabrics/(fabric|node/{fabric})|vnets(|/{vnet}/(ips|subnets)))"""),
    (CHANGES, NOBODY, """GET /cluster/acme/(directories|meta|tos)
        node/(query-oci-repo-tags|query-url-metadata|scan/(cifs|glusterfs|iscsi|lvm|lvmthin|nfs|pbs|zfs))
        POST alerts/targets/{name}/test PUT /access/groups/{groupid}"""),
    (CHANGES, GUEST, """GET vm/(agent/(exec-status|file-read)|cloudinit/dump) POST ct/move_volume
        guest/(migrate|status/(shutdown|start)) ha/resources/{sid}/migrate node/replication/{id}/schedule_now
        vm/(agent/(fsfreeze-status|fstrim|ping)|move_disk|status/(reboot|resume|suspend)) POST|PUT vm/config
        PUT /cluster/replication/{id} ct/config guest/(resize|snapshot/{snapname}/config) vm/cloudinit"""),
    (CHANGES, VOLUME, "GET store/file-restore/(download|list) PUT store/content/{volume}"),
    (CHANGES, LISTED, "POST /cluster/bulk-action/guest/start node/startall PUT /pools(|/{poolid})"),
    (CHANGES, NODE, """POST node/(apt/update|subscription|wakeonlan) POST|PUT node/apt/repositories
        PUT node/(config|time)"""),
    (CHANGES, EVERYBODY, "POST ceph/(osd/{id}/(in|scrub)|start) sdn/lock"),
    (LOSES, NOBODY, """PUT|DELETE /cluster/(acme/(account/{name}|plugins/{id})|metrics/server/{id})
        alerts/(endpoints/(gotify|sendmail|smtp|webhook)/{name}|matchers/{name})"""),
    (LOSES, GUEST, """POST ct/status/(reboot|resume|suspend)
        guest/(firewall/(aliases|ipset|rules)|remote_migrate|template|snapshot/{snapname}/rollback|status/stop)
        ha/resources/{sid}/relocate
        vm/agent(|/fsfreeze-freeze|/fsfreeze-thaw|/shutdown|/suspend-disk|/suspend-hybrid|/suspend-ram)
        vm/(dbus-vmstate|status/reset) POST|DELETE guest/firewall/ipset/{name} PUT guest/firewall/options vm/unlink
        PUT|DELETE guest/firewall/(aliases/{name}|ipset/{name}/{cidr}|rules/{pos}) ha/resources/{sid}
        DELETE /cluster/replication/{id} guest(|/snapshot/{snapname})"""),
    (LOSES, VOLUME, "POST|DELETE store/content/{volume}"),
    (LOSES, LISTED, """POST /cluster/(backup|bulk-action/guest/(migrate|shutdown|suspend)) ha/(resources|rules)
        node/(migrateall|stopall|suspendall) DELETE node/tasks/{upid} store/prunebackups"""),
    (LOSES, NODE, """POST node/(disks/(directory|initgpt|lvm|lvmthin|zfs)|firewall/rules|hosts)
        node/(services/{service}/(reload|restart|start|stop)|status)
        POST|PUT|DELETE node/(certificates/acme/certificate|network) POST|DELETE node/certificates/custom
        PUT node/(disks/wipedisk|dns|firewall/options)
        PUT|DELETE node/(firewall/rules/{pos}|network/{iface}|subscription)
        DELETE node/disks/(directory|lvm|lvmthin|zfs)/{name}"""),
    (LOSES, EVERYBODY, """POST /access/domains/{realm}/sync
        /cluster/(config(|/join)|firewall/(aliases|groups|ipset|rules))
        ceph/(fs/{name}|init|pool|pools|restart|stop|osd(|/{id}/out)) ha/status/(arm-ha|disarm-ha)
        sdn/(rollback|vnets/{vnet}/firewall/rules) POST|PUT|DELETE /cluster/jobs/realm-sync/{id}
        POST|DELETE /cluster/(config/nodes/{node}|firewall/(groups/{group}|ipset/{name})) ceph/mon/{id}
        PUT /access/(acl|users/{userid}/unlock-tfa) /cluster/(ceph/flags(|/{flag})|firewall/options|options)
        sdn(|/vnets/{vnet}/firewall/options) PUT|DELETE /access/(domains/{realm}|roles/{roleid}|users/{userid})
        /cluster/(backup/{id}|firewall/(aliases/{name}|groups/{group}/{pos}|ipset/{name}/{cidr}|rules/{pos}))
        /cluster/mapping/(dir|pci|usb)/{id} /storage/{storage} ceph/(pool|pools)/{id} ha/(groups|rules)/{id}
        sdn/((controllers|dns|ipams|zones)/{id}|fabrics/(fabric/{id}|node/{fabric}/{id}))
        sdn/vnets/{vnet}(|/firewall/rules/{pos}|/ips|/subnets/{subnet})
        DELETE /access/(groups/{groupid}|tfa/{userid}/{id}|users/{userid}/token/{tokenid}) /pools(|/{poolid})
        ceph/(mds|mgr|osd)/{id} sdn/lock"""),
    (ADDS, NOBODY, "POST store/upload", _UPLOAD),
    (CHANGES, GUEST, "GET guest/(mtunnelwebsocket|vncwebsocket)", _CONSOLE),
    (CHANGES, NODE, "GET node/vncwebsocket", _CONSOLE),
    (CHANGES, NOBODY, "POST /access/(openid/(auth-url|login)|tfa|ticket|vncticket)", _SECRET),
    (LOSES, GUEST, "POST vm/agent/(exec|file-write|set-user-password) PUT vm/sendkey", _COMMAND),
    (LOSES, EVERYBODY, "POST node/execute vm/monitor", _COMMAND),
    (LOSES, GUEST, "POST guest/(mtunnel|spiceproxy|termproxy|vncproxy)", _CONSOLE),
    (LOSES, NODE, "POST node/(spiceshell|termproxy|vncshell)", _CONSOLE),
    (LOSES, EVERYBODY, """POST /access/tfa/{userid} POST|PUT /access/users/{userid}/token/{tokenid}
        PUT /access/(password|tfa/{userid}/{id})""", _SECRET),
)

_SPACE = "/storage Datastore.AllocateSpace"
_AGENT = "VM.GuestAgent.Unrestricted|VM.Monitor"        # VM.Monitor: up to 8.4
_CONFIG = "/vms VM.Config.Options|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.Disk"
_NEW = ("/vms VM.Allocate, /vms VM.Config.Disk, /vms VM.Config.CPU, /vms VM.Config.Memory, /vms VM.Config.Network, "
        "/vms VM.Config.Options, %s, /storage Datastore.Audit, /sdn SDN.Use" % _SPACE)
#: What the tools' endpoints need ("A B, C D|E": A B, and one of C D and C E); of others their row says it.
_PRIVILEGES = (
    ("", """GET /nodes /cluster/(nextid|tasks|log) node/(network|aplinfo) node/tasks/{upid}/status /access/permissions
        DELETE node/tasks/{upid}"""),
    ("/vms VM.Audit", """GET /cluster/(resources|replication) vm/(status/current|rrddata|pending)
        guest/(config|snapshot) ct/interfaces"""),
    ("/vms VM.PowerMgmt", "POST guest/status/(start|stop|shutdown|reboot) vm/status/(suspend|resume|reset)"),
    ("/vms VM.Snapshot", "POST guest/snapshot DELETE guest/snapshot/{snapname}"),
    ("/vms VM.Snapshot|VM.Snapshot.Rollback", "POST guest/snapshot/{snapname}/rollback"),
    ("/vms VM.Migrate", "POST guest/migrate"),
    ("/vms VM.Allocate", "POST guest/template DELETE guest"),
    ("/vms VM.Clone, /vms VM.Allocate, %s, /sdn SDN.Use" % _SPACE, "POST guest/clone"),
    (_NEW, "POST node/lxc"), (_NEW + ", /vms VM.Config.HWType, /vms VM.Config.Cloudinit", "POST node/qemu"),
    (_CONFIG, "PUT ct/config"),
    (_CONFIG + "|VM.Config.HWType|VM.Config.Cloudinit|VM.Config.CDROM", "POST|PUT vm/config"),
    ("/vms VM.Config.Cloudinit", "PUT vm/cloudinit"),
    ("/vms VM.Config.Disk, " + _SPACE, "PUT guest/resize POST vm/move_disk ct/move_volume"),
    ("/vms " + _AGENT, "POST vm/agent/exec"), ("/vms VM.GuestAgent.Audit|" + _AGENT, "GET vm/agent/get-osinfo"),
    ("/vms VM.Backup, " + _SPACE, "POST node/vzdump"), ("/vms VM.Replicate", "POST node/replication/{id}/schedule_now"),
    ("/storage Datastore.Audit|Datastore.AllocateSpace", "GET node/storage store/content"),
    ("/storage Datastore.AllocateTemplate", "POST node/aplinfo"),
    ("/storage Datastore.AllocateTemplate, /nodes Sys.AccessNetwork|Sys.Modify", "POST store/download-url"),
    ("/nodes Sys.Audit", "GET node/(status|dns|services|disks/list|network/{iface})"),
    ("/nodes Sys.Modify", "GET node/apt/update"),
    ("/ Sys.Audit", "GET /cluster/(status|backup|ha/status/current|firewall/rules) node/disks/(smart|lvm|zfs)"),
    ("/ Sys.Modify", """POST /cluster/(backup|firewall/rules) PUT /cluster/(backup/{id}|firewall/options)
        DELETE /cluster/(backup/{id}|firewall/rules/{pos})"""),
    ("/pool Pool.Audit", "GET /pools"), ("/pool Pool.Allocate", "POST /pools PUT|DELETE /pools/{poolid}"),
    ("/access Sys.Audit|User.Modify", "GET /access/users"), ("/access Sys.Audit|Permissions.Modify", "GET /access/acl"),
)

#: Parameters whose value is run, on the node or in the guest. With them any change loses something; and what is run on
#: the node reaches all of it. Of smbios1 the serial number tells cloud-init where to get what it runs.
_RUN_ON_NODE = frozenset("args hookscript script".split())
RUN = _RUN_ON_NODE | frozenset("entrypoint cicustom env smbios1".split())
#: Parameters that let somebody into a guest that there is: who is in can run anything.
_LETTING_IN = frozenset("cipassword ciuser sshkeys".split())
#: Parameters that are called like secrets and are none: what they hold is run, or written, and so it is shown.
_SHOWN = {"/nodes/{node}/hosts": ("data",), "/nodes/{node}/qemu/{vmid}/sendkey": ("key",),
          "/nodes/{node}/qemu/{vmid}/agent/exec": ("input-data",)}
#: Parameters with which any change, even one that adds, loses something; and those with which one of what exists does.
_LOSING = RUN | frozenset("""
    delete revert force purge forceStop force-stop overwrite skiplock idlist cleanup cleanup-config cleanup-disks
    destroy-unreferenced-disks remove remove-job remove-vanished remove-storages remove-ecprofile prune-backups maxfiles
    archive restore base stop on-error groups""".split())
_LOSING_OF_OLD = frozenset("template disable lock cipassword sshkeys target-vmid allow-move".split())
#: Parameters that lose something when they are switched off.
_KEEPING = frozenset("enable enabled protected protection".split())
_NO = frozenset(("none", "", "0", "false", "no", "off", "[]"))


@lru_cache(maxsize=200)                                 # several ask about one request
def find(verb, path):
    """The Endpoint of a request. path: below /api2/json, decoded, with ids or with {names} in their places; {type} or
    {kind} for qemu and lxc is taken as qemu, or as lxc where only containers have it."""
    found = None
    for kind in ("qemu", "lxc"):
        found = found or _look_up(verb, re.sub(r"(?<=/)\{(type|kind)\}(?=/)", kind, path))
    return found or Endpoint(verb, path, LOSES, EVERYBODY, None)


def effect(verb, path, params):
    """What a request does: the table's word, or a worse one that its parameters (dict) make of it."""
    found = find(verb, path)
    if verb == "GET" or found.effect == LOSES:
        return found.effect
    given = _given(params)
    on = {name for name, value in given.items() if value not in _NO}
    backup = found.template.endswith("/vzdump")
    if backup and given.get("remove") in ("0", "false", "no", "off"):
        on -= {"remove", "prune-backups", "maxfiles"}       # none goes; else the oldest do, as the retention says
    elif backup:
        return LOSES
    of_old = (on & _LOSING_OF_OLD or given.keys() & _KEEPING - on) if found.effect == CHANGES else ()
    if on & _LOSING or of_old:
        return LOSES
    if backup and given.get("mode", "snapshot") != "snapshot":
        return CHANGES
    return found.effect


def commands(verb, path, params):
    """Whether a request runs what its caller wants, in a guest or on a node, or opens the way to it."""
    found = find(verb, path)
    return found.command or verb != "GET" and runs(params, RUN | _LETTING_IN if found.effect == CHANGES else RUN)


def runs(params, names=_RUN_ON_NODE):
    """Whether a request carries something under these names; those of the default are run on the node."""
    given = _given(params)
    return any(given.get(name, "") not in _NO for name in names)


def shown(verb, path):
    """Names of a request's parameters that are called like secrets and are none."""
    return _SHOWN.get(find(verb, path).template, ())


def changes(verb, path):
    return find(verb, path).effect != READS


def _given(params):
    """{name with - for _: value in small letters} of the parameters that are sent."""
    return {name.replace("_", "-"): str(value).lower() for name, value in (params or {}).items() if value is not None}


# ------------------------------------------------------------------------------------------------------ table into tree
_ANY, _VMID, _REST, _METHODS = "{}", "{vmid}", "{rest}", None           # keys of the tree beside the words of paths
#: Which of them a {name} of the table is: {vmid} takes a guest's number, {volume} and {cidr} all that follows.
_PLACES = {"{vmid}": _VMID, "{volume}": _REST, "{cidr}": _REST}
_NUMBER = re.compile(r"[1-9][0-9]{2,8}|\{.*\}")


def _spread(text):
    """The texts that one with (a|b) in it stands for."""
    if "(" not in text:
        return [text]
    head, _, rest = text.rpartition("(")
    inner, _, tail = rest.partition(")")
    return [one for part in inner.split("|") for one in _spread(head + part + tail)]


def _paths(word):
    """The templates that a word of the table's methods stands for."""
    first, slash, rest = word.partition("/")
    start, bracket, more = first.partition("(")
    for beginning in _SHORT[start] if start else ("",):
        for path in dict.fromkeys(_spread(bracket + more + slash + rest)):
            yield beginning + path


def methods(listed):
    """(verb, template) of each method that a table lists: see _TABLE."""
    verbs = ()
    for word in listed.split():
        if word.isupper():
            verbs = word.split("|")
        else:
            yield from ((verb, path) for path in _paths(word) for verb in verbs)


def _plant():
    """(all Endpoints in the table's order, {word: {word: ... {None: {verb: Endpoint}}}})."""
    every, tree = [], {}
    needs = {method: tuple(filter(None, privileges.split(", "))) for privileges, listed in _PRIVILEGES
             for method in methods(listed)}
    for effect_, reach, listed, *note in _TABLE:
        last = (None, True) if note == [_COMMAND] else (note[0] if note else None, False)
        for verb, path in methods(listed):
            branch = tree
            for part in path.split("/")[1:]:
                branch = branch.setdefault(_PLACES.get(part, _ANY) if part[0] == "{" else part, {})
            branch = branch.setdefault(_METHODS, {})
            branch[verb] = Endpoint(verb, path, effect_, reach, needs.get((verb, path)), *last)
            every.append(branch[verb])
    return tuple(every), tree


def _look_up(verb, path):
    start, *parts = path.split("/")
    if start or not {"", ".", ".."}.isdisjoint(parts):
        return None
    branch = _TREE
    for part in parts:
        if part in branch:
            branch = branch[part]
        elif _REST in branch:
            branch = branch[_REST]
            break
        elif _ANY in branch:
            branch = branch[_ANY]
        elif _VMID in branch and _NUMBER.fullmatch(part):
            branch = branch[_VMID]
        else:
            return None
    return branch.get(_METHODS, {}).get(verb)


#: Every Endpoint, in the table's order.
ENDPOINTS, _TREE = _plant()
