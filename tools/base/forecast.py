"""What earlier steps of a run will have made of the cluster, as far as a later step has to know it to be planned: which
guests there are, where, and whether they run. A step that needs more is planned when its turn comes."""
from tools.base.failures import Failure
from tools.policy.reach import Reach
from tools.pve.formats import GUEST_PATH

#: The end of a POST's path -> the state of a guest after it.
_STATES = {"start": "running", "resume": "running", "stop": "stopped", "shutdown": "stopped"}


class NotYet(Failure):
    """A step needs what an earlier one makes: what it sends is not known before that ran."""


def _guest(path):
    """(match, vmid, what follows) of a guest's path, or None."""
    match = GUEST_PATH.match(path)
    return (match, int(match.group(3)), path[match.end():]) if match else (None, None, None)


class Forecast:
    """Grows by `learn` with each step that was planned. touched: vmids (int) that a step before changes, or makes;
    made_guests: those that one makes; names: {name: vmid} of the guests that were looked up by name."""

    def __init__(self):
        self.touched, self.made_guests, self.names = set(), set(), {}
        self._rows, self._made, self._changed, self._gone = None, {}, {}, set()

    def learn(self, planned):
        """Take in the (verb, path, params) that a step will send."""
        rows = {int(row["vmid"]): row for row in self._rows or () if row.get("vmid")}
        for verb, path, params in planned:
            reach = Reach(verb, path, params)
            self.touched.update(reach.guests)
            for vmid, row in reach.new_rows(rows).items():
                self.made_guests.add(int(vmid))
                self._made[int(vmid)] = dict(row, status="stopped", type="lxc" if "/lxc" in path else "qemu",
                                             name=params.get("name") or params.get("hostname"))
            match, vmid, end = _guest(path)
            if match is None:
                continue
            row, words = self._changed.setdefault(vmid, {}), end.split("/")
            if verb == "POST" and end.startswith("/status/") and words[-1] in _STATES:
                row["status"] = _STATES[words[-1]]
            elif verb == "POST" and end == "/migrate":
                row["node"] = params.get("target")
            elif verb == "DELETE" and not end:
                self._gone.add(vmid)
                self._made.pop(vmid, None)

    def guests(self, read):
        """The rows of /cluster/resources?type=vm as they will be; read() gives the Reply, and is called once."""
        if self._rows is None:
            self._rows = read().data or []
        known = [dict(row, **self._changed.get(int(row.get("vmid") or 0), {})) for row in self._rows
                 if row.get("vmid") not in self._gone and row.get("vmid") not in self._made]
        return known + [dict(row, **self._changed.get(vmid, {})) for vmid, row in self._made.items()]

    def made(self, path):
        """What a GET of `path` will give of a guest that a step before makes; None of any other. NotYet."""
        match, vmid, end = _guest(path)
        if vmid in self._made:
            if end == "/status/current":
                return dict(self._made[vmid], **self._changed.get(vmid, {}))
            raise NotYet("Guest %d is made by an earlier step." % vmid)
        if match and self._changed.get(vmid, {}).get("node") == match.group(1):
            raise NotYet("Guest %d comes to node %s by an earlier step." % (vmid, match.group(1)))
        return None

    def changed(self, path, data):
        _, vmid, end = _guest(path)
        status = self._changed.get(vmid, {}).get("status")
        if status and end == "/status/current":
            return dict(data, status=status, qmpstatus=status)
        return data
