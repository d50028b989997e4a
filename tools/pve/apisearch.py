"""Finds the API method that an administrator means by plain words: stems, synonyms, fitting verbs, rare words first."""
import re
from functools import lru_cache
from math import log

from tools.pve.jsonschema import flatten, required

#: What is read as one word.
_PHRASES = (
    (r"virtual machine", "vm"), (r"two[ -]?factor|second factor|2[ -]fa", "tfa"), (r"highly available", "ha"),
    (r"(?:log|sign)(?:s|ged|ging|ed|ing)?[ -](?:in|on)", "login"), (r"(?<!/)hosts?(?! ?(?:name|file))", "node"),
    (r"ip[ -]sets?", "ipset"), (r"file ?systems?", "filesystem"), (r"right (?:now|away)|at once|immediately", "now"),
    (r"let'?s[ -]?encrypt", "acme"), (r"hard (?:disk|drive)", "disk"), (r"time[ -]zone", "time"),
    (r"name[ -]servers?", "dns"),
    (r"every (?:\d+ )?(?:minute|hour|day|night|week|month)s?|hourly|daily|weekly|monthly|nightly", "schedule"))


def _table(text):
    """{key: value} of "key: value; key, key: value"."""
    entries = (entry.split(": ") for entry in " ".join(text.split()).split("; "))
    return {key: value for keys, value in entries for key in keys.split(", ")}


#: An admin's word -> Proxmox's words for the same thing (the word itself always counts too).
_SYNONYMS = _table("""
    access: acl permission; alert: notification; block: firewall rule; bridge: network iface; cert: certificate;
    clock: time; console: vncproxy termproxy spiceproxy; container: lxc; copy: clone; cpu: config; datacenter: cluster;
    destroy: delete; detach: unlink; drive: disk; enlarge: resize; expand: resize; graph: rrddata; grow: resize;
    guest: qemu lxc vm; health: status smart; history: rrddata; inside: agent; ip: network interfaces;
    ldap: domain realm; license: subscription; login: ticket user; memory: config; mount: storage; nfs: storage;
    open: firewall rule; package: apt; permission: acl; port: firewall rule; ram: memory config; realm: domain;
    remove: delete; restart: reboot; right: permission acl; server: node; shrink: resize; smb: cifs storage;
    thin: lvmthin; undo: rollback revert; update: apt; upgrade: apt update; vlan: network vnet; vm: qemu;
    wake: wakeonlan""")
#: Words people use for a method that its own description lacks. N: /nodes/{node}; Q, L: its VM, its container; G: both.
_ALSO = _table("""
    GET /cluster/resources: overview which node runs guest; GET /cluster/status: quorum online offline health;
    GET /nodes: memory free load uptime; POST N/status: restart server; GET N/qemu: list all vms running;
    GET N/lxc: list all containers running; POST N/qemu, POST N/lxc: new restore; GET G/config: settings disks networks;
    GET G/status/current: running state uptime; PUT Q/config, POST Q/config: rename attach add disk iso boot nic tag;
    PUT L/config: rename add mount point boot nic tag; DELETE G: remove vm container guest;
    POST Q/status/suspend: pause; PUT G/resize: grow disk;
    POST Q/move_disk, POST L/move_volume: move other storage; POST Q/agent/exec: run inside; GET L/interfaces,
    GET Q/agent/network-get-interfaces: ip address; GET Q/agent/get-fsinfo: disk space usage inside;
    GET G/firewall/log, GET N/firewall/log: dropped blocked packets; POST G/firewall/rules, POST N/firewall/rules,
    POST /cluster/firewall/rules: block open port; GET G/rrddata, GET N/rrddata: history usage cpu memory network;
    POST N/vzdump: now start run guest; POST /cluster/backup: schedule regular; GET N/storage/{storage}/content: stored
    files backups isos images; PUT N/storage/{storage}/content/{volume}: protect backup notes;
    DELETE N/storage/{storage}/content/{volume}: backup iso image file; POST /storage: add mount nfs cifs directory;
    DELETE N/tasks/{upid}: cancel stop running; GET N/journal, GET N/syslog: kernel boot messages;
    GET N/apt/update: pending upgrades packages; POST N/stopall, POST N/startall: guest vms containers;
    PUT N/network: apply changes; PUT /access/acl: grant right user group token; PUT /access/users/{userid}: lock
    disable expire group; PUT /pools, PUT /pools/{poolid}: add remove member guest; POST /cluster/ha/resources: make vm
    keep running; DELETE /cluster/ha/resources/{sid}: stop managing; GET /cluster/ha/status/current: service state""")
