package authzstore

// holderSums are what one account or grant has spent: by its reservations, and as
// stored.
type holderSums struct {
	total   sums
	periods map[Counted]sums
	window  map[WindowEntry]int // how many there are of each

	stored       Usage
	writtenNanos int64 // of stored
}

func (v *verifier) sumsOf(holder string) *holderSums {
	h := v.usage[holder]
	if h == nil {
		h = &holderSums{periods: map[Counted]sums{}, window: map[WindowEntry]int{}}
		v.usage[holder] = h
	}
	return h
}

func (v *verifier) addReservation(r Reservation) {
	if r.Open() {
		mark := openMark{}
		if r.State == ReservationPending {
			mark.ExpiresAtNanos = r.ExpiresAtNanos
		}
		v.index[openKey(r.Account, r.ID)] = mark
	}
	for _, holder := range r.holders() {
		h, s := v.sumsOf(holder), r.sums(holder)
		h.total = h.total.plus(s)
		for _, c := range r.Counted {
			switch {
			case c.Holder != holder:
			case c.Limit != "":
				h.periods[c] = h.periods[c].plus(s)
			case s.count > 0:
				h.window[c.entry(s)]++
			}
		}
	}
	for _, c := range r.Counted {
		if c.Holder != r.Account && (r.Grant == "" || c.Holder != r.Grant) {
			v.report(reservationPrefix+r.ID, "a reservation counts for its account and its grant", "one for %s", c.Holder)
		}
	}
	if r.Grant != "" {
		// Keys come in order, reservations after grants.
		if g, ok := v.grants[r.Grant]; !ok || g.Account != r.Account {
			v.report(reservationPrefix+r.ID, "a reservation is by a grant from its account", "%s from %q", r.Grant, g.Account)
		}
	}
}

// checkSums compares each holder's stored usage with its reservations.
func (v *verifier) checkSums() {
	for holder, h := range v.usage {
		wrong := func(format string, args ...any) {
			v.report(usagePrefix+holder, "usage is the sum of the reservations", format, args...)
		}
		if got := h.stored.sums(); got != h.total {
			wrong("%+v, the reservations come to %+v", got, h.total)
		}
		h.checkPeriods(holder, wrong)
		h.checkWindow(wrong)
	}
}

// checkPeriods misses no period that ended before the usage was written: such are
// dropped.
func (h *holderSums) checkPeriods(holder string, wrong func(string, ...any)) {
	for _, p := range h.stored.Periods {
		c := Counted{holder, p.Limit, p.StartsAtNanos, p.EndsAtNanos}
		if want, counted := h.periods[c]; !counted || p.sums() != want {
			wrong("%+v under %s from %d, the reservations come to %+v", p.sums(), p.Limit, p.StartsAtNanos, want)
		}
		delete(h.periods, c)
	}
	for c, want := range h.periods {
		if c.EndsAtNanos > h.writtenNanos {
			wrong("nothing under %s from %d, the reservations come to %+v", c.Limit, c.StartsAtNanos, want)
		}
	}
}

func (h *holderSums) checkWindow(wrong func(string, ...any)) {
	for _, e := range h.stored.Window {
		if h.window[e]--; h.window[e] < 0 {
			wrong("a window entry of %d from %d without a reservation", e.Minor, e.AtNanos)
		}
	}
	for e, missing := range h.window {
		if missing > 0 && e.leavesNanos() > h.writtenNanos {
			wrong("no window entry for %d from %d", e.Minor, e.AtNanos)
		}
	}
}
