package authzstore

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// rewrite writes what a noun that exists becomes, as no setter would.
func rewrite[T checked](key string, version byte, bend func(*T)) func(*testing.T, *desk) {
	return func(t *testing.T, d *desk) { spoilt(t, d, key, version, bend) }
}

// lose deletes a noun, with a record like any other.
func lose(key string) func(*testing.T, *desk) {
	return func(t *testing.T, d *desk) {
		d.must(t, []kv.Ref{exclusive(key)}, func(tx *Tx) error { return tx.delete(key) })
	}
}

// askedFully has challenges, intents, codes and messages of every kind.
func askedFully(t *testing.T) *desk {
	d := askedDesk(t)
	other := terminal("trm_3")
	other.State = TerminalUnbound
	d.mustPutTerminal(t, other)
	d.mustOpen(t, d.order("int_1"))
	d.mustOpen(t, d.order("int_2"))
	if err := d.advance("int_2", "ordered", IntentAdvance{To: "paid", By: agent, Close: true}); err != nil {
		t.Fatal(err)
	}
	about := d.codes("chl_1")
	about.Intent = "int_1"
	d.mustIssue(t, about)
	d.into(t, ChallengeApproval, ChallengeConsumed, "chl_2")
	d.into(t, ChallengeCode, ChallengeLocked, "chl_3")
	key := CallKey{agent, "agent_order", "order", "k"}
	d.must(t, []kv.Ref{key.Ref()}, func(tx *Tx) error {
		return tx.AnswerOnce(key, KeyedCall{Fingerprint: about.Fingerprint, State: KeyedAllowed, Challenge: "chl_2", Intent: "int_2"})
	})
	if _, err := d.addCode(d.storedCode(t, "trm_1")); err != nil {
		t.Fatal(err)
	}
	thing := StoredCodeThing("acc_anna", 0)
	d.must(t, []kv.Ref{UseRef(thing)}, func(tx *Tx) error { return tx.UseStep(thing, 1) })
	for n := range 3 {
		m := d.notice(fmt.Sprintf("msg_%d", n), "trm_1")
		m.Challenge, m.Intent = "chl_1", "int_1"
		d.mustSend(t, m)
	}
	d.must(t, AckRefs("trm_1"), func(tx *Tx) error { return tx.AckMessages("trm_1", 2) })
	return d
}

