package authzstore

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestLargestNounsFit: a payment by a grant writes the usage of two holders, and
// its record holds each before and after. All that leaves half of a record to the
// decision.
func TestLargestNounsFit(t *testing.T) {
	id := func(kind string, i int) string { return fmt.Sprintf("%s_%0*d", kind, maxIDBytes-len(kind)-1, i) }
	size := func(val []byte, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return len(val)
	}
	u := Usage{Holder: id("grt", 1), PendingMinor: math.MaxInt64, PostedMinor: math.MaxInt64, Count: math.MaxInt64}
	for range maxPeriods {
		u.Periods = append(u.Periods, PeriodUsage{strings.Repeat("a", 64), math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64})
	}
	for range maxWindow {
		u.Window = append(u.Window, WindowEntry{AtNanos: math.MaxInt64, Minor: MaxAmountMinor, KeptSeconds: maxWindowSeconds})
	}
	if got := 4 * size(encode(usageVersion, 1, u)); got > kv.MaxValue/2 {
		t.Errorf("usage comes to %d bytes of a record of %d", got, kv.MaxValue)
	}

	var limits []Limit
	for i := range maxLimits {
		limits = append(limits, Limit{fmt.Sprintf("a%063d", i), MaxAmountMinor, MaxAmountMinor, Period{Kind: Week, Alignment: ByCalendar, Zone: "America/Argentina/ComodRivadavia", WeekStart: "wednesday"}})
	}
	g := newGrant(id("grt", 1), grantTerms(limits...))
	g.Terms.Merchants.Mode, g.Terms.Categories.Mode, g.Terms.Countries.Mode, g.Terms.Channels.Mode = ModeOnly, ModeOnly, ModeOnly, ModeOnly
	for i := range maxFilterValues {
		g.Terms.Merchants.Values = append(g.Terms.Merchants.Values, id("mer", i))
		g.Terms.Categories.Values = append(g.Terms.Categories.Values, fmt.Sprintf("%04d", i))
		g.Terms.Countries.Values = append(g.Terms.Countries.Values, fmt.Sprintf("%c%c", 'A'+i/26, 'A'+i%26))
		g.Terms.Channels.Values = append(g.Terms.Channels.Values, fmt.Sprintf("a%063d", i))
	}
	long := Identity{strings.Repeat("a", 256), strings.Repeat("b", 256), strings.Repeat("c", 256), ""}
	g.Owner, g.Delegate = long, long
	g.Delegate.Subject = strings.Repeat("d", 256)
	g.State, g.AcceptedAtNanos, g.Handle = GrantActive, 1, "0123456789"
	for range maxRaises {
		g.Raises = append(g.Raises, Raise{math.MaxInt64, MaxAmountMinor, limits, DelegationPartial})
	}
	d := Delegates{Account: id("acc", 1)}
	for i := range MaxDelegates {
		d.Open = append(d.Open, id("grt", i))
	}
	if got := 2 * (size(encode(grantVersion, 1, g)) + size(encode(delegatesVersion, 1, d))); got > kv.MaxValue/2 {
		t.Errorf("a change of a grant comes to %d bytes of a record of %d", got, kv.MaxValue)
	}

	intent := Intent{ID: id("int", 1), Account: id("acc", 1), System: strings.Repeat("a", 64), Kind: strings.Repeat("b", 64), State: "open",
		Initiator: long, Terminal: id("trm", 1), AmountMinor: MaxAmountMinor, Currency: "EUR", Payee: strings.Repeat("p", 256),
		Attributes: longTexts(MaxIntentAttributes), Parties: longTexts(MaxIntentParties), OpenedAtNanos: 1, ExpiresAtNanos: math.MaxInt64}
	c := Challenge{ID: id("chl", 1), Kind: ChallengeCode, Account: id("acc", 1), Initiator: long, System: strings.Repeat("s", 256),
		Operation: strings.Repeat("o", 256), Fingerprint: make([]byte, 32), Intent: id("int", 1), Expects: ExpectsTerminals,
		AmountMinor: MaxAmountMinor, Currency: "EUR", Payee: strings.Repeat("p", 256), Sealed: make([]byte, maxSealedBytes), Digits: 8,
		Condition: Condition{Entry: EntryAny}, MaxAttempts: 5, State: ChallengeOpen, IssuedAtNanos: 1, ExpiresAtNanos: hour}
	i := Initiator{Account: id("acc", 1), Identity: long, RejectedInARow: math.MaxInt64, RejectedAtNanos: math.MaxInt64}
	m := Message{ID: id("msg", 1), Kind: strings.Repeat("k", 64), Terminal: id("trm", 1), Account: id("acc", 1), Requester: long,
		AmountMinor: MaxAmountMinor, Currency: "EUR", Payee: strings.Repeat("p", 256), Challenge: id("chl", 1), CodeCounter: math.MaxUint64,
		Intent: id("int", 1), Details: longTexts(MaxMessageDetails), CreatedAtNanos: 1, ExpiresAtNanos: hour}
	del := Delivery{Terminal: id("trm", 1), Acked: math.MaxUint64}
	codes := StoredCodes{Account: id("acc", 1), LastSeq: math.MaxInt64}
	for n := range MaxIntentSteps {
		intent.Steps = append(intent.Steps, IntentStep{"open", 1, long, id("trm", 1), id("dec", n)})
		i.StartsNanos = append(i.StartsNanos, math.MaxInt64)
		del.Dead = append(del.Dead, DeadLetter{uint64(n + 1), id("msg", n), m.Kind, math.MaxInt64, strings.Repeat("w", 256)})
	}
	for n := range MaxTerminals {
		intent.Terminals = append(intent.Terminals, id("trm", n))
		c.Terminals = append(c.Terminals, ChallengeTerminal{id("trm", n), math.MaxUint64 - uint64(n), math.MaxInt64})
		c.Entries = append(c.Entries, Entry{n, hour, 15})
	}
	for n := range MaxStoredCodes {
		i.Open = append(i.Open, OpenChallenge{make([]byte, 32), id("chl", n), math.MaxInt64})
		codes.Codes = append(codes.Codes, StoredCode{n, math.MaxInt64, id("trm", n), math.MaxInt64, make([]byte, maxSealedBytes), 8, MaxAmountMinor, "EUR", 1, math.MaxInt64})
	}
	if got := 2 * size(encode(intentVersion, 1, intent)); got > kv.MaxValue/2 {
		t.Errorf("a step of an intent comes to %d bytes of a record of %d", got, kv.MaxValue)
	}
	asked := 2 * (size(encode(challengeVersion, 1, c)) + size(encode(initiatorVersion, 1, i)) + size(encode(storedCodesVersion, 1, codes)) + size(encode(deliveryVersion, 1, del)))
	if asked > kv.MaxValue/2 {
		t.Errorf("a challenge, its initiator, stored codes and a delivery come to %d bytes of a record of %d", asked, kv.MaxValue)
	}
	if got := size(encode(messageVersion, 1, m)); 64*got > kv.MaxUpdate/2 {
		t.Errorf("a message comes to %d bytes, and many must fit into %d", got, kv.MaxUpdate)
	}
}

// longTexts are texts of the most bytes, under names of the most bytes.
func longTexts(n int) map[string]string {
	texts := map[string]string{}
	for i := range n {
		texts[fmt.Sprintf("a%063d", i)] = strings.Repeat("x", 256)
	}
	return texts
}
