"""What goes to Mailgun, read by parsers that others wrote: werkzeug's, which Flask's users trust, and Python's own for MIME.

The identities' mail is routed to the backup by hand, so that SES has no part in it. Mailgun has no mailbox simulator: where nothing
may be delivered it is told so with each message, and mail to anybody else than SES's simulator ends before it is written.
"""

import subprocess
from base64 import b64encode

import pytest

from eventually import eventually
from recorder import MailgunRecorder, email_parts, werkzeug_form
from stack import CALL_SECONDS, binary

LIVE, SIMULATED = "backup-live", "backup-simulated"
SIMULATOR = "simulator.amazonses.com"
KEY = "key-of-a-peer"
BINARY = bytes(range(256))


@pytest.fixture(scope="module")
def mailguns(stack, folder):
    """What Mailgun gets of each of the two identities."""
    key = folder / "mailgun.key"
    key.write_text(KEY)
    recorders = {LIVE: MailgunRecorder(), SIMULATED: MailgunRecorder()}
    for identity, deliver in ((LIVE, "live"), (SIMULATED, "simulator")):
        by = ["--for", "1h", "--why", "a test", "--who", "peers"]
        command = [binary("paceline"), "throttle", "--coordinator", f"http://{stack.coordinator}", "route", identity, "backup"]
        subprocess.run([*command, *by], check=True, capture_output=True, timeout=CALL_SECONDS)
        mailgun = f'[mailgun]\nendpoint_url = "{recorders[identity].url}"\nkey_file = "{key}"\n'
        # Nobody listens there: what were to go by SES would wait.
        stack.add_sender(identity, "http://127.0.0.1:9", deliver=deliver, tail=mailgun)
    yield recorders
    for recorder in recorders.values():
        recorder.stop()


def request_of(mailguns, identity, message_id):
    return eventually("the message is sent", lambda: mailguns[identity].of(message_id))


@pytest.fixture(scope="module")
def whole(stack, stubs, mailguns):
    """The id of a message that has everything, and its request."""
    pb = stubs.message
    message_id = stack.enqueue(
        LIVE,
        recipient=pb.Mailbox(display_name="Łódź, Ada"),
        reply_to=pb.Mailbox(address="help@bücher.example"),
        headers=[pb.Header(name="X-Order", value="Größe 7")],
        tags=[pb.Tag(name="campaign", value="spring-26")],
        attachments=[
            pb.Attachment(file_name='me"nü.pdf', content_type="application/pdf", content=BINARY),
            pb.Attachment(file_name="logo.png", content_type="image/png", content=b"\x89PNG\r\n", content_id="logo"),
        ],
        **{"from": pb.Mailbox(display_name="Chez Zoë")},
    )
    request = request_of(mailguns, LIVE, message_id)
    stack.comes_to("accepted", message_id)
    return message_id, request


def test_the_form_is_what_another_s_parser_makes_a_message_of(stack, whole):
    message_id, request = whole
    assert (request.method, request.path) == ("POST", "/v3/mg.backup-live.example/messages")
    assert request.headers["Authorization"] == f"Basic {b64encode(f'api:{KEY}'.encode()).decode()}"
    fields, files = werkzeug_form(request)
    message = stack.message(message_id)
    ours = {
        "v:paceline_id": message_id,
        "v:paceline_accepted": str(message.accepted_at.ToMilliseconds()),
        "v:paceline_attempt": "1",
        "v:paceline_template": "reservation",
        "v:paceline_tenant": "demo",
        "v:campaign": "spring-26",
    }
    assert {name: value for name, value in fields.items() if name.startswith("v:")} == ours
    for name in ("Id", "Accepted", "Attempt"):
        assert fields[f"h:X-Paceline-{name}"] == ours[f"v:paceline_{name.lower()}"]
    assert fields["h:Reply-To"].strip("<>") == "help@xn--bcher-kva.example"
    assert fields["h:X-Order"].startswith("=?utf-8?b?")
    assert fields["subject"] == "Your table at Søren & Sons, Zoë <3"
    assert fields["html"] == "<p>Dear Zoë &lt;3, see you at <b>Søren &amp; Sons</b>.</p>\n"
    assert fields["text"] == "Dear Zoë <3, see you at Søren & Sons.\n"
    assert fields.getlist("o:tag") == ["reservation", "campaign:spring-26"]
    assert fields["o:tracking"] == "no"
    assert "o:testmode" not in fields, "live mail is delivered"

    assert sorted(files) == ["attachment", "inline"]
    attachment, inline = files["attachment"], files["inline"]
    # Quotes are escaped as browsers do it, which werkzeug knows.
    assert attachment.filename == 'me"nü.pdf'
    assert (attachment.content_type, attachment.read()) == ("application/pdf", BINARY)
    assert (inline.filename, inline.content_type, inline.read()) == ("logo", "image/png", b"\x89PNG\r\n")


def test_a_parser_of_mime_sees_the_same_parts(whole):
    _, request = whole
    fields, files = werkzeug_form(request)
    parts = email_parts(request)
    texts = [(params["name"], content.decode()) for params, _, content in parts if "filename" not in params]
    assert texts == list(fields.items(multi=True))
    contents = {params["name"]: (kind, content) for params, kind, content in parts if "filename" in params}
    expected = {"attachment": ("application/pdf", BINARY), "inline": ("image/png", b"\x89PNG\r\n")}
    assert contents == expected and set(files) == set(expected)


def test_a_boundary_in_the_content_adds_no_field(stack, stubs, mailguns, whole):
    """Whoever knows an earlier boundary can't use it."""
    _, earlier = whole
    boundary = earlier.headers["Content-Type"].split("boundary=")[1]
    forged = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="bcc"\r\n\r\neve@example.com\r\n--{boundary}--\r\n'.encode()
    attachment = stubs.message.Attachment(file_name="a.txt", content_type="text/plain", content=forged)
    message_id = stack.enqueue(LIVE, attachments=[attachment])
    fields, files = werkzeug_form(request_of(mailguns, LIVE, message_id))
    assert "bcc" not in fields
    assert files["attachment"].read() == forged


def test_without_a_word_for_live_mail_mailgun_is_told_to_deliver_nothing(stack, stubs, mailguns):
    real = stack.enqueue(SIMULATED)
    to_simulator = stack.enqueue(SIMULATED, recipient=stubs.message.Mailbox(address=f"success@{SIMULATOR}"))
    fields, _ = werkzeug_form(request_of(mailguns, SIMULATED, to_simulator))
    assert fields["o:testmode"] == "yes"
    assert fields["to"].strip("<>") == f"success@{SIMULATOR}"
    stack.comes_to("accepted", to_simulator)

    stack.comes_to("suppressed", real, "not_allowed_here")
    assert mailguns[SIMULATED].of(real) is None
    everything = [werkzeug_form(request)[0] for request in mailguns[SIMULATED].requests]
    assert all(form["o:testmode"] == "yes" and form["to"].strip("<>").endswith(f"@{SIMULATOR}") for form in everything)
