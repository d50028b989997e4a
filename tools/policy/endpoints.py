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

#: Whom it reaches; for a request that reads, about whom it tells.
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
    privileges: Optional[Tuple[str, ...]]   # "ACLPATH PRIVILEGE|OTHER", ...: all of them, of | any; None: not known
    never: Optional[str] = None             # why it is never sent
    command: bool = False                   # runs any command, or is a way round a list of allowed commands


# --------------------------------------------------------------------------------------------------- parts of the table
_SECRET = ("it hands out a secret (a ticket, a password or a token's value), which must not pass through a model; use "
           "the web interface or pveum on a node")
_CONSOLE = "it opens a console, whose ticket is a secret; use the web interface"
_UPLOAD = "it uploads a file, which cannot be done here; proxmox_download_url lets the node fetch one"
_COMMAND = "COMMAND"                                    # in the place of these: it runs any command

_ROOT = "/ root@pam"                                    # the schema names no privilege: no token may send it
_SPACE, _STORAGE = "/storage Datastore.AllocateSpace", "/storage Datastore.Audit|Datastore.AllocateSpace"
_BACKUP = "/vms VM.Backup, " + _SPACE
_DISK = "/vms VM.Config.Disk, " + _SPACE
_FETCH = "/storage Datastore.AllocateTemplate, /nodes Sys.AccessNetwork"
_CEPH = "/ Sys.Audit|Datastore.Audit"
_SDN = "/sdn SDN.Audit|SDN.Allocate"
_MAPPING = "/mapping Mapping.Audit|Mapping.Use|Mapping.Modify"
_ALERTS = "/mapping Mapping.Modify, / Sys.AccessNetwork|Sys.Modify"
_USERS = "/access Realm.AllocateUser, /access User.Modify"
_AGENT = "VM.GuestAgent.Unrestricted|VM.Monitor"        # VM.Monitor: up to 8.4
_FREEZE = "VM.GuestAgent.FileSystemMgmt|" + _AGENT
_CONFIG = "/vms VM.Config.Options|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.Disk"
_NEW = ("/vms VM.Allocate, /vms VM.Config.Disk, /vms VM.Config.CPU, /vms VM.Config.Memory, /vms VM.Config.Network, "
        "/vms VM.Config.Options, ")
_PLACED = "/storage Datastore.AllocateSpace, /storage Datastore.Audit, /sdn SDN.Use"

#: What a path may begin with in the table.
_SHORT = {"node": ("/nodes/{node}",), "vm": ("/nodes/{node}/qemu/{vmid}",), "ct": ("/nodes/{node}/lxc/{vmid}",),
          "guest": ("/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}"),
          "store": ("/nodes/{node}/storage/{storage}",), "ceph": ("/nodes/{node}/ceph",), "ha": ("/cluster/ha",),
          "sdn": ("/cluster/sdn",), "alerts": ("/cluster/notifications",)}

