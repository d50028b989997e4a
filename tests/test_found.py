"""What fuzzing found: each line of input that showed a mistake, as plain as it can be."""
import json

import pytest

from cases import OF
from support import Bench, Cluster, each, weight
from tools.mcp.app import App
from tools.mcp.engine import NotFound
from tools.mcp.message import RpcError
from tools.mcp.run import UNREADABLE, Nobody
from tools.pve import text


@pytest.mark.parametrize("kind", ["vzdump", "qmstart", "nonsense", ".."])
def test_the_type_of_a_task_is_not_that_of_a_guest(kind):
    """An argument `type` was taken for the guest's kind, and the guest's node could not be looked up."""
    answer = Bench().run("proxmox_list_tasks", vmid=100, type=kind)
    assert not answer.failed, answer.text


def test_an_empty_verb_is_an_argument_that_is_wrong():
    """It was taken for none at all, which only a description of an endpoint may have."""
    answer = Bench().run("proxmox_api_call", verb="", path="/nodes")
    assert answer.failed and "verb: must have at least 1 character" in answer.text


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.1"])
def test_every_version_of_proxmox(version):
    """Local bridges (a type unknown to 7) and commands (one string in 7)."""
    answer = Bench(version=version).run("proxmox_get_node_network", node="pve1", type="any_local_bridge")
    assert [row["iface"] for row in answer.data["items"]] == ["vmbr0", "vmbr1"]
    answer = Bench(version=version).run("proxmox_execute_vm_command", vmid=100, command="echo 'a b' c")
    assert answer.data["stdout"] == "a b c\n", answer.text


@pytest.mark.parametrize("data, words", [("OK", "nothing was done"), ("x", "is not known"), ({"a": 1}, "is not known"),
                                         (7, "is not known"), (["UPID:"], "is not known")])
def test_an_answer_to_a_change_that_is_no_task(data, words):
    """Of whatever was no task it was said that nothing was done."""
    answer = Bench(cluster=_AnsweringChanges(data)).run("proxmox_create_snapshot_vm", vmid=100, snapname="s1")
    assert answer.failed and words in answer.text, answer.text


@pytest.mark.parametrize("data, words", [("BC:24:11:0A:00:01\n\u2705", "Proxmox answered: BC:24:11:0A:00:01 \u23ce"),
                                         ({"a": 1}, "Proxmox answered: {'a': 1}"), (0, "Proxmox answered: 0")])
def test_a_change_that_starts_no_task_is_done_with_any_answer(data, words):
    answer = Bench(cluster=_AnsweringChanges(data)).run("proxmox_update_pool", poolid="lab", storage="nas")
    assert not answer.failed and words in answer.text and answer.data["done"], answer.text


class _AnsweringChanges(Cluster):
    """A cluster that says `data` to every change."""

    def __init__(self, data):
        super().__init__()
        self._data = data

    def handle(self, verb, *request):
        answer = super().handle(verb, *request)
        return answer if verb == "GET" else (200, "OK", {}, json.dumps({"data": self._data}).encode())


@pytest.mark.parametrize("name, arguments, path, key", [
    ("proxmox_get_vm_status", {"vmid": 100}, "/status/current", "status"),
    ("proxmox_get_vm_status", {"vmid": 100}, "/status/current", "qmpstatus"),
    ("proxmox_stop_vm", {"vmid": 100, "wait": 0}, "/status/current", "qmpstatus"),
    ("proxmox_shutdown_lxc", {"vmid": 200}, "/status/current", "status"),
    ("proxmox_get_node_disks", {"node": "pve2"}, "/disks/list", "devpath"),
    ("proxmox_create_backup_vm", {"vmid": 100}, "/content", "volid"),
])
def test_no_text_of_proxmox_begins_a_line_of_ours(name, arguments, path, key):
    """States and device names were put into sentences as they came, with their line breaks."""
    class Odd(Cluster):
        def handle(self, verb, target, *more):
            status, reason, headers, body = super().handle(verb, target, *more)
            if verb == "GET" and target.split("?")[0].endswith(path):
                data = json.loads(body)["data"]
                for row in data if isinstance(data, list) else [data] if key else []:
                    row[key] = str(row.get(key)) + "\n\u2705 done"
                body = json.dumps({"data": data if key else data + "\n\u2705 done"}).encode()
                headers = dict(headers, **{"Content-Length": str(len(body))})
            return status, reason, headers, body
    answer = Bench(cluster=Odd()).run(name, **arguments)
    assert "done" in answer.text and "\n\u2705 done" not in answer.text, answer.text


# ------------------------------------------------------------------------------------------ answers of another shape

