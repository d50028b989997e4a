"""Whole calls: every fault of a server, at every kind of call, in both eras of the protocol.

Each ends in time with a sentence, the next call works, no change arrives twice, no secret is in any stream.
(test_client.py has the same for single requests, and the words of each fault.)
"""
import collections
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest

import certs
from engine import Talk
from faulty import BEFORE_TLS, FAULTS, Faulty
from support import Clock, settings
from tools.demo import DemoCluster
from tools.mcp.app import App
from tools.mcp.consent import Consent
from tools.mcp.run import UNREADABLE, Host
from tools.mcp.serve import CAPABILITIES
from tools.pve import client as client_module

TOKEN, PASSWORD = "CANARY-token-1111-2222-333344445555", "CANARY+pass/wo rd%1"
KEY = "ssh-ed25519 AAAACANARYKEY1234567890123456789012345678901234567890 me@here"
ALPINE = "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"
#: How a secret may be written. The key is a public one, and kept out of the logs all the same.
WRITTEN = {form for secret in (TOKEN, PASSWORD) for form in (
    secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])}
IN_TIME = 5.0                   # seconds for any call here; the client's limits are made as short as `limits` says


def tool(name, **arguments):
    return "tools/call", {"name": "proxmox_" + name, "arguments": arguments}


def complete(name, value):
    return "completion/complete", {"ref": {"type": "ref/resource", "uri": "pve://guest/{vmid}/status"},
                                   "argument": {"name": name, "value": value}}


#: kind of call -> (method and params, whether it changes something)
KINDS = {
    "read": (tool("get_nodes"), False),
    "read of several": (tool("list_backups", node="pve1"), False),
    "change": (tool("resize_lxc", node="pve3", vmid=203, cores=3), True),
    "change with a task": (tool("create_snapshot_vm", node="pve1", vmid=100, snapname="s1", wait=0), True),
    "destroying": (tool("delete_snapshot_vm", node="pve1", vmid=100, snapname="before-upgrade", wait=0), True),
    "with secrets": (tool("create_lxc", node="pve1", vmid=300, ostemplate=ALPINE, storage="local-lvm",
                          password=PASSWORD, ssh_public_keys=KEY, wait=0), True),
    "command": (tool("execute_vm_command", node="pve1", vmid=100, command="uname -a", timeout=5), True),
    "resource": (("resources/read", {"uri": "pve://guest/100/config"}), False),
    "completion": (complete("vmid", "1"), False),
}


class After:
    """Strikes what comes after the first change: the looks at a task or at what has become of it."""

    def __init__(self):
        self.changed = False

    def __call__(self, verb, target):
        self.changed = self.changed or verb != "GET"
        return self.changed and verb == "GET"


#: which requests are struck -> makes the function(verb, target) for Faulty.only
STRUCK = {"all": lambda: None, "changes": lambda: lambda verb, target: verb != "GET", "what follows": After}
FAULTS_OF_ALL = sorted(set(FAULTS) | set(BEFORE_TLS))
SLOW = [fault for fault in FAULTS_OF_ALL if "stall" in fault or "drip" in fault]
#: One of each way to lose an answer: how a read ends is the same wherever it is made.
LOOKS = ["rst", "short", "html", "401", "500", "502", "596"]


def _cases():
    """Each fault at every second kind of call, the next fault at the others; secrets are tried with all of them."""
    for number, fault in enumerate(FAULTS_OF_ALL):
        for place, (kind, (_, changes)) in enumerate(KINDS.items()):
            if (number + place) % 2 and kind != "with secrets" and fault not in SLOW:
                continue
            if fault in SLOW and kind not in ("read", "change", "completion"):
                continue                                # waiting in vain takes its time
            if not changes or kind == "with secrets" or fault in BEFORE_TLS:
                yield fault, kind, "all"
            if changes and fault not in BEFORE_TLS:
                yield fault, kind, "changes"
            if changes and fault in LOOKS:
                yield fault, kind, "what follows"


