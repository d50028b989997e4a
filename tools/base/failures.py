"""How a tool says that it did not do what was asked."""


class Failure(Exception):
    """A tool that did not do what was asked: `headline` says what failed, str(error) why and what to do."""

    def __init__(self, reason, headline=None):
        super().__init__(reason)
        self.headline = headline


class Refused(Failure):
    """Not allowed here, by a tier or a setting. Shown with the forbidden sign in place of the word Error."""


class Declined(Failure):
    """The user was asked and did not say yes."""


class Instead(Exception):
    """Ends a handler early with another Result (a question to the model, say): .result."""

    def __init__(self, result):
        super().__init__(result.text)
        self.result = result
