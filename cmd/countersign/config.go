package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/policies"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/call"
)

func configCommand() *cobra.Command {
	return group("config", "Check the rules and the route tables", configCheckCommand())
}

func configCheckCommand() *cobra.Command {
	var policyDir, output string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what a bundle holds, or everything that is wrong with it",
		Long: `Read a bundle as serve does, without serving it: print its routes, or everything
that is wrong with the rules and the route tables, each with file and line.

Exit status: 0 when serve would take the bundle, 1 when it would not.`,
		Example: "  countersign config check --policies ./policies\n  countersign config check -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := policyFS(policyDir)
			if err != nil {
				return err
			}
			checked, err := bundle.Load(cmd.Context(), dir, bundle.Config{})
			if err != nil {
				return err
			}
			found := bundleInfo{Digest: checked.Digest, Modules: checked.Policy.Modules(), Systems: checked.Routes.Systems()}
			for _, r := range checked.Routes.Routes() {
				found.Routes = append(found.Routes, newRouteInfo(r))
			}
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), found)
			}
			return found.print(cmd.OutOrStdout())
		},
	}
	policiesFlag(cmd, &policyDir)
	outputFlag(cmd, &output)
	return cmd
}

func policiesFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "policies", "", "directory of the policy bundle (default: the built-in one)")
}

// policyFS is the built-in bundle where no directory is given.
func policyFS(dir string) (fs.FS, error) {
	if dir == "" {
		return policies.FS, nil
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("--policies: %w", err)
	}
	return os.DirFS(dir), nil
}

// bundleInfo is what config check prints.
type bundleInfo struct {
	Digest  string      `json:"digest"` // of the rules and their data
	Modules int         `json:"modules"`
	Systems []string    `json:"systems"`
	Routes  []routeInfo `json:"routes"`
}

type routeInfo struct {
	System     string            `json:"system"`
	Operation  string            `json:"operation"`
	Does       string            `json:"does,omitempty"` // a built-in operation
	Match      string            `json:"match"`
	Identity   []identityInfo    `json:"identity"` // a call has one of them
	MovesMoney bool              `json:"moves_money"`
	Fields     []fieldInfo       `json:"fields"`
	KeyFrom    string            `json:"idempotency,omitempty"` // where the key stands
	Facts      map[string]string `json:"facts"`                 // read or write
	Upstream   upstreamInfo      `json:"upstream"`
}

type identityInfo struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`
	Issuer string `json:"issuer"` // or the trust domain
}

type fieldInfo struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	From     string `json:"from"`
	Optional bool   `json:"optional,omitempty"`
	Personal bool   `json:"personal,omitempty"`
	Secret   bool   `json:"secret,omitempty"`
	Evidence string `json:"evidence,omitempty"`
}

type upstreamInfo struct {
	Audience   string `json:"audience,omitempty"`
	Idempotent bool   `json:"idempotent"`
	Expires    string `json:"expires,omitempty"` // of a reservation that nobody settles
}

func newRouteInfo(r *call.Route) routeInfo {
	info := routeInfo{
		System: r.System, Operation: r.Operation, Does: r.Does, Match: r.Match(), MovesMoney: r.MovesMoney,
		Upstream: upstreamInfo{Audience: r.Upstream.Audience, Idempotent: r.Upstream.Idempotent}, KeyFrom: r.KeyFrom(),
		Fields: []fieldInfo{}, Facts: map[string]string{},
	}
	if r.Upstream.Expires > 0 {
		info.Upstream.Expires = r.Upstream.Expires.String()
	}
	for _, id := range r.Identities {
		info.Identity = append(info.Identity, identityInfo{id.Source, id.Kind, id.Issuer})
	}
	for _, f := range r.Fields {
		info.Fields = append(info.Fields, fieldInfo{Name: f.Name, Type: f.Type.String(), From: f.From(), Optional: f.Optional, Personal: f.Personal})
	}
	for _, s := range r.Secrets {
		info.Fields = append(info.Fields, fieldInfo{Name: s.Name, Type: call.Text.String(), From: s.From(), Optional: s.Optional, Secret: true, Evidence: s.Evidence})
	}
	for _, f := range r.Facts {
		info.Facts[f.Name] = map[bool]string{false: "read", true: "write"}[f.Write]
	}
	return info
}

func (b bundleInfo) print(w io.Writer) error {
	fmt.Fprintf(w, "%d modules, digest %s, systems %s\n\n", b.Modules, b.Digest, strings.Join(b.Systems, ", "))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SYSTEM\tOPERATION\tMATCH\tIDENTITY\tMONEY\tUPSTREAM")
	for _, r := range b.Routes {
		money := "no"
		if r.MovesMoney {
			money = "moves"
		}
		var identities []string
		for _, id := range r.Identity {
			identities = append(identities, fmt.Sprintf("%s, %s of %s", id.Kind, id.Source, id.Issuer))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.System, r.Operation, r.Match,
			strings.Join(identities, "; or "), money, r.Upstream.Audience)
	}
	return table.Flush()
}
