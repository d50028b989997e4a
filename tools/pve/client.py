"""Talks to the Proxmox VE API: one request in, one Reply or one PveError out.

Every request of the program goes through `Client.request`. It sends a `requests.PreparedRequest` straight through the
adapter mounted on a small `requests` session (see tls.py), so no proxy, .netrc, cookie or redirect is ever looked at.

Rules, and where they come from:
* parameters of GET and DELETE go into the query, those of POST and PUT into a form body (pve-http-server, AnyEvent.pm:
  a body on GET or DELETE is a 501); booleans are 1 and 0; lists repeat the key; None is left out.
* a write is sent at most once. Only when it provably never left (`tls.NotSent`) is another host tried. Any other break
  is PveError(outcome="unknown"), which names the call that finds out.
* a read is repeated at most twice, within its deadline.
* pveproxy gives up on another node after 30 s (596), so we wait longer than that for an answer (38 s).

`requests` is imported at the first request, or by `Client.warm` in a background thread; what is said of a refusal
(advice.py) at the first one. Importing this is cheap.
"""

import re
import threading
import time
from urllib.parse import quote, unquote_to_bytes, urlencode

from tools.pve.formats import label
from tools.pve.scrub import hide, scrub

BASE = "/api2/json"
CONNECT_SECONDS = 5.0           # TCP and TLS, each
READ_SECONDS = 38.0             # silence; above pveproxy's own 30 s, so that its 596 is seen
TOTAL_SECONDS = 45.0            # one attempt and its repeats, all in all
MAX_BODY = 32 * 1024 * 1024     # bytes of one reply
IN_FLIGHT = 4                   # pveproxy and pvedaemon have three workers each
RETRY_PAUSES = (0.3, 1.0)       # seconds before the first and the second repeat of a read


class PveError(Exception):
    """A request that did not succeed; `str(error)` is a message for the user and holds no secret.

    status: int, the HTTP status, or None when there was no answer. errors: {parameter: text} as Proxmox gave it.
    outcome: "refused" (Proxmox said no, nothing was done), "unsent" (it never reached Proxmox, or it was a read that
    got no answer: nothing was changed), "unknown" (a write that may have been done).
    """

    def __init__(self, message, status=None, errors=None, outcome="refused"):
        Exception.__init__(self, scrub(str(message)))
        self.status = status
        self.errors = {scrub(str(key)): scrub(str(text)) for key, text in (errors or {}).items()}
        self.outcome = outcome

    @property
    def passing(self):
        """Whether asking again may help: no answer at all, or one that says the node could not be reached."""
        return self.status is None or self.status < 400 or self.status in (502, 503, 504) or self.status >= 595


class Cancelled(Exception):
    """The caller's `cancelled` event was set before the request was sent, or while it waited to be repeated."""


class Reply:
    """What Proxmox answered. data: the value of "data". extra: the other top-level keys (total, changes ...)."""

    __slots__ = ("data", "extra")

    def __init__(self, data, extra=None):
        self.data = data
        self.extra = extra if extra is not None else {}

    def __repr__(self):
        return "Reply(%r, %r)" % (self.data, self.extra)


# ---- requests, when first needed -------------------------------------------------------------------------------------

def import_requests():
    """The package requests; PveError that says how to get it where it is missing."""
    try:
        import requests
    except Exception as error:  # not only ImportError: requests 2.32 raises OSError on a host without a CA bundle
        raise PveError("The Python package requests cannot be used (%s: %s). Install it from the system: "
                       "apt install python3-requests, dnf install python3-requests or zypper install python3-requests."
                       % (type(error).__name__, error), outcome="unsent") from None
    return requests


