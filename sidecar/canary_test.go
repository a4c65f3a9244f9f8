package sidecar_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
)

// What the calls of the canary test carry that no output may repeat, beside
// what stands in guarded_test.go.
const (
	wrongCode    = "Falsch+Code/31415926"
	cardNumber   = "4929731502846173"
	header       = "Kopfzeile+Wert/61803398"
	cookie       = "Keks+Wert/14142135"
	claim        = "Anspruch+Wert/17320508"
	bodyMember   = "Rumpf+Wert/22360679"
	memberName   = "Mitglied_26457513"
	queryValue   = "Frage+Wert/28284271"
	pathSegment  = "Pfad-Wert-31622776"
	idempotency  = "Schluessel+Wert/33166247"
	brokenMember = "Bruch+Wert/34641016"
)

// A canary is a value that is looked for.
type canary struct {
	name, value string
	// recorded: it is what a decision was made of, and may stand in records.
	recorded bool
}

// canaries are all values that calls and files carried.
func (g *guarded) canaries(t *testing.T, bearer string) []canary {
	t.Helper()
	keyText, err := os.ReadFile(g.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(string(keyText))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(bearer, ".")
	return []canary{
		{name: "right code", value: rightCode}, {name: "wrong code", value: wrongCode},
		{name: "code that panics", value: panicCode}, {name: "code that fails", value: errorCode},
		{name: "card number", value: cardNumber}, {name: "header", value: header}, {name: "cookie", value: cookie},
		{name: "claim", value: claim}, {name: "unmapped member", value: bodyMember}, {name: "its name", value: memberName},
		{name: "query", value: queryValue}, {name: "path", value: pathSegment}, {name: "idempotency key", value: idempotency},
		{name: "broken body", value: brokenMember},
		{name: "token's payload", value: parts[1]}, {name: "token's signature", value: parts[2]},
		{name: "store's key", value: string(key)}, {name: "upstream's key", value: g.upstreamKey},
		{"account", guardedAccount, true}, {"subject", guardedSubject, true}, {"payee", guardedPayee, true},
		{"payee that loops", loopPayee, true}, {"payee that is nonsense", wrongPayee, true},
	}
}

// forms are all ways to write a value that are looked for.
func forms(value string) map[string][]byte {
	sum := sha256.Sum256([]byte(value))
	all := map[string][]byte{
		"plain": []byte(value), "hex": []byte(hex.EncodeToString([]byte(value))),
		"query": []byte(url.QueryEscape(value)), "path": []byte(url.PathEscape(value)),
		"hash": sum[:], "hash in hex": []byte(hex.EncodeToString(sum[:])),
	}
	if quoted, err := json.Marshal(value); err == nil {
		all["JSON"] = bytes.Trim(quoted, `"`)
	}
	// In base64 a value reads in three ways, by where it begins; the first and the
	// last characters are also of what stands beside it.
	for offset := range 3 {
		padded := append(make([]byte, offset), value...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			all[fmt.Sprint(name, offset)] = []byte(text[(offset*8+5)/6 : len(padded)*8/6])
		}
	}
	return all
}

// An output is something that the sidecar, or Envoy of it, lets out.
type output struct {
	name    string
	content []byte
	records bool // it holds records
}

// leaks says which canaries an output has.
func leaks(o output, canaries []canary) (found []string) {
	lower := bytes.ToLower(o.content)
	for _, c := range canaries {
		if c.recorded && o.records {
			continue
		}
		for name, form := range forms(c.value) {
			has := bytes.Contains(o.content, form)
			if !strings.HasPrefix(name, "base64") {
				has = has || bytes.Contains(lower, bytes.ToLower(form))
			}
			if has {
				found = append(found, fmt.Sprintf("%s: the %s, %s", o.name, c.name, name))
			}
		}
	}
	slices.Sort(found)
	return found
}

// Every form is found in every output, and what may be recorded is found outside
// records.
func TestLeaksAreFound(t *testing.T) {
	value := "Kanarie+Wert/1"
	for name, form := range forms(value) {
		for _, around := range []string{"", "a", "ab", "abc"} {
			content := around + string(form) + around
			if len(leaks(output{"x", []byte(content), false}, []canary{{"c", value, true}})) == 0 {
				t.Errorf("%s is not found in %q", name, content)
			}
			if len(leaks(output{"x", []byte(content), true}, []canary{{"c", value, true}})) != 0 {
				t.Errorf("%s is found in a record", name)
			}
		}
		for _, before := range []string{"", "a", "ab"} {
			text := base64.StdEncoding.EncodeToString([]byte(before + value + "xyz"))
			if len(leaks(output{"x", []byte(text), false}, []canary{{"c", value, false}})) == 0 {
				t.Errorf("not found in base64 after %q", before)
			}
		}
	}
}

// guardedCall is a good call to the guarded system, but for what bend does.
func guardedCall(n int, bend func(*http.Request, map[string]any)) (*http.Request, error) {
	body := map[string]any{
		"payee": guardedPayee, "amount_minor": 1250, "currency": "EUR",
		"code": rightCode, "pan": cardNumber, memberName: bodyMember,
	}
	req, err := http.NewRequest(http.MethodPost, "/v1/guarded/"+guardedAccount+"/payments", nil)
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{
		"Content-Type":    {"application/json"},
		"Idempotency-Key": {fmt.Sprintf("%s-%d", idempotency, n)},
		"X-Canary":        {header},
		"Cookie":          {"session=" + cookie},
	}
	if bend != nil {
		bend(req, body)
	}
	if req.Body == nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(text))
		req.ContentLength = int64(len(text))
	}
	return req, nil
}

