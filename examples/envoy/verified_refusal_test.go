package envoy

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// What is refused before anybody is asked for codes: nothing is sent.

// An unasked is a payment for which nobody is asked.
type unasked struct {
	name      string
	account   func(*authzstore.Account)
	terminals []authzstore.Terminal // by the account's ID; nil means two that count
	bent      func(*verified)
	subject   string        // "" means Anna
	before    time.Duration // how long before the terminals count it is tried
	frozen    bool
	public    string // "" means that it is asked
}

func numbered(numbers ...string) []authzstore.Terminal {
	all := []authzstore.Terminal{}
	for _, number := range numbers {
		all = append(all, authzstore.Terminal{Number: number, State: authzstore.TerminalBound})
	}
	return all
}

func secondIn(state authzstore.TerminalState) []authzstore.Terminal {
	both := numbered("+41 1", "+41 2")
	both[1].State = state
	return both
}

var unaskedCases = []unasked{
	{name: "two numbers"},
	{name: "no terminal", terminals: numbered(), public: "terminals_too_few"},
	{name: "one terminal", terminals: numbered("+41 1"), public: "terminals_too_few"},
	{name: "two terminals with one number", terminals: numbered("+41 1", "+41 1"), public: "terminals_too_few"},
	{name: "three terminals with two numbers", terminals: numbered("+41 1", "+41 1", "+41 2")},
	{name: "one without a number", terminals: numbered("+41 1", ""), public: "terminals_too_few"},
	{name: "one of two is frozen", terminals: secondIn(authzstore.TerminalFrozen), public: "terminals_too_few"},
	{name: "one of two is unbound", terminals: secondIn(authzstore.TerminalUnbound), public: "terminals_too_few"},
	{name: "a terminal that is bound for a nanosecond too little", before: 1, public: "terminals_too_few"},
	{name: "a stranger", subject: "carl", public: "account_unknown"},
	{name: "a terminal of the account in the owner's place", subject: "unasked-0", public: "account_unknown"},
	{name: "no such account", bent: func(v *verified) { v.account = "acc_nobodys" }, public: "account_unknown"},
	{name: "a frozen account", frozen: true, public: "account_frozen"},
	{name: "exactly the maximum for one payment", bent: amountOf(100_000)},
	{name: "one minor unit more", bent: amountOf(100_001), public: "amount_over_payment_maximum payment 100000 left"},
	{name: "exactly what is left of the day", account: daily, bent: amountOf(1000)},
	{name: "one minor unit over what is left of the day", account: daily, bent: amountOf(1001), public: "amount_over_limit a_day 1000 left"},
	{name: "another currency", bent: currencyOf("EUR"), public: "currency_not_account"},
	{name: "a currency without a rule", account: func(a *authzstore.Account) { a.Currency = "NOK" }, bent: currencyOf("NOK"), public: "currency_not_verified"},
	{name: "a transfer", bent: func(v *verified) { v.operation = "transfers" }},
	{name: "a transfer by a stranger", bent: func(v *verified) { v.operation = "transfers" }, subject: "carl", public: "account_unknown"},
}

func amountOf(minor int64) func(*verified) {
	return func(v *verified) { v.body["amount_minor"] = minor }
}

func currencyOf(currency string) func(*verified) {
	return func(v *verified) { v.body["currency"] = currency }
}

func TestVerifiedAsksNobody(t *testing.T) {
	accounts := verifiedAccounts(len(unaskedCases))
	for i, c := range unaskedCases {
		if c.account != nil {
			c.account(&accounts[i])
		}
	}
	f := newFamily(t, verifiedRules(t), accounts)
	for i, c := range unaskedCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, f, verifiedAccount(i)) })
	}
}

