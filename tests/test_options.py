"""Any option of a guest's configuration, cloud-init, templates, reset: sent, refused, asked, and what came of it."""
import json

import pytest

from support import Asked, Bench, answering, ok

FIND = "GET /cluster/resources type=vm"
VM, CT = "/nodes/pve1/qemu/100/", "/nodes/pve1/lxc/200/"


def digest(vmid, **conf):
    """A preparation: options put into a guest's config; the words {digest} of its lines."""
    def prepare(bench):
        guest = bench.cluster.world.guests[vmid]
        guest.conf.update(conf)
        reply = bench.host.client.request("GET", "/nodes/%s/%s/%d/config" % (guest.node, guest.kind, vmid))
        return {"digest": reply.data["digest"]}
    return prepare


def unused(bench):
    """VM 100 with a volume that no disk uses."""
    world = bench.cluster.world
    volume = world.allocate(world.storages["local-lvm"], "pve1", 100, 4 << 30, None, "qemu")
    return digest(100, unused0=volume.volid)(bench)


def unused_ct(bench):
    """Container 200 with a volume that no mount point uses."""
    world = bench.cluster.world
    volume = world.allocate(world.storages["local-lvm"], "pve1", 200, 4 << 30, None, "lxc")
    return digest(200, unused3=volume.volid)(bench)


def waiting(bench):
    """VM 100 with more cores that wait for its restart."""
    bench.cluster.world.guests[100].pending["cores"] = 8
    return digest(100)(bench)


def waiting_ct(bench):
    """Container 200 with cores that wait for its restart."""
    bench.cluster.world.guests[200].pending["cores"] = 2
    return digest(200)(bench)


CASES = [
    ("proxmox_update_vm_config", {"vmid": 100, "delete": ["unused0"]},
     [FIND, "GET " + VM + "config", "POST " + VM + "config delete=unused0 digest={digest}",
      "GET " + VM + "pending"], unused),
    ("proxmox_update_vm_config",
     {"vmid": 100, "node": "pve1", "options": {"description": "a, b", "onboot": False, "balloon": 0},
                                  "delete": ["tags"], "wait": 5},
     ["GET " + VM + "config", "POST " + VM + "config balloon=0 delete=tags description=a, b digest={digest} onboot=0",
      "GET " + VM + "pending"], digest(100)),
    ("proxmox_update_vm_config",
     {"vmid": 100.0, "node": "pve1", "options": '{"balloon": 2048.0}', "delete": '["tags"]'},
     ["GET " + VM + "config", "POST " + VM + "config balloon=2048 delete=tags digest={digest}",
      "GET " + VM + "pending"], digest(100)),
    ("proxmox_update_vm_config", {"vmid": 100, "revert": ["cores"]},
     [FIND, "GET " + VM + "pending", "GET " + VM + "config", "POST " + VM + "config digest={digest} revert=cores",
      "GET " + VM + "pending"], waiting),
    ("proxmox_update_vm_config",
     {"vmid": 105, "options": {"ciuser": "admin", "ipconfig0": {"ip": "dhcp", "ip6": "auto"},
                                                           "sshkeys": "ssh-ed25519 AAAA me@host\n"}},
     [FIND, "GET /nodes/pve3/qemu/105/config", "POST /nodes/pve3/qemu/105/config ciuser=admin digest={digest} "
      "ipconfig0=ip=dhcp,ip6=auto sshkeys=ssh-ed25519%20AAAA%20me%40host", "GET /nodes/pve3/qemu/105/pending"],
     digest(105)),
    ("proxmox_update_lxc_config", {"vmid": 200, "delete": ["unused3"], "wait": 60},
     [FIND, "GET " + CT + "config", "PUT " + CT + "config delete=unused3 digest={digest}",
      "GET " + CT + "pending"], unused_ct),
    ("proxmox_update_lxc_config", {"vmid": 200, "revert": "cores"},
     [FIND, "GET " + CT + "pending", "GET " + CT + "config", "PUT " + CT + "config digest={digest} revert=cores",
      "GET " + CT + "pending"], waiting_ct),
    ("proxmox_update_lxc_config", {"vmid": 200, "node": "pve1", "options": {"cores": 2, "onboot": True},
                                   "delete": "startup"},
     ["GET " + CT + "config", "PUT " + CT + "config cores=2 delete=startup digest={digest} onboot=1",
      "GET " + CT + "pending"], digest(200)),
]


# ---------------------------------------------------------------------------------------------------------- any option

