"""Test support: demo clusters behind real TLS, one server for all of them, and a client that names the wrong one."""
import os
import random
import threading
import time

from engine import Talk
from front import Front
from tools.demo import DemoCluster
from tools.demo.access import ALL_PRIVILEGES
from tools.mcp import approval
from tools.mcp.app import App
from tools.mcp.message import LATEST_LEGACY
from tools.policy.clusters import load_all
from tools.pve.waiting import wait

NAMES = ("work", "home", "lab")
FAST = 2000                                 # how much faster than ours the clock of a demo cluster goes


def value(name):
    """The value of the token of a cluster."""
    return ("%08x" % sum(map(ord, name))) + "-0000-0000-0000-000000000000"


class Gate:
    """A demo cluster that takes one token, and what it was asked: asked [(verb, path)], tokens (set)."""

    def __init__(self, name):
        self.cluster = DemoCluster(clock=lambda: time.monotonic() * FAST, tokens={"root@pam!demo": {
            "value": value(name), "acl": {"/": ALL_PRIVILEGES + ["VM.Monitor"]}}})
        self.asked, self.tokens = [], set()

    def handle(self, verb, target, headers, body=b""):
        self.asked.append((verb, target.partition("?")[0]))
        self.tokens.add(headers.get("Authorization"))
        return self.cluster.handle(verb, target, headers, body)

    def changes(self):
        return [one for one in self.asked if one[0] != "GET"]


class Hasty(App):
    """An App whose hosts wait for tasks, and before they try again, by the clock of the demo clusters."""

    def _open(self, settings):
        host = super()._open(settings)
        host.sleep = host.client._sleep = lambda event, seconds: wait(event, seconds / FAST)
        return host


class Fleet:
    """Several clusters and a server of them, a context manager. folder: for its file; top: lines of [DEFAULT]; more:
    {name: lines of its section}. gates {name: Gate}."""

    def __init__(self, folder, top=(), names=NAMES, **more):
        self.gates = {name: Gate(name) for name in names}
        self.fronts = {name: Front(gate) for name, gate in self.gates.items()}
        lines = ["[DEFAULT]", "token_name = demo", "allow_elevated = true", "rate_limit = 0", *top]
        for name, front in self.fronts.items():
            lines += ["[%s]" % name, "host = 127.0.0.1:%d" % front.port, "certificate = " + front.cert,
                      "token_value = " + value(name), *more.get(name, ())]
        self.path = os.path.join(str(folder), "clusters.ini")
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write("\n".join(lines))
        self.logged = []
        self.app = Hasty(load_all({"PROXMOX_CONFIG": self.path}),
                       lambda level, event, **fields: self.logged.append((level, event, fields)))

    def __enter__(self):
        for front in self.fronts.values():
            front.__enter__()
        return self

    def __exit__(self, *_):
        self.app.close()
        for front in self.fronts.values():
            front.__exit__()

    def talk(self, version=LATEST_LEGACY, asks=True):
        return Talk(self.app, version, {"elicitation": {}} if asks else {})

    def call(self, tool, **arguments):
        """The result of one call of a client that cannot be asked."""
        self.client = getattr(self, "client", None) or self.talk(asks=False)
        return self.client.call("tools/call", {"name": "proxmox_" + tool, "arguments": arguments})["result"]

    def count(self):
        return {name: len(gate.asked) for name, gate in self.gates.items()}


def said(result):
    return result["content"][0]["text"]


