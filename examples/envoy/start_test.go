package envoy

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Start says what is wrong before it runs anything.
func TestStartRefusesConfig(t *testing.T) {
	good := config("/run/authz.sock", nil)
	for _, test := range []struct {
		name string
		bend func(*Config)
		want string
	}{
		{"socket too long", func(c *Config) { c.Socket = "/" + strings.Repeat("s", 103) }, "104 bytes, at most 103"},
		{"upstream without port", func(c *Config) { c.Upstream = "127.0.0.1" }, "upstream"},
		{"upstream port too large", func(c *Config) { c.Upstream = "127.0.0.1:65536" }, "upstream"},
		{"upstream port named", func(c *Config) { c.Upstream = "127.0.0.1:http" }, "upstream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := good
			test.bend(&cfg)
			if e, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start = %v, %v; want an error with %q", e, err, test.want)
			}
		})
	}
}

// An Envoy that does not start says why, through the error and the log.
func TestStartFails(t *testing.T) {
	for _, test := range []struct {
		name string
		bend func(*Config)
		want string
	}{
		{"bad JWKS", func(c *Config) { c.JWKS = []byte("{}") }, "jwks"},
		{"unknown field", func(c *Config) { c.Edit = func(root map[string]any) { root["listenerz"] = 1 } }, "listenerz"},
		{"port in use", func(c *Config) { c.Port = port(t, edge) }, "Address already in use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := config(checks.socket, nil)
			cfg.Log = &log
			test.bend(&cfg)
			_, err := Start(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start: %v; want an error with %q", err, test.want)
			}
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("log %q, want it to have %q", log.String(), test.want)
			}
		})
	}
}

// The same Envoy can be started again at its port; it is gone after Stop, and
// so are its files.
func TestStop(t *testing.T) {
	cfg := config(checks.socket, nil)
	for range 2 {
		e, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Port != 0 && port(t, e) != cfg.Port {
			t.Errorf("listens at %s, want port %d", e.URL(), cfg.Port)
		}
		cfg.Port = port(t, e)
		for range 2 {
			if err := e.Stop(); err != nil {
				t.Error(err)
			}
		}
		if err := syscall.Kill(e.PID(), 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v, want it gone", e.PID(), err)
		}
		if _, err := os.Stat(e.dir); !os.IsNotExist(err) {
			t.Errorf("%s: %v, want it gone", e.dir, err)
		}
	}
}

// Stop tells of an Envoy that had died.
func TestStopAfterDeath(t *testing.T) {
	e, err := Start(t.Context(), config(checks.socket, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(e.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.Done()
	if err := e.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop: %v, want the signal", err)
	}
}

func TestStat(t *testing.T) {
	const name = "cluster.payments.upstream_rq_total"
	before, err := edge.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	script(allow)
	expect(t, post(t, edge, "/", "{}"), 200, 1, 1)
	if after, err := edge.Stat(t.Context(), name); after != before+1 || err != nil {
		t.Errorf("%s = %d, %v; want %d", name, after, err, before+1)
	}
	for _, unknown := range []string{"cluster.payments.upstream_rq_tota", "cluster.payments.*", ""} {
		if got, err := edge.Stat(t.Context(), unknown); err == nil {
			t.Errorf("%q = %d, want an error", unknown, got)
		}
	}
}

// The admin interface is read-only.
func TestAdminIsReadOnly(t *testing.T) {
	for _, path := range []string{"/quitquitquit", "/runtime_modify?a=0", "/drain_listeners", "/healthcheck/fail",
		"/logging?level=trace", "/reset_counters"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, edge.AdminURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp := send(t, req); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %s, want 403", path, resp.Status)
		}
	}
}
