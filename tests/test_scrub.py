"""Which names have a secret, and what is shown of an answer that holds some."""
import threading

import pytest

from tools.pve.scrub import hide, hide_here, is_secret, masked, scrub

SECRET = """password cipassword new-password confirmation-password passphrase secret client-secret ticket vncticket
    CSRFPreventionToken token api_token tokenvalue token-value otp totp key client-key private_key private-key api.key
    apikey access-key encryption-key eab-hmac-key corosync_authkey keyring keys header otel-headers cookie data
    input-data target-endpoint PASSWORD Backup.Password"""
HARMLESS = """tokenid full-tokenid tokens token-coefficient lock-token keyboard keyctl config-keys public-key
    public-key-bits master-pubkey pre-enrolled-keys sshkeys ssh-public-keys ssh_public_keys ssh-key totp-locked hotplug
    certkey out-data err-data datastore data-pool metadata_pool author authsupported privs tfa endpoint monkey digest"""


@pytest.mark.parametrize("name", SECRET.split())
def test_names_whose_value_is_a_secret(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", HARMLESS.split())
def test_names_that_only_look_like_it(name):
    assert not is_secret(name)


@pytest.mark.parametrize("answer, shown", [
    # GET /cluster/sdn/ipams/{ipam}, /cluster/sdn/dns/{dns}, /nodes/{node}/subscription, /cluster/acme/plugins/{id}
    ({"ipam": "nb", "token": "CANARY", "url": "https://nb"}, {"ipam": "nb", "token": "***", "url": "https://nb"}),
    ({"dns": "pd", "key": "CANARY", "ttl": 60}, {"dns": "pd", "key": "***", "ttl": 60}),
    ({"key": "CANARY", "status": "active"}, {"key": "***", "status": "active"}),
    ({"plugin": "cf", "data": "CANARY", "digest": "ab"}, {"plugin": "cf", "data": "***", "digest": "ab"}),
    # GET /nodes/{node}/hosts
    ({"data": "127.0.0.1 localhost", "digest": "ab"}, {"data": "127.0.0.1 localhost", "digest": "ab"}),
    # .../pending, .../cloudinit, /nodes/{node}/apt/repositories, /cluster/notifications/endpoints/webhook/{name}
    ([{"key": "memory", "value": "512", "pending": "1024"}, {"key": "name", "pending": "web"}],
     [{"key": "memory", "value": "512", "pending": "1024"}, {"key": "name", "pending": "web"}]),
    ({"key": "cipassword", "value": "CANARY", "pending": "CANARY2", "delete": 1},
     {"key": "cipassword", "value": "***", "pending": "***", "delete": 1}),
    ({"Key": "Signed-By", "Values": ["a.gpg"]}, {"Key": "Signed-By", "Values": ["a.gpg"]}),
    ({"name": "api-key", "value": "CANARY"}, {"name": "api-key", "value": "***"}),
    ({"header": ["name=Authorization,value=CANARY"], "secret": [{"name": "x"}]},
     {"header": "***", "secret": [{"name": "x"}]}),
    # GET /access/users, /cluster/metrics/export, and what is no text
    ({"userid": "a@pve", "keys": "CANARY", "tokens": [{"tokenid": "mcp"}]},
     {"userid": "a@pve", "keys": "***", "tokens": [{"tokenid": "mcp"}]}),
    ({"data": [{"id": "node/pve1", "metric": "cpu", "value": 1}]},
     {"data": [{"id": "node/pve1", "metric": "cpu", "value": 1}]}),
    ({"password": "", "ticket": None, "token": 1000, "keys": []}, {"password": "", "ticket": None, "token": 1000,
                                                                   "keys": []}),
    ("text", "text"), (None, None),
])
def test_answers_are_shown_without_secrets(answer, shown):
    assert masked(answer) == shown


def test_secrets_are_hidden_in_every_form():
    hide("p\u00e4ss w/rd'1")
    for text in ("p\u00e4ss w/rd'1", "p%C3%A4ss%20w%2Frd%271", "p%C3%A4ss+w/rd%271", repr("p\u00e4ss w/rd'1")):
        assert "w" not in scrub("<%s>" % text).replace("***", ""), text
    assert scrub("PVEAPIToken=a@pam!b=0000-1111 x") == "PVEAPIToken=a@pam!b=*** x"
    assert scrub("PVEAuthCookie=PVE%3Aroot; x") == "PVEAuthCookie=***; x"
    assert scrub("ticket PVE:root@pam:66AABBCC::abc/+== and PVEVNC:66AABBCC::abc.") .count("***") == 2
    assert scrub("PVE: Proxmox VE, PVE:x") == "PVE: Proxmox VE, PVE:x"
    assert scrub({"a": ["p\u00e4ss w/rd'1", 5, None, True]}) == {"a": ["***", 5, None, True]}


def test_secrets_of_a_call_are_hidden_in_its_thread():
    hide_here(["abc", "defg", "defghi"])
    try:
        assert scrub("abc defg defghi") == "abc *** ***"
        seen = []
        other = threading.Thread(target=lambda: seen.append(scrub("defg")))
        other.start()
        other.join()
        assert seen == ["defg"]
    finally:
        hide_here([])
    assert scrub("defg") == "defg"
