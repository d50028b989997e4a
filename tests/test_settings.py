"""Settings: what is accepted, what is refused and in which words; every problem at once and never a secret's value."""
import os
import sys

import pytest

from tools.mcp import config
from tools.policy import settings
from tools.policy.settings import VARIABLES, Guests, SettingsError, demo_settings, load

GOOD = {"PROXMOX_HOST": "pve1", "PROXMOX_TOKEN_NAME": "mcp",
        "PROXMOX_TOKEN_VALUE": "11111111-2222-3333-4444-555555555555"}


def read(warn=lambda message: None, **variables):
    """Settings of GOOD and PROXMOX_<name>=value; None takes a variable away."""
    environ = dict(GOOD, **{"PROXMOX_" + name: value for name, value in variables.items()})
    return load({name: value for name, value in environ.items() if value is not None}, warn)


def problems(**variables):
    """The text of the SettingsError."""
    with pytest.raises(SettingsError) as error:
        read(**variables)
    return str(error.value)


def test_defaults():
    settings = read()
    assert (settings.host, settings.user, settings.ssl_mode, settings.allow_elevated) == ([("pve1", 8006)], "root@pam",
                                                                                          "strict",
                                                                                         False)
    assert settings.token_id == "root@pam!mcp"
    for name, meta in VARIABLES.items():
        if name not in ("host", "token_name", "token_value"):
            assert getattr(settings, name) == meta["default"]


@pytest.mark.parametrize("value, hosts", [
    ("pve1,pve2:8007", [("pve1", 8006), ("pve2", 8007)]), ("https://pve1.example.org:8006/",
                                                           [("pve1.example.org", 8006)]),
    ("192.168.1.10", [("192.168.1.10", 8006)]), ("[fd00::1]:8443", [("fd00::1", 8443)]),
    ("fd00::1", [("fd00::1", 8006)]),
    ("pve1 pve2", [("pve1", 8006), ("pve2", 8006)])])
def test_hosts(value, hosts):
    assert read(HOST=value).host == hosts


def test_a_terminal_that_asks_needs_a_directory():
    assert "PROXMOX_CONFIRM=terminal needs PROXMOX_STATE_DIR" in problems(CONFIRM="terminal")
    assert read(CONFIRM="Terminal", STATE_DIR="/var/lib/x").confirm == "terminal"


def test_a_port_goes_to_hosts_without_one():
    assert read(HOST="a,b:1", PORT="443").host == [("a", 443), ("b", 1)]


def test_a_whole_token_id_brings_its_user():
    settings = read(TOKEN_NAME="mcp@pve!ai", USER="root@pam")
    assert (settings.user, settings.token_name, settings.token_id) == ("mcp@pve", "ai", "mcp@pve!ai")


def test_the_last_at_sign_of_a_user_separates_the_realm():
    assert read(USER="john.doe@example.com@sso").token_id == "john.doe@example.com@sso!mcp"
    settings = read(TOKEN_NAME="john.doe@example.com@sso!ai")
    assert (settings.user, settings.token_name) == ("john.doe@example.com@sso", "ai")
    assert "with its realm" in problems(USER="x" * 63 + "@pam") and "with its realm" in problems(USER="a/b@pam")