class TokenAuth:
    """Puts the API token into one prepared request. Callable like requests.auth.AuthBase; prints no secret."""

    def __init__(self, user, name, value):
        # pveproxy percent-decodes the value, so everything unusual is encoded (AnyEvent.pm, auth_handler)
        self._header = "PVEAPIToken=%s!%s=%s" % (quote(user, safe="@"), quote(name, safe=""), quote(value, safe=""))

    def __call__(self, request):
        request.headers["Authorization"] = self._header
        return request

    def __repr__(self):
        return "TokenAuth(***)"


# ---- the client ------------------------------------------------------------------------------------------------------

# What urllib3 and requests send unchanged, segment by segment; no "." or ".." and no empty segment.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+)+|/")
_STATIC = re.compile(r"/(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?"
                   r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9_.-]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_VERBS = {"GET": False, "DELETE": False, "POST": True, "PUT": True}     # verb -> parameters go into the body
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "proxmox-mcp"}
_FORM = "application/x-www-form-urlencoded"


class _Host:
    """One host of the setting: its name in texts, its URL prefix."""

    def __init__(self, name, port):
        name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if not _HOST.fullmatch(name) or not 0 < port < 65536:
            raise PveError("PROXMOX_HOST: %r is not a host name or address. Give names like pve1 or pve1:8006; "
                           "http:// is refused, Proxmox is only spoken to through TLS." % name, outcome="unsent")
        self.name, self.port = name, port
        bracketed = "[%s]" % name.replace("%", "%25") if ":" in name else name
        self.label = label(name, port)
        self.url = "https://%s:%d" % (bracketed, port)


class _Answer:
    """A complete HTTP answer: status, reason, headers, body, host (_Host)."""

    __slots__ = ("status", "reason", "headers", "body", "host")

    def __init__(self, status, reason, headers, body, host):
        self.status, self.reason, self.headers, self.body, self.host = status, reason, headers, body, host


class _Broken(Exception):
    """No complete answer. kind: a key of FAULTS. sent: the request may have reached Proxmox. detail: cause, short."""

    def __init__(self, kind, host, detail="", sent=True):
        Exception.__init__(self, kind)
        self.kind, self.host, self.detail, self.sent = kind, host, detail, sent


