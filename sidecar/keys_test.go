package sidecar

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/upstream"
)

// A store's key is made once, for its owner alone, and stays; what is derived from
// it differs by use and by store.
func TestKeysAreMade(t *testing.T) {
	dir := t.TempDir()
	first, err := loadKeys("", dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	again, err := loadKeys("", dir)
	if err != nil || !bytes.Equal(first.Personal, again.Personal) || !bytes.Equal(first.Evidence, again.Evidence) || !bytes.Equal(first.Sealing, again.Sealing) || !bytes.Equal(first.Tokens, again.Tokens) {
		t.Errorf("other keys after a restart, %v", err)
	}
	other, err := loadKeys("", t.TempDir())
	if err != nil || bytes.Equal(first.Personal, other.Personal) || bytes.Equal(first.Personal, first.Evidence) ||
		bytes.Equal(first.Sealing, first.Personal) || bytes.Equal(first.Sealing, first.Evidence) || bytes.Equal(first.Tokens, first.Sealing) {
		t.Errorf("keys that should differ are alike, %v", err)
	}
	if len(first.Personal) != keyBytes || len(first.Evidence) != keyBytes || len(first.Sealing) != keyBytes || len(first.Tokens) != keyBytes {
		t.Errorf("keys of %d, %d and %d bytes", len(first.Personal), len(first.Evidence), len(first.Sealing))
	}
}

// A key file that is not as it must be is refused, and one that was named is never
// made.
func TestKeysRefused(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, keyBytes))
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"read by others":  {good, 0o604, "has the mode 0604"},
		"read by a group": {good, 0o640, "has the mode 0640"},
		"too short":       {good[4:], 0o600, "does not hold 32 bytes"},
		"too long":        {good + good, 0o600, "does not hold 32 bytes"},
		"very long":       {strings.Repeat("A", maxKeyFile+4), 0o600, "does not hold 32 bytes"},
		"no base64":       {"!" + good[1:], 0o600, "does not hold 32 bytes"},
		"empty":           {"", 0o600, "does not hold 32 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			for _, load := range []func() error{
				func() error { _, err := loadKeys(file, t.TempDir()); return err },
				func() error { _, err := loadKeys("", filepath.Dir(file)); return err },
			} {
				if err := load(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "key")
	if _, err := loadKeys(missing, t.TempDir()); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a named key that is missing: %v", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a named key was made")
	}
	if _, err := loadKeys(t.TempDir(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

// The sidecar signs for its own API with a key of its own, which no payment service's
// audience can take the place of.
func TestOwnTokens(t *testing.T) {
	store, err := OpenStore(t.Context(), filepath.Join(t.TempDir(), "data"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	keys, err := loadKeys("", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	payments, err := upstream.SharedKey(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := newSigner(store, Config{TokenKeys: map[string]upstream.Key{"payments.example": payments}}, keys)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Sign(upstream.Claims{
		Audience: call.BuiltInAudience, Method: "GET", Authority: "pay.example", Target: "/", BodySHA256: upstream.Digest(nil), Does: "list_delegations",
		Payment: upstream.Payment{System: "x", Operation: "list", DecisionID: "dec_1", Identity: upstream.Identity{Kind: "user", Issuer: "x", Subject: "ben"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	own, err := upstream.SharedKey(keys.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		audience string
		key      upstream.Key
		good     bool
	}{{call.BuiltInAudience, own, true}, {call.BuiltInAudience, payments, false}, {"payments.example", own, false}} {
		verifier, err := upstream.NewVerifier(store.ID(), c.audience, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(token); (err == nil) != c.good {
			t.Errorf("%s with %s: %v", c.audience, c.key, err)
		}
	}
	if _, err := newSigner(store, Config{TokenKeys: map[string]upstream.Key{call.BuiltInAudience: payments}}, keys); err == nil {
		t.Error("a payment service has the sidecar's own audience")
	}
}
