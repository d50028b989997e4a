"""Toolset: the rest of a guest's configuration."""
import re
from dataclasses import dataclass
from typing import Annotated, List, Optional
from urllib.parse import quote

from tools.base import safety
from tools.base.answers import result
from tools.base.edit import change, said
from tools.base.failures import Failure
from tools.base.guest import MEMORY, Disk, check_bridge, mac, named, nic, pending, unused
from tools.base.row import DESTRUCTIVE, Safety, Tool, Waiting
from tools.base.schema import Arg
from tools.policy import endpoints
from tools.policy.reach import Reach
from tools.pve import text
from tools.pve.formats import in_unit, property_string
from tools.pve.scrub import is_secret

#: What else options of a guest are set and deleted by: see Arg.does.
_SETS = (r"net\d+=add_network_{kind} net\d+=update_network_{kind} (?:ide|sata|scsi|virtio|mp)\d+=add_{volume} "
         "memory|cores|sockets|balloon|swap|cpulimit=resize_{kind}")
_REMOVES = r"net\d+=remove_network_{kind} (?:ide|sata|scsi|virtio|mp|unused)\d+=remove_{volume}"


@dataclass
class UpdateConfig(Waiting):
    """Set, delete or revert any options of a {guest}'s configuration."""
    options: Annotated[Optional[dict], Arg("option: value", does=_SETS)] = None
    delete: Annotated[Optional[List[str]], Arg(format="option", does=_REMOVES)] = None
    revert: Annotated[Optional[List[str]], Arg("pending changes", format="option")] = None
    safety: Safety = None


_VOLUME = re.compile(r"(?:ide|sata|scsi|virtio|mp)\d+|rootfs|efidisk0|tpmstate0")
_NET = re.compile(r"net\d+")
_DESTROYED = re.compile(r"unused\d+")                   # deleting one deletes its volume
#: Parameters of the endpoint that are no options; force would destroy a disk that delete only detaches.
_NO_OPTIONS = ("delete", "revert", "digest", "vmid", "node", "force")


def update_config(call):
    args = call.args
    options = {key: _plain(key, value) for key, value in (args.options or {}).items()}
    deleted, reverted = args.delete or [], args.revert or []
    _consistent(options, deleted, reverted)
    call.permit(call.tool.verb, call.path("./config"), options)         # before anything about it is asked
    risky = {key: value for key, value in options.items() if _loses(call, key, value)}
    grave = bool(risky) or not all(_can_be_put_back(call, key) for key in deleted)
    if reverted:
        waiting = pending(call.get("./pending"))[1]
        idle = [key for key in reverted if key not in waiting]
        if idle:
            raise Failure("No change of %s waits for a restart, so there is nothing to revert." % ", ".join(idle))

    def work_out(config):
        _fitting(call, config, options, deleted)
        return dict(options, delete=",".join(deleted) or None, revert=",".join(reverted) or None)
    after = change(call, work_out, (deleted or reverted or risky) and (
        lambda config: _question(call, config, deleted, reverted, risky)), not grave)
    touched = {**dict(sorted(options.items())), **dict.fromkeys(deleted)}
    done = ["%s reverted (%s waited)" % (key, said(key, str(waiting[key]["then"])) if "then" in waiting[key] else
                                         "its removal") for key in reverted]
    return result(call, after, "%s: %s" % (call.subject, ", ".join(filter(None, [after.told(touched), *done]))),
                  [after.note(call, touched), *_left_over(after, deleted)])


def _loses(call, key, value):
    """Whether an option, when it is set to `value` (str), may lose something that its old value does not bring back."""
    return Reach(call.tool.verb, call.path("./config"), {key: value}).effect == endpoints.LOSES


def _left_over(after, deleted):
    """What is said of volumes whose option was deleted: Proxmox keeps them."""
    for key in filter(_VOLUME.fullmatch, deleted):
        disk = Disk(key, after.before[key])
        left = unused(after.config, disk.volid)
        if left:
            yield "The volume of %s is not destroyed: %s is %s now." % (key, text.line(disk.volid, 200), left)


