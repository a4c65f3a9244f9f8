package envoy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/examples/issuer"
	"github.com/countersign/countersign/policies/policiestest"
	countersign "github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/policy"
	signed "github.com/countersign/countersign/sidecar/upstream"
)

// The corpora send what clients should not through Envoy to a real sidecar. Of
// each case either nothing reaches the upstream, or what reaches it was decided,
// and the upstream reads in it what was decided on.

// corpusRoutes has one route for each way to send a payment.
const corpusRoutes = `system: direct_payment
identity: {source: jwt, issuer: "https://id.example", kind: user}
upstream: {audience: payments.example, idempotent: true}
routes:
- match: {method: POST, path: "/v1/accounts/{account}/payments"}
  operation: pay
  fields:
    account: {path: account}
    payee: {json: /payee}
    amount_minor: {json: /amount_minor}
    currency: {json: /currency}
  facts: {account: write}
- match: {method: POST, path: "/v1/payees/{payee}/payments"}
  operation: pay
  fields:
    account: {json: /account}
    payee: {path: payee}
    amount_minor: {json: /amount_minor}
    currency: {json: /currency}
  facts: {account: write}
- match: {method: POST, path: "/headers/{account}"}
  operation: pay
  fields:
    account: {path: account}
    payee: {header: x-payee}
    amount_minor: {header: x-amount-minor}
    currency: {constant: EUR}
  facts: {account: write}
- match: {method: POST, path: "/queries/{account}"}
  operation: pay
  fields:
    account: {path: account}
    payee: {query: payee}
    amount_minor: {query: amount_minor}
    currency: {query: currency}
  facts: {account: write}
- match: {method: POST, path: "/forms/{account}"}
  operation: pay
  fields:
    account: {path: account}
    payee: {form: payee}
    amount_minor: {form: amount_minor}
    currency: {form: currency}
  facts: {account: write}
`

// corpus is an Envoy before a real sidecar.
type corpus struct {
	edge      *Envoy
	decisions decisionLog
	sent      int // cases, for keys of their own
	passed    int // requests that reached the upstream
}

