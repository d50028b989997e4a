"""`proxmox-mcp check`: tries each step on the way to Proxmox, says what the token may do, which tools therefore work,
and what to grant.

Nothing is changed. A host is looked at (DNS, TCP, TLS) before anything is sent to it.
"""
import collections
import re
import time

from tools import TOOLSETS, surface
from tools.policy import endpoints, freeze
from tools.policy.selection import Selection
from tools.pve import text
from tools.pve.client import Client, PveError
from tools.pve.faults import FAULTS
from tools.pve.formats import label
from tools.pve.scrub import scrub

ROLE = "ProxmoxMCP"                     # the role that the printed pveum lines make

#: Privileges that not every release knows: pattern -> (first, last) major version (pve-access-control,
#: AccessControl.pm).
RELEASES = [(re.compile(r"VM\.Monitor"), 0, 8), (re.compile(r"VM\.GuestAgent\..*|VM\.Replicate"), 9, 99),
            (re.compile(r"SDN\.Use|Mapping\..*|Sys\.AccessNetwork"), 8, 99)]


def exists(privilege, release):
    """Whether Proxmox VE `release` (its major version, int) knows a privilege."""
    return all(first <= release <= last for pattern, first, last in RELEASES if pattern.fullmatch(privilege))


def needs(entry, release):
    """[(ACL path, [privileges, any of which does])] of an entry of the surface on a release."""
    wanted = entry.get("needs")
    if wanted is None:
        wanted = endpoints.find(*entry["endpoint"].split(" ", 1)).privileges
    if "{vmid}" in entry["endpoint"] and "/vms VM.Audit" not in wanted:
        wanted = ("/vms VM.Audit",) + tuple(wanted)     # the guest is looked up, and most tools read it first
    result = []
    for need in wanted:
        path, _, privileges = need.partition(" ")
        known = [privilege for privilege in privileges.split("|") if exists(privilege, release)]
        if known:
            result.append((path, known))
    return result


def holds(permissions, path, privileges):
    """Where, by GET /access/permissions, one of the privileges is held: [path] when everywhere below it, some paths
    below it, or [] when nowhere."""
    here = permissions.get(path) or {}
    if any(here.get(privilege) or (path == "/" and privilege in here) for privilege in privileges):
        return [path]
    # a pool's guests and storages
    below = (path + "/", "/pool/") if path in ("/vms", "/storage") else (path + "/",)
    return sorted(one for one, held in permissions.items()
                  if path != "/" and one.startswith(below) and any(privilege in held for privilege in privileges))


def tool_status(entry, permissions, release, selection):
    """How a tool would fare: {name, toolset, status works|partly|lacks, missing [str], where [str], off}."""
    status = {"name": entry["name"], "toolset": entry["toolset"], "missing": [], "where": []}
    for path, privileges in needs(entry, release):
        held = holds(permissions, path, privileges)
        if not held:
            status["missing"].append("%s on %s" % (" or ".join(privileges), path))
        elif held != [path]:
            status["where"] = sorted(set(status["where"]) | set(held))
    off = selection.off(entry)
    if off:
        status["off"] = off
    return dict(status, status="lacks" if status["missing"] else "partly" if status["where"] else "works")


def privileges_for(entries, release):
    """Sorted privileges that all these tools need together; of alternatives the first that the release knows."""
    return sorted({privileges[0] for entry in entries for _, privileges in needs(entry, release)})


def grants(entries, release, user, token_id, acl=()):
    """The pveum lines (list of str) that allow what these tools need, and no more. acl: rows of /access/acl. Where user
    or token has an entry on a deeper path, it hides there what is granted on / (AccessControl.pm, roles): the role is
    granted on that path too."""
    lines = ["pveum role add %s --privs \"%s\"" % (ROLE, " ".join(privileges_for(entries, release)))]
    for kind, who in (("user", user), ("token", token_id)):
        if who != "root@pam":           # who has all; a token never has more than its user
            deeper = {str(row.get("path")) for row in acl if row.get("type") == kind and row.get("ugid") == who}
            lines.extend("pveum acl modify %s --%ss '%s' --roles %s" % (path, kind, who, ROLE)
                         for path in sorted(deeper | {"/"}))
    return lines


# ------------------------------------------------------------------------------------------------------------ the steps

def _step(report, name, good, detail):
    """Note a step: good True, False, or None for what is neither."""
    report["steps"].append({"step": name, "ok": good, "detail": detail})
    report["ok"] = report["ok"] and good is not False


