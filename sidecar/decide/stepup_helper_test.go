package decide_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
)

// stepUpRoutes are a table where people are asked, and of what they answer with.
const stepUpRoutes = `system: checkout
identity: {source: jwt, issuer: "https://id.example", kind: user}
upstream: {audience: payments.example, idempotent: true}
routes:
- match: {method: POST, path: "/accounts/{account}/payments"}
  operation: pay
  fields: {account: {path: account}, payee: {json: /payee}, amount_minor: {json: /amount_minor}, currency: {json: /currency}}
  facts: {account: write, terminals: write, challenge: write}
- match: {method: POST, path: "/accounts/{account}/code_payments"}
  operation: pay_by_code
  fields:
    account: {path: account}
    payee: {json: /payee}
    amount_minor: {json: /amount_minor}
    currency: {json: /currency}
    code: {json: /code, secret: true, evidence: test_code, optional: true}
  facts: {account: write, terminals: write, challenge: write}
- match: {method: POST, path: /payments}
  operation: pay_from_terminal
  identity: {source: jwt, issuer: "https://id.example", kind: terminal}
  fields: {payee: {json: /payee}, amount_minor: {json: /amount_minor}, currency: {json: /currency}}
  facts: {terminal: read, account: write, terminals: write, challenge: write}
- match: {method: POST, path: "/grants/{grant}/payments"}
  operation: pay_by_grant
  fields: {grant: {path: grant}, payee: {json: /payee}, amount_minor: {json: /amount_minor}, currency: {json: /currency}}
  facts: {grant: write, terminals: write, challenge: write}
- match: {method: POST, path: "/grants/{grant}/unasked_payments"}
  operation: pay_unasked
  fields: {grant: {path: grant}, payee: {json: /payee}, amount_minor: {json: /amount_minor}, currency: {json: /currency}}
  facts: {grant: write}
- match: {method: POST, path: "/accounts/{account}/orders"}
  operation: order
  moves_money: false
  fields: {account: {path: account}, payee: {json: /payee}, amount_minor: {json: /amount_minor}, currency: {json: /currency}}
  facts: {account: read, terminals: write, open_intents: write}
- match: {method: POST, path: "/accounts/{account}/tops"}
  operation: top_up
  moves_money: false
  fields: {account: {path: account}, currency: {json: /currency}}
  facts: {account: read, terminals: read, open_intents: write}
- match: {method: POST, path: "/intents/{intent}/payments"}
  operation: pay_intent
  moves_money: true
  identity: {source: jwt, issuer: "https://id.example", kind: terminal}
  fields: {intent: {path: intent}}
  facts: {intent: write, terminal: write, account: write}
- match: {method: POST, path: "/intents/{intent}/businesses"}
  operation: execute
  moves_money: true
  fields: {intent: {path: intent}, account: {json: /account}}
  facts: {intent: write, account: write, intent_account: write, intent_terminals: write}
- {match: {method: POST, path: "/challenges/{challenge}/entries"}, operation: enter, does: enter_code,
   fields: {challenge: {path: challenge}, code: {json: /code, secret: true, evidence: challenge_code}}, facts: {challenge: write}}
- {match: {method: POST, path: "/challenges/{challenge}/approve"}, operation: approve, does: approve_challenge,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, fields: {challenge: {path: challenge}}, facts: {challenge: write, terminal: read}}
- {match: {method: POST, path: "/challenges/{challenge}/reject"}, operation: reject, does: reject_challenge,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, fields: {challenge: {path: challenge}}, facts: {challenge: write, terminal: read}}
- {match: {method: POST, path: "/challenges/{challenge}/terminal_entries"}, operation: enter_from_terminal, does: enter_code,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal},
   fields: {challenge: {path: challenge}, code: {json: /code, secret: true, evidence: challenge_code}}, facts: {challenge: write}}
- {match: {method: GET, path: "/challenges/{challenge}"}, operation: view_challenge, does: view_challenge,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, fields: {challenge: {path: challenge}}, facts: {challenge: read, terminal: read}}
- {match: {method: GET, path: "/intents/{intent}"}, operation: view_intent, does: view_intent, fields: {intent: {path: intent}}, facts: {intent: read}}
- {match: {method: POST, path: "/intents/{intent}/act"}, operation: act, does: act_on_intent, fields: {intent: {path: intent}}, facts: {intent: write}}
- {match: {method: POST, path: /gestures}, operation: gesture, does: act_on_intent,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, facts: {terminal: write, account: read, open_intents: write}}
- {match: {method: POST, path: /stored_codes}, operation: store_code, does: store_code,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal},
   fields: {max_amount_minor: {json: /max_amount_minor, optional: true}, currency: {json: /currency, optional: true}}, facts: {terminal: write}}
- {match: {method: POST, path: /approved_codes}, operation: store_approved, does: store_code,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal},
   fields: {max_amount_minor: {json: /max_amount_minor, optional: true}, currency: {json: /currency, optional: true}},
   facts: {terminal: write, account: read, terminals: write, challenge: write}}
- {match: {method: POST, path: "/accounts/{account}/unlock"}, operation: unlock, does: unlock_verification, fields: {account: {path: account}}, facts: {account: write}}
- {match: {method: POST, path: "/accounts/{account}/approved_unlock"}, operation: pay_unlock, does: unlock_verification,
   fields: {account: {path: account}}, facts: {account: write, terminals: write, challenge: write}}
- {match: {method: GET, path: /messages}, operation: messages, does: stream_messages,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, facts: {terminal: read}}
- {match: {method: POST, path: /messages/ack}, operation: ack, does: acknowledge_messages,
   identity: {source: jwt, issuer: "https://id.example", kind: terminal}, fields: {up_to: {json: /up_to}}, facts: {terminal: write}}
`

