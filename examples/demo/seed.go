package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/examples/issuer"
)

// seeds is who there is, as an operator writes it: the commands after `countersign`.
var seeds = [][]string{
	account("acc_anna", "--owner", "anna"),
	account("acc_ben", "--owner", "ben"),
	{"account", "freeze", "acc_ben"},
	account("acc_cara", "--owner", "cara", "--limit", "total=amount:10000"),
	account("acc_greta", "--owner", "greta"),
	account("acc_tom", "--owner", "tom"),
	account("acc_vera", "--owner", "vera"),
	account("acc_ida", "--owner", "ida"),
	// Desks of shops, with accounts that they top up from.
	account("acc_desk", "--owner", "desk", "--owner-kind", "agent", "--limit", "total=amount:10000"),
	account("acc_kiosk", "--owner", "kiosk", "--owner-kind", "agent"),

	bindTerminal("anna-phone", "acc_anna", "--number", "+491701", "--right", "order", "--right", "approve"),
	bindTerminal("anna-tablet", "acc_anna", "--number", "+491702"),
	bindTerminal("greta-phone", "acc_greta", "--number", "+491711", "--right", "order"),
	bindTerminal("greta-watch", "acc_greta", "--number", "+491712"),
	bindTerminal("tom-phone", "acc_tom", "--number", "+491721"),
	bindTerminal("vera-phone", "acc_vera", "--number", "+491731"),
	bindTerminal("vera-tablet", "acc_vera", "--number", "+491732"),
	bindTerminal("ida-laptop", "acc_ida"),
	bindTerminal("ida-phone", "acc_ida", "--number", "+491741", "--paired-with", "trm_ida_laptop"),
	bindTerminal("ida-tablet", "acc_ida", "--number", "+491742", "--paired-with", "trm_ida_laptop"),
	bindTerminal("ida-old-pc", "acc_ida"), // paired with nothing

	merchant("mer_bakery", "--name", "Bakery", "--category", "5462", "--channel", "shop=bakery"),
	merchant("mer_bar", "--name", "Bar", "--category", "5813", "--channel", "shop=bar"),
}

func account(id string, more ...string) []string {
	return append([]string{"account", "put", id, "--owner-issuer", issuer.URL, "--currency", "EUR", "--max-payment-minor", "50000"}, more...)
}

// bindTerminal binds the device that calls as name.
func bindTerminal(name, account string, more ...string) []string {
	return append([]string{"terminal", "put", terminalID(name), "--account", account, "--identity", name, "--identity-issuer", issuer.URL, "--os", "android"}, more...)
}

func terminalID(name string) string { return "trm_" + strings.ReplaceAll(name, "-", "_") }

// merchant has one till, which calls for it.
func merchant(id string, more ...string) []string {
	return append([]string{"merchant", "put", id, "--country", "DE", "--identity-issuer", issuer.URL}, more...)
}

func (w *world) seed(ctx context.Context) error {
	for _, args := range seeds {
		if _, err := w.countersign(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// tunePolicies sets in the data what differs from the data as delivered: a terminal
// that is paired with none may be where a payment begins, and then needs a scan.
func (w *world) tunePolicies() error {
	file := filepath.Join(w.policies(), "systems", "second_terminal", "data.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	tuned := bytes.Replace(data, []byte("match: pairing"), []byte("match: account"), 1)
	if bytes.Equal(tuned, data) {
		return fmt.Errorf("%s does not say match: pairing", file)
	}
	return os.WriteFile(file, tuned, 0o600)
}
