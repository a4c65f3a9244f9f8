package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

func accountCommand() *cobra.Command {
	cmd := group("account", "Keep the accounts that pay",
		accountPutCommand(),
		getCommand("account", "acc", "Look at an account and what remains of its limits",
			"  countersign account get acc_anna\n  countersign account get acc_anna -o json | jq .remaining", printAccount),
		accountListCommand(), accountFreezeCommand(),
		accountAgainCommand("unfreeze", "Let a frozen account pay again", ""),
		accountAgainCommand("unlock", "Let an account's people be asked for codes again",
			"Let the people of an account be asked for codes again, after five sets of codes\nin a row were wrong. Make sure first that it is the owner who asks."))
	cmd.Long = "Keep the accounts that pay. " + besideAPI
	return cmd
}

func accountPutCommand() *cobra.Command {
	var flags controlFlags
	account := api.AccountTerms{Limits: []authzstore.Limit{}}
	var replace bool
	var limits limitsFlag
	cmd := &cobra.Command{
		Use:   "put ID",
		Short: "Write an account",
		Long: `Write a new account, or with --replace an account that exists: what is not said
again (a limit, say) is then gone. An account that is frozen stays so.

` + limitHelp,
		Example: `  countersign account put acc_anna --owner-issuer https://id.example --owner anna \
    --currency EUR --max-payment-minor 50000
  countersign account put acc_cara --owner-issuer https://id.example --owner cara \
    --currency EUR --max-payment-minor 50000 --limit total=amount:100000,count:20 \
    --limit weekly=amount:20000,per:week@Europe/Berlin`,
		Args: oneID("account", "acc"),
		RunE: func(cmd *cobra.Command, args []string) error {
			account.Limits = append(account.Limits, limits...)
			return put[api.Account](cmd, &flags, "account", args[0], account, replace)
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&account.Owner.Kind, "owner-kind", "user", "kind of the owner's identity")
	set.StringVar(&account.Owner.Issuer, "owner-issuer", "", "issuer of the owner's token (its iss), or spiffe://DOMAIN of its certificate")
	set.StringVar(&account.Owner.Subject, "owner", "", "the owner's subject (the token's sub, or /PATH of its certificate)")
	set.StringVar(&account.Currency, "currency", "", "ISO 4217 code")
	set.Int64Var(&account.MaxPaymentMinor, "max-payment-minor", 0, "most for one payment, in minor units")
	set.Var(&limits, "limit", "a limit on everything that is paid from the account; may be repeated")
	set.BoolVar(&replace, "replace", false, "write an account that exists anew")
	require(cmd, "owner-issuer", "owner", "currency", "max-payment-minor")
	return cmd
}

func printAccount(w io.Writer, a api.Account) error {
	out := newTable(w)
	out.line("", row("account", a.ID))
	out.line("", row("state", a.State))
	out.line("", row("owner", who(a.Owner)))
	out.line("", row("most for one payment", minorUnits(a.MaxPaymentMinor, a.Currency)))
	out.line("", row("created", atTime(a.CreatedAtNanos)))
	if v := a.Verification; v.Locked {
		out.line("", row("codes", fmt.Sprintf("locked since %s, after %d wrong sets of codes in a row", atTime(v.LockedAtNanos), v.FailedInARow)))
	}
	printSums(out, a.Usage)
	printLimits(out, a.Limits, a.Remaining)
	return out.flush()
}

func printSums(out *table, s api.Sums) {
	out.line("", row("payments", fmt.Sprintf("%d: %d minor units pending, %d posted", s.Count, s.PendingMinor, s.PostedMinor)))
}

// printLimits prints limits with what remains of each.
func printLimits(out *table, limits []authzstore.Limit, remaining []api.Room) {
	for i, l := range limits {
		var parts []string
		room := remaining[i]
		if room.Minor != nil {
			parts = append(parts, fmt.Sprintf("%d of %d minor units remain", *room.Minor, l.MaxAmountMinor))
		}
		if room.Count != nil {
			parts = append(parts, fmt.Sprintf("%d of %d payments remain", *room.Count, l.MaxCount))
		}
		if room.WindowFull {
			parts = append(parts, "its window is full")
		}
		if room.ResetsAtNanos != 0 {
			parts = append(parts, "resets "+atTime(room.ResetsAtNanos))
		}
		out.line("", row("limit "+l.Name, "per "+string(l.Period.Kind)+": "+strings.Join(parts, ", ")))
	}
}

func accountListCommand() *cobra.Command {
	var flags listFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List accounts",
		Long:    "List accounts by their ID, one on a line. With -o json each line is all that\naccount get prints.",
		Example: "  countersign account list\n  countersign account list -o json | jq -r 'select(.state == \"frozen\").id'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/accounts"}, row("ACCOUNT", "STATE", "CURRENCY", "OWNER"),
				func(a api.Account) string { return row(a.ID, a.State, a.Currency, who(a.Owner)) })
		},
	}
	flags.register(cmd)
	return cmd
}

func accountFreezeCommand() *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:   "freeze ID",
		Short: "Stop everything that an account pays",
		Long: `Stop everything that an account pays, by whatever grant, until it is unfrozen. When
the command has ended, nothing passes any more. What was allowed before and is not
settled is printed: a payment service may still take that money.`,
		Example:           "  countersign account freeze acc_anna",
		Args:              oneID("account", "acc"),
		ValidArgsFunction: completeIDs(&flags, "/v1/accounts", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/accounts/" + args[0] + "/freeze"},
				func(w io.Writer, f api.Frozen[api.Account]) error {
					return printOpen(w, f.Now.ID, string(f.Now.State), f.Open)
				})
		},
	}
	flags.register(cmd)
	return cmd
}

// printOpen says what a freeze or a revocation left open.
func printOpen(w io.Writer, id, state string, open api.Page[api.Reservation]) error {
	out := newTable(w)
	out.line("", fmt.Sprintf("%s is %s; %s", id, state, howMany(open)))
	for _, r := range open.Items {
		out.line("", reservationRow(r))
	}
	return out.flush()
}

func howMany(open api.Page[api.Reservation]) string {
	switch {
	case open.Next != "":
		return "the first of the reservations that are still open:"
	case len(open.Items) == 0:
		return "no reservation is still open"
	case len(open.Items) == 1:
		return "1 reservation is still open:"
	}
	return fmt.Sprintf("%d reservations are still open:", len(open.Items))
}

// accountAgainCommand lets something be again that was stopped.
func accountAgainCommand(verb, short, long string) *cobra.Command {
	var flags controlFlags
	cmd := &cobra.Command{
		Use:               verb + " ID",
		Short:             short,
		Long:              long,
		Example:           "  countersign account " + verb + " acc_anna",
		Args:              oneID("account", "acc"),
		ValidArgsFunction: completeIDs(&flags, "/v1/accounts", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			return run[api.Account](cmd, &flags, controlCall{method: http.MethodPost, path: "/v1/accounts/" + args[0] + "/" + verb}, nil)
		},
	}
	flags.register(cmd)
	return cmd
}
