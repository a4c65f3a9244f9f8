package decide

import (
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/policy"
)

// messageLifeNanos is how long a message is delivered where nothing else says so.
const messageLifeNanos = int64(24 * time.Hour)

// messageRefs declares what messages of the call touch.
func (ck *check) messageRefs(f Facts) []kv.Ref {
	var refs []kv.Ref
	for _, id := range ck.messaged(f) {
		refs = append(refs, authzstore.SendRefs(id)...)
	}
	return refs
}

// reachable is a terminal that messages of this call may go to: one that it leads to by
// a fact that the route declares `write`, and that is not unbound. Those to a frozen one
// wait until it is not.
func (ck *check) reachable(f Facts, id string) (authzstore.Terminal, error) {
	t, known := f.devices[id]
	if !known || !slices.Contains(ck.messaged(f), id) {
		return authzstore.Terminal{}, contradiction("a message to a terminal that the call does not lead to")
	}
	if t.State == authzstore.TerminalUnbound {
		return authzstore.Terminal{}, contradiction("a message to a terminal that is unbound")
	}
	return t, nil
}

// message is one to a terminal: for what the call is, or the intent that it is about,
// and who asked for that, whatever the policy adds.
func (ck *check) message(to authzstore.Terminal, kind string, about *authzstore.Intent, details map[string]string) authzstore.Message {
	p := ck.purpose(about)
	m := authzstore.Message{
		ID:                   authzstore.NewID("msg"),
		Kind:                 kind,
		Terminal:             to.ID,
		Account:              to.Account,
		TerminalBoundAtNanos: to.BoundAtNanos,
		AmountMinor:          p.amountMinor,
		Currency:             p.currency,
		Payee:                p.payee,
		Requester:            ck.call.Identity,
		Details:              details,
	}
	if about != nil {
		m.Intent, m.Requester = about.ID, about.Initiator
	}
	return m
}

// sendChallenge writes the messages of a challenge that was issued: one to each
// terminal, of codes each with its own.
func (ck *check) sendChallenge(tx *authzstore.Tx, f Facts, e policy.IssueChallenge, c authzstore.Challenge, about *authzstore.Intent) error {
	for _, asked := range c.Terminals {
		m := ck.message(f.devices[asked.Terminal], e.Message, about, e.Details)
		m.Challenge, m.CodeCounter, m.ExpiresAtNanos = c.ID, asked.Counter, c.ExpiresAtNanos
		if err := ck.send(tx, f, m); err != nil {
			return err
		}
	}
	return nil
}

// notify sends a message that the policy wants sent. None lives longer than messages do,
// whatever it is about.
func (ck *check) notify(tx *authzstore.Tx, f Facts, e policy.Notify, done effected) error {
	to, err := ck.reachable(f, e.Terminal)
	if err != nil {
		return err
	}
	m := ck.message(to, e.Kind, done.intent, e.Details)
	switch {
	case done.challenge != nil:
		m.Challenge = done.challenge.ID
	case f.Challenge != nil && !f.hidden:
		m.Challenge = f.Challenge.ID
	}
	m.ExpiresAtNanos = tx.Now() + messageLifeNanos
	if e.ExpiresAtNanos != 0 {
		m.ExpiresAtNanos = min(e.ExpiresAtNanos, m.ExpiresAtNanos)
	}
	return ck.send(tx, f, m)
}

// send sends a message. What somebody wants who is not of the account leaves room for
// what its people want.
func (ck *check) send(tx *authzstore.Tx, f Facts, m authzstore.Message) error {
	if ck.isOf(f, m.Account) {
		return tx.Send(m)
	}
	return tx.SendForOther(m)
}

// isOf tells whether the caller owns an account that the call leads to, or is a terminal
// of it.
func (ck *check) isOf(f Facts, account string) bool {
	for _, a := range []*authzstore.Account{f.Account, f.IntentAccount} {
		if a != nil && a.ID == account && a.Owner == ck.call.Identity {
			return true
		}
	}
	return ck.fromTerminal(f) != "" && f.Terminal.Account == account
}
