"""Toolset: pools, backup jobs, replication, users and their permissions - what is set up once and looked at weekly."""
from dataclasses import dataclass
from typing import Annotated, Optional

from tools.base.answers import Table, counting, data_only, result
from tools.base.failures import Failure
from tools.base.lists import taken_by
from tools.base.row import BASIC, DESTRUCTIVE, ELEVATED, AnyNode, Paged, Tool, Wait
from tools.base.schema import REQUIRED, Arg
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on
from tools.pve.jsonschema import split_list
from tools.pve.text import Column

Flag = Optional[bool]
Poolid = Annotated[str, Arg(format="pool", aliases=("pool",))]
JobId = Annotated[str, Arg(format="id")]
Guests = Annotated[Optional[str], Arg("vmids, as 100,101", listed=True, max_length=20000)]


@dataclass
class CreatePool:
    """Make a pool."""
    poolid: Poolid = REQUIRED
    vms: Annotated[Optional[str], Arg(listed=True, max_length=20000, does="update_pool")] = None
    allow_move: Annotated[Flag, Arg(parameter="allow-move")] = None


@dataclass
class UpdatePool:
    """Put guests or storages into a pool, or take them out."""
    poolid: Poolid = REQUIRED
    vms: Guests = None
    storage: Annotated[Optional[str], Arg("storages", listed=True, max_length=2000)] = None
    delete: Annotated[Flag, Arg("take them out")] = None
    allow_move: Annotated[Flag, Arg("out of another pool", parameter="allow-move")] = None


@dataclass
class _Job:
    """(what a backup job does)"""
    schedule: Annotated[Optional[str], Arg("sat 03:30, mon..fri 02:00", max_length=128)] = None
    storage: Annotated[Optional[str], Arg(format="storage")] = None
    vmid: Guests = None
    pool: Annotated[Optional[str], Arg(format="pool")] = None
    all: Flag = None
    exclude: Annotated[Optional[str], Arg(listed=True, max_length=20000, published=False)] = None
    keep: Annotated[Optional[str], Arg("keep-daily=7,keep-weekly=4", parameter="prune-backups", max_length=200)] = None
    mode: Annotated[Optional[str], Arg(enum=("snapshot", "suspend", "stop"))] = None
    node: AnyNode = None
    enabled: Flag = None


@dataclass
class CreateJob(_Job):
    """Make a backup job for guests (vmid), a pool or all."""
    id: Annotated[Optional[str], Arg(format="id")] = None


@dataclass
class UpdateJob(_Job):
    """Change a backup job."""
    id: JobId = REQUIRED


@dataclass
class RunJob:
    """Run a backup job now."""
    id: JobId = REQUIRED
    wait: Wait = None


@dataclass
class Replication(Paged):
    """Replication jobs of guests: source, target, last and next run, failures."""
    node: AnyNode = None


@dataclass
class RunReplication:
    """Replicate a guest now."""
    id: Annotated[str, Arg("such as 100-0", format="id")] = REQUIRED


# ---------------------------------------------------------------------------------------------------------------- pools

def create_pool(call):
    args = call.args
    members = {"vms": args.vms, "allow-move": args.allow_move or None} if args.vms else {}
    if args.allow_move and not members:
        raise Failure("Name the guests in vms that allow_move=true is for.")
    # guests that steps before touch may be taken out of their pools by these
    named = set(split_list(args.vms or "")) - set(map(str, getattr(call.forecast, "touched", ())))
    kept = ["%s (%s)" % (row["vmid"], row["pool"]) for row in (call.guests() if members and not args.allow_move else ())
            if str(row["vmid"]) in named and row.get("pool") not in (None, "", args.poolid)]
    if kept:
        raise Failure("Guests of other pools: %s. allow_move=true takes them out of these." % ", ".join(sorted(kept)))
    if members:
        call.allow(members, "PUT /pools/{poolid}")
        _ask_to_move(call, "guests " + args.vms)
    call.send({"poolid": args.poolid})
    if members:
        try:
            call.send(members, "PUT /pools/{poolid}")
        except PveError as error:
            raise Failure("The pool %s was made. Putting guests %s into it %s: %s" % (
                args.poolid, args.vms, "is not known to have worked" if error.outcome == "unknown" else "failed",
                call.explained(error))) from None
    return None if call.planned else result(call, call.follow(None), "pool %s made%s" % (
        args.poolid, ", with guests " + args.vms if args.vms else ""))


