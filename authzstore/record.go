package authzstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Cause is why something is written: a decision on a call, or a change by an
// operator.
type Cause struct {
	ID    string // dec_… or chg_…, new and random
	Actor Identity
	// NowNanos is the clock when the call arrived.
	NowNanos int64
}

// A Record says what one cause wrote. Records are never changed; they go only
// when retention says so.
type Record struct {
	ID      string   `cbor:"1,keyasint" json:"id"`
	Actor   Identity `cbor:"2,keyasint" json:"actor"`
	AtNanos int64    `cbor:"3,keyasint" json:"at_ns"`
	Changes []Change `cbor:"4,keyasint,omitempty" json:"changes,omitempty"`
	// Detail is what the cause has to say of itself.
	Detail []byte `cbor:"5,keyasint,omitempty" json:"detail,omitempty"`
}

// A Change is one stored value before and after, as it was stored; nil where
// there was or is none.
type Change struct {
	Key    string `cbor:"1,keyasint" json:"key"`
	Before []byte `cbor:"2,keyasint,omitempty" json:"before,omitempty"`
	After  []byte `cbor:"3,keyasint,omitempty" json:"after,omitempty"`
}

const (
	recordVersion = 1
	recordStream  = "record"
)

func (r Record) check() error { return Cause{r.ID, r.Actor, r.AtNanos}.check() }

func (c Cause) check() error {
	if !isID("dec", c.ID) && !isID("chg", c.ID) {
		return fmt.Errorf("%w: cause %q is neither dec_… nor chg_…", ErrInvalid, c.ID)
	}
	return c.Actor.check()
}

// Record returns the record of a decision or a change, and whether it exists.
// kv.ErrPruned if retention has removed it.
func (s Snapshot) Record(id string) (Record, bool, error) {
	entry, ok, err := s.snap.Record(id)
	if err != nil || !ok || entry.Stream != recordStream {
		return Record{}, false, err
	}
	record, err := readRecord(entry)
	return record, err == nil, err
}

// Records calls fn for every record numbered from and later, in order.
func (s Snapshot) Records(from uint64, fn func(number uint64, r Record) error) error {
	return s.snap.Stream(recordStream, from, func(e kv.Entry) error {
		record, err := readRecord(e)
		if err != nil {
			return err
		}
		return fn(e.Num, record)
	})
}

// LastRecordAt returns the time of the newest record, in nanoseconds since
// 1970-01-01 UTC, and whether there is one. It reads at most one segment of the
// journal.
func (s *Store) LastRecordAt(ctx context.Context) (nanos int64, ok bool, err error) {
	var last kv.Pos
	err = s.View(ctx, func(snap Snapshot) error {
		last = snap.Pos()
		return nil
	})
	if err != nil || last.Seq == 0 {
		return 0, false, err
	}
	found := errors.New("found")
	err = s.kv.Tail(ctx, kv.Pos{Seq: last.Seq - 1}, func(b kv.Batch) error {
		for _, unit := range b.Units {
			for _, entry := range unit.Entries {
				record, isRecord, err := ReadRecord(entry)
				if err != nil {
					return err
				}
				if isRecord {
					nanos, ok = max(nanos, record.AtNanos), true
				}
			}
		}
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return nanos, ok, err
}

// ReadRecord reads a record out of an entry that [kv.Store.Tail] hands out, and
// tells whether the entry is one.
func ReadRecord(e kv.Entry) (Record, bool, error) {
	if e.Stream != recordStream {
		return Record{}, false, nil
	}
	record, err := readRecord(e)
	return record, err == nil, err
}

func readRecord(e kv.Entry) (Record, error) {
	record, _, err := decode[Record]("record "+e.ID, recordVersion, e.Rec)
	return record, err
}
