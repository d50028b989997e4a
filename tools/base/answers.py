"""What a tool returns: the shapes of its data (Facts, Table), and `result`, the one ending of a handler."""
from collections import namedtuple

from tools.base.lists import pattern
from tools.base.schema import fields
from tools.pve import text
from tools.pve.task import Outcome
from tools.pve.text import Column

DEFAULT_LIMIT = 50              # rows of a page where the tool has a `limit`; without one, four times as many


class Result:
    """What a handler returns. parts: the text, whole or in pieces (None for none): its first line sums it up, a
    text.Shown is made from the data, the rest are notes; data: what was found and done; mark: the first character."""

    def __init__(self, parts, data, mark="\u2705"):
        self.parts = [part for part in ([parts] if isinstance(parts, str) else parts) if part]
        self.data, self.mark = data, mark

    @property
    def text(self):
        return "\n".join(self.parts)

    def whole(self):
        """The data with all that the text says beside it: its first line as `summary`, the others as `notes`."""
        said = "\n".join(part for part in self.parts if not isinstance(part, text.Shown)).split("\n")
        return dict({"summary": said[0]}, **({"notes": said[1:]} if said[1:] else {}), **self.data)


def output_schema(shape):
    """The outputSchema of a tool whose data is `shape`: every answer has a summary, some have notes."""
    schema = shape.schema()
    return dict(schema, properties={"summary": {"type": "string"}, "notes": {
        "type": "array", "items": {"type": "string"}}, **schema["properties"]})


class Facts:
    """An object, shown as "heading: value" lines. Columns that it lacks are taken from the node and required arguments.

    more: whether keys beyond the columns stay in the data; under, beside: the key of the data under which the columns
    are, where it is not all, and Columns beside it, not shown; each(the reply's object) -> the one whose columns are
    shown; notes(facts, call) -> sentences to say below them.
    """

    def __init__(self, *columns, more=False, under=None, beside=(), each=None, notes=None):
        self.columns, self.more, self.each, self.notes = columns, more, each, notes
        self.under, self.beside = under, beside

    def schema(self):
        schema = _object(_column_schema(self.columns))
        return _object({self.under: schema, **_column_schema(self.beside)}) if self.under else schema

    def data(self, source):
        data = _normal(self.columns, source)
        if self.more:
            known = {column.key for column in self.columns}     # one that is missing now was not of its kind
            data.update((key, value) for key, value in source.items() if key not in known and value is not None)
        return data

    def result(self, call, found, headline, note, more):
        """The Result of an object as Proxmox sent it."""
        found = self.each(found or {}) if self.each else dict(found or {})
        known = {field.name: getattr(call.args, field.name) for field in fields(type(call.args)) if field.required}
        known["node"] = call.node
        found.update({column.key: known.get(column.key) for column in self.columns if found.get(column.key) is None})
        known = self.data(found)
        data = dict({self.under: known} if self.under else known, **more)
        notes = list(self.notes(data, call)) if self.notes else []
        return Result([headline or _said(call), text.block(self.columns, known), *notes, *note], data)


class Table:
    """A list of objects, shown as a table of `columns`, a page of it at a time.

    noun     what one row is ("guest")
    each     function of a raw row -> the row whose columns are shown; of the rows of the page only
    rows     function of what Proxmox sent -> the raw rows, where that is not a list of them
    sort     keys that the raw rows are sorted by, as text; or a function of one
    search   function of a raw row -> texts, in one of which the argument `name` must be found (`lists.pattern`)
    summary  function of the raw rows -> what the headline says after their number
    notes    function(raw rows, call) -> sentences to say below them
    empty    the sentence about a list that holds nothing at all; in braces as in a row's `says`
    """

    def __init__(self, noun, *columns, each=None, rows=None, sort=None, search=None, summary=None, notes=None,
                 empty=None):
        self.noun, self.columns, self.each, self.rows, self.sort = noun, columns, each, rows, sort
        self.search, self.summary, self.notes, self.empty = search, summary, notes, empty
        self.filters = {"name"} if search else set()

    def schema(self):
        return dict(_object({"items": {"type": "array", "items": _object(_column_schema(self.columns))},
                             "total": {"type": "integer"}}), required=["items", "total"])

    def data(self, source):
        return [_normal(self.columns, self.each(entry) if self.each else entry) for entry in source]

    def result(self, call, found, headline, note, more):
        """The Result of a list as Proxmox sent it, or of a Page: one page, as much as fits, and what was left out."""
        offset = getattr(call.args, "offset", 0)
        if isinstance(found, Page):
            rows, seen, total = found.rows, found.total, found.total
            page = self.data(rows)
        else:
            rows = self.rows(found) if self.rows else found or []
            seen = len(rows)
            if self.search and call.args.name is not None:
                fits = pattern(call.args.name)
                rows = [row for row in rows if any(map(fits, self.search(row)))]
            if self.sort:
                rows = sorted(rows, key=self.sort if callable(self.sort) else lambda row: [
                    str(row.get(key) or "") for key in self.sort])
            total, page = len(rows), self.data(rows[offset:offset + getattr(call.args, "limit", DEFAULT_LIMIT * 4)])
        while True:
            body, data = text.table(self.columns, page), dict(more, items=page, total=total)
            size = weight(call.host.settings.answers, body, data)
            if size <= text.BUDGET or len(page) < 2:
                break
            page = page[:max(1, int(len(page) * 0.95 * text.BUDGET / size))]
        count = text.plural(total, self.noun)
        notes = list(self.notes(rows, call)) if self.notes else []
        if len(page) < total:
            data["offset"] = offset
            rest, paged = offset + len(page), hasattr(call.args, "offset")
            narrow = ", ".join(field.name for field in fields(type(call.args)) if not field.required and (
                field.name not in ("limit", "offset", "wait")))
            notes.insert(0, "Showing %d to %d of %s.%s%s" % (
                offset + 1, rest, count, " Next page: offset=%d." % rest if rest < total and paged else "",
                " To narrow the list: %s." % narrow if narrow else ""))
        if not total:
            wanted = " " + text.line(call.args.name) if self.search and call.args.name else ""
            notes.append("None of %s matches%s." % (text.plural(seen, self.noun), wanted) if seen else
                         self.empty and _said(call, self.empty))
        headline = (headline or _said(call, count=count) or count) + (self.summary(rows) if self.summary else "")
        return Result([headline, body if page else None, *notes, *note], data)


