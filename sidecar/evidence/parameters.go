package evidence

import (
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// Parameters are what the delegate's device needs to make payment codes by itself,
// without a network.
//
// Their URI is an otpauth:// one (Google's Key URI format), so authenticator apps
// read it; they show the one-time password alone. prefix and handle, which only a
// device of ours reads, make the whole code of it. The label holds both too: whoever
// has only an authenticator app types them from there.
type Parameters struct {
	Issuer string // whose codes these are, for the device's owner; without a colon
	Prefix string // PrefixDigits digits
	Handle string // HandleDigits digits
	Secret Secret
	// Digits is the length of the one-time password, MinDigits to MaxDigits.
	Digits        int
	PeriodSeconds int64  // of a time step
	Algorithm     string // of the HMAC: SHA1, SHA256 or SHA512
}

// A Secret is the key of one-time passwords. It does not print itself.
type Secret []byte

// Format prints that there is a secret, whatever the verb.
func (s Secret) Format(state fmt.State, _ rune) { fmt.Fprintf(state, "secret of %d bytes", len(s)) }

// MarshalText fails: a secret stands only in [Parameters.URI].
func (s Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("evidence: a secret is not written")
}

// The parts of a payment code, and the bounds of its parameters.
const (
	PrefixDigits = 2
	HandleDigits = 10
	// MinDigits and MaxDigits are of a one-time password. RFC 4226 (5.3) knows 6 to
	// 8; its 31 bits give no more than nine.
	MinDigits = 6
	MaxDigits = 8
	// MinSecretBytes is what RFC 4226 recommends (R6): 160 bits.
	MinSecretBytes = 20
	maxSecretBytes = 64
	// A code is accepted for up to two periods, and NIST SP 800-63B allows no more
	// than ten minutes.
	minPeriodSeconds = 10
	maxPeriodSeconds = 300
	maxIssuerBytes   = 64
	maxURIBytes      = 1024
)

// errParameters says which rule is broken, never by what: what is read holds a
// secret.
func errParameters(format string, args ...any) error {
	return fmt.Errorf("evidence: parameters of payment codes: "+format, args...)
}

var algorithms = map[string]otp.Algorithm{
	"SHA1":   otp.AlgorithmSHA1,
	"SHA256": otp.AlgorithmSHA256,
	"SHA512": otp.AlgorithmSHA512,
}

func (p Parameters) check() error {
	_, known := algorithms[p.Algorithm]
	switch {
	case p.Issuer == "" || len(p.Issuer) > maxIssuerBytes || strings.ContainsFunc(p.Issuer, notInIssuer):
		return errParameters("the issuer is not 1 to %d printable ASCII characters without a colon", maxIssuerBytes)
	case len(p.Prefix) != PrefixDigits || !onlyDigits(p.Prefix):
		return errParameters("the prefix does not have %d digits", PrefixDigits)
	case len(p.Handle) != HandleDigits || !onlyDigits(p.Handle):
		return errParameters("the handle does not have %d digits", HandleDigits)
	case len(p.Secret) < MinSecretBytes || len(p.Secret) > maxSecretBytes:
		return errParameters("the secret does not have %d to %d bytes", MinSecretBytes, maxSecretBytes)
	case p.Digits < MinDigits || p.Digits > MaxDigits:
		return errParameters("digits are not %d to %d", MinDigits, MaxDigits)
	case p.PeriodSeconds < minPeriodSeconds || p.PeriodSeconds > maxPeriodSeconds:
		return errParameters("the period is not %d to %d seconds", minPeriodSeconds, maxPeriodSeconds)
	case !known:
		return errParameters("the algorithm is none of SHA1, SHA256 and SHA512")
	}
	return nil
}

func notInIssuer(r rune) bool { return r < ' ' || r > '~' || r == ':' }

func onlyDigits(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

var secretText = base32.StdEncoding.WithPadding(base32.NoPadding)

// URI returns the parameters as an otpauth:// URI. It holds the secret.
func (p Parameters) URI() string {
	query := url.Values{
		"secret":    {secretText.EncodeToString(p.Secret)},
		"issuer":    {p.Issuer},
		"algorithm": {p.Algorithm},
		"digits":    {strconv.Itoa(p.Digits)},
		"period":    {strconv.FormatInt(p.PeriodSeconds, 10)},
		"prefix":    {p.Prefix},
		"handle":    {p.Handle},
	}
	uri := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + p.label(),
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"), // authenticator apps show a plus as one
	}
	return uri.String()
}

func (p Parameters) label() string { return p.Issuer + ":" + p.Prefix + p.Handle }

// ParseParameters reads what URI wrote. It is strict: what is missing, unknown or
// there twice is an error, as no authenticator app would say. Errors repeat nothing
// of the URI.
func ParseParameters(uri string) (Parameters, error) {
	if len(uri) > maxURIBytes {
		return Parameters{}, errParameters("more than %d bytes", maxURIBytes)
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.User != nil || u.Fragment != "" {
		return Parameters{}, errParameters("not an otpauth://totp/ URI")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Parameters{}, errParameters("a query that cannot be read")
	}
	members := []string{"prefix", "handle", "secret", "issuer", "algorithm", "digits", "period"}
	for _, name := range members {
		if len(query[name]) != 1 {
			return Parameters{}, errParameters("%s is not there once", name)
		}
	}
	if len(query) != len(members) {
		return Parameters{}, errParameters("a member that is unknown")
	}
	secret, err := secretText.DecodeString(query.Get("secret"))
	if err != nil {
		return Parameters{}, errParameters("the secret is not base32")
	}
	digits, err := strconv.Atoi(query.Get("digits"))
	if err != nil {
		return Parameters{}, errParameters("digits are not a number")
	}
	period, err := strconv.ParseInt(query.Get("period"), 10, 64)
	if err != nil {
		return Parameters{}, errParameters("the period is not a number")
	}
	p := Parameters{
		Issuer: query.Get("issuer"), Prefix: query.Get("prefix"), Handle: query.Get("handle"),
		Secret: secret, Digits: digits, PeriodSeconds: period, Algorithm: query.Get("algorithm"),
	}
	if err := p.check(); err != nil {
		return Parameters{}, err
	}
	if u.Path != "/"+p.label() {
		return Parameters{}, errParameters("the label is not of the same issuer, prefix and handle")
	}
	return p, nil
}

// Step is the time step (RFC 6238, T) that holds a time, in nanoseconds since 1970.
func (p Parameters) Step(nowNanos int64) int64 { return nowNanos / (p.PeriodSeconds * 1e9) }

// StepEndNanos is when a step ends, and the next one begins.
func (p Parameters) StepEndNanos(step int64) int64 { return (step + 1) * p.PeriodSeconds * 1e9 }

// Code returns the payment code of a time step: prefix, handle, one-time password.
func (p Parameters) Code(step int64) (string, error) {
	password, err := p.password(step)
	return p.Prefix + p.Handle + password, err
}

// password is TOTP (RFC 6238): HOTP of the step.
func (p Parameters) password(step int64) (string, error) {
	if step < 0 {
		return "", errParameters("a time before 1970")
	}
	password, err := oneTimePassword(p.Secret, uint64(step), p.Digits, algorithms[p.Algorithm])
	if err != nil {
		return "", errParameters("no code can be made of them")
	}
	return password, nil
}

// oneTimePassword is HOTP (RFC 4226).
func oneTimePassword(secret Secret, counter uint64, digits int, algorithm otp.Algorithm) (string, error) {
	return hotp.GenerateCodeCustom(secretText.EncodeToString(secret), counter, hotp.ValidateOpts{
		Digits: otp.Digits(digits), Algorithm: algorithm,
	})
}
