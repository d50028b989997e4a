"""Finds the API method that an administrator means by plain words: stems, synonyms, fitting verbs, rare words first."""
import re
from array import array
from functools import lru_cache
from math import log

from tools.pve.jsonschema import flatten, required

#: What is read as one word.
_PHRASES = (
    (r"virtual(?:i[sz]ed)? (?:machine|server|host)", "vm"), (r"high(?:ly)?[ -]availab(?:le|ility)", "ha"),
    (r"two[ -]?factor|second factor|2[ -]fa", "tfa"), (r"let'?s[ -]?encrypt", "letsencrypt"),
    (r"single sign[ -]?on", "sso"), (r"(?:log|sign)(?:s|ged|ging|ed|ing)?[ -](?:in|on)", "login"),
    (r"power(?:s|ed|ing)?[ -]off", "poweroff"), (r"power(?:s|ed|ing)?[ -]on", "poweron"),
    (r"(?:switch|turn)(?:s|ed|ing)?[ -]off", "disable poweroff"),
    (r"(?:switch|turn)(?:s|ed|ing)?[ -]on", "enable poweron"), (r"(?<!/)hosts?(?! ?(?:name|file))", "node"),
    (r"shut(?:s|ting)?[ -]down", "shutdown"), (r"roll(?:s|ed|ing)?[ -]back", "rollback"),
    (r"(?:throw|get|kick)(?:s|ing|n)?[ -](?:away|out|rid of)", "discard"), (r"set(?:s|ting)?[ -]up", "create"),
    (r"ip[ -]sets?", "ipset"), (r"cloud[ -]init", "cloudinit"), (r"right (?:now|away)|at once|immediately", "now"),
    (r"every (?:\d+ )?(?:minute|hour|day|night|week|month)s?|hourly|daily|weekly|monthly|nightly", "schedule"),
    (r"^back(?:ing)?[ -]?up\b", "create backup"), (r"back(?:s|ing)?[ -]up", "backup"), (r"time[ -]zone", "timezone"),
    (r"name[ -]servers?", "nameserver"),
    (r"(?:hard )?(?:disk|drive)s? (?:space|usage)|free space|space left", "space"), (r"hard (?:disk|drive)", "disk"),
    (r"wake[ -]on[ -]lan", "wakeonlan"), (r"life ?cycle", "status"), (r"file ?systems?", "filesystem"),
    (r"plugged[ -]in|plug[ -]in", "plugged"),
    (r"run(?:ning)?(?= (?:\w+ ){,2}(?:commands?|scripts?|programs?))", "exec"), (r"host ?names?", "hostname"),
    (r"how (?:to|do i|can i|do you)", " "))


def _table(text):
    """{key: value} of "key: value; key, key: value"."""
    entries = (entry.split(": ") for entry in " ".join(text.split()).split("; "))
    return {key: value for keys, value in entries for key in keys.split(", ")}


