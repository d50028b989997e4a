"""Asking the user before something is lost: elicitation in both eras, or a signed token that a second call carries.

Handlers call `call.confirm(describe)` and know nothing of it. What the client holds between question and answer
(requestState, confirm_token) is signed with a key of this process, bound to tool, arguments and what was found,
expires, and is good for one answer (MCP 2026-07-28 basic/patterns/mrtr). It holds digests only, no text, no secret.
"""
import base64
import hashlib
import hmac
import json
import os
import threading
import time

from tools.base.answers import Result
from tools.base.failures import Declined, EarlyResult, Failure, Refused
from tools.base.row import title
from tools.mcp.engine import INVALID_PARAMS, MISSING_CAPABILITY, RpcError

LIFETIME = 300          # seconds that a question or a token is good for
TOKEN = "confirm_token"     # the argument of a second call where PROXMOX_CONFIRM=token


class Signer:
    """Seals small dicts for the client to hold. The key never leaves the process; a restart makes every seal void."""

    def __init__(self, clock=time.monotonic):
        self._key, self._clock, self._lock = os.urandom(32), clock, threading.Lock()
        self._used = {}                                 # nonce -> when it expires

    def seal(self, payload):
        """Text that `open` gives the dict `payload` back for, for LIFETIME seconds."""
        payload = dict(payload, exp=self._clock() + LIFETIME, nonce=os.urandom(12).hex())
        body = base64.urlsafe_b64encode(json.dumps(payload, sort_keys=True).encode("ascii")).decode("ascii").rstrip("=")
        return "v1.%s.%s" % (body, self._mac(body))

    def _mac(self, body):
        return hmac.new(self._key, body.encode("ascii"), hashlib.sha256).hexdigest()

    def open(self, sealed):
        """The dict of a seal; None when it was not made here, was changed, has expired or was used."""
        parts = sealed.split(".") if isinstance(sealed, str) and sealed.isascii() else []
        if len(parts) != 3 or parts[0] != "v1" or not hmac.compare_digest(parts[2], self._mac(parts[1])):
            return None
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        with self._lock:
            return payload if self._clock() <= payload["exp"] and payload["nonce"] not in self._used else None

    def use(self, payload):
        """Mark a seal as used; False when it was already (of two at the same time one gets True) or has expired."""
        with self._lock:
            now = self._clock()
            self._used = {nonce: end for nonce, end in self._used.items() if end >= now}
            if payload["nonce"] in self._used or now > payload["exp"]:
                return False
            self._used[payload["nonce"]] = payload["exp"]
            return True


def digest(value):
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("ascii")).hexdigest()


