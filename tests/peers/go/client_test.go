// Package peers is a caller written in Go, with stubs that protoc-gen-go and protoc-gen-go-grpc made from our contracts.
//
// test_go_client.py generates the stubs, says where ingest is (INGEST, DATA), and runs these tests.
package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "paceline/peers/pacelinev1"
)

const tenant = "demo"

// Nothing here may take longer on a busy machine.
const patience = 60 * time.Second

type paceline struct {
	pb.IngestServiceClient
	pb.MessagesServiceClient
}

func connect(t *testing.T) (paceline, context.Context) {
	t.Helper()
	channel, err := grpc.NewClient(os.Getenv("INGEST"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { channel.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return paceline{pb.NewIngestServiceClient(channel), pb.NewMessagesServiceClient(channel)}, ctx
}

// request is the template's example to a user of its own.
func request(t *testing.T, user string) *pb.EnqueueRequest {
	t.Helper()
	data, err := os.ReadFile(os.Getenv("DATA"))
	if err != nil {
		t.Fatal(err)
	}
	return &pb.EnqueueRequest{
		Tenant:    tenant,
		Template:  "reservation",
		UserId:    user,
		Recipient: &pb.Mailbox{Address: user + "@guests.example"},
		Data:      data,
	}
}

func TestAMessageIsEnqueuedOnceAndItsWayIsWatched(t *testing.T) {
	paceline, ctx := connect(t)
	first, err := paceline.Enqueue(ctx, request(t, "go"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := paceline.Enqueue(ctx, request(t, "go"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Duplicate || !again.Duplicate || first.MessageId != again.MessageId || len(first.MessageId) != 26 {
		t.Fatalf("%v, then %v", first, again)
	}

	watch, err := paceline.Watch(ctx, &pb.WatchRequest{Tenant: tenant, MessageId: first.MessageId})
	if err != nil {
		t.Fatal(err)
	}
	var last *pb.Message
	for {
		answer, err := watch.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if answer.Message.Revision <= last.GetRevision() {
			t.Fatalf("revision %d after %d", answer.Message.Revision, last.GetRevision())
		}
		last = answer.Message
	}
	if last.GetState() != pb.MessageState_MESSAGE_STATE_ACCEPTED || !strings.HasPrefix(last.ProviderMessageId, "recorded-") {
		t.Fatalf("at last: %v", last)
	}
	got, err := paceline.Get(ctx, &pb.GetRequest{Tenant: tenant, MessageId: first.MessageId})
	if err != nil || got.Message.GetRevision() != last.Revision {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestABatchAnswersInOrderAndEachForItself(t *testing.T) {
	paceline, ctx := connect(t)
	bad := request(t, "go-batch-2")
	bad.Recipient.Address = "nobody"
	requests := []*pb.EnqueueRequest{request(t, "go-batch-1"), bad, request(t, "go-batch-1")}
	answer, err := paceline.EnqueueBatch(ctx, &pb.EnqueueBatchRequest{Requests: requests})
	if err != nil || len(answer.Results) != len(requests) {
		t.Fatalf("%v, %v", answer, err)
	}
	first, refused, again := answer.Results[0].GetResponse(), answer.Results[1].GetError(), answer.Results[2].GetResponse()
	if first.GetMessageId() == "" || first.GetMessageId() != again.GetMessageId() {
		t.Fatalf("%v, then %v", first, again)
	}
	if codes.Code(refused.GetCode()) != codes.InvalidArgument || len(refused.FieldViolations) != 1 ||
		refused.FieldViolations[0].Field != "recipient.address" {
		t.Fatalf("%v", refused)
	}
}

func TestAStreamAnswersEverySequence(t *testing.T) {
	paceline, ctx := connect(t)
	stream, err := paceline.EnqueueStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const count = 300
	requests := make([]*pb.EnqueueStreamRequest, count)
	for i := range requests {
		requests[i] = &pb.EnqueueStreamRequest{Sequence: uint64(i), Request: request(t, fmt.Sprintf("go-stream-%d", i))}
	}
	sent := make(chan error, 1)
	go func() {
		for _, request := range requests {
			if err := stream.Send(request); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	ids := map[uint64]string{}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		id := answer.Result.GetResponse().GetMessageId()
		if _, twice := ids[answer.Sequence]; twice || answer.Sequence >= count || id == "" {
			t.Fatalf("%v", answer)
		}
		ids[answer.Sequence] = id
	}
	if err := <-sent; err != nil || len(ids) != count {
		t.Fatalf("%d answers, %v", len(ids), err)
	}
}

func TestErrorsCarryDetails(t *testing.T) {
	paceline, ctx := connect(t)
	bad := request(t, "")
	_, err := paceline.Enqueue(ctx, bad)
	refused := status.Convert(err)
	if refused.Code() != codes.InvalidArgument {
		t.Fatal(err)
	}
	var fields []string
	var reason string
	for _, detail := range refused.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fields = append(fields, violation.Field)
			}
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		}
	}
	if strings.Join(fields, " ") != "user_id recipient.address" || reason != "field_invalid" {
		t.Fatalf("%q, %q", fields, reason)
	}
	_, err = paceline.Get(ctx, &pb.GetRequest{Tenant: tenant, MessageId: strings.Repeat("0", 26)})
	if status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
}
