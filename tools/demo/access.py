"""Who may do what: privileges, roles, users, permissions; and the pools."""
import re

from tools.demo.model import bad, die, verify
from tools.demo.rules import boolean, enum, integer, split_list, string
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

_NOT_ADMIN = ("Sys.Modify Sys.PowerMgmt Sys.Incoming Sys.AccessNetwork Realm.Allocate Permissions.Modify "
              "Mapping.Modify").split()
_VM_USER = "VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.GuestAgent.Audit VM.PowerMgmt"

#: role -> privileges, as pve-access-control makes them.
ROLES = {
    "Administrator": ALL_PRIVILEGES, "NoAccess": [],
    "PVEAdmin": [name for name in ALL_PRIVILEGES if name not in _NOT_ADMIN],
    "PVEAuditor": [name for name in ALL_PRIVILEGES if name.endswith(".Audit")],
    **{"PVE%sAdmin" % area: [name for name in ALL_PRIVILEGES if name.startswith(area + ".")]
       for area in ("Datastore", "Mapping", "Pool", "SDN", "VM")},
    **{role_: names.split() for role_, names in {
        "PVEDatastoreUser": "Datastore.AllocateSpace Datastore.Audit", "PVEMappingAuditor": "Mapping.Audit",
        "PVEMappingUser": "Mapping.Audit Mapping.Use", "PVEPoolUser": "Pool.Audit", "PVESDNUser": "SDN.Audit SDN.Use",
        "PVESysAdmin": "Sys.Audit Sys.Console Sys.Syslog", "PVETemplateUser": "VM.Audit VM.Clone",
        "PVEUserAdmin": "Group.Allocate Realm.AllocateUser User.Modify", "PVEVMUser": _VM_USER}.items()}}


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
        known = (("nodes", call.world.nodes), ("storage", call.world.storages), ("pool", call.world.pools))
        paths += ["/%s/%s" % (kind, name) for kind, names in known for name in names]
        paths += ["/vms/%d" % vmid for vmid in list(call.world.guests)[:100]]
        paths += ["/sdn/zones/localnetwork"]
    return {path: {privilege: 1 for privilege in sorted(call.rights(path))} for path in paths if call.rights(path)}


def roles(call):
    return [{"roleid": name, "privs": ",".join(privileges), "special": int(name in ROLES)}
            for name, privileges in dict(ROLES, **call.world.access["roles"]).items()]


def role(call):
    privileges = dict(ROLES, **call.world.access["roles"]).get(call.p["roleid"])
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


def create_user(call):
    name, users_ = call.p["userid"], call.world.access["users"]
    realm = name.rpartition("@")[2]
    call.need("/access/realm/" + realm, "Realm.AllocateUser")
    if realm not in ("pam", "pve"):
        die("domain '%s' does not exist" % realm)
    if name in users_:
        die("create user failed: user '%s' already exists" % name)
    users_[name] = {"enable": 1, "expire": 0}
    users_[name].update((key, int(value) if isinstance(value, bool) else value) for key, value in call.p.items()
                        if key not in ("userid", "password", "groups"))
    users_[name]["groups"] = split_list(call.p.get("groups", ""))


def delete_user(call):
    """DELETE /access/users/{userid}: its entries of the ACL go with it; nobody is spared, not even root@pam."""
    known = call.world.access
    if known["users"].pop(call.p["userid"], None) is None:
        die("delete user failed: user '%s' does not exist" % call.p["userid"])
    known["acl"] = [row for row in known["acl"] if row["ugid"].partition("!")[0] != call.p["userid"]]


def user(call):
    facts = call.world.access["users"].get(call.p["userid"])
    if facts is None:
        die("no such user ('%s')" % call.p["userid"])
    return dict(facts, tokens={ident: dict(token) for ident, token in facts.get("tokens", {}).items()})


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


_ACL_PATH = re.compile(r"/(access(/(groups|realm)(/[^/]+)?)?|(nodes|storage)(/[^/]+)?|pool(/[^/]+){0,3}|"
                       r"vms(/\d{3,})?|sdn(/(controllers|dns|ipams|fabrics|zones)(/[^/]+){0,3})?|"
                       r"mapping(/\w+(/[^/]+)?)?)?\Z")


def change_acl(call):
    path, known = call.p["path"], call.world.access
    if not _ACL_PATH.match(path):
        bad(path="invalid ACL path '%s'" % path)
    for name in split_list(call.p["roles"]):
        if name not in ROLES and name not in known["roles"]:
            die("ACL update failed: role '%s' does not exist" % name)
    subjects = [(kind, name) for kind in ("user", "group", "token") for name in split_list(call.p.get(kind + "s", ""))]
    if not subjects:
        verify(dict.fromkeys(("users", "groups", "tokens"), "either 'users', 'groups' or 'tokens' required"))
    for kind, name in subjects:
        exists = {"user": known["users"], "group": known["groups"], "token": {
            "%s!%s" % (user_, ident) for user_, row in known["users"].items() for ident in row.get("tokens", {})}}[kind]
        if name not in exists:
            die("ACL update failed: %s" % (
                "no such token '%s'" if kind == "token" else kind + " '%s' does not exist") % name)
        for name_of_role in split_list(call.p["roles"]):
            row = {"path": path, "type": kind, "ugid": name, "roleid": name_of_role,
                   "propagate": int(call.p.get("propagate", True))}
            known["acl"] = [old for old in known["acl"]
                            if (old["path"], old["ugid"], old["roleid"]) != (path, name, name_of_role)]
            if not call.p.get("delete"):
                known["acl"].append(row)


