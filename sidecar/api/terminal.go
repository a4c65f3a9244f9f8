package api

import (
	"context"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A TerminalTerms is what a backend says of a terminal.
type TerminalTerms struct {
	Account    string                   `json:"account" pattern:"^acc_[A-Za-z0-9_-]+$" patternDescription:"acc_ and letters, digits, _ or -" maxLength:"64"`
	Identity   authzstore.Identity      `json:"identity" doc:"as which the terminal calls"`
	State      authzstore.TerminalState `json:"state" enum:"bound,frozen,unbound"`
	Number     string                   `json:"number,omitempty" maxLength:"256" doc:"where messages to it go, such as a telephone number"`
	OS         string                   `json:"os,omitempty" maxLength:"256"`
	Rights     []string                 `json:"rights" maxItems:"16" doc:"snake_case names, such as order"`
	PairedWith []string                 `json:"paired_with" maxItems:"16" doc:"IDs of terminals"`
	Webhook    string                   `json:"webhook,omitempty" pattern:"^https://" patternDescription:"https URL" maxLength:"512" doc:"where messages to it are delivered; absent: nowhere, the terminal fetches them"`
}

// A Terminal is a terminal as it is shown.
type Terminal struct {
	ID string `json:"id"`
	TerminalTerms
	BoundAtNanos int64 `json:"bound_at_ns,omitempty" doc:"when it was bound last"`
}

func showTerminal(_ authzstore.Reader, t authzstore.Terminal, _ int64) (Terminal, error) {
	terms := TerminalTerms{t.Account, t.Identity, t.State, t.Number, t.OS, t.Rights, t.PairedWith, t.Webhook}
	if terms.Rights == nil {
		terms.Rights = []string{}
	}
	if terms.PairedWith == nil {
		terms.PairedWith = []string{}
	}
	return Terminal{t.ID, terms, t.BoundAtNanos}, nil
}

// A TerminalPath is in the path of what is about one.
type TerminalPath struct {
	ID string `path:"id" pattern:"^trm_[A-Za-z0-9_-]+$" patternDescription:"trm_ and letters, digits, _ or -" maxLength:"64"`
}

// A TerminalQuery says which terminals a list has.
type TerminalQuery struct {
	PageQuery
	Account string `query:"account" pattern:"^acc_[A-Za-z0-9_-]+$" maxLength:"64" doc:"only of this account"`
}

type terminalOutput struct{ Body Terminal }

type putTerminalInput struct {
	TerminalPath
	OnlyNew
	Body TerminalTerms
}

func (c *Control) registerTerminals() {
	register(c, "list-terminals", func(ctx context.Context, in *TerminalQuery) (*pageOutput[Terminal], error) {
		return list(ctx, c, func(s authzstore.Snapshot) ([]authzstore.Terminal, string, error) {
			if in.Account != "" {
				return s.TerminalsOf(in.Account, in.After, in.Limit)
			}
			return s.Terminals(in.After, in.Limit)
		}, showTerminal)
	})
	register(c, "get-terminal", func(ctx context.Context, in *TerminalPath) (*terminalOutput, error) {
		return c.getTerminal(ctx, in.ID)
	})
	register(c, "put-terminal", func(ctx context.Context, in *putTerminalInput) (*terminalOutput, error) {
		b := in.Body
		terminal := authzstore.Terminal{
			ID: in.ID, Account: b.Account, Number: b.Number, OS: b.OS, Rights: b.Rights,
			PairedWith: b.PairedWith, Identity: b.Identity, State: b.State, Webhook: b.Webhook,
		}
		err := changeFrom(ctx, c,
			func(r authzstore.Reader) (authzstore.Terminal, bool, error) { return r.Terminal(in.ID) },
			func(old authzstore.Terminal) []kv.Ref {
				if old.ID == "" {
					old = terminal
				}
				return authzstore.TerminalRefs(terminal, old)
			},
			func(tx *authzstore.Tx, _ authzstore.Terminal, exists bool) error {
				if exists && in.IfNoneMatch != "" {
					return errExists
				}
				return tx.PutTerminal(terminal)
			})
		if err != nil {
			return nil, err
		}
		return c.getTerminal(ctx, in.ID)
	})
}

func (c *Control) getTerminal(ctx context.Context, id string) (*terminalOutput, error) {
	t, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Terminal, bool, error) { return r.Terminal(id) }, showTerminal)
	return &terminalOutput{t}, err
}
