package sidecar

import (
	"encoding/json"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/sidecar/decide"
)

// Bounds of the decision log.
const (
	maxLogged   = 4096            // records that wait for the writer
	logFlush    = 5 * time.Second // for what waits when the sidecar ends
	logWarnings = time.Minute     // between two warnings about records left out
)

// decisionLog writes records off the path of the calls, one JSON document a line.
// It is for reading, not for money: where the writer does not keep up, records
// are left out and counted, and no call waits.
type decisionLog struct {
	records chan decide.Record
	ended   chan struct{}
	leftOut atomic.Int64 // records, since the start
	log     *slog.Logger
}

func newDecisionLog(w io.Writer, log *slog.Logger) *decisionLog {
	l := &decisionLog{records: make(chan decide.Record, maxLogged), ended: make(chan struct{}), log: log}
	go l.run(w)
	return l
}

// record takes a record, or counts it as left out.
func (l *decisionLog) record(r decide.Record) {
	select {
	case l.records <- r:
	default:
		l.leftOut.Add(1)
	}
}

func (l *decisionLog) run(w io.Writer) {
	defer close(l.ended)
	var warned time.Time
	var told int64 // of leftOut
	for r := range l.records {
		line, err := json.Marshal(r)
		if err == nil {
			_, err = w.Write(append(line, '\n'))
		}
		if err != nil {
			l.leftOut.Add(1)
		}
		if n := l.leftOut.Load(); n > told && time.Since(warned) > logWarnings {
			l.log.Warn("the decision log lacks records", "left_out", n-told, "error", err)
			warned, told = time.Now(), n
		}
	}
}

// close writes what waits, as far as the writer takes it in time. Nobody calls
// record any more.
func (l *decisionLog) close() {
	close(l.records)
	select {
	case <-l.ended:
	case <-time.After(logFlush):
		l.log.Warn("the decision log's writer hangs", "left_out", len(l.records))
	}
}
