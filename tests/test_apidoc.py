"""The host's own API schema: reading the page, finding and describing endpoints, checking calls, keeping a copy.

The schema below is small and made for these tests. To ask the questions of real hosts, name their files (apidoc.js, as
https://HOST:8006/pve-docs/api-viewer/apidoc.js serves it) in PROXMOX_APIDOC_FILES, separated by colons.
"""
import json
import os

import pytest

from tools.demo import DemoCluster
from tools.pve import apidoc, apisearch, jsonschema
from tools.pve.apidoc import PAGE, ApiDoc
from tools.pve.formats import Misfit

NODE = {"type": "string", "format": "pve-node", "description": "The cluster node name."}
VMID = {"type": "integer", "format": "pve-vmid", "minimum": 100, "maximum": 999999999}
NET = {"type": "string", "optional": 1, "description": "Specify network devices.", "format": {
    "model": {"type": "string", "default_key": 1, "enum": ["e1000", "virtio"], "description": "Network card model."},
    "macaddr": {"type": "string", "format": "mac-addr", "optional": 1},
    "virtio": {"alias": "macaddr", "keyAlias": "model"}, "e1000": {"alias": "macaddr", "keyAlias": "model"},
    "bridge": {"type": "string", "format": "pve-bridge-id", "optional": 1, "description": "Bridge to attach to."},
    "tag": {"type": "integer", "minimum": 1, "maximum": 4094, "optional": 1},
    "firewall": {"type": "boolean", "optional": 1},
    "trunks": {"type": "string", "optional": 1, "requires": "tag", "pattern": r"(?^:\d+(?:;\d+)*)"}},
    "typetext": "[model=]<enum> [,bridge=<bridge>]"}


def method(verb, description, parameters=None, returns=None, permissions=None, **more):
    return dict({"method": verb, "name": description.split()[0].lower(), "description": description, "allowtoken": 1,
                 "parameters": {"additionalProperties": 0, "properties": parameters or {}},
                 "permissions": permissions or {"user": "all"}, "returns": returns or {"type": "null"}}, **more)


def leaf(path, *methods, children=()):
    node = {"path": path, "text": path.rsplit("/", 1)[1], "leaf": int(not children),
            "info": {info["method"]: info for info in methods}}
    if children:
        node["children"] = list(children)
    return node


GUEST = {"node": NODE, "vmid": VMID}
CONFIG = dict(GUEST, **{
    "net[n]": NET,
    "scsi[n]": {"type": "string", "optional": 1, "description": "Use volume as SCSI hard disk (n is 0 to 30).",
                "format": {"file": {"type": "string", "default_key": 1, "format": "pve-volume-id-or-qm-path"},
                           "ssd": {"type": "boolean", "optional": 1}}},
    "memory": {"type": "string", "optional": 1, "format": {
        "current": {"type": "integer", "default_key": 1, "minimum": 16, "default": 512}}},
    "cores": {"type": "integer", "minimum": "1", "optional": "1", "default": 1},
    "onboot": {"type": "boolean", "optional": 1},
    "bios": {"type": "string", "enum": ["seabios", "ovmf"], "optional": 1, "default": "seabios"},
    "delete": {"type": "string", "format": "pve-configid-list", "optional": 1},
    "force": {"type": "boolean", "optional": 1, "requires": "delete"},
    "startup": {"type": "string", "format": "pve-startup-order", "optional": 1, "typetext": "[[order=]<n>] [,up=<n>]"},
    "boot": {"type": "string", "format": "pve-qm-boot", "optional": 1,
             "typetext": "[[legacy=]<[acdn]{1,4}>] [,order=<device[;device...]>]"},
    "nameserver": {"type": "string", "format": "address-list", "optional": 1},
    "cipassword": {"type": "string", "optional": 1, "minLength": 5, "maxLength": 10},
    "digest": {"type": "string", "maxLength": 40, "optional": 1}})
RULE = dict(GUEST, type={"type": "string", "enum": ["in", "out", "group"], "description": "Rule type."},
            action={"type": "string", "minLength": 2, "maxLength": 20, "pattern": r"[A-Za-z][A-Za-z0-9\-\_]+"},
            dport={"type": "string", "optional": 1, "format": "pve-fw-dport-spec",
                   "description": "Restrict TCP/UDP destination port."})
