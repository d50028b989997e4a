"""The table of what requests to Proxmox do, held against Proxmox's own schemas, a golden file, and an attacker.

`python3 tests/test_endpoints.py --write` writes endpoints.txt; its changes are to be read line by line. The schemas
are those of PROXMOX_APIDOC_FILES (see test_apidoc.py): one file of each of 7.4, 8.4 and 9.1.
"""
import json
import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

from support import each  # noqa: E402
from tools.policy import endpoints  # noqa: E402
from tools.policy.endpoints import (ADDS, CHANGES, EVERYBODY, GUEST, LISTED, LOSES, NOBODY, NODE,  # noqa: E402
                                    NODES, READS, VOLUME)

GOLDEN = HERE / "endpoints.txt"
EFFECTS = (READS, ADDS, CHANGES, LOSES)
FILES = [name for name in os.environ.get("PROXMOX_APIDOC_FILES", "").split(os.pathsep) if name]
needs_apidoc = pytest.mark.skipif(len(FILES) < 3, reason="PROXMOX_APIDOC_FILES names no schemas of three releases")


def plain(path):
    return re.sub(r"\{[^}]*\}", "{}", path)


def known(verb, path):
    """Whether the table has a request."""
    return endpoints.find(verb, path) in endpoints.ENDPOINTS


@pytest.fixture(scope="module")
def schemas():
    """{(verb, path without names): [(path, method) of each release that has it]}."""
    found = {}

    def walk(nodes):
        for node in nodes:
            for verb, method in (node.get("info") or {}).items():
                found.setdefault((verb, plain(node["path"])), []).append((node["path"], method))
            walk(node.get("children") or ())
    for name in FILES:
        text = Path(name).read_text(encoding="utf-8")
        walk(json.JSONDecoder().raw_decode(text, text.index("[", text.index("apiSchema")))[0])
    return found


def golden():
    """The text of endpoints.txt: one line a method, by path and verb."""
    lines = []
    for one in sorted(endpoints.ENDPOINTS, key=lambda one: (one.template, one.verb)):
        says = [one.effect, one.reach]
        says += [", ".join(one.privileges) or "no privilege"] if one.privileges is not None else []
        says += ["never sent"] * bool(one.never) + ["any command"] * one.command
        lines.append("%s %s -> %s\n" % (one.verb, one.template, "; ".join(says)))
    return "".join(lines)


# ------------------------------------------------------------------------------------------------------ the whole table

@needs_apidoc
def test_every_method_of_every_release_is_known(schemas):
    assert len(schemas) > 600
    assert [(verb, path) for (verb, _), rows in schemas.items() for path, _ in rows
            if not known(verb, path)] == []
    for (verb, path), rows in schemas.items():
        assert plain(endpoints.find(verb, rows[0][0]).template) == path


@needs_apidoc
def test_the_table_has_nothing_that_proxmox_has_not(schemas):
    assert {(one.verb, plain(one.template)) for one in endpoints.ENDPOINTS} - schemas.keys() == set()


@needs_apidoc
def test_privileges_are_those_of_the_schema_where_it_has_one_plain_rule(schemas):
    """One path, and the same rule in every release: nothing is left to judgement there."""
    def rule(method):
        permissions = method.get("permissions")
        if permissions is None:
            return frozenset({("/", frozenset({"root@pam"}))})
        check = permissions.get("check")
        if not check or check[0] != "perm":
            return None
        names = frozenset([check[2]] if isinstance(check[2], str) else check[2])
        path = "/" + check[1].split("/")[1]
        return frozenset({(path, names)} if "any" in check else {(path, frozenset({name})) for name in names})
    compared = 0
    more = {"PUT /nodes/{}/qemu/{}/resize", "PUT /nodes/{}/lxc/{}/resize", "POST /nodes/{}/qemu/{}/move_disk",
            "POST /nodes/{}/lxc/{}/move_volume"}        # Proxmox's code wants space on the storage, too
    for (verb, path), rows in schemas.items():
        rules = {rule(method) for _, method in rows}
        listed = endpoints.find(verb, rows[0][0]).privileges
        if len(rules) == 1 and None not in rules and "%s %s" % (verb, path) not in more and listed is not None:
            says = [need.partition(" ") for need in listed]
            assert {(where, frozenset(names.split("|"))) for where, _, names in says} == rules.pop(), (verb, path)
            compared += 1
    assert compared > 50


