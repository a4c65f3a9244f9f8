package evidence

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// IntentToken is what a route calls the token of an intent.
const IntentToken = call.IntentToken

// IntentTokens is the kind of evidence that proves that whoever calls about an intent
// has seen it: the token is shown with it, for example as the QR code on the terminal
// that opened it. It is the token of that very intent, and an allow uses it up.
//
// A token is a MAC of the intent's ID, so nothing of it is kept, and one that was made
// up cannot be told from one of another intent.
type IntentTokens struct{ key []byte }

var _ Kind = (*IntentTokens)(nil)

const (
	intentTokenKeyBytes = 32
	// intentTokenBytes is the length of a token: 26 characters of 5 bits.
	intentTokenBytes = 26
	// maxIntentBytes is more than any intent's ID has.
	maxIntentBytes = 64
)

// NewIntentTokens returns the kind. The key has 32 bytes; under another one no token
// that was shown before is right.
func NewIntentTokens(key []byte) (*IntentTokens, error) {
	if len(key) != intentTokenKeyBytes {
		return nil, fmt.Errorf("evidence: a key of intent tokens of %d bytes, not %d", len(key), intentTokenKeyBytes)
	}
	return &IntentTokens{key}, nil
}

var intentTokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token returns the token of an intent: HMAC-SHA-256 of its ID, of which 130 bits stand
// in base32 in lower case.
func (k *IntentTokens) Token(intent string) string {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte("countersign intent token\x00" + intent))
	return intentTokenText.EncodeToString(mac.Sum(nil))[:intentTokenBytes]
}

func intentTokenThing(intent string) string { return IntentToken + "/" + intent }

// named is the intent that a call names, "" for none.
func named(c call.Call) string {
	if intent := c.Text("intent"); len(intent) <= maxIntentBytes {
		return intent
	}
	return ""
}

// Lead returns "": a token leads to no grant.
func (k *IntentTokens) Lead(authzstore.Reader, call.Call, string) (grant string, err error) {
	return "", nil
}

// Refs declares the sender's budget, and the use of the token of the intent.
func (k *IntentTokens) Refs(about About, _ string) []kv.Ref {
	refs := []kv.Ref{authzstore.AttemptsRef(authzstore.SenderBudget(IntentToken, about.Identity))}
	if intent := named(about.Call); intent != "" {
		refs = append(refs, authzstore.UseRef(intentTokenThing(intent)))
	}
	return refs
}

// Check compares the token with that of the intent that the call names, whether there
// is such an intent or not.
func (k *IntentTokens) Check(_ *authzstore.Tx, about About, token string) (Finding, error) {
	intent := named(about.Call)
	right := subtle.ConstantTimeCompare([]byte(k.Token(intent)), []byte(token)) == 1
	if !right || intent == "" {
		return Finding{}, nil
	}
	return Finding{Matched: true, Thing: intentTokenThing(intent)}, nil
}
