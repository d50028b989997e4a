"""The bundle for Claude Desktop; the .pyz is in test_cli."""
import hashlib
import json
import os
import subprocess
import sys
import threading
import types
import zipfile

import pytest

import proxmox_mcp
from tools.mcp import cli, pack
from tools.policy.settings import SettingsError, load

PROGRAM = os.path.abspath(proxmox_mcp.__file__)
INITIALIZE = (b'{"jsonrpc":"2.0","id":1,"method":"initialize",'
              b'"params":{"protocolVersion":"2025-06-18","capabilities":{}}}\n')
FILLED = {"host": "127.0.0.1", "token_name": "mcp", "token_value": "11111111-2222-3333-4444-555555555555"}


def run(*arguments):
    return cli.run(list(arguments), "1.2.3", PROGRAM)


def manifest_of(path):
    with zipfile.ZipFile(str(path)) as archive:
        return json.loads(archive.read("manifest.json").decode("utf-8"))


def filled(text, folder, form, values):
    """What a client makes of a text of mcp_config: defaults count, what has neither default nor value stays."""
    known = {name: entry["default"] for name, entry in form.items() if "default" in entry}
    for name, value in dict(known, **values).items():
        text = text.replace("${user_config.%s}" % name, str(value).lower() if value in (True, False) else value)
    return text.replace("${__dirname}", folder)


def answer(path, folder, values):
    """What the unpacked bundle, started as its manifest says, answers to initialize."""
    with zipfile.ZipFile(str(path)) as archive:
        archive.extractall(str(folder))
    made = manifest_of(path)
    start = made["server"]["mcp_config"]
    arguments, env = ([filled(one, str(folder), made["user_config"], values) for one in start["args"]],
                      {name: filled(one, str(folder), made["user_config"], values)
                       for name, one in start["env"].items()})
    done = subprocess.run([sys.executable] + arguments, input=INITIALIZE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=dict(env, PATH=os.environ.get("PATH", "")), timeout=60)
    assert done.stderr == b"" and done.returncode == 0
    return json.loads(done.stdout.decode("utf-8"))["result"]


@pytest.mark.parametrize("demo", [False, True])
def test_the_bundle_is_the_same_every_time_and_holds_the_pyz_and_a_manifest(demo, tmp_path, capsys):
    path = tmp_path / "x.mcpb"
    assert run("pack", str(path), *["--demo"] * demo) == 0
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().out == "%s  %s\n" % (digest, path)
    assert hashlib.sha256(pack.bundled(PROGRAM, "1.2.3", demo)).hexdigest() == digest
    with zipfile.ZipFile(str(path)) as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert {name: archive.read(name) for name in names if name != "manifest.json"} == {
            "server/" + name.replace("__main__", "proxmox_mcp"): data
            for name, data in pack.sources(PROGRAM, demo).items()}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_manifest_asks_for_what_the_server_needs():
    made = pack.manifest("1.2.3")
    assert (made["manifest_version"], made["name"], made["version"], made["license"]) == (
        "0.3", "proxmox-mcp", "1.2.3", "MIT")
    assert made["server"]["mcp_config"] == {
        "command": "python3", "args": ["-I", "${__dirname}/server/proxmox_mcp.py"],
        "platform_overrides": {"win32": {"command": "python"}},
        "env": {"PROXMOX_" + name.upper(): "${user_config.%s}" % name for name in (
            "host", "user", "token_name", "token_value", "certificate", "allow_elevated")}}
    form = made["user_config"]
    assert {name for name in form if form[name]["required"]} == {"host", "token_name", "token_value"}
    assert [name for name in form if form[name].get("sensitive")] == ["token_value"]
    assert {name: entry["default"] for name, entry in form.items() if not entry["required"]} == {
        "user": "root@pam", "certificate": "", "allow_elevated": False}
    assert all(entry["title"] and entry["description"] for entry in form.values())


@pytest.mark.parametrize("demo", [False, True])
def test_the_unpacked_bundle_starts_with_the_optional_fields_left_empty(demo, tmp_path):
    path = tmp_path / "x.mcpb"
    run("pack", str(path), *["--demo"] * demo)
    said = answer(path, tmp_path / "un packed", FILLED)
    assert said["serverInfo"]["name"] == "proxmox-mcp"


