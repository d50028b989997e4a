"""Settings: one field per environment variable, read once at the start; every problem is found and said at once."""
import os
import re
import shlex
import signal
import sys
from collections import namedtuple

TOKEN_SECONDS = 30                      # that a command has to print the token


class SettingsError(Exception):
    """Settings that are missing or malformed: str(error) lists them all and says how to set each. Never a secret's
    value."""


def _setting(text, read, default=None, example=""):
    return {"text": text, "read": read, "default": default, "example": example}


def _text(pattern, words):
    def read(value):
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(words)
        return value
    return read


def _boolean(value):
    if value.lower() not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
        raise ValueError("must be true or false")
    return value.lower() in ("true", "1", "yes", "on")


def _port(value):
    if not re.fullmatch(r"[0-9]{1,5}", value, re.ASCII) or not 0 < int(value) < 65536:
        raise ValueError("must be a whole number from 1 to 65535")
    return int(value)


def _choice(*names):
    def read(value):
        if value.lower() not in names:
            raise ValueError("must be one of %s" % ", ".join(names))
        return value.lower()
    return read


def _words(value):
    words = tuple(part for part in re.split(r"[,;\s]+", value) if part)
    if not words:                                       # "," would mean the same as not set: no limit at all
        raise ValueError("lists nothing; unset it, or list what you mean")
    return words


UNSAFE = "unsafe"                       # the word of PROXMOX_ALLOWED_COMMANDS that allows shell characters


def _commands(value):
    _words(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _hosts(value):
    """[(name, port or None)] of "pve1,pve2:8007,[fd00::1]:8006"."""
    hosts = []
    for part in _words(value):
        if part.startswith("http://"):
            raise ValueError("http:// is refused: the token would cross the network in clear text; give only the host "
                             "name")
        part = re.sub(r"^https://", "", part).rstrip("/")
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.%a-z]+\]|[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?)(?::([0-9]{1,5}))?",
                             part, re.ASCII)
        if not match and part.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.]+", part):
            hosts.append((part, None))
        elif not match or (match.group(2) and not 0 < int(match.group(2)) < 65536):
            shown = "one of them" if "@" in part else repr(part[:80])       # user:password@host is not repeated
            raise ValueError("%s is not a host name or address (a :port may follow)" % shown)
        else:
            hosts.append((match.group(1).strip("[]"), int(match.group(2)) if match.group(2) else None))
    return hosts


#: user@realm, of which the last @ separates the realm: printable ASCII without what separates the parts of a
#: token (PVE::Auth::Plugin, verify_username, which takes ! too).
_USER = r"[\"-.0-9;-~]{1,62}@[A-Za-z][A-Za-z0-9._-]+"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_+.-]*"
_token_value = _text(r"[0-9A-Za-z._~-]{8,128}", "is not a token's value (8 to 128 letters, digits and . _ ~ -; Proxmox "
                     "issues a UUID); what was given is not shown here")


def _certificate(value):
    """The path of a file; or fingerprints, "AA:BB:...,CC:DD:...": one a node, where several hosts are given."""
    if os.path.isabs(os.path.expanduser(value)):
        return os.path.expanduser(value)
    found = []
    for one in _words(value):
        one = re.sub(r"(?i)^sha-?256[:=]", "", one)
        if not re.fullmatch(r"[0-9A-Fa-f]{64}|(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}", one):
            raise ValueError("must be an absolute path (~/ at its beginning works too), or a SHA-256 fingerprint as "
                             "Proxmox prints it (`pvenode cert info`): 32 pairs of hexadecimal digits (AA:BB:...)")
        digits = one.replace(":", "").upper()
        found.append(":".join(digits[i:i + 2] for i in range(0, 64, 2)))
    return ",".join(found)


