package bundle

import (
	"testing"

	"github.com/countersign/countersign/policies"
)

// A start takes the built-in bundle as judged: here it is.
func TestBuiltIn(t *testing.T) {
	b, err := Load(t.Context(), policies.BuiltIn(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if b.Digest != builtIn() {
		t.Errorf("the built-in bundle is %s, a start knows %s", b.Digest, builtIn())
	}
}
