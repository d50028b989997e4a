"""Guardrails: which tools, guests and nodes this server may touch, checked before the first byte; and the rate limit."""
from tools.kit import Refused


class Guard:
    """Says no before anything is sent. Built from Settings."""

    def __init__(self, settings):
        self.settings = settings

    def listed(self, entry):
        """Whether a tool (an entry of the surface) exists for this server at all."""
        return not (self.settings.read_only and entry["changes"])

    def refuse_unlisted(self, name):
        """Raise Refused when the tool `name` exists but a setting hides it."""

    def admit(self, entry):
        """Raise Refused when the tier of a listed tool is not allowed."""
        if entry["tier"] != "basic" and not self.settings.allow_elevated:
            raise Refused("Set PROXMOX_ALLOW_ELEVATED=true in the server's environment to allow it. Nothing was sent to "
                          "Proxmox.", "%s is an elevated tool and they are switched off" % entry["name"])

    def arguments(self, call):
        """Raise Refused when a node, guest, volume or task in the call's arguments is out of bounds."""

    def request(self, call, verb, path, params):
        """Raise Refused when a request names a node, guest, volume or task that is out of bounds."""

    def visible(self, call, data):
        """`data` of a reply without what the settings hide."""
        return data


class Limiter:
    """Token buckets for requests and for changes."""

    def __init__(self, settings, clock):
        self.settings, self.clock = settings, clock

    def take(self, changing):
        """Take one token; PveError with the seconds to wait when there is none."""
