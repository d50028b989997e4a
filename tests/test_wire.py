"""The wire: lines out of a descriptor, bytes into JSON and back; what is not JSON for us and why."""
import json
import os
import re
import threading
import time
import tracemalloc

import pytest

from tools.mcp.wire import DEEPEST, LONGEST_LINE, BadLine, TooLong, decode, encode, lines, write_all


def read(data):
    """What `lines` makes of these bytes."""
    reader, writer = os.pipe()
    if len(data) > 4096:                        # more than a pipe holds
        threading.Thread(target=lambda: (write_all(writer, data), os.close(writer)), daemon=True).start()
    else:
        write_all(writer, data)
        os.close(writer)
    found = list(lines(reader))
    os.close(reader)
    return found


LINES = [
    (b"", []),
    (b"{}\n", [b"{}"]),
    (b"{}\n[]\n", [b"{}", b"[]"]),
    (b"{}\r\n[]\r\n", [b"{}\r", b"[]\r"]),                    # \r is white space to JSON
    (b"\n\r\n \t\n{}\n\n", [b"{}"]),                          # blank lines are nothing
    (b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n", [b"{}", b"\xef\xbb\xbf{}"]),      # a byte order mark: at the very start only
    (b"\xef\xbb\xbf{}", [b"{}"]),
    (b"{}\n[1]", [b"{}", b"[1]"]),                            # the last line needs no newline
    (b"\x00\xff\n{}\n", [b"\x00\xff", b"{}"]),
]


@pytest.mark.parametrize("data, expected", LINES)
def test_lines(data, expected):
    assert read(data) == expected


def test_lines_come_as_they_are_written():
    reader, writer = os.pipe()
    found = lines(reader)
    for part in (b'{"a"', b":1}\n"):
        write_all(writer, part)
    assert next(found) == b'{"a":1}'
    write_all(writer, b"1\n2\n3")
    assert [next(found), next(found)] == [b"1", b"2"]
    os.close(writer)
    assert list(found) == [b"3"]


def test_lines_end_when_the_descriptor_cannot_be_read():
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    assert list(lines(reader)) == []


@pytest.mark.parametrize("rest", [b"\n{}\n", b"\n{}"])
def test_a_line_that_is_too_long_is_dropped_to_its_end(rest):
    assert read(b"x" * (LONGEST_LINE + 1) + rest) == [TooLong, b"{}"]


def test_the_longest_line_is_served():
    assert [len(line) for line in read(b"x" * LONGEST_LINE + b"\n")] == [LONGEST_LINE]


def test_memory_stays_bounded(monkeypatch):
    chunks = iter([b"x" * 65536] * 1000 + [b"\n{}\n", b""])            # 65 MB in one line
    monkeypatch.setattr(os, "read", lambda fd, size: next(chunks))
    tracemalloc.start()
    try:
        assert list(lines(0)) == [TooLong, b"{}"]
        assert tracemalloc.get_traced_memory()[1] < 3 * LONGEST_LINE
    finally:
        tracemalloc.stop()


GOOD = [
    (b'{"a": [1, "b", null, true, 1.5e3]}', {"a": [1, "b", None, True, 1500.0]}),
    ('"\u00e9\U0001f600"'.encode(), "\u00e9\U0001f600"),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b" {}\r", {}),
    (b"-9223372036854775808", -9223372036854775808),
    (b"[" * DEEPEST + b"]" * DEEPEST, json.loads("[" * DEEPEST + "]" * DEEPEST)),
    (b"[" + b"[]," * 500 + b'"[[[[\\"[[["]', [[]] * 500 + ['[[[["[[[']),
    (b'["' + b"[" * 1000 + b'"]', ["[" * 1000]),
]


@pytest.mark.parametrize("line, value", GOOD, ids=[repr(line[:20]) for line, _ in GOOD])
def test_decode(line, value):
    assert decode(line) == value


BAD = [
    (b"{", "is not JSON"), (b"hello", "is not JSON"), (b"{'a': 1}", "is not JSON"), (b"{} {}", "is not JSON"),
    (b"Content-Length: 120", "is not JSON"), (b"\xef\xbb\xbf{}", "is not JSON"), (b'"\x01"', "is not JSON"),
    (b'{"a": "\xff"}', "is not UTF-8"), (b'"\xed\xa0\x80"', "is not UTF-8"), ("{}".encode("utf-16"), "is not UTF-8"),
    ("{}".encode("utf-16-le"), "is not JSON"),
    (b'{"a": NaN}', "NaN"), (b"[-Infinity]", "-Infinity"), (b"[1e999]", "out of range"), (b"[-1e999]", "out of range"),
    (b"1" * 21, "20 digits"), (b'{"id": 1' + b"0" * 1000000 + b"}", "20 digits"),
    (b'{"a": 1, "a": 2}', "a key twice"), (b'[{"id": {"x": 1, "x": 1}}]', "a key twice"),
    (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nests deeper"), (b"[" * 100000, "nests deeper"),
    (b'{"a":' * 100000, "nests deeper"), (b'["x","' + b'\\"' * 9 + b'",' + b"[" * 100, "nests deeper"),
]


@pytest.mark.parametrize("line, words", BAD, ids=[repr(line[:20]) for line, _ in BAD])
def test_what_is_not_json_here(line, words):
    start = time.monotonic()
    with pytest.raises(BadLine, match=re.escape(words)):
        decode(line)
    assert time.monotonic() - start < 5


OUT = [
    ({"jsonrpc": "2.0", "id": 1}, b'{"jsonrpc":"2.0","id":1}'),
    ("\u00e9\n\u2028\U0001f600", b'"\\u00e9\\n\\u2028\\ud83d\\ude00"'),
    ({"a\ud800": ["\udfff", ("x\udc80y",)]}, b'{"a\\ufffd":["\\ufffd",["x\\ufffdy"]]}'),
    ({1: {"n": 1.5, "s": "\ud800"}}, b'{"1":{"n":1.5,"s":"\\ufffd"}}'),
]


@pytest.mark.parametrize("value, line", OUT)
def test_what_leaves_is_ascii_and_whole(value, line):
    assert encode(value) == line
    assert b"\n" not in encode(value) and json.loads(encode(value)) is not None


def test_encode_refuses_what_json_cannot_say():
    with pytest.raises(TypeError):
        encode({"a": {1, 2}})


def test_write_all_writes_all(monkeypatch):
    written = []

    def some(fd, data):
        written.append(bytes(data[:3]))
        return min(3, len(data))
    monkeypatch.setattr(os, "write", some)
    write_all(9, b"12345678")
    assert b"".join(written) == b"12345678" and len(written) == 3
