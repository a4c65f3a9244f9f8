package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// byHand is how to go on by hand: a file of shell lines for each system, which may be
// pasted again. In them DIR is where the demo keeps its files, COUNTERSIGN the binary and
// ENVOY where to call.
//
//go:embed byhand/*.sh
var byHand embed.FS

// byHandFiles are in the order in which they are printed.
var byHandFiles = []string{
	"direct_payment", "agent_order", "proxied_business", "delegated_payment", "multi_terminal", "second_terminal", "rules",
}

// byHandCallers are those who call in the lines.
var byHandCallers = []string{
	"anna", "lena", "bakery", "desk", "kiosk", "anna-phone", "anna-tablet", "tom-phone", "ida-old-pc", "ida-laptop", "ida-phone",
}

// keep prints how to call by hand and waits until it is told to end.
func (w *world) keep(ctx context.Context) error {
	w.kept = true
	if _, err := w.countersign(ctx, "account", "unfreeze", "acc_anna"); err != nil {
		return err
	}
	if err := w.writeByHand(); err != nil {
		return err
	}
	pages, err := w.startPages()
	if err != nil {
		return err
	}
	fmt.Printf(`
Still running, until Ctrl-C. The operator has lifted Anna's account again. To go on by hand, either open

  %s    # phones, computers, desks and tills, each in a window

or another terminal in this directory, and paste this, and then lines of the files below:

  . %s    # how to call, with tokens for an hour

`, pages, w.byHand("callers.sh"))
	for _, name := range byHandFiles {
		text, err := w.byHandText(name)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n\n  %s\n", w.byHand(name+".sh"), strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "))
		fmt.Println()
	}
	fmt.Printf("What is decided: %s decision tail --data %s/data\n", w.binary, w.dir)
	fmt.Printf("Envoy's counters: %s/stats. The sidecar is process %d: kill it, and calls are answered 503; make demo KEEP=1 begins anew.\n",
		w.envoy.AdminURL(), w.sidecar.Process.Pid)
	<-ctx.Done()
	fmt.Println("\nStopped.")
	return nil
}

func (w *world) byHand(name string) string { return filepath.Join(w.dir, "by-hand", name) }

// byHandText is a file of lines, for this demo.
func (w *world) byHandText(name string) (string, error) {
	text, err := byHand.ReadFile("byhand/" + name + ".sh")
	return strings.NewReplacer("DIR", w.dir, "COUNTERSIGN", w.binary, "ENVOY", w.envoy.URL()).Replace(string(text)), err
}

// writeByHand writes the files, and what their lines need: the callers' tokens, and the
// body of an offer.
func (w *world) writeByHand() error {
	if err := os.MkdirAll(w.byHand("tokens"), 0o700); err != nil {
		return err
	}
	files := map[string]string{"offer.json": offerTo("lena", terms(2000, aDay, noCooling, "partial")) + "\n"}
	for _, name := range append([]string{"callers"}, byHandFiles...) {
		text, err := w.byHandText(name)
		if err != nil {
			return err
		}
		files[name+".sh"] = text
	}
	for _, caller := range byHandCallers {
		token, err := w.issuer.Token(caller, tokenLife, nil)
		if err != nil {
			return err
		}
		files[filepath.Join("tokens", caller)] = token
	}
	var errs []error
	for name, text := range files {
		errs = append(errs, os.WriteFile(w.byHand(name), []byte(text), 0o600))
	}
	return errors.Join(errs...)
}
