"""The fixtures of the official conformance suite (npm @modelcontextprotocol/conformance) on this engine. Never shipped.

`conformance_server.py` serves them over stdio; test_asking.py uses some. Names and texts are the suite's.
"""
import json
import time

from engine import INFO, TableApp, said, tool
from tools.mcp.consent import Kept
from tools.mcp.engine import Method, Server
from tools.mcp.message import INVALID_PARAMS, LOG_LEVEL_KEY, LOG_LEVELS, MISSING_CAPABILITY, RpcError

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
STRING, NO_ARGUMENTS = {"type": "string"}, {"type": "object"}
signer = Kept(26)


# ---------------------------------------------------------------------------------------------------------------- tools

def text(words):
    return {"type": "text", "text": words}


def image():
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def embedded(uri, mime, text):
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": text}}


def content(*parts):
    return lambda request, arguments: {"content": list(parts)}


def logging(request, arguments):
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        if not request.modern or LOG_LEVEL_KEY in request.params["_meta"]:
            request.notify("notifications/message", {"level": "info", "logger": "fixtures", "data": text})
            time.sleep(0.05)
    return said("done")


def progress(request, arguments):
    for value in (0, 50, 100):
        request.send_progress(value, 100)
        time.sleep(0.05)
    return said("done")


def elicitation(message, properties, required=()):
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": {
        "type": "object", "properties": properties, "required": list(required)}}}


def sampling(text, most=100):
    return {"method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}], "maxTokens": most}}


ROOTS = {"method": "roots/list", "params": {}}


def sample(request, arguments):
    need(request, "sampling")
    answer = request.ask({"answer": sampling(arguments["prompt"])})["answer"]
    return said("LLM response: %s" % answer["content"]["text"])


def elicit(says, properties, required=()):
    def run(request, arguments):
        need(request, "elicitation")
        question = elicitation(arguments.get("message", "Please answer"), properties, required)
        answer = request.ask({"answer": question})["answer"]
        return said("%s: action=%s, content=%s" % (says, answer["action"], json.dumps(answer.get("content"))))
    return run


def need(request, capability):
    if not request.supports(capability):
        raise RpcError(MISSING_CAPABILITY, "The client lacks %s" % capability,
                       {"requiredCapabilities": {capability: {}}})


def missing_capability(request, arguments):
    need(request, "sampling")
    return said("not missing")


def streaming_elicitation(request, arguments):
    request.send_progress(1, 2)
    return said("Hello, %s!" % request.ask({"name": elicitation("Name?", {"name": STRING})})["name"])


def question(says, state=False, **inputs):
    """A tool that needs these inputs in one round; with a signed state if `state`."""
    def run(request, arguments):
        if state and request.state is not None:
            opened(request)
        answers = request.ask(inputs, signer.seal({"round": 1}) if state else None)
        return said(says(answers) if callable(says) else says)
    return run


def opened(request):
    payload = signer.open(request.state)
    if payload is None:
        raise RpcError(INVALID_PARAMS, "Invalid or expired requestState")
    return payload


def user_name(answers):
    content = answers["user_name"].get("content") if isinstance(answers["user_name"], dict) else None
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise RpcError(INVALID_PARAMS, "user_name must be a form with a name")
    return "Hello, %s!" % content["name"]


def multi_round(request, arguments):
    step = opened(request)["round"] if request.state is not None else 1
    if step == 1:
        if "step1" in request.responses:
            request.responses, step = {}, 2
        else:
            request.ask({"step1": elicitation("Step 1: What is your name?", {"name": STRING}, ["name"])},
                        signer.seal({"round": 1}))
    request.ask({"step2": elicitation("Step 2: What is your favorite color?", {"color": STRING}, ["color"])},
                signer.seal({"round": 2}))
    return said("done")


def capable(request, arguments):
    inputs = {"elicitation": elicitation("Name?", {"name": STRING}), "sampling": sampling("Hello"), "roots": ROOTS}
    request.ask({kind: inputs[kind] for kind in inputs if request.supports(kind)})
    return said("done")


NAME = elicitation("What is your name?", {"name": STRING}, ["name"])
CONFIRM = elicitation("Please confirm", {"ok": {"type": "boolean"}}, ["ok"])
DEFAULTS = {"name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5}, "verified": {"type": "boolean", "default": True},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"}}
WORDS = list(enumerate(("First", "Second", "Third"), 1))
TITLED = [{"const": "value%d" % i, "title": "%s Option" % word} for i, word in WORDS]
CHOICES = [{"const": "value%d" % i, "title": "%s Choice" % word} for i, word in WORDS]
ENUMS = {"untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
         "titledSingle": {"type": "string", "oneOf": TITLED},
         "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
                        "enumNames": ["Option One", "Option Two", "Option Three"]},
         "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
         "titledMulti": {"type": "array", "items": {"anyOf": CHOICES}}}
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
          "$defs": {"address": {"$anchor": "addressDef", "type": "object",
                                "properties": {"street": STRING, "city": STRING}}},
          "properties": {"name": STRING, "address": {"$ref": "#/$defs/address"}, "phone": STRING, "email": STRING,
                         "contactMethod": {"type": "string", "enum": ["phone", "email"]}},
          "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
          "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
          "then": {"required": ["phone"]}, "else": {"required": ["email"]}, "additionalProperties": False}


