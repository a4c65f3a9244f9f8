// Package escrow_test holds the worked example of docs/adding_a_system.md to what a
// sidecar wants to see before it serves a bundle.
package escrow_test

import (
	"context"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign/policies/policiestest"
	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/policy"
)

// withEscrow is a built-in bundle, and the example's files beside its own.
func withEscrow(t *testing.T) fstest.MapFS {
	t.Helper()
	files := policiestest.Files(t)
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) == ".go" {
			return err
		}
		if _, built := files[name]; built {
			t.Errorf("%s takes the place of a built-in file", name)
		}
		text, err := os.ReadFile(name)
		files[name] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func load(files fs.FS) (*bundle.Bundle, error) {
	return bundle.Load(context.Background(), files, bundle.Config{Policy: policy.Config{Budget: time.Minute}})
}

func TestEscrow(t *testing.T) {
	b, err := load(withEscrow(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(b.Routes.Systems(), " "); got != "direct_payment escrow" {
		t.Errorf("systems %s", got)
	}
}

// A condition that permit does not name is missed, for nothing wants the facts that it
// compared.
func TestEscrowWithoutACondition(t *testing.T) {
	for _, condition := range []string{
		"\tanother_agreed\n",
		"\taccount.lets_through(input.facts.account, input.facts.intent)\n",
	} {
		t.Run(strings.TrimSpace(condition), func(t *testing.T) {
			files := withEscrow(t)
			file := files["systems/escrow/escrow.rego"]
			if strings.Count(string(file.Data), condition) != 1 {
				t.Fatalf("not once in the rules: %s", condition)
			}
			file.Data = []byte(strings.Replace(string(file.Data), condition, "", 1))
			if _, err := load(files); err == nil {
				t.Error("a sidecar would serve it")
			} else {
				t.Log(err)
			}
		})
	}
}
