package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/sidecar/api"
)

func grantCommand() *cobra.Command {
	cmd := group("grant", "Keep the grants by which others pay from an account",
		grantOfferCommand(),
		getCommand("grant", "grt", "Look at a grant and what remains of its limits",
			"  countersign grant get grt_carl\n  countersign grant get grt_carl -o json | jq .terms", printGrant),
		grantListCommand(),
		grantStopCommand("freeze", "Stop everything that is paid by a grant", `Stop everything that is paid by a grant until it is unfrozen.`),
		grantUnfreezeCommand(),
		grantStopCommand("revoke", "End a grant for good", `End a grant for good, whether it was accepted or not. Its payment codes are worth
nothing any more.`))
	cmd.Long = "Keep the grants by which others pay from an account. " + besideAPI
	return cmd
}

func printGrant(w io.Writer, g api.Grant) error {
	t := g.Terms
	out := newTable(w)
	out.line("", row("grant", g.ID))
	out.line("", row("state", g.State))
	out.line("", row("account", g.Account+", of "+who(g.Owner)))
	out.line("", row("delegate", who(g.Delegate)))
	out.line("", row("offered", atTime(g.OfferedAtNanos)))
	out.line("", row("accepted", atTime(g.AcceptedAtNanos)))
	out.line("", row("most for one payment", minorUnits(t.MaxPaymentMinor, t.Currency)))
	printSums(out, g.Usage)
	printLimits(out, t.Limits, g.Remaining)
	for _, room := range g.Remaining[len(t.Limits):] {
		out.line("", row(room.Limit, fmt.Sprintf("%d of %d minor units remain, until %s", *room.Minor, t.Cooling.MaxAmountMinor, atTime(room.ResetsAtNanos))))
	}
	if t.ValidFrom.AtNanos != 0 || t.ValidTo.AtNanos != 0 {
		out.line("", row("valid", atTime(t.ValidFrom.AtNanos)+" to "+atTime(t.ValidTo.AtNanos)))
	}
	for _, f := range []struct {
		name, mode string
		values     []string
	}{
		{"merchants", t.Merchants.Mode, t.Merchants.Values}, {"categories", t.Categories.Mode, t.Categories.Values},
		{"countries", t.Countries.Mode, t.Countries.Values}, {"channels", t.Channels.Mode, t.Channels.Values},
	} {
		if len(f.values) > 0 {
			out.line("", row(f.name, fmt.Sprint(f.mode, " ", f.values)))
		}
	}
	if t.Hours.Zone != "" {
		out.line("", row("hours", t.Hours.From+" to "+t.Hours.To+" in "+t.Hours.Zone))
	}
	return out.flush()
}

func grantListCommand() *cobra.Command {
	var flags listFlags
	var account, kind, issuer, subject, state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the grants of an account, or to a delegate",
		Long: `List grants by their ID, one on a line: all, those from an account, or those to a
delegate. With -o json each line is all that grant get prints.`,
		Example: `  countersign grant list --account acc_anna --state open
  countersign grant list --delegate carl --delegate-issuer https://id.example`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"account": {account}, "state": {state}}
			if subject != "" || issuer != "" {
				query["delegate_kind"], query["delegate_issuer"], query["delegate_subject"] = []string{kind}, []string{issuer}, []string{subject}
			}
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/grants", query: query},
				row("GRANT", "STATE", "ACCOUNT", "DELEGATE", "OFFERED"),
				func(g api.Grant) string {
					return row(g.ID, g.State, g.Account, who(g.Delegate), atTime(g.OfferedAtNanos))
				})
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&account, "account", "", "only from this account")
	set.StringVar(&kind, "delegate-kind", "user", "kind of the delegate's identity")
	set.StringVar(&issuer, "delegate-issuer", "", "issuer of the delegate's token (its iss)")
	set.StringVar(&subject, "delegate", "", "only to the delegate with this subject (the token's sub)")
	choice(cmd, &state, "state", "any", "only in this state", "open", "offered", "active", "frozen", "declined", "revoked", "ended", "any")
	return cmd
}

func grantStopCommand(verb, short, long string) *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:   verb + " ID",
		Short: short,
		Long: long + ` When the command has ended,
nothing passes any more. What was allowed before and is not settled is printed: a
payment service may still take that money.`,
		Example:           "  countersign grant " + verb + " grt_carl",
		Args:              oneID("grant", "grt"),
		ValidArgsFunction: completeIDs(&flags, "/v1/grants", url.Values{"state": {"open"}}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/grants/" + args[0] + "/" + verb},
				func(w io.Writer, f api.Frozen[api.Grant]) error {
					return printOpen(w, f.Now.ID, string(f.Now.State), f.Open)
				})
		},
	}
	flags.register(cmd)
	return cmd
}

func grantUnfreezeCommand() *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:               "unfreeze ID",
		Short:             "Let a frozen grant pay again",
		Example:           "  countersign grant unfreeze grt_carl",
		Args:              oneID("grant", "grt"),
		ValidArgsFunction: completeIDs(&flags, "/v1/grants", url.Values{"state": {"frozen"}}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run[api.Grant](cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/grants/" + args[0] + "/unfreeze"}, nil)
		},
	}
	flags.register(cmd)
	return cmd
}
