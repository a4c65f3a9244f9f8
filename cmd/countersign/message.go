package main

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
)

func messageCommand() *cobra.Command {
	cmd := group("message", "Look at the messages to terminals", messageListCommand())
	cmd.Long = "Look at the messages to terminals and what became of them. " + besideAPI
	return cmd
}

func messageListCommand() *cobra.Command {
	var flags listFlags
	var delivery string
	cmd := &cobra.Command{
		Use:   "list TERMINAL",
		Short: "List the messages to a terminal and what became of them, without codes",
		Long: `List the messages to a terminal, the oldest first, one on a line: those that wait, those
that were acknowledged, those that lapsed before they were delivered, and those that
were given up, with the reason. A code is never shown. With -o json each line is all
that is known of one.`,
		Example: `  countersign message list trm_anna_phone
  countersign message list trm_anna_phone --delivery dead -o json`,
		Args:              oneID("terminal", "trm"),
		ValidArgsFunction: completeIDs(&flags.controlFlags, "/v1/terminals", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			call := controlCall{method: http.MethodGet, path: "/v1/terminals/" + args[0] + "/messages", query: url.Values{"delivery": {delivery}}}
			return runList(cmd, &flags, call, row("NUMBER", "KIND", "DELIVERY", "AMOUNT", "PAYEE", "SENT", "EXPIRES"), messageRow)
		},
	}
	flags.register(cmd)
	choice(cmd, &delivery, "delivery", "any", "only those of which this became", "waiting", "acknowledged", "lapsed", "dead", "any")
	return cmd
}

func messageRow(m api.Message) string {
	delivery := m.Delivery
	if m.Why != "" {
		delivery += ": " + m.Why
	}
	return row(m.Number, m.Kind, delivery, amountOrNone(m.AmountMinor, m.Currency), cmp.Or(m.Payee, "-"), atTime(m.CreatedAtNanos), atTime(m.ExpiresAtNanos))
}
