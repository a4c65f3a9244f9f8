package strictjson

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
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

// nodeReader does the same with JSON.parse, which has only the usual reading: members
// in an order of its own, and numbers as doubles.
const nodeReader = `
const double = new DataView(new ArrayBuffer(8))
const hex = s => Buffer.from(s, "utf8").toString("hex")
const literal = n => { double.setFloat64(0, n); return double.getBigUint64(0).toString(16) }

function canonical(v) {
  if (v === null) return "n"
  if (v === true) return "t"
  if (v === false) return "f"
  if (typeof v === "number") return "#" + literal(v)
  if (typeof v === "string") return "$" + hex(v)
  if (Array.isArray(v)) return "[" + v.map(canonical).join(",") + "]"
  return "{" + Object.keys(v).map(k => hex(k) + ":" + canonical(v[k])).sort().join(",") + "}"
}

for (const line of require("fs").readFileSync(0, "latin1").trimEnd().split("\n")) {
  try {
    const text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(Buffer.from(line, "base64"))
    console.log(canonical(JSON.parse(text)))
  } catch { console.log("refused") }
}
`

// doubles returns the form that nodeReader prints.
func doubles(v Value) string {
	var parts []string
	switch v.Kind() {
	case Number:
		f, _ := strconv.ParseFloat(v.Number(), 64) // within the bounds of this package
		return fmt.Sprintf("#%x", math.Float64bits(f))
	case Array:
		for _, element := range v.Elements() {
			parts = append(parts, doubles(element))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case Object:
		for name, member := range v.Members() {
			parts = append(parts, fmt.Sprintf("%x:%s", name, doubles(member)))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	}
	return canonical(v)
}

// What Parse accepts, Python's json module and JavaScript's JSON.parse accept too and
// read as the same values. Python is always there; without Node, the log says so.
func TestAgreesWithOthers(t *testing.T) {
	const mutants = 6000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	corpus := mutatedCorpus(rand.New(rand.NewPCG(seed, 0)), mutants)
	compare := func(reader string, theirs []string, form func(Value) string) {
		if len(theirs) != len(corpus) {
			t.Fatalf("%s answered %d of %d texts", reader, len(theirs), len(corpus))
		}
		agreed, onlyTheirs := 0, 0
		for i, text := range corpus {
			document, err := Parse([]byte(text), Limits{})
			switch {
			case err != nil && theirs[i] != "refused":
				onlyTheirs++
			case err != nil:
			case form(document.Root()) != theirs[i]:
				t.Errorf("seed %d: %q\n is   %s\n here, but to %s\n      %s", seed, text, form(document.Root()), reader, theirs[i])
			default:
				agreed++
			}
		}
		t.Logf("%s: %d texts: %d read alike, %d accepted there only", reader, len(corpus), agreed, onlyTheirs)
		// Without texts of both sorts the comparison would show nothing.
		if agreed < mutants/20 || onlyTheirs < mutants/100 {
			t.Errorf("seed %d: a poor corpus: %d read alike, %d accepted by %s only", seed, agreed, onlyTheirs, reader)
		}
	}
	var input strings.Builder
	for _, text := range corpus {
		input.WriteString(base64.StdEncoding.EncodeToString([]byte(text)) + "\n")
	}
	compare("Python", runPython(t, pythonReader, []byte(input.String())), canonical)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Log("no node on the PATH: Python alone was asked")
		return
	}
	compare("Node", runReader(t, exec.Command(node, "-e", nodeReader), []byte(input.String())), doubles)
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
