"""Who may do what: privileges, roles, users, permissions; and the pools."""
from tools.demo.model import bad, die, words
from tools.demo.rules import boolean, enum, string
from tools.demo.wire import ALL, Route, perm

ALL_PRIVILEGES = """
    Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate Mapping.Audit
    Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate Realm.AllocateUser
    SDN.Allocate SDN.Audit SDN.Use Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt
    Sys.Syslog User.Modify
    VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk
    VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.GuestAgent.Audit
    VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite VM.GuestAgent.Unrestricted VM.Migrate
    VM.PowerMgmt VM.Replicate VM.Snapshot VM.Snapshot.Rollback""".split()

_AUDIT = ("Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit VM.GuestAgent.Audit").split()
_VM_USER = "VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.GuestAgent.Audit VM.PowerMgmt".split()
_NOT_ADMIN = ("Sys.Modify Sys.PowerMgmt Sys.Incoming Sys.AccessNetwork Realm.Allocate Permissions.Modify "
              "Mapping.Modify").split()

#: role -> privileges, as pve-access-control makes them.
ROLES = {
    "Administrator": ALL_PRIVILEGES,
    "NoAccess": [],
    "PVEAdmin": [privilege for privilege in ALL_PRIVILEGES if privilege not in _NOT_ADMIN], "PVEAuditor": _AUDIT,
    "PVEDatastoreAdmin": [privilege for privilege in ALL_PRIVILEGES if privilege.startswith("Datastore.")],
    "PVEDatastoreUser": ["Datastore.AllocateSpace", "Datastore.Audit"],
    "PVEMappingAdmin": ["Mapping.Audit", "Mapping.Modify", "Mapping.Use"], "PVEMappingAuditor": ["Mapping.Audit"],
    "PVEMappingUser": ["Mapping.Audit", "Mapping.Use"],
    "PVEPoolAdmin": ["Pool.Allocate", "Pool.Audit"],
    "PVEPoolUser": ["Pool.Audit"],
    "PVESDNAdmin": ["SDN.Allocate", "SDN.Audit", "SDN.Use"], "PVESDNUser": ["SDN.Audit", "SDN.Use"],
    "PVESysAdmin": ["Sys.Audit", "Sys.Console", "Sys.Syslog"], "PVETemplateUser": ["VM.Audit", "VM.Clone"],
    "PVEUserAdmin": ["Group.Allocate", "Realm.AllocateUser", "User.Modify"],
    "PVEVMAdmin": [privilege for privilege in ALL_PRIVILEGES if privilege.startswith("VM.")], "PVEVMUser": _VM_USER,
}


def permissions(call):
    """GET /access/permissions: own rights, path -> {privilege: propagate}."""
    user = call.p.get("userid", call.user)
    if user != call.user:
        call.need_any("/access", "Sys.Audit")
        return {}
    paths = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms", "/mapping"]
    if call.p.get("path"):
        paths = [call.p["path"]]
    else:
        paths += ["/nodes/%s" % name for name in call.world.nodes]
        paths += ["/storage/%s" % name for name in call.world.storages]
        paths += ["/pool/%s" % name for name in call.world.pools]
        paths += ["/vms/%d" % vmid for vmid in list(call.world.guests)[:100]]
        paths += ["/sdn/zones/localnetwork"]
    found = {}
    for path in paths:
        held = call.rights(path)
        if held:
            found[path] = {privilege: 1 for privilege in sorted(held)}
    return found


def roles(call):
    return [{"roleid": name, "privs": ",".join(privileges), "special": 1} for name, privileges in ROLES.items()] + [
        {"roleid": name, "privs": ",".join(privileges), "special": 0}
        for name, privileges in call.world.access["roles"].items()]


def role(call):
    privileges = ROLES.get(call.p["roleid"], call.world.access["roles"].get(call.p["roleid"]))
    if privileges is None:
        die("role '%s' does not exist" % call.p["roleid"])
    return {privilege: 1 for privilege in privileges}


def users(call):
    """GET /access/users: oneself, and all with User.Modify or Sys.Audit on /access/groups."""
    me = call.user.partition("!")[0]
    rows = []
    for name, facts in call.world.access["users"].items():
        if name != me and not call.may("/access/groups", "User.Modify", "Sys.Audit"):
            continue
        if call.p.get("enabled") is not None and bool(facts.get("enable", 1)) != call.p["enabled"]:
            continue
        row = {key: value for key, value in facts.items() if key not in ("tokens", "groups")}
        row.update(userid=name, **{"realm-type": name.rpartition("@")[2]})
        if call.p.get("full"):
            row["groups"] = ",".join(facts.get("groups", []))
            row["tokens"] = [dict(token, tokenid=ident) for ident, token in facts.get("tokens", {}).items()]
        rows.append(row)
    return rows


