"""Pools, backup jobs, replication, users: exact requests, what is asked, and what Proxmox refuses."""
import pytest

from support import Asked, Bench, answering, ok
from tools.base.lists import enabled, taken_by

FIND = "GET /cluster/resources type=vm"
JOBS = "GET /cluster/backup"
STORAGES = "GET /storage"
CASES = [
    ("proxmox_create_pool", {"poolid": "staging", "vms": "105,106"},
     [FIND, "POST /pools poolid=staging", "PUT /pools/staging vms=105,106"]),
    ("proxmox_create_pool", {"poolid": "staging", "vms": "107", "allow_move": True},
     ["POST /pools poolid=staging", "PUT /pools/staging allow-move=1 vms=107"]),
    ("proxmox_update_pool", {"poolid": "lab", "vms": "105,106", "allow_move": True},
     ["PUT /pools/lab allow-move=1 vms=105,106"]),
    ("proxmox_update_pool", {"pool": "production", "vms": "100", "delete": True}, ["PUT /pools/production delete=1 "
        "vms=100"]),
    ("proxmox_update_pool", {"poolid": "lab", "storage": "nas"}, ["PUT /pools/lab storage=nas"]),
    ("proxmox_create_backup_job", {"id": "nightly", "schedule": "01:00", "storage": "nas", "pool": "lab",
                                   "keep": "keep-last=7", "enabled": False},
     [STORAGES, JOBS, "POST /cluster/backup enabled=0 id=nightly mode=snapshot pool=lab "
            "prune-backups=keep-last=7 schedule=01:00 storage=nas", JOBS]),
    ("proxmox_create_backup_job",
     {"schedule": "sat 03:00", "storage": "nas", "all": True, "exclude": "100", "node": "pve1",
                                   "mode": "stop"},
     [STORAGES, JOBS, "POST /cluster/backup all=1 enabled=1 exclude=100 mode=stop node=pve1 schedule=sat 03:00 "
                      "storage=nas", JOBS]),
    ("proxmox_create_backup_job", {"schedule": "01:00", "storage": "nas", "vmid": "100,101"},
     [STORAGES, JOBS, "POST /cluster/backup enabled=1 mode=snapshot schedule=01:00 storage=nas vmid=100,101", JOBS]),
    ("proxmox_update_backup_job", {"id": "backup-nightly", "schedule": "22:00"},
     [JOBS, "PUT /cluster/backup/backup-nightly schedule=22:00"]),
    ("proxmox_update_backup_job", {"id": "backup-old", "enabled": True, "storage": "nas", "keep": "keep-last=2", "mode":
                                   "snapshot", "exclude": "100", "all": True},
     [STORAGES, JOBS,
      "PUT /cluster/backup/backup-old all=1 enabled=1 exclude=100 mode=snapshot "
            "prune-backups=keep-last=2 storage=nas"]),
    ("proxmox_update_backup_job", {"id": "backup-nightly", "vmid": "100", "node": "pve1"},
     [JOBS, "PUT /cluster/backup/backup-nightly node=pve1 vmid=100"]),
    ("proxmox_update_backup_job", {"id": "backup-nightly", "pool": "lab"},
     [JOBS, "PUT /cluster/backup/backup-nightly delete=vmid pool=lab"]),
    ("proxmox_run_backup_job", {"id": "backup-nightly", "wait": 600},
     [JOBS, FIND] + ["POST /nodes/%s/vzdump compress=zstd mode=snapshot notes-template={{guestname}} notification-mode="
                     "notification-system prune-backups=keep-last=3,keep-weekly=4 storage=nas vmid=100,201" % node
                     for node in ("pve1", "pve2")]),
    ("proxmox_list_replication", {}, [FIND, "GET /cluster/replication", "GET /nodes/pve2/replication"]),
    ("proxmox_list_replication", {"node": "pve1", "limit": 5, "offset": 0}, [FIND, "GET /cluster/replication"]),
    ("proxmox_run_replication", {"id": "202-0"}, [FIND, "POST /nodes/pve2/replication/202-0/schedule_now"]),
    ("proxmox_list_users", {"limit": 5, "offset": 0}, ["GET /access/users full=1"]),
    ("proxmox_list_acl", {}, ["GET /access/acl"]),
]


