package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/authzstore/kv"
	"github.com/countersign/countersign/sidecar"
)

func storeTailCommand() *cobra.Command {
	var flags storeFlags
	var from uint64
	var follow bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the records of a store, also while a sidecar serves it",
		Long: `Print what happened in a store: one record for every decision and every change,
with the values before and after. It reads the journal alone and can run beside a
sidecar.`,
		Example: `  countersign store tail --data /var/lib/countersign
  countersign store tail --follow --from 120000 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := exists(flags.dataDir); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			start := kv.Pos{Seq: max(from, 1) - 1}
			if !cmd.Flags().Changed("from") {
				var err error
				if start, err = sidecar.OldestInJournal(flags.dataDir, time.Time{}); err != nil {
					return err
				}
			}
			err := sidecar.FollowJournal(cmd.Context(), flags.dataDir, start, follow, func(b kv.Batch) error {
				return writeBatch(out, flags.output, b)
			})
			if errors.Is(err, context.Canceled) {
				return nil // told to stop
			}
			return err
		},
	}
	flags.register(cmd)
	cmd.Flags().Uint64Var(&from, "from", 0, "first sequence number (default the oldest kept)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	return cmd
}

// recordJSON is a record as store tail prints it.
type recordJSON struct {
	Seq     uint64              `json:"seq"` // of the batch
	ID      string              `json:"id"`
	Time    time.Time           `json:"time"`
	Actor   authzstore.Identity `json:"actor"`
	Changes []changeJSON        `json:"changes,omitempty"`
	Detail  json.RawMessage     `json:"detail,omitempty"`
}

type changeJSON struct {
	Key    string `json:"key"`
	Before any    `json:"before"` // null: there was none
	After  any    `json:"after"`  // null: deleted
}

func writeBatch(w io.Writer, format string, b kv.Batch) error {
	return eachRecord(b, func(stored authzstore.Record) error { return writeRecord(w, format, b.Seq, stored) })
}

// readChanges reads what a record changed.
func readChanges(stored authzstore.Record) ([]changeJSON, error) {
	var changes []changeJSON
	for _, c := range stored.Changes {
		change := changeJSON{Key: c.Key}
		var err error
		if change.Before, err = noun(c.Key, c.Before); err != nil {
			return nil, err
		}
		if change.After, err = noun(c.Key, c.After); err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}

func writeRecord(w io.Writer, format string, seq uint64, r authzstore.Record) error {
	changes, err := readChanges(r)
	if err != nil {
		return err
	}
	line := recordJSON{Seq: seq, ID: r.ID, Time: time.Unix(0, r.AtNanos).UTC(), Actor: r.Actor, Changes: changes}
	if json.Valid(r.Detail) {
		line.Detail = r.Detail
	}
	if format == "json" {
		return json.NewEncoder(w).Encode(line)
	}
	_, err = fmt.Fprintf(w, "%d %s %s by %s %s\n", seq, line.Time.Format(time.RFC3339Nano), line.ID, r.Actor.Kind, r.Actor.Subject)
	for _, c := range line.Changes {
		after, jsonErr := json.Marshal(c.After)
		_, printErr := fmt.Fprintf(w, "    %s = %s\n", c.Key, after)
		err = errors.Join(err, jsonErr, printErr)
	}
	return err
}

func noun(key string, val []byte) (any, error) {
	if val == nil {
		return nil, nil
	}
	return authzstore.Noun(key, val)
}
