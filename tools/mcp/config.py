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
    "claude-code": (".mcp.json in the project", "mcpServers", {"type": "stdio"}),
    "vscode": (".vscode/mcp.json, or the user's mcp.json (command: MCP: Open User Configuration)", "servers",
               {"type": "stdio"}),
    "cursor": ("~/.cursor/mcp.json, or .cursor/mcp.json in the project", "mcpServers", {}),
    "windsurf": ("~/.codeium/windsurf/mcp_config.json", "mcpServers", {}),
    "cline": ("cline_mcp_settings.json (MCP Servers > Configure)", "mcpServers", {}),
    "zed": ("settings.json", "context_servers", {"source": "custom"}),
    "gemini-cli": ("~/.gemini/settings.json", "mcpServers", {}),
    "lm-studio": ("mcp.json (Program > Install > Edit mcp.json)", "mcpServers", {}),
    "opencode": ("opencode.json in the project, or ~/.config/opencode/opencode.json", "mcp", {"type": "local"}),
    "codex": ("~/.codex/config.toml", None, {}),
}
#: What every entry sets, with what stands there until the admin fills it in.
PLACEHOLDERS = (("PROXMOX_HOST", "192.168.1.10"), ("PROXMOX_USER", "root@pam"), ("PROXMOX_TOKEN_NAME", "mcp"),
                ("PROXMOX_TOKEN_VALUE", "the token's value"))
#: Absolute in a configuration: a client starts the program in a directory of its own choice.
FILES = ("PROXMOX_TOKEN_FILE", "PROXMOX_CA_FILE", "PROXMOX_STATE_DIR", "PROXMOX_AUDIT_LOG", "PROXMOX_SSH_KEY_PATH")


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
            found[name] = os.path.abspath(os.path.expanduser(environ[name])) if name in FILES and environ[
                name] else environ[name]
    if found.get("PROXMOX_TOKEN_FILE"):
        del found["PROXMOX_TOKEN_VALUE"]
    elif not with_secret:
        found["PROXMOX_TOKEN_VALUE"] = dict(PLACEHOLDERS)["PROXMOX_TOKEN_VALUE"]
    return found


def configuration(client, program, environ, demo=False, with_secret=False, name="proxmox"):
    """(where it goes, text) for one of CLIENTS. name: of the entry; one for each cluster."""
    where, key, extra = CLIENTS[client]
    words = command(program) + (["--demo"] if demo else [])
    env = environment(environ, demo, with_secret)
    if client == "codex":
        lines = ["[mcp_servers.%s]" % name, "command = %s" % json.dumps(words[0]), "args = %s" % json.dumps(words[1:])]
        if env:
            lines += ["", "[mcp_servers.%s.env]" % name]
            lines += ["%s = %s" % (variable, json.dumps(value)) for variable, value in env.items()]
        return where, "\n".join(lines)
    entry = dict(extra, command=words) if client == "opencode" else dict(extra, command=words[0], args=words[1:])
    if env:
        entry["environment" if client == "opencode" else "env"] = env
    return where, json.dumps({key: {name: entry}}, indent=2, ensure_ascii=False)
