"""Runs: steps that were planned and agreed to as a whole, done in order by a thread of their own.

A call that starts one waits for it as long as its client does; the run goes on. What it did is in the journal step by
step, noted before and after each, so that it is known when this process is killed.
"""
import json
import os
import threading

from tools import instead
from tools.base import changes
from tools.base.answers import Result, Table, result
from tools.base.call import UNSHOWN
from tools.base.edit import WAITS
from tools.base.failures import Changed, Failure, Refused
from tools.base.forecast import Forecast
from tools.mcp.consent import digest
from tools.policy import inverse
from tools.policy.audit import Audit
from tools.policy.journal import Journal
from tools.pve import state, text
from tools.pve.client import Cancelled, PveError
from tools.pve.formats import parse_upid
from tools.pve.task import succeeded
from tools.pve.text import Column

MOST = 5                                # runs of a server that go on at the same time
KEPT = 10                               # runs that ended whose answers are kept; of others the journal tells
FOR_EVER = 7 * 86400                    # seconds for which a task of a step is followed
LAST_SECONDS = 3                        # for the request on its way when the server ends
#: What a step came to. Of a run: RUNNING, or how it ended: DONE, FAILED, STOPPED (asked to) or INTERRUPTED (the server
#: ended).
WAITING, RUNNING, DONE, FAILED, SKIPPED = "not begun", "running", "done", "failed", "skipped"
UNKNOWN = "not known"                   # of a step: whether it took effect
STOPPED, INTERRUPTED = "stopped", "interrupted"


class Step:
    """One step of a run: tool and arguments as the caller wrote them, and what is known of it."""

    def __init__(self, tool, arguments):
        self.tool, self.arguments, self._bound = tool, arguments, digest([tool, arguments])
        # of one with a secret the journal has not even a digest, from which the secret might be guessed
        self.digest = self._bound if Audit.masked(arguments, (), True) == arguments else None
        self.questions = []         # [(what the user is asked for it, what that is bound to)]
        self.agreed = False         # whether whatever it asks was agreed to
        self.reads = False          # whether it only reads
        self.later = None           # why it could not be planned
        self.names, self.makes = {}, set()      # {name: vmid} that names in it meant; vmids of the guests it makes
        self.planned = []           # the (verb, path, params) that it will send
        self.begun = []             # what a server that was interrupted has sent of it already
        self.state, self.said, self.undo = WAITING, None, None      # how far it came, in words too; its undo id
        self.run = None             # its Run, once there is one
        self.text, self.data = None, None                           # of its answer

    def asked(self):
        """What the run's question is bound to."""
        return [self._bound, self.later is None, [[question, digest(found)] for question, found in self.questions],
                [digest(list(one)) for one in self.planned], self.state]

    def ask(self, call, describe):
        """Consent of its call to what was asked for the run as a whole; Failure to anything else."""
        (question, found), vmid = describe(), getattr(call.args, "vmid", None)
        if self.agreed:
            return found
        if not self.questions:
            if vmid not in self.run.made:
                raise Failure(UNSHOWN)
            call.request.own = self.run.made            # nobody's but this run's
            return found
        asked, then = self.questions.pop(0)
        if question != asked or digest(found) != digest(then) and vmid not in self.run.changed:
            raise Changed("the user was asked")
        return found

    def arguments_shown(self):
        """"vmid=100 timeout=60": all of its arguments, without secrets."""
        return " ".join("%s=%s" % (key, json.dumps(value) if isinstance(value, (dict, list)) else text.word(
            text.line(value, text.WHOLE))) for key, value in Audit.masked(self.arguments, (), True).items())


class _Request:
    """Who asks in a step: the run. It has no patience to lose, and is not cancelled but hurried when the server ends.
    own: the guests (vmids) that what nobody was asked about must not go beyond; None: no such thing goes on."""

    asks, patience, wants_progress, wait, own = (), None, True, FOR_EVER, None

    def __init__(self, run, number, client):
        self.cancelled, self.woken, self.hurried, self.writing = threading.Event(), threading.Event(), False, False
        self.run, self.step, self.client, self._run = run.id, number, client, run
        self.names = run.steps[number].names

    def progress(self, percent, message):
        self._run.message = message

    def hurry(self):
        self.hurried = True
        self.woken.set()