def _ask_to_move(call, what):
    if call.args.allow_move:
        call.confirm(lambda: ("Put %s into pool %s and take them out of the pool they are in? Permissions and backup "
                              "jobs of that one then leave them out." % (what, call.args.poolid), {}))


def _members(call):
    """Before a pool is changed: who is taken out of one may lose the rights and the backup jobs that come with it."""
    args = call.args
    if args.vms is None and args.storage is None:
        raise Failure("Say what to change: vms or storage.")
    what = " and ".join("%s %s" % pair for pair in (("guests", args.vms), ("storages", args.storage)) if pair[1])
    if args.delete:
        call.confirm(lambda: ("Take %s out of pool %s? Permissions and backup jobs of the pool then leave them out." % (
            what, args.poolid), {}))
        return {"change": "%s taken out of pool" % what}
    _ask_to_move(call, what)
    return {"change": "%s put into pool" % what}


_POOL_HINTS = (
    (r"allow-move.*not defined", "This Proxmox VE cannot move a guest from one pool to another in one step: take it "
     "out of the other one first (delete=true)."),
    (r"already a member of pool", "proxmox_update_pool takes it out of that pool (delete=true), or moves it "
     "(allow_move=true, of proxmox_create_pool too)."))


# ---------------------------------------------------------------------------------------------------------- backup jobs

def _described(params):
    """"schedule 01:00, storage nas, pool staging" of a job's parameters, whole."""
    return ", ".join("%s %s" % (key, text.line(int(value) if isinstance(value, bool) else value, text.WHOLE))
                     for key, value in params.items())


def _params(call):
    """The parameters of a job; `vmid` and `node` are a job's own here."""
    params = {key: value for key, value in call.parameters().items() if key != "id"}
    if call.args.node is not None:
        params["node"] = call.args.node
    chosen = [name for name in ("vmid", "pool", "all") if getattr(call.args, name)]
    if len(chosen) > 1:
        raise Failure("A job takes guests by vmid, or a pool, or all; not %s together." % " and ".join(chosen))
    call.allow(params)
    return params, chosen


def _check_storage(call):
    """Proxmox takes a job whose storage there is not, and the job then fails at every run."""
    names = {str(row.get("storage")) for row in call.get("/storage") or []} if call.args.storage else ()
    if names and call.args.storage not in names:
        raise Failure("There is no storage %s, or this token may not see it. There are: %s." % (
            call.args.storage, ", ".join(sorted(names))))


def create_job(call):
    params, chosen = _params(call)
    missing = [name for name in ("schedule", "storage") if name not in params] + ["vmid, pool or all"] * (not chosen)
    if missing:
        raise Failure("A backup job also needs: %s." % ", ".join(missing))
    _check_storage(call)
    params = dict({"mode": "snapshot", "enabled": True}, **params)
    known = {str(job.get("id")) for job in call.get("/cluster/backup") or []}
    told = {"id": call.args.id} if call.args.id else {}
    call.confirm(lambda: ("Make a backup job: %s?%s" % (_described(dict(params, **told)), (
        " It deletes older backups of these guests on that storage as the retention says." if call.args.keep else "")),
        {key: str(value) for key, value in params.items()}), whole=True)
    call.send(dict(params, **told))
    if call.planned:
        return None
    made = next((job for job in call.get("/cluster/backup") or [] if str(job.get("id")) not in known), told)
    name, when = text.line(made.get("id") or ""), text.normal("time", made.get("next-run"))
    return result(call, call.follow(None), "backup job %s made: %s%s" % (
        name, text.line(_described(params), 400), "; next run %s" % text.when(when) if when else ""),
        id=name, next_run=when)


