package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// request for the same payment, allowed again.
func (s *service) again(t *testing.T, change func(*Claims)) *http.Request {
	t.Helper()
	c := goodClaims()
	c.DecisionID, c.Replayed = "dec_2", true
	if change != nil {
		change(&c)
	}
	r := s.request(t)
	r.Header.Set(HeaderToken, sign(t, c))
	return r
}

// both runs a test with each implementation.
func both(t *testing.T, test func(*testing.T, Executions)) {
	t.Run("memory", func(t *testing.T) { test(t, &MemoryExecutions{}) })
	t.Run("file", func(t *testing.T) { test(t, openFile(t, filepath.Join(t.TempDir(), "executions"))) })
}

func openFile(t *testing.T, name string) *FileExecutions {
	t.Helper()
	f, err := OpenExecutions(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A call repeated a hundred times runs once, and has one answer.
func TestOnceRepeats(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		s := serve(t, func(s *service) { s.guard.Executions = executions })
		first := s.send(t, s.request(t))
		if first.header.Get(HeaderReplayed) != "" {
			t.Errorf("the first answer is %v", first.header)
		}
		for range 100 {
			got := s.send(t, s.again(t, nil))
			if got.status != 201 || got.body != "paid" || got.header.Get("Location") != "/v1/payments/1" || got.header.Get(HeaderReplayed) != "true" {
				t.Fatalf("repeated: %+v", got)
			}
		}
		if s.runs() != 1 {
			t.Errorf("%d runs", s.runs())
		}
		// Another reservation is another payment.
		if got := s.send(t, s.again(t, func(c *Claims) { c.ReservationID = "rsv_2" })); got.status != 201 || s.runs() != 2 {
			t.Errorf("%+v, %d runs", got, s.runs())
		}
	})
}

// The same payment with other proof in its body is the same payment; another
// payment with the same reservation is refused.
func TestOnceFingerprint(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		s := serve(t, func(s *service) { s.guard.Executions = executions })
		s.send(t, s.request(t))
		r := s.again(t, func(c *Claims) { c.BodySHA256 = Digest([]byte("{}")) })
		body("{}")(t, r)
		if got := s.send(t, r); got.status != 201 || got.header.Get(HeaderReplayed) != "true" {
			t.Errorf("%+v", got)
		}
		got := s.send(t, s.again(t, func(c *Claims) { c.AmountMinor++ }))
		if got.status != 422 || got.Code != "reservation_reused" || got.DecisionID != "dec_2" || s.runs() != 1 {
			t.Errorf("%+v, %d runs", got, s.runs())
		}
	})
}

// Of many at once, one runs; the others are told to come back, and then get its
// answer.
func TestOnceConcurrent(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		begun, end := make(chan struct{}), make(chan struct{})
		s := serve(t, func(s *service) {
			s.guard.Executions = executions
			s.pay = func(w http.ResponseWriter, _ *http.Request) {
				close(begun)
				<-end
				w.WriteHeader(http.StatusAccepted)
			}
		})
		var first, others sync.WaitGroup
		first.Go(func() {
			if got := s.send(t, s.request(t)); got.status != 202 {
				t.Errorf("%+v", got)
			}
		})
		<-begun
		for range 64 {
			others.Go(func() {
				got := s.send(t, s.again(t, nil))
				if got.status != 409 || got.Code != "execution_running" || got.header.Get("Retry-After") != "1" {
					t.Errorf("%+v", got)
				}
			})
		}
		others.Wait() // they end while the first one runs
		close(end)
		first.Wait()
		if got := s.send(t, s.again(t, nil)); got.status != 202 || got.header.Get(HeaderReplayed) != "true" || s.runs() != 1 {
			t.Errorf("%+v, %d runs", got, s.runs())
		}
	})
}

