package metrics

import "sync"

// maxNames bounds how many values a label takes that a bundle can name: a policy
// may make its codes of anything.
const maxNames = 100

// otherName stands for all values after those.
const otherName = "other"

// names are the values that a label may have: those known from the start, and the
// first maxNames others.
type names struct {
	mu    sync.RWMutex
	known map[string]bool
	room  int
}

func newNames(known []string) *names {
	n := &names{known: map[string]bool{"": true}, room: maxNames}
	for _, name := range known {
		n.known[name] = true
	}
	return n
}

// name is what the label says of a value.
func (n *names) name(value string) string {
	n.mu.RLock()
	known := n.known[value]
	n.mu.RUnlock()
	if known {
		return value
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.known[value]:
		return value
	case n.room == 0:
		return otherName
	}
	n.room--
	n.known[value] = true
	return value
}
