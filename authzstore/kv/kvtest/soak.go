package kvtest

import (
	"fmt"
	"os"
	"strconv"
)

// Soak is by how much longer a test runs than in its short form: 1 in go test, and
// COUNTERSIGN_SOAK, at least 1, in long runs. It panics where that is no such number: a
// long run that is none would prove nothing.
func Soak() int {
	text := os.Getenv("COUNTERSIGN_SOAK")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("COUNTERSIGN_SOAK is %q, not 1 or more", text))
	}
	return n
}
