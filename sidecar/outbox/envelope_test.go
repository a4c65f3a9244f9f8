package outbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

const (
	tablet = "trm_tablet"
	chl    = "chl_lunch"
)

// challenge asks phone and tablet for codes, and returns the messages that bring them
// and the codes.
func (w *world) challenge(t *testing.T) (ch authzstore.Challenge, codes []string) {
	t.Helper()
	sealed, counters, err := w.codes.NewSecret(chl, 6, 2)
	must(t, err)
	ch = authzstore.Challenge{
		ID: chl, Kind: authzstore.ChallengeCode, Account: account, Initiator: requester, System: "multi_terminal", Operation: "pay",
		Fingerprint: make([]byte, 32), Expects: authzstore.ExpectsInitiator, AmountMinor: 1250, Currency: "EUR", Payee: "mer_bakery",
		Terminals: []authzstore.ChallengeTerminal{{Terminal: phone, Counter: counters[0]}, {Terminal: tablet, Counter: counters[1]}},
		Sealed:    sealed, Digits: 6, Condition: authzstore.Condition{Entry: authzstore.EntryAny}, MaxAttempts: 1,
		ExpiresAtNanos: noon.Add(time.Minute).UnixNano(),
	}
	must(t, w.update(authzstore.ChallengeRefs(ch), func(tx *authzstore.Tx) error { return tx.IssueChallenge(ch) }))
	for i := range ch.Terminals {
		code, err := w.codes.Code(ch, i)
		must(t, err)
		codes = append(codes, code)
	}
	return ch, codes
}

func code(ch authzstore.Challenge, i int) func(*authzstore.Message) {
	return func(m *authzstore.Message) {
		m.Kind, m.Challenge, m.CodeCounter = "code", ch.ID, ch.Terminals[i].Counter
	}
}

// render renders what is the last message of a terminal.
func (w *world) render(t *testing.T, terminal string) (e Envelope, hindrance Hindrance) {
	t.Helper()
	now, _ := w.clock.Now()
	must(t, w.View(context.Background(), func(s authzstore.Snapshot) error {
		box, err := s.Mailbox(terminal)
		if err != nil {
			return err
		}
		messages, err := s.Messages(terminal, box.Sent, 1)
		if err != nil {
			return err
		}
		e, hindrance, err = w.renderer().Render(s.Reader, messages[0], now.UnixNano())
		return err
	}))
	return e, hindrance
}

func twoTerminals(t *testing.T) *world {
	w := newWorld(t)
	w.put(t, authzstore.Terminal{ID: phone})
	w.put(t, authzstore.Terminal{ID: tablet})
	return w
}

// The members of an envelope are those of docs/messages.md.
func TestEnvelope(t *testing.T) {
	w := twoTerminals(t)
	ch, codes := w.challenge(t)
	m := w.send(t, phone, code(ch, 0), func(m *authzstore.Message) {
		m.Intent, m.Details = "int_order", map[string]string{"order": "lunch"}
	})
	e, hindrance := w.render(t, phone)
	text, err := json.Marshal(e)
	must(t, err)
	want := fmt.Sprintf(`{"id":%q,"number":1,"kind":"code","terminal":"trm_phone","amount_minor":1250,"currency":"EUR","payee":"mer_bakery",`+
		`"requester":{"kind":"agent","issuer":"https://id.example","subject":"desk"},"code":%q,"challenge":"chl_lunch","intent":"int_order",`+
		`"details":{"order":"lunch"},"created_at_ns":%d,"expires_at_ns":%d}`, m.ID, codes[0], noon.UnixNano(), noon.Add(time.Hour).UnixNano())
	if string(text) != want || hindrance != "" {
		t.Errorf("got  %s %s\nwant %s", text, hindrance, want)
	}
	if shown := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(shown, codes[0]) {
		t.Errorf("an envelope shows its code: %s", shown)
	}
}

