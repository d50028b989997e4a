"""`proxmox-mcp config CLIENT`: configuration for an MCP client, with the absolute command that runs here: printed,
put into the client's own file, or as a link that the client opens.
"""
import json
import os
import re
import shutil
import sys
import time
from collections import namedtuple
from contextlib import suppress

from tools.mcp.pack import archive_of
from tools.policy.settings import VARIABLES, explain, former

#: Where its own file is ({apps}: where programs keep their settings; ~ or a project's directory), the key in it that
#: holds the servers (None: TOML), what an entry has beside command, args and env, what to say of the place, and the
#: link that adds a server ({name}, {config}: the entry in base64, {json}: name and entry).
Client = namedtuple("Client", "path key extra note link", defaults=({}, "", None))
CLIENTS = {
    "claude-desktop": Client("{apps}/Claude/claude_desktop_config.json", "mcpServers",
                             note="Settings > Developer > Edit Config"),
    "claude-code": Client(".mcp.json", "mcpServers", {"type": "stdio"}, "in the project's directory"),
    "vscode": Client("{apps}/Code/User/mcp.json", "servers", {"type": "stdio"},
                     "command: MCP: Open User Configuration; or .vscode/mcp.json in a project",
                     "vscode:mcp/install?{json}"),
    "cursor": Client("~/.cursor/mcp.json", "mcpServers", {}, "or .cursor/mcp.json in a project",
                     "cursor://anysphere.cursor-deeplink/mcp/install?name={name}&config={config}"),
    "windsurf": Client("~/.codeium/windsurf/mcp_config.json", "mcpServers"),
    "antigravity": Client("~/.gemini/antigravity/mcp_config.json", "mcpServers", {},
                          "Manage MCP Servers > View raw config; of its command line ~/.gemini/config/mcp_config.json"),
    "cline": Client("{apps}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
                    "mcpServers", {}, "MCP Servers > Configure"),
    "cline-cli": Client("~/.cline/data/settings/cline_mcp_settings.json", "mcpServers"),
    "zed": Client("~/.config/zed/settings.json", "context_servers", {"source": "custom"}),
    "gemini-cli": Client("~/.gemini/settings.json", "mcpServers"),
    "lm-studio": Client("~/.lmstudio/mcp.json", "mcpServers", {}, "Program > Install > Edit mcp.json",
                        "lmstudio://add_mcp?name={name}&config={config}"),
    "opencode": Client("~/.config/opencode/opencode.json", "mcp", {"type": "local"}, "or opencode.json in the project"),
    "codex": Client("~/.codex/config.toml", None),
}
#: What every entry sets, with what stands there until the admin fills it in.
PLACEHOLDERS = (("PROXMOX_HOST", "192.168.1.10"), ("PROXMOX_USER", "root@pam"), ("PROXMOX_TOKEN_NAME", "mcp"),
                ("PROXMOX_TOKEN_VALUE", "the token's value"))
#: Absolute in a configuration: a client starts the program in a directory of its own choice.
FILES = ("PROXMOX_CONFIG", "PROXMOX_TOKEN_FILE", "PROXMOX_STATE_DIR", "PROXMOX_AUDIT_LOG")


def command(program):
    """The argument list (absolute paths) that starts this very program."""
    python = os.path.abspath(sys.executable)
    archive = archive_of(program)
    if archive:
        return [python, "-I", archive]
    if os.path.isdir(os.path.join(os.path.dirname(os.path.realpath(program)), "_proxmox_mcp")):     # installed
        script = os.path.join(os.path.dirname(python), "proxmox-mcp")
        found = script if os.path.exists(script) else shutil.which("proxmox-mcp")
        return [os.path.abspath(found)] if found else [python, "-m", "proxmox_mcp"]
    return [python, "-I", os.path.realpath(program)]


