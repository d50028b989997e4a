"""The audit log: a line before and after every attempt to change something."""


class Audit:
    """Writes to `path` (str), or nowhere when it is None; `scrub` takes secrets out of a value."""

    def __init__(self, path, scrub):
        self.path, self.scrub = path, scrub

    def begin(self, call, verb, path, params):
        """Note the intent; PveError when the log cannot be written. Returns what `end` and `task` want."""

    def end(self, entry, outcome, upid=None, error=None):
        """Note what Proxmox answered: outcome accepted, refused, unsent or unknown."""

    def task(self, entry, outcome):
        """Note how the task ended."""

    def scrubbed(self, params, call):
        """`params` (dict) with the values of secret arguments replaced by ***."""
        return self.scrub(dict(params))
