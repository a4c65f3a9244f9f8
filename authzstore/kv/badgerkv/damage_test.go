package badgerkv

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/disk"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// tear leaves a random subset of the last record's sectors unwritten.
func tear(t *testing.T, dir string, rng *rand.Rand) {
	last := lastRecord(t, dir)
	patch(t, segPath(filepath.Join(dir, "journal"), last.at.seg), last.at.off, func(b []byte) {
		zeroed := 0
		for o := 0; o < len(b); o += sectorBytes {
			sector := b[o : o+sectorBytes]
			if !isAll(sector, 0) && (rng.IntN(3) == 0 || zeroed == 0 && o+sectorBytes == len(b)) {
				clear(sector)
				zeroed++
			}
		}
	}, int(last.next.off-last.at.off))
}

// TestTorn: a last write of which any sectors are missing is cut off, everything
// before it is there, and the next start finds nothing to repair.
func TestTorn(t *testing.T) {
	t.Parallel()
	src, _ := crashed(t)
	last := lastRecord(t, src)
	for seed := range uint64(12 * kvtest.Soak()) {
		dir := crashCopy(t, src)
		tear(t, dir, rand.New(rand.NewPCG(seed, 1)))
		for round := range 2 {
			s, err := Open(t.Context(), testOptions(dir, nil))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got := s.Stats().Seq; got != last.Head.Seq-1 {
				t.Fatalf("seed %d: journal ends at %d, want %d", seed, got, last.Head.Seq-1)
			}
			if torn := s.recovery.TornBytes > 0; torn != (round == 0) {
				t.Fatalf("seed %d, start %d: torn is %v", seed, round, torn)
			}
			if _, p := checkSpends(s, nil); !p.none() {
				t.Fatalf("seed %d: %v", seed, p)
			}
			s.Close()
		}
		os.RemoveAll(dir)
	}
}

// TestTornControl: a store that leaves what a torn write left is caught: its next
// record is smaller, and behind it the remains look like damage.
func TestTornControl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	err := s.Update(t.Context(), nil, func(tx kv.Tx) error { return tx.Append("st", "large", bytes.Repeat([]byte{1}, 40<<10)) })
	if err != nil {
		t.Fatal(err)
	}
	src := crashCopy(t, dir)
	for seed := range uint64(20) {
		dir := crashCopy(t, src)
		tear(t, dir, rand.New(rand.NewPCG(seed, 1)))
		o := testOptions(dir, nil)
		o.faults = faults{keepTorn: true}
		s := mustOpen(t, o)
		err := s.Update(t.Context(), nil, func(tx kv.Tx) error { return tx.Append("st", "small", nil) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if v, err := judge(t, dir, nil, faults{}); v == refused {
			t.Log(err)
			return
		}
	}
	t.Fatal("20 torn writes that were not wiped did no harm: the test cannot fail")
}

// TestTornRoll: the first write of a segment is torn like any other.
func TestTornRoll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	var acked []string
	for i := 0; currentSegment(s) < 2; i++ {
		acked = append(acked, spendMany(t, s, fmt.Sprint(i), 1)...)
	}
	src := crashCopy(t, dir)
	acked = acked[:len(acked)-1]
	for seed := range uint64(5) {
		dir := crashCopy(t, src)
		tear(t, dir, rand.New(rand.NewPCG(seed, 2)))
		for range 2 {
			s := mustOpen(t, testOptions(dir, nil))
			if _, p := checkSpends(s, acked); !p.none() {
				t.Fatalf("seed %d: %v", seed, p)
			}
			acked = append(acked, spendMany(t, s, fmt.Sprintf("more-%d", len(acked)), 3)...)
			s.Close()
		}
		acked = acked[:len(acked)-6]
	}
}

// verdict is what became of one damaged directory.
type verdict string

const (
	refused  verdict = "refused"
	rebuilt  verdict = "rebuilt"
	noticed  verdict = "noticed when read or verified"
	harmless verdict = "harmless"
	silent   verdict = "SILENT LOSS"
)

// judge opens a damaged directory and compares it with what was acknowledged.
func judge(t *testing.T, dir string, acked []string, f faults) (verdict, error) {
	t.Helper()
	o := testOptions(dir, nil)
	o.faults = f
	s, err := Open(t.Context(), o)
	if err != nil {
		if !errors.Is(err, kv.ErrDamaged) {
			t.Errorf("refused without saying what is damaged: %v", err)
		}
		return refused, err
	}
	defer s.Close()
	_, p := checkSpends(s, acked)
	verified := s.Verify(t.Context(), nil)
	switch {
	case len(p.lost)+len(p.torn) > 0 && len(p.errors) == 0:
		return silent, fmt.Errorf("%v", p)
	case len(p.errors) > 0:
		return noticed, p.errors[0]
	case verified != nil:
		return noticed, verified
	case s.recovery.Rebuilt != "":
		return rebuilt, nil
	}
	return harmless, nil
}

