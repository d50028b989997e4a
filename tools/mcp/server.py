"""The protocol engine: messages in, messages out, both eras of MCP. It knows nothing of Proxmox; an `app` does.

Legacy is the handshake of 2024-11-05 to 2025-11-25 (its state belongs to the process), modern the stateless requests of
2026-07-28 that carry their protocol version in `_meta`. Each request is classified by itself (basic/versioning).

An app has: tools(), call_tool(request, name, arguments), resources(request), resource_templates(), read_resource(request, uri),
prompts(), get_prompt(request, name, arguments), complete(request, ref, argument, context); and the attributes `capabilities`
(dict) and `tools_scope` ("public" or "private"). It is made by `load` when the first request needs it.
"""
import threading
import time

from tools.mcp.wire import BadLine, TooLong, decode, encode

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
LATEST_LEGACY = LEGACY[-1]
META = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY, LOG_LEVEL_KEY = META + "protocolVersion", META + "clientCapabilities", META + "logLevel"
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
RESOURCE_NOT_FOUND, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32002, -32021, -32022

MOST_IN_FLIGHT = 64             # requests worked on at once; more are refused
PROGRESS_EVERY = 0.5            # seconds between two progress notifications
ELICITATION_LIMIT = 600         # seconds to wait for the user's answer (legacy)
GRACE, WRITE_GRACE = 1.5, 8.0   # seconds to finish at the end of the input: reads, writes that are under way


class RpcError(Exception):
    """A JSON-RPC error: code, message, data."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.data = code, data


class InputRequired(Exception):
    """A modern request that needs the user's input first: inputs {name: {"method", "params"}}, state (str or None)."""

    def __init__(self, inputs, state):
        super().__init__("input required")
        self.inputs, self.state = inputs, state


class NotFound(LookupError):
    """A resource that does not exist; .uri."""

    def __init__(self, uri):
        super().__init__(uri)
        self.uri = uri


class Cancelled(Exception):
    """The client cancelled the request: nothing more is sent for it."""


class Request:
    """One request of the client: what it asks, what its client can do, and the ways to talk to it while it runs."""

    def __init__(self, server, message, version, capabilities, reply):
        self.server, self.id, self.method = server, message["id"], message["method"]
        self.params = message.get("params") or {}
        self.version, self.modern, self.capabilities = version, version in MODERN, capabilities
        self.reply = reply                  # function of the answer; None says that there will be none
        self.cancelled = threading.Event()
        self.writing = False                # a change is on its way to Proxmox
        meta = self.params.get("_meta") or {}
        token = meta.get("progressToken")
        self._token = token if isinstance(token, (str, int)) and not isinstance(token, bool) else None
        self._progress, self._told = -1.0, None
        self.state = self.params.get("requestState")
        self.responses = self.params.get("inputResponses") or {}

    def progress(self, percent, message=None, total=100):
        """Tell the client how far it is (basic/utilities/progress): strictly more each time, at most two a second."""
        if self._token is None or self.cancelled.is_set():
            return
        now = time.monotonic()
        value = self._progress + 0.01 if percent is None else percent
        if value <= self._progress or (self._told is not None and now - self._told < PROGRESS_EVERY and total == 100):
            return
        self._progress, self._told = value, now
        params = {"progressToken": self._token, "progress": max(0, round(value, 2))}
        if percent is not None:
            params["total"] = total
        if message and self.version != "2024-11-05":
            params["message"] = message
        self.server.notify("notifications/progress", params)

    def supports(self, kind):
        """Whether the client declared the input `kind` (elicitation, sampling, roots); elicitation means forms."""
        declared = self.capabilities.get(kind)
        if not isinstance(declared, dict):
            return False
        if kind == "elicitation":
            return (self.modern or self.version >= "2025-06-18") and (not declared or "form" in declared)
        return True

    def ask(self, inputs, state=None):
        """{name: the client's result} for inputs {name: {"method", "params"}}.

        Legacy: real requests to the client, answered while this one waits; None for one that the client refused.
        Modern: what the retry carries; without it InputRequired ends this request (basic/patterns/mrtr). `state` is signed by
        the caller.
        """
        if self.modern:
            if not all(name in self.responses for name in inputs):
                raise InputRequired(inputs, state)
            return {name: self.responses[name] for name in inputs}
        return {name: self.server.ask_client(self, entry["method"], entry["params"]) for name, entry in inputs.items()}