class Run:
    """One run. id, steps, ended (None while it goes on, else how), message: the last word of the present step; made:
    the guests (vmids) that its steps have made, changed: those that they change."""

    def __init__(self, ident, steps, go_on, forecast):
        self.id, self.steps, self.go_on, self.message, self.ended = ident, steps, go_on, "", None
        self.made, self.changed = set(), forecast.touched
        for step in steps:
            step.run = self
        self.over, self.stopping, self.request, self.rested = threading.Event(), None, None, threading.Event()

    def stop(self, how=STOPPED):
        """End it after the present step."""
        self.stopping = self.stopping or how
        self.rested.set()

    @property
    def at(self):
        """The number of the present step, from 1."""
        return next((number for number, step in enumerate(self.steps, 1) if step.state in (RUNNING, WAITING)),
                    len(self.steps))


class Runs:
    """The runs of one Host."""

    def __init__(self, host):
        self._host, self._live, self._lock, self._own = host, {}, threading.Lock(), Journal()

    @property
    def journal(self):
        """That of the Host, or one for this process alone."""
        return self._host.journal or self._own

    def start(self, call, steps, go_on, forecast):
        """Begin a Run of Steps that were agreed to; Failure when too many go on already."""
        with self._lock:
            if sum(run.ended is None for run in self._live.values()) >= MOST:
                raise Failure("%d runs go on already; wait for one (proxmox_get_run)." % MOST)
            ident = self.journal.add(
                "r", at=int(self._host.now()), pid=os.getpid(), ended=None,
                steps=[{"tool": step.tool, "digest": step.digest, "sends": len(step.begun) + len(step.planned) if (
                    step.later is None) else None} for step in steps])
            for old in [ident for ident, run in self._live.items() if run.ended is not None][:-KEPT]:
                del self._live[old]
            run = self._live[ident] = Run(ident, steps, go_on, forecast)
        call.outcomes.append("accepted")                # of some of them, for all that is known when this ends early
        self.begin(lambda: self._go(run, getattr(call.request, "client", None)))
        return run

    @staticmethod
    def begin(target):
        """Let `target` go on beside the call."""
        threading.Thread(target=target, daemon=True).start()

    def find(self, ident):
        """The Run of an id, of this server, another one, or one before this; Failure when there is none."""
        if ident in self._live:
            return self._live[ident]
        record = self.journal.find(ident) or {}
        if not record.get("steps"):
            raise Failure("There is no run %s. proxmox_get_run without id lists them." % text.line(ident))
        state, run = self._state(record), Run(ident, [Step(one["tool"], {}) for one in record["steps"]], False,
                                              Forecast())
        for number, step in enumerate(run.steps):
            step.state, step.said, step.undo = self._step(record, number)
            if step.state == RUNNING and state != RUNNING:
                step.said = ("Its server ended before its end was seen; running the same steps again looks at it and "
                             "does what is left.")
        run.ended = None if state == RUNNING else state
        run.over.set()                                  # nobody here is told when another server's ends
        return run

    def close(self):
        """The process ends: the request on its way is waited for, what comes after it is not begun."""
        going = [run for run in self._live.values() if run.ended is None]
        for run in going:
            run.stop(INTERRUPTED)
            if run.request is not None:
                run.request.hurry()
        for run in going:
            run.over.wait(LAST_SECONDS)

    def _go(self, run, client):
        ended = DONE
        for number, step in enumerate(run.steps):
            if step.state == SKIPPED:
                self._note(run, number)
                continue
            if ended == FAILED and not run.go_on:
                break
            run.request = _Request(run, number, client)
            self._rest(run, step)
            if run.stopping:                            # in between, or while it rested
                break
            step.state = RUNNING
            self._note(run, number)
            self._do(run, step)
            self._note(run, number)
            if step.state == DONE:
                run.made |= step.makes
            ended = FAILED if step.state in (FAILED, UNKNOWN) else ended
        run.ended = run.stopping if run.stopping and any(step.state in (WAITING, RUNNING) for step in run.steps) else (
            ended)
        self.journal.amend(run.id, ended=run.ended)
        run.over.set()

    def _rest(self, run, step):
        """Wait until PROXMOX_RATE_LIMIT lets the step's changes through, or the run is to stop."""
        seconds = self._host.client.limiter.seconds_until(not step.reads, max(1, len(step.planned)))
        try:
            if seconds > 0 and not run.stopping:
                self._host.sleep(run.rested, seconds)
        except Cancelled:
            pass

    def _do(self, run, step):
        """Call the tool of a step, and take down what came of it."""
        try:
            answer = self._host.run(step.tool, step.arguments, run.request, step, begun=step.begun)
            step.text, step.data, step.undo = answer.text, answer.data, answer.undo
            step.said = _said(answer)
            step.state = {"done": DONE, "running": RUNNING, "unknown": UNKNOWN}.get(answer.outcome, FAILED)
        except Exception as error:                      # of the machinery: a run says so, whatever it was
            self._host.log("error", "a step of a run broke", run=run.id, tool=step.tool, error=repr(error))
            step.state, step.said = UNKNOWN, "This program failed (%s); whether it took effect is not known." % (
                type(error).__name__)

    def _note(self, run, number):
        step = run.steps[number]
        self.journal.amend(run.id, **{"step%d" % number: [step.state, step.said, step.undo]})

    def agreed(self, call, steps):
        """Begin a Run of `steps` ([(tool, arguments)]), all of which the user has agreed to; the Run."""
        planned = [Step(tool, arguments) for tool, arguments in steps]
        for step in planned:
            step.agreed = True
        return self.start(call, planned, False, Forecast())

    # -- one call

    def do(self, call, steps, go_on=False, plan=False, says="run"):
        """The Result of `steps` ([(tool, arguments)]): planned as a whole, and where `plan` is not all, asked for,
        begun and followed. Failure names every step that cannot be done."""
        forecast, planned = [], []

        def look():
            call.forget()
            forecast[:] = [Forecast()]
            planned[:] = self._planned(call, steps, forecast[0])

        def describe():                                 # what was just looked at will do for the first question
            if not forecast:
                look()
            forecast.clear()
            return _question(planned), {"steps": [step.asked() for step in planned]}
        look()
        if plan or call.dry:
            return _plan(call, planned, says)
        agreed, = forecast
        if any(step.questions for step in planned):
            call.confirm(describe)
        run = self.start(call, planned, go_on, agreed)
        try:
            return self.follow(call, run)
        except BaseException:                           # who began it has cancelled it
            run.stop()
            raise

    def follow(self, call, run):
        """Wait for a Run as long as the client does; what it came to, or how far it is."""
        call.wait_for(run.over.is_set, lambda over: over, FOR_EVER if call.request.ends else call.wait_limit,
                      lambda over: "step %d of %d: %s" % (run.at, len(run.steps), run.message
                                                          or run.steps[run.at - 1].tool))
        return _told(call, run)

    def _planned(self, call, steps, forecast):
        """The Steps, planned one after the other; Failure with what is wrong with all of them."""
        planned, problems, kinds = [Step(tool, arguments) for tool, arguments in steps], [], set()
        before = self._before([step.digest for step in planned])
        for number, step in enumerate(planned, 1):
            try:
                done = step.digest and self._done_before(call, step, before, number - 1)
                if done:
                    step.state, step.said = SKIPPED, done
                else:
                    self._plan_one(call, step, forecast)
            except Failure as error:
                problems.append("Step %d (%s): %s" % (number, text.line(step.tool, 80), error))
                kinds.add(type(error))
        if problems:
            raise (Refused if kinds == {Refused} else Failure)("\n".join(problems), "%s cannot be done" % (
                "A step" if len(problems) == 1 else "%d of %s" % (len(problems), text.plural(len(steps), "step"))))
        return planned

    def _plan_one(self, call, step, forecast):
        """Work out what a step would send and ask; Failure, or Refused, when it cannot be done."""
        entry = self._host.entries.get(step.tool)
        if entry is None:
            raise Failure("There is no such tool." + (instead(step.tool) or " Use the name of a tool that is listed."))
        if entry["name"] in ALONE:
            raise Failure("It cannot be a step. Call it by itself, outside of a run.")
        seconds = self._host.client.limiter.seconds_until(False, 10)
        if seconds > 0:
            call.sleep(seconds)
        step.reads = not entry["changes"]
        forecast.names, made = step.names, set(forecast.made_guests)
        answer = self._host.run(step.tool, step.arguments, call.request, None, forecast, step.begun)
        step.planned, step.questions, said = list(answer.planned), list(answer.questions), _said(answer)
        word = str(step.arguments.get("vmid"))
        touched = str(step.names.get(word, word)) in map(str, forecast.touched)
        if answer.outcome == "later" or answer.outcome == "failed" and touched:
            step.later = said
        elif answer.failed:
            raise (Refused if answer.outcome == "refused" else Failure)(said)
        elif not step.planned:
            step.said = said
        forecast.learn(step.planned)
        step.makes = forecast.made_guests - made

    def listed(self):
        """A row for each run that the journal knows."""
        return [{"id": record["id"], "at": record.get("at"), "state": self._state(record),
                 "done": "%d of %d" % (sum(self._step(record, number)[0] in (DONE, SKIPPED) for number in range(
                     len(record["steps"]))), len(record["steps"])),
                 "tools": ", ".join(dict.fromkeys(step["tool"] for step in record["steps"]))}
                for record in self.journal.all("r") if record.get("steps")]

    def _state(self, record):
        """How a run ended, or RUNNING while it goes on, here or in another server."""
        lives = record["id"] in self._live or record.get("pid") != os.getpid() and state.lives(record.get("pid"))
        return record.get("ended") or (RUNNING if lives else INTERRUPTED)

    @staticmethod
    def _step(record, number):
        return record.get("step%d" % number) or [WAITING, None, None]

    # -- what was done before

    def _before(self, digests):
        """The records of the runs of the very same steps since one that came to its end, the latest first. Failure
        while one goes on."""
        found = []
        for record in self.journal.all("r"):
            if [one["digest"] for one in record.get("steps") or ()] != digests:
                continue
            if record.get("ended") == DONE:
                break
            if self._state(record) == RUNNING:
                raise Failure("Run %s of the same steps still goes on. proxmox_get_run follows or stops it." % (
                    record["id"]))
            found.append(record)
        return found

    def _done_before(self, call, step, before, number):
        """Why a step needs not be done again: it was, in one of the runs `before`, and what it changed is still so;
        None, with what was sent of it in step.begun where its server ended amid it. Failure when that is not known."""
        record = next((one for one in before if self._step(one, number)[0] not in (WAITING, SKIPPED)), None)
        if record is None:
            return None
        run, state = record["id"], self._step(record, number)[0]
        made = next((made for made in self.journal.all("u") if (made.get("run"), made.get("step")) == (
            run, number)), {})
        if made.get("undone"):
            return None
        left, sent = made.get("open"), list(made.get("changes") or ())
        if left:                                        # what it came to was perhaps noted, too
            request = [left.get(key) for key in ("verb", "path", "params")]
            sent = [one for one in sent if [one.get(key) for key in ("verb", "path", "params")] != request] + [left]
        if state == RUNNING and sent and record["steps"][number].get("sends") != len(sent):
            step.begun = _accepted(call, run, sent)
            return None
        if left:
            return _ended(call, run, left)
        if state == FAILED or state == RUNNING and not sent:                    # nothing was sent
            return None
        if state == UNKNOWN:
            raise Failure(_PERHAPS % (run, "Look at it"))
        return None if self._moved(call, run, number) else "done in run %s" % run

    def _moved(self, call, run, number):
        """Whether something differs now from what a step made of it and the run's later ones left of that."""
        states = {}
        for record in self.journal.all("u"):            # the latest first, each put back in thought
            if record.get("run") != run or record.get("undone") or record["step"] < number:
                continue
            for one in reversed(record.get("changes") or ()):
                if "why" in one:
                    continue
                one, way = changes.change(one), changes.way_of(changes.change(one))
                place = changes.place(call, one), way
                now = states[place] if place in states else changes.now(call, one)
                if record["step"] == number and (now.get("smbios1") != one.new.get("smbios1") or not now
                                                 if way.whole else inverse.moved_on(one, now)):
                    return True
                states[place] = {**{key: value for key, value in now.items() if key not in one.new}, **one.old}
        return False


