package outbox

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/upstream"
)

// docs/messages.md names every member of a message, every reason of a dead letter and
// every refusal of a stream.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/messages.md")
	must(t, err)
	words := []string{string(Expired), string(Rebound), string(NoCode), "status_…"}
	for _, f := range []failure{badURL, noReceiver, addressRefused, timedOut, badCertificate, unreachable, redirected} {
		words = append(words, string(f))
	}
	for _, r := range []*upstream.Refusal{notBound, sessionExpired, badLastEventID, streamsFull, shuttingDown, clockJumped, storeUnavailable} {
		words = append(words, r.Code)
	}
	for i := range reflect.TypeFor[Envelope]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Envelope]().Field(i).Tag.Get("json"), ",")
		words = append(words, name)
	}
	for _, word := range words {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("docs/messages.md does not explain %s", word)
		}
	}
	_, example, _ := strings.Cut(string(text), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	decoder := json.NewDecoder(strings.NewReader(example))
	decoder.DisallowUnknownFields()
	var e Envelope
	if err := decoder.Decode(&e); err != nil || e.Code == "" || e.Details == nil || e.ExpiresAtNanos == 0 {
		t.Errorf("the example is no message: %v", err)
	}
}