def test_what_is_set_is_there_and_what_waits_is_said():
    bench = Bench()
    answer = ok(bench.run("proxmox_update_vm_config", vmid=100,
                          options={"description": "new", "cores": 8, "scsihw": "pvscsi"},
                          delete=["tags"]))
    conf = bench.cluster.world.guests[100].conf
    assert conf["description"].strip() == "new" and "tags" not in conf
    assert ("VM 100: cores 4 -> 8, description nginx and the shop front end \u23ce  \u23ce Owner: web team -> new, "
            "scsihw virtio-scsi-single -> pvscsi, tags deleted (was prod;web)") in answer.text
    assert answer.data["changes"]["tags"] == {"old": "prod;web"}
    assert answer.data["changes"]["cores"] == {"old": 4, "new": 8}
    assert "Not in effect yet: cores, scsihw wait" in answer.text and answer.data["waiting"] == ["cores", "scsihw"]
    assert 8 == ok(bench.run("proxmox_get_vm_config", vmid=100)).data["pending"][0]["then"]
    answer = ok(bench.run("proxmox_update_vm_config", vmid=100, revert="cores,scsihw"))
    assert "cores reverted (8 waited), scsihw reverted (pvscsi waited)" in answer.text
    assert not bench.cluster.world.guests[100].pending


@pytest.mark.parametrize("tool, vmid, key, words", [
    ("proxmox_update_vm_config", 107, "scsi0", "scsi0 is not destroyed: local-lvm:vm-107-disk-0 is unused0 now."),
    ("proxmox_update_lxc_config", 203, "rootfs", "unable to delete required option 'rootfs'"),
    ("proxmox_update_vm_config", 102, "ide2", "ide2 deleted (was nas:iso/virtio-win-0.1.285.iso")])
def test_a_disk_that_is_deleted_is_only_detached(tool, vmid, key, words):
    answer = Bench().run(tool, vmid=vmid, delete=[key])
    assert words in answer.text and ("not destroyed" in answer.text) == (key == "scsi0"), answer.text


def test_a_container_is_changed_at_once():
    bench = Bench()
    answer = ok(bench.run("proxmox_update_lxc_config", vmid=200, options='{"cores": 2, "description": "x\\ny"}'))
    assert bench.cluster.world.guests[200].conf["cores"] == 2
    assert "Container 200: cores 1 -> 2, description (not set) -> x \u23ce y." in answer.text
    assert "waiting" not in answer.data


@pytest.mark.parametrize("arguments, words", [
    ({}, "Say what to change"), ({"options": {}}, "Say what to change"),
    ({"options": {"cores": None}}, "name it in delete"), ({"options": {"cores": ""}}, "name it in delete"),
    ({"options": {"cores": [1]}}, "must be a text"), ({"options": {"net0": {"a": {}}}}, "must be a text"),
    ({"options": {"net0": {"model": "virtio", "bridge": "a,b"}}}, "comma"),
    ({"options": {"delete": "scsi0"}}, "'delete' is not an option"),
    ({"options": {"force": 1}}, "'force' is not an option"),
    ({"options": {"digest": "x"}}, "'digest' is not an option"), ({"options": {"a/b": 1}}, "'a/b' is not an option"),
    ({"options": {"tags": "a"}, "delete": ["tags"]}, "tags is both set and deleted"),
    ({"delete": ["force"]}, "'force' is not an option"), ({"delete": ["../x"]}, "delete"),
    ({"options": "[1]"}, "options"),
    ({"delete": ["hookscript"]}, "has no hookscript"), ({"revert": ["cores"]}, "nothing to revert"),
    ({"options": {"scsi0": "local-lvm:8"}}, "VM 100 has local-lvm:vm-100-disk-0 as its scsi0"),
    ({"options": {"scsi0": "none,media=cdrom"}}, "another volume would take its place"),
    ({"options": {"net0": "virtio,bridge=vmbr1"}}, "MAC address of net0 of VM 100 is BC:24:11:00:01:00"),
    ({"options": {"net0": "virtio=BC:24:11:00:01:99,bridge=vmbr1"}}, "proxmox_update_network_vm")])
def test_what_is_refused_before_anything_is_sent(arguments, words):
    bench = Bench()
    answer = bench.run("proxmox_update_vm_config", vmid=100, **arguments)
    assert answer.failed and words in answer.text and bench.sent(reads=False) == [], answer.text


@pytest.mark.parametrize("options", [
    {"scsi0": "local-lvm:vm-100-disk-0,size=32G,ssd=1,discard=on"},
    {"ide2": "local:iso/debian-13.1.0-amd64-netinst.iso,media=cdrom"},
    {"net0": "virtio=bc:24:11:00:01:00,bridge=vmbr1"},
    {"net0": {"model": "e1000", "macaddr": "BC:24:11:00:01:00", "bridge": "vmbr0"}},
    {"net5": "virtio,bridge=vmbr0"}, {"scsi7": "local-lvm:1"}])
def test_volumes_and_network_devices_that_keep_what_they_are(options):
    bench = Bench()
    answer = bench.run("proxmox_update_vm_config", vmid=100, options=options)
    assert bench.sent(reads=False), answer.text


