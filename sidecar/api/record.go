package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A Record is a decision or a change, with everything that it wrote.
type Record struct {
	ID      string              `json:"id" doc:"dec_… of a decision, chg_… of a change"`
	Number  uint64              `json:"number,omitempty" doc:"in the order in which they were made; in lists alone"`
	Actor   authzstore.Identity `json:"actor" doc:"who called, or who made the change: for a token of this API, its ID and name"`
	AtNanos int64               `json:"at_ns"`
	Changes []Change            `json:"changes"`
	Detail  any                 `json:"detail,omitempty" doc:"of a decision: what the policy was asked and said"`
}

// A Change is one stored value before and after.
type Change struct {
	Key    string `json:"key"`
	Before any    `json:"before,omitempty" doc:"absent where there was none"`
	After  any    `json:"after,omitempty" doc:"absent where there is none"`
}

func newRecord(number uint64, stored authzstore.Record) (Record, error) {
	record := Record{ID: stored.ID, Number: number, Actor: stored.Actor, AtNanos: stored.AtNanos, Changes: []Change{}}
	if len(stored.Detail) > 0 {
		record.Detail = json.RawMessage(stored.Detail)
	}
	for _, c := range stored.Changes {
		change := Change{Key: c.Key}
		var err error
		if c.Before != nil {
			change.Before, err = authzstore.Noun(c.Key, c.Before)
		}
		if err == nil && c.After != nil {
			change.After, err = authzstore.Noun(c.Key, c.After)
		}
		if err != nil {
			return Record{}, err
		}
		record.Changes = append(record.Changes, change)
	}
	return record, nil
}

// A RecordPath is in the path of what is about one.
type RecordPath struct {
	ID string `path:"id" pattern:"^(dec|chg)_[A-Za-z0-9_-]+$" patternDescription:"dec_ or chg_, and letters, digits, _ or -" maxLength:"64"`
}

type recordOutput struct{ Body Record }

// A RecordQuery says which records a list has.
type RecordQuery struct {
	PageQuery
	Kind string `query:"kind" enum:"decision,change,any" default:"any"`
}

var (
	errCursor = problem(http.StatusUnprocessableEntity, "request_invalid", "after is not what a page said.")
	errPruned = problem(http.StatusGone, "pruned", "The record is no longer kept.")
	errFull   = errors.New("the page is full")
)

func (c *Control) registerRecords() {
	register(c, "list-records", func(ctx context.Context, in *RecordQuery) (*pageOutput[Record], error) {
		var records []Record
		next := ""
		err := c.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
			records, next, err = in.read(s)
			return err
		})
		return newPage(records, next), err
	})
	register(c, "get-record", func(ctx context.Context, in *RecordPath) (*recordOutput, error) {
		var record Record
		err := c.Store.View(ctx, func(s authzstore.Snapshot) error {
			stored, ok, err := s.Record(in.ID)
			switch {
			case errors.Is(err, kv.ErrPruned):
				return errPruned
			case err != nil || !ok:
				return orUnknown(err)
			}
			record, err = newRecord(0, stored)
			return err
		})
		return &recordOutput{record}, err
	})
}

// read reads a page. It looks at no more than maxScanned records.
func (q RecordQuery) read(s authzstore.Snapshot) (records []Record, next string, err error) {
	after := uint64(0)
	if q.After != "" {
		if after, err = strconv.ParseUint(q.After, 10, 64); err != nil || after == math.MaxUint64 {
			return nil, "", errCursor
		}
	}
	prefix := map[string]string{"decision": "dec_", "change": "chg_"}[q.Kind]
	last, scanned := after, 0
	err = s.Records(after+1, func(number uint64, stored authzstore.Record) error {
		if len(records) == q.Limit || scanned == maxScanned {
			next = strconv.FormatUint(last, 10)
			return errFull
		}
		scanned++
		last = number
		if !strings.HasPrefix(stored.ID, prefix) {
			return nil
		}
		record, err := newRecord(number, stored)
		records = append(records, record)
		return err
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	return records, next, err
}
