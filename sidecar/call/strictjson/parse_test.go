package strictjson

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// failure parses text and returns its *Error, or nil if it was accepted.
func failure(t testing.TB, text string, limits Limits) *Error {
	t.Helper()
	document, err := Parse([]byte(text), limits)
	if err == nil {
		if document == nil {
			t.Fatal("no document and no error")
		}
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is a %T, not an *Error", err)
	}
	if document != nil {
		t.Fatal("both a document and an error")
	}
	return e
}

func shortened(text string) string {
	if len(text) > 80 {
		text = text[:80] + "..."
	}
	return strconv.Quote(text)
}

func TestAccepted(t *testing.T) {
	for _, text := range accepted {
		if e := failure(t, text, Limits{}); e != nil {
			t.Errorf("%s: %v", shortened(text), e)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		e := failure(t, c.text, Limits{})
		switch {
		case e == nil:
			t.Errorf("%s: accepted, want %s", shortened(c.text), c.code)
		case e.Code != c.code || e.Offset != c.offset:
			t.Errorf("%s: %s at %d, want %s at %d", shortened(c.text), e.Code, e.Offset, c.code, c.offset)
		}
	}
	if total := len(accepted) + len(refused); total < 400 {
		t.Errorf("the tables have shrunk to %d cases", total)
	}
}

// Every refused text is refused as well when it stands inside a larger one, so no rule holds
// at the root only.
func TestRefusedInside(t *testing.T) {
	rootOnly := []Code{CodeEmpty, CodeByteOrderMark, CodeTrailingData, CodeTooBig}
	for _, c := range refused {
		if slices.Contains(rootOnly, c.code) {
			continue
		}
		for _, text := range []string{`[` + c.text + `]`, `{"outer":[0,{"inner":` + c.text + `}]}`} {
			if e := failure(t, text, Limits{}); e == nil {
				t.Errorf("%s: accepted", shortened(text))
			}
		}
	}
}

// Every code is produced by some case, and messages are fixed phrases: nothing in them can
// come from the text.
func TestErrorsHoldNoContent(t *testing.T) {
	phrase := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+, -]+$`)
	messages := map[string]bool{}
	codes := map[Code]bool{}
	for _, c := range refused {
		e := failure(t, c.text, Limits{})
		if e == nil {
			continue // reported by TestRefused
		}
		codes[e.Code] = true
		messages[e.Message] = true
		if !phrase.MatchString(e.Message) {
			t.Errorf("%q is no plain phrase", e.Message)
		}
		if want := string(e.Code) + " at byte " + strconv.Itoa(e.Offset) + ": " + e.Message; e.Error() != want {
			t.Errorf("Error() = %q, want %q", e.Error(), want)
		}
	}
	if len(messages) > 32 {
		t.Errorf("%d different messages: does one hold content?", len(messages))
	}
	for _, code := range []Code{
		CodeEmpty, CodeTooBig, CodeNotUTF8, CodeByteOrderMark, CodeSyntax, CodeTrailingData, CodeTooDeep,
		CodeTooManyValues, CodeNumberOutOfRange, CodeLoneSurrogate, CodeForbiddenRune, CodeDuplicateMember,
		CodeForbiddenMember, CodeNameTooLong,
	} {
		if !codes[code] {
			t.Errorf("no case for %s", code)
		}
	}

	// The same with a secret next to, and as, the offending part.
	const canary = "4111111111111111"
	for _, text := range []string{
		`{"pan":"` + canary, `{"pan":` + canary + canary + canary + `}`, `{"` + canary + `":1,"` + canary + `":2}`,
		canary + "x", `["` + canary + `\q"]`, canary + " " + canary, `{` + canary + `:1}`, `["` + canary + `\ud800"]`,
		`["` + canary + "\xff\"]", `{"` + strings.Repeat(canary, 17) + `":1}`, `[` + canary + ` ` + canary + `]`,
	} {
		e := failure(t, text, Limits{})
		if e == nil {
			t.Errorf("%s: accepted", text)
		} else if strings.Contains(e.Error(), canary) {
			t.Errorf("the error quotes the text: %v", e)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) string { return `[` + strings.Repeat("0,", n-2) + `0]` }
	long := func(n int) string { return strings.Repeat(" ", n-1) + "0" }
	cases := []struct {
		note   string
		limits Limits
		ok     string
		bad    string
		code   Code
	}{
		{"defaults: bytes", Limits{}, long(64 << 10), long(64<<10 + 1), CodeTooBig},
		{"defaults: depth", Limits{}, deep(16), deep(17), CodeTooDeep},
		{"defaults: values", Limits{}, many(4096), many(4097), CodeTooManyValues},
		{"negative means default", Limits{-1, -1, -1}, deep(16), deep(17), CodeTooDeep},
		{"bytes", Limits{MaxBytes: 5}, long(5), long(6), CodeTooBig},
		{"depth", Limits{MaxDepth: 1}, `{"a":1}`, `{"a":{}}`, CodeTooDeep},
		{"depth of arrays in objects", Limits{MaxDepth: 2}, `{"a":[1]}`, `{"a":[[]]}`, CodeTooDeep},
		{"values", Limits{MaxMembers: 3}, `{"a":1,"b":2}`, `{"a":1,"b":[2]}`, CodeTooManyValues},
		{"one value", Limits{MaxMembers: 1}, `{}`, `[1]`, CodeTooManyValues},
		{"depth has a ceiling", Limits{MaxDepth: 1 << 30, MaxBytes: 1 << 30}, deep(512), deep(513), CodeTooDeep},
		{"deep is no stack overflow", Limits{MaxDepth: 1 << 30, MaxBytes: 1 << 30}, deep(512),
			strings.Repeat("[", 8<<20), CodeTooDeep},
		{"values have a ceiling", Limits{MaxMembers: 1 << 40, MaxBytes: 1 << 40}, many(1 << 20), many(1<<20 + 1),
			CodeTooManyValues},
		{"bytes have a ceiling", Limits{MaxBytes: 1 << 40}, long(16 << 20), long(16<<20 + 1), CodeTooBig},
	}
	for _, c := range cases {
		if e := failure(t, c.ok, c.limits); e != nil {
			t.Errorf("%s: %v", c.note, e)
		}
		if e := failure(t, c.bad, c.limits); e == nil || e.Code != c.code {
			t.Errorf("%s: got %v, want %s", c.note, e, c.code)
		}
	}
}

// Depth counts what is open, not what was: siblings do not add up.
func TestDepthOfSiblings(t *testing.T) {
	text := `[` + strings.Repeat(`[[]],{"a":{}},`, 100) + `0]`
	if e := failure(t, text, Limits{MaxDepth: 3}); e != nil {
		t.Error(e)
	}
}

func TestDocumentOutlivesText(t *testing.T) {
	text := []byte(paymentBody)
	document, err := Parse(text, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'X'
	}
	currency, _ := document.Root().Member("currency")
	if currency.String() != "EUR" {
		t.Error("the document changed with the bytes it was parsed from")
	}
}
