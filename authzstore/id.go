package authzstore

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
)

// NewID returns a new random ID of a kind, such as rsv_5zk…; 130 bits.
func NewID(kind string) string { return kind + "_" + strings.ToLower(rand.Text()) }

const maxIDBytes = 64

// isID tells whether s is an ID of the kind: prefix, underscore, and letters,
// digits, underscores or hyphens.
func isID(kind, s string) bool {
	rest, ok := strings.CutPrefix(s, kind+"_")
	if !ok || rest == "" || len(s) > maxIDBytes {
		return false
	}
	return !strings.ContainsFunc(rest, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
			return false
		}
		return true
	})
}

func checkID(what, kind, s string) error {
	if !isID(kind, s) {
		return fmt.Errorf("%w: %s id %q is not %s_ and letters, digits, _ or -, %d characters at most", ErrInvalid, what, s, kind, maxIDBytes)
	}
	return nil
}

// checkIDs refuses a list with what is no ID of the kind, or with one twice.
func checkIDs(what, kind string, ids []string) error {
	for i, id := range ids {
		if err := checkID(what, kind, id); err != nil {
			return err
		}
		if slices.Contains(ids[:i], id) {
			return fmt.Errorf("%w: %s %s stands twice in a list", ErrInvalid, what, id)
		}
	}
	return nil
}
