package authzstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// A Problem is an invariant that the store's content breaks.
type Problem struct {
	Key       string `json:"key"`       // of the noun, or the record's ID
	Invariant string `json:"invariant"` // what should hold
	Found     string `json:"found"`
}

func (p Problem) String() string { return p.Key + ": " + p.Invariant + "; found " + p.Found }

// Verify checks every stored noun, and the invariants between them, on one
// snapshot. It reads everything. The files and the chain under it are
// kv.Store.Verify's to check.
func (s *Store) Verify(ctx context.Context) ([]Problem, error) {
	v := verifier{
		last:     map[string]lastWrite{},
		reserved: map[string]string{},
		usage:    map[string]*holderSums{},
		grants:   map[string]Grant{},
		handles:  map[string]Credential{},
		open:     map[string]Delegates{},
		index:    map[string]any{},
		indexed:  map[string]any{},
		asked:    newAsked(),
	}
	err := s.View(ctx, func(snap Snapshot) error {
		if err := v.records(snap); err != nil {
			return err
		}
		if err := v.nouns(snap); err != nil {
			return err
		}
		for reservation, key := range v.reserved {
			v.report(key, "an allowed call has its reservation", "no %s", reservation)
		}
		v.checkSums()
		v.checkIndexes()
		v.checkGrants()
		v.checkAsked()
		return v.checkMessages(snap)
	})
	if err == nil && v.pruned {
		err = v.gapIsPruned(ctx, s)
	}
	return v.problems, err
}

// gapIsPruned tells a gap that retention made from records that are lost: after
// pruning, nothing before the gap is there any more.
func (v *verifier) gapIsPruned(ctx context.Context, s *Store) error {
	return s.View(ctx, func(snap Snapshot) error {
		found := errors.New("found")
		err := snap.Records(1, func(number uint64, _ Record) error {
			if number < v.gap.from {
				v.report(v.gap.record, "records are numbered without gaps", "number %d after %d", v.gap.at, v.gap.from-1)
			}
			return found // the first one tells
		})
		if errors.Is(err, found) {
			return nil
		}
		return err
	})
}

type verifier struct {
	problems []Problem
	last     map[string]lastWrite // key → the last record that wrote it
	pruned   bool                 // the first records are gone
	gap      gap                  // the last one between the numbers of records
	reserved map[string]string    // reservation → the keyed call that was allowed with it

	usage   map[string]*holderSums // holder → its sums
	grants  map[string]Grant       // ID → grant
	handles map[string]Credential  // handle → credential
	open    map[string]Delegates   // account → its open grants as stored
	index   map[string]any         // index records that should exist
	indexed map[string]any         // index records that do

	asked
}

// A gap lies between two records: numbers from and later are missing, up to the
// record at.
type gap struct {
	record   string
	from, at uint64
}

type lastWrite struct {
	record string
	digest [sha256.Size]byte // of the value after it
	exists bool
}

func (v *verifier) report(key, invariant, format string, args ...any) {
	v.problems = append(v.problems, Problem{key, invariant, fmt.Sprintf(format, args...)})
}

// records reads every record: each one's changes start from what the one before
// left.
func (v *verifier) records(snap Snapshot) error {
	next := uint64(1)
	return snap.Records(1, func(number uint64, r Record) error {
		if number != next {
			// Records go oldest first, perhaps while this one looks: what was read
			// so far may be gone, too, and says nothing of what follows.
			v.pruned, v.gap = true, gap{r.ID, next, number}
			clear(v.last)
		}
		next = number + 1
		for _, c := range r.Changes {
			before, seen := v.last[c.Key]
			if seen && (before.exists != (c.Before != nil) || before.exists && before.digest != sha256.Sum256(c.Before)) {
				v.report(c.Key, "every change belongs to a record", "%s starts from a value that %s did not leave", r.ID, before.record)
			}
			if !seen && !v.pruned && c.Before != nil {
				v.report(c.Key, "every change belongs to a record", "%s starts from a value that no record left", r.ID)
			}
			v.last[c.Key] = lastWrite{r.ID, sha256.Sum256(c.After), c.After != nil}
		}
		return nil
	})
}

// nouns reads every stored value, and compares it with the last record of it.
func (v *verifier) nouns(snap Snapshot) error {
	err := snap.snap.Scan("", "", func(key string, val []byte) error {
		switch last, seen := v.last[key]; {
		case seen && (!last.exists || last.digest != sha256.Sum256(val)):
			v.report(key, "every change belongs to a record", "a value that its last record, %s, did not leave", last.record)
		case !seen && !v.pruned:
			v.report(key, "every change belongs to a record", "a value without a record")
		}
		delete(v.last, key)
		err := v.noun(key, val)
		if errors.Is(err, ErrDamaged) {
			v.report(key, "every stored value can be read and keeps its rules", "%v", err)
			return nil
		}
		return err
	})
	for key, last := range v.last {
		if last.exists {
			v.report(key, "nothing acknowledged is lost", "no value, though %s left one", last.record)
		}
	}
	return err
}

// noun checks one value by itself, and adds it to the sums.
func (v *verifier) noun(key string, val []byte) error {
	noun, err := Noun(key, val)
	if err != nil {
		return err
	}
	written, err := writtenAt(key, val)
	if err != nil {
		return err
	}
	v.checkKey(key, noun)
	v.addAsked(key, noun, written)
	switch noun := noun.(type) {
	case Reservation:
		v.addReservation(noun)
		delete(v.reserved, noun.ID)
	case KeyedCall:
		// Keys come in order, reservations after keyed calls.
		if noun.ReservationID != "" {
			v.reserved[noun.ReservationID] = key
		}
	case Usage:
		sums := v.sumsOf(strings.TrimPrefix(key, usagePrefix))
		sums.stored, sums.writtenNanos = noun, written
	case Grant:
		v.addGrant(noun)
	case Credential:
		v.handles[noun.Handle] = noun
	case Delegates:
		v.open[noun.Account] = noun
	case Merchant:
		for _, c := range noun.Channels {
			v.index[merchantOfKey(c.Identity)] = MerchantIdentity{noun.ID, c.Channel}
		}
	case openMark, indexMark, MerchantIdentity, TerminalIdentity:
		v.indexed[key] = noun
	}
	return nil
}

const ownKey = "a noun stands under its own key"

// checkKey misses no noun under the key of another one of its kind.
func (v *verifier) checkKey(key string, noun any) {
	own := key
	switch noun := noun.(type) {
	case Account:
		own = accountPrefix + noun.ID
	case Reservation:
		own = reservationPrefix + noun.ID
	case Grant:
		own = grantPrefix + noun.ID
	case Credential:
		own = credentialPrefix + noun.Handle
	case Delegates:
		own = delegatesPrefix + noun.Account
	case Merchant:
		own = merchantPrefix + noun.ID
	case Terminal:
		own = terminalPrefix + noun.ID
	case AccountTerminals:
		own = accountTerminalsPrefix + noun.Account
	case Challenge:
		own = challengePrefix + noun.ID
	case Initiator:
		own = initiatorKey(noun.Account, noun.Identity)
	case Verification:
		own = verificationPrefix + noun.Account
	case StoredCodes:
		own = storedCodesPrefix + noun.Account
	case Intent:
		own = intentPrefix + noun.ID
	case OpenIntents:
		own = openIntentsPrefix + noun.Account
	case Mailbox:
		own = mailboxPrefix + noun.Terminal
	case Delivery:
		own = deliveryPrefix + noun.Terminal
	}
	if key != own {
		v.report(key, ownKey, "one that belongs under %s", own)
	}
}
