"""Changing a guest's config: read it, work the change out, write it with its digest, read back what came of it: a write
to a running guest's is hot-plugged or left pending (qemu-server and pve-container, vmconfig_hotplug_pending).
"""
import re

from tools.base.failures import Failure, TaskFailure
from tools.base.guest import amount, pending, shown
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import LAST_INDEX, natural

#: Proxmox's words for a digest that no longer fits (qemu-server in both its spellings, pve-common): nothing was done.
_CHANGED = re.compile(r"checksum miss?match|detected modified configuration")


class After:
    """What a change came to: outcome (Outcome); config (pending changes applied) and waiting (keys that wait), both
    empty unless `known`; remark of Proxmox's on something else; before, asked: what `change` had, and changed."""

    def __init__(self, outcome, config=None, waiting=(), remark=None):
        self.outcome, self.known, self.remark = outcome, config is not None, remark
        self.config, self.waiting, self.before, self.asked = config or {}, set(waiting), None, set()

    def found(self):
        """What the data says of it: `changes`, {option: {"old", "new"}}, and `waiting`, those of them that wait."""
        if not self.known or self.before is None:
            return {}
        sides = {"old": self.before, "new": self.config}
        differ = {key for key, value in self.config.items() if str(value) != str(self.before.get(key))}
        changes = {key: {side: shown(key, config[key]) for side, config in sides.items() if key in config}
                   for key in sorted((differ | self.asked) - {"digest"}, key=natural)
                   if key in self.before or key in self.config}
        return {"changes": changes or None, "waiting": sorted(self.waiting.intersection(changes)) or None}

    def told(self, wanted):
        """"cores 2 -> 4, tags deleted (was a;b)" of these options (dict; None: deleted)."""
        parts = []
        for key, value in wanted.items():
            old = said(key, self.before.get(key), _WHOLE if value is None else 60)
            if value is None:
                parts.append("%s deleted (was %s)" % (key, old))
            elif amount(key, value) == amount(key, self.before.get(key)):
                parts.append("%s %s as before" % (key, old))
            else:
                parts.append("%s %s -> %s" % (key, old, said(key, value)))
        return ", ".join(parts)

    def note(self, call, keys=None):
        """What to say of `keys` (default: all) that are not in effect; None when there is nothing to say."""
        if self.known:
            notes = [waits(call, self.waiting if keys is None else self.waiting.intersection(keys)), self.remark]
            return "\n".join(filter(None, notes)) or None
        return None if self.outcome.upid and not self.outcome.ok else (
            "Whether it is in effect or waits for a restart could not be read.")


_WHOLE = 10000                                          # characters of a value that is gone; Proxmox takes 8 KiB
#: What holds where a config says nothing (qemu-server and pve-container).
_USUAL = {"memory": "512 MiB", "swap": "512 MiB", "sockets": "1", "cpulimit": "no limit", "balloon": "as memory"}


def said(key, value, most=60):
    """An option's value as it may be shown in a sentence; None: it has none."""
    if value is None:
        return _USUAL.get(key, "(not set)")
    value = shown(key, amount(key, value))
    return text.line(", ".join(value) if isinstance(value, list) else value, most) or '""'


def change(call, work_out, ask=None, strict=True, config=None):
    """Send the row's request with the parameters work_out(config) and the config's digest; follow it; the After.
    work_out raises Failure when it refuses; then nothing is sent. When the config (if it was read already: `config`)
    was changed in between, it is worked out once more, unless the user was asked. ask(config): the question to the
    user, for what may lose something; strict: as for call.confirm."""
    def describe():
        config = call.get("./config")
        work_out(config)
        return ask(config), config
    asked = call.confirm(describe, strict) if ask else {}
    for last in (bool(asked), True):
        config = asked or config or call.get("./config")
        params = dict(work_out(config), digest=config.get("digest"))
        try:
            done = sent(call, params)
            done.before = config
            done.asked = set(",".join([*params, str(params.get("delete")), str(params.get("revert"))]).split(","))
            return done
        except PveError as error:
            if last or error.outcome != "refused" or not _CHANGED.search(str(error)):
                raise
            config = None


def sent(call, params):
    """The After of the row's request with `params`, sent once and followed."""
    try:
        outcome = call.follow(call.send(params))
    except (PveError, TaskFailure) as error:
        if "hotplug" in str(error):
            return _not_plugged(call, error, params)
        raise
    if outcome.upid and not outcome.ok:
        return After(outcome)
    entries = call.try_get("./pending")                 # the change itself was made; that is what the answer is about
    return After(outcome) if entries is None else After(outcome, *pending(entries))


def _not_plugged(call, error, params):
    """The After of a "hotplug problem" of an older change, for Proxmox tries all that is pending each time; Failure
    when what `params` change has it, which then is in the config all the same."""
    problems = re.findall(r"(\w+): ((?:hotplug problem|unable to hotplug)[^\n|]*)", str(error))
    entries = call.try_get("./pending")
    if entries is None:
        raise Failure("%s\nThe change may be in the config all the same, which could not be read; look at it."
                      % error) from None
    config, waiting = pending(entries)
    gone = {params["delete"]} if "delete" in params else set()
    keys = gone | (set(params) - {"delete", "force", "digest"})
    made = not gone & set(config) and keys - gone <= set(config)
    if not made or not problems or keys.intersection(key for key, _ in problems):
        left = ", ".join(sorted(keys & set(waiting)))
        raise Failure("%s%s" % (call.explained(error), "\nIt waits there: %s." % left if left else "")) from None
    said = "; ".join(sorted({"%s: %s" % (key, text.line(words, 300)) for key, words in problems}))
    return After(call.follow(None), config, waiting,
                 "Proxmox reports a problem with an older change that still waits: %s." % said)


def before_8(call):
    """Whether Proxmox VE on the node of the call is older than 8.0; during an upgrade each node has its own."""
    return str(call.get("/nodes/{node}/version").get("version"))[:2] in ("6.", "7.")


#: How a line begins that says what a change left to a restart.
WAITS = "Not in effect yet: "


def waits(call, keys):
    """The sentence about `keys` that wait for a restart (None when there are none)."""
    if not keys:
        return None
    kind = "vm" if call.kind == "qemu" else "lxc"
    return WAITS + "%s %s for a restart of the guest (proxmox_reboot_%s, or shutdown and start%s)." % (
        ", ".join(sorted(keys)), "waits" if len(keys) == 1 else "wait", kind,
        "; a reboot from inside is not enough" if kind == "vm" else "")


def free(config, key):
    """The first free key of the same series: scsi2 when scsi0 and scsi1 are taken; None when all are."""
    series = key.rstrip("0123456789")
    return next((one for one in map((series + "%d").__mod__, range(LAST_INDEX[series] + 1)) if one not in config), None)


def must_be_free(call, config, key):
    """Failure when `key` is taken: Proxmox would replace what is there without a word."""
    if key in config:
        other = free(config, key)
        raise Failure("%s has %s already: %s.%s" % (
            call.subject, key, text.line(config[key], 200), " The next free one is %s." % other if other else ""))


def must_be_there(call, config, key, pattern):
    """The value of `key`; Failure when it is not in the config. `pattern` (str): what keys of its kind look like."""
    if key not in config:
        others = sorted((k for k in config if re.fullmatch(pattern, k)), key=natural)
        raise Failure("%s has no %s. It has: %s." % (call.subject, key, ", ".join(others) or "none"))
    return str(config[key])