func (c unasked) run(t *testing.T, f *family, account string) {
	v := newVerified(t, f, account, 1, 0)
	if c.terminals == nil {
		c.terminals = numbered("+41 1", "+41 2")
	}
	for i, its := range c.terminals {
		trm := v.terminal(i)
		trm.Number, trm.State = its.Number, authzstore.TerminalBound
		f.bind(t, trm)
		if its.State != trm.State {
			f.bind(t, withState(trm, its.State))
		}
	}
	f.clock.move(cooled - c.before)
	if c.frozen {
		f.backend(t, http.MethodPost, "/v1/accounts/"+account+"/freeze", nil, nil)
	}
	if c.bent != nil {
		c.bent(v)
	}
	subject := "anna"
	switch c.subject {
	case "unasked-0":
		subject = v.terminal(0).Identity.Subject
	case "carl":
		subject = c.subject
	}
	sent, passed := len(f.messages.of(t, "")), len(paid())
	resp := f.keyed(t, v.key, subject, http.MethodPost, v.path(), v.body)
	if c.public == "" {
		f.hears(t, resp, http.StatusUnauthorized, []string{"verification_required"}, nil)
		for i := range c.terminals {
			f.messages.to(t, v.terminal(i).ID, 1)
		}
		sent += len(c.terminals)
	} else {
		f.hears(t, resp, http.StatusForbidden, []string{c.public}, nil)
		if challengeOf(resp) != "" {
			t.Error("a challenge was issued")
		}
	}
	if got := len(f.messages.of(t, "")); got != sent {
		t.Errorf("%d messages, want %d", got, sent)
	}
	if len(paid()) != passed {
		t.Error("it reached the service")
	}
}

