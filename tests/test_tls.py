"""Whom the client trusts, in each SSL mode: who is refused never sees a request."""
import os
import shutil
import socket
import ssl
import stat
import time
from types import SimpleNamespace

import pytest

import certs
from faulty import Faulty
from tools.pve import adapter, tls
from tools.pve.client import Client, PveError

CANARY = "c4nary00-1111-2222-3333-444455556666"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return certs.make(tmp_path_factory.mktemp("certs"))


@pytest.fixture(autouse=True)
def system_store(pki, monkeypatch):
    """The system's CAs are: none of ours. A test may set another bundle; reading the real one takes time."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca("foreign"))


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.lines = []

    def __call__(self, level, event, **fields):
        if level != "debug":                            # each request is one there
            self.lines.append((level, event, fields))

    def events(self):
        return [event for _, event, _ in self.lines]


def settings(**more):
    return SimpleNamespace(**{**dict(user="root@pam", token_name="mcp", token_value=CANARY, ssl_mode="strict",
                                     ca_file=None, fingerprint=None, state_dir=None), **more})


def client(server, log=None, host="127.0.0.1", **more):
    return Client(settings(host=[(host, server.port)], **more), log=log, sleep=lambda *_: None)


def drop(it):
    """Close the connections that a client has kept."""
    for pool in it._adapter._pools.values():
        pool.close()
    it._adapter._pools.clear()


def accepted(server, **more):
    before = len(server.requests)
    assert client(server, **more).request("GET", "/version").data == {"answer": 42}
    assert len(server.requests) == before + 1


def refused(server, *words, **more):
    """Both a read and a write are refused with these words, and no request reaches the server."""
    before = len(server.requests)
    for verb in ("GET", "POST"):
        with pytest.raises(PveError) as caught:
            client(server, **more).request(verb, "/version")
        error = caught.value
        assert error.outcome == "unsent" and error.status is None
        for word in words:
            assert word in str(error)
        assert CANARY not in str(error)
    assert len(server.requests) == before


# ---- what is trusted -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("style", ["7", "8", "9"])
def test_cluster_ca_of_each_version_is_accepted(style, pki):
    with Faulty(*pki.leaf(style)) as server:
        accepted(server, ca_file=pki.ca(style))
        accepted(server, ca_file=pki.ca(style), host="localhost")
        accepted(server, ca_file=pki.ca(style), ssl_mode="verify")


@pytest.mark.parametrize("name", ["7", "8", "9", "self", "rogue"])
def test_certificate_of_the_node_itself_as_ca_file(name, pki):
    with Faulty(*pki.leaf(name)) as server:
        accepted(server, ca_file=pki.leaf(name)[0])
    with Faulty(*pki.leaf("self-other" if name != "rogue" else "9")) as server:
        refused(server, "PROXMOX_CERTIFICATE", ca_file=pki.leaf(name)[0])


@pytest.mark.parametrize("style", ["7", "8", "9"])
def test_wrong_ca_is_refused(style, pki):
    with Faulty(*pki.leaf("rogue")) as server:
        refused(server, "CA this machine does not trust", "pve-root-ca.pem", ca_file=pki.ca(style))


def test_wrong_name_is_refused(pki):
    with Faulty(*pki.leaf("wrong-name")) as server:
        refused(server, "not for the address 127.0.0.1", ca_file=pki.ca("9"))
        refused(server, "not for the name localhost", ca_file=pki.ca("9"), host="localhost")
        refused(server, "not for the address 127.0.0.1", ca_file=pki.ca("9"), ssl_mode="verify")
        refused(server, "not for the address 127.0.0.1", ca_file=pki.ca("9"), ssl_mode="insecure")


def test_a_common_name_is_no_name(pki):
    """Where there is no subjectAltName, a name in the subject does not count (RFC 6125, 6.4.4)."""
    with Faulty(*pki.leaf("no-name")) as server:
        refused(server, "not for the name localhost", ca_file=pki.ca("9"), host="localhost")


def test_expired_is_refused(pki):
    with Faulty(*pki.leaf("expired")) as server:
        refused(server, "it has expired", "pvecm updatecerts", ca_file=pki.ca("9"))


def test_strict_refuses_what_no_ca_vouches_for(pki, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    for name in ("9", "self", "rogue", "expired"):
        with Faulty(*pki.leaf(name)) as server:
            refused(server, "PROXMOX_CERTIFICATE", "PROXMOX_SSL_MODE=verify", ssl_mode="strict")


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("style", ["7", "8", "9"])
def test_strict_with_the_bundle_of_the_environment(style, variable, pki, monkeypatch):
    monkeypatch.setenv(variable, pki.ca(style))
    with Faulty(*pki.leaf(style)) as server:
        accepted(server, ssl_mode="strict")
        accepted(server, ssl_mode="verify")
    with Faulty(*pki.leaf("rogue")) as server:
        refused(server, ssl_mode="strict")


def test_strict_with_a_directory_of_certificates(pki, tmp_path, monkeypatch):
    name = pki._openssl("x509", "-noout", "-hash", "-in", pki.ca("9")).strip() + ".0"
    shutil.copy(pki.ca("9"), str(tmp_path / name))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    with Faulty(*pki.leaf("9")) as server:
        accepted(server, ssl_mode="strict")
    with Faulty(*pki.leaf("rogue")) as server:
        refused(server, ssl_mode="strict")


def test_strict_where_python_finds_no_store_takes_that_of_requests(pki, monkeypatch):
    import requests.certs
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self: None)
    monkeypatch.setattr(requests.certs, "where", lambda: pki.ca("9"))
    with Faulty(*pki.leaf("9")) as server:
        accepted(server, ssl_mode="strict")

    def nowhere():
        raise OSError("no bundle")
    monkeypatch.setattr(requests.certs, "where", nowhere)
    with Faulty(*pki.leaf("9")) as server:
        refused(server, "a CA this machine does not trust", ssl_mode="strict")


def test_strict_checks_names(pki, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca("9"))
    with Faulty(*pki.leaf("wrong-name")) as server:
        refused(server, "not for the address 127.0.0.1", ssl_mode="strict")
        refused(server, "not for the name localhost", ssl_mode="strict", host="localhost")


def test_ca_file_alone_is_trusted(pki, monkeypatch):
    """With a CA file the system's store counts no more."""
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca("9"))
    with Faulty(*pki.leaf("9")) as server:
        refused(server, ca_file=pki.ca("rogue"))


