"""Toolset: the rest of a guest's configuration - any option, cloud-init, turning it into a template, a hard reset."""
import re

from tools.edit import Disk, change, explained
from tools.kit import (DESTRUCTIVE, ELEVATED, REQUIRED, Annotated, Arg, Failure, Guest, List, Optional, PveError, Tool, Waiting, dataclass, text)


@dataclass
class UpdateConfig(Waiting):
    """Set, delete or revert any options of a {guest}'s configuration."""
    options: Annotated[Optional[dict], Arg("option: value")] = None
    delete: Annotated[Optional[List[str]], Arg(format="option")] = None
    revert: Annotated[Optional[List[str]], Arg("pending changes", format="option")] = None


@dataclass
class Cloudinit(Guest):
    """Make a VM's cloud-init drive anew after its options were changed."""


@dataclass
class Template(Waiting):
    """Turn a stopped {guest} into a template; this cannot be undone."""


@dataclass
class Reset(Waiting):
    """Reset a VM hard, like its reset button; prefer reboot."""


_VOLUME = re.compile(r"(?:ide|sata|scsi|virtio|mp)\d+|rootfs|efidisk0|tpmstate0")
_DESTROYED = re.compile(r"unused\d+")


def update_config(call):
    args = call.args
    options = {str(key): _plain(key, value) for key, value in (args.options or {}).items()}
    if not (options or args.delete or args.revert):
        raise Failure("Say what to change: options, delete or revert. Nothing was sent.")
    bad = [key for key in options if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]*", key) or key in ("delete", "revert", "digest", "vmid", "node")]
    both = sorted(set(options) & set((args.delete or []) + (args.revert or [])))
    if bad or both:
        raise Failure("%s. Nothing was sent." % "; ".join(["%r is not an option" % key[:40] for key in bad]
                                                           + ["%s is both set and deleted or reverted" % key for key in both]))
    doomed = [key for key in args.delete or [] if _DESTROYED.fullmatch(key)]
    if doomed:
        call.confirm(lambda: _doomed(call, doomed))

    def work_out(config):
        for key, value in options.items():
            if _VOLUME.fullmatch(key) and key in config and Disk(str(config[key])).volid != Disk(value).volid \
                    and not Disk(str(config[key])).cdrom:
                raise Failure("%s of %s holds %s; another volume would take its place. Detach it first, or use a free key. "
                              "Nothing was sent." % (key, call.subject, Disk(str(config[key])).volid))
        missing = [key for key in args.delete or [] if key not in config]
        if missing:
            raise Failure("%s has no %s. Nothing was sent." % (call.subject, ", ".join(missing)))
        return dict(options, delete=",".join(args.delete or []) or None, revert=",".join(args.revert or []) or None)
    after = change(call, work_out)
    changed = sorted(options) + ["%s deleted" % key for key in args.delete or []] + ["%s reverted" % key for key in args.revert or []]
    waiting = sorted(after.waiting.intersection(list(options) + (args.delete or [])))
    return call.tell(after.outcome, "%s: %s" % (call.subject, ", ".join(
        "%s set" % part if part in options else part for part in changed)), after.note(call, list(options) + (args.delete or [])),
        waiting=waiting or None)


def _plain(key, value):
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Failure("options.%s must be a text, a number or true or false. Nothing was sent." % key)


def _doomed(call, keys):
    config = call.config()
    volumes = {key: str(config[key]) for key in keys if key in config}
    return ("Destroy the unused %s of %s (%s) for good?" % (
        "volumes" if len(volumes) > 1 else "volume", call.subject, ", ".join("%s: %s" % (key, Disk(value).volid)
                                                                            for key, value in sorted(volumes.items()))), volumes)


def regenerate_cloudinit(call):
    return call.finish(call.send(), "The cloud-init drive of VM %s was made anew" % call.args.vmid,
                       "The guest reads it at its next start.")


def make_template(call):
    def target():
        status = call.get("./status/current")
        if status.get("status") != "stopped":
            raise Failure("%s is %s; it must be stopped to become a template. Nothing was sent." % (call.subject, status.get("status")))
        if int(status.get("template") or 0):
            raise Failure("%s is a template already. Nothing was sent." % call.subject)
        return ("Turn %s (%s) on node %s into a template? It can never be started again, only cloned." % (
            call.subject, text.line(status.get("name", "")), call.node), {"name": status.get("name")})
    found = call.confirm(target)
    try:
        answer = call.send()
    except PveError as error:
        raise explained(error, ((r"snapshots", "Delete its snapshots first."),)) from None
    return call.finish(answer, "%s (%s) is a template now" % (call.subject, text.line(found.get("name") or "-")))


def reset(call):
    def target():
        status = call.get("./status/current")
        if status.get("status") != "running":
            raise Failure("VM %s is %s, there is nothing to reset. Nothing was sent." % (call.args.vmid, status.get("status")))
        return ("Reset VM %s (%s) on node %s hard? What it has not written to its disks is lost." % (
            call.args.vmid, text.line(status.get("name", "")), call.node), {"name": status.get("name"), "pid": status.get("pid")})
    found = call.confirm(target)
    return call.finish(call.send(), "VM %s (%s) was reset" % (call.args.vmid, text.line(found.get("name") or "-")))


TOOLS = {
    "proxmox_update_vm_config": Tool("POST /nodes/{node}/qemu/{vmid}/config", DESTRUCTIVE, UpdateConfig, update_config),
    "proxmox_update_lxc_config": Tool("PUT /nodes/{node}/lxc/{vmid}/config", DESTRUCTIVE, UpdateConfig, update_config),
    "proxmox_regenerate_cloudinit_vm": Tool("PUT /nodes/{node}/qemu/{vmid}/cloudinit", ELEVATED, Cloudinit, regenerate_cloudinit),
    "proxmox_template_vm": Tool("POST /nodes/{node}/qemu/{vmid}/template", DESTRUCTIVE, Template, make_template),
    "proxmox_template_lxc": Tool("POST /nodes/{node}/lxc/{vmid}/template", DESTRUCTIVE, Template, make_template),
    "proxmox_reset_vm": Tool("POST /nodes/{node}/qemu/{vmid}/status/reset", DESTRUCTIVE, Reset, reset),
}
