package extauthz

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/policy"
)

func reply(d decide.Decision, req call.Request) *authv3.CheckResponse {
	return (&Service{}).reply(d, req)
}

func frozen() decide.Decision {
	return decide.Decision{ID: "dec_x", Outcome: decide.Deny, Status: 403, Reasons: []policy.Reason{{Code: "account_frozen", Message: "The account is frozen."}}}
}

// asking is the answer to a call that waits for codes.
func asking() decide.Decision {
	return decide.Decision{ID: "dec_x", Outcome: decide.StepUp, Status: 401, IntentID: "int_x",
		Reasons:   []policy.Reason{{Code: "verification_required", Message: "Codes were sent."}},
		Challenge: &decide.ChallengeOffer{ID: "chl_x", Kind: "code", ExpiresAtNanos: 1795000000000000001}}
}

// headers returns the headers of an answer, each of which must be set once and
// replace what was there.
func headers(t *testing.T, options []*corev3.HeaderValueOption) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, o := range options {
		if _, twice := all[o.Header.Key]; twice {
			t.Errorf("%s is set twice", o.Header.Key)
		}
		if o.AppendAction != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s has the action %s", o.Header.Key, o.AppendAction)
		}
		all[o.Header.Key] = o.Header.Value
	}
	return all
}

// wantDenial checks that Envoy takes an answer for a denial, that it is whole,
// and that it can be sent; it returns its status and its body.
func wantDenial(t *testing.T, r *authv3.CheckResponse) (int, problemJSON) {
	t.Helper()
	if r.GetStatus().GetCode() != int32(codes.PermissionDenied) || r.GetOkResponse() != nil || r.GetDeniedResponse() == nil {
		t.Fatalf("not a denial: %v", r)
	}
	if _, err := proto.Marshal(r); err != nil {
		t.Fatalf("cannot be sent: %v", err)
	}
	wantMetadata(t, r)
	denied := r.GetDeniedResponse()
	status := int(denied.GetStatus().GetCode())
	if status < 400 || status > 599 {
		t.Errorf("status %d", status)
	}
	h := headers(t, denied.GetHeaders())
	if h["content-type"] != "application/problem+json" || h["cache-control"] != "no-store" {
		t.Errorf("headers %v", h)
	}
	if _, retry := h["retry-after"]; retry != (status == 503) {
		t.Errorf("status %d with retry-after %q", status, h["retry-after"])
	}
	if _, has := h["www-authenticate"]; has != (status == 401) {
		t.Errorf("status %d with www-authenticate %q", status, h["www-authenticate"])
	}
	body := denied.GetBody()
	if len(body) > maxBodyBytes || !utf8.ValidString(body) {
		t.Errorf("body of %d bytes, UTF-8 %v", len(body), utf8.ValidString(body))
	}
	var p problemJSON
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("body %s: %v", body, err)
	}
	if p.Status != status || p.Title != http.StatusText(status) || p.Code == "" {
		t.Errorf("status %d, body %s", status, body)
	}
	if h[headerDecisionID] != p.DecisionID {
		t.Errorf("header %q, body %q", h[headerDecisionID], p.DecisionID)
	}
	return status, p
}

// wantMetadata checks that both are there, on whatever answer.
func wantMetadata(t *testing.T, r *authv3.CheckResponse) {
	t.Helper()
	fields := r.GetDynamicMetadata().GetFields()
	if len(fields) != 2 || fields["decision_id"] == nil || fields["outcome"].GetStringValue() == "" {
		t.Errorf("metadata %v", r.GetDynamicMetadata())
	}
}

