"""A yes that the model cannot give: PROXMOX_CONFIRM=terminal, and `proxmox-mcp approve` in a terminal of the same user.

The question waits as a file in PROXMOX_STATE_DIR/approvals, and `approve` puts the answer beside it. An answer counts
for the one question it was given to: it names the SHA-256 of the very file that was shown, a random id in it, and the
process compares that with what it keeps in its own memory. So an answer to a question that was edited, is too old, is
another process's, or was used before, is none; after a restart nothing is left to answer.
The audit log has a line for each question, and one for what became of it: who answered, and when.

Whoever has a shell as this user can give the answer too: `approve` wants a terminal, so that piping `yes` into it does
not do, but a program can make itself one, or write the answer. It needs no approval to do what the user can do.
"""
import hashlib
import json
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from contextlib import suppress

from tools.base.answers import Result
from tools.base.failures import Changed, EarlyResult, Failure
from tools.base.row import title
from tools.policy.audit import client_name
from tools.pve import state, text
from tools.pve.formats import label

LIFETIME = 300                  # seconds that a question, or a token, is good for
PATIENCE = 40                   # seconds that a call waits for the answer; some clients give up after 60
PAUSES = (0, 0.2, 0.3, 0.5)     # seconds before each look for the answer
MOST = 20                       # questions of a server that wait at the same time
FOLDER, QUESTION, ANSWER = "approvals", ".question", ".answer"
YES, NO, VOID, LATE, WITHDRAWN = "yes", "no", "void", "late", "withdrawn"


# ------------------------------------------------------------------------------------------------------- who asks

class _Question:
    """A question that waits: key (tool and digest of its arguments), found (digest), path (without ending), the content
    of its file, and the answer that would be a yes; by and at: who answered, and when, once `answer` has read it."""

    def __init__(self, call, key, asked, found):
        name, settings = os.urandom(8).hex(), call.host.settings
        self.key, self.found, self.by, self.at = key, found, None, None
        self._audit, self._clock, self._entry = call.host.audit, call.host.clock, None
        self._since, self._date = self._clock(), time.time()
        self.path = os.path.join(settings.state_dir, FOLDER, name)
        self.content = json.dumps({
            "id": name, "pid": os.getpid(), "client": client_name(call.request), "tool": call.name,
            "host": ", ".join(label(*one) for one in settings.host), "cluster": settings.cluster,
            "question": asked, "asked": self._date})
        self.yes = _answer(self.content.encode("ascii"), YES)

    def put(self, call, asked):
        """Write its file, and the line of the audit log; OSError, NotOurs, PveError."""
        _folder(call.host.settings.state_dir)
        state.write(self.path + QUESTION, self.content)
        try:
            self._entry = self._audit.asked(call, asked, os.path.basename(self.path))
        except BaseException:
            state.remove(self.path + QUESTION)
            raise

    @property
    def late(self):
        """Whether its time is over, by either clock: one may stand still while the machine sleeps, one may be set."""
        return self._clock() > self._since + LIFETIME or time.time() > self._date + LIFETIME

    def answer(self):
        """YES, NO, VOID for what is neither, or None."""
        try:
            given = json.loads(state.read(self.path + ANSWER))
            by, at = (text.line(given.pop(key), 120) for key in ("by", "at"))
        except FileNotFoundError:
            return None if os.path.exists(self.path + QUESTION) else VOID
        except Exception:                               # whatever is wrong with it
            return VOID
        if given != self.yes and given != dict(self.yes, answer=NO):
            return VOID
        self.by, self.at = by, at
        return given["answer"]

    def close(self, word):
        """Take its files away, and note what became of it."""
        if word == LATE:                                # whose answer came, and was not called for in time
            self.answer()
        for ending in (QUESTION, ANSWER):
            state.remove(self.path + ending)
        self._audit.answered(self._entry, word, self.by, self.at)


def _folder(state_dir):
    """The directory of the questions, made where there is none; OSError, NotOurs."""
    state.folder(state_dir, private=False)
    state.folder(os.path.join(state_dir, FOLDER))
    return os.path.join(state_dir, FOLDER)