// flip changes one bit of a file, within its first size bytes.
func flip(t *testing.T, name string, rng *rand.Rand, from, to int64) int64 {
	t.Helper()
	off := from + rng.Int64N(to-from)
	patch(t, name, off, func(b []byte) { b[0] ^= 1 << rng.IntN(8) }, 1)
	return off
}

func count(t *testing.T, seen map[verdict]int, v verdict, format string, args ...any) {
	t.Helper()
	seen[v]++
	if v == silent {
		t.Errorf("silent loss: "+format, args...)
	}
}

// TestFlipJournal flips bits all over the journal, and as many in its last
// record, which has one copy: there a flip must not pass for a torn write.
func TestFlipJournal(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	last := lastRecord(t, src)
	seen := map[verdict]int{}
	for seed := range uint64(12 * kvtest.Soak()) {
		rng := rand.New(rand.NewPCG(seed, 3))
		dir := crashCopy(t, src)
		seg, from, to := 1+rng.Uint64N(last.at.seg), int64(0), int64(4<<20)
		if seed%2 == 0 {
			seg, from, to = last.at.seg, last.at.off, last.next.off
		} else if seg == last.at.seg {
			to = last.next.off
		}
		off := flip(t, segPath(filepath.Join(dir, "journal"), seg), rng, from, to)
		v, err := judge(t, dir, acked, faults{})
		count(t, seen, v, "seed %d, segment %d offset %d: %v", seed, seg, off, err)
		if seed%2 == 0 && v != refused {
			t.Errorf("seed %d: flip in the last record at %d: %s %v", seed, off, v, err)
		}
		if v == refused && !strings.Contains(err.Error(), ".seg") {
			t.Errorf("the refusal does not name the file: %v", err)
		}
		os.RemoveAll(dir)
	}
	t.Log(seen)
}

// TestFlipJournalControl: a store that cuts the journal at any unreadable
// record is caught.
func TestFlipJournalControl(t *testing.T) {
	src, acked := crashed(t)
	last := lastRecord(t, src)
	dir := crashCopy(t, src)
	flip(t, segPath(filepath.Join(dir, "journal"), last.at.seg), rand.New(rand.NewPCG(1, 1)), last.at.off+recordHeaderBytes, last.at.off+1000)
	if v, err := judge(t, dir, acked, faults{trustJournal: true}); v != silent {
		t.Fatalf("got %s (%v): the test cannot fail", v, err)
	}
}

// TestFlipState flips bits in Badger's files.
func TestFlipState(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	files, _ := filepath.Glob(filepath.Join(src, "state", "*"))
	seen := map[string]int{}
	for seed := range uint64(12 * kvtest.Soak()) {
		rng := rand.New(rand.NewPCG(seed, 4))
		dir := crashCopy(t, src)
		name := filepath.Join(dir, "state", filepath.Base(files[seed%uint64(len(files))]))
		info, err := os.Stat(name)
		if err != nil || info.Size() == 0 {
			continue
		}
		b, _ := os.ReadFile(name)
		used := int64(len(strings.TrimRight(string(b), "\x00")))
		off := flip(t, name, rng, 0, max(used, 1))
		v, err := judge(t, dir, acked, faults{})
		if v == silent {
			t.Errorf("seed %d: %s offset %d: %v", seed, name, off, err)
		}
		if v == refused { // the way out that the message names
			s, err := Open(t.Context(), testOptions(withoutState(t, dir), nil))
			if err != nil {
				t.Fatalf("seed %d: without state: %v", seed, err)
			}
			if _, p := checkSpends(s, acked); !p.none() {
				t.Errorf("seed %d: made anew: %v", seed, p)
			}
			s.Close()
		}
		seen[strings.TrimLeft(filepath.Base(name), "0123456789")+" "+string(v)]++
		os.RemoveAll(dir)
	}
	t.Log(seen)
}

