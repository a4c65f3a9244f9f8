package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
)

func (s *stepWorld) intent(t testing.TB, id string) (i authzstore.Intent) {
	t.Helper()
	s.view(t, func(snap authzstore.Snapshot) (err error) {
		i, _, err = snap.Intent(id)
		return err
	})
	return i
}

// ordered is an order of Anna's that was allowed, and pushed to her phone.
func (s *stepWorld) ordered(t testing.TB, key string) (intent string) {
	t.Helper()
	s.use(t, fixed(true, openOrder, notePhone))
	d := s.decide(order(bun, key))
	want(t, d, decide.Allow, 0)
	return d.IntentID
}

// advance is the effect that takes the one intent of the call from one state to another.
func advance(from, to, more string) string {
	return fmt.Sprintf(`{"type": "advance_intent", "intent": input.facts.intent.id, "from": %q, "to": %q%s}`, from, to, more)
}

// An order opens an intent, for what the call says, and its message says whose it is;
// the service behind gets to know of it.
func TestOpenIntent(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, fixed(true, openOrder, notePhone))
	key := nextKey()
	d := s.decide(order(bun, key))
	want(t, d, decide.Allow, 0)
	e := d.Execution
	if e == nil || e.Intent != d.IntentID || e.Audience != "payments.example" || e.ReservationID != "" || e.Does != "" || e.Account != "acc_anna" || e.AmountMinor != 250 {
		t.Fatalf("%+v, execution %+v", d, e)
	}
	i := s.intent(t, d.IntentID)
	if i.System != "checkout" || i.Kind != "order" || i.State != "ordered" || i.Account != "acc_anna" || i.Initiator != anna().Owner || i.Terminal != "" ||
		fmt.Sprint(i.Terminals) != "[trm_phone]" || i.AmountMinor != 250 || i.Currency != "EUR" || i.Payee != "mer_bakery" || i.Attributes["what"] != "bun" ||
		i.ExpiresAtNanos != noon.UnixNano()+60e9 || len(i.Steps) != 1 || i.Steps[0].RecordID != d.ID {
		t.Errorf("intent %+v", i)
	}
	m := s.messages(t, "trm_phone")
	if len(m) != 1 || m[0].Kind != "note" || m[0].Intent != i.ID || m[0].AmountMinor != 250 || m[0].Payee != "mer_bakery" || m[0].Requester != anna().Owner || m[0].Challenge != "" {
		t.Errorf("messages %+v", m)
	}
	if u := s.usage(t); u.PendingMinor != 0 {
		t.Errorf("usage %+v", u)
	}
	s.clean(t)
}

// An order is forwarded again while its intent can go on and its account pays, and tells
// of its intent when it is not.
func TestOrderAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*stepWorld, string)
		outcome decide.Outcome
		status  int
	}{
		"open":          {func(*stepWorld, string) {}, decide.Allow, 0},
		"at its expiry": {func(s *stepWorld, _ string) { s.pass(60 * time.Second) }, decide.Allow, 0},
		"expired":       {func(s *stepWorld, _ string) { s.pass(60*time.Second + 1) }, decide.Deny, 409},
		"closed": {func(s *stepWorld, id string) {
			s.use(t, fixed(true, advance("ordered", "cancelled", `, "close": true`)))
			want(t, s.decide(request("anna", "POST", "/intents/"+id+"/act", "", nextKey())), decide.Allow, 0)
		}, decide.Deny, 409},
		"account frozen": {func(s *stepWorld, _ string) {
			frozen := anna()
			frozen.State = authzstore.AccountFrozen
			putAccount(t, s.backend, frozen)
		}, decide.Deny, 409},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			key := nextKey()
			id := s.ordered(t, key)
			c.change(s, id)
			d := s.decide(order(bun, key))
			if d.Outcome != c.outcome || d.Status != c.status || d.IntentID != id || !d.Replayed || (d.Execution != nil) != (c.outcome == decide.Allow) {
				t.Errorf("%+v", d)
			}
			if d.Execution != nil && (d.Execution.Intent != id || !d.Execution.Replayed) {
				t.Errorf("execution %+v", d.Execution)
			}
			if n := len(s.messages(t, "trm_phone")); n != 1 {
				t.Errorf("%d messages", n)
			}
			s.clean(t)
		})
	}
}

