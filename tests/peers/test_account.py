"""GetAccount: what the coordinator makes of others' answers, and what botocore's client reads of our look-alike's."""

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from eventually import eventually
from process import Process
from stack import CALL_SECONDS, REGION, binary, identity_settings, redis_server, service

MAX_SEND_RATE = 37
SENT = 1_234
CONFIGURED_RATE = 5

# The whole of GetAccount, as aws-ses-v2-local wants it.
ACCOUNT = {
    "DedicatedIpAutoWarmupEnabled": True,
    "EnforcementStatus": "HEALTHY",
    "ProductionAccessEnabled": True,
    "SendQuota": {"Max24HourSend": 50_000, "MaxSendRate": MAX_SEND_RATE, "SentLast24Hours": SENT},
    "SendingEnabled": True,
    "SuppressionAttributes": {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
    "Details": {
        "MailType": "TRANSACTIONAL",
        "WebsiteURL": "https://example.com",
        "ContactLanguage": "EN",
        "UseCaseDescription": "reservations",
        "AdditionalContactEmailAddresses": ["ops@example.com"],
        "ReviewDetails": {"Status": "GRANTED", "CaseId": "1"},
    },
    "VdmAttributes": {
        "VdmEnabled": "DISABLED",
        "DashboardAttributes": {"EngagementMetrics": "DISABLED"},
        "GuardianAttributes": {"OptimizedSharedDelivery": "DISABLED"},
    },
}


def ses_v2_local(name, folder, account):
    """aws-ses-v2-local with an account, and its URL."""
    cli = Path(os.environ["PEERS_NODE"]) / "node_modules/aws-ses-v2-local/dist/cli.js"
    arguments = [shutil.which("node"), cli, "--host", "127.0.0.1", "--port", "0"]
    environment = {"AWS_SES_ACCOUNT": json.dumps(account)}
    process = Process(name, arguments, folder, r"running at http://localhost:(\d+)", environment)
    return process, f"http://127.0.0.1:{process.ready.group(1)}"


class Coordinator:
    """A coordinator that looks at the account at `endpoint`, with a Redis of its own."""

    def __init__(self, name, folder, endpoint):
        self.redis, url = redis_server(f"redis-{name}", folder)
        tail = f'[ses]\nendpoint_url = "{endpoint}"\ncredentials = "look_alike"\n'
        tail += f'[[account]]\nregion = "{REGION}"\nlook_every = "5s"\nmax_send_rate = {CONFIGURED_RATE}.0\n{identity_settings("web")}'
        self.process, self.ready = service("throttle-coordinator", folder, url, tail=tail, known_as=f"coordinator-{name}")

    def _get(self, path):
        with urllib.request.urlopen(f"http://{self.ready['admin']}{path}", timeout=CALL_SECONDS) as answer:
            return answer.read().decode()

    def health(self):
        return self._get("/readyz")

    def account(self, name):
        """A gauge of the account, or None while it is not there."""
        lines = [line for line in self._get("/metrics").splitlines() if line.startswith(f"throttle_account_{name}{{")]
        assert all(f'account="ses/{REGION}"' in line for line in lines), lines
        return float(lines[0].rsplit(" ", 1)[1]) if lines else None

    def looked(self, outcome):
        """Waits until a look had this outcome."""
        counter = "throttle_account_looks"

        def look():
            lines = [line for line in self._get("/metrics").splitlines() if line.startswith(counter)]
            assert any(f'outcome="{outcome}"' in line for line in lines), lines
            return True

        eventually(f"a look says {outcome}", look)

    def stop(self):
        self.process.stop()
        self.redis.stop()


@pytest.fixture
def coordinator(folder):
    """Starts a coordinator before an endpoint."""
    started = []

    def start(name, endpoint):
        started.append(Coordinator(name, folder, endpoint))
        return started[-1]

    yield start
    for it in started:
        it.stop()


def test_the_limits_are_those_that_another_s_account_states(folder, coordinator):
    peer, url = ses_v2_local("account-healthy", folder, ACCOUNT)
    it = coordinator("healthy", url)
    it.looked("ok")
    eventually("the rate is the account's", lambda: it.account("max_send_rate") == MAX_SEND_RATE)
    assert (it.account("known"), it.account("paused")) == (1, 0)
    assert it.health() == "ready\n"
    peer.stop()


@pytest.mark.parametrize(
    ("name", "change"),
    [("disabled", {"SendingEnabled": False}), ("shut", {"EnforcementStatus": "SHUTDOWN"})],
)
def test_an_account_that_may_not_send_is_paused(folder, coordinator, name, change):
    peer, url = ses_v2_local(f"account-{name}", folder, ACCOUNT | change)
    it = coordinator(name, url)
    it.looked("ok")
    eventually("the account is paused", lambda: it.account("paused") == 1)
    peer.stop()


def test_where_the_call_is_not_there_the_configured_limits_hold_and_health_says_so(moto, coordinator):
    with pytest.raises(ClientError) as refusal:
        moto.client("sesv2").get_account()
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404

    it = coordinator("moto", moto.url)
    it.looked("not_found")
    assert it.health() == f"ready\nnote: the account in {REGION} can't be looked at (not_found)\n"
    assert (it.account("known"), it.account("paused")) == (0, 0)


def test_botocore_s_client_reads_the_look_alike_s_account(folder):
    arguments = [binary("ses-lookalike"), "--rate", MAX_SEND_RATE, "--daily-max", "200"]
    look_alike = Process("look-alike", arguments, folder, r"ready ses=(\S+)")
    url = look_alike.ready.group(1)
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    account = boto3.client("sesv2", endpoint_url=url, region_name=REGION, **keys).get_account()
    del account["ResponseMetadata"]
    assert account == {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": True,
        "SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": float(MAX_SEND_RATE), "SentLast24Hours": 0.0},
        "SendingEnabled": True,
    }

    # In botocore's hands a paused account is what it is to us.
    wanted = json.dumps({"sending_enabled": False, "enforcement_status": "SHUTDOWN", "sent_last_24_hours": 7}).encode()
    control = urllib.request.Request(f"{url}/account", data=wanted, method="PUT", headers={"Content-Type": "application/json"})
    urllib.request.urlopen(control, timeout=CALL_SECONDS).close()
    account = boto3.client("sesv2", endpoint_url=url, region_name=REGION, **keys).get_account()
    assert (account["SendingEnabled"], account["EnforcementStatus"]) == (False, "SHUTDOWN")
    assert account["SendQuota"]["SentLast24Hours"] == 7.0
    look_alike.stop()
