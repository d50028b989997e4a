"""The firewall of cluster, nodes and guests: exact requests, what is asked, what has no effect."""
import pytest

from support import Asked, Bench, answering, ok

FIND = "GET /cluster/resources type=vm"
GIT, WEB = "/nodes/pve1/lxc/204", "/nodes/pve1/qemu/100"


def _looks(path):
    """What is read after a firewall was changed."""
    own = ["GET %s/firewall/options" % path, "GET %s/firewall/rules" % path]
    rest = ["GET /cluster/firewall/options"] * (path != "/cluster")
    return own + rest + ["GET %s/config" % path] * (path.count("/") > 2)


def digest(path):
    """A function of a bench -> {"digest": that of what is read at path}."""
    return lambda bench: {"digest": bench.host.client.request("GET", path).data["digest"]}


CASES = [
    ("proxmox_list_firewall_rules", {}, ["GET /cluster/firewall/options", "GET /cluster/firewall/rules"]),
    ("proxmox_list_firewall_rules", {"node": "pve1", "limit": 1, "offset": 0},
     ["GET /nodes/pve1/firewall/options", "GET /nodes/pve1/firewall/rules", "GET /cluster/firewall/options"]),
    ("proxmox_list_firewall_rules", {"vmid": 204},
     [FIND, "GET %s/firewall/options" % GIT, "GET %s/firewall/rules" % GIT, "GET /cluster/firewall/options",
      "GET %s/config" % GIT]),
    ("proxmox_add_firewall_rule", {"action": "ACCEPT", "macro": "SSH", "source": "10.0.0.0/24", "comment": "office"},
     ["POST /cluster/firewall/rules action=ACCEPT comment=office enable=1 macro=SSH source=10.0.0.0/24 type=in"]
     + _looks("/cluster")),
    ("proxmox_add_firewall_rule", {"vmid": 204, "action": "DROP", "type": "out", "dest": "10.1.0.1", "proto": "tcp",
                                   "dport": "80,443", "pos": 3, "enable": False},
     [FIND, "POST %s/firewall/rules action=DROP dest=10.1.0.1 dport=80,443 enable=0 proto=tcp "
            "type=out" % GIT, "PUT %s/firewall/rules/0 moveto=4" % GIT] + _looks(GIT)),
    ("proxmox_add_firewall_rule", {"node": "pve1", "action": "ACCEPT"},
     ["POST /nodes/pve1/firewall/rules action=ACCEPT enable=1 type=in"] + _looks("/nodes/pve1")),
    ("proxmox_delete_firewall_rule", {"vmid": 100, "pos": 0},
     [FIND, "GET %s/firewall/rules/0" % WEB, "DELETE %s/firewall/rules/0 digest={digest}" % WEB] + _looks(WEB),
     digest(WEB + "/firewall/rules/0")),
    ("proxmox_delete_firewall_rule", {"node": "pve1", "pos": 0},
     ["GET /nodes/pve1/firewall/rules/0", "DELETE /nodes/pve1/firewall/rules/0 digest={digest}"]
     + _looks("/nodes/pve1"), digest("/nodes/pve1/firewall/rules/0")),
    ("proxmox_update_firewall_options", {"vmid": 204, "enable": True, "policy_in": "DROP", "policy_out": "ACCEPT"},
     [FIND, "GET %s/firewall/options" % GIT, "PUT %s/firewall/options digest={digest} enable=1 "
      "policy_in=DROP policy_out=ACCEPT" % GIT] + _looks(GIT),
     digest(GIT + "/firewall/options")),
    ("proxmox_update_firewall_options", {"node": "pve1", "enable": False},
     ["GET /nodes/pve1/firewall/options",
      "PUT /nodes/pve1/firewall/options digest={digest} enable=0"] + _looks("/nodes/pve1"),
     digest("/nodes/pve1/firewall/options")),
]


def test_a_rule_is_asked_for_and_says_what_it_may_cut_off():
    asked = Asked(False)
    bench = Bench(consent=asked)
    answer = bench.run("proxmox_add_firewall_rule", action="DROP", proto="tcp", dport="8006")
    assert answer.failed and not bench.sent(reads=False)
    question = asked.questions[0]
    assert question.startswith("Add this firewall rule to the cluster, before the others: in DROP tcp to port 8006?")
    assert "keeps you or this server from port 8006" in question
    bench.run("proxmox_add_firewall_rule", vmid=204, action="ACCEPT", macro="SSH", source="10.0.0.0/24")
    assert asked.questions[1] == ("Add this firewall rule to container 204, before the others: in ACCEPT SSH from "
                                  "10.0.0.0/24?")


