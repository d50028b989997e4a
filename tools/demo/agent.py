"""The guest agent of VMs, and cloud-init."""
import base64

from tools.demo import shell
from tools.demo.guests import agent_enabled, interface_rows
from tools.demo.model import GIB, MIB, die
from tools.demo.rules import array, boolean, integer, string
from tools.demo.wire import VM, Plain, Route, perm, perm_any

#: Seconds after a start until the agent answers.
BOOT = 5.0


def _agent(call):
    """The Guest, if its agent answers; else the text Proxmox has for it."""
    guest = call.guest()
    if not agent_enabled(guest):
        die("No QEMU guest agent configured")
    if not guest.running:
        die("VM %d is not running" % guest.vmid)
    if guest.paused or not guest.guest.get("os") or call.world.t - guest.since < BOOT:
        die("QEMU guest agent is not running")
    return guest


def _shown(data):
    """Bytes as they come out of the API: each byte a character (so UTF-8 arrives encoded twice)."""
    return data.decode("latin-1")


def execute(call):
    guest = _agent(call)
    argv = call.p["command"]
    if call.world.major < 8 and len(argv) == 1:         # one string there, of format string-alist (split_list)
        argv = argv[0].split("\0") if "\0" in argv[0] else argv[0].replace(",", " ").replace(";", " ").split()
    for word in argv:
        if any(ord(character) > 255 for character in word):
            die("Wide character in syswrite at /usr/share/perl5/PVE/QMPClient.pm line 320.")
        if any(ord(character) > 127 for character in word):
            die("Agent error: Invalid JSON syntax")
    text = call.p.get("input-data", "")
    if any(ord(character) > 255 for character in text):
        die("Wide character in subroutine entry at /usr/share/perl5/PVE/QemuServer/Agent.pm line 231.")
    if guest.guest.get("no_exec"):
        die("Agent error: Command guest-exec has been disabled: the command is not allowed")
    result = shell.start(call.world, guest, argv, text.encode("latin-1"))
    if result is None:
        raise Plain(596, "Broken pipe")
    pid = 1000 + call.world.count("agent pid")
    guest.guest.setdefault("running", {})[pid] = (call.world.t + 0.1 + result.seconds, result)
    return {"pid": pid}


def exec_status(call):
    """GET .../agent/exec-status: a finished program's result can be read once."""
    guest = _agent(call)
    found = guest.guest.get("running", {}).get(call.p["pid"])
    if found is None:
        die("Agent error: PID ld does not exist")
    end, result = found
    if call.world.t < end:
        return {"exited": 0}
    del guest.guest["running"][call.p["pid"]]
    row = {"exited": 1, "exitcode": result.code}
    if result.out:
        row["out-data"] = _shown(result.out[:16 * MIB])
    if result.err:
        row["err-data"] = _shown(result.err[:16 * MIB])
    if len(result.out) > 16 * MIB:
        row["out-truncated"] = 1
    return row


def interfaces(call):
    rows = interface_rows(_agent(call), "ipv4", "ipv6")
    for row in rows[1:]:
        row["statistics"] = {"rx-bytes": 1000000, "rx-packets": 9000, "rx-errs": 0, "rx-dropped": 0, "tx-bytes": 400000,
                             "tx-packets": 5000, "tx-errs": 0, "tx-dropped": 0}
    return {"result": rows}


def file_systems(call):
    guest = _agent(call)
    if shell.is_windows(guest):
        return {"result": [{"name": "\\\\?\\Volume{d0}\\", "mountpoint": "C:\\", "type": "NTFS",
                            "total-bytes": 63 * GIB, "used-bytes": 41 * GIB, "disk": []}]}
    return {"result": [
        {"name": "sda1", "mountpoint": "/", "type": "ext4", "total-bytes": 31 * GIB, "used-bytes": 13 * GIB, "disk": [
            {"bus-type": "scsi", "bus": 0, "target": 0, "unit": 0, "dev": "/dev/sda1",
             "serial": "0QEMU_QEMU_HARDDISK_drive-scsi0"}]},
        {"name": "sda15", "mountpoint": "/boot/efi", "type": "vfat", "total-bytes": 124 * MIB, "used-bytes": 9 * MIB,
         "disk": []}]}


def read_file(call):
    guest = _agent(call)
    content = shell.read(call.world, guest, call.p["file"])
    if content is None:
        die("Agent error: failed to open file '%s' (mode: 'r'): No such file or directory" % call.p["file"])
    start, count = call.p.get("offset", 0), call.p.get("count", 16 * MIB)
    part = content[start:start + count]
    row = {"content": _shown(part) if call.p.get("decode", True) else base64.b64encode(part).decode()}
    if start + count < len(content):
        row["truncated"] = 1
    return row


def regenerate(call):
    """PUT .../cloudinit: write the drive again."""
    guest = call.guest()
    if not any("cloudinit" in volid for _, _, volid in guest.disks()):
        die("no cloudinit drive configured")
    guest.guest["cloudinit"] = guest.wanted()           # what the drive says now


_AUDIT = perm_any(VM, "VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")
_FREE = perm(VM, "VM.GuestAgent.Unrestricted")


def _row(verb, name, handler, words, check=_AUDIT, params=None):
    def answer(call):
        """With status 200 the error of a command that the guest's agent does not run (a name in `disabled`)."""
        if name in call.guest().guest.get("disabled", ()):
            return {"result": {"error": {"class": "CommandNotFound", "desc": "Command guest-%s has been disabled: "
                                         "the command is not allowed" % name}}}
        return handler(call)
    return Route("%s /nodes/{node}/qemu/{vmid}/agent/%s" % (verb, name), answer, check, words, params)


ROUTES = [
    _row("POST", "exec", execute, "Run a program in the guest.", _FREE, {
        "command*": array("Program and arguments.", items=string("A word.")),
        "input-data": string("Its standard input.", maxLength=65536)}),
    _row("GET", "exec-status", exec_status, "What became of a program.", _FREE, {"pid*": integer("The program.")}),
    _row("GET", "get-osinfo", lambda call: {"result": dict(_agent(call).guest["os"])}, "The operating system."),
    _row("GET", "get-host-name", lambda call: {"result": {"host-name": _agent(call).name}}, "The host name."),
    _row("GET", "network-get-interfaces", interfaces, "Network interfaces and addresses."),
    _row("GET", "get-fsinfo", file_systems, "File systems and their fill."),
    _row("GET", "get-timezone", lambda call: {"result": {"zone": "UTC", "offset": 0}} if _agent(call) else None,
         "The guest's time zone."),
    _row("POST", "ping", lambda call: {"result": {}} if _agent(call) else None, "Whether the agent answers."),
    _row("GET", "file-read", read_file, "Read a file.",
         perm_any(VM, "VM.GuestAgent.FileRead", "VM.GuestAgent.Unrestricted"), {
             "file*": string("The file."), "count": integer("Bytes.", 1, 16777216),
             "offset": integer("From this byte.", 0), "decode": boolean("As text, not base64.", default=1)}),
    Route("PUT /nodes/{node}/qemu/{vmid}/cloudinit", regenerate, perm(VM, "VM.Config.Cloudinit"),
          "Write the cloud-init drive again."),
]
