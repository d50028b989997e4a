"""What lies on storages: lists, downloads, and the notes and protection of backups."""
import json

import pytest

from support import Bench, answering, big, ok, weight

NAS, LOCAL = "/nodes/pve1/storage/nas", "/nodes/pve1/storage/local"
ISO = "https://cdimage.example/x/debian-13.2.0-amd64-netinst.iso"
OLD = "nas:backup/vzdump-qemu-100-2025_12_28-20_16_40.vma.zst"
TEMPLATE = "ubuntu-24.04-standard_24.04-2_amd64.tar.zst"


def old(bench):
    """{old}: a backup of VM 100 that is not protected."""
    volumes = bench.cluster.world.storages["nas"].at("pve1")
    return {"old": next(volid for volid in sorted(volumes) if "qemu-100" in volid and not volumes[volid].protected)}


CASES = [
    ("proxmox_list_storage_content",
     {"node": "pve1", "storage": "nas", "content": "backup", "vmid": 100, "name": "*12_2*",
                                      "limit": 1, "offset": 1}, ["GET " + NAS + "/content content=backup vmid=100"]),
    ("proxmox_list_storage_content", {"node": "pve1", "storage": "local"}, ["GET " + LOCAL + "/content"]),
    ("proxmox_download_url", {"node": "pve1", "storage": "local", "url": ISO, "wait": 60},
     ["POST %s/download-url content=iso filename=debian-13.2.0-amd64-netinst.iso url=%s" % (LOCAL, ISO)]),
    ("proxmox_download_url",
     {"node": "pve1", "storage": "local", "url": "https://x.example/get?id=7", "content": "import",
                              "filename": "disk.qcow2", "checksum": "ab" * 32},
     ["POST %s/download-url checksum=%s checksum-algorithm=sha256 content=import filename=disk.qcow2 "
      "url=https://x.example/get?id=7" % (LOCAL, "ab" * 32)]),
    ("proxmox_download_appliance", {"node": "pve1", "storage": "local", "template": TEMPLATE, "wait": 60},
     ["GET /nodes/pve1/aplinfo", "POST /nodes/pve1/aplinfo storage=local template=" + TEMPLATE]),
    ("proxmox_update_backup", {"node": "pve1", "volume": "{old}", "notes": "keep; it = good", "protected": True},
     ["GET %s/content content=backup vmid=100" % NAS,
      "PUT " + NAS + "/content/{old} notes=keep; it = good protected=1"], old),
    ("proxmox_update_backup", {"node": "pve1", "archive": "{old}", "protected": False},
     ["GET %s/content content=backup vmid=100" % NAS, "PUT " + NAS + "/content/{old} protected=0"], old),
]


def on(bench, storage, node="pve1"):
    return bench.cluster.world.storages[storage].at(node)


# -------------------------------------------------------------------------------------------------------------- listing

def test_the_volumes_of_a_storage():
    answer = ok(Bench().run("proxmox_list_storage_content", node="pve1", storage="nas"))
    assert answer.text.startswith("\u2705 11 volumes on nas, 39.1 GiB in all")
    row = next(row for row in answer.data["items"] if row["volid"] == OLD)
    assert row["vmid"] == 100 and row["content"] == "backup" and isinstance(row["size"], int)
    answer = ok(Bench().run("proxmox_list_storage_content", node="pve1", storage="nas", name="virtio"))
    assert [row["volid"] for row in answer.data["items"]] == ["nas:iso/virtio-win-0.1.285.iso"]


def test_lists_without_a_hit_say_why():
    answer = ok(Bench().run("proxmox_list_storage_content", node="pve1", storage="nas", name="nothing"))
    assert "None of 11 volumes matches nothing." in answer.text
    bench = Bench(tokens={"root@pam!demo": {"value": None, "acl": {"/storage": ["Datastore.Audit"]}}})
    answer = ok(bench.run("proxmox_list_storage_content", node="pve1", storage="nas", content="backup"))
    assert "the token may not see it" in answer.text and "Datastore.AllocateSpace" in answer.text
    answer = Bench().run("proxmox_download_appliance", node="pve1", storage="local", template="nothing")
    assert answer.failed and "has nothing in its name. There is: " in answer.text and TEMPLATE in answer.text


