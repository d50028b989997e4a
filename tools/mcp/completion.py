"""Completion: names and numbers from the cluster for the arguments of prompts and resource templates.

An answer is wanted within the time of a keystroke: what the cluster said is kept for some seconds, one request serves
all who wait for it, nobody waits longer than PATIENCE, and whatever fails completes nothing.
"""
import threading

from tools.mcp import prompts, resources
from tools.mcp.run import Nobody
from tools.pve.formats import fits

KEPT = 5.0              # seconds
PATIENCE = 3.0          # seconds
MOST_KEPT = 50          # answers of the cluster


class _Answer:
    """What the cluster said to one question: ready (Event), rows (list; empty when it failed), made (seconds)."""

    def __init__(self):
        self.ready, self.rows, self.made = threading.Event(), [], None


class Completer:
    """Completes for one Host."""

    def __init__(self, host, patience=PATIENCE):
        self._host, self._patience, self._lock, self._answers = host, patience, threading.Lock(), {}

    def complete(self, ref, name, value, context):
        """Values (list of str) for the argument `name` of `ref` (MCP) that fit what was typed, best ones first.

        context: {name: value} of the arguments already given. ValueError when there is no such reference or argument.
        """
        if name not in _arguments(ref):
            raise ValueError("%s has no argument %s" % (ref.get("name") or ref.get("uri"), name[:80]))
        typed = value.strip().lower()
        found = {}
        for one, words in self._candidates(name, context):
            if one not in found and typed in (one + "\n" + words).lower() and fits(name, one):
                found[one] = not one.lower().startswith(typed)
        return sorted(found, key=lambda one: found[one])

    def _candidates(self, name, context):
        """[(value, words to find it by)]; none where the cluster says something that is no list of them."""
        try:
            return _FIND[name](self, context) if name in _FIND else []
        except (KeyError, TypeError, ValueError) as error:
            self._host.log("debug", "completion failed", argument=name, error=repr(error))
            return []

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
                answer = self._answers[key] = _Answer()
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

    def node(self, context):
        """The node that is given, or that of the guest that is, or the first that is online; None without any."""
        guest = self.guest(context)
        nodes = {row.get("node"): row.get("status") for row in self.all("node")}
        if context.get("node") in nodes:
            return context["node"]
        return guest["node"] if guest else min((name for name in nodes if nodes[name] == "online"), default=None)


# ----------------------------------------------------------------------------- argument -> (value, words to find it by)

def _nodes(completer, context):
    return [(str(row["node"]), "") for row in sorted(completer.all("node"), key=lambda row: str(row.get("node")))]


def _guests(completer, context):
    """By number or by name: the value is the number, which is what the argument takes."""
    rows = [row for row in completer.all("qemu", "lxc") if context.get("node") in (None, "", row.get("node"))]
    return [(str(row["vmid"]), str(row.get("name", ""))) for row in sorted(rows, key=lambda row: int(row["vmid"]))]


def _storages(completer, context):
    rows = [row for row in completer.all("storage") if context.get("node") in (None, "", row.get("node"))]
    return sorted((str(row["storage"]), "") for row in rows)


def _bridges(completer, context):
    node = completer.node(context)
    rows = completer.rows("/nodes/{node}/network", {"node": node}, type="any_bridge") if node else []
    return sorted((str(row.get("iface")), "") for row in rows)


def _snapshots(completer, context):
    guest = completer.guest(context)
    if guest is None:
        return []
    rows = completer.rows("/nodes/{node}/{kind}/{vmid}/snapshot",
                          {"node": guest["node"], "kind": guest["type"], "vmid": guest["vmid"]})
    rows = [row for row in rows if row.get("name") != "current"]
    return [(str(row.get("name")), "") for row in sorted(rows, key=lambda row: -int(row.get("snaptime") or 0))]


def _tasks(completer, context):
    """The latest first, to be found by type and guest too."""
    rows = sorted(completer.rows("/cluster/tasks"), key=lambda row: -int(row.get("starttime") or 0))
    return [(str(row.get("upid")), "%s %s" % (row.get("type"), row.get("id"))) for row in rows]


_FIND = {"node": _nodes, "vmid": _guests, "storage": _storages, "bridge": _bridges, "snapname": _snapshots,
         "upid": _tasks}


def _arguments(ref):
    """Names of the arguments of a reference; ValueError when there is no such prompt or template."""
    if ref["type"] == "ref/prompt":
        if ref["name"] in prompts.PROMPTS:
            return [argument.name for argument in prompts.PROMPTS[ref["name"]].arguments]
        raise ValueError("Unknown prompt: %s" % ref["name"][:100])
    for resource in resources.TEMPLATES:
        if resource.template == ref["uri"]:
            return resource.ids
    raise ValueError("Unknown resource template: %s" % ref["uri"][:100])