class Guests:
    """A list of guests as PROXMOX_ALLOWED_GUESTS and PROXMOX_PROTECTED_GUESTS write it: vmids ("100"), ranges
    ("100-199"), "pool:NAME" and "tag:NAME"; false when it is empty. ValueError names the first word that is none."""

    def __init__(self, words):
        from tools.pve.formats import fits
        self.words, self._ranges, self._pools, self._tags = words, [], set(), set()
        for word in words:
            kind, _, name = word.partition(":")
            numbers = re.fullmatch(r"([1-9][0-9]{2,8})(?:-([1-9][0-9]{2,8}))?", word, re.ASCII)
            first, last = (int(numbers.group(1)), int(numbers.group(2) or numbers.group(1))) if numbers else (1, 0)
            if kind == "pool" and fits("pool", name):
                self._pools.add(name)
            elif kind == "tag" and re.fullmatch(_TAG, name):
                self._tags.add(name.lower())
            elif first <= last:
                self._ranges.append((first, last))
            else:
                raise ValueError("%r is not a vmid (100), a range (100-199), pool:NAME or tag:NAME" % word[:80])
        self.by_rows = bool(self._pools or self._tags)          # whether pool and tags of a guest must be known

    def __bool__(self):
        return bool(self.words)

    def __str__(self):
        return ", ".join(self.words)

    def by_number(self, vmid):
        return any(first <= vmid <= last for first, last in self._ranges)

    def by_row(self, row):
        """Whether a guest's pool or one of its tags is; row: its /cluster/resources entry, or {}."""
        pool = str(row.get("pool") or "")
        if any(pool == name or pool.startswith(name + "/") for name in self._pools):        # pools may be nested
            return True
        return bool(self._tags) and not self._tags.isdisjoint(re.split(r"[;,\s]+", str(row.get("tags") or "").lower()))

    def holds(self, vmid, rows):
        """Whether the guest is in the list; rows: {vmid: row} of /cluster/resources."""
        return self.by_number(vmid) or (self.by_rows and self.by_row(rows.get(vmid) or {}))


def _path(value):
    """An absolute path. What was given is not shown: it may be the secret, put into the wrong variable."""
    path = os.path.expanduser(value)
    if not os.path.isabs(path):
        raise ValueError("must be an absolute path (~/ at its beginning works too): a client starts this program in a "
                         "directory of its own choice")
    return path


def _guests(value):
    return Guests(_words(value)).words


def _fitting(kind, read):
    def checked(value):
        from tools.pve.formats import misfit
        found = read(value)
        for word in (found,) if isinstance(found, str) else found:
            if misfit(kind, word):
                raise ValueError("%r %s" % (word[:80], misfit(kind, word)))
        return found
    return checked


def _command_line(value):
    """The words of a command, as a shell would take them apart; none is ever asked."""
    try:
        words = tuple(map(os.path.expanduser, shlex.split(value)))
    except ValueError:
        words = ()
    if not words:
        raise ValueError("is not a command with its arguments (a quote may be missing)")
    return words


def _tools(value):
    from tools import TOOLSETS, instead, surface
    from tools.policy.selection import PRESETS, takes
    words, groups = _words(value.lower()), (*PRESETS, *TOOLSETS)
    for word in words:
        one = word[word.startswith("-"):]
        if one not in groups and not any(takes(one, entry) for entry in surface()):
            raise ValueError("%r is neither a toolset (%s) nor a tool, or a pattern of names that fits one%s" % (
                word[:80], ", ".join(groups), instead(one)[:-1].replace(" Use", "; use") or near(one, [
                    *groups, *(entry["name"] for entry in surface())])))
    return words


def _log(value):
    levels, formats, words = ("debug", "info", "warning", "error"), ("text", "json"), _words(value.lower())
    found = [[word for word in words if word in known] for known in (levels, formats)]
    if max(map(len, found)) > 1 or sum(map(len, found)) < len(words):
        raise ValueError("must be one of %s, or one of %s, or one of each" % (", ".join(levels), ", ".join(formats)))
    return (*found[0], "warning")[0], (*found[1], "text")[0]


#: How commands reach containers: user and port for ssh to the nodes, and the private key's file, or None.
Ssh = namedtuple("Ssh", "user port key", defaults=("root", 22, None))


def _ssh(value):
    """An Ssh out of "mcp@:2222 /home/me/key", of which the first word must be there."""
    first, *keys = _command_line(value)
    match = re.fullmatch(r"([a-z_][a-z0-9_-]*)@(?::([1-9][0-9]{0,4}))?", first, re.ASCII)
    if not match or int(match.group(2) or 22) > 65535 or len(keys) > 1 or not all(map(os.path.isabs, keys)):
        raise ValueError("must be USER@ or USER@:PORT, such as root@; behind it may stand the absolute path of the "
                         "private key. Host keys belong into known_hosts")
    return Ssh(match.group(1), int(match.group(2) or 22), *keys)


