"""`proxmox-mcp pack OUT.mcpb`: a bundle that Claude Desktop installs and asks the settings for (MCPB manifest 0.3)."""
import json
import re
from importlib import metadata

from tools.mcp.pack import sources, zipped
from tools.policy.settings import VARIABLES

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
    """manifest.json of the bundle (dict). demo: it starts the demo cluster, which needs no settings; python: 9 of 3.9.
    """
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
    """The bytes of the .mcpb of the running program.

    with_requests: requests and what it needs come along, beside the program, where Python finds them in spite of -I.
    ImportError: they are not all there as pip installs them.
    """
    files = {_FOLDER + name.replace("__main__.py", "proxmox_mcp.py"): data
             for name, data in sources(program, demo).items()}
    more, python = _requests() if with_requests else ({}, 9)
    files.update({_FOLDER + name: data for name, data in more.items()})
    files["manifest.json"] = json.dumps(manifest(version, demo, python), indent=2).encode("utf-8") + b"\n"
    return zipped(files)


def _requests():
    """The Python files, certificates and licences of requests and, in turn, of what it requires.

    ({path: bytes}, the least Python 3.x that they all run on)
    """
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
