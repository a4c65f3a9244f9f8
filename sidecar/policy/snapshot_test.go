package policy

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/countersign/countersign/policies"
)

// What nobody would read is refused by its name: a rule in it would deny nothing.
func TestNothingIsPassedOver(t *testing.T) {
	for _, name := range []string{
		"stop.REGO", "stop.Rego", "stop.rego.bak", "stop.rego~", "stop", "policy.wasm", "plan.json", "data.yml", "Data.json",
		".manifest", ".signatures.json", ".hidden/stop.rego", "..stop.rego", "systems/x/routes.yml", "systems/X/routes.yaml",
		"systems/routes.yaml", "routes.yaml", "shared/x/routes.yaml", "schemas/input.yaml", "schemas/more/input.json",
		"schemas/Input.json", "input.json", "limits/other.json", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/x.rego",
	} {
		t.Run(name, func(t *testing.T) {
			dir := module("decision := " + denyDecision)
			dir[name] = &fstest.MapFile{Data: []byte("garbage")}
			first, _, _ := strings.Cut(name, "/")
			wantLoadError(t, dir, first)
		})
	}
	dir := module("decision := " + denyDecision)
	for name, text := range map[string]string{"README.md": "x", "embed.go": "package x", "limits/data.json": "1", "more/data.yaml": "a: 1"} {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	load(t, dir, Config{})
}

func TestBundleIsBounded(t *testing.T) {
	big := module("decision := " + denyDecision)
	big["a/data.json"] = &fstest.MapFile{Data: []byte(`"` + strings.Repeat("a", maxBundleFileBytes) + `"`)}
	wantLoadError(t, big, "a/data.json", "at most")
	many := fstest.MapFS{}
	for i := range maxBundleFiles + 1 {
		many["d"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+strings.Repeat("y", i/50)+".md"] = &fstest.MapFile{}
	}
	wantLoadError(t, many, "more than 4096 files")
}

// mount makes a directory as Kubernetes mounts a ConfigMap in it.
func mount(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, "..2026_11_24", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		top, _, _ := strings.Cut(name, "/")
		_ = os.Symlink(filepath.Join("..data", top), filepath.Join(dir, top)) // once for each top
	}
	link(t, "..2026_11_24", filepath.Join(dir, "..data"))
	return dir
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// The mount of a ConfigMap is read whole, and is the same bundle as its files.
func TestConfigMap(t *testing.T) {
	files := map[string]string{
		"decision.rego":         "package payments\n\ndecision := data.limits",
		"limits/data.json":      `{"allow": false, "reasons": [], "public_reasons": [], "effects": []}`,
		"systems/x/routes.yaml": "system: x",
		"systems/x/x.rego":      "package payments.systems.x\n\npermit if input.a\n\ndeny contains 1 if input.b",
	}
	dir := mount(t, files)
	mounted, err := Read(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	plain := fstest.MapFS{}
	for name, text := range files {
		plain[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if same, err := Read(plain); err != nil || same.Digest() != mounted.Digest() {
		t.Errorf("%s, want %s, %v", mounted.Digest(), same.Digest(), err)
	}
	if p, err := Load(context.Background(), mounted, Config{}); err != nil || p.Modules() != 2 {
		t.Errorf("modules %v, %v", p, err)
	}
	// An update in between leaves its traces, which are none of the bundle.
	if err := os.Mkdir(filepath.Join(dir, "..2026_11_23"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, "..2026_11_25", filepath.Join(dir, "..data_tmp"))
	if again, err := Read(os.DirFS(dir)); err != nil || again.Digest() != mounted.Digest() {
		t.Error(err)
	}
}

func TestLinksAreRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "stop.rego")
	if err := os.WriteFile(outside, []byte("package payments"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, says string
		spoil      func(dir string)
	}{
		{"a link to a file", "stop.rego: links are followed only", func(dir string) {
			link(t, "decision.rego", filepath.Join(dir, "stop.rego"))
			if err := os.RemoveAll(filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, "..2026_11_24")); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "decision.rego")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a link beside the ConfigMap", "stop.rego: stands in the mount", func(dir string) { link(t, outside, filepath.Join(dir, "stop.rego")) }},
		{"a file beside the ConfigMap", "stop.rego: stands in the mount", func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "stop.rego"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory beside the ConfigMap", "more: stands in the mount", func(dir string) {
			if err := os.Mkdir(filepath.Join(dir, "more"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"a link in the ConfigMap", "stop.rego: links are followed only", func(dir string) {
			link(t, outside, filepath.Join(dir, "..2026_11_24", "stop.rego"))
		}},
		{"a pipe", "stop.rego: neither a file nor a directory", func(dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "..2026_11_24", "stop.rego"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"..data leads outside", "..data: not the link of a mounted ConfigMap", func(dir string) {
			if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			link(t, filepath.Dir(outside), filepath.Join(dir, "..data"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := mount(t, map[string]string{"decision.rego": "package payments\n\ndecision := " + denyDecision})
			c.spoil(dir)
			wantLoadError(t, os.DirFS(dir), c.says)
		})
	}
}

// The digest changes with a name and with a content, not with what nobody reads;
// the bundle in the binary is the one in the repository.
func TestDigest(t *testing.T) {
	digest := func(dir fs.FS) string {
		s, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	if built, tree := digest(policies.FS), digest(os.DirFS("../../policies")); built != tree || len(built) != len("sha256:")+64 {
		t.Errorf("%s is built in, %s stands in policies", built, tree)
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	seen := map[string]bool{}
	for _, dir := range []fstest.MapFS{
		{"a.rego": file("x")}, {"a.rego": file("y")}, {"b.rego": file("x")}, {"a.rego": file("x"), "b.rego": file("")},
		{"a.rego": file(""), "b.rego": file("x")},
	} {
		seen[digest(dir)] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d digests of 5 bundles", len(seen))
	}
	if digest(fstest.MapFS{"a.rego": file("x"), "README.md": file("z")}) != digest(fstest.MapFS{"a.rego": file("x")}) {
		t.Error("documentation changes the digest")
	}
}
