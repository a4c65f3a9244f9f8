package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign/countersign/sidecar/bundle"
	"github.com/countersign/countersign/sidecar/decide"
)

// The query that decides, as stock OPA is asked.
const query = "data.payments.decision"

// Export writes a decision to a new directory, with all that stock OPA needs to
// decide it again, for the owner alone:
//
//	input.json      what the policy was asked
//	bundle.tar.gz   rules, data and schemas of that day
//	decision.json   what it answered; null where it failed
//	record.json     everything that is known about the decision: described
//	replay.sh       the command that decides it again, and compares
func Export(dir string, archive *bundle.Archive, record decide.Record, described []byte) (err error) {
	if isNull(record.Input) {
		return fmt.Errorf("%s has no input: the rules were not asked: %s", record.DecisionID, record.Error)
	}
	snapshot, err := archive.Open(record.Bundle)
	if err != nil {
		return fmt.Errorf("the bundle of %s: %w", record.DecisionID, err)
	}
	var rules bytes.Buffer
	if err := snapshot.WriteArchive(&rules); err != nil {
		return err
	}
	input, inputErr := pretty(record.Input)
	decision, decisionErr := pretty(record.Decision)
	if err := errors.Join(inputErr, decisionErr); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name a directory that is not", dir)
	} else if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for name, content := range map[string][]byte{
		"input.json":    input,
		"bundle.tar.gz": rules.Bytes(),
		"decision.json": decision,
		"record.json":   described,
		"replay.sh":     script(record),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func pretty(document json.RawMessage) ([]byte, error) {
	var text bytes.Buffer
	err := json.Indent(&text, document, "", "  ")
	text.WriteByte('\n')
	return text.Bytes(), err
}

// script is the shell script that replays a decision.
func script(record decide.Record) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `#!/bin/sh
# Decides %s again with stock OPA (1.x) and compares.
# Recorded: %s, with the bundle
# %s.
#
#   sh replay.sh                      with the opa in the PATH
#   OPA="go tool opa" sh DIR/replay.sh
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
: "${OPA:=opa}"
decide() {
	$OPA eval --bundle "$dir/bundle.tar.gz" --input "$dir/input.json" --strict-builtin-errors --format raw %s
}

`, record.DecisionID, record.Outcome, record.Bundle, query)
	if isNull(record.Decision) {
		fmt.Fprint(&b, `# The record has no decision. OPA should fail, answer nothing, or answer what is
# not a decision.
if decide >"$dir/replayed.json" && [ -s "$dir/replayed.json" ]; then
	echo "compare: OPA answers this; the sidecar took it for no decision:"
	cat "$dir/replayed.json"
else
	echo "equal: no decision"
fi
`)
		return b.Bytes()
	}
	fmt.Fprint(&b, `decide >"$dir/replayed.json"
# Both are written by OPA, members in order.
if $OPA eval --data "recorded:$dir/decision.json" --format raw data.recorded | cmp - "$dir/replayed.json"; then
	echo equal
else
	echo "different: see decision.json and replayed.json"
	exit 1
fi
`)
	return b.Bytes()
}
