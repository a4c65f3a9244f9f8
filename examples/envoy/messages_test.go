package envoy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/sidecar/outbox"
)

const messagesPath = "/countersign/v1/messages"

// The shipped configuration lets a stream of messages go on for as long as pings come,
// and takes it before the route of everything else below /countersign/v1/.
func TestMessagesRoute(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal(configYAML, &root); err != nil {
		t.Fatal(err)
	}
	hosts := object(At(root, below(managerPath, "route_config", "virtual_hosts", "payments")...))
	routes := hosts["routes"].([]any)
	place := func(name string) int {
		return slices.IndexFunc(routes, func(r any) bool { return r.(map[string]any)["name"] == name })
	}
	messages, api := place("countersign_messages"), place("countersign_api")
	if messages < 0 || messages > api {
		t.Fatalf("the route of messages is number %d, that of the API number %d", messages, api)
	}
	match := object(At(routes, "countersign_messages", "match"))
	method := object(At(match, "headers", ":method", "string_match"))
	if match["path"] != messagesPath || method["exact"] != http.MethodGet {
		t.Errorf("the route matches %v", match)
	}
	action := object(At(routes, "countersign_messages", "route"))
	idle, err := time.ParseDuration(fmt.Sprint(action["idle_timeout"]))
	if err != nil || idle < 2*outbox.DefaultPing {
		t.Errorf("a stream is given up after %v, pings come every %v: %v", action["idle_timeout"], outbox.DefaultPing, err)
	}
	if action["timeout"] != "0s" {
		t.Errorf("a stream ends after %v", action["timeout"])
	}
	cluster := object(Cluster(root, fmt.Sprint(action["cluster"])))
	if action["cluster"] == "countersign_api" || cluster["circuit_breakers"] == nil {
		t.Errorf("streams take the connections of other calls, or have too few: %v", action)
	}
}

// What a stream writes passes at once, and the timeouts of other calls do not end it.
func TestMessagesStream(t *testing.T) {
	script(allow)
	goOn := make(chan struct{})
	api := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "text/event-stream")
		fmt.Fprint(w, "id: 1\n\n")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if r.URL.Path == messagesPath {
			<-goOn
			fmt.Fprint(w, "id: 2\n\n")
			return
		}
		<-r.Context().Done() // Envoy gives it up
	})
	const short = "0.3s"
	e := bent(t, checks.socket, func(root map[string]any) {
		manager := object(Manager(root))
		manager["stream_idle_timeout"] = short
		for _, cluster := range []string{"countersign_api", "countersign_messages"} {
			object(At(root, below(endpointPath(cluster), "pipe")...))["path"] = api
		}
		routes := object(At(manager, "route_config", "virtual_hosts", "payments"))["routes"]
		object(At(routes, "countersign_api", "route"))["timeout"] = short
	})
	stream := open(t, e, messagesPath)
	wantLine(t, stream, "id: 1\n")
	// Beside it a call of the API is cut off: by then the stream has outlived both.
	other := open(t, e, "/countersign/v1/grants")
	wantLine(t, other, "id: 1\n")
	if rest, err := other.ReadString('!'); err == nil {
		t.Errorf("the call goes on with %q", rest)
	}
	close(goOn)
	wantLine(t, stream, "id: 2\n")
	if len(asked()) != 2 {
		t.Errorf("%d checks, want 2", len(asked()))
	}
}

// serveAPI serves a sidecar's API on a socket, and returns its path.
func serveAPI(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "api.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return path
}

// open calls with a good token, and returns the body as it comes.
func open(t *testing.T, e *Envoy, path string) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token(t, time.Minute, nil))
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	return bufio.NewReader(resp.Body)
}

// wantLine reads a line and the empty one after it.
func wantLine(t *testing.T, from *bufio.Reader, want string) {
	t.Helper()
	for _, line := range []string{want, "\n"} {
		if got, err := from.ReadString('\n'); got != line || err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, line)
		}
	}
}
