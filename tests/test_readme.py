"""What the README shows works: its commands on the demo cluster, its configurations, and the names in it."""
import json
import os
import re
import shlex

import pytest

import readme
import tools
from tools.mcp import cli
from tools.policy.clusters import load_all
from tools.policy.settings import VARIABLES, load

with open(readme.path(), encoding="utf-8") as stream:
    TEXT = stream.read()
PROGRAM = os.path.join(readme.ROOT, "proxmox_mcp.py")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
LINES = [line for kind, block in BLOCKS if kind == "sh" for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [line for line in LINES if "/bin/proxmox-mcp " in line]
CALLS = [re.sub(r"^(proxmox-mcp )?call ", "", line) for line in LINES
         if re.match(r"(proxmox-mcp )?call ", line)]
CONFIGURATIONS = [json.loads(block) for kind, block in BLOCKS if kind == "json"]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROXMOX_")]:
        monkeypatch.delenv(name)


def assigned(words):
    """{variable: value} of the words NAME=value, ~ taken for the home directory as a shell does."""
    pairs = [word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word)]
    return {name: os.path.expanduser(value) for name, value in pairs}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_on_the_demo(line, capsys, monkeypatch):
    before, command = line.rsplit("/bin/proxmox-mcp ", 1)
    for name, value in assigned(before.split()).items():
        monkeypatch.setenv(name, value)
    assert cli.run(shlex.split(command), "1.0.0", PROGRAM) == 0
    said = capsys.readouterr().out
    assert said and all(value in said for value in assigned(before.split()).values())


def test_there_are_commands_and_configurations():
    assert len(COMMANDS) > 3 and len(CALLS) > 2 and len(CONFIGURATIONS) == 1


@pytest.mark.parametrize("words", CALLS)
def test_calls_of_the_api(words, capsys):
    """What the demo cluster has no endpoint for is refused by that name, not by the arguments."""
    words = shlex.split(words)
    name = words.pop(0) if words[0].startswith("proxmox_") else "proxmox_api_call"
    status = cli.run(["--demo", "call", name, "--yes"] + words, "1.0.0", PROGRAM)
    said = capsys.readouterr().out
    known = any(part in " ".join(words) for part in ("firewall", "/access/", "words=", "/ha/", "/backup", "file-read"))
    assert (status == 0) if known else re.search(r"has no (POST|PUT|GET) ", said), said


def environments():
    for found in CONFIGURATIONS:
        (servers,) = found.values()
        yield servers["proxmox"]["env"]
    yield from (assigned(line.split()) for line in COMMANDS if line.startswith("PROXMOX_"))


@pytest.mark.parametrize("environment", list(environments()))
def test_configurations_are_accepted_and_can_verify_a_host(environment, tmp_path):
    if "PROXMOX_TOKEN_FILE" in environment:
        (tmp_path / "token").write_text("00000000-0000-0000-0000-000000000000\n")
        environment = dict(environment, PROXMOX_TOKEN_FILE=str(tmp_path / "token"))
    settings = load(environment)
    assert settings.token_id == "root@pam!mcp" and settings.ssl_mode == "strict"
    assert settings.ca_file                 # a fresh Proxmox has a CA that no system knows


def test_its_file_of_several_clusters_is_one(tmp_path, monkeypatch):
    text = TEXT.split("```ini\n")[1].split("```")[0]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work-token").write_text("00000000-0000-0000-0000-000000000000\n")
    (tmp_path / "clusters.ini").write_text(text)
    work, home = load_all({"PROXMOX_CONFIG": str(tmp_path / "clusters.ini")})
    assert (work.about, work.allow_elevated, home.allow_elevated) == ("the production cluster", False, True)


def test_every_variable_and_tool_in_it_exists():
    variables = {meta["variable"] for meta in VARIABLES.values()}
    assert set(re.findall(r"\bPROXMOX_[A-Z_]*[A-Z]\b", TEXT)) == variables
    names = {entry["name"] for entry in tools.surface()}
    assert set(re.findall(r"\bproxmox_[a-z_]*[a-z]\b", TEXT)) - names <= {"proxmox_mcp", "proxmox_name"}


def test_it_speaks_of_no_other_time_or_place():
    assert not re.findall(r"/tmp/|/root/|/work/|pyenv|pypi", TEXT)


def test_nobody_is_sent_to_the_package_of_the_same_name():
    assert "on PyPI is somebody else's" in TEXT and not re.search(r"uvx|pipx|install (-\S+ )*proxmox-mcp", TEXT)


def test_links_lead_somewhere():
    headings = [re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in TEXT.splitlines()
                if line.startswith("#")]
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(targets) > 4
    for target in targets:
        assert target[1:] in headings if target.startswith("#") else os.path.exists(os.path.join(readme.ROOT, target))


