package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/countersign/countersign/authzstore"
)

// same is randomness that is always the same secret.
type same struct{ secret Secret }

func (s same) Read(p []byte) (int, error) { return copy(p, s.secret), nil }

func challenges(t testing.TB, random io.Reader) *Challenges {
	t.Helper()
	s, err := NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewChallenges(ChallengesConfig{Sealer: s, Random: random})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// issue makes a challenge of n codes.
func issue(t testing.TB, c *Challenges, length, n int, entry authzstore.EntryOrder) authzstore.Challenge {
	t.Helper()
	ch := authzstore.Challenge{ID: authzstore.NewID("chl"), Kind: authzstore.ChallengeCode, Digits: length, Condition: authzstore.Condition{Entry: entry}}
	sealed, counters, err := c.NewSecret(ch.ID, length, n)
	if err != nil {
		t.Fatal(err)
	}
	ch.Sealed = sealed
	for i, counter := range counters {
		ch.Terminals = append(ch.Terminals, authzstore.ChallengeTerminal{Terminal: fmt.Sprintf("trm_%d", i), Counter: counter})
	}
	return ch
}

// codesOf are the codes of a challenge, in the order of its terminals.
func codesOf(t testing.TB, c *Challenges, ch authzstore.Challenge) (codes []string) {
	t.Helper()
	for i := range ch.Terminals {
		code, err := c.Code(ch, i)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, code)
	}
	return codes
}

func wantEntry(t *testing.T, c *Challenges, ch authzstore.Challenge, code string, want authzstore.Entry) {
	t.Helper()
	if got, err := c.Match(ch, code); got != want || err != nil {
		t.Errorf("%q is %+v, %v, want %+v", code, got, err, want)
	}
}

// The codes of RFC 4226, appendix D, from counter 1.
var rfc4226 = []string{
	"287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
}

// A challenge whose secret is that of RFC 4226 has its codes, each of which is found
// with its rank.
func TestChallengeRFC4226(t *testing.T) {
	c := challenges(t, same{rfcSecret(20)})
	ch := issue(t, c, 6, len(rfc4226), authzstore.EntryAny)
	if got := codesOf(t, c, ch); !slices.Equal(got, rfc4226) {
		t.Errorf("codes %v", got)
	}
	sorted := slices.Sorted(slices.Values(rfc4226))
	for i, code := range rfc4226 {
		wantEntry(t, c, ch, code, authzstore.Entry{Terminal: i, Rank: slices.Index(sorted, code)})
	}
	// Counter by counter, whatever their order.
	ch.Terminals = []authzstore.ChallengeTerminal{{Counter: 9}, {Counter: 2}}
	if got := codesOf(t, c, ch); !slices.Equal(got, []string{"520489", "359152"}) {
		t.Errorf("codes %v", got)
	}
	wantEntry(t, c, ch, "520489", authzstore.Entry{Terminal: 0, Rank: 1})
	wantEntry(t, c, ch, "755224", authzstore.Entry{Terminal: -1})
}

func TestMatchNone(t *testing.T) {
	c := challenges(t, same{rfcSecret(20)})
	ch := issue(t, c, 6, 3, authzstore.EntryAny) // 287082 359152 969429
	for _, code := range []string{
		"", "0", "287083", "28708", "2870820", "0287082", "87082", " 287082", "287082\n", "287082\x00", "+287082", "-287082",
		"287 082", "２８７０８２", "755224", "338314", // of counters that no terminal has
		"1615663", // the sum, which the condition does not ask for
		strings.Repeat("7", 15), strings.Repeat("7", 16), "287082" + strings.Repeat("0", 10000),
		"287082" + strings.Repeat("\x00", 256), // as long as a code, in a byte
	} {
		wantEntry(t, c, ch, code, authzstore.Entry{Terminal: -1})
	}
	other := issue(t, challenges(t, nil), 6, 3, authzstore.EntryAny)
	for _, code := range codesOf(t, c, other) {
		if !slices.Contains(rfc4226, code) {
			wantEntry(t, c, ch, code, authzstore.Entry{Terminal: -1})
		}
	}
}

