package api

import (
	"context"
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// An AccountTerms is what a backend says of an account. Whether it is frozen is
// not among it: a backend that writes its accounts anew must not undo a freeze.
type AccountTerms struct {
	Owner           authzstore.Identity `json:"owner" doc:"who may pay from it and grant others to"`
	Currency        string              `json:"currency" pattern:"^[A-Z]{3}$" patternDescription:"ISO 4217 code"`
	MaxPaymentMinor int64               `json:"max_payment_minor" minimum:"1" maximum:"9007199254740991" doc:"most for one payment, minor units"`
	Limits          []authzstore.Limit  `json:"limits" maxItems:"16" doc:"on everything that is paid from the account, by whatever grant"`
}

// An Account is an account as it is shown.
type Account struct {
	ID    string                  `json:"id"`
	State authzstore.AccountState `json:"state" enum:"active,frozen"`
	AccountTerms
	CreatedAtNanos int64        `json:"created_at_ns"`
	Usage          Sums         `json:"usage" doc:"all its reservations since it exists"`
	Remaining      []Room       `json:"remaining" doc:"what its limits still allow now, in their order"`
	Verification   Verification `json:"verification" doc:"whether its people can be asked for codes"`
}

// A Verification says whether the people of an account can be asked for codes.
type Verification struct {
	Locked        bool  `json:"locked"`
	FailedInARow  int64 `json:"failed_in_a_row" doc:"sets of codes that failed, of whatever challenges, without a right one in between; 5 lock the codes"`
	LockedAtNanos int64 `json:"locked_at_ns,omitempty" doc:"absent: not locked"`
}

// Sums are what the reservations of an account or a grant come to.
type Sums struct {
	PendingMinor int64 `json:"pending_minor" doc:"reserved, and pending or unknown"`
	PostedMinor  int64 `json:"posted_minor" doc:"paid, less what refunds gave back"`
	Count        int64 `json:"count" doc:"reservations that are not voided"`
}

// A Room is what a limit still allows.
type Room struct {
	Limit         string `json:"limit"`
	Minor         *int64 `json:"remaining_minor,omitempty" doc:"minor units; absent where amounts are not bounded"`
	Count         *int64 `json:"remaining_count,omitempty" doc:"payments; absent where they are not bounded"`
	StartsAtNanos int64  `json:"starts_at_ns,omitempty" doc:"when the period began; absent for a lifetime"`
	ResetsAtNanos int64  `json:"resets_at_ns,omitempty" doc:"when there is room again; absent for a lifetime and an empty window"`
	WindowFull    bool   `json:"window_full,omitempty" doc:"the window can count no other payment"`
}

func newRoom(limit string, r authzstore.Room) Room {
	room := Room{Limit: limit, StartsAtNanos: r.StartsAtNanos, ResetsAtNanos: r.ResetsAtNanos, WindowFull: r.WindowFull}
	if r.Minor >= 0 {
		room.Minor = &r.Minor
	}
	if r.Count >= 0 {
		room.Count = &r.Count
	}
	return room
}

func rooms(limits []authzstore.Limit, u authzstore.Usage, consentNanos, nowNanos int64) []Room {
	all := []Room{}
	for _, l := range limits {
		all = append(all, newRoom(l.Name, l.Remaining(u, consentNanos, nowNanos)))
	}
	return all
}

func sums(u authzstore.Usage) Sums { return Sums{u.PendingMinor, u.PostedMinor, u.Count} }

func showAccount(r authzstore.Reader, a authzstore.Account, nowNanos int64) (Account, error) {
	usage, err := r.Usage(a.ID)
	if err != nil {
		return Account{}, err
	}
	v, err := r.Verification(a.ID)
	if a.Limits == nil {
		a.Limits = []authzstore.Limit{}
	}
	return Account{
		ID: a.ID, State: a.State,
		AccountTerms:   AccountTerms{a.Owner, a.Currency, a.MaxPaymentMinor, a.Limits},
		CreatedAtNanos: a.CreatedAtNanos,
		Usage:          sums(usage),
		Remaining:      rooms(a.Limits, usage, a.CreatedAtNanos, nowNanos),
		Verification:   Verification{v.Locked(), v.FailedInARow, v.LockedAtNanos},
	}, err
}

// An AccountPath is in the path of what is about one.
type AccountPath struct {
	ID string `path:"id" pattern:"^acc_[A-Za-z0-9_-]+$" patternDescription:"acc_ and letters, digits, _ or -" maxLength:"64"`
}

type accountOutput struct{ Body Account }

type putAccountInput struct {
	AccountPath
	OnlyNew
	Body AccountTerms
}

func (c *Control) registerAccounts() {
	register(c, "list-accounts", func(ctx context.Context, in *PageQuery) (*pageOutput[Account], error) {
		return list(ctx, c, func(s authzstore.Snapshot) ([]authzstore.Account, string, error) {
			return s.Accounts(in.After, in.Limit)
		}, showAccount)
	})
	register(c, "get-account", func(ctx context.Context, in *AccountPath) (*accountOutput, error) {
		return c.getAccount(ctx, in.ID)
	})
	register(c, "put-account", c.putAccount)
	register(c, "freeze-account", func(ctx context.Context, in *AccountPath) (*frozenOutput[Account], error) {
		err := c.change(kv.Urgent(ctx), accountRefs(in.ID), func(tx *authzstore.Tx) error {
			return unlessState(string(authzstore.AccountFrozen), tx.FreezeAccount(in.ID))
		})
		if err != nil {
			return nil, err
		}
		account, err := c.getAccount(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		open, err := c.openReservations(ctx, in.ID, "")
		return &frozenOutput[Account]{Frozen[Account]{account.Body, open}}, err
	})
	register(c, "unfreeze-account", func(ctx context.Context, in *AccountPath) (*accountOutput, error) {
		err := c.change(ctx, accountRefs(in.ID), func(tx *authzstore.Tx) error {
			return unlessState(string(authzstore.AccountActive), tx.UnfreezeAccount(in.ID))
		})
		if err != nil {
			return nil, err
		}
		return c.getAccount(ctx, in.ID)
	})
	register(c, "unlock-account", c.unlockAccount)
}

// unlockAccount lets an account's people be asked for codes again.
func (c *Control) unlockAccount(ctx context.Context, in *AccountPath) (*accountOutput, error) {
	refs := []kv.Ref{authzstore.AccountRef(in.ID, kv.Shared), authzstore.VerificationRef(in.ID, kv.Exclusive)}
	err := c.change(ctx, refs, func(tx *authzstore.Tx) error {
		if _, ok, err := tx.Account(in.ID); err != nil || !ok {
			return orUnknown(err)
		}
		return unlessState("open", tx.UnlockVerification(in.ID))
	})
	if err != nil {
		return nil, err
	}
	return c.getAccount(ctx, in.ID)
}

func accountRefs(id string) []kv.Ref { return []kv.Ref{authzstore.AccountRef(id, kv.Exclusive)} }

func (c *Control) getAccount(ctx context.Context, id string) (*accountOutput, error) {
	account, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Account, bool, error) { return r.Account(id) }, showAccount)
	return &accountOutput{account}, err
}

// What was reserved and granted is in the account's currency, and counts on.
var errCurrency = problem(http.StatusUnprocessableEntity, "currency_kept", "An account keeps its currency: another one is another account.")

func (c *Control) putAccount(ctx context.Context, in *putAccountInput) (*accountOutput, error) {
	err := c.change(ctx, accountRefs(in.ID), func(tx *authzstore.Tx) error {
		old, exists, err := tx.Account(in.ID)
		switch {
		case err != nil:
			return err
		case exists && in.IfNoneMatch != "":
			return errExists
		case exists && old.Currency != in.Body.Currency:
			return errCurrency
		case !exists:
			old.State = authzstore.AccountActive
		}
		return tx.PutAccount(authzstore.Account{
			ID: in.ID, State: old.State, Owner: in.Body.Owner, Currency: in.Body.Currency,
			MaxPaymentMinor: in.Body.MaxPaymentMinor, Limits: in.Body.Limits,
		})
	})
	if err != nil {
		return nil, err
	}
	return c.getAccount(ctx, in.ID)
}