#: Tools that are no steps.
ALONE = {"proxmox_run", "proxmox_get_run", "proxmox_undo", "proxmox_drain_node"}


def _said(answer):
    """What came of a step, in a line: why it failed, or the first line of its answer without its mark, and what of that
    is not in effect yet."""
    if answer.failed:
        head, _, why = answer.text.partition("\n\n")
        why = why.replace("\nNothing was sent.", "") or head
        return text.line("%s: %s" % (head.partition(": ")[2], why) if answer.outcome == "refused" else why, 600)
    first, *more = answer.text.split("\n")
    return text.line(" ".join([first.lstrip("\u2705\u23f3\u26a0\u2753 ")] + [
        line for line in more if line.startswith(WAITS)]), 600)


_PERHAPS = "Run %s may have done it, or a part of it. %s, and run the steps that are left."


def _accepted(call, run, sent):
    """Those of the changes `sent` that took effect, or are on their way. Failure when that is not known."""
    for number, noted in enumerate(sent):
        status = _task(call, noted) or {}
        if "upid" not in noted and _ended(call, run, noted) is None or status.get("status") == "stopped" and not (
                succeeded(status.get("exitstatus"))):
            return sent[:number]
    return sent


def _task(call, noted):
    """The status of the task that a change started; None when it started none."""
    task = parse_upid(noted.get("upid"))
    return task and call.get("/nodes/{node}/tasks/{upid}/status", {"node": task.node, "upid": noted["upid"]})


