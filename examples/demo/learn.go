package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"strings"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/countersign/countersign/sidecar/evidence"
)

// filled is a text with what stands for its {NAME}s.
func (w *world) filled(text string) string {
	var pairs []string
	for name, value := range w.names {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// learnIDs keeps the IDs that the headers of an answer say.
func (w *world) learnIDs(s step, header http.Header) {
	if s.asks != "" {
		w.names[s.asks] = header.Get("countersign-challenge-id")
	}
	if s.opens != "" {
		w.names[s.opens] = header.Get("countersign-intent-id")
	}
}

// learn keeps what a step's answer is for.
func (w *world) learn(s step, a *answer, body []byte) error {
	var shown struct {
		ID         string
		URI        string
		QRPNG      []byte `json:"qr_png"`
		TokenQRPNG []byte `json:"token_qr_png"`
		Remaining  []struct {
			Limit string
			Minor *int64 `json:"remaining_minor"`
		}
	}
	if s.offers == "" && s.fetches == "" && s.left == "" && s.scans == "" {
		return nil
	}
	if err := json.Unmarshal(body, &shown); err != nil {
		return fmt.Errorf("%q: %w", s.says, err)
	}
	switch {
	case s.offers != "":
		w.names[s.offers] = shown.ID
	case s.fetches != "":
		parameters, err := evidence.ParseParameters(shown.URI)
		w.devices[s.fetches] = &device{parameters: parameters}
		return err
	case s.scans != "":
		picture := shown.QRPNG
		if s.scans == checkoutToken {
			picture = shown.TokenQRPNG
		}
		text, err := readQR(picture)
		w.names[s.scans] = text
		return err
	}
	for _, limit := range shown.Remaining {
		if s.left != "" && limit.Limit == "daily" && limit.Minor != nil {
			a.left = euros(*limit.Minor)
		}
	}
	return nil
}

// readQR is a scanner: it returns the text of a QR code.
func readQR(picture []byte) (string, error) {
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return "", fmt.Errorf("QR code: %w", err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", fmt.Errorf("QR code: %w", err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		return "", fmt.Errorf("QR code: %w", err)
	}
	return result.GetText(), nil
}
