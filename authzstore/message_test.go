package authzstore

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
)

// notice is a message to one of Anna's terminals.
func (d *desk) notice(id, terminal string) Message {
	return Message{
		ID: id, Kind: "deduction_notice", Terminal: terminal, Account: "acc_anna", TerminalBoundAtNanos: d.now,
		AmountMinor: 100, Currency: "EUR", Payee: "mer_bakery", Requester: agent,
		Details: map[string]string{"shop": "Brot & Söhne"}, ExpiresAtNanos: d.now + hour,
	}
}

func (d *desk) send(m Message) error {
	return d.do(SendRefs(m.Terminal), func(tx *Tx) error { return tx.Send(m) })
}

func (d *desk) mustSend(t testing.TB, m Message) {
	t.Helper()
	if err := d.send(m); err != nil {
		t.Fatal(err)
	}
}

func (d *desk) messages(t testing.TB, terminal string, from uint64, most int) (messages []NumberedMessage) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		messages, err = s.Messages(terminal, from, most)
		return err
	})
	return messages
}

func (d *desk) delivery(t testing.TB, terminal string) (del Delivery) {
	t.Helper()
	d.read(t, func(s Snapshot) (err error) {
		del, err = s.Delivery(terminal)
		return err
	})
	return del
}

// TestMessages: each terminal has its own, numbered in the order in which they were
// sent, with everything that was in them.
func TestMessages(t *testing.T) {
	d := askedDesk(t)
	d.mustIssue(t, d.codes("chl_1"))
	d.mustOpen(t, d.order("int_1"))
	code := d.notice("msg_1", "trm_1")
	code.Kind, code.Challenge, code.CodeCounter, code.Intent = "code", "chl_1", 7, "int_1"
	code.CreatedAtNanos = 5
	stored := d.notice("msg_2", "trm_1")
	stored.Kind, stored.StoredCode = "stored_code", &StoredCodeRef{"acc_anna", 3, 9}
	least := d.notice("msg_3", "trm_2")
	least.AmountMinor, least.Currency, least.Payee, least.Details = 0, "", "", nil
	// In one transaction as well as in several.
	d.must(t, append(SendRefs("trm_1"), SendRefs("trm_2")...), func(tx *Tx) error {
		for _, m := range []Message{code, least, stored} {
			if err := tx.Send(m); err != nil {
				return err
			}
		}
		return nil
	})
	d.now++
	d.mustSend(t, d.notice("msg_4", "trm_1"))
	code.CreatedAtNanos, stored.CreatedAtNanos, least.CreatedAtNanos = d.now-1, d.now-1, d.now-1
	last := d.notice("msg_4", "trm_1")
	last.CreatedAtNanos = d.now
	ones := []NumberedMessage{{1, code}, {2, stored}, {3, last}}
	for _, c := range []struct {
		terminal string
		from     uint64
		most     int
		want     []NumberedMessage
	}{
		{"trm_1", 0, 10, ones}, {"trm_1", 1, 10, ones}, {"trm_1", 1, 2, ones[:2]}, {"trm_1", 2, 2, ones[1:]}, {"trm_1", 2, 0, ones[1:2]},
		{"trm_1", 4, 10, nil}, {"trm_2", 1, 10, []NumberedMessage{{1, least}}}, {"trm_3", 1, 10, nil},
	} {
		if got := d.messages(t, c.terminal, c.from, c.most); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d of %s from %d: %+v, want %+v", c.most, c.terminal, c.from, got, c.want)
		}
	}
	d.clean(t)
}

