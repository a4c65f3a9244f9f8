package api

import (
	"context"
	"slices"

	"github.com/countersign/countersign/authzstore"
)

// An Intent is an intent as it is shown: as it is stored.
type Intent struct {
	authzstore.Intent
	Expired bool `json:"expired" doc:"past its expiry: it can only be closed"`
}

func showIntent(_ authzstore.Reader, i authzstore.Intent, nowNanos int64) (Intent, error) {
	return Intent{i, i.ExpiredAt(nowNanos)}, nil
}

// An IntentPath is in the path of what is about one.
type IntentPath struct {
	ID string `path:"id" pattern:"^int_[A-Za-z0-9_-]+$" patternDescription:"int_ and letters, digits, _ or -" maxLength:"64"`
}

type intentOutput struct{ Body Intent }

// An IntentQuery says which intents a list has.
type IntentQuery struct {
	PageQuery
	State   string `query:"state" enum:"open,closed,expired,any" default:"open" doc:"open: neither closed nor expired"`
	Account string `query:"account" pattern:"^acc_[A-Za-z0-9_-]+$" maxLength:"64" doc:"only of this account"`
}

// wants tells whether a list has an intent.
func (q IntentQuery) wants(i authzstore.Intent, nowNanos int64) bool {
	state := "open"
	switch {
	case i.Closed:
		state = "closed"
	case i.ExpiredAt(nowNanos):
		state = "expired"
	}
	return (q.State == "any" || q.State == state) && (q.Account == "" || q.Account == i.Account)
}

// page is where a list reads from: those of an account that are open are found by it,
// for others all are looked at.
func (q IntentQuery) page(s authzstore.Snapshot) func(after string, most int) ([]authzstore.Intent, string, error) {
	if q.Account == "" || q.State != "open" {
		return s.Intents
	}
	return func(after string, most int) (intents []authzstore.Intent, next string, err error) {
		open, err := s.OpenIntents(q.Account)
		for _, id := range slices.Sorted(slices.Values(open.Intents)) {
			switch {
			case err != nil:
				return nil, "", err
			case id <= after:
			case len(intents) == most:
				return intents, intents[most-1].ID, nil
			default:
				var i authzstore.Intent
				i, _, err = s.Intent(id)
				intents = append(intents, i)
			}
		}
		return intents, "", err
	}
}

func (c *Control) registerIntents() {
	register(c, "list-intents", func(ctx context.Context, in *IntentQuery) (*pageOutput[Intent], error) {
		now, err := c.now()
		if err != nil {
			return nil, err
		}
		return list(ctx, c, func(s authzstore.Snapshot) ([]authzstore.Intent, string, error) {
			return filtered(in.After, in.Limit, in.page(s), func(i authzstore.Intent) bool { return in.wants(i, now.UnixNano()) })
		}, showIntent)
	})
	register(c, "get-intent", func(ctx context.Context, in *IntentPath) (*intentOutput, error) {
		i, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Intent, bool, error) { return r.Intent(in.ID) }, showIntent)
		return &intentOutput{i}, err
	})
}
