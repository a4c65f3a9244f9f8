package decide

import (
	"encoding/json"
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/policy"
)

// readKnown sets known: nil where nothing is known about the call's key, or it has
// none.
func (ck *check) readKnown(tx *authzstore.Tx) error {
	ck.known = nil
	if ck.key == nil {
		return nil
	}
	known, had, err := tx.KeyedCall(*ck.key)
	if had {
		ck.known = &known
	}
	return err
}

// fromKnown answers a call by what is known about its key alone, if that is to be
// done.
func (ck *check) fromKnown(tx *authzstore.Tx, facts Facts) (d Decision, done bool, err error) {
	if err := ck.readKnown(tx); err != nil || ck.known == nil {
		return Decision{}, false, err
	}
	known := ck.known
	var reservation authzstore.Reservation
	if known.ReservationID != "" {
		if reservation, _, err = tx.Reservation(known.ReservationID); err != nil {
			return Decision{}, false, err
		}
	}
	canRunAgain := known.RunsOnceAt != "" && known.RunsOnceAt == ck.runsOnceAt() &&
		reservation.State == authzstore.ReservationPending && facts.canSpend()
	switch chooseCourse(known, ck.fingerprint, ck.mac, canRunAgain) {
	case evaluate:
		ck.seen.Course = CourseEvaluated
		return Decision{}, false, nil
	case otherCall:
		ck.seen.Course = CourseOtherCall
		ck.logRefusal(ck.id, http.StatusUnprocessableEntity, keyOtherCall.Code) // it has no record
		return denied(http.StatusUnprocessableEntity, keyOtherCall), true, nil
	case tellAgain:
		ck.seen.Course = CourseToldAgain
		var told toldAnswer
		if err := json.Unmarshal(known.Answer, &told); err != nil {
			return Decision{}, false, err
		}
		d = denied(told.Status, told.Reasons...)
	case forward:
		ck.seen.Course = CourseForwarded
		d = Decision{Outcome: Allow, Execution: ck.execution(known.ReservationID)}
		d.Execution.Replayed = true
	default:
		ck.seen.Course = CourseConflict
		d = denied(http.StatusConflict, alreadyAllowed)
		d.ReservationState = string(reservation.State)
	}
	// The decision that is told is the one that was made then.
	d.ID, d.Replayed = known.RecordID, true
	return d, true, nil
}

// A toldAnswer is what a denied call was told.
type toldAnswer struct {
	Status  int             `json:"status"`
	Reasons []policy.Reason `json:"reasons"`
}

// answer writes what is known about the key from now on.
func (ck *check) answer(tx *authzstore.Tx, d Decision) error {
	if ck.key == nil {
		return nil
	}
	now := authzstore.KeyedCall{Fingerprint: ck.fingerprint, Evidence: ck.mac, State: authzstore.KeyedPending, LockedOut: ck.lockedOut}
	if len(ck.mac) > 0 {
		now.SpentBy = ck.id
		if spentBefore(ck.known, ck.mac) {
			now.SpentBy = ck.known.SpentBy
		}
	}
	switch d.Outcome {
	case Allow:
		now.State = authzstore.KeyedAllowed
		if d.Execution != nil {
			now.ReservationID, now.RunsOnceAt = d.Execution.ReservationID, ck.runsOnceAt()
		}
	case Deny:
		told, err := json.Marshal(toldAnswer{d.Status, d.Reasons})
		if err != nil {
			return err
		}
		now.State, now.Answer = authzstore.KeyedDenied, told
	}
	return tx.AnswerOnce(*ck.key, now)
}

// runsOnceAt is the service that an allow of the call goes to, if it runs a
// reservation once; empty where none does.
func (ck *check) runsOnceAt() string {
	if r := ck.call.Route; r.MovesMoney && r.Upstream.Idempotent {
		return r.Upstream.Audience
	}
	return ""
}

// execution is what an allow lets the payment service do.
func (ck *check) execution(reservationID string) *Execution {
	c := ck.call
	return &Execution{
		Audience:      c.Route.Upstream.Audience,
		Identity:      c.Identity,
		System:        c.Route.System,
		Operation:     c.Route.Operation,
		Account:       c.Text("account"),
		Payee:         c.Text("payee"),
		Currency:      c.Text("currency"),
		AmountMinor:   c.AmountMinor(),
		ReservationID: reservationID,
	}
}
