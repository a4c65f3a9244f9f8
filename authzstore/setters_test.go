package authzstore_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

func TestLimitRules(t *testing.T) {
	w := open(t)
	total := authzstore.Limit{Name: "total", MaxAmountMinor: 1000}
	for name, bend := range map[string]func(*authzstore.Account){
		"nameless limit":     func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{MaxCount: 1}} },
		"limits nothing":     func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{Name: "total"}} },
		"negative limit":     func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{Name: "total", MaxAmountMinor: -1}} },
		"one limit twice":    func(a *authzstore.Account) { a.Limits = []authzstore.Limit{total, total} },
		"seventeen limits":   func(a *authzstore.Account) { a.Limits = make([]authzstore.Limit, 17) },
		"limit over 2^53":    func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{Name: "t", MaxAmountMinor: 1 << 53}} },
		"capitals in a name": func(a *authzstore.Account) { a.Limits = []authzstore.Limit{{Name: "Total", MaxCount: 1}} },
	} {
		t.Run(name, func(t *testing.T) {
			a := account("acc_anna")
			bend(&a)
			wantErr(t, w.putAccount(a), authzstore.ErrInvalid)
		})
	}
	mustDo(t, w.putAccount(account("acc_anna", total)))
	w.clean(t)
}

func TestReserveWithinLimits(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna",
		authzstore.Limit{Name: "total", MaxAmountMinor: 60000},
		authzstore.Limit{Name: "thrice", MaxCount: 3})))
	frozen := account("acc_ben")
	frozen.State = authzstore.AccountFrozen
	mustDo(t, w.putAccount(frozen))

	wantErr(t, w.reserve("acc_nobody", authzstore.NewID("rsv"), 1), authzstore.ErrUnknownID)
	wantErr(t, w.reserve("acc_ben", authzstore.NewID("rsv"), 1), authzstore.ErrFrozen)
	wantErr(t, w.reserve("acc_anna", "first", 1), authzstore.ErrInvalid)
	wantErr(t, w.reserve("acc_anna", authzstore.NewID("rsv"), 0), authzstore.ErrInvalid)
	wantLimit(t, w.reserve("acc_anna", authzstore.NewID("rsv"), 50001), "payment", 50000, -1)
	dollars := reservation("acc_anna", "rsv_dollars", 1)
	dollars.Currency = "USD"
	wantErr(t, w.update(authzstore.ReserveRefs(dollars), func(tx *authzstore.Tx) error {
		return tx.ReserveWithinLimits(dollars)
	}), authzstore.ErrInvalid)

	mustDo(t, w.reserve("acc_anna", "rsv_1", 50000))
	wantErr(t, w.reserve("acc_anna", "rsv_1", 1), authzstore.ErrInvalid)
	wantLimit(t, w.reserve("acc_anna", "rsv_2", 10001), "total", 10000, -1)
	mustDo(t, w.reserve("acc_anna", "rsv_2", 9999))
	mustDo(t, w.reserve("acc_anna", "rsv_3", 1))
	wantLimit(t, w.reserve("acc_anna", "rsv_4", 1), "total", 0, -1)
	if got, want := w.usage(t, "acc_anna"), (authzstore.Usage{Holder: "acc_anna", PendingMinor: 60000, Count: 3}); !reflect.DeepEqual(got, want) {
		t.Errorf("usage %+v, want %+v", got, want)
	}
	w.clean(t)
}

func TestCountLimit(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna", authzstore.Limit{Name: "twice", MaxCount: 2})))
	mustDo(t, w.reserve("acc_anna", "rsv_1", 1))
	mustDo(t, w.reserve("acc_anna", "rsv_2", 1))
	wantLimit(t, w.reserve("acc_anna", "rsv_3", 1), "twice", -1, 0)
	mustDo(t, w.resolve("acc_anna", "rsv_1", func(tx *authzstore.Tx) error { return tx.Void("rsv_1") }))
	mustDo(t, w.reserve("acc_anna", "rsv_3", 1))
	w.clean(t)
}

func wantLimit(t *testing.T, err error, limit string, minor, count int64) {
	t.Helper()
	var over *authzstore.OverLimitError
	if !errors.As(err, &over) || *over != (authzstore.OverLimitError{Holder: "acc_anna", Limit: limit, RemainingMinor: minor, RemainingCount: count}) {
		t.Errorf("got error %v, want over limit %s with %d minor units and %d payments", err, limit, minor, count)
	}
}

