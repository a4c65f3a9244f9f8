package call_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/call"
)

// intents is a table of intents and challenges: an owner orders and pays, others enter
// codes, approve and take part.
const intents = `system: pay
identity: {source: jwt, issuer: x, kind: user}
upstream: {audience: pay.example}
routes:
- match: {method: POST, path: "/accounts/{account}/orders"}
  operation: order
  moves_money: false
  fields:
    account: {path: account}
    amount_minor: {json: /amount}
    currency: {json: /currency}
    payee: {json: /payee}
    proof: {identity: amr, optional: true}
    code: {json: /code, secret: true, evidence: stored_code, optional: true}
  facts: {account: read, terminals: write, open_intents: write, challenge: write}
- match: {method: POST, path: "/intents/{intent}/pay"}
  operation: pay_intent
  moves_money: true
  fields:
    intent: {path: intent}
    token: {json: /token, secret: true, evidence: intent_token, optional: true}
  facts: {terminal: read, account: write, intent: write, intent_account: write, intent_terminals: write}
- match: {method: POST, path: /pay}
  operation: pay_here
  fields:
    amount_minor: {json: /amount}
    currency: {json: /currency}
    payee: {json: /payee}
  facts: {terminal: read, account: write}
- match: {method: POST, path: "/challenges/{challenge}/entries"}
  operation: enter
  does: enter_code
  fields:
    challenge: {path: challenge}
    code: {json: /code, secret: true, evidence: challenge_code}
  facts: {challenge: write}
- match: {method: POST, path: "/challenges/{challenge}/approve"}
  operation: approve
  does: approve_challenge
  fields:
    challenge: {path: challenge}
  facts: {challenge: write, terminal: read}
- match: {method: POST, path: "/challenges/{challenge}/reject"}
  operation: reject
  does: reject_challenge
  fields:
    challenge: {path: challenge}
  facts: {challenge: write, terminal: read}
- match: {method: GET, path: "/challenges/{challenge}"}
  operation: look
  does: view_challenge
  fields:
    challenge: {path: challenge}
  facts: {challenge: read}
- match: {method: GET, path: "/intents/{intent}"}
  operation: look_at_intent
  does: view_intent
  fields:
    intent: {path: intent}
  facts: {intent: read}
- match: {method: POST, path: "/intents/{intent}/cancel"}
  operation: cancel
  does: act_on_intent
  fields:
    intent: {path: intent}
  facts: {account: read, intent: write}
- match: {method: POST, path: "/terminals/{terminal}/gestures"}
  operation: report
  does: act_on_intent
  fields:
    terminal: {path: terminal}
  facts: {account: read, terminal: read, open_intents: write, challenge: write}
- match: {method: POST, path: /stored_codes}
  operation: store
  does: store_code
  fields:
    max_amount_minor: {json: /max, optional: true}
    currency: {json: /currency, optional: true}
  facts: {terminal: write}
- match: {method: POST, path: "/accounts/{account}/unlock"}
  operation: unlock
  does: unlock_verification
  fields:
    account: {path: account}
  facts: {account: write}
- match: {method: GET, path: /messages}
  operation: stream
  does: stream_messages
  facts: {terminal: read}
- match: {method: POST, path: /messages/ack}
  operation: acknowledge
  does: acknowledge_messages
  fields:
    up_to: {json: /up_to}
  facts: {terminal: write}
`

