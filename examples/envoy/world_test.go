package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/countersign/countersign/examples/issuer"
)

// patience bounds whatever a test waits for; nothing is measured with it.
const patience = 30 * time.Second

// The suite shares one Envoy with the shipped configuration, one sidecar, one
// upstream and one issuer. Tests do not run in parallel.
var (
	edge     *Envoy
	checks   = &sidecar{}
	payments = &upstream{}
	provider *issuer.Issuer
)

func TestMain(m *testing.M) {
	if run, ok := helpers[os.Getenv("ENVOY_TEST_HELPER")]; ok {
		run()
		return
	}
	os.Exit(suite(m))
}

func suite(m *testing.M) int {
	dir, err := os.MkdirTemp("", "authz-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if provider, err = issuer.New(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	payments.server = httptest.NewServer(payments)
	defer payments.server.Close()
	if err := checks.listen(filepath.Join(dir, "authz.sock")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer checks.server.Stop()
	return Main(config(checks.socket, nil), func(e *Envoy) int {
		edge = e
		return m.Run()
	})
}

func config(socket string, edit func(map[string]any)) Config {
	return Config{Socket: socket, Upstream: payments.server.Listener.Addr().String(), JWKS: provider.JWKS(), Edit: edit}
}

// bent starts another Envoy, with another sidecar socket or configuration.
func bent(t *testing.T, socket string, edit func(root map[string]any)) *Envoy {
	t.Helper()
	return started(t, config(socket, edit))
}

// started is an Envoy for the time of a test.
func started(t *testing.T, cfg Config) *Envoy {
	t.Helper()
	e, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// object is for Edit functions, which cannot return an error.
func object(node map[string]any, err error) map[string]any {
	if err != nil {
		panic(err)
	}
	return node
}

// answer is how a fake sidecar replies.
type answer func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error)

// sidecar is a fake: it remembers what it was asked.
type sidecar struct {
	authv3.UnimplementedAuthorizationServer
	socket string
	server *grpc.Server
	health *health.Server

	mu     sync.Mutex
	answer answer
	asked  []*authv3.CheckRequest
}

func (s *sidecar) listen(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s.socket, s.server, s.health, s.answer = socket, grpc.NewServer(), health.NewServer(), allow
	s.health.SetServingStatus(authv3.Authorization_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s.server, s.health)
	authv3.RegisterAuthorizationServer(s.server, s)
	go s.server.Serve(l)
	return nil
}

func (s *sidecar) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	reply := s.answer
	s.mu.Unlock()
	return reply(ctx, req)
}

// upstream is a fake payment service: it remembers what reached it, and breaks
// off or fails if the header test-upstream says so.
type upstream struct {
	server *httptest.Server

	mu   sync.Mutex
	seen []received
}

type received struct {
	*http.Request
	body string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		body = fmt.Append(body, "<", err, ">")
	}
	u.mu.Lock()
	u.seen = append(u.seen, received{r, string(body)})
	u.mu.Unlock()
	switch r.Header.Get("Test-Upstream") {
	case "reset":
		panic(http.ErrAbortHandler)
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "403":
		w.WriteHeader(http.StatusForbidden)
	}
	io.WriteString(w, "paid")
}

// script sets the sidecar's answer and forgets what was seen before.
func script(a answer) {
	checks.mu.Lock()
	checks.answer, checks.asked = a, nil
	checks.mu.Unlock()
	payments.mu.Lock()
	payments.seen = nil
	payments.mu.Unlock()
}

// asked returns the checks since script.
func asked() []*authv3.CheckRequest {
	checks.mu.Lock()
	defer checks.mu.Unlock()
	return checks.asked
}

// paid returns the calls that reached the upstream since script.
func paid() []received {
	payments.mu.Lock()
	defer payments.mu.Unlock()
	return payments.seen
}

// allow is a proper allow: status 0 and the word "allow" in the metadata.
func allow(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:          &status.Status{Code: int32(codes.OK)},
		HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
		DynamicMetadata: outcome("allow"),
	}, nil
}

// deny is a proper denial.
func deny(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_Forbidden},
			Body:   `{"code":"no_permit"}`,
		}},
		DynamicMetadata: outcome("deny"),
	}, nil
}

// allowWith is a proper allow that also changes the request.
func allowWith(ok *authv3.OkHttpResponse) answer {
	return func(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
		resp, err := allow(ctx, req)
		resp.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: ok}
		return resp, err
	}
}

// reply always answers with resp.
func reply(resp *authv3.CheckResponse) answer {
	return func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) { return resp, nil }
}

func outcome(word string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"outcome": structpb.NewStringValue(word)}}
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// token makes a good token, bent by extra.
func token(t *testing.T, ttl time.Duration, extra map[string]any) string {
	t.Helper()
	tok, err := provider.Token("merchant-7", ttl, extra)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// response is what a client got.
type response struct {
	*http.Response
	body string
}

// reason is the one that leads, as the caller hears it.
func (r response) reason(t *testing.T) string {
	t.Helper()
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(r.body), &problem); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return problem.Code
}

// post pays through e with a good token; header pairs are added.
func post(t *testing.T, e *Envoy, path, body string, header ...string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token(t, time.Minute, nil))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return send(t, req)
}

func send(t *testing.T, req *http.Request) response {
	t.Helper()
	return sendBy(t, &http.Client{Timeout: patience}, req)
}

// sendBy is send by this client.
func sendBy(t *testing.T, client *http.Client, req *http.Request) response {
	t.Helper()
	req.Close = true
	resp, err := answered(client, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// answered sends a request, and reads the whole answer.
func answered(client *http.Client, req *http.Request) (response, error) {
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return response{resp, string(body)}, err
}

// expect fails unless the client got the status, the sidecar was asked and the
// upstream was called as often as wanted since script.
func expect(t *testing.T, resp response, status, wantAsked, wantPaid int) {
	t.Helper()
	if resp.StatusCode != status || len(asked()) != wantAsked || len(paid()) != wantPaid {
		t.Errorf("status %d, %d checks, %d calls upstream; want %d, %d, %d; body %q",
			resp.StatusCode, len(asked()), len(paid()), status, wantAsked, wantPaid, resp.body)
	}
}

// port is where e listens.
func port(t *testing.T, e *Envoy) int {
	t.Helper()
	_, text, err := net.SplitHostPort(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
