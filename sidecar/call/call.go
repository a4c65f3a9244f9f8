package call

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/countersign/countersign/authzstore"
)

// A Request is one HTTP request as Envoy would forward it.
type Request struct {
	Method    string
	Authority string
	// Path is the request target: path and query, with all normalisation done.
	Path    string
	Headers []Header
	Body    []byte
	// Claims are those of the verified token, nil where there was none. Numbers
	// are float64: they went through Envoy's metadata, which has no integers.
	Claims map[string]any
	// CheckID names the check that Envoy makes of this request; a check that is
	// asked again because its answer was not heard has the same. "" where unknown.
	CheckID string
	// Principal is the URI of the verified client certificate (its subject
	// alternative name), "" where there was none.
	Principal string
}

// A Header is one field line. Names are lower-case (RFC 9113, 8.2.1).
type Header struct {
	Name  string
	Value []byte
}

// Keys are what Decode needs to know that no route table holds.
type Keys struct {
	// Personal makes the tokens that stand for personal fields: 32 bytes. Only a
	// table with personal fields needs it.
	Personal []byte
}

// A Call is a request in the terms of a payment system.
type Call struct {
	Route    *Route
	Identity authzstore.Identity
	// Fields are in the order of their names, as Route.Fields are.
	Fields []Value
	// Secrets are as Route.Secrets, "" for an optional one that is absent. They
	// go to the evidence that they are and nowhere else.
	Secrets []string
	// ExpiresAtNanos is when the token that the call came with ends, nanoseconds since
	// 1970-01-01 UTC; 0 where there was no token, or it does not say.
	ExpiresAtNanos int64
	// IdempotencyKey has 1 to 128 visible ASCII characters; it is "" where the
	// route takes none.
	IdempotencyKey string
}

// A Value is a field's value: Int for an integer or an amount in minor units,
// Bool for a boolean, and Text for every other type. Terms are there as their
// canonical JSON, which [authzstore.ParseTerms] reads.
type Value struct {
	Text   string
	Int    int64
	Bool   bool
	Absent bool // an optional field that the request has not
}

// Text returns a text field, "" where the route maps none or it is absent.
func (c Call) Text(name string) string { return c.value(name).Text }

// AmountMinor returns the amount in minor units of the call's currency, 0 where
// there is none.
func (c Call) AmountMinor() int64 { return c.value(fieldAmount).Int }

// Int returns an integer or an amount, 0 where the route maps none or it is absent.
func (c Call) Int(name string) int64 { return c.value(name).Int }

func (c Call) value(name string) Value {
	for i, f := range c.Route.Fields {
		if f.Name == name {
			return c.Fields[i]
		}
	}
	return Value{Absent: true}
}

// fingerprintVersion changes whenever the form of what is hashed does.
const fingerprintVersion = "countersign call 1"

// Fingerprint is the SHA-256 of the canonical call: two calls have the same one
// exactly if they are the same operation of the same identity with the same
// fields. Secrets and the idempotency key are no part of it, and of personal
// fields it has the tokens.
func (c Call) Fingerprint() [sha256.Size]byte {
	h := make([]byte, 0, 512)
	text := func(s string) {
		h = binary.AppendUvarint(h, uint64(len(s)))
		h = append(h, s...)
	}
	for _, part := range []string{
		fingerprintVersion, c.Route.System, c.Route.Operation,
		c.Identity.Kind, c.Identity.Issuer, c.Identity.Subject, c.Identity.OnBehalfOf,
	} {
		text(part)
	}
	h = binary.AppendUvarint(h, uint64(len(c.Route.Fields)))
	for i, f := range c.Route.Fields {
		text(f.Name)
		text(f.Type.String())
		v := c.Fields[i]
		h = append(h, bit(v.Absent), bit(v.Bool))
		h = binary.AppendVarint(h, v.Int)
		text(v.Text)
	}
	return sha256.Sum256(h)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
