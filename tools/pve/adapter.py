"""The requests adapter for Proxmox: TLS to whom `trust` accepts, connections kept as long as pveproxy keeps them.

A module of its own because requests and urllib3, from which its classes inherit, are imported with it. It works with
urllib3 1.26 and 2 and needs nothing of their TLS code.
"""
import threading
import time

from requests import Response
from requests.adapters import BaseAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.retry import Retry
from urllib3.util.timeout import Timeout

from tools.pve.tls import answer_within, open_tls

IDLE_SECONDS = 4.0              # pveproxy closes a kept connection after 5 s
SEND_SECONDS = 30.0             # for a request to leave; reading has its own limits
_NEVER = Retry(False)


class _Connection(HTTPSConnection):
    """connect() is all ours: what fails in it is NotSent."""

    idle_since = None

    def __init__(self, *args, trust, **options):
        super().__init__(*args, **options)
        self.trust = trust

    def connect(self):
        self.sock = open_tls(self.trust, self.host, self.port, self.timeout)
        self.sock.settimeout(SEND_SECONDS)
        self.is_verified = True         # by trust; else urllib3 warns


class _Pool(HTTPSConnectionPool):
    """Kept connections to one host; one that was idle for as long as pveproxy keeps them is opened again."""

    ConnectionCls = _Connection

    def _get_conn(self, timeout=None):
        connection = super()._get_conn(timeout)
        if connection.idle_since is not None and time.monotonic() - connection.idle_since > IDLE_SECONDS:
            connection.close()
        elif connection.sock is not None:
            connection.sock.settimeout(SEND_SECONDS)
        return connection

    def _put_conn(self, connection):
        if connection is not None:
            connection.idle_since = time.monotonic()
        super()._put_conn(connection)


class Adapter(BaseAdapter):
    """Sends a prepared request as it is, once. trust: see tls.trust_of."""

    def __init__(self, trust):
        BaseAdapter.__init__(self)
        self._trust = trust
        self._pools = {}                # "https://pve1:8006" -> _Pool
        self._lock = threading.Lock()

    def send(self, request, stream=True, timeout=None, verify=True, cert=None, proxies=None):
        """The Response, its body not yet read. timeout: (seconds to connect, seconds of silence). request.seconds:
        float, what is left for the whole answer. NotSent, or an exception of urllib3 or http.client; verify, cert and
        proxies are not looked at."""
        connect, read = timeout
        answer_within(getattr(request, "seconds", read))
        origin = request.url[:request.url.index("/", 8)]
        with self._lock:
            if origin not in self._pools:
                host, _, port = origin[len("https://"):].rpartition(":")
                self._pools[origin] = _Pool(host, int(port), maxsize=4, trust=self._trust)
            pool = self._pools[origin]
        raw = pool.urlopen(
            request.method, request.path_url, body=request.body, headers=request.headers, retries=_NEVER,
            redirect=False, assert_same_host=False, preload_content=False, decode_content=False,
            timeout=Timeout(connect=connect, read=read))
        response = Response()
        response.status_code, response.reason, response.headers = raw.status, raw.reason, raw.headers
        response.raw, response.url = raw, request.url
        return response
