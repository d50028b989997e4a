"""What runs inside a demo VM: scripted answers of some programs, and a shell that knows ; && || and | between them.

Nothing is executed on this machine. What is not scripted says so, or is not found.
"""
import re
import shlex
import time
from collections import namedtuple

from tools.demo.guests import addresses_of
from tools.demo.model import MIB

#: What a program did: out and err (bytes), its exit code, the seconds it took.
Output = namedtuple("Output", "out err code seconds", defaults=(b"", b"", 0, 0.0))
_NOT_SCRIPTED = b"sh: 1: the shell of the demo knows words, quotes, ; && || and | only\n"

#: A whole command line -> what it prints; {...} is a fact of the guest (see _facts).
SCRIPTED = {
    "hostname": "{name}\n", "hostname -f": "{name}.example.internal\n", "hostname -I": "{addresses} \n",
    "whoami": "root\n", "id": "uid=0(root) gid=0(root) groups=0(root)\n", "pwd": "/\n", "nproc": "{cpus}\n",
    "uname": "Linux\n", "uname -r": "{kernel}\n", "uname -m": "x86_64\n", "uname -n": "{name}\n",
    "uname -a": "Linux {name} {kernel} {build} x86_64 GNU/Linux\n",
    "uptime": " {clock} up {days} days, {hours:02d}:{minutes:02d},  0 users,  load average: 0.12, 0.09, 0.05\n",
    "uptime -p": "up {days} days, {hours} hours, {minutes} minutes\n", "date": "{date}\n",
    "df -h": "Filesystem      Size  Used Avail Use% Mounted on\n/dev/sda1        32G   13G   19G  41% /\n"
             "tmpfs           1.0G     0  1.0G   0% /dev/shm\n",
    "free -m": "               total        used        free\nMem:     {mib:11d} {used_mib:11d} {free_mib:11d}\n"
               "Swap:              0           0           0\n",
    "ls": "bin\nboot\ndev\netc\nhome\nlib\nopt\nproc\nroot\nrun\nsbin\nsrv\nsys\ntmp\nusr\nvar\n",
    "lsblk": "NAME   MAJ:MIN RM SIZE RO TYPE MOUNTPOINTS\nsda      8:0    0  32G  0 disk\n"
             "`-sda1   8:1    0  32G  0 part /\n",
    "ps aux": "USER         PID %CPU %MEM COMMAND\nroot           1  0.0  0.3 /sbin/init\n"
              "root         412  0.0  0.2 /usr/sbin/qemu-ga\nroot         598  0.0  0.2 /usr/sbin/sshd -D\n",
    "systemctl --failed": "0 loaded units listed.\n", "systemctl is-system-running": "running\n", "true": "",
}
SCRIPTED.update({"free": SCRIPTED["free -m"], "df": SCRIPTED["df -h"], "ls /": SCRIPTED["ls"],
                 "ps": SCRIPTED["ps aux"]})
_FILES = {
    "/etc/hostname": "{name}\n", "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 {name}\n",
    "/etc/os-release": 'PRETTY_NAME="{system}"\nID={id}\nVERSION_ID="{version}"\n', "/etc/motd": "Grüße von {name}\n",
}
#: The same on Windows, by the line behind cmd.exe /c or powershell.exe -Command, in small letters.
_WINDOWS = {"hostname": "{upper}\r\n", "ver": "\r\nMicrosoft Windows [Version 10.0.26100.6899]\r\n",
            "whoami": "nt authority\\system\r\n", "get-date": "{date}\r\n"}


def is_windows(guest):
    """Whether Windows runs in a demo guest."""
    return (guest.guest.get("os") or {}).get("id") == "mswindows"


