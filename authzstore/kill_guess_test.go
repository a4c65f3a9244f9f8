package authzstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// A child process is this test binary with guessDirEnv set. Its guessers enter one
// wrong set of codes after the other, and say which failed sets were acknowledged.
const (
	guessDirEnv  = "COUNTERSIGN_GUESS_DIR"
	guessers     = 4
	guessTries   = 3  // attempts that a challenge has
	killGuesses  = 50 // acknowledged ones between two kills
	guessVerdict = "failed "
)

var guessNow = int64(1_800_000_000_000_000_000)

// A guesser tries to find the codes of challenges of one account, one after the
// other.
type guesser struct {
	*world
	number int
}

func (g guesser) account() string  { return fmt.Sprintf("acc_%d", g.number) }
func (g guesser) terminal() string { return fmt.Sprintf("trm_%d", g.number) }

func (g guesser) do(refs []kv.Ref, fn func(*authzstore.Tx) error) error {
	return g.at(guessNow, refs, fn)
}

// challenge is the nth one.
func (g guesser) challenge(n int) authzstore.Challenge {
	id := fmt.Sprintf("chl_%d_%d", g.number, n)
	return authzstore.Challenge{
		ID: id, Kind: authzstore.ChallengeCode, Account: g.account(),
		Initiator: authzstore.Identity{Kind: "agent", Issuer: "https://id.example", Subject: id}, // nobody starts too many
		System:    "agent_order", Operation: "order", Fingerprint: make([]byte, 32),
		Terminals: []authzstore.ChallengeTerminal{{Terminal: g.terminal(), Counter: 1}}, Expects: authzstore.ExpectsTerminals,
		Sealed: []byte("sealed"), Digits: 6, Condition: authzstore.Condition{Entry: authzstore.EntryAny},
		MaxAttempts: guessTries, ExpiresAtNanos: guessNow + 1,
	}
}

func (g guesser) bind() error {
	trm := authzstore.Terminal{
		ID: g.terminal(), Account: g.account(), State: authzstore.TerminalBound,
		Identity: authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: g.terminal()},
	}
	return g.do(authzstore.TerminalRefs(trm), func(tx *authzstore.Tx) error { return tx.PutTerminal(trm) })
}

// stored returns the nth challenge as it is.
func (g guesser) stored(n int) (c authzstore.Challenge, err error) {
	err = g.View(context.Background(), func(s authzstore.Snapshot) (err error) {
		c, _, err = s.Challenge(g.challenge(n).ID)
		return err
	})
	return c, err
}

// triesOf is how many sets lock a challenge: its own attempts, or, of every other one,
// what those of the one before left of the account's five in a row.
func triesOf(id string) int {
	n, err := strconv.Atoi(id[strings.LastIndex(id, "_")+1:])
	if err == nil && n%2 == 1 {
		return authzstore.MaxFailedInARow - guessTries
	}
	return guessTries
}

// issue issues the nth challenge. Where too many sets failed in a row, somebody unlocks
// the account first.
func (g guesser) issue(n int) error {
	c := g.challenge(n)
	issue := func() error {
		return g.do(authzstore.ChallengeRefs(c), func(tx *authzstore.Tx) error { return tx.IssueChallenge(c) })
	}
	err := issue()
	if errors.Is(err, authzstore.ErrState) {
		refs := []kv.Ref{authzstore.VerificationRef(c.Account, kv.Exclusive)}
		if err := g.do(refs, func(tx *authzstore.Tx) error { return tx.UnlockVerification(c.Account) }); err != nil {
			return err
		}
		err = issue()
	}
	return err
}

// guess enters a wrong code, in a transaction with its verdict or in one before.
func (g guesser) guess(n int, apart bool) (locked bool, err error) {
	c := g.challenge(n)
	enter := func(tx *authzstore.Tx) error {
		stored, ok, err := tx.Challenge(c.ID)
		if err == nil && ok && len(stored.Entries) == 0 { // else one is left from before a kill
			_, err = tx.AddEntry(c.ID, authzstore.Entry{Terminal: -1})
		}
		return err
	}
	if apart {
		if err := g.do(authzstore.ChallengeRefs(c), enter); err != nil {
			return false, err
		}
	}
	err = g.do(authzstore.ChallengeRefs(c), func(tx *authzstore.Tx) (err error) {
		if err := enter(tx); err != nil {
			return err
		}
		locked, err = tx.FailChallenge(c.ID)
		return err
	})
	return locked, err
}

