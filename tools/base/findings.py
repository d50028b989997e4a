"""Reports: what is read for them, and what checks found in it, worst first, under one verdict."""
import re
from collections import namedtuple

from tools.base.answers import Table, data_only, result
from tools.base.lists import NAMES, chosen, of_each_guest
from tools.pve import text
from tools.pve.text import Column

#: level: PROBLEM or LOOK; about: whom; says: what is wrong; then: the tool or action that goes on from there; since:
#: epoch seconds or None; area: a word to narrow by, that of its check.
Finding = namedtuple("Finding", "level about says then since area", defaults=("", None, ""))
#: path: of each node that is online if it has {node}; params; areas: which need it; where: a condition on which it is
#: read, function of Seen and the node; word: what to call it, default its name; normal: an error that is none.
Read = namedtuple("Read", "path params areas where word normal", defaults=(None, None, "^$"))
PROBLEM, LOOK = 0, 1
_LEVELS = ("problem", "look")


class Seen:
    """What a report looks at: area, now; resources (rows of /cluster/resources), guests (those that the arguments
    choose), nodes ({name: row}), online (names of those looked at); all ({name of a read: data, or None}), each ({name
    of a read of nodes: {node: data}}), inside ({vmid: {what: data}}); unread (sentences about what was not read), blind
    (areas of which something was not), notes (sentences about what else there is to know).
    """

    def __init__(self, call):
        self.call, self.area, self.now = call, call.args.area, call.host.now()
        self.resources = call.get("/cluster/resources") or []
        self.guests = chosen([row for row in self.resources if row.get("type") in NAMES], call.args)
        self.nodes = {str(row.get("node")): row for row in self.resources if row.get("type") == "node"}
        self.online = [name for name in sorted(self.nodes) if self.nodes[name].get("status") == "online"
                       and call.args.node in (None, name)]
        self.all, self.each, self.inside, self.unread, self.blind, self.notes = {}, {}, {}, [], set(), []

    def wants(self, *areas):
        return self.area is None or self.area in areas

    def rows(self, name):
        """(node, row) of all rows that a read of nodes gave."""
        return ((node, row) for node, rows in self.each[name].items() for row in rows)

    def miss(self, area, *sentences):
        self.unread.extend(sentences)
        self.blind.update([area] if sentences else ())

    def read(self, table):
        """Read a table, {name: Read}."""
        wanted, failed = [], {}
        for name, one in table.items():
            nodes = self.online if "{node}" in one.path else [None]
            self.all[name], self.each[name] = None, {}
            wanted += [(name, one, node) for node in nodes if self.wants(*one.areas) and (
                one.where is None or one.where(self, node))]
        for (name, one, node), answer in zip(wanted, self.call.together([
                (one.path, {"node": node}, one.params) for _, one, node in wanted])):
            if not isinstance(answer, Exception):
                (self.each[name] if node else self.all)[node or name] = answer or []
            elif not re.search(one.normal, str(answer)):
                self.blind.update(one.areas)
                why = re.sub(r"/nodes/%s\b" % re.escape(str(node)), "/nodes/NODE", text.first_line(answer))
                failed.setdefault((text.capital(one.word or name), why), []).append(node)
        self.unread.extend("%s%s: %s" % (what, " of " + text.listed(nodes, 120) if nodes[0] else "", why)
                           for (what, why), nodes in failed.items())

    def ask(self, what, guests, normal="^$"):
        """Note what each of the guests answers, once for all that fail alike; `normal`: errors that are an answer."""
        answers, unread = of_each_guest(self.call, what, guests, normal)
        for vmid, answer in answers.items():
            self.inside.setdefault(vmid, {})[what] = answer
        self.miss("guests", *unread)


def nodes_of(names):
    """"node a", "nodes a, b"."""
    return "node%s %s" % ("" if len(names) == 1 else "s", ", ".join(names))


FINDINGS = Table("finding", Column("level"), Column("about", text=lambda row: text.listed(row["about"].split(", "))),
                 Column("says", "what", "long", lambda row: "".join((
                     row["says"], " (since %s)" % text.when(row["since"]) if row.get("since") else "",
                     "; " + row["then"] if row.get("then") else ""))),
                 *data_only("text", "area", "then"), *data_only("time", "since"))


def look(seen, checks):
    """The Findings of the areas asked for, worst first; checks: {area: function(seen) -> Findings}."""
    found = [finding._replace(area=area) for area, check in checks.items() if seen.wants(area)
             for finding in check(seen)]
    return sorted(found, key=lambda finding: finding.level)


def report(seen, found, notes):
    """The Result of a report of these Findings; notes: what else there is to say."""
    problems = sum(finding.level == PROBLEM for finding in found)
    verdict = "%s, %d worth a look" % (text.plural(problems, "problem"), len(found) - problems) if found else (
        "Nothing found")
    if seen.unread:
        verdict += "; %s could not be read" % text.plural(len(seen.unread), "thing")
    missed = ["Not read: %s." % line for line in seen.unread]
    rows = [dict(finding._asdict(), level=_LEVELS[finding.level]) for finding in found]
    return result(seen.call, rows, verdict, missed + notes + seen.notes)
