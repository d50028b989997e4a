"""Answers as text: units, tables, blocks, and text from guests made safe to show.

Names, notes, tags, logs and command output come from people and guests with fewer rights than our token: they are data.
`visible` is the one place that makes control and invisible characters visible; `quoted` marks what a guest said.
"""
import json
import re
import time
from itertools import accumulate

from tools.pve.formats import on

#: C0/C1 controls but tab and newline, soft hyphen, zero-width and bidi characters, variation selectors (so none of our
#: own marks may carry one), tags, surrogates.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
                        "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\u2800\uffa0\ufff0-\ufffb"
                        "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")
LONGEST = 12000                 # characters of one value
#: Bytes of one answer as a client shows it, text or data or both, by default; and what is never shown of one.
BUDGET, CAP = 24000, 100000


class Shown(str):
    """Text made from what the data of the same answer says, which is therefore none of its notes."""

    __slots__ = ()


def weight(value):
    """Bytes that a text or a JSON value takes in the reply."""
    return len(json.dumps(value, separators=(",", ":")))


def smaller(data, most):
    """The dict `data` with its longest parts shortened until it weighs at most `most` bytes."""
    from heapq import heapify, heappop, heappush
    data, total = dict(data), weight(data)
    parts = [(-weight(value), number, key) for number, (key, value) in enumerate(data.items())]
    heapify(parts)
    while total > most and parts:
        size, number, key = heappop(parts)                      # the longest, and of those the first
        value = data[key]
        half = len(value) // 2 if isinstance(value, (list, str, dict)) else 0
        total += size
        if half:
            data[key] = dict(list(value.items())[:half]) if isinstance(value, dict) else value[:half]
            left = weight(data[key])
            total += left
            heappush(parts, (-left, number, key))
        else:
            del data[key]
            total -= weight(str(key)) + 2                       # its colon and comma go too
    return data


def visible(text):
    """`text` with every control and invisible character (but tab and newline) written out as \\uXXXX."""
    return _INVISIBLE.sub(_written_out, text)


def _written_out(match):
    return "".join(c if c.isascii() and c.isalnum() else ("\\u%04x" if ord(c) < 0x10000 else "\\U%08x") % ord(c)
                   for c in match.group())


#: Letters that run from right to left, and turn around what stands beside them; marks that strike others out or hide
#: them; blanks that are none. And a word of Latin letters and of such as look like them (Greek, Cyrillic, Armenian,
#: Cherokee, wide and mathematical ones).
_TURNING = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
                      "\u0334-\u0338\u0488\u0489\u20d0-\u20f0\u00a0\u1680\u2000-\u200a\u202f\u205f]"
                      "|[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f]{3,}")
_ALIKE = re.compile("[\u0370-\u058f\u13a0-\u13ff\u1c80-\u1c8f\u1f00-\u1fff\uff21-\uff5a\U0001d400-\U0001d7ff]")
_LATIN, _WORD = re.compile("[A-Za-z]"), re.compile(r"[^\W_]+")


def unmistakable(text):
    """`text` with every letter written out that makes it read otherwise than it is: for what a user is asked."""
    if text.isascii():
        return text
    return _WORD.sub(lambda word: _written_out(word) if _ALIKE.search(word.group()) and _LATIN.search(word.group())
                     else word.group(), _TURNING.sub(_written_out, text))


