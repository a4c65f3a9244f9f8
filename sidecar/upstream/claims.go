package upstream

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// HeaderToken is the request header that carries the token.
const HeaderToken = "countersign-token"

const (
	// tokenType is the header parameter "typ" of every token (RFC 8725, 3.11):
	// no token of another kind is taken for one of ours.
	tokenType = "countersign+jwt"

	// MaxLife is from a token's "iat" to its "exp": it is for one call that is on
	// its way.
	MaxLife = 30 * time.Second

	// StreamMessages is the built-in operation that goes on while the caller's session
	// does.
	StreamMessages = "stream_messages"

	// maxSeconds is the last second that a time in nanoseconds can hold.
	maxSeconds = math.MaxInt64 / int64(time.Second)

	// maxAmountMinor is the largest integer that every JSON reader holds exactly,
	// 2^53 − 1.
	maxAmountMinor = 1<<53 - 1
)

// Claims are what a token says: that the call, to this service and as it is, was
// allowed, and what payment it stands for.
type Claims struct {
	Issuer   string `json:"iss"` // the store that decided, sto_…
	Audience string `json:"aud"` // the service that it is for
	IssuedAt int64  `json:"iat"` // seconds since 1970-01-01 UTC (RFC 7519)
	Expiry   int64  `json:"exp"` // the same; at most MaxLife later

	Method     string `json:"method"`
	Authority  string `json:"authority"`   // the header Host, or :authority
	Target     string `json:"target"`      // path and query, as in the request line
	BodySHA256 string `json:"body_sha256"` // 64 hexadecimal digits in lower case

	// Does is the built-in operation that was done, and whose outcome the sidecar's own
	// API may show; empty for a payment. Such a token has no reservation.
	Does string `json:"does,omitempty"`
	// Challenge (chl_…) and Terminal (trm_…) are what a built-in operation was done on, or
	// from; empty where there is none, and for a payment.
	Challenge string `json:"challenge,omitempty"`
	Terminal  string `json:"terminal,omitempty"`
	// SessionExp is when the caller's own token expires, seconds since 1970-01-01 UTC, for
	// the operation that goes on until then, [StreamMessages], alone; 0: it does not say.
	SessionExp int64 `json:"session_exp,omitempty"`

	Payment
}

// A Payment is the payment that was allowed, as the policy saw it. Where a call has
// opened an intent (an order, say) and no money moves yet, it is what the intent is for:
// then it has an Intent and no ReservationID, and no amount either if the intent has none.
type Payment struct {
	System    string `json:"system"`
	Operation string `json:"operation"`
	Account   string `json:"account"` // whose money
	// Grant is by which a delegate pays from Account; empty where the owner does.
	Grant string `json:"grant,omitempty"`
	// Intent is the request (int_…), such as an order, that it is the payment of or that
	// was opened; empty where there is none.
	Intent   string `json:"intent,omitempty"`
	Payee    string `json:"payee"`    // empty where the operation has none
	Currency string `json:"currency"` // ISO 4217, alphabetic
	// AmountMinor is in minor units, 1 to 2^53−1. In the token it is a string of
	// digits, because some readers of JSON make every number a float.
	AmountMinor int64 `json:"-"`
	// ReservationID names the money reserved for it, and so the one execution:
	// the same call, repeated, has the same one. Empty where no money moves.
	ReservationID string `json:"reservation_id"`
	DecisionID    string `json:"decision_id"` // that allowed it; the same in a replay
	// Replayed tells that the same call was allowed before, so that it may have
	// been executed.
	Replayed bool     `json:"replayed"`
	Identity Identity `json:"identity"` // who called
}

