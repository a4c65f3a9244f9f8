package chain

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// TestRoot compares with the tree of RFC 6962 built from the bottom.
func TestRoot(t *testing.T) {
	for n := 1; n < 40; n++ {
		var level []Hash
		for i := range n {
			level = append(level, Leaf([]byte{byte(i)}))
		}
		got := Root(level)
		for len(level) > 1 {
			var up []Hash
			for pair := range slices.Chunk(level, 2) {
				if len(pair) == 1 {
					up = append(up, pair[0]) // a lone node moves up
					continue
				}
				up = append(up, sha256.Sum256(bytes.Join([][]byte{{1}, pair[0][:], pair[1][:]}, nil)))
			}
			level = up
		}
		if got != level[0] {
			t.Fatalf("%d leaves: %x, want %x", n, got, level[0])
		}
	}
}

// A link is sound as it was made, and with no bit of it changed.
func TestLink(t *testing.T) {
	l := Link{}.Next(Leaf([]byte("a"))).Next(Leaf([]byte("b")))
	if !l.Sound() || l.Seq != 2 || l.Prev != (Link{}).Next(Leaf([]byte("a"))).Hash || l.Pos() != (kv.Pos{Seq: 2, Hash: l.Hash}) {
		t.Fatalf("%+v", l)
	}
	for name, change := range map[string]func(*Link){
		"seq":    func(l *Link) { l.Seq ^= 1 },
		"prev":   func(l *Link) { l.Prev[31] ^= 1 },
		"digest": func(l *Link) { l.Digest[0] ^= 1 },
		"hash":   func(l *Link) { l.Hash[7] ^= 1 },
	} {
		changed := l
		if change(&changed); changed.Sound() {
			t.Errorf("sound with another %s", name)
		}
	}
}

func testUnit(i int) *Unit {
	u := &Unit{Unit: kv.Unit{
		Records:  []kv.Write{{Key: "put", Val: bytes.Repeat([]byte{7}, i)}, {Key: "deleted"}},
		Counters: []kv.Sum{{Counter: "n", N: int64(-i)}},
		Entries:  []kv.Entry{{Stream: "st", ID: fmt.Sprint(i), Num: uint64(i + 1), Rec: []byte("rec")}, {Stream: "st", ID: "b", Num: 9, Rec: []byte{}}},
	}}
	u.Seal()
	return u
}

// What was encoded is decoded, units and the entries at their end.
func TestUnits(t *testing.T) {
	var b []byte
	var want []*Unit
	for i := range 5 {
		u := testUnit(i)
		if len(u.Bytes) != u.Size() {
			t.Fatalf("%d bytes, announced were %d", len(u.Bytes), u.Size())
		}
		b, want = append(b, u.Bytes...), append(want, u)
		at := len(u.Bytes) - EntrySize(u.Entries[0]) - EntrySize(u.Entries[1])
		if e, err := DecodeEntry(u.Bytes[at : at+EntrySize(u.Entries[0])]); err != nil || !reflect.DeepEqual(e, u.Entries[0]) {
			t.Fatalf("entry %+v, %v, want %+v", e, err, u.Entries[0])
		}
	}
	got, err := DecodeUnits(b)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d units, %v", len(got), err)
	}
	for i, u := range got {
		u.Leaf = Leaf(u.Bytes)
		if !reflect.DeepEqual(u, want[i]) {
			t.Errorf("unit %d: %+v, want %+v", i, u, want[i])
		}
	}
	for n := 1; n < len(want[0].Bytes); n++ {
		if _, err := DecodeUnits(b[:len(b)-n]); !errors.Is(err, kv.ErrDamaged) {
			t.Fatalf("without the last %d bytes: %v", n, err)
		}
	}
}

// FuzzDecodeUnits: no bytes make the decoder panic, and what it accepts is what
// would be written.
func FuzzDecodeUnits(f *testing.F) {
	f.Add(testUnit(1).Bytes)
	f.Add(append(testUnit(2).Bytes, testUnit(0).Bytes...))
	f.Fuzz(func(t *testing.T, b []byte) {
		units, err := DecodeUnits(b)
		if err != nil {
			return
		}
		n := 0
		for _, u := range units {
			n += len(u.Bytes)
			if u.Size() != len(u.Bytes) {
				t.Fatalf("a unit of %d bytes has %d", u.Size(), len(u.Bytes))
			}
		}
		if n != len(b) {
			t.Fatalf("units of %d bytes out of %d", n, len(b))
		}
	})
}
