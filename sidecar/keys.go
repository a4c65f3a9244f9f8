package sidecar

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/sidecar/decide"
	"github.com/countersign/countersign/sidecar/privatefile"
)

// keyBytes is the length of the key that all others are derived from.
const keyBytes = 32

const maxKeyFile = 1 << 10

// A keyring is what is derived from the store's key.
type keyring struct {
	decide.Keys
	// Sealing keeps the secrets of credentials, challenges and stored codes.
	Sealing []byte
	// IntentTokens makes the tokens of intents.
	IntentTokens []byte
	// Tokens signs what the sidecar's own API may show.
	Tokens []byte
}

// loadKeys reads the store's key from a file, 32 bytes in base64, and derives the
// keys of everything from it (HKDF, RFC 5869). With no name given the file is
// `key` in the store's directory, and made where it is missing.
//
// Who loses it can no longer tell whether evidence was shown before, nor what a
// personal field's token stands for, and has to issue all credentials anew: their
// secrets do not open. Nothing that is refused becomes allowed.
func loadKeys(name, dataDir string) (keys keyring, err error) {
	own := name == ""
	if own {
		name = filepath.Join(dataDir, "key")
	}
	key, err := readKey(name)
	if own && errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(name)
	}
	if err != nil {
		return keyring{}, fmt.Errorf("key: %w", err)
	}
	for use, derived := range map[string]*[]byte{
		"countersign personal fields": &keys.Personal,
		"countersign evidence":        &keys.Evidence,
		"countersign sealing":         &keys.Sealing,
		"countersign intent tokens":   &keys.IntentTokens,
		"countersign tokens":          &keys.Tokens,
	} {
		if *derived, err = hkdf.Key(sha256.New, key, nil, use, keyBytes); err != nil {
			return keyring{}, err
		}
	}
	return keys, nil
}

func readKey(name string) ([]byte, error) {
	text, err := privatefile.Read(name, maxKeyFile)
	if mode, ok := errors.AsType[privatefile.ModeError](err); ok {
		return nil, fmt.Errorf("%s has the mode %04o: other users must not read it; chmod 600 it", name, uint32(mode))
	}
	if errors.Is(err, privatefile.ErrNotRegular) {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	if err != nil && !errors.Is(err, privatefile.ErrTooLong) {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s does not hold %d bytes in base64", name, keyBytes)
	}
	return key, nil
}

// makeKey writes a new key, durably before it is used.
func makeKey(name string) ([]byte, error) {
	key := make([]byte, keyBytes)
	rand.Read(key) // never fails
	return key, privatefile.Create(name, []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
}
