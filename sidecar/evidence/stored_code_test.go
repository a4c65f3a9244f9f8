package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// An agreed is a world in which Anna's account has a phone and a watch, and codes are
// agreed with them.
type agreed struct {
	*world
	stored *StoredCodes
	binds  int // how many terminals were bound or changed, a second after each other
}

var expiry = noon.Add(24 * time.Hour)

func newAgreed(t testing.TB) *agreed {
	t.Helper()
	w := newWorld(t, nil)
	stored, err := NewStoredCodes(StoredCodesConfig{Sealer: w.codes.cfg.Sealer})
	if err != nil {
		t.Fatal(err)
	}
	a := &agreed{world: w, stored: stored}
	for _, id := range []string{"trm_phone", "trm_watch"} {
		a.bind(t, id, nil)
	}
	return a
}

// bind writes a terminal of Anna's; edit changes it.
func (a *agreed) bind(t testing.TB, id string, edit func(*authzstore.Terminal)) {
	t.Helper()
	terminal := authzstore.Terminal{
		ID: id, Account: "acc_anna", State: authzstore.TerminalBound,
		Identity: authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: id},
	}
	refs := authzstore.TerminalRefs(terminal)
	if edit != nil {
		edit(&terminal)
		refs = append(refs, authzstore.TerminalRefs(terminal)...)
	}
	a.binds++
	at := noon.Add(-time.Minute + time.Duration(a.binds)*time.Second)
	if err := a.update(at, refs, func(tx *authzstore.Tx) error { return tx.PutTerminal(terminal) }); err != nil {
		t.Fatal(err)
	}
}

// agree makes a code with a terminal of Anna's, good for at most so much; 0 for any
// amount.
func (a *agreed) agree(t testing.TB, terminal string, maxAmountMinor int64) (code string, stored authzstore.StoredCode) {
	t.Helper()
	err := a.update(noon, authzstore.AddStoredCodeRefs("acc_anna", terminal), func(tx *authzstore.Tx) error {
		bound, _, err := tx.Terminal(terminal)
		if err != nil {
			return err
		}
		if stored, err = a.stored.NewStoredCode(bound); err != nil {
			return err
		}
		stored.ExpiresAtNanos = expiry.UnixNano()
		if maxAmountMinor > 0 {
			stored.MaxAmountMinor, stored.Currency = maxAmountMinor, "EUR"
		}
		stored, err = tx.AddStoredCode("acc_anna", stored)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, err = a.stored.Code(stored); err != nil {
		t.Fatal(err)
	}
	if len(code) != authzstore.StoredCodeDigits || !onlyDigits(code) {
		t.Fatalf("a code of %d characters", len(code))
	}
	return code, stored
}

// byAgent is an agent's call about Anna's account.
func byAgent(name string) About {
	return About{
		Call:    call.Call{Identity: authzstore.Identity{Kind: "agent", Issuer: "https://id.example", Subject: name}},
		Account: "acc_anna", Terminals: []string{"trm_phone", "trm_watch"},
	}
}

// wants has an agent show a code in a call that is allowed if it matches, and says what
// the policy should be told; "" for a code that should not match.
func (a *agreed) wants(t *testing.T, name string, at time.Time, about About, code, facts string) {
	t.Helper()
	found, matched, err := a.showKind(a.stored, at, about, code, true)
	if err != nil || matched != (facts != "") {
		t.Errorf("%s: matched is %v, %v", name, matched, err)
		return
	}
	if !found.Matched && (found.Thing != "" || len(found.Facts) != 0) {
		t.Errorf("%s: a code that does not match tells %+v", name, found)
	}
	got, err := json.Marshal(policy.Object(found.Facts...))
	if matched && (err != nil || string(got) != facts) {
		t.Errorf("%s: the policy is told %s, %v", name, got, err)
	}
}

const ofPhone, ofWatch = `{"terminal":"trm_phone"}`, `{"currency":"EUR","max_amount_minor":5000,"terminal":"trm_watch"}`

// Codes of both terminals are right, each once, and the policy is told whose it was and
// its maximum.
func TestStoredCodes(t *testing.T) {
	a := newAgreed(t)
	phone, _ := a.agree(t, "trm_phone", 0)
	watch, _ := a.agree(t, "trm_watch", 5000)
	for i, wrong := range []string{
		"", "0", phone[1:], phone + "0", "0" + phone, " " + phone, phone + "\n", phone[:7], strings.Repeat("1", 1000), a.nobodys(t),
	} {
		a.wants(t, fmt.Sprintf("%q", wrong), noon, byAgent(fmt.Sprint("agent", i)), wrong, "")
	}
	a.wants(t, "the watch's", noon, byAgent("carl"), watch, ofWatch)
	a.wants(t, "the phone's", noon, byAgent("carl"), phone, ofPhone)
	a.wants(t, "the watch's again", noon, byAgent("carl"), watch, "")
	a.wants(t, "the phone's again, by another", noon, byAgent("dora"), phone, "")
	next, _ := a.agree(t, "trm_phone", 0)
	a.wants(t, "the phone's next", noon, byAgent("carl"), next, ofPhone)
	a.wants(t, "the phone's first, after that", noon, byAgent("carl"), phone, "")
}

// nobodys is the code that is compared where an account has none.
func (a *agreed) nobodys(t *testing.T) string {
	t.Helper()
	code, err := a.stored.Code(a.stored.nobodys)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// What makes a right code worthless: the time, the account, and what became of its
// terminal since.
func TestStoredCodeNotGood(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     time.Time
		edit   func(*testing.T, *agreed, *About)
		wanted string
	}{
		{"nothing", noon, nil, ofPhone},
		{"exactly at its expiry", expiry, nil, ofPhone},
		{"a nanosecond later", expiry.Add(1), nil, ""},
		{"about no account", noon, func(_ *testing.T, _ *agreed, about *About) { about.Account = "" }, ""},
		{"about another account", noon, func(_ *testing.T, _ *agreed, about *About) { about.Account = "acc_eve" }, ""},
		{"about what is no account", noon, func(_ *testing.T, _ *agreed, about *About) { about.Account = "anna's" }, ""},
		{"of a terminal that is not told", noon, func(_ *testing.T, _ *agreed, about *About) { about.Terminals = []string{"trm_watch"} }, ""},
		{"replaced by another", noon, func(t *testing.T, a *agreed, _ *About) { a.agree(t, "trm_phone", 0) }, ""},
		{"its terminal is frozen", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalFrozen })
		}, ""},
		{"frozen, and not any more", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalFrozen })
			a.bind(t, "trm_phone", nil)
		}, ofPhone},
		{"its terminal is unbound", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalUnbound })
		}, ""},
		{"unbound, and bound anew", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalUnbound })
			a.bind(t, "trm_phone", nil)
		}, ""},
		{"bound to another account", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.Account = "acc_eve" })
		}, ""},
		{"of another identity", noon, func(t *testing.T, a *agreed, _ *About) {
			a.bind(t, "trm_phone", func(t *authzstore.Terminal) { t.Identity.Subject = "eve" })
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgreed(t)
			code, _ := a.agree(t, "trm_phone", 0)
			about := byAgent("carl")
			if c.edit != nil {
				c.edit(t, a, &about)
			}
			a.wants(t, c.name, c.at, about, code, c.wanted)
		})
	}
}

