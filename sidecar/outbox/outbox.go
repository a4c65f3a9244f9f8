package outbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// Config of an Outbox. Store, Now and the Renderer are needed.
type Config struct {
	// Store that the messages are in.
	Store *authzstore.Store
	// Renderer makes what is delivered.
	Renderer Renderer
	// Now is the time by which messages and sessions expire. While nobody can say, nothing
	// is delivered.
	Now func() (time.Time, error)
	// Receivers that webhooks may go to. A terminal whose webhook leads elsewhere gets
	// none.
	Receivers []Receiver
	// Roots that receivers' certificates are checked against. Nil means the system's.
	Roots *x509.CertPool
	// Backoff of what receivers do not take.
	Backoff Backoff
	// MessageLog gets every message as a line of JSON, with its code: for trying things
	// out. Nil means none.
	MessageLog io.Writer
	// PingEvery is the time between two signs of life in a stream where nothing happens.
	// Zero means DefaultPing.
	PingEvery time.Duration
	// WriteTimeout is how long the reader of a stream may take to take one event. Zero
	// means 10 s.
	WriteTimeout time.Duration
	// After calls a function later, unless stopped. Nil means time.AfterFunc.
	After func(wait time.Duration, fn func()) (stop func())
	// Deadline is a time of the system's clock from now on, for its network. Nil means
	// by time.Now.
	Deadline func(in time.Duration) time.Time
	// Random returns a number from 0 to below n. Nil means math/rand/v2: it only spreads
	// load.
	Random func(n int64) int64
	// Log receives what went wrong, and nothing of a message. Nil means slog.Default.
	Log *slog.Logger
}

// DefaultPing is the default of PingEvery. What stands between must wait longer before
// it gives a silent stream up.
const DefaultPing = 15 * time.Second

const (
	defaultWriteTimeout = 10 * time.Second
	// retryStore is when the store is asked again that did not answer, and the clock that
	// did not know the time.
	retryStore = time.Second
	// scanEvery is how often terminals are looked through if some were left out.
	scanEvery = time.Minute
)

func (cfg Config) withDefaults() Config {
	cfg.Backoff = cfg.Backoff.withDefaults()
	cfg.PingEvery = cmp.Or(cfg.PingEvery, DefaultPing)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, defaultWriteTimeout)
	if cfg.After == nil {
		cfg.After = func(wait time.Duration, fn func()) func() {
			timer := time.AfterFunc(wait, fn)
			return func() { timer.Stop() }
		}
	}
	if cfg.Deadline == nil {
		cfg.Deadline = func(in time.Duration) time.Time { return time.Now().Add(in) }
	}
	if cfg.Random == nil {
		cfg.Random = rand.Int64N
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return cfg
}

// An Outbox delivers the messages of one store. Its methods may be called
// concurrently.
type Outbox struct {
	cfg      Config
	webhook  *webhook
	schedule schedule
	streams  streams
	log      *messageLog // nil: none
	counts   counts
	warned   warnings
}

// New returns an outbox, or says what is wrong with its receivers.
func New(cfg Config) (*Outbox, error) {
	o := &Outbox{cfg: cfg.withDefaults(), streams: streams{open: map[string]*subscription{}}}
	var err error
	if o.webhook, err = newWebhook(o.cfg.Receivers, o.cfg.Roots); err != nil {
		return nil, err
	}
	o.schedule.step, o.schedule.after = o.step, o.cfg.After
	if o.cfg.MessageLog != nil {
		o.log = &messageLog{outbox: o, messages: make(chan authzstore.NumberedMessage, maxLogged)}
	}
	return o, nil
}

// Run delivers until ctx is done, and then ends all streams. It is called once.
func (o *Outbox) Run(ctx context.Context) {
	o.schedule.start(ctx)
	defer o.schedule.wait()
	defer o.streams.shut()
	if o.log != nil {
		defer o.log.start()()
	}
	for {
		err := o.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, kv.ErrFailed) || errors.Is(err, kv.ErrClosed) {
			<-ctx.Done()
			return
		}
		o.cfg.Log.Error("messages cannot be read; it is tried again", "error", told(err))
		o.pause(ctx, retryStore)
	}
}