// Whatever is not an allow is a denial with a status that Envoy takes: the zero
// decision, an outcome that nobody knows, a status out of range.
func TestReplyStartsAsDenial(t *testing.T) {
	for _, c := range []struct {
		name     string
		decision decide.Decision
		status   int
		code     string
	}{
		{"zero", decide.Decision{}, 500, "internal_error"},
		{"unknown outcome", decide.Decision{Outcome: "allowed", Status: 200}, 500, "internal_error"},
		{"outcome in capitals", decide.Decision{Outcome: "ALLOW"}, 500, "internal_error"},
		{"outcome with a space", decide.Decision{Outcome: "allow "}, 500, "internal_error"},
		{"status 0", decide.Decision{Outcome: decide.Deny, Status: 0}, 500, "internal_error"},
		{"status 99", decide.Decision{Outcome: decide.Deny, Status: 99}, 500, "internal_error"},
		{"status 100", decide.Decision{Outcome: decide.Deny, Status: 100}, 500, "internal_error"},
		{"status 200", decide.Decision{Outcome: decide.Deny, Status: 200}, 500, "internal_error"},
		{"status 302", decide.Decision{Outcome: decide.Deny, Status: 302}, 500, "internal_error"},
		{"status 399", decide.Decision{Outcome: decide.Deny, Status: 399}, 500, "internal_error"},
		{"status 600", decide.Decision{Outcome: decide.Deny, Status: 600}, 500, "internal_error"},
		{"status negative", decide.Decision{Outcome: decide.Deny, Status: -403}, 500, "internal_error"},
		{"status past int32", decide.Decision{Outcome: decide.Deny, Status: 1<<32 + 403}, 500, "internal_error"},
		{"least status", decide.Decision{Outcome: decide.Deny, Status: 400}, 400, "internal_error"},
		{"defect without status", decide.Decision{Outcome: decide.Defect}, 500, "internal_error"},
		{"deny", frozen(), 403, "account_frozen"},
		{"not found", decide.Decision{Outcome: decide.Deny, Status: 404, Reasons: frozen().Reasons}, 404, "account_frozen"},
		{"no identity", decide.Decision{Outcome: decide.Deny, Status: 401, Reasons: frozen().Reasons}, 401, "account_frozen"},
		{"step-up", asking(), 401, "verification_required"},
		{"step-up without status", decide.Decision{Outcome: decide.StepUp}, 500, "internal_error"},
		{"step-up with the status of an allow", decide.Decision{Outcome: decide.StepUp, Status: 200}, 500, "internal_error"},
		{"unavailable", decide.Decision{Outcome: decide.Unavailable, Status: 503, Reasons: frozen().Reasons}, 503, "account_frozen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, p := wantDenial(t, reply(c.decision, call.Request{}))
			if status != c.status || p.Code != c.code {
				t.Errorf("%d %s, want %d %s", status, p.Code, c.status, c.code)
			}
		})
	}
}

// An allow is the outcome's alone: a status or reasons beside it change nothing,
// and it says nothing but the decision's ID.
func TestReplyAllows(t *testing.T) {
	for _, d := range []decide.Decision{
		{ID: "dec_x", Outcome: decide.Allow}, {ID: "dec_x", Outcome: decide.Allow, Status: 403}, {ID: "dec_x", Outcome: decide.Allow, Reasons: frozen().Reasons},
	} {
		r := reply(d, call.Request{})
		if r.GetStatus().GetCode() != int32(codes.OK) || r.GetOkResponse() == nil || r.GetDeniedResponse() != nil {
			t.Fatalf("not an allow: %v", r)
		}
		wantMetadata(t, r)
		ok := r.GetOkResponse()
		for _, h := range []map[string]string{headers(t, ok.GetHeaders()), headers(t, ok.GetResponseHeadersToAdd())} {
			if len(h) != 1 || h["countersign-decision-id"] != "dec_x" {
				t.Errorf("headers %v", h)
			}
		}
		if len(ok.GetHeadersToRemove()) > 0 || ok.GetQueryParametersToSet() != nil || ok.GetQueryParametersToRemove() != nil {
			t.Errorf("more than that: %v", ok)
		}
		if _, err := proto.Marshal(r); err != nil {
			t.Error(err)
		}
	}
}

func TestReplyMetadata(t *testing.T) {
	for _, outcome := range []decide.Outcome{decide.Allow, decide.Deny, decide.Defect, decide.Unavailable, decide.StepUp} {
		fields := reply(decide.Decision{ID: "dec_x", Outcome: outcome, Status: 503}, call.Request{}).GetDynamicMetadata().GetFields()
		if fields["decision_id"].GetStringValue() != "dec_x" || fields["outcome"].GetStringValue() != string(outcome) {
			t.Errorf("%s: metadata %v", outcome, fields)
		}
	}
	// What is answered as a defect is called one.
	for _, outcome := range []decide.Outcome{"", "allowed", "\xff"} {
		r := reply(decide.Decision{Outcome: outcome}, call.Request{})
		wantDenial(t, r)
		if got := r.GetDynamicMetadata().GetFields()["outcome"].GetStringValue(); got != string(decide.Defect) {
			t.Errorf("%q: outcome %q", outcome, got)
		}
	}
}

// Only we speak as countersign-*: what came with the request under such a name is
// removed, but for the header that we replace.
func TestReplyRemovesHeaders(t *testing.T) {
	var req call.Request
	for _, name := range []string{
		"countersign-decision-id", "countersign-amount", "countersign-", "countersign-token", "countersign-amount",
		"x-countersign-amount", "countersign", "countersigned", "authorization",
	} {
		req.Headers = append(req.Headers, call.Header{Name: name, Value: []byte("forged")})
	}
	r := reply(decide.Decision{ID: "dec_x", Outcome: decide.Allow}, req)
	got := slices.Clone(r.GetOkResponse().GetHeadersToRemove())
	slices.Sort(got)
	if want := []string{"countersign-", "countersign-amount", "countersign-token"}; !slices.Equal(slices.Compact(got), want) {
		t.Errorf("removes %v, want %v", got, want)
	}
}