#: What stands in examples, and what a client leaves there that does not know the name or was not told the value.
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\{\{\s*\w[^}]*\}\}|<[A-Za-z][^<>]*>|\A(?:\$\w|%\w+%|\{[^{}]*\}\Z|[xX]{4,8}-)"
                          r"|(?i:(?:\A|[!@])your[-_. ]|\A(?:change|replace)[-_ ]?(?:me|this)\Z)"
                          r"|\Athe token's value\Z", re.ASCII)


def _filled_in(value):
    """`value`; ValueError, which does not show it, when it is a placeholder."""
    if _PLACEHOLDER.search(value):
        raise ValueError("is still a placeholder, which the client did not fill in: write the value itself, or the "
                         "name of something that the client knows")
    return value


class Settings:
    """Every setting of the server: `host` is PROXMOX_HOST, and so on. Built by `load`, or directly in a test.

    No dataclass, whose import takes longer than all that happens before the first answer.
    """
    host: list = _setting(
        "host name or IP address of a node; several, separated by commas, are tried in turn", _hosts,
        example="192.168.1.10")
    user: str = _setting("user and realm", _text(_USER, "must be a user with its realm, such as root@pam"), "root@pam")
    token_name: str = _setting(
        "name of the API token (mcp, or root@pam!mcp)", _text(
            r"(?:" + _USER + r"!)?[A-Za-z][A-Za-z0-9._-]+",
            "must be a token's name, such as mcp, or its full id, such as root@pam!mcp"), example="mcp")
    token_value: str = _setting(
        "value of the API token", _token_value,
        example="the UUID that Proxmox showed once; or name a file that holds it in PROXMOX_TOKEN_FILE")
    token_file: str = _setting("a file that holds the token's value, instead of PROXMOX_TOKEN_VALUE", _path)
    token_command: tuple = _setting(
        "a command (run without a shell) that prints the token's value, instead of PROXMOX_TOKEN_VALUE", _command_line)
    ssl_mode: str = _setting(
        "strict: full verification; verify: TLS, self-signed allowed (trust on first use); insecure: nothing checked",
        _choice("strict", "verify", "insecure"), "strict")
    certificate: str = _setting(
        "what is trusted, and nothing else: a file with a CA or certificate (PEM), e.g. a copy of pve-root-ca.pem, or "
        "the SHA-256 fingerprint of a certificate (several: separated by commas)", _certificate)
    port: int = _setting("API port", _port, 8006)
    config: str = _setting("a file with a section for each of several clusters", _path)
    allow_elevated: bool = _setting("allow tools that create, change or delete", _boolean, False)
    allowed_commands: tuple = _setting(
        "allow only these commands in guests, separated by commas; * stands for anything without shell characters "
        "(`df *`: with any arguments or none); the word unsafe allows shell characters", _commands, ())
    confirm: str = _setting(
        "before something is lost: auto (ask if the client can), always (refuse if it cannot), terminal (`proxmox-mcp "
        "approve` asks), token (a second call with a confirm_token), off (do not ask); always, terminal and token also "
        "before a command in a guest, and before what can be put back (a detached disk, a deleted option)",
        _choice("auto", "always", "terminal", "token", "off"), "auto")
    safety: str = _setting(
        "what is made before a guest or its disk is destroyed, overwritten or rolled back, which is not done without: "
        "none, snapshot (a backup where it cannot help), backup; with :STORAGE behind it the backup goes there",
        _fitting("safety", str), "none")
    answers: str = _setting(
        "what a client gets of a tool's answer: text (for models), data (structured content, for programs), both",
        _choice("text", "data", "both"), "text")
    read_only: bool = _setting("allow only tools that read; overrides everything else", _boolean, False)
    dry_run: bool = _setting(
        "tools that change something show the requests they would send, and send none", _boolean, False)
    allowed_guests: tuple = _setting("only these guests: vmids, ranges (100-199), pool:NAME, tag:NAME", _guests, ())
    protected_guests: tuple = _setting("guests that are never changed; written the same way", _guests, ())
    allowed_nodes: tuple = _setting("only these nodes", _fitting("node", _words), ())
    tools: tuple = _setting(
        "the tools there are: presets (mission, all, daily, readonly, minimal), toolsets, names and patterns with *; "
        "with a leading - they are taken away (`all,-ssh,-delete_*`)", _tools, ("all",))
    rate_limit: str = _setting(
        "requests to Proxmox per minute / changes per minute; 0 = no limit", _text(
            r"[0-9]{1,6}(?:/[0-9]{1,6})?",
            "must look like 600 or 600/60 (requests per minute / changes per minute)"), "600/60")
    state_dir: str = _setting(
        "a directory that keeps pinned certificates (without it they are forgotten when the program "
        "ends), and is needed for `approve` and `freeze`", _path)
    audit_log: str = _setting("a file that records every attempt to change something", _path)
    log: tuple = _setting(
        "what is logged on stderr (debug, info, warning or error), and how (text or json): `info json`", _log,
        ("warning", "text"))
    ssh: Ssh = _setting(
        "allow commands in containers, through ssh to the node, as this user (`root@`, `mcp@:2222`), and pct exec; "
        "behind it the private key's file", _ssh)

    def __init__(self, demo=False, **values):
        self.demo = demo                       # --demo: the embedded demo cluster, no setting needed
        self.cluster = self.about = self.default = None         # of several clusters: see tools.policy.clusters
        for name, meta in VARIABLES.items():
            setattr(self, name, values.pop(name, meta["default"]))
        self.host = [(name, port or self.port) for name, port in self.host or ()]
        if "!" in (self.token_name or ""):
            self.user, self.token_name = self.token_name.split("!", 1)
        is_file = os.path.isabs(self.certificate or "")
        self.ca_file, self.fingerprint = self.certificate if is_file else None, None if is_file else self.certificate
        self.token_id = "%s!%s" % (self.user, self.token_name)      # what names the token, no secret

    def secret(self):
        """The token's value as token_command prints it, which is never logged; ValueError says why there is none."""
        import subprocess
        words, group, name = self.token_command, os.name == "posix", "PROXMOX_TOKEN_COMMAND: "
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, start_new_session=group)
        except (OSError, ValueError) as error:
            raise ValueError("%s%s cannot be run: %s" % (
                name, words[0], getattr(error, "strerror", None) or "it has a character that no command has")) from None
        try:
            said, _ = process.communicate(timeout=TOKEN_SECONDS)
        except subprocess.TimeoutExpired:
            if group:                                   # and what it has started
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
            raise ValueError("%s%s did not end within %d seconds" % (name, words[0], TOKEN_SECONDS)) from None
        if process.returncode:
            raise ValueError("%s%s ended with exit status %d" % (name, words[0], process.returncode))
        try:
            return _token_value(said.decode("utf-8", "replace").strip())
        except ValueError as error:
            raise ValueError("%swhat it printed %s" % (name, error)) from None


