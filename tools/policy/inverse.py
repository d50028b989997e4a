"""The way back of each change: what tells how things were and are, and the requests that put them back.

State is a dict {key: value} that `facts` makes of what a GET says; the difference of two, before a change and after
it, is all that is kept of it. What this table does not know has no way back, and that is said.
"""
import re
from collections import namedtuple
from typing import Callable, NamedTuple
from urllib.parse import quote, unquote

from tools.policy import endpoints
from tools.pve import text
from tools.pve.formats import GUEST_PATH, Misfit, natural, on, parse_property_string, property_string
from tools.pve.scrub import MASK, is_secret

ABSENT = None                       # in the place of a value: the key is not there
ODD = (AttributeError, LookupError, TypeError, ValueError)          # what comes of answers of another shape
_WHO = ("vmgenid", "smbios1")       # what tells a VM from another of the same number


class NoWay(Misfit):
    """There is no way back: str(error) says why, as a sentence."""


#: A change that was made: the request (params: dict as sent), and the part of the state (dict) that it changed, as it
#: was and as it came to be; what was not there is not in them.
Change = namedtuple("Change", "verb path params old new")


class Way(NamedTuple):
    """How the changes by some endpoints are put back."""
    state: Callable             # (path, params) -> path of the GET that tells the state
    facts: Callable             # (data of the GET, path) -> {key: value}
    #: (Change, the state now) -> [(verb, path, params)] to be sent in this order; [] when all is back. NoWay
    back: Callable              # asked again with the state that they made
    digest: bool = False        # whether the first of the requests takes the digest that the GET told
    slow: bool = False          # whether it may come about some time after the requests, as what HA does
    whole: bool = False         # whether nothing else of the state may have changed either, as all of it goes
    before: Callable = None     # as `state`, where it is another path before the change; it gives None for nothing
    lost: Callable = lambda change: None        # Change -> what is lost when it is put back, in a few words, or None


def find(verb, path):
    return _WAYS.get((verb, endpoints.find(verb, path).template))


def moved_on(change, now):
    """{key: (as it was left, as it is now)} of what differs now from what the change made of it."""
    keys = {**change.old, **change.new, **(now if find(change.verb, unquote(change.path)).whole else {})}
    return {key: (change.new.get(key, ABSENT), now.get(key, ABSENT)) for key in keys
            if not _same(change.new.get(key, ABSENT), now.get(key, ABSENT))}


def told(change):
    """What putting a change back sets, and what is lost by it, in words."""
    lost, lines = find(change.verb, unquote(change.path)).lost(change), []
    if lost and not change.old:                             # something new goes: nothing of it is set back
        return lost
    for key in {**change.old, **change.new}:
        old, new = change.old.get(key, ABSENT), change.new.get(key, ABSENT)
        if _same(old, new):                                 # only a mark
            continue
        if isinstance(old, list) and isinstance(new, list):
            lines += ["%s %s: %s" % (key, word, _rows(rows)) for word, rows in (
                ("come back", [row for row in old if row not in new]), ("go", [row for row in new if row not in old])
            ) if rows] or ["the order of the %s" % key]
        else:
            lines.append(text.changed({} if new is ABSENT else {key: new}, {key: old}))
    return ", ".join(lines + [lost] * bool(lost))


def _rows(rows):
    """"100, 101"; rules as "type=in action=ACCEPT", parted by semicolons."""
    return "; ".join(" ".join("%s=%s" % (key, text.word(text.line(value, text.WHOLE))) for key, value in row.items()
                              ) for row in rows) if isinstance(rows[0], dict) else ", ".join(map(str, rows))


def difference(before, after):
    """(old, new): the keys of two states that differ, as they were and as they are. In both is what tells a VM from
    others, so that a change is not taken back in another."""
    keys = [key for key in {**before, **after} if not _same(before.get(key, ABSENT), after.get(key, ABSENT))]
    keys += [key for key in _WHO if keys and key in before and key in after and key not in keys]
    return {key: before[key] for key in keys if key in before}, {key: after[key] for key in keys if key in after}