// Zeros in front are digits of a code as all others, and its rank is that of a number.
func TestLeadingZeros(t *testing.T) {
	c := challenges(t, rand.NewChaCha8([32]byte{3}))
	seen := 0
	for seen < 20 {
		ch := issue(t, c, 6, 16, authzstore.EntryAny)
		codes := codesOf(t, c, ch)
		for i, code := range codes {
			if code[0] != '0' {
				continue
			}
			seen++
			rank := 0
			for _, other := range codes {
				if number(t, other) < number(t, code) {
					rank++
				}
			}
			wantEntry(t, c, ch, code, authzstore.Entry{Terminal: i, Rank: rank})
			wantEntry(t, c, ch, strings.TrimLeft(code, "0"), authzstore.Entry{Terminal: -1})
			wantEntry(t, c, ch, "0"+code, authzstore.Entry{Terminal: -1})
		}
	}
}

func number(t testing.TB, code string) int {
	t.Helper()
	n, err := strconv.Atoi(code)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Of every number of terminals, all codes have their length, differ, and are found.
func TestGenerationCondition(t *testing.T) {
	c := challenges(t, nil)
	for n := 1; n <= authzstore.MaxTerminals; n++ {
		for length := MinDigits; length <= MaxDigits; length++ {
			ch := issue(t, c, length, n, authzstore.EntryAny)
			codes := codesOf(t, c, ch)
			numbers := make([]int, n)
			for i, code := range codes {
				if len(code) != length || slices.Index(codes, code) != i {
					t.Errorf("codes %v of %d digits", codes, length)
				}
				numbers[i] = number(t, code)
			}
			slices.Sort(numbers)
			for i, code := range codes {
				wantEntry(t, c, ch, code, authzstore.Entry{Terminal: i, Rank: slices.Index(numbers, number(t, code))})
			}
		}
	}
}

// Where two codes would be the same, the counter steps on.
func TestCollision(t *testing.T) {
	const n, length = 16, 6
	// A secret of whose first codes two are the same: one in some 8 000 has such.
	random := rand.NewChaCha8([32]byte{1})
	secret, collides := make(Secret, MinSecretBytes), -1
	for collides < 0 {
		random.Read(secret)
		taken := map[string]bool{}
		for i := range n {
			code, err := challengeCode(secret, uint64(i+1), length)
			if err != nil {
				t.Fatal(err)
			}
			if taken[code] {
				collides = i
				break
			}
			taken[code] = true
		}
	}
	c := challenges(t, same{secret})
	ch := issue(t, c, length, n, authzstore.EntryAny)
	for i, terminal := range ch.Terminals {
		want := uint64(i + 1)
		if i >= collides {
			want++
		}
		if terminal.Counter != want {
			t.Errorf("terminal %d has counter %d, want %d", i, terminal.Counter, want)
		}
	}
	codes := codesOf(t, c, ch)
	if slices.Sort(codes); len(slices.Compact(codes)) != n {
		t.Errorf("codes %v", codes)
	}
}

// The target value is the sum of all codes, and one entry.
func TestSum(t *testing.T) {
	c := challenges(t, same{rfcSecret(20)})
	ch := issue(t, c, 6, 3, authzstore.EntrySum)
	wantEntry(t, c, ch, "1615663", authzstore.Entry{Terminal: 0})
	for _, code := range []string{"", "287082", "359152", "1615662", "01615663", "1615663 ", "646234", "0"} {
		wantEntry(t, c, ch, code, authzstore.Entry{Terminal: -1})
	}
	for n := 1; n <= authzstore.MaxTerminals; n++ {
		ch := issue(t, c, 8, n, authzstore.EntrySum)
		sum := 0
		for _, code := range codesOf(t, c, ch) {
			sum += number(t, code)
		}
		wantEntry(t, c, ch, strconv.Itoa(sum), authzstore.Entry{Terminal: 0})
		wantEntry(t, c, ch, strconv.Itoa(sum+1), authzstore.Entry{Terminal: -1})
	}
}

// From the codes to the verdict: what is entered as asked passes, in no other way.
func TestEnteredAndJudged(t *testing.T) {
	c := challenges(t, nil)
	for _, entry := range []authzstore.EntryOrder{authzstore.EntryTerminals, authzstore.EntryAscending, authzstore.EntryDescending} {
		ch := issue(t, c, 6, 4, entry)
		codes := codesOf(t, c, ch)
		right := slices.Clone(codes)
		if entry != authzstore.EntryTerminals {
			slices.Sort(right)
		}
		if entry == authzstore.EntryDescending {
			slices.Reverse(right)
		}
		passed := 0
		permutations(codes, func(order []string) {
			ch.Entries = nil
			for _, code := range order {
				e, err := c.Match(ch, code)
				if err != nil {
					t.Fatal(err)
				}
				ch.Entries = append(ch.Entries, e)
			}
			if Judge(ch) != slices.Equal(order, right) {
				t.Errorf("%s: %v entered as %v", entry, codes, order)
			}
			passed++
		})
		if passed != 24 {
			t.Errorf("%d orders were tried", passed)
		}
	}
}

// permutations calls fn with every order of texts.
func permutations(texts []string, fn func([]string)) {
	var place func(done, left []string)
	place = func(done, left []string) {
		if len(left) == 0 {
			fn(done)
		}
		for i := range left {
			place(append(slices.Clone(done), left[i]), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	place(nil, texts)
}

// A secret that was changed, or is another challenge's, is an error, and the error has
// nothing of the codes.
func TestDamagedChallenge(t *testing.T) {
	c := challenges(t, same{rfcSecret(20)})
	good := issue(t, c, 8, 3, authzstore.EntryAny)
	other := issue(t, c, 8, 3, authzstore.EntryAny)
	codes := codesOf(t, c, good)
	c.MatchNobody(codes[0]) // whatever it is shown
	c.MatchNobody("")
	for name, edit := range map[string]func(*authzstore.Challenge){
		"a byte changed": func(ch *authzstore.Challenge) { ch.Sealed[len(ch.Sealed)/2] ^= 1 },
		"another key":    func(ch *authzstore.Challenge) { ch.Sealed[1] ^= 1 },
		"another's":      func(ch *authzstore.Challenge) { ch.Sealed = other.Sealed },
		"nobody's":       func(ch *authzstore.Challenge) { ch.Sealed = c.nobodys.Sealed },
		"none":           func(ch *authzstore.Challenge) { ch.Sealed = nil },
	} {
		ch := good
		ch.Sealed = bytes.Clone(good.Sealed)
		edit(&ch)
		e, err := c.Match(ch, codes[0])
		if !errors.Is(err, ErrSealed) || e != (authzstore.Entry{}) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
		code, codeErr := c.Code(ch, 0)
		if !errors.Is(codeErr, ErrSealed) || code != "" {
			t.Errorf("%s: a code, %v", name, codeErr)
		}
		for _, canary := range append(codes, string(rfcSecret(20)), secretText.EncodeToString(rfcSecret(20))) {
			if strings.Contains(err.Error()+codeErr.Error(), canary) {
				t.Errorf("%s: %q is in %v", name, canary, err)
			}
		}
	}
}

func TestChallengesRefuse(t *testing.T) {
	if _, err := NewChallenges(ChallengesConfig{}); err == nil {
		t.Error("no sealer")
	}
	if _, err := NewChallenges(ChallengesConfig{Sealer: sealer(t, 1), Random: iotest.ErrReader(io.ErrUnexpectedEOF)}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
	c := challenges(t, nil)
	for _, bad := range [][2]int{{5, 2}, {9, 2}, {6, 0}, {6, -1}, {6, authzstore.MaxTerminals + 1}} {
		if sealed, counters, err := c.NewSecret("chl_x", bad[0], bad[1]); err == nil || sealed != nil || counters != nil {
			t.Errorf("%d digits for %d terminals", bad[0], bad[1])
		}
	}
	ch := issue(t, c, 6, 2, authzstore.EntryAny)
	for _, i := range []int{-1, 2} {
		if _, err := c.Code(ch, i); err == nil {
			t.Errorf("a code of terminal %d", i)
		}
	}
	for _, n := range []int{0, authzstore.MaxTerminals + 1} {
		ch.Terminals = make([]authzstore.ChallengeTerminal, n)
		if _, err := c.Match(ch, "000000"); err == nil {
			t.Errorf("a match of %d terminals", n)
		}
	}
}

func TestExpected(t *testing.T) {
	person := func(name string) authzstore.Identity {
		return authzstore.Identity{Kind: "user", Issuer: "https://id.example", Subject: name}
	}
	phone := authzstore.Terminal{
		ID: "trm_phone", Account: "acc_anna", Identity: person("phone"), State: authzstore.TerminalBound, BoundAtNanos: 7,
	}
	ch := authzstore.Challenge{
		Account: "acc_anna", Initiator: person("agent"),
		Terminals: []authzstore.ChallengeTerminal{{Terminal: "trm_watch", BoundAtNanos: 7}, {Terminal: "trm_phone", BoundAtNanos: 7}},
	}
	for _, c := range []struct {
		name    string
		expects authzstore.Expects
		sender  string
		edit    func(*authzstore.Terminal)
		want    bool
	}{
		{"the initiator", authzstore.ExpectsInitiator, "agent", nil, true},
		{"its terminal, where the initiator should", authzstore.ExpectsInitiator, "phone", nil, false},
		{"a stranger, where the initiator should", authzstore.ExpectsInitiator, "mallory", nil, false},
		{"its terminal", authzstore.ExpectsTerminals, "phone", nil, true},
		{"the initiator, where its terminals should", authzstore.ExpectsTerminals, "agent", nil, false},
		{"a stranger", authzstore.ExpectsTerminals, "mallory", nil, false},
		{"another terminal of the account", authzstore.ExpectsTerminals, "phone", func(t *authzstore.Terminal) { t.ID = "trm_other" }, false},
		{"unbound", authzstore.ExpectsTerminals, "phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalUnbound }, false},
		{"frozen", authzstore.ExpectsTerminals, "phone", func(t *authzstore.Terminal) { t.State = authzstore.TerminalFrozen }, false},
		{"bound anew", authzstore.ExpectsTerminals, "phone", func(t *authzstore.Terminal) { t.BoundAtNanos = 8 }, false},
		{"bound to another account", authzstore.ExpectsTerminals, "phone", func(t *authzstore.Terminal) { t.Account = "acc_ben" }, false},
		{"by nobody", "", "agent", nil, false},
	} {
		terminal := phone
		if c.edit != nil {
			c.edit(&terminal)
		}
		ch.Expects = c.expects
		if got := Expected(ch, person(c.sender), []authzstore.Terminal{terminal}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A code's form has one length, and no two texts that a code can be have the same.
func TestPadded(t *testing.T) {
	texts := []string{"", "\x00", "0", "00", "0\x00", "123456", "1234567", "012345", strings.Repeat("1", 15)}
	for i, a := range texts {
		if len(padded(a)) != paddedBytes {
			t.Errorf("%q in %d bytes", a, len(padded(a)))
		}
		for j, b := range append(texts, strings.Repeat("1", 16), strings.Repeat("1", 300), a+strings.Repeat("\x00", 20)) {
			if bytes.Equal(padded(a), padded(b)) != (i == j) {
				t.Errorf("%q and %q", a, b)
			}
		}
	}
}

// The work of a comparison tells nothing: all of these take the same time.
func BenchmarkMatch(b *testing.B) {
	c := challenges(b, nil)
	two, all, sum := issue(b, c, 6, 2, authzstore.EntryAny), issue(b, c, 6, 16, authzstore.EntryAny), issue(b, c, 8, 2, authzstore.EntrySum)
	first, last := codesOf(b, c, two)[0], codesOf(b, c, all)[15]
	for _, bench := range []struct {
		name string
		ch   authzstore.Challenge
		code string
	}{
		{"right first of 2", two, first},
		{"right last of 16", all, last},
		{"wrong of 2", two, "x" + first[1:]},
		{"wrong of 16", all, last[:5] + "x"},
		{"no code", two, ""},
		{"wrong sum", sum, "12345678"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Match(bench.ch, bench.code); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("nobody", func(b *testing.B) {
		for b.Loop() {
			c.MatchNobody(first)
		}
	})
}
