"""`proxmox-mcp completion SHELL`: a script by which bash, zsh or fish complete commands, options, tools and arguments.

It is made once and asks nobody: all that it knows is in it.
"""
from tools import all_rows
from tools.base.schema import fields

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
