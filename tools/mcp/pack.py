"""`proxmox-mcp pack OUT`: the program as one file that any host with Python and requests runs (.pyz), or as a bundle
that Claude Desktop installs and asks the settings for (.mcpb, MCPB manifest 0.3).

The demo cluster stays out unless it is asked for: a third of the lines, and nothing that a real cluster needs. The
archive holds our sources and nothing else, uncompressed (so that it does not depend on a zlib), with sorted names
and one fixed date: the same sources give the same SHA-256 on every Python, system, umask and time zone.
"""
import hashlib
import io
import json
import os
import re
import zipfile

from tools.policy.settings import VARIABLES

#: -I: nothing from PYTHONPATH, the user's site-packages or the working directory is ever imported.
_SHEBANG = b"#!/usr/bin/python3 -I\n"


def archive_of(program):
    """The path of the .pyz that `program` (the path of proxmox_mcp.py or __main__.py) is inside of, or None."""
    folder = os.path.dirname(os.path.abspath(program))
    return folder if os.path.isfile(folder) and zipfile.is_zipfile(folder) else None


def sources(program, demo=False):
    """{name in the archive: bytes} of the running program: a checkout, an installed copy, or an archive."""
    archive, found = archive_of(program), {}
    if archive:
        with zipfile.ZipFile(archive) as packed:
            found = {name: packed.read(name) for name in packed.namelist()}
    else:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        files = {"tools/" + os.path.relpath(path, root).replace(os.sep, "/"): path for path in paths
                 if path.endswith((".py", ".json"))}
        for name, path in dict(files, **{"__main__.py": os.path.realpath(program)}).items():
            with open(path, "rb") as stream:
                found[name] = stream.read().replace(b"\r\n", b"\n")
    return {name: data for name, data in found.items() if demo or not name.startswith("tools/demo/")}


def packed(program, demo=False):
    """The bytes of the .pyz of the running program."""
    return _zipped(sources(program, demo), _SHEBANG)


def _zipped(files, head=b""):
    """The bytes of an archive of {name: bytes}, behind `head`: the same for the same files, wherever it is made."""
    buffer = io.BytesIO()
    buffer.write(head)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def content_hash(program):
    """SHA-256 (hex) of the .pyz that is running, or of the one that `pack` would write from these sources."""
    archive = archive_of(program)
    if archive:
        with open(archive, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    return hashlib.sha256(packed(program)).hexdigest()


def save(data, path):
    """Write an archive to `path` (executable) and return its SHA-256 (hex)."""
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, 0o755)
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------------------------------------------------- the bundle

_FOLDER = "server/"
_PROGRAM = _FOLDER + "proxmox_mcp.py"
#: setting -> its field in the client's form; what is optional has a default, or a client passes on its placeholder.
_FORM = {
    "host": {"type": "string", "title": "Proxmox host", "required": True},
    "user": {"type": "string", "title": "User", "required": False, "default": "root@pam"},
    "token_name": {"type": "string", "title": "Token name", "required": True},
    "token_value": {"type": "string", "title": "Token value", "required": True, "sensitive": True},
    "certificate": {"type": "file", "title": "CA file", "required": False, "default": ""},
    "allow_elevated": {"type": "boolean", "title": "Allow changes", "required": False, "default": False}}


def manifest(version, demo=False, python=9):
    """manifest.json of the bundle (dict); python: 9 of the least version 3.9."""
    form = {} if demo else {name: dict(entry, description=VARIABLES[name]["text"]) for name, entry in _FORM.items()}
    start = {"command": "python3", "args": ["-I", "${__dirname}/" + _PROGRAM] + ["--demo"] * demo,
             "env": {VARIABLES[name]["variable"]: "${user_config.%s}" % name for name in form},
             "platform_overrides": {"win32": {"command": "python"}}}
    return {
        "manifest_version": "0.3", "name": "proxmox-mcp" + "-demo" * demo, "version": version,
        "display_name": "Proxmox VE" + " (demo)" * demo, "license": "MIT",
        "description": "Look after a Proxmox VE cluster: guests, nodes, storage, backups, networks",
        "author": {"name": "the proxmox-mcp developers"},
        "server": {"type": "python", "entry_point": _PROGRAM, "mcp_config": start},
        "tools_generated": True, "user_config": form,
        "compatibility": {"platforms": ["darwin", "linux", "win32"], "runtimes": {"python": ">=3.%d" % python}}}


def bundled(program, version, demo=False, with_requests=False):
    """The bytes of the .mcpb of the running program. with_requests: requests and what it needs come along, beside the
    program, where Python finds them in spite of -I; ImportError: they are not all there as pip installs them."""
    files, python = _requests() if with_requests else ({}, 9)
    files.update((name.replace("__main__.py", "proxmox_mcp.py"), data) for name, data in sources(program, demo).items())
    files = {_FOLDER + name: data for name, data in files.items()}
    files["manifest.json"] = json.dumps(manifest(version, demo, python), indent=2).encode("utf-8") + b"\n"
    return _zipped(files)


def _requests():
    """The files of requests and of all that it requires, and the least Python 3.x that they all run on."""
    from importlib import metadata
    found, done, waiting, python = {}, set(), ["requests"], 9
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        package = metadata.distribution(name)           # PackageNotFoundError is an ImportError
        for path in package.files or ():
            if re.fullmatch(r"(?!\.\.|/).*(\.py|\.pem|/(LICEN[CS]E|NOTICE)[^/]*)", path.as_posix()):
                found[path.as_posix()] = path.locate().read_bytes()
        least = re.search(r">=\s*3\.(\d+)", package.metadata["Requires-Python"] or "")
        python = max(python, int(least.group(1)) if least else 0)
        waiting += [re.match(r"[\w.-]+", line).group() for line in package.requires or () if ";" not in line]
    missing = {"requests/__init__.py", "urllib3/__init__.py", "certifi/cacert.pem", "idna/__init__.py"} - set(found)
    if missing:
        raise ImportError("not there as pip installs it: " + ", ".join(sorted(missing)))
    return found, python
