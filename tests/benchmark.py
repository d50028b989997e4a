"""Measures start-up, memory and calls against the demo cluster behind loopback TLS, as ratios within one run.

    python3 tests/benchmark.py [--runs 20] [--calls 300] [--installed PATH-OF-proxmox-mcp]

Two things are measured in turn (A B A B ...), so that a machine that is busy slows both; medians are printed, with the
target beside each. The yardstick of the calls is a stdio server of some 40 lines that does one requests.Session.get per
call.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PROGRAM = os.path.join(ROOT, "proxmox_mcp.py")
INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}}

#: The yardstick: what the smallest useful server would do.
BARE = r'''
import json, os, sys
import requests
session = requests.Session()
session.trust_env = False
session.verify = os.environ["PROXMOX_CERTIFICATE"]
session.headers["Authorization"] = "PVEAPIToken=root@pam!%s=%s" % (
    os.environ["PROXMOX_TOKEN_NAME"], os.environ["PROXMOX_TOKEN_VALUE"])
base = "https://%s/api2/json" % os.environ["PROXMOX_HOST"]
PATHS = {"proxmox_get_vms": "/cluster/resources?type=vm",
         "proxmox_get_vm_status": "/nodes/%(node)s/qemu/%(vmid)s/status/current",
         "proxmox_get_node_dns": "/nodes/%(node)s/dns"}
def answer(message, result):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()
for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        answer(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                         "serverInfo": {"name": "bare", "version": "1"}})
    elif message["method"] == "tools/call":
        arguments = message["params"]["arguments"]
        reply = session.get(base + PATHS[message["params"]["name"]] % arguments, timeout=30)
        answer(message, {"content": [{"type": "text", "text": json.dumps(reply.json()["data"])}], "isError": False})
'''

#: The Proxmox side, in a process of its own: the demo cluster behind TLS. Arguments: guests (0: the dozen), delay in
#: seconds.
FRONT = r'''
import sys, time
sys.path[:0] = [%r, %r]
from front import Front
from tools.demo import DemoCluster
guests, delay = int(sys.argv[1]), float(sys.argv[2])
class Slow:
    def __init__(self, cluster): self.cluster, self.kept = cluster, {}
    def handle(self, verb, target, headers, body=b""):
        if delay: time.sleep(delay)
        if guests and verb == "GET":                     # the big list is made once: it is not what is measured
            if target not in self.kept: self.kept[target] = self.cluster.handle(verb, target, headers, body)
            return self.kept[target]
        return self.cluster.handle(verb, target, headers, body)
with Front(Slow(DemoCluster(guests=guests or None))) as front:
    sys.stdout.write("%%d %%s\n" %% (front.port, front.cert)); sys.stdout.flush()
    sys.stdin.read()
''' % (HERE, ROOT)


class Cluster:
    """A demo cluster behind TLS; .env is what a server needs to reach it."""

    def __init__(self, guests=0, delay=0.0):
        self.process = subprocess.Popen([sys.executable, "-c", FRONT, str(guests), str(delay)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        port, cert = self.process.stdout.readline().decode().split(None, 1)
        self.env = dict(os.environ, PROXMOX_HOST="127.0.0.1:" + port, PROXMOX_CERTIFICATE=cert.strip(),
                        PROXMOX_TOKEN_NAME="demo", PROXMOX_TOKEN_VALUE="11111111-2222-3333-4444-555555555555",
                        PROXMOX_ALLOW_ELEVATED="true", PROXMOX_RATE_LIMIT="0", PYTHONDONTWRITEBYTECODE="")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)


class Session:
    """A stdio MCP server under the clock."""

    def __init__(self, command, env):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=env, cwd="/")
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)

    def send(self, method, params=None):
        """Write a request; its id."""
        self.number += 1
        message = {"jsonrpc": "2.0", "id": self.number, "method": method}
        if params is not None:
            message["params"] = params
        self.process.stdin.write((json.dumps(message) + "\n").encode())
        self.process.stdin.flush()
        return self.number

    def read(self):
        """The next line, as bytes."""
        return self.process.stdout.readline()

    def ask(self, method, params=None):
        """(seconds, reply line) of one request."""
        start = time.perf_counter()
        self.send(method, params)
        line = self.read()
        return time.perf_counter() - start, line

    def call(self, tool, **arguments):
        """(seconds, reply line) of one tool."""
        seconds, line = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if b'"isError":true' in line or b'"error":' in line:
            raise SystemExit("the call failed: %r" % line[:400])
        return seconds, line

    def memory(self):
        """Peak resident memory in MB, or None where /proc is not there."""
        try:
            with open("/proc/%d/status" % self.process.pid, encoding="ascii") as stream:
                return next(int(line.split()[1]) / 1024.0 for line in stream if line.startswith("VmHWM"))
        except OSError:
            return None


def seconds_of(command):
    """How long a whole command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                   timeout=60)
    return time.perf_counter() - start


