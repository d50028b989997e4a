"""The rate limit: how many requests, and how many changes, may go to Proxmox in a minute (PROXMOX_RATE_LIMIT)."""
import threading
from math import ceil

from tools.policy.settings import rates
from tools.pve.client import PveError


class _Bucket:
    """So many a minute, in bursts of half a minute's worth or ten."""

    def __init__(self, per_minute, now):
        self.per_minute, self.size = per_minute, max(per_minute // 2, min(per_minute, 10))
        self.tokens, self.filled = float(self.size), now

    def wait(self, now):
        """Seconds until a token is there; 0 when one is."""
        self.tokens = min(float(self.size), self.tokens + max(0.0, now - self.filled) * self.per_minute / 60.0)
        self.filled = now
        return 0 if self.tokens >= 1 else (1 - self.tokens) * 60.0 / self.per_minute


class Limiter:
    """Token buckets for requests and for changes, as PROXMOX_RATE_LIMIT says; clock() gives monotonic seconds."""

    def __init__(self, settings, clock):
        self._clock, self._lock = clock, threading.Lock()
        self._limit = settings.rate_limit
        requests, changing = rates(settings.rate_limit)
        self._reads = [(_Bucket(requests, clock()), "requests to Proxmox")] if requests else []
        self._writes = self._reads + ([(_Bucket(changing, clock()), "changes")] if changing else [])

    def take(self, changing):
        """Take one token; PveError with the seconds to wait when there is none."""
        buckets = self._writes if changing else self._reads
        if not buckets:
            return
        with self._lock:
            now = self._clock()
            for bucket, what in buckets:
                seconds = bucket.wait(now)
                if seconds > 1e-9:
                    break
            else:
                for bucket, what in buckets:
                    bucket.tokens -= 1
                return
        raise PveError("Too many %s: at most %d a minute (PROXMOX_RATE_LIMIT=%s). Try again in %d s." % (
            what, bucket.per_minute, self._limit, ceil(seconds)), outcome="unsent")
