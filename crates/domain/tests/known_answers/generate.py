#!/usr/bin/env python3
"""Computes message ids a second time, by other means, so that Rust and this script must agree on the rules.

Nothing here is shared with the crate: canonical JSON (RFC 8785) is written by hand, numbers after ECMAScript's
Number::toString from Python's shortest digits, punycode by Python's own codec, hashes by hashlib. The rules are those in
the documentation of `paceline_domain::identity`.

    generate.py                  prints the vectors
    generate.py --check FILE     fails if FILE holds other vectors
"""

import hashlib
import hmac
import json
import sys
import unicodedata
from decimal import Decimal

SCHEME = 1
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
VOLATILE = {"event_id", "request_id", "sent_at", "timestamp", "trace_id"}
DIGEST_BYTES = 8
DIGESTED_FIELDS_MAX = 64
NAME_BYTES_MAX = 64


# Canonical JSON.


def number(value):
    """ECMAScript's Number::toString(10) of a double."""
    value = float(value)
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    exponent += len(text) - len(stripped)
    text, k = stripped, len(stripped)
    n = k + exponent
    if k <= n <= 21:
        body = text + "0" * (n - k)
    elif 0 < n <= 21:
        body = text[:n] + "." + text[n:]
    elif -6 < n <= 0:
        body = "0." + "0" * -n + text
    else:
        mantissa = text[0] + ("." + text[1:] if k > 1 else "")
        body = f"{mantissa}e{n - 1:+d}"
    return ("-" if sign else "") + body


def string(text):
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    out = []
    for character in nfc(text):
        if character in short:
            out.append(short[character])
        elif character < " ":
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'


