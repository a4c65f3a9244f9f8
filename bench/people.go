package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar"
	"github.com/countersign/countersign/sidecar/evidence"
	"github.com/countersign/countersign/sidecar/policy"
	"github.com/countersign/countersign/sidecar/upstream"
)

// A party is an account, and everybody whom a story about it needs. Who they are
// follows from its name, so that the server and who calls it need not tell each other.
type party struct {
	name      string // of letters, digits and _
	currency  string
	terminals []device
	agent     bool // there is an agent, with an account of its own
	// A delegate pays from the account on these terms, at a merchant of its own. Nil for
	// none.
	terms *authzstore.Terms
}

// A device is a terminal of a party.
type device struct {
	name       string // phone, laptop
	rights     []string
	pairedWith string // the name of another one, "" for none
}

func (p party) account() string             { return "acc_" + p.name }
func (p party) owner() string               { return owner(p.account()).Subject }
func (p party) terminal(name string) string { return "trm_" + p.name + "_" + name }
func (p party) merchantID() string          { return "mer_" + p.name }
func (p party) agentAccount() string        { return "acc_" + p.name + "_agent" }

// subject is that of somebody of the party: the agent, the merchant, the delegate, or a
// terminal by its name.
func (p party) subject(name string) string { return name + "-of-" + p.name }

func (p party) accounts() []authzstore.Account {
	of := func(id string, owner authzstore.Identity) authzstore.Account {
		return authzstore.Account{
			ID: id, Owner: owner, State: authzstore.AccountActive, Currency: p.currency, MaxPaymentMinor: maxPaymentMinor,
			Limits: []authzstore.Limit{{Name: "total", MaxAmountMinor: authzstore.MaxAmountMinor}},
		}
	}
	all := []authzstore.Account{of(p.account(), owner(p.account()))}
	if p.agent {
		all = append(all, of(p.agentAccount(), identity("agent", p.subject("agent"))))
	}
	return all
}

func (p party) bound() []authzstore.Terminal {
	var all []authzstore.Terminal
	for i, d := range p.terminals {
		t := authzstore.Terminal{
			ID: p.terminal(d.name), Account: p.account(), Number: fmt.Sprintf("+49 151 %d", i), OS: "android",
			Rights: d.rights, Identity: identity("terminal", p.subject(d.name)), State: authzstore.TerminalBound,
		}
		if d.pairedWith != "" {
			t.PairedWith = []string{p.terminal(d.pairedWith)}
		}
		all = append(all, t)
	}
	return all
}

func (p party) merchant() authzstore.Merchant {
	return authzstore.Merchant{
		ID: p.merchantID(), Name: "Bakery", Category: "5462", Country: "DE", State: authzstore.MerchantActive,
		Channels: []authzstore.MerchantChannel{{Channel: "till", Identity: identity("merchant", p.subject("merchant"))}},
	}
}

func (p party) grant() authzstore.Grant {
	return authzstore.Grant{ID: "grt_" + p.name, Account: p.account(), Delegate: identity("user", p.subject("delegate")), Terms: *p.terms}
}

// peopled is the sidecar itself with all built-in systems, over a store in which there
// are parties, and with a message log.
type peopled struct {
	cast  func() []party
	rules func(dir string) error // changes the bundle; nil for none
	log   io.Writer              // of decisions; nil for none
}

