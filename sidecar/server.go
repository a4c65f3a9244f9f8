package sidecar

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/clock"
	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/extauthz"
	"github.com/countersign/countersign/sidecar/metrics"
	"github.com/countersign/countersign/sidecar/outbox"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/safelog"
	"github.com/countersign/countersign/sidecar/upstream"
)

// Config of a sidecar.
type Config struct {
	// Listen is where Envoy finds the sidecar; see [extauthz.Listen].
	Listen string
	// SocketMode of a unix socket, 0600 or 0660. Zero means 0600.
	SocketMode fs.FileMode
	// Metrics is where /metrics and /healthz are served: a loopback address or a
	// unix socket, as [extauthz.Listen] takes them. Empty means nowhere.
	Metrics string
	// Control is where the control API is served: a unix socket of mode 0600 or a
	// loopback address, as [extauthz.Listen] takes them. Empty means nowhere.
	Control string
	// TerminalAPI is where Envoy finds the API that shows owners and delegates what
	// built-in operations did, as [extauthz.Listen] takes it; a socket has SocketMode.
	// Empty means nowhere.
	TerminalAPI string
	// DataDir is the directory of the store. It is created where missing.
	DataDir string
	// KeyFile holds the key that secrets are kept under; see loadKeys. Empty means
	// `key` in DataDir, made where it is missing.
	KeyFile string
	// Policies is the bundle: Rego, data and route tables. It is read again and
	// again, and a change of it that is good becomes active; see package bundle.
	// Nil means the built-in one.
	Policies fs.FS
	// DecisionLog receives a line of JSON for each decision that a policy was
	// asked for, written behind the calls: where it does not keep up, lines are
	// left out. Nil means none.
	DecisionLog io.Writer
	// PaymentCodes are the codes by which delegates pay. Its Sealer is the server's.
	PaymentCodes evidence.Config
	// Evidence are the kinds of evidence that a route's secret fields can be, beside
	// payment codes.
	Evidence map[string]evidence.Kind
	// Policy bounds evaluations. Its Stuck is the server's.
	Policy policy.Config
	// MaxInFlight bounds the calls decided at once. Zero means
	// decide.DefaultMaxInFlight.
	MaxInFlight int
	// TokenKeys are the keys that the tokens for payment services are signed with,
	// one for each audience. A call that moves money is not allowed without.
	TokenKeys map[string]upstream.Key
	// Webhooks are the receivers that messages may be sent to, and WebhookRoots what
	// their certificates are checked against; nil means the system's roots.
	Webhooks     []outbox.Receiver
	WebhookRoots *x509.CertPool
	// MessageLog receives every message, with its code, as a line of JSON: to try
	// things out. Nil means none.
	MessageLog io.Writer
	// Retention of records.
	Retention Retention
	// Clock is where the time comes from. Zero means the system's clocks. Its Log
	// is the server's.
	Clock clock.Config
	// Log receives what an operator should know, without what package safelog
	// keeps out. Nil means slog.Default.
	Log *slog.Logger
}

// ErrFailStop: something failed that this process cannot mend (a commit, or an
// evaluation without end). It answers nothing any more and must be restarted.
var ErrFailStop = errors.New("stopped: restart the process")

var (
	errStuck  = fmt.Errorf("an evaluation cannot be stopped: %w", ErrFailStop)
	errCommit = fmt.Errorf("a commit failed: %w", ErrFailStop)
)

// shutdownTimeout is how long the calls in flight may take to end before their
// connections are closed.
const shutdownTimeout = 5 * time.Second

// PoliciesDir is the archive of bundles in the data directory, a bundle.Archive.
const PoliciesDir = "policies"

// reloadEvery is how often the directory of the bundle is read. A change that is
// good is active after two to three times that.
const reloadEvery = time.Second

// OpenStore opens the store in dir. The backend is chosen here and nowhere else.
// A nil log is silent.
func OpenStore(ctx context.Context, dir string, log *slog.Logger) (*authzstore.Store, error) {
	store, _, err := openStore(ctx, dir, log)
	return store, err
}