@pytest.mark.parametrize("tool, arguments, says", [
    ("update_pool", {"poolid": "lab"}, "Say what to change: vms or storage."),
    ("create_backup_job", {"vmid": "100", "pool": "lab"}, "A job takes guests by vmid, or a pool, or all; not vmid and "
                                                          "pool"),
    ("create_backup_job", {"keep": "keep-last=1"}, "A backup job also needs: schedule, storage, vmid, pool or all."),
    ("update_backup_job", {"id": "backup-old"}, "Say what to change: schedule, storage"),
    ("update_backup_job", {"id": "nix", "schedule": "1:00"}, "There is no backup job nix. There are: backup-nightly, "
     "backup-old, backup-pool."),
    ("create_backup_job", {"schedule": "1:00", "storage": "nix", "vmid": "100"}, "There is no storage nix, or"),
    ("update_backup_job", {"id": "backup-nightly", "storage": "nix"}, "There is no storage nix, or"),
    ("run_backup_job", {"id": "nix"}, "There is no backup job nix."),
    ("run_replication", {"id": "999-0"}, "There is no guest 999, so no replication job 999-0."),
])
def test_what_is_refused_says_why(tool, arguments, says):
    bench = Bench()
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.failed and says in answer.text, answer.text
    assert not bench.sent(reads=False)


def test_what_moving_between_pools_needs_is_said():
    bench = Bench()
    answer = bench.run("proxmox_update_pool", poolid="production", vms="107")
    assert answer.failed and "already a member of pool 'lab'" in answer.text
    assert "moves it (allow_move=true, of proxmox_create_pool too)" in answer.text


def test_no_pool_is_made_for_guests_that_another_one_keeps():
    bench = Bench()
    answer = bench.run("proxmox_create_pool", poolid="staging", vms="105,107")
    assert answer.failed and "107 (lab)" in answer.text and "allow_move=true" in answer.text
    assert "105" not in answer.text
    assert "already exists" in bench.run("proxmox_create_pool", poolid="lab", vms="107").text
    answer = bench.run("proxmox_create_pool", poolid="staging", allow_move=True)
    assert answer.failed and "Name the guests in vms that allow_move=true is for" in answer.text
    assert not bench.sent(reads=False)


def test_a_pool_that_was_made_without_its_guests_is_said_to_be_there():
    lost = Bench()
    answering(lost, "/pools/staging", (596, "Connection timed out"), "PUT")
    answer = lost.run("proxmox_create_pool", poolid="staging", vms="105")
    assert "The pool staging was made. Putting guests 105 into it is not known to have worked: " in answer.text


def test_what_was_put_into_a_pool_or_taken_out_is_told():
    asked = Asked()
    bench = Bench(consent=asked)
    told = [bench.run("proxmox_update_pool", poolid="production", **more).text.split("\n")[0] for more in (
        {"vms": "107", "allow_move": True}, {"vms": "107", "delete": True}, {"storage": "nas"})]
    assert told == ["\u2705 Guests 107 put into pool production.", "\u2705 Guests 107 taken out of pool production.",
                    "\u2705 Storages nas put into pool production."]
    assert asked.questions[0].startswith("Put guests 107 into pool production and take them out of the pool they are")
    bench.run("proxmox_create_pool", poolid="new", vms="107", allow_move=True)
    assert asked.questions[2].startswith("Put guests 107 into pool new and take them out of the pool they are in?")


@pytest.mark.parametrize("chosen", [{"allowed_guests": ("100",)}, {"tools": ("-update_pool",)}])
def test_no_pool_is_made_when_its_guests_may_not_be_put_into_it(chosen):
    bench = Bench(**chosen)
    assert bench.run("proxmox_create_pool", poolid="staging", vms="105").failed and not bench.sent(reads=False)


def test_a_change_of_a_job_is_asked_for_with_old_and_new_values():
    asked = Asked(False)
    bench = Bench(consent=asked)
    bench.run("proxmox_update_backup_job", id="backup-nightly", schedule="22:00", enabled=False)
    bench.run("proxmox_create_backup_job", schedule="01:00", storage="nas", pool="lab", keep="keep-last=7")
    bench.run("proxmox_run_backup_job", id="backup-nightly")
    assert asked.questions == [
        "Change backup job backup-nightly: schedule: 21:00 -> 22:00, enabled: 1 -> 0?",
        "Make a backup job: mode snapshot, enabled 1, schedule 01:00, storage nas, pool lab, prune-backups "
        "keep-last=7? It deletes older backups of these guests on that storage as the retention says.",
        "Run backup job backup-nightly now, of guests 100, 201 on pve1, pve2 (storage nas, mode snapshot, compress "
        "zstd, vmid 100,201, prune-backups keep-last=3,keep-weekly=4, notes-template {{guestname}}, notification-mode "
        "notification-system)? Older backups are deleted as its retention says."]
    assert not bench.sent(reads=False)


