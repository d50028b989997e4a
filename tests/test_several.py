"""Several clusters in one server: the file that names them, which of them a call means, and that none is ever confused
with another."""
import json
import os
import sys
import threading

import pytest

import tools
from engine import Talk
from several import NAMES, Fleet, foreign, hostile, said, value
from support import Bench, settings
from test_cli import run
from tools.mcp import approval, clusters as offers
from tools.mcp import several as many
from tools.mcp.app import App
from tools.policy import clusters
from tools.policy.settings import VARIABLES, SettingsError
from tools.pve import tls

TOKEN = "11111111-2222-3333-4444-555555555555"
WORK = "[work]\nhost = a\ntoken_name = mcp\ntoken_value = %s\n" % TOKEN
HOME = WORK.replace("work", "home").replace("= a", "= b")


def load(tmp_path, text, mode=0o600, **environ):
    path = tmp_path / "clusters.ini"
    path.write_text(text)
    path.chmod(mode)
    return clusters.load_all(dict({"PROXMOX_CONFIG": str(path)}, **environ))


def problems(tmp_path, text, mode=0o600, **environ):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text, mode, **environ)
    return [line[4:] for line in str(error.value).splitlines() if line.startswith("  - ")]


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path) as made:
        yield made


# -------------------------------------------------------------------------------------------------------------- the fil

def test_sections_stand_on_the_default_section_and_that_on_the_environment(tmp_path):
    work, home = load(tmp_path, "[DEFAULT]\nallowed_nodes = n1\nport = 1\n" + WORK + "port = 2\nread_only = yes\n"
                      "about = my\n office\n" + HOME, PROXMOX_PORT="3", PROXMOX_CONFIRM="always",
                      PROXMOX_ALLOWED_NODES="n9")
    assert (work.cluster, work.host, work.read_only, work.about) == ("work", [("a", 2)], True, "my office")
    assert (home.cluster, home.host, home.read_only, home.about) == ("home", [("b", 1)], False, "")
    assert {(one.confirm, one.allowed_nodes) for one in (work, home)} == {("always", ("n1",))}


def test_all_problems_of_all_sections_are_told_at_once(tmp_path):
    found = problems(tmp_path, "[DEFAULT]\ntoken_value = %s\nlog = x\n" % TOKEN + WORK +
                     "poort = 1\nport = x\nlog = info\ndefault = reads\n[home]\nhost = http://b\n"
                     "log_format = json\ntoken_file = /none\ntoken_command = x\ndefault = changes\n"
                     "[all]\nhost = b\ntoken_name = mm\n"
                     "token_value = c\n", PROXMOX_HOST="z", PROXMOX_RATE_LIMIT="x")
    assert [one.split(" ")[0] + " " + one.split(" ")[1].rstrip(":") for one in found] == [
        "PROXMOX_HOST is", "[DEFAULT] token_value", "[work] log", "[home] log_format", "[home] default", "[all] is",
        "[work] poort", "[work] port", "PROXMOX_RATE_LIMIT must", "[home] log_format", "[home] host",
        "[DEFAULT] log", "[home] token_file", "[home] token_name", "[all] token_value"]
    assert "did you mean port?" in found[6] and "[DEFAULT]" in found[2] and "section of that cluster" in found[0]


def test_a_key_of_version_1_is_told_what_to_write_now_where_it_stands(tmp_path):
    path, warnings = tmp_path / "clusters.ini", []
    path.write_text("[DEFAULT]\ndisabled_tools = start_*\nlog_format = json\n" + WORK + "toolsets = daily\n" + HOME +
                    "ca_file = /x/ca.pem\n")
    path.chmod(0o600)
    work, home = clusters.load_all({"PROXMOX_CONFIG": str(path), "PROXMOX_SSH_ENABLED": "true"}, warnings.append)
    assert warnings == [
        "PROXMOX_SSH_ENABLED became PROXMOX_SSH: write PROXMOX_SSH=root@ instead",
        "[DEFAULT] disabled_tools became tools: write tools=all,-start_* instead",
        "[DEFAULT] log_format became log: write log=json instead",
        "[home] ca_file became certificate: write certificate=/x/ca.pem instead",
        "[work] toolsets and disabled_tools became tools: write tools=daily,-start_* instead"]
    assert (work.tools, home.tools, home.ca_file) == (("daily", "-start_*"), ("all", "-start_*"), "/x/ca.pem")


