"""What a parameter may be, and what is wrong with a value, in sentences for whoever wants to call the API."""
import re

from tools.pve.formats import on
from tools.pve.jsonschema import FORMATS, LIMITS, Checker, flatten, keys_of, last_index, required, text_of
from tools.pve.scrub import is_secret

# ----------------------------------------------------------------------------------------------------------- describing

def likeness(a, b):
    """0 to 0.9: how much two names share, by their pairs of letters."""
    if len(a) < 2 or len(b) < 2:
        return 0.9 if a == b else 0
    first, second = ([word[i:i + 2] for i in range(len(word) - 1)] for word in (a, b))
    shared = sum(min(first.count(pair), second.count(pair)) for pair in set(first))
    share = 2.0 * shared / (len(first) + len(second))
    return 0.9 * share if share > 0.5 else 0


def near(name, names, limit=3):
    """The names (list of str) most like `name`, best first; empty when none is."""
    def score(other):
        a, b = name.lower().replace("_", "-"), other.lower().replace("_", "-")
        return 1 if a == b else max(likeness(a, b), 0.6 if len(a) > 2 and (b.startswith(a) or a.startswith(b)) else 0,
                                    0.7 if len(a) == len(b) and sorted(a) == sorted(b) else 0)
    ranked = sorted(((score(other), other) for other in names), key=lambda pair: (-pair[0], pair[1]))
    return [other for value, other in ranked[:limit] if value >= 0.5]


def sentence(text):
    """The first sentence of `text`, at most 160 characters."""
    match = re.match(r"(.{20,}?[.!?])(?= [A-Z]|$)", text)
    return shorten(match.group(1) if match else text, 160)


