"""Arguments of a tool: a dataclass becomes a JSON Schema 2020-12, a JSON object becomes a checked instance of it."""
import dataclasses
import difflib
import json
import re
import typing
from functools import lru_cache
from itertools import islice

from tools.pve import text
from tools.pve.formats import in_unit, misfit
from tools.pve.scrub import is_secret

#: The default of an argument that has none (so that a subclass may add required arguments after optional ones).
REQUIRED = object()

#: How long a text and a list may be where the argument does not say it: more is refused before anything looks at it.
MAX_LENGTH, MAX_ITEMS = 10000, 500
#: And a list or an object, with all that is in it: characters (Proxmox takes no parameter that has more than half of
#: it), levels.
MAX_OBJECT, MAX_DEPTH = 128 * 1024, 10


class Arg(typing.NamedTuple):
    """What an argument's type does not say; goes into typing.Annotated."""
    text: str = ""                      # its description for the model; short, with the unit
    format: typing.Optional[str] = None     # a key of tools.pve.formats.FORMATS that the value must match
    minimum: typing.Optional[float] = None
    maximum: typing.Optional[float] = None
    min_length: typing.Optional[int] = None     # of a text or a list
    max_length: typing.Optional[int] = None     # the same; at most MAX_LENGTH and MAX_ITEMS unless said
    enum: tuple = ()                    # the values allowed
    aliases: tuple = ()                 # other names that are accepted but not shown
    secret: bool = False                # never repeated in an answer, a log or the audit log
    null: object = None                 # what null means, if not that the argument is not given: it clears something
    booleans: tuple = ()                # (what true means, what false means), for a number that may be given so
    parameter: typing.Optional[str] = None      # its name to Proxmox where that is another; it is accepted too
    listed: bool = False                # a text that names several, divided by commas: it may be given as a list
    unit: typing.Optional[str] = None       # of a size, memory or rate: it may be given as 4G too
    published: bool = True              # False: accepted and in the README, but not told to models, which would pay
    # names of the tools (without proxmox_) that do the same: {kind} is vm or lxc, {volume} disk_vm or mountpoint_lxc;
    # with PATTERN= before it, where a key in the value fits
    does: str = ""


class ArgumentProblems(ValueError):
    """Arguments that do not fit; `.problems` is a list of sentences."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


class Field:
    """One argument: name, type (str, int, float, bool, list, dict; of a list `items`: str or dict), arg, required,
    default, parameter (its name to Proxmox), aliases (the names that are accepted too)."""

    def __init__(self, name, hint, default):
        self.name, self.arg = name, Arg()
        while typing.get_origin(hint) is typing.Union or hasattr(hint, "__metadata__"):
            if hasattr(hint, "__metadata__"):
                self.arg, hint = hint.__metadata__[-1], hint.__origin__
            else:                                       # Optional[...], around Annotated or in it
                hint = next(one for one in typing.get_args(hint) if one is not type(None))
        self.type, self.items = typing.get_origin(hint) or hint, (typing.get_args(hint) or (str,))[0]
        self.required = default is REQUIRED
        self.default = None if self.required else default
        self.parameter = self.arg.parameter or name
        self.aliases = self.arg.aliases + ((self.arg.parameter,) if self.arg.parameter else ())


@lru_cache(maxsize=None)
def fields(cls):
    """The Fields of an arguments dataclass, in the order in which they are shown: required ones first."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = [Field(f.name, hints[f.name], f.default) for f in dataclasses.fields(cls)]
    return sorted(found, key=lambda field: not field.required)


_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def input_schema(cls):
    """The JSON Schema (dict) of an arguments dataclass, of the keywords that every client can convert (google-genai
    fails over additionalProperties: false, others over default). Patterns and limits are checked and not published: a
    model pays for every byte of it, and learns of a limit in one sentence when it steps over it. A default is told
    where it is a word that is not among the enum."""
    properties, required = {}, []
    for field in fields(cls):
        if not field.arg.published:
            continue
        arg = field.arg                                 # a guest has a name too, and an amount a unit
        text_too = arg.unit or arg.format == "vmid" and field.type is int       # an amount with its unit, a name
        entry = {"type": "string" if text_too else _JSON_TYPES[field.type]}
        if field.type is list:
            entry["items"] = {"type": _JSON_TYPES[field.items]}
        if arg.enum:
            entry["enum"] = list(arg.enum)
        default = "default %s" % field.default if field.default and field.type is str and not arg.enum else ""
        if arg.text or arg.unit or default:
            entry["description"] = ", ".join(filter(None, (arg.text or arg.unit, default)))
        properties[field.name] = entry
        if field.required:
            required.append(field.name)
    schema = {"type": "object", "properties": properties}       # some backends refuse all tools over one without
    if required:
        schema["required"] = required
    return schema


