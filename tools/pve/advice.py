"""What can be done about a request that failed: what Proxmox's words mean, which role has a privilege, where to look.

Three tables and the functions that look things up in them. The client needs none of it until a request fails.
"""
import re

# --------------------------------------------------------------------------------------------------- an unknown outcome

# pattern of a path -> the call that tells whether a write to it was done; {ours}: vm or lxc, as in names of tools
_GUEST = r"/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)/(?P<vmid>\d+)"
FIND_OUT = [(re.compile(pattern), call) for pattern, call in (
    (_GUEST + "/snapshot", "proxmox_list_tasks (node {node}, vmid {vmid}), then proxmox_list_snapshots_{ours}"),
    (_GUEST + "/agent/", "a look inside the guest"),
    (_GUEST + "/status", "proxmox_get_vm_status (node {node}, vmid {vmid}, type {kind}) and proxmox_list_tasks "
                         "(node {node}, vmid {vmid})"),
    (_GUEST + r"\Z", "proxmox_list_tasks (node {node}, vmid {vmid}), then proxmox_get_vms"),
    (_GUEST + "/", "proxmox_get_{ours}_config (node {node}, vmid {vmid}) and proxmox_list_tasks (node {node}, vmid "
                   "{vmid})"),
    (r"/nodes/(?P<node>[^/]+)/(?:qemu|lxc)\Z", "proxmox_list_tasks (node {node}), then proxmox_get_vms"),
    (r"/nodes/(?P<node>[^/]+)/(?:vzdump|storage/.*)", "proxmox_list_tasks (node {node}), then proxmox_list_backups"),
    (r"/nodes/(?P<node>[^/]+)", "proxmox_list_tasks (node {node})"),
    (r"", "proxmox_list_tasks"),
)]


def find_out(verb, path):
    """The sentence for a write of unknown outcome: which call tells whether it was done."""
    match, call = next((match, call) for match, call in ((pattern.match(path), call) for pattern, call in FIND_OUT)
                       if match)
    ids = match.groupdict()
    call = call.format(ours="lxc" if ids.get("kind") == "lxc" else "vm", **ids)
    return ("Whether %s %s took effect is not known. Do not repeat it before you have checked with %s."
            % (verb, path, call))


# ------------------------------------------------------------------------------------------------- privileges and roles

# The smallest built-in role with each privilege (AccessControl.pm, create_roles). Privileges that only Administrator
# has are missing here: for those a role of their own is suggested.
ROLES = {
    "PVEAuditor": "VM.Audit Sys.Audit Datastore.Audit SDN.Audit Pool.Audit Mapping.Audit VM.GuestAgent.Audit",
    "PVETemplateUser": "VM.Clone",
    "PVEVMUser": "VM.PowerMgmt VM.Console VM.Backup VM.Config.CDROM VM.Config.Cloudinit",
    "PVEVMAdmin": "VM.Allocate VM.Migrate VM.Monitor VM.Snapshot VM.Snapshot.Rollback VM.Replicate VM.Config.Disk "
                  "VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.HWType VM.Config.Options "
                  "VM.GuestAgent.FileRead VM.GuestAgent.FileWrite VM.GuestAgent.FileSystemMgmt "
                  "VM.GuestAgent.Unrestricted",
    "PVEDatastoreUser": "Datastore.AllocateSpace",
    "PVEDatastoreAdmin": "Datastore.Allocate Datastore.AllocateTemplate",
    "PVESysAdmin": "Sys.Console Sys.Syslog",
    "PVESDNUser": "SDN.Use",
    "PVESDNAdmin": "SDN.Allocate",
    "PVEPoolAdmin": "Pool.Allocate",
    "PVEMappingUser": "Mapping.Use",
    "PVEMappingAdmin": "Mapping.Modify",
    "PVEUserAdmin": "User.Modify Group.Allocate Realm.AllocateUser",
}
ROLE_OF = {privilege: role for role, privileges in ROLES.items() for privilege in privileges.split()}


def grant(path, privileges, token_id):
    """The shell line that gives a token, or a user, one of the privileges on an ACL path. Least role first."""
    order = list(ROLES)
    choices = sorted(privileges, key=lambda one: order.index(ROLE_OF[one]) if one in ROLE_OF else len(order))
    privilege = choices[0]
    role = ROLE_OF.get(privilege)
    line = "pveum acl modify %s --%s '%s' --roles %s"
    if role is None:
        role = "MCP" + re.sub(r"[^A-Za-z0-9]", "", privilege)
        line = "pveum role add %s --privs %s && " % (role, privilege) + line
    return line % (path, "tokens" if "!" in token_id else "users", token_id, role)


# ------------------------------------------------------------------------------------------------------------ a refusal

