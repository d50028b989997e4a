"""What a tool returns: the shapes of its data (Facts, Table), and `result`, the one ending of a handler."""
from tools.pve import text
from tools.pve.task import Outcome
from tools.pve.text import Column

DEFAULT_LIMIT = 50              # rows of a page where the tool has a `limit`; without one, four times as many


class Result:
    """What a handler returns: text (str) for people and models, data (dict) for programs, mark (first character)."""

    __slots__ = ("text", "data", "mark")

    def __init__(self, text, data, mark="\u2705"):
        self.text, self.data, self.mark = text, data, mark


# ----------------------------------------------------------------------------------------------- what a tool returns

class Facts:
    """An object, shown as "heading: value" lines. Keys beyond the columns stay in the data when `more` is true."""

    def __init__(self, *columns, more=False):
        self.columns, self.more = columns, more

    def schema(self):
        return {"type": "object", "properties": _column_schema(self.columns)}

    def data(self, source):
        """The normalised dict of a reply's object."""
        data = {}
        for column in self.columns:
            column.normalise(source, data)
        if self.more:
            known = {column.key for column in self.columns}     # one that is missing now was not of its kind
            data.update((key, value) for key, value in source.items() if key not in known and value is not None)
        return data


class Table:
    """A list of objects, shown as a table of `columns`.

    noun: what one row is ("guest"); each: function of a raw row -> the row whose columns are shown.
    """

    def __init__(self, noun, *columns, each=None):
        self.noun, self.columns, self._each = noun, columns, each

    def schema(self):
        items = {"type": "object", "properties": _column_schema(self.columns)}
        return {"type": "object",
                "properties": {"items": {"type": "array", "items": items}, "total": {"type": "integer"}},
                "required": ["items", "total"]}

    def data(self, source):
        """The normalised rows of a reply's list."""
        rows = []
        for entry in source if self._each is None else map(self._each, source):
            row = {}
            for column in self.columns:
                column.normalise(entry, row)
            rows.append(row)
        return rows


class Page:
    """Rows that Proxmox cut to the page asked for, and how many there are in all."""

    def __init__(self, rows, total):
        self.rows, self.total = rows, total


def data_only(kind, *keys):
    """Columns of one kind that are in the data and not in the text."""
    return [Column(key, kind=kind, shown=False) for key in keys]


def _column_schema(columns):
    """What is said of the columns' values. One of any type is not mentioned: strict clients dislike an empty schema."""
    result = {}
    for column in columns:
        json_type = text.KINDS[column.kind][0]
        if json_type:
            result[column.key] = {"type": json_type}
        if json_type == "array":
            result[column.key]["items"] = {"type": "string"}
    return result


#: The outcome of a task, or of a change that needs none; what the tool itself found stands beside it.
TASK = Facts(Column("upid"), Column("node"), Column("type"), Column("status"), Column("exitstatus"),
             Column("duration", kind="seconds"), Column("warnings", kind="list"), Column("vmid", kind="int"), more=True)


# -------------------------------------------------------------------------------------------- the ending of a handler

def result(call, content, headline=None, note=None, narrow=None, shape=None, **more):
    """The Result of a call. content is one of

    an Outcome  of a change: `headline` is the sentence without its full stop (default: the guest and the row's `says`)
    a list, or a Page  of raw rows, made ready as the Table `shape` says (default: the row's `returns`); one page of it
                is shown, as much as fits, and what was left out is said; `narrow`: arguments that make the list shorter
    a dict      of facts, made ready as the Facts `shape` says

    note: what else the reader should know; more: what the tool itself knows, added to the data.
    """
    if isinstance(content, Outcome):
        return _ended(call, content, headline, note, more)
    shape = shape or call.tool.returns
    if isinstance(shape, Table):
        return _listed(call, content if content is not None else [], shape, headline, note, narrow, more)
    facts = dict(shape.data(content or {}), **more)
    return Result(_lines(headline, text.block(shape.columns, facts), note), facts)


def _lines(*parts):
    return "\n".join(part for part in parts if part)


def _listed(call, rows, shape, headline, note, narrow, more):
    limit, offset = getattr(call.args, "limit", DEFAULT_LIMIT * 4), getattr(call.args, "offset", 0)
    cut = isinstance(rows, Page)
    total, page = (rows.total, rows.rows) if cut else (len(rows), rows[offset:offset + limit])
    page = shape.data(page)
    while True:
        body, data = text.table(shape.columns, page), dict(more, items=page, total=total)
        size = text.weight(body) + text.weight(data)
        if size <= text.BUDGET or len(page) < 2:
            break
        page = page[:max(1, int(len(page) * 0.95 * text.BUDGET / size))]
    shown = None
    if len(page) < total:
        data["offset"], rest = offset, offset + len(page)
        shown = "Shown: %d to %d of %s.%s%s" % (
            offset + 1, rest, text.plural(total, shape.noun),
            " The next page: offset=%d." % rest if rest < total and hasattr(call.args, "offset") else "",
            " To narrow: %s." % narrow if narrow else "")
    return Result(_lines(headline or text.plural(total, shape.noun), body if page else None, shown, note), data)


def _ended(call, outcome, says, note, more):
    """The Result of an Outcome that is no failure."""
    about_guest = hasattr(call.args, "vmid")
    says = says or "%s: done" % call.subject
    data = {"status": outcome.status}
    for key in ("upid", "node", "type", "exitstatus", "duration", "warnings"):
        if getattr(outcome, key) not in (None, []):
            data[key] = getattr(outcome, key)
    if about_guest:
        data["vmid"] = call.args.vmid
    data.update({key: value for key, value in more.items() if value is not None})
    if outcome.upid and not outcome.ok:
        return Result(_running(says, outcome), data, mark="\u23f3")
    took = " (%s)" % text.duration(outcome.duration) if outcome.duration else ""
    warnings = "The task ended with %s:\n%s" % (
        text.plural(len(outcome.warnings), "warning"), text.quoted("\n".join(outcome.warnings))) if (
            outcome.warnings) else None
    return Result(_lines("%s%s." % (text.capital(says), took), warnings, note), data)


def _running(says, outcome):
    """What to say of a task whose end was not seen."""
    ask = "proxmox_get_task upid=%s tells how it goes on (wait=60 follows it)." % outcome.upid
    if outcome.status == "unknown":
        why = " (%s)" % text.line(outcome.log[0], 500) if outcome.log else ""
        return ("Not known yet whether this is done: %s.\nThe task was started, then its state could not be read%s; it "
                "goes on in Proxmox. Do not repeat the call. %s" % (says, why, ask))
    return "Still running in Proxmox, not done yet: %s.\n%s" % (says, ask)
