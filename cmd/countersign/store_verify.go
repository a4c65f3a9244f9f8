package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
)

func storeVerifyCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check files, chain and invariants of a store",
		Long: `Check a store that no sidecar serves: the journal's checksums and hash chain, the
files of the state, every stored noun, and the invariants between them. It says
what is broken, where, and what to do.

Opening a store mends what a crash leaves behind: a write that was cut short and
acknowledged to nobody, and a damaged state, which is made again from the
journal. Both are reported.

Exit status: 0 if everything holds, 1 if not.`,
		Example: `  countersign store verify --data /var/lib/countersign
  countersign store verify -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := verifyStore(cmd, flags)
			if err := report.write(cmd.OutOrStdout(), flags.output); err != nil {
				return err
			}
			switch {
			case report.OK:
				return nil
			case report.Error != "":
				return errors.New("the store could not be checked")
			default:
				return errors.New("the store is damaged")
			}
		},
	}
	flags.register(cmd)
	return cmd
}

// verifyReport is what store verify found.
type verifyReport struct {
	OK       bool                 `json:"ok"`
	DataDir  string               `json:"data"`
	LastSeq  uint64               `json:"last_seq"`
	Damage   *damage              `json:"damage,omitempty"`
	Problems []authzstore.Problem `json:"problems,omitempty"`
	Error    string               `json:"error,omitempty"`
}

// damage is a kv.DamageError as JSON.
type damage struct {
	File    string `json:"file"`
	Offset  int64  `json:"offset"`
	LastSeq uint64 `json:"last_good_seq"`
	What    string `json:"what"`
	Do      string `json:"do"`
}

func verifyStore(cmd *cobra.Command, flags storeFlags) verifyReport {
	report := verifyReport{DataDir: flags.dataDir}
	err := func() (err error) {
		if err := exists(flags.dataDir); err != nil {
			return err
		}
		store, err := sidecar.OpenStore(cmd.Context(), flags.dataDir, storeLog(cmd))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		if err := store.VerifyFiles(cmd.Context(), progressBar(cmd.ErrOrStderr())); err != nil {
			return err
		}
		report.Problems, err = store.Verify(cmd.Context())
		if err != nil {
			return err
		}
		return store.View(cmd.Context(), func(s authzstore.Snapshot) error {
			report.LastSeq = s.Pos().Seq
			return nil
		})
	}()
	var broken *kv.DamageError
	switch {
	case errors.As(err, &broken):
		report.Damage = &damage{broken.File, broken.Offset, broken.Seq, broken.What, broken.Do}
	case err != nil:
		report.Error = err.Error()
	}
	report.OK = err == nil && len(report.Problems) == 0
	return report
}

// exists keeps a mistyped directory from being made and found clean.
func exists(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return nil
}

func (r verifyReport) write(w io.Writer, format string) error {
	if format == "json" {
		return writeJSON(w, r)
	}
	switch {
	case r.Error != "":
		fmt.Fprintf(w, "error: %s\n", r.Error)
	case r.Damage != nil:
		fmt.Fprintf(w, "damaged: %s\n  where: %s, offset %d, last good sequence number %d\n  what to do: %s\n",
			r.Damage.What, r.Damage.File, r.Damage.Offset, r.Damage.LastSeq, r.Damage.Do)
	default:
		fmt.Fprintf(w, "files and chain: good up to sequence number %d\n", r.LastSeq)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "broken: %s\n", p)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(w, "  what to do: stop using this store, keep a copy, and restore a backup")
	}
	if r.OK {
		fmt.Fprintln(w, "invariants: all hold")
	}
	return nil
}

// barAfter is how long a check takes before a bar is worth its line.
const barAfter = time.Second

// progressBar draws on one line of a terminal; elsewhere it says nothing.
func progressBar(w io.Writer) func(done, total int64) {
	file, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	start, drawn := time.Now(), -1
	return func(done, total int64) {
		percent := int(100 * done / max(total, 1))
		if time.Since(start) < barAfter || percent == drawn {
			return
		}
		drawn = percent
		fmt.Fprintf(w, "\r[%-50s] %3d %% of %d MiB", bar(percent/2), percent, total>>20)
		if done >= total {
			fmt.Fprintln(w)
		}
	}
}

func bar(n int) string {
	const full = "=================================================="
	return full[:min(max(n, 0), len(full))]
}
