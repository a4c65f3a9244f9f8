package bundle

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/policy"
)

func read(t testing.TB, dir fs.FS) *policy.Snapshot {
	t.Helper()
	s, err := policy.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// other is a bundle of a digest of its own; n chooses it.
func other(t testing.TB, n string) *policy.Snapshot {
	t.Helper()
	return read(t, fstest.MapFS{"data.json": {Data: []byte(`{"n": ` + n + `}`)}})
}

func activate(t testing.TB, a *Archive, s *policy.Snapshot) {
	t.Helper()
	if err := a.Activate(s); err != nil {
		t.Fatal(err)
	}
}

func fileOf(t testing.TB, a *Archive, s *policy.Snapshot) string {
	t.Helper()
	name, err := a.file(s.Digest(), archiveSuffix)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestArchive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	a, direct := NewArchive(dir), read(t, policiestest.Files(t))
	if digest, err := a.Active(); digest != "" || err != nil {
		t.Errorf("active of a new archive: %q, %v", digest, err)
	}
	if _, err := a.Open(direct.Digest()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened what is not there: %v", err)
	}
	if n, err := a.Prune(1 << 60); n != 0 || err != nil {
		t.Errorf("pruned a new archive: %d, %v", n, err)
	}
	activate(t, a, direct)
	activate(t, a, other(t, "1"))

	again := NewArchive(dir) // as after a restart
	if digest, err := again.Active(); digest != other(t, "1").Digest() || err != nil {
		t.Errorf("active %q, %v", digest, err)
	}
	got, err := again.Open(direct.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), got, Config{}); err != nil {
		t.Errorf("a bundle out of the archive: %v", err)
	}
	for name, mode := range map[string]fs.FileMode{dir: 0o700, fileOf(t, a, direct): 0o600, filepath.Join(dir, "active"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
	for _, digest := range []string{"", "sha256:", "sha256:../../etc/passwd", strings.ToUpper(direct.Digest()), direct.Digest() + "0", "\n" + direct.Digest()} {
		if _, err := a.Open(digest); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("digest %q: %v", digest, err)
		}
	}
}

// The same bundle is the same bytes, wherever it was read from.
func TestArchiveIsDeterministic(t *testing.T) {
	write := func(s *policy.Snapshot) []byte {
		var b bytes.Buffer
		if err := s.WriteArchive(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, policies.FS); err != nil {
		t.Fatal(err)
	}
	first, second := write(read(t, policies.FS)), write(read(t, os.DirFS(dir)))
	if !bytes.Equal(first, second) {
		t.Error("one bundle, two archives")
	}
	if bytes.Equal(first, write(other(t, "1"))) {
		t.Error("two bundles, one archive")
	}
}

// Stock OPA decides on an archive as on the directory.
func TestArchiveIsOfOPA(t *testing.T) {
	a := NewArchive(filepath.Join(t.TempDir(), "policies"))
	activate(t, a, read(t, policies.FS))
	ask := func(bundle string) string {
		out, err := exec.Command("go", "tool", "opa", "eval", "--bundle", bundle, "--format", "raw",
			"data.payments.decision with input as data.payments.systems.direct_payment_test.good").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got, want := ask(fileOf(t, a, read(t, policies.FS))), ask("../../policies"); got != want || !strings.Contains(got, `"allow":true`) {
		t.Errorf("from the archive %q, from the directory %q", got, want)
	}
}

// A damaged archive is found, never used, and mended when its bundle comes again.
func TestDamagedArchive(t *testing.T) {
	a, s := NewArchive(filepath.Join(t.TempDir(), "policies")), other(t, "1")
	activate(t, a, s)
	name := fileOf(t, a, s)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	wrong := bytes.Clone(good)
	wrong[len(wrong)/2] ^= 0x10
	var another bytes.Buffer
	if err := other(t, "2").WriteArchive(&another); err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{"empty": nil, "cut": good[:len(good)-9], "flipped": wrong, "another bundle": another.Bytes()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Open(s.Digest()); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
		activate(t, a, s)
		if _, err := a.Open(s.Digest()); err != nil {
			t.Errorf("%s, and then mended: %v", what, err)
		}
	}
	for _, content := range []string{"", "sha256:1\n", s.Digest() + "\n\n"} {
		if err := os.WriteFile(filepath.Join(a.dir, "active"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if digest, err := a.Active(); err == nil {
			t.Errorf("active %q is read as %q", content, digest)
		}
		if n, err := a.Prune(1 << 60); n != 0 || err == nil {
			t.Errorf("active %q: pruned %d, %v", content, n, err)
		}
	}
}

// TestPrune: a bundle goes when every record has gone that a process could write
// that used it.
func TestPrune(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	one, two, three, four := other(t, "1"), other(t, "2"), other(t, "3"), other(t, "4")
	names := map[*policy.Snapshot]string{one: "one", two: "two", three: "three", four: "four"}
	// start is a process that starts on a store whose last batch is seq.
	start := func(seq uint64, uses ...*policy.Snapshot) *Archive {
		t.Helper()
		a := NewArchive(dir)
		if err := a.Retire(seq); err != nil {
			t.Fatal(err)
		}
		for _, s := range uses {
			activate(t, a, s)
		}
		return a
	}
	prune := func(a *Archive, first uint64, want ...*policy.Snapshot) {
		t.Helper()
		if _, err := a.Prune(first); err != nil {
			t.Fatal(err)
		}
		for s, name := range names {
			if _, err := a.Open(s.Digest()); (err == nil) != slices.Contains(want, s) {
				t.Errorf("from %d on: %s: %v", first, name, err)
			}
		}
	}
	prune(start(0, one, two, one), 1000, one, two) // both are this process's

	a := start(100, three) // one and two were used up to 100
	prune(a, 100, one, two, three)
	prune(start(150, three), 100, one, two, three) // and not up to 150

	a = start(200, two, three) // two is in use again, for a while
	prune(a, 101, two, three)
	a = start(300, four)
	prune(a, 300, two, three, four)

	activate(t, a, three) // also while it runs
	prune(a, 301, three, four)
	if err := a.Retire(350); err != nil { // too late for what it uses
		t.Fatal(err)
	}
	prune(a, 1000, three, four)
	prune(NewArchive(dir), 1000, three, four) // nobody has retired anything
	prune(start(400), 1000, three)            // the last good one stays
}

// What is noted and cannot be read keeps everything, until it is noted anew.
func TestPruneDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	one := other(t, "1")
	activate(t, NewArchive(dir), one)
	activate(t, NewArchive(dir), other(t, "2"))
	a := NewArchive(dir)
	if err := a.Retire(100); err != nil {
		t.Fatal(err)
	}
	note := strings.TrimSuffix(fileOf(t, a, one), ".tar.gz") + ".until"
	if err := os.WriteFile(note, []byte("1e2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Prune(1000); n != 0 || err == nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if err := a.Retire(200); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Prune(200); n != 0 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if n, err := a.Prune(201); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
}
