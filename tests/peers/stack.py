"""Paceline as separate processes: one Redis, ingest, renderer and coordinator for all tests, and a sender for each peer.

Each peer is a sending identity with a domain of its own, and a message's From chooses among them: a sender takes no mail of
identities that it does not know.
"""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

import grpc

from eventually import eventually
from process import Process

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TENANT = "demo"
REGION = "eu-west-1"
CALL_SECONDS = 10

# Every identity that the tests use: ingest must know them all.
IDENTITIES = ("clients", "recorder", "ses-v2-local", "moto", "unverified", "stranger", "web", "permitted", "forbidden", "forged", "doubtful", "mime")
# Of these, Mailgun is the backup.
BACKED_UP = ("backup-live", "backup-simulated")


def domain(identity):
    return "example.com" if identity == "clients" else f"{identity}.example"


def identity_settings(name):
    backup = f'[identity.mailgun]\ndomain = "mg.{domain(name)}"\n' if name in BACKED_UP else ""
    return f"""
[[identity]]
name = "{name}"
from_domains = ["{domain(name)}"]
tenants = ["*"]
[identity.ses]
region = "{REGION}"
configuration_set = "events"
tenant_name = "acme"
{backup}"""


def binary(name):
    path = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / name
    assert path.is_file(), f"no {path}: `make build` makes it"
    return path


def redis_server(name, folder):
    """A Redis of its own, and its URL."""
    assert shutil.which("redis-server"), "no redis-server: `make setup` installs it"
    path = folder / f"{name}.sock"
    data = folder / f"{name}.data"
    data.mkdir()
    arguments = ["redis-server", "--port", "0", "--unixsocket", path, "--appendonly", "yes", "--appendfsync", "always"]
    arguments += ["--maxmemory-policy", "noeviction", "--save", "", "--dir", data]
    return Process(name, arguments, folder, "[Rr]eady to accept connections"), f"redis+unix://{path}"


def service(name, folder, redis, head="", tail="", environment=None, known_as=None):
    """A service's process, and the addresses of its line that says "ready": `grpc` and `admin`."""
    file = folder / f"{known_as or name}.toml"
    common = 'listen = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\n'
    file.write_text(f'{head}{common}[redis]\nurl = "{redis}"\n{tail}')
    ready = r'(?m)^\{.*"message":"ready".*\}$'
    process = Process(known_as or name, [binary(name), "--config", file], folder, ready, environment)
    return process, json.loads(process.ready.group())


class Stack:
    def __init__(self, folder, stubs):
        self.folder = folder
        self.stubs = stubs
        self.processes = []
        self.numbers = itertools.count(1)
        self.redis = self._redis()
        templates = f'[templates]\ndirectory = "{HERE}/templates"\n'
        identities = "".join(map(identity_settings, IDENTITIES + BACKED_UP))
        # What is tested is what peers make of each other, not the learning of a rate.
        rates = '[rates]\nmode = "static"\nstart = 1000.0\n'
        _, self.coordinator = self._service("throttle-coordinator", tail=rates)
        self._service("renderer", tail=templates)
        _, self.ingest = self._service("ingest", head=f'digest_key = "{"k" * 64}"\n', tail=templates + identities)
        self.channel = grpc.insecure_channel(self.ingest)
        self.enqueuing = stubs.ingest_grpc.IngestServiceStub(self.channel)
        self.messages = stubs.messages_grpc.MessagesServiceStub(self.channel)

    def _redis(self):
        process, url = redis_server("redis", self.folder)
        self.processes.append(process)
        return url

    def _service(self, name, head="", tail="", environment=None, known_as=None):
        """The process, and where it answers gRPC."""
        process, ready = service(name, self.folder, self.redis, head, tail, environment, known_as)
        self.processes.append(process)
        return process, ready["grpc"]

    def add_sender(self, identity, endpoint, environment=None, deliver="live", tail=""):
        """A sender for one identity, with SES at `endpoint`. With an environment it looks for its credentials there."""
        credentials = "chain" if environment else "look_alike"
        number = next(self.numbers)
        head = f'name = "sender-{number}"\ndeliver = "{deliver}"\ncoordinators = ["http://{self.coordinator}"]\n'
        tail += f'[ses]\nendpoint_url = "{endpoint}"\ncredentials = "{credentials}"\n'
        # The code by which a provider refuses is logged at this level.
        tail += f'[telemetry]\nlog = "info,paceline_providers=debug"\n{identity_settings(identity)}'
        # No machine's own credentials, whatever the machine is.
        environment = {"AWS_EC2_METADATA_DISABLED": "true", **(environment or {})}
        process, _ = self._service("sender", head, tail, environment, known_as=f"sender-{identity}-{number}")
        return process

    def request(self, identity, **fields):
        """A request that is sent by `identity`: the template's example to a user of its own."""
        pb = self.stubs
        number = next(self.numbers)
        request = pb.ingest.EnqueueRequest(
            tenant=TENANT,
            template="reservation",
            user_id=str(number),
            recipient=pb.message.Mailbox(address=f"guest{number}@guests.example"),
            data=(HERE / "templates/reservation/examples/first.json").read_bytes(),
            **{"from": pb.message.Mailbox(address=f"table@{domain(identity)}")},
        )
        request.MergeFrom(pb.ingest.EnqueueRequest(**fields))
        return request

    def enqueue(self, identity, **fields):
        """Enqueues a request and returns the message's id."""
        return self.enqueuing.Enqueue(self.request(identity, **fields), timeout=CALL_SECONDS).message_id

    def message(self, message_id):
        request = self.stubs.messages.GetRequest(tenant=TENANT, message_id=message_id)
        return self.messages.Get(request, timeout=CALL_SECONDS).message

    def comes_to(self, state, message_id, reason=""):
        """Waits until the message is in this state, such as "deferred", for this reason, and returns it."""
        number = self.stubs.message.MessageState.Value(f"MESSAGE_STATE_{state.upper()}")

        def look():
            message = self.message(message_id)
            assert (message.state, message.reason) == (number, reason), message
            return message

        return eventually(f"a message comes to {state}", look)

    def status(self, message_id):
        """What a person sees: `paceline status`."""
        command = [binary("paceline"), "--ingest", f"http://{self.ingest}", "status", message_id]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=CALL_SECONDS).stdout

    def stop(self):
        self.channel.close()
        for process in reversed(self.processes):
            process.stop()
