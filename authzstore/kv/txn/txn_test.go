package txn

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/countersign/countersign/authzstore/kv"
)

// stored is a backend that holds these.
type stored struct {
	records  map[string]string
	counters map[string]int64
	err      error
}

func (s stored) Record(key string) ([]byte, bool, error) {
	val, ok := s.records[key]
	return []byte(val), ok, s.err
}

func (s stored) Counter(counter string) (int64, error) { return s.counters[counter], s.err }

var refs = []kv.Ref{{Key: "a", Mode: kv.Exclusive}, {Key: "b", Mode: kv.Exclusive}, {Key: "read", Mode: kv.Shared}}

// What comes out is in order, as it was left last, and not in the caller's memory.
func TestUnit(t *testing.T) {
	val, rec := []byte("2"), []byte("rec")
	u, err := Run(refs, stored{records: map[string]string{"read": "x"}, counters: map[string]int64{"n": 40}}, func(tx kv.Tx) error {
		if v, ok, err := tx.Get("read"); string(v) != "x" || !ok || err != nil {
			t.Errorf("read: %q, %v, %v", v, ok, err)
		}
		err := errors.Join(tx.Put("b", []byte("1")), tx.Delete("b"), tx.Put("a", val), tx.Add("z", 1), tx.Add("n", 3), tx.Add("n", -1), tx.Append("st", "id", rec))
		if n, err := tx.Counter("n"); n != 42 || err != nil {
			t.Errorf("n: %d, %v", n, err)
		}
		if v, ok, err := tx.Get("a"); string(v) != "2" || !ok || err != nil {
			t.Errorf("a: %q, %v, %v", v, ok, err)
		}
		if _, ok, err := tx.Get("b"); ok || err != nil {
			t.Errorf("b: %v, %v", ok, err)
		}
		val[0], rec[0] = '9', 'R'
		return err
	})
	want := &kv.Unit{
		Records:  []kv.Write{{Key: "a", Val: []byte("2")}, {Key: "b"}},
		Counters: []kv.Sum{{Counter: "n", N: 2}, {Counter: "z", N: 1}},
		Entries:  []kv.Entry{{Stream: "st", ID: "id", Rec: []byte("rec")}},
	}
	if err != nil || !reflect.DeepEqual(u, want) {
		t.Errorf("%+v, %v, want %+v", u, err, want)
	}
}

// A method's error is the transaction's, also if the closure goes on.
func TestErrorsStick(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		from stored
		use  func(kv.Tx)
		want error
	}{
		"undeclared":      {stored{}, func(tx kv.Tx) { tx.Get("c") }, kv.ErrUndeclared},
		"shared":          {stored{}, func(tx kv.Tx) { tx.Put("read", nil) }, kv.ErrUndeclared},
		"shared, deleted": {stored{}, func(tx kv.Tx) { tx.Delete("read") }, kv.ErrUndeclared},
		"value":           {stored{}, func(tx kv.Tx) { tx.Put("a", make([]byte, kv.MaxValue+1)) }, kv.ErrTooBig},
		"name":            {stored{}, func(tx kv.Tx) { tx.Add("", 1) }, kv.ErrTooBig},
		"entry":           {stored{}, func(tx kv.Tx) { tx.Append("st", "id", make([]byte, kv.MaxValue+1)) }, kv.ErrTooBig},
		"increments":      {stored{}, func(tx kv.Tx) { tx.Add("n", math.MaxInt64); tx.Add("n", 1) }, kv.ErrTooBig},
		"decrements":      {stored{}, func(tx kv.Tx) { tx.Add("n", math.MinInt64); tx.Add("n", -1) }, kv.ErrTooBig},
		"sum":             {stored{counters: map[string]int64{"n": math.MaxInt64}}, func(tx kv.Tx) { tx.Add("n", 1); tx.Counter("n") }, kv.ErrTooBig},
		"read":            {stored{err: broken}, func(tx kv.Tx) { tx.Get("a") }, broken},
		"counter":         {stored{err: broken}, func(tx kv.Tx) { tx.Counter("n") }, broken},
		"writes": {stored{}, func(tx kv.Tx) {
			for i := range kv.MaxWrites {
				tx.Add(fmt.Sprint(i), 1)
			}
		}, kv.ErrTooBig},
		"payload": {stored{}, func(tx kv.Tx) {
			for i := range kv.MaxUpdate / kv.MaxValue {
				tx.Append("st", fmt.Sprint(i), make([]byte, kv.MaxValue))
			}
		}, kv.ErrTooBig},
	} {
		u, err := Run(refs, c.from, func(tx kv.Tx) error {
			c.use(tx)
			return tx.Put("a", []byte("1"))
		})
		if u != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, u, err, c.want)
		}
	}
}

// Nothing is written by a closure that fails, or that writes nothing.
func TestNothing(t *testing.T) {
	denied := errors.New("denied")
	for _, want := range []error{denied, nil} {
		u, err := Run(refs, stored{}, func(tx kv.Tx) error {
			if want != nil {
				tx.Put("a", []byte("1"))
			}
			return want
		})
		if u != nil || err != want {
			t.Errorf("%+v, %v, want %v", u, err, want)
		}
	}
}

// After its closure a transaction is over, however the closure ended.
func TestOver(t *testing.T) {
	var kept kv.Tx
	func() {
		defer func() { recover() }()
		Run(refs, stored{}, func(tx kv.Tx) error { kept = tx; panic("closure") })
	}()
	_, _, get := kept.Get("a")
	_, counter := kept.Counter("n")
	for _, err := range []error{get, counter, kept.Put("a", nil), kept.Delete("a"), kept.Add("n", 1), kept.Append("st", "id", nil)} {
		if !errors.Is(err, errOver) {
			t.Errorf("%v", err)
		}
	}
}