ODD = {"compression": {"type": "string", "enum": None, "optional": 1}, "loose": {"optional": 1},
       "perl": {"type": "string", "pattern": r"(?>a+)\h[[:alnum:]]", "optional": 1},
       "endless": {"type": "string", "pattern": r"(?:x+x+)*y", "optional": 1},
       "limit": {"type": "integer", "minimum": "none", "optional": 1},
       "newformat": {"type": "string", "format": "pve-some-day", "optional": 1, "typetext": "<a thing>"},
       "kind": {"type": "string", "optional": 1},
       "either": {"type-property": "kind", "oneOf": [
           {"type": "integer", "instance-types": ["number"]}, {"type": "boolean", "instance-types": ["flag"]}]},
       "names": {"type": "array", "optional": 1, "items": {"type": "string", "format": "pve-configid"}},
       "maps": {"type": "array", "optional": 1, "items": {"type": "string", "format": {
           "node": {"type": "string", "format": "pve-node"}, "path": {"type": "string", "optional": 1}}}},
       "thing[n]": {"type": "string", "optional": 1}, "old": {"alias": "kind"}}
STORAGE = {"node": NODE, "storage": {"type": "string", "format": "pve-storage-id"}}
TREE = [
    leaf("/nodes", method("GET", "Cluster node index.", returns={"type": "array", "items": {
        "type": "object", "properties": {"node": {}, "status": {}, "uptime": {}}}}), children=[
        leaf("/nodes/{node}", method("GET", "Node index.", {"node": NODE}, {"type": "array"}), children=[
            leaf("/nodes/{node}/qemu", method("GET", "Virtual machine index (per node).", {"node": NODE},
                                              {"type": "array"}),
                 method("POST", "Create or restore a virtual machine.", CONFIG, {"type": "string"}), children=[
                leaf("/nodes/{node}/qemu/{vmid}",
                     method("GET", "Directory index", GUEST, {"type": "array"}),
                     method("DELETE", "Destroy the VM and all used/owned volumes.", GUEST, {"type": "string"},
                            {"check": ["perm", "/vms/{vmid}", ["VM.Allocate"]]}), children=[
                    leaf("/nodes/{node}/qemu/{vmid}/config",
                         method("GET", "Get the virtual machine configuration.", GUEST, {"type": "object"}),
                         method("PUT", "Set virtual machine options.", CONFIG, permissions={
                             "check": ["perm", "/vms/{vmid}", ["VM.Config.Disk", "VM.Config.CPU"], "any", 1]})),
                    leaf("/nodes/{node}/qemu/{vmid}/firewall", method("GET", "Directory index.", GUEST), children=[
                        leaf("/nodes/{node}/qemu/{vmid}/firewall/rules",
                             method("GET", "List rules.", GUEST, {"type": "array"}),
                             method("POST", "Create new rule.", RULE, permissions={
                                 "check": ["perm", "/vms/{vmid}", ["VM.Config.Network"]]}))])])]),
            leaf("/nodes/{node}/lxc", method("GET", "LXC container index (per node).", {"node": NODE}), children=[
                leaf("/nodes/{node}/lxc/{vmid}", method("GET", "Directory index", GUEST), children=[
                    leaf("/nodes/{node}/lxc/{vmid}/config", method("GET", "Get container configuration.", GUEST))])]),
            leaf("/nodes/{node}/dns", method("GET", "Read DNS settings.", {"node": NODE}),
                 method("PUT", "Write DNS settings.", {"node": NODE, "search": {"type": "string"},
                                                       "dns1": {"type": "string", "format": "ip", "optional": 1}})),
            leaf("/nodes/{node}/wakeonlan", method("POST", "Try to wake a node.", {"node": NODE}, {"type": "string"})),
            leaf("/nodes/{node}/storage/{storage}/content/{volume}",
                 method("DELETE", "Delete volume", dict(STORAGE, volume={"type": "string"}), {"type": "string"})),
        ])]),
    leaf("/pools", method("GET", "List pools.", {}, {"type": "array"}),
         method("POST", "Create new pool.", {"poolid": {"type": "string", "format": "pve-poolid"}})),
    leaf("/odd", method("POST", "An odd method.", ODD, permissions={"user": "world"}),
         dict(method("GET", "An open method.", {}), parameters={"additionalProperties": 1}),
         dict(method("PUT", "A method of root.", {}, allowtoken=0), permissions=None)),
    leaf("/kinds", dict(method("POST", "Things of several kinds."), parameters={"allOf": [
        {"properties": {"id": {"type": "string"}}, "additionalProperties": 0},
        {"oneOf": [{"properties": {"size": {"type": "integer"}}, "additionalProperties": 0},
                   {"properties": {"size": {"type": "string"}, "color": {"type": "string"}}}]}]})),
]
TEXT = "const apiSchema = %s\n;\n\nlet method2cmd = { GET: 'get' };\n[1]" % json.dumps(TREE, indent=3)


