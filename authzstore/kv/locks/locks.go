// Package locks holds the locks of a backend's records: shared or exclusive,
// first come, first served, urgent ones before the others, with a bound on those who
// wait for one record. A backend whose database has locks of its own needs it, too, in front of them:
// for the order, and so that nobody waits with a connection in hand.
package locks

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/countersign/countersign/authzstore/kv"
)

// Table is the locks of all records. Transactions take theirs in one order, from the
// last key to the first, so none waits for one that waits for it. From the last: who
// waits for what an account has used does not hold the account meanwhile, which a
// freeze wants.
type Table struct {
	maxWaiters int // per record, without the urgent ones
	mu         sync.Mutex
	locks      map[string]*lock
	waiting    int // in all queues
}

// lock is one record that is held or waited for.
type lock struct {
	shared    int  // holders
	exclusive bool // held
	queue     []*waiter
	bounded   int // of the queue: those who are not urgent
}

type waiter struct {
	mode    kv.Mode
	urgent  bool
	granted chan struct{}
}

// New makes a table in which maxWaiters transactions may wait for a record, and
// any number of urgent ones.
func New(maxWaiters int) *Table {
	return &Table{maxWaiters: maxWaiters, locks: map[string]*lock{}}
}

// Lock takes all of refs, which kv.Normalize returned, or none. The error is
// kv.ErrOverloaded, never if ctx is urgent, or that of ctx.
func (t *Table) Lock(ctx context.Context, refs []kv.Ref) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	urgent := kv.IsUrgent(ctx)
	t.mu.Lock()
	for i, r := range slices.Backward(refs) {
		w, err := t.take(r, urgent)
		if err != nil {
			t.release(refs[i+1:])
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
			t.release(refs[i+1:])
			t.mu.Unlock()
			return ctx.Err()
		}
	}
	t.mu.Unlock()
	return nil
}

// Unlock gives back what Lock took.
func (t *Table) Unlock(refs []kv.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.release(refs)
}

// Waiters is how many transactions wait for a record now.
func (t *Table) Waiters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// Records is how many records are held or waited for now.
func (t *Table) Records() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.locks)
}

// take grants one record at once (nil, nil) or queues for it.
func (t *Table) take(r kv.Ref, urgent bool) (*waiter, error) {
	l := t.locks[r.Key]
	if l == nil {
		l = &lock{}
		t.locks[r.Key] = l
	}
	if len(l.queue) == 0 && l.free(r.Mode) {
		l.grant(r.Mode)
		return nil, nil
	}
	if !urgent && l.bounded >= t.maxWaiters {
		return nil, fmt.Errorf("%w: %d transactions wait for one record", kv.ErrOverloaded, len(l.queue))
	}
	w := &waiter{mode: r.Mode, urgent: urgent, granted: make(chan struct{})}
	at := len(l.queue)
	if urgent {
		at = slices.IndexFunc(l.queue, func(q *waiter) bool { return !q.urgent })
		if at < 0 {
			at = len(l.queue)
		}
	}
	l.queue = slices.Insert(l.queue, at, w)
	l.count(w, 1)
	return w, nil
}

func (t *Table) release(refs []kv.Ref) {
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
func (t *Table) abandon(r kv.Ref, w *waiter) {
	select {
	case <-w.granted:
		t.release([]kv.Ref{r})
	default:
		l := t.locks[r.Key]
		l.queue = slices.DeleteFunc(l.queue, func(q *waiter) bool { return q == w })
		l.count(w, -1)
		t.advance(r.Key, l)
	}
}

// advance grants the queue's front, as far as it is compatible.
func (t *Table) advance(key string, l *lock) {
	for len(l.queue) > 0 && l.free(l.queue[0].mode) {
		w := l.queue[0]
		l.queue = l.queue[1:]
		l.count(w, -1)
		l.grant(w.mode)
		close(w.granted)
	}
	if len(l.queue) == 0 && l.shared == 0 && !l.exclusive {
		delete(t.locks, key)
	}
}

func (l *lock) count(w *waiter, n int) {
	if !w.urgent {
		l.bounded += n
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