// A body stays in its bound and valid whatever the reasons are: as many of them
// as there is room for, and the first one's code always.
func TestProblemBounds(t *testing.T) {
	many := func(n int, message string) []policy.Reason {
		var reasons []policy.Reason
		for i := range n {
			reasons = append(reasons, policy.Reason{Code: fmt.Sprintf("reason_%02d", i), Message: message})
		}
		return reasons
	}
	for _, c := range []struct {
		name    string
		reasons []policy.Reason
		least   int // reasons that there is room for
		most    int
	}{
		{"none", nil, 0, 0},
		{"one", many(1, "No."), 1, 1},
		{"16 short", many(16, "No."), 16, 16},
		{"16 long", many(16, strings.Repeat("a", 256)), 10, 15},
		{"16 long, multi-byte", many(16, strings.Repeat("🥖", 64)), 10, 15},
		{"16 long, escaped", many(16, strings.Repeat("\x01", 256)), 1, 15},
		{"16 long, quotes", many(16, strings.Repeat(`"<`, 128)), 1, 15},
		{"16 not UTF-8", many(16, strings.Repeat("\xff", 256)), 1, 15},
		{"cut inside a character", many(3, "caf\xc3"), 3, 3},
		{"code not UTF-8", []policy.Reason{{Code: "a\xff", Message: "No."}}, 1, 1},
		{"message longer than the bound", many(2, strings.Repeat("a", 5000)), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := frozen()
			d.Reasons = c.reasons
			status, p := wantDenial(t, reply(d, call.Request{}))
			if status != 403 || p.DecisionID != "dec_x" {
				t.Errorf("status %d, decision %q", status, p.DecisionID)
			}
			if n := len(p.Reasons); n < c.least || n > c.most {
				t.Errorf("%d reasons of %d, want %d to %d", n, len(c.reasons), c.least, c.most)
			}
			if len(c.reasons) > 0 && p.Code != strings.ToValidUTF8(c.reasons[0].Code, "\ufffd") {
				t.Errorf("code %q", p.Code)
			}
			if len(p.Reasons) > 0 && p.Detail != p.Reasons[0].Message {
				t.Errorf("detail %q, first reason %+v", p.Detail, p.Reasons[0])
			}
		})
	}
}

// The body of a denial, whole.
func TestProblemGolden(t *testing.T) {
	const want = `{"title":"Forbidden","status":403,"detail":"The account is frozen.","code":"account_frozen",` +
		`"decision_id":"dec_x","reasons":[{"code":"account_frozen","message":"The account is frozen."}]}`
	if got := reply(frozen(), call.Request{}).GetDeniedResponse().GetBody(); got != want {
		t.Errorf("body %s\nwant %s", got, want)
	}
}

// A step-up is a denial that says what is waited for, whatever else is in it, and asks
// for more than the token (RFC 9470). Another 401 asks for a token.
func TestReplyStepUp(t *testing.T) {
	d := asking()
	d.Execution = paying().Execution
	s, _ := signing(t)
	r := s.reply(d, payingRequest())
	wantDenial(t, r)
	const want = `{"title":"Unauthorized","status":401,"detail":"Codes were sent.","code":"verification_required","decision_id":"dec_x",` +
		`"challenge":{"id":"chl_x","kind":"code","expires_at_ns":1795000000000000001},"intent_id":"int_x",` +
		`"reasons":[{"code":"verification_required","message":"Codes were sent."}]}`
	if got := r.GetDeniedResponse().GetBody(); got != want {
		t.Errorf("body %s\nwant %s", got, want)
	}
	wantHeaders := map[string]string{
		"content-type": "application/problem+json", "cache-control": "no-store", "countersign-decision-id": "dec_x",
		"countersign-challenge-id": "chl_x", "countersign-intent-id": "int_x",
		"www-authenticate": `Bearer error="insufficient_user_authentication"`,
	}
	if got := headers(t, r.GetDeniedResponse().GetHeaders()); !maps.Equal(got, wantHeaders) {
		t.Errorf("headers %v", got)
	}
	if got := r.GetDynamicMetadata().GetFields()["outcome"].GetStringValue(); got != "step_up" {
		t.Errorf("outcome %q", got)
	}
	other := frozen()
	other.Status = 401
	if got := headers(t, reply(other, call.Request{}).GetDeniedResponse().GetHeaders()); got["www-authenticate"] != "Bearer" || got["countersign-challenge-id"] != "" {
		t.Errorf("another 401: headers %v", got)
	}
}

// A denial that is final names the challenge and the intent that it is about too.
func TestReplyDenialNames(t *testing.T) {
	d := asking()
	d.Outcome, d.Status = decide.Deny, 403
	_, p := wantDenial(t, reply(d, call.Request{}))
	if p.Challenge == nil || p.Challenge.ID != "chl_x" || p.IntentID != "int_x" {
		t.Errorf("%+v", p)
	}
}