@pytest.fixture(scope="module")
def doc():
    return ApiDoc.parse(TEXT)


def checked(doc, name, parameters):
    verb, path = name.split()
    endpoint, ids = doc.find(verb, path)
    return doc.check(endpoint, ids, parameters)


# ------------------------------------------------------------------------------------------------------------- parsing

def test_parse_reads_every_method_and_ignores_the_code_behind(doc):
    assert len(doc.endpoints) == 24
    assert [str(e) for e in doc.endpoints][:2] == ["GET /nodes", "GET /nodes/{node}"]
    endpoint, _ = doc.find("POST", "/pools")
    assert (endpoint.text, endpoint.required, endpoint.in_path) == ("Create new pool.", ("poolid",), [])


@pytest.mark.parametrize("text", ["", "<html>[not a list]</html>", "var x = [1, 2]", "[]", "[[[", "[" * 100000,
                                  '[{"path": "/a"}]', '[{"path": 1, "info": {"GET": {}}}]', '["a"]'])
def test_parse_refuses_what_is_no_schema(text):
    with pytest.raises(ValueError, match="not the page"):
        ApiDoc.parse(text)


def test_parse_reads_the_page_of_a_version_6_host():
    assert len(ApiDoc.parse("var pveapi = " + json.dumps(TREE) + ";").endpoints) == 24


def test_parse_reads_what_the_demo_cluster_serves():
    status, _, _, body = DemoCluster().handle("GET", PAGE, {})
    page = ApiDoc.parse(body.decode())
    assert status == 200 and len(page.endpoints) > 20
    assert page.find("GET", "/cluster/resources")[0].text


# ------------------------------------------------------------------------------------------------------------- finding

@pytest.mark.parametrize("verb, path, name, ids", [
    ("GET", "/nodes", "GET /nodes", {}),
    ("get", " nodes/pve1/ ", "GET /nodes/{node}", {"node": "pve1"}),
    ("GET", "/api2/json/nodes/pve1/qemu/100/config", "GET /nodes/{node}/qemu/{vmid}/config",
     {"node": "pve1", "vmid": "100"}),
    ("POST", "/nodes/{node}/qemu/{vmid}/firewall/rules", "POST /nodes/{node}/qemu/{vmid}/firewall/rules", {}),
    ("create", "/nodes/pve1/qemu/<id>/firewall/rules", "POST /nodes/{node}/qemu/{vmid}/firewall/rules",
     {"node": "pve1"}),
    ("set", "/nodes/pve1/dns", "PUT /nodes/{node}/dns", {"node": "pve1"}),
    ("DELETE", "/nodes/a/storage/local/content/local:backup/x.vma.zst",
     "DELETE /nodes/{node}/storage/{storage}/content/{volume}",
     {"node": "a", "storage": "local", "volume": "local:backup/x.vma.zst"}),
    ("DELETE", "/nodes/a/storage/local/content/local%3Aiso%2Fx.iso",
     "DELETE /nodes/{node}/storage/{storage}/content/{volume}",
     {"node": "a", "storage": "local", "volume": "local:iso/x.iso"}),
])
def test_find(doc, verb, path, name, ids):
    endpoint, found = doc.find(verb, path)
    assert (str(endpoint), found) == (name, ids)


@pytest.mark.parametrize("verb, path, words", [
    ("GET", "/nodes/pve1/qemu/100/firewall/rule", ["no GET /nodes/pve1", "near it: GET /nodes/{node}/qemu/{vmid}/f"]),
    ("PUT", "/qemu/100/config", ["near it: PUT /nodes/{node}/qemu/{vmid}/config"]),
    ("GET", "/pool", ["near it: GET /pools"]),
    ("DELETE", "/pools", ["/pools has no DELETE here, only GET, POST"]),
    ("GET", "/nodes/pve1/qemu/100/a", ["near it"]),
])
def test_find_names_what_is_near(doc, verb, path, words):
    with pytest.raises(Misfit) as caught:
        doc.find(verb, path)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("path", [
    "/nodes/pve1/qemu/100/../101/config", "/nodes/pve1/qemu/100%2F..%2F101/config", "/nodes/./dns", "/pools?type=vm",
    "/pools#a", "/nodes/pve1/qemu/1%2500/config", "/nodes/a b/dns", "/nodes/pve1%0a/dns", "/nodes/a\\b/dns",
    "/nodes/a/storage/s/content/local:iso%2F%2e%2e%2Fx"])
def test_find_refuses_paths_that_must_not_be_sent(doc, path):
    with pytest.raises(Misfit, match="may not hold|cannot stand"):
        doc.find("GET" if "content" not in path else "DELETE", path)