class Client:
    """Sends requests to one Proxmox cluster. Safe to use from several threads.

    settings: any object with host [(name, port)], user "root@pam", token_name "mcp", token_value, ssl_mode, ca_file,
    fingerprint, state_dir. adapter: a requests adapter mounted instead of the TLS one (demo, tests).
    log(level, event, **fields). limiter.take(changing) may raise PveError. clock() and sleep(seconds): for tests.
    """

    def __init__(self, settings, adapter=None, log=None, limiter=None, clock=time.monotonic, sleep=None):
        self._settings = settings
        self._adapter = adapter
        self._log = log or _no_log
        self._limiter = limiter
        self._clock = clock
        self._sleep = sleep
        self._hosts = [_Host(name, int(port)) for name, port in settings.host]
        if not self._hosts:
            raise PveError("PROXMOX_HOST is empty.", outcome="unsent")
        self._current = 0       # index of the host that answered last
        self._slots = threading.Semaphore(IN_FLIGHT)
        self._ready = threading.Lock()
        self._session = None
        self._token_id = "%s!%s" % (settings.user, settings.token_name)
        self._auth = TokenAuth(settings.user or "", settings.token_name or "", settings.token_value or "")
        hide(settings.token_value, for_good=True)

    def warm(self):
        """Import requests and build the TLS settings now, in a background thread; never raises."""
        try:
            self._start()
        except PveError:
            pass

    def close(self):
        """Close the kept connections. The client can still be used; it opens new ones."""
        if self._session is not None:
            self._session.close()

    def request(self, verb, path, params=None, cancelled=None, timeout=None):
        """Send one request, return its Reply; PveError when it did not succeed, Cancelled when told to stop.

        path: below /api2/json, its ids checked and encoded by formats.fill. params: {name: str|int|float|bool|None or
        a list of those}. cancelled: threading.Event. timeout: seconds for everything, repeats included (45)."""
        target, body = self._target(verb, path, params)
        if self._limiter is not None:
            self._limiter.take(verb != "GET")
        answer = self._exchange(verb, path, target, body, cancelled, timeout, MAX_BODY)
        if answer.status >= 300:
            raise self._refusal(verb, path, answer)
        return self._reply(verb, path, answer)

    def fetch(self, path, limit, cancelled=None, since=None):
        """A static page outside /api2 (apidoc.js), without the token: (status, headers, bytes), at most limit bytes.

        since: a Last-Modified that the host gave; the status is 304, without a page, when it is still that one."""
        if not _STATIC.fullmatch(path) or path.startswith("/api2"):
            raise PveError("%r is not the path of a static page." % path, outcome="unsent")
        static = {"Accept": "*/*", "Accept-Encoding": "gzip"}
        if since and re.fullmatch("[ -~]+", since):
            static["If-Modified-Since"] = since
        answer = self._exchange("GET", path, path, None, cancelled, None, limit, static)
        if answer.status >= 300 and not (answer.status == 304 and "If-Modified-Since" in static):
            raise self._refusal("GET", path, answer)
        return answer.status, dict(answer.headers.items()), answer.body

    # ---- before sending

    def _start(self):
        """Make the session, once. requests is imported here."""
        if self._session is not None:
            return
        with self._ready:
            if self._session is not None:
                return
            requests = import_requests()
            adapter = self._adapter
            if adapter is None:
                from tools.pve import tls
                try:
                    adapter = tls.adapter(self._settings, self._log)
                except tls.Unusable as error:
                    raise PveError(str(error), outcome="unsent") from None
            from http.cookiejar import DefaultCookiePolicy
            session = requests.Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.mount("https://", adapter)
            self._send = session.get_adapter(self._hosts[0].url).send
            self._prepared = requests.PreparedRequest
            self._read_headers = self._sign(requests, {})
            self._write_headers = self._sign(requests, {"Content-Type": _FORM})
            self._static_headers = requests.structures.CaseInsensitiveDict(_HEADERS)
            self._session = session

    def _sign(self, requests, more):
        request = requests.PreparedRequest()
        request.headers = requests.structures.CaseInsensitiveDict(dict(_HEADERS, **more))
        return self._auth(request).headers

    def _target(self, verb, path, params):
        """The request target (path and query) and the body, bytes or None. Refuses what would not arrive unchanged."""
        if verb not in _VERBS:
            raise PveError("%r is not a method of the Proxmox API." % verb, outcome="unsent")
        if not _PATH.fullmatch(path):
            raise _bad_path(path)
        if "%" in path:
            _check_encoded(path)
        target = BASE + path if path != "/" else BASE
        pairs = _pairs(params) if params else ()
        if _VERBS[verb]:
            return target, urlencode(pairs, quote_via=quote).encode("ascii") if pairs else b""
        return (target + "?" + urlencode(pairs, quote_via=quote) if pairs else target), None

    # ---- sending

    def _exchange(self, verb, path, target, body, cancelled, timeout, limit, static=None):
        """The answer to one request, whatever its status; repeats a read. PveError when there is none."""
        self._start()
        reading = verb == "GET"
        deadline = self._clock() + (timeout or TOTAL_SECONDS)
        quiet = timeout or READ_SECONDS
        attempt = 0
        while True:
            answer = fault = None
            self._enter(cancelled)
            try:
                first = self._current + (1 if attempt > 1 else 0)      # the second repeat asks another host
                answer = self._try_hosts(first, verb, target, body, quiet, deadline, limit, static)
            except _Broken as broken:
                fault = broken
            finally:
                self._slots.release()
            if not reading:
                break
            pause = self._pause_before_repeat(attempt, answer, fault)
            if pause is None or self._clock() + pause >= deadline:
                break
            attempt += 1
            self._log("info", "retry", path=path, attempt=attempt,
                      reason=fault.kind if fault is not None else answer.status)
            if pause:
                self._wait(pause, cancelled)
        if fault is not None:
            raise self._no_answer(verb, path, fault) from None
        return answer

    @staticmethod
    def _pause_before_repeat(attempt, answer, fault):
        """Seconds to wait before a read is sent again, or None: do not."""
        if fault is not None:
            most = FAULTS[fault.kind][0]
            if fault.kind == "closed" and attempt == 0:
                return 0.0      # a kept connection the server had just closed
        else:
            most = RETRY_STATUS.get(answer.status, 0)
            if answer.status == 596 and "timed out" in (answer.reason or ""):
                most = 0        # took longer than 30 s already
        return RETRY_PAUSES[attempt] if attempt < most else None

    def _try_hosts(self, first, verb, target, body, quiet, deadline, limit, static):
        """Send once; when a host cannot be connected to, to the next one. The one that answers is kept."""
        fault = None
        for step in range(len(self._hosts)):
            index = (first + step) % len(self._hosts)
            try:
                answer = self._once(self._hosts[index], verb, target, body, quiet, deadline, limit, static)
            except _Broken as broken:
                if broken.sent or broken.kind == "certificate":
                    raise
                if fault is not None:
                    broken.detail = "%s; before that %s: %s" % (broken.detail, fault.host.label, fault.detail)
                fault = broken
                continue
            if index != self._current:
                self._current = index
                self._log("warning", "host", using=self._hosts[index].label)
            return answer
        raise fault

    def _once(self, host, verb, target, body, quiet, deadline, limit, static):
        """One request on the wire. Returns an _Answer or raises _Broken."""
        left = deadline - self._clock()
        if left <= 0:
            raise _Broken("timeout", host, "no time left", sent=False)
        request = self._prepared()
        request.method = verb
        request.url = host.url + target
        request.body = body
        request.hooks = {"response": []}
        request.seconds = left
        if static:
            request.headers = self._static_headers.copy()
            request.headers.update(static)
        elif body is None:
            request.headers = self._read_headers
        else:
            request.headers = self._write_headers.copy()
            request.headers["Content-Length"] = str(len(body))
        if request.path_url != target:
            raise PveError("The path %r would not reach Proxmox as it is; nothing was sent." % target,
                           outcome="unsent")
        response = None
        done = False
        try:
            response = self._send(request, stream=True, timeout=(min(CONNECT_SECONDS, left), min(quiet, left)),
                                  verify=True, cert=None, proxies={})
            content = self._read(response, host, deadline, limit, static)
            done = True
            return _Answer(response.status_code, response.reason, response.headers, content, host)
        except (_Broken, PveError):
            raise
        except Exception as error:
            raise _broken(error, host) from None
        finally:
            if response is not None and not done:
                _close(response)

    def _read(self, response, host, deadline, limit, static):
        """The whole body, bytes; within the deadline, at most limit bytes, as long as Content-Length says."""
        headers = response.headers
        coding = headers.get("Content-Encoding", "identity").strip().lower()
        inflate = None
        if coding not in ("", "identity"):
            if not static or coding != "gzip":
                raise _Broken("encoded", host, coding)
            import zlib
            inflate = zlib.decompressobj(31)
        raw = response.raw
        if raw is None:         # a double that set the content only
            return response.content
        announced = headers.get("Content-Length")
        announced = int(announced) if announced and announced.isdigit() and response.status_code != 304 else None
        if announced is not None and announced > limit:
            raise _Broken("large", host, "%d bytes" % announced)
        chunks, wire, total = [], 0, 0
        while True:
            chunk = raw.read(65536)
            if not chunk:
                break
            wire += len(chunk)
            if inflate is not None:
                chunk = inflate.decompress(chunk, limit + 1 - total)
            total += len(chunk)
            if total > limit or wire > limit:
                raise _Broken("large", host, "more than %d bytes" % limit)
            chunks.append(chunk)
            if wire == announced:
                break           # urllib3 knows it too, and keeps the connection
            if self._clock() >= deadline:
                raise _Broken("timeout", host, "the answer did not end")
        if announced is not None and wire != announced:
            raise _Broken("short", host, "%d of %d bytes" % (wire, announced))
        if inflate is not None and not inflate.eof:
            raise _Broken("short", host, "the compressed data end early")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _enter(self, cancelled):
        """Take one of the slots; gives up when cancelled."""
        if cancelled is not None and cancelled.is_set():
            raise Cancelled("cancelled before it was sent")
        if self._slots.acquire(blocking=False):
            return
        if cancelled is None:
            self._slots.acquire()
            return
        while not self._slots.acquire(timeout=0.1):
            if cancelled.is_set():
                raise Cancelled("cancelled before it was sent")
        if cancelled.is_set():
            self._slots.release()
            raise Cancelled("cancelled before it was sent")

    def _wait(self, seconds, cancelled):
        if self._sleep is not None:
            self._sleep(seconds)
        elif cancelled is not None:
            cancelled.wait(seconds)
        else:
            time.sleep(seconds)

    # ---- after the answer

    def _reply(self, verb, path, answer):
        import json
        try:
            tree = json.loads(answer.body.decode("utf-8", "replace"), parse_constant=_no_number)
        except (ValueError, RecursionError):
            tree = None
        if not isinstance(tree, dict) or "data" not in tree:
            kind = answer.headers.get("Content-Type", "").split(";")[0].strip()[:60] or "unknown content"
            what = "an empty page" if not answer.body.strip() else "%s instead of JSON" % kind
            raise self._unusable(verb, path, "%s answered %s %s with %s." % (answer.host.label, verb, path, what),
                                 _NO_PROXMOX, answer.status)
        data = tree.pop("data")
        tree.pop("success", None)
        return Reply(data, tree)

    def _refusal(self, verb, path, answer):
        """The PveError for a status of 300 and more."""
        status = answer.status
        if status < 400:
            where = _plain(answer.headers.get("Location", ""), 200) or "another place"
            return PveError("%s answered %s %s with a redirect (%d) to %s, which is not followed. Set PROXMOX_HOST and "
                            "PROXMOX_PORT to the Proxmox host itself (https, port 8006)."
                            % (answer.host.label, verb, path, status, where), status=status)
        words, errors = _words(answer)
        # several lines of theirs must not pass for lines of ours
        lines = ["Proxmox refused %s %s: %s (HTTP %d)" % (verb, path, words.replace("\n", "\n| "), status)]
        lines.extend("  %s: %s" % (key, text.replace("\n", "; ")) for key, text in errors.items())
        from tools.pve import advice
        hint, outcome = advice.hint(status, "\n".join([words] + list(errors.values())), self._token_id)
        outcome = outcome if verb != "GET" else "refused"
        if hint:
            lines.append(hint)
        if outcome == "unknown":
            lines.append(advice.find_out(verb, path))
        return PveError("\n".join(lines), status=status, errors=errors, outcome=outcome)

    def _no_answer(self, verb, path, fault):
        """The PveError for a request that got no complete answer."""
        _, what, hint = FAULTS[fault.kind]
        if fault.kind == "certificate":     # says everything itself
            return PveError(fault.detail, outcome="unsent")
        detail = " (%s)" % _plain(fault.detail, 300) if fault.detail else ""
        message = what.format(host=fault.host.label, detail=detail)
        if not fault.sent:
            return PveError("%s Nothing was sent. %s" % (message, hint), outcome="unsent")
        return self._unusable(verb, path, message, hint)

    def _unusable(self, verb, path, message, hint, status=None):
        if verb == "GET":
            return PveError("%s %s" % (message, hint), status=status, outcome="unsent")
        from tools.pve import advice
        return PveError("%s %s\n%s" % (message, hint, advice.find_out(verb, path)), status=status, outcome="unknown")


