package authzstore

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Grant lets a second user, the delegate, pay from an account within terms.
type Grant struct {
	ID      string `cbor:"1,keyasint" json:"id"`      // grt_…
	Account string `cbor:"2,keyasint" json:"account"` // acc_…
	// Owner is the account's, as it was when the grant was offered.
	Owner    Identity   `cbor:"3,keyasint" json:"owner"`
	Delegate Identity   `cbor:"4,keyasint" json:"delegate"`
	State    GrantState `cbor:"5,keyasint" json:"state"`
	Terms    Terms      `cbor:"6,keyasint" json:"terms"`
	// When it was offered, accepted, last changed (any of its states and terms), and
	// closed; 0: not yet.
	OfferedAtNanos  int64 `cbor:"7,keyasint" json:"offered_at_ns"`
	AcceptedAtNanos int64 `cbor:"8,keyasint,omitempty" json:"accepted_at_ns,omitempty"`
	ChangedAtNanos  int64 `cbor:"9,keyasint,omitempty" json:"changed_at_ns,omitempty"`
	ClosedAtNanos   int64 `cbor:"10,keyasint,omitempty" json:"closed_at_ns,omitempty"`
	// Raises are what changes for more money replaced, newest last.
	Raises []Raise `cbor:"11,keyasint,omitempty" json:"raises,omitempty"`
	// Handle is that of the credential in force; empty where there is none.
	Handle string `cbor:"12,keyasint,omitempty" json:"handle,omitempty"`
}

// GrantState says how far a grant has come.
type GrantState string

// The states. Offered, active and frozen grants are open; the others are final.
const (
	GrantOffered  GrantState = "offered"  // waits for the delegate
	GrantActive   GrantState = "active"   // pays
	GrantFrozen   GrantState = "frozen"   // was active, and can be again
	GrantDeclined GrantState = "declined" // by the delegate
	GrantRevoked  GrantState = "revoked"  // by the owner
	GrantEnded    GrantState = "ended"    // given up by the delegate
)

// Open tells whether the grant can still change.
func (g Grant) Open() bool {
	return g.State == GrantOffered || g.State == GrantActive || g.State == GrantFrozen
}

// Accepted tells whether the delegate ever accepted the grant.
func (g Grant) Accepted() bool { return g.AcceptedAtNanos != 0 }

// cools tells whether the grant is in the time after its acceptance in which it pays
// less.
func (g Grant) cools(nowNanos int64) bool {
	_, cools := g.Terms.Cooling.Remaining(Usage{}, g.AcceptedAtNanos, nowNanos)
	return g.Accepted() && cools
}

// A Raise is what a change of an accepted grant replaced that allowed less: less money,
// or none without the owner's approval.
type Raise struct {
	AtNanos         int64   `cbor:"1,keyasint" json:"at_ns"`
	MaxPaymentMinor int64   `cbor:"2,keyasint" json:"max_payment_minor"`
	Limits          []Limit `cbor:"3,keyasint" json:"limits"`
	Delegation      string  `cbor:"4,keyasint" json:"delegation"`
}

const (
	grantVersion = 1
	grantPrefix  = "grant/"

	// Index records granted/ACCOUNT/GRANT and delegated/DELEGATE/GRANT stand for
	// each grant, open or not. A delegate stands there as a hash.
	grantedPrefix   = "granted/"
	delegatedPrefix = "delegated/"

	maxRaises = 8
	// maxRaisedLimits is how many limits one raise holds to, those of folded ones
	// among them: enough for who raises what there is, an end for who gives limits new
	// names again and again.
	maxRaisedLimits = 4 * maxLimits
)