def test_no_method_is_listed_twice_and_words_are_words():
    methods = [(one.verb, plain(one.template)) for one in endpoints.ENDPOINTS]
    assert len(set(methods)) == len(methods)
    for one in endpoints.ENDPOINTS:
        assert one.effect in EFFECTS and one.reach in (GUEST, LISTED, VOLUME, NODE, NODES, NOBODY, EVERYBODY)
        assert one.verb in ("GET", "POST", "PUT", "DELETE") and re.fullmatch(r"(/([a-z0-9_-]+|\{\w+\}))+", one.template)
        for need in one.privileges or ():
            assert re.fullmatch(r"/(access|mapping|nodes|pool|sdn|storage|vms)? [A-Z]\w+(\.\w+)+(\|[A-Z]\w+(\.\w+)+)*"
                                r"|/ root@pam", need), need


def test_ids_are_not_taken_for_words():
    """Where an id may stand no word of the API stands beside it, so no id is taken for another method."""
    def walk(branch):
        words = [key for key in branch if key is not None]
        assert len(words) == 1 or not any(key.startswith("{") for key in words), words
        for key in words:
            walk(branch[key])
    walk(endpoints._TREE)


def test_what_reads_is_a_get_and_what_deletes_loses():
    for one in endpoints.ENDPOINTS:
        assert one.effect != READS or (one.verb == "GET" and not one.never and not one.command), one
        assert one.verb != "DELETE" or one.effect == LOSES, one
        assert one.verb != "GET" or one.effect in (READS, CHANGES), one
        assert one.effect != ADDS or one.verb == "POST", one
        assert not one.command or one.effect == LOSES, one


def test_every_method_finds_itself():
    values = {"vmid": "100", "volume": "local:iso/a.iso", "cidr": "10.0.0.0/8"}
    for one in endpoints.ENDPOINTS:
        assert endpoints.find(one.verb, one.template) is one
        concrete = re.sub(r"\{(\w+)\}", lambda match: values.get(match.group(1), "x1"), one.template)
        assert endpoints.find(one.verb, concrete) is one


def test_the_golden_file_says_the_same():
    assert GOLDEN.read_text(encoding="ascii") == golden(), "python3 tests/test_endpoints.py --write, and read the diff"


# -------------------------------------------------------------------------------------------------------------- unknown

@each("verb, path", [
    ("GET", "/nodes/pve1/qemu/100/newthing"), ("GET", "/cluster/newthing"), ("POST", "/nodes/pve1/qemu/100/config/x"),
    ("GET", ""), ("GET", "/"), ("GET", "nodes"), ("GET", "/nodes/"), ("GET", "//nodes"), ("GET", "/nodes//qemu"),
    ("GET", "/nodes/pve1/qemu/100/config/"), ("GET", "/nodes/./qemu"), ("GET", "/nodes/pve1/../pve2/qemu"),
    ("GET", "/nodes/.."), ("GET", "/api2/json/nodes"), ("GET", "/nodes/pve1/storage/s/content/local:iso/../../x"),
    ("GET", "/nodes/pve1/storage/s/content/local:iso//x"), ("GET", "/nodes/pve1/storage/s/content/"),
    ("DELETE", "/cluster/firewall/ipset/a/10.0.0.0/"), ("GET", "/Nodes"), ("GET", "/NODES/pve1/status"),
    ("get", "/nodes"), ("PATCH", "/nodes"), ("HEAD", "/nodes"), ("ANY", "/{path}"), ("", "/nodes"),
    ("GET", "/nodes?x=1"),
    ("DELETE", "/nodes"), ("PUT", "/nodes/pve1/qemu/100/status/stop"), ("POST", "/nodes/pve1/lxc/100/exec"),
    ("GET", "/nodes/pve1/qemu/abc/config"), ("GET", "/nodes/pve1/qemu/99/config"),
    ("GET", "/nodes/pve1/qemu/0100/config"),
    ("GET", "/nodes/pve1/qemu/1234567890/config"), ("GET", "/nodes/pve1/qemu/100\n/config"),
    ("GET", "/nodes/pve1/qemu/\uff11\uff10\uff10/config"), ("GET", "/nodes/pve1/qemu/100 /config"),
    ("GET", "/nodes/pve1/{type}x/100/config"), ("GET", "/nodes/pve1/vm/100/config"), ("GET", "/nodes/{rest}/{rest}"),
    ("POST", "/nodes/pve1/lxc/100/status/reset"), ("GET", "/nodes/pve1/lxc/100/agent"), ("GET", " /nodes"),
])
def test_what_is_unknown_is_the_worst(verb, path):
    found = endpoints.find(verb, path)
    assert not known(verb, path)
    assert found == (verb, path, LOSES, EVERYBODY, None, None, False)
    assert endpoints.effect(verb, path, {}) == LOSES and endpoints.changes(verb, path)
    assert endpoints.find(verb, path).never is None


