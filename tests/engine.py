"""Test support: the protocol engine without a process. TableApp is an app out of tables, Talk a client of lines."""
import json
import os
import queue
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tools.mcp.engine import NotFound, Server
from tools.mcp.message import CAPABILITIES_KEY, INVALID_PARAMS, MODERN, SERVER_KEY, VERSION_KEY, RpcError

INFO = {"name": "test", "title": "Test", "version": "0", "instructions": "None.",
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}}
PATIENCE = 10           # seconds until a test gives up; nothing ever waits so long


def said(text, **more):
    """The result of a tool: one text."""
    return dict({"content": [{"type": "text", "text": text}]}, **more)


def tool(name, **more):
    """A tool's definition."""
    return dict({"name": name, "description": "A tool.", "inputSchema": {"type": "object"}}, **more)


class Clock:
    """Seconds that move when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def error(answer):
    """The code of an error."""
    return answer["error"]["code"]


class TableApp:
    """An app whose tools, resources and prompts are rows.

    tool_rows      {name: (definition, function(request, arguments) -> result)}
    resource_rows  {uri: (definition, contents)}; templates [definition], reads function(uri) -> contents or None
    prompt_rows    {name: (definition, function(request, arguments) -> result)}
    completions    {(name of the prompt or uri, argument): [value]}
    """

    def __init__(self, tool_rows=None, resource_rows=None, templates=(), reads=lambda uri: None, prompt_rows=None,
                 completions=None):
        self.tool_rows, self.resource_rows, self.templates = tool_rows or {}, resource_rows or {}, list(templates)
        self.reads, self.prompt_rows, self.completions = reads, prompt_rows or {}, completions or {}

    def tools(self):
        return [definition for definition, _ in self.tool_rows.values()]

    def call_tool(self, request, name, arguments):
        if name not in self.tool_rows:
            raise RpcError(INVALID_PARAMS, "Unknown tool: %s" % name)
        return self.tool_rows[name][1](request, arguments)

    def resources(self, request):
        return [definition for definition, _ in self.resource_rows.values()]

    def resource_templates(self):
        return self.templates

    def read_resource(self, request, uri):
        contents = self.resource_rows[uri][1] if uri in self.resource_rows else self.reads(uri)
        if contents is None:
            raise NotFound()
        return contents

    def prompts(self):
        return [definition for definition, _ in self.prompt_rows.values()]

    def get_prompt(self, request, name, arguments):
        if name not in self.prompt_rows:
            raise RpcError(INVALID_PARAMS, "Unknown prompt: %s" % name)
        return self.prompt_rows[name][1](request, arguments)

    def complete(self, request, ref, argument, context):
        values = self.completions.get((ref.get("name") or ref.get("uri"), argument["name"]))
        if values is None:
            raise RpcError(INVALID_PARAMS, "Nothing to complete")
        return [value for value in values if value.startswith(argument["value"])]

    def close(self):
        pass


class Talk:
    """A client in this process: `line` and `send` give the server something to read, `read` is its next message.

    version: the handshake to begin with (legacy), or None; capabilities: the client's.
    """

    def __init__(self, app=None, version="2025-11-25", capabilities=None, info=INFO, server=Server, **more):
        self.capabilities = {} if capabilities is None else capabilities
        self.logged = []
        self._out, self._next = queue.Queue(), 0
        self.server = server(self._out.put, lambda: app or TableApp(), info,
                             log=lambda level, event, **fields: self.logged.append((level, event, fields)), **more)
        if version is not None:
            self.call("initialize", {"protocolVersion": version, "capabilities": self.capabilities,
                                     "clientInfo": {"name": "test", "version": "0"}})
            self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def line(self, data):
        """Let the server receive one line (bytes)."""
        self.server.receive(data)

    def send(self, message):
        """Let the server receive one message."""
        self.line(json.dumps(message).encode())

    def request(self, method, params=None, id=None):
        """Send a request; its id."""
        if id is None:
            self._next += 1
            id = self._next
        self.send(dict({"jsonrpc": "2.0", "id": id, "method": method},
                       **({} if params is None else {"params": params})))
        return id

    def modern(self, method, params=None, id=None, version=MODERN[-1], **meta):
        """Send a request of the modern era; its id."""
        meta = dict({VERSION_KEY: version, CAPABILITIES_KEY: self.capabilities}, **meta)
        return self.request(method, dict(params or {}, _meta=meta), id)

    def cancel(self, id):
        """Cancel a request."""
        self.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})

    def read(self):
        """The next message of the server."""
        line = self._out.get(timeout=PATIENCE)
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        return json.loads(line)

    def call(self, method, params=None, id=None):
        """Send a request, read its answer."""
        id = self.request(method, params, id)
        return self._answer(id)

    def call_modern(self, method, params=None, id=None, **meta):
        """Send a modern request, read its answer without the stamp that every one of them carries."""
        answer = self._answer(self.modern(method, params, id, **meta))
        if "result" in answer:
            assert answer["result"]["_meta"].pop(SERVER_KEY)["name"]
            if not answer["result"]["_meta"]:
                del answer["result"]["_meta"]
        return answer

    def _answer(self, id):
        answer = self.read()
        assert answer["jsonrpc"] == "2.0" and answer.get("id") == id and type(answer.get("id")) is type(id), answer
        return answer

    def quiet(self):
        """Wait until nothing runs any more, then say whether nothing was left unread."""
        with self.server._lock:
            assert self.server._done.wait_for(lambda: not self.server._busy, PATIENCE)
        return self._out.empty()