func TestMessageRules(t *testing.T) {
	d := askedDesk(t)
	for note, bend := range map[string]func(*Message){
		"an id of a record":            func(m *Message) { m.ID = "dec_1" },
		"a kind in capitals":           func(m *Message) { m.Kind = "Code" },
		"no terminal":                  func(m *Message) { m.Terminal = "acc_1" },
		"no account":                   func(m *Message) { m.Account = "" },
		"no requester":                 func(m *Message) { m.Requester = Identity{} },
		"a negative amount":            func(m *Message) { m.AmountMinor = -1 },
		"an amount of nothing":         func(m *Message) { m.Currency = "" },
		"a payee with a line":          func(m *Message) { m.Payee = "a\nb" },
		"a challenge that is none":     func(m *Message) { m.Challenge = "int_1" },
		"an intent that is none":       func(m *Message) { m.Intent = "chl_1" },
		"a code of no challenge":       func(m *Message) { m.CodeCounter = 1 },
		"two codes":                    func(m *Message) { m.Challenge, m.StoredCode = "chl_1", &StoredCodeRef{"acc_anna", 0, 1} },
		"another account's code":       func(m *Message) { m.StoredCode = &StoredCodeRef{"acc_ben", 0, 1} },
		"a code in a ninth slot":       func(m *Message) { m.StoredCode = &StoredCodeRef{"acc_anna", 8, 1} },
		"a code without a number":      func(m *Message) { m.StoredCode = &StoredCodeRef{"acc_anna", 0, 0} },
		"nine details":                 func(m *Message) { m.Details = manyTexts(MaxMessageDetails + 1) },
		"a detail of too many bytes":   func(m *Message) { m.Details = map[string]string{"shop": strings.Repeat("x", 257)} },
		"expired":                      func(m *Message) { m.ExpiresAtNanos = d.now - 1 },
		"longer than records are kept": func(m *Message) { m.ExpiresAtNanos = d.now + int64(MaxMessageLife) + 1 },
	} {
		bad := d.notice("msg_1", "trm_1")
		bend(&bad)
		if err := d.send(bad); err == nil {
			t.Errorf("%s: sent", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	longest := d.notice("msg_1", "trm_1")
	longest.ExpiresAtNanos, longest.Details = d.now+int64(MaxMessageLife), manyTexts(MaxMessageDetails)
	d.mustSend(t, longest)
	d.clean(t)
}

// What others want leaves room, and its own count begins with the hour's.
func TestMessagesForOthersPerHour(t *testing.T) {
	d := askedDesk(t)
	start, n := d.now, 0
	sendForOther := func() error {
		n++
		m := d.notice(fmt.Sprintf("msg_%d", n), "trm_1")
		return d.do(SendRefs(m.Terminal), func(tx *Tx) error { return tx.SendForOther(m) })
	}
	for range MaxOthersPerHour {
		if err := sendForOther(); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, sendForOther(), ErrTooManyMessages)
	if err := d.send(d.notice("msg_own", "trm_1")); err != nil {
		t.Error(err)
	}
	d.now = start + hour - 1
	wantError(t, sendForOther(), ErrTooManyMessages)
	d.now++
	if err := sendForOther(); err != nil {
		t.Error(err)
	}
	d.clean(t)
}

// TestMessagesPerHour: sixty in the hour that starts with the first one, for each
// terminal.
func TestMessagesPerHour(t *testing.T) {
	d := askedDesk(t)
	start := d.now
	n := 0
	send := func(terminal string) error {
		n++
		return d.send(d.notice(fmt.Sprintf("msg_%d", n), terminal))
	}
	for range MaxMessagesPerHour {
		if err := send("trm_1"); err != nil {
			t.Fatal(err)
		}
		d.now++
	}
	wantError(t, send("trm_1"), ErrTooManyMessages)
	if err := send("trm_2"); err != nil {
		t.Error(err)
	}
	d.now = start + hour - 1
	wantError(t, send("trm_1"), ErrTooManyMessages)
	d.now++
	if err := send("trm_1"); err != nil {
		t.Error(err)
	}
	d.read(t, func(s Snapshot) error {
		box, err := s.Mailbox("trm_1")
		if want := (Mailbox{"trm_1", d.now, 1, MaxMessagesPerHour + 1, 0}); box != want {
			t.Errorf("%+v, want %+v", box, want)
		}
		return err
	})
	if got := len(d.messages(t, "trm_1", 1, 100)); got != MaxMessagesPerHour+1 {
		t.Errorf("%d messages", got)
	}
	d.clean(t)
}

// TestDelivery: what was delivered only grows, up to what was sent.
func TestDelivery(t *testing.T) {
	d := askedDesk(t)
	ack := func(upTo uint64) error {
		return d.do(AckRefs("trm_1"), func(tx *Tx) error { return tx.AckMessages("trm_1", upTo) })
	}
	wantError(t, ack(1), ErrInvalid)
	for n := range 5 {
		d.mustSend(t, d.notice(fmt.Sprintf("msg_%d", n+1), "trm_1"))
	}
	for _, c := range []struct {
		upTo, want uint64
		err        error
	}{{0, 0, nil}, {2, 2, nil}, {1, 2, nil}, {2, 2, nil}, {6, 2, ErrInvalid}, {5, 5, nil}, {3, 5, nil}} {
		wantError(t, ack(c.upTo), c.err)
		if got := d.delivery(t, "trm_1").Acked; got != c.want {
			t.Errorf("up to %d: %d, want %d", c.upTo, got, c.want)
		}
	}
	d.clean(t)
}

// TestBuryMessage: what is given up needs no delivery any more, and is remembered.
func TestBuryMessage(t *testing.T) {
	d := askedDesk(t)
	const sent = MaxDeadLetters + 3
	for n := range sent {
		d.mustSend(t, d.notice(fmt.Sprintf("msg_%d", n+1), "trm_1"))
	}
	bury := func(bend func(*DeadLetter), num uint64) error {
		l := DeadLetter{Num: num, MessageID: fmt.Sprintf("msg_%d", num), Kind: "deduction_notice", AtNanos: 5, Why: "expired"}
		bend(&l)
		return d.do(AckRefs("trm_1"), func(tx *Tx) error { return tx.BuryMessage("trm_1", l) })
	}
	same := func(*DeadLetter) {}
	for note, bend := range map[string]func(*DeadLetter){
		"no message":          func(l *DeadLetter) { l.MessageID = "" },
		"a kind in capitals":  func(l *DeadLetter) { l.Kind = "Notice" },
		"no reason":           func(l *DeadLetter) { l.Why = "" },
		"what was never sent": func(l *DeadLetter) { l.Num = sent + 1 },
	} {
		if err := bury(bend, 1); err == nil {
			t.Errorf("%s: buried", note)
		} else {
			wantError(t, err, ErrInvalid)
		}
	}
	if err := bury(same, 2); err != nil {
		t.Fatal(err)
	}
	if err := bury(same, 1); err != nil { // it needed no delivery
		t.Fatal(err)
	}
	want := Delivery{"trm_1", 2, []DeadLetter{{2, "msg_2", "deduction_notice", d.now, "expired"}}}
	if got := d.delivery(t, "trm_1"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for num := uint64(3); num <= sent; num++ {
		if err := bury(same, num); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.delivery(t, "trm_1"); got.Acked != sent || len(got.Dead) != MaxDeadLetters || got.Dead[0].Num != sent-MaxDeadLetters+1 {
		t.Errorf("%+v", got)
	}
	d.clean(t)
}

// TestMessagesStay: retention never takes a message that may still be delivered,
// however little it is told to keep; afterwards it takes it, and the numbers stay.
func TestMessagesStay(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	options := badgerkv.Options{Dir: t.TempDir(), BallastBytes: -1, VerifyEvery: -1, Now: func() time.Time { return at }}
	reopened := func() *desk {
		t.Helper()
		backend, err := badgerkv.Open(bg, options)
		if err != nil {
			t.Fatal(err)
		}
		return &desk{Store: New(backend), now: at.UnixNano()}
	}
	d := reopened()
	m := d.notice("msg_1", "trm_1")
	m.ExpiresAtNanos = d.now + int64(MaxMessageLife)
	d.mustSend(t, m)
	for range 100 { // 20 MB: several segments
		d.must(t, nil, func(tx *Tx) error {
			tx.Detail(make([]byte, 200<<10))
			return nil
		})
	}
	d.mustSend(t, d.notice("msg_2", "trm_1"))
	// What goes lies in tables, as Close leaves it.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = reopened()
	defer d.Close()
	for _, c := range []struct {
		now  time.Time
		want string
	}{{at.Add(time.Hour), "1:msg_1 2:msg_2 "}, {at.Add(MaxMessageLife), "1:msg_1 2:msg_2 "}, {at.Add(MaxMessageLife + time.Millisecond), "2:msg_2 "}} {
		if _, err := d.Prune(bg, kv.Retention{Now: c.now, MaxAge: time.Minute, MaxBytes: 1, Exported: 1 << 60}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range d.messages(t, "trm_1", 1, 10) {
			got += fmt.Sprintf("%d:%s ", m.Num, m.ID)
		}
		if got != c.want {
			t.Errorf("after %v there are %s, want %s", c.now.Sub(at), got, c.want)
		}
		d.clean(t)
	}
	d.mustSend(t, d.notice("msg_3", "trm_1"))
	if got := d.messages(t, "trm_1", 1, 10); len(got) != 2 || got[1].Num != 3 {
		t.Errorf("then %+v", got)
	}
	d.clean(t)
}
