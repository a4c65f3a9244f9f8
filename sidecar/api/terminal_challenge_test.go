package api_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/upstream"
)

// on are the claims of a built-in operation on a challenge or an intent, or from a
// terminal.
func on(does string, who upstream.Identity, id string) upstream.Claims {
	c := claims(does, who, "", "")
	switch {
	case strings.HasPrefix(id, "chl_"):
		c.Challenge = id
	case strings.HasPrefix(id, "int_"):
		c.Intent = id
	case strings.HasPrefix(id, "trm_"):
		c.Terminal = id
	}
	return c
}

// Whatever can be allowed is shown, and nothing else.
func TestEveryBuiltInIsShown(t *testing.T) {
	s := newTerminals(t)
	for does := range maps.Keys(call.BuiltIns) {
		if a := s.call(claims(does, annasID, "", "")); a.status == http.StatusForbidden {
			t.Errorf("%s: %s", does, a.text)
		}
	}
	if a := s.call(claims("close_account", annasID, "acc_anna", "grt_1")); a.status != http.StatusForbidden || a.code(t) != "token_not_for_us" {
		t.Errorf("what there is not: %d %s", a.status, a.text)
	}
}

// An entry of a code is answered with the same bytes whoever sends it, and whatever
// the challenge: there is none, it is open, locked or expired.
func TestEnterCodeSaysNothing(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	open, locked, old := s.issue(nil), s.issue(nil), s.issue(func(c *authzstore.Challenge) { c.ExpiresAtNanos = s.at.UnixNano() })
	for range 3 {
		s.fail(locked)
	}
	s.wait(1)
	want := s.call(on("enter_code", bakerysID, ""))
	if want.status != http.StatusAccepted || want.text != "{}\n" {
		t.Fatalf("%d %q", want.status, want.text)
	}
	for _, id := range []string{"chl_none", open, locked, old} {
		for _, who := range []upstream.Identity{bakerysID, phonesID, evesID} {
			a := s.call(on("enter_code", who, id))
			if a.status != want.status || a.text != want.text || !maps.EqualFunc(a.header, want.header, func(x, y []string) bool { return strings.Join(x, "\n") == strings.Join(y, "\n") }) {
				t.Errorf("%s by %s: %d %v %q", id, who.Subject, a.status, a.header, a.text)
			}
		}
	}
}

// Who sees what of a challenge.
func TestChallengeViews(t *testing.T) {
	for _, does := range []string{"view_challenge", "approve_challenge", "reject_challenge"} {
		for _, expects := range []authzstore.Expects{authzstore.ExpectsInitiator, authzstore.ExpectsTerminals} {
			s := newTerminals(t)
			s.asking()
			id := s.issue(func(c *authzstore.Challenge) { c.Expects = expects })
			s.fail(id)
			for _, c := range []struct {
				who             upstream.Identity
				all, asked, its bool // sees the challenge; whom it asks; the attempts that are left
			}{
				{bakerysID, true, false, expects == authzstore.ExpectsInitiator},
				{phonesID, true, true, expects == authzstore.ExpectsTerminals},
				{tabletsID, true, true, expects == authzstore.ExpectsTerminals},
				{annasID, true, true, false},
				{watchsID, false, false, false}, // of the account, and not asked
				{evesID, false, false, false},
				{upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "bakery"}, false, false, false},
				{upstream.Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery", OnBehalfOf: "x"}, false, false, false},
			} {
				a := s.call(on(does, c.who, id))
				if a.status != 200 {
					t.Fatalf("%s: %d %s", does, a.status, a.text)
				}
				for text, has := range map[string]bool{
					`"id":"` + id + `"`: true, `"state":"open"`: true,
					`"amount_minor":1250`: c.all, `"payee":"mer_bakery"`: c.all, `"requester":{"kind":"merchant"`: c.all, `"expires_at_ns"`: c.all,
					`"trm_phone"`: c.asked, `"acc_anna"`: c.asked,
					`"attempts_left":2`: c.its, "attempts": c.its,
					"+49170555": false, "sealed": false, "4711": false, "condition": false, "descending": false, "gap": false, "entries": false,
					"length": false, "counter": false, "fingerprint": false, "expects": false,
				} {
					if strings.Contains(a.text, text) != has {
						t.Errorf("%s by %s, expecting the %s: %s has %s: %v", does, c.who.Subject, expects, a.text, text, !has)
					}
				}
			}
		}
	}
	s := newTerminals(t)
	if a := s.call(on("view_challenge", annasID, "chl_none")); a.status != 404 || a.code(t) != "not_found" {
		t.Errorf("there is none: %d %s", a.status, a.text)
	}
}

