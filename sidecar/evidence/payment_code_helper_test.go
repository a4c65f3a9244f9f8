package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/sidecar/call"
)

// noon is in the middle of a step.
var noon = time.Date(2026, 11, 24, 12, 0, 15, 0, time.UTC)

// A world is a store with Anna's account, from which Ben may pay, and the payment
// codes that prove that he does.
type world struct {
	*authzstore.Store
	kv    kv.Store
	codes *PaymentCodes
	ben   Parameters // of his device
}

const benGrant = "grt_ben"

func newWorld(t testing.TB, edit func(*Config)) *world {
	t.Helper()
	sealer, err := NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Sealer: sealer}
	if edit != nil {
		edit(&cfg)
	}
	w := &world{}
	if w.codes, err = NewPaymentCodes(cfg); err != nil {
		t.Fatal(err)
	}
	if w.kv, err = badgerkv.Open(context.Background(), badgerkv.Options{Dir: t.TempDir(), BallastBytes: -1, VerifyEvery: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.kv.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Store = authzstore.New(w.kv)
	w.grantBen(t)
	return w
}

func (w *world) grantBen(t testing.TB) {
	t.Helper()
	person := func(name string) authzstore.Identity {
		return authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: name}
	}
	anyone := authzstore.Filter{Mode: authzstore.ModeAny}
	grant := authzstore.Grant{ID: benGrant, Account: "acc_anna", Delegate: person("ben"), Terms: authzstore.Terms{
		Currency: "EUR", MaxPaymentMinor: 1000,
		Limits:    []authzstore.Limit{{Name: "total", MaxAmountMinor: 5000}},
		ValidFrom: authzstore.Instant{Mode: authzstore.ModeAny}, ValidTo: authzstore.Instant{Mode: authzstore.ModeAny},
		Merchants: anyone, Categories: anyone, Countries: anyone, Channels: anyone,
		Hours: authzstore.Hours{Mode: authzstore.ModeAny}, Cooling: authzstore.Cooling{Mode: authzstore.ModeNone},
		Delegation: authzstore.DelegationFull,
	}}
	account := authzstore.Account{
		ID: "acc_anna", Owner: person("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1000,
	}
	credential, err := w.codes.NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	refs := append(authzstore.OfferRefs(grant), authzstore.AccountRef(account.ID, kv.Exclusive), authzstore.CredentialRef(credential.Handle, kv.Exclusive))
	err = w.update(noon.Add(-time.Hour), refs, func(tx *authzstore.Tx) error {
		return errors.Join(tx.PutAccount(account), tx.OfferGrant(grant), tx.AcceptGrant(grant.ID, credential),
			tx.MarkParametersFetched(credential.Handle, "key"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.ben, err = w.codes.Parameters(credential); err != nil {
		t.Fatal(err)
	}
}

func (w *world) update(at time.Time, refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	cause := authzstore.Cause{
		ID:       authzstore.NewID("dec"),
		Actor:    authzstore.Identity{Kind: "operator", Issuer: "local", Subject: "root"},
		NowNanos: at.UnixNano(),
	}
	return w.Update(context.Background(), cause, refs, fn)
}

func byMerchant(name string) About {
	return About{Call: call.Call{Identity: authzstore.Identity{Kind: "merchant", Issuer: "shops.example", Subject: "/" + name}}}
}

// code is what Ben's device shows at a time.
func (w *world) code(t testing.TB, at time.Time) string {
	t.Helper()
	code, err := w.ben.Code(w.ben.Step(at.UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wrong is a code of Ben's handle that is not right at a time, the nth such.
func (w *world) wrong(t testing.TB, at time.Time, nth int) string {
	t.Helper()
	current, last := w.code(t, at), w.code(t, at.Add(-30*time.Second))
	for n := 1000 + 3*nth; ; n++ {
		code := fmt.Sprintf("%s%s%08d", w.ben.Prefix, w.ben.Handle, n)
		if code != current && code != last {
			return code
		}
	}
}

// show has a merchant show a code in a call that is denied, and settles what a Finding
// says of it as the decision does: what is found in its transaction, and whether it
// matched in the end.
func (w *world) show(at time.Time, merchant, code string) (found Finding, matched bool, err error) {
	return w.showKind(w.codes, at, byMerchant(merchant), code, false)
}

// showKind does the same for any kind, in a call that is allowed if it matches, or
// denied.
func (w *world) showKind(kind Kind, at time.Time, about About, secret string, allowed bool) (found Finding, matched bool, err error) {
	err = w.update(at, kind.Refs(about, secret), func(tx *authzstore.Tx) (err error) {
		if found, err = kind.Check(tx, about, secret); err != nil {
			return err
		}
		matched, err = settle(tx, found, allowed)
		return err
	})
	return found, matched && err == nil, err
}

func settle(tx *authzstore.Tx, found Finding, allowed bool) (matched bool, err error) {
	matched = found.Matched
	var burns []Budget
	for _, b := range found.Budgets {
		burns = append(burns, b)
		left, err := tx.AttemptsLeft(b.Name, b.Allowance)
		if err != nil {
			return false, err
		}
		if left == 0 {
			matched = false
			break
		}
	}
	if matched {
		use, used, err := tx.Use(found.Thing)
		if err != nil {
			return false, err
		}
		matched = !used || use.Step < found.Step
	}
	if matched && (allowed || found.UsedWhenDenied) {
		return true, tx.UseStep(found.Thing, found.Step)
	}
	for _, b := range burns {
		if err := tx.BurnAttempt(b.Name, b.Allowance); err != nil {
			return false, err
		}
	}
	if found.Failures == "" {
		return matched, nil
	}
	return matched, tx.Count(found.Failures, 1)
}

// attempts counts the records of budgets of wrong codes: those of callers, and those
// of a caller and a handle.
func (w *world) attempts(t testing.TB) (callers, handles int) {
	t.Helper()
	err := w.kv.View(context.Background(), func(snap kv.Snap) error {
		return snap.Scan("attempts/", "", func(key string, _ []byte) error {
			if strings.HasPrefix(key, "attempts/code/") {
				handles++
			} else {
				callers++
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return callers, handles
}
