"""Talks to the Proxmox VE API: one request in, one Reply or one PveError out.

Every request of the program goes through `Client.request`. It sends a `requests.PreparedRequest` straight through an
adapter (adapter.py), without a session, so no proxy, .netrc, cookie or redirect is ever looked at.

Rules, and where they come from:
* parameters of GET and DELETE go into the query, those of POST and PUT into a form body (pve-http-server, AnyEvent.pm:
  a body on GET or DELETE is a 501); booleans are 1 and 0; lists repeat the key; None is left out.
* a write is sent at most once. Only when it provably never left (`NotSent`) is another host tried. Any other break
  is PveError(outcome="unknown"), which names the call that finds out.
* a read is repeated at most twice, within its deadline.

`requests` is imported at the first request, or by `Client.warm` in a background thread; what is said of a refusal
(advice.py) at the first one. Importing this is cheap.
"""

import json
import re
import threading
import time
from collections import namedtuple
from contextlib import suppress
from math import ceil
from urllib.parse import quote, unquote_to_bytes, urlencode

from tools.pve.faults import FAULTS, RETRY_STATUS, Broken, NotSent, fault_of
from tools.pve.formats import label, text_of
from tools.pve.scrub import hide, scrub
from tools.pve.waiting import Cancelled, wait

BASE = "/api2/json"
CONNECT_SECONDS = 5.0           # TCP and TLS, each
READ_SECONDS = 38.0             # silence; above pveproxy's own 30 s, so that its 596 is seen
TOTAL_SECONDS = 45.0            # one attempt and its repeats, all in all
MAX_BODY = 32 * 1024 * 1024     # bytes of one reply
IN_FLIGHT = 4                   # pveproxy and pvedaemon have three workers each
RETRY_PAUSES = (0.3, 1.0)       # seconds before the first and the second repeat of a read


class PveError(Exception):
    """A request that did not succeed; `str(error)` is a message for the user and holds no secret.

    status: int, the HTTP status, or None when there was no answer.
    outcome: "refused" (Proxmox said no, nothing was done), "unsent" (it never reached Proxmox, or it was a read that
    got no answer: nothing was changed), "unknown" (a write that may have been done), "accepted" (one that was done, and
    ends in an error all the same).
    """

    def __init__(self, message, status=None, outcome="refused"):
        Exception.__init__(self, scrub(str(message)))
        self.status, self.outcome = status, outcome
        #: Whether asking again may help: no answer at all, or one that says the node could not be reached.
        self.passing = status is None or status < 400 or status in (502, 503, 504) or status >= 595


#: What Proxmox answered. data: the value of "data". extra: the other top-level keys (total, changes ...).
Reply = namedtuple("Reply", "data extra", defaults=({},))


# What urllib3 and requests send unchanged, segment by segment; no "." or ".." and no empty segment.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+)+|/")
_SURROGATE = re.compile("[\ud800-\udfff]")
_VERBS = {"GET": False, "DELETE": False, "POST": True, "PUT": True}     # verb -> parameters go into the body
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "proxmox-mcp"}


#: One host of the setting: label, its name in texts; url, what its URLs begin with.
_Host = namedtuple("_Host", "label url")
#: One request: verb, path (below /api2/json) as texts name it, target (path and query) as it is sent, body (bytes or
#: None), cancelled (Event), reads (bool: it may be sent again), timeout and last (of `request`, or None),
#: headers (dict; None: those of the API).
_Sending = namedtuple("_Sending", "verb path target body cancelled reads timeout last headers", defaults=(None,) * 3)
#: A complete HTTP answer: status (int), reason, headers, body (bytes), host (_Host).
_Answer = namedtuple("_Answer", "status reason headers body host")


