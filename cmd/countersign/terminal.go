package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

func terminalCommand() *cobra.Command {
	cmd := group("terminal", "Keep the terminals of accounts", terminalPutCommand(),
		getCommand("terminal", "trm", "Look at a terminal",
			"  countersign terminal get trm_anna_phone", printTerminal),
		terminalListCommand())
	cmd.Long = "Keep the terminals of accounts. " + besideAPI
	return cmd
}

func terminalPutCommand() *cobra.Command {
	var flags controlFlags
	var replace bool
	var state string
	terminal := api.TerminalTerms{}
	cmd := &cobra.Command{
		Use:   "put ID",
		Short: "Write a terminal",
		Long: `Write a new terminal, or with --replace one that exists: what is not said again is
then gone.`,
		Example: `  countersign terminal put trm_anna_phone --account acc_anna --identity anna-phone \
    --identity-issuer https://id.example --number +491701234567 --os android --right order`,
		Args:              oneID("terminal", "trm"),
		ValidArgsFunction: completeIDs(&flags, "/v1/terminals", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			terminal.State = authzstore.TerminalState(state)
			terminal.Rights = append([]string{}, terminal.Rights...)
			terminal.PairedWith = append([]string{}, terminal.PairedWith...)
			return put[api.Terminal](cmd, &flags, "terminal", args[0], terminal, replace)
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&terminal.Account, "account", "", "the account that it acts for")
	set.StringVar(&terminal.Identity.Kind, "identity-kind", "terminal", "kind of the identity as which it calls")
	set.StringVar(&terminal.Identity.Issuer, "identity-issuer", "", "issuer of its token (the iss)")
	set.StringVar(&terminal.Identity.Subject, "identity", "", "its subject (the token's sub)")
	set.StringVar(&terminal.Number, "number", "", "where messages to it go, such as a telephone number")
	set.StringVar(&terminal.Webhook, "webhook", "", "https URL that messages to it are delivered to")
	set.StringVar(&terminal.OS, "os", "", "its operating system")
	set.StringSliceVar(&terminal.Rights, "right", nil, "what it may, such as order; may be repeated")
	set.StringSliceVar(&terminal.PairedWith, "paired-with", nil, "ID of a terminal that it is paired with; may be repeated")
	choice(cmd, &state, "state", "bound", "whether it acts for the account", "bound", "frozen", "unbound")
	set.BoolVar(&replace, "replace", false, "write a terminal that exists anew")
	require(cmd, "account", "identity", "identity-issuer")
	return cmd
}

func printTerminal(w io.Writer, t api.Terminal) error {
	out := newTable(w)
	out.line("", row("terminal", t.ID))
	out.line("", row("state", t.State))
	out.line("", row("account", t.Account))
	out.line("", row("identity", who(t.Identity)))
	out.line("", row("bound", atTime(t.BoundAtNanos)))
	for _, part := range []struct{ name, value string }{
		{"number", t.Number}, {"webhook", t.Webhook}, {"os", t.OS}, {"rights", strings.Join(t.Rights, " ")}, {"paired with", strings.Join(t.PairedWith, " ")},
	} {
		if part.value != "" {
			out.line("", row(part.name, part.value))
		}
	}
	return out.flush()
}

func terminalListCommand() *cobra.Command {
	var flags listFlags
	var account string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List terminals",
		Example: "  countersign terminal list --account acc_anna",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/terminals", query: url.Values{"account": {account}}},
				row("TERMINAL", "STATE", "ACCOUNT", "IDENTITY"),
				func(t api.Terminal) string { return row(t.ID, t.State, t.Account, who(t.Identity)) })
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&account, "account", "", "only of this account")
	return cmd
}
