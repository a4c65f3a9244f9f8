package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/upstream"
)

// What a stream consists of (https://html.spec.whatwg.org/multipage/server-sent-events.html).
const (
	mediaType   = "text/event-stream"
	lastEventID = "Last-Event-ID"
	opening     = "retry: 2000\n\n" // milliseconds before a reader that was cut off comes again
	ping        = ": ping\n\n"

	streamPage = 64 // messages that are read at a time
)

// Everything that a stream is refused with.
var (
	notBound = &upstream.Refusal{Status: http.StatusForbidden, Code: "terminal_not_bound",
		Message: "The terminal is not bound, or it is not the caller's."}
	sessionExpired = &upstream.Refusal{Status: http.StatusUnauthorized, Code: "session_expired",
		Message: "The session has expired. Sign in again."}
	badLastEventID = &upstream.Refusal{Status: http.StatusBadRequest, Code: "last_event_id_invalid",
		Message: "The header Last-Event-ID is the id of an event: a number."}
	streamsFull = &upstream.Refusal{Status: http.StatusServiceUnavailable, Code: "streams_full",
		Message: "Too many streams are open. Try again."}
	shuttingDown = &upstream.Refusal{Status: http.StatusServiceUnavailable, Code: "shutting_down",
		Message: "The sidecar is being stopped. Try again."}
	clockJumped = &upstream.Refusal{Status: http.StatusServiceUnavailable, Code: "clock_jumped",
		Message: "It cannot be told what time it is. Try again."}
	storeUnavailable = &upstream.Refusal{Status: http.StatusServiceUnavailable, Code: "store_unavailable",
		Message: "The store cannot answer now. Try again."}
)

// Stream answers a call with the messages of a terminal as server-sent events, as they
// come, until the caller goes, another stream of the terminal begins, the session ends,
// the terminal is no longer bound to the caller, or Run ends. sessionEnds is in
// nanoseconds since 1970-01-01 UTC, 0 for a session without end; it and the binding are
// looked at before each event. An event's id is the message's number. The stream begins
// with the oldest message that was not acknowledged, or after the one that the request's
// Last-Event-ID names.
//
// A refusal is an [upstream.Refusal], and then nothing was written; once something was,
// the error is nil.
func (o *Outbox) Stream(w http.ResponseWriter, r *http.Request, terminal string, caller authzstore.Identity, sessionEnds int64) error {
	s := &stream{outbox: o, terminal: terminal, caller: caller, sessionEnds: sessionEnds}
	s.events.to, s.events.connection, s.events.cfg = w, http.NewResponseController(w), &o.cfg
	if err := s.begin(r); err != nil {
		return err
	}
	sub, refusal := o.streams.subscribe(terminal)
	if refusal != nil {
		return refusal
	}
	defer o.streams.unsubscribe(terminal, sub)
	// The server's timeouts are for calls that end.
	err := errors.Join(s.events.connection.SetReadDeadline(time.Time{}), s.events.connection.SetWriteDeadline(time.Time{}))
	if err != nil {
		return fmt.Errorf("a stream needs a connection without a timeout: %w", err)
	}
	w.Header().Set("content-type", mediaType)
	w.Header().Set("cache-control", "no-store")
	w.WriteHeader(http.StatusOK)
	if s.events.write(opening) == nil {
		s.run(r.Context(), sub)
	}
	return nil
}

// A stream is one answer.
type stream struct {
	outbox      *Outbox
	terminal    string
	caller      authzstore.Identity
	sessionEnds int64
	cursor      uint64 // number of the last message that needs no event
	events      events
}

// begin checks the call, and finds where its stream begins.
func (s *stream) begin(r *http.Request) error {
	last, err := lastSeen(r.Header)
	if err != nil {
		return err
	}
	now, err := s.outbox.cfg.Now()
	if err != nil {
		return clockJumped
	}
	var dead []authzstore.DeadLetter
	err = s.outbox.cfg.Store.View(r.Context(), func(snapshot authzstore.Snapshot) error {
		if err := s.check(snapshot.Reader, now.UnixNano()); err != nil {
			return err
		}
		d, err := snapshot.Delivery(s.terminal)
		if err != nil {
			return err
		}
		box, err := snapshot.Mailbox(s.terminal)
		if err != nil {
			return err
		}
		s.cursor = d.Acked
		if last <= box.Sent { // else it is of nothing that was sent, and everything comes again
			s.cursor = max(s.cursor, last)
		}
		dead, err = s.outbox.undeliverable(snapshot, s.terminal, now.UnixNano())
		return err
	})
	if err == nil && len(dead) > 0 {
		// Nobody took them in time. So the next stream need not look at them again.
		s.outbox.passOver(r.Context(), s.terminal, now)
	}
	return refusalOf(err)
}