func TestIntentRoutes(t *testing.T) {
	table := mustLoadYAML(t, intents)
	const key = "header idempotency-key"
	for _, c := range []struct {
		operation, key, facts string
		money, asks           bool
	}{
		{"order", key, "account terminals open_intents challenge initiator", false, true},
		{"pay_intent", key, "intent terminal account intent_account intent_terminals", true, false},
		{"pay_here", key, "terminal account", true, false},
		{"enter", key, "", false, false},
		{"approve", key, "terminal challenge", false, false},
		{"reject", key, "terminal challenge", false, false},
		{"look", "", "challenge", false, false},
		{"look_at_intent", "", "intent", false, false},
		{"cancel", key, "intent account", false, false},
		{"report", key, "terminal account open_intents challenge initiator", false, true},
		{"store", key, "terminal", false, false},
		{"unlock", key, "account", false, false},
		{"stream", "", "terminal", false, false},
		{"acknowledge", "", "terminal", false, false},
	} {
		r := route(t, table, c.operation)
		if r.KeyFrom() != c.key || strings.Join(r.FactsRead(), " ") != c.facts || r.MovesMoney != c.money || r.AsksPeople() != c.asks {
			t.Errorf("%s: key %q, rules read %v, moves money %t, asks people %t", c.operation, r.KeyFrom(), r.FactsRead(), r.MovesMoney, r.AsksPeople())
		}
	}
	if r := route(t, table, "pay_intent"); !r.Writes("account") || r.Writes("terminal") || r.Writes("merchant") || r.PaysByGrant() {
		t.Errorf("pay_intent writes its terminal, or not its account: %+v", r.Facts)
	}
	if f, ok := route(t, table, "look").Fact("challenge"); !ok || f != (call.Fact{Name: "challenge"}) {
		t.Errorf("the challenge of look is %+v, %t", f, ok)
	}
}

// What changes something that is not money is not done twice either: a route that may
// do so takes a key.
func TestChangesTakeKeys(t *testing.T) {
	for facts, want := range map[string]string{
		"{account: read, terminals: read, open_intents: read}": "",
		"{account: write}": "",
		"{intent: read, intent_account: read, account: read}": "",
		"{intent: write}":                                        "header idempotency-key",
		"{terminal: write}":                                      "header idempotency-key",
		"{account: read, terminals: write}":                      "header idempotency-key",
		"{account: read, open_intents: write}":                   "header idempotency-key",
		"{account: read, challenge: write}":                      "header idempotency-key",
		"{account: read, intent: read, intent_account: write}":   "header idempotency-key",
		"{account: read, intent: read, intent_terminals: write}": "header idempotency-key",
	} {
		table := mustLoadYAML(t, `system: pay
identity: {source: jwt, issuer: x, kind: user}
routes:
- match: {method: POST, path: "/{account}/{intent}"}
  operation: try
  fields:
    account: {path: account}
    intent: {path: intent}
  facts: `+facts+"\n")
		if got := route(t, table, "try").KeyFrom(); got != want {
			t.Errorf("%s: the key is in %q, want %q", facts, got, want)
		}
	}
}

