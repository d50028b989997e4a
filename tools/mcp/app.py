"""The app that the engine serves: the tool table, resources, prompts and completion, bound to one Proxmox.

Listing tools needs only the settings and tools.json (outputs.json where answers have data); what is heavy (the
handlers, `requests`) is imported by `warm` in the background, or when a tool is first called.
"""
import json
import sys

from tools import RENAMED, outputs, surface
from tools.mcp.engine import NotFound, Once
from tools.mcp.message import INTERNAL, INVALID_PARAMS, RpcError

#: Tools that change something take this where PROXMOX_CONFIRM=token; elsewhere it is not shown.
TOKEN_ARGUMENT = {"type": "string", "description": "from the first call's answer, if it asked for one"}

#: Arguments that clients add to calls for themselves -> the one value that is meant, if not any: they are dropped.
#: Cline, n8n before 2.4, Gemini CLI, Antigravity, OpenHands, Cursor (to tools without arguments), LangChain.
ADDED = {**dict.fromkeys((
    "task_progress", "toolCallId", "sessionId", "chatInput", "wait_for_previous", "waitForPreviousTools", "toolAction",
    "toolSummary", "security_risk", "random_string", "_meta", "requestId")), "action": "sendMessage"}


class App:
    """What the engine asks for, of one Settings. log(level, event, **fields).

    host: a ready Host (tests); host() is it, made when first needed.
    """

    def __init__(self, settings, log, host=None):
        self.settings, self.log = settings, log
        self.host = Once(self._open, host)
        self._tools = self._completer = None

    def _open(self):
        from tools.mcp.consent import Consent
        from tools.mcp.run import Host, demo_adapter
        from tools.policy.journal import Journal
        return Host(self.settings, self.log, adapter=demo_adapter(self.settings),
                    consent=Consent(self.settings.confirm), journal=Journal(self.settings.state_dir, self.log))

    def warm(self):
        """Import and build what the first call needs; whatever is wrong shows in that call."""
        try:
            self.host().client.warm()
        except Exception as error:
            self.log("debug", "not ready yet", error=repr(error))

    def close(self):
        """The process ends: stop what ssh runs, withdraw what the user is asked, note of what is still on its way that
        its outcome is not known."""
        if "tools.ssh" in sys.modules:
            sys.modules["tools.ssh"].stop()
        if self.host.made is not None:
            self.host.made.close()

    def tools(self):
        """The definitions of the tools that are switched on, with an outputSchema where answers have data."""
        if self._tools is None:
            from tools.policy.selection import Selection
            selection, token = Selection(self.settings), self.settings.confirm == "token"
            shown = [entry for entry in surface() if selection.hidden_by(entry) is None]
            found = [_with_token(entry["tool"]) if token and entry["changes"] else entry["tool"] for entry in shown]
            if self.settings.answers != "text":
                schemas = outputs()
                found = [dict(tool, outputSchema=schemas[tool["name"]]) for tool in found]
            self._tools = found
        return self._tools

    def call_tool(self, request, name, arguments):
        from tools.base.failures import Failure
        host = self.host()
        entry = host.entries.get(RENAMED.get(name, name))
        if entry is None:
            raise RpcError(INVALID_PARAMS, "Unknown tool: %s" % name[:100])
        added = [key for key, value in arguments.items() if key in ADDED and ADDED[key] in (None, value)]
        if added:
            self.log("info", "arguments that the client added were dropped", tool=name, names=added)
            arguments = {key: value for key, value in arguments.items() if key not in added}
            request.params["arguments"] = arguments     # a question and its answer are bound to these
        if self.settings.confirm == "token" and entry["changes"]:
            arguments = {key: value for key, value in arguments.items() if key != "confirm_token"}
        try:
            answer = host.run(name, arguments, request, host.consent.of(request, entry["changes"]))
        except Failure as error:                        # of `of`
            answer = host.failed(entry, error)
        return self._result(answer)

    def _result(self, answer):
        """The tools/call result of an Answer, as PROXMOX_ANSWERS says. A failure is a text alone in any case.

        `data`: structuredContent, and its JSON as the text (2025-06-18 and later, server/tools: SHOULD), so that a
        client has the whole answer whichever of the two it shows.
        """
        answers, text = self.settings.answers, answer.text
        if answers == "data" and not answer.failed:
            text = json.dumps(answer.data, separators=(",", ":"), ensure_ascii=False)
        result = {"content": [{"type": "text", "text": text}], "isError": answer.failed}
        if answers != "text" and not answer.failed:
            result["structuredContent"] = answer.data
        return result

    def resources(self, request):
        from tools.mcp import resources
        return self._read(resources.listed, self.host(), request)

    def resource_templates(self):
        from tools.mcp import resources
        return resources.templates()

    def read_resource(self, request, uri):
        from tools.mcp import resources
        return self._read(resources.read, self.host(), request, uri)

    def _read(self, function, *arguments):
        from tools.mcp.run import unreadable
        from tools.pve.client import Cancelled
        try:
            return function(*arguments)
        except (Cancelled, RpcError, NotFound):
            raise
        except Exception as error:                      # as in a call of a tool
            raise RpcError(INTERNAL, unreadable(self.log, error)) from None

    def prompts(self):
        from tools.mcp import prompts
        return prompts.listed()

    def get_prompt(self, request, name, arguments):
        from tools.mcp import prompts
        try:
            return prompts.get(name, arguments)
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, str(error)) from None

    def complete(self, request, ref, argument, context):
        from tools.mcp.completion import Completer
        if self._completer is None:
            self._completer = Completer(self.host())
        try:
            return self._completer.complete(ref, argument["name"], argument["value"], context)
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, str(error)) from None


def _with_token(definition):
    """The definition of a tool, with the argument that takes the token of a confirmation."""
    schema = definition["inputSchema"]
    properties = dict(schema.get("properties", {}), confirm_token=TOKEN_ARGUMENT)
    return dict(definition, inputSchema=dict(schema, properties=properties))
