package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/evidence"
)

// entriesCommand is the first argument that measures whether the time of an entry tells
// what it was.
const entriesCommand = "entries"

const (
	entriesName  = "countersign-entries" // of the server
	entriesTable = "bench entries"
)

// Codes by their place in the order that the challenge asks for, and one that is none.
const (
	lowCode = iota
	highCode
	wrongCode
)

// An entryClass is what an entry can be. Each challenge has two codes, to be entered in
// ascending order.
type entryClass struct {
	name  string
	title string
	// before are the codes that were entered into the challenge before.
	before  []int
	code    int
	late    bool // more than lateAfter after the codes were issued
	nowhere bool // into a challenge that there is not
	// stranger: it is entered by somebody else than who made the call.
	stranger bool
	spent    bool // and that one has no attempts left
	// then is what the call is answered that waits for the challenge, "" for an allow.
	then string
}

const required = "verification_required"

// entryClasses begin with the one that all others are compared with.
var entryClasses = []entryClass{
	{name: "wrong", title: "a wrong code", before: []int{lowCode}, code: wrongCode, then: required},
	{name: "control", title: "a wrong code, measured again", before: []int{lowCode}, code: wrongCode, then: required},
	{name: "right", title: "right codes", before: []int{lowCode}, code: highCode},
	{name: "order", title: "right codes in the wrong order", before: []int{highCode}, code: lowCode, then: required},
	{name: "late", title: "right codes, late", before: []int{lowCode}, code: highCode, late: true, then: required},
	{name: "locks", title: "a wrong code that locks the challenge", before: []int{lowCode, wrongCode, lowCode, wrongCode, lowCode}, code: wrongCode,
		then: "challenge_locked"},
	{name: "right_first", title: "a right code, the first of two", code: lowCode, then: required},
	{name: "wrong_first", title: "a wrong code, the first of two", code: wrongCode, then: required},
	{name: "unknown", title: "no such challenge", before: []int{lowCode}, code: highCode, nowhere: true, then: required},
	{name: "stranger", title: "by a stranger", before: []int{lowCode}, code: highCode, stranger: true, then: required},
	{name: "spent", title: "by a stranger without attempts", before: []int{lowCode}, code: highCode, stranger: true, spent: true, then: required},
	{name: "closed", title: "the challenge is satisfied already", before: []int{lowCode, highCode}, code: highCode},
}

const (
	maxEntryRounds  = 5
	maxEntrySamples = 100 // of each class in a round
	// lateAfter is the time in which codes must be entered that are to be late.
	lateAfter    = time.Second
	lateCurrency = "GBP"
	// preparers enter at the same time what is not measured.
	preparers = 8
)

// entriesCast has a party for each entry: none has entered anything before.
func entriesCast() []party {
	var all []party
	for _, c := range entryClasses {
		for round := range maxEntryRounds {
			for i := range maxEntrySamples {
				all = append(all, c.party(round, i))
			}
		}
	}
	return all
}

func (c entryClass) party(round, i int) party {
	p := party{name: fmt.Sprintf("%s_%d_%d", c.name, round, i), currency: "EUR", terminals: []device{{name: "phone"}, {name: "tablet"}}}
	if c.late {
		p.currency = lateCurrency
	}
	return p
}

// entriesRules has codes entered in ascending order whatever the amount, and in one
// currency very soon. A bundle that is not the built-in one is judged before it is
// served, so the systems that have no part in it are taken out.
func entriesRules(dir string) error {
	for _, system := range []string{"agent_order", "delegated_payment", "proxied_business", "second_terminal"} {
		err := errors.Join(os.RemoveAll(filepath.Join(dir, "systems", system)), os.Remove(filepath.Join(dir, "schemas", system+".json")))
		if err != nil {
			return err
		}
	}
	rule := func(currency string, within time.Duration) string {
		return fmt.Sprintf("  %s: [{from_minor: 1, entry: ascending, within_seconds: %d, digits: 6, max_attempts: 3, expires_seconds: 300}]\n",
			currency, int(within/time.Second))
	}
	text := "cooling_seconds: 0\nasking: {max_starts: 5, window_seconds: 3600, max_rejected_in_a_row: 3, pause_seconds: 86400}\nrules:\n" +
		rule("EUR", 5*time.Minute) + rule(lateCurrency, lateAfter)
	return os.WriteFile(filepath.Join(dir, "systems", "multi_terminal", "data.yaml"), []byte(text), 0o600)
}

// An entrySample is one entry.
type entrySample struct {
	Class  string  `json:"class"`
	Round  int     `json:"round"`
	Micros float64 `json:"micros"`
}

