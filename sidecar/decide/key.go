package decide

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// earlier is what is known about a call's key, and what an allow under it made.
type earlier struct {
	known       authzstore.KeyedCall
	reservation *authzstore.Reservation // nil for none
	intent      *authzstore.Intent      // nil for none
	// pays: what the reservation, or else the intent, takes money from still pays.
	pays bool
}

// readKnown returns nil where nothing is known about the call's key, or it has none.
func (ck *check) readKnown(r authzstore.Reader) (*earlier, error) {
	if ck.key == nil {
		return nil, nil
	}
	known, had, err := r.KeyedCall(*ck.key)
	if err != nil || !had {
		return nil, err
	}
	return &earlier{known: known}, nil
}

// readEarlier is readKnown with what an allow under the key made.
func (ck *check) readEarlier(r authzstore.Reader) (*earlier, error) {
	e, err := ck.readKnown(r)
	if err != nil || e == nil {
		return nil, err
	}
	known := e.known
	if known.Intent != "" {
		if e.intent, err = found(r.Intent(known.Intent)); err != nil {
			return nil, err
		}
	}
	if known.ReservationID != "" {
		if e.reservation, err = found(r.Reservation(known.ReservationID)); err != nil {
			return nil, err
		}
	}
	switch {
	case e.reservation != nil:
		e.pays, err = accountPays(r, e.reservation.Account, e.reservation.Grant)
	case e.intent != nil:
		e.pays, err = accountPays(r, e.intent.Account, "")
	}
	return e, err
}

// fromEarlier answers a call by what is known about its key alone, if that is to be
// done.
func (ck *check) fromEarlier(tx *authzstore.Tx, f Facts) (d Decision, done bool, err error) {
	e := f.earlier
	if e == nil {
		return Decision{}, false, nil
	}
	canRunAgain, err := ck.canRunAgain(tx, f)
	if err != nil {
		return Decision{}, false, err
	}
	course := chooseCourse(e, ck.fingerprint, ck.mac, canRunAgain)
	ck.obs.Course = course
	switch course {
	case CourseEvaluated:
		return Decision{}, false, nil
	case CourseOtherCall:
		ck.logRefusal(ck.id, http.StatusUnprocessableEntity, keyOtherCall.Code) // it has no record
		return denied(http.StatusUnprocessableEntity, keyOtherCall), true, nil
	case CourseToldAgain:
		var told toldAnswer
		if err := json.Unmarshal(e.known.Answer, &told); err != nil {
			return Decision{}, false, err
		}
		d = denied(told.Status, told.Reasons...)
	case CourseForwarded:
		d = Decision{Outcome: Allow, Execution: ck.executionAgain(f)}
		d.Execution.Replayed = true
	case CourseConflict:
		d = denied(http.StatusConflict, alreadyAllowed)
		if e.reservation != nil {
			d.ReservationState = string(e.reservation.State)
		}
	}
	d.IntentID = e.known.Intent
	// The decision that is told is the one that was made then.
	d.ID, d.Replayed = e.known.RecordID, true
	return d, true, nil
}

// chooseCourse is the table of retries (see the package's comment). canRunAgain
// says whether an allowed call may be forwarded again.
func chooseCourse(before *earlier, fingerprint, mac []byte, canRunAgain bool) Course {
	if before == nil {
		return CourseEvaluated
	}
	known := before.known
	switch {
	case !bytes.Equal(known.Fingerprint, fingerprint):
		return CourseOtherCall
	case known.State == authzstore.KeyedAllowed && canRunAgain:
		return CourseForwarded
	case known.State == authzstore.KeyedAllowed:
		return CourseConflict
	case known.State == authzstore.KeyedDenied && bytes.Equal(known.Evidence, mac):
		return CourseToldAgain
	default:
		return CourseEvaluated
	}
}

// spent tells whether the last evaluation under the key was shown the same evidence, and
// so has spent it. Where no attempt was left it has not: else who is locked out could
// bring a guess to an evaluation that comes to nothing, and then have it looked at.
func (e *earlier) spent(mac []byte) bool {
	return e != nil && !e.known.LockedOut && bytes.Equal(e.known.Evidence, mac)
}

// canRunAgain tells whether a call that was allowed before may be forwarded again: to
// the service that runs its reservation once, while that is pending and what it takes
// money from still pays, and whom still is paid; or where no money moves, while the
// intent that it opened can go on; or to what shows the state that a built-in operation
// left.
func (ck *check) canRunAgain(tx *authzstore.Tx, f Facts) (bool, error) {
	e := f.earlier
	if e.known.State != authzstore.KeyedAllowed {
		return false, nil
	}
	if ck.call.Route.Does != "" {
		return ck.canShowAgain(tx, f)
	}
	if e.known.RunsOnceAt == "" || e.known.RunsOnceAt != ck.runsOnceAt() || !ck.merchantIsPaid(f) || !e.pays {
		return false, nil
	}
	if e.reservation != nil {
		return e.reservation.State == authzstore.ReservationPending, nil
	}
	return !e.intent.Closed && !e.intent.ExpiredAt(f.nowNanos), nil // it pays, so there is one
}

// executionAgain is the execution of a call that was allowed before.
func (ck *check) executionAgain(f Facts) *Execution {
	e := f.earlier
	if ck.call.Route.Does != "" {
		return ck.builtInExecution(f, effected{intent: e.intent}, e.known.Grant)
	}
	x := ck.execution(e.intent)
	if e.reservation != nil {
		return x.paying(*e.reservation)
	}
	return x
}

// A toldAnswer is what a denied call was told.
type toldAnswer struct {
	Status  int             `json:"status"`
	Reasons []policy.Reason `json:"reasons"`
}

// answerKey writes what is known about the key from now on.
func (ck *check) answerKey(tx *authzstore.Tx, f Facts, d Decision) error {
	before := f.earlier
	if ck.key == nil {
		return nil
	}
	now := authzstore.KeyedCall{Fingerprint: ck.fingerprint, Evidence: ck.mac, State: authzstore.KeyedPending, LockedOut: ck.lockedOut}
	if len(ck.mac) > 0 {
		now.SpentBy = ck.id
		if before.spent(ck.mac) {
			now.SpentBy, now.EvidenceMatched = before.known.SpentBy, before.known.EvidenceMatched
		}
	}
	if before != nil {
		now.Challenge = before.known.Challenge
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
	case d.final():
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
	if r := ck.call.Route; r.Does == "" && r.Upstream.Idempotent && (r.MovesMoney || r.Writes(call.FactOpenIntents)) {
		return r.Upstream.Audience
	}
	return ""
}