def one(name):
    return {"type": "object", "properties": {name: STRING}, "required": [name]}


#: name -> (inputSchema, function)
TOOLS = {
    "test_simple_text": (NO_ARGUMENTS, content(text("This is a simple text response for testing."))),
    "test_image_content": (NO_ARGUMENTS, content(image())),
    "test_audio_content": (NO_ARGUMENTS, content({"type": "audio", "data": WAV, "mimeType": "audio/wav"})),
    "test_embedded_resource": (NO_ARGUMENTS, content(embedded("test://embedded-resource", "text/plain",
                                                              "This is an embedded resource content."))),
    "test_multiple_content_types": (NO_ARGUMENTS, content(
        {"type": "text", "text": "Multiple content types test:"}, image(),
        embedded("test://mixed-content-resource", "application/json", "{\"test\":\"data\",\"value\":123}"))),
    "test_tool_with_logging": (NO_ARGUMENTS, logging),
    "test_logging_tool": (NO_ARGUMENTS, logging),
    "test_error_handling": (NO_ARGUMENTS, lambda request, arguments: said(
        "This tool intentionally returns an error for testing", isError=True)),
    "test_tool_with_progress": (NO_ARGUMENTS, progress),
    "test_sampling": (one("prompt"), sample),
    "test_elicitation": (one("message"), elicit("User response", {"username": STRING, "email": STRING},
                                                ["username", "email"])),
    "test_elicitation_sep1034_defaults": (NO_ARGUMENTS, elicit("Elicitation completed", DEFAULTS)),
    "test_elicitation_sep1330_enums": (NO_ARGUMENTS, elicit("Elicitation completed", ENUMS)),
    "test_missing_capability": (NO_ARGUMENTS, missing_capability),
    "test_streaming_elicitation": (NO_ARGUMENTS, streaming_elicitation),
    "test_trigger_tool_change": (NO_ARGUMENTS, lambda request, arguments: said("nothing changes here")),
    "test_trigger_prompt_change": (NO_ARGUMENTS, lambda request, arguments: said("nothing changes here")),
    "test_input_required_result_elicitation": (NO_ARGUMENTS, question(user_name, user_name=NAME)),
    "test_input_required_result_sampling": (NO_ARGUMENTS, question(
        lambda answers: "It is %s" % json.dumps(answers["capital_question"]),
        capital_question=sampling("What is the capital of France?"))),
    "test_input_required_result_list_roots": (NO_ARGUMENTS, question(
        lambda answers: "Roots: %s" % json.dumps(answers["client_roots"]), client_roots=ROOTS)),
    "test_input_required_result_request_state": (NO_ARGUMENTS, question("state-ok", state=True, confirm=CONFIRM)),
    "test_input_required_result_tampered_state": (NO_ARGUMENTS, question("state-ok", state=True, confirm=CONFIRM)),
    "test_input_required_result_multiple_inputs": (NO_ARGUMENTS, question(
        "done", state=True, user_name=NAME, greeting=sampling("Generate a greeting", 50), client_roots=ROOTS)),
    "test_input_required_result_multi_round": (NO_ARGUMENTS, multi_round),
    "test_input_required_result_capabilities": (NO_ARGUMENTS, capable),
    "json_schema_2020_12_tool": (SCHEMA, lambda request, arguments: said("ok")),
}


