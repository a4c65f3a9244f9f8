package extauthz

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/upstream"
)

// paying is an allow that moves money.
func paying() decide.Decision {
	return decide.Decision{ID: "dec_x", Outcome: decide.Allow, Execution: &decide.Execution{
		Audience:      "payments.example",
		Identity:      authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
		System:        "direct_payment",
		Operation:     "pay",
		Account:       "acc_anna",
		Payee:         "mer_bakery",
		Currency:      "EUR",
		AmountMinor:   9007199254740991,
		ReservationID: "rsv_x",
	}}
}

func payingRequest() call.Request {
	return call.Request{
		Method: "POST", Authority: "pay.example:8443", Path: "/v1/accounts/acc_anna/payments?x=%20", Body: []byte("{\xff}"),
		Headers: []call.Header{{Name: "countersign-token", Value: []byte("forged")}, {Name: "countersign-replayed", Value: []byte("true")},
			{Name: "countersign-role", Value: []byte("forged")}, {Name: "x-note", Value: []byte("x")}},
	}
}

// signing is a service with a key, and what verifies with it.
func signing(t *testing.T) (*Service, *upstream.Verifier) {
	t.Helper()
	key, err := upstream.SharedKey([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := upstream.NewSigner("sto_x", map[string]upstream.Key{"payments.example": key})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := upstream.NewVerifier("sto_x", "payments.example", key)
	if err != nil {
		t.Fatal(err)
	}
	return &Service{Sign: signer.Sign}, verifier
}

// An allow that moves money carries the call and the payment in a token, and the
// payment in headers beside it; what the client sent under our names is replaced
// or removed.
func TestReplyExecution(t *testing.T) {
	s, verifier := signing(t)
	for _, replayed := range []bool{false, true} {
		d := paying()
		d.Execution.Replayed = replayed
		r := s.reply(d, payingRequest())
		ok := r.GetOkResponse()
		if r.GetStatus().GetCode() != int32(codes.OK) || ok == nil {
			t.Fatalf("not an allow: %v", r)
		}
		wantMetadata(t, r)
		if _, err := proto.Marshal(r); err != nil {
			t.Fatal(err)
		}
		got := headers(t, ok.GetHeaders())
		claims, err := verifier.Verify(got["countersign-token"])
		if err != nil {
			t.Fatal(err)
		}
		claims.IssuedAt, claims.Expiry = 0, 0
		want := upstream.Claims{
			Issuer: "sto_x", Audience: "payments.example",
			Method: "POST", Authority: "pay.example:8443", Target: "/v1/accounts/acc_anna/payments?x=%20",
			BodySHA256: upstream.Digest([]byte("{\xff}")),
			Payment: upstream.Payment{
				System: "direct_payment", Operation: "pay", Account: "acc_anna", Payee: "mer_bakery", Currency: "EUR",
				AmountMinor: 9007199254740991, ReservationID: "rsv_x", DecisionID: "dec_x", Replayed: replayed,
				Identity: upstream.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
			},
		}
		if !reflect.DeepEqual(claims, want) {
			t.Errorf("claims %+v\nwant   %+v", claims, want)
		}
		delete(got, "countersign-token")
		wantHeaders := map[string]string{
			"countersign-decision-id": "dec_x", "countersign-reservation-id": "rsv_x", "countersign-account": "acc_anna",
			"countersign-payee": "mer_bakery", "countersign-amount-minor": "9007199254740991", "countersign-currency": "EUR",
		}
		wantRemoved := []string{"countersign-replayed", "countersign-role"}
		if replayed {
			wantHeaders["countersign-replayed"] = "true"
			wantRemoved = wantRemoved[1:]
		}
		if !maps.Equal(got, wantHeaders) {
			t.Errorf("headers %v\nwant    %v", got, wantHeaders)
		}
		if !slices.Equal(ok.GetHeadersToRemove(), wantRemoved) {
			t.Errorf("removes %v, want %v", ok.GetHeadersToRemove(), wantRemoved)
		}
		toCaller := map[string]string{"countersign-decision-id": "dec_x", "countersign-reservation-id": "rsv_x"}
		if got := headers(t, ok.GetResponseHeadersToAdd()); !maps.Equal(got, toCaller) {
			t.Errorf("to the caller %v, want %v", got, toCaller)
		}
	}
}

// A payment by a grant names it to the service, and not to the merchant who calls.
func TestReplyGrant(t *testing.T) {
	s, verifier := signing(t)
	d := paying()
	d.Execution.Grant = "grt_ben"
	ok := s.reply(d, payingRequest()).GetOkResponse()
	got := headers(t, ok.GetHeaders())
	claims, err := verifier.Verify(got["countersign-token"])
	if err != nil || claims.Grant != "grt_ben" || got["countersign-grant"] != "grt_ben" {
		t.Errorf("claims %+v, %v, headers %v", claims, err, got)
	}
	if got := headers(t, ok.GetResponseHeadersToAdd()); got["countersign-grant"] != "" || got["countersign-reservation-id"] != "rsv_x" {
		t.Errorf("to the caller %v", got)
	}
}

// A payment of an intent names it to the service. An intent that an allow opened, and the
// challenge that it used up, are named to the service and to the caller.
func TestReplyIntent(t *testing.T) {
	s, verifier := signing(t)
	d := paying()
	d.Execution.Intent = "int_order"
	req := payingRequest()
	for _, name := range []string{"countersign-intent-id", "countersign-challenge-id"} {
		req.Headers = append(req.Headers, call.Header{Name: name, Value: []byte("forged")})
	}
	ok := s.reply(d, req).GetOkResponse()
	got := headers(t, ok.GetHeaders())
	claims, err := verifier.Verify(got["countersign-token"])
	if err != nil || claims.Intent != "int_order" || got["countersign-intent-id"] != "int_order" || got["countersign-challenge-id"] != "" {
		t.Errorf("claims %+v, %v, headers %v", claims, err, got)
	}
	if removed := ok.GetHeadersToRemove(); slices.Contains(removed, "countersign-intent-id") || !slices.Contains(removed, "countersign-challenge-id") {
		t.Errorf("removes %v", removed)
	}
	if got := headers(t, ok.GetResponseHeadersToAdd()); got["countersign-intent-id"] != "" {
		t.Errorf("to the caller %v", got)
	}
	opens := decide.Decision{ID: "dec_x", Outcome: decide.Allow, IntentID: "int_new", Challenge: &decide.ChallengeOffer{ID: "chl_used", Kind: "code"}}
	ok = s.reply(opens, payingRequest()).GetOkResponse()
	want := map[string]string{"countersign-decision-id": "dec_x", "countersign-intent-id": "int_new", "countersign-challenge-id": "chl_used"}
	if got := headers(t, ok.GetHeaders()); !maps.Equal(got, want) {
		t.Errorf("headers %v", got)
	}
	if got := headers(t, ok.GetResponseHeadersToAdd()); !maps.Equal(got, want) {
		t.Errorf("to the caller %v", got)
	}
}

// A call that opened an intent carries it in the token, without a reservation, and
// without an amount where it has none.
func TestReplyOpens(t *testing.T) {
	s, verifier := signing(t)
	for _, minor := range []int64{0, 1250} {
		d := paying()
		d.IntentID, d.Execution.Intent, d.Execution.ReservationID, d.Execution.AmountMinor = "int_new", "int_new", "", minor
		ok := s.reply(d, payingRequest()).GetOkResponse()
		got := headers(t, ok.GetHeaders())
		claims, err := verifier.Verify(got["countersign-token"])
		if err != nil || claims.Intent != "int_new" || claims.ReservationID != "" || claims.AmountMinor != minor {
			t.Errorf("claims %+v, %v", claims, err)
		}
		_, hasReservation := got["countersign-reservation-id"]
		if _, hasAmount := got["countersign-amount-minor"]; hasReservation || hasAmount != (minor != 0) || got["countersign-intent-id"] != "int_new" {
			t.Errorf("headers %v", got)
		}
		want := map[string]string{"countersign-decision-id": "dec_x", "countersign-intent-id": "int_new"}
		if got := headers(t, ok.GetResponseHeadersToAdd()); !maps.Equal(got, want) {
			t.Errorf("to the caller %v", got)
		}
	}
}

// What a built-in operation was done on and from is in the token alone, and when the
// session ends only where the operation goes on until then: in whole seconds, never
// later.
func TestReplyBuiltInOn(t *testing.T) {
	s, verifier := signing(t)
	for does, seconds := range map[string]int64{"view_challenge": 0, upstream.StreamMessages: 1795000000} {
		d := decide.Decision{ID: "dec_x", Outcome: decide.Allow, Execution: &decide.Execution{
			Audience: "payments.example", Does: does, System: "terminal", Operation: "x", Challenge: "chl_x", Terminal: "trm_x",
			ExpiresAtNanos: 1795000000999999999, Identity: paying().Execution.Identity,
		}}
		ok := s.reply(d, payingRequest()).GetOkResponse()
		got := headers(t, ok.GetHeaders())
		claims, err := verifier.Verify(got["countersign-token"])
		if err != nil || claims.Challenge != "chl_x" || claims.Terminal != "trm_x" || claims.SessionExp != seconds {
			t.Errorf("%s: claims %+v, %v", does, claims, err)
		}
		for name := range got {
			if name != "countersign-token" && name != "countersign-decision-id" {
				t.Errorf("%s: header %s", does, name)
			}
		}
	}
}

// A built-in operation goes to the sidecar's own API with a token that names it, what
// it made and who called; the caller gets the ID.
func TestReplyBuiltIn(t *testing.T) {
	s, verifier := signing(t)
	d := decide.Decision{ID: "dec_x", Outcome: decide.Allow, Execution: &decide.Execution{
		Audience: "payments.example", Does: "offer_grant", System: "delegation", Operation: "offer", Account: "acc_anna", Grant: "grt_ben",
		Identity: authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: "anna"},
	}}
	ok := s.reply(d, payingRequest()).GetOkResponse()
	got := headers(t, ok.GetHeaders())
	claims, err := verifier.Verify(got["countersign-token"])
	if err != nil || claims.Does != "offer_grant" || claims.Grant != "grt_ben" || claims.Account != "acc_anna" || claims.DecisionID != "dec_x" ||
		claims.Identity.Subject != "anna" || claims.ReservationID != "" || claims.BodySHA256 != upstream.Digest([]byte("{\xff}")) {
		t.Errorf("claims %+v, %v", claims, err)
	}
	delete(got, "countersign-token")
	if want := map[string]string{"countersign-decision-id": "dec_x", "countersign-account": "acc_anna", "countersign-grant": "grt_ben"}; !maps.Equal(got, want) {
		t.Errorf("headers %v", got)
	}
	toCaller := map[string]string{"countersign-decision-id": "dec_x", "countersign-grant": "grt_ben"}
	if got := headers(t, ok.GetResponseHeadersToAdd()); !maps.Equal(got, toCaller) {
		t.Errorf("to the caller %v", got)
	}
	d.Execution.Account, d.Execution.Grant = "", "" // a list of the caller's own
	if claims, err := verifier.Verify(headers(t, s.reply(d, payingRequest()).GetOkResponse().GetHeaders())["countersign-token"]); err != nil || claims.Account != "" {
		t.Errorf("claims %+v, %v", claims, err)
	}
}

// Whatever a text holds, its header is visible ASCII without separators, and
// decodes to it; the token holds it as it is.
func TestReplyEncodesTexts(t *testing.T) {
	s, verifier := signing(t)
	for text, want := range map[string]string{
		"mer_bakery":                        "mer_bakery",
		"":                                  "",
		"Bäckerei Süß, Nord":                "B%C3%A4ckerei%20S%C3%BC%C3%9F%2C%20Nord",
		"100%":                              "100%25",
		"a+b=c&d:e@f$g":                     "a+b=c&d:e@f$g",
		"DE89/3704;x=1":                     "DE89%2F3704%3Bx=1",
		"a\r\ncountersign-token: x":         "a%0D%0Acountersign-token:%20x",
		"\u2028\u202e\u00a0":                "%E2%80%A8%E2%80%AE%C2%A0",
		strings.Repeat("🥖", 64):             strings.Repeat("%F0%9F%A5%96", 64),
		`"quoted" \ <tag> {x} [y] ^|` + "`": "%22quoted%22%20%5C%20%3Ctag%3E%20%7Bx%7D%20%5By%5D%20%5E%7C%60",
	} {
		t.Run(text, func(t *testing.T) {
			d := paying()
			d.Execution.Payee = text
			got := headers(t, s.reply(d, payingRequest()).GetOkResponse().GetHeaders())
			if got["countersign-payee"] != want {
				t.Errorf("header %q, want %q", got["countersign-payee"], want)
			}
			if decoded, err := url.PathUnescape(got["countersign-payee"]); err != nil || decoded != text {
				t.Errorf("decoded %q, %v", decoded, err)
			}
			claims, err := verifier.Verify(got["countersign-token"])
			if err != nil || claims.Payee != text {
				t.Errorf("the token says %q, %v", claims.Payee, err)
			}
		})
	}
}

// What cannot be signed is not allowed, whatever was decided.
func TestReplyCannotSign(t *testing.T) {
	able, _ := signing(t)
	change := func(f func(*decide.Execution)) decide.Decision {
		d := paying()
		f(d.Execution)
		return d
	}
	for name, c := range map[string]struct {
		sign     func(upstream.Claims) (string, error)
		decision decide.Decision
	}{
		"no key":           {nil, paying()},
		"it fails":         {func(upstream.Claims) (string, error) { return "token4711", errors.New("broken") }, paying()},
		"another audience": {able.Sign, change(func(e *decide.Execution) { e.Audience = "refunds.example" })},
		"no audience":      {able.Sign, change(func(e *decide.Execution) { e.Audience = "" })},
		"no reservation":   {able.Sign, change(func(e *decide.Execution) { e.ReservationID = "" })},
		"no amount":        {able.Sign, change(func(e *decide.Execution) { e.AmountMinor = 0 })},
		"no identity":      {able.Sign, change(func(e *decide.Execution) { e.Identity.Subject = "" })},
		"nothing in it":    {able.Sign, decide.Decision{ID: "dec_x", Outcome: decide.Allow, Execution: &decide.Execution{}}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var counted []decide.Cause
			s := &Service{Sign: c.sign, Log: slog.New(slog.NewTextHandler(&log, nil)),
				Defect: func(cause decide.Cause) { counted = append(counted, cause) }}
			r := s.reply(c.decision, payingRequest())
			if !slices.Equal(counted, []decide.Cause{decide.CauseUnsigned}) {
				t.Errorf("counted %q", counted)
			}
			status, p := wantDenial(t, r)
			if status != 500 || p.Code != "internal_error" || p.DecisionID != "dec_x" || strings.Contains(r.String(), "4711") {
				t.Errorf("answer %v", r)
			}
			if got := r.GetDynamicMetadata().GetFields()["outcome"].GetStringValue(); got != string(decide.Defect) {
				t.Errorf("outcome %q", got)
			}
			if !strings.Contains(log.String(), "decision_id=dec_x") {
				t.Errorf("log %q", &log)
			}
		})
	}
}

// An answer that is no allow has no token, though there is an execution in it.
func TestReplyDenialHasNoToken(t *testing.T) {
	s, _ := signing(t)
	for _, outcome := range []decide.Outcome{"", decide.Deny, decide.Defect, decide.Unavailable, decide.StepUp} {
		d := paying()
		d.Outcome, d.Status = outcome, 403
		r := s.reply(d, payingRequest())
		wantDenial(t, r)
		for name := range headers(t, r.GetDeniedResponse().GetHeaders()) {
			if name == "countersign-token" || name == "countersign-reservation-id" {
				t.Errorf("%q: header %s", outcome, name)
			}
		}
	}
}
