"""Whom the client trusts in each SSL mode, how a TLS socket is opened, and a look at a host's certificate.

A fingerprint or a CA file (PROXMOX_CERTIFICATE) always wins over PROXMOX_SSL_MODE:
* fingerprint: exactly the certificate(s) whose SHA-256 was given; names and dates are not looked at, as Proxmox's own
  clients do (PVE::APIClient, cached_fingerprints).
* ca_file: only that CA, or that certificate; names checked. VERIFY_X509_STRICT is not set: the CA of every cluster made
  before pve-cluster 9.1.1 lacks the key usage extension (Proxmox bug 6701) and lives ten years.
* strict: the system's CAs (or REQUESTS_CA_BUNDLE, SSL_CERT_FILE), names checked.
* verify: as strict, and a certificate no CA vouches for is trusted on first use and pinned.
* insecure: nothing checked.

The peer is accepted or refused before the first byte of the request is sent; everything that fails there is NotSent.
"""

import hashlib
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress

from tools.pve import state
from tools.pve.faults import NotSent
from tools.pve.formats import label

PINS_FILE = "tls-pins"          # in the state directory; lines "host:port AA:BB:..."
_PARTIAL_CHAIN = 0x80000        # X509_V_FLAG_PARTIAL_CHAIN; ssl names it from Python 3.10 on
_SYSTEM = "system"              # in place of a pin: the system's CAs vouched for this host


def fingerprint(der):
    """SHA-256 of a certificate (DER bytes) as Proxmox prints it: AA:BB:... (`pvenode cert info`)."""
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[at:at + 2] for at in range(0, 64, 2))


# ---- contexts --------------------------------------------------------------------------------------------------------

def _context(checked):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _Socket
    if checked:
        context.hostname_checks_common_name = False
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _ca_context(ca_file):
    context = _context(True)
    context.verify_flags |= _PARTIAL_CHAIN          # a node's own certificate may be the anchor
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:          # ssl.SSLError is an OSError
        reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error
        raise NotSent("certificate", "PROXMOX_CERTIFICATE %s cannot be used: %s. It must be the cluster's CA (of any "
                      "node: /etc/pve/pve-root-ca.pem), or the node's own certificate." % (ca_file, reason)) from None
    return context


def _system_context():
    context = _context(True)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        bundle = os.environ.get(name)
        if bundle:
            try:
                context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
            except (OSError, ValueError) as error:
                raise NotSent("certificate", "%s %s cannot be used: %s." % (name, bundle, error)) from None
            return context
    context.load_default_certs()
    if not context.cert_store_stats()["x509_ca"]:
        with suppress(Exception):   # without any store every certificate is refused with its reason, as it should be
            from requests.certs import where  # a Python without the system's store: what requests ships with
            context.load_verify_locations(where())
    return context


_now = threading.local()        # .until: time.monotonic() of the deadline of the request this thread is sending


def answer_within(seconds):
    """Whatever this thread reads from now on has to arrive within so many seconds, all in all."""
    _now.until = time.monotonic() + seconds


class _Socket(ssl.SSLSocket):
    """A TLS socket on which a whole answer, headers included, has one deadline: drips cannot stretch it."""

    def recv_into(self, buffer, nbytes=None, flags=0):
        until = getattr(_now, "until", None)
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise socket.timeout("timed out")
            if left < (self.gettimeout() or left + 1):
                self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)


# ---- trust: one class per kind of decision ---------------------------------------------------------------------------
# wrap(plain, host, port, dial) returns the accepted TLS socket over the connected socket `plain`. NotSent: the peer is
# refused; OSError or ValueError: the handshake failed. dial() makes another plain connection to the same place.

def _seen(context, plain, host):
    """(TLS socket, fingerprint of the certificate that was shown), whatever it is."""
    sock = context.wrap_socket(plain, server_hostname=host)
    return sock, fingerprint(sock.getpeercert(True) or b"")


class _Chain:
    """A certificate that the context takes: one that a CA in it vouches for, of the right name; or any (insecure)."""

    def __init__(self, context, hint=""):
        self._context, self._hint = context, hint

    def wrap(self, plain, host, port, dial):
        try:
            return self._context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise NotSent("certificate", "The certificate of %s is refused: %s. The token was not sent.%s" % (
                label(host, port), _why(error, host), "" if error.verify_code in _TIMES else " " + self._hint
            )) from None


class _Pinned:
    """One of the given certificates, whatever it says."""

    def __init__(self, pins):
        self._pins, self._context = pins, _context(False)

    def wrap(self, plain, host, port, dial):
        sock, seen = _seen(self._context, plain, host)
        if seen not in self._pins:
            sock.close()
            raise NotSent("certificate", "The certificate of %s is not the pinned one: it is %s, PROXMOX_CERTIFICATE "
                          "says %s. The token was not sent. If the certificate was renewed, compare it with `pvenode "
                          "cert info` on the node and change PROXMOX_CERTIFICATE; if not, somebody may be in "
                          "between." % (label(host, port), seen, " or ".join(self._pins)))
        return sock


