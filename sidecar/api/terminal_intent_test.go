package api_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/countersign/countersign/sidecar/upstream"
)

// read is what a reader of another make reads from a picture of a QR code.
func read(t *testing.T, picture image.Image) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	got, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	return got.GetText()
}

func readPNG(t *testing.T, text any) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text.(string))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, picture)
}

func readSVG(t *testing.T, text any) string {
	t.Helper()
	const pixels = 4
	var width, height int
	svg := text.(string)
	if _, err := fmt.Sscanf(regexp.MustCompile(`viewBox="0 0 (\d+ \d+)"`).FindStringSubmatch(svg)[1], "%d %d", &width, &height); err != nil {
		t.Fatal(err)
	}
	picture := image.NewGray(image.Rect(0, 0, width*pixels, height*pixels))
	for i := range picture.Pix {
		picture.Pix[i] = 255
	}
	for _, run := range regexp.MustCompile(`M\d+ \d+h\d+v1h-`).FindAllString(svg, -1) {
		var x, y, length int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-", &x, &y, &length); err != nil {
			t.Fatal(err)
		}
		for px := range length * pixels {
			for py := range pixels {
				picture.SetGray(x*pixels+px, y*pixels+py, color.Gray{})
			}
		}
	}
	return read(t, picture)
}

// Who sees what of an intent: those of the account all of it, with its ID and nothing
// else in its codes; who opened it the token too; others what it is for.
func TestIntentViews(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	s.api.IntentToken = func(id string) string { return "token4711of" + id }
	id := s.open(nil)
	s.wait(time.Second)
	s.advance(id, "waiting", "scanned", false)
	for _, does := range []string{"view_intent", "act_on_intent"} {
		for _, c := range []struct {
			who        upstream.Identity
			all, token bool
		}{
			{phonesID, true, true}, // opened it
			{tabletsID, true, false},
			{annasID, true, false},
			{watchsID, false, false}, // of the account, and has no part in it
			{bakerysID, false, false},
			{upstream.Identity{Kind: "user", Issuer: phonesID.Issuer, Subject: "phone"}, false, false},
		} {
			v := s.shown(on(does, c.who, id))
			if does == "act_on_intent" && !c.all {
				if len(v) != 2 || v["id"] != id || v["state"] != "scanned" {
					t.Errorf("%s by %s: %v", does, c.who.Subject, v)
				}
				continue
			}
			if v["id"] != id || v["state"] != "scanned" || v["amount_minor"] != float64(5000) || v["currency"] != "EUR" || v["kind"] != "business" ||
				v["attributes"].(map[string]any)["type"] != "top_up" || v["initiator"].(map[string]any)["subject"] != "phone" {
				t.Errorf("%s by %s: %v", does, c.who.Subject, v)
			}
			for _, name := range []string{"steps", "parties", "account", "terminals", "system", "qr_svg", "qr_png"} {
				if (v[name] != nil) != c.all {
					t.Errorf("%s by %s: %s is %v", does, c.who.Subject, name, v[name])
				}
			}
			for _, name := range []string{"token", "token_qr_svg", "token_qr_png"} {
				if (v[name] != nil) != c.token {
					t.Errorf("%s by %s: %s is %v", does, c.who.Subject, name, v[name])
				}
			}
			if c.all {
				steps := v["steps"].([]any)
				if len(steps) != 2 || steps[1].(map[string]any)["state"] != "scanned" || v["parties"].(map[string]any)["scanned_by"] != "acc_agent" {
					t.Errorf("%v", v)
				}
				if readPNG(t, v["qr_png"]) != id || readSVG(t, v["qr_svg"]) != id {
					t.Errorf("a code holds more or less than the ID")
				}
			}
			if c.token && (v["token"] != "token4711of"+id || readPNG(t, v["token_qr_png"]) != v["token"] || readSVG(t, v["token_qr_svg"]) != v["token"]) {
				t.Errorf("%v", v)
			}
		}
	}
	if strings.Contains(s.log.String(), "token4711") {
		t.Error("the log has a token")
	}
	if a := s.call(on("view_intent", phonesID, "int_none")); a.status != 404 || a.code(t) != "not_found" {
		t.Errorf("there is none: %d %s", a.status, a.text)
	}
}

// An intent has a token while it is open, to the last instant, and where there are
// tokens at all.
func TestIntentTokenEnds(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	has := func(id string) bool { return s.shown(on("view_intent", phonesID, id))["token"] != nil }
	id, done := s.open(nil), s.open(nil)
	if has(id) {
		t.Error("a token, and nobody makes any")
	}
	s.api.IntentToken = func(id string) string { return "token4711of" + id }
	s.advance(done, "waiting", "done", true)
	if has(done) {
		t.Error("a closed one has a token")
	}
	s.wait(10 * time.Minute)
	if v := s.shown(on("view_intent", phonesID, id)); v["token"] == nil || v["expired"] != false {
		t.Errorf("at its expiry: %v", v)
	}
	s.wait(1)
	if v := s.shown(on("view_intent", phonesID, id)); v["token"] != nil || v["expired"] != true || v["qr_svg"] == nil {
		t.Errorf("past its expiry: %v", v)
	}
}

// Whose terminal was frozen or bound to another account sees what others see.
func TestIntentTerminalGone(t *testing.T) {
	s := newTerminals(t)
	s.asking()
	id := s.open(nil)
	if v := s.shown(on("view_intent", tabletsID, id)); v["steps"] == nil {
		t.Errorf("%v", v)
	}
	s.bind("tablet", "frozen")
	if v := s.shown(on("view_intent", tabletsID, id)); v["steps"] != nil || v["amount_minor"] == nil {
		t.Errorf("%v", v)
	}
}

// An act that moved no intent is taken, and says no more.
func TestActOnNoIntent(t *testing.T) {
	s := newTerminals(t)
	if a := s.call(on("act_on_intent", phonesID, "")); a.status != 202 || a.text != "{}\n" {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := s.call(on("view_intent", phonesID, "")); a.status != 404 {
		t.Errorf("a view of none: %d %s", a.status, a.text)
	}
}
