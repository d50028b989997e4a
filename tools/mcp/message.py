"""One message of MCP, in either era: of what kind it is, what its envelope says, the errors that answer it.

Legacy is the handshake of 2024-11-05 to 2025-11-25 (its state belongs to the process), modern the stateless requests of
2026-07-28 that carry their protocol version in `_meta`. Each request is classified by itself (2026-07-28
basic/versioning).
"""
import os

from tools.mcp.wire import encode

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = ("2026-07-28",)
LATEST_LEGACY = LEGACY[-1]
BATCHES = "2025-03-26"          # the one revision that has them (2025-03-26 basic/index, gone with 2025-06-18)

META = "io.modelcontextprotocol/"
VERSION_KEY, CAPABILITIES_KEY, LOG_LEVEL_KEY = META + "protocolVersion", META + "clientCapabilities", META + "logLevel"
SERVER_KEY, SUBSCRIPTION_KEY = META + "serverInfo", META + "subscriptionId"
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
RESOURCE_NOT_FOUND, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32002, -32021, -32022

#: What came when: capabilities, and fields of serverInfo, tools, resources, prompts and results -> first revision.
SINCE = {"completions": "2025-03-26", "annotations": "2025-03-26", "title": "2025-06-18", "outputSchema": "2025-06-18",
         "structuredContent": "2025-06-18", "_meta": "2025-06-18", "icons": "2025-11-25"}


def known(fields, version):
    """Those of the fields (dict) that a revision knows."""
    return {name: value for name, value in fields.items() if version >= SINCE.get(name, "")}


#: What is said where a file of the program is not any more what it was when the program started.
GONE = ("The program's files have changed or are gone since it was started, by an upgrade perhaps. Restart the server "
        "(restart the client, or let it connect anew).")
_TOOLS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def gone(error):
    """Whether an exception is that a file of this program changed or is gone: a module, the .pyz, tools.json."""
    path = str(getattr(error, "filename", None) or getattr(error, "path", None) or "")
    ours = path.startswith(_TOOLS) or path != "" and _TOOLS.startswith(path + os.sep)
    return isinstance(error, (ImportError, OSError)) and (ours or str(getattr(error, "name", "")).startswith("tools."))


class RpcError(Exception):
    """A JSON-RPC error: code, message, data."""

    def __init__(self, code, message, data=None):
        super().__init__(message)
        self.code, self.data = code, data


def envelope(method, params):
    """(params, _meta, modern) of a request; RpcError when they are malformed or of an unknown version. Modern is what
    has a protocol version in its _meta, but for an `initialize` with one that is not modern: a client that says too
    much."""
    params = {} if params is None else params
    if not isinstance(params, dict):
        raise invalid_params("params must be an object")
    meta = {} if params.get("_meta") is None else params["_meta"]
    if not isinstance(meta, dict):
        raise invalid_params("_meta must be an object")
    claim = meta.get(VERSION_KEY)
    if VERSION_KEY not in meta or (method == "initialize" and claim not in MODERN):
        return params, meta, False
    if not isinstance(claim, str):
        raise invalid_params("%s must be a string" % VERSION_KEY)
    if not isinstance(meta.get(CAPABILITIES_KEY), dict):
        raise invalid_params("_meta needs %s, an object" % CAPABILITIES_KEY)
    if LOG_LEVEL_KEY in meta and meta[LOG_LEVEL_KEY] not in LOG_LEVELS:
        raise invalid_params("%s must be one of %s" % (LOG_LEVEL_KEY, ", ".join(LOG_LEVELS)))
    if claim not in MODERN:
        raise RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version",
                       {"supported": list(MODERN), "requested": claim})
    return params, meta, True


def kind_of(message):
    """"request", "notification", "response" or "invalid". Without an id it is a notification, which is never answered,
    valid or not; so is "notifications/..." with an id of null: some clients send that, and close when it is
    answered."""
    if not isinstance(message, dict):
        return "invalid"
    method = message.get("method")
    if not isinstance(method, str):
        return "response" if "method" not in message and ("result" in message or "error" in message) else "invalid"
    if "id" not in message or (message["id"] is None and method.startswith("notifications/")):
        return "notification"
    return "request" if message.get("jsonrpc") == "2.0" and key_of(message["id"]) else "invalid"


def invalid(message):
    """The error for a JSON value that is no message."""
    if not isinstance(message, dict):
        return error_for(None, INVALID_REQUEST, "Invalid request: not an object")
    problem = ("jsonrpc must be \"2.0\"" if message.get("jsonrpc") != "2.0" else
               "method must be a string" if not isinstance(message.get("method"), str) else
               "id must be a string or an integer")
    known_id = message.get("id") if key_of(message.get("id")) else None
    return error_for(known_id, INVALID_REQUEST, "Invalid request: " + problem)


def key_of(request_id):
    """An id with its JSON type (1 is not "1"); None for what cannot be an id."""
    if isinstance(request_id, (str, int)) and not isinstance(request_id, bool):
        return isinstance(request_id, str), request_id
    return None


def invalid_params(problem):
    return RpcError(INVALID_PARAMS, "Invalid params: " + problem)


def error_for(request_id, code, message, data=None):
    """An encoded error. Without an id there is no id member: {"id": null} is no valid message in any revision."""
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    return encode({"jsonrpc": "2.0", "error": error, **({} if request_id is None else {"id": request_id})})