#: The verbs that do what a word asks for.
_VERBS = _table("""
    add, block, clone, copy, create, download, execute, install, make, migrate, move, new, reboot, reset, restart,
    restore, resume, rollback, run, send, shutdown, start, stop, suspend, sync, take: POST; apply, edit, enlarge, grow,
    modify, move, protect, resize, turn, update: PUT; attach, change, configure, disable, enable, give, rename,
    set: PUT POST; cancel, delete, destroy, remove, revoke, throw: DELETE; find, get, list, show, status, view: GET""")
#: A question that begins so wants to know something, whatever else it says.
_ASKS = re.compile(r"\s*(?:which|what|who|whose|why|where|when|is|are|does|do|has|have|list|show|"
                   r"how (?:much|many|long|full|big))\b")
#: Words that tell nothing apart.
_STOP = frozenset("""
    a all an and any are as at be by can do does each every for from get has have how i if in into is it its me my no
    not of on onto or our out per please proxmox pve than that the their them there these this those to up use using
    via want was we what when where which who whose why will with you your""".split())
_WORD = re.compile(r"[a-z0-9]+")


#: Endings that make no difference, one after the other.
_ENDINGS = tuple((re.compile(r"(?:%s)\Z" % ending), left) for ending, left in (
    ("(?<=.)ies", "y"), ("(?<=.)(ss|x|ch|sh)es", r"\1"), ("(?<=.[^sui])s", ""),
    ("(?<=...)ing|(?<=...)ed|(?<=....)ion", ""), (r"([^lse])\1", r"\1"), ("(?<=....)e", "")))


def stem(word):
    """`word` without its ending, the same for backups and backup; scheduled and scheduling; migration and migrate."""
    for ending, left in _ENDINGS:
        word = ending.sub(left, word)
    return word


_STEMS = {stem(word): [stem(w) for w in words.split()] for word, words in _SYNONYMS.items()}
_INTENTS = {stem(word): set(verbs.split()) for word, verbs in _VERBS.items()}
_LETTERS = {"N": ("/nodes/{node}",), "Q": ("/nodes/{node}/qemu/{vmid}",), "L": ("/nodes/{node}/lxc/{vmid}",),
            "G": ("/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}")}
_ALSO = {"%s %s%s" % (verb, prefix, path[1:]): words
         for (verb, path), words in ((name.split(" "), words) for name, words in _ALSO.items())
         for prefix in _LETTERS.get(path[0], ("/",))}


_READS = r"(?!.*\b(?:lists?|show|which|what|pending|available|refresh|check|changelog|versions?|repositor\w+)\b)"
#: What Proxmox VE's API has no endpoint for: pattern of an admin's words, in small letters -> what does it instead.
_NONE = tuple((re.compile(pattern), instead) for pattern, instead in (
    (r"(?!.*ceph).*\bmaintenance\b", "a node is put into maintenance mode on a node, as root: ha-manager crm-command "
     "node-maintenance enable NODE (disable ends it). HA then moves its guests away; others proxmox_migrate_vm moves."),
    (_READS + r".*(?:\b(?:upgrad\w*|install\w*|appl(?:y|ies|ying)|updat(?:e|ing)|patch\w*)\b.*\b(?:packages?"
     r"|updates?|patch\w*|software|nodes?|hosts?|proxmox|pve|debian)\b"
     r"|\b(?:dist|full)-?upgrade|\bapt(?:-get)? upgrade)", "packages are upgraded on each node, as root: apt update && "
     "apt full-upgrade. The API lists what waits (proxmox_list_updates) and fetches the lists (POST "
     "/nodes/NODE/apt/update)."),
    (_READS + r".*\bsnippets?\b", "snippets can be neither uploaded nor edited: put the file into the directory "
     "snippets of the storage, on the node. proxmox_list_storage_content content=snippets lists them."),
    (r".*\b(?:consoles?|novnc|vnc|spice|terminal|shell)\b", "a console needs a browser or a terminal: Console in the "
     "web interface, or on the node, as root, qm terminal VMID, pct enter VMID. The endpoints only give out tickets "
     "for a websocket. Commands: proxmox_execute_vm_command, proxmox_execute_lxc_command."),
    (r".*\b(?:run|runs|execute|exec)\b.*\b(?:container|lxc|ct|pct)s?\b", "commands run in containers by pct exec on "
     "the node: proxmox_execute_lxc_command does it by ssh."),
    (r".*\bunlock\b.*\b(?:vms?|guests?|containers?|ct|lxc|qemu|lock)\b", "a left-over lock is taken away on the node, "
     "as root: qm unlock VMID, pct unlock VMID."),
    (r".*\b(?:shrink|reduc\w+)\b.*\b(?:disks?|volumes?|rootfs|drives?)\b", "disks only grow: copy what is in it to a "
     "smaller one."),
    (r".*\brename\b.*\b(?:nodes?|hosts?|storages?|cluster)\b", "nodes, storages and clusters keep their names; a new "
     "one is made in place of the old one.")))


