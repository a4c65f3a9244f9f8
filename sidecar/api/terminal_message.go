package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/upstream"
)

var (
	errNoMessages = problem(http.StatusNotFound, "not_found", "Messages are not delivered here.")
	errNotNow     = problem(http.StatusServiceUnavailable, "store_unavailable", "Messages cannot be delivered now. Try again.")
)

// stream sends the messages to the terminal of the call. With an error it has written
// nothing.
func (t *TerminalAPI) stream(w http.ResponseWriter, r *http.Request, claims upstream.Claims) error {
	if t.Messages == nil {
		return errNoMessages
	}
	sessionEndsNanos := claims.SessionExp * int64(time.Second) // in range: the token was checked
	err := t.Messages(w, r, claims.Terminal, authzstore.Identity(claims.Identity), sessionEndsNanos)
	if _, refused := errors.AsType[*upstream.Refusal](err); err == nil || refused {
		return err
	}
	t.Log.ErrorContext(r.Context(), "messages cannot be delivered", "decision_id", claims.DecisionID, "error", err)
	return errNotNow
}

// Acknowledged is how far the messages of a terminal need no delivery any more: the
// number of the last one.
type Acknowledged struct {
	Acked uint64 `json:"acked"`
}

func (s shower) acknowledged() (any, error) {
	d, err := s.Delivery(s.claims.Terminal)
	return Acknowledged{d.Acked}, err
}

// A StoredCode is a code that a terminal keeps for later, without the code: that goes to
// the terminal as a message.
type StoredCode struct {
	MaxAmountMinor int64  `json:"max_amount_minor,omitempty"` // 0: no maximum of its own
	Currency       string `json:"currency,omitempty"`
	CreatedAtNanos int64  `json:"created_at_ns"`
	ExpiresAtNanos int64  `json:"expires_at_ns"`
}

// storedCode shows the code that the terminal of the call keeps.
func (s shower) storedCode() (any, error) {
	stored, err := s.StoredCodes(s.claims.Account)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(stored.Codes, func(c authzstore.StoredCode) bool { return c.Terminal == s.claims.Terminal })
	if n < 0 {
		return nil, authzstore.ErrUnknownID
	}
	c := stored.Codes[n]
	return StoredCode{c.MaxAmountMinor, c.Currency, c.CreatedAtNanos, c.ExpiresAtNanos}, nil
}
