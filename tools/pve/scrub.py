"""Keeps secrets out of everything that leaves: `is_secret` knows their names, `hide` registers one, `scrub` masks it.

In a module of its own so that the log can use it before the client (and `requests`) is imported.
"""
import re
import threading
from functools import lru_cache

#: What stands in the place of a secret.
MASK = "***"

# -------------------------------------------------------------------------------------------------------------- by name

#: Parameters, options and arguments whose value is a secret (names of the API schema; `data`: the credentials of an
#: ACME plugin, `keys`: a YubiKey's, `target-endpoint`: holds an API token, `env`: a container's environment), but for
#: two that only look like one.
_SECRET = re.compile(r"(?!(?:lock-token|(?:.*-)?(?:public|ssh)-key)\Z)(?:"
                     r".*(?:password|passphrase|passwd|secret|ticket|token|keyring|cookie|apikey|authkey|privatekey)"
                     r"|(?:.*-)?(?:key|otp|headers?)|totp|keys|env|token-?value|(?:input-)?data|target-endpoint)")
_VALUES = {"value", "values", "Values", "pending", "old", "new"}       # what stands beside {"key": ...}, {"name": ...}


@lru_cache(maxsize=2000)
def is_secret(name):
    """Whether the value of a parameter, an option or an argument of this name (str) is a secret wherever it stands.
    Capitals make no difference, nor whether its words are joined by - or _ or a dot."""
    return _SECRET.fullmatch(re.sub("[_.]", "-", name.lower())) is not None


_LINE = re.compile(r"^([ \t]*(?:- )?)([A-Za-z][\w.-]*)([ \t]*[:=][ \t]*)\S.*$", re.MULTILINE)


def masked(value):
    """Data of an answer of Proxmox (anything JSON) with texts and lists of texts under secret names as ***. Of a text,
    such as a configuration, the lines "name: value" of such a name. Beside a value, `key` and `name` only name it
    ({key, value, pending} of ./pending; {Key, Values} of apt), so they stay, and the value goes when they name a
    secret. `data` and a digest alone are the text of /etc/hosts."""
    if isinstance(value, str):
        return _LINE.sub(lambda line: "".join(line.groups()) + MASK if is_secret(line.group(2)) else line.group(),
                         value)
    return _masked(value)


def _masked(value):
    if isinstance(value, list):
        return [_masked(part) for part in value]
    if not isinstance(value, dict):
        return value
    names = [key for key in ("key", "Key", "name") if key in value] if not _VALUES.isdisjoint(value) else []
    named = any(is_secret(str(value[key])) for key in names)
    harmless = ["data"] if value.keys() == {"data", "digest"} else names
    shown = {}
    for key, part in value.items():
        secret = named if key in _VALUES else is_secret(key) and key not in harmless
        texts = part if isinstance(part, list) else [part]
        secret = secret and bool(part) and all(isinstance(one, str) for one in texts)
        shown[key] = MASK if secret else _masked(part)
    return shown


# ------------------------------------------------------------------------------------------------------------- by value

_TOKEN_PATTERNS = (
    (re.compile(r"(PVEAPIToken[= ][^\s!'\"]*![^\s='\"]+=)[^\s'\",;]+"), r"\1" + MASK),
    (re.compile(r"(PVEAuthCookie=)[^\s'\";]+"), r"\1" + MASK),
    (re.compile(r"\b(PVE[A-Z]*:)(?:[^\s:'\"]+:)?[0-9A-F]{8}::[^\s'\"]+"), r"\1" + MASK),
)
_secrets, _forms = set(), ()    # all but those of a call, and how they may appear
_hiding = threading.Lock()


def hide(secret):
    """Make `scrub` replace this secret (str or None) from now on. Shorter than 5: ignored, for it would tear holes into
    everything (a token's value has 8 and more)."""
    global _forms
    if secret and len(secret) > 4:
        with _hiding:
            _secrets.add(secret)
            _forms = _written(*_secrets)


def _written(*secrets):
    """The forms in which secrets may appear, the longest first: as they are, as repr shows them, percent-encoded as in
    a path or a form."""
    from urllib.parse import quote
    return tuple(sorted({form for secret in secrets for form in (
        secret, repr(secret)[1:-1], quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace").replace("%20", "+"))}, key=len, reverse=True))


_here = threading.local()       # .forms: secrets of the call that this thread runs


def hide_here(secrets):
    """Make `scrub` replace these (texts) too in whatever this thread says, until the next hide_here. For the passwords
    of one call: some are ordinary words, and other answers must keep theirs."""
    _here.forms = _written(*(secret for secret in secrets if len(secret) > 3))


def scrub_ours(value):
    """As `scrub`, but for the secrets of this thread's call: for questions and records, where a caller must not be able
    to blank a text by calling it a password. What they show of arguments is masked by name."""
    return scrub(value, ())


def scrub(value, more=None):
    """A text, or every text in a list, tuple or dict, with registered secrets, those of this thread's call (or `more`),
    token headers and tickets as ***."""
    if more is None:
        more = getattr(_here, "forms", ())
    if isinstance(value, str):
        for form in _forms + more:
            if form in value:
                value = value.replace(form, MASK)
        if "PVE" in value:
            for pattern, replacement in _TOKEN_PATTERNS:
                value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return {scrub(key, more): item if type(item) is int else scrub(item, more) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item, more) for item in value]
    return value
