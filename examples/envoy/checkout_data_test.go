package envoy

import (
	"net/http"
	"testing"
	"testing/fstest"
	"time"
)

const checkoutData = "systems/second_terminal/data.yaml"

func checkoutRules(t *testing.T, changes ...[2]string) fstest.MapFS {
	t.Helper()
	rules := onlySystems(t, "second_terminal", "terminal")
	for _, c := range changes {
		replace(t, rules, checkoutData, c[0], c[1])
	}
	return rules
}

// Where the account alone counts, what an unpaired terminal opens is paid with the token
// on its screen, and comes in nobody's way.
func TestCheckoutOfAnUnpairedTerminal(t *testing.T) {
	toAll := doingTo(func(t *testing.T, f *family, w *checkout) {
		f.wasTold(t, w, "trm_"+w.laptop+" gesture_request", "trm_"+w.phone+" gesture_request", "trm_"+w.tablet+" gesture_request", "trm_"+w.watch+" gesture_request")
	})
	mindKiosk := doingTo(func(t *testing.T, f *family, w *checkout) { w.token = w.tokenOn(t, f, w.kiosk) })
	wantsScan := doingTo(func(t *testing.T, f *family, w *checkout) {
		messages := f.messages.to(t, "trm_"+w.phone, 2)
		if m := messages[1]; m.Kind != "payment_response" || m.Details["mode"] != "scan" {
			t.Errorf("message %+v", m)
		}
	})
	cases := []checkoutCase{
		{name: "every terminal of the account is asked", step: steps(kioskOpens, toAll, phoneSwipes)},
		{name: "with the token", step: steps(kioskOpens, mindKiosk, phoneSwipes, wantsScan, paysWithToken(nil))},
		{name: "without a token", step: steps(kioskOpens, phoneSwipes, phonePays), public: []string{"scan_required"}},
		{name: "with a wrong token", step: steps(kioskOpens, mindKiosk, phoneSwipes, paysWithToken(spoilt)), public: []string{"intent_token_invalid"}},
		{name: "with a token cut short", step: steps(kioskOpens, mindKiosk, phoneSwipes, paysWithToken(func(token string) string { return token[:25] })), public: []string{"intent_token_invalid"}},
		{name: "with the token of another checkout", step: steps(kioskOpens, mindKiosk, waits(60*time.Second+1), kioskOpens, phoneSwipes, paysWithToken(nil)), public: []string{"intent_token_invalid"}},
		{name: "with the ID in place of the token", step: steps(kioskOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
			return w.pay(t, f, w.phone, map[string]any{"token": w.id})
		}), public: []string{"intent_token_invalid"}},
		{name: "a wrong token costs nothing", step: steps(kioskOpens, mindKiosk, phoneSwipes, doingTo(func(t *testing.T, f *family, w *checkout) {
			f.hears(t, paysWithToken(spoilt)(t, f, w), 403, []string{"intent_token_invalid"}, nil)
		}), paysWithToken(nil))},
		{name: "paid on the kiosk itself, with its token", step: steps(kioskOpens, mindKiosk, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
			return w.pay(t, f, w.kiosk, map[string]any{"token": w.token})
		}), public: []string{"checkout_opened_here"}},
		{name: "paid on the watch, with the token", step: steps(kioskOpens, mindKiosk, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
			return w.pay(t, f, w.watch, map[string]any{"token": w.token})
		}), public: []string{"checkout_not_pushed"}},
		{name: "beside one of the laptop, it is the laptop's that goes on", step: steps(kioskOpens, laptopOpens, phoneSwipes, phonePays)},
		{name: "beside one of the laptop, the kiosk's waits", step: steps(laptopOpens, kioskOpens, phoneSwipes, phonePays), public: []string{"checkout_awaits_gesture", "scan_required"}},
		{name: "after that of the laptop, it is the kiosk's turn", step: steps(kioskOpens, mindKiosk, doingTo(func(t *testing.T, f *family, w *checkout) {
			id := w.id
			for _, step := range []checkoutStep{laptopOpens, phoneSwipes, phonePays} {
				if resp := step(t, f, w); resp.StatusCode != http.StatusOK {
					t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
				}
			}
			w.id = id
		}), phoneSwipes, paysWithToken(nil))},
		{name: "two unpaired ones are ambiguous", step: steps(kioskOpens, func(t *testing.T, f *family, w *checkout) response {
			return w.open(t, f, w.watch, nil)
		}, phoneSwipes), public: []string{"checkout_ambiguous"}},
		{name: "a terminal of another account is not asked", step: steps(kioskOpens, func(t *testing.T, f *family, w *checkout) response {
			return w.report(t, f, checkoutOf(15).phone, "swipe")
		}), public: []string{"checkout_none"}},
		{name: "another account", step: kioskOpens},
	}
	runCheckouts(t, newCheckouts(t, checkoutRules(t, [2]string{"match: pairing\n", "match: account\n"}), cases), cases)
}