def row(what, measured, target, note=""):
    """Print one row of the table."""
    mark = "" if target is None else " (target %s: %s)" % (target, "met" if measured <= target else "MISSED")
    sys.stdout.write("| %s | %.2f%s | %s |\n" % (what, measured, mark, note))
    sys.stdout.flush()


def start_up(programs, env, runs):
    """Start to the answer of initialize, and to that of tools/list, as ratios to an interpreter that imports json."""
    floor, first, listing, memory = [], {n: [] for n in programs}, {n: [] for n in programs}, {}
    for _ in range(runs):
        floor.append(seconds_of([sys.executable, "-I", "-c", "import json"]))
        for name, (command, _, _) in programs.items():
            with Session(command, env) as session:
                session.process.stdin.write((json.dumps(INITIALIZE) + "\n").encode())
                session.process.stdin.flush()
                session.read()
                first[name].append(time.perf_counter() - session.started)
            with Session(command, env) as session:
                session.process.stdin.write((json.dumps(INITIALIZE) + "\n").encode())
                session.send("tools/list")
                session.read()
                session.read()
                listing[name].append(time.perf_counter() - session.started)
                memory[name] = session.memory()
    base = statistics.median(floor)
    for name, (_, target_first, target_list) in programs.items():
        row("start to initialize, %s" % name, statistics.median(first[name]) / base, target_first,
            "%.0f ms; python3 -I -c 'import json': %.0f ms" % (statistics.median(first[name]) * 1000, base * 1000))
        row("start to tools/list, %s" % name, statistics.median(listing[name]) / base, target_list,
            "%.0f ms" % (statistics.median(listing[name]) * 1000))
        if memory[name]:
            row("peak memory after tools/list, %s (MB)" % name, memory[name], 20)


def memory_of_calls(command, env):
    """Peak memory after the first call against that of an interpreter that imports requests."""
    code = ("import requests, sys\n"
            "sys.stdout.write(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])")
    try:
        base = int(subprocess.check_output([sys.executable, "-c", code], timeout=60)) / 1024.0
    except (OSError, subprocess.CalledProcessError, StopIteration):
        return
    with Session(command, env) as session:
        session.ask("initialize", INITIALIZE["params"])
        session.call("proxmox_get_vms")
        row("peak memory after the first call / import requests", session.memory() / base, 1.3,
            "%.1f MB / %.1f MB" % (session.memory(), base))


def calls(command, bare, cluster, count):
    """Round trips of one reading tool, ours and the yardstick's in turn."""
    for tool, arguments in (("proxmox_get_vm_status", {"node": "pve1", "vmid": 100}),
                            ("proxmox_get_node_dns", {"node": "pve1"})):
        with Session(command, cluster.env) as ours, Session(bare, cluster.env) as theirs:
            for session in (ours, theirs):
                session.ask("initialize", INITIALIZE["params"])
                for _ in range(10):
                    session.call(tool, **arguments)
            mine, other = [], []
            for _ in range(count):
                mine.append(ours.call(tool, **arguments)[0])
                other.append(theirs.call(tool, **arguments)[0])
        row("%s / bare server" % tool, statistics.median(mine) / statistics.median(other), 1.0,
            "%.2f ms / %.2f ms" % (statistics.median(mine) * 1000, statistics.median(other) * 1000))