#: An admin's word -> Proxmox's words for the same thing (the word itself always counts too).
_SYNONYMS = _table("""
    2fa: tfa; access: acl permission; account: user account; activate: enable reload; activity: task; ad: domain;
    add: create; alert: notification; allow: firewall rule; appliance: aplinfo; apply: reload; archive: backup vzdump;
    assign: acl update; attach: config; authentication: domain realm; balloon: config memory; ban: firewall rule;
    bandwidth: rate bwlimit; blacklist: ipset; block: firewall rule; bond: network iface; boot: start config;
    bridge: network iface; cancel: stop; cert: certificate; change: update; chart: rrddata; chassis: node;
    checkpoint: snapshot; cifs: storage; clock: time; command: exec; commit: reload; compact: fstrim;
    configuration: config; configure: config update; console: vncproxy termproxy spiceproxy; container: lxc;
    copy: clone; core: config cpu; corosync: totem config; cpu: config; ct: lxc; datacenter: cluster;
    datastore: storage; deny: firewall rule; destroy: delete; detach: unlink; device: hardware; directory: dir;
    discard: delete revert fstrim; drive: disk; drop: firewall rule; duplicate: clone; edit: update; email: notification
    mailto; enlarge: resize; erase: wipedisk delete; event: log; evict: delete; execute: exec; expand: resize;
    expose: firewall rule; extend: resize; factor: tfa; fail: task error log; failed: task error; failover: ha;
    fence: ha; filesystem: fsinfo directory; format: initgpt; freeze: fsfreeze suspend; gpu: pci; grafana: metrics;
    grant: acl; graph: rrddata; graphite: metrics server; grow: resize; guest: qemu lxc vm; halt: stop shutdown;
    health: status smart; hibernate: suspend; history: rrddata; host: node; hostname: host dns; https: certificate;
    hypervisor: node; image: iso content; increase: resize; influx: influxdb; influxdb: metrics server;
    initialise: initgpt; initialize: initgpt; inside: agent; install: create; inventory: resources; ip: network
    interfaces; kick: delete; kill: stop; kvm: qemu; ldap: domain realm; leave: delete; letsencrypt: acme certificate;
    licence: subscription; license: subscription; live: online; load: rrddata status; login: ticket user; machine: qemu;
    mail: notification sendmail smtp; maintenance: migrateall flag; memory: config; metric: metrics; mfa: tfa;
    monitoring: metrics; mount: storage; move: migrate move; nameserver: dns; nfs: storage; nic: network net;
    notify: notification; ntp: time; oidc: openid; open: firewall rule; operation: task; os: osinfo; otp: tfa;
    overview: resources status; package: apt; partition: disk; passthrough: hardware pci mapping; patch: apt update;
    pause: suspend; pct: lxc; performance: rrddata; permission: acl; physical: disk; plugged: hardware; port: firewall
    rule; poweroff: stop shutdown; poweron: start; privilege: permission role acl; progress: task status log;
    protect: protected; purge: prune delete; qm: qemu; quorum: status config; raid: zfs; ram: memory config;
    realm: domain; reclaim: fstrim; recover: restore; recurring: schedule; regularly: schedule; reject: firewall rule;
    remove: delete; rename: config name; repo: repository; resolver: dns; restart: reboot; restore: archive;
    retention: prune; revert: rollback; revoke: acl delete; right: permission acl; samba: cifs storage; script: exec;
    secure: firewall; send: create; server: node; setting: options config; share: storage; shell: termproxy vncshell
    spiceshell; shrink: resize; sleep: suspend; slow: rrddata; smb: cifs storage; space: status storage; ssd: disk;
    ssl: certificate; sso: openid; statistic: rrddata; stats: rrddata; sync: replication; syslog: journal; tape: backup;
    terminal: termproxy vncshell; thaw: fsfreeze; thin: lvmthin; throughput: rrddata netstat; throw: delete;
    timezone: time; tls: certificate; totp: tfa; traffic: netstat rrddata; trim: fstrim; undo: rollback revert;
    unplug: unlink delete; unused: free; upgrade: apt update; uptime: status; usage: rrddata status; vlan: network vnet;
    vm: qemu; vnc: vncproxy; volume: disk content; vxlan: zone; vzdump: backup; wake: wakeonlan; webauthn: tfa;
    whitelist: ipset; windows: qemu; yubikey: tfa; zpool: zfs pool""")