// TestVerifyAsked: each invariant between the nouns about people who are asked,
// broken by a value that is sound by itself.
func TestVerifyAsked(t *testing.T) {
	const (
		indexes   = "the indexes hold the nouns"
		terminals = "the terminals of an account are those that are not unbound, as they were bound"
		intents   = "the open intents of an account are not closed, and listed"
		numbered  = "messages are numbered without gaps up to what was sent"
	)
	challenge := func(id string, bend func(*Challenge)) func(*testing.T, *desk) {
		return rewrite("challenge/"+id, challengeVersion, bend)
	}
	list := func(bend func(*AccountTerminals)) func(*testing.T, *desk) {
		return rewrite("account_terminals/acc_anna", accountTerminalsVersion, bend)
	}
	opened := func(bend func(*OpenIntents)) func(*testing.T, *desk) {
		return rewrite("open_intents/acc_anna", openIntentsVersion, bend)
	}
	asked := func(bend func(*Initiator)) func(*testing.T, *desk) {
		return rewrite(initiatorKey("acc_anna", agent), initiatorVersion, bend)
	}
	keyed := func(bend func(*KeyedCall)) func(*testing.T, *desk) {
		return rewrite(CallKey{agent, "agent_order", "order", "k"}.storeKey(), keyedVersion, bend)
	}
	moved := func(from, to string) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			d.must(t, []kv.Ref{exclusive(from), exclusive(to)}, func(tx *Tx) error {
				val, _, err := tx.kv.Get(from)
				if err != nil {
					return err
				}
				if err := tx.change(to, val); err != nil {
					return err
				}
				return tx.kv.Put(to, val)
			})
		}
	}
	message := func(m Message, as, stream string) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			d.must(t, nil, func(tx *Tx) error {
				m.Terminal, m.CreatedAtNanos, m.ExpiresAtNanos = "trm_1", d.now, d.now
				val, err := encode(messageVersion, d.now, m)
				if err != nil {
					return err
				}
				return tx.kv.Append(stream, as, val)
			})
		}
	}
	sent := func(more uint64) func(*testing.T, *desk) {
		return rewrite("mailbox/trm_1", mailboxVersion, func(m *Mailbox) { m.Sent += more })
	}
	plain := Message{ID: "msg_x", Kind: "code", Account: "acc_anna", Requester: agent}
	foreign, ghost := plain, plain
	foreign.Challenge, ghost.Intent = "chl_0", "int_0"
	for name, test := range map[string]struct {
		spoil func(*testing.T, *desk)
		want  string
	}{
		"a terminal not listed":      {list(func(a *AccountTerminals) { a.Terminals = a.Terminals[1:] }), terminals},
		"no list":                    {lose("account_terminals/acc_anna"), terminals},
		"an unbound terminal listed": {list(func(a *AccountTerminals) { a.Terminals = append(a.Terminals, "trm_3") }), terminals},
		"a terminal of nobody":       {list(func(a *AccountTerminals) { a.Terminals = append(a.Terminals, "trm_0") }), terminals},
		"a terminal listed elsewhere": {rewrite("account_terminals/acc_ben", accountTerminalsVersion, func(a *AccountTerminals) {
			*a = AccountTerminals{"acc_ben", []string{"trm_1"}}
		}), terminals},
		"bound in another order": {rewrite("terminal/trm_2", terminalVersion, func(t *Terminal) { t.BoundAtNanos-- }), terminals},
		"an identity gone":       {lose(terminalAsKey(identityOf("trm_1"))), indexes},
		"an identity of another": {rewrite(terminalAsKey(identityOf("trm_1")), terminalAsVersion, func(i *TerminalIdentity) { i.Terminal = "trm_2" }), indexes},
		"an identity of an unbound one": {rewrite(terminalAsKey(identityOf("trm_3")), terminalAsVersion, func(i *TerminalIdentity) {
			i.Terminal = "trm_3"
		}), indexes},
		"an identity of two": {rewrite("terminal/trm_2", terminalVersion, func(t *Terminal) { t.Identity = identityOf("trm_1") }),
			"an identity acts for one terminal"},

		"an open challenge not listed":  {asked(func(i *Initiator) { i.Open = nil }), openIsListed},
		"an initiator gone":             {lose(initiatorKey("acc_anna", agent)), openIsListed},
		"a consumed challenge listed":   {challenge("chl_1", func(c *Challenge) { c.State, c.DecidedAtNanos = ChallengeReplaced, 9 }), openIsListed},
		"a consumed challenge restored": {challenge("chl_2", func(c *Challenge) { c.State = ChallengeSatisfied }), openIsListed},
		"an expiry of its own":          {asked(func(i *Initiator) { i.Open[0].ExpiresAtNanos++ }), openIsListed},
		"another call's":                {asked(func(i *Initiator) { i.Open[0].Fingerprint = bytes.Repeat([]byte{9}, 32) }), openIsListed},
		"a challenge that there is not": {asked(func(i *Initiator) { i.Open[0].Challenge = "chl_0" }), openIsListed},
		"another initiator's":           {challenge("chl_1", func(c *Challenge) { c.Initiator = ben }), openIsListed},
		"a terminal that there is not":  {challenge("chl_1", func(c *Challenge) { c.Terminals[0].Terminal = "trm_0" }), "a challenge asks terminals that there are"},
		"an intent that there is not":   {challenge("chl_1", func(c *Challenge) { c.Intent = "int_0" }), "a challenge is about an intent that there is"},
		"locked by nothing": {rewrite("verification/acc_anna", verificationVersion, func(v *Verification) { v.FailedInARow = 4 }),
			"an account's codes are locked by its challenges"},

		"a keyed call's challenge gone": {keyed(func(k *KeyedCall) { k.Challenge = "chl_0" }), "a keyed call has a challenge of its own call"},
		"another call's challenge": {challenge("chl_2", func(c *Challenge) { c.Fingerprint = bytes.Repeat([]byte{9}, 32) }),
			"a keyed call has a challenge of its own call"},
		"a keyed call's intent gone": {keyed(func(k *KeyedCall) { k.Intent = "int_0" }), "an allowed call has the intent that it opened"},
		"a stored code never given": {rewrite("use/stored_code/acc_anna/0", useVersion, func(u *Use) { u.Step = 2 }),
			"a stored code was given before it was used"},

		"an open intent not listed": {opened(func(o *OpenIntents) { o.Intents, o.ExpireAtNanos = nil, nil }), intents},
		"no list of intents":        {lose("open_intents/acc_anna"), intents},
		"a closed intent listed": {opened(func(o *OpenIntents) {
			o.Intents, o.ExpireAtNanos = append(o.Intents, "int_2"), append(o.ExpireAtNanos, o.ExpireAtNanos[0])
		}), intents},
		"an intent of nobody":      {opened(func(o *OpenIntents) { o.Intents[0] = "int_0" }), intents},
		"another expiry":           {opened(func(o *OpenIntents) { o.ExpireAtNanos[0]++ }), intents},
		"a closed intent restored": {rewrite("intent/int_2", intentVersion, func(i *Intent) { i.Closed = false }), intents},

		"delivered before sent":    {rewrite("delivery/trm_1", deliveryVersion, func(d *Delivery) { d.Acked = 4 }), "messages that were delivered were sent"},
		"delivered and never sent": {rewrite("delivery/trm_2", deliveryVersion, func(d *Delivery) { *d = Delivery{Terminal: "trm_2", Acked: 1} }), "messages that were delivered were sent"},
		"a message too few":        {sent(1), numbered},
		"a message too many":       {message(plain, "msg_x", "message/trm_1"), numbered},
		"all messages lost":        {rewrite("mailbox/trm_2", mailboxVersion, func(m *Mailbox) { *m = Mailbox{"trm_2", 1, 1, 1, 0} }), numbered},
		"a message about nothing":  {message(foreign, "msg_x", "message/trm_1"), "a message is about what there is"},
		"a message of no intent":   {message(ghost, "msg_x", "message/trm_1"), "a message is about what there is"},
		"another's number":         {message(plain, "msg_y", "message/trm_1"), "every stored value can be read and keeps its rules"},

		"another account's key":      {moved("account/acc_anna", "account/acc_eve"), ownKey},
		"another terminal's key":     {moved("terminal/trm_1", "terminal/trm_9"), ownKey},
		"another list's key":         {moved("account_terminals/acc_anna", "account_terminals/acc_eve"), ownKey},
		"another challenge's key":    {moved("challenge/chl_2", "challenge/chl_9"), ownKey},
		"another initiator's key":    {moved(initiatorKey("acc_anna", agent), initiatorKey("acc_eve", agent)), ownKey},
		"another verification's key": {moved("verification/acc_anna", "verification/acc_eve"), ownKey},
		"other codes' key":           {moved("stored_codes/acc_anna", "stored_codes/acc_eve"), ownKey},
		"another intent's key":       {moved("intent/int_2", "intent/int_9"), ownKey},
		"other intents' key":         {moved("open_intents/acc_anna", "open_intents/acc_eve"), ownKey},
		"another mailbox's key":      {moved("mailbox/trm_1", "mailbox/trm_9"), ownKey},
		"another delivery's key":     {moved("delivery/trm_1", "delivery/trm_9"), ownKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := askedFully(t)
			d.clean(t)
			test.spoil(t, d)
			problems, err := d.Verify(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, p := range problems {
				found = found || p.Invariant == test.want
				if strings.HasPrefix(p.Invariant, "every") && p.Invariant != test.want {
					t.Errorf("the value is not sound by itself: %s", p)
				}
			}
			if !found {
				t.Errorf("no problem says %q: %v", test.want, problems)
			}
		})
	}
}