def test_a_field_left_empty_is_not_set():
    """Some clients pass on the placeholder in spite of the default."""
    given = {"PROXMOX_" + name.upper(): FILLED.get(name, "${user_config.%s}" % name) for name in pack._FORM}
    settings = load(given)
    assert (settings.user, settings.certificate, settings.allow_elevated) == ("root@pam", None, False)
    for name, value in (("ALLOW_ELEVATED", "${user_config.other}"), ("HOST", "${user_config.host}"),
                        ("READ_ONLY", "${user_config.read_only}")):
        with pytest.raises(SettingsError, match="PROXMOX_%s is still a placeholder" % name):
            load(dict(given, **{"PROXMOX_" + name: value}))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A stand-in for site-packages: {name: (requires, {path: text})}."""
    def install(**packages):
        for name, (requires, files) in packages.items():
            info = "%s-1.0.dist-info" % name
            files = dict(files, **{info + "/METADATA": "Name: %s\nVersion: 1.0\nRequires-Python: >=3.10\n%s" % (
                name, "".join("Requires-Dist: %s\n" % one for one in requires)), info + "/LICENSE": "free"})
            files[info + "/RECORD"] = "".join("%s,,\n" % path for path in files)
            for path, text in files.items():
                (tmp_path / "site" / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "site" / path).write_text(text)
        own = [path for path in sys.path if not path.endswith("-packages")]     # the standard library stays
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *own])
    return install


WHOLE = {"requests": (["urllib3<3", "certifi>=2017", "idna<4", "PySocks; extra == 'socks'"],
                      {"requests/__init__.py": "", "requests/fast.so": "x"}),
         "urllib3": ([], {"urllib3/__init__.py": ""}), "idna": ([], {"idna/__init__.py": ""}),
         "certifi": ([], {"certifi/__init__.py": "", "certifi/cacert.pem": "-----"})}


def test_requests_and_what_it_needs_come_along_as_pure_python(installed):
    installed(**WHOLE)
    files, python = pack._requests()
    assert python == 10 and sorted(files) == [
        "certifi-1.0.dist-info/LICENSE", "certifi/__init__.py", "certifi/cacert.pem", "idna-1.0.dist-info/LICENSE",
        "idna/__init__.py", "requests-1.0.dist-info/LICENSE", "requests/__init__.py", "urllib3-1.0.dist-info/LICENSE",
        "urllib3/__init__.py"]


@pytest.mark.parametrize("without, words", [("certifi", "certifi"), ("idna", "idna")])
def test_a_bundle_without_all_of_requests_is_not_written(without, words, installed, tmp_path, capsys):
    installed(**{name: package for name, package in WHOLE.items() if name != without})
    assert run("pack", str(tmp_path / "x.mcpb"), "--with-requests") == 1
    said = capsys.readouterr()
    assert "Nothing was written" in said.err and words in said.err and said.out == ""
    assert not (tmp_path / "x.mcpb").exists()


def test_an_option_of_the_bundle_is_refused_for_a_pyz(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("pack", "x.pyz", "--with-requests") == 2 and not os.listdir(str(tmp_path))
    assert "Nothing was written" in capsys.readouterr().err


def test_a_thread_waits_for_a_module_of_an_archive_that_another_one_is_importing(tmp_path, monkeypatch):
    held = types.ModuleType("held_back")
    held.begun, held.go = threading.Event(), threading.Event()
    monkeypatch.setitem(sys.modules, "held_back", held)
    with zipfile.ZipFile(str(tmp_path / "slow.pyz"), "w") as archive:
        archive.writestr("slow_one.py", "import held_back\nheld_back.begun.set()\nheld_back.go.wait(10)\nmade = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "slow.pyz"))
    found = []

    def take():
        from slow_one import made
        found.append(made)
    threads = [threading.Thread(target=take) for _ in range(2)]
    threads[0].start()
    assert held.begun.wait(10)
    threads[1].start()
    threads[1].join(0.1)                                # it would have ended at once, with half a module
    held.go.set()
    for thread in threads:
        thread.join(10)
    assert found == [1, 1]
