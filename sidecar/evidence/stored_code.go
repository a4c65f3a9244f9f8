package evidence

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pquerna/otp"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// StoredCode is what a route calls a code that was agreed in advance.
const StoredCode = call.StoredCode

// DefaultStoredCodeAllowance is what a sender has for wrong codes of one account, for
// the same reason as DefaultHandleAllowance. An account has up to
// authzstore.MaxStoredCodes codes of authzstore.StoredCodeDigits digits, so a guess is
// right once in 10^7.
var DefaultStoredCodeAllowance = authzstore.Allowance{Max: 5, WindowNanos: hourNanos}

// StoredCodesConfig of StoredCodes. Sealer is required; the zero value of everything
// else means the default of that name.
type StoredCodesConfig struct {
	Sealer *Sealer
	// Random is where secrets come from. Nil means crypto/rand.
	Random io.Reader
	// SenderAllowance is what a sender has for wrong codes of any accounts, and
	// AccountAllowance for those of one.
	SenderAllowance  authzstore.Allowance
	AccountAllowance authzstore.Allowance
}

// StoredCodes is the kind of evidence that a user agrees in advance with a terminal of
// the account, and gives to whoever acts for the user: the code stands in the request
// itself. It is good for one call about that account, as long as the terminal is bound
// as it was.
//
// As a challenge does, a code keeps a sealed secret alone, and is HOTP (RFC 4226) of it.
type StoredCodes struct {
	cfg StoredCodesConfig
	// nobodys is what is compared in place of codes that an account has not.
	nobodys authzstore.StoredCode
}

var _ Kind = (*StoredCodes)(nil)

