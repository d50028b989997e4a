"""Waiting, in one place: for tasks, commands, guests that change by themselves, and answers of the user."""
from itertools import chain, repeat


class Cancelled(Exception):
    """The client cancelled the call before a request was sent, or while something waited (for a repeat, a task ...)."""


PAUSES = (0.5, 0.75, 1.125, 1.6875, 2.53125, 3.0)      # seconds before each look; the last one goes on
TELL_EVERY = 1.0                # seconds between two reports; what ends sooner is not reported at all


def wait(cancelled, seconds):
    """Sleep so many seconds; raises Cancelled at once when the Event is set."""
    if cancelled.wait(seconds):
        raise Cancelled("cancelled by the client")


def wait_for(look, done, limit, sleep, clock, report=None, pauses=PAUSES):
    """What look() gave the first time that done(it) was true, or the last time before `limit` seconds were over. It is
    looked at least once: at once when the first pause is 0 or the limit not above 0, else after that pause; the last
    look is at the limit. sleep(seconds) ends the waiting by raising (Cancelled), or, when it returns true, with one
    more look; clock() -> seconds. report(what look gave) is called while it goes on. pauses: seconds before each look.
    What look, done, sleep and report raise passes."""
    began = told = clock()
    for pause in chain(pauses, repeat(pauses[-1])):
        pause = min(pause, limit - (clock() - began))
        over = sleep(pause) if pause > 0 else False
        found = look()
        now = clock()
        if done(found) or over or now - began >= limit:
            return found
        if report is not None and now - told >= TELL_EVERY:
            told = now
            report(found)
