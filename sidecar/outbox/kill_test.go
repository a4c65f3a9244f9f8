package outbox

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv/kvtest"
)

// A child process is this test binary with killDirEnv set. It sends messages to the
// terminals of its round, says which were committed, and delivers them.
const (
	killDirEnv   = "COUNTERSIGN_CHILD_DIR"
	killURLEnv   = "COUNTERSIGN_CHILD_URL"
	killCertEnv  = "COUNTERSIGN_CHILD_CERTIFICATE"
	killRoundEnv = "COUNTERSIGN_CHILD_ROUND"
	killSenders  = 16

	// leastSaid is how many messages are committed before a kill, at least.
	leastSaid = 10
)

func senderName(round string, i int) string { return fmt.Sprintf("trm_%s_%d", round, i) }

func childMain() {
	dir := os.Getenv(killDirEnv)
	if dir == "" {
		return
	}
	fail := func(what any) {
		os.Stdout.WriteString(fmt.Sprintf("ERR %v\n", what))
		os.Exit(1)
	}
	w, err := open(dir)
	if err != nil {
		fail(err)
	}
	w.clock.now = time.Now()
	o, err := w.newOutbox(realTime, childReceiver)
	if err != nil {
		fail(err)
	}
	round := os.Getenv(killRoundEnv)
	for i := range killSenders {
		id := senderName(round, i)
		err := w.putTerminal(authzstore.Terminal{ID: id, Account: "acc_" + id, Webhook: os.Getenv(killURLEnv)})
		if err != nil {
			fail(err)
		}
	}
	go o.Run(context.Background())
	for i := range killSenders {
		go func() {
			for {
				m, err := w.message(senderName(round, i))
				if err == nil {
					err = w.sendMessage(m)
				}
				if errors.Is(err, authzstore.ErrTooManyMessages) {
					return
				}
				if err != nil {
					fail(err)
				}
				os.Stdout.WriteString(fmt.Sprintf("%d\n", i))
				time.Sleep(time.Millisecond) // so that deliveries keep up, more or less
			}
		}()
	}
	select {}
}

func realTime(cfg *Config) {
	cfg.Now, cfg.After = func() (time.Time, error) { return time.Now(), nil }, nil
	cfg.Random = nil
	cfg.Backoff = Backoff{Base: time.Millisecond, Most: 20 * time.Millisecond, Tries: 1 << 30}
}

func childReceiver(cfg *Config) {
	secrets, err := ParseSecrets(testSecret)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	certificate, err := os.ReadFile(os.Getenv(killCertEnv))
	if err != nil || !roots.AppendCertsFromPEM(certificate) {
		panic("no certificate")
	}
	cfg.Roots = roots
	cfg.Receivers = []Receiver{{Host: strings.TrimPrefix(os.Getenv(killURLEnv), "https://"), Secrets: secrets, Loopback: true}}
}

// killedRound runs a child until it said that so many messages were committed, kills it,
// and returns how many to each terminal were.
func killedRound(t *testing.T, dir string, r *receiver, certificate string, round, after int) (sent [killSenders]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir, killURLEnv+"="+r.URL, killCertEnv+"="+certificate, fmt.Sprintf("%s=%d", killRoundEnv, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	must(t, err)
	lines := bufio.NewReader(out)
	for said := 1; ; said++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what is cut short was not said
		}
		if said == after {
			_ = cmd.Process.Kill()
		}
		i, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Errorf("the child says %s", line)
			_ = cmd.Process.Kill()
			break
		}
		sent[i]++
	}
	_ = cmd.Wait()
	return sent
}

