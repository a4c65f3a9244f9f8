package api

import (
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/countersign/countersign/authzstore"
)

// A Message is a message to a terminal as operators see it: never with a code.
type Message struct {
	Number         uint64              `json:"number" doc:"its place among those to the terminal, from 1"`
	ID             string              `json:"id"`
	Kind           string              `json:"kind" doc:"such as code"`
	Delivery       string              `json:"delivery" enum:"waiting,acknowledged,lapsed,dead" doc:"what became of it. lapsed: it expired, or the terminal was unbound or bound anew, before; dead: it was given up"`
	Why            string              `json:"why,omitempty" doc:"why it was given up"`
	DiedAtNanos    int64               `json:"died_at_ns,omitempty" doc:"when it was given up"`
	Account        string              `json:"account"`
	AmountMinor    int64               `json:"amount_minor,omitempty"`
	Currency       string              `json:"currency,omitempty"`
	Payee          string              `json:"payee,omitempty"`
	Requester      authzstore.Identity `json:"requester" doc:"who asked for what it is about: the initiator of the intent, or else of the call"`
	Challenge      string              `json:"challenge,omitempty"`
	Intent         string              `json:"intent,omitempty"`
	Details        map[string]string   `json:"details,omitempty" doc:"what the policy says in it"`
	CreatedAtNanos int64               `json:"created_at_ns"`
	ExpiresAtNanos int64               `json:"expires_at_ns"`
}

// A mailbox is the messages to one terminal, and how far they were delivered.
type mailbox struct {
	terminal authzstore.Terminal
	delivery authzstore.Delivery
	nowNanos int64
}

func (m mailbox) show(n authzstore.NumberedMessage) Message {
	shown := Message{
		Number: n.Num, ID: n.ID, Kind: n.Kind, Account: n.Account, AmountMinor: n.AmountMinor, Currency: n.Currency, Payee: n.Payee,
		Requester: n.Requester, Challenge: n.Challenge, Intent: n.Intent, Details: n.Details,
		CreatedAtNanos: n.CreatedAtNanos, ExpiresAtNanos: n.ExpiresAtNanos,
	}
	dead := slices.IndexFunc(m.delivery.Dead, func(l authzstore.DeadLetter) bool { return l.Num == n.Num })
	another := m.terminal.State == authzstore.TerminalUnbound || m.terminal.BoundAtNanos != n.TerminalBoundAtNanos
	switch {
	case dead >= 0:
		l := m.delivery.Dead[dead]
		shown.Delivery, shown.Why, shown.DiedAtNanos = "dead", l.Why, l.AtNanos
	case n.Num <= m.delivery.Acked:
		shown.Delivery = "acknowledged"
	case another || m.nowNanos > n.ExpiresAtNanos:
		shown.Delivery = "lapsed"
	default:
		shown.Delivery = "waiting"
	}
	return shown
}

// A MessageQuery says which messages to a terminal a list has.
type MessageQuery struct {
	TerminalPath
	PageQuery
	Delivery string `query:"delivery" enum:"waiting,acknowledged,lapsed,dead,any" default:"any" doc:"only those of which this became"`
}

// read reads a page.
func (q MessageQuery) read(s authzstore.Snapshot, nowNanos int64) ([]Message, string, error) {
	t, ok, err := s.Terminal(q.ID)
	if err != nil || !ok {
		return nil, "", orUnknown(err)
	}
	d, err := s.Delivery(q.ID)
	if err != nil {
		return nil, "", err
	}
	box := mailbox{t, d, nowNanos}
	page := func(after string, most int) ([]Message, string, error) { return box.page(s, after, most) }
	return filtered(q.After, q.Limit, page, func(m Message) bool { return q.Delivery == "any" || q.Delivery == m.Delivery })
}

// page reads the messages with numbers after one; next is empty where there is none
// left.
func (m mailbox) page(s authzstore.Snapshot, after string, most int) (shown []Message, next string, err error) {
	last := uint64(0)
	if after != "" {
		if last, err = strconv.ParseUint(after, 10, 64); err != nil || last == math.MaxUint64 {
			return nil, "", errCursor
		}
	}
	messages, err := s.Messages(m.terminal.ID, last+1, most)
	for _, n := range messages {
		shown = append(shown, m.show(n))
	}
	if len(messages) == most {
		next = strconv.FormatUint(messages[most-1].Num, 10)
	}
	return shown, next, err
}

func (c *Control) registerMessages() {
	register(c, "list-messages", func(ctx context.Context, in *MessageQuery) (*pageOutput[Message], error) {
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		return list(ctx, c, func(s authzstore.Snapshot) ([]Message, string, error) { return in.read(s, now.UnixNano()) }, asIs)
	})
}