// An Identity is a caller as Envoy verified it. Two are the same only if all
// parts are.
type Identity struct {
	Kind    string `json:"kind"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// OnBehalfOf is for whom Subject acts; empty for nobody else.
	OnBehalfOf string `json:"on_behalf_of,omitempty"`
}

// Digest is a body's digest as Claims have it.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Fingerprint is a digest of what makes a repeated call the same payment: all of
// it but the decision's ID and Replayed. The body is not in it: what a caller
// adds to prove who it is may differ from one try to the next.
func (p Payment) Fingerprint() string {
	h := sha256.New()
	parts := []string{
		p.System, p.Operation, p.Account, p.Payee, p.Currency, strconv.FormatInt(p.AmountMinor, 10),
		p.ReservationID, p.Identity.Kind, p.Identity.Issuer, p.Identity.Subject,
	}
	if p.Identity.OnBehalfOf != "" { // as before it was a part, where there is none
		parts = append(parts, p.Identity.OnBehalfOf)
	}
	if p.Grant != "" {
		parts = append(parts, "grant", p.Grant) // two: nobody else's OnBehalfOf
	}
	if p.Intent != "" {
		parts = append(parts, "intent", p.Intent)
	}
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// claimsJSON is Claims in a token.
type claimsJSON struct {
	Claims
	AmountMinor string `json:"amount_minor"` // empty where there is no amount
}

func (c Claims) encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	amount := ""
	if c.AmountMinor != 0 {
		amount = strconv.FormatInt(c.AmountMinor, 10)
	}
	return json.Marshal(claimsJSON{c, amount})
}

// check holds the rules of form that no token breaks, whoever signed it.
func (c Claims) check() error {
	for _, part := range []struct{ name, value string }{
		{"iss", c.Issuer}, {"aud", c.Audience}, {"method", c.Method}, {"authority", c.Authority},
		{"system", c.System}, {"operation", c.Operation}, {"decision_id", c.DecisionID},
		{"identity.kind", c.Identity.Kind}, {"identity.issuer", c.Identity.Issuer}, {"identity.subject", c.Identity.Subject},
	} {
		if part.value == "" {
			return fmt.Errorf("no %s", part.name)
		}
	}
	switch {
	case !strings.HasPrefix(c.Target, "/"):
		return errors.New("target does not start with /")
	case len(c.BodySHA256) != 2*sha256.Size || strings.Trim(c.BodySHA256, "0123456789abcdef") != "":
		return errors.New("body_sha256 is not a digest")
	case c.IssuedAt <= 0 || c.Expiry <= c.IssuedAt || c.Expiry-c.IssuedAt > int64(MaxLife/time.Second):
		return fmt.Errorf("exp is not within %s of iat", MaxLife)
	case c.Does != "":
		return c.checkBuiltIn()
	}
	return c.checkPayment()
}

func (c Claims) checkPayment() error {
	opens := c.ReservationID == "" // an intent
	switch {
	case c.Account == "":
		return errors.New("no account")
	case opens && c.Intent == "":
		return errors.New("neither reservation_id nor intent")
	case !(opens && c.Currency == "") && (len(c.Currency) != 3 || strings.Trim(c.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
		return errors.New("currency is not a code")
	case !(opens && c.AmountMinor == 0) && (c.AmountMinor < 1 || c.AmountMinor > maxAmountMinor):
		return errors.New("amount_minor is out of range")
	case c.AmountMinor != 0 && c.Currency == "":
		return errors.New("an amount in no currency")
	case c.Challenge != "" || c.Terminal != "" || c.SessionExp != 0:
		return errors.New("a payment with what only a built-in operation has")
	}
	return nil
}

func (c Claims) checkBuiltIn() error {
	if c.ReservationID != "" || c.Payee != "" || c.Currency != "" || c.AmountMinor != 0 {
		return errors.New("a built-in operation with a payment")
	}
	switch {
	case c.SessionExp < 0 || c.SessionExp > maxSeconds:
		return errors.New("session_exp is out of range")
	case c.SessionExp != 0 && c.Does != StreamMessages:
		return errors.New("session_exp for an operation that does not go on")
	}
	return nil
}

// execution names the one run that the payment stands for: its reservation, or the
// intent that was opened.
func (p Payment) execution() string { return cmp.Or(p.ReservationID, p.Intent) }

// parseAmount reads the only spelling that encode writes.
func parseAmount(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 || strconv.FormatInt(n, 10) != text {
		return 0, errors.New("amount_minor is not a number of minor units")
	}
	return n, nil
}
