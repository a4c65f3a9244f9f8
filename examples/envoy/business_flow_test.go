package envoy

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/outbox"
)

// A top-up and a withdrawal, and everything that each party sees of them.
func TestBusinessFlow(t *testing.T) {
	for _, c := range []struct {
		kind         string
		before       []func(*testing.T, *family, *business) response
		payer, payee string
		told         []string // kinds of messages to the phone
	}{
		{"top_up", nil, "acc_desk0", "acc_user0", []string{"business_executed"}},
		{"withdrawal", []func(*testing.T, *family, *business) response{deskScans, phoneAgrees}, "acc_user0", "acc_desk0",
			[]string{"agent_confirmation_request", "business_executed"}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			f, b := newBusinesses(t, []businessCase{{}}), businessOf(0)
			asked := b.request(t, f, c.kind, nil)
			if b.id = asked.Header.Get("Countersign-Intent-Id"); asked.StatusCode != http.StatusOK || !opaque.MatchString(b.id) {
				t.Fatalf("status %d, ID %q", asked.StatusCode, b.id)
			}
			if claims := f.verified(t, lastPaid(t)); claims.Intent != b.id || claims.Operation != "request_business" || claims.ReservationID != "" || claims.Account != b.user {
				t.Errorf("the payment service reads %+v", claims)
			}
			seen := b.view(t, f)
			var shown map[string]any
			if err := json.Unmarshal([]byte(seen.body), &shown); err != nil || seen.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %s", seen.StatusCode, seen.body)
			}
			if fmt.Sprintf("%v %v %v %v", shown["attributes"], shown["amount_minor"], shown["currency"], shown["state"]) != "map[type:"+c.kind+"] 5000 EUR open" {
				t.Errorf("the agent sees %v", shown)
			}
			// Neither the account of the user, nor what else the phone is shown.
			want := []string{"amount_minor", "attributes", "closed", "currency", "expired", "expires_at_ns", "id", "initiator", "kind", "opened_at_ns", "state"}
			if got := slices.Sorted(maps.Keys(shown)); !slices.Equal(slices.DeleteFunc(got, func(name string) bool { return name == "payee" }), want) {
				t.Errorf("the agent is shown %q", got)
			}
			for _, step := range c.before {
				if resp := step(t, f, b); resp.StatusCode != http.StatusOK {
					t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
				}
			}
			executed := f.keyed(t, "once", b.desk, http.MethodPost, "/v1/business/"+b.id+"/execute", map[string]any{"account": "acc_" + b.desk, "amount_minor": 5000})
			if executed.StatusCode != http.StatusOK || executed.body != "paid" {
				t.Fatalf("status %d, %s", executed.StatusCode, executed.body)
			}
			claims := f.verified(t, lastPaid(t))
			if claims.Intent != b.id || claims.Account != c.payer || claims.Payee != c.payee || claims.AmountMinor != 5000 || claims.Currency != "EUR" || claims.ReservationID == "" {
				t.Errorf("the payment service reads %+v", claims)
			}
			again := f.keyed(t, "once", b.desk, http.MethodPost, "/v1/business/"+b.id+"/execute", map[string]any{"account": "acc_" + b.desk, "amount_minor": 5000})
			if repeated := f.verified(t, lastPaid(t)); again.StatusCode != http.StatusOK || !repeated.Replayed || repeated.ReservationID != claims.ReservationID || repeated.Intent != b.id {
				t.Errorf("repeated: status %d, the payment service reads %+v", again.StatusCode, repeated)
			}
			if minor, payments := f.spent(t, c.payer); minor != 5000 || payments != 1 {
				t.Errorf("%s has spent %d in %d payments", c.payer, minor, payments)
			}
			if minor, payments := f.spent(t, c.payee); minor != 0 || payments != 0 {
				t.Errorf("%s has spent %d in %d payments", c.payee, minor, payments)
			}
			f.heardBy(t, "trm_"+b.phone, b.id, c.told)
		})
	}
}