func refusalOf(err error) error {
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*upstream.Refusal](err); ok {
		return refusal
	}
	unavailable := *storeUnavailable
	unavailable.Cause = errors.New(told(err))
	return &unavailable
}

// lastSeen is the number of the last message that the caller has; 0 for none.
func lastSeen(header http.Header) (uint64, error) {
	switch values := header.Values(lastEventID); {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return 0, nil
	case len(values) > 1:
		return 0, badLastEventID
	default:
		n, err := strconv.ParseUint(values[0], 10, 64)
		if err != nil {
			return 0, badLastEventID
		}
		return n, nil
	}
}

// check tells whether the caller may still see the terminal's messages.
func (s *stream) check(from authzstore.Reader, nowNanos int64) error {
	if s.sessionEnds != 0 && nowNanos > s.sessionEnds {
		return sessionExpired
	}
	t, ok, err := from.Terminal(s.terminal)
	if err != nil {
		return err
	}
	if !ok || t.State != authzstore.TerminalBound || t.Identity != s.caller {
		return notBound
	}
	return nil
}

// run writes events as messages come, and a comment now and then where none do.
func (s *stream) run(ctx context.Context, sub *subscription) {
	pings := make(chan struct{}, 1)
	for {
		if !s.catchUp(ctx, sub) {
			return
		}
		stop := s.outbox.cfg.After(s.outbox.cfg.PingEvery, func() {
			select {
			case pings <- struct{}{}:
			default: // one that came too late to be stopped
			}
		})
		select {
		case <-sub.wake:
		case <-pings:
			if s.events.write(ping) != nil {
				return
			}
		case <-sub.ended:
		case <-ctx.Done():
		}
		stop()
	}
}

// catchUp writes an event for each message that is there, and tells whether the stream
// goes on.
func (s *stream) catchUp(ctx context.Context, sub *subscription) bool {
	for more := true; more; {
		select {
		case <-sub.ended:
			return false
		case <-ctx.Done():
			return false
		default:
		}
		var event *Envelope
		var err error
		if event, more, err = s.next(ctx); err != nil {
			return false // whoever comes again is told why
		}
		if event == nil {
			continue
		}
		if err := s.events.event(*event); err != nil {
			return false
		}
		s.outbox.counts.streamed.Add(1)
	}
	return true
}

// next returns the next message that can be delivered, and whether more may follow.
func (s *stream) next(ctx context.Context) (event *Envelope, more bool, err error) {
	now, err := s.outbox.cfg.Now()
	if err != nil {
		return nil, false, clockJumped
	}
	err = s.outbox.cfg.Store.View(ctx, func(snapshot authzstore.Snapshot) error {
		if err := s.check(snapshot.Reader, now.UnixNano()); err != nil {
			return err
		}
		messages, err := snapshot.Messages(s.terminal, s.cursor+1, streamPage)
		if err != nil {
			return err
		}
		more = len(messages) > 0
		for _, m := range messages {
			envelope, hindrance, err := s.outbox.cfg.Renderer.Render(snapshot.Reader, m, now.UnixNano())
			if err != nil {
				return err
			}
			s.cursor = m.Num
			switch hindrance {
			case "":
				event = &envelope
				return nil
			case NoCode:
				s.outbox.cfg.Log.Error("a code cannot be made for its message", "code", string(NoCode))
			}
		}
		return nil
	})
	return event, more, err
}

// events writes a stream. Who does not take what is written within a time is cut off.
type events struct {
	to         http.ResponseWriter
	connection *http.ResponseController
	cfg        *Config
}

func (e events) event(envelope Envelope) error {
	data, err := json.Marshal(envelope) // has no line ends
	if err != nil {
		return err
	}
	return e.write(fmt.Sprintf("id: %d\nevent: message\ndata: %s\n\n", envelope.Number, data))
}

func (e events) write(text string) error {
	if err := e.connection.SetWriteDeadline(e.cfg.Deadline(e.cfg.WriteTimeout)); err != nil {
		return err
	}
	if _, err := e.to.Write([]byte(text)); err != nil {
		return err
	}
	return e.connection.Flush()
}