#: {attribute: {"variable", "text", "read", "default", "example"}} of the settings that are variables.
VARIABLES = {name: dict(meta, variable="PROXMOX_" + name.upper()) for name, meta in vars(Settings).items()
             if isinstance(meta, dict) and "read" in meta}

_TOKEN = "PROXMOX_TOKEN_NAME and PROXMOX_TOKEN_VALUE"
#: What other programs for Proxmox (Terraform's providers, other MCP servers, scripts) call a setting, after
#: PROXMOX_, PVE_ or PM_ and perhaps VE_, API_ or MCP_ -> what it is called here.
ELSEWHERE = {
    **dict.fromkeys(("URL", "ENDPOINT", "BASE_URL", "SERVER", "ADDRESS", "NODE"), "PROXMOX_HOST"),
    **dict.fromkeys(("VERIFY_SSL", "VERIFY_TLS", "SSL_VERIFY", "TLS_VERIFY", "VERIFY", "INSECURE", "TLS_INSECURE",
                     "VALIDATE_CERTS"), "PROXMOX_SSL_MODE (strict, verify or insecure)"),
    **dict.fromkeys(("TOKEN_ID", "TOKENID"), "PROXMOX_TOKEN_NAME"),
    **dict.fromkeys(("TOKEN_SECRET", "SECRET"), "PROXMOX_TOKEN_VALUE"),
    **dict.fromkeys(("TOKEN", "API_TOKEN"), _TOKEN), "USERNAME": "PROXMOX_USER",
    **dict.fromkeys(("PASSWORD", "PASS"), "(no password, only an API token) " + _TOKEN),
    **dict.fromkeys(("ALLOW_WRITE", "ALLOW_WRITES", "ELEVATED"), "PROXMOX_ALLOW_ELEVATED")}