def update_job(call):
    params, chosen = _params(call)
    if not params:
        raise Failure("Say what to change: schedule, storage, vmid, pool, all, keep, enabled ...")
    _check_storage(call)
    other = [name for name in ("vmid", "pool", "all", "exclude") if chosen and name not in params]
    before, gone = {}, {}

    def describe():
        before.update(_job(call))
        gone.update(dict.fromkeys(name for name in other if before.get(name)))
        changes = text.changed(before, dict(params, **gone))
        return "Change backup job %s: %s?" % (call.args.id, changes), {"changes": changes}
    found = call.confirm(describe, whole=True)
    call.send(dict(params, delete=",".join(gone) or None))
    return result(call, call.follow(None),
                  "backup job %s changed: %s" % (call.args.id, text.line(found["changes"], 400)), id=call.args.id,
                  **found)


def _job(call):
    """The job (dict) as Proxmox keeps it; Failure with the ids there are when there is none."""
    jobs = {str(job.get("id")): job for job in call.get("/cluster/backup") or []}
    if call.args.id not in jobs:
        raise Failure("There is no backup job %s. There are: %s." % (call.args.id, ", ".join(sorted(jobs)) or "none"))
    return jobs[call.args.id]


#: Of a job's keys those that vzdump does not know.
_NOT_VZDUMP = {"id", "type", "enabled", "schedule", "starttime", "dow", "node", "comment", "next-run", "repeat-missed",
               "digest"}


def run_job(call):
    """As the web interface does it: vzdump with the job's parameters on each node that has one of its guests."""
    params, nodes = {}, []

    def describe():
        job = _job(call)
        guests = [row for row in call.guests() if taken_by(job, row)]
        if not guests:
            raise Failure("Backup job %s takes no guest that this token may see (VM.Audit on /vms): "
                          "proxmox_list_backup_jobs shows whom it names." % call.args.id)
        nodes[:] = [str(job["node"])] if job.get("node") else sorted({str(row["node"]) for row in guests})
        params.update((key, ",".join("%s=%s" % pair for pair in sorted(value.items())) if isinstance(value, dict)
                       else value) for key, value in job.items() if key not in _NOT_VZDUMP)
        for node in nodes:
            call.allow(params, "POST /nodes/{node}/vzdump", {"node": node})
        vmids = sorted(int(row["vmid"]) for row in guests)
        return ("Run backup job %s now, of guests %s on %s (%s)? Older backups are deleted as its retention says." % (
            call.args.id, text.ranges(vmids), ", ".join(nodes), _described(params))), {
                "job": _described(params), "guests": vmids}
    call.confirm(describe)
    started, states = [], []
    for node in nodes:
        try:
            answer = call.send(params, "POST /nodes/{node}/vzdump", {"node": node})
            if answer != "OK":
                started.append(answer)
                continue
            why = "not started, none of the guests is there"        # Proxmox does nothing then
        except PveError as error:
            why = ("not known to have started, " if error.outcome == "unknown" else "not started, ") + text.line(
                error, 600)
        states.append("%s: %s" % (node, why))
    if call.planned:
        return None
    outcomes = [call.follow(answer, check=False) for answer in started]
    failed = states or any(one.failed for one in outcomes)
    states += ["%s: %s" % (one.node, text.line(one.exitstatus or one.status, 100)) for one in outcomes]
    if failed:
        raise Failure("Backup job %s did not run well on every node (%s). Do not start it again where it ran: %s. "
                      "proxmox_get_task tells more." % (call.args.id, "; ".join(states), ", ".join(
                          str(one.upid) for one in outcomes) or "nowhere"))
    return result(call, next((one for one in outcomes if not one.ok), outcomes[0]), "backup job %s run (%s)" % (
        call.args.id, ", ".join(states)), tasks=[one.upid for one in outcomes])


# ---------------------------------------------------------------------------------------------------------- replication

