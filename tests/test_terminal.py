"""The command line as a person and a script meet it: help, exit statuses, JSON, tables that fit, progress, Ctrl-C."""
import io
import json
import os
import re
import sys

import pytest

import tools
from support import Bench, each
from terminal import Terminal
from test_cli import run
from tools.mcp import cli, config, terminal, usage
from tools.pve import text


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROXMOX_") or name in ("COLUMNS", "NO_COLOR")]:
        monkeypatch.delenv(name)


@pytest.fixture
def screen(monkeypatch):
    """Makes stdout (and stderr) a terminal of so many columns; the text that came out of it is .getvalue()."""
    def made(columns=80, **environ):
        for name, value in dict({"COLUMNS": str(columns), "TERM": "xterm"}, **environ).items():
            monkeypatch.setenv(name, value)
        out, err = io.StringIO(), io.StringIO()
        out.isatty = err.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err
    return made


def bare(shown):
    """What is seen of a text with colours."""
    return re.sub("\x1b\\[[0-9]*m", "", shown)


# ------------------------------------------------------------------------------------------------- help, list of tools

@pytest.mark.parametrize("words", [["call", "create_snapshot_vm", "--help"], ["call", "create_snapshot_vm", "-h"],
                                   ["call", "--help", "proxmox_create_snapshot_vm"]])
def test_a_tool_tells_its_arguments_without_any_setting(words, capsys):
    assert run(*words) == 0
    said = capsys.readouterr().out
    for line in ("  vmid         required; whole number; a guest's number", "  snapname     required; text;",
                 "  wait         whole number from 0 to 3600; seconds to follow", "  vmstate      true or false",
                 "Sends: POST /nodes/{node}/qemu/{vmid}/snapshot", "ELEVATED=true"):
        assert line in said


def test_help_of_call_itself_and_of_no_such_tool(capsys):
    assert run("call", "--help") == 0 and "key=value" in capsys.readouterr().out
    assert run("call", "start_wm", "--help") == 2 and "did you mean proxmox_start_vm?" in capsys.readouterr().err
    assert run("call") == 2 and "call TOOL --help" in capsys.readouterr().err


@each("entry", tools.surface())
def test_the_help_names_every_argument(entry):
    said, tool = usage.tool_help(entry, 79), tools.find(entry)
    for name in tool.args.__dataclass_fields__:
        assert "\n  %s " % name in said
    assert max(map(len, said.split("\nSends")[0].split("\n"))) < 80


@pytest.mark.parametrize("environ, names, says", [
    ({}, {entry["name"] for entry in tools.surface()}, "are refused without PROXMOX_ALLOW_ELEVATED=true"),
    ({"PROXMOX_TOOLS": "snapshots", "PROXMOX_ALLOW_ELEVATED": "true"},
     {entry["name"] for entry in tools.surface() if entry["toolset"] == "snapshots"}, "hidden by PROXMOX_TOOLS."),
    ({"PROXMOX_READ_ONLY": "true"}, {entry["name"] for entry in tools.surface() if not entry["changes"]},
     "hidden by PROXMOX_READ_ONLY"), ({"PROXMOX_TOOLS": "get_vms"}, {"proxmox_get_vms"}, "1 of ")])