#: Words people use for a method that its own description lacks. N: /nodes/{node}; Q, L: its VM, its container; G: both.
_ALSO = _table("""
    GET /cluster/resources: overview inventory find which node runs guest vm container storage memory free used;
    GET /cluster/status: quorum quorate members online offline health; GET /nodes: list nodes memory free used load
    uptime online offline; GET N/status: memory free used load uptime kernel swap; POST N/status: power off restart
    server; GET N/qemu: list all vms running stopped; GET N/lxc: list all containers running stopped; POST N/qemu: new
    vm import backup; POST N/lxc: new container import backup; DELETE Q: remove vm; DELETE L: remove container;
    GET G/config: settings hardware disks networks notes; GET G/status/current: running stopped state uptime lock;
    PUT Q/config, POST Q/config: rename name notes attach add disk iso cdrom cd unlock boot autostart nic vlan tag gpu
    ssh key; PUT L/config: rename name notes attach add mount point unlock boot autostart nic vlan tag nesting feature;
    POST Q/status/suspend: pause freeze hibernate; POST G/status/resume: continue unpause; POST G/status/stop: power off
    kill hard; POST G/status/shutdown: clean graceful power off; POST G/status/reboot: restart; POST Q/status/reset:
    hard restart; GET G/pending: changes waiting reboot; PUT Q/unlink: detach remove disk; PUT Q/sendkey: press keyboard
    ctrl alt del; PUT G/resize: grow root disk; POST Q/move_disk: move migrate volume other storage; POST L/move_volume:
    move migrate volume disk other storage; POST Q/agent/exec: run script inside; GET Q/agent/exec-status: output result
    run command; GET Q/agent/network-get-interfaces, GET L/interfaces: ip address; GET Q/agent/get-fsinfo: disk space
    free used filesystem mounted inside; POST Q/agent/set-user-password: reset change login inside;
    GET Q/agent/get-osinfo: operating system distribution; GET G/firewall/log, GET N/firewall/log: dropped rejected
    blocked packets; POST G/firewall/rules, POST N/firewall/rules, POST /cluster/firewall/rules: block allow open close
    port; GET G/rrddata: history graph usage cpu memory disk network day week month; GET N/rrddata: history graph usage
    cpu memory network load day week month; POST N/vzdump: now immediately once start run guest vm container;
    POST /cluster/backup: schedule regular automatic; GET N/storage/{storage}/content: stored files backups isos images
    templates volumes; PUT N/storage/{storage}/content/{volume}: protect unprotect protected backup notes comment;
    DELETE N/storage/{storage}/content/{volume}: backup iso image file disk; GET N/storage: free space used full;
    GET N/storage/{storage}/status: free space used full size; GET N/storage/{storage}/file-restore/list: browse inside
    backup; POST N/aplinfo: container template; POST N/storage/{storage}/download-url: fetch import web internet cloud;
    GET N/aplinfo: available container templates; POST /storage: add mount connect nfs cifs smb pbs iscsi share
    directory; DELETE /storage/{storage}: unmount disconnect; GET N/tasks, GET /cluster/tasks: failed errors history
    running jobs last; DELETE N/tasks/{upid}: cancel abort kill running job; GET N/tasks/{upid}/log: output why failed
    error; GET N/journal: kernel system boot log messages; GET N/syslog: kernel boot messages; GET N/apt/update: pending
    upgrades patches packages; POST N/apt/update: refresh package lists; GET N/apt/versions: installed software;
    POST N/migrateall: evacuate drain maintenance move away; POST N/stopall: shut down guest; POST N/startall: guest;
    PUT N/network, PUT /cluster/sdn: apply activate pending changes; DELETE N/network: discard pending changes;
    PUT /access/acl: grant give revoke take away role right user group token; GET /access/acl: who may what rights
    roles; GET /access/permissions: own my rights may allowed; PUT /access/users/{userid}: disable lock expire group
    member; PUT /pools, PUT /pools/{poolid}: add remove member guest vm storage; POST /cluster/ha/resources: add make vm
    container high availability failover; GET /cluster/ha/status/current: state error service fence failing;
    PUT /cluster/options: datacenter settings keyboard language migration network bandwidth tag style mail sender;
    DELETE /cluster/config/nodes/{node}: evict kick out; GET /cluster/config/join: fingerprint; GET N/disks/list:
    physical ssd hdd unused free serial model wearout; GET N/certificates/info: expire expiry valid;
    POST N/certificates/custom: own; PUT N/config: acme domain notes description; PUT /cluster/ceph/flags/{flag},
    PUT /cluster/ceph/flags: noout norebalance maintenance; GET /cluster/ceph/status, GET N/ceph/status: health warning
    degraded; GET /cluster/log: events; GET N/netstat: traffic""")
