"""Certificates for tests, made with the `openssl` command as Proxmox makes them (PVE::Cluster::Setup).

`make(directory)` makes everything once a test run; the result is a Pki: .ca(style), .leaf(name) -> (certificate, key).
Styles of a cluster's CA: "7" (the leaf has no authority key identifier), "8" (the CA has no key usage), "9" (both),
"foreign" (has signed no leaf).
"""
import os
import subprocess

from front import fingerprint_of

_NAMES = "DNS:localhost,DNS:pve1,DNS:pve1.example.com,IP:127.0.0.1,IP:::1"
_LEAF = "basicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\nsubjectAltName = %s\n"
_IDENTIFIED = "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid,issuer\n"
_CA = ("subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid:always,issuer\n"
       "basicConstraints = critical, CA:true\n")

CA_EXTENSIONS = {"7": _CA, "8": _CA, "9": _CA + "keyUsage = critical, keyCertSign, cRLSign\n", "rogue": _CA,
                 "foreign": _CA}

# name -> (style of its CA or None: self-signed, extensions, key, (start, end) or None)
LEAFS = {
    "7": ("7", _LEAF % _NAMES, "node", None),
    "8": ("8", _LEAF % _NAMES + _IDENTIFIED, "node", None),
    "9": ("9", _LEAF % _NAMES + _IDENTIFIED + "keyUsage = critical, digitalSignature, keyEncipherment\n", "node", None),
    "renewed": ("9", _LEAF % _NAMES + _IDENTIFIED, "other", None),
    "wrong-name": ("9", _LEAF % "DNS:pve9,IP:192.0.2.9" + _IDENTIFIED, "node", None),
    "no-name": ("9", "basicConstraints = CA:FALSE\n" + _IDENTIFIED, "node", None),
    "expired": ("9", _LEAF % _NAMES + _IDENTIFIED, "node", ("20200101000000Z", "20210101000000Z")),
    "rogue": ("rogue", _LEAF % _NAMES, "other", None),
    "self": (None, "basicConstraints = CA:FALSE\nsubjectAltName = %s\n" % _NAMES, "node", None),
    "self-other": (None, "basicConstraints = CA:FALSE\nsubjectAltName = %s\n" % _NAMES, "other", None),
}

_made = None


class Pki:
    """Where the certificates are. Made by `make`."""

    def __init__(self, directory):
        self.directory = str(directory)
        self._openssl("genrsa", "-out", self.path("ca.key"), "2048")
        for key in ("rogue-ca", "node", "other"):       # made sooner than those of RSA
            self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out",
                          self.path(key + ".key"))
        for style in CA_EXTENSIONS:
            self._make_ca(style)
        for name in LEAFS:
            self._make_leaf(name)

    def path(self, name):
        return os.path.join(self.directory, name)

    def ca(self, style):
        """The file of a cluster's CA: what /etc/pve/pve-root-ca.pem is."""
        return self.path("ca-%s.pem" % style)

    def leaf(self, name):
        """(certificate file, key file) of a node."""
        return self.path("leaf-%s.pem" % name), self.path(LEAFS[name][2] + ".key")

    def fingerprint(self, name):
        """SHA-256 of a leaf as openssl prints it."""
        return fingerprint_of(self.leaf(name)[0])

    def _key_of(self, style):
        return self.path("rogue-ca.key" if style in ("rogue", "foreign") else "ca.key")

    def _config(self, name, extensions):
        path = self.path(name + ".cnf")
        with open(path, "w", encoding="ascii") as file:
            file.write("[ req ]\ndistinguished_name = dn\nprompt = no\nstring_mask = nombstr\n[ dn ]\nCN = x\n[ ext ]\n"
                       + extensions)
            file.write("[ ca ]\ndefault_ca = it\n[ it ]\ndatabase = %s\nnew_certs_dir = %s\ndefault_md = sha256\n"
                       "policy = any\nrand_serial = yes\nunique_subject = no\n[ any ]\ncommonName = supplied\n"
                       "organizationalUnitName = optional\norganizationName = optional\n"
                       % (self.path("index.txt"), self.directory))
        return path

    def _make_ca(self, style):
        self._openssl("req", "-batch", "-days", "3650", "-new", "-x509", "-nodes", "-key", self._key_of(style),
                      "-config", self._config("ca-" + style, CA_EXTENSIONS[style]), "-extensions", "ext",
                      "-subj", "/CN=Proxmox Virtual Environment/OU=style %s/O=PVE Cluster Manager CA" % style,
                      "-out", self.ca(style))

    def _make_leaf(self, name):
        style, extensions, _, dates = LEAFS[name]
        certificate, key = self.leaf(name)
        config = self._config("leaf-" + name, extensions)
        subject = "/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN=" + (
            "localhost" if name == "no-name" else "pve1.example.com")
        if style is None:
            self._openssl("req", "-batch", "-new", "-x509", "-days", "730", "-key", key, "-config", config,
                          "-extensions", "ext", "-subj", subject, "-out", certificate)
            return
        request = self.path("leaf-%s.csr" % name)
        self._openssl("req", "-batch", "-new", "-key", key, "-config", config, "-subj", subject, "-out", request)
        if dates is None:
            self._openssl("x509", "-req", "-in", request, "-days", "730", "-CA", self.ca(style), "-CAkey",
                          self._key_of(style), "-CAcreateserial", "-extfile", config, "-extensions", "ext", "-out",
                          certificate)
        else:                   # x509 -req knows no dates
            open(self.path("index.txt"), "a").close()
            self._openssl("ca", "-batch", "-config", config, "-in", request, "-cert", self.ca(style), "-keyfile",
                          self._key_of(style), "-extensions", "ext", "-startdate", dates[0], "-enddate", dates[1],
                          "-notext", "-out", certificate)

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(("openssl",) + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "replace")


def make(directory):
    """The Pki of this test run; made at the first call."""
    global _made
    if _made is None:
        _made = Pki(directory)
    return _made
