"""Several clusters: PROXMOX_CONFIG names an ini file, each section of which is one, with settings of its own.

The keys are the variables' names in small letters without PROXMOX_. [DEFAULT], and below it the environment, hold what
a section does not say, but for what belongs to one cluster (OWN): a token that another one inherits is given away.
"""
import configparser
import os
import re

from tools.policy.settings import FORMER, VARIABLES, Settings, SettingsError, explain, load, near, offline, read

LONGEST = 1 << 18                       # bytes of the file
#: What a section says of its cluster beside the settings.
ABOUT, DEFAULT = "about", "default"
EXTRA = {
    ABOUT: "what this cluster is, in a few words; models are told it",
    DEFAULT: "what comes here when no cluster is named: reads, or changes (and reads); at most one section has it"}
#: Only in a section; only outside of all: for the server is one.
OWN = ("host", "token_value", "token_file", "token_command", "certificate", "ca_file", "fingerprint", ABOUT, DEFAULT)
SHARED = ("answers", "log", "log_level", "log_format", "state_dir")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}"
_TOP = "DEFAULT"
_KNOWN = {key for key in VARIABLES if key != "config"} | {name[len("PROXMOX_"):].lower() for name in FORMER}


def load_all(environ, warn=lambda message: None, asks=True):
    """The Settings of every cluster (list), `cluster` their names where there are several. SettingsError lists every
    problem with all of them. asks: false for what asks no Proxmox, so that it matters not how that is reached."""
    path = environ.get("PROXMOX_CONFIG", "").strip()
    if not path:
        return [load(environ if asks else offline(environ), warn)]
    try:
        path = VARIABLES["config"]["read"](path)
        sections, problems = _sections(path)
    except OSError as error:
        raise SettingsError(explain(["PROXMOX_CONFIG: %s cannot be read: %s" % (
            path, error.strerror or error)])) from None
    except ValueError as error:
        raise SettingsError(explain(["PROXMOX_CONFIG %s" % error])) from None
    top = sections.pop(_TOP, {})
    problems += _misplaced(environ, top, sections)
    base = {name: value for name, value in environ.items() if not _key(name) in ("config", *OWN)}
    said, found = set(), []
    for name, mine in sections.items():
        given = {**top, **{key: value for key, value in mine.items() if value}}
        own = {"PROXMOX_" + key.upper(): value for key, value in given.items() if key in _KNOWN}

        def placed(words):
            variable = re.match("[A-Z_]*", words).group()
            if variable not in own and (variable in base or not variable):
                return words
            return "[%s] %s" % (_TOP if _key(variable) in top and not mine.get(_key(variable)) else name,
                                re.sub("PROXMOX_[A-Z_]+", lambda match: _key(match.group()), words))
        every = {**base, **own}
        values, wrong = read(every if asks else offline(every), lambda words: said.add(placed(words)))
        problems += map(placed, wrong)
        if not wrong:
            found.append(Settings(**values))
            found[-1].cluster, found[-1].about = name, " ".join(given.get(ABOUT, "").split())[:80]
            found[-1].default = given.get(DEFAULT)
    if problems:
        raise SettingsError(explain(list(dict.fromkeys(problems)), path))
    for words in sorted(said):
        warn(words)
    if len(found) == 1:
        found[0].cluster = None
    return found


def names(environ):
    """The names of the clusters that are configured (list), as far as the file can be read."""
    return [name for name in _readable(environ) if name != _TOP]


def state_dir(environ):
    """What PROXMOX_STATE_DIR is, as far as that can be told, in the file or in the environment; "" for nothing."""
    return _readable(environ).get(_TOP, {}).get("state_dir") or environ.get("PROXMOX_STATE_DIR", "").strip()


def _readable(environ):
    try:
        return _sections(VARIABLES["config"]["read"](environ["PROXMOX_CONFIG"]))[0]
    except (KeyError, OSError, ValueError):
        return {}


def _key(variable):
    return variable[len("PROXMOX_"):].lower() if variable.startswith("PROXMOX_") else None


