package evidence

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A Sealer keeps the secrets of credentials, challenges and stored codes from whoever
// has the store's files alone. It may be used concurrently.
//
// A sealed secret is: format (1 byte), ID of the key (4 bytes), nonce (12 bytes),
// then AES-256-GCM (NIST SP 800-38D) of the secret. Format, key and the owner, which is
// the handle of a credential or the ID of a challenge, are authenticated with it, so a
// sealed secret that is moved to another owner does not open. Nonces are random, so a key is good for 2^32 secrets.
//
// Keys rotate: the first one seals, all of them open.
type Sealer struct {
	sealing keyID
	keys    map[keyID]cipher.AEAD
}

type keyID [4]byte

const (
	sealFormat  = 1
	sealHeader  = 1 + len(keyID{})
	sealKeySize = 32
)

// ErrSealed: a sealed secret does not open. It was changed, belongs to something
// else, or was sealed with a key that is not there.
var ErrSealed = errors.New("evidence: a sealed secret does not open: its bytes are damaged, or the key file is not the one it was sealed with")

// NewSealer returns a Sealer of keys of 32 bytes each.
func NewSealer(key []byte, older ...[]byte) (*Sealer, error) {
	s := &Sealer{sealing: idOf(key), keys: map[keyID]cipher.AEAD{}}
	for _, key := range append([][]byte{key}, older...) {
		if len(key) != sealKeySize {
			return nil, fmt.Errorf("evidence: a sealing key of %d bytes, not %d", len(key), sealKeySize)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if s.keys[idOf(key)], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// idOf names a key without telling anything about it.
func idOf(key []byte) keyID {
	sum := sha256.Sum256(append([]byte("countersign sealing key\x00"), key...))
	return keyID(sum[:len(keyID{})])
}

// Seal seals the secret of an owner. Owners of different kinds have names of different
// forms.
func (s *Sealer) Seal(owner string, secret Secret) []byte {
	header := append([]byte{sealFormat}, s.sealing[:]...)
	return s.keys[s.sealing].Seal(header, nil, secret, bound(header, owner))
}

// Open opens what Seal sealed for this owner, or returns ErrSealed.
func (s *Sealer) Open(owner string, sealed []byte) (Secret, error) {
	if len(sealed) < sealHeader || sealed[0] != sealFormat {
		return nil, ErrSealed
	}
	header := sealed[:sealHeader]
	key, known := s.keys[keyID(header[1:])]
	if !known {
		return nil, ErrSealed
	}
	secret, err := key.Open(nil, nil, sealed[sealHeader:], bound(header, owner))
	if err != nil {
		return nil, ErrSealed
	}
	return secret, nil
}

// bound is what is authenticated beside the secret.
func bound(header []byte, owner string) []byte {
	return append([]byte("countersign credential\x00"+string(header)), owner...)
}
