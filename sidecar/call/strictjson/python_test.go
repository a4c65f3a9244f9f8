package strictjson

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// pythonReader reads a text per line, in base64, and prints its canonical form or "refused".
// Numbers are kept as literals; a second reading with the defaults checks that dicts keep
// every member and that numbers have the value of their literal.
const pythonReader = `
import base64, json, sys

class Literal(str): pass
class Pairs(list): pass

def canonical(v):
    if v is None: return "n"
    if v is True: return "t"
    if v is False: return "f"
    if isinstance(v, Literal): return "#" + v
    if isinstance(v, str): return "$" + v.encode("utf-8", "surrogatepass").hex()
    if isinstance(v, Pairs):
        return "{" + ",".join(k.encode("utf-8", "surrogatepass").hex() + ":" + canonical(x) for k, x in v) + "}"
    return "[" + ",".join(map(canonical, v)) + "]"

def same(a, b):
    if isinstance(a, Pairs):
        return isinstance(b, dict) and len(a) == len(b) and all(same(x, b[k]) for k, x in a)
    if isinstance(a, Literal): return type(b) in (int, float) and type(b)(a) == b
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b

for line in sys.stdin:
    text = base64.b64decode(line)
    try:
        exact = json.loads(text, object_pairs_hook=Pairs, parse_int=Literal, parse_float=Literal, parse_constant=Literal)
        usual = json.loads(text)
    except (ValueError, RecursionError):
        print("refused")
        continue
    print(canonical(exact) if same(exact, usual) else "ambiguous " + canonical(exact))
`

// What Parse accepts, Python's json module accepts too and reads as the same values.
func TestAgreesWithPython(t *testing.T) {
	const mutants = 6000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	corpus := mutatedCorpus(rand.New(rand.NewPCG(seed, 0)), mutants)

	var input strings.Builder
	for _, text := range corpus {
		input.WriteString(base64.StdEncoding.EncodeToString([]byte(text)) + "\n")
	}
	theirs := runPython(t, pythonReader, []byte(input.String()))
	if len(theirs) != len(corpus) {
		t.Fatalf("Python answered %d of %d texts", len(theirs), len(corpus))
	}
	agreed, onlyTheirs := 0, 0
	for i, text := range corpus {
		document, err := Parse([]byte(text), Limits{})
		switch {
		case err != nil && theirs[i] != "refused":
			onlyTheirs++
		case err != nil:
		case canonical(document.Root()) != theirs[i]:
			t.Errorf("seed %d: %q\n is   %s\n here, but to Python\n      %s", seed, text, canonical(document.Root()), theirs[i])
		default:
			agreed++
		}
	}
	t.Logf("%d texts: %d read alike, %d accepted by Python only", len(corpus), agreed, onlyTheirs)
	// Without texts of both sorts the comparison would show nothing.
	if agreed < mutants/20 || onlyTheirs < mutants/100 {
		t.Errorf("seed %d: a poor corpus: %d read alike, %d accepted by Python only", seed, agreed, onlyTheirs)
	}
}

// mutatedCorpus returns the short texts of the tables and so many mutants of them.
func mutatedCorpus(random *rand.Rand, mutants int) []string {
	seeds := slices.Clone(accepted)
	for _, c := range refused {
		seeds = append(seeds, c.text)
	}
	seeds = slices.DeleteFunc(seeds, func(text string) bool { return len(text) > 1000 })
	corpus := slices.Clone(seeds)
	for range mutants {
		text := seeds[random.IntN(len(seeds))]
		for range 1 + random.IntN(3) {
			text = mutate(random, text, seeds)
		}
		corpus = append(corpus, text)
	}
	return corpus
}

// fragments are what parsers stumble over.
var fragments = []string{
	`"a":1`, `,"a":2`, `,"A":2`, `"\u0061"`, `\ud83d`, `\ude00`, `\u0000`, `\u`, `\`, `"`, `'`, `,`, `:`, `{`, `}`, `[`, `]`,
	`-`, `+`, `.`, `0`, `00`, `1`, `9007199254740993`, `e5`, `E-3`, `e400`, `NaN`, `Infinity`, `null`, `true`, `false`, ` `,
	"\t", "\n", "\v", "\x00", "\x1f", "\x7f", "\xff", "\xc0\x80", "\xed\xa0\x80", "\ufeff", "\u2028", "\uffff", "é", "ſ", "\u212a",
	"//", "/**/", "#", `"__proto__":{},`,
}

func mutate(random *rand.Rand, text string, seeds []string) string {
	from := random.IntN(len(text) + 1)
	to := min(len(text), from+random.IntN(6))
	switch random.IntN(7) {
	case 0: // a bit flipped
		if from == len(text) {
			return text
		}
		flipped := []byte(text)
		flipped[from] ^= 1 << random.IntN(8)
		return string(flipped)
	case 1:
		return text[:from] + text[to:]
	case 2: // a part doubled
		return text[:to] + text[from:]
	case 3:
		return text[:from] + fragments[random.IntN(len(fragments))] + text[from:]
	case 4:
		return text[:from] + fragments[random.IntN(len(fragments))] + text[to:]
	case 5: // a character written as an escape, which inside a string changes nothing
		if from == len(text) {
			return text
		}
		return text[:from] + fmt.Sprintf(`\u%04x`, text[from]) + text[from+1:]
	default:
		return strings.Replace(text, "1", seeds[random.IntN(len(seeds))], 2)
	}
}
