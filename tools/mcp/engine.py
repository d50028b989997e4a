"""The protocol engine: messages in, messages out, both eras of MCP. It knows nothing of Proxmox; an `app` does.

The thread that calls `receive` reads, sorts out and answers what needs no waiting; tools/call and the like run in a
thread each, so that a ping, a cancellation or an answer of the user is never behind a slow node.

An app has: tools(), call_tool(request, name, arguments), resources(request), resource_templates(),
read_resource(request, uri), prompts(), get_prompt(request, name, arguments), complete(request, ref, argument, context),
close(). Each returns the dicts of the newest revision; what an older one does not know is taken out here. It is made by
`load` when a request first needs it.
"""
import threading
import time
from collections import namedtuple

from tools.mcp.message import (
    BATCHES, CAPABILITIES_KEY, GONE, INTERNAL, INVALID_PARAMS, INVALID_REQUEST, LATEST_LEGACY, LEGACY, META,
    METHOD_NOT_FOUND, MODERN, PARSE_ERROR, RESOURCE_NOT_FOUND, SERVER_KEY, SUBSCRIPTION_KEY, VERSION_KEY, RpcError,
    envelope, error_for, gone, invalid, invalid_params, key_of, kind_of, known)
from tools.mcp.wire import BadLine, TooLong, decode, encode, glance

MOST_IN_FLIGHT = 64             # requests worked on at once; more are refused
MOST_IN_BATCH = 100
PROGRESS_EVERY = 0.5            # seconds between two progress notifications of a request
INITIALIZED_WITHIN = 2.0        # seconds that a question waits for notifications/initialized, which some never send
PATIENCE = 45                   # seconds that a request may wait if its client is shown no progress: many end it at 60
ANSWER_WITHIN = 600             # seconds that a legacy client's user has to answer, when progress keeps it patient
STILL_ASKING = 15               # seconds between two progress notifications while the user thinks
GRACE, GRACE_FOR_CHANGES = 1.5, 8.0     # seconds at the end of the input: for calls, for a change on its way to Proxmox


class InputRequired(Exception):
    """A modern request that needs the user's input first: inputs {name: {"method", "params"}}, state (str or None)."""

    def __init__(self, inputs, state=None):
        super().__init__("input required")
        self.inputs, self.state = inputs, state


class NotFound(LookupError):
    """A resource that does not exist."""


# ------------------------------------------------------------------------------------------------------------- requests

class Request:
    """One request of the client: what it asks, what its client can do, and the ways to talk to it while it runs.

    cancelled is an Event; hurried says that the server ends, so that it is answered with what is known; woken is an
    Event for both. writing: whether a change is on its way to Proxmox (the call says so). patience: seconds from its
    beginning that it may wait for anything, or None. asks: exceptions by which `ask` ends, but for an answer.
    """

    asks = (RpcError, InputRequired)
    ends = False                        # the process goes on after the call
    wait = None                         # seconds for which tasks are followed, where the call does not say

    def __init__(self, server, message, params, version, capabilities, reply):
        self.server, self.id, self.method, self.params = server, message["id"], message["method"], params
        self.key, self.reply, self.began = key_of(self.id), reply, server.clock()       # reply: see Server._message
        self.version, self.modern, self.capabilities = version, version in MODERN, capabilities
        self.cancelled, self.woken, self.hurried, self.writing = threading.Event(), threading.Event(), False, False
        self.question = None                # the Event of the answer of the user that this request waits for
        meta = params.get("_meta") or {}
        self.client = meta.get(META + "clientInfo") if self.modern else server.client       # for the audit log only
        token = meta.get("progressToken")
        self._token = token if key_of(token) else None
        self.wants_progress = self._token is not None
        self.patience = None if self.wants_progress else PATIENCE
        self._progress = self._told = None  # the last value, and when it was told
        self.state = params.get("requestState") if self.modern else None
        self.responses = (params.get("inputResponses") or {}) if self.modern else {}

    def cancel(self):
        """Stop: whatever waits for this request ends at once."""
        self.cancelled.set()
        self.woken.set()
        if self.question is not None:
            self.question.set()

    def hurry(self):
        """Answer with what is known: whatever waits for this request ends at once."""
        self.hurried = True
        self.woken.set()

    def notify(self, method, params):
        """Send a notification that belongs to this request; nothing once it is cancelled."""
        self.server.send({"jsonrpc": "2.0", "method": method, "params": params}, lambda: not self.cancelled.is_set())

    def progress(self, percent, message=None):
        """Tell the client how far it is: percent (0..100, or None when nobody knows), message (str). Each value is
        greater than the one before (MUST), if by little, for silence costs the client's patience; at most two a second;
        100 is left to the answer, which would cross it on its way (2026-07-28 basic/patterns/progress)."""
        now, last, value = self.server.clock(), self._progress, round(percent or 0, 2)
        if self._told is not None and now - self._told < PROGRESS_EVERY:
            return
        if last is None:
            value = value if 0 <= value < 100 else 0
        elif not last < value < 100:
            value = round(last + min(0.01, (100 - last) / 1000), 6)
        self._told = now
        self.send_progress(value, None if percent is None else 100, message)

    def send_progress(self, value, total=None, message=None):
        """One progress notification as it is, for a request that carries a token."""
        if self._token is None:
            return
        self._progress = value
        params = {"progressToken": self._token, "progress": value}
        if total is not None:
            params["total"] = total
        if message and self.version >= "2025-03-26":
            params["message"] = message
        self.notify("notifications/progress", params)

    def supports(self, kind):
        """Whether the client declared the input `kind` (elicitation, sampling, roots); elicitation means forms."""
        declared = self.capabilities.get(kind)
        if not isinstance(declared, dict):
            return False
        return kind != "elicitation" or (self.version >= "2025-06-18" and (not declared or "form" in declared))

    def ask(self, inputs, state=None):
        """{name: the client's result} for inputs {name: {"method", "params"}}. Legacy: real requests to the client,
        None for what it refused. Modern: what the retry carries; while something is missing InputRequired ends this
        request with `state` (2026-07-28 basic/patterns/mrtr)."""
        if self.modern:
            if not all(name in self.responses for name in inputs):
                raise InputRequired(inputs, state)
            return {name: self.responses[name] for name in inputs}
        return {name: self.server.ask_client(self, entry["method"], entry["params"]) for name, entry in inputs.items()}


