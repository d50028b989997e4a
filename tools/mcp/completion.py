"""Completion: names and numbers from the cluster for the arguments of prompts and resource templates.

An answer is wanted within the time of a keystroke: what the cluster said is kept for some seconds, one request serves
all who wait for it, nobody waits longer than PATIENCE, and whatever fails completes nothing.
"""
import threading
from types import SimpleNamespace

from tools.mcp import prompts, resources
from tools.mcp.message import INVALID_PARAMS, RpcError
from tools.mcp.run import Nobody
from tools.pve.formats import fits

KEPT = 5.0              # seconds
PATIENCE = 3.0          # seconds
MOST_KEPT = 50          # answers of the cluster


class Completer:
    """Completes for one Host."""

    def __init__(self, host, patience=PATIENCE):
        self._host, self._patience, self._lock, self._answers = host, patience, threading.Lock(), {}

    def complete(self, ref, name, value, context):
        """Values (list of str) for the argument `name` of `ref` (MCP), best ones first; context: {name: value} of the
        others. RpcError when there is no such reference or argument."""
        if ref["type"] == "ref/prompt":
            said, known = ref["name"], {prompt: [argument.name for argument in row.arguments]
                                        for prompt, row in prompts.PROMPTS.items()}
        else:
            said, known = ref["uri"], {resource.template: resource.ids for resource in resources.TEMPLATES}
        if name not in known.get(said, ()):
            raise RpcError(INVALID_PARAMS, "There is no %s with an argument %s" % (said[:100], name[:80]))
        try:
            candidates = _FIND[name](self, context) if name in _FIND else []
        except (KeyError, TypeError, ValueError) as error:          # what the cluster says is no list of them
            self._host.log("debug", "completion failed", argument=name, error=repr(error))
            candidates = []
        typed, found = value.strip().lower(), {}
        for one, words in candidates:
            if one not in found and typed in (one + "\n" + words).lower() and fits(name, one):
                found[one] = not one.lower().startswith(typed)
        return sorted(found, key=lambda one: found[one])

    # -- what the cluster says

    def rows(self, path, ids=None, **params):
        """The rows (list of dicts) of a GET, fresh or a few seconds old; empty when it failed or takes too long."""
        key = (path, str(sorted((ids or {}).items())), str(sorted(params.items())))
        now = self._host.clock()
        with self._lock:
            answer = self._answers.get(key)
            if answer is None or (answer.made is not None and now - answer.made > KEPT):
                if len(self._answers) >= MOST_KEPT:
                    self._answers.clear()
                answer = self._answers[key] = SimpleNamespace(ready=threading.Event(), rows=[], made=None)
                threading.Thread(target=self._ask, args=(answer, path, ids, params), daemon=True).start()
        answer.ready.wait(self._patience)
        return answer.rows

    def _ask(self, answer, path, ids, params):
        try:
            rows = resources.opened(self._host, Nobody()).get(path, ids, **params)
            answer.rows = [row for row in rows if isinstance(row, dict)]
        except Exception as error:                  # no rows then; a thread has nobody to tell but the log
            self._host.log("debug", "completion failed", path=path, error=str(error))
        answer.made = self._host.clock()
        answer.ready.set()

    def all(self, *types):
        """Rows of /cluster/resources of these types."""
        return [row for row in self.rows("/cluster/resources") if row.get("type") in types]

    def guest(self, context):
        """The row of the guest whose vmid is given, or None."""
        vmid = context.get("vmid")
        return next((row for row in self.all("qemu", "lxc") if vmid and str(row.get("vmid")) == vmid), None)


# ----------------------------------------------------------------------------- argument -> (value, words to find it by)

def _named(key, types, order=str):
    """What finds the nodes, guests or storages: guests by number or by name."""
    def find(completer, context):
        rows = [row for row in completer.all(*types) if key == "node" or context.get("node") in (
            None, "", row.get("node"))]
        return [(str(row[key]), str(row.get("name", ""))) for row in sorted(rows, key=lambda row: order(row[key]))]
    return find


def _bridges(completer, context):
    """Of the node that is given, or that of the guest that is, or the first that is online."""
    guest, nodes = completer.guest(context), {row.get("node"): row.get("status") for row in completer.all("node")}
    node = context.get("node")
    if node not in nodes:
        node = guest["node"] if guest else min((name for name in nodes if nodes[name] == "online"), default=None)
    rows = completer.rows("/nodes/{node}/network", {"node": node}, type="any_bridge") if node else []
    return sorted((str(row.get("iface")), "") for row in rows)


def _snapshots(completer, context):
    guest = completer.guest(context)
    rows = completer.rows("/nodes/{node}/{kind}/{vmid}/snapshot", {
        "node": guest["node"], "kind": guest["type"], "vmid": guest["vmid"]}) if guest else []
    return [(str(row.get("name")), "") for row in sorted(rows, key=lambda row: -int(row.get("snaptime") or 0))
            if row.get("name") != "current"]


def _tasks(completer, context):
    """The latest first, to be found by type and guest too."""
    rows = sorted(completer.rows("/cluster/tasks"), key=lambda row: -int(row.get("starttime") or 0))
    return [(str(row.get("upid")), "%s %s" % (row.get("type"), row.get("id"))) for row in rows]


_FIND = {"node": _named("node", ("node",)), "vmid": _named("vmid", ("qemu", "lxc"), int),
         "storage": _named("storage", ("storage",)), "bridge": _bridges, "snapname": _snapshots, "upid": _tasks}
