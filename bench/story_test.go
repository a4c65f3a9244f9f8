package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/sidecar/evidence"
)

// startParties runs a server with all systems inside the test. stop ends it, and what it
// logs is complete then; the end of the test does it too.
func startParties(t *testing.T, run peopled) (c *client, mail *mailroom, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench-") // the path of a unix socket is short
	if err != nil {
		t.Fatal(err)
	}
	p := place{socket: filepath.Join(dir, "s"), dir: filepath.Join(dir, "d")}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if mail, err = openMailroom(p.mailroom()); err != nil {
		t.Fatal(err)
	}
	if c, err = newClient(withSystems[0], p.socket); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run.run(ctx, p) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, c.close(), mail.close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	if err := c.verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := mail.await(); err != nil {
		t.Fatal(err)
	}
	return c, mail, stop
}

// few are the stories with so many parties each.
func few(parties int) []*story {
	var all []*story
	for _, s := range stories {
		smaller := *s
		smaller.parties = min(s.parties, parties)
		all = append(all, &smaller)
	}
	return all
}

// Every story has the calls, the step-ups and the denials that it is measured for, and
// its payments are new reservations.
func TestStories(t *testing.T) {
	told := few(2)
	c, mail, _ := startParties(t, peopled{cast: func() []party {
		var all []party
		for _, s := range told {
			all = append(all, s.cast()...)
		}
		return all
	}})
	stages, err := newStages(told, mail.devices)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct{ calls, stepUps, denials int }
	want := map[string][2]counts{ // as most, and with a refusal
		"direct":   {{1, 0, 0}, {1, 0, 0}},
		"order":    {{4, 1, 0}, {5, 1, 1}},
		"business": {{5, 0, 0}, {4, 0, 1}}, // a withdrawal, and a top-up
		"code":     {{1, 0, 0}, {1, 0, 1}},
		"approved": {{3, 1, 0}, {3, 1, 1}},
		"verified": {{4, 1, 0}, {5, 1, 1}},
		"second":   {{3, 0, 0}, {4, 0, 1}},
	}
	for _, st := range stages {
		t.Run(st.name, func(t *testing.T) {
			for i, turn := range []int64{0, refusedEvery - 2} {
				st.turns.Store(turn)
				s := &session{client: c, mail: mail, patient: true}
				if err := st.perform(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				if got := (counts{len(s.taken), s.stepUps, s.denials}); got != want[st.name][i] || s.stories != 1 {
					t.Errorf("turn %d: %+v in %d stories, want %+v", turn+1, got, s.stories, want[st.name][i])
				}
			}
		})
	}
	t.Run("another answer", func(t *testing.T) { testOtherAnswers(t, &session{client: c, mail: mail}) })
	t.Run("no party left", func(t *testing.T) { testNoParty(t, stages[1], &session{client: c, mail: mail, patient: true}) })
}

// An answer that the story does not go on from ends it, and a payment that was made
// before is none.
func testOtherAnswers(t *testing.T, s *session) {
	call := directAsks[0].call()
	call.key = newKey()
	if _, err := s.ask(t.Context(), call, "account_frozen"); err == nil {
		t.Error("an allow was taken for a refusal")
	}
	if err := s.pay(t.Context(), call); err == nil || !strings.Contains(err.Error(), "reservation") {
		t.Errorf("the same payment again: %v", err)
	}
	if _, err := s.ask(t.Context(), post("nobody", call.path, call.body), ""); err == nil {
		t.Error("a refusal was taken for an allow")
	}
	if len(s.taken) != 1 || s.denials != 0 {
		t.Errorf("%d calls and %d denials are counted, of one answer as wanted", len(s.taken), s.denials)
	}
}

// A party does not tell more stories than it may.
func testNoParty(t *testing.T, st *stage, s *session) {
	for told := 2; told < st.parties*st.perParty; told++ {
		if err := st.perform(t.Context(), s); err != nil {
			t.Fatalf("story %d: %v", told+1, err)
		}
	}
	if err := st.perform(t.Context(), s); !errors.Is(err, errNoParty) {
		t.Errorf("one more than all parties may tell: %v", err)
	}
}

// Of a time step a device makes one code; for a third it waits.
func TestByCode(t *testing.T) {
	device, err := evidence.ParseParameters("otpauth://totp/Bank:280123456789?algorithm=SHA1&digits=8&handle=0123456789" +
		"&issuer=Bank&period=10&prefix=28&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s, te := &session{}, &teller{party: party{name: "x"}, device: &device}
	te.step = device.Step(time.Now().UnixNano()) + 1 // its codes are all made
	if _, err := te.byCode(ended, s, 1); !errors.Is(err, context.Canceled) || s.waited != 1 {
		t.Errorf("without a code left: %v, waited %d times", err, s.waited)
	}
	te.step = 0
	if c, err := te.byCode(ended, s, 1); err != nil || s.waited != 1 || !strings.Contains(c.body, `"payment_code": "280123456789`) {
		t.Errorf("with one: %v, waited %d times, %s", err, s.waited, c.body)
	}
}

// What is no devices' parameters ends the wait for them.
func TestMailroom(t *testing.T) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for text, good := range map[string]bool{"otpauth://nothing\n": false, devicesEnd + "\n": true} {
		socket := filepath.Join(dir, "m")
		m, err := openMailroom(socket)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := m.await(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
		if err := errors.Join(conn.Close(), m.close()); err != nil {
			t.Error(err)
		}
		if _, err := m.code(t.Context(), "chl_x", "trm_x"); err == nil {
			t.Error("a code from a log that has ended")
		}
	}
}

func TestNewStages(t *testing.T) {
	if _, err := newStages(few(1), nil); err == nil {
		t.Error("delegates without devices")
	}
}

func TestMixRows(t *testing.T) {
	r := &mixResult{cells: []mixCell{{directPayment, 16}, {nil, 16}}}
	for _, cpu := range [][2]float64{{100, 150}, {200, 500}, {100, 100}} { // of a round
		r.Samples = append(r.Samples,
			mixSample{Story: directPayment.title, Callers: 16, Calls: 10, Stories: 10, CPUMicros: cpu[0]},
			mixSample{Story: mixTitle, Callers: 16, Calls: 10, Stories: 4, StepUps: 2, Denials: 1, CPUMicros: cpu[1], PerSecond: 1000})
	}
	got := r.text(asMarkdown)
	if want := "| all in turn, 16 | 2.5 | 20 % | 10 % | 150 | 100–500 | 1.50 | 1.00–2.50 | 375 | 1000 | 0.00 | 0.00 |\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%swithout\n%s", got, want)
	}
}