def _meant(name):
    """What a variable of another program is called here, or None; never a variable of this one."""
    match = re.fullmatch(r"(PROXMOX|PVE|PM)_(?:VE_|API_|MCP_)?(\w+)", name)
    if not match:
        return None
    own = "PROXMOX_" + match.group(2)
    return ELSEWHERE.get(match.group(2)) or (own if match.group(2).lower() in VARIABLES and name != own else None)


def _on(value):
    return value and _boolean(value)


#: setting -> (variables of version 1 that are a part of it now, what it then is, of their texts or ""; None: unknown).
_FORMER = {
    "certificate": (("FINGERPRINT", "CA_FILE"), lambda fingerprint, ca_file: fingerprint or ca_file),
    "tools": (("TOOLSETS", "TOOLS", "DISABLED_TOOLS"), lambda toolsets, names, never: None if toolsets and names else (
        ",".join([toolsets or names or "all", *("-" + word for word in never.replace(",", " ").split())]))),
    "allowed_commands": (("ALLOW_UNSAFE_COMMANDS", "ALLOWED_COMMANDS"), lambda unsafe, listed: None if (
        listed and not listed.strip(", ")) else ", ".join(filter(None, (UNSAFE if _on(unsafe) else "", listed)))),
    "log": (("LOG_LEVEL", "LOG_FORMAT"), lambda level, form: " ".join(filter(None, (level, form)))),
    "ssh": (("SSH_ENABLED", "SSH_USER", "SSH_PORT", "SSH_KEY_PATH", "SSH_HOST_KEY_FINGERPRINT"),
            lambda enabled, user, port, key, pin: None if pin else _on(enabled) and " ".join(filter(None, (
                "%s@%s" % (user or "root", port and ":" + port), key and shlex.quote(key)))) or ""),
    None: (("TASK_WAIT",), lambda seconds: "")}
FORMER = {"PROXMOX_" + name for names, _ in _FORMER.values() for name in names} - {
    meta["variable"] for meta in VARIABLES.values()}


def former(environ, warn=lambda message: None):
    """({variable: what those of version 1 say in it}, problems: what cannot be said so, as without it a limit might be
    lost). warn(str) is told what to write now."""
    said, problems = {}, []
    for setting, (names, value) in _FORMER.items():
        texts = [environ.get("PROXMOX_" + name, "").strip() for name in names]
        gone = ["PROXMOX_" + name for name, text in zip(names, texts) if text and "PROXMOX_" + name in FORMER]
        if gone and setting is None:
            warn("%s is no setting any more: unset it; a call says how long it waits (`wait`, else 30 s)" % gone[0])
        elif gone:
            new = VARIABLES[setting]["variable"]
            try:
                text = value(*texts)
                if text is None or environ.get(new) and new[len("PROXMOX_"):] not in names:
                    raise ValueError
                if text:
                    VARIABLES[setting]["read"](_filled_in(text))
                said[new] = text
            except ValueError:                          # which may be a secret in the wrong variable
                problems.append("%s became %s: unset it, or write there what you mean" % (" and ".join(gone), new))
            else:
                warn("%s became %s: %s instead" % (
                    " and ".join(gone), new, "write %s=%s" % (new, text) if text else "unset it"))
    return said, problems


#: What our .mcpb does not insist on. Any other placeholder is refused: a limit must not be lost by one.
_OPTIONAL = ("user", "certificate", "allow_elevated")


def load(environ, warn=lambda message: None):
    """Settings from the mapping `environ`; SettingsError lists every problem at once."""
    values, problems = read(environ, warn)
    if problems:
        raise SettingsError(explain(problems))
    return Settings(**values)