def test_a_rule_that_moved_is_not_deleted_in_place_of_another():
    bench = Bench()
    ok(bench.run("proxmox_add_firewall_rule", vmid=204, action="DROP"))
    answering(bench, GIT + "/firewall/rules/0", {"pos": 0, "type": "in", "action": "DROP", "digest": "0" * 40})
    answer = bench.run("proxmox_delete_firewall_rule", vmid=204, pos=0)
    assert answer.failed and "detected modified configuration" in answer.text
    assert ok(bench.run("proxmox_list_firewall_rules", vmid=204)).data["total"] == 1


def test_what_keeps_rules_from_having_an_effect_is_said():
    bench = Bench()
    answer = ok(bench.run("proxmox_list_firewall_rules", vmid=204))
    assert "This firewall is off: its rules have no effect" in answer.text
    answer = ok(bench.run("proxmox_update_firewall_options", vmid=204, enable=True, policy_in="DROP"))
    assert "enable: not set -> 1, policy_in: not set -> DROP" in answer.text and "no effect" not in answer.text
    answering(bench, "/cluster/firewall/options", {"enable": 0})
    answering(bench, GIT + "/config", {"net0": "name=eth0,bridge=vmbr0"})
    answer = ok(bench.run("proxmox_list_firewall_rules", vmid=204))
    assert "The firewall of the whole cluster is off" in answer.text
    assert ("net0 has no firewall=1, so its traffic is not filtered (proxmox_update_network_lxc firewall=true)"
            in answer.text)


def test_a_node_has_no_policy_of_its_own():
    bench = Bench()
    answer = bench.run("proxmox_update_firewall_options", node="pve1", policy_in="DROP")
    assert answer.failed and "that of the cluster counts" in answer.text and not bench.sent()


def test_a_change_shows_the_rules_as_they_are_then():
    bench = Bench()
    ok(bench.run("proxmox_add_firewall_rule", vmid=204, action="ACCEPT", macro="SSH"))
    answer = ok(bench.run("proxmox_add_firewall_rule", vmid=204, action="DROP"))
    assert "Rules now:\n0 in DROP\n1 in ACCEPT SSH\n" in answer.text and len(answer.data["rules"]) == 2
    answer = ok(bench.run("proxmox_delete_firewall_rule", vmid=204, pos=0))
    assert "Rules now:\n0 in ACCEPT SSH\n" in answer.text
    assert "It has no rules now." in ok(bench.run("proxmox_delete_firewall_rule", vmid=204, pos=0)).text


def test_options_without_a_change_are_refused():
    bench = Bench()
    answer = bench.run("proxmox_update_firewall_options", vmid=204)
    assert "Say what to change: enable, policy_in, policy_out." in answer.text and not bench.sent(reads=False)


@pytest.mark.parametrize("tool, arguments", [
    ("add_firewall_rule", {"action": "DROP"}), ("delete_firewall_rule", {"pos": 0}),
    ("update_firewall_options", {"enable": False})])
def test_the_clusters_firewall_is_out_of_bounds_where_guests_are_listed(tool, arguments):
    bench = Bench(allowed_guests=("100",))
    answer = bench.run("proxmox_" + tool, **arguments)
    assert answer.failed and not bench.sent(reads=False)


def test_a_rule_is_shown_whole_with_its_place():
    asked, source = Asked(False), ",".join("10.0.0.%d" % n for n in range(1, 30)) + ",0.0.0.0/0"
    bench = Bench(consent=asked)
    bench.run("proxmox_add_firewall_rule", vmid=100, action="ACCEPT", pos=2, comment="two words", source=source)
    [question] = asked.questions
    assert question.startswith("Add this firewall rule to VM 100") and question.endswith(
        ', at position 2: in ACCEPT from %s comment "two words"?' % source)


def test_a_rule_with_a_position_gets_it_though_proxmox_puts_new_ones_first():
    bench = Bench()
    for number in range(3):
        ok(bench.run("proxmox_add_firewall_rule", vmid=204, action="DROP", comment="old %d" % number))
    ok(bench.run("proxmox_add_firewall_rule", vmid=204, action="ACCEPT", comment="new", pos=2))
    rules = ok(bench.run("proxmox_list_firewall_rules", vmid=204)).data["items"]
    assert [rule["comment"] for rule in rules] == ["old 2", "old 1", "new", "old 0"]


def test_a_rule_that_was_added_and_not_moved_is_said_to_be_first():
    bench = Bench()
    answering(bench, GIT + "/firewall/rules/0", (500, "no permission"), "PUT")
    answer = bench.run("proxmox_add_firewall_rule", vmid=204, action="ACCEPT", pos=2)
    assert answer.failed and "was added before the others, at position 0, and not moved to 2" in answer.text
    answering(bench, GIT + "/firewall/rules/0", (596, "Connection timed out"), "PUT")
    answer = bench.run("proxmox_add_firewall_rule", vmid=204, action="ACCEPT", pos=2)
    assert answer.outcome == "unknown" and "at position 0, and is not known to be moved to 2" in answer.text
