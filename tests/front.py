"""An HTTPS server on the loopback in front of a demo cluster, for tests that need real sockets and real TLS.

    with Front(DemoCluster()) as front:
        requests.get("https://127.0.0.1:%d/api2/json/version" % front.port, verify=front.cert, headers=...)
"""
import atexit
import functools
import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@functools.lru_cache(maxsize=None)
def _certificate():
    """(certificate path, key path) of a self-signed certificate for all servers of this process."""
    folder = tempfile.mkdtemp(prefix="proxmox-mcp-front-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    cert, key, config = (os.path.join(folder, name) for name in ("cert.pem", "key.pem", "openssl.cnf"))
    with open(config, "w") as file:
        file.write("[req]\nprompt=no\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\nCN=demo\n[v3]\n"
                   "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:TRUE\n"
                   "keyUsage=critical,digitalSignature,keyCertSign\n"
                   "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "365", "-config", config],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
    return cert, key


def fingerprint_of(cert):
    """SHA-256 of a PEM certificate, AA:BB:... as Proxmox writes it."""
    with open(cert) as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    wbufsize, disable_nagle_algorithm = -1, True        # headers and body in one packet, and at once

    def setup(self):
        self.request.settimeout(10)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        status, reason, headers, content = self.server.cluster.handle(self.command, self.path,
                                                                      dict(self.headers.items()), body)
        self.send_response_only(status, reason)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or headers.get("Connection") == "close"

    do_GET = do_POST = do_PUT = do_DELETE = _answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that refuses our certificate is no error of the server."""


class Front:
    """HTTPS on 127.0.0.1 for anything with DemoCluster.handle; a context manager. .port, .cert (path), .fingerprint."""

    def __init__(self, cluster):
        self.cluster, (self.cert, key) = cluster, _certificate()
        self.fingerprint = fingerprint_of(self.cert)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cluster, self._server.tls = cluster, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.tls.load_cert_chain(self.cert, key)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
