package main

import (
	"fmt"

	"github.com/countersign/countersign/sidecar/api"
)

// reservationRow is a reservation on a line.
func reservationRow(r api.Reservation) string {
	return row(r.ID, r.State, fmt.Sprint(r.AmountMinor, " ", r.Currency), r.Account, r.Payee, atTime(r.AtNanos))
}
