"""Storages and what lies on them: lists, volumes, notes, downloads, appliance templates."""
import re

from tools.demo import drives, hardware, lists
from tools.demo.model import MIB, bad, die
from tools.demo.rules import boolean, enum, integer, split_list, string
from tools.demo.wire import ALL, NODE, Route, perm, perm_any

_ANY = perm_any("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")


def configured(call):
    """GET /storage: storage.cfg."""
    return [_configuration(storage) for storage in call.world.storages.values()
            if call.p.get("type") in (None, storage.type)
            and call.may("/storage/" + storage.name, "Datastore.Audit", "Datastore.AllocateSpace")]


def _configuration(storage):
    more = {"shared": int(storage.shared), "nodes": ",".join(storage.nodes or ()), "disable": int(not storage.enabled)}
    return dict(storage.conf, storage=storage.name, type=storage.type, content=",".join(storage.content),
                digest="7e5a" * 10, **{key: value for key, value in more.items() if value})


def _row(storage, node):
    row = {"storage": storage.name, "type": storage.type, "content": ",".join(storage.content),
           "shared": int(storage.shared), "enabled": int(storage.enabled),
           "active": int(storage.enabled and storage.active), "total": 0, "used": 0, "avail": 0}
    if row["active"]:
        row["total"], row["used"], row["avail"] = storage.space(node)
        if row["total"]:
            row["used_fraction"] = row["used"] / row["total"]
    return row


def storages(call):
    """GET /nodes/{node}/storage: of this node and, with target, of another one as well."""
    wanted = split_list(call.p.get("content", ""))
    rows = []
    for storage in call.world.storages.values():
        if not storage.on(call.node) or (call.p.get("storage") not in (None, storage.name)):
            continue
        if call.p.get("target") not in (None, call.node) and not (storage.shared and storage.on(call.p["target"])):
            continue
        if (call.p.get("enabled") and not storage.enabled) or (wanted and not set(wanted) & set(storage.content)):
            continue
        if call.may("/storage/" + storage.name, "Datastore.Audit", "Datastore.AllocateSpace"):
            rows.append(_row(storage, call.node))
    if call.p.get("storage"):
        call.world.known_storage(call.p["storage"])
    return rows


def status(call):
    storage = call.world.storages.get(call.p["storage"]) or bad(storage="No such storage.")
    if not storage.on(call.node):
        die("storage '%s' is not available on node '%s'" % (storage.name, call.node))
    row = _row(storage, call.node)
    row.pop("storage")
    row.pop("used_fraction", None)
    return row


def _volume_row(volume):
    row = {"volid": volume.volid, "content": volume.content, "format": volume.format, "size": volume.size,
           "ctime": volume.ctime, "vmid": volume.vmid}
    row.update({key: volume.facts.get(key) or None for key in ("verification", "encrypted", "parent")})
    if volume.content == "backup":
        row.update(subtype=volume.facts["subtype"], notes=volume.notes.split("\n")[0] if volume.notes else None,
                   protected=int(volume.protected) or None)
    elif volume.content in ("images", "rootdir"):
        row["used"] = volume.used
    return {key: value for key, value in row.items() if value is not None}


def content(call):
    storage = call.world.online_storage(call.p["storage"], call.node)
    kind = call.p.get("content")
    volumes = sorted(storage.at(call.node).values(), key=lambda volume: volume.volid)
    return [_volume_row(volume) for volume in volumes if kind in (None, volume.content)
            and call.p.get("vmid") in (None, volume.vmid) and call.passes(
                drives.check_volume, call, storage, volume)]


def _volid(call):
    """The volume id of a content path: with or without the storage in front."""
    volume, storage = call.p["volume"], call.p["storage"]
    if re.match(r"[a-z][a-z0-9\-_.]*[a-z0-9]:.+", volume, re.I):
        named = volume.partition(":")[0]
        if named != storage:
            bad(volume="storage ID mismatch (%s != %s)" % (named, storage))
        return volume
    return "%s:%s" % (storage, volume)


def _found(call):
    """(Storage, volume id, Volume or None) of a content path."""
    storage = call.world.online_storage(call.p["storage"], call.node)
    return storage, _volid(call), storage.at(call.node).get(_volid(call))


