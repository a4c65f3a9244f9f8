package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
)

func accountCommand() *cobra.Command {
	return group("account", "Keep the accounts that pay", accountPutCommand())
}

// operatorCause is a change by whoever runs the command.
func operatorCause() authzstore.Cause { return sidecar.OperatorCause(operatorName(), time.Now()) }

// operatorName is whoever runs the command, a user of this host.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

func accountPutCommand() *cobra.Command {
	account := authzstore.Account{State: authzstore.AccountActive}
	var dataDir string
	var frozen, replace bool
	var limits limitsFlag
	cmd := &cobra.Command{
		Use:   "put ID",
		Short: "Write an account",
		Long: `Write a new account, or with --replace all of an account that exists: what is not
said again (that it is frozen, say) is then no longer so. The store must not be in
use by a sidecar.

A limit bounds what the account's payments may come to: in minor units, in number, or
both. Without per: it is all payments that the account ever makes, and those before
the limit was written count too. With per:KIND@ZONE it begins anew at a midnight of
the zone: each day, week (on Monday), month, half_year (in January and July) or year, or
each fortnight from the account's first day. With per:DURATION it is what was paid in
the last so long, at any time. These count from when they are written.`,
		Example: `  countersign account put acc_anna --owner-issuer https://id.example --owner anna \
    --currency EUR --max-payment-minor 50000
  countersign account put acc_cara --owner-issuer https://id.example --owner cara \
    --currency EUR --max-payment-minor 50000 --limit total=amount:100000,count:20 \
    --limit monthly=amount:20000,per:month@Europe/Berlin --limit burst=count:3,per:10m`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			account.ID, account.Limits = args[0], limits
			if frozen {
				account.State = authzstore.AccountFrozen
			}
			store, err := sidecar.OpenStore(cmd.Context(), dataDir, storeLog(cmd))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			refs := []kv.Ref{authzstore.AccountRef(account.ID, kv.Exclusive)}
			return store.Update(cmd.Context(), operatorCause(), refs, func(tx *authzstore.Tx) error {
				if _, exists, err := tx.Account(account.ID); err != nil {
					return err
				} else if exists && !replace {
					return fmt.Errorf("the account %s exists; --replace writes all of it anew", account.ID)
				}
				return tx.PutAccount(account)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dataDir, "data", "countersign-data", "directory of the store")
	flags.StringVar(&account.Owner.Kind, "owner-kind", "user", "kind of the owner's identity")
	flags.StringVar(&account.Owner.Issuer, "owner-issuer", "", "issuer of the owner's token (its iss)")
	flags.StringVar(&account.Owner.Subject, "owner", "", "the owner's subject (the token's sub)")
	flags.StringVar(&account.Currency, "currency", "", "ISO 4217 code")
	flags.Int64Var(&account.MaxPaymentMinor, "max-payment-minor", 0, "most for one payment, in minor units")
	flags.Var(&limits, "limit", "a limit on what the account spends, ever or per period; may be repeated")
	flags.BoolVar(&frozen, "frozen", false, "the account pays nothing")
	flags.BoolVar(&replace, "replace", false, "write all of an account that exists anew")
	for _, name := range []string{"owner-issuer", "owner", "currency", "max-payment-minor"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}