def _ended(call, run, noted):
    """As `Runs._done_before`, of a change whose end was not seen."""
    status = _task(call, noted)
    if status is not None:
        if status.get("status") == "running":
            raise Failure("Run %s started it, and its task still runs: %s. Wait for it (proxmox_get_task)." % (
                run, noted["upid"]))
        return "done in run %s" % run if succeeded(status.get("exitstatus")) else None
    if "found" in noted:
        one = changes.change(noted)
        old, new = inverse.difference(noted["found"], changes.now(call, one))
        if not old and not new:
            return None
        raise Failure(_PERHAPS % (run, "It was: %s. Look at it" % inverse.told(one._replace(old=new, new=old))))
    raise Failure(_PERHAPS % (run, "Look at it"))


# ------------------------------------------------------------------------------------------------------ how it is told

STEPS = Table("step", Column("step", kind="int"), Column("state"), Column("tool"), Column("said", "what", "long"),
              Column("undo"))


def _question(steps):
    """What the user is asked: each step in its order, and what it may lose; what is said of several alike stands
    once."""
    parts, alike = [], {}
    for number, step in enumerate(steps, 1):
        if step.state == SKIPPED:
            continue
        asked = " / ".join(question for question, _ in step.questions)
        later = step.later and " (what it finds is not known before the steps ahead of it: %s)" % step.later or ""
        asks, _, more = asked.partition("? ") if not later else (asked, "", "")
        alike.setdefault(more, []).append(number)
        parts.append((number, asks or "%s %s" % (step.tool, step.arguments_shown()), more, later))
    shared = {more: numbers for more, numbers in alike.items() if more and len(numbers) > 1}
    listed = "; ".join("%d) %s%s%s" % (number, asks, "? " + more if more and more not in shared else "", later)
                       for number, asks, more, later in parts)
    return "Do %s, one after the other? %s%s" % (text.plural(len(parts), "step"), listed, "".join(
        ". Of %s: %s" % (text.ranges(numbers), more.rstrip(".")) for more, numbers in shared.items()))


