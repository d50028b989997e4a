"""What the command line says of a tool: its arguments, types, limits and defaults; and the script by which a shell
completes them, which asks nobody: all that it knows is in it.

Made from the tools' rows, so arguments that models are not told of are there too.
"""
import textwrap

from tools import all_rows, find
from tools.base.schema import fields
from tools.pve.formats import FORMATS

_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", list: "list, separated by commas",
          dict: "JSON object"}
#: Arguments that many tools share and whose rows say no more than a model needs.
_SHARED = {"node": "looked up when it is left out", "wait": "seconds to follow the task; 30 if left out",
           "limit": "rows of a page", "offset": "rows to leave out at the beginning"}
TIERS = {"basic": "", "elevated": " Needs PROXMOX_ALLOW_ELEVATED=true.",
         "destructive": " Needs PROXMOX_ALLOW_ELEVATED=true, and asks before something is lost."}


def arguments(entry):
    """The arguments of an entry of the surface in a line: required ones, then [the others]."""
    schema = entry["tool"]["inputSchema"]
    required = schema.get("required", ())
    return " ".join(name if name in required else "[%s]" % name for name in schema["properties"])


def tool_help(entry, width=100):
    """All about one tool, in lines of at most `width` columns."""
    tool = find(entry)
    known, guests = fields(tool.args), "{vmid}" in entry["endpoint"]
    lines = [entry["name"], *textwrap.wrap(entry["tool"]["description"] + TIERS[entry["tier"]], width), ""]
    longest = max([len(field.name) for field in known], default=0)
    for field in known:
        lines += textwrap.wrap("  %-*s  %s" % (longest, field.name, _about(field, guests)), width,
                               subsequent_indent=" " * (longest + 4), break_on_hyphens=False)
    if not known:
        lines.append("  It takes no arguments.")
    return "\n".join(lines + ["", "Sends: " + entry["endpoint"]])


def _about(field, guests):
    """"required; whole number from 1 to 64; cores of the CPU"; guests: whether the tool is about one guest."""
    arg, said = field.arg, ["required"] if field.required else []
    kind = "one of " + ", ".join(map(str, arg.enum)) if arg.enum else "JSON list" if field.items is dict else (
        _TYPES[field.type])
    if field.type in (int, float) and arg.minimum is not None:
        kind += ", at least %s" % arg.minimum if arg.maximum is None else " from %s to %s" % (arg.minimum, arg.maximum)
    said.append(kind)
    said += [arg.text] if arg.text else [FORMATS[arg.format].words] if arg.format else []
    said += ["or its name, if no other guest has it"] if arg.format == "vmid" else []
    if not field.required:
        said += [_SHARED[field.name]] if field.name in _SHARED and (guests or field.name != "node") else []
        said += ["default %s" % (str(field.default).lower() if field.type is bool else field.default)] if (
            field.default not in (None, "")) else []
    if arg.secret:
        said.append("secret: other users of this machine see what is typed here")
    return "; ".join(said)


# ------------------------------------------------------------------------------------------------ completion in a shell

_BASH = r"""# proxmox-mcp in %(shell)s:  eval "$(proxmox-mcp completion %(shell)s)"
%(first)s_proxmox_mcp() {
    local line="${COMP_LINE:0:$COMP_POINT}" one word words="" command="" tool="" IFS=$' \t\n'
    word="${line##* }"
    for one in ${line%%"$word"}; do
        case "$one" in
            -*|proxmox-mcp|*/proxmox-mcp) ;;
            *) if [[ -z $command ]]; then command="$one"; elif [[ -z $tool ]]; then tool="${one#proxmox_}"; fi ;;
        esac
    done
    case "$command:$tool" in
        :) words="%(commands)s" ;;
        call:) words="%(tools)s" ;;
%(arguments)s
    esac
    case "$command" in
%(options)s
    esac
    COMPREPLY=()
    for one in $(compgen -W "$words" -- "$word"); do
        [[ $one == *= ]] || one="$one "
        # bash takes what is before = for a word of its own
        [[ $word == *=* && ${COMP_WORDBREAKS-} == *=* ]] && one="${one#*=}"
        COMPREPLY+=("$one")
    done
}
complete -o nospace -o default -F _proxmox_mcp proxmox-mcp
"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
_FISH = """# proxmox-mcp in fish:  proxmox-mcp completion fish | source
complete -c proxmox-mcp -n __fish_use_subcommand -f -a '%(commands)s'
"""


def _values(field):
    """What can stand for an argument: "node=", or "type=qemu type=lxc" where the values are known."""
    known = field.arg.enum or (("true", "false") if field.type is bool else ("",))
    return " ".join("%s=%s" % (field.name, value) for value in known)


def script(shell, commands, clusters=()):
    """The script. commands: {name: its options and what it takes, a list of str}; clusters: names of several."""
    where = ["cluster=" + name for name in clusters]
    tools = {name[len("proxmox_"):]: " ".join([*where, *map(_values, fields(tool.args))])
             for _, name, tool in all_rows()}
    names = " ".join(tools)
    if shell == "fish":
        lines = [_FISH % {"commands": " ".join(commands)}]
        for name, options in commands.items():
            lines.append("complete -c proxmox-mcp -n '__fish_seen_subcommand_from %s' -f -a '%s'\n" % (
                name, " ".join(options)))
        lines.append("complete -c proxmox-mcp -n '__fish_seen_subcommand_from call; and not "
                     "__fish_seen_subcommand_from %s' -f -a '%s'\n" % (names, names))
        lines += ["complete -c proxmox-mcp -n '__fish_seen_subcommand_from %s proxmox_%s' -f -a '%s'\n" % (
            name, name, arguments) for name, arguments in tools.items() if arguments]
        return "".join(lines)
    return _BASH % {
        "shell": shell, "first": _ZSH if shell == "zsh" else "", "commands": " ".join(commands), "tools": names,
        "arguments": "\n".join('        call:%s) words="%s" ;;' % pair for pair in tools.items()),
        "options": "\n".join('        %s) words="$words %s" ;;' % (name, " ".join(options))
                             for name, options in commands.items())}
