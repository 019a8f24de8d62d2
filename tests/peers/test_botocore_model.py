"""botocore's model of SES as the oracle: of what we send, and of the limits that `Enqueue` must keep."""

import json

import grpc
import pytest
from botocore.serialize import create_serializer

import model
from eventually import eventually
from stack import CALL_SECONDS

HEADERS = "Content.Simple.Headers"
ATTACHMENTS = "Content.Simple.Attachments"
# Paceline's own headers: X-Paceline-Id, -Accepted, -Attempt. The template "newsletter" has three of its own.
OWN_HEADERS = 3
TEMPLATE_HEADERS = 3


def _header(pb, **fields):
    return {"headers": [pb.Header(**{"name": "N", "value": "v", **fields})]}


def _attachment(pb, **fields):
    return {"attachments": [pb.Attachment(**{"file_name": "a", "content_type": "a/b", "content": b"x", **fields})]}


# Each text that the model bounds: the field of Enqueue, and a request's fields with a text of a length.
TEXTS = {
    f"{HEADERS}[].Name": ("headers[0].name", lambda pb, n: _header(pb, name="N" * n)),
    f"{HEADERS}[].Value": ("headers[0].value", lambda pb, n: _header(pb, value="v" * n)),
    f"{ATTACHMENTS}[].FileName": ("attachments[0].file_name", lambda pb, n: _attachment(pb, file_name="ü" * n)),
    f"{ATTACHMENTS}[].ContentId": ("attachments[0].content_id", lambda pb, n: _attachment(pb, content_id="c" * n)),
    f"{ATTACHMENTS}[].ContentType": (
        "attachments[0].content_type",
        lambda pb, n: _attachment(pb, content_type=f"a/{'b' * (n - 2)}" if n else ""),
    ),
}

# Where Paceline's own limit, a part of its contract, is the tighter one.
TIGHTER = {f"{ATTACHMENTS}[].FileName": 200}


def sent(stack, recorder, message_id):
    """The request by which this message went out."""
    request = eventually("the message is sent", lambda: recorder.of(message_id))
    stack.comes_to("accepted", message_id)
    return request


def enqueue(stack, request):
    """The message's id, and the fields for which the request is refused: one of the two."""
    batch = stack.stubs.ingest.EnqueueBatchRequest(requests=[request])
    (result,) = stack.enqueuing.EnqueueBatch(batch, timeout=CALL_SECONDS).results
    if result.WhichOneof("result") == "response":
        return result.response.message_id, []
    assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    return None, [violation.field for violation in result.error.field_violations]


def refusal(stack, request):
    return enqueue(stack, request)[1]


def everything(pb):
    """Every field that reaches the provider, with text that must be encoded wherever there can be some."""
    return {
        "from": pb.Mailbox(display_name="Chez Zoë"),
        "recipient": pb.Mailbox(display_name='Łódź, Ada "the" Countess'),
        "reply_to": pb.Mailbox(address="help@bücher.example", display_name="株式会社"),
        "headers": [pb.Header(name="X-Order", value="Größe " * 20), pb.Header(name="X-Plain", value="a b")],
        "tags": [pb.Tag(name="campaign", value="spring-26")],
        "attachments": [
            pb.Attachment(file_name="menü.pdf", content_type="application/pdf", content=bytes(range(256))),
            pb.Attachment(file_name="logo.png", content_type="image/png", content=b"\x89PNG", content_id="logo"),
        ],
    }


@pytest.fixture(scope="module")
def whole(stack, stubs, recorder):
    """The recorded request of a message that has everything."""
    return sent(stack, recorder, stack.enqueue("recorder", **everything(stubs.message)))


def test_the_request_is_one_that_botocore_would_make(whole):
    parameters = model.parameters(whole.body)
    assert model.violations(parameters) == []
    serializer = create_serializer(model.SERVICE.metadata["protocol"])
    made = serializer.serialize_to_request(parameters, model.OPERATION)
    assert (whole.method, whole.path) == (made["method"], made["url_path"])
    assert whole.headers["Content-Type"] == made["headers"]["Content-Type"] == "application/json"
    assert json.loads(whole.body) == json.loads(made["body"])
    used = {"FromEmailAddress", "Destination", "ReplyToAddresses", "Content", "EmailTags"}
    assert set(parameters) == used | {"ConfigurationSetName", "ConfigurationOverrides", "TenantName"}
    off = {"OpenTrackingEnabled": "DISABLED", "ClickTrackingEnabled": "DISABLED"}
    assert parameters["ConfigurationOverrides"] == {"Tracking": off}, "the template is a transactional one"


