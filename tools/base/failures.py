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


class Declined(Failure):
    """The user was asked and did not say yes."""


class EarlyResult(Exception):
    """Ends a handler early with another Result (a question to the model, say): .result."""

    def __init__(self, result):
        super().__init__(result.text)
        self.result = result


def explained(call, error, table):
    """`error` (PveError or Failure) with what its words mean and what can be done, from the first row of `table`,
    (pattern, sentence), whose pattern is in them; {kind} in a sentence is vm or lxc.

    For the end of a task that is in no row: what tools.pve.advice knows of any request. A refused one says it already.
    """
    said, sentence = str(error), ""
    for pattern, words in table:
        if re.search(pattern, said):
            sentence = words.replace("{kind}", "lxc" if call.kind == "lxc" else "vm")
            break
    else:
        if type(error) is Failure:
            sentence = advice.hint(None, said.split("\n")[0], call.host.settings.token_id)[0]
    if sentence and not isinstance(error, Refused):
        error.args = ("%s\n%s" % (said, sentence),)
    return error


def task_failure(outcome):
    """Why a task failed: its exit status and the telling lines of its log."""
    lines = ["The task %s failed: %s" % (outcome.type, text.line(outcome.exitstatus or "unknown", 1000))]
    if outcome.log:
        lines.append(text.quoted("\n".join(outcome.log), end=True))
    lines.append("UPID: %s" % outcome.upid)
    return "\n".join(lines)