@pytest.mark.parametrize("name", ["CA_FILE", "FINGERPRINT"])
def test_a_certificate_of_version_1_is_that_of_no_other_cluster_either(tmp_path, name):
    assert "belongs to one cluster" in problems(tmp_path, WORK + HOME, **{"PROXMOX_" + name: "ab" * 32})[0]


@pytest.mark.parametrize("text, says", [
    ("", "names no cluster"), ("host = a", "line 1 cannot be read: a [SECTION] must come first"),
    (WORK + WORK, "line 5 cannot be read: a section stands there twice"),
    (WORK + "token_value = secret-secret", "line 5 cannot be read: a key stands there twice"),
    (WORK + "secret-secret", "line 5 cannot be read"),
    (WORK + WORK.replace("work", "Work"), "differ in capitals alone"),
    (WORK + HOME.replace("home", "a b"), "is no name for a cluster"),
    (WORK + "config = /x\n", "config is not a setting"),
    (WORK + "about = x\ndefault = all\n", "must be reads or changes"),
    (WORK + "# x" * clusters.LONGEST, "is larger than"), (WORK + "PROXMOX_PORT = 1", "did you mean port?"),
    (WORK + "token_command = pass 'show", "a quote may be missing")])
def test_a_file_that_is_wrong(tmp_path, text, says):
    found = problems(tmp_path, text)
    assert any(says in one for one in found), found
    assert "secret-secret" not in "".join(found)


@pytest.mark.skipif(os.name != "posix", reason="modes")
@pytest.mark.parametrize("mode, text, fine", [
    (0o600, WORK, True), (0o640, WORK, False), (0o604, WORK, False),
    (0o644, WORK.replace("value = " + TOKEN, "command = x"), True),
    (0o664, WORK.replace("value = " + TOKEN, "command = x"), False)])
def test_nobody_else_reads_a_token_or_says_which_command_is_run(tmp_path, mode, text, fine):
    if fine:
        assert load(tmp_path, text, mode)
    else:
        assert any("run: chmod 600" in one for one in problems(tmp_path, text, mode))


def test_the_example_is_a_file_for_two_clusters(tmp_path, capsys):
    assert run("config", "file") == 0
    text = capsys.readouterr().out
    for name in ("work", "home"):
        (tmp_path / name).write_text(TOKEN)
        (tmp_path / name).chmod(0o600)
        text = text.replace("~/%s-token" % name, str(tmp_path / name))
    assert [one.cluster for one in load(tmp_path, text)] == ["work", "home"]
    every = "\n".join(line.lstrip("# ") for line in text.splitlines() if " = " in line)
    assert all("%s =" % name in every for name in VARIABLES if name != "config")


def test_a_file_with_one_section_is_one_cluster_as_ever(tmp_path):
    [only] = load(tmp_path, WORK)
    assert only.cluster is None
    alone, plain = App([only], None), App(settings(), None)
    assert alone.tools() == plain.tools() and alone.prompts() == plain.prompts()
    assert alone.resource_templates() == plain.resource_templates()
    assert not [tool["name"] for tool in alone.tools() if "cluster" in tool["inputSchema"]["properties"]]


@pytest.mark.parametrize("script, says", [
    ("print('%s')" % TOKEN, None),
    ("print('%s', file=__import__('sys').stderr)" % TOKEN, "what it printed is not a token"),
    ("print('secret secret')", "what it printed is not a token's value"), ("raise SystemExit(3)", "exit status 3"),
    (None, "cannot be run")])
def test_a_command_may_print_the_token_when_it_is_first_needed(tmp_path, script, says):
    mark = tmp_path / "ran"
    command = "/nowhere/pass" if script is None else "%s -c \"open('%s', 'a').write('x');%s\"" % (
        sys.executable, mark, script)
    with Fleet(tmp_path, names=("work", "home")) as fleet:
        with open(fleet.path) as stream:
            text = stream.read().replace("token_value = " + value("home"), "token_command = " + command.replace(
                TOKEN, value("home")))
        logged = []
        app = App(load(tmp_path, text), lambda *args, **fields: logged.append((args, fields)))
        app.warm()
        client = Talk(app)
        assert not mark.exists()

        def nodes(name):
            return client.call("tools/call", {"name": "proxmox_get_nodes", "arguments": {"cluster": name}})["result"]
        for _ in range(2):
            result = nodes("home")
        assert result["isError"] == (says is not None) and (says is None or says in said(result)), said(result)
        assert "secret secret" not in said(result) + repr(logged) and value("home") not in repr(logged)
        assert script is None or mark.read_text() == "x" * (1 if says is None else 2)
        assert len(fleet.gates["home"].asked) == (2 if says is None else 0) and not fleet.gates["work"].asked
        assert not nodes("work")["isError"]