def _same(one, other):
    """Whether two values are the same: of property strings the order of the keys makes no difference, nor the size of
    a CD's image, which Proxmox looks up anew."""
    if one is ABSENT or other is ABSENT:
        return one is other
    if str(one) == str(other):
        return True
    one, other = (sorted(part for part in str(value).split(",") if "media=cdrom" not in str(value)
                         or not part.startswith("size=")) for value in (one, other))
    return one == other and "=" in "".join(one)


def why_not(verb, path, params):
    """Why a request without a Way cannot be taken back, as a sentence."""
    said = next((words for pattern, words in _NO_WAY if re.fullmatch(pattern, "%s %s" % (verb, path))), None)
    return said or ("What it removed or interrupted cannot be brought back."
                    if endpoints.effect(verb, path, params) == endpoints.LOSES else
                    "No request is known that takes it back.")


#: What there is no way back from: pattern of "VERB path", and why.
_NO_WAY = (
    (r"DELETE /nodes/[^/]+/(?:qemu|lxc)/\d+", "A deleted guest comes back only from a backup."),
    (r"POST .*/rollback", "What the guest was before the rollback is gone."),
    (r"PUT .*/resize", "Proxmox cannot make a disk smaller."),
    (r"DELETE .*/snapshot/[^/]+", "A deleted snapshot cannot be made again."),
    (r"POST .*/agent/.*|SSH .*", "What a command did inside the guest is not known."),
    (r"POST .*/template", "A template cannot become a guest again; a full clone of it can."),
    (r"POST /nodes/[^/]+/vzdump", "A backup is removed with proxmox_delete_backup; what was pruned for it is gone."),
    (r"DELETE .*/content/.*", "A deleted volume cannot be brought back."),
    (r"POST .*/status/(?:reboot|reset)", "A restart cannot be taken back."),
    (r"DELETE .*/tasks/.*", "A task that was stopped has to be started again."),
)


# ------------------------------------------------------------------------------------------------ objects, key by key

#: Keys of objects that are no setting.
_NO_SETTINGS = {"digest", "meta", "parent", "lock", "pending", "next-run", "pos", "lxc"}


def _facts(data, path):
    return {key: value for key, value in (data or {}).items() if key not in _NO_SETTINGS}


def _itself(path, params):
    return path


def _set_back(change, now):
    values = {key: value for key, value in change.old.items() if not _same(value, now.get(key, ABSENT))}
    away = sorted(key for key in change.new if key not in change.old and key in now)
    if "/content/" in change.path:                          # which has no `delete`
        values.update((key, 0 if key == "protected" else "") for key in away)
        away = []
    _keepable(change)
    if not values and not away:
        return []
    if "/ha/rules/" in change.path:                         # every PUT has to carry it
        values = {"type": now["type"], **values} if "type" in now else values
    return [("PUT", change.path, _sent(values, away))]


