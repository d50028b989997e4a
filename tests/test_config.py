"""`config`: what goes into each client's configuration, printed, as a link, or put into the client's own file."""
import base64
import json
import os
import stat
import subprocess
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from test_cli import PROGRAM, run
from tools.mcp import config

CLIENTS = sorted(config.CLIENTS)
SET = {"PROXMOX_HOST": "pve9", "PROXMOX_TOKEN_NAME": "ai", "PROXMOX_TOKEN_VALUE": "canary-value"}


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """The home directory, in which every client has its own."""
    for name in [name for name in os.environ if name.startswith(("PROXMOX_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for client in CLIENTS:
        os.makedirs(os.path.dirname(config.place(client)), exist_ok=True)
    return tmp_path


def text(client, environ, name="proxmox", **more):
    return config.configuration(client, config.entry(client, PROGRAM, environ, **more)[0], name)


@pytest.mark.parametrize("client", CLIENTS)
def test_it_holds_no_secret_unless_asked(client):
    said = text(client, SET)
    assert "canary-value" not in said and "pve9" in said and PROGRAM in said
    assert "canary-value" in text(client, SET, with_secret=True)


@pytest.mark.parametrize("client", ["cursor", "opencode"])
def test_its_command_runs_here(client):
    (servers,) = json.loads(text(client, SET)).values()
    words = servers["proxmox"]["command"]
    words = words if isinstance(words, list) else [words] + servers["proxmox"]["args"]
    assert subprocess.run(words + ["--version"], stdout=subprocess.DEVNULL, timeout=60).returncode == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_second_cluster_is_an_entry_of_another_name(client):
    said = text(client, SET, name="lab")
    assert ("[mcp_servers.lab.env]" if client == "codex" else '"lab": {') in said and "proxmox]" not in said


def test_files_are_absolute():
    """A client starts the program in a directory of its own choice."""
    env = config.entry("cursor", PROGRAM, {"PROXMOX_TOKEN_FILE": "token", "PROXMOX_CERTIFICATE": "/ca.pem",
                                           "PROXMOX_AUDIT_LOG": "/var/log/audit", "PROXMOX_HOST": "pve9"})[0]["env"]
    assert env["PROXMOX_TOKEN_FILE"] == os.path.join(os.getcwd(), "token")
    assert env["PROXMOX_CERTIFICATE"] == "/ca.pem"
    assert (env["PROXMOX_AUDIT_LOG"], env["PROXMOX_HOST"]) == ("/var/log/audit", "pve9")


def test_a_variable_of_version_1_is_not_left_out_without_a_word(monkeypatch, capsys):
    assert '"PROXMOX_TOOLS": "all,-start_*"' in text("cursor", dict(SET, PROXMOX_DISABLED_TOOLS="start_*"))
    monkeypatch.setenv("PROXMOX_SSH_HOST_KEY_FINGERPRINT", "SHA256:" + "A" * 43)
    assert run("config", "cursor") == 2
    said = capsys.readouterr()
    assert "PROXMOX_SSH_HOST_KEY_FINGERPRINT became PROXMOX_SSH: unset it, or write" in said.err and said.out == ""


def test_variables_of_other_programs_are_left_out():
    said = text("cursor", dict(SET, PROXMOX_PASSWORD="canary-value", PROXMOX_VE_API_TOKEN="canary-value"))
    assert "PROXMOX_PASSWORD" not in said and "canary" not in said


@pytest.mark.parametrize("environ, arguments, missing", [
    ({}, [], ["PROXMOX_HOST", "PROXMOX_TOKEN_NAME", "PROXMOX_TOKEN_VALUE"]),
    (SET, [], ["PROXMOX_TOKEN_VALUE (--with-secret"]), (SET, ["--with-secret"], []), ({}, ["--demo"], []),
    ({"PROXMOX_HOST": "pve9", "PROXMOX_TOKEN_NAME": "ai", "PROXMOX_TOKEN_FILE": "/t"}, [], [])])
def test_what_could_not_be_filled_in_is_said(environ, arguments, missing, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run("config", "cursor", *arguments) == 0
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("To be filled in") == bool(missing) and all(name in last for name in missing)
    assert json.loads(captured.out) and "canary" not in captured.err


# ---------------------------------------------------------------------------------------------------------------- links

@pytest.mark.parametrize("client", ["cursor", "lm-studio"])
def test_a_link_holds_name_and_entry(client):
    made = config.entry(client, PROGRAM, SET)[0]
    found = parse_qs(urlsplit(config.link(client, made, "lab")).query)
    assert found["name"] == ["lab"] and json.loads(base64.b64decode(found["config"][0])) == made


def test_a_link_for_vs_code(capsys):
    assert run("config", "vscode", "--link", "--demo") == 0
    scheme, _, rest = capsys.readouterr().out.strip().partition("?")
    found = json.loads(unquote(rest))
    assert scheme == "vscode:mcp/install" and found["name"] == "proxmox" and found["args"][-1] == "--demo"
    assert run("config", "zed", "--link") == 2 and "cursor, lm-studio, vscode" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------------- --write

@pytest.mark.parametrize("client", CLIENTS)
def test_the_file_of_each_client_is_written(client, capsys):
    path = config.place(client)
    assert run("config", client, "--write", "--demo") == 0
    assert path in capsys.readouterr().out and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as stream:
        written = stream.read()
    assert written == text(client, {}, demo=True) + "\n" and os.listdir(os.path.dirname(path)).count(
        os.path.basename(path)) == 1
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.endswith((".bak", ".new"))]


def test_what_else_is_in_the_file_stays_and_it_is_kept_as_it_was(capsys):
    path = config.place("cursor")
    before = '{"theme": "d\u00fcster", "mcpServers": {"other": {"command": "x"}, "proxmox": {"command": "old"}}}'
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(before)
    os.chmod(path, 0o640)
    assert run("config", "cursor", "--write", "--demo") == 0
    with open(path, encoding="utf-8") as stream:
        after = json.load(stream)
    assert list(after) == ["theme", "mcpServers"] and after["theme"] == "d\u00fcster"
    assert after["mcpServers"]["other"] == {"command": "x"}
    assert after["mcpServers"]["proxmox"] == config.entry("cursor", PROGRAM, {}, demo=True)[0]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    kept = capsys.readouterr().out.strip().split("As it was: ")[1]
    with open(kept, encoding="utf-8") as stream:
        assert stream.read() == before
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o640


def test_a_link_to_the_file_stays_one(home):
    real = home / "dotfiles.json"
    real.write_text("{}")
    os.symlink(str(real), config.place("cursor"))
    assert run("config", "cursor", "--write", "--demo") == 0
    assert os.path.islink(config.place("cursor")) and "proxmox" in real.read_text()


@pytest.mark.parametrize("client, before, says", [
    ("zed", '{\n  // comments are allowed here\n  "theme": "x",\n}', "cannot be read as JSON"),
    ("cursor", "[]", "is not an object"), ("cursor", '{"mcpServers": []}', "is not an object"),
    ("cursor", '{"a": "\udcff"}', "utf-8"), ("codex", '[mcp_servers.proxmox]\ncommand = "x"', "has an entry"),
    ("codex", '[ mcp_servers . "proxmox" . env ]', "has an entry")])
def test_a_file_that_cannot_be_read_for_sure_is_left_alone(client, before, says, capsys):
    path = config.place(client)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(before)
    assert run("config", client, "--write", "--demo") == 1
    assert says in capsys.readouterr().err
    with open(path, encoding="utf-8", errors="surrogateescape") as stream:
        assert stream.read() == before
    assert os.listdir(os.path.dirname(path)).count(os.path.basename(path)) == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TOML")
def test_a_broken_toml_file_is_left_alone(capsys):
    with open(config.place("codex"), "w") as stream:
        stream.write("model = [")
    assert run("config", "codex", "--write", "--demo") == 1 and "cannot be read as TOML" in capsys.readouterr().err


def test_a_toml_file_keeps_what_it_has():
    with open(config.place("codex"), "w") as stream:
        stream.write('model = "x"  # mine\n\n[mcp_servers.other]\ncommand = "y"\n')
    assert run("config", "codex", "--write", "--demo") == 0
    with open(config.place("codex")) as stream:
        written = stream.read()
    assert written.startswith('model = "x"  # mine\n\n[mcp_servers.other]\ncommand = "y"\n\n[mcp_servers.proxmox]\n')


def test_a_client_that_is_not_there_is_said(home, capsys):
    os.rmdir(os.path.dirname(config.place("windsurf")))
    assert run("config", "windsurf", "--write") == 1
    captured = capsys.readouterr()
    assert "is windsurf installed for this user?" in captured.err and captured.out == ""