# ------------------------------------------------------------------------------------------------------ what is offered

@pytest.mark.parametrize("more, tool, required", [
    ({}, "get_vm_status", True), ({}, "start_vm", True), ({"home": ["default = reads"]}, "get_vm_status", False),
    ({"home": ["default = reads"]}, "start_vm", True), ({"home": ["default = changes"]}, "start_vm", False),
    ({"home": ["default = changes"]}, "get_vms", False),
    ({"home": ["default = changes", "tools = -*"]}, "start_vm", True)])
def test_the_argument_is_required_where_there_is_no_default(tmp_path, more, tool, required):
    listed = {one["name"]: one for one in Fleet(tmp_path, **more).app.tools()}
    assert ("cluster" in listed["proxmox_" + tool]["inputSchema"].get("required", ())) == required


def test_a_tool_is_offered_for_the_clusters_that_have_it(tmp_path):
    fleet = Fleet(tmp_path, work=["read_only = true", "about = production"], lab=["tools = -*_vms"])
    listed = {one["name"]: one["inputSchema"] for one in fleet.app.tools()}
    assert listed["proxmox_get_vm_status"]["properties"]["cluster"] == {
        "type": "string", "enum": list(NAMES), "description": "work: production; home: 127.0.0.1; lab: 127.0.0.1"}
    assert listed["proxmox_start_vm"]["properties"]["cluster"]["enum"] == ["home", "lab"]
    assert listed["proxmox_get_vms"]["properties"]["cluster"]["items"]["enum"] == ["work", "home", "all"]


def test_tools_for_several_read_and_answer_with_rows():
    known = {entry["name"]: entry for entry in tools.surface()}
    for name in offers.TOGETHER:
        assert not known[name]["changes"] and tools.outputs()[name]["required"] == ["items", "total"], name
    assert not [name for name, entry in known.items() if "cluster" in entry["tool"]["inputSchema"]["properties"]]


# ----------------------------------------------------------------------------------------------------- which is meant

@pytest.mark.parametrize("named, says", [
    ({}, "which cluster? One of work, home, lab."), ({"cluster": ""}, "which cluster?"),
    ({"cluster": None}, "which cluster?"), ({"cluster": "Home"}, "Did you mean home?"),
    ({"cluster": "hmoe"}, "there is no cluster hmoe here. Did you mean home?"),
    ({"cluster": "all"}, "there is no cluster all here"), ({"cluster": "work,home"}, "for one cluster at a time"),
    ({"cluster": ["work", "home"]}, "for one cluster at a time"), ({"cluster": {}}, "there is no cluster"),
    ({"cluster": [["home"]]}, "there is no cluster"), ({"cluster": 7}, "there is no cluster 7 here"),
    ({"Cluster": "home"}, "which cluster?"), ({"cluster": "home\n"}, None), ({"cluster": ["home"]}, None)])
def test_a_change_names_exactly_one(fleet, named, says):
    result = fleet.call("start_vm", vmid=107, **named)
    assert result["isError"] == (says is not None) and (says or "cluster home: VM 107") in said(result), said(result)
    assert [len(gate.changes()) for gate in fleet.gates.values()] == [0, int(says is None), 0]


@pytest.mark.parametrize("default, reads, changes", [
    ("reads", "home", None), ("changes", "home", "home"), ("", None, None)])
def test_what_nobody_names_goes_to_the_default_as_far_as_the_file_says(tmp_path, default, reads, changes):
    with Fleet(tmp_path, home=["default = " + default]) as fleet:
        for tool, where in (("get_vm_status", reads), ("get_vms", reads), ("start_vm", changes)):
            before = fleet.count()
            fleet.call(tool, **({} if tool == "get_vms" else {"vmid": 107}))
            asked = [name for name, count in fleet.count().items() if count > before[name]]
            assert asked == ([where] if where else []), tool


def test_with_one_cluster_the_argument_is_unknown():
    bench = Bench()
    assert "cluster: unknown argument" in bench.run("proxmox_get_vms", cluster="work").text


