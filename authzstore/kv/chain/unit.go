package chain

import (
	"encoding/binary"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// Unit is what one transaction wrote, and the same as bytes, big endian:
//
//	unit    bytes 4 | writes 2 | entries 2 | write … | entry …
//	write   kind 1 | key bytes 2 | value bytes 4 | key | value
//	entry   stream bytes 2 | id bytes 2 | rec bytes 4 | number 8 | stream | id | rec
//
// A counter's value is its sum as an int64 of 8 bytes.
type Unit struct {
	kv.Unit
	Bytes []byte // once sealed
}

const (
	kindPut     = 1
	kindDelete  = 2
	kindCounter = 3

	unitHeaderBytes  = 8
	writeHeaderBytes = 7
	entryHeaderBytes = 16
)

// EncodeInt encodes a counter's sum.
func EncodeInt(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// DecodeInt decodes a counter's sum; nothing is zero. The error is
// kv.ErrDamaged.
func DecodeInt(b []byte) (int64, error) {
	switch len(b) {
	case 0:
		return 0, nil
	case 8:
		return int64(binary.BigEndian.Uint64(b)), nil
	}
	return 0, fmt.Errorf("%w: counter of %d bytes", kv.ErrDamaged, len(b))
}

// EntrySize is how many bytes an entry takes. A unit's entries are its last ones.
func EntrySize(e kv.Entry) int {
	return entryHeaderBytes + len(e.Stream) + len(e.ID) + len(e.Rec)
}

// Size is the length of Bytes. It does not depend on sums and numbers.
func (u *Unit) Size() int {
	n := unitHeaderBytes
	for _, r := range u.Records {
		n += writeHeaderBytes + len(r.Key) + len(r.Val)
	}
	for _, c := range u.Counters {
		n += writeHeaderBytes + len(c.Counter) + 8
	}
	for _, e := range u.Entries {
		n += EntrySize(e)
	}
	return n
}

// Seal sets Bytes and Leaf, once sums and numbers are fixed.
func (u *Unit) Seal() {
	size := u.Size()
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = binary.BigEndian.AppendUint16(b, uint16(len(u.Records)+len(u.Counters)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(u.Entries)))
	for _, r := range u.Records {
		kind := byte(kindPut)
		if r.Val == nil {
			kind = kindDelete
		}
		b = appendWrite(b, kind, r.Key, r.Val)
	}
	for _, c := range u.Counters {
		b = appendWrite(b, kindCounter, c.Counter, EncodeInt(c.N))
	}
	for _, e := range u.Entries {
		b = appendEntry(b, e)
	}
	u.Bytes = b
	u.Leaf = Leaf(b)
}

func appendWrite(b []byte, kind byte, key string, val []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(val)))
	b = append(b, key...)
	return append(b, val...)
}

func appendEntry(b []byte, e kv.Entry) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Stream)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.ID)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Rec)))
	b = binary.BigEndian.AppendUint64(b, e.Num)
	b = append(b, e.Stream...)
	b = append(b, e.ID...)
	return append(b, e.Rec...)
}

// Digest is that of a batch of sealed units.
func Digest(units []*Unit) Hash {
	leaves := make([]Hash, len(units))
	for i, u := range units {
		leaves[i] = u.Leaf
	}
	return Root(leaves)
}

// DecodeUnits decodes units that follow one another, without their leaves. They
// alias b. The error is kv.ErrDamaged.
func DecodeUnits(b []byte) (units []*Unit, err error) {
	r := reader{b: b}
	for r.off < len(b) {
		start := r.off
		size, writes, entries := r.u32(), r.u16(), r.u16()
		end := start + size
		if r.bad || end > len(b) {
			r.bad = true
			break
		}
		u := &Unit{Bytes: b[start:end:end]}
		for range writes {
			r.write(u)
		}
		for range entries {
			if e := r.entry(); !r.bad {
				u.Entries = append(u.Entries, e)
			}
		}
		if r.bad = r.bad || r.off != end; r.bad {
			break
		}
		units = append(units, u)
	}
	if r.bad {
		return nil, fmt.Errorf("%w: unit %d of %d bytes does not parse", kv.ErrDamaged, len(units), len(b))
	}
	return units, nil
}

// DecodeEntry decodes one entry. It aliases b. The error is kv.ErrDamaged.
func DecodeEntry(b []byte) (kv.Entry, error) {
	r := reader{b: b}
	e := r.entry()
	if r.bad || r.off != len(b) {
		return e, fmt.Errorf("%w: entry of %d bytes", kv.ErrDamaged, len(b))
	}
	return e, nil
}

// reader takes fields off a byte slice; after the first that does not fit, it
// stays bad.
type reader struct {
	b   []byte
	off int
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b)-r.off {
		r.bad = true
		return make([]byte, min(max(n, 0), 8)) // enough for a fixed field
	}
	r.off += n
	return r.b[r.off-n : r.off : r.off]
}

func (r *reader) u16() int    { return int(binary.BigEndian.Uint16(r.take(2))) }
func (r *reader) u32() int    { return int(binary.BigEndian.Uint32(r.take(4))) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) entry() (e kv.Entry) {
	stream, id, rec := r.u16(), r.u16(), r.u32()
	e.Num = r.u64()
	e.Stream, e.ID = string(r.take(stream)), string(r.take(id))
	e.Rec = r.take(rec)
	return e
}

// write takes one write off and adds it to a unit.
func (r *reader) write(u *Unit) {
	kind, keyBytes, valBytes := r.take(1)[0], r.u16(), r.u32()
	key, val := string(r.take(keyBytes)), r.take(valBytes)
	switch {
	case r.bad:
	case kind == kindPut:
		u.Records = append(u.Records, kv.Write{Key: key, Val: val})
	case kind == kindDelete && valBytes == 0:
		u.Records = append(u.Records, kv.Write{Key: key})
	case kind == kindCounter && valBytes == 8:
		u.Counters = append(u.Counters, kv.Sum{Counter: key, N: int64(binary.BigEndian.Uint64(val))})
	default:
		r.bad = true
	}
}
