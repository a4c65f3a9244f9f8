package upstream

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign/countersign/sidecar/privatefile"
)

// A Key signs or verifies the tokens for one audience, with one algorithm:
// HS256 (RFC 7518, 3.2) with a secret that the sidecar shares with the service,
// or EdDSA (RFC 8037) with an Ed25519 key of which the service has only the
// public half. Printing a Key does not show it.
type Key struct {
	id        string // the header parameter "kid"
	algorithm jose.SignatureAlgorithm
	private   any // what signs: []byte or ed25519.PrivateKey; nil where there is only a public half
	public    any // what verifies: []byte or ed25519.PublicKey
}

// secretBytes is the least length of a secret: that of the hash (RFC 7518, 3.2).
const secretBytes = sha256.Size

// maxKeyFile bounds a file with keys, in bytes.
const maxKeyFile = 64 << 10

var errNoKey = errors.New("it holds neither 32 or more random bytes in base64 nor an Ed25519 key (PEM, PKCS #8)")

// ID names the key in tokens. It is derived from the key.
func (k Key) ID() string { return k.id }

// String is the key's name.
func (k Key) String() string { return "key " + k.id }

// GoString is the key's name too.
func (k Key) GoString() string { return k.String() }

// LogValue is the key's name too.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON is the key's name too.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// SharedKey returns the HS256 key of a secret of 32 random bytes or more.
func SharedKey(secret []byte) (Key, error) {
	if len(secret) < secretBytes {
		return Key{}, fmt.Errorf("upstream: a secret of %d bytes: at least %d random ones are needed", len(secret), secretBytes)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("countersign key id"))
	secret = bytes.Clone(secret)
	return Key{base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12]), jose.HS256, secret, secret}, nil
}

// PrivateKey returns the EdDSA key that signs.
func PrivateKey(private ed25519.PrivateKey) (Key, error) {
	if len(private) != ed25519.PrivateKeySize {
		return Key{}, errors.New("upstream: not an Ed25519 private key")
	}
	key, err := publicKey(private.Public().(ed25519.PublicKey))
	key.private = private
	return key, err
}

func publicKey(public ed25519.PublicKey) (Key, error) {
	jwk := jose.JSONWebKey{Key: public}
	if !jwk.Valid() {
		return Key{}, errors.New("upstream: not an Ed25519 public key")
	}
	print, err := jwk.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return Key{}, fmt.Errorf("upstream: %w", err)
	}
	return Key{base64.RawURLEncoding.EncodeToString(print), jose.EdDSA, nil, public}, nil
}

// ReadKey reads a file that "countersign key new" made: a secret in base64, or an
// Ed25519 private key. Nobody but its owner may have access to it.
func ReadKey(file string) (Key, error) {
	text, err := readPrivate(file)
	if err == nil {
		var key Key
		if key, err = parseKey(text); err == nil {
			return key, nil
		}
	}
	return Key{}, fmt.Errorf("upstream: key %s: %w", file, err)
}

func parseKey(text []byte) (Key, error) {
	if block, rest := pem.Decode(text); block != nil {
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		ed, ok := private.(ed25519.PrivateKey)
		if err != nil || !ok || len(bytes.TrimSpace(rest)) > 0 {
			return Key{}, errNoKey
		}
		return PrivateKey(ed)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(secret) < secretBytes {
		return Key{}, errNoKey
	}
	return SharedKey(secret)
}

func readPrivate(name string) ([]byte, error) {
	text, err := privatefile.Read(name, maxKeyFile)
	if mode, ok := errors.AsType[privatefile.ModeError](err); ok {
		return nil, fmt.Errorf("the mode %04o lets others at it: whoever has the key can allow payments; chmod 600 it", uint32(mode))
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, path.Err // the caller names the file
	}
	if errors.Is(err, privatefile.ErrTooLong) {
		return nil, errNoKey
	}
	return text, err
}

// NewSecret returns the text of a key file with a fresh secret.
func NewSecret() []byte {
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails
	return append(base64.StdEncoding.AppendEncode(nil, secret), '\n')
}

// NewEd25519 returns the text of a key file with a fresh Ed25519 private key.
func NewEd25519() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// JWKS returns the public halves of EdDSA keys as a JSON Web Key Set (RFC 7517).
func JWKS(keys ...Key) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, key := range keys {
		if key.algorithm != jose.EdDSA {
			return nil, fmt.Errorf("upstream: %s is a shared secret: it has no public half", key)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.public, KeyID: key.id, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	return json.Marshal(set)
}

// ParseJWKS reads the keys of a JSON Web Key Set, all of which must be public
// Ed25519 keys for signatures.
func ParseJWKS(text []byte) ([]Key, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("upstream: key set: %w", err)
	}
	var keys []Key
	for _, jwk := range set.Keys {
		public, ok := jwk.Key.(ed25519.PublicKey)
		if !ok || jwk.Algorithm != "" && jwk.Algorithm != string(jose.EdDSA) || jwk.Use != "" && jwk.Use != "sig" {
			return nil, fmt.Errorf("upstream: key set: %q is not a public Ed25519 key for signatures", jwk.KeyID)
		}
		key, err := publicKey(public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
