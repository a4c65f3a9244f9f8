// Package chain is what backends keep of their history in the same way: a unit
// as bytes, and the chain of hashes over batches of units that kv describes. So
// one store's history can be checked, and gone on with, by another backend.
package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/countersign/countersign/authzstore/kv"
)

// Hash is a SHA-256.
type Hash = [sha256.Size]byte

// Link is a batch's place in the chain.
type Link struct {
	Seq                uint64
	Prev, Digest, Hash Hash
}

// Next is the link of a batch with that digest, after l.
func (l Link) Next(digest Hash) Link {
	next := Link{Seq: l.Seq + 1, Prev: l.Hash, Digest: digest}
	next.Hash = next.computed()
	return next
}

// Sound tells whether the hash is the one of the other three.
func (l Link) Sound() bool { return l.Hash == l.computed() }

func (l Link) computed() Hash {
	var b [8 + 2*sha256.Size]byte
	binary.BigEndian.PutUint64(b[:], l.Seq)
	copy(b[8:], l.Prev[:])
	copy(b[40:], l.Digest[:])
	return sha256.Sum256(b[:])
}

// Pos is what others keep of the link.
func (l Link) Pos() kv.Pos { return kv.Pos{Seq: l.Seq, Hash: l.Hash} }

// Leaf is the chain's name for one unit as bytes.
func Leaf(unit []byte) Hash {
	return sha256.Sum256(append([]byte{0}, unit...))
}

// Root is the digest over leaves, the root of RFC 6962: a receipt for one unit
// needs only the hashes beside its way up.
func Root(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	left := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	l, r := Root(leaves[:left]), Root(leaves[left:])
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}
