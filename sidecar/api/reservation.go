package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A Reservation is a reservation as it is shown: as it is stored.
type Reservation = authzstore.Reservation

// A ReservationPath is in the path of what is about one.
type ReservationPath struct {
	ID string `path:"id" pattern:"^rsv_[A-Za-z0-9_-]+$" patternDescription:"rsv_ and letters, digits, _ or -" maxLength:"64"`
}

type reservationOutput struct{ Body Reservation }

// A ReservationQuery says which reservations a list has.
type ReservationQuery struct {
	PageQuery
	State            string `query:"state" enum:"open,pending,unknown,posted,voided,any" default:"open" doc:"open: pending and unknown"`
	Account          string `query:"account" pattern:"^acc_[A-Za-z0-9_-]+$" maxLength:"64" doc:"only of this account"`
	Grant            string `query:"grant" pattern:"^grt_[A-Za-z0-9_-]+$" maxLength:"64" doc:"only by this grant"`
	OlderThanSeconds int64  `query:"older_than_seconds" minimum:"0" maximum:"315360000" doc:"only made at least so long ago"`
}

// wants tells whether a list has a reservation.
func (q ReservationQuery) wants(r Reservation, nowNanos int64) bool {
	return (q.State == "any" || q.State == string(r.State) || q.State == "open" && r.Open()) &&
		(q.Account == "" || q.Account == r.Account) &&
		(q.Grant == "" || q.Grant == r.Grant) &&
		(q.OlderThanSeconds == 0 || nowNanos-r.AtNanos >= q.OlderThanSeconds*int64(time.Second))
}

// read reads a page. Open ones are found by an index; for others all are looked at.
func (q ReservationQuery) read(s authzstore.Snapshot, nowNanos int64) ([]Reservation, string, error) {
	page := s.Reservations
	if q.State == "open" || q.State == "pending" || q.State == "unknown" {
		page = func(after string, most int) ([]Reservation, string, error) {
			return s.OpenReservations(q.Account, after, most)
		}
	}
	return filtered(q.After, q.Limit, page, func(r Reservation) bool { return q.wants(r, nowNanos) })
}

// A PostInput says what a payment took.
type PostInput struct {
	ReservationPath
	Body struct {
		AmountMinor int64 `json:"amount_minor" minimum:"1" maximum:"9007199254740991" doc:"what the payment took, at most what was reserved; the rest is free again"`
	}
}

// A RefundInput says what was given back.
type RefundInput struct {
	ReservationPath
	Key  string `header:"idempotency-key" required:"true" minLength:"1" maxLength:"255" doc:"new for each refund, and the same when its call is repeated"`
	Body struct {
		AmountMinor int64 `json:"amount_minor" minimum:"1" maximum:"9007199254740991" doc:"what this refund gave back, at most what was posted and not given back yet"`
	}
}

func (c *Control) registerReservations() {
	register(c, "list-reservations", func(ctx context.Context, in *ReservationQuery) (*pageOutput[Reservation], error) {
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		return list(ctx, c, func(s authzstore.Snapshot) ([]Reservation, string, error) { return in.read(s, now.UnixNano()) }, asIs)
	})
	register(c, "get-reservation", func(ctx context.Context, in *ReservationPath) (*reservationOutput, error) {
		return c.getReservation(ctx, in.ID)
	})
	register(c, "post-reservation", func(ctx context.Context, in *PostInput) (*reservationOutput, error) {
		return c.settle(ctx, in.ID, func(tx *authzstore.Tx, r Reservation) error {
			if r.State == authzstore.ReservationPosted && r.PostedMinor == in.Body.AmountMinor {
				return nil // the same call before
			}
			return tx.Post(in.ID, in.Body.AmountMinor)
		})
	})
	register(c, "void-reservation", func(ctx context.Context, in *ReservationPath) (*reservationOutput, error) {
		return c.settle(ctx, in.ID, func(tx *authzstore.Tx, r Reservation) error {
			if r.State == authzstore.ReservationVoided {
				return nil
			}
			return tx.Void(in.ID)
		})
	})
	register(c, "mark-reservation-unknown", func(ctx context.Context, in *ReservationPath) (*reservationOutput, error) {
		return c.settle(ctx, in.ID, func(tx *authzstore.Tx, r Reservation) error {
			if r.State == authzstore.ReservationUnknown {
				return nil
			}
			return tx.MarkUnknown(in.ID)
		})
	})
	register(c, "refund-reservation", func(ctx context.Context, in *RefundInput) (*reservationOutput, error) {
		refund := refundThing(in.ID, in.Key)
		return c.settle(ctx, in.ID, func(tx *authzstore.Tx, _ Reservation) error {
			return refundOnce(tx, in.ID, refund, in.Body.AmountMinor)
		}, authzstore.UseRef(refund))
	})
}

// refundThing names a refund: a payment may have several of the same amount.
func refundThing(reservation, key string) string {
	hash := sha256.Sum256([]byte(key))
	return "refund/" + reservation + "/" + hex.EncodeToString(hash[:])
}

var errOtherRefund = problem(http.StatusUnprocessableEntity, "key_other_call", "The idempotency key stands for a refund of another amount.")

// refundOnce makes a refund unless it was made before. Its amount is the step that
// its use has, so that another one under the same key is known for another.
func refundOnce(tx *authzstore.Tx, id, refund string, amountMinor int64) error {
	use, made, err := tx.Use(refund)
	switch {
	case err != nil:
		return err
	case made && use.Step != amountMinor:
		return errOtherRefund
	case made:
		return nil
	}
	if err := tx.UseStep(refund, amountMinor); err != nil {
		return err
	}
	return tx.Refund(id, amountMinor)
}

func (c *Control) getReservation(ctx context.Context, id string) (*reservationOutput, error) {
	r, err := show(ctx, c, func(r authzstore.Reader) (Reservation, bool, error) { return r.Reservation(id) }, asIs)
	return &reservationOutput{r}, err
}

// settle changes a reservation that exists, and shows it.
func (c *Control) settle(ctx context.Context, id string, change func(*authzstore.Tx, Reservation) error, more ...kv.Ref) (*reservationOutput, error) {
	r, err := c.getReservation(ctx, id)
	if err != nil {
		return nil, err
	}
	// The account and the grant, from which the refs follow, never change.
	refs := append(authzstore.ResolveRefs(r.Body), more...)
	err = c.change(ctx, refs, func(tx *authzstore.Tx) error {
		r, ok, err := tx.Reservation(id)
		if err != nil || !ok {
			return orUnknown(err)
		}
		return change(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return c.getReservation(ctx, id)
}

func orUnknown(err error) error {
	if err != nil {
		return err
	}
	return authzstore.ErrUnknownID
}

// openReservations are the first of those that an account has, by a grant or by
// any, and that are not settled.
func (c *Control) openReservations(ctx context.Context, account, grant string) (Page[Reservation], error) {
	q := ReservationQuery{PageQuery: PageQuery{Limit: MaxPage}, State: "open", Account: account, Grant: grant}
	open, err := list(ctx, c, func(s authzstore.Snapshot) ([]Reservation, string, error) { return q.read(s, 0) }, asIs)
	if err != nil {
		return Page[Reservation]{}, err
	}
	return open.Body, nil
}
