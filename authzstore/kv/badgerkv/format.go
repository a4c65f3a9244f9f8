package badgerkv

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/countersign/countersign/authzstore/kv"
)

// Layout of a segment file, big endian, checksums CRC-32C:
//
//	page 0   "CSJG" | crc of [8:120] 4 | segment 8 | first seq 8 | prev hash 32 |
//	         store id 16 | created ms 8 | format 2 | min reader 2 |
//	         min writer 2 | 0 2 | file size 8 | 0 … 120 | padding
//	record   "CSJR" | crc of [8:128] 4 | body bytes 4 | zero sectors 4 | seq 8 |
//	         prev hash 32 | digest 32 | hash 32 | units 4 | crc of body 4 |
//	         body | padding to the next page
//	rest     zeros, written, so that a record changes no metadata of the file
//
// Padding is 0xA5 and not zero on purpose: a sector that reads as zeros was
// then never written, up to the number of zero sectors that the header admits.
// A record starts on a page of its own, so no acknowledged byte is ever
// written again.
const (
	pageBytes         = 4096
	sectorBytes       = 512
	recordHeaderBytes = 128
	segHeaderBytes    = 120
	padByte           = 0xA5

	formatVersion = 1 // what this program writes
	minReader     = 1 // oldest program that may read what it writes
	minWriter     = 1 // oldest program that may append to it

	maxBodyBytes = 2 << 20 // a batch; bounds what a torn write can cover
)

var (
	segMagic    = []byte("CSJG")
	recordMagic = []byte("CSJR")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	zeroSector  [sectorBytes]byte
)

type hash = [sha256.Size]byte

// head is a link of the chain.
type head struct {
	seq                uint64
	prev, digest, hash hash
}

// seal computes the hash from the other three.
func (h *head) seal() {
	var b [8 + 2*sha256.Size]byte
	binary.BigEndian.PutUint64(b[:], h.seq)
	copy(b[8:], h.prev[:])
	copy(b[40:], h.digest[:])
	h.hash = sha256.Sum256(b[:])
}

func (h head) pos() kv.Pos { return kv.Pos{Seq: h.seq, Hash: h.hash} }

// leafOf is the chain's name for one unit.
func leafOf(unit []byte) hash {
	x := sha256.New()
	x.Write([]byte{0})
	x.Write(unit)
	return hash(x.Sum(nil))
}

// merkleRoot is the root of RFC 6962: a receipt for one unit needs only the
// hashes beside its way up.
func merkleRoot(leaves []hash) hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	left := 1
	for left*2 < len(leaves) {
		left *= 2
	}
	l, r := merkleRoot(leaves[:left]), merkleRoot(leaves[left:])
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// place is a byte in the journal.
type place struct {
	seg uint64
	off int64
}

// segHeader is page 0 of a segment.
type segHeader struct {
	seg, first uint64
	prev       hash
	store      [16]byte
	createdMs  int64
	format     uint16
	minReader  uint16
	minWriter  uint16
	size       int64
}

func (h segHeader) encode(page []byte) {
	clear(page[:segHeaderBytes])
	copy(page, segMagic)
	binary.BigEndian.PutUint64(page[8:], h.seg)
	binary.BigEndian.PutUint64(page[16:], h.first)
	copy(page[24:], h.prev[:])
	copy(page[56:], h.store[:])
	binary.BigEndian.PutUint64(page[72:], uint64(h.createdMs))
	binary.BigEndian.PutUint16(page[80:], h.format)
	binary.BigEndian.PutUint16(page[82:], h.minReader)
	binary.BigEndian.PutUint16(page[84:], h.minWriter)
	binary.BigEndian.PutUint64(page[88:], uint64(h.size))
	binary.BigEndian.PutUint32(page[4:], checksum(page[8:segHeaderBytes]))
	pad(page[segHeaderBytes:pageBytes])
}

