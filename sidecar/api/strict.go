package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign/countersign/sidecar/call/strictjson"
)

// jsonFormat reads what strictjson reads: a body with one meaning. What it writes
// is encoding/json's.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	},
	Unmarshal: unmarshal,
}

// unmarshal reads a body. encoding/json alone takes a name that is there twice,
// and one in another case; it gets to see neither: strictjson refuses the first,
// and huma's check of the schema, which comes before a struct is filled, the
// second. An error does not quote the body.
func unmarshal(text []byte, v any) error {
	if _, err := strictjson.Parse(text, strictjson.Limits{MaxBytes: maxBodyBytes}); err != nil {
		return err
	}
	err := json.Unmarshal(text, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s has the wrong type", orBody(wrong.Field))
	}
	return err
}

func orBody(field string) string {
	if field == "" {
		return "the body"
	}
	return field
}