def shorten(text, limit):
    """`text` as one line of at most `limit` characters, cut between two words, and " ..." where it was cut."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " ..."


def runs(values):
    """`values` (list of str) with runs of numbered names joined: ide0 ide1 ide2 -> ide0-ide2."""
    result, run = [], []

    def flush():
        result.extend(run if len(run) < 3 else ["%s to %s" % (run[0], run[-1])])
        del run[:]
    for value in values:
        match = re.match(r"(.*?)(\d+)$", value)
        last = re.match(r"(.*?)(\d+)$", run[-1]) if run else None
        if not (match and last and match.group(1) == last.group(1) and int(match.group(2)) == int(last.group(2)) + 1):
            flush()
        run.append(value)
    flush()
    return result


def limits(spec):
    """dict of what a value of `spec` may be: type, enum, range, length, pattern, format."""
    result = {}
    kind = spec.get("type")
    if kind and kind != "string":
        result["type"] = kind
    if isinstance(spec.get("enum"), list) and spec["enum"]:
        result["enum"] = runs([str(v) for v in spec["enum"]])
    for name, low, high in (("range", spec.get("minimum"), spec.get("maximum")),
                            ("length", spec.get("minLength"), spec.get("maxLength"))):
        if low is not None or high is not None:
            result[name] = "from %s" % low if high is None else "to %s" % high if low is None else (
                "%s to %s" % (low, high))
    if isinstance(spec.get("format"), str):
        result["format"] = spec["format"]
    if spec.get("pattern"):
        result["pattern"] = _as_python(spec["pattern"])
    if spec.get("default") is not None:
        result["default"] = spec["default"]
    if isinstance(spec.get("requires"), str):
        result["needs"] = spec["requires"]
    if spec.get("instance-types") and isinstance(spec.get("type-property"), str):
        result["only with"] = "%s=%s" % (spec["type-property"], "|".join(spec["instance-types"]))
    return result


def _as_python(pattern):
    return re.sub(r"\(\?\^[a-z]*:", "(?:", pattern)


def line_of(spec, text=0):
    """limits() in one line, for the keys of property strings and for path parameters."""
    parts = ["required"] if required(spec) and text is not None else []
    if spec.get("alias"):
        return "same as %s=%s" % (spec["keyAlias"], "NAME") if spec.get("keyAlias") else "same as " + spec["alias"]
    for name, value in limits(spec).items():
        parts.append("|".join(value) if name == "enum" else
                     value if name in ("type", "format") and isinstance(value, str) else "%s %s" % (name, value))
    if on(spec.get("default_key")):
        parts.append("may stand without its name")
    words = spec.get("format_description")
    if words and not spec.get("enum") and not isinstance(spec.get("format"), str):
        parts.append("<%s>" % words)
    line = ", ".join(parts) or "text"
    description = shorten(spec.get("description") or "", text) if text else ""
    return line + (": " + description if description else "")



# ------------------------------------------------------------------------------------------------------------- checking

_CHECKER = Checker({name: test for name, (test, _) in FORMATS.items()})


def _sent(value):
    """What a form carries of `value`: str, list of str, None when nothing arrives; anything else cannot be sent."""
    if value is None or value == "":
        return None
    if isinstance(value, (bool, int, float)):
        return text_of(value)
    if isinstance(value, (list, tuple)):
        items = [item for item in map(_sent, value) if item is not None]
        return None if not items else items[0] if len(items) == 1 else items
    return value


MOST = 20                      # problems that are put in words: finding what was meant takes time


def check(endpoint, schema, ids, parameters):
    """Sentences about what Proxmox would refuse: see ApiDoc.check. `schema`: the parameters of the endpoint's info."""
    problems, given = [], {}
    for name, value in parameters.items():
        value = _sent(value)
        if value is not None:
            given[name] = value
    for name in endpoint.in_path:
        if ids.get(name) in (None, ""):
            problems.append("%s is part of the path and has no value." % name)
            continue
        value = str(ids[name])
        if given.get(name, value) != value:
            problems.append("%s is %s in the path and something else in the parameters." % (name, _show(name, value)))
        given[name] = value
    properties, closed = flatten(schema, given)
    found = _CHECKER.check_object(properties, given, closed)
    for problem in found[:MOST]:
        if problem.rule == "unknown":
            problems.append(unknown_name(problem.name, properties, endpoint))
        elif problem.rule != "missing" or problem.name not in endpoint.in_path:
            problems += sentences(problem)
    return problems + ["There are %d more problems." % (len(found) - MOST)] * (len(found) > MOST)


def unknown_name(name, properties, endpoint):
    """The sentence on a name that is no parameter of `endpoint` (str() of it is shown); properties: those there are."""
    base = re.sub(r"\d+\Z", "", name)
    spec = properties.get(base + "[n]")
    if spec and base != name:
        last = last_index(base + "[n]", spec)
        return "%s is not a parameter: there are %s0 to %s%s." % (name, base, base, last if last is not None else "n")
    if name + "[n]" in properties:
        return "%s needs its number, such as %s0." % (name, name)
    names = [n for n in properties if n not in endpoint.in_path]
    close = [n.replace("[n]", "0") for n in near(base, names)]
    if close:
        hint = "; did you mean %s?" % " or ".join(close)
    elif len(names) <= 12:
        hint = "; it takes %s." % (", ".join(sorted(names)) if names else "none")
    else:
        hint = "."
    return "%s is not a parameter of %s%s" % (name, endpoint, hint)


def _show(name, value):
    """`value` for a sentence, shortened; nothing of it when `name` may be a secret."""
    return "(hidden)" if is_secret(name) else repr(value if len(value) <= 60 else value[:57] + "...")


def sentences(problem):
    """[str]: a Problem in our words, in several sentences where it holds several."""
    if problem.rule == "properties":
        return _of_property_string(problem)
    if problem.rule == "format":
        words = FORMATS[problem.spec["format"]][1]
        return ["%s must be %s%s, not %s." % (problem.name, "a list, each " if len(problem.inner) > 1 else "", words,
                                              _show(problem.name, item)) for item in problem.value[:5]]
    if problem.rule == "type":
        return [_of_type(problem.name, problem.value, problem.spec, problem.index)]
    return [_SENTENCES[problem.rule](problem)]


