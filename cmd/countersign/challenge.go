package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

func challengeCommand() *cobra.Command {
	cmd := group("challenge", "Look at what people are asked",
		getCommand("challenge", "chl", "Look at a challenge, without its codes and what they must be like",
			"  countersign challenge get chl_2gcfrtlgjdxkm3gjnrhfvxbgkm", printChallenge))
	cmd.Long = "Look at challenges: the codes and approvals that people are asked for. " + besideAPI
	return cmd
}

func printChallenge(w io.Writer, c api.Challenge) error {
	out := newTable(w)
	out.line("", row("challenge", c.ID))
	out.line("", row("kind", c.Kind))
	out.line("", row("state", c.State))
	out.line("", row("account", c.Account))
	out.line("", row("initiator", who(c.Initiator)))
	out.line("", row("for", c.Operation+" of "+c.System))
	for _, part := range []struct{ name, value string }{
		{"amount", amountOrNone(c.AmountMinor, c.Currency)}, {"payee", c.Payee}, {"intent", c.Intent},
	} {
		if part.value != "" && part.value != "-" {
			out.line("", row(part.name, part.value))
		}
	}
	out.line("", row("asks", strings.Join(c.Terminals, " ")))
	out.line("", row("answered by", "the "+string(c.Expects)))
	if c.Kind == authzstore.ChallengeCode {
		out.line("", row("wrong sets", fmt.Sprintf("%d of %d", c.Burnt, c.MaxAttempts)))
	}
	out.line("", row("issued", atTime(c.IssuedAtNanos)))
	out.line("", row("expires", atTime(c.ExpiresAtNanos)))
	if c.DecidedAtNanos != 0 {
		by := ""
		if c.DecidedBy != "" {
			by = " by " + c.DecidedBy
		}
		out.line("", row("decided", atTime(c.DecidedAtNanos)+by))
	}
	return out.flush()
}
