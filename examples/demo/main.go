// Command demo plays payment calls over HTTP through a real Envoy, a real
// sidecar and a small payment service, and says of each whether it went as it
// should. It exits with 0 only if all did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	keep := flag.Bool("keep", false, "leave everything running, and print curl lines")
	binary := flag.String("countersign", "build/countersign", "the sidecar's binary")
	dir := flag.String("dir", "build/demo", "where decisions, logs and the store go; emptied first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *dir, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// stories are what is played, in order.
var stories = []struct {
	title string
	steps []step
}{
	{"Direct payment: owners pay from their own accounts.", calls},
	{"Delegated payment: Anna's children pay from her account, with codes that their devices make offline.", delegated},
}

func run(ctx context.Context, binary, dir string, keep bool) (err error) {
	w, err := newWorld(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()

	number, asExpected := 0, 0
	for _, story := range stories {
		fmt.Printf("%s\n\n", story.title)
		for _, s := range story.steps {
			number++
			ok, err := w.play(ctx, number, s)
			if err != nil {
				return fmt.Errorf("call %d: %w", number, err)
			}
			if ok {
				asExpected++
			}
		}
		fmt.Println()
	}
	if err := w.exportDecisions(ctx); err != nil {
		return err
	}
	fmt.Printf("What the rules were asked, and by which calls, is in %s/NN; what the sidecar said is in %s/countersign.log.\n", dir, dir)
	fmt.Printf("demo: %d calls, %d as expected\n", number, asExpected)
	if asExpected != number {
		return errors.New("not every call went as expected")
	}
	if keep {
		return w.keep(ctx)
	}
	return nil
}
