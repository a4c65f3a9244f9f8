package sidecar

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/sidecar/decide"
)

// keyBytes is the length of the key that all others are derived from.
const keyBytes = 32

// loadKeys reads the store's key from a file, 32 bytes in base64, and derives the
// keys of decisions from it (HKDF, RFC 5869). With no name given the file is
// `key` in the store's directory, and made where it is missing.
//
// Who loses it can no longer tell whether evidence was shown before, nor what a
// personal field's token stands for; nothing that is refused becomes allowed.
func loadKeys(name, dataDir string) (decide.Keys, error) {
	own := name == ""
	if own {
		name = filepath.Join(dataDir, "key")
	}
	key, err := readKey(name)
	if own && errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(name)
	}
	if err != nil {
		return decide.Keys{}, fmt.Errorf("key: %w", err)
	}
	personal, err := hkdf.Key(sha256.New, key, nil, "countersign personal fields", keyBytes)
	if err != nil {
		return decide.Keys{}, err
	}
	evidence, err := hkdf.Key(sha256.New, key, nil, "countersign evidence", keyBytes)
	return decide.Keys{Personal: personal, Evidence: evidence}, err
}

func readKey(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has the mode %04o: other users must not read it; chmod 600 it", name, info.Mode().Perm())
	}
	text, err := os.ReadFile(name)
	if err != nil {
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
	rand.Read(key)
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(name))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	return key, errors.Join(dir.Sync(), dir.Close())
}
