package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/countersign/countersign/authzstore"
)

// OnlyNew is in the input of what writes a noun (RFC 9110, 13.1.2).
type OnlyNew struct {
	IfNoneMatch string `header:"if-none-match" enum:"*" doc:"* writes only what is not there yet, and else answers 412"`
}

var errExists = problem(http.StatusPreconditionFailed, "exists", "It is there already.")

// A Frozen is the answer to a freeze, once it holds.
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
