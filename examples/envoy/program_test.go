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

// newProgram is newFamily with the sidecar as a process of its own: the program that
// users start, with the rules in a directory and the clock of the machine.
func newProgram(t *testing.T, rules fstest.MapFS, accounts []authzstore.Account) *family {
	t.Helper()
	dir := t.TempDir()
	f := &family{dir: filepath.Join(dir, "data"), clock: heldClock{at: time.Now()}}
	f.seed(t, f.dir, accounts, nil)
	program, key, log := filepath.Join(dir, "countersign"), filepath.Join(dir, "payments.key"), filepath.Join(dir, "log")
	do(t, "go", "build", "-o", program, "github.com/countersign/countersign/cmd/countersign")
	do(t, program, "key", "new", key)
	if err := os.CopyFS(filepath.Join(dir, "policies"), rules); err != nil {
		t.Fatal(err)
	}
	sockets := filepath.Dir(checks.socket) // a short path
	socket, api := filepath.Join(sockets, "program.sock"), filepath.Join(sockets, "program-api.sock")
	f.control, f.records.file = filepath.Join(sockets, "program-control.sock"), filepath.Join(dir, "decisions.jsonl")
	output, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	sidecar := exec.Command(program, "serve", "--policies", filepath.Join(dir, "policies"), "--data", f.dir,
		"--listen", "unix:"+socket, "--terminal-api", "unix:"+api, "--control", "unix:"+f.control,
		"--decision-log", f.records.file, "--upstream-key", "payments.example="+key)
	sidecar.Stderr = output
	bindToParent(sidecar)
	ready, cancel := context.WithTimeout(t.Context(), 20*patience)
	defer cancel()
	ended := make(chan error, 1)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the process ends with the thread that started it
		defer runtime.UnlockOSThread()
		err := sidecar.Start()
		started <- err
		if err == nil {
			ended <- sidecar.Wait()
			cancel() // what does not start is not waited for
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sidecar.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil || t.Failed() {
			text, _ := os.ReadFile(log)
			t.Errorf("the program ended with %v: %s", err, text)
		}
	})
	f.before(ready, t, socket, api)
	return f
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
