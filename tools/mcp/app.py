"""The app that the engine serves: the tool table, resources, prompts and completion, bound to one Proxmox, or several.

Listing tools needs only the settings and tools.json (outputs.json where answers have data); what is heavy (the
handlers, `requests`) is imported by `warm` in the background, or when a tool is first called.
"""
import json
import sys
from functools import partial

from tools import entries, instead, outputs, surface
from tools.mcp.clusters import default_of, more, shown
from tools.mcp.engine import Once
from tools.mcp.message import INVALID_PARAMS, RpcError

#: Tools that change something take this where PROXMOX_CONFIRM=token; elsewhere it is not shown.
TOKEN_ARGUMENT = {"type": "string", "description": "from the first call's answer, if it asked for one"}

#: Arguments that clients add to calls for themselves -> the one value that is meant, if not any: they are dropped.
#: Cline, n8n before 2.4, Gemini CLI, Antigravity, OpenHands, Cursor (to tools without arguments), LangChain.
ADDED = {**dict.fromkeys((
    "task_progress", "toolCallId", "sessionId", "chatInput", "wait_for_previous", "waitForPreviousTools", "toolAction",
    "toolSummary", "security_risk", "random_string", "_meta", "requestId")), "action": "sendMessage"}


class App:
    """What the engine asks for, of one Settings or a list of them; of the command line, too, whose `person` is asked
    and keeps a journal only in a PROXMOX_STATE_DIR. hosts: {name of the cluster, or None: Once, its Host}; host: a
    ready one (tests)."""

    def __init__(self, settings, log, host=None, person=None):
        self.every = settings if isinstance(settings, list) else [settings]
        self.settings, self.log, self.several, self.person = self.every[0], log, len(self.every) > 1, person
        self.hosts = {one.cluster: Once(partial(self._open, one), host) for one in self.every}
        self.host = self.hosts[self.settings.cluster]
        self._tools, self._completers = None, {}

    def _open(self, settings):
        from tools.mcp.consent import Consent
        from tools.mcp.run import Host, demo_adapter
        from tools.policy.journal import Journal
        log = partial(self.log, cluster=settings.cluster) if settings.cluster else self.log
        return Host(settings, log, adapter=demo_adapter(settings), consent=self.person or Consent(settings.confirm),
                    journal=None if self.person and not settings.state_dir else Journal.of(settings, log))

    def warm(self):
        """Import and build what the first call needs; whatever is wrong shows in that call."""
        try:
            import requests  # noqa: F401
            if not self.several:
                self.host().client.warm()
        except Exception as error:
            self.log("debug", "not ready yet", error=repr(error))

    def close(self):
        """The process ends: stop what ssh runs, withdraw questions, note what is still on its way."""
        if "tools.ssh" in sys.modules:
            sys.modules["tools.ssh"].stop()
        for host in self.hosts.values():
            if host.made is not None:
                host.made.close()

    def tools(self):
        """The definitions of the tools that are switched on, with an outputSchema where answers have data."""
        if self._tools is None:
            from tools.policy.selection import Selection
            token = any(one.confirm == "token" for one in self.every)
            selections = [(one, Selection(one)) for one in self.every]
            found = []
            for entry in surface():
                where = [one for one, selection in selections if selection.hidden_by(entry) is None]
                if where:
                    tool = shown(entry["tool"], entry["changes"], where) if self.several else entry["tool"]
                    found.append(more(tool, "confirm_token", TOKEN_ARGUMENT) if token and entry["changes"] else tool)
            if self.settings.answers != "text":
                schemas = outputs()
                found = [dict(tool, outputSchema=schemas[tool["name"]]) for tool in found]
            self._tools = found
        return self._tools

    def call_tool(self, request, name, arguments):
        """The tools/call result, as PROXMOX_ANSWERS says; a failure is a text alone. `data`: its JSON as the text as
        well (2025-06-18 and later, server/tools: SHOULD), whichever of the two a client shows."""
        if name not in entries():
            raise RpcError(INVALID_PARAMS, "Unknown tool: %s.%s" % (name[:100], instead(name)))
        added = [key for key, value in arguments.items() if key in ADDED and ADDED[key] in (None, value)]
        if added:
            self.log("info", "arguments that the client added were dropped", tool=name, names=added)
            arguments = {key: value for key, value in arguments.items() if key not in added}
            request.params["arguments"] = arguments     # a question and its answer are bound to these
        answer = self.run(name, arguments, request, asked=True)
        answers, text = self.settings.answers, answer.text
        if answers == "data" and not answer.failed:
            text = json.dumps(answer.data, separators=(",", ":"), ensure_ascii=False)
        result = {"content": [{"type": "text", "text": text}], "isError": answer.failed}
        if answers != "text" and not answer.failed:
            result["structuredContent"] = answer.data
        return result

    def run(self, name, arguments, request, **more):
        """The Answer of a tool, at the cluster or clusters that the arguments name."""
        if not self.several:
            return self.host().run(name, arguments, request, **more)
        from tools.mcp import several
        return several.run(self, name, arguments, request, **more)

    def resources(self, request):
        from tools.mcp import resources
        return resources.served(self, resources.listed, resources.listed_of, request)

    def resource_templates(self):
        from tools.mcp import resources
        return resources.templates(self.several)

    def read_resource(self, request, uri):
        from tools.mcp import resources
        return resources.served(self, resources.read, resources.read_of, request, uri)

    def prompts(self):
        from tools.mcp import prompts
        return prompts.listed(self.several)

    def get_prompt(self, request, name, arguments):
        from tools.mcp import prompts
        return prompts.get(name, arguments, list(self.hosts) if self.several else ())

    def complete(self, request, ref, argument, context):
        from tools.mcp import resources
        from tools.mcp.completion import Completer
        name = self.settings.cluster
        if self.several:
            if argument["name"] == "cluster":
                return [one for one in self.hosts if one.lower().startswith(argument["value"].lower())]
            name = context.get("cluster") or default_of(self.every, False)
            if name not in self.hosts:                  # nobody is asked for what nobody named
                return []
            ref = dict(ref, uri=resources.of_one(ref["uri"])) if "uri" in ref else ref
        if name not in self._completers:
            self._completers[name] = Completer(self.hosts[name]())
        return self._completers[name].complete(ref, argument["name"], argument["value"], context)
