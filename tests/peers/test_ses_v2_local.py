"""aws-ses-v2-local, a look-alike by others that checks each request against a schema of its own, as the SES endpoint."""

import base64
import json
import os
import shutil
import urllib.request
from email.header import decode_header, make_header
from email.utils import parseaddr
from pathlib import Path

import pytest

from eventually import eventually
from process import Process


@pytest.fixture(scope="module")
def store(stack, folder):
    """A function that returns the emails which arrived."""
    cli = Path(os.environ["PEERS_NODE"]) / "node_modules/aws-ses-v2-local/dist/cli.js"
    arguments = [shutil.which("node"), cli, "--host", "127.0.0.1", "--port", "0"]
    process = Process("aws-ses-v2-local", arguments, folder, r"running at http://localhost:(\d+)")
    url = f"http://127.0.0.1:{process.ready.group(1)}"
    stack.add_sender("ses-v2-local", url)

    def emails():
        with urllib.request.urlopen(f"{url}/store", timeout=10) as answer:
            return json.load(answer)["emails"]

    yield emails
    process.stop()


def decoded(mailbox):
    name, address = parseaddr(mailbox)
    return str(make_header(decode_header(name))), address


def arrived(store, stack, message_id):
    def look():
        return [mail for mail in store() if {"name": "X-Paceline-Id", "value": message_id} in mail["headers"]]

    mails = eventually("the email arrives", look)
    message = stack.comes_to("accepted", message_id)
    assert [mail["messageId"] for mail in mails] == [message.provider_message_id]
    return mails[0]


def test_a_message_arrives_as_it_was_meant(stack, stubs, store):
    message = stubs.message
    sent = stack.enqueue(
        "ses-v2-local",
        recipient=message.Mailbox(display_name="Ada, Countess of Łódź"),
        reply_to=message.Mailbox(address="help@bücher.example", display_name='"Help" desk'),
        headers=[message.Header(name="X-Order", value="Größe 7")],
        attachments=[
            message.Attachment(file_name="menü.pdf", content_type="application/pdf", content=b"%PDF\x00\xff"),
            message.Attachment(file_name="logo.png", content_type="image/png", content=b"\x89PNG", content_id="logo"),
        ],
        **{"from": message.Mailbox(display_name="Chez Zoë")},
    )
    mail = arrived(store, stack, sent)
    assert decoded(mail["from"]) == ("Chez Zoë", "table@ses-v2-local.example")
    (to,) = mail["destination"]["to"]
    name, address = decoded(to)
    assert name == "Ada, Countess of Łódź" and address.endswith("@guests.example")
    assert (mail["destination"]["cc"], mail["destination"]["bcc"]) == ([], [])
    assert [decoded(reply_to) for reply_to in mail["replyTo"]] == [('"Help" desk', "help@xn--bcher-kva.example")]
    assert mail["subject"] == "Your table at Søren & Sons, Zoë <3"
    assert mail["body"]["html"] == "<p>Dear Zoë &lt;3, see you at <b>Søren &amp; Sons</b>.</p>\n"
    assert mail["body"]["text"] == "Dear Zoë <3, see you at Søren & Sons.\n"

    headers = {header["name"]: header["value"] for header in mail["headers"]}
    assert str(make_header(decode_header(headers["X-Order"]))) == "Größe 7"
    assert headers["X-Paceline-Attempt"] == "1"
    parts = {part["filename"]: part for part in mail["attachments"]}
    assert base64.b64decode(parts["menü.pdf"]["content"]) == b"%PDF\x00\xff"
    assert parts["menü.pdf"]["contentType"] == "application/pdf"
    assert parts["menü.pdf"]["contentDisposition"] == "ATTACHMENT"
    assert parts["logo.png"]["contentDisposition"] == "INLINE"
    assert parts["logo.png"]["contentId"] == "logo"


def test_a_hundred_messages_arrive_once_each(stack, stubs, store):
    batch = stubs.ingest.EnqueueBatchRequest(requests=[stack.request("ses-v2-local") for _ in range(100)])
    results = stack.enqueuing.EnqueueBatch(batch, timeout=10).results
    sent = sorted(result.response.message_id for result in results)

    def look():
        headers = [header for mail in store() for header in mail["headers"]]
        ids = [header["value"] for header in headers if header["name"] == "X-Paceline-Id"]
        return sorted(message_id for message_id in ids if message_id in sent)

    def all_are_there():
        count = len(look())
        assert count >= len(sent), f"{count} emails"
        return True

    eventually("all arrive", all_are_there)
    for message_id in sent:
        stack.comes_to("accepted", message_id)
    assert look() == sent