def test_fill_makes_the_path_again_and_nothing_else(doc):
    endpoint, ids = doc.find("DELETE", "/nodes/a/storage/local/content/local:iso/x y.iso".replace(" ", "+"))
    assert endpoint.fill(ids) == "/nodes/a/storage/local/content/local:iso/x+y.iso"
    for wrong in ({}, {"node": "a/b"}, {"node": "a", "storage": ".."}, {"node": "a", "storage": "%2e"},
                  {"node": "a", "storage": "s", "volume": "a/../b"}, {"node": "a", "storage": "s", "volume": "a//b"}):
        with pytest.raises(ValueError):
            endpoint.fill(wrong)


# ----------------------------------------------------------------------------------------------------------- searching

@pytest.mark.parametrize("words, best", [
    ("create pool", "POST /pools"), ("list pools", "GET /pools"), ("block port 22 for a vm", "POST Q/firewall/rules"),
    ("delete a vm", "DELETE Q"), ("change the name server of a node", "PUT N/dns"),
    ("give the virtual machine more memory", "PUT Q/config"), ("settings of a container", "GET L/config"),
    ("wake up the server", "POST N/wakeonlan"), ("remove an iso", "DELETE N/storage/{storage}/content/{volume}"),
])
def test_search(doc, words, best):
    assert expand(best) in [str(e) for e in doc.search(words, limit=2)]


def test_search_narrows_by_verb_and_prefix(doc):
    assert {e.verb for e in doc.search("vm config", verb="GET")} == {"GET"}
    assert {e.path for e in doc.search("config", prefix="/nodes/pve1/lxc")} <= {
        "/nodes/{node}/lxc", "/nodes/{node}/lxc/{vmid}", "/nodes/{node}/lxc/{vmid}/config"}
    for prefix in ("/nodes/pve1/qemu/100/firewall", "nodes/{node}/qemu/{vmid}/firewall/"):
        assert {e.path.rsplit("/", 1)[1] for e in doc.search("firewall rules", prefix=prefix)} == {"firewall", "rules"}
    assert doc.search("config", prefix="/nodes/pve1/foo") == []
    assert doc.search("xyzzy") == [] and doc.search("?!") == [] and doc.search("the of")


@pytest.mark.parametrize("words", [("backups", "backup"), ("scheduled", "scheduling", "schedule", "schedules"),
                                   ("migration", "migrate", "migrating", "migrated"), ("stopped", "stopping", "stop"),
                                   ("policies", "policy"), ("vms", "vm"), ("addresses", "address"), ("dns",),
                                   ("running", "run"), ("replication", "replicate")])
def test_stems(words):
    assert len({apisearch.stem(word) for word in words}) == 1


# ---------------------------------------------------------------------------------------------------------- describing

def test_describe_says_what_a_caller_needs(doc):
    endpoint, _ = doc.find("POST", "/nodes/{node}/qemu/{vmid}/firewall/rules")
    assert doc.describe(endpoint) == {
        "endpoint": "POST /nodes/{node}/qemu/{vmid}/firewall/rules", "description": "Create new rule.",
        "privilege": "VM.Config.Network on /vms/{vmid}",
        "path": {"node": "pve-node", "vmid": "integer, range from 100 to 999999999, pve-vmid"},
        "returns": {"type": "null"},
        "parameters": {
            "action": r"required, length from 2 to 20, pattern [A-Za-z][A-Za-z0-9\-\_]+",
            "type": "required, in|out|group: Rule type.",
            "dport": "pve-fw-dport-spec: Restrict TCP/UDP destination port."}}


def test_describe_tells_property_strings_and_numbers(doc):
    endpoint, _ = doc.find("POST", "/nodes/{node}/qemu")
    facts = doc.describe(endpoint)
    told, keys = facts["parameters"], facts["keys"]
    assert list(told)[0] == "vmid" and told["vmid"].startswith("required, integer")
    assert told["net[n]"] == ("n from 0 to 31, key=value,... of model macaddr bridge tag firewall trunks: "
                              "Specify network devices.")
    assert keys["net[n]"]["model"] == "required, e1000|virtio, may stand without its name"
    assert "virtio" not in keys["net[n]"] and keys["net[n]"]["tag"] == "integer, range from 1 to 4094"
    assert told["boot"] == "[[legacy=]<[acdn]{1,4}>] [,order=<device[;device...]>]"
    assert told["cores"] == "integer, range from 1, default 1"
    assert told["force"] == "boolean, only with delete"
    full = doc.describe(endpoint, ["net3", "bios", "biso"])
    assert sorted(full["parameters"]) == ["bios", "net[n]"] and "did you mean bios?" in full["unknown"][0]
    assert full["keys"]["net[n]"]["bridge"] == "pve-bridge-id: Bridge to attach to."


