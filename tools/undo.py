"""Toolset: what was changed through this server, and the way back."""
from dataclasses import dataclass
from typing import Annotated, Optional
from urllib.parse import unquote

from tools.base import changes, guest
from tools.base.answers import Table, result
from tools.base.edit import WAITS
from tools.base.failures import Failure
from tools.base.lists import NAMES
from tools.base.row import DESTRUCTIVE, Tool, Wait
from tools.base.schema import Arg
from tools.policy import inverse
from tools.pve import text
from tools.pve.client import PveError
from tools.pve.formats import GUEST_PATH
from tools.pve.text import Column

ROUNDS = 4                      # a way back of more requests than each of these may have is none


@dataclass
class Undo:
    """Take back a change or a run by the undo id of its answer (asks); without id, list them."""
    id: Annotated[Optional[str], Arg(max_length=20)] = None
    wait: Wait = None


CHANGES = Table("change", Column("id"), Column("at", "when", "time"), Column("tool"), Column("subject", "what", "long"),
                Column("run"), Column("why", "no way back", "long"),
                empty="Nothing was changed through this server since it keeps a journal.")


def undo(call):
    journal = call.host.journal
    if journal is None:
        raise Failure("This is one call by itself, which keeps no journal. Set PROXMOX_STATE_DIR to keep one.")
    if call.args.id is None:
        rows = [dict(record, why=_why(record)) for record in journal.all("u") if record.get("changes")]
        return result(call, rows, "%s noted, the latest first" % text.plural(len(rows), "change"))
    records = _records(call)
    made = [changes.change(one) for record in records for one in reversed(record["changes"])]

    def describe():
        call.forget()
        lines, problems = _planned(call, made)
        if problems:
            raise Failure("\n".join(problems))
        return "Take back what %s did:\n%s" % (", ".join(dict.fromkeys(
            "%s of %s (%s)" % (record["tool"], record["subject"], record["id"]) for record in records)),
            "\n".join(lines)), {"lines": lines}
    lines = call.confirm(describe)["lines"]
    if call.dry or getattr(call.request, "run", None):
        return _undone(call, records, made, lines)
    # it may take longer than the client waits: so it is a run, of a step for each change
    run = call.host.runs.agreed(call, [("proxmox_undo", {"id": record["id"]}) for record in records])
    told = call.host.runs.follow(call, run)
    if not run.over.is_set() or told.data["ended"] != "done":
        return told
    notes = [line for step in run.steps for line in step.text.split("\n") if line.startswith(WAITS)]
    return result(call, [{"subject": line} for line in lines], "Taken back: %s" % call.args.id, notes + [
        text.Shown("undo: %s" % run.id)], undo=run.id)


def _undone(call, records, made, lines):
    """Take the changes of the records back, which was agreed to; the Result."""
    for one in made:
        _take_back(call, one)
    if call.planned:
        return None
    for record in records:
        call.host.journal.amend(record["id"], undone=int(call.host.now()))
    waiting = sorted({key for one in made for key in _waiting(call, one)})
    note = "%s%s waits for a restart of the guest." % (WAITS, ", ".join(waiting)) if waiting else None
    return result(call, [{"subject": line} for line in lines], "Taken back: %s" % call.args.id, note)


def _waiting(call, one):
    """The options of a guest's config that a change taken back left to its restart."""
    path = changes.place(call, one)
    if not path.endswith("/config") or not GUEST_PATH.match(path) or not one.old and one.verb == "POST":
        return ()
    return guest.pending(call.try_get(path[:-len("config")] + "pending"))[1].keys() & {*one.old, *one.new}


def _why(record):
    if record.get("undone"):
        return "It was taken back at %s." % text.moment(record["undone"])
    return next((one["why"] for one in record["changes"] if "why" in one), None)


def _records(call):
    """The records that an id means, the latest first; Failure when there is none, or one has no way back."""
    wanted = call.args.id
    records = [record for record in call.host.journal.all("u") if record.get("changes") and (
        wanted == record["id"] or wanted == record.get("run") and not record.get("undone"))]
    if not records:
        here = call.host.settings.cluster
        raise Failure("Nothing is noted under %s%s that could be taken back. proxmox_undo without id lists what is." % (
            text.line(wanted), " on cluster %s" % here if here else ""))
    why = ["%s (%s of %s): %s" % (record["id"], record["tool"], record["subject"], _why(record))
           for record in records if _why(record)]
    if why:
        raise Failure("There is no way back:\n%s" % "\n".join(why))
    return records


def _planned(call, made):
    """(lines, problems) of taking these changes back, each looked at as it will be when its turn comes."""
    lines, problems, later = [], [], {}
    for one in made:
        way, path = changes.way_of(one), changes.place(call, one)
        whose, taken = _whose(path), later.setdefault((way.facts, GUEST_PATH.sub(r"\2/\3", path)), {})
        now = {key: value for key, value in dict(changes.read(call, way, path), **taken).items()
               if value is not inverse.ABSENT}
        moved = inverse.moved_on(one, now)
        if moved:
            problems.append("%s was changed since: %s." % (whose, "; ".join(
                "%s was left as %s and is %s" % (key, text.line("nothing" if left is None else left, 300),
                                                 text.line("nothing" if here is None else here, 300))
                for key, (left, here) in moved.items())))
            continue
        try:
            for verb, place, params in way.back(one._replace(path=changes.here(call, one.path)), now):
                call.allow(params, "%s %s" % (verb, changes.here(call, place)))
        except inverse.NoWay as error:
            problems.append("%s: %s" % (whose, error))
        taken.update((key, one.old.get(key, inverse.ABSENT)) for key in {**one.old, **one.new})
        lines.append("%s: %s" % (whose, inverse.told(one)))
    return lines, problems


def _whose(path):
    named = GUEST_PATH.match(path)
    return "%s %s" % (text.capital(NAMES[named.group(2)]), named.group(3)) if named else unquote(path)


def _take_back(call, one):
    """Send what takes one change back, each request followed to its end; Failure when it does not come about."""
    way = changes.way_of(one)
    for _ in range(1 if way.slow else ROUNDS):
        path = changes.place(call, one)
        requests = way.back(one._replace(path=changes.here(call, one.path)), changes.read(call, way, path))
        for number, (verb, place, params) in enumerate(requests):
            if way.digest and not number:               # the one that was read with the state
                data = call.recent(path)
                rows = data if isinstance(data, list) else [data or {}]
                params = dict(params, digest=rows[0].get("digest") if rows else None)
            try:
                outcome = call.follow(call.send(params, "%s %s" % (verb, changes.here(call, place))))
            except PveError as error:                   # it is in the config all the same, and waits for a restart
                if "hotplug" not in str(error) or way.back(one, changes.now(call, one)):
                    raise
            else:
                if outcome.upid and not outcome.ok:
                    raise Failure("A task of it still runs: %s\nWhat comes after it was not taken back." % outcome.upid)
            call.forget()
        if not requests or call.planned:
            return

    def look():
        call.forget()
        return changes.now(call, one)
    state = call.wait_for(look, lambda state: state == dict(state, **one.old), call.wait_limit,
                          lambda state: "%s is not as it was yet" % _whose(path)) if way.slow else None
    if state is None or state != dict(state, **one.old):
        raise Failure("It could not be taken back as a whole: look at %s." % _whose(path))


TOOLS = {
    "proxmox_undo": Tool("ANY /{path}", DESTRUCTIVE, Undo, undo, CHANGES, needs=()),
}
