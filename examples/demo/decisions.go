package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
)

const exportsAtOnce = 4

// exportDecisions writes each decision that the rules were asked for to a directory
// of its own, named for the call, with the command an operator has.
func (w *world) exportDecisions(ctx context.Context) error {
	exports, err := w.listDecisions(ctx)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, exportsAtOnce)
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for id, dir := range exports {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			_, err := w.countersign(ctx, "decision", "export", id, dir)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// listDecisions returns all decisions by their IDs, and the directory of each. All of them
// are those of calls.
func (w *world) listDecisions(ctx context.Context) (map[string]string, error) {
	out, err := w.countersign(ctx, "decision", "list", "--limit", "0", "-o", "json")
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for line := range bytes.Lines(out) {
		var decision struct {
			ID string `json:"decision_id"`
		}
		if err := json.Unmarshal(line, &decision); err != nil {
			return nil, fmt.Errorf("decision list: %w", err)
		}
		number, ok := w.decided[decision.ID]
		if !ok {
			return nil, fmt.Errorf("decision list: %s is no call's", decision.ID)
		}
		exports[decision.ID] = filepath.Join(w.dir, fmt.Sprintf("%03d", number))
	}
	return exports, nil
}
