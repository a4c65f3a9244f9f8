package decide_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// A systemsWorld is a stepWorld on the built-in systems, a while after its terminals
// were bound.
type systemsWorld struct {
	*stepWorld
	stored *evidence.StoredCodes
}

// newSystemsWorld tunes the data of systems: in each, what matches the first pattern
// becomes the second text. changes come last.
func newSystemsWorld(t testing.TB, tuned map[string][2]string, changes ...func(*decide.Config)) *systemsWorld {
	t.Helper()
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := evidence.NewStoredCodes(evidence.StoredCodesConfig{Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := evidence.NewIntentTokens(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	kinds := func(cfg *decide.Config) {
		cfg.Evidence = map[string]evidence.Kind{"payment_code": handleCode{}, "stored_code": stored, "intent_token": tokens}
		cfg.StoredCodes = stored
	}
	w := newStepWorld(t, append([]func(*decide.Config){kinds}, changes...)...)
	w.swap(systemsBundle(t, tuned))
	w.pass(time.Hour)
	return &systemsWorld{w, stored}
}

// systemsBundle is the built-in bundle with other data. It is not judged, which takes
// long.
func systemsBundle(t testing.TB, tuned map[string][2]string) *bundle.Bundle {
	t.Helper()
	files := policiestest.All(t)
	for system, change := range tuned {
		file := files["systems/"+system+"/data.yaml"]
		was := file.Data
		if file.Data = regexp.MustCompile("(?m)"+change[0]).ReplaceAll(was, []byte(change[1])); bytes.Equal(was, file.Data) {
			t.Fatalf("the data of %s has no %s", system, change[0])
		}
	}
	table, err := call.Load(files, call.Vocabulary{Evidence: []string{"payment_code", "stored_code", "intent_token"}})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Load(context.Background(), files, policy.Config{Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Bundle{Digest: "sha256:test", Routes: table, Policy: rules}
}

// agentOrder is an agent's order for Anna, with a stored code unless it is "".
func agentOrder(agent, key, code string) call.Request {
	body := `{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 250, "currency": "EUR"`
	if code != "" {
		body += fmt.Sprintf(`, "stored_code": %q`, code)
	}
	return request(agent, "POST", "/v1/agent/orders", body+"}", key)
}

// storedCode has a terminal agree on a code.
func (w *systemsWorld) storedCode(t testing.TB, terminal string) (code string) {
	t.Helper()
	want(t, w.decide(request(terminal, "POST", "/countersign/v1/stored_codes", "{}", nextKey())), decide.Allow, 0)
	w.view(t, func(s authzstore.Snapshot) error {
		all, err := s.StoredCodes("acc_anna")
		if err == nil {
			code, err = w.stored.Code(all.Codes[0])
		}
		return err
	})
	return code
}

// An agent who guesses at stored codes is told each time what the first was told, and
// the terminal hears of it as often as the agent has attempts: else the agent would fill
// it, and nothing that concerns its owner could be done for an hour.
func TestGuessesFillNoTerminal(t *testing.T) {
	w := newSystemsWorld(t, nil)
	for n := range authzstore.MaxMessagesPerHour + 1 {
		want(t, w.decide(agentOrder("mallory", nextKey(), fmt.Sprintf("%08d", n))), decide.Deny, 403, "stored_code_invalid")
	}
	if n := len(w.messages(t, "trm_phone")); n != int(evidence.DefaultStoredCodeAllowance.Max) {
		t.Errorf("%d messages, want %d", n, evidence.DefaultStoredCodeAllowance.Max)
	}
	want(t, w.decide(agentOrder("desk", nextKey(), "")), decide.StepUp, 401, "verification_required")
	w.clean(t)
}

// However many agents guess or ask, its own people still reach a terminal; and who is
// denied is not told that there was no room for a notice.
func TestOthersLeaveRoomForTheAccountsPeople(t *testing.T) {
	w := newSystemsWorld(t, nil)
	for n := range authzstore.MaxOthersPerHour + 1 {
		want(t, w.decide(agentOrder(fmt.Sprint("mallory-", n), nextKey(), "00000000")), decide.Deny, 403, "stored_code_invalid")
	}
	if n := len(w.messages(t, "trm_phone")); n != authzstore.MaxOthersPerHour {
		t.Errorf("%d messages, want %d", n, authzstore.MaxOthersPerHour)
	}
	want(t, w.decide(agentOrder("desk", nextKey(), "")), decide.Deny, 429, "messages_over_maximum")
	want(t, w.decide(request("anna", "POST", "/v1/accounts/acc_anna/verified-payments", bun, nextKey())), decide.StepUp, 401, "verification_required")
	want(t, w.decide(request("phone", "POST", "/v1/orders", bun, nextKey())), decide.StepUp, 401, "verification_required")
	w.pass(time.Hour)
	want(t, w.decide(agentOrder("desk", nextKey(), "")), decide.StepUp, 401, "verification_required")
	w.clean(t)
}

// Under a key that was asked for a code, a stored one is not looked at. The key is over
// then, and the stored code still good.
func TestStoredCodeUnderAKeyThatWasAsked(t *testing.T) {
	w := newSystemsWorld(t, nil)
	code := w.storedCode(t, "phone")
	for _, shown := range []string{code, "00000000"} {
		key := nextKey()
		d := w.decide(agentOrder("desk", key, ""))
		want(t, d, decide.StepUp, 401, "verification_required")
		want(t, w.decide(agentOrder("desk", key, shown)), decide.Deny, 403, "order_asked_for_code")
		if state := w.challenge(t, d.Challenge.ID).State; state != authzstore.ChallengeReplaced {
			t.Errorf("the challenge is %s", state)
		}
	}
	want(t, w.decide(agentOrder("desk", nextKey(), code)), decide.Allow, 0)
	w.clean(t)
}

// However long people have by the data, a message of it lives a day at most, and is
// sent.
func TestMessagesOfWhatIsOpenForLong(t *testing.T) {
	w := newSystemsWorld(t, map[string][2]string{
		"proxied_business": {`^window_seconds: \d+`, "window_seconds: 604800"},
		"second_terminal":  {`^payment_seconds: \d+`, "payment_seconds: 86400"},
		"agent_order":      {`^order_expires_seconds: \d+\n.*\n.*\ninterval: .*`, "order_expires_seconds: 7776000\ninterval: {checked: false, seconds: 600}"},
	})
	laptop := terminal("laptop")
	w.putTerminal(t, laptop)
	paired := phone()
	paired.PairedWith = []string{laptop.ID}
	w.putTerminal(t, paired)
	w.pass(time.Second)
	agents := anna()
	agents.ID, agents.Owner = "acc_desk", authzstore.Identity{Kind: "agent", Issuer: "https://id.example", Subject: "desk"}
	putAccount(t, w.backend, agents)

	business := w.decide(request("phone", "POST", "/v1/business", `{"type": "withdrawal", "amount_minor": 250, "currency": "EUR", "proxy_mode": true}`, nextKey()))
	want(t, business, decide.Allow, 0)
	code := w.storedCode(t, "phone")
	for _, req := range []call.Request{
		request("desk", "POST", "/countersign/v1/business/"+business.IntentID+"/scan", `{"account": "acc_desk"}`, nextKey()),
		request("laptop", "POST", "/v1/checkouts", bun, nextKey()),
		agentOrder("desk", nextKey(), code),
	} {
		want(t, w.decide(req), decide.Allow, 0)
		all := w.messages(t, "trm_phone")
		if last := all[len(all)-1]; last.ExpiresAtNanos-last.CreatedAtNanos != int64(authzstore.MaxMessageLife) {
			t.Errorf("%s lives %v", last.Kind, time.Duration(last.ExpiresAtNanos-last.CreatedAtNanos))
		}
	}
	w.clean(t)
}
