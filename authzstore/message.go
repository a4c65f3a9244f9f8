package authzstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
)

// A Message goes to one terminal. It names a code and never holds it: that is made
// when the message is delivered.
type Message struct {
	ID       string `cbor:"1,keyasint" json:"id"`       // msg_…
	Kind     string `cbor:"2,keyasint" json:"kind"`     // snake_case, such as code
	Terminal string `cbor:"3,keyasint" json:"terminal"` // trm_…
	Account  string `cbor:"4,keyasint" json:"account"`  // acc_…
	// TerminalBoundAtNanos is that of the terminal when the message was written: one
	// that is unbound or bound anew gets it no more.
	TerminalBoundAtNanos int64 `cbor:"5,keyasint" json:"terminal_bound_at_ns"`
	// What it is about; 0 and empty where that has none. Requester is who asked:
	// the initiator of the intent that it is about, or else of the call.
	AmountMinor int64    `cbor:"6,keyasint,omitempty" json:"amount_minor,omitempty"`
	Currency    string   `cbor:"7,keyasint,omitempty" json:"currency,omitempty"`
	Payee       string   `cbor:"8,keyasint,omitempty" json:"payee,omitempty"`
	Requester   Identity `cbor:"9,keyasint" json:"requester"`
	// Challenge is that which it is about (chl_…), and where it brings a code of it,
	// CodeCounter is the code's (RFC 4226).
	Challenge   string `cbor:"10,keyasint,omitempty" json:"challenge,omitempty"`
	CodeCounter uint64 `cbor:"11,keyasint,omitempty" json:"code_counter,omitempty"`
	// StoredCode is the stored code that it brings; nil where it brings none.
	StoredCode *StoredCodeRef    `cbor:"12,keyasint,omitempty" json:"stored_code,omitempty"`
	Intent     string            `cbor:"13,keyasint,omitempty" json:"intent,omitempty"` // int_…
	Details    map[string]string `cbor:"14,keyasint,omitempty" json:"details,omitempty"`
	// CreatedAtNanos is when it was sent; past ExpiresAtNanos it is not delivered.
	CreatedAtNanos int64 `cbor:"15,keyasint" json:"created_at_ns"`
	ExpiresAtNanos int64 `cbor:"16,keyasint" json:"expires_at_ns"`
}

// A StoredCodeRef names one stored code.
type StoredCodeRef struct {
	Account string `cbor:"1,keyasint" json:"account"`
	Slot    int    `cbor:"2,keyasint" json:"slot"`
	Seq     int64  `cbor:"3,keyasint" json:"seq"`
}

// A NumberedMessage is a message and its place among those of its terminal, from
// 1, without gaps.
type NumberedMessage struct {
	Num uint64 `json:"number"`
	Message
}

// A Mailbox counts what was sent to one terminal.
type Mailbox struct {
	Terminal string `cbor:"1,keyasint" json:"terminal"`
	// InHour messages were sent since HourNanos, in the hour that starts there.
	HourNanos int64 `cbor:"2,keyasint" json:"hour_ns"`
	InHour    int64 `cbor:"3,keyasint" json:"in_hour"`
	// Sent is how many were sent in all: the number of the last one.
	Sent uint64 `cbor:"4,keyasint" json:"sent"`
	// OthersInHour of those in the hour are what others wanted than the account's people.
	OthersInHour int64 `cbor:"5,keyasint,omitempty" json:"others_in_hour,omitempty"`
}

// Bounds of messages.
const (
	MaxMessagesPerHour = 60
	// MaxOthersPerHour of them are what others want than the account's people, all of
	// those together: however many conspire, its people are still reached.
	MaxOthersPerHour  = MaxMessagesPerHour / 2
	MaxMessageDetails = 8
	// MaxMessageLife is how long a message is delivered at most. Messages go with the
	// records of their time, so [Store.Prune] keeps all records for as long.
	MaxMessageLife = 24 * time.Hour
)

const (
	messageVersion = 1
	// A stream message/TERMINAL holds the messages of each terminal.
	messageStreams = "message/"

	mailboxVersion = 1
	mailboxPrefix  = "mailbox/"
)

func (m Message) bad(format string, args ...any) error {
	return fmt.Errorf("%w: message %s "+format, append([]any{ErrInvalid, m.ID}, args...)...)
}

func (m Message) check() error {
	for _, err := range []error{
		checkID("message", "msg", m.ID), checkID("terminal", "trm", m.Terminal), checkID("account", "acc", m.Account),
		m.Requester.check(), checkPurpose(m.AmountMinor, m.Currency, m.Payee), checkTexts("detail", m.Details, MaxMessageDetails),
		m.checkAbout(),
	} {
		if err != nil {
			return err
		}
	}
	switch {
	case !IsSnakeCase(m.Kind):
		return m.bad("is of the kind %q", m.Kind)
	case m.ExpiresAtNanos < m.CreatedAtNanos || m.ExpiresAtNanos-m.CreatedAtNanos > int64(MaxMessageLife):
		return m.bad("is of %d and expires at %d, at most %v later", m.CreatedAtNanos, m.ExpiresAtNanos, MaxMessageLife)
	}
	return nil
}