def _plan(call, steps, says):
    """The Result of a plan: what each step would send, and what it would lose."""
    rows, lines = [], []
    for number, step in enumerate(steps, 1):
        requests = [{"method": verb, "path": path, "parameters": Audit.masked(params, call.secrets, True)}
                    for verb, path, params in step.planned]
        rows.append({"step": number, "state": SKIPPED if step.state == SKIPPED else
                     "not known yet" if step.later else "planned", "tool": step.tool, "requests": requests,
                     "arguments": Audit.masked(step.arguments, (), True),
                     "said": step.said or step.later or "", "asks": [question for question, _ in step.questions]})
        lines.append("%d. %s %s%s" % (number, step.tool, step.arguments_shown(), ": " + rows[-1]["said"]
                                      if rows[-1]["said"] else ""))
        for verb, path, params in step.planned:
            lines.append("    %s %s%s" % (verb, path, _change(call, verb, path, params)))
        lines += ["    asks: %s" % question for question in rows[-1]["asks"]]
    headline = "Plan of %s with %s; nothing was sent." % (says, text.plural(len(steps), "step"))
    return Result([headline, text.Shown("\n".join(lines))], {"done": False, "items": rows, "total": len(rows)})


def _change(call, verb, path, params):
    """" memory=4096 (2048 now)": the parameters of a request, beside what they change where that can be read."""
    shown, now = Audit.masked(params, call.secrets, True), {}
    way = inverse.find(verb, path)
    if way is not None and (verb == "PUT" or path.endswith("/config")):
        try:
            now = changes.found(call, way, path, params)
        except (PveError, Failure):
            pass
    return "".join(" %s=%s%s" % (key, text.word(text.line(value, 300)), " (%s now)" % text.line(now[key], 100)
                                 if key in now and str(now[key]) != str(value) else "") for key, value in shown.items())


