package api

import (
	"context"

	"github.com/countersign/countersign/authzstore"
)

// A Reservation is a reservation as it is shown: as it is stored.
type Reservation = authzstore.Reservation

// openReservations are the first of those that an account or a grant has and that
// are not settled.
func (c *Control) openReservations(ctx context.Context, holder string) (Page[Reservation], error) {
	return Page[Reservation]{Items: []Reservation{}}, nil
}