#: The verbs that do what a word asks for.
_VERBS = {
    "POST": """add abort allow ban block clone console copy create define deny download enroll exec execute expose
               freeze generate halt hibernate import install issue join kill make map migrate move new open order
               pause ping poweroff poweron pull reboot register reject relocate replicate reset restart restore resume
               rollback run schedule send shell shutdown start stop suspend sync take terminal test thaw trim upload
               wake""",
    "PUT": """activate apply assign attach change configure detach disable edit enable enlarge erase expand extend
               give grant grow increase lock modify move protect reload rename renew resize set shrink turn unlink
               unlock update wipe write""",
    "DELETE": """abort cancel clear delete destroy discard drop erase evict kick leave prune purge remove revert revoke
               throw uninstall unregister unset""",
    "GET": """are available check does find get graph has have health history inspect is list look lookup many much
               read search see show statistic stats status usage view what when where which who whose why""",
}
#: The config of a VM, and more, may also be POSTed.
_VERBS["POST"] += " assign attach change configure disable enable give increase rename set"
#: A question that begins so wants to know something, whatever else it says.
_ASKS = re.compile(r"\s*(?:which|what|who|whose|why|where|when|is|are|does|do|has|have|list|show|"
                   r"how (?:much|many|long|full|big))\b")
#: Words that tell nothing apart.
_STOP = frozenset("""
    a all an and any are as at be been before by can could do does each every for from get has have how i if in into
    is it its me my no not of on onto or our out per please proxmox pve should than that the their them there these
    this those to up use using via want was we what when where which who whose why will with you your""".split())
_KINDS = {"vm": "qemu", "qemu": "qemu", "kvm": "qemu", "qm": "qemu", "machine": "qemu", "window": "qemu",
          "agent": "qemu", "container": "lxc", "ct": "lxc", "lxc": "lxc", "pct": "lxc"}
_WORD = re.compile(r"[a-z0-9]+")
_STRONG = 32                                            # from this weight on, a word is one of what the method is about


