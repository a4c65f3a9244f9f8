package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/examples/envoy"
	"github.com/countersign/countersign/examples/issuer"
	"github.com/countersign/countersign/examples/payments"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/upstream"
)

const (
	tokenLife = time.Hour
	keepPort  = 10000 // where Envoy listens when it stays, if the port is free

	startTimeout = 3 * time.Minute // the bundle's tests run first, and a busy machine takes its time
	stopTimeout  = 10 * time.Second
)

// world is everything that runs: the payment service and the issuer in this
// process, Envoy and the sidecar in their own.
type world struct {
	binary, dir string
	socketDir   string // short: the path of a unix socket has about 100 bytes
	payments    *payments.Service
	upstream    *http.Server
	upstreamURL string
	paymentsLog *os.File
	pages       *http.Server // that play devices; nil unless everything stays
	issuer      *issuer.Issuer
	envoy       *envoy.Envoy
	sidecar     *exec.Cmd
	decided     map[string]int    // decision ID → number of the call
	keys        map[string]string // idempotency keys by their name in the steps
	names       map[string]string // what the {NAME}s in steps stand for
	devices     map[string]*device
	read        map[string]uint64   // number of the last message that a terminal has read
	codes       map[string][]string // by challenge, those that terminals got
	kept        bool                // a person may have killed the sidecar
}

func newWorld(ctx context.Context, binary, dir string) (_ *world, err error) {
	w := &world{binary: binary, dir: dir, decided: map[string]int{}, keys: map[string]string{},
		names: map[string]string{}, devices: map[string]*device{}, read: map[string]uint64{}, codes: map[string][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, err
	}
	if w.socketDir, err = os.MkdirTemp("", "countersign-demo-"); err != nil {
		return nil, err
	}
	if w.issuer, err = issuer.New(); err != nil {
		return nil, err
	}
	if err := errors.Join(w.makeKey(ctx), os.CopyFS(w.policies(), policies.FS), w.tunePolicies()); err != nil {
		return nil, err
	}
	fmt.Print("Starting a sidecar, which tests its rules first, a payment service, and Envoy (fetched the first time, about 40 MB).\n\n")
	if err := w.startSidecar(ctx); err != nil {
		return nil, err
	}
	if err := w.seed(ctx); err != nil {
		return nil, err
	}
	if err := w.openPayments(ctx); err != nil {
		return nil, err
	}
	address, err := w.startPayments()
	if err != nil {
		return nil, err
	}
	w.envoy, err = envoy.Start(ctx, envoy.Config{
		Socket:   w.socket(),
		API:      w.apiSocket(),
		Upstream: address,
		Port:     freePort(keepPort),
		JWKS:     w.issuer.JWKS(),
	})
	if err != nil {
		return nil, err
	}
	return w, w.envoy.AwaitSidecar(ctx, true)
}

func (w *world) socket() string { return filepath.Join(w.socketDir, "authz.sock") }

// apiSocket is where the sidecar shows owners and delegates their grants.
func (w *world) apiSocket() string { return filepath.Join(w.socketDir, "api.sock") }

// countersign runs the command that an operator has, on the demo's data.
func (w *world) countersign(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, w.binary, append(args, "--data", filepath.Join(w.dir, "data"))...).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w\n%s", err, failed.Stderr)
	}
	if err != nil {
		err = fmt.Errorf("countersign %s: %w", args[0], err)
	}
	return out, err
}

// policies is a copy of the built-in rules, for whoever wants to change one.
func (w *world) policies() string { return filepath.Join(w.dir, "policies") }

func (w *world) keyFile() string { return filepath.Join(w.dir, "payments.key") }

// makeKey makes the key that the sidecar and the payment service share.
func (w *world) makeKey(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, w.binary, "key", "new", w.keyFile()).CombinedOutput(); err != nil {
		return fmt.Errorf("key new: %w\n%s", err, out)
	}
	return nil
}

// openPayments asks which store it is that decides, and opens the service.
func (w *world) openPayments(ctx context.Context) error {
	out, err := w.countersign(ctx, "store", "id")
	if err != nil {
		return err
	}
	key, err := upstream.ReadKey(w.keyFile())
	if err != nil {
		return err
	}
	verifier, err := upstream.NewVerifier(strings.TrimSpace(string(out)), payments.Audience, key)
	if err != nil {
		return err
	}
	if w.paymentsLog, err = os.OpenFile(filepath.Join(w.dir, "payments.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	w.payments, err = payments.Open(w.dir, verifier, slog.New(slog.NewJSONHandler(w.paymentsLog, nil)))
	return err
}

func (w *world) startPayments() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	w.upstream = &http.Server{Handler: w.payments, ReadHeaderTimeout: time.Second}
	go func() { _ = w.upstream.Serve(listener) }() // until Close
	w.upstreamURL = "http://" + listener.Addr().String()
	return listener.Addr().String(), nil
}

// startSidecar starts the sidecar and returns when its socket is there.
func (w *world) startSidecar(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(w.dir, "countersign.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(w.binary, "serve",
		"--listen", "unix:"+w.socket(),
		"--terminal-api", "unix:"+w.apiSocket(),
		"--data", filepath.Join(w.dir, "data"),
		"--policies", w.policies(),
		"--upstream-key", payments.Audience+"="+w.keyFile())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the demo, which stops it
	if err := cmd.Start(); err != nil {
		return err
	}
	w.sidecar = cmd
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := net.Dial("unix", w.socket())
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the sidecar does not answer; see %s", log.Name())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (w *world) killSidecar(context.Context) error {
	if err := w.sidecar.Process.Kill(); err != nil {
		return err
	}
	_ = w.sidecar.Wait() // it was killed, and says so
	w.sidecar = nil
	return nil
}

func (w *world) restartSidecar(ctx context.Context) error {
	if err := w.startSidecar(ctx); err != nil {
		return err
	}
	return w.envoy.AwaitSidecar(ctx, true)
}

// stop ends whatever was started.
func (w *world) stop() error {
	var errs []error
	if w.pages != nil {
		errs = append(errs, w.pages.Close())
	}
	if w.envoy != nil {
		errs = append(errs, w.envoy.Stop())
	}
	if w.upstream != nil {
		errs = append(errs, w.upstream.Close())
	}
	if w.payments != nil {
		errs = append(errs, w.payments.Close(), w.paymentsLog.Close())
	}
	if w.sidecar != nil {
		_ = w.sidecar.Process.Signal(syscall.SIGTERM) // it fails only if it has ended
		kill := time.AfterFunc(stopTimeout, func() { _ = w.sidecar.Process.Kill() })
		if err := w.sidecar.Wait(); err != nil && !w.kept {
			errs = append(errs, fmt.Errorf("sidecar: %w", err))
		}
		kill.Stop()
	}
	errs = append(errs, os.RemoveAll(w.socketDir))
	return errors.Join(errs...)
}

// freePort returns the port if nobody listens on it, and 0, any port, otherwise.
func freePort(port int) int {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0
	}
	_ = listener.Close()
	return port
}
