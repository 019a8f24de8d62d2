"""moto as the SES endpoint: what it takes, and what becomes of what it refuses.

moto is the one peer that names its refusals as AWS does, in the protocol of the API's own model, and that computes each
request's signature anew. It keeps of a message its From, recipient, subject and html.
"""

import json

import pytest
from botocore.exceptions import ClientError

from moto_server import Moto
from stack import domain

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPEERS", "AWS_SECRET_ACCESS_KEY": "secret"}
ROLE = "arn:aws:iam::123456789012:role/{}"


def refused(stack, sender, message_id, code, reason):
    """moto refused with this code, and the message rests as "not sent, and not its own fault": it waits, with a reason that a
    person can see."""
    message = stack.comes_to("deferred", message_id, reason)
    assert f'"code":"{code}"' in sender.output()
    assert (message.attempt, message.tries, message.maybe_sent) == (1, 0, False)
    assert message.due_at.ToMilliseconds() > message.changed_at.ToMilliseconds()
    lines = [line.split(maxsplit=1) for line in stack.status(message_id).splitlines()]
    assert ["state", f"deferred ({reason})"] in lines


def sent(moto, from_domain):
    return [mail for mail in moto.instances("ses", "Message") if mail["source"].endswith(f"@{from_domain}")]


def test_a_message_arrives_as_it_was_meant(stack, moto):
    stack.add_sender("moto", moto.url, KEYS)
    moto.verify(domain("moto"))
    message_id = stack.enqueue("moto")
    message = stack.comes_to("accepted", message_id)
    (mail,) = sent(moto, domain("moto"))
    assert mail["id"] == message.provider_message_id
    assert mail["source"] == "table@moto.example"
    (to,) = mail["destinations"].pop("ToAddresses")
    assert to.endswith("@guests.example") and not mail["destinations"]
    assert mail["subject"] == "Your table at Søren & Sons, Zoë <3"
    assert mail["body"] == "<p>Dear Zoë &lt;3, see you at <b>Søren &amp; Sons</b>.</p>\n"


def test_a_from_that_is_not_verified_defers_the_message(stack, moto):
    sender = stack.add_sender("unverified", moto.url, KEYS)
    refused(stack, sender, stack.enqueue("unverified"), "MessageRejected", "from_not_verified")
    assert not sent(moto, domain("unverified"))


@pytest.fixture(scope="module")
def guarded(folder):
    """A moto that checks signatures and policies, with two roles, only one of which may send."""
    moto = Moto("moto-guarded", folder)
    iam = moto.client("iam")
    for role, action in [("sends", "ses:SendEmail"), ("reads", "ses:GetAccount")]:
        statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.put_role_policy(RoleName=role, PolicyName="policy", PolicyDocument=policy)
    for identity in ("stranger", "permitted", "forbidden", "forged"):
        moto.verify(domain(identity))
    yield moto
    moto.stop()


def assumed(moto, role, **changes):
    """The environment of a sender that holds this role's credentials."""
    moto.demand_permissions(False)
    answer = moto.client("sts").assume_role(RoleArn=ROLE.format(role), RoleSessionName="peers")["Credentials"]
    moto.demand_permissions(True)
    keys = {
        "AWS_ACCESS_KEY_ID": answer["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": answer["SecretAccessKey"],
        "AWS_SESSION_TOKEN": answer["SessionToken"],
    }
    return keys | changes


def test_a_signature_is_the_one_that_botocore_computes(stack, guarded):
    stack.add_sender("permitted", guarded.url, assumed(guarded, "sends"))
    message_id = stack.enqueue("permitted")
    stack.comes_to("accepted", message_id)
    assert len(sent(guarded, domain("permitted"))) == 1


@pytest.mark.parametrize(
    ("identity", "role", "changes", "code"),
    [
        ("forbidden", "reads", {}, "AccessDenied"),
        ("stranger", "sends", {"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "InvalidClientTokenId"),
        ("forged", "sends", {"AWS_SECRET_ACCESS_KEY": "another"}, "SignatureDoesNotMatch"),
    ],
)
def test_credentials_that_are_refused_defer_the_message(stack, guarded, identity, role, changes, code):
    keys = assumed(guarded, role, **changes)
    # The same keys in botocore's hands show that moto refuses them for what this case says.
    with pytest.raises(ClientError) as refusal:
        guarded.client("iam", keys).list_users()
    assert refusal.value.response["Error"]["Code"] == code

    sender = stack.add_sender(identity, guarded.url, keys)
    # A difference of moto: these refusals come in XML whatever the API speaks (AWS answers in the API's own JSON), so that
    # their code can't be read. The status, 403, says enough.
    refused(stack, sender, stack.enqueue(identity), "", "credentials_refused")
    assert not sent(guarded, domain(identity))