def _close(response):
    """Close an answer that was not read to its end, so that its connection is not used again."""
    try:
        response.close()
    except Exception:           # what went wrong before is what is told
        pass


def _no_log(level, event, **fields):
    pass


# ---- parameters and paths --------------------------------------------------------------------------------------------

def _bad_path(path):
    return PveError("The path %r is not one of the Proxmox API (below /api2/json); nothing was sent." % path[:200],
                    outcome="unsent")


def _check_encoded(path):
    """pveproxy decodes the whole path before it splits it, so look at it as pveproxy will (AnyEvent.pm)."""
    decoded = unquote_to_bytes(path)
    parts = decoded.split(b"/")[1:]
    before = path.partition("/content/")[0]
    if (b"" in parts or b"." in parts or b".." in parts or "%2F" in before or any(c < 32 or c == 127 for c in decoded)
            or b"\\" in decoded):
        raise _bad_path(path)


def _pairs(params):
    """[(name, text)]: booleans 1 and 0, lists repeated, None dropped. PveError for what cannot be sent."""
    pairs = []
    for name, value in params.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is None:
                continue
            if isinstance(one, bool):
                one = "1" if one else "0"
            elif not isinstance(one, str):
                if not isinstance(one, (int, float)):
                    raise PveError("Parameter %s cannot be sent: it is neither text, number nor a list of them." % name,
                                   outcome="unsent")
                one = str(one)
            if _SURROGATE.search(one) or _SURROGATE.search(name):
                raise PveError("Parameter %s has a character that is not valid Unicode (half of a surrogate pair); "
                               "nothing was sent." % _SURROGATE.sub("?", name), outcome="unsent")
            pairs.append((name, one))
    return pairs


