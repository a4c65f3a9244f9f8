package badgerkv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
	"github.com/countersign/countersign/authzstore/kv/disk"
)

// TestNothingLeft: after a mixed load with callers that give up, memory holds no
// lock, no record and no counter, and all sums agree.
func TestNothingLeft(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, testOptions(dir, nil))
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 150 {
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(4) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(300))*time.Microsecond, cancel)
				}
				a, b := fmt.Sprint("k", rng.IntN(5)), fmt.Sprint("k", rng.IntN(5))
				err := s.Update(ctx, append(excl(a), kv.Ref{Key: b}), func(tx kv.Tx) error {
					v, _, err := tx.Get(a)
					if i%10 == 0 {
						return errors.New("no")
					}
					if i%10 == 1 {
						_, err := tx.Counter("n")
						return err
					}
					return errors.Join(err, tx.Put(a, next(v)), tx.Add("n", 1), tx.Append("st", fmt.Sprintf("%d-%d", w, i), v))
				})
				cancel()
				_ = err // any; the sums below tell whether what was said is true
			}
		})
	}
	wg.Wait()
	check := func() {
		t.Helper()
		if err := s.View(context.Background(), func(v kv.Snap) error {
			sum, entries := int64(0), int64(0)
			err := v.Scan("k", "", func(_ string, val []byte) error { sum += int64(binary.BigEndian.Uint64(val)); return nil })
			err2 := v.Stream("st", 0, func(kv.Entry) error { entries++; return nil })
			n, err3 := v.Counter("n")
			if sum != n || entries != n || n == 0 {
				t.Errorf("records add up to %d, %d entries, counter %d", sum, entries, n)
			}
			return errors.Join(err, err2, err3)
		}); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.locks.Records()+len(s.overlay)+len(s.layers)+len(s.pending) > 0 || s.undurable != 0 || s.unapplied != 0 {
		t.Errorf("left: %d locks, %d keys, %d layers, %d bytes undurable, %d unapplied",
			s.locks.Records(), len(s.overlay), len(s.layers), s.undurable, s.unapplied)
	}
	s = mustOpen(t, testOptions(dir, nil))
	if s.recovery.Batches != 0 {
		t.Errorf("%d batches to replay after a clean close", s.recovery.Batches)
	}
	check()
}

func testUnit(i int, val []byte) *chain.Unit {
	u := &chain.Unit{Unit: kv.Unit{
		Records: []kv.Write{{Key: "key", Val: val}}, Counters: []kv.Sum{{Counter: "n", N: int64(i)}},
		Entries: []kv.Entry{{Stream: "st", ID: fmt.Sprint(i), Num: uint64(i + 1), Rec: []byte("rec")}},
	}}
	u.Seal()
	return u
}

// testSegment is a small segment image with three records.
func testSegment(t testing.TB) []byte {
	b := make([]byte, 16*pageBytes)
	encodeSegHeader(b, 1, [16]byte{}, int64(len(b)))
	h, off := chain.Link{}, int64(pageBytes)
	for i := range 3 {
		u := testUnit(i, bytes.Repeat([]byte{0}, 700*i))
		h = h.Next(u.Leaf)
		extent := recordExtent(int64(len(u.Bytes)))
		encodeRecord(b[off:off+extent], h, []*chain.Unit{u}, 0)
		off += extent
	}
	return b
}

// oneFile is a file system that holds a segment in memory.
type oneFile struct {
	disk.OS
	b []byte
}

type memoryFile struct {
	disk.File
	*bytes.Reader
}

func (o oneFile) Open(string) (disk.File, error) {
	return memoryFile{Reader: bytes.NewReader(o.b)}, nil
}
func (m memoryFile) Close() error                            { return nil }
func (m memoryFile) ReadAt(b []byte, off int64) (int, error) { return m.Reader.ReadAt(b, off) }

// FuzzJournal changes a segment in any way: reading it never panics, never goes
// past what is there, and what it hands out is some of the records, in order.
func FuzzJournal(f *testing.F) {
	good := testSegment(f)
	f.Add(0, []byte{})
	f.Add(pageBytes+8, []byte{0xFF, 0xFF, 0xFF})
	f.Add(2*pageBytes+recordHeaderBytes, bytes.Repeat([]byte{0xFF}, 16))
	f.Add(2*pageBytes, make([]byte, sectorBytes))
	f.Fuzz(func(t *testing.T, at int, change []byte) {
		b := slices.Clone(good)
		if at >= 0 && at < len(b) {
			copy(b[at:], change)
		}
		c := &cursor{d: journalIn("x", oneFile{b: b}), at: place{1, 0}, last: 1}
		for seq := uint64(1); ; seq++ {
			rec, err := c.next()
			if err != nil || rec.body == nil {
				torn, err := c.torn()
				if err == nil && c.at.off+torn > int64(len(b)) || c.h.Seq != seq-1 {
					t.Fatalf("ends at %d+%d with head %d after record %d", c.at.off, torn, c.h.Seq, seq-1)
				}
				return
			}
			if rec.Head.Seq != seq {
				t.Fatalf("record %d, want %d", rec.Head.Seq, seq)
			}
			_, err = toBatch(rec)
			units, err2 := decodeUnits(rec)
			addState(map[string][]byte{}, units, bodyAt(rec.at))
			_ = errors.Join(err, err2) // any; they do not panic
		}
	})
}
