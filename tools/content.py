"""Toolset: what lies on storages - listing it, downloading images and templates, notes and protection of backups."""
import re
from urllib.parse import unquote, urlsplit

from tools.guests import Later, pattern
from tools.kit import (BASIC, ELEVATED, REQUIRED, Annotated, Arg, Column, Failure, NodeArgs, OnNode, Optional, Paged, Storage, Table, Tool,
                       dataclass, text)


@dataclass
class Content(NodeArgs, Paged):
    """List the volumes on a storage: disks, ISOs, templates, backups."""
    storage: Storage = REQUIRED
    content: Annotated[Optional[str], Arg(choices=("images", "rootdir", "iso", "vztmpl", "backup", "snippets", "import"))] = None
    vmid: Annotated[Optional[int], Arg(format="vmid")] = None


@dataclass
class DownloadUrl(OnNode):
    """Let a node download an ISO, container template or disk image from a URL."""
    storage: Storage = REQUIRED
    url: Annotated[str, Arg(least=10, most=2000)] = REQUIRED
    content: Annotated[Optional[str], Arg(choices=("iso", "vztmpl", "import"))] = None
    filename: Annotated[Optional[str], Arg(least=1, most=255)] = None
    checksum: Optional[str] = None
    checksum_algorithm: Annotated[Optional[str], Arg(choices=("md5", "sha1", "sha224", "sha256", "sha384", "sha512"))] = None
    verify_certificates: Optional[bool] = None


@dataclass
class Appliances(NodeArgs, Paged):
    """List the container templates that Proxmox offers for download."""
    name: Annotated[Optional[str], Arg("part of it, such as debian")] = None


@dataclass
class DownloadAppliance(OnNode):
    """Download a container template that proxmox_list_appliances names."""
    storage: Storage = REQUIRED
    template: Annotated[str, Arg(least=1, most=255)] = REQUIRED


@dataclass
class UpdateBackup(NodeArgs):
    """Protect a backup from deletion, or change its notes."""
    volume: Annotated[str, Arg("volid", format="volid", also=("volid", "archive"))] = REQUIRED
    notes: Optional[str] = None
    protected: Optional[bool] = None


VOLUMES = Table("volume", Column("volid", kind="long"), Column("content"), Column("format"), Column("size", kind="bytes"),
                Column("ctime", "made", "time"), Column("vmid", kind="int"), Column("protected", kind="bool"), Column("notes"))
APPLIANCES = Table("template", Column("template", kind="long"), Column("os", "OS"), Column("version"), Column("section"),
                   Column("headline"))

#: ending of a file name -> what it is to Proxmox (PVE::Storage: ISO_EXT_RE_0, VZTMPL_EXT_RE_1, IMPORT_EXT_RE_1)
_CONTENT = ((r"\.(iso|img)$", "iso"), (r"\.tar\.(gz|xz|zst|bz2)$", "vztmpl"), (r"\.(qcow2|vmdk|raw|ova|ovf)$", "import"))


def list_content(call):
    args = call.args
    rows = sorted(call.get("/nodes/{node}/storage/{storage}/content", content=args.content, vmid=args.vmid) or [],
                  key=lambda r: (str(r.get("content")), str(r.get("volid"))))
    note = None if rows else ("Nothing, or the token may not see it: disks need Datastore.Audit and VM.Config.Disk, backups "
                              "Datastore.AllocateSpace on /storage/%s and VM.Backup on the guest." % args.storage)
    total = sum(int(r.get("size") or 0) for r in rows)
    return call.listing(Later(rows, VOLUMES), "%s on %s, %s in all" % (text.plural(len(rows), "volume"), args.storage, text.size(total)),
                        note, "content, vmid")


def download_url(call):
    args = call.args
    parts = urlsplit(args.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Failure("%s is not an http or https URL. Nothing was sent." % text.line(args.url))
    if parts.username or parts.password:
        raise Failure("The URL holds a user or a password, which would stand in the task's log. Nothing was sent.")
    name = args.filename or unquote(parts.path.rsplit("/", 1)[-1])
    if not re.fullmatch(r"[^/\\\x00-\x1f\x7f]+", name) or name in (".", ".."):
        raise Failure("No file name can be taken from the URL; give filename. Nothing was sent.")
    content = args.content or next((kind for ending, kind in _CONTENT if re.search(ending, name.lower())), None)
    if content is None:
        raise Failure("What %s is cannot be told from its name; give content (iso, vztmpl or import). Nothing was sent." % text.line(name))
    if bool(args.checksum) != bool(args.checksum_algorithm):
        raise Failure("checksum and checksum_algorithm belong together. Nothing was sent.")
    outcome = call.done(call.send(url=args.url, content=content, filename=name, checksum=args.checksum, **{
        "checksum-algorithm": args.checksum_algorithm, "verify-certificates": args.verify_certificates}))
    volid = "%s:%s/%s" % (args.storage, content, name)
    return call.tell(outcome, "%s was downloaded to %s on %s" % (text.line(name), args.storage, args.node), "Its volid: %s" % volid,
                     volid=volid)


def list_appliances(call):
    rows = call.get("/nodes/{node}/aplinfo") or []
    if call.args.name:
        fits = pattern(call.args.name)
        rows = [r for r in rows if fits(r.get("template")) or fits(r.get("headline"))]
    return call.listing(Later(sorted(rows, key=lambda r: (str(r.get("section")), str(r.get("template")))), APPLIANCES), None,
                        "proxmox_download_appliance takes one." if rows else "On the node, `pveam update` gets the list.", "name")


def download_appliance(call):
    args = call.args
    outcome = call.done(call.send(storage=args.storage, template=args.template))
    volid = "%s:vztmpl/%s" % (args.storage, args.template.rsplit("/", 1)[-1])
    return call.tell(outcome, "Template %s was downloaded to %s on %s" % (text.line(args.template), args.storage, args.node),
                     "For proxmox_create_lxc: ostemplate=%s" % volid, volid=volid)


def update_backup(call):
    args = call.args
    storage, _, name = args.volume.partition(":")
    if not name.startswith("backup/"):
        raise Failure("%s is not a backup. Nothing was sent." % args.volume)
    if args.notes is None and args.protected is None:
        raise Failure("Say what to change: notes or protected. Nothing was sent.")
    call.send("/nodes/{node}/storage/{storage}/content/{volume}", {"storage": storage}, "PUT", notes=args.notes, protected=args.protected)
    said = ["protected" if args.protected else "not protected any more"] if args.protected is not None else []
    said += ["noted"] if args.notes is not None else []
    return call.finish(None, "%s is %s" % (args.volume, " and ".join(said)), volid=args.volume)


TOOLS = {
    "proxmox_list_storage_content": Tool("GET /nodes/{node}/storage/{storage}/content", BASIC, Content, list_content, VOLUMES),
    "proxmox_download_url": Tool("POST /nodes/{node}/storage/{storage}/download-url", ELEVATED, DownloadUrl, download_url),
    "proxmox_list_appliances": Tool("GET /nodes/{node}/aplinfo", BASIC, Appliances, list_appliances, APPLIANCES),
    "proxmox_download_appliance": Tool("POST /nodes/{node}/aplinfo", ELEVATED, DownloadAppliance, download_appliance),
    "proxmox_update_backup": Tool("PUT /nodes/{node}/storage/{storage}/content/{volume}", ELEVATED, UpdateBackup, update_backup),
}