def test_describe_keeps_to_its_limit(doc):
    endpoint, _ = doc.find("POST", "/nodes/{node}/qemu")
    facts = doc.describe(endpoint)
    assert "shortened" not in facts
    sizes = [len(json.dumps(facts))]
    while "optional" not in facts:
        facts = doc.describe(endpoint, limit=sizes[-1] - 1)
        sizes.append(len(json.dumps(facts)))
        assert sizes[-1] < sizes[-2] and facts["shortened"] and facts["parameters"]["vmid"].startswith("required")
    assert len(sizes) > 2 and list(facts["parameters"]) == ["vmid"] and "net[n]" in facts["optional"].split()


@pytest.mark.parametrize("name, words", [
    ("GET /nodes", "any user"), ("POST /odd", "none, not even a login"),
    ("PUT /odd", "root@pam itself; no API token; not with an API token"),
    ("PUT /nodes/{node}/qemu/{vmid}/config", "VM.Config.Disk or VM.Config.CPU on /vms/{vmid}")])
def test_describe_says_the_privilege(doc, name, words):
    assert doc.describe(doc.find(*name.split())[0])["privilege"] == words


def test_describe_lists_columns(doc):
    assert doc.describe(doc.find("GET", "/nodes")[0])["returns"] == {"type": "array", "columns": "node status uptime"}


# ------------------------------------------------------------------------------------------------------------ checking

CONFIG_PATH = "PUT /nodes/pve1/qemu/100/config"
RULES_PATH = "POST /nodes/pve1/qemu/100/firewall/rules"


@pytest.mark.parametrize("name, parameters", [
    (CONFIG_PATH, {}),
    (CONFIG_PATH, {"net0": "virtio,bridge=vmbr0,tag=5,firewall=yes", "net31": "model=e1000", "scsi30": "a1:32,ssd=1"}),
    (CONFIG_PATH, {"net0": "virtio=BC:24:11:00:00:01,tag=1,trunks=1;2,", "memory": 2048, "cores": "2", "onboot": True}),
    (CONFIG_PATH, {"memory": "current=512", "cores": 2.0, "onboot": "0", "bios": None, "digest": ""}),
    (CONFIG_PATH, {"delete": ["net1", "net2"], "force": 1}), (CONFIG_PATH, {"delete": "net1,net2;net3"}),
    (CONFIG_PATH, {"startup": "order=1,order=2"}), (CONFIG_PATH, {"boot": "order=scsi0;net0"}),
    (CONFIG_PATH, {"boot": "cdn"}), (CONFIG_PATH, {"nameserver": "10.0.0.1 fe80::1,dns.example"}),
    (CONFIG_PATH, {"vmid": 100, "node": "pve1"}), (CONFIG_PATH, {"bios": ["ovmf"], "cipassword": "secret"}),
    (RULES_PATH, {"type": "in", "action": "DROP", "dport": 22}),
    ("GET /odd", {"anything": {"goes": 1}}), ("POST /kinds", {"id": "a", "size": "big"}),
    ("POST /odd", {"compression": "zip", "loose": ["a", "b"], "perl": "?", "limit": 5, "newformat": "x=1,y"}),
    ("POST /odd", {"endless": "x" * 5000}), ("POST /odd", {"either": "maybe"}),
    ("POST /odd", {"kind": "flag", "either": 1}), ("POST /odd", {"kind": "new", "either": "x"}),
    ("POST /odd", {"names": ["ab", "cd"]}), ("POST /odd", {"names": "ab"}), ("POST /odd", {"thing12345": "a"}),
    ("POST /odd", {"maps": ["node=pve1,path=/a", "node=pve2"]}), ("POST /odd", {"old": "x"}),
])
def test_check_lets_pass_what_proxmox_accepts_or_might(doc, name, parameters):
    assert checked(doc, name, parameters) == []


