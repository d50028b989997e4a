"""Toolset: what lies on storages - listing it, downloading images and templates, notes and protection of backups."""
import re
from dataclasses import dataclass
from typing import Annotated, Optional
from urllib.parse import unquote, urlsplit

from tools.base.answers import Table, result
from tools.base.backup_state import the_backup
from tools.base.failures import Failure
from tools.base.lists import the_only
from tools.base.row import BASIC, ELEVATED, NodeArgs, OnNode, Paged, Storage, Tool
from tools.base.schema import REQUIRED, Arg
from tools.base.storage import volume_size
from tools.pve import text
from tools.pve.text import Column


@dataclass
class Content(NodeArgs, Paged):
    """Volumes on a storage: disks, ISOs, templates, backups."""
    storage: Storage = REQUIRED
    content: Annotated[Optional[str], Arg("images, rootdir, iso, vztmpl ...")] = None
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None
    name: Annotated[Optional[str], Arg("part, or with *")] = None


@dataclass
class DownloadUrl(OnNode):
    """Let a node download an ISO, container template or disk image from a URL."""
    storage: Storage = REQUIRED
    url: Annotated[str, Arg(min_length=10, max_length=2000)] = REQUIRED
    content: Annotated[Optional[str], Arg(enum=("iso", "vztmpl", "import"))] = None
    filename: Annotated[Optional[str], Arg(min_length=1, max_length=255)] = None
    checksum: Optional[str] = None


@dataclass
class DownloadAppliance(OnNode):
    """Download a container template that Proxmox offers."""
    storage: Storage = REQUIRED
    template: Annotated[str, Arg("debian-13", min_length=1, max_length=255)] = REQUIRED


@dataclass
class UpdateBackup(NodeArgs):
    """Protect a backup from deletion, or change its notes."""
    volume: Annotated[str, Arg("volid", format="volume", aliases=("volid", "archive"))] = REQUIRED
    notes: Annotated[Optional[str], Arg(min_length=1, max_length=60000)] = None
    protected: Optional[bool] = None


VOLUMES = Table(
    "volume", Column("volid", kind="long"), Column("content"), Column("format"), Column("size", kind="bytes"),
    Column("ctime", "made", "time"), Column("vmid", kind="int"), Column("protected", kind="bool"),
    Column("notes", "first line of its notes"),
    each=lambda row: dict(row, size=volume_size(row)), sort=("content", "volid"),
    search=lambda row: [row.get("volid"), str(row.get("volid")).partition(":")[2]],
    summary=lambda rows: ", %s in all" % text.size(sum(volume_size(row) or 0 for row in rows)),
    empty="Nothing, or the token may not see it: disks need Datastore.Audit on /storage/{storage} and VM.Config.Disk "
          "on the guest, backups Datastore.AllocateSpace and VM.Backup.")


#: ending of a file's name -> what it is to Proxmox (PVE::Storage: ISO_EXT_RE_0, VZTMPL_EXT_RE_1, IMPORT_EXT_RE_1)
_ENDINGS = ((r"\.(iso|img)", "iso"), (r"\.tar\.(gz|xz|zst|bz2)", "vztmpl"), (r"\.(qcow2|vmdk|raw|ova)", "import"))
#: How many digits a checksum has -> what it is.
_DIGITS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_FILE = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f\x7f]+")


def download_url(call):
    args = call.args
    name = _file_of(args.url)
    name = args.filename or name
    if not _FILE.fullmatch(name):
        raise Failure("%r is not a file name." % name[:80] if args.filename else
                      "No file name can be taken from the URL; give filename.")
    content = args.content or next((kind for ending, kind in _ENDINGS if re.search(ending + r"\Z", name.lower())), None)
    if content is None:
        raise Failure("What %s is cannot be told from its name; give content (iso, vztmpl or import)."
                      % text.line(name))
    algorithm = _DIGITS.get(len(args.checksum)) if args.checksum else None
    if args.checksum and not algorithm:
        raise Failure("The checksum is none of %s, in hexadecimal digits." % ", ".join(_DIGITS.values()))
    outcome = call.follow(call.send(**dict(call.parameters(), content=content, filename=name, **{
        "checksum-algorithm": algorithm})))
    stored = re.sub(r"[^a-zA-Z0-9_.-]", "_", name)      # PVE::Storage::normalize_content_filename
    volid = "%s:%s/%s" % (args.storage, content, stored)
    notes = ["Its volid: %s" % text.line(volid, 300)]
    if content == "iso" and not args.content and name.lower().endswith(".img"):
        notes.append("It was taken for an ISO. If it is a disk image, no disk can be made from it there: "
                     "download it with content=import and a filename ending in .qcow2 or .raw.")
    return result(call, outcome, "File %s was downloaded to %s on %s" % (text.line(name), args.storage, args.node),
                  notes, volid=volid)


def _file_of(url):
    """The file's name at the end of a URL, which may be empty; Failure for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f]", url):
        raise Failure("This is not an http or https URL.")
    if "@" in parts.netloc:
        raise Failure("The URL holds a user or a password, which would stand in the task's log.")
    return unquote(parts.path.rsplit("/", 1)[-1])


def _appliance(call):
    """Put the whole name of the template that is meant into the arguments; its volid."""
    args = call.args
    args.template = the_only([str(row.get("template")) for row in call.get("/nodes/{node}/aplinfo") or ()],
                             args.template, "template that Proxmox offers for download (`pveam update` on the node "
                             "gets the list)")
    return {"volid": "%s:vztmpl/%s" % (args.storage, args.template.rpartition("/")[2])}


def update_backup(call):
    args = call.args
    storage = args.volume.partition(":")[0]
    if args.notes is None and args.protected is None:
        raise Failure("Say what to change: notes or protected.")
    the_backup(call, storage, args.volume)              # of one that is not there Proxmox says that it is done
    if args.protected is False:
        call.confirm(lambda: ("Take the protection off backup %s on node %s? It can then be deleted, and pruned away."
                              % (text.line(args.volume, 300), call.node), {}))
    outcome = call.follow(call.send(call.parameters(), None, {"storage": storage}))
    said = {True: "is protected now", False: "is not protected any more", None: "has new notes"}[args.protected]
    return result(call, outcome, "backup %s %s" % (text.line(args.volume, 200), said), volid=args.volume)


TOOLS = {
    "proxmox_list_storage_content": Tool("GET /nodes/{node}/storage/{storage}/content", BASIC, Content, returns=VOLUMES,
                                         says="{count} on {storage}"),
    "proxmox_download_url": Tool("POST /nodes/{node}/storage/{storage}/download-url", ELEVATED, DownloadUrl,
                                 download_url),
    "proxmox_download_appliance": Tool("POST /nodes/{node}/aplinfo", ELEVATED, DownloadAppliance, first=_appliance,
                                       says="template {template} was downloaded to {storage} on {node}; "
                                            "for proxmox_create_lxc: ostemplate={volid}"),
    "proxmox_update_backup": Tool("PUT /nodes/{node}/storage/{storage}/content/{volume}", ELEVATED, UpdateBackup,
                                  update_backup, needs=("/storage Datastore.AllocateSpace", "/vms VM.Backup")),
}