def _user(call):
    facts = call.world.access["users"].get(call.p["userid"])
    if facts is None:
        die("no such user ('%s')" % call.p["userid"])
    return facts


def user(call):
    facts = dict(_user(call))
    facts["tokens"] = {ident: dict(token) for ident, token in facts.get("tokens", {}).items()}
    return facts


def groups(call):
    rows = []
    for name, facts in call.world.access["groups"].items():
        if call.may("/access/groups/" + name, "User.Modify", "Sys.Audit", "Group.Allocate"):
            members = [user for user, row in call.world.access["users"].items() if name in row.get("groups", [])]
            rows.append({"groupid": name, "comment": facts.get("comment", ""), "users": ",".join(members)})
    return rows


def acl(call):
    """GET /access/acl: what one may see of it."""
    if not call.may("/access", "Sys.Audit", "Permissions.Modify"):
        return []
    return [dict(row) for row in call.world.access["acl"]]


def change_acl(call):
    path = call.p["path"]
    known = call.world.access
    for name in words(call.p["roles"]):
        if name not in ROLES and name not in known["roles"]:
            die("role '%s' does not exist" % name)
    subjects = [("user", name) for name in words(call.p.get("users"))]
    subjects += [("group", name) for name in words(call.p.get("groups"))]
    subjects += [("token", name) for name in words(call.p.get("tokens"))]
    if not subjects:
        bad(users="either 'users', 'groups' or 'tokens' required")
    for kind, name in subjects:
        exists = {"user": known["users"], "group": known["groups"], "token": {
            "%s!%s" % (user_, ident) for user_, row in known["users"].items() for ident in row.get("tokens", {})}}[kind]
        if name not in exists:
            die(("no such token '%s'" if kind == "token" else kind + " '%s' does not exist") % name)
        for name_of_role in words(call.p["roles"]):
            row = {"path": path, "type": kind, "ugid": name, "roleid": name_of_role,
                   "propagate": int(call.p.get("propagate", True))}
            known["acl"] = [old for old in known["acl"]
                            if (old["path"], old["ugid"], old["roleid"]) != (path, name, name_of_role)]
            if not call.p.get("delete"):
                known["acl"].append(row)
    return None


def _members(call, pool):
    rows = []
    for vmid in pool["vms"]:
        guest = call.world.guests.get(vmid)
        if guest:
            rows.append({"id": "%s/%d" % (guest.kind, vmid), "type": guest.kind, "vmid": vmid, "node": guest.node,
                         "name": guest.name, "status": "running" if guest.running else "stopped"})
    for name in pool["storages"]:
        rows.append({"id": "storage/%s/%s" % (call.world.local, name), "type": "storage", "storage": name,
                     "node": call.world.local})
    return rows


def pools(call):
    """GET /pools: those one may see; with poolid that one, its members with it."""
    wanted = call.p.get("poolid")
    if wanted and wanted not in call.world.pools:
        die("pool '%s' does not exist" % wanted)
    rows = []
    for name, pool in call.world.pools.items():
        if wanted in (None, name) and call.may("/pool/" + name, "Pool.Audit", "Pool.Allocate"):
            row = {"poolid": name}
            if pool.get("comment"):
                row["comment"] = pool["comment"]
            if wanted:
                kind = call.p.get("type")
                row["members"] = [member for member in _members(call, pool) if kind in (None, member["type"])]
            rows.append(row)
    return rows


def pool(call):
    pool_ = call.world.pools.get(call.p["poolid"])
    if pool_ is None:
        die("pool '%s' does not exist" % call.p["poolid"])
    kind = call.p.get("type")
    return {"comment": pool_.get("comment", ""),
            "members": [member for member in _members(call, pool_) if kind in (None, member["type"])]}


def create_pool(call):
    if call.p["poolid"] in call.world.pools:
        die("create pool failed: pool '%s' already exists" % call.p["poolid"])
    call.world.pools[call.p["poolid"]] = {"comment": call.p.get("comment", ""), "vms": [], "storages": []}