@pytest.mark.parametrize("variable, value, says", [
    ("HOST", "http://pve1", "http:// is refused"), ("HOST", "pve1:99999", "not a host name"),
    ("HOST", "a b/c", "not a host"),
    ("HOST", ",", "lists nothing"), ("PORT", "0", "whole number from 1"), ("PORT", "8006x", "whole number"),
    ("USER", "root", "with its realm"), ("TOKEN_NAME", "a b", "token's name"), ("SSL_MODE", "none", "one of strict"),
    ("ALLOW_ELEVATED", "maybe", "true or false"), ("CERTIFICATE", "AA:BB", "SHA-256"),
    ("ALLOWED_GUESTS", "99", "'99' is not a vmid"), ("ALLOWED_GUESTS", "200-100", "'200-100' is not"),
    ("ALLOWED_GUESTS", "100,tag:", "'tag:' is not"), ("ALLOWED_GUESTS", "pool:a b", "'b' is not"),
    ("ALLOWED_GUESTS", ";", "nothing"),
    ("ALLOWED_GUESTS", "\u0661\u0660\u0660", "is not a vmid"), ("PROTECTED_GUESTS", "web01", "'web01' is not"),
    ("SAFETY", "none snapshot", "none, snapshot or backup"),
    ("ALLOWED_NODES", "pve1.lan", "not a node name"), ("ALLOWED_NODES", "..", "not a node name"),
    ("TOOLS", ",", "lists nothing"),
    ("TOOLS", "gests", "did you mean guests?"), ("TOOLS", "get_vms,-proxmox_get_vm", "did you mean proxmox_get_vms?"),
    ("TOOLS", "-*_nothing", "'-*_nothing' is neither a toolset"), ("RATE_LIMIT", "fast", "like 600 or 600/60"),
    ("LOG", "loud", "one of"), ("LOG", "debug info", "one of each"), ("SSH", "root@ SHA256:x", "known_hosts"),
    ("SSH", "true", "USER@"), ("SSH", "false", "USER@"), ("SSH", "root", "USER@"), ("SSH", "root@pve1", "USER@"),
    ("SSH", "root@:99999", "USER@"), ("SSH", "root@ key", "absolute path"), ("SSH", "root@ /a /b", "USER@"),
    ("SSH", "/home/me/key", "USER@"), ("CONFIRM", "yes", "one of auto")])
def test_what_is_refused(variable, value, says):
    text = problems(**{variable: value})
    assert "PROXMOX_" + variable in text and says in text and "one setting is missing or wrong" in text


def test_all_problems_at_once_and_how_to_try_without_a_proxmox():
    text = problems(HOST=None, TOKEN_VALUE="x", ALLOWED_GUESTS="abc", RATE_LIMIT="-")
    assert "4 settings are missing or wrong" in text and "PROXMOX_HOST is not set" in text and "--demo" in text
    assert text.count("PROXMOX_TOKEN_VALUE") == 1


def test_nothing_set():
    with pytest.raises(SettingsError) as error:
        load({})
    assert all(name in str(error.value) for name in GOOD)


def test_unknown_variables_are_named():
    warnings = []
    load(dict(GOOD, PROXMOX_READONLY="true", PROXMOX_X_Y="1"), warnings.append)
    assert "did you mean PROXMOX_READ_ONLY?" in warnings[0] and "PROXMOX_X_Y is not a setting" in warnings[1]


@pytest.mark.parametrize("name, here", [
    ("PROXMOX_URL", "PROXMOX_HOST"), ("PROXMOX_API_URL", "PROXMOX_HOST"), ("PROXMOX_VE_ENDPOINT", "PROXMOX_HOST"),
    ("PROXMOX_BASE_URL", "PROXMOX_HOST"), ("PROXMOX_VERIFY_SSL", "PROXMOX_SSL_MODE"),
    ("PROXMOX_VERIFY_TLS", "PROXMOX_SSL_MODE"), ("PROXMOX_VE_INSECURE", "PROXMOX_SSL_MODE"),
    ("PROXMOX_TOKEN_ID", "PROXMOX_TOKEN_NAME"), ("PROXMOX_TOKEN_SECRET", "PROXMOX_TOKEN_VALUE"),
    ("PROXMOX_VE_API_TOKEN", "PROXMOX_TOKEN_NAME and PROXMOX_TOKEN_VALUE"), ("PROXMOX_USERNAME", "PROXMOX_USER"),
    ("PROXMOX_VE_USERNAME", "PROXMOX_USER"), ("PROXMOX_PASSWORD", "(no password, only an API token) PROXMOX_TOKEN"),
    ("PROXMOX_API_PORT", "PROXMOX_PORT"), ("PROXMOX_ALLOW_WRITES", "PROXMOX_ALLOW_ELEVATED")])
def test_what_other_programs_call_a_setting_is_told_its_name_here(name, here):
    warnings = []
    load(dict(GOOD, **{name: "CANARY"}), warnings.append)
    assert len(warnings) == 1 and "%s is not a setting of this program" % name in warnings[0]
    assert "here it is called " + here in warnings[0] and "CANARY" not in warnings[0]


