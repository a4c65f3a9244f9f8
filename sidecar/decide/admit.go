package decide

import (
	"sync"

	"github.com/countersign/countersign/authzstore"
)

// DefaultMaxInFlight is a few hundred times what a processor decides at once:
// enough for a burst, and little memory.
const DefaultMaxInFlight = 512

// identityShare is the part of all places that one identity may hold: a quarter.
const identityShare = 4

// admission bounds the calls that are being decided: in all, and of one identity,
// so that one caller who hammers does not take the places of the others. What
// waits for one entity is bounded by the store.
type admission struct {
	places chan struct{}

	mu          sync.Mutex
	perIdentity map[authzstore.Identity]int
}

func newAdmission(maxInFlight int) *admission {
	return &admission{places: make(chan struct{}, maxInFlight), perIdentity: map[authzstore.Identity]int{}}
}

// enter takes a place, if there is one.
func (a *admission) enter() bool {
	select {
	case a.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (a *admission) leave() { <-a.places }

// enterAs counts a call of an identity, once it is known.
func (a *admission) enterAs(id authzstore.Identity) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perIdentity[id] >= max(1, cap(a.places)/identityShare) {
		return false
	}
	a.perIdentity[id]++
	return true
}

func (a *admission) leaveAs(id authzstore.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perIdentity[id]--; a.perIdentity[id] == 0 {
		delete(a.perIdentity, id)
	}
}