// A handler that panics leaves a payment of which nobody knows: it never runs
// again by itself, until somebody says what became of it.
func TestOncePanic(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		s := serve(t, func(s *service) {
			s.guard.Executions = executions
			s.pay = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		})
		if resp, err := s.Client().Do(s.request(t)); err == nil {
			t.Fatalf("answer %v", resp)
		}
		s.mend()
		for range 3 {
			if got := s.send(t, s.again(t, nil)); got.status != 409 || got.Code != "execution_unknown" || got.header.Get("Retry-After") != "" {
				t.Errorf("%+v", got)
			}
		}
		if s.runs() != 1 {
			t.Errorf("%d runs", s.runs())
		}
		if err := executions.Finish(t.Context(), "rsv_1", Answer{Status: 200, Body: []byte("it was")}); err != nil {
			t.Fatal(err)
		}
		if got := s.send(t, s.again(t, nil)); got.status != 200 || got.body != "it was" || s.runs() != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// A handler that could not even try says so, and the call runs again.
func TestNotExecuted(t *testing.T) {
	both(t, func(t *testing.T, executions Executions) {
		s := serve(t, func(s *service) {
			s.guard.Executions = executions
			s.pay = func(w http.ResponseWriter, r *http.Request) {
				NotExecuted(r.Context())
				http.Error(w, "no database", http.StatusServiceUnavailable)
			}
		})
		if got := s.send(t, s.request(t)); got.status != 503 || got.body != "no database\n" {
			t.Errorf("%+v", got)
		}
		s.mend()
		if got := s.send(t, s.again(t, nil)); got.status != 201 || got.header.Get(HeaderReplayed) != "" || s.runs() != 2 {
			t.Errorf("%+v", got)
		}
	})
	NotExecuted(context.Background()) // elsewhere it does nothing
}

// Answers of every kind are repeated as they were, denials too.
func TestOnceAnswers(t *testing.T) {
	for name, pay := range map[string]http.HandlerFunc{
		"nothing":        func(http.ResponseWriter, *http.Request) {},
		"no status":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") },
		"denial":         func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusConflict) },
		"no content":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"bytes":          func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\x00\xff\n")) },
		"two of a kind":  func(w http.ResponseWriter, _ *http.Request) { w.Header()["X-A"] = []string{"1", "2"} },
		"early hints":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(201) },
		"status twice":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
		"header after":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.Header().Set("X-Late", "1") },
		"at the limit":   func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, MaxAnswerBytes)) },
		"over the limit": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, MaxAnswerBytes+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(s *service) {
				s.guard.Executions = openFile(t, filepath.Join(t.TempDir(), "executions"))
				s.pay = pay
			})
			first, second := s.send(t, s.request(t)), s.send(t, s.again(t, nil))
			if second.header.Get(HeaderReplayed) != "true" || s.runs() != 1 {
				t.Errorf("not repeated: %+v", second)
			}
			for _, a := range []*answered{&first, &second} {
				a.header.Del(HeaderReplayed)
				a.header.Del("Date")
			}
			if fmt.Sprint(first) != fmt.Sprint(second) {
				t.Errorf("first  %.300q\nsecond %.300q", fmt.Sprint(first), fmt.Sprint(second))
			}
			if first.header.Get("X-Late") != "" || (name == "over the limit") != (first.Code == "answer_too_big") {
				t.Errorf("%v %s", first.header, first.Code)
			}
		})
	}
}

// broken is Executions whose disk fails.
type broken struct {
	MemoryExecutions
	begin, finish error
}

func (b *broken) Begin(ctx context.Context, id, fingerprint string) (*Answer, error) {
	if b.begin != nil {
		return nil, b.begin
	}
	return b.MemoryExecutions.Begin(ctx, id, fingerprint)
}

func (b *broken) Finish(ctx context.Context, id string, a Answer) error {
	if b.finish != nil {
		return b.finish
	}
	return b.MemoryExecutions.Finish(ctx, id, a)
}

// What cannot be noted is not run. What was run and could not be noted is
// answered as it was, and is unknown from then on.
func TestOnceBroken(t *testing.T) {
	executions := &broken{begin: errors.New("disk4711")}
	s := serve(t, func(s *service) { s.guard.Executions = executions })
	got := s.send(t, s.request(t))
	if got.status != 503 || got.Code != "execution_unavailable" || s.runs() != 0 || strings.Contains(got.body, "4711") {
		t.Errorf("%+v, %d runs", got, s.runs())
	}
	if !bytes.Contains(s.log.Bytes(), []byte("disk4711")) {
		t.Errorf("log %s", s.log)
	}
	executions.begin, executions.finish = nil, errors.New("disk4712")
	if got := s.send(t, s.request(t)); got.status != 201 || s.runs() != 1 || !strings.Contains(s.log.String(), "disk4712") {
		t.Errorf("%+v, %d runs, log %s", got, s.runs(), s.log)
	}
	if got := s.send(t, s.again(t, nil)); got.Code != "execution_unknown" || s.runs() != 1 {
		t.Errorf("%+v, %d runs", got, s.runs())
	}
}

// A payment that has begun is brought to its end: its context does not end when
// the caller leaves.
func TestOnceOutlivesCaller(t *testing.T) {
	s := serve(t, func(s *service) {
		s.pay = func(_ http.ResponseWriter, r *http.Request) {
			if _, ok := FromContext(r.Context()); !ok || r.Context().Done() != nil {
				t.Errorf("payment %v, the context can end: %v", ok, r.Context().Done() != nil)
			}
		}
	})
	if got := s.send(t, s.request(t)); got.status != 200 || s.runs() != 1 {
		t.Errorf("%+v", got)
	}
}

// With InHandler, a call is checked, and the handler is run each time.
func TestInHandler(t *testing.T) {
	s := serve(t, func(s *service) { s.guard.Executions = InHandler })
	for range 2 {
		if got := s.send(t, s.again(t, nil)); got.status != 201 {
			t.Errorf("%+v", got)
		}
	}
	if s.runs() != 2 || !s.paid[1].payment.Replayed {
		t.Errorf("%d runs", s.runs())
	}
	r := s.request(t)
	r.Header.Del(HeaderToken)
	if got := s.send(t, r); got.Code != "token_missing" || s.runs() != 2 {
		t.Errorf("%+v", got)
	}
}
