package bundle

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/sidecar/policy"
)

// restart is a start in a process that remembers nothing. It tells whether the
// bundle was judged.
func (s *site) restart() bool {
	s.t.Helper()
	foundGood.Clear()
	s.start()
	now, before := strings.Contains(s.log.String(), "checks=now"), strings.Contains(s.log.String(), "checks=before")
	if now == before {
		s.t.Fatalf("the log does not say when the policy was judged: %s", &s.log)
	}
	return now
}

func (s *site) mark() string { return filepath.Join(s.data, "policies", judgedFile) }

// What this program has judged on these data is not judged again after a restart.
// In every doubt it is.
func TestJudgedBefore(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// write has the mark say another text than it did.
	write := func(change func(string) string) func(*site) {
		return func(s *site) {
			text, err := os.ReadFile(s.mark())
			must(err)
			must(os.WriteFile(s.mark(), []byte(change(string(text))), 0o600))
		}
	}
	for _, c := range []struct {
		name   string
		change func(s *site)
		judged bool
	}{
		{"nothing has changed", func(*site) {}, false},
		{"nothing, and there is no time for a single test", func(s *site) { s.tests = policy.TestBounds{All: 1, Each: time.Minute} }, false},
		{"another program", func(s *site) { s.program = "other" }, true},
		{"another bundle", func(s *site) { edit(t, s.files, "decision.rego", "The decision on one call", "The decision") }, true},
		{"another vocabulary", func(s *site) { s.evidence = []string{"code"} }, true},
		{"other data", func(s *site) { s.data = t.TempDir() }, true},
		{"no mark", func(s *site) { must(os.Remove(s.mark())) }, true},
		{"an empty mark", write(func(string) string { return "" }), true},
		{"a mark that is cut", write(func(text string) string { return text[:len(text)-2] }), true},
		{"a mark with more in it", write(func(text string) string { return text + "\n" }), true},
		{"another digit in the mark", write(func(text string) string { return strings.NewReplacer("0", "1", "1", "0").Replace(text) }), true},
		{"the digest for a mark", write(func(string) string { return read(t, fstest.MapFS{}).Digest() + "\n" }), true},
		{"others can write the mark", func(s *site) { must(os.Chmod(s.mark(), 0o620)) }, true},
		{"others can write the directory", func(s *site) { must(os.Chmod(filepath.Dir(s.mark()), 0o770)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.files = bare(t)
			s.program = "this"
			if !s.restart() {
				t.Error("the first start did not judge")
			}
			c.change(s)
			if judged := s.restart(); judged != c.judged {
				t.Errorf("judged: %t, want %t", judged, c.judged)
			}
			s.wants(s.digest(), "")
		})
	}
}

// The last good one that decides in the place of a bad directory is known too.
func TestLastGoodJudgedBefore(t *testing.T) {
	s := newSite(t)
	s.files = bare(t)
	s.restart()
	first := s.digest()
	s.tests = policy.TestBounds{All: 1, Each: time.Minute}
	add(s.files, "decision.rego", "\nx := nothing\n")
	if s.restart() {
		t.Error("judged again")
	}
	s.wants(first, "var nothing is unsafe")
}

// A verdict is on judging alone: a bundle that does not compile never decides.
func TestJudgedIsCompiled(t *testing.T) {
	s := newSite(t)
	s.files = bare(t)
	s.program = "this"
	add(s.files, "decision.rego", "\nx := nothing\n")
	a := NewArchive(filepath.Join(s.data, "policies"))
	activate(t, a, read(t, s.files))
	v := verdictOf(s.program, read(t, s.files), Config{})
	if err := a.rememberJudged(v); err != nil {
		t.Fatal(err)
	}
	if !a.judged(v) {
		t.Fatal("the verdict is not remembered")
	}
	if err := s.open(); err == nil || !strings.Contains(err.Error(), "var nothing is unsafe") {
		t.Errorf("%v", err)
	}
}

// Where a verdict cannot be remembered, the bundle decides all the same.
func TestJudgedIsNotRemembered(t *testing.T) {
	s := newSite(t)
	s.files = bare(t)
	s.restart()
	if err := os.Remove(s.mark()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.mark(), 0o700); err != nil {
		t.Fatal(err)
	}
	if !s.restart() {
		t.Error("believed a directory")
	}
	s.wants(s.digest(), "")
	if !strings.Contains(s.log.String(), "level=WARN") {
		t.Errorf("the log does not tell: %s", &s.log)
	}
}

// On Linux, the program's name is of the file that runs.
func TestThisProgram(t *testing.T) {
	name := thisProgram()
	if name != thisProgram() {
		t.Error("it has two names")
	}
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); (name == want) != (runtime.GOOS == "linux") {
		t.Errorf("%s, the file has %s", name, want)
	}
}