func (m Message) checkAbout() error {
	switch {
	case m.CodeCounter != 0 && m.Challenge == "":
		return m.bad("brings a code of no challenge")
	case m.StoredCode != nil && m.Challenge != "":
		return m.bad("brings two codes")
	}
	if m.Challenge != "" {
		if err := checkID("challenge", "chl", m.Challenge); err != nil {
			return err
		}
	}
	if m.Intent != "" {
		if err := checkID("intent", "int", m.Intent); err != nil {
			return err
		}
	}
	if c := m.StoredCode; c != nil && (c.Account != m.Account || c.Slot < 0 || c.Slot >= MaxStoredCodes || c.Seq < 1) {
		return m.bad("brings the stored code %+v", *c)
	}
	return nil
}

func (m Mailbox) check() error {
	if m.InHour < 1 || m.InHour > MaxMessagesPerHour || m.Sent < uint64(m.InHour) {
		return fmt.Errorf("%w: mailbox of %s with %d messages, %d in an hour, at most %d", ErrInvalid, m.Terminal, m.Sent, m.InHour, MaxMessagesPerHour)
	}
	if m.OthersInHour < 0 || m.OthersInHour > min(m.InHour, MaxOthersPerHour) {
		return fmt.Errorf("%w: mailbox of %s with %d messages of others in an hour, at most %d", ErrInvalid, m.Terminal, m.OthersInHour, MaxOthersPerHour)
	}
	return checkID("terminal", "trm", m.Terminal)
}

// SendRefs declares what Send touches.
func SendRefs(terminal string) []kv.Ref { return []kv.Ref{MailboxRef(terminal, kv.Exclusive)} }

// MailboxRef declares the mailbox of a terminal.
func MailboxRef(terminal string, mode kv.Mode) kv.Ref {
	return kv.Ref{Key: mailboxPrefix + terminal, Mode: mode}
}

// Mailbox returns what was sent to a terminal.
func (r Reader) Mailbox(terminal string) (Mailbox, error) {
	m, ok, err := getOwn(r, mailboxPrefix, terminal, mailboxVersion, func(m Mailbox) string { return m.Terminal })
	if !ok {
		m.Terminal = terminal
	}
	return m, err
}

// Send sends a message to its terminal, under m.ID, which is new and random.
// CreatedAtNanos is filled in. ErrTooManyMessages; ErrInvalid.
func (tx *Tx) Send(m Message) error { return tx.send(m, 0) }

// SendForOther is Send of what somebody wants who is not of the account. ErrTooManyMessages
// also for more of those than MaxOthersPerHour.
func (tx *Tx) SendForOther(m Message) error { return tx.send(m, 1) }

func (tx *Tx) send(m Message, ofOthers int64) error {
	box, err := tx.Mailbox(m.Terminal)
	if err != nil {
		return err
	}
	if box.Sent == 0 || tx.Now()-box.HourNanos >= int64(time.Hour) {
		box.HourNanos, box.InHour, box.OthersInHour = tx.Now(), 0, 0
	}
	if box.InHour >= MaxMessagesPerHour || box.OthersInHour+ofOthers > MaxOthersPerHour {
		return fmt.Errorf("%w: %d to %s within an hour, %d of them for others", ErrTooManyMessages, box.InHour, m.Terminal, box.OthersInHour)
	}
	box.InHour++
	box.OthersInHour += ofOthers
	box.Sent++
	m.CreatedAtNanos = tx.Now()
	val, err := encode(messageVersion, tx.Now(), m)
	if err != nil {
		return err
	}
	if err := put(tx, mailboxPrefix+m.Terminal, mailboxVersion, box); err != nil {
		return err
	}
	return tx.kv.Append(messageStreams+m.Terminal, m.ID, val)
}

// Messages returns the messages of a terminal numbered from and later, in order,
// most of them at most (1 to MaxPage). Those that retention has removed are left
// out.
func (s Snapshot) Messages(terminal string, from uint64, most int) (messages []NumberedMessage, err error) {
	most = max(1, min(most, MaxPage))
	err = s.snap.Stream(messageStreams+terminal, from, func(e kv.Entry) error {
		m, err := readMessage(terminal, e)
		if err != nil {
			return err
		}
		messages = append(messages, NumberedMessage{e.Num, m})
		if len(messages) == most {
			return errPageFull
		}
		return nil
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return messages, err
}

func readMessage(terminal string, e kv.Entry) (Message, error) {
	m, _, err := decode[Message]("message "+e.ID, messageVersion, e.Rec)
	if err == nil && (m.ID != e.ID || m.Terminal != terminal) {
		err = fmt.Errorf("%w: message %s of %s holds %s of %s", ErrDamaged, e.ID, terminal, m.ID, m.Terminal)
	}
	return m, err
}