class _FirstUse:
    """A certificate the system's CAs vouch for, or else the one seen at the first contact."""

    def __init__(self, state_dir, log):
        self._log, self._state_dir, self._lock = log, state_dir, threading.Lock()
        self._open, self._checked = _context(False), None
        self.pins = _read_pins(state_dir, log)          # "host:port" -> fingerprint or _SYSTEM

    def wrap(self, plain, host, port, dial):
        place = label(host, port)
        pin = self.pins.get(place)
        if pin is not None and pin != _SYSTEM:
            sock, seen = _seen(self._open, plain, host)
            if seen == pin:
                return sock
            sock.close()
            plain = dial()      # changed: accepted only if a CA vouches for the new one
        else:
            seen = None
        try:
            self._checked = self._checked or _system_context()
            sock = self._checked.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            reason = _why(error, host)
        else:
            if pin != _SYSTEM:
                self.pins[place] = _SYSTEM
                self._save()
            return sock
        if pin == _SYSTEM:
            raise NotSent("certificate", "The certificate of %s was vouched for by a CA of this system before and no "
                          "longer is: %s. The token was not sent. If it was replaced on purpose, set "
                          "PROXMOX_CERTIFICATE%s." % (place, reason, self._forget_hint(place)))
        if seen is not None:
            raise NotSent("certificate", "The certificate of %s has changed: it was %s at the first contact and is %s "
                          "now. The token was not sent. If it was renewed, compare it with `pvenode cert info` on the "
                          "node and set PROXMOX_CERTIFICATE=%s%s; if not, somebody may be in between." % (
                              place, pin, seen, seen, self._forget_hint(place)))
        return self._first(place, host, dial, reason)

    def _first(self, place, host, dial, reason):
        """The first contact: the certificate is fetched without sending anything, told, pinned and required."""
        probe, pin = _seen(self._open, dial(), host)
        probe.close()
        with self._lock:
            pin = self.pins.setdefault(place, pin)      # another thread may have been first
        self._log("warning", "tls_first_use", host=place, fingerprint=pin, reason=reason,
                  message="The certificate of %s is not vouched for by any CA of this system (%s). It is trusted from "
                          "now on, without proof of who it is. Compare it with `pvenode cert info` on the node and pin "
                          "it: PROXMOX_CERTIFICATE=%s" % (place, reason, pin))
        self._save()
        sock, seen = _seen(self._open, dial(), host)
        if seen != pin:
            sock.close()
            raise NotSent("certificate", "%s showed two different certificates, %s and %s. The token was not sent. Set "
                          "PROXMOX_CERTIFICATE." % (place, pin, seen))
        return sock

    def _save(self):
        """Replace the file as a whole. What cannot be written is said; the pins hold for this process."""
        if not self._state_dir:
            return
        path = os.path.join(self._state_dir, PINS_FILE)
        try:
            with _saving:                               # others of this process, or of another, have pins there too
                pins = {**_read_pins(self._state_dir, _quiet), **self.pins}
                state.write(path, "".join("%s %s\n" % item for item in sorted(pins.items())))
        except OSError as error:
            self._log("warning", "tls_pins", message="%s cannot be written (%s): the certificate is pinned for this "
                      "process only" % (path, error.strerror))

    def _forget_hint(self, place):
        if not self._state_dir:
            return " (or restart this server)"
        return " (or remove the line for %s from %s)" % (place, os.path.join(self._state_dir, PINS_FILE))


_saving = threading.Lock()


def _quiet(level, event, **fields):
    """The log of what is told nowhere."""


def _read_pins(state_dir, log):
    """{place: pin} of the state directory. A file others may write is not believed."""
    path, text = os.path.join(state_dir or "", PINS_FILE), b""
    try:
        text = state.read(path, 1 << 20, private=False) if state_dir else b""
    except FileNotFoundError:
        pass
    except (OSError, state.NotOurs) as error:
        log("warning", "tls_pins", message="The pins in %s are ignored: %s" % (
            path, getattr(error, "strerror", None) or error))
    return dict(re.findall(r"(?m)^[ \t]*(\S+)[ \t]+(system|(?:[0-9A-F]{2}:){31}[0-9A-F]{2})\s*?$",
                           text.decode("utf-8", "replace")))


_HINT = ("Set PROXMOX_CERTIFICATE to a copy of /etc/pve/pve-root-ca.pem, or to the SHA-256 fingerprint that `pvenode "
         "cert info` prints on the node, or PROXMOX_SSL_MODE=verify to trust it on first use.")
