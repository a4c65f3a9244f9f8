package badgerkv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv/disk"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// A child process is this test binary with COUNTERSIGN_CHILD set.
const (
	childEnv = "COUNTERSIGN_CHILD" // what to do
	dirEnv   = "COUNTERSIGN_CHILD_DIR"
)

func childMain() {
	dir := os.Getenv(dirEnv)
	fs := &faultFS{}
	o := testOptions(dir, fs)
	switch os.Getenv(childEnv) {
	case "":
		return
	case "open":
		childOpen(o)
	case "million":
		childMillion(o)
	case "refill":
		childRefill(o)
	case "large":
		childLarge(o)
	case "busy":
		childBusy(o)
	case "reopen":
		childReopen(o)
	case "load":
	case "load, not synced":
		fs.doNotSync = true
	case "load, acknowledged early":
		o.faults = faults{ackBeforeWrite: true}
	}
	// Slow enough that a kill falls into a write.
	fs.failWrites(func(string, []byte, int64) (int, error) { time.Sleep(time.Millisecond); return 0, nil })
	s, err := Open(context.Background(), o)
	if err != nil {
		fmt.Println("ERR", err)
		os.Exit(1)
	}
	fmt.Println("READY")
	for w := range 32 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				if err := spend(context.Background(), s, id, rand.IntN(20_000)); err == nil {
					os.Stdout.WriteString(id + "\n")
				} else {
					os.Stdout.WriteString("ERR " + err.Error() + "\n")
				}
			}
		}()
	}
	select {}
}

func childOpen(o Options) {
	s, err := Open(context.Background(), o)
	switch {
	case errors.Is(err, disk.ErrInUse):
		fmt.Println("in use")
	case err != nil:
		fmt.Println("ERR", err)
	default:
		s.Close()
		fmt.Println("opened")
	}
	os.Exit(0)
}

func child(t testing.TB, what, dir string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what, dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

// killed runs a child under load, kills it after d and returns what it
// acknowledged. d counts from the start if early, else from the first spend.
func killed(t *testing.T, what, dir string, d time.Duration, early bool) (acked []string) {
	t.Helper()
	cmd, out := child(t, what, dir)
	if !early {
		if line, _ := out.ReadString('\n'); line != "READY\n" {
			t.Fatalf("child says %q", line)
		}
	}
	kill := time.AfterFunc(d, func() { cmd.Process.Kill() })
	defer kill.Stop()
	all, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	lines := strings.Split(string(all), "\n")
	for _, l := range lines[:len(lines)-1] { // the last is cut short, or empty
		switch {
		case strings.HasPrefix(l, "ERR"):
			t.Fatal(l)
		case l != "READY":
			acked = append(acked, l)
		}
	}
	return acked
}

// TestKill kills a process under load, at start-up too, and checks every
// acknowledged effect each time.
func TestKill(t *testing.T) {
	t.Parallel()
	var dir string
	var acked []string
	total, torn := 0, 0
	for round := range 20 * kvtest.Soak() {
		if round%20 == 0 { // a fresh store, or checking it takes ever longer
			dir, acked = t.TempDir(), nil
		}
		d := time.Duration(rand.IntN(150)) * time.Millisecond
		before := len(acked)
		acked = append(acked, killed(t, "load", dir, d, round%3 == 2)...)
		total += len(acked) - before
		again := dir
		if round%2 == 1 { // the next child finds what this one left
			again = crashCopy(t, dir)
		}
		s, err := Open(t.Context(), testOptions(dir, nil))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, p := checkSpends(s, acked); !p.none() {
			t.Fatalf("round %d: %v", round, p)
		}
		if s.recovery.TornBytes > 0 {
			torn++
		}
		if err := s.Verify(t.Context(), nil); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s.Close()
		dir = again
	}
	t.Logf("%d acknowledged, none lost; %d torn writes wiped", total, torn)
	if total == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

// TestKillControl: a store that acknowledges before it writes is caught.
func TestKillControl(t *testing.T) {
	t.Parallel()
	for range 50 {
		dir := t.TempDir()
		acked := killed(t, "load, acknowledged early", dir, 100*time.Millisecond, false)
		s := mustOpen(t, testOptions(dir, nil))
		_, p := checkSpends(s, acked)
		s.Close()
		if len(p.lost) > 0 {
			return
		}
	}
	t.Fatal("50 kills of a store that acknowledges early lost nothing: the test cannot fail")
}

// TestTwoProcesses: the second one is refused and touches nothing.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	ids := spendMany(t, s, "a", 50)
	cmd, out := child(t, "open", dir)
	line, _ := out.ReadString('\n')
	cmd.Wait()
	if line != "in use\n" {
		t.Fatalf("second process: %q", line)
	}
	if _, err := Open(t.Context(), testOptions(dir, nil)); !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("second Open in one process: %v", err)
	}
	ids = append(ids, spendMany(t, s, "b", 50)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Control: once it is free, the same child opens it.
	cmd, out = child(t, "open", dir)
	line, _ = out.ReadString('\n')
	cmd.Wait()
	if line != "opened\n" {
		t.Fatalf("process after Close: %q", line)
	}
	s = mustOpen(t, testOptions(dir, nil))
	if _, p := checkSpends(s, ids); !p.none() {
		t.Fatal(p)
	}
}
