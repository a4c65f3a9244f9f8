package envoy

import (
	"context"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/outbox"
)

// What the tests of calls that people confirm have in common: tuned bundles, terminals,
// and what is entered.

// A tuning replaces a text in the data of a system.
type tuning struct{ system, before, after string }

// tunedBundle is the built-in bundle with these systems alone, whose data is changed.
func tunedBundle(t *testing.T, systems []string, tunings ...tuning) fstest.MapFS {
	t.Helper()
	files := onlySystems(t, systems...)
	for _, c := range tunings {
		replace(t, files, "systems/"+c.system+"/data.yaml", c.before, c.after)
	}
	return files
}

// overSocket sends a request to what listens on a unix socket.
func overSocket(t *testing.T, socket string, req *http.Request) (status int, body []byte) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := answered(&client, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, []byte(resp.body)
}

// bind writes a terminal through the control API.
func (f *family) bind(t *testing.T, trm authzstore.Terminal) {
	t.Helper()
	f.backend(t, http.MethodPut, "/v1/terminals/"+trm.ID, api.TerminalTerms{
		Account: trm.Account, Identity: trm.Identity, State: trm.State, Number: trm.Number, OS: trm.OS,
		Rights: orNone(trm.Rights), PairedWith: orNone(trm.PairedWith),
	}, nil)
}

// withState is a terminal in another state.
func withState(trm authzstore.Terminal, state authzstore.TerminalState) authzstore.Terminal {
	trm.State = state
	return trm
}

// challengeOf is the challenge that a call waits for.
func challengeOf(resp response) string { return resp.Header.Get("Countersign-Challenge-Id") }

// about returns the message to a terminal that brings the code of a challenge, or asks
// to approve it.
func (f *family) about(t *testing.T, terminal, challenge string) outbox.Envelope {
	t.Helper()
	for n := 1; ; n++ {
		for _, m := range f.messages.to(t, terminal, n) {
			if m.Challenge == challenge {
				return m
			}
		}
	}
}

// Where codes are entered: by the user who made the call, and by a terminal.
const (
	userEntries     = "/countersign/v1/user/challenges/"
	terminalEntries = "/countersign/v1/challenges/"
)

// deposit enters a code. The answer is the same, byte for byte, whatever the code is and
// whoever sends it.
func (f *family) deposit(t *testing.T, subject, route, challenge, code string) {
	t.Helper()
	resp := f.call(t, subject, http.MethodPost, route+challenge+"/entries", map[string]any{"code": code})
	header := resp.Header.Clone()
	for _, its := range []string{"Date", "Countersign-Decision-Id", "X-Envoy-Upstream-Service-Time", "X-Request-Id"} {
		if header.Get(its) == "" {
			t.Errorf("an entry is answered without %s", its)
		}
		header.Del(its)
	}
	want := http.Header{
		"Content-Type": {"application/json"}, "Content-Length": {"3"}, "Server": {"envoy"},
		"Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}
	if resp.StatusCode != http.StatusAccepted || resp.body != "{}\n" || !sameHeader(header, want) {
		t.Errorf("an entry is answered %d %v %q", resp.StatusCode, header, resp.body)
	}
}

func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}