// A canaryCall is one kind of call, and how it must be answered.
type canaryCall struct {
	name   string
	key    int // of idempotency
	status int
	code   string
	bend   func(*http.Request, map[string]any)
}

func set(name string, value any) func(*http.Request, map[string]any) {
	return func(_ *http.Request, body map[string]any) { body[name] = value }
}

var canaryCalls = []canaryCall{
	{"allowed", 1, 201, "", nil},
	{"allowed, again", 1, 201, "", nil},
	{"another call under the key", 1, 422, "key_other_call", set("amount_minor", 1)},
	{"denied: another code", 2, 403, "refused", set("code", wrongCode)},
	{"denied, again", 2, 403, "refused", set("code", wrongCode)},
	{"denied: the amount", 3, 403, "amount_over_payment_maximum", set("amount_minor", 50001)},
	{"denied: a stranger's account", 4, 403, "account_unknown", func(r *http.Request, body map[string]any) {
		r.URL.Path, body["code"] = "/v1/guarded/acc_nobody/payments", wrongCode
	}},
	{"refused: no route", 5, 403, "no_route", func(r *http.Request, _ map[string]any) { r.URL.Path = "/v1/" + pathSegment }},
	{"refused: a query", 6, 400, "query_unexpected", func(r *http.Request, _ map[string]any) { r.URL.RawQuery = url.Values{"q": {queryValue}}.Encode() }},
	{"refused: a field", 7, 400, "field_invalid", set("amount_minor", cardNumber)},
	{"refused: a long code", 8, 400, "field_invalid", set("code", strings.Repeat(wrongCode, 100))},
	{"refused: a broken body", 9, 400, "body_syntax", func(r *http.Request, _ map[string]any) {
		text := `{"pan": "` + cardNumber + `", "x": "` + brokenMember
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}},
	{"refused: a header twice", 10, 400, "header_duplicate", func(r *http.Request, _ map[string]any) { r.Header.Add("idempotency-key", idempotency) }},
	{"defect: nonsense", 11, 500, "policy_defect", set("payee", wrongPayee)},
	{"defect: a panic", 12, 500, "internal_error", set("code", panicCode)},
	{"unavailable: an error", 13, 503, "store_unavailable", set("code", errorCode)},
	{"unavailable: an endless policy", 14, 503, "decision_timeout", set("payee", loopPayee)},
}