def problem(state_dir):
    """Why no question can wait in PROXMOX_STATE_DIR, in a sentence; None when one can. Makes the directory."""
    try:
        path = os.path.join(_folder(state_dir), "check")
        state.write(path, "")
        state.remove(path)
    except (OSError, state.NotOurs) as error:
        return "The user cannot be asked: %s." % error
    return None


def _answer(content, word):
    """What the file of an answer says to the question whose file is `content` (bytes), beside by whom and when."""
    return {"question": hashlib.sha256(content).hexdigest(), "answer": word}


class Approvals:
    """The questions of this process that wait for an answer; they end with it."""

    def __init__(self):
        self._lock, self._waiting = threading.Lock(), {}

    def ask(self, call, asked, found, key):
        """Whether the user approved; EarlyResult while nobody answered, Failure when nobody will. found: its digest;
        key: what ties the question to the call, the same when it is made again."""
        question = self._question(call, key, asked, found)
        where = "run `proxmox-mcp approve` where this server runs, with PROXMOX_STATE_DIR=%s" % os.path.abspath(
            call.host.settings.state_dir)

        def look():
            if self._waiting.get(key) is not question:
                return VOID
            return LATE if question.late else question.answer()

        waiting = "Waiting for the user's approval: " + where
        try:
            answer = call.wait_for(look, lambda answer: answer is not None, PATIENCE, lambda _: waiting, PAUSES)
        except BaseException:                           # nobody is there any more to go on after a yes
            self._close(question, WITHDRAWN)
            raise
        if answer is None and not call.request.hurried:
            raise EarlyResult(Result(
                "Not done yet, waiting for the user's approval: %s; call again with the same arguments once it is "
                "approved.\nThe question: %s" % (where, asked), {"done": False, "question": asked},
                "\u23f3"))
        if not self._close(question, answer or WITHDRAWN) or answer not in (YES, NO, LATE):
            raise Failure("The question is void: it was withdrawn, its file or the answer was tampered with, or "
                          "another call used the answer. Call again to ask the user again.")
        if answer == LATE:
            raise Failure("Nobody answered within %d minutes. Call again to ask the user again." % (LIFETIME // 60))
        return answer == YES

    def _question(self, call, key, asked, found):
        """The _Question that waits for this very call already, or a new one."""
        with self._lock:
            for one in [one for one in self._waiting.values() if one.late]:
                self._waiting.pop(one.key).close(LATE)
            question = self._waiting.get(key)
            if question is not None and question.found != found:
                self._waiting.pop(key).close(VOID)
                raise Changed("the user was asked")
            if question is None:
                if len(self._waiting) >= MOST:
                    raise Failure("%d questions are already waiting for the user (`proxmox-mcp approve`)." % MOST)
                question = _Question(call, key, asked, found)
                try:
                    question.put(call, asked)
                except (OSError, state.NotOurs) as error:
                    raise Failure("The user cannot be asked: %s." % error, "%s needs the user's approval" % title(
                        call.name)) from None
                self._waiting[key] = question
            return question

    def _close(self, question, word):
        """End a question, `word` says how; False when it was already (of two at the same time one gets True)."""
        with self._lock:
            mine = self._waiting.get(question.key) is question
            if mine:
                self._waiting.pop(question.key).close(word)
            return mine

    def close(self):
        """The process ends, and its questions with it."""
        for question in list(self._waiting.values()):
            self._close(question, WITHDRAWN)


# ---------------------------------------------------------------------------------------------------- who answers

class Shown:
    """A question as `approve` reads it: content (bytes), what is in it (dict), path (without ending), since
    (seconds)."""

    def __init__(self, path):
        self.path, self.content = path, state.read(path + QUESTION)
        self.asked = json.loads(self.content)
        if self.asked["id"] != os.path.basename(path):
            raise ValueError("another question's file")
        self.since = float(self.asked["asked"])

    @property
    def age(self):
        """Seconds since it was asked."""
        return max(0, int(time.time() - self.since))

    def text(self, columns=80):
        """All that the user has to know. Each line of the question has a mark: none passes for a line of ours."""
        facts = {name: text.unmistakable(text.line(value, state.MOST)) for name, value in self.asked.items()}
        client = " (%s)" % facts["client"] if self.asked.get("client") else ""
        where = "cluster %s (%s)" % (facts["cluster"], facts["host"]) if self.asked.get("cluster") else facts["host"]
        return "%s on %s\nasked %d s ago by process %s%s%s\n\n%s\n" % (
            facts["tool"], where, self.age, facts["pid"], client,
            "" if state.lives(self.asked["pid"]) else ", which is no longer running here",
            "".join("  | %s\n" % line for line in _folded(facts["question"], max(20, columns - 4))))

    def answer(self, yes):
        """Answer it; the sentence that says what came of it."""
        if self.age > LIFETIME or not os.path.exists(self.path + QUESTION):
            return "Too late: the question is no longer open. Nothing was approved."
        try:
            state.write(self.path + ANSWER, json.dumps(dict(_answer(self.content, YES if yes else NO), by=_who(),
                                                            at=text.stamp(time.time()))), new=True)
        except FileExistsError:
            return "It was already answered; this answer does not count."
        return "Approved." if yes else "Declined."


def _who():
    """Who answers, as far as the system tells it: "me on /dev/pts/3"."""
    try:
        name = os.getlogin()
    except OSError:                                     # nobody logged in here, as in a container
        name = "uid %d" % os.geteuid() if hasattr(os, "geteuid") else "the user"
    try:
        return "%s on %s" % (name, os.ttyname(0))
    except (OSError, AttributeError):
        return name


def _folded(words, columns):
    """The lines that a text makes, with all its characters; of letters that are not ASCII each may take two columns."""
    return textwrap.wrap(words, columns if words.isascii() else columns // 2, expand_tabs=False,
                         replace_whitespace=False, drop_whitespace=False, break_on_hyphens=False)


def waiting(state_dir):
    """The questions (list of Shown) that wait for an answer, the oldest first. OSError, NotOurs."""
    folder, found = _folder(state_dir), []
    for name in os.listdir(folder):
        path = os.path.join(folder, name[:-len(QUESTION)])
        if not re.fullmatch(r"[0-9a-f]{16}" + re.escape(QUESTION), name) or os.path.lexists(path + ANSWER):
            continue
        try:
            shown = Shown(path)
            shown.text()
        except Exception:                               # gone meanwhile, or no question of ours
            continue
        if shown.age <= LIFETIME:
            found.append(shown)
        else:                                           # of a server that ended before it took it away
            state.remove(path + QUESTION)
    return sorted(found, key=lambda one: one.since)


def approve(state_dir, watch=False, sleep=time.sleep):
    """Show each waiting question and take the answer from the terminal; returns the exit status. watch: stay, and ring
    when a new one is there. Ends with the input (Ctrl-D): what was not answered goes on waiting."""
    if not sys.stdin.isatty():
        sys.stderr.write("proxmox-mcp approve asks a person, so it needs a terminal; nothing was approved.\n")
        return 2
    said = "No question is waiting in %s." % state_dir
    if watch:
        _say("Waiting for questions in %s (Ctrl-C ends it)." % state_dir)
    try:
        while True:
            shown = next(iter(waiting(state_dir)), None)        # what waits now: one may have been withdrawn meanwhile
            if shown is not None:
                _show(shown, watch)
                line = sys.stdin.readline()
                if not line:
                    _say("\nNot answered.")
                    return 1
                _say(shown.answer(line.strip().lower() in ("y", "yes")) + "\n")
                said = None
            elif watch:
                sleep(0.5)
            else:
                if said:
                    _say(said)
                return 0
    except (OSError, state.NotOurs) as error:
        sys.stderr.write("%s\n" % error)
        return 2
    except KeyboardInterrupt:
        _say("")
        return 130


def _show(shown, ring):
    """Show a question and ask; what was typed before it was to be seen is forgotten."""
    with suppress(Exception):                           # no POSIX
        import termios
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    columns, rows = shutil.get_terminal_size()
    words = shown.text(columns)
    count = words.count("\n")
    if count + 3 > rows:
        words += ("\nThis question has %d lines, more than fit on the screen: scroll up and read it from the start."
                  % count)
    _say("%s%s\nApprove? [y/N] " % ("\a" if ring else "", words), end="")


def _say(words, end="\n"):
    sys.stdout.write(words + end)
    sys.stdout.flush()