// NewStoredCodes returns the kind, or says what is wrong with cfg.
func NewStoredCodes(cfg StoredCodesConfig) (*StoredCodes, error) {
	if cfg.Sealer == nil {
		return nil, errors.New("evidence: stored codes without a Sealer")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	cfg.SenderAllowance = cmp.Or(cfg.SenderAllowance, SenderAllowance)
	cfg.AccountAllowance = cmp.Or(cfg.AccountAllowance, DefaultStoredCodeAllowance)
	if cfg.SenderAllowance.Max < 1 || cfg.AccountAllowance.Max < 1 {
		return nil, errors.New("evidence: stored codes with an allowance below 1")
	}
	s := &StoredCodes{cfg: cfg}
	var err error
	s.nobodys, err = s.NewStoredCode(authzstore.Terminal{ID: authzstore.NewID("trm")})
	return s, err
}

// NewStoredCode draws a code for a terminal as it is bound now. The caller says what it
// is good for: its maximum, and when it expires.
func (s *StoredCodes) NewStoredCode(t authzstore.Terminal) (authzstore.StoredCode, error) {
	secret := make(Secret, MinSecretBytes)
	if _, err := io.ReadFull(s.cfg.Random, secret); err != nil {
		return authzstore.StoredCode{}, fmt.Errorf("evidence: the secret of a stored code: %w", err)
	}
	c := authzstore.StoredCode{Terminal: t.ID, TerminalBoundAtNanos: t.BoundAtNanos, Digits: authzstore.StoredCodeDigits}
	c.Sealed = s.cfg.Sealer.Seal(sealedFor(c), secret)
	return c, nil
}

// sealedFor is what the secret of a code is sealed for: the terminal as it was bound,
// and so its account.
func sealedFor(c authzstore.StoredCode) string {
	return fmt.Sprintf("%s/%s/%d", StoredCode, c.Terminal, c.TerminalBoundAtNanos)
}

// Code returns a stored code, for the message to its terminal alone. ErrSealed if its
// secret does not open.
func (s *StoredCodes) Code(c authzstore.StoredCode) (string, error) {
	secret, err := s.cfg.Sealer.Open(sealedFor(c), c.Sealed)
	if err != nil {
		return "", fmt.Errorf("the stored code of the terminal %q: %w", c.Terminal, err)
	}
	code, err := oneTimePassword(secret, 0, c.Digits, otp.AlgorithmSHA1)
	if err != nil {
		return "", fmt.Errorf("evidence: the stored code of the terminal %q cannot be made", c.Terminal)
	}
	return code, nil
}

// Lead returns "": a stored code leads to no grant. Which account it should be of is
// what the call says.
func (s *StoredCodes) Lead(authzstore.Reader, call.Call, string) (grant string, err error) {
	return "", nil
}

// budgets are what the sender has for wrong codes.
func (s *StoredCodes) budgets(about About) []Budget {
	own := authzstore.SenderBudget(StoredCode, about.Identity)
	budgets := []Budget{{own, s.cfg.SenderAllowance}}
	if about.Account != "" {
		budgets = append(budgets, Budget{StoredCode + "/" + about.Account + "/" + own, s.cfg.AccountAllowance})
	}
	return budgets
}

// Refs declares the sender's budgets, the account's codes with the use of each, and the
// account's terminals.
func (s *StoredCodes) Refs(about About, _ string) (refs []kv.Ref) {
	for _, b := range s.budgets(about) {
		refs = append(refs, authzstore.AttemptsRef(b.Name))
	}
	if about.Account == "" {
		return refs
	}
	refs = append(refs, authzstore.StoredCodesRef(about.Account, kv.Shared))
	for slot := range authzstore.MaxStoredCodes {
		refs = append(refs, authzstore.UseRef(authzstore.StoredCodeThing(about.Account, slot)))
	}
	for _, terminal := range about.Terminals {
		refs = append(refs, authzstore.TerminalRef(terminal, kv.Shared))
	}
	return refs
}

var (
	keyTerminal       = policy.NewKey("terminal")
	keyMaxAmountMinor = policy.NewKey("max_amount_minor")
	keyCurrency       = policy.NewKey("currency")
)

// Check compares the code with as many as an account can have, whether it has them or
// not and whether they are still good or not. Whether one was used before is asked of
// its Thing. The policy is told whose code matched and its maximum, which it has to
// keep to.
func (s *StoredCodes) Check(tx *authzstore.Tx, about About, code string) (Finding, error) {
	f := Finding{Budgets: s.budgets(about)}
	codes, err := s.codes(tx, about)
	if err != nil {
		return Finding{}, err
	}
	matched := -1
	for i, c := range codes {
		right, err := s.Code(c.StoredCode)
		if err != nil {
			return Finding{}, err
		}
		same := subtle.ConstantTimeCompare(padded(right), padded(code))
		matched = subtle.ConstantTimeSelect(same&c.good, i, matched)
	}
	if matched < 0 {
		return f, nil
	}
	c := codes[matched]
	f.Matched, f.Thing, f.Step = true, authzstore.StoredCodeThing(about.Account, c.Slot), c.Seq
	f.Facts = []policy.Member{{Key: keyTerminal, Value: policy.String(c.Terminal)}}
	if c.MaxAmountMinor > 0 {
		f.Facts = append(f.Facts, policy.Member{Key: keyMaxAmountMinor, Value: policy.Int(c.MaxAmountMinor)})
	}
	if c.Currency != "" {
		f.Facts = append(f.Facts, policy.Member{Key: keyCurrency, Value: policy.String(c.Currency)})
	}
	return f, nil
}

// A comparedCode is a stored code, or nobody's, and whether it is good: 1 or 0.
type comparedCode struct {
	authzstore.StoredCode
	good int
}

// codes are the account's, with nobody's where it has none. Good ones have not expired,
// and their terminals are bound as they were when the codes were made.
func (s *StoredCodes) codes(tx *authzstore.Tx, about About) (codes [authzstore.MaxStoredCodes]comparedCode, err error) {
	for i := range codes {
		codes[i].StoredCode = s.nobodys
	}
	if about.Account == "" {
		return codes, nil
	}
	stored, err := tx.StoredCodes(about.Account)
	if err != nil {
		return codes, err
	}
	var terminals []authzstore.Terminal
	for _, id := range about.Terminals {
		t, _, err := tx.Terminal(id)
		if err != nil {
			return codes, err
		}
		terminals = append(terminals, t)
	}
	for i, c := range stored.Codes[:min(len(stored.Codes), len(codes))] {
		codes[i].StoredCode = c
		bound := slices.ContainsFunc(terminals, func(t authzstore.Terminal) bool {
			return t.ID == c.Terminal && t.Account == about.Account && t.State == authzstore.TerminalBound && t.BoundAtNanos == c.TerminalBoundAtNanos
		})
		if bound && tx.Now() <= c.ExpiresAtNanos {
			codes[i].good = 1
		}
	}
	return codes, nil
}
