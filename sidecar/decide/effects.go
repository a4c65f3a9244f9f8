package decide

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// errContradiction: the policy wants what must not be. It is a defect of the
// policy, never an allow.
var errContradiction = errors.New("the policy contradicts the call or the store")

func contradiction(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errContradiction}, args...)...)
}

// effected is what a verdict came to.
type effected struct {
	// execution is what an allow lets the service behind Envoy do, nil where that is
	// nothing that must be done as it was decided.
	execution *Execution
	challenge *ChallengeOffer // that a denial asks for, nil for none
	// intent is the one that the call came to be about: that it opened, or names, or
	// alone advanced; nil for none.
	intent *authzstore.Intent
	opened bool
}

// with adds what came of the verdict.
func (d Decision) with(done effected) Decision {
	d.Execution, d.Challenge = done.execution, done.challenge
	if d.Outcome == Allow && done.intent != nil {
		d.IntentID = done.intent.ID
	}
	return d
}

// carryOut does what the verdict wants done, once it was held to the call, and what
// the call itself does if it is allowed. tx is nil for a call that needs no store: it
// has nothing to write.
func (ck *check) carryOut(tx *authzstore.Tx, f Facts, v policy.Decision) (done effected, err error) {
	if err := ck.claim(f).hold(v); err != nil {
		return effected{}, err
	}
	if v.Allow {
		if err := ck.mayPass(f); err != nil {
			return effected{}, err
		}
	}
	done, err = ck.effects(tx, f, v)
	if err != nil {
		return effected{}, refusedByStore(err)
	}
	if v.Allow {
		done.execution, err = ck.allowed(tx, f, v, done)
	}
	return done, err
}

// effects carries out all effects but reservations: intents first, because messages name
// them, and messages last. A denial tells nobody of a call that came when no attempt was
// left for its evidence: what costs its sender nothing must not use up what a terminal may
// be sent in an hour.
func (ck *check) effects(tx *authzstore.Tx, f Facts, v policy.Decision) (done effected, err error) {
	if done.intent, done.opened, err = ck.effectsOnIntents(tx, f, v.Effects); err != nil {
		return effected{}, err
	}
	for _, effect := range v.Effects {
		if e, ok := effect.(policy.IssueChallenge); ok {
			if done.challenge, err = ck.ask(tx, f, e, done.intent); err != nil {
				return effected{}, err
			}
		}
	}
	if done.challenge == nil {
		if err := ck.endChallenge(tx, f); err != nil {
			return effected{}, err
		}
	}
	if ck.lockedOut && !v.Allow {
		return done, nil // who guesses on does not fill the terminals of others
	}
	for _, effect := range v.Effects {
		if e, ok := effect.(policy.Notify); ok {
			err := ck.notify(tx, f, e, done)
			if errors.Is(err, authzstore.ErrTooManyMessages) && !v.Allow && !ck.isOf(f, f.devices[e.Terminal].Account) {
				continue // it is denied all the same, and the caller is not to learn of it
			}
			if err != nil {
				return effected{}, err
			}
		}
	}
	return done, nil
}

// allowed does what an allow is for: a payment, a built-in operation, or the intent that
// it opened.
func (ck *check) allowed(tx *authzstore.Tx, f Facts, v policy.Decision, done effected) (*Execution, error) {
	if ck.call.Route.Does != "" {
		return ck.doBuiltIn(tx, f, done)
	}
	for _, effect := range v.Effects {
		if e, ok := effect.(policy.Reserve); ok {
			return ck.reserve(tx, e, done)
		}
	}
	if done.opened && ck.call.Route.Upstream.Audience != "" {
		return ck.execution(done.intent), nil
	}
	return nil, nil
}

