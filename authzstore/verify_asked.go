package authzstore

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// asked are the nouns about people who are asked and told, as far as other nouns
// depend on them.
type asked struct {
	terminals  map[string]Terminal         // ID → terminal
	listed     map[string]AccountTerminals // account → its terminals as stored
	challenges map[string]Challenge        // ID → challenge, without its secret
	initiators map[string]writtenInitiator // key → initiator
	failed     map[string]int64            // account → failed sets of its challenges
	codes      map[string]StoredCodes      // account → its stored codes
	intents    map[string]openIntent       // ID → what is needed of an intent
	openLists  map[string]writtenOpen      // account → its open intents as stored
	mailboxes  map[string]Mailbox          // terminal → its mailbox
	delivered  map[string]uint64           // terminal → up to which message
}

type writtenInitiator struct {
	Initiator
	writtenNanos int64
}

type writtenOpen struct {
	OpenIntents
	writtenNanos int64
}

type openIntent struct {
	account        string
	expiresAtNanos int64
	closed         bool
}

func newAsked() asked {
	return asked{
		terminals: map[string]Terminal{}, listed: map[string]AccountTerminals{},
		challenges: map[string]Challenge{}, initiators: map[string]writtenInitiator{}, failed: map[string]int64{},
		codes: map[string]StoredCodes{}, intents: map[string]openIntent{}, openLists: map[string]writtenOpen{},
		mailboxes: map[string]Mailbox{}, delivered: map[string]uint64{},
	}
}

// addAsked adds a noun to those about people who are asked. Keys come in order:
// challenges before intents, then keyed calls, then what was used.
func (v *verifier) addAsked(key string, noun any, writtenNanos int64) {
	switch noun := noun.(type) {
	case Terminal:
		v.addTerminal(noun)
	case AccountTerminals:
		v.listed[noun.Account] = noun
	case Challenge:
		noun.Sealed = nil
		v.challenges[noun.ID] = noun
		v.failed[noun.Account] += noun.Burnt
	case Initiator:
		v.initiators[key] = writtenInitiator{noun, writtenNanos}
	case Verification:
		if noun.FailedInARow > v.failed[noun.Account] {
			v.report(key, "an account's codes are locked by its challenges", "%d sets failed in a row, and %d in all", noun.FailedInARow, v.failed[noun.Account])
		}
	case StoredCodes:
		v.codes[noun.Account] = noun
	case Intent:
		v.intents[noun.ID] = openIntent{noun.Account, noun.ExpiresAtNanos, noun.Closed}
	case OpenIntents:
		v.openLists[noun.Account] = writtenOpen{noun, writtenNanos}
	case Mailbox:
		v.mailboxes[noun.Terminal] = noun
	case Delivery:
		v.delivered[noun.Terminal] = noun.Acked
	case KeyedCall:
		v.checkKeyed(key, noun)
	case Use:
		v.checkStoredCodeUse(key, noun)
	}
}

func (v *verifier) addTerminal(t Terminal) {
	v.terminals[t.ID] = t
	v.index[terminalOfKey(t)] = indexMark{}
	if !t.listed() {
		return
	}
	key := terminalAsKey(t.Identity)
	if other, taken := v.index[key]; taken {
		v.report(key, "an identity acts for one terminal", "%+v and %s", other, t.ID)
	}
	v.index[key] = TerminalIdentity{t.ID}
}

// checkKeyed compares a keyed call with its challenge and its intent.
func (v *verifier) checkKeyed(key string, k KeyedCall) {
	if k.Challenge != "" {
		c, ok := v.challenges[k.Challenge]
		if !ok || !bytes.Equal(c.Fingerprint, k.Fingerprint) {
			v.report(key, "a keyed call has a challenge of its own call", "%s: there %t", k.Challenge, ok)
		}
	}
	if k.Intent != "" {
		if _, ok := v.intents[k.Intent]; !ok {
			v.report(key, "an allowed call has the intent that it opened", "no %s", k.Intent)
		}
	}
}

