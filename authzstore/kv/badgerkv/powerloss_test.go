//go:build soak

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
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// These tests need root and loop devices: they mount file systems of their own.
// make soak runs them where both are there.

// loopDisk is an ext4 file system in a file.
type loopDisk struct {
	t     *testing.T
	image string
	mount string
}

func newDisk(t *testing.T, mebibytes int64) *loopDisk {
	t.Helper()
	d := &loopDisk{t: t, image: filepath.Join(t.TempDir(), "image"), mount: t.TempDir()}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(mebibytes<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", d.image)
	d.run("mount", "-o", "loop", d.image, d.mount)
	t.Cleanup(func() { d.run("umount", d.mount) })
	return d
}

func (d *loopDisk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Errorf("%s %v: %v: %s", name, args, err, out)
	}
}

// losePower cuts the file system off as a power cut would: what is not on the
// device by now, journal of the file system included, never gets there. (ext4's
// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, as xfstests uses it.)
func (d *loopDisk) losePower() {
	d.t.Helper()
	const (
		shutdown   = 0x8004587d // _IOR('X', 125, __u32)
		noLogFlush = 2
	)
	dir, err := os.Open(d.mount)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer dir.Close()
	flag := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&flag))); errno != 0 {
		d.t.Error(errno)
	}
}

// comeBack mounts what is on the device.
func (d *loopDisk) comeBack() {
	d.t.Helper()
	d.run("umount", d.mount)
	d.run("mount", "-o", "loop", d.image, d.mount)
}

// powerLost runs a child under load on the disk, cuts the power after a while,
// and returns what the child acknowledged before.
func powerLost(t *testing.T, d *loopDisk, what string) (acked []string) {
	t.Helper()
	cmd, out := child(t, what, filepath.Join(d.mount, "store"))
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "READY" {
		t.Fatalf("child says %q", lines.Text())
	}
	cut := make(chan struct{})
	time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() {
		defer close(cut)
		d.losePower()
	})
	// From the cut on the child gets errors, and acknowledges nothing more.
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "ERR") {
		acked = append(acked, lines.Text())
	}
	<-cut
	_ = cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
	d.comeBack()
	return acked
}

// TestPowerLoss cuts the power of a disk under load and checks every
// acknowledged effect each time.
func TestPowerLoss(t *testing.T) {
	total := 0
	var d *loopDisk
	var acked []string
	for round := range 4 * kvtest.Soak() {
		if round%10 == 0 { // before it is full
			d, acked = newDisk(t, 512), nil
		}
		before := len(acked)
		acked = append(acked, powerLost(t, d, "load")...)
		total += len(acked) - before
		s, err := Open(t.Context(), testOptions(filepath.Join(d.mount, "store"), nil))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, p := checkSpends(s, acked); !p.none() {
			t.Fatalf("round %d: %v", round, p)
		}
		if err := errors.Join(s.Verify(t.Context(), nil), s.Close()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d acknowledged, none lost", total)
	if total == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

// TestPowerLossControl: a store whose writes do not reach the device loses
// effects, and the test notices.
func TestPowerLossControl(t *testing.T) {
	for range 20 {
		d := newDisk(t, 512)
		acked := powerLost(t, d, "load, not synced")
		s, err := Open(t.Context(), testOptions(filepath.Join(d.mount, "store"), nil))
		if err != nil {
			return // noticed, too
		}
		_, p := checkSpends(s, acked)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if len(p.lost) > 0 {
			return
		}
	}
	t.Fatal("20 power cuts of a store that does not sync lost nothing: the test cannot fail")
}

// TestRealFullDisk fills a disk under a store: effects are refused before it is
// full, nothing acknowledged is lost, and once there is space it goes on. On the
// full disk a start is refused, changes nothing and says what to do.
func TestRealFullDisk(t *testing.T) {
	d := newDisk(t, 600)
	dir := filepath.Join(d.mount, "store")
	fillers := []string{filepath.Join(d.mount, "filler"), filepath.Join(d.mount, "filler2")}
	o := testOptions(dir, nil)
	o.MinFreeBytes = 0 // the default: without the guard Badger dies of SIGBUS here
	s := mustOpen(t, o)
	acked := spendMany(t, s, "a", 100)
	fill(t, fillers[0])
	refused := 0
	spendUntilRefused := func(prefix string) {
		for i, until := 0, refused+50; refused < until; i++ {
			id := fmt.Sprint(prefix, i)
			err := spend(context.Background(), s, id, 100_000)
			switch {
			case err == nil:
				acked = append(acked, id)
			case errors.Is(err, kv.ErrOverloaded):
				refused++
			default:
				t.Fatalf("spend %s on a full disk: %v", id, err)
			}
		}
	}
	spendUntilRefused("full")
	if _, p := checkSpends(s, acked); !p.none() {
		t.Fatal(p)
	}
	free(t, fillers[0])
	for deadline := time.Now().Add(time.Minute); ; {
		err := spend(context.Background(), s, "after", 0)
		if err == nil {
			acked = append(acked, "after")
			break
		}
		if !errors.Is(err, kv.ErrOverloaded) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}

	// Again, and now it ends while the disk is full.
	fill(t, fillers[0])
	spendUntilRefused("again")
	if err := s.Close(); err != nil { // what Badger then writes fits the ballast
		t.Fatal(err)
	}
	fill(t, fillers[1])
	before := listing(t, dir)
	for range 3 {
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "free some") {
			t.Fatalf("a start on a full disk: %v", err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("a start on a full disk changed files:\n%s\n%s", before, after)
	}
	free(t, fillers...)
	s = mustOpen(t, o)
	if _, p := checkSpends(s, acked); !p.none() {
		t.Fatal(p)
	}
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acknowledged, none lost, %d refused", len(acked), refused)
}

func free(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// fill writes a file until the disk has no space left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2] // to the last byte
		}
	}
}