// TestResolveOnce tries every second step after every first one.
func TestResolveOnce(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna")))
	steps := map[string]func(*authzstore.Tx, string) error{
		"post all":  func(tx *authzstore.Tx, id string) error { return tx.Post(id, 100) },
		"post part": func(tx *authzstore.Tx, id string) error { return tx.Post(id, 30) },
		"void":      func(tx *authzstore.Tx, id string) error { return tx.Void(id) },
		"unknown":   func(tx *authzstore.Tx, id string) error { return tx.MarkUnknown(id) },
	}
	counts := map[string]authzstore.Usage{ // after the last step that counts
		"post all":  {PostedMinor: 100, Count: 1},
		"post part": {PostedMinor: 30, Count: 1},
		"void":      {},
		"unknown":   {PendingMinor: 100, Count: 1},
	}
	want := authzstore.Usage{Holder: "acc_anna"}
	for first, doFirst := range steps {
		for second, doSecond := range steps {
			id := authzstore.NewID("rsv")
			mustDo(t, w.reserve("acc_anna", id, 100))
			mustDo(t, w.resolve("acc_anna", id, func(tx *authzstore.Tx) error { return doFirst(tx, id) }))
			err := w.resolve("acc_anna", id, func(tx *authzstore.Tx) error { return doSecond(tx, id) })
			last := first
			if first == "unknown" {
				last = second
				mustDo(t, err)
			} else {
				wantErr(t, err, authzstore.ErrResolved)
			}
			want.PendingMinor += counts[last].PendingMinor
			want.PostedMinor += counts[last].PostedMinor
			want.Count += counts[last].Count
		}
	}
	if got := w.usage(t, "acc_anna"); !reflect.DeepEqual(got, want) {
		t.Errorf("usage %+v, want %+v", got, want)
	}
	w.clean(t)
}

func TestPostWithinReserved(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna")))
	mustDo(t, w.reserve("acc_anna", "rsv_1", 100))
	for _, minor := range []int64{-1, 0, 101} {
		wantErr(t, w.resolve("acc_anna", "rsv_1", func(tx *authzstore.Tx) error { return tx.Post("rsv_1", minor) }), authzstore.ErrInvalid)
	}
	wantErr(t, w.resolve("acc_anna", "rsv_2", func(tx *authzstore.Tx) error { return tx.Void("rsv_2") }), authzstore.ErrUnknownID)
	w.clean(t)
}

func TestUseOnce(t *testing.T) {
	w := open(t)
	use := func() error {
		return w.update([]kv.Ref{authzstore.UseRef("chl_1")}, func(tx *authzstore.Tx) error { return tx.UseOnce("chl_1") })
	}
	mustDo(t, use())
	wantErr(t, use(), authzstore.ErrUsed)
	w.close(t)
	w.reopen(t)
	wantErr(t, use(), authzstore.ErrUsed)
	w.clean(t)
}