@pytest.mark.parametrize("mode", ["auto", "always", "token", "terminal"])
def test_a_client_that_mixes_clusters_up_changes_nothing_at_the_others(tmp_path, mode):
    fleet, wrong = hostile(tmp_path, mode, 7, 5)
    assert wrong == [] and not any(foreign(fleet).values())
    assert any(gate.changes() for gate in fleet.gates.values())


def retried(fleet, mode, first, second):
    """Ask at one cluster, and come back with the answer and another."""
    client = fleet.talk(None, mode != "token")
    call = {"name": "proxmox_stop_vm", "arguments": {"vmid": 100, "cluster": first}}
    result = client.call_modern("tools/call", call)["result"]
    call["arguments"]["cluster"] = second
    if mode == "token":
        call["arguments"]["confirm_token"] = said(result).split()[-1]
    else:
        call.update(requestState=result["requestState"],
                    inputResponses={"confirm": {"action": "accept", "content": {"confirm": True}}})
    return client.call_modern("tools/call", call)


@pytest.mark.parametrize("mode, says", [
    ("auto", "Invalid or expired requestState"), ("token", "not valid for this call")])
def test_an_answer_is_for_the_cluster_that_was_asked_about(tmp_path, mode, says):
    with Fleet(tmp_path, ["confirm = " + mode]) as fleet:
        assert says in json.dumps(retried(fleet, mode, "work", "home"))
        assert not any(gate.changes() for gate in fleet.gates.values())
        assert "cluster lab: VM 100" in json.dumps(retried(fleet, mode, "lab", "lab"))
        assert [name for name, gate in fleet.gates.items() if gate.changes()] == ["lab"]


# ------------------------------------------------------------------------------------------------------- it is named

def test_questions_the_audit_log_the_journal_and_the_log_name_the_cluster(tmp_path):
    state, log = str(tmp_path / "state"), str(tmp_path / "audit")
    with Fleet(tmp_path, ["confirm = auto", "state_dir = " + state, "audit_log = " + log]) as fleet:
        client = fleet.talk()
        client.request("tools/call", {"name": "proxmox_stop_vm", "arguments": {"vmid": 100, "cluster": "lab"}})
        asked = client.read()
        assert asked["params"]["message"].startswith("On cluster lab: ")
        assert asked["params"]["requestedSchema"]["properties"]["confirm"]["title"] == "Stop VM 100 on cluster lab?"
        client.send({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"confirm": True}}})
        text = said(client.read()["result"])
        assert text.startswith("\u2705 cluster lab: ")
        with open(log) as stream:
            assert {json.loads(line)["cluster"] for line in stream} == {"lab"}
        assert [name for name in os.listdir(state) if "journal" in name] == ["journal-lab"]
        assert {fields["cluster"] for _, _, fields in fleet.logged if "tool" in fields} == {"lab"}
        undo = text.split("undo: ")[1].split()[0]
        refused = said(fleet.call("undo", cluster="work", id=undo))
        assert "Nothing is noted under %s on cluster work" % undo in refused and not fleet.gates["work"].changes()
        assert undo in said(fleet.call("undo", cluster="lab"))


def test_what_was_noted_at_a_cluster_is_not_taken_back_at_another_that_got_its_name(tmp_path):
    top = ["state_dir = " + str(tmp_path / "state")]
    with Fleet(tmp_path, top) as fleet:
        undo = said(fleet.call("start_vm", cluster="lab", vmid=107)).split("undo: ")[1].split()[0]
        with open(fleet.path) as stream:
            text = stream.read().replace("[lab]", "[x]").replace("[work]", "[lab]").replace("[x]", "[work]")
        swapped = Talk(App(load(tmp_path, text), lambda *args, **fields: None))
        for name in ("lab", "work"):
            answer = swapped.call("tools/call", {"name": "proxmox_undo", "arguments": {"cluster": name, "id": undo}})
            assert "Nothing is noted" in said(answer["result"])
        assert not fleet.gates["work"].changes() and len(fleet.gates["lab"].changes()) == 1


def test_a_question_at_the_terminal_names_the_cluster(tmp_path):
    state = str(tmp_path / "state")
    with Fleet(tmp_path, ["confirm = terminal", "state_dir = " + state]) as fleet:
        done = threading.Thread(target=fleet.call, args=("stop_vm",), kwargs={"cluster": "home", "vmid": 100})
        done.start()
        while not (os.path.isdir(state) and approval.waiting(state)):
            assert done.is_alive()
        [shown] = approval.waiting(state)
        assert "on cluster home (127.0.0.1:" in shown.text() and "On cluster home: " in shown.text()
        shown.answer(False)
        done.join(20)
        assert not fleet.gates["home"].changes()


