"""What is out of bounds is in no answer, and is refused before anybody is asked: every case of every tool under each
list, and every GET that the demo cluster knows."""
import itertools
import json
import re

import pytest

import tools.demo as demo
from cases import CASES
from support import Asked, Bench, Cluster, answering, ending

#: These guests of the demo (a VM and a container of pve2, replicated, in jobs, pools, backups, tasks and logs) have
#: numbers here that nothing else has.
_THEIRS, _HERE = re.compile(r"(?<![\d.])(101|202)(?![\d.])"), re.compile("73(101|202)")
LISTS = [{"allowed_guests": ("100", "102-200", "203-400", "9000-9999")}, {"allowed_guests": ("pool:lab", "300-301")},
         {"allowed_guests": ("tag:web", "tag:template")}, {"allowed_nodes": ("pve1", "pve3")}]


class Renumbered(Cluster):
    def handle(self, verb, target, headers, body=b""):
        target, body = _HERE.sub(r"\1", target), _HERE.sub(r"\1", (body or b"").decode()).encode()
        status, reason, found, content = super().handle(verb, target, headers, body)
        if content[:1] == b"{":
            content = _THEIRS.sub(r"73\1", content.decode()).encode()
            found = dict(found, **{"Content-Length": str(len(content))})
        return status, _THEIRS.sub(r"73\1", reason), found, content


@pytest.mark.parametrize("chosen", LISTS + [{"protected_guests": ("101", "200", "9000")}], ids=str)
def test_no_answer_tells_of_a_guest_out_of_bounds_and_no_refusal_comes_after_a_question(chosen):
    told, late = {}, []
    for ident, case in ((ident, case) for ident, case in CASES.items() if not ident.startswith("ssh")):
        consent = Asked()
        free = Bench(cluster=Renumbered(), consent=consent)
        arguments = case.on(free)[0]
        consent.questions.clear()
        bench = Bench(cluster=free.cluster, consent=consent, confirm="always", **chosen)
        answer = bench.run(case.tool, **arguments)
        if _HERE.search(answer.text + json.dumps(answer.data) + "".join(consent.questions)):
            told[ident] = answer.text
        late += [ident] if consent.questions and answer.outcome == "refused" else []
    assert late == [] and (told == {} or "protected_guests" in chosen)


#: What stands in the places of a path, where it is not "x".
PLACES = {"node": ("pve1", "pve2", "pve3"), "storage": ("local", "nas", "pbs", "local-lvm"), "vmid": ("100", "104"),
          "poolid": ("production", "lab"), "id": ("backup-pool", "backup-nightly"), "userid": ("root@pam",),
          "sid": ("vm:104",), "rule": ("keep-mail",), "snapname": ("before-upgrade",), "service": ("pveproxy",)}


@pytest.mark.parametrize("chosen", LISTS, ids=str)
def test_no_get_tells_of_a_guest_out_of_bounds(chosen):
    cluster, told = Renumbered(), []
    for tool, arguments in (("create_backup_vm", {"vmid": 73101, "storage": "pbs"}), ("run_backup_job", {
            "id": "backup-pool"}), ("shutdown_lxc", {"vmid": 73202}), ("create_snapshot_vm", {
                "vmid": 73101, "snapname": "s1"}), ("clone_vm", {"vmid": 73101, "newid": 300})):
        assert not Bench(cluster=cluster).run("proxmox_" + tool, **arguments).failed
    bench = Bench(cluster=cluster, **chosen)
    tasks = [task["upid"] for node in PLACES["node"]
             for task in bench.host.client.request("GET", "/nodes/%s/tasks" % node, {"limit": 500}).data]
    tasks, others = [[task for task in tasks if bool(_HERE.search(task)) is theirs] for theirs in (False, True)]
    assert tasks and others
    templates = [route.template for module in vars(demo).values() for route in getattr(module, "ROUTES", ())
                 if route.verb == "GET"]
    for template in templates:
        names = re.findall(r"{(\w+)}", template)
        for values in itertools.product(*[tasks if name == "upid" else PLACES.get(name, ("x",)) for name in names]):
            if "upid" in names and values[0] != values[names.index("upid")].split(":")[1]:
                continue                                # a task is asked for at its node, wherever it is asked for
            path = re.sub(r"{\w+}", "%s", template) % values
            answer = bench.run("proxmox_api_call", verb="GET", path=path)
            told += [path] if _HERE.search((answer.text + json.dumps(answer.data)).replace(path, "")) else []
    assert told == []


@pytest.mark.parametrize("words, shown", [
    ("base volume is in use by VM 101", "in use by VM (out of bounds)"), ("CT 101 is locked", "CT (out of bounds)"),
    ("no such volume local-lvm:vm-101-disk-0", "vm-(out of bounds)-disk-0"), ("VM 100 is locked", "VM 100 is locked"),
    ("at most 101 of them", "at most 101 of them")])
def test_errors_of_proxmox_do_not_tell_of_guests_out_of_bounds(words, shown):
    bench = Bench(allowed_guests=("100",))
    answering(bench, "/nodes/pve1/qemu/100/snapshot", (500, words), "POST")
    assert shown in bench.run("proxmox_create_snapshot_vm", vmid=100, snapname="s1").text
    bench = Bench(allowed_guests=("100",))
    ending(bench, "POST", "/nodes/pve1/qemu/100/snapshot", "failed", ["ERROR: " + words], "qmsnapshot", "100")
    assert shown in bench.run("proxmox_create_snapshot_vm", vmid=100, snapname="s1").text


def test_a_backup_job_is_told_with_the_guests_in_bounds_alone():
    bench = Bench(allowed_guests=("100", "9100"), confirm="always", consent=Asked())
    jobs = {row["id"]: row["guests"] for row in bench.run("proxmox_list_backup_jobs").data["items"]}
    assert jobs == {"backup-nightly": "100", "backup-old": "all but 9100"}