// reserveRefs declares what a reservation touches, of each account that may pay.
func (ck *check) reserveRefs(f Facts) []kv.Ref {
	if ck.call.Route.Does != "" {
		return nil
	}
	var refs []kv.Ref
	if f.Account != nil && (ck.mayWrite(call.FactAccount) || ck.mayWrite(call.FactGrant)) {
		r := authzstore.Reservation{ID: ck.reservationID, Account: f.Account.ID}
		if f.Grant != nil {
			r.Grant = f.Grant.ID
		}
		refs = authzstore.ReserveRefs(r)
	}
	if f.IntentAccount != nil && ck.mayWrite(call.FactIntentAccount) {
		refs = append(refs, authzstore.ReserveRefs(authzstore.Reservation{ID: ck.reservationID, Account: f.IntentAccount.ID})...)
	}
	return refs
}

func (ck *check) reserve(tx *authzstore.Tx, e policy.Reserve, done effected) (*Execution, error) {
	r := authzstore.Reservation{
		ID:             ck.reservationID,
		Account:        e.Account,
		Grant:          e.Grant,
		Payee:          e.Payee,
		AmountMinor:    e.AmountMinor,
		Currency:       e.Currency,
		ExpiresAtNanos: tx.Now() + ck.call.Route.Upstream.Expires.Nanoseconds(),
	}
	if err := tx.ReserveWithinLimits(r); err != nil {
		return nil, refusedByStore(err)
	}
	return ck.execution(done.intent).paying(r), nil
}

// execution is what an allow lets the service behind Envoy do, about an intent if there
// is one.
func (ck *check) execution(about *authzstore.Intent) *Execution {
	e := &Execution{
		Audience:  ck.call.Route.Upstream.Audience,
		Identity:  ck.call.Identity,
		System:    ck.call.Route.System,
		Operation: ck.call.Route.Operation,
	}
	if about != nil {
		e.Intent, e.Account = about.ID, about.Account
		e.Payee, e.Currency, e.AmountMinor = about.Payee, about.Currency, about.AmountMinor
	}
	return e
}

// paying adds the reservation.
func (e *Execution) paying(r authzstore.Reservation) *Execution {
	e.Account, e.Grant, e.Payee, e.Currency, e.AmountMinor, e.ReservationID = r.Account, r.Grant, r.Payee, r.Currency, r.AmountMinor, r.ID
	return e
}

// What a call is refused for because too much was asked, sent or opened already. It may
// come again under its key.
var (
	challengesOverMaximum = throttled("challenges_over_maximum", "The people of this account were asked too often. Try again later.")
	messagesOverMaximum   = throttled("messages_over_maximum", "A terminal of this account was sent too many messages. Try again later.")
	intentsOverMaximum    = throttled("intents_over_maximum", "Too much is open on this account already. Try again when some of it is done.")
	codesOverMaximum      = throttled("codes_over_maximum", "This account has as many codes agreed in advance as it may. Try again when one was used, or has expired.")
)

func throttled(code, message string) *call.Refusal {
	return &call.Refusal{Status: http.StatusTooManyRequests, Code: code, Message: message}
}

// overMaximum are the store's bounds on what is asked, and how a call is refused for
// each.
var overMaximum = []struct {
	err     error
	refusal *call.Refusal
}{
	{authzstore.ErrTooManyStarts, challengesOverMaximum},
	{authzstore.ErrTooManyMessages, messagesOverMaximum},
	{authzstore.ErrTooManyIntents, intentsOverMaximum},
	{authzstore.ErrTooManyCodes, codesOverMaximum},
}

// contradictions are what the store refuses though the policy allows it, beside a
// payment over a limit.
var contradictions = []error{
	authzstore.ErrFrozen, authzstore.ErrState, authzstore.ErrUnknownID, authzstore.ErrInvalid, authzstore.ErrUsed,
	authzstore.ErrTooManyDelegates, authzstore.ErrTooManySteps,
}

// refusedByStore is a contradiction where a setter says that what the policy wants
// must not be, and a refusal of the call where there is too much of it; any other error
// stays.
func refusedByStore(err error) error {
	for _, over := range overMaximum {
		if errors.Is(err, over.err) {
			return over.refusal
		}
	}
	_, overLimit := errors.AsType[*authzstore.OverLimitError](err)
	for _, refusal := range contradictions {
		if overLimit || errors.Is(err, refusal) {
			return contradiction("the store refuses what the policy wants: %s", withoutValues(err))
		}
	}
	return err
}
