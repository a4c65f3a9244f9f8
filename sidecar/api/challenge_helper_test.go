package api_test

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/upstream"
)

var (
	phonesID  = upstream.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "phone"}
	tabletsID = upstream.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "tablet"}
	watchsID  = upstream.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "watch"}
	bakerysID = upstream.Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery"}
)

// decide makes a change as a decision does.
func (w *world) decide(refs []kv.Ref, fn func(*authzstore.Tx) error) {
	w.t.Helper()
	now, _ := w.now()
	cause := authzstore.Cause{ID: authzstore.NewID("dec"), Actor: authzstore.Identity(annasID), NowNanos: now.UnixNano()}
	if err := w.store.Update(w.t.Context(), cause, refs, fn); err != nil {
		w.t.Fatal(err)
	}
}

// bind writes a terminal of Anna's account in a state.
func (w *world) bind(name, state string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"account": "acc_anna", "identity": {"kind": "terminal", "issuer": "https://id.example", "subject": %q}, "state": %q, "rights": [], "paired_with": [], "number": "+49170555"}`, name, state)
	w.ask(200, "PUT", "/v1/terminals/trm_"+name, body, nil)
}

// asking has Anna's account with a phone, a tablet and a watch.
func (w *world) asking() {
	w.t.Helper()
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	for _, name := range []string{"phone", "tablet", "watch"} {
		w.bind(name, "bound")
	}
}

// issue issues a challenge to the phone and the tablet: the bakery wants codes of both,
// in an order, and has three attempts.
func (w *world) issue(change func(*authzstore.Challenge)) string {
	w.t.Helper()
	c := authzstore.Challenge{
		ID: authzstore.NewID("chl"), Kind: authzstore.ChallengeCode, Account: "acc_anna", Initiator: authzstore.Identity(bakerysID),
		System: "multi_terminal", Operation: "pay", Fingerprint: make([]byte, 32), Expects: authzstore.ExpectsInitiator,
		Terminals:   []authzstore.ChallengeTerminal{{Terminal: "trm_phone"}, {Terminal: "trm_tablet", Counter: 1}},
		AmountMinor: 1250, Currency: "EUR", Payee: "mer_bakery", Sealed: []byte("sealed4711"), Digits: 6, MaxAttempts: 3,
		Condition:      authzstore.Condition{Entry: authzstore.EntryDescending, MinGapNanos: 4711},
		ExpiresAtNanos: w.at.Add(5 * time.Minute).UnixNano(),
	}
	if change != nil {
		change(&c)
	}
	w.decide(authzstore.ChallengeRefs(c), func(tx *authzstore.Tx) error { return tx.IssueChallenge(c) })
	return c.ID
}

// stored is a challenge as it is stored.
func (w *world) stored(id string) (c authzstore.Challenge) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(s authzstore.Snapshot) (err error) {
		c, _, err = s.Challenge(id)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// fail enters one wrong set of codes.
func (w *world) fail(id string) {
	w.t.Helper()
	w.decide(authzstore.ChallengeRefs(w.stored(id)), func(tx *authzstore.Tx) error {
		for range 2 {
			if _, err := tx.AddEntry(id, authzstore.Entry{Terminal: -1}); err != nil {
				return err
			}
		}
		_, err := tx.FailChallenge(id)
		return err
	})
}

// lock locks the account's codes, by as many wrong sets as that takes, each of a
// challenge of its own.
func (w *world) lock() {
	w.t.Helper()
	for range authzstore.MaxFailedInARow {
		w.fail(w.issue(nil))
	}
}

// open opens an intent of Anna's: a top-up, pushed to the tablet.
func (w *world) open(change func(*authzstore.Intent)) string {
	w.t.Helper()
	i := authzstore.Intent{
		ID: authzstore.NewID("int"), System: "proxied_business", Kind: "business", State: "waiting", Account: "acc_anna",
		Initiator: authzstore.Identity(phonesID), Terminal: "trm_phone", Terminals: []string{"trm_tablet"},
		AmountMinor: 5000, Currency: "EUR", Attributes: map[string]string{"type": "top_up"},
		ExpiresAtNanos: w.at.Add(10 * time.Minute).UnixNano(),
	}
	if change != nil {
		change(&i)
	}
	w.decide(authzstore.IntentRefs(i), func(tx *authzstore.Tx) error { return tx.OpenIntent(i) })
	return i.ID
}

// advance takes an intent of Anna's on, by the bakery.
func (w *world) advance(id, from, to string, closes bool) {
	w.t.Helper()
	w.decide(authzstore.IntentRefs(authzstore.Intent{ID: id, Account: "acc_anna"}), func(tx *authzstore.Tx) error {
		return tx.AdvanceIntent(id, from, authzstore.IntentAdvance{
			To: to, Parties: map[string]string{to + "_by": "acc_agent"}, Close: closes, By: authzstore.Identity(bakerysID),
		})
	})
}

// notify sends a message to the phone.
func (w *world) notify(kind string, change func(*authzstore.Message)) {
	w.t.Helper()
	m := authzstore.Message{
		ID: authzstore.NewID("msg"), Kind: kind, Terminal: "trm_phone", Account: "acc_anna", TerminalBoundAtNanos: w.boundAt("trm_phone"),
		AmountMinor: 1250, Currency: "EUR", Payee: "mer_bakery", Requester: authzstore.Identity(bakerysID),
		Challenge: "chl_x", CodeCounter: 4711, Details: map[string]string{"note": "hello"}, ExpiresAtNanos: w.at.Add(5 * time.Minute).UnixNano(),
	}
	if change != nil {
		change(&m)
	}
	w.decide(authzstore.SendRefs(m.Terminal), func(tx *authzstore.Tx) error { return tx.Send(m) })
}

func (w *world) boundAt(terminal string) (nanos int64) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(s authzstore.Snapshot) error {
		t, _, err := s.Terminal(terminal)
		nanos = t.BoundAtNanos
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return nanos
}
