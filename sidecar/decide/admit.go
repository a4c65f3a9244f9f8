package decide

import (
	"sync"

	"github.com/countersign/countersign/authzstore"
)

// DefaultMaxInFlight is a few hundred times what a processor decides at once:
// enough for a burst, and little memory.
const DefaultMaxInFlight = 512

// share is the part of all places that one identity may hold, and the calls that
// change one entity: a quarter.
const share = 4

// admission bounds the calls that are being decided: in all, of one identity, and
// of one entity that they change. So a caller who hammers, and any number of them
// that hammer one account, leave places to the others. Calls that change one
// entity are decided one after the other: more of them would only wait.
type admission struct {
	places chan struct{}

	mu          sync.Mutex
	perIdentity map[authzstore.Identity]int
	perEntity   map[string]int
}

func newAdmission(maxInFlight int) *admission {
	return &admission{
		places:      make(chan struct{}, maxInFlight),
		perIdentity: map[authzstore.Identity]int{},
		perEntity:   map[string]int{},
	}
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

// most is how many calls of one identity, or about one entity, may be in flight.
func (a *admission) most() int { return max(1, cap(a.places)/share) }

// enterAs counts a call of an identity.
func (a *admission) enterAs(id authzstore.Identity) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perIdentity[id] >= a.most() {
		return false
	}
	a.perIdentity[id]++
	return true
}

func (a *admission) leaveAs(id authzstore.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	leave(a.perIdentity, id)
}

// enterAbout counts a call that changes these entities, once they are known.
func (a *admission) enterAbout(entities []string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entities {
		if a.perEntity[e] >= a.most() {
			return false
		}
	}
	for _, e := range entities {
		a.perEntity[e]++
	}
	return true
}

func (a *admission) leaveAbout(entities []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entities {
		leave(a.perEntity, e)
	}
}

func leave[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}
