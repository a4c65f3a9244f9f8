package envoy

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	countersign "github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/outbox"
)

// A leakRun is what is secret in a run, and what was heard in it.
type leakRun struct {
	f       *family
	secrets map[string][]byte
	heard   []byte
}

func (r *leakRun) secret(name, value string) { r.secrets[name] = []byte(value) }

// call makes a call whose answer must hold no secret.
func (r *leakRun) call(t *testing.T, subject, method, path string, body any) response {
	t.Helper()
	r.f.calls++
	return r.keyed(t, fmt.Sprintf("leak-%d", r.f.calls), subject, method, path, body)
}

func (r *leakRun) keyed(t *testing.T, key, subject, method, path string, body any) response {
	t.Helper()
	resp := r.f.keyed(t, key, subject, method, path, body)
	r.heard = append(r.heard, resp.body...)
	r.heard = fmt.Append(r.heard, resp.Header)
	return resp
}

// mustPass fails unless a call was let through.
func (r *leakRun) mustPass(t *testing.T, resp response) response {
	t.Helper()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	return resp
}

// message is the next one to a terminal, whose code is secret.
func (r *leakRun) message(t *testing.T, terminal string, number int) outbox.Envelope {
	t.Helper()
	m := r.f.messages.to(t, terminal, number)[number-1]
	if m.Code != "" {
		r.secret("the code of "+m.ID, m.Code)
	}
	return m
}

// enterBadly brings a code in requests that are refused before anybody decides.
func (r *leakRun) enterBadly(t *testing.T, challenge, code string) {
	t.Helper()
	path := userEntries + challenge + "/entries"
	for _, body := range []any{
		map[string]any{"code": []string{code}}, map[string]any{"code": code, "other": code}, map[string]any{"kode": code}, code,
	} {
		if resp := r.call(t, "anna", http.MethodPost, path, body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, %s", resp.StatusCode, resp.body)
		}
	}
	r.call(t, "carl", http.MethodPost, path, map[string]any{"code": code})
	r.call(t, "phone", http.MethodPost, terminalEntries+challenge+"/entries", map[string]any{"code": code})
	r.call(t, "anna", http.MethodPost, userEntries+"chl_nobodys/entries", map[string]any{"code": code})
}

// verified: a payment that codes confirm.
func (r *leakRun) verified(t *testing.T) {
	pay := func() response {
		return r.keyed(t, "verified", "anna", http.MethodPost, "/v1/accounts/acc_anna/verified-payments",
			map[string]any{"payee": "mer_bakery", "amount_minor": 500, "currency": "EUR"})
	}
	challenge := challengeOf(pay())
	codes := []string{r.message(t, "trm_phone", 1).Code, r.message(t, "trm_tablet", 1).Code}
	r.enterBadly(t, challenge, codes[0])
	for _, code := range codes {
		r.mustPass(t, r.call(t, "anna", http.MethodPost, userEntries+challenge+"/entries", map[string]any{"code": code}))
	}
	r.call(t, "anna", http.MethodGet, userEntries+challenge, nil)
	r.mustPass(t, pay())
}

// ordered: an order by a code, and one by a code that was agreed in advance; and the
// token of each, which its opener is shown.
func (r *leakRun) ordered(t *testing.T) {
	const path = "/v1/agent/orders"
	body := map[string]any{"account": "acc_anna", "payee": "mer_bakery", "amount_minor": 700, "currency": "EUR", "terminal": "trm_phone"}
	challenge := challengeOf(r.keyed(t, "order", "desk", http.MethodPost, path, body))
	code := r.message(t, "trm_phone", 2).Code
	r.enterBadly(t, challenge, code)
	r.mustPass(t, r.call(t, "phone", http.MethodPost, terminalEntries+challenge+"/entries", map[string]any{"code": code}))
	first := r.mustPass(t, r.keyed(t, "order", "desk", http.MethodPost, path, body)).Header.Get("Countersign-Intent-Id")

	r.mustPass(t, r.call(t, "phone", http.MethodPost, "/countersign/v1/stored_codes", map[string]any{}))
	stored := r.message(t, "trm_phone", 4).Code
	body["stored_code"] = wrongDigit(stored)
	r.call(t, "desk", http.MethodPost, path, body)
	body["stored_code"] = stored
	r.call(t, "carl", http.MethodPost, "/v1/orders", body)
	second := r.mustPass(t, r.keyed(t, "stored", "desk", http.MethodPost, path, body)).Header.Get("Countersign-Intent-Id")
	r.call(t, "desk", http.MethodPost, path, body) // used

	for i, id := range []string{first, second} {
		var shown struct{ Token string }
		r.f.do(t, "desk", http.MethodGet, agentOrders+id, nil, &shown)
		if len(shown.Token) != 26 {
			t.Fatalf("a token of %d characters", len(shown.Token))
		}
		r.secret(fmt.Sprintf("token %d", i), shown.Token)
		r.call(t, "phone", http.MethodGet, terminalOrders+id, nil)
		r.mustPass(t, r.call(t, "phone", http.MethodPost, "/v1/orders/"+id+"/payments", nil))
		r.call(t, "desk", http.MethodGet, agentOrders+id, nil) // closed: no token any more
	}
}

