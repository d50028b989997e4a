"""Which of several clusters a tool can be called for: the argument that says it, as clients are shown it."""

ARGUMENT, ALL = "cluster", "all"
#: Reads that make sense for several clusters at once; each answers with rows.
TOGETHER = frozenset("proxmox_" + name for name in (
    "get_nodes", "get_overview", "get_security_report", "get_capacity", "get_top", "get_vms", "get_storage",
    "list_snapshots", "list_backup_state", "list_backups", "list_tasks"))


def shown(tool, changes, known):
    """The definition of a tool with the argument that says which cluster. known: Settings of those that have it."""
    words = "; ".join("%s: %s" % (one.cluster, one.about or one.host[0][0]) for one in known)
    names = [one.cluster for one in known]
    argument = {"type": "string", "enum": names, "description": words}
    if tool["name"] in TOGETHER:
        argument = {"type": "array", "items": {"type": "string", "enum": names + [ALL]}, "description": words}
    return more(tool, ARGUMENT, argument, default_of(known, changes) is None)


def more(tool, name, argument, required=False):
    """The definition of a tool with one more argument, the last."""
    schema = dict(tool["inputSchema"], properties={**tool["inputSchema"]["properties"], name: argument})
    if required:
        schema["required"] = [*schema.get("required", ()), name]
    return dict(tool, inputSchema=schema)


def default_of(known, changes):
    """The name of the cluster that is meant where none is named, or None."""
    wanted = ("changes",) if changes else ("reads", "changes")
    return next((one.cluster for one in known if one.default in wanted), None)
