package authzstore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestChallengeRules: what no setter writes is refused where it is read.
func TestChallengeRules(t *testing.T) {
	d := &desk{now: 1000}
	codes := func(bend func(*Challenge)) Challenge {
		c := d.codes("chl_1")
		c.State, c.IssuedAtNanos = ChallengeOpen, d.now
		bend(&c)
		return c
	}
	approval := func(bend func(*Challenge)) Challenge {
		c := d.approval("chl_1")
		c.State, c.IssuedAtNanos = ChallengeOpen, d.now
		bend(&c)
		return c
	}
	decided := func(state ChallengeState, by string) func(*Challenge) {
		return func(c *Challenge) { c.State, c.DecidedAtNanos, c.DecidedBy = state, d.now+1, by }
	}
	whole := func(c *Challenge) { c.Entries = []Entry{{1, d.now, 0}, {0, d.now + 1, 1}} }
	both := func(first, second func(*Challenge)) func(*Challenge) {
		return func(c *Challenge) { first(c); second(c) }
	}
	for note, good := range map[string]Challenge{
		"open":                  codes(func(*Challenge) {}),
		"with entries":          codes(func(c *Challenge) { c.Entries = []Entry{{-1, d.now, 0}} }),
		"satisfied":             codes(both(whole, decided(ChallengeSatisfied, ""))),
		"consumed":              codes(both(whole, decided(ChallengeConsumed, ""))),
		"rejected":              codes(decided(ChallengeRejected, "trm_2")),
		"replaced":              codes(decided(ChallengeReplaced, "")),
		"locked":                codes(both(decided(ChallengeLocked, ""), func(c *Challenge) { c.Burnt = 3 })),
		"locked by the account": codes(both(decided(ChallengeLocked, ""), func(c *Challenge) { c.Burnt = 1 })),
		"approved":              approval(decided(ChallengeSatisfied, "trm_1")),
		"approved, consumed":    approval(decided(ChallengeConsumed, "trm_1")),
		"approved, replaced":    approval(decided(ChallengeReplaced, "trm_1")),
		"an approval replaced":  approval(decided(ChallengeReplaced, "")),
		"an approval rejected":  approval(decided(ChallengeRejected, "trm_1")),
	} {
		if err := good.check(); err != nil {
			t.Errorf("%s: %v", note, err)
		}
	}
	for note, bad := range map[string]Challenge{
		"no state":                      codes(func(c *Challenge) { c.State = "" }),
		"stored as expired":             codes(decided(ChallengeExpired, "")),
		"open and decided":              codes(func(c *Challenge) { c.DecidedAtNanos = 1 }),
		"open and decided by":           codes(func(c *Challenge) { c.DecidedBy = "trm_1" }),
		"satisfied at no time":          codes(both(whole, func(c *Challenge) { c.State = ChallengeSatisfied })),
		"satisfied by nothing":          codes(decided(ChallengeSatisfied, "")),
		"satisfied by one":              codes(both(func(c *Challenge) { c.Entries = []Entry{{0, d.now, 0}} }, decided(ChallengeSatisfied, ""))),
		"consumed by one twice":         codes(both(func(c *Challenge) { c.Entries = []Entry{{0, d.now, 0}, {0, d.now, 0}} }, decided(ChallengeConsumed, ""))),
		"satisfied by a terminal":       codes(both(whole, decided(ChallengeSatisfied, "trm_1"))),
		"locked by a terminal":          codes(both(decided(ChallengeLocked, "trm_1"), func(c *Challenge) { c.Burnt = 3 })),
		"replaced by a terminal":        codes(decided(ChallengeReplaced, "trm_1")),
		"rejected by nobody":            codes(decided(ChallengeRejected, "")),
		"rejected by another":           codes(decided(ChallengeRejected, "trm_3")),
		"locked by no set":              codes(decided(ChallengeLocked, "")),
		"open with nothing left":        codes(func(c *Challenge) { c.Burnt = 3 }),
		"more burnt than there are":     codes(both(decided(ChallengeLocked, ""), func(c *Challenge) { c.Burnt = 4 })),
		"less burnt than none":          codes(func(c *Challenge) { c.Burnt = -1 }),
		"three entries":                 codes(func(c *Challenge) { c.Entries = []Entry{{0, d.now, 0}, {1, d.now, 0}, {-1, d.now, 0}} }),
		"entries back in time":          codes(func(c *Challenge) { c.Entries = []Entry{{0, d.now + 1, 0}, {1, d.now, 0}} }),
		"an entry before the issue":     codes(func(c *Challenge) { c.Entries = []Entry{{0, d.now - 1, 0}} }),
		"an approval of nobody":         approval(decided(ChallengeSatisfied, "")),
		"an approval of another":        approval(decided(ChallengeConsumed, "trm_3")),
		"an approval locked":            approval(decided(ChallengeLocked, "")),
		"an approval with an entry":     approval(func(c *Challenge) { c.Entries = []Entry{{0, d.now, 0}} }),
		"an approval with a failed set": approval(func(c *Challenge) { c.Burnt = 1 }),
		"a second of two sums": codes(func(c *Challenge) {
			c.Condition.Entry, c.Digits, c.Entries = EntrySum, 7, []Entry{{0, d.now, 0}, {0, d.now, 0}}
		}),
		"a sum of the second terminal's": codes(func(c *Challenge) { c.Condition.Entry, c.Digits, c.Entries = EntrySum, 7, []Entry{{1, d.now, 0}} }),
	} {
		if err := bad.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
}

// TestAskedRules: the same of the other nouns about people who are asked.
func TestAskedRules(t *testing.T) {
	print32 := bytes.Repeat([]byte{1}, 32)
	open := func(n int) (list []OpenChallenge) {
		for i := range n {
			list = append(list, OpenChallenge{print32, fmt.Sprintf("chl_%d", i), 1})
		}
		return list
	}
	step := IntentStep{"ordered", 5, agent, "trm_1", "dec_1"}
	intent := Intent{ID: "int_1", System: "s", Kind: "k", State: "ordered", Account: "acc_1", Initiator: agent, Terminal: "trm_1",
		Steps: []IntentStep{step}, OpenedAtNanos: 5, ExpiresAtNanos: 9}
	with := func(bend func(*Intent)) Intent {
		i := intent
		i.Steps = slices.Clone(i.Steps)
		bend(&i)
		return i
	}
	code := StoredCode{0, 1, "trm_1", 1, []byte("sealed"), 8, 0, "", 1, 2}
	second := func(bend func(*StoredCode)) StoredCodes {
		c := code
		c.Slot, c.Seq, c.Terminal = 1, 2, "trm_2"
		bend(&c)
		return StoredCodes{"acc_1", []StoredCode{code, c}, 2}
	}
	letter := func(num uint64) DeadLetter { return DeadLetter{num, fmt.Sprintf("msg_%d", num), "code", 1, "expired"} }
	for note, good := range map[string]checked{
		"an intent": intent, "an account's codes": second(func(*StoredCode) {}),
		"an initiator":       Initiator{"acc_1", agent, []int64{1, 1, 2}, open(8), 1, 1},
		"letters":            Delivery{"trm_1", 3, []DeadLetter{letter(1), letter(3)}},
		"terminals":          AccountTerminals{"acc_1", manyIDs("trm", 16)},
		"open intents":       OpenIntents{"acc_1", []string{"int_1"}, []int64{1}},
		"a locked account":   Verification{"acc_1", 5, 1},
		"a mailbox":          Mailbox{"trm_1", 1, 60, 60, 0},
		"whose identity":     TerminalIdentity{"trm_1"},
		"four failed in row": Verification{"acc_1", 4, 0},
	} {
		if err := good.check(); err != nil {
			t.Errorf("%s: %v", note, err)
		}
	}
	for note, bad := range map[string]checked{
		"an initiator of nothing":    Initiator{Account: "", Identity: agent},
		"nobody":                     Initiator{Account: "acc_1"},
		"33 starts":                  Initiator{"acc_1", agent, make([]int64, 33), nil, 0, 0},
		"starts back in time":        Initiator{"acc_1", agent, []int64{2, 1}, nil, 0, 0},
		"nine open":                  Initiator{"acc_1", agent, nil, open(9), 0, 0},
		"one open twice":             Initiator{"acc_1", agent, nil, append(open(1), open(1)...), 0, 0},
		"open without a call":        Initiator{"acc_1", agent, nil, []OpenChallenge{{nil, "chl_1", 1}}, 0, 0},
		"rejected at no time":        Initiator{"acc_1", agent, nil, nil, 1, 0},
		"rejected less than never":   Initiator{"acc_1", agent, nil, nil, -1, 1},
		"locked at no time":          Verification{"acc_1", 5, 0},
		"locked too early":           Verification{"acc_1", 4, 1},
		"less than none":             Verification{"acc_1", -1, 0},
		"no account":                 Verification{"", 0, 0},
		"one terminal twice":         AccountTerminals{"acc_1", []string{"trm_1", "trm_1"}},
		"a terminal that is none":    AccountTerminals{"acc_1", []string{"acc_1"}},
		"terminals of nobody":        AccountTerminals{"", nil},
		"nobody's identity":          TerminalIdentity{""},
		"an intent without an end":   OpenIntents{"acc_1", []string{"int_1"}, nil},
		"an intent twice":            OpenIntents{"acc_1", []string{"int_1", "int_1"}, []int64{1, 1}},
		"intents of nobody":          OpenIntents{"", nil, nil},
		"no step":                    with(func(i *Intent) { i.Steps = nil }),
		"33 steps":                   with(func(i *Intent) { i.Steps = slices.Repeat(i.Steps, 33) }),
		"in another state":           with(func(i *Intent) { i.State = "paid" }),
		"opened by another":          with(func(i *Intent) { i.Initiator = ben }),
		"opened from elsewhere":      with(func(i *Intent) { i.Terminal = "trm_2" }),
		"opened at another time":     with(func(i *Intent) { i.OpenedAtNanos = 4 }),
		"a step back in time":        with(func(i *Intent) { i.Steps = append(i.Steps, IntentStep{"ordered", 4, agent, "", "dec_1"}) }),
		"a step without a record":    with(func(i *Intent) { i.Steps = append(i.Steps, IntentStep{"ordered", 6, agent, "", ""}) }),
		"no mailbox":                 Mailbox{"acc_1", 1, 1, 1, 0},
		"61 in an hour":              Mailbox{"trm_1", 1, 61, 61, 0},
		"none in an hour":            Mailbox{"trm_1", 1, 0, 1, 0},
		"more in an hour than ever":  Mailbox{"trm_1", 1, 2, 1, 0},
		"31 for others in an hour":   Mailbox{"trm_1", 1, 60, 60, 31},
		"more for others than there": Mailbox{"trm_1", 1, 1, 1, 2},
		"a letter not delivered":     Delivery{"trm_1", 2, []DeadLetter{letter(3)}},
		"letters out of order":       Delivery{"trm_1", 3, []DeadLetter{letter(3), letter(1)}},
		"a letter twice":             Delivery{"trm_1", 3, []DeadLetter{letter(3), letter(3)}},
		"a letter with the number 0": Delivery{"trm_1", 3, []DeadLetter{letter(0)}},
		"33 letters":                 Delivery{"trm_1", 99, slices.Repeat([]DeadLetter{letter(1)}, 33)},
		"no delivery":                Delivery{"", 0, nil},
		"two codes in a slot":        second(func(c *StoredCode) { c.Slot = 0 }),
		"two codes of a terminal":    second(func(c *StoredCode) { c.Terminal = "trm_1" }),
		"a number to come":           second(func(c *StoredCode) { c.Seq = 3 }),
		"no number":                  second(func(c *StoredCode) { c.Seq = 0 }),
		"a ninth slot":               second(func(c *StoredCode) { c.Slot = 8 }),
		"a code of no terminal":      second(func(c *StoredCode) { c.Terminal = "" }),
		"codes of nobody":            StoredCodes{"", nil, 0},
	} {
		if err := bad.check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	for note, bad := range map[string]struct {
		noun checked
		want error
	}{
		"seventeen terminals": {AccountTerminals{"acc_1", manyIDs("trm", 17)}, ErrTooManyTerminals},
		"33 open intents":     {OpenIntents{"acc_1", manyIDs("int", 33), make([]int64, 33)}, ErrTooManyIntents},
		"nine stored codes":   {StoredCodes{"acc_1", slices.Repeat([]StoredCode{code}, 9), 1}, ErrTooManyCodes},
	} {
		if err := bad.noun.check(); !errors.Is(err, bad.want) {
			t.Errorf("%s: %v", note, err)
		}
	}
}
