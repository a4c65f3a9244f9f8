package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/sidecar/upstream"
)

const (
	maxCallers = 1024
	// checkTimeout is generous: a busy machine should make a result worse, not
	// end the run. Like Envoy's own, it goes to the server as a deadline.
	checkTimeout = 5 * time.Second
	startTimeout = 2 * time.Minute
)

// whileStarting tries often: nobody listens until the server has started.
var whileStarting = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// A client sends Checks to one server, over as many connections as Envoy would
// have workers on this machine.
type client struct {
	server
	conns  []*grpc.ClientConn
	asks   map[*workload][]template
	denied map[*workload]template
}

func newClient(s server, socket string) (*client, error) {
	c := &client{server: s, asks: map[*workload][]template{}, denied: map[*workload]template{}}
	for _, load := range s.loads {
		for _, a := range load.asks {
			t, err := s.encode.template(a)
			if err != nil {
				return nil, err
			}
			c.asks[load] = append(c.asks[load], t)
		}
		var err error
		if c.denied[load], err = s.encode.template(load.denied); err != nil {
			return nil, err
		}
	}
	for range runtime.GOMAXPROCS(0) {
		conn, err := grpc.NewClient("unix:"+socket,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(whileStarting),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.WaitForReady(true)))
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *client) close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// check sends one CheckRequest over a connection and returns the CheckResponse,
// both marshalled.
func (c *client) check(ctx context.Context, conn int, request []byte, timeout time.Duration) (response []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = c.conns[conn%len(c.conns)].Invoke(ctx, authv3.Authorization_Check_FullMethodName, &request, &response)
	return response, err
}

// verify waits for the server and sees that it allows what it should and, if it
// decides anything, denies what it should.
func (c *client) verify(ctx context.Context) error {
	for _, load := range c.loads {
		response, err := c.check(ctx, 0, c.asks[load][0].fresh(), startTimeout)
		if err != nil {
			return err
		}
		if !c.isAllow(response, load) {
			return wrongAnswer(response)
		}
		if !c.decides {
			continue
		}
		if response, err = c.check(ctx, 0, c.denied[load].fresh(), checkTimeout); err != nil {
			return err
		}
		var answer authv3.CheckResponse
		if err := proto.Unmarshal(response, &answer); err != nil {
			return err
		}
		if codes.Code(answer.GetStatus().GetCode()) != codes.PermissionDenied || answer.GetDeniedResponse() == nil {
			return fmt.Errorf("a %s over the maximum was not denied: %v", load.title, &answer)
		}
	}
	return nil
}

// drive has the callers send requests of a workload one after the other, each
// under a key of its own, and returns how long each allow took, sorted, and how
// many answers were "unavailable", which a busy machine may cause. Any other
// answer is an error.
func (c *client) drive(ctx context.Context, load *workload, callers int, length time.Duration) (_ []time.Duration, unavailable int, _ error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	asks := c.asks[load]
	taken := make([][]time.Duration, callers)
	var failed atomic.Int64
	end := time.Now().Add(length)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for start := time.Now(); start.Before(end) && ctx.Err() == nil; {
				response, err := c.check(ctx, i, asks[rand.IntN(len(asks))].fresh(), checkTimeout)
				now := time.Now()
				switch {
				case err != nil:
				case c.isAllow(response, load):
					taken[i] = append(taken[i], now.Sub(start))
				case isUnavailable(response):
					failed.Add(1)
				default:
					err = wrongAnswer(response)
				}
				if err != nil {
					cancel(err)
					return
				}
				start = now
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, 0, err
	}
	all := slices.Concat(taken...)
	slices.Sort(all)
	return all, int(failed.Load()), nil
}

func wrongAnswer(response []byte) error {
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(response, &answer); err != nil {
		return err
	}
	return fmt.Errorf("wrong answer: %v", &answer)
}

// isUnavailable tells whether the server could not decide now.
func isUnavailable(response []byte) bool {
	var answer authv3.CheckResponse
	return proto.Unmarshal(response, &answer) == nil &&
		answer.GetDeniedResponse().GetStatus().GetCode() == typev3.StatusCode_ServiceUnavailable
}

// Fields of a CheckResponse, and of what is in it.
const (
	fieldStatus    = 1
	fieldOK        = 3
	fieldOKHeaders = 2 // of an ok_response: to the payment service
	fieldHeader    = 1 // of a HeaderValueOption
	fieldKey       = 1 // of a HeaderValue
	fieldValue     = 2
)

// isAllow tells whether a CheckResponse allows what was asked: it has the status 0
// and an ok_response, in which a payment made durable has its reservation and
// its token, and is none that was allowed before. It costs the client less than
// unmarshalling.
func (s server) isAllow(response []byte, load *workload) bool {
	var status, allowed bool
	for number, value := range fieldsOf(response) {
		switch number {
		case fieldStatus:
			status = len(value) == 0 // a code of 0 is not written
		case fieldOK:
			allowed = !s.durable || !load.movesMoney || isNewReservation(value)
		}
	}
	return status && allowed
}

// isNewReservation looks at the headers that an ok_response gives the payment
// service.
func isNewReservation(ok []byte) bool {
	var token, reservation, replayed bool
	for number, option := range fieldsOf(ok) {
		if number != fieldOKHeaders {
			continue
		}
		header := fieldOf(option, fieldHeader)
		switch value := fieldOf(header, fieldValue); string(fieldOf(header, fieldKey)) {
		case upstream.HeaderToken:
			token = len(value) > 0
		case headerReservationID:
			reservation = bytes.HasPrefix(value, []byte("rsv_"))
		case upstream.HeaderReplayed:
			replayed = true
		}
	}
	return token && reservation && !replayed
}

// fieldsOf are the fields of a marshalled message that are messages, texts or
// bytes, up to the first that is malformed.
func fieldsOf(message []byte) iter.Seq2[protowire.Number, []byte] {
	return func(yield func(protowire.Number, []byte) bool) {
		for len(message) > 0 {
			number, kind, n := protowire.ConsumeTag(message)
			if n < 0 {
				return
			}
			rest := message[n:]
			if n = protowire.ConsumeFieldValue(number, kind, rest); n < 0 {
				return
			}
			message = rest[n:]
			if kind != protowire.BytesType {
				continue
			}
			if value, _ := protowire.ConsumeBytes(rest); !yield(number, value) {
				return
			}
		}
	}
}

// fieldOf is one of them, nil where it is not there.
func fieldOf(message []byte, wanted protowire.Number) []byte {
	for number, value := range fieldsOf(message) {
		if number == wanted {
			return value
		}
	}
	return nil
}

// rawCodec passes messages that are marshalled already.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