// opaque is an ID of at least 128 bits: 26 characters of base32.
var opaque = regexp.MustCompile(`^int_[a-z2-7A-Z0-9]{26,}$`)

// heardBy holds all messages so far to these, to one terminal, about one request.
func (f *family) heardBy(t *testing.T, terminal, intent string, kinds []string) {
	t.Helper()
	told := f.messages.to(t, terminal, len(kinds))
	var got []string
	for _, m := range told {
		got = append(got, m.Kind)
		if m.Intent != intent || m.AmountMinor != 5000 || m.Currency != "EUR" || m.Details["agent_account"] != "acc_desk0" || m.Details["agent"] != "desk0" || m.Requester.Subject == "" {
			t.Errorf("message %+v", m)
		}
	}
	if !slices.Equal(got, kinds) {
		t.Errorf("messages %q, want %q", got, kinds)
	}
	if all := f.messages.of(t, ""); len(all) != len(kinds) {
		t.Errorf("%d messages in all, want %d: %v", len(all), len(kinds), kindsOf(all))
	}
}

func kindsOf(messages []outbox.Envelope) []string {
	all := []string{}
	for _, m := range messages {
		all = append(all, m.Terminal+" "+m.Kind)
	}
	return all
}

// What a device may ask for, and what comes of it without the flag.
func TestBusinessRequests(t *testing.T) {
	cases := []struct {
		name   string
		world  func(user, desk *authzstore.Account)
		before func(*testing.T, *family, *business)
		kind   string
		more   map[string]any

		status   int
		public   []string
		ordinary bool // allowed, but no agent's
	}{
		{name: "without the flag", more: map[string]any{"proxy_mode": nil}, status: 200, ordinary: true},
		{name: "with the flag off", more: map[string]any{"proxy_mode": false}, status: 200, ordinary: true},
		{name: "with the flag", more: nil, status: 200},
		{name: "a text is no flag", more: map[string]any{"proxy_mode": "true"}, status: 400, public: []string{"field_invalid"}},
		{name: "a number is no flag", more: map[string]any{"proxy_mode": 1}, status: 400, public: []string{"field_invalid"}},
		{name: "a type that there is not", kind: "loan", status: 403, public: []string{"business_type_unknown"}},
		{name: "an ordinary one of a type that there is not", kind: "loan", more: map[string]any{"proxy_mode": nil}, status: 403, public: []string{"business_type_unknown"}},
		{name: "another currency", more: map[string]any{"currency": "USD"}, status: 403, public: []string{"currency_not_account"}},
		{name: "nothing", more: map[string]any{"amount_minor": 0}, status: 400, public: []string{"field_invalid"}},
		{name: "from a frozen account", before: func(t *testing.T, f *family, b *business) { f.backendFreezes(t, b.user) }, status: 403, public: []string{"account_frozen"}},
		{name: "from a frozen phone", before: func(t *testing.T, f *family, b *business) {
			f.changeTerminal(t, "trm_"+b.phone, inState(authzstore.TerminalFrozen))
		}, status: 403, public: []string{"terminal_unknown"}},
		{name: "from an unbound phone", before: func(t *testing.T, f *family, b *business) {
			f.changeTerminal(t, "trm_"+b.phone, inState(authzstore.TerminalUnbound))
		}, status: 403, public: []string{"terminal_unknown"}},
		{name: "from who is no terminal", before: func(_ *testing.T, _ *family, b *business) { b.phone = b.desk }, status: 403, public: []string{"terminal_unknown"}},
		{name: "the fifth", before: askedBefore(4), status: 200},
		{name: "the sixth", before: askedBefore(5), status: 403, public: []string{"business_over_maximum max_open 0 payments left"}},
		{name: "an ordinary one beside five", before: askedBefore(5), more: map[string]any{"proxy_mode": nil}, status: 200, ordinary: true},
	}
	worlds := make([]businessCase, len(cases))
	for i, c := range cases {
		worlds[i].world = c.world
	}
	f := newBusinesses(t, worlds)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, kind := businessOf(i), c.kind
			if kind == "" {
				kind = "top_up"
			}
			if c.before != nil {
				c.before(t, f, b)
			}
			open := f.intentsOf(t, b.user)
			resp := b.request(t, f, kind, c.more)
			id := resp.Header.Get("Countersign-Intent-Id")
			switch {
			case resp.StatusCode != c.status:
				t.Errorf("status %d, %s", resp.StatusCode, resp.body)
			case c.status == 403:
				f.hears(t, resp, 403, c.public, nil)
			case c.status != 200:
				if got := publicOf(t, resp); !slices.Equal(got, c.public) {
					t.Errorf("the phone hears %q", got)
				}
			case (id == "") != c.ordinary || (lastPaid(t).Header.Get("Countersign-Intent-Id") == "") != c.ordinary:
				t.Errorf("ID %q, upstream %q", id, lastPaid(t).Header.Get("Countersign-Intent-Id"))
			}
			if made := f.intentsOf(t, b.user) - open; made == 1 != (c.status == 200 && !c.ordinary) {
				t.Errorf("%d requests were made", made)
			}
		})
	}
}

