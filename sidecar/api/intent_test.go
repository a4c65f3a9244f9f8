package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/api"
)

func TestIntents(t *testing.T) {
	w := newWorld(t)
	w.asking()
	id := w.open(nil)
	w.wait(time.Second)
	w.advance(id, "waiting", "scanned", false)
	var i api.Intent
	w.ask(200, "GET", "/v1/intents/"+id, "", &i)
	if i.ID != id || i.State != "scanned" || i.AmountMinor != 5000 || i.Attributes["type"] != "top_up" || i.Parties["scanned_by"] != "acc_agent" ||
		len(i.Steps) != 2 || i.Steps[1].By != authzstore.Identity(bakerysID) || i.Steps[1].AtNanos-i.Steps[0].AtNanos != int64(time.Second) || i.Closed || i.Expired {
		t.Errorf("%+v", i)
	}
	w.ask(404, "GET", "/v1/intents/int_other", "", nil)
	w.ask(422, "GET", "/v1/intents/chl_other", "", nil)
}

// Lists have the intents that are open, or others, of one account or of all.
func TestIntentLists(t *testing.T) {
	w := newWorld(t)
	w.asking()
	var open []string
	for range 7 {
		open = append(open, w.open(nil))
	}
	closed := w.open(nil)
	w.advance(closed, "waiting", "done", true)
	others := w.open(func(i *authzstore.Intent) { i.Account = "acc_ben" })
	slices.Sort(open)
	check := func(query string, want ...string) {
		t.Helper()
		slices.Sort(want)
		for _, size := range []int{1, 3, 200} {
			got := ids(w, "/v1/intents"+query, size)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
	}
	check("?account=acc_anna", open...)
	check("?account=acc_none")
	check("?account=acc_anna&state=closed", closed)
	check("?account=acc_anna&state=any", append(slices.Clone(open), closed)...)
	check("?state=open", append(slices.Clone(open), others)...)
	w.wait(10 * time.Minute)
	check("?account=acc_anna", open...)
	check("?account=acc_anna&state=expired")
	w.wait(1)
	check("?account=acc_anna")
	check("?state=expired", append(slices.Clone(open), others)...)
	w.ask(422, "GET", "/v1/intents?state=done", "", nil)
}