def check(settings, adapter=None, look=None):
    """Try each step; the report (dict), whose `ok` is whether all is well. adapter, look(host, port, settings): in
    place of the network (demo, tests)."""
    report = {"ok": True, "steps": [], "token": settings.token_id, "hosts": ["%s:%d" % host for host in settings.host]}
    if adapter is None or look is not None:
        for host, port in settings.host:
            _look(report, settings, host, port, look)
    looked = [step for step in report["steps"] if step["step"] == "trust"]
    if adapter is not None or any(step["ok"] for step in looked):
        _ask(report, settings, Client(settings, adapter=adapter))
    else:
        _step(report, "token", None, "not tested: %s, so the token was not sent." % (
            "no certificate was accepted" if looked else "no host can be reached"))
    frozen = freeze.since(settings.state_dir) if settings.state_dir else None
    if frozen:
        _step(report, "freeze", None, "Changes are frozen %s" % frozen)
    if settings.confirm == "terminal":
        from tools.mcp.approval import problem as asking
        problem = asking(settings.state_dir)
        _step(report, "approve", not problem, problem or "Questions can wait in %s." % settings.state_dir)
    if settings.audit_log:
        from tools.policy.audit import Audit
        problem = Audit(settings.audit_log).problem()
        _step(report, "audit", not problem, problem or "The audit log %s can be written." % settings.audit_log)
    return scrub(report)


def _look(report, settings, host, port, look):
    """Whether a host is reached and its certificate accepted, nothing sent."""
    from tools.pve import tls
    place = label(host, port)
    try:
        address, version, fingerprint, refused = (look or tls.look)(host, port, settings)
    except tls.NotSent as error:
        _, what, hint = FAULTS[error.kind]
        _step(report, "connection", False, "%s %s" % (what.format(host=place, detail=" (%s)" % error), hint))
        return
    _step(report, "connection", True, "%s: connected to %s, %s" % (place, address, version))
    _step(report, "certificate", None, "%s: SHA-256 %s" % (place, fingerprint))
    _step(report, "trust", not refused, "%s\nBy the clock of this machine it is %s." % (
        refused, text.when(time.time())) if refused else "%s: %s accepts it." % (
            place, "PROXMOX_CERTIFICATE" if settings.certificate else "PROXMOX_SSL_MODE=" + settings.ssl_mode))


def _ask(report, settings, client):
    """Token, version, privileges, tools."""
    try:
        version = client.request("GET", "/version").data or {}
        _step(report, "token", True, "%s is accepted." % settings.token_id)
        _step(report, "version", True, "Proxmox VE %s" % version.get("version"))
        permissions = client.request("GET", "/access/permissions").data or {}
        acl = client.request("GET", "/access/acl").data or []
    except PveError as error:
        _step(report, "token" if error.status == 401 else "request", False, str(error))
        return
    match = re.match(r"[0-9]+", str(version.get("version")))
    release = int(match.group()) if match else 9
    held = sorted({privilege for path in permissions.values() for privilege in path})
    if held:
        _step(report, "privileges", True, "%s on %s" % (
            text.plural(len(held), "privilege"), ", ".join(sorted(permissions)[:12])))
    else:
        _step(report, "privileges", False, "The token has no privilege at all. A token created with privilege "
              "separation (the default) starts with none, whatever its user may do.")
    entries, selection = surface(), Selection(settings)
    report["tools"] = [tool_status(entry, permissions, release, selection) for entry in entries]
    report["grants"] = grants([entry for entry in entries if selection.off(entry) is None], release, settings.user,
                              settings.token_id, acl)


_MARKS = {True: "[ok]  ", False: "[FAIL]", None: "      "}


def told(report):
    """The report as lines of text."""
    return map(text.visible, _lines(report))


def _lines(report):
    yield "Token %s, hosts %s" % (report["token"], ", ".join(report["hosts"]))
    for step in report["steps"]:
        yield "%s %-11s %s" % (_MARKS[step["ok"]], step["step"], step["detail"].replace("\n", "\n" + " " * 19))
    if "tools" not in report:
        return
    on = [tool for tool in report["tools"] if "off" not in tool]
    able = [tool for tool in on if tool["status"] != "lacks"]
    yield ""
    yield "%d of %d tools work%s." % (len(able), len(report["tools"]), "" if len(on) == len(report["tools"]) else
                                      "; %d are switched off" % (len(report["tools"]) - len(on)))
    whole = []
    for toolset in TOOLSETS:
        said = _of_toolset([tool for tool in report["tools"] if tool["toolset"] == toolset])
        if said is None:
            whole.append(toolset)
        else:
            yield "- %-11s %s" % (toolset, said)
    if len(able) < len(report["tools"]) and whole:
        yield "- all of      " + ", ".join(whole)
    yield "Each tool with what it lacks: check --json. What a tool does: call TOOL --help."
    if len(able) < len(on):
        yield ""
        yield ("To allow what the %d tools that are switched on need, and no more, run on a node as root (role modify, "
               "where the role is there already):" % len(on))
        yield from report["grants"]
        yield ("An entry of the user, its groups or the token on a deeper path hides what is granted above it: grant "
               "the role on that path too.")


def _of_toolset(tools):
    """How many of the tools of a toolset work, and what keeps the others from it: a sentence; None when all do."""
    why = collections.Counter()
    for tool in tools:
        why.update(["off by " + tool["off"]] if "off" in tool else ["lacks " + one for one in tool["missing"]] or (
            ["only on " + text.line(", ".join(tool["where"]), 60)] if tool["where"] else []))
    working = sum("off" not in tool and tool["status"] != "lacks" for tool in tools)
    reasons = "".join("; %s (%d)" % pair for pair in why.most_common())
    return "%d of %d%s" % (working, len(tools), reasons) if reasons else None