func TestIntentRouteMistakes(t *testing.T) {
	for _, c := range []struct{ name, old, replacement, line, says string }{
		{"an intent that nothing names", "    intent: {path: intent}\n  facts: {intent: read}", "    thing: {path: intent}\n  facts: {intent: read}", "60", "fact intent is looked up by the field intent: map it, and not as optional"},
		{"an intent that may be missing", "path: \"/intents/{intent}/cancel\"}\n  operation: cancel\n  does: act_on_intent\n  fields:\n    intent: {path: intent}", "path: \"/intents/cancel\"}\n  operation: cancel\n  does: act_on_intent\n  fields:\n    intent: {query: intent, optional: true}", "66", "fact intent is looked up by the field intent"},
		{"a terminal that may be missing", "    terminal: {path: terminal}", "    thing: {path: terminal}\n    terminal: {query: terminal, optional: true}", "73", "fact terminal is looked up by the field terminal: map it not as optional, or leave it out where the caller is the terminal"},
		{"nobody's account", "  facts: {terminal: read, account: write}\n", "  facts: {account: write}\n", "29", "fact account is looked up by the field account: map it, and not as optional, or name the fact terminal or intent, whose account it then is"},
		{"an intent's account without one", "facts: {terminal: read, account: write}", "facts: {terminal: read, account: write, intent_account: read}", "29", "fact intent_account is that of the intent: name the fact intent beside it"},
		{"an intent's account twice", "  facts: {account: read, intent: write}", "  facts: {account: read, intent: write, intent_account: read}", "66", "fact intent_account is what the fact account is here, for nothing else says whose account the call is about: leave it out, and name account"},
		{"an intent's terminals without one", "facts: {terminal: read, account: write}", "facts: {terminal: read, account: write, intent_terminals: read}", "29", "fact intent_terminals are those of the intent: name the fact intent beside it"},
		{"terminals of no account", "facts: {terminal: read, account: write}", "facts: {terminal: read, terminals: read}", "29", "fact terminals are those of the account: name the fact account, or grant, beside it"},
		{"open intents of no account", "  facts: {account: read, terminal: read, open_intents: write, challenge: write}", "  facts: {terminal: read, open_intents: write}", "72", "fact open_intents are those of the account: name the fact account, or grant, beside it"},
		{"a challenge of no account", "  facts: {account: read, terminal: read, open_intents: write, challenge: write}", "  facts: {terminal: read, challenge: write}", "72", "fact challenge asks the people of an account: name the fact account, or grant, beside it"},
		{"a challenge that is only read", "open_intents: write, challenge: write}\n- match: {method: POST, path: \"/intents", "open_intents: write, challenge: read}\n- match: {method: POST, path: \"/intents", "15", "fact challenge is what people are asked about the call, and an effect asks: write challenge: write"},
		{"a challenge before a look", "facts: {intent: read}", "facts: {account: read, intent: read, challenge: write}", "60", "fact challenge is for what changes something, and view_intent does not: leave it out"},

		{"no account to pay from", "facts: {terminal: read, account: write, intent: write, intent_account: write, intent_terminals: write}", "facts: {terminal: read, account: read, intent: write}", "22", "the route moves money, so it changes the account: write facts: {account: write}, or {grant: write} where a grant pays, or {intent_account: write} where the intent's account does"},
		{"an intent that brings money and is read", "intent: write, intent_account: write, intent_terminals: write}", "intent: read}", "16", "the route moves money: map amount_minor, and not as optional, or write moves_money: false; what an intent brings is not mapped where the route has facts: {intent: write}"},
		{"an amount that may be the intent's", "    token: {json: /token,", "    amount_minor: {json: /amount, optional: true}\n    token: {json: /token,", "16", "the route moves money: map amount_minor, and not as optional"},

		{"a stored code of no account", "    max_amount_minor: {json: /max, optional: true}", "    code: {json: /code, secret: true, evidence: stored_code}", "77", "field code: stored_code is agreed with the people of an account: name the fact account, or grant"},
		{"a token of no intent", "evidence: stored_code, optional: true}", "evidence: intent_token}", "14", "field code: intent_token is the token of an intent: map the field intent, and not as optional"},
		{"a challenge's code elsewhere", "evidence: stored_code, optional: true}", "evidence: challenge_code}", "14", "field code: challenge_code is entered with does: enter_code, and nowhere else"},
		{"a grant by a stored code", "evidence: stored_code, optional: true}\n  facts: {account: read, terminals: write, open_intents: write, challenge: write}", "evidence: stored_code}\n  facts: {grant: read}", "15", "fact grant is looked up by the field grant, or by evidence that leads to one"},

		{"an entry without a code", "    code: {json: /code, secret: true, evidence: challenge_code}\n", "", "33", "enter_code takes one secret: map one field with {secret: true, evidence: challenge_code}, and not as optional"},
		{"an entry that may have no code", "evidence: challenge_code}", "evidence: challenge_code, optional: true}", "33", "enter_code takes one secret"},
		{"an entry of two codes", "    code: {json: /code, secret: true, evidence: challenge_code}", "    code: {json: /code, secret: true, evidence: challenge_code}\n    other: {json: /other, secret: true, evidence: challenge_code}", "33", "enter_code takes one secret"},
		{"an entry of another code", "evidence: challenge_code}", "evidence: payment_code}", "33", "enter_code takes one secret"},
		{"an entry without a challenge", "    challenge: {path: challenge}\n    code:", "    thing: {path: challenge}\n    code:", "32", "enter_code needs the field challenge: map it, and not as optional"},
		{"an entry that only reads", "evidence: challenge_code}\n  facts: {challenge: write}", "evidence: challenge_code}\n  facts: {challenge: read}", "36", "enter_code needs the fact challenge: write facts: {challenge: write}"},
		{"an approval by nobody", "operation: approve\n  does: approve_challenge\n  fields:\n    challenge: {path: challenge}\n  facts: {challenge: write, terminal: read}", "operation: approve\n  does: approve_challenge\n  fields:\n    challenge: {path: challenge}\n  facts: {challenge: write}", "42", "approve_challenge needs the fact terminal: write facts: {terminal: read}"},
		{"a rejection by nobody", "operation: reject\n  does: reject_challenge\n  fields:\n    challenge: {path: challenge}\n  facts: {challenge: write, terminal: read}", "operation: reject\n  does: reject_challenge\n  fields:\n    challenge: {path: challenge}\n  facts: {challenge: write}", "48", "reject_challenge needs the fact terminal: write facts: {terminal: read}"},
		{"an approval for another terminal", "operation: approve\n  does: approve_challenge\n  fields:\n", "operation: approve\n  does: approve_challenge\n  fields:\n    terminal: {json: /terminal}\n", "43", "approve_challenge is for the terminal that calls, and a field would name any: leave the field terminal out"},
		{"a rejection for another terminal", "operation: reject\n  does: reject_challenge\n  fields:\n", "operation: reject\n  does: reject_challenge\n  fields:\n    terminal: {json: /terminal}\n", "49", "reject_challenge is for the terminal that calls"},
		{"messages of another terminal", "  does: stream_messages\n", "  does: stream_messages\n  fields: {terminal: {query: terminal}}\n", "90", "stream_messages is for the terminal that calls"},
		{"messages of another terminal, acknowledged", "    up_to: {json: /up_to}", "    up_to: {json: /up_to}\n    terminal: {json: /terminal}", "96", "acknowledge_messages is for the terminal that calls"},
		{"a code stored for another terminal", "    currency: {json: /currency, optional: true}\n", "    currency: {json: /currency, optional: true}\n    terminal: {json: /terminal}\n", "80", "store_code is for the terminal that calls"},
		{"an approval with a code", "  does: approve_challenge\n  fields:\n", "  does: approve_challenge\n  fields:\n    code: {header: x-code, secret: true, evidence: payment_code}\n", "40", "approve_challenge takes no evidence: leave the secret fields out"},
		{"an act on no intent", "  facts: {account: read, intent: write}", "  facts: {account: read, intent: read}", "66", "act_on_intent needs the fact intent or open_intents: write facts: {intent: write} or {open_intents: write}"},
		{"an act upstream", "  does: act_on_intent\n  fields:\n    intent: {path: intent}\n", "  does: act_on_intent\n  upstream: {audience: x}\n  fields:\n    intent: {path: intent}\n", "64", "what act_on_intent does is shown by the sidecar itself: leave upstream out"},
		{"a code stored for no terminal", "  facts: {terminal: write}\n- match: {method: POST, path: \"/accounts/{account}/unlock\"}", "- match: {method: POST, path: \"/accounts/{account}/unlock\"}", "73", "store_code needs the fact terminal: write facts: {terminal: write}"},
		{"a stored code's maximum of no currency", "    currency: {json: /currency, optional: true}\n", "", "76", "store_code with max_amount_minor needs the field currency too: map it"},
		{"unlocking what is only read", "    account: {path: account}\n  facts: {account: write}", "    account: {path: account}\n  facts: {account: read}", "85", "unlock_verification needs the fact account: write facts: {account: write}"},
		{"messages to nobody", "  facts: {terminal: read}\n", "", "86", "stream_messages needs the fact terminal: write facts: {terminal: read}"},
		{"a key for a stream", "  does: stream_messages\n", "  does: stream_messages\n  idempotency: {header: idempotency-key}\n", "89", "stream_messages changes nothing, so a retry of it needs no key"},
		{"acknowledging nothing", "    up_to: {json: /up_to}", "    thing: {json: /up_to}", "92", "acknowledge_messages needs the field up_to: map it, and not as optional"},

		{"methods that must be there", "{identity: amr, optional: true}", "{identity: amr}", "13", "field proof: not every token says how its subject was authenticated: write optional: true"},
		{"methods of a certificate", "  moves_money: false\n", "  moves_money: false\n  identity: {source: mtls, kind: relay, trust_domain: \"spiffe://x\"}\n", "14", "field proof: amr is a claim of a token, and mtls has none: leave it out"},
		{"a number of another type", "up_to: {json: /up_to}", "up_to: {json: /up_to, type: integer}", "94", "field up_to: its type is integer: leave type out"},
		{"a maximum in major units", "max_amount_minor: {json: /max, optional: true}", "max_amount_minor: {json: /max, optional: true, format: decimal}", "77", `format "decimal": only amount_minor has one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadYAML(replaceIn(t, intents, c.old, c.replacement))
			wantError(t, err, "systems/pay/routes.yaml:"+c.line+": ", c.says)
		})
	}
}

// Fields by which a call names what the store knows cannot be tokens.
func TestNotPersonal(t *testing.T) {
	for _, name := range []string{"intent", "terminal", "challenge"} {
		_, err := loadYAML("system: pay\nidentity: {source: jwt, issuer: x, kind: user}\nroutes:\n" +
			"- {match: {method: GET, path: /x}, operation: look, fields: {" + name + ": {query: q, personal: true}}}\n")
		wantError(t, err, "systems/pay/routes.yaml:4: ", "field "+name+": the store knows it as it is: leave personal out")
	}
}

// A token says until when it is good, and how its subject was authenticated.
func TestTokenClaims(t *testing.T) {
	table := mustLoadYAML(t, intents)
	order := func(claims map[string]any) call.Call {
		claims["iss"], claims["sub"] = "x", "anna"
		req := post("/accounts/acc_anna/orders", `{"amount": 1, "currency": "EUR", "payee": "mer_bakery"}`)
		req.Claims = claims
		return mustDecode(t, table, req)
	}
	const most = math.MaxInt64 / 1_000_000_000 * 1_000_000_000
	for _, c := range []struct {
		exp  any
		want int64
	}{
		{nil, 0}, {"1795532400", 0}, {1795532400.0, 1795532400_000000000}, {1795532400.75, 1795532400_000000000}, {-5.0, 0}, {0.5, 0},
		{math.NaN(), 0}, {math.Inf(1), most}, {1e300, most}, {math.Inf(-1), 0},
	} {
		if got := order(map[string]any{"exp": c.exp}).ExpiresAtNanos; got != c.want {
			t.Errorf("exp %v ends at %d, want %d", c.exp, got, c.want)
		}
	}
	many := slices.Repeat([]any{"pin"}, 17)
	for _, c := range []struct {
		amr  any
		want string
	}{
		{nil, ""}, {[]any{}, ""}, {"pin", ""}, {[]any{"pin"}, "pin"}, {[]any{"pwd", "otp", "pwd", "mfa"}, "mfa otp pwd"},
		{[]any{"pin", 5.0}, ""}, {[]any{"pin otp"}, ""}, {[]any{""}, ""}, {many[:16], "pin"}, {many, ""},
		{[]any{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), strings.Repeat("d", 64)}, ""},
	} {
		if got := order(map[string]any{"amr": c.amr}).Text("proof"); got != c.want {
			t.Errorf("amr %v reads %q, want %q", c.amr, got, c.want)
		}
	}
}
