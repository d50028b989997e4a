"""A make-believe guest operating system: a few commands and a little shell, enough to try commands in a VM.

Nothing is executed on this machine: every command is a Python function over the facts of a demo guest.
"""
import re
import time

from tools.demo.model import GIB, MIB


class Output:
    """What a command did: .out and .err (bytes), .code, .seconds it took, .ends if the shell ends with it."""

    ends = False

    def __init__(self, out=b"", err=b"", code=0, seconds=0.0):
        self.out = out.encode("utf-8") if isinstance(out, str) else out
        self.err = err.encode("utf-8") if isinstance(err, str) else err
        self.code, self.seconds = code, seconds


class Shell:
    """Commands of one guest; its files live in guest.guest["files"]."""

    def __init__(self, world, guest):
        self.world, self.guest = world, guest
        self.files = guest.guest.setdefault("files", {})
        self.os = guest.guest.get("os") or {}
        self.arguments = ["sh"]                         # $0, $1 ...

    # ---- programs started by the agent

    def start(self, argv, stdin=b""):
        """Output of a program, or None when there is no such program (the agent then fails as a whole)."""
        program = argv[0].rpartition("/")[2]
        if self.windows:
            if program.lower() not in ("cmd.exe", "cmd", "powershell.exe", "powershell"):
                return None
            return self._windows(" ".join(argv[2:]))
        if program in ("sh", "bash", "dash"):
            return self.script(argv[1:], stdin)
        if argv[0] != program and not argv[0].startswith(("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")):
            return None
        command = self._command(program)
        return command(argv[1:], stdin) if command else None

    @property
    def windows(self):
        return self.os.get("id") == "mswindows"

    def _windows(self, line):
        name = self.guest.name.upper()
        answers = {"hostname": name, "ver": "\r\nMicrosoft Windows [Version 10.0.26100.6899]",
                   "whoami": "nt authority\\system",
                   "get-date": time.strftime("%A, %B %d, %Y %H:%M:%S", time.gmtime(self.world.t))}
        word = line.strip().lower()
        if word.startswith("echo "):
            return Output(line.strip()[5:] + "\r\n")
        if word in answers:
            return Output(answers[word] + "\r\n")
        return Output(b"", "'%s' is not recognized as an internal or external command,\r\noperable program or batch "
                      "file.\r\n"
                      % line.split(" ")[0], 1)

    # ---- the shell

    def script(self, args, stdin=b""):
        """sh -c TEXT, or sh with the script on its standard input."""
        args = list(args)
        while args[:1] in (["-e"], ["-l"], ["-s"], ["-x"], ["-u"]):
            del args[0]
        if args[:1] in (["-lc"], ["-ec"]):
            args[0] = "-c"
        if args[:1] == ["-c"]:
            if len(args) < 2:
                return Output(b"", "sh: 0: -c requires an argument\n", 2)
            before, self.arguments = self.arguments, args[2:] or ["sh"]
            try:
                return self.run(args[1], stdin)
            finally:
                self.arguments = before
        if args and not args[0].startswith("-"):
            content = self.read(args[0])
            if content is None:
                return Output(b"", "sh: 0: cannot open %s: No such file\n" % args[0], 2)
            return self.run(content.decode("utf-8", "replace"), stdin)
        return self.run(stdin.decode("utf-8", "replace"), b"")

    def run(self, text, stdin=b""):
        """Output of a script: commands joined by newlines, ; && || and |, with > >> and 2>&1."""
        total = Output()
        try:
            tokens = _split(text)
        except ValueError:
            return Output(b"", "sh: 1: Syntax error: Unterminated quoted string\n", 2)
        code, before = 0, None
        for words, joint in _statements(tokens):
            if (before == "&&" and code != 0) or (before == "||" and code == 0):
                before = joint
                continue
            if words:
                result = self._pipeline(words, stdin, total)
                code = result.code
                if result.ends:
                    break
            before = joint
        total.code = code
        return total

    def _pipeline(self, words, stdin, total):
        parts, part = [], []
        for word in words:
            if word == ("op", "|"):
                parts.append(part)
                part = []
            else:
                part.append(word)
        parts.append(part)
        data = stdin
        for number, part in enumerate(parts):
            result = self._simple(part, data)
            total.seconds += result.seconds
            total.err += result.err
            data = result.out
        total.out += data
        return result

    def _simple(self, words, stdin):
        argv, target, append, merge = [], None, False, None
        words = list(words)
        while words:
            kind, word = words.pop(0)
            if kind == "op" and word in (">", ">>", "<"):
                if not words:
                    return Output(b"", "sh: 1: Syntax error: newline unexpected\n", 2)
                name = self._expand(*words.pop(0), stdin=stdin)
                if word == "<":
                    stdin = self.read(name) or b""
                else:
                    target, append = name, word == ">>"
            elif kind == "op" and word in ("2>&1", ">&2", "2>/dev/null"):
                merge = word
            elif kind == "word" and word in ("$@", "$*"):
                argv += self.arguments[1:]
            else:
                argv.append(self._expand(kind, word, stdin))
        if not argv:
            return Output()
        result = self._call(argv, stdin)
        if merge == "2>&1":
            result.out, result.err = result.out + result.err, b""
        elif merge == ">&2":
            result.out, result.err = b"", result.out + result.err
        elif merge:
            result.err = b""
        if target is not None:
            if target != "/dev/null":
                self.files[target] = (self.files.get(target, b"") if append else b"") + result.out
            result.out = b""
        return result

    def _expand(self, kind, word, stdin=b""):
        """A word with $(command), `command` and $NAME filled in; 'single quoted' ones stay."""
        if kind == "raw":
            return word

        def command(match):
            return self.run(match.group(1) or match.group(2), stdin).out.decode("utf-8", "replace").rstrip("\n")
        word = re.sub(r"\$\(([^()]*)\)|`([^`]*)`", command, word)
        values = {"HOME": "/root", "USER": "root", "HOSTNAME": self.guest.name, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                  "?": "0",
                  "PWD": "/", "SHELL": "/bin/bash", "#": str(len(self.arguments) - 1)}
        values.update((str(number), text) for number, text in enumerate(self.arguments))
        return re.sub(r"\$\{?(\w+|[?#])\}?", lambda match: values.get(match.group(1), ""), word)

    def _call(self, argv, stdin):
        name = argv[0].rpartition("/")[2]
        if name == "eval":
            return self.run(" ".join(argv[1:]), b"")
        if name == "exec" and argv[1:]:
            result = self._call(argv[1:], stdin)
            if result.code == 127 and result.err.startswith(b"sh: 1: "):
                result.err = b"sh: 1: exec: " + result.err[7:]
            result.ends = True
            return result
        if name == "exit":
            result = Output(b"", b"", int(argv[1]) if argv[1:] and argv[1].isdigit() else 0)
            result.ends = True
            return result
        if name in ("cd", "export", "set", ":", "umask"):
            return Output()
        if name in ("sh", "bash"):
            return self.script(argv[1:], stdin)
        command = self._command(name)
        if command is None:
            return Output(b"", "sh: 1: %s: not found\n" % argv[0], 127)
        return command(argv[1:], stdin)

    def _command(self, name):
        return getattr(self, "do_" + name.replace("-", "_").replace("[", "test"), None)

    # ---- files

    def read(self, path):
        """Bytes of a file, or None."""
        if path in self.files:
            return self.files[path]
        made = {"/etc/hostname": self.guest.name + "\n", "/etc/os-release": self._os_release(),
                "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 %s\n" % self.guest.name,
                "/etc/debian_version": "13.1\n", "/etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "/proc/loadavg":
                "0.12 0.09 0.05 1/187 %d\n" % (self.guest.pid or 1), "/etc/motd": "Grüße von %s\n" % self.guest.name}
        return made[path].encode("utf-8") if path in made else None

    def _os_release(self):
        facts = self.os
        return 'PRETTY_NAME="%s"\nNAME="%s"\nVERSION_ID="%s"\nVERSION="%s"\nID=%s\n' % (
            facts.get("pretty-name", "Linux"), facts.get("name", "Linux"), facts.get("version-id", ""),
            facts.get("version", ""),
            facts.get("id", "linux"))

    # ---- commands

    def do_true(self, args, stdin):
        return Output()

    def do_false(self, args, stdin):
        return Output(code=1)

    def do_sleep(self, args, stdin):
        try:
            return Output(seconds=float((args or ["0"])[0].rstrip("s")))
        except ValueError:
            return Output(b"", "sleep: invalid time interval '%s'\n" % args[0], 1)

    def do_echo(self, args, stdin):
        newline = args[:1] != ["-n"]
        return Output(" ".join(args if newline else args[1:]) + ("\n" if newline else ""))

    def do_printf(self, args, stdin):
        text = (args or [""])[0].replace("\\n", "\n").replace("\\t", "\t").replace("%%", "%")
        for value in args[1:]:
            text = re.sub(r"%[sd]", lambda match: value, text, count=1)
        return Output(text)

    def do_cat(self, args, stdin):
        if not args or args == ["-"]:
            return Output(stdin)
        out, err = b"", ""
        for name in args:
            content = self.read(name)
            if content is None:
                err += "cat: %s: No such file or directory\n" % name
            else:
                out += content
        return Output(out, err, 1 if err else 0)

    def do_hostname(self, args, stdin):
        if args[:1] == ["-I"]:
            from tools.demo.guests import addresses_of
            return Output(" ".join(a.partition("/")[0] for _, found in addresses_of(self.guest) for a in found) + " \n")
        return Output(self.guest.name + "\n")

    def do_hostnamectl(self, args, stdin):
        return Output(" Static hostname: %s\nOperating System: %s\n" % (
            self.guest.name, self.os.get("pretty-name", "Linux")))

    def do_uname(self, args, stdin):
        release = self.os.get("kernel-release", "6.12.0")
        if args[:1] == ["-a"]:
            return Output("Linux %s %s %s x86_64 GNU/Linux\n" % (self.guest.name, release,
                                                                 self.os.get("kernel-version", "#1 SMP")))
        return Output({"-r": release, "-m": "x86_64", "-n": self.guest.name}.get((args or [""])[0], "Linux") + "\n")

    def do_uptime(self, args, stdin):
        seconds = int(self.world.t - self.guest.since)
        days, rest = seconds // 86400, seconds % 86400
        if args[:1] == ["-p"]:
            return Output("up %d days, %d hours, %d minutes\n" % (days, rest // 3600, rest % 3600 // 60))
        return Output(" %s up %d days, %2d:%02d,  0 users,  load average: 0.12, 0.09, 0.05\n" % (
            time.strftime("%H:%M:%S", time.gmtime(self.world.t)), days, rest // 3600, rest % 3600 // 60))

    def do_date(self, args, stdin):
        form = next((arg[1:] for arg in args if arg.startswith("+")), "%a %b %d %H:%M:%S UTC %Y")
        return Output(time.strftime(form.replace("%s", str(int(self.world.t))), time.gmtime(self.world.t)) + "\n")

    def do_whoami(self, args, stdin):
        return Output("root\n")

    def do_id(self, args, stdin):
        return Output("uid=0(root) gid=0(root) groups=0(root)\n")

    def do_pwd(self, args, stdin):
        return Output("/\n")

    def do_env(self, args, stdin):
        return Output("HOME=/root\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nUSER=root\n")

    def do_df(self, args, stdin):
        size = 32 * GIB
        human = "-h" in args or "-hT" in args
        rows = [("/dev/sda1", size, size * 41 // 100, "/"), ("tmpfs", self.guest.memory // 2, 0, "/dev/shm")]
        out = "Filesystem      %s Use%% Mounted on\n" % ("Size  Used Avail" if human else "1K-blocks Used Available")
        for name, total, used, place in rows:
            values = (total, used, total - used)
            shown = ["%.0fG" % (v / GIB) if v >= GIB else "%.0fM" % (v / MIB)
                     for v in values] if human else [str(v >> 10) for v in values]
            out += "%-15s %5s %5s %5s %3d%% %s\n" % (name, shown[0], shown[1], shown[2], 100 * used // total, place)
        return Output(out)

    def do_free(self, args, stdin):
        total, used = self.guest.memory >> 10, int(self.guest.memory * self.guest.mem) >> 10
        if args[:1] in (["-m"], ["-h"]):
            total, used = total >> 10, used >> 10
        return Output("               total        used        free\nMem:     %11d %11d %11d\nSwap:    %11d %11d %11d\n"
                      % (total, used, total - used, 0, 0, 0))

    def do_ls(self, args, stdin):
        names = [arg for arg in args if not arg.startswith("-")] or ["/"]
        tree = {"/": "bin boot dev etc home lib opt proc root run sbin srv sys tmp usr var", "/root": "", "/tmp": "",
                "/home": "admin",
                "/etc": "debian_version hostname hosts motd os-release passwd ssh"}
        out, err = "", ""
        for name in names:
            path = name.rstrip("/") or "/"
            below = {file[len(path.rstrip("/")) + 1:].split("/")[0] for file in self.files
                     if file.startswith(path.rstrip("/") + "/")}
            if path in tree or below:
                found = sorted(set(tree.get(path, "").split()) | below)
                out += "".join(entry + "\n"
                               for entry in found) if "-l" not in args and "-la" not in args else "total 0\n" + "".join(
                    "drwxr-xr-x 2 root root 4096 Nov 20 10:00 %s\n" % entry for entry in found)
            elif self.read(path) is not None:
                out += name + "\n"
            else:
                err += "ls: cannot access '%s': No such file or directory\n" % name
        return Output(out, err, 2 if err else 0)

    def do_test(self, args, stdin):
        args = [arg for arg in args if arg != "]"]
        if args[:1] in (["-e"], ["-f"], ["-r"]):
            return Output(code=0 if self.read(args[1]) is not None else 1)
        if args[:1] == ["-d"]:
            return Output(code=0 if args[1].rstrip("/") in ("", "/etc", "/root", "/tmp", "/home", "/var") else 1)
        if len(args) == 3 and args[1] in ("=", "=="):
            return Output(code=0 if args[0] == args[2] else 1)
        return Output(code=0 if args and args[0] else 1)

    def do_touch(self, args, stdin):
        for name in args:
            self.files.setdefault(name, b"")
        return Output()

    def do_rm(self, args, stdin):
        err = ""
        for name in [arg for arg in args if not arg.startswith("-")]:
            if self.files.pop(name, None) is None and "-f" not in args and "-rf" not in args:
                err += "rm: cannot remove '%s': No such file or directory\n" % name
        return Output(b"", err, 1 if err else 0)

    def do_mkdir(self, args, stdin):
        return Output()

    def do_tee(self, args, stdin):
        for name in args:
            self.files[name] = stdin
        return Output(stdin)

    def do_head(self, args, stdin):
        return Output(b"".join(stdin.splitlines(True)[:_count(args)]))

    def do_tail(self, args, stdin):
        return Output(b"".join(stdin.splitlines(True)[-_count(args):]))

    def do_wc(self, args, stdin):
        return Output("%d\n" % (stdin.count(b"\n") if "-l" in args else len(stdin) if "-c" in args
                                else len(stdin.split())))

    def do_sort(self, args, stdin):
        return Output(b"".join(sorted(stdin.splitlines(True), reverse="-r" in args)))

    def do_grep(self, args, stdin):
        words = [arg for arg in args if not arg.startswith("-")]
        if not words:
            return Output(b"", "Usage: grep [OPTION]... PATTERNS [FILE]...\n", 2)
        data = b"".join(self.read(name) or b"" for name in words[1:]) if words[1:] else stdin
        found = [line for line in data.splitlines(True) if words[0].encode() in line]
        return Output(b"".join(found), code=0 if found else 1)

    def do_systemctl(self, args, stdin):
        if args[:1] == ["is-active"]:
            return Output("active\n")
        if args[:1] == ["status"]:
            return Output("● %s - demo service\n     Active: active (running)\n" % (args[1:] or ["system"])[0])
        return Output()

    def do_seq(self, args, stdin):
        return Output("".join("%d\n" % number for number in range(1, int((args or ["0"])[-1]) + 1)))


def _count(args):
    for number, arg in enumerate(args):
        if arg == "-n" and args[number + 1:]:
            return int(args[number + 1].lstrip("+-") or 10)
        if re.match(r"-n?\d+$", arg):
            return int(arg.lstrip("-n"))
    return 10


_OPERATORS = ("2>/dev/null", "2>&1", ">&2", "1>&2", "&&", "||", ">>", ">", "<", "|", ";", "\n")


def _split(text):
    """[(kind, word)]: "op" an operator, "raw" single-quoted, "word" otherwise. ValueError on an open quote."""
    tokens, word, kind, at = [], None, "word", 0
    text = re.sub(r"(?m)^\s*#.*$", "", text)

    def flush():
        nonlocal word, kind
        if word is not None:
            tokens.append((kind, word))
        word, kind = None, "word"

    while at < len(text):
        operator = next((op for op in _OPERATORS if text.startswith(op, at)), None)
        if operator and not (operator in ("2>&1", "2>/dev/null", "1>&2") and word is not None):
            flush()
            tokens.append(("op", ">&2" if operator == "1>&2" else operator))
            at += len(operator)
        elif text[at] in " \t":
            flush()
            at += 1
        elif text[at] == "'":
            end = text.index("'", at + 1)
            word, kind = (word or "") + text[at + 1:end], "raw" if word is None else kind
            at = end + 1
        elif text[at] == '"':
            end, piece = at + 1, ""
            while text[end:end + 1] != '"':
                if end >= len(text):
                    raise ValueError("quote")
                if text.startswith("$(", end):
                    close = text.index(")", end)
                    piece += text[end:close + 1]
                    end = close + 1
                    continue
                if text[end] == "\\" and text[end + 1:end + 2] in ('"', "\\", "$", "`"):
                    end += 1
                piece += text[end]
                end += 1
            word = (word or "") + piece
            at = end + 1
        elif text.startswith("$(", at):
            close = text.index(")", at)
            word = (word or "") + text[at:close + 1]
            at = close + 1
        elif text[at] == "\\" and at + 1 < len(text):
            word = (word or "") + text[at + 1]
            at += 2
        else:
            word = (word or "") + text[at]
            at += 1
    flush()
    return tokens


def _statements(tokens):
    """[(words, what joins it to the next)]."""
    statements, words = [], []
    for token in tokens:
        if token[0] == "op" and token[1] in (";", "\n", "&&", "||"):
            statements.append((words, token[1]))
            words = []
        else:
            words.append(token)
    statements.append((words, None))
    return statements