// Each terminal gets its own code, and only a message that brings one.
func TestCodes(t *testing.T) {
	w := twoTerminals(t)
	ch, codes := w.challenge(t)
	for i, terminal := range []string{phone, tablet} {
		w.send(t, terminal, code(ch, i))
		if e, _ := w.render(t, terminal); e.Code != codes[i] {
			t.Errorf("%s: another code than its own", terminal)
		}
	}
	w.send(t, phone, code(ch, 1)) // a message that asks for the tablet's
	if e, _ := w.render(t, phone); e.Code != "" {
		t.Error("the phone got the tablet's code")
	}
	w.send(t, phone, func(m *authzstore.Message) { m.Challenge = chl })
	if e, _ := w.render(t, phone); e.Code != "" || e.Challenge != chl {
		t.Error("a message got a code that it does not bring")
	}
}

// A code is good no more, and not delivered, once its challenge is not open.
func TestCodesEnd(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *world, authzstore.Challenge){
		"expired": func(_ *testing.T, w *world, _ authzstore.Challenge) { w.clock.advance(time.Minute + 1) },
		"rejected": func(t *testing.T, w *world, ch authzstore.Challenge) {
			must(t, w.update(authzstore.ChallengeRefs(ch), func(tx *authzstore.Tx) error { return tx.RejectChallenge(chl, phone) }))
		},
		"replaced": func(t *testing.T, w *world, ch authzstore.Challenge) {
			must(t, w.update(authzstore.ChallengeRefs(ch), func(tx *authzstore.Tx) error { return tx.ReplaceChallenge(chl) }))
		},
		"the other terminal is unbound": func(t *testing.T, w *world, _ authzstore.Challenge) {
			w.put(t, authzstore.Terminal{ID: tablet, State: authzstore.TerminalUnbound})
		},
		"satisfied": func(t *testing.T, w *world, ch authzstore.Challenge) {
			must(t, w.update(authzstore.ChallengeRefs(ch), func(tx *authzstore.Tx) error {
				for i := range ch.Terminals {
					if _, err := tx.AddEntry(chl, authzstore.Entry{Terminal: i, Rank: i}); err != nil {
						return err
					}
				}
				return tx.SatisfyChallenge(chl, "")
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := twoTerminals(t)
			ch, codes := w.challenge(t)
			w.send(t, phone, code(ch, 0))
			w.clock.advance(time.Minute) // exactly at its expiry
			if e, hindrance := w.render(t, phone); e.Code != codes[0] || hindrance != "" {
				t.Fatalf("before: %q", hindrance)
			}
			end(t, w, ch)
			if e, hindrance := w.render(t, phone); e.Code != "" || e.Challenge != chl || hindrance != "" {
				t.Errorf("%q, or with a code", hindrance)
			}
		})
	}
}

// A stored code goes to its terminal until it was used.
func TestStoredCodes(t *testing.T) {
	w := twoTerminals(t)
	term, err := w.terminal(phone)
	must(t, err)
	c, err := w.stored.NewStoredCode(term)
	must(t, err)
	c.ExpiresAtNanos = noon.Add(time.Minute).UnixNano()
	must(t, w.update(authzstore.AddStoredCodeRefs(account, phone), func(tx *authzstore.Tx) (err error) {
		c, err = tx.AddStoredCode(account, c)
		return err
	}))
	right, err := w.stored.Code(c)
	must(t, err)
	brings := func(m *authzstore.Message) {
		m.Kind, m.StoredCode = "stored_code", &authzstore.StoredCodeRef{Account: account, Slot: c.Slot, Seq: c.Seq}
	}
	w.send(t, phone, brings)
	if e, _ := w.render(t, phone); e.Code != right {
		t.Error("a stored code is not delivered")
	}
	w.send(t, tablet, brings)
	if e, _ := w.render(t, tablet); e.Code != "" {
		t.Error("another terminal got a stored code")
	}
	w.send(t, phone, brings, func(m *authzstore.Message) { m.StoredCode.Seq++ })
	if e, _ := w.render(t, phone); e.Code != "" {
		t.Error("a message brought a code that there is not")
	}
	w.send(t, phone, brings)
	thing := authzstore.StoredCodeThing(account, c.Slot)
	before := w.clock.now
	w.clock.advance(time.Minute + 1)
	if e, _ := w.render(t, phone); e.Code != "" {
		t.Error("an expired code is delivered")
	}
	w.clock.now = before
	must(t, w.update([]kv.Ref{authzstore.UseRef(thing)}, func(tx *authzstore.Tx) error { return tx.UseStep(thing, c.Seq) }))
	if e, _ := w.render(t, phone); e.Code != "" {
		t.Error("a used code is delivered")
	}
}

// What hinders a message, at the bounds.
func TestHindrances(t *testing.T) {
	w := twoTerminals(t)
	w.send(t, phone)
	want := func(want Hindrance) {
		t.Helper()
		if _, got := w.render(t, phone); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	w.clock.advance(time.Hour)
	want("")
	w.clock.advance(1)
	want(Expired)
	w.send(t, phone)
	want("")
	w.put(t, authzstore.Terminal{ID: phone, State: authzstore.TerminalFrozen})
	want(Held)
	w.put(t, authzstore.Terminal{ID: phone})
	want("")
	w.put(t, authzstore.Terminal{ID: phone, State: authzstore.TerminalUnbound})
	want(Held)
	w.put(t, authzstore.Terminal{ID: phone})
	want(Rebound)
	w.send(t, phone)
	want("")
	w.put(t, authzstore.Terminal{ID: phone, Account: "acc_ben"})
	want(Rebound)
}

// A code that cannot be made is a dead letter, with no word of why in the log.
func TestCodeUnavailable(t *testing.T) {
	w, r := newWorld(t), newReceiver(t, nil)
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL})
	w.put(t, authzstore.Terminal{ID: tablet})
	ch, _ := w.challenge(t)
	w.run(t, r.config(t), func(cfg *Config) {
		cfg.Renderer.ChallengeCode = func(authzstore.Challenge, int) (string, error) { return "", errors.New("canary") }
	})
	w.send(t, phone, code(ch, 0))
	w.acked(t, phone, 1)
	if dead := w.delivery(t, phone).Dead; len(dead) != 1 || dead[0].Why != string(NoCode) {
		t.Errorf("dead letters %+v", dead)
	}
	if text := w.log.String(); strings.Contains(text, "canary") || !strings.Contains(text, string(NoCode)) {
		t.Errorf("the log says %s", text)
	}
}