def test_a_setting_that_is_missing_is_told_with_the_name_that_is_set():
    found = {"PM_API_URL": "https://pve1:8006/api2/json", "PVE_TOKEN_ID": "root@pam!x",
             "PROXMOX_TOKEN_SECRET": "CANARY"}
    with pytest.raises(SettingsError) as error:
        load(found)
    text = str(error.value)
    assert "PROXMOX_HOST is not set" in text and "PM_API_URL, which is set, is of another program" in text
    assert "PVE_TOKEN_ID, which is set" in text and "PROXMOX_TOKEN_SECRET, which is set" in text
    assert "CANARY" not in text
    warnings = []
    load(dict(GOOD, **{name: found[name] for name in ("PM_API_URL", "PVE_TOKEN_ID")}), warnings.append)
    assert warnings == []                               # another program's own, and nothing is missing here


#: What version 1 called it -> what it is now; "": nothing; None: the start stops.
FORMER = [
    ({"CA_FILE": "/x/ca.pem"}, "CERTIFICATE", "/x/ca.pem"), ({"FINGERPRINT": "ab" * 32}, "CERTIFICATE", "ab" * 32),
    ({"FINGERPRINT": "ab" * 32, "CA_FILE": "/x"}, "CERTIFICATE", "ab" * 32),
    ({"TOOLSETS": "guests, nodes"}, "TOOLS", "guests, nodes"), ({"DISABLED_TOOLS": "start_*"}, "TOOLS", "all,-start_*"),
    ({"TOOLSETS": "daily", "DISABLED_TOOLS": "get_vms, stop_*"}, "TOOLS", "daily,-get_vms,-stop_*"),
    ({"TOOLS": "get_*", "DISABLED_TOOLS": "get_vms"}, "TOOLS", "get_*,-get_vms"),
    ({"TOOLS": "get_*", "TOOLSETS": "guests"}, "TOOLS", None),       # were those in both; a list is all of them
    ({"ALLOW_UNSAFE_COMMANDS": "true"}, "ALLOWED_COMMANDS", "unsafe"),
    ({"ALLOW_UNSAFE_COMMANDS": "yes", "ALLOWED_COMMANDS": "df *"}, "ALLOWED_COMMANDS", "unsafe, df *"),
    ({"ALLOW_UNSAFE_COMMANDS": "false"}, "ALLOWED_COMMANDS", ""),
    ({"ALLOW_UNSAFE_COMMANDS": "true", "ALLOWED_COMMANDS": " ,"}, "ALLOWED_COMMANDS", None),
    ({"ALLOW_UNSAFE_COMMANDS": "flase"}, "ALLOWED_COMMANDS", None), ({"SSH_ENABLED": "disabled"}, "SSH", None),
    ({"LOG_LEVEL": "debug"}, "LOG", "debug"), ({"LOG_LEVEL": "info", "LOG_FORMAT": "json"}, "LOG", "info json"),
    ({"SSH_ENABLED": "true"}, "SSH", "root@"), ({"SSH_ENABLED": "0", "SSH_USER": "mcp"}, "SSH", ""),
    ({"SSH_ENABLED": "1", "SSH_USER": "mcp", "SSH_PORT": "2222", "SSH_KEY_PATH": "/home/a b/key"}, "SSH",
     "mcp@:2222 '/home/a b/key'"),
    ({"SSH_ENABLED": "1", "SSH_HOST_KEY_FINGERPRINT": "SHA256:" + "A" * 43}, "SSH", None),
    ({"FINGERPRINT": "ab" * 32, "CERTIFICATE": "/x"}, "CERTIFICATE", None),
    ({"CA_FILE": GOOD["PROXMOX_TOKEN_VALUE"]}, "CERTIFICATE", None),
    ({"SSH_ENABLED": "1", "SSH_KEY_PATH": "CANARY"}, "SSH", None)]


@pytest.mark.parametrize("given, new, text", FORMER)
def test_a_variable_of_version_1_is_told_by_its_new_name_and_stops_the_start_where_that_is_not_known(given, new, text):
    gone = ["PROXMOX_" + name for name in given if "PROXMOX_" + name in settings.FORMER]
    if text is None:
        found = problems(**given)
        assert "became PROXMOX_%s: unset it, or write there what you mean\n" % new in found
        assert "missing or wrong" in found and "CANARY" not in found
        assert GOOD["PROXMOX_TOKEN_VALUE"] not in found
    else:
        warnings = []
        values = vars(read(warnings.append, **given))
        assert {**values, "host": 0} == {**vars(read(**({new: text} if text else {}))), "host": 0}
        [found] = warnings
        assert found.endswith("became PROXMOX_%s: %s instead" % (
            new, "write PROXMOX_%s=%s" % (new, text) if text else "unset it"))
    assert all(name in found for name in gone)


