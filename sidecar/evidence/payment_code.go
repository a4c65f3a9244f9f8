package evidence

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// PaymentCode is what a route calls this kind of evidence.
const PaymentCode = call.PaymentCode

// Defaults of a Config.
//
// Of 8 digits, two are right at a time, so a guess is right once in 5·10^7. With 6
// (just under the 20 bits of NIST SP 800-63B) the budgets below would have to be a
// hundred times tighter. Payers rarely type the code (it is scanned), and 8 digits
// make an even number for Code 128.
const (
	DefaultIssuer        = "Countersign"
	DefaultPrefix        = "28"
	DefaultDigits        = 8
	DefaultPeriodSeconds = 30
	DefaultAlgorithm     = "SHA1" // what authenticator apps know; HMAC does not need SHA-1 to be free of collisions
)

const hourNanos = 3600 * 1e9

// What wrong codes cost. All of a store's guessers together are worth the sum of what
// each has: 1 000 merchants that guess at one handle have 5 000 guesses in an hour
// before the overall budget tightens theirs, and are right with a chance of 10^-4.
var (
	// DefaultMerchantAllowance is what a caller has for wrong codes of any handles. A
	// shop of 1 000 payments in an hour of which one in a hundred fails has ten.
	DefaultMerchantAllowance = authzstore.Allowance{Max: 100, WindowNanos: hourNanos}
	// DefaultHandleAllowance is what a caller has for wrong codes of one handle: the
	// five of PSD2 RTS article 4(3)(b). It is the caller's, so that no stranger
	// spends what a delegate has in a shop.
	DefaultHandleAllowance = authzstore.Allowance{Max: 5, WindowNanos: hourNanos}
)

// DefaultOverallFailures is how many wrong codes of everybody, in this hour of the
// clock and the one before, are more than mistakes. From there on all allowances are
// tightened: to a quarter, but not below tightest, so that only callers notice whose
// codes failed. One caller alone cannot come there: what it sends past its own budget
// does not count.
const DefaultOverallFailures = 1000

const (
	tightenedBy = 4
	tightest    = 2
)

// Config of payment codes. Sealer is required; the zero value of everything else means
// the default of that name.
type Config struct {
	Sealer *Sealer
	// Issuer is whose codes a delegate's device says that they are.
	Issuer string
	// Prefix starts every code, so that a till knows what it scans: 2 digits. Who
	// changes it makes the codes of all devices worthless.
	Prefix string
	// Digits, PeriodSeconds and Algorithm are of new credentials; those issued keep
	// their own.
	Digits        int
	PeriodSeconds int64
	Algorithm     string

	MerchantAllowance authzstore.Allowance
	HandleAllowance   authzstore.Allowance
	OverallFailures   int64
}

// PaymentCodes is the kind of evidence by which a delegate pays: prefix, handle of the
// credential, and a time-based one-time password (RFC 6238) of it. The password of
// this step or of the one before is right, never one of the future, each once.
type PaymentCodes struct {
	cfg Config
	// nobodys is the credential that codes of unknown handles are compared with.
	nobodys authzstore.Credential
}

var _ Kind = (*PaymentCodes)(nil)

