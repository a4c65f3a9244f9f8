package authzstore

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// MaxPage is how many nouns a list returns at most.
const MaxPage = 1000

// errPageFull ends a scan.
var errPageFull = errors.New("the page is full")

// indexMark is the value of an index record whose key says everything: what it
// belongs to, and the ID of the noun.
type indexMark struct{}

const indexVersion = 1

func (indexMark) check() error { return nil }

func exclusive(key string) kv.Ref { return kv.Ref{Key: key, Mode: kv.Exclusive} }

// page lists nouns whose key is prefix and an ID after the given one.
func page[T checked](s Snapshot, prefix string, version byte, after string, most int) (nouns []T, next string, err error) {
	next, err = s.scanPage(prefix, after, most, func(_, key string, val []byte) (bool, error) {
		noun, _, err := decode[T](key, version, val)
		nouns = append(nouns, noun)
		return true, err
	})
	return nouns, next, err
}

// indexed lists nouns whose ID stands in an index after the given one.
func indexed[T any](s Snapshot, index, after string, most int, read func(id string) (T, bool, error)) (nouns []T, next string, err error) {
	next, err = s.scanPage(index, after, most, func(id, key string, _ []byte) (bool, error) {
		noun, ok, err := read(id)
		if err == nil && !ok {
			err = fmt.Errorf("%w: %s: the noun is not there", ErrDamaged, key)
		}
		nouns = append(nouns, noun)
		return true, err
	})
	return nouns, next, err
}

// scanPage calls fn for records whose key is prefix and a name after the given
// one, until it took as many as a page holds, and returns the name to go on after;
// "" where nothing follows.
func (s Snapshot) scanPage(prefix, after string, most int, fn func(name, key string, val []byte) (took bool, err error)) (next string, err error) {
	most = max(1, min(most, MaxPage))
	from := prefix + after
	if after != "" {
		from += "\x00"
	}
	taken, last := 0, ""
	err = s.snap.Scan(prefix, from, func(key string, val []byte) error {
		if taken == most {
			next = last
			return errPageFull
		}
		name := key[len(prefix):]
		took, err := fn(name, key, val)
		if took {
			taken++
		}
		last = name
		return err
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return next, err
}
