package evidence

import "github.com/countersign/countersign/authzstore"

// Complete tells whether the set that is being entered into a challenge is: as many
// entries as there are codes, or the one that is their sum.
func Complete(ch authzstore.Challenge) bool {
	return ch.EntriesWanted() > 0 && len(ch.Entries) >= ch.EntriesWanted()
}

// Judge tells whether a complete set meets the challenge's condition: every code was
// entered, each once, in the order and at the times that are asked for. Times are
// those of arrival at the sidecar; exactly at a bound is within it.
func Judge(ch authzstore.Challenge) bool {
	return ch.Matched() && inOrder(ch) && inTime(ch)
}

// inOrder tells whether the entries are in the order of the condition. An order that
// this program does not know is not met.
func inOrder(ch authzstore.Challenge) bool {
	// follows tells whether entry i may come after the one before it.
	var follows func(i int) bool
	switch ch.Condition.Entry {
	case authzstore.EntryAny, authzstore.EntrySum:
		return true
	case authzstore.EntryTerminals:
		follows = func(i int) bool { return ch.Entries[i-1].Terminal < ch.Entries[i].Terminal }
	case authzstore.EntryAscending:
		follows = func(i int) bool { return ch.Entries[i-1].Rank < ch.Entries[i].Rank }
	case authzstore.EntryDescending:
		follows = func(i int) bool { return ch.Entries[i-1].Rank > ch.Entries[i].Rank }
	default:
		return false
	}
	for i := 1; i < len(ch.Entries); i++ {
		// Where the order counts, entries that were taken in another order than they
		// arrived in, or a clock that stepped back, prove none.
		if !follows(i) || gapNanos(ch, i) < 0 {
			return false
		}
	}
	return true
}

// inTime tells whether the entries arrived when the condition wants them.
func inTime(ch authzstore.Challenge) bool {
	c := ch.Condition
	for i, e := range ch.Entries {
		afterIssue := e.ArrivedNanos - ch.IssuedAtNanos
		if c.WithinNanos > 0 && (afterIssue < 0 || afterIssue > c.WithinNanos) {
			return false
		}
		if i == 0 || c.MinGapNanos == 0 && c.MaxGapNanos == 0 {
			continue
		}
		gap := gapNanos(ch, i)
		if gap < c.MinGapNanos || c.MaxGapNanos > 0 && gap > c.MaxGapNanos {
			return false
		}
	}
	return true
}

// gapNanos is how long after the entry before it entry i arrived.
func gapNanos(ch authzstore.Challenge, i int) int64 {
	return ch.Entries[i].ArrivedNanos - ch.Entries[i-1].ArrivedNanos
}
