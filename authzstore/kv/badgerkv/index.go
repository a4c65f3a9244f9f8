package badgerkv

import (
	"encoding/binary"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// Keys in Badger and in a batch's state: one byte of namespace, then the name.
const (
	nsRecord  = "r"
	nsCounter = "c"
	nsStream  = "s" // → last number given, 8 bytes
	nsID      = "i" // + id → location of the entry
	nsEntry   = "e" // + stream bytes 2 + stream + number 8 → location
	nsMeta    = "m"
)

func streamKey(stream string) string {
	return nsEntry + string(binary.BigEndian.AppendUint16(nil, uint16(len(stream)))) + stream
}

func entryKey(stream string, num uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(streamKey(stream)), num))
}

// location is where an entry stands in the journal, and how to know it.
type location struct{ Seg, Off, Bytes, CRC uint32 }

const locationBytes = 16

func (l location) encode() []byte {
	b, _ := binary.Append(make([]byte, 0, locationBytes), binary.BigEndian, l) // it has a fixed size
	return b
}

func decodeLocation(b []byte) (l location, err error) {
	if _, err := binary.Decode(b, binary.BigEndian, &l); err != nil || len(b) != locationBytes {
		return l, fmt.Errorf("%w: index entry of %d bytes", kv.ErrDamaged, len(b))
	}
	return l, nil
}

// costOf is what a unit takes of a transaction of Badger, which counts 13 bytes
// for a key and admits one key per 96 bytes, and about what its state takes in
// memory meanwhile, with map entries and its share of the overlay.
func costOf(u *chain.Unit) (n int64) {
	for _, r := range u.Records {
		n += keyCost + int64(len(r.Key)+len(r.Val))
	}
	for _, c := range u.Counters {
		n += keyCost + int64(len(c.Counter)+8)
	}
	for _, e := range u.Entries { // three keys
		n += 3*keyCost + int64(len(e.ID)+2*len(e.Stream)+60)
	}
	return n
}

const keyCost = 200

// addState adds what units, whose bytes stand at the given place one after another,
// leave behind in Badger: values, nil for deleted, and the index of their
// entries. A counter at zero is absent, so that old ones can be swept by adding
// what they hold, negated.
func addState(state map[string][]byte, units []*chain.Unit, at place) {
	for _, u := range units {
		for _, r := range u.Records {
			state[nsRecord+r.Key] = r.Val
		}
		for _, c := range u.Counters {
			state[nsCounter+c.Counter] = nil
			if c.N != 0 {
				state[nsCounter+c.Counter] = chain.EncodeInt(c.N)
			}
		}
		off := len(u.Bytes) // its entries are its last bytes
		for _, e := range u.Entries {
			off -= chain.EntrySize(e)
		}
		for _, e := range u.Entries {
			size := chain.EntrySize(e)
			loc := location{uint32(at.seg), uint32(at.off) + uint32(off), uint32(size), checksum(u.Bytes[off : off+size])}.encode()
			state[nsStream+e.Stream] = chain.EncodeInt(int64(e.Num))
			state[nsID+e.ID] = loc
			state[entryKey(e.Stream, e.Num)] = loc
			off += size
		}
		at.off += int64(len(u.Bytes))
	}
}
