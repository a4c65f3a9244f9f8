// Package symbol draws texts as symbols that a camera or a scanner reads: a QR code
// (ISO/IEC 18004) or a Code 128 barcode (ISO/IEC 15417), as PNG, SVG, or blocks on a
// terminal.
package symbol

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/code128"
	"github.com/boombuler/barcode/qr"
)

// A Symbol is a grid of modules, dark or light, with the quiet zone around it that
// readers need.
type Symbol struct {
	width, height int // modules
	dark          []bool
}

// Modules of quiet zone, as the standards ask for, and of a barcode's height, which
// is free.
const (
	quietQR       = 4
	quietCode128  = 10
	heightCode128 = 40
)

// errEncode says nothing of the text: it may be a secret.
var errEncode = errors.New("symbol: the text is too long, or has characters that the symbol cannot hold")

// QR returns the text as a QR code of error correction M, which survives the loss of
// 15 % of it.
func QR(text string) (Symbol, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return Symbol{}, errEncode
	}
	size := code.Bounds().Dx()
	s := newSymbol(size+2*quietQR, size+2*quietQR)
	for y := range size {
		for x := range size {
			s.set(x+quietQR, y+quietQR, isDark(code, x, y))
		}
	}
	return s, nil
}

// Code128 returns the text, at most 80 ASCII characters, as a Code 128 barcode. It
// has a bar of one row, drawn high.
func Code128(text string) (Symbol, error) {
	code, err := code128.Encode(text)
	if err != nil {
		return Symbol{}, errEncode
	}
	size := code.Bounds().Dx()
	s := newSymbol(size+2*quietCode128, heightCode128)
	for y := range heightCode128 {
		for x := range size {
			s.set(x+quietCode128, y, isDark(code, x, 0))
		}
	}
	return s, nil
}

func newSymbol(width, height int) Symbol { return Symbol{width, height, make([]bool, width*height)} }

func (s Symbol) set(x, y int, dark bool) { s.dark[y*s.width+x] = dark }

// at is light outside of the symbol.
func (s Symbol) at(x, y int) bool {
	return x < s.width && y < s.height && s.dark[y*s.width+x]
}

func isDark(code barcode.Barcode, x, y int) bool {
	return color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y < 128
}

// PNG draws the symbol with modules of so many pixels, 1 to 64.
func (s Symbol) PNG(modulePixels int) ([]byte, error) {
	if modulePixels < 1 || modulePixels > 64 {
		return nil, fmt.Errorf("symbol: modules of %d pixels, not of 1 to 64", modulePixels)
	}
	picture := image.NewPaletted(image.Rect(0, 0, s.width*modulePixels, s.height*modulePixels), color.Palette{color.White, color.Black})
	for y := range picture.Rect.Dy() {
		for x := range picture.Rect.Dx() {
			if s.at(x/modulePixels, y/modulePixels) {
				picture.Pix[y*picture.Stride+x] = 1
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// SVG draws the symbol in units of one module, without script or style, so that any
// page may show it.
func (s Symbol) SVG() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges">`, s.width, s.height)
	fmt.Fprintf(&out, `<path fill="#fff" d="M0 0h%dv%dh-%dz"/><path fill="#000" d="`, s.width, s.height, s.width)
	for y := range s.height {
		for x := 0; x < s.width; x++ {
			run := 0 // of dark modules
			for s.at(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&out, "M%d %dh%dv1h-%dz", x, y, run, run)
				x += run
			}
		}
	}
	out.WriteString(`"/></svg>`)
	return out.Bytes()
}

// Blocks draws the symbol for a terminal, two modules above each other in one
// character. Light modules are drawn, dark ones are the background: it is meant for
// light text on dark, which most terminals show; readers know the reverse too.
func (s Symbol) Blocks() string {
	var out strings.Builder
	for y := 0; y < s.height; y += 2 {
		for x := range s.width {
			upper, lower := !s.at(x, y), !s.at(x, y+1) && y+1 < s.height
			switch {
			case upper && lower:
				out.WriteRune('█')
			case upper:
				out.WriteRune('▀')
			case lower:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}
