"""Asking the user before something is lost: elicitation in both eras, or a signed token that a second call carries.

Handlers call `call.confirm(describe)` and know nothing of it. What the client holds between the question and the answer
(requestState, confirm_token) is signed with a key of this process, bound to tool, arguments and what was found, expires, and
is good for one answer (MCP 2026-07-28 basic/patterns/mrtr).
"""
import base64
import hashlib
import hmac
import json
import os
import threading
import time

from tools.kit import Failure, Instead, Refused, Result, title
from tools.mcp.server import INVALID_PARAMS, RpcError

LIFETIME = 300          # seconds that a question or a token is good for


class Signer:
    """Seals small dicts for the client to hold. The key never leaves the process; a restart makes every seal void."""

    def __init__(self, clock=time.monotonic):
        self._key, self._clock, self._lock = os.urandom(32), clock, threading.Lock()
        self._used = {}                                 # nonce -> when it expires

    def seal(self, payload):
        """Text that `open` gives the dict `payload` back for, for LIFETIME seconds."""
        payload = dict(payload, exp=self._clock() + LIFETIME, nonce=os.urandom(12).hex())
        body = base64.urlsafe_b64encode(json.dumps(payload, sort_keys=True).encode()).decode().rstrip("=")
        return "v1.%s.%s" % (body, self._mac(body))

    def _mac(self, body):
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()

    def open(self, sealed):
        """The dict of a seal; None when it was not made here, was changed, has expired or was used."""
        parts = sealed.split(".") if isinstance(sealed, str) and sealed.isascii() else []
        if len(parts) != 3 or parts[0] != "v1" or not hmac.compare_digest(parts[2], self._mac(parts[1])):
            return None
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        with self._lock:
            if payload["exp"] < self._clock() or payload["nonce"] in self._used:
                return None
        return payload

    def use(self, payload):
        """Mark a seal as used; False when it was already."""
        with self._lock:
            now = self._clock()
            self._used = {nonce: end for nonce, end in self._used.items() if end >= now}
            if payload["nonce"] in self._used:
                return False
            self._used[payload["nonce"]] = payload["exp"]
            return True


def digest(value):
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class Consent:
    """The user's yes, as PROXMOX_CONFIRM (`mode`) wants it."""

    def __init__(self, mode, signer=None):
        self.mode, self.signer = mode, signer or Signer()

    def check_state(self, request, name, arguments):
        """Refuse a retry whose requestState is not ours, too old, used, or for another call; nothing was sent yet."""
        if request.state is None:
            return
        sealed = self.signer.open(request.state)
        if sealed is None or sealed.get("tool") != name or sealed.get("args") != digest(arguments):
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        request.sealed = sealed

    def ask(self, call, describe):
        """What `describe()` found, once the user (or the policy) agrees; Failure or Refused when not."""
        if self.mode == "off":
            return describe()[1]
        if self.mode == "token":
            return self._token(call, describe)
        if not call.request.supports("elicitation"):
            if self.mode == "always":
                raise Refused("PROXMOX_CONFIRM=always asks the user before this, and this client cannot ask (it declares no form "
                              "elicitation). Nothing was done. The operator can set PROXMOX_CONFIRM=token or auto.",
                              "%s needs the user's confirmation" % call.name)
            return describe()[1]
        return self._elicit(call, describe)

    def _elicit(self, call, describe):
        request = call.request
        sealed = getattr(request, "sealed", None)
        question, found = describe()
        if sealed is not None and sealed["found"] != digest(found):
            raise Failure("The target changed since the user was asked. Nothing was done; look at it and call again.")
        state = None
        if request.modern:
            state = request.state if sealed is not None else self.signer.seal(
                {"tool": call.name, "args": digest(request.arguments), "found": digest(found)})
        answers = request.ask({"confirm": {"method": "elicitation/create", "params": _form(call, question, request.modern)}},
                              state)
        if sealed is not None and not self.signer.use(sealed):
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        if request.modern and sealed is None:
            raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
        answer = answers["confirm"]
        if not _accepted(answer):
            raise Failure("%s\nNothing was changed. If you saw no dialog, your client does not show it; the operator can set "
                          "PROXMOX_CONFIRM=token." % _why_not(answer), "%s was not confirmed" % title(call.name))
        if not request.modern:
            call.forget()
            if digest(describe()[1]) != digest(found):
                raise Failure("The target changed while the user was asked. Nothing was done; look at it and call again.")
        return found

    def _token(self, call, describe):
        given = getattr(call.request, "confirm_token", None)
        if given is None:
            question, found = describe()
            token = self.signer.seal({"tool": call.name, "args": digest(call.request.arguments), "found": digest(found)})
            raise Instead(Result("Not done yet: %s\nTo do it, call %s again with the same arguments and this confirm_token "
                                 "(good for %d minutes, once):\n%s" % (question, call.name, LIFETIME // 60, token),
                                 {"status": "confirmation-required", "confirm_token": token, "plan": question}, "\u2753"))
        sealed = self.signer.open(given)
        if sealed is None or sealed["tool"] != call.name or sealed["args"] != digest(call.request.arguments):
            raise Failure("The confirm_token is not valid for this call: it is for other arguments, was used, or is older than "
                          "%d minutes. Nothing was sent. Call without it to get a new one." % (LIFETIME // 60))
        question, found = describe()
        if sealed["found"] != digest(found):
            raise Failure("The target changed since the confirm_token was given. Nothing was done; call without it to see the "
                          "new plan.")
        if not self.signer.use(sealed):
            raise Failure("The confirm_token was used already. Nothing was done; call without it to get a new one.")
        return found


def _form(call, question, modern):
    params = {"message": question,
              "requestedSchema": {"type": "object", "required": ["confirm"], "properties": {
                  "confirm": {"type": "boolean", "title": title(call.name) + "?", "default": False}}}}
    if modern:
        params["mode"] = "form"
    return params


def _accepted(answer):
    return (isinstance(answer, dict) and answer.get("action") == "accept" and isinstance(answer.get("content"), dict)
            and answer["content"].get("confirm") is True)


def _why_not(answer):
    action = answer.get("action") if isinstance(answer, dict) else None
    return {"decline": "The user declined.", "cancel": "The question was closed without an answer.",
            "accept": "The user did not tick the box."}.get(action, "There was no answer from the user.")
