package authzstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Identity is a principal as Envoy verified it. Two are the same only if all
// parts are. Kind and issuer come from configuration, never from a claim of the
// principal's choosing.
type Identity struct {
	Kind    string `cbor:"1,keyasint" json:"kind"`    // user, agent, merchant, operator, …
	Issuer  string `cbor:"2,keyasint" json:"issuer"`  // the issuer of a token (RFC 7519, iss) or a trust domain
	Subject string `cbor:"3,keyasint" json:"subject"` // unique within the issuer
	// OnBehalfOf is for whom the subject acts, a subject of the same issuer; empty
	// where it acts for itself.
	OnBehalfOf string `cbor:"4,keyasint,omitempty" json:"on_behalf_of,omitempty"`
}

const maxIdentityBytes = 256

// parts are what makes an identity, in the order in which they are hashed.
func (id Identity) parts() []string { return []string{id.Kind, id.Issuer, id.Subject, id.OnBehalfOf} }

// hashed is the SHA-256 of texts, each with its length before it, in hexadecimal
// digits: for names that are made of what may be long and may hold anything.
func hashed(texts ...string) string {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (id Identity) check() error {
	for _, part := range []struct {
		name, value string
		optional    bool
	}{
		{"kind", id.Kind, false}, {"issuer", id.Issuer, false}, {"subject", id.Subject, false}, {"on_behalf_of", id.OnBehalfOf, true},
	} {
		if part.value == "" && !part.optional || len(part.value) > maxIdentityBytes {
			return fmt.Errorf("%w: identity %s is not a text of 1 to %d bytes", ErrInvalid, part.name, maxIdentityBytes)
		}
		if !utf8.ValidString(part.value) || strings.ContainsFunc(part.value, unicode.IsControl) {
			return fmt.Errorf("%w: identity %s holds control characters or is not UTF-8", ErrInvalid, part.name)
		}
	}
	return nil
}

// MaxNameBytes bounds a text that people read, such as a payee or a detail of a message.
const MaxNameBytes = 256

var snakeCase = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// IsSnakeCase tells whether s has the form of the names that programs read: a snake_case
// name of 1 to 64 bytes. Systems, operations, states, limits, channels, rights, reasons
// and what rules name kinds of are such names.
func IsSnakeCase(s string) bool { return snakeCase.MatchString(s) }

// isName tells whether s is a text that people read: UTF-8 of 1 to 256 bytes
// without control characters.
func isName(s string) bool {
	return s != "" && len(s) <= MaxNameBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