func TestAnswerOnce(t *testing.T) {
	w := open(t)
	sum := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	key := func(subject, system, operation, key string) authzstore.CallKey {
		caller := authzstore.Identity{Kind: "user", Issuer: "i", Subject: subject}
		return authzstore.CallKey{Caller: caller, System: system, Operation: operation, Key: key}
	}
	answer := func(key authzstore.CallKey, k authzstore.KeyedCall) error {
		return w.update([]kv.Ref{key.Ref()}, func(tx *authzstore.Tx) error { return tx.AnswerOnce(key, k) })
	}
	pending := authzstore.KeyedCall{Fingerprint: sum('a'), State: authzstore.KeyedPending}
	denied := authzstore.KeyedCall{Fingerprint: sum('a'), State: authzstore.KeyedDenied, Answer: []byte("{}")}
	allowed := authzstore.KeyedCall{Fingerprint: sum('a'), State: authzstore.KeyedAllowed}
	with := func(k authzstore.KeyedCall, evidence byte) authzstore.KeyedCall {
		k.Evidence, k.SpentBy = sum(evidence), "dec_1"
		return k
	}
	other := pending
	other.Fingerprint = sum('b')

	k := key("anna", "direct_payment", "pay", "k")
	mustDo(t, answer(k, pending))
	mustDo(t, answer(k, pending))
	wantErr(t, answer(k, other), authzstore.ErrOtherCall)
	mustDo(t, answer(k, denied))
	wantErr(t, answer(k, denied), authzstore.ErrAnswered)
	wantErr(t, answer(k, pending), authzstore.ErrAnswered)
	wantErr(t, answer(k, other), authzstore.ErrOtherCall)
	mustDo(t, answer(k, with(denied, 'x')))
	wantErr(t, answer(k, with(allowed, 'x')), authzstore.ErrAnswered)
	mustDo(t, answer(k, with(allowed, 'y')))
	for _, again := range []authzstore.KeyedCall{pending, denied, allowed, with(allowed, 'y'), with(allowed, 'z')} {
		wantErr(t, answer(k, again), authzstore.ErrAnswered)
	}
	for _, k := range []authzstore.CallKey{
		key("ben", "direct_payment", "pay", "k"), key("anna", "direct_payment", "refund", "k"), key("anna", "direct_payment", "pay", "K"),
		key("anna", "agent_order", "pay", "k"), key("ann", "adirect_payment", "pay", "k"),
	} {
		mustDo(t, answer(k, other))
	}
	opened := allowed
	opened.Intent, opened.RunsOnceAt = "int_1", "https://bank.example"
	mustDo(t, answer(key("anna", "agent_order", "order", "k"), opened))
	for name, bad := range map[string]authzstore.KeyedCall{
		"short fingerprint":          {Fingerprint: []byte("short"), State: authzstore.KeyedPending},
		"short MAC":                  {Fingerprint: sum('a'), State: authzstore.KeyedPending, Evidence: []byte("short"), SpentBy: "dec_1"},
		"evidence that nobody spent": {Fingerprint: sum('a'), State: authzstore.KeyedPending, Evidence: sum('x')},
		"denied without an answer":   {Fingerprint: sum('a'), State: authzstore.KeyedDenied},
		"allowed with an answer":     {Fingerprint: sum('a'), State: authzstore.KeyedAllowed, Answer: []byte("{}")},
		"pending with a reservation": {Fingerprint: sum('a'), State: authzstore.KeyedPending, ReservationID: "rsv_1"},
		"a state that there is not":  {Fingerprint: sum('a'), State: "perhaps"},
		"no state":                   {Fingerprint: sum('a')},
		"forwarded again for what":   {Fingerprint: sum('a'), State: authzstore.KeyedAllowed, RunsOnceAt: "https://bank.example"},
		"pending with an intent":     {Fingerprint: sum('a'), State: authzstore.KeyedPending, Intent: "int_1"},
		"a challenge that is none":   {Fingerprint: sum('a'), State: authzstore.KeyedPending, Challenge: "int_1"},
		"an intent that is none":     {Fingerprint: sum('a'), State: authzstore.KeyedAllowed, Intent: "chl_1"},
		"no evidence that matched":   {Fingerprint: sum('a'), State: authzstore.KeyedPending, EvidenceMatched: true},
		"matched and locked out":     {Fingerprint: sum('a'), State: authzstore.KeyedPending, Evidence: sum('x'), SpentBy: "dec_1", EvidenceMatched: true, LockedOut: true},
	} {
		t.Run(name, func(t *testing.T) {
			wantErr(t, answer(key("anna", "direct_payment", "pay", name), bad), authzstore.ErrInvalid)
		})
	}
	mustDo(t, w.putAccount(account("acc_anna")))
	i := authzstore.Intent{ID: "int_1", System: "agent_order", Kind: "order", State: "ordered", Account: "acc_anna", Initiator: operator, ExpiresAtNanos: w.now.UnixNano()}
	mustDo(t, w.update(authzstore.IntentRefs(i), func(tx *authzstore.Tx) error { return tx.OpenIntent(i) }))
	w.clean(t)
}

// A window of attempts starts with the first one, holds for its whole length,
// and does not end earlier because the clock is set back.
func TestBurnAttempt(t *testing.T) {
	w := open(t)
	hour := authzstore.Allowance{Max: 3, WindowNanos: int64(time.Hour)}
	left := func() (n int64) {
		mustDo(t, w.update([]kv.Ref{authzstore.AttemptsRef("b")}, func(tx *authzstore.Tx) (err error) {
			n, err = tx.AttemptsLeft("b", hour)
			return err
		}))
		return n
	}
	burn := func() {
		mustDo(t, w.update([]kv.Ref{authzstore.AttemptsRef("b")}, func(tx *authzstore.Tx) error { return tx.BurnAttempt("b", hour) }))
	}
	want := func(n int64) {
		t.Helper()
		if got := left(); got != n {
			t.Errorf("%d attempts left, want %d", got, n)
		}
	}
	want(3)
	burn()
	want(2)
	w.now = w.now.Add(-24 * time.Hour)
	burn()
	burn()
	burn()
	want(0)
	w.close(t)
	w.reopen(t)
	want(0)
	w.now = w.now.Add(25 * time.Hour) // exactly the end of the window
	want(0)
	w.now = w.now.Add(time.Nanosecond)
	want(3)
	burn()
	want(2)
	w.clean(t)
}

