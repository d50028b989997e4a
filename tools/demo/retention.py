"""Which backups pruning keeps (the rules of PVE::Storage::prune_mark_backup_group)."""
import time

from tools.demo.rules import boolean, integer, parse_properties, properties

_KEEPS = ("keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly")
RULES = properties(dict({"keep-all": boolean("Keep all.", requires=None)},
                        **{key: integer("Keep so many.", 0) for key in _KEEPS}))


def parse(text):
    """{rule: number} of a prune-backups property string; {} keeps all."""
    if isinstance(text, dict):
        text = ",".join("%s=%s" % pair for pair in text.items())
    values = parse_properties(RULES, text or "keep-all=1")
    if values.pop("keep-all", "0") == "1":
        return {}
    return {key: int(value) for key, value in values.items() if int(value) > 0}


_PERIODS = (("keep-hourly", "%Y-%m-%d %H"), ("keep-daily", "%Y-%m-%d"), ("keep-weekly", "%G-%V"),
            ("keep-monthly", "%Y-%m"), ("keep-yearly", "%Y"))


def marks(storage, node, keep, vmid=None, kind=None):
    """[(Volume, "keep" | "remove" | "protected")] of the backups on a storage, by guest, oldest first."""
    groups = {}
    for volume in storage.at(node).values():
        if volume.content == "backup" and vmid in (None, volume.vmid) and kind in (None, volume.facts["subtype"]):
            groups.setdefault((volume.facts["subtype"], volume.vmid), []).append(volume)
    found = []
    for volumes in groups.values():
        volumes.sort(key=lambda volume: -volume.ctime)
        mark = {volume.volid: "protected" for volume in volumes if volume.protected}
        free = [volume for volume in volumes if not volume.protected]
        if not keep:
            mark.update((volume.volid, "keep") for volume in free)
        for volume in free[:keep.get("keep-last", 0)]:
            mark[volume.volid] = "keep"
        for rule, form in _PERIODS:
            seen = {time.strftime(form, time.gmtime(volume.ctime)) for volume in free
                    if mark.get(volume.volid) == "keep"}
            count = keep.get(rule, 0)
            for volume in free:
                if count <= 0:
                    break
                period = time.strftime(form, time.gmtime(volume.ctime))
                if volume.volid in mark or period in seen:
                    continue
                seen.add(period)
                mark[volume.volid] = "keep"
                count -= 1
        found += [(volume, mark.get(volume.volid, "remove")) for volume in reversed(volumes)]
    return found
