package outbox

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// The specification's test vector, of the tests of its own libraries.
func TestSignature(t *testing.T) {
	secrets, err := ParseSecrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	must(t, err)
	header := http.Header{}
	must(t, sign(header, secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)))
	for name, want := range map[string]string{
		"webhook-id":        "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"webhook-timestamp": "1614265330",
		"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	good := strings.TrimSpace(string(NewSecret()))
	for name, c := range map[string]struct {
		text string
		want int // secrets; 0: refused
	}{
		"one":           {good, 1},
		"two":           {good + "\n" + testSecret + "\n", 2},
		"none":          {"", 0},
		"five":          {strings.Repeat(good+"\n", 5), 0},
		"another start": {strings.TrimPrefix(good, "whsec_"), 0},
		"no base64":     {"whsec_***", 0},
		"23 bytes":      {"whsec_" + strings.Repeat("AAAA", 7) + "AAA=", 0},
		"24 bytes":      {"whsec_" + strings.Repeat("AAAA", 8), 1},
		"64 bytes":      {"whsec_" + strings.Repeat("AAAA", 21) + "AA==", 1},
		"65 bytes":      {"whsec_" + strings.Repeat("AAAA", 21) + "AAA=", 0},
		"an empty line": {good + "\n\n" + good, 0},
	} {
		secrets, err := ParseSecrets(c.text)
		if len(secrets) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%s: %d secrets, %v", name, len(secrets), err)
		}
		if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error shows what was read", name)
		}
	}
	secrets, err := ParseSecrets(good)
	must(t, err)
	raw := strings.TrimPrefix(good, "whsec_")
	if shown := fmt.Sprintf("%v %+v %#v %s", secrets, secrets, Receiver{Secrets: secrets}, secrets[0]); strings.Contains(shown, raw) {
		t.Errorf("a secret shows itself: %s", shown)
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, public := range map[string]bool{
		"93.184.215.14": true, "2606:2800:21f::1": true, "8.8.8.8": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "172.32.0.1": true, "192.168.1.1": false, "::ffff:192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false,
		"0.0.0.0": false, "::": false, "0.1.2.3": false, "100.64.0.1": false, "100.128.0.1": true, "192.0.0.170": false,
		"198.18.0.1": false, "198.20.0.1": true, "224.0.0.1": false, "ff02::1": false, "240.0.0.1": false, "255.255.255.255": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "100::1": false,
		"192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "192.88.99.1": false, "3fff::1": false, "5f00::1": false,
	} {
		network, address := "tcp4", netip.AddrPortFrom(netip.MustParseAddr(text), 443).String()
		if strings.Contains(text, ":") {
			network = "tcp6"
		}
		if got := guard(false)(network, address, nil) == nil; got != public {
			t.Errorf("%s: webhooks go there: %v", text, got)
		}
		loopback := strings.HasPrefix(text, "127.") || text == "::1" || text == "::ffff:127.0.0.1"
		if got := guard(true)(network, address, nil) == nil; got != loopback {
			t.Errorf("%s: webhooks to this machine go there: %v", text, got)
		}
	}
	for _, address := range []string{"", "example.com:443", "8.8.8.8"} {
		if guard(false)("tcp4", address, nil) == nil {
			t.Errorf("%q is an address that webhooks go to", address)
		}
	}
	if guard(false)("udp4", "8.8.8.8:443", nil) == nil {
		t.Error("webhooks go by UDP")
	}
}

