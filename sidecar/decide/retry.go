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
func chooseCourse(known *authzstore.KeyedCall, fingerprint, evidence []byte, canRunAgain bool) course {
	switch {
	case known == nil:
		return evaluate
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

// spentBefore tells whether the last evaluation under this key was shown the same
// evidence, and so has spent it. Where no attempt was left it has not: else who is
// locked out could bring a guess to an evaluation that comes to nothing, and then
// have it looked at.
func spentBefore(known *authzstore.KeyedCall, evidence []byte) bool {
	return known != nil && !known.LockedOut && bytes.Equal(known.Evidence, evidence)
}
