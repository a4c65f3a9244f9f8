package authzstore

import (
	"bytes"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// Reads are the nouns that were looked at through a [Snapshot.Recording], whether or not
// there are such, each as it was.
type Reads struct{ all []read }

type read struct {
	key string
	val []byte // nil: there is none
}

// Recording returns the snapshot's reader, which notes in reads what it is asked for. A
// transaction that reads the same way needs those declared, or what it reads has changed
// since: then it fails with kv.ErrUndeclared.
func (s Snapshot) Recording(reads *Reads) Reader { return Reader{recorder{s.snap, reads}} }

// Refs declares all that was read, shared.
func (r Reads) Refs() []kv.Ref {
	refs := make([]kv.Ref, 0, 2*len(r.all)) // with room for what is to be written
	for _, one := range r.all {
		refs = append(refs, kv.Ref{Key: one.key, Mode: kv.Shared})
	}
	return refs
}

// Same tells whether the same was read, and nothing of it had changed.
func (r Reads) Same(other Reads) bool {
	return slices.EqualFunc(r.all, other.all, func(a, b read) bool { return a.key == b.key && bytes.Equal(a.val, b.val) })
}

// recorder reads each noun once.
type recorder struct {
	from  getter
	reads *Reads
}

func (r recorder) Get(key string) ([]byte, bool, error) {
	for _, one := range r.reads.all {
		if one.key == key {
			return one.val, one.val != nil, nil
		}
	}
	val, ok, err := r.from.Get(key)
	if err == nil {
		r.reads.all = append(r.reads.all, read{key, val})
	}
	return val, ok, err
}
