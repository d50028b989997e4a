"""Several clusters in one server: which of them a call means, and reads of several at once. `app` has a Host for each.

A change names exactly one; what is not named is never asked anything.
"""
import difflib
import json
import queue
import threading
import time
from contextlib import suppress

from tools import entries
from tools.base.failures import Failure
from tools.base.schema import ArgumentProblems
from tools.mcp.clusters import ALL, ARGUMENT, TOGETHER, default_of
from tools.mcp.run import Answer, Nobody, misused, unreadable
from tools.pve import text
from tools.pve.client import Cancelled, PveError

#: Seconds from the beginning that a cluster has when another has answered; or so many times as long as the slowest of
#: these took. Else one that is down would keep all the others waiting.
LATE, TIMES = 8.0, 3
LOOK = 0.2                              # seconds between two looks at whether the client has cancelled


def named(app, entry, arguments):
    """(the names that a call is for, its arguments without them); ArgumentProblems when they are not clear."""
    given, known, together = arguments.get(ARGUMENT), ", ".join(app.hosts), entry["name"] in TOGETHER
    rest = {key: value for key, value in arguments.items() if key != ARGUMENT}
    if given in (None, "", []):
        name = default_of(app.every, entry["changes"])
        if name is None:
            raise ArgumentProblems(["%s: which cluster? %s." % (
                ARGUMENT, "One or more of %s, or all" % known if together else "One of " + known)])
        return [name], rest
    words = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    words = [word.strip() if isinstance(word, str) else json.dumps(word) for word in words]
    for word in words:
        if word not in app.hosts and not (together and word == ALL):
            near = difflib.get_close_matches(word.lower(), app.hosts, 1)
            raise ArgumentProblems(["%s: there is no cluster %s here.%s There are %s%s." % (
                ARGUMENT, text.line(word), " Did you mean %s?" % near[0] if near else "", known,
                "; all means all of them" if together else "")])
    if len(words) > 1 and not together:
        raise ArgumentProblems(["%s: %s is for one cluster at a time; call it for each." % (ARGUMENT, entry["name"])])
    return list(app.hosts) if ALL in words else list(dict.fromkeys(words)), rest


def run(app, name, arguments, request, asked=False):
    """The Answer of a tool at the cluster, or at each of those, that the arguments name."""
    try:
        names, arguments = named(app, entries()[name], arguments)
    except ArgumentProblems as error:
        return misused(name, error)
    if len(names) > 1:
        return _together(app, names, name, arguments, request)
    return _signed(app.hosts[names[0]]().run(name, arguments, request, asked=asked), names[0])


def _together(app, names, name, arguments, request):
    """One Answer out of those of several clusters, read at the same time."""
    answers = each(app, names, lambda host, part: host.run(name, arguments, part), request)
    answers = {one: answer if isinstance(answer, Answer) else Answer("\u274c %s" % answer, None, True, "failed")
               for one, answer in answers.items()}
    well, counted = {one: answer for one, answer in answers.items() if not answer.failed}, text.plural(
        len(answers), "cluster")
    blocks = [text.fit(words, text.CAP // len(answers)) if one in well else _in_a_line(words)
              for one, words in ((one, _signed(answer, one).text) for one, answer in answers.items())]
    if not well:
        return Answer("\u274c Error: none of %s answered\n\n%s" % (counted, "\n".join(blocks)), failed=True,
                      outcome=next(iter(answers.values())).outcome)
    headline = "%d of %s answered" % (len(well), counted)
    about = [{ARGUMENT: one, "ok": True, **{key: found for key, found in answer.data.items() if key != "items"}}
             if one in well else {ARGUMENT: one, "ok": False, "error": _in_a_line(answer.text)}
             for one, answer in answers.items()]
    data = {"summary": headline, "clusters": about,
            "items": [{ARGUMENT: one, **row} for one, answer in well.items() for row in answer.data.get("items", ())],
            "total": sum(answer.data.get("total", 0) for answer in well.values())}
    if text.weight(data) > text.CAP - 2000:
        data = {"truncated": True, **text.smaller(data, text.CAP // 2)}
    all_did = len(well) == len(answers)
    return Answer("%s %s\n\n%s" % ("\u2705" if all_did else "\u26a0", headline, "\n\n".join(blocks)), data,
                  outcome="done" if all_did else "failed")


def each(app, names, work, request, late=None):
    """{name: what work(Host, who asks) gave, or the words (str) why it gave nothing}. late: instead of LATE."""
    done, parts, answers = queue.SimpleQueue(), {name: _part(request) for name in names}, {}

    def one(name):
        try:
            done.put((name, work(app.hosts[name](), parts[name])))
        except (Cancelled, Failure, PveError) as error:
            done.put((name, str(error)))
        except Exception as error:
            done.put((name, unreadable(app.log, error, cluster=name)))
    began, limit = time.monotonic(), None
    for name in names:
        threading.Thread(target=one, args=(name,), daemon=True).start()
    try:
        while len(answers) < len(names) and not request.cancelled.is_set() and not request.hurried:
            if limit is not None and time.monotonic() - began > limit:
                break
            with suppress(queue.Empty):
                name, answer = done.get(timeout=LOOK)
                answers[name] = answer
                if not (isinstance(answer, str) or getattr(answer, "failed", False)):
                    limit = max(late or LATE, TIMES * (time.monotonic() - began))
    finally:
        for part in parts.values():
            part.cancelled.set()
    if request.cancelled.is_set():
        raise Cancelled("cancelled by the client")
    missing = "no answer within %d s" % (time.monotonic() - began)
    return {name: answers.get(name, missing) for name in names}


def _part(request):
    """Who asks one of several clusters: ends when the read of all ends."""
    part = Nobody()
    part.patience, part.client, part.ends = request.patience, getattr(request, "client", None), request.ends
    return part


def _in_a_line(words):
    return text.line(" ".join(words.split()), 400)


def _signed(answer, cluster):
    """An Answer that says which cluster it is about."""
    mark, _, words = answer.text.partition(" ")
    whole = "%s cluster %s: %s" % (mark, cluster, words)
    if answer.outcome == "refused":
        whole += "\nSettings of this cluster are in section [%s] of the file that PROXMOX_CONFIG names." % cluster
    if answer.data is None:
        return answer._replace(text=whole)
    data = {ARGUMENT: cluster, **answer.data, "summary": "cluster %s: %s" % (cluster, answer.data.get("summary", ""))}
    return answer._replace(text=whole, data=data)
