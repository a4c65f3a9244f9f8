package strictjson

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func BenchmarkPayment(b *testing.B) {
	text := []byte(paymentBody)
	b.Run("strictjson", func(b *testing.B) {
		benchmarkParse(b, text)
	})
	b.Run("encoding-json-map", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			var values map[string]any
			if err := json.Unmarshal(text, &values); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWorst parses texts of 64 KiB that are made to be slow. Their times per byte should
// be alike.
func BenchmarkWorst(b *testing.B) {
	var names, foreign strings.Builder
	for i := range 4095 {
		fmt.Fprintf(&names, `,"%x":0`, i)
		fmt.Fprintf(&foreign, `,"é%x":0`, i)
	}
	for _, c := range []struct{ note, text string }{
		{"members", `{` + names.String()[1:] + `}`},
		{"members-folded", `{` + foreign.String()[1:] + `}`},
		{"elements", `[` + strings.Repeat("0,", 4094) + `0]`},
		{"objects", `[` + strings.Repeat(`{"a":0,"b":0},`, 1300) + `0]`},
		{"escapes", `"` + strings.Repeat(`\u0061`, 10900) + `"`},
		{"escaped-strings", `[` + strings.Repeat(`"\n",`, 4094) + `0]`},
		{"foreign-string", `"` + strings.Repeat(`日`, 21000) + `"`},
		{"space", strings.Repeat(" ", 64<<10-1) + `0`},
	} {
		b.Run(c.note, func(b *testing.B) { benchmarkParse(b, []byte(c.text)) })
	}
}

func benchmarkParse(b *testing.B, text []byte) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// A payment is parsed in three allocations: the copy of the text, the nodes, the document.
func TestAllocations(t *testing.T) {
	text := []byte(paymentBody)
	if got := testing.AllocsPerRun(100, func() {
		if _, err := Parse(text, Limits{}); err != nil {
			t.Fatal(err)
		}
	}); got > 3 {
		t.Errorf("%v allocations, want at most 3", got)
	}
}