def _facts(world, guest):
    system, seconds = guest.guest.get("os") or {}, int(world.t - guest.since)
    memory, used, now = guest.memory, int(guest.memory * guest.mem), time.gmtime(world.t)
    return {"name": guest.name, "upper": guest.name.upper(), "cpus": guest.cpus, "id": system.get("id", "linux"),
            "system": system.get("pretty-name", "Linux"), "version": system.get("version-id", ""),
            "kernel": system.get("kernel-release", "6.12.0"), "build": system.get("kernel-version", "#1 SMP"),
            "addresses": " ".join(a.partition("/")[0] for _, found in addresses_of(guest) for a in found),
            "days": seconds // 86400, "hours": seconds % 86400 // 3600, "minutes": seconds % 3600 // 60,
            "clock": time.strftime("%H:%M:%S", now), "date": time.strftime("%a %b %d %H:%M:%S UTC %Y", now),
            "mib": memory // MIB, "used_mib": used // MIB, "free_mib": (memory - used) // MIB}


def read(world, guest, path):
    """Bytes of a file in a guest, or None."""
    return _FILES[path].format(**_facts(world, guest)).encode("utf-8") if path in _FILES else None


def start(world, guest, argv, stdin=b""):
    """The Output of a program that the guest agent starts, or None when there is no such program."""
    program = argv[0].rpartition("/")[2]
    if is_windows(guest):
        return _windows(world, guest, " ".join(argv[2:]).strip()) if program.lower().partition(".exe")[0] in (
            "cmd", "powershell") else None
    if program in ("sh", "bash", "dash"):
        return _shell(world, guest, argv[1:], stdin)
    if argv[0] != program and not argv[0].startswith(("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")):
        return None
    return _program(world, guest, [program] + argv[1:], stdin)


def _windows(world, guest, line):
    if line.lower().startswith("echo "):
        return Output((line[5:] + "\r\n").encode())
    if line.lower() in _WINDOWS:
        return Output(_WINDOWS[line.lower()].format(**_facts(world, guest)).encode())
    return Output(err=b"'%s' is not recognized as an internal or external command,\r\noperable program or batch file."
                  b"\r\n" % line.split(" ")[0].encode(), code=1)


def _shell(world, guest, args, stdin):
    """sh -c LINE, sh -c 'exec "$@"' sh WORDS, sh -c 'eval "$(cat)"' or sh alone with the line on its input."""
    if args[:2] == ["-c", 'exec "$@"'] and args[3:]:
        return _program(world, guest, args[3:], stdin) or Output(
            err=b"sh: 1: exec: %s: not found\n" % args[3].encode("utf-8"), code=127)
    if args[:1] == ["-c"] and len(args) == 2 and args[1] != 'eval "$(cat)"':
        return _line(world, guest, args[1], stdin)
    return _line(world, guest, stdin.decode("utf-8", "replace")) if args in ([], ["-c", 'eval "$(cat)"']) else Output(
        err=_NOT_SCRIPTED, code=2)


def _line(world, guest, text, stdin=b""):
    """The Output of a shell line."""
    if re.search(r"[$`<>(){}*?~\\]|(?<!&)&(?!&)", re.sub(r"'[^']*'", "", text)):
        return Output(err=_NOT_SCRIPTED, code=2)
    lexer = shlex.shlex(text.strip(), posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        words = list(lexer)
    except ValueError:
        return Output(err=b"sh: 1: Syntax error: Unterminated quoted string\n", code=2)
    out, err, code, seconds, joint, parts = b"", b"", 0, 0.0, ";", [[]]
    for word in words + [";"]:
        if word == "|":
            parts.append([])
        elif not re.match(r"(&&|\|\||[;\n]+)\Z", word):
            parts[-1].append(word)
        else:
            if parts[0] and not (joint == "&&" and code or joint == "||" and not code):
                done = Output(out=stdin)
                for part in parts:
                    done = _statement(world, guest, part, done.out)
                    err, seconds = err + done.err, seconds + done.seconds
                out, code = out + done.out, done.code
                if parts[0][0] in ("exit", "exec"):
                    break
            joint, parts = word, [[]]
    return Output(out, err, code, seconds)


def _statement(world, guest, words, stdin):
    if words[:1] == ["exit"]:
        return Output(code=int(words[1]) if words[1:] and words[1].isdigit() else 0)
    words = words[1:] if words[:1] == ["exec"] else words
    return words and _program(world, guest, words, stdin) or Output(
        err=b"sh: 1: %s: not found\n" % " ".join(words[:1]).encode("utf-8"), code=127)


def _program(world, guest, words, stdin):
    """The Output of a program with its arguments; None when there is no such program."""
    name = words[0].rpartition("/")[2]
    if " " in name:
        return None
    line = " ".join([name] + words[1:])
    if line in SCRIPTED:
        return Output(SCRIPTED[line].format(**_facts(world, guest)).encode())
    if name in _PROGRAMS:
        return _PROGRAMS[name](words[1:], stdin, lambda path: read(world, guest, path))
    known = [other for other in SCRIPTED if other.split(" ")[0] == name]
    return Output(err=("%s: the demo knows only: %s\n" % (name, ", ".join(known))).encode(), code=2) if known else None


def _cat(args, stdin, read_file):
    found = [(name, read_file(name)) for name in args]
    missing = ["cat: %s: No such file or directory\n" % name for name, content in found if content is None]
    return Output(b"".join(content or b"" for _, content in found) if args else stdin, "".join(missing).encode("utf-8"),
                  1 if missing else 0)


def _sleep(args, stdin, read_file):
    match = re.match(r"(\d+(?:\.\d+)?)s?\Z", args[0] if args else "")
    return Output(seconds=float(match.group(1))) if match else Output(err=b"sleep: invalid time interval\n", code=1)


#: program -> function(arguments, standard input, function(path) -> bytes or None) -> Output
_PROGRAMS = {
    "echo": lambda args, stdin, _: Output((" ".join(args) + "\n").encode("utf-8", "surrogateescape")),
    "cat": _cat, "sleep": _sleep, "false": lambda args, stdin, _: Output(code=1),
    "wc": lambda args, stdin, _: Output(b"%d\n" % (stdin.count(b"\n") if "-l" in args else len(stdin))),
}