// stepUpRules let a payment pass once its challenge is satisfied, ask what askCodes
// says until then, and let all other calls pass.
const stepUpRules = `package payments

decision := {"allow": allow, "reasons": reasons, "public_reasons": reasons, "effects": effects}

default allow := false

allow if not startswith(input.call.operation, "pay")

allow if input.facts.challenge.state == "satisfied"

reasons contains {"code": "verification_required", "message": "Codes were sent."} if not allow

effects contains {"type": "reserve", "account": input.facts.account.id, "payee": input.call.payee, "amount_minor": input.call.amount_minor,
	"currency": input.call.currency} if {
	startswith(input.call.operation, "pay")
	allow
}

effects contains ` + askCodes + ` if not allow
`

const (
	everyone = `[t.id | some t in input.facts.terminals; t.state == "bound"]`
	askCodes = `{"type": "issue_challenge", "kind": "code", "terminals": ` + everyone + `, "expects": "initiator", "expires_at_ns": input.now_ns + 300000000000,
	"max_attempts": 3, "digits": 6, "condition": {"entry": "any"}, "message": "code", "details": {"shop": "Bakery"}}`
	askApproval = `{"type": "issue_challenge", "kind": "approval", "terminals": ` + everyone + `, "expects": "terminals", "expires_at_ns": input.now_ns + 300000000000,
	"message": "approval_request"}`
)

// asking are the rules with another effect than askCodes.
func asking(effect string) string { return strings.Replace(stepUpRules, askCodes, effect, 1) }

// fixed are rules of one verdict, whatever the call.
func fixed(allow bool, effects ...string) string {
	reasons := `[{"code": "no", "message": "No."}]`
	if allow {
		reasons = "[]"
	}
	return fmt.Sprintf("package payments\n\ndecision := {\"allow\": %t, \"reasons\": %s, \"public_reasons\": %s, \"effects\": [%s]}\n",
		allow, reasons, reasons, strings.Join(effects, ", "))
}

