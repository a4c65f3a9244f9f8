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
	made, err := readMade(tx, *known)
	if err != nil {
		return Decision{}, false, err
	}
	canRunAgain, err := ck.canRunAgain(tx, made, f)
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
		d = Decision{Outcome: Allow, Execution: ck.executionAgain(made, f)}
		d.Execution.Replayed = true
	default:
		ck.seen.Course = CourseConflict
		d = denied(http.StatusConflict, alreadyAllowed)
		d.ReservationState = string(made.reservation.State)
	}
	d.IntentID = known.Intent
	// The decision that is told is the one that was made then.
	d.ID, d.Replayed = known.RecordID, true
	return d, true, nil
}

// made is what an allow made.
type made struct {
	reservation authzstore.Reservation // the zero one for none
	intent      *authzstore.Intent     // nil for none
}

func readMade(tx *authzstore.Tx, known authzstore.KeyedCall) (m made, err error) {
	if known.ReservationID != "" {
		if m.reservation, _, err = tx.Reservation(known.ReservationID); err != nil {
			return made{}, err
		}
	}
	if known.Intent != "" {
		m.intent, err = found(tx.Intent(known.Intent))
	}
	return m, err
}

// canRunAgain tells whether a call that was allowed before may be forwarded again: to
// the service that runs its reservation once, while that is pending and what it takes
// money from still pays, and whom still is paid; or where no money moves, while the
// intent that it opened can go on; or to what shows the state that a built-in operation
// left.
func (ck *check) canRunAgain(tx *authzstore.Tx, m made, f Facts) (bool, error) {
	if ck.known.State != authzstore.KeyedAllowed {
		return false, nil
	}
	if ck.call.Route.Does != "" {
		return ck.canShowAgain(tx, f, m.intent)
	}
	if ck.known.RunsOnceAt == "" || ck.known.RunsOnceAt != ck.runsOnceAt() || !ck.canBePaid(f.Merchant) {
		return false, nil
	}
	if r := m.reservation; r.ID != "" {
		if r.State != authzstore.ReservationPending {
			return false, nil
		}
		return canPay(tx.Reader, r.Account, r.Grant)
	}
	if m.intent == nil || m.intent.Closed || m.intent.ExpiredAt(tx.Now()) {
		return false, nil
	}
	return canPay(tx.Reader, m.intent.Account, "")
}

// executionAgain is the execution of a call that was allowed before.
func (ck *check) executionAgain(m made, f Facts) *Execution {
	if ck.call.Route.Does != "" {
		return ck.builtInExecution(f, effected{about: m.intent}, ck.known.Grant)
	}
	e := ck.execution(m.intent)
	if m.reservation.ID != "" {
		return e.paying(m.reservation)
	}
	return e
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
			now.SpentBy, now.EvidenceMatched = ck.known.SpentBy, ck.known.EvidenceMatched
		}
	}
	if ck.known != nil {
		now.Challenge = ck.known.Challenge
	}
	switch {
	case d.Outcome == Allow:
		now.State, now.Intent = authzstore.KeyedAllowed, d.IntentID
		if d.Execution != nil {
			now.ReservationID, now.RunsOnceAt = d.Execution.ReservationID, ck.runsOnceAt()
			now.Grant = d.Execution.Grant
		}
	case d.Outcome == StepUp:
		now.Challenge = d.Challenge.ID
		now.EvidenceMatched = now.EvidenceMatched || len(ck.mac) > 0 && ck.allMatched()
	case d.Outcome == Deny && d.Status != http.StatusTooManyRequests: // which is to try again
		told, err := json.Marshal(toldAnswer{d.Status, d.Reasons})
		if err != nil {
			return err
		}
		now.State, now.Answer = authzstore.KeyedDenied, told
	}
	return tx.AnswerOnce(*ck.key, now)
}

// runsOnceAt is the service that an allow of the call goes to, if it runs what it is
// allowed once; empty where none does.
func (ck *check) runsOnceAt() string {
	if r := ck.call.Route; r.Does == "" && r.Upstream.Idempotent && (r.MovesMoney || r.Writes(factOpenIntents)) {
		return r.Upstream.Audience
	}
	return ""
}