def _can_be_put_back(call, key):
    """Whether an option that is deleted can be set again to what the answer tells; a disk becomes unusedN."""
    if _VOLUME.fullmatch(key):
        return True
    return not (_DESTROYED.fullmatch(key) or _NET.fullmatch(key) or key == "sshkeys" or is_secret(key)
                or _loses(call, key, "0") or _loses(call, key, "1"))


def _plain(key, value):
    """An option's value as Proxmox takes it: text; keys of ssh percent-encoded (format urlencoded)."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict) and value and not any(isinstance(part, (dict, list)) for part in value.values()):
        return property_string(value)
    if not isinstance(value, (str, int, float)) or value == "":
        hint = "; to remove an option, name it in delete" if value in (None, "") else ""
        raise Failure("The option %s must be a text, a number, true or false, or an object of them%s."
                      % (key[:40], hint))
    if key in MEMORY:
        return str(in_unit(value, "MiB"))
    if key == "sshkeys" and re.search(r"\s", str(value)):
        return quote(str(value).strip(), safe="")
    return str(value)


def _consistent(options, deleted, reverted):
    """Failure for what makes no sense, whatever the guest's configuration is."""
    if not (options or deleted or reverted):
        raise Failure("Say what to change: options, delete or revert.")
    wrong = ["%r is not an option" % key[:40] for key in list(options) + deleted + reverted
             if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]*", key) or key in _NO_OPTIONS]
    wrong += ["The option %s is both set and deleted or reverted" % key
              for key in sorted(set(options) & set(deleted + reverted))]
    if wrong:
        raise Failure("%s." % ". ".join(wrong))


def _fitting(call, config, options, deleted):
    """Failure for what Proxmox does without a word: another volume or MAC address in place of one, nothing deleted."""
    for key, value in options.items():
        now = Disk(key, config.get(key, ""))
        if _VOLUME.fullmatch(key) and key in config and not now.cdrom and now.volid != Disk(key, value).volid:
            raise Failure("%s has %s as its %s; another volume would take its place. Detach it first, or use a free "
                          "key." % (call.subject, text.line(now.volid), key))
        if _NET.fullmatch(key):
            check_bridge(call, nic(value).get("bridge"))
        address = mac(config.get(key, "")) if _NET.fullmatch(key) else None
        if address and address.lower() != str(mac(value)).lower():
            raise Failure("The MAC address of %s of %s is %s, and it would get another one. Keep it in the value, or "
                          "use proxmox_update_network_%s." % (
                              key, call.subject, address, "vm" if call.kind == "qemu" else "lxc"))
    missing = [key for key in deleted if key not in config]
    if missing:
        raise Failure("%s has no %s." % (call.subject, ", ".join(missing)))
    safety.must_hold(call, {Disk(key, config[key]).volid for key in filter(_DESTROYED.fullmatch, deleted)})


def _question(call, config, deleted, reverted, risky):
    """What the user is asked before options are deleted, reverted, or set to what may lose something (`risky`)."""
    values = call.host.audit.masked(risky, (), True, endpoints.RUN)
    volumes = sorted(filter(_DESTROYED.fullmatch, deleted))
    dropped = [key for key in deleted if key not in volumes]
    parts = ["destroy the unused volume %s (%s) for good" % (key, text.line(Disk(key, config[key]).volid))
             for key in volumes]
    parts += ["set %s=%s" % (key, text.word(value)) for key, value in sorted(values.items())]
    parts += ["delete %s=%s" % (key, text.word(said(key, config[key], 200))) for key in dropped]
    parts += ["give up the change of %s that waits for a restart" % ", ".join(reverted)] if reverted else []
    lost = risky or not all(_can_be_put_back(call, key) for key in dropped)
    return "Change %s on node %s: %s?%s" % (named(call, config), call.node, "; ".join(parts), (
        " The old value may not bring back what this loses." if lost else ""))


TOOLS = {
    "proxmox_update_vm_config": Tool("POST /nodes/{node}/qemu/{vmid}/config", DESTRUCTIVE, UpdateConfig, update_config),
    "proxmox_update_lxc_config": Tool("PUT /nodes/{node}/lxc/{vmid}/config", DESTRUCTIVE, UpdateConfig, update_config),
}