func TestReceivers(t *testing.T) {
	secrets, err := ParseSecrets(testSecret)
	must(t, err)
	for host, want := range map[string]string{
		"hooks.example": "hooks.example:443", "Hooks.Example:8443": "hooks.example:8443", "192.0.2.7": "192.0.2.7:443", "[2001:db8::1]:8443": "[2001:db8::1]:8443",
		"": "", "https://hooks.example": "", "hooks.example/path": "", "user@hooks.example": "", "hooks.example:0": "", "hooks.example:65536": "", "hooks.example:x": "", ":443": "",
	} {
		all, err := receivers([]Receiver{{Host: host, Secrets: secrets}})
		if _, known := all[want]; (err == nil) != (want != "") || err == nil && !known {
			t.Errorf("%q: %v, %v", host, all, err)
		}
	}
	for name, list := range map[string][]Receiver{
		"twice":     {{Host: "a.example", Secrets: secrets}, {Host: "A.example:443", Secrets: secrets}},
		"no secret": {{Host: "a.example"}},
	} {
		if _, err := New(Config{Receivers: list}); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// What is sent is not taken, and why.
func TestFailures(t *testing.T) {
	receiver := newReceiver(t, func(Envelope) int { return http.StatusFound })
	teapot := newReceiver(t, func(Envelope) int { return http.StatusTeapot })
	stranger := newReceiver(t, nil)
	secrets, err := ParseSecrets(testSecret)
	must(t, err)
	var cfg Config
	receiver.config(t)(&cfg)
	teapot.config(t)(&cfg)
	port := receiver.URL[strings.LastIndex(receiver.URL, ":"):]
	// Names and addresses of this machine and of the network inside, as receivers that are not on it.
	for _, inside := range []string{"localhost" + port, "10.255.255.1" + port, "169.254.169.254"} {
		cfg.Receivers = append(cfg.Receivers, Receiver{Host: inside, Secrets: secrets})
	}
	cfg.Receivers = append(cfg.Receivers, Receiver{Host: "127.0.0.1:1", Secrets: secrets, Loopback: true},
		Receiver{Host: "192.0.2.1", Secrets: secrets, Loopback: true})
	h, err := newWebhook(cfg.Receivers, cfg.Roots)
	must(t, err)
	t.Cleanup(h.client.CloseIdleConnections)
	for to, want := range map[string]failure{
		receiver.URL:                      redirected,
		teapot.URL + "/hook?a=b":          "status_418",
		stranger.URL:                      noReceiver,
		"https://hooks.example/":          noReceiver,
		"http" + receiver.URL[5:]:         badURL,
		"https://u:p@" + receiver.URL[8:]: badURL,
		"ftp://hooks.example":             badURL,
		"":                                badURL,
		"https://localhost" + port:        addressRefused,
		"https://10.255.255.1" + port:     addressRefused,
		"https://169.254.169.254/latest":  addressRefused,
		"https://192.0.2.1/":              addressRefused,
		"https://127.0.0.1:1/":            unreachable,
	} {
		if got := h.send(context.Background(), to, "msg_1", noon, []byte(`{"id":"msg_1"}`)); got != want {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
	if n := len(receiver.got(t, 1)); n != 1 {
		t.Errorf("a redirect was followed: %d requests", n)
	}
	if n := len(stranger.receipts); n != 0 {
		t.Errorf("a host that is not a receiver got %d requests", n)
	}
}

// A certificate that nobody vouches for is no receiver's.
func TestCertificate(t *testing.T) {
	r := newReceiver(t, nil)
	r.Config.ErrorLog = quiet
	var cfg Config
	r.config(t)(&cfg)
	h, err := newWebhook(cfg.Receivers, nil)
	must(t, err)
	if got := h.send(context.Background(), r.URL, "msg_1", noon, nil); got != badCertificate {
		t.Errorf("%q, want %q", got, badCertificate)
	}
}

// Messages arrive in order, with their IDs, and are acknowledged.
func TestInOrder(t *testing.T) {
	w, r := newWorld(t), newReceiver(t, nil)
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL + "/hook"})
	var sent []string
	for range 5 { // before the outbox runs
		sent = append(sent, w.send(t, phone).ID)
	}
	o := w.run(t, r.config(t))
	for range 5 {
		sent = append(sent, w.send(t, phone).ID)
	}
	w.acked(t, phone, 10)
	var got []string
	for i, receipt := range r.got(t, 10) {
		got = append(got, receipt.id)
		if receipt.envelope.Number != uint64(i+1) || receipt.envelope.AmountMinor != 1250 || receipt.envelope.Requester != requester {
			t.Errorf("%d: %s", i, receipt.body)
		}
	}
	if !slices.Equal(got, sent) {
		t.Errorf("got %v, sent %v", got, sent)
	}
	if s := o.Stats(); s.Delivered != 10 || s.Failed != 0 || s.Dead != 0 {
		t.Errorf("stats %+v", s)
	}
	eventually(t, "nothing waits", func() bool { return o.Stats().Waiting == 0 })
}

// A receiver that fails is asked again, later and later, with the same ID, and what
// comes after waits.
func TestBackoff(t *testing.T) {
	w := newWorld(t)
	var tries atomic.Int64
	r := newReceiver(t, func(Envelope) int {
		if tries.Add(1) <= 4 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL})
	w.run(t, r.config(t))
	first, second := w.send(t, phone), w.send(t, phone)
	for try, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if n := len(r.got(t, try+1)); n != try+1 {
			t.Errorf("%d tries, want %d", n, try+1)
		}
		// Of Random's the longest: 0 to 2^tries seconds.
		eventually(t, fmt.Sprintf("a wait of %v", wait), func() bool { return w.clock.waits(wait) })
		w.clock.advance(wait - 1)
		if w.delivery(t, phone).Acked != 0 {
			t.Fatal("acknowledged what nobody took")
		}
		w.clock.advance(1)
	}
	w.acked(t, phone, 2)
	var got []string
	for _, receipt := range r.got(t, 6) {
		got = append(got, receipt.id)
	}
	if want := []string{first.ID, first.ID, first.ID, first.ID, first.ID, second.ID}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestBackoffBounds(t *testing.T) {
	b := Backoff{Most: time.Minute}.withDefaults()
	for tries := 1; tries <= 2000; tries++ {
		most := time.Duration(0)
		if got := b.wait(tries, func(n int64) int64 { most = time.Duration(n); return n - 1 }); got < 0 || got > time.Minute || got != most-1 {
			t.Fatalf("after %d tries: %v", tries, got)
		}
		if got := b.wait(tries, func(int64) int64 { return 0 }); got != 0 {
			t.Fatalf("after %d tries at least %v", tries, got)
		}
	}
}

// What is tried too often, and what expires, is a dead letter, and the next one has
// its turn.
func TestDeadLetters(t *testing.T) {
	w := newWorld(t)
	r := newReceiver(t, func(e Envelope) int {
		if e.Number == 4 {
			return http.StatusOK
		}
		return http.StatusInternalServerError
	})
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL})
	w.run(t, r.config(t), func(cfg *Config) { cfg.Backoff = Backoff{Base: time.Second, Most: time.Second, Tries: 3} })
	w.send(t, phone)
	w.send(t, phone, func(m *authzstore.Message) { m.ExpiresAtNanos = noon.Add(3 * time.Second).UnixNano() })
	w.send(t, phone, func(m *authzstore.Message) { m.ExpiresAtNanos = noon.Add(3 * time.Second).UnixNano() })
	last := w.send(t, phone)
	for tries := 1; tries <= 2; tries++ {
		r.got(t, tries)
		eventually(t, "a wait", func() bool { return w.clock.waits(time.Second) })
		w.clock.advance(time.Second)
	}
	r.got(t, 4) // the second message, at its first try
	eventually(t, "a wait", func() bool { return w.clock.waits(time.Second) })
	w.clock.advance(time.Second + 1) // one nanosecond past its expiry
	w.acked(t, phone, 4)
	var why []string
	for _, l := range w.delivery(t, phone).Dead {
		why = append(why, fmt.Sprint(l.Num, " ", l.Why))
	}
	if want := []string{"1 status_500", "2 expired", "3 expired"}; !slices.Equal(why, want) {
		t.Errorf("dead letters %v, want %v", why, want)
	}
	receipts := r.got(t, 5)
	if len(receipts) != 5 || receipts[4].id != last.ID {
		t.Errorf("%d webhooks, the last is %s, want 5 and %s", len(receipts), receipts[len(receipts)-1].id, last.ID)
	}
}