def test_proxmox_has_the_last_word():
    bench = Bench()
    answer = bench.run("proxmox_update_vm_config", vmid=100, options={"cores": 0, "nosuch": 1})
    assert answer.failed and "nosuch" in answer.text and "cores" in answer.text
    answer = bench.run("proxmox_update_vm_config", vmid=999, options={"cores": 1})
    assert answer.failed and "There is no guest 999 in this cluster" in answer.text
    assert "is a container" in bench.run("proxmox_update_vm_config", vmid=200, options={"cores": 1}).text


def test_a_config_that_changed_in_between_is_read_again():
    bench = Bench()
    handle, seen = bench.cluster.handle, []

    def other(verb, target, headers, body=b""):
        answer = handle(verb, target, headers, body)
        if verb == "GET" and target.endswith("/config") and not seen:
            seen.append(1)
            bench.cluster.world.guests[100].conf["description"] = "by someone else"
        return answer
    bench.cluster.handle = other
    ok(bench.run("proxmox_update_vm_config", vmid=100, options={"onboot": 0}))
    assert len(bench.sent(reads=False)) == 2 and bench.cluster.world.guests[100].conf["onboot"] == 0


@pytest.mark.parametrize("tool, vmid, prepare, key", [("proxmox_update_vm_config", 100, unused, "unused0"),
                                                      ("proxmox_update_lxc_config", 200, unused_ct, "unused3")])
def test_an_unused_volume_goes_for_good_only_after_a_yes(tool, vmid, prepare, key):
    for yes in (False, True):
        consent = Asked(yes)
        bench = Bench(consent=consent)
        prepare(bench)
        volid = bench.cluster.world.guests[vmid].conf[key]
        answer = bench.run(tool, vmid=vmid, delete=[key])
        [question] = consent.questions
        assert volid in question and str(vmid) in question and "for good" in question
        assert answer.failed is not yes and (key in bench.cluster.world.guests[vmid].conf) is not yes
        assert (bench.cluster.world.volume(volid, "pve1") is None) is yes
    consent = Asked()
    bench = Bench(consent=consent)
    ok(bench.run(tool, vmid=vmid, delete=["tags"]))
    assert consent.questions == []


def test_secrets_are_not_repeated(tmp_path):
    path = str(tmp_path / "audit.log")
    for chosen in ({"audit_log": path}, {"dry_run": True}, {"allow_elevated": False, "audit_log": path}):
        for given in ({"cipassword": "CANARY-1", "ciuser": "x"}, '{"cipassword": "CANARY-1", "ciuser": "x"}'):
            bench = Bench(**chosen)
            answer = bench.run("proxmox_update_vm_config", vmid=105, options=given)
            assert "CANARY" not in answer.text + json.dumps(answer.data)
    content = open(path, encoding="ascii").read()
    assert "CANARY" not in content and '"cipassword":"***"' in content


@pytest.mark.parametrize("secret", [12345678, "abc", "CANARY-1", True])
def test_a_password_is_not_shown_whatever_it_looks_like(secret, tmp_path):
    """Short ones and numbers were, among the old and new values."""
    path = tmp_path / "audit.log"
    answer = ok(Bench(audit_log=str(path)).run("proxmox_update_vm_config", vmid=105,
                                               options={"cipassword": secret, "cores": 3}))
    assert "cipassword (set, not shown) -> (set, not shown), cores 4 -> 3" in answer.text
    hidden = "(set, not shown)"
    assert answer.data["changes"] == {"cipassword": {"old": hidden, "new": hidden}, "cores": {"old": 4, "new": 3}}
    intent = json.loads(path.read_text().splitlines()[0])
    assert intent["parameters"]["cipassword"] == intent["arguments"]["options"]["cipassword"] == "***"


def test_values_of_an_environment_and_keys_are_not_shown_in_full():
    bench = Bench(version="9.1")
    bench.cluster.world.guests[200].conf["env"] = "A=hidden"
    answer = ok(bench.run("proxmox_update_lxc_config", vmid=200, options={"env": "A=other"}))
    assert "env A=*** -> A=***" in answer.text and answer.data["changes"] == {
        "env": {"old": ["A=***"], "new": ["A=***"]}}
    key = "ssh-ed25519 " + "A" * 60 + " me@host"
    answer = ok(bench.run("proxmox_update_vm_config", vmid=105, options={"sshkeys": key}))
    assert "AAAAAAAA...AAAAAAAA me@host" in answer.text and "A" * 60 not in answer.text


def test_a_number_is_a_password_too_in_the_words_of_proxmox():
    bench = Bench()
    answering(bench, "/nodes/pve1/qemu/100/config", (400, "cipassword: value 12345678 is too weak"))
    answer = bench.run("proxmox_update_vm_config", vmid=100, node="pve1", options={"cipassword": 12345678})
    assert answer.failed and "12345678" not in answer.text


def test_a_dry_run_of_options():
    bench = Bench(dry_run=True)
    answer = ok(bench.run("proxmox_update_lxc_config", vmid=200, options={"cores": 2}, delete=["startup"]))
    assert bench.sent(reads=False) == [] and answer.data["requests"][0]["parameters"]["delete"] == "startup"