// That another terminal is bound since the very instant at which a code's terminal was
// makes the code no better. The same one for another account never is: the store binds
// it a nanosecond later.
func TestStoredCodeSameInstant(t *testing.T) {
	unbound := func(t *authzstore.Terminal) { t.State = authzstore.TerminalUnbound }
	moved := func(t *authzstore.Terminal) { t.Account = "acc_eve" }
	for name, edit := range map[string]func(*authzstore.Terminal){"unbound": unbound, "moved": moved} {
		a := newAgreed(t)
		code, stored := a.agree(t, "trm_watch", 5000)
		a.binds = 1 // when the watch was bound
		a.bind(t, "trm_tablet", nil)
		a.binds = 1
		a.bind(t, "trm_watch", edit)
		about := byAgent("carl")
		about.Terminals = append(about.Terminals, "trm_tablet")
		err := a.View(t.Context(), func(s authzstore.Snapshot) error {
			for id, same := range map[string]bool{"trm_tablet": true, "trm_watch": name != "moved"} {
				terminal, _, err := s.Terminal(id)
				if err != nil {
					return err
				}
				if (terminal.BoundAtNanos == stored.TerminalBoundAtNanos) != same {
					t.Errorf("%s: %s is bound at %d, the code's terminal was at %d", name, id, terminal.BoundAtNanos, stored.TerminalBoundAtNanos)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		a.wants(t, name, noon, about, code, "")
	}
}

// A denial does not use a right code up: it costs an attempt, as a wrong one does.
func TestStoredCodeDenied(t *testing.T) {
	a := newAgreed(t)
	code, _ := a.agree(t, "trm_phone", 0)
	for i := range 5 {
		if _, matched, err := a.showKind(a.stored, noon, byAgent("carl"), code, false); !matched || err != nil {
			t.Errorf("call %d: matched is %v, %v", i, matched, err)
		}
	}
	a.wants(t, "the sixth call", noon, byAgent("carl"), code, "")
	a.wants(t, "another agent's call", noon, byAgent("dora"), code, ofPhone)
}

// What a sender has for one account ends at five wrong codes an hour, and is its own.
func TestStoredCodeBudgets(t *testing.T) {
	a := newAgreed(t)
	code, _ := a.agree(t, "trm_phone", 0)
	for range 5 {
		a.wants(t, "a guess", noon, byAgent("guesser"), "00000000", "")
	}
	a.wants(t, "right, but not looked at", noon, byAgent("guesser"), code, "")
	a.wants(t, "an hour later", noon.Add(time.Hour), byAgent("guesser"), code, "")
	a.wants(t, "a nanosecond after that", noon.Add(time.Hour+1), byAgent("guesser"), code, ofPhone)

	// What it guesses of accounts that it makes up costs its own budget, and past that
	// leaves nothing behind.
	later := noon.Add(2 * time.Hour)
	for i := range 100 {
		about := byAgent("scanner")
		about.Account = fmt.Sprintf("acc_%d", i)
		a.wants(t, "a scan", later, about, "00000000", "")
	}
	senders, accounts := 0, 0
	err := a.kv.View(t.Context(), func(snap kv.Snap) error {
		return snap.Scan("attempts/", "", func(key string, _ []byte) error {
			if strings.HasPrefix(key, "attempts/stored_code/") {
				accounts++
			} else {
				senders++
			}
			return nil
		})
	})
	if err != nil || senders != 2 || accounts != int(SenderAllowance.Max)+1 {
		t.Errorf("%d records of senders and %d of accounts, %v", senders, accounts, err)
	}
	code, _ = a.agree(t, "trm_phone", 0)
	a.wants(t, "the scanner's right one", later, byAgent("scanner"), code, "")
	a.wants(t, "another agent's", later, byAgent("carl"), code, ofPhone)
}

// One code in 64 calls at once is used by one of them.
func TestOneOfManyUsesAStoredCode(t *testing.T) {
	a := newAgreed(t)
	code, _ := a.agree(t, "trm_phone", 0)
	var used atomic.Int64
	var calls sync.WaitGroup
	for i := range 64 {
		calls.Go(func() {
			_, matched, err := a.showKind(a.stored, noon, byAgent(fmt.Sprint("agent", i)), code, true)
			if err != nil {
				t.Error(err)
			}
			if matched {
				used.Add(1)
			}
		})
	}
	calls.Wait()
	if used.Load() != 1 {
		t.Errorf("used %d times", used.Load())
	}
}

// A sealed secret that was changed, or is of another terminal or of another binding,
// is an error, and the error has nothing of the code.
func TestDamagedStoredCode(t *testing.T) {
	a := newAgreed(t)
	code, stored := a.agree(t, "trm_phone", 0)
	_, other := a.agree(t, "trm_watch", 0)
	for name, edit := range map[string]func(*authzstore.StoredCode){
		"a byte changed":         func(c *authzstore.StoredCode) { c.Sealed[len(c.Sealed)/2] ^= 1 },
		"another key":            func(c *authzstore.StoredCode) { c.Sealed[1] ^= 1 },
		"another terminal's":     func(c *authzstore.StoredCode) { c.Sealed = other.Sealed },
		"moved to another":       func(c *authzstore.StoredCode) { c.Terminal = "trm_watch" },
		"moved to a new binding": func(c *authzstore.StoredCode) { c.TerminalBoundAtNanos++ },
	} {
		c := stored
		c.Sealed = bytes.Clone(stored.Sealed)
		edit(&c)
		got, err := a.stored.Code(c)
		if !errors.Is(err, ErrSealed) || got != "" || strings.Contains(err.Error(), code) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	broken := &StoredCodes{cfg: a.stored.cfg, nobodys: a.stored.nobodys}
	broken.nobodys.Sealed = stored.Sealed
	if found, matched, err := a.showKind(broken, noon, byAgent("carl"), code, true); !errors.Is(err, ErrSealed) || matched || found.Matched {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNewStoredCodesRefuses(t *testing.T) {
	for name, cfg := range map[string]StoredCodesConfig{
		"no sealer":                   {},
		"no attempts":                 {Sealer: sealer(t, 1), SenderAllowance: authzstore.Allowance{Max: -1}},
		"no attempts for one account": {Sealer: sealer(t, 1), AccountAllowance: authzstore.Allowance{Max: -1}},
		"no randomness":               {Sealer: sealer(t, 1), Random: iotest.ErrReader(io.ErrUnexpectedEOF)},
	} {
		if _, err := NewStoredCodes(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The work tells nothing: with all codes, with none and about no account a check takes
// about the same time, but for what it reads.
func BenchmarkStoredCodes(b *testing.B) {
	a := newAgreed(b)
	code, _ := a.agree(b, "trm_phone", 0)
	none, nobody := byAgent("carl"), byAgent("carl")
	none.Account, nobody.Account = "acc_eve", ""
	for _, bench := range []struct {
		name  string
		about About
		code  string
	}{
		{"right", byAgent("carl"), code}, {"wrong", byAgent("carl"), "x"}, {"an account without", none, code}, {"no account", nobody, code},
	} {
		b.Run(bench.name, func(b *testing.B) {
			refs := a.stored.Refs(bench.about, bench.code)
			err := a.update(noon, refs, func(tx *authzstore.Tx) error {
				for b.Loop() {
					if _, err := a.stored.Check(tx, bench.about, bench.code); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}