def nothing_for(words):
    """What does instead what `words` (str) ask for and the API cannot do, as a sentence; None when nothing is known."""
    words = " ".join(words.lower().split())
    return next(("Proxmox's API has no endpoint for this: " + instead for pattern, instead in _NONE
                 if pattern.match(words)), None)


class Index:
    """Which method holds which word, and how much the word says about it."""

    def __init__(self, methods):
        """`methods`: list of dict with verb, path, name, description, returns, parameters (as ApiDoc.parse makes them).
        """
        self._verbs = [method["verb"] for method in methods]
        self._found = {}                                # stem -> {number of a method: weight}
        stems = lru_cache(maxsize=None)(stem)
        for number, method in enumerate(methods):
            for text, weight in _texts(method):         # the last weight of a word stands
                for word in _WORD.findall(text.lower()):
                    self._found.setdefault(stems(word), {})[number] = weight
        self._rarity = {word: log(1 + len(methods) / (1 + sum(1.0 if weight >= 1 else 0.2 for weight in at.values())))
                        for word, at in self._found.items()}

    def rank(self, text):
        """Numbers (int) of the methods that have something of `text` (str), best first."""
        text = text.lower()
        for pattern, word in _PHRASES:
            text = re.sub(r"\b(?:%s)\b" % pattern, word, text)
        words = list(dict.fromkeys(_WORD.findall(text)))
        scores = {}
        for root in [stem(word) for word in words if word not in _STOP] or map(stem, words):
            best = {}
            for token, factor in [(root, 1.0)] + [(other, 0.75) for other in _STEMS.get(root, ()) if other != root]:
                for number, weight in self._found.get(token, {}).items():
                    best[number] = max(best.get(number, 0), self._rarity[token] * factor * weight)
            for number, value in best.items():
                scores[number] = scores.get(number, 0) + value
        meant = [_INTENTS[stem(word)] for word in words if stem(word) in _INTENTS]
        first = {"GET"} if _ASKS.match(text) else meant[0] if meant else {"GET"}
        return sorted(scores, key=lambda number: (-scores[number] * (
            1.0 if self._verbs[number] in first else 0.7 if meant else 0.9), number))


def _texts(method):
    """(text, weight) of what a method says of itself, from the least to the most telling."""
    specs, _ = flatten(method["parameters"])
    about, fixed = method["description"], [part for part in method["path"].split("/") if part[:1] not in ("", "{")]
    return [(spec.get("description") or "", 0.25) for spec in specs.values()] + [
        (about[160:], 0.5)] + [(name, 1.4 if required(spec) else 0.9) for name, spec in specs.items()] + [
        (method["returns"].get("columns", ""), 0.7), (about[:160], 1.5),
        (_ALSO.get(method["verb"] + " " + method["path"], ""), 1.8), (method["name"], 2.0), (" ".join(fixed), 2.0),
        (" ".join(fixed[-1:]), 3.0)]