// TestFlipStateControl: a store that does not verify tables serves damage
// silently.
func TestFlipStateControl(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	tables, _ := filepath.Glob(filepath.Join(src, "state", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	for seed := range uint64(40) {
		dir := crashCopy(t, src)
		name := filepath.Join(dir, "state", filepath.Base(tables[0]))
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(seed, 5))
		for range 8 { // much of a table may be padding
			flip(t, name, random, 0, info.Size()*3/4)
		}
		if unverified(t, dir, acked) {
			return
		}
	}
	t.Fatal("40 times 8 flips in unverified tables did no harm: the test cannot fail")
}

// unverified opens a directory without verifying tables and says whether
// something is missing without any error.
func unverified(t *testing.T, dir string, acked []string) (missing bool) {
	o := testOptions(dir, nil)
	o.faults = faults{trustTables: true}
	s, err := Open(t.Context(), o)
	if err != nil {
		return false
	}
	defer s.Close()
	defer func() {
		if p := recover(); p != nil { // of Badger's iterator: noticed, in its way
			missing = false
		}
	}()
	_, p := checkSpends(s, acked)
	return len(p.errors) == 0 && len(p.lost)+len(p.torn) > 0
}

// TestTruncate cuts files short.
func TestTruncate(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	var files []string
	for _, d := range []string{"journal", "state"} {
		names, _ := filepath.Glob(filepath.Join(src, d, "*"))
		files = append(files, names...)
	}
	seen := map[verdict]int{}
	for i := range len(files) * kvtest.Soak() {
		rng := rand.New(rand.NewPCG(uint64(i), 6))
		dir := crashCopy(t, src)
		rel, _ := filepath.Rel(src, files[i%len(files)])
		name := filepath.Join(dir, rel)
		info, err := os.Stat(name)
		if err != nil || info.Size() == 0 {
			continue
		}
		size := rng.Int64N(info.Size())
		if i%3 == 0 {
			size = 0
		}
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
		v, err := judge(t, dir, acked, faults{})
		count(t, seen, v, "%s cut to %d: %v", rel, size, err)
		os.RemoveAll(dir)
	}
	t.Log(seen)
}

// TestUnfinishedTable: a table that a kill cut short while Badger made it is not
// part of the state, which need not be made again. One that is part of it is missed.
func TestUnfinishedTable(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	tables, _ := filepath.Glob(filepath.Join(src, "state", "*.sst"))
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(state string) error
		want   verdict
	}{
		"half of one":      {func(d string) error { return os.WriteFile(filepath.Join(d, "009999.sst"), b[:len(b)/2], 0o600) }, harmless},
		"none of one":      {func(d string) error { return os.WriteFile(filepath.Join(d, "009999.sst"), nil, 0o600) }, harmless},
		"one of the state": {func(d string) error { return os.Remove(filepath.Join(d, filepath.Base(tables[0]))) }, rebuilt},
	} {
		dir := crashCopy(t, src)
		if err := c.change(filepath.Join(dir, "state")); err != nil {
			t.Fatal(err)
		}
		if v, err := judge(t, dir, acked, faults{}); v != c.want {
			t.Errorf("%s: %s, %v", name, v, err)
		}
	}
}

// TestFlipBackup flips bits in the state backup of a pruned store, and cuts it
// short. While the state is there all is served, and Verify names the file; when
// the state is gone it is refused, as it would be half empty.
func TestFlipBackup(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	s, _ := grown(t, testOptions(src, nil))
	if _, err := s.Prune(t.Context(), kv.Retention{MaxBytes: 1, Exported: math.MaxUint64}); err != nil {
		t.Fatal(err)
	}
	want := records(t, s)
	if err := errors.Join(s.Verify(t.Context(), nil), s.Close()); err != nil {
		t.Fatalf("control: before any damage: %v", err)
	}
	backups, _ := filepath.Glob(filepath.Join(src, "backup", "*"))
	if len(backups) != 1 {
		t.Fatalf("backups: %v", backups)
	}
	info, err := os.Stat(backups[0])
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(12 * kvtest.Soak()) {
		rng := rand.New(rand.NewPCG(seed, 7))
		dir := crashCopy(t, src)
		name, off := filepath.Join(dir, "backup", filepath.Base(backups[0])), rng.Int64N(info.Size())
		if seed%4 == 0 {
			err = os.Truncate(name, off)
		} else {
			off = flip(t, name, rng, off, off+1)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, testOptions(dir, nil))
		if records(t, s) != want {
			t.Fatalf("seed %d, offset %d: records differ", seed, off)
		}
		if err := s.Verify(t.Context(), nil); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("seed %d, offset %d: Verify says %v", seed, off, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := emptyDir(filepath.Join(dir, "state")); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), testOptions(dir, nil)); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("seed %d, offset %d, without state: %v", seed, off, err)
		}
		os.RemoveAll(dir)
	}
}

