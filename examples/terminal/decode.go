package terminal

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // what canvases make
	_ "image/png"
	"io"
	"net/http"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// Bounds of a picture: what the pages send is scaled to 1600 pixels.
const (
	maxPictureBytes  = 4 << 20
	maxPictureSide   = 4096
	maxPicturePixels = 8 << 20
	maxDecodesAtOnce = 2
)

// A decoder reads the QR code in a picture, for browsers that cannot.
type decoder struct{ slots chan struct{} }

func newDecoder() decoder { return decoder{make(chan struct{}, maxDecodesAtOnce)} }

// A found is the text of a QR code.
type found struct {
	Text string `json:"text"`
}

// ServeHTTP answers POST /decode, whose body is a PNG or JPEG picture.
func (d decoder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	picture, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPictureBytes))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "picture_too_large", "The picture has too many bytes.")
		return
	}
	size, _, err := image.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		refuse(w, http.StatusUnsupportedMediaType, "picture_unknown", "It is no PNG or JPEG picture.")
		return
	}
	// Before it is unpacked: a few bytes can stand for a great many pixels.
	if size.Width > maxPictureSide || size.Height > maxPictureSide || size.Width*size.Height > maxPicturePixels {
		refuse(w, http.StatusRequestEntityTooLarge, "picture_too_large", "The picture has too many pixels.")
		return
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-r.Context().Done():
		return
	}
	text, err := readQR(picture)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "qr_none", "No QR code can be read in the picture.")
		return
	}
	reply(w, http.StatusOK, found{text})
}

// readQR returns the text of the QR code in a picture.
func readQR(picture []byte) (text string, err error) {
	defer func() {
		if cause := recover(); cause != nil { // the reader's arithmetic on what is no code
			err = fmt.Errorf("no QR code: %v", cause)
		}
	}()
	img, _, err := image.Decode(bytes.NewReader(picture))
	if err != nil {
		return "", err
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return "", err
	}
	return result.GetText(), nil
}
