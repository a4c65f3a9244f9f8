package authzstore

import (
	"errors"

	"github.com/countersign/countersign/authzstore/kv"
)

// checkMessages reads the messages of every terminal that was sent one.
func (v *verifier) checkMessages(snap Snapshot) error {
	for terminal, acked := range v.delivered {
		if sent := v.mailboxes[terminal].Sent; acked > sent {
			v.report(deliveryPrefix+terminal, "messages that were delivered were sent", "up to %d, of which %d were sent", acked, sent)
		}
	}
	for _, box := range v.mailboxes {
		if err := v.checkStream(snap, box); err != nil {
			return err
		}
	}
	return nil
}

// checkStream reads the messages of one terminal. Those that are there are the
// last ones that were sent, without a gap: others go oldest first, perhaps while
// this one looks, so it looks again before it complains.
func (v *verifier) checkStream(snap Snapshot, box Mailbox) error {
	const invariant, looks = "messages are numbered without gaps up to what was sent", 3
	for look := 1; ; look++ {
		first, next := uint64(0), uint64(0)
		gap := false
		err := snap.snap.Stream(messageStreams+box.Terminal, 1, func(e kv.Entry) error {
			if first == 0 {
				first, next = e.Num, e.Num
			}
			gap = gap || e.Num != next
			next = e.Num + 1
			if look > 1 {
				return nil
			}
			return v.checkMessage(box.Terminal, e)
		})
		if err != nil {
			return err
		}
		pruned, err := recordsPruned(snap)
		if err != nil {
			return err
		}
		suffix := first == 0 || !gap && next == box.Sent+1
		if suffix && (first == 1 || pruned) {
			return nil
		}
		if look == looks {
			v.report(mailboxPrefix+box.Terminal, invariant, "%d were sent; there are those from %d to before %d, with a gap: %t", box.Sent, first, next, gap)
			return nil
		}
	}
}

// recordsPruned tells whether the first record is gone.
func recordsPruned(snap Snapshot) (pruned bool, err error) {
	found := errors.New("found")
	pruned = true
	err = snap.snap.Stream(recordStream, 1, func(e kv.Entry) error {
		pruned = e.Num != 1
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return pruned, err
}

func (v *verifier) checkMessage(terminal string, e kv.Entry) error {
	m, err := readMessage(terminal, e)
	if errors.Is(err, ErrDamaged) {
		v.report(e.ID, "every stored value can be read and keeps its rules", "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	_, challenge := v.challenges[m.Challenge]
	_, intent := v.intents[m.Intent]
	if m.Challenge != "" && !challenge || m.Intent != "" && !intent {
		v.report(m.ID, "a message is about what there is", "challenge %q, intent %q", m.Challenge, m.Intent)
	}
	return nil
}
