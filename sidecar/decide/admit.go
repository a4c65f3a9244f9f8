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
	perEntity   map[link]int
}

func newAdmission(maxInFlight int) *admission {
	return &admission{
		places:      make(chan struct{}, maxInFlight),
		perIdentity: map[authzstore.Identity]int{},
		perEntity:   map[link]int{},
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

// enterAs counts a call of an identity, with the entities that it is about, once
// they are known.
func (a *admission) enterAs(id authzstore.Identity, about []link) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	most := max(1, cap(a.places)/share)
	if a.perIdentity[id] >= most {
		return false
	}
	for _, l := range about {
		if l.write && a.perEntity[l] >= most {
			return false
		}
	}
	a.perIdentity[id]++
	for _, l := range about {
		if l.write {
			a.perEntity[l]++
		}
	}
	return true
}

func (a *admission) leaveAs(id authzstore.Identity, about []link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perIdentity[id]--; a.perIdentity[id] == 0 {
		delete(a.perIdentity, id)
	}
	for _, l := range about {
		if !l.write {
			continue
		}
		if a.perEntity[l]--; a.perEntity[l] == 0 {
			delete(a.perEntity, l)
		}
	}
}
