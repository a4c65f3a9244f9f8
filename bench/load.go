package main

import (
	"context"
	"errors"
	"fmt"
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
)

const (
	maxCallers = 1024
	// checkTimeout is generous: a busy machine should make a result worse, not
	// end the run. Like Envoy's own, it goes to the server as a deadline.
	checkTimeout = 5 * time.Second
	startTimeout = 30 * time.Second
)

// whileStarting tries often: nobody listens until the server has started.
var whileStarting = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond},
	MinConnectTimeout: time.Second,
}

// A client sends Checks to one server, over as many connections as Envoy would
// have workers on this machine.
type client struct {
	conns    []*grpc.ClientConn
	requests [][]byte // allowed ones, marshalled
	denied   []byte   // one over the account's maximum
}

func newClient(s server, socket string) (*client, error) {
	c := &client{}
	for _, p := range payments() {
		request, err := s.encode.marshal(p)
		if err != nil {
			return nil, err
		}
		c.requests = append(c.requests, request)
	}
	var err error
	if c.denied, err = s.encode.marshal(overMaximum()); err != nil {
		return nil, err
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
func (c *client) verify(ctx context.Context, decides bool) error {
	response, err := c.check(ctx, 0, c.requests[0], startTimeout)
	if err != nil {
		return err
	}
	if !isAllow(response) {
		return wrongAnswer(response)
	}
	if !decides {
		return nil
	}
	if response, err = c.check(ctx, 0, c.denied, checkTimeout); err != nil {
		return err
	}
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(response, &answer); err != nil {
		return err
	}
	if codes.Code(answer.GetStatus().GetCode()) != codes.PermissionDenied || answer.GetDeniedResponse() == nil {
		return fmt.Errorf("a payment over the maximum was not denied: %v", &answer)
	}
	return nil
}

// drive has the callers send payments of random accounts one after the other,
// and returns how long each allow took, sorted, and how many answers were
// "unavailable", which a busy machine may cause. Any other answer is an error.
func (c *client) drive(ctx context.Context, callers int, length time.Duration) (_ []time.Duration, unavailable int, _ error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	taken := make([][]time.Duration, callers)
	var failed atomic.Int64
	end := time.Now().Add(length)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for start := time.Now(); start.Before(end) && ctx.Err() == nil; {
				response, err := c.check(ctx, i, c.requests[rand.IntN(len(c.requests))], checkTimeout)
				now := time.Now()
				switch {
				case err != nil:
				case isAllow(response):
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

// Fields of a CheckResponse.
const (
	fieldStatus = 1
	fieldOK     = 3
)

// isAllow tells whether a CheckResponse has the status 0 and an ok_response. It
// costs the client less than unmarshalling.
func isAllow(response []byte) bool {
	var status, ok bool
	for len(response) > 0 {
		number, kind, n := protowire.ConsumeTag(response)
		if n < 0 || kind != protowire.BytesType {
			return false
		}
		response = response[n:]
		value, n := protowire.ConsumeBytes(response)
		if n < 0 {
			return false
		}
		response = response[n:]
		switch number {
		case fieldStatus:
			status = len(value) == 0 // a code of 0 is not written
		case fieldOK:
			ok = true
		}
	}
	return status && ok
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
