package decide

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

// IsDecision tells whether a stored record is a decision's, not an operator's.
func IsDecision(r authzstore.Record) bool { return strings.HasPrefix(r.ID, "dec_") }

// ReadRecord reads a decision out of its stored record. A member that this program
// does not know is an error: a newer one wrote it.
func ReadRecord(stored authzstore.Record) (Record, error) {
	var r Record
	decoder := json.NewDecoder(bytes.NewReader(stored.Detail))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&r)
	if err == nil && decoder.More() {
		err = errors.New("more than one document")
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("no detail")
	}
	if err == nil && r.DecisionID != stored.ID {
		err = fmt.Errorf("the detail is that of %q", r.DecisionID)
	}
	if err != nil {
		return Record{}, fmt.Errorf("record %s: %w", stored.ID, err)
	}
	return r, nil
}

// Would returns the outcome that another verdict on the record's input would have,
// as far as it does not depend on the store. movesMoney is the route's. A defect
// comes with what is wrong with the verdict.
func (r Record) Would(v policy.Decision, movesMoney bool) (Outcome, error) {
	c := claim{movesMoney: movesMoney}
	if err := c.read(r.Input); err != nil {
		return Defect, fmt.Errorf("record %s: input: %w", r.DecisionID, err)
	}
	if err := c.hold(v); err != nil {
		return Defect, err
	}
	return fromPolicy(v).Outcome, nil
}

// moneyOf is what a call or an intent says of money.
type moneyOf struct {
	Payee, Currency string
	Amount          int64 `json:"amount_minor"`
}

// read reads a claim out of the input of a record. Which accounts the route declared
// `write` does not stand there: each that the call is about may pay.
func (c *claim) read(input []byte) error {
	var read struct {
		Call struct {
			Account string
			moneyOf
		}
		Evidence map[string]struct{ Matched bool }
		Facts    struct {
			Grant         *struct{ ID, Account string }
			Account       struct{ ID string }
			IntentAccount struct{ ID string } `json:"intent_account"`
			Intent        moneyOf
		}
	}
	if err := json.Unmarshal(input, &read); err != nil {
		return err
	}
	c.amountMinor, c.currency = read.Call.Amount, read.Call.Currency
	if c.amountMinor == 0 {
		c.amountMinor, c.currency = read.Facts.Intent.Amount, cmp.Or(c.currency, read.Facts.Intent.Currency)
	}
	c.payee = cmp.Or(read.Call.Payee, read.Facts.Intent.Payee)
	for _, id := range []string{cmp.Or(read.Call.Account, read.Facts.Account.ID), read.Facts.IntentAccount.ID} {
		if id != "" {
			c.parties = append(c.parties, id)
		}
	}
	c.payers = c.parties
	if grant := read.Facts.Grant; grant != nil {
		c.payers, c.grant = []string{grant.Account}, grant.ID
	}
	for name, e := range read.Evidence {
		if !e.Matched {
			c.unmatched = name
		}
	}
	return nil
}