func askedBefore(n int) func(*testing.T, *family, *business) {
	return func(t *testing.T, f *family, b *business) {
		t.Helper()
		for range n {
			if resp := b.request(t, f, "top_up", nil); resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
			}
		}
	}
}

// intentsOf is how many requests of an account are open.
func (f *family) intentsOf(t *testing.T, account string) int {
	t.Helper()
	var page struct{ Items []json.RawMessage }
	f.backend(t, http.MethodGet, "/v1/intents?account="+account, nil, &page)
	return len(page.Items)
}

// An ID that there is not, and one that is expired, cancelled or executed look alike to
// an agent, at each of its steps: nothing but the decision differs.
func TestBusinessesLookAlike(t *testing.T) {
	f := newBusinesses(t, make([]businessCase, 4))
	ids := map[string]string{"unknown": "int_" + strings.Repeat("a", 26), "no ID at all": "please"}
	for i, name := range []string{"expired", "cancelled", "executed"} {
		b := businessOf(i)
		if resp := anew(t, f, b); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
		}
		ids[name] = b.id
		switch name {
		case "cancelled":
			b.cancel(t, f)
		case "executed":
			if resp := deskExecutes(t, f, b); resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d, %s", resp.StatusCode, resp.body)
			}
		}
	}
	f.clock.move(window + 1)
	stranger := businessOf(3)
	for name, step := range map[string]func(*testing.T, *family, *business) response{"view": deskViews, "scan": deskScans, "execute": deskExecutes,
		"execute another amount": executing(map[string]any{"amount_minor": 1}), "scan for another account": func(t *testing.T, f *family, b *business) response {
			return f.call(t, b.desk, http.MethodPost, "/countersign/v1/business/"+b.id+"/scan", map[string]any{"account": "acc_" + b.shop})
		}} {
		answers := map[string][]string{}
		for what, id := range ids {
			stranger.id = id
			resp := step(t, f, stranger)
			answer := fmt.Sprint(resp.StatusCode, withoutDecision(resp))
			answers[answer] = append(answers[answer], what)
		}
		if len(answers) != 1 {
			t.Errorf("%s tells them apart: %q", name, answers)
		}
	}
}

// withoutDecision is what an agent hears, but for the decision's ID and the time.
func withoutDecision(r response) string {
	headers := r.Header.Clone()
	for _, name := range []string{"Countersign-Decision-Id", "Date", "X-Request-Id", "X-Envoy-Upstream-Service-Time"} {
		headers.Del(name)
	}
	return fmt.Sprint(headers, strings.ReplaceAll(r.body, r.Header.Get("Countersign-Decision-Id"), "DECISION"))
}

