package api

import "context"

// A Store is which store this is.
type Store struct {
	ID string `json:"store" doc:"sto_…, the issuer of the tokens for payment services"`
}

type storeOutput struct{ Body Store }

func (c *Control) registerStore() {
	register(c, "get-store", func(context.Context, *struct{}) (*storeOutput, error) {
		return &storeOutput{Store{c.Store.ID()}}, nil
	})
}
