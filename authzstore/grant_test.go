package authzstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// steps are the setters that move a grant or its terms.
var steps = map[string]func(tx *Tx, id string, c Credential) error{
	"accept":   func(tx *Tx, id string, c Credential) error { return tx.AcceptGrant(id, c) },
	"decline":  func(tx *Tx, id string, _ Credential) error { return tx.DeclineGrant(id) },
	"freeze":   func(tx *Tx, id string, _ Credential) error { return tx.FreezeGrant(id) },
	"unfreeze": func(tx *Tx, id string, _ Credential) error { return tx.UnfreezeGrant(id) },
	"revoke":   func(tx *Tx, id string, _ Credential) error { return tx.RevokeGrant(id) },
	"end":      func(tx *Tx, id string, _ Credential) error { return tx.EndGrant(id) },
	"change":   func(tx *Tx, id string, _ Credential) error { return tx.ChangeGrant(id, grantTerms(total)) },
	"reissue":  func(tx *Tx, id string, c Credential) error { return tx.IssueCredential(id, c) },
}

// TestGrantTransitions tries every step from every state. What is not listed is
// refused and changes nothing.
func TestGrantTransitions(t *testing.T) {
	to := map[GrantState]map[string]GrantState{
		GrantOffered:  {"accept": GrantActive, "decline": GrantDeclined, "revoke": GrantRevoked, "change": GrantOffered},
		GrantActive:   {"freeze": GrantFrozen, "revoke": GrantRevoked, "end": GrantEnded, "change": GrantActive, "reissue": GrantActive},
		GrantFrozen:   {"unfreeze": GrantActive, "revoke": GrantRevoked, "end": GrantEnded, "change": GrantFrozen, "reissue": GrantFrozen},
		GrantDeclined: {}, GrantRevoked: {}, GrantEnded: {},
	}
	way := map[GrantState][]string{
		GrantOffered: {}, GrantActive: {"accept"}, GrantFrozen: {"accept", "freeze"},
		GrantDeclined: {"decline"}, GrantRevoked: {"accept", "revoke"}, GrantEnded: {"accept", "end"},
	}
	d := newDesk(t)
	for from, allowed := range to {
		for name, step := range steps {
			id := NewID("grt")
			if err := d.offer(newGrant(id, grantTerms(total))); err != nil {
				t.Fatal(err)
			}
			for _, before := range way[from] {
				if err := d.change(t, id, func(tx *Tx, c Credential) error { return steps[before](tx, id, c) }); err != nil {
					t.Fatal(err)
				}
			}
			before := d.grant(t, id)
			d.now += hour
			err := d.change(t, id, func(tx *Tx, c Credential) error { return step(tx, id, c) })
			after := d.grant(t, id)
			want, ok := allowed[name]
			if !ok {
				state, is := errors.AsType[*StateError](err)
				if !is || *state != (StateError{"grant", string(from)}) || !errors.Is(err, ErrState) || !reflect.DeepEqual(before, after) {
					t.Errorf("%s a grant that is %s: %v, and then it is %+v", name, from, err, after)
				}
				continue
			}
			if err != nil || after.State != want || after.ChangedAtNanos != d.now {
				t.Errorf("%s a grant that is %s: %v, and it is %s", name, from, err, after.State)
			}
			pays := want == GrantActive || want == GrantFrozen
			if hasCredential := after.Handle != ""; hasCredential != (pays && name != "change") {
				t.Errorf("%s a grant that is %s leaves the handle %q", name, from, after.Handle)
			}
		}
	}
	d.clean(t)
	wantError(t, d.change(t, "grt_nobody", func(tx *Tx, _ Credential) error { return tx.RevokeGrant("grt_nobody") }), ErrUnknownID)
}

