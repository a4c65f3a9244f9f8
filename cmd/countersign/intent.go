package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
)

func intentCommand() *cobra.Command {
	cmd := group("intent", "Look at orders, checkouts and other requests that wait",
		getCommand("intent", "int", "Look at an intent and the states that it had",
			"  countersign intent get int_2gcfrtlgjdxkm3gjnrhfvxbgkm", printIntent),
		intentListCommand())
	cmd.Long = "Look at intents: orders, checkouts and other requests that wait for their next step.\n" + besideAPI
	return cmd
}

func printIntent(w io.Writer, i api.Intent) error {
	out := newTable(w)
	out.line("", row("intent", i.ID))
	out.line("", row("kind", i.Kind+" of "+i.System))
	out.line("", row("state", i.State+intentEnd(i)))
	out.line("", row("account", i.Account))
	out.line("", row("initiator", who(i.Initiator)))
	if i.AmountMinor != 0 {
		out.line("", row("amount", minorUnits(i.AmountMinor, i.Currency)))
	}
	if i.Payee != "" {
		out.line("", row("payee", i.Payee))
	}
	for _, texts := range []struct {
		name string
		of   map[string]string
	}{{"attribute", i.Attributes}, {"party", i.Parties}} {
		for _, name := range slices.Sorted(maps.Keys(texts.of)) {
			out.line("", row(texts.name+" "+name, texts.of[name]))
		}
	}
	out.line("", row("expires", atTime(i.ExpiresAtNanos)))
	for _, step := range i.Steps {
		from := ""
		if step.Terminal != "" {
			from = " from " + step.Terminal
		}
		out.line("", row("step "+step.State, atTime(step.AtNanos)+" by "+who(step.By)+from+", "+step.RecordID))
	}
	return out.flush()
}

// intentEnd says that no step, or none but the last, can follow.
func intentEnd(i api.Intent) string {
	switch {
	case i.Closed:
		return ", closed"
	case i.Expired:
		return ", expired"
	}
	return ""
}

func intentListCommand() *cobra.Command {
	var flags listFlags
	var account, state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List intents",
		Long: `List intents by their ID, one on a line: those that are open, or others. With -o json
each line is all that intent get prints.`,
		Example: `  countersign intent list --account acc_anna
  countersign intent list --state expired -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/intents", query: url.Values{"account": {account}, "state": {state}}},
				row("INTENT", "KIND", "STATE", "AMOUNT", "ACCOUNT", "OPENED"),
				func(i api.Intent) string {
					return row(i.ID, i.Kind, i.State+intentEnd(i), amountOrNone(i.AmountMinor, i.Currency), i.Account, atTime(i.OpenedAtNanos))
				})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&account, "account", "", "only of this account")
	choice(cmd, &state, "state", "open", "only those that are so", "open", "closed", "expired", "any")
	return cmd
}

// minorUnits is an amount as people are shown it: 1250 EUR minor, for 12.50 EUR.
func minorUnits(minor int64, currency string) string {
	return fmt.Sprint(minor, " ", currency, " minor")
}

// amountOrNone is an amount in minor units, for what may have none.
func amountOrNone(minor int64, currency string) string {
	if minor == 0 {
		return "-"
	}
	return minorUnits(minor, currency)
}
