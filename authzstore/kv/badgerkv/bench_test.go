package badgerkv

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/countersign/countersign/authzstore/kv"
)

// The benchmarks compare durable decisions (four reads, 100 µs of evaluation,
// two records and a 1 KB entry written) with the plain way, one synchronous
// Badger transaction per decision, on the same disk and in the same run. Each
// row runs both, one after the other; the ratio is what to look at.
const (
	benchTime   = time.Second
	benchGrants = 100_000
	benchEval   = 100 * time.Microsecond
	slowSync    = 5 * time.Millisecond
)

// decider makes one decision durable.
type decider func(ctx context.Context, grant int, id string) error

func BenchmarkUpdates(b *testing.B) {
	calibrate(benchEval)
	for _, disk := range []struct {
		name  string
		delay time.Duration
	}{{"real", 0}, {"+5ms", slowSync}} {
		for _, load := range []string{"cold", "hot", "zipf"} {
			for _, callers := range []int{1, 16, 64, 256} {
				b.Run(fmt.Sprintf("disk=%s/%s/callers=%d", disk.name, load, callers), func(b *testing.B) {
					benchRow(b, disk.delay, load, callers)
				})
			}
		}
	}
}

func benchRow(b *testing.B, delay time.Duration, load string, callers int) {
	for range b.N {
		b.Setenv("BADGERKV_MSYNC_DELAY", delay.String())
		ours := measure(b, load, callers, openOurs(b, delay))
		plain := measure(b, load, callers, openPlain(b, delay))
		b.ReportMetric(ours.rate, "ops/s")
		b.ReportMetric(ours.p50, "p50-ms")
		b.ReportMetric(ours.p99, "p99-ms")
		b.ReportMetric(plain.rate, "badger-ops/s")
		b.ReportMetric(plain.p50, "badger-p50-ms")
		b.ReportMetric(plain.p99, "badger-p99-ms")
		b.ReportMetric(ours.rate/plain.rate, "x-badger")
		b.ReportMetric(0, "ns/op")
	}
}

type measured struct{ rate, p50, p99 float64 }

