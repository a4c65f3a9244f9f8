package badgerkv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// spend is the load of the fault tests: it raises one of 20 records, marks the
// call as done, counts it and appends an entry, all or nothing.
func spend(ctx context.Context, s kv.Store, id string, padding int) error {
	grant := "grant/" + strconv.Itoa(rand.IntN(20))
	rec := bytes.Repeat([]byte{7}, 200+rand.IntN(3000)) // not zeros: a torn write shows by them
	return s.Update(ctx, excl(grant, "done/"+id), func(tx kv.Tx) error {
		b, _, err := tx.Get(grant)
		if err != nil {
			return err
		}
		n := uint64(0)
		if len(b) >= 8 {
			n = binary.BigEndian.Uint64(b)
		}
		val := binary.BigEndian.AppendUint64(nil, n+1)
		copy(rec, grant+" ")
		return errors.Join(tx.Put(grant, append(val, bytes.Repeat([]byte{7}, padding)...)), tx.Put("done/"+id, []byte(grant)),
			tx.Add("spent", 1), tx.Append("spends", id, rec))
	})
}

// problem is what checkSpends found.
type problem struct {
	lost   []string // acknowledged, and now missing
	torn   []string // parts of one transaction disagree
	errors []error  // reads that failed: noticed damage
}

func (p problem) String() string {
	return fmt.Sprintf("lost %d %v, torn %v, errors %v", len(p.lost), head3(p.lost), head3(p.torn), head3(p.errors))
}

func head3[T any](s []T) []T { return s[:min(len(s), 3)] }

func (p problem) none() bool { return len(p.lost)+len(p.torn)+len(p.errors) == 0 }

// checkSpends reads everything that spend wrote and returns how many spends
// there are.
func checkSpends(s kv.Store, acked []string) (present int, p problem) {
	note := func(err error) {
		if err != nil {
			p.errors = append(p.errors, err)
		}
	}
	note(s.View(context.Background(), func(v kv.Snap) error {
		per := map[string]uint64{}
		note(v.Stream("spends", 0, func(e kv.Entry) error {
			if present++; e.Num != uint64(present) {
				p.torn = append(p.torn, fmt.Sprintf("entry %d is number %d", present, e.Num))
			}
			grant, _, _ := strings.Cut(string(e.Rec), " ")
			per[grant]++
			mark, ok, err := v.Get("done/" + e.ID)
			note(err)
			if err == nil && (!ok || string(mark) != grant) {
				p.torn = append(p.torn, "entry without its mark: "+e.ID)
			}
			return nil
		}))
		marks := 0
		note(v.Scan("done/", "", func(string, []byte) error { marks++; return nil }))
		note(v.Scan("grant/", "", func(k string, val []byte) error {
			if n := binary.BigEndian.Uint64(val); n != per[k] {
				p.torn = append(p.torn, fmt.Sprintf("%s is %d and has %d entries", k, n, per[k]))
			}
			return nil
		}))
		spent, err := v.Counter("spent")
		note(err)
		if len(p.errors) == 0 && (int(spent) != present || marks != present) {
			p.torn = append(p.torn, fmt.Sprintf("%d entries, %d counted, %d marks", present, spent, marks))
		}
		for _, id := range acked {
			_, ok, err := v.Record(id)
			if err != nil {
				p.errors = append(p.errors, err)
			} else if !ok {
				p.lost = append(p.lost, id)
			}
		}
		return nil
	}))
	return present, p
}

// spendMany runs n spends, some at once, and returns their IDs.
func spendMany(t testing.TB, s kv.Store, prefix string, n int) (ids []string) {
	t.Helper()
	errs := make(chan error, n)
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
	}
	work := make(chan string, n)
	for _, id := range ids {
		work <- id
	}
	close(work)
	for range 8 {
		go func() {
			for id := range work {
				errs <- spend(context.Background(), s, id, 0)
			}
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// crashCopy copies a store's directory as a crash would leave it. The store may
// be open if Badger does not flush or compact just then.
func crashCopy(t testing.TB, from string) string {
	t.Helper()
	if owner, err := disk.Own(from); err == nil {
		if err := owner.Release(); err != nil {
			t.Fatal(err)
		}
	} else { // the next segment vanishes under its first name when it is done
		spare := filepath.Join(from, "journal", tmpName)
		for _, err := os.Stat(spare); err == nil; _, err = os.Stat(spare) {
			time.Sleep(time.Millisecond)
		}
	}
	to := filepath.Join(t.TempDir(), "copy")
	for try := 0; ; try++ { // a segment may be begun and renamed meanwhile
		out, err := exec.Command("cp", "-r", from, to).CombinedOutput()
		if err == nil {
			break
		}
		if try == 20 {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{filepath.Join("state", "LOCK"), "countersign.lock"} {
		if err := os.Remove(filepath.Join(to, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return to
}

// crashed makes a directory of a store that crashed: tables, two segments with
// data, the end of the journal not in the tables.
func crashed(t testing.TB) (dir string, acked []string) {
	t.Helper()
	dir = t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	acked = spendMany(t, s, "a", 400)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(dir, nil))
	for i := 0; s.Stats().Seq == 0 || currentSegment(s) < 2; i++ {
		acked = append(acked, spendMany(t, s, fmt.Sprintf("b%d", i), 200)...)
	}
	acked = append(acked, spendMany(t, s, "c", 100)...)
	// The last record has several pages without zeros, so that tearing it leaves
	// something, and is not the first of its segment.
	for first, n := true, 0; first; n++ {
		id := fmt.Sprint("last", n)
		if err := spend(t.Context(), s, id, 20_000); err != nil {
			t.Fatal(err)
		}
		acked = append(acked, id)
		s.mu.Lock()
		first = s.durableTo.off <= recordExtent(25_000)+2*pageBytes
		s.mu.Unlock()
	}
	return crashCopy(t, dir), acked
}

func currentSegment(s *Store) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durableTo.seg
}

// lastRecord finds the last record of a directory's journal.
func lastRecord(t testing.TB, dir string) (last record) {
	t.Helper()
	journalDir := filepath.Join(dir, "journal")
	segs, err := listSegments(journalDir)
	if err != nil {
		t.Fatal(err)
	}
	j := journalIn(dir, disk.OS{})
	c, err := j.cursorAt(segs[0])
	for err == nil {
		var rec record
		if rec, err = c.next(); rec.body == nil {
			break
		}
		last = rec
	}
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func patch(t testing.TB, name string, off int64, fn func(b []byte), size int) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	fn(b)
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}
