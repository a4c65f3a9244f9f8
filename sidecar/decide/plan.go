package decide

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/evidence"
)

// maxPlans is how often a call is planned before it is given up: what it leads to
// changed each time between the plan and the locks.
const maxPlans = 3

// errReplan: the call leads elsewhere than planned. Nothing was written.
var errReplan = errors.New("the call leads elsewhere than planned")

// The facts that a route can name.
const (
	factAccount  = "account"
	factGrant    = "grant"
	factMerchant = "merchant"
)

// leads are what a call leads to: IDs, "" where to nothing.
type leads struct {
	account  string // that the call names, or the grant's
	grant    string
	handle   string // of the grant's credential in force
	merchant string
	// stops: the call stops payments from its caller's own account, or by a grant that
	// the caller is a party to.
	stops bool

	// The reservation that the call's key stands for, and what it takes money from.
	reservation, paidFrom, paidBy string
}

// follow returns what a call leads to, by the facts that its route names and by its
// idempotency key. A plan follows it in a snapshot, as a guess; the transaction
// follows it again under its locks.
func (ck *check) follow(r authzstore.Reader) (l leads, err error) {
	for _, e := range ck.evidence {
		if e.lead, err = e.kind.Lead(r, ck.call, e.secret); err != nil {
			return leads{}, err
		}
	}
	for _, fact := range ck.call.Route.Facts {
		switch fact.Name {
		case factAccount:
			l.account = ck.call.Text("account")
		case factGrant:
			err = ck.followGrant(r, &l)
		case factMerchant:
			var m authzstore.Merchant
			m, _, _, err = r.MerchantOf(ck.call.Identity)
			l.merchant = m.ID
		default:
			err = fmt.Errorf("%w: fact %q", errNotKnown, fact.Name)
		}
		if err != nil {
			return leads{}, err
		}
	}
	if l.stops, err = ck.stopsOwn(r, l); err != nil || ck.key == nil {
		return l, err
	}
	known, _, err := r.KeyedCall(*ck.key)
	if err != nil || known.ReservationID == "" {
		return l, err
	}
	reservation, _, err := r.Reservation(known.ReservationID)
	l.reservation, l.paidFrom, l.paidBy = known.ReservationID, reservation.Account, reservation.Grant
	return l, err
}

// stopsOwn tells whether the call stops payments that its caller may stop, whatever the
// policy will say: those are not to wait behind the payments. A stranger's call waits
// its turn.
func (ck *check) stopsOwn(r authzstore.Reader, l leads) (bool, error) {
	if !builtIns[ck.call.Route.Does].stops || l.account == "" {
		return false, nil
	}
	if account, _, err := r.Account(l.account); err != nil || account.Owner == ck.call.Identity {
		return err == nil, err
	}
	if l.grant == "" {
		return false, nil
	}
	grant, _, err := r.Grant(l.grant)
	return err == nil && grant.Delegate == ck.call.Identity, err
}

// evidenceLead is the grant that the call's evidence leads to. What leads to two grants
// leads to none.
func (ck *check) evidenceLead() string {
	found := ""
	for _, e := range ck.evidence {
		if e.lead != "" && found != "" && e.lead != found {
			return ""
		}
		if e.lead != "" {
			found = e.lead
		}
	}
	return found
}

// followGrant follows the call to a grant and its account: by the field grant, or
// where the route has none, by its evidence.
func (ck *check) followGrant(r authzstore.Reader, l *leads) (err error) {
	if _, named := ck.call.Route.Field("grant"); named {
		l.grant = ck.call.Text("grant")
	} else {
		l.grant = ck.evidenceLead()
	}
	if l.grant == "" {
		return nil
	}
	grant, _, err := r.Grant(l.grant)
	l.account, l.handle = grant.Account, grant.Handle
	return err
}

// refs declares everything that the transaction of a check touches.
func (ck *check) refs(l leads) []kv.Ref {
	var refs []kv.Ref
	if l.account != "" {
		refs = append(refs, authzstore.AccountRef(l.account, kv.Shared), authzstore.UsageRef(l.account, kv.Shared),
			authzstore.DelegatesRef(l.account, kv.Shared))
	}
	if l.grant != "" {
		refs = append(refs, authzstore.GrantRef(l.grant, kv.Shared), authzstore.UsageRef(l.grant, kv.Shared))
	}
	if l.handle != "" && len(ck.evidence) > 0 {
		refs = append(refs, authzstore.CredentialRef(l.handle, kv.Exclusive)) // perhaps a code of it is used for the first time
	}
	if ck.asksMerchant() {
		refs = append(refs, authzstore.MerchantOfRef(ck.call.Identity))
	}
	if l.merchant != "" {
		refs = append(refs, authzstore.MerchantRef(l.merchant, kv.Shared))
	}
	if l.account != "" && ck.writes() {
		refs = append(refs, ck.effectRefs(l)...)
	}
	if l.reservation != "" {
		refs = append(refs, authzstore.ReservationRef(l.reservation), authzstore.AccountRef(l.paidFrom, kv.Shared))
	}
	if l.paidBy != "" {
		refs = append(refs, authzstore.GrantRef(l.paidBy, kv.Shared))
	}
	if ck.key != nil {
		refs = append(refs, ck.key.Ref())
	}
	for _, e := range ck.evidence {
		refs = append(refs, authzstore.AttemptsRef(e.sender.Name))
		refs = append(refs, e.kind.Refs(ck.about(l), e.secret)...)
	}
	return refs
}

// about is what the call's evidence is about.
func (ck *check) about(l leads) evidence.About {
	return evidence.About{Call: ck.call, Account: l.account}
}

// writes tells whether an effect may change what the call leads to.
func (ck *check) writes() bool {
	return slices.ContainsFunc(ck.call.Route.Facts, func(f call.Fact) bool { return f.Write })
}

// changes are the entities that an effect may change, and of whose changes only so
// many are decided at once.
func (ck *check) changes(l leads) []string {
	if !ck.writes() || builtIns[ck.call.Route.Does].stops {
		return nil
	}
	return slices.DeleteFunc([]string{l.account, l.grant}, func(id string) bool { return id == "" })
}

// effectRefs declares what an effect may change.
func (ck *check) effectRefs(l leads) []kv.Ref {
	if does := ck.call.Route.Does; does != "" {
		return builtIns[does].refs(ck, l)
	}
	return authzstore.ReserveRefs(authzstore.Reservation{ID: ck.reservationID, Account: l.account, Grant: l.grant})
}

// sameLeads fails with errReplan where the call leads elsewhere than planned: then
// what it leads to is perhaps not even declared.
func (ck *check) sameLeads(r authzstore.Reader, planned leads) error {
	l, err := ck.follow(r)
	ck.moved = errors.Is(err, kv.ErrUndeclared) || err == nil && l != planned
	if ck.moved {
		return errReplan
	}
	return err
}