// TestRefusals: each of these directories is refused, by a message that says
// where and what, and is opened again once the cause is undone.
func TestRefusals(t *testing.T) {
	t.Parallel()
	src, acked := crashed(t)
	other, _ := crashed(t)
	for name, c := range map[string]struct {
		damage func(dir string) error
		says   string
	}{
		"manifest missing": {func(d string) error { return os.Remove(filepath.Join(d, "state", "MANIFEST")) }, "MANIFEST"},
		"journal missing":  {func(d string) error { return emptyDir(filepath.Join(d, "journal")) }, "journal is missing"},
		"journal missing, table damaged": {func(d string) error {
			damageTable(t, d)
			return emptyDir(filepath.Join(d, "journal"))
		}, ".sst"},
		"first segment missing": {func(d string) error { return os.Remove(segPath(filepath.Join(d, "journal"), 1)) }, "backup"},
		"another store's journal": {func(d string) error {
			return replaceDir(filepath.Join(d, "journal"), filepath.Join(other, "journal"))
		}, "another store"},
		"journal rolled back": {func(d string) error {
			return rollBack(t, d)
		}, "rolled back"},
		"unknown format": {func(d string) error { return setFormat(t, d, 9, 9) }, "newer program"},
		"unknown writer": {func(d string) error { return setFormat(t, d, 1, 2) }, "newer program"},
		"stray segment": {func(d string) error {
			return os.WriteFile(filepath.Join(d, "journal", "x.seg"), nil, 0o600)
		}, "x.seg"},
		"gap": {func(d string) error {
			return os.Rename(segPath(filepath.Join(d, "journal"), 2), segPath(filepath.Join(d, "journal"), 5))
		}, "missing between"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := crashCopy(t, src)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			_, err := Open(t.Context(), testOptions(dir, nil))
			if !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "what to do:") {
				t.Fatalf("got %v, want a refusal that says %q", err, c.says)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("refusing changed files:\n%s\n%s", before, after)
			}
		})
	}
	if v, err := judge(t, crashCopy(t, src), acked, faults{}); v != harmless {
		t.Fatalf("control: the untouched directory: %s %v", v, err)
	}
}

// TestSegmentsZeroed: a journal that lost what two of its segments held does not end
// before them.
func TestSegmentsZeroed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := grown(t, testOptions(dir, nil))
	if err := errors.Join(s.Close(), emptyDir(filepath.Join(dir, "state"))); err != nil {
		t.Fatal(err)
	}
	for _, seg := range []uint64{2, 3} {
		patch(t, segPath(filepath.Join(dir, "journal"), seg), pageBytes, func(b []byte) { clear(b) }, 4<<20-pageBytes)
	}
	if _, err := Open(t.Context(), testOptions(dir, nil)); !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), "does not continue the chain") {
		t.Fatalf("opened: %v", err)
	}
}

func emptyDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o700)
}

func replaceDir(dir, from string) error {
	if err := emptyDir(dir); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(dir), os.DirFS(from))
}

// rollBack leaves the journal as it was after its first record.
func rollBack(t *testing.T, dir string) error {
	journalDir := filepath.Join(dir, "journal")
	segs, err := listSegments(journalDir)
	if err != nil {
		return err
	}
	c, err := journalIn(dir, disk.OS{}).cursorAt(1)
	if err != nil {
		return err
	}
	if _, err := c.nextBatch(); err != nil {
		return err
	}
	patch(t, segPath(journalDir, 1), c.at.off, func(b []byte) { clear(b) }, int(c.size-c.at.off))
	for _, seg := range segs[1:] {
		err = errors.Join(err, os.Remove(segPath(journalDir, seg)))
	}
	return err
}

// setFormat rewrites the first segment's header.
func setFormat(t *testing.T, dir string, reader, writer uint16) error {
	patch(t, segPath(filepath.Join(dir, "journal"), 1), 0, func(b []byte) {
		h, _ := decodeSegHeader(b)
		h.Format, h.MinReader, h.MinWriter = 9, reader, writer
		encodeHeader(b[:segHeaderBytes], segMagic, h)
	}, pageBytes)
	return nil
}

// listing names journal, tables and backups with their sizes.
func listing(t *testing.T, dir string) (out string) {
	for _, p := range []string{"journal/*.seg", "state/*.sst", "backup/*"} {
		names, _ := filepath.Glob(filepath.Join(dir, p))
		for _, n := range names {
			info, err := os.Stat(n)
			if err != nil {
				t.Fatal(err)
			}
			out += fmt.Sprintf("%s %d\n", filepath.Base(n), info.Size())
		}
	}
	return out
}