def _of_type(name, value, spec, index):
    if isinstance(value, dict):
        if keys_of(spec):
            return "%s must be a string of key=value pairs joined by commas, not an object." % name
        return "%s must be a plain value%s." % (name, "" if index is None else " or a list of them")
    if isinstance(value, list):
        return "%s takes one value, not a list." % name
    words = {"boolean": "1 or 0", "integer": "a whole number", "number": "a number"}[spec["type"]]
    return "%s must be %s, not %s." % (name, words, _show(name, value))


def _of_property_string(problem):
    keys, found = problem.spec["format"], []
    shown = ", ".join(key for key, spec in keys.items() if not spec.get("alias"))
    for inner in problem.inner[:MOST]:
        name = inner.name
        if inner.rule == "unknown":
            close = near(name, keys)
            words = ["unknown key %s; %s" % (name[:40], "did you mean %s?" % " or ".join(close) if close
                                             else "the keys are %s." % shown)]
        elif inner.rule == "nameless":
            words = ["every part needs a key, as in key=value; the keys are %s." % shown]
        elif inner.rule == "missing":                   # with a misspelt key the missing one is no news
            words = ["%s= is missing (%s)." % (name, line_of(inner.spec, None))] if all(
                other.rule == "missing" for other in problem.inner) else []
        elif name == problem.bare and inner.rule in ("type", "format", *LIMITS) and inner.spec.get("type") != "boolean":
            found += sentences(inner._replace(name=problem.name))
            continue
        else:
            words = sentences(inner)
        found += ["%s: %s" % (problem.name, text) for text in words]
    return found


def _of_missing(problem):
    words = line_of(problem.spec, None)
    description = sentence(" ".join((problem.spec.get("description") or "").split()))
    return "%s is missing%s%s." % (problem.name, " (%s)" % words if words != "text" else "",
                                   ": " + description.rstrip(".") if description else "")


def _of_pattern(problem):
    shown = _as_python(problem.spec["pattern"])
    return "%s must match %s, not %s." % (problem.name, shown if len(shown) <= 120 else shown[:117] + "...",
                                          _show(problem.name, problem.value))


def _of_enum(problem):
    values = [str(value) for value in problem.spec["enum"]]
    close, shown = near(problem.value, values, 2), runs(values)
    return "%s must be %s%s, not %s%s." % (
        problem.name, "" if len(shown) == 1 else "one of ", ", ".join(shown[:40]), _show(problem.name, problem.value),
        " (did you mean %s?)" % " or ".join(close) if close else "")


#: rule -> function(Problem) -> sentence
_SENTENCES = {
    "alias": lambda p: "%s is another name of %s: give one of them." % (p.name, p.value),
    "requires": lambda p: "%s works only together with %s." % (p.name, p.value),
    "missing": _of_missing, "pattern": _of_pattern, "enum": _of_enum,
    "maxLength": lambda p: "%s may have at most %d characters, not %d." % (p.name, int(p.spec["maxLength"]),
                                                                           len(p.value)),
    "minLength": lambda p: "%s must have at least %d characters, not %d." % (p.name, int(p.spec["minLength"]),
                                                                             len(p.value)),
    "maximum": lambda p: "%s may be at most %s, not %s." % (p.name, p.spec["maximum"], _show(p.name, p.value)),
    "minimum": lambda p: "%s must be at least %s, not %s." % (p.name, p.spec["minimum"], _show(p.name, p.value)),
    "empty": lambda p: "%s= has no value." % p.name[:40] if p.name else "a = has no key before it.",
    "said": lambda p: "%s= says the %s, which is there already." % (p.name, p.value),
    "twice": lambda p: "%s is given twice." % p.name,
}
