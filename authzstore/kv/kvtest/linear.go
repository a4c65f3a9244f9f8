package kvtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/countersign/countersign/authzstore/kv"
)

// testOneLimit: 64 callers spend one limit: exactly the limit is accepted.
func testOneLimit(t *testing.T, h Harness) {
	s := open(t, h)
	const callers, each, limit = 64, 4, 100
	var allowed, denied atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				err := s.Update(context.Background(), excl("used"), func(tx kv.Tx) error {
					b, _, err := tx.Get("used")
					if err != nil {
						return err
					}
					if number(b) >= limit {
						return errDenied
					}
					return errors.Join(increment(tx, "used"), tx.Append("allowed", name("%d-%d", c, i), nil))
				})
				switch {
				case err == nil:
					allowed.Add(1)
				case errors.Is(err, errDenied):
					denied.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want(t, "allowed", allowed.Load(), int64(limit))
	want(t, "denied", denied.Load(), int64(callers*each-limit))
	want(t, "used", number([]byte(stored(t, s, "used"))), uint64(limit))
}

type registerInput struct {
	op  byte // 'r' by a transaction, 'v' by a View, 'i' increment, 'd' delete
	key int
}

type registerOutput struct {
	val     uint64
	unknown bool
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[int][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(registerInput).key
			by[k] = append(by[k], op)
		}
		var parts [][]porcupine.Operation
		for _, p := range by {
			parts = append(parts, p)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		val, in, out := state.(uint64), input.(registerInput), output.(registerOutput)
		switch in.op {
		case 'i':
			return out.unknown || out.val == val+1, val + 1
		case 'd':
			return true, uint64(0)
		}
		return out.unknown || out.val == val, val
	},
}

// testLinearizable: what callers are told fits some order of all operations that
// respects real time. An operation whose outcome is unknown may take effect at
// any later time, or never: it stays open until the end of the history, which
// porcupine may place after every read.
func testLinearizable(t *testing.T, h Harness) {
	s := open(t, h)
	const clients, ops, keys = 6, 60, 2
	var mu sync.Mutex
	var history []porcupine.Operation
	begin := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 42))
			for range ops {
				in := registerInput{op: "iiirrvd"[rng.IntN(7)], key: rng.IntN(keys)}
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(8) == 0 {
					time.AfterFunc(time.Duration(rng.IntN(400))*time.Microsecond, cancel)
				}
				call := time.Since(begin).Nanoseconds()
				out, err := registerOp(ctx, s, in)
				ret := time.Since(begin).Nanoseconds()
				cancel()
				switch {
				case errors.Is(err, kv.ErrUnknown):
					out.unknown, ret = true, int64(1)<<62
				case errors.Is(err, context.Canceled):
					continue // nothing happened
				case err != nil:
					t.Error(err)
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: c, Input: in, Call: call, Output: out, Return: ret})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	// Each unknown operation is concurrent with all that follow, so it gets a
	// client of its own.
	for i := range history {
		history[i].ClientId = i
	}
	switch porcupine.CheckOperationsTimeout(registers, history, patience) {
	case porcupine.Illegal:
		t.Fatalf("not linearizable: %v", history)
	case porcupine.Unknown:
		t.Fatal("not decided in time: make the history shorter")
	}
}

func registerOp(ctx context.Context, s kv.Store, in registerInput) (out registerOutput, err error) {
	key := name("reg%d", in.key)
	if in.op == 'v' {
		err = s.View(ctx, func(v kv.Snap) error {
			b, _, err := v.Get(key)
			out.val = number(b)
			return err
		})
		return out, err
	}
	refs := excl(key)
	if in.op == 'r' {
		refs = shared(key)
	}
	err = s.Update(ctx, refs, func(tx kv.Tx) error {
		b, _, err := tx.Get(key)
		if err != nil {
			return err
		}
		out.val = number(b)
		switch in.op {
		case 'i':
			out.val++
			return tx.Put(key, bytesOf(out.val))
		case 'd':
			return tx.Delete(key)
		}
		return nil
	})
	return out, err
}
