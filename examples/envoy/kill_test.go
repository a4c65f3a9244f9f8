package envoy

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
	"github.com/countersign/countersign/sidecar/api"
	"github.com/countersign/countersign/sidecar/decide"
)

const (
	siegeCallers = 6  // victims that are besieged at the same time
	killGuesses  = 50 // answered ones between two kills, on average
)

// TestProgramAcrossKills: the program is killed (SIGKILL) again and again while callers
// guess codes through Envoy. Of no challenge more sets are judged than may fail; what was
// answered before a kill stands after it; and each message about it arrives in order,
// and under the same ID when it comes again.
func TestProgramAcrossKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	victims := newVictims(42 * min(kvtest.Soak(), 50))
	b := newBesieged(t, victims)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(victims))*patience)
	defer cancel()
	var keys atomic.Int64
	var untried []*victim
	ended := make(chan error, 1)
	go func() {
		var err error
		untried, err = b.siege(ctx, victims, &keys)
		ended <- err
	}()
	guesses := 0
	for running, next := true, random.IntN(2*killGuesses); running; {
		select {
		case <-b.guesses:
			if guesses++; guesses > next {
				b.kill(t, b.kills.Load()%10 == 0)
				next = guesses + random.IntN(2*killGuesses)
			}
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		}
	}
	b.kill(t, true)
	c := b.newCaller(ctx, &keys)
	for _, v := range untried {
		if err := v.holds(c); err != nil {
			t.Error(err)
		}
	}
	messages, again := b.checkMessages(t, victims)
	shown := b.challenges(t, victims)
	if err := b.end(syscall.SIGTERM); err != nil {
		t.Errorf("the sidecar ended with %v", err)
	}
	do(t, b.path, "store", "verify", "--data", b.dir)
	judged := b.checkSieges(t, victims, shown)
	t.Logf("%d guesses over %d kills, %d sets of codes judged, %d messages, %d webhooks were repeats", guesses, b.kills.Load(), judged, messages, again)
	if kills := int(b.kills.Load()); guesses < 4*len(victims) || kills < guesses/(2*killGuesses) || again == 0 {
		t.Errorf("only %d guesses, %d kills and %d repeats", guesses, kills, again)
	}
}

// challenges are those of the victims as an operator sees them.
func (b *besieged) challenges(t *testing.T, victims []*victim) map[string]api.Challenge {
	t.Helper()
	shown := map[string]api.Challenge{}
	for _, v := range victims {
		for _, s := range v.asked {
			var c api.Challenge
			b.backend(t, http.MethodGet, "/v1/challenges/"+s.id, nil, &c)
			shown[s.id] = c
		}
		var a api.Account
		b.backend(t, http.MethodGet, "/v1/accounts/"+v.account(), nil, &a)
		if want := len(v.asked) == 2; a.Verification.Locked != want {
			t.Errorf("%s: the codes are locked: %t, want %t", a.ID, a.Verification.Locked, want)
		}
	}
	return shown
}

// A history is what the records of the store say of one challenge.
type history struct {
	entries int   // that were compared with its codes
	burnt   int64 // attempts, in the end
}

// histories reads all records, as an operator does. No attempt that was burnt comes back.
func (b *besieged) histories(t *testing.T) map[string]history {
	t.Helper()
	tail := exec.CommandContext(t.Context(), b.path, "store", "tail", "--data", b.dir, "-o", "json")
	out, err := tail.StdoutPipe()
	if err == nil {
		err = tail.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]history{}
	lines := json.NewDecoder(bufio.NewReader(out))
	for lines.More() {
		var record struct {
			Changes []struct {
				Key   string
				After json.RawMessage
			}
			Detail decide.Record
		}
		if err := lines.Decode(&record); err != nil {
			t.Fatal(err)
		}
		for _, e := range record.Detail.Evidence {
			if h := all[record.Detail.Challenge]; e.Kind == "challenge_code" && e.Matched && !e.SpentBefore {
				h.entries++
				all[record.Detail.Challenge] = h
			}
		}
		for _, change := range record.Changes {
			id, ok := strings.CutPrefix(change.Key, "challenge/")
			if !ok {
				continue
			}
			var after struct{ Burnt int64 }
			if err := json.Unmarshal(change.After, &after); err != nil {
				t.Fatal(err)
			}
			h := all[id]
			if after.Burnt < h.burnt {
				t.Errorf("%s: %d attempts burnt, after %d", id, after.Burnt, h.burnt)
			}
			h.burnt = after.Burnt
			all[id] = h
		}
	}
	if err := tail.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkSieges compares what was answered, what the records say and what operators are
// shown, and returns how many sets were judged.
func (b *besieged) checkSieges(t *testing.T, victims []*victim, shown map[string]api.Challenge) (judged int) {
	t.Helper()
	histories := b.histories(t)
	for _, v := range victims {
		for _, s := range v.asked {
			c, h := shown[s.id], histories[s.id]
			failed, right, state := s.allowed, 0, authzstore.ChallengeLocked
			if v.spared {
				failed, right, state = failed-1, 1, authzstore.ChallengeConsumed
			}
			if h.entries != (failed+right)*len(s.codes) || h.burnt != int64(failed) || c.Burnt != int64(failed) || c.State != state || c.MaxAttempts != attemptsOfChallenge {
				t.Errorf("%s of %s: %d entries were compared, %d attempts are burnt, operators see %d of %d and that it is %s; want %d sets of %d that failed, and that it is %s",
					s.id, c.System, h.entries, h.burnt, c.Burnt, c.MaxAttempts, c.State, failed, len(s.codes), state)
			}
			judged += failed + right
		}
	}
	return judged
}

// checkMessages waits until all messages of the victims are delivered, and holds what
// arrived to what the store has and to what they must be told.
func (b *besieged) checkMessages(t *testing.T, victims []*victim) (messages, again int) {
	t.Helper()
	for _, v := range victims {
		told := map[string][]string{}
		for _, name := range victimTerminals {
			id := "trm_" + v.terminal(name)
			sent := b.delivered(t, id)
			arrived, repeats := b.receiver.arrived(t, id)
			if len(arrived) != len(sent) {
				t.Errorf("%s: %d messages arrived, of %d", id, len(arrived), len(sent))
			}
			for i := range min(len(arrived), len(sent)) {
				if arrived[i].ID != sent[i].ID || arrived[i].Kind != sent[i].Kind {
					t.Errorf("%s: message %d is %s, %s; %s, %s arrived", id, i+1, sent[i].Kind, sent[i].ID, arrived[i].Kind, arrived[i].ID)
				}
			}
			told[name] = kinds(arrived)
			messages, again = messages+len(sent), again+repeats
		}
		if want := v.told(); !maps.EqualFunc(told, want, slices.Equal[[]string]) {
			t.Errorf("victim %d was told %q, want %q", v.number, told, want)
		}
	}
	return messages, again
}

// delivered waits until no message to a terminal waits, and returns all of them.
func (b *besieged) delivered(t *testing.T, terminal string) []api.Message {
	t.Helper()
	for deadline := time.Now().Add(4 * patience); ; time.Sleep(10 * time.Millisecond) {
		var page api.Page[api.Message]
		b.backend(t, http.MethodGet, "/v1/terminals/"+terminal+"/messages", nil, &page)
		left := slices.DeleteFunc(slices.Clone(page.Items), func(m api.Message) bool { return m.Delivery == "acknowledged" })
		if len(left) == 0 {
			return page.Items
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: message %d is %s %s", terminal, left[0].Number, left[0].Delivery, left[0].Why)
			return page.Items
		}
	}
}
