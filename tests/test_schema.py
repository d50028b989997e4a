"""Arguments: dataclass to JSON Schema, JSON object to checked instance."""
import json
from dataclasses import dataclass
from typing import Annotated, List, Optional

import pytest

from tools.base.schema import REQUIRED, Arg, ArgumentProblems, input_schema, parse


@dataclass
class Base:
    """Base."""
    vmid: Annotated[int, Arg(format="vmid")] = REQUIRED
    node: Annotated[Optional[str], Arg("node name", format="node")] = None


@dataclass
class Example(Base):
    """Example."""
    disk: Annotated[str, Arg("a disk", format="drive", aliases=("drive",))] = REQUIRED
    cores: Annotated[Optional[int], Arg(minimum=1, maximum=128)] = None
    mode: Annotated[str, Arg(enum=("snapshot", "stop"))] = "snapshot"
    full: Optional[bool] = None
    password: Annotated[Optional[str], Arg(secret=True, min_length=5)] = None
    tags: Optional[List[str]] = None
    tag: Annotated[Optional[int], Arg(null=0)] = None
    params: Optional[dict] = None
    ratio: Optional[float] = None
    wait: Annotated[Optional[int], Arg(booleans=(None, 0))] = None
    memory: Annotated[Optional[int], Arg(unit="MiB", minimum=16)] = None
    rate: Annotated[Optional[float], Arg(unit="MB/s", null=0)] = None


@dataclass
class Free:
    """Free."""
    note: Optional[str] = None
    tag: Annotated[Optional[int], Arg(null=0)] = None
    ip: Annotated[Optional[str], Arg(null="")] = None
    firewall: Optional[bool] = None
    limit: Annotated[int, Arg(minimum=1)] = 50
    more: Optional[dict] = None


def test_the_schema():
    assert input_schema(Example) == {
        "type": "object", "required": ["vmid", "disk"], "properties": {
            "vmid": {"type": "string"}, "disk": {"type": "string", "description": "a disk"},
            "node": {"type": "string", "description": "node name"},
            "cores": {"type": "integer"},
            "mode": {"type": "string", "enum": ["snapshot", "stop"]},
            "full": {"type": "boolean"},
            "password": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
            "tag": {"type": "integer"}, "params": {"type": "object"}, "ratio": {"type": "number"},
            "wait": {"type": "integer"}, "memory": {"type": "string", "description": "MiB"},
            "rate": {"type": "string", "description": "MB/s"}}}


def test_a_schema_without_arguments_has_properties_all_the_same():
    """Some backends refuse the whole list of tools over an object schema without them."""
    @dataclass
    class Nothing:
        """Nothing."""
    assert input_schema(Nothing) == {"type": "object", "properties": {}}


@pytest.mark.parametrize("given, attribute, value", [
    ({"vmid": "100"}, "vmid", 100), ({"drive": "scsi1"}, "disk", "scsi1"), ({"full": "true"}, "full", True),
    ({"full": 0}, "full", False), ({"tags": "a,b c"}, "tags", ["a", "b", "c"]), ({"tag": None}, "tag", 0),
    ({"node": None}, "node", None), ({"mode": "STOP"}, "mode", "stop"), ({"params": '{"a": 1}'}, "params", {"a": 1}),
    ({"ratio": "0.5"}, "ratio", 0.5), ({}, "mode", "snapshot"), ({"cores": 2.0}, "cores", 2),
    ({"cores": ""}, "cores", None), ({"cores": 0}, "cores", None), ({"node": ""}, "node", None),
    ({"tags": '["a", "b"]'}, "tags", ["a", "b"]), ({"tags": [1.0, "x"]}, "tags", ["1", "x"]),
    ({"tags": []}, "tags", None), ({"tag": "null"}, "tag", 0),
    ({"tags": '"a, b"'}, "tags", ["a", "b"]), ({"tags": "[a, b"}, "tags", ["[a", "b"]),
    ({"params": {"a": [2048.0, {"b": 1.5}], "c": 1.0}}, "params", {"a": [2048, {"b": 1.5}], "c": 1}),
    ({"params": '{"a": {"b": 2.0}, "c": "[1]"}'}, "params", {"a": {"b": 2}, "c": "[1]"}),
    ({"cores": "2.0"}, "cores", 2), ({"ratio": 2.0}, "ratio", 2), ({"ratio": "2.0"}, "ratio", 2),
    ({"node": "null"}, "node", "null"), ({"cores": "null"}, "cores", None), ({"vmid": 107.0}, "vmid", 107),
    ({"vmid": "107.0"}, "vmid", 107), ({"full": 1.0}, "full", True), ({"wait": 0}, "wait", 0),
    ({"mode": ""}, "mode", "snapshot"), ({"full": ""}, "full", None),
    ({"tags": 100}, "tags", ["100"]), ({"tags": "100"}, "tags", ["100"]), ({"tags": "web01"}, "tags", ["web01"]),
    ({"tags": 100.0}, "tags", ["100"]), ({"memory": "4G"}, "memory", 4096), ({"memory": "4096"}, "memory", 4096),
    ({"memory": 4096.0}, "memory", 4096), ({"memory": 512}, "memory", 512), ({"memory": "0.5 TiB"}, "memory", 524288),
    ({"rate": "0.5G"}, "rate", 512), ({"rate": "12.5"}, "rate", 12.5), ({"rate": None}, "rate", 0),
    ({"wait": True}, "wait", None), ({"wait": False}, "wait", 0), ({"wait": 1}, "wait", 1)])