_CA_HINT = ("Is PROXMOX_CERTIFICATE the /etc/pve/pve-root-ca.pem of this cluster, and PROXMOX_HOST a name or address "
            "that is in the certificate? A certificate from another CA (ACME, pveproxy-ssl.pem) needs that CA.")


def trust_of(settings, log):
    """The object that decides about a peer, as the settings say. NotSent when one cannot be used."""
    if settings.fingerprint:
        return _Pinned(settings.fingerprint.split(","))
    if settings.ca_file:
        return _Chain(_ca_context(settings.ca_file), _CA_HINT)
    if settings.ssl_mode == "verify":
        return _FirstUse(settings.state_dir, log)
    if settings.ssl_mode != "insecure":                 # strict, and whatever else it may be
        return _Chain(_system_context(), _HINT)
    log("warning", "tls_insecure", message="PROXMOX_SSL_MODE=insecure: certificates are not checked; anyone on the way "
        "to Proxmox can read and use the API token.")
    return _Chain(_context(False))


# ---- sockets ---------------------------------------------------------------------------------------------------------

#: What keeps a connection from being made -> the kind of fault, its words.
_UNMADE = ((socket.gaierror, "dns", ""), (UnicodeError, "dns", "not a valid name"),
           (socket.timeout, "connect", "no answer within {:g} s"),
           (ConnectionRefusedError, "refused", "connection refused"),
           (ConnectionResetError, "tls", "connection reset"),   # at once, as pveproxy does by ALLOW_FROM and DENY_FROM
           (OSError, "unreachable", ""))


def dial(host, port, seconds):
    """A connected TCP socket; NotSent when there is none within the seconds (for each address of the name)."""
    try:
        plain = socket.create_connection((host, port), seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (OSError, UnicodeError) as error:
        kind, words = next((kind, words) for one, kind, words in _UNMADE if isinstance(error, one))
        raise NotSent(kind, words.format(seconds) or error.strerror or type(error).__name__) from None
    return plain


def open_tls(trust, host, port, seconds):
    """A TLS socket to a peer that `trust` accepts; NotSent otherwise, and nothing stays open."""
    opened = []

    def another():
        opened.append(dial(host, port, seconds))
        return opened[-1]

    try:
        return trust.wrap(another(), host, port, another)
    except BaseException as error:
        for one in opened:
            one.close()
        if isinstance(error, NotSent) or not isinstance(error, (OSError, ValueError)):
            raise
        raise _not_sent(error, seconds) from None


def _not_sent(error, seconds):
    """The NotSent for an exception (OSError, ValueError) of a TLS handshake that had so many seconds."""
    if isinstance(error, socket.timeout):
        return NotSent("tls", "no answer within %g s" % seconds)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").replace("_", " ").lower()
        plain = error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG",
                                 "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
        return NotSent("plain" if plain else "tls", reason or "closed by the other side")
    return NotSent("tls", getattr(error, "strerror", None) or type(error).__name__)


_TIMES = (9, 10)                # of those below: it is about the time, so no other setting helps
# X509_V_ERR_... (openssl/x509_vfy.h) -> words
_VERIFY = {
    9: "it is not valid yet (is the clock of this machine right?)",
    10: "it has expired (pvecm updatecerts -f on the node makes a new one)",
    18: "it is self-signed",
    19: "it is signed by a CA this machine does not trust",
    20: "it is signed by a CA this machine does not trust",
    21: "it is signed by a CA this machine does not trust",
    62: "it is not for the name {host}",
    64: "it is not for the address {host}",
}


def _why(error, host):
    """An ssl.SSLCertVerificationError in words."""
    text = _VERIFY.get(error.verify_code)
    return text.format(host=host) if text else (error.verify_message or "it cannot be verified")


def look(host, port, settings, seconds=5.0):
    """(address, TLS version, fingerprint of its certificate, why the settings refuse it or None) of a host; NotSent
    when it cannot be reached. Nothing is sent to it, and nothing is pinned."""
    with open_tls(_Chain(_context(False)), host, port, seconds) as sock:
        shown = sock.getpeername()[0], sock.version(), fingerprint(sock.getpeercert(True))

    pin = None
    try:
        trust = trust_of(settings, _quiet)
        if isinstance(trust, _FirstUse):
            pin = trust.pins.get(label(host, port))
            if pin in (None, shown[2]):
                return (*shown, None)
            trust = _Chain(_system_context())
        open_tls(trust, host, port, seconds).close()
    except NotSent as error:
        return (*shown, "The certificate has changed: at the first contact it was %s." % (
            "vouched for by a CA of this system" if pin == _SYSTEM else pin) if pin else str(error))
    return (*shown, None)
