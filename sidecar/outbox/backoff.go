package outbox

import "time"

// Backoff says when a message that was not taken is tried again: after a random time
// from nothing to Base × 2^tries, at most Most ("full jitter": so that the messages
// which a receiver missed together do not come back together).
type Backoff struct {
	Base time.Duration // zero: 1 s
	Most time.Duration // zero: 10 min
	// Tries after which a message is a dead letter. Zero means 20: an hour, about.
	Tries int
}

func (b Backoff) withDefaults() Backoff {
	if b.Base == 0 {
		b.Base = time.Second
	}
	if b.Most == 0 {
		b.Most = 10 * time.Minute
	}
	if b.Tries == 0 {
		b.Tries = 20
	}
	return b
}

// wait is how long to wait after so many tries, 1 and more. random returns a number
// from 0 to below n.
func (b Backoff) wait(tries int, random func(n int64) int64) time.Duration {
	most := b.Base
	for range tries - 1 {
		if most >= b.Most/2 {
			most = b.Most
			break
		}
		most *= 2
	}
	return time.Duration(random(int64(min(most, b.Most)) + 1))
}
