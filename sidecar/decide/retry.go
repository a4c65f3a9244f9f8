package decide

import (
	"bytes"

	"github.com/countersign/countersign/authzstore"
)

// A course is what is done with a call, after what is known about its key.
type course int

const (
	evaluate  course = iota // ask the policy
	tellAgain               // the denial as it was told
	forward                 // let it pass again, with the reservation that it has
	conflict                // it was allowed, and does not pass again
	otherCall               // the key stands for another call
)

// chooseCourse is the table of retries (see the package's comment). canRunAgain
// says whether an allowed call may be forwarded again.
func chooseCourse(before *earlier, fingerprint, evidence []byte, canRunAgain bool) course {
	if before == nil {
		return evaluate
	}
	known := before.known
	switch {
	case !bytes.Equal(known.Fingerprint, fingerprint):
		return otherCall
	case known.State == authzstore.KeyedAllowed && canRunAgain:
		return forward
	case known.State == authzstore.KeyedAllowed:
		return conflict
	case known.State == authzstore.KeyedDenied && bytes.Equal(known.Evidence, evidence):
		return tellAgain
	default:
		return evaluate
	}
}

// spent tells whether the last evaluation under the key was shown the same evidence, and
// so has spent it. Where no attempt was left it has not: else who is locked out could
// bring a guess to an evaluation that comes to nothing, and then have it looked at.
func (e *earlier) spent(evidence []byte) bool {
	return e != nil && !e.known.LockedOut && bytes.Equal(e.known.Evidence, evidence)
}
