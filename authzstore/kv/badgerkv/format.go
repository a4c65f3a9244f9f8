package badgerkv

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/chain"
)

// Layout of a segment file, big endian, checksums CRC-32C:
//
//	page 0   "CSJG" | crc of the rest of the header 4 | segHeader | padding
//	record   "CSJR" | crc of the rest of the header 4 | recordHeader | body |
//	         padding to the next page
//	rest     zeros, written, so that a record changes no metadata of the file
//
// Padding is 0xA5 and not zero on purpose: a sector that reads as zeros was
// then never written, up to the number of zero sectors that the header admits.
// A record starts on a page of its own, so no acknowledged byte is ever
// written again.
const (
	pageBytes         = 4096
	sectorBytes       = 512
	recordHeaderBytes = 136
	segHeaderBytes    = 46
	padByte           = 0xA5

	segMagic    = "CSJG"
	recordMagic = "CSJR"

	formatVersion = 1 // what this program writes
	minReader     = 1 // oldest program that may read what it writes
	minWriter     = 1 // oldest program that may append to it

	maxBodyBytes = 2 << 20 // a batch; bounds what a torn write can cover
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segHeader is durable before the segment has its name.
type segHeader struct {
	Seg                          uint64
	Store                        [16]byte
	Bytes                        int64 // of the file
	Format, MinReader, MinWriter uint16
}

type recordHeader struct {
	BodyBytes   uint32
	ZeroSectors uint32 // of the whole record, by content
	Head        chain.Link
	Units       uint32
	BodyCRC     uint32
	WrittenMs   int64 // since 1970, by the clock; for retention
}

// encodeHeader fills b with magic, checksum and h.
func encodeHeader(b []byte, magic string, h any) {
	copy(b, magic)
	if _, err := binary.Encode(b[8:], binary.BigEndian, h); err != nil {
		panic(err) // b is as long as h is, by the constants above
	}
	binary.BigEndian.PutUint32(b[4:], checksum(b[8:]))
}

func decodeHeader(b []byte, magic string, h any) (ok bool) {
	if string(b[:4]) != magic || binary.BigEndian.Uint32(b[4:]) != checksum(b[8:]) {
		return false
	}
	_, err := binary.Decode(b[8:], binary.BigEndian, h)
	return err == nil
}

// place is a byte in the journal.
type place struct {
	seg uint64
	off int64
}

// encodeSegHeader lays out page 0 of a segment.
func encodeSegHeader(page []byte, seg uint64, store [16]byte, bytes int64) {
	encodeHeader(page[:segHeaderBytes], segMagic, segHeader{seg, store, bytes, formatVersion, minReader, minWriter})
	copy(page[segHeaderBytes:pageBytes], padding)
}

func decodeSegHeader(page []byte) (h segHeader, ok bool) {
	ok = decodeHeader(page[:segHeaderBytes], segMagic, &h) && isAll(page[segHeaderBytes:pageBytes], padByte)
	return h, ok
}

// record is one decoded journal record: a batch.
type record struct {
	recordHeader
	body     []byte
	at, next place
}

// bodyAt is where the body of a record begins that stands at the given place.
func bodyAt(record place) place { return place{record.seg, record.off + recordHeaderBytes} }

// encodeRecord lays out header, body and padding in b, whose length is
// recordExtent of the body.
func encodeRecord(b []byte, h chain.Link, units []*chain.Unit, writtenMs int64) {
	end := recordHeaderBytes
	for _, u := range units {
		end += copy(b[end:], u.Bytes)
	}
	copy(b[end:], padding)
	encodeHeader(b[:recordHeaderBytes], recordMagic, recordHeader{
		BodyBytes: uint32(end - recordHeaderBytes), ZeroSectors: zeroSectors(b[sectorBytes:]), Head: h, Units: uint32(len(units)),
		BodyCRC: checksum(b[recordHeaderBytes:end]), WrittenMs: writtenMs,
	})
}

// decodeRecord decodes the record at the start of b, the rest of its segment.
// extent > 0 with ok false means that the header is good and the rest is not.
func decodeRecord(b []byte) (r record, extent int64, ok bool) {
	if len(b) < pageBytes || !decodeHeader(b[:recordHeaderBytes], recordMagic, &r.recordHeader) {
		return record{}, 0, false
	}
	end := recordHeaderBytes + int64(r.BodyBytes)
	extent = roundUp(end)
	if extent > int64(len(b)) {
		return record{}, 0, false
	}
	r.body = b[recordHeaderBytes:end:end]
	ok = checksum(r.body) == r.BodyCRC && r.Head.Sound() && isAll(b[end:extent], padByte)
	return r, extent, ok
}

// decodeUnits returns the units of a record, without their leaves. They alias
// its body.
func decodeUnits(r record) ([]*chain.Unit, error) {
	units, err := chain.DecodeUnits(r.body)
	if err == nil && len(units) != int(r.Units) {
		err = fmt.Errorf("%w: %d units, want %d", kv.ErrDamaged, len(units), r.Units)
	}
	if err != nil {
		return nil, fmt.Errorf("body of sequence number %d: %w", r.Head.Seq, err)
	}
	return units, nil
}

func recordExtent(bodyBytes int64) int64 { return roundUp(recordHeaderBytes + bodyBytes) }

func roundUp(n int64) int64 { return (n + pageBytes - 1) &^ (pageBytes - 1) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func zeroSectors(b []byte) (n uint32) {
	for ; len(b) >= sectorBytes; b = b[sectorBytes:] {
		if isAll(b[:sectorBytes], 0) {
			n++
		}
	}
	return n
}

// isAll compares b with itself shifted by one, which runs at memory speed.
func isAll(b []byte, c byte) bool {
	return len(b) == 0 || b[0] == c && bytes.Equal(b[1:], b[:len(b)-1])
}