func openStore(ctx context.Context, dir string, log *slog.Logger) (*authzstore.Store, func() badgerkv.Stats, error) {
	if err := checkPrivate(dir); err != nil {
		return nil, nil, err
	}
	if log != nil {
		log = slog.New(safelog.New(log.Handler()))
	}
	backend, err := badgerkv.Open(ctx, badgerkv.Options{Dir: dir, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return authzstore.New(backend), backend.Stats, nil
}

// checkPrivate refuses a directory that other users can read or write: it holds
// who has which account, and files that a transaction is believed from.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it will be made with mode 0700
	}
	if err != nil {
		return err
	}
	if info.IsDir() && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the store's directory %s has the mode %04o: other users must not get at it; chmod 700 it", dir, info.Mode().Perm())
	}
	return nil
}

// FollowJournal reads the batches after from out of the journal in dir, also
// while another process serves the store; see [badgerkv.Follow].
func FollowJournal(ctx context.Context, dir string, from kv.Pos, wait bool, fn func(kv.Batch) error) error {
	return badgerkv.Follow(ctx, dir, from, wait, fn)
}

// OldestInJournal returns where FollowJournal finds everything that is kept, or
// that was written since a time; see [badgerkv.Oldest].
func OldestInJournal(dir string, since time.Time) (kv.Pos, error) {
	return badgerkv.Oldest(dir, since)
}

// Run runs a sidecar until ctx is done, and then lets the calls in flight end.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg = cfg.withDefaults()
	if err := checkAddresses(cfg); err != nil {
		return err
	}
	stuck := make(chan struct{}, 1)
	cfg.Policy.Stuck = func() {
		select {
		case stuck <- struct{}{}:
		default:
		}
	}
	// Before a store is made for a policy that cannot decide.
	archive := bundle.NewArchive(filepath.Join(cfg.DataDir, PoliciesDir))
	rules, err := bundle.Open(ctx, bundle.HolderConfig{
		Dir:     cfg.Policies,
		Archive: archive,
		Load:    bundle.Config{Policy: cfg.Policy, Vocabulary: vocabulary(cfg)},
		Log:     cfg.Log,
	})
	if err != nil {
		return err
	}
	store, stats, err := openStore(ctx, cfg.DataDir, cfg.Log)
	if err != nil {
		return err
	}
	defer func() {
		// A process that found itself broken only ends: a call may still hold the
		// store, and what was acknowledged is in the journal.
		if !errors.Is(err, ErrFailStop) {
			err = errors.Join(err, store.Close())
		}
	}()
	return opened{store, stats, archive, rules, stuck}.run(ctx, cfg)
}

func (cfg Config) withDefaults() Config {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Log = slog.New(safelog.New(cfg.Log.Handler()))
	if cfg.Policies == nil {
		cfg.Policies = policies.FS
	}
	if cfg.SocketMode == 0 {
		cfg.SocketMode = 0o600
	}
	return cfg
}

// checkAddresses says what listening would refuse of the addresses, and sending of the
// receivers, without looking at the system.
func checkAddresses(cfg Config) error {
	if err := extauthz.CheckAddress(cfg.Listen, cfg.SocketMode); err != nil {
		return err
	}
	for _, beside := range []struct {
		what, address string
		mode          fs.FileMode
	}{
		{"metrics", cfg.Metrics, metricsMode},
		{"control", cfg.Control, controlMode},
		{"terminal API", cfg.TerminalAPI, cfg.SocketMode},
	} {
		if beside.address == "" {
			continue
		}
		if err := extauthz.CheckAddress(beside.address, beside.mode); err != nil {
			return fmt.Errorf("%s: %w", beside.what, err)
		}
	}
	return outbox.CheckReceivers(cfg.Webhooks)
}