// verifiedStories are what is refused once codes were sent, each with an account of its
// own and three terminals.
var verifiedStories = []struct {
	name  string
	story func(*testing.T, *verified)
}{
	{"an incomplete set", func(t *testing.T, v *verified) {
		codes := v.ask(t)
		v.wantAsked(t, 3)
		v.enter(t, codes[:2]...)
		v.wantAsked(t, 3)
		v.enter(t, codes[2])
		v.wantPaid(t)
	}},
	{"entered until the last instant", func(t *testing.T, v *verified) {
		v.body["amount_minor"] = int64(1000)
		codes := v.ask(t)
		v.f.clock.move(300 * sec)
		v.enter(t, codes...)
		v.wantPaid(t)
	}},
	{"entered at once and paid at the last instant", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		v.f.clock.move(300 * sec)
		v.wantPaid(t)
	}},
	{"entered at once and repeated a nanosecond too late", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		v.f.clock.move(300*sec + 1)
		v.wantAskedAnew(t)
	}},
	{"entered a nanosecond after it", func(t *testing.T, v *verified) {
		v.body["amount_minor"] = int64(1000)
		codes := v.ask(t)
		v.f.clock.move(300*sec + 1)
		v.enter(t, codes...)
		first := v.asked
		v.enter(t, v.wantAskedAnew(t)...)
		v.wantPaid(t)
		if first == v.asked {
			t.Error("the challenge that was over paid")
		}
	}},
	{"entered by somebody else", entriesOfOthers},
	{"more than the allowed attempts, even if then right", func(t *testing.T, v *verified) {
		codes := v.ask(t)
		v.fail(t, codes)
		v.fail(t, codes)
		v.wantAsked(t, 1)
		v.enter(t, codes...)
		v.wantPaid(t)
		v.key += "-again"
		codes = v.ask(t)
		for range 3 {
			v.fail(t, codes)
		}
		v.wantTold(t, "challenge_locked", 1)
		v.enter(t, codes...)
		v.wantRefused(t, "challenge_locked")
		v.enter(t, codes...)
		v.wantRefused(t, "challenge_locked")
		v.key += "-and-again" // nobody is locked out by one
		v.enter(t, v.ask(t)...)
		v.wantPaid(t)
	}},
	{"five failed in a row", lockedInARow},
	{"codes of one payment for another", func(t *testing.T, v *verified) {
		codes, first := v.ask(t), v.asked
		v.key, v.body["amount_minor"] = v.key+"-other", int64(2)
		others := v.ask(t)
		v.enter(t, codes...)
		v.wantAsked(t, 2)
		v.enter(t, others...)
		v.wantPaid(t)
		v.key, v.body["amount_minor"] = "pay-"+v.account, int64(1) // which waits for its own
		v.asked = first
		v.wantAsked(t, 3)
		v.enter(t, codes...)
		v.wantPaid(t)
	}},
	{"asked for the same payment under another key", func(t *testing.T, v *verified) {
		codes, first := v.ask(t), v.asked
		v.key += "-other"
		v.wantAskedAnew(t)
		now := v.asked
		v.asked = first // which is replaced
		v.enter(t, codes...)
		v.asked = now
		v.wantAsked(t, 3)
		v.key = "pay-" + v.account
		v.wantAskedAnew(t)
	}},
	{"another amount under the key", anotherCall(func(v *verified) { v.body["amount_minor"] = int64(2) })},
	{"another payee under the key", anotherCall(func(v *verified) { v.body["payee"] = "mer_casino" })},
	{"codes of a payment for a transfer", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		v.operation = "transfers" // whose keys are its own
		v.wantAskedAnew(t)
		v.wantAsked(t, 3)
	}},
	{"a terminal frozen before the codes", since(true, 1, authzstore.TerminalFrozen, false)},
	{"a terminal unbound before the codes", since(true, 1, authzstore.TerminalUnbound, false)},
	{"a terminal bound anew before the codes", since(true, 1, authzstore.TerminalUnbound, true)},
	{"a terminal frozen after the codes", since(false, 2, authzstore.TerminalFrozen, false)},
	{"a terminal unbound after the codes", since(false, 2, authzstore.TerminalUnbound, false)},
	{"a terminal bound anew after the codes", since(false, 2, authzstore.TerminalUnbound, true)},
	{"a terminal that moved to another's number", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		for _, trm := range v.terminals[1:] {
			trm.Number = v.terminals[0].Number
			v.f.bind(t, trm)
		}
		v.wantRefused(t, "terminals_too_few")
	}},
	{"too few since", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		for _, trm := range v.terminals[1:] {
			v.f.bind(t, withState(trm, authzstore.TerminalUnbound))
		}
		v.wantRefused(t, "terminals_too_few")
	}},
	{"the account frozen since", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		v.f.backend(t, http.MethodPost, "/v1/accounts/"+v.account+"/freeze", nil, nil)
		v.wantRefused(t, "account_frozen")
	}},
	{"no retry passes a frozen account", func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		v.wantPaid(t)
		v.f.backend(t, http.MethodPost, "/v1/accounts/"+v.account+"/freeze", nil, nil)
		before := len(paid())
		if resp := v.pay(t); resp.StatusCode != http.StatusConflict || resp.reason(t) != "already_allowed" || len(paid()) != before {
			t.Errorf("status %d, %s", resp.StatusCode, resp.body)
		}
	}},
	{"rejected on a terminal", rejected},
	{"asked as often as it may be", askedOften},
}

func TestVerifiedRefusals(t *testing.T) {
	f := newFamily(t, verifiedRules(t), verifiedAccounts(len(verifiedStories)))
	for i, c := range verifiedStories {
		t.Run(c.name, func(t *testing.T) { c.story(t, newVerified(t, f, verifiedAccount(i), 1, 3)) })
	}
}

// fail enters a set with one wrong digit.
func (v *verified) fail(t *testing.T, codes []string) {
	t.Helper()
	v.enter(t, oneWrong(codes)...)
}

// wantTold fails unless each terminal has got so many messages of a kind.
func (v *verified) wantTold(t *testing.T, kind string, want int) {
	t.Helper()
	for _, trm := range v.terminals {
		got := 0
		for deadline := time.Now().Add(patience); got < want && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			got = 0
			for _, m := range v.f.messages.of(t, trm.ID) {
				if m.Kind == kind {
					got++
				}
				if m.Kind != "code" && m.Code != "" {
					t.Errorf("message %d, %s, brings a code", m.Number, m.Kind)
				}
			}
		}
		if got != want {
			t.Errorf("%s was told of %s %d times, not %d", trm.ID, kind, got, want)
		}
	}
}

