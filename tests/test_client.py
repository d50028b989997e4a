"""The client for the Proxmox API: what goes out, what comes back, and every way in which it can go wrong."""
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from types import SimpleNamespace

import pytest

import certs
from faulty import BEFORE_TLS, FAULTS, Faulty, _http
from tools.pve import client as client_module
from tools.pve import tls
from tools.pve.client import Cancelled, Client, PveError
from tools.pve.formats import fill
from tools.pve.scrub import hide, scrub

CANARY = "c4nary00-1111-2222-3333-444455556666"
START = "/nodes/pve1/qemu/100/status/start"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture
def server(pki):
    with Faulty(*pki.leaf("9")) as faulty:
        yield faulty


@pytest.fixture
def quick(monkeypatch):
    """quick(fault) makes the limits shorter: very short where it is waited for in vain, and for `None`."""
    def limit(fault=None):
        slow = fault is None or "stall" in fault or "drip" in fault
        for name, value in (("CONNECT_SECONDS", 0.1 if slow else 5), ("READ_SECONDS", 0.1 if slow else 5),
                            ("TOTAL_SECONDS", 0.15 if slow else 10), ("MAX_BODY", 1 << 20),
                            ("RETRY_PAUSES", (0.001, 0.001))):
            monkeypatch.setattr(client_module, name, value)
    return limit


def settings(pki, *ports, **more):
    values = dict(host=[("127.0.0.1", port) for port in ports], user="root@pam", token_name="mcp", token_value=CANARY,
                  ssl_mode="strict", ca_file=pki.ca("9"), fingerprint=None, state_dir=None)
    values.update(more)
    return SimpleNamespace(**values)


def connect(pki, *servers, log=None, **more):
    return Client(settings(pki, *[server.port for server in servers], **more), log=log, sleep=lambda *_: None)


def failure(client, verb="GET", path=START, params=None):
    with pytest.raises(PveError) as caught:
        client.request(verb, path, params)
    no_secret(caught.value)
    return caught.value


def no_secret(error):
    texts = traceback.format_exception(type(error), error, error.__traceback__)
    while error is not None:
        texts += [str(error), repr(error), repr(getattr(error, "__dict__", ""))]
        error = error.__cause__ or error.__context__
    for text in texts:
        assert CANARY not in text


# ---- every fault, reads and writes -----------------------------------------------------------------------------------

# fault -> (words of the message for a read, outcome of a write, requests of a read); None: it succeeds
EXPECTED = {
    "tls stall": ("handshake", "unsent", 0),
    "tls drip": ("TLS", "unsent", 0),
    "tls reset": ("handshake", "unsent", 0),
    "tls close": ("handshake", "unsent", 0),
    "plain http": ("does not speak TLS", "unsent", 0),
    "rst": ("without an answer", "unknown", 3),
    "early close": ("without an answer", "unknown", 3),
    "stall": ("in time", "unknown", 1),
    "stall in body": ("in time", "unknown", 1),
    "drip": ("in time", "unknown", 1),
    "drip in headers": ("in time", "unknown", 1),
    "short": ("incomplete", "unknown", 3),
    "huge": ("too large", "unknown", 1),
    "endless": ("too large", "unknown", 1),
    "endless headers": ("HTTP", "unknown", 2),
    "garbage": ("HTTP", "unknown", 2),
    "bomb": ("too large", "unknown", 1),
    "html": ("text/html instead of JSON", "unknown", 1),
    "empty": ("an empty page", "unknown", 1),
    "not an object": ("instead of JSON", "unknown", 1),
    "cut json": ("instead of JSON", "unknown", 1),
    "deep json": ("instead of JSON", "unknown", 1),
    "bad utf-8": (None, None, 1),
    "no length": (None, None, 1),
    "301": ("elsewhere.example.com", "refused", 1),
    "400": ("memory: value must be positive", "refused", 1),
    "echo": ("***", "refused", 1),
    "401": ("PROXMOX_TOKEN_NAME", "refused", 1),
    "403": ("pveum acl modify /vms/100 --tokens 'root@pam!mcp' --roles PVEVMUser", "refused", 1),
    "500": ("VM is locked (backup)", "refused", 1),
    "500 utf-8": ("storage 'caf\u00e9' does not exist", "refused", 1),
    "501": ("does not exist on this version", "refused", 1),
    "502": ("reverse proxy", "unknown", 3),
    "503": ("reverse proxy", "unknown", 3),
    "595": ("cannot be reached from the node", "refused", 2),
    "596": ("keeps running", "unknown", 1),
    "596 pipe": ("program does not", "unknown", 2),
    "599": ("between the nodes", "unknown", 2),
}


