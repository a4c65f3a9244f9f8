package outbox

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/sidecar/privatefile"
)

// Bounds of secrets. Those of their length are the specification's
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
const (
	secretPrefix   = "whsec_"
	minSecretBytes = 24
	maxSecretBytes = 64
	newSecretBytes = 32

	maxSecrets    = 4
	maxSecretFile = 1 << 10
)

// A Secret signs webhooks, and their receiver knows it too. It does not show itself.
type Secret struct{ signer *webhooks.Webhook }

// String implements fmt.Stringer.
func (Secret) String() string { return secretPrefix + "…" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// NewSecret returns a new secret as text, whsec_ and 32 random bytes in base64.
func NewSecret() []byte {
	secret := make([]byte, newSecretBytes)
	rand.Read(secret) // never fails
	return []byte(secretPrefix + base64.StdEncoding.EncodeToString(secret) + "\n")
}

var errSecret = fmt.Errorf("want 1 to %d lines of %s and %d to %d bytes in base64", maxSecrets, secretPrefix, minSecretBytes, maxSecretBytes)

// ParseSecrets reads secrets, one a line. More than one stand in a file while one is
// replaced by another: a webhook is signed with each, so that its receiver may know
// either. The error does not show what was read.
func ParseSecrets(text string) ([]Secret, error) {
	var secrets []Secret
	for line := range strings.Lines(text) {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(line), secretPrefix)
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(raw) < minSecretBytes || len(raw) > maxSecretBytes || len(secrets) == maxSecrets {
			return nil, errSecret
		}
		signer, err := webhooks.NewWebhookRaw(raw)
		if err != nil {
			return nil, errSecret
		}
		secrets = append(secrets, Secret{signer})
	}
	if len(secrets) == 0 {
		return nil, errSecret
	}
	return secrets, nil
}

// ReadSecrets reads secrets out of a file that nobody else can read.
func ReadSecrets(name string) ([]Secret, error) {
	text, err := privatefile.Read(name, maxSecretFile)
	if mode, ok := errors.AsType[privatefile.ModeError](err); ok {
		return nil, fmt.Errorf("%s has the mode %04o: other users must not read it; chmod 600 it", name, uint32(mode))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	secrets, err := ParseSecrets(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return secrets, nil
}

// sign sets the three headers of a webhook: its ID, the time of this try, and a
// signature over both and the body with each of the secrets.
func sign(header http.Header, secrets []Secret, id string, at time.Time, body []byte) error {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		var err error
		if signatures[i], err = s.signer.Sign(id, at, body); err != nil {
			return err
		}
	}
	header.Set(webhooks.HeaderWebhookID, id)
	header.Set(webhooks.HeaderWebhookTimestamp, fmt.Sprint(at.Unix()))
	header.Set(webhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}
