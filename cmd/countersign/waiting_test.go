package main

import (
	"io"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

const at = 1795521600000000000 // 2026-11-24T12:00:00Z

var (
	phone  = authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "phone"}
	bakery = authzstore.Identity{Kind: "merchant", Issuer: "https://id.example", Subject: "bakery\nagain"}
)

func printed(t *testing.T, print func(io.Writer) error) string {
	t.Helper()
	var out strings.Builder
	if err := print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What waits for people, as people read it. What others chose the text of stays on its
// line.
func TestPrintWaiting(t *testing.T) {
	intent := api.Intent{Intent: authzstore.Intent{
		ID: "int_1", System: "agent_order", Kind: "order", State: "paid", Account: "acc_anna", Initiator: phone, AmountMinor: 1250, Currency: "EUR",
		Payee: "mer_bakery", Attributes: map[string]string{"type": "top_up", "item": "bread"}, Parties: map[string]string{"agent": "acc_ben"},
		Steps:          []authzstore.IntentStep{{State: "waiting", AtNanos: at, By: phone, Terminal: "trm_phone", RecordID: "dec_1"}, {State: "paid", AtNanos: at, By: bakery, RecordID: "dec_2"}},
		ExpiresAtNanos: at, Closed: true,
	}}
	challenge := api.Challenge{
		ID: "chl_1", Kind: "code", State: "locked", Account: "acc_anna", Initiator: phone, System: "multi_terminal", Operation: "pay",
		Terminals: []string{"trm_phone", "trm_tablet"}, Expects: "initiator", AmountMinor: 1250, Currency: "EUR", MaxAttempts: 3, Burnt: 3,
		IssuedAtNanos: at, ExpiresAtNanos: at, DecidedAtNanos: at,
	}
	approval := api.Challenge{ID: "chl_2", Kind: "approval", State: "rejected", Account: "acc_anna", Initiator: phone, System: "s", Operation: "pay", Payee: "mer_1", Intent: "int_1",
		Terminals: []string{"trm_phone"}, Expects: "terminals", IssuedAtNanos: at, ExpiresAtNanos: at, DecidedAtNanos: at, DecidedBy: "trm_phone"}
	for name, c := range map[string]struct{ got, want string }{
		"an intent": {printed(t, func(w io.Writer) error { return printIntent(w, intent) }), `intent          int_1
kind            order of agent_order
state           paid, closed
account         acc_anna
initiator       terminal phone of https://id.example
amount          1250 EUR minor
payee           mer_bakery
attribute item  bread
attribute type  top_up
party agent     acc_ben
expires         2026-11-24T12:00:00Z
step waiting    2026-11-24T12:00:00Z by terminal phone of https://id.example from trm_phone, dec_1
step paid       2026-11-24T12:00:00Z by merchant bakery` + "\ufffd" + `again of https://id.example, dec_2
`},
		"a challenge": {printed(t, func(w io.Writer) error { return printChallenge(w, challenge) }), `challenge    chl_1
kind         code
state        locked
account      acc_anna
initiator    terminal phone of https://id.example
for          pay of multi_terminal
amount       1250 EUR minor
asks         trm_phone trm_tablet
answered by  the initiator
wrong sets   3 of 3
issued       2026-11-24T12:00:00Z
expires      2026-11-24T12:00:00Z
decided      2026-11-24T12:00:00Z
`},
		"an approval": {printed(t, func(w io.Writer) error { return printChallenge(w, approval) }), `challenge    chl_2
kind         approval
state        rejected
account      acc_anna
initiator    terminal phone of https://id.example
for          pay of s
payee        mer_1
intent       int_1
asks         trm_phone
answered by  the terminals
issued       2026-11-24T12:00:00Z
expires      2026-11-24T12:00:00Z
decided      2026-11-24T12:00:00Z by trm_phone
`},
		"a message": {messageRow(api.Message{Number: 7, Kind: "code", Delivery: "dead", Why: "the receiver\tanswered 410", CreatedAtNanos: at, ExpiresAtNanos: at}),
			"7\tcode\tdead: the receiver\ufffdanswered 410\t-\t-\t2026-11-24T12:00:00Z\t2026-11-24T12:00:00Z"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, c.got, c.want)
		}
	}
	if got := intentEnd(api.Intent{Expired: true}); got != ", expired" {
		t.Errorf("%q", got)
	}
	locked := printed(t, func(w io.Writer) error {
		return printAccount(w, api.Account{ID: "acc_anna", Verification: api.Verification{Locked: true, FailedInARow: 5, LockedAtNanos: at}})
	})
	if !strings.Contains(locked, "locked since 2026-11-24T12:00:00Z, after 5 wrong sets") {
		t.Errorf("%s", locked)
	}
}