def _sections(path):
    """({section: {key: text}}, problems with the file that are no settings'); OSError, ValueError."""
    with open(path, "rb") as stream:
        facts, text = os.fstat(stream.fileno()), stream.read(LONGEST + 1)
    if len(text) > LONGEST:                             # what is not read may be a guardrail
        raise ValueError("%s is larger than %d bytes" % (path, LONGEST))
    # no section is special: what is inherited, and what is not, is decided here
    parser = configparser.ConfigParser(default_section="", interpolation=None, delimiters=("=",))
    try:
        parser.read_string(text.decode("utf-8-sig"))
    except configparser.Error as error:                 # whose text may show a secret
        line = getattr(error, "lineno", None) or (getattr(error, "errors", None) or [(0,)])[0][0]
        why = {"DuplicateSectionError": "a section stands there twice",
               "DuplicateOptionError": "a key stands there twice",
               "MissingSectionHeaderError": "a [SECTION] must come first"}
        raise ValueError("%s: line %s cannot be read: %s" % (
            path, line, why.get(type(error).__name__, "it is neither [SECTION] nor key = value"))) from None
    sections = {name: dict(parser.items(name)) for name in parser.sections()}
    problems = []
    if os.name == "posix" and (facts.st_mode & 0o022 or facts.st_uid not in (os.geteuid(), 0)):
        problems.append("%s can be changed by other users of this host; make it yours and run: chmod 600 %s" % (
            path, path))
    elif os.name == "posix" and facts.st_mode & 0o077 and any("token_value" in keys for keys in sections.values()):
        problems.append("%s holds a token's value and can be read by other users of this host; run: chmod 600 %s" % (
            path, path))
    return sections, problems


def _misplaced(environ, top, sections):
    """Problems with what stands where it must not, or contradicts itself."""
    problems = ["%s is set beside PROXMOX_CONFIG: it belongs to one cluster; unset it, and put it into the section of "
                "that cluster" % name for name in sorted(environ) if _key(name) in OWN and environ[name].strip()]
    problems += ["[%s] %s belongs to one cluster; put it into the section of that cluster" % (_TOP, key)
                 for key in top if key in OWN]
    if not sections:
        problems.append("it names no cluster: each is a section, [work] say")
    seen, default = {}, None
    for name, keys in sections.items():
        if not re.fullmatch(_NAME, name) or name.lower() in ("all", _TOP.lower()):
            problems.append("[%s] is no name for a cluster: letters, digits, - and _ (at most 30), and not all" % (
                name[:60]))
        if seen.setdefault(name.lower(), name) != name:
            problems.append("[%s] and [%s] differ in capitals alone" % (seen[name.lower()], name))
        problems += ["[%s] %s is for the whole server; put it into [%s]" % (name, key, _TOP)
                     for key in keys if key in SHARED]
        if keys.get(DEFAULT) not in (None, "", "reads", "changes"):
            problems.append("[%s] %s must be reads or changes" % (name, DEFAULT))
        elif keys.get(DEFAULT) and default:
            problems.append("[%s] %s: that is [%s] already" % (name, DEFAULT, default))
        default = default or keys.get(DEFAULT) and name
    known = [*(key for key in VARIABLES if key != "config"), *EXTRA]
    for name, keys in {_TOP: top, **sections}.items():
        problems += ["[%s] %s is not a setting%s" % (name, key[:60], near(_key(key.upper()) or key, known))
                     for key in keys if key not in {*known, *_KNOWN}]
    return problems


def example():
    lines = ["# Several clusters for one proxmox-mcp: PROXMOX_CONFIG names this file. Each section is a cluster;",
             "# [DEFAULT] holds what they have in common. What begins with # is a comment, here mostly a default.",
             "# chmod 600 where a token_value stands in it.", "", "[%s]" % _TOP]
    first = ("host", "token_name", "token_file", "certificate")
    for name, meta in VARIABLES.items():
        if name not in OWN and name not in first and name != "config":
            value = meta["default"]
            shown = str(value).lower() if isinstance(value, bool) else ",".join(value) if (
                isinstance(value, tuple)) else "" if value is None else value
            lines += ["# " + meta["text"], "# %s = %s" % (name, shown)]
    for name, host, more in (
            ("work", "192.168.1.10", ["about = the cluster at work", "# " + EXTRA[DEFAULT], "# default = reads"]),
            ("home", "192.168.2.10", ["about = the box at home", "allow_elevated = true"])):
        lines += ["", "[%s]" % name, "host = " + host, "token_name = mcp", "token_file = ~/%s-token" % name,
                  "# certificate = ~/%s-root-ca.pem" % name, "# or: certificate = AA:BB:...   token_value = ...   "
                  "token_command = pass show %s" % name, *more]
    return "\n".join(lines)
