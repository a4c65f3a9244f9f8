package evidence

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/pquerna/otp"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

// ChallengeCode is what a route calls the code that answers a challenge.
const ChallengeCode = call.ChallengeCode

// Challenges make the codes of challenges, and tell which of them was entered.
//
// A challenge keeps one secret, sealed for its ID, and a counter for each of its
// terminals. Code i is HOTP (RFC 4226, with SHA-1) of the secret at counter i: it is
// derived when a message is delivered and when an entry is compared, and kept nowhere.
type Challenges struct {
	cfg ChallengesConfig
	// nobodys is the challenge that entries into no challenge are compared with.
	nobodys authzstore.Challenge
}

// ChallengesConfig of Challenges. Sealer is required.
type ChallengesConfig struct {
	Sealer *Sealer
	// Random is where secrets come from. Nil means crypto/rand.
	Random io.Reader
}

// errChallenge says what is wrong with a challenge, never by its secret or its codes.
func errChallenge(format string, args ...any) error {
	return fmt.Errorf("evidence: the codes of a challenge: "+format, args...)
}

// NewChallenges returns Challenges, or says what is wrong with cfg.
func NewChallenges(cfg ChallengesConfig) (*Challenges, error) {
	if cfg.Sealer == nil {
		return nil, errors.New("evidence: challenges without a Sealer")
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	c := &Challenges{cfg: cfg}
	nobodys := authzstore.Challenge{ID: authzstore.NewID("chl"), Digits: authzstore.MaxCodeDigits}
	sealed, counters, err := c.NewSecret(nobodys.ID, nobodys.Digits, authzstore.MaxTerminals)
	if err != nil {
		return nil, err
	}
	nobodys.Sealed = sealed
	for _, counter := range counters {
		nobodys.Terminals = append(nobodys.Terminals, authzstore.ChallengeTerminal{Counter: counter})
	}
	c.nobodys = nobodys
	return c, nil
}

// NewSecret draws the secret of the challenge with this ID, and returns it sealed,
// with a counter for the code of each terminal. It is the generation condition: codes
// have so many digits and are all different, for where two are the same the counter
// steps on. Counters are from 1: 0 says of a message that it brings no code.
func (c *Challenges) NewSecret(id string, digits, terminals int) (sealed []byte, counters []uint64, err error) {
	switch {
	case digits < authzstore.MinCodeDigits || digits > authzstore.MaxCodeDigits:
		return nil, nil, errChallenge("%d digits, not %d to %d", digits, authzstore.MinCodeDigits, authzstore.MaxCodeDigits)
	case terminals < 1 || terminals > authzstore.MaxTerminals:
		return nil, nil, errChallenge("%d terminals, not 1 to %d", terminals, authzstore.MaxTerminals)
	}
	secret := make(Secret, MinSecretBytes)
	if _, err := io.ReadFull(c.cfg.Random, secret); err != nil {
		return nil, nil, fmt.Errorf("evidence: the secret of a challenge: %w", err)
	}
	taken := map[string]bool{}
	for counter := uint64(1); len(counters) < terminals; counter++ {
		code, err := challengeCode(secret, counter, digits)
		if err != nil {
			return nil, nil, err
		}
		if !taken[code] {
			taken[code], counters = true, append(counters, counter)
		}
	}
	return c.cfg.Sealer.Seal(id, secret), counters, nil
}

func challengeCode(secret Secret, counter uint64, digits int) (string, error) {
	code, err := oneTimePassword(secret, counter, digits, otp.AlgorithmSHA1)
	if err != nil {
		return "", errChallenge("none can be made")
	}
	return code, nil
}

// Code returns the code of the challenge's terminal i, for the message to it alone.
// ErrSealed if the secret does not open.
func (c *Challenges) Code(ch authzstore.Challenge, i int) (string, error) {
	if i < 0 || i >= len(ch.Terminals) {
		return "", errChallenge("of terminal %d, of %d", i, len(ch.Terminals))
	}
	secret, err := c.open(ch)
	if err != nil {
		return "", err
	}
	return challengeCode(secret, ch.Terminals[i].Counter, ch.Digits)
}

func (c *Challenges) open(ch authzstore.Challenge) (Secret, error) {
	secret, err := c.cfg.Sealer.Open(ch.ID, ch.Sealed)
	if err != nil {
		return nil, fmt.Errorf("the challenge %q: %w", ch.ID, err)
	}
	return secret, nil
}

// Match returns the entry that a code is, but for its arrival: which terminal's it is,
// -1 for none, and its rank among the challenge's codes. Where the condition asks for
// the sum, that of all codes in decimal without leading zeros is an entry of terminal 0.
//
// It takes the same time for every code and every challenge. ErrSealed if the secret
// does not open.
func (c *Challenges) Match(ch authzstore.Challenge, code string) (authzstore.Entry, error) {
	if len(ch.Terminals) < 1 || len(ch.Terminals) > authzstore.MaxTerminals {
		return authzstore.Entry{}, errChallenge("%d terminals, not 1 to %d", len(ch.Terminals), authzstore.MaxTerminals)
	}
	secret, err := c.open(ch)
	if err != nil {
		return authzstore.Entry{}, err
	}
	codes, err := newCodeSet(secret, ch)
	if err != nil {
		return authzstore.Entry{}, err
	}
	return codes.entry(code, ch.Condition.Entry == authzstore.EntrySum), nil
}

// MatchNobody does the work of Match for a code that is entered into no challenge, or
// by somebody whom the challenge does not expect.
func (c *Challenges) MatchNobody(code string) {
	// Its own secret opens, and what a code is of it does not matter.
	_, _ = c.Match(c.nobodys, code)
}

// A codeSet are the codes of a challenge. It always has the most that there can be, so
// that the work does not tell how many there are: what comes after the first count is
// the last code again.
type codeSet struct {
	count   int
	texts   [authzstore.MaxTerminals]string
	numbers [authzstore.MaxTerminals]int
}

func newCodeSet(secret Secret, ch authzstore.Challenge) (s codeSet, err error) {
	s.count = len(ch.Terminals)
	for i := range s.texts {
		counter := ch.Terminals[min(i, s.count-1)].Counter
		if s.texts[i], err = challengeCode(secret, counter, ch.Digits); err != nil {
			return codeSet{}, err
		}
		if s.numbers[i], err = strconv.Atoi(s.texts[i]); err != nil {
			return codeSet{}, errChallenge("one is no number") // Atoi's error would quote it
		}
	}
	return s, nil
}

// entry compares a code with each of the set, and with their sum.
func (s codeSet) entry(code string, wantSum bool) authzstore.Entry {
	entered := padded(code)
	terminal, rank, sum := -1, 0, 0
	for i, text := range s.texts {
		inUse := subtle.ConstantTimeLessOrEq(i+1, s.count)
		same := inUse & subtle.ConstantTimeCompare(entered, padded(text))
		terminal = subtle.ConstantTimeSelect(same, i, terminal)
		rank = subtle.ConstantTimeSelect(same, s.rank(i), rank)
		sum += inUse * s.numbers[i]
	}
	isSum := subtle.ConstantTimeCompare(entered, padded(strconv.Itoa(sum)))
	if wantSum {
		return authzstore.Entry{Terminal: isSum - 1}
	}
	return authzstore.Entry{Terminal: terminal, Rank: rank}
}

// rank is how many codes of the set are less than code i, as numbers.
func (s codeSet) rank(i int) int {
	rank := 0
	for j, number := range s.numbers {
		inUse := subtle.ConstantTimeLessOrEq(j+1, s.count)
		rank += inUse & subtle.ConstantTimeLessOrEq(number+1, s.numbers[i])
	}
	return rank
}

// paddedBytes hold a code, or the sum of all, and its length.
const paddedBytes = 16

// padded is a text of any length in a form of one length: texts are the same only if
// their forms are, unless both are longer than any code.
func padded(text string) []byte {
	form := make([]byte, paddedBytes)
	copy(form[1:], text)
	form[0] = byte(min(len(text), paddedBytes))
	return form
}

// Expected tells whether a challenge expects entries of a sender: of who made the call
// that it is about, or of one of its terminals. terminals are what the store has of
// those; one that was unbound, frozen or bound anew since is not expected.
func Expected(ch authzstore.Challenge, sender authzstore.Identity, terminals []authzstore.Terminal) bool {
	switch ch.Expects {
	case authzstore.ExpectsInitiator:
		return sender == ch.Initiator
	case authzstore.ExpectsTerminals:
		return slices.ContainsFunc(terminals, func(t authzstore.Terminal) bool {
			return t.Identity == sender && ch.StillAsks(t)
		})
	}
	return false
}
