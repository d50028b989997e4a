"""Calendar events, as systemd and Proxmox's scheduler read them: mon..fri 02:30, */15, *-*-1 04:00, daily."""
import re
import time

_NAMED = {"minutely": "*:*", "hourly": "*:0", "daily": "0:0", "weekly": "mon 0:0", "monthly": "*-*-1 0:0",
          "quarterly": "*-1,4,7,10-1 0:0", "semiannually": "*-1,7-1 0:0", "yearly": "*-1-1 0:0"}
_DAYS = {word: number for number, name in enumerate(
    "monday tuesday wednesday thursday friday saturday sunday".split()) for word in (name, name[:3])}


def _values(text, low, high):
    """The set of numbers in "2,8..17/3,*/5"; ValueError when it is not of that form."""
    found = set()
    for part in text.split(","):
        match = re.match(r"(?:\*|(\d+)(?:\.\.(\d+))?)(?:/(\d+))?\Z", part)
        if not match:
            raise ValueError(part)
        first, last, step = (int(number) if number else None for number in match.groups())
        if last is None:
            last = first if first is not None and step is None else high
        numbers = range(low if first is None else first, last + 1, 1 if step is None else step)
        if not numbers or numbers[0] < low or numbers[-1] > high:
            raise ValueError(part)
        found.update(numbers)
    return found


def _weekdays(text):
    found = set()
    for part in text.lower().split(","):
        first, dots, last = part.partition("..")
        start, end = _DAYS[first], _DAYS[last if dots else first]
        found.update(range(start, end + 1) if start <= end else [*range(start, 7), *range(end + 1)])
    return found


def parse(text):
    """(weekdays, years, months, days, hours, minutes) as sets, or None when `text` is no calendar event."""
    words = _NAMED.get(text.strip().lower(), text).split()
    try:
        weekdays = _weekdays(words.pop(0)) if words[0][0].isalpha() else set(range(7))
        dates = words.pop(0) if words and "-" in words[0] else "*-*"
        times = words.pop(0) if words else "0:0"
        years, months, days = ("*-" + dates).split("-")[-3:]
        hours, minutes, seconds = ((times if ":" in times else "*:" + times) + ":0").split(":")[:3]
        _values(seconds, 0, 59)                         # which Proxmox has no use for
        return None if words else (weekdays, _values(years, 1970, 2999), _values(months, 1, 12), _values(days, 1, 31),
                                   _values(hours, 0, 23), _values(minutes, 0, 59))
    except (ValueError, LookupError):
        return None


def next_event(text, t):
    """Epoch (UTC) of the first event after epoch `t`, or None."""
    weekdays, years, months, days, hours, minutes = parse(text)
    for midnight in range(int(t // 86400 * 86400), int(t) + 4 * 366 * 86400, 86400):     # with a 29th of February
        day = time.gmtime(midnight)
        if day.tm_wday in weekdays and day.tm_year in years and day.tm_mon in months and day.tm_mday in days:
            events = (midnight + hour * 3600 + minute * 60 for hour in sorted(hours) for minute in sorted(minutes))
            found = next((event for event in events if event > t), None)
            if found:
                return found
    return None
