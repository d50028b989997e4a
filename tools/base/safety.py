"""The safety net: a snapshot or a backup, made and followed to its end before anything that a guest holds is destroyed.

PROXMOX_SAFETY asks for it, or the argument `safety`, which may only ask for more. A snapshot goes with its guest, and
keeps its disks from being destroyed: it serves a rollback alone, where an older one can still be gone back to; else it
is a backup. What no net would hold is not destroyed.
"""
from itertools import count

from tools.base.backup_state import UNSEEN, backup_storage, made_since
from tools.base.failures import Changed, Failure, Refused
from tools.base.guest import Disk, disks
from tools.base.row import title
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on, parse_upid

_LEVELS = ("none", "snapshot", "backup")        # from less to more
_TO_ITS_END = 7 * 86400                         # seconds
#: Types of storages that can go back to another snapshot than the newest, unless snapshots are a chain of volumes.
_ANY_SNAPSHOT = ("lvmthin", "rbd", "btrfs", "dir", "nfs", "cifs")


def confirm(call, describe, params, doomed=None, snapshot=False):
    """As `call.confirm`; the net that is asked for is named in the question, and made after the yes. params: of the
    row's request, which is judged before; doomed: function(found) -> volids of the guest that are destroyed, default
    all that go with it; snapshot: whether one can bring back what is lost."""
    level, storage = _asked(call)
    if level == "none":
        return call.confirm(describe)

    def with_net():
        question, found = describe()
        net = _planned(call, _doomed(call, doomed and doomed(found)), storage, snapshot and level == "snapshot")
        path, first = _request(call, net)
        call.permit("POST", call.path(path), first)
        call.permit(call.tool.verb, call.path(call.tool.path), params)
        return "%s Before that, a %s is made; without it nothing is destroyed." % (question, _said(net)), {
            "found": found, "net": net}
    call.net = {}
    asked = call.confirm(with_net)
    _make(call, asked["net"])
    if not call.dry and describe()[1] != asked["found"]:
        raise Changed("the safety net was asked for")
    return asked["found"]


def must_hold(call, volids):
    """Failure where a safety net is asked for, and none would hold all of these volumes of the guest."""
    if volids and _asked(call)[0] != "none":
        _held(call, _doomed(call, volids))


def _asked(call):
    """(level, storage or None) of the net to be made; Refused where the argument asks for less than the setting."""
    least = call.host.settings.safety
    (level, _, storage), (floor, _, fixed) = (one.partition(":") for one in (call.args.safety or least, least))
    if _LEVELS.index(level) < _LEVELS.index(floor) or storage and fixed not in ("", storage):
        raise Refused("PROXMOX_SAFETY=%s is set, and safety=%s would be less. Leave the argument out." % (
            least, call.args.safety), "%s needs its safety net" % title(call.name))
    return level, storage or fixed or None


def _doomed(call, volids):
    """The Disks of `volids` (None: all) that go with the guest, each as it is now, which is what a backup holds."""
    found = disks(call.kind, call.get("./config", current=True))
    known = {disk.volid for disk in found}
    found += [Disk("unused", disk.volid) for disk in disks(call.kind, call.recent(call.path("./config")))
              if not disk.cdrom and disk.volid not in known]
    return [disk for disk in found if not disk.cdrom and (
        disk.goes_with(call.args.vmid) and (volids is None or disk.volid in volids))]


def _held(call, doomed):
    """Failure when a backup would not hold all of these Disks: what is unused, or has backup=0 (default of mp0...)."""
    bare = ["%s (%s)" % (disk.key, text.line(disk.volid)) for disk in doomed if disk.use == "unused" or (
        disk.key != "rootfs" and not on(disk.options.get("backup", call.kind == "qemu")))]
    if bare:
        raise Failure("A safety net is asked for, and no backup of %s would hold %s. A disk or mount point is held "
                      "once backup=1 is in effect, an unused volume once it is attached (proxmox_update_%s_config)." % (
                          call.subject, ", ".join(bare), "vm" if call.kind == "qemu" else "lxc"))


def _planned(call, doomed, storage, snapshot):
    """{"snapshot": name} or {"backup": storage}: the net that will hold what is destroyed; a snapshot of a guest that
    can be snapshotted now, and rolled back to an older snapshot all the same."""
    if snapshot and on(call.get("./feature", feature="snapshot").get("hasFeature")):
        kinds = {row["storage"]: row["type"] for row in call.get("/storage") or []
                 if not on(row.get("snapshot-as-volume-chain"))}
        if all(disk.use != "unused" and kinds.get(disk.storage) in _ANY_SNAPSHOT for disk in doomed):
            taken = {entry.get("name") for entry in call.recent(call.path("./snapshot"))}
            return {"snapshot": next(name for name in map("before-rollback-%d".__mod__, count(1)) if name not in taken)}
    _held(call, doomed)
    return {"backup": backup_storage(call, storage, "Set PROXMOX_SAFETY=backup:STORAGE, or say safety=backup:STORAGE")}


def _said(net):
    return "snapshot %s" % net["snapshot"] if "snapshot" in net else "backup to %s" % net["backup"]


def _request(call, net):
    """(path, parameters) of the POST that makes a net: the guest runs on, and nothing older is removed for it."""
    note = "Before %s" % call.name
    if "snapshot" in net:
        return "./snapshot", {"snapname": net["snapshot"], "description": note}
    return "/nodes/{node}/vzdump", {"vmid": call.args.vmid, "storage": net["backup"], "mode": "snapshot",
                                    "remove": False, "compress": "zstd", "notes-template": note}


def _make(call, net):
    """Make the net, and say in `call.net` what it is; Failure when it is not there in the end."""
    noted, call.changes = call.changes, None            # nothing that is taken back, or a step has done
    try:
        path, params = _request(call, net)
        outcome = call.follow(call.send(params, "POST " + path), limit=_TO_ITS_END)
        if call.dry:
            return
        if not (outcome.upid and outcome.ok):
            raise Failure("It is not known to have ended, and this call cannot wait for it any longer. proxmox_run "
                          "with the call as its step waits to the end.\nUPID: %s" % outcome.upid)
        if "backup" in net:
            entry = made_since(call, net["backup"], parse_upid(outcome.upid).starttime)
            if entry is None:
                raise Failure("Its archive is not in the list of %s that this token sees. %s" % (net["backup"], UNSEEN))
            net = {"backup": entry["volid"]}
    except Refused:                                     # which is told and audited as such
        raise
    except (PveError, Failure) as error:
        raise Failure("The %s that is to be made first is not known to be there, so nothing was destroyed.\n%s" % (
            _said(net), call.explained(error))) from None
    finally:
        call.changes = noted
    call.net = net