def change_pool(call):
    """PUT /pools: comment, members; delete=1 takes the members out."""
    pool_ = call.world.pools.get(call.p["poolid"])
    if pool_ is None:
        die("update pool failed: pool '%s' does not exist" % call.p["poolid"])
    if call.p.get("comment") is not None:
        pool_["comment"] = call.p["comment"]
    for vmid in map(int, words(call.p.get("vms"))):
        call.need("/vms/%d" % vmid, "VM.Allocate")
        if call.p.get("delete"):
            if vmid not in pool_["vms"]:
                die("update pool failed: VM %d is not a pool member" % vmid)
            pool_["vms"].remove(vmid)
        elif vmid in pool_["vms"]:
            die("update pool failed: VM %d is already a pool member" % vmid)
        else:
            old = call.world.pool_of(vmid)
            if old and not call.p.get("allow-move"):
                die("update pool failed: VM %d is already a member of pool '%s', and 'allow-move' is not set" % (vmid,
                    old))
            if old:
                call.world.pools[old]["vms"].remove(vmid)
            pool_["vms"].append(vmid)
    for name in words(call.p.get("storage")):
        call.need("/storage/%s" % name, "Datastore.Allocate")
        if call.p.get("delete"):
            if name not in pool_["storages"]:
                die("update pool failed: Storage '%s' is not a pool member" % name)
            pool_["storages"].remove(name)
        elif name in pool_["storages"]:
            die("update pool failed: Storage '%s' is already a pool member" % name)
        else:
            pool_["storages"].append(name)


def delete_pool(call):
    pool_ = call.world.pools.get(call.p["poolid"])
    if pool_ is None:
        die("delete pool failed: pool '%s' does not exist" % call.p["poolid"])
    if pool_["vms"] or pool_["storages"]:
        die("delete pool failed: pool '%s' is not empty (contains %s)" % (
            call.p["poolid"], "VMs" if pool_["vms"] else "storage"))
    del call.world.pools[call.p["poolid"]]


_POOLID = string("The pool.", format="pve-poolid")
_POOL = perm("/pool/{poolid}", "Pool.Allocate")
_CHANGE = {"comment": string("A comment."), "vms": string("Guests.", format="pve-vmid-list"),
           "storage": string("Storages.", format="pve-storage-id-list"), "delete": boolean("Take these out."),
           "allow-move": boolean("Take guests out of their old pool.", default=0)}

ROUTES = [
    Route("GET /access/permissions", permissions, ALL, "One's own rights.", {
        "path": string("Only this path."), "userid": string(
            "Of this user or token.", pattern=r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+(?:![A-Za-z][A-Za-z0-9.\-_]+)?")}),
    Route("GET /access/roles", roles, ALL, "List roles."),
    Route("GET /access/roles/{roleid}", role, ALL, "The privileges of a role."),
    Route("GET /access/users", users, ALL, "List users.", {
        "enabled": boolean("Only those enabled, or not."), "full": boolean("With groups and tokens.", default=0)}),
    Route("GET /access/users/{userid}", user, ["userid-group", ["User.Modify", "Sys.Audit"]], "A user."),
    Route("GET /access/groups", groups, ALL, "List groups."),
    Route("GET /access/acl", acl, ALL, "List permissions."),
    Route("PUT /access/acl", change_acl, ["perm-modify", "{path}"], "Give or take permissions.", {
        "path*": string("On this path."), "roles*": string("These roles.", format="pve-roleid-list"),
        "users": string("To users.", format="pve-userid-list"),
        "groups": string("To groups.", format="pve-groupid-list"),
        "tokens": string("To API tokens.", format="pve-tokenid-list"), "propagate": boolean("Below it too.", default=1),
        "delete": boolean("Take them away.")}),
    Route("GET /pools", pools, ALL, "List pools.", {
        "poolid": dict(_POOLID), "type": enum("Only such members.", "qemu lxc storage", requires="poolid")}),
    Route("POST /pools", create_pool, _POOL, "Make a pool.", {"poolid*": _POOLID, "comment": string("A comment.")}),
    Route("PUT /pools", change_pool, _POOL, "Change a pool.", dict({"poolid*": _POOLID}, **_CHANGE)),
    Route("DELETE /pools", delete_pool, _POOL, "Remove an empty pool.", {"poolid*": _POOLID}),
    Route("GET /pools/{poolid}", pool, perm("/pool/{poolid}", "Pool.Audit"), "A pool and its members.", {
        "type": enum("Only such members.", "qemu lxc storage")}),
    Route("PUT /pools/{poolid}", change_pool, _POOL, "Change a pool.", _CHANGE),
    Route("DELETE /pools/{poolid}", delete_pool, _POOL, "Remove an empty pool."),
]