// Of an approval, its own people see who decided, and nobody has attempts.
func TestApprovalViews(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	id := s.issue(func(c *authzstore.Challenge) {
		c.Kind, c.Expects, c.Sealed, c.Digits, c.Condition, c.MaxAttempts = authzstore.ChallengeApproval, authzstore.ExpectsTerminals, nil, 0, authzstore.Condition{}, 0
	})
	s.wait(time.Second)
	s.decide(authzstore.ChallengeRefs(s.stored(id)), func(tx *authzstore.Tx) error { return tx.SatisfyChallenge(id, "trm_tablet") })
	for who, knows := range map[upstream.Identity]bool{phonesID: true, annasID: true, bakerysID: false} {
		v := s.shown(on("approve_challenge", who, id))
		if v["state"] != "satisfied" || (v["decided_by"] == "trm_tablet") != knows || v["decided_at_ns"] == nil || v["attempts_left"] != nil {
			t.Errorf("%s sees %v", who.Subject, v)
		}
	}
}

// A terminal that was bound anew since is another one: it sees nothing, and the
// challenge can come to nothing.
func TestChallengeTerminalBoundAnew(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	id := s.issue(func(c *authzstore.Challenge) { c.Expects = authzstore.ExpectsTerminals })
	s.wait(time.Second)
	s.bind("phone", "unbound")
	s.bind("phone", "bound")
	if v := s.shown(on("view_challenge", phonesID, id)); len(v) != 2 || v["state"] != "replaced" {
		t.Errorf("the phone sees %v", v)
	}
	if v := s.shown(on("view_challenge", tabletsID, id)); v["state"] != "replaced" || v["amount_minor"] == nil {
		t.Errorf("the tablet sees %v", v)
	}
	s.bind("tablet", "frozen")
	if v := s.shown(on("view_challenge", tabletsID, id)); len(v) != 2 {
		t.Errorf("the tablet, frozen, sees %v", v)
	}
}

// Who asked for what a challenge is about is who opened its intent.
func TestChallengeRequester(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	intent := s.open(nil)
	for about, want := range map[string]string{intent: "phone", "int_gone": "bakery", "": "bakery"} {
		id := s.issue(func(c *authzstore.Challenge) { c.Intent = about })
		v := s.shown(on("view_challenge", tabletsID, id))
		if v["requester"].(map[string]any)["subject"] != want || v["initiator"].(map[string]any)["subject"] != "bakery" {
			t.Errorf("about %q: %v", about, v)
		}
	}
}

// A terminal is told how far its messages are acknowledged, and of its own stored code
// how long it is good.
func TestTerminalMessages(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	if v := s.shown(on("acknowledge_messages", phonesID, "trm_phone")); v["acked"] != float64(0) {
		t.Errorf("%v", v)
	}
	for range 3 {
		s.notify("notice", nil)
	}
	s.decide(authzstore.AckRefs("trm_phone"), func(tx *authzstore.Tx) error { return tx.AckMessages("trm_phone", 2) })
	if v := s.shown(on("acknowledge_messages", phonesID, "trm_phone")); v["acked"] != float64(2) || len(v) != 1 {
		t.Errorf("%v", v)
	}

	c := on("store_code", phonesID, "trm_phone")
	c.Account = "acc_anna"
	if a := s.call(c); a.status != 404 {
		t.Errorf("without a code: %d %s", a.status, a.text)
	}
	for i, name := range []string{"trm_tablet", "trm_phone"} {
		code := authzstore.StoredCode{
			Terminal: name, TerminalBoundAtNanos: s.boundAt(name), Sealed: []byte("sealed4711"), Digits: 8, MaxAmountMinor: int64(1000 + i), Currency: "EUR",
			ExpiresAtNanos: s.at.Add(time.Hour).UnixNano() + int64(i),
		}
		s.decide(authzstore.AddStoredCodeRefs("acc_anna", name), func(tx *authzstore.Tx) error {
			_, err := tx.AddStoredCode("acc_anna", code)
			return err
		})
	}
	a := s.call(c)
	var v struct {
		Max     int64  `json:"max_amount_minor"`
		Cur     string `json:"currency"`
		Expires int64  `json:"expires_at_ns"`
	}
	if err := json.Unmarshal([]byte(a.text), &v); err != nil || a.status != 201 || v.Max != 1001 || v.Cur != "EUR" || v.Expires != s.at.Add(time.Hour).UnixNano()+1 || strings.Contains(a.text, "sealed") {
		t.Errorf("%d %s, %v", a.status, a.text, err)
	}
}

