"""The MIME that the look-alike makes of SES's requests, as Python's own parser reads it: the same parts, names and bytes.

SES builds the message of such a request itself; the look-alike does it with mail-builder, for the inbox page's source.
"""

import base64
import email
import email.policy
import json
import urllib.request

import pytest

from eventually import eventually
from process import Process
from stack import CALL_SECONDS, binary

BINARY = bytes(range(256)) * 40
PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
HTML = '<p>Grüße, 株式会社</p><img src="cid:logo@1"><img src="cid:b">\n'
TEXT = "Grüße, 株式会社\n.\n..\nFrom here on\n" + "long " * 400 + "\n"

# A name like `=?utf-8?b?eA==?=` is left out: mail-builder writes it within quotes, where Python and many readers decode it all the same.
NAMES = [
    "menü.pdf",
    'me"nü\'s; name="x".pdf',
    "株式会社の請求書.pdf",
    "👩‍👩‍👧.pdf",
    "100%25 done%20.pdf",
    "two  spaces .pdf",
    "filename*=utf-8''x.pdf",
    "x" * 196 + ".pdf",
    "ü" * 196 + ".pdf",
    '"' * 50 + ".pdf",
]


@pytest.fixture(scope="module")
def lookalike(folder):
    process = Process("ses-lookalike", [binary("ses-lookalike")], folder, r"ready ses=(\S+) inbox=(\S+)")
    yield process.ready.group(1)
    process.stop()


def part(name, kind="application/pdf", content=b"%PDF", content_id=None):
    return {"name": name, "kind": kind, "content": content, "content_id": content_id}


def source(lookalike, message_id):
    with urllib.request.urlopen(f"{lookalike}/mail/{message_id}/source.eml", timeout=CALL_SECONDS) as answer:
        return answer.read()


def sent(lookalike, html, text, parts):
    """The message, parsed, of a request with these bodies and attachments."""
    attachments = []
    for one in parts:
        attachment = {
            "FileName": one["name"],
            "ContentType": one["kind"],
            "ContentDisposition": "INLINE" if one["content_id"] else "ATTACHMENT",
            "ContentTransferEncoding": "BASE64",
            "RawContent": base64.b64encode(one["content"]).decode(),
        }
        if one["content_id"]:
            attachment["ContentId"] = one["content_id"]
        attachments.append(attachment)
    bodies = {"Html": html, "Text": text}
    body = {
        "FromEmailAddress": "shop@x.example",
        "Destination": {"ToAddresses": ["ada@x.example"]},
        "Content": {
            "Simple": {
                "Subject": {"Data": "Grüße", "Charset": "UTF-8"},
                "Body": {name: {"Data": data, "Charset": "UTF-8"} for name, data in bodies.items() if data},
                "Attachments": attachments,
            }
        },
    }
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=x", "Content-Type": "application/json"}
    url = f"{lookalike}/v2/email/outbound-emails"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=CALL_SECONDS) as answer:
        message_id = json.load(answer)["MessageId"]
    return parse(source(lookalike, message_id))


def parse(raw):
    assert raw.isascii(), "all is encoded"
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "RFC 5322, 2.1.1"
    message = email.message_from_bytes(raw, policy=email.policy.default)
    for one in message.walk():
        assert one.defects == [], (one.get_content_type(), one.defects)
        for name, value in one.items():
            assert value.defects == () or value.defects == [], (name, value.defects)
    return message


def shape(message):
    """The types, as a tree."""
    if message.is_multipart():
        return (message.get_content_type(), [shape(one) for one in message.iter_parts()])
    return message.get_content_type()


def read(message):
    """The parts beside the texts, as a mail reader finds them."""
    found = []
    for one in message.walk():
        if one.get_content_disposition():
            cid = one["Content-ID"]
            content = one.get_payload(decode=True)
            found.append(
                part(one.get_filename(), one.get_content_type(), content, cid.strip("<>") if cid else None)
                | {"disposition": one.get_content_disposition()}
            )
    return found


def expected(parts):
    return [one | {"disposition": "inline" if one["content_id"] else "attachment"} for one in parts]


def text_of(message, kind):
    """Lines end in mail by CR and LF, in whatever encoding (RFC 2045, 6.8)."""
    body = message.get_body((kind,))
    return body.get_content().replace("\r\n", "\n") if body else None


ONE = part("menü.pdf", content=BINARY)
LOGO = part("logo.png", "image/png", PNG, "logo@1")
B = part("b ü.gif", "image/gif", b"GIF89a", "b")
ALTERNATIVE = ("multipart/alternative", ["text/plain", "text/html"])
RELATED = ("multipart/related", [ALTERNATIVE, "image/png", "image/gif"])


@pytest.mark.parametrize(
    ("html", "text", "parts", "tree"),
    [
        (HTML, TEXT, [LOGO, ONE, B], ("multipart/mixed", [RELATED, "application/pdf"])),
        (HTML, TEXT, [LOGO, B], RELATED),
        (HTML, TEXT, [ONE], ("multipart/mixed", [ALTERNATIVE, "application/pdf"])),
        (HTML, TEXT, [], ALTERNATIVE),
        (HTML, "", [LOGO, ONE], ("multipart/mixed", [("multipart/related", ["text/html", "image/png"]), "application/pdf"])),
        (HTML, "", [LOGO], ("multipart/related", ["text/html", "image/png"])),
        (HTML, "", [], "text/html"),
        ("", TEXT, [ONE], ("multipart/mixed", ["text/plain", "application/pdf"])),
        ("", TEXT, [], "text/plain"),
    ],
)
def test_the_parts_are_where_readers_look_for_them(lookalike, html, text, parts, tree):
    message = sent(lookalike, html, text, parts)
    assert shape(message) == tree
    assert text_of(message, "html") == (html or None)
    assert text_of(message, "plain") == (text or None)
    by_name = sorted(read(message), key=lambda one: one["name"])
    assert by_name == sorted(expected(parts), key=lambda one: one["name"])
    assert message["Subject"] == "Grüße"


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_file_keeps_its_name(lookalike, name):
    parts = [part(name, content=BINARY), part(name, "image/png", PNG, "logo@1"), part(name, "text/plain", b"a\nb\r\n\xff.\n")]
    message = sent(lookalike, HTML, TEXT, parts)
    found = sorted(read(message), key=lambda one: one["kind"])
    assert found == sorted(expected(parts), key=lambda one: one["kind"])


def test_what_a_caller_hands_over_is_what_a_reader_gets(stack, stubs, lookalike):
    """All the way: Enqueue, renderer, sender, the provider's message."""
    pb = stubs.message
    stack.add_sender("mime", lookalike)
    parts = [ONE, part('b "ü".gif', "image/gif", b"GIF89a", "b")]
    attachments = [
        pb.Attachment(file_name=one["name"], content_type=one["kind"], content=one["content"], content_id=one["content_id"] or "")
        for one in parts
    ]
    message_id = stack.enqueue("mime", attachments=attachments)
    provider_id = eventually("it is sent", lambda: stack.comes_to("accepted", message_id)).provider_message_id
    message = parse(source(lookalike, provider_id))
    tree = ("multipart/mixed", [("multipart/related", [ALTERNATIVE, "image/gif"]), "application/pdf"])
    assert shape(message) == tree
    assert sorted(read(message), key=lambda one: one["kind"]) == expected(parts)
    assert text_of(message, "html") == "<p>Dear Zoë &lt;3, see you at <b>Søren &amp; Sons</b>.</p>\n"