def parse(cls, arguments):
    """An instance of the arguments dataclass `cls` from a JSON object; ArgumentProblems lists all that is wrong."""
    known = {field.name: field for field in fields(cls)}
    names = {other: field.name for field in known.values() for other in field.aliases}
    values, problems = {}, []
    if len(arguments) > MAX_ITEMS:
        raise ArgumentProblems(["There are %d arguments, more than any tool takes" % len(arguments)])
    filler = _filler(known.values(), {names.get(given, given): value for given, value in arguments.items()})
    for given, value in arguments.items():
        name = names.get(given, given)
        if name not in known:
            problems.append(_unknown(given, known))
        elif filler(known[name], value):
            pass
        elif name in values:
            problems.append("%s: given twice (also as %s)" % (name, given))
        elif _null(known[name], value):
            values[name] = known[name].arg.null
        elif isinstance(value, bool) and known[name].arg.booleans:
            if_true, if_false = known[name].arg.booleans
            values[name] = if_true if value else if_false
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
    if not problems:
        args = cls(**values)
        problems = ["%s: its text also appears in %s, where it would be shown. Choose another secret" % pair
                    for pair in islice(_shown_secrets(args), 20)]
    if problems:
        raise ArgumentProblems(problems)
    return args


def _shown_secrets(args):
    """(name of a secret, name of another argument with its text in it, which would give it away or be blanked)."""
    for name, secret in secrets(args).items():
        for given, value in vars(args).items():
            for other, part in _parts(given, value, keys=True):
                if other != name and len(secret) > 3 and isinstance(part, str) and secret in part:
                    yield name, other


def _parts(name, value, keys=False):
    """(name, value) of all that is in an object or a list, each under the key that it has there; keys: and of these."""
    if isinstance(value, dict):
        for key, part in value.items():
            if keys:
                yield key, key
            yield from _parts(key, part, keys)
    elif isinstance(value, list):
        for part in value:
            yield from _parts(name, part, keys)
    else:
        yield name, value


def _filler(known, given):
    """A function (field, value) -> whether the value says nothing, as those of clients and proxies that fill in every
    argument: "", 0, false, [], {} or null. known: the Fields of the tool; given: {name: value} of the call. An empty
    text, list or object for an optional argument says nothing, nor does a 0 below its minimum. Such a text, or a call
    in which nothing is left out, shows that 0, false and null beside it may say nothing either: taken at their word
    they would switch off what protects (a VLAN tag, a firewall). So does one null for another that clears."""
    optional = [field for field in known if not field.required]
    said = [(field, given[field.name]) for field in optional if field.name in given]
    empty = sum(_empty(value) for _, value in said)
    complete = empty > 1 and all(field.name in given for field in optional if field.arg.published)
    filled = complete or any(value in ("", [], {}) and value != field.arg.null for field, value in said)
    nulls = filled or any(_null(field, value) and field.arg.null is None for field, value in said)

    def filler(field, value):
        if _null(field, value):
            return nulls or field.required or field.arg.null is None
        if field.required or not _empty(value):
            return False
        if value in ("", [], {}):
            return filled or value != field.arg.null
        return filled or value is not False and ((field.arg.minimum or 0) > 0 or field.arg.format == "vmid")
    return filler


def _empty(value):
    return value is not None and value in ("", 0, False, [], {})


def _null(field, value):
    return value is None or value == "null" and field.type is not str


def _unknown(name, known):
    near = " or ".join(difflib.get_close_matches(name[:80], known, 3, 0.6))
    return "%s: unknown argument (%s)" % (name[:80], "did you mean %s?" % near if near else "known: %s" % (
        ", ".join(known) or "none"))


_WHOLE = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,18}))(?:\.0{1,19})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,19}(?:\.[0-9]{1,19})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False, "on": True, "off": False}


def is_name(word):
    """Whether a text can only be the name of a guest: a DNS name with a letter in it."""
    return misfit("dnsname", word) is None and any(map(str.isalpha, word))


def check(field, value):
    """`value` as the field's type, within its limits; ValueError says what is wrong (never repeating a secret)."""
    arg = field.arg
    if isinstance(value, (str, list)):                  # before anything looks at all of it
        longest = max(arg.max_length or 0, MAX_LENGTH if isinstance(value, str) else MAX_ITEMS)
        if len(value) > longest:
            noun = "character" if isinstance(value, str) else "entry"
            raise ValueError("must have at most %s" % text.plural(longest, noun))
        if isinstance(value, list) and sum(len(part) for part in value if isinstance(part, str)) > MAX_OBJECT:
            raise ValueError("holds more than %d characters" % MAX_OBJECT)
    if arg.listed and isinstance(from_json(value, list), list):
        value = ",".join(_list(value, lambda: _show(value)))
    value = _whole(in_unit(value, arg.unit) if arg.unit and field.type is not str else value)
    if arg.format == "vmid" and field.type is int and isinstance(value, str) and is_name(value):
        return value                                    # the call finds its number (tools.base.call)
    if arg.format in ("vmid", "newid") and not (type(value) is int or isinstance(value, str) and
                                                _WHOLE.fullmatch(value.strip())):
        raise ValueError("%s is not a whole number%s" % (_show(value), ", nor the name of a guest" if (
            arg.format == "vmid") else ""))
    convert = _objects if field.items is dict and field.type is list else _CONVERT[field.type]
    value = convert(value, (lambda: "the value") if arg.secret else (lambda: _show(value)))
    if arg.enum and value not in arg.enum:
        if str(value).lower() not in arg.enum:
            raise ValueError("%s is not one of %s" % (_show(value), ", ".join(map(str, arg.enum))))
        value = value.lower()
    _within_limits(arg, value)
    if arg.format:
        for part in value if isinstance(value, list) else [value]:
            problem = misfit(arg.format, str(part))
            if problem:
                raise ValueError("%s %s" % (_show(part), problem))
    return value