// TestNothingLeaks sends secrets in calls of every kind, and looks for them in
// everything that comes out or stays behind.
func TestNothingLeaks(t *testing.T) {
	g := startGuarded(t)
	bearer, err := tokens.Token(guardedSubject, time.Hour, map[string]any{"scope": claim})
	if err != nil {
		t.Fatal(err)
	}
	var outputs []output
	for _, c := range canaryCalls {
		outputs = append(outputs, g.send(t, c, bearer))
	}
	outputs = append(outputs, g.checkWithoutEnvoy(t, bearer))
	g.ahead.Store(int64(2 * time.Hour))
	outputs = append(outputs, g.send(t, canaryCall{"unavailable: the clock", 15, 503, "clock_jumped", nil}, bearer))
	for _, page := range []string{"/metrics", "/healthz"} {
		_, body := g.get(t, page)
		outputs = append(outputs, output{page, []byte(body), false})
	}
	g.stop()

	access, err := os.ReadFile(g.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	outputs = append(outputs,
		output{"the sidecar's log", []byte(g.log.String()), false},
		output{"Envoy's log", []byte(g.envoyLog.String()), false},
		output{"Envoy's access log", access, false},
		output{"the decision log", []byte(g.decisions.String()), true},
	)
	outputs = append(outputs, g.files(t)...)
	outputs = append(outputs, g.stored(t)...)
	canaries := g.canaries(t, bearer)
	for _, o := range outputs {
		if len(o.content) == 0 && o.name != "Envoy's log" && !o.records {
			t.Errorf("%s is empty", o.name)
		}
		for _, leak := range leaks(o, canaries) {
			t.Error(leak)
		}
	}
	for _, must := range []string{guardedPayee, guardedSubject} {
		if !strings.Contains(g.decisions.String(), must) {
			t.Errorf("the decision log has no %s: does it record anything?", must)
		}
	}
}

// send makes a call through Envoy; the output is the whole answer.
func (g *guarded) send(t *testing.T, c canaryCall, bearer string) output {
	t.Helper()
	req, err := guardedCall(c.key, c.bend)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := url.Parse(g.edge.URL())
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Scheme, req.URL.Host = edge.Scheme, edge.Host
	req.Header.Set("authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if err := resp.Write(&answer); err != nil {
		t.Fatal(err)
	}
	g.ids = append(g.ids, resp.Header.Get("countersign-decision-id"))
	var problem struct{ Code string }
	if _, body, ok := strings.Cut(answer.String(), "\r\n\r\n"); ok && c.code != "" {
		if err := json.Unmarshal([]byte(body), &problem); err != nil {
			t.Errorf("%s: %v: %s", c.name, err, body)
		}
	}
	if resp.StatusCode != c.status || problem.Code != c.code {
		t.Errorf("%s: %d %s, want %d %s: %s", c.name, resp.StatusCode, problem.Code, c.status, c.code, &answer)
	}
	return output{"the answer to " + c.name, answer.Bytes(), false}
}

// checkWithoutEnvoy asks the sidecar as an Envoy would that passes credentials on.
func (g *guarded) checkWithoutEnvoy(t *testing.T, bearer string) output {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+g.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := func(name, value string) *corev3.HeaderValue {
		return &corev3.HeaderValue{Key: name, RawValue: []byte(value)}
	}
	check := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{
		Http: &authv3.AttributeContext_HttpRequest{
			Method: http.MethodPost, Host: "pay.example", Path: "/v1/guarded/" + guardedAccount + "/payments?q=" + url.QueryEscape(queryValue),
			RawBody: []byte(brokenMember),
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				line("authorization", "Bearer "+bearer), line("cookie", cookie), line("x-canary", header),
			}},
		},
	}}}
	client := authv3.NewAuthorizationClient(conn)
	answer, err := client.Check(t.Context(), check)
	if err != nil {
		t.Fatal(err)
	}
	check.Attributes.Request.Http.HeaderMap.Headers[0].Value = bearer // not raw
	second, err := client.Check(t.Context(), check)
	if err != nil {
		t.Fatal(err)
	}
	return output{"the answers without Envoy", []byte(answer.String() + second.String()), false}
}

// files are all files of the data directory, unpacked where they are packed.
func (g *guarded) files(t *testing.T) (outputs []output) {
	t.Helper()
	err := filepath.WalkDir(g.data, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if packed, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
			if content, err = io.ReadAll(packed); err != nil {
				return err
			}
			// The policy's rules name these two payees themselves.
			content = bytes.ReplaceAll(bytes.ReplaceAll(content, []byte(loopPayee), nil), []byte(wrongPayee), nil)
		}
		outputs = append(outputs, output{strings.TrimPrefix(name, g.data), withoutZeros(content), true})
		return nil
	})
	if err != nil || len(outputs) < 5 {
		t.Fatalf("%d files: %v", len(outputs), err)
	}
	return outputs
}

// withoutZeros leaves pages out that were never written: most of a journal.
func withoutZeros(content []byte) []byte {
	zeros := make([]byte, 4096)
	var written []byte
	for page := range slices.Chunk(content, len(zeros)) {
		if !bytes.Equal(page, zeros[:len(page)]) {
			written = append(written, page...)
		}
	}
	return written
}

// stored is what the store tells of itself: all records and streams, and all
// batches of the journal.
func (g *guarded) stored(t *testing.T) []output {
	t.Helper()
	var nouns, batches bytes.Buffer
	store, err := badgerkv.Open(t.Context(), badgerkv.Options{Dir: g.data})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	err = store.View(t.Context(), func(s kv.Snap) error {
		return s.Scan("", "", func(key string, val []byte) error {
			fmt.Fprintf(&nouns, "%s %s\n", key, val)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	last := store.Stats().Seq
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = store.Tail(ctx, kv.Pos{}, func(b kv.Batch) error {
		for _, unit := range b.Units {
			for _, w := range unit.Records {
				fmt.Fprintf(&batches, "%s %s\n", w.Key, w.Val)
			}
			for _, e := range unit.Entries {
				fmt.Fprintf(&batches, "%s %s %s\n", e.Stream, e.ID, e.Rec)
			}
		}
		if b.Seq == last {
			cancel()
		}
		return nil
	})
	if ctx.Err() == nil {
		t.Fatal(err)
	}
	return []output{{"the store's nouns", nouns.Bytes(), true}, {"the store's batches", batches.Bytes(), true}}
}
