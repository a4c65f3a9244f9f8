package envoy

import (
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// Every step and every refusal of a payment from a second terminal, through Envoy: what
// the caller hears, and what stands in the record.

// A checkout is the world of one case: Anna's account with a laptop, a phone and a
// tablet that are paired with it, and a watch and a kiosk that are not.
type checkout struct {
	account                             string
	laptop, phone, tablet, watch, kiosk string // what they are called
	id                                  string // of what the laptop opened last
	token                               string // that its screen shows
}

// A checkoutCase is what is done to a checkout, and the step that comes of it.
type checkoutCase struct {
	name  string
	world func(*authzstore.Account)
	step  func(*testing.T, *family, *checkout) response

	public []string // nothing means that it is allowed
	record []string // nil means the public ones
}

func checkoutOf(i int) *checkout {
	name := func(device string) string { return fmt.Sprintf("%s%d", device, i) }
	return &checkout{account: name("acc_c"), laptop: name("laptop"), phone: name("phone"), tablet: name("tablet"), watch: name("watch"), kiosk: name("kiosk")}
}

func newCheckouts(t *testing.T, rules fs.FS, cases []checkoutCase) *family {
	t.Helper()
	var accounts []authzstore.Account
	var terminals []authzstore.Terminal
	for i, c := range cases {
		w := checkoutOf(i)
		a := accountOf(w.account, user("anna"))
		if c.world != nil {
			c.world(&a)
		}
		accounts = append(accounts, a)
		for _, device := range []string{w.laptop, w.phone, w.tablet, w.watch, w.kiosk} {
			trm := terminalOf(w.account, device, "+1")
			switch device {
			case w.tablet:
				trm.OS, trm.PairedWith = "android", []string{"trm_" + w.laptop}
			case w.phone:
				trm.PairedWith = []string{"trm_" + w.laptop}
			}
			terminals = append(terminals, trm)
		}
	}
	return newFamily(t, rules, accounts, terminals...)
}

// open opens a checkout on a device.
func (w *checkout) open(t *testing.T, f *family, device string, more map[string]any) response {
	t.Helper()
	resp := f.call(t, device, http.MethodPost, "/v1/checkouts", with(map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}, more))
	w.id = resp.Header.Get("Countersign-Intent-Id")
	return resp
}

func (w *checkout) report(t *testing.T, f *family, device, gesture string) response {
	t.Helper()
	return f.call(t, device, http.MethodPost, "/countersign/v1/gestures", map[string]any{"gesture": gesture})
}

func (w *checkout) relay(t *testing.T, f *family, relay, terminal, gesture string) response {
	t.Helper()
	return f.call(t, relay, http.MethodPost, "/countersign/v1/relays/gestures", map[string]any{"terminal": terminal, "gesture": gesture})
}

// pay pays on a device what it shows.
func (w *checkout) pay(t *testing.T, f *family, device string, more map[string]any) response {
	t.Helper()
	return f.call(t, device, http.MethodPost, "/v1/checkouts/"+w.id+"/pay", with(map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}, more))
}

// tokenOn is the token of the checkout as the device that opened it shows it.
func (w *checkout) tokenOn(t *testing.T, f *family, device string) string {
	t.Helper()
	var shown struct{ Token string }
	f.do(t, device, http.MethodGet, "/countersign/v1/intents/"+w.id, nil, &shown)
	if shown.Token == "" {
		t.Fatal("no token on the screen")
	}
	return shown.Token
}

type checkoutStep = func(*testing.T, *family, *checkout) response

func waits(d time.Duration) checkoutStep {
	return doingTo(func(_ *testing.T, f *family, _ *checkout) { f.clock.move(d) })
}

func paysWith(more map[string]any) checkoutStep {
	return func(t *testing.T, f *family, w *checkout) response { return w.pay(t, f, w.phone, more) }
}

func phoneReports(gesture string) checkoutStep {
	return func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, w.phone, gesture) }
}

// mind keeps the token of the checkout for later.
var mind = doingTo(func(t *testing.T, f *family, w *checkout) { w.token = w.tokenOn(t, f, w.laptop) })