def test_the_steps_of_a_run_are_all_on_its_cluster(fleet):
    def step(**more):
        return {"tool": "start_vm", "arguments": dict({"vmid": 107}, **more)}
    result = fleet.call("run", cluster="work", steps=[step(), step(cluster="home")])
    assert "Step 2 names another cluster" in said(result) and not any(gate.asked for gate in fleet.gates.values())
    assert "Step 1: {'cluster'" not in said(fleet.call("run", cluster="work", plan=True, steps=[step(cluster="work")]))
    assert not any(gate.changes() for gate in fleet.gates.values())
    result = fleet.call("run", cluster="work", steps=[step(cluster="work")])
    assert "cluster work: Run r-" in said(result) and not fleet.gates["home"].asked
    ident = said(result).split("Run ")[1].split(":")[0]
    assert "There is no run" in said(fleet.call("get_run", cluster="home", id=ident))
    assert not fleet.call("get_run", cluster="work", id=ident)["isError"]


# -------------------------------------------------------------------------------------------------- several at once

def test_all_tells_of_each_and_one_that_is_down_is_a_line(tmp_path):
    with Fleet(tmp_path, ["answers = both"]) as fleet:
        fleet.fronts["home"].__exit__()
        result = fleet.call("get_vms", cluster="all")
    text = said(result)
    assert text.startswith("\u26a0 2 of 3 clusters answered\n\n\u2705 cluster work: 17 guests")
    [down] = [line for line in text.split("\n") if "cluster home: " in line]
    assert "refuses connections" in down
    data = result["structuredContent"]
    assert data["total"] == 34 and [row["cluster"] for row in data["items"]] == ["work"] * 17 + ["lab"] * 17
    assert [(one["cluster"], one["ok"]) for one in data["clusters"]] == [("work", True), ("home", False), ("lab", True)]
    assert "refuses connections" in data["clusters"][1]["error"]


def test_some_are_read_once_each_and_the_others_not_at_all(fleet):
    assert not fleet.call("get_nodes", cluster="lab, work,lab")["isError"]
    assert fleet.count() == {"work": 1, "home": 0, "lab": 1}


def test_when_none_answers_it_failed(tmp_path):
    with Fleet(tmp_path) as fleet:
        for front in fleet.fronts.values():
            front.__exit__()
        text = said(fleet.call("get_nodes", cluster="all"))
    assert text.startswith("\u274c Error: none of 3 clusters answered") and text.count("refuses connections") == 3


def test_one_that_is_slow_keeps_the_others_waiting_no_longer_than_is_fair(fleet, monkeypatch):
    monkeypatch.setattr(many, "LATE", 0.3)
    monkeypatch.setattr(many, "TIMES", 0)
    over, handle = threading.Event(), fleet.gates["home"].handle
    monkeypatch.setattr(fleet.gates["home"], "handle", lambda *args: (over.wait(60), handle(*args))[1])
    text = said(fleet.call("get_nodes", cluster="all"))
    over.set()
    assert "2 of 3 clusters answered" in text and "cluster home: no answer within" in text


def test_a_read_of_all_ends_when_it_is_cancelled(fleet, monkeypatch):
    over, begun = threading.Event(), threading.Event()
    for gate in fleet.gates.values():
        monkeypatch.setattr(gate, "handle", lambda *args: (begun.set(), over.wait(60), (500, "", {}, b""))[2])
    client = fleet.talk()
    asked = client.request("tools/call", {"name": "proxmox_get_nodes", "arguments": {"cluster": "all"}})
    assert begun.wait(60)
    client.cancel(asked)
    assert client.quiet() and not over.is_set()
    over.set()


# --------------------------------------------------------------------------------------------------------- guardrails

