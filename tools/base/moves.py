"""What keeps a guest from moving to another node, as Proxmox's own check of a migration (GET .../migrate) tells it.

Sentences about a guest leave its name out: "uses devices of its node (hostpci0) and cannot be moved".
"""
import re

from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import on

_MOVES = re.compile(r"(?:/nodes/[^/]+/(?:qemu|lxc)|/cluster/ha/resources)/(?:(?:vm|ct):)?(\d+)/(?:migrate|relocate)")
_CLOUD_INIT = re.compile(r"vm-\d+-cloudinit")


def local_disks(check):
    """The disks (rows of local_disks) that have to be copied; the drive of cloud-init is made anew."""
    return [disk for disk in check.get("local_disks") or [] if not _CLOUD_INIT.search(str(disk.get("volid")))]


def stuck(check, running):
    """Why a VM cannot go anywhere, or None."""
    bound = _bound(check, running)
    if bound:
        return "uses devices of its node (%s) and cannot be moved%s" % (
            ", ".join(map(text.line, bound)), " while it runs" if bound != _bound(check, False) else "")
    images = [text.line(disk["volid"]) for disk in local_disks(check) if on(disk.get("cdrom"))]
    if images:
        return ("has a CD image on local storage: %s. Take it out first (proxmox_update_vm_config, the drive's option "
                "to none,media=cdrom)" % ", ".join(images))
    return None


def _bound(check, running):
    """The devices that keep a VM on its node: the node's, and mapped ones that cannot be moved live (QemuMigrate.pm,
    prepare; up to 8.3 these are among local_resources too)."""
    mapped = check.get("mapped-resource-info") or dict.fromkeys(check.get("mapped-resources") or (), {})
    fixed = [key for key in check.get("local_resources") or () if key not in mapped]
    return fixed + [key for key, info in mapped.items() if running and not on(info.get("live-migration"))]


def refused(check, target, mapped=False):
    """Why a guest cannot go to a node by the check, or None; mapped: its disks go to other storages than their own."""
    found = check.get("not_allowed_nodes") or check.get("not-allowed-nodes") or {}
    why = {re.sub("[_-]", " ", key): value for key, value in (found.get(target) or {}).items() if value}
    if mapped:
        why.pop("unavailable storages", None)
    return "; ".join("%s: %s" % (key, ", ".join(text.line(
        "%s (%s)" % (one.get("sid"), one.get("cause")) if isinstance(one, dict) else one) for one in value))
        for key, value in sorted(why.items())) or None


def along(check):
    return [text.line(sid) for sid in check.get("dependent-ha-resources") or []]


def others(call, verb, path):
    """[path] of the same request for each guest, seen or not, that HA moves along with the one of this. PveError."""
    moved = verb == "POST" and _MOVES.fullmatch(path)
    rows = [row for row in call.guests(hidden=True) if str(row.get("vmid")) == moved.group(1)] if moved else ()
    if not rows:
        return []
    place = "/nodes/%(node)s/%(type)s/%(vmid)s/migrate" % rows[0]
    if call.forecast is not None:
        call.forecast.made(place)                       # NotYet
    try:
        check = call.host.client.request("GET", place, cancelled=call.request.cancelled).data or {}
    except PveError as error:
        if error.status != 501:                         # of containers, before 9
            raise
        check = {}
    return ["/nodes/%s/%s/%s/migrate" % (rows[0]["node"], "qemu" if kind == "vm" else "lxc", vmid)
            for kind, _, vmid in (sid.partition(":") for sid in along(check))]


def arrives(call, vmid, target):
    """Whether a guest is on the target within `wait_limit` seconds."""
    def node():
        call.forget()
        try:
            return (call.entry(vmid) or {}).get("node")
        except PveError:                                # asked again; the move goes on
            return None
    return target == call.wait_for(
        node, lambda found: found == target, call.wait_limit,
        lambda found: "guest %s is on %s" % (vmid, found or "a node that cannot be read"), (0, 2))