var (
	laptopOpens  = func(t *testing.T, f *family, w *checkout) response { return w.open(t, f, w.laptop, nil) }
	kioskOpens   = func(t *testing.T, f *family, w *checkout) response { return w.open(t, f, w.kiosk, nil) }
	phoneSwipes  = phoneReports("swipe")
	phonePays    = paysWith(nil)
	tabletSwipes = func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, w.tablet, "swipe") }
	tabletPays   = func(t *testing.T, f *family, w *checkout) response { return w.pay(t, f, w.tablet, nil) }
	accountStops = doingTo(func(t *testing.T, f *family, w *checkout) { f.backendFreezes(t, w.account) })
	anotherID    = doingTo(func(_ *testing.T, _ *family, w *checkout) { w.id = "int_" + strings.Repeat("a", 26) })
)

// becomes changes one of the terminals since.
func becomes(which func(*checkout) string, change func(*authzstore.Terminal)) checkoutStep {
	return doingTo(func(t *testing.T, f *family, w *checkout) { f.changeTerminal(t, "trm_"+which(w), change) })
}

func isAnother(which func(*checkout) string) checkoutStep {
	return doingTo(func(t *testing.T, f *family, w *checkout) { f.rebind(t, "trm_"+which(w)) })
}

func theLaptop(w *checkout) string { return w.laptop }
func thePhone(w *checkout) string  { return w.phone }
func theTablet(w *checkout) string { return w.tablet }

func unpaired(t *authzstore.Terminal) { t.PairedWith = nil }

var (
	frozen  = inState(authzstore.TerminalFrozen)
	unbound = inState(authzstore.TerminalUnbound)
)

func runCheckouts(t *testing.T, f *family, cases []checkoutCase) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f.clock.move(time.Minute)
			resp := c.step(t, f, checkoutOf(i))
			if len(c.public) > 0 {
				f.hears(t, resp, http.StatusForbidden, c.public, c.record)
			} else if resp.StatusCode/100 != 2 {
				t.Errorf("status %d, %s; want it allowed", resp.StatusCode, resp.body)
			}
		})
	}
}

func TestSecondTerminal(t *testing.T) {
	cases := slices.Concat(openCases, gestureCases, relayCases, cancelCases, payCases, tokenCases)
	runCheckouts(t, newCheckouts(t, nil, cases), cases)
}

var openCases = []checkoutCase{
	{name: "opened on the laptop", step: laptopOpens},
	{name: "opened where nothing is paired", step: kioskOpens, public: []string{"second_terminal_none"}},
	{name: "opened on the phone: being paired has a direction", step: func(t *testing.T, f *family, w *checkout) response {
		return w.open(t, f, w.phone, nil)
	}, public: []string{"second_terminal_none"}},
	{name: "one of two paired terminals is left", step: steps(becomes(thePhone, frozen), laptopOpens)},
	{name: "no paired terminal is left", step: steps(becomes(thePhone, frozen), becomes(theTablet, unbound), laptopOpens), public: []string{"second_terminal_none"}},
	{name: "the paired terminals are of another account now", step: steps(
		doingTo(func(t *testing.T, f *family, w *checkout) {
			for _, device := range []string{w.phone, w.tablet} {
				f.changeTerminal(t, "trm_"+device, func(trm *authzstore.Terminal) { trm.Account = checkoutOf(0).account })
			}
		}), laptopOpens), public: []string{"second_terminal_none"}},
	{name: "opened on a frozen laptop", step: steps(becomes(theLaptop, frozen), laptopOpens), public: []string{"terminal_unknown"}},
	{name: "opened by who is no terminal", step: func(t *testing.T, f *family, w *checkout) response {
		return w.open(t, f, "anna", nil)
	}, public: []string{"terminal_unknown"}},
	{name: "opened for a frozen account", step: steps(accountStops, laptopOpens), public: []string{"account_frozen"}},
	{name: "opened in another currency", step: func(t *testing.T, f *family, w *checkout) response {
		return w.open(t, f, w.laptop, map[string]any{"currency": "USD"})
	}, public: []string{"currency_not_account"}},
	{name: "the fifth that is open", step: steps(laptopOpens, laptopOpens, laptopOpens, laptopOpens, laptopOpens)},
	{name: "the sixth that is open", step: steps(laptopOpens, laptopOpens, laptopOpens, laptopOpens, laptopOpens, laptopOpens),
		public: []string{"checkouts_over_maximum max_open 0 payments left"}},
	{name: "the sixth, when the others have expired", step: steps(laptopOpens, laptopOpens, laptopOpens, laptopOpens, laptopOpens, waits(240*time.Second+1), laptopOpens)},
	{name: "the sixth, at their last instant", step: steps(laptopOpens, laptopOpens, laptopOpens, laptopOpens, laptopOpens, waits(240*time.Second), laptopOpens),
		public: []string{"checkouts_over_maximum max_open 0 payments left"}},
}

