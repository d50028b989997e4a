"""What a tool returns: Result, the shapes of its data (Facts, Table), and the words for the end of a task."""
from tools.pve import text
from tools.pve.text import Column


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
    """A list of objects, shown as a table of `columns`; noun: what one row is ("guest")."""

    def __init__(self, noun, *columns):
        self.noun, self.columns = noun, columns

    def schema(self):
        items = {"type": "object", "properties": _column_schema(self.columns)}
        return {"type": "object",
                "properties": {"items": {"type": "array", "items": items}, "total": {"type": "integer"}},
                "required": ["items", "total"]}

    def data(self, source):
        """The normalised rows of a reply's list."""
        rows = []
        for entry in source:
            row = {}
            for column in self.columns:
                column.normalise(entry, row)
            rows.append(row)
        return rows


class Later:
    """Raw rows that are made ready only when they are shown: what Call.listing needs of a list, for long ones.

    data: function of some raw rows (list) -> the normalised ones (list), such as a Table's data.
    """

    def __init__(self, rows, data):
        self.rows, self._data = rows, data

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, part):
        return self._data(self.rows[part])


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


def running_text(says, outcome):
    """What to say of a task whose end was not seen."""
    ask = "Ask on with proxmox_get_task upid=%s (wait=60 follows it)." % outcome.upid
    if outcome.status == "unknown":
        why = " (%s)" % text.line(outcome.log[0], 500) if outcome.log else ""
        return ("Not known yet whether this is done: %s.\nThe task was started, then its state could not be read%s; it "
                "goes on in Proxmox. Do not repeat the call. %s" % (says, why, ask))
    return "Still running in Proxmox, not yet done: %s.\n%s" % (says, ask)


def task_failure(outcome):
    """Why a task failed: its exit status and the telling lines of its log."""
    lines = ["The task %s failed: %s" % (outcome.type, text.line(outcome.exitstatus or "unknown", 1000))]
    if outcome.log:
        lines.append(text.quoted("\n".join(outcome.log), end=True))
    lines.append("UPID: %s" % outcome.upid)
    return "\n".join(lines)