// NewPaymentCodes returns the kind, or says what is wrong with cfg.
func NewPaymentCodes(cfg Config) (*PaymentCodes, error) {
	if cfg.Sealer == nil {
		return nil, errors.New("evidence: payment codes without a Sealer")
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, DefaultIssuer)
	cfg.Prefix = cmp.Or(cfg.Prefix, DefaultPrefix)
	cfg.Digits = cmp.Or(cfg.Digits, DefaultDigits)
	cfg.PeriodSeconds = cmp.Or(cfg.PeriodSeconds, DefaultPeriodSeconds)
	cfg.Algorithm = cmp.Or(cfg.Algorithm, DefaultAlgorithm)
	cfg.MerchantAllowance = cmp.Or(cfg.MerchantAllowance, DefaultMerchantAllowance)
	cfg.HandleAllowance = cmp.Or(cfg.HandleAllowance, DefaultHandleAllowance)
	cfg.OverallFailures = cmp.Or(cfg.OverallFailures, DefaultOverallFailures)
	if cfg.MerchantAllowance.Max < 1 || cfg.HandleAllowance.Max < 1 || cfg.OverallFailures < 1 {
		return nil, errors.New("evidence: payment codes with an allowance below 1")
	}
	p := &PaymentCodes{cfg: cfg}
	var err error
	if p.nobodys, err = p.NewCredential(); err != nil {
		return nil, err
	}
	_, err = p.Parameters(p.nobodys)
	return p, err
}

// secretBytes is the length of a new secret: that of the hash (RFC 6238, 3, R6).
var secretBytes = map[string]int{"SHA1": 20, "SHA256": 32, "SHA512": 64}

// NewCredential draws a credential: a handle, of which the caller finds out whether it
// was given before, and a sealed secret.
func (p *PaymentCodes) NewCredential() (authzstore.Credential, error) {
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(HandleDigits), nil)
	number, err := rand.Int(rand.Reader, most)
	if err != nil {
		return authzstore.Credential{}, err
	}
	handle := fmt.Sprintf("%0*d", HandleDigits, number)
	secret := make(Secret, secretBytes[p.cfg.Algorithm])
	rand.Read(secret) // never fails
	return authzstore.Credential{
		Handle: handle, Sealed: p.cfg.Sealer.Seal(handle, secret),
		Digits: p.cfg.Digits, PeriodSeconds: p.cfg.PeriodSeconds, Algorithm: p.cfg.Algorithm,
	}, nil
}

// Parameters opens a credential for the delegate's device. ErrSealed if it cannot be
// opened, or the rule that it breaks.
func (p *PaymentCodes) Parameters(c authzstore.Credential) (Parameters, error) {
	secret, err := p.cfg.Sealer.Open(c.Handle, c.Sealed)
	if err != nil {
		return Parameters{}, fmt.Errorf("the credential of the grant %q: %w", c.Grant, err)
	}
	parameters := Parameters{
		Issuer: p.cfg.Issuer, Prefix: p.cfg.Prefix, Handle: c.Handle, Secret: secret,
		Digits: c.Digits, PeriodSeconds: c.PeriodSeconds, Algorithm: c.Algorithm,
	}
	return parameters, parameters.check()
}

// parse splits a code. What has not the form of one has no handle and no password.
func (p *PaymentCodes) parse(code string) (handle, password string) {
	rest, ours := strings.CutPrefix(code, p.cfg.Prefix)
	if !ours || !onlyDigits(rest) || len(rest) < HandleDigits+MinDigits || len(rest) > HandleDigits+MaxDigits {
		return "", ""
	}
	return rest[:HandleDigits], rest[HandleDigits:]
}

// Lead returns the grant of the credential with the code's handle, also when another
// took its place or the grant is over: the record then says whose code failed.
func (p *PaymentCodes) Lead(r authzstore.Reader, _ call.Call, code string) (grant string, err error) {
	handle, _ := p.parse(code)
	if handle == "" {
		return "", nil
	}
	c, _, err := r.Credential(handle)
	return c.Grant, err
}

// thing is what a right code uses a step of.
func thing(handle string) string { return "code/" + handle }

// callerBudget and handleBudget name what a caller has for wrong codes.
func callerBudget(caller authzstore.Identity) string {
	return authzstore.SenderBudget(PaymentCode, caller)
}

func handleBudget(caller authzstore.Identity, handle string) string {
	return thing(handle) + "/" + callerBudget(caller)
}

