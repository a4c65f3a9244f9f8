package envoy

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// A program is the sidecar as a process of its own: what users start.
type program struct {
	path  string   // of the binary
	args  []string // of its command serve
	log   string   // the file that it logs to
	ended chan error

	running *exec.Cmd // nil: it was ended
}

// newProgram is newFamily with the sidecar as a program, with these rules in a directory
// (nil for those that are built in), the clock of the machine, and more arguments.
func newProgram(t *testing.T, rules fstest.MapFS, accounts []authzstore.Account, terminals []authzstore.Terminal, more ...string) (*family, *program) {
	t.Helper()
	dir := t.TempDir()
	f := &family{dir: filepath.Join(dir, "data"), clock: heldClock{at: time.Now()}}
	f.seed(t, f.dir, accounts, terminals)
	p := &program{path: filepath.Join(dir, "countersign"), log: filepath.Join(dir, "log"), ended: make(chan error, 1)}
	key := filepath.Join(dir, "payments.key")
	do(t, "go", "build", "-o", p.path, "github.com/countersign/countersign/cmd/countersign")
	do(t, p.path, "key", "new", key)
	sockets := filepath.Dir(checks.socket) // a short path
	socket, api := filepath.Join(sockets, "program.sock"), filepath.Join(sockets, "program-api.sock")
	f.control, f.records.file = filepath.Join(sockets, "program-control.sock"), filepath.Join(dir, "decisions.jsonl")
	p.args = append([]string{"serve", "--data", f.dir, "--listen", "unix:" + socket, "--terminal-api", "unix:" + api, "--control", "unix:" + f.control,
		"--decision-log", f.records.file, "--upstream-key", "payments.example=" + key}, more...)
	if rules != nil {
		policies := filepath.Join(dir, "policies")
		if err := os.CopyFS(policies, rules); err != nil {
			t.Fatal(err)
		}
		p.args = append(p.args, "--policies", policies)
	}
	ready, cancel := context.WithTimeout(t.Context(), 20*patience)
	defer cancel()
	p.start(t, cancel) // what does not start is not waited for
	t.Cleanup(func() {
		if err := p.end(syscall.SIGTERM); err != nil || t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Errorf("the program ended with %v: %s", err, text)
		}
	})
	f.before(ready, t, socket, api)
	return f, p
}

// start starts the sidecar. after is called once it has ended.
func (p *program) start(t *testing.T, after func()) {
	t.Helper()
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	sidecar := exec.Command(p.path, p.args...)
	sidecar.Stderr = output
	bindToParent(sidecar)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the process ends with the thread that started it
		defer runtime.UnlockOSThread()
		err := sidecar.Start()
		started <- err
		if err == nil {
			p.ended <- sidecar.Wait()
			after()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.running = sidecar
}

// end sends the sidecar a signal, unless it was ended before, and waits until it has ended.
func (p *program) end(signal os.Signal) error {
	if p.running == nil {
		return nil
	}
	_ = p.running.Process.Signal(signal)
	p.running = nil
	return <-p.ended
}

// do runs a program that must succeed.
func do(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// readTree reads all files of a tree.
func readTree(t *testing.T, tree fs.FS) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		files[path.Clean(name)] = &fstest.MapFile{Data: text, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