func (s peopled) run(ctx context.Context, p place) (err error) {
	mail, err := net.Dial("unix", p.mailroom())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mail.Close()) }()
	codes, err := newPaymentCodes()
	if err != nil {
		return err
	}
	key, err := upstream.SharedKey([]byte(rand.Text() + rand.Text()))
	if err != nil {
		return err
	}
	if err := os.CopyFS(p.policies(), policies.FS); err != nil {
		return err
	}
	if s.rules != nil {
		if err := s.rules(p.policies()); err != nil {
			return err
		}
	}
	data := filepath.Join(p.dir, "store")
	if err := seed(ctx, data); err != nil {
		return err
	}
	devices, err := seedParties(ctx, data, s.cast(), codes)
	if err != nil {
		return err
	}
	if err := sendDevices(mail, devices); err != nil {
		return err
	}
	return sidecar.Run(ctx, sidecar.Config{
		Listen:   "unix:" + p.socket,
		DataDir:  data,
		Policies: os.DirFS(p.policies()),
		// The built-in kind, under a key that is known before the sidecar has one.
		Evidence:    map[string]evidence.Kind{evidence.PaymentCode: codes},
		TokenKeys:   map[string]upstream.Key{"payments.example": key},
		MessageLog:  mail,
		DecisionLog: s.log,
		Policy:      policy.Config{Budget: time.Second}, // the machine may be busy
		Log:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
}

// codePeriod is how long a payment code is shown: as short as can be, because a grant
// pays once with each.
const codePeriod = 10 * time.Second

func newPaymentCodes() (*evidence.PaymentCodes, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	sealer, err := evidence.NewSealer(key)
	if err != nil {
		return nil, err
	}
	return evidence.NewPaymentCodes(evidence.Config{Sealer: sealer, PeriodSeconds: int64(codePeriod / time.Second)})
}

// partiesAtOnce are written in one transaction.
const partiesAtOnce = 64

// seedParties writes parties to a store, and returns the parameters of their delegates'
// devices, in the order of the parties that have some.
func seedParties(ctx context.Context, dir string, all []party, codes *evidence.PaymentCodes) (devices []evidence.Parameters, err error) {
	store, err := sidecar.OpenStore(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for len(all) > 0 {
		n := min(len(all), partiesAtOnce)
		some, err := seedSome(ctx, store, all[:n], codes)
		if err != nil {
			return nil, err
		}
		devices, all = append(devices, some...), all[n:]
	}
	return devices, nil
}

func seedSome(ctx context.Context, store *authzstore.Store, some []party, codes *evidence.PaymentCodes) (devices []evidence.Parameters, err error) {
	var refs []kv.Ref
	credentials := make([]authzstore.Credential, len(some)) // of those with a grant
	for i, p := range some {
		for _, a := range p.accounts() {
			refs = append(refs, authzstore.AccountRef(a.ID, kv.Exclusive))
		}
		refs = append(refs, authzstore.TerminalRefs(p.bound()...)...)
		if p.terms == nil {
			continue
		}
		if credentials[i], err = codes.NewCredential(); err != nil {
			return nil, err
		}
		parameters, err := codes.Parameters(credentials[i])
		if err != nil {
			return nil, err
		}
		devices = append(devices, parameters)
		refs = append(append(refs, authzstore.MerchantRefs(p.merchant())...), authzstore.OfferRefs(p.grant())...)
		refs = append(refs, authzstore.CredentialRef(credentials[i].Handle, kv.Exclusive))
	}
	cause := authzstore.Cause{ID: authzstore.NewID("chg"), Actor: identity("operator", "bench"), NowNanos: time.Now().UnixNano()}
	return devices, store.Update(ctx, cause, refs, func(tx *authzstore.Tx) error {
		for i, p := range some {
			if err := p.put(tx, credentials[i]); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		return nil
	})
}

func (p party) put(tx *authzstore.Tx, c authzstore.Credential) error {
	for _, a := range p.accounts() {
		if err := tx.PutAccount(a); err != nil {
			return err
		}
	}
	for _, t := range p.bound() {
		if err := tx.PutTerminal(t); err != nil {
			return err
		}
	}
	if p.terms == nil {
		return nil
	}
	return errors.Join(tx.PutMerchant(p.merchant()), tx.OfferGrant(p.grant()), tx.AcceptGrant(p.grant().ID, c),
		tx.MarkParametersFetched(c.Handle, authzstore.NewID("dec")))
}