def _told(call, run):
    """The Result about a Run: how far it came, or is; the answers of the steps that read."""
    ident, ended, steps = run.id, run.ended, run.steps
    rows = [{"step": number, "state": step.state, "tool": step.tool, "said": step.said, "undo": step.undo}
            for number, step in enumerate(steps, 1)]
    well = sum(step.state in (DONE, SKIPPED) for step in steps)
    says = "Run %s: %d of %s done" % (ident, well, text.plural(len(steps), "step"))
    notes, data = [], {"run": ident, "ended": ended}
    read = [(number, step) for number, step in enumerate(steps, 1) if step.reads and step.state == DONE]
    room = text.BUDGET // max(1, len(read))
    for number, step in read:
        notes.append(text.Shown("Step %d, %s %s:\n%s" % (number, step.tool, step.arguments_shown(), text.fit(
            step.text, room))))
    if read:
        data["answers"] = [dict(text.smaller(step.data, room), step=number) for number, step in read]
    if ended is None:
        says += ", still running"
        notes.append("proxmox_get_run id=%s wait=40 follows it; stop=true ends it after the present step." % ident)
    elif ended != DONE:
        says += "; it %s" % {FAILED: "FAILED", STOPPED: "was stopped", INTERRUPTED: "was interrupted"}[ended]
        notes.append("The same steps, unchanged, can be run again: those that were done are skipped.")
    if ended is not None and any(step.undo for step in steps):
        notes.append(text.Shown("undo: %s" % ident))
        data["undo"] = ident
    told = result(call, rows, says, notes, STEPS, mark="\u23f3" if ended is None else
                  "\u2705" if ended == DONE else "\u26a0", **data)
    if ended == FAILED and not well and not any(step.undo for step in steps):
        raise Failure(told.text, "No step was done")
    return told
