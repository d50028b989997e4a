"""Waiting: when it is looked, what is reported, and what ends it."""
import pytest

from tools.pve.client import Cancelled
from tools.pve.waiting import wait_for


class Watch:
    """A clock that moves by sleeping; `at` notes when it was looked, `told` what was reported and when."""

    def __init__(self, ends_at=None, slow=0.0):
        self.now, self.ends_at, self.slow, self.at, self.told = 1000.0, ends_at, slow, [], []

    def look(self):
        self.now += self.slow
        self.at.append(round(self.now - 1000.0, 3))
        return self.at[-1] if self.ends_at is None or self.at[-1] < self.ends_at else "ended"

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def wait(self, limit, **more):
        return wait_for(self.look, lambda found: found == "ended", limit, self.sleep, lambda: self.now,
                        lambda found: self.told.append(found), **more)


@pytest.mark.parametrize("limit, pauses, looks", [
    (0, (1,), [0.0]), (-5, (0, 1), [0.0]), (0.5, (1,), [0.5]), (1, (1,), [1.0]), (2.5, (1,), [1.0, 2.0, 2.5]),
    (2.5, (0, 1), [0.0, 1.0, 2.0, 2.5]), (9, (1, 2, 3), [1.0, 3.0, 6.0, 9.0]), (13, (1, 5), [1.0, 6.0, 11.0, 13.0])])
def test_it_is_looked_after_each_pause_and_at_the_limit(limit, pauses, looks):
    watch = Watch()
    assert watch.wait(limit, pauses=pauses) == looks[-1]
    assert watch.at == looks


@pytest.mark.parametrize("ends_at, limit, looks", [(0, 0, 1), (0, 9, 1), (1.5, 9, 3), (9, 9, 10)])
def test_the_end_is_seen_at_the_next_look(ends_at, limit, looks):
    watch = Watch(ends_at)
    assert watch.wait(limit, pauses=(0, 1)) == "ended" and len(watch.at) == looks


def test_reports_are_a_second_apart_and_none_is_made_of_what_has_ended():
    watch = Watch(ends_at=3.5)
    watch.wait(10, pauses=(0.25,))
    assert watch.told == [1.0, 2.0, 3.0]
    watch = Watch()
    watch.wait(2, pauses=(1,))
    assert watch.told == [1.0]


def test_a_slow_look_counts():
    watch = Watch(slow=3.0)
    assert watch.wait(5, pauses=(1,)) == 8.0 and watch.at == [4.0, 8.0]


def test_what_sleep_raises_ends_it_at_once():
    watch = Watch()

    def sleep(seconds):
        raise Cancelled("cancelled")
    watch.sleep = sleep
    with pytest.raises(Cancelled):
        watch.wait(5)
    assert watch.at == []
