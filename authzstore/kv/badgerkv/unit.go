package badgerkv

import (
	"encoding/binary"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// unit is what one transaction wrote, and as it stands in a batch's body:
//
//	unit    bytes 4 | writes 2 | entries 2 | write … | entry …
//	write   kind 1 | key bytes 2 | value bytes 4 | key | value
//	entry   stream bytes 2 | id bytes 2 | rec bytes 4 | number 8 | stream | id | rec
//
// A counter's value is its sum as an int64 of 8 bytes.
type unit struct {
	kv.Unit
	body []byte
}

const (
	kindPut     = 1
	kindDelete  = 2
	kindCounter = 3

	unitHeaderBytes  = 8
	writeHeaderBytes = 7
	entryHeaderBytes = 16
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
	b := make([]byte, 0, 3+len(stream)+8)
	b = append(b, nsEntry...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(stream)))
	return string(append(b, stream...))
}

func entryKey(stream string, num uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(streamKey(stream)), num))
}

// location is where an entry stands in the journal, and how to know it.
type location struct{ Seg, Off, Bytes, CRC uint32 }

const locationBytes = 16

func (l location) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, locationBytes), l.Seg)
	b = binary.BigEndian.AppendUint32(b, l.Off)
	b = binary.BigEndian.AppendUint32(b, l.Bytes)
	return binary.BigEndian.AppendUint32(b, l.CRC)
}

func decodeLocation(b []byte) (l location, err error) {
	if _, err := binary.Decode(b, binary.BigEndian, &l); err != nil || len(b) != locationBytes {
		return l, fmt.Errorf("%w: index entry of %d bytes", kv.ErrDamaged, len(b))
	}
	return l, nil
}

func encodeInt(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// decodeInt decodes a counter; absent is zero.
func decodeInt(b []byte) (int64, error) {
	switch len(b) {
	case 0:
		return 0, nil
	case 8:
		return int64(binary.BigEndian.Uint64(b)), nil
	}
	return 0, fmt.Errorf("%w: counter of %d bytes", kv.ErrDamaged, len(b))
}

func entryBytes(e kv.Entry) int {
	return entryHeaderBytes + len(e.Stream) + len(e.ID) + len(e.Rec)
}

// bodyBytes is the size of the body. It does not depend on sums and numbers.
func (u *unit) bodyBytes() int {
	n := unitHeaderBytes
	for _, r := range u.Records {
		n += writeHeaderBytes + len(r.Key) + len(r.Val)
	}
	for _, c := range u.Counters {
		n += writeHeaderBytes + len(c.Counter) + 8
	}
	for _, e := range u.Entries {
		n += entryBytes(e)
	}
	return n
}

// seal encodes the unit and names it, once sums and numbers are fixed.
func (u *unit) seal() {
	size := u.bodyBytes()
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
		b = appendWrite(b, kindCounter, c.Counter, encodeInt(c.N))
	}
	for _, e := range u.Entries {
		b = appendEntry(b, e)
	}
	u.body = b
	u.Leaf = leafOf(b)
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

func decodeEntry(b []byte) (kv.Entry, error) {
	r := reader{b: b}
	e := r.entry()
	if r.bad || r.off != len(b) {
		return e, fmt.Errorf("%w: entry of %d bytes", kv.ErrDamaged, len(b))
	}
	return e, nil
}

// write takes one write off and adds it to a unit.
func (r *reader) write(u *unit) {
	kind, keyBytes, valBytes := r.take(1)[0], r.u16(), r.u32()
	key, val := string(r.take(keyBytes)), r.take(valBytes)
	switch {
	case r.bad:
	case kind == kindPut:
		u.Records = append(u.Records, kv.Write{Key: key, Val: val})
	case kind == kindDelete:
		u.Records = append(u.Records, kv.Write{Key: key})
	case kind == kindCounter && valBytes == 8:
		u.Counters = append(u.Counters, kv.Sum{Counter: key, N: int64(binary.BigEndian.Uint64(val))})
	default:
		r.bad = true
	}
}

// decodeUnits returns the units of a record, without their leaves. They alias
// its body.
func decodeUnits(rec record) (units []unit, err error) {
	r := reader{b: rec.body}
	for r.off < len(r.b) && !r.bad {
		start := r.off
		size, writes, entries := r.u32(), r.u16(), r.u16()
		end := start + size
		if r.bad || end > len(r.b) {
			r.bad = true
			break
		}
		u := unit{body: r.b[start:end:end]}
		for range writes {
			r.write(&u)
		}
		for range entries {
			if e := r.entry(); !r.bad {
				u.Entries = append(u.Entries, e)
			}
		}
		r.bad = r.bad || r.off != end
		units = append(units, u)
	}
	if r.bad || len(units) != int(rec.Units) {
		return nil, fmt.Errorf("%w: body of sequence number %d does not parse", kv.ErrDamaged, rec.Head.Seq)
	}
	return units, nil
}

// cost is what the unit takes of a transaction of Badger, which counts 13 bytes
// for a key and admits one key per 96 bytes, and about what its state takes in
// memory meanwhile, with map entries and its share of the overlay.
func (u *unit) cost() (n int64) {
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

// addTo adds to a batch's state what the unit, whose body stands at the given
// place, leaves behind in Badger: values, nil for deleted, and the index of its
// entries. A counter at zero is absent, so that old ones can be swept by adding
// what they hold, negated.
func (u *unit) addTo(state map[string][]byte, body place) {
	for _, r := range u.Records {
		state[nsRecord+r.Key] = r.Val
	}
	for _, c := range u.Counters {
		state[nsCounter+c.Counter] = nil
		if c.N != 0 {
			state[nsCounter+c.Counter] = encodeInt(c.N)
		}
	}
	at := len(u.body)
	for _, e := range u.Entries {
		at -= entryBytes(e)
	}
	for _, e := range u.Entries {
		size := entryBytes(e)
		loc := location{uint32(body.seg), uint32(body.off) + uint32(at), uint32(size), checksum(u.body[at : at+size])}.encode()
		state[nsStream+e.Stream] = encodeInt(int64(e.Num))
		state[nsID+e.ID] = loc
		state[entryKey(e.Stream, e.Num)] = loc
		at += size
	}
}
