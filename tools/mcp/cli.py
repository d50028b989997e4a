"""The command line, a function each command. The server's start never pays for what this imports."""
import argparse
import json
import os
import re
import sys
from contextlib import suppress

from tools import entries, instead, surface, write_surface
from tools.mcp import config as clients, terminal
from tools.mcp.pack import bundled, content_hash, packed, save

#: outcome of a call (tools.mcp.run.Answer) -> exit status; the README has them too.
EXIT = {"done": 0, "failed": 1, "usage": 2, "refused": 3, "declined": 4, "running": 5, "unknown": 5, "command": 6,
        "interrupted": 130}


class Stop(Exception):
    """Ends a command: str() is said on stderr; status: of the exit, 1 for a failure, 2 for a wrong call."""

    def __init__(self, text, status=2):
        super().__init__(text)
        self.status = status


class _Parser(argparse.ArgumentParser):
    """Its errors are Stops, so that --json is JSON whatever is wrong."""

    def error(self, message):
        raise Stop("%s%s: %s" % (self.format_usage(), self.prog, message))


def run(arguments, version, program):
    """Run a command of the command line; returns the exit status (EXIT). program: the path of proxmox_mcp.py."""
    _forgiving_streams()
    try:
        options = _parsed(arguments)
        options.version, options.program = version, program
        from tools.policy.settings import NO_DEMO, has_demo
        if options.demo and not has_demo():
            raise Stop(NO_DEMO)
        return options.function(options) or 0
    except KeyboardInterrupt:
        stop = Stop("Interrupted.", EXIT["interrupted"])
    except Stop as error:
        stop = error
    sys.stderr.write("%s\n" % stop)
    if "--json" in arguments:
        with suppress(Stop):
            _say_json(_told(next(name for name in EXIT if EXIT[name] == stop.status), str(stop)))
    return stop.status


def _told(outcome, error):
    """What --json shows of a command that did not do what was asked."""
    return {"error": error, "outcome": outcome, "exit": EXIT[outcome]}


def _parsed(arguments):
    """The options of a command line (argparse.Namespace)."""
    parser = _Parser(prog="proxmox-mcp", description="An MCP server for Proxmox VE. Without a command it serves MCP on "
                     "stdin and stdout.")
    parser.add_argument("--version", action="store_const", dest="function", const=_version,
                        help="print the version and the SHA-256 of this copy")
    parser.add_argument("--demo", action="store_true", help="use the built-in demo cluster")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (function, text, *more) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text, add_help=name != "call")
        # --demo may stand behind the command too
        sub.add_argument("--demo", action="store_true", default=argparse.SUPPRESS,
                         help="include the demo cluster" if name == "pack" else "use the built-in demo cluster")
        for names, how in more:
            sub.add_argument(*names, **how)
        sub.set_defaults(function=function, parser=sub)
    options, more = parser.parse_known_args(arguments)
    if not options.function:
        parser.error("no command given; --help lists them")
    if options.command == "call":                       # argparse takes key=value up to the first option only
        options.arguments += [word for word in more if not word.startswith("-")]
        more = [word for word in more if word.startswith("-")]
    if more:
        parser.error("unrecognized arguments: " + " ".join(more))
    return options


def _version(options):                                  # the hash is not computed for anything else
    say("proxmox-mcp %s\nsha256 %s" % (options.version, content_hash(options.program)))


def _forgiving_streams():
    """Let no character and no closed stream decide how a command ends: what the encoding lacks becomes \\u2705."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(line):
    """Print a line. Nobody reads on after `| head`; when it cannot be written for another reason, Stop."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)    # what is still buffered
        if not isinstance(error, BrokenPipeError):
            raise Stop("The answer cannot be written: %s." % error.strerror, 1) from None


def _say_json(value):
    say(json.dumps(value, indent=2))


def typed(word):
    """A word of the command line as it was typed: it is UTF-8 where the locale knows ASCII only."""
    return word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def settings_of(options, asks=True):
    """The Settings of every cluster (list); Stop tells the problem with them. asks: false for what asks no Proxmox."""
    from tools.policy.clusters import load_all
    from tools.policy.settings import SettingsError, demo_settings

    def warn(message):
        sys.stderr.write(message + "\n")
    try:
        return [demo_settings(os.environ, warn)] if options.demo else load_all(os.environ, warn, asks)
    except SettingsError as error:
        raise Stop(error) from None


