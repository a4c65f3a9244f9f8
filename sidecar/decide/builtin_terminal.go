package decide

import (
	"errors"
	"net/http"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// storedCodeLifeNanos is how long a code that is agreed in advance works.
const storedCodeLifeNanos = int64(7 * 24 * time.Hour)

// storeCodeRefs: the terminal's account is not always a fact of the route.
func storeCodeRefs(_ *check, f Facts) []kv.Ref {
	if f.Terminal == nil {
		return nil
	}
	return append(authzstore.AddStoredCodeRefs(f.Terminal.Account, f.Terminal.ID), authzstore.SendRefs(f.Terminal.ID)...)
}

// storeCode makes a code for the caller's terminal, for its account, and sends it there.
// It takes the place of the one that the terminal had.
func storeCode(ck *check, tx *authzstore.Tx, f Facts) error {
	t := f.Terminal
	if !ck.isTerminal(f) || t.State != authzstore.TerminalBound {
		return contradiction("a code for a terminal that does not call, or is not bound")
	}
	if ck.cfg.StoredCodes == nil {
		return errNoChallenges
	}
	code, err := ck.cfg.StoredCodes.NewStoredCode(*t)
	if err != nil {
		return err
	}
	code.MaxAmountMinor, code.ExpiresAtNanos = ck.call.Int("max_amount_minor"), tx.Now()+storedCodeLifeNanos
	if code.Currency = ck.call.Text("currency"); (code.Currency == "") != (code.MaxAmountMinor == 0) {
		return codeTermsInvalid
	}
	if code, err = tx.AddStoredCode(t.Account, code); err != nil {
		return err
	}
	m := ck.message(*t, "stored_code", nil, nil)
	m.AmountMinor, m.Currency = code.MaxAmountMinor, code.Currency
	m.StoredCode = &authzstore.StoredCodeRef{Account: t.Account, Slot: code.Slot, Seq: code.Seq}
	m.ExpiresAtNanos = tx.Now() + messageLifeNanos
	return tx.Send(m)
}

func acknowledgeRefs(_ *check, f Facts) []kv.Ref {
	if f.Terminal == nil {
		return nil
	}
	return authzstore.AckRefs(f.Terminal.ID)
}

// acknowledge says that the caller's terminal has its messages up to a number.
func acknowledge(ck *check, tx *authzstore.Tx, f Facts) error {
	if !ck.isTerminal(f) {
		return contradiction("messages of a terminal that does not call")
	}
	upTo := ck.call.Int("up_to")
	if upTo < 0 {
		return messageUnknown
	}
	err := tx.AckMessages(f.Terminal.ID, uint64(upTo))
	if errors.Is(err, authzstore.ErrInvalid) {
		return messageUnknown
	}
	return err
}

// What the call itself is to blame for, though the policy allows it.
var (
	messageUnknown = &call.Refusal{Status: http.StatusUnprocessableEntity, Code: "message_unknown",
		Message: "No message with this number was sent to this terminal."}
	codeTermsInvalid = &call.Refusal{Status: http.StatusUnprocessableEntity, Code: "code_terms_invalid",
		Message: "A maximum for a code needs its currency, and a currency a maximum."}
)

func theTerminal(_ *check, f Facts, _ effected, e *Execution) {
	e.Terminal, e.Account = f.Terminal.ID, f.Terminal.Account
}

// theStream goes on until the token of the call ends.
func theStream(ck *check, f Facts, _ effected, e *Execution) {
	e.Terminal, e.ExpiresAtNanos = f.Terminal.ID, ck.call.ExpiresAtNanos
}

// isTerminal: the call comes from a terminal.
func (ck *check) isTerminal(f Facts) bool { return ck.fromTerminal(f) != "" }
