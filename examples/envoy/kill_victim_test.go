package envoy

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/countersign/countersign/authzstore"
)

// The attempts of the built-in rules: of a challenge, and of a sender for the stored codes
// of one account.
const (
	attemptsOfChallenge  = 3
	attemptsAtStoredCode = 5
)

// A victimKind says whose codes are guessed.
type victimKind int

const (
	// An owner pays, and enters two codes: one is right, the other guessed.
	victimOwner victimKind = iota
	// A desk orders, and the phone enters one code: two guess at the same time.
	victimPhone
	// A desk orders with a code that was agreed on: two guess at the same time.
	victimStored
	victimKinds
)

var victimTerminals = []string{"phone", "tablet"}

// A victim is an account whose codes are guessed until they are locked; or, if it is
// spared, until one attempt is left.
type victim struct {
	number int
	kind   victimKind
	spared bool
	fresh  bool // guesses that were not answered are made again under new keys

	stored string   // the code that was agreed on
	asked  []*siege // challenges
	key    string   // of the call that the last of them is for
	kills  int64    // before the last guess was answered
}

// A siege is a challenge whose codes are guessed.
type siege struct {
	id      string
	codes   []string
	allowed int // sets that may fail
	failed  int // sets that were answered
}

func newVictims(count int) (all []*victim) {
	for i := range count {
		spared := i%7 == 5
		all = append(all, &victim{number: i, kind: victimKind(i) % victimKinds, spared: spared, fresh: i%2 == 1 && !spared})
	}
	return all
}

func (v *victim) account() string             { return fmt.Sprintf("acc_siege%d", v.number) }
func (v *victim) owner() string               { return fmt.Sprintf("siege%d-owner", v.number) }
func (v *victim) terminal(name string) string { return fmt.Sprintf("siege%d-%s", v.number, name) }
func (v *victim) desk() string                { return fmt.Sprintf("siege%d-desk", v.number) }

// ask makes the call that codes confirm.
func (v *victim) ask(c *caller, status int, reason, key string) (response, error) {
	call := siegeCall{subject: v.owner(), path: "/v1/accounts/" + v.account() + "/verified-payments", key: key, status: status, reason: reason}
	body := map[string]any{"payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR"}
	if v.kind != victimOwner {
		call.subject, call.path = v.desk(), "/v1/agent/orders"
		body["account"], body["terminal"] = v.account(), "trm_"+v.terminal("phone")
	}
	call.body = body
	return c.call(call)
}

// enter enters a set of codes.
func (v *victim) enter(c *caller, s *siege, codes []string) error {
	call := siegeCall{subject: v.terminal("phone"), path: terminalEntries + s.id + "/entries", fresh: v.fresh, status: http.StatusAccepted}
	if v.kind == victimOwner {
		call.subject, call.path = v.owner(), userEntries+s.id+"/entries"
	}
	for _, code := range codes {
		call.body = map[string]any{"code": code}
		if _, err := c.call(call); err != nil {
			return err
		}
	}
	return nil
}

// orderStored has a desk order with a code that was agreed on.
func (v *victim) orderStored(c *caller, status int, reason, desk, code string) error {
	body := map[string]any{"account": v.account(), "payee": "mer_bakery", "amount_minor": 1250, "currency": "EUR", "stored_code": code}
	_, err := c.call(siegeCall{subject: desk, path: "/v1/agent/orders", body: body, fresh: v.fresh, status: status, reason: reason})
	return err
}

// besiege guesses the codes of a victim, and hears what became of it.
func (v *victim) besiege(c *caller) error {
	if v.kind == victimStored {
		return v.guessStored(c)
	}
	if v.spared {
		return v.guessChallenge(c, attemptsOfChallenge, http.StatusUnauthorized, "verification_required")
	}
	if err := v.guessChallenge(c, attemptsOfChallenge, http.StatusForbidden, "challenge_locked"); err != nil {
		return err
	}
	// What the first one left of the account's failures in a row.
	return v.guessChallenge(c, authzstore.MaxFailedInARow-attemptsOfChallenge, http.StatusForbidden, v.lockedOut())
}

// lockedOut is what who asks hears once the account's codes are locked: an agent is not
// told of it.
func (v *victim) lockedOut() string {
	if v.kind == victimOwner {
		return "verification_locked"
	}
	return "account_unknown"
}

