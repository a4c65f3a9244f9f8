package authzstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// terminal is one of Anna's, bound, with an identity of its own.
func terminal(id string) Terminal {
	return Terminal{ID: id, Account: "acc_anna", Identity: identityOf(id), State: TerminalBound}
}

func identityOf(terminal string) Identity {
	return Identity{Kind: "terminal", Issuer: "https://id.example", Subject: terminal}
}

// putTerminal declares the terminal as it was, too.
func (d *desk) putTerminal(t Terminal) error {
	var old Terminal
	err := d.View(bg, func(s Snapshot) (err error) {
		old, _, err = s.Terminal(t.ID)
		return err
	})
	refs := TerminalRefs(t)
	if old.ID != "" {
		refs = TerminalRefs(old, t)
	}
	return errors.Join(err, d.do(refs, func(tx *Tx) error { return tx.PutTerminal(t) }))
}

func (d *desk) mustPutTerminal(t testing.TB, trm Terminal) {
	t.Helper()
	if err := d.putTerminal(trm); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) terminalsOf(t testing.TB, account string) (ids []string) {
	t.Helper()
	d.read(t, func(s Snapshot) error {
		a, err := s.AccountTerminals(account)
		if a.Account != account {
			t.Errorf("the terminals of %s are those of %s", account, a.Account)
		}
		ids = a.Terminals
		return err
	})
	return ids
}

func (d *desk) terminalAs(t testing.TB, id Identity) (terminal string) {
	t.Helper()
	d.read(t, func(s Snapshot) error {
		trm, ok, err := s.TerminalAs(id)
		if ok {
			terminal = trm.ID
		}
		return err
	})
	return terminal
}

// TestAccountTerminals: the terminals of an account are those that are not unbound,
// in the order in which they were bound, and the identity of each acts for it
// alone.
func TestAccountTerminals(t *testing.T) {
	d := newDesk(t)
	for _, step := range []struct {
		note        string
		terminal    string
		bend        func(*Terminal)
		annas, bens string
	}{
		{"bound", "trm_1", func(*Terminal) {}, "trm_1", ""},
		{"another", "trm_2", func(*Terminal) {}, "trm_1 trm_2", ""},
		{"a third, unbound", "trm_3", func(t *Terminal) { t.State = TerminalUnbound }, "trm_1 trm_2", ""},
		{"frozen", "trm_1", func(t *Terminal) { t.State = TerminalFrozen }, "trm_1 trm_2", ""},
		{"unfrozen", "trm_1", func(*Terminal) {}, "trm_1 trm_2", ""},
		{"another identity", "trm_1", func(t *Terminal) { t.Identity.Subject = "other" }, "trm_2 trm_1", ""},
		{"unbound", "trm_2", func(t *Terminal) { t.State = TerminalUnbound }, "trm_1", ""},
		{"unbound again", "trm_2", func(t *Terminal) { t.State = TerminalUnbound }, "trm_1", ""},
		{"bound at last", "trm_3", func(*Terminal) {}, "trm_1 trm_3", ""},
		{"bound again", "trm_2", func(*Terminal) {}, "trm_1 trm_3 trm_2", ""},
		{"moved", "trm_3", func(t *Terminal) { t.Account = "acc_ben" }, "trm_1 trm_2", "trm_3"},
		{"moved and frozen", "trm_2", func(t *Terminal) { t.Account, t.State = "acc_ben", TerminalFrozen }, "trm_1", "trm_3 trm_2"},
		{"moved and unbound", "trm_2", func(t *Terminal) { t.State = TerminalUnbound }, "trm_1", "trm_3"},
		{"moved while unbound", "trm_2", func(t *Terminal) { t.Account, t.State = "acc_ben", TerminalUnbound }, "trm_1", "trm_3"},
	} {
		d.now += hour
		trm := terminal(step.terminal)
		step.bend(&trm)
		d.mustPutTerminal(t, trm)
		if got := strings.Join(d.terminalsOf(t, "acc_anna"), " "); got != step.annas {
			t.Errorf("%s: Anna's are %q, want %q", step.note, got, step.annas)
		}
		if got := strings.Join(d.terminalsOf(t, "acc_ben"), " "); got != step.bens {
			t.Errorf("%s: Ben's are %q, want %q", step.note, got, step.bens)
		}
		want := trm.ID
		if trm.State == TerminalUnbound {
			want = ""
		}
		if got := d.terminalAs(t, trm.Identity); got != want {
			t.Errorf("%s: the identity acts for %q, want %q", step.note, got, want)
		}
		d.clean(t)
	}
}