// TestDeliveryAcrossKills: a process that sends and delivers messages is killed
// (SIGKILL), again and again. In the end every message that was committed has arrived,
// those of a terminal in order, and what arrived twice had the same ID.
func TestDeliveryAcrossKills(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newReceiver(t, func(Envelope) int {
		if rand.IntN(10) == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	r.Config.ErrorLog = quiet
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	must(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600))
	var dir string
	said := map[string]uint64{} // by terminal, of the store in dir
	total, late := uint64(0), uint64(0)
	rounds := 3 * kvtest.Soak()
	for round := range rounds {
		if round%10 == 0 { // a fresh store, or catching up takes ever longer
			dir = t.TempDir()
			clear(said)
		}
		for i, n := range killedRound(t, dir, r, certificate, round, leastSaid+random.IntN(killSenders*40)) {
			said[senderName(strconv.Itoa(round), i)] = n
			total += n
		}
		if round%10 == 9 || round == rounds-1 {
			late += catchUp(t, dir, r, said)
		}
	}
	repeats := checkReceipts(t, r)
	t.Logf("%d messages were committed, %d of them delivered only after a kill, %d webhooks were repeats", total, late, repeats)
	if total < uint64(rounds*leastSaid) || late == 0 || late >= total {
		t.Errorf("only %d messages were committed, %d delivered after a kill", total, late)
	}
}

// catchUp delivers what a killed process left, and checks that nothing that it said was
// committed is missing. It returns how many messages were left.
func catchUp(t *testing.T, dir string, r *receiver, said map[string]uint64) (left uint64) {
	t.Helper()
	w, err := open(dir)
	must(t, err)
	defer func() { must(t, w.Close()) }()
	lag := func() (n uint64) {
		must(t, w.View(context.Background(), func(s authzstore.Snapshot) error {
			for terminal, committed := range said {
				box, err := s.Mailbox(terminal)
				if err != nil {
					return err
				}
				if box.Sent < committed {
					t.Errorf("%s has %d messages, of %d that were committed", terminal, box.Sent, committed)
				}
				d, err := s.Delivery(terminal)
				if err != nil {
					return err
				}
				if len(d.Dead) > 0 {
					t.Errorf("%s: dead letters %+v", terminal, d.Dead)
				}
				n += box.Sent - d.Acked
			}
			return nil
		}))
		return n
	}
	left = lag()
	o := w.outbox(t, realTime, r.config(t))
	defer start(o)()
	eventually(t, "all delivered", func() bool { return lag() == 0 })
	must(t, w.View(context.Background(), func(s authzstore.Snapshot) error {
		for terminal := range said {
			messages, err := s.Messages(terminal, 1, authzstore.MaxPage)
			if err != nil {
				return err
			}
			arrived := r.of(terminal)
			for _, m := range messages {
				if arrived[m.Num] != m.ID {
					t.Errorf("message %d of %s is %s, %q arrived", m.Num, terminal, m.ID, arrived[m.Num])
				}
			}
		}
		return nil
	}))
	return left
}

// of returns the IDs of the messages of a terminal that arrived, by number.
func (r *receiver) of(terminal string) map[uint64]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := map[uint64]string{}
	for _, receipt := range r.receipts {
		if receipt.envelope.Terminal == terminal {
			ids[receipt.envelope.Number] = receipt.id
		}
	}
	return ids
}

// checkReceipts checks the order of what arrived, and returns how much came again.
func checkReceipts(t *testing.T, r *receiver) (repeats int) {
	t.Helper()
	ids := map[string]string{}  // by terminal and number
	last := map[string]uint64{} // by terminal
	for _, receipt := range r.got(t, 0) {
		e := receipt.envelope
		place := fmt.Sprint(e.Terminal, " ", e.Number)
		switch was, seen := ids[place]; {
		case seen && was != e.ID:
			t.Errorf("%s came as %s, and again as %s", place, was, e.ID)
		case seen:
			repeats++
		case e.Number != last[e.Terminal]+1:
			t.Errorf("%s came after %d", place, last[e.Terminal])
		}
		ids[place] = e.ID
		if e.Number < last[e.Terminal] {
			t.Errorf("%s came again after %d", place, last[e.Terminal])
		}
		last[e.Terminal] = max(last[e.Terminal], e.Number)
	}
	return repeats
}