def test_every_bound_of_what_we_send_has_its_test(whole):
    """A bound that a newer model adds fails here, until somebody has thought of it."""
    tested = {(HEADERS, "min"), (HEADERS, "max")}
    tested |= {(f"{HEADERS}[].{name}", kind) for name in ("Name", "Value") for kind in ("min", "max", "pattern")}
    tested |= {(f"{ATTACHMENTS}[].{name}", kind) for name in ("ContentId", "ContentType") for kind in ("min", "max")}
    tested |= {(f"{ATTACHMENTS}[].FileName", "max")}
    # Not of the caller's making: two constants, which `whole` shows, and a setting, which is refused when it is empty.
    ours = {(f"{ATTACHMENTS}[].{name}", "enum") for name in ("ContentDisposition", "ContentTransferEncoding")}
    ours |= {(f"ConfigurationOverrides.Tracking.{what}TrackingEnabled", "enum") for what in ("Open", "Click")}
    ours |= {("TenantName", "min")}
    assert model.bounds_of(model.parameters(whole.body)) == tested | ours


def test_as_many_headers_as_the_model_allows_and_no_more(stack, stubs, recorder):
    callers = model.bound(HEADERS, "max") - OWN_HEADERS - TEMPLATE_HEADERS

    def request(count):
        headers = [stubs.message.Header(name=f"X-{number}", value="x") for number in range(count)]
        return stack.request("recorder", template="newsletter", headers=headers)

    taken, _ = enqueue(stack, request(callers))
    parameters = model.parameters(sent(stack, recorder, taken).body)
    on = {"OpenTrackingEnabled": "ENABLED", "ClickTrackingEnabled": "ENABLED"}
    assert parameters["ConfigurationOverrides"] == {"Tracking": on}, "the template tracks"
    assert len(parameters["Content"]["Simple"]["Headers"]) == model.bound(HEADERS, "max")
    assert model.violations(parameters) == []
    assert refusal(stack, request(callers + 1)) == ["headers"]


@pytest.mark.parametrize("path", TEXTS)
def test_a_text_may_be_as_long_as_the_model_allows_and_no_longer(stack, stubs, recorder, path):
    field, fields = TEXTS[path]
    longest = model.bound(path, "max")
    taken, refused = enqueue(stack, stack.request("recorder", **fields(stubs.message, TIGHTER.get(path, longest))))
    assert refused == []
    assert model.violations(model.parameters(sent(stack, recorder, taken).body)) == []
    assert refusal(stack, stack.request("recorder", **fields(stubs.message, longest + 1))) == [field]


@pytest.mark.parametrize("path", [path for path in TEXTS if not path.endswith("ContentId")])
def test_a_text_is_never_empty(stack, stubs, path):
    field, fields = TEXTS[path]
    assert refusal(stack, stack.request("recorder", **fields(stubs.message, 0))) == [field]


def test_an_empty_content_id_is_none(stack, stubs, recorder):
    """The model wants one character at least, so nothing must be sent of it."""
    taken, _ = enqueue(stack, stack.request("recorder", **_attachment(stubs.message, content_id="")))
    (part,) = model.parameters(sent(stack, recorder, taken).body)["Content"]["Simple"]["Attachments"]
    assert "ContentId" not in part


def test_header_names_have_the_characters_of_the_model(stack, stubs):
    for character in map(chr, range(1, 256)):
        name = f"X{character}"
        expected = [] if model.KEEPS["pattern"](name, model.bound(f"{HEADERS}[].Name", "pattern")) else ["headers[0].name"]
        assert refusal(stack, stack.request("recorder", **_header(stubs.message, name=name))) == expected, ascii(name)


def test_header_values_are_refused_or_sent_in_the_characters_of_the_model(stack, stubs, recorder):
    taken = []
    for character in map(chr, range(1, 256)):
        message_id, refused = enqueue(stack, stack.request("recorder", **_header(stubs.message, value=f"v{character}")))
        control = ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0
        assert refused == (["headers[0].value"] if control else []), ascii(character)
        taken += [message_id] if message_id else []
    assert taken
    for message_id in taken:
        assert model.violations(model.parameters(sent(stack, recorder, message_id).body)) == []