// The phone shows the ID as a picture, PNG and SVG, which hold it and nothing else.
func TestBusinessPicture(t *testing.T) {
	f, b := newBusinesses(t, []businessCase{{}}), businessOf(0)
	anew(t, f, b)
	var shown struct {
		SVG string `json:"qr_svg"`
		PNG []byte `json:"qr_png"`
	}
	f.do(t, b.phone, http.MethodGet, "/countersign/v1/intents/"+b.id, nil, &shown)
	picture, err := png.Decode(bytes.NewReader(shown.PNG))
	if err != nil {
		t.Fatal(err)
	}
	for name, picture := range map[string]image.Image{"PNG": picture, "SVG": drawn(t, shown.SVG)} {
		if text := scanned(t, picture); text != b.id {
			t.Errorf("%s holds %q, want %q", name, text, b.id)
		}
	}
	if resp := f.call(t, b.watch, http.MethodGet, "/countersign/v1/intents/"+b.id, nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another device sees it: status %d, %s", resp.StatusCode, resp.body)
	}
}

// scanned is what a reader of another make reads in a picture.
func scanned(t *testing.T, picture image.Image) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	got, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetText()
}

// drawn paints an SVG of the product: rows of dark modules on a light ground.
func drawn(t *testing.T, svg string) image.Image {
	t.Helper()
	var parsed struct {
		Box   string `xml:"viewBox,attr"`
		Paths []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	var width, height int
	if err := xml.Unmarshal([]byte(svg), &parsed); err != nil || len(parsed.Paths) != 2 {
		t.Fatalf("%v in %.200s", err, svg)
	}
	if _, err := fmt.Sscanf(parsed.Box, "0 0 %d %d", &width, &height); err != nil {
		t.Fatal(err)
	}
	const scale = 4
	picture := image.NewGray(image.Rect(0, 0, width*scale, height*scale))
	for i := range picture.Pix {
		picture.Pix[i] = 0xff
	}
	for _, run := range regexp.MustCompile(`M\d+ \d+h\d+v1h-\d+z`).FindAllString(parsed.Paths[1].D, -1) {
		var x, y, length, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%dz", &x, &y, &length, &back); err != nil {
			t.Fatal(run, err)
		}
		for dy := range scale {
			for dx := range length * scale {
				picture.Set(x*scale+dx, y*scale+dy, color.Black)
			}
		}
	}
	return picture
}

// The call that asks, repeated under its key, answers with the same ID, and opens no
// second one; another call under the key is none.
func TestBusinessAskedAgain(t *testing.T) {
	f, b := newBusinesses(t, []businessCase{{}}), businessOf(0)
	ask := func(amount int) response {
		return f.keyed(t, "ask", b.phone, http.MethodPost, "/v1/business", map[string]any{"type": "top_up", "amount_minor": amount, "currency": "EUR", "proxy_mode": true})
	}
	first := ask(5000)
	b.id = first.Header.Get("Countersign-Intent-Id")
	f.clock.move(time.Minute)
	again := ask(5000)
	if again.StatusCode != http.StatusOK || again.Header.Get("Countersign-Intent-Id") != b.id || f.intentsOf(t, b.user) != 1 {
		t.Errorf("status %d, ID %q, want %q; %d requests; %s", again.StatusCode, again.Header.Get("Countersign-Intent-Id"), b.id, f.intentsOf(t, b.user), again.body)
	}
	if claims := f.verified(t, lastPaid(t)); claims.Intent != b.id || !claims.Replayed {
		t.Errorf("the payment service reads %+v", claims)
	}
	if other := ask(5001); other.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("another amount under the key: status %d, %s", other.StatusCode, other.body)
	}
	if resp := deskExecutes(t, f, b); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %s", resp.StatusCode, resp.body)
	}
	// What is over is opened by no retry.
	late := ask(5000)
	if late.StatusCode != http.StatusConflict || late.Header.Get("Countersign-Intent-Id") != b.id || f.intentsOf(t, b.user) != 0 {
		t.Errorf("when it is over: status %d, ID %q, %s", late.StatusCode, late.Header.Get("Countersign-Intent-Id"), late.body)
	}
}
