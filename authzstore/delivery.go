package authzstore

import (
	"fmt"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Delivery is how far the messages of one terminal were delivered.
type Delivery struct {
	Terminal string `cbor:"1,keyasint" json:"terminal"`
	// Acked is the number of the last message that needs no delivery any more, as
	// none before it does; 0: all do.
	Acked uint64 `cbor:"2,keyasint,omitempty" json:"acked"`
	// Dead are the messages that were given up, the latest 32, oldest first.
	Dead []DeadLetter `cbor:"3,keyasint,omitempty" json:"dead,omitempty"`
}

// A DeadLetter is a message that was given up.
type DeadLetter struct {
	Num       uint64 `cbor:"1,keyasint" json:"number"`
	MessageID string `cbor:"2,keyasint" json:"message_id"` // msg_…
	Kind      string `cbor:"3,keyasint" json:"kind"`
	AtNanos   int64  `cbor:"4,keyasint" json:"at_ns"`
	Why       string `cbor:"5,keyasint" json:"why"` // for people, without secrets
}

// MaxDeadLetters is how many messages that were given up are remembered.
const MaxDeadLetters = 32

const (
	deliveryVersion = 1
	deliveryPrefix  = "delivery/"
)

func (d Delivery) check() error {
	if len(d.Dead) > MaxDeadLetters {
		return fmt.Errorf("%w: %d dead letters of %s, at most %d", ErrInvalid, len(d.Dead), d.Terminal, MaxDeadLetters)
	}
	after := uint64(0)
	for _, l := range d.Dead {
		if err := checkID("message", "msg", l.MessageID); err != nil {
			return err
		}
		if l.Num <= after || l.Num > d.Acked || !IsSnakeCase(l.Kind) || !isName(l.Why) {
			return fmt.Errorf("%w: dead letter %d of %s, of the kind %q", ErrInvalid, l.Num, d.Terminal, l.Kind)
		}
		after = l.Num
	}
	return checkID("terminal", "trm", d.Terminal)
}

// DeliveryRef declares how far the messages of a terminal were delivered.
func DeliveryRef(terminal string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: deliveryPrefix + terminal, Mode: mode}
}

// AckRefs declares what AckMessages and BuryMessage touch.
func AckRefs(terminal string) []kv.Ref {
	return []kv.Ref{DeliveryRef(terminal, kv.Exclusive), MailboxRef(terminal, kv.Shared)}
}

// Delivery returns how far the messages of a terminal were delivered.
func (r Reader) Delivery(terminal string) (Delivery, error) {
	d, ok, err := getOwn(r, deliveryPrefix, terminal, deliveryVersion, func(d Delivery) string { return d.Terminal })
	if !ok {
		d.Terminal = terminal
	}
	return d, err
}

// AckMessages says that the messages of a terminal up to a number need no delivery
// any more. It only grows: an earlier number changes nothing. ErrInvalid for a
// message that was not sent.
func (tx *Tx) AckMessages(terminal string, upTo uint64) error {
	d, err := tx.deliveryTo(terminal, upTo)
	if err != nil || upTo <= d.Acked {
		return err
	}
	d.Acked = upTo
	return tx.putDelivery(d)
}

// BuryMessage gives up a message of a terminal, and says so: it and those before it
// need no delivery any more. AtNanos is filled in. One that needed none changes
// nothing. ErrInvalid, also for a message that was not sent.
func (tx *Tx) BuryMessage(terminal string, l DeadLetter) error {
	d, err := tx.deliveryTo(terminal, l.Num)
	if err != nil || l.Num <= d.Acked {
		return err
	}
	l.AtNanos = tx.Now()
	d.Acked, d.Dead = l.Num, latest(append(d.Dead, l), MaxDeadLetters)
	return tx.putDelivery(d)
}

func (tx *Tx) deliveryTo(terminal string, num uint64) (Delivery, error) {
	box, err := tx.Mailbox(terminal)
	if err != nil {
		return Delivery{}, err
	}
	if num > box.Sent {
		return Delivery{}, fmt.Errorf("%w: message %d of %s, of which %d were sent", ErrInvalid, num, terminal, box.Sent)
	}
	return tx.Delivery(terminal)
}

func (tx *Tx) putDelivery(d Delivery) error {
	return put(tx, deliveryPrefix+d.Terminal, deliveryVersion, d)
}