#: A guardrail in the section of one cluster -> a call that it refuses there, and no other cluster does.
START = ("start_vm", {"vmid": 107})
GUARDRAILS = {
    "allow_elevated = false": START, "read_only = true": START, "allowed_guests = 100": START,
    "protected_guests = 107": START, "allowed_nodes = pve1": START, "tools = minimal": START,
    "tools = get_*": START, "tools = -start_vm": START, "dry_run = true": START, "rate_limit = 600/1": START,
    "confirm = token": ("stop_vm", {"vmid": 100}),
    "confirm = always": ("stop_vm", {"vmid": 100}), "safety = backup:none": ("delete_vm", {"vmid": 107}),
    "allowed_commands = uptime": ("execute_vm_command", {"vmid": 100, "command": "df"}),
    "audit_log = /proc/none/x": START}


@pytest.mark.parametrize("line", GUARDRAILS)
@pytest.mark.parametrize("place", ["work", "lab"])
def test_a_guardrail_holds_in_its_cluster_and_in_no_other(tmp_path, line, place):
    tool, arguments = GUARDRAILS[line]
    with Fleet(tmp_path, **{place: [line]}) as fleet:
        for name in NAMES + NAMES:                      # whatever came before
            if name == place and line.startswith("rate_limit"):
                for _ in range(2):
                    fleet.call(tool, cluster=name, **arguments)
                fleet.gates[name].asked = fleet.gates[name].changes()[1:]
            fleet.call(tool, cluster=name, **arguments)
        changed = [name for name, gate in fleet.gates.items() if gate.changes()]
        assert changed == [name for name in NAMES if name != place]


def test_a_setting_that_may_differ_is_a_guardrail_that_is_tested_or_no_limit():
    tested = {line.split(" ")[0] for line in GUARDRAILS}
    assert set(VARIABLES) - tested - set(clusters.SHARED) == {
        "host", "user", "token_name", "token_value", "token_file", "token_command", "ssl_mode", "certificate", "port",
        "config", "ssh"}


def test_the_certificate_of_one_is_not_trusted_for_another(tmp_path):
    with Fleet(tmp_path) as fleet:
        with open(fleet.path) as stream:
            own = "\ntoken_value = " + value("lab")
            text = stream.read().replace(fleet.fronts["lab"].cert + own, "AB" * 32 + own)
        fleet.app = App(load(tmp_path, text), lambda *args, **fields: None)
        assert "certificate" in said(fleet.call("get_nodes", cluster="lab")) and not fleet.gates["lab"].asked
        assert not fleet.call("get_nodes", cluster="work")["isError"]


def test_pins_of_one_are_not_lost_when_another_is_pinned(tmp_path):
    state = tmp_path / "state"
    with Fleet(tmp_path, ["ssl_mode = verify", "state_dir = %s" % state]) as fleet:
        with open(fleet.path) as stream:
            text = "\n".join(line for line in stream.read().splitlines() if not line.startswith("certificate"))
        client = Talk(App(load(tmp_path, text), lambda *args, **fields: None))
        for name in NAMES:                              # all are made before the first is pinned
            client.server.app().hosts[name]().client.warm()
        for name in NAMES:
            client.call("tools/call", {"name": "proxmox_get_nodes", "arguments": {"cluster": name}})
        assert len((state / tls.PINS_FILE).read_text().splitlines()) == 3


# ---------------------------------------------------------------------------------------------- the rest of the protoco

def test_resources_name_their_cluster(fleet):
    client = fleet.talk()
    listed = client.call("resources/list")["result"]["resources"]
    assert {one["uri"].split("/")[2] for one in listed} == set(NAMES)
    before = fleet.count()
    text = client.call("resources/read", {"uri": "pve://home/guest/100/status"})["result"]["contents"][0]
    assert text["uri"] == "pve://home/guest/100/status" and json.loads(text["text"])["name"] == "web01"
    assert [name for name, count in fleet.count().items() if count > before[name]] == ["home"]
    for uri in ("pve://guest/100/status", "pve://nowhere/guest/100/status", "pve://Home/guest/100/status",
                "pve://home"):
        assert "error" in client.call("resources/read", {"uri": uri}), uri
    templates = client.call("resources/templates/list")["result"]["resourceTemplates"]
    assert all(one["uriTemplate"].startswith("pve://{cluster}/") for one in templates)


def test_resources_of_a_cluster_that_is_down_are_left_out(fleet):
    fleet.fronts["work"].__exit__()
    listed = fleet.talk().call("resources/list")["result"]["resources"]
    assert {one["uri"].split("/")[2] for one in listed} == {"home", "lab"}


@pytest.mark.parametrize("ref", [{"type": "ref/prompt", "name": "diagnose_guest"},
                                 {"type": "ref/resource", "uri": "pve://{cluster}/guest/{vmid}/status"}])
