package sidecar_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/clock"
)

// A clock that jumps stops payments, through Envoy too, until it is back or an
// operator has accepted it, which is on record.
func TestClockJumps(t *testing.T) {
	var wrong atomic.Int64
	system := clock.Config{Wall: func() time.Time { return time.Now().Add(time.Duration(wrong.Load())) }}
	var data string
	r := start(t, nil, func(cfg *sidecar.Config) { cfg.Clock, data = system, cfg.DataDir })
	pays := func(when string, status int, code string) {
		t.Helper()
		got := send(t, good())
		if got.status != status || got.code != code || (got.reached == 1) != (status == 201) {
			t.Fatalf("%s: %d %s, %d reached; want %d %s", when, got.status, got.code, got.reached, status, code)
		}
	}
	const tenYears = 3652 * 24 * time.Hour
	pays("before", 201, "")
	for _, jump := range []time.Duration{-time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, tenYears} {
		wrong.Store(int64(jump))
		pays(jump.String(), 503, "clock_jumped")
		wrong.Store(0)
		pays(jump.String()+" and back", 201, "")
	}

	wrong.Store(int64(tenYears))
	pays("wrong", 503, "clock_jumped")
	accept := func(back bool) {
		t.Helper()
		if _, err := clock.Accept(data, clock.By{UID: 7, User: "olga", Reason: "tested"}, back, system); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			status, err := clock.Look(data, system)
			if err == nil && status.Jump == nil && status.Accepted == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("not taken up: %+v, %v", status, err)
			}
		}
	}
	accept(false)
	pays("accepted", 201, "")
	wrong.Store(0)
	pays("right again", 503, "clock_jumped")
	accept(true)
	pays("accepted back", 201, "")
	r.stop()

	var seen []authzstore.Record
	err := sidecar.FollowJournal(t.Context(), data, kv.Pos{}, false, func(b kv.Batch) error {
		for _, u := range b.Units {
			for _, e := range u.Entries {
				record, ok, err := authzstore.ReadRecord(e)
				if err != nil {
					return err
				}
				if ok && record.Actor.Subject == "olga" {
					seen = append(seen, record)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Fatalf("%d records of two acceptances", len(seen))
	}
	for _, record := range seen {
		detail := string(record.Detail)
		if record.Actor.Kind != "operator" || !strings.HasPrefix(record.ID, "chg_") || len(record.Changes) != 0 ||
			!strings.HasPrefix(detail, `{"clock_accepted":{"time":"20`) || !strings.Contains(detail, `"uid":7,"reason":"tested"`) {
			t.Errorf("record %+v, detail %s", record, detail)
		}
	}
	for _, line := range []string{"no decisions until the clock is set right", "the clock was accepted"} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}
}