// TestOneTerminalForAnIdentity: an unbound terminal gives its identity free, and
// gets it back only while nobody else has it.
func TestOneTerminalForAnIdentity(t *testing.T) {
	d := newDesk(t)
	first, second := terminal("trm_1"), terminal("trm_2")
	second.Identity = first.Identity
	d.mustPutTerminal(t, first)
	wantError(t, d.putTerminal(second), ErrUsed)
	frozen := first
	frozen.State = TerminalFrozen
	d.mustPutTerminal(t, frozen)
	wantError(t, d.putTerminal(second), ErrUsed)
	other := second
	other.State = TerminalUnbound // says nothing of the identity
	d.mustPutTerminal(t, other)
	unbound := first
	unbound.State = TerminalUnbound
	d.mustPutTerminal(t, unbound)
	if got := d.terminalAs(t, first.Identity); got != "" {
		t.Errorf("it acts for %q, and nobody has it", got)
	}
	d.mustPutTerminal(t, second)
	if got := d.terminalAs(t, first.Identity); got != "trm_2" {
		t.Errorf("it acts for %q", got)
	}
	wantError(t, d.putTerminal(first), ErrUsed)
	other = second
	other.Identity.Subject = "new"
	d.mustPutTerminal(t, other)
	d.mustPutTerminal(t, first)
	for subject, want := range map[string]string{"trm_1": "trm_1", "new": "trm_2"} {
		if got := d.terminalAs(t, Identity{"terminal", "https://id.example", subject, ""}); got != want {
			t.Errorf("%s acts for %q, want %q", subject, got, want)
		}
	}
	d.clean(t)
}

func TestMaxTerminals(t *testing.T) {
	d := newDesk(t)
	for i := range MaxTerminals {
		d.mustPutTerminal(t, terminal(fmt.Sprintf("trm_%d", i)))
	}
	one := terminal("trm_more")
	wantError(t, d.putTerminal(one), ErrTooManyTerminals)
	unbound := one
	unbound.State = TerminalUnbound
	d.mustPutTerminal(t, unbound)
	wantError(t, d.putTerminal(one), ErrTooManyTerminals)
	room := terminal("trm_3")
	room.State = TerminalUnbound
	d.mustPutTerminal(t, room)
	d.mustPutTerminal(t, one)
	d.clean(t)
}

func TestWebhooks(t *testing.T) {
	d := newDesk(t)
	long := "https://hooks.example/" + strings.Repeat("x", maxWebhookBytes-len("https://hooks.example/"))
	for webhook, ok := range map[string]bool{
		"": true, "https://hooks.example/in": true, "https://hooks.example:8443/in?to=1": true, long: true,
		"http://hooks.example/in": false, "HTTPS//hooks.example": false, "https:///in": false, "https://:443/": false,
		"/in": false, "hooks.example": false, "https://anna:secret@hooks.example/": false,
		"https://hooks.example/#in": false, "https://hooks example/": false, long + "x": false, "https://hooks.example/\n": false,
	} {
		trm := terminal("trm_1")
		trm.Webhook = webhook
		if err := d.putTerminal(trm); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", webhook, err)
		}
	}
	d.clean(t)
}

// TestTerminalsModel: whatever terminals do, the lists are as the model has them.
func TestTerminalsModel(t *testing.T) {
	d := newDesk(t)
	rapid.Check(t, func(rt *rapid.T) {
		world := NewID("") // accounts, terminals and identities of its own
		lists := map[string][]string{}
		acts := map[string]string{}
		terminals := map[string]Terminal{}
		rt.Repeat(map[string]func(*rapid.T){"put": func(rt *rapid.T) {
			d.now += hour
			trm := Terminal{
				ID:       "trm" + world + rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "terminal"),
				Account:  "acc" + world + rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "account"),
				Identity: identityOf(world + rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(rt, "identity")),
				State:    rapid.SampledFrom([]TerminalState{TerminalBound, TerminalFrozen, TerminalUnbound}).Draw(rt, "state"),
			}
			err := d.putTerminal(trm)
			if holder := acts[trm.Identity.Subject]; trm.listed() && holder != "" && holder != trm.ID {
				if !errors.Is(err, ErrUsed) {
					rt.Fatalf("%+v: %v", trm, err)
				}
				return
			}
			if err != nil {
				rt.Fatal(err)
			}
			old := terminals[trm.ID]
			stays := old.listed() && trm.listed() && old.Account == trm.Account && old.Identity == trm.Identity
			if !stays {
				lists[old.Account] = slices.DeleteFunc(lists[old.Account], func(id string) bool { return id == old.ID })
				if old.listed() {
					delete(acts, old.Identity.Subject)
				}
				if trm.listed() {
					lists[trm.Account] = append(lists[trm.Account], trm.ID)
					acts[trm.Identity.Subject] = trm.ID
				}
			}
			terminals[trm.ID] = trm
			for _, account := range []string{"acc" + world + "1", "acc" + world + "2"} {
				if got := d.terminalsOf(t, account); len(got)+len(lists[account]) > 0 && !reflect.DeepEqual(got, lists[account]) {
					rt.Fatalf("the terminals of %s are %v, want %v", account, got, lists[account])
				}
			}
			for _, n := range []string{"1", "2", "3", "4"} {
				if got := d.terminalAs(t, identityOf(world+n)); got != acts[world+n] {
					rt.Fatalf("%s acts for %q, want %q", n, got, acts[world+n])
				}
			}
		}})
	})
	d.clean(t)
}
