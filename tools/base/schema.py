"""Arguments of a tool: a dataclass becomes a JSON Schema 2020-12, a JSON object becomes a checked instance of it."""
import dataclasses
import difflib
import re
import typing

from tools.pve.formats import misfit


class _Required:
    """The default of an argument that has none (so that a subclass may add required arguments after optional ones)."""

    def __repr__(self):
        return "REQUIRED"


REQUIRED = _Required()


class Arg:
    """What an argument's type does not say; goes into typing.Annotated, so it is hashable.

    text       str: its description for the model; short, with the unit
    format     str: a key of tools.pve.formats.FORMATS that the value must match
    least, most    int: limits of a number, or of the length of a text
    choices    tuple: the values allowed
    also       tuple of str: other names that are accepted but not shown
    secret     bool: never repeated in an answer, a log or the audit log
    null       what an explicit JSON null means (default: as if the argument were not given)
    switch     (what true means, what false means), for a number that is taken for a switch; None: not given
    rare       bool: accepted and in the README, but not published to models, which would pay for it in every session
    """

    def __init__(self, text="", format=None, least=None, most=None, choices=None, also=(), secret=False, null=None,
                 switch=None, rare=False):
        self.text, self.format, self.least, self.most = text, format, least, most
        self.choices, self.also, self.secret, self.null, self.rare = choices, tuple(also), secret, null, rare
        self.switch = switch


