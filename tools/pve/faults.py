"""What goes wrong on the way to Proxmox: exceptions of the network as kinds of faults, what is said of each, how often
a read is sent again.
"""


class Broken(Exception):
    """No complete answer. kind: a key of FAULTS. detail: cause, short. sent: the request may have reached Proxmox."""

    sent = True

    def __init__(self, kind, detail=""):
        Exception.__init__(self, detail)
        self.kind, self.detail = kind, detail


class NotSent(Broken):
    """The connection was not made or the peer not accepted: provably nothing of the request was sent."""

    sent = False


RETRY_STATUS = {502: 2, 503: 2, 504: 2, 595: 1, 596: 1, 597: 1, 599: 1}     # repeats of a read

# kind -> (repeats of a read, what happened, what to do)
_WHERE = "Check PROXMOX_HOST and PROXMOX_PORT (8006), "
FAULTS = {
    "refused": (2, "{host} refuses connections{detail}.",
                _WHERE + "that pveproxy is running there (systemctl status pveproxy) and that no firewall rejects "
                "the connection."),
    "unreachable": (1, "{host} cannot be reached{detail}.", _WHERE + "the network and the route to it."),
    "connect": (0, "{host} does not answer: no connection within the time limit{detail}.",
                _WHERE + "that the host is up and that no firewall drops port 8006 on the way."),
    "dns": (0, "The name of {host} cannot be resolved{detail}.",
            "Check the spelling of PROXMOX_HOST and the DNS server, or give the IP address."),
    "tls": (1, "The TLS handshake with {host} failed{detail}.",
            _WHERE + "that nothing else listens there and that ALLOW_FROM/DENY_FROM in /etc/default/pveproxy let "
            "this machine in."),
    "plain": (0, "{host} does not speak TLS{detail}.",
              "Plain HTTP is refused. Check PROXMOX_HOST and PROXMOX_PORT: 8006 is the HTTPS port of Proxmox."),
    "certificate": (0, "", ""),
    "timeout": (0, "{host} did not finish its answer in time{detail}.",
                "The node may be overloaded or waiting for a hung storage: look at its load and storages, then try "
                "again."),
    "closed": (2, "{host} closed the connection without an answer{detail}.",
               "pveproxy may be restarting; if this persists, check PROXMOX_PORT (8006) and ALLOW_FROM/DENY_FROM in "
               "/etc/default/pveproxy."),
    "short": (2, "The answer of {host} is incomplete{detail}.", "The connection broke; try again."),
    "large": (0, "The answer of {host} is too large{detail}.", "Ask for less: a filter, a limit, one node."),
    "encoded": (0, "{host} sent compressed data that nobody asked for{detail}.",
                "Is there a proxy in between? Set PROXMOX_HOST to the Proxmox host itself."),
    "garbage": (1, "{host} does not answer like an HTTP server{detail}.", _WHERE + "and what listens there."),
}

# Classes that mean: this is not HTTP (http.client, urllib3; "error" is zlib's).
_NOT_HTTP = {"BadStatusLine", "LineTooLong", "HTTPException", "InvalidChunkLength", "HeaderParsingError",
             "UnknownProtocol", "error"}


def fault_of(error):
    """The Broken for an exception of an adapter. Whatever is not provably unsent counts as sent."""
    if isinstance(error, Broken):
        return error
    chain = _wrapped(error)
    names = {type(one).__name__ for one in chain}
    if any(isinstance(one, TimeoutError) for one in chain) or names & {"timeout", "ReadTimeoutError", "ReadTimeout"}:
        return Broken("timeout")
    if "IncompleteRead" in names:
        return Broken("short")
    if any(isinstance(one, (ConnectionError, EOFError)) for one in chain) or names & {
            "RemoteDisconnected", "SSLEOFError", "SSLZeroReturnError"}:
        return Broken("closed")
    return Broken("garbage") if names & _NOT_HTTP else Broken("closed", type(error).__name__)


def _wrapped(error):
    """The exception and those it wraps on purpose. Not __context__: that may belong to a caller's earlier failure."""
    chain, queue = [], [error]
    while queue:
        one = queue.pop(0)
        if not any(one is seen for seen in chain):
            chain.append(one)
            queue += [each for each in (*one.args, getattr(one, "reason", None), one.__cause__)
                      if isinstance(each, BaseException)]
    return chain