def test_the_list_of_tools_is_that_of_the_settings(environ, names, says, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run("tools") == 0
    captured = capsys.readouterr()
    assert {line.split()[0] for line in captured.out.splitlines()} == names and says in captured.err


def test_the_list_of_tools_shows_arguments(capsys, screen):
    run("tools")
    assert re.search(r"^proxmox_create_snapshot_vm +elevated +POST \S+  vmid snapname \[description\]",
                     capsys.readouterr().out, re.M)
    out, _ = screen()
    run("tools")
    assert "vmid snapname [" in out.getvalue() and max(map(len, out.getvalue().split("\n"))) < 80


# -------------------------------------------------------------------------------------------------- exit statuses, JSON

ENDS = [
    (0, "done", {}, "get_nodes"), (1, "failed", {}, "get_vm_status vmid=999"), (2, "usage", {}, "get_vm_status vmid=x"),
    (2, "usage", {}, "get_vm_statsu vmid=100"), (2, "usage", {}, "get_nodes pve1"), (2, "usage", {}, "get_nodes --no"),
    (2, "usage", {"PROXMOX_PORT": "x", "PROXMOX_RATE_LIMIT": "x"}, "get_nodes"),
    (3, "refused", {"PROXMOX_ALLOW_ELEVATED": "false"}, "start_vm vmid=107"),
    (3, "refused", {"PROXMOX_ALLOWED_GUESTS": "100"}, "start_vm vmid=107"), (4, "declined", {}, "delete_vm vmid=107"),
    (5, "running", {}, "create_backup_vm vmid=100 storage=nas wait=0"),
    (5, "running", {}, "start_vm vmid=107 wait=0"),
    (6, "command", {}, "execute_vm_command vmid=100 command=false")]


@pytest.mark.parametrize("status, outcome, environ, words", ENDS)
def test_the_exit_status_says_what_it_came_to_and_json_is_json(status, outcome, environ, words, monkeypatch, capsys):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    assert run("--demo", "call", *words.split()) == status == cli.EXIT[outcome]
    capsys.readouterr()
    assert run("--demo", "call", *words.split(), "--json") == status
    found = json.loads(capsys.readouterr().out)
    if status in (0, 5, 6):
        assert "error" not in found
    else:
        assert (found["exit"], found["outcome"]) == (status, outcome) and found["error"]


@pytest.mark.parametrize("words", ["check --json", "audit nowhere --json", "call get_vms --json", "check --json --w"])
def test_what_ends_a_command_early_is_json_too(words, capsys):
    assert run(*words.split()) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"].strip() == captured.err.strip() != ""


def test_a_task_that_failed_is_no_success():
    bench = Bench()
    task = bench.cluster.world.tasks.past("pve2", kind="vzdump", ident="101", user="root@pam", ago=9, seconds=2,
                                          status="job errors")
    answer = bench.run("proxmox_get_task", upid=task.upid)
    assert not answer.failed and cli.EXIT[answer.outcome] == 1
    assert cli.EXIT[Bench().run("proxmox_get_vm_status", vmid=100).outcome] == 0


def test_the_readme_has_the_exit_statuses():
    with open(os.path.join(os.path.dirname(cli.__file__), "..", "..", "README.md"), encoding="utf-8") as stream:
        readme = stream.read()
    told = re.search(r"Exit status.*?\n\n", readme, re.S).group()
    assert {int(one) for one in re.findall(r"\*\*(\d+)\*\*", told)} == set(cli.EXIT.values())


# -------------------------------------------------------------------------------------------------------------- tables

LISTS = ["get_vms", "get_nodes", "get_storage", "list_tasks", "list_backup_jobs", "get_ha_status",
         "list_pools", "list_updates node=pve1",
         "get_node_disks node=pve1", "get_node_network node=pve1", "list_backups node=pve1", "get_node_lvm node=pve1",
         "get_permissions", "list_storage_content node=pve1 storage=local"]


@pytest.mark.parametrize("columns", [60, 80, 132])
@pytest.mark.parametrize("words", LISTS)
def test_a_table_fits_the_terminal(words, columns, screen, monkeypatch):
    out, _ = screen(columns)
    table, made = text.table, []
    monkeypatch.setattr(text, "table", lambda *given: made.append(table(*given)) or made[-1])
    assert run("--demo", "call", *words.split()) == 0
    lines = bare(out.getvalue()).split("\n")
    assert max(map(len, lines)) < columns and len(lines) > 2
    rows = {row for table in made if "\n" in table for row in table.split("\n") if not row.startswith("(no room")}
    assert rows and rows <= set(lines)                  # nothing in them is folded again


def test_what_there_is_no_room_for_is_named_and_a_pipe_gets_everything(screen, capsys):
    run("--demo", "call", "get_vms")
    everything = capsys.readouterr().out
    assert re.search(r"VMID .* UPTIME +TAGS +POOL", everything) and "no room" not in everything
    assert "\x1b" not in everything
    out, _ = screen()
    run("--demo", "call", "get_vms")
    said = bare(out.getvalue())
    assert re.search(r"^VMID +NAME +TYPE +STATUS +NODE +CPU", said, re.M)
    assert re.search(r"^\(no room for: .*TAGS, POOL", said, re.M)


def test_sentences_are_folded_within_their_column():
    columns = [text.Column("a"), text.Column("b", kind="long"), text.Column("c")]
    text.SCREEN, row = 40, {"a": "x" * 10, "b": "one two three four five six seven", "c": "id"}
    assert text.table(columns, [row]).split("\n") == [
        "A           B", "xxxxxxxxxx  one two three four five six", "            seven", "(no room for: C)"]


def test_colour_on_a_terminal_only_unless_no_color(screen):
    for environ, painted in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True),
                             ({"TERM": "dumb"}, False)):
        out, _ = screen(**environ)
        run("--demo", "call", "get_nodes")
        assert ("\x1b[32m\u2705\x1b[0m 3 nodes" in out.getvalue()) is painted is ("\x1b" in out.getvalue())


