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
	"strings"
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

// A story is what is played of one system.
type story struct {
	system string
	says   string
	steps  []step
}

// stories are played in this order.
var stories = []story{
	{"direct payment", "owners pay from their own accounts.", direct},
	{"agent order", "a desk orders for Greta; her own phone confirms the order, and pays it.", agentOrder},
	{"proxied business", "Tom, who has no bank card, tops up and withdraws at the desk of a shop.", proxiedBusiness},
	{"delegated payment", "Anna's children pay from her account, with codes that their devices make offline.", delegated},
	{"multi-terminal verification", "what Vera pays is confirmed by her phone and by her tablet.", multiTerminal},
	{"second-terminal payment", "Ida chooses on her laptop, and pays on her phone.", secondTerminal},
}

// A tally is what became of the calls of a story.
type tally struct{ calls, refused, asExpected int }

func run(ctx context.Context, binary, dir string, keep bool) (err error) {
	w, err := newWorld(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()

	var tallies []tally
	var all tally
	for _, s := range stories {
		fmt.Printf("%s: %s\n\n", strings.ToUpper(s.system[:1])+s.system[1:], s.says)
		t, err := w.tell(ctx, all.calls, s.steps)
		if err != nil {
			return err
		}
		fmt.Println()
		tallies = append(tallies, t)
		all = tally{all.calls + t.calls, all.refused + t.refused, all.asExpected + t.asExpected}
	}
	if err := w.exportDecisions(ctx); err != nil {
		return err
	}
	fmt.Printf("What the rules were asked, and by which calls, is in %s/NNN; what the sidecar said is in %s/countersign.log.\n\n", dir, dir)
	const row = "%-28s %6v %9v %9v %13v\n"
	fmt.Printf(row, "system", "calls", "allowed", "refused", "as expected")
	for i, t := range append(tallies, all) {
		system := "all"
		if i < len(stories) {
			system = stories[i].system
		}
		fmt.Printf(row, system, t.calls, t.calls-t.refused, t.refused, t.asExpected)
	}
	fmt.Printf("\ndemo: %d calls, %d as expected\n", all.calls, all.asExpected)
	if all.asExpected != all.calls {
		return errors.New("not every call went as expected")
	}
	if keep {
		return w.keep(ctx)
	}
	return nil
}

// tell plays the steps of a story, which are numbered after those before it.
func (w *world) tell(ctx context.Context, before int, steps []step) (t tally, err error) {
	for _, s := range steps {
		t.calls++
		got, ok, err := w.play(ctx, before+t.calls, s)
		if err != nil {
			return t, fmt.Errorf("call %d: %w", before+t.calls, err)
		}
		if got.refused() {
			t.refused++
		}
		if ok {
			t.asExpected++
		}
	}
	return t, nil
}