class Method:
    """A row of METHODS: what serves it, in which eras, whether in a thread of its own, what a cache may do with the result."""

    __slots__ = ("handler", "legacy", "modern", "threaded", "ttl", "scope", "capability")

    def __init__(self, handler, legacy=True, modern=True, threaded=False, ttl=None, scope="private", capability=None):
        self.handler, self.legacy, self.modern, self.threaded = handler, legacy, modern, threaded
        self.ttl, self.scope, self.capability = ttl, scope, capability


class Server:
    """The engine. write(bytes) sends a line; load() makes the app; info: name, title, version, instructions, capabilities."""

    def __init__(self, write, load, info, log=lambda level, event, **fields: None):
        self._write, self._load, self.info, self.log = write, load, info, log
        self._app, self._app_lock = None, threading.Lock()
        self._lock = threading.Lock()               # around the output and the two tables below
        self._running = {}                          # key of id -> Request
        self._asked = {}                            # id of our request -> [Event, result or None]
        self._next_ask = 0
        self.version, self.capabilities = None, {}  # of the legacy handshake

    @property
    def app(self):
        """What is served; made when first needed."""
        if self._app is None:
            with self._app_lock:
                if self._app is None:
                    self._app = self._load()
        return self._app

    # -- output

    def send(self, message):
        """Write one message (dict or list)."""
        line = encode(message)
        with self._lock:
            self._write(line)

    def notify(self, method, params):
        """Send a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask_client(self, request, method, params):
        """The result (dict) of a request to a legacy client, sent while `request` waits; None when it was refused.

        Cancelled when `request` is cancelled meanwhile, or the client is gone; the question is then withdrawn.
        """
        answer = [threading.Event(), None]
        with self._lock:
            self._next_ask += 1
            ask_id = "srv-%d" % self._next_ask
            self._asked[ask_id] = answer
        self.send({"jsonrpc": "2.0", "id": ask_id, "method": method, "params": params})
        end = time.monotonic() + ELICITATION_LIMIT
        try:
            while not answer[0].wait(0.05 if request.cancelled.is_set() else min(0.25, max(0.0, end - time.monotonic()))):
                if request.cancelled.is_set() or time.monotonic() >= end:
                    self.notify("notifications/cancelled", {"requestId": ask_id, "reason": "no longer needed"})
                    if request.cancelled.is_set():
                        raise Cancelled()
                    return None
        finally:
            with self._lock:
                self._asked.pop(ask_id, None)
        return answer[1]

    # -- input

    def receive(self, line):
        """Serve one line (bytes or TooLong)."""
        if line is TooLong:
            return self.send(_error(None, PARSE_ERROR, "Parse error: the line is too long"))
        try:
            message = decode(line)
        except BadLine as error:
            return self.send(_error(None, PARSE_ERROR, "Parse error: %s" % error))
        if isinstance(message, list):
            return self._batch(message)
        self._message(message, self._reply)

    def _reply(self, answer):
        if answer is not None:
            self.send(answer)

    def _batch(self, messages):
        """JSON-RPC batches exist in 2025-03-26 alone: one array answers those that are requests."""
        if self.version != "2025-03-26" or not messages:
            return self.send(_error(None, INVALID_REQUEST, "Invalid request: " + (
                "an empty batch" if not messages else "batches are not part of this protocol revision")))
        replies, lock = [], threading.Lock()
        waiting = [sum(_kind(message) in ("request", "invalid") for message in messages)]

        def collect(reply):
            with lock:
                if reply is not None:
                    replies.append(reply)
                waiting[0] -= 1
                last = waiting[0] == 0
            if last and replies:
                self.send(replies)
        for message in messages:
            if _kind(message) == "request" and message["method"] == "initialize":
                collect(_error(message["id"], INVALID_REQUEST, "Invalid request: initialize must not be in a batch"))
            else:
                self._message(message, collect)

    def _message(self, message, reply):
        """Serve one message. reply(dict) answers a request; reply(None) says that there will be none."""
        kind = _kind(message)
        if kind == "response":
            return self._response(message)
        if kind == "notification":
            return self._notification(message["method"], message.get("params"))
        if kind == "invalid":
            return reply(_invalid(message))
        try:
            request = self._accept(message, reply)
        except RpcError as error:
            return reply(_error(message["id"], error.code, str(error), error.data))
        row = METHODS[request.method]
        if not row.threaded:
            return self._serve(request, row)
        threading.Thread(target=self._serve, args=(request, row), daemon=True).start()

    def _response(self, message):
        with self._lock:
            waiting = self._asked.get(message.get("id")) if isinstance(message.get("id"), str) else None
        if waiting:
            result = message.get("result")
            waiting[1] = result if isinstance(result, dict) else None
            waiting[0].set()

    def _notification(self, method, params):
        if method == "notifications/cancelled" and isinstance(params, dict):
            with self._lock:
                request = self._running.get(_key(params.get("requestId")))
            if request is not None and request.method != "initialize":
                request.cancelled.set()

    def _accept(self, message, reply):
        """The Request of a message, registered as running; RpcError for one that cannot be served."""
        method, params = message["method"], message.get("params")
        if params is None:
            params = {}
        elif not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: params must be an object")
        meta = params.get("_meta")
        if meta is not None and not isinstance(meta, dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: _meta must be an object")
        claim = (meta or {}).get(VERSION_KEY)
        modern = VERSION_KEY in (meta or {}) and not (method == "initialize" and claim not in MODERN)
        row = METHODS.get(method)
        if modern:
            self._check_envelope(meta, claim)
            version, capabilities = claim, meta[CAPABILITIES_KEY]
        else:
            version, capabilities = self.version, self.capabilities
        if row is None or not (row.modern if modern else row.legacy or not self.version) or (
                row.capability and row.capability not in self._capabilities(version)):
            raise RpcError(METHOD_NOT_FOUND, "Method not found: %s" % method[:100])
        if not modern and version is None and method not in ("ping", "initialize"):
            raise RpcError(INVALID_PARAMS, "Invalid params: the request has no _meta with %s and %s, and there was no "
                                           "initialize before it" % (VERSION_KEY, CAPABILITIES_KEY))
        if not modern and not row.legacy:
            raise RpcError(INVALID_PARAMS, "Invalid params: %s needs _meta with %s and %s"
                           % (method, VERSION_KEY, CAPABILITIES_KEY))
        request = Request(self, dict(message, params=params), version or LATEST_LEGACY, capabilities, reply)
        if modern:
            _check_retry(params)
        key = _key(request.id)
        with self._lock:
            if key in self._running:
                raise RpcError(INVALID_REQUEST, "Invalid request: a request with this id is still running")
            if row.threaded and len(self._running) >= MOST_IN_FLIGHT:
                raise RpcError(INTERNAL, "Too many requests at once (%d); wait for answers" % MOST_IN_FLIGHT)
            self._running[key] = request
        return request

    @staticmethod
    def _check_envelope(meta, claim):
        if not isinstance(claim, str):
            raise RpcError(INVALID_PARAMS, "Invalid params: %s must be a string" % VERSION_KEY)
        if not isinstance(meta.get(CAPABILITIES_KEY), dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: _meta needs %s, an object" % CAPABILITIES_KEY)
        if LOG_LEVEL_KEY in meta and meta[LOG_LEVEL_KEY] not in LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, "Invalid params: %s must be one of %s" % (LOG_LEVEL_KEY, ", ".join(LOG_LEVELS)))
        if claim not in MODERN:
            raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version",
                           {"supported": list(MODERN), "requested": claim})

    def _serve(self, request, row):
        """Answer a request: one reply, or none when it was cancelled."""
        try:
            result = row.handler(self, request)
            answer = {"jsonrpc": "2.0", "id": request.id, "result": self._finished(request, row, result)}
        except InputRequired as question:
            answer = {"jsonrpc": "2.0", "id": request.id, "result": self._question(question)}
        except RpcError as error:
            answer = _error(request.id, error.code, str(error), error.data)
        except Exception as error:
            if not request.cancelled.is_set():
                self.log("error", "internal error", method=request.method, error=repr(error), traceback=_traceback(error))
            answer = _error(request.id, INTERNAL, "Internal error")
        with self._lock:
            self._running.pop(_key(request.id), None)
        if request.cancelled.is_set():
            answer = None                               # nothing more is sent for it
        try:
            request.reply(answer)
        except ValueError as error:                     # something that is not JSON
            self.log("error", "unsendable answer", method=request.method, error=repr(error))
            request.reply(_error(request.id, INTERNAL, "Internal error"))

    def _finished(self, request, row, result):
        if not request.modern:
            return result
        result = dict({"resultType": "complete"}, **result)
        if row.ttl is not None:
            result["ttlMs"] = row.ttl
            result["cacheScope"] = self.app.tools_scope if row.scope == "tools" else row.scope
        result["_meta"] = dict(result.get("_meta") or {}, **self._stamp())
        return result

    def _question(self, question):
        result = {"resultType": "input_required", "inputRequests": question.inputs, "_meta": self._stamp()}
        if question.state is not None:
            result["requestState"] = question.state
        return result

    def _stamp(self):
        return {META + "serverInfo": self._server_info("2026-07-28")}

    def _server_info(self, version):
        info = {"name": self.info["name"], "version": self.info["version"]}
        if version >= "2025-06-18":
            info["title"] = self.info["title"]
        return info

    def _capabilities(self, version):
        found = dict(self.info["capabilities"])
        if version and version < "2025-03-26":
            found.pop("completions", None)
        return found

    # -- methods

    def initialize(self, request):
        """Legacy handshake (2025-11-25 basic/lifecycle): the version asked for if it is known, else the latest legacy one."""
        wanted = request.params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise RpcError(INVALID_PARAMS, "Invalid params: protocolVersion must be a string")
        capabilities = request.params.get("capabilities")
        self.version = wanted if wanted in LEGACY else LATEST_LEGACY
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        return {"protocolVersion": self.version, "capabilities": self._capabilities(self.version),
                "serverInfo": self._server_info(self.version), "instructions": self.info["instructions"]}

    def discover(self, request):
        """Modern server/discover: what a client may send next."""
        return {"supportedVersions": list(MODERN), "capabilities": self._capabilities(request.version),
                "instructions": self.info["instructions"]}

    def ping(self, request):
        """Legacy ping."""
        return {}

    def list_tools(self, request):
        """All tools on one page, in a fixed order, each with the fields that the revision knows."""
        _no_cursor(request)
        return {"tools": [_gated(tool, request.version) for tool in self.app.tools()]}

    def call_tool(self, request):
        """tools/call: unknown tool and malformed params are errors, everything else is a result."""
        name, arguments = request.params.get("name"), request.params.get("arguments")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "Invalid params: name must be a string")
        if arguments is None:
            arguments = {}
        elif not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: arguments must be an object")
        result = self.app.call_tool(request, name, arguments)
        if request.version < "2025-06-18":
            result.pop("structuredContent", None)
        return result

    def list_resources(self, request):
        """resources/list on one page."""
        _no_cursor(request)
        return {"resources": [_gated(r, request.version) for r in self.app.resources(request)]}

    def list_templates(self, request):
        """resources/templates/list on one page."""
        _no_cursor(request)
        return {"resourceTemplates": [_gated(r, request.version) for r in self.app.resource_templates()]}

    def read_resource(self, request):
        """resources/read; not found is -32602 in the modern era, -32002 before."""
        uri = request.params.get("uri")
        if not isinstance(uri, str):
            raise RpcError(INVALID_PARAMS, "Invalid params: uri must be a string")
        try:
            return {"contents": self.app.read_resource(request, uri)}
        except NotFound:
            raise RpcError(INVALID_PARAMS if request.modern else RESOURCE_NOT_FOUND, "Resource not found",
                           {"uri": uri}) from None

    def list_prompts(self, request):
        """prompts/list on one page."""
        _no_cursor(request)
        return {"prompts": [_gated(p, request.version) for p in self.app.prompts()]}

    def get_prompt(self, request):
        """prompts/get."""
        name, arguments = request.params.get("name"), request.params.get("arguments")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "Invalid params: name must be a string")
        arguments = {} if arguments is None else arguments
        if not isinstance(arguments, dict) or not all(isinstance(v, str) for v in arguments.values()):
            raise RpcError(INVALID_PARAMS, "Invalid params: arguments must be an object of strings")
        return self.app.get_prompt(request, name, arguments)

    def complete(self, request):
        """completion/complete: at most 100 values."""
        ref, argument = request.params.get("ref"), request.params.get("argument")
        context = (request.params.get("context") or {})
        if not (isinstance(ref, dict) and isinstance(argument, dict) and isinstance(argument.get("name"), str)
                and isinstance(argument.get("value"), str) and isinstance(context, dict)
                and isinstance(context.get("arguments") or {}, dict)):
            raise RpcError(INVALID_PARAMS, "Invalid params: ref and argument {name, value} are required")
        if ref.get("type") not in ("ref/prompt", "ref/resource"):
            raise RpcError(INVALID_PARAMS, "Invalid params: ref.type must be ref/prompt or ref/resource")
        values = self.app.complete(request, ref, argument, context.get("arguments") or {})
        return {"completion": {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}}

    def listen(self, request):
        """subscriptions/listen: nothing here changes by itself, so it is acknowledged empty and completed at once."""
        if not isinstance(request.params.get("notifications"), dict):
            raise RpcError(INVALID_PARAMS, "Invalid params: notifications must be an object")
        subscription = {META + "subscriptionId": request.id}
        self.notify("notifications/subscriptions/acknowledged", {"_meta": subscription, "notifications": {}})
        return {"_meta": subscription}

    # -- the end

    def finish(self, wait=time.sleep):
        """The input has ended: running reads get GRACE seconds, a change that is on its way WRITE_GRACE."""
        with self._lock:
            for answer in self._asked.values():
                answer[0].set()
        start = time.monotonic()
        while True:
            with self._lock:
                running = [r for r in self._running.values() if not r.cancelled.is_set()]
                writing = any(r.writing for r in self._running.values())
            past = time.monotonic() - start
            if not (running and past < GRACE) and not (writing and past < WRITE_GRACE):
                return
            wait(0.005)


METHODS = {
    "initialize": Method(Server.initialize, modern=False),
    "ping": Method(Server.ping, modern=False),
    "server/discover": Method(Server.discover, legacy=False, ttl=3600000, scope="public"),
    "tools/list": Method(Server.list_tools, ttl=3600000, scope="tools", capability="tools"),
    "tools/call": Method(Server.call_tool, threaded=True, capability="tools"),
    "resources/list": Method(Server.list_resources, threaded=True, ttl=10000, capability="resources"),
    "resources/templates/list": Method(Server.list_templates, ttl=3600000, scope="public", capability="resources"),
    "resources/read": Method(Server.read_resource, threaded=True, ttl=0, capability="resources"),
    "prompts/list": Method(Server.list_prompts, ttl=3600000, scope="public", capability="prompts"),
    "prompts/get": Method(Server.get_prompt, threaded=True, capability="prompts"),
    "completion/complete": Method(Server.complete, threaded=True, capability="completions"),
    "subscriptions/listen": Method(Server.listen, legacy=False),
}

#: Fields of a tool, resource or prompt -> the first revision that knows them.
_SINCE = {"annotations": "2025-03-26", "title": "2025-06-18", "outputSchema": "2025-06-18", "_meta": "2025-06-18",
          "icons": "2025-11-25"}


def _gated(entry, version):
    return {key: value for key, value in entry.items() if version >= _SINCE.get(key, "")}


def _no_cursor(request):
    if request.params.get("cursor") is not None:
        raise RpcError(INVALID_PARAMS, "Invalid params: unknown cursor (everything is on one page)")


def _check_retry(params):
    if not isinstance(params.get("inputResponses", {}), dict):
        raise RpcError(INVALID_PARAMS, "Invalid params: inputResponses must be an object")
    if "requestState" in params and not isinstance(params["requestState"], str):
        raise RpcError(INVALID_PARAMS, "Invalid params: requestState must be a string")


def _kind(message):
    """What a JSON value is: "request", "notification", "response" or "invalid".

    A method "notifications/..." with an id of null passes for a notification: some clients send it, and answering it makes
    them close the connection.
    """
    if not isinstance(message, dict):
        return "invalid"
    if "method" not in message:
        return "response" if "result" in message or "error" in message else "invalid"
    if message.get("jsonrpc") != "2.0" or not isinstance(message["method"], str):
        return "invalid"
    if "id" not in message or (message["id"] is None and message["method"].startswith("notifications/")):
        return "notification"
    return "request" if _key(message["id"]) else "invalid"


def _invalid(message):
    """The error for a JSON value that is no message."""
    if not isinstance(message, dict):
        return _error(None, INVALID_REQUEST, "Invalid request: not an object")
    known_id = message.get("id") if _key(message.get("id")) else None
    if message.get("jsonrpc") != "2.0":
        return _error(known_id, INVALID_REQUEST, "Invalid request: jsonrpc must be \"2.0\"")
    if not isinstance(message.get("method"), str):
        return _error(known_id, INVALID_REQUEST, "Invalid request: method must be a string")
    return _error(None, INVALID_REQUEST, "Invalid request: id must be a string or an integer")


def _key(request_id):
    """An id with its JSON type (1 is not "1"); None for what cannot be an id."""
    if isinstance(request_id, (str, int)) and not isinstance(request_id, bool):
        return isinstance(request_id, str), request_id
    return None


def _error(request_id, code, message, data=None):
    error = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    reply = {"jsonrpc": "2.0", "error": error}
    if request_id is not None:
        reply["id"] = request_id
    return reply


def _traceback(error):
    import traceback
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))
