// Package policies holds the Rego bundle that is built into the binary: the
// decision, one package per payment system with its route table, the rules they
// share, and the schema of the input.
package policies

import (
	"embed"
	"io/fs"
)

//go:embed decision.rego decision_test.rego shared systems schemas
var files embed.FS

// FS is the bundle, with its tests and schemas, rooted at this directory. Tests of
// programs put a smaller one in its place (policiestest.Direct).
var FS fs.FS = files

// BuiltIn returns the built-in bundle, whatever FS is.
func BuiltIn() fs.FS { return files }
