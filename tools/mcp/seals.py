"""What this process keeps between a question and its answer, and of a no. All of it is void after a restart."""
import hashlib
import json
import math
import secrets
import threading
import time

from tools.base.failures import Declined
from tools.base.row import title
from tools.policy.journal import LETTERS

LIFETIME = 300          # seconds that a question or a token is good for
QUIET = 120             # seconds for which a question is not asked again that the user said no to


class Kept:
    """Small dicts, kept for LIFETIME seconds under words of random letters that the client holds; the newest MOST. Who
    guesses one of 8 letters has 31^8 to try and WRONG a minute."""

    MOST, WRONG, MINUTE = 100, 5, 60

    def __init__(self, letters, clock=time.monotonic):
        self._letters, self._clock, self._lock = letters, clock, threading.Lock()
        self._kept, self._wrong = {}, []                # word -> payload, the oldest first; when wrong ones came

    def seal(self, payload):
        """A word that `open` gives the dict `payload` back for."""
        word = "".join(secrets.choice(LETTERS) for _ in range(self._letters))
        with self._lock:
            now = self._clock()
            kept = [one for one in self._kept.items() if one[1]["exp"] >= now][1 - self.MOST:]
            self._kept = dict(kept, **{word: dict(payload, exp=now + LIFETIME, word=word)})
        return word

    def open(self, word):
        """What a word stands for; None when it was not made here, has expired, or was used."""
        with self._lock:
            payload = self._kept.get(word) if isinstance(word, str) else None
            return payload if payload and self._clock() <= payload["exp"] else None

    def use(self, payload):
        """Mark a word as used; False when it was already (of two at the same time one gets True) or has expired."""
        with self._lock:
            return self._kept.pop(payload["word"], None) is not None and self._clock() <= payload["exp"]

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
    What ties them is what the user saw, whatever else is in the call, or in a run that asks it among others."""

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
                           unconfirmed(call))


def unconfirmed(call):
    """The headline of a call that got no yes."""
    return "%s was not confirmed" % title(call.name)


def digest(value):
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("ascii")).hexdigest()
