package decide

import (
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// maxPlans is how often a call is planned before it is given up: what it leads to
// changed each time between the plan and the locks.
const maxPlans = 3

// errReplan: the call leads elsewhere than planned. Nothing was written.
var errReplan = errors.New("the call leads elsewhere than planned")

// A link is an entity that a call leads to: by a fact that its route names, or by
// its idempotency key.
type link struct {
	noun  string
	id    string
	write bool // an effect may change it
}

const (
	nounAccount     = "account"
	nounReservation = "reservation"
)

// factLinks returns what the facts of a call's route lead to.
func factLinks(c call.Call) ([]link, error) {
	var links []link
	for _, fact := range c.Route.Facts {
		switch fact.Name {
		case nounAccount:
			links = append(links, link{nounAccount, c.Text("account"), fact.Write})
		default:
			return nil, fmt.Errorf("%w: fact %q", errNotKnown, fact.Name)
		}
	}
	return links, nil
}

// follow returns what a call leads to. A plan follows it in a snapshot, as a
// guess; the transaction follows it again under its locks.
func (ck *check) follow(r authzstore.Reader) ([]link, error) {
	links, err := factLinks(ck.call)
	if err != nil || ck.key == nil {
		return links, err
	}
	known, _, err := r.KeyedCall(*ck.key)
	if known.ReservationID != "" {
		links = append(links, link{nounReservation, known.ReservationID, false})
	}
	return links, err
}

// refs declares everything that the transaction of a check touches.
func (ck *check) refs(links []link) []kv.Ref {
	var refs []kv.Ref
	for _, l := range links {
		switch {
		case l.noun == nounReservation:
			refs = append(refs, authzstore.ReservationRef(l.id))
		case l.write:
			refs = append(refs, authzstore.ReserveRefs(authzstore.Reservation{ID: ck.reservationID, Account: l.id})...)
		default:
			refs = append(refs, authzstore.AccountRef(l.id, kv.Shared), authzstore.UsageRef(l.id, kv.Shared))
		}
	}
	if ck.key != nil {
		refs = append(refs, ck.key.Ref())
	}
	for _, e := range ck.evidence {
		refs = append(refs, authzstore.AttemptsRef(e.sender.Name))
		refs = append(refs, e.kind.Refs(ck.call, e.secret)...)
	}
	return refs
}

// sameLinks fails with errReplan where the call leads elsewhere than planned.
func (ck *check) sameLinks(r authzstore.Reader, planned []link) error {
	links, err := ck.follow(r)
	if err != nil {
		return err
	}
	if !slices.Equal(links, planned) {
		return errReplan
	}
	return nil
}