var gestureCases = []checkoutCase{
	{name: "swiped", step: steps(laptopOpens, phoneSwipes)},
	{name: "tapped", step: steps(laptopOpens, phoneReports("tap"))},
	{name: "lifted, on the tablet", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, w.tablet, "lift") })},
	{name: "a kind that was not asked for", step: steps(laptopOpens, phoneReports("shake")), public: []string{"gesture_not_asked"}},
	{name: "two kinds in one", step: steps(laptopOpens, phoneReports("swipe,tap")), public: []string{"gesture_not_asked"}},
	{name: "without a checkout", step: phoneSwipes, public: []string{"checkout_none"}},
	{name: "one from before the checkout counts for nothing", step: steps(
		doingTo(func(t *testing.T, f *family, w *checkout) {
			f.hears(t, phoneSwipes(t, f, w), 403, []string{"checkout_none"}, nil)
		}), laptopOpens, phonePays), public: []string{"checkout_awaits_gesture"}},
	{name: "by the first terminal", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, w.laptop, "swipe") }), public: []string{"checkout_none"}},
	{name: "by a terminal that is not paired", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, w.watch, "swipe") }), public: []string{"checkout_none"}},
	{name: "by a terminal of another account", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response {
		return w.report(t, f, checkoutOf(1).watch, "swipe")
	}), public: []string{"checkout_none"}},
	{name: "by who is no terminal", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, "anna", "swipe") }), public: []string{"terminal_unknown"}},
	{name: "at the last instant for it", step: steps(laptopOpens, waits(60*time.Second), phoneSwipes)},
	{name: "one nanosecond later", step: steps(laptopOpens, waits(60*time.Second+1), phoneSwipes), public: []string{"gesture_too_late"}},
	{name: "the second time", step: steps(laptopOpens, phoneSwipes, phoneSwipes), public: []string{"checkout_none"}},
	{name: "after the other terminal's", step: steps(laptopOpens, phoneSwipes, tabletSwipes), public: []string{"checkout_none"}},
	{name: "two checkouts are open", step: steps(laptopOpens, laptopOpens, phoneSwipes), public: []string{"checkout_ambiguous"}},
	{name: "two are open, and of one the time is over", step: steps(laptopOpens, waits(60*time.Second+1), laptopOpens, phoneSwipes)},
	{name: "two are open, one of them at its last instant", step: steps(laptopOpens, waits(60*time.Second), laptopOpens, phoneSwipes), public: []string{"checkout_ambiguous"}},
	{name: "the account was frozen since", step: steps(laptopOpens, accountStops, phoneSwipes), public: []string{"account_frozen", "checkout_none"}},
	{name: "not paired any more", step: steps(laptopOpens, becomes(thePhone, unpaired), phoneSwipes), public: []string{"checkout_none"}},
	{name: "the phone was unbound since", step: steps(laptopOpens, becomes(thePhone, unbound), phoneSwipes), public: []string{"terminal_unknown"}},
	{name: "the phone was frozen since", step: steps(laptopOpens, becomes(thePhone, frozen), phoneSwipes), public: []string{"terminal_unknown"}},
}

func relayed(relay string, terminal func(*checkout) string) checkoutStep {
	return func(t *testing.T, f *family, w *checkout) response {
		return w.relay(t, f, relay, "trm_"+terminal(w), "swipe")
	}
}

// laptopCancels takes back the checkout that was opened last.
var laptopCancels = func(t *testing.T, f *family, w *checkout) response {
	return f.call(t, w.laptop, http.MethodPost, "/countersign/v1/intents/"+w.id+"/cancel", nil)
}