class Limiter:
    """How much may be asked of Proxmox: requests, and among them changes, a minute, in bursts of half a minute's worth
    or ten. Safe to use from several threads.

    setting: PROXMOX_RATE_LIMIT, "600/60"; "300" leaves the changes at 60, 0 is no limit. clock() gives seconds.
    """

    def __init__(self, setting, clock):
        self._setting, self._clock, self._lock, self._filled = setting, clock, threading.Lock(), clock()
        requests, _, changes = setting.partition("/")
        self._rates = {"requests to Proxmox": int(requests), "changes": int(changes or (int(requests) and 60))}
        self._sizes = {what: max(rate // 2, min(rate, 10)) for what, rate in self._rates.items() if rate}
        self._tokens = dict(self._sizes)

    def _fill(self, changing):
        """The names of the buckets of a read or a change, after all were filled by the time that has passed."""
        now = self._clock()
        for what, size in self._sizes.items():
            gained = max(0.0, now - self._filled) * self._rates[what] / 60.0
            self._tokens[what] = min(float(size), self._tokens[what] + gained)
        self._filled = now
        return [what for what in self._sizes if changing or what != "changes"]

    def take(self, changing):
        """Count one request; PveError with the seconds to wait when it is one too many."""
        with self._lock:
            buckets = self._fill(changing)
            for what in buckets:
                if self._tokens[what] < 1 - 1e-9:
                    seconds = ceil((1 - self._tokens[what]) * 60.0 / self._rates[what])
                    raise PveError("Too many %s: at most %d a minute (PROXMOX_RATE_LIMIT=%s). Try again in %d s." % (
                        what, self._rates[what], self._setting, seconds), outcome="unsent")
            for what in buckets:
                self._tokens[what] -= 1

    def seconds_until(self, changing, count):
        """Seconds until so many requests would be let through; of more than a burst, until a whole one."""
        with self._lock:
            return max([0.0] + [(min(count, self._sizes[what]) - self._tokens[what]) * 60.0 / self._rates[what]
                                for what in self._fill(changing)])


class Client:
    """Sends requests to one Proxmox cluster. Safe to use from several threads.

    settings: those of the server; where their token_value is None, secret() gives it or raises ValueError. adapter: a
    requests adapter in place of the TLS one, or a function that makes it (demo, tests). log(level, event, **fields).
    in_flight: how many requests one caller may have on their way at once; the client lets no more through in all.
    """

    def __init__(self, settings, adapter=None, log=None, clock=time.monotonic, sleep=wait, rate_limit="0"):
        self._settings, self._adapter, self.limiter = settings, adapter, Limiter(rate_limit, clock)
        self._log = log or (lambda level, event, **fields: None)
        self._clock, self._sleep = clock, sleep
        self._hosts = [_Host(label(*host), "https://" + label(host[0].replace("%", "%25"), host[1]))
                       for host in settings.host]
        self._current = 0       # index of the host that answered last
        self._slots, self.in_flight = threading.Semaphore(IN_FLIGHT), IN_FLIGHT
        self._ready = threading.Lock()
        self._send = None       # that of the adapter, from the first request on
        self._token_id = "%s!%s" % (settings.user, settings.token_name)
        hide(settings.token_value)

    def warm(self):
        """Import requests and build the TLS settings now, in a background thread; never raises."""
        with suppress(PveError):
            if self._settings.token_value is not None:
                self._start()

    def request(self, verb, path, params=None, cancelled=None, timeout=None, acts=False, last=None):
        """Send one request, return its Reply; PveError when it did not succeed, Cancelled when told to stop. path:
        below /api2/json, its ids checked and encoded by formats.fill. params: {name: str|int|float|bool|None or a list
        of those}. cancelled: threading.Event. timeout: seconds for everything, repeats included (45). acts: a GET that
        does more than read, so it is sent once, as a write is. last(): called when it does not wait for its turn any
        more; what it raises passes, and nothing is sent."""
        target, body = _target(verb, path, params)
        self.limiter.take(acts or verb != "GET")
        reads = verb == "GET" and not acts
        sending = _Sending(verb, path, target, body, cancelled or threading.Event(), reads, timeout, last)
        answer = self._exchange(sending)
        if answer.status >= 300:
            raise self._refusal(sending, answer)
        tree = _tree(answer.body)
        if "data" not in tree:
            if reads and _kind(answer) == "text/plain":     # a task's log with download=1
                return Reply(answer.body.decode("utf-8", "replace"))
            raise _no_proxmox(sending, answer)
        data = tree.pop("data")
        said = _agents_refusal(data) if "/agent/" in path else None
        if said:
            raise self._refusal(sending, answer, said)
        tree.pop("success", None)
        return Reply(data, tree)

    def fetch(self, path, cancelled=None):
        """The bytes of a static page outside /api2 (apidoc.js), asked for without the token."""
        sending = _Sending("GET", path, path, None, cancelled or threading.Event(), True, headers={
            **_HEADERS, "Accept": "*/*", "Accept-Encoding": "gzip"})
        answer = self._exchange(sending)
        if answer.status >= 300:
            raise self._refusal(sending, answer)
        return answer.body

    def _start(self):
        """Make the adapter and the headers, once: requests is imported, and a command that prints the token run."""
        with self._ready:
            if self._send is not None:
                return
            try:
                import requests
            except Exception as error:  # not only ImportError: OSError where there is no CA bundle (requests 2.32)
                raise PveError("The Python package requests cannot be used (%s: %s). Install it: apt install "
                               "python3-requests, dnf install python3-requests or zypper install python3-requests."
                               % (type(error).__name__, error), outcome="unsent") from None
            adapter, value = self._adapter, self._settings.token_value
            try:
                if adapter is None:
                    from tools.pve.adapter import Adapter
                    from tools.pve.tls import trust_of
                    adapter = Adapter(trust_of(self._settings, self._log))
                elif callable(adapter):
                    adapter = adapter()
                value = self._settings.secret() if value is None else value
            except NotSent as error:
                raise PveError(error, outcome="unsent") from None
            except ValueError as error:
                raise PveError("%s. Nothing was sent." % error, outcome="unsent") from None
            hide(value)
            # pveproxy percent-decodes the value, so everything unusual is encoded (AnyEvent.pm, auth_handler)
            token = "PVEAPIToken=%s!%s=%s" % (quote(self._settings.user, safe="@"),
                                              quote(self._settings.token_name, safe=""), quote(value, safe=""))
            self._prepared = requests.PreparedRequest
            self._read_headers = requests.structures.CaseInsensitiveDict(_HEADERS, Authorization=token)
            self._write_headers = self._read_headers.copy()
            self._write_headers["Content-Type"] = "application/x-www-form-urlencoded"
            self._adapter, self._send = adapter, adapter.send

    def _exchange(self, sending):
        """The _Answer to one request, whatever its status; PveError when there is none, Cancelled. A host that cannot
        be connected to is stepped over, and the one that answers is kept; a read is repeated."""
        if self._send is None:
            self._start()
        deadline = self._clock() + (sending.timeout or TOTAL_SECONDS)
        repeats = 0
        while True:
            self._enter(sending.cancelled)
            try:
                answer = fault = None
                first = self._current + (1 if repeats > 1 else 0)       # the second repeat asks another host
                for index in range(first, first + len(self._hosts)):
                    host = self._hosts[index % len(self._hosts)]
                    try:
                        answer = self._once(sending, host, deadline)
                        break
                    except Broken as broken:
                        if fault is not None and not broken.sent and broken.kind != "certificate":
                            broken.detail = "%s; before that %s: %s" % (broken.detail, fault.host.label, fault.detail)
                        fault, broken.host = broken, host
                        if broken.sent or broken.kind == "certificate":
                            break
            finally:
                self._slots.release()
            if answer is not None and answer.host is not self._hosts[self._current]:
                self._current = index % len(self._hosts)
                self._log("warning", "host", using=host.label)
            if answer is not None and not (sending.reads and answer.status in RETRY_STATUS):
                return answer
            pause = _pause_before(repeats, answer, fault) if sending.reads else None
            if pause is None or self._clock() + pause >= deadline:
                if answer is None:
                    raise _no_answer(sending, fault) from None
                return answer
            repeats += 1
            self._log("info", "retry", path=sending.path, attempt=repeats,
                      reason=fault.kind if answer is None else answer.status)
            if pause:
                self._sleep(sending.cancelled, pause)

    def _once(self, sending, host, deadline):
        """The _Answer of one host to one request on the wire; Broken when there is none."""
        left = deadline - self._clock()
        if left <= 0:
            raise NotSent("timeout", "no time left")
        if sending.last is not None:
            sending.last()
        request = self._prepared()
        request.method, request.url, request.body = sending.verb, host.url + sending.target, sending.body
        request.headers = sending.headers or (self._read_headers if sending.body is None else self._write_headers)
        request.seconds = left
        response, began = None, self._clock()
        try:
            response = self._send(request, stream=True, verify=True, cert=None, proxies={}, timeout=(
                min(CONNECT_SECONDS, left), min(sending.timeout or READ_SECONDS, left)))
            body, status = self._read(response, deadline), response.status_code
        except BaseException as error:
            if response is not None:
                with suppress(Exception):       # not read to its end, so its connection is not used again
                    response.close()
            if isinstance(error, Exception):
                error = fault_of(error)
            status = getattr(error, "kind", type(error).__name__)
            raise error from None
        finally:                                # a line a request: without its parameters, which may be secret
            self._log("debug", "request", verb=sending.verb, path=sending.path, status=status,
                      ms=int((self._clock() - began) * 1000))
        return _Answer(status, response.reason, response.headers, body, host)

    def _read(self, response, deadline):
        """The whole body, bytes; within the deadline, at most MAX_BODY, as long as Content-Length says."""
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        inflate = None
        if coding not in ("", "identity"):
            if coding != "gzip":            # which some answers have always, asked for or not: /nodes/X/journal
                raise Broken("encoded", coding)
            import zlib
            inflate = zlib.decompressobj(31)
        announced = response.headers.get("Content-Length")
        announced = int(announced) if announced and announced.isdigit() else None
        if announced is not None and announced > MAX_BODY:
            raise Broken("large", "%d bytes" % announced)
        chunks, wire, total = [], 0, 0
        while True:
            chunk = response.raw.read(65536)
            if not chunk:
                break
            wire += len(chunk)
            if inflate is not None:
                chunk = inflate.decompress(chunk, MAX_BODY + 1 - total)
            total += len(chunk)
            if total > MAX_BODY or wire > MAX_BODY:
                raise Broken("large", "more than %d bytes" % MAX_BODY)
            chunks.append(chunk)
            if wire == announced:
                break           # urllib3 knows it too, and keeps the connection
            if self._clock() >= deadline:
                raise Broken("timeout", "the answer did not end")
        if announced is not None and wire != announced:
            raise Broken("short", "%d of %d bytes" % (wire, announced))
        if inflate is not None and not inflate.eof:
            raise Broken("short", "the compressed data end early")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _enter(self, cancelled):
        """Take one of the slots; Cancelled while it waits for one."""
        taken = False
        while not (taken or cancelled.is_set()):
            taken = self._slots.acquire(timeout=0.1)
        if cancelled.is_set():
            if taken:
                self._slots.release()
            raise Cancelled("cancelled before it was sent")

    def _refusal(self, sending, answer, said=None):
        """The PveError for a status of 300 and more, or for what a guest's agent `said` in an answer of status 200."""
        verb, path, status = sending.verb, sending.path, 500 if said else answer.status
        if status < 400:
            where = _plain(answer.headers.get("Location", ""), 200) or "another place"
            return PveError("%s answered %s %s with a redirect (%d) to %s, which is not followed. Set PROXMOX_HOST and "
                            "PROXMOX_PORT to the Proxmox host itself (https, port 8006)."
                            % (answer.host.label, verb, path, status, where), status=status)
        words, errors = (said, {}) if said else _words(answer)
        # several lines of theirs must not pass for lines of ours
        lines = ["Proxmox refused %s %s: %s (HTTP %d)" % (verb, path, words.replace("\n", "\n| "), answer.status)]
        lines.extend("  %s: %s" % (key, text.replace("\n", "; ")) for key, text in errors.items())
        from tools.pve import advice
        hint, outcome = advice.hint(status, "\n".join([words] + list(errors.values())), self._token_id)
        outcome = "refused" if sending.reads else outcome
        if hint:
            lines.append(hint)
        if outcome == "unknown":
            lines.append(advice.find_out(verb, path))
        return PveError("\n".join(lines), status=status, outcome=outcome)


def _no_answer(sending, fault):
    """The PveError for a request that got no complete answer."""
    _, what, hint = FAULTS[fault.kind]
    if fault.kind == "certificate":     # says everything itself
        return PveError(fault.detail, outcome="unsent")
    detail = " (%s)" % _plain(fault.detail, 300) if fault.detail else ""
    message = what.format(host=fault.host.label, detail=detail)
    if not fault.sent:
        return PveError("%s %s" % (message, hint), outcome="unsent")
    return _unusable(sending, message, hint)


def _no_proxmox(sending, answer):
    """The PveError for an answer that is not one of the API."""
    kind = _kind(answer)
    what = "%s instead of JSON" % kind if answer.body.strip() else "an empty page"
    return _unusable(sending, "%s answered %s %s with %s." % (answer.host.label, sending.verb, sending.path, what),
                     "Is this really a Proxmox VE host (port 8006), or a reverse proxy or login page in front of it? "
                     "Check PROXMOX_HOST and PROXMOX_PORT.", answer.status)


def _kind(answer):
    """The type of an answer's content: "text/html"."""
    return answer.headers.get("Content-Type", "").split(";")[0].strip()[:60] or "unknown content"


def _unusable(sending, message, hint, status=None):
    """The PveError for a request that was sent and whose answer says nothing: of a write, the outcome is unknown."""
    if sending.reads:
        return PveError("%s %s" % (message, hint), status=status, outcome="unsent")
    from tools.pve import advice
    return PveError("%s %s\n%s" % (message, hint, advice.find_out(sending.verb, sending.path)), status=status,
                    outcome="unknown")


def _pause_before(repeats, answer, fault):
    """Seconds to wait before a read is sent again after so many repeats, or None: do not. answer or fault is None."""
    if answer is not None:
        most = RETRY_STATUS[answer.status]
        if answer.status == 596 and "timed out" in (answer.reason or ""):
            most = 0            # took longer than 30 s already
    else:
        most = FAULTS[fault.kind][0]
        if fault.kind == "closed" and repeats == 0:
            return 0.0          # a kept connection the server had just closed
    return RETRY_PAUSES[repeats] if repeats < most else None


# ---- parameters and paths --------------------------------------------------------------------------------------------

def _target(verb, path, params):
    """The request target (path and query) and the body, bytes or None. Refuses what would not arrive unchanged."""
    if verb not in _VERBS:
        raise PveError("%r is not a method of the Proxmox API." % verb, outcome="unsent")
    if not _PATH.fullmatch(path) or "%" in path and not _decodes_well(path):
        raise PveError("The path %r is not one of the Proxmox API (below /api2/json)." % path[:200], outcome="unsent")
    target = BASE + path if path != "/" else BASE
    query = urlencode(_pairs(params), quote_via=quote) if params else ""
    if _VERBS[verb]:
        return target, query.encode("ascii")
    return (target + "?" + query if query else target), None


def _decodes_well(path):
    """Whether nothing in a path is hidden by its %XX: pveproxy decodes it whole before it splits it (AnyEvent.pm)."""
    decoded = unquote_to_bytes(path)
    parts = decoded.split(b"/")[1:]
    before = path.partition("/content/")[0]
    return not (b"" in parts or b"." in parts or b".." in parts or b"\\" in decoded or "%2F" in before
                or any(c < 32 or c == 127 for c in decoded))


def _pairs(params):
    """[(name, text)]: booleans 1 and 0, lists repeated, None dropped. PveError for what cannot be sent."""
    pairs = []
    for name, value in params.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is None:
                continue
            if not isinstance(one, (str, int, float)):
                raise PveError("Parameter %s cannot be sent: it is not a text, a number or a list of those." % name,
                               outcome="unsent")
            one = text_of(one)
            if _SURROGATE.search(one) or _SURROGATE.search(name):
                raise PveError("Parameter %s contains a character that is not valid Unicode (half of a surrogate "
                               "pair)." % _SURROGATE.sub("?", name), outcome="unsent")
            pairs.append((name, one))
    return pairs


# ---- what Proxmox said -----------------------------------------------------------------------------------------------

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _plain(text, most=2000):
    """Text of others for a message: no control characters, cut."""
    text = _CONTROL.sub(" ", str(text)).strip()
    return text if len(text) <= most else text[:most] + " ..."


_decode = json.JSONDecoder(parse_constant=lambda name: None).decode      # NaN and Infinity, which are no JSON, as null


def _tree(body):
    """The JSON object (dict) of a body, {} where it is none."""
    try:
        tree = _decode(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _words(answer):
    """(message, errors) of a refusal: "message" of the body, else the reason phrase; {parameter: text}."""
    tree = _tree(answer.body)
    message = tree.get("message") if isinstance(tree.get("message"), str) else ""
    if not message.strip():
        message = answer.reason or ""
        with suppress(UnicodeEncodeError):  # http.client decodes the reason phrase as latin-1, Proxmox sends UTF-8
            message = message.encode("latin-1").decode("utf-8", "replace")
    errors = tree.get("errors") if isinstance(tree.get("errors"), dict) else {}
    errors = {_plain(key, 100): _plain(str(text).replace("\\n", "; ")) for key, text in list(errors.items())[:50]}
    return _plain(message) or "no reason given", errors


def _agents_refusal(data):
    """What a guest's agent refused, in the words that Proxmox has for it elsewhere (Agent.pm, check_agent_error); None
    when it did not. QMPClient.pm hands its errors out as results."""
    result = data.get("result") if isinstance(data, dict) else None
    error = result.get("error") if isinstance(result, dict) else None
    if isinstance(error, dict):
        return "Agent error: %s" % _plain(error.get("desc") or error.get("class") or "no reason given")
    return None
