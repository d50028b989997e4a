"""Keeps secrets out of everything that leaves: `hide` registers one, `scrub` puts *** in its place.

In a module of its own so that the log can use it before the client (and `requests`) is imported.
"""
import re
import threading

_MASK = "***"
_TOKEN_PATTERNS = (
    (re.compile(r"(PVEAPIToken[= ][^\s!'\"]*![^\s='\"]+=)[^\s'\",;]+"), r"\1" + _MASK),
    (re.compile(r"(PVEAuthCookie=)[^\s'\";]+"), r"\1" + _MASK),
    (re.compile(r"\b(PVE[A-Z]*:)(?:[^\s:'\"]+:)?[0-9A-F]{8}::[^\s'\"]+"), r"\1" + _MASK),
)
_hidden = {}                    # secret as it may appear -> keep for good; the oldest others leave first
_forms = ()                     # its keys, longest first
_hidden_lock = threading.Lock()
_HIDDEN_MOST = 600


def hide(secret, for_good=False):
    """Make `scrub` replace this secret from now on, also where it is percent-encoded. Shorter than 5: ignored, for it
    would tear holes into everything (Proxmox takes no shorter password). The latest are kept; for_good ones always."""
    global _forms
    secret = str(secret or "")
    if len(secret) < 5:
        return
    with _hidden_lock:
        for form in _written(secret):
            _hidden[form] = _hidden.pop(form, False) or for_good
        extra = len(_hidden) - _HIDDEN_MOST
        if extra > 0:
            for form in [form for form, keep in _hidden.items() if not keep][:extra]:
                del _hidden[form]
        _forms = tuple(sorted(_hidden, key=len, reverse=True))


def _written(secret):
    """The forms in which a secret may appear: as it is, as repr shows it, percent-encoded as in a path or a form."""
    from urllib.parse import quote
    return {secret, repr(secret)[1:-1], quote(secret, safe="", errors="replace"),
            quote(secret, errors="replace").replace("%20", "+")}


_here = threading.local()       # .forms: secrets of the call that this thread runs


def hide_here(secrets):
    """Make `scrub` replace these (texts) too in whatever this thread says, until the next hide_here.

    For the passwords of one call: some are ordinary words, and other answers must keep theirs."""
    forms = {form for secret in secrets if len(secret) > 3 for form in _written(secret)}
    _here.forms = tuple(sorted(forms, key=len, reverse=True))


def scrub(value):
    """A text, or every text in a list, tuple or dict, with registered secrets, token headers and tickets as ***."""
    if isinstance(value, str):
        for form in _forms:
            if form in value:
                value = value.replace(form, _MASK)
        for form in getattr(_here, "forms", ()):
            if form in value:
                value = value.replace(form, _MASK)
        if "PVE" in value:
            for pattern, replacement in _TOKEN_PATTERNS:
                value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return {scrub(key): item if type(item) is int else scrub(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    return value
