"""grpcio, with stubs made from our contracts: what Python callers use."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from eventually import eventually
from stack import CALL_SECONDS, TENANT

pytestmark = pytest.mark.usefixtures("recorder")


def details(error):
    """The google.rpc details of an error, by their names."""
    status = rpc_status.from_call(error)
    assert status is not None, "no grpc-status-details-bin"
    found = {}
    for detail in status.details:
        name = detail.TypeName().removeprefix("google.rpc.")
        found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return found


def test_a_message_is_enqueued_once_and_its_way_is_watched(stack, stubs):
    request = stack.request("clients")
    first = stack.enqueuing.Enqueue(request, timeout=CALL_SECONDS)
    again = stack.enqueuing.Enqueue(request, timeout=CALL_SECONDS)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.message_id == again.message_id and len(first.message_id) == 26
    assert first.accepted_at == again.accepted_at

    watch = stubs.messages.WatchRequest(tenant=TENANT, message_id=first.message_id)
    seen = [answer.message for answer in stack.messages.Watch(watch, timeout=60)]
    revisions = [message.revision for message in seen]
    assert revisions == sorted(set(revisions)), "revisions rise"
    assert seen[-1].state == stubs.message.MESSAGE_STATE_ACCEPTED
    assert seen[-1].provider_message_id.startswith("recorded-")
    assert stack.message(first.message_id) == seen[-1]


def test_a_batch_answers_in_order_and_each_for_itself(stack, stubs):
    requests = [stack.request("clients") for _ in range(5)]
    requests[3].recipient.address = "nobody"
    requests[4].CopyFrom(requests[0])
    batch = stubs.ingest.EnqueueBatchRequest(requests=requests)
    results = stack.enqueuing.EnqueueBatch(batch, timeout=CALL_SECONDS).results

    kinds = [result.WhichOneof("result") for result in results]
    assert kinds == ["response", "response", "response", "error", "response"]
    assert len({result.response.message_id for result in results[:3]}) == 3
    error = results[3].error
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [violation.field for violation in error.field_violations] == ["recipient.address"]
    assert results[4].response.message_id == results[0].response.message_id


def test_a_stream_answers_every_sequence_while_it_is_open(stack, stubs):
    request = stubs.ingest.EnqueueStreamRequest
    answered = {}

    def requests():
        for sequence in range(1, 301):
            yield request(sequence=sequence, request=stack.request("clients"))
            if sequence == 200:
                # Answers come before the caller has closed its side.
                eventually("the first hundred are answered", lambda: len(answered) >= 100)
        bad = stack.request("clients")
        bad.user_id = ""
        yield request(sequence=7_000_000_000, request=bad)

    for answer in stack.enqueuing.EnqueueStream(requests(), timeout=60):
        assert answer.sequence not in answered, "answered twice"
        answered[answer.sequence] = answer.result
    assert sorted(answered) == [*range(1, 301), 7_000_000_000]
    refused = answered.pop(7_000_000_000).error
    assert [violation.field for violation in refused.field_violations] == ["user_id"]
    assert len({result.response.message_id for result in answered.values()}) == 300


def test_errors_carry_details_that_google_s_own_types_read(stack, stubs):
    request = stack.request("clients")
    request.recipient.address = "nobody"
    request.user_id = ""
    with pytest.raises(grpc.RpcError) as refused:
        stack.enqueuing.Enqueue(request, timeout=CALL_SECONDS)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = details(refused.value)
    fields = {violation.field for violation in found["BadRequest"].field_violations}
    assert fields == {"recipient.address", "user_id"}
    assert found["ErrorInfo"].reason == "field_invalid"

    request = stack.request("clients", idempotency_key="one")
    stack.enqueuing.Enqueue(request, timeout=CALL_SECONDS)
    request.recipient.address = "another@guests.example"
    with pytest.raises(grpc.RpcError) as conflict:
        stack.enqueuing.Enqueue(request, timeout=CALL_SECONDS)
    assert conflict.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert details(conflict.value)["ErrorInfo"].reason == "key_conflict"

    with pytest.raises(grpc.RpcError) as unknown:
        stack.message("0" * 26)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    assert details(unknown.value)["ErrorInfo"].reason == "not_found"
