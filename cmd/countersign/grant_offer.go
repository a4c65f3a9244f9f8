package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

const maxTermsFile = 64 << 10

func grantOfferCommand() *cobra.Command {
	var flags controlFlags
	var terms termsFlags
	var offer api.GrantOffer
	cmd := &cobra.Command{
		Use:   "offer [ID]",
		Short: "Offer a grant on behalf of the account's owner",
		Long: `Offer somebody to pay from an account within terms, on behalf of its owner. The
delegate accepts or declines it. Without an ID it gets a random one, which is
printed; with one, the same command again is the same offer.

What is not restricted is allowed: any merchant, at any time, and so on. --terms
reads all of the terms from a file of JSON instead, as grant get -o json shows them.

` + limitHelp,
		Example: `  countersign grant offer grt_carl --account acc_anna --delegate carl --delegate-issuer https://id.example \
    --currency EUR --max-payment-minor 2000 --limit weekly=amount:5000,count:10,per:week@Europe/Berlin \
    --category 5411,5462 --hours 07:00-20:00@Europe/Berlin --cooling 24h:1000
  countersign grant get grt_carl -o json | jq .terms >terms.json
  countersign grant offer --account acc_anna --delegate dora --delegate-issuer https://id.example --terms terms.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneID("grant", "grt")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			id := authzstore.NewID("grt")
			if len(args) > 0 {
				id = args[0]
			}
			if offer.Terms, err = terms.read(cmd); err != nil {
				return err
			}
			return run(cmd, &flags, controlCall{method: http.MethodPut, path: "/v1/grants/" + id, body: offer}, func(w io.Writer, g api.Grant) error {
				if len(args) > 0 {
					return nil
				}
				_, err := fmt.Fprintln(w, g.ID)
				return err
			})
		},
	}
	flags.register(cmd)
	set := cmd.Flags()
	set.StringVar(&offer.Account, "account", "", "the account that pays")
	set.StringVar(&offer.Delegate.Kind, "delegate-kind", "user", "kind of the delegate's identity: user, agent, …")
	set.StringVar(&offer.Delegate.Issuer, "delegate-issuer", "", "issuer of the delegate's token (its iss)")
	set.StringVar(&offer.Delegate.Subject, "delegate", "", "the delegate's subject (the token's sub)")
	terms.register(cmd)
	require(cmd, "account", "delegate", "delegate-issuer")
	return cmd
}

// termsFlags are the terms of a grant.
type termsFlags struct {
	file                                       string
	currency                                   string
	maxPaymentMinor                            int64
	limits                                     limitsFlag
	from, to                                   string
	merchants, categories, countries, channels []string
	hours, cooling                             string
	refundRestores                             bool
}

func (f *termsFlags) register(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&f.file, "terms", "", "file with all of the terms as JSON, instead of the flags for them")
	set.StringVar(&f.currency, "currency", "", "ISO 4217 code, the account's")
	set.Int64Var(&f.maxPaymentMinor, "max-payment-minor", 0, "most for one payment, in minor units")
	set.Var(&f.limits, "limit", "a limit; one or more")
	set.StringVar(&f.from, "valid-from", "", "when it starts to pay, as in RFC 3339 (default: at once)")
	set.StringVar(&f.to, "valid-to", "", "when it ends to pay, as in RFC 3339 (default: never)")
	set.StringSliceVar(&f.merchants, "merchant", nil, "only these merchants, mer_…")
	set.StringSliceVar(&f.categories, "category", nil, "only merchants of these categories (MCC)")
	set.StringSliceVar(&f.countries, "country", nil, "only merchants of these countries")
	set.StringSliceVar(&f.channels, "channel", nil, "only through these channels of merchants")
	set.StringVar(&f.hours, "hours", "", "only between two times of the day in a zone: 07:00-20:00@Europe/Berlin")
	set.StringVar(&f.cooling, "cooling", "", "most in the first time after acceptance: 24h:MINOR")
	set.BoolVar(&f.refundRestores, "refund-restores", false, "what is refunded is free again in the periods in which it counted")
	cmd.MarkFlagsOneRequired("terms", "limit")
	for _, name := range []string{"currency", "max-payment-minor", "limit", "valid-from", "valid-to", "merchant", "category", "country", "channel", "hours", "cooling", "refund-restores"} {
		cmd.MarkFlagsMutuallyExclusive("terms", name)
	}
}

// read returns the terms. What fits together is the sidecar's to say.
func (f *termsFlags) read(cmd *cobra.Command) (t authzstore.Terms, err error) {
	if f.file != "" {
		text, err := os.ReadFile(f.file)
		if err == nil && len(text) > maxTermsFile {
			err = errors.New("too long")
		}
		if err == nil {
			t, err = authzstore.ParseTerms(text)
		}
		if err != nil {
			return t, fmt.Errorf("--terms %s: %w", f.file, err)
		}
		return t, nil
	}
	t = authzstore.Terms{
		Currency: f.currency, MaxPaymentMinor: f.maxPaymentMinor, Limits: f.limits,
		Merchants: only(f.merchants), Categories: only(f.categories), Countries: only(f.countries), Channels: only(f.channels),
		Delegation: authzstore.DelegationFull, RefundRestores: f.refundRestores,
	}
	if t.ValidFrom, err = instant(f.from); err != nil {
		return t, fmt.Errorf("--valid-from: %w", err)
	}
	if t.ValidTo, err = instant(f.to); err != nil {
		return t, fmt.Errorf("--valid-to: %w", err)
	}
	if t.Hours, err = readHours(f.hours); err != nil {
		return t, fmt.Errorf("--hours: %w", err)
	}
	if t.Cooling, err = readCooling(f.cooling); err != nil {
		return t, fmt.Errorf("--cooling: %w", err)
	}
	return t, nil
}

func only(values []string) authzstore.Filter {
	if len(values) == 0 {
		return authzstore.Filter{Mode: authzstore.ModeAny}
	}
	return authzstore.Filter{Mode: authzstore.ModeOnly, Values: values}
}

func instant(text string) (authzstore.Instant, error) {
	if text == "" {
		return authzstore.Instant{Mode: authzstore.ModeAny}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return authzstore.Instant{}, fmt.Errorf("%q is not a time as in RFC 3339, such as 2026-12-24T17:00:00+01:00", text)
	}
	return authzstore.Instant{Mode: authzstore.ModeAt, AtNanos: at.UnixNano()}, nil
}

func readHours(text string) (authzstore.Hours, error) {
	if text == "" {
		return authzstore.Hours{Mode: authzstore.ModeAny}, nil
	}
	times, zone, hasZone := strings.Cut(text, "@")
	from, to, hasTo := strings.Cut(times, "-")
	if !hasZone || !hasTo {
		return authzstore.Hours{}, fmt.Errorf("%q is not two times and a zone, such as 07:00-20:00@Europe/Berlin", text)
	}
	return authzstore.Hours{Mode: authzstore.ModeBetween, Zone: zone, From: from, To: to}, nil
}

func readCooling(text string) (authzstore.Cooling, error) {
	if text == "" {
		return authzstore.Cooling{Mode: authzstore.ModeNone}, nil
	}
	length, most, _ := strings.Cut(text, ":")
	first, err := time.ParseDuration(length)
	minor, minorErr := strconv.ParseInt(most, 10, 64)
	if err != nil || minorErr != nil || first < time.Second || first%time.Second != 0 {
		return authzstore.Cooling{}, fmt.Errorf("%q is not a length in whole seconds and minor units, such as 24h:1000", text)
	}
	return authzstore.Cooling{Mode: authzstore.ModeFirst, Seconds: int64(first / time.Second), MaxAmountMinor: minor}, nil
}
