package envoy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies/policiestest"
	countersign "github.com/countersign/countersign/sidecar"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// What tests do with the sidecar beside paying: as a backend, by the control API; and
// as the payment service, which reads what was signed.

// backend is a call of the control API that must be done; what it shows is read into
// shown.
func (f *family) backend(t *testing.T, method, path string, body, shown any) {
	t.Helper()
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://control"+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(filepath.Join(f.dir, countersign.AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(secret)))
	req.Header.Set("Content-Type", "application/json")
	status, answer := overSocket(t, f.control, req)
	if status/100 != 2 {
		t.Fatalf("%s %s: status %d, %s", method, path, status, answer)
	}
	if shown == nil {
		return
	}
	if err := json.Unmarshal(answer, shown); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// backendFreezes freezes an account, whoever owns it.
func (f *family) backendFreezes(t *testing.T, account string) {
	t.Helper()
	f.backend(t, http.MethodPost, "/v1/accounts/"+account+"/freeze", nil, nil)
}

// changeTerminal writes a terminal anew, as it is but for what change does.
func (f *family) changeTerminal(t *testing.T, id string, change func(*authzstore.Terminal)) {
	t.Helper()
	var terminal authzstore.Terminal
	f.backend(t, http.MethodGet, "/v1/terminals/"+id, nil, &terminal)
	change(&terminal)
	f.bind(t, terminal)
}

func orNone(texts []string) []string { return append([]string{}, texts...) }

func inState(state authzstore.TerminalState) func(*authzstore.Terminal) {
	return func(t *authzstore.Terminal) { t.State = state }
}

// rebind binds a terminal anew, a moment later.
func (f *family) rebind(t *testing.T, id string) {
	t.Helper()
	f.changeTerminal(t, id, inState(authzstore.TerminalUnbound))
	f.clock.move(1)
	f.changeTerminal(t, id, inState(authzstore.TerminalBound))
}

// spent is what an account has paid and what of it is not settled, in minor units, and
// how many payments that were.
func (f *family) spent(t *testing.T, account string) (minor, payments int64) {
	t.Helper()
	var shown struct {
		Usage struct {
			Pending int64 `json:"pending_minor"`
			Posted  int64 `json:"posted_minor"`
			Count   int64
		}
	}
	f.backend(t, http.MethodGet, "/v1/accounts/"+account, nil, &shown)
	return shown.Usage.Pending + shown.Usage.Posted, shown.Usage.Count
}

// verified reads the token of a call that reached the payment service, as it would.
func (f *family) verified(t *testing.T, call received) signed.Claims {
	t.Helper()
	var store struct {
		ID string `json:"store"`
	}
	f.backend(t, http.MethodGet, "/v1/store", nil, &store)
	verifier, err := signed.NewVerifier(store.ID, "payments.example", f.key)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(call.Header.Get(signed.HeaderToken))
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// lastPaid is the call that reached the payment service last.
func lastPaid(t *testing.T) received {
	t.Helper()
	calls := paid()
	if len(calls) == 0 {
		t.Fatal("nothing reached the payment service")
	}
	return calls[len(calls)-1]
}

// hears holds a refusal to its status, to what the caller hears and to what stands on
// record, as told writes them; a nil record has what the caller hears. Nothing of it
// reaches the payment service.
func (f *family) hears(t *testing.T, resp response, status int, public, record []string) {
	t.Helper()
	if got := publicOf(t, resp); resp.StatusCode != status || !slices.Equal(got, public) {
		t.Errorf("status %d, the caller hears %q; want %d, %q", resp.StatusCode, got, status, public)
	}
	if record == nil {
		record = public
	}
	if got := told(f.records.of(t, resp).Reasons); !slices.Equal(got, record) {
		t.Errorf("the record has %q, want %q", got, record)
	}
	refused := resp.Header.Get("Countersign-Decision-Id")
	for _, call := range paid() {
		if call.Header.Get("Countersign-Decision-Id") == refused {
			t.Errorf("what was refused reached the payment service: %s %s", call.Method, call.URL)
		}
	}
}

// onlySystems returns the built-in bundle with these systems alone. What is not built in
// is judged before it serves, system by system.
func onlySystems(t *testing.T, systems ...string) fstest.MapFS {
	t.Helper()
	files := policiestest.All(t)
	for file := range files {
		if parts := strings.Split(file, "/"); parts[0] == "systems" && !slices.Contains(systems, parts[1]) {
			delete(files, file)
		}
	}
	return files
}

// replace replaces a text that stands in a file once.
func replace(t *testing.T, files fstest.MapFS, name, before, after string) {
	t.Helper()
	text := string(files[name].Data)
	if strings.Count(text, before) != 1 {
		t.Fatalf("%s has not once %q", name, before)
	}
	files[name].Data = []byte(strings.Replace(text, before, after, 1))
}
