package decide

import (
	"slices"
	"time"

	"github.com/countersign/countersign/sidecar/call"
)

// An Observation is one call as metrics see it: names out of the route table, the
// policy and this program, and times. Nothing of it was chosen by the caller.
type Observation struct {
	System, Operation string // "" where the call was not read that far
	Outcome           Outcome
	Status            int    // HTTP status for the caller; 0 for an allow
	Code              string // of the reason that leads; "" for an allow
	Cause             Cause  // why nothing was decided; "" where it was
	Course            Course // of the table of retries; "" where no key was known
	// Evidence is what the call showed and the decision spent.
	Evidence []EvidenceRecord
	Took     [Stages]time.Duration // 0 for a stage that was not reached
}

// A Stage is a part of the way of a call.
type Stage int

// The stages. A call that is planned again goes through some of them again; their
// times are added up.
const (
	StageDecode   Stage = iota // the request becomes a call
	StageLocks                 // until the transaction has its locks
	StageEvaluate              // the policy, with the wait for its turn
	StageCommit                // from the end of the transaction until it is durable
	StageTotal                 // all of Decide
	Stages                     // how many there are
)

var stageNames = [Stages]string{"decode", "locks", "evaluate", "commit", "total"}

func (s Stage) String() string { return stageNames[s] }

// A Cause says why nothing was decided, for metrics: callers are told less.
type Cause string

// The causes of a defect.
const (
	CausePolicy        Cause = "policy"        // it failed
	CauseContradiction Cause = "contradiction" // it wants what must not be
	CausePanic         Cause = "panic"
	CauseEnvoy         Cause = "envoy"    // it asks what cannot be decided
	CauseUnsigned      Cause = "unsigned" // an allow for which there is no token
	CauseInternal      Cause = "internal" // anything else
)

// The causes of an unavailable.
const (
	CauseLate      Cause = "late"       // too little time was left on arrival
	CauseFull      Cause = "full"       // too many calls were in flight
	CauseIdentity  Cause = "identity"   // too many of one identity were, or to change one entity
	CauseLocks     Cause = "locks"      // the locks were not free in time
	CauseStoreBusy Cause = "store_busy" // too much waits for it
	CauseTimeout   Cause = "timeout"    // no verdict in time
	CauseReplan    Cause = "replan"     // the facts kept changing
	CauseUnknown   Cause = "unknown"    // whether the decision was kept
	CauseStore     Cause = "store"      // it failed
	CauseClock     Cause = "clock"      // nobody knows the time
)

// The causes of each outcome, all of them.
var (
	DefectCauses      = []Cause{CausePolicy, CauseContradiction, CausePanic, CauseEnvoy, CauseUnsigned, CauseInternal}
	UnavailableCauses = []Cause{CauseLate, CauseFull, CauseIdentity, CauseLocks, CauseStoreBusy, CauseTimeout, CauseReplan,
		CauseUnknown, CauseStore, CauseClock}
)

// A Course is what became of a call that was asked before.
type Course string

// The courses; see the table of retries in the package's comment.
const (
	CourseEvaluated  Course = "evaluated"   // the policy was asked again
	CourseToldAgain  Course = "told_again"  // the denial as it was told
	CourseForwarded  Course = "forwarded"   // with the reservation that it has
	CourseConflict   Course = "conflict"    // it was allowed, and does not pass again
	CourseOtherCall  Course = "other_call"  // the key stands for another call
	CourseAskedAgain Course = "asked_again" // by Envoy, which had not heard the answer
)

// Courses are all of them.
var Courses = []Course{CourseEvaluated, CourseToldAgain, CourseForwarded, CourseConflict, CourseOtherCall, CourseAskedAgain}

// Codes returns every code that a reason of this program can have, sorted. A
// policy has its own.
func Codes() []string {
	codes := call.Codes()
	for _, d := range []Decision{overloaded, tooLate, busyFacts, unknown, noStore, clockJumped,
		defect(InternalError), defect(policyDefect), denied(0, keyOtherCall), denied(0, alreadyAllowed), denied(0, noPermit),
		denied(0, wantsAnswer), refused(changeInvalid), refused(parametersFetched), refused(messageUnknown), refused(codeTermsInvalid),
		refused(challengesOverMaximum), refused(messagesOverMaximum), refused(intentsOverMaximum), refused(codesOverMaximum)} {
		codes = append(codes, d.Reasons[0].Code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// took adds the time since then to a stage.
func (o *Observation) took(s Stage, since time.Time) { o.Took[s] += time.Since(since) }

// observe hands on what was seen of a call, with what came of it.
func (d *Decider) observe(obs *Observation, began time.Time, decision Decision) {
	if d.cfg.Observe == nil {
		return
	}
	obs.took(StageTotal, began)
	obs.Outcome, obs.Status, obs.Cause = decision.Outcome, decision.Status, decision.cause
	if len(decision.Reasons) > 0 {
		obs.Code = decision.Reasons[0].Code
	}
	d.cfg.Observe(obs)
}

// InFlight is how many calls are being decided now.
func (d *Decider) InFlight() int { return len(d.admission.places) }