def test_a_made_job_has_its_id_and_its_next_run():
    answer = ok(Bench().run("proxmox_create_backup_job", schedule="01:00", storage="nas", pool="lab"))
    assert answer.data["id"].startswith("backup-") and answer.data["next_run"] and "; next run 20" in answer.text


def test_a_job_that_fails_on_one_node_is_a_failure():
    bench = Bench()
    bench.cluster.world.guests[201].conf["lock"] = "migrate"
    answer = bench.run("proxmox_run_backup_job", id="backup-nightly", wait=600)
    assert answer.failed and "did not run well on every node (pve1: OK; pve2: " in answer.text


def test_replication_that_fails_stands_first():
    answer = ok(Bench().run("proxmox_list_replication"))
    assert answer.text.startswith("\u2705 2 replication jobs, 1 failing\n")
    assert [row["id"] for row in answer.data["items"]] == ["101-0",
                                                           "202-0"] and answer.data["items"][0]["fail_count"] == 6


def test_the_state_of_replication_that_cannot_be_read_is_said():
    bench = Bench()
    answering(bench, "/nodes/pve2/replication", (595, "No route to host"))
    answer = ok(bench.run("proxmox_list_replication"))
    assert answer.data["total"] == 2 and "State of the jobs on pve2: " in answer.text


def test_users_and_their_tokens():
    rows = {row["userid"]: row for row in ok(Bench().run("proxmox_list_users")).data["items"]}
    assert rows["root@pam"]["tokens"] == ["demo (all rights of the user)"] and rows["bob@pve"]["enable"] is False
    assert rows["alice@pve"]["tokens"] == ["ro"]


def test_the_question_names_all_guests_and_what_the_job_loses():
    asked, many = Asked(False), ",".join(map(str, range(100, 300)))
    bench = Bench(consent=asked)
    bench.run("proxmox_update_backup_job", id="backup-nightly", pool="lab")
    bench.run("proxmox_create_backup_job", schedule="01:00", storage="nas", all=True, exclude=many)
    bench.run("proxmox_update_backup_job", id="backup-nightly", vmid=many)
    assert asked.questions[0] == "Change backup job backup-nightly: pool: not set -> lab, vmid: 100,201 -> removed?"
    assert all(many in question for question in asked.questions[1:]) and not bench.sent(reads=False)


@pytest.mark.parametrize("answer, words", [
    ("OK", "(pve2: not started, none of the guests is there; pve1: OK). "
           "Do not start it again where it ran: UPID:pve1:"),
    ((596, "Connection timed out"), "(pve2: not known to have started, Proxmox ")])
def test_a_node_that_starts_no_backup_hides_no_other(answer, words):
    bench = Bench(consent=Asked())
    answering(bench, "/nodes/pve2/vzdump", answer, "POST")
    assert words in bench.run("proxmox_run_backup_job", id="backup-nightly", wait=600).text


def test_what_was_started_before_another_node_refused_is_named():
    bench = Bench()
    answering(bench, "/nodes/pve2/vzdump", (500, "boom"), "POST")
    answer = bench.run("proxmox_run_backup_job", id="backup-nightly", wait=600)
    assert answer.failed and "did not run well on every node (pve2: not started, " in answer.text
    assert "pve1: OK). Do not start it again where it ran: UPID:pve1:" in answer.text


GUESTS = [{"vmid": 100, "node": "a", "pool": "p"}, {"vmid": 101, "node": "b"}, {"vmid": 102, "node": "a"}]


@pytest.mark.parametrize("jobs, left", [
    ([], [100, 101, 102]), ([{"all": 1}], []), ([{"all": "1", "enabled": 0}], [100, 101, 102]),
    ([{"all": 1, "exclude": "101,102"}], [101, 102]), ([{"all": 1, "node": "a"}], [101]),
    ([{"vmid": "100;101"}], [102]), ([{"vmid": "100,101", "node": "b"}], [100, 102]), ([{"pool": "p"}], [101, 102]),
    ([{"pool": "p", "node": "b"}], [100, 101, 102]),
    ([{"vmid": "100"}, {"pool": "p"}, {"vmid": 102, "enabled": "1"}], [101])])
def test_which_guests_no_job_takes(jobs, left):
    assert [guest["vmid"] for guest in GUESTS if not any(taken_by(job, guest) for job in enabled(jobs))] == left
