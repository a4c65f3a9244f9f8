package sidecar

import (
	"encoding/json"
	"io"
	"log/slog"
	"sync"

	"github.com/countersign/countersign/sidecar/decide"
)

// recorder writes records to w, one JSON document a line.
func recorder(w io.Writer, log *slog.Logger) func(decide.Record) {
	if w == nil {
		return nil
	}
	var mu sync.Mutex
	return func(r decide.Record) {
		line, err := json.Marshal(r)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			log.Error("decision log", "decision_id", r.DecisionID, "error", err)
		}
	}
}