def test_a_setting_that_is_gone_is_told_and_one_of_the_connection_does_not_trouble_the_demo():
    warnings = []
    read(warnings.append, TASK_WAIT="60")
    assert "PROXMOX_TASK_WAIT is no setting any more: unset it" in warnings[0]
    assert demo_settings({"PROXMOX_CA_FILE": "/x"}).certificate is None
    assert demo_settings({"PROXMOX_DISABLED_TOOLS": "start_*"}).tools == ("all", "-start_*")
    with pytest.raises(SettingsError, match="DISABLED_TOOLS became PROXMOX_TOOLS: unset it"):
        demo_settings({"PROXMOX_TOOLS": "x", "PROXMOX_TOOLSETS": "y", "PROXMOX_DISABLED_TOOLS": "start_*"})
    assert read(TASK_WAIT="", SSH_ENABLED=" ").ssh is None


def test_a_certificate_is_a_file_or_fingerprints():
    assert (read(CERTIFICATE="/x").ca_file, read(CERTIFICATE="/x").fingerprint) == ("/x", None)
    assert (read(CERTIFICATE="ab" * 32).ca_file, read().ca_file, read().fingerprint) == (None, None, None)


@pytest.mark.parametrize("value, found", [
    ("info", ("info", "text")), ("JSON", ("warning", "json")), ("json debug", ("debug", "json"))])
def test_the_log_has_a_level_and_a_format(value, found):
    assert read(LOG=value).log == found


@pytest.mark.parametrize("value, found", [
    ("root@", ("root", 22, None)), ("mcp@:2222", ("mcp", 2222, None)),
    ("mcp@ '/a b/key'", ("mcp", 22, "/a b/key")),
    ("root@ ~/key", ("root", 22, os.path.expanduser("~/key")))])
def test_ssh_is_a_user_and_what_may_stand_behind_it(value, found):
    assert read(SSH=value).ssh == found


def test_guest_list():
    guests = Guests(("100", "200-299", "pool:prod/web", "tag:Dev"))
    assert [vmid for vmid in (99, 100, 101, 199, 200, 299, 300) if guests.by_number(vmid)] == [100, 200, 299]
    assert guests.by_row({"pool": "prod/web"}) and not guests.by_row({"pool": "prod", "tags": "de;v"})
    assert guests.by_row({"tags": "x;DEV"}) and guests and not Guests(())


def test_fingerprints_as_people_write_them():
    one, other = "ab" * 32, ":".join(["CD"] * 32)
    assert read(CERTIFICATE="%s, %s" % (one, other)).fingerprint == ":".join(["AB"] * 32) + "," + other
    for text in (other, other.lower(), other.replace(":", ""), "sha256:" + other, "  %s " % other):
        assert read(CERTIFICATE=text).fingerprint == other


@pytest.mark.parametrize("text", ["AA", "AA:BB", "zz" * 32, "AA" * 31, "AA" * 33, "AA:" * 32, "A" * 63,
                                  "AAA:" * 16 + "A" * 16, ","])
def test_a_fingerprint_must_be_one(text):
    with pytest.raises(SettingsError, match="PROXMOX_CERTIFICATE"):
        read(CERTIFICATE=text)


def test_demo_settings_need_nothing_and_take_the_rest():
    settings = demo_settings({"PROXMOX_HOST": "real", "PROXMOX_TOKEN_VALUE": "real-secret-value",
                              "PROXMOX_READ_ONLY": "true"})
    assert settings.demo and settings.read_only and settings.host == [
        ("demo", 8006)] and settings.token_value != "real-secret-value"


# ----------------------------------------------------------------------------------------------------- the token's file

