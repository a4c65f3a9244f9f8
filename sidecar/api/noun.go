package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// OnlyNew is in the input of what writes a noun (RFC 9110, 13.1.2).
type OnlyNew struct {
	IfNoneMatch string `header:"if-none-match" enum:"*" doc:"* writes only what is not there yet, and else answers 412"`
}

var errExists = problem(http.StatusPreconditionFailed, "exists", "It is there already.")

// A Frozen is the answer to what stops payments (a freeze, a revocation, an end), once
// it holds.
type Frozen[T any] struct {
	Now  T                 `json:"now" doc:"what was frozen, as it is now"`
	Open Page[Reservation] `json:"open_reservations" doc:"what was allowed before the freeze and is not settled: a payment service may still take this money. Next goes on with list-reservations"`
}

type frozenOutput[T any] struct{ Body Frozen[T] }

// unlessState makes a change idempotent: what is in the state that a change leads
// to was changed before.
func unlessState(state string, err error) error {
	if wrong, ok := errors.AsType[*authzstore.StateError](err); ok && wrong.State == state {
		return nil
	}
	return err
}

// show reads a noun and makes the view of it that callers get.
func show[Noun, View any](ctx context.Context, c *Control, read func(authzstore.Reader) (Noun, bool, error), view func(authzstore.Reader, Noun, int64) (View, error)) (shown View, err error) {
	now, err := c.now()
	if err != nil {
		return shown, err
	}
	err = c.Store.View(ctx, func(s authzstore.Snapshot) error {
		noun, ok, err := read(s.Reader)
		if err != nil {
			return err
		}
		if !ok {
			return authzstore.ErrUnknownID
		}
		shown, err = view(s.Reader, noun, now.UnixNano())
		return err
	})
	return shown, err
}

// list reads a page of nouns and makes the views of them that callers get.
func list[Noun, View any](ctx context.Context, c *Control, read func(authzstore.Snapshot) ([]Noun, string, error), view func(authzstore.Reader, Noun, int64) (View, error)) (*pageOutput[View], error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	var shown []View
	var next string
	err = c.Store.View(ctx, func(s authzstore.Snapshot) error {
		nouns, after, err := read(s)
		next = after
		for i := 0; err == nil && i < len(nouns); i++ {
			var v View
			v, err = view(s.Reader, nouns[i], now.UnixNano())
			shown = append(shown, v)
		}
		return err
	})
	return newPage(shown, next), err
}

// asIs is the view of a noun that is shown as it is stored.
func asIs[T any](_ authzstore.Reader, noun T, _ int64) (T, error) { return noun, nil }

// maxRounds is how often a change is planned before the caller is told to try
// again.
const maxRounds = 3

// changeFrom makes a change whose refs follow from what is stored: they are planned
// in a snapshot, and planned again where the locks find something else.
func changeFrom[Noun any](ctx context.Context, c *Control, read func(authzstore.Reader) (Noun, bool, error), refs func(Noun) []kv.Ref, change func(*authzstore.Tx, Noun, bool) error) error {
	for range maxRounds {
		var planned Noun
		var there bool
		err := c.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
			planned, there, err = read(s.Reader)
			return err
		})
		if err != nil {
			return err
		}
		err = c.change(ctx, refs(planned), func(tx *authzstore.Tx) error {
			found, still, err := read(tx.Reader)
			if err != nil {
				return err
			}
			if still != there || !reflect.DeepEqual(found, planned) {
				return errMoved
			}
			return change(tx, found, there)
		})
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

var errMoved = problem(http.StatusServiceUnavailable, "facts_changing", "It is being changed by others. Try again.")

// maxScanned is how many nouns a list with a filter looks at for one page: a page
// may hold fewer than were asked for, or none, and others may follow.
const maxScanned = 2000

// filtered reads a page of the nouns that keep wants.
func filtered[Noun any](after string, most int, page func(after string, most int) ([]Noun, string, error), keep func(Noun) bool) (kept []Noun, next string, err error) {
	next = after
	for scanned := 0; scanned < maxScanned && len(kept) < most; {
		var nouns []Noun
		if nouns, next, err = page(next, most-len(kept)); err != nil {
			return nil, "", err
		}
		for _, n := range nouns {
			if keep(n) {
				kept = append(kept, n)
			}
		}
		if scanned += len(nouns); next == "" {
			break
		}
	}
	return kept, next, nil
}