func stepUpBundle(t testing.TB, rules string) *bundle.Bundle {
	t.Helper()
	table, err := call.Load(fstest.MapFS{"systems/checkout/routes.yaml": {Data: []byte(stepUpRoutes)}}, call.Vocabulary{Evidence: []string{"test_code"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(context.Background(), fstest.MapFS{"decision.rego": {Data: []byte(rules)}}, policy.Config{Budget: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Bundle{Digest: "sha256:test", Routes: table, Policy: p}
}

// A stepWorld is a world where Anna's account has a phone and a tablet.
type stepWorld struct {
	*world
	store      *authzstore.Store
	challenges *evidence.Challenges

	mu    sync.Mutex
	now   time.Time
	rules *bundle.Bundle
}

func newStepWorld(t testing.TB, changes ...func(*decide.Config)) *stepWorld {
	t.Helper()
	sealer, err := evidence.NewSealer(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := &stepWorld{now: noon, rules: stepUpBundle(t, stepUpRules)}
	if s.challenges, err = evidence.NewChallenges(evidence.ChallengesConfig{Sealer: sealer}); err != nil {
		t.Fatal(err)
	}
	stored, err := evidence.NewStoredCodes(evidence.StoredCodesConfig{Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	s.world = newWorld(t, append([]func(*decide.Config){func(cfg *decide.Config) {
		cfg.Bundle = func() *bundle.Bundle {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.rules
		}
		cfg.Now = func() (time.Time, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.now, nil
		}
		cfg.Challenges, cfg.StoredCodes = s.challenges, stored
		cfg.Evidence = map[string]evidence.Kind{"test_code": testCode{}}
	}}, changes...)...)
	s.store = authzstore.New(s.backend)
	s.putTerminal(t, phone())
	s.putTerminal(t, tablet())
	return s
}

func (s *stepWorld) use(t testing.TB, rules string) {
	t.Helper()
	s.swap(stepUpBundle(t, rules))
}

func (s *stepWorld) swap(b *bundle.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = b
}

// pass lets time go by.
func (s *stepWorld) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func terminal(name string) authzstore.Terminal {
	return authzstore.Terminal{
		ID: "trm_" + name, Account: "acc_anna", Number: "+49 30 " + name, OS: "android", Rights: []string{"order"}, State: authzstore.TerminalBound,
		Identity: authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: name},
	}
}

func phone() authzstore.Terminal  { return terminal("phone") }
func tablet() authzstore.Terminal { return terminal("tablet") }

func (s *stepWorld) putTerminal(t testing.TB, as authzstore.Terminal) {
	t.Helper()
	s.update(t, func(tx *authzstore.Tx) error { return tx.PutTerminal(as) }, as)
}

// update changes the store as an operator does: terminals, and Anna's account.
func (s *stepWorld) update(t testing.TB, fn func(*authzstore.Tx) error, terminals ...authzstore.Terminal) {
	t.Helper()
	s.mu.Lock()
	cause := operatorCause()
	cause.NowNanos = s.now.UnixNano()
	s.mu.Unlock()
	if err := s.store.Update(context.Background(), cause, authzstore.TerminalRefs(terminals...), fn); err != nil {
		t.Fatal(err)
	}
}

const bun = `{"payee": "mer_bakery", "amount_minor": 250, "currency": "EUR"}`

// pay is Anna's payment under a key.
func pay(key string) call.Request {
	return request("anna", "POST", "/accounts/acc_anna/payments", bun, key)
}

// entryOf is a code that a user enters under a key of its own.
func entryOf(subject, challenge, code string) call.Request {
	return request(subject, "POST", "/challenges/"+challenge+"/entries", fmt.Sprintf(`{"code": %q}`, code), nextKey())
}

// challenge is a challenge as it is stored.
func (s *stepWorld) challenge(t testing.TB, id string) (c authzstore.Challenge) {
	t.Helper()
	err := s.store.View(context.Background(), func(snap authzstore.Snapshot) (err error) {
		c, _, err = snap.Challenge(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// codes are those of a challenge, in the order of its terminals.
func (s *stepWorld) codes(t testing.TB, id string) (codes []string) {
	t.Helper()
	c := s.challenge(t, id)
	for i := range c.Terminals {
		code, err := s.challenges.Code(c, i)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, code)
	}
	return codes
}

// wrongCode is none of a challenge's codes.
func (s *stepWorld) wrongCode(t testing.TB, id string) string {
	t.Helper()
	codes := strings.Join(s.codes(t, id), " ")
	for n := 100000; ; n++ {
		if code := fmt.Sprint(n); !strings.Contains(codes, code) {
			return code
		}
	}
}

// messages are those of a terminal, all of them.
func (s *stepWorld) messages(t testing.TB, terminal string) (messages []authzstore.NumberedMessage) {
	t.Helper()
	err := s.store.View(context.Background(), func(snap authzstore.Snapshot) (err error) {
		messages, err = snap.Messages(terminal, 0, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// asked is a payment that was answered with a challenge.
func (s *stepWorld) asked(t testing.TB, key string) (challenge string) {
	t.Helper()
	d := s.decide(pay(key))
	want(t, d, decide.StepUp, 401, "verification_required")
	if d.Challenge == nil {
		t.Fatal("no challenge")
	}
	return d.Challenge.ID
}

// enter enters codes as Anna, and each is answered alike.
func (s *stepWorld) enter(t testing.TB, challenge string, codes ...string) {
	t.Helper()
	for _, code := range codes {
		want(t, s.decide(entryOf("anna", challenge, code)), decide.Allow, 0)
	}
}

// input is what the policy was asked for a decision.
func (s *stepWorld) input(t testing.TB, id string) (input map[string]any) {
	t.Helper()
	var r decide.Record
	if err := json.Unmarshal([]byte(s.kept(t, id)), &r); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.Input, &input); err != nil {
		t.Fatal(err)
	}
	return input
}

func (s *stepWorld) clean(t testing.TB) {
	t.Helper()
	clean(t, s.store)
}

func (s *stepWorld) view(t testing.TB, fn func(authzstore.Snapshot) error) {
	t.Helper()
	if err := s.store.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}