_NO_PROXMOX = ("Is this really a Proxmox VE host (port 8006), or a reverse proxy or login page in front of it? Check "
               "PROXMOX_HOST and PROXMOX_PORT.")


def _no_number(name):
    """NaN and Infinity, which are no JSON, as null."""


# ---- what Proxmox said -----------------------------------------------------------------------------------------------

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _plain(text, most=2000):
    """Text of others for a message: no control characters, cut."""
    text = _CONTROL.sub(" ", str(text)).strip()
    return text if len(text) <= most else text[:most] + " ..."


def _words(answer):
    """(message, errors) of an answer: body "message", else the reason phrase, else the status."""
    import json
    tree = {}
    if answer.body[:1] == b"{":
        try:
            tree = json.loads(answer.body.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            pass
    message = tree.get("message") if isinstance(tree.get("message"), str) else ""
    if not message.strip():
        message = answer.reason or ""
        if isinstance(message, bytes):
            message = message.decode("utf-8", "replace")
        else:               # http.client decodes the reason phrase as latin-1, Proxmox sends UTF-8
            try:
                message = message.encode("latin-1").decode("utf-8", "replace")
            except UnicodeEncodeError:
                pass
    errors = tree.get("errors") if isinstance(tree.get("errors"), dict) else {}
    errors = {_plain(key, 100): _plain(str(text).replace("\\n", "; ")) for key, text in list(errors.items())[:50]}
    return _plain(message) or "no reason given", errors


# ---- faults ----------------------------------------------------------------------------------------------------------

RETRY_STATUS = {502: 2, 503: 2, 504: 2, 595: 1, 596: 1, 597: 1, 599: 1}     # repeats of a read

# kind -> (repeats of a read, what happened, what to do)
_WHERE = "Check PROXMOX_HOST and PROXMOX_PORT (8006), "
FAULTS = {
    "refused": (2, "{host} refuses connections{detail}.",
                _WHERE + "that pveproxy runs there (systemctl status pveproxy) and that no firewall rejects it."),
    "unreachable": (1, "{host} cannot be reached{detail}.",
                    _WHERE + "the network and the route to it."),
    "connect": (0, "{host} does not answer: no connection within the time limit{detail}.",
                _WHERE + "that the host is up and that no firewall drops port 8006 on the way."),
    "dns": (0, "The name of {host} cannot be resolved{detail}.",
            "Check the spelling of PROXMOX_HOST and the DNS server, or give the IP address."),
    "tls": (1, "The TLS handshake with {host} failed{detail}.",
            _WHERE + "that nothing else listens there and that ALLOW_FROM/DENY_FROM in /etc/default/pveproxy admit "
            "this computer."),
    "plain": (0, "{host} does not speak TLS{detail}.",
              "Plain http is refused. " + _WHERE + "it must be the https port of Proxmox."),
    "certificate": (0, "", ""),
    "timeout": (0, "{host} did not finish its answer in time{detail}.",
                "The node may be overloaded or waiting for a hung storage: look at its load and storages, then ask "
                "again."),
    "closed": (2, "{host} closed the connection without an answer{detail}.",
               "pveproxy may just be restarting; if it stays so, check PROXMOX_PORT (8006) and ALLOW_FROM/DENY_FROM in "
               "/etc/default/pveproxy."),
    "short": (2, "The answer of {host} is incomplete{detail}.", "The connection broke on the way; ask again."),
    "large": (0, "The answer of {host} is too large{detail}.", "Ask for less: a filter, a limit, one node."),
    "encoded": (0, "{host} answered compressed data nobody asked for{detail}.",
                "Is a proxy in between? Set PROXMOX_HOST to the Proxmox host itself."),
    "garbage": (1, "{host} does not answer as an HTTP server does{detail}.", _WHERE + "and what listens there."),
}

# Classes that mean: the connection was never made. By name, for they moved between versions of urllib3 and requests.
_NEVER_CONNECTED = {"NewConnectionError": "refused", "NameResolutionError": "dns", "ConnectTimeout": "connect",
                    "ConnectTimeoutError": "connect"}

# Classes that mean: this is not HTTP (http.client, urllib3; "error" is zlib's).
_NOT_HTTP = {"BadStatusLine", "LineTooLong", "HTTPException", "InvalidChunkLength", "HeaderParsingError",
             "UnknownProtocol", "error"}


def _broken(error, host):
    """The _Broken for an exception of an adapter. Whatever is not provably unsent counts as sent."""
    from tools.pve import tls
    if isinstance(error, tls.NotSent):
        return _Broken(error.kind, host, str(error), sent=False)
    chain = _wrapped(error)
    names = [type(one).__name__ for one in chain]
    for name in names:
        if name in _NEVER_CONNECTED:
            return _Broken(_NEVER_CONNECTED[name], host, "", sent=False)
    if any(isinstance(one, TimeoutError) or name in ("timeout", "ReadTimeoutError", "ReadTimeout")
           for one, name in zip(chain, names)) or "timed out" in str(error):
        return _Broken("timeout", host)
    if "IncompleteRead" in names:
        return _Broken("short", host)
    if any(isinstance(one, (ConnectionError, EOFError)) or name in ("RemoteDisconnected", "SSLEOFError",
           "SSLZeroReturnError") for one, name in zip(chain, names)):
        return _Broken("closed", host)
    if any(name in _NOT_HTTP for name in names):
        return _Broken("garbage", host)
    return _Broken("closed", host, type(error).__name__)


def _wrapped(error):
    """The exception and those it wraps on purpose. Not __context__: that may belong to a caller's earlier failure."""
    chain, queue = [], [error]
    while queue and len(chain) < 20:
        one = queue.pop(0)
        if any(one is seen for seen in chain):
            continue
        chain.append(one)
        queue.extend(each for each in tuple(one.args) + (getattr(one, "reason", None), one.__cause__)
                     if isinstance(each, BaseException))
    return chain
