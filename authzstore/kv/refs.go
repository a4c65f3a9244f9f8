package kv

import (
	"cmp"
	"fmt"
	"slices"
)

// CheckKey returns ErrTooBig unless key has 1 to MaxKey bytes. It holds for
// names of counters and streams and for IDs, too.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes, want 1 to %d", ErrTooBig, len(key), MaxKey)
	}
	return nil
}

// Normalize returns refs sorted by key, with repeated ones merged. The error is
// ErrTooBig.
func Normalize(refs []Ref) ([]Ref, error) {
	if len(refs) > MaxRefs {
		return nil, fmt.Errorf("%w: %d refs", ErrTooBig, len(refs))
	}
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b Ref) int { // Exclusive first
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(b.Mode, a.Mode))
	})
	refs = slices.CompactFunc(refs, func(a, b Ref) bool { return a.Key == b.Key })
	for _, r := range refs {
		if err := CheckKey(r.Key); err != nil {
			return nil, err
		}
	}
	return refs, nil
}