def stem(word):
    """`word` without its ending, the same for backups and backup; scheduled and scheduling; migration and migrate."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = (word[:-3] + "y" if word.endswith("ies") else
                word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1])
    elif word == "vms":
        word = "vm"
    for ending, least in (("ing", 6), ("ed", 5), ("ion", 7)):
        if word.endswith(ending) and len(word) >= least:
            word = word[:-len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lse":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


_STEMS = {stem(word): [stem(w) for w in words.split()] for word, words in _SYNONYMS.items()}
_INTENT_STEMS = {}
for _verb, _words in _VERBS.items():
    for _word in _words.split():
        _INTENT_STEMS.setdefault(stem(_word), set()).add(_verb)


_LETTERS = {"N": ("/nodes/{node}",), "Q": ("/nodes/{node}/qemu/{vmid}",), "L": ("/nodes/{node}/lxc/{vmid}",),
            "G": ("/nodes/{node}/qemu/{vmid}", "/nodes/{node}/lxc/{vmid}")}


def _spelled_out(table):
    found = {}
    for name, words in table.items():
        verb, path = name.split(" ")
        for prefix in _LETTERS.get(path[0], ("/",)):
            found["%s %s%s" % (verb, prefix, path[1:])] = words
    return found


_ALSO = _spelled_out(_ALSO)
#: Parts of a path that a question need not name.
_PLAIN_PARTS = frozenset("nodes cluster access qemu lxc storage config status content vmid agent".split())


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
        """`methods`: list of dict with verb, path, name, description, index, parameters (as ApiDoc.parse makes them).
        """
        self._postings = {}                             # stem -> array of method number * 256 + weight * 32
        self._verbs, self._kinds, self._factors, self._topics = [], [], [], []
        stems = lru_cache(maxsize=None)(stem)
        words = lru_cache(maxsize=None)(lambda text: tuple({stems(word) for word in _WORD.findall(text.lower())}))
        for number, method in enumerate(methods):
            self._add(number, method, words)
        self._rarity = {}
        for word, postings in self._postings.items():
            strong = sum(1 for entry in postings if entry & 255 >= _STRONG)
            self._rarity[word] = log(1 + len(methods) / (1.0 + strong + 0.2 * (len(postings) - strong)))

    def _add(self, number, method, words):
        specs, _ = flatten(method["parameters"])
        about = method["description"]
        parts = [part for part in method["path"].split("/") if part]
        fixed = [part for part in parts if not part.startswith("{")]
        # From the least to the most telling: the last weight of a word stands.
        texts = [(spec.get("description") or "", 0.25) for spec in specs.values()]
        texts += [(part, 0.3) for part in parts if part.startswith("{")]
        texts += [(" ".join(map(str, spec["enum"])), 0.5) for spec in specs.values()
                  if isinstance(spec.get("enum"), list) and len(spec["enum"]) <= 50]      # longer ones number disks
        texts.append((about[160:], 0.5))
        texts += [(name, 1.4 if required(spec) else 0.9) for name, spec in specs.items()]
        texts.append((" ".join(method["returns"].get("columns", ())), 0.7))
        texts.append((about[:160], 1.4 + 0.6 * min(1, 8.0 / (1 + len(words(about[:160]))))))
        texts.append((_ALSO.get(method["verb"] + " " + method["path"], ""), 1.8))
        texts += [(method["name"], 2.0), (" ".join(fixed), 2.0), (" ".join(fixed[-1:]), 3.0)]
        if method["verb"] == "DELETE":
            texts.append(("delete remove", 2.0))
        weights = {}
        for text, weight in texts:
            weights.update(dict.fromkeys(words(text), int(weight * 32)))
        for word, weight in weights.items():
            if word not in self._postings:
                self._postings[word] = array("I")
            self._postings[word].append(number * 256 + weight)
        self._verbs.append(method["verb"])
        self._topics.append([words(part) for part in fixed if part not in _PLAIN_PARTS])
        self._kinds.append("qemu" if "qemu" in parts else "lxc" if "lxc" in parts else "")
        self._factors.append((0.4 if method["index"] else 1) * (1 - 0.025 * len(parts)) * (
            0.85 if "eprecated" in about else 0.6 if "nternal use" in about else 1))

    def rank(self, text):
        """Numbers (int) of the methods that have something of `text` (str), best first."""
        text = text.lower()
        for pattern, word in _PHRASES:
            text = re.sub(r"\b(?:%s)\b" % pattern, word, text)
        words = list(dict.fromkeys(_WORD.findall(text)))
        stems = [stem(word) for word in words]
        scores, shares, total, asked = {}, {}, 0.0, set()
        for word in [word for word in words if word not in _STOP] or words:
            best, most, root = {}, 0.0, stem(word)
            for token, factor in [(root, 0.5 if root in _INTENT_STEMS else 1.0)] + [
                    (other, 0.75) for other in _STEMS.get(root, ()) if other != root]:
                asked.add(token)
                rarity = self._rarity.get(token, 0) * factor
                most = max(most, rarity)
                for entry in self._postings.get(token, ()):
                    number, value = entry >> 8, rarity * (entry & 255)
                    if value > best.get(number, 0):
                        best[number] = value
            total += most
            for number, value in best.items():
                scores[number] = scores.get(number, 0) + value
                shares[number] = shares.get(number, 0) + most
        meant = [_INTENT_STEMS[root] for root in stems if root in _INTENT_STEMS]
        first = {"GET"} if _ASKS.match(text) else meant[0] if meant else None
        others = set().union(*meant) if meant else set()
        kinds = {_KINDS[root] for root in stems if root in _KINDS}
        result = []
        for number, score in scores.items():
            score *= self._factors[number] * (0.4 + 0.6 * shares[number] / (total or 1))
            verb = self._verbs[number]
            if first:
                score *= 1.0 if verb in first else 0.8 if verb in others else 0.65
            elif verb == "GET":
                score *= 1.1
            for topic in self._topics[number]:
                if not asked.intersection(topic):
                    score *= 0.9
            kind = self._kinds[number]
            if kind:
                score *= (1.15 if kind in kinds else 0.5) if kinds else 1.15 if "guest" in stems else 0.85
            result.append((-score, number))
        return [number for _, number in sorted(result)]