@pytest.mark.parametrize("name, parameters, sentences", [
    (RULES_PATH, {"acton": "DROP", "type": "inn"}, [
        "acton is not a parameter of POST /nodes/{node}/qemu/{vmid}/firewall/rules; did you mean action?",
        r"action is missing (length from 2 to 20, pattern [A-Za-z][A-Za-z0-9\-\_]+).",
        "type must be one of in, out, group, not 'inn'; did you mean in?"]),
    (RULES_PATH, {"type": "", "action": "1"}, [
        "type is missing (in|out|group: Rule type.).", r"action must match [A-Za-z][A-Za-z0-9\-\_]+, not '1'."]),
    (CONFIG_PATH, {"net32": "virtio", "net": "virtio", "net01": "virtio"}, [
        "net32 is not a parameter: there are net0 to net31.", "net needs its number, such as net0.",
        "net01 is not a parameter: there are net0 to net31."]),
    (CONFIG_PATH, {"net0": "virtio,brigde=vmbr0,tag=5000,firewall=maybe"}, [
        "net0: unknown key brigde; did you mean bridge?", "net0: tag may be at most 4094, not '5000'.",
        "net0: firewall must be 1 or 0, not 'maybe'."]),
    (CONFIG_PATH, {"net0": "bridge=vmbr0"}, [
        "net0: model is missing (e1000|virtio, may stand without its name: Network card model.)."]),
    (CONFIG_PATH, {"net0": "virtio=BC:24:11:00:00:01,model=virtio"}, ["net0: model is given twice."]),
    (CONFIG_PATH, {"net0": "model=virtio,virtio=BC:24:11:00:00:01"}, [
        "net0: virtio= says the model, which is there already."]),
    (CONFIG_PATH, {"net0": "virtio=BD:24:11:00:00:01"}, [
        "net0: macaddr must be a unicast MAC address, not 'BD:24:11:00:00:01'."]),
    (CONFIG_PATH, {"net0": "virtio,bridge=,=x,e1000"}, [
        "net0: bridge= needs a key before it and a value behind.",
        "net0: = needs a key before it and a value behind.", "net0: model is given twice."]),
    (CONFIG_PATH, {"net0": "virtio,trunks=1;2"}, ["net0: trunks works only together with tag."]),
    (CONFIG_PATH, {"net0": {"model": "virtio"}}, [
        "net0 takes key=value,..., not an object."]),
    (CONFIG_PATH, {"scsi31": "local:1", "scsi0": "32"}, [
        "scsi31 is not a parameter: there are scsi0 to scsi30.",
        "scsi0: file must be a volume id (storage:name), storage:SIZE_IN_GIB, a path, none or cdrom, not '32'."]),
    (CONFIG_PATH, {"memory": "lots", "cores": 0, "onboot": "yes", "digest": "a" * 41, "force": 1}, [
        "force works only together with delete.", "memory: current must be a whole number, not 'lots'.",
        "cores must be at least 1, not '0'.", "onboot must be 1 or 0, not 'yes'.",
        "digest may have at most 40 characters, not 41."]),
    (CONFIG_PATH, {"delete": "net1,n!", "bios": ["seabios", "ovmf"], "nameserver": "10.0.0.1/8"}, [
        "delete must be an id: a letter, then letters, digits, _ and -, at least 2 characters, not 'n!'.",
        "bios takes one value, not a list.", "nameserver must be a host name or an IP address, not '10.0.0.1/8'."]),
    (CONFIG_PATH, {"vmid": 101}, ["vmid is '100' in the path and something else in the parameters."]),
    ("PUT /nodes/{node}/qemu/99/config", {}, [
        "node is part of the path and has no value.",
        "vmid must be a guest's number from 100 to 999999999, not '99'."]),
    ("GET /pools", {"a": 1}, ["a is not a parameter of GET /pools; it takes none."]),
    ("POST /pools", {"poolid": "a/b/c/d", "id": 1}, [
        "id is not a parameter of POST /pools; it takes poolid.", "poolid must be a pool id, not 'a/b/c/d'."]),
    ("PUT /nodes/a/dns", {"search": "x", "dns1": "010.0.0.1"}, ["dns1 must be an IP address, not '010.0.0.1'."]),
    ("POST /odd", {"names": ["ab", "c"], "maps": ["path=/a"]}, [
        "names must be an id: a letter, then letters, digits, _ and -, at least 2 characters, not 'c'.",
        "maps: node is missing (pve-node)."]),
    ("POST /odd", {"maps": ["b"]}, [
        "maps: every part needs a key, as in key=value.", "maps: node is missing (pve-node)."]),
    ("POST /odd", {"kind": "a", "old": "b"}, ["old is another name of kind: give one of them."]),
    ("POST /kinds", {"colour": "red"}, [
        "colour is not a parameter of POST /kinds; did you mean color?", "id is missing (text)."]),
])
def test_check_says_all_problems_in_sentences(doc, name, parameters, sentences):
    assert checked(doc, name, parameters) == sentences


def test_check_quotes_no_secret(doc):
    found = checked(doc, CONFIG_PATH, {"cipassword": "abc", "net0": "virtio"})
    assert found == ["cipassword must have at least 5 characters, not 3."]
    spec = {"type": "string", "pattern": "x+"}
    assert [text for problem in jsonschema.Checker().check_value("api-token", spec, "s3cret")
            for text in apidoc._sentences(problem)] == ["api-token must match x+, not (hidden)."]


