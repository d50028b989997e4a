"""How a tool says that it did not do what was asked, and what can be done about it."""
import re

from tools.pve import advice, text


class Failure(Exception):
    """A tool that did not do what was asked: `headline` says what failed, str(error) why and what to do."""

    def __init__(self, reason, headline=None):
        super().__init__(text.capital(reason))
        self.headline = headline


class Refused(Failure):
    """Not allowed here, by a tier or a setting. Shown with the forbidden sign in place of the word Error."""


def refuse(refusal):
    """Refused as a Refusal of tools.policy says, unless it is None."""
    if refusal is not None:
        raise Refused(refusal.reason, refusal.headline)


class Declined(Failure):
    """The user was asked and did not say yes."""


class Changed(Failure):
    """The target is not any more what the user agreed to; since: when that was, "the user was asked"."""

    def __init__(self, since):
        super().__init__("The target has changed since %s. Look at it and call again." % since)


class EarlyResult(Exception):
    """Ends a handler early with another Result (a question to the model, say): .result."""

    def __init__(self, result):
        super().__init__(result.text)
        self.result = result


class TaskFailure(Failure):
    """A task that ended badly: its exit status, and the telling lines of its log."""

    def __init__(self, outcome):
        lines = ["The task %s failed: %s" % (outcome.type, text.line(outcome.exitstatus or "unknown", 1000))]
        if outcome.log:
            lines.append(text.quoted("\n".join(outcome.log), end=True))
        super().__init__("\n".join(lines + ["UPID: %s" % outcome.upid]))


def explained(error, table, kind, token_id):
    """The words of an error of Proxmox's (PveError, TaskFailure), what they mean by the first row of `table` (pattern,
    sentence with {kind}: vm or lxc) that fits; of a task's end else what tools.pve.advice knows of any request."""
    said = str(error)
    for pattern, sentence in table:
        if re.search(pattern, said):
            return "%s\n%s" % (said, sentence.replace("{kind}", "lxc" if kind == "lxc" else "vm"))
    if isinstance(error, TaskFailure):
        hint = advice.hint(None, said.split("\n")[0], token_id)[0] or advice.hint(None, said, token_id)[0]
        return "%s\n%s" % (said, hint) if hint else said
    return said
