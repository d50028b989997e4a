"""The wire: one JSON-RPC message a line, on private copies of stdin and stdout; bounded lines, strict JSON.

MCP 2026-07-28 basic/transports/stdio: UTF-8, messages end in a newline and hold none, nothing else on stdout. All of it
works on file descriptors and bytes, so locale, console code page and stray prints change nothing.
"""
import json
import os
import re
import sys

#: Bytes of one line; a longer one is skipped to its end and answered with a parse error.
LONGEST_LINE = 4 * 1024 * 1024
#: Levels of arrays and objects in one message. The interpreter's own limit differs from version to version.
DEEPEST = 64
#: Values of one message, counted by its commas and brackets: more take long to read, whatever they are.
MOST_PARTS = 150000
#: Digits of one integer: endless ones take the interpreter seconds to read.
MOST_DIGITS = 20

_BOM = b"\xef\xbb\xbf"
_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadLine(ValueError):
    """A line that is not a JSON message; str(error) says why."""


class TooLong:
    """Stands for a line longer than LONGEST_LINE."""


# ------------------------------------------------------------------------------------------------------------- streams

def private_streams():
    """(input fd, output fd) of the protocol. fd 0 then reads nothing and fd 1 is stderr, for what prints by mistake.
    One that was closed at the start becomes /dev/null: no file opened later may get its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)        # the lowest free number: this one
    reader, writer = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stdout = sys.stderr
    if os.name == "nt":
        import msvcrt
        msvcrt.setmode(reader, os.O_BINARY)
        msvcrt.setmode(writer, os.O_BINARY)
    else:
        os.set_blocking(reader, True)
        os.set_blocking(writer, True)
    return reader, writer


def write_all(writer, data):
    """Write all bytes to the descriptor; OSError when nobody reads it any more."""
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view):]


def lines(reader):
    """Yield each line (bytes without its end) that is not blank, or TooLong for one that is dropped as it comes in."""
    buffer, dropping, first = bytearray(), False, True
    while True:
        try:
            chunk = os.read(reader, 65536)
        except OSError:
            chunk = b""
        searched, ended = len(buffer), not chunk
        buffer += chunk or b"\n"
        end = buffer.find(b"\n", searched)
        while end >= 0:
            line = bytes(buffer[:end])
            del buffer[:end + 1]
            if first and line.startswith(_BOM):
                line = line[len(_BOM):]
            first = False
            if dropping or len(line) > LONGEST_LINE:
                dropping = False
                yield TooLong
            elif line.strip(b" \t\r"):
                yield line
            end = buffer.find(b"\n")
        if ended:
            return
        if len(buffer) > LONGEST_LINE:
            dropping = True
        if dropping:
            buffer.clear()


# ---------------------------------------------------------------------------------------------------------------- JSON

def _constant(name):
    raise BadLine("%s is not JSON" % name)


def _integer(digits):
    if len(digits) > MOST_DIGITS:
        raise BadLine("a number has more than %d digits" % MOST_DIGITS)
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


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer,
                            parse_float=_number)


def decode(line):
    """The JSON value of a line (bytes); BadLine says why it is none, or none that is taken here."""
    if line.count(b",") + line.count(b"[") + line.count(b"{") > MOST_PARTS:
        raise BadLine("the line holds more than %d values" % MOST_PARTS)
    if line.count(b"[") + line.count(b"{") > DEEPEST:
        depth = 0
        for match in _BRACKETS.finditer(line):
            depth += _STEP.get(match.group(), 0)
            if depth > DEEPEST:
                raise BadLine("the line nests deeper than %d levels" % DEEPEST)
    try:
        return _decoder.decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadLine("the line is not UTF-8") from None
    except BadLine:
        raise
    except (ValueError, RecursionError):
        raise BadLine("the line is not JSON") from None


#: An id where clients write it: at the beginning, or at the end, of the message itself.
_ID = rb'"id"\s*:\s*([0-9]{1,18}|"[^"\\]{1,200}")\s*'
_FIRST_ID = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID + rb',(?!\s*"id")')
_LAST_ID = re.compile(_ID + rb'\}\s*\Z')


def glance(line):
    """The id of the request that `decode` refused, as far as it stands where clients write it; else None."""
    found = _FIRST_ID.match(line) or _LAST_ID.search(line, len(line) - 300)
    whole = b'"method"' in line and line.rstrip().endswith(b"}")
    return json.loads(found.group(1)) if found and whole else None


def encode(message):
    """A JSON value as one line of ASCII bytes, without its newline; TypeError or ValueError for what JSON cannot say.
    Lone surrogates become U+FFFD: clients drop a whole line for one of them."""
    text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    if "\\ud" in text:                                              # a surrogate, alone or in a pair
        text = json.dumps(_mended(message), separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _mended(value):
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(part) for part in value]
    return value