def clean(value):
    """`value` (anything JSON) with every text in it made visible and cut to LONGEST characters."""
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable() and len(value) <= LONGEST
        return value if plain else cut(visible(value), LONGEST)
    if isinstance(value, int):                              # most values are one: first, for speed
        return value
    if isinstance(value, dict):
        return {clean(k): v if type(v) is int else clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def cut(text, most):
    """`text`, or its first characters and how many were left out."""
    return text if len(text) <= most else "%s... (%d more characters)" % (text[:most], len(text) - most)


def fit(text, most):
    """`text`, cut where needed so that it weighs at most `most` bytes in the reply."""
    length = len(text)
    while length and weight(text[:length]) > most - 40:
        length = min(length - 1, length * (most - 40) // weight(text[:length]))
    return cut(text, length)


def line(value, most=60):
    """`value` as one line of at most `most` characters."""
    text = str(value).strip()
    if not (text.isascii() and text.isprintable()):
        text = visible(text.replace("\n", " \u23ce ").replace("\t", " "))
    return text if len(text) <= most else text[:most - 1] + "\u2026"


def first_line(value):
    """The first line of a text or an error, as a part of a sentence: without its full stop."""
    return line(str(value).split("\n")[0].rstrip("."), 200)


def word(value):
    """`value` as it is, or in quotes where it could be taken for more of the sentence that it stands in."""
    text = str(value)
    return text if re.fullmatch(r"[\w./:@+=,;*~-]+", text, re.ASCII) else json.dumps(text, ensure_ascii=False)


def quoted(text, most=4000, end=False):
    """Text that a guest or a log says, each line behind "| " so that it cannot pass for ours; cut to `most` characters.
    end: keep the end of it and not the beginning."""
    text = visible(text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n"))
    if len(text) > most:
        text = "(%d characters left out) %s" % (len(text) - most, text[-most:]) if end else cut(text, most)
    return Shown("\n".join("| " + part for part in text.split("\n")))


def capital(sentence):
    """`sentence` with a capital at its beginning, the rest as it is."""
    return sentence[:1].upper() + sentence[1:]


def called(subject, name):
    """"VM 100 (web01)"; the subject alone when it has no name, or says it already."""
    said = " (%s)" % line(name)
    return subject + said if name and not subject.endswith(said) else subject


# --------------------------------------------------------------------------------------------------------------- units

def size(value):
    """Bytes as text: 1.5 GiB."""
    value = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return "%d %s" % (value, unit) if unit == "B" or value == int(value) else "%.1f %s" % (value, unit)
        value /= 1024.0


def percent(fraction):
    """A fraction as text: 0.1234 is 12 %; below 10 % with one decimal."""
    value = fraction * 100.0
    return "%.0f %%" % value if value >= 10 or value == 0 else "%.1f %%" % value


def duration(seconds):
    """Seconds as text, in the two largest units: 3 d 4 h, 5 min 2 s, 0.4 s."""
    seconds = float(seconds)
    if seconds < 10:
        return ("%.1f s" % seconds).replace(".0 s", " s")
    seconds, parts = int(seconds), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length or (unit == "s" and not parts):
            parts.append("%d %s" % (seconds // length, unit))
            seconds %= length
        elif parts:
            break
    return " ".join(parts[:2])


def moment(epoch):
    """Epoch seconds as ISO 8601 in UTC, as in the data: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(float(epoch))))


def when(value):
    """Epoch seconds, or a `moment`, as text: 2026-01-31 12:00:00 UTC."""
    return (value if isinstance(value, str) else moment(value)).replace("T", " ").replace("Z", " UTC")


def stamp(epoch):
    """Epoch seconds as a time in the logs, UTC with milliseconds: 2026-01-31T12:00:00.000Z."""
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch)), int(epoch * 1000) % 1000)


#: Characters of a value that a question shows whole; one that gets too long by it is not asked.
WHOLE = 1 << 20


def changed(before, after):
    """"memory: 2048 -> 4096, onboot: not set -> 1": new values beside the old ones, whole; None: it is removed."""
    return ", ".join("%s: %s -> %s" % (key, line(before.get(key, "not set"), WHOLE), "removed" if value is None
                                       else line(
        int(value) if isinstance(value, bool) else value, WHOLE)) for key, value in after.items())


def yes(value):
    """A truth value as yes or no."""
    return "yes" if value else "no"


def plural(count, noun):
    """"1 guest", "2 guests", "2 entries"."""
    if count != 1:
        noun = noun[:-2] + "ries" if noun.endswith("ry") else noun + "s"
    return "%s %s" % ("{:,}".format(count), noun)


def listed(items, most=60):
    """"a, b and 3 more": as many of the items as fit in `most` characters; "100-129" are 30 of them."""
    items = [line(item, most) for item in items]
    ends = list(accumulate(len(item) + 2 for item in items))
    if not items or ends[-1] - 2 <= most:
        return ", ".join(items)
    shown = max(1, sum(end <= most - 12 for end in ends))
    spans = [re.fullmatch("([0-9]+)-([0-9]+)", item) for item in items[shown:]]
    return "%s and %d more" % (", ".join(items[:shown]), sum(
        max(1, int(span[2]) - int(span[1]) + 1) if span else 1 for span in spans))


def ranges(numbers):
    """Whole numbers as text, neighbours folded: "100-129, 200"."""
    folded = []
    for number in sorted(numbers):
        if folded and number == folded[-1][1] + 1:
            folded[-1][1] = number
        else:
            folded.append([number, number])
    return ", ".join("%d-%d" % (first, last) if last > first else str(first) for first, last in folded)


def used_of(used, total):
    """"2.1 GiB of 4 GiB (52 %)"; "-" when the total is unknown."""
    if not total:
        return "-"
    return "%s of %s (%s)" % (size(used or 0), size(total), percent((used or 0) / float(total)))


# ---------------------------------------------------------------------------------------------------- kinds of values
# kind -> (JSON Schema type, value from Proxmox -> normalised value, normalised value -> text)

def _whole(value):
    return int(float(value))


def _number(value):
    value = float(value)
    return int(value) if value.is_integer() else value


KINDS = {
    "text": ("string", str, line),
    "long": ("string", str, lambda v: line(v, 400)),
    "int": ("integer", _whole, str),
    "number": ("number", _number, lambda v: "%g" % v),
    "bytes": ("integer", _whole, size),
    "mib": ("integer", _whole, lambda v: size(v * 1048576)),
    "fraction": ("number", float, percent),
    "percent": ("number", _number, lambda v: "%g %%" % v),
    "seconds": ("number", _whole, duration),
    "time": ("string", lambda v: moment(v) if float(v) else None, when),       # 0: never
    "bool": ("boolean", on, yes),
    "list": ("array", lambda v: v if isinstance(v, list) else [p for p in re.split(r"[,;\s]+", str(v)) if p],
             lambda v: ", ".join(line(p, 40) for p in v)),
    "any": (None, lambda v: v, lambda v: line(v, 200)),
}


def normal(kind, value):
    """`value` as Proxmox sent it, as its kind's Python type; None where it is not of that kind."""
    try:
        return KINDS[kind][1](value)
    except (TypeError, ValueError, OverflowError, OSError):     # OSError: gmtime, of a time that no clock will show
        return None


class Column:
    """One column of a table or one line of a block: key in the data, heading, kind (a key of KINDS).

    text: what to show instead of the value: a function of the whole row; shown False: in the data only.
    """

    __slots__ = ("key", "heading", "kind", "text", "shown")

    def __init__(self, key, heading=None, kind="text", text=None, shown=True):
        self.key, self.heading, self.kind, self.text = key, heading or key.replace("_", " "), kind, text
        self.shown = shown and heading != ""

    def normalise(self, row, into):
        """Put this column's value of `row` into the dict `into`; nothing when Proxmox did not send it."""
        value = row.get(self.key)
        if value is not None:
            value = normal(self.kind, value)
            if value is not None:
                into[self.key] = value

    def cell(self, row):
        """What the normalised `row` shows in this column."""
        most = 400 if self.kind == "long" else 60
        if self.text is not None:
            return line(self.text(row), most)
        value = row.get(self.key)
        return "-" if value is None or value == "" or value == [] else line(KINDS[self.kind][2](value), most)


#: Columns that a table has to fit, 0: any; None: nobody looks at it, and a model pays for blanks that align columns.
#: Set by the command line, for what it shows itself.
SCREEN = None
_LEAST = 20                     # columns within which a text is worth folding


def table(columns, rows):
    """Rows (normalised dicts) as lines under their headings, aligned on a SCREEN, else with two blanks between cells
    (and never in one); columns that are empty everywhere go, and the "-" of what is not known at the end of a line."""
    columns = [c for c in columns if c.shown]
    cells = [[c.cell(row) for c in columns] for row in rows]
    keep = [i for i in range(len(columns)) if not cells or any(row[i] != "-" for row in cells)]
    lines = [[columns[i].heading.upper() for i in keep]] + [[row[i] for i in keep] for row in cells]
    if SCREEN is None:
        return Shown("\n".join("  ".join(re.sub("  +", " ", cell) for cell in _told(row)) for row in lines))
    widths = [max(len(row[i]) for row in lines) for i in range(len(keep))]
    if SCREEN and sum(widths) + 2 * len(widths) > SCREEN:
        return _narrow([columns[i].kind in ("text", "long") for i in keep], lines, widths)
    return Shown("\n".join("  ".join(map(str.ljust, _told(row), widths)).rstrip() for row in lines))


def _told(row):
    """A row's cells without the empty ones at its end."""
    most = max((i for i, cell in enumerate(row) if cell != "-"), default=0)
    return row[:most + 1]


def _narrow(texts, lines, widths):
    """A table that fits SCREEN. Its columns stand in the order of their importance; of those that do not fit, the first
    one of sentences is folded, any other (figures, ids) is left out and named below. texts: which are of text."""
    from textwrap import wrap
    room, kept, folded = SCREEN + 2, [], None
    for i, width in enumerate(widths):
        if texts[i] and width + 2 > room > _LEAST + 2 and any(row[i].count(" ") > 2 for row in lines):
            widths[i], folded = room - 2, i
        if widths[i] + 2 <= room:
            kept.append(i)
            room -= widths[i] + 2
    body = []
    for row in lines:
        parts = wrap(row[folded], widths[folded], break_on_hyphens=False) if folded is not None else [""]
        for number, part in enumerate(parts):
            cells = [part if i == folded else "" if number else row[i] for i in kept]
            body.append("  ".join(cell.ljust(widths[i]) for i, cell in zip(kept, cells)).rstrip())
    left = [heading for i, heading in enumerate(lines[0]) if i not in kept]
    return Shown("\n".join(body + ["(no room for: %s)" % ", ".join(left)] * bool(left)))


def block(columns, row):
    """One normalised dict as "heading: value" lines, what is missing left out."""
    lines = []
    for column in columns:
        if column.shown:
            cell = column.cell(row)
            if cell != "-":
                lines.append("%s: %s" % (column.heading, cell))
    return Shown("\n".join(lines))