func TestOfferGrant(t *testing.T) {
	d := newDesk(t)
	for note, test := range map[string]struct {
		bend func(*Grant)
		want error
	}{
		"an account that is not there":   {func(g *Grant) { g.Account = "acc_nobody" }, ErrUnknownID},
		"another currency":               {func(g *Grant) { g.Terms.Currency = "USD" }, ErrInvalid},
		"the owner as delegate":          {func(g *Grant) { g.Delegate = anna().Owner }, ErrInvalid},
		"the owner as agent":             {func(g *Grant) { g.Delegate = anna().Owner; g.Delegate.Kind = "agent" }, ErrInvalid},
		"a delegate who acts for others": {func(g *Grant) { g.Delegate.OnBehalfOf = "cara" }, ErrInvalid},
		"no delegation":                  {func(g *Grant) { g.Terms.Delegation = "" }, ErrInvalid},
		"no limit":                       {func(g *Grant) { g.Terms.Limits = nil }, ErrInvalid},
		"no id":                          {func(g *Grant) { g.ID = "" }, ErrInvalid},
	} {
		g := newGrant("grt_1", grantTerms(total))
		test.bend(&g)
		if err := d.offer(g); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", note, err, test.want)
		}
	}
	g := newGrant("grt_1", grantTerms(total))
	g.State, g.Owner, g.AcceptedAtNanos, g.Handle = GrantActive, ben, 5, "0123456789"
	if err := d.offer(g); err != nil {
		t.Fatal(err)
	}
	want := newGrant("grt_1", grantTerms(total))
	want.Owner, want.State, want.OfferedAtNanos, want.ChangedAtNanos = anna().Owner, GrantOffered, d.now, d.now
	if got := d.grant(t, "grt_1"); !reflect.DeepEqual(got, want) {
		t.Errorf("offered %+v, want %+v", got, want)
	}
	wantError(t, d.offer(newGrant("grt_1", grantTerms(total))), ErrInvalid)
	partial := newGrant("grt_2", grantTerms(total))
	partial.Terms.Delegation = DelegationPartial
	if err := d.offer(partial); err != nil || d.grant(t, "grt_2").Terms.Delegation != DelegationPartial {
		t.Errorf("partial delegation: %v", err)
	}
	d.clean(t)
}