def token_file(tmp_path, content, mode=0o600):
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    warnings = []
    settings = load(dict({name: GOOD[name] for name in ("PROXMOX_HOST", "PROXMOX_TOKEN_NAME")},
                         PROXMOX_TOKEN_FILE=str(path)),
                    warnings.append)
    return settings, warnings


def test_token_file(tmp_path):
    settings, warnings = token_file(tmp_path, b"secret-value-1\n")
    assert settings.token_value == "secret-value-1" and not warnings


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_token_file_others_can_read(tmp_path, mode):
    settings, warnings = token_file(tmp_path, b"secret-value-1\n", mode)
    assert len(warnings) == 1 and "chmod 600" in warnings[0] and "secret-value" not in warnings[0]


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"\0" * 20, b"x" * 200])
def test_token_file_with_something_else(tmp_path, content):
    with pytest.raises(SettingsError) as error:
        token_file(tmp_path, content)
    assert "PROXMOX_TOKEN_FILE" in str(error.value) and "two words" not in str(error.value)


def test_token_file_that_is_not_there():
    text = problems(TOKEN_VALUE=None, TOKEN_FILE=os.devnull + "/no")
    assert "PROXMOX_TOKEN_FILE" in text and "PROXMOX_TOKEN_VALUE is not set" not in text
    assert "%s/no cannot be read" % os.devnull in text


def test_token_file_is_told_together_with_what_else_is_wrong():
    path = os.path.abspath("no-such-directory/token")
    text = problems(TOKEN_VALUE=None, TOKEN_FILE=path, PORT="x")
    assert "2 settings" in text and "PROXMOX_PORT" in text and path + " cannot be read" in text


@pytest.mark.parametrize("name", ["TOKEN_FILE", "CERTIFICATE", "STATE_DIR", "AUDIT_LOG"])
def test_a_relative_path_is_refused(name):
    """It would be another file in each client, which starts the program in a directory of its own choice."""
    text = problems(TOKEN_VALUE=None if name == "TOKEN_FILE" else GOOD["PROXMOX_TOKEN_VALUE"], **{name: "some/file"})
    assert "PROXMOX_%s must be an absolute path" % name in text and "one setting" in text
    assert name == "TOKEN_FILE" or getattr(read(**{name: "~/file"}), name.lower()) == os.path.expanduser("~/file")


def test_a_token_in_place_of_its_file_is_not_shown():
    text = problems(TOKEN_VALUE=None, TOKEN_FILE="11111111-2222-3333-4444-555555555555")
    assert "PROXMOX_TOKEN_FILE" in text and "11111111" not in text


def test_token_file_and_value():
    assert "both set" in problems(TOKEN_FILE="/x")


@pytest.mark.parametrize("value", [
    "${PROXMOX_TOKEN}", "${input:token}", "{{token}}", "{{ token }}", "<token>", "<your token>", "your-token-here",
    "YOUR_API_TOKEN", "%TOKEN%", "$TOKEN", "${env:TOKEN}", "$HOME/token", "https://<host>:8006", "changeme",
    "REPLACE_ME",
    "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{token}", "root@pam!your-token", "your-proxmox-host.example.com",
    dict(config.PLACEHOLDERS)["PROXMOX_TOKEN_VALUE"]])
def test_a_placeholder_is_called_one_in_every_setting_and_not_shown(value, tmp_path):
    for meta in VARIABLES.values():
        with pytest.raises(SettingsError) as caught:
            read(**{meta["variable"][8:]: value})
        assert "  - %s is still a placeholder, which the client did not fill in" % meta["variable"] in str(caught.value)
        assert value not in str(caught.value)
    path = tmp_path / "token"
    path.write_text(value)
    with pytest.raises(SettingsError, match="PROXMOX_TOKEN_FILE: its content is still a placeholder") as caught:
        read(TOKEN_VALUE=None, TOKEN_FILE=str(path))
    assert value not in str(caught.value)


@pytest.mark.parametrize("name, value", [
    ("ALLOWED_COMMANDS", "date +%Y%m%d, uptime"), ("STATE_DIR", "/srv/your-state"),
    ("HOST", "yourhost"), ("TOKEN_NAME", "yours"), ("ALLOWED_GUESTS", "tag:your-team")])
def test_what_only_resembles_a_placeholder_is_taken(name, value):
    read(**{name: value})
