package outbox

import (
	"context"
	"encoding/json"
	"time"

	"github.com/countersign/countersign/authzstore"
)

// Bounds of the message log.
const (
	maxLogged = 1024            // messages that wait for the writer
	logFlush  = 5 * time.Second // for what waits when the outbox ends
)

// A messageLog writes every message, with its code, as a line of JSON: whoever tries
// things out has no terminals. It is no way of delivery: what its writer does not take
// is left out and counted, and nothing waits for it.
type messageLog struct {
	outbox   *Outbox
	messages chan authzstore.NumberedMessage
}

func (l *messageLog) take(m authzstore.NumberedMessage) {
	select {
	case l.messages <- m:
	default:
		l.outbox.counts.notLogged.Add(1)
	}
}

// start writes until stop, which waits for what was taken, for a time. Nothing is taken
// any more then.
func (l *messageLog) start() (stop func()) {
	l.outbox.cfg.Log.Warn("every message is written to a log with its code: only to try things out")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for m := range l.messages {
			if err := l.write(m); err != nil {
				l.outbox.counts.notLogged.Add(1)
				l.outbox.cfg.Log.Error("a message is not in the message log", "error", told(err))
			}
		}
	}()
	return func() {
		close(l.messages)
		late := make(chan struct{})
		defer l.outbox.cfg.After(logFlush, func() { close(late) })()
		select {
		case <-ended:
		case <-late:
		}
	}
}

func (l *messageLog) write(m authzstore.NumberedMessage) error {
	now, err := l.outbox.cfg.Now()
	if err != nil {
		return err
	}
	var envelope Envelope
	var hindrance Hindrance
	err = l.outbox.cfg.Store.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		envelope, hindrance, err = l.outbox.cfg.Renderer.Render(s.Reader, m, now.UnixNano())
		return err
	})
	if err != nil || hindrance != "" {
		return err
	}
	line, err := json.Marshal(envelope)
	if err == nil {
		_, err = l.outbox.cfg.MessageLog.Write(append(line, '\n'))
	}
	return err
}