// Every message is in the log with its code, and says so once.
func TestMessageLog(t *testing.T) {
	w := twoTerminals(t)
	ch, codes := w.challenge(t)
	read, write := io.Pipe()
	w.run(t, func(cfg *Config) { cfg.MessageLog = write })
	eventually(t, "a warning", func() bool { return strings.Contains(w.log.String(), "only to try things out") })
	eventually(t, "the outbox follows", func() bool { return w.clock.waits(scanEvery) })
	w.send(t, phone, code(ch, 0))
	w.send(t, tablet, code(ch, 1))
	got := map[string]string{}
	lines := bufio.NewReader(read)
	for range 2 {
		line, err := lines.ReadBytes('\n')
		must(t, err)
		var e Envelope
		must(t, json.Unmarshal(line, &e))
		got[e.Terminal] = e.Code
	}
	if want := map[string]string{phone: codes[0], tablet: codes[1]}; !maps.Equal(got, want) {
		t.Errorf("got other messages, or without their codes: %v", slices.Collect(maps.Keys(got)))
	}
	_ = read.Close() // now writing fails
	w.send(t, phone)
	eventually(t, "an error", func() bool { return strings.Contains(w.log.String(), "not in the message log") })
}

// What went out with codes left none in the log of the sidecar.
func TestNoCodesInLog(t *testing.T) {
	w, r := newWorld(t), newReceiver(t, func(Envelope) int { return 500 })
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL + "/token-canary"})
	w.put(t, authzstore.Terminal{ID: tablet})
	ch, codes := w.challenge(t)
	w.run(t, r.config(t), func(cfg *Config) { cfg.Backoff.Tries = 1 })
	w.send(t, phone, code(ch, 0))
	w.acked(t, phone, 1)
	if r.got(t, 1)[0].envelope.Code != codes[0] {
		t.Error("the webhook brought no code")
	}
	text := w.log.String()
	for _, secret := range []string{codes[0], testSecret[6:], "token-canary", phone, "mer_bakery"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the log: %s", secret, text)
		}
	}
	if !strings.Contains(text, "status_500") {
		t.Errorf("the log does not say what failed: %s", text)
	}
}