def volume(call):
    """GET .../content/{volume}: size and format of one."""
    storage, volid, found = _found(call)
    drives.check_volume(call, storage, found)
    if found is None:
        die("volume_size_info on '%s' failed" % volid)
    return {"path": "/dev/%s/%s" % (storage.name, found.name), "size": found.size, "used": found.used or 0,
            "format": found.format}


def change_volume(call):
    """PUT .../content/{volume}: notes and protection of a backup."""
    storage, volid, volume = _found(call)
    drives.check_volume(call, storage, volume)
    if volume is None:
        return                                          # notes for nothing are left as a file, that is all
    if volume.content != "backup":
        die("only backups can have notes and protection: '%s'" % volid)
    volume.notes, volume.protected = call.p.get("notes", volume.notes), call.p.get("protected", volume.protected)


def delete_volume(call):
    storage, volid, volume = _found(call)
    if volume is None or volume.content == "backup":
        drives.check_volume(call, storage, volume)
    else:
        call.need("/storage/" + storage.name, "Datastore.Allocate")

    def worker(task):
        yield 1
        if volume is None:
            return
        if volume.protected:
            die("cannot remove protected volume '%s' on '%s'" % (volume.name, storage.name))
        drives.check_unused_base(call.world, volid, call.node)
        task.say("Removed volume '%s'" % volid)
        storage.at(call.node).pop(volid, None)
    return call.fork("imgdel", "%s@%s" % (volume and volume.vmid or "", storage.name), worker)


_NAMES = {"iso": r"[^/]+\.(?:iso|img)", "vztmpl": r"[^/]+\.tar(?:\.(?:gz|xz|zst|bz2))?",
          "import": r"[^/]+\.(?:ova|ovf|qcow2|raw|vmdk)"}