def at_once(command, rounds):
    """Eight calls at once at 50 ms a Proxmox request against one; a ping while they run."""
    with Cluster(delay=0.05) as cluster, Session(command, cluster.env) as session:
        session.ask("initialize", INITIALIZE["params"])
        arguments = {"node": "pve1", "vmid": 100}
        for _ in range(2):
            for _ in range(8):
                session.send("tools/call", {"name": "proxmox_get_vm_status", "arguments": arguments})
            for _ in range(8):
                session.read()
        one, eight, pings = [], [], []
        for _ in range(rounds):
            one.append(session.call("proxmox_get_vm_status", **arguments)[0])
            start = time.perf_counter()
            for _ in range(8):
                session.send("tools/call", {"name": "proxmox_get_vm_status", "arguments": arguments})
            asked = time.perf_counter()
            ping = session.send("ping")
            for _ in range(9):
                if json.loads(session.read())["id"] == ping:
                    pings.append(time.perf_counter() - asked)
            eight.append(time.perf_counter() - start)
    row("8 calls at once / one, 50 ms a request", statistics.median(eight) / statistics.median(one), 2.2,
        "%.0f ms / %.0f ms" % (statistics.median(eight) * 1000, statistics.median(one) * 1000))
    row("ping meanwhile (ms)", statistics.median(pings) * 1000, 5)


def big_cluster(command, bare, rounds):
    """proxmox_get_vms of 10,000 guests against the yardstick handing on the raw list."""
    with Cluster(guests=10000) as cluster, Session(command, cluster.env) as ours, Session(bare, cluster.env) as theirs:
        for session in (ours, theirs):
            session.ask("initialize", INITIALIZE["params"])
            session.call("proxmox_get_vms")
        mine, other = [], []
        for _ in range(rounds):
            mine.append(ours.call("proxmox_get_vms"))
            other.append(theirs.call("proxmox_get_vms"))
    median, yardstick = (statistics.median(seconds for seconds, _ in one) for one in (mine, other))
    row("proxmox_get_vms of 10,000 guests / bare server", median / yardstick, 1.0,
        "%.0f ms / %.0f ms" % (median * 1000, yardstick * 1000))
    row("its answer (kB)", len(mine[-1][1]) / 1000.0, 25, "the bare server's: %.0f kB" % (len(other[-1][1]) / 1000.0))


def main():
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="starts of each kind (default 20)")
    parser.add_argument("--calls", type=int, default=300, help="round trips of each kind (default 300)")
    parser.add_argument("--installed", metavar="PATH", help="an installed proxmox-mcp, to measure its start too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packed = os.path.join(folder, "proxmox-mcp.pyz")
        subprocess.run([sys.executable, PROGRAM, "pack", packed], check=True, stdout=subprocess.DEVNULL, timeout=60)
        checkout = [sys.executable, "-I", PROGRAM]
        bare = os.path.join(folder, "bare.py")
        with open(bare, "w", encoding="ascii") as stream:
            stream.write(BARE)
        programs = {"checkout": (checkout, 1.5, 3.0), ".pyz": ([sys.executable, "-I", packed], 2.5, 6.0)}
        if options.installed:
            programs["installed"] = ([options.installed], None, None)
        sys.stdout.write("Python %s, medians of %d starts and %d calls\n\n| what | measured | |\n|---|---|---|\n" % (
            sys.version.split()[0], options.runs, options.calls))
        with Cluster() as cluster:
            start_up(programs, cluster.env, options.runs)
            memory_of_calls(checkout, cluster.env)
            calls(checkout, [sys.executable, bare], cluster, options.calls)
        at_once(checkout, max(5, options.calls // 15))
        big_cluster(checkout, [sys.executable, bare], max(5, options.calls // 15))
    return 0


if __name__ == "__main__":
    sys.exit(main())