func (v *victim) guessChallenge(c *caller, allowed, status int, reason string) error {
	v.key = c.newKey()
	resp, err := v.ask(c, http.StatusUnauthorized, "verification_required", v.key)
	if err != nil {
		return err
	}
	s := &siege{id: challengeOf(resp), allowed: allowed, failed: allowed}
	v.asked = append(v.asked, s)
	for _, name := range v.askedTerminals() {
		code, err := c.receiver.code(c.ctx, "trm_"+v.terminal(name), s.id)
		if err != nil {
			return err
		}
		s.codes = append(s.codes, code)
	}
	switch {
	case v.spared:
		s.failed-- // one is left
	case v.kind == victimPhone:
		s.failed++ // one is too many
	}
	wrong := lastWrong(s.codes)
	if err := v.guess(c, s.failed, func(c *caller) error { return v.enter(c, s, wrong) }); err != nil {
		return err
	}
	_, err = v.ask(c, status, reason, v.key)
	return err
}

func (v *victim) askedTerminals() []string {
	if v.kind == victimOwner {
		return victimTerminals
	}
	return victimTerminals[:1]
}

// lastWrong is a set whose last code is none of it.
func lastWrong(codes []string) []string {
	last := len(codes) - 1
	wrong := wrongDigit(codes[last])
	for slices.Contains(codes, wrong) {
		wrong = wrongDigit(wrong)
	}
	return append(slices.Clone(codes[:last]), wrong)
}

// guessStored agrees on a code, and has a desk guess it as often as it may; if it is
// spared, once less.
func (v *victim) guessStored(c *caller) error {
	phone := v.terminal("phone")
	_, err := c.call(siegeCall{subject: phone, path: "/countersign/v1/stored_codes", body: map[string]any{}, status: http.StatusCreated})
	if err != nil {
		return err
	}
	if v.stored, err = c.receiver.code(c.ctx, "trm_"+phone, ""); err != nil {
		return err
	}
	guesses := attemptsAtStoredCode
	if v.spared {
		guesses--
	}
	return v.guess(c, guesses, func(c *caller) error {
		return v.orderStored(c, http.StatusForbidden, "stored_code_invalid", v.desk(), wrongDigit(v.stored))
	})
}

// guess makes so many guesses, two at the same time unless a guess is of two codes: those
// of two guessers would mix.
func (v *victim) guess(c *caller, guesses int, once func(*caller) error) error {
	guessers := 2
	if v.kind == victimOwner {
		guessers = 1
	}
	var left atomic.Int64
	left.Store(int64(guesses))
	err := atOnceAll(guessers, func(int) error {
		own := c.newCaller(c.ctx, c.keys)
		for left.Add(-1) >= 0 {
			if err := once(own); err != nil {
				return err
			}
			if err := c.guessed(); err != nil {
				return err
			}
		}
		return nil
	})
	v.kills = c.kills.Load()
	return err
}

// holds tries the right codes, after a kill: what was locked before stays locked, and who
// had an attempt left has it.
func (v *victim) holds(c *caller) error {
	if v.kind == victimStored {
		if !v.spared {
			if err := v.orderStored(c, http.StatusForbidden, "stored_code_invalid", v.desk(), v.stored); err != nil {
				return err
			}
			return v.orderStored(c, http.StatusOK, "", v.desk()+"-other", v.stored) // who has attempts of its own
		}
		return v.orderStored(c, http.StatusOK, "", v.desk(), v.stored)
	}
	for _, s := range v.asked {
		if err := v.enter(c, s, s.codes); err != nil {
			return err
		}
	}
	var err error
	if v.spared {
		_, err = v.ask(c, http.StatusOK, "", v.key)
	} else {
		_, err = v.ask(c, http.StatusForbidden, v.lockedOut(), c.newKey())
	}
	return err
}

// told are the kinds of the messages that each terminal gets, in order.
func (v *victim) told() map[string][]string {
	phone, tablet := []string{"code"}, []string{}
	switch {
	case v.kind == victimOwner && v.spared:
		tablet = phone
	case v.kind == victimOwner:
		phone = []string{"code", "challenge_locked", "code", "verification_at_risk", "challenge_locked", "verification_locked"}
		tablet = phone
	case v.kind == victimPhone && v.spared:
		phone = []string{"code", "deduction_request"}
	case v.kind == victimPhone:
		phone = []string{"code", "challenge_locked", "authorisation_failed", "code", "verification_at_risk", "challenge_locked", "verification_locked"}
		tablet = []string{"verification_at_risk", "verification_locked"} // of the account, not of the challenge
	case v.kind == victimStored: // no more of what fails than the sender has attempts
		failed := attemptsAtStoredCode
		if v.spared {
			failed--
		}
		phone = slices.Concat([]string{"stored_code"}, slices.Repeat([]string{"authorisation_failed"}, failed), []string{"deduction_request"})
	}
	return map[string][]string{"phone": phone, "tablet": tablet}
}
