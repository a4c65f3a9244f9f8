package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// DefaultMaxBodyBytes is Envoy's bound in examples/envoy/envoy.yaml.
const DefaultMaxBodyBytes = 64 << 10

// A Guard stands before the handlers that move money, or that go on with what a call
// has opened.
type Guard struct {
	// Verifier of tokens. It is needed.
	Verifier *Verifier
	// Executions remembers what was run. It is needed: [InHandler] says that the
	// handler does so itself.
	Executions Executions
	// Opens says that the handler goes on with an intent that a call has opened, such as
	// an order: it runs once for each intent, and only for a call for which no money is
	// reserved. Without it, it runs only for one for which money is.
	Opens bool
	// MaxBodyBytes bounds the body of a request, in bytes. Zero means
	// DefaultMaxBodyBytes.
	MaxBodyBytes int64
	// Log receives every refusal. Nil means slog.Default.
	Log *slog.Logger
}

// Handler returns a handler that runs next for a call that was allowed, as it
// was allowed, and once for each reservation or, with Opens, each intent. next finds
// the payment with [FromContext], the whole body, and every header as it came.
//
// The answer of next is held back until it is remembered, so next cannot stream,
// and the context of next does not end when the caller leaves: a payment that
// has begun is brought to its end. With InHandler, neither is so.
//
// It panics if the Guard lacks Verifier or Executions, as a service would be
// open without them.
func (g Guard) Handler(next http.Handler) http.Handler {
	if g.Verifier == nil || g.Executions == nil || next == nil {
		panic("upstream: a Guard needs a Verifier, Executions and a handler")
	}
	if g.MaxBodyBytes == 0 {
		g.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if g.Log == nil {
		g.Log = slog.Default()
	}
	if g.Executions != InHandler {
		next = &once{executions: g.Executions, next: next, log: g.Log, running: map[string]bool{}}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payment, body, refusal := g.admit(w, r)
		if refusal != nil {
			refuse(w, g.Log, refusal, payment)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), contextKey{}, payment))
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		next.ServeHTTP(w, r)
	})
}

// admit returns the payment that the call stands for, and the body. With a
// refusal, the payment is what a good token says, if there is one.
func (g Guard) admit(w http.ResponseWriter, r *http.Request) (Payment, []byte, *Refusal) {
	token, refusal := tokenOf(r)
	if refusal != nil {
		return Payment{}, nil, refusal
	}
	claims, body, refusal := g.Verifier.admit(w, r, token, g.MaxBodyBytes)
	switch {
	case refusal != nil:
	case claims.Does != "":
		refusal = tokenNotForUs.because(errors.New("the token of a built-in operation"))
	case g.Opens != (claims.ReservationID == ""):
		refusal = tokenNotForUs.because(errors.New("a payment where an intent is opened, or an intent where a payment is made"))
	}
	return claims.Payment, body, refusal
}

// Admit returns what the token of a request says, and its body of at most
// maxBodyBytes, if the request is the one that the token is for. It is for what shows
// the outcome of built-in operations ([Claims.Does]); what moves money stands behind
// a [Guard].
func (v *Verifier) Admit(w http.ResponseWriter, r *http.Request, maxBodyBytes int64) (Claims, []byte, error) {
	token, refusal := tokenOf(r)
	if refusal != nil {
		return Claims{}, nil, refusal
	}
	claims, body, refusal := v.admit(w, r, token, maxBodyBytes)
	if refusal != nil {
		return Claims{}, nil, refusal
	}
	return claims, body, nil
}

// tokenOf returns the one token of a request.
func tokenOf(r *http.Request) (string, *Refusal) {
	switch tokens := r.Header.Values(HeaderToken); len(tokens) {
	case 0:
		return "", tokenMissing
	case 1:
		return tokens[0], nil
	default:
		return "", tokenInvalid.because(fmt.Errorf("%d tokens", len(tokens)))
	}
}

// admit returns what a token says, also with the refusal of a request that it is not
// for.
func (v *Verifier) admit(w http.ResponseWriter, r *http.Request, token string, maxBodyBytes int64) (Claims, []byte, *Refusal) {
	claims, err := v.Verify(token)
	if err != nil {
		var refusal *Refusal
		if !errors.As(err, &refusal) {
			refusal = tokenInvalid.because(err)
		}
		return Claims{}, nil, refusal
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return claims, nil, bodyTooBig
	case err != nil:
		return claims, nil, bodyUnreadable.because(err)
	}
	return claims, body, claims.compare(r, body)
}

// compare returns a refusal if the call is not the one that the claims are for.
func (c Claims) compare(r *http.Request, body []byte) *Refusal {
	for _, part := range []struct{ name, allowed, got string }{
		{"method", c.Method, r.Method},
		{"authority", c.Authority, r.Host},
		{"target", c.Target, r.RequestURI},
		{"body", c.BodySHA256, Digest(body)},
	} {
		if part.got != part.allowed {
			// The values stay out of the log: they hold what the call says.
			return callChanged.because(fmt.Errorf("another %s than was allowed", part.name))
		}
	}
	return nil
}

type contextKey struct{}

// FromContext returns the payment that a Guard's handler is to make. Behind a
// Guard there is always one.
func FromContext(ctx context.Context) (Payment, bool) {
	payment, ok := ctx.Value(contextKey{}).(Payment)
	return payment, ok
}

func refuse(w http.ResponseWriter, log *slog.Logger, refusal *Refusal, payment Payment) {
	if refusal.Cause != nil {
		log = log.With("cause", refusal.Cause)
	}
	if payment.DecisionID != "" {
		log = log.With("decision_id", payment.DecisionID, "reservation_id", payment.ReservationID, "intent", payment.Intent)
	}
	log.Warn("call refused", "code", refusal.Code)
	refusal.answer(payment.DecisionID).write(w)
}