func (g Grant) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: grant %s "+format, append([]any{ErrInvalid, g.ID}, args...)...)
	}
	if err := checkID("grant", "grt", g.ID); err != nil {
		return err
	}
	if err := checkID("account", "acc", g.Account); err != nil {
		return err
	}
	if err := g.Owner.check(); err != nil {
		return err
	}
	if err := g.Delegate.check(); err != nil {
		return err
	}
	if err := g.Terms.check(); err != nil {
		return err
	}
	accepted, closed := false, false
	switch g.State {
	case GrantOffered:
	case GrantActive, GrantFrozen:
		accepted = true
	case GrantDeclined:
		closed = true
	case GrantRevoked:
		accepted, closed = g.Accepted(), true
	case GrantEnded:
		accepted, closed = true, true
	default:
		return bad("is %q", g.State)
	}
	switch {
	case g.Delegate.OnBehalfOf != "":
		return bad("has a delegate who acts for another")
	case g.Owner.Issuer == g.Delegate.Issuer && g.Owner.Subject == g.Delegate.Subject:
		return bad("has its owner as delegate")
	case accepted != g.Accepted() || closed != (g.ClosedAtNanos != 0):
		return bad("is %s, accepted at %d and closed at %d", g.State, g.AcceptedAtNanos, g.ClosedAtNanos)
	case g.Handle != "" && !handleForm.MatchString(g.Handle), g.Handle != "" && (!accepted || closed):
		return bad("is %s with the handle %q", g.State, g.Handle)
	case len(g.Raises) > maxRaises:
		return bad("has %d raises", len(g.Raises))
	}
	for _, r := range g.Raises {
		if len(r.Limits) > maxRaisedLimits {
			return bad("is held to %d limits that it had, at most %d", len(r.Limits), maxRaisedLimits)
		}
	}
	return nil
}

// GrantRef declares a grant.
func GrantRef(id string, mode kv.Mode) kv.Ref { return kv.Ref{Key: grantPrefix + id, Mode: mode} }

// GrantRefs declares what setters of a grant touch, g as a snapshot has it: the
// grant, the delegates of its account, and its credential in force. AcceptGrant
// and IssueCredential touch the new credential besides ([CredentialRef]). Where the
// grant has another credential by then, what is declared is not enough
// (kv.ErrUndeclared), and the caller looks again.
func GrantRefs(g Grant) []kv.Ref {
	refs := []kv.Ref{GrantRef(g.ID, kv.Exclusive), exclusive(delegatesPrefix + g.Account)}
	if g.Handle != "" {
		refs = append(refs, CredentialRef(g.Handle, kv.Exclusive))
	}
	return refs
}

// OfferRefs declares what OfferGrant touches.
func OfferRefs(g Grant) []kv.Ref {
	return append(GrantRefs(g), AccountRef(g.Account, kv.Shared), exclusive(grantedKey(g)), exclusive(delegatedKey(g)))
}

func grantedKey(g Grant) string { return grantedPrefix + g.Account + "/" + g.ID }

func delegatedKey(g Grant) string { return delegatedOf(g.Delegate) + g.ID }

func delegatedOf(delegate Identity) string {
	return delegatedPrefix + hashed(delegate.parts()...) + "/"
}

// Grant returns a grant, and whether it exists.
func (r Reader) Grant(id string) (Grant, bool, error) {
	return getOwn(r, grantPrefix, id, grantVersion, func(g Grant) string { return g.ID })
}

// Grants lists all grants, by ID, those after the one given ("": from the first);
// most is 1 to MaxPage. It returns what to go on after, "" where no other follows.
func (s Snapshot) Grants(after string, most int) (grants []Grant, next string, err error) {
	return page[Grant](s, grantPrefix, grantVersion, after, most)
}

// GrantsFrom lists the grants from an account, open or not, as Grants does.
func (s Snapshot) GrantsFrom(account, after string, most int) (grants []Grant, next string, err error) {
	return indexed(s, grantedPrefix+account+"/", after, most, s.Grant)
}

// GrantsOf lists the grants to a delegate, open or not, as Grants does.
func (s Snapshot) GrantsOf(delegate Identity, after string, most int) (grants []Grant, next string, err error) {
	return indexed(s, delegatedOf(delegate), after, most, s.Grant)
}

