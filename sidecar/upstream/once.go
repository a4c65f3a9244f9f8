package upstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
)

// HeaderReplayed is the response header that says that an answer is an earlier
// one, repeated. The request header of this name says that a call may be a
// repetition.
const HeaderReplayed = "countersign-replayed"

// MaxAnswerBytes bounds the answers that are remembered.
const MaxAnswerBytes = 1 << 20

// once runs next once for each reservation, or intent that was opened.
type once struct {
	executions Executions
	next       http.Handler
	log        *slog.Logger

	mu      sync.Mutex
	running map[string]bool // executions, in this process
}

func (o *once) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	payment, _ := FromContext(r.Context())
	if !o.enter(payment.execution()) {
		refuse(w, o.log, executionRunning, payment)
		return
	}
	defer o.leave(payment.execution())
	r = r.WithContext(context.WithoutCancel(r.Context()))
	earlier, err := o.executions.Begin(r.Context(), payment.execution(), payment.Fingerprint())
	switch {
	case errors.Is(err, ErrUnfinished):
		refuse(w, o.log, executionUnknown, payment)
	case errors.Is(err, ErrOtherPayment):
		refuse(w, o.log, reservationReused, payment)
	case err != nil:
		refuse(w, o.log, executionUnavailable.because(err), payment)
	case earlier != nil:
		w.Header().Set(HeaderReplayed, "true")
		earlier.write(w)
	default:
		o.run(r, payment).write(w)
	}
}

// run runs a reservation that was begun. If next panics, it stays begun: nobody
// knows how far it came.
func (o *once) run(r *http.Request, payment Payment) Answer {
	abandoned := false
	ctx := context.WithValue(r.Context(), abandonKey{}, &abandoned)
	recorder := &recorder{header: http.Header{}}
	o.next.ServeHTTP(recorder, r.WithContext(ctx))
	answer := recorder.answer(payment)
	var err error
	if abandoned {
		err = o.executions.Abandon(ctx, payment.execution())
	} else {
		err = o.executions.Finish(ctx, payment.execution(), answer)
	}
	if err != nil {
		// The caller still gets the true answer; whoever repeats the call is told
		// that it is not known.
		o.log.Error("the answer of an execution is not remembered", "error", err,
			"decision_id", payment.DecisionID, "reservation_id", payment.ReservationID, "intent", payment.Intent)
	}
	return answer
}

func (o *once) enter(execution string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running[execution] {
		return false
	}
	o.running[execution] = true
	return true
}

func (o *once) leave(execution string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.running, execution)
}

type abandonKey struct{}

// NotExecuted is for a handler behind a Guard that could not even try (its
// database is down, say) and knows that nothing happened: its answer is not
// remembered, and the same call, repeated, runs it again. With [InHandler], it
// does nothing.
func NotExecuted(ctx context.Context) {
	if abandoned, ok := ctx.Value(abandonKey{}).(*bool); ok {
		*abandoned = true
	}
}

// recorder holds an answer back.
type recorder struct {
	header  http.Header
	status  int
	written http.Header // as it was with the status
	body    bytes.Buffer
	tooBig  bool
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status != 0 || status < http.StatusOK { // 1xx is no answer yet
		return
	}
	r.status, r.written = status, r.header.Clone()
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.body.Len()+len(p) > MaxAnswerBytes {
		r.tooBig = true
		return 0, answerTooBig
	}
	return r.body.Write(p)
}

func (r *recorder) answer(payment Payment) Answer {
	if r.tooBig {
		return answerTooBig.answer(payment.DecisionID)
	}
	r.WriteHeader(http.StatusOK)
	return Answer{r.status, r.written, r.body.Bytes()}
}

func (a Answer) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header.Clone())
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the caller has left if it fails
}