#: fault -> the status that its answer has where the name does not begin with it and there is a whole answer.
STATUSES = dict(dict.fromkeys(["html", "empty", "not an object", "cut json", "deep json"], 200), echo=400)


def test_every_fault_is_in_the_table():
    assert set(EXPECTED) == set(FAULTS) | set(BEFORE_TLS)


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_read_ends_with_one_sentence_and_the_next_call_works(fault, pki, server, quick):
    words, _, requests = EXPECTED[fault]
    client = connect(pki, server)
    client.warm()
    server.fault = fault
    quick(fault)
    began = time.monotonic()
    if words is None:
        client.request("GET", START)
    else:
        error = failure(client)
        assert words in str(error)
        assert str(error).rstrip().endswith(".")
        status = STATUSES.get(fault, int(fault[:3]) if fault[0].isdigit() else None)
        assert error.status == status and error.outcome == ("refused" if (status or 0) >= 300 else "unsent")
    assert time.monotonic() - began < 5
    assert server.seen("GET") == requests
    server.fault = None
    quick("")
    assert client.request("GET", START).data == {"answer": 42}


@pytest.mark.parametrize("fault", sorted(EXPECTED))
def test_write_is_sent_at_most_once_and_unknown_is_said(fault, pki, server, quick):
    words, outcome, requests = EXPECTED[fault]
    client = connect(pki, server)
    client.warm()
    server.fault = fault
    quick(fault)
    if outcome is None:
        client.request("POST", START, {"timeout": 5})
    else:
        error = failure(client, "POST", params={"timeout": 5})
        assert error.outcome == outcome
        if outcome == "unknown":
            assert "took effect is not known" in str(error)
            assert "proxmox_get_vm_status (node pve1, vmid 100, type qemu)" in str(error)
        if outcome == "unsent":
            assert "took effect" not in str(error)
    assert server.seen("POST") == min(requests, 1)
    server.fault = None
    quick("")
    assert client.request("GET", START).data == {"answer": 42}
    assert server.seen("POST") == min(requests, 1)


@pytest.mark.parametrize("verb", ["PUT", "DELETE"])
@pytest.mark.parametrize("fault", ["rst", "early close", "stall", "short", "502", "596"])
def test_put_and_delete_too(verb, fault, pki, server, quick):
    client = connect(pki, server)
    client.warm()
    server.fault = fault
    quick(fault)
    assert failure(client, verb).outcome == "unknown"
    assert server.seen(verb) == 1