class ArgumentProblems(ValueError):
    """Arguments that do not fit; `.problems` is a list of sentences."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


class Field:
    """One argument: name, type (str, int, float, bool, list, dict), Arg, whether required, default."""

    __slots__ = ("name", "type", "arg", "required", "default")

    def __init__(self, name, hint, default):
        self.name, self.arg = name, Arg()
        if typing.get_origin(hint) is typing.Union:                  # Optional[Annotated[...]]
            hint = next(h for h in typing.get_args(hint) if h is not type(None))
        if hasattr(hint, "__metadata__"):
            self.arg, hint = hint.__metadata__[-1], hint.__origin__
        if typing.get_origin(hint) is typing.Union:                  # Annotated[Optional[...], ...]
            hint = next(h for h in typing.get_args(hint) if h is not type(None))
        self.type = typing.get_origin(hint) or hint
        self.required = default is REQUIRED
        self.default = None if self.required else default


_fields = {}


def fields(cls):
    """The Fields of an arguments dataclass, in the order in which they are shown: required ones first."""
    if cls not in _fields:
        hints = typing.get_type_hints(cls, include_extras=True)
        found = [Field(f.name, hints[f.name], f.default) for f in dataclasses.fields(cls)]
        _fields[cls] = [f for f in found if f.required] + [f for f in found if not f.required]
    return _fields[cls]


_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def input_schema(cls):
    """The JSON Schema (dict) of an arguments dataclass. Patterns and limits are checked and not published: a model pays
    for every byte of it, and learns of a limit in one sentence when it steps over it. Defaults are published where they
    are words."""
    properties, required = {}, []
    for field in fields(cls):
        if field.arg.rare:
            continue
        arg, entry = field.arg, {"type": _JSON_TYPES[field.type]}
        if field.type is list:
            entry["items"] = {"type": "string"}
        if arg.choices:
            entry["enum"] = list(arg.choices)
        if field.default is not None and field.type is str:
            entry["default"] = field.default
        if arg.text:
            entry["description"] = arg.text
        if arg.secret:
            entry["writeOnly"] = True
        properties[field.name] = entry
        if field.required:
            required.append(field.name)
    schema = {"type": "object", "properties": properties}       # some backends refuse all tools over one without
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def parse(cls, arguments):
    """An instance of the arguments dataclass `cls` from a JSON object; ArgumentProblems lists all that is wrong."""
    known = {field.name: field for field in fields(cls)}
    names = {other: field.name for field in known.values() for other in field.arg.also}
    values, problems = {}, []
    for given, value in arguments.items():
        name = names.get(given, given)
        if name not in known:
            problems.append(_unknown(given, known))
        elif name in values:
            problems.append("%s: given twice (as %s too)" % (name, given))
        elif value is None:
            if known[name].arg.null is not None:
                values[name] = known[name].arg.null
        elif isinstance(value, bool) and known[name].arg.switch:
            values[name] = known[name].arg.switch[not value]
        elif value == "" and _unset(known[name]):
            pass
        else:
            try:
                values[name] = check(known[name], value)
            except ValueError as error:
                problems.append("%s: %s" % (given, error))
                values[name] = None
    for field in known.values():
        if field.required and field.name not in values:
            problems.append("%s: missing%s" % (field.name, " (%s)" % field.arg.text if field.arg.text else ""))
        values.setdefault(field.name, field.default)
    if problems:
        raise ArgumentProblems(problems)
    return cls(**values)


def _unset(field):
    """Whether an empty text means that the field was not given, as from clients that fill in every argument.

    Never for a text of one's own or with a format: an id that is empty by mistake must not mean "any".
    """
    arg = field.arg
    return not (field.required or arg.format) and arg.null is None and (
        field.type in (int, float, bool) or bool(arg.choices))


def _unknown(name, known):
    near = difflib.get_close_matches(name, known, 3, 0.6)
    if near:
        return "%s: unknown argument (did you mean %s?)" % (name[:80], " or ".join(near))
    return "%s: unknown argument (known: %s)" % (name[:80], ", ".join(known) or "none")


_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}(?:\.[0-9]{1,19})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "on": True, "off": False}


def check(field, value):
    """`value` as the field's type, within its limits; ValueError says what is wrong (never repeating a secret)."""
    arg = field.arg
    if arg.format == "vmid" and not (isinstance(value, str) and _WHOLE.fullmatch(value.strip()) or type(value) is int):
        raise ValueError("%s is not a whole number%s" % (_show(value), (
            " (proxmox_get_vms tells the VMID of a guest by its name)" if isinstance(value, str) else "")))
    value = _CONVERT[field.type](value, (lambda: "the value") if arg.secret else (lambda: _show(value)))
    if arg.choices and value not in arg.choices:
        if isinstance(value, str) and value.lower() in arg.choices:
            value = value.lower()
        else:
            raise ValueError("%s is not one of %s" % (_show(value), ", ".join(map(str, arg.choices))))
    if arg.format:
        for part in value if isinstance(value, list) else [value]:
            problem = misfit(arg.format, str(part))
            if problem:
                raise ValueError("%s %s" % (_show(part), problem))
    measure = value if isinstance(value, (int, float)) else len(value)
    what = "" if isinstance(value, (int, float)) else " characters long" if isinstance(value, str) else " entries long"
    if arg.least is not None and measure < arg.least:
        raise ValueError("must be at least %s%s" % (arg.least, what))
    if arg.most is not None and measure > arg.most:
        raise ValueError("must be at most %s%s" % (arg.most, what))
    return value


def _show(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _string(value, show):
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("%s holds a character that cannot be sent (NUL or half a surrogate pair)" % show())
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("%s is not a text" % show())


def _integer(value, show):
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2 ** 53:      # 100.0 is one in JSON Schema
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise ValueError("%s is not a whole number" % show())


def _number(value, show):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    raise ValueError("%s is not a number" % show())


def _boolean(value, show):
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(str(value).lower()) if isinstance(value, (str, int)) else None
    if known is None:
        raise ValueError("%s is neither true nor false" % show())
    return known


def _list(value, show):
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value) if part]
    if isinstance(value, list):
        return [_string(part, show) for part in value]
    raise ValueError("%s is not a list" % show())


def _object(value, show):
    if isinstance(value, str):                       # some clients hand on a nested object as its JSON text
        import json
        try:
            value = json.loads(value or "{}")
        except ValueError:
            pass
    if isinstance(value, dict):
        return value
    raise ValueError("is neither an object nor the JSON text of one")       # not repeated: it may hold a password


_CONVERT = {str: _string, int: _integer, float: _number, bool: _boolean, list: _list, dict: _object}