type entriesResult struct {
	Machine machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Each    int           `json:"entries_of_each_class_in_a_round"`
	Samples []entrySample `json:"samples"`
}

func benchEntries(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet(entriesCommand, flag.ContinueOnError)
	rounds := flags.Int("rounds", maxEntryRounds, "rounds, each with new challenges")
	each := flags.Int("entries", maxEntrySamples, "entries of each kind in a round")
	json := flags.String("json", filepath.Join("build", "bench-entries.json"), "file for every sample")
	markdown := flags.String("md", "", "file for the table in Markdown; in a file with marks for it, only the table is replaced")
	profiles := flags.String("profiles", "", "directory for CPU and allocation profiles of the server, its start included")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *rounds > maxEntryRounds || *each < 1 || *each > maxEntrySamples {
		return fmt.Errorf("-rounds must be from 1 to %d, and -entries from 1 to %d: each has an account of its own", maxEntryRounds, maxEntrySamples)
	}
	dir, err := os.MkdirTemp("", "countersign-bench-entries-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	debug.SetGCPercent(800)
	p, mail, err := startPeopled(ctx, entriesName, dir, *profiles)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(), mail.close()) }()
	r := &entriesResult{Machine: thisMachine(), Rounds: *rounds, Each: *each}
	r.Machine.LoadBefore = loadAverage()
	if err := spendStranger(ctx, p.client); err != nil {
		return err
	}
	for round := range *rounds {
		fmt.Printf("round %d of %d\n", round+1, *rounds)
		if err := r.measure(ctx, p.client, mail, round); err != nil {
			return err
		}
	}
	r.Machine.LoadAfter = loadAverage()
	fmt.Print("\n", r.text(terminal))
	if *json != "" {
		if err := writeJSON(*json, r); err != nil {
			return err
		}
	}
	return writeMarkdown(*markdown, entriesTable, r.text(asMarkdown))
}

// measure measures a round: an entry of each class in turn, in an order of its own each
// time, one after the other.
func (r *entriesResult) measure(ctx context.Context, c *client, mail *mailroom, round int) error {
	all, err := prepareEntries(ctx, c, mail, round, r.Each)
	if err != nil {
		return err
	}
	time.Sleep(lateAfter + lateAfter/10)
	runtime.GC()
	s := &session{client: c, mail: mail}
	for i := range r.Each {
		for _, k := range rand.Perm(len(entryClasses)) {
			took, err := all[k][i].enter(ctx, s)
			switch {
			case errors.Is(err, errNotNow):
				all[k][i].missed = true
				continue
			case err != nil:
				return fmt.Errorf("%s: %w", entryClasses[k].title, err)
			}
			r.Samples = append(r.Samples, entrySample{entryClasses[k].name, round, micros(took)})
		}
	}
	return inParallel(ctx, all, func(ctx context.Context, i int, e *preparedEntry) error {
		s := &session{client: c, mail: mail, conn: i, patient: true}
		if e.missed {
			return nil
		}
		if _, err := s.ask(ctx, e.call, e.class.then); err != nil {
			return fmt.Errorf("what follows on an entry, %s: %w", e.class.title, err)
		}
		return nil
	})
}

// A preparedEntry is one that is about to be made.
type preparedEntry struct {
	class entryClass
	party party
	call  httpCall // that waits for the challenge
	entry httpCall
	// missed: there was no decision about it in time.
	missed bool
}

// prepareEntries issues the challenges of a round, by class, and enters what comes before.
func prepareEntries(ctx context.Context, c *client, mail *mailroom, round, each int) ([][]*preparedEntry, error) {
	var all [][]*preparedEntry
	for _, class := range entryClasses {
		var some []*preparedEntry
		for i := range each {
			some = append(some, &preparedEntry{class: class, party: class.party(round, i)})
		}
		all = append(all, some)
	}
	return all, inParallel(ctx, all, func(ctx context.Context, i int, e *preparedEntry) error {
		if err := e.prepare(ctx, &session{client: c, mail: mail, conn: i, patient: true}); err != nil {
			return fmt.Errorf("what comes before an entry, %s: %w", e.class.title, err)
		}
		return nil
	})
}

func (e *preparedEntry) prepare(ctx context.Context, s *session) error {
	p := e.party
	e.call = post(p.owner(), "/v1/accounts/"+p.account()+"/verified-payments", fullBody(payment(amount, p.currency)))
	asked, err := s.ask(ctx, e.call, required)
	if err != nil {
		return err
	}
	codes, err := codesOf(ctx, s.mail, p, asked.challenge)
	if err != nil {
		return err
	}
	for _, k := range e.class.before {
		if err := s.enter(ctx, p.owner(), userChallenges, asked.challenge, codes[k]); err != nil {
			return err
		}
	}
	subject, challenge := p.owner(), asked.challenge
	switch {
	case e.class.spent:
		subject = spentStranger
	case e.class.stranger:
		subject = p.subject("stranger")
	}
	if e.class.nowhere {
		challenge = authzstore.NewID("chl")
	}
	e.entry = post(subject, userChallenges+challenge+"/entries", `{"code": "`+codes[e.class.code]+`"}`)
	return nil
}

