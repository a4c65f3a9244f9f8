package api

import (
	"context"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// A MerchantTerms is what a backend says of a merchant.
type MerchantTerms struct {
	Name     string                       `json:"name" minLength:"1" maxLength:"256"`
	Category string                       `json:"category" pattern:"^[0-9]{4}$" patternDescription:"merchant category code of 4 digits (ISO 18245)"`
	Country  string                       `json:"country" pattern:"^[A-Z]{2}$" patternDescription:"country code of 2 capitals (ISO 3166-1)"`
	State    authzstore.MerchantState     `json:"state" enum:"active,frozen"`
	Channels []authzstore.MerchantChannel `json:"channels" maxItems:"64" doc:"by whom the merchant calls, and what a call of theirs comes through"`
}

// A Merchant is a merchant as it is shown.
type Merchant struct {
	ID string `json:"id"`
	MerchantTerms
}

func showMerchant(_ authzstore.Reader, m authzstore.Merchant, _ int64) (Merchant, error) {
	if m.Channels == nil {
		m.Channels = []authzstore.MerchantChannel{}
	}
	return Merchant{m.ID, MerchantTerms{m.Name, m.Category, m.Country, m.State, m.Channels}}, nil
}

// A MerchantPath is in the path of what is about one.
type MerchantPath struct {
	ID string `path:"id" pattern:"^mer_[A-Za-z0-9_-]+$" patternDescription:"mer_ and letters, digits, _ or -" maxLength:"64"`
}

type merchantOutput struct{ Body Merchant }

type putMerchantInput struct {
	MerchantPath
	OnlyNew
	Body MerchantTerms
}

func (c *Control) registerMerchants() {
	register(c, "list-merchants", func(ctx context.Context, in *PageQuery) (*pageOutput[Merchant], error) {
		return list(ctx, c, func(s authzstore.Snapshot) ([]authzstore.Merchant, string, error) {
			return s.Merchants(in.After, in.Limit)
		}, showMerchant)
	})
	register(c, "get-merchant", func(ctx context.Context, in *MerchantPath) (*merchantOutput, error) {
		return c.getMerchant(ctx, in.ID)
	})
	register(c, "put-merchant", func(ctx context.Context, in *putMerchantInput) (*merchantOutput, error) {
		b := in.Body
		merchant := authzstore.Merchant{ID: in.ID, Name: b.Name, Category: b.Category, Country: b.Country, State: b.State, Channels: b.Channels}
		err := changeFrom(ctx, c,
			func(r authzstore.Reader) (authzstore.Merchant, bool, error) { return r.Merchant(in.ID) },
			func(old authzstore.Merchant) []kv.Ref {
				old.ID = in.ID // also where there is none
				return authzstore.MerchantRefs(merchant, old)
			},
			func(tx *authzstore.Tx, _ authzstore.Merchant, exists bool) error {
				if exists && in.IfNoneMatch != "" {
					return errExists
				}
				return tx.PutMerchant(merchant)
			})
		if err != nil {
			return nil, err
		}
		return c.getMerchant(ctx, in.ID)
	})
}

func (c *Control) getMerchant(ctx context.Context, id string) (*merchantOutput, error) {
	m, err := show(ctx, c, func(r authzstore.Reader) (authzstore.Merchant, bool, error) { return r.Merchant(id) }, showMerchant)
	return &merchantOutput{m}, err
}
