package bundle

import (
	"context"
	"errors"
	"io/fs"

	"github.com/countersign/countersign/sidecar/call"
	"github.com/countersign/countersign/sidecar/policy"
)

// A Bundle is rules, data, schemas and route tables that were read at one moment.
// It never changes, and may be used concurrently.
type Bundle struct {
	Digest   string // of Snapshot
	Snapshot *policy.Snapshot
	Policy   *policy.Policy
	Routes   *call.Table
}

// Config says how the policy of a bundle evaluates.
type Config struct {
	Policy policy.Config
	// Vocabulary is what its route tables may name.
	Vocabulary call.Vocabulary
}

// Load reads the bundle in dir. An error names file and line.
func Load(ctx context.Context, dir fs.FS, cfg Config) (*Bundle, error) {
	snapshot, err := policy.Read(dir)
	if err != nil {
		return nil, err
	}
	routes, routesErr := call.Load(snapshot, cfg.Vocabulary)
	rules, rulesErr := policy.Load(ctx, snapshot, cfg.Policy)
	if err := errors.Join(routesErr, rulesErr); err != nil {
		return nil, err
	}
	return &Bundle{Digest: snapshot.Digest(), Snapshot: snapshot, Policy: rules, Routes: routes}, nil
}