// Unlocking shows the account to its owner, whose codes are not locked then.
func TestUnlockView(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	s.lock()
	locked := s.shown(claims("view_account", annasID, "acc_anna", ""))["verification"].(map[string]any)
	s.decide([]kv.Ref{authzstore.VerificationRef("acc_anna", kv.Exclusive)}, func(tx *authzstore.Tx) error { return tx.UnlockVerification("acc_anna") })
	open := s.shown(claims("unlock_verification", annasID, "acc_anna", ""))["verification"].(map[string]any)
	if locked["locked"] != true || open["locked"] != false {
		t.Errorf("locked %v, unlocked %v", locked, open)
	}
	if a := s.call(claims("unlock_verification", phonesID, "acc_anna", "")); strings.Contains(a.text, "verification") || a.status != 200 {
		t.Errorf("a terminal sees %s", a.text)
	}
}

// Messages are handed over to who delivers them, with the terminal and the session of
// the token and nothing else, and what refuses them is answered.
func TestStreamMessages(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	c := on("stream_messages", phonesID, "trm_phone")
	c.SessionExp = s.at.Unix() + 60
	if a := s.call(c); a.status != 404 {
		t.Errorf("where nobody delivers: %d %s", a.status, a.text)
	}
	type handed struct {
		terminal string
		caller   authzstore.Identity
		ends     int64
	}
	var got []handed
	var fails error
	s.api.Messages = func(w http.ResponseWriter, r *http.Request, terminal string, caller authzstore.Identity, ends int64) error {
		got = append(got, handed{terminal, caller, ends})
		if fails == nil {
			w.WriteHeader(http.StatusOK)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			_, _ = w.Write([]byte("id: 1\n\n"))
		}
		return fails
	}
	want := handed{"trm_phone", authzstore.Identity(phonesID), (s.at.Unix() + 60) * 1e9}
	if a := s.call(c); a.status != 200 || a.text != "id: 1\n\n" || len(got) != 1 || got[0] != want {
		t.Errorf("%d %q, %+v", a.status, a.text, got)
	}
	c.SessionExp = 0
	if s.call(c); got[1].ends != 0 {
		t.Errorf("%+v", got[1])
	}
	fails = &upstream.Refusal{Status: 503, Code: "streams_full", Message: "Full."}
	if a := s.call(c); a.status != 503 || a.code(t) != "streams_full" || a.header.Get("retry-after") != "1" {
		t.Errorf("%d %s", a.status, a.text)
	}
	fails = errors.New("canary4711")
	if a := s.call(c); a.status != 503 || a.code(t) != "store_unavailable" || strings.Contains(a.text, "4711") || !strings.Contains(s.log.String(), "canary4711") {
		t.Errorf("%d %s", a.status, a.text)
	}
	// Nobody gets there without a token for it.
	if a := s.call(on("view_challenge", phonesID, "chl_x")); a.status != 404 || len(got) != 4 {
		t.Errorf("%d %s, %d handed over", a.status, a.text, len(got))
	}
	r := httptest.NewRequest("GET", c.Target, nil)
	rec := httptest.NewRecorder()
	if s.api.ServeHTTP(rec, r); rec.Code != 403 || len(got) != 4 {
		t.Errorf("without a token: %d, %d handed over", rec.Code, len(got))
	}
}
