package main

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/util"

	"github.com/countersign/countersign/policies"
)

// quoteSystem is a second system beside the built-in one, whose calls need no
// store: see bundle/systems/quote.
//
//go:embed bundle/systems
var quoteSystem embed.FS

// writeBundle writes the built-in bundle, with the system quote in place of the
// systems that are not compared, to a new directory.
func writeBundle(dir string) error {
	quote, err := fs.Sub(quoteSystem, "bundle")
	if err != nil {
		return err
	}
	return errors.Join(os.CopyFS(dir, policies.FS), os.RemoveAll(filepath.Join(dir, "systems", "delegated_payment")), os.CopyFS(dir, quote))
}

// readBundle returns the rules of a bundle by their file's name, without tests,
// and its data as OPA places it: the file in limits/ is data.limits.
func readBundle(dir fs.FS) (rules map[string]string, data map[string]any, err error) {
	rules, data = map[string]string{}, map[string]any{}
	err = fs.WalkDir(dir, ".", func(name string, _ fs.DirEntry, err error) error {
		isRule := strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego")
		isData := path.Base(name) == "data.yaml"
		if err != nil || !isRule && !isData {
			return err
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		if isRule {
			rules[name] = string(text)
			return nil
		}
		var document map[string]any
		if err := util.Unmarshal(text, &document); err != nil {
			return err
		}
		at := data
		for part := range strings.SplitSeq(path.Dir(name), "/") {
			below, ok := at[part].(map[string]any)
			if !ok {
				below = map[string]any{}
				at[part] = below
			}
			at = below
		}
		for key, value := range document {
			at[key] = value
		}
		return nil
	})
	return rules, data, err
}