def read(environ, warn=lambda message: None):
    """({setting: value}, problems, each beginning with its variable) of the mapping `environ`. warn(str) is told what
    is allowed and unwise (a token file that others can read). An empty value means not set, and so does what a client
    leaves of an optional field of our .mcpb that is not filled in (${user_config.NAME})."""
    said, problems = former(environ, warn)
    environ, values = dict(environ, **said), {}
    for name, meta in VARIABLES.items():
        given = environ.get(meta["variable"], "").strip()
        if not given or name in _OPTIONAL and given == "${user_config.%s}" % name:
            continue
        try:
            values[name] = meta["read"](_filled_in(given))
        except ValueError as error:
            values[name] = None                         # which is to say that it is set
            problems.append("%s %s" % (meta["variable"], error))
    known = {meta["variable"] for meta in VARIABLES.values()}
    for name in sorted(environ):
        if name.startswith("PROXMOX_") and name not in known | FORMER:
            warn("%s is not a setting of this program and has no effect%s." % (
                name, ": here it is called " + _meant(name) if _meant(name) else near(name, known)))
    sources = [VARIABLES[name]["variable"] for name in ("token_file", "token_command", "token_value") if name in values]
    if len(sources) > 1:
        problems.append("%s are both set; set only one" % " and ".join(sources))
    elif values.get("token_file"):
        try:
            with open(values["token_file"], "rb") as stream:
                others = os.name == "posix" and os.fstat(stream.fileno()).st_mode & 0o077
                values["token_value"] = _token_value(_filled_in(stream.read(4096).decode("utf-8", "replace").strip()))
            if others:
                warn("%s can be read by other users of this host; run: chmod 600 %s" % ((values["token_file"],) * 2))
        except OSError as error:
            problems.append("PROXMOX_TOKEN_FILE: %s cannot be read: %s" % (
                values["token_file"], error.strerror or error))
        except ValueError as error:                     # a NUL in the path, or what the file holds
            problems.append("PROXMOX_TOKEN_FILE: its content %s" % error)
    for name in ("host", "token_name", "token_value"):
        meta = VARIABLES[name]
        if name not in values and not (name == "token_value" and sources):
            others = [other for other in sorted(environ) if meta["variable"] in (_meant(other) or "")]
            problems.append("%s is not set: %s (example: %s)%s" % (
                meta["variable"], meta["text"], meta["example"],
                "; %s, which is set, is of another program" % " and ".join(others) if others else ""))
    if values.get("confirm") == "terminal" and "state_dir" not in values:
        problems.append("PROXMOX_CONFIRM=terminal needs PROXMOX_STATE_DIR: the questions wait there for `proxmox-mcp "
                        "approve`")
    return values, problems


def near(name, known):
    """" (did you mean NAME?)", or ""."""
    import difflib
    found = difflib.get_close_matches(name, known, 1, 0.8)
    return " (did you mean %s?)" % found[0] if found else ""


def explain(problems, where="the environment, or in \"env\" in the client's configuration"):
    return ("proxmox-mcp cannot start: %s.\n%s\nSet them in %s.%s" % (
                "one setting is missing or wrong" if len(problems) == 1 else
                "%d settings are missing or wrong" % len(problems),
                "\n".join("  - %s" % problem for problem in problems), where,
                " To try it without Proxmox: proxmox-mcp --demo call proxmox_get_vms" if has_demo() else ""))


NO_DEMO = ("The demo cluster is not in this copy of proxmox-mcp; `python3 proxmox_mcp.py pack --demo proxmox-mcp.pyz` "
           "in a checkout makes one that has it.")


def has_demo():
    """Whether the demo cluster is in this copy of the program: `pack` leaves it out unless it is asked for."""
    from importlib.machinery import PathFinder          # importlib.util takes typing with it on Python 3.9
    return PathFinder.find_spec("tools.demo", sys.modules["tools"].__path__) is not None


#: Variables that say where Proxmox is and who we are; a demo has its own.
_CONNECTION = {"PROXMOX_" + name for name in """HOST PORT USER TOKEN_NAME TOKEN_VALUE TOKEN_FILE TOKEN_COMMAND SSL_MODE
    CERTIFICATE CA_FILE FINGERPRINT CONFIG""".split()}


def offline(environ, **own):
    """`environ` for what asks no Proxmox: with stand-ins for the connection; own: defaults."""
    return {"PROXMOX_HOST": "demo", "PROXMOX_TOKEN_NAME": "demo", "PROXMOX_TOKEN_VALUE": "demo-token-value", **own,
            **{name: value for name, value in environ.items() if name not in _CONNECTION}}


def demo_settings(environ, warn=lambda message: None):
    """Settings for the embedded demo cluster, which allows elevated tools unless `environ` says otherwise."""
    if not has_demo():
        raise SettingsError(NO_DEMO)
    settings = load(offline(environ, PROXMOX_ALLOW_ELEVATED="true"), warn)
    settings.demo = True
    return settings
