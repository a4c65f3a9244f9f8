package evidence

import (
	"bytes"
	"errors"
	"testing"
)

func sealer(t *testing.T, keys ...byte) *Sealer {
	t.Helper()
	var all [][]byte
	for _, key := range keys {
		all = append(all, bytes.Repeat([]byte{key}, 32))
	}
	s, err := NewSealer(all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeal(t *testing.T) {
	const handle = "0123456789"
	s, secret := sealer(t, 1), rfcSecret(20)
	sealed := s.Seal(handle, secret)
	if bytes.Contains(sealed, secret) {
		t.Error("the secret is in clear")
	}
	if bytes.Equal(sealed, s.Seal(handle, secret)) {
		t.Error("sealed twice in one way")
	}
	if got, err := s.Open(handle, sealed); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%v", err)
	}
	for i := range sealed {
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1 << bit
			if got, err := s.Open(handle, changed); !errors.Is(err, ErrSealed) || got != nil {
				t.Errorf("bit %d of byte %d changed: %v", bit, i, err)
			}
		}
		if got, err := s.Open(handle, sealed[:i]); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
	if _, err := s.Open("0123456788", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("under another handle: %v", err)
	}
	if _, err := s.Open(handle, append(sealed, 0)); !errors.Is(err, ErrSealed) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestSealingKeysRotate(t *testing.T) {
	const handle = "0123456789"
	before, both, after := sealer(t, 1), sealer(t, 2, 1), sealer(t, 2)
	old, renewed := before.Seal(handle, rfcSecret(20)), both.Seal(handle, rfcSecret(20))
	for _, sealed := range [][]byte{old, renewed} {
		if _, err := both.Open(handle, sealed); err != nil {
			t.Error(err)
		}
	}
	if _, err := after.Open(handle, renewed); err != nil {
		t.Errorf("the first key does not seal: %v", err)
	}
	if _, err := after.Open(handle, old); !errors.Is(err, ErrSealed) {
		t.Errorf("under a key that is gone: %v", err)
	}
	for _, key := range [][]byte{nil, make([]byte, 16), make([]byte, 33)} {
		if _, err := NewSealer(key); err == nil {
			t.Errorf("a key of %d bytes", len(key))
		}
	}
}
