package badgerkv

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Of what Badger says, numbers and errors are logged, and neither keys nor values.
func TestBadgerLogHasNoValues(t *testing.T) {
	var log bytes.Buffer
	b := badgerLog{slog.New(slog.NewTextHandler(&log, nil))}
	key := struct{ left []byte }{[]byte("canary")}
	b.Errorf("While running compact def: %+v. Error: %v", key, errors.New("disk full"))
	b.Warningf("Key %x of %q, size %d\n", []byte("canary"), "canary", 17)
	text := log.String()
	for _, want := range []string{
		`detail="While running compact def: [not logged]. Error: disk full"`,
		`detail="Key [not logged] of [not logged], size 17"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}