def _sent(values, away=()):
    """Values of a state as parameters; away: keys to delete. A property string may be told as an object."""
    values = {key: property_string(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {**values, **({"delete": ",".join(away)} if away else {})}


def _keepable(change):
    """NoWay when an old value is a secret, which Proxmox does not tell and this program does not keep."""
    secret = sorted(key for key, value in change.old.items() if is_secret(key) or MASK in str(value))
    if secret:
        raise NoWay("The old value of %s is or holds a secret, which is not kept." % ", ".join(secret))


# ----------------------------------------------------------------------------------------------- the config of a guest

_DRIVE = re.compile(r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|mp|rootfs|unused)\d*")
_CLOUDINIT = re.compile(r"([^:,]+):(?:[^,]*/)?vm-\d+-cloudinit[^,]*")


def _config_back(change, now):
    """A detached volume is attached again; one that the change attached goes: to unusedN, from which it is deleted in a
    second request where it was not there before."""
    given = {key.replace("_", "-"): value for key, value in change.params.items()}
    gone = [key for key, volume in _stored(change.old).items() if volume not in map(_volume, now.values())
            and not _CLOUDINIT.match(volume)]
    if gone or on(given.get("force")):
        raise NoWay("The volume of %s was destroyed." % ", ".join(sorted(gone) or [str(given.get("delete"))]))
    bound = [key for key, value in change.old.items() if key.startswith("mp") and _volume(value).startswith("/")]
    if bound:
        raise NoWay("%s is a bind mount, which Proxmox lets root@pam alone set." % ", ".join(bound))
    _keepable(change)
    made = set(_stored(change.new).values()).difference(map(_volume, change.old.values()))
    set_back = {key: _CLOUDINIT.sub(r"\1:cloudinit", str(value)) if _volume(value) not in map(_volume, now.values())
                else value for key, value in change.old.items()
                if not key.startswith("unused") and not _same(value, now.get(key, ABSENT))}
    away = [key for key in change.new if key not in change.old and key in now and not key.startswith("unused")]
    away += [key for key in now if key.startswith("unused") and _volume(now[key]) in made]
    if not set_back and not away:
        return []
    if on(now.get("protection")) and (any(map(_DRIVE.fullmatch, away)) or made & set(map(_volume, now.values()))):
        raise NoWay("The guest is protected, so no volume is removed (protection=0 in its config first).")
    return [("PUT", _config(change.path, None), _sent(set_back, sorted(away, key=natural)))]


def _volumes_go(change):
    made = [volume for volume in _stored(change.new).values() if volume not in map(_volume, change.old.values())]
    return "deleted with all data: %s" % ", ".join(made) if made else None


def _volume(value):
    """The volume of a drive's option: what stands first in its property string."""
    parts = parse_property_string(str(value), "file")
    return parts.get("file") or parts.get("volume") or ""


def _stored(state):
    """{key: volume} of the drives whose volume is on a storage."""
    volumes = {key: _volume(value) for key, value in state.items()
               if _DRIVE.fullmatch(key) and "media=cdrom" not in str(value)}
    return {key: volume for key, volume in volumes.items() if ":" in volume and not volume.startswith("/")}


def _moved_disk(change, now):
    """A disk goes back to the storage that it was on; what it was moved to is deleted there."""
    keys = [key for key in change.old if _DRIVE.fullmatch(key) and key in change.new and key in now]
    before = _stored(change.old).get(keys[0]) if len(keys) == 1 and not on(change.params.get("target-vmid")) else None
    if before is None or before in map(_volume, now.values()):          # the source was kept, as unusedN
        return _config_back(change, now)
    key = keys[0]
    if before.split(":")[0] == _volume(now[key]).split(":")[0]:
        return []
    name = "volume" if change.path.endswith("/move_volume") else "disk"
    return [("POST", change.path, {name: key, "storage": before.split(":")[0], "delete": 1})]


def _config(path, params):
    return path.rpartition("/")[0] + "/config"


# ------------------------------------------------------------------------------------------------------ lists of things

_JOB = """schedule dow starttime storage vmid exclude all pool mode compress enabled comment mailto mailnotification
    notes-template prune-backups node protected bwlimit ionice pigz zstd repeat-missed notification-mode fleecing
    pbs-change-detection-mode performance exclude-path tmpdir dumpdir script stdexcludes stopwait lockwait remove
    maxfiles quiet"""
#: Path of a list that POST adds to and DELETE takes from -> the key of its ids, and those that POST takes.
_LISTS = {"/pools": ("poolid", "comment"), "/cluster/backup": ("id", _JOB),
          "/cluster/ha/resources": ("sid", "state group max_restart max_relocate comment failback"),
          "/cluster/ha/rules": ("rule", "type resources nodes strict affinity comment disable")}


def _list(path, params):
    return next((base for base in _LISTS if path == base or path.startswith(base + "/")), path)


def _rows_by_id(data, path):
    """{id: its settings}; of any other list than those above: snapshots, by name."""
    key = _LISTS.get(path, ("name",))[0]
    return {str(row[key]): _facts({name: value for name, value in row.items() if name != "status"}, path)
            for row in data or () if row.get(key) not in (None, "current")}


def _rows_back(change, now):
    base = _list(change.path, None)
    requests = [("DELETE", "%s/%s" % (base, quote(name, safe="")), {}) for name in change.new
                if name not in change.old and name in now]
    for name, values in change.old.items():
        if name not in change.new and name not in now:
            if base not in _LISTS:                          # a snapshot, deleted by somebody else meanwhile
                raise NoWay("What was deleted cannot be made again.")
            key, keeps = _LISTS[base]
            kept = {one: values[one] for one in keeps.split() if one in values}
            requests.append(("POST", base, _sent({key: name, **kept})))
    return requests


# ------------------------------------------------------------------------------------------------------- firewall rules

_RULE = ("type action macro iface source dest proto enable sport dport icmp-type comment log".split())


def _rules_path(path, params):
    return re.sub(r"/\d+\Z", "", path)


def _rules_back(change, now):
    """One rule was added, deleted, changed or moved: which, the two lists tell. Proxmox puts a new one first."""
    old, new, base = change.old["rules"], now["rules"], _rules_path(change.path, None)
    if old == new:
        return []
    at = next((place for place, (one, other) in enumerate(zip(old, new)) if one != other), min(len(old), len(new)))
    if len(new) > len(old):
        return [("DELETE", "%s/%d" % (base, at), {})]
    if len(new) < len(old):
        return [("POST", base, old[at])] if at == 0 else [
            ("POST", base, old[at]), ("PUT", "%s/0" % base, {"moveto": at + 1})]
    if sorted(map(str, old)) != sorted(map(str, new)):
        away = [key for key in new[at] if key not in old[at]]
        return [("PUT", "%s/%d" % (base, at), _sent(old[at], away))]
    last = max(place for place in range(len(old)) if old[place] != new[place])
    if old[at + 1:last + 1] == new[at:last]:                # the first of them went behind the others
        return [("PUT", "%s/%d" % (base, last), {"moveto": at})]
    return [("PUT", "%s/%d" % (base, at), {"moveto": last + 1})]


# ---------------------------------------------------------------------------------------------------------------- pools

def _pool(data, path):
    members = (data or {}).get("members") or []
    return {"comment": (data or {}).get("comment") or "",
            "vms": sorted(int(row["vmid"]) for row in members if row.get("vmid")),
            "storage": sorted(str(row["storage"]) for row in members if row.get("type") == "storage")}


def _pool_path(path, params):
    return path if path != "/pools" else "/pools/%s" % params.get("poolid")


def _pool_back(change, now):
    if on(change.params.get("allow-move")):
        raise NoWay("Which pools the guests were in before is not known.")
    path, requests = _pool_path(change.path, change.params), []
    if change.old.get("comment") == "":                     # which is none to Proxmox (PVE::APIServer::AnyEvent)
        raise NoWay("Proxmox cannot make it empty again.")
    if "comment" in change.old and change.old["comment"] != now.get("comment"):
        requests.append(("PUT", path, {"comment": change.old["comment"]}))
    for key in ("vms", "storage"):
        before, here = set(change.old.get(key, ())), set(now.get(key, ()) if key in change.old else ())
        for names, away in ((before - here, {}), (here - before, {"delete": 1})):
            if names:
                requests.append(("PUT", path, {key: ",".join(map(str, sorted(names))), **away}))
    return requests


# ------------------------------------------------------------------------------------ guests: made, switched, elsewhere

def _new_guest(path, params):
    match = re.match(r"/nodes/([^/]+)/(qemu|lxc)(?:/\d+/clone)?\Z", path)
    return "/nodes/%s/%s/%s/config" % (params.get("target") or match.group(1), match.group(2),
                                       params.get("newid") or params.get("vmid"))


def _delete_guest(change, now):
    if change.old:
        raise NoWay("What the guest was before is gone.")
    path = _new_guest(change.path, change.params)[:-len("/config")]
    off = [("POST", path + "/status/stop", {})] if on(change.params.get("start")) else []       # it was started with it
    return off + [("DELETE", path, {"purge": 1})] if now else []


def _power(data, path):
    status = (data or {}).get("status")
    if status == "stopped" and data.get("lock") == "suspended":
        status = "hibernated"
    return {"state": data.get("qmpstatus") or status if status == "running" else status}


#: (state before, state after) -> (what is sent, with which parameters).
_SWITCHES = {("stopped", "running"): ("shutdown", {"forceStop": 1, "timeout": 60}),
             ("running", "stopped"): ("start", {}), ("running", "paused"): ("resume", {}),
             ("paused", "running"): ("suspend", {}),
             ("running", "hibernated"): ("start", {}), ("hibernated", "running"): ("suspend", {"todisk": 1})}


def _switch(change, now):
    before, after = change.old.get("state"), now.get("state")
    if before == after:
        return []
    if (before, after) not in _SWITCHES:
        raise NoWay("It was %s, which no single request brings back." % before)
    verb, params = _SWITCHES[before, after]
    return [("POST", "%s/%s" % (change.path.rpartition("/")[0], verb), params)]


def _place(data, path):
    """On which node a guest is, and on which storages its volumes are."""
    storages = {key: volume.split(":")[0] for key, volume in _stored(data or {}).items()}
    return {"node": GUEST_PATH.match(path).group(1), **storages} if data else {}


def _bring_back(change, now):
    if change.old.get("node") == now.get("node") or not now:
        return []
    pairs = {(now.get(key), storage) for key, storage in change.old.items() if key != "node" and key in change.new}
    there = dict(pairs)
    if len(there) != len(pairs):
        raise NoWay("Volumes of several storages came to one, so no single move takes each back.")
    params = {key: value for key, value in change.params.items() if key in ("online", "restart", "with-local-disks",
                                                                           "timeout")}
    if there:
        params["target-storage" if "/lxc/" in change.path else "targetstorage"] = ",".join(
            "%s:%s" % pair for pair in sorted(there.items()))
    kind, vmid = GUEST_PATH.match(change.path).groups()[1:]
    return [("POST", "/nodes/%s/%s/%s/migrate" % (now["node"], kind, vmid), {**params, "target": change.old["node"]})]


# ------------------------------------------------------------------------------------------------------------ the table

_TABLE = (
    (Way(_config, _facts, _config_back, True, lost=_volumes_go), "POST|PUT vm/config PUT ct/config vm/unlink"),
    (Way(_config, _facts, _moved_disk), "POST vm/move_disk ct/move_volume"),
    (Way(_itself, _facts, _set_back, True), """PUT guest/firewall/options node/firewall/options /storage/{storage}
        /cluster/firewall/options node/config ha/resources/{sid} ha/groups/{id} ha/rules/{id}"""),
    (Way(_itself, _facts, _set_back), "PUT /cluster/backup/{id}"),
    (Way(_itself, lambda data, path: {
        key: value for key, value in (data or {}).items() if key in ("notes", "protected")}, _set_back),
     "PUT store/content/{volume}"),
    (Way(_itself, _rows_by_id, _rows_back, lost=lambda change: "deleted: snapshot %s" % ", ".join(change.new)),
     "POST guest/snapshot"),
    (Way(_list, _rows_by_id, _rows_back), """POST /pools /cluster/backup ha/resources ha/rules
        DELETE /pools(|/{poolid}) /cluster/backup/{id} ha/resources/{sid} ha/rules/{id}"""),
    (Way(_pool_path, _pool, _pool_back), "PUT /pools(|/{poolid})"),
    # all rules as one value: which one is meant depends on all before it
    (Way(_rules_path, lambda data, path: {"rules": [{key: row[key] for key in _RULE if key in row}
                                                    for row in data or ()]}, _rules_back, True), """
        POST guest/firewall/rules node/firewall/rules /cluster/firewall/rules
        PUT|DELETE guest/firewall/rules/{pos} node/firewall/rules/{pos} /cluster/firewall/rules/{pos}"""),
    (Way(_new_guest, _facts, _delete_guest, whole=True,
         before=lambda path, params: _new_guest(path, params) if on(params.get("force")) else None,
         lost=lambda change: "deleted with its disks (%s)" % ", ".join(_stored(change.new).values())),
     "POST node/qemu node/lxc guest/clone"),
    (Way(lambda path, params: path.rpartition("/")[0] + "/current", _power, _switch, slow=True),
     "POST guest/status/(start|stop|shutdown|suspend|resume)"),
    (Way(lambda path, params: "/nodes/%s/%s" % (params.get("target"), _config(path, params).split("/", 3)[3]),
         _place, _bring_back, slow=True, before=_config), "POST guest/migrate"),
)

#: (verb, template) -> Way.
_WAYS = {(verb, path): way for way, methods in _TABLE for verb, path in endpoints.methods(methods)}
