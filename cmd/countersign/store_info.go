package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar"
)

func storeInfoCommand() *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:     "info",
		Short:   "Say what a store holds",
		Long:    "Say what a store that no sidecar serves holds: its ID, sizes, the head of its\nchain, how many nouns of each kind.",
		Example: "  countersign store info --data /var/lib/countersign -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, err := readStoreInfo(cmd, flags.dataDir)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if flags.output == "json" {
				return writeJSON(out, info)
			}
			fmt.Fprintf(out, "store        %s\ndata         %s\nbytes        %d\nlast seq     %d\nhead         %s\nsafe seq     %d\n",
				info.ID, info.DataDir, info.Bytes, info.LastSeq, info.Head, info.SafeSeq)
			for _, kind := range authzstore.Kinds() {
				fmt.Fprintf(out, "%-12s %d\n", kind, info.Counts[kind])
			}
			return nil
		},
	}
	flags.register(cmd)
	return cmd
}

// storeInfo is what store info prints.
type storeInfo struct {
	ID      string         `json:"store"` // sto_…, the issuer of the tokens for payment services
	DataDir string         `json:"data"`
	Bytes   int64          `json:"bytes"`
	LastSeq uint64         `json:"last_seq"` // of the newest durable batch
	Head    string         `json:"head"`     // the chain's hash there, hexadecimal
	SafeSeq uint64         `json:"safe_seq"` // up to here a recovery needs no journal
	Counts  map[string]int `json:"counts"`   // stored nouns, by kind
}

func readStoreInfo(cmd *cobra.Command, dir string) (info storeInfo, err error) {
	if err := exists(dir); err != nil {
		return storeInfo{}, err
	}
	store, err := sidecar.OpenStore(cmd.Context(), dir, storeLog(cmd))
	if err != nil {
		return storeInfo{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	info = storeInfo{ID: store.ID(), DataDir: dir, SafeSeq: store.SafeSeq()}
	if info.Bytes, err = treeBytes(dir); err != nil {
		return storeInfo{}, err
	}
	err = store.View(cmd.Context(), func(s authzstore.Snapshot) (err error) {
		pos := s.Pos()
		info.LastSeq, info.Head = pos.Seq, hex.EncodeToString(pos.Hash[:])
		info.Counts, err = s.Counts()
		return err
	})
	return info, err
}

func treeBytes(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		return nil
	})
	return bytes, err
}
