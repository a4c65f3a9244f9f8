package outbox

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
)

// An Envelope is a message as it is delivered, as JSON. It may hold a code, so it
// goes to its terminal and nowhere else.
type Envelope struct {
	ID string `json:"id"` // msg_…; the same when it comes again
	// Number is its place among the messages of the terminal: from 1, ever growing.
	Number   uint64 `json:"number"`
	Kind     string `json:"kind"`
	Terminal string `json:"terminal"`
	// What it is about; left out where that has none.
	AmountMinor int64  `json:"amount_minor,omitempty"`
	Currency    string `json:"currency,omitempty"`
	Payee       string `json:"payee,omitempty"`
	// Requester is who asked: the initiator of the intent, or else of the call.
	Requester authzstore.Identity `json:"requester"`
	// Code is left out where the message brings none, or one that is good no more.
	Code           string            `json:"code,omitempty"`
	Challenge      string            `json:"challenge,omitempty"`
	Intent         string            `json:"intent,omitempty"`
	Details        map[string]string `json:"details,omitempty"`
	CreatedAtNanos int64             `json:"created_at_ns"`
	ExpiresAtNanos int64             `json:"expires_at_ns"`
}

// String keeps the code out of whatever prints an Envelope.
func (e Envelope) String() string { return "message " + e.ID }

// GoString implements fmt.GoStringer.
func (e Envelope) GoString() string { return e.String() }

// A Hindrance is why a message is not delivered now; empty where it is.
type Hindrance string

// The hindrances. All but Held are for good, and told with the dead letter.
const (
	// Held: the terminal is frozen or unbound. Messages wait, for as long as they live.
	Held Hindrance = "held"
	// Expired: nobody took it in time.
	Expired Hindrance = "expired"
	// Rebound: the terminal was unbound and bound since.
	Rebound Hindrance = "rebound"
	// NoCode: the message's code cannot be made, as with another key of the store.
	NoCode Hindrance = "code_unavailable"
)

// A Renderer makes what is delivered out of what is stored. Codes are made here and
// nowhere else.
type Renderer struct {
	// ChallengeCode returns the code of the challenge's terminal i.
	ChallengeCode func(ch authzstore.Challenge, i int) (string, error)
	// StoredCode returns a code that was agreed in advance.
	StoredCode func(c authzstore.StoredCode) (string, error)
}

// Render returns a message of a terminal as it is delivered at a time, or what hinders
// that. Terminal and codes are as the reader has them. The error is the store's.
func (r Renderer) Render(from authzstore.Reader, m authzstore.NumberedMessage, nowNanos int64) (Envelope, Hindrance, error) {
	t, bound, err := from.Terminal(m.Terminal)
	if err != nil {
		return Envelope{}, "", err
	}
	switch {
	case nowNanos > m.ExpiresAtNanos:
		return Envelope{}, Expired, nil
	case !bound || t.State != authzstore.TerminalBound:
		return Envelope{}, Held, nil
	case t.BoundAtNanos != m.TerminalBoundAtNanos || t.Account != m.Account:
		return Envelope{}, Rebound, nil
	}
	code, hindrance, err := r.code(from, m.Message, nowNanos)
	if err != nil || hindrance != "" {
		return Envelope{}, hindrance, err
	}
	return Envelope{
		ID: m.ID, Number: m.Num, Kind: m.Kind, Terminal: m.Terminal,
		AmountMinor: m.AmountMinor, Currency: m.Currency, Payee: m.Payee, Requester: m.Requester,
		Code: code, Challenge: m.Challenge, Intent: m.Intent, Details: m.Details,
		CreatedAtNanos: m.CreatedAtNanos, ExpiresAtNanos: m.ExpiresAtNanos,
	}, "", nil
}

// code returns the code that goes with a message to a terminal that is bound as it
// was; "" for none, or one that is good no more.
func (r Renderer) code(from authzstore.Reader, m authzstore.Message, nowNanos int64) (string, Hindrance, error) {
	var code string
	var made error
	switch {
	case m.CodeCounter != 0:
		ch, i, err := openChallenge(from, m, nowNanos)
		if err != nil || i < 0 {
			return "", "", err
		}
		code, made = r.ChallengeCode(ch, i)
	case m.StoredCode != nil:
		c, ok, err := storedCode(from, m, nowNanos)
		if err != nil || !ok {
			return "", "", err
		}
		code, made = r.StoredCode(c)
	}
	if made != nil {
		return "", NoCode, nil // the cause may be anything, and the store can do nothing about it
	}
	return code, "", nil
}

// openChallenge returns the challenge that a message brings a code of, and which of its
// terminals the code is for; -1 where none of its codes is good any more.
func openChallenge(from authzstore.Reader, m authzstore.Message, nowNanos int64) (authzstore.Challenge, int, error) {
	ch, ok, err := from.Challenge(m.Challenge)
	if err != nil || !ok {
		return ch, -1, err
	}
	if state, err := from.StandingAt(ch, nowNanos); err != nil || state != authzstore.ChallengeOpen {
		return ch, -1, err
	}
	return ch, slices.IndexFunc(ch.Terminals, func(t authzstore.ChallengeTerminal) bool {
		return t.Terminal == m.Terminal && t.BoundAtNanos == m.TerminalBoundAtNanos && t.Counter == m.CodeCounter
	}), nil
}

// storedCode returns the code that a message brings, if it can still be used.
func storedCode(from authzstore.Reader, m authzstore.Message, nowNanos int64) (authzstore.StoredCode, bool, error) {
	ref := *m.StoredCode
	all, err := from.StoredCodes(ref.Account)
	if err != nil {
		return authzstore.StoredCode{}, false, err
	}
	use, used, err := from.Use(authzstore.StoredCodeThing(ref.Account, ref.Slot))
	if err != nil || used && use.Step >= ref.Seq {
		return authzstore.StoredCode{}, false, err
	}
	for _, c := range all.Codes {
		if c.Slot == ref.Slot && c.Seq == ref.Seq && c.Terminal == m.Terminal &&
			c.TerminalBoundAtNanos == m.TerminalBoundAtNanos && nowNanos <= c.ExpiresAtNanos {
			return c, true, nil
		}
	}
	return authzstore.StoredCode{}, false, nil
}