@each("verb, path, template", [
    ("GET", "/nodes/{node}/{type}/{vmid}/status/current", "/nodes/{node}/qemu/{vmid}/status/current"),
    ("GET", "/nodes/{node}/{kind}/{vmid}/pending", "/nodes/{node}/qemu/{vmid}/pending"),
    ("GET", "/nodes/{node}/{kind}/{vmid}/interfaces", "/nodes/{node}/lxc/{vmid}/interfaces"),
    ("GET", "/nodes/{a}/qemu/{b}/config", "/nodes/{node}/qemu/{vmid}/config"),
    ("PUT", "/nodes/x/storage/y/content/local:iso/a.iso", "/nodes/{node}/storage/{storage}/content/{volume}"),
    ("DELETE", "/nodes/x/storage/y/content/vm-100-disk-0", "/nodes/{node}/storage/{storage}/content/{volume}"),
    ("DELETE", "/cluster/firewall/ipset/a/10.0.0.0/8", "/cluster/firewall/ipset/{name}/{cidr}"),
    ("GET", "/nodes/pve1/tasks/UPID:pve1:0000:1:2:qmstart:100:root@pam:/log", "/nodes/{node}/tasks/{upid}/log"),
    ("DELETE", "/access/users/john.doe@example.com@sso/token/mcp", "/access/users/{userid}/token/{tokenid}"),
    ("GET", "/nodes/status/status", "/nodes/{node}/status"),
    ("GET", "/nodes/qemu/lxc/100/config", "/nodes/{node}/lxc/{vmid}/config"),
])
def test_paths_with_ids_and_names_are_found(verb, path, template):
    assert endpoints.find(verb, path).template == template and known(verb, path)


# --------------------------------------------------------------------------------------------------------------- effect

VM, CT, NEW, NODE1 = "/nodes/a/qemu/100", "/nodes/a/lxc/100", "/nodes/a/qemu", "/nodes/a"


@each("verb, path, params", [        # sent without a question in 1.0.0
    ("PUT", VM + "/unlink", {"idlist": "unused0"}), ("POST", VM + "/agent", {"command": "shutdown"}),
    ("PUT", VM + "/sendkey", {"key": "ctrl-alt-delete"}), ("POST", NODE1 + "/services/corosync/stop", {}),
    ("POST", NODE1 + "/services/pveproxy/stop", {}), ("POST", NODE1 + "/ceph/restart", {}),
    ("PUT", "/cluster/ceph/flags", {"pause": 1}), ("PUT", "/cluster/ceph/flags/pause", {"value": 1}),
    ("POST", NODE1 + "/ceph/osd/1/out", {}), ("POST", "/cluster/config", {"clustername": "x"}),
    ("POST", NODE1 + "/hosts", {"data": ""}), ("PUT", "/cluster/sdn", {}),
    ("PUT", "/cluster/firewall/options", {"policy_in": "DROP"}), ("POST", VM + "/remote_migrate", {}),
    ("POST", CT + "/remote_migrate", {}), ("PUT", "/storage/x", {"disable": 1}),
    ("PUT", "/access/users/x@pve", {"enable": 0}),
    ("PUT", "/access/acl", {"path": "/", "users": "x@pve", "roles": "Administrator"}),
    ("POST", VM + "/config", {"template": 1}),
    ("PUT", VM + "/config", {"template": 1}), ("PUT", CT + "/config", {"template": "1"}),
    ("POST", NODE1 + "/vzdump", {"vmid": 200, "prune-backups": "keep-last=1"}),
    ("POST", NODE1 + "/vzdump", {"vmid": 200, "remove": 1}),
    ("PUT", "/cluster/backup/job1", {"enabled": 0, "vmid": "100"}),
    ("PUT", "/cluster/backup/job1", {"comment": "x"}), ("DELETE", "/cluster/ha/rules/keep-200", {}),
    ("PUT", "/cluster/ha/rules/keep-200", {"comment": "x"}), ("POST", VM + "/agent/file-write", {}),
    ("POST", VM + "/agent/set-user-password", {}), ("PUT", VM + "/config", {"args": "-S"}),
    ("DELETE", NODE1 + "/disks/zfs/tank", {"cleanup-disks": 1}), ("DELETE", "/storage/local-lvm", {}),
])
def test_what_was_found_by_attack_loses(verb, path, params):
    assert known(verb, path) and endpoints.effect(verb, path, params) == LOSES


