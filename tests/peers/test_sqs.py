"""moto as SQS and SNS: feedback pulls SES's events from a queue, whoever put them there, and nothing is lost or done twice by it."""

import json
import socket
import threading

import pytest

from eventually import eventually
from stack import REGION, TENANT, Stack, redis_server, service

ACCOUNT = "123456789012"
VISIBILITY_SECONDS = 30
RECEIVES_MAX = 2


class HangsUp:
    """SES that takes each request and ends the connection without an answer: what it took is in doubt."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 20)

    def stop(self):
        self.listener.close()


class Queue:
    """A queue of moto's, with a topic that writes to it and a queue for what nobody can read."""

    def __init__(self, moto, name):
        self.sqs, self.sns = moto.client("sqs"), moto.client("sns")
        self.dead = self._make(f"{name}-dead", {})
        dead = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"deadLetterTargetArn": dead, "maxReceiveCount": str(RECEIVES_MAX)}
        self.url = self._make(name, {"RedrivePolicy": json.dumps(policy)})
        self.arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def _make(self, name, attributes):
        return self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def topic(self, name, raw):
        """A topic whose messages come into the queue, raw or within SNS's envelope."""
        arn = self.sns.create_topic(Name=name)["TopicArn"]
        attributes = {"RawMessageDelivery": "true" if raw else "false"}
        self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self.arn, Attributes=attributes)
        return arn

    def counts(self, url=None):
        """Messages that wait, and messages that somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return tuple(int(attributes[name]) for name in names)

    def is_empty(self):
        assert self.counts() == (0, 0), self.counts()
        return True


def feedback(stack, folder, moto, queue, name):
    settings = f'address_key = "{"k" * 64}"\n'
    # The first line belongs to the section before, the Redis: these services keep no log for a ledger.
    sections = f'log = "ring"\n[web]\nlisten = "127.0.0.1:0"\n[ledger]\nurl = "sqlite:{folder}/{name}.sqlite"\n'
    sections += f'[sqs]\nqueue_url = "{queue.url}"\nregion = "{REGION}"\nendpoint_url = "{moto.url}"\ncredentials = "look_alike"\n'
    sections += f'wait = "1s"\nvisibility_timeout = "{VISIBILITY_SECONDS}s"\n'
    return service("feedback", folder, stack.redis, settings, sections, known_as=name)[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory, stubs):
    """One of its own: where feedback has been, a sender must know the key by which it knows people."""
    stack = Stack(tmp_path_factory.mktemp("sqs"), stubs)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def doubtful(stack):
    """SES that answers nothing, for one identity."""
    ses = HangsUp()
    stack.add_sender("doubtful", ses.url)
    yield
    ses.stop()


@pytest.fixture
def queue(moto, request):
    return Queue(moto, request.node.name.replace("[", "-").replace("]", ""))


def event(message, kind="Send", **parts):
    """What SES publishes of a message's attempt."""
    tags = {
        "paceline_id": [message.message_id],
        "paceline_accepted": [str(message.accepted_at.ToMilliseconds())],
        "paceline_attempt": [str(message.attempt)],
        "paceline_tenant": [TENANT],
    }
    mail = {"timestamp": "2026-01-02T03:04:05.678Z", "messageId": "0102-known", "tags": tags}
    return json.dumps({"eventType": kind, "mail": mail, kind.lower(): parts})


def in_doubt(stack):
    return stack.comes_to("in_doubt", stack.enqueue("doubtful"), "connection_lost")


@pytest.mark.parametrize("way", ["envelope", "raw", "direct"])
def test_an_event_settles_a_doubt_however_it_comes_into_the_queue(stack, folder, moto, doubtful, queue, way):
    pulls = feedback(stack, folder, moto, queue, f"feedback-{way}")
    message = in_doubt(stack)
    if way == "direct":
        queue.sqs.send_message(QueueUrl=queue.url, MessageBody=event(message))
    else:
        topic = queue.topic(f"events-{way}", raw=way == "raw")
        queue.sns.publish(TopicArn=topic, Message=event(message))
    settled = stack.comes_to("accepted", message.message_id, "event_says_sent")
    assert settled.provider_message_id == "0102-known"
    eventually("the message is deleted", queue.is_empty)
    pulls.stop()


def test_doubles_and_many_at_once_change_nothing_and_all_are_deleted(stack, folder, moto, doubtful, queue):
    messages = [in_doubt(stack) for _ in range(5)]
    for message in messages:
        for _ in range(10):
            queue.sqs.send_message(QueueUrl=queue.url, MessageBody=event(message))
    pulls = feedback(stack, folder, moto, queue, "feedback-doubles")
    settled = [stack.comes_to("accepted", message.message_id, "event_says_sent") for message in messages]
    eventually("all are deleted", queue.is_empty)
    assert [stack.message(it.message_id) for it in settled] == settled
    pulls.stop()


def test_what_is_no_event_is_left_to_the_queue_s_own_policy(stack, folder, moto, doubtful, queue):
    pulls = feedback(stack, folder, moto, queue, "feedback-poison")
    # Each time that it is read it would be away for as long as the setting says; a test need not wait for that.
    poison = "this is no event"
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody=poison)
    eventually("it is read, and held", lambda: queue.counts() == (0, 1))
    message = in_doubt(stack)
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody=event(message))
    stack.comes_to("accepted", message.message_id, "event_says_sent")
    eventually("the other is deleted, and this one is not", lambda: queue.counts() == (0, 1))
    assert poison not in pulls.output(), "what it says may be personal"

    def is_put_aside():
        assert queue.counts(queue.dead)[0] == 1, (queue.counts(), queue.counts(queue.dead))
        return True

    eventually("the policy puts it aside", is_put_aside, within=VISIBILITY_SECONDS * (RECEIVES_MAX + 1))
    pulls.stop()


def test_what_a_process_had_read_when_it_died_comes_again(stack, folder, moto, doubtful, queue):
    """A process that is frozen and dies, with what it had read: SQS hands it out again, and its effect comes then."""
    message = in_doubt(stack)
    held = feedback(stack, folder, moto, queue, "feedback-dies")
    held.child.send_signal(19)  # SIGSTOP
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody=event(message))
    held.stop()
    assert sum(queue.counts()) == 1
    again = feedback(stack, folder, moto, queue, "feedback-again")
    stack.comes_to("accepted", message.message_id, "event_says_sent")
    eventually("it is deleted", queue.is_empty)
    again.stop()
