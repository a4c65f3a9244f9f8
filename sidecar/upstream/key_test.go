package upstream

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func keyFile(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// Both sides read one file, or the service reads the key set alone.
func TestKeyFiles(t *testing.T) {
	for name, text := range map[string]string{
		"secret": string(NewSecret()), "Ed25519": string(must(NewEd25519())), "no line end": strings.TrimSpace(string(NewSecret())),
		"64 bytes": base64.StdEncoding.EncodeToString(make([]byte, 64)),
	} {
		t.Run(name, func(t *testing.T) {
			file := keyFile(t, text, 0o600)
			key, again := must(ReadKey(file)), must(ReadKey(file))
			if key.ID() != again.ID() || key.ID() == sharedKey.ID() || strings.Contains(text, key.ID()) {
				t.Errorf("IDs %s, %s", key.ID(), again.ID())
			}
			token := must(signerWith(key).Sign(goodClaims()))
			if _, err := verifier(again).Verify(token); err != nil {
				t.Error(err)
			}
			if _, err := verifier(sharedKey, edKey).Verify(token); err == nil {
				t.Error("verified with another key")
			}
		})
	}
	if bytes.Equal(NewSecret(), NewSecret()) {
		t.Error("one secret twice")
	}
}

func TestReadKeyRefuses(t *testing.T) {
	good := string(NewSecret())
	encode := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		text, want string
		mode       fs.FileMode
	}{
		"read by others":   {good, "the mode 0604 lets others at it", 0o604},
		"read by a group":  {good, "the mode 0640 lets others at it", 0o640},
		"written by some":  {good, "the mode 0620 lets others at it", 0o620},
		"31 bytes":         {encode(make([]byte, 31)), "32 or more random bytes", 0o600},
		"empty":            {"", "32 or more random bytes", 0o600},
		"a password":       {"correct horse battery staple", "32 or more random bytes", 0o600},
		"two keys":         {good + good, "32 or more random bytes", 0o600},
		"a certificate":    {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: make([]byte, 99)})), "32 or more random bytes", 0o600},
		"key and more":     {string(must(NewEd25519())) + good, "32 or more random bytes", 0o600},
		"an RSA-like file": {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "32 or more random bytes", 0o600},
		"far too long":     {encode(make([]byte, maxKeyFile)), "32 or more random bytes", 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			file := keyFile(t, c.text, c.mode)
			_, err := ReadKey(file)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v", err)
			}
			if err != nil && c.text != "" && strings.Contains(err.Error(), strings.TrimSpace(c.text)) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
	for name, file := range map[string]string{"nowhere": "/nowhere/key", "a directory": t.TempDir()} {
		if _, err := ReadKey(file); err == nil || strings.Count(err.Error(), file) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However a key is printed, it does not show.
func TestKeyDoesNotShow(t *testing.T) {
	var b bytes.Buffer
	for _, key := range []Key{sharedKey, edKey} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q\n", key, key, key, key, key)
		fmt.Fprintf(&b, "%v %+v %#v\n", &key, []Key{key}, map[string]Key{"a": key})
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "key", key, "keys", []Key{key})
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "key", key, "keys", []Key{key})
		b.Write(must(json.Marshal(struct{ K Key }{key})))
	}
	for _, shown := range []string{"ssss", "115 115", "7373", "0x73", b64(string(secret))[:20], fmt.Sprint([]byte(private))[1:20]} {
		if strings.Contains(b.String(), shown) {
			t.Errorf("%q shows in %s", shown, &b)
		}
	}
	if !strings.Contains(b.String(), sharedKey.ID()) {
		t.Errorf("no ID in %s", &b)
	}
}

// A key set has the public half and nothing else; only such ones are read.
func TestJWKS(t *testing.T) {
	text := must(JWKS(edKey))
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": edKey.ID(),
		"x": b64(string(private.Public().(ed25519.PublicKey)))}
	if fmt.Sprint(set.Keys[0]) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", set.Keys[0], want)
	}
	if _, err := JWKS(edKey, sharedKey); err == nil {
		t.Error("a secret has no public half")
	}
	jwk := func(set map[string]any) string {
		return toJSON(map[string]any{"keys": []any{with(map[string]any{"kty": "OKP", "crv": "Ed25519", "x": want["x"]}, set)}})
	}
	if keys, err := ParseJWKS([]byte(jwk(nil))); err != nil || len(keys) != 1 || keys[0].ID() != edKey.ID() {
		t.Errorf("%v, %v", keys, err)
	}
	for name, text := range map[string]string{
		"private half": jwk(map[string]any{"d": b64(string(private.Seed()))}),
		"secret":       jwk(map[string]any{"kty": "oct", "k": b64(string(secret))}),
		"RSA":          jwk(map[string]any{"kty": "RSA", "n": b64(strings.Repeat("n", 256)), "e": "AQAB"}),
		"for HS256":    jwk(map[string]any{"alg": "HS256"}),
		"encryption":   jwk(map[string]any{"use": "enc"}),
		"short":        jwk(map[string]any{"x": "AAAA"}),
		"no JSON":      "x",
	} {
		if keys, err := ParseJWKS([]byte(text)); err == nil {
			t.Errorf("%s: %v", name, keys)
		}
	}
}
