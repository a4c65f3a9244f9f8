// Package countersign_test holds the layout of the tree: which packages there
// are, and who may import whom.
package countersign_test

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign"

// layers are the packages from the bottom to the top. A package imports only
// packages of layers below its own, so imports point one way, and those of one
// layer do not know each other. A new package gets its place here.
var layers = [][]string{
	{"authzstore/kv", "policies", "sidecar/privatefile", "sidecar/safelog", "sidecar/symbol", "sidecar/call/strictjson"},
	{"authzstore/kv/chain", "authzstore/kv/disk", "authzstore/kv/locks", "authzstore/kv/txn", "policies/policiestest", "sidecar/upstream"},
	{"authzstore", "authzstore/kv/badgerkv", "authzstore/kv/kvtest"},
	{"sidecar/call", "sidecar/clock", "sidecar/policy"},
	{"sidecar/bundle", "sidecar/evidence"},
	{"sidecar/decide"},
	{"sidecar/extauthz", "sidecar/metrics", "sidecar/replay", "sidecar/api", "sidecar/outbox"},
	{"sidecar", "sidecar/replay/replaytest"},
	{"cmd/countersign"},
}

// outside are directories whose packages may import all of ours, and which only
// they import.
var outside = []string{"examples", "bench"}

// A rule says who may import a package, or any below it. The directories count
// with everything in them.
type rule struct {
	imported string
	by       []string
	tests    bool // tests may, wherever they stand
}

var rules = []rule{
	{imported: "github.com/open-policy-agent/opa", by: []string{"sidecar/policy", "bench"}},
	{imported: "github.com/envoyproxy/go-control-plane", by: []string{"sidecar/extauthz", "bench", "examples"}, tests: true},
	{imported: "google.golang.org/grpc", by: []string{"sidecar/extauthz", "bench", "examples"}, tests: true},
	{imported: "github.com/dgraph-io/badger", by: []string{"authzstore/kv/badgerkv"}},
	{imported: "github.com/fxamacker/cbor", by: []string{"authzstore"}, tests: true},
	{imported: "github.com/go-jose/go-jose", by: []string{"sidecar/upstream", "examples"}, tests: true},
	{imported: "go.yaml.in/yaml", by: []string{"sidecar/call", "sidecar/policy", "examples"}, tests: true},
	{imported: "github.com/spf13/cobra", by: []string{"cmd"}},
	{imported: "github.com/prometheus", by: []string{"sidecar/metrics"}, tests: true},
	{imported: "github.com/boombuler/barcode", by: []string{"sidecar/symbol"}},
	{imported: "github.com/pquerna/otp", by: []string{"sidecar/evidence"}},
	{imported: "github.com/makiuchi-d/gozxing", by: []string{"examples"}, tests: true},
	{imported: "github.com/chromedp", tests: true}, // drives a browser
	{imported: "github.com/danielgtaylor/huma", by: []string{"sidecar/api"}},
	{imported: "github.com/standard-webhooks/standard-webhooks", by: []string{"sidecar/outbox"}, tests: true},
	// What backends share is theirs alone.
	{imported: module + "/authzstore/kv/chain", by: []string{"authzstore/kv"}},
	{imported: module + "/authzstore/kv/disk", by: []string{"authzstore/kv"}},
	{imported: module + "/authzstore/kv/locks", by: []string{"authzstore/kv"}},
	{imported: module + "/authzstore/kv/txn", by: []string{"authzstore/kv"}},
	// The backend is chosen in one place.
	{imported: module + "/authzstore/kv/badgerkv", by: []string{"sidecar", "authzstore/kv/badgerkv"}, tests: true},
	// The parser is for what decides, calls and the terms in them, and for what operators send.
	{imported: module + "/sidecar/call/strictjson", by: []string{"authzstore", "sidecar/call", "sidecar/api", "bench"}, tests: true},
}

// exactly are directories in by that mean themselves alone, without what is
// below them.
var exactly = []string{"sidecar", "authzstore"}

// bottom imports nothing but the standard library.
const bottom = "authzstore/kv"

var topLevel = []string{"authzstore", "bench", "build", "cmd", "docs", "examples", "policies", "sidecar"}

const maxFileLines = 500

// An importer is one import of one file.
type importer struct {
	file     string // from the top of the tree, with slashes
	imported string
}