func decodeSegHeader(page []byte) (h segHeader, ok bool) {
	if len(page) < pageBytes || !bytes.Equal(page[:4], segMagic) ||
		checksum(page[8:segHeaderBytes]) != binary.BigEndian.Uint32(page[4:]) || !isPad(page[segHeaderBytes:pageBytes]) {
		return h, false
	}
	h.seg, h.first = binary.BigEndian.Uint64(page[8:]), binary.BigEndian.Uint64(page[16:])
	copy(h.prev[:], page[24:])
	copy(h.store[:], page[56:])
	h.createdMs = int64(binary.BigEndian.Uint64(page[72:]))
	h.format, h.minReader = binary.BigEndian.Uint16(page[80:]), binary.BigEndian.Uint16(page[82:])
	h.minWriter, h.size = binary.BigEndian.Uint16(page[84:]), int64(binary.BigEndian.Uint64(page[88:]))
	return h, true
}

// before is the head of the record before the segment's first.
func (h segHeader) before() head { return head{seq: h.first - 1, hash: h.prev} }

// record is one decoded journal record: a batch.
type record struct {
	head
	units    int
	body     []byte
	at, next place
}

// encodeRecord lays out header, body and padding in b, whose length is
// recordExtent of the body.
func encodeRecord(b []byte, h head, units []*unit) {
	clear(b[:recordHeaderBytes])
	copy(b, recordMagic)
	end := recordHeaderBytes
	for _, u := range units {
		end += copy(b[end:], u.body)
	}
	pad(b[end:])
	binary.BigEndian.PutUint32(b[8:], uint32(end-recordHeaderBytes))
	binary.BigEndian.PutUint64(b[16:], h.seq)
	copy(b[24:], h.prev[:])
	copy(b[56:], h.digest[:])
	copy(b[88:], h.hash[:])
	binary.BigEndian.PutUint32(b[120:], uint32(len(units)))
	binary.BigEndian.PutUint32(b[124:], checksum(b[recordHeaderBytes:end]))
	binary.BigEndian.PutUint32(b[12:], zeroSectors(b))
	binary.BigEndian.PutUint32(b[4:], checksum(b[8:recordHeaderBytes]))
}

// decodeRecord decodes the record at the start of b, the rest of its segment.
// extent > 0 with ok false means that the header is good and the rest is not.
func decodeRecord(b []byte) (r record, extent int64, ok bool) {
	if len(b) < recordHeaderBytes || !bytes.Equal(b[:4], recordMagic) ||
		checksum(b[8:recordHeaderBytes]) != binary.BigEndian.Uint32(b[4:]) {
		return r, 0, false
	}
	size := int64(binary.BigEndian.Uint32(b[8:]))
	extent = recordExtent(size)
	if extent > int64(len(b)) {
		return r, 0, false
	}
	r.seq = binary.BigEndian.Uint64(b[16:])
	copy(r.prev[:], b[24:])
	copy(r.digest[:], b[56:])
	copy(r.hash[:], b[88:])
	r.units = int(binary.BigEndian.Uint32(b[120:]))
	end := recordHeaderBytes + size
	r.body = b[recordHeaderBytes:end:end]
	sealed := r.head
	sealed.seal()
	ok = checksum(r.body) == binary.BigEndian.Uint32(b[124:]) && sealed.hash == r.hash && isPad(b[end:extent])
	return r, extent, ok
}

// admittedZeroSectors is the header's count of sectors that are zero by content.
func admittedZeroSectors(record []byte) uint32 { return binary.BigEndian.Uint32(record[12:]) }

func recordExtent(bodyBytes int64) int64 { return roundUp(recordHeaderBytes + bodyBytes) }

func roundUp(n int64) int64 { return (n + pageBytes - 1) &^ (pageBytes - 1) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func zeroSectors(b []byte) (n uint32) {
	for ; len(b) >= sectorBytes; b = b[sectorBytes:] {
		if b[0] == 0 && bytes.Equal(b[:sectorBytes], zeroSector[:]) {
			n++
		}
	}
	return n
}

func pad(b []byte) {
	for i := range b {
		b[i] = padByte
	}
}

func isPad(b []byte) bool { return isAll(b, padByte) }

// isAll compares b with itself shifted by one, which runs at memory speed.
func isAll(b []byte, c byte) bool {
	return len(b) == 0 || b[0] == c && bytes.Equal(b[1:], b[:len(b)-1])
}