@each("verb, path, params, effect", [
    ("POST", VM + "/status/suspend", {"todisk": 1}, CHANGES), ("POST", "/access/users", {"enable": 0}, ADDS),
    ("POST", "/storage", {"storage": "x", "type": "dir", "disable": 1}, ADDS),
    ("POST", "/storage", {"base": "i:0.0.0"}, LOSES), ("PUT", "/storage/x", {"nodes": "a"}, LOSES),
    ("POST", "/cluster/backup", {"all": 1, "remove": 0}, LOSES), ("PUT", "/pools/x", {"vms": "100"}, CHANGES),
    ("GET", NODE1 + "/storage/s/prunebackups", {"prune-backups": "keep-last=1"}, READS),
    ("PUT", VM + "/config", {"memory": 2048}, CHANGES), ("PUT", VM + "/config", {"delete": "net1"}, LOSES),
    ("PUT", VM + "/config", {"delete": ""}, CHANGES), ("PUT", VM + "/config", {"delete": None}, CHANGES),
    ("PUT", VM + "/config", {"delete": []}, CHANGES), ("PUT", VM + "/config", {"delete": ["net1"]}, LOSES),
    ("PUT", VM + "/config", {"revert": "memory"}, LOSES), ("PUT", VM + "/config", {"force": "no"}, CHANGES),
    ("PUT", VM + "/config", {"skiplock": True}, LOSES),
    ("PUT", VM + "/config", {"hookscript": "local:snippets/x"}, LOSES),
    ("PUT", VM + "/config", {"template": 0}, CHANGES), ("PUT", VM + "/config", {"lock": "backup"}, LOSES),
    ("PUT", VM + "/config", {"cipassword": "x"}, LOSES),
    ("PUT", VM + "/config", {"cicustom": "user=local:snippets/x"}, LOSES),
    ("PUT", CT + "/config", {"entrypoint": "/bin/sh"}, LOSES), ("POST", NEW, {"vmid": 101}, ADDS),
    ("POST", NEW, {"vmid": 101, "cipassword": "x"}, ADDS), ("POST", NEW, {"vmid": 101, "force": "1"}, LOSES),
    ("POST", NEW, {"vmid": 101, "archive": "nas:backup/x"}, LOSES), ("POST", NEW, {"vmid": 101, "args": "-S"}, LOSES),
    ("POST", "/nodes/a/lxc", {"vmid": 101, "restore": 1}, LOSES),
    ("POST", "/nodes/a/lxc", {"vmid": 101, "restore": "0"}, ADDS),
    ("POST", VM + "/status/shutdown", {"forceStop": 1}, LOSES),
    ("POST", VM + "/status/shutdown", {"forceStop": "OFF"}, CHANGES),
    ("POST", NODE1 + "/startall", {"force": 1}, LOSES), ("POST", VM + "/move_disk", {"delete": False}, CHANGES),
    ("POST", VM + "/move_disk", {"delete": True}, LOSES), ("POST", VM + "/move_disk", {"target-vmid": 101}, LOSES),
    ("PUT", "/pools", {"delete": "1"}, LOSES), ("PUT", "/pools", {"allow-move": 1, "vms": "100"}, LOSES),
    ("PUT", NODE1 + "/storage/s/content/s:backup/x", {"notes": "y"}, CHANGES),
    ("PUT", NODE1 + "/storage/s/content/s:backup/x", {"protected": 1}, CHANGES),
    ("PUT", NODE1 + "/storage/s/content/s:backup/x", {"protected": 0}, LOSES),
    ("PUT", "/cluster/replication/100-0", {"disable": 1}, LOSES),
    ("PUT", "/cluster/replication/100-0", {"disable": 0}, CHANGES),
    ("PUT", "/cluster/replication/100-0", {"remove_job": "full"}, LOSES),
    ("POST", "/cluster/replication", {"id": "100-0"}, ADDS),
    ("POST", NODE1 + "/apt/repositories", {"path": "x", "index": 0, "enabled": 0}, LOSES),
    # backups: old ones go unless that is forbidden
    ("POST", NODE1 + "/vzdump", {"vmid": 100}, LOSES),
    ("POST", NODE1 + "/vzdump", {"vmid": 100, "remove": None}, LOSES),
    ("POST", NODE1 + "/vzdump", {"vmid": 100, "remove": ""}, LOSES),
    ("POST", NODE1 + "/vzdump", {"vmid": 100, "remove": 0}, ADDS),
    ("POST", NODE1 + "/vzdump", {"vmid": 100, "remove": False}, ADDS),
    ("POST", NODE1 + "/vzdump", {"remove": "0", "mode": "stop"}, CHANGES),
    ("POST", NODE1 + "/vzdump", {"remove": "0", "mode": "snapshot"}, ADDS),
    ("POST", NODE1 + "/vzdump", {"remove": 0, "stop": 1}, LOSES),
    ("POST", NODE1 + "/vzdump", {"remove": 0, "prune_backups": "keep-last=1"}, ADDS),      # remove=0: none goes
    ("POST", NODE1 + "/vzdump", {"maxfiles": 1}, LOSES), ("POST", NODE1 + "/vzdump", None, LOSES),
])
def test_effect(verb, path, params, effect):
    assert known(verb, path) and endpoints.effect(verb, path, params) == effect