def list_tools(options):
    """`tools`: the tools that the settings leave, one a line."""
    if options.write:
        return write_surface()
    from tools.mcp.usage import arguments
    from tools.policy.selection import Selection
    locked, selections = "PROXMOX_ALLOW_ELEVATED=false", list(map(Selection, settings_of(options, asks=False)))
    why = [(entry, {selection.off(entry) for selection in selections}) for entry in surface()]
    found = [entry for entry, reasons in why if reasons & {None, locked}]
    hidden = sorted({reason for _, reasons in why if not reasons & {None, locked} for reason in reasons})
    if hidden:
        sys.stderr.write("%d of %d tools; the others are hidden by %s.\n" % (
            len(found), len(why), " and ".join(hidden)))
    refused = sum(locked in reasons and None not in reasons for _, reasons in why)
    if refused:
        sys.stderr.write("%d of these are refused without PROXMOX_ALLOW_ELEVATED=true.\n" % refused)
    width = terminal.columns()
    for entry in found:
        line = "%-36s %-12s " % (entry["name"], entry["tier"])
        say((line + entry["endpoint"] + "  " + arguments(entry)).rstrip() if width is None else
            (line + arguments(entry))[:width - 1])


def _entry(name):
    """The entry of the surface of a tool, with or without proxmox_; Stop names those that are called alike."""
    from tools.policy.settings import near
    full = name if name.startswith("proxmox_") else "proxmox_" + name
    if full not in entries():
        raise Stop("There is no tool %s%s.%s" % (
            full, near(full, entries()), instead(full) or " `proxmox-mcp tools` lists them."))
    return entries()[full]


# -- call

def call(options):
    """`call`: run one tool, print its text or data; the exit status says what it came to."""
    if options.help:
        from tools.mcp.usage import tool_help
        return say(tool_help(_entry(options.tool), min(100, (terminal.columns() or 101) - 1)) if options.tool else
                   options.parser.format_help().rstrip())
    if options.tool is None:
        raise Stop("Which tool? `proxmox-mcp tools` lists them, `proxmox-mcp call TOOL --help` tells all about one.")
    wrong = [pair for pair in options.arguments if "=" not in pair]
    if wrong:
        raise Stop("These arguments are not key=value: %s" % ", ".join(wrong))
    arguments = dict(typed(pair).split("=", 1) for pair in options.arguments)
    entry, settings = _entry(options.tool), settings_of(options)
    if options.cluster:
        if arguments.setdefault("cluster", options.cluster) != options.cluster:
            raise Stop("--cluster and cluster= name different clusters.")
    from tools.mcp.app import App
    from tools.mcp.log import Log
    from tools.pve import text
    if not options.json:
        text.SCREEN = (terminal.columns() or 1) - 1     # None or 0: as wide as it is
    for one in settings:
        one.answers = "data" if options.json else "text"
    log, person = Log(*settings[0].log), terminal.Person(options.yes)
    app = App(settings, log, person=person)
    try:
        answer = app.run(entry["name"], arguments, person)
    finally:
        app.close()
        log.close()
    if options.json:
        _say_json(_told(answer.outcome, answer.text) if answer.failed else answer.data)
    else:
        say(terminal.shown(answer.text))
    return EXIT[answer.outcome]


# -- check, audit

def check(options):
    """`check`: try each step from the host's name to the token's privileges; exit status 1 when one is not right."""
    settings = settings_of(options)
    if options.cluster:
        names = [one.cluster or "?" for one in settings]
        if options.cluster not in names:
            raise Stop("There is no cluster %s here%s." % (options.cluster, "; there are " + ", ".join(names) if (
                len(names) > 1) else ", but one, which needs no name"))
        settings = [one for one in settings if one.cluster == options.cluster]
    from tools.mcp import check as steps
    from tools.mcp.run import demo_adapter
    reports = {}
    for one in settings:
        if one.cluster and not options.json:
            say("%sCluster %s" % ("\n" if reports else "", one.cluster))
        reports[one.cluster] = report = steps.check(one, demo_adapter(one))
        for line in () if options.json else steps.told(report):
            say(terminal.shown(line))
    if options.json:
        _say_json(reports[None] if None in reports else reports)
    return 0 if all(report["ok"] for report in reports.values()) else 1