// run guesses until the process is killed.
func (g guesser) run() error {
	if err := g.bind(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		c, err := g.stored(n)
		if err != nil {
			return err
		}
		if c.ID == "" {
			if err := g.issue(n); err != nil {
				return err
			}
		}
		for locked := c.State == authzstore.ChallengeLocked; !locked; {
			if locked, err = g.guess(n, n%3 == 0); err != nil {
				return err
			}
			os.Stdout.WriteString(guessVerdict + g.challenge(n).ID + "\n")
		}
	}
}

func guessMain() {
	dir := os.Getenv(guessDirEnv)
	if dir == "" {
		return
	}
	fail := func(what error) {
		os.Stdout.WriteString(fmt.Sprintf("ERR %v\n", what))
		os.Exit(1)
	}
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: dir, BallastBytes: -1, VerifyEvery: -1})
	if err != nil {
		fail(err)
	}
	w := &world{kv: backend, Store: authzstore.New(backend), dir: dir}
	for number := range guessers {
		go func() { fail(guesser{w, number}.run()) }()
	}
	select {}
}

// guessRound runs a child and kills it after so many failed sets, and counts those
// it acknowledged, by challenge.
func guessRound(t *testing.T, dir string, failed map[string]int) (acknowledged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), guessDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is cut short was not acknowledged
		}
		id, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), guessVerdict)
		if !ok {
			t.Errorf("the child says %s", line)
			_ = cmd.Process.Kill()
			break
		}
		failed[id]++
		if acknowledged++; acknowledged == killGuesses {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	return acknowledged
}

// compareGuesses compares what is burnt with the failed sets that are known, and
// returns how many more there are: at most one of each guesser, the one that nobody
// was told of. It is known from now on.
func (w *world) compareGuesses(t *testing.T, failed map[string]int) (further int) {
	t.Helper()
	inFlight, stored, after := map[string]bool{}, map[string]int{}, ""
	for {
		var page []authzstore.Challenge
		mustDo(t, w.View(context.Background(), func(s authzstore.Snapshot) (err error) {
			page, after, err = s.Challenges(after, authzstore.MaxPage)
			return err
		}))
		for _, c := range page {
			known, burnt := failed[c.ID], int(c.Burnt)
			switch {
			case known > triesOf(c.ID) || burnt < known:
				t.Errorf("%s: %d failed sets were taken, and %d are burnt", c.ID, known, burnt)
			case burnt > known+1, burnt > known && inFlight[c.Account]:
				t.Errorf("%s: %d are burnt, and %d were acknowledged", c.ID, burnt, known)
			case burnt > known:
				inFlight[c.Account] = true
				further++
			}
			if (c.State == authzstore.ChallengeLocked) != (burnt == triesOf(c.ID)) {
				t.Errorf("%s is %s with %d burnt", c.ID, c.State, burnt)
			}
			stored[c.ID] = burnt
		}
		if after == "" {
			break
		}
	}
	for id := range failed {
		if _, ok := stored[id]; !ok {
			t.Errorf("%s is gone", id)
		}
	}
	maps.Copy(failed, stored)
	return further
}

// TestGuessesAcrossKills: a process that takes wrong codes is killed (SIGKILL) again
// and again. No challenge ever fails more often than it may, and no attempt that
// was burnt comes back.
func TestGuessesAcrossKills(t *testing.T) {
	guesses := min(1000*kvtest.Soak(), 10_000)
	dir, total, kills, further := t.TempDir(), 0, 0, 0
	failed := map[string]int{} // sets of each challenge, as acknowledged or seen after a kill
	for total < guesses && !t.Failed() {
		total += guessRound(t, dir, failed)
		kills++
		w := &world{dir: dir}
		w.reopen(t)
		further += w.compareGuesses(t, failed)
		if kills%20 == 0 || total >= guesses {
			w.clean(t)
		}
		w.close(t)
	}
	t.Logf("%d failed sets were acknowledged over %d kills, %d more had happened", total, kills, further)
	if len(failed) < guesses/guessTries || kills < guesses/(10*killGuesses) {
		t.Errorf("only %d challenges and %d kills", len(failed), kills)
	}
}