// The terminal pays what the intent says, and nothing else; the intent's step and the
// payment are one.
func TestPayIntent(t *testing.T) {
	reserveIt := `{"type": "reserve", "account": input.facts.account.id, "payee": input.facts.intent.payee, "amount_minor": input.facts.intent.amount_minor, "currency": input.facts.intent.currency}`
	payIt := func(id string) call.Request {
		return request("phone", "POST", "/intents/"+id+"/payments", "", nextKey())
	}
	s := newStepWorld(t)
	id := s.ordered(t, nextKey())
	for what, changed := range map[string]string{
		"amount":   strings.Replace(reserveIt, "input.facts.intent.amount_minor", "249", 1),
		"payee":    strings.Replace(reserveIt, "input.facts.intent.payee", `"mer_other"`, 1),
		"currency": strings.Replace(reserveIt, "input.facts.intent.currency", `"USD"`, 1),
	} {
		s.use(t, fixed(true, changed, advance("ordered", "paid", `, "close": true`)))
		if d := s.decide(payIt(id)); d.Outcome != decide.Defect || s.intent(t, id).State != "ordered" {
			t.Errorf("another %s: %s, the intent is %s", what, d.Outcome, s.intent(t, id).State)
		}
	}
	s.use(t, fixed(true, reserveIt, advance("waiting", "paid", "")))
	want(t, s.decide(payIt(id)), decide.Defect, 500, "policy_defect")
	s.use(t, fixed(true, reserveIt, advance("ordered", "paid", `, "close": true, "parties": {"payer": input.facts.terminal.id}`),
		`{"type": "notify", "terminal": input.facts.terminal.id, "kind": "deduction_notice"}`))
	req := payIt(id)
	paid := s.decide(req)
	want(t, paid, decide.Allow, 0)
	if e := paid.Execution; e.Intent != id || paid.IntentID != id || e.Payee != "mer_bakery" || e.AmountMinor != 250 || e.ReservationID == "" || e.Terminal != "" {
		t.Errorf("execution %+v", e)
	}
	i := s.intent(t, id)
	if last := i.Steps[len(i.Steps)-1]; i.State != "paid" || !i.Closed || i.Parties["payer"] != "trm_phone" || last.Terminal != "trm_phone" || last.By != phone().Identity {
		t.Errorf("intent %+v", i)
	}
	m := s.messages(t, "trm_phone")
	if len(m) != 2 || m[1].Kind != "deduction_notice" || m[1].Requester != anna().Owner || m[1].AmountMinor != 250 || m[1].Intent != id {
		t.Errorf("messages %+v", m)
	}
	again := s.decide(req)
	want(t, again, decide.Allow, 0)
	if again.Execution.ReservationID != paid.Execution.ReservationID || again.Execution.Intent != id {
		t.Errorf("again %+v", again.Execution)
	}
	want(t, s.decide(payIt(id)), decide.Defect, 500, "policy_defect") // closed
	s.clean(t)
}

// A denial may say that an intent is over, also after its expiry, and tell of it.
func TestDenialClosesAnIntent(t *testing.T) {
	s := newStepWorld(t)
	id := s.ordered(t, nextKey())
	s.pass(61 * time.Second)
	req := request("phone", "POST", "/intents/"+id+"/payments", "", nextKey())
	s.use(t, fixed(false, advance("ordered", "waiting", "")))
	want(t, s.decide(req), decide.Defect, 500, "policy_defect") // it goes on no more
	s.use(t, fixed(false, advance("ordered", "failed", `, "close": true`), notePhone))
	d := s.decide(req)
	want(t, d, decide.Deny, 403, "no")
	if d.IntentID != "" {
		t.Errorf("%+v", d)
	}
	if i := s.intent(t, id); i.State != "failed" || !i.Closed || len(s.messages(t, "trm_phone")) != 2 {
		t.Errorf("intent %+v", i)
	}
	s.clean(t)
}