// TestDelegatesAreBounded: of callers who offer at once, as many win as there is
// room for.
func TestDelegatesAreBounded(t *testing.T) {
	d := newDesk(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	offered := 0
	for range 8 {
		wg.Go(func() {
			for range MaxDelegates/8 + 4 {
				err := d.offer(newGrant(NewID("grt"), grantTerms(total)))
				mu.Lock()
				if err == nil {
					offered++
				} else if !errors.Is(err, ErrTooManyDelegates) {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if offered != MaxDelegates {
		t.Errorf("%d grants are open, want exactly %d", offered, MaxDelegates)
	}
	var open []string
	d.read(t, func(s Snapshot) error {
		delegates, err := s.Delegates("acc_anna")
		open = delegates.Open
		return err
	})
	if err := d.change(t, open[7], func(tx *Tx, _ Credential) error { return tx.DeclineGrant(open[7]) }); err != nil {
		t.Fatal(err)
	}
	if err := d.offer(newGrant("grt_last", grantTerms(total))); err != nil {
		t.Error(err)
	}
	d.clean(t)
}

// TestTwoOffersForOnePlace: who counts the delegates under the lock lets one of
// two offers win.
func TestTwoOffersForOnePlace(t *testing.T) {
	d := newDesk(t)
	errFull := errors.New("full")
	for round := range 20 {
		results := make([]error, 2)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				g := newGrant(NewID("grt"), grantTerms(total))
				results[i] = d.do(OfferRefs(g), func(tx *Tx) error {
					if delegates, err := tx.Delegates("acc_anna"); err != nil || len(delegates.Open) > round {
						return orElse(err, errFull)
					}
					return tx.OfferGrant(g)
				})
			})
		}
		wg.Wait()
		if (results[0] == nil) == (results[1] == nil) || !errors.Is(errors.Join(results...), errFull) {
			t.Fatalf("two offers for one place: %v", results)
		}
	}
	d.clean(t)
}

func TestGrantLists(t *testing.T) {
	d := newDesk(t)
	cara := Identity{Kind: "user", Issuer: "https://id.example", Subject: "cara"}
	for i := range 7 {
		g := newGrant(fmt.Sprintf("grt_%d", i), grantTerms(total))
		if i == 3 {
			g.Delegate = cara
		}
		if err := d.offer(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.change(t, "grt_5", func(tx *Tx, _ Credential) error { return tx.DeclineGrant("grt_5") }); err != nil {
		t.Fatal(err)
	}
	d.read(t, func(s Snapshot) error {
		for note, list := range map[string]struct {
			page func(after string, most int) ([]Grant, string, error)
			want []string
		}{
			"all":            {s.Grants, []string{"grt_0", "grt_1", "grt_2", "grt_3", "grt_4", "grt_5", "grt_6"}},
			"from anna":      {func(a string, m int) ([]Grant, string, error) { return s.GrantsFrom("acc_anna", a, m) }, []string{"grt_0", "grt_1", "grt_2", "grt_3", "grt_4", "grt_5", "grt_6"}},
			"to ben":         {func(a string, m int) ([]Grant, string, error) { return s.GrantsOf(ben, a, m) }, []string{"grt_0", "grt_1", "grt_2", "grt_4", "grt_5", "grt_6"}},
			"to cara":        {func(a string, m int) ([]Grant, string, error) { return s.GrantsOf(cara, a, m) }, []string{"grt_3"}},
			"from acc_ann":   {func(a string, m int) ([]Grant, string, error) { return s.GrantsFrom("acc_ann", a, m) }, nil},
			"to anna":        {func(a string, m int) ([]Grant, string, error) { return s.GrantsOf(anna().Owner, a, m) }, nil},
			"all after five": {func(a string, m int) ([]Grant, string, error) { return s.Grants(max(a, "grt_5"), m) }, []string{"grt_6"}},
		} {
			for _, most := range []int{1, 3, len(list.want), 1000, 0} {
				var got []string
				after := ""
				for pages := 0; ; pages++ {
					grants, next, err := list.page(after, most)
					if err != nil || len(grants) > max(1, most) || pages > 10 {
						t.Fatalf("%s by %d: %d grants, %v", note, most, len(grants), err)
					}
					for _, g := range grants {
						got = append(got, g.ID)
					}
					if after = next; next == "" {
						break
					}
				}
				if !slices.Equal(got, list.want) {
					t.Errorf("%s by %d: %v, want %v", note, most, got, list.want)
				}
			}
		}
		return nil
	})
}

// TestChangeGrant: what may change, what may not, and what a raise leaves behind.
// While a grant cools, a change does not loosen that; afterwards it is free.
func TestChangeCooling(t *testing.T) {
	d := newDesk(t)
	cooling := Cooling{Mode: ModeFirst, Seconds: 60, MaxAmountMinor: 100}
	terms := grantTerms(total)
	terms.Cooling = cooling
	d.accepted(t, "grt_1", terms)
	accepted := d.grant(t, "grt_1").AcceptedAtNanos
	change := func(c Cooling) error {
		terms := grantTerms(total)
		terms.Cooling = c
		return d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", terms) })
	}
	looser := []Cooling{{Mode: ModeNone}, {Mode: ModeFirst, Seconds: 59, MaxAmountMinor: 100}, {Mode: ModeFirst, Seconds: 60, MaxAmountMinor: 101}}
	d.now = accepted + 60*nanosPerSecond - 1
	for _, c := range looser {
		if err := change(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Cooling{cooling, {Mode: ModeFirst, Seconds: 61, MaxAmountMinor: 99}, {Mode: ModeFirst, Seconds: 61, MaxAmountMinor: 99}} {
		if err := change(c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	d.now = accepted + 61*nanosPerSecond
	if err := change(looser[0]); err != nil {
		t.Errorf("once it has cooled: %v", err)
	}
}

func TestChangeGrant(t *testing.T) {
	d := newDesk(t)
	monthly := Limit{Name: "monthly", MaxAmountMinor: 500, MaxCount: 5, Period: Period{Kind: Month, Alignment: ByCalendar, Zone: "UTC"}}
	d.accepted(t, "grt_1", grantTerms(total, monthly))
	change := func(bend func(*Terms)) error {
		terms := grantTerms(total, monthly)
		bend(&terms)
		return d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", terms) })
	}
	for note, bend := range map[string]func(*Terms){
		"currency":               func(t *Terms) { t.Currency = "USD" },
		"period of a limit":      func(t *Terms) { t.Limits[1].Period.Kind = Year },
		"zone of a limit":        func(t *Terms) { t.Limits[1].Period.Zone = "Europe/Berlin" },
		"alignment of a limit":   func(t *Terms) { t.Limits[1].Period.Alignment = ByConsent },
		"a lifetime that slides": func(t *Terms) { t.Limits[0].Period = Period{Kind: Sliding, WindowSeconds: 60} },
		"no limit at all":        func(t *Terms) { t.Limits = nil },
	} {
		if err := change(bend); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	if g := d.grant(t, "grt_1"); g.Handle == "" || len(g.Raises) != 0 {
		t.Errorf("refused changes left %+v", g)
	}
	for note, test := range map[string]struct {
		bend  func(*Terms)
		raise bool
	}{
		"nothing":                 {func(*Terms) {}, false},
		"each to be approved":     {func(t *Terms) { t.Delegation = DelegationPartial }, false},
		"less per payment":        {func(t *Terms) { t.MaxPaymentMinor = 999 }, false},
		"more per payment":        {func(t *Terms) { t.MaxPaymentMinor = 1001 }, true},
		"less in a month":         {func(t *Terms) { t.Limits[1].MaxAmountMinor = 1 }, false},
		"more in a month":         {func(t *Terms) { t.Limits[1].MaxAmountMinor = 501 }, true},
		"more payments":           {func(t *Terms) { t.Limits[1].MaxCount = 6 }, true},
		"any number of payments":  {func(t *Terms) { t.Limits[1].MaxCount = 0 }, true},
		"one limit less":          {func(t *Terms) { t.Limits = t.Limits[:1] }, true},
		"one limit more":          {func(t *Terms) { t.Limits = append(t.Limits, Limit{Name: "n", MaxCount: 1}) }, false},
		"a bound more":            {func(t *Terms) { t.Limits[0].MaxCount = 1 }, false},
		"filters, dates, refunds": {func(t *Terms) { t.Countries = Filter{ModeOnly, []string{"DE"}}; t.RefundRestores = true }, false},
	} {
		id := NewID("grt")
		d.accepted(t, id, grantTerms(total, monthly))
		d.now += hour
		terms := grantTerms(total, monthly)
		test.bend(&terms)
		if err := d.change(t, id, func(tx *Tx, _ Credential) error { return tx.ChangeGrant(id, terms) }); err != nil {
			t.Fatal(err)
		}
		g := d.grant(t, id)
		var want []Raise
		if test.raise {
			want = []Raise{{d.now, 1000, []Limit{total, monthly}, DelegationFull}}
		}
		if !reflect.DeepEqual(g.Raises, want) || g.Handle != "" || g.Terms.MaxPaymentMinor != terms.MaxPaymentMinor {
			t.Errorf("%s: raises %+v, want %+v; %+v", note, g.Raises, want, g)
		}
	}
	// Without approvals more is allowed, whatever the money; with them again, less.
	partial, full := grantTerms(total), grantTerms(total)
	partial.Delegation, full.MaxPaymentMinor = DelegationPartial, 1
	d.accepted(t, "grt_partial", partial)
	for _, terms := range []Terms{full, partial} {
		if err := d.change(t, "grt_partial", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_partial", terms) }); err != nil {
			t.Fatal(err)
		}
	}
	wantRaises := []Raise{{d.now, 1000, []Limit{total}, DelegationPartial}, {d.now, 1, []Limit{total}, DelegationFull}} // the second for the money
	if g := d.grant(t, "grt_partial"); !reflect.DeepEqual(g.Raises, wantRaises) {
		t.Errorf("raises %+v, want %+v", g.Raises, wantRaises)
	}
	// Before anybody accepted, nobody was held to the old terms.
	if err := d.offer(newGrant("grt_2", grantTerms(total))); err != nil {
		t.Fatal(err)
	}
	raised := grantTerms(total)
	raised.MaxPaymentMinor = 2000
	if err := d.change(t, "grt_2", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_2", raised) }); err != nil || d.grant(t, "grt_2").Raises != nil {
		t.Errorf("raised before acceptance: %v, %+v", err, d.grant(t, "grt_2").Raises)
	}
	d.clean(t)
}

// TestRaisesAreBounded: the oldest is folded into the next so that no bound that
// held gets looser or younger.
func TestRaisesAreBounded(t *testing.T) {
	d := newDesk(t)
	approved := grantTerms(Limit{Name: "few", MaxCount: 3, Period: Period{Kind: Lifetime}}, total)
	approved.Delegation = DelegationPartial
	d.accepted(t, "grt_1", approved)
	raise := func(terms Terms) {
		t.Helper()
		d.now += hour
		if err := d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", terms) }); err != nil {
			t.Fatal(err)
		}
	}
	first := d.now
	for i := range int64(maxRaises + 1) { // the first removes a limit, and the approvals
		terms := grantTerms(total)
		terms.MaxPaymentMinor = 1001 + i
		raise(terms)
	}
	raises := d.grant(t, "grt_1").Raises
	if len(raises) != maxRaises {
		t.Fatalf("%d raises", len(raises))
	}
	folded := Raise{first + 2*hour, 1000, []Limit{total, {Name: "few", MaxCount: 3, Period: Period{Kind: Lifetime}}}, DelegationPartial}
	if !reflect.DeepEqual(raises[0], folded) {
		t.Errorf("the oldest is %+v, want %+v", raises[0], folded)
	}
	if last := raises[maxRaises-1]; last.MaxPaymentMinor != 1008 || last.AtNanos != d.now || last.Delegation != DelegationFull {
		t.Errorf("the newest is %+v", last)
	}
}

// TestRenamedLimitsAreBounded: who gives limits new names again and again, of which none
// may be forgotten, is refused in the end, and what stops the grant never is.
func TestRenamedLimitsAreBounded(t *testing.T) {
	d := newDesk(t)
	terms := func(n int) Terms {
		var limits []Limit
		for i := range maxLimits {
			limits = append(limits, Limit{Name: fmt.Sprintf("limit_%d_%d", n, i), MaxAmountMinor: 1000, Period: Period{Kind: Lifetime}})
		}
		return grantTerms(limits...)
	}
	d.accepted(t, "grt_1", terms(0))
	change := func(n int) error {
		return d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.ChangeGrant("grt_1", terms(n)) })
	}
	last := maxRaises + maxRaisedLimits/maxLimits - 1
	for n := 1; n <= last; n++ {
		if err := change(n); err != nil {
			t.Fatalf("change %d: %v", n, err)
		}
	}
	if oldest := d.grant(t, "grt_1").Raises[0]; len(oldest.Limits) != maxRaisedLimits {
		t.Errorf("the oldest raise has %d limits", len(oldest.Limits))
	}
	wantError(t, change(last+1), ErrInvalid)
	if err := change(last); err != nil {
		t.Errorf("a change that raises nothing: %v", err)
	}
	if err := d.change(t, "grt_1", func(tx *Tx, _ Credential) error { return tx.RevokeGrant("grt_1") }); err != nil {
		t.Error(err)
	}
	d.clean(t)
}

func TestCredentials(t *testing.T) {
	d := newDesk(t)
	g := d.accepted(t, "grt_1", grantTerms(total))
	on := func(handle string, fn func(*Tx) error) error {
		return d.do([]kv.Ref{CredentialRef(handle, kv.Exclusive)}, fn)
	}
	fetch := func(handle, key string) error {
		return on(handle, func(tx *Tx) error { return tx.MarkParametersFetched(handle, key) })
	}
	use := func(handle string) error { return on(handle, func(tx *Tx) error { return tx.MarkFirstUsed(handle) }) }

	wantError(t, use(g.Handle), ErrState)
	wantError(t, fetch(g.Handle, ""), ErrInvalid)
	wantError(t, fetch("9999999999", "k"), ErrUnknownID)
	for _, key := range []string{"k", "k"} { // the first answer may have been lost
		if err := fetch(g.Handle, key); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, fetch(g.Handle, "other"), ErrUsed)
	for range 2 {
		if err := use(g.Handle); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, fetch(g.Handle, "k"), ErrUsed)

	// A handle is given once, whatever became of it.
	again := d.credential()
	again.Handle = g.Handle
	issue := func(tx *Tx) error { return tx.IssueCredential("grt_1", again) }
	wantError(t, d.do(GrantRefs(g), issue), ErrUsed)
	if err := d.change(t, "grt_1", func(tx *Tx, c Credential) error { return tx.IssueCredential("grt_1", c) }); err != nil {
		t.Fatal(err)
	}
	wantError(t, fetch(g.Handle, "k"), ErrState)
	wantError(t, use(g.Handle), ErrState)
	reissued := d.grant(t, "grt_1")
	d.read(t, func(s Snapshot) error {
		old, _, err := s.Credential(g.Handle)
		current, ok, err2 := s.Credential(reissued.Handle)
		if !old.Ended || !ok || current.Ended || current.Grant != "grt_1" || current.IssuedAtNanos != d.now || current.FetchedBy != "" {
			t.Errorf("after a reissue: %+v and %+v", old, current)
		}
		return errors.Join(err, err2)
	})
	for note, bend := range map[string]func(*Credential){
		"short handle":      func(c *Credential) { c.Handle = "123456789" },
		"letters in it":     func(c *Credential) { c.Handle = "12345678a0" },
		"no secret":         func(c *Credential) { c.Sealed = nil },
		"codes of 5 digits": func(c *Credential) { c.Digits = 5 },
		"an odd algorithm":  func(c *Credential) { c.Algorithm = "MD5" },
		"a code a second":   func(c *Credential) { c.PeriodSeconds = 1 },
	} {
		c := d.credential()
		bend(&c)
		refs := append(GrantRefs(reissued), CredentialRef(c.Handle, kv.Exclusive))
		if err := d.do(refs, func(tx *Tx) error { return tx.IssueCredential("grt_1", c) }); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", note, err)
		}
	}
	d.clean(t)
}
