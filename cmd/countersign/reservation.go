package main

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
)

func reservationCommand() *cobra.Command {
	cmd := group("reservation", "Settle what payments have reserved",
		reservationListCommand(),
		getCommand("reservation", "rsv", "Look at a reservation",
			"  countersign reservation get rsv_2gcfrtlgjdxkm3gjnrhfvxbgkm", printReservation),
		reservationPostCommand(),
		reservationSettleCommand("void", "Say that the payment was not made", "Say that an open reservation's payment was not made: everything reserved is free again."),
		reservationSettleCommand("unknown", "Say that nobody knows whether the payment was made", "Say that nobody knows whether a reservation's payment was made. It goes on counting,\nand can still be posted or voided."),
		reservationRefundCommand())
	cmd.Long = "Settle what payments have reserved. " + besideAPI
	return cmd
}

// reservationRow is a reservation on a line.
func reservationRow(r api.Reservation) string {
	return row(r.ID, r.State, minorUnits(r.AmountMinor, r.Currency), cmp.Or(r.Grant, r.Account), r.Payee, atTime(r.AtNanos))
}

func reservationListCommand() *cobra.Command {
	var flags listFlags
	var account, grant, state string
	var olderThan time.Duration
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List reservations, the open ones for reconciliation",
		Long: `List reservations, one on a line: the open ones, which are pending or unknown, or
those in another state. With -o json each line is all that reservation get prints.`,
		Example: `  countersign reservation list --older-than 1h       # what somebody should look into
  countersign reservation list --state any --account acc_anna -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"account": {account}, "grant": {grant}, "state": {state}}
			if olderThan > 0 {
				query.Set("older_than_seconds", strconv.FormatInt(int64(olderThan/time.Second), 10))
			}
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/reservations", query: query},
				row("RESERVATION", "STATE", "AMOUNT", "BY", "PAYEE", "MADE"), reservationRow)
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&account, "account", "", "only of this account")
	set.StringVar(&grant, "grant", "", "only by this grant")
	set.DurationVar(&olderThan, "older-than", 0, "only made at least so long ago, such as 1h")
	choice(cmd, &state, "state", "open", "only in this state", "open", "pending", "unknown", "posted", "voided", "any")
	return cmd
}

func printReservation(w io.Writer, r api.Reservation) error {
	out := newTable(w)
	out.line("", row("reservation", r.ID))
	out.line("", row("state", r.State))
	out.line("", row("amount", minorUnits(r.AmountMinor, r.Currency)))
	if r.PostedMinor > 0 {
		out.line("", row("posted", fmt.Sprintf("%d, of which %d refunded", r.PostedMinor, r.RefundedMinor)))
	}
	out.line("", row("account", r.Account))
	if r.Grant != "" {
		out.line("", row("grant", r.Grant))
	}
	out.line("", row("payee", r.Payee))
	out.line("", row("made", atTime(r.AtNanos)+" by "+r.RecordID))
	out.line("", row("expires", atTime(r.ExpiresAtNanos)))
	return out.flush()
}

// amountBody says of how much a call is.
type amountBody struct {
	AmountMinor int64 `json:"amount_minor"`
}

func reservationPostCommand() *cobra.Command {
	var flags controlFlags
	var body amountBody
	cmd := &cobra.Command{
		Use:   "post ID",
		Short: "Say what the payment took",
		Long: `Say what an open reservation's payment took, at most what was reserved: the rest is
free again. Saying the same again changes nothing.`,
		Example:           "  countersign reservation post rsv_2gcfrtlgjdxkm3gjnrhfvxbgkm --amount-minor 1250",
		Args:              oneID("reservation", "rsv"),
		ValidArgsFunction: completeIDs(&flags, "/v1/reservations", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run[api.Reservation](cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/reservations/" + args[0] + "/post", body: body}, nil)
		},
	}
	flags.register(cmd)
	cmd.Flags().Int64Var(&body.AmountMinor, "amount-minor", 0, "what the payment took, in minor units")
	require(cmd, "amount-minor")
	return cmd
}

func reservationSettleCommand(verb, short, long string) *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:               verb + " ID",
		Short:             short,
		Long:              long,
		Example:           "  countersign reservation " + verb + " rsv_2gcfrtlgjdxkm3gjnrhfvxbgkm",
		Args:              oneID("reservation", "rsv"),
		ValidArgsFunction: completeIDs(&flags, "/v1/reservations", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run[api.Reservation](cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/reservations/" + args[0] + "/" + verb}, nil)
		},
	}
	flags.register(cmd)
	return cmd
}

func reservationRefundCommand() *cobra.Command {
	var flags controlFlags
	var body amountBody
	var key string
	cmd := &cobra.Command{
		Use:   "refund ID",
		Short: "Say that a part of a posted payment was given back",
		Long: `Say that a part of a posted payment, or all of it, was given back. A payment can have
several refunds; --key names this one, so that the same command again is the same
refund. Whether it is free again in the grant's limits is one of the grant's terms.`,
		Example:           "  countersign reservation refund rsv_2gcfrtlgjdxkm3gjnrhfvxbgkm --amount-minor 300 --key credit-note-4711",
		Args:              oneID("reservation", "rsv"),
		ValidArgsFunction: completeIDs(&flags, "/v1/reservations", url.Values{"state": {"posted"}}),
		RunE: func(cmd *cobra.Command, args []string) error {
			header := http.Header{"Idempotency-Key": {cmp.Or(key, rand.Text())}}
			return run[api.Reservation](cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/reservations/" + args[0] + "/refund", header: header, body: body}, nil)
		},
	}
	flags.register(cmd)
	cmd.Flags().Int64Var(&body.AmountMinor, "amount-minor", 0, "what was given back, in minor units")
	cmd.Flags().StringVar(&key, "key", "", "idempotency key of this refund (default: a random one)")
	require(cmd, "amount-minor")
	return cmd
}