def _pool(call, doing=""):
    if call.p["poolid"] not in call.world.pools:
        die("%spool '%s' does not exist" % (doing, call.p["poolid"]))
    return call.world.pools[call.p["poolid"]]


def _members(call, pool_):
    guests = [call.world.guests[vmid] for vmid in pool_["vms"] if vmid in call.world.guests]
    rows = [{"id": "%s/%d" % (guest.kind, guest.vmid), "type": guest.kind, "vmid": guest.vmid, "node": guest.node,
             "name": guest.name, "status": "running" if guest.running else "stopped"} for guest in guests]
    rows += [{"id": "storage/%s/%s" % (call.world.local, name), "type": "storage", "storage": name,
              "node": call.world.local} for name in pool_["storages"]]
    return [row for row in rows if call.p.get("type") in (None, row["type"])]


def pools(call):
    """GET /pools: those one may see; with poolid that one, its members with it."""
    wanted = call.p.get("poolid")
    if wanted:
        _pool(call)
    rows = []
    for name, pool_ in call.world.pools.items():
        if wanted in (None, name) and call.may("/pool/" + name, "Pool.Audit", "Pool.Allocate"):
            row = {"poolid": name, "comment": pool_["comment"]} if pool_.get("comment") else {"poolid": name}
            rows.append(dict(row, members=_members(call, pool_)) if wanted else row)
    return rows


def pool(call):
    return {"comment": _pool(call).get("comment", ""), "members": _members(call, _pool(call))}


def create_pool(call):
    if call.p["poolid"] in call.world.pools:
        die("create pool failed: pool '%s' already exists" % call.p["poolid"])
    call.world.pools[call.p["poolid"]] = {"comment": call.p.get("comment", ""), "vms": [], "storages": []}


def change_pool(call):
    """PUT /pools: comment, members; delete=1 takes the members out."""
    pool_, p = _pool(call, "update pools failed: "), call.p
    if p.get("comment") is not None:
        pool_["comment"] = p["comment"]
    wanted = [("vms", int(word), "VM %d", "/vms/%d", "VM.Allocate") for word in split_list(p.get("vms", ""))]
    wanted += [("storages", word, "Storage '%s'", "/storage/%s", "Datastore.Allocate")
               for word in split_list(p.get("storage", ""))]
    for key, member, what, path, privilege in wanted:
        call.need(path % member, privilege)
        if bool(p.get("delete")) != (member in pool_[key]):
            die("update pools failed: %s is %s a pool member" % (
                what % member, "not" if p.get("delete") else "already"))
        if p.get("delete"):
            pool_[key].remove(member)
            continue
        old = call.world.pool_of(member) if key == "vms" else None
        if old and not p.get("allow-move"):
            die("update pools failed: VM %d is already a member of pool '%s', and 'allow-move' is not set"
                % (member, old))
        if old:
            call.world.pools[old]["vms"].remove(member)
        pool_[key].append(member)


def delete_pool(call):
    pool_ = _pool(call, "delete pool failed: ")
    inside = ["VM %d" % vmid for vmid in sorted(pool_["vms"])] + ["storage '%s'" % name for name in pool_["storages"]]
    if inside:
        die("delete pool failed: pool '%s' is not empty (contains %s)" % (call.p["poolid"], inside[0]))
    del call.world.pools[call.p["poolid"]]


_MODIFY_USER = perm("/access/groups", "User.Modify")
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
    Route("POST /access/users", create_user, _MODIFY_USER, "Make a user.", {
        "userid*": string("The user.", format="pve-userid", maxLength=64), "enable": boolean("May log in.", default=1),
        "expire": integer("Epoch of its end; 0 is never.", 0), "comment": string("A comment.", maxLength=2048),
        "password": string("Password; realm pve only.", minLength=8, maxLength=64),
        "email": string("Its address.", format="email", maxLength=254), "firstname": string("First name."),
        "lastname": string("Last name."), "groups": string("In these groups.", format="pve-groupid-list")}),
    Route("DELETE /access/users/{userid}", delete_user, _MODIFY_USER, "Remove a user."),
    Route("GET /access/groups", groups, ALL, "List groups."),
    Route("GET /access/tfa", lambda call: [], ALL, "Second factors of users."),
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