def _within_limits(arg, value):
    """ValueError when a number is too small or large, a text or a list too short or long."""
    if isinstance(value, (int, float)):
        limits, noun = (arg.minimum, arg.maximum), None
    else:
        most, noun = (MAX_LENGTH, "character") if isinstance(value, str) else (MAX_ITEMS, "entry")
        limits, value = (arg.min_length, arg.max_length or most), len(value)
    for limit, sign, which in zip(limits, (1, -1), ("least", "most")):
        if limit is not None and value * sign < limit * sign:
            raise ValueError("must have at %s %s" % (which, text.plural(limit, noun)) if noun else
                             "must be at {0} {1}{2}".format(which, limit, arg.unit and (
                                 " {0} (a number alone is {0}; 4G has its unit)".format(arg.unit)) or ""))


def _show(value):
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _string(value, show):
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("%s contains a character that cannot be sent (NUL or half a surrogate pair)" % show())
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("%s is not a text" % show())


def _integer(value, show):
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    whole = _WHOLE.fullmatch(value.strip()) if isinstance(value, str) else None
    if whole:
        return int(whole.group(1))
    raise ValueError("%s is not a whole number" % show())


def _number(value, show):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return _whole(float(value))
    raise ValueError("%s is not a number" % show())


def _boolean(value, show):
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(str(value).lower()) if isinstance(value, (str, int)) else None
    if known is None:
        raise ValueError("%s is neither true nor false" % show())
    return known


def _list(value, show):
    value = _whole(from_json(value, (list, str)))
    if isinstance(value, str):
        return [part for part in re.split(r"[,;\s]+", value) if part]
    if isinstance(value, (dict, bool)):
        raise ValueError("%s is not a list" % show())
    return [_string(_whole(part), show) for part in (value if isinstance(value, list) else [value])]


def _objects(value, show):
    return [_object(part, show) for part in _object(value, show, list, "a list")]


def _object(value, show, kind=dict, what="an object"):
    value = from_json(value, kind)
    if not isinstance(value, kind):
        raise ValueError("is neither %s nor the JSON text of one" % what)       # not repeated: it may hold a password
    _within_bounds(value)
    return _all_whole(value)


def from_json(value, kind):
    """What a text says as JSON when that is a `kind`, for some clients hand on what is no text so; else `value`."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, kind) else value


def _whole(value):
    """A number that is whole as an integer, for it is one in JSON Schema: 100.0 is 100."""
    return int(value) if isinstance(value, float) and abs(value) < 2 ** 53 and value.is_integer() else value


def _all_whole(value):
    if isinstance(value, dict):
        return {key: _all_whole(part) for key, part in value.items()}
    return [_all_whole(part) for part in value] if isinstance(value, list) else _whole(value)


def _within_bounds(value):
    """ValueError when there is more in an object than anything may look at."""
    room, waiting = MAX_OBJECT, [(value, 1)]
    while waiting and room >= 0:
        part, depth = waiting.pop()
        if isinstance(part, (dict, list)):
            if depth > MAX_DEPTH:
                raise ValueError("nests deeper than %d levels" % MAX_DEPTH)
            if len(part) > MAX_ITEMS:
                raise ValueError("must be at most %d entries long, and so must each list and object in it" % MAX_ITEMS)
            inside = (*part, *part.values()) if isinstance(part, dict) else part
            waiting.extend((one, depth + 1) for one in inside)
        room -= len(part) if isinstance(part, str) else 8
    if room < 0:
        raise ValueError("holds more than %d characters" % MAX_OBJECT)


_CONVERT = {str: _string, int: _integer, float: _number, bool: _boolean, list: _list, dict: _object}


def secrets(args):
    """{name: value} of the arguments of a call that are secret, marked so or called so inside an object, and given."""
    found = {}
    for field in fields(type(args)):
        value = getattr(args, field.name)
        if field.arg.secret and value:
            found[field.name] = value
        elif isinstance(value, (dict, list)):
            found.update((name, str(part)) for name, part in _parts("", value) if is_secret(name) and part is not None)
    return found
