package decide

import (
	"bytes"
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
	var input struct {
		Call struct {
			Account, Payee, Currency string
			Amount                   int64 `json:"amount_minor"`
		}
		Evidence map[string]struct{ Matched bool }
		Facts    struct {
			Grant *struct{ ID, Account string }
		}
	}
	if err := json.Unmarshal(r.Input, &input); err != nil {
		return Defect, fmt.Errorf("record %s: input: %w", r.DecisionID, err)
	}
	c := claim{
		movesMoney:  movesMoney,
		account:     input.Call.Account,
		payee:       input.Call.Payee,
		amountMinor: input.Call.Amount,
		currency:    input.Call.Currency,
	}
	if grant := input.Facts.Grant; grant != nil {
		c.account, c.grant = grant.Account, grant.ID
	}
	for name, e := range input.Evidence {
		if !e.Matched {
			c.unmatched = name
		}
	}
	if err := c.hold(v); err != nil {
		return Defect, err
	}
	return fromPolicy(v).Outcome, nil
}