// opened is what a sidecar runs on.
type opened struct {
	store   *authzstore.Store
	stats   func() badgerkv.Stats
	archive *bundle.Archive
	rules   *bundle.Holder
	stuck   <-chan struct{} // an evaluation cannot be stopped
}

// run makes everything else from what was opened, and answers until ctx is done.
func (o opened) run(ctx context.Context, cfg Config) error {
	keys, err := loadKeys(cfg.KeyFile, cfg.DataDir)
	if err != nil {
		return err
	}
	codes, err := paymentCodes(cfg, keys)
	if err != nil {
		return err
	}
	proofs, err := newProofs(cfg, keys, codes)
	if err != nil {
		return err
	}
	if err := announce(ctx, o.store, cfg); err != nil {
		return err
	}
	signer, err := newSigner(o.store, cfg, keys)
	if err != nil {
		return err
	}
	timekeeper, stopTime, err := keepTime(ctx, o.store, cfg)
	if err != nil {
		return err
	}
	defer stopTime()
	if err := keepRules(ctx, o.store, o.archive, o.rules); err != nil {
		return fmt.Errorf("the policy cannot be archived: %w", err)
	}
	messages, err := newOutbox(cfg, o.store, proofs, timekeeper.Now)
	if err != nil {
		return err
	}
	defer o.runBeside(cfg, timekeeper.Now)()
	stopAPIs, err := serveAPIs(ctx, cfg, o.store, keys, terminalSecrets(codes, proofs, messages), timekeeper.Now)
	if err != nil {
		return err
	}
	defer stopAPIs()
	defer deliver(cfg, messages)() // first: the terminal API waits for the streams to end
	return serve(ctx, cfg, decide.Config{
		Bundle:        o.rules.Active,
		Store:         o.store,
		Keys:          keys.Keys,
		Evidence:      proofs.kinds,
		Challenges:    proofs.challenges,
		StoredCodes:   proofs.stored,
		NewCredential: codes.NewCredential,
		MaxInFlight:   cfg.MaxInFlight,
		Now:           timekeeper.Now,
		Log:           cfg.Log,
	}, signer, o.stuck, metrics.Source{
		Bundle: o.rules.Status,
		Clock:  func() error { _, err := timekeeper.Now(); return err },
		Store:  storeStats(o.store, o.stats),

		Messages: messageStats(messages),
	})
}

// runBeside does what is done now and then, beside the calls, until stop.
func (o opened) runBeside(cfg Config, now func() (time.Time, error)) (stop func()) {
	stopWatching := start(func(ctx context.Context) { o.rules.Watch(ctx, reloadEvery) })
	stopRetaining := start(func(ctx context.Context) {
		cfg.Retention.withDefaults().retain(ctx, o.store, o.archive, now, pruneEvery, cfg.Log)
	})
	stopExpiring := start(func(ctx context.Context) { expire(ctx, o.store, now, expireEvery, cfg.Log) })
	return func() {
		stopExpiring()
		stopRetaining()
		stopWatching()
	}
}

func paymentCodes(cfg Config, keys keyring) (codes *evidence.PaymentCodes, err error) {
	if cfg.PaymentCodes.Sealer, err = evidence.NewSealer(keys.Sealing); err != nil {
		return nil, err
	}
	return evidence.NewPaymentCodes(cfg.PaymentCodes)
}

// newSigner signs with the keys of payment services, and with a key of its own for
// what the sidecar's API may show.
func newSigner(store *authzstore.Store, cfg Config, keys keyring) (*upstream.Signer, error) {
	if _, taken := cfg.TokenKeys[call.BuiltInAudience]; taken {
		return nil, fmt.Errorf("the audience %s is the sidecar's own: give the payment service another name", call.BuiltInAudience)
	}
	own, err := upstream.SharedKey(keys.Tokens)
	if err != nil {
		return nil, err
	}
	all := map[string]upstream.Key{call.BuiltInAudience: own}
	maps.Copy(all, cfg.TokenKeys)
	return upstream.NewSigner(store.ID(), all)
}

