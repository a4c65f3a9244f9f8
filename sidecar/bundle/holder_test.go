package bundle

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// edit replaces a text that stands in a file of the bundle.
func edit(t testing.TB, files fstest.MapFS, name, before, after string) {
	t.Helper()
	text := string(files[name].Data)
	if !strings.Contains(text, before) {
		t.Fatalf("%s has no %q", name, before)
	}
	files[name] = &fstest.MapFile{Data: []byte(strings.Replace(text, before, after, 1))}
}

const (
	accountRules = "shared/account/account.rego"
	lettingRules = "shared/account/payment.rego"
)

// A site is a directory of policies, the archive and a holder over both.
type site struct {
	*Holder
	t     *testing.T
	files fstest.MapFS
	dir   fs.FS // where files is read, nil for itself
	data  string
	log   bytes.Buffer

	program  string
	evidence []string
	tests    policy.TestBounds
}

func newSite(t *testing.T) *site {
	return &site{t: t, files: policiestest.Files(t), data: t.TempDir()}
}

func (s *site) open() error {
	s.log.Reset()
	dir := s.dir
	if dir == nil {
		dir = s.files
	}
	var err error
	s.Holder, err = Open(context.Background(), HolderConfig{
		Dir:     dir,
		Archive: NewArchive(filepath.Join(s.data, "policies")),
		Load:    Config{Policy: policy.Config{Budget: time.Minute}, Vocabulary: call.Vocabulary{Evidence: s.evidence}, Tests: s.tests},
		Program: s.program,
		Now:     func() time.Time { return time.Unix(1795532400, 0) },
		Log:     slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		return err
	}
	return s.Keep()
}

// start is a start that must succeed, as the program's and after a restart.
func (s *site) start() {
	s.t.Helper()
	if err := s.open(); err != nil {
		s.t.Fatal(err)
	}
}

// What a process has found good once is not judged again, also for another holder.
func TestJudgedOnce(t *testing.T) {
	s := newSite(t)
	s.files["other/data.json"] = &fstest.MapFile{Data: []byte(`{"of": "TestJudgedOnce"}`)}
	open := func(evidence string) error {
		cfg := Config{Policy: policy.Config{Budget: time.Minute}, Tests: policy.TestBounds{All: time.Minute, Each: time.Minute}}
		cfg.Vocabulary.Evidence = []string{evidence}
		if evidence == "late" || s.Holder != nil {
			cfg.Tests.All = 1 // nothing can be judged in a nanosecond
		}
		h, err := Open(t.Context(), HolderConfig{Dir: s.files, Archive: NewArchive(t.TempDir()), Load: cfg, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			s.Holder = h
		}
		return err
	}
	if err := open("late"); err == nil {
		t.Error("judged in no time")
	}
	if err := open("code"); err != nil {
		t.Fatal(err)
	}
	if err := open("code"); err != nil {
		t.Errorf("judged again: %v", err)
	}
	if err := open("late"); err == nil {
		t.Error("other route tables can be meant with another vocabulary, and nobody has judged them")
	}
}

// looks has the watcher look so many times.
func (s *site) looks(n int) {
	for range n {
		s.look(context.Background())
	}
}

// wants checks what decides, and why the directory does not ("" where it does).
func (s *site) wants(digest, complaint string) {
	s.t.Helper()
	status := s.Status()
	if s.Active().Digest != digest || status.ActiveDigest != digest || s.Active().Policy.Digest() != digest {
		s.t.Errorf("active %s, status %+v, want %s", s.Active().Digest, status, digest)
	}
	if last, err := s.cfg.Archive.Active(); err != nil || last != digest {
		s.t.Errorf("the archive names %s, %v, want %s", last, err, digest)
	}
	if _, err := s.cfg.Archive.Open(digest); err != nil {
		s.t.Errorf("the active one is not in the archive: %v", err)
	}
	if status.Stale() != (complaint != "") || !strings.Contains(status.LastError, complaint) || status.FailedSince.IsZero() != (complaint == "") {
		s.t.Errorf("status %+v, want the complaint %q", status, complaint)
	}
}

func (s *site) digest() string { return read(s.t, s.files).Digest() }

func TestReload(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.digest()
	s.looks(3)
	s.wants(first, "")
	if lines := strings.Count(s.log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines for one policy: %s", lines, &s.log)
	}
	held := s.Active()

	edit(t, s.files, "shared/account/payment.rego", "The account is frozen.", "Frozen.")
	edit(t, s.files, "systems/direct_payment/direct_payment_test.rego", "The account is frozen.", "Frozen.")
	second := s.digest()
	s.looks(1)
	s.wants(first, "") // seen once: it may be half of a change
	s.looks(1)
	s.wants(second, "")
	if held.Digest != first || held.Policy.Digest() != first {
		t.Error("a bundle in a call's hands has changed")
	}

	edit(t, s.files, accountRules, "known if {", "known if {{")
	bad := s.digest()
	s.looks(3)
	s.wants(second, "shared/account/account.rego:14: rego_parse_error")
	if status := s.Status(); status.FailedDigest != bad || status.Refused != 1 || status.Activated != 2 {
		t.Errorf("%+v", status)
	}

	edit(t, s.files, accountRules, "known if {{", "known if {")
	s.looks(2)
	s.wants(second, "")
	if status := s.Status(); status.FailedDigest != "" || status.Refused != 1 || status.Activated != 2 {
		t.Errorf("%+v", status)
	}
	if _, err := s.cfg.Archive.Open(bad); err == nil {
		t.Error("a refused bundle is in the archive")
	}
}

// What is being written is not judged before it stands still.
func TestHalfWritten(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.digest()
	const tests = "systems/direct_payment/direct_payment_test.rego"
	whole := s.files[tests].Data
	for n := 1000; n < len(whole); n += 500 {
		s.files[tests] = &fstest.MapFile{Data: whole[:n]}
		s.looks(1)
	}
	s.files[tests] = &fstest.MapFile{Data: append(whole, '\n')}
	s.looks(1)
	s.wants(first, "")
	if status := s.Status(); status.Refused != 0 {
		t.Errorf("a half was judged: %+v", status)
	}
	s.looks(1)
	s.wants(s.digest(), "")
}

// A refusal is logged once for each content, and so is a directory that cannot be
// read.
func TestRefusalIsLoggedOnce(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.digest()
	refusals := func() int { return strings.Count(s.log.String(), "level=ERROR") }
	s.files["decision.rego"] = &fstest.MapFile{Data: []byte("package payments\n")}
	s.looks(5)
	s.wants(first, "no rule data.payments.decision")
	s.files[".swap"] = &fstest.MapFile{}
	s.looks(5)
	s.wants(first, "hidden files are not read")
	if status := s.Status(); status.FailedDigest != "" {
		t.Errorf("%+v", status)
	}
	if got := refusals(); got != 2 {
		t.Errorf("%d lines of two refusals: %s", got, &s.log)
	}
	delete(s.files, ".swap")
	s.looks(5)
	if got := refusals(); got != 3 {
		t.Errorf("%d lines of three refusals: %s", got, &s.log)
	}
	clear(s.files)
	s.looks(2)
	s.wants(first, "no systems/NAME/routes.yaml")
}

// At a start with a bad directory the last good one decides, and the log says so.
func TestLastGoodAtStart(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.digest()
	edit(t, s.files, "decision.rego", `"allow": allow,`, `"allow": alow,`)
	s.start()
	s.wants(first, "decision.rego:24: rego_unsafe_var_error")
	if log := s.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, first) {
		t.Errorf("the log does not tell: %s", log)
	}
	s.looks(3)
	s.wants(first, "decision.rego:24: rego_unsafe_var_error")

	s.files = policiestest.Files(t)
	edit(t, s.files, "decision.rego", "The decision on one call", "The decision")
	s.start()
	s.wants(s.digest(), "")
}

// Without a last good one there is no start: not where there never was one, and
// not where it is damaged or refused itself.
func TestNoLastGood(t *testing.T) {
	bad := func(t *testing.T, s *site) { edit(t, s.files, "decision.rego", `"allow": allow,`, `"allow": alow,`) }
	t.Run("never", func(t *testing.T) {
		s := newSite(t)
		bad(t, s)
		if err := s.open(); err == nil || !strings.HasPrefix(err.Error(), "policy: 1 error occurred: decision.rego:24: rego_unsafe_var_error") {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(filepath.Join(s.data, "policies")); err == nil {
			t.Error("it made an archive")
		}
	})
	for name, spoil := range map[string]func(t *testing.T, s *site){
		"damaged": func(t *testing.T, s *site) {
			if err := os.WriteFile(fileOf(t, s.cfg.Archive, s.Active().Snapshot), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"missing": func(t *testing.T, s *site) {
			if err := os.Remove(fileOf(t, s.cfg.Archive, s.Active().Snapshot)); err != nil {
				t.Fatal(err)
			}
		},
		"refused itself": func(t *testing.T, s *site) { activate(t, s.cfg.Archive, other(t, "1")) },
		"not named": func(t *testing.T, s *site) {
			if err := os.WriteFile(filepath.Join(s.data, "policies", "active"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.start()
			spoil(t, s)
			bad(t, s)
			err := s.open()
			if err == nil || !strings.Contains(err.Error(), "decision.rego:24: rego_unsafe_var_error") || !strings.Contains(err.Error(), "The last good policy cannot be used either") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A bundle that cannot be archived does not decide; it does once it can be.
func TestNotArchived(t *testing.T) {
	s := newSite(t)
	s.start()
	first := s.digest()
	edit(t, s.files, "decision.rego", "The decision on one call", "The decision")
	inTheWay := fileOf(t, s.cfg.Archive, read(t, s.files)) + ".tmp"
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	s.looks(5)
	s.wants(first, "cannot be archived")
	if status := s.Status(); status.Refused != 1 {
		t.Errorf("%+v", status)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	s.looks(1)
	s.wants(s.digest(), "")
}

// A mounted ConfigMap is exchanged whole, by one rename of a link.
func TestConfigMap(t *testing.T) {
	mount := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(version string, files fstest.MapFS) {
		must(os.CopyFS(filepath.Join(mount, version), files))
		must(os.Symlink(version, filepath.Join(mount, "..data_tmp")))
		must(os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
	}
	s := newSite(t)
	put("..v1", s.files)
	for _, name := range []string{"decision.rego", "decision_test.rego", "schemas", "shared", "systems"} {
		must(os.Symlink(filepath.Join("..data", name), filepath.Join(mount, name)))
	}
	s.dir = os.DirFS(mount)
	s.start()
	s.wants(s.digest(), "")
	edit(t, s.files, "decision.rego", "The decision on one call", "The decision")
	put("..v2", s.files)
	must(os.RemoveAll(filepath.Join(mount, "..v1")))
	s.looks(2)
	s.wants(s.digest(), "")
	if status := s.Status(); status.Activated != 2 || status.Refused != 0 {
		t.Errorf("%+v", status)
	}
}

// Active and Status can be asked while bundles change.
func TestConcurrent(t *testing.T) {
	s := newSite(t)
	s.start()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if b := s.Active(); b.Digest != b.Policy.Digest() || s.Status().ActiveDigest == "" {
					t.Errorf("half a bundle: %s, %s", b.Digest, b.Policy.Digest())
					return
				}
			}
		})
	}
	for _, title := range []string{"A", "B", "C"} {
		s.files = policiestest.Files(t)
		edit(t, s.files, "decision.rego", "The decision on one call", title)
		s.cfg.Dir = s.files
		s.looks(2)
	}
	close(done)
	wg.Wait()
	s.wants(s.digest(), "")
}
