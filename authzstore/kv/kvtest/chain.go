package kvtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// follower applies batches as a standby would and checks the chain.
type follower struct {
	pos      kv.Pos
	records  map[string]string
	counters map[string]int64
	streams  map[string]uint64
	units    int
}

func newFollower() *follower {
	return &follower{records: map[string]string{}, counters: map[string]int64{}, streams: map[string]uint64{}}
}

func (f *follower) apply(b kv.Batch) error {
	if b.Seq != f.pos.Seq+1 || b.Prev != f.pos.Hash {
		return fmt.Errorf("batch %d does not follow %d", b.Seq, f.pos.Seq)
	}
	sealed := binary.BigEndian.AppendUint64(nil, b.Seq)
	sealed = append(append(sealed, b.Prev[:]...), b.Digest[:]...)
	if sha256.Sum256(sealed) != b.Hash {
		return fmt.Errorf("hash of batch %d is wrong", b.Seq)
	}
	var leaves [][32]byte
	for _, u := range b.Units {
		leaves = append(leaves, u.Leaf)
		for _, w := range u.Records {
			if w.Val == nil {
				delete(f.records, w.Key)
			} else {
				f.records[w.Key] = string(w.Val)
			}
		}
		for _, c := range u.Counters {
			f.counters[c.Counter] = c.N
		}
		for _, e := range u.Entries {
			if e.Num != f.streams[e.Stream]+1 {
				return fmt.Errorf("stream %s: number %d after %d", e.Stream, e.Num, f.streams[e.Stream])
			}
			f.streams[e.Stream] = e.Num
		}
	}
	if root(leaves) != b.Digest {
		return fmt.Errorf("digest of batch %d is wrong", b.Seq)
	}
	f.units += len(b.Units)
	f.pos = b.Pos
	return nil
}

// root is the Merkle tree of RFC 6962, written a second time.
func root(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	l, r := root(leaves[:k]), root(leaves[k:])
	return sha256.Sum256(bytes.Join([][]byte{{1}, l[:], r[:]}, nil))
}

var errStop = errors.New("stop")

// until follows the store up to a position.
func (f *follower) until(t testing.TB, s kv.Store, seq uint64) {
	t.Helper()
	if f.pos.Seq >= seq {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.Tail(ctx, f.pos, func(b kv.Batch) error {
		if err := f.apply(b); err != nil {
			return err
		}
		if b.Seq >= seq {
			return errStop
		}
		return nil
	})
	wantErr(t, err, errStop)
}

// testTail: a follower that keeps up ends with what View shows, and one that
// stops and comes back misses nothing.
func testTail(t *testing.T, h Harness) {
	s := open(t, h)
	f := newFollower()
	live := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	liveFollower := newFollower()
	go func() { live <- s.Tail(ctx, kv.Pos{}, liveFollower.apply) }()
	var pos kv.Pos
	for round := range 3 {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 20 {
					key := name("k%d", (w+i)%5)
					err := s.Update(context.Background(), excl(key), func(tx kv.Tx) error {
						if i%7 == 6 {
							return tx.Delete(key)
						}
						return errors.Join(increment(tx, key), tx.Add("n", 1), tx.Append("st", name("%d-%d-%d", round, w, i), bytes.Repeat([]byte("x"), 300)))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		view(t, s, func(v kv.Snap) error { pos = v.Pos(); return nil })
		f.until(t, s, pos.Seq)
		view(t, s, func(v kv.Snap) error { return compareFollower(t, f, v) })
	}
	want(t, "position", f.pos, pos)
	want(t, "units", f.units, 3*8*20)
	cancel()
	wantErr(t, within(t, "the live follower ends", live), context.Canceled)

	// Only what is durable.
	resume := h.Stall()
	defer resume()
	write := start(t, s, context.Background(), excl("late"), func(tx kv.Tx) error { return tx.Put("late", []byte("1")) })
	got := make(chan uint64, 1)
	go s.Tail(context.Background(), pos, func(b kv.Batch) error { got <- b.Seq; return errStop })
	notYet(t, "Tail hands out a batch that is not durable", got)
	resume()
	wantErr(t, within(t, "the acknowledgement", write), nil)
	want(t, "next batch", within(t, "Tail goes on", got), pos.Seq+1)
}

func compareFollower(t *testing.T, f *follower, v kv.Snap) error {
	n := 0
	err := v.Scan("", "", func(k string, val []byte) error {
		want(t, "followed "+k, f.records[k], string(val))
		n++
		return nil
	})
	want(t, "followed records", len(f.records), n)
	sum, err2 := v.Counter("n")
	want(t, "followed counter", f.counters["n"], sum)
	return errors.Join(err, err2)
}

// testTailRefuses: a position that the store never had is noticed.
func testTailRefuses(t *testing.T, h Harness) {
	s := open(t, h)
	for i := range 5 {
		put(t, s, "a", name("%d", i))
	}
	never := func(kv.Batch) error { t.Error("got a batch"); return errStop }
	wantErr(t, s.Tail(context.Background(), kv.Pos{Seq: 3, Hash: [32]byte{1}}, never), kv.ErrDamaged)
	wantErr(t, s.Tail(context.Background(), kv.Pos{Seq: 1000}, never), kv.ErrDamaged)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantErr(t, s.Tail(ctx, kv.Pos{}, never), context.Canceled)
}
