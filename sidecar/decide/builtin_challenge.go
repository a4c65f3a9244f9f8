package decide

import (
	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

// answerRefs declares what the answer to a challenge changes: the challenge, what is
// known of who asked, and whether the account's people can be asked.
func answerRefs(_ *check, f Facts) []kv.Ref {
	if f.Challenge == nil {
		return nil
	}
	return authzstore.ChallengeRefs(*f.Challenge)
}

// answering is the terminal by which the caller answers a challenge: one that was asked,
// and is bound as it was then.
func (ck *check) answering(f Facts) (authzstore.Terminal, error) {
	t, c := f.Terminal, f.Challenge
	if t == nil || t.Identity != ck.call.Identity {
		return authzstore.Terminal{}, contradiction("an answer to a challenge by no terminal")
	}
	if !c.StillAsks(*t) {
		return authzstore.Terminal{}, contradiction("an answer to a challenge by a terminal that was not asked")
	}
	return *t, nil
}

// approve satisfies a challenge that asked for an approval.
func approve(ck *check, tx *authzstore.Tx, f Facts) error {
	t, err := ck.answering(f)
	if err != nil {
		return err
	}
	c := f.Challenge
	if c.Kind != authzstore.ChallengeApproval {
		return contradiction("an approval of a challenge that asks for codes")
	}
	return tx.SatisfyChallenge(c.ID, t.ID)
}

// reject ends a challenge for good. One of codes can be rejected too: by who did not
// ask for it.
func reject(ck *check, tx *authzstore.Tx, f Facts) error {
	t, err := ck.answering(f)
	if err != nil {
		return err
	}
	return tx.RejectChallenge(f.Challenge.ID, t.ID)
}

func theChallenge(_ *check, f Facts, _ effected, e *Execution) { e.Challenge = f.Challenge.ID }

// wasAsked: the caller is a terminal that the challenge asks, bound as it was then.
func (ck *check) wasAsked(f Facts) bool {
	if f.Challenge == nil {
		return false
	}
	_, err := ck.answering(f)
	return err == nil
}
