package authzstore

import (
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// Reads are the nouns that were looked at through a [Snapshot.Recording], whether or not
// there are such.
type Reads struct{ keys []string }

// Recording returns the snapshot's reader, which notes in reads what it is asked for. A
// transaction that reads the same way needs those declared, or what it reads has changed
// since: then it fails with kv.ErrUndeclared.
func (s Snapshot) Recording(reads *Reads) Reader { return Reader{recorder{s.snap, reads}} }

// Refs declares all that was read, shared.
func (r *Reads) Refs() []kv.Ref {
	refs := make([]kv.Ref, 0, 2*len(r.keys)) // with room for what is to be written
	for _, key := range r.keys {
		refs = append(refs, kv.Ref{Key: key, Mode: kv.Shared})
	}
	return refs
}

type recorder struct {
	from  getter
	reads *Reads
}

func (r recorder) Get(key string) ([]byte, bool, error) {
	if !slices.Contains(r.reads.keys, key) {
		r.reads.keys = append(r.reads.keys, key)
	}
	return r.from.Get(key)
}
