package authzstore_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/badgerkv"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// A child process is this test binary with killDirEnv set. It plays the ledgers of
// a round, and says which moves were acknowledged.
const (
	killDirEnv   = "COUNTERSIGN_CHILD_DIR"
	killSeedEnv  = "COUNTERSIGN_CHILD_SEED"
	killRoundEnv = "COUNTERSIGN_CHILD_ROUND"
	killLedgers  = 8
)

func ledgerName(round string, i int) string { return fmt.Sprintf("round_%s_%d", round, i) }

// moves of one ledger, always the same for a seed.
func picks(seed uint64, i int) func(int64) int64 {
	random := rand.New(rand.NewPCG(seed, uint64(i)))
	return random.Int64N
}

func childMain() {
	dir := os.Getenv(killDirEnv)
	if dir == "" {
		return
	}
	fail := func(what any) {
		os.Stdout.WriteString(fmt.Sprintf("ERR %v\n", what))
		os.Exit(1)
	}
	backend, err := badgerkv.Open(context.Background(), badgerkv.Options{Dir: dir, BallastBytes: -1, VerifyEvery: -1})
	if err != nil {
		fail(err)
	}
	seed, err := strconv.ParseUint(os.Getenv(killSeedEnv), 10, 64)
	if err != nil {
		fail(err)
	}
	round := os.Getenv(killRoundEnv)
	n, err := strconv.ParseInt(round, 10, 64)
	if err != nil {
		fail(err)
	}
	w := &world{kv: backend, Store: authzstore.New(backend), dir: dir}
	w.handles.Store(n * 1000)
	ledgers := make([]*ledger, killLedgers)
	for i := range ledgers {
		ledgers[i] = newLedger(ledgerName(round, i))
		if err := w.found(ledgers[i]); err != nil {
			fail(err)
		}
	}
	os.Stdout.WriteString("READY\n")
	for i, l := range ledgers {
		pick := picks(seed, i)
		go func() {
			for {
				m := l.draw(pick)
				got := w.play(l, m)
				if want := l.play(m); got != want {
					fail(fmt.Sprintf("%+v: %s, want %s", m, got, want))
				}
				os.Stdout.WriteString(fmt.Sprintf("%d\n", i))
			}
		}()
	}
	select {}
}

// killedRound runs a child until it is killed, and returns how many moves of each
// ledger it acknowledged.
func killedRound(t *testing.T, dir string, seed uint64, round int, after time.Duration) (moves [killLedgers]int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir, fmt.Sprintf("%s=%d", killSeedEnv, seed), fmt.Sprintf("%s=%d", killRoundEnv, round))
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
		line = strings.TrimSuffix(line, "\n")
		if line == "READY" {
			kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer kill.Stop()
			continue
		}
		i, err := strconv.Atoi(line)
		if err != nil {
			t.Errorf("the child says %s", line)
			_ = cmd.Process.Kill()
			break
		}
		moves[i]++
	}
	_ = cmd.Wait()
	return moves
}

// TestLedgersAcrossKills: a process that plays ledgers is killed (SIGKILL), and
// each ledger is afterwards exactly as its acknowledged moves left it, or one move
// further: the one that nobody was told of.
func TestLedgersAcrossKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1<<32))
	var dir string
	total, further := 0, 0
	for round := range 6 * kvtest.Soak() {
		if round%20 == 0 { // a fresh store, or checking it takes ever longer
			dir = t.TempDir()
		}
		moves := killedRound(t, dir, seed+uint64(round), round, time.Duration(50+random.IntN(200))*time.Millisecond)
		w := &world{dir: dir}
		w.reopen(t)
		for i, acknowledged := range moves {
			total += acknowledged
			l, pick := newLedger(ledgerName(strconv.Itoa(round), i)), picks(seed+uint64(round), i)
			for range acknowledged {
				l.play(l.draw(pick))
			}
			how, err := w.differs(l)
			mustDo(t, err)
			if how == "" {
				continue
			}
			further++
			l.play(l.draw(pick))
			if again, err := w.differs(l); err != nil || again != "" {
				t.Errorf("round %d, ledger %d, after %d moves:\n%sand one further:\n%s%v", round, i, acknowledged, how, again, err)
			}
		}
		w.clean(t)
		w.close(t)
	}
	t.Logf("%d moves were acknowledged, %d ledgers were one further", total, further)
	if total < 100 {
		t.Errorf("only %d moves were acknowledged", total)
	}
}