// Either account of a business may pay, as the route declares both, and the other one
// is paid where nobody else is named.
func TestTwoAccounts(t *testing.T) {
	reserveOf := func(account, payee string) string {
		return fmt.Sprintf(`{"type": "reserve", "account": %q, "payee": %q, "amount_minor": input.facts.intent.amount_minor, "currency": input.facts.intent.currency}`, account, payee)
	}
	for name, c := range map[string]struct {
		reserve string
		outcome decide.Outcome
	}{
		"the agent pays the user":    {reserveOf("acc_ben", "acc_anna"), decide.Allow},
		"the user pays the agent":    {reserveOf("acc_anna", "acc_ben"), decide.Allow},
		"the agent pays itself":      {reserveOf("acc_ben", "acc_ben"), decide.Defect},
		"the agent pays somebody":    {reserveOf("acc_ben", "mer_bakery"), decide.Defect},
		"somebody else pays":         {reserveOf("acc_carl", "acc_anna"), decide.Defect},
		"the agent pays another sum": {strings.Replace(reserveOf("acc_ben", "acc_anna"), "input.facts.intent.amount_minor", "1", 1), decide.Defect},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepWorld(t)
			for _, id := range []string{"acc_ben", "acc_carl"} {
				other := anna()
				other.ID, other.Owner.Subject = id, id
				putAccount(t, s.backend, other)
			}
			open := strings.Replace(openOrder, `"attributes"`, `"amount_minor": 700, "currency": "EUR", "attributes"`, 1)
			s.use(t, fixed(true, open))
			id := s.decide(request("anna", "POST", "/accounts/acc_anna/tops", `{"currency": "EUR"}`, nextKey())).IntentID
			s.use(t, fixed(true, c.reserve, advance("ordered", "executed", `, "close": true`)))
			d := s.decide(request("ben", "POST", "/intents/"+id+"/businesses", `{"account": "acc_ben"}`, nextKey()))
			if d.Outcome != c.outcome {
				t.Fatalf("%s %v", d.Outcome, d.Reasons)
			}
			if i := s.intent(t, id); i.Closed != (c.outcome == decide.Allow) {
				t.Errorf("intent %+v", i)
			}
			s.clean(t)
		})
	}
}

// Of two who act on one intent at once, one wins, and the other takes nothing.
func TestOneWins(t *testing.T) {
	s := newStepWorld(t)
	ben := anna()
	ben.ID = "acc_ben"
	putAccount(t, s.backend, ben)
	id := s.ordered(t, nextKey())
	s.use(t, `package payments

decision := {"allow": true, "reasons": [], "public_reasons": [], "effects": [
	{"type": "reserve", "account": input.facts.account.id, "payee": "mer_bakery", "amount_minor": 250, "currency": "EUR"},
	{"type": "advance_intent", "intent": input.facts.intent.id, "from": "ordered", "to": "executed", "close": true},
]} if input.facts.intent.state == "ordered"

decision := {"allow": false, "reasons": [{"code": "too_late", "message": "No."}], "public_reasons": [{"code": "too_late", "message": "No."}], "effects": []} if
	input.facts.intent.state != "ordered"
`)
	results := make(chan decide.Decision, 8)
	for range cap(results) {
		go func() {
			results <- s.decide(request("ben", "POST", "/intents/"+id+"/businesses", `{"account": "acc_ben"}`, nextKey()))
		}()
	}
	allowed := 0
	for range cap(results) {
		if d := <-results; d.Outcome == decide.Allow {
			allowed++
		} else {
			want(t, d, decide.Deny, 403, "too_late")
		}
	}
	if allowed != 1 {
		t.Errorf("%d were allowed", allowed)
	}
	s.clean(t)
}