REPLICATION = Table("replication job", Column("id", "ID"), Column("guest", kind="int"), Column("source"),
                    Column("target"), Column("schedule"), Column("last_sync", "last", "time"),
                    Column("next_sync", "next", "time"), Column("fail_count", "failures", "int"),
                    Column("error", kind="long"), Column("disable", "off", "bool"), summary=counting(
                        "failing", lambda job: job.get("fail_count")),
                    sort=lambda job: (-int(job.get("fail_count") or 0), str(job.get("id"))))


def list_replication(call):
    where = {str(row["vmid"]): str(row["node"]) for row in call.guests()}
    jobs = {str(job.get("id")): dict(job, source=where.get(str(job.get("guest"))))
            for job in call.get("/cluster/replication") or []}
    nodes, notes = sorted({job["source"] for job in jobs.values() if job["source"] and call.args.node in (
        None, job["source"])}), []
    for node, rows in zip(nodes, call.together([("/nodes/{node}/replication", {"node": node}, {}) for node in nodes])):
        if isinstance(rows, Exception):
            notes.append("State of the jobs on %s: %s" % (node, text.first_line(rows)))
            continue
        for row in rows or ():
            jobs.setdefault(str(row.get("id")), {}).update(row, source=node)
    return result(call, [job for job in jobs.values() if call.args.node in (None, job["source"])], note=notes)


def _find_node(call):
    vmid = call.args.id.partition("-")[0]
    row = call.entry(vmid)
    if row is None:
        raise Failure("There is no guest %s, so no replication job %s. "
                      "proxmox_list_replication lists them." % (text.line(vmid), text.line(call.args.id)))
    call.node = str(row["node"])
    return {"id": call.args.id}


# --------------------------------------------------------------------------------------------------------------- access

def _user(row):
    tokens = ["%s%s" % (token.get("tokenid"), "" if on(token.get("privsep", 1)) else " (all rights of the user)")
              for token in row.get("tokens") or ()]
    name = " ".join(str(row[key]) for key in ("firstname", "lastname") if row.get(key))
    return dict(row, name=name or None, enable=on(row.get("enable", 1)), tokens=tokens,
                expire=row.get("expire") or None)


USERS = Table("user", Column("userid", "user"), Column("name"), Column("enable", "enabled", "bool"),
              Column("expire", "expires", "time"), Column("groups"), Column("tokens", "API tokens", "list"),
              Column("comment"), *data_only("text", "email", "realm-type"), each=_user, sort=("userid",))
ACL = Table("entry", Column("path"), Column("type"), Column("ugid", "who"), Column("roleid", "role"),
            Column("propagate", "below too", "bool"), sort=("path", "ugid"),
            empty="There are none, or the token may not see them (Sys.Audit or Permissions.Modify on /access).")


TOOLS = {
    "proxmox_create_pool": Tool("POST /pools", ELEVATED, CreatePool, create_pool, explains=_POOL_HINTS),
    "proxmox_update_pool": Tool("PUT /pools/{poolid}", ELEVATED, UpdatePool, first=_members,
                                says="{change} {poolid}", explains=_POOL_HINTS),
    "proxmox_create_backup_job": Tool("POST /cluster/backup", DESTRUCTIVE, CreateJob, create_job),
    "proxmox_update_backup_job": Tool("PUT /cluster/backup/{id}", DESTRUCTIVE, UpdateJob, update_job),
    "proxmox_run_backup_job": Tool("POST /nodes/{node}/vzdump", DESTRUCTIVE, RunJob, run_job),
    "proxmox_list_replication": Tool("GET /cluster/replication", BASIC, Replication, list_replication, REPLICATION),
    "proxmox_run_replication": Tool("POST /nodes/{node}/replication/{id}/schedule_now", ELEVATED, RunReplication,
                                    first=_find_node, says="replication {id} was told to run at once; "
                                    "proxmox_list_replication shows how it ends"),
    "proxmox_list_users": Tool("GET /access/users", BASIC, Paged, returns=USERS, fixed={"full": 1},
                               about="Users with their groups and API tokens."),
    "proxmox_list_acl": Tool("GET /access/acl", BASIC, Paged, returns=ACL, about="Who has which role on which path."),
}
