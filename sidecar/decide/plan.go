package decide

import (
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar/call"
)

// maxPlans is how often a call is planned before it is given up: what it leads to
// changed each time between the plan and the locks. That is found out before the policy
// is asked, so it costs little; and where many open intents of one account at once, each
// makes all the others plan again.
const maxPlans = 64

// errReplan: the call leads elsewhere than planned. Nothing was written.
var errReplan = errors.New("the call leads elsewhere than planned")

// A plan is made in a snapshot: what a call's transaction has to lock. It is a guess. The
// transaction reads everything again, and the store refuses what was not declared: then
// the call is planned again.
type plan struct {
	reads authzstore.Reads
	refs  []kv.Ref // all that reading the facts looks at, and all that may be changed
	same  bool     // nothing that was read has changed since the plan before
	last  bool     // there is no other plan after it
	// changes are the entities that an effect may change, and of whose changes only so
	// many are decided at once.
	changes []string
	// stops: the call stops payments from its caller's own account, or by a grant that
	// the caller is a party to, whatever the policy will say. Those do not wait behind the
	// payments; a stranger's call does.
	stops bool
}

func (ck *check) plan(ctx context.Context) (p plan, err error) {
	err = ck.cfg.Store.View(ctx, func(s authzstore.Snapshot) (err error) {
		f, err := ck.readFacts(s.Recording(&p.reads), ck.arrived.UnixNano())
		if err != nil {
			return err
		}
		p.refs = append(p.reads.Refs(), ck.changeRefs(f)...)
		p.changes, p.stops = ck.changes(f), ck.stopsOwn(f)
		return nil
	})
	return p, err
}

// changeRefs declares everything that may be written, beside the record.
func (ck *check) changeRefs(f Facts) []kv.Ref {
	var refs []kv.Ref
	if ck.writes() {
		refs = append(refs, ck.messageRefs(f)...)
		refs = append(refs, ck.intentRefs(f)...)
		refs = append(refs, ck.challengeRefs(f)...)
		refs = append(refs, ck.reserveRefs(f)...)
		refs = append(refs, ck.builtInRefs(f)...)
	}
	if ck.key != nil {
		refs = append(refs, ck.key.Ref())
	}
	return append(refs, ck.evidenceRefs(f)...)
}

func (ck *check) changes(f Facts) []string {
	if !ck.writes() || builtIns[ck.call.Route.Does].stops {
		return nil
	}
	var all []string
	if f.Account != nil {
		all = append(all, f.Account.ID)
	}
	if f.Grant != nil {
		all = append(all, f.Grant.ID)
	}
	if f.IntentAccount != nil && ck.mayWrite(call.FactIntentAccount) {
		all = append(all, f.IntentAccount.ID)
	}
	if f.Intent != nil && ck.mayWrite(call.FactIntent) {
		all = append(all, f.Intent.ID)
	}
	if f.expected {
		all = append(all, f.Challenge.ID)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (ck *check) stopsOwn(f Facts) bool {
	if !builtIns[ck.call.Route.Does].stops {
		return false
	}
	return f.Account != nil && f.Account.Owner == ck.call.Identity || f.Grant != nil && f.Grant.Delegate == ck.call.Identity
}
