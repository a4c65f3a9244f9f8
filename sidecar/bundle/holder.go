package bundle

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/sidecar/policy"
)

// HolderConfig says where bundles come from. Dir and Archive are required.
type HolderConfig struct {
	Dir     fs.FS // as [policy.Read] reads it
	Archive *Archive
	Load    Config
	// Program names the program that judges, and changes with it. "" means the
	// SHA-256 of the executable.
	Program string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Log receives what becomes active and what is refused. Nil means
	// slog.Default.
	Log *slog.Logger
}

// A Holder has the bundle that decides now. Its methods may be called
// concurrently.
type Holder struct {
	cfg    HolderConfig
	active atomic.Pointer[Bundle]

	mu     sync.Mutex
	status Status

	// What Watch remembers from look to look.
	seen    string  // content of the last look
	judged  string  // content that needs no judgement any more
	pending *Bundle // good, but not in the archive yet
}

// Status says which bundle decides, and why the one in the directory does not.
type Status struct {
	ActiveDigest string
	ActiveSince  time.Time
	// LastError is why the directory's present content does not decide. It is ""
	// where it does.
	LastError string
	// FailedDigest is that content's, "" where it could not be read.
	FailedDigest string
	FailedSince  time.Time
	// Activated and Refused count bundles since the start, with the first.
	Activated, Refused int64
}

// Stale tells whether something else decides than what the directory holds.
func (s Status) Stale() bool { return s.LastError != "" }

// Open loads the bundle of the directory, or, where it is refused, the last good
// one of the archive. It writes nothing: see Keep.
func Open(ctx context.Context, cfg HolderConfig) (*Holder, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Program == "" {
		go thisProgram() // while the bundle is compiled
	}
	h := &Holder{cfg: cfg}
	content, snapshot, err := h.read()
	h.seen, h.judged = content, content
	var b *Bundle
	if err == nil {
		b, err = h.load(ctx, snapshot)
	}
	if err == nil {
		h.use(b)
		return h, nil
	}
	b, archiveErr := h.lastGood(ctx)
	switch {
	case archiveErr != nil:
		return nil, fmt.Errorf("%w\nThe last good policy cannot be used either: %w", err, archiveErr)
	case b == nil:
		return nil, err
	}
	h.use(b)
	h.refuse(snapshot, err)
	return h, nil
}

// lastGood loads the bundle that the archive names, nil where it names none.
func (h *Holder) lastGood(ctx context.Context) (*Bundle, error) {
	digest, err := h.cfg.Archive.Active()
	if err != nil || digest == "" {
		return nil, err
	}
	snapshot, err := h.cfg.Archive.Open(digest)
	if err != nil {
		return nil, err
	}
	return h.load(ctx, snapshot)
}

// foundGood are the verdicts of this process.
var foundGood sync.Map

// verdict is what is remembered of a bundle that may decide.
func (h *Holder) verdict(snapshot *policy.Snapshot) verdict {
	program := h.cfg.Program
	if program == "" {
		program = thisProgram()
	}
	return verdictOf(program, snapshot, h.cfg.Load)
}

// load is Load for what may have been in use before, in this process or in one of
// the same program that ended, or is built into it: it is not judged again.
func (h *Holder) load(ctx context.Context, snapshot *policy.Snapshot) (*Bundle, error) {
	known := func() bool {
		v := h.verdict(snapshot)
		_, known := foundGood.Load(v)
		return known || snapshot.Digest() == builtIn() || h.cfg.Archive.judged(v)
	}
	b, err := loadWithin(ctx, snapshot, h.cfg.Load, known)
	if err == nil {
		foundGood.Store(h.verdict(snapshot), true)
	}
	return b, err
}

// archive makes a bundle that may decide the last good one of the archive. That it
// was judged is worth a line in the log, not a refusal, where it cannot be
// remembered: the next process judges it again.
func (h *Holder) archive(snapshot *policy.Snapshot) error {
	if err := h.cfg.Archive.Activate(snapshot); err != nil {
		return err
	}
	if err := h.cfg.Archive.rememberJudged(h.verdict(snapshot)); err != nil {
		h.cfg.Log.Warn("policy: the next start takes longer, for that this one was judged cannot be remembered", "error", err.Error())
	}
	return nil
}

// Active returns the bundle that decides now.
func (h *Holder) Active() *Bundle { return h.active.Load() }

// Status may be older than what Active returns by a moment.
func (h *Holder) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// Keep puts the active bundle into the archive. It is called once, when the
// archive is ours to write and before the first decision.
func (h *Holder) Keep() error { return h.archive(h.Active().Snapshot) }

// Watch looks at the directory again and again, and makes a good bundle active,
// until ctx is done. A content must be the same in two looks before it is judged:
// who writes file by file, faster than that, never has half of it judged.
func (h *Holder) Watch(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.look(ctx)
		}
	}
}

// read reads the directory. The content is what can be compared with another
// look's: a digest, or the error.
func (h *Holder) read() (content string, _ *policy.Snapshot, _ error) {
	snapshot, err := policy.Read(h.cfg.Dir)
	if err != nil {
		return "error: " + err.Error(), nil, err
	}
	return snapshot.Digest(), snapshot, nil
}

func (h *Holder) look(ctx context.Context) {
	content, snapshot, err := h.read()
	settled := content == h.seen
	h.seen = content
	if !settled || content == h.judged {
		return
	}
	switch {
	case err != nil:
		h.refuse(nil, err)
	case content == h.Active().Digest:
		h.accept()
	default:
		if err := h.activate(ctx, snapshot); err != nil {
			return // to be tried again
		}
	}
	h.judged = content
}

// activate judges a bundle and makes it active. The error is one that the bundle
// is not to blame for.
func (h *Holder) activate(ctx context.Context, snapshot *policy.Snapshot) error {
	b := h.pending
	if b == nil || b.Digest != snapshot.Digest() {
		var err error
		if b, err = h.load(ctx, snapshot); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			h.refuse(snapshot, err)
			return nil
		}
	}
	if err := h.archive(snapshot); err != nil {
		h.pending = b
		h.refuse(snapshot, fmt.Errorf("the policy cannot be archived: %w", err))
		return err
	}
	h.pending = nil
	h.use(b)
	return nil
}

// use makes b active.
func (h *Holder) use(b *Bundle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active.Store(b)
	h.status.ActiveDigest, h.status.ActiveSince = b.Digest, h.cfg.Now()
	h.status.LastError, h.status.FailedDigest, h.status.FailedSince = "", "", time.Time{}
	h.status.Activated++
	h.cfg.Log.Info("policy", "modules", b.Policy.Modules(), "digest", b.Digest, "checks", b.checks())
}

// accept notes that the directory holds the active bundle again.
func (h *Holder) accept() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.LastError, h.status.FailedDigest, h.status.FailedSince = "", "", time.Time{}
	h.cfg.Log.Info("policy: the directory holds the active one again", "digest", h.status.ActiveDigest)
}

// refuse notes why the directory's content does not decide. Where that was the
// last word already, nothing is logged.
func (h *Holder) refuse(snapshot *policy.Snapshot, err error) {
	digest := ""
	if snapshot != nil {
		digest = snapshot.Digest()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status.LastError == err.Error() && h.status.FailedDigest == digest {
		return
	}
	h.status.LastError, h.status.FailedDigest, h.status.FailedSince = err.Error(), digest, h.cfg.Now()
	h.status.Refused++
	h.cfg.Log.Error("policy refused: the last good one decides", "error", err.Error(), "refused", digest, "active", h.status.ActiveDigest)
}