// A terminal that knows no intent acts on the open ones of its account: those of this
// system, neither closed nor expired; the API is told which one it was.
func TestOpenIntents(t *testing.T) {
	s := newStepWorld(t)
	first := s.ordered(t, nextKey())
	s.pass(30 * time.Second)
	second := s.ordered(t, nextKey())
	act := `{"type": "advance_intent", "intent": input.facts.open_intents[_].id, "from": "ordered", "to": "pushed"}`
	s.use(t, fixed(true))
	listed := func() (ids []string) {
		d := s.decide(request("phone", "POST", "/gestures", "", nextKey()))
		want(t, d, decide.Allow, 0)
		if e := d.Execution; e.Does != "act_on_intent" || e.Intent != "" {
			t.Errorf("execution %+v", e)
		}
		for _, i := range s.input(t, d.ID)["facts"].(map[string]any)["open_intents"].([]any) {
			ids = append(ids, i.(map[string]any)["id"].(string))
		}
		return ids
	}
	if ids := fmt.Sprint(listed()); ids != fmt.Sprint([]string{first, second}) {
		t.Errorf("open are %s", ids)
	}
	s.pass(30*time.Second + 1) // the first one is over
	if ids := fmt.Sprint(listed()); ids != fmt.Sprint([]string{second}) {
		t.Errorf("open are %s", ids)
	}
	s.use(t, fixed(true, strings.Replace(act, "[_]", "[0]", 1), strings.Replace(notePhone, "trm_phone", "trm_phone", 1)))
	req := request("phone", "POST", "/gestures", "", nextKey())
	d := s.decide(req)
	want(t, d, decide.Allow, 0)
	if d.Execution.Intent != second || d.IntentID != second {
		t.Errorf("%+v", d)
	}
	if m := s.messages(t, "trm_phone"); m[len(m)-1].Intent != second || m[len(m)-1].AmountMinor != 250 {
		t.Errorf("messages %+v", m)
	}
	again := s.decide(req)
	want(t, again, decide.Allow, 0)
	if again.Execution.Intent != second || !again.Replayed {
		t.Errorf("again %+v", again)
	}
	if i := s.intent(t, second); len(i.Steps) != 2 || i.State != "pushed" {
		t.Errorf("intent %+v", i)
	}
	// The first one is not led to any more.
	s.use(t, fixed(true, strings.Replace(act, "input.facts.open_intents[_].id", fmt.Sprintf("%q", first), 1)))
	want(t, s.decide(request("phone", "POST", "/gestures", "", nextKey())), decide.Defect, 500, "policy_defect")
	s.clean(t)
}

// So many intents of an account are open at once; then the call may come again.
func TestTooManyIntents(t *testing.T) {
	s := newStepWorld(t)
	s.use(t, fixed(true, openOrder))
	for range authzstore.MaxOpenIntents {
		want(t, s.decide(order(bun, nextKey())), decide.Allow, 0)
	}
	key := nextKey()
	want(t, s.decide(order(bun, key)), decide.Deny, 429, "intents_over_maximum")
	s.pass(61 * time.Second)
	want(t, s.decide(order(bun, key)), decide.Allow, 0)
	s.clean(t)
}

// Views show the intent, and need no key; of one that there is not, a policy that
// allows contradicts.
func TestViewIntent(t *testing.T) {
	s := newStepWorld(t)
	id := s.ordered(t, nextKey())
	s.use(t, fixed(true))
	d := s.decide(request("anna", "GET", "/intents/"+id, "", ""))
	want(t, d, decide.Allow, 0)
	if e := d.Execution; e.Does != "view_intent" || e.Intent != id {
		t.Errorf("execution %+v", e)
	}
	want(t, s.decide(request("anna", "GET", "/intents/int_x", "", "")), decide.Defect, 500, "policy_defect")
	want(t, s.decide(request("phone", "GET", "/challenges/chl_x", "", "")), decide.Defect, 500, "policy_defect")
}
