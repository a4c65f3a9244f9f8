package authzstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
)

const linearLimit = 20

// What one caller did to one account.
type spending struct {
	account string
	amount  int64 // 0: read what is spent
}

// What came of it. An unknown outcome may have happened, then or later.
type outcome struct {
	allowed, unknown bool
	spent            int64 // read
}

// account model: its state is what is spent.
var spendingModel = porcupine.NondeterministicModel{
	Partition: partitionByAccount,
	Init:      func() []any { return []any{int64(0)} },
	Step: func(state, input, output any) []any {
		spent, in, out := state.(int64), input.(spending), output.(outcome)
		fits := spent+in.amount <= linearLimit
		switch {
		case in.amount == 0 && out.spent == spent:
			return []any{spent}
		case in.amount == 0:
			return nil
		case out.unknown && fits:
			return []any{spent, spent + in.amount}
		case out.unknown:
			return []any{spent}
		case out.allowed && fits:
			return []any{spent + in.amount}
		case !out.allowed && !fits:
			return []any{spent}
		default:
			return nil
		}
	},
}

func partitionByAccount(history []porcupine.Operation) [][]porcupine.Operation {
	byAccount := map[string][]porcupine.Operation{}
	for _, op := range history {
		id := op.Input.(spending).account
		byAccount[id] = append(byAccount[id], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range byAccount {
		parts = append(parts, part)
	}
	return parts
}

// TestLinearizable: callers that spend, read and give up on the same few
// accounts see one history, in an order that respects real time.
func TestLinearizable(t *testing.T) {
	w := open(t)
	const accounts, perCaller = 8, 12
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range accounts {
		mustDo(t, w.putAccount(account(fmt.Sprintf("acc_%d", i), authzstore.Limit{Name: "total", MaxAmountMinor: linearLimit})))
	}
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for caller := range 16 {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		wg.Go(func() {
			for range perCaller {
				in := spending{account: fmt.Sprintf("acc_%d", random.IntN(accounts)), amount: random.Int64N(4)}
				op := porcupine.Operation{ClientId: caller, Input: in, Call: time.Since(start).Nanoseconds()}
				out, err := w.spendOnce(in, random.IntN(4) == 0)
				if err != nil {
					t.Error(err)
					return
				}
				op.Output, op.Return = out, time.Since(start).Nanoseconds()
				if out.unknown {
					op.Return = 1 << 62 // it may take effect at any later time
				}
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	model := spendingModel.ToModel()
	if result := porcupine.CheckOperationsTimeout(model, history, time.Minute); result != porcupine.Ok {
		t.Errorf("the history is %s", result)
	}
	if spoilt := allowOneMore(history); porcupine.CheckOperationsTimeout(model, spoilt, time.Minute) == porcupine.Ok {
		t.Error("the checker takes a history with one denial turned into an allow")
	}
	w.clean(t)
}

// spendOnce spends or reads; giving up means that the caller may leave before
// the answer.
func (w *world) spendOnce(in spending, givesUp bool) (outcome, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if in.amount == 0 {
		var u authzstore.Usage
		err := w.View(ctx, func(s authzstore.Snapshot) (err error) {
			u, err = s.Usage(in.account)
			return err
		})
		return outcome{spent: u.PendingMinor}, err
	}
	id := authzstore.NewID("rsv")
	err := w.Update(ctx, w.cause(), authzstore.ReserveRefs(reservation(in.account, id, in.amount)), func(tx *authzstore.Tx) error {
		if givesUp {
			cancel()
		}
		return tx.ReserveWithinLimits(reservation(in.account, id, in.amount))
	})
	var over *authzstore.OverLimitError
	switch {
	case err == nil:
		return outcome{allowed: true}, nil
	case errors.As(err, &over):
		return outcome{}, nil
	case errors.Is(err, kv.ErrUnknown), errors.Is(err, context.Canceled):
		return outcome{unknown: true}, nil
	default:
		return outcome{}, err
	}
}

// allowOneMore is the control: a history that no correct store can have.
func allowOneMore(history []porcupine.Operation) []porcupine.Operation {
	spoilt := append([]porcupine.Operation(nil), history...)
	for i, op := range spoilt {
		out := op.Output.(outcome)
		if op.Input.(spending).amount > 0 && !out.allowed && !out.unknown {
			spoilt[i].Output = outcome{allowed: true}
			return spoilt
		}
	}
	panic("nobody was refused: the limit is too high for this test")
}
