package api_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

// What operators see of a challenge: who is asked and how far it is, and nothing that
// helps to answer it.
func TestChallenges(t *testing.T) {
	w := newWorld(t)
	w.asking()
	id := w.issue(nil)
	w.fail(id)
	var c api.Challenge
	a := w.ask(200, "GET", "/v1/challenges/"+id, "", &c)
	if c.State != "open" || c.Kind != "code" || c.Account != "acc_anna" || c.Initiator.Subject != "bakery" || c.Expects != "initiator" ||
		strings.Join(c.Terminals, " ") != "trm_phone trm_tablet" || c.AmountMinor != 1250 || c.MaxAttempts != 3 || c.Burnt != 1 {
		t.Errorf("%+v", c)
	}
	for _, secret := range []string{"sealed", "c2VhbGVk", "condition", "descending", "gap", "4711", "entries", "length", "counter", "fingerprint"} {
		if strings.Contains(a.text, secret) {
			t.Errorf("it has %s: %s", secret, a.text)
		}
	}
	w.wait(5 * time.Minute)
	if w.ask(200, "GET", "/v1/challenges/"+id, "", &c); c.State != "open" {
		t.Errorf("at its expiry it is %s", c.State)
	}
	w.wait(1)
	if w.ask(200, "GET", "/v1/challenges/"+id, "", &c); c.State != "expired" {
		t.Errorf("past its expiry it is %s", c.State)
	}
	w.ask(404, "GET", "/v1/challenges/chl_other", "", nil)
	w.ask(422, "GET", "/v1/challenges/int_other", "", nil)
}

// A challenge whose terminal was unbound can come to nothing any more.
func TestChallengeReplaced(t *testing.T) {
	for _, state := range []string{"frozen", "unbound"} {
		w := newWorld(t)
		w.asking()
		id := w.issue(nil)
		w.bind("tablet", state)
		var c api.Challenge
		if w.ask(200, "GET", "/v1/challenges/"+id, "", &c); c.State != "replaced" {
			t.Errorf("with a terminal that is %s it is %s", state, c.State)
		}
	}
}

// Wrong sets of codes in a row lock the account's codes, and support unlocks
// them: on record, and so that repeating it changes nothing.
func TestUnlockAccount(t *testing.T) {
	w := newWorld(t)
	w.asking()
	support := w.token(api.Support)
	unlock := func() (status int, a api.Account) {
		answered := w.request(support, "POST", "/v1/accounts/acc_anna/unlock", "")
		if answered.status == 200 {
			if err := json.Unmarshal([]byte(answered.text), &a); err != nil {
				t.Fatal(err)
			}
		}
		return answered.status, a
	}
	var locked, unlocked api.Account
	w.lock()
	if w.ask(200, "GET", "/v1/accounts/acc_anna", "", &locked); locked.Verification != (api.Verification{Locked: true, FailedInARow: 5, LockedAtNanos: w.at.UnixNano()}) {
		t.Errorf("%+v", locked.Verification)
	}
	if locked.State != "active" {
		t.Errorf("its codes are locked, and it is %s", locked.State)
	}
	for range 2 {
		status, a := unlock()
		if status != 200 || a.Verification != (api.Verification{}) {
			t.Errorf("%d %+v", status, a.Verification)
		}
	}
	if w.ask(200, "GET", "/v1/accounts/acc_anna", "", &unlocked); unlocked.Verification != (api.Verification{}) {
		t.Errorf("%+v", unlocked.Verification)
	}
	w.issue(nil) // it is asked again
	w.ask(404, "POST", "/v1/accounts/acc_other/unlock", "", nil)

	var page api.Page[api.Record]
	w.ask(200, "GET", "/v1/records?kind=change&limit=200", "", &page)
	found := 0
	for _, r := range page.Items {
		for _, c := range r.Changes {
			if before, ok := c.Before.(map[string]any); ok && strings.HasPrefix(c.Key, "verification/") && before["locked_at_ns"] != nil {
				found++
				if !strings.HasSuffix(r.Actor.Subject, "/test") {
					t.Errorf("by %+v", r.Actor)
				}
			}
		}
	}
	if found != 1 {
		t.Errorf("%d changes are on record", found)
	}
}

// Records show challenges and messages without what the codes are made from.
func TestRecordsHoldNoCodes(t *testing.T) {
	w := newWorld(t)
	w.asking()
	id := w.issue(nil)
	w.notify("code", func(m *authzstore.Message) { m.Challenge = id })
	a := w.ask(200, "GET", "/v1/records?limit=200", "", nil)
	if !strings.Contains(a.text, id) || strings.Contains(a.text, "sealed4711") || strings.Contains(a.text, "c2VhbGVkNDcxMQ") {
		t.Errorf("%s", a.text)
	}
}
