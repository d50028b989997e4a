"""The wire: one JSON-RPC message a line on a private copy of stdout, bounded lines from a private copy of stdin, strict JSON.

MCP 2026-07-28 basic/transports/stdio: UTF-8, messages end in a newline and hold none, nothing else on stdout. Everything here
works on file descriptors and bytes, so locale, console code page and stray prints change nothing.
"""
import json
import os
import re
import sys

#: Bytes of one line; a longer one is skipped to its end and answered with a parse error.
LONGEST_LINE = 4 * 1024 * 1024
DEEPEST = 64
_MOST_DIGITS = 20
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class BadLine(ValueError):
    """A line that is not a JSON message; str(error) says why."""


class TooLong:
    """Stands for a line longer than LONGEST_LINE."""


def private_streams():
    """(input fd, output fd) of the protocol. fd 0 then reads nothing and fd 1 is stderr, for whatever prints by mistake."""
    reader, writer = os.dup(0), os.dup(1)
    try:
        os.fstat(2)
    except OSError:                                     # started with stderr closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout = sys.stderr
    if os.name == "nt":
        import msvcrt
        msvcrt.setmode(reader, os.O_BINARY)
        msvcrt.setmode(writer, os.O_BINARY)
    return reader, writer


def lines(reader):
    """Yield each line (bytes without its end) of the descriptor, or TooLong; ends at the end of the input."""
    buffer, skipping, first = bytearray(), False, True
    while True:
        try:
            chunk = os.read(reader, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            if skipping:
                yield TooLong
            elif buffer.strip():
                yield bytes(buffer).strip()
            return
        start = len(buffer)
        buffer += chunk
        end = buffer.find(b"\n", start)
        while end >= 0:
            line = bytes(buffer[:end]).strip(b" \t\r")
            del buffer[:end + 1]
            if first and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            first = False
            if skipping or len(line) > LONGEST_LINE:
                skipping = False
                yield TooLong
            elif line:
                yield line
            end = buffer.find(b"\n")
        if len(buffer) > LONGEST_LINE:
            skipping = True
        if skipping:
            buffer.clear()


def _no_constant(name):
    raise BadLine("%s is not JSON" % name)


def _integer(digits):
    if len(digits) > _MOST_DIGITS:
        raise BadLine("a number has more than %d digits" % _MOST_DIGITS)
    return int(digits)


def _number(digits):
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise BadLine("a number is out of range")
    return value


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadLine("an object has a key twice")
    return result


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer, parse_float=_number)


def decode(line):
    """The JSON value of a line (bytes). BadLine: not UTF-8, not JSON, a key twice, nested too deeply, NaN, endless numbers."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise BadLine("the line is not UTF-8") from None
    if line.count(b"[") + line.count(b"{") > DEEPEST:
        depth = 0
        for match in _BRACKETS.finditer(line):
            depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match.group(), 0)
            if depth > DEEPEST:
                raise BadLine("the line nests deeper than %d levels" % DEEPEST)
    try:
        return _decoder.decode(text)
    except BadLine:
        raise
    except (ValueError, RecursionError):
        raise BadLine("the line is not JSON") from None


def encode(message):
    """A message (dict or list) as one line of ASCII bytes. Lone surrogates become U+FFFD (clients drop such lines)."""
    text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    if "\\ud" in text:
        text = json.dumps(_mended(message), separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def _mended(value):
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(part) for part in value]
    return value


def write_all(writer, data):
    """Write all bytes to the descriptor; OSError when nobody reads it any more."""
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view):]