// A webhook that leads to no receiver is no delivery, and operators see why.
func TestWrongHost(t *testing.T) {
	w, r, stranger := newWorld(t), newReceiver(t, nil), newReceiver(t, nil)
	w.put(t, authzstore.Terminal{ID: phone, Webhook: stranger.URL})
	w.run(t, r.config(t), func(cfg *Config) { cfg.Backoff.Tries = 1 })
	w.send(t, phone)
	w.acked(t, phone, 1)
	if dead := w.delivery(t, phone).Dead; len(dead) != 1 || dead[0].Why != string(noReceiver) {
		t.Errorf("dead letters %+v", dead)
	}
	if len(stranger.receipts) != 0 {
		t.Error("a host that is no receiver got a webhook")
	}
}

// A receiver that hangs slows nobody but its own terminals.
func TestHangingReceiver(t *testing.T) {
	w := newWorld(t)
	hangs, good := newReceiver(t, func(Envelope) int { return 0 }), newReceiver(t, nil)
	for i := range 3 * perReceiver {
		id := fmt.Sprintf("trm_hung_%d", i)
		w.put(t, authzstore.Terminal{ID: id, Account: fmt.Sprintf("acc_%d", i), Webhook: hangs.URL})
		w.send(t, id)
	}
	w.put(t, authzstore.Terminal{ID: phone, Webhook: good.URL})
	o := w.run(t, hangs.config(t), good.config(t))
	hangs.got(t, perReceiver)
	w.send(t, phone)
	w.acked(t, phone, 1)
	if n := len(hangs.got(t, perReceiver)); n != perReceiver {
		t.Errorf("%d tries at once, want %d", n, perReceiver)
	}
	if n := o.Stats().Waiting; n != 3*perReceiver {
		t.Errorf("%d terminals wait, want %d", n, 3*perReceiver)
	}
}

