package main

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/sidecar/evidence"
)

// The screen of a device, at the start of a period, in it and at its end. The secret is
// that of RFC 6238, whose appendix B has the passwords of these times.
func TestCodeScreen(t *testing.T) {
	p, err := evidence.ParseParameters("otpauth://totp/Bank:280123456789?algorithm=SHA1&digits=8&handle=0123456789&issuer=Bank&period=30&prefix=28&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at         time.Time
		code, left string
	}{
		{time.Unix(30, 0), "2801 2345 6789 9428 7082", strings.Repeat("█", 30) + " 30 s"},
		{time.Unix(45, 0), "2801 2345 6789 9428 7082", strings.Repeat("█", 15) + strings.Repeat("░", 15) + " 15 s"},
		{time.Unix(59, 0), "2801 2345 6789 9428 7082", "█" + strings.Repeat("░", 29) + " 1 s"},
		{time.Unix(1111111111, 0), "2801 2345 6789 1405 0471", strings.Repeat("█", 29) + "░ 29 s"},
	} {
		screen, err := codeScreen(p, c.at)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Bank pays with", c.code, c.left, "▄"} {
			if !strings.Contains(screen, want) {
				t.Errorf("%s: no %q in\n%s", c.at.UTC(), want, screen)
			}
		}
		if strings.Contains(screen, "GEZD") {
			t.Error("the secret is on the screen")
		}
	}
}