def test_a_long_line_goes_on_below_what_it_belongs_to(screen):
    screen(60, NO_COLOR="1")
    assert [line.index(next(filter(str.isalnum, line))) for line in terminal.shown(
        "       privileges  " + "word " * 20).split("\n")] == [7, 19, 19]
    assert terminal.shown("sentence " * 10).split("\n")[1].startswith("  sentence")


def test_what_a_guest_says_is_neither_folded_nor_painted(screen):
    screen()
    line = "| NODE  STATUS " + "x y " * 50
    assert terminal.shown(line) == line


# ---------------------------------------------------------------------------------------------------- progress, Ctrl-C

def test_progress_is_one_line_on_a_terminal(screen):
    _, err = screen()
    now = [0.0]
    person = terminal.Person(clock=lambda: now[0])
    now[0] = 4.2
    person.progress(42.0, "status of " + "x" * 100)
    person.progress(None, "done")
    person.clear()
    first, second, third = err.getvalue().split("\r")[1:4]
    assert first.startswith("4 s  42 %  status of xxx") and len(first) == 77
    assert second.rstrip() == "4 s  done" and len(second) == 77 and third.strip() == ""


def test_no_progress_in_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    person = terminal.Person()
    person.progress(None, "the command runs in VM 100")     # a wait tells of itself whoever listens
    assert person.wants_progress is False and sys.stderr.getvalue() == ""


def stopped(tool, at=None, **arguments):
    """The Answer of a call that Ctrl-C ends at its first wait, or at its first request whose line has `at` in it."""
    bench = Bench()

    def interrupt(*_):
        raise KeyboardInterrupt
    if at is None:
        bench.host.sleep = interrupt
    else:
        handle = bench.cluster.handle
        bench.cluster.handle = lambda verb, path, *rest: interrupt() if at in "%s %s" % (verb, path) else handle(
            verb, path, *rest)
    return bench.run(tool, **arguments)


@pytest.mark.parametrize("tool, at, arguments, says", [
    ("proxmox_start_vm", "GET /api2/json/cluster/resources", {"vmid": 107}, "Nothing was sent."),
    ("proxmox_start_vm", "POST ", {"vmid": 107}, "Whether it took effect is not known"),
    ("proxmox_create_backup_vm", None, {"vmid": 100, "storage": "nas"},
     "The task goes on in Proxmox: UPID:pve1:"), ("proxmox_get_vms", "GET ", {}, "Nothing was changed."),
    ("proxmox_get_task", "GET ", {"upid": "UPID:pve1:00001234:0000ABCD:65000000:qmstart:100:root@pam:"},
     "Nothing was changed.")])
def test_ctrl_c_says_what_is_true(tool, at, arguments, says):
    answer = stopped(tool, at, **arguments)
    assert answer.outcome == "interrupted" and cli.EXIT["interrupted"] == 130
    assert "was interrupted" in answer.text and says in answer.text
    assert ("proxmox_cancel_task" in answer.text) == ("UPID" in says)


@pytest.mark.parametrize("words", ["check", "--demo check --json", "config cursor", "tools"])
def test_ctrl_c_elsewhere_is_no_traceback(words, monkeypatch, capsys):
    def interrupt(*_, **more):
        raise KeyboardInterrupt
    monkeypatch.setattr(cli, "settings_of", interrupt)
    monkeypatch.setattr(config, "entry", interrupt)
    assert run(*words.split()) == 130
    captured = capsys.readouterr()
    assert captured.err == "Interrupted.\n"
    assert "--json" not in words or json.loads(captured.out)["outcome"] == "interrupted"


def test_a_backup_with_ctrl_c_and_the_question_in_a_terminal():
    seen = Terminal("--demo", "call", "create_backup_vm", "vmid=100", "storage=nas", "wait=60")
    asked = Terminal("--demo", "call", "delete_vm", "vmid=107")
    asked.until("[y/N] ")
    asked.type("n\n")
    assert "was not confirmed" in asked.until("Nothing was sent") and asked.end() == 4
    seen.until("% (")
    seen.type("\x03")
    said = seen.until("stops it")
    assert seen.end() == 130 and "The task goes on in Proxmox: UPID:pve1:" in " ".join(bare(said).split())
    assert "Traceback" not in seen.all and "create_backup_vm" not in bare(seen.all)