def place(client):
    """The path of a client's own file on this machine."""
    apps = {"darwin": "~/Library/Application Support", "win32": os.environ.get("APPDATA", "~")}.get(
        sys.platform, os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    return os.path.abspath(os.path.expanduser(CLIENTS[client].path.replace("{apps}", apps)))


def environment(environ, demo, with_secret):
    """(the variables of the entry, the secret only when asked for; what is to be filled in, a list of str). ValueError:
    what a variable of version 1 says would be left out."""
    if demo:
        return {}, []
    said, problems = former(environ)
    if problems:
        raise ValueError(explain(problems))
    environ = dict(environ, **said)
    wanted = () if environ.get("PROXMOX_CONFIG") else PLACEHOLDERS
    found = {name: environ.get(name) or example for name, example in wanted}
    for name in sorted(meta["variable"] for meta in VARIABLES.values()):
        if environ.get(name):
            found[name] = os.path.abspath(os.path.expanduser(environ[name])) if name in FILES else environ[name]
    missing = [name for name, _ in wanted if name != "PROXMOX_USER" and not environ.get(name)]
    if found.get("PROXMOX_TOKEN_FILE") or found.get("PROXMOX_TOKEN_COMMAND"):
        found.pop("PROXMOX_TOKEN_VALUE", None)
        missing = [name for name in missing if name != "PROXMOX_TOKEN_VALUE"]
    elif not with_secret and environ.get("PROXMOX_TOKEN_VALUE"):
        found["PROXMOX_TOKEN_VALUE"] = dict(PLACEHOLDERS)["PROXMOX_TOKEN_VALUE"]
        missing.append("PROXMOX_TOKEN_VALUE (--with-secret puts it there; better name a PROXMOX_TOKEN_FILE)")
    return found, missing


def entry(client, program, environ, demo=False, with_secret=False):
    """(the entry of this program in a client's configuration, what is to be filled in)."""
    words, (env, missing) = command(program) + (["--demo"] if demo else []), environment(environ, demo, with_secret)
    made = dict(CLIENTS[client].extra)
    made.update({"command": words} if client == "opencode" else {"command": words[0], "args": words[1:]})
    if env:
        made["environment" if client == "opencode" else "env"] = env
    return made, missing


def configuration(client, made, name):
    """The text of a configuration that has this entry and no other."""
    if CLIENTS[client].key is not None:
        return json.dumps({CLIENTS[client].key: {name: made}}, indent=2, ensure_ascii=False)
    tables = {"": {key: made[key] for key in ("command", "args")}, ".env": made.get("env")}
    return "\n\n".join("\n".join(["[mcp_servers.%s%s]" % (name, table)] + [
        "%s = %s" % (key, json.dumps(value)) for key, value in values.items()])
        for table, values in tables.items() if values)


def link(client, made, name):
    """The link that makes a client add this entry; None for a client that has none."""
    from base64 import b64encode
    from urllib.parse import quote
    values = {"name": name, "config": quote(b64encode(json.dumps(made).encode()).decode(), safe=""),
              "json": quote(json.dumps(dict({"name": name}, **made)), safe="")}
    return CLIENTS[client].link and CLIENTS[client].link.format(**values)


def write(client, made, name):
    """Put the entry into the client's own file; what else is in it stays. (path, path of a copy of how it was, or
    None); ValueError says why nothing was written; OSError."""
    path, before, kept = os.path.realpath(place(client)), "", None
    if not os.path.isdir(os.path.dirname(path)):
        raise ValueError("%s is not there: is %s installed for this user?" % (os.path.dirname(path), client))
    there = os.path.exists(path)
    if there:
        with open(path, encoding="utf-8") as stream:
            before = stream.read()
    text, new = _merged(client, before, made, name, path), path + ".new"
    if there:
        kept = path + time.strftime(".%Y%m%d-%H%M%S.bak")
        shutil.copy2(path, kept)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    if kept:
        shutil.copymode(kept, new)
    os.replace(new, path)
    return path, kept


def _merged(client, before, made, name, path):
    """The text of a client's file with the entry put in; ValueError for one that cannot be read for sure."""
    by_hand = "%s %s. Nothing was written; put it in by hand (the same without --write prints it)."
    if CLIENTS[client].key is None:
        if re.search(r"(?m)^\s*\[\s*mcp_servers\s*\.\s*\"?%s\"?\s*[.\]]" % re.escape(name), before):
            raise ValueError(by_hand % (path, "has an entry [mcp_servers.%s] already" % name))
        text = (before.rstrip() + "\n\n" + configuration(client, made, name)).lstrip()
        with suppress(ImportError):                     # before Python 3.11 nobody looks
            from importlib import import_module
            try:
                import_module("tomllib").loads(text)
            except ValueError as error:
                raise ValueError(by_hand % (path, "cannot be read as TOML (%s)" % error)) from None
        return text
    try:
        data = json.loads(before) if before.strip() else {}
    except ValueError as error:                         # VS Code and Zed allow comments, which would be lost
        raise ValueError(by_hand % (path, "cannot be read as JSON (%s)" % error)) from None
    servers = data.setdefault(CLIENTS[client].key, {}) if isinstance(data, dict) else None
    if not isinstance(servers, dict):
        raise ValueError(by_hand % (path, "is not an object with an object %r in it" % CLIENTS[client].key))
    servers[name] = made
    return json.dumps(data, indent=2, ensure_ascii=False)
