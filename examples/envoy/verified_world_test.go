package envoy

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// verifiedRules have every condition, each alone and in the combinations that make
// sense, picked by the amount; and a time for which a terminal must have been bound.
func verifiedRules(t *testing.T) fs.FS {
	t.Helper()
	return tunedBundle(t, []string{"terminal", "multi_terminal"},
		tuning{"multi_terminal", "cooling_seconds: 0\n", "cooling_seconds: 60\n"},
		tuning{"multi_terminal", "  EUR:\n", `  CHF:
  - {from_minor: 1, entry: any, within_seconds: 60, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 1000, entry: terminals, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 2000, entry: ascending, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 3000, entry: descending, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 4000, entry: sum, digits: 7, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 5000, entry: any, min_gap_seconds: 2, max_gap_seconds: 30, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 6000, entry: ascending, within_seconds: 60, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 7000, entry: terminals, within_seconds: 60, min_gap_seconds: 2, max_gap_seconds: 30, digits: 6, max_attempts: 3, expires_seconds: 300}
  - {from_minor: 8000, entry: sum, within_seconds: 60, digits: 7, max_attempts: 3, expires_seconds: 300}
  EUR:
`})
}

// cooled is how long a terminal must have been bound by verifiedRules.
const cooled = time.Minute

// A verified is an account of Anna's with terminals, and the call that they confirm.
type verified struct {
	f         *family
	account   string
	terminals []authzstore.Terminal // in the order in which they were bound
	key       string
	operation string // verified-payments or transfers
	body      map[string]any
	asked     string // the challenge
}

func verifiedAccount(i int) string { return fmt.Sprintf("acc_verified%d", i) }

func verifiedAccounts(count int) []authzstore.Account {
	var all []authzstore.Account
	for i := range count {
		all = append(all, authzstore.Account{ID: verifiedAccount(i), Owner: user("anna"), State: authzstore.AccountActive, Currency: "CHF", MaxPaymentMinor: 100_000})
	}
	return all
}

// newVerified binds so many terminals to an account, one after the other and not in the
// order of their IDs, and waits until they count.
func newVerified(t *testing.T, f *family, account string, amount int64, terminals int) *verified {
	t.Helper()
	v := &verified{
		f: f, account: account, key: "pay-" + account, operation: "verified-payments",
		body: map[string]any{"payee": "mer_bakery", "amount_minor": amount, "currency": "CHF"},
	}
	for i := range terminals {
		f.clock.move(time.Second)
		trm := v.terminal(i)
		f.bind(t, trm)
		v.terminals = append(v.terminals, trm)
	}
	f.clock.move(cooled)
	return v
}

// terminal is the terminal of the account that is bound as number i, from 0 to 9.
func (v *verified) terminal(i int) authzstore.Terminal {
	return terminalOf(v.account, fmt.Sprintf("%s-%d", v.account[len("acc_"):], 9-i), "+41 79 "+strconv.Itoa(i))
}

func (v *verified) path() string { return "/v1/accounts/" + v.account + "/" + v.operation }

// pay makes the call, again under its key.
func (v *verified) pay(t *testing.T) response {
	t.Helper()
	return v.f.keyed(t, v.key, "anna", http.MethodPost, v.path(), v.body)
}

// ask makes the call, and returns the codes in the order in which their terminals were
// bound.
func (v *verified) ask(t *testing.T) (codes []string) {
	t.Helper()
	resp := v.pay(t)
	v.f.hears(t, resp, http.StatusUnauthorized, []string{"verification_required"}, nil)
	if v.asked = challengeOf(resp); v.asked == "" {
		t.Fatal("no challenge")
	}
	return v.codes(t)
}

func (v *verified) codes(t *testing.T) (codes []string) {
	t.Helper()
	for _, trm := range v.terminals {
		m := v.f.about(t, trm.ID, v.asked)
		if m.Kind != "code" || m.AmountMinor != v.body["amount_minor"] || m.Currency != v.body["currency"] || m.Payee != v.body["payee"] || m.Requester != user("anna") {
			t.Errorf("%s got message %d: %s about %d %s for %s, asked by %v", trm.ID, m.Number, m.Kind, m.AmountMinor, m.Currency, m.Payee, m.Requester)
		}
		if m.Code == "" || slices.Contains(codes, m.Code) {
			t.Errorf("%s got no code of its own", trm.ID)
		}
		codes = append(codes, m.Code)
	}
	return codes
}

// enter has Anna enter codes where she pays, all at once.
func (v *verified) enter(t *testing.T, codes ...string) {
	t.Helper()
	for _, code := range codes {
		v.f.deposit(t, "anna", userEntries, v.asked, code)
	}
}

// attemptsLeft is what Anna is shown of the challenge.
func (v *verified) attemptsLeft(t *testing.T) int64 {
	t.Helper()
	resp := v.f.call(t, "anna", http.MethodGet, userEntries+v.asked, nil)
	var shown struct {
		AttemptsLeft *int64 `json:"attempts_left"`
	}
	if err := json.Unmarshal([]byte(resp.body), &shown); err != nil || shown.AttemptsLeft == nil {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, resp.body)
	}
	return *shown.AttemptsLeft
}

// wantPaid fails unless the call passes now, and reaches the service once.
func (v *verified) wantPaid(t *testing.T) {
	t.Helper()
	before := len(paid())
	if resp := v.pay(t); resp.StatusCode != http.StatusOK || len(paid()) != before+1 {
		t.Errorf("status %d, %s; want it paid", resp.StatusCode, resp.body)
	}
}

// wantAsked fails unless the same challenge waits, with so many attempts left.
func (v *verified) wantAsked(t *testing.T, attempts int64) {
	t.Helper()
	resp := v.pay(t)
	v.f.hears(t, resp, http.StatusUnauthorized, []string{"verification_required"}, nil)
	if got := challengeOf(resp); got != v.asked {
		t.Errorf("challenge %s, want %s again", got, v.asked)
	}
	if got := v.attemptsLeft(t); got != attempts {
		t.Errorf("%d attempts left, want %d", got, attempts)
	}
}

// wantAskedAnew fails unless another challenge was issued, which it returns the codes of.
func (v *verified) wantAskedAnew(t *testing.T) (codes []string) {
	t.Helper()
	before := v.asked
	codes = v.ask(t)
	if v.asked == before {
		t.Errorf("challenge %s again, want another", before)
	}
	return codes
}

func (v *verified) wantRefused(t *testing.T, reason string) {
	t.Helper()
	v.f.hears(t, v.pay(t), http.StatusForbidden, []string{reason}, nil)
}

// Orders in which codes are entered.
func asBound(codes []string) []string { return codes }

func reversed(codes []string) []string {
	codes = slices.Clone(codes)
	slices.Reverse(codes)
	return codes
}

// ascending compares texts of one length, which is comparing their numbers.
func ascending(codes []string) []string { return slices.Sorted(slices.Values(codes)) }

func descending(codes []string) []string { return reversed(ascending(codes)) }

// sumPlus is the sum of the codes and more.
func sumPlus(more int) func(codes []string) []string {
	return func(codes []string) []string {
		for _, code := range codes {
			n, err := strconv.Atoi(code)
			if err != nil {
				panic("a code is no number")
			}
			more += n
		}
		return []string{strconv.Itoa(more)}
	}
}

// wrongDigit is the code with another last digit.
func wrongDigit(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + string('0'+(last-'0'+1)%10)
}
