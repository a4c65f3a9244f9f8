package envoy

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/countersign/countersign/sidecar/outbox"
)

// messages are what the sidecar wrote to its message log, with their codes.
type messages struct{ lockedBuffer }

// to returns the messages of a terminal, once there are so many; the log is written
// behind the answers.
func (m *messages) to(t *testing.T, terminal string, most int) []outbox.Envelope {
	t.Helper()
	var found []outbox.Envelope
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found = m.of(t, terminal); len(found) >= most {
			return found
		}
	}
	t.Fatalf("%d messages to %s, not %d: %s", len(found), terminal, most, m.bytes())
	return nil
}

// of returns the messages of a terminal so far; "" stands for all terminals.
func (m *messages) of(t *testing.T, terminal string) []outbox.Envelope {
	t.Helper()
	var found []outbox.Envelope
	for line := range bytes.Lines(m.bytes()) {
		var e outbox.Envelope
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("message log: %v in %s", err, line)
		}
		if terminal == "" || e.Terminal == terminal {
			found = append(found, e)
		}
	}
	return found
}