def test_a_long_pattern_is_shown_from_its_beginning():
    schema = {"kind": {"pattern": "(?:%s)" % "|".join(["vmxnet3"] * 30)}}
    problem, = apidoc.Checker().check_object(schema, {"kind": "x"})
    assert apidoc._sentences(problem)[0].startswith("kind must match (?:vmxnet3|vmxnet3|")


def test_check_gives_up_on_patterns_it_cannot_trust():
    for pattern in (r"(?:a+)*b", r"(a|b+)+", r"[[:alnum:]]+", "a**", r"(?:(?:x+)*,)*", r"(?:a|aa){2,}", "(a"):
        assert jsonschema._matches(pattern, "-"), pattern
    for pattern, good, bad in ((r"(?^:\d+(?:;\d+)?)", "1;2", "1;"), (r"(?^i:[a-z]+)", "AbC", "1"), (r"a|b", "axx", "x"),
                               (r"x\z", "x", "xy")):
        assert jsonschema._matches(pattern, good) and not jsonschema._matches(pattern, bad), pattern


# ----------------------------------------------------------------------------------------------------- the real schemas

#: What an administrator asks -> the endpoints that answer it. N: /nodes/{node}; Q: its VM; L: its container.
QUESTIONS = {
    "block port 22 for a vm": "POST Q/firewall/rules",
    "which guests are not backed up": "GET /cluster/backup-info/not-backed-up",
    "schedule a nightly backup": "POST /cluster/backup",
    "replication status": "GET N/replication, GET N/replication/{id}/status",
    "create pool": "POST /pools",
    "add user": "POST /access/users",
    "who has which permission": "GET /access/acl, GET /access/permissions",
    "renew certificate": "PUT N/certificates/acme/certificate",
    "ceph health": "GET /cluster/ceph/status, GET N/ceph/status",
    "upload iso": "POST N/storage/{storage}/upload",
    "change dns of node": "PUT N/dns",
    "list pci devices": "GET N/hardware/pci",
    "wipe a disk": "PUT N/disks/wipedisk",
    "create zfs pool": "POST N/disks/zfs",
    "join cluster": "POST /cluster/config/join",
    "migrate vm to other node": "POST Q/migrate",
    "console of a container": "POST L/vncproxy, POST L/termproxy, POST L/spiceproxy",
    "list ha groups": "GET /cluster/ha/groups",
    "create an sdn zone": "POST /cluster/sdn/zones",
    "apply network changes": "PUT N/network",
    "set the subscription key": "PUT N/subscription",
    "send metrics to influxdb": "POST /cluster/metrics/server/{id}",
    "set up two factor for a user": "POST /access/tfa/{userid}",
    "delete a snapshot of a container": "DELETE L/snapshot/{snapname}",
    "remove old backups by retention": "DELETE N/storage/{storage}/prunebackups",
    "are there updates for the node": "GET N/apt/update",
    "restart a service": "POST N/services/{service}/restart",
    "grant a user rights on a vm": "PUT /access/acl",
    "create an api token": "POST /access/users/{userid}/token/{tokenid}",
    "give the vm more memory": "PUT Q/config, POST Q/config",
}
#: The same for what only newer versions have.
NEWER = {
    "test a notification target": "POST /cluster/notifications/targets/{name}/test",
    "ip addresses of a container": "GET L/interfaces",
    "ha affinity rule": "POST /cluster/ha/rules",
    "map a usb device for the whole cluster": "POST /cluster/mapping/usb",
    "pull an oci image": "POST N/storage/{storage}/oci-registry-pull",
}
FILES = [name for name in os.environ.get("PROXMOX_APIDOC_FILES", "").split(os.pathsep) if name]
real = pytest.mark.skipif(not FILES, reason="PROXMOX_APIDOC_FILES names no schema of a real host")


def expand(name):
    """The whole of "PUT Q/config"."""
    verb, path = name.split(" ")
    letter, slash, rest = path.partition("/")
    whole = {"N": "/nodes/{node}", "Q": "/nodes/{node}/qemu/{vmid}", "L": "/nodes/{node}/lxc/{vmid}"}
    return verb + " " + whole.get(letter, letter) + slash + rest


def real_doc(name, made={}):
    if name not in made:
        with open(name, encoding="utf-8") as stream:
            made[name] = ApiDoc.parse(stream.read())
    return made[name]