def test_values_are_converted(given, attribute, value):
    arguments = {"vmid": 100, "disk": "scsi0"}
    if "drive" in given:
        del arguments["disk"]
    arguments.update(given)
    found = getattr(parse(Example, arguments), attribute)
    assert found == value and json.dumps(found) == json.dumps(value)


@pytest.mark.parametrize("text", ['["a"]', '{"a": 1}', "12", "true", "null", '"x"', "[]", "1.0"])
def test_a_text_that_looks_like_json_stays_a_text_where_a_text_is_wanted(text):
    assert parse(Free, {"note": text}).note == text


@pytest.mark.parametrize("given, found", [
    ({"note": "", "tag": 0}, {}), ({"note": "", "tag": None}, {}), ({"note": [], "firewall": False}, {}),
    ({"more": {}, "limit": 0, "ip": ""}, {}), ({"note": None, "tag": None}, {}), ({"note": 0, "more": ""}, {}),
    ({"limit": 0}, {}), ({"note": "x", "tag": 0, "firewall": False}, {"note": "x", "tag": 0, "firewall": False}),
    ({"tag": 0}, {"tag": 0}), ({"tag": None}, {"tag": 0}), ({"ip": ""}, {"ip": ""}),
    ({"firewall": False}, {"firewall": False}),
    ({"note": None, "firewall": False, "tag": 0}, {"firewall": False, "tag": 0}),
    ({"note": "x", "tag": 0, "firewall": False, "limit": 5, "ip": "dhcp", "more": {"a": 1}}, {
        "note": "x", "limit": 5, "ip": "dhcp", "more": {"a": 1}})])
def test_what_was_only_filled_in_is_not_said_and_switches_nothing_off(given, found):
    """Proxies and clients that give every argument: an empty text beside a 0 shows that the 0 may mean nothing."""
    assert vars(parse(Free, given)) == dict({"note": None, "tag": None, "ip": None, "firewall": None, "limit": 50,
                                             "more": None}, **found)


def test_a_required_argument_is_not_filled_in():
    for value in ("", None, 0, [], {}, False):
        with pytest.raises(ArgumentProblems, match="disk: "):
            parse(Example, {"vmid": 100, "disk": value, "node": ""})


@pytest.mark.parametrize("value", [True, 100.5, 99, "100 abc", "1_00", "1 e2", "\u0661\u0660\u0660", "0100", 1000000000,
                                   [100], {}])
def test_vmid_is_strict(value):
    with pytest.raises(ArgumentProblems) as caught:
        parse(Example, {"vmid": value, "disk": "scsi0"})
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith("vmid: ")


def test_all_problems_at_once():
    with pytest.raises(ArgumentProblems) as caught:
        parse(Example, {"vmid": "a b", "disk": "hda", "core": 4, "mode": "x", "cores": -1, "full": "maybe"})
    assert caught.value.problems == [
        "vmid: 'a b' is not a whole number, nor the name of a guest",
        "disk: 'hda' is not a disk of a VM: ide0-3, sata0-5, scsi0-30 or virtio0-15, such as scsi1",
        "core: unknown argument (did you mean cores?)", "mode: 'x' is not one of snapshot, stop",
        "cores: must be at least 1", "full: 'maybe' is neither true nor false"]


@pytest.mark.parametrize("value, words", [
    (4, "must be at least 16 MiB (a number alone is MiB; 4G has its unit)"), ("+4G", "is not taken with a +"),
    ("4 Gbit", "'4 Gbit' is not a size, such as 50 (MiB), 50G"), ("17.5", "is not a whole number"),
    ("17.0001M", "is not a whole number"), (True, "True is not a")])
def test_what_is_no_amount_of_memory(value, words):
    with pytest.raises(ArgumentProblems) as caught:
        parse(Example, {"vmid": 100, "disk": "scsi0", "memory": value})
    assert words in str(caught.value)


def test_neither_an_object_nor_a_truth_is_a_list():
    for value in ({"a": 1}, True):
        with pytest.raises(ArgumentProblems, match="is not a list"):
            parse(Example, {"vmid": 100, "disk": "scsi0", "tags": value})


def test_a_missing_argument_is_named():
    with pytest.raises(ArgumentProblems) as caught:
        parse(Example, {"vmid": 100})
    assert caught.value.problems == ["disk: missing (a disk)"]


def test_an_alias_beside_the_name_is_refused():
    with pytest.raises(ArgumentProblems, match="given twice"):
        parse(Example, {"vmid": 100, "disk": "scsi0", "drive": "scsi1"})


@pytest.mark.parametrize("value", ["abc", ["s3cr3t-canary"], {"a": "s3cr3t-canary"}])
def test_a_secret_is_never_repeated(value):
    with pytest.raises(ArgumentProblems) as caught:
        parse(Example, {"vmid": 100, "disk": "scsi0", "password": value})
    assert "canary" not in str(caught.value) and "abc" not in str(caught.value)


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_what_cannot_be_sent_is_refused(text):
    with pytest.raises(ArgumentProblems, match="cannot be sent"):
        parse(Example, {"vmid": 100, "disk": "scsi0", "password": text + "12345"})


@dataclass
class Several:
    """Several."""
    names: Annotated[Optional[str], Arg(listed=True)] = None


@pytest.mark.parametrize("given, value", [
    ([100, "web01"], "100,web01"), ('["a", "b"]', "a,b"), (100, "100"), ("a b;c", "a b;c"), ([100.0], "100")])
def test_a_text_that_names_several_may_be_a_list(given, value):
    assert parse(Several, {"names": given}).names == value


def test_a_list_in_a_text_is_bounded():
    for given in (["a"] * 501, [{}], [["a"]]):
        with pytest.raises(ArgumentProblems, match="names: "):
            parse(Several, {"names": given})
