package decide

import (
	"slices"

	"github.com/countersign/countersign/authzstore"
)

// What an allow of each built-in operation lets the sidecar's API show.

// nothing: whatever an entry was for, the answer is the same.
func nothing(*check, Facts, effected, *Execution) {}

func theChallenge(_ *check, f Facts, _ effected, e *Execution) { e.Challenge = f.Challenge.ID }

func theIntent(_ *check, _ Facts, done effected, e *Execution) {
	if done.about != nil {
		e.Intent = done.about.ID
	}
}

func theTerminal(_ *check, f Facts, _ effected, e *Execution) {
	e.Terminal, e.Account = f.Terminal.ID, f.Terminal.Account
}

// theStream goes on until the token of the call ends.
func theStream(ck *check, f Facts, _ effected, e *Execution) {
	e.Terminal, e.ExpiresAtNanos = f.Terminal.ID, ck.call.ExpiresAtNanos
}

// Who may be shown again what became of a built-in operation.

func always(*check, Facts, *authzstore.Intent) bool { return true }

func (ck *check) isTerminal(f Facts, _ *authzstore.Intent) bool { return ck.fromTerminal(f) != "" }

// wasAsked: the caller is a terminal that the challenge asks, bound as it was then.
func (ck *check) wasAsked(f Facts, _ *authzstore.Intent) bool {
	if f.Challenge == nil {
		return false
	}
	_, err := ck.answering(f)
	return err == nil
}

// takesPart: the caller opened the intent, owns its account, or is a terminal of it.
func (ck *check) takesPart(f Facts, i *authzstore.Intent) bool {
	if i == nil {
		return true // nothing to be shown
	}
	if i.Initiator == ck.call.Identity || f.Account != nil && f.Account.ID == i.Account && f.Account.Owner == ck.call.Identity {
		return true
	}
	from := ck.fromTerminal(f)
	return from != "" && (f.Terminal.Account == i.Account || from == i.Terminal || slices.Contains(i.Terminals, from))
}