// newCorpus starts both, until the test ends.
func newCorpus(t *testing.T) *corpus {
	t.Helper()
	c := &corpus{}
	dir := t.TempDir()
	putAccounts(t, filepath.Join(dir, "data"))
	key, err := signed.SharedKey([]byte(rand.Text() + rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(filepath.Dir(checks.socket), "corpus.sock") // short enough
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- countersign.Run(ctx, countersign.Config{
			Listen: "unix:" + socket, DataDir: filepath.Join(dir, "data"), Policies: corpusBundle(t), DecisionLog: &c.decisions,
			TokenKeys: map[string]signed.Key{"payments.example": key},
			Policy:    policy.Config{Budget: time.Second}, // the machine may be busy
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("sidecar: %v", err)
		}
	})
	c.edge = bent(t, socket, func(root map[string]any) {
		check := object(Cluster(root, "countersign"))["health_checks"].([]any)[0].(map[string]any)
		check["interval"], check["no_traffic_interval"] = "0.05s", "0.05s"
		object(Manager(root))["request_timeout"] = "1s" // for bodies that stop short
	})
	ready, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.edge.AwaitSidecar(ready, true); err != nil {
		t.Fatal(err)
	}
	script(deny) // forgets what reached the upstream before; nobody asks the fake
	return c
}

func putAccounts(t *testing.T, dir string) {
	t.Helper()
	store, err := countersign.OpenStore(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, subject := range map[string]string{"acc_anna": "merchant-7", "acc_ben": "ben"} {
		owner := authzstore.Identity{Kind: "user", Issuer: issuer.URL, Subject: subject}
		cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: owner, NowNanos: time.Now().UnixNano()}
		account := authzstore.Account{ID: id, Owner: owner, State: authzstore.AccountActive, Currency: "EUR", MaxPaymentMinor: 1 << 40}
		if err := store.PutAccount(t.Context(), cause, account); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func corpusBundle(t *testing.T) fs.FS {
	bundle := policiestest.Files(t)
	bundle["systems/direct_payment/routes.yaml"] = &fstest.MapFile{Data: []byte(corpusRoutes)}
	return bundle
}

// fill puts a good token and a key of its own into a case.
func (c *corpus) fill(t *testing.T, text string) string {
	c.sent++
	return strings.NewReplacer("$TOKEN", token(t, time.Minute, nil), "$KEY", "case-"+strconv.Itoa(c.sent)).Replace(text)
}

// followUp is how long the answer to a second request on a connection may take.
// One that comes later was sent to the upstream all the same, and finish counts it.
const followUp = 200 * time.Millisecond

// send writes one request, whatever it is, and reads until Envoy closes the
// connection or says no more. It returns the status of the first answer, 0 without one.
func (c *corpus) send(text string) (status int, err error) {
	conn, err := net.Dial("tcp", c.edge.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	_, _ = io.WriteString(conn, text) // Envoy may have closed before the end
	for r := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return status, nil // whatever the end is, what counts is what reached the upstream
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if status < 200 {
			status = resp.StatusCode
		}
		if resp.Close { // else Envoy waits a second for the client to close
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		if status >= 200 { // what follows is an answer to what followed, or nothing
			_ = conn.SetReadDeadline(time.Now().Add(followUp))
		}
	}
}

// A facts is a payment as somebody reads it.
type facts struct {
	Account     string `json:"-"`
	Payee       string `json:"payee"`
	AmountMinor int64  `json:"amount_minor"`
	Currency    string `json:"currency"`
	subject     string
}

// run sends one case and judges what reached the upstream. It returns how many
// requests did.
func (c *corpus) run(t *testing.T, text string) int {
	t.Helper()
	before := len(paid())
	status, err := c.send(c.fill(t, text))
	if err != nil {
		t.Fatal(err)
	}
	reached := paid()[before:]
	for _, r := range reached {
		c.judge(t, r)
	}
	if (status >= 200 && status < 300) != (len(reached) > 0) {
		t.Errorf("status %d, and %d requests reached the upstream", status, len(reached))
	}
	c.passed += len(reached)
	return len(reached)
}

// runAll sends cases side by side, because some of them wait for Envoy's
// patience to end, and judges what reached the upstream. No key may do so twice.
func (c *corpus) runAll(t *testing.T, texts []string) {
	t.Helper()
	before := len(paid())
	var wait sync.WaitGroup
	turns := make(chan struct{}, 32)
	for _, text := range texts {
		text = c.fill(t, text)
		wait.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if _, err := c.send(text); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	keys := map[string]bool{}
	for _, r := range paid()[before:] {
		c.judge(t, r)
		key := r.Header.Get("Idempotency-Key")
		if keys[key] || !strings.HasPrefix(key, "case-") {
			t.Errorf("%s reached the upstream twice, or is no case: %s %s %q", key, r.Method, r.RequestURI, r.body)
		}
		keys[key] = true
		c.passed++
	}
}

// judge compares what the upstream reads with what was decided on.
func (c *corpus) judge(t *testing.T, r received) {
	t.Helper()
	ids := r.Header.Values("Countersign-Decision-Id")
	if len(ids) != 1 {
		t.Errorf("undecided: %s %s with the decision IDs %q", r.Method, r.RequestURI, ids)
		return
	}
	want, outcome := c.decisions.await(t, ids[0])
	if outcome != "allow" {
		t.Errorf("%s reached the upstream, and its outcome is %q", ids[0], outcome)
	}
	read, err := readPayment(r)
	if err != nil || read != want {
		t.Errorf("misread: %s %s %q\ndecided %+v\nread    %+v, %v", r.Method, r.RequestURI, r.body, want, read, err)
	}
	for name, values := range r.Header {
		if isOurs(name) && strings.Contains(strings.Join(values, ","), "forged") {
			t.Errorf("the upstream got %s: %q", name, values)
		}
	}
	if keys := r.Header.Values("Idempotency-Key"); len(keys) != 1 || keys[0] == "" || strings.ContainsAny(keys[0], ", \t") {
		t.Errorf("the upstream got the idempotency keys %q", keys)
	}
}

// isOurs tells whether only this side may set a header, or nobody.
func isOurs(name string) bool {
	name = strings.ToLower(name)
	for _, prefix := range []string{"countersign-", "x-envoy-", "x-forwarded-", "x-http-method", "x-original-", "x-rewrite-", "x-override-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"forwarded", "x-real-ip", "x-request-id", "x-method-override", "x-host", "upgrade", "content-range", "authorization"}, name)
}

// readPayment reads a request as a service would, with the libraries that every
// service in Go uses: they take more than the sidecar does.
func readPayment(r received) (f facts, err error) {
	target, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return facts{}, err
	}
	segments := strings.Split(strings.Trim(target.Path, "/"), "/")
	if r.Method != http.MethodPost || len(segments) < 2 {
		return facts{}, fmt.Errorf("no payment")
	}
	if segments[0] != "queries" && strings.Contains(r.RequestURI, "?") {
		return facts{}, errors.New("a query that nobody decided on")
	}
	account := segments[1]
	switch segments[0] {
	case "v1":
		if account, err = readJSON(r, segments, &f); err != nil {
			return facts{}, err
		}
	case "headers":
		f, err = readValues(func(name string) []string {
			if name == "currency" {
				return []string{"EUR"}
			}
			return r.Header.Values("x-" + strings.ReplaceAll(name, "_", "-"))
		})
	case "queries":
		f, err = readValues(func(name string) []string { return target.Query()[name] })
	case "forms":
		var form url.Values
		if form, err = url.ParseQuery(r.body); err == nil {
			f, err = readValues(func(name string) []string { return form[name] })
		}
	}
	f.Account = account
	f.subject = subjectOf(r.Header.Values("Authorization"))
	return f, err
}

// readJSON reads a payment whose account, or payee, stands in the path, and the
// rest in a body of JSON.
func readJSON(r received, segments []string, f *facts) (account string, err error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", fmt.Errorf("a body of the type %q, %v", r.Header.Get("Content-Type"), err)
	}
	if len(segments) != 4 || segments[3] != "payments" {
		return "", errors.New("no payment")
	}
	// It takes members in other cases and twice, and whatever follows.
	if err := json.NewDecoder(strings.NewReader(r.body)).Decode(f); err != nil {
		return "", err
	}
	if segments[1] == "accounts" {
		return segments[2], nil
	}
	var body struct{ Account string }
	err = json.NewDecoder(strings.NewReader(r.body)).Decode(&body)
	f.Payee = segments[2]
	return body.Account, err
}

// readValues takes the first of repeated values, as Get does, and says so if there
// are more.
func readValues(get func(name string) []string) (f facts, err error) {
	for _, name := range []string{"payee", "amount_minor", "currency"} {
		if n := len(get(name)); n != 1 {
			return facts{}, fmt.Errorf("%d values of %s", n, name)
		}
	}
	f.Payee, f.Currency = get("payee")[0], get("currency")[0]
	f.AmountMinor, err = strconv.ParseInt(get("amount_minor")[0], 10, 64)
	return f, err
}

// subjectOf reads the token as an upstream that trusts Envoy does.
func subjectOf(authorization []string) string {
	if len(authorization) != 1 {
		return fmt.Sprintf("%d tokens", len(authorization))
	}
	parts := strings.Split(strings.TrimPrefix(authorization[0], "Bearer "), ".")
	if len(parts) != 3 {
		return "no token"
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Sub string }
	_ = json.Unmarshal(payload, &claims) // then the subject is nobody's
	return claims.Sub
}

// decisionLog is what the sidecar wrote about its decisions.
type decisionLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	read map[string]decided
}

type decided struct {
	facts   facts
	outcome string
}

func (l *decisionLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// await returns what was decided under an ID. The log is written behind the
// answers.
func (l *decisionLog) await(t *testing.T, id string) (facts, string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if d, ok := l.find(t, id); ok {
			return d.facts, d.outcome
		}
	}
	t.Errorf("undecided: no decision %s in the log", id)
	return facts{}, ""
}

func (l *decisionLog) find(t *testing.T, id string) (decided, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for bytes.IndexByte(l.text.Bytes(), '\n') >= 0 {
		line, _ := l.text.ReadBytes('\n')
		var record struct {
			DecisionID string `json:"decision_id"`
			Outcome    string `json:"outcome"`
			Input      struct {
				Call struct {
					facts
					Account string
				}
				Identity struct{ Subject string }
			} `json:"input"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			t.Fatalf("decision log: %v", err)
		}
		read := record.Input.Call.facts
		read.Account, read.subject = record.Input.Call.Account, record.Input.Identity.Subject
		if l.read == nil {
			l.read = map[string]decided{}
		}
		l.read[record.DecisionID] = decided{read, record.Outcome}
	}
	d, ok := l.read[id]
	return d, ok
}

// finish counts once more: a request that came late was judged by nobody.
func (c *corpus) finish(t *testing.T, cases, passedAtLeast int) {
	t.Helper()
	if got := len(paid()); got != c.passed {
		t.Errorf("%d requests reached the upstream, %d were judged", got, c.passed)
	}
	t.Logf("%d cases, %d requests reached the upstream", c.sent, c.passed)
	if c.sent < cases || c.passed < passedAtLeast || c.passed > c.sent/2 {
		t.Errorf("a poor corpus: %d cases, %d passed", c.sent, c.passed)
	}
}