// Right codes from others count for nothing and cost the payer nothing: from a
// stranger, from a terminal that got one, and from Anna through a terminal's route.
func entriesOfOthers(t *testing.T, v *verified) {
	codes := v.ask(t)
	for i, code := range codes {
		v.f.deposit(t, "carl", userEntries, v.asked, code)
		v.f.deposit(t, "anna", terminalEntries, v.asked, code) // a terminal of that name
		v.f.deposit(t, v.terminals[i].Identity.Subject, terminalEntries, v.asked, code)
	}
	for range 3 { // the attempts of the challenge
		for range codes {
			v.f.deposit(t, "carl", userEntries, v.asked, "000000")
		}
	}
	v.wantAsked(t, 3)
	v.f.hears(t, v.f.call(t, "carl", http.MethodGet, userEntries+v.asked, nil), http.StatusForbidden, []string{"challenge_unknown"}, nil)
	v.f.deposit(t, "anna", userEntries, "chl_nobodys", codes[0])
	v.enter(t, codes...)
	before := len(paid())
	stranger := v.f.keyed(t, v.key, "carl", http.MethodPost, v.path(), v.body)
	v.f.hears(t, stranger, http.StatusForbidden, []string{"account_unknown"}, nil)
	if len(paid()) != before {
		t.Error("the stranger's payment reached the service")
	}
	v.wantPaid(t)
}