def test_pinned_certificate(pki):
    pin = pki.fingerprint("expired")
    with Faulty(*pki.leaf("expired")) as server:
        for pins in (pin, pki.fingerprint("9") + "," + pin):
            accepted(server, fingerprint=pins)
            accepted(server, fingerprint=pins, ssl_mode="insecure", ca_file="/nowhere")


def test_changed_pin_is_refused_with_both_values(pki):
    old, new = pki.fingerprint("9"), pki.fingerprint("renewed")
    with Faulty(*pki.leaf("9")) as server:
        accepted(server, fingerprint=old)
        server.use(*pki.leaf("renewed"))
        for mode in ("strict", "verify", "insecure"):
            refused(server, old, new, "PROXMOX_CERTIFICATE", fingerprint=old, ssl_mode=mode)


def test_plain_http_is_refused(pki):
    with Faulty(*pki.leaf("9")) as server:
        server.fault = "plain http"
        for mode in ("strict", "verify", "insecure"):
            refused(server, "does not speak TLS", "Plain HTTP is refused", ssl_mode=mode)


# ---- verify: trust on first use --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["self", "9", "expired", "wrong-name"])
def test_verify_trusts_on_first_use_and_says_so(name, pki):
    log = Log()
    with Faulty(*pki.leaf(name)) as server:
        it = client(server, ssl_mode="verify", log=log)
        for _ in range(3):
            it.request("GET", "/version")
        assert len(server.requests) == 3
        assert log.events() == ["tls_first_use"]
        level, _, fields = log.lines[0]
        assert level == "warning" and fields["fingerprint"] == pki.fingerprint(name)
        assert "PROXMOX_CERTIFICATE=" + pki.fingerprint(name) in fields["message"]
        assert "without proof of who it is" in fields["message"]


def test_verify_refuses_a_change_with_both_values(pki):
    log = Log()
    with Faulty(*pki.leaf("self")) as server:
        it = client(server, ssl_mode="verify", log=log)
        it.request("GET", "/version")
        server.use(*pki.leaf("self-other"))
        drop(it)
        for verb in ("GET", "POST"):
            with pytest.raises(PveError) as caught:
                it.request(verb, "/version")
            assert pki.fingerprint("self") in str(caught.value) and pki.fingerprint("self-other") in str(caught.value)
            assert caught.value.outcome == "unsent"
        assert len(server.requests) == 1
        server.use(*pki.leaf("self"))
        it.request("GET", "/version")


