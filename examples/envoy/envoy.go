package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds a start; 44 to 82 ms were measured.
	startTimeout = 30 * time.Second
	// stopTimeout is how long Envoy may take to end before it is killed; about
	// 10 ms were measured. Requests in flight are cut.
	stopTimeout = 5 * time.Second
	// pollInterval is how often the admin port is asked while waiting.
	pollInterval = 10 * time.Millisecond
	// tailSize is how much of Envoy's log an error carries, in bytes.
	tailSize = 4 << 10
)

// Config says what stands around one Envoy.
type Config struct {
	// Socket is the sidecar's unix socket. Nothing needs to listen there yet:
	// Envoy starts anyway and answers 503.
	Socket string
	// API is the unix socket of the sidecar's own API, which shows what became of
	// calls below /countersign/v1/. Empty leaves the one of envoy.yaml.
	API string
	// Upstream is the payment service, "address:port"; the address is an IP.
	Upstream string
	// Port is where Envoy listens on 127.0.0.1; 0 takes any free port.
	Port int
	// TLS is the directory with what tls/listener.yaml names: server.yaml, clients.yaml
	// and their files. Empty means a listener without TLS.
	TLS string
	// JWKS is the key set that tokens are verified with.
	JWKS []byte
	// Edit, if set, bends the configuration after the values above are in it.
	// See At, Manager, Filter and Cluster. For tests.
	Edit func(root map[string]any)
	// Log, if set, gets what Envoy writes: warnings and worse. It may be
	// written to until Stop returns.
	Log io.Writer
}

// An Envoy is a running process.
type Envoy struct {
	dir    string // configuration and admin address; removed by Stop
	admin  string // "127.0.0.1:port"
	scheme string // http or https
	addr   string // "127.0.0.1:port"
	tail   *tail

	process *os.Process
	done    chan struct{} // closed when the process has ended
	exit    error         // how it ended; read after done

	stop    sync.Once
	stopErr error
}

// Start runs Envoy and returns when it accepts connections. ctx bounds the
// start only; the process lives until Stop, and on Linux not longer than its
// parent.
func Start(ctx context.Context, cfg Config) (*Envoy, error) {
	file, err := render(cfg)
	if err != nil {
		return nil, err
	}
	path, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "envoy-")
	if err != nil {
		return nil, fmt.Errorf("envoy: %w", err)
	}
	scheme := "http"
	if cfg.TLS != "" {
		scheme = "https"
	}
	e := &Envoy{dir: dir, scheme: scheme, tail: &tail{next: cfg.Log}, done: make(chan struct{})}
	if err := e.start(ctx, path, file); err != nil {
		return nil, errors.Join(err, e.discard())
	}
	return e, nil
}

func (e *Envoy) start(ctx context.Context, path string, file []byte) error {
	config := filepath.Join(e.dir, "envoy.json")
	if err := os.WriteFile(config, file, 0o600); err != nil {
		return fmt.Errorf("envoy: %w", err)
	}
	adminFile := filepath.Join(e.dir, "admin")
	cmd := exec.Command(path, "-c", config,
		"--concurrency", "1", "--disable-hot-restart", "--log-level", "warning",
		"--admin-address-path", adminFile)
	cmd.Stdout, cmd.Stderr = e.tail, e.tail
	bindToParent(cmd)
	if err := e.run(cmd); err != nil {
		return fmt.Errorf("envoy: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := e.await(ctx, func() error { return e.ready(ctx, adminFile) }); err != nil {
		return fmt.Errorf("envoy: start: %w\n%s", err, e.tail)
	}
	return nil
}

// run starts the process and waits for its end in the background, both on one
// thread that does nothing else: the kernel kills the child when the thread
// that made it ends (prctl(2), PR_SET_PDEATHSIG), and Go may end a thread.
func (e *Envoy) run(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		e.process = cmd.Process
		started <- err
		if err == nil {
			e.exit = cmd.Wait()
			close(e.done)
		}
	}()
	return <-started
}

// await calls try until it returns nil, the process ends or ctx does.
func (e *Envoy) await(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-e.done:
			return fmt.Errorf("it ended: %v", e.exit)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// ready learns the two ports; it returns an error until Envoy serves.
func (e *Envoy) ready(ctx context.Context, adminFile string) error {
	admin, err := os.ReadFile(adminFile)
	if err != nil {
		return err
	}
	if e.admin = strings.TrimSpace(string(admin)); e.admin == "" {
		return errors.New("no admin address yet")
	}
	if _, err := e.Admin(ctx, "/ready"); err != nil {
		return err
	}
	e.addr, err = e.listener(ctx, "ingress")
	return err
}

// Admin gets a page of the admin interface and returns its body.
func (e *Envoy) Admin(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.AdminURL()+path, nil)
	if err != nil {
		return nil, fmt.Errorf("envoy: %w", err)
	}
	req.Close = true // keep no connection that would outlive a test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("envoy: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("envoy: GET %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("envoy: GET %s: %s", path, resp.Status)
	}
	return body, nil
}

// URL is where clients call, without a slash at the end.
func (e *Envoy) URL() string { return e.scheme + "://" + e.addr }

// AdminURL is the admin interface, without a slash at the end.
func (e *Envoy) AdminURL() string { return "http://" + e.admin }

// PID is the process's id.
func (e *Envoy) PID() int { return e.process.Pid }

// Done is closed when the process has ended.
func (e *Envoy) Done() <-chan struct{} { return e.done }

// Stop ends the process and says how it ended: nil after a clean exit. Calling
// it again returns the same.
func (e *Envoy) Stop() error {
	e.stop.Do(func() { e.stopErr = e.end() })
	return e.stopErr
}

func (e *Envoy) end() error {
	defer os.RemoveAll(e.dir)
	select {
	case <-e.done:
		return fmt.Errorf("envoy: it had ended by itself: %v\n%s", e.exit, e.tail)
	default:
	}
	_ = e.process.Signal(syscall.SIGTERM) // it fails only if the process has just ended
	select {
	case <-e.done:
	case <-time.After(stopTimeout):
		_ = e.process.Kill()
		<-e.done
	}
	if e.exit != nil {
		return fmt.Errorf("envoy: stop: %w\n%s", e.exit, e.tail)
	}
	return nil
}

// discard cleans up after a start that failed.
func (e *Envoy) discard() error {
	if e.process != nil {
		_ = e.process.Kill()
		<-e.done
	}
	return os.RemoveAll(e.dir)
}

// Main is for TestMain: it starts one Envoy, calls run with it and returns the
// exit code of the process, which is not 0 if Envoy did not start or did not
// end well.
func Main(cfg Config, run func(*Envoy) int) (code int) {
	e, err := Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := e.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	return run(e)
}

// tail passes a log on and keeps its end.
type tail struct {
	next io.Writer // may be nil

	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	if over := len(t.end) - tailSize; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	if t.next == nil {
		return len(p), nil
	}
	return t.next.Write(p)
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