def audit(options):
    """`audit`: whether each line of an audit log is whole and carries the hash of the one before."""
    from tools.policy.audit import Report
    try:
        report = Report(options.file)
    except OSError as error:
        raise Stop("%s cannot be read: %s" % (options.file, error.strerror)) from None
    say("\n".join(report.text(options.file)))
    return 0 if report.ok else 1


def _state_dir(what):
    """PROXMOX_STATE_DIR; Stop when it is missing. The other settings are of no concern here."""
    from tools.policy.clusters import state_dir
    from tools.policy.settings import VARIABLES
    found = state_dir(os.environ)
    if not found:
        raise Stop("%s needs PROXMOX_STATE_DIR, the same as the servers have." % what)
    try:
        return VARIABLES["state_dir"]["read"](found)
    except ValueError as error:
        raise Stop("PROXMOX_STATE_DIR %s." % error) from None


def approve(options):
    """`approve`: show the questions of PROXMOX_CONFIRM=terminal and take the answers."""
    directory = _state_dir("approve")
    from tools.mcp.approval import approve as ask
    return ask(directory, options.watch)


def freeze(options):
    """`freeze`: from now on no server of this PROXMOX_STATE_DIR changes anything."""
    directory = _state_dir("freeze")
    from tools.policy import freeze as ice
    from tools.pve import state
    from tools.pve.text import line
    used = os.path.lexists(directory)
    try:
        new = ice.freeze(directory, line(typed(" ".join(options.reason)), 500))
    except OSError as error:
        raise Stop("Nothing is frozen: %s cannot be written to (%s)." % (directory, error.strerror or error),
                   1) from None
    say("%s %s" % ("Changes are frozen" if new else "Changes were frozen already,", ice.since(directory)))
    say("This holds in every server whose PROXMOX_STATE_DIR is %s." % directory)
    if not used:
        say("No server has used that directory yet: it did not exist.")
    try:
        state.folder(directory, private=False)
    except state.NotOurs as error:
        say("Other users of this machine may be able to lift it: %s." % error)


def thaw(options):
    """`thaw`: allow changes again. It wants a terminal, as `approve` does: a model is told of it by each refusal."""
    directory = _state_dir("thaw")
    if not sys.stdin.isatty():
        raise Stop("thaw is for a person, so it needs a terminal; changes stay frozen.")
    from tools.policy import freeze as ice
    was = ice.since(directory)
    try:
        ice.thaw(directory)
        say("Changes are allowed again. They were frozen %s" % was)
    except FileNotFoundError:
        say("Changes are not frozen: there is no freeze in %s." % directory)
    except OSError as error:
        raise Stop("Changes are still frozen: %s cannot be removed (%s)." % (
            os.path.join(directory, ice.FILE), error.strerror or error), 1) from None


def pack(options):
    """`pack`: write the program as one file and print its SHA-256 as sha256sum does."""
    if not options.out.endswith(".mcpb"):
        if options.with_requests:
            raise Stop("Nothing was written: --with-requests is for a file called .mcpb.")
        data = packed(options.program, options.demo)
    else:
        try:
            data = bundled(options.program, options.version, options.demo, options.with_requests)
        except ImportError as error:
            raise Stop("Nothing was written: requests cannot be put into the bundle (%s). Run pack in a virtual "
                       "environment with requests from pip." % error, 1) from None
    say("%s  %s" % (save(data, options.out), options.out))


def _entry_name(value):
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", value):
        raise argparse.ArgumentTypeError("a name may contain letters, digits, - and _ (at most 40)")
    return value


