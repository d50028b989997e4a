"""Asking the user before something is lost: elicitation in both eras, a terminal, or a token for a second call.

Handlers call `call.confirm(describe)` and know nothing of it. What the client holds between question and answer is
bound to tool, arguments and what was found, expires, and is good for one answer: a requestState is signed with a key of
this process (MCP 2026-07-28 basic/patterns/mrtr) and holds digests only, no text, no secret; a confirm_token is a short
word, and this process keeps what it stands for. How a terminal asks is in tools.mcp.approval.
"""
from tools.base.answers import Result
from tools.base.failures import Changed, Declined, EarlyResult, Failure, Refused
from tools.base.row import title
from tools.base.schema import fields
from tools.mcp.approval import Approvals
from tools.mcp.message import INVALID_PARAMS, MISSING_CAPABILITY, RpcError
from tools.mcp.seals import LIFETIME, Declines, Signer, Tokens, digest
from tools.pve.text import plural

TOKEN = "confirm_token"     # the argument of a second call where PROXMOX_CONFIRM=token


class Consent:
    """The user's yes, as PROXMOX_CONFIRM (`mode`) wants it."""

    def __init__(self, mode, signer=None, tokens=None):
        self.mode, self.signer, self.tokens = mode, signer or Signer(), tokens or Tokens()
        self.declines = Declines()
        self.approvals = Approvals(self.declines)

    def close(self):
        """The process ends: what waits for an answer is withdrawn."""
        self.approvals.close()

    def of(self, request, changes=True):
        """What asks for one tools/call, before anything of it is sent. changes: whether its tool takes a confirm_token.

        RpcError for a requestState that is not ours, too old, used, or for another call; Failure for such a token.
        """
        arguments = request.params.get("arguments") or {}
        token = arguments.get(TOKEN) if changes and self.mode == "token" else None
        if token is not None and self.tokens.blocked():
            raise Failure("Too many wrong confirm_tokens: none is accepted for the next %s."
                          % plural(self.tokens.blocked(), "second"))
        held, keeper = (request.state, self.signer) if token is None else (token, self.tokens)
        if held is None:
            return _Asking(self, request, None)
        sealed = keeper.open(held)
        if sealed is not None and all(sealed[key] == value for key, value in bound(request).items()):
            return _Asking(self, request, sealed)
        if token is None:
            raise _bad_state()
        self.tokens.wrong()
        raise Failure("The confirm_token is not valid for this call: it belongs to another tool or to other "
                      "arguments, was already used, or is older than %d minutes. Call without it for a new one."
                      % (LIFETIME // 60))


class _Asking:
    """Asks for one tools/call; sealed: the payload of the requestState or token that it came with, or None."""

    def __init__(self, consent, request, sealed):
        self.consent, self.request, self.sealed = consent, request, sealed

    def ask(self, call, describe):
        """What `describe()` found, once the user (or the policy) agrees; Failure or Refused when not."""
        mode = self.consent.mode
        if mode == "token":
            return self._token(call, describe)
        if mode == "terminal":
            return self.consent.approvals.ask(call, describe, tuple(bound(self.request).values()))
        if mode != "off" and self.request.supports("elicitation"):
            return (self._modern if self.request.modern else self._legacy)(call, describe)
        if mode == "always":
            raise _cannot_ask(call)
        call.unasked = mode == "auto"
        return describe()[1]

    def _legacy(self, call, describe):
        """A real request to the client while the call waits; the target is read again when the answer is there."""
        question, found = describe()
        self.consent.declines.check(call, question)
        self._settle(call, self.request.ask(_form(call, question))["confirm"], question)
        call.forget()
        if digest(describe()[1]) != digest(found):
            raise Changed("the user was asked")
        return found

    def _modern(self, call, describe):
        """The first call ends with the question; the retry with the answer is a call of its own and reads again."""
        request, sealed = self.request, self.sealed
        question, found = describe()
        if sealed is None:
            self.consent.declines.check(call, question)
            request.responses = {}                              # an answer to no question of ours
            request.ask(_form(call, question), self.consent.signer.seal(dict(bound(request), found=digest(found))))
        if sealed["found"] != digest(found):
            raise Changed("the user was asked")
        answer = request.ask(_form(call, question), request.state)["confirm"]
        if not self.consent.signer.use(sealed):                 # it expired, or another retry was first
            raise _bad_state()
        self._settle(call, answer, question)
        return found

    def _settle(self, call, answer, question):
        """Failure unless the user agreed: accepted, and the box ticked (true, nothing that only looks like it)."""
        answer = answer if isinstance(answer, dict) else {}
        content, action = answer.get("content"), answer.get("action")
        if action == "accept" and isinstance(content, dict) and content.get("confirm") is True:
            return
        if action in ("accept", "decline"):             # a no, and not merely no answer
            self.consent.declines.note(call, question)
        raise Declined("%s\nIf no dialog appeared, the client cannot show one; the operator can set "
                       "PROXMOX_CONFIRM=token or terminal." % (
                           isinstance(action, str) and _NOT_AGREED.get(action) or "There was no answer from the user."),
                       "%s was not confirmed" % title(call.name))

    def _token(self, call, describe):
        """Two calls for any client: the first answers with the plan and a token, the second carries it."""
        sealed = self.sealed
        if sealed is None:
            question, found = describe()
            token = self.consent.tokens.seal(dict(bound(self.request), found=digest(found)))
            plan = ("Not done yet. %s\nTo do it, call %s again with the same arguments and this %s (valid once, for %d "
                    "minutes):\n%s" % (question, call.name, TOKEN, LIFETIME // 60, token))
            raise EarlyResult(Result(plan, {"done": False, TOKEN: token, "question": question}, "\u2753"))
        found = describe()[1]
        if sealed["found"] != digest(found):
            raise Changed("the confirm_token was given")
        if not self.consent.tokens.use(sealed):
            raise Failure("The confirm_token was already used. Call without it to get a new one.")
        return found


def bound(request):
    """What ties a question to a tools/call: the tool and its arguments, as the client wrote them."""
    arguments = request.params.get("arguments") or {}
    return {"tool": request.params["name"], "args": digest({key: arguments[key] for key in arguments if key != TOKEN})}


def _form(call, question):
    """The one input request: a form with one box to tick."""
    where = call.host.settings.cluster
    box = "%s %s%s?" % (title(call.name), getattr(call.args, "vmid", ""), " on cluster " + where if where else "")
    params = {"message": question,
              "requestedSchema": {"type": "object", "required": ["confirm"], "properties": {
                  "confirm": {"type": "boolean", "title": box.replace(" ?", "?"), "default": False}}}}
    if call.request.modern:
        params["mode"] = "form"
    return {"confirm": {"method": "elicitation/create", "params": params}}


#: What the user did, other than agree -> why nothing was done.
_NOT_AGREED = {"decline": "The user declined.", "cancel": "The question was closed without an answer.",
               "accept": "The user sent the form without ticking the box.",
               "none": "Nobody answered in time, so the question was withdrawn. Call again to have the user asked "
                       "again."}


def _bad_state():
    return RpcError(INVALID_PARAMS, "Invalid or expired requestState")


def _cannot_ask(call):
    """PROXMOX_CONFIRM=always and nobody to ask. Modern clients get the error for it (2026-07-28 basic/index, MUST)."""
    text = ("PROXMOX_CONFIRM=always requires the user's consent to this, and this client cannot ask for it (it "
            "declares no form elicitation). The operator can set PROXMOX_CONFIRM=terminal, token or auto.")
    refusal = Refused(text, "%s needs the user's confirmation" % title(call.name))
    if not call.request.modern:
        return refusal
    call.host.audit.refused(call.host.entries[call.name], fields(call.tool.args),
                            call.request.params.get("arguments") or {}, refusal, call.host.settings, call.request,
                            call.args)
    return RpcError(MISSING_CAPABILITY, text, {"requiredCapabilities": {"elicitation": {}}})
