package authzstore

import (
	"context"
	"strings"

	"github.com/countersign/countersign/authzstore/kv"
)

// A TerminalEvent is what became durable of one terminal: a message to it, or a
// change of the terminal itself.
type TerminalEvent struct {
	Terminal string // trm_…
	// Num is the message's number, from 1; 0 for a change, which has no Message.
	Num     uint64
	Message Message
}

// FollowTerminals calls fn for every event after a batch, in order, and waits for
// more until ctx ends or fn fails (kv.Store.Tail).
func (s *Store) FollowTerminals(ctx context.Context, from kv.Pos, fn func(TerminalEvent) error) error {
	return s.kv.Tail(ctx, from, func(b kv.Batch) error {
		for _, unit := range b.Units {
			if err := terminalEvents(unit, fn); err != nil {
				return err
			}
		}
		return nil
	})
}

func terminalEvents(unit kv.Unit, fn func(TerminalEvent) error) error {
	for _, w := range unit.Records {
		id, ok := strings.CutPrefix(w.Key, terminalPrefix)
		if !ok {
			continue
		}
		if err := fn(TerminalEvent{Terminal: id}); err != nil {
			return err
		}
	}
	for _, e := range unit.Entries {
		terminal, ok := strings.CutPrefix(e.Stream, messageStreams)
		if !ok {
			continue
		}
		m, err := readMessage(terminal, e)
		if err == nil {
			err = fn(TerminalEvent{terminal, e.Num, m})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
