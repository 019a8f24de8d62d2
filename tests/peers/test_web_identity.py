"""Credentials by web identity, as on EKS: a token in a file, a role, and moto's STS, which gives keys for both."""

import re

ROLE = "arn:aws:iam::123456789012:role/paceline"


def test_requests_are_signed_with_the_keys_that_sts_gave(stack, recorder, moto, tmp_path):
    token = tmp_path / "token"
    token.write_text("eyJhbGciOiJub25lIn0.eyJzdWIiOiJwYWNlbGluZSJ9.")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": ROLE,
        "AWS_ROLE_SESSION_NAME": "sender",
        "AWS_ENDPOINT_URL_STS": moto.url,
        "AWS_REGION": "eu-west-1",
    }
    stack.add_sender("web", recorder.url, environment)
    message_id = stack.enqueue("web")
    stack.comes_to("accepted", message_id)

    (role,) = [role for role in moto.instances("sts", "AssumedRole") if role["role_arn"] == ROLE]
    assert role["session_name"] == "sender"
    headers = recorder.of(message_id).headers
    key, region, service = re.match(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request", headers["Authorization"]
    ).groups()
    assert (key, region, service) == (role["access_key_id"], "eu-west-1", "ses")
    assert headers["X-Amz-Security-Token"] == role["session_token"]
