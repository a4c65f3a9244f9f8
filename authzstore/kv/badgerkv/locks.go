package badgerkv

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/countersign/countersign/authzstore/kv"
)

// lockTable holds the locks of records: first come, first served, shared ones
// side by side. Transactions take theirs in key order, so none waits for one
// that waits for it.
type lockTable struct {
	maxWaiters int // per record; urgent ones have room for urgentWaiters more
	mu         sync.Mutex
	locks      map[string]*lock
	waiting    int // in all queues
}

// urgentWaiters is more than operators there are, and bounds memory.
const urgentWaiters = 64

// lock is one record that is held or waited for.
type lock struct {
	shared    int  // holders
	exclusive bool // held
	queue     []*waiter
}

type waiter struct {
	mode    kv.Mode
	granted chan struct{}
}

func newLockTable(maxWaiters int) *lockTable {
	return &lockTable{maxWaiters: maxWaiters, locks: map[string]*lock{}}
}

// normalize sorts refs by key and merges repeated ones.
func normalize(refs []kv.Ref) ([]kv.Ref, error) {
	if len(refs) > kv.MaxRefs {
		return nil, fmt.Errorf("%w: %d refs", kv.ErrTooBig, len(refs))
	}
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b kv.Ref) int { // Exclusive first
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(b.Mode, a.Mode))
	})
	refs = slices.CompactFunc(refs, func(a, b kv.Ref) bool { return a.Key == b.Key })
	for _, r := range refs {
		if err := checkKey(r.Key); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// lock takes all of refs, which are normalized, or none.
func (t *lockTable) lock(ctx context.Context, refs []kv.Ref) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	maxWaiters := t.maxWaiters
	if kv.IsUrgent(ctx) {
		maxWaiters += urgentWaiters
	}
	t.mu.Lock()
	for i, r := range refs {
		w, err := t.take(r, maxWaiters)
		if err != nil {
			t.release(refs[:i])
			t.mu.Unlock()
			return err
		}
		if w == nil {
			continue
		}
		t.waiting++
		t.mu.Unlock()
		select {
		case <-w.granted:
			// To the end of the queue of those who can run. Who was woken last runs
			// next, so that transactions which wait for one hot record would hand a
			// processor on to each other, past everybody else (go run ./bench
			// fairness: the others kept a third of their rate, with it two thirds).
			runtime.Gosched()
			t.mu.Lock()
			t.waiting--
		case <-ctx.Done():
			t.mu.Lock()
			t.waiting--
			t.abandon(r, w)
			t.release(refs[:i])
			t.mu.Unlock()
			return ctx.Err()
		}
	}
	t.mu.Unlock()
	return nil
}

// waiters is how many transactions wait for a record now.
func (t *lockTable) waiters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

func (t *lockTable) unlock(refs []kv.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(refs)
}

// take grants one record at once (nil, nil) or queues for it.
func (t *lockTable) take(r kv.Ref, maxWaiters int) (*waiter, error) {
	l := t.locks[r.Key]
	if l == nil {
		l = &lock{}
		t.locks[r.Key] = l
	}
	if len(l.queue) == 0 && l.free(r.Mode) {
		l.grant(r.Mode)
		return nil, nil
	}
	if len(l.queue) >= maxWaiters {
		return nil, fmt.Errorf("%w: %d transactions wait for one record", kv.ErrOverloaded, len(l.queue))
	}
	w := &waiter{mode: r.Mode, granted: make(chan struct{})}
	l.queue = append(l.queue, w)
	return w, nil
}

func (t *lockTable) release(refs []kv.Ref) {
	for _, r := range refs {
		l := t.locks[r.Key]
		if r.Mode == kv.Exclusive {
			l.exclusive = false
		} else {
			l.shared--
		}
		t.advance(r.Key, l)
	}
}

// abandon gives up waiting; the lock may have been granted meanwhile.
func (t *lockTable) abandon(r kv.Ref, w *waiter) {
	select {
	case <-w.granted:
		t.release([]kv.Ref{r})
	default:
		l := t.locks[r.Key]
		l.queue = slices.DeleteFunc(l.queue, func(q *waiter) bool { return q == w })
		t.advance(r.Key, l)
	}
}

// advance grants the queue's front, as far as it is compatible.
func (t *lockTable) advance(key string, l *lock) {
	for len(l.queue) > 0 && l.free(l.queue[0].mode) {
		w := l.queue[0]
		l.queue = l.queue[1:]
		l.grant(w.mode)
		close(w.granted)
	}
	if len(l.queue) == 0 && l.shared == 0 && !l.exclusive {
		delete(t.locks, key)
	}
}

func (l *lock) free(m kv.Mode) bool {
	return !l.exclusive && (m == kv.Shared || l.shared == 0)
}

func (l *lock) grant(m kv.Mode) {
	if m == kv.Exclusive {
		l.exclusive = true
	} else {
		l.shared++
	}
}
