package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A GrantOffer is what is offered to a delegate on behalf of an account's owner.
type GrantOffer struct {
	Account  string              `json:"account" pattern:"^acc_[A-Za-z0-9_-]+$" patternDescription:"acc_ and letters, digits, _ or -" maxLength:"64"`
	Delegate authzstore.Identity `json:"delegate"`
	Terms    authzstore.Terms    `json:"terms"`
}

// A Grant is a grant as its owner and operators see it.
type Grant struct {
	ID    string                `json:"id"`
	State authzstore.GrantState `json:"state" enum:"offered,active,frozen,declined,revoked,ended"`
	Owner authzstore.Identity   `json:"owner"`
	GrantOffer
	OfferedAtNanos  int64              `json:"offered_at_ns"`
	AcceptedAtNanos int64              `json:"accepted_at_ns,omitempty"`
	ChangedAtNanos  int64              `json:"changed_at_ns,omitempty"`
	ClosedAtNanos   int64              `json:"closed_at_ns,omitempty"`
	Raises          []authzstore.Raise `json:"raises" doc:"what changes for more money, or for payments without approval, replaced, newest last"`
	PaysByCode      bool               `json:"pays_by_code" doc:"whether a credential is in force"`
	Usage           Sums               `json:"usage" doc:"all its reservations"`
	Remaining       []Room             `json:"remaining" doc:"what its limits still allow now, in their order, and while it cools that: cooling"`
}

func showGrant(r authzstore.Reader, g authzstore.Grant, nowNanos int64) (Grant, error) {
	usage, err := r.Usage(g.ID)
	if g.Raises == nil {
		g.Raises = []authzstore.Raise{}
	}
	shown := Grant{
		ID: g.ID, State: g.State, Owner: g.Owner,
		GrantOffer:     GrantOffer{g.Account, g.Delegate, g.Terms},
		OfferedAtNanos: g.OfferedAtNanos, AcceptedAtNanos: g.AcceptedAtNanos,
		ChangedAtNanos: g.ChangedAtNanos, ClosedAtNanos: g.ClosedAtNanos,
		Raises:     g.Raises,
		PaysByCode: g.Handle != "",
		Usage:      sums(usage),
	}
	consent := g.AcceptedAtNanos
	if !g.Accepted() {
		consent = nowNanos // as if it were accepted now
	}
	shown.Remaining = rooms(g.Terms.Limits, usage, consent, nowNanos)
	if room, cools := g.Terms.Cooling.Remaining(usage, consent, nowNanos); cools {
		shown.Remaining = append(shown.Remaining, newRoom(authzstore.CoolingLimit, room))
	}
	return shown, err
}

// A GrantPath is in the path of what is about one.
type GrantPath struct {
	ID string `path:"id" pattern:"^grt_[A-Za-z0-9_-]+$" patternDescription:"grt_ and letters, digits, _ or -" maxLength:"64"`
}

type grantOutput struct{ Body Grant }

// A GrantQuery says which grants a list has.
type GrantQuery struct {
	PageQuery
	Account string `query:"account" pattern:"^acc_[A-Za-z0-9_-]+$" maxLength:"64" doc:"only from this account"`
	Kind    string `query:"delegate_kind" maxLength:"256" doc:"only to the delegate of this kind, issuer and subject"`
	Issuer  string `query:"delegate_issuer" maxLength:"256"`
	Subject string `query:"delegate_subject" maxLength:"256"`
	State   string `query:"state" enum:"open,offered,active,frozen,declined,revoked,ended,any" default:"any" doc:"open: offered, active and frozen"`
}

var errHalfDelegate = problem(http.StatusUnprocessableEntity, "request_invalid", "A delegate is a kind, an issuer and a subject.")

func (q GrantQuery) read(s authzstore.Snapshot) ([]authzstore.Grant, string, error) {
	delegate := authzstore.Identity{Kind: q.Kind, Issuer: q.Issuer, Subject: q.Subject}
	byDelegate := delegate != authzstore.Identity{}
	if byDelegate && (q.Kind == "" || q.Issuer == "" || q.Subject == "") {
		return nil, "", errHalfDelegate
	}
	page := s.Grants
	switch {
	case byDelegate:
		page = func(after string, most int) ([]authzstore.Grant, string, error) {
			return s.GrantsOf(delegate, after, most)
		}
	case q.Account != "":
		page = func(after string, most int) ([]authzstore.Grant, string, error) {
			return s.GrantsFrom(q.Account, after, most)
		}
	}
	return filtered(q.After, q.Limit, page, func(g authzstore.Grant) bool {
		return (q.Account == "" || q.Account == g.Account) &&
			(q.State == "any" || q.State == string(g.State) || q.State == "open" && g.Open())
	})
}

