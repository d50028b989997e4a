"""Reports: what checks found, worst first, under one verdict; what could not be read beside it."""
from collections import namedtuple

from tools.base.answers import Table, data_only, result
from tools.pve import text
from tools.pve.text import Column

#: level: PROBLEM or LOOK. area: a word to narrow by. about: whom; says: what is wrong; then: the tool or action that
#: goes on from there; since: epoch seconds or None.
Finding = namedtuple("Finding", "level area about says then since", defaults=("", None))
PROBLEM, LOOK = 0, 1
_LEVELS = ("problem", "look")
_UNREAD = 12                    # sentences about what could not be read that are shown


def guests(vmids):
    """"guest 100", "guests 100-129, 200"."""
    return "guest%s %s" % ("" if len(vmids) == 1 else "s", text.ranges(map(int, vmids)))


FINDINGS = Table("finding", Column("level"), Column("about"), Column("says", "what", "long", lambda row: "".join((
                     row["says"], " (since %s)" % text.when(row["since"]) if row.get("since") else "",
                     "; " + row["then"] if row.get("then") else ""))),
                 *data_only("text", "area", "then"), *data_only("time", "since"))


def report(call, findings, unread, notes):
    """The Result of a report. unread: sentences about what could not be read; notes: what else there is to say."""
    findings = sorted(findings, key=lambda finding: finding.level)
    problems = sum(finding.level == PROBLEM for finding in findings)
    verdict = "%s, %d worth a look" % (text.plural(problems, "problem"), len(findings) - problems) if findings else (
        "Nothing found")
    if unread:
        verdict += "; %s not be read" % ("1 thing could" if len(unread) == 1 else "%d things could" % len(unread))
    missed = ["Not read: %s." % line for line in unread[:_UNREAD]]
    if len(unread) > _UNREAD:
        missed.append("Not read: %d more." % (len(unread) - _UNREAD))
    rows = [dict(finding._asdict(), level=_LEVELS[finding.level]) for finding in findings]
    return result(call, rows, verdict, missed + notes)