def test_completion_knows_clusters_and_asks_the_one_that_is_named(fleet, ref):
    client = fleet.talk()

    def complete(name, typed, **known):
        return client.call("completion/complete", {"ref": ref, "argument": {"name": name, "value": typed}, "context": {
            "arguments": known}})["result"]["completion"]["values"]
    assert complete("cluster", "h") == ["home"] and complete("cluster", "") == list(NAMES)
    assert complete("vmid", "web") == [] and complete("vmid", "web", cluster="nowhere") == []
    assert not any(gate.asked for gate in fleet.gates.values())
    assert "100" in complete("vmid", "web", cluster="lab") and not fleet.gates["work"].asked


def test_a_prompt_may_be_about_one_cluster(fleet):
    client = fleet.talk()
    assert all(one["arguments"][-1]["name"] == "cluster" for one in client.call("prompts/list")["result"]["prompts"])

    def get(**arguments):
        return client.call("prompts/get", {"name": "morning_report", "arguments": arguments})
    assert get(cluster="lab")["result"]["messages"][0]["content"]["text"].endswith("cluster lab: name it in each call.")
    assert "cluster" not in get()["result"]["messages"][0]["content"]["text"][-60:]
    assert "there is no cluster nope here" in get(cluster="nope")["error"]["message"]


# ---------------------------------------------------------------------------------------------------- the command line

@pytest.fixture
def at_home(fleet, monkeypatch):
    monkeypatch.setenv("PROXMOX_CONFIG", fleet.path)
    return fleet


def test_a_call_of_the_command_line_names_its_cluster(at_home, capsys):
    assert run("call", "get_nodes", "--cluster", "lab") == 0 and at_home.count() == {"work": 0, "home": 0, "lab": 1}
    assert capsys.readouterr().out.startswith("\u2705 cluster lab: ")
    assert run("call", "get_nodes", "cluster=work", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == "work"
    assert run("call", "get_nodes") == 2 and run("call", "get_nodes", "cluster=work", "--cluster", "lab") == 2
    assert run("call", "get_nodes", "--cluster", "all") == 0
    before = at_home.count()
    assert run("call", "stop_vm", "vmid=100", "--cluster", "lab") == 4
    assert "On cluster lab: " in capsys.readouterr().out and before["work"] == at_home.count()["work"]
    assert run("call", "stop_vm", "vmid=100", "--yes") == 2
    assert not any(gate.changes() for gate in at_home.gates.values())


def test_check_tries_all_or_one(at_home, capsys):
    assert run("check") == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("Cluster ")] == ["Cluster " + name for name in NAMES]
    before = at_home.count()
    assert run("check", "home", "--json") == 0 and list(json.loads(capsys.readouterr().out)) == ["home"]
    assert [name for name, count in at_home.count().items() if count > before[name]] == ["home"]
    assert run("check", "nope") == 2
    at_home.fronts["lab"].__exit__()
    assert run("check") == 1


def test_a_client_is_given_the_file_and_no_more(at_home, capsys):
    assert run("config", "cursor") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["mcpServers"]["proxmox"]["env"] == {"PROXMOX_CONFIG": at_home.path}
    assert "filled in" not in captured.err


def test_a_shell_completes_clusters(at_home, capsys):
    assert run("completion", "bash") == 0
    script = capsys.readouterr().out
    assert 'call:get_nodes) words="cluster=work cluster=home cluster=lab' in script and "work home lab" in script


def test_freeze_finds_the_directory_in_the_file(tmp_path, monkeypatch, capsys):
    fleet = Fleet(tmp_path, ["state_dir = %s" % (tmp_path / "state")])
    monkeypatch.setenv("PROXMOX_CONFIG", fleet.path)
    assert run("freeze", "now") == 0
    with fleet:
        for name in NAMES:
            assert "frozen" in said(fleet.call("start_vm", cluster=name, vmid=107))


@pytest.mark.parametrize("names", [("work",), ("work", "home")])
def test_the_connection_for_the_first_call_is_made_before_it_where_there_is_one_cluster(names, tmp_path):
    with Fleet(tmp_path, names=names) as fleet:
        with open(fleet.path) as stream:
            app = App(load(tmp_path, stream.read()), lambda *args, **fields: None)
        app.warm()
        assert [host.made is not None for host in app.hosts.values()] == [len(names) == 1] * len(names)