type offerInput struct {
	GrantPath
	Body GrantOffer
}

func (c *Control) registerGrants() {
	register(c, "list-grants", func(ctx context.Context, in *GrantQuery) (*pageOutput[Grant], error) {
		return list(ctx, c, in.read, showGrant)
	})
	register(c, "get-grant", func(ctx context.Context, in *GrantPath) (*grantOutput, error) { return c.getGrant(ctx, in.ID) })
	register(c, "offer-grant", c.offerGrant)
	register(c, "freeze-grant", func(ctx context.Context, in *GrantPath) (*frozenOutput[Grant], error) {
		return c.stopGrant(ctx, in.ID, authzstore.GrantFrozen, (*authzstore.Tx).FreezeGrant)
	})
	register(c, "revoke-grant", func(ctx context.Context, in *GrantPath) (*frozenOutput[Grant], error) {
		return c.stopGrant(ctx, in.ID, authzstore.GrantRevoked, (*authzstore.Tx).RevokeGrant)
	})
	register(c, "unfreeze-grant", func(ctx context.Context, in *GrantPath) (*grantOutput, error) {
		if err := c.moveGrant(ctx, in.ID, authzstore.GrantActive, (*authzstore.Tx).UnfreezeGrant); err != nil {
			return nil, err
		}
		return c.getGrant(ctx, in.ID)
	})
}

var errOtherOffer = problem(http.StatusConflict, "exists", "There is another grant with this ID.")

// offerGrant offers a grant under an ID of the caller's choice, so that a repeated
// call is known for one.
func (c *Control) offerGrant(ctx context.Context, in *offerInput) (*grantOutput, error) {
	grant := authzstore.Grant{ID: in.ID, Account: in.Body.Account, Delegate: in.Body.Delegate, Terms: in.Body.Terms}
	err := c.change(ctx, authzstore.OfferRefs(grant), func(tx *authzstore.Tx) error {
		old, exists, err := tx.Grant(in.ID)
		same := old.Account == grant.Account && old.Delegate == grant.Delegate && reflect.DeepEqual(old.Terms, grant.Terms)
		switch {
		case err != nil:
			return err
		case exists && !same:
			return errOtherOffer
		case exists:
			return nil
		}
		return tx.OfferGrant(grant)
	})
	if err != nil {
		return nil, err
	}
	return c.getGrant(ctx, in.ID)
}

func (c *Control) getGrant(ctx context.Context, id string) (*grantOutput, error) {
	g, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Grant, bool, error) { return r.Grant(id) }, showGrant)
	return &grantOutput{g}, err
}

// moveGrant leads a grant to a state where it is not in it.
func (c *Control) moveGrant(ctx context.Context, id string, to authzstore.GrantState, move func(*authzstore.Tx, string) error) error {
	return changeFrom(ctx, c,
		func(r authzstore.Reader) (authzstore.Grant, bool, error) {
			g, ok, err := r.Grant(id)
			if err == nil && !ok {
				err = authzstore.ErrUnknownID
			}
			return g, ok, err
		},
		func(g authzstore.Grant) []kv.Ref { return authzstore.GrantRefs(g) },
		func(tx *authzstore.Tx, _ authzstore.Grant, _ bool) error {
			return unlessState(string(to), move(tx, id))
		})
}

// stopGrant is moveGrant, urgently, and says what is still open.
func (c *Control) stopGrant(ctx context.Context, id string, to authzstore.GrantState, move func(*authzstore.Tx, string) error) (*frozenOutput[Grant], error) {
	if err := c.moveGrant(kv.Urgent(ctx), id, to, move); err != nil {
		return nil, err
	}
	g, err := c.getGrant(ctx, id)
	if err != nil {
		return nil, err
	}
	open, err := c.openReservations(ctx, g.Body.Account, id)
	return &frozenOutput[Grant]{Frozen[Grant]{g.Body, open}}, err
}