#: Rows of effect, reach, privileges ("A B, C D|E": A B, and one of C D and C E), methods, and perhaps why it is never
#: sent, or _COMMAND. Methods: verbs and the paths they are for, more verbs and theirs. A path begins with / or with a
#: word of _SHORT; (a|b) in it stands for a and for b, (|/b) for nothing and for /b.
_TABLE = (
    # ================================================================================================= guests: reading
    (READS, GUEST, "", "GET guest guest/(status|firewall|snapshot/{snapname}) vm/agent"),
    (READS, GUEST, "/vms VM.Audit", """GET guest/(config|pending|feature|rrd|rrddata|snapshot|status/current)
        guest/firewall/(options|refs|rules|rules/{pos}|aliases|aliases/{name}|ipset|ipset/{name}|ipset/{name}/{cidr})
        ct/interfaces vm/cloudinit"""),
    (READS, GUEST, "/vms VM.Audit|VM.Snapshot|VM.Snapshot.Rollback", "GET guest/snapshot/{snapname}/config"),
    (READS, GUEST, "/vms VM.Migrate", "GET guest/migrate"),
    (READS, GUEST, "/vms VM.Console", "GET guest/firewall/log"),
    (CHANGES, GUEST, "/vms VM.Audit", "GET vm/cloudinit/dump"),
    # ============================================================== guests: made, copied, removed, started and stopped
    (ADDS, GUEST, _NEW + _PLACED, "POST node/lxc"),
    (ADDS, GUEST, _NEW + "/vms VM.Config.HWType, /vms VM.Config.Cloudinit, " + _PLACED, "POST node/qemu"),
    (ADDS, GUEST, "/vms VM.Clone, /vms VM.Allocate, %s, /sdn SDN.Use" % _SPACE, "POST guest/clone"),
    (LOSES, GUEST, "/vms VM.Allocate", "POST guest/template DELETE guest"),
    (ADDS, GUEST, "/vms VM.Snapshot", "POST guest/snapshot"),
    (CHANGES, GUEST, "/vms VM.Snapshot", "PUT guest/snapshot/{snapname}/config"),
    (LOSES, GUEST, "/vms VM.Snapshot", "DELETE guest/snapshot/{snapname}"),
    (LOSES, GUEST, "/vms VM.Snapshot|VM.Snapshot.Rollback", "POST guest/snapshot/{snapname}/rollback"),
    # a container that is rebooted is killed when it takes too long; one that is suspended stops, its state is a file
    (CHANGES, GUEST, "/vms VM.PowerMgmt", "POST guest/status/(start|shutdown) vm/status/(reboot|suspend|resume)"),
    (LOSES, GUEST, "/vms VM.PowerMgmt", "POST guest/status/stop vm/status/reset ct/status/(reboot|suspend|resume)"),
    (CHANGES, GUEST, "/vms VM.Migrate", "POST guest/migrate"),
    (LOSES, GUEST, "/vms VM.Migrate", "POST guest/remote_migrate vm/dbus-vmstate"),
    (LOSES, GUEST, "/vms VM.Allocate, / Sys.Incoming", "POST guest/mtunnel", _CONSOLE),
    (CHANGES, GUEST, "", "GET guest/mtunnelwebsocket", _CONSOLE),
    # ========================================================================== guests: configuration, disks, firewall
    (CHANGES, GUEST, _CONFIG, "PUT ct/config"),
    (CHANGES, GUEST, _CONFIG + "|VM.Config.HWType|VM.Config.Cloudinit|VM.Config.CDROM", "POST|PUT vm/config"),
    (CHANGES, GUEST, "/vms VM.Config.Cloudinit", "PUT vm/cloudinit"),
    (CHANGES, GUEST, _DISK, "PUT guest/resize POST vm/move_disk ct/move_volume"),
    (LOSES, GUEST, "/vms VM.Config.Disk", "PUT vm/unlink"),
    (LOSES, GUEST, "/vms VM.Config.Network", """POST guest/firewall/(rules|aliases|ipset|ipset/{name})
        PUT guest/firewall/options DELETE guest/firewall/ipset/{name}
        PUT|DELETE guest/firewall/(rules/{pos}|aliases/{name}|ipset/{name}/{cidr})"""),
    # ============================================================================ guests: agent and consoles, commands
    (READS, GUEST, "/vms VM.GuestAgent.Audit|" + _AGENT, """GET vm/agent/(info|network-get-interfaces)
        vm/agent/get-(fsinfo|host-name|memory-blocks|memory-block-info|osinfo|time|timezone|users|vcpus)"""),
    (CHANGES, GUEST, "/vms VM.GuestAgent.Audit|" + _AGENT, "POST vm/agent/ping"),
    (CHANGES, GUEST, "/vms VM.GuestAgent.Audit|" + _FREEZE, "POST vm/agent/fsfreeze-status"),
    (CHANGES, GUEST, "/vms " + _FREEZE, "POST vm/agent/fstrim"),
    (LOSES, GUEST, "/vms " + _FREEZE, "POST vm/agent/fsfreeze-(freeze|thaw)"),
    (CHANGES, GUEST, "/vms VM.GuestAgent.FileRead|" + _AGENT, "GET vm/agent/file-read"),
    (CHANGES, GUEST, "/vms " + _AGENT, "GET vm/agent/exec-status"),
    (LOSES, GUEST, "/vms " + _AGENT, "POST vm/agent"),
    (LOSES, GUEST, "/vms VM.PowerMgmt|" + _AGENT, "POST vm/agent/(shutdown|suspend-disk|suspend-hybrid|suspend-ram)"),
    (LOSES, GUEST, "/vms " + _AGENT, "POST vm/agent/(exec|set-user-password)", _COMMAND),
    (LOSES, GUEST, "/vms VM.GuestAgent.FileWrite|" + _AGENT, "POST vm/agent/file-write", _COMMAND),
    (LOSES, EVERYBODY, "/vms VM.Monitor|Sys.Modify|Sys.Audit", "POST vm/monitor", _COMMAND),    # it acts on the node
    (LOSES, GUEST, "/vms VM.Console", "PUT vm/sendkey", _COMMAND),
    (LOSES, GUEST, "/vms VM.Console", "POST guest/(vnc|term|spice)proxy", _CONSOLE),
    (CHANGES, GUEST, "/vms VM.Console", "GET guest/vncwebsocket", _CONSOLE),
    # ===================================================================================== many guests, backups, tasks
    (READS, EVERYBODY, "/vms VM.Audit", "GET /cluster/(resources|replication)"),
    (READS, NODE, "/vms VM.Audit", "GET node/(qemu|lxc|replication)"),
    (CHANGES, LISTED, "/vms VM.PowerMgmt", "POST node/startall /cluster/bulk-action/guest/start"),
    (LOSES, LISTED, "/vms VM.PowerMgmt", "POST node/stopall /cluster/bulk-action/guest/shutdown"),
    (LOSES, LISTED, "/vms VM.PowerMgmt, " + _DISK, "POST node/suspendall /cluster/bulk-action/guest/suspend"),
    (LOSES, LISTED, "/vms VM.Migrate", "POST node/migrateall /cluster/bulk-action/guest/migrate"),
    (ADDS, LISTED, _BACKUP, "POST node/vzdump"),                        # its parameters decide: see `effect`
    (READS, NODE, _STORAGE, "GET node/vzdump/defaults"),
    (READS, VOLUME, _BACKUP, "GET node/vzdump/extractconfig"),
    (CHANGES, VOLUME, _BACKUP, "GET store/file-restore/(list|download)"),
    (READS, NOBODY, _ROOT, "GET /cluster/backup-info"),
    (READS, EVERYBODY, "/ Sys.Audit", "GET /cluster/backup(|/{id}|/{id}/included_volumes|-info/not-backed-up)"),
    (LOSES, LISTED, "/ Sys.Modify", "POST /cluster/backup"),            # a job prunes what is there
    (LOSES, EVERYBODY, "/ Sys.Modify", "PUT|DELETE /cluster/backup/{id}"),
    (READS, NOBODY, "", "GET node/replication/{id}"),
    (READS, GUEST, "/vms VM.Audit", "GET /cluster/replication/{id} node/replication/{id}/(status|log)"),
    (ADDS, LISTED, "/vms VM.Replicate", "POST /cluster/replication"),   # up to 8.4 Datastore.Allocate on /storage
    (CHANGES, GUEST, "/vms VM.Replicate", "PUT /cluster/replication/{id} POST node/replication/{id}/schedule_now"),
    (LOSES, GUEST, "/vms VM.Replicate", "DELETE /cluster/replication/{id}"),
    (READS, EVERYBODY, "", "GET /cluster/(tasks|log)"),
    (READS, NODE, "", "GET node/tasks"),
    (READS, NOBODY, "", "GET node/tasks/{upid}(|/status|/log)"),
    (LOSES, LISTED, "", "DELETE node/tasks/{upid}"),
    # ========================================================================================================= storage
    (READS, NODE, _STORAGE, "GET node/storage store store/(content|status|rrd|rrddata|prunebackups)"),
    (READS, VOLUME, _STORAGE, "GET store/(content/{volume}|import-metadata)"),
    (ADDS, NOBODY, _SPACE, "POST store/content"),
    (ADDS, NOBODY, _FETCH + "|Sys.Modify", "POST store/download-url"),
    (ADDS, NOBODY, _FETCH, "POST store/oci-registry-pull"),
    (ADDS, NOBODY, "/storage Datastore.AllocateTemplate", "POST node/aplinfo"),
    (ADDS, NOBODY, "/storage Datastore.AllocateTemplate", "POST store/upload", _UPLOAD),
    # AllocateSpace does for backups, with VM.Backup on their guests
    (CHANGES, VOLUME, "/storage Datastore.Allocate|Datastore.AllocateSpace", "PUT store/content/{volume}"),
    (LOSES, VOLUME, "/storage Datastore.Allocate|Datastore.AllocateSpace", "DELETE store/content/{volume}"),
    (LOSES, LISTED, "/storage Datastore.Allocate|Datastore.AllocateSpace", "DELETE store/prunebackups"),
    (LOSES, VOLUME, _ROOT, "POST store/content/{volume}"),
    (READS, EVERYBODY, _STORAGE, "GET /storage"),
    (READS, EVERYBODY, "/storage Datastore.Allocate", "GET /storage/{storage}"),
    (ADDS, NODES, "/storage Datastore.Allocate", "POST /storage"),
    (LOSES, EVERYBODY, "/storage Datastore.Allocate", "PUT|DELETE /storage/{storage}"),
    # =========================================================================================================== nodes
    (READS, EVERYBODY, "", "GET /nodes"),
    (READS, NOBODY, "", """GET node node/(aplinfo|apt|disks|firewall|hardware|scan|sdn|version|certificates(|/acme))
        node/hardware/pci/{id} node/capabilities(|/qemu|/qemu/cpu|/qemu/cpu-flags|/qemu/machines)"""),
    (READS, NODE, "", "GET node/(certificates/info|network|subscription)"),
    (READS, NODE, "/nodes Sys.Audit", """GET node/(status|dns|time|netstat|report|rrd|rrddata|network/{iface})
        node/services(|/{service}|/{service}/state) node/apt/(repositories|versions) node/disks/list
        node/capabilities/qemu/migration node/firewall/(options|rules|rules/{pos})"""),
    (READS, NODE, "/nodes Sys.Modify", "GET node/apt/(update|changelog)"),
    (READS, NODE, "/nodes Sys.Syslog", "GET node/(journal|syslog|firewall/log|ceph/log)"),
    (READS, NODE, "/ Sys.Audit", "GET node/(config|hosts) node/disks/(smart|directory|lvm|lvmthin|zfs|zfs/{name})"),
    (READS, NODE, "/ Sys.Audit|Sys.Modify", "GET node/hardware/pci(|/{id}/mdev)"),
    (READS, NODE, "/ Sys.Modify", "GET node/hardware/usb"),
    (CHANGES, NOBODY, "/nodes Sys.AccessNetwork|Sys.Modify", "GET node/query-url-metadata"),
    (CHANGES, NOBODY, "/nodes Sys.AccessNetwork", "GET node/query-oci-repo-tags"),
    (CHANGES, NOBODY, "/storage Datastore.Allocate", "GET node/scan/(cifs|glusterfs|iscsi|lvm|lvmthin|nfs|pbs|zfs)"),
    (CHANGES, NODE, "/nodes Sys.Modify", """PUT node/time POST|PUT node/apt/repositories
        POST node/(apt/update|subscription)"""),
    (CHANGES, NODE, "/ Sys.Modify", "PUT node/config"),
    (CHANGES, NODE, "/nodes Sys.PowerMgmt", "POST node/wakeonlan"),
    (LOSES, NODE, "/nodes Sys.PowerMgmt", "POST node/status"),
    (LOSES, NODE, "/nodes Sys.Modify", """
        POST node/services/{service}/(start|stop|restart|reload) node/(hosts|network|firewall/rules)
        PUT node/(dns|firewall/options) PUT|DELETE node/(network|network/{iface}|subscription|firewall/rules/{pos})
        POST|DELETE node/certificates/custom POST|PUT|DELETE node/certificates/acme/certificate"""),
    (LOSES, NODE, "/ Sys.Modify, /storage Datastore.Allocate", """
        POST node/disks/(directory|lvm|lvmthin|zfs) DELETE node/disks/(directory|lvm|lvmthin|zfs)/{name}"""),
    (LOSES, NODE, "/ Sys.Modify", "POST node/disks/initgpt"),
    (LOSES, NODE, _ROOT, "PUT node/disks/wipedisk"),
    (LOSES, EVERYBODY, _ROOT, "POST node/execute", _COMMAND),
    (LOSES, NODE, "/nodes Sys.Console", "POST node/(vncshell|termproxy|spiceshell)", _CONSOLE),
    (CHANGES, NODE, "/nodes Sys.Console", "GET node/vncwebsocket", _CONSOLE),
    # ============================================================================================================ ceph
    (READS, NOBODY, "", "GET /cluster/ceph ceph/(cfg|osd/{id})"),
    (READS, EVERYBODY, _CEPH, """GET /cluster/ceph/(metadata|status) ceph(|/cfg/db|/cfg/raw|/config|/configdb|/crush)
        ceph/(fs|mds|mgr|mon|osd|rules|status|pool|pool/{name}|pool/{name}/status|pools|pools/{name})"""),
    (READS, EVERYBODY, "/ Sys.Audit", """GET /cluster/ceph/flags(|/{flag})
        ceph/(cfg/value|cmd-safety|osd/{id}/lv-info|osd/{id}/metadata)"""),
    (ADDS, NOBODY, "/ Sys.Modify", "POST ceph/(mds|mgr)/{id}"),
    (CHANGES, EVERYBODY, "/ Sys.Modify", "POST ceph/(start|osd/{id}/in|osd/{id}/scrub)"),
    (LOSES, EVERYBODY, "/ Sys.Modify", """POST ceph/(init|stop|restart|mon/{id}|osd/{id}/out|fs/{name}|pool|pools)
        PUT /cluster/ceph/flags(|/{flag}) PUT|DELETE ceph/(pool|pools)/{id} DELETE ceph/(mds|mgr|mon)/{id}"""),
    (LOSES, EVERYBODY, _ROOT, "POST ceph/osd DELETE ceph/osd/{id}"),
    # =============================================================================================== cluster, firewall
    (READS, NOBODY, "", """GET /version /cluster /cluster/(nextid|jobs|jobs/schedule-analyze|metrics)
        /cluster/(bulk-action|bulk-action/guest|firewall|firewall/groups|firewall/macros)"""),
    (READS, EVERYBODY, "/ Sys.Audit", """GET /cluster/(status|options|config(|/apiversion|/join|/nodes|/qdevice|/totem))
        /cluster/(jobs/realm-sync(|/{id})|metrics/(export|server|server/{id}))
        /cluster/firewall/(options|refs|rules|rules/{pos}|aliases|aliases/{name}|groups/{group}|groups/{group}/{pos})
        /cluster/firewall/ipset(|/{name}|/{name}/{cidr})"""),
    (LOSES, EVERYBODY, "/ Sys.Modify", """PUT /cluster/options
        POST /cluster/firewall/(rules|aliases|groups|groups/{group}|ipset|ipset/{name})
        PUT /cluster/firewall/options DELETE /cluster/firewall/(groups/{group}|ipset/{name})
        PUT|DELETE /cluster/firewall/(rules/{pos}|aliases/{name}|groups/{group}/{pos}|ipset/{name}/{cidr})"""),
    (LOSES, EVERYBODY, _ROOT, "POST /cluster/config(|/join|/nodes/{node}) DELETE /cluster/config/nodes/{node}"),
    # =============================================================================================== high availability
    (READS, NOBODY, "", "GET ha/status"),
    (READS, GUEST, "/ Sys.Audit", "GET ha/resources/{sid}"),
    (READS, EVERYBODY, "/ Sys.Audit", """GET ha(|/resources|/groups|/groups/{id}|/rules|/rules/{id})
        ha/status/(current|manager_status)"""),
    (ADDS, NOBODY, "/ Sys.Console", "POST ha/groups"),
    (CHANGES, GUEST, "/ Sys.Console", "POST ha/resources/{sid}/migrate"),
    (LOSES, GUEST, "/ Sys.Console", "POST ha/resources/{sid}/relocate PUT|DELETE ha/resources/{sid}"),
    (LOSES, LISTED, "/ Sys.Console", "POST ha/(resources|rules)"),      # it may stop or move them at once
    (LOSES, EVERYBODY, "/ Sys.Console", "POST ha/status/(arm|disarm)-ha PUT|DELETE ha/(groups|rules)/{id}"),
    # ================================================================== software-defined network: new ones wait for PUT
    (READS, NOBODY, _ROOT, "GET sdn/vnets/{vnet}/firewall"),
    (READS, EVERYBODY, "/nodes Sys.Audit", "GET sdn/dry-run"),
    (READS, EVERYBODY, "/sdn SDN.Audit", """GET sdn(|/fabrics|/fabrics/node/{fabric})
        node/sdn/zones(|/{zone}|/{zone}/bridges|/{zone}/content|/{zone}/ip-vrf) node/sdn/vnets/{vnet}(|/mac-vrf)
        node/sdn/fabrics/{fabric}(|/interfaces|/neighbors|/routes)"""),
    (READS, EVERYBODY, _SDN, """GET sdn/(controllers|dns|ipams|ipams/{ipam}/status|zones|vnets)
        sdn/vnets/{vnet}(|/subnets|/subnets/{subnet}|/firewall/options|/firewall/rules|/firewall/rules/{pos})
        sdn/fabrics/(all|node|fabric|fabric/{id})"""),
    (READS, EVERYBODY, _SDN + ", /nodes Sys.Audit|Sys.Modify", "GET sdn/fabrics/node/{fabric}/{id}"),
    (READS, EVERYBODY, "/sdn SDN.Allocate", "GET sdn/(controllers|dns|ipams|zones)/{id}"),
    (ADDS, EVERYBODY, "/sdn SDN.Allocate", """
        POST sdn/(controllers|dns|ipams|zones|vnets|vnets/{vnet}/subnets|vnets/{vnet}/ips|fabrics/fabric)"""),
    (ADDS, EVERYBODY, "/sdn SDN.Allocate, /nodes Sys.Modify", "POST sdn/fabrics/node/{fabric}"),
    (CHANGES, EVERYBODY, "/sdn SDN.Allocate", "POST sdn/lock"),
    (LOSES, EVERYBODY, "/sdn SDN.Allocate", """PUT sdn sdn/vnets/{vnet}/firewall/options DELETE sdn/lock
        PUT|DELETE sdn/vnets/{vnet}(|/ips|/subnets/{subnet}|/firewall/rules/{pos}) POST sdn/vnets/{vnet}/firewall/rules
        POST sdn/rollback PUT|DELETE sdn/(controllers|dns|ipams|zones|fabrics/fabric)/{id}"""),
    (LOSES, EVERYBODY, "/sdn SDN.Allocate, /nodes Sys.Modify", "PUT|DELETE sdn/fabrics/node/{fabric}/{id}"),
    # ================================================================ certificates, devices, metrics and notifications
    (READS, NOBODY, "", "GET /cluster/acme(|/account|/challenge-schema) /cluster/mapping alerts(|/endpoints)"),
    (READS, NOBODY, "/ Sys.Modify", "GET /cluster/acme/plugins(|/{id})"),
    (READS, NOBODY, _ROOT, "GET /cluster/acme/account/{name}"),
    (CHANGES, NOBODY, "", "GET /cluster/acme/(directories|tos)"),
    (CHANGES, NOBODY, "/nodes Sys.Audit", "GET /cluster/acme/meta"),
    (ADDS, NOBODY, _ROOT, "POST /cluster/acme/account"),
    (LOSES, NOBODY, _ROOT, "PUT|DELETE /cluster/acme/account/{name}"),
    (ADDS, NOBODY, "/ Sys.Modify", "POST /cluster/acme/plugins /cluster/metrics/server/{id}"),
    # a PUT writes over the secrets they hold, and may silence an alarm
    (LOSES, NOBODY, "/ Sys.Modify", "PUT|DELETE /cluster/(acme/plugins|metrics/server)/{id}"),
    (READS, EVERYBODY, _MAPPING, "GET /cluster/mapping/(dir|pci|usb)(|/{id})"),
    (ADDS, NOBODY, "/mapping Mapping.Modify", "POST /cluster/mapping/(dir|pci|usb)"),
    (LOSES, EVERYBODY, "/mapping Mapping.Modify", "PUT|DELETE /cluster/mapping/(dir|pci|usb)/{id}"),
    (READS, NOBODY, "/mapping Mapping.Audit", "GET alerts/endpoints/(gotify|webhook)"),
    (READS, NOBODY, "/mapping Mapping.Audit|Mapping.Modify", """GET alerts/(matchers/{name}|matcher-fields)
        alerts/matcher-field-values alerts/endpoints/(sendmail|smtp|(gotify|sendmail|smtp|webhook)/{name})"""),
    (READS, NOBODY, _MAPPING, "GET alerts/(matchers|targets)"),
    (CHANGES, NOBODY, _MAPPING, "POST alerts/targets/{name}/test"),
    (ADDS, NOBODY, _ALERTS, "POST alerts/endpoints/(gotify|sendmail|smtp|webhook)"),
    (ADDS, NOBODY, "/mapping Mapping.Modify", "POST alerts/matchers"),
    (LOSES, NOBODY, _ALERTS, "PUT alerts/endpoints/(gotify|sendmail|smtp|webhook)/{name}"),
    (LOSES, NOBODY, "/mapping Mapping.Modify", """PUT|DELETE alerts/matchers/{name}
        DELETE alerts/endpoints/(gotify|sendmail|smtp|webhook)/{name}"""),
    # ================================================================== pools, users, groups, roles, realms, passwords
    (READS, EVERYBODY, "/pool Pool.Audit", "GET /pools(|/{poolid})"),
    (ADDS, NOBODY, "/pool Pool.Allocate", "POST /pools"),
    (CHANGES, LISTED, "/pool Pool.Allocate", "PUT /pools(|/{poolid})"),
    (LOSES, EVERYBODY, "/pool Pool.Allocate", "DELETE /pools(|/{poolid})"),
    (READS, NOBODY, "", "GET /access(|/domains|/openid|/permissions|/roles|/roles/{roleid}|/ticket)"),
    (READS, EVERYBODY, "/access Sys.Audit|Permissions.Modify", "GET /access/acl"),
    (READS, NOBODY, "/access Sys.Audit|User.Modify|Group.Allocate", "GET /access/groups"),
    (READS, NOBODY, "/access Sys.Audit|Group.Allocate", "GET /access/groups/{groupid}"),
    (READS, NOBODY, "/access Sys.Audit|Realm.Allocate", "GET /access/domains/{realm}"),
    (READS, NOBODY, "/access Sys.Audit|User.Modify", """GET /access/users(|/{userid}|/{userid}/tfa)
        /access/tfa(|/{userid}|/{userid}/{id})"""),
    (READS, NOBODY, "/access User.Modify", "GET /access/users/{userid}/token(|/{tokenid})"),
    (ADDS, EVERYBODY, _USERS, "POST /access/users"),                    # its groups may have rights
    (ADDS, NOBODY, "/access Group.Allocate", "POST /access/groups"),
    (ADDS, NOBODY, "/access Sys.Modify", "POST /access/roles"),
    (ADDS, NOBODY, "/access Realm.Allocate", "POST /access/domains"),
    (CHANGES, NOBODY, "/access Group.Allocate", "PUT /access/groups/{groupid}"),            # nothing but its comment
    (LOSES, EVERYBODY, "/access Group.Allocate", "DELETE /access/groups/{groupid}"),
    (LOSES, EVERYBODY, "/access Sys.Modify", "PUT|DELETE /access/roles/{roleid}"),
    (LOSES, EVERYBODY, "/access Realm.Allocate", "PUT|DELETE /access/domains/{realm}"),
    (LOSES, EVERYBODY, "/ Permissions.Modify", "PUT /access/acl"),
    (LOSES, EVERYBODY, _USERS, """POST /access/domains/{realm}/sync DELETE /access/users/{userid}
        POST|PUT /cluster/jobs/realm-sync/{id}"""),
    (LOSES, EVERYBODY, "/ Sys.Modify", "DELETE /cluster/jobs/realm-sync/{id}"),
    (LOSES, EVERYBODY, "/access User.Modify", """PUT /access/users/{userid} /access/users/{userid}/unlock-tfa
        DELETE /access/users/{userid}/token/{tokenid} /access/tfa/{userid}/{id}"""),
    (LOSES, EVERYBODY, "/access User.Modify", """POST|PUT /access/users/{userid}/token/{tokenid}
        POST /access/tfa/{userid} PUT /access/tfa/{userid}/{id}""", _SECRET),
    (LOSES, EVERYBODY, _USERS, "PUT /access/password", _SECRET),
    (CHANGES, NOBODY, "", "POST /access/(ticket|vncticket|tfa|openid/auth-url|openid/login)", _SECRET),
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
    found, given = find(verb, path), _given(params)
    names = RUN | _LETTING_IN if found.effect == CHANGES else RUN
    return found.command or (verb != "GET" and any(given.get(name, "") not in _NO for name in names))


def on_node(params):
    """Whether what a request carries is run on the node, and not only in the guest."""
    given = _given(params)
    return any(given.get(name, "") not in _NO for name in _RUN_ON_NODE)


def shown(verb, path):
    """Names of a request's parameters that are called like secrets and are none."""
    return _SHOWN.get(find(verb, path).template, ())


def changes(verb, path):
    """Whether a request can change something."""
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
    for effect_, reach, privileges, listed, *note in _TABLE:
        needs = tuple(privileges.split(", ")) if privileges else ()
        last = (None, True) if note == [_COMMAND] else (note[0] if note else None, False)
        for verb, path in methods(listed):
            branch = tree
            for part in path.split("/")[1:]:
                branch = branch.setdefault(_PLACES.get(part, _ANY) if part[0] == "{" else part, {})
            branch = branch.setdefault(_METHODS, {})
            branch[verb] = Endpoint(verb, path, effect_, reach, needs, *last)
            every.append(branch[verb])
    return tuple(every), tree


def _look_up(verb, path):
    """The Endpoint of the table, or None."""
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
