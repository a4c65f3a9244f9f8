package upstream

import (
	"context"
	"errors"
	"net/http"
)

// An Answer is what a handler answered, to be repeated.
type Answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

// Executions remembers which reservations were run, and what was answered. It is
// used by several goroutines at once.
type Executions interface {
	// Begin notes durably that a reservation is being run, so that it is never
	// begun again. If it was run before, the answer is returned instead. The
	// error is [ErrUnfinished] if it was begun and not finished, and
	// [ErrOtherPayment] if it was begun for a payment with another fingerprint.
	// With any other error it is not run.
	Begin(ctx context.Context, reservationID, fingerprint string) (*Answer, error)
	// Finish notes the answer of a reservation that was begun.
	Finish(ctx context.Context, reservationID string, answer Answer) error
	// Abandon notes that a reservation was begun, but that nothing happened: it
	// may be begun again.
	Abandon(ctx context.Context, reservationID string) error
}

// Errors of Executions.
var (
	// ErrUnfinished: the reservation was begun, and either it is being run or
	// nobody knows what became of it.
	ErrUnfinished = errors.New("upstream: execution begun and not finished")
	// ErrOtherPayment: the reservation was begun for another payment.
	ErrOtherPayment = errors.New("upstream: reservation of another payment")
	// ErrNotBegun: the reservation was not begun, or it is finished.
	ErrNotBegun = errors.New("upstream: execution not begun")
)

// InHandler says that the handler itself runs a reservation once, in its own
// database, and in the transaction that pays; see the package's comment.
var InHandler Executions = inHandler{}

type inHandler struct{}

var errInHandler = errors.New("upstream: the handler keeps its executions itself")

func (inHandler) Begin(context.Context, string, string) (*Answer, error) { return nil, errInHandler }
func (inHandler) Finish(context.Context, string, Answer) error           { return errInHandler }
func (inHandler) Abandon(context.Context, string) error                  { return errInHandler }