func measure(b *testing.B, load string, callers int, decide decider) measured {
	b.Helper()
	var wg sync.WaitGroup
	took := make([][]time.Duration, callers)
	ctx, cancel := context.WithTimeout(context.Background(), benchTime)
	defer cancel()
	start := time.Now()
	for c := range callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 7))
			zipf := rand.NewZipf(rng, 1.1, 1, 999)
			for i := 0; ctx.Err() == nil; i++ {
				grant := 0
				switch load {
				case "cold":
					grant = rng.IntN(benchGrants)
				case "zipf":
					grant = int(zipf.Uint64())
				}
				begin := time.Now()
				if err := decide(context.Background(), grant, fmt.Sprintf("%d-%d", c, i)); err != nil {
					b.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(begin))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(took...)
	slices.Sort(all)
	if len(all) == 0 {
		b.Fatal("nothing was decided")
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return measured{float64(len(all)) / elapsed.Seconds(), ms(all[len(all)/2]), ms(all[len(all)*99/100])}
}

func openOurs(b *testing.B, delay time.Duration) decider {
	fs := &faultFS{}
	if delay > 0 {
		fs.failWrites(func(string, []byte, int64) (int, error) { time.Sleep(delay); return 0, nil })
	}
	s, err := Open(context.Background(), Options{Dir: b.TempDir(), fs: fs, BallastBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return decideIn(s)
}

func decideIn(s *Store) decider {
	return func(ctx context.Context, grant int, id string) error {
		g := strconv.Itoa(grant)
		refs := []kv.Ref{{Key: "grant/" + g}, {Key: "account/" + g}, {Key: "used/" + g, Mode: kv.Exclusive}, {Key: "challenge/" + id, Mode: kv.Exclusive}}
		return s.Update(ctx, refs, func(tx kv.Tx) error {
			for _, r := range refs[:2] {
				if _, _, err := tx.Get(r.Key); err != nil {
					return err
				}
			}
			used, _, err := tx.Get(refs[2].Key)
			_, _, err2 := tx.Get(refs[3].Key)
			evaluate()
			return errors.Join(err, err2, tx.Put(refs[2].Key, next(used)), tx.Put(refs[3].Key, []byte{1}), tx.Append("decisions", id, randomRecord()))
		})
	}
}

func openPlain(b *testing.B, delay time.Duration) decider {
	o := Options{Dir: b.TempDir()}.withDefaults()
	db, err := badger.Open(badgerOptions(o.Dir, o.Logger).WithSyncWrites(true).WithDetectConflicts(true))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	decide := func(_ context.Context, grant int, id string) error {
		g := strconv.Itoa(grant)
		for {
			err := db.Update(func(txn *badger.Txn) error { return plainDecision(txn, g, id) })
			if !errors.Is(err, badger.ErrConflict) {
				return err
			}
		}
	}
	if delay > 0 {
		start := time.Now()
		if err := decide(context.Background(), 0, "probe"); err != nil {
			b.Fatal(err)
		}
		if time.Since(start) < delay {
			b.Fatal("these rows need a build that slows Badger's syncs down: see bench/slowsync.go")
		}
	}
	return decide
}

func plainDecision(txn *badger.Txn, g, id string) error {
	var used []byte
	for _, k := range []string{"grant/" + g, "account/" + g, "challenge/" + id, "used/" + g} {
		item, err := txn.Get([]byte(k))
		if errors.Is(err, badger.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if used, err = item.ValueCopy(nil); err != nil {
			return err
		}
	}
	evaluate()
	return errors.Join(txn.Set([]byte("used/"+g), next(used)), txn.Set([]byte("challenge/"+id), []byte{1}), txn.Set([]byte("decision/"+id), randomRecord()))
}

func next(used []byte) []byte {
	n := uint64(0)
	if len(used) == 8 {
		n = binary.BigEndian.Uint64(used)
	}
	return binary.BigEndian.AppendUint64(nil, n+1)
}

func randomRecord() []byte {
	rec := make([]byte, 0, 1024)
	for len(rec) < 1024 {
		rec = binary.BigEndian.AppendUint64(rec, rand.Uint64())
	}
	return rec
}

// evaluate stands in for the policy.
var evaluateRounds int

func evaluate() {
	sum := [32]byte{}
	for range evaluateRounds {
		sum = sha256.Sum256(sum[:])
	}
	runtime.KeepAlive(sum)
}

func calibrate(d time.Duration) {
	best := time.Hour
	for range 20 {
		evaluateRounds = 1000
		start := time.Now()
		evaluate()
		best = min(best, time.Since(start))
	}
	evaluateRounds = int(1000 * d / best)
}

// BenchmarkMillionKeys opens a store of a million records in a process of its
// own, after a clean close and after a crash.
func BenchmarkMillionKeys(b *testing.B) {
	const keys = 1_000_000
	dir := b.TempDir()
	s, err := Open(context.Background(), Options{Dir: dir, BallastBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	if err := fillKeys(s, keys); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	clean := crashCopy(b, dir)
	cmd, out := child(b, "refill", dir) // writes what is not in tables when it is killed
	if line, _ := out.ReadString('\n'); line != "READY\n" {
		b.Fatalf("child says %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for range b.N {
		for name, d := range map[string]string{"clean": clean, "crash": dir} {
			cmd, out := child(b, "million", d)
			line, _ := out.ReadString('\n')
			cmd.Wait()
			f := strings.Fields(line)
			if len(f) != 6 {
				b.Fatalf("child says %q", line)
			}
			for i, unit := range []string{"open-ms", "replayed-MB", "open-rss-MB", "open-anon-MB", "gets-rss-MB", "gets-anon-MB"} {
				v, err := strconv.ParseFloat(f[i], 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(v, name+"-"+unit)
			}
		}
		b.ReportMetric(0, "ns/op")
	}
}

// fillKeys writes keys of a million, a thousand an Update.
func fillKeys(s *Store, keys int) error {
	const perUpdate = 1000
	for i := 0; i < keys; i += perUpdate {
		var names []string
		for j := range perUpdate {
			names = append(names, fmt.Sprintf("key/%08d", i+j))
		}
		err := kv.ErrOverloaded
		for ; errors.Is(err, kv.ErrOverloaded); time.Sleep(time.Millisecond) {
			err = s.Update(context.Background(), excl(names...), func(tx kv.Tx) error {
				for _, k := range names {
					if err := tx.Put(k, randomRecord()[:120]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func childRefill(o Options) {
	s, err := Open(context.Background(), Options{Dir: o.Dir, BallastBytes: -1})
	if err == nil {
		err = fillKeys(s, 60_000)
	}
	if err != nil {
		fmt.Println("ERR", err)
		os.Exit(1)
	}
	fmt.Println("READY")
	select {}
}

// BenchmarkReopen kills a process under full load, with settings as they are, and
// opens the store again in a new one, several times over.
func BenchmarkReopen(b *testing.B) {
	const kills = 5
	dir := b.TempDir()
	for range b.N {
		worst, replayed := 0.0, 0.0
		for i := range kills {
			cmd, out := child(b, "busy", dir)
			if line, _ := out.ReadString('\n'); line != "READY\n" {
				b.Fatalf("child says %q", line)
			}
			time.Sleep(time.Second + time.Duration(i)*300*time.Millisecond)
			cmd.Process.Kill()
			cmd.Wait()
			cmd, out = child(b, "reopen", dir)
			line, _ := out.ReadString('\n')
			cmd.Wait()
			var ms, mb float64
			if _, err := fmt.Sscan(line, &ms, &mb); err != nil {
				b.Fatalf("child says %q", line)
			}
			if ms > worst {
				worst, replayed = ms, mb
			}
		}
		b.ReportMetric(kills, "kills")
		b.ReportMetric(worst, "worst-ms")
		b.ReportMetric(replayed, "replayed-MB")
		b.ReportMetric(0, "ns/op")
	}
}

func childBusy(o Options) {
	s, err := Open(context.Background(), Options{Dir: o.Dir, BallastBytes: -1})
	if err != nil {
		fmt.Println("ERR", err)
		os.Exit(1)
	}
	fmt.Println("READY")
	decide := decideIn(s)
	for c := range 64 {
		go func() {
			for i := 0; ; i++ {
				decide(context.Background(), rand.IntN(benchGrants), fmt.Sprintf("%d-%d-%d", os.Getpid(), c, i))
			}
		}()
	}
	select {}
}

// openTimed prints the milliseconds that opening takes and the megabytes that it
// replayed.
func openTimed(o Options) *Store {
	start := time.Now()
	s, err := Open(context.Background(), Options{Dir: o.Dir, BallastBytes: -1})
	if err != nil {
		fmt.Println("ERR", err)
		os.Exit(1)
	}
	took := time.Since(start)
	if why := s.recovery.Rebuilt; why != "" {
		fmt.Println("ERR rebuilt:", why)
		os.Exit(1)
	}
	fmt.Print(float64(took.Microseconds())/1000, " ", float64(s.recovery.Bytes)/1e6, " ")
	return s
}

func childReopen(o Options) {
	openTimed(o)
	fmt.Println()
	os.Exit(0)
}

// childMillion prints what openTimed does, the memory then, and after 100 000 reads.
func childMillion(o Options) {
	s := openTimed(o)
	fmt.Print(memory())
	s.View(context.Background(), func(v kv.Snap) error {
		for range 100_000 {
			if _, ok, err := v.Get(fmt.Sprintf("key/%08d", rand.IntN(1_000_000))); !ok || err != nil {
				fmt.Println("ERR missing", err)
				os.Exit(1)
			}
		}
		return nil
	})
	fmt.Println(" ", memory())
	os.Exit(0)
}

// memory returns the process's resident and anonymous megabytes.
func memory() string {
	b, _ := os.ReadFile("/proc/self/status")
	var rss, anon string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch f[0] {
		case "VmRSS:":
			rss = f[1]
		case "RssAnon:":
			anon = f[1]
		}
	}
	mb := func(kb string) float64 { n, _ := strconv.ParseFloat(kb, 64); return n / 1024 }
	return fmt.Sprintf("%.1f %.1f", mb(rss), mb(anon))
}