def config(options):
    """`config`: print what goes into a client's configuration, or put it there."""
    client, name = options.client, options.name
    if client == "file":
        from tools.policy.clusters import example
        return say(example())
    try:
        made, missing = clients.entry(client, options.program, os.environ, options.demo, options.with_secret)
    except ValueError as error:
        raise Stop(error) from None
    note = clients.CLIENTS[client].note
    if options.link:
        found = clients.link(client, made, name)
        if found is None:
            raise Stop("%s has no such links; those that have: %s." % (client, ", ".join(
                sorted(one for one, known in clients.CLIENTS.items() if known.link))))
        say(found)
    elif options.write:
        try:
            path, kept = clients.write(client, made, name)
        except ValueError as error:                     # a file that is no UTF-8, too
            raise Stop(error, 1) from None
        except OSError as error:
            raise Stop("Nothing was written: %s" % error, 1) from None
        say("%s has the entry %s now.%s" % (path, name, " As it was: %s" % kept if kept else ""))
    else:
        sys.stderr.write("Configuration for %s; put it into %s%s, or let --write do it:\n" % (
            client, clients.place(client), " (%s)" % note if note else ""))
        say(clients.configuration(client, made, name))
    if missing:
        sys.stderr.write("To be filled in, an example stands there: %s\n" % ", ".join(missing))


def completion(options):
    """`completion`: print the script by which a shell completes this program's command line."""
    from tools.mcp.usage import script
    from tools.policy.clusters import names as configured
    known = configured(os.environ)
    say(script(options.shell, {
        name: ["--demo"] + [word for names, how in more for word in (
            [one for one in names if one.startswith("--")] or how.get("choices") or known * (names == ("cluster",)))]
        for name, (function, text, *more) in COMMANDS.items()}, known).rstrip())


def _option(*names, **how):
    return names, how


#: name -> (function, help, its options)
COMMANDS = {
    "tools": (list_tools, "list the tools that the settings leave",
              _option("--write", action="store_true", help="list nothing, but write what is generated from the rows")),
    "call": (call, "run one tool and print its answer",
             _option("tool", nargs="?", metavar="TOOL",
                     help="name of the tool, as `tools` lists it; the prefix proxmox_ may be left out"),
             _option("arguments", nargs="*", metavar="key=value", help="arguments of the tool"),
             _option("--json", action="store_true", help="print the structured data instead of the text"),
             _option("--yes", action="store_true", help="do not ask before something is lost"),
             _option("--cluster", metavar="NAME", help="of several clusters the one to call (reads: several, all)"),
             _option("-h", "--help", action="store_true", help="with a TOOL: its arguments, types and defaults")),
    "check": (check, "test the connection to Proxmox step by step and show what the token may do",
              _option("cluster", nargs="?", metavar="CLUSTER", help="of several clusters only this one"),
              _option("--json", action="store_true", help="print one JSON object")),
    "approve": (approve, "answer what PROXMOX_CONFIRM=terminal asks",
                _option("--watch", action="store_true", help="stay, and ring the bell for each new question")),
    "freeze": (freeze, "refuse every change from now on, in every running server of this PROXMOX_STATE_DIR",
               _option("reason", nargs="*", metavar="REASON", help="why; what is refused says it")),
    "thaw": (thaw, "allow changes again"),
    "audit": (audit, "check that no line of an audit log is missing or was changed",
              _option("file", metavar="FILE", help="the audit log: the file that PROXMOX_AUDIT_LOG names")),
    "pack": (pack, "write the program into one file (with the demo cluster only if --demo is given)",
             _option("out", metavar="OUT", help="the file to write: OUT.mcpb is a bundle that Claude Desktop installs, "
                                                "any other a .pyz that Python runs"),
             _option("--with-requests", action="store_true", help="put requests and what it needs into the .mcpb")),
    "config": (config, "print the configuration for an MCP client, or (file) a file for several clusters",
               _option("client", choices=sorted(clients.CLIENTS) + ["file"], metavar="CLIENT",
                       help="one of: " + ", ".join(sorted(clients.CLIENTS)) + "; or file"),
               _option("--with-secret", action="store_true",
                       help="include the value of PROXMOX_TOKEN_VALUE from this environment"),
               _option("--write", action="store_true", help="put it into the client's own file, with a copy of how it "
                                                            "was beside it"),
               _option("--link", action="store_true", help="print a link that makes the client add it"),
               _option("--name", type=_entry_name, default="proxmox",
                       help="name of the entry; use one per cluster (default: %(default)s)")),
    "completion": (completion, "print a script that completes tools and arguments in a shell",
                   _option("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")),
}