// OfferGrant offers the delegate of g to pay from g's account on g's terms, under
// g.ID, which is new. The rest of g is filled in. ErrUnknownID without an account;
// ErrInvalid, also for a delegate who owns the account, and for a currency not the
// account's; ErrTooManyDelegates.
func (tx *Tx) OfferGrant(g Grant) error {
	account, ok, err := tx.Account(g.Account)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%w: account %s", ErrUnknownID, g.Account)
	case g.Terms.Currency != account.Currency:
		return fmt.Errorf("%w: a grant in %s from an account in %s", ErrInvalid, g.Terms.Currency, account.Currency)
	}
	if _, exists, err := tx.Grant(g.ID); err != nil || exists {
		return orElse(err, fmt.Errorf("%w: grant %s exists", ErrInvalid, g.ID))
	}
	g.Terms.Limits = withKinds(g.Terms.Limits)
	offered := Grant{
		ID: g.ID, Account: g.Account, Owner: account.Owner, Delegate: g.Delegate,
		State: GrantOffered, Terms: g.Terms, OfferedAtNanos: tx.Now(),
	}
	if err := tx.putGrant(offered); err != nil {
		return err
	}
	if err := tx.addDelegate(g.Account, g.ID); err != nil {
		return err
	}
	if err := put(tx, grantedKey(g), indexVersion, indexMark{}); err != nil {
		return err
	}
	return put(tx, delegatedKey(g), indexVersion, indexMark{})
}

// AcceptGrant makes an offered grant active, with the credential that its delegate
// will pay by. c's handle is new, of the rest Grant, IssuedAtNanos and what became
// of it are filled in. ErrUnknownID, a *StateError, ErrInvalid, or ErrUsed for a
// handle that was given before: draw another one.
func (tx *Tx) AcceptGrant(id string, c Credential) error {
	g, err := tx.grantIn(id, GrantOffered)
	if err != nil {
		return err
	}
	if err := tx.issue(&g, c); err != nil {
		return err
	}
	g.State, g.AcceptedAtNanos = GrantActive, tx.Now()
	return tx.putGrant(g)
}

// DeclineGrant closes an offered grant for good. ErrUnknownID or a *StateError.
func (tx *Tx) DeclineGrant(id string) error { return tx.closeGrant(id, GrantDeclined, GrantOffered) }

// RevokeGrant closes an open grant for good, and ends its credential. What its
// payments have reserved can still be resolved. ErrUnknownID or a *StateError.
func (tx *Tx) RevokeGrant(id string) error {
	return tx.closeGrant(id, GrantRevoked, GrantOffered, GrantActive, GrantFrozen)
}

// EndGrant closes an accepted grant for good because the delegate gives it up, as
// RevokeGrant does. ErrUnknownID or a *StateError.
func (tx *Tx) EndGrant(id string) error {
	return tx.closeGrant(id, GrantEnded, GrantActive, GrantFrozen)
}

func (tx *Tx) closeGrant(id string, to GrantState, from ...GrantState) error {
	g, err := tx.grantIn(id, from...)
	if err != nil {
		return err
	}
	if err := tx.endCredential(&g); err != nil {
		return err
	}
	g.State, g.ClosedAtNanos = to, tx.Now()
	if err := tx.putGrant(g); err != nil {
		return err
	}
	return tx.removeDelegate(g.Account, g.ID)
}

// FreezeGrant stops an active grant until it is unfrozen. ErrUnknownID or a
// *StateError.
func (tx *Tx) FreezeGrant(id string) error { return tx.moveGrant(id, GrantActive, GrantFrozen) }

// UnfreezeGrant lets a frozen grant pay again. ErrUnknownID or a *StateError.
func (tx *Tx) UnfreezeGrant(id string) error { return tx.moveGrant(id, GrantFrozen, GrantActive) }

func (tx *Tx) moveGrant(id string, from, to GrantState) error {
	g, err := tx.grantIn(id, from)
	if err != nil {
		return err
	}
	g.State = to
	return tx.putGrant(g)
}

