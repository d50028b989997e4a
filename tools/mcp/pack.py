"""`proxmox-mcp pack OUT.pyz`: the program as one file that any host with Python and requests runs.

The demo cluster stays out unless it is asked for: a third of the lines, and nothing that a real cluster needs. The
archive holds our sources and nothing else, uncompressed (so that it does not depend on a zlib), with sorted names
and one fixed date: the same sources give the same SHA-256 on every Python, system, umask and time zone.
"""
import hashlib
import io
import os
import zipfile

#: -I: nothing from PYTHONPATH, the user's site-packages or the working directory is ever imported.
SHEBANG = "/usr/bin/python3 -I"
_DATE = (1980, 1, 1, 0, 0, 0)


def archive_of(program):
    """The path of the .pyz that `program` (the path of proxmox_mcp.py or __main__.py) is inside of, or None."""
    folder = os.path.dirname(os.path.abspath(program))
    return folder if os.path.isfile(folder) and zipfile.is_zipfile(folder) else None


def sources(program, demo=False):
    """{name in the archive: bytes} of the running program: a checkout, an installed copy, or an archive.

    demo: whether the demo cluster is among them.
    """
    return {name: data for name, data in _everything(program).items() if demo or not name.startswith("tools/demo/")}


def _everything(program):
    archive = archive_of(program)
    if archive:
        with zipfile.ZipFile(archive) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    import tools
    root = os.path.dirname(os.path.abspath(tools.__file__))
    found = {"__main__.py": _read(os.path.realpath(program))}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith((".py", ".json")):
                path = os.path.join(folder, name)
                found["tools/" + os.path.relpath(path, root).replace(os.sep, "/")] = _read(path)
    return found


def _read(path):
    with open(path, "rb") as stream:
        return stream.read().replace(b"\r\n", b"\n")


def packed(program, shebang=SHEBANG, demo=False):
    """The bytes of the .pyz of the running program."""
    return zipped(sources(program, demo), b"#!" + shebang.encode("utf-8") + b"\n")


def zipped(files, head=b""):
    """The bytes of an archive of {name: bytes}, behind `head`: the same for the same files, wherever it is made."""
    buffer = io.BytesIO()
    buffer.write(head)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _DATE)
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


def write(program, path, shebang=SHEBANG, demo=False):
    """Write the .pyz to `path` (executable) and return its SHA-256 (hex)."""
    return save(packed(program, shebang, demo), path)


def save(data, path):
    """Write an archive to `path` (executable) and return its SHA-256 (hex)."""
    with open(path, "wb") as stream:
        stream.write(data)
    os.chmod(path, 0o755)
    return hashlib.sha256(data).hexdigest()