// approved: a payment by code that the owner approves.
func (r *leakRun) approved(t *testing.T) {
	terms := freeTerms()
	terms.Delegation = authzstore.DelegationPartial
	ben := r.f.accept(t, r.f.offer(t, "acc_anna", terms))
	code := r.f.code(t, ben, 0)
	r.secret("the payment code", code)
	r.secrets["the secret of payment codes"] = ben.Secret
	body := map[string]any{"payment_code": code, "payee": "mer_bakery", "amount_minor": 900, "currency": "EUR"}
	challenge := challengeOf(r.keyed(t, "till", "bakery", http.MethodPost, "/v1/payments", body))
	r.call(t, "casino", http.MethodPost, "/v1/payments", body)
	r.mustPass(t, r.call(t, "phone", http.MethodPost, terminalEntries+challenge+"/approve", nil))
	r.mustPass(t, r.keyed(t, "till", "bakery", http.MethodPost, "/v1/payments", body))
}

// outputs is everything that a run leaves behind but the messages and the two files
// that are secrets themselves.
func (r *leakRun) outputs(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{"answers": r.heard, "decision log": r.f.records.bytes(), "log": r.f.log.bytes(), "Envoy's log": r.f.edgeLog.bytes()}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://metrics/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, found["metrics"] = overSocket(t, r.f.metrics, req)
	for i, call := range paid() {
		call.Header.Del("Authorization") // passed on by Envoy's configuration
		found[fmt.Sprintf("headers of call %d upstream", i)] = fmt.Append(nil, call.URL, call.Header)
	}
	err = filepath.WalkDir(r.f.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.Type().IsRegular():
			return err
		case entry.Name() == countersign.AdminTokenFile || entry.Name() == "key":
			secret, err := os.ReadFile(path)
			r.secret("the file "+entry.Name(), strings.TrimSpace(string(secret)))
			return err
		}
		found[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// find says what of the secrets stands in a content. Codes are short: inside a longer
// number there may be one by chance, and is none.
func (r *leakRun) find(content []byte) (found []string) {
	for _, leak := range find(content, r.secrets) {
		name, form, _ := strings.Cut(leak, ", ")
		if form == "plain" && len(r.secrets[name]) < 10 && !standsAlone(content, r.secrets[name]) {
			continue
		}
		found = append(found, leak)
	}
	return found
}

// standsAlone tells whether a number stands anywhere without digits around it.
func standsAlone(content, number []byte) bool {
	isDigit := func(b byte) bool { return '0' <= b && b <= '9' }
	for at := 0; ; {
		i := bytes.Index(content[at:], number)
		if i < 0 {
			return false
		}
		from, to := at+i, at+i+len(number)
		if (from == 0 || !isDigit(content[from-1])) && (to == len(content) || !isDigit(content[to])) {
			return true
		}
		at = from + 1
	}
}

// No code, no secret and no token of calls that people confirm is anywhere but where it
// must be: a code in the message to its terminal, a token with who opened the intent.
func TestConfirmationsLeakNowhere(t *testing.T) {
	f := newFamily(t, nil, []authzstore.Account{
		{ID: "acc_anna", Owner: user("anna"), State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 10_000},
	}, terminalOf("acc_anna", "phone", "+49 1", "order", "approve"), terminalOf("acc_anna", "tablet", "+49 2"))
	f.clock.move(step)
	r := &leakRun{f: f, secrets: map[string][]byte{}}
	r.verified(t)
	r.ordered(t)
	r.approved(t)
	f.backend(t, http.MethodPost, "/v1/accounts/acc_anna/freeze", nil, nil) // the last change: all before it is on the disk
	outputs := r.outputs(t)
	for i, bearer := range f.bearers {
		r.secret(fmt.Sprintf("the token of call %d", i), bearer)
	}
	for name, content := range outputs {
		for _, leak := range r.find(content) {
			t.Errorf("%s: %s", name, leak)
		}
	}
	// A message holds its own code and nobody's else.
	codes := 0
	for _, m := range f.messages.of(t, "") {
		for _, leak := range r.find(fmt.Append(nil, m.Code, " ", m.Details, m.Requester, m.Challenge, m.Intent)) {
			if !strings.HasPrefix(leak, "the code of "+m.ID+",") {
				t.Errorf("message %s: %s", m.ID, leak)
			}
			codes++
		}
	}
	if codes != 4 || len(r.secrets) < 40 || len(outputs) < 15 {
		t.Errorf("%d codes in messages, %d secrets, %d outputs", codes, len(r.secrets), len(outputs))
	}
}
