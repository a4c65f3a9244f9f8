package main

import (
	"slices"
	"testing"
)

// A browser opens no page at a port that other protocols use (Fetch standard, "port
// blocking"; these are the ones above 1023).
func TestBrowsersOpenThePages(t *testing.T) {
	refused := []int{
		1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
	}
	if pagesPort < 1024 || slices.Contains(refused, pagesPort) {
		t.Errorf("browsers refuse port %d", pagesPort)
	}
}
