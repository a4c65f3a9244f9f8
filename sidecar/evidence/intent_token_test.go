package evidence

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign/countersign/authzstore"
	"github.com/countersign/countersign/sidecar/call"
)

func intentTokens(t *testing.T, key byte) *IntentTokens {
	t.Helper()
	tokens, err := NewIntentTokens(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// aboutIntent is a call of a phone about an intent.
func aboutIntent(intent string) About {
	return About{Call: call.Call{
		Route:    &call.Route{Fields: []call.Field{{Name: "intent"}}},
		Fields:   []call.Value{{Text: intent, Absent: intent == ""}},
		Identity: authzstore.Identity{Kind: "terminal", Issuer: "https://id.example", Subject: "phone"},
	}}
}

// The first 130 bits of HMAC-SHA-256(32 bytes of 7, "countersign intent token" NUL
// "int_checkout"), as OpenSSL and base32 of coreutils make them.
func TestIntentToken(t *testing.T) {
	const want = "tmv4bqizju63gqcf42qg7ejxhv"
	tokens := intentTokens(t, 7)
	if got := tokens.Token("int_checkout"); got != want {
		t.Errorf("%s", got)
	}
	form := regexp.MustCompile(`^[a-z2-7]{26}$`)
	seen := map[string]bool{}
	for range 1000 {
		token := tokens.Token(authzstore.NewID("int"))
		if !form.MatchString(token) || seen[token] {
			t.Fatalf("%s", token)
		}
		seen[token] = true
	}
}

// A token is right for its own intent, in a call about that, and is used up as that.
func TestIntentTokenCheck(t *testing.T) {
	tokens := intentTokens(t, 7)
	right := tokens.Token("int_checkout")
	long := "int_" + strings.Repeat("a", 61)
	for _, c := range []struct {
		name, intent, token string
		want                bool
	}{
		{"its own", "int_checkout", right, true},
		{"another's", "int_other", right, false},
		{"of another intent", "int_checkout", tokens.Token("int_other"), false},
		{"under another key", "int_checkout", intentTokens(t, 8).Token("int_checkout"), false},
		{"in capitals", "int_checkout", strings.ToUpper(right), false},
		{"cut off", "int_checkout", right[:25], false},
		{"with more", "int_checkout", right + "a", false},
		{"a space before it", "int_checkout", " " + right, false},
		{"none", "int_checkout", "", false},
		{"the intent itself", "int_checkout", "int_checkout", false},
		{"about no intent", "", tokens.Token(""), false},
		{"about what is too long to be one", long, tokens.Token(long), false},
	} {
		about := aboutIntent(c.intent)
		f, err := tokens.Check(nil, about, c.token)
		if err != nil || f.Matched != c.want {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
		if f.UsedWhenDenied || f.Step != 0 || len(f.Budgets) != 0 || len(f.Facts) != 0 {
			t.Errorf("%s: %+v", c.name, f)
		}
		if c.want && f.Thing != "intent_token/"+c.intent || !c.want && f.Thing != "" {
			t.Errorf("%s: uses up %q", c.name, f.Thing)
		}
		if grant, err := tokens.Lead(authzstore.Reader{}, about.Call, c.token); grant != "" || err != nil {
			t.Errorf("%s: leads to %q, %v", c.name, grant, err)
		}
		declared := map[string]bool{}
		for _, ref := range tokens.Refs(about, c.token) {
			declared[ref.Key] = true
		}
		if f.Thing != "" && !declared[authzstore.UseRef(f.Thing).Key] {
			t.Errorf("%s: what it uses up is not declared", c.name)
		}
		if !declared[authzstore.AttemptsRef(authzstore.SenderBudget(IntentToken, about.Identity)).Key] {
			t.Errorf("%s: the sender's budget is not declared", c.name)
		}
	}
}

func TestNewIntentTokensRefuses(t *testing.T) {
	for _, n := range []int{0, 31, 33} {
		if _, err := NewIntentTokens(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
}