def _grant_hint(match, token_id):
    path, privileges, user = match.group(1), match.group(2).split("|"), token_id.partition("!")[0]
    lines = ["To grant it, run on a node as root: " + grant(path, privileges, token_id)]
    if user != "root@pam":              # who lacks nothing
        lines.append("A token never has more than its user, and one without privilege separation has just what its "
                     "user has: if that line does not help, also run " + grant(path, privileges, user))
    return "The token %s lacks %s on %s. %s. An entry on a path replaces those inherited from above, so repeat their " \
           "roles in it." % (token_id, " or ".join(privileges), path, ". ".join(lines))


# (statuses or None, pattern in Proxmox's words, hint (with \1 of it) or function(match, token id), the outcome of a
# write where it is not "refused")
HINTS = [(statuses, re.compile(pattern), hint, *(outcome or ["refused"])) for statuses, pattern, hint, *outcome in (
    ({401}, r"csrf|ticket", "Proxmox saw no API token. Check PROXMOX_USER (name@realm), PROXMOX_TOKEN_NAME and "
     "PROXMOX_TOKEN_VALUE, and that no reverse proxy removes the Authorization header."),
    ({401}, r"", "Check PROXMOX_USER (name@realm, such as root@pam), PROXMOX_TOKEN_NAME and PROXMOX_TOKEN_VALUE; the "
     "token may have expired or been deleted, or its user be disabled or expired. On a node, pveum user token list "
     "USER shows its tokens, and journalctl -u pveproxy -u pvedaemon the reason. A token also needs privileges of its "
     "own (ACL), unless it was made with --privsep 0."),
    ({403}, r"\((/[\w./-]*), ([\w.|]+)", _grant_hint),
    *((None, pattern, "Proxmox reserves this for root@pam itself; no API token may do it, not even one of root@pam. Do "
       "it on the node or in the web interface." + more) for pattern, more in (
        (r"[Oo]nly root(?:@pam)? (?:can|may|is allowed to) (?:\w+ )?'(?:hostpci|usb)\d*'", " A device that has a "
         "resource mapping (mapping=NAME) may be given by a token with Mapping.Use."),
        (r"[Oo]nly root(?:@pam)? (?:can|may|is allowed to) |only allowed for root|user != root@pam", ""))),
    ({403}, r"not available with API token", "Proxmox does not allow this with an API token; use the web interface."),
    ({403}, r"\(pool '[^']*' does not exist", "There is no such pool: proxmox_list_pools shows those there are."),
    ({403}, r"", "The token's privileges are not sufficient; on a node, pveum user token permissions USER TOKENNAME "
     "shows them."),
    *((None, r"Configuration file .*/%s/(\d+)\.conf' does not exist" % kind, r"There is no %s \1 on that node: "
       "proxmox_get_vms shows on which node each guest is and whether it is a VM or a container." % name)
      for kind, name in (("qemu-server", "VM"), ("lxc", "container"))),
    (None, r"(?:VM|CT) is locked \(([\w-]+)\)", r"A task (\1) has locked the guest: wait until it ends "
     r"(proxmox_list_tasks). A lock left behind by a killed task can be removed by root on the node, with qm unlock or "
     r"pct unlock."),
    *((None, r"can't (?:lock file|ac?quire lock) '[^']*%s'.* got timeout" % file, "Another operation holds %s: wait a "
       "little, look at proxmox_list_tasks, then try again." % what) for file, what in (
        (r"pve-storage-([^/']+)", r"storage \1 (a volume is made or removed there)"),
        (r"(?:lock|pve-config)-(\d+)\.(?:conf|lock)", r"guest \1 (for up to 30 s after a stop)"),
        ("", "what this needs too"))),
    (None, r"hotplug problem|unable to hotplug", "The running guest could not take it, but it is in the configuration "
     "all the same and waits for the next start, which may fail for the same reason; what it was to replace may be "
     "gone from the running guest. The guest's config shows what waits; delete, or revert, what is not "
     "wanted.", "accepted"),
    (None, r"ha-manager.* failed: exit code|in error state, must be disabled", "HA does not do this with the guest as "
     "it is: proxmox_get_ha_status shows why. Out of the state error it comes by state=disabled (PUT "
     "/cluster/ha/resources/vm:VMID, ct:VMID of a container), once its cause is gone, and then state=started."),
    (None, r"checksum mismatch|detected modified configuration", "The configuration was changed in the meantime: read "
     "it again, then repeat the change."),
    (None, r"no quorum|/etc/pve/.*(?:Permission denied|Read-only file system)", "The cluster has lost its quorum, so "
     "no configuration can be changed and no guest started: proxmox_get_cluster_status shows which nodes are missing."),
    (None, r"storage '[^']*' (?:does not exist|is not available|is disabled|is not online)|"
     r"No such storage|can't use storage '[^']*'", "proxmox_get_storage shows this node's storages, whether they are "
     "enabled and active, and what they may hold."),
    (None, r"protection mode", "The guest is protected. If you do mean to do this, switch its protection off first "
     "(config protection=0)."),
    (None, r"no options specified", "The request names nothing to change."),
    (None, r"ha groups have been migrated to rules", "Since Proxmox VE 9 rules do what groups did: GET "
     "/cluster/ha/rules shows them, POST /cluster/ha/rules with type=node-affinity makes one."),
    (None, r"enterprise\.proxmox\.com.*\b401\b", "The enterprise repository takes a subscription: without one, switch "
     "it off and the no-subscription repository on (web interface: node, Updates, Repositories)."),
    (None, r"No QEMU guest agent configured|qga .*unable to open monitor socket", "Switch it on in the VM's options "
     "(agent=1), then shut the VM down and start it: a reboot from inside is not enough. Inside it, qemu-guest-agent "
     "must be installed."),
    (None, r"QEMU guest agent is not running", "Inside the VM: install qemu-guest-agent and start it (systemctl enable "
     "--now qemu-guest-agent; on Windows the guest tools of virtio-win). Right after a boot it may just not be up "
     "yet."),
    (None, r"(?i)agent error: .*(?:has been disabled|not allowed|blacklist|CommandDisabled)", "The guest's agent "
     "forbids this command. RHEL, Alma and Rocky forbid some by default: allow it inside the VM in "
     "/etc/sysconfig/qemu-ga (allow-rpcs, or take it out of the block list), then restart qemu-guest-agent."),
    (None, r"(?i)agent error: .*(?:has not been found|unsupported|not supported|CommandNotFound)", "The agent in the "
     "guest does not know this command: it is too old, or its system has no such thing."),
    (None, r"q(?:mp|ga) command 'guest-[\w-]+' failed - .*timeout", "The guest's agent did not answer in time: the "
     "guest is busy, frozen or still starting.", "unknown"),
    (None, r"(?:VM|CT) \d+(?: already exists|: config file already exists)|atomic file '[^']*\.conf' .*File exists",
     "Choose another id (proxmox_get_next_vmid gives a free vmid)."),
    (None, r"VM(?: \d+)? (?:is )?not running", "proxmox_start_vm starts it."),
    (None, r"CT(?: \d+)? (?:is )?not running", "proxmox_start_lxc starts it."),
    (None, r"is running - destroy failed|not running|already running", "Look at the guest with proxmox_get_vm_status "
     "first."),
    (None, r"hostname lookup '[^']*' failed", "There is no node of that name. proxmox_get_nodes lists the nodes (names "
     "without a domain)."),
    (None, r"has wrong type 'iso'", "Proxmox makes disks from content import, not from iso: download it again with "
     "proxmox_download_url content=import and a filename that ends in .qcow2, .raw, .vmdk or .ova."),
    ({400}, r"no such task|unable to parse worker upid", "proxmox_list_tasks shows the known tasks."),
    (None, r"not a valid block device", "proxmox_get_node_disks shows the disks of a node."),
    (None, r"not HA managed|does not exist in cluster", "proxmox_get_ha_status shows what HA looks after, "
     "proxmox_get_vms the guests there are."),
    (None, r"property is not defined in schema|not have a value in the enumeration", "This version of Proxmox VE does "
     "not know what is named here: correct it, or leave it out; a newer version may take it."),
    *((statuses, pattern, "Proxmox does not accept these parameters. Correct the ones it names.")
      for statuses, pattern in ((None, r"\A400 Parameter verification failed"), ({400}, r""))),
    ({501}, r"for data too large", "Proxmox takes at most 512 KiB in one request (64 KiB before 8.4)."),
    ({501}, r"", "This endpoint does not exist on this version of Proxmox VE, or not with this method."),
    ({502, 503, 504}, r"", "A reverse proxy answered, but Proxmox behind it did not: check the proxy, or connect to "
     "port 8006 directly.", "unknown"),
    ({595}, r"", "The node that this is about cannot be reached from the node we are connected to: it is down or cut "
     "off (proxmox_get_nodes), or pvedaemon is not running there."),
    ({596}, r"certificate verify failed", "The node's name is wrong or its certificate is not the cluster's: run pvecm "
     "updatecerts on that node."),
    ({596}, r"Broken pipe", "pvedaemon dropped the request, or the node is not there (proxmox_get_nodes); with the "
     "guest agent this means that the program does not exist in the guest.", "unknown"),
    ({596}, r"", "It took longer than 30 s, or the node went away. Anything already started keeps running on the "
     "node.", "unknown"),
    ({597, 598, 599}, r"", "The connection between the nodes was lost; the node may be going down "
     "(proxmox_get_nodes).", "unknown"),
)]


def hint(status, text, token_id):
    """(what the admin can do, or "", outcome of a write) for the HTTP status and the words of a refusal."""
    for statuses, pattern, words, outcome in HINTS:
        match = pattern.search(text) if statuses is None or status in statuses else None
        if match is not None:
            return words(match, token_id) if callable(words) else match.expand(words), outcome
    return "", "refused"