// vocabulary is what route tables may name.
func vocabulary(cfg Config) call.Vocabulary {
	return call.Vocabulary{
		Evidence:  slices.Sorted(maps.Keys(cfg.Evidence)),
		Audiences: slices.AppendSeq([]string{}, maps.Keys(cfg.TokenKeys)),
	}
}

// serve answers until ctx is done or something breaks. It completes the source.
func serve(ctx context.Context, cfg Config, deciding decide.Config, signer *upstream.Signer, stuck <-chan struct{}, source metrics.Source) (err error) {
	source.RecordsLeftOut = func() int64 { return 0 }
	if cfg.DecisionLog != nil {
		log := newDecisionLog(cfg.DecisionLog, cfg.Log)
		deciding.Record, source.RecordsLeftOut = log.record, log.leftOut.Load
		defer func() {
			if !errors.Is(err, ErrFailStop) { // a call may still be writing
				log.close()
			}
		}()
	}
	shown := metrics.New(&source)
	if cfg.Metrics != "" {
		deciding.Observe = shown.Observe
	}
	decider := decide.New(deciding)
	server := extauthz.NewServer(&extauthz.Service{Decide: decider.Decide, Sign: signer.Sign, Defect: shown.Defect, Log: cfg.Log})
	source.InFlight, source.Serving = decider.InFlight, server.Serving
	stopMetrics, err := serveMetrics(cfg, shown)
	if err != nil {
		return err
	}
	defer stopMetrics()
	// Last: whoever waits for the socket finds a sidecar that is ready.
	listener, err := extauthz.Listen(cfg.Listen, cfg.SocketMode)
	if err != nil {
		return err
	}
	cfg.Log.Info("serving", "listen", cfg.Listen, "systems", deciding.Bundle().Routes.Systems(), "metrics", cfg.Metrics)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return wait(ctx, server, served, deciding.Store.Failed(), stuck)
}

// start runs fn beside the server; stop ends it and waits for that.
func start(fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// keepRules notes up to where records can name the bundles of processes before this
// one, and puts the one that decides now into the archive.
func keepRules(ctx context.Context, store *authzstore.Store, archive *bundle.Archive, rules *bundle.Holder) error {
	err := store.View(ctx, func(s authzstore.Snapshot) error { return archive.Retire(s.Pos().Seq) })
	if err != nil {
		return err
	}
	return rules.Keep()
}

// announce says which store this is: a mistyped directory is a new, empty one,
// where everybody's account is unknown.
func announce(ctx context.Context, store *authzstore.Store, cfg Config) error {
	return store.View(ctx, func(s authzstore.Snapshot) error {
		seq := s.Pos().Seq
		for _, audience := range slices.Sorted(maps.Keys(cfg.TokenKeys)) {
			cfg.Log.Info("upstream", "audience", audience, "key_id", cfg.TokenKeys[audience].ID())
		}
		cfg.Log.Info("store", "id", store.ID(), "data", cfg.DataDir, "last_seq", seq, "empty", seq == 0)
		return nil
	})
}

// wait returns when the server has ended, however it came to that.
func wait(ctx context.Context, server *extauthz.Server, served <-chan error, failed, stuck <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return shutDown(server, served, failed, stuck)
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-failed:
		server.NotServing()
		server.Stop()
		return errCommit
	case <-stuck:
		server.NotServing()
		server.Stop() // it does not wait for the calls in flight
		return errStuck
	}
}

// shutDown lets the calls in flight end. GracefulStop waits for them even once
// Stop was called, and so without end for an evaluation that has none.
func shutDown(server *extauthz.Server, served <-chan error, failed, stuck <-chan struct{}) error {
	server.NotServing()
	stop := time.AfterFunc(shutdownTimeout, server.Stop)
	defer stop.Stop()
	ended := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(ended)
	}()
	select {
	case <-ended:
		return <-served
	case <-failed:
		server.Stop()
		return errCommit
	case <-stuck:
		server.Stop()
		return errStuck
	}
}
