package symbol

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/oned"
	"github.com/makiuchi-d/gozxing/qrcode"
)

const uri = "otpauth://totp/Countersign:280123456789?algorithm=SHA1&digits=8&handle=0123456789&issuer=Countersign&period=30&prefix=28&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// A reader of another make reads what was drawn.
func TestReadersRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		text   string
		draw   func(string) (Symbol, error)
		reader gozxing.Reader
	}{
		{"parameters as QR", uri, QR, qrcode.NewQRCodeReader()},
		{"a code as QR", "28012345678912345678", QR, qrcode.NewQRCodeReader()},
		{"a code as Code 128", "28012345678912345678", Code128, oned.NewCode128Reader()},
		{"an odd number of digits", "2801234567891234567", Code128, oned.NewCode128Reader()},
	} {
		for _, pixels := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d pixels", c.name, pixels), func(t *testing.T) {
				symbol, err := c.draw(c.text)
				if err != nil {
					t.Fatal(err)
				}
				text, err := symbol.PNG(pixels)
				if err != nil {
					t.Fatal(err)
				}
				picture, err := png.Decode(bytes.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.reader.Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
				if err != nil {
					t.Fatal(err)
				}
				if got.GetText() != c.text {
					t.Errorf("read %q", got.GetText())
				}
			})
		}
	}
}

// The SVG and the blocks have the modules of the picture that readers read.
func TestSameModules(t *testing.T) {
	for name, draw := range map[string]func(string) (Symbol, error){"QR": QR, "Code 128": Code128} {
		symbol, err := draw("28012345678912345678")
		if err != nil {
			t.Fatal(err)
		}
		if got := fromSVG(t, symbol); !equal(got, symbol) {
			t.Errorf("%s: the SVG has other modules", name)
		}
		if got := fromBlocks(t, symbol); !equal(got, symbol) {
			t.Errorf("%s: the blocks have other modules", name)
		}
	}
}

func equal(a, b Symbol) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func fromSVG(t *testing.T, like Symbol) Symbol {
	t.Helper()
	text := like.SVG()
	var image struct {
		Box   string `xml:"viewBox,attr"`
		Paths []struct {
			Fill string `xml:"fill,attr"`
			D    string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(text, &image); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("0 0 %d %d", like.width, like.height); image.Box != want || len(image.Paths) != 2 || image.Paths[1].Fill != "#000" {
		t.Fatalf("%.200s", text)
	}
	got := newSymbol(like.width, like.height)
	for _, run := range regexp.MustCompile(`M\d+ \d+h\d+v1h-\d+z`).FindAllString(image.Paths[1].D, -1) {
		var x, y, length, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%dz", &x, &y, &length, &back); err != nil || back != length {
			t.Fatal(run, err)
		}
		for i := range length {
			got.set(x+i, y, true)
		}
	}
	return got
}

func fromBlocks(t *testing.T, like Symbol) Symbol {
	t.Helper()
	got := newSymbol(like.width, like.height)
	lines := strings.Split(strings.TrimSuffix(like.Blocks(), "\n"), "\n")
	if len(lines) != (like.height+1)/2 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		for x, block := range []rune(line) {
			got.set(x, 2*i, block == ' ' || block == '▄')
			if 2*i+1 < like.height {
				got.set(x, 2*i+1, block == ' ' || block == '▀')
			}
		}
	}
	return got
}

func TestRefuses(t *testing.T) {
	secret := strings.Repeat("canary", 600)
	for name, draw := range map[string]func(string) (Symbol, error){"QR": QR, "Code 128": Code128} {
		if _, err := draw(secret); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s of a long text: %v", name, err)
		}
	}
	symbol, err := QR("1")
	if err != nil {
		t.Fatal(err)
	}
	for _, pixels := range []int{-1, 0, 65} {
		if _, err := symbol.PNG(pixels); err == nil {
			t.Errorf("modules of %d pixels", pixels)
		}
	}
}
