package call

import (
	"net/url"
	"strings"
	"testing"
)

// What readParams accepts, net/url reads alike, and there is no other spelling of it.
func FuzzParams(f *testing.F) {
	for _, text := range []string{"a=1&b=2", "a=%C3%A4", "a=+", "a=%20", "a=%2B&b=%26", "a=1&a=1", "%61=1", "a=%c3", "a", "=", "a=1;b=2", "b=~.-_&a=%00", "a=%zz", "a=%"} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, form bool) {
		kind := queryParams
		if form {
			kind = formParams
		}
		ours, err := readParams(text, kind, []string{"a", "b"})
		if err != nil {
			return
		}
		theirs, err := url.ParseQuery(text)
		if err != nil || len(theirs) != len(ours) {
			t.Fatalf("net/url reads %q as %v, %v", text, theirs, err)
		}
		again := ""
		for _, p := range ours {
			if got := theirs[p.name]; len(got) != 1 || got[0] != p.value {
				t.Fatalf("%s is %q here, %q to net/url", p.name, p.value, got)
			}
			value := url.QueryEscape(p.value) // the one spelling, but for the space of a query
			if !form {
				value = strings.ReplaceAll(value, "+", "%20")
			}
			again += "&" + p.name + "=" + value
		}
		if again[1:] != text {
			t.Fatalf("%q is another spelling of %q", text, again[1:])
		}
	})
}
