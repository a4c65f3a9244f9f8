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

func merchantCommand() *cobra.Command {
	cmd := group("merchant", "Keep the merchants that grants pay", merchantPutCommand(),
		getCommand("merchant", "mer", "Look at a merchant",
			"  countersign merchant get mer_bakery", printMerchant),
		merchantListCommand())
	cmd.Long = "Keep the merchants that grants pay. " + besideAPI
	return cmd
}

func merchantPutCommand() *cobra.Command {
	var flags controlFlags
	var replace bool
	var kind, issuer, state string
	var channels, certified []string
	merchant := api.MerchantTerms{Channels: []authzstore.MerchantChannel{}}
	cmd := &cobra.Command{
		Use:   "put ID",
		Short: "Write a merchant",
		Long: `Write a new merchant, or with --replace one that exists: what is not said again is
then gone. Its channels say by whom it calls, and what a call of theirs comes
through; a call's category, country and channel are taken from here, never from the
call. A server calls by its token or by its certificate; one that does both has two
channels.`,
		Example: `  countersign merchant put mer_bakery --name "Bakery Huber" --category 5462 --country DE \
    --identity-issuer https://id.example --channel shop=till-7 --channel web=bakery-shop \
    --certificate-channel shop=spiffe://shop.example/bakery`,
		Args:              oneID("merchant", "mer"),
		ValidArgsFunction: completeIDs(&flags, "/v1/merchants", nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			merchant.State = authzstore.MerchantState(state)
			for _, c := range channels {
				name, subject, ok := strings.Cut(c, "=")
				if !ok {
					return fmt.Errorf("--channel %q is not NAME=SUBJECT", c)
				}
				identity := authzstore.Identity{Kind: kind, Issuer: issuer, Subject: subject}
				merchant.Channels = append(merchant.Channels, authzstore.MerchantChannel{Channel: name, Identity: identity})
			}
			for _, c := range certified {
				channel, err := certificateChannel(kind, c)
				if err != nil {
					return err
				}
				merchant.Channels = append(merchant.Channels, channel)
			}
			return put[api.Merchant](cmd, &flags, "merchant", args[0], merchant, replace)
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&merchant.Name, "name", "", "its name")
	set.StringVar(&merchant.Category, "category", "", "merchant category code, 4 digits (ISO 18245)")
	set.StringVar(&merchant.Country, "country", "", "country code (ISO 3166-1)")
	choice(cmd, &state, "state", "active", "whether it is paid", "active", "frozen")
	set.StringArrayVar(&channels, "channel", nil, "NAME=SUBJECT: who calls with this subject calls through the channel; may be repeated")
	set.StringArrayVar(&certified, "certificate-channel", nil, "NAME=URI: the same of a certificate for this URI, spiffe://DOMAIN/PATH; may be repeated")
	set.StringVar(&kind, "identity-kind", "merchant", "kind of the identities that call")
	set.StringVar(&issuer, "identity-issuer", "", "issuer of their tokens (the iss)")
	set.BoolVar(&replace, "replace", false, "write a merchant that exists anew")
	require(cmd, "name", "category", "country")
	return cmd
}

// certificateChannel reads NAME=URI. The trust domain is the issuer, and what follows it
// is the subject, as a route with `source: mtls` takes them.
func certificateChannel(kind, text string) (authzstore.MerchantChannel, error) {
	name, uri, _ := strings.Cut(text, "=")
	rest, isSPIFFE := strings.CutPrefix(uri, "spiffe://")
	domain, path, _ := strings.Cut(rest, "/")
	if !isSPIFFE || domain == "" || path == "" {
		return authzstore.MerchantChannel{}, fmt.Errorf("--certificate-channel %q is not NAME=spiffe://DOMAIN/PATH", text)
	}
	identity := authzstore.Identity{Kind: kind, Issuer: "spiffe://" + domain, Subject: "/" + path}
	return authzstore.MerchantChannel{Channel: name, Identity: identity}, nil
}

func printMerchant(w io.Writer, m api.Merchant) error {
	out := newTable(w)
	out.line("", row("merchant", m.ID))
	out.line("", row("name", m.Name))
	out.line("", row("state", m.State))
	out.line("", row("category", m.Category))
	out.line("", row("country", m.Country))
	for _, c := range m.Channels {
		out.line("", row("channel "+c.Channel, who(c.Identity)))
	}
	return out.flush()
}

func merchantListCommand() *cobra.Command {
	var flags listFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List merchants",
		Example: "  countersign merchant list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runList(cmd, &flags, controlCall{method: http.MethodGet, path: "/v1/merchants"},
				row("MERCHANT", "STATE", "CATEGORY", "COUNTRY", "NAME"),
				func(m api.Merchant) string { return row(m.ID, m.State, m.Category, m.Country, m.Name) })
		},
	}
	flags.register(cmd)
	return cmd
}
