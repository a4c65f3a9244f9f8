package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
)

// A session is one caller who tells stories: calls of several people, each of whom
// needs what was answered before.
type session struct {
	*client
	mail *mailroom
	conn int // of the client
	// patient: where there is no decision in time, it asks again.
	patient bool
	told
}

// told is what calls came to.
type told struct {
	taken            []time.Duration // of each call that was decided
	stepUps, denials int             // of them
	unavailable      int             // got no decision in time; their stories end there
	stories          int             // that were told to the end
	waited           int             // for a payment code
}

func (t *told) add(o told) {
	t.taken = append(t.taken, o.taken...)
	t.stepUps, t.denials, t.unavailable = t.stepUps+o.stepUps, t.denials+o.denials, t.unavailable+o.unavailable
	t.stories, t.waited = t.stories+o.stories, t.waited+o.waited
}

// An answer is what a story goes on from.
type answer struct {
	code              string // of the leading reason, "" for an allow
	challenge, intent string // as the headers name them
	reserved          bool   // it is an allow with a reservation and a token, made now
	isStepUp          bool
}

// errNotNow: the sidecar had no decision in time, which a busy machine may cause.
var errNotNow = errors.New("no decision in time")

// streams counts Envoy's requests: one that is repeated by its sender is another one.
var streams atomic.Uint64

// newKey is an idempotency key that no other call has.
func newKey() string { return fmt.Sprintf("0b9c6f4e-7f6b-4f0e-9d3a-%012x", keys.Add(1)) }

// post is a call under a new key.
func post(subject, path, body string) httpCall {
	return httpCall{method: http.MethodPost, path: path, subject: subject, key: newKey(), body: body}
}

// marshalled returns the CheckRequest about a call, which Envoy has not sent before.
func (s *session) marshalled(c httpCall) ([]byte, error) {
	c.streamID = fmt.Sprintf("%020d", streams.Add(1))
	return s.encode.marshal(c)
}

// ask makes a call that is to be refused with a code, or for "" allowed. Any other answer
// is an error, errNotNow if there was no decision.
func (s *session) ask(ctx context.Context, c httpCall, code string) (a answer, err error) {
	const tries = 20
	for range tries {
		if a, err = s.askOnce(ctx, c, code); !s.patient || !errors.Is(err, errNotNow) {
			return a, err
		}
		time.Sleep(checkTimeout / tries)
	}
	return a, err
}

func (s *session) askOnce(ctx context.Context, c httpCall, code string) (answer, error) {
	request, err := s.marshalled(c)
	if err != nil {
		return answer{}, err
	}
	start := time.Now()
	response, err := s.check(ctx, s.conn, request, checkTimeout)
	took := time.Since(start)
	if err != nil {
		return answer{}, err
	}
	if isUnavailable(response) {
		s.unavailable++
		return answer{}, errNotNow
	}
	a, err := readAnswer(response)
	if err == nil && a.code != code {
		err = wrongAnswer(response)
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", c.method, c.path, err)
	}
	s.taken = append(s.taken, took)
	switch {
	case a.isStepUp:
		s.stepUps++
	case code != "":
		s.denials++
	}
	return a, nil
}

// pay is ask for a call that is to move money.
func (s *session) pay(ctx context.Context, c httpCall) error {
	a, err := s.ask(ctx, c, "")
	if err == nil && !a.reserved {
		err = fmt.Errorf("%s %s: allowed without a new reservation and a token", c.method, c.path)
	}
	return err
}

func readAnswer(response []byte) (answer, error) {
	var check authv3.CheckResponse
	if err := proto.Unmarshal(response, &check); err != nil {
		return answer{}, err
	}
	if ok := check.GetOkResponse(); ok != nil && check.GetStatus().GetCode() == 0 {
		return answer{
			intent:   headerOf(ok.GetHeaders(), "countersign-intent-id"),
			reserved: isNewReservation(fieldOf(response, fieldOK)),
		}, nil
	}
	denied := check.GetDeniedResponse()
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(denied.GetBody()), &problem); err != nil || problem.Code == "" {
		return answer{}, wrongAnswer(response)
	}
	return answer{
		code:      problem.Code,
		challenge: headerOf(denied.GetHeaders(), "countersign-challenge-id"),
		isStepUp:  denied.GetStatus().GetCode() == typev3.StatusCode_Unauthorized,
	}, nil
}

func headerOf(all []*corev3.HeaderValueOption, name string) string {
	for _, h := range all {
		if h.GetHeader().GetKey() == name {
			return h.GetHeader().GetValue()
		}
	}
	return ""
}

// enter has somebody enter the code of a terminal, by the path of who enters.
func (s *session) enter(ctx context.Context, subject, path, challenge, code string) error {
	_, err := s.ask(ctx, post(subject, path+challenge+"/entries", `{"code": "`+code+`"}`), "")
	return err
}

// Where terminals and where users enter codes.
const (
	terminalChallenges = "/countersign/v1/challenges/"
	userChallenges     = "/countersign/v1/user/challenges/"
)