def test_files_it_names_exist():
    for path in re.findall(r"\b(?:tests|tools)/[\w/]+\.\w+", TEXT):
        assert os.path.exists(os.path.join(readme.ROOT, path)), path


def test_it_can_be_read_in_one_go():
    assert len(TEXT.splitlines()) <= 450


#: What the security model promises -> tests that hold it, as "module.test".
PROVED = {
    "Two tiers.": ("guard.test_a_tool_that_is_not_allowed_is_refused_and_nothing_is_sent",
                   "guard.test_read_only_beats_everything"),
    "One table": ("endpoints.test_what_was_found_by_attack_loses", "attacks.test_what_crosses_a_list_is_refused",
                  "attacks.test_what_may_lose_something_asks_or_has_a_reason_not_to"),
    "Before something is lost": ("hostile.test_what_destroys_asks_first_and_names_its_target",
                                 "confirm.test_anything_but_a_ticked_yes_is_a_no",
                                 "confirm.test_what_the_user_said_no_to_is_not_asked_again_for_two_minutes",
                                 "confirm.test_a_yes_is_for_the_guest_that_had_the_name",
                                 "approval.test_what_was_tampered_with_is_no_yes",
                                 "attacks.test_what_can_be_put_back_is_asked_for_where_all_is_to_be"),
    "The freeze": ("approval.test_frozen_from_the_next_request_on_in_every_server",
                   "approval.test_a_change_that_waits_for_its_turn_is_frozen_too",
                   "approval.test_a_freeze_while_the_user_is_asked_counts"),
    "Questions are whole.": ("attacks.test_all_that_a_request_sends_stands_in_its_question",
                             "attacks.test_a_command_is_asked_for_with_all_its_characters",
                             "attacks.test_all_guests_are_named", "attacks.test_what_cannot_be_shown_whole_is_refused",
                             "audit.test_secrets_are_hidden_by_name_and_never_blank_what_stands_elsewhere"),
    "Guardrails": ("bounds.test_no_answer_tells_of_a_guest_out_of_bounds_and_no_refusal_comes_after_a_question",
                   "bounds.test_errors_of_proxmox_do_not_tell_of_guests_out_of_bounds",
                   "attacks.test_an_option_that_does_what_a_tool_does_that_is_switched_off_is_refused",
                   "guard.test_out_of_bounds_is_refused_before_the_tool_sends_anything",
                   "attacks.test_what_crosses_a_list_is_refused",
                   "attacks.test_a_protected_guest_whose_tags_cannot_be_read_is_not_changed",
                   "attacks.test_an_iso_of_a_shared_storage_is_within_reach_of_each_node"),
    "Several clusters": ("several.test_a_client_that_mixes_clusters_up_changes_nothing_at_the_others",
                         "several.test_a_guardrail_holds_in_its_cluster_and_in_no_other",
                         "several.test_an_answer_is_for_the_cluster_that_was_asked_about"),
    "A change is sent at most once.": ("attacks.test_a_get_that_acts_is_sent_once", "faults.test_"),
    "The token": ("hostile.test_no_secret_in_any_stream", "tls.test_"),
    "The safety net": ("safety.test_a_backup_is_made_first_asked_about_and_named",
                       "safety.test_nothing_is_destroyed_when_the_backup_fails",
                       "safety.test_what_no_backup_would_hold_is_not_destroyed",
                       "safety.test_no_raw_request_destroys_without_a_net"),
    "Ids are checked, not escaped": ("hostile.test_ids_are_matched_whole_and_ascii_before_anything_is_sent",
                                     "hostile.test_the_path_is_the_template_whatever_the_arguments"),
    "Text from guests": ("attacks.test_lines_that_a_node_says_do_not_begin_a_line_of_ours",
                         "attacks.test_characters_that_cannot_be_seen_are_written_out"),
    "The audit log": ("audit.test_what_cannot_be_noted_is_not_done", "attacks.test_refused_attempts_have_a_line",
                      "attacks.test_the_log_keeps_length_and_hash_of_what_it_cuts"),
    "Commands": ("agent.test_each_character_of_the_rule_is_refused_and_named",
                 "attacks.test_options_cannot_lead_past_a_list_of_commands"),
}


def test_every_promise_of_the_security_model_is_held_by_tests():
    section = TEXT.split("## Security model")[1].split("\n#")[0]
    promised = re.findall(r"^\* \*\*(.+?)\*\*", section, re.MULTILINE)
    assert sorted(PROVED) == sorted(set(promised) - {"Trusted", "Not promised:"})
    for names in PROVED.values():
        for module, name in (one.split(".") for one in names):
            with open(os.path.join(readme.ROOT, "tests", "test_%s.py" % module), encoding="utf-8") as stream:
                assert "\ndef %s" % name in stream.read(), (module, name)