var cancelCases = []checkoutCase{
	{name: "cancelled before the operation", step: steps(laptopOpens, laptopCancels, phoneSwipes), public: []string{"checkout_none"}},
	{name: "cancelled after the push", step: steps(laptopOpens, phoneSwipes, laptopCancels, phonePays), public: []string{"intent_cancelled"}},
	{name: "cancelled when it is paid", step: steps(laptopOpens, phoneSwipes, phonePays, laptopCancels), public: []string{"intent_closed"}},
	{name: "cancelled by the phone", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
		return f.call(t, w.phone, http.MethodPost, "/countersign/v1/intents/"+w.id+"/cancel", nil)
	}), public: unknown},
	{name: "of two, the one that is not cancelled is meant", step: steps(laptopOpens, laptopCancels, laptopOpens, phoneSwipes, phonePays)},
	{name: "cancelled when the phone was unbound", step: steps(laptopOpens, phoneSwipes, becomes(thePhone, unbound), laptopCancels)},
	{name: "the phone is told that it is cancelled", step: steps(laptopOpens, phoneSwipes, laptopCancels, func(t *testing.T, f *family, w *checkout) response {
		if m := f.messages.to(t, "trm_"+w.phone, 3)[2]; m.Kind != "intent_cancelled" || m.Intent != w.id {
			t.Errorf("message %+v", m)
		}
		return laptopOpens(t, f, w)
	})},
}

var unexpected = []string{"gesture_not_expected"}

var relayCases = []checkoutCase{
	{name: "relayed for the phone", step: steps(laptopOpens, relayed("relay-ios", thePhone), phonePays)},
	{name: "relayed, and nothing of it is told", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response {
		resp := relayed("relay-ios", thePhone)(t, f, w)
		for _, secret := range []string{"1250", "mer_bakery", w.account, w.laptop, "token"} {
			if strings.Contains(resp.body, secret) {
				t.Errorf("the relay is told %s: %s", secret, resp.body)
			}
		}
		return resp
	})},
	{name: "relayed for the tablet", step: steps(laptopOpens, relayed("relay-android", theTablet), tabletPays)},
	{name: "relayed by that of another system", step: steps(laptopOpens, relayed("relay-android", thePhone)), public: []string{"terminal_not_relayed"}},
	{name: "relayed for nothing", step: steps(laptopOpens, relayed("relay-ios", func(*checkout) string { return "nobody" })), public: []string{"terminal_not_relayed"}},
	{name: "relayed by a stranger", step: steps(laptopOpens, relayed("relay-windows", thePhone)), public: []string{"relay_unknown"}},
	{name: "relayed by the phone itself", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response {
		return w.relay(t, f, w.phone, "trm_"+w.phone, "swipe")
	}), public: []string{"relay_unknown"}},
	{name: "relayed for the first terminal", step: steps(laptopOpens, relayed("relay-ios", theLaptop)), public: unexpected, record: []string{"checkout_none"}},
	{name: "relayed without a checkout", step: relayed("relay-ios", thePhone), public: unexpected, record: []string{"checkout_none"}},
	{name: "relayed for two checkouts", step: steps(laptopOpens, laptopOpens, relayed("relay-ios", thePhone)), public: unexpected, record: []string{"checkout_ambiguous"}},
	{name: "relayed at the last instant", step: steps(laptopOpens, waits(60*time.Second), relayed("relay-ios", thePhone))},
	{name: "relayed one nanosecond later", step: steps(laptopOpens, waits(60*time.Second+1), relayed("relay-ios", thePhone)), public: unexpected, record: []string{"gesture_too_late"}},
	{name: "relayed, another kind", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response {
		return w.relay(t, f, "relay-ios", "trm_"+w.phone, "shake")
	}), public: unexpected, record: []string{"gesture_not_asked"}},
	{name: "relayed for an unbound phone", step: steps(laptopOpens, becomes(thePhone, unbound), relayed("relay-ios", thePhone)), public: []string{"terminal_not_relayed"}},
	{name: "a relay as a terminal", step: steps(laptopOpens, func(t *testing.T, f *family, w *checkout) response { return w.report(t, f, "relay-ios", "swipe") }), public: []string{"terminal_unknown"}},
}