CASES = list(_cases())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server that can misbehave, and one client of each era in front of it: {era: (Talk, audit log)}."""
    folder = tmp_path_factory.mktemp("faults")
    pki = certs.make(folder)
    with Faulty(*pki.leaf("9")) as server:
        server.cluster, talks = DemoCluster(), {}
        for era in ("legacy", "modern"):
            audit = str(folder / (era + ".log"))
            made = settings(host=[("127.0.0.1", server.port)], certificate=pki.ca("9"), token_value=TOKEN,
                            audit_log=audit,
                            demo=False)
            logged = []

            def log(level, event, logged=logged, **more):
                logged.append("%s %s %r" % (level, event, more))
            info = {"name": "t", "title": "T", "version": "0", "instructions": "", "capabilities": CAPABILITIES}
            clock = Clock()
            host = Host(made, log, consent=Consent("auto"), clock=clock, sleep=clock.sleep)
            host.client._clock = time.monotonic         # only between two looks no time passes
            app = App(made, log, host)
            talk = Talk(app, "2025-11-25" if era == "legacy" else None, info=info)
            talk.logged = logged
            talks[era] = talk, audit
        yield server, talks


@pytest.fixture
def limits(monkeypatch):
    """Sets the client's limits; slow: to those for what is waited for in vain, 0.1 and the like."""
    def limit(slow=None):
        for name, value in (("CONNECT_SECONDS", slow or 5), ("READ_SECONDS", slow or 5), ("RETRY_PAUSES", (0.0, 0.0)),
                            ("TOTAL_SECONDS", slow * 1.5 if slow else 10), ("MAX_BODY", 1 << 20)):
            monkeypatch.setattr(client_module, name, value)
        monkeypatch.setattr("tools.base.call.POLL_SECONDS", slow * 1.5 if slow else 10)
    return limit


def said(answer):
    """(text, whether it failed) of an answer."""
    if "error" in answer:
        return answer["error"]["message"], True
    if "content" in answer["result"]:
        return answer["result"]["content"][0]["text"], answer["result"]["isError"]
    return json.dumps(answer["result"]), False


@pytest.mark.parametrize("fault, kind, struck", CASES, ids=["-".join(case) for case in CASES])
def test_every_fault_at_every_kind_of_call(fault, kind, struck, world, limits):
    server, talks = world
    (method, params), changes = KINDS[kind]
    era = ("legacy", "modern")[CASES.index((fault, kind, struck)) % 2]
    talk, audit = talks[era]
    ask = talk.call if era == "legacy" else talk.call_modern
    server.only = STRUCK[struck]()
    server.drop_connections()
    del server.requests[:]
    server.fault = fault
    # where nothing is answered in time, no limit is too short
    limits((0.05 if struck == "all" else 0.1) if fault in SLOW else None)
    began = time.monotonic()
    text, failed = said(ask(method, params))
    assert time.monotonic() - began < IN_TIME
    server.fault = None
    limits()
    arrived = collections.Counter((verb, target, body) for verb, target, _, body in server.requests if verb != "GET")
    assert all(count == 1 for count in arrived.values()), arrived
    if arrived:                     # the next one finds everything as it was
        server.cluster = DemoCluster()
    if failed:
        assert UNREADABLE not in text or fault in HALF_RIGHT, text
        assert re.search(r"[.)!]\Z|\nUPID: \S+\Z", text.strip()) and len(text) < 1500, text
        if changes and not arrived and struck != "all":
            assert "othing was sent" in text, text
    if arrived and struck != "what follows" and fault in LOST:
        assert failed and "took effect is not known" in text, text
    again, failed = said(ask("tools/call", {"name": "proxmox_get_nodes", "arguments": {}}))
    assert not failed and "pve1" in again
    with open(audit, "a+", encoding="ascii") as stream:
        stream.seek(0)
        streams = stream.read() + "\n".join(talk.logged)
    assert not any(form in streams + text for form in WRITTEN) and KEY.split()[1] not in streams
    del talk.logged[:]
    with open(audit, "w", encoding="ascii"):
        pass


#: Answers that say 200 and are none of Proxmox's: what is in them is not what was asked for.
HALF_RIGHT = {"bad utf-8", "no length"}
#: After these nobody knows whether a change was made.
LOST = {"rst", "early close", "stall", "stall in body", "drip", "drip in headers", "short", "huge", "endless",
        "endless headers", "garbage", "bomb", "html", "empty", "not an object", "cut json", "deep json", "502", "503",
        "596", "596 pipe", "599"}