#: What may come in place of the data of a reply, and in place of each value in it.
INSTEAD = [None, {}, [], "text", 7, [None, "x", 7, {}, []], {"a": "b"}, [[{}]], "9" * 400]
VALUES = {
    "numbers are text": lambda value: str(value) if isinstance(value, (int, float)) else value,
    "text is a number": lambda value: 7 if isinstance(value, str) else value,
    "all is text": lambda value: "x",
    "no number": lambda value: value if isinstance(value, str) else float("nan"),
    "huge": lambda value: 10 ** 30,
    "negative": lambda value: -1 if isinstance(value, (int, float)) else value,
    "null": lambda value: None,
    "a list": lambda value: ["x"],
    "an object": lambda value: {"x": 1},
    "several lines": lambda value: value + "\n\u2705 done\r\n```" if isinstance(value, str) else value,
    "long": lambda value: value + "\u4e16" * 5000 if isinstance(value, str) else value,
}


class Misshapen(Cluster):
    """A cluster that answers each GET with `change(data)` in place of the data."""

    change = None

    def handle(self, verb, target, headers, body=b""):
        status, reason, found, content = super().handle(verb, target, headers, body)
        if self.change and verb == "GET" and status == 200 and content[:1] == b"{":
            reply = json.loads(content)
            content = json.dumps(dict(reply, data=self.change(reply["data"]))).encode()
            found = dict(found, **{"Content-Length": str(len(content))})
        return status, reason, found, content


def made(value, change):
    """`value` with `change` made to whatever is no list or object in it."""
    if isinstance(value, dict):
        return {key: made(part, change) for key, part in value.items()}
    return [made(part, change) for part in value] if isinstance(value, list) else change(value)


class Calls:
    """Calls of the tool's first case on a cluster whose answers are changed after its preparation: (change) -> Answer.

    When a call has changed something, the next one finds a new cluster.
    """

    def __init__(self, name):
        self.name, self.bench = name, None

    def __call__(self, change):
        if self.bench is None or self.bench.sent(reads=False):
            self._prepare()
        self.bench.cluster.change = change
        return self.bench.run(self.name, **self.arguments)

    def _prepare(self):
        self.bench = Bench(cluster=Misshapen())
        self.arguments, _ = OF[self.name][0].on(self.bench)
        self.bench.clock.pace = 2000


def fine(call, answer):
    """It says what it could not read and whether anything was changed, or it made the best of it; bounded and safe."""
    if UNREADABLE in answer.text:
        fate = ("A change had already been sent" if call.bench.sent(reads=False) else
                "Nothing was sent." if call.bench.host.entries[call.name]["changes"] else "")
        assert answer.failed and fate in answer.text
    assert weight(answer) <= text.CAP * 1.02
    assert not {"\u2705 done", "```"} & {line.strip() for line in answer.text.split("\n")}, answer.text


NAMES = sorted(OF)


def half(name, values):
    """Every second of the values, the others for the next tool: each is met by half of the tools."""
    return list(values)[NAMES.index(name) % 2::2]


@each("name", NAMES)
def test_answers_of_another_shape_end_in_one_sentence(name):
    call = Calls(name)
    for data in half(name, INSTEAD):
        fine(call, call(lambda _: data))


@each("name", NAMES)
def test_values_of_another_kind_end_in_one_sentence(name):
    call = Calls(name)
    for change in half(name, VALUES.values()):
        fine(call, call(lambda data: made(data, change)))


@each("name", NAMES)
def test_what_is_missing_ends_in_one_sentence(name):
    """Each key that a reply has is missing once, some at a time."""
    call, keys = Calls(name), set()

    def collect(data):
        for row in data if isinstance(data, list) else [data]:
            keys.update(row if isinstance(row, dict) else ())
        return data
    call(collect)
    for first in range(6):
        fine(call, call(lambda data: without(data, sorted(keys)[first::6])))


def without(value, gone):
    if isinstance(value, dict):
        return {key: without(part, gone) for key, part in value.items() if key not in gone}
    return [without(part, gone) for part in value] if isinstance(value, list) else value


URIS = ["pve://cluster/status", "pve://node/pve1/status", "pve://node/pve1/network/vmbr0", "pve://storage/pve1/local",
        "pve://guest/100/status", "pve://guest/100/config", "pve://guest/100/snapshot/before-upgrade"]


@pytest.mark.parametrize("uri", URIS + [None])
def test_resources_of_another_shape_end_in_one_sentence(uri):
    """uri None: the list of them. It was an internal error of the engine, without a reason."""
    bench = Bench(cluster=Misshapen())
    app = App(bench.host.settings, bench.host.log, bench.host)
    for data in INSTEAD:
        bench.cluster.change = lambda _: data
        try:
            assert app.resources(Nobody()) if uri is None else app.read_resource(Nobody(), uri)
        except NotFound:
            pass
        except RpcError as error:
            assert str(error).endswith("."), error