def test_connection_refused(pki, server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(settings(pki, port), sleep=lambda *_: None)
    for verb in ("GET", "POST"):
        error = failure(client, verb)
        assert error.outcome == "unsent"
        assert "refuses connections" in str(error) and "PROXMOX_PORT" in str(error)


def test_name_unknown(pki, server, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = Client(settings(pki, host=[("pve1.invalid", 8006)]), sleep=lambda *_: None)
    for verb in ("GET", "POST"):
        error = failure(client, verb)
        assert error.outcome == "unsent"
        assert "pve1.invalid:8006 cannot be resolved" in str(error) and "DNS" in str(error)


def test_a_connection_that_is_reset_before_it_can_be_used_is_told_as_a_handshake(pki, monkeypatch):
    def reset(*args, **kwargs):
        raise ConnectionResetError(104, "Connection reset by peer")
    monkeypatch.setattr(tls.socket, "create_connection", reset)
    error = failure(Client(settings(pki, 8006), sleep=lambda *_: None), "POST")
    assert error.outcome == "unsent" and "handshake" in str(error) and "DENY_FROM" in str(error)


def test_no_answer_to_connect(pki, quick):
    quick()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):          # fills the backlog: further SYNs are dropped
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(full.getsockname())
            waiting.append(one)
        client = Client(settings(pki, full.getsockname()[1]), sleep=lambda *_: None)
        for verb in ("GET", "POST"):
            error = failure(client, verb)
            assert error.outcome == "unsent"
            assert "does not answer" in str(error) and "firewall" in str(error)
        for one in waiting:
            one.close()


def test_limits_hold_without_patches():
    assert client_module.READ_SECONDS > 30 and client_module.CONNECT_SECONDS <= 10
    assert client_module.TOTAL_SECONDS < 60 and client_module.IN_FLIGHT <= 4


@pytest.mark.parametrize("timeout, connect, read", [(None, 5.0, 38.0), (0.5, 0.5, 0.5), (20, 5.0, 20), (60, 5.0, 60)])
def test_time_limits_of_one_attempt(timeout, connect, read, pki):
    seen = []
    client = Client(settings(pki, 8006), adapter=Stub(b'{"data":1}', seen=seen), clock=lambda: 0.0)
    client.request("GET", "/version", timeout=timeout)
    assert seen == [(connect, read)]


def test_nothing_is_sent_when_the_time_is_over_before(pki, server):
    times = iter([0.0, 0.0, 0.0, 45.0])               # twice the limiter, then the deadline, then the request
    client = Client(settings(pki, server.port), clock=lambda: next(times))
    error = failure(client, "POST")
    assert error.outcome == "unsent" and "no time left" in str(error) and server.connections == 0


class Stub:
    """An adapter without a network: gives a body from memory, or raises. Made where requests may be imported."""

    def __new__(cls, body=b"", headers=(), error=None, each=None, seen=None):
        import requests

        class Raw:
            def __init__(self):
                self.rest = body

            def close(self):
                if seen is not None:
                    seen.append("closed")

            def read(self, most):
                if each is not None:
                    each()
                    most = 1
                chunk, self.rest = self.rest[:most], self.rest[most:]
                return chunk

        class Adapter(requests.adapters.BaseAdapter):
            def send(self, request, **kwargs):
                if error is not None:
                    raise error
                if seen is not None:
                    seen.append(kwargs["timeout"])
                response = requests.Response()
                response.status_code, response.reason, response.raw = 200, "OK", Raw()
                response.headers.update(headers)
                return response

            def close(self):
                pass
        return Adapter()


def test_earlier_failure_of_the_caller_is_not_taken_for_the_cause(pki):
    """A write inside an `except` block: the handled "no connection" must not make the broken write 'unsent'."""
    client = Client(settings(pki, 8006), adapter=Stub(error=ConnectionResetError()))
    try:
        raise tls.NotSent("refused", "no")
    except tls.NotSent:
        assert failure(client, "POST").outcome == "unknown"
    client = Client(settings(pki, 8006), adapter=Stub(error=tls.NotSent("refused", "no")))
    assert failure(client, "POST").outcome == "unsent"


def test_an_answer_that_is_not_read_to_its_end_is_closed(pki):
    def broken():
        raise problem
    for problem in (ConnectionResetError(), KeyboardInterrupt()):
        seen = []
        client = Client(settings(pki, 8006), adapter=Stub(b"x", each=broken, seen=seen))
        with pytest.raises(KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else PveError):
            client.request("POST", START)
        assert seen == [(5.0, 38.0), "closed"]


def test_short_and_endless_bodies_of_any_adapter(pki):
    """urllib3 1.26 returns the torso of a body as success; and the deadline holds whatever reads."""
    client = Client(settings(pki, 8006), adapter=Stub(b'{"data":1}', {"Content-Length": "11"}))
    assert "10 of 11 bytes" in str(failure(client, "POST"))
    client = Client(settings(pki, 8006), adapter=Stub(b'{"data":1}', {"Content-Length": "9"}))
    assert "10 of 9 bytes" in str(failure(client, "POST"))
    now = [0.0]

    def tick():
        now[0] += 1
    client = Client(settings(pki, 8006), adapter=Stub(b" " * 1000, each=tick), clock=lambda: now[0])
    assert "did not end" in str(failure(client, "POST"))
    assert now[0] == client_module.TOTAL_SECONDS


@pytest.mark.parametrize("kind, requests", [
    ("refused", 3), ("unreachable", 2), ("connect", 1), ("dns", 1), ("tls", 2), ("plain", 1), ("certificate", 1)])
def test_which_failures_to_connect_are_tried_again(kind, requests, pki):
    tried, pauses = [], []

    class Unreachable:
        """Never connects."""

        def __init__(self):
            self.send = lambda request, **kwargs: tried.append(request.method) or self.fail()

        def fail(self):
            raise tls.NotSent(kind, "no")

        def close(self):
            """Nothing to close."""
    client = Client(settings(pki, 8006), adapter=Unreachable(), sleep=lambda event, seconds: pauses.append(seconds))
    for verb in ("GET", "PUT"):
        assert failure(client, verb).outcome == "unsent"
    assert tried == ["GET"] * requests + ["PUT"]
    assert pauses == list(client_module.RETRY_PAUSES)[:requests - 1]


@pytest.mark.parametrize("status, requests", [
    (400, 1), (401, 1), (403, 1), (500, 1), (501, 1), (502, 3), (503, 3), (504, 3), (595, 2), (596, 2), (597, 2),
    (599, 2)])
def test_which_answers_to_a_read_are_asked_for_again(status, requests, pki, server):
    server.answer = _http("%d x" % status)
    failure(connect(pki, server))
    assert server.seen("GET") == requests


# ---- repeats and connections -----------------------------------------------------------------------------------------

def test_connection_is_kept(pki, server, monkeypatch):
    monkeypatch.setattr("tools.pve.adapter.IDLE_SECONDS", 60)
    client = connect(pki, server)
    for _ in range(5):
        client.request("GET", "/version")
        client.request("POST", START, {"a": "b"})
    server.answer = _http("200 OK", b"", "X: y\r\n")
    for _ in range(3):
        failure(client)
    server.answer = None
    client.request("GET", "/version")
    assert server.connections == 1


def test_connection_the_server_closed_is_noticed(pki, server):
    client = connect(pki, server)
    client.request("GET", "/version")
    server.drop_connections()
    for verb in ("POST", "GET"):
        assert client.request(verb, START).data == {"answer": 42}
    assert server.seen("POST") == 1


def test_idle_connection_is_not_used_again(pki, server, monkeypatch):
    client = connect(pki, server)
    client.request("GET", "/version")
    from tools.pve import adapter
    assert adapter.IDLE_SECONDS < 5
    monkeypatch.setattr(adapter, "IDLE_SECONDS", -1.0)
    client.request("POST", START)
    assert server.connections == 2


def test_read_is_repeated_after_a_pause_that_cancel_ends(pki, server):
    log = []
    client = Client(settings(pki, server.port), log=lambda level, event, **fields: log.append((event, fields)))
    cancelled = threading.Event()
    waits = []
    cancelled.wait = lambda seconds: (waits.append(seconds), cancelled.set())
    server.fault = "502"
    with pytest.raises(Cancelled):
        client.request("GET", "/version", cancelled=cancelled)
    assert waits == [client_module.RETRY_PAUSES[0]]
    assert server.seen("GET") == 1
    assert log[1:] == [("retry", {"path": "/version", "attempt": 1, "reason": 502})]


def test_each_request_is_logged_without_its_parameters(pki, server):
    log, now = [], [0.0]
    client = Client(settings(pki, server.port), log=lambda level, event, **fields: log.append((level, event, fields)),
                    clock=lambda: now.append(now[-1] + 0.125) or now[-1])
    client.request("POST", "/nodes/pve1/qemu/100/config", {"cipassword": "CANARY"})
    server.fault = "early close"
    with pytest.raises(PveError):
        client.request("PUT", "/nodes/pve1/qemu/100/config", {"cipassword": "CANARY"})
    assert [(level, event, fields["verb"], fields["path"], fields["status"]) for level, event, fields in log] == [
        ("debug", "request", "POST", "/nodes/pve1/qemu/100/config", 200),
        ("debug", "request", "PUT", "/nodes/pve1/qemu/100/config", "closed")]
    assert log[0][2]["ms"] > 0 and "CANARY" not in repr(log)


def test_repeats_stay_inside_the_deadline(pki, server):
    now = [0.0]
    client = Client(settings(pki, server.port), clock=lambda: now[0], sleep=lambda *_: None)
    server.fault = "503"
    with pytest.raises(PveError):
        client.request("GET", "/version", timeout=0.2)
    assert server.seen("GET") == 1


# ---- several hosts ---------------------------------------------------------------------------------------------------

def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_next_host_when_one_cannot_be_connected_to(verb, pki, server):
    client = Client(settings(pki, closed_port(), server.port), sleep=lambda *_: None)
    assert client.request(verb, START).data == {"answer": 42}
    assert client.request(verb, START).data == {"answer": 42}
    assert server.seen(verb) == 2 and client._current == 1


@pytest.mark.parametrize("fault", sorted(BEFORE_TLS))
def test_next_host_when_tls_fails(fault, pki, server, monkeypatch):
    with Faulty(*pki.leaf("9")) as bad:
        bad.fault = fault
        client = connect(pki, bad, server)
        monkeypatch.setattr(client_module, "CONNECT_SECONDS", 0.5)
        assert client.request("POST", START, timeout=5).data == {"answer": 42}
        assert server.seen("POST") == 1


def test_write_that_left_is_not_sent_to_another_host(pki, server):
    with Faulty(*pki.leaf("9")) as bad:
        bad.fault = "rst"
        client = connect(pki, bad, server)
        assert failure(client, "POST").outcome == "unknown"
        assert (bad.seen("POST"), server.seen("POST")) == (1, 0)


def test_read_is_repeated_at_another_host(pki, server):
    with Faulty(*pki.leaf("9")) as bad:
        bad.fault = "rst"
        client = connect(pki, bad, server)
        assert client.request("GET", START).data == {"answer": 42}
        assert (bad.seen("GET"), server.seen("GET")) == (2, 1)


def test_refused_certificate_is_not_stepped_over(pki, server):
    with Faulty(*pki.leaf("rogue")) as rogue:
        client = connect(pki, rogue, server)
        assert "is refused" in str(failure(client))
        assert rogue.requests == [] and server.requests == []


def test_all_hosts_down_names_them(pki):
    ports = closed_port(), closed_port()
    error = failure(Client(settings(pki, *ports), sleep=lambda *_: None))
    for port in ports:
        assert "127.0.0.1:%d" % port in str(error)


def test_a_name_that_no_resolver_takes(pki):
    error = failure(Client(settings(pki, host=[("a" * 70, 8006)])), "POST")
    assert error.outcome == "unsent" and "cannot be resolved (not a valid name)" in str(error)


@pytest.mark.parametrize("name, host", [("::1", "::1"), ("fe80::1%eth0", "fe80::1%eth0")])
def test_where_a_connection_to_an_ipv6_host_goes(name, host, pki, monkeypatch):
    from tools.pve import adapter
    seen = []

    def open_tls(trust, host, port, seconds):
        seen.append((host, port))
        raise tls.NotSent("refused", "connection refused")
    monkeypatch.setattr(adapter, "open_tls", open_tls)
    failure(Client(settings(pki, host=[(name, 8006)])), "POST")
    assert seen == [(host, 8006)]


def test_ipv6_host(pki):
    try:
        listener = Faulty(*pki.leaf("9"), address="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        for name in ("::1", "[::1]"):
            client = Client(settings(pki, host=[(name, listener.port)]))
            assert client.request("GET", "/version").data == {"answer": 42}
        assert listener.requests[0][2]["host"] == "[::1]:%d" % listener.port


# ---- what goes out ---------------------------------------------------------------------------------------------------

def test_parameters_on_the_wire(pki, server):
    client = connect(pki, server)
    params = {"full": True, "off": False, "none": None, "n": 5, "x": 1.5, "list": ["a b", "c", None, True],
              "value": "k=v;a&b+c/d \u00e9%", "empty": ""}
    encoded = "full=1&off=0&n=5&x=1.5&list=a%20b&list=c&list=1&value=k%3Dv%3Ba%26b%2Bc%2Fd%20%C3%A9%25&empty="
    for verb in ("GET", "DELETE"):
        client.request(verb, "/nodes/pve1/qemu", params)
        seen = server.requests[-1]
        assert seen[1] == "/api2/json/nodes/pve1/qemu?" + encoded and seen[3] == b""
        assert "content-length" not in seen[2] and "content-type" not in seen[2]
    for verb in ("POST", "PUT"):
        client.request(verb, "/nodes/pve1/qemu", params)
        seen = server.requests[-1]
        assert seen[1] == "/api2/json/nodes/pve1/qemu" and seen[3] == encoded.encode()
        assert seen[2]["content-type"] == "application/x-www-form-urlencoded"
        client.request(verb, START)                     # nor is a request without parameters JSON, which is refused
        assert server.requests[-1][2]["content-length"] == "0"
        assert server.requests[-1][2]["content-type"] == "application/x-www-form-urlencoded"


def test_headers_on_the_wire(pki, server):
    client = connect(pki, server, user="j\u00f6rg@pve", token_name="mcp")
    client.request("GET", "/version")
    headers = server.requests[0][2]
    assert headers["authorization"] == "PVEAPIToken=j%C3%B6rg@pve!mcp=" + CANARY
    assert headers["accept-encoding"] == "identity"
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent", "authorization"}


@pytest.mark.parametrize("template, ids", [
    ("/nodes/{node}/qemu/{vmid}/config", {"node": "pve-1", "vmid": 100}),
    ("/nodes/{node}/tasks/{upid}/log", {"node": "pve1", "upid": "UPID:pve1:0000ABCD:00112233:66AABBCC:qmstart:100:"
                                        "root@pam!mcp:"}),
    ("/nodes/{node}/storage/{storage}/content/{volume}", {
        "node": "pve1", "storage": "local", "volume": "local:backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst"}),
    ("/nodes/{node}/storage/{storage}/content/{volume}", {
        "node": "pve1", "storage": "local", "volume": "local:iso/caf\u00e9 & [x] '1' (2);3.iso".replace(" ", "_")}),
    ("/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", {"node": "pve1", "vmid": 100, "snapname": "a_b-c"}),
])
def test_path_arrives_as_it_was_made(template, ids, pki, server):
    path = fill(template, ids)
    connect(pki, server).request("GET", path)
    assert server.requests[0][1] == "/api2/json" + path


@pytest.mark.parametrize("path", [
    "", "nodes", "//", "/nodes/", "/nodes//qemu", "/nodes/./qemu", "/nodes/../access", "/nodes/..", "/nodes/.",
    "/nodes/%2e%2e/x", "/nodes/%2E%2E/x", "/nodes/%2E/x", "/nodes/a%2Fb", "/nodes/a%2fb", "/nodes/pve1?x=1",
    "/nodes/#a", "/nodes/a;b", "/nodes/a\\b", "/nodes/a%5Cb", "/nodes/a b", "/nodes/a\n", "/nodes/\x00", "/nodes/%00",
    "/nodes/%0A", "/nodes/caf\u00e9",
    "/nodes/%", "/nodes/%zz", "/nodes/\ud800", "/nodes/pve1/storage/local/content/local:backup/../../x",
    "/nodes/pve1/storage/local/content/local:backup%2F..%2Fx", "/nodes/pve1/storage/local/content/a%2F%2Fb",
    "/nodes/%7F",
])
def test_path_that_would_not_arrive_is_refused(path, pki, server):
    client = connect(pki, server)
    for verb in ("GET", "POST"):
        assert failure(client, verb, path).outcome == "unsent"
    assert server.connections == 0


@pytest.mark.parametrize("params", [{"a": "\ud800"}, {"\udfff": "a"}, {"a": ["x", "\udc80"]}, {"a": {}}, {"a": b"x"},
                                    {"a": [["x"]]}, {"a": object()}])
def test_parameter_that_cannot_be_sent_is_refused(params, pki, server):
    client = connect(pki, server)
    for verb in ("GET", "POST"):
        error = failure(client, verb, "/version", params)
        assert error.outcome == "unsent"
        str(error).encode("utf-8")
    assert server.connections == 0


def test_verb_must_be_one_of_four(pki, server):
    for verb in ("HEAD", "PATCH", "get", ""):
        assert failure(connect(pki, server), verb, "/version").outcome == "unsent"


def test_the_token_is_encoded_as_proxmox_decodes_it(pki, server):
    client = connect(pki, server, user="a b@pve", token_name="x/y", token_value="1%2!=3")
    client.request("GET", "/version")
    assert server.requests[0][2]["authorization"] == "PVEAPIToken=a%20b@pve!x%2Fy=1%252%21%3D3"


def test_a_token_that_a_command_prints_is_shown_nowhere_either(pki, server):
    made = settings(pki, server.port, token_value=None, secret=lambda: "printed-by-a-command")
    server.answer = _http("500 no printed-by-a-command here")
    error = failure(Client(made, sleep=lambda *_: None))
    assert server.requests[0][2]["authorization"].endswith("=printed-by-a-command")
    assert "printed" not in str(error) and "no *** here" in str(error)


def test_environment_and_netrc_and_cookies_are_not_looked_at(pki, server, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no-such-file"))
    client = connect(pki, server)
    server.answer = _http("200 OK", headers="Content-Type: application/json\r\nSet-Cookie: PVEAuthCookie=x; Path=/\r\n")
    for _ in range(2):
        client.request("GET", "/version")
    assert server.requests[1][2]["authorization"].endswith(CANARY)
    assert "cookie" not in server.requests[1][2]


def test_fetch_has_no_token_and_may_be_compressed(pki, server):
    client = connect(pki, server)
    page = b"const apiSchema = [];" * 1000
    server.answer = _http("200 OK", gzip.compress(page), "Content-Encoding: gzip\r\n")
    assert client.fetch("/pve-docs/api-viewer/apidoc.js") == page
    verb, target, sent, _ = server.requests[0]
    assert (verb, target) == ("GET", "/pve-docs/api-viewer/apidoc.js")
    assert "authorization" not in sent and sent["accept-encoding"] == "gzip"
    server.answer = _http("200 OK", gzip.compress(page)[:-20], "Content-Encoding: gzip\r\n")
    with pytest.raises(PveError, match="incomplete"):
        client.fetch("/pve-docs/api-viewer/apidoc.js")
    server.answer = _http("404 Not Found", b"")
    with pytest.raises(PveError) as caught:
        client.fetch("/pve-docs/api-viewer/apidoc.js")
    assert caught.value.status == 404


def test_fetch_takes_a_page_of_just_its_limit_and_no_more_of_the_wire(pki, server, monkeypatch):
    client, page, path = connect(pki, server), b"x" * 5000, "/pve-docs/api-viewer/apidoc.js"
    server.answer = _http("200 OK", gzip.compress(page), "Content-Encoding: gzip\r\n")
    monkeypatch.setattr(client_module, "MAX_BODY", 5000)
    assert client.fetch(path) == page
    monkeypatch.setattr(client_module, "MAX_BODY", 4999)
    with pytest.raises(PveError, match="too large"):
        client.fetch(path)
    monkeypatch.setattr(client_module, "MAX_BODY", 50000)
    # whatever stands behind the end of the compressed data counts too
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + (
        gzip.compress(page) + b"\0" * 100000)
    with pytest.raises(PveError, match="too large"):
        client.fetch(path)


# ---- what comes back -------------------------------------------------------------------------------------------------

def test_reply_has_the_other_keys(pki, server):
    client = connect(pki, server)
    server.answer = _http("200 OK", json.dumps({"data": [1], "total": 7, "changes": "diff"}).encode())
    reply = client.request("GET", "/version")
    assert reply.data == [1] and reply.extra == {"total": 7, "changes": "diff"}
    server.answer = _http("200 OK", b'{"data":null}')
    reply = client.request("POST", START)
    assert reply.data is None and reply.extra == {}


def test_an_answer_that_is_compressed_without_having_been_asked_for_is_read(pki, server):
    """/nodes/X/journal is gzip whatever Accept-Encoding says."""
    server.answer = _http("200 OK", gzip.compress(b'{"data":["a line"]}'), "Content-Encoding: gzip\r\n")
    assert connect(pki, server).request("GET", "/nodes/pve1/journal").data == ["a line"]
    assert server.requests[0][2]["accept-encoding"] == "identity"


def test_an_answer_that_is_plain_text_is_the_data_of_a_read(pki, server):
    """.../tasks/{upid}/log with download=1; of a change it says nothing."""
    server.answer = _http("200 OK", "a\nü".encode(), "Content-Type: text/plain; charset=UTF-8\r\n")
    assert connect(pki, server).request("GET", "/version", {"download": 1}).data == "a\nü"
    assert failure(connect(pki, server), "POST").outcome == "unknown"


def test_bad_utf8_becomes_replacement_characters(pki, server):
    server.fault = "bad utf-8"
    assert connect(pki, server).request("GET", "/version").data == "caf\ufffd \ufffd\ufffd"


def test_message_of_the_body_beats_the_reason(pki, server):
    server.answer = _http("500 first line only", json.dumps(
        {"data": None, "message": "first line only\nsecond \x1b[31mline\n"}).encode())
    assert "first line only\n| second  [31mline (HTTP 500)" in str(failure(connect(pki, server)))


def test_errors_are_kept_and_shown_each(pki, server):
    server.fault = "400"
    error = failure(connect(pki, server), "POST")
    assert error.status == 400
    assert "  scsi0: invalid format - x; value missing\n  memory: value must be positive" in str(error)
    assert str(error).startswith("Proxmox refused POST %s: Parameter verification failed. (HTTP 400)" % START)


# ---- slots, cancelling, limiter --------------------------------------------------------------------------------------

def test_four_in_flight_and_cancelled_while_waiting(pki, server):
    client = connect(pki, server)
    client.warm()
    server.fault = "stall"
    threads = [threading.Thread(target=lambda: pytest.raises(PveError, client.request, "GET", "/version"))
               for _ in range(client_module.IN_FLIGHT)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while server.seen("GET") < client_module.IN_FLIGHT and time.monotonic() < deadline:
        time.sleep(0.005)
    cancelled = threading.Event()
    fifth = []

    def wait_for_slot():
        try:
            client.request("GET", "/version", cancelled=cancelled)
        except Cancelled:
            fifth.append("cancelled")
    waiter = threading.Thread(target=wait_for_slot)
    waiter.start()
    cancelled.set()
    waiter.join(2)
    assert fifth == ["cancelled"] and server.seen("GET") == client_module.IN_FLIGHT
    server.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_cancelled_before_it_is_sent(pki, server):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        connect(pki, server).request("POST", START, cancelled=cancelled)
    assert server.connections == 0


def test_a_cancelled_request_gives_its_slot_back(pki, server):
    client, cancelled = connect(pki, server), threading.Event()
    cancelled.set()
    for _ in range(client_module.IN_FLIGHT):
        with pytest.raises(Cancelled):
            client.request("GET", START, cancelled=cancelled)
    later = threading.Thread(target=client.request, args=("GET", START), daemon=True)
    later.start()
    later.join(5)
    assert not later.is_alive() and server.seen("GET") == 1


def test_limiter_is_asked_once_a_request_and_may_refuse(pki, server):
    taken = []

    class Limiter:
        def take(self, changing):
            taken.append(changing)
            if len(taken) > 4:
                raise PveError("too many requests; try again in 5 s", outcome="unsent")
    client = connect(pki, server)
    client.limiter = Limiter()
    client.request("GET", "/version")
    for verb in ("POST", "PUT", "DELETE"):
        client.request(verb, START)
    assert "5 s" in str(failure(client))
    assert taken == [False, True, True, True, False] and len(server.requests) == 4


def test_threads_share_one_client(pki, server):
    client = connect(pki, server)
    failed = []

    def many():
        for _ in range(25):
            if client.request("GET", "/version").data != {"answer": 42}:
                failed.append(1)
    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and server.seen("GET") == 200
    assert server.connections <= client_module.IN_FLIGHT


# ---- secrets ---------------------------------------------------------------------------------------------------------

def test_a_token_is_hidden_and_what_is_too_short_is_not(pki):
    Client(settings(pki, 8006))
    assert scrub("token " + CANARY) == "token ***"
    hide("abcd")
    assert scrub("abcd") == "abcd"
    hide("abcde")
    hide("abcdefghij")                                  # the longer one first, or its end would stay
    assert scrub("abcde abcdefghij") == "*** ***"


def test_secret_in_an_answer_does_not_come_out(pki, server):
    client = connect(pki, server)
    server.answer = _http("500 bad token " + CANARY, json.dumps(
        {"data": None, "errors": {"x": "value %s is wrong" % CANARY}}).encode())
    error = failure(client, "POST")
    assert "***" in str(error) and "  x: value *** is wrong" in str(error)


def test_a_refusal_names_fifty_parameters_at_most(pki, server):
    server.answer = _http("400 x", json.dumps({"data": None, "errors": {"p%d" % n: "no" for n in range(300)}}).encode())
    assert str(failure(connect(pki, server), "POST")).count(": no") == 50


# ---- importing -------------------------------------------------------------------------------------------------------

def run(code, **env):
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **env)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, env=env).stdout.decode()


def test_importing_the_client_imports_no_requests():
    assert run("import sys\nimport tools.pve.client, tools.pve.task\n"
               "print(sorted(set(sys.modules) & {'requests', 'urllib3', 'ssl', 'http.client', 'socket'}))") == "[]\n"


@pytest.mark.parametrize("broken, words", [
    ("raise ImportError('No module named requests')", "apt install python3-requests"),
    ("raise OSError('Could not find a suitable TLS CA certificate bundle')", "zypper install python3-requests"),
])
def test_missing_or_broken_requests_is_said(broken, words, tmp_path):
    (tmp_path / "requests.py").write_text(broken)
    text = run("from types import SimpleNamespace as S\n"
               "from tools.pve.client import Client, PveError\n"
               "c = Client(S(host=[('127.0.0.1', 1)], user='root@pam', token_name='mcp', token_value='x' * 20,"
               " ssl_mode='strict', ca_file=None, fingerprint=None, state_dir=None))\nc.warm()\n"
               "try:\n    c.request('GET', '/version')\nexcept PveError as error:\n    print(error.outcome, error)\n",
               PYTHONPATH=os.pathsep.join([str(tmp_path), ROOT]))
    assert text.startswith("unsent The Python package requests cannot be used") and words in text
    assert text.count("\n") == 1
