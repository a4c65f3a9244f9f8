package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

// messages lists those to the phone, as "number kind delivery why".
func messages(w *world, query string) (all []string) {
	w.t.Helper()
	var page api.Page[api.Message]
	for after := ""; ; after = "&after=" + page.Next {
		page = api.Page[api.Message]{}
		w.ask(200, "GET", "/v1/terminals/trm_phone/messages?"+query+after, "", &page)
		for _, m := range page.Items {
			all = append(all, strings.TrimSpace(fmt.Sprint(m.Number, " ", m.Kind, " ", m.Delivery, " ", m.Why)))
		}
		if page.Next == "" {
			return all
		}
	}
}

// What became of each message, and never a code.
func TestMessages(t *testing.T) {
	w := newWorld(t)
	w.asking()
	for _, kind := range []string{"code", "notice", "approval_request"} {
		w.notify(kind, nil)
	}
	w.notify("long", func(m *authzstore.Message) { m.ExpiresAtNanos = w.at.Add(time.Hour).UnixNano() })
	w.decide(authzstore.AckRefs("trm_phone"), func(tx *authzstore.Tx) error { return tx.AckMessages("trm_phone", 1) })
	var letter api.Message
	var page api.Page[api.Message]
	w.ask(200, "GET", "/v1/terminals/trm_phone/messages?limit=2", "", &page)
	w.decide(authzstore.AckRefs("trm_phone"), func(tx *authzstore.Tx) error {
		return tx.BuryMessage("trm_phone", authzstore.DeadLetter{Num: 2, MessageID: page.Items[1].ID, Kind: "notice", Why: "the receiver answered 410"})
	})
	w.wait(5 * time.Minute)
	check := func(what, query string, want ...string) {
		t.Helper()
		if got := messages(w, query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	all := []string{"1 code acknowledged", "2 notice dead the receiver answered 410", "3 approval_request waiting", "4 long waiting"}
	for _, limit := range []string{"limit=1", "limit=3", "limit=4", "limit=200"} {
		check(limit, limit, all...)
	}
	check("dead ones", "delivery=dead&limit=1", all[1])
	check("waiting ones", "delivery=waiting&limit=1", all[2:]...)
	w.wait(1)
	all[2] = "3 approval_request lapsed"
	check("past an expiry", "", all...)
	w.bind("phone", "frozen")
	check("a frozen terminal", "", all...)
	w.bind("phone", "unbound")
	all[3] = "4 long lapsed"
	check("an unbound terminal", "", all...)
	w.bind("phone", "bound")
	check("a terminal that was bound anew", "", all...)

	a := w.ask(200, "GET", "/v1/terminals/trm_phone/messages", "", &page)
	letter = page.Items[1]
	if letter.DiedAtNanos == 0 || letter.AmountMinor != 1250 || letter.Requester.Subject != "bakery" || letter.Details["note"] != "hello" || letter.Challenge != "chl_x" {
		t.Errorf("%+v", letter)
	}
	if strings.Contains(a.text, "counter") || strings.Contains(a.text, "4711") || strings.Contains(a.text, "stored_code") {
		t.Errorf("it says of codes: %s", a.text)
	}
	w.ask(404, "GET", "/v1/terminals/trm_other/messages", "", nil)
	w.ask(422, "GET", "/v1/terminals/trm_phone/messages?after=x", "", nil)
	w.ask(422, "GET", "/v1/terminals/trm_phone/messages?after=18446744073709551615", "", nil)
	w.ask(422, "GET", "/v1/terminals/trm_phone/messages?delivery=gone", "", nil)
}

// A terminal has a webhook by HTTPS, and what is not said again is gone.
func TestTerminalWebhook(t *testing.T) {
	w := newWorld(t)
	w.asking()
	body := func(webhook string) string {
		return fmt.Sprintf(`{"account": "acc_anna", "identity": {"kind": "terminal", "issuer": "i", "subject": "x"}, "state": "bound", "rights": [], "paired_with": []%s}`, webhook)
	}
	var term api.Terminal
	w.ask(200, "PUT", "/v1/terminals/trm_x", body(`, "webhook": "https://push.example/x"`), &term)
	if term.Webhook != "https://push.example/x" {
		t.Errorf("%+v", term)
	}
	for _, bad := range []string{"http://push.example/x", "push.example", "", "https://", "https://push.example/" + strings.Repeat("x", 512), "https://user:word@push.example/"} {
		w.ask(422, "PUT", "/v1/terminals/trm_x", body(fmt.Sprintf(`, "webhook": %q`, bad)), nil)
	}
	term = api.Terminal{}
	if w.ask(200, "PUT", "/v1/terminals/trm_x", body(""), &term); term.Webhook != "" {
		t.Errorf("%+v", term)
	}
}

// An account has so many terminals, and an identity acts for one.
func TestTerminalsBounds(t *testing.T) {
	w := newWorld(t)
	w.ask(200, "PUT", "/v1/accounts/acc_anna", anna, nil)
	for i := range authzstore.MaxTerminals {
		w.bind(fmt.Sprint("x", i), "bound")
	}
	body := `{"account": "acc_anna", "identity": {"kind": "terminal", "issuer": "https://id.example", "subject": %q}, "state": "bound", "rights": [], "paired_with": []}`
	if a := w.ask(409, "PUT", "/v1/terminals/trm_more", fmt.Sprintf(body, "more"), nil); a.code(t) != "too_many_terminals" {
		t.Errorf("%s", a.text)
	}
	w.bind("x0", "unbound")
	w.ask(200, "PUT", "/v1/terminals/trm_more", fmt.Sprintf(body, "more"), nil)
	w.bind("x1", "unbound")
	if a := w.ask(409, "PUT", "/v1/terminals/trm_x0", fmt.Sprintf(body, "more"), nil); a.code(t) != "already_used" {
		t.Errorf("%s", a.text)
	}
}