def test_verify_sends_nothing_while_it_fetches_the_certificate(pki):
    with Faulty(*pki.leaf("self")) as server:
        it = client(server, ssl_mode="verify")
        it.request("GET", "/version")
        assert server.connections == 3 and len(server.requests) == 1     # by the store: no; the leaf; pinned
        drop(it)
        it.request("GET", "/version")
        assert server.connections == 4


def test_verify_refuses_a_host_that_shows_two_certificates_at_first_use(pki):
    others = ["self-other", "self"]
    with Faulty(*pki.leaf("self")) as server:
        def log(level, event, **fields):                # between the look at the certificate and the request
            server.use(*pki.leaf(others[0]))
            others.reverse()
        refused(server, "two different certificates", pki.fingerprint("self"), pki.fingerprint("self-other"),
                "PROXMOX_CERTIFICATE", ssl_mode="verify", log=log)


def test_verify_keeps_the_pin_in_the_state_directory(pki, tmp_path):
    state = str(tmp_path / "state")
    with Faulty(*pki.leaf("self")) as server:
        log = Log()
        accepted(server, ssl_mode="verify", state_dir=state, log=log)
        path = os.path.join(state, tls.PINS_FILE)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(state).st_mode) == 0o700
        with open(path) as file:
            assert file.read() == "127.0.0.1:%d %s\n" % (server.port, pki.fingerprint("self"))
        assert os.listdir(state) == [tls.PINS_FILE]
        accepted(server, ssl_mode="verify", state_dir=state, log=log)      # another process
        assert log.events() == ["tls_first_use"]
        server.use(*pki.leaf("self-other"))
        refused(server, pki.fingerprint("self"), pki.fingerprint("self-other"), path, ssl_mode="verify",
                state_dir=state)


def test_verify_writes_only_what_is_new(pki, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca("9"))
    (tmp_path / ("%s.%d" % (tls.PINS_FILE, os.getpid()))).write_text("left behind")
    log = Log()
    with Faulty(*pki.leaf("9")) as server:
        it = client(server, ssl_mode="verify", state_dir=str(tmp_path), log=log)
        it.request("GET", "/version")
        assert os.listdir(str(tmp_path)) == [tls.PINS_FILE] and log.events() == []
        os.unlink(str(tmp_path / tls.PINS_FILE))
        drop(it)
        it.request("GET", "/version")
        assert os.listdir(str(tmp_path)) == []