func (i importer) dir() string  { return path.Dir(i.file) }
func (i importer) isTest() bool { return strings.HasSuffix(i.file, "_test.go") }

func TestImports(t *testing.T) {
	imports := readImports(t)
	if len(imports) < 100 {
		t.Fatalf("only %d imports found", len(imports))
	}
	for _, i := range imports {
		for _, complaint := range []string{checkRules(i), checkLayers(i), checkBottom(i)} {
			if complaint != "" {
				t.Errorf("%s imports %s: %s", i.file, i.imported, complaint)
			}
		}
	}
}

// Every package has its place, and no place is empty.
func TestPackages(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		dir := path.Dir(file)
		if !seen[dir] && layerOf(dir) < 0 && !under(dir, outside) {
			t.Errorf("the package %s has no place in layers", dir)
		}
		seen[dir] = true
	}
	for _, layer := range layers {
		for _, dir := range layer {
			if !seen[dir] {
				t.Errorf("layers has %s, the tree has not", dir)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	for _, file := range files(t) {
		dir, _, nested := strings.Cut(file, "/")
		if nested && !strings.HasPrefix(dir, ".") && !slices.Contains(topLevel, dir) {
			t.Errorf("%s: the directory %s does not belong to the top of the tree", file, dir)
		}
	}
}

func TestFileLengths(t *testing.T) {
	counted := 0
	for _, file := range files(t) {
		ext := path.Ext(file)
		if ext != ".go" && ext != ".rego" || strings.HasSuffix(file, "_test"+ext) {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatal(err)
		}
		counted++
		if lines := bytes.Count(text, []byte("\n")); lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: split it", file, lines, maxFileLines)
		}
	}
	if counted < 30 {
		t.Errorf("only %d files counted", counted)
	}
}

// The checks find what they are for.
func TestChecksCanFail(t *testing.T) {
	ours := module + "/"
	for _, c := range []struct {
		file, imported string
		allowed        bool
	}{
		{"authzstore/kv/kv.go", "context", true},
		{"authzstore/kv/kv.go", ours + "authzstore", false},
		{"authzstore/kv/kv.go", "github.com/fxamacker/cbor/v2", false},
		{"authzstore/store.go", ours + "authzstore/kv", true},
		{"authzstore/store.go", ours + "authzstore/kv/badgerkv", false},
		{"authzstore/store.go", ours + "sidecar/policy", false},
		{"authzstore/store_test.go", ours + "authzstore/kv/badgerkv", true},
		{"authzstore/store.go", "github.com/dgraph-io/badger/v4", false},
		{"authzstore/kv/badgerkv/badgerkv.go", "github.com/dgraph-io/badger/v4", true},
		{"authzstore/kv/badgerkv/badgerkv.go", ours + "authzstore", false},
		{"authzstore/kv/badgerkv/badgerkv.go", ours + "authzstore/kv/locks", true},
		{"authzstore/kv/locks/locks.go", ours + "authzstore/kv/badgerkv", false},
		{"authzstore/kv/kv.go", ours + "authzstore/kv/chain", false},
		{"authzstore/store.go", ours + "authzstore/kv/chain", false},
		{"sidecar/call/call.go", ours + "sidecar/policy", false},
		{"sidecar/policy/policy.go", ours + "sidecar/call", false},
		{"sidecar/policy/policy.go", "github.com/open-policy-agent/opa/v1/ast", true},
		{"sidecar/decide/decide.go", "github.com/open-policy-agent/opa/v1/ast", false},
		{"sidecar/decide/decide_test.go", "github.com/open-policy-agent/opa/v1/ast", false},
		{"sidecar/decide/decide.go", "github.com/open-policy-agents/x", true},
		{"bench/plain.go", "github.com/open-policy-agent/opa/v1/rego", true},
		{"sidecar/decide/decide.go", "github.com/envoyproxy/go-control-plane/envoy/type/v3", false},
		{"sidecar/decide/decide.go", ours + "sidecar/extauthz", false},
		{"sidecar/decide/decide.go", ours + "sidecar/call", true},
		{"sidecar/bundle/bundle.go", ours + "sidecar/policy", true},
		{"sidecar/bundle/bundle.go", ours + "sidecar/decide", false},
		{"sidecar/bundle/bundle.go", "github.com/open-policy-agent/opa/v1/tester", false},
		{"sidecar/decide/decide.go", ours + "examples/issuer", false},
		{"sidecar/e2e_test.go", ours + "examples/envoy", true},
		{"sidecar/extauthz/check.go", "github.com/envoyproxy/go-control-plane/envoy/type/v3", true},
		{"sidecar/extauthz/check.go", ours + "authzstore/kv/badgerkv", false},
		{"sidecar/server.go", ours + "authzstore/kv/badgerkv", true},
		{"sidecar/server.go", "github.com/envoyproxy/go-control-plane/envoy/type/v3", false},
		{"sidecar/server.go", ours + "cmd/countersign", false},
		{"sidecar/server.go", "github.com/prometheus/client_golang/prometheus", false},
		{"sidecar/metrics/metrics.go", "github.com/prometheus/client_golang/prometheus", true},
		{"sidecar/server.go", ours + "sidecar/call/strictjson", false},
		{"sidecar/upstream/claims.go", ours + "authzstore", false},
		{"sidecar/decide/decide.go", "github.com/go-jose/go-jose/v4", false},
		{"sidecar/outbox/secret.go", "github.com/standard-webhooks/standard-webhooks/libraries/go", true},
		{"sidecar/server.go", "github.com/standard-webhooks/standard-webhooks/libraries/go", false},
		{"sidecar/outbox/stream.go", ours + "sidecar/api", false},
		{"sidecar/api/terminal_api.go", ours + "sidecar/outbox", false},
		{"sidecar/symbol/qr.go", "github.com/makiuchi-d/gozxing", false},
		{"sidecar/symbol/qr_test.go", "github.com/makiuchi-d/gozxing", true},
		{"examples/terminal/decode.go", "github.com/makiuchi-d/gozxing/qrcode", true},
		{"examples/terminal/terminal.go", "github.com/chromedp/chromedp", false},
		{"examples/terminal/browser_test.go", "github.com/chromedp/chromedp", true},
		{"cmd/countersign/main.go", ours + "sidecar", true},
		{"cmd/countersign/main.go", ours + "authzstore/kv/badgerkv", false},
		{"examples/demo/main.go", ours + "sidecar", true},
		{"examples/demo/main.go", ours + "authzstore/kv/badgerkv", false},
	} {
		i := importer{c.file, c.imported}
		complaint := checkRules(i) + checkLayers(i) + checkBottom(i)
		if (complaint == "") != c.allowed {
			t.Errorf("%s imports %s: allowed %v, complaint %q", c.file, c.imported, c.allowed, complaint)
		}
	}
}

func checkRules(i importer) string {
	for _, r := range rules {
		if i.imported != r.imported && !strings.HasPrefix(i.imported, r.imported+"/") || r.tests && i.isTest() {
			continue
		}
		if len(r.by) == 0 {
			return "only tests may"
		}
		if !under(i.dir(), r.by) {
			return "only " + strings.Join(r.by, ", ") + " may"
		}
	}
	return ""
}

func checkLayers(i importer) string {
	imported, isOurs := strings.CutPrefix(i.imported, module+"/")
	if !isOurs || i.isTest() || under(i.dir(), outside) {
		return ""
	}
	if under(imported, outside) {
		return "no part of the program needs " + strings.Join(outside, ", ")
	}
	if layerOf(imported) >= layerOf(i.dir()) {
		return fmt.Sprintf("its layer %d is not below layer %d", layerOf(imported), layerOf(i.dir()))
	}
	return ""
}

func checkBottom(i importer) string {
	first, _, _ := strings.Cut(i.imported, "/")
	if i.dir() == bottom && !i.isTest() && strings.Contains(first, ".") {
		return bottom + " needs the standard library alone"
	}
	return ""
}

func layerOf(dir string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, dir) })
}

// under tells whether dir is one of the directories or below one.
func under(dir string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		return dir == d || !slices.Contains(exactly, d) && strings.HasPrefix(dir, d+"/")
	})
}

func readImports(t *testing.T) []importer {
	t.Helper()
	var imports []importer
	for _, file := range files(t) {
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports = append(imports, importer{file, imported})
		}
	}
	return imports
}

// files are those that git tracks or would: whoever tries the project out may keep
// directories of their own in it.
func files(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for file := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.FromSlash(file)); err == nil && info.Mode().IsRegular() {
			all = append(all, file)
		}
	}
	if len(all) < 50 {
		t.Fatalf("git knows only %d files", len(all))
	}
	return all
}