// pause waits, or until ctx is done.
func (o *Outbox) pause(ctx context.Context, wait time.Duration) {
	over := make(chan struct{})
	stop := o.cfg.After(wait, func() { close(over) })
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// follow looks for what was not delivered until now, and then delivers what comes, as
// long as the store can be read.
func (o *Outbox) follow(ctx context.Context) error {
	var from kv.Pos
	err := o.cfg.Store.View(ctx, func(s authzstore.Snapshot) error {
		from = s.Pos()
		return nil
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	scanned := make(chan struct{})
	go func() {
		defer close(scanned)
		if err := o.keepScanning(ctx); err != nil {
			cancel(err)
		}
	}()
	o.streams.wakeAll() // what came before from nobody told them of
	err = o.cfg.Store.FollowTerminals(ctx, from, func(e authzstore.TerminalEvent) error { return o.happened(ctx, e) })
	cancel(nil)
	<-scanned
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// happened passes on what became durable.
func (o *Outbox) happened(ctx context.Context, e authzstore.TerminalEvent) error {
	o.streams.wake(e.Terminal)
	if e.Num > 0 && o.log != nil {
		o.log.take(authzstore.NumberedMessage{Num: e.Num, Message: e.Message})
	}
	return o.cfg.Store.View(ctx, func(s authzstore.Snapshot) error {
		t, ok, err := s.Terminal(e.Terminal)
		if err == nil && ok {
			o.wake(t, e.Num == 0)
		}
		return err
	})
}

// wake has the messages of a terminal delivered, if it has a webhook.
func (o *Outbox) wake(t authzstore.Terminal, changed bool) {
	if t.Webhook != "" && t.State == authzstore.TerminalBound {
		o.schedule.wake(t.ID, o.laneOf(t.Webhook), changed)
	}
}

// laneOf is where a webhook's turn is waited for: its receiver's address, or "" for
// all that have none.
func (o *Outbox) laneOf(webhook string) string {
	address, _ := addressOfWebhook(webhook)
	if _, known := o.webhook.receivers[address]; !known {
		return ""
	}
	return address
}

// keepScanning looks through all terminals, and again after one was left out, until ctx
// is done.
func (o *Outbox) keepScanning(ctx context.Context) error {
	if err := o.scan(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		o.pause(ctx, scanEvery)
		if !o.schedule.leftOut() {
			continue
		}
		if err := o.scan(ctx); err != nil {
			return err
		}
	}
	return nil
}

// scan wakes every terminal that has a webhook and messages which were not delivered.
func (o *Outbox) scan(ctx context.Context) error {
	for after := ""; ; {
		err := o.cfg.Store.View(ctx, func(s authzstore.Snapshot) error {
			terminals, next, err := s.Terminals(after, authzstore.MaxPage)
			after = next
			for _, t := range terminals {
				if err != nil {
					break
				}
				err = o.wakeLagging(s, t)
			}
			return err
		})
		if err != nil || after == "" {
			return err
		}
	}
}

func (o *Outbox) wakeLagging(s authzstore.Snapshot, t authzstore.Terminal) error {
	if t.Webhook == "" {
		return nil
	}
	box, err := s.Mailbox(t.ID)
	if err != nil {
		return err
	}
	d, err := s.Delivery(t.ID)
	if err == nil && box.Sent > d.Acked {
		o.wake(t, false)
	}
	return err
}

// Stats are what an outbox did since its start, and does now.
type Stats struct {
	Delivered int64 // webhooks that were taken
	Failed    int64 // tries that were not
	Dead      int64 // messages that were given up
	Waiting   int   // terminals with something to be delivered by webhook
	Streams   int   // that are open
	Streamed  int64 // events in them
	LeftOut   int64 // messages that the message log lacks
}

type counts struct{ delivered, failed, dead, streamed, notLogged atomic.Int64 }

// Stats returns the numbers.
func (o *Outbox) Stats() Stats {
	return Stats{
		Delivered: o.counts.delivered.Load(), Failed: o.counts.failed.Load(), Dead: o.counts.dead.Load(),
		Waiting: o.schedule.size(), Streams: o.streams.size(), Streamed: o.counts.streamed.Load(),
		LeftOut: o.counts.notLogged.Load(),
	}
}

// sender is who writes down what was delivered.
var sender = authzstore.Identity{Kind: "sidecar", Issuer: "local", Subject: "outbox"}

// update writes how far the messages of a terminal were delivered.
func (o *Outbox) update(ctx context.Context, terminal string, now time.Time, fn func(*authzstore.Tx) error) error {
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: sender, NowNanos: now.UnixNano()}
	return o.cfg.Store.Update(ctx, cause, authzstore.AckRefs(terminal), fn)
}
