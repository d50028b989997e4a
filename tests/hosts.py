"""Runs the packed program on real distributions: their own Python and requests, no network but loopback.

    python3 tests/hosts.py [SUITE ...]      as root, where debootstrap is; leaves nothing but the roots (--keep DIR)

For each suite a minimal root is made with debootstrap, the .pyz copied in, and inside it, in a network namespace with
nothing but loopback, as an unprivileged user without HOME: initialize, tools/list, a reading call and a changing call
over TLS (CA file) to an HTTPS server in front of the demo cluster. It needs debootstrap, unshare and root, and says so
where they are missing.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)

#: suite -> (mirror, debootstrap's script); a debootstrap of Debian knows neither Ubuntu's mirror nor its latest suites.
DEBIAN, UBUNTU = ("http://deb.debian.org/debian", "sid"), ("http://archive.ubuntu.com/ubuntu", "gutsy")
SUITES = {"bullseye": DEBIAN, "bookworm": DEBIAN, "trixie": DEBIAN, "testing": DEBIAN,
          "jammy": UBUNTU, "noble": UBUNTU, "resolute": UBUNTU}
PACKAGES = "python3,python3-requests,openssl"
UBUNTU_KEYS = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"      # of the package ubuntu-keyring

#: Runs inside the root: the server of the demo cluster and the client of the .pyz, all over loopback.
INSIDE = r'''
import json, os, platform, shutil, subprocess, sys
sys.path[:0] = ["/proxmox-test/checkout/tests", "/proxmox-test/checkout"]
import requests, urllib3, ssl
from front import Front
from tools.demo import DemoCluster
env = {"PROXMOX_TOKEN_NAME": "demo", "PROXMOX_TOKEN_VALUE": "11111111-2222-3333-4444-555555555555",
       "PROXMOX_ALLOW_ELEVATED": "true"}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
with Front(DemoCluster()) as front:
    shutil.copy(front.cert, "/proxmox-test/ca.pem"); os.chmod("/proxmox-test/ca.pem", 0o644)
    env.update(PROXMOX_HOST="127.0.0.1:%d" % front.port, PROXMOX_CERTIFICATE="/proxmox-test/ca.pem")
    lines = [{"method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {},
                                                 "clientInfo": {"name": "t", "version": "1"}}},
             {"method": "tools/list"},
             {"method": "tools/call", "params": {"name": "proxmox_get_vms", "arguments": {}}},
             {"method": "tools/call", "params": {"name": "proxmox_create_snapshot_vm",
                                                 "arguments": {"vmid": 100, "snapname": "host-test"}}},
             {"method": "tools/call", "params": {"name": "proxmox_get_node_status", "arguments": {"node": "pve1"},
                                                 "_meta": META}}]
    def unprivileged():
        os.setgid(65534); os.setuid(65534)
    server = subprocess.Popen([sys.executable, "-I", "/proxmox-test/proxmox-mcp.pyz"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=env, cwd="/", preexec_fn=unprivileged)
    replies = []
    for number, line in enumerate(lines):
        server.stdin.write((json.dumps(dict(line, jsonrpc="2.0", id=number)) + "\n").encode()); server.stdin.flush()
        replies.append(json.loads(server.stdout.readline()))
    server.stdin.close()
    status = server.wait(20)
good = [r.get("result") is not None and not r["result"].get("isError") for r in replies]
texts = [r["result"]["content"][0]["text"].split("\n")[0] if "content" in (r.get("result") or {}) else ""
         for r in replies]
print(json.dumps({"python": platform.python_version(), "requests": requests.__version__, "urllib3": urllib3.__version__,
                  "openssl": ssl.OPENSSL_VERSION.split()[1], "good": all(good) and status == 0, "answers": good,
                  "exit": status, "tools": len(replies[1]["result"]["tools"]), "texts": texts,
                  "errors": [r for r, g in zip(replies, good) if not g]}))
'''


def missing():
    """Why this cannot run here, or None."""
    if os.name != "posix" or os.geteuid() != 0:
        return "it needs root (for debootstrap and chroot)"
    for command in ("debootstrap", "unshare", "chroot", "ip"):
        if not shutil.which(command):
            return "the command %s is not there" % command
    return None


def try_suite(suite, folder):
    """The facts (dict) of a run in a root of `suite`; made in `folder` unless it is there."""
    root = os.path.join(folder, suite)
    if not os.path.exists(os.path.join(root, "usr/bin/python3")):
        source = SUITES.get(suite, DEBIAN)
        command = ["debootstrap", "--variant=minbase", "--include=" + PACKAGES]
        if source is UBUNTU:
            command.append("--keyring=" + UBUNTU_KEYS if os.path.exists(UBUNTU_KEYS) else "--no-check-gpg")
        done = subprocess.run(command + [suite, root, *source], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=1800)
        if done.returncode:
            return {"error": "debootstrap: " + done.stdout.decode("utf-8", "replace").strip().split("\n")[-1]}
    inside = os.path.join(root, "proxmox-test")
    shutil.rmtree(inside, ignore_errors=True)
    os.makedirs(inside)
    for name in ("proxmox_mcp.py", "tools", "tests"):
        source = os.path.join(ROOT, name)
        target = os.path.join(inside, "checkout", name)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)
    subprocess.run([sys.executable, os.path.join(ROOT, "proxmox_mcp.py"), "pack",
                    os.path.join(inside, "proxmox-mcp.pyz")], check=True, stdout=subprocess.DEVNULL, timeout=60)
    with open(os.path.join(inside, "run.py"), "w", encoding="utf-8") as stream:
        stream.write(INSIDE)
    start = "ip link set lo up && exec chroot \"$0\" python3 -B /proxmox-test/run.py"
    done = subprocess.run(["unshare", "-n", "sh", "-c", start, root], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, timeout=600)
    shutil.rmtree(inside, ignore_errors=True)
    try:
        return json.loads(done.stdout.decode("utf-8").strip().split("\n")[-1])
    except ValueError:
        return {"error": (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-600:]}


def main():
    """Run the suites named (all of SUITES by default); exit status 1 when one that could be made failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", default=list(SUITES))
    parser.add_argument("--keep", metavar="DIR", help="keep the roots in DIR, and use those that are there")
    options = parser.parse_args()
    why = missing()
    if why:
        sys.stdout.write("skipped: %s\n" % why)
        return 0
    folder, failed = options.keep or tempfile.mkdtemp(prefix="proxmox-hosts-"), False
    try:
        for suite in options.suites:
            facts = try_suite(suite, folder)
            if "error" in facts:
                sys.stdout.write("%-10s not run: %s\n" % (suite, facts["error"]))
            else:
                failed = failed or not facts["good"]
                sys.stdout.write("%-10s %s  Python %s, requests %s, urllib3 %s, OpenSSL %s: %d tools, %d of %d answers "
                                 "good\n" % (suite, "ok    " if facts["good"] else "FAILED", facts["python"],
                                             facts["requests"], facts["urllib3"], facts["openssl"], facts["tools"],
                                             sum(facts["answers"]), len(facts["answers"])))
                for error in facts["errors"]:
                    sys.stdout.write("           %s\n" % json.dumps(error)[:400])
            sys.stdout.flush()
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