@real
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("table, share", [(QUESTIONS, 0.9), (NEWER, 0.8)])
def test_questions_are_answered_among_the_first_five(file, table, share):
    doc = real_doc(file)
    there, missed, asked = set(map(str, doc.endpoints)), [], 0
    for question, answers in table.items():
        answers = {expand(answer) for answer in answers.split(", ")}
        if answers & there:
            asked += 1
            if not answers & set(map(str, doc.search(question, limit=5))):
                missed.append(question)
    assert table is NEWER or asked == len(table)
    assert len(missed) <= (1 - share) * asked, missed


@real
@pytest.mark.parametrize("file", FILES)
def test_every_real_endpoint_is_found_described_and_checked(file):
    doc = real_doc(file)
    for endpoint in doc.endpoints:
        assert doc.find(endpoint.verb, endpoint.path) == (endpoint, {})
        facts = doc.describe(endpoint)
        assert len(json.dumps(facts)) <= 12000 and set(endpoint.required) <= set(facts["parameters"])
        problems = doc.check(endpoint, {name: "x100" for name in endpoint.in_path}, {"no-such-thing": 1})
        assert all(any(text.startswith(name) for text in problems) for name in endpoint.required)


# --------------------------------------------------------------------------- schemas whose parameters depend on a type

_BRANCH = {"node-affinity": {"nodes": {"type": "string"}, "strict": {"type": "boolean", "optional": 1}},
           "resource-affinity": {"affinity": {"type": "string", "enum": ["positive", "negative"]}}}
TYPED = {"type-property": "type", "oneOf": [
    {"instance-types": [kind], "properties": properties, "additionalProperties": 0}
    for kind, properties in _BRANCH.items()]}
COMMON = {"properties": {"rule": {"type": "string"}, "resources": {"type": "string"}}, "additionalProperties": 0}
KIND = {"type": "string", "enum": sorted(_BRANCH)}


@pytest.mark.parametrize("parameters", [
    {"allOf": [COMMON, dict(TYPED, **{"type-property-schema": KIND})]},
    dict(TYPED, allOf=[COMMON], **{"type-property-schema": KIND}),
    {"type-property": "type", "type-property-schema": KIND, "allOf": [COMMON, {"oneOf": TYPED["oneOf"]}]}])
def test_a_type_chooses_which_parameters_there_are(parameters):
    """POST /cluster/ha/rules of 9.2: the parameter that tells the type stands nowhere among the properties."""
    doc = ApiDoc.parse(json.dumps([leaf("/rules", dict(method("POST", "Create HA rule."), parameters=parameters))]))
    endpoint = doc.find("POST", "/rules")[0]
    assert set(endpoint.required) == {"rule", "resources", "type"}
    shown = doc.describe(endpoint)["parameters"]
    assert shown["type"].endswith("|".join(sorted(_BRANCH)))
    good = {"rule": "r", "resources": "vm:100", "type": "node-affinity", "nodes": "pve1", "strict": 1}
    assert doc.check(endpoint, {}, good) == []
    assert doc.check(endpoint, {}, {"rule": "r", "resources": "vm:100", "type": "resource-affinity",
                                    "affinity": "negative"}) == []
    for change, words in (({"type": "x"}, "type"), ({"type": None}, "type"), ({"affinity": "neg"}, "affinity"),
                          ({"colour": 1}, "colour")):
        problems = doc.check(endpoint, {}, dict(good, **change))
        assert problems and words in problems[0], (change, problems)



@pytest.mark.parametrize("damage", [
    {"properties": None}, {"properties": [1]}, {"properties": {"size": None, "color": ["red"]}}, {"oneOf": {"a": 1}},
    {"oneOf": [None, "x", {"$ref": "#/elsewhere"}]}, {"type-property": 1}, {"type-property-schema": "string"},
    {"allOf": [{"oneOf": [{"instance-types": "a", "properties": {"x": {"enum": 1}}}]}]},
    {"properties": {"x": {"type-property": ["k"], "oneOf": [{"instance-types": None}]}}}])
def test_a_schema_of_a_shape_not_known_yet_spoils_no_other_and_refuses_nothing(damage):
    parameters = {"allOf": [{"properties": {"id": {"type": "string"}}}, damage]}
    doc = ApiDoc.parse(json.dumps([leaf("/new", dict(method("POST", "Something new."), parameters=parameters)),
                                   leaf("/pools", method("GET", "List pools."))]))
    endpoint = doc.find("POST", "/new")[0]
    assert doc.describe(endpoint)["parameters"]["id"] == "required"
    assert doc.check(endpoint, {}, {"id": "a", "x": "1"}) in ([], ["x is not a parameter of POST /new."])
    assert doc.check(endpoint, {}, {})[0].startswith("id") and len(doc.search("new")) == 1