# ------------------------------------------------------------------------------------------------ resources and prompts

RESOURCES = {
    "test://static-text": ("text/plain", {"text": "This is the content of the static text resource."}),
    "test://static-binary": ("image/png", {"blob": PNG}),
    "test://watched-resource": ("text/plain", {"text": "Nothing changes here."}),
}
TEMPLATE = "test://template/{id}/data"


def read_template(uri):
    parts = uri.split("/")
    if uri == TEMPLATE.replace("{id}", parts[3] if len(parts) == 5 else "") and parts[3]:
        data = {"id": parts[3], "templateTest": True, "data": "Data for ID: " + parts[3]}
        return [{"uri": uri, "mimeType": "application/json", "text": json.dumps(data)}]
    return None


def messages(*parts):
    return {"messages": [{"role": "user", "content": part} for part in parts]}


def ask_context(request, arguments):
    request.ask({"user_context": elicitation("What context should the prompt use?", {"context": STRING}, ["context"])})
    return messages(text("With context."))


#: name -> (arguments, function)
PROMPTS = {
    "test_simple_prompt": ((), lambda request, arguments: messages(text("This is a simple prompt for testing."))),
    "test_prompt_with_arguments": (("arg1", "arg2"), lambda request, arguments: messages(
        text("Prompt with arguments: arg1='%(arg1)s', arg2='%(arg2)s'" % arguments))),
    "test_prompt_with_embedded_resource": (("resourceUri",), lambda request, arguments: messages(
        embedded(arguments["resourceUri"], "text/plain", "Embedded resource content for testing."),
        text("Please process the embedded resource above."))),
    "test_prompt_with_image": ((), lambda request, arguments: messages(
        image(), text("Please analyze the image above."))),
    "test_input_required_result_prompt": ((), ask_context),
}


def app():
    """The app with all fixtures."""
    return TableApp(
        tool_rows={name: (tool(name, inputSchema=schema), run) for name, (schema, run) in TOOLS.items()},
        resource_rows={uri: ({"uri": uri, "name": uri.split("/")[-1], "description": "A fixture.", "mimeType": mime},
                             [dict({"uri": uri, "mimeType": mime}, **data)])
                       for uri, (mime, data) in RESOURCES.items()},
        templates=[{"uriTemplate": TEMPLATE, "name": "template", "description": "A fixture.",
                    "mimeType": "application/json"}],
        reads=read_template,
        prompt_rows={name: ({"name": name, "description": "A fixture.", "arguments": [
            {"name": argument, "description": "Any text.", "required": True} for argument in arguments]}, run)
            for name, (arguments, run) in PROMPTS.items()},
        completions={("test_prompt_with_arguments", "arg1"): ["paris", "park", "party"],
                     ("test_prompt_with_arguments", "arg2"): []})


class FixturesServer(Server):
    """The engine and what only the fixtures have: legacy logging and subscriptions."""

    def set_level(self, request):
        if request.params.get("level") not in LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, "Unknown level")
        return {}

    def subscribe(self, request):
        return {}

    methods = dict(Server.methods, **{
        "logging/setLevel": Method(set_level, "logging", modern=False),
        "resources/subscribe": Method(subscribe, "resources", modern=False),
        "resources/unsubscribe": Method(subscribe, "resources", modern=False)})


FIXTURES_INFO = dict(INFO, capabilities=dict(INFO["capabilities"], logging={}))
