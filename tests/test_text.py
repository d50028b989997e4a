"""Answers as text: units, tables, and text from guests made safe."""
import json

import pytest

from tools.pve import text
from tools.pve.text import Column


@pytest.mark.parametrize("function, value, shown", [
    (text.size, 0, "0 B"), (text.size, 1536, "1.5 KiB"), (text.size, 4 << 30, "4 GiB"),
    (text.size, 5 << 50, "5120 TiB"),
    (text.percent, 0.1234, "12 %"), (text.percent, 0.0123, "1.2 %"), (text.percent, 0, "0 %"),
    (text.duration, 0.4, "0.4 s"), (text.duration, 3, "3 s"), (text.duration, 62, "1 min 2 s"),
    (text.duration, 86400 * 3 + 7200, "3 d 2 h"),
    (text.when, 0, "1970-01-01 00:00:00 UTC"), (text.yes, True, "yes")])
def test_units(function, value, shown):
    assert function(value) == shown


@pytest.mark.parametrize("kind, value, normal", [
    ("int", "100", 100), ("bytes", 1.0, 1), ("fraction", "0.25", 0.25), ("bool", 1, True), ("bool", "0", False),
    ("int", "N/A", None), ("list", "a;b", ["a", "b"]), ("seconds", "12", 12), ("text", 5, "5")])
def test_values_get_the_type_of_their_kind(kind, value, normal):
    assert text.normal(kind, value) == normal


def test_a_table_is_aligned_for_people_and_leaves_out_what_is_empty(monkeypatch):
    columns = [Column("a"), Column("b", "big", "bytes"), Column("c"), Column("d", shown=False)]
    rows = [{"a": "x", "b": 1 << 30, "d": 1}, {"a": "longer   one", "b": 5}]
    monkeypatch.setattr(text, "SCREEN", None)           # of a command that another test ran
    assert text.table(columns, rows) == "A  BIG\nx  1 GiB\nlonger one  5 B"       # two blanks are between cells alone
    monkeypatch.setattr(text, "SCREEN", 0)
    assert text.table(columns, rows) == "A             BIG\nx             1 GiB\nlonger   one  5 B"


HOSTILE = ["a\x1b[31mred", "x\u202egnp.exe", "zero\u200bwidth", "tag\U000e0041", "null\x00", "\ud800", "cr\rlf",
           "c1\x9b"]


@pytest.mark.parametrize("value", HOSTILE)
def test_invisible_characters_are_written_out(value):
    [hidden] = [ord(character) for character in value if not character.isprintable()]
    for shown in (text.visible(value), text.line(value), text.clean(value),
                  text.clean([{value: value}])[0][text.clean(value)]):
        assert all(c.isprintable() for c in shown), ascii(shown)
        assert ("\\U%08x" if hidden > 0xffff else "\\u%04x") % hidden in shown


def test_a_cell_cannot_break_its_row():
    assert "\n" not in text.table([Column("a")], [{"a": "x\ny"}]).split("\n", 1)[1]


def test_what_a_guest_says_stands_behind_a_bar():
    assert text.quoted("ok\n| fake\r\n\u2705 done\n") == "| ok\n| | fake\n| \u2705 done"
    assert text.quoted("0123456789", most=4).startswith("| 0123... (6 more")
    assert text.quoted("0123456789", most=4, end=True) == "| (6 characters left out) 6789"


@pytest.mark.parametrize("value", ["x" * 2000, "\u00e9" * 2000, "\U0001f600" * 2000, "\n" * 2000, "\u2705" * 90,
                                   "\u2705" * 90 + "x" * 2000, "x" * 300 + "\u2705" * 300])
def test_what_is_fitted_fits_with_its_remark(value):
    for most in range(60, 500, 11):
        fitted = text.fit(value, most)
        kept = fitted.partition("...")[0]
        assert text.weight(fitted) <= most and value.startswith(kept), most
        assert fitted in (value, "%s... (%d more characters)" % (kept, len(value) - len(kept))), most
        assert fitted == value or text.weight(value) > most - 40, most


def test_weight_is_bytes_on_the_wire():
    assert text.weight("\u2705") == len(json.dumps("\u2705"))


def test_numbers_that_are_not_json_become_null():
    assert text.clean({"a": float("nan"), "b": [float("inf")]}) == {"a": None, "b": [None]}


@pytest.mark.parametrize("data, most, left", [
    ({"a": "x" * 400, "b": "y" * 100, "c": 1}, 300, {"a": "x" * 100, "b": "y" * 100, "c": 1}),
    ({"a": ["x" * 90] * 4, "b": {"p": "y" * 60, "q": 2}}, 200, {"a": ["x" * 90], "b": {"p": "y" * 60, "q": 2}}),
    ({"a": "x" * 50, "b": {"p": "y" * 60, "q": 2}}, 136, {"a": "x" * 50, "b": {"p": "y" * 60}}),
    ({"a": ["x" * 90], "b": 1}, 50, {"b": 1}), ({"a": 10 ** 50}, 20, {}), ({"a": 1}, 100, {"a": 1})])
def test_shortening_begins_with_the_longest(data, most, left):
    before = json.dumps(data)
    assert text.smaller(data, most) == left and json.dumps(data) == before


def test_shortening_weighs_each_part_seldom(monkeypatch):
    weighed, weight = [], text.weight
    monkeypatch.setattr(text, "weight", lambda value: weighed.append(1) or weight(value))
    short = text.smaller({"key%d" % n: "x" * 500 for n in range(1000)}, 24000)
    assert 20000 < weight(short) <= 24000 and len(weighed) < 14000
