"""Asking the user before something is lost: elicitation in both eras, a terminal, or a token for a second call.

Handlers call `call.confirm(describe)` and know nothing of it. However it is asked, a yes is bound to tool, arguments
and what was found, expires, and is good once. A requestState (MCP 2026-07-28 basic/patterns/mrtr) and a confirm_token
are words; what they stand for is kept here, and void after a restart. How a terminal asks is in tools.mcp.approval.
"""
import hashlib
import json
import math
import secrets
import threading
import time

from tools.base.answers import Result
from tools.base.failures import Changed, Declined, EarlyResult, Failure, Refused
from tools.base.row import title
from tools.base.schema import fields
from tools.mcp.approval import LIFETIME, Approvals
from tools.mcp.message import INVALID_PARAMS, MISSING_CAPABILITY, RpcError
from tools.policy.journal import LETTERS
from tools.pve.text import plural

TOKEN = "confirm_token"     # the argument of a second call where PROXMOX_CONFIRM=token
QUIET = 120                 # seconds for which a question is not asked again that the user said no to


class Consent:
    """The user's yes, as PROXMOX_CONFIRM (`mode`) wants it."""

    def __init__(self, mode, clock=time.monotonic):
        self.mode, self.states, self.tokens = mode, Kept(26, clock), Kept(8, clock)
        self.approvals, self._no = Approvals(), {}      # what the user said no to -> when it may be asked again

    def close(self):
        """The process ends: what waits for an answer is withdrawn."""
        self.approvals.close()

    def declined(self, call, question):
        """Note that the user said no: asked at once again, one may get a yes from somebody who is tired of it."""
        now = call.host.clock()
        self._no = {asked: end for asked, end in self._no.items() if end > now}
        self._no[question] = now + QUIET

    def check(self, call, question):
        """Declined when the user said no a moment ago to what is asked, whatever else the call, or a run, asks too."""
        if any(asked in question and end > call.host.clock() for asked, end in list(self._no.items())):
            raise Declined("The user declined this less than %d minutes ago, and is not asked the same again so soon. "
                           "Do not repeat the call: ask what the user wants instead." % (QUIET // 60))

    def of(self, request, changes=True):
        """What asks for one tools/call. changes: whether its tool takes a confirm_token. RpcError for a requestState,
        Failure for a token that is not ours, too old, used, or for another call."""
        arguments = request.params.get("arguments") or {}
        token = arguments.get(TOKEN) if changes and self.mode == "token" else None
        held, kept = (request.state, self.states) if token is None else (token, self.tokens)
        if held is None:
            return _Asking(self, request, None)
        if token is not None and kept.blocked():
            raise Failure("Too many wrong confirm_tokens: none is accepted for the next %s."
                          % plural(kept.blocked(), "second"))
        sealed = kept.open(held)
        if sealed is not None and all(sealed[key] == value for key, value in bound(request).items()):
            return _Asking(self, request, sealed)
        if token is None:
            raise _bad_state()
        kept.wrong()
        raise Failure("The confirm_token is not valid for this call: it belongs to another tool or to other "
                      "arguments, was already used, or is older than %d minutes. Call without it for a new one."
                      % (LIFETIME // 60))


class _Asking:
    """Asks for one tools/call; sealed: what the requestState or token stands for that it came with, or None."""

    def __init__(self, consent, request, sealed):
        self.consent, self.request, self.sealed = consent, request, sealed

    def ask(self, call, describe):
        """What `describe()` found, once the user (or the policy) agrees; Failure or Refused when not."""
        mode = self.consent.mode
        ask = {"token": self._token, "terminal": self._terminal}.get(mode)
        if ask is None and mode != "off" and self.request.supports("elicitation"):
            ask = self._modern if self.request.modern else self._legacy
        if ask is None:
            if mode == "always":
                raise _cannot_ask(call)
            call.unasked = mode == "auto"
            return describe()[1]
        question, found = describe()
        seen = digest(found)
        if self.sealed is None:
            self.consent.check(call, question)
        elif self.sealed["found"] != seen:
            raise Changed("the confirm_token was given" if mode == "token" else "the user was asked")
        if ask(call, question, seen):
            call.forget()
            if digest(describe()[1]) != seen:
                raise Changed("the user was asked")
        return found

    # -- the ways of asking: each ends with a yes, and returns whether the call waited for it

    def _legacy(self, call, question, seen):
        """A real request to the client while the call waits."""
        self._settle(call, self.request.ask(_form(call, question))["confirm"], question)
        return True

    def _modern(self, call, question, seen):
        """The first call ends with the question; the retry with the answer is a call of its own and reads again."""
        request, form, states = self.request, _form(call, question), self.consent.states
        if self.sealed is None:
            request.responses = {}                              # an answer to no question of ours
            request.ask(form, states.seal(dict(bound(request), found=seen)))
        answer = request.ask(form, request.state)["confirm"]
        if not states.use(self.sealed):                         # it expired, or another retry was first
            raise _bad_state()
        self._settle(call, answer, question)

    def _token(self, call, question, seen):
        """Two calls for any client: the first answers with the plan and a token, the second carries it."""
        if self.sealed is None:
            token = self.consent.tokens.seal(dict(bound(self.request), found=seen))
            plan = ("Not done yet. %s\nTo do it, call %s again with the same arguments and this %s (valid once, for %d "
                    "minutes):\n%s" % (question, call.name, TOKEN, LIFETIME // 60, token))
            raise EarlyResult(Result(plan, {"done": False, TOKEN: token, "question": question}, "\u2753"))
        if not self.consent.tokens.use(self.sealed):
            raise Failure("The confirm_token was already used. Call without it to get a new one.")

    def _terminal(self, call, question, seen):
        """A file that `proxmox-mcp approve` shows; a call that waits in vain is made again."""
        if not self.consent.approvals.ask(call, question, seen, tuple(bound(self.request).values())):
            self._settle(call, {"action": "decline"}, question)
        return True

    def _settle(self, call, answer, question):
        """Failure unless the user agreed: accepted, and the box ticked (true, nothing that only looks like it)."""
        answer = answer if isinstance(answer, dict) else {}
        content, action = answer.get("content"), answer.get("action")
        if action == "accept" and isinstance(content, dict) and content.get("confirm") is True:
            return
        if action in ("accept", "decline"):             # a no, and not merely no answer
            self.consent.declined(call, question)
        why = isinstance(action, str) and _NOT_AGREED.get(action) or "There was no answer from the user."
        if self.consent.mode != "terminal":
            why += ("\nIf no dialog appeared, the client cannot show one; the operator can set PROXMOX_CONFIRM=token "
                    "or terminal.")
        raise Declined(why)


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


# --------------------------------------------------------------------------------------------- what is kept meanwhile

class Kept:
    """Small dicts, kept for LIFETIME seconds under words of random letters that the client holds; the newest MOST. Who
    guesses one of 8 letters has 31^8 to try and WRONG a minute."""

    MOST, WRONG, MINUTE = 100, 5, 60

    def __init__(self, letters, clock=time.monotonic):
        self._letters, self._clock, self._lock = letters, clock, threading.Lock()
        self._kept, self._wrong = {}, []                # word -> payload, the oldest first; when wrong ones came

    def seal(self, payload):
        """A word that `open` gives the dict `payload` back for."""
        word = "".join(secrets.choice(LETTERS) for _ in range(self._letters))
        with self._lock:
            now = self._clock()
            kept = [one for one in self._kept.items() if one[1]["exp"] >= now][1 - self.MOST:]
            self._kept = dict(kept, **{word: dict(payload, exp=now + LIFETIME, word=word)})
        return word

    def open(self, word):
        """What a word stands for; None when it was not made here, has expired, or was used."""
        with self._lock:
            payload = self._kept.get(word) if isinstance(word, str) else None
            return payload if payload and self._clock() <= payload["exp"] else None

    def use(self, payload):
        """Mark a word as used; False when it was already (of two at the same time one gets True) or has expired."""
        with self._lock:
            return self._kept.pop(payload["word"], None) is not None and self._clock() <= payload["exp"]

    def wrong(self):
        """Note that a wrong one came."""
        with self._lock:
            self._wrong = self._wrong[1 - self.WRONG:] + [self._clock()]

    def blocked(self):
        """Seconds for which none is taken, since too many wrong ones came; 0 when that is not so."""
        with self._lock:
            left = self._wrong[0] + self.MINUTE - self._clock() if len(self._wrong) == self.WRONG else 0
            return max(0, math.ceil(left))


def digest(value):
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("ascii")).hexdigest()