// Where a scan is always wanted, pairing does not do without it.
func TestCheckoutAlwaysScanned(t *testing.T) {
	cases := []checkoutCase{
		{name: "without a token", step: steps(laptopOpens, phoneSwipes, phonePays), public: []string{"scan_required"}},
		{name: "with the token", step: steps(laptopOpens, mind, phoneSwipes, paysWithToken(nil))},
		{name: "the screen of the laptop is the laptop's", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
			return f.call(t, w.phone, http.MethodGet, "/countersign/v1/intents/"+w.id, nil)
		}), public: unknown},
		{name: "the token is no secret of a laptop that was bound anew", step: steps(laptopOpens, isAnother(theLaptop), func(t *testing.T, f *family, w *checkout) response {
			return f.call(t, w.laptop, http.MethodGet, "/countersign/v1/intents/"+w.id, nil)
		}), public: unknown},
	}
	runCheckouts(t, newCheckouts(t, checkoutRules(t, [2]string{"scan: unpaired\n", "scan: always\n"}), cases), cases)
}

// Operations one after the other: each counts from when it was asked for.
func TestCheckoutInTwoSteps(t *testing.T) {
	phoneTaps := phoneReports("tap")
	cases := []checkoutCase{
		{name: "in their order", step: steps(laptopOpens, phoneSwipes, phoneTaps, phonePays)},
		{name: "the first one twice", step: steps(laptopOpens, phoneSwipes, phoneSwipes), public: []string{"gesture_not_asked"}},
		{name: "the second one first", step: steps(laptopOpens, phoneTaps), public: []string{"gesture_not_asked"}},
		{name: "only the first", step: steps(laptopOpens, phoneSwipes, phonePays), public: []string{"checkout_awaits_gesture"}},
		{name: "the second one on another terminal", step: steps(laptopOpens, phoneSwipes, func(t *testing.T, f *family, w *checkout) response {
			return w.report(t, f, w.tablet, "tap")
		}), public: []string{"checkout_none"}},
		{name: "both at their last instants", step: steps(laptopOpens, waits(60*time.Second), phoneSwipes, waits(60*time.Second), phoneTaps, waits(payWindow), phonePays)},
		{name: "the second one nanosecond late", step: steps(laptopOpens, waits(60*time.Second), phoneSwipes, waits(60*time.Second+1), phoneTaps), public: []string{"gesture_too_late"}},
		{name: "each step is asked for", step: steps(laptopOpens, phoneSwipes, doingTo(func(t *testing.T, f *family, w *checkout) {
			for i, gesture := range []string{"swipe", "tap,lift"} {
				if m := f.messages.to(t, "trm_"+w.phone, 2)[i]; m.Kind != "gesture_request" || m.Details["gesture"] != gesture {
					t.Errorf("message %+v", m)
				}
			}
		}), phoneReports("lift"), phonePays)},
	}
	rules := checkoutRules(t, [2]string{"gestures: [[swipe, tap, lift]]\n", "gestures: [[swipe], [tap, lift]]\n"}, [2]string{"bound_seconds: 0\n", "bound_seconds: 3600\n"})
	f := newCheckouts(t, rules, cases)
	f.clock.move(time.Hour - 1) // a moment too short to have been bound for
	w := checkoutOf(0)
	f.hears(t, laptopOpens(t, f, w), 403, []string{"second_terminal_none"}, nil)
	f.clock.move(1)
	if resp := laptopOpens(t, f, w); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
	}
	f.clock.move(time.Hour) // it is over
	runCheckouts(t, f, cases)
}

// Without operations all paired terminals are pushed to at once, none having called; the
// first to pay wins, and the others are told that it is closed.
func TestCheckoutPushedAtOnce(t *testing.T) {
	cases := make([]checkoutCase, 6)
	f := newCheckouts(t, checkoutRules(t, [2]string{"gestures: [[swipe, tap, lift]]\n", "gestures: []\n"}), cases)
	body := map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}
	for i := range cases {
		w := checkoutOf(i)
		if resp := laptopOpens(t, f, w); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
		}
		f.wasTold(t, w, "trm_"+w.phone+" payment_response", "trm_"+w.tablet+" payment_response")
		path := "/v1/checkouts/" + w.id + "/pay"
		var racers []racer
		for range 8 {
			racers = append(racers, racer{w.phone, path, body}, racer{w.tablet, path, body}, racer{w.laptop, path, body}, racer{w.watch, path, body})
		}
		if got := f.race(t, racers); got[http.StatusOK] != 1 || got[http.StatusForbidden] != len(racers)-1 {
			t.Errorf("statuses %v", got)
		}
		if minor, payments := f.spent(t, w.account); minor != 1250 || payments != 1 {
			t.Errorf("%d spent in %d payments", minor, payments)
		}
		loser := w.tablet
		if lastPaid(t).Header.Get("Countersign-Intent-Id") != w.id {
			t.Errorf("another one was paid")
		}
		if f.verified(t, lastPaid(t)).Identity.Subject == w.tablet {
			loser = w.phone
		}
		f.wasTold(t, w, "trm_"+w.laptop+" checkout_paid", "trm_"+loser+" checkout_closed")
	}
}
