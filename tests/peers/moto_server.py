"""moto as AWS: SES, IAM and STS, in a process of its own. botocore's client sets it up and asks it."""

import json
import sys
import urllib.request

import boto3

from process import Process
from stack import REGION


class Moto:
    def __init__(self, name, folder, environment=None):
        arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self.process = Process(name, arguments, folder, r"Running on (http://127\.0\.0\.1:\d+)", environment)
        self.url = self.process.ready.group(1)

    def client(self, service, environment=None):
        """botocore's client, with the keys of an environment, else with any."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        keys = {name.lower(): (environment or {}).get(name, "setup") for name in names}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)

    def verify(self, identity_domain):
        self.client("sesv2").create_email_identity(EmailIdentity=identity_domain)

    def demand_permissions(self, demand):
        """With it, moto checks every signature and policy from now on."""
        self._call("/moto-api/reset-auth", b"0" if demand else b"1000000000")

    def instances(self, service, model):
        """What moto keeps of one kind of thing."""
        return json.loads(self._call("/moto-api/data.json")).get(service, {}).get(model, [])

    def _call(self, path, body=None):
        # Not as a form, which is what urllib would say: moto reads the bare body.
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": "text/plain"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def stop(self):
        self.process.stop()
