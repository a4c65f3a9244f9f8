package decide

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/countersign/countersign/authzstore"
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
