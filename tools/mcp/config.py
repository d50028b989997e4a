"""`proxmox-mcp config CLIENT`: ready configuration for an MCP client, with the absolute command that runs here."""
import json
import os
import shutil
import sys

from tools.mcp.pack import archive_of

#: client -> (where its configuration stands, the key that holds the servers, what an entry has beside command, args and
#: env)
CLIENTS = {
    "claude-desktop": ("claude_desktop_config.json (Settings > Developer > Edit Config)", "mcpServers", {}),
    "claude-code": (".mcp.json in the project, or the command below", "mcpServers", {"type": "stdio"}),
    "vscode": (".vscode/mcp.json, or the user's mcp.json (command: MCP: Open User Configuration)", "servers",
               {"type": "stdio"}),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json in the project", "mcpServers", {}),
    "windsurf": ("~/.codeium/windsurf/mcp_config.json", "mcpServers", {}),
    "cline": ("cline_mcp_settings.json (MCP Servers > Configure)", "mcpServers", {}),
    "zed": ("settings.json", "context_servers", {"source": "custom"}),
    "gemini-cli": ("~/.gemini/settings.json", "mcpServers", {}),
    "codex": ("~/.codex/config.toml", None, {}),
}
#: What every entry sets, with what stands there until the admin fills it in.
PLACEHOLDERS = (("PROXMOX_HOST", "192.168.1.10"), ("PROXMOX_USER", "root@pam"), ("PROXMOX_TOKEN_NAME", "mcp"),
                ("PROXMOX_TOKEN_VALUE", "the token's value"))


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


def environment(environ, demo, with_secret):
    """The variables of the entry: those set here, placeholders for required ones; the secret only when asked for."""
    if demo:
        return {}
    found = {name: environ.get(name) or example for name, example in PLACEHOLDERS}
    for name in sorted(environ):
        if name.startswith("PROXMOX_"):
            found[name] = environ[name]
    if found.get("PROXMOX_TOKEN_FILE"):
        del found["PROXMOX_TOKEN_VALUE"]
    elif not with_secret:
        found["PROXMOX_TOKEN_VALUE"] = dict(PLACEHOLDERS)["PROXMOX_TOKEN_VALUE"]
    return found


def configuration(client, program, environ, demo=False, with_secret=False):
    """(where it goes, text) for one of CLIENTS."""
    where, key, extra = CLIENTS[client]
    words = command(program) + (["--demo"] if demo else [])
    env = environment(environ, demo, with_secret)
    if client == "codex":
        lines = ["[mcp_servers.proxmox]", "command = %s" % json.dumps(words[0]), "args = %s" % json.dumps(words[1:])]
        if env:
            lines += ["", "[mcp_servers.proxmox.env]"]
            lines += ["%s = %s" % (name, json.dumps(value)) for name, value in env.items()]
        return where, "\n".join(lines)
    entry = dict(extra, command=words[0], args=words[1:])
    if env:
        entry["env"] = env
    return where, json.dumps({key: {"proxmox": entry}}, indent=2, ensure_ascii=False)