// ChangeGrant gives an open grant other terms, from now on: what was spent stays
// spent, and a limit below it has nothing left. The currency stays, and so does
// the period of a limit that keeps its name; cooling is not loosened while it lasts:
// it is against whoever has the owner's phone. The credential in force ends: nothing
// is paid before IssueCredential. ErrUnknownID, a *StateError, or ErrInvalid, also where
// the grant had too many limits by now.
func (tx *Tx) ChangeGrant(id string, terms Terms) error {
	g, err := tx.grantIn(id, GrantOffered, GrantActive, GrantFrozen)
	if err != nil {
		return err
	}
	terms.Limits = withKinds(terms.Limits)
	if err := terms.check(); err != nil {
		return err
	}
	if err := g.Terms.changeTo(terms); err != nil {
		return err
	}
	if g.cools(tx.Now()) && terms.Cooling.looserThan(g.Terms.Cooling) {
		return fmt.Errorf("%w: a new grant cools for as long, and by as little, as was accepted", ErrInvalid)
	}
	if err := tx.endCredential(&g); err != nil {
		return err
	}
	if g.Accepted() && g.Terms.raisedBy(terms) {
		g.Raises = withRaise(g.Raises, Raise{tx.Now(), g.Terms.MaxPaymentMinor, g.Terms.Limits, g.Terms.Delegation})
	}
	g.Terms = terms
	return tx.putGrant(g)
}

// IssueCredential gives an active or frozen grant another credential, as
// AcceptGrant does, and ends the one in force. ErrUnknownID, a *StateError,
// ErrInvalid, or ErrUsed for a handle that was given before.
func (tx *Tx) IssueCredential(id string, c Credential) error {
	g, err := tx.grantIn(id, GrantActive, GrantFrozen)
	if err != nil {
		return err
	}
	if err := tx.endCredential(&g); err != nil {
		return err
	}
	if err := tx.issue(&g, c); err != nil {
		return err
	}
	return tx.putGrant(g)
}

// grantIn returns a grant that is in one of the states.
func (tx *Tx) grantIn(id string, states ...GrantState) (Grant, error) {
	g, ok, err := tx.Grant(id)
	switch {
	case err != nil:
		return Grant{}, err
	case !ok:
		return Grant{}, fmt.Errorf("%w: grant %s", ErrUnknownID, id)
	case !slices.Contains(states, g.State):
		return Grant{}, &StateError{"grant", string(g.State)}
	}
	return g, nil
}

func (tx *Tx) putGrant(g Grant) error {
	g.ChangedAtNanos = tx.Now()
	return put(tx, grantPrefix+g.ID, grantVersion, g)
}

// withRaise adds a raise. Where that is one too many, the oldest is folded into
// the next, which then has the tighter of both their bounds.
func withRaise(raises []Raise, r Raise) []Raise {
	raises = append(slices.Clone(raises), r)
	if len(raises) <= maxRaises {
		return raises
	}
	oldest, next := raises[0], &raises[1]
	next.MaxPaymentMinor = min(next.MaxPaymentMinor, oldest.MaxPaymentMinor)
	if oldest.Delegation == DelegationPartial {
		next.Delegation = DelegationPartial
	}
	next.Limits = slices.Clone(next.Limits)
	for _, l := range oldest.Limits {
		i := slices.IndexFunc(next.Limits, func(n Limit) bool { return n.Name == l.Name && n.Period == l.Period })
		if i < 0 {
			next.Limits = append(next.Limits, l)
			continue
		}
		next.Limits[i].MaxAmountMinor = tighter(next.Limits[i].MaxAmountMinor, l.MaxAmountMinor)
		next.Limits[i].MaxCount = tighter(next.Limits[i].MaxCount, l.MaxCount)
	}
	return raises[1:]
}

// tighter returns the tighter of two bounds, of which 0 is none.
func tighter(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
