package badgerkv

import (
	"encoding/binary"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A unit is what one transaction wrote, as it stands in a batch's body:
//
//	unit    bytes 4 | writes 2 | entries 2 | write … | entry …
//	write   kind 1 | key bytes 2 | value bytes 4 | key | value
//	entry   stream bytes 2 | id bytes 2 | rec bytes 4 | number 8 | stream | id | rec
//
// A counter's value is its sum as an int64 of 8 bytes.
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
type location struct {
	seg      uint32
	off, len uint32
	crc      uint32
}

func (l location) encode() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 16), l.seg)
	b = binary.BigEndian.AppendUint32(b, l.off)
	b = binary.BigEndian.AppendUint32(b, l.len)
	return binary.BigEndian.AppendUint32(b, l.crc)
}

func decodeLocation(b []byte) (l location, err error) {
	if len(b) != 16 {
		return l, fmt.Errorf("%w: index entry of %d bytes", kv.ErrDamaged, len(b))
	}
	return location{
		seg: binary.BigEndian.Uint32(b), off: binary.BigEndian.Uint32(b[4:]),
		len: binary.BigEndian.Uint32(b[8:]), crc: binary.BigEndian.Uint32(b[12:]),
	}, nil
}

func encodeInt(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func decodeInt(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%w: counter of %d bytes", kv.ErrDamaged, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), nil
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

func appendUnitHeader(b []byte, size, writes, entries int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint16(b, uint16(writes))
	return binary.BigEndian.AppendUint16(b, uint16(entries))
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

// unitSink receives what a body contains, in order. at and size are an entry's
// bytes within the body.
type unitSink struct {
	unit  func(raw []byte)
	write func(kind byte, key string, val []byte)
	entry func(e kv.Entry, at, size int)
}

// decodeBody walks all units of a record. What it hands out aliases the body.
func decodeBody(rec record, sink unitSink) error {
	r := reader{b: rec.body}
	units := 0
	for r.off < len(r.b) && !r.bad {
		start := r.off
		size, writes, entries := r.u32(), r.u16(), r.u16()
		if r.bad || size < unitHeaderBytes || size > len(r.b)-start {
			r.bad = true
			break
		}
		sink.unit(r.b[start : start+size])
		for range writes {
			kind, key, val := r.take(1)[0], r.u16(), r.u32()
			k, v := string(r.take(key)), r.take(val)
			if r.bad || kind < kindPut || kind > kindCounter || kind == kindCounter && len(v) != 8 {
				r.bad = true
				break
			}
			sink.write(kind, k, v)
		}
		for range entries {
			at := r.off
			if e := r.entry(); !r.bad {
				sink.entry(e, at, r.off-at)
			}
		}
		r.bad = r.bad || r.off != start+size
		units++
	}
	if r.bad || units != rec.units {
		return fmt.Errorf("%w: body of sequence number %d does not parse", kv.ErrDamaged, rec.seq)
	}
	return nil
}

// stateOf is what a record leaves behind in Badger: values, nil for deleted,
// and the index of its entries.
func stateOf(rec record, into map[string][]byte) error {
	return decodeBody(rec, unitSink{
		unit: func([]byte) {},
		write: func(kind byte, key string, val []byte) {
			putState(into, kind, key, val)
		},
		entry: func(e kv.Entry, at, size int) {
			indexEntry(into, e.Stream, e.ID, e.Num, location{
				seg: uint32(rec.at.seg), off: uint32(rec.at.off + recordHeaderBytes + int64(at)), len: uint32(size),
				crc: checksum(rec.body[at : at+size]),
			})
		},
	})
}

// putState applies one write to a batch's state. A counter at zero is absent,
// so that old ones can be swept by adding what they hold, negated.
func putState(into map[string][]byte, kind byte, key string, val []byte) {
	switch {
	case kind == kindDelete:
		into[nsRecord+key] = nil
	case kind == kindPut:
		into[nsRecord+key] = val
	case binary.BigEndian.Uint64(val) == 0:
		into[nsCounter+key] = nil
	default:
		into[nsCounter+key] = val
	}
}

func indexEntry(into map[string][]byte, stream, id string, num uint64, l location) {
	loc := l.encode()
	into[nsStream+stream] = encodeInt(int64(num))
	into[nsID+id] = loc
	into[entryKey(stream, num)] = loc
}
