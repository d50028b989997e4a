"""What the client holds between a question and its answer, and what this process keeps of it.

All of it is bound to what `seal` was given, good for one answer and for LIFETIME seconds, and void after a restart.
"""
import base64
import hashlib
import hmac
import json
import math
import os
import secrets
import threading
import time

from tools.base.failures import Declined
from tools.base.row import title
from tools.policy.journal import LETTERS

LIFETIME = 300          # seconds that a question or a token is good for
QUIET = 120             # seconds for which a question is not asked again that the user said no to


class Signer:
    """Seals small dicts for the client to hold. The key never leaves the process; a restart makes every seal void."""

    def __init__(self, clock=time.monotonic):
        self._key, self._clock, self._lock = os.urandom(32), clock, threading.Lock()
        self._used = {}                                 # nonce -> when it expires

    def seal(self, payload):
        """Text that `open` gives the dict `payload` back for, for LIFETIME seconds."""
        payload = dict(payload, exp=self._clock() + LIFETIME, nonce=os.urandom(12).hex())
        body = base64.urlsafe_b64encode(json.dumps(payload, sort_keys=True).encode("ascii")).decode("ascii").rstrip("=")
        return "v1.%s.%s" % (body, self._mac(body))

    def _mac(self, body):
        return hmac.new(self._key, body.encode("ascii"), hashlib.sha256).hexdigest()

    def open(self, sealed):
        """The dict of a seal; None when it was not made here, was changed, has expired or was used."""
        parts = sealed.split(".") if isinstance(sealed, str) and sealed.isascii() else []
        if len(parts) != 3 or parts[0] != "v1" or not hmac.compare_digest(parts[2], self._mac(parts[1])):
            return None
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        with self._lock:
            return payload if self._clock() <= payload["exp"] and payload["nonce"] not in self._used else None

    def use(self, payload):
        """Mark a seal as used; False when it was already (of two at the same time one gets True) or has expired."""
        with self._lock:
            now = self._clock()
            self._used = {nonce: end for nonce, end in self._used.items() if end >= now}
            if payload["nonce"] in self._used or now > payload["exp"]:
                return False
            self._used[payload["nonce"]] = payload["exp"]
            return True


class Tokens:
    """The confirm_tokens of this process: 8 characters each, and what it stands for is kept here, for LIFETIME seconds.

    Somebody who guesses has 31^8 to try and WRONG a minute.
    """

    MOST, WRONG, MINUTE = 100, 5, 60

    def __init__(self, clock=time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._kept, self._wrong = {}, []                # token -> payload, the oldest first; when wrong ones came

    def seal(self, payload):
        """A token that `open` gives the dict `payload` back for."""
        token = "".join(secrets.choice(LETTERS) for _ in range(8))
        with self._lock:
            now = self._clock()
            kept = [one for one in self._kept.items() if one[1]["exp"] >= now][1 - self.MOST:]
            self._kept = dict(kept, **{token: dict(payload, exp=now + LIFETIME, token=token)})
        return token

    def open(self, token):
        """What a token stands for; None when it was not made here, has expired, or was used."""
        with self._lock:
            payload = self._kept.get(token) if isinstance(token, str) else None
            return payload if payload and self._clock() <= payload["exp"] else None

    def use(self, payload):
        """Mark a token as used; False when it was already (of two at the same time one gets True) or has expired."""
        with self._lock:
            return self._kept.pop(payload["token"], None) is not None and self._clock() <= payload["exp"]

    def wrong(self):
        """Note that a wrong one came."""
        with self._lock:
            self._wrong = self._wrong[1 - self.WRONG:] + [self._clock()]

    def blocked(self):
        """Seconds for which none is taken, since too many wrong ones came; 0 when that is not so."""
        with self._lock:
            left = self._wrong[0] + self.MINUTE - self._clock() if len(self._wrong) == self.WRONG else 0
            return max(0, math.ceil(left))


class Declines:
    """The questions that the user said no to: asked at once again, one may get a yes from somebody who is tired of it.

    What ties them is what the user saw: neither another `wait` nor a change that the question does not show makes
    another question, nor does a run that asks it among others.
    """

    def __init__(self):
        self._until = {}                                # what was asked -> when it may be asked again

    def note(self, call, question):
        """The user said no to a question."""
        now = call.host.clock()
        self._until = {asked: end for asked, end in self._until.items() if end > now}
        self._until[question] = now + QUIET

    def check(self, call, question):
        """Declined when the user said no to this very question a moment ago."""
        if any(asked in question and end > call.host.clock() for asked, end in list(self._until.items())):
            raise Declined("The user declined this less than %d minutes ago, and is not asked the same again so soon. "
                           "Do not repeat the call: ask what the user wants instead." % (QUIET // 60),
                           "%s was not confirmed" % title(call.name))


def digest(value):
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("ascii")).hexdigest()
