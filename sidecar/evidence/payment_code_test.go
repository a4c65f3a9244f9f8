package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/policy"
)

// wants has a merchant of its own show a code, and says whether it should match, and at
// what age (-1: it should not).
func (w *world) wants(t *testing.T, name string, at time.Time, code string, age int64) {
	t.Helper()
	found, matched, err := w.show(at, name, code)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if matched != (age >= 0) {
		t.Errorf("%s: matched is %v", name, matched)
	}
	facts, err := json.Marshal(policy.Object(found.Facts...))
	want := "{}"
	if found.Matched && age >= 0 {
		want = fmt.Sprintf(`{"step_age":%d}`, age)
	}
	if matched && (err != nil || string(facts) != want) {
		t.Errorf("%s: the policy is told %s, %v", name, facts, err)
	}
}

// A code is right in its step and the next one, to the nanosecond.
func TestBothSteps(t *testing.T) {
	start := noon.Add(-15 * time.Second) // of noon's step
	for _, c := range []struct {
		name string
		at   time.Time
		age  int64
	}{
		{"a nanosecond before its step", start.Add(-1), -1},
		{"at the start of its step", start, 0},
		{"at the end of its step", start.Add(30*time.Second - 1), 0},
		{"at the start of the next", start.Add(30 * time.Second), 1},
		{"at the end of the next", start.Add(60*time.Second - 1), 1},
		{"a nanosecond later", start.Add(60 * time.Second), -1},
		{"an hour later", start.Add(time.Hour), -1},
	} {
		w := newWorld(t, nil)
		w.wants(t, c.name, c.at, w.code(t, noon), c.age)
	}
}