def _fetching(call, task, url, storage, volid, size, digest):
    """Worker part: a file comes from the web (PVE::Tools::download_file_from_url), `digest` or None expected."""
    path = "%s/template/%s" % (storage.conf.get("path"), volid.partition(":")[2].replace("vztmpl/", "cache/"))
    task.say("downloading %s to %s" % (url, path))
    if volid in storage.at(call.node):
        if not digest:
            die("refusing to override existing file '%s'" % path)
        return task.say("OK, got correct file already, no need to re-download")
    yield 1
    if "missing" in url:
        task.say("--- HTTP request sent, awaiting response... 404 Not Found\n--- ERROR 404: Not Found.")
        die("download failed: command '/usr/bin/wget' failed: exit code 8")
    task.say("--2025-11-20 10:00:00--  %s\nHTTP request sent, awaiting response... 200 OK\nLength: %d (%dM)\n"
             "Saving to: '%s.tmp_dwnl'" % (url, size, size // MIB, path))
    for percent in (19, 42, 64, 87, 100):
        yield 1.2
        task.say("%8dK ........ ........ ........ ........ %3d%% 61.5M %ds" % (
            size * percent // 102400, percent, (100 - percent) // 18))
    if digest:
        task.say("calculating checksum...")
        yield 1
        if set(digest.lower()) == {"0"}:
            die("checksum mismatch: got '%s' != expect '%s'" % ("5f" * (len(digest) // 2), digest))
        task.say("OK, got correct file checksum: %s" % digest)
    storage.put(call.node, volid, size, call.world.t)
    task.say("download of '%s' to '%s' finished" % (url, path))


def download(call):
    storage = call.world.online_storage(call.p["storage"], call.node)
    url, kind = call.p["url"], call.p["content"]
    if kind not in storage.content:
        die("storage '%s' is not configured for content-type '%s'" % (storage.name, kind))
    name = re.sub(r"[^-a-zA-Z0-9_.]", "_", call.p["filename"].rpartition("/")[2].strip())
    if not re.match(_NAMES[kind] + r"\Z", name, re.I):
        bad(filename="wrong file extension")
    size = 180 * MIB + sum(map(ord, url)) * 7919 % (900 * MIB)
    return call.fork("download", name, lambda task: _fetching(
        call, task, url, storage, "%s:%s/%s" % (storage.name, kind, name), size, call.p.get("checksum")))


def appliances(call):
    return [{"template": name, "package": name.partition("_")[0], "os": system, "version": version,
             "headline": headline, "section": "system", "type": "lxc", "architecture": "amd64",
             "source": "http://download.proxmox.com/images/system/",
             "location": "http://download.proxmox.com/images/system/" + name, "description": headline + "\n",
             "infopage": "https://linuxcontainers.org", "manageurl": "", "maintainer":
             "Proxmox Support Team <support@proxmox.com>", "md5sum": digest * 2, "sha512sum": digest * 8}
            for name, system, version, headline, digest in hardware.APPLIANCES]


def download_appliance(call):
    name = call.p["template"]
    digest = {row["template"]: row["sha512sum"] for row in appliances(call)}.get(name) or bad(
        template="no such template")
    storage = call.world.online_storage(call.p["storage"], call.node)
    if "vztmpl" not in storage.content:
        die("storage '%s' does not support templates" % storage.name)
    return call.fork("download", name, lambda task: _fetching(
        call, task, "http://download.proxmox.com/images/system/" + name, storage,
        "%s:vztmpl/%s" % (storage.name, name), 128 * MIB, digest))


_NETWORK = ["or", perm("/", "Sys.Audit", "Sys.Modify"), perm(NODE, "Sys.AccessNetwork")]
_TEMPLATE = perm("/storage/{storage}", "Datastore.AllocateTemplate")
_CHECKSUM = {"checksum": string("Expected checksum.", requires="checksum-algorithm"),
             "checksum-algorithm": enum("Its kind.", "md5 sha1 sha224 sha256 sha384 sha512", requires="checksum")}
_STORAGE = string("The storage.", format="pve-storage-id")

ROUTES = [
    Route("GET /storage", configured, ALL, "The storages configured.",
          {"type": enum("Only these.", "btrfs cephfs cifs dir esxi iscsi "
                        "iscsidirect lvm lvmthin nfs pbs rbd zfs zfspool")}),
    Route("GET /storage/{storage}", lambda call: _configuration(call.world.known_storage(call.p["storage"])),
          perm("/storage/{storage}", "Datastore.Allocate"), "Configuration of a storage."),
    Route("GET /nodes/{node}/storage", storages, ALL, "Storages of the node and their state.", {
        "storage": dict(_STORAGE), "content": string("Only those for such content.", format="pve-storage-content-list"),
        "enabled": boolean("Only enabled ones.", default=0),
        "target": string("Only those this node has too.", format="pve-node"),
        "format": boolean("With formats.", default=0)}),
    Route("GET /nodes/{node}/storage/{storage}/status", status, _ANY, "State of a storage."),
    Route("GET /nodes/{node}/storage/{storage}/rrddata", lambda call: lists.storage_series(
        call.world, call.world.storage(call.p["storage"], call.node), call.node, call.p["timeframe"]),
          _ANY, "Fill of a storage over time.", lists.FRAME),
    Route("GET /nodes/{node}/storage/{storage}/content", content, _ANY, "Volumes on a storage.", {
        "content": string("Only these.", format="pve-storage-content"),
        "vmid": integer("Only of this guest.", 100, 999999999, format="pve-vmid")}),
    Route("GET /nodes/{node}/storage/{storage}/content/{volume}", volume, ALL, "Size and format of a volume."),
    Route("PUT /nodes/{node}/storage/{storage}/content/{volume}", change_volume, ALL,
          "Notes and protection of a backup.", {
              "notes": string("Notes."), "protected": boolean("Cannot be removed.")}),
    Route("DELETE /nodes/{node}/storage/{storage}/content/{volume}", delete_volume, ALL, "Remove a volume.", {
        "delay": integer("Wait so many seconds for the end.", 1, 30)}),
    Route("POST /nodes/{node}/storage/{storage}/download-url", download, ["and", _TEMPLATE, _NETWORK],
          "Download a file.", dict(
        _CHECKSUM, **{"url*": string("From here.", pattern="https?://.*"),
                      "filename*": string("File name.", maxLength=255),
                      "content*": enum("What it is.", "iso vztmpl import", format="pve-storage-content"),
                      "compression": string("Unpack with this."),
                      "verify-certificates": boolean("Check TLS.", default=1)})),
    Route("GET /nodes/{node}/aplinfo", appliances, ALL, "Templates for containers that can be downloaded."),
    Route("POST /nodes/{node}/aplinfo", download_appliance, _TEMPLATE, "Download a template for containers.", {
        "storage*": dict(_STORAGE), "template*": string("Its name.", maxLength=255)}),
]