class Once:
    """What make() gives, made when it is first called for, by whichever thread. made: it, or None before."""

    def __init__(self, make, made=None):
        self._make, self._lock, self.made = make, threading.Lock(), made

    def __call__(self):
        if self.made is None:
            with self._lock:
                if self.made is None:
                    self.made = self._make()
        return self.made


class Workers:
    """Threads that work on one job each and then wait for the next: starting one takes longer than a short request."""

    def __init__(self):
        self._lock, self._idle, self._jobs = threading.Lock(), 0, None

    def run(self, job, *args):
        """Do job(*args) in an idle thread, or in a new one; RuntimeError when this host has no more threads."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                return self._jobs.put((job, args))
            if self._jobs is None:
                from queue import SimpleQueue  # only now: the first answer needs none
                self._jobs = SimpleQueue()
        threading.Thread(target=self._work, args=(job, args), daemon=True).start()

    def _work(self, job, args):
        while True:
            job(*args)
            with self._lock:
                self._idle += 1
            job = args = None                               # nothing of the last request is kept while it waits
            job, args = self._jobs.get()


#: A row of `Server.methods`: what serves it, in which eras, whether in a thread, what a cache may do with it.
Method = namedtuple("Method", "handler capability legacy modern threaded ttl scope",
                    defaults=(None, True, True, False, None, "private"))


def _listing(key, entries):
    """What serves a list, on one page (many hosts read no second one), with the fields that the revision knows."""
    def serve(server, request):
        if request.params.get("cursor") is not None:
            raise invalid_params("unknown cursor (everything is on one page)")
        return {key: [known(entry, request.version) for entry in entries(server.app(), request)]}
    return serve


# --------------------------------------------------------------------------------------------------------------- server

class Server:
    """The engine. write(bytes) sends a line; load() makes the app, which app() then is. info: name, title, version,
    instructions, capabilities. unfit: why nothing can be served (str), the answer to every request but ping: clients
    show their user the error of `initialize`, and few show what stands on stderr."""

    def __init__(self, write, load, info, log=lambda level, event, **fields: None, clock=time.monotonic, unfit=None):
        self._write, self.app, self.info, self.log, self.clock = write, Once(load), info, log, clock
        self._unfit, self._workers = unfit, Workers()
        self._output = threading.Lock()
        self._lock = threading.Lock()               # around the four below
        self._running = {}                          # key of id -> Request
        self._busy = set()                          # Requests whose answer is not written yet
        self._asked = {}                            # id of our request -> Event of its answer, with its result
        self._closed = False                        # no more input
        self._done = threading.Condition(self._lock)
        self._asks = 0
        self.version, self.capabilities, self.client = None, {}, None       # of the legacy handshake
        self._asking_from = 0.0                     # when clock() says so, a legacy client may be asked

    # -- output

    def send(self, message, wanted=lambda: True):
        """Write one message, if it is still wanted when its turn has come."""
        self._put(encode(message), wanted)

    def _put(self, line, wanted=lambda: True):
        with self._output:
            if wanted() and line is not None:
                self._write(line + b"\n")

    def ask_client(self, request, method, params):
        """The result (dict) of a request to a legacy client; None when it was not given, {"action": "none"} when there
        was no answer in time, Cancelled when `request` is cancelled meanwhile. Nothing is asked before the client is
        initialized (2025-11-25 basic/lifecycle, SHOULD)."""
        from tools.pve.waiting import Cancelled, wait, wait_for
        while self.clock() < self._asking_from and not self._closed:
            wait(request.cancelled, 0.02)
        question = threading.Event()
        question.result = None
        with self._lock:
            if self._closed:
                return None
            self._asks += 1
            ask_id = "srv-%d" % self._asks
            self._asked[ask_id] = request.question = question
        try:
            if request.cancelled.is_set():
                raise Cancelled()
            self.send({"jsonrpc": "2.0", "id": ask_id, "method": method, "params": params})
            within = ANSWER_WITHIN if request.patience is None else request.began + request.patience - self.clock()
            wait_for(question.is_set, bool, within, question.wait, self.clock,
                     lambda _: request.progress(None, "waiting for the user's answer"), (STILL_ASKING,))
        finally:
            with self._lock:
                unanswered = self._asked.pop(ask_id, None) is not None and not self._closed
            request.question = None
        if unanswered:
            self.send({"jsonrpc": "2.0", "method": "notifications/cancelled",
                       "params": {"requestId": ask_id, "reason": "no longer needed"}})
        if request.cancelled.is_set():
            raise Cancelled()
        return {"action": "none"} if unanswered else question.result

    # -- input

    def receive(self, line):
        """Serve one line (bytes or TooLong)."""
        if line is TooLong:
            return self._put(error_for(None, PARSE_ERROR, "Parse error: the line is too long"))
        try:
            message = decode(line)
        except BadLine as error:                            # who asked waits for an answer by its id
            return self._put(error_for(glance(line), PARSE_ERROR, "Parse error: %s" % error))
        if isinstance(message, list):
            return self._batch(message)
        self._message(message, self._put)

    def _batch(self, messages):
        """A JSON-RPC batch: one array answers those of its messages that are requests."""
        problem = ("batches are not part of this protocol revision" if self.version != BATCHES else
                   "an empty batch" if not messages else
                   "a batch of more than %d messages" % MOST_IN_BATCH if len(messages) > MOST_IN_BATCH else None)
        if problem:
            return self._put(error_for(None, INVALID_REQUEST, "Invalid request: " + problem))
        answers, lock = [], threading.Lock()
        waiting = sum(kind_of(message) in ("request", "invalid") for message in messages)

        def collect(answer, wanted=lambda: True):
            with lock:
                answers.append(answer if wanted() else None)
                if len(answers) < waiting:
                    return
            lines = [answer for answer in answers if answer is not None]
            self._put(b"[" + b",".join(lines) + b"]" if lines else None)
        for message in messages:
            if kind_of(message) == "request" and message["method"] == "initialize":
                collect(error_for(message["id"], INVALID_REQUEST, "Invalid request: initialize must not be in a batch"))
            else:
                self._message(message, collect)

    def _message(self, message, reply):
        """Serve one message. reply(bytes, wanted) answers a request, if wanted() when its turn has come; reply(None):
        there will be no answer."""
        kind = kind_of(message)
        if kind == "response":
            return self._response(message)
        if kind == "notification":
            return self._notification(message["method"], message.get("params"))
        if kind == "invalid":
            return reply(invalid(message))
        try:
            row, request = self._accept(message, reply)
        except RpcError as error:
            return reply(error_for(message["id"], error.code, str(error), error.data))
        if not row.threaded:
            return self._serve(row, request)
        try:
            self._workers.run(self._serve, row, request)
        except RuntimeError:                                # no more threads on this host
            self._serve(Method(_too_busy), request)

    def _response(self, message):
        key = message.get("id")
        with self._lock:
            question = self._asked.pop(key, None) if isinstance(key, str) else None
        if question is not None:
            result = message.get("result")
            question.result = result if isinstance(result, dict) else None
            question.set()

    def _notification(self, method, params):
        if method == "notifications/initialized":
            self._asking_from = 0.0
        if method == "notifications/cancelled" and isinstance(params, dict):
            with self._lock:                                # its id is free again
                request = self._running.pop(key_of(params.get("requestId")), None)
            if request is not None:
                request.cancel()

    def _accept(self, message, reply):
        """(row, Request) of a message, which from now on counts as running; RpcError for one that cannot be served. The
        order of the checks is that of both official SDKs: envelope, version, method, params."""
        method = message["method"]
        params, meta, modern = envelope(method, message.get("params"))
        version = meta[VERSION_KEY] if modern else self.version
        capabilities = meta[CAPABILITIES_KEY] if modern else self.capabilities
        row = self.methods.get(method)
        if row is None or not (row.modern if modern else row.legacy or version is None) or (
                row.capability and row.capability not in self._capabilities(version or LATEST_LEGACY)):
            raise RpcError(METHOD_NOT_FOUND, "Method not found: %s" % method[:100])
        if self._unfit is not None and method != "ping":
            raise RpcError(INTERNAL, self._unfit)
        if version is None and method not in ("ping", "initialize"):
            raise RpcError(INVALID_PARAMS, "Invalid params: the request has no _meta with %s and %s, and there was no "
                                           "initialize before it" % (VERSION_KEY, CAPABILITIES_KEY))
        if modern and not isinstance(params.get("inputResponses"), (dict, type(None))):
            raise invalid_params("inputResponses must be an object")
        if modern and not isinstance(params.get("requestState"), (str, type(None))):
            raise invalid_params("requestState must be a string")
        request = Request(self, message, params, version or LATEST_LEGACY, capabilities, reply)
        with self._lock:
            if request.key in self._running:
                raise RpcError(INVALID_REQUEST, "Invalid request: a request with this id is still running")
            if row.threaded and len(self._busy) >= MOST_IN_FLIGHT:
                _too_busy(self, request)
            self._running[request.key] = request
            self._busy.add(request)
        return row, request

    # -- answering

    def _serve(self, row, request):
        """Give a request its one answer, or none when it was cancelled."""
        def wanted():
            with self._lock:                                # its id is free before the client can read the answer
                if self._running.get(request.key) is request:
                    del self._running[request.key]
            return not request.cancelled.is_set()
        try:
            request.reply(self._answer(row, request), wanted)
        finally:
            with self._lock:
                self._busy.discard(request)
                self._done.notify_all()

    def _answer(self, row, request):
        """The encoded answer to a request; None when it was cancelled. Modern ones say whether they are complete, by
        whom, and what a cache may do."""
        try:
            try:
                result = row.handler(self, request)
                cache = {} if row.ttl is None else {"ttlMs": row.ttl, "cacheScope": row.scope}
            except InputRequired as question:
                result, cache = {"resultType": "input_required", "inputRequests": question.inputs}, {}
                if question.state is not None:
                    result["requestState"] = question.state
            if request.modern:
                stamp = dict(result.get("_meta") or {}, **{SERVER_KEY: self._server_info(MODERN[-1])})
                result = {"resultType": "complete", **result, **cache, "_meta": stamp}
            return encode({"jsonrpc": "2.0", "id": request.id, "result": result})
        except RpcError as error:
            return error_for(request.id, error.code, str(error), error.data)
        except Exception as error:
            if request.cancelled.is_set():                  # however what served it was ended by that
                return None
            import traceback  # a mistake of ours, or a result that JSON cannot say
            self.log("error", "internal error", method=request.method, error=repr(error),
                     traceback=traceback.format_exc())
            return error_for(request.id, INTERNAL, GONE if gone(error) else "Internal error")

    def _server_info(self, version):
        return known({key: self.info[key] for key in ("name", "title", "version")}, version)

    def _capabilities(self, version):
        return known(self.info["capabilities"], version)

    # -- methods

    def initialize(self, request):
        """Legacy handshake (2025-11-25 basic/lifecycle): the version asked for if known, else the latest legacy one."""
        wanted, capabilities = request.params.get("protocolVersion"), request.params.get("capabilities")
        if not isinstance(wanted, str):
            raise invalid_params("protocolVersion must be a string")
        self.version = wanted if wanted in LEGACY else LATEST_LEGACY
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        self.client = request.params.get("clientInfo")
        self._asking_from = self.clock() + INITIALIZED_WITHIN
        return {"protocolVersion": self.version, "capabilities": self._capabilities(self.version),
                "serverInfo": self._server_info(self.version), "instructions": self.info["instructions"]}

    def discover(self, request):
        """Modern server/discover: what a client may send next."""
        return {"supportedVersions": list(MODERN), "capabilities": self._capabilities(request.version),
                "instructions": self.info["instructions"]}

    def call_tool(self, request):
        """tools/call: an unknown tool and malformed params are errors, everything else is a result."""
        name, arguments = _named(request)
        return known(self.app().call_tool(request, name, arguments), request.version)

    def read_resource(self, request):
        """resources/read; what does not exist is -32602 in the modern era (MUST), -32002 before it (SHOULD)."""
        uri = request.params.get("uri")
        if not isinstance(uri, str):
            raise invalid_params("uri must be a string")
        try:
            return {"contents": self.app().read_resource(request, uri)}
        except NotFound:
            raise RpcError(INVALID_PARAMS if request.modern else RESOURCE_NOT_FOUND, "Resource not found",
                           {"uri": uri}) from None

    def get_prompt(self, request):
        """prompts/get: arguments are strings."""
        name, arguments = _named(request)
        if not _strings(arguments):
            raise invalid_params("arguments must be an object of strings")
        return self.app().get_prompt(request, name, arguments)

    def complete(self, request):
        """completion/complete: at most 100 values (MUST)."""
        ref, argument = request.params.get("ref"), request.params.get("argument")
        context = request.params.get("context") or {}
        others = context.get("arguments") or {} if isinstance(context, dict) else None
        if not (isinstance(ref, dict) and isinstance(argument, dict) and isinstance(argument.get("name"), str)
                and isinstance(argument.get("value"), str) and _strings(others)):
            raise invalid_params("ref and argument {name, value} are required, context.arguments are strings")
        if not isinstance(ref.get("name" if ref.get("type") == "ref/prompt" else "uri"), str) or (
                ref.get("type") not in ("ref/prompt", "ref/resource")):
            raise invalid_params("ref must be {type: ref/prompt, name} or {type: ref/resource, uri}")
        values = self.app().complete(request, ref, argument, others)
        return {"completion": {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}}

    def listen(self, request):
        """subscriptions/listen: nothing here changes by itself, so it is acknowledged empty and completed at once."""
        if not isinstance(request.params.get("notifications"), dict):
            raise invalid_params("notifications must be an object")
        subscription = {SUBSCRIPTION_KEY: request.id}
        request.notify("notifications/subscriptions/acknowledged", {"_meta": subscription, "notifications": {}})
        return {"_meta": subscription}

    #: method -> Method. What is not here, or whose capability is not declared, is -32601.
    methods = {
        "initialize": Method(initialize, modern=False),
        "ping": Method(lambda self, request: {}, modern=False),
        "server/discover": Method(discover, legacy=False, ttl=3600000, scope="public"),
        "tools/list": Method(_listing("tools", lambda app, request: app.tools()), "tools", ttl=3600000),
        "tools/call": Method(call_tool, "tools", threaded=True),
        "resources/list": Method(_listing("resources", lambda app, request: app.resources(request)), "resources",
                                 threaded=True, ttl=10000),
        "resources/templates/list": Method(_listing("resourceTemplates", lambda app, _: app.resource_templates()),
                                           "resources", ttl=3600000, scope="public"),
        "resources/read": Method(read_resource, "resources", threaded=True, ttl=0),
        "prompts/list": Method(_listing("prompts", lambda app, request: app.prompts()), "prompts", ttl=3600000,
                               scope="public"),
        "prompts/get": Method(get_prompt, "prompts", threaded=True),
        "completion/complete": Method(complete, "completions", threaded=True),
        "subscriptions/listen": Method(listen, legacy=False),
    }

    # -- the end

    def finish(self, grace=GRACE, changes=GRACE_FOR_CHANGES):
        """No more is served: running calls are answered, within `grace` seconds (after half of them with what is known)
        or, while a change is on its way to Proxmox, `changes` and then `grace`; the app is closed."""
        start = since = self.clock()
        with self._lock:
            self._closed = True
            for question in self._asked.values():
                question.set()
            over = False
            while not over:
                now = self.clock()
                if any(request.writing for request in self._busy):
                    since, over = now, now - start >= changes
                else:
                    for request in self._busy if now - since >= grace / 2 else ():
                        request.hurry()
                    over = now - since >= grace or all(request.cancelled.is_set() for request in self._busy)
                if not over:
                    self._done.wait(0.05)
        if self.app.made is not None:
            self.app.made.close()


def _named(request):
    """(name, arguments) of tools/call and prompts/get."""
    name, arguments = request.params.get("name"), request.params.get("arguments")
    if not isinstance(name, str):
        raise invalid_params("name must be a string")
    if not isinstance(arguments, (dict, type(None))):
        raise invalid_params("arguments must be an object")
    return name, arguments or {}


def _strings(value):
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _too_busy(server, request):
    raise RpcError(INTERNAL, "Too many requests at once; wait for answers")
