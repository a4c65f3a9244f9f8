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
func (ck *check) fromKnown(tx *authzstore.Tx, f Facts) (d Decision, done bool, err error) {
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
	canRunAgain, err := ck.canRunAgain(tx, reservation, f)
	if err != nil {
		return Decision{}, false, err
	}
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
		d = Decision{Outcome: Allow, Execution: ck.execution(reservation)}
		if ck.call.Route.Does != "" {
			d.Execution = ck.builtInExecution(f, known.Grant)
		}
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

// canRunAgain tells whether a call that was allowed before may be forwarded again: to
// the service that runs its reservation once, while that is pending and what it takes
// money from still pays, and whom still is paid; or to what shows the state that a built-in operation left.
func (ck *check) canRunAgain(tx *authzstore.Tx, r authzstore.Reservation, f Facts) (bool, error) {
	if ck.known.State != authzstore.KeyedAllowed {
		return false, nil
	}
	if ck.call.Route.Does != "" {
		return ck.canShowAgain(tx, f)
	}
	if ck.known.RunsOnceAt == "" || ck.known.RunsOnceAt != ck.runsOnceAt() || r.State != authzstore.ReservationPending || !ck.canBePaid(f.Merchant) {
		return false, nil
	}
	return canPay(tx.Reader, r.Account, r.Grant)
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
			now.Grant = d.Execution.Grant
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
