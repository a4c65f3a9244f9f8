package outbox

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// ackTimeout bounds the wait for the store once a message was taken.
const ackTimeout = 5 * time.Second

// maxPassedOver is how many messages are given up at a time.
const maxPassedOver = 256

// A head is what comes next for a terminal by webhook.
type head struct {
	webhook   string // "": the terminal has none, or is not bound
	acked     uint64
	message   authzstore.NumberedMessage // number 0: there is none
	envelope  Envelope
	hindrance Hindrance
}

// step takes the next step of a terminal's delivery: it gives one message to the
// receiver, or gives messages up that cannot be delivered any more.
func (o *Outbox) step(ctx context.Context, c *course) next {
	now, err := o.cfg.Now()
	if err != nil {
		return next{wait: retryStore}
	}
	h, err := o.head(ctx, c, now.UnixNano())
	if err == nil && c.taken > h.acked {
		err = o.acknowledge(ctx, c, now)
	}
	if err != nil {
		return o.storeFailed(ctx, err)
	}
	c.address = o.laneOf(h.webhook)
	switch {
	case h.webhook == "" || h.message.Num == 0 || h.hindrance == Held:
		return next{idle: true}
	case h.hindrance == NoCode:
		return o.bury(ctx, h.message, string(NoCode), now)
	case h.hindrance != "":
		return o.passOver(ctx, c.terminal, now)
	}
	return o.try(ctx, c, h, now)
}

// head reads what comes next, and whether it can be delivered.
func (o *Outbox) head(ctx context.Context, c *course, nowNanos int64) (h head, err error) {
	err = o.cfg.Store.View(ctx, func(s authzstore.Snapshot) error {
		t, ok, err := s.Terminal(c.terminal)
		if err != nil {
			return err
		}
		d, err := s.Delivery(c.terminal)
		if err != nil {
			return err
		}
		h.acked = d.Acked
		if !ok || t.State != authzstore.TerminalBound || t.Webhook == "" {
			return nil
		}
		h.webhook = t.Webhook
		messages, err := s.Messages(c.terminal, max(d.Acked, c.taken)+1, 1)
		if err != nil || len(messages) == 0 {
			return err
		}
		h.message = messages[0]
		h.envelope, h.hindrance, err = o.cfg.Renderer.Render(s.Reader, h.message, nowNanos)
		return err
	})
	return h, err
}

// try sends a message once.
func (o *Outbox) try(ctx context.Context, c *course, h head, now time.Time) next {
	body, err := json.Marshal(h.envelope)
	if err != nil {
		return o.bury(ctx, h.message, "not_json", now) // cannot be: texts and numbers
	}
	if c.num != h.message.Num {
		c.num, c.tries = h.message.Num, 0
	}
	failed := o.webhook.send(ctx, h.webhook, h.message.ID, now, body)
	if failed == "" {
		o.counts.delivered.Add(1)
		c.taken = h.message.Num
		if err := o.acknowledge(ctx, c, now); err != nil {
			return o.storeFailed(ctx, err)
		}
		return next{}
	}
	if ctx.Err() != nil {
		return next{idle: true}
	}
	o.counts.failed.Add(1)
	if o.warned.now(c.address, o.cfg.After) {
		o.cfg.Log.Warn("a webhook was not taken", "receiver", c.address, "code", string(failed))
	}
	if c.tries++; c.tries >= o.cfg.Backoff.Tries {
		return o.bury(ctx, h.message, string(failed), now)
	}
	// The shortest wait is one: what failed is never tried again at once.
	return next{wait: max(time.Millisecond, o.cfg.Backoff.wait(c.tries, o.cfg.Random))}
}

// acknowledge writes that what was taken needs no delivery any more, also while the
// process is told to stop: else it would be delivered again.
func (o *Outbox) acknowledge(ctx context.Context, c *course, now time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout)
	defer cancel()
	return o.update(ctx, c.terminal, now, func(tx *authzstore.Tx) error { return tx.AckMessages(c.terminal, c.taken) })
}

func (o *Outbox) storeFailed(ctx context.Context, err error) next {
	if ctx.Err() == nil && o.warned.now("store", o.cfg.After) {
		o.cfg.Log.Error("deliveries wait for the store", "error", told(err))
	}
	return next{wait: retryStore}
}

// bury gives one message up.
func (o *Outbox) bury(ctx context.Context, m authzstore.NumberedMessage, why string, now time.Time) next {
	err := o.update(ctx, m.Terminal, now, func(tx *authzstore.Tx) error {
		return tx.BuryMessage(m.Terminal, deadLetter(m, why))
	})
	if err != nil {
		return o.storeFailed(ctx, err)
	}
	o.buried(why, 1)
	return next{}
}

func deadLetter(m authzstore.NumberedMessage, why string) authzstore.DeadLetter {
	return authzstore.DeadLetter{Num: m.Num, MessageID: m.ID, Kind: m.Kind, Why: why}
}

func (o *Outbox) buried(why string, dead int) {
	o.counts.dead.Add(int64(dead))
	o.cfg.Log.Warn("messages were given up", "code", why, "dead", dead)
}

// passOver gives up what comes next for a terminal and cannot be delivered any more.
func (o *Outbox) passOver(ctx context.Context, terminal string, now time.Time) next {
	var given []authzstore.DeadLetter
	err := o.cfg.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
		given, err = o.undeliverable(s, terminal, now.UnixNano())
		return err
	})
	if err == nil && len(given) > 0 {
		err = o.update(ctx, terminal, now, func(tx *authzstore.Tx) error {
			for _, l := range given {
				if err := tx.BuryMessage(terminal, l); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return o.storeFailed(ctx, err)
	}
	if len(given) > 0 {
		o.buried(given[0].Why, len(given))
	}
	return next{}
}

// undeliverable are the messages that come next and cannot be delivered any more.
func (o *Outbox) undeliverable(s authzstore.Snapshot, terminal string, nowNanos int64) (dead []authzstore.DeadLetter, err error) {
	d, err := s.Delivery(terminal)
	if err != nil {
		return nil, err
	}
	messages, err := s.Messages(terminal, d.Acked+1, maxPassedOver)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		_, hindrance, err := o.cfg.Renderer.Render(s.Reader, m, nowNanos)
		if err != nil || hindrance != Expired && hindrance != Rebound {
			return dead, err
		}
		dead = append(dead, deadLetter(m, string(hindrance)))
	}
	return dead, nil
}

// warnings are what was complained of within the last minute: receivers, and the store.
type warnings struct {
	mu     sync.Mutex
	lately map[string]bool // by what it was about
}

const warnEvery = time.Minute

// now tells whether to complain again.
func (w *warnings) now(about string, after func(time.Duration, func()) func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lately[about] {
		return false
	}
	if w.lately == nil {
		w.lately = map[string]bool{}
	}
	w.lately[about] = true
	after(warnEvery, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.lately, about)
	})
	return true
}
