package strictjson

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func folded(name string) string { return string(appendFolded(nil, name)) }

// The fold is coarser than every casing that Go knows: whatever one of them makes equal has
// one folded form. Tried for every code point.
func TestFoldCoversEveryCasing(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xd800 <= r && r <= 0xdfff {
			continue
		}
		name := "x" + string(r)
		want := folded(name)
		for _, other := range []rune{
			unicode.ToUpper(r), unicode.ToLower(r), unicode.ToTitle(r), unicode.SimpleFold(r),
			unicode.ToLower(unicode.ToUpper(r)), unicode.ToUpper(unicode.ToLower(r)),
		} {
			if other == r {
				continue
			}
			if got := folded("x" + string(other)); got != want {
				t.Errorf("%U and %U are equal to some parser, but fold to %q and %q", r, other, want, got)
			}
		}
		if len(want) > len(name) {
			t.Errorf("%U grows when folded", r)
		}
		if again := folded(want); again != want {
			t.Errorf("%U: folding twice gives %q, then %q", r, want, again)
		}
	}
}

// Python's full casing finds the characters outside ASCII that become ASCII names; all of
// them must fold as that name does.
func TestFoldCoversFullCasing(t *testing.T) {
	const script = `
for i in range(0x80, 0x110000):
    if 0xd800 <= i <= 0xdfff: continue
    c = chr(i)
    for f in {c.casefold(), c.upper(), c.lower(), c.title(), c.upper().lower()}:
        if f.isascii(): print("%x" % i, f)
`
	lines := runPython(t, script, nil)
	if len(lines) < 15 {
		t.Fatalf("Python found only %d pairs", len(lines))
	}
	for _, line := range lines {
		digits, ascii, _ := strings.Cut(line, " ")
		r, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := folded(string(rune(r))), folded(ascii); got != want {
			t.Errorf("U+%s folds to %q, but is %q to Python", digits, got, ascii)
		}
	}
}

// runPython runs the script in one python3 process and returns the lines it prints.
func runPython(t *testing.T, script string, input []byte) []string {
	t.Helper()
	return runReader(t, exec.Command("python3", "-I", "-X", "utf8", "-c", script), input)
}

func runReader(t *testing.T, command *exec.Cmd, input []byte) []string {
	t.Helper()
	command.Stdin = bytes.NewReader(input)
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command.Args[0], err, complaints.String())
	}
	return strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
}

// The table must find one repeated name among any number of members, wherever it stands, and
// must be clean again for the next object.
func TestDuplicatesInLargeObjects(t *testing.T) {
	object := func(members, repeatAt int, repeated string) string {
		var text strings.Builder
		for i := range members {
			name := fmt.Sprintf("member%d", i)
			if i == repeatAt {
				name = repeated
			}
			fmt.Fprintf(&text, `,"%s":{"a":1,"b":2}`, name)
		}
		return `{` + text.String()[1:] + `}`
	}
	limits := Limits{MaxBytes: 1 << 20, MaxMembers: 1 << 16}
	for _, members := range []int{2, 3, 4, 5, 31, 32, 33, 34, 63, 64, 65, 127, 1000, 4000} {
		unique := object(members, -1, "")
		if e := failure(t, `[`+unique+`,`+unique+`,{"member1":1,"x":2},`+unique+`]`, limits); e != nil {
			t.Errorf("%d unique names: %v", members, e)
		}
		for _, at := range []int{1, members / 2, members - 1} {
			for _, repeated := range []string{"member0", "MEMBER0", "mem_ber0"} {
				if at == 0 {
					continue
				}
				e := failure(t, object(members, at, repeated), limits)
				if e == nil || e.Code != CodeDuplicateMember {
					t.Errorf("%d names, %s again at %d: %v", members, repeated, at, e)
				}
			}
		}
	}
}

// Hashes have 32 bits: among 2^18 names about eight pairs share one, whatever the seed, and
// are still different names.
func TestEqualHashesAreNoDuplicates(t *testing.T) {
	const names = 1 << 18
	var text strings.Builder
	for i := range names {
		fmt.Fprintf(&text, `,"%x":0`, i)
	}
	limits := Limits{MaxBytes: 16 << 20, MaxMembers: names + 1}
	if e := failure(t, `{`+text.String()[1:]+`}`, limits); e != nil {
		t.Error(e)
	}
}

func TestCheckSpelling(t *testing.T) {
	cases := []struct {
		text, pointer string
		offset        int // of the complaint; -1 for none
	}{
		{`{"amount":1}`, "/amount", -1},
		{`{"Amount":1}`, "/amount", 1},
		{`{"x":0,"AMOUNT":1}`, "/amount", 7},
		{`{"amount":1}`, "/payee", -1},
		{`{"x":{"Amount":1}}`, "/amount", -1},
		{`{"payee":{"Iban":"x"}}`, "/payee/iban", 10},
		{`{"Payee":{"iban":"x"}}`, "/payee/iban", 1},
		{`{"payee":{}}`, "/payee/iban", -1},
		{`{"payee":[]}`, "/payee/iban", -1},
		{`{"payee":"iban"}`, "/payee/iban", -1},
		{`[{"ID":1}]`, "/0/id", 2},
		{`[{"id":1}]`, "/1/id", -1},
		{`{"amountMinor":1}`, "/amount_minor", 1},
		{`{"\u0061mount":1}`, "/amount", -1},
		{`{"ıd":1}`, "/id", 1},
		{`{}`, "", -1},
	}
	for _, c := range cases {
		document, err := Parse([]byte(c.text), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		pointer, err := ParsePointer(c.pointer)
		if err != nil {
			t.Fatal(err)
		}
		err = document.CheckSpelling(pointer)
		if c.offset < 0 {
			if err != nil {
				t.Errorf("%s %s: %v", c.text, c.pointer, err)
			}
			continue
		}
		e, ok := err.(*Error)
		if !ok || e.Code != CodeMisspelledMember || e.Offset != c.offset {
			t.Errorf("%s %s: got %v, want %s at %d", c.text, c.pointer, err, CodeMisspelledMember, c.offset)
		}
	}
}
