package sidecar

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/decide"
)

// gate is a writer that waits until it is opened, and then says err.
type gate struct {
	open  chan struct{}
	err   error
	lines int
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	if g.err != nil {
		return 0, g.err
	}
	g.lines++
	return len(p), nil
}

// TestDecisionLogKeepsNobodyWaiting: a writer that hangs costs records, which are
// counted, and no call waits for it.
func TestDecisionLogKeepsNobodyWaiting(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	var log bytes.Buffer
	l := newDecisionLog(g, slog.New(slog.NewTextHandler(&log, nil)))
	const sent = maxLogged + 100
	for range sent {
		l.record(decide.Record{DecisionID: "dec_1"})
	}
	close(g.open)
	l.close()
	// One record may be with the writer while the others wait.
	if g.lines < maxLogged || g.lines > maxLogged+1 {
		t.Errorf("%d records were written, want the %d that had room", g.lines, maxLogged)
	}
	if !strings.Contains(log.String(), "the decision log lacks records") {
		t.Errorf("nothing warns of the others: %s", &log)
	}
}

func TestDecisionLogWarnsOfAWriterThatFails(t *testing.T) {
	g := &gate{open: make(chan struct{}), err: errors.New("no space left on device")}
	close(g.open)
	var log bytes.Buffer
	l := newDecisionLog(g, slog.New(slog.NewTextHandler(&log, nil)))
	l.record(decide.Record{DecisionID: "dec_1"})
	l.close()
	if !strings.Contains(log.String(), "left_out=1") || !strings.Contains(log.String(), "no space left") {
		t.Errorf("the log says %q", &log)
	}
}
