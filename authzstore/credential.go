package authzstore

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Credential is what a delegate's device makes the payment codes of one grant
// from: the parameters of RFC 6238 under a handle that stands in every code.
type Credential struct {
	Handle string `cbor:"1,keyasint" json:"handle"` // 10 digits, random, never given twice
	Grant  string `cbor:"2,keyasint" json:"grant"`
	// Sealed is the secret as the sidecar's key encrypted it.
	Sealed        []byte `cbor:"3,keyasint" json:"-"`
	Digits        int    `cbor:"4,keyasint" json:"digits"` // of the part that changes, 6 to 10
	PeriodSeconds int64  `cbor:"5,keyasint" json:"period_seconds"`
	Algorithm     string `cbor:"6,keyasint" json:"algorithm"` // SHA1, SHA256 or SHA512
	IssuedAtNanos int64  `cbor:"7,keyasint" json:"issued_at_ns"`
	// Ended: another one took its place, or the grant is over. Its codes are worth
	// nothing.
	Ended bool `cbor:"8,keyasint,omitempty" json:"ended,omitempty"`
	// FetchedBy is the decision (dec_…) by which the delegate fetched the parameters;
	// empty before.
	FetchedBy string `cbor:"9,keyasint,omitempty" json:"fetched_by,omitempty"`
	// FirstUsed: a code of it was used, so the device has the parameters.
	FirstUsed bool `cbor:"10,keyasint,omitempty" json:"first_used,omitempty"`
}

const (
	credentialVersion = 1
	credentialPrefix  = "credential/"
	maxSealedBytes    = 1024
)

var handleForm = regexp.MustCompile(`^[0-9]{10}$`)

func (c Credential) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: a credential "+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case !handleForm.MatchString(c.Handle):
		return bad("with the handle %q, not 10 digits", c.Handle)
	case len(c.Sealed) == 0 || len(c.Sealed) > maxSealedBytes:
		return bad("with a sealed secret of %d bytes", len(c.Sealed))
	case c.Digits < 6 || c.Digits > 10:
		return bad("with codes of %d digits, not 6 to 10", c.Digits)
	case c.PeriodSeconds < 10 || c.PeriodSeconds > 600:
		return bad("with a code every %d seconds, not 10 to 600", c.PeriodSeconds)
	case !slices.Contains([]string{"SHA1", "SHA256", "SHA512"}, c.Algorithm):
		return bad("with the algorithm %q", c.Algorithm)
	case len(c.FetchedBy) > kv.MaxKey:
		return bad("fetched by a decision with an ID of %d bytes", len(c.FetchedBy))
	case c.FirstUsed && c.FetchedBy == "":
		return bad("used before anybody fetched it")
	}
	return checkID("grant", "grt", c.Grant)
}

// CredentialRef declares a credential.
func CredentialRef(handle string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: credentialPrefix + handle, Mode: mode}
}

// Credential returns the credential of a handle, ended or not, and whether there
// is one.
func (r Reader) Credential(handle string) (Credential, bool, error) {
	return getOwn(r, credentialPrefix, handle, credentialVersion, func(c Credential) string { return c.Handle })
}

// MarkParametersFetched says that the delegate fetched the parameters of a
// credential by a decision (dec_…). For that decision they can be shown again until
// the first code was used, because the answer may have been lost. The credential is
// declared Exclusive. ErrUnknownID where there is none; ErrUsed where another
// decision fetched them, or a code was used; a *StateError where the credential has
// ended.
func (tx *Tx) MarkParametersFetched(handle, decisionID string) error {
	c, err := tx.credentialInForce(handle)
	switch {
	case err != nil:
		return err
	case decisionID == "":
		return fmt.Errorf("%w: parameters fetched by no decision", ErrInvalid)
	case c.FirstUsed || c.FetchedBy != "" && c.FetchedBy != decisionID:
		return fmt.Errorf("%w: the parameters of %s", ErrUsed, c.Grant)
	case c.FetchedBy == decisionID:
		return nil
	}
	c.FetchedBy = decisionID
	return tx.putCredential(c)
}

// MarkFirstUsed says that a code of the credential was used. It writes only the
// first time. The credential is declared Exclusive. ErrUnknownID, or a *StateError
// where it has ended or nobody has fetched it.
func (tx *Tx) MarkFirstUsed(handle string) error {
	c, err := tx.credentialInForce(handle)
	switch {
	case err != nil:
		return err
	case c.FetchedBy == "":
		return &StateError{"credential", "not fetched"}
	case c.FirstUsed:
		return nil
	}
	c.FirstUsed = true
	return tx.putCredential(c)
}

func (tx *Tx) credentialInForce(handle string) (Credential, error) {
	c, ok, err := tx.Credential(handle)
	switch {
	case err != nil:
		return Credential{}, err
	case !ok:
		return Credential{}, fmt.Errorf("%w: a credential", ErrUnknownID)
	case c.Ended:
		return Credential{}, &StateError{"credential", "ended"}
	}
	return c, nil
}

// issue writes a new credential of a grant, and names it there.
func (tx *Tx) issue(g *Grant, c Credential) error {
	if _, taken, err := tx.Credential(c.Handle); err != nil || taken {
		return orElse(err, fmt.Errorf("%w: the handle of a credential", ErrUsed))
	}
	c.Grant, c.IssuedAtNanos = g.ID, tx.Now()
	c.Ended, c.FetchedBy, c.FirstUsed = false, "", false
	g.Handle = c.Handle
	return tx.putCredential(c)
}

// endCredential ends the credential in force of a grant, if there is one.
func (tx *Tx) endCredential(g *Grant) error {
	if g.Handle == "" {
		return nil
	}
	c, ok, err := tx.Credential(g.Handle)
	if err != nil || !ok {
		return orElse(err, fmt.Errorf("%w: %s has no credential", ErrDamaged, g.ID))
	}
	g.Handle, c.Ended = "", true
	return tx.putCredential(c)
}

func (tx *Tx) putCredential(c Credential) error {
	return put(tx, credentialPrefix+c.Handle, credentialVersion, c)
}