// What a shop, a finger or a thief may make of a code.
func TestWrongCodes(t *testing.T) {
	w := newWorld(t, nil)
	right := w.code(t, noon)
	other := strings.Replace(right, w.ben.Handle, "9999999999", 1)
	for _, code := range []string{
		"", "28", right[1:], right[:len(right)-1], right + "0", right[:len(right)-2], "27" + right[2:], other,
		w.wrong(t, noon, 0), " " + right, right + "\n", right[:2] + " " + right[2:], strings.Replace(right, "28", "２８", 1),
		"+" + right[1:], right[:12] + "-" + right[13:], right[:19] + "٣", strings.Repeat("9", 1000),
		right[:12] + w.code(t, noon.Add(30*time.Second))[12:], // of the future
	} {
		w.wants(t, fmt.Sprintf("shop of %q", code), noon, code, -1)
	}
	// What codes of unknown handles are compared with is nobody's.
	nobody, err := w.codes.Parameters(w.codes.nobodys)
	if err != nil {
		t.Fatal(err)
	}
	nobodys, err := nobody.Code(nobody.Step(noon.UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	w.wants(t, "nobody's", noon, nobodys, -1)
	w.wants(t, "the right one", noon, right, 0)
	w.wants(t, "the same again", noon, right, -1)
	w.wants(t, "the last one, after a later one", noon, w.code(t, noon.Add(-30*time.Second)), -1)
	w.wants(t, "the next one", noon.Add(30*time.Second), w.code(t, noon.Add(30*time.Second)), 0)
}

// The code of the last step, used, leaves that of this step.
func TestStepsOneByOne(t *testing.T) {
	w := newWorld(t, nil)
	w.wants(t, "of the last step", noon, w.code(t, noon.Add(-30*time.Second)), 1)
	w.wants(t, "of this step", noon, w.code(t, noon), 0)
}

// A clock that steps back makes no used code new, and a call that came before another
// but locked later sees the time of that other.
func TestClockBack(t *testing.T) {
	w := newWorld(t, nil)
	w.wants(t, "at noon", noon, w.code(t, noon), 0)
	for _, back := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		at := noon.Add(-back)
		w.wants(t, "the code of noon, clock back "+back.String(), at, w.code(t, noon), -1)
		if back > 30*time.Second {
			w.wants(t, "the code of then, clock back "+back.String(), at, w.code(t, at), -1)
		}
	}
}

func TestOtherDigitsAndAlgorithms(t *testing.T) {
	for _, algorithm := range []string{"SHA1", "SHA256", "SHA512"} {
		for digits := MinDigits; digits <= MaxDigits; digits++ {
			w := newWorld(t, func(cfg *Config) {
				cfg.Algorithm, cfg.Digits, cfg.Prefix, cfg.PeriodSeconds = algorithm, digits, "61", 60
			})
			code := w.code(t, noon)
			if len(code) != 12+digits || len(w.ben.Secret) < 20 {
				t.Fatalf("%s of %d digits with a secret of %d bytes", code, digits, len(w.ben.Secret))
			}
			w.wants(t, algorithm, noon, code, 0)
		}
	}
}

// Those of a credential that has ended, or that nobody has fetched, are worth nothing;
// they still lead to their grant, for the record.
func TestCredentialNotInForce(t *testing.T) {
	w := newWorld(t, nil)
	old := w.ben
	next, err := w.codes.NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	refs := []kv.Ref{
		authzstore.GrantRef(benGrant, kv.Exclusive), authzstore.CredentialRef(old.Handle, kv.Exclusive), authzstore.CredentialRef(next.Handle, kv.Exclusive),
	}
	if err := w.update(noon, refs, func(tx *authzstore.Tx) error { return tx.IssueCredential(benGrant, next) }); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "of the old one", noon, w.code(t, noon), -1)
	if w.ben, err = w.codes.Parameters(next); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "of one that nobody fetched", noon, w.code(t, noon), -1)
	if err := w.update(noon, refs, func(tx *authzstore.Tx) error { return tx.MarkParametersFetched(next.Handle, "key") }); err != nil {
		t.Fatal(err)
	}
	w.wants(t, "of the new one", noon, w.code(t, noon), 0)

	err = w.View(context.Background(), func(s authzstore.Snapshot) error {
		for code, want := range map[string]string{
			w.code(t, noon): benGrant, w.wrong(t, noon, 0): benGrant, "28" + old.Handle + "00000000": benGrant,
			"28" + "9999999999" + "00000000": "", "27" + old.Handle + "00000000": "", "": "",
		} {
			if got, err := w.codes.Lead(s.Reader, byMerchant("shop").Call, code); got != want || err != nil {
				t.Errorf("%q leads to %q, %v, want %q", code, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One code in 64 calls at once is used by one of them.
func TestOneOfManyUsesACode(t *testing.T) {
	w := newWorld(t, nil)
	for round := range 5 {
		at := noon.Add(time.Duration(round) * 30 * time.Second)
		code := w.code(t, at)
		var used atomic.Int64
		var calls sync.WaitGroup
		for i := range 64 {
			calls.Go(func() {
				_, matched, err := w.show(at, fmt.Sprintf("shop%d", i), code)
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
}

// A sealed secret that was changed, or is another credential's, is an error, and the
// error has nothing of the code or the secret.
func TestDamagedCredential(t *testing.T) {
	w := newWorld(t, nil)
	code := w.code(t, noon)
	for name, sealed := range map[string]func([]byte) []byte{
		"a byte changed":       func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"another key":          func(b []byte) []byte { b[1] ^= 1; return b },
		"another credential's": func([]byte) []byte { return w.codes.nobodys.Sealed },
		"too short":            func(b []byte) []byte { return b[:3] },
		"a secret too short":   func([]byte) []byte { return w.codes.cfg.Sealer.Seal(w.ben.Handle, rfcSecret(19)) },
	} {
		var c authzstore.Credential
		err := w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
			c, _, err = s.Credential(w.ben.Handle)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Sealed = sealed(bytes.Clone(c.Sealed))
		if _, err := w.codes.Parameters(c); err == nil {
			t.Errorf("%s: opens", name)
		}
		broken := &PaymentCodes{cfg: w.codes.cfg, nobodys: c}
		unknown := "28" + "9999999999" + code[12:]
		err = w.update(noon, broken.Refs(byMerchant("shop"), unknown), func(tx *authzstore.Tx) error {
			found, err := broken.Check(tx, byMerchant("shop"), unknown)
			if found.Matched {
				t.Errorf("%s: matched", name)
			}
			return err
		})
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, canary := range []string{code, code[12:], string(w.ben.Secret), secretText.EncodeToString(w.ben.Secret)} {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %q is in %v", name, canary, err)
			}
		}
	}
}

func TestNewPaymentCodesRefuses(t *testing.T) {
	sealer := sealer(t, 1)
	for name, edit := range map[string]func(*Config){
		"no sealer":       func(cfg *Config) { cfg.Sealer = nil },
		"a long prefix":   func(cfg *Config) { cfg.Prefix = "281" },
		"a prefix in hex": func(cfg *Config) { cfg.Prefix = "2a" },
		"5 digits":        func(cfg *Config) { cfg.Digits = 5 },
		"9 digits":        func(cfg *Config) { cfg.Digits = 9 },
		"5 seconds":       func(cfg *Config) { cfg.PeriodSeconds = 5 },
		"MD5":             func(cfg *Config) { cfg.Algorithm = "MD5" },
		"a colon":         func(cfg *Config) { cfg.Issuer = "a:b" },
		"no attempts":     func(cfg *Config) { cfg.HandleAllowance.Max = -1 },
		"no failures":     func(cfg *Config) { cfg.OverallFailures = -1 },
	} {
		cfg := Config{Sealer: sealer}
		edit(&cfg)
		if _, err := NewPaymentCodes(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNewCredential(t *testing.T) {
	w := newWorld(t, nil)
	handles, secrets := map[string]bool{}, map[string]bool{}
	var leading bool
	for range 1000 {
		c, err := w.codes.NewCredential()
		if err != nil {
			t.Fatal(err)
		}
		p, err := w.codes.Parameters(c)
		if err != nil {
			t.Fatal(err)
		}
		leading = leading || c.Handle[0] == '0'
		handles[c.Handle], secrets[string(p.Secret)] = true, true
	}
	if len(handles) != 1000 || len(secrets) != 1000 || !leading {
		t.Errorf("%d handles (from zero: %v) and %d secrets", len(handles), leading, len(secrets))
	}
	if errors.Is(ErrSealed, authzstore.ErrDamaged) {
		t.Error("ErrSealed may be the key's fault")
	}
}