def test_a_volume_with_an_approximate_size_only():
    bench = Bench()
    answering(bench, "/nodes/pve1/storage/nas/content", [
        {"volid": OLD, "content": "backup", "format": "vma.zst", "vmid": 100, "ctime": 1, "approximate-size": 1 << 30},
        {"volid": "nas:iso/a.iso", "content": "iso", "format": "iso", "size": 1 << 30}])
    answer = ok(bench.run("proxmox_list_storage_content", node="pve1", storage="nas"))
    assert "2 volumes on nas, 2 GiB in all" in answer.text and answer.data["items"][0]["size"] == 1 << 30
    assert "1 backup on pve1 (nas), 1 GiB" in ok(bench.run("proxmox_list_backups", node="pve1", storage="nas")).text


@pytest.mark.parametrize("arguments, words", [({"storage": "nope"}, "nope"), ({"storage": "old-nas"}, "old-nas"),
                                              ({"storage": "nas", "node": "pve9"}, "There is no node pve9")])
def test_a_storage_that_is_not_there(arguments, words):
    answer = Bench().run("proxmox_list_storage_content", **dict({"node": "pve1"}, **arguments))
    assert answer.failed and words in answer.text


def test_many_volumes_are_a_page():
    bench = Bench(big())
    answer = ok(bench.run("proxmox_list_storage_content", node="node01", storage="local-lvm", limit=1000))
    assert answer.data["total"] == 500 and "Showing 1 to " in answer.text
    assert "To narrow the list: content, vmid, name" in answer.text
    assert weight(answer) <= 25000


# ---------------------------------------------------------------------------------------------------------- downloading

@pytest.mark.parametrize("url, content, name", [
    (ISO, "iso", "debian-13.2.0-amd64-netinst.iso"), ("http://h/a/My%20Disk.IMG?x=1#y", "iso", "My Disk.IMG"),
    ("https://h/ct.tar.zst", "vztmpl", "ct.tar.zst"), ("https://h/ct.tar.gz", "vztmpl", "ct.tar.gz"),
    ("https://h/cloud.qcow2", "import", "cloud.qcow2")])
def test_kind_and_name_come_from_the_url(url, content, name):
    bench = Bench(dry_run=True)
    answer = ok(bench.run("proxmox_download_url", node="pve1", storage="local", url=url))
    assert answer.data["requests"][0]["parameters"] == {"url": url, "content": content, "filename": name}


@pytest.mark.parametrize("arguments, words", [
    ({"url": "ftp://h/x.iso"}, "not an http or https URL"), ({"url": "file:///etc/passwd"}, "not an http or https URL"),
    ({"url": "https://[::1/x.iso"}, "not an http or https URL"),
    ({"url": "http://h/a b.iso"}, "not an http or https URL"),
    ({"url": "https://me:secret@h/x.iso"}, "user or a password"),
    ({"url": "https://me:secret@h/x.iso", "filename": "x.iso"}, "user or a password"),
    ({"url": "https://h/images/"}, "give filename"), ({"url": "https://h/%2e%2e"}, "give filename"),
    ({"url": "https://h/a%2fb.iso"}, "give filename"),
    ({"url": "https://h/x.iso", "filename": "../x.iso"}, "not a file name"),
    ({"url": "https://h/setup.exe"}, "give content"), ({"url": ISO, "checksum": "ab"}, "none of md5"),
    ({"url": ISO, "content": "backup"}, "content"),
    ({"url": ISO, "storage": "a/b"}, "storage")])
def test_what_cannot_be_downloaded_is_refused_before_anything_is_sent(arguments, words):
    bench = Bench()
    answer = bench.run("proxmox_download_url", **dict({"node": "pve1", "storage": "local"}, **arguments))
    assert answer.failed and words in answer.text and bench.sent() == [], answer.text
    assert "secret" not in answer.text