#: Rows that Proxmox cut to the page asked for, and how many there are in all.
Page = namedtuple("Page", "rows total")


def counting(says, fits):
    """A Table's summary: ", 2 failing" of the rows that fit; nothing when none does."""
    def summary(rows):
        count = sum(map(bool, map(fits, rows)))
        return ", %d %s" % (count, says) if count else ""
    return summary


def data_only(kind, *keys):
    """Columns of one kind that are in the data and not in the text."""
    return [Column(key, kind=kind, shown=False) for key in keys]


def _normal(columns, source):
    row = {}
    for column in columns:
        column.normalise(source, row)
    return row


def _object(properties):
    return {"type": "object", "properties": properties}


#: kind of a Column -> the unit of its numbers.
_UNITS = {"bytes": "bytes", "mib": "MiB", "seconds": "seconds", "fraction": "of 1", "percent": "percent"}


def _column_schema(columns):
    """What is said of the columns' values. One of any type is not mentioned: strict clients dislike an empty schema."""
    result = {}
    for column in columns:
        json_type = text.KINDS[column.kind][0]
        if json_type:
            result[column.key] = {"type": json_type, **(
                {"description": _UNITS[column.kind]} if column.kind in _UNITS else {}), **(
                {"items": {"type": "string"}} if json_type == "array" else {})}
    return result


#: What came of a change: whether it is done, its task if it needed one; what the tool itself found stands beside it.
TASK = Facts(*data_only("text", "upid", "node", "type", "status", "exitstatus"), *data_only("seconds", "duration"),
             *data_only("list", "warnings"), under="task",
             beside=[*data_only("bool", "done"), *data_only("int", "vmid"), *data_only("list", "waiting")])


def result(call, content, headline=None, note=None, shape=None, mark=None, **more):
    """The Result of a call. content: the Outcome of a change, or the After of a config's (tools.base.edit), where
    `headline` is a sentence without its full stop; else what Proxmox sent, or a Page of it, shown as `shape` (default:
    the row's `returns`) says. headline: default what the row `says`; note: what else the reader should know (str, or a
    list of them, None for none); mark: if not the usual one; more: added to the data, of which `name` is that of the
    guest."""
    note = note if isinstance(note, list) else [note]
    outcome = getattr(content, "outcome", content)
    if isinstance(outcome, Outcome):
        made = _ended(call, outcome, headline, note, {**({} if outcome is content else content.found()), **more})
    else:
        made = (shape or call.tool.returns).result(call, content, headline, note, more)
    made.mark = mark or made.mark
    return made


def weight(answers, words, data):
    """Bytes of an answer as a client shows it: of its text, its data, or both, as PROXMOX_ANSWERS (`answers`) says."""
    return sum(map(text.weight, {"text": (words,), "data": (data,), "both": (words, data)}[answers]))


def _said(call, template=None, **found):
    """`template`, default the row's `says`, with what is known put in; None when there is none."""
    template = template or call.tool.says or ""
    words = {**vars(call.args), "node": call.node, "token": call.host.settings.token_id,
             "subject": text.called(call.subject, found.get("name")), **found}
    return template.format(**{key: "" if value is None else text.line(value, 200)
                              for key, value in words.items() if "{%s}" % key in template}) or None


def of_task(outcome):
    """What the data of a change says of its Outcome: whether it is done, and its task if there was one."""
    known = {column.key: getattr(outcome, column.key) for column in TASK.columns}
    task = {key: value for key, value in known.items() if value not in (None, (), [])}
    return {"done": outcome.ok, **({"task": task} if outcome.upid else {})}


def _ended(call, outcome, says, note, more):
    vmid = getattr(call.args, "vmid", None)
    says = says or _said(call, **more) or "%s: done" % call.subject
    data = of_task(outcome)
    if isinstance(vmid, int):                           # that of a backup job is a list of them
        data["vmid"] = vmid
    data.update({key: value for key, value in more.items() if value is not None})
    if outcome.upid and not outcome.ok:                 # its end was not seen
        ask = "To see how it goes on: proxmox_get_task upid=%s (wait=40 follows it)." % outcome.upid
        why = " (%s)" % text.line(outcome.log[0], 500) if outcome.log else ""
        return Result([
            "It is not known yet whether this is done: %s.\nThe task was started, but then its state could not be read"
            "%s; it continues in Proxmox. Do not repeat the call. %s" % (says, why, ask) if outcome.status == "unknown"
            else "Still running in Proxmox, not done yet. Once it has ended: %s.\n%s" % (says, ask), *note],
            data, mark="\u23f3")
    took = " (%s)" % text.duration(outcome.duration) if outcome.duration else ""
    warnings = ["The task ended with %s:" % text.plural(len(outcome.warnings), "warning"),
                text.quoted("\n".join(outcome.warnings))] if outcome.warnings else []
    return Result(["%s%s." % (text.capital(says), took), *warnings, *note], data)
