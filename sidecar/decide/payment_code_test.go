package decide_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
)

// A deviceWorld has a grant whose delegate pays by the codes of a device, at a time
// that a test sets.
type deviceWorld struct {
	*grantWorld
	id     string // of the grant
	device evidence.Parameters
	now    atomic.Int64
}

// newDeviceWorld takes what callers have for wrong codes of one handle.
func newDeviceWorld(t *testing.T, attempts int64) *deviceWorld {
	t.Helper()
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	allowance := authzstore.Allowance{Max: attempts, WindowNanos: int64(time.Hour)}
	codes, err := evidence.NewPaymentCodes(evidence.Config{Sealer: sealer, HandleAllowance: allowance})
	if err != nil {
		t.Fatal(err)
	}
	w := &deviceWorld{}
	w.now.Store(noon.UnixNano())
	w.grantWorld = newGrantWorld(t, func(cfg *decide.Config) {
		cfg.Evidence = map[string]evidence.Kind{evidence.PaymentCode: codes}
		cfg.NewCredential = codes.NewCredential
		cfg.Now = func() (time.Time, error) { return time.Unix(0, w.now.Load()), nil }
		cfg.MaxInFlight = 1024
	})
	w.id, _ = w.active(t)
	_, credential, _ := w.grant(t, w.id)
	if w.device, err = codes.Parameters(credential); err != nil {
		t.Fatal(err)
	}
	return w
}

// code is what the device shows so many steps from now.
func (w *deviceWorld) code(t *testing.T, steps int64) string {
	t.Helper()
	code, err := w.device.Code(w.device.Step(w.now.Load()) + steps)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// from has another shop than the bakery make a call.
func from(shop string, req call.Request) call.Request {
	req.Claims["sub"] = shop
	return req
}

// A code pays once, in its step and the next; a denial uses it up too; and it is in no
// log and no record.
func TestPaymentCode(t *testing.T) {
	w := newDeviceWorld(t, 100)
	for _, c := range []struct {
		name        string
		after       time.Duration
		steps       int64
		amountMinor int64
		reason      string // "": allowed
		used        bool   // a code of the device was, then
	}{
		{"of the future", 0, 1, 100, "payment_code_invalid", false},
		{"stale", 0, -2, 100, "payment_code_invalid", false},
		{"of the last step, denied", 0, -1, 6000, "over_limit", true},
		{"used by the denial", 0, -1, 100, "payment_code_invalid", true},
		{"of this step", 0, 0, 100, "", true},
		{"used", 0, 0, 100, "payment_code_invalid", true},
		{"of this step, a step later", 30 * time.Second, 0, 100, "", true},
		{"used, and now of the last step", 30 * time.Second, -1, 100, "payment_code_invalid", true},
		{"after the clock stepped back", -time.Hour, 0, 100, "payment_code_invalid", true},
	} {
		w.now.Add(int64(c.after))
		code := w.code(t, c.steps)
		d := w.decide(codePayment(code, c.amountMinor, nextKey()))
		if got := strings.Join(codesOf(d), " "); got != c.reason || (d.Outcome == decide.Allow) != (c.reason == "") {
			t.Errorf("%s: %s %s, want %s", c.name, d.Outcome, got, c.reason)
		}
		if _, credential, _ := w.grant(t, w.id); credential.FirstUsed != c.used {
			t.Errorf("%s: the credential is %+v", c.name, credential)
		}
		if text := w.kept(t, d.ID) + w.log.String(); strings.Contains(text, code) || !strings.Contains(text, "payment_code") {
			t.Errorf("%s: the code is in %s", c.name, text)
		}
	}
	_, _, usage := w.grant(t, w.id)
	if usage.PendingMinor != 200 || usage.Count != 2 {
		t.Errorf("usage %+v", usage)
	}
	w.clean(t)
}

// The same code in 64 calls at once, each under a key of its own: one is allowed.
func TestSameCodeOnManyStreams(t *testing.T) {
	w := newDeviceWorld(t, 1000)
	for round := range 3 {
		code := w.code(t, int64(-1))
		var allowed, invalid atomic.Int64
		var calls sync.WaitGroup
		for i := range 64 {
			calls.Go(func() {
				req := from(fmt.Sprintf("shop%d", i%7), codePayment(code, 100, fmt.Sprintf("k%d-%d", round, i)))
				d := w.decide(req)
				for d.Outcome == decide.Unavailable { // a slow machine has some wait too long
					d = w.decide(req)
				}
				switch reason := strings.Join(codesOf(d), " "); {
				case d.Outcome == decide.Allow:
					allowed.Add(1)
				case d.Outcome == decide.Deny && reason == "payment_code_invalid":
					invalid.Add(1)
				default:
					t.Errorf("%s %s", d.Outcome, reason)
				}
			})
		}
		calls.Wait()
		if allowed.Load() != 1 || invalid.Load() != 63 {
			t.Errorf("%d allowed, %d of an invalid code", allowed.Load(), invalid.Load())
		}
		w.now.Add(30e9)
	}
	w.clean(t)
}

// Who guesses is locked out of one handle after five wrong codes, also with the right
// one; the delegate pays elsewhere with that very code.
func TestGuesserIsLockedOut(t *testing.T) {
	w := newDeviceWorld(t, 5)
	code := w.code(t, 0)
	wrong := code[:len(code)-1] + string('0'+(code[len(code)-1]-'0'+1)%10)
	if wrong == w.code(t, -1) {
		t.Fatal("a wrong code that is right: one in 10^8")
	}
	for range 5 {
		want(t, w.decide(from("guesser", codePayment(wrong, 100, nextKey()))), decide.Deny, 403, "payment_code_invalid")
	}
	want(t, w.decide(from("guesser", codePayment(code, 100, nextKey()))), decide.Deny, 403, "payment_code_invalid")
	want(t, w.decide(codePayment(code, 100, nextKey())), decide.Allow, 0)
	w.now.Add(int64(time.Hour + time.Minute))
	want(t, w.decide(from("guesser", codePayment(w.code(t, 0), 100, nextKey()))), decide.Allow, 0)
	w.clean(t)
}

// A secret that does not open, such as under another key file, cannot be decided on;
// and says nothing of it.
func TestCredentialUnderAnotherKey(t *testing.T) {
	w := newDeviceWorld(t, 5)
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := evidence.NewPaymentCodes(evidence.Config{Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	other := newGrantWorld(t, withStore(w.backend), func(cfg *decide.Config) {
		cfg.Evidence = map[string]evidence.Kind{evidence.PaymentCode: codes}
	})
	code := w.code(t, 0)
	d := other.decide(codePayment(code, 100, nextKey()))
	if d.Outcome == decide.Allow || d.Status != 503 {
		t.Errorf("%s %d", d.Outcome, d.Status)
	}
	if text := other.log.String(); strings.Contains(text, code) || !strings.Contains(text, "does not open") {
		t.Errorf("the log: %s", text)
	}
	want(t, w.decide(codePayment(code, 100, nextKey())), decide.Allow, 0)
}
