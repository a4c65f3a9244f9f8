package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"countersign": main})
}

// TestScripts runs the program as an operator does. The scripts have, beside
// testscript's own commands:
//
//	exits STATUS COMMAND…   run a command that must end with this status
//	signal NAME             send TERM or INT to what runs in the background
//	await FILE              wait until the file is there
//	mode MODE FILE          the file must have this mode
//	bundle DIR              write the built-in bundle to a directory
//	flip FILE OFFSET        change one byte of the file
//	stored DIR ID TEXT      the store must hold this account, written as {fields}
//	clocked DIR DURATION    the last sidecar on this store ran by a clock ahead by so much
//	answers SOCKET CODE     the sidecar must come to refuse a call to nowhere with this code
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "signal": signalBackground, "await": await, "mode": mode, "bundle": copyBundle, "stored": stored, "flip": flip,
			"clocked": clocked, "answers": answers,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var failed *exec.ExitError
	got := 0
	if errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func signalBackground(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	if neg || len(args) != 1 || signals[args[0]] == nil {
		ts.Fatalf("usage: signal TERM|INT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for range 3000 { // half a minute
		if _, err := os.Lstat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode MODE FILE")
	}
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got != fs.FileMode(want) {
		ts.Fatalf("%s has the mode %04o, want %04o", args[1], got, want)
	}
}

func copyBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: bundle DIR")
	}
	ts.Check(os.CopyFS(filepath.Clean(ts.MkAbs(args[0])), policies.FS))
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	text, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	text[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

func stored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: stored DIR ID TEXT")
	}
	store, err := sidecar.OpenStore(context.Background(), ts.MkAbs(args[0]), nil)
	ts.Check(err)
	defer store.Close()
	err = store.View(context.Background(), func(s authzstore.Snapshot) error {
		account, ok, err := s.Account(args[1])
		if got := fmt.Sprintf("%v", account); err == nil && (!ok || got != args[2]) {
			return fmt.Errorf("the store has %s, %v, want %s", got, ok, args[2])
		}
		return err
	})
	ts.Check(err)
}
