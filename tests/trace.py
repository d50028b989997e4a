"""How one call flows: files, changes of file, function calls, and how deep the first request to Proxmox is sent from.

    python3 tests/trace.py proxmox_start_vm '{"vmid": 107}'     # --list: every call; --ask: confirm (modern era)

The call goes through the whole program, from its line on stdin to its answer, on the demo cluster; what the demo and
the standard library do is not counted, nor is what only runs once in a process (the call is made twice, on two guests'
worth of demo clusters, and the second is counted).
"""
import json
import os
import sys
import threading

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, HERE)
TOOLS = os.path.join(HERE, "tools") + os.sep


class Trace:
    """Counts our own function calls while it is on."""

    def __init__(self):
        self.calls, self.first = [], None

    def __call__(self, frame, event, _):
        name, function = frame.f_code.co_filename, frame.f_code.co_name
        if event != "call":
            return
        if not name.startswith(TOOLS):
            return
        stack = []
        while frame is not None:
            if frame.f_code.co_filename.startswith(TOOLS):
                stack.append(frame.f_code.co_filename[len(TOOLS):])
            frame = frame.f_back
        if not any("demo" in place for place in stack):
            self.calls.append((stack[0], function))
        elif self.first is None:
            self.first = len([place for place in stack if "demo" not in place])

    def figures(self):
        files = [name for name, _ in self.calls]
        return {"files": len(set(files)), "changes of file": sum(a != b for a, b in zip(files, files[1:])),
                "calls": len(files), "depth of the first request": self.first}


def traced(name, arguments, ask=False):
    """The Trace of one tools/call, from its line to its answer."""
    try:
        from tools.mcp.engine import Server
        from tools.policy.settings import demo_settings
    except ImportError:
        from tools.mcp.server import Server
        from tools.settings import demo_settings
    from tools.mcp import serve
    from tools.mcp.app import App
    settings = demo_settings({"PROXMOX_ALLOW_ELEVATED": "true", "PROXMOX_CONFIRM": "auto" if ask else "off"})
    answers, arrived = [], threading.Event()

    def write(line):
        answers.append(json.loads(line))
        if "id" in answers[-1]:
            arrived.set()
    info = {"name": "t", "title": "t", "version": "0", "instructions": "", "capabilities": serve.CAPABILITIES}
    trace = None
    for _ in range(2):
        app = App(settings, lambda level, event, **fields: None)
        app.host().client.warm()
        server = Server(write, lambda: app, info)
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
        params, trace = {"name": name, "arguments": arguments}, Trace()
        if ask:
            params["_meta"] = meta
        while True:
            arrived.clear()
            line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
            threading.setprofile(trace)
            sys.setprofile(trace)
            try:
                if ask:
                    server.receive(line)
                else:
                    server.version = "2025-11-25"
                    server.receive(line)
            finally:
                sys.setprofile(None)
            assert arrived.wait(60)
            threading.setprofile(None)
            result = answers[-1].get("result") or answers[-1]
            if result.get("resultType") != "input_required":
                break
            params = dict(params, requestState=result.get("requestState"),
                          inputResponses={"confirm": {"action": "accept", "content": {"confirm": True}}})
    return trace, result


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if not word.startswith("--")]
    found, answer = traced(given[0], json.loads(given[1]) if len(given) > 1 else {}, "--ask" in sys.argv)
    if "--list" in sys.argv:
        for place in found.calls:
            print("%s:%s" % place)
    print(answer["content"][0]["text"].splitlines()[0] if "content" in answer else answer)
    print(", ".join("%s %s" % pair for pair in found.figures().items()))