// Nothing goes to a terminal that is frozen or unbound, nor to one that was bound anew.
func TestUnbound(t *testing.T) {
	w := newWorld(t)
	var takes atomic.Bool
	r := newReceiver(t, func(Envelope) int {
		if !takes.Load() {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	bound := authzstore.Terminal{ID: phone, Webhook: r.URL}
	frozen, unbound := bound, bound
	frozen.State, unbound.State = authzstore.TerminalFrozen, authzstore.TerminalUnbound
	w.put(t, bound)
	o := w.run(t, r.config(t))
	first := w.send(t, phone)
	r.got(t, 1)
	eventually(t, "a wait", func() bool { return w.clock.waits(time.Second) })
	takes.Store(true)
	w.put(t, frozen)
	w.clock.advance(time.Second)
	eventually(t, "nothing waits", func() bool { return o.Stats().Waiting == 0 })
	if n := len(r.got(t, 1)); n != 1 {
		t.Fatalf("a frozen terminal got a webhook")
	}
	w.put(t, bound) // as it was: what waited goes out
	w.acked(t, phone, 1)
	if receipts := r.got(t, 2); receipts[1].id != first.ID {
		t.Errorf("got %s, want %s", receipts[1].id, first.ID)
	}
	w.put(t, frozen)
	w.send(t, phone)
	w.put(t, unbound)
	w.clock.advance(time.Second)
	w.put(t, bound) // anew
	last := w.send(t, phone)
	w.acked(t, phone, 3)
	receipts := r.got(t, 3)
	if len(receipts) != 3 || receipts[2].id != last.ID {
		t.Errorf("%d webhooks, the last is %s, want 3 and %s", len(receipts), receipts[len(receipts)-1].id, last.ID)
	}
	if dead := w.delivery(t, phone).Dead; len(dead) != 1 || dead[0].Num != 2 || dead[0].Why != string(Rebound) {
		t.Errorf("dead letters %+v", dead)
	}
}

// A webhook that is changed is tried at once.
func TestChangedWebhook(t *testing.T) {
	w := newWorld(t)
	broken, good := newReceiver(t, func(Envelope) int { return http.StatusBadGateway }), newReceiver(t, nil)
	w.put(t, authzstore.Terminal{ID: phone, Webhook: broken.URL})
	w.run(t, broken.config(t), good.config(t))
	w.send(t, phone)
	broken.got(t, 1)
	eventually(t, "a wait", func() bool { return w.clock.waits(time.Second) })
	w.put(t, authzstore.Terminal{ID: phone, Webhook: good.URL})
	w.acked(t, phone, 1)
	if n := len(good.got(t, 1)); n != 1 {
		t.Errorf("%d webhooks, want 1", n)
	}
}

// Terminals that found no place are found later.
func TestLeftOut(t *testing.T) {
	w, r := newWorld(t), newReceiver(t, nil)
	w.put(t, authzstore.Terminal{ID: phone, Webhook: r.URL})
	o := w.run(t, r.config(t))
	eventually(t, "the next scan waits", func() bool { return w.clock.waits(scanEvery) })
	o.schedule.mu.Lock()
	for i := range maxWaiting {
		o.schedule.courses[fmt.Sprint(i)] = &course{}
	}
	o.schedule.mu.Unlock()
	w.send(t, phone)
	eventually(t, "one left out", func() bool {
		o.schedule.mu.Lock()
		defer o.schedule.mu.Unlock()
		return o.schedule.overfull
	})
	o.schedule.mu.Lock()
	for i := range maxWaiting {
		delete(o.schedule.courses, fmt.Sprint(i))
	}
	o.schedule.mu.Unlock()
	w.clock.advance(scanEvery)
	w.acked(t, phone, 1)
}