@each("name", sorted(endpoints._LOSING | endpoints._LOSING_OF_OLD))
def test_parameters_that_lose_something(name):
    for spelt in (name, name.replace("-", "_")):
        for value in (1, "1", True, "yes", "scsi0", ["scsi0"]):
            assert endpoints.effect("PUT", VM + "/config", {spelt: value}) == LOSES
            assert endpoints.effect("GET", VM + "/config", {spelt: value}) == READS
        for value in (0, "0", False, None, "", "no", "off", "False", []):
            assert endpoints.effect("PUT", VM + "/config", {spelt: value}) == CHANGES


# ------------------------------------------------------------------------------------------------------ never, commands

@each("verb, path, word", [
    ("POST", "/access/ticket", "hands out a secret"), ("POST", "/access/vncticket", "hands out a secret"),
    ("POST", "/access/openid/login", "hands out a secret"), ("POST", "/access/openid/auth-url", "hands out a secret"),
    ("POST", "/access/tfa", "hands out a secret"), ("POST", "/access/tfa/x@pve", "hands out a secret"),
    ("PUT", "/access/tfa/x@pve/1", "hands out a secret"), ("PUT", "/access/password", "hands out a secret"),
    ("POST", "/access/users/x@pve/token/y", "hands out a secret"),
    ("PUT", "/access/users/x@pve/token/y", "hands out a secret"),
    ("POST", VM + "/vncproxy", "opens a console"), ("POST", CT + "/termproxy", "opens a console"),
    ("POST", VM + "/spiceproxy", "opens a console"), ("POST", NODE1 + "/vncshell", "opens a console"),
    ("POST", NODE1 + "/termproxy", "opens a console"), ("POST", NODE1 + "/spiceshell", "opens a console"),
    ("POST", VM + "/mtunnel", "opens a console"), ("POST", CT + "/mtunnel", "opens a console"),
    ("GET", VM + "/vncwebsocket", "opens a console"), ("GET", NODE1 + "/vncwebsocket", "opens a console"),
    ("GET", CT + "/mtunnelwebsocket", "opens a console"), ("POST", NODE1 + "/storage/s/upload", "uploads a file"),
    ("DELETE", "/access/tfa/x@pve/1", None), ("DELETE", "/access/users/x@pve/token/y", None),
    ("GET", "/access/ticket", None),
    ("GET", "/access/tfa", None), ("PUT", "/access/users/x@pve/unlock-tfa", None), ("POST", VM + "/status/stop", None),
])
def test_what_is_never_sent(verb, path, word):
    why = endpoints.find(verb, path).never
    assert known(verb, path) and (why is None if word is None else word in why)


@each("verb, path, params, runs", [
    ("POST", VM + "/agent/exec", {}, True), ("POST", VM + "/monitor", {}, True), ("POST", NODE1 + "/execute", {}, True),
    ("POST", VM + "/agent/file-write", {}, True), ("POST", VM + "/agent/set-user-password", {}, True),
    ("PUT", VM + "/sendkey", {}, True), ("PUT", VM + "/config", {"args": "-S"}, True),
    ("PUT", VM + "/config", {"args": ""}, False),
    ("POST", NEW, {"hookscript": "local:snippets/x"}, True), ("POST", NODE1 + "/vzdump", {"script": "/x"}, True),
    ("PUT", VM + "/config", {"memory": 1}, False), ("GET", VM + "/config", {"args": "x"}, False),
    ("POST", VM + "/agent", {"command": "ping"}, False), ("GET", VM + "/agent/exec-status", {"pid": 1}, False),
])
def test_commands(verb, path, params, runs):
    assert endpoints.commands(verb, path, params) is runs


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    GOLDEN.write_bytes(golden().encode("ascii"))