def test_verify_with_a_state_directory_that_cannot_be_written(pki, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    log = Log()
    with Faulty(*pki.leaf("self")) as server:
        accepted(server, ssl_mode="verify", state_dir=str(blocked), log=log)
    assert sorted(set(log.events())) == ["tls_first_use", "tls_pins"]


def test_verify_with_another_certificate_seen_by_another_request_at_first_use(pki):
    with Faulty(*pki.leaf("self")) as server:
        trust = tls.trust_of(settings(ssl_mode="verify"), Log())

        def dial():                                     # meanwhile another thread has pinned what it saw
            trust.pins.setdefault("127.0.0.1:%d" % server.port, pki.fingerprint("self-other"))
            return tls.dial("127.0.0.1", server.port, 5)
        with pytest.raises(tls.NotSent, match="two different certificates"):
            trust.wrap(tls.dial("127.0.0.1", server.port, 5), "127.0.0.1", server.port, dial)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_verify_does_not_believe_pins_others_can_write(mode, pki, tmp_path):
    path = tmp_path / tls.PINS_FILE
    log = Log()
    with Faulty(*pki.leaf("self")) as server:
        path.write_text("127.0.0.1:%d %s\n" % (server.port, pki.fingerprint("self-other")))
        path.chmod(mode)
        accepted(server, ssl_mode="verify", state_dir=str(tmp_path), log=log)
    assert log.events() == ["tls_pins", "tls_first_use"]


@pytest.mark.skipif(os.name != "posix", reason="owners of files")
def test_verify_does_not_believe_pins_of_another_owner(pki, tmp_path, monkeypatch):
    path, log = tmp_path / tls.PINS_FILE, Log()
    with Faulty(*pki.leaf("self")) as server:
        path.write_text("127.0.0.1:%d %s\n" % (server.port, pki.fingerprint("self-other")))
        path.chmod(0o600)
        owner = os.stat(path).st_uid
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
        accepted(server, ssl_mode="verify", state_dir=str(tmp_path), log=log)
    assert log.events()[:2] == ["tls_pins", "tls_first_use"]


def test_verify_ignores_lines_it_does_not_know(pki, tmp_path):
    path = tmp_path / tls.PINS_FILE
    path.write_bytes(b"\xff\xfe nonsense\n\n127.0.0.1:1 AA:BB\nx y z\n")
    path.chmod(0o600)
    with Faulty(*pki.leaf("self")) as server:
        accepted(server, ssl_mode="verify", state_dir=str(tmp_path))


def test_verify_prefers_the_system_store_and_does_not_fall_back_from_it(pki, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", pki.ca("9"))
    log = Log()
    with Faulty(*pki.leaf("9")) as server:
        it = client(server, ssl_mode="verify", log=log)
        it.request("GET", "/version")
        drop(it)
        it.request("GET", "/version")
        assert log.events() == [] and server.connections == 2
        server.use(*pki.leaf("self"))
        drop(it)
        with pytest.raises(PveError, match="vouched for by a CA of this system before"):
            it.request("GET", "/version")
        assert len(server.requests) == 2


def test_verify_accepts_a_change_to_a_certificate_that_a_ca_vouches_for(pki, monkeypatch, tmp_path):
    log = Log()
    with Faulty(*pki.leaf("self")) as server:
        accepted(server, ssl_mode="verify", state_dir=str(tmp_path), log=log)
        monkeypatch.setenv("SSL_CERT_FILE", pki.ca("9"))
        server.use(*pki.leaf("9"))
        accepted(server, ssl_mode="verify", state_dir=str(tmp_path), log=log)
        server.use(*pki.leaf("self"))
        refused(server, "before", ssl_mode="verify", state_dir=str(tmp_path))


def test_verify_pins_each_host_alone(pki):
    log = Log()
    with Faulty(*pki.leaf("self")) as one, Faulty(*pki.leaf("self-other")) as two:
        it = client(one, ssl_mode="verify", log=log, host="127.0.0.1")
        it._hosts += client(two)._hosts
        it.request("GET", "/version")
        it._current = 1
        it.request("GET", "/version")
        assert [fields["host"] for _, _, fields in log.lines] == ["127.0.0.1:%d" % one.port, "127.0.0.1:%d" % two.port]


# ---- insecure, and settings that cannot be used ----------------------------------------------------------------------

def test_insecure_warns_once(pki):
    log = Log()
    with Faulty(*pki.leaf("expired")) as server:
        it = client(server, ssl_mode="insecure", log=log)
        for _ in range(3):
            it.request("GET", "/version")
            drop(it)
    assert log.events() == ["tls_insecure"]


def test_no_warning_of_urllib3(pki, recwarn):
    with Faulty(*pki.leaf("9")) as server:
        for mode in ("insecure", "verify"):
            accepted(server, ssl_mode=mode)
    assert not [one for one in recwarn if "Insecure" in one.category.__name__]


def test_settings_that_cannot_be_used(pki, tmp_path, monkeypatch):
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate")
    with Faulty(*pki.leaf("9")) as server:
        refused(server, "PROXMOX_CERTIFICATE", "pve-root-ca.pem", "No such file", ca_file=str(tmp_path / "missing.pem"))
        refused(server, "PROXMOX_CERTIFICATE", "no PEM certificate", ca_file=str(empty))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
        refused(server, "REQUESTS_CA_BUNDLE")
        assert server.connections == 0
        refused(server, "REQUESTS_CA_BUNDLE", "missing.pem cannot be used", ssl_mode="verify")


@pytest.mark.parametrize("mode", [None, "", "none", "Insecure"])
def test_a_mode_that_is_none_checks_certificates(mode, pki):
    with Faulty(*pki.leaf("self")) as server:
        refused(server, "self-signed", ssl_mode=mode)
        assert server.requests == []


def test_no_old_tls(pki):
    assert tls._context(True).minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls._context(False).minimum_version == ssl.TLSVersion.TLSv1_2


def test_no_descriptor_is_left_open(pki):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc")
    with Faulty(*pki.leaf("rogue")) as server:
        it = client(server, ca_file=pki.ca("9"))
        changed = client(server, fingerprint=pki.fingerprint("9"))
        before = None
        for _ in range(20):
            for each in (it, changed):
                with pytest.raises(PveError):
                    each.request("POST", "/version")
            server.drop_connections()
            if before is None:
                before = len(os.listdir("/proc/self/fd"))
        assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_socket_that_nobody_took_is_closed():
    class Picky:
        """Refuses before it looks."""

        def wrap(self, plain, host, port, dial):
            seen.append(plain)
            seen.append(dial())
            raise problem

    with socket.create_server(("127.0.0.1", 0)) as listener:
        for problem, found in ((tls.NotSent("certificate", "no"), tls.NotSent), (ValueError("x"), tls.NotSent),
                               (socket.timeout(), tls.NotSent), (KeyboardInterrupt(), KeyboardInterrupt)):
            seen = []
            with pytest.raises(found):
                tls.open_tls(Picky(), "127.0.0.1", listener.getsockname()[1], 5)
            assert [plain.fileno() for plain in seen] == [-1, -1]


def test_what_is_read_has_one_deadline(pki):
    with Faulty(*pki.leaf("9")) as server:
        sock = tls.open_tls(tls.trust_of(settings(ssl_mode="insecure"), Log()), "127.0.0.1", server.port, 5)
        with sock:
            sock.settimeout(5)
            tls.answer_within(0.05)
            began = time.monotonic()
            for _ in range(2):                          # while it waits, and once it is over
                with pytest.raises(socket.timeout):
                    sock.recv_into(bytearray(10))
            assert time.monotonic() - began < 4
            tls.answer_within(60)
            sock.settimeout(0.05)
            with pytest.raises(socket.timeout):         # silence has a limit of its own
                sock.recv_into(bytearray(10))


def test_an_answer_has_all_the_time_that_is_left(pki, monkeypatch):
    seen = []
    monkeypatch.setattr(adapter, "answer_within", seen.append)
    with Faulty(*pki.leaf("9")) as server:
        accepted(server, ssl_mode="insecure")
    assert 44 < seen[0] <= 45                           # more than silence may last


def test_a_request_has_half_a_minute_to_leave(pki):
    with Faulty(*pki.leaf("9")) as server:
        it = client(server, ssl_mode="insecure")
        it.request("GET", "/version", timeout=2)
        [pool] = it._adapter._pools.values()
        kept = pool._get_conn()
        assert kept.sock.gettimeout() == 30 and kept.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        kept.close()
        kept.connect()
        assert kept.sock.gettimeout() == 30
        kept.close()


# ---- a look ----------------------------------------------------------------------------------------------------------

def look(server, seconds=5.0, **chosen):
    return tls.look("127.0.0.1", server.port, settings(**chosen), seconds)


def test_a_look_sends_nothing_and_says_whether_the_settings_accept_the_certificate(pki):
    with Faulty(*pki.leaf("8")) as server:
        for chosen, accepts in (({}, False), ({"ca_file": pki.ca("8")}, True), ({"ssl_mode": "verify"}, True),
                                ({"fingerprint": pki.fingerprint("8")}, True), ({"ssl_mode": "insecure"}, True),
                                ({"fingerprint": "AA" * 32}, False), ({"ca_file": "/nowhere"}, False)):
            address, version, seen, refused = look(server, **chosen)
            assert (refused is None) == accepts, chosen
            assert address == "127.0.0.1" and version == ("TLSv1.3" if ssl.HAS_TLSv1_3 else "TLSv1.2")
            assert seen == pki.fingerprint("8")
        assert server.requests == []


@pytest.mark.parametrize("name, why", [("expired", "it has expired"), ("wrong-name", "not for the address 127.0.0.1"),
                                       ("rogue", "does not trust"), ("self", "self-signed")])
def test_a_look_says_why_not(name, why, pki):
    with Faulty(*pki.leaf(name)) as server:
        _, _, seen, refused = look(server, ca_file=pki.ca("9"))
    assert why in refused and seen == pki.fingerprint(name)
    assert ("PROXMOX_CERTIFICATE" in refused) == (name != "expired")


def test_a_look_knows_the_pins_and_makes_none(pki, tmp_path):
    chosen = {"ssl_mode": "verify", "state_dir": str(tmp_path)}
    with Faulty(*pki.leaf("self")) as server:
        assert look(server, **chosen)[3] is None and os.listdir(str(tmp_path)) == []
        client(server, **chosen).request("GET", "/version")
        assert look(server, **chosen)[3] is None
        server.use(*pki.leaf("self-other"))
        assert "has changed" in look(server, **chosen)[3]


def test_a_look_at_what_is_not_there(pki, monkeypatch):
    with Faulty(*pki.leaf("9")) as server:
        for fault, seconds, kind in (("plain http", 5, "plain"), ("tls stall", 0.1, "tls")):
            server.fault = fault
            with pytest.raises(tls.NotSent) as caught:
                look(server, seconds)
            assert caught.value.kind == kind
    with pytest.raises(tls.NotSent, match="refused"):
        look(server)
