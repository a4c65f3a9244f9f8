package decide_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain asks rapid for 200 seeds of everything, unless the command line says
// otherwise.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "200"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
