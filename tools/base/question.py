"""What is added to a question so that it is whole: what was given and it does not tell."""
import re

from tools.base.row import NOT_PARAMETERS
from tools.base.schema import fields
from tools.policy import endpoints
from tools.pve import text
from tools.pve.formats import property_string


def besides(call, question):
    """" With start=1." of the arguments given that a question does not tell; that of a raw request tells all."""
    given, whole = {}, set()                        # name to Proxmox -> value; names of what a question is about
    for field in fields(type(call.args)):
        value = getattr(call.args, field.name)
        if value != field.default and field.name not in (*NOT_PARAMETERS, "vmid") and call.tool.verb != "ANY":
            given.update(value if isinstance(value, dict) else {field.parameter: value})
            whole |= {field.parameter} if field.required or field.type is list else set()
    plain = (*endpoints.shown(call.tool.verb, call.tool.path), *endpoints.RUN)
    left = []
    for name, value in call.host.audit.masked(given, call.secrets, True, plain).items():
        parts = value if isinstance(value, list) else [value]
        if name not in whole or any(text.line(part, text.WHOLE) not in question for part in parts):
            value = int(value) if isinstance(value, bool) else property_string(value) if isinstance(
                value, dict) else ",".join(map(str, parts))
            left.append((name, text.word(text.line(value, text.WHOLE))))
    left = ["%s=%s" % pair for pair in left if not re.search(
        r"\b%s(?:=|:? )(?:[^,]* -> )?%s(?!\w)" % tuple(map(re.escape, pair)), question)]
    return " With %s." % ", ".join(left) if left else ""