class Consent:
    """The user's yes, as PROXMOX_CONFIRM (`mode`) wants it."""

    def __init__(self, mode, signer=None):
        self.mode, self.signer = mode, signer or Signer()

    def of(self, request, changes=True):
        """What asks for one tools/call, before anything of it is sent. changes: whether its tool takes a confirm_token.

        RpcError for a requestState that is not ours, too old, used, or for another call; Failure for such a token.
        """
        arguments = request.params.get("arguments") or {}
        token = arguments.get(TOKEN) if changes and self.mode == "token" else None
        held = request.state if token is None else token
        sealed = None if held is None else self._opened(held, request)
        if sealed is None and token is not None:
            raise Failure("The confirm_token is not valid for this call: it belongs to another tool or to other "
                          "arguments, was already used, or is older than %d minutes. Call without it for a new one."
                          % (LIFETIME // 60))
        if sealed is None and held is not None:
            raise _bad_state()
        return _Asking(self, request, sealed)

    def sealed(self, request, found):
        """A seal (text) on what was found, good for this very tools/call."""
        return self.signer.seal(dict(_bound(request), found=digest(found)))

    def _opened(self, sealed, request):
        """The payload of a seal that is good for this very tools/call, or None."""
        payload = self.signer.open(sealed)
        return payload if payload and all(payload[key] == value for key, value in _bound(request).items()) else None


class _Asking:
    """Asks for one tools/call; sealed: the payload of the requestState or token that it came with, or None."""

    def __init__(self, consent, request, sealed):
        self.consent, self.request, self.sealed = consent, request, sealed

    def ask(self, call, describe):
        """What `describe()` found, once the user (or the policy) agrees; Failure or Refused when not."""
        mode = self.consent.mode
        if mode == "token":
            return self._token(call, describe)
        if mode != "off" and self.request.supports("elicitation"):
            return (self._modern if self.request.modern else self._legacy)(call, describe)
        if mode == "always":
            raise _cannot_ask(call)
        return describe()[1]

    def _legacy(self, call, describe):
        """A real request to the client while the call waits; the target is read again when the answer is there."""
        question, found = describe()
        _settle(call, self.request.ask(_form(call, question))["confirm"])
        call.forget()
        if digest(describe()[1]) != digest(found):
            raise _changed("the user was asked")
        return found

    def _modern(self, call, describe):
        """The first call ends with the question; the retry with the answer is a call of its own and reads anew."""
        request, sealed = self.request, self.sealed
        question, found = describe()
        if sealed is None:
            request.responses = {}                              # an answer to no question of ours
            request.ask(_form(call, question), self.consent.sealed(request, found))
        if sealed["found"] != digest(found):
            raise _changed("the user was asked")
        answer = request.ask(_form(call, question), request.state)["confirm"]
        if not self.consent.signer.use(sealed):                 # it expired, or another retry was first
            raise _bad_state()
        _settle(call, answer)
        return found

    def _token(self, call, describe):
        """Two calls for any client: the first answers with the plan and a token, the second carries it."""
        sealed = self.sealed
        if sealed is None:
            question, found = describe()
            token = self.consent.sealed(self.request, found)
            plan = ("Not done yet. %s\nTo do it, call %s again with the same arguments and this %s (valid once, for %d "
                    "minutes):\n%s" % (question, call.name, TOKEN, LIFETIME // 60, token))
            raise EarlyResult(Result(plan, {"status": "confirmation-required", TOKEN: token, "plan": question},
                                     "\u2753"))
        found = describe()[1]
        if sealed["found"] != digest(found):
            raise _changed("the confirm_token was given")
        if not self.consent.signer.use(sealed):
            raise Failure("The confirm_token was already used. Call without it to get a new one.")
        return found


def _bound(request):
    """What ties a seal to a tools/call: the tool and its arguments, as the client wrote them."""
    arguments = request.params.get("arguments") or {}
    return {"tool": request.params["name"], "args": digest({key: arguments[key] for key in arguments if key != TOKEN})}


def _form(call, question):
    """The one input request: a form with one box to tick."""
    box = "%s %s?" % (title(call.name), getattr(call.args, "vmid", ""))
    params = {"message": question,
              "requestedSchema": {"type": "object", "required": ["confirm"], "properties": {
                  "confirm": {"type": "boolean", "title": box.replace(" ?", "?"), "default": False}}}}
    if call.request.modern:
        params["mode"] = "form"
    return {"confirm": {"method": "elicitation/create", "params": params}}


#: What the user did, other than agree -> why nothing was done.
_NOT_AGREED = {"decline": "The user declined.", "cancel": "The question was closed without an answer.",
               "accept": "The user sent the form without ticking the box."}


def _settle(call, answer):
    """Failure unless the user agreed: accepted, and the box ticked (true, nothing that only looks like it)."""
    answer = answer if isinstance(answer, dict) else {}
    content = answer.get("content")
    if answer.get("action") == "accept" and isinstance(content, dict) and content.get("confirm") is True:
        return
    why = _NOT_AGREED.get(answer.get("action")) if isinstance(answer.get("action"), str) else None
    raise Declined("%s\nIf no dialog appeared, the client cannot show one; the operator can set "
                   "PROXMOX_CONFIRM=token." % (why or "There was no answer from the user."),
                   "%s was not confirmed" % title(call.name))


def _changed(since):
    return Failure("The target has changed since %s. Look at it and call again." % since)


def _bad_state():
    return RpcError(INVALID_PARAMS, "Invalid or expired requestState")


def _cannot_ask(call):
    """PROXMOX_CONFIRM=always and nobody to ask. Modern clients get the error for it (2026-07-28 basic/index, MUST)."""
    text = ("PROXMOX_CONFIRM=always requires the user's consent to this, and this client cannot ask for it (it "
            "declares no form elicitation). The operator can set PROXMOX_CONFIRM=token or auto.")
    refusal = Refused(text, "%s needs the user's confirmation" % title(call.name))
    if not call.request.modern:
        return refusal
    call.host.audit.refused(call.host.entries[call.name], call.request.params.get("arguments") or {}, refusal,
                            call.host.settings, call.request, call.args)
    return RpcError(MISSING_CAPABILITY, text, {"requiredCapabilities": {"elicitation": {}}})
