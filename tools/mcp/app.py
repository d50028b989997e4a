"""The app that the engine serves: the tool table, resources, prompts and completion, bound to one Proxmox.

Listing tools needs only the settings and tools.json; what is heavy (the handlers, `requests`) is imported by `warm` in the
background, or when a tool is first called.
"""
import threading

from tools import surface
from tools.mcp.server import INVALID_PARAMS, Cancelled, NotFound, RpcError

#: Destructive tools take this where PROXMOX_CONFIRM=token; elsewhere it is not shown.
TOKEN_ARGUMENT = {"type": "string", "description": "from the first call's answer"}


class App:
    """Serves one Settings. log(level, event, **fields)."""

    def __init__(self, settings, log):
        self.settings, self.log = settings, log
        self._host, self._lock = None, threading.Lock()
        self._tools = None
        # what is listed depends on settings alone; a cache may share it only when none of them was touched
        self.tools_scope = "private"

    @property
    def host(self):
        """The Host; made when first needed."""
        if self._host is None:
            with self._lock:
                if self._host is None:
                    self._host = self._open()
        return self._host

    def _open(self):
        from tools.host import Host
        from tools.mcp.confirm import Consent
        adapter = None
        if self.settings.demo:
            from tools.pve.demo import DemoCluster
            adapter = DemoCluster()
        self.consent = Consent(self.settings.confirm)
        return Host(self.settings, self.log, adapter=adapter, consent=self.consent)

    def warm(self):
        """Import and build what the first call needs; whatever is wrong shows in that call."""
        try:
            self.host.client.warm()
        except Exception as error:
            self.log("debug", "not ready yet", error=repr(error))

    # -- tools

    def tools(self):
        """The definitions of the tools that are switched on."""
        if self._tools is None:
            from tools.guard import Guard
            guard, tools = Guard(self.settings), []
            for entry in surface():
                if guard.listed(entry):
                    if self.settings.confirm == "token" and entry["tier"] == "destructive":
                        entry["tool"]["inputSchema"]["properties"]["confirm_token"] = TOKEN_ARGUMENT
                    tools.append(entry["tool"])
            self._tools = tools
        return self._tools

    def call_tool(self, request, name, arguments):
        """The result (dict) of tools/call."""
        from tools.host import UnknownTool
        from tools.pve.client import Cancelled as Stopped
        request.confirm_token = None
        if self.settings.confirm == "token" and "confirm_token" in arguments:
            arguments = dict(arguments)
            request.confirm_token = arguments.pop("confirm_token")
        request.arguments = arguments
        host = self.host
        self.consent.check_state(request, name, arguments)
        try:
            answer = host.run(name, arguments, request)
        except UnknownTool:
            raise RpcError(INVALID_PARAMS, "Unknown tool: %s" % name[:100]) from None
        except Stopped:
            raise Cancelled() from None
        result = {"content": [{"type": "text", "text": answer.text}], "isError": answer.failed}
        if not answer.failed:
            result["structuredContent"] = answer.data
        return result

    # -- resources, prompts, completion

    def resources(self, request):
        """The resources that can be read now."""
        from tools import resources
        return resources.listed(self.host, request)

    def resource_templates(self):
        """The templates of resources."""
        from tools import resources
        return resources.templates()

    def read_resource(self, request, uri):
        """The contents (list) of one resource; NotFound."""
        from tools import resources
        try:
            return resources.read(self.host, request, uri)
        except resources.Missing:
            raise NotFound(uri) from None

    def prompts(self):
        """The prompts."""
        from tools import prompts
        return prompts.listed()

    def get_prompt(self, request, name, arguments):
        """The result of prompts/get."""
        from tools import prompts
        try:
            return prompts.get(name, arguments)
        except (KeyError, ValueError) as error:
            raise RpcError(INVALID_PARAMS, str(error.args[0])) from None

    def complete(self, request, ref, argument, context):
        """Values (list of str) that begin with what was typed."""
        from tools import completion
        try:
            return completion.complete(self.host, request, ref, argument["name"], argument["value"], context)
        except (KeyError, ValueError) as error:
            raise RpcError(INVALID_PARAMS, str(error.args[0])) from None