// checkStoredCodeUse misses no code that was used and never given.
func (v *verifier) checkStoredCodeUse(key string, u Use) {
	rest, is := strings.CutPrefix(u.Thing, storedCodeThings)
	if !is {
		return
	}
	account, slot, _ := strings.Cut(rest, "/")
	if n, err := strconv.Atoi(slot); err != nil || n < 0 || n >= MaxStoredCodes || u.Step > v.codes[account].LastSeq {
		v.report(key, "a stored code was given before it was used", "number %d in slot %s, the last one given is %d", u.Step, slot, v.codes[account].LastSeq)
	}
}

// checkAsked compares the nouns about people who are asked with each other.
func (v *verifier) checkAsked() {
	v.checkTerminals()
	v.checkChallenges()
	v.checkInitiators()
	v.checkIntents()
}

func (v *verifier) checkTerminals() {
	const invariant = "the terminals of an account are those that are not unbound, as they were bound"
	for _, t := range v.terminals {
		if listed := slices.Contains(v.listed[t.Account].Terminals, t.ID); listed != t.listed() {
			v.report(accountTerminalsPrefix+t.Account, invariant, "%s is %s, and listed: %t", t.ID, t.State, listed)
		}
	}
	for account, list := range v.listed {
		after := int64(0)
		for _, id := range list.Terminals {
			t, ok := v.terminals[id]
			if !ok || t.Account != account || t.BoundAtNanos < after {
				v.report(accountTerminalsPrefix+account, invariant, "%s, of %q, bound at %d after %d", id, t.Account, t.BoundAtNanos, after)
			}
			after = t.BoundAtNanos
		}
	}
}

// checkChallenges compares challenges with their terminals, their intents and their
// initiators.
func (v *verifier) checkChallenges() {
	for id, c := range v.challenges {
		key := challengePrefix + id
		for _, asked := range c.Terminals {
			if _, ok := v.terminals[asked.Terminal]; !ok {
				v.report(key, "a challenge asks terminals that there are", "no %s", asked.Terminal)
			}
		}
		if _, ok := v.intents[c.Intent]; c.Intent != "" && !ok {
			v.report(key, "a challenge is about an intent that there is", "no %s", c.Intent)
		}
		if c.Live() && !v.initiators[initiatorKey(c.Account, c.Initiator)].knows(c) {
			v.report(key, openIsListed, "it is %s, and not listed", c.State)
		}
	}
}

const openIsListed = "what an initiator has open is open, and listed"

// knows tells whether the initiator lists a challenge, or has forgotten it: it has
// expired, or as many as are remembered came after it.
func (i writtenInitiator) knows(c Challenge) bool {
	since := 0
	for _, at := range i.StartsNanos {
		if at >= c.IssuedAtNanos {
			since++
		}
	}
	listed := slices.ContainsFunc(i.Open, func(o OpenChallenge) bool { return o.Challenge == c.ID })
	return listed || i.writtenNanos > c.ExpiresAtNanos || since > MaxOpenChallenges
}

func (v *verifier) checkInitiators() {
	for key, i := range v.initiators {
		for _, o := range i.Open {
			c, ok := v.challenges[o.Challenge]
			if !ok || !c.Live() || c.Account != i.Account || c.Initiator != i.Identity ||
				c.ExpiresAtNanos != o.ExpiresAtNanos || !bytes.Equal(c.Fingerprint, o.Fingerprint) {
				v.report(key, openIsListed, "%s: there %t, %s", o.Challenge, ok, c.State)
			}
		}
	}
}

func (v *verifier) checkIntents() {
	const invariant = "the open intents of an account are not closed, and listed"
	for id, i := range v.intents {
		list := v.openLists[i.account]
		if !i.closed && !slices.Contains(list.Intents, id) && list.writtenNanos <= i.expiresAtNanos {
			v.report(openIntentsPrefix+i.account, invariant, "%s is not closed, and not listed", id)
		}
	}
	for account, list := range v.openLists {
		for n, id := range list.Intents {
			i, ok := v.intents[id]
			if !ok || i.closed || i.account != account || i.expiresAtNanos != list.ExpireAtNanos[n] {
				v.report(openIntentsPrefix+account, invariant, "%s, of %q, closed: %t", id, i.account, i.closed)
			}
		}
	}
}