func TestRecordHoldsBeforeAndAfter(t *testing.T) {
	w := open(t)
	var ids []string
	for _, limit := range []int64{100, 200} {
		cause := w.cause()
		ids = append(ids, cause.ID)
		a := account("acc_anna")
		a.MaxPaymentMinor = limit
		refs := []kv.Ref{authzstore.AccountRef(a.ID, kv.Exclusive)}
		mustDo(t, w.Update(context.Background(), cause, refs, func(tx *authzstore.Tx) error {
			tx.Detail([]byte("a reason"))
			mustDo(t, tx.PutAccount(account("acc_anna"))) // written twice is one change
			return tx.PutAccount(a)
		}))
	}
	mustDo(t, w.View(context.Background(), func(s authzstore.Snapshot) error {
		first, ok, err := s.Record(ids[0])
		if err != nil || !ok || first.Actor != operator || len(first.Changes) != 1 || string(first.Detail) != "a reason" {
			t.Fatalf("%+v, %t, %v", first, ok, err)
		}
		second, ok, err := s.Record(ids[1])
		if err != nil || !ok || len(second.Changes) != 1 {
			t.Fatalf("%+v, %t, %v", second, ok, err)
		}
		if first.Changes[0].Before != nil || string(second.Changes[0].Before) != string(first.Changes[0].After) {
			t.Error("the second change does not start where the first one ended")
		}
		_, ok, err = s.Record("dec_nobody")
		if ok || err != nil {
			t.Errorf("a record that is not there: %t, %v", ok, err)
		}
		return nil
	}))
	w.clean(t)
}

func TestFailedClosureLeavesNothing(t *testing.T) {
	w := open(t)
	cause := w.cause()
	boom := errors.New("boom")
	refs := []kv.Ref{authzstore.AccountRef("acc_anna", kv.Exclusive)}
	err := w.Update(context.Background(), cause, refs, func(tx *authzstore.Tx) error {
		mustDo(t, tx.PutAccount(account("acc_anna")))
		return boom
	})
	wantErr(t, err, boom)
	mustDo(t, w.View(context.Background(), func(s authzstore.Snapshot) error {
		if _, ok, err := s.Account("acc_anna"); ok || err != nil {
			t.Errorf("the account: %t, %v", ok, err)
		}
		if _, ok, err := s.Record(cause.ID); ok || err != nil {
			t.Errorf("the record: %t, %v", ok, err)
		}
		return nil
	}))
}

func TestCauseIsNeeded(t *testing.T) {
	w := open(t)
	for _, bend := range []func(*authzstore.Cause){
		func(c *authzstore.Cause) { c.ID = "" },
		func(c *authzstore.Cause) { c.ID = "rsv_1" },
		func(c *authzstore.Cause) { c.Actor.Subject = "" },
	} {
		cause := w.cause()
		bend(&cause)
		err := w.Update(context.Background(), cause, nil, func(*authzstore.Tx) error { return nil })
		wantErr(t, err, authzstore.ErrInvalid)
	}
}

// TestTimeNeverRunsBackInsideANoun steps the clock back between two writes.
func TestTimeNeverRunsBackInsideANoun(t *testing.T) {
	w := open(t)
	mustDo(t, w.putAccount(account("acc_anna")))
	written := w.now
	w.now = w.now.Add(-time.Hour)
	now := func(id string) (now int64) {
		mustDo(t, w.update([]kv.Ref{authzstore.AccountRef(id, kv.Shared)}, func(tx *authzstore.Tx) error {
			now = tx.Now()
			return nil
		}))
		return now
	}
	if got := now("acc_anna"); got != written.UnixNano() {
		t.Errorf("now is %d for a noun written at %d", got, written.UnixNano())
	}
	if got := now("acc_ben"); got != w.now.UnixNano() {
		t.Errorf("now is %d for another noun, want the clock's %d", got, w.now.UnixNano())
	}
}