// Refs declares the caller's budget, and all that is kept under the code's handle. The
// credential is Exclusive because its first use is noted.
func (p *PaymentCodes) Refs(about About, code string) []kv.Ref {
	refs := []kv.Ref{authzstore.AttemptsRef(callerBudget(about.Identity))}
	if handle, _ := p.parse(code); handle != "" {
		refs = append(refs, authzstore.CredentialRef(handle, kv.Exclusive), authzstore.UseRef(thing(handle)),
			authzstore.AttemptsRef(handleBudget(about.Identity, handle)))
	}
	return refs
}

var keyStepAge = policy.NewKey("step_age")

// Check compares the code with those of this step and of the one before, both in any
// case, and against nobody's credential where there is none. The policy is told
// step_age of a code that matches: how many steps ago it was made.
func (p *PaymentCodes) Check(tx *authzstore.Tx, about About, code string) (Finding, error) {
	handle, password := p.parse(code)
	budgets, failures, err := p.budgets(tx, about.Identity, handle)
	if err != nil {
		return Finding{}, err
	}
	credential, inForce := p.nobodys, false
	if handle != "" {
		found, known, err := tx.Credential(handle)
		if err != nil {
			return Finding{}, err
		}
		// Before they were fetched nobody has the parameters.
		if known && !found.Ended && found.FetchedBy != "" {
			credential, inForce = found, true
		}
	}
	parameters, err := p.Parameters(credential)
	if err != nil {
		return Finding{}, err
	}
	now := parameters.Step(tx.Now())
	age, right, err := parameters.match(password, now)
	if err != nil {
		return Finding{}, err
	}
	f := Finding{UsedWhenDenied: true, Budgets: budgets, Failures: failures}
	if step := now - age; right && inForce && step > 0 {
		f.Matched, f.Thing, f.Step = true, thing(handle), step
		f.Facts = []policy.Member{{Key: keyStepAge, Value: policy.Int(age)}}
	}
	return f, nil
}

// match tells whether a password is that of the step now, age 0, or of the one before,
// age 1. It takes the same time for each, and for neither.
func (p Parameters) match(password string, now int64) (age int64, right bool, err error) {
	current, err := p.password(now)
	if err != nil {
		return 0, false, err
	}
	last, err := p.password(max(0, now-1))
	if err != nil {
		return 0, false, err
	}
	isCurrent := subtle.ConstantTimeCompare([]byte(current), []byte(password))
	isLast := subtle.ConstantTimeCompare([]byte(last), []byte(password)) & (1 - isCurrent)
	return int64(isLast), isCurrent|isLast == 1, nil
}

// budgets are what the caller has for wrong codes, and the counter of everybody's. A
// code past the caller's own budget does not count there.
func (p *PaymentCodes) budgets(tx *authzstore.Tx, caller authzstore.Identity, handle string) (budgets []Budget, failures string, err error) {
	hour := tx.Now() / hourNanos
	var overall int64
	for _, h := range []int64{hour - 1, hour} {
		failed, err := tx.Counted(failuresIn(h))
		if err != nil {
			return nil, "", err
		}
		overall += failed
	}
	tighten := func(a authzstore.Allowance) authzstore.Allowance {
		if overall >= p.cfg.OverallFailures {
			a.Max = min(a.Max, max(tightest, a.Max/tightenedBy))
		}
		return a
	}
	own := Budget{callerBudget(caller), tighten(p.cfg.MerchantAllowance)}
	left, err := tx.AttemptsLeft(own.Name, own.Allowance)
	if err != nil {
		return nil, "", err
	}
	if left > 0 {
		failures = failuresIn(hour)
	}
	budgets = []Budget{own}
	if handle != "" {
		budgets = append(budgets, Budget{handleBudget(caller, handle), tighten(p.cfg.HandleAllowance)})
	}
	return budgets, failures, nil
}

// failuresIn names the counter of everybody's wrong codes in an hour of the clock.
func failuresIn(hour int64) string { return PaymentCode + "/failures/" + strconv.FormatInt(hour, 10) }
