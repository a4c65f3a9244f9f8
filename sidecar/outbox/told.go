package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// tellable are errors whose own texts quote nothing.
var tellable = []error{
	kv.ErrUnknown, kv.ErrOverloaded, kv.ErrTooBig, kv.ErrUndeclared, kv.ErrFailed, kv.ErrClosed, kv.ErrPruned, kv.ErrDamaged,
	authzstore.ErrInvalid, authzstore.ErrDamaged, context.Canceled, context.DeadlineExceeded,
}

// told is what may be told of an error of the store: which of ours it is. The rest of
// its text may name terminals.
func told(err error) string {
	for _, known := range tellable {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprintf("%T", err)
}