class Misleading:
    """A client that mixes clusters up. One `sequence()` is a change, with its question and answer, and what goes wrong
    in between; it returns what reached a cluster that was not named (which has to be nothing)."""

    def __init__(self, fleet, mode, seed):
        self.fleet, self.mode, self.dice, self.wrong = fleet, mode, random.Random(seed), []
        self.undo, self.runs = [], []

    def cluster(self):
        """(what stands as the argument `cluster`, the one cluster that it names or None)."""
        name = self.dice.choice(NAMES)
        if self.dice.random() < 0.6:
            return {"cluster": name}, name
        return self.dice.choice([
            ({"cluster": [name]}, name), ({"cluster": " %s " % name}, name), ({}, None),
            ({"cluster": None}, None), ({"cluster": ""}, None), ({"cluster": name.upper()}, None),
            ({"cluster": name[:-1]}, None), ({"cluster": name + "/"}, None), ({"cluster": "all"}, None),
            ({"cluster": [name, self.other(name)]}, None), ({"cluster": "%s,%s" % (name, self.other(name))}, None),
            ({"cluster": {"name": name}}, None), ({"cluster": 0}, None), ({"cluster": True}, None),
            ({"Cluster": name}, None),
            ({"cluster": "\u0435" + name[1:]}, None), ({"cluster": [[name]]}, None), ({"cluster_": name}, None)])

    def other(self, name):
        return self.dice.choice([one for one in NAMES if one != name])

    def change(self):
        """(tool, arguments) of a change."""
        dice, vmid = self.dice, self.dice.choice((100, 101, 104, 107))
        step = {"tool": "proxmox_stop_vm", "arguments": {"vmid": vmid}}
        if dice.random() < 0.3:
            step["arguments"]["cluster"] = dice.choice(NAMES)
        return dice.choice([
            ("stop_vm", {"vmid": vmid}), ("stop_vm", {"vmid": vmid}), ("start_vm", {"vmid": vmid}),
            ("create_snapshot_vm", {"vmid": vmid, "snapname": "s%d" % dice.randrange(10 ** 9)}),
            ("update_vm_config", {"vmid": vmid, "options": {"memory": dice.choice((2048, 4096, 8192))}}),
            ("api_call", {"verb": "POST", "path": "/nodes/pve1/qemu/100/status/reset"}),
            ("run", {"steps": [step, {"tool": "proxmox_get_vms", "arguments": {}}]}),
            ("undo", {"id": dice.choice(self.undo or ["u-aaaa"])})])

    def sequence(self):
        """A call, perhaps planned before; its question answered, perhaps by a call for another cluster."""
        tool, arguments = self.change()
        where, name = self.cluster()
        modern = self.dice.random() < 0.5
        talk = self.fleet.talk(None if modern else LATEST_LEGACY, self.mode != "token")
        if tool == "run" and self.dice.random() < 0.4:
            self.one(talk, modern, tool, dict(arguments, plan=True, **where), {name} - {None}, False)
            where, name = self.cluster()
        result = self.one(talk, modern, tool, dict(arguments, **where), {name} - {None}, True)
        if result is None:
            return
        again, retry = dict(arguments, **where), {}
        if self.dice.random() < 0.5:                    # the answer comes with another cluster
            for key in where:
                del again[key]
            where, name = self.cluster()
            again.update(where)
        if "requestState" in result:
            retry = {"requestState": result["requestState"],
                     "inputResponses": {"confirm": {"action": "accept", "content": {"confirm": True}}}}
        elif self.mode == "token" and said(result).startswith("\u2753"):
            again["confirm_token"] = said(result).split()[-1]
        else:
            return
        self.one(talk, modern, tool, again, {name} - {None}, True, **retry)

    def one(self, talk, modern, tool, arguments, named, may_change, **retry):
        """One call; nothing may reach a cluster that it does not name."""
        gates, before = self.fleet.gates, self.fleet.count()
        params = dict({"name": "proxmox_" + tool, "arguments": arguments}, **retry)
        if modern:
            answer = talk.call_modern("tools/call", params)
        else:
            id = talk.request("tools/call", params)
            answer = talk.read()
            while answer.get("method") == "elicitation/create":
                talk.send({"jsonrpc": "2.0", "id": answer["id"], "result": {
                    "action": "accept", "content": {"confirm": True}}})
                answer = talk.read()
            assert answer["id"] == id
        for name, gate in gates.items():
            asked = gate.asked[before[name]:]
            if name not in named and asked or not may_change and any(verb != "GET" for verb, _ in asked):
                self.wrong.append((tool, arguments, name, asked))
        result = answer.get("result")
        if result is not None and "content" in result:
            if "undo: " in said(result):
                self.undo = self.undo[-20:] + [said(result).rsplit("undo: ")[-1].split()[0]]
        return result


def _approving(state_dir, over):
    """Say yes to whatever waits."""
    while not over.wait(0.02):
        for shown in approval.waiting(state_dir):
            shown.answer(True)


def hostile(folder, mode, count, seed):
    """`count` sequences; (the Fleet, what went wrong)."""
    state_dir, over = os.path.join(str(folder), "state"), threading.Event()
    with Fleet(folder, ["confirm = " + mode, "state_dir = " + state_dir], home=["default = reads"]) as fleet:
        if mode == "terminal":
            threading.Thread(target=_approving, args=(state_dir, over), daemon=True).start()
        client = Misleading(fleet, mode, seed)
        try:
            for _ in range(count):
                client.sequence()
        finally:
            over.set()
        return fleet, client.wrong


def foreign(fleet):
    """The tokens that a cluster was sent and that are not its own."""
    return {name: [token for token in gate.tokens if token not in (None, "PVEAPIToken=root@pam!demo=" + value(name))]
            for name, gate in fleet.gates.items()}