// lockedInARow: after five sets that failed, of whatever challenges, nobody is asked any
// more. All terminals are told, and before the last one too; the owner unlocks it with
// a strong login. So does an operator.
func lockedInARow(t *testing.T, v *verified) {
	key := v.key
	lock := func(round string) {
		t.Helper()
		for _, challenge := range []struct {
			sets   int
			reason string
		}{{3, "challenge_locked"}, {2, "verification_locked"}} {
			v.key = key + round + challenge.reason
			codes := v.ask(t)
			for range challenge.sets {
				v.fail(t, codes)
			}
			v.wantRefused(t, challenge.reason)
		}
		v.key = key + round + "another"
		v.wantRefused(t, "verification_locked")
	}
	v.key = key + "waits"
	open, waits := v.ask(t), v.asked
	lock("a")
	v.wantTold(t, "challenge_locked", 2)
	v.wantTold(t, "verification_at_risk", 1)
	v.wantTold(t, "verification_locked", 1)
	v.asked = waits // what waited before can be met no more
	v.enter(t, open...)
	v.key = key + "waits"
	v.wantRefused(t, "verification_locked")

	unlock := "/countersign/v1/accounts/" + v.account + "/unlock"
	v.f.hears(t, v.f.call(t, "anna", http.MethodPost, unlock, nil), http.StatusForbidden, []string{"proof_required"}, nil)
	v.f.hears(t, v.f.proven(t, []string{"pwd", "sms"}, key+"weak", "anna", http.MethodPost, unlock, nil), http.StatusForbidden, []string{"proof_required"}, nil)
	v.f.hears(t, v.f.proven(t, []string{"mfa"}, key+"carl", "carl", http.MethodPost, unlock, nil), http.StatusForbidden, []string{"account_unknown"}, nil)
	v.key = key + "b0"
	v.wantRefused(t, "verification_locked")
	if resp := v.f.proven(t, []string{"mfa", "pwd"}, key+"strong", "anna", http.MethodPost, unlock, nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	v.f.hears(t, v.f.proven(t, []string{"mfa"}, key+"twice", "anna", http.MethodPost, unlock, nil), http.StatusForbidden, []string{"verification_not_locked"}, nil)
	v.f.clock.move(time.Hour) // as often as Anna may ask
	lock("c")
	v.f.backend(t, http.MethodPost, "/v1/accounts/"+v.account+"/unlock", nil, nil)
	v.key = key + "d"
	v.enter(t, v.ask(t)...)
	v.wantPaid(t)
}

// anotherCall: once the codes are entered, the key is that call's alone.
func anotherCall(bend func(*verified)) func(*testing.T, *verified) {
	return func(t *testing.T, v *verified) {
		v.enter(t, v.ask(t)...)
		before, body := len(paid()), map[string]any{}
		for name, value := range v.body {
			body[name] = value
		}
		bend(v)
		if resp := v.pay(t); resp.StatusCode != http.StatusUnprocessableEntity || !slices.Equal(publicOf(t, resp), []string{"key_other_call"}) {
			t.Errorf("status %d, %s", resp.StatusCode, resp.body)
		}
		if len(paid()) != before {
			t.Error("it reached the service")
		}
		v.body = body
		v.wantPaid(t)
	}
}

// since: a terminal goes to a state, perhaps to be bound again, before or after the
// codes are entered. What they were entered for does not pass, and those that still
// count are asked anew.
func since(early bool, which int, state authzstore.TerminalState, again bool) func(*testing.T, *verified) {
	return func(t *testing.T, v *verified) {
		codes := v.ask(t)
		if !early {
			v.enter(t, codes...)
		}
		v.f.clock.move(1)
		v.f.bind(t, withState(v.terminals[which], state))
		if again {
			v.f.bind(t, v.terminals[which])
		}
		if early {
			v.enter(t, codes...)
		}
		v.terminals = slices.Delete(v.terminals, which, which+1) // one bound anew has yet to cool
		before := len(paid())
		v.enter(t, v.wantAskedAnew(t)...)
		if len(paid()) != before {
			t.Error("it reached the service")
		}
		v.wantPaid(t)
	}
}

// rejected: a terminal that was asked ends the call; three in a row pause the payer
// for a day.
func rejected(t *testing.T, v *verified) {
	key := v.key
	reject := func(subject string) response {
		return v.f.call(t, subject, http.MethodPost, terminalEntries+v.asked+"/reject", nil)
	}
	var last time.Time
	for _, n := range []string{"1", "2", "3"} {
		v.key = key + n
		codes := v.ask(t)
		v.enter(t, codes[:2]...)
		v.f.hears(t, reject("anna"), http.StatusForbidden, []string{"terminal_unknown"}, nil)
		if resp := reject(v.terminals[1].Identity.Subject); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
		}
		last = v.f.clock.wall()
		v.enter(t, codes...)
		v.wantRefused(t, "approval_rejected")
	}
	v.f.clock.move(last.Add(24*time.Hour - 1).Sub(v.f.clock.wall()))
	v.key = key + "4"
	v.wantRefused(t, "initiator_paused")
	v.f.clock.move(1)
	v.key = key + "5"
	v.enter(t, v.ask(t)...)
	v.wantPaid(t)
}

// askedOften: five times in an hour, of which a repeated call is none.
func askedOften(t *testing.T, v *verified) {
	key, first := v.key, v.f.clock.wall()
	for _, n := range []string{"1", "2", "3", "4", "5"} {
		v.key = key + n
		v.ask(t)
		v.wantAsked(t, 3)
		v.f.clock.move(time.Second)
	}
	v.f.clock.move(first.Add(time.Hour - 1).Sub(v.f.clock.wall()))
	v.key = key + "6"
	resp := v.pay(t)
	v.f.hears(t, resp, http.StatusForbidden, []string{"challenges_over_limit max_starts 0 payments left"}, nil)
	if got := v.f.records.of(t, resp).Reasons[0].ResetsAtNanos; got == nil || *got != first.Add(time.Hour).UnixNano() {
		t.Errorf("resets at %v, want %d", got, first.Add(time.Hour).UnixNano())
	}
	v.f.clock.move(1)
	v.key = key + "7"
	v.enter(t, v.ask(t)...)
	v.wantPaid(t)
}