// spentStranger is one who has entered codes in vain until there was nothing left.
const spentStranger = "stranger-of-all"

func spendStranger(ctx context.Context, c *client) error {
	s := &session{client: c, patient: true}
	for range evidence.SenderAllowance.Max {
		if err := s.enter(ctx, spentStranger, userChallenges, authzstore.NewID("chl"), "000000"); err != nil {
			return err
		}
	}
	return nil
}

// codesOf waits for both codes of a challenge, and returns them in their order, and one
// that is neither.
func codesOf(ctx context.Context, mail *mailroom, p party, challenge string) (codes [3]string, err error) {
	for i, d := range p.terminals {
		if codes[i], err = mail.code(ctx, challenge, p.terminal(d.name)); err != nil {
			return codes, err
		}
	}
	slices.Sort(codes[:2]) // of one length: as numbers too
	for n := 0; codes[wrongCode] == "" || slices.Contains(codes[:2], codes[wrongCode]); n++ {
		codes[wrongCode] = fmt.Sprintf("%06d", n)
	}
	return codes, nil
}

// enter makes the entry, and returns how long it took.
func (e *preparedEntry) enter(ctx context.Context, s *session) (time.Duration, error) {
	if _, err := s.ask(ctx, e.entry, ""); err != nil {
		return 0, err
	}
	return s.taken[len(s.taken)-1], nil
}

// inParallel does something for every entry, and stops at the first error. It tells of
// each a number, for the connection.
func inParallel(ctx context.Context, all [][]*preparedEntry, do func(context.Context, int, *preparedEntry) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	flat := slices.Concat(all...)
	var wait sync.WaitGroup
	for i := range preparers {
		wait.Go(func() {
			for k := i; k < len(flat) && ctx.Err() == nil; k += preparers {
				if err := do(ctx, i, flat[k]); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	return context.Cause(ctx)
}

// of returns how long the entries of a class took, sorted; round -1 means all rounds.
func (r *entriesResult) of(class string, round int) (taken []float64) {
	for _, s := range r.Samples {
		if s.Class == class && (round < 0 || s.Round == round) {
			taken = append(taken, s.Micros)
		}
	}
	slices.Sort(taken)
	return taken
}

// longerShare is how often one of values is longer than one of base, of all pairs, equal
// ones by half. Both are sorted. At 0.5 a value tells nothing (Mann and Whitney, 1947).
func longerShare(values, base []float64) float64 {
	longer := 0.0
	for _, v := range values {
		below, _ := slices.BinarySearch(base, v)
		upTo := below
		for upTo < len(base) && base[upTo] == v {
			upTo++
		}
		longer += float64(below) + float64(upTo-below)/2
	}
	return longer / float64(len(values)*len(base))
}

func (r *entriesResult) text(layout layout) string {
	return layout(r.rows()) + "\n" +
		fmt.Sprintf("%v; %d rounds of %d entries of each kind, one after the other; ratios are of medians within one round; load average %s before, %s after.\n",
			r.Machine, r.Rounds, r.Each, r.Machine.LoadBefore, r.Machine.LoadAfter)
}

func (r *entriesResult) rows() [][]string {
	rows := [][]string{{"an entry that completes the set, but for the first of two", "p50 µs", "(p25–p75)", "p95 µs", "ratio to wrong", "(min–max)", "longer than wrong"}}
	base := entryClasses[0].name
	for _, c := range entryClasses {
		all := r.of(c.name, -1)
		if len(all) == 0 {
			continue
		}
		var ratios, shares []float64
		for round := range r.Rounds {
			ratios = append(ratios, median(r.of(c.name, round))/median(r.of(base, round)))
			shares = append(shares, longerShare(r.of(c.name, round), r.of(base, round)))
		}
		least, largest := span(ratios)
		at := func(percent int) string { return strconv.Itoa(int(all[len(all)*percent/100])) }
		rows = append(rows, []string{
			c.title, strconv.Itoa(int(median(all))), strings.Join([]string{at(25), at(75)}, "–"), at(95),
			fmt.Sprintf("%.3f", median(ratios)), fmt.Sprintf("%.3f–%.3f", least, largest),
			fmt.Sprintf("%.0f %%", 100*sum(shares)/float64(len(shares))),
		})
	}
	return rows
}
