"""`completion`: what bash, zsh and fish make of the scripts, asked in the shells themselves."""
import shutil
import subprocess

import pytest

import tools
from test_cli import run
from tools.mcp import cli

#: What is typed -> what is offered first; and some of all that is.
TYPED = [
    ("proxmox-mcp ch", {"check"}), ("proxmox-mcp ", set(cli.COMMANDS)),
    ("proxmox-mcp --demo co", {"config", "completion"}),
    ("proxmox-mcp call create_sn", {"create_snapshot_vm", "create_snapshot_lxc"}),
    ("proxmox-mcp call get_vms na", {"name="}), ("proxmox-mcp call proxmox_start_vm w", {"wait="}),
    ("proxmox-mcp call get_vms --j", {"--json"}), ("proxmox-mcp call get_node_d", {"get_node_disks", "get_node_dns",
                                                                                     "get_node_disk_smart"}),
    ("proxmox-mcp config zed --wr", {"--write"}), ("proxmox-mcp config cur", {"cursor"}),
    ("proxmox-mcp completion f", {"fish"}), ("proxmox-mcp call get_vms ty", {"type=qemu", "type=lxc", "type=all"})]


def offered(shell, line, capsys):
    """What a shell offers for a line that was typed."""
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    ask = {"bash": '_words() { COMP_LINE="$1" COMP_POINT=${#1}; _proxmox_mcp; printf "%%s\\n" "${COMPREPLY[@]}"; }\n'
                   "_words '%s'\n", "fish": "complete -C '%s'\n"}[shell] % line
    done = subprocess.run([shell, "--noprofile", "--norc"] if shell == "bash" else [shell, "--no-config"],
                          input=(script + ask).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.stderr == b"", done.stderr
    return {row.split("\t")[0].rstrip(" ") for row in done.stdout.decode().splitlines() if row}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize("line, words", TYPED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_shell_offers(shell, line, words, capsys):
    if not shutil.which(shell):
        pytest.skip("there is no %s here" % shell)
    found = offered(shell, line, capsys)
    assert words <= found if line.endswith(" ") else found == words


def test_a_value_is_completed_behind_the_sign_that_ends_a_word_in_bash(capsys):
    assert offered("bash", "proxmox-mcp call get_vms type=q", capsys) == {"qemu"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_that_shell(shell, capsys):
    if not shutil.which(shell):
        pytest.skip("there is no %s here" % shell)
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    assert subprocess.run([shell, "-n"], input=script.encode(), timeout=60).returncode == 0
    assert all(entry["name"][8:] in script for entry in tools.surface()) and "proxmox-mcp completion " + shell in script