def canonical(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    items = sorted(((nfc(name), inner) for name, inner in value.items()), key=lambda item: item[0].encode("utf-16-be"))
    return "{" + ",".join(f"{string(name)}:{canonical(inner)}" for name, inner in items) + "}"


def nfc(text):
    return unicodedata.normalize("NFC", text)


# Ids.


def mailbox(pair):
    if pair is None:
        return None
    address, name = pair
    local, _, domain = address.rpartition("@")
    domain = domain.lower().encode("idna").decode("ascii")
    return {"address": f"{local}@{domain}", "name": name.strip() or None}


def counts(name, fields):
    name = nfc(name)
    if fields["allow"] is not None:
        return name in map(nfc, fields["allow"])
    return not (name.startswith("utm_") or name in VOLATILE or name in map(nfc, fields["volatile"]))


def counting(request):
    data = json.loads(request["data"])
    return {name: value for name, value in data.items() if counts(name, request["fields"])}


def headers(request):
    return sorted(([name.lower(), value] for name, value in request["headers"]), key=lambda pair: pair[0])


def envelope(request):
    return canonical(
        {
            "scheme": SCHEME,
            "of": "content",
            "tenant": request["tenant"],
            "user_id": request["user_id"],
            "template": request["template"],
            "recipient": mailbox(request["recipient"]),
            "from": mailbox(request["from"]),
            "reply_to": mailbox(request["reply_to"]),
            "headers": headers(request),
            "attachments": request["attachments"],
            "data": counting(request),
        }
    )


def keyed_envelope(request):
    return canonical(
        {
            "scheme": SCHEME,
            "of": "key",
            "tenant": request["tenant"],
            "user_id": request["user_id"],
            "key": request["key"],
        }
    )


def message_id(request, hashed):
    place = canonical([request["tenant"], request["user_id"]])
    raw = hashlib.sha256(place.encode()).digest()[:2] + hashlib.sha256(hashed.encode()).digest()[:14]
    bits = int.from_bytes(raw, "big") << 2
    return "".join(BASE32[bits >> shift & 31] for shift in range(125, -1, -5))


# Digests under an idempotency key.


def digests(request, secret):
    derivation = {"scheme": SCHEME, "of": "digests", "tenant": request["tenant"], "user_id": request["user_id"]}
    key = hmac.digest(secret, canonical(derivation).encode(), "sha256")

    def digest(*value):
        return hmac.digest(key, canonical(value).encode(), "sha256")[:DIGEST_BYTES]

    packed = bytes([SCHEME])
    packed += digest("template", request["template"])
    packed += digest("recipient", mailbox(request["recipient"]))
    packed += digest("from", mailbox(request["from"]))
    packed += digest("reply_to", mailbox(request["reply_to"]))
    packed += digest("headers", headers(request))
    packed += digest("attachments", request["attachments"])
    own, rest = [], {}
    for name, value in sorted(((nfc(name), value) for name, value in counting(request).items())):
        if len(own) < DIGESTED_FIELDS_MAX and len(name.encode()) <= NAME_BYTES_MAX:
            own.append(bytes([len(name.encode())]) + name.encode() + digest("data", name, value))
        else:
            rest[name] = value
    packed += bytes([len(own)]) + b"".join(own)
    return packed + (digest("data", rest) if rest else b"")


# Vectors.


def request(**changes):
    base = {
        "tenant": "shop",
        "user_id": "42",
        "template": "receipt",
        "recipient": ["ada@example.com", "Ada Lovelace"],
        "from": None,
        "reply_to": None,
        "headers": [],
        "attachments": [],
        "fields": {"allow": None, "volatile": []},
        "data": '{"total":12.5}',
    }
    return base | changes


def attachment(content, file_name="invoice.pdf", content_type="application/pdf", content_id=""):
    return {
        "file_name": file_name,
        "content_type": content_type,
        "content_id": content_id,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def numbers(*forms):
    return '{"n":[' + ",".join(forms) + "]}"


def data_requests():
    """Name and payload of those vectors that differ in the payload alone."""
    yield "empty payload", "{}"
    yield "plain payload", '{"name":"Ada","paid":true,"note":null,"items":[{"sku":"A-1","count":2}]}'
    yield "other order and white space", ' {"items" : [ {"count":2,"sku":"A-1"} ],\n"note":null,"paid":true,"name":"Ada"}\t'
    yield "whole numbers in all forms", numbers("1", "1.0", "1e0", "10e-1", "0.1E+1", "100e-2", "-1", "-1.0e0")
    yield "zeros", numbers("0", "-0", "0.0", "-0.0", "0e10", "1e-400")
    yield "the largest integers", numbers("9007199254740991", "-9007199254740991", "9007199254740991.0", "9.007199254740991e15")
    yield "fractions", numbers("0.1", "12.5", "-3.25", "1.005", "0.30000000000000004", "333333333.33333329")
    yield "small fractions", numbers("0.000001", "0.0000001", "1e-6", "1.5e-7", "1e-27", "5e-324", "2.2250738585072014e-308")
    yield "fractions near 2^53", numbers("4503599627370495.5", "2251799813685247.75", "9007199254740990.6")
    yield "shortest digits", numbers("0.1000000000000000055511151231257827", "1.7976931348623157e-300", "9.5e-5", "123456.789e-3")
    yield "escapes", r'{"s":"\"\\\/\b\f\n\r\t\u0000\u001f\u007f\u0080\u2028\u2029"}'
    yield "escaped and plain characters", r'{"s":"\u0041\u00e9\u20ac\ud83d\ude00 Aé€😀"}'
    yield "escaped names", r'{"\u0061\"\\\n":1,"b\/":2}'
    # RFC 8785, 3.2.3: by UTF-16 the emoji (surrogates from D83D) comes before U+FB33, by code point after it.
    yield "names in the order of UTF-16", r'{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}'
    yield "names that begin alike", '{"ab":1,"a":2,"aa":3,"A":4,"":5,"a b":6}'
    yield "names within names", '{"b":{"z":1,"y":{"d":[],"c":{}}},"a":[[],[{}]]}'
    yield "composed text", '{"caf\u00e9":"\u00c5ngstr\u00f6m","s":"\ud55c\uae00"}'
    yield "decomposed text", '{"cafe\u0301":"A\u030angstro\u0308m","s":"\u1112\u1161\u11ab\u1100\u1173\u11af"}'
    yield "singletons and order of marks", '{"\u212a":"\u2126\u212b","s":"q\u0307\u0323","t":"q\u0323\u0307"}'
    # In NFD the name would come first: `e` before `f`; in NFC after: U+00E9.
    yield "order by the normal form", '{"e\u0301":1,"f":2}'
    yield "text that looks alike", '{"s":"1","n":1,"b":"true","z":"null"}'
    yield "built-in volatile fields", '{"total":12.5,"utm_source":"x","event_id":1,"trace_id":"t","request_id":2,"timestamp":3,"sent_at":4}'
    yield "volatile names further down count", '{"order":{"timestamp":3,"utm_source":"x"}}'


def content_requests():
    for name, data in data_requests():
        yield name, request(data=data)
    yield "base", request()
    yield "another tenant", request(tenant="shop-b")
    yield "tenant and user id moved", request(tenant="shop4", user_id="2")
    yield "user id with quotes", request(user_id='4","2')
    yield "user id decomposed", request(user_id="Zoe\u0308")
    yield "another template", request(template="welcome")
    yield "recipient without a name", request(recipient=["ada@example.com", " "])
    yield "recipient's domain in capitals", request(recipient=["ada@EXAMPLE.Com", "Ada Lovelace"])
    yield "recipient's local part in capitals", request(recipient=["Ada@example.com", "Ada Lovelace"])
    yield "international domain", request(recipient=["ada@B\u00fccher.example", "Ada Lovelace"])
    yield "international domain decomposed", request(recipient=["ada@bu\u0308cher.example", "Ada Lovelace"])
    yield "domain in Japanese", request(recipient=["ada@\u4f8b\u3048.jp", "\u30a8\u30a4\u30c0"])
    yield "from and reply-to", request(**{"from": ["news@shop.example", "Shop"], "reply_to": ["help@shop.example", ""]})
    yield "from and reply-to swapped", request(**{"from": ["help@shop.example", ""], "reply_to": ["news@shop.example", "Shop"]})
    yield "headers", request(headers=[["X-Campaign", "spring"], ["List-Id", "<a.example>"]])
    yield "headers in another order and case", request(headers=[["list-id", "<a.example>"], ["X-CAMPAIGN", "spring"]])
    yield "equal headers in the order given", request(headers=[["X-B", "2"], ["x-b", "1"], ["x-a", "3"]])
    yield "attachment", request(attachments=[attachment(b"%PDF")])
    yield "attachment with other content", request(attachments=[attachment(b"%PDF-")])
    yield "two attachments", request(attachments=[attachment(b"a"), attachment(b"b", "logo.png", "image/png", "logo")])
    allow = {"allow": ["order", "caf\u00e9", "timestamp"], "volatile": []}
    yield "allow-list", request(fields=allow, data='{"order":1,"cafe\u0301":2,"timestamp":3,"total":4}')
    volatile = {"allow": None, "volatile": ["nonce", "cafe\u0301"]}
    yield "volatile by the template", request(fields=volatile, data='{"nonce":1,"caf\u00e9":2,"timestamp":3,"total":4}')


def key_requests():
    for name, tenant, user_id, key in [
        ("key", "shop", "42", "order-7"),
        ("key moved into the user id", "shop", "42order", "-7"),
        ("key with escapes", "shop", "42", '"\\\n\u0001'),
        ("key composed", "shop", "42", "caf\u00e9"),
        ("key decomposed", "shop", "42", "cafe\u0301"),
        ("key of another tenant", "shop-b", "42", "order-7"),
    ]:
        yield name, {"tenant": tenant, "user_id": user_id, "key": key}


def digest_requests():
    yield "digests", request(
        **{"from": ["news@shop.example", "Shop"]},
        headers=[["X-Campaign", "spring"]],
        attachments=[attachment(b"%PDF")],
        data='{"total":12.5,"caf\u00e9":"cafe\u0301","timestamp":3}',
    )
    yield "digests of many fields", request(data=json.dumps({f"f{i}": i for i in range(70)} | {"long" * 17: 1}))
    yield "digests without fields", request(data="{}")


def vectors():
    content = [
        {"name": name, "request": asked, "envelope": envelope(asked), "id": message_id(asked, envelope(asked))}
        for name, asked in content_requests()
    ]
    keyed = [
        {"name": name, "request": asked, "id": message_id(asked, keyed_envelope(asked))} for name, asked in key_requests()
    ]
    secret = b"a secret of the deployment"
    compared = [
        {"name": name, "request": asked, "secret": secret.decode(), "digests": digests(asked, secret).hex()}
        for name, asked in digest_requests()
    ]
    return {"content": content, "keyed": keyed, "digests": compared}


def main(arguments):
    text = json.dumps(vectors(), indent=1) + "\n"
    if not arguments:
        sys.stdout.write(text)
        return 0
    if len(arguments) != 2 or arguments[0] != "--check":
        sys.stderr.write(__doc__)
        return 2
    with open(arguments[1], encoding="utf-8") as file:
        if file.read() == text:
            return 0
    sys.stderr.write(f"{arguments[1]} differs from what this script computes\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