def test_a_download_is_there_afterwards():
    bench = Bench()
    answer = ok(bench.run("proxmox_download_url", node="pve1", storage="local", url=ISO))
    volid = "local:iso/debian-13.2.0-amd64-netinst.iso"
    assert answer.data["volid"] == volid and volid in on(bench, "local")
    assert "was downloaded to local on pve1" in answer.text
    answer = bench.run("proxmox_download_url", node="pve1", storage="local", url=ISO)
    assert answer.failed and "refusing to override existing file" in answer.text
    answer = bench.run("proxmox_download_url", node="pve1", storage="local", url="https://h/missing.iso")
    assert answer.failed and "404" in answer.text
    answer = ok(bench.run("proxmox_download_url", node="pve1", storage="local", url="https://h/other.iso", wait=0))
    assert "Still running" in answer.text and "local:iso/other.iso" not in on(bench, "local")


def test_the_volid_of_a_download_is_the_one_that_proxmox_gives_it():
    bench = Bench()
    answer = ok(bench.run("proxmox_download_url", node="pve1", storage="local", url="http://h/My%20Disk+1.iso"))
    assert answer.data["volid"] == "local:iso/My_Disk_1.iso" and answer.data["volid"] in on(bench, "local")


def test_a_template_from_the_list_is_there_afterwards():
    bench = Bench()
    answer = ok(bench.run("proxmox_download_appliance", node="pve1", storage="local", template="ubuntu"))
    assert "ostemplate=local:vztmpl/" + TEMPLATE in answer.text and answer.data["volid"] in on(bench, "local")
    for arguments, words in (({"template": "nope.tar.gz"}, "has nope.tar.gz in its"),
                             ({"storage": "pbs"}, "templates")):
        answer = bench.run("proxmox_download_appliance",
                           **dict({"node": "pve1", "storage": "local", "template": TEMPLATE},
                                                                **arguments))
        assert answer.failed and words in answer.text, answer.text


# -------------------------------------------------------------------------------------------------------------- backups

def test_a_backup_is_protected_and_noted():
    bench = Bench()
    answer = ok(bench.run("proxmox_update_backup", node="pve1", volume=OLD, protected=True,
                          notes="gr\u00fc\u00dfe\nzwei"))
    assert "Backup %s is protected now." % OLD in answer.text and answer.data["volid"] == OLD
    assert on(bench, "nas")[OLD].protected and on(bench, "nas")[OLD].notes == "gr\u00fc\u00dfe\nzwei"
    answer = bench.run("proxmox_delete_backup", node="pve1", storage="nas", volume=OLD)
    assert answer.failed and "proxmox_update_backup protected=false" in answer.text
    assert "is not protected any more" in ok(bench.run("proxmox_update_backup", node="pve1", volume=OLD,
                                                       protected=False)).text
    assert not on(bench, "nas")[OLD].protected


@pytest.mark.parametrize("arguments, words", [
    ({}, "Say what to change"), ({"notes": ""}, "Say what to change: notes or protected."),
    ({"protected": "maybe"}, "neither true nor false"),
    ({"volume": "nas:iso/virtio-win-0.1.285.iso", "protected": True}, "is not a backup"),
    ({"volume": "nas:backup/../iso/x", "protected": True}, "volume"),
    ({"volume": "nas:vm-100-disk-0", "notes": "x"}, "is not a backup")])
def test_what_is_no_change_of_a_backup(arguments, words):
    bench = Bench()
    answer = bench.run("proxmox_update_backup", **dict({"node": "pve1", "volume": OLD}, **arguments))
    assert answer.failed and words in answer.text and bench.sent() == [], answer.text


def test_backups_of_guests_out_of_bounds():
    bench = Bench(protected_guests=("100",))
    answer = bench.run("proxmox_update_backup", node="pve1", volume=OLD, protected=False)
    assert answer.failed and "Guest 100 is protected" in answer.text and bench.sent() == []
    bench = Bench(allowed_guests=("200-299",))
    answer = ok(bench.run("proxmox_list_storage_content", node="pve1", storage="nas"))
    assert {row.get("vmid") for row in answer.data["items"]} == {201, None}
    assert "100" not in json.dumps(answer.data["items"])
