"""A raw-socket TLS server that behaves like pveproxy, or badly in one of many ways.

    with Faulty(certificate, key) as server:
        server.fault = "drip"           # a key of FAULTS; None: a proper answer
        server.cluster, server.only     # what gives the proper answers, which requests the fault strikes
        server.requests                 # [(verb, target, headers, body)], every complete request that arrived
        server.connections              # how many TCP connections were made

Nothing sleeps: whatever stalls waits on an event that `close` sets. TCP_NODELAY is on, or every answer costs 40 ms.
"""
import gzip
import json
import socket
import ssl
import struct
import threading

OK = json.dumps({"data": {"answer": 42}}).encode()
JSON = "Content-Type: application/json;charset=UTF-8\r\n"


def _http(status, body=OK, headers=JSON, length=None):
    """An HTTP answer; status: "200 OK". The reason phrase goes out as UTF-8, as Proxmox sends it."""
    head = "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n" % (status, headers, len(body) if length is None else length)
    if not status.startswith("2"):
        head += "Connection: close\r\n"
    return head.encode("utf-8") + b"\r\n" + body


def _reset(sock):
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Faulty:
    """The server; see above. Listens on 127.0.0.1, one thread a connection."""

    def __init__(self, certificate, key, address="127.0.0.1"):
        self.fault = None
        self.answer = None              # bytes to send instead of the usual 200
        self.cluster = None             # a DemoCluster that gives the proper answers
        self.only = None                # function(verb, target): whether the fault strikes this request; None: all
        self.requests = []
        self.connections = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open = []
        self._threads = []
        self.use(certificate, key)
        self._listener = socket.create_server((address, 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def use(self, certificate, key):
        """Show this certificate from the next connection on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._context = context

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Stop listening and end everything that hangs."""
        self._closing.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join(5)

    def drop_connections(self):
        """End every open connection, as pveproxy does with idle ones. Its own thread closes it: a descriptor closed by
        another one might be a new connection by the time it is used."""
        with self._lock:
            for sock in self._open:
                try:
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass

    def seen(self, verb):
        """How many complete requests with this verb arrived."""
        return sum(1 for request in self.requests if request[0] == verb)

    # ---- one connection

    def _accept(self):
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _serve(self, plain):
        sock = plain
        try:
            if self.fault in BEFORE_TLS:
                BEFORE_TLS[self.fault](self, plain)
                return
            plain.settimeout(10)
            sock = self._context.wrap_socket(plain, server_side=True)
            with self._lock:
                self._open.append(sock)
            while not self._closing.is_set():
                request = self._read(sock)
                if request is None:
                    return
                self.requests.append(request)
                if self.fault is None or (self.only and not self.only(request[0], request[1])):
                    answer = self._proper(request)
                    sock.sendall(answer)
                    if b"Connection: close" in answer:
                        return
                elif not FAULTS[self.fault](self, sock):
                    return
        except (OSError, ValueError):
            pass
        finally:
            sock.close()
            with self._lock:
                self._open[:] = [one for one in self._open if one is not sock and one is not plain]

    def _proper(self, request):
        if self.answer is not None:
            return self.answer
        if self.cluster is None:
            return _http("200 OK")
        verb, target, headers, body = request
        status, reason, headers, body = self.cluster.handle(verb, target, headers, body)
        lines = "".join("%s: %s\r\n" % pair for pair in headers.items()
                        if pair[0] not in ("Content-Length", "Connection"))
        return _http("%d %s" % (status, reason), body, lines)

    @staticmethod
    def _read(sock):
        """One request, or None when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = sock.recv(65536)
            if not chunk:
                return None
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        verb, target, _ = lines[0].split(" ")
        pairs = [line.partition(":") for line in lines[1:]]
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        while len(body) < int(headers.get("content-length", 0)):
            chunk = sock.recv(65536)
            if not chunk:
                return None
            body += chunk
        return verb, target, headers, body

    def wait(self, seconds=30):
        """Until the server is closed."""
        return self._closing.wait(seconds)

    def drip(self, sock, data, each=0.02):
        """One byte at a time, each well within any timeout for silence."""
        for at in range(len(data)):
            sock.sendall(data[at:at + 1])
            if self._closing.wait(each):
                return


# ---- faults before TLS: function(server, plain socket)

def _tls_drip(server, sock):
    sock.settimeout(10)
    sock.recv(65536)
    server.drip(sock, b"\x16\x03\x03\x40\x00" + b"\x02" * 16000)


def _plain_http(server, sock):
    sock.settimeout(10)
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


BEFORE_TLS = {
    "tls stall": lambda server, sock: server.wait(),
    "tls drip": _tls_drip,
    "tls reset": lambda server, sock: _reset(sock),
    "tls close": lambda server, sock: sock.close(),
    "plain http": _plain_http,
}


# ---- faults after the request was read: function(server, socket) -> whether to go on with this connection

def _say(*args, **kwargs):
    data = _http(*args, **kwargs)

    def answer(server, sock):
        sock.sendall(data)
        return b"Connection: close" not in data
    return answer


def _rst(server, sock):
    plain = sock.detach()
    _reset(socket.socket(fileno=plain))
    return False


def _close(server, sock):
    return False


def _stall(server, sock):
    server.wait()
    return False


def _stall_in_body(server, sock):
    sock.sendall(_http("200 OK", OK[:5], length=len(OK)))
    server.wait()
    return False


def _drip(server, sock):
    sock.sendall(_http("200 OK", b"", length=5000))
    server.drip(sock, b" " * 5000)
    return False


def _drip_headers(server, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    server.drip(sock, b"x" * 5000)
    return False


def _endless(server, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"data\":\"")
    while not server.wait(0):
        sock.sendall(b"x" * 262144)
    return False


def _endless_headers(server, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.wait(0):
        sock.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")
    return False


def _garbage(server, sock):
    sock.sendall(b"220 mail.example.com ESMTP\r\n")
    return False


def _no_length(server, sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + OK)
    return False


def _echo(server, sock):
    """A refusal that repeats all that was sent, the token and passwords too."""
    verb, target, headers, body = server.requests[-1]
    whole = "%s %s %r %s" % (verb, target, headers, body.decode("utf-8", "replace"))
    sock.sendall(_http("400 Parameter verification failed.", json.dumps({
        "data": None, "message": whole, "errors": {"password": whole}}).encode()))
    return False


_HTML = b"<html><head><title>Log in</title></head><body>Please log in</body></html>"
_NULL = b'{"data":null}'

FAULTS = {
    "rst": _rst,
    "early close": _close,
    "stall": _stall,
    "stall in body": _stall_in_body,
    "drip": _drip,
    "drip in headers": _drip_headers,
    "short": lambda server, sock: (sock.sendall(_http("200 OK", OK, length=len(OK) + 100)), False)[1],
    "huge": _say("200 OK", b"", length=1 << 40),
    "endless": _endless,
    "endless headers": _endless_headers,
    "garbage": _garbage,
    "bomb": _say("200 OK", gzip.compress(b'{"data":"' + b"x" * (1 << 20) + b'"}'), JSON + "Content-Encoding: gzip\r\n"),
    "html": _say("200 OK", _HTML, "Content-Type: text/html\r\n"),
    "empty": _say("200 OK", b""),
    "not an object": _say("200 OK", b"[1,2]"),
    "cut json": _say("200 OK", b'{"data":{"a'),
    "deep json": _say("200 OK", b'{"data":' + b"[" * 200000 + b"]" * 200000 + b"}"),
    "bad utf-8": _say("200 OK", b'{"data":"caf\xe9 \xff\xfe"}'),
    "no length": _no_length,
    "301": _say("301 Moved Permanently", b"", "Location: https://elsewhere.example.com:8443/login\r\n"),
    "400": _say("400 Parameter verification failed.", json.dumps({"data": None, "errors": {
        "scsi0": "invalid format - x\\nvalue missing", "memory": "value must be positive"}}).encode()),
    "echo": _echo,
    "401": _say("401 Authentication failed!", b""),
    "403": _say("403 Permission check failed (/vms/100, VM.PowerMgmt)", _NULL),
    "500": _say("500 VM is locked (backup)", json.dumps({"data": None, "message": "VM is locked (backup)\n"}).encode()),
    "500 utf-8": _say("500 storage 'caf\u00e9' does not exist", _NULL),
    "501": _say("501 Method 'GET /nodes/x' not implemented", _NULL),
    "502": _say("502 Bad Gateway", _HTML, "Content-Type: text/html\r\n"),
    "503": _say("503 Service Unavailable", b""),
    "595": _say("595 No route to host", b""),
    "596": _say("596 Connection timed out", b""),
    "596 pipe": _say("596 Broken pipe", b""),
    "599": _say("599 Too many redirections", b""),
}
